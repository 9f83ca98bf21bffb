//! Replication pairs.

mod lifecycle;

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::{Failure, wall_time};
use super::group::{Tag, tags};
use super::{
    DiskRules, Disks, EbsPage, EbsPaging, GroupOperation, Place, Production, RPO, ReplicaStatus, Transition,
    check_length, check_rpo, required,
};

/// The most pairs that a group may have.
const MOST_PAIRS: usize = 17;

/// A pair.
#[derive(Debug, Clone)]
pub struct DiskPair {
    /// Its id, `pair-…`.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// The group that it is in.
    pub group: Option<String>,
    /// The disk that data comes from now.
    pub source_disk: String,
    /// The disk that data goes to now.
    pub destination_disk: String,
    /// Where data comes from now.
    pub source: Place,
    /// Where data goes to now.
    pub destination: Place,
    /// Where it came from at creation.
    pub primary: Place,
    /// Where it went to at creation.
    pub standby: Place,
    /// Its status; its group's, once that does anything.
    pub status: ReplicaStatus,
    /// Why it is `invalid`, such as `DeviceRemoved`.
    pub status_message: Option<String>,
    /// Its last recovery point, ms since the epoch.
    pub last_recover_point: Option<i64>,
    /// Whether a full copy was made in the direction that it has now.
    pub synced: bool,
    charge_type: String,
    enable_rtc: bool,
    resource_group_id: Option<String>,
    tags: BTreeMap<String, String>,
    created_at: i64,
    pub(super) transition: Option<Transition>,
    normal_since: i64,
    last_one_shot: Option<i64>,
}

/// What CreateDiskReplicaPair is given.
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

/// What DescribeDiskReplicaPairs picks by.
#[derive(Debug, Clone, Default)]
pub struct PairFilter {
    /// Ids; none given: all.
    pub ids: Option<Vec<String>>,
    /// The group; `-` is none.
    pub group: Option<String>,
    /// A part of the name.
    pub name: Option<String>,
    /// `production` or `backup`.
    pub site: Option<String>,
}

/// A pair as it is sent.
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
    fn seen_in(&self, region: &str) -> bool {
        self.source.region == region || self.destination.region == region
    }

    fn uses(&self, disk: &str) -> bool {
        self.source_disk == disk || self.destination_disk == disk
    }

    /// The region that counts as the production site; as that of its group.
    pub(super) fn production(&self, rules: &DiskRules) -> &str {
        match rules.production {
            Production::Source => &self.source.region,
            Production::Primary => &self.primary.region,
        }
    }
}

impl Disks {
    fn seen_pair(&self, region: &str, id: &str) -> Result<DiskPair, Failure> {
        let pair = self.pairs.get(id).filter(|pair| pair.seen_in(region));
        pair.cloned().ok_or_else(Failure::no_such_resource)
    }

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
            // One pair a disk; the code is inferred.
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
            normal_since: now,
            last_one_shot: None,
        };
        self.pairs.insert(id.clone(), pair);
        Ok(id)
    }

    /// DescribeDiskReplicaPairs: what can be seen in that region.
    pub fn describe_pairs(
        &mut self,
        region: &str,
        filter: &PairFilter,
        paging: &EbsPaging,
        now: i64,
    ) -> EbsPage<DiskPairView> {
        self.advance(now);
        let wanted = |pair: &&DiskPair| {
            pair.seen_in(region)
                && filter.ids.as_ref().is_none_or(|ids| ids.contains(&pair.id))
                && filter.group.as_deref().is_none_or(|group| pair.group.as_deref().unwrap_or("-") == group)
                && filter.name.as_ref().is_none_or(|part| pair.name.as_ref().is_some_and(|name| name.contains(part)))
        };
        let pairs = self.pairs.values().filter(wanted);
        let views = pairs.map(|pair| (pair.id.clone(), self.pair_view(pair, region)));
        let wanted_site = |view: &DiskPairView| filter.site.as_deref().is_none_or(|site| site == view.site);
        paging.cut(views.filter(|(_, view)| wanted_site(view)).collect())
    }

    pub(super) fn pair_view(&self, pair: &DiskPair, region: &str) -> DiskPairView {
        let site = if pair.production(&self.rules) == region { "production" } else { "backup" };
        let mut pair = pair.clone();
        let group = pair.group.as_ref().and_then(|group| self.groups.get(group));
        if self.rules.names_stay && pair.source != pair.primary {
            std::mem::swap(&mut pair.source, &mut pair.destination);
            std::mem::swap(&mut pair.source_disk, &mut pair.destination_disk);
        }
        DiskPairView {
            replica_pair_id: pair.id,
            pair_name: pair.name,
            description: pair.description,
            replica_group_name: group.and_then(|group| group.name.clone()),
            replica_group_id: pair.group,
            status: pair.status,
            status_message: pair.status_message,
            site,
            source_disk_id: pair.source_disk,
            source_region: pair.source.region,
            source_zone_id: pair.source.zone,
            destination_disk_id: pair.destination_disk,
            destination_region: pair.destination.region,
            destination_zone_id: pair.destination.zone,
            primary_region: pair.primary.region,
            primary_zone: pair.primary.zone,
            standby_region: pair.standby.region,
            standby_zone: pair.standby.zone,
            rpo: RPO,
            enable_rtc: pair.enable_rtc,
            last_recover_point: pair.last_recover_point.map(|at| at / 1000),
            charge_type: pair.charge_type,
            create_time: wall_time(pair.created_at),
            resource_group_id: pair.resource_group_id,
            tags: tags(&pair.tags),
        }
    }

    /// DeleteDiskReplicaPair, in the region of the primary disk. A pair in a group is refused (code inferred), the
    /// statuses are those of groups (inferred).
    pub fn delete_pair(&mut self, region: &str, id: &str, now: i64) -> Result<(), Failure> {
        self.advance(now);
        let mut pair = self.seen_pair(region, id)?;
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
        let group = self.seen_group(region, group)?;
        group.on_production(region, &self.rules)?;
        let mut pair = self.seen_pair(region, pair)?;
        group.allows(GroupOperation::AddPair)?;
        let denied = |code: &str, message: &str| Err(Failure::operation_denied(code, message));
        if pair.group.is_some() {
            return denied("PairInAnotherGroup", "The pair is in a group already.");
        }
        if group.members(&self.pairs).count() >= MOST_PAIRS {
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
        let group = self.seen_group(region, group)?;
        group.on_production(region, &self.rules)?;
        let mut pair = self.seen_pair(region, pair)?;
        group.allows(GroupOperation::RemovePair)?;
        if group.members(&self.pairs).next().is_none() {
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
