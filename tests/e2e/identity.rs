//! Whose plan it is: adoption, conflicts, two clusters, and observing only.

use disaster_recovery_operator::api::PLAN_ID_ANNOTATION;
use disaster_recovery_operator::simulator::model::Rules;
use disaster_recovery_operator::simulator::model::{ForeignPlan, PlanInput};
use kube::ResourceExt;
use serde_json::json;

use test_support::stage::plans::{World, one_way};
use test_support::stage::{has, message};

/// A plan created in the console, like that of `one_way(topics)`.
pub(crate) fn foreign(world: &World, name: &str, desc: &str, topics: &[&str]) -> i64 {
    let input = json!({
        "planName": name, "planDesc": desc, "planType": "ACTIVE_PASSIVE",
        "syncCheckpointEnabled": true, "autoSyncCheckpoint": true,
        "instances": [
            { "instanceType": "ALIYUN_ROCKETMQ", "instanceRole": "ACTIVE", "regionId": "cn-hangzhou", "instanceId": "rmq-cn-aaa" },
            { "instanceType": "ALIYUN_ROCKETMQ", "instanceRole": "PASSIVE", "regionId": "cn-shanghai", "instanceId": "rmq-cn-bbb" },
        ],
    });
    let plan: PlanInput = serde_json::from_value(input).expect("a plan");
    let side = |instance: &str, topic: &str| json!({ "instanceId": instance, "topicName": topic });
    let item = |topic: &&str| json!({ "topics": [side("rmq-cn-aaa", topic), side("rmq-cn-bbb", topic)] });
    let items = topics.iter().map(item).map(|it| serde_json::from_value(it).expect("an item")).collect();
    let foreign = ForeignPlan { region_id: None, plan, items };
    world.cloud.with_model(|model, now| model.add_foreign_plan("cn-hangzhou", foreign, now)).expect("a foreign plan")
}

#[tokio::test(flavor = "multi_thread")]
async fn name_conflict_ends_when_plan_id_adopts() {
    let world = World::with(Rules { update_while_running: true, ..Rules::default() }).await;
    let id = foreign(&world, "orders", "made by hand", &["orders", "other"]);
    let _operator = world.operator().await;
    let mut spec = one_way(&["orders"]);
    spec.as_object_mut().expect("an object").remove("planDesc");
    world.create("orders", spec).await;
    let status = world.condition("orders", "Synced", "False", "NameConflict").await;
    assert!(message(&status, "Synced").contains(&format!("spec.planId: \"{id}\"")), "{}", message(&status, "Synced"));
    assert!(has(&status, "Stalled", "True", "NameConflict") && has(&status, "Ready", "False", "NotReady"));
    assert_eq!((world.changes(), status.plan_id), (vec![], None), "nothing touched");

    world.patch("orders", json!({ "spec": { "planId": id.to_string() } })).await;
    world.ready("orders").await;
    let plan = &world.cloud.plans()[0];
    assert!(plan.plan_desc.as_deref().is_some_and(|it| it.starts_with("made by hand [drp ")), "{plan:?}");
    assert_eq!(plan.items.len(), 2, "taking over deletes nothing");
    world.event("orders", "Adopted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adoption_names_unowned_items_to_stop() {
    let world = World::new().await;
    let id = foreign(&world, "orders", "", &["orders", "other"]);
    let _operator = world.operator().await;
    let mut spec = one_way(&["orders"]);
    spec["planId"] = json!(id.to_string());
    world.create("orders", spec).await;
    let status = world.status("orders", "a person has to act", |it| has(it, "Stalled", "True", "ItemsRunning")).await;
    assert!(message(&status, "Synced").contains("are not in topicMappings"), "{}", message(&status, "Synced"));
    let stops = world.changes().iter().filter(|it| it.as_str() == "StopDisasterRecoveryItem").count();
    assert_eq!(stops, 0, "nothing is stopped in vain");
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_of_another_cluster_stays_unchanged() {
    let world = World::new().await;
    let desc = format!("x [drp ffffffff/{}/orders]", world.namespace);
    foreign(&world, "orders", &desc, &["orders", "other"]);
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    let status = world.condition("orders", "Synced", "False", "OwnedByAnother").await;
    assert!(message(&status, "Synced").contains("ffffffff/"), "{status:?}");
    world.delete("orders").await;
    world.gone("orders").await;
    assert_eq!(world.changes(), Vec::<String>::new());
    assert_eq!(world.cloud.plans()[0].plan_desc.as_deref(), Some(desc.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_do_not_fight_over_one_plan() {
    let mut world = World::new().await;
    world.settings.cluster_id = Some("one".into());
    let first = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    world.ready("orders").await;
    first.stop().await;
    // The same object as another cluster's operator sees it, status included.
    world.settings.cluster_id = Some("two".into());
    world.cloud.clear_requests();
    let _second = world.operator().await;
    world.condition("orders", "Synced", "False", "OwnedByAnother").await;
    assert_eq!(world.changes(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_plan_id_creates_nothing() {
    let world = World::new().await;
    let _operator = world.operator().await;
    let mut spec = one_way(&["orders"]);
    spec["planId"] = json!("4711");
    world.create("orders", spec).await;
    world.condition("orders", "Synced", "False", "PlanNotFound").await;
    assert_eq!((world.changes(), world.cloud.plans()), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn annotation_finds_plan_without_status() {
    let world = World::new().await;
    let operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    let id = world.ready("orders").await.plan_id.expect("a plan");
    operator.stop().await;
    // A backup that drops status, restored: a new object with the annotation.
    let object = world.get("orders").await.expect("it is there");
    world.patch("orders", json!({ "metadata": { "finalizers": [] } })).await;
    world.delete("orders").await;
    world.gone("orders").await;
    let mut restored = one_way(&["orders"]);
    restored["planName"] = json!("orders");
    world.create("orders", restored).await;
    world.annotate("orders", PLAN_ID_ANNOTATION, &object.annotations()[PLAN_ID_ANNOTATION]).await;
    world.cloud.clear_requests();
    let _operator = world.operator().await;
    assert_eq!(world.ready("orders").await.plan_id, Some(id));
    assert_eq!(world.changes(), Vec::<String>::new());
    let lists = world.cloud.requests().into_iter().filter(|it| it.action == "ListDisasterRecoveryPlans").count();
    assert_eq!(lists, 0, "it was found by its ID");
}

#[tokio::test(flavor = "multi_thread")]
async fn observe_mode_changes_nothing() {
    let world = World::new().await;
    let id = foreign(&world, "by-hand", "made by hand", &["orders", "other"]);
    let _operator = world.operator().await;
    let mut spec = one_way(&["orders"]);
    spec["planId"] = json!(id.to_string());
    spec["planName"] = json!("by-hand");
    spec["managementPolicy"] = json!("Observe");
    spec["planDesc"] = json!("something else");
    world.create("orders", spec).await;
    let status = world.condition("orders", "Synced", "False", "ObserveOnly").await;
    assert!(status.head.drift.iter().any(|it| it.field == "planDesc"), "{status:?}");
    assert_eq!(status.plan_id, Some(id.to_string()));
    let object = world.get("orders").await.expect("it is there");
    assert!(object.finalizers().is_empty() && object.annotations().is_empty());
    world.annotate("orders", "disasterrecovery.dev/sync-checkpoints-requested-at", "1").await;
    world.event("orders", "CheckpointsNotSynced").await;
    world.delete("orders").await;
    world.gone("orders").await;
    assert_eq!(world.changes(), Vec::<String>::new());
}
