//! Create, Describe, Modify and Delete of groups.

use super::super::super::failure::Failure;
use super::super::disks::Disks;
use super::super::group::{DiskGroup, DiskGroupInput, DiskGroupView, GroupFilter};
use super::super::page::{EbsPage, EbsPaging};
use super::super::parameters::{Place, check_length, check_rpo, required};
use super::super::points::Points;
use super::super::status::{GroupOperation, ReplicaStatus};

impl Disks {
    /// CreateDiskReplicaGroup: the group's id.
    pub fn create_group(&mut self, region: &str, input: DiskGroupInput, now: i64) -> Result<String, Failure> {
        self.advance(now);
        let source = Place { region: region.to_owned(), zone: required("SourceZoneId", input.source_zone.as_ref())? };
        let destination = Place {
            region: required("DestinationRegionId", input.destination_region.as_ref())?,
            zone: required("DestinationZoneId", input.destination_zone.as_ref())?,
        };
        if source.zone == destination.zone {
            return Err(Failure::invalid_ebs("DestinationZoneId", "it must not be the source's zone"));
        }
        check_rpo(input.rpo)?;
        check_length("GroupName", input.name.as_ref(), 128)?;
        check_length("Description", input.description.as_ref(), 256)?;
        self.check_group_quota(region)?;
        let id = self.new_id("pg");
        let mut group = DiskGroup {
            id: id.clone(),
            name: input.name,
            description: input.description,
            enable_rtc: input.enable_rtc.unwrap_or(false),
            resource_group_id: input.resource_group_id,
            tags: input.tags,
            status: ReplicaStatus::Creating,
            primary: source.clone(),
            standby: destination.clone(),
            source,
            destination,
            last_recover_point: None,
            fail_next: false,
            transition: None,
            points: Points::new(now),
            last_one_shot: None,
            stopped_before_sync: false,
        };
        let due = now + self.rules.delay_ms;
        group.enter(ReplicaStatus::Creating, ReplicaStatus::Created, due, &mut self.pairs);
        self.groups.insert(id.clone(), group);
        Ok(id)
    }

    fn check_group_quota(&self, region: &str) -> Result<(), Failure> {
        let created_here = || self.groups.values().filter(|group| group.primary.region == region);
        if self.rules.max_groups.is_some_and(|max| created_here().count() >= max) {
            let message = "The quota of groups of this region is used up.";
            return Err(Failure::operation_denied("QuotaExceed", message));
        }
        let empty = created_here().filter(|group| group.pairs_in(&self.pairs).next().is_none());
        if self.rules.max_empty_groups.is_some_and(|max| empty.count() >= max) {
            let message = "There are too many groups without pairs.";
            return Err(Failure::operation_denied("TooMuchEmptyGroup", message));
        }
        Ok(())
    }

    /// DescribeDiskReplicaGroups: the groups that are visible in that region.
    pub fn describe_groups(
        &mut self,
        region: &str,
        filter: &GroupFilter,
        paging: &EbsPaging,
        now: i64,
    ) -> EbsPage<DiskGroupView> {
        self.advance(now);
        let wanted = |group: &&DiskGroup| {
            let site = if group.production(&self.rules) == region { "production" } else { "backup" };
            group.is_visible_in(region)
                && filter.ids.as_ref().is_none_or(|ids| ids.contains(&group.id))
                && filter.name.as_ref().is_none_or(|part| group.name.as_ref().is_some_and(|name| name.contains(part)))
                && filter.site.as_deref().is_none_or(|wanted| wanted == site)
                && filter.resource_group_id.as_ref().is_none_or(|id| group.resource_group_id.as_ref() == Some(id))
                && filter.tags.iter().all(|(key, value)| group.tags.get(key) == Some(value))
        };
        let groups = self.groups.values().filter(wanted);
        paging.page(groups.map(|group| (group.id.clone(), self.group_view(group, region))).collect())
    }

    /// ModifyDiskReplicaGroup.
    pub fn modify_group(&mut self, region: &str, id: &str, input: DiskGroupInput, now: i64) -> Result<(), Failure> {
        self.advance(now);
        let mut group = self.find_group(region, id)?;
        group.check_production_region(region, &self.rules)?;
        check_rpo(input.rpo)?;
        check_length("GroupName", input.name.as_ref(), 128)?;
        check_length("Description", input.description.as_ref(), 256)?;
        group.allows(GroupOperation::Modify)?;
        group.name = input.name.or(group.name);
        group.description = input.description.or(group.description);
        group.enable_rtc = input.enable_rtc.unwrap_or(group.enable_rtc);
        self.groups.insert(id.to_owned(), group);
        Ok(())
    }

    /// DeleteDiskReplicaGroup.
    pub fn delete_group(&mut self, region: &str, id: &str, now: i64) -> Result<(), Failure> {
        self.advance(now);
        let mut group = self.find_group(region, id)?;
        group.check_production_region(region, &self.rules)?;
        group.allows(GroupOperation::Delete)?;
        if group.pairs_in(&self.pairs).next().is_some() {
            let message = "The operation is not allowed because the group has pairs.";
            return Err(Failure::operation_denied("GroupHasPair", message));
        }
        if group.status != ReplicaStatus::Deleting {
            let due = now + self.rules.delay_ms;
            group.enter(ReplicaStatus::Deleting, ReplicaStatus::Deleted, due, &mut self.pairs);
        }
        self.groups.insert(id.to_owned(), group);
        Ok(())
    }
}
