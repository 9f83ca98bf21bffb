//! Parameters and results of the operations, in the API's names (official SDK 5.0.1, OpenAPI metadata).
//!
//! Reading is tolerant, as for RocketMQ. The initial sites (`primary_*`, `standby_*`) stay when replication is
//! reversed. `source_*` and `destination_*` are expected to swap, which is not documented.

use serde::Deserialize;

use super::super::wire::{list, maybe_number, status};

/// A tag, sent and returned.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub struct Tag {
    /// The tag's key.
    #[serde(rename = "TagKey")]
    pub key: String,
    /// The tag's value.
    #[serde(rename = "TagValue")]
    pub value: String,
}

/// Parameters of a new group. Its region is that of the production site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewGroup {
    /// The zone of the primary disks.
    pub source_zone_id: String,
    /// The zone of the secondary disks.
    pub destination_zone_id: String,
    /// The name, 2 to 128 characters.
    pub group_name: Option<String>,
    /// The description, 2 to 256 characters.
    pub description: Option<String>,
    /// The recovery point objective in seconds; 900 is the only value that the API takes.
    pub rpo: Option<i64>,
    /// Whether replication-time control holds the recovery point to ten minutes.
    pub enable_rtc: Option<bool>,
    /// The resource group.
    pub resource_group_id: Option<String>,
    /// The tags, 20 at most.
    pub tags: Vec<Tag>,
}

/// Changes of a group. Absent fields stay unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupChange {
    /// The name, 2 to 128 characters.
    pub group_name: Option<String>,
    /// The description, 2 to 256 characters.
    pub description: Option<String>,
    /// The recovery point objective in seconds.
    pub rpo: Option<i64>,
    /// Whether replication-time control is on.
    pub enable_rtc: Option<bool>,
}

/// Parameters of a new pair, paid by use. Its region is that of the production site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewPair {
    /// The primary disk.
    pub disk_id: String,
    /// The primary disk's zone.
    pub source_zone_id: String,
    /// The secondary disk. Replication overwrites its data.
    pub destination_disk_id: String,
    /// The secondary disk's zone.
    pub destination_zone_id: String,
    /// The name, 2 to 128 characters.
    pub pair_name: Option<String>,
    /// The description, 2 to 256 characters.
    pub description: Option<String>,
    /// The recovery point objective in seconds. The group's objective overrides it.
    pub rpo: Option<i64>,
    /// Whether replication-time control is on.
    pub enable_rtc: Option<bool>,
    /// The resource group.
    pub resource_group_id: Option<String>,
    /// The tags, 20 at most.
    pub tags: Vec<Tag>,
}

status! {
    /// The status of a group or a pair (official SDK; OpenAPI metadata).
    ReplicationStatus {
        /// No longer usable.
        Invalid = "invalid",
        /// Being created.
        Creating = "creating",
        /// Created; nothing runs.
        Created = "created",
        /// Creation failed.
        CreateFailed = "create_failed",
        /// The first full copy runs. For groups, only the notes of StartDiskReplicaGroup mention it.
        InitialSyncing = "initial_syncing",
        /// One manual synchronization runs.
        ManualSyncing = "manual_syncing",
        /// Changes are being copied.
        Syncing = "syncing",
        /// Waiting for the next cycle.
        Normal = "normal",
        /// Being stopped.
        Stopping = "stopping",
        /// Stopped.
        Stopped = "stopped",
        /// Stopping failed.
        StopFailed = "stop_failed",
        /// The secondary disks are being opened.
        Failovering = "failovering",
        /// The secondary disks are usable.
        Failovered = "failovered",
        /// The failover failed.
        FailoverFailed = "failover_failed",
        /// Replication is being reversed.
        Reprotecting = "reprotecting",
        /// Reversing replication failed.
        ReprotectFailed = "reprotect_failed",
        /// Being deleted.
        Deleting = "deleting",
        /// Deletion failed.
        DeleteFailed = "delete_failed",
        /// Deleted.
        Deleted = "deleted",
    }
}

status! {
    /// The site from which an answer describes a group or a pair.
    SiteView {
        /// The production site.
        Production = "production",
        /// The standby site.
        Backup = "backup",
    }
}

status! {
    /// The status of a drill (official SDK).
    DrillStatus {
        /// The disks are being cloned.
        Executing = "executing",
        /// The cloned disks exist and are billed.
        Executed = "executed",
        /// Cloning failed.
        ExecuteFailed = "execute_failed",
        /// The cloned disks are being deleted.
        Clearing = "clearing",
        /// Not all cloned disks could be deleted.
        ClearFailed = "clear_failed",
    }
}

status! {
    /// The status of a drill's disk; any other name is the code of an error (official SDK).
    DrillDiskStatus {
        /// Being cloned.
        Creating = "creating",
        /// Cloned.
        Created = "created",
        /// Being deleted.
        Deleting = "deleting",
        /// Deleted.
        Deleted = "deleted",
    }
}

/// A group in an answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GroupView {
    /// The ID, `pg-…`.
    pub replica_group_id: String,
    /// The status.
    pub status: ReplicationStatus,
    /// The site from which the answer describes it.
    pub site: SiteView,
    /// The name.
    pub group_name: Option<String>,
    /// The description.
    pub description: Option<String>,
    /// The region that replication reads from.
    pub source_region_id: Option<String>,
    /// The zone that replication reads from.
    pub source_zone_id: Option<String>,
    /// The region that replication writes to.
    pub destination_region_id: Option<String>,
    /// The zone that replication writes to.
    pub destination_zone_id: Option<String>,
    /// The initial source's region.
    pub primary_region: Option<String>,
    /// The initial source's zone.
    pub primary_zone: Option<String>,
    /// The initial destination's region.
    pub standby_region: Option<String>,
    /// The initial destination's zone.
    pub standby_zone: Option<String>,
    /// The recovery point objective in seconds.
    #[serde(rename = "RPO", deserialize_with = "maybe_number")]
    pub rpo: Option<i64>,
    /// Whether replication-time control is on.
    pub enable_rtc: Option<bool>,
    /// The last recovery point, in seconds since 1970 UTC; the service may print 0 for none.
    #[serde(deserialize_with = "maybe_number")]
    pub last_recover_point: Option<i64>,
    /// The pairs.
    #[serde(deserialize_with = "list")]
    pub pair_ids: Vec<String>,
    /// The number of pairs.
    #[serde(deserialize_with = "maybe_number")]
    pub pair_number: Option<i64>,
    /// The tags.
    #[serde(deserialize_with = "list")]
    pub tags: Vec<Tag>,
}

/// A pair in an answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PairView {
    /// The ID, `pair-…`.
    pub replica_pair_id: String,
    /// The status.
    pub status: ReplicationStatus,
    /// The reason for a bad status, such as `DeviceRemoved`.
    pub status_message: Option<String>,
    /// The site from which the answer describes it.
    pub site: SiteView,
    /// The name.
    pub pair_name: Option<String>,
    /// The description.
    pub description: Option<String>,
    /// The pair's group, if any.
    pub replica_group_id: Option<String>,
    /// The disk that replication reads from.
    pub source_disk_id: Option<String>,
    /// The region that replication reads from.
    pub source_region: Option<String>,
    /// The zone that replication reads from.
    pub source_zone_id: Option<String>,
    /// The disk that replication writes to.
    pub destination_disk_id: Option<String>,
    /// The region that replication writes to.
    pub destination_region: Option<String>,
    /// The zone that replication writes to.
    pub destination_zone_id: Option<String>,
    /// The initial source's region.
    pub primary_region: Option<String>,
    /// The initial destination's region.
    pub standby_region: Option<String>,
    /// The recovery point objective in seconds.
    #[serde(rename = "RPO", deserialize_with = "maybe_number")]
    pub rpo: Option<i64>,
    /// Whether replication-time control is on.
    pub enable_rtc: Option<bool>,
    /// The last recovery point, in seconds since 1970 UTC; the service may print 0 for none.
    #[serde(deserialize_with = "maybe_number")]
    pub last_recover_point: Option<i64>,
    /// `PREPAY` or `POSTPAY`.
    pub charge_type: Option<String>,
    /// The tags.
    #[serde(deserialize_with = "list")]
    pub tags: Vec<Tag>,
}

/// A drill's clone of one pair.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DrillPair {
    /// The pair.
    pub pair_id: Option<String>,
    /// The cloned disk.
    pub drill_disk_id: Option<String>,
    /// The cloned disk's status.
    pub drill_disk_status: DrillDiskStatus,
}

/// A drill in an answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DrillView {
    /// The ID.
    pub drill_id: String,
    /// The group.
    pub group_id: Option<String>,
    /// The status.
    pub status: DrillStatus,
    /// The reason for a failure, if any.
    pub status_message: Option<String>,
    /// The cloned recovery point, in seconds since 1970 UTC.
    #[serde(deserialize_with = "maybe_number")]
    pub recover_point: Option<i64>,
    /// Start time, in seconds since 1970 UTC.
    #[serde(deserialize_with = "maybe_number")]
    pub start_at: Option<i64>,
    /// The pairs.
    #[serde(deserialize_with = "list")]
    pub pairs_info: Vec<DrillPair>,
}
