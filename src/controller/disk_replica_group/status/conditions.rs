//! What the conditions say of what was seen and done.

use super::super::Scope;
use super::super::decide::{Decision, Verdict, Work};
use super::super::lifecycle;
use super::super::observe::Observed;
use super::super::resolve;
use crate::api::condition::{protected, ready, synced};
use crate::api::disk_replica_group::{DiskReplicaGroupStatus, Replication, Site};
use crate::cloud::ebs::ReplicationStatus as S;
use crate::cloud::error::{Class, Error};
use crate::cloud::operation::ApiOperation;
use crate::controller::conditions::ConditionState;
use crate::controller::conditions::{failure, listed};
use crate::controller::resource::Resource;

/// Whether a failover now would lose no more than the objective.
pub(super) fn protection(
    it: &Scope<'_>,
    new: &DiskReplicaGroupStatus,
    seen: &Observed,
    decision: &Decision,
) -> ConditionState {
    let stopped = |text: &str| ConditionState::no(protected::REPLICATION_STOPPED, text);
    if it.deleting() {
        return ConditionState::unknown(protected::UNKNOWN, "the object is being deleted");
    }
    let Some(group) = seen.group.group() else { return stopped("there is no group") };
    if let Verdict::Refused { reason: synced::OWNED_BY_ANOTHER | synced::IMMUTABLE_FIELD, .. } = &decision.verdict {
        return ConditionState::unknown(protected::UNKNOWN, "the group is another one than the spec means");
    }
    if decision.life.unproven().is_some() {
        return ConditionState::unknown(
            protected::UNKNOWN,
            "which way the group replicates is not certain at this moment",
        );
    }
    if matches!(group.status, S::Failovered | S::Reprotecting | S::ReprotectFailed) {
        return stopped("the group is failed over, and replication is not turned round yet");
    }
    if !lifecycle::runs(&group.status) {
        return stopped(&format!("disks are not replicated: the group is {}", group.status.as_str()));
    }
    let lacking = resolve::lacking(&it.object.spec, &it.status, group, &seen.pairs);
    if !lacking.is_empty() {
        return stopped(&format!("pairs are not replicated: {}", listed(&lacking)));
    }
    let Some(point) = decision.life.counted(group) else {
        let text = format!("no synchronization to the {} was completed yet", site(decision.life.direction.standby()));
        return ConditionState::no(protected::NEVER_SYNCED, text);
    };
    let objective = std::time::Duration::from(it.object.spec.recovery_point_objective);
    let minutes = objective.as_secs() / 60;
    let age = it.now.duration_since(point);
    if age.is_positive() && age.unsigned_abs() > objective {
        let shown = new.recovery_point.unwrap_or(point);
        let text = format!("the last recovery point ({shown}) is older than {minutes} min");
        return ConditionState::no(protected::OBJECTIVE_EXCEEDED, text);
    }
    ConditionState::yes(protected::WITHIN_OBJECTIVE, format!("the last recovery point is within {minutes} min"))
}

fn site(site: Site) -> &'static str {
    match site {
        Site::Source => "source",
        Site::Destination => "destination",
    }
}

/// Whether the group is as the spec asks for.
pub(super) fn readiness(
    it: &Scope<'_>,
    new: &DiskReplicaGroupStatus,
    seen: &Observed,
    decision: &Decision,
) -> ConditionState {
    if it.deleting() {
        return ConditionState::no(ready::DELETING, "the object is being deleted");
    }
    match &decision.verdict {
        Verdict::Acting(work) => {
            return ConditionState::no(work.reason(), doing(*work));
        }
        Verdict::Waiting { work, on } => return ConditionState::no(work.reason(), format!("waiting for {on}")),
        Verdict::Refused { message, .. } => return ConditionState::no(ready::NOT_READY, message.clone()),
        Verdict::InSync | Verdict::Released { .. } => {}
    }
    let Some(group) = seen.group.group() else { return ConditionState::no(ready::NOT_READY, "there is no group") };
    let spec = &it.object.spec;
    if let Some(work) = passing(&group.status).filter(|_| it.object.observing()) {
        return ConditionState::no(work.reason(), format!("the group is {}", group.status.as_str()));
    }
    if decision.life.active != spec.active_site {
        let text = format!("the {} is the active site, not the {}", site(decision.life.active), site(spec.active_site));
        return ConditionState::no(ready::NOT_READY, text);
    }
    let lacking = resolve::lacking(&it.object.spec, &it.status, group, &seen.pairs);
    if !lacking.is_empty() {
        return ConditionState::no(ready::NOT_READY, format!("pairs are not replicated: {}", listed(&lacking)));
    }
    if group.status == S::Failovered {
        let text = "failed over, as the spec says; replication is not turned round";
        return ConditionState::yes(ready::FAILED_OVER, text);
    }
    if !lifecycle::runs(&group.status) {
        return match spec.replication {
            Replication::Stopped if matches!(group.status, S::Created | S::Stopped) => {
                ConditionState::yes(ready::STOPPED, "replication is stopped, as the spec says")
            }
            Replication::Stopped => {
                ConditionState::no(ready::NOT_READY, format!("replication is not stopped: {}", group.status.as_str()))
            }
            Replication::Running => {
                ConditionState::no(ready::NOT_READY, format!("replication does not run: {}", group.status.as_str()))
            }
        };
    }
    if spec.replication == Replication::Stopped {
        return ConditionState::no(ready::NOT_READY, format!("replication is not stopped: {}", group.status.as_str()));
    }
    if decision.life.counted(group).is_none() {
        return ConditionState::no(ready::CREATING, "the first synchronization has not ended");
    }
    let pairs = new.pairs_in_group.clone().unwrap_or_default();
    ConditionState::yes(ready::AVAILABLE, format!("the group replicates; pairs: {pairs}"))
}

/// The work that a status of the group tells of, which ends by itself.
fn passing(status: &S) -> Option<Work> {
    match status {
        S::Creating => Some(Work::Creating),
        S::Stopping | S::ManualSyncing | S::Other(_) => Some(Work::Updating),
        S::Failovering => Some(Work::FailingOver),
        S::Reprotecting => Some(Work::Reprotecting),
        S::Deleting => Some(Work::Deleting),
        S::Invalid
        | S::Created
        | S::CreateFailed
        | S::InitialSyncing
        | S::Syncing
        | S::Normal
        | S::Stopped
        | S::StopFailed
        | S::Failovered
        | S::FailoverFailed
        | S::ReprotectFailed
        | S::DeleteFailed
        | S::Deleted => None,
    }
}

fn doing(work: Work) -> &'static str {
    match work {
        Work::Creating => "the group is being made",
        Work::Updating => "the group is being changed",
        Work::FailingOver => "the other site is becoming the active one",
        Work::Reprotecting => "replication is being turned round",
        Work::Cancelling => "the failover is being taken back",
        Work::Deleting => "the group is being deleted",
    }
}

/// Whether the cloud matches the spec, and whether a failure needs a person.
pub(super) fn synchrony(
    it: &Scope<'_>,
    new: &DiskReplicaGroupStatus,
    seen: &Observed,
    decision: &Decision,
    failed: Option<&Error>,
) -> (ConditionState, bool) {
    // What becomes of a drill is said of the drill.
    let failed = failed.filter(|error| !error.operation.is_drill());
    if it.deleting() {
        let statement = match (failed, &decision.verdict) {
            (Some(error), _) => {
                let message = attached(it, seen, decision, error).unwrap_or_else(|| error.to_string());
                ConditionState::no(synced::DELETION_BLOCKED, message)
            }
            (None, Verdict::Refused { reason, message }) => ConditionState::no(reason, message.clone()),
            (None, Verdict::Waiting { on, .. }) => ConditionState::no(synced::PROGRESSING, format!("waiting for {on}")),
            (None, _) => ConditionState::no(synced::PROGRESSING, "the cloud side is being deleted"),
        };
        return (statement, failed.is_some_and(|error| failure(error).1));
    }
    let drifted = it.status.synced_generation == it.generation() && !new.drift.is_empty();
    let fields = || listed(&new.drift.iter().map(|it| it.field.clone()).collect::<Vec<_>>());
    if let Some(error) = failed {
        if let Some(text) = attached(it, seen, decision, error) {
            return (ConditionState::no(synced::DISKS_ATTACHED, text), true);
        }
        let (statement, stalled) = failure(error);
        // That a person has to act is more than that a call was refused for now.
        match &decision.verdict {
            Verdict::Refused { reason, message } if error.class == Class::Conflict => {
                return (ConditionState::no(reason, message.clone()), false);
            }
            _ => return (statement, stalled),
        }
    }
    if it.object.observing() {
        let statement = match (&decision.verdict, new.drift.is_empty()) {
            (Verdict::Refused { reason, message }, _) => ConditionState::no(reason, message.clone()),
            (_, true) => {
                ConditionState::yes(synced::OBSERVE_ONLY, "the cloud matches the spec; nothing is ever changed")
            }
            (_, false) => ConditionState::no(
                synced::OBSERVE_ONLY,
                format!("the cloud differs in {}; nothing is changed, since managementPolicy is Observe", fields()),
            ),
        };
        return (statement, false);
    }
    let statement = match &decision.verdict {
        Verdict::Refused { reason, message } => ConditionState::no(reason, message.clone()),
        Verdict::InSync => ConditionState::yes(synced::IN_SYNC, "the cloud matches the spec"),
        _ if drifted => {
            ConditionState::no(synced::DRIFTED, format!("somebody changed {}; it is being corrected", fields()))
        }
        Verdict::Waiting { on, .. } => ConditionState::no(synced::PROGRESSING, format!("waiting for {on}")),
        Verdict::Acting(work) => ConditionState::no(synced::PROGRESSING, doing(*work)),
        Verdict::Released { .. } => ConditionState::no(synced::PROGRESSING, "the object is let go"),
    };
    (statement, false)
}

/// Which disks are in the way, where that is why a call was refused. That the disks of the former site must be detached is
/// documented of ReprotectDiskReplicaGroup without a code: a plain refusal in the right status is taken for it.
fn attached(it: &Scope<'_>, seen: &Observed, decision: &Decision, error: &Error) -> Option<String> {
    let failed_over = seen.group.group().is_some_and(|group| group.status == S::Failovered);
    let direction = decision.life.direction;
    let explained = ["InvalidStatus", "NoPair", "OperateNotAllowed", "LastToken"];
    let (at, what) = if error.code.contains("DeviceAttached") {
        (direction.standby(), "replication cannot be started")
    } else if error.operation == ApiOperation::ReprotectDiskReplicaGroup
        && error.class == Class::Conflict
        && failed_over
        && !explained.iter().any(|code| error.code.contains(code))
    {
        (direction.production(), "replication cannot be turned round")
    } else {
        return None;
    };
    let disks = it.object.spec.pairs.iter().map(|pair| match at {
        Site::Source => pair.source_disk_id.clone(),
        Site::Destination => pair.destination_disk_id.clone(),
    });
    Some(format!(
        "{what} while disks of the {} are attached to instances: detach {}; it is tried again ({}: {})",
        site(at),
        listed(&disks.collect::<Vec<_>>()),
        error.code,
        // Without the request's ID: it may last for hours, and every try has another.
        error.message
    ))
}
