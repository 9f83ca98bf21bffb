//! A world for the pure part of the group controller: the simulated cloud's disks, one object, and a clock that only tests
//! move. A pass here is the pass of `controller::reconcile` without the network and without Kubernetes.

use std::collections::BTreeSet;
use std::time::Duration;

use disaster_recovery_operator::api::disk_replica_group::{
    Direction, DiskReplicaGroup, DiskReplicaGroupSpec, DiskReplicaGroupStatus, DrillRun, Place, Site,
};
use disaster_recovery_operator::cloud::ebs::{DrillView, GroupView, PairView, ReplicationStatus};
use disaster_recovery_operator::cloud::error::{Class, Error};
use disaster_recovery_operator::cloud::operation::ApiOperation;
use disaster_recovery_operator::controller::conditions::failure;
use disaster_recovery_operator::controller::disk_replica_group::call::creates_pair;
use disaster_recovery_operator::controller::disk_replica_group::decide::{self, Decision, Verdict};
use disaster_recovery_operator::controller::disk_replica_group::observe::{Binding, Lookup, Observed};
use disaster_recovery_operator::controller::disk_replica_group::{Acted, Ran, Scope, resolve};
use disaster_recovery_operator::controller::events::EventRecord;
use disaster_recovery_operator::controller::resource::Resource;
use disaster_recovery_operator::controller::status;
use disaster_recovery_operator::controller::steps::{Outcome, Step as _, stops_others};
use disaster_recovery_operator::simulator::model::ebs::{DiskRules, Disks, EbsPaging, GroupFilter, PairFilter};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::acting::{Delayed, Fault};
use super::setup::merge;
pub use super::setup::{pair, spec_with, wire};
use super::words;

/// When every world begins, in ms: a Friday, 2025-02-28 06:28.
pub const T0: i64 = 1_740_724_080_000;
pub const UID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
pub const CLUSTER: &str = "0a1b2c3d";
/// What the object's tag says.
pub const OWNER: &str = "0a1b2c3d/databases/orders-db";
/// The two regions.
pub const SOURCE: &str = "cn-hangzhou";
pub const DESTINATION: &str = "cn-shanghai";

/// Where a pass is cut off, as by a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// It is not.
    Never,
    /// After this many calls; with none, between the intents and the first call.
    AfterCalls(usize),
    /// After the calls and before status is written.
    BeforeStatus,
}

/// What a pass came to.
#[derive(Debug)]
pub struct Passed {
    pub seen: Observed,
    pub decision: Decision,
    pub acted: Vec<Acted>,
    pub events: Vec<EventRecord>,
}

impl Passed {
    /// The decision in short.
    pub fn told(&self) -> String {
        words::decision(&self.decision)
    }
}

/// One object and one cloud.
#[derive(Clone)]
pub struct World {
    pub disks: Disks,
    pub now: i64,
    pub object: DiskReplicaGroup,
    pub status: DiskReplicaGroupStatus,
    pub released: Option<Option<String>>,
    pub window: Duration,
    /// What passes between two passes, in ms.
    pub pace: i64,
    /// The regions that do not answer.
    pub down: BTreeSet<String>,
    pub fresh: bool,
    /// What the last pass saw.
    pub last: Option<Observed>,
    /// Calls that arrive late.
    pub delayed: Vec<Delayed>,
}

impl World {
    pub fn new(spec: DiskReplicaGroupSpec, rules: DiskRules) -> World {
        let mut object = DiskReplicaGroup::new("orders-db", spec);
        let meta = &mut object.metadata;
        meta.namespace = Some("databases".into());
        meta.uid = Some(UID.into());
        meta.generation = Some(1);
        meta.annotations = Some(Default::default());
        let (status, down, delayed) = Default::default();
        let mut disks = Disks::new(rules);
        disks.advance(T0);
        World {
            disks,
            now: T0,
            object,
            status,
            released: None,
            window: Duration::from_secs(120),
            pace: 5_000,
            down,
            fresh: true,
            last: None,
            delayed,
        }
    }

    /// A world whose object is in sync with its group, which has a recovery point.
    pub fn in_sync(patch: Value) -> World {
        World::in_sync_with(patch, DiskRules::default())
    }

    pub fn in_sync_with(patch: Value, rules: DiskRules) -> World {
        let mut world = World::new(spec_with(patch), rules);
        world.converge(200);
        world.advance(60_000);
        world.pass();
        world
    }

    pub fn timestamp(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now).unwrap()
    }

    /// Lets time pass; calls that were under way arrive.
    pub fn advance(&mut self, ms: i64) {
        let until = self.now + ms;
        self.delayed.sort_by_key(|it| it.at);
        while self.delayed.first().is_some_and(|it| it.at <= until) {
            let late = self.delayed.remove(0);
            self.now = late.at.max(self.now);
            self.carry_out(&late.step);
        }
        self.now = until;
        self.disks.advance(self.now);
    }

    pub fn edit(&mut self, patch: Value) {
        let mut value = serde_json::to_value(&self.object.spec).unwrap();
        merge(&mut value, patch);
        self.object.spec = serde_json::from_value(value).unwrap();
        self.object.metadata.generation = self.object.metadata.generation.map(|it| it + 1);
    }

    pub fn delete(&mut self) {
        self.object.metadata.deletion_timestamp = Some(Time(self.timestamp()));
        self.object.metadata.generation = self.object.metadata.generation.map(|it| it + 1);
    }

    pub fn annotate(&mut self, name: &str, value: &str) {
        self.object.metadata.annotations.as_mut().unwrap().insert(name.into(), value.into());
    }

    pub fn annotation(&self, name: &str) -> Option<&String> {
        self.object.metadata.annotations.as_ref().unwrap().get(name)
    }

    /// What production code is given of the object.
    pub fn scope<R>(&self, with: impl FnOnce(&Scope<'_>) -> R) -> R {
        with(&Scope {
            object: &self.object,
            status: &self.status,
            cluster_id: CLUSTER,
            nonce: "00",
            visibility_window: self.window,
            poll_interval: Duration::from_secs(60),
            evidence_recent: self.fresh,
            now: self.timestamp(),
        })
    }

    fn place(&self, site: Site) -> &Place {
        resolve::place(&self.object.spec, site)
    }

    /// The region of the production site of a direction, or of its standby site.
    pub fn region(&self, direction: Direction, standby: bool) -> String {
        let site = if standby { direction.standby() } else { direction.production() };
        self.place(site).region_id.clone()
    }

    fn reach(&self, region: &str) -> Result<(), Error> {
        if !self.down.contains(region) {
            return Ok(());
        }
        let (class, operation) = (Class::Unavailable, ApiOperation::DescribeDiskReplicaGroups);
        let code = "ConnectionFailed".into();
        Err(Error { class, operation, code, message: format!("{region} does not answer"), request_id: None })
    }

    pub fn bound(&self) -> Option<String> {
        self.scope(|scope| Binding::new(scope).bound)
    }

    /// As `observe::at_site`.
    fn group_at(&mut self, region: &str) -> Result<Lookup, Error> {
        self.reach(region)?;
        let bound = self.bound();
        let filter = GroupFilter { ids: bound.clone().map(|id| vec![id]), ..GroupFilter::default() };
        let page = self.disks.describe_groups(region, &filter, &all(), self.now);
        let mut groups: Vec<GroupView> = wire(&page.list);
        groups.retain(|group| {
            group.status != ReplicationStatus::Deleted
                && (bound.is_some() || resolve::owner(&group.tags).is_some_and(|owner| owner == OWNER))
        });
        Ok(groups.into_iter().next().map_or(Lookup::Absent(bound), |group| Lookup::Found(Box::new(group))))
    }

    /// As `Resource::observe`.
    pub fn observe(&mut self) -> Result<Observed, Error> {
        let direction = self.status.direction.unwrap_or_default();
        let (production, standby) = (self.region(direction, false), self.region(direction, true));
        let (group, at) = match self.group_at(&production) {
            Err(lost) if production != standby => match self.group_at(&standby) {
                Ok(sight @ Lookup::Found(_)) => (sight, standby),
                Ok(Lookup::Absent(_)) | Err(_) => return Err(lost),
            },
            other => (other?, production),
        };
        let pairs = self.pairs_at(&at, &group);
        let drills = self.drills(&group, direction);
        Ok(Observed { binding: self.scope(Binding::new), group, pairs, drills })
    }

    fn pairs_at(&mut self, region: &str, group: &Lookup) -> Vec<PairView> {
        let now = self.now;
        let mut listed = |group: &str| -> Vec<PairView> {
            let filter = PairFilter { group: Some(group.into()), ..PairFilter::default() };
            wire(&self.disks.describe_pairs(region, &filter, &all(), now).list)
        };
        let mut pairs = group.group().map(|group| listed(&group.replica_group_id)).unwrap_or_default();
        let ungrouped = listed("-");
        let (spec, status) = (&self.object.spec, &self.status);
        let wanted = spec.pairs.iter().all(|pair| resolve::pair(pair, status, &pairs).is_some());
        let mut known = status.pairs.iter().filter_map(|it| it.replica_pair_id.as_deref());
        let complete = wanted && known.all(|id| pairs.iter().any(|pair| pair.replica_pair_id == id));
        if self.deleting() || creates_pair(status) || !complete {
            pairs.extend(ungrouped);
        }
        pairs.retain(|pair| pair.status != ReplicationStatus::Deleted);
        pairs.sort_by(|a, b| a.replica_pair_id.cmp(&b.replica_pair_id));
        pairs
    }

    fn drills(&mut self, group: &Lookup, direction: Direction) -> Option<Result<Vec<DrillView>, Error>> {
        let group = group.group()?;
        self.scope(decide::drills_needed).then(|| {
            let current = self.status.drills.as_ref().and_then(|it| it.current.clone());
            let site = current.as_ref().map_or(direction.standby(), |run| run.site);
            let mut found = self.drills_at(site, &group.replica_group_id)?;
            let listed =
                |run: &DrillRun| found.iter().any(|it: &DrillView| Some(&it.drill_id) == run.drill_id.as_ref());
            if current.as_ref().is_some_and(|run| !listed(run)) {
                found.extend(self.drills_at(site.other(), &group.replica_group_id)?);
                found.sort_by(|a, b| a.drill_id.cmp(&b.drill_id));
                found.dedup_by(|a, b| a.drill_id == b.drill_id);
            }
            Ok(found)
        })
    }

    fn drills_at(&mut self, site: Site, group: &str) -> Result<Vec<DrillView>, Error> {
        let region = self.place(site).region_id.clone();
        self.reach(&region)?;
        let found = self.disks.describe_drills(&region, (group, None), &all(), self.now);
        Ok(found.map(|page| wire(&page.list)).unwrap_or_default())
    }

    pub fn deleting(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// One pass without faults, and the time until the next one.
    pub fn pass(&mut self) -> Passed {
        self.faulty_pass(&mut |_| Fault::None, Crash::Never, false).unwrap()
    }

    /// What a pass would decide now.
    pub fn decide(&mut self) -> Decision {
        let seen = self.observe().unwrap();
        self.decide_on(&seen)
    }

    /// What a pass would decide that saw this.
    pub fn decide_on(&self, seen: &Observed) -> Decision {
        self.scope(|scope| DiskReplicaGroup::decide(scope, seen))
    }

    /// One pass with faults; with `stale`, it sees what the last one saw. Nothing, where it saw nothing.
    pub fn faulty_pass(
        &mut self,
        fault: &mut dyn FnMut(&decide::Step) -> Fault,
        crash: Crash,
        stale: bool,
    ) -> Option<Passed> {
        let seen = match self.last.clone().filter(|_| stale) {
            Some(seen) => seen,
            None => match self.observe() {
                Ok(seen) => seen,
                Err(error) => {
                    let (synced, stalled) = failure(&error);
                    self.status = self.scope(|scope| scope.unobserved(&synced, stalled));
                    self.assert_agreement();
                    self.advance(self.pace);
                    return None;
                }
            },
        };
        self.last = Some(seen.clone());
        let before = self.clone();
        let decision = self.scope(|scope| DiskReplicaGroup::decide(scope, &seen));
        if let Verdict::Released { left } = &decision.verdict {
            self.released = Some(left.clone());
            return Some(Passed { seen, decision, acted: vec![], events: vec![] });
        }
        if let Some(status) = &decision.intents {
            self.status = (**status).clone();
        }
        let most = match crash {
            Crash::AfterCalls(calls) => calls,
            Crash::Never | Crash::BeforeStatus => usize::MAX,
        };
        let acted = self.act(&decision, fault, most);
        let mut events = vec![];
        if !matches!(crash, Crash::AfterCalls(_)) {
            let ran = Ran { observed: &seen, decision: &decision, acted: &acted };
            let report = self.scope(|scope| DiskReplicaGroup::report(scope, &ran));
            let annotations = report.annotations.clone();
            let after = self.scope(|scope| scope.concluded(report, &ran));
            if !before.deleting() {
                annotations.into_iter().for_each(|(key, value)| self.annotate(key, &value));
            }
            events = before.scope(|before| status::events(before, &after, &ran));
            if crash == Crash::Never {
                self.status = after;
                self.assert_agreement();
            }
        }
        self.advance(self.pace);
        Some(Passed { seen, decision, acted, events })
    }

    /// As `act::act`, on the model.
    fn act(&mut self, decision: &Decision, fault: &mut dyn FnMut(&decide::Step) -> Fault, most: usize) -> Vec<Acted> {
        let mut acted = Vec::new();
        let mut stopped = false;
        for step in decision.steps.iter().take(most) {
            let outcome = if stopped && !step.runs_always() { Outcome::Skipped } else { self.call(step, fault(step)) };
            if let Outcome::Failed(error) = &outcome {
                stopped |= stops_others(step, error.class);
            }
            acted.push(Acted { step: step.clone(), outcome });
        }
        acted
    }

    /// Passes until nothing is to be done, a person has to act, or the object is let go. The last pass.
    pub fn converge(&mut self, most: usize) -> Passed {
        let mut trace = Vec::new();
        for _ in 0..most {
            let passed = self.pass();
            let rest =
                matches!(passed.decision.verdict, Verdict::InSync | Verdict::Refused { .. } | Verdict::Released { .. });
            if rest && passed.decision.steps.is_empty() {
                return passed;
            }
            trace.push((passed.told(), passed.acted));
        }
        panic!("not at rest after {most} passes: {:#?}", trace.split_off(trace.len().saturating_sub(3)));
    }
}

/// A page that holds everything.
fn all() -> EbsPaging {
    EbsPaging::new(Some(500), None, None, None).unwrap()
}
