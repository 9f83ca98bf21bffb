//! The operations on drills.

use super::super::super::failure::Failure;
use super::super::disks::Disks;
use super::super::drill::{Drill, DrillStatus, DrillView};
use super::super::page::{EbsPage, EbsPaging};
use super::super::status::GroupOperation;

impl Disks {
    /// StartReplicaGroupDrill, in the region of the secondary site: the drill's id.
    pub fn start_drill(&mut self, region: &str, group: &str, now: i64) -> Result<String, Failure> {
        self.advance(now);
        let group = self.find_group(region, group)?;
        if group.check_secondary_region(region, &self.rules).is_err() {
            let message = "The drill must be started in the destination region.";
            return Err(Failure::operation_denied("StartDrillShouldOnDestRegion", message));
        }
        let pair_ids: Vec<_> = group.pairs_in(&self.pairs).map(|pair| pair.id.clone()).collect();
        if pair_ids.is_empty() {
            return Err(Failure::no_pair_in_group());
        }
        let recover_point = group.last_recover_point.ok_or_else(|| {
            Failure::operation_denied("RecoverPointNotFound", "The group has no recovery point on its secondary site.")
        })?;
        group.allows(GroupOperation::StartDrill)?;
        let id = self.new_id("drill");
        let pairs = pair_ids.into_iter().map(|pair_id| (pair_id, self.new_id("d-drill"))).collect();
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

    /// DescribeReplicaGroupDrills: the drills of a group that are visible in that region.
    pub fn describe_drills(
        &mut self,
        region: &str,
        (group, drill): (&str, Option<&str>),
        paging: &EbsPaging,
        now: i64,
    ) -> Result<EbsPage<DrillView>, Failure> {
        self.advance(now);
        self.find_group(region, group)?;
        let wanted = |found: &&Drill| {
            found.group == group && found.is_visible_in(region, &self.rules) && drill.is_none_or(|id| id == found.id)
        };
        let drills = self.drills.values().filter(wanted);
        Ok(paging.page(drills.map(|drill| (drill.id.clone(), drill.view())).collect()))
    }

    /// ClearReplicaGroupDrill, in a region where the drill is visible; refused while its disks are being created.
    pub fn clear_drill(&mut self, region: &str, (group, drill): (&str, &str), now: i64) -> Result<(), Failure> {
        self.advance(now);
        self.find_group(region, group)?;
        let due = now + self.rules.delay_ms;
        let found = self.drills.get_mut(drill);
        let found = found.filter(|found| found.group == group && found.is_visible_in(region, &self.rules));
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
