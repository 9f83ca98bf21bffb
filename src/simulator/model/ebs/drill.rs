//! Drills: copies of the secondary disks at the last recovery point, while replication goes on.

use serde::{Deserialize, Serialize};

use super::super::Failure;
use super::{DiskRules, Disks, EbsPage, EbsPaging, GroupOperation};

/// The status of a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrillStatus {
    /// Its disks are being made.
    Executing,
    /// Its disks are there.
    Executed,
    /// Its disks could not be made.
    ExecuteFailed,
    /// Its disks are being deleted.
    Clearing,
    /// Its disks could not be deleted.
    ClearFailed,
}

/// A drill.
#[derive(Debug, Clone)]
pub struct Drill {
    /// Its id, `drill-…`.
    pub id: String,
    /// The group.
    pub group: String,
    /// Where it was started and its disks are, whichever way the group replicates since.
    pub region: String,
    /// Its status.
    pub status: DrillStatus,
    /// The recovery point that its disks have, ms since the epoch.
    pub recover_point: i64,
    /// When it began, ms since the epoch.
    pub started_at: i64,
    /// Whether what it does next fails.
    pub fail_next: bool,
    pairs: Vec<(String, String)>,
    pub(super) due: Option<i64>,
}

/// A pair of a drill as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the API's own names")]
pub struct DrillPair {
    pub pair_id: String,
    pub drill_disk_id: String,
    pub drill_disk_status: &'static str,
}

/// A drill as it is sent.
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
    fn seen_in(&self, region: &str, rules: &DiskRules) -> bool {
        rules.drills_in_both_regions || self.region == region
    }

    /// Whether it is still there.
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

impl Disks {
    /// StartReplicaGroupDrill, in the region of the secondary site: the drill's id.
    pub fn start_drill(&mut self, region: &str, group: &str, now: i64) -> Result<String, Failure> {
        self.advance(now);
        let group = self.seen_group(region, group)?;
        if group.on_secondary(region, &self.rules).is_err() {
            let message = "The drill must be started in the destination region.";
            return Err(Failure::operation_denied("StartDrillShouldOnDestRegion", message));
        }
        let members: Vec<_> = group.members(&self.pairs).map(|pair| pair.id.clone()).collect();
        if members.is_empty() {
            return Err(Failure::no_pair_in_group());
        }
        let recover_point = group.last_recover_point.ok_or_else(|| {
            Failure::operation_denied("RecoverPointNotFound", "The group has no recovery point on its secondary site.")
        })?;
        group.allows(GroupOperation::StartDrill)?;
        let id = self.new_id("drill");
        let pairs = members.into_iter().map(|pair| (pair, self.new_id("d-drill"))).collect();
        let drill = Drill {
            id: id.clone(),
            group: group.id,
            region: region.to_owned(),
            status: DrillStatus::Executing,
            recover_point,
            started_at: now,
            fail_next: false,
            pairs,
            due: Some(now + self.rules.delay_ms),
        };
        self.drills.insert(id.clone(), drill);
        Ok(id)
    }

    /// DescribeReplicaGroupDrills: the drills of a group that can be seen in that region.
    pub fn describe_drills(
        &mut self,
        region: &str,
        (group, drill): (&str, Option<&str>),
        paging: &EbsPaging,
        now: i64,
    ) -> Result<EbsPage<DrillView>, Failure> {
        self.advance(now);
        self.seen_group(region, group)?;
        let wanted = |found: &&Drill| {
            found.group == group && found.seen_in(region, &self.rules) && drill.is_none_or(|id| id == found.id)
        };
        let drills = self.drills.values().filter(wanted);
        Ok(paging.cut(drills.map(|drill| (drill.id.clone(), drill.view())).collect()))
    }

    /// ClearReplicaGroupDrill, where the drill can be seen; refused while it is being made.
    pub fn clear_drill(&mut self, region: &str, (group, drill): (&str, &str), now: i64) -> Result<(), Failure> {
        self.advance(now);
        self.seen_group(region, group)?;
        let due = now + self.rules.delay_ms;
        let found = self.drills.get_mut(drill);
        let found = found.filter(|found| found.group == group && found.seen_in(region, &self.rules));
        let found = found.ok_or_else(Failure::no_such_resource)?;
        match found.status {
            DrillStatus::Executing => return Err(Failure::invalid_status()),
            DrillStatus::Clearing => {}
            DrillStatus::Executed | DrillStatus::ExecuteFailed | DrillStatus::ClearFailed => {
                (found.status, found.due) = (DrillStatus::Clearing, Some(due));
            }
        }
        Ok(())
    }
}
