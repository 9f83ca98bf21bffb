//! Replication pair-consistent groups.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::failure::Failure;
use super::content::Contents;
use super::pair::DiskPair;
use super::parameters::{Place, Tag};
use super::points::Points;
use super::rules::{DiskRules, Production};
use super::status::{GroupOperation, ReplicaStatus, Transition};

#[derive(Debug, Clone)]
pub struct DiskGroup {
    /// Its id, `pg-…`.
    pub id: String,
    pub name: Option<String>,
    pub description: Option<String>,
    /// Whether recovery time control is on.
    pub enable_rtc: bool,
    pub resource_group_id: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub status: ReplicaStatus,
    /// The present source of replication.
    pub source: Place,
    /// The present destination of replication.
    pub destination: Place,
    /// The source at creation; stays when replication is reversed.
    pub primary: Place,
    /// The destination at creation.
    pub standby: Place,
    /// The last recovery point on the secondary site, ms since the epoch.
    pub last_recover_point: Option<i64>,
    /// Whether the next transition that can fail fails.
    pub fail_next: bool,
    pub(super) transition: Option<Transition>,
    pub(super) points: Points,
    pub(super) last_one_shot: Option<i64>,
    /// Whether the group was stopped before its last one-shot synchronisation.
    pub(super) stopped_before_sync: bool,
}

/// Parameters of CreateDiskReplicaGroup and ModifyDiskReplicaGroup; Modify uses the first four.
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

/// The filter of DescribeDiskReplicaGroups.
#[derive(Debug, Clone, Default)]
pub struct GroupFilter {
    /// Ids; all groups when absent.
    pub ids: Option<Vec<String>>,
    /// A part of the name.
    pub name: Option<String>,
    /// `production` or `backup`.
    pub site: Option<String>,
    pub resource_group_id: Option<String>,
    /// Required tags.
    pub tags: BTreeMap<String, String>,
}

/// A group in an answer.
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
    /// The region of the production site.
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

    pub(super) fn is_visible_in(&self, region: &str) -> bool {
        self.source.region == region || self.destination.region == region
    }

    /// Refuses a call outside the production region. With both sites in one region that region accepts every call.
    pub(super) fn check_production_region(&self, region: &str, rules: &DiskRules) -> Result<(), Failure> {
        if self.production(rules) == region { Ok(()) } else { Err(Failure::not_on_standby()) }
    }

    /// Refuses a call outside the region of the secondary site.
    pub(super) fn check_secondary_region(&self, region: &str, rules: &DiskRules) -> Result<(), Failure> {
        if self.secondary(rules) == region { Ok(()) } else { Err(Failure::not_on_primary()) }
    }

    pub(super) fn allows(&self, operation: GroupOperation) -> Result<(), Failure> {
        if operation.allowed(self.status) {
            return Ok(());
        }
        Err(Failure::gateway(403, operation.refusal(), "The operation is not allowed in current status."))
    }

    pub(super) fn pairs_in<'a>(&self, pairs: &'a BTreeMap<String, DiskPair>) -> impl Iterator<Item = &'a DiskPair> {
        pairs.values().filter(move |pair| pair.group.as_deref() == Some(&self.id))
    }

    pub(super) fn enter(
        &mut self,
        status: ReplicaStatus,
        to: ReplicaStatus,
        due: i64,
        pairs: &mut BTreeMap<String, DiskPair>,
    ) {
        self.transition = Some(Transition { to, due });
        self.set_status(status, pairs);
    }

    /// Sets the status of the group and its pairs; keeps the transition.
    pub(super) fn set_status(&mut self, status: ReplicaStatus, pairs: &mut BTreeMap<String, DiskPair>) {
        self.status = status;
        for pair in pairs.values_mut().filter(|pair| pair.group.as_deref() == Some(&self.id)) {
            (pair.status, pair.transition) = (status, None);
            pair.writers_stopped &= !status.copies();
        }
    }

    /// Completes a synchronisation of every pair.
    fn complete(
        &self,
        at: i64,
        writers_stopped: bool,
        pairs: &mut BTreeMap<String, DiskPair>,
        contents: &mut Contents,
    ) {
        for pair in pairs.values_mut().filter(|pair| pair.group.as_deref() == Some(&self.id)) {
            pair.complete(at, writers_stopped, contents);
        }
    }

    fn show(&mut self, point: i64, pairs: &mut BTreeMap<String, DiskPair>) {
        self.last_recover_point = self.last_recover_point.max(Some(point));
        for pair in pairs.values_mut().filter(|pair| pair.group.as_deref() == Some(&self.id)) {
            pair.last_recover_point = self.last_recover_point;
        }
    }

    /// Ends a transition that is due and creates recovery points. False when the group is deleted.
    pub(super) fn advance(
        &mut self,
        now: i64,
        rules: &DiskRules,
        frozen: bool,
        pairs: &mut BTreeMap<String, DiskPair>,
        contents: &mut Contents,
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
                self.reverse(pairs);
            }
            self.set_status(to, pairs);
            if to == ReplicaStatus::Normal || from == ReplicaStatus::ManualSyncing {
                let planned = from == ReplicaStatus::ManualSyncing && self.stopped_before_sync;
                self.points.end_sync(due, rules);
                self.complete(due, planned && rules.writes_stop_with_last_sync, pairs, contents);
            }
        }
        if self.status == ReplicaStatus::Normal
            && !frozen
            && let Some(at) = self.points.end_cycle(now, rules)
        {
            self.complete(at, false, pairs, contents);
        }
        if let Some(point) = self.points.take_shown(now) {
            self.show(point, pairs);
        }
        true
    }

    /// Swaps source and destination; the sites stay. No full copy in the new direction exists yet.
    fn reverse(&mut self, pairs: &mut BTreeMap<String, DiskPair>) {
        std::mem::swap(&mut self.source, &mut self.destination);
        for pair in pairs.values_mut().filter(|pair| pair.group.as_deref() == Some(&self.id)) {
            std::mem::swap(&mut pair.source, &mut pair.destination);
            std::mem::swap(&mut pair.source_disk, &mut pair.destination_disk);
            (pair.synced, pair.opened) = (false, false);
        }
    }
}
