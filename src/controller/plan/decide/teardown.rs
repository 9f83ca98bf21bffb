//! Decides the deletion of the object: stop and delete the items, then the plan; or release the plan. A spec that is not valid
//! does not block it.

use std::time::Duration;

use super::items::{self, ItemDecision};
use super::update::{self, Attempt, Change};
use super::{
    Decision, Scope, Step, Verdict, Work, creation_window_end, missing_plan, resuming, runs, window_end, window_of,
};
use crate::api::condition::synced;
use crate::api::plan::{DeletionPolicy, ManagementPolicy};
use crate::cloud::rocketmq::{Plan, PlanView};
use crate::controller::absence::Absence;
use crate::controller::ownership::{self, Owner};
use crate::controller::plan::observe::Observed;
use crate::controller::plan::resolve;
use crate::controller::plan::search::Lookup;
use crate::controller::resource::MAX_PAUSE;

/// Maximum time for which a deletion tries to start items again that the operator stopped.
const MAX_RESUME: Duration = Duration::from_secs(3600);

/// Decides the steps for an object that is being deleted.
pub(super) fn teardown(scope: &Scope<'_>, observed: &Observed) -> Decision {
    let (spec, status, binding, now) = (&scope.object.spec, scope.status, &observed.binding, scope.now);
    if spec.management_policy == ManagementPolicy::Observe {
        return released(None);
    }
    let missing = observed.missing.filter(|id| binding.knows(*id));
    if let Some(wait) = missing.and_then(|id| missing_plan(scope, id)) {
        return waiting(wait, status.paused_items.clone());
    }
    let plan = match &observed.plan {
        Lookup::Absent { hinted, .. } => {
            // The plan of a Create without an answer may still appear.
            if let Some(on) = created_until(scope, observed) {
                return waiting(on, status.paused_items.clone());
            }
            return released(hinted.map(|id| format!("plan {id} carries no mark of this object and was left alone")));
        }
        Lookup::Found(plan) => plan,
    };
    let owner = resolve::owner(plan, &binding.mark);
    if let (Some(until), true) =
        (creation_window_end(status.creation.as_ref(), scope.visibility_window, now), owner != Owner::Us)
    {
        let on = format!("whether an earlier call created another plan is known at {until}");
        return waiting(on, status.paused_items.clone());
    }
    match owner {
        Owner::Us => {}
        Owner::Another(owner) => {
            return released(Some(format!("plan {} belongs to {owner} and was left alone", plan.plan_id)));
        }
        // A bound plan that lost its mark.
        Owner::Unmarked if observed.manages(plan) => {}
        Owner::Unmarked => {
            let left = format!("plan {} carries no mark of this object and was left alone", plan.plan_id);
            return release_resumed(scope, observed, plan.plan_id, left);
        }
    }
    match spec.deletion_policy {
        DeletionPolicy::Delete if !observed.all_twins(scope).is_empty() => {
            let twins: Vec<_> = observed.all_twins(scope).iter().map(ToString::to_string).collect();
            let message = format!(
                "plans {} and {} carry the mark of this object, and none is deleted: delete those in the console that you do not \
                 need, or set deletionPolicy: Retain",
                plan.plan_id,
                twins.join(", ")
            );
            resuming(scope, observed, plan.plan_id, Decision::refused(synced::TWIN, message))
        }
        DeletionPolicy::Delete if !observed.plans_complete => waiting(
            "the list of plans, which may have another plan of this object, cannot be read whole".into(),
            status.paused_items.clone(),
        ),
        DeletionPolicy::Delete => delete(plan, observed),
        DeletionPolicy::Retain => retain(scope, observed, plan),
    }
}

/// The time at which it is known whether a Create without an answer made a plan, if it is not known now.
fn created_until(scope: &Scope<'_>, observed: &Observed) -> Option<String> {
    let (status, now) = (scope.status, scope.now);
    let creation = status.creation.as_ref()?;
    let until = creation_window_end(Some(creation), window_of(scope, observed.binding.is_answered()), now);
    let until = until.or_else(|| match scope.absence(&resolve::created_plan_part(creation)) {
        Absence::Proven => None,
        Absence::Unproven { until, .. } => Some(until),
    })?;
    Some(format!("whether a plan was created is known at {until}"))
}

fn delete(plan: &PlanView, observed: &Observed) -> Decision {
    let plan_id = plan.plan_id;
    let mut decision = ItemDecision::default();
    for item in &observed.items {
        items::remove(plan_id, item, &mut decision);
    }
    let ItemDecision { mut steps, mut waits, .. } = decision;
    match (observed.items.is_empty(), observed.items_complete) {
        (true, true) => steps.push(Step::DeletePlan { plan_id }),
        (true, false) => waits.push(format!("the list of items of plan {plan_id} cannot be read whole")),
        (false, _) => {}
    }
    match (steps.is_empty(), waits.into_iter().next()) {
        (true, Some(on)) => waiting(on, vec![]),
        _ => Decision::new(steps, Verdict::Acting(Work::Deleting)),
    }
}

/// Removes the mark. Where the API refuses this while items run, the operator stops them and starts them again if the spec allows
/// it, else it leaves the mark.
fn retain(scope: &Scope<'_>, observed: &Observed, plan: &PlanView) -> Decision {
    let (status, binding) = (scope.status, &observed.binding);
    let plan_id = plan.plan_id;
    let found = plan.plan_desc.as_deref().unwrap_or_default();
    if ownership::owner(found, &binding.mark) != Owner::Us {
        let left = format!("plan {plan_id} was kept, as deletionPolicy Retain says");
        return release_resumed(scope, observed, plan_id, left);
    }
    let marked = |cause: &str| {
        let left =
            format!("plan {plan_id} was kept with its owner mark, which the API did not let be removed: {cause}");
        release_resumed(scope, observed, plan_id, left)
    };
    let text = ownership::unmarked(found).to_owned();
    let step = Step::UpdatePlan { plan_id, plan: Plan { plan_desc: Some(text), ..Plan::default() } };
    let change = Change::of_plan(scope, observed, &["deletionPolicy: Retain".into()], observed.items.iter().any(runs));
    let blocked = observed.other_items().iter().any(|item| runs(item));
    let transitional = items::transitional(&observed.items).into_iter().next();
    let mut paused = status.paused_items.clone();
    let too_long = scope.deleting_since().is_some_and(|since| window_end(since, MAX_PAUSE, scope.now).is_none());
    if too_long && (change.is_pending(status) || transitional.is_some()) {
        return marked("it was tried for ten minutes");
    }
    let acting = |steps, paused| Decision::new(steps, Verdict::Acting(Work::Deleting)).pausing(paused);
    let mut decision = match (change.attempt(scope, update::may_pause(scope) && !blocked), transitional) {
        (Attempt::Wait(cause) | Attempt::Retry(cause) | Attempt::Refused(cause), _) => return marked(&cause),
        (Attempt::Sent(until), _) => {
            waiting(format!("waiting for the owner mark of plan {plan_id} to disappear, until {until} at most"), paused)
        }
        (Attempt::Pause, on) => match (items::stop_running(plan_id, &observed.items), on) {
            (stops, Some(on)) if stops.is_empty() => waiting(on, paused),
            (stops, _) => {
                paused.extend(stops.iter().filter_map(Step::item_id).map(|id| id.to_string()));
                acting(stops, paused)
            }
        },
        (Attempt::Send, Some(on)) => waiting(on, paused),
        (Attempt::Send, None) => acting(vec![step], paused),
    };
    decision.details.changes = vec![change];
    decision
}

/// Releases the plan once every paused item runs again, or when that takes too long.
fn release_resumed(scope: &Scope<'_>, observed: &Observed, plan_id: i64, left: String) -> Decision {
    let steps = items::start_paused(scope, observed, plan_id, &[]);
    let still = items::still_paused(scope, observed);
    let given_up = scope.deleting_since().is_some_and(|since| window_end(since, MAX_RESUME, scope.now).is_none());
    if !steps.is_empty() && !given_up {
        return Decision::new(steps, Verdict::Acting(Work::Deleting)).pausing(still);
    }
    if still.is_empty() {
        return released(Some(left));
    }
    let items = still.join(", ");
    match given_up {
        true => released(Some(format!("{left}; items {items} were stopped and are not known to run again"))),
        false => waiting(format!("items {items} were stopped for a change and do not run again yet"), still),
    }
}

fn waiting(on: String, paused: Vec<String>) -> Decision {
    Decision::new(vec![], Verdict::Waiting { work: Work::Deleting, on }).pausing(paused)
}

fn released(left: Option<String>) -> Decision {
    Decision::new(vec![], Verdict::Released { left })
}
