//! Every failed status, and an unknown one.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use disaster_recovery_operator::api::disk_replica_group::{DiskReplicaGroupStatus, Site};
use disaster_recovery_operator::cloud::client::HttpService;
use disaster_recovery_operator::simulator::model::ebs::{DiskGroupEdit, ReplicaStatus};
use serde_json::json;
use tower::ServiceExt;

use super::{Groups, spec, spec_with};
use test_support::eventually;
use test_support::operator::{Operator, Tripwire};
use test_support::stage::DEADLINE;
use test_support::stage::{has, message};

const NAMES: &[&str] = &["data", "logs"];

/// The group gets a status that stays.
fn set(world: &Groups, status: ReplicaStatus) {
    world.edit(DiskGroupEdit { status: Some(status), ..DiskGroupEdit::default() });
}

/// Waits until the group needs manual action, and no call is sent.
async fn needs_a_person(world: &Groups, text: &str) -> DiskReplicaGroupStatus {
    let reported =
        |it: &DiskReplicaGroupStatus| has(it, "Synced", "False", "GroupFailed") && message(it, "Synced").contains(text);
    let status = world.status("db", format!("a person has to act: {text}"), reported).await;
    assert!(
        has(&status, "Stalled", "True", "GroupFailed") && has(&status, "Ready", "False", "NotReady"),
        "{status:#?}"
    );
    world.cloud.clear_requests();
    world.polls(3).await;
    assert_eq!(world.changes(), Vec::<String>::new());
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_creation_is_retried_after_its_deletion() {
    let world = Groups::quick().await;
    world.cloud.with_disks(|disks, _| disks.rules.delay_ms = 3_600_000);
    let _operator = world.operator().await;
    world.create("db", spec()).await;
    eventually(DEADLINE, "a group", async || (!world.disks().groups.is_empty()).then_some(())).await;
    world.cloud.with_disks(|disks, _| disks.rules.delay_ms = 30);
    set(&world, ReplicaStatus::CreateFailed);
    needs_a_person(&world, "create_failed").await;
    world.event("db", "GroupFailed").await;
    world.change_externally(|disks, id, _| disks.drop_group(id)).expect("it goes");
    let status = world.protected().await;
    world.assert_one(&status, Site::Source, NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_creation_is_deleted_with_its_object() {
    let world = Groups::quick().await;
    world.cloud.with_disks(|disks, _| disks.rules.delay_ms = 3_600_000);
    let _operator = world.operator().await;
    world.create("db", spec()).await;
    eventually(DEADLINE, "a group", async || (!world.disks().groups.is_empty()).then_some(())).await;
    world.cloud.with_disks(|disks, _| disks.rules.delay_ms = 30);
    set(&world, ReplicaStatus::CreateFailed);
    world.delete("db").await;
    world.gone("db").await;
    world.assert_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_stop_is_retried() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.fail_next();
    world.cloud.clear_requests();
    world.patch("db", json!({ "spec": { "replication": "Stopped" } })).await;
    world.condition("db", "Ready", "True", "Stopped").await;
    assert_eq!(world.changes(), ["StopDiskReplicaGroup"; 2], "once again");
}

#[tokio::test(flavor = "multi_thread")]
async fn failover_completes_after_failed_step() {
    for mode in ["Planned", "Forced"] {
        let world = Groups::quick().await;
        let _operator = world.operator().await;
        world.create_protected(spec()).await;
        world.fail_next();
        world.go_to("Destination", mode).await;
        if mode == "Forced" {
            world.overwrite(Site::Source).await;
        }
        let status = world.protected().await;
        world.assert_one(&status, Site::Destination, NAMES);
        let action = if mode == "Planned" { "StopDiskReplicaGroup" } else { "FailoverDiskReplicaGroup" };
        assert_eq!(world.changes().iter().filter(|it| *it == action).count(), 2, "{mode}: once again");
        assert_eq!(status.operations.len(), 2, "{mode}: {status:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_failed_failover_needs_manual_action() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    set(&world, ReplicaStatus::FailoverFailed);
    let status = needs_a_person(&world, "write activeSite: Destination").await;
    assert_eq!(status.active_site, Some(Site::Source));
    world.delete("db").await;
    let status = world.condition("db", "Synced", "False", "DeletionBlocked").await;
    assert!(message(&status, "Synced").contains("failover_failed"), "{status:#?}");
    set(&world, ReplicaStatus::Failovered);
    // The former site may hold the only copy of the last writes.
    let waits = |it: &DiskReplicaGroupStatus| message(it, "Synced").contains("failover.overwrite: Source");
    world.status("db", "the consent that the deletion needs is named", waits).await;
    world.request("Destination", json!({ "overwrite": "Source" })).await;
    world.gone("db").await;
    world.assert_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn external_failed_failover_is_completed() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    set(&world, ReplicaStatus::FailoverFailed);
    needs_a_person(&world, "write activeSite: Destination").await;
    world.force(Site::Destination).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_reprotect_needs_manual_action() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec_with(json!({ "reprotect": "Manual" }))).await;
    world.go_to("Destination", "Forced").await;
    world.condition("db", "Ready", "True", "FailedOver").await;
    world.fail_next();
    world.overwrite(Site::Source).await;
    let status = needs_a_person(&world, "reprotect_failed").await;
    assert_eq!(status.active_site, Some(Site::Destination), "{status:#?}");
    // The vendor's support puts it back.
    set(&world, ReplicaStatus::Failovered);
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_deletion_is_retried_by_object_deletion() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    set(&world, ReplicaStatus::DeleteFailed);
    needs_a_person(&world, "delete_failed").await;
    set(&world, ReplicaStatus::Normal);
    world.protected().await;
    world.cloud.with_disks(|disks, _| disks.rules.delay_ms = 300);
    world.delete("db").await;
    world.until(ReplicaStatus::Deleting).await;
    set(&world, ReplicaStatus::DeleteFailed);
    world.gone("db").await;
    world.assert_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_group_needs_manual_action_and_is_deletable() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    set(&world, ReplicaStatus::Invalid);
    let status = needs_a_person(&world, "invalid").await;
    assert!(message(&status, "Synced").contains("data (pair-"), "the pairs are named: {status:#?}");
    assert!(has(&status, "Protected", "False", "ReplicationStopped"), "{status:#?}");
    // What the spec drops is taken out.
    world.patch("db", json!({ "spec": { "pairs": [super::pair("logs")] } })).await;
    eventually(DEADLINE, "the other pair is gone", async || (world.disks().pairs.len() == 1).then_some(())).await;
    world.delete("db").await;
    world.gone("db").await;
    world.assert_nothing();
}

/// The simulator's cloud, which says `said` wherever it means `meant`.
fn reworded(world: &Groups, words: &Arc<Mutex<Option<[&'static str; 2]>>>) -> HttpService {
    let (wire, words) = (world.wire(), words.clone());
    HttpService::new(tower::service_fn(move |request| {
        let (wire, words) = (wire.clone(), words.clone());
        async move {
            let answer = wire.oneshot(request).await?;
            let words = words.lock().map(|it| *it).unwrap_or_default();
            Ok(answer.map(|body| match words {
                Some([meant, said]) => Bytes::from(String::from_utf8_lossy(&body).replace(meant, said)),
                None => body,
            }))
        }
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_status_is_reported_and_waited_for() {
    let world = Groups::quick().await;
    let words = Arc::new(Mutex::new(None));
    let cloud = reworded(&world, &words);
    let _operator = Operator::start(cloud, world.settings.clone(), Tripwire::default()).await;
    world.create_protected(spec()).await;
    let say = |it| *words.lock().expect("the words") = it;
    say(Some(["\"normal\"", "\"rebalancing\""]));
    let shown = |it: &DiskReplicaGroupStatus| message(it, "Synced").contains("rebalancing");
    let status = world.status("db", "the status is shown", shown).await;
    assert_eq!(status.group_status.as_deref(), Some("rebalancing"));
    assert!(has(&status, "Protected", "False", "ReplicationStopped"), "{status:#?}");
    world.cloud.clear_requests();
    world.go_to("Destination", "Forced").await;
    world.polls(3).await;
    assert_eq!(world.changes(), Vec::<String>::new());
    say(None);
    world.overwrite(Site::Source).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
}
