//! What is told in events: what a person did not cause, by comparing the status before and after a pass. Pure.

use super::act::{Acted, Outcome};
use super::diff::{Decision, Verdict};
use super::observe::{Observed, Sight};
use crate::api::condition::{kind, protected, synced};
use crate::api::plan::{DisasterRecoveryPlanSpec, DisasterRecoveryPlanStatus, ManagementPolicy};
use crate::conditions;
use crate::controller::kind::Told;

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
    let condition = |status: &DisasterRecoveryPlanStatus, kind| {
        conditions::find(&status.conditions, kind).map(|it| (it.status.clone(), it.reason.clone(), it.message.clone()))
    };
    let reason = |status, kind| condition(status, kind).map(|(_, reason, _)| reason).unwrap_or_default();
    let message = |status, kind| condition(status, kind).map(|(_, _, message)| message).unwrap_or_default();
    let (before, after) = (reason(old, kind::SYNCED), reason(new, kind::SYNCED));
    if after == synced::DRIFTED && before != after {
        told.push(Told::warning("DriftFound", "Observe", message(new, kind::SYNCED)));
    }
    let drifted =
        before == synced::DRIFTED || (!old.drift.is_empty() && old.synced_generation == new.synced_generation);
    if drifted && !old.drift.is_empty() && after == synced::IN_SYNC {
        let fields: Vec<_> = old.drift.iter().map(|it| it.field.as_str()).collect();
        told.push(Told::normal("DriftCorrected", "Update", format!("corrected {}", fields.join(", "))));
    }
    if after == synced::ITEMS_RUNNING && before != after {
        told.push(Told::warning(synced::ITEMS_RUNNING, "Observe", message(new, kind::SYNCED)));
    }
    if let Verdict::Refused { reason, message } = &decision.verdict
        && before != *reason
    {
        told.push(Told::warning(reason, "Observe", message.clone()));
    }
    if !new.paused_items.is_empty() && old.paused_items.is_empty() {
        let note = "the API refuses the change while items run: stopping them, they are started again after it";
        told.push(Told::normal("ItemsPaused", "StopItem", note.into()));
    }
    let (before, after) = (reason(old, kind::PROTECTED), reason(new, kind::PROTECTED));
    if after == protected::OBJECTIVE_EXCEEDED && before != after {
        told.push(Told::warning("ObjectiveExceeded", "Observe", message(new, kind::PROTECTED)));
    }
    if before == protected::OBJECTIVE_EXCEEDED && after == protected::WITHIN_OBJECTIVE {
        told.push(Told::normal("ObjectiveMet", "Observe", message(new, kind::PROTECTED)));
    }
    told
}
