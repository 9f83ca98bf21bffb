//! A plan at rest costs almost nothing.

use std::time::Duration;

use disaster_recovery_operator::simulator::model::Rules;

use test_support::eventually;
use test_support::stage::DEADLINE;
use test_support::stage::plans::{World, external};

#[tokio::test(flavor = "multi_thread")]
async fn polls_of_an_unchanged_plan_write_nothing() {
    let mut world = World::with(Rules { sync_interval_ms: 150, ..Rules::default() }).await;
    world.settings.poll_interval = Duration::from_millis(200);
    let operator = world.operator().await;
    world.create("orders", external(&["orders", "billing"])).await;
    world.ready("orders").await;
    world.condition("orders", "Protected", "True", "WithinObjective").await;
    let gets = || world.cloud.requests().iter().filter(|it| it.action == "GetDisasterRecoveryPlan").count();
    // The reconcile that found it protected may still write it.
    let first = gets();
    eventually(DEADLINE, "the next poll", async || (gets() > first + 1).then_some(())).await;
    world.cloud.clear_requests();
    let before = (operator.writes.count(), world.get("orders").await.expect("it is there").metadata.resource_version);
    eventually(DEADLINE, "ten polls", async || (gets() >= 11).then_some(())).await;
    let after = (operator.writes.count(), world.get("orders").await.expect("it is there").metadata.resource_version);
    assert_eq!(after, before, "no write, of status or anything else");
    assert_eq!(world.changes(), Vec::<String>::new());
    let lists = world.cloud.requests().into_iter().filter(|it| it.action == "ListDisasterRecoveryPlans").count();
    assert_eq!(lists, 0, "a bound plan is read by its ID");
}
