//! The life of a failover: begun, carried on, taken back, turned round. One operation at a time; what the spec says in the
//! meantime waits for a safe point, or takes the operation back where the API can.

use jiff::Timestamp;

use super::super::call::Call;
use super::super::lifecycle::{self, Unproven};
use super::super::observe::Observed;
use super::super::resolve;
use super::by_status::{self, failed, give_up, steady};
use super::pairs;
use super::{Action, Decision, Draft, Verdict, Work, work_of};
use crate::api::condition::synced;
use crate::api::disk_replica_group::{FailoverMode, OperationType, Phase, Replication, Reprotect, Site, StepName};
use crate::cloud::ebs::{GroupView, PairView, ReplicationStatus as S};
use crate::controller::conditions::join_limited;

/// What to do for a group that is ours.
pub(super) fn live(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    if let Some(unproven) = draft.lifecycle.unproven().cloned() {
        return ask(draft, unproven);
    }
    let wanted = draft.spec().active_site;
    let kind = draft.lifecycle.running().map(|it| it.r#type);
    match (&group.status, kind) {
        (S::Failovered, _) => failed_over(draft, group),
        (_, Some(OperationType::Failover | OperationType::Failback)) => continue_failover(draft, group, observed),
        (status, Some(kind @ (OperationType::Cancel | OperationType::Reprotect))) if lifecycle::replicates(status) => {
            start_again(draft, group, observed, kind)
        }
        // What goes on ends before anything else is begun.
        (status, _) if passes(status) => steady(draft, group, observed),
        _ if draft.lifecycle.active == wanted => {
            draft.lifecycle.handled = wanted;
            steady(draft, group, observed)
        }
        _ if draft.lifecycle.handled != wanted => begin(draft, group, observed),
        _ => changed_elsewhere(draft, group),
    }
}

/// Waits for proof of an effect that a list seems to show. A call whose answer was lost is repeated with its token, which tells
/// its outcome; the effect of an accepted call becomes visible in time.
pub(super) fn ask(draft: Draft<'_>, unproven: Unproven) -> Decision {
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
        return step(draft, StepName::Reprotect, Action::ReprotectGroup { reverse: true });
    }
    await_call(draft, call, work)
}

/// Whether a status ends by itself, or is not understood.
fn passes(status: &S) -> bool {
    matches!(status, S::Creating | S::Failovering | S::Reprotecting | S::ReprotectFailed | S::Deleting | S::Other(_))
}

/// The active site is not as the spec says, and nobody changed the spec.
fn changed_elsewhere(mut draft: Draft<'_>, group: &GroupView) -> Decision {
    let (wanted, found) = (draft.spec().active_site.as_str(), draft.lifecycle.active.as_str());
    draft.differs("activeSite", wanted, found);
    let text = format!(
        "the active site of group {} ({}) is the {}, and nobody asked for that here: nothing is touched; look which disks \
         are in use, and set activeSite: {found} if it is these, or see to the group in the console",
        group.replica_group_id,
        group.status.as_str(),
        found.to_lowercase(),
    );
    draft.refuse(synced::DRIFTED, text)
}

/// The recovery point that a planned failover would go to, or why it is not begun.
fn gate(draft: &Draft<'_>, group: &GroupView) -> Result<Timestamp, String> {
    let runs = match draft.spec().replication {
        Replication::Running => "",
        Replication::Stopped => "set replication: Running for that, or ",
    };
    let point = draft.lifecycle.counted(group).ok_or_else(|| {
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

/// Whether every pair of the group was synchronized once: one that was added since holds nothing that could be opened.
fn complete(draft: &Draft<'_>, group: &GroupView, observed: &Observed) -> Result<(), String> {
    let pairs: Vec<_> = observed.pairs.iter().filter(|it| resolve::in_group(it, group)).collect();
    if pairs.is_empty() && group.pair_ids.is_empty() {
        return Err("the group has no pairs that could be failed over".into());
    }
    let has_point = |it: &&&PairView| it.last_recover_point.is_some_and(|at| at > 0);
    // A forced failover is not held up by a point that the cloud may not tell of pairs: the cloud says whether it can be.
    let planned = draft.spec().failover.mode == FailoverMode::Planned;
    let told = planned || pairs.iter().any(|it| has_point(&it));
    let never = |it: &&&PairView| matches!(it.status, S::Created | S::InitialSyncing) || (told && !has_point(it));
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

/// Replication goes on as the spec says, and the failover waits for what it lacks.
fn not_yet(draft: Draft<'_>, group: &GroupView, observed: &Observed, why: String) -> Decision {
    let mut decision = steady(draft, group, observed);
    match &decision.verdict {
        Verdict::Refused { reason: synced::GROUP_FAILED, .. } => {}
        _ => decision.verdict = Verdict::Refused { reason: synced::FAILOVER_REFUSED, message: why },
    }
    decision
}

/// Begins the failover that the spec asks for.
fn begin(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    let mode = draft.spec().failover.mode;
    match &group.status {
        S::Invalid | S::CreateFailed | S::DeleteFailed => return failed(draft, group, observed),
        S::Created | S::InitialSyncing => {
            let why = "the first synchronization has not ended: there is nothing that could be failed over to";
            return not_yet(draft, group, observed, why.into());
        }
        _ => {}
    }
    let planned = mode == FailoverMode::Planned && group.status != S::FailoverFailed;
    let lacking = resolve::lacking(draft.spec(), draft.status(), group, &observed.pairs);
    let closed = match planned {
        false => None,
        true if !lacking.is_empty() => Some(format!(
            "pairs are not replicated: {}: a planned failover waits for them (pairs are added while replication is \
             stopped); set failover.mode: Forced to leave them behind",
            join_limited(&lacking)
        )),
        true => gate(&draft, group).err(),
    };
    let closed = closed.or_else(|| complete(&draft, group, observed).err());
    if let Some(why) = closed {
        return not_yet(draft, group, observed, why);
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

/// Continues a failover.
fn continue_failover(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    let Some(operation) = draft.lifecycle.running() else { return steady(draft, group, observed) };
    let (target, planned) = (operation.target_site, operation.mode == Some(FailoverMode::Planned));
    let status = &group.status;
    if draft.spec().active_site != target {
        return withdraw(draft, group, observed);
    }
    let planned = planned && draft.spec().failover.mode == FailoverMode::Planned;
    if !planned {
        draft.lifecycle.force();
    }
    let synchronized = draft.lifecycle.step(StepName::Synchronize) == Some(true);
    match status {
        S::Failovering => draft.wait(Work::FailingOver, "the secondary disks to be opened"),
        S::FailoverFailed => open(draft, group),
        S::InitialSyncing => draft.wait(Work::FailingOver, "the first synchronization to end"),
        S::Normal | S::Syncing | S::StopFailed if planned && !synchronized => {
            step(draft, StepName::Stop, Action::StopGroup)
        }
        S::ManualSyncing if planned => draft.wait(Work::FailingOver, "the last synchronization to end"),
        S::Stopping if planned && !synchronized => draft.wait(Work::FailingOver, "replication to be stopped"),
        S::Stopped if planned && !synchronized => {
            if draft.lifecycle.step(StepName::Synchronize).is_none() {
                let now = draft.now();
                draft.lifecycle.note_recovery_point(group, now);
            }
            step(draft, StepName::Synchronize, Action::StartGroup { one_shot: true })
        }
        S::Stopped if planned && draft.lifecycle.step(StepName::Failover).is_none() => {
            match gate(&draft, group) {
                Ok(_) => open(draft, group),
                Err(why) => {
                    give_up(&mut draft, Phase::Failed, &why);
                    // It is still asked for.
                    draft.lifecycle.handled = target.other();
                    not_yet(draft, group, observed, why)
                }
            }
        }
        S::Normal | S::Syncing | S::StopFailed | S::ManualSyncing | S::Stopping | S::Stopped => open(draft, group),
        S::Creating | S::Created | S::Reprotecting | S::Deleting | S::Failovered => {
            let on = format!("the status {} to end", status.as_str());
            draft.wait(Work::FailingOver, on)
        }
        S::Other(name) => {
            let on = by_status::unknown(name);
            draft.wait(Work::FailingOver, on)
        }
        S::Invalid | S::CreateFailed | S::ReprotectFailed | S::DeleteFailed | S::Deleted => {
            failed(draft, group, observed)
        }
    }
}

fn step(mut draft: Draft<'_>, name: StepName, action: Action) -> Decision {
    let now = draft.now();
    draft.lifecycle.begin_step(name, now);
    let work = draft.lifecycle.running().map_or(Work::Updating, |it| work_of(it.r#type));
    draft.act(action, work)
}

/// Opens the secondary disks.
fn open(mut draft: Draft<'_>, group: &GroupView) -> Decision {
    if draft.lifecycle.step(StepName::Failover).is_none() {
        let now = draft.now();
        draft.lifecycle.note_recovery_point(group, now);
    }
    step(draft, StepName::Failover, Action::FailoverGroup)
}

/// Waits for a call that may have been made.
fn await_call(draft: Draft<'_>, call: Call, work: Work) -> Decision {
    let mut decision = draft.wait(work, format!("{call} to show, which may have been called"));
    decision.details.awaited.push(call);
    decision
}

/// The spec asks for the former site again while a failover is in progress.
fn withdraw(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    match &group.status {
        S::Failovering => draft.wait(Work::FailingOver, "the failover to end, which is taken back then"),
        S::FailoverFailed => failed(draft, group, observed),
        _ if draft.in_flight(&Call::FailoverGroup) => await_call(draft, Call::FailoverGroup, Work::FailingOver),
        _ => {
            give_up(&mut draft, Phase::Cancelled, "activeSite was set back before the secondary disks were opened");
            draft.lifecycle.handled = draft.spec().active_site;
            steady(draft, group, observed)
        }
    }
}

/// The secondary disks are in use.
fn failed_over(mut draft: Draft<'_>, group: &GroupView) -> Decision {
    let wanted = draft.spec().active_site;
    if draft.lifecycle.step(StepName::Reprotect) == Some(true) {
        // What it ended stands again: that was somebody else.
        give_up(&mut draft, Phase::Cancelled, "somebody else failed over meanwhile");
    }
    let kind = draft.lifecycle.running().map(|it| it.r#type);
    let forward = wanted == draft.lifecycle.active;
    match kind {
        Some(OperationType::Cancel) if !forward => {
            return step(draft, StepName::Reprotect, Action::ReprotectGroup { reverse: false });
        }
        Some(OperationType::Reprotect) if forward && draft.spec().reprotect == Reprotect::Automatic => {
            return step(draft, StepName::Reprotect, Action::ReprotectGroup { reverse: true });
        }
        // The spec asks for something else: what may have been called is not called again.
        Some(kind) => {
            let call = if kind == OperationType::Reprotect { Call::Reverse } else { Call::Cancel };
            if draft.in_flight(&call) {
                return await_call(draft, call, work_of(kind));
            }
            give_up(&mut draft, Phase::Cancelled, "the spec asked for something else before it was begun");
        }
        None => {}
    }
    let (generation, now) = (draft.generation(), draft.now());
    if forward {
        draft.lifecycle.handled = wanted;
        if draft.spec().reprotect == Reprotect::Automatic {
            draft.lifecycle.begin(OperationType::Reprotect, None, generation, now);
            return step(draft, StepName::Reprotect, Action::ReprotectGroup { reverse: true });
        }
        if pairs::differ(&draft) {
            return pairs::needs_stop(draft);
        }
        return draft.finish(Verdict::InSync);
    }
    if draft.lifecycle.handled == wanted {
        return changed_elsewhere(draft, group);
    }
    draft.lifecycle.handled = wanted;
    draft.lifecycle.begin(OperationType::Cancel, None, generation, now);
    step(draft, StepName::Reprotect, Action::ReprotectGroup { reverse: false })
}

/// Replication was turned round, or the failover taken back: it is started again.
fn start_again(mut draft: Draft<'_>, group: &GroupView, observed: &Observed, kind: OperationType) -> Decision {
    let wanted = draft.spec().active_site;
    let turned = draft.lifecycle.step(StepName::Reprotect) == Some(true);
    let asked = draft.lifecycle.active != wanted && draft.lifecycle.handled != wanted;
    // A group without pairs gets those of the spec first.
    let empty = !observed.pairs.iter().any(|it| resolve::in_group(it, group));
    match &group.status {
        // What was asked for since does not wait for a start that may never come about.
        S::Created | S::Stopped if turned && asked => {
            give_up(&mut draft, Phase::Cancelled, "the other site was asked for before replication was started");
            begin(draft, group, observed)
        }
        S::Created | S::Stopped if draft.spec().replication == Replication::Running && !empty => {
            step(draft, StepName::Start, Action::StartGroup { one_shot: false })
        }
        S::StopFailed => draft.act(Action::StopGroup, work_of(kind)),
        S::ManualSyncing | S::Stopping => {
            let on = format!("the status {} to end", group.status.as_str());
            draft.wait(work_of(kind), on)
        }
        _ => steady(draft, group, observed),
    }
}
