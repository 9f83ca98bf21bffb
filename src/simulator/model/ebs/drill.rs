//! Drills: copies of the secondary disks at the last recovery point, while replication continues.

use serde::{Deserialize, Serialize};

use super::rules::DiskRules;

/// The status of a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrillStatus {
    /// Its disks are being created.
    Executing,
    /// Its disks exist.
    Executed,
    /// Creating its disks failed.
    ExecuteFailed,
    /// Its disks are being deleted.
    Clearing,
    /// Deleting its disks failed.
    ClearFailed,
}

#[derive(Debug, Clone)]
pub struct Drill {
    /// Its id, `drill-…`.
    pub id: String,
    pub group: String,
    /// The region where it was started and its disks are, also after the group was reversed.
    pub region: String,
    pub status: DrillStatus,
    /// The recovery point of its disks, ms since the epoch.
    pub recover_point: i64,
    /// Start, ms since the epoch.
    pub started_at: i64,
    /// Whether its next transition fails.
    pub fail_next: bool,
    pub(super) pairs: Vec<(String, String)>,
    pub(super) due: Option<i64>,
}

/// A pair of a drill in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the API's own names")]
pub struct DrillPair {
    pub pair_id: String,
    pub drill_disk_id: String,
    pub drill_disk_status: &'static str,
}

/// A drill in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the API's own names")]
pub struct DrillView {
    pub drill_id: String,
    pub group_id: String,
    pub status: DrillStatus,
    pub recover_point: i64,
    pub start_at: i64,
    pub status_message: String,
    pub pairs_info: Vec<DrillPair>,
}

impl Drill {
    pub(super) fn is_visible_in(&self, region: &str, rules: &DiskRules) -> bool {
        rules.drills_in_both_regions || self.region == region
    }

    /// Ends a transition that is due. False when the drill is cleared.
    pub(super) fn advance(&mut self, now: i64) -> bool {
        if self.due.is_none_or(|due| due > now) {
            return true;
        }
        self.due = None;
        let failed = std::mem::take(&mut self.fail_next);
        self.status = match (self.status, failed) {
            (DrillStatus::Executing, false) => DrillStatus::Executed,
            (DrillStatus::Executing, true) => DrillStatus::ExecuteFailed,
            (DrillStatus::Clearing, false) => return false,
            (DrillStatus::Clearing, true) => DrillStatus::ClearFailed,
            (other, _) => other,
        };
        true
    }

    pub(super) fn view(&self) -> DrillView {
        let (disk_status, status_message) = match self.status {
            DrillStatus::Executing => ("creating", ""),
            DrillStatus::Executed => ("created", ""),
            DrillStatus::ExecuteFailed => ("OperationDenied.QuotaExceed", "OperationDenied.QuotaExceed"),
            DrillStatus::Clearing => ("deleting", ""),
            DrillStatus::ClearFailed => ("IncorrectDiskStatus", "IncorrectDiskStatus"),
        };
        let pairs = self.pairs.iter().map(|(pair, disk)| DrillPair {
            pair_id: pair.clone(),
            drill_disk_id: disk.clone(),
            drill_disk_status: disk_status,
        });
        DrillView {
            drill_id: self.id.clone(),
            group_id: self.group.clone(),
            status: self.status,
            recover_point: self.recover_point / 1000,
            start_at: self.started_at / 1000,
            status_message: status_message.to_owned(),
            pairs_info: pairs.collect(),
        }
    }
}
