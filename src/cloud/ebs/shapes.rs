//! What the operations send and return, in the API's own names (official SDK 5.0.1, OpenAPI metadata).
//!
//! Answers are read tolerantly, as those of RocketMQ are. What is told apart as initial (`primary_*`, `standby_*`) stays when
//! replication is turned round; `source_*` and `destination_*` are expected to flip, which is not documented.

use serde::Deserialize;

use super::super::wire::{list, maybe_number, status};

/// A tag, as it is sent and as it is returned.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub struct Tag {
    /// Its key.
    #[serde(rename = "TagKey")]
    pub key: String,
    /// Its value.
    #[serde(rename = "TagValue")]
    pub value: String,
}

/// A group that is to be made. Its region is that of the production site.
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

/// What of a group is to be changed: absent fields are left as they are.
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

/// A pair that is to be made, paid by use. Its region is that of the production site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewPair {
    /// The primary disk.
    pub disk_id: String,
    /// The primary disk's zone.
    pub source_zone_id: String,
    /// The secondary disk. What it holds is overwritten.
    pub destination_disk_id: String,
    /// The secondary disk's zone.
    pub destination_zone_id: String,
    /// The name, 2 to 128 characters.
    pub pair_name: Option<String>,
    /// The description, 2 to 256 characters.
    pub description: Option<String>,
    /// The recovery point objective in seconds; that of its group overrides it.
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
        /// It cannot be used any more.
        Invalid = "invalid",
        /// It is being made.
        Creating = "creating",
        /// It was made and nothing runs.
        Created = "created",
        /// It could not be made.
        CreateFailed = "create_failed",
        /// It copies everything for the first time; of groups, only the notes of Start speak of it.
        InitialSyncing = "initial_syncing",
        /// It synchronizes once.
        ManualSyncing = "manual_syncing",
        /// It copies what changed.
        Syncing = "syncing",
        /// It waits for the next cycle.
        Normal = "normal",
        /// It is being stopped.
        Stopping = "stopping",
        /// It is stopped.
        Stopped = "stopped",
        /// It could not be stopped.
        StopFailed = "stop_failed",
        /// The secondary disks are being opened for use.
        Failovering = "failovering",
        /// The secondary disks can be used.
        Failovered = "failovered",
        /// The failover failed.
        FailoverFailed = "failover_failed",
        /// Replication is being turned round.
        Reprotecting = "reprotecting",
        /// Replication could not be turned round.
        ReprotectFailed = "reprotect_failed",
        /// It is being deleted.
        Deleting = "deleting",
        /// It could not be deleted.
        DeleteFailed = "delete_failed",
        /// It is gone.
        Deleted = "deleted",
    }
}

status! {
    /// From which side an answer speaks of a group or a pair.
    SiteView {
        /// Its production site.
        Production = "production",
        /// Its standby site.
        Backup = "backup",
    }
}

status! {
    /// The status of a drill (official SDK).
    DrillStatus {
        /// The disks are being cloned.
        Executing = "executing",
        /// The cloned disks are there, and are billed.
        Executed = "executed",
        /// The disks could not be cloned.
        ExecuteFailed = "execute_failed",
        /// The cloned disks are being deleted.
        Clearing = "clearing",
        /// The cloned disks could not all be deleted.
        ClearFailed = "clear_failed",
    }
}

status! {
    /// The status of a drill's disk; any other name is the code of an error (official SDK).
    DrillDiskStatus {
        /// It is being cloned.
        Creating = "creating",
        /// It is there.
        Created = "created",
        /// It is being deleted.
        Deleting = "deleting",
        /// It is gone.
        Deleted = "deleted",
    }
}

/// A group as it is returned.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GroupView {
    /// The ID, `pg-…`.
    pub replica_group_id: String,
    /// The status.
    pub status: ReplicationStatus,
    /// From which side the answer speaks.
    pub site: SiteView,
    /// The name.
    pub group_name: Option<String>,
    /// The description.
    pub description: Option<String>,
    /// The region that is replicated from.
    pub source_region_id: Option<String>,
    /// The zone that is replicated from.
    pub source_zone_id: Option<String>,
    /// The region that is replicated to.
    pub destination_region_id: Option<String>,
    /// The zone that is replicated to.
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
    /// How many pairs there are.
    #[serde(deserialize_with = "maybe_number")]
    pub pair_number: Option<i64>,
    /// The tags.
    #[serde(deserialize_with = "list")]
    pub tags: Vec<Tag>,
}

/// A pair as it is returned.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PairView {
    /// The ID, `pair-…`.
    pub replica_pair_id: String,
    /// The status.
    pub status: ReplicationStatus,
    /// What is wrong with it, such as `DeviceRemoved`.
    pub status_message: Option<String>,
    /// From which side the answer speaks.
    pub site: SiteView,
    /// The name.
    pub pair_name: Option<String>,
    /// The description.
    pub description: Option<String>,
    /// The group that it belongs to, if any.
    pub replica_group_id: Option<String>,
    /// The disk that is replicated from.
    pub source_disk_id: Option<String>,
    /// The region that is replicated from.
    pub source_region: Option<String>,
    /// The zone that is replicated from.
    pub source_zone_id: Option<String>,
    /// The disk that is replicated to.
    pub destination_disk_id: Option<String>,
    /// The region that is replicated to.
    pub destination_region: Option<String>,
    /// The zone that is replicated to.
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

/// What a drill made of one pair.
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

/// A drill as it is returned.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DrillView {
    /// The ID.
    pub drill_id: String,
    /// The group.
    pub group_id: Option<String>,
    /// The status.
    pub status: DrillStatus,
    /// What went wrong, if anything.
    pub status_message: Option<String>,
    /// The recovery point that was cloned, in seconds since 1970 UTC.
    #[serde(deserialize_with = "maybe_number")]
    pub recover_point: Option<i64>,
    /// When it began, in seconds since 1970 UTC.
    #[serde(deserialize_with = "maybe_number")]
    pub start_at: Option<i64>,
    /// The pairs.
    #[serde(deserialize_with = "list")]
    pub pairs_info: Vec<DrillPair>,
}
