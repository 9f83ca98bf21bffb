//! Changes of the spec of a group that runs.

use disaster_recovery_operator::api::disk_replica_group::{DiskReplicaGroupStatus, Site};
use disaster_recovery_operator::simulator::model::ebs::ReplicaStatus;
use serde_json::json;

use super::{Groups, pair, spec};
use test_support::stage::{has, message};

#[tokio::test(flavor = "multi_thread")]
async fn change_waits_until_replication_may_stop() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.cloud.clear_requests();
    let change = json!({ "groupName": "orders", "description": "other", "enableRtc": true });
    world.patch("db", json!({ "spec": change })).await;
    let status = world.condition("db", "Synced", "False", "ReplicationRunning").await;
    let text = message(&status, "Synced");
    assert!(text.contains("groupName, description, enableRtc") && text.contains("replication: Stopped"), "{text}");
    assert!(has(&status, "Stalled", "True", "ReplicationRunning"), "{status:#?}");
    let fields: Vec<_> = status.head.drift.iter().map(|it| (it.field.as_str(), it.wanted.as_str())).collect();
    assert_eq!(fields, [("groupName", "orders"), ("description", "other"), ("enableRtc", "true")]);
    world.polls(3).await;
    assert_eq!((world.changes(), world.group().status), (vec![], ReplicaStatus::Normal), "it goes on as it was");
    world.event("db", "ReplicationRunning").await;

    world.patch("db", json!({ "spec": { "replication": "Stopped" } })).await;
    let status = world.condition("db", "Synced", "True", "InSync").await;
    let generation = world.get("db").await.expect("it is there").metadata.generation;
    assert_eq!(status.head.synced_generation, generation, "{status:#?}");
    assert!(has(&status, "Ready", "True", "Stopped") && has(&status, "Protected", "False", "ReplicationStopped"));
    let group = world.group();
    assert_eq!((group.name.as_deref(), group.description.as_deref()), (Some("orders"), Some("other")));
    assert!(group.enable_rtc);
    assert_eq!(world.changes(), ["StopDiskReplicaGroup", "ModifyDiskReplicaGroup"]);

    world.patch("db", json!({ "spec": { "replication": "Running" } })).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Source, &["data", "logs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pairs_change_while_replication_is_stopped() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    let made = world.create_protected(spec()).await;
    world.patch("db", json!({ "spec": { "pairs": [pair("data"), pair("index")] } })).await;
    let status = world.condition("db", "Synced", "False", "ReplicationRunning").await;
    let text = message(&status, "Synced");
    assert!(text.contains("pairs[index]") && text.contains("pairs[logs]"), "{text}");
    assert!(has(&status, "Protected", "False", "ReplicationStopped"), "a pair is not replicated: {status:#?}");
    assert_eq!(status.pairs_in_group.as_deref(), Some("1/2"));

    world.cloud.clear_requests();
    world.patch("db", json!({ "spec": { "replication": "Stopped" } })).await;
    let stopped = |it: &DiskReplicaGroupStatus| has(it, "Ready", "True", "Stopped") && it.pairs.len() == 2;
    let status = world.status("db", "it is stopped with its new pairs", stopped).await;
    assert_eq!(status.pairs_in_group.as_deref(), Some("2/2"), "{status:#?}");
    world.patch("db", json!({ "spec": { "replication": "Running" } })).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Source, &["data", "index"]);
    let id = |status: &DiskReplicaGroupStatus| status.pairs[0].replica_pair_id.clone();
    assert_eq!(id(&status), id(&made), "the pair that stays is not touched");
    let mut changes = world.changes();
    changes.sort();
    let mut expected = ["StopDiskReplicaGroup", "CreateDiskReplicaPair", "AddDiskReplicaPair"].to_vec();
    expected.extend(["RemoveDiskReplicaPair", "DeleteDiskReplicaPair", "StartDiskReplicaGroup"]);
    expected.sort_unstable();
    assert_eq!(changes, expected, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn pair_without_data_is_not_added_in_reverse() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.force(Site::Destination).await;
    world.protected().await;
    world.cloud.clear_requests();
    let pairs = [pair("data"), pair("logs"), pair("index")];
    world.patch("db", json!({ "spec": { "replication": "Stopped", "pairs": pairs } })).await;
    world.until(ReplicaStatus::Stopped).await;
    let status = world.condition("db", "Synced", "False", "CopyRefused").await;
    assert!(message(&status, "Synced").contains("index"), "{status:#?}");
    // The others replicate from Shanghai, where the disks are in use, to Hangzhou.
    world.patch("db", json!({ "spec": { "replication": "Running" } })).await;
    world.until(ReplicaStatus::Normal).await;
    let status = world.condition("db", "Synced", "False", "CopyRefused").await;
    assert!(has(&status, "Stalled", "True", "CopyRefused"), "{status:#?}");
    assert_eq!(world.changes(), ["StopDiskReplicaGroup", "StartDiskReplicaGroup"]);
    world.patch("db", json!({ "spec": { "pairs": [pair("data"), pair("logs")] } })).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, &["data", "logs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn group_created_stopped_starts_and_stops_later() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    let mut stopped = spec();
    stopped["replication"] = json!("Stopped");
    world.create("db", stopped).await;
    let rests =
        |it: &DiskReplicaGroupStatus| has(it, "Ready", "True", "Stopped") && has(it, "Synced", "True", "InSync");
    let status = world.status("db", "it is made and rests", rests).await;
    assert_eq!((status.pairs_in_group.as_deref(), status.group_status.as_deref()), (Some("2/2"), Some("created")));
    assert!(!world.changes().iter().any(|it| it == "StartDiskReplicaGroup"));
    world.patch("db", json!({ "spec": { "replication": "Running" } })).await;
    world.protected().await;
    world.patch("db", json!({ "spec": { "replication": "Stopped" } })).await;
    world.status("db", "it rests", rests).await;
    world.until(ReplicaStatus::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_group_fails_over_and_stays_stopped() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.patch("db", json!({ "spec": { "replication": "Stopped" } })).await;
    world.condition("db", "Ready", "True", "Stopped").await;
    world.go_to("Destination", "Planned").await;
    let there =
        |it: &DiskReplicaGroupStatus| it.active_site == Some(Site::Destination) && has(it, "Ready", "True", "Stopped");
    let status = world.status("db", "the destination is in use, and replication stopped", there).await;
    assert!(has(&status, "Synced", "True", "InSync"), "{status:#?}");
    assert_eq!(world.group().status, ReplicaStatus::Stopped);
    world.patch("db", json!({ "spec": { "replication": "Running" } })).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, &["data", "logs"]);
}
