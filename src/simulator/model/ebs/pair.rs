//! Replication pairs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::content::Contents;
use super::parameters::{Place, Tag};
use super::points::Points;
use super::rules::{DiskRules, Production};
use super::status::{ReplicaStatus, Transition};

#[derive(Debug, Clone)]
pub struct DiskPair {
    /// Its id, `pair-…`.
    pub id: String,
    pub name: Option<String>,
    pub description: Option<String>,
    pub group: Option<String>,
    /// The present source disk.
    pub source_disk: String,
    /// The present destination disk.
    pub destination_disk: String,
    /// The present source of replication.
    pub source: Place,
    /// The present destination of replication.
    pub destination: Place,
    /// The source at creation.
    pub primary: Place,
    /// The destination at creation.
    pub standby: Place,
    /// Its status; that of its group after the first operation on the group.
    pub status: ReplicaStatus,
    /// The reason of status `invalid`, such as `DeviceRemoved`.
    pub status_message: Option<String>,
    /// Its last recovery point, ms since the epoch.
    pub last_recover_point: Option<i64>,
    /// Whether a full copy in the present direction completed.
    pub synced: bool,
    pub(super) charge_type: String,
    pub(super) enable_rtc: bool,
    pub(super) resource_group_id: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) created_at: i64,
    pub(super) transition: Option<Transition>,
    pub(super) points: Points,
    pub(super) last_one_shot: Option<i64>,
    /// Whether the user stopped writing on the source before the last completed synchronisation.
    pub(super) writers_stopped: bool,
    /// Whether a failover opened the destination.
    pub(super) opened: bool,
}

/// Parameters of CreateDiskReplicaPair.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the API's own names")]
pub struct DiskPairInput {
    pub name: Option<String>,
    pub description: Option<String>,
    pub disk: Option<String>,
    pub source_zone: Option<String>,
    pub destination_disk: Option<String>,
    pub destination_region: Option<String>,
    pub destination_zone: Option<String>,
    pub charge_type: Option<String>,
    pub rpo: Option<i64>,
    pub enable_rtc: Option<bool>,
    pub resource_group_id: Option<String>,
    pub tags: BTreeMap<String, String>,
}

/// The filter of DescribeDiskReplicaPairs.
#[derive(Debug, Clone, Default)]
pub struct PairFilter {
    /// Ids; all pairs when absent.
    pub ids: Option<Vec<String>>,
    /// The group; `-` means none.
    pub group: Option<String>,
    /// A part of the name.
    pub name: Option<String>,
    /// `production` or `backup`.
    pub site: Option<String>,
}

/// A pair in an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the API's own names")]
pub struct DiskPairView {
    pub replica_pair_id: String,
    pub pair_name: Option<String>,
    pub description: Option<String>,
    pub replica_group_id: Option<String>,
    pub replica_group_name: Option<String>,
    pub status: ReplicaStatus,
    pub status_message: Option<String>,
    pub site: &'static str,
    pub source_disk_id: String,
    pub source_region: String,
    pub source_zone_id: String,
    pub destination_disk_id: String,
    pub destination_region: String,
    pub destination_zone_id: String,
    pub primary_region: String,
    pub primary_zone: String,
    pub standby_region: String,
    pub standby_zone: String,
    #[serde(rename = "RPO")]
    pub rpo: i64,
    pub enable_rtc: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_recover_point: Option<i64>,
    pub charge_type: String,
    pub create_time: String,
    pub resource_group_id: Option<String>,
    pub tags: Vec<Tag>,
}

impl DiskPair {
    pub(super) fn is_visible_in(&self, region: &str) -> bool {
        self.source.region == region || self.destination.region == region
    }

    pub(super) fn uses(&self, disk: &str) -> bool {
        self.source_disk == disk || self.destination_disk == disk
    }

    /// The region of the production site, as for its group.
    pub(super) fn production(&self, rules: &DiskRules) -> &str {
        match rules.production {
            Production::Source => &self.source.region,
            Production::Primary => &self.primary.region,
        }
    }

    /// Ends a transition that is due and creates recovery points. False when the pair is deleted.
    pub(super) fn advance(&mut self, now: i64, rules: &DiskRules, frozen: bool, contents: &mut Contents) -> bool {
        if let Some(Transition { to, due }) = self.transition.filter(|transition| transition.due <= now) {
            let from = std::mem::replace(&mut self.status, to);
            self.transition = None;
            if to == ReplicaStatus::Deleted {
                return false;
            }
            if to == ReplicaStatus::Normal || from == ReplicaStatus::ManualSyncing {
                self.points.end_sync(due, rules);
                self.complete(due, false, contents);
            }
        }
        if self.status == ReplicaStatus::Normal
            && self.group.is_none()
            && !frozen
            && let Some(at) = self.points.end_cycle(now, rules)
        {
            self.complete(at, false, contents);
        }
        if let Some(point) = self.points.take_shown(now) {
            self.last_recover_point = self.last_recover_point.max(Some(point));
        }
        true
    }

    /// Completes a synchronisation: the destination holds the source as of its recovery point.
    pub(super) fn complete(&mut self, at: i64, writers_stopped: bool, contents: &mut Contents) {
        (self.synced, self.writers_stopped) = (true, writers_stopped);
        contents.copy(&self.source_disk, &self.destination_disk, at);
    }

    /// Opens the destination, or closes it again, as the status says.
    pub(super) fn settle(&mut self, now: i64, contents: &mut Contents) {
        match (self.opened, self.status.opens_destination()) {
            (false, Some(true)) => {
                let writers_stopped = std::mem::take(&mut self.writers_stopped);
                contents.open(&self.source_disk, &self.destination_disk, writers_stopped, now);
                self.opened = true;
            }
            (true, Some(false)) => {
                contents.close(&self.source_disk, &self.destination_disk);
                self.opened = false;
            }
            _ => {}
        }
    }
}
