//! The facts in the status of a group: its lifecycle, pairs, drills and pending calls. Conditions follow from them elsewhere.

use super::super::act::Effect;
use super::super::call::Call;
use super::super::decide::{Action, Decision};
use super::super::lifecycle::Lifecycle;
use super::super::observe::Observed;
use super::super::{Acted, Ran, Scope, resolve};
use crate::api::disk_replica_group::{
    Direction, DiskReplicaGroupSpec, DiskReplicaGroupStatus, DrillResult, PairStatus,
};
use crate::cloud::ebs::{DrillStatus, PairView};
use crate::cloud::error::{Class, Error};
use crate::controller::conditions::seconds;
use crate::controller::steps::Outcome;

/// Step of the recovery point in status, in seconds: the status of a steady group changes rarely.
const RECOVERY_POINT_STEP_SECONDS: i64 = 60;

/// Whether the cloud certainly did not execute a call, so that the next attempt gets a new token. A call without an answer, or
/// one in progress, keeps its token.
fn certainly_refused(error: &Error) -> bool {
    match error.class {
        Class::Unavailable | Class::Ambiguous => false,
        Class::Conflict => !error.code.contains("LastTokenProcessing"),
        Class::NotFound | Class::Throttled { .. } | Class::Denied | Class::Invalid => true,
    }
}

/// Sets the facts in status.
pub(super) fn facts(scope: &Scope<'_>, new: &mut DiskReplicaGroupStatus, ran: &Ran<'_>) {
    let Ran { observed, decision, acted } = *ran;
    decision.details.write_to(new);
    new.pairs = pair_statuses(&scope.object.spec, new, observed, &decision.details.lifecycle, acted);
    group_facts(scope, new, observed, decision);
    let missing_since = new.missing_since.unwrap_or(seconds(scope.now));
    new.missing_since = decision.details.missing.then_some(missing_since);
    new.head.drift = decision.shown_drift();
    update_pending_calls(scope, new, decision, acted);
    effects(scope, new, acted);
}

/// Sets the group's ID, status, pairs and recovery point.
fn group_facts(scope: &Scope<'_>, new: &mut DiskReplicaGroupStatus, observed: &Observed, decision: &Decision) {
    let spec = &scope.object.spec;
    // Both IDs: a list may lack either group later.
    let twins = observed.all_twins(scope);
    let used = observed.group.group().map(|group| group.replica_group_id.clone()).filter(|_| !twins.is_empty());
    new.twins = used.into_iter().chain(twins.iter().cloned()).collect();
    let Some(group) = observed.group.group() else {
        new.group_status = None;
        new.recovery_point = None;
        return;
    };
    // Of two groups with our mark neither is bound.
    if twins.is_empty() {
        new.replica_group_id = Some(group.replica_group_id.clone());
    }
    new.group_status = Some(group.status.as_str().to_owned());
    let within = spec
        .pairs
        .iter()
        .filter(|want| resolve::pair(want, new, &observed.pairs).is_some_and(|pair| resolve::in_group(pair, group)));
    new.pairs_in_group = Some(format!("{}/{}", within.count(), spec.pairs.len()));
    let lifecycle = &decision.details.lifecycle;
    let point = lifecycle.valid_recovery_point(group);
    let members: Vec<_> = observed.pairs.iter().filter(|pair| resolve::in_group(pair, group)).collect();
    let listed = |id: &String| members.iter().any(|pair| pair.replica_pair_id == *id);
    let all_listed = observed.pairs_complete && !members.is_empty() && group.pair_ids.iter().all(listed);
    if point.is_some() && all_listed && members.iter().all(|pair| lifecycle.is_synchronized(pair)) {
        new.outdated_recovery_point = None;
    }
    new.recovery_point = match (new.recovery_point, point) {
        (Some(old), Some(point)) if (0..RECOVERY_POINT_STEP_SECONDS).contains(&point.duration_since(old).as_secs()) => {
            Some(old)
        }
        (_, point) => point,
    };
}

/// Sets the effects of the steps: a new group, a new drill, the end of a drill.
fn effects(scope: &Scope<'_>, new: &mut DiskReplicaGroupStatus, acted: &[Acted]) {
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
            (Action::StartDrill, Outcome::Failed(error)) if certainly_refused(error) && !drilling => {
                drill_refused(scope, new, error);
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

/// Ends a drill that the cloud refused to start. A refusal that passes keeps the drill for the next attempt.
fn drill_refused(scope: &Scope<'_>, new: &mut DiskReplicaGroupStatus, error: &Error) {
    let lasts = !matches!(error.class, Class::Throttled { .. } | Class::Denied);
    if let Some(drills) = new.drills.as_mut().filter(|_| lasts)
        && let Some(mut run) = drills.current.take_if(|run| run.drill_id.is_none())
    {
        run.result = Some(DrillResult::Failed);
        run.cleared_at = Some(seconds(scope.now));
        run.message = error.to_string();
        drills.last = Some(run);
    }
}

/// Keeps the calls that the cloud may have executed: those of this reconcile that it did not refuse, and those whose effect the
/// operator waits for.
fn update_pending_calls(scope: &Scope<'_>, new: &mut DiskReplicaGroupStatus, decision: &Decision, acted: &[Acted]) {
    new.pending_calls.retain_mut(|it| {
        let Some(call) = Call::parse(&it.call) else { return false };
        if decision.details.awaited.contains(&call) {
            return true;
        }
        let Some(Acted { step, outcome }) = acted.iter().find(|done| done.step.action.call() == call) else {
            // Its effect is visible, or the spec no longer needs it.
            return false;
        };
        match outcome {
            Outcome::Done(_) => {
                if call == Call::Synchronize && it.accepted_at.is_none() {
                    new.last_single_synchronization_at = Some(seconds(scope.now));
                }
                it.accepted_at = Some(seconds(scope.now));
                true
            }
            // The operator did not try it now. An earlier attempt may have lost its answer.
            Outcome::Skipped => true,
            Outcome::Failed(error) if !certainly_refused(error) => true,
            // This refusal proves nothing about an earlier attempt without an answer.
            Outcome::Failed(error) => step.lost.is_some_and(|at| {
                it.requested_at = at;
                let passes = matches!(error.class, Class::Throttled { .. } | Class::Denied);
                passes || scope.now.duration_since(at).unsigned_abs() <= scope.visibility_window
            }),
        }
    });
}

/// The newest direction in which a pair completed a synchronization. While a failover is in effect, that of the direction before
/// it counts, also for a group that was taken over.
fn synchronized(
    old: &DiskReplicaGroupStatus,
    name: &str,
    view: Option<&PairView>,
    lifecycle: &Lifecycle,
) -> Option<Direction> {
    // A list may lack it.
    let Some(view) = view else { return old.pairs.iter().find(|it| it.name == name)?.synchronized };
    let known = old.pairs.iter().find(|it| it.replica_pair_id.as_ref() == Some(&view.replica_pair_id));
    let known = known.and_then(|it| it.synchronized);
    match lifecycle.is_synchronized(view) {
        true => Some(lifecycle.direction),
        false => known,
    }
}

/// The pairs of the spec, and the pairs removed from it that are not gone. A pair that no list contains keeps its ID until the
/// cloud accepts its deletion: a list may be late.
fn pair_statuses(
    spec: &DiskReplicaGroupSpec,
    old: &DiskReplicaGroupStatus,
    observed: &Observed,
    lifecycle: &Lifecycle,
    acted: &[Acted],
) -> Vec<PairStatus> {
    let deleted = |id: &str| {
        resolve::deletion_accepted(old, id)
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
        synchronized: synchronized(old, name, view, lifecycle),
    };
    let mut all: Vec<PairStatus> = vec![];
    for want in &spec.pairs {
        let created = acted.iter().find_map(|it| match (&it.step.action, &it.outcome) {
            (Action::CreatePair { pair, .. }, Outcome::Done(Effect::Created(id))) if *pair == want.name => {
                Some(id.clone())
            }
            _ => None,
        });
        let known = old.pairs.iter().find(|it| it.name == want.name).and_then(|it| it.replica_pair_id.clone());
        let known = known.filter(|id| !deleted(id));
        all.push(status(&want.name, resolve::pair(want, old, &observed.pairs), created.or(known)));
    }
    for left in resolve::leftovers(spec, old, &observed.binding.owner, &observed.pairs) {
        if left.view.is_some() || !deleted(left.id) {
            all.push(status(left.name, left.view, Some(left.id.to_owned())));
        }
    }
    all
}
