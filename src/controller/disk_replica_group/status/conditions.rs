//! The conditions of a group: whether it is as the spec says, and whether a failover now would work.

use super::super::capability::{Capability, previews};
use super::super::decide::{Decision, Verdict, Work};
use super::super::observe::{Lookup, Observed};
use super::super::{Scope, lifecycle, resolve};
use crate::api::condition::{failover_ready, protected, ready, synced};
use crate::api::disk_replica_group::{DiskReplicaGroupStatus, FailoverPreviews, Replication, Site};
use crate::cloud::ebs::ReplicationStatus as S;
use crate::cloud::error::{Class, Error};
use crate::cloud::operation::ApiOperation;
use crate::controller::conditions::{ConditionState, join_limited};

/// Whether the bound group is not found, without proof that it is gone.
fn is_missing(scope: &Scope<'_>, observed: &Observed) -> bool {
    let Lookup::Absent(Some(id)) = &observed.group else { return false };
    scope.status.replica_group_id.as_ref() == Some(id) && !scope.absence(&resolve::group_part(id)).is_proven()
}

/// Whether a list does not show a pair of status, without proof that it is gone.
fn any_pair_missing(scope: &Scope<'_>, observed: &Observed) -> bool {
    let mut known = scope.status.pairs.iter().filter_map(|it| it.replica_pair_id.as_deref());
    known.any(|id| {
        let listed = observed.pairs.iter().any(|pair| pair.replica_pair_id == id);
        let deleted = resolve::deletion_accepted(scope.status, id);
        !listed && !deleted && !scope.absence(&resolve::pair_part(id)).is_proven()
    })
}

/// The cause why nothing is known about a failover of the group.
fn uncertain(scope: &Scope<'_>, observed: &Observed, decision: &Decision) -> Option<&'static str> {
    if scope.deleting() {
        return Some("the object is being deleted");
    }
    if is_missing(scope, observed) {
        return Some("the group is not found, and it is not known whether it is gone");
    }
    observed.group.group()?;
    if !observed.all_twins(scope).is_empty() {
        return Some("two groups carry the tag of this object");
    }
    if any_pair_missing(scope, observed) {
        return Some("a pair is not found, and it is not known whether it is gone");
    }
    if let Verdict::Refused { reason: synced::OWNED_BY_ANOTHER | synced::IMMUTABLE_FIELD, .. } = &decision.verdict {
        return Some("the group is another one than the spec means");
    }
    let lifecycle = &decision.details.lifecycle;
    let certain = lifecycle.unproven().is_none() && lifecycle.contradiction.is_none();
    (!certain).then_some("the direction of replication is not certain")
}

/// The failovers to the other site as they would be now, where that is certain.
pub(super) fn previews_now(
    scope: &Scope<'_>,
    observed: &Observed,
    decision: &Decision,
) -> Option<(FailoverPreviews, [Capability; 2])> {
    let group = observed.group.group().filter(|_| uncertain(scope, observed, decision).is_none())?;
    Some(previews(scope, &decision.details.lifecycle, group, observed))
}

/// `FailoverReady`: whether a planned failover would begin now, and what a forced one would lose.
pub(super) fn failover_readiness(
    scope: &Scope<'_>,
    observed: &Observed,
    decision: &Decision,
    answers: Option<&[Capability; 2]>,
) -> ConditionState {
    if observed.group.group().is_none() && !scope.deleting() && !is_missing(scope, observed) {
        return ConditionState::no(failover_ready::REFUSED, "there is no group");
    }
    let Some([planned, forced]) = answers else {
        let why = uncertain(scope, observed, decision).unwrap_or("there is no group");
        return ConditionState::unknown(failover_ready::UNKNOWN, why);
    };
    let to = decision.details.lifecycle.active.other().as_str();
    let by_force = match (forced.refusal(), forced.expected_loss_seconds) {
        (Some(_), _) if forced.refusals == planned.refusals => "a forced one would be refused too".to_owned(),
        (Some(why), _) => format!("a forced one would be refused too: {why}"),
        (None, Some(loss)) => format!("a forced one would lose writes of at most {loss} s"),
        (None, None) => "the loss of a forced one is unknown".to_owned(),
    };
    if scope.observe_only() {
        return ConditionState::no(
            failover_ready::REFUSED,
            "managementPolicy is Observe: the operator begins no failover",
        );
    }
    match planned.refusal() {
        None => {
            let text = format!("a planned failover to the {to} would begin now and lose nothing; {by_force}");
            ConditionState::yes(failover_ready::POSSIBLE, text)
        }
        Some(why) => {
            let text = format!("a planned failover to the {to} would be refused: {why}; {by_force}");
            ConditionState::no(failover_ready::REFUSED, text)
        }
    }
}

/// `Protected`: whether a forced failover is possible now, loses no more than the objective and leaves no pair behind.
pub(super) fn protection(
    scope: &Scope<'_>,
    new: &DiskReplicaGroupStatus,
    observed: &Observed,
    decision: &Decision,
    answers: Option<&[Capability; 2]>,
) -> ConditionState {
    let stopped = |text: &str| ConditionState::no(protected::REPLICATION_STOPPED, text);
    if let Some(why) = uncertain(scope, observed, decision) {
        return ConditionState::unknown(protected::UNKNOWN, why);
    }
    let Some(group) = observed.group.group() else { return stopped("there is no group") };
    if matches!(group.status, S::Failovered | S::Reprotecting | S::ReprotectFailed) {
        return stopped("the group is failed over, and replication is not reversed yet");
    }
    if !lifecycle::runs(&group.status) {
        return stopped(&format!("disks are not replicated: the group is {}", group.status.as_str()));
    }
    let unreplicated = resolve::unreplicated_pairs(&scope.object.spec, scope.status, group, &observed.pairs);
    if !unreplicated.is_empty() {
        return stopped(&format!("pairs are not replicated: {}", join_limited(&described(&unreplicated))));
    }
    let Some(point) = decision.details.lifecycle.valid_recovery_point(group) else {
        let text = format!(
            "no synchronization to the {} was completed yet",
            site_name(decision.details.lifecycle.direction.standby())
        );
        return ConditionState::no(protected::NEVER_SYNCED, text);
    };
    if let Some(why) = answers.and_then(|[_, forced]| forced.refusal()) {
        return ConditionState::no(protected::NEVER_SYNCED, why);
    }
    let objective = std::time::Duration::from(scope.object.spec.recovery_point_objective);
    let minutes = objective.as_secs() / 60;
    let age = scope.now.duration_since(point);
    if age.is_positive() && age.unsigned_abs() > objective {
        let shown = new.recovery_point.unwrap_or(point);
        let text = format!("the last recovery point ({shown}) is older than {minutes} min");
        return ConditionState::no(protected::OBJECTIVE_EXCEEDED, text);
    }
    ConditionState::yes(protected::WITHIN_OBJECTIVE, format!("the last recovery point is within {minutes} min"))
}

/// Pairs with their causes, in words.
fn described(pairs: &[(String, String)]) -> Vec<String> {
    pairs.iter().map(|(name, why)| format!("{name} ({why})")).collect()
}

fn site_name(site: Site) -> &'static str {
    match site {
        Site::Source => "source",
        Site::Destination => "destination",
    }
}

/// `Ready`: whether the group is as the spec says.
pub(super) fn readiness(
    scope: &Scope<'_>,
    new: &DiskReplicaGroupStatus,
    observed: &Observed,
    decision: &Decision,
) -> ConditionState {
    match &decision.verdict {
        Verdict::Acting(work) => {
            return ConditionState::no(work.reason(), work.describe("group"));
        }
        Verdict::Waiting { on, .. } if is_missing(scope, observed) => {
            return ConditionState::unknown(ready::NOT_READY, on.clone());
        }
        Verdict::Waiting { work, on } => return ConditionState::no(work.reason(), on.clone()),
        Verdict::Refused { message, .. } => return ConditionState::no(ready::NOT_READY, message.clone()),
        Verdict::InSync | Verdict::Released { .. } => {}
    }
    let Some(group) = observed.group.group() else { return ConditionState::no(ready::NOT_READY, "there is no group") };
    let spec = &scope.object.spec;
    if let Some(work) = transitional_work(&group.status).filter(|_| scope.observe_only()) {
        return ConditionState::no(work.reason(), format!("the group is {}", group.status.as_str()));
    }
    let active = decision.details.lifecycle.active;
    if let Some(wanted) = spec.active_site.filter(|wanted| *wanted != active) {
        let text = format!("the {} is the active site, not the {}", site_name(active), site_name(wanted));
        return ConditionState::no(ready::NOT_READY, text);
    }
    let unreplicated = resolve::unreplicated_pairs(&scope.object.spec, scope.status, group, &observed.pairs);
    if !unreplicated.is_empty() {
        return ConditionState::no(
            ready::NOT_READY,
            format!("pairs are not replicated: {}", join_limited(&described(&unreplicated))),
        );
    }
    if group.status == S::Failovered {
        let text = "the standby site is active; replication is not reversed";
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
    if decision.details.lifecycle.valid_recovery_point(group).is_none() {
        return ConditionState::no(ready::CREATING, "the first synchronization has not ended");
    }
    let pairs = new.pairs_in_group.clone().unwrap_or_default();
    ConditionState::yes(ready::AVAILABLE, format!("the group replicates; pairs: {pairs}"))
}

/// The work of a transitional status of the group.
fn transitional_work(status: &S) -> Option<Work> {
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

/// The message on attached disks, where they are the cause of a refusal. The documentation of ReprotectDiskReplicaGroup
/// requires that the disks of the former site are detached, and names no code: an unexplained refusal in the right status
/// counts as one.
pub(super) fn attached_disks(
    scope: &Scope<'_>,
    observed: &Observed,
    decision: &Decision,
    error: &Error,
) -> Option<String> {
    let failed_over = observed.group.group().is_some_and(|group| group.status == S::Failovered);
    let direction = decision.details.lifecycle.direction;
    let explained = ["InvalidStatus", "NoPair", "OperateNotAllowed", "LastToken"];
    let (at, what) = if error.code.contains("DeviceAttached") {
        (direction.standby(), "replication cannot be started")
    } else if error.operation == ApiOperation::ReprotectDiskReplicaGroup
        && error.class == Class::Conflict
        && failed_over
        && !explained.iter().any(|code| error.code.contains(code))
    {
        (direction.production(), "replication cannot be reversed")
    } else {
        return None;
    };
    let disks = scope.object.spec.pairs.iter().map(|pair| match at {
        Site::Source => pair.source_disk_id.clone(),
        Site::Destination => pair.destination_disk_id.clone(),
    });
    Some(format!(
        "{what} while disks of the {} are attached to instances: detach {}; it is tried again ({}: {})",
        site_name(at),
        join_limited(&disks.collect::<Vec<_>>()),
        error.code,
        // The request's ID is omitted: the refusal may last for hours, and each attempt has another ID.
        error.message
    ))
}
