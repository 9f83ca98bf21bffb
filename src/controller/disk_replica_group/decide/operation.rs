//! The running operation: its calls, and effects that are not proven yet.

use super::super::call::Call;
use super::super::lifecycle::Unproven;
use super::{Action, Decision, Draft, Work, work_of};
use crate::api::disk_replica_group::{Phase, StepName};

/// Makes a call in a step of the running operation.
pub(super) fn act_in_step(mut draft: Draft<'_>, name: StepName, action: Action) -> Decision {
    let now = draft.now();
    draft.lifecycle.begin_step(name, now);
    let work = draft.lifecycle.running().map_or(Work::Updating, |it| work_of(it.r#type));
    draft.act(action, work)
}

/// Waits for the effect of a call that the cloud may have executed.
pub(super) fn wait_for_call(draft: Draft<'_>, call: Call, work: Work) -> Decision {
    let mut decision = draft.wait(work, format!("{call} to show, which may have been called"));
    decision.details.awaited.push(call);
    decision
}

/// Waits for proof of an effect that a list seems to show. The operator repeats a call whose answer was lost with its token,
/// and learns the result. The effect of an accepted call becomes visible in time.
pub(super) fn resolve_unproven(draft: Draft<'_>, unproven: Unproven) -> Decision {
    let work = draft.lifecycle.running().map_or(Work::Updating, |it| work_of(it.r#type));
    let call = match unproven {
        Unproven::Reversal => {
            return draft.wait(work, "a second look, since the cloud names another source than before");
        }
        Unproven::Call(call) => call,
    };
    let unanswered = draft.pending(&call).is_some_and(|it| it.accepted_at.is_none());
    let wanted = draft.lifecycle.reverses() || !draft.in_flight(&call);
    if call == Call::Reverse && unanswered && wanted {
        return act_in_step(draft, StepName::Reprotect, Action::ReprotectGroup { reverse: true });
    }
    wait_for_call(draft, call, work)
}

/// Ends the running operation at a safe point.
pub(super) fn end_operation(draft: &mut Draft<'_>, phase: Phase, message: &str) {
    let now = draft.now();
    draft.lifecycle.end(phase, message, now);
}
