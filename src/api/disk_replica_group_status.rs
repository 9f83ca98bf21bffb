//! The status of `DiskReplicaGroup`, which only the operator writes.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::disk_replica_group::{FailoverMode, Site};
pub use super::head::StatusHead;

/// Which way disks are replicated.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// From the source to the destination.
    #[default]
    Forward,
    /// From the destination to the source.
    Reverse,
}

impl Direction {
    /// The site from which disks are replicated.
    pub fn production(self) -> Site {
        match self {
            Self::Forward => Site::Source,
            Self::Reverse => Site::Destination,
        }
    }

    /// The site to which disks are replicated.
    pub fn standby(self) -> Site {
        self.production().other()
    }

    /// The opposite direction.
    pub fn reversed(self) -> Self {
        match self {
            Self::Forward => Self::Reverse,
            Self::Reverse => Self::Forward,
        }
    }

    /// The name in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "Forward",
            Self::Reverse => "Reverse",
        }
    }
}

/// What an operation is for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationType {
    /// The destination becomes the active site.
    Failover,
    /// The source becomes the active site again.
    Failback,
    /// A failover is taken back before replication was turned round.
    Cancel,
    /// Replication is turned round and started again.
    Reprotect,
}

/// What became of an operation.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It goes on.
    Running,
    /// It reached its end.
    Succeeded,
    /// It cannot reach its end.
    Failed,
    /// It was given up at a safe point, since the spec asks for something else now.
    Cancelled,
}

/// A step of an operation.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepName {
    /// Replication is stopped, so that it can be synchronized once more.
    Stop,
    /// It is synchronized once more.
    Synchronize,
    /// The secondary disks are opened for use.
    Failover,
    /// Replication is turned round, or the failover is taken back.
    Reprotect,
    /// Replication is started again.
    Start,
}

/// A step and its times.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OperationStep {
    /// The step: Stop, Synchronize, Failover, Reprotect or Start.
    pub name: StepName,
    /// When it was begun (UTC).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started_at: Timestamp,
    /// When the cloud showed its end (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub completed_at: Option<Timestamp>,
}

/// A failover, a failback, a cancellation of one, or a reversal of replication.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Counts the operations of this object.
    pub number: i64,
    /// Failover, Failback, Cancel or Reprotect.
    pub r#type: OperationType,
    /// Planned or Forced, of a failover or failback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "FailoverMode")]
    pub mode: Option<FailoverMode>,
    /// The generation of the spec that asked for it.
    pub generation: i64,
    /// failover.requestedAt of the request for it (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub requested_at: Option<Timestamp>,
    /// Running, Succeeded, Failed or Cancelled.
    pub phase: Phase,
    /// The site that is to be active after it.
    pub target_site: Site,
    /// When it was begun (UTC).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started_at: Timestamp,
    /// When it ended (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub completed_at: Option<Timestamp>,
    /// The steps, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<OperationStep>,
    /// The recovery point that the failover went to (UTC): what was written after it is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub recovery_point: Option<Timestamp>,
    /// Age of that recovery point when FailoverDiskReplicaGroup was called, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_point_age_seconds: Option<i64>,
    /// The loss that was expected before it began, in seconds; at most, in steps of the objective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_loss_seconds: Option<i64>,
    /// The pairs whose data it gave up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs_left_behind: Vec<String>,
    /// The loss, in seconds: the time of writes that the other site never got, at most. Zero after a last synchronization. Absent
    /// where pairs were left behind, or the recovery point is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_seconds: Option<i64>,
    /// Time from requestedAt until the secondary disks could be used, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_time_seconds: Option<i64>,
    /// Its outcome, in one sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// The state of a request.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestPhase {
    /// The operator cannot begin it yet, and begins it when it can, until it expires.
    Waiting,
    /// It is in progress.
    Running,
    /// It reached its end, or there was nothing to do.
    Succeeded,
    /// It was not begun in time.
    Expired,
    /// The operator refuses it, and does not try it again: write a newer one.
    Refused,
    /// Its requestedAt is in the future. It is not recorded: correct it.
    Invalid,
}

/// The state of the request in spec.failover.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RequestStatus {
    /// Waiting, Running, Succeeded, Expired, Refused or Invalid.
    pub phase: RequestPhase,
    /// failover.requestedAt of an invalid request (UTC), which lastRequestedAt does not record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub requested_at: Option<Timestamp>,
    /// The end of its validity (UTC): nothing begins later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub expires_at: Option<Timestamp>,
    /// The cause, and the remedy.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A failover to the other site, as it would be now.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FailoverPreview {
    /// Whether it would begin now.
    pub possible: bool,
    /// The reasons why it would not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<String>,
    /// The time of writes that it would lose, in seconds: at most, in steps of the objective. Absent while it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_loss_seconds: Option<i64>,
    /// The pairs whose data it would give up: it is refused unless failover.leaveBehind names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs_left_behind: Vec<String>,
    /// The duration of the last one of this mode, in seconds, rounded up to minutes. Absent while there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_seconds: Option<i64>,
    /// The calls that it would make, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<String>,
}

/// The failovers to the other site, as they would be now.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FailoverPreviews {
    /// With mode: Planned.
    pub planned: FailoverPreview,
    /// With mode: Forced.
    pub forced: FailoverPreview,
}

/// A call that may have happened: written before it, removed once its effect is seen. A repeat has the same client token.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PendingCall {
    /// The operation of the API and what it is about, such as StartDiskReplicaGroup or CreateDiskReplicaPair/data.
    pub call: String,
    /// What its client token derives from, besides the object's UID and the call.
    pub sequence: i64,
    /// When it was last made (UTC).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub requested_at: Timestamp,
    /// When it was answered (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub accepted_at: Option<Timestamp>,
}

impl PendingCall {
    /// The time of the last known event of the call: its answer, else its request.
    pub fn last(&self) -> Timestamp {
        self.accepted_at.unwrap_or(self.requested_at)
    }
}

/// What is known of one pair.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PairStatus {
    /// The pair's name in the spec. Of a pair that the spec does not name any more, the name that it had, or its ID.
    pub name: String,
    /// The pair's ID in the cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_pair_id: Option<String>,
    /// The pair's status in the cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair_status: Option<String>,
    /// What the cloud says is wrong with it, such as DeviceRemoved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
    /// The newest direction in which it completed a synchronization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Direction")]
    pub synchronized: Option<Direction>,
}

/// What became of a drill.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrillResult {
    /// Its disks were cloned and cleared again.
    Succeeded,
    /// Its disks could not be cloned; what was there is cleared.
    Failed,
}

/// A drill of this object.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DrillRun {
    /// The drill's ID in the cloud. Absent until it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill_id: Option<String>,
    /// The site whose disks are cloned.
    pub site: Site,
    /// When it was begun (UTC).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started_at: Timestamp,
    /// The drill's status in the cloud: executing, executed, execute_failed, clearing or clear_failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill_status: Option<String>,
    /// The recovery point whose disks were cloned (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub recovery_point: Option<Timestamp>,
    /// When the clones were there (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub ready_at: Option<Timestamp>,
    /// How long the cloning took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<i64>,
    /// When it was to be cleared (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub clearing_since: Option<Timestamp>,
    /// When the clones were gone (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub cleared_at: Option<Timestamp>,
    /// Succeeded or Failed, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DrillResult")]
    pub result: Option<DrillResult>,
    /// What the cloud says is wrong with it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Drills by schedule and on request.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DrillsStatus {
    /// The time of the schedule up to which no drill is due (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_schedule_time: Option<Timestamp>,
    /// The schedule that this time is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// What a drill that is due waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// The drill under way: its clones exist and are billed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<DrillRun>,
    /// The last drill that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<DrillRun>,
}

/// What is known of a replication group.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DiskReplicaGroupStatus {
    /// What every kind has.
    #[serde(flatten)]
    pub head: StatusHead,
    /// The group's ID in the cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_group_id: Option<String>,
    /// The group's status in the cloud, such as normal, stopped or failovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_status: Option<String>,
    /// The site whose disks are in use: Source or Destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Site")]
    pub active_site: Option<Site>,
    /// Forward (source to destination) or Reverse. The annotation disasterrecovery.dev/direction keeps it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Direction")]
    pub direction: Option<Direction>,
    /// The zone that the cloud names as that of the source, by which a reversal in the console is noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_source_zone: Option<String>,
    /// The newest requestedAt that the operator took (UTC). Requests up to it never begin anything. At first, the time at which
    /// the object was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_requested_at: Option<Timestamp>,
    /// The state of the request in spec.failover. Absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RequestStatus")]
    pub request: Option<RequestStatus>,
    /// A failover to the other site, as it would be now. Absent while there is no group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "FailoverPreviews")]
    pub failover_preview: Option<FailoverPreviews>,
    /// The time since which the operator knows activeSite and direction as they are (UTC). Only a later request consents to a
    /// reversal that another actor prepared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub active_site_since: Option<Timestamp>,
    /// The number of the operation that made the standby site the active one. Absent while the group is not failed over, or
    /// another actor failed it over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_over_by: Option<i64>,
    /// Another actor reversed replication, and no synchronization was completed since then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reversed_by_other: bool,
    /// The time at which the cloud last accepted the start of a single synchronization (UTC). The next one is possible half the
    /// objective later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_single_synchronization_at: Option<Timestamp>,
    /// Since when the cloud names another source than before (UTC), while it is not believed yet that somebody turned
    /// replication round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub renamed_since: Option<Timestamp>,
    /// The pairs of the spec, and those of this object that are not in it and not gone yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub pairs: Vec<PairStatus>,
    /// Pairs of the spec that are in the group, of all pairs, such as 2/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs_in_group: Option<String>,
    /// The last recovery point in the present direction (UTC); shown in steps of a minute. Absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub recovery_point: Option<Timestamp>,
    /// Recovery points up to this time do not count: they may be from before the last change of site or direction (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub outdated_recovery_point: Option<Timestamp>,
    /// The last ten operations, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["number".into()]))]
    pub operations: Vec<Operation>,
    /// The last ten failovers and failbacks that ended, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["number".into()]))]
    pub failovers: Vec<Operation>,
    /// Drills.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drills: Option<DrillsStatus>,
    /// Calls that may have happened and whose effect was not seen yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["call".into()]))]
    pub pending_calls: Vec<PendingCall>,
    /// Counts the calls that changed something: client tokens derive from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_sequence: Option<i64>,
    /// The IDs of the groups that carry this object's tag, where there is more than one. While there are any, the operator changes
    /// nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub twins: Vec<String>,
    /// The time since which the bound group is not found (UTC). It counts as gone when reads over the whole visibility window
    /// agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub missing_since: Option<Timestamp>,
    /// The last handled value of the annotation disasterrecovery.dev/drill-requested-at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_drill_at: Option<String>,
}

impl AsRef<StatusHead> for DiskReplicaGroupStatus {
    fn as_ref(&self) -> &StatusHead {
        &self.head
    }
}

impl AsMut<StatusHead> for DiskReplicaGroupStatus {
    fn as_mut(&mut self) -> &mut StatusHead {
        &mut self.head
    }
}
