//! External changes are found, reported and corrected.

use std::collections::BTreeSet;
use std::time::Duration;

use disaster_recovery_operator::api::plan::DisasterRecoveryPlanStatus;
use disaster_recovery_operator::simulator::model::Rules;
use disaster_recovery_operator::simulator::model::{CheckpointTimes, ItemStatus};
use disaster_recovery_operator::simulator::{Fault, FaultKind};
use serde_json::json;

use test_support::stage::plans::{World, one_way};
use test_support::stage::{has, message};

/// A cloud that changes plans while items run.
fn changeable() -> Rules {
    Rules { update_while_running: true, ..Rules::default() }
}

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
    let (world, _operator, id) = running(Rules { delay_ms: 200, ..changeable() }).await;
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
async fn lost_mark_waits_until_no_item_runs() {
    let (world, _operator, id) = running(Rules::default()).await;
    let removed = json!({ "planDesc": "Orders, Hangzhou to Shanghai" });
    world.cloud.with_model(|model, now| model.edit_plan(id, &removed, now)).expect("edited");
    let status = world.condition("orders", "Synced", "False", "UpdateWaits").await;
    let text = message(&status, "Synced");
    assert!(text.contains("replication continues") && text.contains("updatePolicy: PauseItems"), "{text}");
    assert!(
        has(&status, "Ready", "True", "Available") && !has(&status, "Stalled", "True", "UpdateWaits"),
        "{status:?}"
    );
    assert_eq!(status.head.drift.iter().map(|it| it.field.as_str()).collect::<Vec<_>>(), ["planDesc"]);
    assert_eq!(status.plan_id, Some(id.to_string()), "it stays bound");
    let stops = world.changes().into_iter().filter(|it| it == "StopDisasterRecoveryItem").count();
    assert_eq!(stops, 0, "no item is stopped for it");
    let mut spec = one_way(&["orders", "billing"]);
    spec["topicMappings"].as_array_mut().expect("mappings").iter_mut().for_each(|it| it["state"] = json!("Stopped"));
    world.patch("orders", json!({ "spec": spec })).await;
    world.condition("orders", "Synced", "True", "InSync").await;
    world.assert_one_plan("orders", 2);
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

/// Reads of plans do not show this one for a time.
fn hide(world: &World, id: i64, ms: u32) {
    for action in ["GetDisasterRecoveryPlan", "ListDisasterRecoveryPlans"] {
        let gap = FaultKind::Gap { ids: vec![id.to_string()], counted: false };
        world.cloud.add_fault(Fault::new(gap).of_action(action).lasting_ms(ms));
    }
}

/// Waits until `Synced` names the plan as missing.
async fn missing(world: &World, id: i64) -> DisasterRecoveryPlanStatus {
    let text = format!("plan {id} is not found since ");
    let says = move |it: &DisasterRecoveryPlanStatus| message(it, "Synced").contains(&text);
    world.status("orders", "the plan is missing", says).await
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_missing_for_a_time_is_not_recreated() {
    let (mut world, operator, id) = running(Rules::default()).await;
    operator.stop().await;
    world.settings.visibility_window = Duration::from_secs(30);
    let operator = world.operator().await;
    world.cloud.clear_requests();
    hide(&world, id, 3_000);
    let status = missing(&world, id).await;
    assert!(message(&status, "Synced").contains("it counts as deleted when every read until "), "{status:?}");
    assert!(has(&status, "Synced", "False", "Progressing"), "{status:?}");
    assert!(has(&status, "Ready", "Unknown", "NotReady"), "{status:?}");
    assert!(has(&status, "Protected", "Unknown", "Unknown"), "{status:?}");
    assert!(has(&status, "OffsetsCovered", "Unknown", "Unknown"), "{status:?}");
    assert!(status.missing_since.is_some() && status.plan_id == Some(id.to_string()), "{status:?}");
    assert!(world.events("orders").await.iter().all(|it| it.0 != "PlanGone"), "it is not known to be gone");
    let status = world.ready("orders").await;
    assert_eq!((status.plan_id, status.missing_since), (Some(id.to_string()), None));
    assert_eq!(world.changes(), Vec::<String>::new());
    assert_eq!(world.assert_one_plan("orders", 2), id);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_waits_while_the_plan_is_missing() {
    let (mut world, operator, id) = running(Rules::default()).await;
    operator.stop().await;
    world.settings.visibility_window = Duration::from_secs(30);
    let _operator = world.operator().await;
    hide(&world, id, 3_000);
    missing(&world, id).await;
    world.delete("orders").await;
    let deleting = |it: &DisasterRecoveryPlanStatus| has(it, "Ready", "False", "Deleting");
    let status = world.status("orders", "the deletion is seen", deleting).await;
    let text = message(&status, "Synced");
    assert!(text.contains(&format!("plan {id} is not found since ")), "{text}");
    world.gone("orders").await;
    assert_eq!(world.cloud.plans(), [], "no plan is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn item_missing_for_a_time_is_not_added() {
    let (mut world, operator, id) = running(Rules { sync_interval_ms: 100, ..Rules::default() }).await;
    world.condition("orders", "OffsetsCovered", "True", "AllGroups").await;
    operator.stop().await;
    world.settings.visibility_window = Duration::from_secs(30);
    let _operator = world.operator().await;
    world.cloud.clear_requests();
    let item = world.cloud.plans()[0].items[1].item_id;
    let gap = FaultKind::Gap { ids: vec![item.to_string()], counted: false };
    world.cloud.add_fault(Fault::new(gap).of_action("ListDisasterRecoveryItems").lasting_ms(3_000));
    let text = format!("item {item} of topic mapping billing is not found since ");
    let says = move |it: &DisasterRecoveryPlanStatus| message(it, "Synced").contains(&text);
    let status = world.status("orders", "the item is missing", says).await;
    assert!(has(&status, "Synced", "False", "Progressing"), "{status:?}");
    for condition in ["Protected", "OffsetsCovered"] {
        assert!(has(&status, condition, "Unknown", "Unknown"), "{status:?}");
        assert!(message(&status, condition).contains("billing"), "{condition} names the mapping: {status:?}");
    }
    world.ready("orders").await;
    assert_eq!(world.changes(), Vec::<String>::new());
    assert_eq!(world.assert_one_plan("orders", 2), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn immutable_difference_is_named_and_nothing_recreated() {
    let (world, _operator, id) = running(changeable()).await;
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
    world.patch("orders", json!({ "spec": one_way(&["orders", "billing"]) })).await;
    world.ready("orders").await;
    let changes: BTreeSet<_> = world.changes().into_iter().collect();
    assert_eq!(changes, ["UpdateDisasterRecoveryPlan".to_owned()].into(), "of autoSyncCheckpoint alone");
    assert_eq!(world.assert_one_plan("orders", 2), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn immutable_difference_stops_no_other_change() {
    let (world, _operator, id) = running(changeable()).await;
    let mut spec = one_way(&["orders", "billing", "returns"]);
    spec["planType"] = json!("ACTIVE_ACTIVE");
    spec["autoSyncCheckpoint"] = json!(false);
    spec["planDesc"] = json!("changed");
    spec["topicMappings"][0]["state"] = json!("Stopped");
    world.patch("orders", json!({ "spec": spec })).await;
    let changed = |it: &DisasterRecoveryPlanStatus| {
        has(it, "Synced", "False", "ImmutableField") && it.items.as_deref() == Some("2/3")
    };
    let status = world.status("orders", "the items are changed", changed).await;
    assert!(has(&status, "Protected", "False", "ReplicationStopped"), "{status:?}");
    assert_eq!(world.assert_one_plan("orders", 3), id);
    let plan = &world.cloud.plans()[0];
    assert!(plan.plan_desc.as_deref().is_some_and(|it| it.starts_with("changed [drp ")), "{plan:?}");
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
    world.request_reconcile("orders").await;
    let status = world.condition("orders", "Protected", "False", "ObjectiveExceeded").await;
    let sum = status.checkpoints.expect("checkpoints");
    assert_eq!((sum.summary.behind, sum.worst.len()), (1, 1));
    // It is counted until the sample, and rounded up.
    assert!(sum.summary.max_lag_seconds.is_some_and(|it| (400..=420).contains(&it)), "{sum:?}");
    assert!(world.event("orders", "ObjectiveExceeded").await.contains("more than 5m behind"));
    let near = CheckpointTimes { last_sync_time: Some(now), source_time: Some(now), target_time: Some(now) };
    world.cloud.with_model(|model, _| model.set_checkpoint(checkpoint, near)).expect("set");
    world.request_reconcile("orders").await;
    world.condition("orders", "Protected", "True", "WithinObjective").await;
    world.event("orders", "ObjectiveMet").await;
}
