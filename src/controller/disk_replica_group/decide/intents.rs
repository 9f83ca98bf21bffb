//! The intents of calls: status names every call with a client token before it is made, with the operation that it belongs to.
//! After a crash the same call is repeated, and not another one.

use super::{Action, Call, Decision, Details, Scope, Step};
use crate::api::DRILL_ANNOTATION;
use crate::api::disk_replica_group::{DiskReplicaGroupStatus, PendingCall};
use crate::controller::conditions::seconds;

/// The status with the intents of the decision's steps, if they have any. It also keeps what was learnt of a drill that is about
/// to be cleared, since nothing can be read of it afterwards.
pub(super) fn intents(scope: &Scope<'_>, decision: &Decision) -> Option<DiskReplicaGroupStatus> {
    let clears = decision.steps.iter().any(|it| matches!(it.action, Action::ClearDrill { .. }));
    let learnt = clears && decision.details.drills != scope.status.drills;
    if !decision.steps.iter().any(|it| it.action.has_token()) && !learnt {
        return None;
    }
    let mut new = scope.status.clone();
    decision.details.remember(&mut new);
    for step in decision.steps.iter().filter(|it| it.action.has_token()) {
        pend(scope, &mut new, step);
    }
    // After a crash the drill continues, and its request must not begin a second one.
    if decision.details.drill_handled {
        new.last_handled_drill_at = scope.annotation(DRILL_ANNOTATION).map(Into::into);
    }
    (new != *scope.status).then_some(new)
}

/// Adds the step's call to the pending calls.
fn pend(scope: &Scope<'_>, new: &mut DiskReplicaGroupStatus, step: &Step) {
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
    /// Writes what the decision carries on into a status.
    pub fn remember(&self, new: &mut DiskReplicaGroupStatus) {
        let lifecycle = &self.lifecycle;
        new.direction = Some(lifecycle.direction);
        new.active_site = Some(lifecycle.active);
        new.reported_source_zone = lifecycle.reported_source_zone.clone();
        new.renamed_since = lifecycle.renamed_since;
        new.outdated_recovery_point = lifecycle.outdated;
        new.last_handled_active_site = Some(lifecycle.handled);
        new.operations = lifecycle.operations.clone();
        new.drills = self.drills.clone();
    }
}
