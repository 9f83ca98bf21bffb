//! A cloud that is slow, busy, or loses answers.

use std::collections::{BTreeMap, BTreeSet};

use disaster_recovery_operator::api::disk_replica_group::{DiskReplicaGroupStatus, Site};
use disaster_recovery_operator::simulator::{Fault, FaultKind};
use serde_json::json;

use super::{Groups, fault, refusal, spec};
use test_support::stage::{has, message};

const NAMES: &[&str] = &["data", "logs"];

/// By region, operation and subject: the client tokens of the calls that had an effect.
pub(super) fn tokens(world: &Groups) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for request in world.cloud.requests().into_iter().filter(|it| it.changing && it.status == 200) {
        let value = |key: &str| request.query.iter().find(|it| it.0 == key).map(|it| it.1.clone());
        let about =
            ["DiskId", "ReplicaPairId", "OneShot", "ReverseReplicate", "DrillId"].iter().find_map(|key| value(key));
        let key = [Some(request.action.clone()), about].into_iter().flatten().collect::<Vec<_>>().join("/");
        all.entry(key).or_default().extend(value("ClientToken"));
    }
    all
}

/// Each logical change has one token.
fn assert_once(world: &Groups) {
    let tokens = tokens(world);
    assert!(tokens.values().all(|it| it.len() == 1), "{tokens:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn call_in_progress_is_retried_with_its_token() {
    let world = Groups::quick().await;
    for action in ["CreateDiskReplicaGroup", "StartDiskReplicaGroup", "FailoverDiskReplicaGroup"] {
        world.cloud.add_fault(fault(action, refusal("LastTokenProcessing"), Some(2)));
    }
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.force(Site::Destination).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
    let of = |action: &str| {
        let all = world.cloud.requests().into_iter().filter(|it| it.action == action);
        let token = |query: Vec<(String, String)>| query.into_iter().find(|it| it.0 == "ClientToken").map(|it| it.1);
        all.map(|it| token(it.query)).collect::<Vec<_>>()
    };
    for action in ["CreateDiskReplicaGroup", "FailoverDiskReplicaGroup"] {
        let all = of(action);
        assert_eq!(all.len(), 3, "{action}: {all:?}");
        assert!(all.iter().all(|it| *it == all[0] && it.is_some()), "{action}: {all:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_is_reported_and_waited_for() {
    let world = Groups::quick().await;
    let throttle = || FaultKind::Throttle { retry_after_ms: Some(300) };
    world.cloud.add_fault(fault("CreateDiskReplicaGroup", throttle(), Some(2)));
    let _operator = world.operator().await;
    world.create("db", spec()).await;
    world.condition("db", "Synced", "Unknown", "Throttled").await;
    world.protected().await;
    world.cloud.add_fault(fault("FailoverDiskReplicaGroup", throttle(), Some(2)));
    world.go_to("Destination", "Forced").await;
    let throttled = |it: &DiskReplicaGroupStatus| has(it, "Synced", "Unknown", "Throttled");
    world.status("db", "the failover is throttled", throttled).await;
    world.overwrite(Site::Source).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answer_repeats_no_change() {
    let late =
        FaultKind::ErrorAfter { status: 504, code: "RequestTimeout".into(), message: "late".into(), pascal_case: true };
    let kinds = [FaultKind::ReplyLost, FaultKind::Lost, late, FaultKind::Garbage, FaultKind::Html { status: 200 }];
    let life = async |kind: FaultKind| {
        let world = Groups::quick().await;
        let all = ["CreateDiskReplicaGroup", "CreateDiskReplicaPair", "AddDiskReplicaPair", "StartDiskReplicaGroup"];
        let more = ["StopDiskReplicaGroup", "FailoverDiskReplicaGroup", "ReprotectDiskReplicaGroup"];
        // More often than the client retries, so that a later reconcile has to repeat it.
        for action in all.into_iter().chain(more) {
            world.cloud.add_fault(fault(action, kind.clone(), Some(4)));
        }
        let operator = world.operator().await;
        world.create_protected(spec()).await;
        world.plan("Destination").await;
        world.resume_points().await;
        let status = world.protected().await;
        world.assert_one(&status, Site::Destination, NAMES);
        assert_eq!(status.operations.len(), 2, "{kind:?}: {status:#?}");
        // The start is repeated once replication is reversed.
        let tokens = tokens(&world);
        for (call, tokens) in tokens {
            let most = if call == "StartDiskReplicaGroup/false" { 2 } else { 1 };
            assert!(tokens.len() <= most, "{kind:?}: {call}: {tokens:?}");
        }
        operator.stop().await;
    };
    futures::future::join_all(kinds.into_iter().map(life)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outage_is_unknown_and_stale_points_never_protect() {
    let world = Groups::quick().await;
    let operator = world.operator().await;
    world.create_protected(spec()).await;
    world.cloud.clear_requests();
    world.cloud.add_fault(Fault::new(FaultKind::Lost));
    world.condition("db", "Synced", "Unknown", "CloudUnavailable").await;
    let status = world.condition("db", "Protected", "Unknown", "Unknown").await;
    assert!(has(&status, "Ready", "Unknown", "NotReady") && status.replica_group_id.is_some(), "{status:#?}");
    let age = format!("disk_group_recovery_point_age_seconds{{namespace=\"{}\"", world.namespace);
    assert!(!operator.metrics.text().contains(&age), "what is old is not exported");
    world.cloud.clear_faults();
    world.protected().await;
    assert_eq!(world.changes(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn terminal_problems_report_the_cloud_message() {
    let world = Groups::quick().await;
    world.cloud.set_denied_actions(["CreateDiskReplicaGroup"]);
    let _operator = world.operator().await;
    world.create("db", spec()).await;
    let status = world.condition("db", "Synced", "False", "AccessDenied").await;
    assert!(message(&status, "Synced").contains("Forbidden.Action"), "{status:#?}");
    world.cloud.set_denied_actions(Vec::<String>::new());
    let limit = refusal("OperationDenied.PairsExceedInGroup");
    world.cloud.add_fault(fault("AddDiskReplicaPair", limit, Some(8)));
    let status = world.condition("db", "Synced", "False", "InvalidSpec").await;
    assert!(message(&status, "Synced").contains("PairsExceedInGroup"), "{status:#?}");
    world.cloud.clear_faults();
    world.protected().await;
    world.patch("db", json!({ "spec": { "suspend": false } })).await;
    assert_once(&world);
}
