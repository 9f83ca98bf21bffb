//! What is told in events: what a person did not cause, by comparing the status before and after a pass. Pure.

use super::Scope;
use super::act::{Acted, Outcome};
use super::decide::{Action, Decision, Verdict};
use super::observe::{Lookup, Observed};
use super::status::drill_ignored;
use crate::api::DRILL_ANNOTATION;
use crate::api::condition::{condition_type, synced};
use crate::api::disk_replica_group::{DiskReplicaGroupStatus, DrillResult, DrillRun, Operation, OperationType, Phase};
use crate::controller::conditions;
use crate::controller::events::Change;
use crate::controller::resource::{EventRecord, Resource};

/// The events of a pass.
pub fn events(
    before: &Scope<'_>,
    new: &DiskReplicaGroupStatus,
    seen: &Observed,
    decision: &Decision,
    acted: &[Acted],
) -> Vec<EventRecord> {
    let old = &before.status;
    let mut told = Vec::new();
    if let (Some(gone), Lookup::Absent(_), None, Some(_)) =
        (&old.replica_group_id, &seen.group, &old.missing_since, &new.missing_since)
    {
        told.push(EventRecord::warning("GroupGone", "Observe", format!("group {gone} was not found any more")));
    }
    for it in acted {
        if let (Action::CreateGroup(_), Outcome::Made(id)) = (&it.step.action, &it.outcome) {
            told.push(EventRecord::normal("Created", "CreateGroup", format!("created group {id}")));
        }
    }
    let id = new.replica_group_id.as_deref().unwrap_or_default();
    if seen.group.group().is_some() && old.replica_group_id.is_none() && !before.object.observing() {
        told.push(match old.pending_calls.iter().any(|it| it.call == "CreateDiskReplicaGroup") {
            true => {
                let note = format!("group {id} was created by a call whose answer was lost");
                EventRecord::normal("Created", "CreateGroup", note)
            }
            false => EventRecord::normal("Adopted", "Adopt", format!("took over group {id}")),
        });
    }
    for operation in new.operations.iter().rev() {
        let known = old.operations.iter().find(|it| it.number == operation.number);
        told.extend(operations(known, operation));
    }
    told.extend(drills(old, new));
    let asked = before.annotation(DRILL_ANNOTATION);
    if asked.is_some() && asked != old.last_handled_drill_at.as_deref() && drill_ignored(before) {
        let note = "no drill was begun: set spec.drill, and managementPolicy: Manage";
        told.push(EventRecord::warning("DrillNotStarted", "StartDrill", note.into()));
    }
    let fields: Vec<_> = old.drift.iter().map(|it| it.field.clone()).collect();
    let change = Change {
        before: &old.conditions,
        after: &new.conditions,
        drift: &fields,
        corrected: old.synced_generation == new.synced_generation,
    };
    told.extend(change.drift());
    if change.entered(condition_type::SYNCED, synced::DISKS_ATTACHED) {
        told.push(EventRecord::warning(synced::DISKS_ATTACHED, "Observe", change.message(condition_type::SYNCED)));
    }
    if let Verdict::Refused { reason, message } = &decision.verdict
        // That is told as drift.
        && *reason != synced::DRIFTED
    {
        told.extend(change.refused(reason, message));
    }
    told.extend(change.objective());
    if conditions::find(&old.conditions, condition_type::DRILL_NOT_CLEARED).is_none()
        && conditions::find(&new.conditions, condition_type::DRILL_NOT_CLEARED).is_some()
    {
        told.push(EventRecord::warning(
            "DrillNotCleared",
            "ClearDrill",
            change.message(condition_type::DRILL_NOT_CLEARED),
        ));
    }
    told
}

fn operations(before: Option<&Operation>, now: &Operation) -> Option<EventRecord> {
    let (begun, done, action) = match now.r#type {
        OperationType::Failover => ("FailoverStarted", "FailoverCompleted", "Failover"),
        OperationType::Failback => ("FailbackStarted", "FailbackCompleted", "Failover"),
        OperationType::Cancel => ("CancelStarted", "CancelCompleted", "Reprotect"),
        OperationType::Reprotect => ("ReprotectStarted", "ReprotectCompleted", "Reprotect"),
    };
    let target = now.target_site.as_str();
    if before.is_some_and(|before| before.phase == now.phase) {
        return None;
    }
    Some(match now.phase {
        Phase::Running => {
            let mode = now.mode.map(|mode| format!("{mode:?}, ")).unwrap_or_default();
            EventRecord::normal(begun, action, format!("active site: {target} ({mode}operation {})", now.number))
        }
        Phase::Succeeded => {
            let took = now.recovery_time_seconds.map(|it| format!(" after {it} s")).unwrap_or_default();
            let lost = now.recovery_point_age_seconds.map(|it| format!(", with data that was {it} s old"));
            let note = format!("active site: {target}{took}{}", lost.unwrap_or_default());
            EventRecord::normal(done, action, note)
        }
        Phase::Failed => EventRecord::warning("OperationFailed", action, format!("{:?}: {}", now.r#type, now.message)),
        Phase::Cancelled => {
            EventRecord::normal("OperationCancelled", action, format!("{:?}: {}", now.r#type, now.message))
        }
    })
}

fn drills(old: &DiskReplicaGroupStatus, new: &DiskReplicaGroupStatus) -> Vec<EventRecord> {
    let current = |status: &DiskReplicaGroupStatus| status.drills.as_ref().and_then(|it| it.current.clone());
    let last = |status: &DiskReplicaGroupStatus| status.drills.as_ref().and_then(|it| it.last.clone());
    let mut told = vec![];
    let waiting = |status: &DiskReplicaGroupStatus| status.drills.as_ref().and_then(|it| it.waiting_for.clone());
    if let Some(on) = waiting(new).filter(|on| waiting(old).as_ref() != Some(on)) {
        told.push(EventRecord::warning("DrillNotStarted", "StartDrill", format!("a drill is due and waits for {on}")));
    }
    let begun = |run: &Option<DrillRun>| run.as_ref().and_then(|it| it.drill_id.clone());
    if let Some(id) = begun(&current(new)).filter(|id| begun(&current(old)).as_ref() != Some(id)) {
        told.push(EventRecord::normal("DrillStarted", "StartDrill", format!("drill {id} was begun")));
    }
    if let Some(run) = last(new).filter(|run| last(old).as_ref() != Some(run)) {
        let id = run.drill_id.clone().unwrap_or_else(|| "-".into());
        told.push(match run.result {
            Some(DrillResult::Succeeded) => {
                let took = run.duration_seconds.unwrap_or_default();
                let point = run.recovery_point.map(|it| it.to_string()).unwrap_or_else(|| "unknown".into());
                let note = format!("drill {id} cloned the recovery point {point} in {took} s, and was cleared");
                EventRecord::normal("DrillSucceeded", "ClearDrill", note)
            }
            Some(DrillResult::Failed) | None => {
                EventRecord::warning("DrillFailed", "ClearDrill", format!("drill {id} failed: {}", run.message))
            }
        });
    }
    told
}
