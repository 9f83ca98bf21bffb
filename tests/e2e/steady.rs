//! A plan at rest costs almost nothing.

use std::time::Duration;

use disaster_recovery_operator::simulator::model::Rules;

use test_support::eventually;
use test_support::stage::DEADLINE;
use test_support::stage::plans::{World, external};

#[tokio::test(flavor = "multi_thread")]
async fn polls_of_an_unchanged_plan_write_nothing() {
    let mut world = World::with(Rules { sync_interval_ms: 150, ..Rules::default() }).await;
    // A slow machine may be late by less than the three intervals of evidence.
    world.settings.poll_interval = Duration::from_secs(1);
    let operator = world.operator().await;
    world.create("orders", external(&["orders", "billing"])).await;
    world.ready("orders").await;
    world.condition("orders", "Protected", "True", "WithinObjective").await;
    let count = |action: &str| world.cloud.requests().iter().filter(|it| it.action == action).count();
    let (lists, items) = (|| count("ListDisasterRecoveryPlans"), || count("ListDisasterRecoveryItems"));
    // The sample that found it protected may still be written.
    let first = lists();
    let next = || lists() > first + 1;
    eventually(DEADLINE, "the next reads", async || next().then_some(())).await;
    world.cloud.clear_requests();
    let before =
        (operator.requests.writes().len(), world.get("orders").await.expect("it is there").metadata.resource_version);
    eventually(DEADLINE, "ten lists of plans, one of items", async || (lists() >= 10 && items() >= 1).then_some(()))
        .await;
    let after =
        (operator.requests.writes().len(), world.get("orders").await.expect("it is there").metadata.resource_version);
    assert_eq!(after, before, "no write, of status or anything else");
    assert_eq!(world.changes(), Vec::<String>::new());
    assert_eq!(count("GetDisasterRecoveryPlan"), 0, "lists show it as the last reconcile saw it");
    assert_eq!(count("ListDisasterRecoveryCheckpoints"), 0, "what they proved lasts for minutes");
}
