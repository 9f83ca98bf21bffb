//! A group is created, polled and deleted.

use std::time::Duration;

use disaster_recovery_operator::api::GROUP_ID_ANNOTATION;
use disaster_recovery_operator::api::disk_replica_group::{DiskReplicaGroupStatus, Site};
use disaster_recovery_operator::simulator::model::ebs::{DiskRules, ReplicaStatus};
use kube::ResourceExt;
use serde_json::json;

use super::{Groups, fault, quick, refusal, spec, spec_with};
use test_support::stage::DEADLINE;
use test_support::stage::{has, message};
use test_support::{ControlPlane, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_applies_waits_prints_and_deletes() {
    let world = Groups::quick().await;
    let operator = world.operator().await;
    let namespace = world.namespace.clone();
    let kubectl = async |args: Vec<&'static str>| {
        let namespace = namespace.clone();
        let run = move || {
            let args: Vec<_> = ["--namespace", &namespace].into_iter().chain(args).map(str::to_owned).collect();
            ControlPlane::shared().kubectl(&args).checked().expect("kubectl does it")
        };
        tokio::task::spawn_blocking(run).await.expect("it ends")
    };
    let key = [("accessKeyId", "simulator-key-id"), ("accessKeySecret", "simulator-key-secret")];
    world.secret("alibaba-cloud-key", &key).await;
    let account = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/samples/10-account-secret.yaml");
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/samples/07-disk-group.yaml");
    kubectl(vec!["apply", "-f", account, "-f", sample]).await;
    for condition in ["--for=condition=Ready", "--for=condition=Synced", "--for=condition=Protected"] {
        kubectl(vec!["wait", condition, "drg/orders-db", "--timeout=60s"]).await;
    }
    let status = world.ready("orders-db").await;
    world.assert_one(&status, Site::Source, &["data", "logs"]);
    assert_eq!(status.pairs_in_group.as_deref(), Some("2/2"));
    assert_eq!((status.group_status.as_deref(), status.head.drift.len()), (Some("normal"), 0), "{status:#?}");
    assert!(status.recovery_point.is_some() && status.operations.is_empty(), "{status:#?}");
    assert!(status.pairs.iter().all(|it| it.pair_status.is_some() && it.replica_pair_id.is_some()), "{status:#?}");
    let group = world.group();
    let object = world.get("orders-db").await.expect("it is there");
    assert_eq!(object.annotations().get(GROUP_ID_ANNOTATION), Some(&group.id));
    assert_eq!(group.name.as_deref(), Some("orders-db"));
    assert!(group.tags["disasterrecovery.dev/owner"].ends_with(&format!("/{}/orders-db", world.namespace)));
    assert_eq!(world.event("orders-db", "Created").await, format!("created group {}", group.id));
    let changes = ["CreateDiskReplicaGroup", "CreateDiskReplicaPair", "CreateDiskReplicaPair"];
    let more = ["AddDiskReplicaPair", "AddDiskReplicaPair", "StartDiskReplicaGroup"];
    assert_eq!(world.changes(), [changes, more].concat(), "each once");

    let wide = kubectl(vec!["get", "drg", "-o", "wide"]).await;
    let columns = ["ACTIVE SITE", "DIRECTION", "STATUS", "PAIRS", "RECOVERY POINT", "READY", "PROTECTED", "GROUP ID"];
    for text in columns.iter().chain(&["Source", "Forward", "normal", "2/2", "True", group.id.as_str()]) {
        assert!(wide.contains(text), "{text}: {wide}");
    }
    kubectl(vec!["delete", "drg/orders-db", "--timeout=60s"]).await;
    world.assert_nothing();
    world.event("orders-db", "Deleted").await;
    let series = || operator.metrics.text().lines().filter(|it| it.contains("orders-db")).count();
    eventually(DEADLINE, "its series are gone", async || (series() == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_of_an_unchanged_group_write_nothing() {
    // The recovery point advances in steps of a minute, which may fall into the ten polls: the cloud writes none meanwhile.
    let world = &mut Groups::quick().await;
    // A busy machine may be late by less than the three intervals of evidence.
    world.settings.poll_interval = Duration::from_millis(600);
    let operator = world.operator().await;
    world.create_protected(spec()).await;
    world.cloud.with_disks(|disks, _| disks.freeze(true));
    let gets = || world.cloud.requests().iter().filter(|it| it.action == "DescribeDiskReplicaGroups").count();
    world.polls(2).await;
    let version = async || world.get("db").await.expect("it is there").metadata.resource_version;
    world.cloud.clear_requests();
    let before = (operator.requests.writes().len(), version().await);
    eventually(DEADLINE, "eleven polls", async || (gets() > 11).then_some(())).await;
    let requests: Vec<_> = world.cloud.requests().into_iter().map(|it| it.action).collect();
    assert_eq!((operator.requests.writes().len(), version().await), before, "no write, of status or anything else");
    assert_eq!(world.changes(), Vec::<String>::new());
    let from = requests.iter().position(|it| it == "DescribeDiskReplicaGroups").expect("a poll");
    for poll in requests[from..].chunks_exact(2) {
        assert_eq!(poll, ["DescribeDiskReplicaGroups", "DescribeDiskReplicaPairs"], "{requests:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_show_group_and_recovery_point() {
    let world = Groups::quick().await;
    let operator = world.operator().await;
    world.create_protected(spec()).await;
    let labels = format!("namespace=\"{}\",name=\"db\"", world.namespace);
    let expected = [
        format!("disaster_recovery_disk_group_status{{{labels},status=\"normal\"}} 1"),
        format!("disaster_recovery_disk_group_active_site{{{labels},site=\"Source\"}} 1"),
        format!("disaster_recovery_recovery_point_objective_seconds{{kind=\"DiskReplicaGroup\",{labels}}} 900.0"),
        format!("disaster_recovery_disk_group_recovery_point_age_seconds{{{labels}}} "),
        format!("disaster_recovery_disk_group_recovery_point_timestamp_seconds{{{labels}}} "),
        format!(
            "disaster_recovery_condition_status{{kind=\"DiskReplicaGroup\",{labels},type=\"Ready\",status=\"True\",\
             reason=\"Available\"}} 1"
        ),
    ];
    for line in expected {
        let shown = || operator.metrics.text().contains(&line);
        eventually(DEADLINE, line.clone(), async || shown().then_some(())).await;
    }
    assert!(operator.metrics.text().contains("cloud_requests_total{product=\"ebs\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn first_synchronization_is_waited_for() {
    let world = Groups::with(DiskRules { initial_sync_ms: Some(3_600_000), ..quick() }).await;
    let _operator = world.operator().await;
    world.create("db", spec()).await;
    let status = world.condition("db", "Ready", "False", "Creating").await;
    assert!(has(&status, "Protected", "False", "ReplicationStopped") || status.group_status.is_some(), "{status:#?}");
    let status = world.condition("db", "Protected", "False", "NeverSynced").await;
    assert!(has(&status, "Synced", "True", "InSync"), "{status:#?}");
    assert!(status.recovery_point.is_none());
    // Nothing could be failed over to.
    world.go_to("Destination", "Forced").await;
    let status = world.condition("db", "Synced", "False", "FailoverRefused").await;
    assert!(message(&status, "Synced").contains("first synchronization"), "{status:#?}");
    assert_eq!((status.active_site, status.operations.len()), (Some(Site::Source), 0), "{status:#?}");
    world.go_to("Source", "Planned").await;
    world.edit(disaster_recovery_operator::simulator::model::ebs::DiskGroupEdit {
        status: Some(ReplicaStatus::Normal),
        ..Default::default()
    });
    world.protected().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suspend_stops_all_work_and_holds_deletion() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    let failover = world.new_request(json!({ "mode": "Forced" }));
    world.patch("db", json!({ "spec": { "suspend": true, "activeSite": "Destination", "failover": failover } })).await;
    world.condition("db", "Synced", "Unknown", "Suspended").await;
    world.condition("db", "Protected", "Unknown", "Unknown").await;
    world.cloud.clear_requests();
    world.annotate("db", "disasterrecovery.dev/reconcile-requested-at", "1").await;
    world.delete("db").await;
    world.condition("db", "Synced", "False", "DeletionBlocked").await;
    assert_eq!(world.cloud.requests(), [], "not one call");
    world.patch("db", json!({ "spec": { "suspend": false } })).await;
    world.gone("db").await;
    world.assert_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn retain_keeps_the_group_unchanged() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec_with(json!({ "deletionPolicy": "Retain" }))).await;
    world.cloud.clear_requests();
    world.delete("db").await;
    world.gone("db").await;
    assert_eq!((world.changes(), world.group().status), (vec![], ReplicaStatus::Normal));
    assert_eq!(world.disks().pairs.len(), 2);
    assert!(world.event("db", "Retained").await.contains(&world.group().id));
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_over_group_is_deleted_after_reprotect() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec_with(json!({ "reprotect": "Manual" }))).await;
    world.go_to("Destination", "Forced").await;
    world.condition("db", "Ready", "True", "FailedOver").await;
    world.delete("db").await;
    let status = world.condition("db", "Synced", "False", "DeletionBlocked").await;
    assert!(message(&status, "Synced").contains("reprotect: AfterPlanned"), "{status:#?}");
    assert_eq!(world.group().status, ReplicaStatus::Failovered);
    // The disks of the former site are in the way first.
    world.attach("d-hangzhou-data", true);
    world.overwrite(Site::Source).await;
    let named = |it: &DiskReplicaGroupStatus| message(it, "Synced").contains("detach d-hangzhou-data, d-hangzhou-logs");
    let status = world.status("db", "the disks that are in the way are named", named).await;
    assert!(has(&status, "Synced", "False", "DeletionBlocked"), "{status:#?}");
    world.attach("d-hangzhou-data", false);
    world.gone("db").await;
    world.assert_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_over_group_is_retained_unchanged() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec_with(json!({ "reprotect": "Manual" }))).await;
    world.go_to("Destination", "Forced").await;
    world.condition("db", "Ready", "True", "FailedOver").await;
    world.delete("db").await;
    world.condition("db", "Synced", "False", "DeletionBlocked").await;
    world.patch("db", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    world.gone("db").await;
    assert_eq!(world.group().status, ReplicaStatus::Failovered);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_deletion_names_the_cause_and_continues() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.cloud.set_denied_actions(["DeleteDiskReplicaGroup"]);
    world.delete("db").await;
    let refused = |it: &DiskReplicaGroupStatus| message(it, "Synced").contains("Forbidden.Action");
    let status = world.status("db", "the refusal", refused).await;
    assert!(has(&status, "Synced", "False", "DeletionBlocked"), "{status:#?}");
    world.cloud.add_fault(fault("DeleteDiskReplicaGroup", refusal("OperationDenied.InvalidStatus"), Some(2)));
    world.cloud.set_denied_actions(Vec::<String>::new());
    world.gone("db").await;
    world.assert_nothing();
}
