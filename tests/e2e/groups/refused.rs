//! What has to wait: for a newer recovery point, for disks to be detached.

use disaster_recovery_operator::api::disk_replica_group::{
    DiskReplicaGroupStatus, OperationType, Phase, Site, StepName,
};
use disaster_recovery_operator::simulator::model::ebs::{DiskGroupEdit, ReplicaStatus};
use serde_json::json;

use super::{Groups, fault, history, refusal, spec, spec_with};
use test_support::stage::{has, message};

/// The last recovery point becomes so many seconds old, and the cloud writes no newer one.
fn age(world: &Groups, seconds: i64) {
    world.change_externally(|disks, id, now| {
        disks.freeze(true);
        let last_recover_point = Some(now / 1000 - seconds);
        disks.edit_group(id, DiskGroupEdit { last_recover_point, ..DiskGroupEdit::default() }).expect("it is edited");
    });
}

fn thaw(world: &Groups) {
    world.cloud.with_disks(|disks, _| disks.freeze(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn planned_failover_waits_for_a_recent_recovery_point() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    age(&world, 3600);
    let status = world.condition("db", "Protected", "False", "ObjectiveExceeded").await;
    assert!(has(&status, "Ready", "True", "Available"), "{status:#?}");
    world.event("db", "ObjectiveExceeded").await;
    world.cloud.clear_requests();
    world.go_to("Destination", "Planned").await;
    let status = world.condition("db", "Synced", "False", "FailoverRefused").await;
    let text = message(&status, "Synced");
    assert!(text.contains("older than the objective of 15 min") && text.contains("Forced"), "{text}");
    assert!(has(&status, "Ready", "False", "NotReady"), "{status:#?}");
    assert_eq!((status.active_site, status.operations.len()), (Some(Site::Source), 0), "{status:#?}");
    world.polls(3).await;
    assert_eq!((world.changes(), world.group().status), (vec![], ReplicaStatus::Normal), "replication goes on");
    world.event("db", "FailoverRefused").await;
    thaw(&world);
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, &["data", "logs"]);
    world.event("db", "ObjectiveMet").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_failover_can_be_forced_or_cancelled() {
    for site in ["Destination", "Source"] {
        let world = Groups::quick().await;
        let _operator = world.operator().await;
        world.create_protected(spec_with(json!({ "reprotect": "Manual" }))).await;
        age(&world, 3600);
        world.go_to("Destination", "Planned").await;
        world.condition("db", "Synced", "False", "FailoverRefused").await;
        world.go_to(site, "Forced").await;
        if site == "Destination" {
            let status = world.condition("db", "Ready", "True", "FailedOver").await;
            let [failover] = &status.operations[..] else { panic!("one operation: {status:#?}") };
            assert!(failover.recovery_point_age_seconds.is_some_and(|it| it >= 3600), "{failover:#?}");
        } else {
            world.condition("db", "Synced", "True", "InSync").await;
            thaw(&world);
            let status = world.protected().await;
            assert_eq!(status.operations, []);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reprotect_waits_for_a_valid_recovery_point() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.cloud.with_disks(|disks, _| disks.rules.delay_ms = 300);
    world.force(Site::Destination).await;
    let reversed = |it: &DiskReplicaGroupStatus| {
        history(it).contains(&(OperationType::Reprotect, Site::Destination, Phase::Succeeded))
    };
    world.status("db", "it is reversed", reversed).await;
    // A failback right after the reversal waits for the first synchronization.
    world.go_to("Source", "Planned").await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Source, &["data", "logs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn attached_former_disks_are_named_and_waited_for() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    for (site, former) in [(Site::Destination, "hangzhou"), (Site::Source, "shanghai")] {
        let disk = format!("d-{former}-logs");
        world.attach(&disk, true);
        world.force(site).await;
        let status = world.condition("db", "Synced", "False", "DisksAttached").await;
        let text = message(&status, "Synced");
        assert!(
            text.contains(&format!("detach d-{former}-data, {disk}")) && text.contains("cannot be reversed"),
            "{text}"
        );
        assert_eq!(status.active_site, Some(site), "{status:#?}");
        assert!(has(&status, "Stalled", "True", "DisksAttached"), "{status:#?}");
        assert!(has(&status, "Protected", "False", "ReplicationStopped"), "{status:#?}");
        world.polls(3).await;
        world.attach(&disk, false);
        let status = world.protected().await;
        world.assert_one(&status, site, &["data", "logs"]);
        assert!(!has(&status, "Stalled", "True", "DisksAttached"), "{status:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failover_is_cancelled_while_disks_are_attached() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.attach("d-hangzhou-logs", true);
    world.force(Site::Destination).await;
    world.condition("db", "Synced", "False", "DisksAttached").await;
    world.go_to("Source", "Cancel").await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Source, &["data", "logs"]);
    let kinds: Vec<_> = history(&status).into_iter().map(|it| (it.0, it.2)).collect();
    use OperationType::{Cancel, Failover, Reprotect};
    let all = [(Failover, Phase::Succeeded), (Reprotect, Phase::Cancelled), (Cancel, Phase::Succeeded)];
    assert_eq!(kinds, all, "{status:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn planned_failover_requires_its_last_synchronization() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.cloud.add_fault(fault("StartDiskReplicaGroup", refusal("OperationDenied.ManualSyncLimit"), None));
    world.go_to("Destination", "Planned").await;
    // Long after a synchronization that was not refused would have been taken for ended.
    let long = world.settings.visibility_window * 3;
    let began = |it: &DiskReplicaGroupStatus| {
        let step = it.operations.first()?.steps.iter().find(|it| it.name == StepName::Synchronize)?;
        (jiff::Timestamp::now().duration_since(step.started_at).unsigned_abs() > long).then_some(())
    };
    let status = world.status("db", "it is refused for long", |it| began(it).is_some()).await;
    assert_eq!(status.active_site, Some(Site::Source), "{status:#?}");
    assert!(!world.changes().iter().any(|it| it == "FailoverDiskReplicaGroup"));
    world.cloud.clear_faults();
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, &["data", "logs"]);
    let changes: Vec<_> = world.cloud.requests().into_iter().filter(|it| it.changing && it.status == 200).collect();
    let at = |action: &str, about: (&str, &str)| {
        let about = (about.0.to_owned(), about.1.to_owned());
        changes.iter().position(|it| it.action == action && it.query.contains(&about)).expect("it was called")
    };
    let group = status.replica_group_id.as_deref().expect("its ID");
    let synchronized = at("StartDiskReplicaGroup", ("OneShot", "true"));
    assert!(synchronized < at("FailoverDiskReplicaGroup", ("ReplicaGroupId", group)));
}

#[tokio::test(flavor = "multi_thread")]
async fn attached_copy_is_named_before_replication_starts() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.attach("d-shanghai-data", true);
    world.create("db", spec()).await;
    let status = world.condition("db", "Synced", "False", "DisksAttached").await;
    assert!(message(&status, "Synced").contains("detach d-shanghai-data"), "{status:#?}");
    world.attach("d-shanghai-data", false);
    world.protected().await;
}
