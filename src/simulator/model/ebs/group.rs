//! Replication pair-consistent groups.

mod lifecycle;

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::Failure;
use super::{
    DiskPair, DiskRules, Disks, EbsPage, EbsPaging, GroupOperation, Production, RPO, ReplicaStatus, Transition,
    check_length, check_rpo, required,
};

/// A region and a zone in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The region.
    pub region: String,
    /// The zone.
    pub zone: String,
}

/// A group.
#[derive(Debug, Clone)]
pub struct DiskGroup {
    /// Its id, `pg-…`.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Whether recovery time control is on.
    pub enable_rtc: bool,
    /// The resource group that it is in.
    pub resource_group_id: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its status.
    pub status: ReplicaStatus,
    /// Where data comes from now.
    pub source: Place,
    /// Where data goes to now.
    pub destination: Place,
    /// The source at creation; stays when replication is turned round.
    pub primary: Place,
    /// The destination at creation.
    pub standby: Place,
    /// The last recovery point on the secondary site, ms since the epoch.
    pub last_recover_point: Option<i64>,
    /// Whether the next transition that can fail does.
    pub fail_next: bool,
    pub(super) transition: Option<Transition>,
    pub(super) normal_since: i64,
    pub(super) last_one_shot: Option<i64>,
}

/// What CreateDiskReplicaGroup and ModifyDiskReplicaGroup are given; Modify takes the first four.
#[derive(Debug, Clone, Default)]
pub struct DiskGroupInput {
    /// `GroupName`.
    pub name: Option<String>,
    /// `Description`.
    pub description: Option<String>,
    /// `RPO`, s.
    pub rpo: Option<i64>,
    /// `EnableRtc`.
    pub enable_rtc: Option<bool>,
    /// `SourceZoneId`.
    pub source_zone: Option<String>,
    /// `DestinationRegionId`.
    pub destination_region: Option<String>,
    /// `DestinationZoneId`.
    pub destination_zone: Option<String>,
    /// `ResourceGroupId`.
    pub resource_group_id: Option<String>,
    /// `Tag.N.Key` and `Tag.N.Value`.
    pub tags: BTreeMap<String, String>,
}

/// What DescribeDiskReplicaGroups picks by.
#[derive(Debug, Clone, Default)]
pub struct GroupFilter {
    /// Ids; none given: all.
    pub ids: Option<Vec<String>>,
    /// A part of the name.
    pub name: Option<String>,
    /// `production` or `backup`.
    pub site: Option<String>,
    /// The resource group.
    pub resource_group_id: Option<String>,
    /// Tags that it must have.
    pub tags: BTreeMap<String, String>,
}

/// A tag as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    /// The key.
    pub tag_key: String,
    /// The value.
    pub tag_value: String,
}

pub(super) fn tags(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { tag_key: key.clone(), tag_value: value.clone() }).collect()
}

/// A group as it is sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the API's own names")]
pub struct DiskGroupView {
    pub replica_group_id: String,
    pub group_name: Option<String>,
    pub description: Option<String>,
    pub status: ReplicaStatus,
    pub site: &'static str,
    pub source_region_id: String,
    pub source_zone_id: String,
    pub destination_region_id: String,
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
    pub pair_ids: Vec<String>,
    pub pair_number: usize,
    pub bandwidth: i64,
    pub resource_group_id: Option<String>,
    pub tags: Vec<Tag>,
}

impl DiskGroup {
    /// The region that counts as the production site.
    pub fn production(&self, rules: &DiskRules) -> &str {
        match rules.production {
            Production::Source => &self.source.region,
            Production::Primary => &self.primary.region,
        }
    }

    fn secondary(&self, rules: &DiskRules) -> &str {
        match rules.production {
            Production::Source => &self.destination.region,
            Production::Primary => &self.standby.region,
        }
    }

    pub(super) fn seen_in(&self, region: &str) -> bool {
        self.source.region == region || self.destination.region == region
    }

    /// Must be called in the production region; either will do where both sites are in one region.
    pub(super) fn on_production(&self, region: &str, rules: &DiskRules) -> Result<(), Failure> {
        if self.production(rules) == region { Ok(()) } else { Err(Failure::not_on_standby()) }
    }

    /// Must be called in the region of the secondary site.
    pub(super) fn on_secondary(&self, region: &str, rules: &DiskRules) -> Result<(), Failure> {
        if self.secondary(rules) == region { Ok(()) } else { Err(Failure::not_on_primary()) }
    }

    pub(super) fn allows(&self, operation: GroupOperation) -> Result<(), Failure> {
        if operation.allowed(self.status) {
            return Ok(());
        }
        Err(Failure::gateway(403, operation.refusal(), "The operation is not allowed in current status."))
    }

    pub(super) fn members<'a>(&self, pairs: &'a BTreeMap<String, DiskPair>) -> impl Iterator<Item = &'a DiskPair> {
        pairs.values().filter(move |pair| pair.group.as_deref() == Some(&self.id))
    }

    fn enter(&mut self, status: ReplicaStatus, to: ReplicaStatus, due: i64, pairs: &mut BTreeMap<String, DiskPair>) {
        self.transition = Some(Transition { to, due });
        self.set_status(status, pairs);
    }

    /// Sets its status and that of its pairs; ends no transition.
    pub(super) fn set_status(&mut self, status: ReplicaStatus, pairs: &mut BTreeMap<String, DiskPair>) {
        self.status = status;
        for pair in pairs.values_mut().filter(|pair| pair.group.as_deref() == Some(&self.id)) {
            (pair.status, pair.transition) = (status, None);
        }
    }

    fn recovered(&mut self, at: i64, pairs: &mut BTreeMap<String, DiskPair>) {
        self.last_recover_point = self.last_recover_point.max(Some(at));
        for pair in pairs.values_mut().filter(|pair| pair.group.as_deref() == Some(&self.id)) {
            (pair.last_recover_point, pair.synced) = (self.last_recover_point, true);
        }
    }

    /// Whether it is still there.
    pub(super) fn advance(
        &mut self,
        now: i64,
        rules: &DiskRules,
        frozen: bool,
        pairs: &mut BTreeMap<String, DiskPair>,
    ) -> bool {
        if let Some(Transition { to, due }) = self.transition.filter(|transition| transition.due <= now) {
            self.transition = None;
            let from = self.status;
            if self.fail_next && from.failed() != from {
                self.fail_next = false;
                self.set_status(from.failed(), pairs);
                return true;
            }
            if from == ReplicaStatus::Deleting {
                return false;
            }
            if from == ReplicaStatus::Reprotecting {
                self.turn_round(pairs);
            }
            self.set_status(to, pairs);
            if to == ReplicaStatus::Normal || from == ReplicaStatus::ManualSyncing {
                self.normal_since = due;
                self.recovered(due, pairs);
            }
        }
        if self.status == ReplicaStatus::Normal && !frozen {
            let behind = now.saturating_sub(self.normal_since).max(0) % rules.cycle_ms.max(1);
            self.recovered(now - behind, pairs);
        }
        true
    }

    /// Turns the direction round: data flows the other way, the sites stay. Nothing was copied that way yet.
    fn turn_round(&mut self, pairs: &mut BTreeMap<String, DiskPair>) {
        std::mem::swap(&mut self.source, &mut self.destination);
        for pair in pairs.values_mut().filter(|pair| pair.group.as_deref() == Some(&self.id)) {
            std::mem::swap(&mut pair.source, &mut pair.destination);
            std::mem::swap(&mut pair.source_disk, &mut pair.destination_disk);
            pair.synced = false;
        }
    }
}

impl Disks {
    /// The group, if it can be seen in that region.
    pub(super) fn seen_group(&self, region: &str, id: &str) -> Result<DiskGroup, Failure> {
        let group = self.groups.get(id).filter(|group| group.seen_in(region));
        group.cloned().ok_or_else(Failure::no_such_resource)
    }

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
        self.has_room_for_a_group(region)?;
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
            normal_since: now,
            last_one_shot: None,
        };
        let due = now + self.rules.delay_ms;
        group.enter(ReplicaStatus::Creating, ReplicaStatus::Created, due, &mut self.pairs);
        self.groups.insert(id.clone(), group);
        Ok(id)
    }

    fn has_room_for_a_group(&self, region: &str) -> Result<(), Failure> {
        let made_here = || self.groups.values().filter(|group| group.primary.region == region);
        if self.rules.most_groups.is_some_and(|most| made_here().count() >= most) {
            let message = "The quota of groups of this region is used up.";
            return Err(Failure::operation_denied("QuotaExceed", message));
        }
        let empty = made_here().filter(|group| group.members(&self.pairs).next().is_none());
        if self.rules.most_empty_groups.is_some_and(|most| empty.count() >= most) {
            let message = "There are too many groups without pairs.";
            return Err(Failure::operation_denied("TooMuchEmptyGroup", message));
        }
        Ok(())
    }

    /// DescribeDiskReplicaGroups: what can be seen in that region.
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
            group.seen_in(region)
                && filter.ids.as_ref().is_none_or(|ids| ids.contains(&group.id))
                && filter.name.as_ref().is_none_or(|part| group.name.as_ref().is_some_and(|name| name.contains(part)))
                && filter.site.as_deref().is_none_or(|wanted| wanted == site)
                && filter.resource_group_id.as_ref().is_none_or(|id| group.resource_group_id.as_ref() == Some(id))
                && filter.tags.iter().all(|(key, value)| group.tags.get(key) == Some(value))
        };
        let groups = self.groups.values().filter(wanted);
        paging.cut(groups.map(|group| (group.id.clone(), self.group_view(group, region))).collect())
    }

    pub(super) fn group_view(&self, group: &DiskGroup, region: &str) -> DiskGroupView {
        let pair_ids: Vec<_> = group.members(&self.pairs).map(|pair| pair.id.clone()).collect();
        let group = group.clone();
        let site = if group.production(&self.rules) == region { "production" } else { "backup" };
        let (source, destination) = match self.rules.names_stay {
            true => (group.primary.clone(), group.standby.clone()),
            false => (group.source, group.destination),
        };
        DiskGroupView {
            replica_group_id: group.id,
            group_name: group.name,
            description: group.description,
            status: group.status,
            site,
            source_region_id: source.region,
            source_zone_id: source.zone,
            destination_region_id: destination.region,
            destination_zone_id: destination.zone,
            primary_region: group.primary.region,
            primary_zone: group.primary.zone,
            standby_region: group.standby.region,
            standby_zone: group.standby.zone,
            rpo: RPO,
            enable_rtc: group.enable_rtc,
            last_recover_point: group.last_recover_point.map(|at| at / 1000),
            pair_number: pair_ids.len(),
            pair_ids,
            bandwidth: 0,
            resource_group_id: group.resource_group_id,
            tags: tags(&group.tags),
        }
    }

    /// ModifyDiskReplicaGroup.
    pub fn modify_group(&mut self, region: &str, id: &str, input: DiskGroupInput, now: i64) -> Result<(), Failure> {
        self.advance(now);
        let mut group = self.seen_group(region, id)?;
        group.on_production(region, &self.rules)?;
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
        let mut group = self.seen_group(region, id)?;
        group.on_production(region, &self.rules)?;
        group.allows(GroupOperation::Delete)?;
        if group.members(&self.pairs).next().is_some() {
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
