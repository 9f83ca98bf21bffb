//! Decides while the secondary disks are in use: the reversal of replication, its consent, and the way back.

use super::super::call::Call;
use super::super::lifecycle::Origin;
use super::super::observe::Observed;
use super::super::request::{self, Request};
use super::super::resolve;
use super::operation::{act_in_step, end_operation, wait_for_call};
use super::site::{refuse_external_failover, refuse_way_back, refused_for, site_refusal};
use super::{Action, Decision, Draft, Verdict, Work, pairs, work_of};
use crate::api::condition::synced;
use crate::api::disk_replica_group::{
    Direction, FailoverMode, OperationType, Phase, Reprotect, RequestPhase, StepName,
};
use crate::cloud::ebs::GroupView;
use crate::controller::conditions::join_limited;

/// Decides the steps for a group whose secondary disks are in use.
pub(super) fn decide_failed_over(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    if draft.lifecycle.step(StepName::Reprotect) == Some(true) {
        // The failover that the operation ended is in effect again: another actor failed over.
        end_operation(&mut draft, Phase::Cancelled, "another actor failed over meanwhile");
        draft.lifecycle.failed_over_by = None;
    }
    let active = draft.lifecycle.active;
    match draft.request {
        Request::Open(open) if open.site == active && open.mode() == FailoverMode::Cancel => {
            draft.request_state.set(RequestPhase::Refused, "nothing is cancelled: activeSite is the active site");
        }
        Request::Open(open) if open.site == active => {
            let outcome = draft.lifecycle.failover_in_effect().map(|it| it.message.clone());
            let message = match consents(&draft) {
                true => format!("the disks of the {} may be overwritten", active.other().as_str()),
                false => outcome.unwrap_or_else(|| format!("the {} is the active site", active.as_str())),
            };
            draft.request_state.set(RequestPhase::Succeeded, message);
        }
        Request::Open(open) if open.mode() == FailoverMode::Cancel => {
            if !open.has_expired(draft.now()) || draft.in_flight(&Call::Cancel) {
                return cancel(draft);
            }
            draft.request_state.set(RequestPhase::Expired, "the failover could not be cancelled in time");
            draft.request = Request::Ended(RequestPhase::Expired);
        }
        Request::Open(_) => refuse_way_back(&mut draft),
        Request::None | Request::Old | Request::Invalid | Request::Ended(_) => {}
    }
    match draft.lifecycle.running().map(|it| it.r#type) {
        Some(OperationType::Cancel) if draft.in_flight(&Call::Cancel) => {
            return wait_for_call(draft, Call::Cancel, Work::Cancelling);
        }
        Some(OperationType::Cancel) => {
            end_operation(&mut draft, Phase::Cancelled, "no request asks for it any more");
        }
        Some(OperationType::Reprotect) => {}
        Some(OperationType::Failover | OperationType::Failback) | None => {}
    }
    let explained = site_refusal(&draft);
    if let Some((synced::DRIFTED, _)) = explained {
        return refuse_external_failover(draft, group);
    }
    let decision = reprotect(draft, group, observed);
    match explained {
        Some((reason, message)) => refused_for(decision, reason, message),
        None => decision,
    }
}

/// Whether the spec consents to a reversal over the former site: by a request from after the failover was asked for and observed.
fn consents(draft: &Draft<'_>) -> bool {
    let asked_at = draft.lifecycle.failover_in_effect().and_then(|it| it.requested_at);
    request::consents(&draft.scope, draft.lifecycle.active, asked_at.max(draft.lifecycle.active_since))
}

/// Whether replication may be reversed: the failover was planned, so that the former site holds nothing of its own, or the spec
/// consents.
pub(super) fn may_reverse(draft: &Draft<'_>) -> bool {
    let failover = draft.lifecycle.failover_in_effect();
    let planned = failover.is_some_and(|it| it.mode == Some(FailoverMode::Planned));
    (planned && draft.spec().reprotect() == Reprotect::AfterPlanned) || consents(draft)
}

/// Cancels the failover, as the request asks.
fn cancel(mut draft: Draft<'_>) -> Decision {
    let (now, request) = (draft.now(), draft.request);
    let Some(open) = request.open() else { return draft.finish(Verdict::InSync) };
    match draft.lifecycle.running().map(|it| it.r#type) {
        Some(OperationType::Cancel) => {}
        Some(kind) if draft.in_flight(&Call::Reverse) => return wait_for_call(draft, Call::Reverse, work_of(kind)),
        running => {
            if running.is_some() {
                end_operation(
                    &mut draft,
                    Phase::Cancelled,
                    "a newer request cancelled the failover before the reversal",
                );
            }
            let origin =
                Origin { generation: draft.generation(), requested_at: Some(open.requested_at), ..Origin::default() };
            draft.lifecycle.begin(OperationType::Cancel, origin, now);
        }
    }
    draft.request_state.set(RequestPhase::Running, "");
    act_in_step(draft, StepName::Reprotect, Action::ReprotectGroup { reverse: false })
}

/// Reverses replication, if the failover was planned or the spec consents, and no disk without data would be copied.
fn reprotect(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    let may_reverse = may_reverse(&draft);
    let reversing = draft.lifecycle.reverses();
    if draft.in_flight(&Call::Cancel) {
        return wait_for_call(draft, Call::Cancel, work_of(OperationType::Cancel));
    }
    if !may_reverse {
        if draft.in_flight(&Call::Reverse) {
            return wait_for_call(draft, Call::Reverse, work_of(OperationType::Reprotect));
        }
        if reversing {
            end_operation(&mut draft, Phase::Cancelled, "the spec no longer asks for the reversal");
        }
        return wait_for_consent(draft);
    }
    if !draft.in_flight(&Call::Reverse) {
        let blank = unsynchronized(&draft, group, observed);
        if !blank.is_empty() {
            return refuse_reversal(draft, &blank);
        }
    }
    if !reversing {
        let (now, generation) = (draft.now(), draft.generation());
        draft.lifecycle.begin(OperationType::Reprotect, Origin { generation, ..Origin::default() }, now);
    }
    act_in_step(draft, StepName::Reprotect, Action::ReprotectGroup { reverse: true })
}

/// Leaves replication as it is until a person asks for the reversal.
fn wait_for_consent(draft: Draft<'_>) -> Decision {
    if draft.spec().reprotect() == Reprotect::Manual {
        return match pairs::has_drift(&draft) {
            true => pairs::refuse_while_running(draft),
            false => draft.finish(Verdict::InSync),
        };
    }
    let (active, former) = (draft.lifecycle.active.as_str(), draft.lifecycle.active.other().as_str());
    let text = format!(
        "replication is not reversed: the disks of the {former} may hold the only copy of the last writes. Save what you need \
         of them and detach them; then write activeSite: {active} and failover.overwrite: {former} with a new \
         failover.requestedAt, or mode: Cancel to go back to the {former}"
    );
    draft.refuse(synced::REPROTECT_WAITS, text)
}

/// The pairs of the group that never completed a synchronization in the direction that is left.
fn unsynchronized(draft: &Draft<'_>, group: &GroupView, observed: &Observed) -> Vec<String> {
    let left = draft.lifecycle.direction;
    let members = observed.pairs.iter().filter(|pair| resolve::in_group(pair, group));
    let blank = members.filter(|pair| {
        let known = draft.status().pairs.iter().find(|it| it.replica_pair_id.as_ref() == Some(&pair.replica_pair_id));
        match known.and_then(|it| it.synchronized) {
            Some(direction) => direction != left,
            // A group that was taken over: the cloud reports whether the pair was ever synchronized, and not in which direction.
            None => left == Direction::Reverse || pair.last_recover_point.is_none_or(|at| at <= 0),
        }
    });
    let listed = |id: &&String| observed.pairs.iter().any(|pair| pair.replica_pair_id == **id);
    let unlisted = group.pair_ids.iter().filter(|id| !listed(id)).cloned();
    blank.map(|pair| pair.replica_pair_id.clone()).chain(unlisted).collect()
}

/// Refuses a reversal that would copy disks without data over the only good ones.
fn refuse_reversal(draft: Draft<'_>, blank: &[String]) -> Decision {
    let former = draft.lifecycle.active.other().as_str();
    let text = format!(
        "replication is not reversed: the disks of these pairs were never synchronized, and would be copied over those of the \
         {former}, which alone hold the data: {}. Write mode: Cancel to go back to the {former}; or set deletionPolicy: Retain, \
         delete this object and rebuild the group in the console without these pairs",
        join_limited(blank)
    );
    draft.refuse(synced::COPY_REFUSED, text)
}
