//! External changes of groups.

use std::time::Duration;

use disaster_recovery_operator::api::disk_replica_group::{Direction, DiskReplicaGroupStatus, Site};
use disaster_recovery_operator::simulator::model::ebs::{DiskGroupEdit, ReplicaStatus, ViolationKind};
use disaster_recovery_operator::simulator::{Fault, FaultKind};
use serde_json::json;

use super::{Groups, REGIONS, spec, spec_with};
use test_support::operator::Operator;
use test_support::stage::{has, message};

const NAMES: &[&str] = &["data", "logs"];

#[tokio::test(flavor = "multi_thread")]
async fn externally_stopped_replication_is_restarted() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.change_externally(|disks, id, now| disks.stop_group(REGIONS[0], id, now)).expect("it is stopped");
    world.event("db", "DriftFound").await;
    world.event("db", "DriftCorrected").await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Source, NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn externally_started_replication_is_stopped() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.patch("db", json!({ "spec": { "replication": "Stopped" } })).await;
    world.condition("db", "Ready", "True", "Stopped").await;
    world.change_externally(|disks, id, now| disks.start_group(REGIONS[0], id, false, now)).expect("it is started");
    world.event("db", "DriftCorrected").await;
    world.until(ReplicaStatus::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn external_rename_is_corrected_once_replication_may_stop() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec_with(json!({ "groupName": "orders" }))).await;
    world.edit(DiskGroupEdit { group_name: Some("by hand".into()), ..DiskGroupEdit::default() });
    let status = world.condition("db", "Synced", "False", "ReplicationRunning").await;
    assert_eq!(status.head.drift[0].found, "by hand", "{status:#?}");
    assert!(has(&status, "Protected", "True", "WithinObjective"), "it works all the same: {status:#?}");
    assert!(has(&status, "Ready", "False", "NotReady"), "a person has to act: {status:#?}");
    world.patch("db", json!({ "spec": { "replication": "Stopped" } })).await;
    world.condition("db", "Synced", "True", "InSync").await;
    assert_eq!(world.group().name.as_deref(), Some("orders"));
}

#[tokio::test(flavor = "multi_thread")]
async fn external_failover_is_kept_until_spec_changes() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec_with(json!({ "activeSite": "Source" }))).await;
    world.cloud.clear_requests();
    world.change_externally(|disks, id, now| disks.failover_group(REGIONS[1], id, now)).expect("it is failed over");
    // While the disks are being opened, the operator only reports the difference.
    let reported = |it: &DiskReplicaGroupStatus| {
        has(it, "Synced", "False", "Drifted") && message(it, "Synced").contains("nothing is changed")
    };
    let status = world.status("db", "the external change is reported", reported).await;
    assert!(status.head.drift.iter().any(|it| it.field == "activeSite"), "{status:#?}");
    let status = world.condition("db", "Ready", "False", "NotReady").await;
    assert_eq!(status.active_site, Some(Site::Destination), "{status:#?}");
    assert!(has(&status, "Protected", "False", "ReplicationStopped"), "{status:#?}");
    world.polls(3).await;
    assert_eq!((world.changes(), world.group().status), (vec![], ReplicaStatus::Failovered), "nothing is touched");
    world.event("db", "DriftFound").await;
    // It is accepted, and then the site in use is protected.
    world.go_to("Destination", "Planned").await;
    world.condition("db", "Synced", "False", "ReprotectWaits").await;
    assert_eq!(world.changes(), Vec::<String>::new());
    world.overwrite(Site::Source).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn external_failover_without_active_site_waits_for_consent() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.cloud.clear_requests();
    world.change_externally(|disks, id, now| disks.failover_group(REGIONS[1], id, now)).expect("it is failed over");
    let status = world.condition("db", "Synced", "False", "ReprotectWaits").await;
    assert_eq!(status.active_site, Some(Site::Destination), "{status:#?}");
    world.polls(3).await;
    assert_eq!((world.changes(), world.group().status), (vec![], ReplicaStatus::Failovered), "nothing is touched");
    world.overwrite(Site::Source).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn external_reversed_failover_is_kept_then_failed_back() {
    let world = Groups::quick().await;
    // The console copies back over writes that Hangzhou alone holds.
    world.expect_violation(ViolationKind::UnreplicatedWritesOverwritten, "d-hangzhou-");
    let _operator = world.operator().await;
    world.create_protected(spec_with(json!({ "activeSite": "Source" }))).await;
    world.change_externally(|disks, id, now| disks.failover_group(REGIONS[1], id, now)).expect("it is failed over");
    world.until(ReplicaStatus::Failovered).await;
    world.condition("db", "Synced", "False", "Drifted").await;
    world.change_externally(|disks, id, now| disks.reprotect_group(REGIONS[1], id, true, now)).expect("it is reversed");
    world.until(ReplicaStatus::Stopped).await;
    world.change_externally(|disks, id, now| disks.start_group(REGIONS[1], id, false, now)).expect("it is started");
    world.until(ReplicaStatus::Normal).await;
    // One list may be old: it is believed after a while.
    let reversed = |it: &DiskReplicaGroupStatus| {
        it.group_status.as_deref() == Some("normal")
            && it.direction == Some(Direction::Reverse)
            && has(it, "Synced", "False", "Drifted")
    };
    let status = world.status("db", "the external change is observed", reversed).await;
    assert_eq!(status.active_site, Some(Site::Destination), "{status:#?}");
    assert_eq!(status.operations, []);
    world.go_to("Destination", "Planned").await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
    world.go_to("Source", "Planned").await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Source, NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn external_cancellation_is_not_mistaken_for_reprotect() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.attach("d-hangzhou-logs", true);
    world.force(Site::Destination).await;
    world.condition("db", "Synced", "False", "DisksAttached").await;
    world.cloud.clear_requests();
    world
        .change_externally(|disks, id, now| disks.reprotect_group(REGIONS[1], id, false, now))
        .expect("it is taken back");
    let reported =
        |it: &DiskReplicaGroupStatus| it.active_site == Some(Site::Source) && has(it, "Synced", "False", "Drifted");
    let status = world.status("db", "the source is active again, by an external change", reported).await;
    assert_eq!(status.direction, Some(Default::default()), "{status:#?}");
    world.polls(3).await;
    assert_eq!(world.group().source.region, REGIONS[0]);
    let overwrites = |it: &String| it == "FailoverDiskReplicaGroup";
    assert!(!world.changes().iter().any(overwrites), "{:?}", world.changes());
}

#[tokio::test(flavor = "multi_thread")]
async fn externally_deleted_group_is_recreated() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    let made = world.create_protected(spec()).await;
    world.change_externally(|disks, id, _| {
        let pairs: Vec<_> = disks.inspect().pairs.into_iter().map(|it| it.replica_pair_id).collect();
        pairs.iter().for_each(|pair| disks.drop_pair(pair).expect("it goes"));
        disks.drop_group(id).expect("it goes");
    });
    world.event("db", "GroupGone").await;
    let other =
        |it: &DiskReplicaGroupStatus| it.replica_group_id.is_some() && it.replica_group_id != made.replica_group_id;
    world.status("db", "another group", other).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Source, NAMES);
}

/// A protected group of an operator with a visibility window that does not end within the test.
async fn patient() -> (Groups, Operator) {
    let mut world = Groups::quick().await;
    world.settings.visibility_window = Duration::from_secs(30);
    let operator = world.operator().await;
    world.create_protected(spec()).await;
    world.cloud.clear_requests();
    (world, operator)
}

/// Reads do not show this group for a time. Waits until `Synced` names it as missing.
async fn hide(world: &Groups, id: &str) -> DiskReplicaGroupStatus {
    let gap = FaultKind::Gap { ids: vec![id.into()], counted: false };
    world.cloud.add_fault(Fault::new(gap).lasting_ms(3_000));
    let text = format!("{id} is not found since ");
    let says = move |it: &DiskReplicaGroupStatus| message(it, "Synced").contains(&text);
    world.status("db", "the group is missing", says).await
}

#[tokio::test(flavor = "multi_thread")]
async fn group_missing_for_a_time_is_not_recreated() {
    let (world, _operator) = patient().await;
    let id = world.group().id;
    let status = hide(&world, &id).await;
    assert!(has(&status, "Synced", "False", "Progressing"), "{status:#?}");
    assert_eq!(status.replica_group_id, Some(id));
    let status = world.protected().await;
    world.assert_one(&status, Site::Source, NAMES);
    assert_eq!(world.changes(), Vec::<String>::new());
    assert!(world.events("db").await.iter().all(|it| it.0 != "GroupGone"), "it was not known to be gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn pair_missing_for_a_time_is_not_recreated() {
    let (world, _operator) = patient().await;
    let pair = world.disks().pairs[1].replica_pair_id.clone();
    let gap = FaultKind::Gap { ids: vec![pair.clone()], counted: false };
    world.cloud.add_fault(Fault::new(gap).lasting_ms(3_000));
    let missing = |it: &DiskReplicaGroupStatus| it.pairs_in_group.as_deref() == Some("1/2");
    let hidden = world.status("db", "a pair is missing", missing).await;
    assert!(!has(&hidden, "Protected", "True", "WithinObjective"), "{hidden:#?}");
    let status = world.protected().await;
    world.assert_one(&status, Site::Source, NAMES);
    assert_eq!(world.changes(), Vec::<String>::new());
    assert!(has(&hidden, "Synced", "False", "Progressing"), "{hidden:#?}");
    assert!(message(&hidden, "Synced").contains(&format!("({pair}) is not found since ")), "{hidden:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_waits_while_the_group_is_missing() {
    let (world, _operator) = patient().await;
    hide(&world, &world.group().id).await;
    world.delete("db").await;
    let deleting = |it: &DiskReplicaGroupStatus| has(it, "Ready", "False", "Deleting");
    let status = world.status("db", "the deletion is seen", deleting).await;
    assert!(message(&status, "Synced").contains(" is not found since "), "{status:#?}");
    world.gone("db").await;
    world.assert_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn recreated_group_reuses_remaining_pairs() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.change_externally(|disks, id, _| {
        let stopped = DiskGroupEdit { status: Some(ReplicaStatus::Stopped), ..DiskGroupEdit::default() };
        disks.edit_group(id, stopped).expect("it is stopped");
        disks.drop_group(id).expect("it goes");
    });
    world.event("db", "GroupGone").await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Source, NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_group_overwrites_active_destination_disks() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.force(Site::Destination).await;
    world.protected().await;
    world.change_externally(|disks, id, _| disks.drop_group(id)).expect("it goes");
    world.cloud.clear_requests();
    let status = world.condition("db", "Synced", "False", "GroupNotFound").await;
    assert!(message(&status, "Synced").contains("would overwrite"), "{status:#?}");
    world.polls(3).await;
    assert_eq!(world.changes(), Vec::<String>::new());
    // Nor because the spec forgets it.
    world.go_to("Source", "Planned").await;
    let generation = world.get("db").await.expect("it is there").metadata.generation;
    let looked = |it: &DiskReplicaGroupStatus| {
        it.head.observed_generation == generation && has(it, "Synced", "False", "GroupNotFound")
    };
    world.status("db", "it is refused still", looked).await;
    world.polls(2).await;
    assert_eq!(world.changes(), Vec::<String>::new());
}
