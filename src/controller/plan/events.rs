//! The events that only plans have, by comparing the status before and after a reconcile. Pure.

use super::act::Effect;
use super::decide::sync_requested;
use super::grounds::missing_is_proven;
use super::sync::SyncResult;
use super::{Acted, Ran, Scope};
use crate::api::PLAN_ID_ANNOTATION;
use crate::api::event::{action, reason};
use crate::api::plan::DisasterRecoveryPlanStatus;
use crate::controller::events::EventRecord;

/// The events of a reconcile.
pub fn events(before: &Scope<'_>, new: &DisasterRecoveryPlanStatus, ran: &Ran<'_>) -> Vec<EventRecord> {
    let mut records = Vec::new();
    records.extend(gone(before, ran));
    records.extend(ran.acted.iter().filter_map(Acted::effect).filter_map(effect));
    records.extend(bound(before, new, ran));
    if before.observe_only() && sync_requested(before) {
        let note = "no checkpoint was synchronized: managementPolicy is Observe";
        records.push(EventRecord::warning(reason::CHECKPOINTS_NOT_SYNCED, action::SYNC_CHECKPOINTS, note));
    }
    if !new.paused_items.is_empty() && before.status.paused_items.is_empty() {
        let note =
            "the operator stops items for a change that the API refuses while they run, and starts them again after it";
        records.push(EventRecord::normal(reason::ITEMS_PAUSED, action::STOP_ITEM, note));
    }
    records
}

fn gone(before: &Scope<'_>, ran: &Ran<'_>) -> Option<EventRecord> {
    let id =
        before.status.plan_id.as_ref().filter(|id| ran.observed.missing.is_some_and(|it| it.to_string() == **id))?;
    let note = format!("another actor deleted plan {id}: no read of the visibility window found it");
    let gone = before.status.creation.is_none() && missing_is_proven(before, ran.observed);
    gone.then(|| EventRecord::warning(reason::PLAN_GONE, action::OBSERVE, note))
}

fn effect(effect: &Effect) -> Option<EventRecord> {
    match effect {
        Effect::CreatedPlan(id) => {
            Some(EventRecord::normal(reason::CREATED, action::CREATE_PLAN, format!("created plan {id}")))
        }
        Effect::Changed | Effect::AddedItem(_) => None,
    }
}

/// The event of a requested synchronization that is handled now.
pub fn synchronized(before: &Scope<'_>, new: &DisasterRecoveryPlanStatus) -> Option<EventRecord> {
    let request = before.evidence.sync.as_ref()?;
    let handled = |status: &DisasterRecoveryPlanStatus| {
        status.last_handled_sync_checkpoints_at.as_deref() == Some(request.requested.as_str())
    };
    let SyncResult { done, failed, first } = request.result().filter(|_| handled(new) && !handled(before.status))?;
    Some(match (done, failed) {
        (0, 0) => {
            let note = "there is no checkpoint to synchronize";
            EventRecord::warning(reason::CHECKPOINTS_NOT_SYNCED, action::SYNC_CHECKPOINTS, note)
        }
        (done, 0) => {
            let note = format!("synchronized all {done} checkpoints");
            EventRecord::normal(reason::CHECKPOINTS_SYNCED, action::SYNC_CHECKPOINTS, note)
        }
        (done, failed) => {
            let why = first.map(ToString::to_string).unwrap_or_default();
            let note = format!("synchronized {done} checkpoints, {failed} failed; the first: {why}");
            EventRecord::warning(reason::CHECKPOINTS_NOT_SYNCED, action::SYNC_CHECKPOINTS, note)
        }
    })
}

/// The event of a round of spec.checkpointSync that begins to fail, or of the first one that succeeds after failures.
pub fn rounds(before: &DisasterRecoveryPlanStatus, new: &DisasterRecoveryPlanStatus) -> Option<EventRecord> {
    let failed = |status: &DisasterRecoveryPlanStatus| status.checkpoint_sync.as_ref().map(|it| it.failed);
    let count = failed(new)?;
    match (failed(before).unwrap_or_default(), count) {
        (0, 1..) => {
            let first = new.checkpoint_sync.iter().flat_map(|it| &it.failures).next();
            let why = first.map(|it| it.message.as_str()).unwrap_or_default();
            let note =
                format!("the operator could not synchronize {count} consumer groups or mappings; the first: {why}");
            Some(EventRecord::warning(reason::CHECKPOINTS_NOT_SYNCED, action::SYNC_CHECKPOINTS, note))
        }
        (1.., 0) => {
            let note = "the operator synchronizes every consumer group again";
            Some(EventRecord::normal(reason::CHECKPOINTS_SYNCED, action::SYNC_CHECKPOINTS, note))
        }
        _ => None,
    }
}

/// The event of a plan that is bound now. After a Create without an answer, the plan with this object's mark is its result.
fn bound(before: &Scope<'_>, new: &DisasterRecoveryPlanStatus, ran: &Ran<'_>) -> Option<EventRecord> {
    let new_binding = before.status.plan_id.is_none() && ran.observed.found().is_some() && !before.observe_only();
    let id = new.plan_id.as_ref().filter(|_| new_binding)?;
    Some(match before.status.creation {
        // The process ended before it wrote the status.
        Some(_) if before.annotation(PLAN_ID_ANNOTATION) == Some(id.as_str()) => {
            EventRecord::normal(reason::CREATED, action::CREATE_PLAN, format!("created plan {id}"))
        }
        Some(_) => {
            let note = format!("plan {id} was created by a call whose answer was lost");
            EventRecord::normal(reason::CREATED, action::CREATE_PLAN, note)
        }
        None => EventRecord::normal(reason::ADOPTED, action::ADOPT, format!("took over plan {id}")),
    })
}
