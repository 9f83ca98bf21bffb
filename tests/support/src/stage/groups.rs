//! The stage of groups of disks.

use std::time::Duration;

use disaster_recovery_operator::api::disk_replica_group::{Direction, DiskReplicaGroup, DiskReplicaGroupStatus, Site};
use disaster_recovery_operator::simulator::Config;
use disaster_recovery_operator::simulator::model::ebs::{
    DiskGroup, DiskGroupEdit, DiskInspection, DiskPairView, DiskRules, Disks, ReplicaStatus,
};
use serde_json::{Value, json};

use super::{DEADLINE, Stage, has};
use crate::eventually;

/// The stage of groups.
pub type Groups = Stage<DiskReplicaGroup>;

/// The region of the source, and that of the destination.
pub const REGIONS: [&str; 2] = ["cn-hangzhou", "cn-shanghai"];

/// Quick disks: a recovery point every 200 ms, and one-shot synchronizations without a limit.
pub fn quick() -> DiskRules {
    DiskRules { delay_ms: 60, cycle_ms: 200, one_shot_interval_ms: 0, ..DiskRules::default() }
}

impl Groups {
    /// A world whose disks are quick and without faults.
    pub async fn quick() -> Self {
        Self::with(quick()).await
    }

    /// A world whose disks have rules of their own.
    pub async fn with(disk_rules: DiskRules) -> Self {
        let calls = 100_000;
        let mut world = Self::on(Config { disk_rules, ebs_rate_limit_per_second: calls, ..Config::default() }).await;
        // Quick enough to observe every step in the cloud.
        world.settings.transition_interval = Duration::from_millis(30);
        world.settings.retry_interval = Duration::from_millis(50);
        world.settings.poll_interval = Duration::from_millis(200);
        world.settings.visibility_window = Duration::from_secs(1);
        world
    }

    /// Everything in the cloud.
    pub fn disks(&self) -> DiskInspection {
        self.cloud.with_disks(|disks, _| disks.inspect())
    }

    /// The one group in the cloud.
    pub fn group(&self) -> DiskGroup {
        self.cloud.with_disks(|disks, _| {
            let all = disks.inspect().groups;
            assert_eq!(all.len(), 1, "one group: {all:#?}");
            disks.group(&all[0].replica_group_id).expect("it is there").clone()
        })
    }

    /// Changes the one group externally, in one step.
    pub fn change_externally<R>(&self, with: impl FnOnce(&mut Disks, &str, i64) -> R) -> R {
        let id = self.group().id;
        self.cloud.with_disks(|disks, now| with(disks, &id, now))
    }

    /// Edits the one group.
    pub fn edit(&self, edit: DiskGroupEdit) {
        self.change_externally(|disks, id, _| disks.edit_group(id, edit)).expect("it is edited");
    }

    /// The next transition of the one group fails.
    pub fn fail_next(&self) {
        self.edit(DiskGroupEdit { fail_next: Some(true), ..DiskGroupEdit::default() });
    }

    /// Attaches a disk to an instance, or detaches it.
    pub fn attach(&self, disk: &str, attached: bool) {
        self.cloud.with_disks(|disks, _| disks.attach(disk, attached));
    }

    /// Asks for a site.
    pub async fn go_to(&self, site: &str, mode: &str) {
        self.patch("db", json!({ "spec": { "activeSite": site, "failover": { "mode": mode } } })).await;
    }

    /// Waits until the object is as its spec asks for, and protected.
    pub async fn protected(&self) -> DiskReplicaGroupStatus {
        let generation = self.get("db").await.expect("it is there").metadata.generation;
        self.status("db", "Ready, InSync and Protected at the newest generation", move |it| {
            it.head.observed_generation == generation
                && it.head.synced_generation == generation
                && has(it, "Ready", "True", "Available")
                && has(it, "Synced", "True", "InSync")
                && has(it, "Protected", "True", "WithinObjective")
        })
        .await
    }

    /// An object `db` that is protected.
    pub async fn create_protected(&self, spec: Value) -> DiskReplicaGroupStatus {
        self.create("db", spec).await;
        self.protected().await
    }

    /// Waits until the group has a status in the cloud.
    pub async fn until(&self, status: ReplicaStatus) {
        let what = format!("the group is {status:?}");
        eventually(DEADLINE, what, async || (self.group().status == status).then_some(())).await;
    }

    /// Waits for so many more polls.
    pub async fn polls(&self, more: usize) {
        let reads = || self.cloud.requests().iter().filter(|it| it.action == "DescribeDiskReplicaGroups").count();
        let before = reads();
        eventually(DEADLINE, format!("{more} polls"), async || (reads() >= before + more).then_some(())).await;
    }

    /// Nothing is left in the cloud.
    pub fn assert_nothing(&self) {
        let left = self.disks();
        assert!(left.groups.is_empty() && left.pairs.is_empty() && left.drills.is_empty(), "{left:#?}");
    }

    /// There is one group, with these pairs of disks and no other, that replicates from a site to the other, and the status
    /// says so too.
    pub fn assert_one(&self, status: &DiskReplicaGroupStatus, site: Site, pairs: &[&str]) {
        let all = self.disks();
        assert_eq!((all.groups.len(), all.pairs.len()), (1, pairs.len()), "{all:#?}");
        let group = self.group();
        assert_eq!(status.replica_group_id.as_deref(), Some(group.id.as_str()));
        assert_eq!(status.active_site, Some(site), "{status:#?}");
        let (direction, from) = match site {
            Site::Source => (Direction::Forward, REGIONS[0]),
            Site::Destination => (Direction::Reverse, REGIONS[1]),
        };
        assert_eq!(status.direction, Some(direction), "{status:#?}");
        assert_eq!((group.status, group.source.region.as_str()), (ReplicaStatus::Normal, from), "{group:#?}");
        let [at, to] = match site {
            Site::Source => ["hangzhou", "shanghai"],
            Site::Destination => ["shanghai", "hangzhou"],
        };
        for name in pairs {
            let (source, destination) = (format!("d-{at}-{name}"), format!("d-{to}-{name}"));
            // The source that the cloud names may stay the same; the model has the real direction.
            let means = |it: &&DiskPairView| it.source_disk_id == source || it.destination_disk_id == source;
            let found = all.pairs.iter().filter(means).collect::<Vec<_>>();
            assert_eq!(found.len(), 1, "{name}: {all:#?}");
            let pair = self.cloud.with_disks(|disks, _| disks.pair(&found[0].replica_pair_id).cloned());
            let pair = pair.expect("the pair is there");
            assert_eq!((pair.source_disk, pair.destination_disk), (source, destination));
            assert_eq!(found[0].replica_group_id.as_deref(), Some(group.id.as_str()), "{name} is in the group");
        }
        let mut named: Vec<_> = status.pairs.iter().map(|it| it.name.as_str()).collect();
        named.sort_unstable();
        let mut wanted = pairs.to_vec();
        wanted.sort_unstable();
        assert_eq!(named, wanted, "{status:#?}");
    }
}

/// A pair of the spec.
pub fn pair(name: &str) -> Value {
    json!({
        "name": name, "sourceDiskId": format!("d-hangzhou-{name}"), "destinationDiskId": format!("d-shanghai-{name}"),
    })
}

/// A group of the disks `data` and `logs`.
pub fn spec() -> Value {
    json!({
        "description": "Disks of the orders database",
        "source": { "regionId": "cn-hangzhou", "zoneId": "cn-hangzhou-h" },
        "destination": { "regionId": "cn-shanghai", "zoneId": "cn-shanghai-b" },
        "pairs": [pair("data"), pair("logs")],
    })
}
