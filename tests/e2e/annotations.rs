//! What other actors write on an object wakes nobody: it costs no call and no reconcile.

use std::time::Duration;

use disaster_recovery_operator::api::RECONCILE_ANNOTATION;
use serde_json::json;
use test_support::eventually;
use test_support::operator::Operator;
use test_support::stage::groups::{Groups, quick, spec};
use test_support::stage::plans::{World, one_way};
use test_support::stage::{DEADLINE, Stage, Tested};

use crate::accounts::reconciles;

const NOTES: usize = 40;

/// Notes of others, and then a request of a reconcile, which the operator sees after them. `reads` are the calls that a reconcile makes.
async fn notes_wake_nobody<K: Tested>(world: &Stage<K>, operator: &Operator, name: &str, reads: &[&str]) {
    let count = || world.cloud.requests().iter().filter(|it| reads.contains(&&*it.action)).count();
    world.cloud.clear_requests();
    let (before, writes) = (reconciles(operator, K::KIND), operator.requests.writes().len());
    for number in 0..NOTES {
        let annotation = if number % 2 == 0 { "example.com/note" } else { "disasterrecovery.dev/note" };
        let labels = json!({ "example.com/number": number.to_string() });
        let annotations = json!({ annotation: number.to_string() });
        world.patch(name, json!({ "metadata": { "annotations": annotations, "labels": labels } })).await;
    }
    assert_eq!(world.cloud.requests().len(), 0, "calls after notes of others");
    world.annotate(name, RECONCILE_ANNOTATION, "now").await;
    let handled = || reconciles(operator, K::KIND) > before;
    eventually(DEADLINE, "the request is handled", async || handled().then_some(())).await;
    assert_eq!(reconciles(operator, K::KIND), before + 1, "one reconcile: the one that was asked for");
    assert!(count() <= 2 * reads.len(), "{:?}", world.cloud.requests());
    assert_eq!(operator.requests.writes().len(), writes + 1, "the status says that the request is handled");
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_on_a_plan_cost_nothing() {
    let mut world = World::new().await;
    world.settings.poll_interval = Duration::from_secs(3_600);
    let operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    world.ready("orders").await;
    world.condition("orders", "Protected", "True", "WithinObjective").await;
    let reads = ["GetDisasterRecoveryPlan", "ListDisasterRecoveryItems"];
    notes_wake_nobody(&world, &operator, "orders", &reads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_on_a_group_cost_nothing() {
    let mut world = Groups::with(quick()).await;
    world.settings.poll_interval = Duration::from_secs(3_600);
    let operator = world.operator().await;
    world.create("db", spec()).await;
    world.protected().await;
    notes_wake_nobody(&world, &operator, "db", &["DescribeDiskReplicaGroups", "DescribeDiskReplicaPairs"]).await;
}
