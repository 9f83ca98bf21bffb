//! Whose plan it is: adoption, conflicts, two clusters, and observing only.

use std::collections::BTreeSet;

use disaster_recovery_operator::api::PLAN_ID_ANNOTATION;
use disaster_recovery_operator::api::plan::DisasterRecoveryPlanStatus;
use disaster_recovery_operator::simulator::model::Rules;
use disaster_recovery_operator::simulator::model::{ForeignPlan, PlanInput};
use disaster_recovery_operator::simulator::{Fault, FaultKind};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use test_support::eventually;
use test_support::stage::plans::{World, one_way};
use test_support::stage::{DEADLINE, has, message};

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
async fn adoption_waits_while_unowned_items_run() {
    let world = World::new().await;
    let id = foreign(&world, "orders", "", &["orders", "other"]);
    let _operator = world.operator().await;
    let mut spec = one_way(&["orders"]);
    spec["planId"] = json!(id.to_string());
    spec["updatePolicy"] = json!("PauseItems");
    world.create("orders", spec).await;
    let status = world.status("orders", "a person has to act", |it| has(it, "Stalled", "True", "UpdateWaits")).await;
    assert!(has(&status, "Synced", "False", "UpdateWaits") && has(&status, "Ready", "False", "NotReady"), "{status:?}");
    assert!(message(&status, "Synced").contains("stop them, or name them there"), "{}", message(&status, "Synced"));
    let stops = world.changes().iter().filter(|it| it.as_str() == "StopDisasterRecoveryItem").count();
    assert_eq!(stops, 0, "nothing is stopped in vain");
}

#[tokio::test(flavor = "multi_thread")]
async fn adoption_marks_the_plan_before_it_manages() {
    let world = World::new().await;
    let id = foreign(&world, "orders", "by hand", &["orders"]);
    let _operator = world.operator().await;
    let mut spec = one_way(&["orders", "billing"]);
    spec["planId"] = json!(id.to_string());
    world.create("orders", spec).await;
    let status = world.status("orders", "a person has to act", |it| has(it, "Stalled", "True", "UpdateWaits")).await;
    assert!(message(&status, "Synced").contains("set updatePolicy: PauseItems"), "{}", message(&status, "Synced"));
    let tried: BTreeSet<_> = world.changes().into_iter().collect();
    assert_eq!(tried, ["UpdateDisasterRecoveryPlan".to_owned()].into(), "no step on its items");
    world.patch("orders", json!({ "spec": { "updatePolicy": "PauseItems" } })).await;
    assert_eq!(world.ready("orders").await.plan_id, Some(id.to_string()));
    assert_eq!(world.assert_one_plan("orders", 2), id);
    world.event("orders", "Adopted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_plan_id_can_be_corrected() {
    let world = World::new().await;
    let operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    let id = world.ready("orders").await.plan_id.expect("a plan");
    operator.stop().await;
    world.cloud.clear_requests();
    let plan_id = |id: &str| json!({ "spec": { "planId": id } });
    let answer = world.api().patch("orders", &PatchParams::default(), &Patch::Merge(plan_id("4711"))).await;
    let refusal = answer.map(|it| it.spec).expect_err("another plan").to_string();
    assert!(refusal.contains("which is in status.planId: write that ID"), "{refusal}");
    // A backup without status, restored with a wrong ID.
    let lost = Patch::Merge(json!({ "status": { "planId": null } }));
    world.api().patch_status("orders", &PatchParams::default(), &lost).await.expect("a status");
    world.patch("orders", plan_id("4711")).await;
    let _operator = world.operator().await;
    let status = world.condition("orders", "Synced", "False", "InvalidSpec").await;
    let text = message(&status, "Synced");
    assert!(text.contains("spec.planId is 4711") && text.contains(&format!("set planId to {id:?}")), "{text}");
    assert_eq!(status.plan_id.as_ref(), Some(&id), "the object keeps its plan");
    world.patch("orders", plan_id(&id)).await;
    world.ready("orders").await;
    world.patch("orders", json!({ "spec": { "planId": null } })).await;
    assert_eq!(world.ready("orders").await.plan_id, Some(id));
    assert_eq!(world.changes(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn late_creation_is_reported_as_twin() {
    let world = World::new().await;
    // The operator gives up on the call, and waits for its plan over the window of two seconds.
    let late = Fault::new(FaultKind::ExecutedLate { ms: 9_000 });
    world.cloud.add_fault(late.of_action("CreateDisasterRecoveryPlan").times(1));
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    let id = world.ready("orders").await.plan_id.expect("a plan");
    let status = world.condition("orders", "Synced", "False", "Twin").await;
    let ids: Vec<_> = world.cloud.plans().iter().map(|it| it.plan_id.to_string()).collect();
    let twins: Vec<_> = ids.iter().filter(|it| **it != id).cloned().collect();
    assert_eq!((ids.len(), &status.plan_id, &status.twins), (2, &Some(id.clone()), &twins));
    let text = message(&status, "Synced");
    assert!(text.contains(&format!("plan {id} is used, and {} too", twins[0])), "{text}");
    assert!(has(&status, "Stalled", "True", "Twin"), "{status:?}");
    world.cloud.clear_requests();
    world.patch("orders", json!({ "spec": { "topicMappings": [] } })).await;
    world.condition("orders", "Synced", "False", "Twin").await;
    world.delete("orders").await;
    let deleting = |it: &DisasterRecoveryPlanStatus| has(it, "Ready", "False", "Deleting");
    let status = world.status("orders", "the deletion is seen", deleting).await;
    assert!(has(&status, "Synced", "False", "Twin"), "{status:?}");
    assert!(message(&status, "Synced").contains("none is deleted"), "{status:?}");
    assert_eq!(world.changes(), Vec::<String>::new());
    let twin = twins[0].parse().expect("a number");
    world.cloud.with_model(|model, _| model.remove_plan(twin)).expect("removed");
    world.gone("orders").await;
    assert_eq!(world.cloud.plans(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn id_survives_a_change_during_creation() {
    let world = World::new().await;
    world.cloud.add_fault(Fault::new(FaultKind::Slow { ms: 1_000 }).of_action("CreateDisasterRecoveryPlan"));
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    let created = || (!world.cloud.plans().is_empty()).then_some(());
    eventually(DEADLINE, "Create is carried out and not answered", async || created()).await;
    assert_eq!(world.get("orders").await.and_then(|it| it.status).and_then(|it| it.plan_id), None);
    world.patch("orders", json!({ "metadata": { "labels": { "team": "orders" } } })).await;
    world.annotate("orders", "example.com/touched", "1").await;
    let annotated =
        || async { world.get("orders").await.and_then(|it| it.annotations().get(PLAN_ID_ANNOTATION).cloned()) };
    let id = eventually(DEADLINE, "the annotation has the ID", annotated).await;
    let status = world.ready("orders").await;
    assert_eq!((world.assert_one_plan("orders", 1).to_string(), status.plan_id.as_ref()), (id.clone(), Some(&id)));
    let object = world.get("orders").await.expect("it is there");
    assert_eq!(
        (&object.labels()["team"], &object.annotations()["example.com/touched"]),
        (&"orders".into(), &"1".into())
    );
    let creations = world.changes().into_iter().filter(|it| it == "CreateDisasterRecoveryPlan").count();
    assert_eq!(creations, 1);
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
