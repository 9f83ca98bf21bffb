//! External changes are found, reported and corrected.

use disaster_recovery_operator::simulator::model::Rules;
use disaster_recovery_operator::simulator::model::{CheckpointTimes, ItemStatus};
use serde_json::json;

use test_support::stage::plans::{World, one_way};
use test_support::stage::{has, message};

async fn running(rules: Rules) -> (World, test_support::operator::Operator, i64) {
    let world = World::with(rules).await;
    let operator = world.operator().await;
    world.create("orders", one_way(&["orders", "billing"])).await;
    world.ready("orders").await;
    let id = world.assert_one_plan("orders", 2);
    (world, operator, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_plan_is_reported_and_corrected() {
    let (world, _operator, id) = running(Rules { delay_ms: 200, ..Rules::default() }).await;
    world.cloud.with_model(|model, now| model.edit_plan(id, &json!({ "planName": "renamed" }), now)).expect("edited");
    let status =
        world.status("orders", "the drift is shown", |it| it.head.drift.iter().any(|it| it.field == "planName")).await;
    let drift = status.head.drift.iter().find(|it| it.field == "planName").expect("it is shown");
    assert_eq!((drift.wanted.as_str(), drift.found.as_str()), ("orders", "renamed"));
    let status = world
        .status("orders", "it is corrected", |it| it.head.drift.is_empty() && has(it, "Synced", "True", "InSync"))
        .await;
    assert_eq!(world.cloud.plans()[0].plan_name, "orders");
    assert!(has(&status, "Ready", "True", "Available"));
    assert!(world.event("orders", "DriftFound").await.contains("planName"));
    assert!(world.event("orders", "DriftCorrected").await.contains("planName"));
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_and_deleted_items_are_restored() {
    let (world, _operator, id) = running(Rules::default()).await;
    let items: Vec<_> = world.cloud.plans()[0].items.iter().map(|it| it.item_id).collect();
    world
        .cloud
        .with_model(|model, now| {
            model.set_item_status(id, items[0], ItemStatus::ManualStopped, now)?;
            model.remove_item(id, items[1])
        })
        .expect("edited");
    world.event("orders", "DriftFound").await;
    let status =
        world.status("orders", "both run", |it| it.items.as_deref() == Some("2/2") && it.head.drift.is_empty()).await;
    assert_ne!(status.topic_mappings[1].item_id, Some(items[1].to_string()), "it is a new one");
    world.assert_one_plan("orders", 2);
    world.event("orders", "DriftCorrected").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_plan_is_recreated() {
    let (world, _operator, id) = running(Rules::default()).await;
    world.cloud.with_model(|model, _| model.remove_plan(id)).expect("removed");
    let new = world
        .status("orders", "another plan", |it| {
            it.plan_id.as_deref().is_some_and(|it| it != id.to_string()) && has(it, "Synced", "True", "InSync")
        })
        .await;
    assert_eq!(new.plan_id, Some(world.assert_one_plan("orders", 2).to_string()));
    assert!(world.event("orders", "PlanGone").await.contains(&id.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn immutable_difference_is_named_and_nothing_recreated() {
    let (world, _operator, id) = running(Rules::default()).await;
    world.cloud.clear_requests();
    let mut spec = one_way(&["orders", "billing"]);
    spec["planType"] = json!("ACTIVE_ACTIVE");
    spec["autoSyncCheckpoint"] = json!(false);
    spec["instances"][1]["instanceId"] = json!("rmq-cn-ccc");
    world.patch("orders", json!({ "spec": spec })).await;
    let status = world.condition("orders", "Synced", "False", "ImmutableField").await;
    let text = message(&status, "Synced");
    assert!(
        text.contains("planType (ACTIVE_PASSIVE → ACTIVE_ACTIVE)") && text.contains("instances[shanghai]"),
        "{text}"
    );
    assert!(has(&status, "Stalled", "True", "ImmutableField"));
    assert_eq!(status.plan_id, Some(id.to_string()));
    assert_eq!(world.changes(), Vec::<String>::new());
    world.patch("orders", json!({ "spec": one_way(&["orders", "billing"]) })).await;
    world.ready("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exceeded_and_met_objective_are_reported() {
    let (world, _operator, _) = running(Rules { sync_interval_ms: 200, ..Rules::default() }).await;
    world.condition("orders", "Protected", "True", "WithinObjective").await;
    let now = world.cloud.now_ms();
    let checkpoint = world.cloud.plans()[0].items[0].checkpoints[0].checkpoint_id;
    let late = CheckpointTimes {
        last_sync_time: Some(now - 400_000),
        source_time: Some(now),
        target_time: Some(now - 400_000),
    };
    world.cloud.with_model(|model, _| model.set_checkpoint(checkpoint, late)).expect("set");
    let status = world.condition("orders", "Protected", "False", "ObjectiveExceeded").await;
    let sum = status.checkpoints.expect("checkpoints");
    assert_eq!((sum.summary.behind, sum.summary.max_lag_seconds, sum.worst.len()), (1, Some(400), 1));
    assert!(world.event("orders", "ObjectiveExceeded").await.contains("more than 5m behind"));
    let near = CheckpointTimes { last_sync_time: Some(now), source_time: Some(now), target_time: Some(now) };
    world.cloud.with_model(|model, _| model.set_checkpoint(checkpoint, near)).expect("set");
    world.condition("orders", "Protected", "True", "WithinObjective").await;
    world.event("orders", "ObjectiveMet").await;
}
