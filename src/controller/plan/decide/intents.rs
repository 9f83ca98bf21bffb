//! The intents of calls without a client token. After a crash or a lost answer the operator reads, and does not call again.

use super::super::resolve;
use super::{Scope, Step};
use crate::api::plan::{CreationStatus, DisasterRecoveryPlanStatus, ItemCreationStatus};
use crate::controller::conditions::seconds;

/// The status with the intents of the steps, if they have any.
pub(super) fn intents(scope: &Scope<'_>, steps: &[Step]) -> Option<DisasterRecoveryPlanStatus> {
    let (mut new, time) = (scope.status.clone(), seconds(scope.now));
    for step in steps {
        let nonce = scope.nonce.to_owned();
        match step {
            Step::CreatePlan { .. } => (new.creation, new.plan_id) = (Some(CreationStatus { nonce, time }), None),
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
            | Step::DeletePlan { .. }
            | Step::SyncCheckpoints { .. } => {}
        }
    }
    (new != *scope.status).then_some(new)
}
