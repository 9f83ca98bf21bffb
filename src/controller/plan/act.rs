//! Runs one step of a plan: one call.

use super::decide::Step;
use crate::cloud::error::{Class, Error};
use crate::cloud::operation::ApiOperation;
use crate::cloud::rocketmq::RocketMq;
use crate::controller::steps::{self, Acted};

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
                let plan_id = plan_id.ok_or_else(no_plan)?;
                cloud.add_item(plan_id, topics).await.map(Effect::AddedItem)
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

    /// An item of a new plan needs the ID of that plan.
    fn with_results(&self, earlier: &[Acted<Self>]) -> Option<Self> {
        match self {
            Self::AddItem { plan_id: None, mapping, topics } => {
                let plan_id = Some(created_plan(earlier)?);
                Some(Self::AddItem { plan_id, mapping: mapping.clone(), topics: topics.clone() })
            }
            _ => Some(self.clone()),
        }
    }

    fn has_lasting_result(&self) -> bool {
        matches!(self, Self::CreatePlan { .. })
    }

    /// The cloud may not show a new plan to every call at once. Its refusal may be any of these; one for another reason repeats in the next
    /// reconcile.
    fn is_early(&self, error: &Error) -> bool {
        let added_to_new = matches!(self, Self::AddItem { plan_id: None, .. });
        added_to_new && matches!(error.class, Class::NotFound | Class::Conflict | Class::Invalid)
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

/// The ID of the plan that one of the steps created.
pub(super) fn created_plan(acted: &[Acted<Step>]) -> Option<i64> {
    acted.iter().filter_map(Acted::effect).find_map(|effect| match effect {
        Effect::CreatedPlan(id) => Some(*id),
        Effect::Changed | Effect::AddedItem(_) => None,
    })
}

fn no_plan() -> Error {
    let (operation, code) = (ApiOperation::AddDisasterRecoveryItem, "NoPlan".into());
    Error { class: Class::Conflict, operation, code, message: "there is no plan yet".into(), request_id: None }
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
