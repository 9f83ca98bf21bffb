//! What is told in events: what a person did not cause, by comparing the status before and after a pass. Pure.

use super::act::{Acted, Outcome};
use super::decide::{Decision, Verdict};
use super::observe::{Lookup, Observed};
use crate::api::condition::{condition_type, synced};
use crate::api::plan::{DisasterRecoveryPlanSpec, DisasterRecoveryPlanStatus, ManagementPolicy};
use crate::controller::events::Change;
use crate::controller::resource::EventRecord;

/// The events of a pass.
pub fn events(
    spec: &DisasterRecoveryPlanSpec,
    old: &DisasterRecoveryPlanStatus,
    new: &DisasterRecoveryPlanStatus,
    seen: &Observed,
    decision: &Decision,
    acted: &[Acted],
    sync_requested: bool,
) -> Vec<EventRecord> {
    let mut told = Vec::new();
    let observing = spec.management_policy == ManagementPolicy::Observe;
    let id = new.plan_id.as_deref().unwrap_or_default();
    if let (Some(gone), Lookup::Absent { missing: Some(_), .. }, None, None, None) =
        (&old.plan_id, &seen.plan, &old.creation, &new.creation, &old.missing_since)
    {
        told.push(EventRecord::warning("PlanGone", "Observe", format!("plan {gone} was deleted by somebody else")));
    }
    for it in acted {
        match &it.outcome {
            Outcome::CreatedPlan(id) => {
                told.push(EventRecord::normal("Created", "CreatePlan", format!("created plan {id}")));
            }
            Outcome::Synced { done: 0, failed: 0, .. } => {
                let note = "there is no checkpoint to synchronize".into();
                told.push(EventRecord::warning("CheckpointsNotSynced", "SyncCheckpoints", note));
            }
            Outcome::Synced { done, failed: 0, .. } => {
                told.push(EventRecord::normal(
                    "CheckpointsSynced",
                    "SyncCheckpoints",
                    format!("synchronized all {done} checkpoints"),
                ));
            }
            Outcome::Synced { done, failed, first } => {
                let why = first.as_ref().map(ToString::to_string).unwrap_or_default();
                let note = format!("synchronized {done} checkpoints, {failed} failed; the first: {why}");
                told.push(EventRecord::warning("CheckpointsNotSynced", "SyncCheckpoints", note));
            }
            Outcome::Done | Outcome::AddedItem(_) | Outcome::Failed(_) | Outcome::Skipped => {}
        }
    }
    let found = matches!(seen.plan, Lookup::Found(_));
    if found && old.plan_id.is_none() && new.plan_id.is_some() && !observing {
        // After an unanswered Create, the plan with our mark is the one that it made.
        told.push(match old.creation {
            Some(_) => EventRecord::normal(
                "Created",
                "CreatePlan",
                format!("plan {id} was created by a call whose answer was lost"),
            ),
            None => EventRecord::normal("Adopted", "Adopt", format!("took over plan {id}")),
        });
    }
    if observing && sync_requested {
        let note = "no checkpoint was synchronized: managementPolicy is Observe".into();
        told.push(EventRecord::warning("CheckpointsNotSynced", "SyncCheckpoints", note));
    }
    let fields: Vec<_> = old.drift.iter().map(|it| it.field.clone()).collect();
    let change = Change {
        before: &old.conditions,
        after: &new.conditions,
        drift: &fields,
        corrected: old.synced_generation == new.synced_generation,
    };
    told.extend(change.drift());
    if change.entered(condition_type::SYNCED, synced::ITEMS_RUNNING) {
        told.push(EventRecord::warning(synced::ITEMS_RUNNING, "Observe", change.message(condition_type::SYNCED)));
    }
    if let Verdict::Refused { reason, message } = &decision.verdict {
        told.extend(change.refused(reason, message));
    }
    if !new.paused_items.is_empty() && old.paused_items.is_empty() {
        let note = "the API refuses the change while items run: stopping them, they are started again after it";
        told.push(EventRecord::normal("ItemsPaused", "StopItem", note.into()));
    }
    told.extend(change.objective());
    told
}
