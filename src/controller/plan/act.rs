//! Carries steps out, in their order, one attempt each. Whoever calls decides what a failure means for the next pass.

use std::time::{Duration, Instant};

use tracing::Instrument;

use super::decide::Step;
use crate::cloud::error::{Class, Error};
use crate::cloud::operation::ApiOperation;
use crate::cloud::rocketmq::RocketMq;

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was accepted.
    Done,
    /// It made the plan of this ID.
    CreatedPlan(i64),
    /// It made the item of this ID.
    AddedItem(i64),
    /// So many checkpoints were synchronized and so many were not, the first one of these for this reason.
    Synced {
        /// How many were synchronized.
        done: usize,
        /// How many were not.
        failed: usize,
        /// Why the first one was not.
        first: Option<Error>,
    },
    /// It failed.
    Failed(Error),
    /// An earlier step failed, and this one was not tried.
    Skipped,
}

/// A step and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Acted {
    /// The step.
    pub step: Step,
    /// What became of it.
    pub outcome: Outcome,
}

/// The code of a synchronization that ended before all checkpoints were asked for.
pub const TOO_SLOW: &str = "TooSlow";
/// After so long no further step is begun: others need the worker. The next pass goes on.
const LONGEST: Duration = Duration::from_secs(180);

/// Carries the steps out until one fails in a way that concerns the others too. A topic that does not exist, or an item
/// that is not ready, holds up nothing but its own mapping.
pub async fn act(cloud: &RocketMq, steps: Vec<Step>) -> Vec<Acted> {
    let mut acted = Vec::with_capacity(steps.len());
    let (mut stopped, begun) = (false, Instant::now());
    for step in steps {
        if stopped || begun.elapsed() > LONGEST {
            acted.push(Acted { step, outcome: Outcome::Skipped });
            continue;
        }
        let span = tracing::info_span!("step", step = step.name());
        let outcome = carry_out(cloud, &step).instrument(span).await;
        match &outcome {
            Outcome::Failed(error) => {
                tracing::warn!(step = step.name(), %error, "step failed");
                stopped = concerns_others(&step, error.class);
            }
            Outcome::Done
            | Outcome::CreatedPlan(_)
            | Outcome::AddedItem(_)
            | Outcome::Synced { .. }
            | Outcome::Skipped => {
                tracing::info!(step = step.name(), "step accepted");
            }
        }
        acted.push(Acted { step, outcome });
    }
    acted
}

/// Whether a failure of the step is a reason not to try the ones behind it.
pub fn concerns_others(step: &Step, class: Class) -> bool {
    match class {
        Class::Denied | Class::Throttled { .. } | Class::Unavailable | Class::Ambiguous => true,
        Class::NotFound | Class::Conflict | Class::Invalid => match step {
            Step::CreatePlan { .. } | Step::DeletePlan { .. } => true,
            Step::UpdatePlan { .. }
            | Step::AddItem { .. }
            | Step::UpdateItem { .. }
            | Step::StartItem { .. }
            | Step::StopItem { .. }
            | Step::DeleteItem { .. }
            | Step::SyncCheckpoints { .. } => false,
        },
    }
}

async fn carry_out(cloud: &RocketMq, step: &Step) -> Outcome {
    let done = |result: Result<(), Error>| result.map_or_else(Outcome::Failed, |()| Outcome::Done);
    // What is to be gone and is gone is done.
    let gone = |result: Result<(), Error>| match result {
        Err(Error { class: Class::NotFound, .. }) => Outcome::Done,
        other => done(other),
    };
    match step {
        Step::CreatePlan { plan } => cloud.create_plan(plan).await.map_or_else(Outcome::Failed, Outcome::CreatedPlan),
        Step::UpdatePlan { plan_id, plan } => done(cloud.update_plan(*plan_id, plan).await),
        Step::AddItem { plan_id, mapping: _, topics } => {
            cloud.add_item(*plan_id, topics).await.map_or_else(Outcome::Failed, Outcome::AddedItem)
        }
        Step::UpdateItem { plan_id, item_id, topics } => done(cloud.update_item(*plan_id, *item_id, topics).await),
        Step::StartItem { plan_id, item_id } => done(cloud.start_item(*plan_id, *item_id).await),
        Step::StopItem { plan_id, item_id } => done(cloud.stop_item(*plan_id, *item_id).await),
        Step::DeleteItem { plan_id, item_id } => gone(cloud.delete_item(*plan_id, *item_id).await),
        Step::DeletePlan { plan_id } => gone(cloud.delete_plan(*plan_id).await),
        Step::SyncCheckpoints { plan_id, checkpoints } => sync(cloud, *plan_id, checkpoints).await,
    }
}

async fn sync(cloud: &RocketMq, plan_id: i64, checkpoints: &[(i64, i64)]) -> Outcome {
    let begun = Instant::now();
    let (mut done, mut failed, mut first) = (0, 0, None);
    for (item_id, checkpoint_id) in checkpoints {
        if begun.elapsed() > LONGEST {
            failed = checkpoints.len() - done;
            let message =
                format!("{failed} of {} were not asked for within {} s", checkpoints.len(), LONGEST.as_secs());
            let (class, operation) = (Class::Unavailable, ApiOperation::SyncDisasterRecoveryCheckpoint);
            first.get_or_insert(Error { class, operation, code: TOO_SLOW.into(), message, request_id: None });
            break;
        }
        match cloud.sync_checkpoint(plan_id, *item_id, *checkpoint_id).await {
            Ok(()) => done += 1,
            Err(error) => {
                let all = matches!(error.class, Class::Denied | Class::Throttled { .. } | Class::Unavailable);
                failed += 1;
                first.get_or_insert(error);
                if all {
                    // The others would fare no better.
                    failed = checkpoints.len() - done;
                    break;
                }
            }
        }
    }
    Outcome::Synced { done, failed, first }
}
