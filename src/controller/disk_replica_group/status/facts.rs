//! What was observed and done, as status remembers it: the lifecycle of the group, its pairs, drills, and the pending calls. No
//! judgement.

use super::super::act::Effect;
use super::super::call::Call;
use super::super::decide::{Action, Decision};
use super::super::observe::Observed;
use super::super::{Acted, Ran, Scope, resolve};
use crate::api::disk_replica_group::{DiskReplicaGroupSpec, DiskReplicaGroupStatus, DrillResult, PairStatus};
use crate::cloud::ebs::{DrillStatus, PairView};
use crate::cloud::error::{Class, Error};
use crate::controller::conditions::seconds;
use crate::controller::steps::Outcome;

/// The recovery point is shown in steps of this many seconds, so that a steady group is not rewritten.
const RECOVERY_POINT_STEP: i64 = 60;

/// Whether a call certainly did not happen, so that the next attempt is another one. What was lost, and what is still at
/// work, keeps its token; so does what was lost before and is only held off now.
fn refused(error: &Error) -> bool {
    match error.class {
        Class::Unavailable | Class::Ambiguous => false,
        Class::Conflict => !error.code.contains("LastTokenProcessing"),
        Class::NotFound | Class::Throttled { .. } | Class::Denied | Class::Invalid => true,
    }
}

/// What was observed and done.
pub(super) fn facts(scope: &Scope<'_>, new: &mut DiskReplicaGroupStatus, ran: &Ran<'_>) {
    let Ran { observed, decision, acted } = *ran;
    let (spec, now) = (&scope.object.spec, scope.now);
    decision.details.remember(new);
    new.pairs = pairs(spec, new, observed, acted);
    let group = observed.group.group();
    if let Some(group) = group {
        new.replica_group_id = Some(group.replica_group_id.clone());
        new.group_status = Some(group.status.as_str().to_owned());
        let within = spec.pairs.iter().filter(|want| {
            resolve::pair(want, new, &observed.pairs).is_some_and(|pair| resolve::in_group(pair, group))
        });
        new.pairs_in_group = Some(format!("{}/{}", within.count(), spec.pairs.len()));
        let point = decision.details.lifecycle.counted(group);
        new.recovery_point = match (new.recovery_point, point) {
            (Some(old), Some(point)) if (0..RECOVERY_POINT_STEP).contains(&point.duration_since(old).as_secs()) => {
                Some(old)
            }
            (_, point) => point,
        };
    } else {
        new.group_status = None;
        new.recovery_point = None;
    }
    new.missing_since = decision.details.missing.then(|| new.missing_since.unwrap_or(seconds(now)));
    new.head.drift = decision.shown_drift();
    calls(scope, new, decision, acted);
    let drilling = Call::StartDrill.pending(new).is_some();
    for Acted { step, outcome } in acted {
        match (&step.action, outcome) {
            (Action::CreateGroup(_), Outcome::Done(Effect::Created(id))) => {
                new.replica_group_id = Some(id.clone());
                new.missing_since = None;
            }
            (Action::StartDrill, Outcome::Done(Effect::Created(id))) => {
                if let Some(run) = new.drills.as_mut().and_then(|it| it.current.as_mut()) {
                    run.drill_id = Some(id.clone());
                }
            }
            (Action::StartDrill, Outcome::Failed(error)) if refused(error) && !drilling => {
                // What is only held off is tried again.
                let lasts = !matches!(error.class, Class::Throttled { .. } | Class::Denied);
                if let Some(drills) = new.drills.as_mut().filter(|_| lasts)
                    && let Some(mut run) = drills.current.take_if(|run| run.drill_id.is_none())
                {
                    run.result = Some(DrillResult::Failed);
                    run.cleared_at = Some(seconds(now));
                    run.message = error.to_string();
                    drills.last = Some(run);
                }
            }
            (Action::ClearDrill { drill_id }, Outcome::Done(_)) => {
                let current = new.drills.as_mut().and_then(|it| it.current.as_mut());
                if let Some(run) = current.filter(|run| run.drill_id.as_ref() == Some(drill_id)) {
                    run.drill_status = Some(DrillStatus::Clearing.as_str().to_owned());
                }
            }
            _ => {}
        }
    }
}

/// The calls that may have happened: those of this pass that were not refused, and those that are waited for.
fn calls(scope: &Scope<'_>, new: &mut DiskReplicaGroupStatus, decision: &Decision, acted: &[Acted]) {
    new.pending_calls.retain_mut(|it| {
        let Some(call) = Call::parse(&it.call) else { return false };
        if decision.details.awaited.contains(&call) {
            return true;
        }
        let Some(Acted { step, outcome }) = acted.iter().find(|done| done.step.action.call() == call) else {
            // Its effect is visible, or it is not wanted any more.
            return false;
        };
        match outcome {
            Outcome::Done(_) => {
                it.accepted_at = Some(seconds(scope.now));
                true
            }
            // It was not tried now, but may have been before: then its answer was lost.
            Outcome::Skipped => true,
            Outcome::Failed(error) if !refused(error) => true,
            // This refusal says nothing about an earlier attempt whose answer was lost.
            Outcome::Failed(error) => step.lost.is_some_and(|at| {
                it.requested_at = at;
                let held_off = matches!(error.class, Class::Throttled { .. } | Class::Denied);
                held_off || scope.now.duration_since(at).unsigned_abs() <= scope.visibility_window
            }),
        }
    });
}

/// The pairs of the spec, and those removed from it that are not gone yet. One that a list does not show keeps its ID until
/// its deletion was answered: a list may be late.
fn pairs(
    spec: &DiskReplicaGroupSpec,
    old: &DiskReplicaGroupStatus,
    observed: &Observed,
    acted: &[Acted],
) -> Vec<PairStatus> {
    let deleted = |id: &str| {
        resolve::deleted(old, id)
            || acted.iter().any(|it| match (&it.step.action, &it.outcome) {
                (Action::DeletePair { pair_id }, Outcome::Done(_)) => pair_id == id,
                _ => false,
            })
    };
    let status = |name: &str, view: Option<&PairView>, id: Option<String>| PairStatus {
        name: name.to_owned(),
        replica_pair_id: view.map(|it| it.replica_pair_id.clone()).or(id),
        pair_status: view.map(|it| it.status.as_str().to_owned()),
        status_message: view.and_then(|it| it.status_message.clone()).filter(|it| !it.is_empty()),
    };
    let mut all: Vec<PairStatus> = vec![];
    for want in &spec.pairs {
        let made = acted.iter().find_map(|it| match (&it.step.action, &it.outcome) {
            (Action::CreatePair { pair, .. }, Outcome::Done(Effect::Created(id))) if *pair == want.name => {
                Some(id.clone())
            }
            _ => None,
        });
        let known = old.pairs.iter().find(|it| it.name == want.name).and_then(|it| it.replica_pair_id.clone());
        let known = known.filter(|id| !deleted(id));
        all.push(status(&want.name, resolve::pair(want, old, &observed.pairs), made.or(known)));
    }
    for left in resolve::leftovers(spec, old, &observed.binding.owner, &observed.pairs) {
        if left.view.is_some() || !deleted(left.id) {
            all.push(status(left.name, left.view, Some(left.id.to_owned())));
        }
    }
    all
}
