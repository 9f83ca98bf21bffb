//! The operator is stopped dead after every single call to the cloud and every single write to Kubernetes, each one in its
//! turn, and started again: there is one plan, one item for each mapping, and nothing is left behind.

use std::time::Duration;

use disaster_recovery_operator::simulator::model::Rules;
use futures::StreamExt;
use serde_json::{Value, json};

use crate::support::operator::Tripwire;
use crate::world::{World, mapping, one_way};

/// How many worlds crash side by side.
const SIDE_BY_SIDE: usize = 6;
/// No scenario takes more calls than this.
const MOST_CALLS: usize = 120;

/// Where a scenario begins, what is done to it, and how it ends.
#[derive(Clone, Copy, Debug)]
enum Scenario {
    Create,
    Adopt,
    Change,
    Delete,
    DeleteWhileCreating,
    Retain,
}

async fn world() -> World {
    // What was made becomes visible late, so that a hasty second try would make it twice.
    let rules = Rules { delay_ms: 30, visibility_delay_ms: 150, ..Rules::default() };
    let mut world = World::with(rules).await;
    world.settings.poll_interval = Duration::from_secs(3600);
    world.settings.visibility_window = Duration::from_secs(2);
    world
}

fn spec() -> Value {
    let mut spec = one_way(&["orders", "billing", "returns"]);
    spec["itemPolicy"] = json!("Prune");
    spec
}

/// Every kind of change at once: plan, topics, a stopped mapping, a new and a dropped one.
fn changed() -> Value {
    let mut spec = spec();
    spec["planDesc"] = json!("changed");
    spec["topicMappings"][0]["topics"][1]["topicName"] = json!("orders-copy");
    spec["topicMappings"][1]["state"] = json!("Stopped");
    spec["topicMappings"][2] = mapping("invoices", "shanghai");
    spec
}

impl Scenario {
    /// Brings the world to where the operator is to be stopped.
    async fn begin(self, world: &World) {
        let mut first = spec();
        if matches!(self, Self::Retain) {
            first["deletionPolicy"] = json!("Retain");
        }
        if matches!(self, Self::Adopt) {
            // It runs, and the cloud refuses to change it while it does.
            let id = crate::identity::foreign(world, "orders", "by hand", &["orders", "billing", "returns"]);
            first["planId"] = json!(id.to_string());
        }
        world.create("orders", first).await;
        match self {
            Self::Create | Self::Adopt | Self::DeleteWhileCreating => {}
            Self::Change | Self::Delete | Self::Retain => {
                let operator = world.operator().await;
                world.ready("orders").await;
                operator.stop().await;
            }
        }
        match self {
            Self::Create | Self::Adopt | Self::DeleteWhileCreating => {}
            Self::Change => world.patch("orders", json!({ "spec": changed() })).await,
            Self::Delete | Self::Retain => world.delete("orders").await,
        }
    }

    /// Waits for the end.
    async fn end(self, world: &World) {
        match self {
            Self::Create | Self::Adopt | Self::Change | Self::DeleteWhileCreating => {
                world.ready("orders").await;
            }
            Self::Delete | Self::Retain => world.gone("orders").await,
        }
    }

    fn check(self, world: &World) {
        match self {
            Self::Create | Self::Adopt => {
                world.assert_one_plan("orders", 3);
                let items = &world.cloud.plans()[0].items;
                assert!(items.iter().all(|it| format!("{:?}", it.item_status) == "Running"), "{items:#?}");
            }
            Self::Change => {
                world.assert_one_plan("orders", 3);
                let plan = &world.cloud.plans()[0];
                assert!(plan.plan_desc.as_deref().is_some_and(|it| it.starts_with("changed [drp ")), "{plan:#?}");
                let mut topics: Vec<_> = plan.items.iter().map(|it| format!("{:?}", it.item_status)).collect();
                topics.sort();
                assert_eq!(topics, ["ManualStopped", "Running", "Running"], "{plan:#?}");
            }
            Self::Delete | Self::DeleteWhileCreating => assert_eq!(world.cloud.plans(), [], "nothing is left"),
            Self::Retain => {
                let plans = world.cloud.plans();
                assert_eq!((plans.len(), plans[0].items.len()), (1, 3), "{plans:#?}");
                assert_eq!(plans[0].plan_desc.as_deref(), Some("Orders, Hangzhou to Shanghai"));
                assert!(plans[0].items.iter().all(|it| format!("{:?}", it.item_status) == "Running"), "{plans:#?}");
            }
        }
    }
}

/// Runs a scenario with an operator that gets `calls` calls through. Whether it was stopped before the end.
async fn crash_after(scenario: Scenario, calls: usize) -> bool {
    let world = world().await;
    scenario.begin(&world).await;
    let wire = Tripwire::after(calls);
    let operator = world.operator_until(wire.clone()).await;
    let stopped = tokio::select! {
        () = wire.tripped() => true,
        () = scenario.end(&world) => false,
    };
    drop(operator);
    if matches!(scenario, Scenario::DeleteWhileCreating) {
        world.delete("orders").await;
        let _operator = world.operator().await;
        world.gone("orders").await;
    } else if stopped {
        let _operator = world.operator().await;
        scenario.end(&world).await;
    }
    scenario.check(&world);
    stopped
}

/// Stops the operator after every call there is.
async fn everywhere(scenario: Scenario) {
    let runs =
        futures::stream::iter(1..=MOST_CALLS).map(|calls| async move { (calls, crash_after(scenario, calls).await) });
    let mut runs = runs.buffered(SIDE_BY_SIDE);
    while let Some((calls, stopped)) = runs.next().await {
        if !stopped {
            println!("{scenario:?}: stopped after each of {} calls", calls - 1);
            assert!(calls > 5, "{scenario:?}: the operator made only {calls} calls, which is not the scenario");
            return;
        }
    }
    panic!("{scenario:?}: more than {MOST_CALLS} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_anywhere_in_creation_leaves_one_plan() {
    everywhere(Scenario::Create).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_anywhere_in_a_take_over_leaves_every_item_running() {
    everywhere(Scenario::Adopt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_anywhere_in_a_change_converges() {
    everywhere(Scenario::Change).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_anywhere_in_deletion_leaves_nothing() {
    everywhere(Scenario::Delete).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_after_a_crash_anywhere_in_creation_leaves_nothing() {
    everywhere(Scenario::DeleteWhileCreating).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_anywhere_in_letting_go_leaves_the_plan_as_it_was() {
    everywhere(Scenario::Retain).await;
}
