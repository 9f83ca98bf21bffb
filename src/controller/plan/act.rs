//! Runs one step of a plan: one call, or one synchronization of checkpoints.

use tokio::time::Instant;

use super::decide::Step;
use crate::cloud::error::{Class, Error};
use crate::cloud::operation::ApiOperation;
use crate::cloud::rocketmq::RocketMq;
use crate::controller::steps::{self, STEPS_TIMEOUT};

/// The result of a step that the cloud accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A change without a result.
    Changed,
    /// The ID of the new plan.
    CreatedPlan(i64),
    /// The ID of the new item.
    AddedItem(i64),
    /// Synchronized checkpoints.
    Synced {
        /// The number of checkpoints that were synchronized.
        done: usize,
        /// The number of checkpoints that were not.
        failed: usize,
        first: Option<Error>,
    },
}

/// The code of a synchronization that ended before it requested all checkpoints.
pub const TOO_SLOW: &str = "TooSlow";

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
            Step::SyncCheckpoints { plan_id, checkpoints } => Ok(sync_checkpoints(cloud, *plan_id, checkpoints).await),
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
            | Step::DeleteItem { .. }
            | Step::SyncCheckpoints { .. } => true,
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

async fn sync_checkpoints(cloud: &RocketMq, plan_id: i64, checkpoints: &[(i64, i64)]) -> Effect {
    let started = Instant::now();
    let (mut done, mut failed, mut first) = (0, 0, None);
    for (item_id, checkpoint_id) in checkpoints {
        if started.elapsed() > STEPS_TIMEOUT {
            failed = checkpoints.len() - done;
            let message =
                format!("{failed} of {} were not asked for within {} s", checkpoints.len(), STEPS_TIMEOUT.as_secs());
            let (class, operation) = (Class::Unavailable, ApiOperation::SyncDisasterRecoveryCheckpoint);
            first.get_or_insert(Error { class, operation, code: TOO_SLOW.into(), message, request_id: None });
            break;
        }
        match cloud.sync_checkpoint(plan_id, *item_id, *checkpoint_id).await {
            Ok(()) => done += 1,
            Err(error) => {
                let stops_others = matches!(error.class, Class::Denied | Class::Throttled { .. } | Class::Unavailable);
                failed += 1;
                first.get_or_insert(error);
                if stops_others {
                    // The others would fail too.
                    failed = checkpoints.len() - done;
                    break;
                }
            }
        }
    }
    Effect::Synced { done, failed, first }
}
