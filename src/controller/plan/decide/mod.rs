//! Decides the steps of a reconcile: a total, synchronous function of the object, the observation and the time. Waiting and
//! refusing are verdicts, not errors. Every step carries all its details and is safe to repeat.

mod decision;
mod intents;
mod items;
mod plan;
mod present;
mod teardown;
mod update;

use std::time::Duration;

use jiff::Timestamp;

use super::binding::Binding;
use super::observe::Observed;
use super::search::Lookup;
use super::{Scope, resolve};
use crate::api::condition::synced;
use crate::api::plan::{CreationStatus, Drift};
use crate::api::{PLAN_ID_ANNOTATION, SYNC_CHECKPOINTS_ANNOTATION};
use crate::cloud::rocketmq::{ItemView, PlanView};
use crate::controller::absence::Absence;
use crate::controller::ownership::Owner;

pub use crate::controller::verdict::{Verdict, Work};
pub use decision::{Decision, Details, Step};
pub use plan::other_direction;
use present::present;
use teardown::teardown;
pub use update::Change;

/// Maximum time until the result of a call is visible: ten times as long where the answer contained its ID.
pub fn window(visibility: Duration, answered: bool) -> Duration {
    if answered { visibility.saturating_mul(10) } else { visibility }
}

/// Decides the steps of a reconcile.
pub fn decide(scope: &Scope<'_>, observed: &Observed) -> Decision {
    let mut decision = match &observed.plan {
        _ if scope.deleting() => teardown(scope, observed),
        // Paused items are started again when the plan is found.
        Lookup::Absent { same_name, hinted } => {
            absent(scope, observed, same_name, *hinted).pausing(scope.status.paused_items.clone())
        }
        Lookup::Found(plan) if observed.all_twins(scope).is_empty() || scope.observe_only() => {
            present(scope, observed, plan)
        }
        Lookup::Found(plan) => twin(scope, observed, plan),
    };
    decision.intents = intents::intents(scope, &decision).map(Box::new);
    decision
}

/// Maximum time until the result of a call in status is visible.
fn window_of(scope: &Scope<'_>, answered: bool) -> Duration {
    window(scope.visibility_window, answered)
}

/// Creates the absent plan, unless a plan may exist or the creation is refused.
fn absent(scope: &Scope<'_>, observed: &Observed, same_name: &[PlanView], hinted: Option<i64>) -> Decision {
    let (spec, status, binding) = (&scope.object.spec, scope.status, &observed.binding);
    let name = &binding.plan_name;
    if let Some(creation) = &status.creation {
        let answered = binding.is_answered();
        let what = if answered { "does not show yet" } else { "may have been created by a call without answer" };
        if let Some(until) = creation_window_end(Some(creation), window_of(scope, answered), scope.now) {
            return creating(format!("plan {name:?} {what}; whether it exists is known at {until}"));
        }
        // The window is over, and this process has not observed the whole of it, such as after a restart.
        if let Absence::Unproven { until, .. } = scope.absence(&resolve::created_plan_part(creation)) {
            return creating(format!("plan {name:?} {what}; whether it exists is known at {until}"));
        }
    }
    // Nothing is known of a plan that only the spec names.
    let missing = observed.missing.filter(|id| binding.knows(*id));
    if let Some(wait) = missing.and_then(|id| missing_plan(scope, id)) {
        return creating(wait);
    }
    if let Some((reason, message)) = creation_refused(scope, binding, same_name, hinted) {
        return Decision::refused(reason, message);
    }
    match &observed.credentials {
        Err(error) => Decision::refused(synced::CREDENTIALS_NOT_FOUND, error.to_string()),
        Ok(credentials) => {
            let mut steps = vec![Step::CreatePlan { plan: plan::new_plan(spec, binding, credentials) }];
            if is_first_creation(scope, observed) {
                steps.extend(items::first(scope, observed));
            }
            let drift = missing.map(|id| difference("planId", id, "absent")).into_iter().collect();
            Decision { drift, ..Decision::new(steps, Verdict::Acting(Work::Creating)) }
        }
    }
}

/// Whether no earlier call of this object may have created a plan or an item, and the spec has the IDs of all instances, so that the
/// items of the new plan are known before it is visible.
fn is_first_creation(scope: &Scope<'_>, observed: &Observed) -> bool {
    let status = scope.status;
    let no_plan = status.plan_id.is_none() && status.creation.is_none() && status.unanswered_creation.is_none();
    let no_item = status.item_creations.is_empty() && status.topic_mappings.iter().all(|it| it.item_id.is_none());
    let unnamed = observed.binding.known().is_empty() && observed.missing.is_none();
    let has_ids = scope.object.spec.instances.iter().all(|it| it.instance_id.is_some());
    no_plan && no_item && unnamed && has_ids
}

/// The wait for the proof that a plan is gone, unless there is one.
fn missing_plan(scope: &Scope<'_>, id: i64) -> Option<String> {
    match scope.absence(&resolve::plan_part(id)) {
        Absence::Proven => None,
        Absence::Unproven { since, until } => Some(format!(
            "plan {id} is not found since {since}; it counts as deleted when every read until {until} agrees"
        )),
    }
}

/// Changes nothing while two plans carry this object's mark. Starts the paused items again.
fn twin(scope: &Scope<'_>, observed: &Observed, plan: &PlanView) -> Decision {
    let twins: Vec<_> = observed.all_twins(scope).iter().map(ToString::to_string).collect();
    let message = format!(
        "nothing is changed: plan {} is used, and {} too {} the mark of this object. Delete the plan that you do not need in the \
         console, or remove the mark from its description",
        plan.plan_id,
        twins.join(", "),
        if twins.len() == 1 { "carries" } else { "carry" },
    );
    resuming(scope, observed, plan.plan_id, Decision::refused(synced::TWIN, message))
}

/// The decision with starts of the paused items.
fn resuming(scope: &Scope<'_>, observed: &Observed, plan_id: i64, decision: Decision) -> Decision {
    let steps = items::start_paused(scope, observed, plan_id, &[]);
    Decision { steps, ..decision }.pausing(items::still_paused(scope, observed))
}

fn creating(on: String) -> Decision {
    Decision::new(vec![], Verdict::Waiting { work: Work::Creating, on })
}

/// The refusal to create a plan, if there is a reason.
fn creation_refused(
    scope: &Scope<'_>,
    binding: &Binding,
    same_name: &[PlanView],
    hinted: Option<i64>,
) -> Option<(&'static str, String)> {
    let spec = &scope.object.spec;
    if let Some(id) = binding.spec_plan_id {
        let message = format!(
            "plan {id}, which spec.planId names, is not found in {}: correct planId, correct regionId in a new object, or remove \
             planId to create a plan",
            spec.region_id
        );
        return Some((synced::PLAN_NOT_FOUND, message));
    }
    if scope.observe_only() {
        let message = "managementPolicy is Observe and no plan is bound: set spec.planId to the plan to observe";
        return Some((synced::PLAN_NOT_FOUND, message.into()));
    }
    if let Some(id) = hinted {
        let message = format!(
            "plan {id}, which status or the annotation {PLAN_ID_ANNOTATION} names, carries no owner mark: set spec.planId: {:?} to \
             take it over, or remove the annotation to create a new plan",
            id.to_string()
        );
        return Some((synced::NAME_CONFLICT, message));
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

/// Whether an annotation requests one synchronization of every checkpoint.
pub fn sync_requested(scope: &Scope<'_>) -> bool {
    let requested = scope.annotation(SYNC_CHECKPOINTS_ANNOTATION);
    requested.is_some() && requested != scope.status.last_handled_sync_checkpoints_at.as_deref()
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
