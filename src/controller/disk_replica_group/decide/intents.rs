//! The intents of calls: status contains every call with a client token before the operator makes it, with the call's
//! operation. After a crash the operator repeats the same call, and makes no other.

use super::{Action, Call, Decision, Details, Scope, Step};
use crate::api::DRILL_ANNOTATION;
use crate::api::disk_replica_group::{DiskReplicaGroupStatus, PendingCall};
use crate::controller::conditions::seconds;

/// The status with the intents of the decision's steps, if they have any. It also keeps the last observation of a drill that
/// the operator clears: no later one is possible.
pub(super) fn intents(scope: &Scope<'_>, decision: &Decision) -> Option<DiskReplicaGroupStatus> {
    let clears = decision.steps.iter().any(|it| matches!(it.action, Action::ClearDrill { .. }));
    let drill_observed = clears && decision.details.drills != scope.status.drills;
    if !decision.steps.iter().any(|it| it.action.has_token()) && !drill_observed {
        return None;
    }
    let mut new = scope.status.clone();
    decision.details.write_to(&mut new);
    for step in decision.steps.iter().filter(|it| it.action.has_token()) {
        add_pending(scope, &mut new, step);
    }
    // After a crash the drill continues. Its request must not begin a second one.
    if decision.details.drill_handled {
        new.last_handled_drill_at = scope.annotation(DRILL_ANNOTATION).map(Into::into);
    }
    (new != *scope.status).then_some(new)
}

/// Adds the step's call to the pending calls.
fn add_pending(scope: &Scope<'_>, new: &mut DiskReplicaGroupStatus, step: &Step) {
    let (call, sequence) = (step.action.call(), step.sequence);
    let requested_at = seconds(scope.now);
    if let Some(again) = new.pending_calls.iter_mut().find(|it| call.is(it) && it.sequence == sequence) {
        // Each attempt may take effect within the visibility window.
        again.requested_at = requested_at;
        return;
    }
    new.pending_calls.retain(|it| !call.is(it));
    new.pending_calls.push(PendingCall { call: call.to_string(), sequence, requested_at, accepted_at: None });
    new.call_sequence = new.call_sequence.max(Some(sequence));
    if call == Call::CreateGroup {
        new.replica_group_id = None;
    }
}

impl Details {
    /// Writes the lifecycle and the drills into a status.
    pub fn write_to(&self, new: &mut DiskReplicaGroupStatus) {
        let lifecycle = &self.lifecycle;
        // An uncertain direction does not become evidence of the next reconcile.
        let certain = lifecycle.contradiction.is_none();
        new.direction = certain.then_some(lifecycle.direction);
        new.active_site = certain.then_some(lifecycle.active);
        new.reported_source_zone = lifecycle.reported_source_zone.clone().filter(|_| certain);
        new.renamed_since = lifecycle.renamed_since;
        new.outdated_recovery_point = lifecycle.outdated;
        new.operations = lifecycle.operations.clone();
        new.failovers = lifecycle.ended_failovers();
        new.failed_over_by = lifecycle.failed_over_by;
        new.active_site_since = lifecycle.active_since.filter(|_| certain);
        new.reversed_by_other = lifecycle.reversed_by_other;
        new.last_requested_at = self.request.last_requested_at;
        new.request = self.request.request.clone();
        new.drills = self.drills.clone();
    }
}
