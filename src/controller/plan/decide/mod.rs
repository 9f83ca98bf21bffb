//! Decides what a pass does: a total, synchronous function of the desired, the observed and the time. Waiting and refusing
//! are verdicts, not errors. Every step carries all that it needs and may be repeated.

mod decision;
mod items;
mod plan;
mod teardown;

use std::time::Duration;

use jiff::Timestamp;

use super::observe::{Binding, Lookup, Observed};
use super::resolve;
use crate::api::condition::synced;
use crate::api::plan::{
    CreationStatus, DisasterRecoveryPlanSpec, DisasterRecoveryPlanStatus, Drift, ItemPolicy, ManagementPolicy,
    UpdateAttempts,
};
use crate::cloud::rocketmq::{ItemView, PlanView};
use crate::controller::ownership::Owner;
use crate::controller::resource::LONGEST_PAUSE;

pub use crate::controller::decision::{Verdict, Work};
pub use decision::{Decision, Step};
pub use teardown::teardown;

/// What the object asks for, and what is remembered of earlier passes.
#[derive(Clone, Copy, Debug)]
pub struct Desired<'a> {
    /// The spec.
    pub spec: &'a DisasterRecoveryPlanSpec,
    /// What earlier passes wrote.
    pub status: &'a DisasterRecoveryPlanStatus,
    /// Where the plan is.
    pub binding: &'a Binding,
    /// The annotation with the plan's ID, which the operator writes once the plan carries its mark.
    pub claimed: Option<i64>,
    /// Whether one synchronization of every checkpoint was asked for.
    pub sync_requested: bool,
    /// How long a plan or item may take to become visible after the call that made it.
    pub visibility_window: Duration,
    /// The generation of the spec.
    pub generation: i64,
    /// Whether a pass was asked for, which also tries what was given up.
    pub asked_again: bool,
    /// When the deletion of the object began.
    pub deleting_since: Option<Timestamp>,
}

impl Desired<'_> {
    /// How long to wait for what a call made. What an answer named is there, and only shows late.
    fn window(&self, answered: bool) -> Duration {
        window(self.visibility_window, answered)
    }
}

/// How long to wait for what a call made: ten times as long where its answer named it.
pub fn window(visibility: Duration, answered: bool) -> Duration {
    if answered { visibility.saturating_mul(10) } else { visibility }
}

/// Decides what a pass does for an object that is not being deleted.
pub fn decide(want: &Desired<'_>, seen: &Observed, now: Timestamp) -> Decision {
    match &seen.plan {
        Lookup::Absent { missing, same_name } => absent(want, seen, *missing, same_name, now),
        Lookup::Found(plan) => present(want, seen, plan, now),
    }
}

/// There is no plan: make it, unless something speaks against it.
fn absent(
    want: &Desired<'_>,
    seen: &Observed,
    missing: Option<i64>,
    same_name: &[PlanView],
    now: Timestamp,
) -> Decision {
    let Desired { spec, status, binding, .. } = want;
    let name = &binding.plan_name;
    let drift = missing.map(|id| difference("planId", id, "absent")).into_iter().collect();
    let refused = |reason, message| Decision::refused(reason, message, vec![], status);
    let waiting = |on| Decision::of(vec![], Verdict::Waiting { work: Work::Creating, on });
    let answered = status.plan_id.is_some();
    if let Some(until) = still_invisible(status.creation.as_ref(), want.window(answered), now) {
        let what = if answered { "does not show yet" } else { "may have been created by a call without answer" };
        return waiting(format!("plan {name:?} {what}; whether it exists is known at {until}"));
    }
    if let (Some(id), None, None) =
        (missing.filter(|id| Some(*id) != binding.named), status.missing_since, &status.creation)
    {
        return Decision { drift, ..waiting(format!("plan {id} is not found; it is looked for once more")) };
    }
    if let Some(id) = binding.named {
        let message = format!(
            "plan {id}, which spec.planId names, does not exist in {}: correct regionId in a new object, or make a new \
             object without planId to create a plan",
            spec.region_id
        );
        return refused(synced::PLAN_NOT_FOUND, message);
    }
    if spec.management_policy == ManagementPolicy::Observe {
        let message = "managementPolicy is Observe and no plan is bound: set spec.planId to the plan to observe".into();
        return refused(synced::PLAN_NOT_FOUND, message);
    }
    for plan in same_name {
        if let Owner::Another(owner) = resolve::owner(plan, &binding.mark) {
            return refused(synced::OWNED_BY_ANOTHER, owned_by_another(plan.plan_id, &owner));
        }
    }
    if let Some(plan) = same_name.first() {
        let message = format!(
            "plan {} has the name {name:?} and nobody's mark: set spec.planId: {:?} to take it over, or another \
             spec.planName to create a new plan",
            plan.plan_id,
            plan.plan_id.to_string()
        );
        return refused(synced::NAME_CONFLICT, message);
    }
    match &seen.credentials {
        Err(error) => refused(synced::CREDENTIALS_NOT_FOUND, error.to_string()),
        Ok(credentials) => {
            let steps = vec![Step::CreatePlan { plan: plan::creation(spec, binding, credentials) }];
            Decision { drift, ..Decision::of(steps, Verdict::Acting(Work::Creating)) }
        }
    }
}

/// There is a plan: bring it and its items to what the spec says.
fn present(want: &Desired<'_>, seen: &Observed, plan: &PlanView, now: Timestamp) -> Decision {
    let Desired { spec, status, binding, .. } = want;
    let refused = |reason, message, drift| Decision::refused(reason, message, drift, status);
    let observing = spec.management_policy == ManagementPolicy::Observe;
    // Looking at another's plan takes nothing from it.
    if let (Owner::Another(owner), false) = (resolve::owner(plan, &binding.mark), observing) {
        return refused(synced::OWNED_BY_ANOTHER, owned_by_another(plan.plan_id, &owner), vec![]);
    }
    if let (Some(named), true) = (binding.named, binding.named != Some(plan.plan_id)) {
        let message = format!(
            "spec.planId is {named}, but the object is bound to plan {}: set planId to {:?}, or make a new object",
            plan.plan_id,
            plan.plan_id.to_string()
        );
        return refused(synced::INVALID_SPEC, message, vec![]);
    }
    if let (Some(until), Owner::Nobody) =
        (still_invisible(status.creation.as_ref(), want.visibility_window, now), resolve::owner(plan, &binding.mark))
        && !observing
    {
        let on = format!("whether an earlier call created another plan is known at {until}");
        return Decision::of(vec![], Verdict::Waiting { work: Work::Creating, on });
    }
    let instances = resolve::instances(spec, plan);
    let items = resolve::items(spec, &status.topic_mappings, &instances, &seen.items);
    let immutable = plan::immutable(spec, plan);
    if !immutable.is_empty() && !observing {
        let fields: Vec<_> =
            immutable.iter().map(|it| format!("{} ({} → {})", it.field, it.found, it.wanted)).collect();
        let message = format!(
            "the API cannot change {}: write what the plan has, or make a new object with another planName and delete \
             this one",
            fields.join(", ")
        );
        // What was stopped for a change that is not to come runs on.
        let steps = items::resume(&status.paused_items, plan.plan_id, &seen.items);
        let pause_for_update = items::unfinished(&status.paused_items, &seen.items, &steps);
        return Decision { steps, pause_for_update, ..refused(synced::IMMUTABLE_FIELD, message, immutable) };
    }
    let (credentials, missing_secret) = match &seen.credentials {
        Ok(credentials) => (Some(credentials), None),
        Err(error) => (None, Some(error.to_string()).filter(|_| !observing)),
    };
    let update = plan::update(want, plan, &instances, credentials);
    let topics = items::changes(want, &instances, &items);
    let change = (update.step.is_some() || !topics.is_empty()).then(|| change(want, seen, &update.drift, &topics));
    let known = status.update_attempts.as_ref().filter(|it| Some(&it.change) == change.as_ref() && !want.asked_again);
    let refusal = known.filter(|it| given_up(it, now)).and_then(|it| it.refusal.clone());
    let refusal = refusal.or_else(|| pause_is_over(status, now).then(|| PAUSED_TOO_LONG.to_owned()));
    let refusal = refusal.filter(|_| change.is_some());
    let plan_step = update.step.filter(|_| missing_secret.is_none() && refusal.is_none());
    // What is to be pruned may be stopped for the plan's sake; what the spec keeps may not.
    let blocked_by = match spec.item_policy {
        ItemPolicy::Keep if plan_step.is_some() => items::foreign_runners(&items),
        ItemPolicy::Keep | ItemPolicy::Prune => None,
    };
    // Only for a plan that has refused are all items listed.
    let listed = items::all_listed(&status.paused_items, &seen.items);
    let pausing = !status.paused_items.is_empty() && listed && plan_step.is_some() && blocked_by.is_none();
    let work =
        items::work(want, plan.plan_id, &instances, &items, items::Mode { pausing, given_up: refusal.is_some() }, now);
    let mut drift = immutable;
    drift.extend(update.drift);
    drift.extend(work.drift);

    let mut steps: Vec<Step> = Vec::new();
    let mut waits = work.waits;
    if pausing {
        waits = items::transitional(&seen.items);
        // An item that is about to run would make the stops vain.
        let unsettled = spec.item_policy == ItemPolicy::Keep && items::others_change(&items);
        if !unsettled {
            steps.extend(items::pause(plan.plan_id, &seen.items));
        }
        if steps.is_empty() && waits.is_empty() {
            steps.extend(plan_step);
        }
    } else {
        // While an item changes, the plan refuses to be changed; what the items need does not wait for the plan.
        let changing = items::transitional(&seen.items);
        match plan_step {
            Some(step) if changing.is_empty() => steps.push(step),
            Some(_) => waits.extend(changing),
            None => {}
        }
        let started: Vec<_> = work.steps.iter().filter_map(Step::item_id).collect();
        steps.extend(work.steps);
        let kept = items.others.iter().filter(|_| spec.item_policy == ItemPolicy::Keep).map(|item| (*item).clone());
        let resumed = items::resume(&status.paused_items, plan.plan_id, &kept.collect::<Vec<_>>());
        steps.extend(resumed.into_iter().filter(|step| step.item_id().is_none_or(|id| !started.contains(&id))));
    }
    // An item that cannot be started must not hold up the checkpoints of the others.
    let quiet = steps.iter().all(|step| matches!(step, Step::StartItem { .. })) && !work.creating;
    if want.sync_requested && !pausing {
        steps.extend(sync_step(plan.plan_id, seen).filter(|step| quiet || !step.is_empty()));
    }
    if observing {
        steps.clear();
    }
    let phase = if work.creating { Work::Creating } else { Work::Updating };
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
    let pause_for_update = pausing || items::unfinished(&status.paused_items, &seen.items, &steps);
    Decision { steps, verdict, drift, pause_for_update, change, blocked_by }
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
    since.is_some_and(|since| still_hidden(since, LONGEST_PAUSE, now).is_none())
}

/// Names a change, so that it is known again: the spec's generation, the Secrets' versions, what differs.
fn change(want: &Desired<'_>, seen: &Observed, drift: &[Drift], topics: &[String]) -> String {
    let secrets = seen.credentials.iter().flat_map(|all| all.values()).map(|it| it.resource_version.clone());
    let differences = drift.iter().map(|it| format!("{}: {}", it.field, it.found));
    let parts = [want.generation.to_string()].into_iter().chain(secrets).chain(differences);
    let parts: Vec<_> = parts.chain(topics.iter().cloned()).collect();
    parts.join("; ").chars().take(1000).collect()
}

fn sync_step(plan_id: i64, seen: &Observed) -> Option<Step> {
    let all = seen.checkpoints.as_ref().ok()?;
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
