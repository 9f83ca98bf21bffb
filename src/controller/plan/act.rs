//! Runs one step of a plan: one call.

use super::decide::Step;
use crate::cloud::error::{Class, Error};
use crate::cloud::rocketmq::RocketMq;
use crate::controller::steps;

/// The result of a step that the cloud accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A change without a result.
    Changed,
    /// The ID of the new plan.
    CreatedPlan(i64),
    /// The ID of the new item.
    AddedItem(i64),
}

impl steps::Step for Step {
    type Cloud = RocketMq;
    type Effect = Effect;

    fn name(&self) -> String {
        self.label().to_owned()
    }

    async fn run(&self, cloud: &RocketMq) -> Result<Effect, Error> {
        match self {
            Step::CreatePlan { plan } => cloud.create_plan(plan).await.map(Effect::CreatedPlan),
            Step::UpdatePlan { plan_id, plan } => changed(cloud.update_plan(*plan_id, plan).await),
            Step::AddItem { plan_id, mapping: _, topics } => {
                cloud.add_item(*plan_id, topics).await.map(Effect::AddedItem)
            }
            Step::UpdateItem { plan_id, item_id, topics } => {
                changed(cloud.update_item(*plan_id, *item_id, topics).await)
            }
            Step::StartItem { plan_id, item_id } => changed(cloud.start_item(*plan_id, *item_id).await),
            Step::StopItem { plan_id, item_id } => changed(cloud.stop_item(*plan_id, *item_id).await),
            Step::DeleteItem { plan_id, item_id } => deleted(cloud.delete_item(*plan_id, *item_id).await),
            Step::DeletePlan { plan_id } => deleted(cloud.delete_plan(*plan_id).await),
        }
    }

    /// A missing topic, or an item that is not ready, stops only its own mapping.
    fn stands_alone(&self) -> bool {
        match self {
            Step::CreatePlan { .. } | Step::DeletePlan { .. } => false,
            Step::UpdatePlan { .. }
            | Step::AddItem { .. }
            | Step::UpdateItem { .. }
            | Step::StartItem { .. }
            | Step::StopItem { .. }
            | Step::DeleteItem { .. } => true,
        }
    }
}

fn changed(result: Result<(), Error>) -> Result<Effect, Error> {
    result.map(|()| Effect::Changed)
}

/// The deletion of something that does not exist succeeds.
fn deleted(result: Result<(), Error>) -> Result<Effect, Error> {
    match result {
        Err(Error { class: Class::NotFound, .. }) => Ok(Effect::Changed),
        other => changed(other),
    }
}
