//! The intents of calls without a client token. After a crash or a lost answer the operator reads, and does not call again.

use super::super::resolve;
use super::{Decision, Scope, Step};
use crate::api::plan::{CreationStatus, DisasterRecoveryPlanStatus, ItemCreationStatus};
use crate::controller::conditions::seconds;

/// The status with the intents of the decision, if it has any.
pub(super) fn intents(scope: &Scope<'_>, decision: &Decision) -> Option<DisasterRecoveryPlanStatus> {
    let (mut new, time) = (scope.status.clone(), seconds(scope.now));
    // The operator starts the items again that it stops.
    let paused = decision.details.paused.iter().filter(|id| !scope.status.paused_items.contains(id));
    new.paused_items.extend(paused.cloned());
    if !new.paused_items.is_empty() {
        new.paused_since.get_or_insert(time);
    }
    for step in &decision.steps {
        let nonce = scope.nonce.to_owned();
        match step {
            Step::CreatePlan { .. } => {
                // The plan of an earlier call without an answer may still appear.
                new.unanswered_creation = new.creation.take().map(|it| it.time).or(new.unanswered_creation);
                (new.creation, new.plan_id) = (Some(CreationStatus { nonce, time }), None);
                // A new plan has no item of an earlier call.
                new.item_creations.clear();
            }
            Step::AddItem { topics, .. } => {
                let topics = resolve::pair(topics);
                new.item_creations.retain(|it| it.topics != topics);
                new.item_creations.push(ItemCreationStatus { topics, nonce, time, item_id: None });
            }
            Step::UpdatePlan { .. }
            | Step::UpdateItem { .. }
            | Step::StartItem { .. }
            | Step::StopItem { .. }
            | Step::DeleteItem { .. }
            | Step::DeletePlan { .. } => {}
        }
    }
    (new != *scope.status).then_some(new)
}
