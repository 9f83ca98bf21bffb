//! The operator is stopped dead after every single call to the cloud and every single write to Kubernetes, each one in its
//! turn, and started again: there is one plan, one item for each mapping, and nothing is left behind.

use std::time::Duration;

use disaster_recovery_operator::api::plan::DisasterRecoveryPlan;
use disaster_recovery_operator::simulator::model::Rules;
use serde_json::{Value, json};

use crate::enumerate::{Scenario, everywhere};
use test_support::eventually;
use test_support::stage::DEADLINE;
use test_support::stage::plans::{World, mapping, one_way};

/// Where a scenario begins, what is done to it, and how it ends.
#[derive(Clone, Copy, Debug)]
enum Plans {
    Create,
    Adopt,
    Change,
    Delete,
    DeleteWhileCreating,
    Retain,
}

fn spec() -> Value {
    let mut spec = one_way(&["orders", "billing", "returns"]);
    spec["itemPolicy"] = json!("Prune");
    spec["updatePolicy"] = json!("PauseItems");
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

impl Scenario for Plans {
    type Kind = DisasterRecoveryPlan;

    async fn stage(self) -> World {
        // Created objects become visible late, so that an early second attempt would create them twice.
        let rules = Rules { delay_ms: 30, visibility_delay_ms: 150, ..Rules::default() };
        let mut world = World::with(rules).await;
        world.settings.poll_interval = Duration::from_secs(3600);
        world.settings.visibility_window = Duration::from_secs(2);
        world
    }

    async fn begin(self, world: &World) {
        let mut first = spec();
        if matches!(self, Self::Retain) {
            first["deletionPolicy"] = json!("Retain");
        }
        if matches!(self, Self::Adopt) {
            // It runs, and the cloud refuses to change it while it does.
            let id = crate::identity::foreign(world, "orders", "by hand", &["orders", "billing", "returns"]);
            first["planId"] = json!(id.to_string());
            // Earlier there is no such plan, and the operator does not retry for a while.
            let shown = || world.cloud.with_model(|model, now| model.get_plan("cn-hangzhou", id, now).ok());
            eventually(DEADLINE, "the foreign plan is visible", async || shown()).await;
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

    async fn end(self, world: &World) {
        match self {
            Self::Create | Self::Adopt | Self::Change | Self::DeleteWhileCreating => {
                world.ready("orders").await;
            }
            Self::Delete | Self::Retain => world.gone("orders").await,
        }
    }

    async fn meanwhile(self, world: &World) -> bool {
        let deleted = matches!(self, Self::DeleteWhileCreating);
        if deleted {
            world.delete("orders").await;
        }
        deleted
    }

    async fn end_again(self, world: &World) {
        match self {
            Self::DeleteWhileCreating => world.gone("orders").await,
            Self::Create | Self::Adopt | Self::Change | Self::Delete | Self::Retain => self.end(world).await,
        }
    }

    async fn check(self, world: &World) {
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

#[tokio::test(flavor = "multi_thread")]
async fn crash_during_creation_leaves_one_plan() {
    everywhere(Plans::Create).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_during_adoption_keeps_every_item_running() {
    everywhere(Plans::Adopt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_during_change_converges() {
    everywhere(Plans::Change).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_during_deletion_leaves_nothing() {
    everywhere(Plans::Delete).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_after_crash_during_creation_leaves_nothing() {
    everywhere(Plans::DeleteWhileCreating).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_during_release_keeps_the_plan_unchanged() {
    everywhere(Plans::Retain).await;
}
