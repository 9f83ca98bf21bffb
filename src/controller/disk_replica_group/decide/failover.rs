//! The life of a failover: begun, carried on, taken back, turned round. One operation at a time; what the spec says in the
//! meantime waits for a safe point, or takes the operation back where the API can.

use jiff::Timestamp;

use super::super::lifecycle;
use super::super::observe::Observed;
use super::super::resolve;
use super::by_status::{self, failed, give_up, steady};
use super::pairs;
use super::{Action, Decision, Draft, Verdict, Work, work_of};
use crate::api::condition::synced;
use crate::api::disk_replica_group::{FailoverMode, OperationType, Phase, Replication, Reprotect, Site, StepName};
use crate::cloud::ebs::{GroupView, PairView, ReplicationStatus as S};
use crate::controller::conditions::listed;

/// What to do for a group that is ours.
pub(super) fn live(mut draft: Draft<'_>, group: &GroupView, seen: &Observed) -> Decision {
    if let Some(call) = draft.life.unproven() {
        return ask(draft, call);
    }
    let wanted = draft.want.spec.active_site;
    let kind = draft.life.running().map(|it| it.r#type);
    match (&group.status, kind) {
        (S::Failovered, _) => failed_over(draft, group),
        (_, Some(OperationType::Failover | OperationType::Failback)) => go_on(draft, group, seen),
        (status, Some(kind @ (OperationType::Cancel | OperationType::Reprotect))) if lifecycle::replicates(status) => {
            start_again(draft, group, seen, kind)
        }
        // What goes on ends before anything else is begun.
        (status, _) if passes(status) => steady(draft, group, seen),
        _ if draft.life.active == wanted => {
            draft.life.handled = wanted;
            steady(draft, group, seen)
        }
        _ if draft.life.handled != wanted => begin(draft, group, seen),
        _ => somebody_else(draft, group),
    }
}

/// A list seems to show what a call did, and does not prove it. Made again with its token, a call whose answer was lost says
/// what became of it; what was answered shows in time.
pub(super) fn ask(draft: Draft<'_>, call: &'static str) -> Decision {
    let pending = draft.want.pending(call);
    let unanswered = pending.is_some_and(|it| it.accepted_at.is_none());
    if call == lifecycle::REVERSE && unanswered && (draft.life.reverses(draft.want.spec) || !draft.in_flight(call)) {
        return step(draft, StepName::Reprotect, Action::ReprotectGroup { reverse: true });
    }
    let work = draft.life.running().map_or(Work::Updating, |it| work_of(it.r#type));
    if call == lifecycle::RENAMED {
        return draft.wait(work, "a second look, since the cloud names another source than before");
    }
    await_call(draft, call, work)
}

/// Whether a status ends by itself, or is not understood.
fn passes(status: &S) -> bool {
    matches!(status, S::Creating | S::Failovering | S::Reprotecting | S::ReprotectFailed | S::Deleting | S::Other(_))
}

/// The active site is not as the spec says, and nobody changed the spec.
fn somebody_else(mut draft: Draft<'_>, group: &GroupView) -> Decision {
    let (wanted, found) = (draft.want.spec.active_site.as_str(), draft.life.active.as_str());
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
    let runs = match draft.want.spec.replication {
        Replication::Running => "",
        Replication::Stopped => "set replication: Running for that, or ",
    };
    let point = draft.life.counted(group).ok_or_else(|| {
        let (from, to) = (draft.life.direction.production().as_str(), draft.life.direction.standby().as_str());
        format!(
            "the recovery point is unknown, since no synchronization from {from} to {to} was completed yet: a planned failover \
             waits for one; {runs}set failover.mode: Forced to go without"
        )
    })?;
    let objective = std::time::Duration::from(draft.want.spec.recovery_point_objective);
    let age = draft.now.duration_since(point);
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
fn complete(draft: &Draft<'_>, group: &GroupView, seen: &Observed) -> Result<(), String> {
    let members: Vec<_> = seen.pairs.iter().filter(|it| resolve::in_group(it, group)).collect();
    if members.is_empty() && group.pair_ids.is_empty() {
        return Err("the group has no pairs that could be failed over".into());
    }
    let has_point = |it: &&&PairView| it.last_recover_point.is_some_and(|at| at > 0);
    // A forced failover is not held up by a point that the cloud may not tell of pairs: the cloud says whether it can be.
    let planned = draft.want.spec.failover.mode == FailoverMode::Planned;
    let told = planned || members.iter().any(|it| has_point(&it));
    let never = |it: &&&PairView| matches!(it.status, S::Created | S::InitialSyncing) || (told && !has_point(it));
    let never: Vec<_> = members.iter().filter(never).map(|it| it.replica_pair_id.clone()).collect();
    if never.is_empty() {
        return Ok(());
    }
    let to = draft.life.direction.standby().as_str();
    Err(format!("pairs were never synchronized to {to}, so that they could not be failed over: {}", listed(&never)))
}

/// Replication goes on as the spec says, and the failover waits for what it lacks.
fn not_yet(draft: Draft<'_>, group: &GroupView, seen: &Observed, why: String) -> Decision {
    let mut decision = steady(draft, group, seen);
    match &decision.verdict {
        Verdict::Refused { reason: synced::GROUP_FAILED, .. } => {}
        _ => decision.verdict = Verdict::Refused { reason: synced::FAILOVER_REFUSED, message: why },
    }
    decision
}

/// Begins the failover that the spec asks for.
fn begin(mut draft: Draft<'_>, group: &GroupView, seen: &Observed) -> Decision {
    let mode = draft.want.spec.failover.mode;
    match &group.status {
        S::Invalid | S::CreateFailed | S::DeleteFailed => return failed(draft, group, seen),
        S::Created | S::InitialSyncing => {
            let why = "the first synchronization has not ended: there is nothing that could be failed over to";
            return not_yet(draft, group, seen, why.into());
        }
        _ => {}
    }
    let planned = mode == FailoverMode::Planned && group.status != S::FailoverFailed;
    let lacking = resolve::lacking(draft.want.spec, draft.want.status, group, &seen.pairs);
    let closed = match planned {
        false => None,
        true if !lacking.is_empty() => Some(format!(
            "pairs are not replicated: {}: a planned failover waits for them (pairs are added while replication is \
             stopped); set failover.mode: Forced to leave them behind",
            listed(&lacking)
        )),
        true => gate(&draft, group).err(),
    };
    let closed = closed.or_else(|| complete(&draft, group, seen).err());
    if let Some(why) = closed {
        return not_yet(draft, group, seen, why);
    }
    let (generation, now) = (draft.want.generation, draft.now);
    let kind = match draft.life.direction.standby() {
        Site::Destination => OperationType::Failover,
        Site::Source => OperationType::Failback,
    };
    draft.life.begin(kind, Some(mode), generation, now);
    draft.life.handled = draft.want.spec.active_site;
    go_on(draft, group, seen)
}

/// Carries a failover on that has not ended.
fn go_on(mut draft: Draft<'_>, group: &GroupView, seen: &Observed) -> Decision {
    let Some(operation) = draft.life.running() else { return steady(draft, group, seen) };
    let (target, planned) = (operation.target_site, operation.mode == Some(FailoverMode::Planned));
    let status = &group.status;
    if draft.want.spec.active_site != target {
        return take_back(draft, group, seen);
    }
    let planned = planned && draft.want.spec.failover.mode == FailoverMode::Planned;
    if !planned {
        draft.life.force();
    }
    let synchronized = draft.life.step(StepName::Synchronize) == Some(true);
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
            if draft.life.step(StepName::Synchronize).is_none() {
                let now = draft.now;
                draft.life.note_recovery_point(group, now);
            }
            step(draft, StepName::Synchronize, Action::StartGroup { one_shot: true })
        }
        S::Stopped if planned && draft.life.step(StepName::Failover).is_none() => {
            match gate(&draft, group) {
                Ok(_) => open(draft, group),
                Err(why) => {
                    give_up(&mut draft, Phase::Failed, &why);
                    // It is still asked for.
                    draft.life.handled = target.other();
                    not_yet(draft, group, seen, why)
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
        S::Invalid | S::CreateFailed | S::ReprotectFailed | S::DeleteFailed | S::Deleted => failed(draft, group, seen),
    }
}

fn step(mut draft: Draft<'_>, name: StepName, action: Action) -> Decision {
    let now = draft.now;
    draft.life.begin_step(name, now);
    let work = draft.life.running().map_or(Work::Updating, |it| work_of(it.r#type));
    draft.act(action, work)
}

/// Opens the secondary disks.
fn open(mut draft: Draft<'_>, group: &GroupView) -> Decision {
    if draft.life.step(StepName::Failover).is_none() {
        let now = draft.now;
        draft.life.note_recovery_point(group, now);
    }
    step(draft, StepName::Failover, Action::FailoverGroup)
}

pub(super) const FAILOVER: &str = "FailoverDiskReplicaGroup";

/// Waits for a call that may have been made.
fn await_call(draft: Draft<'_>, call: &str, work: Work) -> Decision {
    let mut decision = draft.wait(work, format!("{call} to show, which may have been called"));
    decision.awaited.push(call.to_owned());
    decision
}

/// The spec asks for the old site again while a failover goes on.
fn take_back(mut draft: Draft<'_>, group: &GroupView, seen: &Observed) -> Decision {
    match &group.status {
        S::Failovering => draft.wait(Work::FailingOver, "the failover to end, which is taken back then"),
        S::FailoverFailed => failed(draft, group, seen),
        _ if draft.in_flight(FAILOVER) => await_call(draft, FAILOVER, Work::FailingOver),
        _ => {
            give_up(&mut draft, Phase::Cancelled, "activeSite was set back before the secondary disks were opened");
            draft.life.handled = draft.want.spec.active_site;
            steady(draft, group, seen)
        }
    }
}

/// The secondary disks are in use.
fn failed_over(mut draft: Draft<'_>, group: &GroupView) -> Decision {
    let wanted = draft.want.spec.active_site;
    if draft.life.step(StepName::Reprotect) == Some(true) {
        // What it ended stands again: that was somebody else.
        give_up(&mut draft, Phase::Cancelled, "somebody else failed over meanwhile");
    }
    let kind = draft.life.running().map(|it| it.r#type);
    let forward = wanted == draft.life.active;
    match kind {
        Some(OperationType::Cancel) if !forward => {
            return step(draft, StepName::Reprotect, Action::ReprotectGroup { reverse: false });
        }
        Some(OperationType::Reprotect) if forward && draft.want.spec.reprotect == Reprotect::Automatic => {
            return step(draft, StepName::Reprotect, Action::ReprotectGroup { reverse: true });
        }
        // The spec asks for something else: what may have been called is not called again.
        Some(kind) => {
            let call = Action::ReprotectGroup { reverse: kind == OperationType::Reprotect }.call();
            if draft.in_flight(&call) {
                return await_call(draft, &call, work_of(kind));
            }
            give_up(&mut draft, Phase::Cancelled, "the spec asked for something else before it was begun");
        }
        None => {}
    }
    let (generation, now) = (draft.want.generation, draft.now);
    if forward {
        draft.life.handled = wanted;
        if draft.want.spec.reprotect == Reprotect::Automatic {
            draft.life.begin(OperationType::Reprotect, None, generation, now);
            return step(draft, StepName::Reprotect, Action::ReprotectGroup { reverse: true });
        }
        if pairs::differ(&draft) {
            return pairs::needs_stop(draft);
        }
        return draft.finish(Verdict::InSync);
    }
    if draft.life.handled == wanted {
        return somebody_else(draft, group);
    }
    draft.life.handled = wanted;
    draft.life.begin(OperationType::Cancel, None, generation, now);
    step(draft, StepName::Reprotect, Action::ReprotectGroup { reverse: false })
}

/// Replication was turned round, or the failover taken back: it is started again.
fn start_again(mut draft: Draft<'_>, group: &GroupView, seen: &Observed, kind: OperationType) -> Decision {
    let wanted = draft.want.spec.active_site;
    let turned = draft.life.step(StepName::Reprotect) == Some(true);
    let asked = draft.life.active != wanted && draft.life.handled != wanted;
    // A group without pairs gets those of the spec first.
    let empty = !seen.pairs.iter().any(|it| resolve::in_group(it, group));
    match &group.status {
        // What was asked for since does not wait for a start that may never come about.
        S::Created | S::Stopped if turned && asked => {
            give_up(&mut draft, Phase::Cancelled, "the other site was asked for before replication was started");
            begin(draft, group, seen)
        }
        S::Created | S::Stopped if draft.want.spec.replication == Replication::Running && !empty => {
            step(draft, StepName::Start, Action::StartGroup { one_shot: false })
        }
        S::StopFailed => draft.act(Action::StopGroup, work_of(kind)),
        S::ManualSyncing | S::Stopping => {
            let on = format!("the status {} to end", group.status.as_str());
            draft.wait(work_of(kind), on)
        }
        _ => steady(draft, group, seen),
    }
}
