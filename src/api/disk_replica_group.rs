//! `DiskReplicaGroup`: a replication pair-consistent group of disks, its failovers and its drills.
//!
//! Field names are those of the API (Elastic Block Storage 2021-07-30) where it has them.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use kube::core::Duration;

pub use super::account::LocalReference;
pub use super::disk_replica_group_status::*;
pub use super::drift::Drift;
pub use super::policy::{DeletionPolicy, ManagementPolicy};

/// One of the two sites, as the object was created: these names stay when replication is reversed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Site {
    /// The site of `spec.source`.
    #[default]
    Source,
    /// The site of `spec.destination`.
    Destination,
}

impl DiskReplicaGroupSpec {
    /// The policy of reversals. `Automatic` is `AfterPlanned`.
    pub fn reprotect(&self) -> Reprotect {
        match self.reprotect {
            Some(Reprotect::Manual) => Reprotect::Manual,
            Some(Reprotect::AfterPlanned | Reprotect::Automatic) | None => Reprotect::AfterPlanned,
        }
    }
}

impl Site {
    /// The other site.
    pub fn other(self) -> Self {
        match self {
            Self::Source => Self::Destination,
            Self::Destination => Self::Source,
        }
    }

    /// The name in the spec.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "Source",
            Self::Destination => "Destination",
        }
    }
}

/// Whether disks are replicated.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replication {
    /// They are.
    #[default]
    Running,
    /// They are not. Name, description, pairs and time control can be changed then.
    Stopped,
}

/// The kind of failover that a request asks for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailoverMode {
    /// One more synchronization first, so that nothing is lost; refused while the recovery point is unknown or older than the
    /// objective, or a pair is not replicated.
    #[default]
    Planned,
    /// At once, with the last recovery point: later writes are lost.
    Forced,
    /// Back to the former site as it was, before replication is reversed: writes at the other site are discarded.
    Cancel,
}

/// The reversal of replication after a failover.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reprotect {
    /// After a planned failover the operator reverses replication and starts it. After a forced one it waits for
    /// failover.overwrite.
    #[default]
    AfterPlanned,
    /// The operator waits for failover.overwrite, also after a planned failover.
    Manual,
    /// Deprecated: the same as AfterPlanned.
    Automatic,
}

/// Where one side's disks are.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.zoneId != self.regionId && self.zoneId.startsWith(self.regionId)")
    .message("zoneId is not a zone of regionId: a zone's ID begins with that of its region, such as cn-hangzhou-h in cn-hangzhou"))]
pub struct Place {
    /// The region, such as cn-hangzhou.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9]+(-[a-z0-9]+)*$"))]
    pub region_id: String,
    /// The zone in it, such as cn-hangzhou-h.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9]+(-[a-z0-9]+)*$"))]
    pub zone_id: String,
}

/// A disk and its copy.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.sourceDiskId != self.destinationDiskId")
        .message("sourceDiskId and destinationDiskId are the same disk: write the disk that is to become the copy as destinationDiskId"),
    validation = Rule::new("self.sourceDiskId == oldSelf.sourceDiskId && self.destinationDiskId == oldSelf.destinationDiskId")
        .message("the disks of a pair are immutable: remove the pair and add one with another name"),
)]
pub struct Pair {
    /// The name of this pair within the object.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The disk at the source. Immutable.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-zA-Z0-9][a-zA-Z0-9_-]*$"))]
    pub source_disk_id: String,
    /// The disk at the destination, of the same category and size. What it holds is overwritten for good. Immutable.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-zA-Z0-9][a-zA-Z0-9_-]*$"))]
    pub destination_disk_id: String,
}

/// A request for a failover, a failback or their cancellation. The operator carries it out once, and begins nothing after it
/// expired.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
#[x_kube(validation = Rule::new("has(self.requestedAt)")
    .message("failover has no requestedAt: write the present time in UTC, such as 2026-11-28T03:10:00Z; a failover without it never begins"))]
pub struct Failover {
    /// The time of the request (UTC), such as 2026-11-28T03:10:00Z. Write the present time, at each change of activeSite or
    /// failover: an older request is refused. Required; only objects from before this field lack it, and they never act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "date-time"), length(max = 64))]
    pub requested_at: Option<Timestamp>,
    /// Planned (one more synchronization first; refused while the recovery point is unknown or older than the objective, or a
    /// pair is not replicated), Forced (at once, with the last recovery point: later writes are lost) or Cancel (back to the
    /// former site before replication is reversed: writes at the other site are discarded).
    #[serde(default)]
    pub mode: FailoverMode,
    /// The time after requestedAt in which the failover may begin, 1m to 24h. Later the request is expired, and replication is
    /// started again.
    #[serde(default = "default_valid_for")]
    #[schemars(with = "String", extend("default" = "1h"), length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= duration('24h')")
        .message("validFor is a duration from 1m to 24h, such as 1h"))]
    pub valid_for: Duration,
    /// Names of pairs whose data may be given up: the failover does not wait for their synchronization.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 17), inner(length(min = 1, max = 63)))]
    pub leave_behind: Vec<String>,
    /// Consent to reverse replication over the disks of this site, which is the former one: writes that it alone holds are
    /// lost. Needed after a forced failover, in a newer request with activeSite as it is. It has no effect in the request that
    /// begins a failover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Site")]
    pub overwrite: Option<Site>,
}

/// Drills: the disks of the last recovery point are cloned at the standby site while replication continues, kept for a while,
/// and always cleared again. The clones are billed as long as they exist.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Drill {
    /// When drills begin: a cron expression of five fields (minute, hour, day of month, month, day of week) in UTC, such as
    /// "0 3 * * 0" for Sundays at 3:00. A step is of * or of a range, such as */15. A drill that was missed is made up for
    /// once; a new schedule starts counting anew. Annotate disasterrecovery.dev/drill-requested-at for one now.
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new(cron_rule())
        .message("schedule is not a cron expression: write five fields (minute 0-59, hour 0-23, day of month 1-31, month 1-12 or JAN-DEC, day of week 0-7 or SUN-SAT), separated by one space, such as 0 3 * * 0"))]
    pub schedule: String,
    /// How long the clones are kept from the beginning of the drill, such as 30m or 2h; 1s to 168h.
    #[serde(default = "default_keep_for")]
    #[schemars(with = "String", extend("default" = "2h"), length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('168h')")
        .message("keepFor is a duration from 1s to 168h, such as 2h"))]
    pub keep_for: Duration,
}

/// Each change of `activeSite` or `failover` is a newer request, so that an old manifest never starts anything. Both may be
/// removed while they are no request. A status write changes neither, and passes.
const REQUEST_RULE: &str = "(has(self.spec.activeSite) == has(oldSelf.spec.activeSite) \
    && (!has(self.spec.activeSite) || self.spec.activeSite == oldSelf.spec.activeSite) \
    && has(self.spec.failover) == has(oldSelf.spec.failover) \
    && (!has(self.spec.failover) || self.spec.failover == oldSelf.spec.failover)) \
    || ((!has(self.spec.activeSite) \
    || (has(oldSelf.spec.activeSite) && self.spec.activeSite == oldSelf.spec.activeSite)) \
    && (!has(self.spec.failover) || (has(oldSelf.spec.failover) && self.spec.failover == oldSelf.spec.failover)) \
    && (!has(oldSelf.spec.failover) || !has(oldSelf.spec.failover.requestedAt))) \
    || (has(self.spec.failover) && has(self.spec.failover.requestedAt) \
    && (!has(self.status) || !has(self.status.lastRequestedAt) \
    || self.spec.failover.requestedAt > self.status.lastRequestedAt) \
    && (!has(oldSelf.spec.failover) || !has(oldSelf.spec.failover.requestedAt) \
    || self.spec.failover.requestedAt > oldSelf.spec.failover.requestedAt \
    || (has(self.status) && has(self.status.request) && self.status.request.phase == 'Invalid' \
    && has(self.status.request.requestedAt) \
    && self.status.request.requestedAt == oldSelf.spec.failover.requestedAt)))";

/// What a replication group should be.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "disasterrecovery.dev",
    version = "v1alpha1",
    kind = "DiskReplicaGroup",
    plural = "diskreplicagroups",
    shortname = "drg",
    category = "dr",
    namespaced,
    status = "DiskReplicaGroupStatus",
    derive = "PartialEq",
    doc = "A replication pair-consistent group of disks of Elastic Block Storage: replication between two sites, failover, reverse replication (reprotect), failback and drills.",
    validation = Rule::new(REQUEST_RULE)
        .message("activeSite and failover change only by a newer request: write failover.requestedAt with the present time in UTC, later than the one before and than status.lastRequestedAt; or write both fields as they were"),
    validation = Rule::new("!has(self.spec.replicaGroupId) || (has(oldSelf.spec.replicaGroupId) && self.spec.replicaGroupId == oldSelf.spec.replicaGroupId) || !has(self.status) || !has(self.status.replicaGroupId) || self.spec.replicaGroupId == self.status.replicaGroupId")
        .message("replicaGroupId can be removed, or be the ID of the group that the object manages, which is in status.replicaGroupId: write that ID, or make a new object to manage another group"),
    validation = Rule::new("has(self.spec.groupName) || self.metadata.name.matches('^[a-z].{1,127}$')")
        .message("the group takes its name from metadata.name, which has not 2 to 128 characters or begins with a digit: set spec.groupName"),
    printcolumn(name = "Active Site", type_ = "string", json_path = ".status.activeSite", description = "The site whose disks are in use: Source or Destination."),
    printcolumn(name = "Direction", type_ = "string", json_path = ".status.direction", description = "Forward (source to destination) or Reverse."),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.groupStatus", description = "The group's status in the cloud."),
    printcolumn(name = "Pairs", type_ = "string", json_path = ".status.pairsInGroup", description = "Pairs of the spec that are in the group, of all pairs."),
    printcolumn(name = "Recovery Point", type_ = "date", json_path = ".status.recoveryPoint", description = "The age of the last recovery point."),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether the group is as the spec asks for."),
    printcolumn(name = "Protected", type_ = "string", json_path = ".status.conditions[?(@.type==\"Protected\")].status", description = "Whether a failover now would be within the objective."),
    printcolumn(name = "Failover Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"FailoverReady\")].status", description = "Whether a planned failover would begin now."),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "The age of the object."),
    printcolumn(name = "Group ID", type_ = "string", json_path = ".status.replicaGroupId", priority = 1, description = "The group's ID in the cloud."),
    printcolumn(name = "Operation", type_ = "string", json_path = ".status.operations[0].type", priority = 1, description = "The newest operation."),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.operations[0].phase", priority = 1, description = "What became of the newest operation."),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.failover) || !has(self.failover.requestedAt) || has(self.activeSite)")
        .message("failover is a request without activeSite: write the site whose disks are to be in use"),
    validation = Rule::new("self.source.zoneId != self.destination.zoneId")
        .message("source and destination are the same zone: write another zone, of the same or of another region"),
)]
pub struct DiskReplicaGroupSpec {
    /// The AlibabaCloudAccount of this namespace whose credentials are used. When absent, the operator's own are, which works
    /// only in the namespaces of --default-account-namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LocalReference")]
    pub account_ref: Option<LocalReference>,
    /// The ID of an existing group to take over. Once the object manages a group, only the ID of that group is allowed here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-zA-Z0-9][a-zA-Z0-9_-]*$"))]
    pub replica_group_id: Option<String>,
    /// The name of the group in the cloud, 2 to 128 characters, the first of which is a letter. Default: metadata.name.
    /// Can be changed while replication is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 128), regex(pattern = r"^\S(.*\S)?$"))]
    #[x_kube(validation = Rule::new(r"self.matches(r'^\p{L}') && !self.startsWith('http://') && !self.startsWith('https://')")
        .message("groupName has to begin with a letter, and not with http:// or https://: write another name"))]
    pub group_name: Option<String>,
    /// The description of the group, 2 to 256 characters. Left as it is when absent. Can be changed while replication is
    /// stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 256), regex(pattern = r"^\S(.*\S)?$"))]
    #[x_kube(validation = Rule::new("!self.startsWith('http://') && !self.startsWith('https://')")
        .message("description cannot begin with http:// or https://: write a word before it"))]
    pub description: Option<String>,
    /// Where the disks in use are at first. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("source is immutable: set activeSite to change the site in use, or make a new object"))]
    pub source: Place,
    /// Where their copies are at first: another zone of the same or of another region. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("destination is immutable: set activeSite to change the site in use, or make a new object"))]
    pub destination: Place,
    /// The recovery point objective. The API takes one value only: 15m.
    #[serde(default = "default_recovery_point_objective")]
    #[schemars(with = "String", extend("default" = "15m"), length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    #[x_kube(validation = Rule::new("duration(self) == duration('15m')")
        .message("recoveryPointObjective can only be 15m, since the API takes no other value: write 15m or remove it"))]
    pub recovery_point_objective: Duration,
    /// Whether replication time control keeps the recovery point within ten minutes. Left as it is when absent. Can be
    /// changed while replication is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_rtc: Option<bool>,
    /// The disks and their copies, 1 to 17 pairs. Pairs can be added and removed while replication is stopped.
    #[schemars(length(min = 1, max = 17))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[x_kube(validation = Rule::new("self.all(p, self.exists_one(q, q.sourceDiskId == p.sourceDiskId || q.destinationDiskId == p.sourceDiskId) && self.exists_one(q, q.sourceDiskId == p.destinationDiskId || q.destinationDiskId == p.destinationDiskId))")
        .message("a disk is used twice: each disk can be in one pair only, as source or as destination"))]
    pub pairs: Vec<Pair>,
    /// Running or Stopped.
    #[serde(default)]
    pub replication: Replication,
    /// The site whose disks are to be in use: Source or Destination. Absent: as it is. Each change needs a failover with a newer
    /// requestedAt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Site")]
    pub active_site: Option<Site>,
    /// The request for activeSite, as one value: server-side apply replaces all of it. A merge patch keeps the fields that it does
    /// not name: set them to null. The operator carries the request out once, and begins nothing after it expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Failover")]
    pub failover: Option<Failover>,
    /// AfterPlanned (default): after a planned failover the operator reverses replication and starts it, so that the other site
    /// is protected; after a forced one it waits for failover.overwrite. Manual: it waits after a planned failover too. A
    /// reversal needs the disks of the former site detached from their instances. Automatic is deprecated and means
    /// AfterPlanned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Reprotect")]
    pub reprotect: Option<Reprotect>,
    /// Drills by schedule. None, where absent; a drill in progress is cleared then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<Drill>,
    /// What the deletion of this object does to the cloud. Delete: replication is stopped, the pairs and the group are
    /// deleted, and the disks stay. Retain: the group is left as it is. Drills of this object are cleared in both cases.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Manage, or Observe: no call that changes the cloud, ever. Then drills are not cleared, and a deletion leaves everything.
    #[serde(default)]
    pub management_policy: ManagementPolicy,
    /// Stops all work on this object, reading, clearing of drills and deletion included, until it is false again.
    #[serde(default)]
    pub suspend: bool,
    /// The interval between two observations at rest, such as 30s or 1m; 1s to 24h. Default: the operator's --poll-interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')")
        .message("pollInterval is a duration from 1s to 24h, such as 1m"))]
    pub poll_interval: Option<Duration>,
}

fn default_recovery_point_objective() -> Duration {
    std::time::Duration::from_secs(900).into()
}

fn default_valid_for() -> Duration {
    std::time::Duration::from_secs(3600).into()
}

fn default_keep_for() -> Duration {
    std::time::Duration::from_secs(7200).into()
}

/// The CEL rule of a cron expression: five fields, each a list of values or `*`, with ranges and steps.
fn cron_rule() -> String {
    const MONTHS: &str = "0?[1-9]|1[0-2]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC";
    const DAYS: &str = "[0-7]|SUN|MON|TUE|WED|THU|FRI|SAT";
    let fields = ["[0-5]?[0-9]", "[01]?[0-9]|2[0-3]", "0?[1-9]|[12][0-9]|3[01]", MONTHS, DAYS];
    let matches = fields.iter().enumerate().map(|(at, value)| {
        // A step needs a range: programs disagree about the step of a single value.
        let part = format!("(([*]|({value})-({value}))(/[1-9][0-9]?)?|({value}))");
        format!("self.split(' ')[{at}].matches('^{part}(,{part})*$')")
    });
    format!("self.split(' ').size() == 5 && {}", matches.collect::<Vec<_>>().join(" && "))
}
