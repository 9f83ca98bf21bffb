//! Create, Describe and Delete of pairs, and their membership in a group.

use super::super::super::failure::Failure;
use super::super::disks::Disks;
use super::super::page::{EbsPage, EbsPaging};
use super::super::pair::{DiskPair, DiskPairInput, DiskPairView, PairFilter};
use super::super::parameters::{Place, check_length, check_rpo, required};
use super::super::points::Points;
use super::super::status::{GroupOperation, ReplicaStatus, Transition};

/// Maximum number of pairs in a group.
const MAX_PAIRS: usize = 17;

impl Disks {
    /// CreateDiskReplicaPair: the pair's id.
    pub fn create_pair(&mut self, region: &str, input: DiskPairInput, now: i64) -> Result<String, Failure> {
        self.advance(now);
        let source_disk = required("DiskId", input.disk.as_ref())?;
        let destination_disk = required("DestinationDiskId", input.destination_disk.as_ref())?;
        let source = Place { region: region.to_owned(), zone: required("SourceZoneId", input.source_zone.as_ref())? };
        let destination = Place {
            region: required("DestinationRegionId", input.destination_region.as_ref())?,
            zone: required("DestinationZoneId", input.destination_zone.as_ref())?,
        };
        if source_disk == destination_disk {
            return Err(Failure::invalid_ebs("DestinationDiskId", "it must not be the source disk"));
        }
        if source.zone == destination.zone {
            return Err(Failure::invalid_ebs("DestinationZoneId", "it must not be the source's zone"));
        }
        check_rpo(input.rpo)?;
        check_length("PairName", input.name.as_ref(), 128)?;
        check_length("Description", input.description.as_ref(), 256)?;
        let charge_type = input.charge_type.unwrap_or_else(|| "POSTPAY".to_owned());
        if !["PREPAY", "POSTPAY"].contains(&charge_type.as_str()) {
            return Err(Failure::invalid_ebs("ChargeType", "it must be PREPAY or POSTPAY"));
        }
        let taken = |disk: &String| self.pairs.values().any(|pair| pair.uses(disk));
        if let Some(disk) = [&source_disk, &destination_disk].into_iter().find(|disk| taken(disk)) {
            // A disk can be in one pair; the code is inferred.
            return Err(Failure::operation_refused(format!("The disk {disk} is in a replication pair already.")));
        }
        let id = self.new_id("pair");
        let pair = DiskPair {
            id: id.clone(),
            name: input.name,
            description: input.description,
            group: None,
            source_disk,
            destination_disk,
            primary: source.clone(),
            standby: destination.clone(),
            source,
            destination,
            status: ReplicaStatus::Creating,
            status_message: None,
            last_recover_point: None,
            synced: false,
            charge_type,
            enable_rtc: input.enable_rtc.unwrap_or(false),
            resource_group_id: input.resource_group_id,
            tags: input.tags,
            created_at: now,
            transition: Some(Transition { to: ReplicaStatus::Created, due: now + self.rules.delay_ms }),
            points: Points::new(now),
            last_one_shot: None,
            writers_stopped: false,
            opened: false,
        };
        self.contents.add(&pair.source_disk, &pair.destination_disk);
        self.pairs.insert(id.clone(), pair);
        Ok(id)
    }

    /// DescribeDiskReplicaPairs: the pairs that are visible in that region.
    pub fn describe_pairs(
        &mut self,
        region: &str,
        filter: &PairFilter,
        paging: &EbsPaging,
        now: i64,
    ) -> EbsPage<DiskPairView> {
        self.advance(now);
        let wanted = |pair: &&DiskPair| {
            pair.is_visible_in(region)
                && filter.ids.as_ref().is_none_or(|ids| ids.contains(&pair.id))
                && filter.group.as_deref().is_none_or(|group| pair.group.as_deref().unwrap_or("-") == group)
                && filter.name.as_ref().is_none_or(|part| pair.name.as_ref().is_some_and(|name| name.contains(part)))
        };
        let pairs = self.pairs.values().filter(wanted);
        let views = pairs.map(|pair| (pair.id.clone(), self.pair_view(pair, region)));
        let wanted_site = |view: &DiskPairView| filter.site.as_deref().is_none_or(|site| site == view.site);
        paging.page(views.filter(|(_, view)| wanted_site(view)).collect())
    }

    /// DeleteDiskReplicaPair, in the region of the primary disk. A pair in a group is refused (code inferred), the
    /// statuses are those of groups (inferred).
    pub fn delete_pair(&mut self, region: &str, id: &str, now: i64) -> Result<(), Failure> {
        self.advance(now);
        let mut pair = self.find_pair(region, id)?;
        if pair.production(&self.rules) != region {
            return Err(Failure::not_on_standby());
        }
        if pair.group.is_some() {
            return Err(Failure::operation_refused("The pair must be removed from its group first."));
        }
        if !GroupOperation::Delete.allowed(pair.status) {
            return Err(Failure::invalid_status());
        }
        if pair.status != ReplicaStatus::Deleting {
            pair.status = ReplicaStatus::Deleting;
            pair.transition = Some(Transition { to: ReplicaStatus::Deleted, due: now + self.rules.delay_ms });
        }
        self.pairs.insert(pair.id.clone(), pair);
        Ok(())
    }

    /// AddDiskReplicaPair.
    pub fn add_pair(&mut self, region: &str, (group, pair): (&str, &str), now: i64) -> Result<(), Failure> {
        self.advance(now);
        let group = self.find_group(region, group)?;
        group.check_production_region(region, &self.rules)?;
        let mut pair = self.find_pair(region, pair)?;
        group.allows(GroupOperation::AddPair)?;
        let denied = |code: &str, message: &str| Err(Failure::operation_denied(code, message));
        if pair.group.is_some() {
            return denied("PairInAnotherGroup", "The pair is in a group already.");
        }
        if group.pairs_in(&self.pairs).count() >= MAX_PAIRS {
            return denied("PairsExceedInGroup", "The group has as many pairs as a group may have.");
        }
        if (&pair.source, &pair.destination) != (&group.source, &group.destination) {
            return denied("PairGroupAZoneConflict", "The pair and the group are in different zones.");
        }
        match pair.status {
            ReplicaStatus::Created | ReplicaStatus::Stopped => {}
            ReplicaStatus::Creating => return denied("PairInitializing", "The pair is being created."),
            _ => return denied("PairStatusCannotAddToGroup", "The pair's status does not allow it."),
        }
        pair.group = Some(group.id);
        self.pairs.insert(pair.id.clone(), pair);
        Ok(())
    }

    /// RemoveDiskReplicaPair.
    pub fn remove_pair(&mut self, region: &str, (group, pair): (&str, &str), now: i64) -> Result<(), Failure> {
        self.advance(now);
        let group = self.find_group(region, group)?;
        group.check_production_region(region, &self.rules)?;
        let mut pair = self.find_pair(region, pair)?;
        group.allows(GroupOperation::RemovePair)?;
        if group.pairs_in(&self.pairs).next().is_none() {
            return Err(Failure::no_pair_in_group());
        }
        let denied = |code: &str, message: &str| Err(Failure::operation_denied(code, message));
        match &pair.group {
            None => return denied("PairNotInGroup", "The pair is not in the group."),
            Some(other) if *other != group.id => return denied("PairInAnotherGroup", "The pair is in another group."),
            Some(_) => {}
        }
        if !GroupOperation::RemovePair.allowed(pair.status) {
            return denied("PairStatusCannotRemoveFromGroup", "The pair's status does not allow it.");
        }
        pair.group = None;
        self.pairs.insert(pair.id.clone(), pair);
        Ok(())
    }
}
