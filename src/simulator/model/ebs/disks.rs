//! The state of the disks of one account.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::super::failure::Failure;
use super::super::text::wall_time;
use super::content::Contents;
use super::drill::{Drill, DrillView};
use super::group::{DiskGroup, DiskGroupView};
use super::pair::{DiskPair, DiskPairView};
use super::parameters::{RPO, tags};
use super::rules::DiskRules;
use super::violation::Violation;

/// The disks of one account in all regions.
#[derive(Debug, Clone)]
pub struct Disks {
    /// The rules, which a test may change at any time.
    pub rules: DiskRules,
    pub(super) now: i64,
    pub(super) groups: BTreeMap<String, DiskGroup>,
    pub(super) pairs: BTreeMap<String, DiskPair>,
    pub(super) drills: BTreeMap<String, Drill>,
    pub(super) attached: BTreeSet<String>,
    pub(super) frozen: bool,
    pub(super) contents: Contents,
    pub(super) violations: Vec<Violation>,
    /// By region, action and token: the first request and its result.
    tokens: BTreeMap<(String, String, String), (String, Value)>,
    next_id: u32,
}

/// The complete state, for assertions and the admin API.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DiskInspection {
    /// The groups, as their production region shows them.
    pub groups: Vec<DiskGroupView>,
    pub pairs: Vec<DiskPairView>,
    /// All drills, also those of deleted groups.
    pub drills: Vec<DrillView>,
    /// The disks attached to an instance.
    pub attached_disks: BTreeSet<String>,
    /// The calls that opened or overwrote a disk wrongly.
    pub violations: Vec<Violation>,
}

impl Disks {
    /// An account without groups.
    pub fn new(rules: DiskRules) -> Disks {
        let (groups, pairs, drills, attached, tokens) = Default::default();
        let (contents, violations) = Default::default();
        Disks {
            rules,
            now: 0,
            groups,
            pairs,
            drills,
            attached,
            frozen: false,
            contents,
            violations,
            tokens,
            next_id: 1,
        }
    }

    /// Advances the state to `now`: ends the transitions that are due and creates recovery points.
    pub fn advance(&mut self, now: i64) {
        self.now = now;
        let Disks { rules, groups, pairs, drills, frozen, contents, .. } = self;
        pairs.retain(|_, pair| pair.advance(now, rules, *frozen, contents));
        groups.retain(|_, group| group.advance(now, rules, *frozen, pairs, contents));
        drills.retain(|_, drill| drill.advance(now));
        self.settle();
    }

    /// Opens and closes destination disks as the statuses of their pairs say.
    pub(super) fn settle(&mut self) {
        for pair in self.pairs.values_mut() {
            pair.settle(self.now, &mut self.contents);
        }
    }

    /// All groups of all regions.
    pub fn groups(&self) -> impl Iterator<Item = &DiskGroup> {
        self.groups.values()
    }

    /// All pairs of all regions.
    pub fn pairs(&self) -> impl Iterator<Item = &DiskPair> {
        self.pairs.values()
    }

    /// The group with this id in any region.
    pub fn group(&self, id: &str) -> Option<&DiskGroup> {
        self.groups.get(id)
    }

    /// The pair with this id in any region.
    pub fn pair(&self, id: &str) -> Option<&DiskPair> {
        self.pairs.get(id)
    }

    /// The complete state.
    pub fn inspect(&self) -> DiskInspection {
        let production = |group: &DiskGroup| group.production(&self.rules).to_owned();
        DiskInspection {
            groups: self.groups.values().map(|group| self.group_view(group, &production(group))).collect(),
            pairs: self.pairs.values().map(|pair| self.pair_view(pair, pair.production(&self.rules))).collect(),
            drills: self.drills.values().map(Drill::view).collect(),
            attached_disks: self.attached.clone(),
            violations: self.violations.clone(),
        }
    }

    /// Executes `call` once for each ClientToken of a region and action. The same request again has the first result; a
    /// different request with the same token is refused. `request` is everything else in the call. A refused call does
    /// not use its token (inferred).
    pub fn once(
        &mut self,
        (region, action, token): (&str, &str, Option<&str>),
        request: String,
        call: impl FnOnce(&mut Disks) -> Result<Value, Failure>,
    ) -> Result<Value, Failure> {
        let Some(token) = token else { return call(self) };
        if token.len() > 64 || !token.is_ascii() {
            return Err(Failure::invalid_ebs("ClientToken", "it must be ASCII and at most 64 characters long"));
        }
        let key = (region.to_owned(), action.to_owned(), token.to_owned());
        if let Some((first, result)) = self.tokens.get(&key) {
            if *first != request {
                let message = "The request uses the same client token as a previous, but non-identical request.";
                return Err(Failure::gateway(400, "IdempotentParameterMismatch", message));
            }
            return Ok(result.clone());
        }
        let result = call(self)?;
        self.tokens.insert(key, (request, result.clone()));
        Ok(result)
    }

    /// Takes over what stays of a call whose effect is forgotten: the answers to client tokens, and the violations.
    pub fn adopt_records(&mut self, other: Disks) {
        (self.tokens, self.violations) = (other.tokens, other.violations);
    }

    /// The group, if it is visible in that region.
    pub(super) fn find_group(&self, region: &str, id: &str) -> Result<DiskGroup, Failure> {
        let group = self.groups.get(id).filter(|group| group.is_visible_in(region));
        group.cloned().ok_or_else(Failure::no_such_resource)
    }

    pub(super) fn find_pair(&self, region: &str, id: &str) -> Result<DiskPair, Failure> {
        let pair = self.pairs.get(id).filter(|pair| pair.is_visible_in(region));
        pair.cloned().ok_or_else(Failure::no_such_resource)
    }

    pub(super) fn group_view(&self, group: &DiskGroup, region: &str) -> DiskGroupView {
        let pair_ids: Vec<_> = group.pairs_in(&self.pairs).map(|pair| pair.id.clone()).collect();
        let group = group.clone();
        let site = if group.production(&self.rules) == region { "production" } else { "backup" };
        let (source, destination) = match self.rules.site_names_fixed {
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

    pub(super) fn pair_view(&self, pair: &DiskPair, region: &str) -> DiskPairView {
        let site = if pair.production(&self.rules) == region { "production" } else { "backup" };
        let mut pair = pair.clone();
        let group = pair.group.as_ref().and_then(|group| self.groups.get(group));
        if self.rules.site_names_fixed && pair.source != pair.primary {
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

    pub(super) fn new_id(&mut self, prefix: &str) -> String {
        let id = format!("{prefix}-sim{:08}", self.next_id);
        self.next_id += 1;
        id
    }
}
