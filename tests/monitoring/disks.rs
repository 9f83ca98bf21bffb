//! Stories of groups of disks.

use std::time::Duration;

use disaster_recovery_operator::api::disk_replica_group::{DiskReplicaGroupStatus, DrillResult, Site};
use disaster_recovery_operator::api::{DRILL_ANNOTATION, RECONCILE_ANNOTATION};
use disaster_recovery_operator::simulator::model::ebs::{DiskGroupEdit, DiskRules, Disks, ReplicaStatus};
use disaster_recovery_operator::simulator::{Config, Fault, FaultKind};
use serde_json::json;

use crate::plans::{config, leader, says, shows};
use crate::story::{Firing, Scrape, Story, about};
use test_support::operator::Operator;
use test_support::stage::groups::{Groups, quick, spec};
use test_support::stage::has;

const AGE: &str = "disaster_recovery_disk_group_recovery_point_age_seconds";
const POINT: &str = "disaster_recovery_disk_group_recovery_point_timestamp_seconds";

async fn stage(disk_rules: DiskRules) -> Groups {
    let mut world = Groups::on(Config { disk_rules, ..config() }).await;
    world.settings.transition_interval = Duration::from_millis(30);
    world.settings.retry_interval = Duration::from_millis(50);
    world.settings.poll_interval = Duration::from_millis(200);
    world.settings.visibility_window = Duration::from_secs(1);
    world
}

/// An alert about the group `db`.
fn db(alert: &'static str, world: &Groups) -> Firing {
    about(alert, "DiskReplicaGroup", &world.namespace, "db")
}

fn by_hand<R>(world: &Groups, with: impl FnOnce(&mut Disks, &str, i64) -> R) -> R {
    world.cloud.with_disks(|disks, now| {
        let id = disks.inspect().groups[0].replica_group_id.clone();
        with(disks, &id, now)
    })
}

/// The last recovery point becomes so many seconds old, and the cloud writes no newer one.
fn age(world: &Groups, seconds: i64) {
    by_hand(world, |disks, id, now| {
        disks.freeze(true);
        let last_recover_point = Some(now / 1000 - seconds);
        disks.edit_group(id, DiskGroupEdit { last_recover_point, ..DiskGroupEdit::default() }).expect("it is edited");
    });
}

fn thaw(world: &Groups) {
    world.cloud.with_disks(|disks, _| disks.freeze(false));
}

/// Waits until the group is as its spec asks for, and a scrape shows it.
async fn protected(world: &Groups, operator: &Operator) -> Scrape {
    let generation = world.get("db").await.expect("it is there").metadata.generation;
    let well = move |it: &DiskReplicaGroupStatus| {
        it.head.observed_generation == generation
            && has(it, "Ready", "True", "Available")
            && has(it, "Synced", "True", "InSync")
            && has(it, "Protected", "True", "WithinObjective")
    };
    world.status("db", "it is as it should be", well).await;
    shows(operator, "it is protected", |it| {
        let all = it.all("disaster_recovery_condition_status");
        let of = |reason: &str| all.iter().any(|it| it.0["reason"] == reason);
        let within = it.sum(POINT) > 0.0 && it.sum(AGE) < 900.0;
        within && of("WithinObjective") && of("InSync") && of("Available")
    })
    .await
}

/// Scrapes until the recovery point is so many seconds old.
async fn aged(operator: &Operator, seconds: f64) -> Scrape {
    shows(operator, "the recovery point is old", |it| it.sum(AGE) >= seconds).await
}

pub(crate) async fn failed_over() -> Story {
    let (world, mut story) = (stage(quick()).await, Story::new("groups of disks are failed over"));
    let operator = leader(&world).await;
    world.create("db", spec()).await;
    story.go_on(30, &protected(&world, &operator).await);
    story.fires([]);

    let exceeded = db("DisasterRecoveryDiskGroupObjectiveExceeded", &world);
    let far = db("DisasterRecoveryDiskGroupObjectiveFarExceeded", &world);
    age(&world, 1000);
    let old = aged(&operator, 1000.0).await;
    says(&operator, "db", "Protected", "ObjectiveExceeded").await;
    story.go_on(5, &old);
    story.fires([]);
    story.go_on(5, &old);
    story.fires([exceeded.clone()]);
    age(&world, 3000);
    let very_old = aged(&operator, 3000.0).await;
    story.go_on(3, &very_old);
    story.fires([exceeded.clone(), far.clone()]);
    world.go_to("Destination", "Planned").await;
    world.condition("db", "Synced", "False", "FailoverRefused").await;
    let refused = says(&operator, "db", "Synced", "FailoverRefused").await;
    story.go_on(40, &refused);
    story.fires([exceeded, far, db("DisasterRecoveryFailoverWaiting", &world)]);
    thaw(&world);
    story.go_on(2, &protected(&world, &operator).await);
    story.fires([]);

    world.cloud.with_disks(|disks, _| disks.attach("d-shanghai-logs", true));
    world.go_to("Source", "Forced").await;
    world.condition("db", "Synced", "False", "ReprotectWaits").await;
    let waits = says(&operator, "db", "Synced", "ReprotectWaits").await;
    story.go_on(20, &waits);
    story.fires(["DisasterRecoveryStalled", "DisasterRecoveryReplicationStopped"].map(|it| db(it, &world)));
    world.overwrite(Site::Destination).await;
    world.condition("db", "Synced", "False", "DisksAttached").await;
    let attached = says(&operator, "db", "Synced", "DisksAttached").await;
    story.go_on(15, &attached);
    story.fires(["DisasterRecoveryFailoverWaiting", "DisasterRecoveryReplicationStopped"].map(|it| db(it, &world)));
    world.cloud.with_disks(|disks, _| disks.attach("d-shanghai-logs", false));
    story.go_on(2, &protected(&world, &operator).await);
    story.fires([]);

    world.patch("db", json!({ "spec": { "reprotect": "Manual" } })).await;
    world.go_to("Destination", "Forced").await;
    world.condition("db", "Ready", "True", "FailedOver").await;
    let failed_over = says(&operator, "db", "Ready", "FailedOver").await;
    story.go_on(65, &failed_over);
    story.fires([db("DisasterRecoveryNotReprotected", &world)]);
    world.overwrite(Site::Source).await;
    story.go_on(2, &protected(&world, &operator).await);
    story.fires([]);

    world.cloud.with_disks(|disks, _| disks.rules.delay_ms = 3_600_000);
    world.go_to("Source", "Forced").await;
    world.condition("db", "Ready", "False", "FailingOver").await;
    says(&operator, "db", "Ready", "FailingOver").await;
    let slow = says(&operator, "db", "Protected", "ReplicationStopped").await;
    story.go_on(35, &slow);
    story.fires(["DisasterRecoveryFailoverSlow", "DisasterRecoveryReplicationStopped"].map(|it| db(it, &world)));
    by_hand(&world, |disks, id, _| {
        disks.rules.delay_ms = quick().delay_ms;
        let status = Some(ReplicaStatus::Failovered);
        disks.edit_group(id, DiskGroupEdit { status, ..DiskGroupEdit::default() }).expect("it is edited");
    });
    world.overwrite(Site::Destination).await;
    let back = protected(&world, &operator).await;
    for metric in ["recovery_time_seconds", "recovery_point_age_seconds"] {
        assert_eq!(back.all(&format!("disaster_recovery_disk_group_last_failover_{metric}")).len(), 1, "{metric}");
    }
    story.go_on(2, &back);
    story.fires([]);
    story
}

/// A failover that the cloud refuses, and one that it cannot complete.
pub(crate) async fn given_up() -> Story {
    let (world, mut story) = (stage(quick()).await, Story::new("failovers are given up"));
    let operator = leader(&world).await;
    world.create("db", spec()).await;
    story.go_on(30, &protected(&world, &operator).await);
    story.fires([]);

    let (code, message) = ("Forbidden.RAM".into(), "Not you.".into());
    let kind = FaultKind::Error { status: 403, code, message, pascal_case: true };
    world.cloud.add_fault(Fault::new(kind).of_action("FailoverDiskReplicaGroup"));
    world.go_to("Destination", "Forced").await;
    world.condition("db", "Stalled", "True", "AccessDenied").await;
    let refused = says(&operator, "db", "Stalled", "AccessDenied").await;
    story.go_on(10, &refused);
    story.fires([db("DisasterRecoveryFailoverWaiting", &world)]);
    world.cloud.clear_faults();
    world.annotate("db", RECONCILE_ANNOTATION, "now").await;
    world.overwrite(Site::Source).await;
    story.go_on(2, &protected(&world, &operator).await);
    story.fires([]);

    let set = |status| {
        by_hand(&world, |disks, id, _| {
            let edit = DiskGroupEdit { status: Some(status), ..DiskGroupEdit::default() };
            disks.edit_group(id, edit).expect("it is edited");
        });
    };
    set(ReplicaStatus::FailoverFailed);
    world.condition("db", "Stalled", "True", "GroupFailed").await;
    story.go_on(10, &says(&operator, "db", "Stalled", "GroupFailed").await);
    story.fires([db("DisasterRecoveryFailoverWaiting", &world)]);
    set(ReplicaStatus::Normal);
    story.go_on(2, &protected(&world, &operator).await);
    story.fires([]);
    story
}

/// Disks that take a day to be copied.
pub(crate) async fn first_synchronization() -> Story {
    let rules = DiskRules { initial_sync_ms: Some(86_400_000), ..quick() };
    let (world, mut story) = (stage(rules).await, Story::new("the first synchronization takes long"));
    let operator = leader(&world).await;
    world.create("db", spec()).await;
    world.condition("db", "Protected", "False", "NeverSynced").await;
    let copying = says(&operator, "db", "Protected", "NeverSynced").await;
    story.go_on(355, &copying);
    story.fires([]);
    // The leader changes, with no leader in between.
    story.advance(1, &[], &[]);
    story.advance(10, &[("pod-1", &copying)], &[]);
    story.fires([db("DisasterRecoveryDiskGroupNeverSynced", &world)]);
    by_hand(&world, |disks, id, now| {
        let (status, last_recover_point) = (Some(ReplicaStatus::Normal), Some(now / 1000));
        let edit = DiskGroupEdit { status, last_recover_point, ..DiskGroupEdit::default() };
        disks.edit_group(id, edit).expect("it is edited");
    });
    story.go_on(2, &protected(&world, &operator).await);
    story.fires([]);
    story
}

pub(crate) async fn drills() -> Story {
    const DUE: &str = "disaster_recovery_disk_group_drill_due_timestamp_seconds";
    const SUCCESS: &str = "disaster_recovery_disk_group_drill_last_success";
    const YEARLY: &str = "0 0 1 1 *";
    let (world, mut story) = (stage(quick()).await, Story::new("drills go wrong"));
    let operator = leader(&world).await;
    let mut wanted = spec();
    wanted["drill"] = json!({ "schedule": YEARLY, "keepFor": "1h" });
    world.create("db", wanted).await;
    protected(&world, &operator).await;
    let fresh = shows(&operator, "a drill is to come", |it| it.sum(DUE) > 0.0).await;
    story.go_on(30, &fresh);
    story.fires([]);

    let error =
        |code: &str| FaultKind::Error { status: 403, code: code.into(), message: "Not now.".into(), pascal_case: true };
    let refusal = Fault::new(error("OperationDenied.QuotaExceed"));
    world.cloud.add_fault(refusal.of_action("StartReplicaGroupDrill").times(1));
    world.annotate("db", DRILL_ANNOTATION, "1").await;
    let failed = shows(&operator, "a drill failed", |it| it.all(SUCCESS).iter().any(|it| it.1 == 0.0)).await;
    story.go_on(10, &failed);
    story.fires([db("DisasterRecoveryDrillFailed", &world)]);

    // The clones of the next one cannot be cleared.
    world.annotate("db", DRILL_ANNOTATION, "2").await;
    let cloned = |it: &DiskReplicaGroupStatus| {
        it.drills.as_ref().and_then(|it| it.current.as_ref()).is_some_and(|it| it.ready_at.is_some())
    };
    world.status("db", "the clones are there", cloned).await;
    // Meanwhile another one becomes due, which is not late yet.
    let soon = |it: &Scrape| it.sum(DUE) > 0.0 && it.sum(DUE) < jiff::Timestamp::now().as_second() as f64 + 120.0;
    world.patch("db", json!({ "spec": { "drill": { "schedule": "* * * * *" } } })).await;
    story.advance(70, &[("pod-0", &shows(&operator, "a drill is due", soon).await)], &[DUE]);
    story.fires([db("DisasterRecoveryDrillFailed", &world)]);
    world.patch("db", json!({ "spec": { "drill": { "schedule": YEARLY } } })).await;
    world.cloud.add_fault(Fault::new(error("Forbidden.Action")).of_action("ClearReplicaGroupDrill"));
    world.patch("db", json!({ "spec": { "drill": { "keepFor": "1s" } } })).await;
    world.condition("db", "DrillNotCleared", "True", "ClearOverdue").await;
    let left = says(&operator, "db", "DrillNotCleared", "ClearOverdue").await;
    story.go_on(20, &left);
    story.fires(["DisasterRecoveryDrillFailed", "DisasterRecoveryDrillNotCleared"].map(|it| db(it, &world)));
    world.cloud.clear_faults();
    let ended = |it: &DiskReplicaGroupStatus| {
        let last = it.drills.as_ref().filter(|it| it.current.is_none()).and_then(|it| it.last.as_ref());
        last.is_some_and(|it| it.result == Some(DrillResult::Succeeded))
    };
    world.status("db", "the drill was a success", ended).await;
    story.go_on(2, &shows(&operator, "the drill was a success", |it| it.sum(SUCCESS) == 1.0).await);
    story.fires([]);

    // One is due every minute, and cannot begin.
    world.patch("db", json!({ "spec": { "replication": "Stopped" } })).await;
    world.condition("db", "Ready", "True", "Stopped").await;
    world.patch("db", json!({ "spec": { "drill": { "schedule": "* * * * *" } } })).await;
    // What is stopped on purpose grows old.
    age(&world, 3000);
    let waiting = shows(&operator, "a drill is due", |it| soon(it) && it.sum(AGE) >= 3000.0).await;
    story.advance(70, &[("pod-0", &waiting)], &[DUE]);
    story.fires([db("DisasterRecoveryDrillOverdue", &world)]);
    story.advance(24 * 60, &[("pod-0", &waiting)], &[DUE]);
    story.fires(["DisasterRecoveryDrillOverdue", "DisasterRecoveryStopped"].map(|it| db(it, &world)));
    thaw(&world);
    world.patch("db", json!({ "spec": { "drill": { "schedule": YEARLY }, "replication": "Running" } })).await;
    protected(&world, &operator).await;
    let later = |it: &Scrape| it.sum(DUE) > jiff::Timestamp::now().as_second() as f64 + 120.0;
    story.go_on(2, &shows(&operator, "the next drill is far", later).await);
    story.fires([]);
    story
}
