//! Deletion: stop the items, delete them, delete the plan; or let the plan go. It never needs the spec to be valid.

use jiff::Timestamp;

use super::items::{self, Chores};
use super::{Decision, Desired, Step, Verdict, Work, pause_is_over, still_hidden, still_invisible};
use crate::api::plan::{DeletionPolicy, ManagementPolicy};
use crate::cloud::rocketmq::{Plan, PlanView};
use crate::controller::ownership::{self, Owner};
use crate::controller::plan::observe::{Lookup, Observed};
use crate::controller::plan::resolve;
use crate::controller::resource::LONGEST_PAUSE;

/// Decides what a pass does for an object that is being deleted.
pub fn teardown(want: &Desired<'_>, seen: &Observed, now: Timestamp) -> Decision {
    let Desired { spec, status, binding, .. } = want;
    if spec.management_policy == ManagementPolicy::Observe {
        return released(None);
    }
    let plan = match &seen.plan {
        Lookup::Absent { missing: Some(id), .. }
            if status.plan_id.is_some() && status.creation.is_none() && status.missing_since.is_none() =>
        {
            return waiting(format!("plan {id} is not found; it is looked for once more"), false);
        }
        Lookup::Absent { .. } => {
            // A plan whose Create was answered by nobody may still appear.
            return match still_invisible(status.creation.as_ref(), want.window(status.plan_id.is_some()), now) {
                Some(until) => waiting(format!("whether a plan was created is known at {until}"), false),
                None => released(None),
            };
        }
        Lookup::Found(plan) => plan,
    };
    let owner = resolve::owner(plan, &binding.mark);
    if let (Some(until), true) =
        (still_invisible(status.creation.as_ref(), want.visibility_window, now), owner != Owner::Us)
    {
        return waiting(format!("whether an earlier call created another plan is known at {until}"), false);
    }
    match owner {
        Owner::Us => {}
        Owner::Another(owner) => {
            return released(Some(format!("plan {} belongs to {owner} and was left alone", plan.plan_id)));
        }
        // The annotation alone may have come with a copied manifest.
        Owner::Nobody if want.claimed == Some(plan.plan_id) && status.plan_id == Some(plan.plan_id.to_string()) => {}
        Owner::Nobody => {
            let left = format!("plan {} carries no mark of this object and was left alone", plan.plan_id);
            return resumed(want, seen, plan.plan_id, left);
        }
    }
    match spec.deletion_policy {
        DeletionPolicy::Delete => delete(plan, seen),
        DeletionPolicy::Retain => retain(want, seen, plan, now),
    }
}

fn delete(plan: &PlanView, seen: &Observed) -> Decision {
    let plan_id = plan.plan_id;
    let mut work = Chores::default();
    for item in &seen.items {
        items::removal(plan_id, item, &mut work);
    }
    let Chores { mut steps, waits, .. } = work;
    if seen.items.is_empty() {
        steps.push(Step::DeletePlan { plan_id });
    }
    match (steps.is_empty(), waits.into_iter().next()) {
        (true, Some(on)) => waiting(on, false),
        _ => Decision::of(steps, Verdict::Acting(Work::Deleting)),
    }
}

/// Removes the mark. Where the API refuses that while items run, they are stopped for it and started again.
fn retain(want: &Desired<'_>, seen: &Observed, plan: &PlanView, now: Timestamp) -> Decision {
    let Desired { spec, status, binding, .. } = want;
    let plan_id = plan.plan_id;
    let pausing = !status.paused_items.is_empty();
    let found = plan.plan_desc.as_deref().unwrap_or_default();
    let marked = ownership::owner(found, &binding.mark) == Owner::Us;
    let instances = resolve::instances(spec, plan);
    let resolved = resolve::items(spec, &status.topic_mappings, &instances, &seen.items);
    let acting = |steps| Decision { pause_for_update: pausing, ..Decision::of(steps, Verdict::Acting(Work::Deleting)) };
    if !marked {
        return resumed(want, seen, plan_id, format!("plan {plan_id} was kept, as deletionPolicy Retain says"));
    }
    let text = ownership::unmarked(found).to_owned();
    let step = Step::UpdatePlan { plan_id, plan: Plan { plan_desc: Some(text), ..Plan::default() } };
    let too_long = want.deleting_since.is_some_and(|since| still_hidden(since, LONGEST_PAUSE, now).is_none());
    if too_long || pause_is_over(status, now) {
        let left = format!("plan {plan_id} was kept with its owner mark, since the API did not let it be removed");
        return resumed(want, seen, plan_id, left);
    }
    // Only for a plan that has refused are all items listed.
    if !pausing || !items::all_listed(&status.paused_items, &seen.items) {
        return match items::transitional(&seen.items).into_iter().next() {
            Some(on) => waiting(on, pausing),
            None => acting(vec![step]),
        };
    }
    if items::foreign_runners(&resolved).is_some() {
        let left =
            format!("plan {plan_id} was kept with its owner mark, since items run in it that this object does not own");
        return resumed(want, seen, plan_id, left);
    }
    let stops = items::pause(plan_id, &seen.items);
    match (stops.is_empty(), items::transitional(&seen.items).into_iter().next()) {
        (false, _) => acting(stops),
        (true, Some(on)) => waiting(on, true),
        (true, None) => acting(vec![step]),
    }
}

/// Lets the plan go once every item runs again that was stopped for this object's sake.
fn resumed(want: &Desired<'_>, seen: &Observed, plan_id: i64, left: String) -> Decision {
    let paused = &want.status.paused_items;
    let steps = items::resume(paused, plan_id, &seen.items);
    let waits = items::transitional(&seen.items).into_iter().next().filter(|_| !paused.is_empty());
    match (steps.is_empty(), waits) {
        (false, _) => Decision { pause_for_update: true, ..Decision::of(steps, Verdict::Acting(Work::Deleting)) },
        (true, Some(on)) => waiting(on, true),
        (true, None) => released(Some(left)),
    }
}

fn waiting(on: String, pause_for_update: bool) -> Decision {
    let verdict = Verdict::Waiting { work: Work::Deleting, on };
    Decision { pause_for_update, ..Decision::of(vec![], verdict) }
}

fn released(left: Option<String>) -> Decision {
    Decision::of(vec![], Verdict::Released { left })
}
