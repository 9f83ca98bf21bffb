//! Decides the deletion of the object: stop and delete the items, then the plan; or release the plan. A spec that is not valid
//! does not block it.

use super::items::{self, ItemDecision};
use super::{Decision, Scope, Step, Verdict, Work, creation_window_end, pause_is_over, window_end, window_of};
use crate::api::plan::{DeletionPolicy, ManagementPolicy};
use crate::cloud::rocketmq::{Plan, PlanView};
use crate::controller::ownership::{self, Owner};
use crate::controller::plan::observe::{Lookup, Observed, annotated_id};
use crate::controller::plan::resolve;
use crate::controller::resource::MAX_PAUSE;

/// Decides the steps for an object that is being deleted.
pub(super) fn teardown(scope: &Scope<'_>, observed: &Observed) -> Decision {
    let (spec, status, binding, now) = (&scope.object.spec, scope.status, &observed.binding, scope.now);
    if spec.management_policy == ManagementPolicy::Observe {
        return released(None);
    }
    let plan = match &observed.plan {
        Lookup::Absent { missing: Some(id), .. }
            if status.plan_id.is_some() && status.creation.is_none() && status.missing_since.is_none() =>
        {
            return waiting(format!("plan {id} is not found; it is looked for once more"), false);
        }
        Lookup::Absent { .. } => {
            // The plan of a Create without an answer may still appear.
            return match creation_window_end(status.creation.as_ref(), window_of(scope, status.plan_id.is_some()), now)
            {
                Some(until) => waiting(format!("whether a plan was created is known at {until}"), false),
                None => released(None),
            };
        }
        Lookup::Found(plan) => plan,
    };
    let owner = resolve::owner(plan, &binding.mark);
    if let (Some(until), true) =
        (creation_window_end(status.creation.as_ref(), scope.visibility_window, now), owner != Owner::Us)
    {
        return waiting(format!("whether an earlier call created another plan is known at {until}"), false);
    }
    match owner {
        Owner::Us => {}
        Owner::Another(owner) => {
            return released(Some(format!("plan {} belongs to {owner} and was left alone", plan.plan_id)));
        }
        // A copied manifest may contain the annotation, but not status.
        Owner::Unmarked
            if annotated_id(scope) == Some(plan.plan_id) && status.plan_id == Some(plan.plan_id.to_string()) => {}
        Owner::Unmarked => {
            let left = format!("plan {} carries no mark of this object and was left alone", plan.plan_id);
            return release_resumed(scope, observed, plan.plan_id, left);
        }
    }
    match spec.deletion_policy {
        DeletionPolicy::Delete => delete(plan, observed),
        DeletionPolicy::Retain => retain(scope, observed, plan),
    }
}

fn delete(plan: &PlanView, observed: &Observed) -> Decision {
    let plan_id = plan.plan_id;
    let mut decision = ItemDecision::default();
    for item in &observed.items {
        items::remove(plan_id, item, &mut decision);
    }
    let ItemDecision { mut steps, waits, .. } = decision;
    if observed.items.is_empty() {
        steps.push(Step::DeletePlan { plan_id });
    }
    match (steps.is_empty(), waits.into_iter().next()) {
        (true, Some(on)) => waiting(on, false),
        _ => Decision::new(steps, Verdict::Acting(Work::Deleting)),
    }
}

/// Removes the mark. Where the API refuses this while items run, the operator stops them and starts them again.
fn retain(scope: &Scope<'_>, observed: &Observed, plan: &PlanView) -> Decision {
    let (status, binding, now) = (scope.status, &observed.binding, scope.now);
    let plan_id = plan.plan_id;
    let pausing = !status.paused_items.is_empty();
    let found = plan.plan_desc.as_deref().unwrap_or_default();
    let marked = ownership::owner(found, &binding.mark) == Owner::Us;
    let acting = |steps| Decision::new(steps, Verdict::Acting(Work::Deleting)).pausing(pausing);
    if !marked {
        return release_resumed(
            scope,
            observed,
            plan_id,
            format!("plan {plan_id} was kept, as deletionPolicy Retain says"),
        );
    }
    let text = ownership::unmarked(found).to_owned();
    let step = Step::UpdatePlan { plan_id, plan: Plan { plan_desc: Some(text), ..Plan::default() } };
    let too_long = scope.deleting_since().is_some_and(|since| window_end(since, MAX_PAUSE, now).is_none());
    if too_long || pause_is_over(status, now) {
        let left = format!("plan {plan_id} was kept with its owner mark, since the API did not let it be removed");
        return release_resumed(scope, observed, plan_id, left);
    }
    if !pausing || !items::all_paused(&status.paused_items, &observed.items) {
        return match items::transitional(&observed.items).into_iter().next() {
            Some(on) => waiting(on, pausing),
            None => acting(vec![step]),
        };
    }
    if items::blocked_by_others(&observed.other_items()).is_some() {
        let left =
            format!("plan {plan_id} was kept with its owner mark, since items run in it that this object does not own");
        return release_resumed(scope, observed, plan_id, left);
    }
    let stops = items::stop_running(plan_id, &observed.items);
    match (stops.is_empty(), items::transitional(&observed.items).into_iter().next()) {
        (false, _) => acting(stops),
        (true, Some(on)) => waiting(on, true),
        (true, None) => acting(vec![step]),
    }
}

/// Releases the plan once every paused item runs again.
fn release_resumed(scope: &Scope<'_>, observed: &Observed, plan_id: i64, left: String) -> Decision {
    let paused = &scope.status.paused_items;
    let steps = items::start_paused(paused, plan_id, &observed.items);
    let waits = items::transitional(&observed.items).into_iter().next().filter(|_| !paused.is_empty());
    match (steps.is_empty(), waits) {
        (false, _) => Decision::new(steps, Verdict::Acting(Work::Deleting)).pausing(true),
        (true, Some(on)) => waiting(on, true),
        (true, None) => released(Some(left)),
    }
}

fn waiting(on: String, pause_for_update: bool) -> Decision {
    let verdict = Verdict::Waiting { work: Work::Deleting, on };
    Decision::new(vec![], verdict).pausing(pause_for_update)
}

fn released(left: Option<String>) -> Decision {
    Decision::new(vec![], Verdict::Released { left })
}
