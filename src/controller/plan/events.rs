//! What is told in events: what a person did not cause, by comparing the status before and after a pass. Pure.

use super::act::{Acted, Outcome};
use super::diff::{Decision, Verdict};
use super::observe::{Observed, Sight};
use crate::api::condition::{kind, synced};
use crate::api::plan::{DisasterRecoveryPlanSpec, DisasterRecoveryPlanStatus, ManagementPolicy};
use crate::controller::kind::Told;
use crate::controller::telling::Change;

/// The events of a pass.
pub fn events(
    spec: &DisasterRecoveryPlanSpec,
    old: &DisasterRecoveryPlanStatus,
    new: &DisasterRecoveryPlanStatus,
    seen: &Observed,
    decision: &Decision,
    acted: &[Acted],
    sync_requested: bool,
) -> Vec<Told> {
    let mut told = Vec::new();
    let observing = spec.management_policy == ManagementPolicy::Observe;
    let id = new.plan_id.as_deref().unwrap_or_default();
    if let (Some(gone), Sight::Absent { missing: Some(_), .. }, None, None, None) =
        (&old.plan_id, &seen.plan, &old.creation, &new.creation, &old.missing_since)
    {
        told.push(Told::warning("PlanGone", "Observe", format!("plan {gone} was deleted by somebody else")));
    }
    for it in acted {
        match &it.outcome {
            Outcome::CreatedPlan(id) => told.push(Told::normal("Created", "CreatePlan", format!("created plan {id}"))),
            Outcome::Synced { done: 0, failed: 0, .. } => {
                let note = "there is no checkpoint to synchronize".into();
                told.push(Told::warning("CheckpointsNotSynced", "SyncCheckpoints", note));
            }
            Outcome::Synced { done, failed: 0, .. } => {
                told.push(Told::normal(
                    "CheckpointsSynced",
                    "SyncCheckpoints",
                    format!("synchronized all {done} checkpoints"),
                ));
            }
            Outcome::Synced { done, failed, first } => {
                let why = first.as_ref().map(ToString::to_string).unwrap_or_default();
                let note = format!("synchronized {done} checkpoints, {failed} failed; the first: {why}");
                told.push(Told::warning("CheckpointsNotSynced", "SyncCheckpoints", note));
            }
            Outcome::Done | Outcome::AddedItem(_) | Outcome::Failed(_) | Outcome::Skipped => {}
        }
    }
    let found = matches!(seen.plan, Sight::Found(_));
    if found && old.plan_id.is_none() && new.plan_id.is_some() && !observing {
        // After an unanswered Create, the plan with our mark is the one that it made.
        told.push(match old.creation {
            Some(_) => {
                Told::normal("Created", "CreatePlan", format!("plan {id} was created by a call whose answer was lost"))
            }
            None => Told::normal("Adopted", "Adopt", format!("took over plan {id}")),
        });
    }
    if observing && sync_requested {
        let note = "no checkpoint was synchronized: managementPolicy is Observe".into();
        told.push(Told::warning("CheckpointsNotSynced", "SyncCheckpoints", note));
    }
    let fields: Vec<_> = old.drift.iter().map(|it| it.field.clone()).collect();
    let change = Change {
        before: &old.conditions,
        after: &new.conditions,
        drift: &fields,
        corrected: old.synced_generation == new.synced_generation,
    };
    told.extend(change.drift());
    if change.entered(kind::SYNCED, synced::ITEMS_RUNNING) {
        told.push(Told::warning(synced::ITEMS_RUNNING, "Observe", change.message(kind::SYNCED)));
    }
    if let Verdict::Refused { reason, message } = &decision.verdict {
        told.extend(change.refused(reason, message));
    }
    if !new.paused_items.is_empty() && old.paused_items.is_empty() {
        let note = "the API refuses the change while items run: stopping them, they are started again after it";
        told.push(Told::normal("ItemsPaused", "StopItem", note.into()));
    }
    told.extend(change.objective());
    told
}
