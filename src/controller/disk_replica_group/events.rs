//! The events that only groups have, by comparing the status before and after a reconcile. Pure.

use super::act::Effect;
use super::call::Call;
use super::decide::{Action, drill_requested};
use super::observe::Lookup;
use super::status::drill_ignored;
use super::{Ran, Scope, resolve};
use crate::api::condition::condition_type;
use crate::api::disk_replica_group::{
    DiskReplicaGroupStatus, DrillResult, DrillRun, Operation, OperationType, Phase, RequestPhase,
};
use crate::api::event::{action, reason};
use crate::controller::events::{Change, EventRecord};

/// The events of a reconcile.
pub fn events(before: &Scope<'_>, new: &DiskReplicaGroupStatus, ran: &Ran<'_>) -> Vec<EventRecord> {
    let old = before.status;
    let mut records = Vec::new();
    records.extend(gone(before, ran));
    for it in ran.acted {
        if let (Action::CreateGroup(_), Some(Effect::Created(id))) = (&it.step.action, it.effect()) {
            records.push(EventRecord::normal(reason::CREATED, action::CREATE_GROUP, format!("created group {id}")));
        }
    }
    records.extend(bound(before, new, ran));
    for operation in new.operations.iter().rev() {
        let known = old.operations.iter().find(|it| it.number == operation.number);
        records.extend(operation_event(known, operation));
    }
    records.extend(request_ended(old, new));
    records.extend(drill_waits(old, new));
    records.extend(drill_started(old, new));
    records.extend(drill_ended(old, new));
    if drill_requested(before) && drill_ignored(before) {
        let note = "no drill was begun: set spec.drill, and managementPolicy: Manage";
        records.push(EventRecord::warning(reason::DRILL_NOT_STARTED, action::START_DRILL, note));
    }
    let change = Change::new(old, new);
    if change.appeared(condition_type::DRILL_NOT_CLEARED) {
        let note = change.message(condition_type::DRILL_NOT_CLEARED);
        records.push(EventRecord::warning(reason::DRILL_NOT_CLEARED, action::CLEAR_DRILL, note));
    }
    records
}

fn gone(before: &Scope<'_>, ran: &Ran<'_>) -> Option<EventRecord> {
    let Lookup::Absent(Some(id)) = &ran.observed.group else { return None };
    let part = resolve::group_part(id);
    let proven = before.absences.newly_proven(&part);
    before.status.replica_group_id.as_ref().filter(|known| *known == id && proven && !before.deleting())?;
    let note = format!("group {id} was deleted by another actor");
    Some(EventRecord::warning(reason::GROUP_GONE, action::OBSERVE, note))
}

/// The event of a group that is bound now. After a Create without an answer, it is the result of that call.
fn bound(before: &Scope<'_>, new: &DiskReplicaGroupStatus, ran: &Ran<'_>) -> Option<EventRecord> {
    let new_binding = before.status.replica_group_id.is_none() && !before.observe_only();
    ran.observed.group.group().filter(|_| new_binding)?;
    let id = new.replica_group_id.as_deref()?;
    Some(match Call::CreateGroup.pending(before.status) {
        Some(_) => {
            let note = format!("group {id} was created by a call whose answer was lost");
            EventRecord::normal(reason::CREATED, action::CREATE_GROUP, note)
        }
        None => EventRecord::normal(reason::ADOPTED, action::ADOPT, format!("took over group {id}")),
    })
}

fn operation_event(before: Option<&Operation>, now: &Operation) -> Option<EventRecord> {
    if before.is_some_and(|before| before.phase == now.phase) {
        return None;
    }
    let (started, completed, action) = match now.r#type {
        OperationType::Failover => (reason::FAILOVER_STARTED, reason::FAILOVER_COMPLETED, action::FAILOVER),
        OperationType::Failback => (reason::FAILBACK_STARTED, reason::FAILBACK_COMPLETED, action::FAILOVER),
        OperationType::Cancel => (reason::CANCEL_STARTED, reason::CANCEL_COMPLETED, action::REPROTECT),
        OperationType::Reprotect => (reason::REPROTECT_STARTED, reason::REPROTECT_COMPLETED, action::REPROTECT),
    };
    let target = now.target_site.as_str();
    let ended = format!("{:?}: {}", now.r#type, now.message);
    Some(match now.phase {
        Phase::Running => {
            let mode = now.mode.map(|mode| format!("{mode:?}, ")).unwrap_or_default();
            EventRecord::normal(started, action, format!("active site: {target} ({mode}operation {})", now.number))
        }
        Phase::Succeeded if now.message.is_empty() => {
            EventRecord::normal(completed, action, format!("active site: {target}"))
        }
        Phase::Succeeded => EventRecord::normal(completed, action, now.message.clone()),
        Phase::Failed => EventRecord::warning(reason::OPERATION_FAILED, action, ended),
        Phase::Cancelled => EventRecord::normal(reason::OPERATION_CANCELLED, action, ended),
    })
}

/// The event of a request that never begins.
fn request_ended(old: &DiskReplicaGroupStatus, new: &DiskReplicaGroupStatus) -> Option<EventRecord> {
    let request = new.request.as_ref()?;
    let known = old.request.as_ref().is_some_and(|it| it.phase == request.phase);
    if known && old.last_requested_at == new.last_requested_at {
        return None;
    }
    let reason = match request.phase {
        RequestPhase::Expired => reason::FAILOVER_EXPIRED,
        RequestPhase::Refused | RequestPhase::Invalid => reason::FAILOVER_REFUSED,
        RequestPhase::Waiting | RequestPhase::Running | RequestPhase::Succeeded => return None,
    };
    Some(EventRecord::warning(reason, action::FAILOVER, request.message.clone()))
}

fn waiting_for(status: &DiskReplicaGroupStatus) -> Option<&String> {
    status.drills.as_ref()?.waiting_for.as_ref()
}

fn drill_waits(old: &DiskReplicaGroupStatus, new: &DiskReplicaGroupStatus) -> Option<EventRecord> {
    let on = waiting_for(new).filter(|on| waiting_for(old) != Some(on))?;
    let note = format!("a drill is due and waits for {on}");
    Some(EventRecord::warning(reason::DRILL_NOT_STARTED, action::START_DRILL, note))
}

fn current_drill(status: &DiskReplicaGroupStatus) -> Option<&String> {
    status.drills.as_ref()?.current.as_ref()?.drill_id.as_ref()
}

fn drill_started(old: &DiskReplicaGroupStatus, new: &DiskReplicaGroupStatus) -> Option<EventRecord> {
    let id = current_drill(new).filter(|id| current_drill(old) != Some(id))?;
    Some(EventRecord::normal(reason::DRILL_STARTED, action::START_DRILL, format!("drill {id} was begun")))
}

fn last_drill(status: &DiskReplicaGroupStatus) -> Option<&DrillRun> {
    status.drills.as_ref()?.last.as_ref()
}

fn drill_ended(old: &DiskReplicaGroupStatus, new: &DiskReplicaGroupStatus) -> Option<EventRecord> {
    let run = last_drill(new).filter(|run| last_drill(old) != Some(run))?;
    let id = run.drill_id.as_deref().unwrap_or("-");
    Some(match run.result {
        Some(DrillResult::Succeeded) => {
            let took = run.duration_seconds.unwrap_or_default();
            let point = run.recovery_point.map_or_else(|| "unknown".into(), |it| it.to_string());
            let note = format!("drill {id} cloned the recovery point {point} in {took} s, and was cleared");
            EventRecord::normal(reason::DRILL_SUCCEEDED, action::CLEAR_DRILL, note)
        }
        Some(DrillResult::Failed) | None => {
            let note = format!("drill {id} failed: {}", run.message);
            EventRecord::warning(reason::DRILL_FAILED, action::CLEAR_DRILL, note)
        }
    })
}
