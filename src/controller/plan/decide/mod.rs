//! Decides what a reconcile does: a total, synchronous function of the object, the observation and the time. Waiting and
//! refusing are verdicts, not errors. Every step carries all that it needs and may be repeated.

mod decision;
mod intents;
mod items;
mod plan;
mod teardown;

use std::time::Duration;

use jiff::Timestamp;

use super::observe::{Binding, Lookup, Observed};
use super::{Scope, resolve};
use crate::api::SYNC_CHECKPOINTS_ANNOTATION;
use crate::api::condition::synced;
use crate::api::plan::{CreationStatus, DisasterRecoveryPlanStatus, Drift, ItemPolicy, UpdateAttempts};
use crate::cloud::rocketmq::{ItemView, PlanView};
use crate::controller::ownership::Owner;
use crate::controller::resource::MAX_PAUSE;

pub use crate::controller::verdict::{Verdict, Work};
pub use decision::{Decision, Details, Step};
use teardown::teardown;

/// How long to wait for what a call made: ten times as long where its answer named it.
pub fn window(visibility: Duration, answered: bool) -> Duration {
    if answered { visibility.saturating_mul(10) } else { visibility }
}

/// Decides what a reconcile does.
pub fn decide(scope: &Scope<'_>, observed: &Observed) -> Decision {
    let mut decision = match &observed.plan {
        _ if scope.deleting() => teardown(scope, observed),
        Lookup::Absent { missing, same_name } => absent(scope, observed, *missing, same_name),
        Lookup::Found(plan) => present(scope, observed, plan),
    };
    decision.intents = intents::intents(scope, &decision.steps).map(Box::new);
    decision
}

/// How long to wait for the result of a call that the status remembers.
fn window_of(scope: &Scope<'_>, answered: bool) -> Duration {
    window(scope.visibility_window, answered)
}

/// Creates the absent plan, unless something speaks against it.
fn absent(scope: &Scope<'_>, observed: &Observed, missing: Option<i64>, same_name: &[PlanView]) -> Decision {
    let (spec, status, binding) = (&scope.object.spec, scope.status, &observed.binding);
    let name = &binding.plan_name;
    let drift: Vec<_> = missing.map(|id| difference("planId", id, "absent")).into_iter().collect();
    let answered = status.plan_id.is_some();
    if let Some(until) = still_invisible(status.creation.as_ref(), window_of(scope, answered), scope.now) {
        let what = if answered { "does not show yet" } else { "may have been created by a call without answer" };
        return creating(format!("plan {name:?} {what}; whether it exists is known at {until}"));
    }
    if let (Some(id), None, None) =
        (missing.filter(|id| Some(*id) != binding.named), status.missing_since, &status.creation)
    {
        return Decision { drift, ..creating(format!("plan {id} is not found; it is looked for once more")) };
    }
    if let Some((reason, message)) = creation_refused(scope, binding, same_name) {
        return Decision::refused(reason, message, vec![], status);
    }
    match &observed.credentials {
        Err(error) => Decision::refused(synced::CREDENTIALS_NOT_FOUND, error.to_string(), vec![], status),
        Ok(credentials) => {
            let steps = vec![Step::CreatePlan { plan: plan::creation(spec, binding, credentials) }];
            Decision { drift, ..Decision::new(steps, Verdict::Acting(Work::Creating)) }
        }
    }
}

fn creating(on: String) -> Decision {
    Decision::new(vec![], Verdict::Waiting { work: Work::Creating, on })
}

/// Why no plan is created, if none is to be.
fn creation_refused(scope: &Scope<'_>, binding: &Binding, same_name: &[PlanView]) -> Option<(&'static str, String)> {
    let spec = &scope.object.spec;
    if let Some(id) = binding.named {
        let message = format!(
            "plan {id}, which spec.planId names, does not exist in {}: correct regionId in a new object, or make a new \
             object without planId to create a plan",
            spec.region_id
        );
        return Some((synced::PLAN_NOT_FOUND, message));
    }
    if scope.observe_only() {
        let message = "managementPolicy is Observe and no plan is bound: set spec.planId to the plan to observe";
        return Some((synced::PLAN_NOT_FOUND, message.into()));
    }
    for plan in same_name {
        if let Owner::Another(owner) = resolve::owner(plan, &binding.mark) {
            return Some((synced::OWNED_BY_ANOTHER, owned_by_another(plan.plan_id, &owner)));
        }
    }
    let plan = same_name.first()?;
    let message = format!(
        "plan {} has the name {:?} and nobody's mark: set spec.planId: {:?} to take it over, or another spec.planName to \
         create a new plan",
        plan.plan_id,
        binding.plan_name,
        plan.plan_id.to_string()
    );
    Some((synced::NAME_CONFLICT, message))
}

/// Why the operator changes nothing in a plan that exists, if it may not.
fn present_refused(scope: &Scope<'_>, binding: &Binding, plan: &PlanView) -> Option<Decision> {
    let status = scope.status;
    let owner = resolve::owner(plan, &binding.mark);
    // Observing another owner's plan takes nothing from it.
    if let (Owner::Another(owner), false) = (&owner, scope.observe_only()) {
        let message = owned_by_another(plan.plan_id, owner);
        return Some(Decision::refused(synced::OWNED_BY_ANOTHER, message, vec![], status));
    }
    if let (Some(named), true) = (binding.named, binding.named != Some(plan.plan_id)) {
        let message = format!(
            "spec.planId is {named}, but the object is bound to plan {}: set planId to {:?}, or make a new object",
            plan.plan_id,
            plan.plan_id.to_string()
        );
        return Some(Decision::refused(synced::INVALID_SPEC, message, vec![], status));
    }
    let hidden = still_invisible(status.creation.as_ref(), scope.visibility_window, scope.now)?;
    let unsure = owner == Owner::Unmarked && !scope.observe_only();
    unsure.then(|| creating(format!("whether an earlier call created another plan is known at {hidden}")))
}

/// Refuses fields that the API cannot change. Items that were stopped for a change run again.
fn immutable_refused(scope: &Scope<'_>, observed: &Observed, plan_id: i64, immutable: Vec<Drift>) -> Decision {
    let fields: Vec<_> = immutable.iter().map(|it| format!("{} ({} → {})", it.field, it.found, it.wanted)).collect();
    let message = format!(
        "the API cannot change {}: write what the plan has, or make a new object with another planName and delete this one",
        fields.join(", ")
    );
    let paused = &scope.status.paused_items;
    let steps = items::resume(paused, plan_id, &observed.items);
    let pausing = items::unfinished(paused, &observed.items, &steps);
    let refused = Decision::refused(synced::IMMUTABLE_FIELD, message, immutable, scope.status);
    Decision { steps, ..refused }.pausing(pausing)
}

/// Brings an existing plan and its items to the spec.
fn present(scope: &Scope<'_>, observed: &Observed, plan: &PlanView) -> Decision {
    let (spec, status) = (&scope.object.spec, scope.status);
    let observing = scope.observe_only();
    if let Some(refused) = present_refused(scope, &observed.binding, plan) {
        return refused;
    }
    let immutable = plan::immutable(spec, observed, plan);
    if !immutable.is_empty() && !observing {
        return immutable_refused(scope, observed, plan.plan_id, immutable);
    }
    let (credentials, missing_secret) = match &observed.credentials {
        Ok(credentials) => (Some(credentials), None),
        Err(error) => (None, Some(error.to_string()).filter(|_| !observing)),
    };
    let others = observed.other_items();
    let update = plan::update(scope, observed, plan, credentials);
    let topics = items::changes(scope, observed);
    let changes = update.step.is_some() || !topics.is_empty();
    let change = changes.then(|| change(scope, observed, &update.drift, &topics));
    let refusal = refusal(scope, change.as_ref());
    let plan_step = update.step.filter(|_| missing_secret.is_none() && refusal.is_none());
    // Pruned items may be stopped for the plan's sake; items that the spec keeps may not.
    let blocked_by = match spec.item_policy {
        ItemPolicy::Keep if plan_step.is_some() => items::foreign_runners(&others),
        ItemPolicy::Keep | ItemPolicy::Prune => None,
    };
    // Only for a plan that has refused are all items listed.
    let all_listed = items::all_listed(&status.paused_items, &observed.items);
    let pausing = !status.paused_items.is_empty() && all_listed && plan_step.is_some() && blocked_by.is_none();
    let mode = items::Mode { pausing, given_up: refusal.is_some() };
    let mut work = items::work(scope, observed, plan.plan_id, &others, mode);
    let mut drift = immutable;
    drift.extend(update.drift);
    drift.append(&mut work.drift);

    let (phase, creating) = (if work.creating { Work::Creating } else { Work::Updating }, work.creating);
    let (mut steps, waits) = match pausing {
        true => paused_update(scope, observed, plan.plan_id, plan_step, &others),
        false => running_update(scope, observed, plan.plan_id, plan_step, work, &others),
    };
    // An item that cannot be started must not hold up the checkpoints of the others.
    let quiet = steps.iter().all(|step| matches!(step, Step::StartItem { .. })) && !creating;
    if sync_requested(scope) && !pausing {
        steps.extend(sync_step(plan.plan_id, observed).filter(|step| quiet || !step.is_empty()));
    }
    if observing {
        steps.clear();
    }
    let only_sync = steps.iter().all(|step| matches!(step, Step::SyncCheckpoints { .. }));
    let stuck = missing_secret.map(|message| (synced::CREDENTIALS_NOT_FOUND, message));
    let stuck = stuck.or(refusal.map(|message| (synced::INVALID_SPEC, message)));
    let verdict = match (stuck, waits.into_iter().next()) {
        _ if observing => Verdict::InSync,
        (Some((reason, message)), _) => Verdict::Refused { reason, message },
        (None, _) if !only_sync => Verdict::Acting(phase),
        (None, Some(on)) => Verdict::Waiting { work: phase, on },
        (None, None) => Verdict::InSync,
    };
    let pause_for_update = pausing || items::unfinished(&status.paused_items, &observed.items, &steps);
    let details = Details { pause_for_update, change, blocked_by };
    Decision { details, drift, ..Decision::new(steps, verdict) }
}

/// Why a change is not made now, if it was given up.
fn refusal(scope: &Scope<'_>, change: Option<&String>) -> Option<String> {
    let change = change?;
    let attempts = scope.status.update_attempts.as_ref();
    let known = attempts.filter(|it| it.change == *change && !scope.reconcile_requested());
    let given_up = known.filter(|it| given_up(it, scope.now)).and_then(|it| it.refusal.clone());
    given_up.or_else(|| pause_is_over(scope.status, scope.now).then(|| PAUSED_TOO_LONG.to_owned()))
}

/// Stops every item, then changes the plan.
fn paused_update(
    scope: &Scope<'_>,
    observed: &Observed,
    plan_id: i64,
    plan_step: Option<Step>,
    others: &[&ItemView],
) -> (Vec<Step>, Vec<String>) {
    let waits = items::transitional(&observed.items);
    // An item that is about to run would make the stops useless.
    let unsettled = scope.object.spec.item_policy == ItemPolicy::Keep && items::others_change(others);
    let mut steps = if unsettled { vec![] } else { items::pause(plan_id, &observed.items) };
    if steps.is_empty() && waits.is_empty() {
        steps.extend(plan_step);
    }
    (steps, waits)
}

/// Changes the plan and its items while replication continues.
fn running_update(
    scope: &Scope<'_>,
    observed: &Observed,
    plan_id: i64,
    plan_step: Option<Step>,
    work: items::Chores,
    others: &[&ItemView],
) -> (Vec<Step>, Vec<String>) {
    let (mut steps, mut waits) = (vec![], work.waits);
    // While an item changes, the plan refuses to be changed; the items do not wait for the plan.
    let changing = items::transitional(&observed.items);
    match plan_step {
        Some(step) if changing.is_empty() => steps.push(step),
        Some(_) => waits.extend(changing),
        None => {}
    }
    let started: Vec<_> = work.steps.iter().filter_map(Step::item_id).collect();
    steps.extend(work.steps);
    if scope.object.spec.item_policy == ItemPolicy::Keep {
        let kept: Vec<_> = others.iter().map(|item| (*item).clone()).collect();
        let resumed = items::resume(&scope.status.paused_items, plan_id, &kept);
        steps.extend(resumed.into_iter().filter(|step| step.item_id().is_none_or(|id| !started.contains(&id))));
    }
    (steps, waits)
}

/// Whether an annotation requests one synchronization of every checkpoint.
pub fn sync_requested(scope: &Scope<'_>) -> bool {
    let requested = scope.annotation(SYNC_CHECKPOINTS_ANNOTATION);
    requested.is_some() && requested != scope.status.last_handled_sync_checkpoints_at.as_deref()
}

/// How long a change is not tried again that the API refused for good: each try may stop replication for a moment.
const GIVEN_UP: Duration = Duration::from_secs(3600);

/// Whether a change is given up for now.
pub fn given_up(attempts: &UpdateAttempts, now: Timestamp) -> bool {
    attempts.refused_at.is_some_and(|at| still_hidden(at, GIVEN_UP, now).is_some())
}

/// What is said of a change that was not made in that time.
const PAUSED_TOO_LONG: &str = "items were stopped for a change for ten minutes without its being made; they run again";

/// Whether items were stopped for a change for too long.
pub fn pause_is_over(status: &DisasterRecoveryPlanStatus, now: Timestamp) -> bool {
    let since = status.paused_since.filter(|_| !status.paused_items.is_empty());
    since.is_some_and(|since| still_hidden(since, MAX_PAUSE, now).is_none())
}

/// Names a change, so that it is known again: the spec's generation, the Secrets' versions, what differs.
fn change(scope: &Scope<'_>, observed: &Observed, drift: &[Drift], topics: &[String]) -> String {
    let secrets = observed.credentials.iter().flat_map(|all| all.values()).map(|it| it.resource_version.clone());
    let differences = drift.iter().map(|it| format!("{}: {}", it.field, it.found));
    let parts = [scope.generation().unwrap_or_default().to_string()].into_iter().chain(secrets).chain(differences);
    let parts: Vec<_> = parts.chain(topics.iter().cloned()).collect();
    parts.join("; ").chars().take(1000).collect()
}

fn sync_step(plan_id: i64, observed: &Observed) -> Option<Step> {
    let all = observed.checkpoints.as_ref().ok()?;
    let each = all.iter().flat_map(|(item, list)| list.iter().map(|checkpoint| (*item, checkpoint)));
    let mut each: Vec<_> = each.collect();
    // Those that waited longest first, so that a pass that cannot do all of them goes on where the last one ended.
    each.sort_by_key(|(_, checkpoint)| checkpoint.last_sync_time);
    let checkpoints = each.into_iter().map(|(item, checkpoint)| (item, checkpoint.checkpoint_id)).collect();
    Some(Step::SyncCheckpoints { plan_id, checkpoints })
}

/// When a plan whose creation was begun is known to be absent, if that is not now.
fn still_invisible(creation: Option<&CreationStatus>, window: Duration, now: Timestamp) -> Option<Timestamp> {
    still_hidden(creation?.time, window, now)
}

/// When what was begun at a time is known to be absent, if that is not now.
pub fn still_hidden(begun: Timestamp, window: Duration, now: Timestamp) -> Option<Timestamp> {
    let until = begun.saturating_add(window).unwrap_or(now);
    (now < until).then_some(until)
}

fn owned_by_another(plan_id: i64, owner: &str) -> String {
    format!(
        "plan {plan_id} belongs to {owner} (cluster/namespace/name), as its description says, and is left alone: let that \
         object go with deletionPolicy Retain, or remove the mark [drp {owner}] from the description if that owner is gone"
    )
}

fn difference(field: impl Into<String>, wanted: impl ToString, found: impl ToString) -> Drift {
    Drift { field: field.into(), wanted: wanted.to_string(), found: found.to_string() }
}

/// Whether an item replicates or is about to.
fn runs(item: &ItemView) -> bool {
    use crate::cloud::rocketmq::ItemStatus::{Changing, Creating, ManualStopped, Other, OverdueStopped, Running};
    match &item.item_status {
        Running => true,
        Creating | Changing | ManualStopped | OverdueStopped | Other(_) => false,
    }
}
