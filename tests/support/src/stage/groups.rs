//! The stage of groups of disks.

use std::time::Duration;

use disaster_recovery_operator::api::disk_replica_group::{Direction, DiskReplicaGroup, DiskReplicaGroupStatus, Site};
use disaster_recovery_operator::simulator::model::ebs::{
    DiskGroup, DiskGroupEdit, DiskInspection, DiskPairView, DiskRules, Disks, ReplicaStatus, ViolationKind,
};
use disaster_recovery_operator::simulator::{Config, Fault, FaultKind, RequestRecord};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{DEADLINE, Stage, has, message};
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
        world.use_clouds_clock();
        // Quick enough to observe every step in the cloud.
        world.settings.transition_interval = Duration::from_millis(30);
        world.settings.retry_interval = Duration::from_millis(50);
        world.settings.poll_interval = Duration::from_millis(200);
        world.settings.visibility_window = Duration::from_secs(1);
        world
    }

    /// A request of now, as a merge patch that leaves nothing of the former one.
    pub fn new_request(&self, fields: Value) -> Value {
        // Finer than the cloud's clock: each request is newer than the one before.
        let now = Timestamp::now();
        let ahead = (self.cloud.now_ms() - now.as_millisecond()).max(0);
        let mut failover = json!({
            "requestedAt": now + SignedDuration::from_millis(ahead), "mode": "Planned", "validFor": "1h",
            "leaveBehind": null, "overwrite": null,
        });
        for (name, value) in fields.as_object().expect("fields") {
            failover[name] = value.clone();
        }
        failover
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

    /// Requests a site now.
    pub async fn go_to(&self, site: &str, mode: &str) {
        self.request(site, json!({ "mode": mode })).await;
    }

    /// Requests a site by these fields of `failover`, now.
    pub async fn request(&self, site: &str, failover: Value) {
        self.patch("db", json!({ "spec": { "activeSite": site, "failover": self.new_request(failover) } })).await;
    }

    /// Requests a planned failover whose last synchronization is in a later second than the recovery point before it: the cloud
    /// shows points in seconds. [`Groups::resume_points`] has to follow.
    pub async fn plan(&self, site: &str) {
        self.cloud.with_disks(|disks, _| disks.freeze(true));
        let later = || {
            self.change_externally(|disks, id, now| {
                let point = disks.group(id).and_then(|it| it.last_recover_point).expect("a recovery point");
                now / 1000 > point / 1000
            })
        };
        eventually(DEADLINE, "the second of the recovery point is over", async || later().then_some(())).await;
        self.go_to(site, "Planned").await;
    }

    /// Waits until replication stops for the planned failover, and lets the cloud write recovery points again.
    pub async fn resume_points(&self) {
        let opens = |it: &RequestRecord| it.action == "FailoverDiskReplicaGroup" && it.status == 200;
        let stops = || self.group().status != ReplicaStatus::Normal || self.cloud.requests().iter().any(opens);
        eventually(DEADLINE, "replication stops", async || stops().then_some(())).await;
        self.cloud.with_disks(|disks, _| disks.freeze(false));
    }

    /// Requests a planned failover that the cloud holds up: replication is stopped, and the last synchronization is refused
    /// until the faults are cleared.
    pub async fn hold_up(&self, failover: Value) -> DiskReplicaGroupStatus {
        let (code, text) = ("OperationDenied.ManualSyncLimit".into(), "Not now.".into());
        let refusal = FaultKind::Error { status: 403, code, message: text, pascal_case: true };
        self.cloud.add_fault(Fault::new(refusal).of_action("StartDiskReplicaGroup"));
        self.request("Destination", failover).await;
        self.until(ReplicaStatus::Stopped).await;
        let refused = |it: &DiskReplicaGroupStatus| message(it, "Synced").contains("ManualSyncLimit");
        self.status("db", "the last synchronization is refused", refused).await
    }

    /// Waits until a site is the active one, before replication is reversed.
    pub async fn failed_over(&self, site: Site) -> DiskReplicaGroupStatus {
        self.status("db", format!("the {} is active by a failover", site.as_str()), move |it| {
            it.active_site == Some(site) && it.group_status.as_deref() == Some("failovered")
        })
        .await
    }

    /// Consents to a reversal over the disks of the former site, once the other one is active. The writes that the former site
    /// alone holds are lost.
    pub async fn overwrite(&self, former: Site) {
        self.failed_over(former.other()).await;
        let disks = match former {
            Site::Source => "d-hangzhou-",
            Site::Destination => "d-shanghai-",
        };
        self.expect_violation(ViolationKind::UnreplicatedWritesOverwritten, disks);
        self.request(former.other().as_str(), json!({ "overwrite": former })).await;
    }

    /// Fails over by force, and consents to the reversal over the disks of the former site.
    pub async fn force(&self, site: Site) {
        self.go_to(site.as_str(), "Forced").await;
        self.overwrite(site.other()).await;
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
