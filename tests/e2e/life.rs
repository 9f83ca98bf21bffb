//! The main job: an object becomes a plan, follows its spec, and goes.

use disaster_recovery_operator::api::{PLAN_ID_ANNOTATION, SYNC_CHECKPOINTS_ANNOTATION};
use disaster_recovery_operator::simulator::model::Rules;
use disaster_recovery_operator::simulator::{Fault, FaultKind};
use kube::ResourceExt;
use serde_json::json;

use test_support::eventually;
use test_support::stage::plans::{World, external, mapping, one_way};
use test_support::stage::{DEADLINE, has, message};

#[tokio::test(flavor = "multi_thread")]
async fn object_creates_plan_and_reports_checkpoints() {
    let world = World::with(Rules { delay_ms: 200, sync_interval_ms: 200, ..Rules::default() }).await;
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders", "billing"])).await;
    let status = world.ready("orders").await;
    let plan_id = world.assert_one_plan("orders", 2).to_string();
    assert_eq!(status.plan_id.as_deref(), Some(plan_id.as_str()));
    assert_eq!(status.plan_status.as_deref(), Some("RUNNING"));
    assert_eq!(status.items.as_deref(), Some("2/2"));
    let object = world.get("orders").await.expect("it is there");
    assert_eq!(object.annotations().get(PLAN_ID_ANNOTATION), Some(&plan_id));

    let status = world.condition("orders", "Protected", "True", "WithinObjective").await;
    assert!(has(&status, "OffsetsCovered", "True", "AllGroups"));
    let sum = status.checkpoints.expect("checkpoints");
    assert_eq!((sum.summary.total, sum.summary.never_synced, sum.summary.behind), (4, 0, 0));
    assert!(sum.last_sync_time.is_some());
    let each = status.topic_mappings.iter().map(|it| it.checkpoints.as_ref().expect("its own").total);
    assert_eq!(each.collect::<Vec<_>>(), [2, 2]);
    let plan = &world.cloud.plans()[0];
    assert!(
        plan.plan_desc.as_deref().is_some_and(|it| it.starts_with("Orders, Hangzhou to Shanghai [drp ")),
        "{plan:?}"
    );
    assert_eq!(world.event("orders", "Created").await, format!("created plan {plan_id}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_changed_fields_are_updated() {
    let world = World::with(Rules { update_while_running: true, ..Rules::default() }).await;
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders", "billing"])).await;
    world.ready("orders").await;
    world.cloud.clear_requests();

    let mut spec = one_way(&["orders", "returns"]);
    spec["planDesc"] = json!("another text");
    spec["topicMappings"][0]["topics"][1]["deliveryOrderType"] = json!("Concurrently");
    spec["itemPolicy"] = json!("Prune");
    world.patch("orders", json!({ "spec": spec })).await;
    world.ready("orders").await;
    world.assert_one_plan("orders", 2);
    let plan = &world.cloud.plans()[0];
    assert!(plan.plan_desc.as_deref().is_some_and(|it| it.starts_with("another text [drp ")));
    let mut changes = world.changes();
    changes.sort();
    let expected = ["AddDisasterRecoveryItem", "DeleteDisasterRecoveryItem", "StopDisasterRecoveryItem"];
    let expected = expected.iter().chain(&["UpdateDisasterRecoveryItem", "UpdateDisasterRecoveryPlan"]);
    assert_eq!(changes, expected.copied().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn mapping_stops_starts_and_stays_when_dropped() {
    let world = World::new().await;
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders", "billing"])).await;
    world.ready("orders").await;

    let mut spec = one_way(&["orders", "billing"]);
    spec["topicMappings"][1]["state"] = json!("Stopped");
    world.patch("orders", json!({ "spec": spec })).await;
    let status = world.ready("orders").await;
    assert_eq!(status.topic_mappings[1].item_status.as_deref(), Some("MANUAL_STOPPED"));
    assert_eq!(status.items.as_deref(), Some("1/2"));
    assert!(has(&status, "Protected", "False", "ReplicationStopped"), "{status:?}");

    spec["topicMappings"][0]["state"] = json!("Stopped");
    world.patch("orders", json!({ "spec": spec })).await;
    world.condition("orders", "Ready", "True", "Stopped").await;

    world.patch("orders", json!({ "spec": { "topicMappings": [mapping("orders", "shanghai")] } })).await;
    let status = world.ready("orders").await;
    assert_eq!(status.topic_mappings.len(), 1);
    world.assert_one_plan("orders", 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn change_waits_while_items_run() {
    let world = World::new().await;
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    world.ready("orders").await;
    world.cloud.clear_requests();
    world.patch("orders", json!({ "spec": { "planDesc": "new" } })).await;
    let status = world.condition("orders", "Synced", "False", "UpdateWaits").await;
    let text = message(&status, "Synced");
    assert!(text.contains("replication continues") && text.contains("set updatePolicy: PauseItems"), "{text}");
    assert!(has(&status, "Stalled", "True", "UpdateWaits") && has(&status, "Ready", "False", "NotReady"), "{status:?}");
    assert_eq!(status.items.as_deref(), Some("1/1"));
    assert_eq!(world.changes(), ["UpdateDisasterRecoveryPlan"], "the API is asked once in five minutes");
    world.patch("orders", json!({ "spec": { "updatePolicy": "PauseItems" } })).await;
    world.ready("orders").await;
    assert!(world.cloud.plans()[0].plan_desc.as_deref().is_some_and(|it| it.starts_with("new [drp ")));
    let status = world.get("orders").await.and_then(|it| it.status).expect("a status");
    assert!(status.pending_updates.is_empty() && status.paused_items.is_empty(), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn running_plan_is_paused_for_a_change() {
    let world = World::with(Rules { delay_ms: 150, ..Rules::default() }).await;
    let _operator = world.operator().await;
    let mut spec = one_way(&["orders", "billing"]);
    spec["updatePolicy"] = json!("PauseItems");
    world.create("orders", spec).await;
    world.ready("orders").await;
    let mut spec = one_way(&["orders", "billing"]);
    spec["topicMappings"][1]["state"] = json!("Stopped");
    world.patch("orders", json!({ "spec": spec })).await;
    world.ready("orders").await;

    world.patch("orders", json!({ "spec": { "planDesc": "new" } })).await;
    let status = world.ready("orders").await;
    assert!(status.paused_items.is_empty());
    let statuses: Vec<_> = status.topic_mappings.iter().map(|it| it.item_status.clone().unwrap_or_default()).collect();
    assert_eq!(statuses, ["RUNNING", "MANUAL_STOPPED"], "each is as the spec says again");
    assert!(world.cloud.plans()[0].plan_desc.as_deref().is_some_and(|it| it.starts_with("new [drp ")));
    world.event("orders", "ItemsPaused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_item_is_stopped_for_a_change() {
    let world = World::with(Rules { delay_ms: 100, ..Rules::default() }).await;
    let _operator = world.operator().await;
    let mut spec = one_way(&["orders", "billing"]);
    spec["updatePolicy"] = json!("PauseItems");
    world.create("orders", spec).await;
    world.ready("orders").await;
    let code = "DisasterRecoveryItemStatus.Error".into();
    let kind = FaultKind::Error { status: 400, code, message: "it runs".into(), pascal_case: false };
    world.cloud.add_fault(Fault::new(kind).of_action("UpdateDisasterRecoveryItem").times(1));
    world.cloud.clear_requests();
    let mut spec = one_way(&["orders", "billing"]);
    spec["topicMappings"][0]["topics"][1]["topicName"] = json!("orders-copy");
    world.patch("orders", json!({ "spec": spec })).await;
    let status = world.ready("orders").await;
    assert!(status.paused_items.is_empty());
    let item = |verb: &str| format!("{verb}DisasterRecoveryItem");
    assert_eq!(world.changes(), ["Update", "Stop", "Update", "Start"].map(item), "and the other one runs on");
    world.assert_one_plan("orders", 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_leaves_nothing_in_the_cloud() {
    let world = World::with(Rules { delay_ms: 150, ..Rules::default() }).await;
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders", "billing"])).await;
    world.ready("orders").await;
    world.delete("orders").await;
    world.gone("orders").await;
    assert_eq!(world.cloud.plans(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn retain_removes_the_owner_mark_only() {
    let world = World::with(Rules { delay_ms: 100, ..Rules::default() }).await;
    let operator = world.operator().await;
    let mut spec = one_way(&["orders", "billing"]);
    spec["deletionPolicy"] = json!("Retain");
    spec["updatePolicy"] = json!("PauseItems");
    spec["topicMappings"][1]["state"] = json!("Stopped");
    world.create("orders", spec).await;
    world.ready("orders").await;
    let before = world.cloud.plans();
    world.delete("orders").await;
    world.gone("orders").await;
    operator.stop().await;
    let after = world.cloud.plans();
    assert_eq!(after.len(), 1);
    assert_eq!(after[0].plan_desc.as_deref(), Some("Orders, Hangzhou to Shanghai"));
    let statuses = |plans: &[disaster_recovery_operator::simulator::model::PlanView]| {
        plans[0].items.iter().map(|it| it.item_status).collect::<Vec<_>>()
    };
    assert_eq!(statuses(&after), statuses(&before), "what ran runs, what was stopped is stopped");
    assert_eq!((after[0].plan_id, &after[0].instances), (before[0].plan_id, &before[0].instances));
}

#[tokio::test(flavor = "multi_thread")]
async fn retain_leaves_a_mark_that_cannot_go() {
    let world = World::new().await;
    let _operator = world.operator().await;
    let mut spec = one_way(&["orders"]);
    spec["deletionPolicy"] = json!("Retain");
    world.create("orders", spec).await;
    world.ready("orders").await;
    world.cloud.clear_requests();
    world.delete("orders").await;
    world.gone("orders").await;
    world.assert_one_plan("orders", 1);
    assert_eq!(world.changes(), ["UpdateDisasterRecoveryPlan"], "no item is stopped");
    let note = world.event("orders", "Retained").await;
    assert!(note.contains("was kept with its owner mark"), "{note}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_checkpoint_is_synchronized_once_when_asked() {
    let world = World::with(Rules { sync_interval_ms: 3_600_000, ..Rules::default() }).await;
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders", "billing"])).await;
    world.condition("orders", "Protected", "False", "NeverSynced").await;
    world.condition("orders", "OffsetsCovered", "False", "GroupsNotSynced").await;
    for topic in ["orders", "billing"] {
        // Each mapping is read by itself.
        let named = |it: &_| message(it, "OffsetsCovered").contains(&format!("GID_ORDERS of topic {topic}"));
        world.status("orders", "the groups of both topics are named", named).await;
    }
    world.annotate("orders", SYNC_CHECKPOINTS_ANNOTATION, "now").await;
    world.condition("orders", "Protected", "True", "WithinObjective").await;
    assert_eq!(world.event("orders", "CheckpointsSynced").await, "synchronized all 4 checkpoints");
    let syncs = world.changes().into_iter().filter(|it| it == "SyncDisasterRecoveryCheckpoint").count();
    assert_eq!(syncs, 4, "each once");
    world
        .status("orders", "the request is marked as handled", |it| {
            it.last_handled_sync_checkpoints_at.as_deref() == Some("now")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_way_plan_reads_checkpoints_of_both_directions() {
    let world = World::with(Rules { sync_interval_ms: 100, ..Rules::default() }).await;
    let _operator = world.operator().await;
    let mut spec = one_way(&["orders"]);
    spec["planType"] = json!("ACTIVE_ACTIVE");
    spec["autoSyncCheckpoint"] = json!(false);
    world.create("orders", spec).await;
    let status = world.condition("orders", "OffsetsCovered", "False", "GroupsNotSynced").await;
    assert_eq!(status.checkpoints.expect("checkpoints").summary.total, 4, "two groups, two directions");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_checkpoints_on_many_pages_are_all_counted() {
    let consumer_groups = (0..230).map(|i| format!("GID_{i:03}")).collect();
    let world = World::with(Rules { consumer_groups, sync_interval_ms: 100, ..Rules::default() }).await;
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    let status = world.condition("orders", "Protected", "True", "WithinObjective").await;
    assert_eq!(status.checkpoints.expect("checkpoints").summary.total, 230);
}

#[tokio::test(flavor = "multi_thread")]
async fn suspend_stops_all_work_and_holds_deletion() {
    let world = World::new().await;
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    world.ready("orders").await;
    world.patch("orders", json!({ "spec": { "suspend": true, "planDesc": "new" } })).await;
    world.condition("orders", "Synced", "Unknown", "Suspended").await;
    world.condition("orders", "Protected", "Unknown", "Unknown").await;
    world.cloud.clear_requests();
    world.annotate("orders", "disasterrecovery.dev/reconcile-requested-at", "1").await;
    world.delete("orders").await;
    world.condition("orders", "Synced", "False", "DeletionBlocked").await;
    assert_eq!(world.cloud.requests(), [], "not one call");
    world.patch("orders", json!({ "spec": { "suspend": false } })).await;
    world.gone("orders").await;
    assert_eq!(world.cloud.plans(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn reconcile_request_is_acknowledged_with_its_value() {
    let mut world = World::new().await;
    world.settings.poll_interval = std::time::Duration::from_secs(3600);
    let _operator = world.operator().await;
    world.create("orders", external(&["orders"])).await;
    world.ready("orders").await;
    world.cloud.clear_requests();
    world.annotate("orders", "disasterrecovery.dev/reconcile-requested-at", "2026-11-22T12:00:00Z").await;
    let status = world
        .status("orders", "the answer", |it| {
            it.head.last_handled_reconcile_at.as_deref() == Some("2026-11-22T12:00:00Z")
        })
        .await;
    assert!(has(&status, "Synced", "True", "InSync"));
    assert!(!world.cloud.requests().is_empty() && world.changes().is_empty(), "it looked and changed nothing");
    eventually(DEADLINE, "metrics show the plan", async || {
        _operator.metrics.text().contains("name=\"orders\",type=\"Ready\",status=\"True\"").then_some(())
    })
    .await;
}
