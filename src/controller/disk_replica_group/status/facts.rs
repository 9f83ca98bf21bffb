//! What was seen and done, as status remembers it: the life of the group, its pairs, drills, and the calls that may have
//! happened. No judgement.

use jiff::Timestamp;

use super::super::act::{Acted, Outcome};
use super::super::diff::{Action, Decision, Step};
use super::super::observe::Observed;
use super::super::resolve;
use crate::api::disk_replica_group::{DiskReplicaGroupSpec, DiskReplicaGroupStatus, PairStatus, PendingCall};
use crate::cloud::error::{Class, Error};
use crate::conditions::seconds;

/// The most differences that status names.
const MOST_DRIFT: usize = 50;
/// The recovery point is shown in steps of this many seconds, so that a steady group is not rewritten.
const RECOVERY_POINT_STEP: i64 = 60;

/// The status with the calls of the decision that have a client token, and with the operation that they belong to. It is
/// written before them: after a crash the same call is made again, and not another one.
pub fn intended(old: &DiskReplicaGroupStatus, decision: &Decision, now: Timestamp) -> Option<DiskReplicaGroupStatus> {
    if !decision.steps.iter().any(|it| it.action.has_token()) {
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
    new.outdated_recovery_point = life.outdated;
    new.last_handled_active_site = Some(life.handled);
    new.operations = life.operations.clone();
    new.drills = decision.drills.clone();
}

/// Whether a refused call will get the same answer for the same token, so that the next attempt needs another one. What was
/// lost, and what is still at work, keeps its token.
fn refused(error: &Error) -> bool {
    match error.class {
        Class::Unavailable | Class::Ambiguous => false,
        Class::Conflict => !error.code.contains("LastTokenProcessing"),
        Class::NotFound | Class::Throttled { .. } | Class::Denied | Class::Invalid => true,
    }
}

/// What was seen and done.
pub(super) fn facts(
    spec: &DiskReplicaGroupSpec,
    new: &mut DiskReplicaGroupStatus,
    seen: &Observed,
    decision: &Decision,
    acted: &[Acted],
    now: Timestamp,
) {
    remember(new, decision);
    new.pairs = pairs(spec, new, seen, acted);
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
    calls(new, decision, acted, now);
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
            (Action::StartDrill, Outcome::Failed(error)) if refused(error) => {
                if let Some(drills) =
                    new.drills.as_mut().filter(|it| it.current.as_ref().is_some_and(|run| run.drill_id.is_none()))
                {
                    let run = drills.current.take().map(|mut run| {
                        run.result = Some(crate::api::disk_replica_group::DrillResult::Failed);
                        run.cleared_at = Some(seconds(now));
                        run.message = error.to_string();
                        run
                    });
                    drills.last = run.or(drills.last.take());
                }
            }
            _ => {}
        }
    }
}

/// The calls that may have happened: those of this pass that were not refused, and those that are waited for.
fn calls(new: &mut DiskReplicaGroupStatus, decision: &Decision, acted: &[Acted], now: Timestamp) {
    new.pending_calls.retain_mut(|it| {
        if decision.awaited.contains(&it.call) {
            return true;
        }
        let Some(Acted { outcome, .. }) = acted.iter().find(|done| done.step.action.call() == it.call) else {
            // Its effect was seen, or it is wanted no more.
            return false;
        };
        match outcome {
            Outcome::Done | Outcome::Made(_) => {
                it.accepted_at = Some(seconds(now));
                true
            }
            // It was written down and not tried.
            Outcome::Skipped => false,
            Outcome::Failed(error) => !refused(error),
        }
    });
}

/// The pairs of the spec, and those removed from it that are not gone yet.
fn pairs(
    spec: &DiskReplicaGroupSpec,
    old: &DiskReplicaGroupStatus,
    seen: &Observed,
    acted: &[Acted],
) -> Vec<PairStatus> {
    let mut all: Vec<PairStatus> = spec
        .pairs
        .iter()
        .map(|want| {
            let made = acted.iter().find_map(|it| match (&it.step.action, &it.outcome) {
                (Action::CreatePair { pair, .. }, Outcome::Made(id)) if *pair == want.name => Some(id.clone()),
                _ => None,
            });
            let found = resolve::pair(want, old, &seen.pairs);
            PairStatus {
                name: want.name.clone(),
                replica_pair_id: found.map(|it| it.replica_pair_id.clone()).or(made),
                pair_status: found.map(|it| it.status.as_str().to_owned()),
                status_message: found.and_then(|it| it.status_message.clone()).filter(|it| !it.is_empty()),
            }
        })
        .collect();
    let left = resolve::leftovers(spec, old, &seen.pairs).into_iter().map(|(name, pair)| PairStatus {
        name: name.to_owned(),
        replica_pair_id: Some(pair.replica_pair_id.clone()),
        pair_status: Some(pair.status.as_str().to_owned()),
        status_message: pair.status_message.clone().filter(|it| !it.is_empty()),
    });
    all.extend(left);
    all
}
