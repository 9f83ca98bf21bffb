//! Decides about failovers: begin, continue, cancel, reverse. There is one operation at a time. A later change of the spec
//! waits for a safe point, or cancels the operation where the API can.

use jiff::Timestamp;

use super::super::call::Call;
use super::super::lifecycle::{self, Unproven};
use super::super::observe::Observed;
use super::super::resolve;
use super::by_status::{self, decide_by_status, end_operation, refuse_failed};
use super::pairs;
use super::{Action, Decision, Draft, Verdict, Work, work_of};
use crate::api::condition::synced;
use crate::api::disk_replica_group::{FailoverMode, OperationType, Phase, Replication, Reprotect, Site, StepName};
use crate::cloud::ebs::{GroupView, PairView, ReplicationStatus as S};
use crate::controller::conditions::join_limited;

/// Decides the steps for a group that this object owns.
pub(super) fn decide_owned(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    if let Some(unproven) = draft.lifecycle.unproven().cloned() {
        return resolve_unproven(draft, unproven);
    }
    let wanted = draft.spec().active_site;
    let kind = draft.lifecycle.running().map(|it| it.r#type);
    match (&group.status, kind) {
        (S::Failovered, _) => decide_failed_over(draft, group),
        (_, Some(OperationType::Failover | OperationType::Failback)) => continue_failover(draft, group, observed),
        (status, Some(kind @ (OperationType::Cancel | OperationType::Reprotect))) if lifecycle::replicates(status) => {
            restart_replication(draft, group, observed, kind)
        }
        // Work in progress ends before the operator begins other work.
        (status, _) if is_transitional(status) => decide_by_status(draft, group, observed),
        _ if draft.lifecycle.active == wanted => {
            draft.lifecycle.handled = wanted;
            decide_by_status(draft, group, observed)
        }
        _ if draft.lifecycle.handled != wanted => begin_failover(draft, group, observed),
        _ => refuse_external_failover(draft, group),
    }
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
    let wanted = draft.lifecycle.reverses(draft.spec()) || !draft.in_flight(&call);
    if call == Call::Reverse && unanswered && wanted {
        return act_in_step(draft, StepName::Reprotect, Action::ReprotectGroup { reverse: true });
    }
    wait_for_call(draft, call, work)
}

/// Whether a status ends without a call, or is not documented.
fn is_transitional(status: &S) -> bool {
    matches!(status, S::Creating | S::Failovering | S::Reprotecting | S::ReprotectFailed | S::Deleting | S::Other(_))
}

/// Refuses to act on an active site that another actor changed: the spec did not request it.
fn refuse_external_failover(mut draft: Draft<'_>, group: &GroupView) -> Decision {
    let (wanted, found) = (draft.spec().active_site.as_str(), draft.lifecycle.active.as_str());
    draft.add_drift("activeSite", wanted, found);
    let text = format!(
        "the active site of group {} ({}) is the {}, and nobody asked for that here: nothing is touched; look which disks \
         are in use, and set activeSite: {found} if it is these, or see to the group in the console",
        group.replica_group_id,
        group.status.as_str(),
        found.to_lowercase(),
    );
    draft.refuse(synced::DRIFTED, text)
}

/// The recovery point of a planned failover, or the reason why the operator does not begin it.
fn check_recovery_point(draft: &Draft<'_>, group: &GroupView) -> Result<Timestamp, String> {
    let runs = match draft.spec().replication {
        Replication::Running => "",
        Replication::Stopped => "set replication: Running for that, or ",
    };
    let point = draft.lifecycle.valid_recovery_point(group).ok_or_else(|| {
        let (from, to) = (draft.lifecycle.direction.production().as_str(), draft.lifecycle.direction.standby().as_str());
        format!(
            "the recovery point is unknown, since no synchronization from {from} to {to} was completed yet: a planned failover \
             waits for one; {runs}set failover.mode: Forced to go without"
        )
    })?;
    let objective = std::time::Duration::from(draft.spec().recovery_point_objective);
    let age = draft.now().duration_since(point);
    if age.is_positive() && age.unsigned_abs() > objective {
        return Err(format!(
            "the last recovery point ({point}) is older than the objective of {} min: a planned failover waits for a newer \
             one; {runs}set failover.mode: Forced to lose what was written since",
            objective.as_secs() / 60
        ));
    }
    Ok(point)
}

/// Checks that every pair of the group was synchronized once. A pair that was added later has no data to open.
fn check_pairs(draft: &Draft<'_>, group: &GroupView, observed: &Observed) -> Result<(), String> {
    let pairs: Vec<_> = observed.pairs.iter().filter(|it| resolve::in_group(it, group)).collect();
    if pairs.is_empty() && group.pair_ids.is_empty() {
        return Err("the group has no pairs that could be failed over".into());
    }
    let has_point = |it: &&&PairView| it.last_recover_point.is_some_and(|at| at > 0);
    // The cloud may report no recovery points of pairs. They do not delay a forced failover: the cloud decides whether it is
    // possible.
    let planned = draft.spec().failover.mode == FailoverMode::Planned;
    let points_count = planned || pairs.iter().any(|it| has_point(&it));
    let never =
        |it: &&&PairView| matches!(it.status, S::Created | S::InitialSyncing) || (points_count && !has_point(it));
    let never: Vec<_> = pairs.iter().filter(never).map(|it| it.replica_pair_id.clone()).collect();
    if never.is_empty() {
        return Ok(());
    }
    let to = draft.lifecycle.direction.standby().as_str();
    Err(format!(
        "pairs were never synchronized to {to}, so that they could not be failed over: {}",
        join_limited(&never)
    ))
}

/// Refuses a failover for a reason that may pass. Replication continues as the spec says.
fn refuse_failover(draft: Draft<'_>, group: &GroupView, observed: &Observed, why: String) -> Decision {
    let mut decision = decide_by_status(draft, group, observed);
    match &decision.verdict {
        Verdict::Refused { reason: synced::GROUP_FAILED, .. } => {}
        _ => decision.verdict = Verdict::Refused { reason: synced::FAILOVER_REFUSED, message: why },
    }
    decision
}

/// Begins the failover that the spec requests.
fn begin_failover(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    let mode = draft.spec().failover.mode;
    match &group.status {
        S::Invalid | S::CreateFailed | S::DeleteFailed => return refuse_failed(draft, group, observed),
        S::Created | S::InitialSyncing => {
            let why = "the first synchronization has not ended: there is nothing that could be failed over to";
            return refuse_failover(draft, group, observed, why.into());
        }
        _ => {}
    }
    let planned = mode == FailoverMode::Planned && group.status != S::FailoverFailed;
    let unreplicated = resolve::unreplicated_pairs(draft.spec(), draft.status(), group, &observed.pairs);
    let refusal = match planned {
        false => None,
        true if !unreplicated.is_empty() => Some(format!(
            "pairs are not replicated: {}: a planned failover waits for them (pairs are added while replication is \
             stopped); set failover.mode: Forced to leave them behind",
            join_limited(&unreplicated)
        )),
        true => check_recovery_point(&draft, group).err(),
    };
    let refusal = refusal.or_else(|| check_pairs(&draft, group, observed).err());
    if let Some(why) = refusal {
        return refuse_failover(draft, group, observed, why);
    }
    let (generation, now) = (draft.generation(), draft.now());
    let kind = match draft.lifecycle.direction.standby() {
        Site::Destination => OperationType::Failover,
        Site::Source => OperationType::Failback,
    };
    draft.lifecycle.begin(kind, Some(mode), generation, now);
    draft.lifecycle.handled = draft.spec().active_site;
    continue_failover(draft, group, observed)
}

fn continue_failover(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    let Some(operation) = draft.lifecycle.running() else { return decide_by_status(draft, group, observed) };
    let (target, planned) = (operation.target_site, operation.mode == Some(FailoverMode::Planned));
    let status = &group.status;
    if draft.spec().active_site != target {
        return withdraw_failover(draft, group, observed);
    }
    let planned = planned && draft.spec().failover.mode == FailoverMode::Planned;
    if !planned {
        draft.lifecycle.force();
    }
    let synchronized = draft.lifecycle.step(StepName::Synchronize) == Some(true);
    match status {
        S::Failovering => draft.wait(Work::FailingOver, "the secondary disks to be opened"),
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
        S::Stopped if planned && draft.lifecycle.step(StepName::Failover).is_none() => {
            match check_recovery_point(&draft, group) {
                Ok(_) => open_disks(draft, group),
                Err(why) => {
                    end_operation(&mut draft, Phase::Failed, &why);
                    // The spec still requests it.
                    draft.lifecycle.handled = target.other();
                    refuse_failover(draft, group, observed, why)
                }
            }
        }
        S::Normal | S::Syncing | S::StopFailed | S::ManualSyncing | S::Stopping | S::Stopped => {
            open_disks(draft, group)
        }
        S::Creating | S::Created | S::Reprotecting | S::Deleting | S::Failovered => {
            let on = format!("the status {} to end", status.as_str());
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

/// Makes a call in a step of the running operation.
fn act_in_step(mut draft: Draft<'_>, name: StepName, action: Action) -> Decision {
    let now = draft.now();
    draft.lifecycle.begin_step(name, now);
    let work = draft.lifecycle.running().map_or(Work::Updating, |it| work_of(it.r#type));
    draft.act(action, work)
}

/// Opens the secondary disks.
fn open_disks(mut draft: Draft<'_>, group: &GroupView) -> Decision {
    if draft.lifecycle.step(StepName::Failover).is_none() {
        let now = draft.now();
        draft.lifecycle.record_recovery_point(group, now);
    }
    act_in_step(draft, StepName::Failover, Action::FailoverGroup)
}

/// Waits for the effect of a call that the cloud may have executed.
fn wait_for_call(draft: Draft<'_>, call: Call, work: Work) -> Decision {
    let mut decision = draft.wait(work, format!("{call} to show, which may have been called"));
    decision.details.awaited.push(call);
    decision
}

/// Withdraws a failover in progress: the spec requests the former site again.
fn withdraw_failover(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    match &group.status {
        S::Failovering => draft.wait(Work::FailingOver, "the failover to end, which is taken back then"),
        S::FailoverFailed => refuse_failed(draft, group, observed),
        _ if draft.in_flight(&Call::FailoverGroup) => wait_for_call(draft, Call::FailoverGroup, Work::FailingOver),
        _ => {
            end_operation(
                &mut draft,
                Phase::Cancelled,
                "activeSite was set back before the secondary disks were opened",
            );
            draft.lifecycle.handled = draft.spec().active_site;
            decide_by_status(draft, group, observed)
        }
    }
}

/// Decides the steps for a group whose secondary disks are in use.
fn decide_failed_over(mut draft: Draft<'_>, group: &GroupView) -> Decision {
    let wanted = draft.spec().active_site;
    if draft.lifecycle.step(StepName::Reprotect) == Some(true) {
        // The failover that the operation ended is in effect again: another actor failed over.
        end_operation(&mut draft, Phase::Cancelled, "somebody else failed over meanwhile");
    }
    let kind = draft.lifecycle.running().map(|it| it.r#type);
    let forward = wanted == draft.lifecycle.active;
    match kind {
        Some(OperationType::Cancel) if !forward => {
            return act_in_step(draft, StepName::Reprotect, Action::ReprotectGroup { reverse: false });
        }
        Some(OperationType::Reprotect) if forward && draft.spec().reprotect == Reprotect::Automatic => {
            return act_in_step(draft, StepName::Reprotect, Action::ReprotectGroup { reverse: true });
        }
        // The spec requests another operation: the operator does not repeat the call of this one.
        Some(kind) => {
            let call = if kind == OperationType::Reprotect { Call::Reverse } else { Call::Cancel };
            if draft.in_flight(&call) {
                return wait_for_call(draft, call, work_of(kind));
            }
            end_operation(&mut draft, Phase::Cancelled, "the spec asked for something else before it was begun");
        }
        None => {}
    }
    let (generation, now) = (draft.generation(), draft.now());
    if forward {
        draft.lifecycle.handled = wanted;
        if draft.spec().reprotect == Reprotect::Automatic {
            draft.lifecycle.begin(OperationType::Reprotect, None, generation, now);
            return act_in_step(draft, StepName::Reprotect, Action::ReprotectGroup { reverse: true });
        }
        if pairs::has_drift(&draft) {
            return pairs::refuse_while_running(draft);
        }
        return draft.finish(Verdict::InSync);
    }
    if draft.lifecycle.handled == wanted {
        return refuse_external_failover(draft, group);
    }
    draft.lifecycle.handled = wanted;
    draft.lifecycle.begin(OperationType::Cancel, None, generation, now);
    act_in_step(draft, StepName::Reprotect, Action::ReprotectGroup { reverse: false })
}

/// Starts replication again after a reversal or a cancellation.
fn restart_replication(mut draft: Draft<'_>, group: &GroupView, observed: &Observed, kind: OperationType) -> Decision {
    let wanted = draft.spec().active_site;
    let reversed = draft.lifecycle.step(StepName::Reprotect) == Some(true);
    let other_site_wanted = draft.lifecycle.active != wanted && draft.lifecycle.handled != wanted;
    // The operator first adds the pairs of the spec to a group without pairs.
    let empty = !observed.pairs.iter().any(|it| resolve::in_group(it, group));
    match &group.status {
        // A newer request does not wait for a start that may never happen.
        S::Created | S::Stopped if reversed && other_site_wanted => {
            end_operation(&mut draft, Phase::Cancelled, "the other site was asked for before replication was started");
            begin_failover(draft, group, observed)
        }
        S::Created | S::Stopped if draft.spec().replication == Replication::Running && !empty => {
            act_in_step(draft, StepName::Start, Action::StartGroup { one_shot: false })
        }
        S::StopFailed => draft.act(Action::StopGroup, work_of(kind)),
        S::ManualSyncing | S::Stopping => {
            let on = format!("the status {} to end", group.status.as_str());
            draft.wait(work_of(kind), on)
        }
        _ => decide_by_status(draft, group, observed),
    }
}
