//! Decides the steps of a reconcile: a total, synchronous function of the object, the observation and the time. Waiting and
//! refusing are verdicts, not errors. Every step carries all its details and is safe to repeat.

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

/// Maximum time until the result of a call is visible: ten times as long where the answer contained its ID.
pub fn window(visibility: Duration, answered: bool) -> Duration {
    if answered { visibility.saturating_mul(10) } else { visibility }
}

/// Decides the steps of a reconcile.
pub fn decide(scope: &Scope<'_>, observed: &Observed) -> Decision {
    let mut decision = match &observed.plan {
        _ if scope.deleting() => teardown(scope, observed),
        Lookup::Absent { missing, same_name } => absent(scope, observed, *missing, same_name),
        Lookup::Found(plan) => present(scope, observed, plan),
    };
    decision.intents = intents::intents(scope, &decision.steps).map(Box::new);
    decision
}

/// Maximum time until the result of a call in status is visible.
fn window_of(scope: &Scope<'_>, answered: bool) -> Duration {
    window(scope.visibility_window, answered)
}

/// Creates the absent plan, unless a plan may exist or the creation is refused.
fn absent(scope: &Scope<'_>, observed: &Observed, missing: Option<i64>, same_name: &[PlanView]) -> Decision {
    let (spec, status, binding) = (&scope.object.spec, scope.status, &observed.binding);
    let name = &binding.plan_name;
    let drift: Vec<_> = missing.map(|id| difference("planId", id, "absent")).into_iter().collect();
    let answered = status.plan_id.is_some();
    if let Some(until) = creation_window_end(status.creation.as_ref(), window_of(scope, answered), scope.now) {
        let what = if answered { "does not show yet" } else { "may have been created by a call without answer" };
        return creating(format!("plan {name:?} {what}; whether it exists is known at {until}"));
    }
    let bound_missing = missing.filter(|id| Some(*id) != binding.spec_plan_id);
    if let (Some(id), None, None) = (bound_missing, status.missing_since, &status.creation) {
        return Decision { drift, ..creating(format!("plan {id} is not found; it is looked for once more")) };
    }
    if let Some((reason, message)) = creation_refused(scope, binding, same_name) {
        return Decision::refused(reason, message, vec![], status);
    }
    match &observed.credentials {
        Err(error) => Decision::refused(synced::CREDENTIALS_NOT_FOUND, error.to_string(), vec![], status),
        Ok(credentials) => {
            let steps = vec![Step::CreatePlan { plan: plan::new_plan(spec, binding, credentials) }];
            Decision { drift, ..Decision::new(steps, Verdict::Acting(Work::Creating)) }
        }
    }
}

fn creating(on: String) -> Decision {
    Decision::new(vec![], Verdict::Waiting { work: Work::Creating, on })
}

/// The refusal to create a plan, if there is a reason.
fn creation_refused(scope: &Scope<'_>, binding: &Binding, same_name: &[PlanView]) -> Option<(&'static str, String)> {
    let spec = &scope.object.spec;
    if let Some(id) = binding.spec_plan_id {
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

/// The decision on an existing plan that the operator must not change, if there is a reason.
fn present_refused(scope: &Scope<'_>, binding: &Binding, plan: &PlanView) -> Option<Decision> {
    let status = scope.status;
    let owner = resolve::owner(plan, &binding.mark);
    // Observe mode accepts the plan of another owner: it changes nothing.
    if let (Owner::Another(owner), false) = (&owner, scope.observe_only()) {
        let message = owned_by_another(plan.plan_id, owner);
        return Some(Decision::refused(synced::OWNED_BY_ANOTHER, message, vec![], status));
    }
    if let Some(named) = binding.spec_plan_id.filter(|id| *id != plan.plan_id) {
        let message = format!(
            "spec.planId is {named}, but the object is bound to plan {}: set planId to {:?}, or make a new object",
            plan.plan_id,
            plan.plan_id.to_string()
        );
        return Some(Decision::refused(synced::INVALID_SPEC, message, vec![], status));
    }
    let hidden = creation_window_end(status.creation.as_ref(), scope.visibility_window, scope.now)?;
    let unsure = owner == Owner::Unmarked && !scope.observe_only();
    unsure.then(|| creating(format!("whether an earlier call created another plan is known at {hidden}")))
}

/// Refuses differences in fields that the API cannot change. Starts the paused items again.
fn immutable_refused(scope: &Scope<'_>, observed: &Observed, plan_id: i64, immutable: Vec<Drift>) -> Decision {
    let fields: Vec<_> = immutable.iter().map(|it| format!("{} ({} → {})", it.field, it.found, it.wanted)).collect();
    let message = format!(
        "the API cannot change {}: write what the plan has, or make a new object with another planName and delete this one",
        fields.join(", ")
    );
    let paused = &scope.status.paused_items;
    let steps = items::start_paused(paused, plan_id, &observed.items);
    let pausing = items::pause_unfinished(paused, &observed.items, &steps);
    let refused = Decision::refused(synced::IMMUTABLE_FIELD, message, immutable, scope.status);
    Decision { steps, ..refused }.pausing(pausing)
}

/// Changes an existing plan and its items as the spec says.
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
    let topics = items::topic_changes(scope, observed);
    let changes = update.step.is_some() || !topics.is_empty();
    let change = changes.then(|| change_key(scope, observed, &update.drift, &topics));
    let refusal = refusal(scope, change.as_ref());
    let plan_step = update.step.filter(|_| missing_secret.is_none() && refusal.is_none());
    // The operator may stop items that it prunes, but not items that the spec keeps.
    let blocked_by = match spec.item_policy {
        ItemPolicy::Keep if plan_step.is_some() => items::blocked_by_others(&others),
        ItemPolicy::Keep | ItemPolicy::Prune => None,
    };
    let all_paused = items::all_paused(&status.paused_items, &observed.items);
    let pausing = !status.paused_items.is_empty() && all_paused && plan_step.is_some() && blocked_by.is_none();
    let mode = items::Mode { pausing, refused: refusal.is_some() };
    let mut items = items::decide_items(scope, observed, plan.plan_id, &others, mode);
    let mut drift = immutable;
    drift.extend(update.drift);
    drift.append(&mut items.drift);

    let creating = items.creating;
    let (mut steps, waits) = match pausing {
        true => paused_update(scope, observed, plan.plan_id, plan_step, &others),
        false => running_update(scope, observed, plan.plan_id, plan_step, items, &others),
    };
    // An item that cannot be started must not delay the checkpoints of the others.
    let quiet = steps.iter().all(|step| matches!(step, Step::StartItem { .. })) && !creating;
    if sync_requested(scope) && !pausing {
        steps.extend(sync_step(plan.plan_id, observed).filter(|step| quiet || !step.is_empty()));
    }
    if observing {
        steps.clear();
    }
    let refused = missing_secret.map(|message| (synced::CREDENTIALS_NOT_FOUND, message));
    let refused = refused.or(refusal.map(|message| (synced::INVALID_SPEC, message)));
    let verdict = match observing {
        true => Verdict::InSync,
        false => present_verdict(refused, &steps, waits, creating),
    };
    let pause_for_update = pausing || items::pause_unfinished(&status.paused_items, &observed.items, &steps);
    let details = Details { pause_for_update, change, blocked_by };
    Decision { details, drift, ..Decision::new(steps, verdict) }
}

/// The verdict on an existing plan. A synchronization of checkpoints is not work on the spec.
fn present_verdict(
    refused: Option<(&'static str, String)>,
    steps: &[Step],
    waits: Vec<String>,
    creating: bool,
) -> Verdict {
    let work = if creating { Work::Creating } else { Work::Updating };
    let only_sync = steps.iter().all(|step| matches!(step, Step::SyncCheckpoints { .. }));
    match (refused, waits.into_iter().next()) {
        (Some((reason, message)), _) => Verdict::Refused { reason, message },
        (None, _) if !only_sync => Verdict::Acting(work),
        (None, Some(on)) => Verdict::Waiting { work, on },
        (None, None) => Verdict::InSync,
    }
}

/// The reason why the operator does not make a change now: the API refused it, or its pause took too long.
fn refusal(scope: &Scope<'_>, change: Option<&String>) -> Option<String> {
    let change = change?;
    let attempts = scope.status.update_attempts.as_ref();
    let known = attempts.filter(|it| it.change == *change && !scope.reconcile_requested());
    let refusal = known.filter(|it| is_refused(it, scope.now)).and_then(|it| it.refusal.clone());
    refusal.or_else(|| pause_is_over(scope.status, scope.now).then(|| PAUSED_TOO_LONG.to_owned()))
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
    // An item that the operator may not stop and that is about to run would make the stops useless.
    let unsettled = scope.object.spec.item_policy == ItemPolicy::Keep && items::any_changing(others);
    let mut steps = if unsettled { vec![] } else { items::stop_running(plan_id, &observed.items) };
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
    items: items::ItemDecision,
    others: &[&ItemView],
) -> (Vec<Step>, Vec<String>) {
    let (mut steps, mut waits) = (vec![], items.waits);
    // The API refuses to change the plan while an item changes. The items do not wait for the plan.
    let changing = items::transitional(&observed.items);
    match plan_step {
        Some(step) if changing.is_empty() => steps.push(step),
        Some(_) => waits.extend(changing),
        None => {}
    }
    let started: Vec<_> = items.steps.iter().filter_map(Step::item_id).collect();
    steps.extend(items.steps);
    if scope.object.spec.item_policy == ItemPolicy::Keep {
        let kept: Vec<_> = others.iter().map(|item| (*item).clone()).collect();
        let resumed = items::start_paused(&scope.status.paused_items, plan_id, &kept);
        steps.extend(resumed.into_iter().filter(|step| step.item_id().is_none_or(|id| !started.contains(&id))));
    }
    (steps, waits)
}

/// Whether an annotation requests one synchronization of every checkpoint.
pub fn sync_requested(scope: &Scope<'_>) -> bool {
    let requested = scope.annotation(SYNC_CHECKPOINTS_ANNOTATION);
    requested.is_some() && requested != scope.status.last_handled_sync_checkpoints_at.as_deref()
}

/// Time until the next attempt at a refused change: each attempt may stop replication for a moment.
const REFUSED_RETRY_INTERVAL: Duration = Duration::from_secs(3600);

/// Whether the API refused a change, and the operator does not repeat it for now.
pub fn is_refused(attempts: &UpdateAttempts, now: Timestamp) -> bool {
    attempts.refused_at.is_some_and(|at| window_end(at, REFUSED_RETRY_INTERVAL, now).is_some())
}

/// The message on a change that did not succeed within [`MAX_PAUSE`].
const PAUSED_TOO_LONG: &str = "items were stopped for a change for ten minutes without its being made; they run again";

/// Whether items are paused for longer than [`MAX_PAUSE`].
pub fn pause_is_over(status: &DisasterRecoveryPlanStatus, now: Timestamp) -> bool {
    let since = status.paused_since.filter(|_| !status.paused_items.is_empty());
    since.is_some_and(|since| window_end(since, MAX_PAUSE, now).is_none())
}

/// The key of a change, by which later reconciles recognize it: the spec's generation, the Secrets' versions, the differences.
fn change_key(scope: &Scope<'_>, observed: &Observed, drift: &[Drift], topics: &[String]) -> String {
    let secrets = observed.credentials.iter().flat_map(|all| all.values()).map(|it| it.resource_version.clone());
    let differences = drift.iter().map(|it| format!("{}: {}", it.field, it.found));
    let parts = [scope.generation().unwrap_or_default().to_string()].into_iter().chain(secrets).chain(differences);
    let parts: Vec<_> = parts.chain(topics.iter().cloned()).collect();
    parts.join("; ").chars().take(1000).collect()
}

fn sync_step(plan_id: i64, observed: &Observed) -> Option<Step> {
    let mut all = Vec::new();
    for (item_id, checkpoints) in observed.checkpoints.as_ref().ok()? {
        all.extend(checkpoints.iter().map(|checkpoint| (*item_id, checkpoint)));
    }
    // The oldest synchronization first: a reconcile that runs out of time is continued by the next one.
    all.sort_by_key(|(_, checkpoint)| checkpoint.last_sync_time);
    let checkpoints = all.into_iter().map(|(item_id, checkpoint)| (item_id, checkpoint.checkpoint_id)).collect();
    Some(Step::SyncCheckpoints { plan_id, checkpoints })
}

/// The end of the window in which a created plan may become visible, if it is in the future.
fn creation_window_end(creation: Option<&CreationStatus>, window: Duration, now: Timestamp) -> Option<Timestamp> {
    window_end(creation?.time, window, now)
}

/// The end of a window that began at a time, if it is in the future.
pub fn window_end(start: Timestamp, window: Duration, now: Timestamp) -> Option<Timestamp> {
    let end = start.saturating_add(window).unwrap_or(now);
    (now < end).then_some(end)
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

/// Whether an item runs.
fn runs(item: &ItemView) -> bool {
    use crate::cloud::rocketmq::ItemStatus::{Changing, Creating, ManualStopped, Other, OverdueStopped, Running};
    match &item.item_status {
        Running => true,
        Creating | Changing | ManualStopped | OverdueStopped | Other(_) => false,
    }
}
