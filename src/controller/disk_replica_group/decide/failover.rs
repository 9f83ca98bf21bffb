//! Begins and continues failovers. There is one operation at a time. A newer request waits for a safe point, or withdraws the
//! operation before the disks are opened.

use super::super::call::Call;
use super::super::capability::{Capability, Question, capability};
use super::super::lifecycle::{self, Origin};
use super::super::observe::Observed;
use super::super::request::{OpenRequest, Request};
use super::super::resolve;
use super::by_status::{self, decide_by_status, refuse_failed};
use super::failed_over;
use super::operation::{act_in_step, end_operation, resolve_unproven, wait_for_call};
use super::site::{refuse_contradiction, refuse_external_failover, refuse_way_back, refused_for, site_refusal};
use super::{Action, Decision, Draft, Work, work_of};
use crate::api::condition::synced;
use crate::api::disk_replica_group::{FailoverMode, OperationType, Phase, Replication, RequestPhase, Site, StepName};
use crate::cloud::ebs::{GroupView, ReplicationStatus as S};

/// Decides the steps for a group that this object owns.
pub(super) fn decide_owned(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    if let Some(unproven) = draft.lifecycle.unproven().cloned() {
        return resolve_unproven(draft, unproven);
    }
    if let Some(difference) = draft.lifecycle.contradiction.clone() {
        return refuse_contradiction(draft, group, &difference);
    }
    let kind = draft.lifecycle.running().map(|it| it.r#type);
    if !matches!(kind, Some(OperationType::Failover | OperationType::Failback)) {
        expire_request(&mut draft);
    }
    match (&group.status, kind) {
        (S::Failovered, _) => failed_over::decide_failed_over(draft, group, observed),
        (_, Some(OperationType::Failover | OperationType::Failback)) => continue_failover(draft, group, observed),
        (status, Some(kind @ (OperationType::Cancel | OperationType::Reprotect))) if lifecycle::replicates(status) => {
            restart_replication(draft, group, observed, kind)
        }
        // Work in progress ends before the operator begins other work.
        (status, _) if is_transitional(status) => {
            if matches!(status, S::Failovering | S::Reprotecting) {
                refuse_way_back(&mut draft);
            }
            decide_by_status(draft, group, observed)
        }
        _ => decide_request(draft, group, observed),
    }
}

/// Ends a request that did not begin in time, whatever it waited for.
fn expire_request(draft: &mut Draft<'_>) {
    let (now, active) = (draft.now(), draft.lifecycle.active);
    let waits = draft.request_state.request.as_ref().is_some_and(|it| it.phase == RequestPhase::Waiting);
    if waits && draft.request.open().is_some_and(|open| open.has_expired(now) && open.site != active) {
        draft.request_state.set(RequestPhase::Expired, "it could not begin in time");
        draft.request = Request::Ended(RequestPhase::Expired);
    }
}

/// Decides about the request while no operation is in progress and no failover is in effect.
fn decide_request(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    let request = draft.request;
    let active = draft.lifecycle.active;
    match request {
        Request::Open(open) if open.mode() == FailoverMode::Cancel => {
            let message = "nothing is cancelled: the group is not failed over, or replication is reversed already";
            draft.request_state.set(RequestPhase::Refused, message);
            settle(draft, group, observed)
        }
        Request::Open(open) if open.site == active => {
            draft.request_state.set(RequestPhase::Succeeded, format!("the {} is the active site", active.as_str()));
            settle(draft, group, observed)
        }
        Request::Open(open) => begin_failover(draft, group, observed, open),
        Request::None | Request::Old | Request::Invalid | Request::Ended(_) => settle(draft, group, observed),
    }
}

/// Decides the steps where no request asks for the other site. A site of the spec that is not the active one is explained.
pub(super) fn settle(draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    match site_refusal(&draft) {
        None => decide_by_status(draft, group, observed),
        Some((synced::DRIFTED, _)) => refuse_external_failover(draft, group),
        Some((reason, message)) => {
            let decision = decide_by_status(draft, group, observed);
            refused_for(decision, reason, message)
        }
    }
}

/// Whether a status ends without a call, or is not documented.
fn is_transitional(status: &S) -> bool {
    matches!(status, S::Creating | S::Failovering | S::Reprotecting | S::ReprotectFailed | S::Deleting | S::Other(_))
}

/// What the failover of a request would do now.
fn answer(draft: &Draft<'_>, group: &GroupView, observed: &Observed, question: Question<'_>) -> Capability {
    capability(&draft.scope, &draft.lifecycle, group, observed, question)
}

/// Begins the failover that the spec requests, or says why it does not begin yet.
fn begin_failover(mut draft: Draft<'_>, group: &GroupView, observed: &Observed, request: OpenRequest<'_>) -> Decision {
    if matches!(&group.status, S::Invalid | S::CreateFailed | S::DeleteFailed) {
        return refuse_failed(draft, group, observed);
    }
    let mode = request.mode();
    let question = Question { mode, leave_behind: request.leave_behind(), synchronized: false };
    let answer = answer(&draft, group, observed, question);
    if let Some(why) = answer.refusal() {
        let why = format!("{why}. The request waits until {}", request.expires_at);
        draft.request_state.set(RequestPhase::Waiting, why.clone());
        let decision = decide_by_status(draft, group, observed);
        return refused_for(decision, synced::FAILOVER_REFUSED, format!("failover refused: {why}"));
    }
    let now = draft.now();
    let origin = Origin {
        mode: Some(mode),
        generation: draft.generation(),
        requested_at: Some(request.requested_at),
        expected_loss_seconds: answer.expected_loss_seconds,
        pairs_left_behind: answer.pairs_left_behind,
    };
    let kind = match draft.lifecycle.direction.standby() {
        Site::Destination => OperationType::Failover,
        Site::Source => OperationType::Failback,
    };
    draft.lifecycle.begin(kind, origin, now);
    continue_failover(draft, group, observed)
}

/// Whether the call that opens the disks may have been made.
fn may_be_opened(draft: &Draft<'_>, group: &GroupView) -> bool {
    matches!(group.status, S::Failovering | S::FailoverFailed) || draft.in_flight(&Call::FailoverGroup)
}

/// Continues the running failover as the request now says.
fn continue_failover(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    let Some(target) = draft.lifecycle.running().map(|it| it.target_site) else {
        return decide_by_status(draft, group, observed);
    };
    let (now, request, opened) = (draft.now(), draft.request, may_be_opened(&draft, group));
    let leave_behind: &[String] = match request {
        Request::Open(open) if open.site == target && open.mode() != FailoverMode::Cancel => {
            if !opened && open.has_expired(now) {
                let message = "the request expired before the disks were opened";
                draft.request_state.set(RequestPhase::Expired, message);
                end_operation(&mut draft, Phase::Failed, message);
                return settle(draft, group, observed);
            }
            let forced = draft.lifecycle.running().is_some_and(|it| it.mode == Some(FailoverMode::Forced));
            if !opened && forced && open.mode() == FailoverMode::Planned {
                end_operation(&mut draft, Phase::Cancelled, "a newer request asks for a planned failover");
                return begin_failover(draft, group, observed, open);
            }
            // The call that may have been made is awaited, and not repeated after the end of the request.
            let opening = matches!(group.status, S::Failovering | S::FailoverFailed);
            if open.has_expired(now) && !opening {
                return wait_for_call(draft, Call::FailoverGroup, Work::FailingOver);
            }
            if open.mode() == FailoverMode::Forced {
                let leave_behind = open.leave_behind();
                let question = Question { mode: FailoverMode::Forced, leave_behind, synchronized: false };
                let expected_loss_seconds = answer(&draft, group, observed, question).expected_loss_seconds;
                draft.lifecycle.force(expected_loss_seconds);
            }
            draft.lifecycle.renew(open.requested_at);
            draft.request_state.set(RequestPhase::Running, "");
            open.leave_behind()
        }
        Request::Open(open) if !opened => {
            let message = "a newer request withdrew it before the disks were opened";
            end_operation(&mut draft, Phase::Cancelled, message);
            let text =
                format!("the failover to the {} was withdrawn: {} stays active", target.as_str(), open.site.as_str());
            let phase = if open.site == target { RequestPhase::Refused } else { RequestPhase::Succeeded };
            draft.request_state.set(phase, text);
            return settle(draft, group, observed);
        }
        Request::Open(_) => {
            refuse_way_back(&mut draft);
            return end_unwanted_failover(draft, group, observed);
        }
        Request::None | Request::Old | Request::Invalid | Request::Ended(_) if !opened => {
            end_operation(&mut draft, Phase::Cancelled, "no request asks for it any more");
            return settle(draft, group, observed);
        }
        Request::None | Request::Old | Request::Invalid | Request::Ended(_) => {
            return end_unwanted_failover(draft, group, observed);
        }
    };
    continue_in_status(draft, group, observed, leave_behind)
}

/// Waits for the end of a failover that no request asks for any more. The call that may have been made is not repeated.
fn end_unwanted_failover(draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    match &group.status {
        S::Failovering => draft.wait(Work::FailingOver, "the secondary disks to be opened"),
        S::FailoverFailed => refuse_failed(draft, group, observed),
        _ => wait_for_call(draft, Call::FailoverGroup, Work::FailingOver),
    }
}

/// The next step of a failover in a status of the group.
fn continue_in_status(
    mut draft: Draft<'_>,
    group: &GroupView,
    observed: &Observed,
    leave_behind: &[String],
) -> Decision {
    let planned = draft.lifecycle.running().is_some_and(|it| it.mode == Some(FailoverMode::Planned));
    let synchronized = draft.lifecycle.step(StepName::Synchronize) == Some(true);
    match &group.status {
        S::Failovering => draft.wait(Work::FailingOver, "the secondary disks to be opened"),
        S::FailoverFailed if planned && !synchronized => refuse_failed(draft, group, observed),
        S::FailoverFailed => open_disks(draft, group),
        S::InitialSyncing => draft.wait(Work::FailingOver, "the first synchronization to end"),
        S::Normal | S::Syncing | S::StopFailed if planned && !synchronized => {
            act_in_step(draft, StepName::Stop, Action::StopGroup)
        }
        S::ManualSyncing if planned => draft.wait(Work::FailingOver, "the last synchronization to end"),
        S::Stopping if planned && !synchronized => draft.wait(Work::FailingOver, "replication to be stopped"),
        S::Stopped if planned && !synchronized => {
            if draft.lifecycle.step(StepName::Synchronize).is_none() {
                let now = draft.now();
                draft.lifecycle.record_recovery_point(group, now);
            }
            act_in_step(draft, StepName::Synchronize, Action::StartGroup { one_shot: true })
        }
        S::Stopped if planned && draft.pending(&Call::FailoverGroup).is_none() => {
            let question = Question { mode: FailoverMode::Planned, leave_behind, synchronized: true };
            match answer(&draft, group, observed, question).refusal() {
                None => open_disks(draft, group),
                Some(why) => fail_check(draft, group, observed, why),
            }
        }
        S::Normal | S::Syncing | S::StopFailed | S::ManualSyncing | S::Stopping | S::Stopped => {
            open_synchronized_disks(draft, group, observed, leave_behind)
        }
        S::Creating | S::Created | S::Reprotecting | S::Deleting | S::Failovered => {
            let on = format!("the status {} to end", group.status.as_str());
            draft.wait(Work::FailingOver, on)
        }
        S::Other(name) => {
            let on = by_status::undocumented_status(name);
            draft.wait(Work::FailingOver, on)
        }
        S::Invalid | S::CreateFailed | S::ReprotectFailed | S::DeleteFailed | S::Deleted => {
            refuse_failed(draft, group, observed)
        }
    }
}

/// Ends a failover whose disks may not be opened any more. The request waits until it can begin again, or expires.
fn fail_check(mut draft: Draft<'_>, group: &GroupView, observed: &Observed, why: String) -> Decision {
    // A list may have a gap.
    if let Some(on) = super::pairs::missing_pairs(&draft) {
        return draft.wait(Work::FailingOver, on);
    }
    end_operation(&mut draft, Phase::Failed, &why);
    let message = format!("failover refused: {why}");
    draft.request_state.set(RequestPhase::Waiting, why);
    refused_for(decide_by_status(draft, group, observed), synced::FAILOVER_REFUSED, message)
}

/// Opens the disks of a forced failover, if they still hold what a failover may open. A call that may have been made is repeated.
fn open_synchronized_disks(
    draft: Draft<'_>,
    group: &GroupView,
    observed: &Observed,
    leave_behind: &[String],
) -> Decision {
    let question = Question { mode: FailoverMode::Forced, leave_behind, synchronized: true };
    let refusal = answer(&draft, group, observed, question).refusal();
    match refusal.filter(|_| draft.pending(&Call::FailoverGroup).is_none()) {
        None => open_disks(draft, group),
        Some(why) => fail_check(draft, group, observed, why),
    }
}

/// Opens the secondary disks.
fn open_disks(mut draft: Draft<'_>, group: &GroupView) -> Decision {
    let now = draft.now();
    draft.lifecycle.record_recovery_point(group, now);
    act_in_step(draft, StepName::Failover, Action::FailoverGroup)
}

/// Starts replication again after a reversal or a cancellation.
fn restart_replication(mut draft: Draft<'_>, group: &GroupView, observed: &Observed, kind: OperationType) -> Decision {
    let active = draft.lifecycle.active;
    if draft.request.open().is_some_and(|open| open.site == active) {
        draft.request_state.set(RequestPhase::Succeeded, format!("the {} is the active site", active.as_str()));
    }
    // The operator first adds the pairs of the spec to a group without pairs.
    let empty = !observed.pairs.iter().any(|it| resolve::in_group(it, group));
    match &group.status {
        S::Created | S::Stopped if draft.spec().replication == Replication::Running && !empty => {
            match super::pairs::copy_refusal(&draft, group, observed) {
                // The pairs may be leftovers, which are removed first.
                Some(_) if super::pairs::has_leftovers(&draft, observed) => decide_by_status(draft, group, observed),
                Some(text) => draft.refuse(synced::COPY_REFUSED, text),
                None => act_in_step(draft, StepName::Start, Action::StartGroup { one_shot: false }),
            }
        }
        S::StopFailed => draft.act(Action::StopGroup, work_of(kind)),
        S::ManualSyncing | S::Stopping => {
            let on = format!("the status {} to end", group.status.as_str());
            draft.wait(work_of(kind), on)
        }
        _ => decide_by_status(draft, group, observed),
    }
}
