//! Objects from JSON, and the cloud of a group as users at the console and tests see it.

use disaster_recovery_operator::api::disk_replica_group::{DiskReplicaGroup, DiskReplicaGroupSpec};
use disaster_recovery_operator::controller::disk_replica_group::decide::{Decision, Verdict};
use disaster_recovery_operator::controller::disk_replica_group::observe::Observed;
use disaster_recovery_operator::simulator::model::ebs::{
    DiskGroup, DiskGroupEdit, DiskInspection, DiskRules, Disks, ViolationKind,
};
use disaster_recovery_operator::simulator::{Config, Fault, FaultKind};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::faults::Fate;
use super::store::merge;
pub use super::tripwire::Crash;
use super::words;
use super::world::{self, CLUSTER, T0};

/// One group's object and one cloud.
pub type World = world::World<DiskReplicaGroup>;
/// The result of a group's reconcile.
pub type Passed = world::Passed<DiskReplicaGroup>;

/// The value of the object's tag.
pub const OWNER: &str = "0a1b2c3d/databases/orders-db";
/// The two regions.
pub const SOURCE: &str = "cn-hangzhou";
pub const DESTINATION: &str = "cn-shanghai";

/// A pair of the disks `d-<name>-s` and `d-<name>-d`.
pub fn pair(name: &str) -> Value {
    json!({"name": name, "sourceDiskId": format!("d-{name}-s"), "destinationDiskId": format!("d-{name}-d")})
}

/// A group of one pair, `data`, with changes by JSON merge patch (lists are replaced).
pub fn spec_with(patch: Value) -> DiskReplicaGroupSpec {
    let mut spec = json!({
        "source": {"regionId": SOURCE, "zoneId": "cn-hangzhou-h"},
        "destination": {"regionId": DESTINATION, "zoneId": "cn-shanghai-b"},
        "pairs": [pair("data")],
    });
    merge(&mut spec, patch);
    serde_json::from_value(spec).unwrap()
}

impl Passed {
    /// The decision in short.
    pub fn summary(&self) -> String {
        words::decision(&self.decision)
    }
}

impl World {
    pub fn new(spec: DiskReplicaGroupSpec, rules: DiskRules) -> World {
        let mut object = DiskReplicaGroup::new("orders-db", spec);
        let meta = &mut object.metadata;
        meta.namespace = Some("databases".into());
        meta.uid = Some("0f8fad5b-d9cb-469f-a165-70867728950e".into());
        meta.generation = Some(1);
        meta.creation_timestamp = Some(Time(Timestamp::from_millisecond(T0 - 1_000).unwrap()));
        meta.annotations = Some(Default::default());
        assert!(OWNER.starts_with(CLUSTER));
        World::of(object, Config { disk_rules: rules, ..Config::default() })
    }

    /// A world with an object in sync with its group, which has a recovery point.
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

    /// A second object, by this patch, on a copy of this cloud at the same time.
    pub fn beside(&self, patch: Value) -> World {
        let mut other = World::new(spec_with(patch), DiskRules::default());
        other.advance(self.now() - other.now());
        let disks = self.disks(|disks, _| disks.clone());
        other.disks(|other, _| *other = disks);
        other
    }

    /// Requests what the patch says of `activeSite` and `failover`, now and for a day. Fields of the former request are gone.
    pub fn request(&mut self, patch: Value) {
        let mut patch = patch;
        if patch.get("activeSite").is_none() {
            let active = self.object.spec.active_site.or(self.status.active_site).unwrap_or_default();
            patch["activeSite"] = json!(active);
        }
        let last = self.object.spec.failover.as_ref().and_then(|it| it.requested_at);
        let now = self.timestamp().max(last.map_or(Timestamp::MIN, |it| it + SignedDuration::from_millis(1)));
        let mut failover = json!({
            "requestedAt": now, "mode": "Planned", "validFor": "24h", "leaveBehind": null, "overwrite": null,
        });
        let wanted = patch["failover"].take();
        if wanted.is_object() {
            merge(&mut failover, wanted);
        }
        if failover.get("overwrite").is_some_and(|site| !site.is_null()) {
            self.consented.push(ViolationKind::UnreplicatedWritesOverwritten);
        }
        if failover.get("leaveBehind").is_some_and(|pairs| !pairs.is_null()) {
            self.consented.extend([ViolationKind::BlankOpened, ViolationKind::StaleOpened]);
        }
        patch["failover"] = failover;
        self.edit(patch);
    }

    /// Changes the spec by a JSON merge patch. A change of `activeSite` or `failover` is a request.
    pub fn want(&mut self, patch: Value) {
        match patch.get("activeSite").is_some() || patch.get("failover").is_some() {
            true => self.request(patch),
            false => self.edit(patch),
        }
    }

    /// Consents to a reversal over the disks of the former site.
    pub fn consent(&mut self) {
        let active = self.status.active_site.unwrap();
        self.request(json!({"activeSite": active, "failover": {"overwrite": active.other()}}));
    }

    /// The disks of the cloud, and the time in ms.
    pub fn disks<R>(&self, with: impl FnOnce(&mut Disks, i64) -> R) -> R {
        self.simulator.with_disks(with)
    }

    /// Everything that the cloud has.
    pub fn inspect(&self) -> DiskInspection {
        self.disks(|disks, _| disks.inspect())
    }

    /// The ID of the one group.
    pub fn group_id(&self) -> String {
        let groups = self.inspect().groups;
        assert_eq!(groups.len(), 1, "groups");
        groups[0].replica_group_id.clone()
    }

    /// The one group.
    pub fn group(&self) -> DiskGroup {
        let id = self.group_id();
        self.disks(|disks, _| disks.group(&id).unwrap().clone())
    }

    /// Edits the one group without the operator.
    pub fn console(&self, edit: Value) {
        let edit: DiskGroupEdit = serde_json::from_value(edit).unwrap();
        let id = self.group_id();
        self.disks(|disks, _| disks.edit_group(&id, edit)).unwrap();
    }

    /// Fails the one group over without the operator.
    pub fn console_failover(&mut self) {
        let id = self.group_id();
        self.disks(|disks, now| disks.failover_group(DESTINATION, &id, now)).unwrap();
        self.advance(1);
    }

    /// Reverses the one group, which is failed over, or cancels its failover, without the operator.
    pub fn console_reprotect(&mut self, reverse: bool) {
        let id = self.group_id();
        self.disks(|disks, now| disks.reprotect_group(DESTINATION, &id, reverse, now)).unwrap();
        self.advance(1);
    }

    /// Removes the one group without the operator.
    pub fn drop_group(&self) {
        let id = self.group_id();
        self.disks(|disks, _| disks.drop_group(&id)).unwrap();
    }

    /// Attaches a disk to an instance, or detaches it.
    pub fn attach(&self, disk: &str, attached: bool) {
        self.disks(|disks, _| disks.attach(disk, attached));
    }

    /// Stops everything that the cloud does by itself.
    pub fn freeze(&self) {
        self.disks(|disks, _| disks.freeze(true));
    }

    /// Requests to these regions get no answer from now on.
    pub fn lose(&self, regions: &[&str]) {
        for region in regions {
            self.simulator.add_fault(Fault::new(FaultKind::Lost).in_region(region));
        }
    }

    /// The visibility window, in ms.
    pub fn window_ms(&self) -> i64 {
        i64::try_from(self.window.as_millis()).unwrap()
    }

    /// What a reconcile would decide now.
    pub fn decide(&self) -> Decision {
        let seen: Observed = self.observe().unwrap();
        self.decide_on(&seen)
    }

    /// One reconcile in which every changing call has this fate.
    pub fn pass_with(&mut self, fate: Fate) -> Passed {
        self.faulty_pass(vec![fate; 16], Crash::Never).unwrap()
    }

    /// One reconcile that observes what the last one did.
    pub fn stale_pass(&mut self) -> Passed {
        self.pass_in_past(self.observed_at, vec![], Crash::Never).unwrap()
    }

    /// Reconciles until nothing is left to do, a person has to act, or the object is released. The last reconcile.
    pub fn converge(&mut self, most: usize) -> Passed {
        let mut trace = Vec::new();
        for _ in 0..most {
            let passed = self.pass();
            let rest =
                matches!(passed.decision.verdict, Verdict::InSync | Verdict::Refused { .. } | Verdict::Released { .. });
            if rest && passed.decision.steps.is_empty() {
                return passed;
            }
            trace.push((passed.summary(), passed.calls));
        }
        panic!("not at rest after {most} reconciles: {:#?}", trace.split_off(trace.len().saturating_sub(3)));
    }
}
