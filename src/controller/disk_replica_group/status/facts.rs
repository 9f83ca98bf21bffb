//! What was seen and done, as status remembers it: the life of the group, its pairs, drills, and the calls that may have
//! happened. No judgement.

use std::time::Duration;

use jiff::Timestamp;

use super::super::Scope;
use super::super::act::{Acted, Outcome};
use super::super::decide::{Action, Decision, Step};
use super::super::observe::Observed;
use super::super::resolve;
use crate::api::disk_replica_group::{
    DiskReplicaGroupSpec, DiskReplicaGroupStatus, DrillResult, PairStatus, PendingCall,
};
use crate::cloud::ebs::{DrillStatus, PairView};
use crate::cloud::error::{Class, Error};
use crate::controller::conditions::seconds;

/// The most differences that status names.
const MOST_DRIFT: usize = 50;
/// The recovery point is shown in steps of this many seconds, so that a steady group is not rewritten.
const RECOVERY_POINT_STEP: i64 = 60;

/// The status with the calls of the decision that have a client token, and with the operation that they belong to. It is
/// written before them: after a crash the same call is made again, and not another one. So is what was learnt of a drill that
/// is about to be cleared, since nobody can look at it afterwards.
pub fn intended(old: &DiskReplicaGroupStatus, decision: &Decision, now: Timestamp) -> Option<DiskReplicaGroupStatus> {
    let clears = |it: &Step| matches!(it.action, Action::ClearDrill { .. }) && decision.drills != old.drills;
    if !decision.steps.iter().any(|it| it.action.has_token() || clears(it)) {
        return None;
    }
    let mut new = old.clone();
    remember(&mut new, decision);
    for Step { action, sequence, .. } in decision.steps.iter().filter(|it| it.action.has_token()) {
        let call = action.call();
        if let Some(again) = new.pending_calls.iter_mut().find(|it| it.call == call && it.sequence == *sequence) {
            // It may take effect for so long after each attempt.
            again.requested_at = seconds(now);
            continue;
        }
        new.pending_calls.retain(|it| it.call != call);
        new.pending_calls.push(PendingCall {
            call,
            sequence: *sequence,
            requested_at: seconds(now),
            accepted_at: None,
        });
        new.call_sequence = new.call_sequence.max(Some(*sequence));
        if let Action::CreateGroup(_) = action {
            new.replica_group_id = None;
        }
    }
    (new != *old).then_some(new)
}

/// Takes over what the decision carries on.
fn remember(new: &mut DiskReplicaGroupStatus, decision: &Decision) {
    let life = &decision.life;
    new.direction = Some(life.direction);
    new.active_site = Some(life.active);
    new.reported_source_zone = life.reported_source_zone.clone();
    new.renamed_since = life.renamed_since;
    new.outdated_recovery_point = life.outdated;
    new.last_handled_active_site = Some(life.handled);
    new.operations = life.operations.clone();
    new.drills = decision.drills.clone();
}

/// Whether a call certainly did not happen, so that the next attempt is another one. What was lost, and what is still at
/// work, keeps its token; so does what was lost before and is only held off now.
fn refused(error: &Error) -> bool {
    match error.class {
        Class::Unavailable | Class::Ambiguous => false,
        Class::Conflict => !error.code.contains("LastTokenProcessing"),
        Class::NotFound | Class::Throttled { .. } | Class::Denied | Class::Invalid => true,
    }
}

/// What was seen and done.
pub(super) fn facts(
    it: &Scope<'_>,
    new: &mut DiskReplicaGroupStatus,
    seen: &Observed,
    decision: &Decision,
    acted: &[Acted],
) {
    let (spec, now) = (&it.object.spec, it.now);
    remember(new, decision);
    new.pairs = pairs(spec, new, &super::super::owner(it), seen, acted);
    let group = seen.group.group();
    if let Some(group) = group {
        new.replica_group_id = Some(group.replica_group_id.clone());
        new.group_status = Some(group.status.as_str().to_owned());
        let within = spec
            .pairs
            .iter()
            .filter(|want| resolve::pair(want, new, &seen.pairs).is_some_and(|pair| resolve::in_group(pair, group)));
        new.pairs_in_group = Some(format!("{}/{}", within.count(), spec.pairs.len()));
        let point = decision.life.counted(group);
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
    new.missing_since = decision.missing.then(|| new.missing_since.unwrap_or(seconds(now)));
    new.drift = decision.drift.iter().take(MOST_DRIFT).cloned().collect();
    calls(new, decision, acted, it.visibility_window, now);
    let drilling = new.pending_calls.iter().any(|it| it.call == Action::StartDrill.call());
    for Acted { step, outcome } in acted {
        match (&step.action, outcome) {
            (Action::CreateGroup(_), Outcome::Made(id)) => {
                new.replica_group_id = Some(id.clone());
                new.missing_since = None;
            }
            (Action::StartDrill, Outcome::Made(id)) => {
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
            (Action::ClearDrill { drill_id }, Outcome::Done) => {
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
fn calls(
    new: &mut DiskReplicaGroupStatus,
    decision: &Decision,
    acted: &[Acted],
    visibility_window: Duration,
    now: Timestamp,
) {
    new.pending_calls.retain_mut(|it| {
        if decision.awaited.contains(&it.call) {
            return true;
        }
        let Some(Acted { step, outcome }) = acted.iter().find(|done| done.step.action.call() == it.call) else {
            // Its effect was seen, or it is wanted no more.
            return false;
        };
        match outcome {
            Outcome::Done | Outcome::Made(_) => {
                it.accepted_at = Some(seconds(now));
                true
            }
            // It was not tried now, but may have been before: then its answer was lost.
            Outcome::Skipped => true,
            Outcome::Failed(error) if !refused(error) => true,
            // That it was refused this time says nothing of an attempt before, whose answer was lost.
            Outcome::Failed(error) => step.lost.is_some_and(|at| {
                it.requested_at = at;
                let held_off = matches!(error.class, Class::Throttled { .. } | Class::Denied);
                held_off || now.duration_since(at).unsigned_abs() <= visibility_window
            }),
        }
    });
}

/// The pairs of the spec, and those removed from it that are not gone yet. One that a list does not show keeps its ID until
/// its deletion was answered: a list may be late.
fn pairs(
    spec: &DiskReplicaGroupSpec,
    old: &DiskReplicaGroupStatus,
    owner: &str,
    seen: &Observed,
    acted: &[Acted],
) -> Vec<PairStatus> {
    let deleted = |id: &str| {
        resolve::deleted(old, id)
            || acted.iter().any(|it| match (&it.step.action, &it.outcome) {
                (Action::DeletePair { pair_id }, Outcome::Done) => pair_id == id,
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
            (Action::CreatePair { pair, .. }, Outcome::Made(id)) if *pair == want.name => Some(id.clone()),
            _ => None,
        });
        let known = old.pairs.iter().find(|it| it.name == want.name).and_then(|it| it.replica_pair_id.clone());
        let known = known.filter(|id| !deleted(id));
        all.push(status(&want.name, resolve::pair(want, old, &seen.pairs), made.or(known)));
    }
    for left in resolve::leftovers(spec, old, owner, &seen.pairs) {
        if left.view.is_some() || !deleted(left.id) {
            all.push(status(left.name, left.view, Some(left.id.to_owned())));
        }
    }
    all
}
