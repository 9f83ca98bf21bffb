//! The status of a group after a reconcile that acted: the observed facts, the effects of the steps, the kind's conditions, and
//! the time of the next reconcile. Pure.

mod conditions;
mod facts;

use std::time::Duration;

use jiff::Timestamp;

use self::conditions::{attached_disks, failover_readiness, previews_now, protection, readiness};
use super::act::Effect;
use super::decide::{Action, Decision, Verdict};
use super::{Ran, Scope, lifecycle, resolve};
use crate::api::condition::{condition_type, drill, synced};
use crate::api::disk_replica_group::{DiskReplicaGroup, RequestPhase};
use crate::api::{DIRECTION_ANNOTATION, DRILL_ANNOTATION, GROUP_ID_ANNOTATION};
use crate::cloud::error::{Class, Error};
use crate::cloud::operation::ApiOperation;
use crate::controller::Requeue;
use crate::controller::conditions::{ConditionState, failure, remove};
use crate::controller::resource::Report;
use crate::controller::steps::{first_failure, primary_failure};

/// The report of a reconcile that acted. `scope.status` holds the intents.
pub fn report(scope: &Scope<'_>, ran: &Ran<'_>) -> Report<DiskReplicaGroup> {
    let Ran { observed, decision, acted } = *ran;
    let mut new = scope.status.clone();
    facts::facts(scope, &mut new, ran);
    if decision.details.drill_handled || drill_ignored(scope) {
        new.last_handled_drill_at = scope.annotation(DRILL_ANNOTATION).map(Into::into);
    }
    let (previews, answers) = previews_now(scope, observed, decision).unzip();
    new.failover_preview = previews;
    let protected = protection(scope, &new, observed, decision, answers.as_ref());
    scope.set(&mut new.head, condition_type::PROTECTED, protected);
    let failover_ready = failover_readiness(scope, observed, decision, answers.as_ref());
    scope.set(&mut new.head, condition_type::FAILOVER_READY, failover_ready);
    let ready = readiness(scope, &new, observed, decision);
    match not_cleared(ran) {
        Some(text) => {
            let state = ConditionState::yes(drill::CLEAR_OVERDUE, text);
            scope.set(&mut new.head, condition_type::DRILL_NOT_CLEARED, state);
        }
        None => remove(&mut new.head.conditions, condition_type::DRILL_NOT_CLEARED),
    }
    let synced = primary_failure(acted).and_then(|error| synced(scope, ran, error));
    let (annotations, requeue) = (annotations(scope, ran), requeue(scope, ran));
    Report { ready, synced, annotations, requeue, status: new }
}

/// `Synced` where the API refuses a call because disks are attached, and whether a person has to act.
fn synced(scope: &Scope<'_>, ran: &Ran<'_>, error: &Error) -> Option<(ConditionState, bool)> {
    let text = attached_disks(scope, ran.observed, ran.decision, error)?;
    Some(match scope.deleting() {
        true => (ConditionState::no(synced::DELETION_BLOCKED, text), failure(error).1),
        false => (ConditionState::no(synced::DISKS_ATTACHED, text), true),
    })
}

/// The annotations with the group's ID and its direction.
fn annotations(scope: &Scope<'_>, ran: &Ran<'_>) -> Vec<(&'static str, String)> {
    if scope.observe_only() {
        return vec![];
    }
    let created = ran.acted.iter().find_map(|it| match (&it.step.action, it.effect()) {
        (Action::CreateGroup(_), Some(Effect::Created(id))) => Some(id.clone()),
        _ => None,
    });
    let ours = &ran.observed.binding.owner;
    let found = ran.observed.group.group().filter(|it| resolve::owner(&it.tags).is_none_or(|owner| owner == ours));
    let found = found.filter(|_| ran.observed.all_twins(scope).is_empty());
    let direction = ran.decision.details.lifecycle.direction.as_str().to_owned();
    match created.or_else(|| found.map(|group| group.replica_group_id.clone())) {
        Some(id) => vec![(GROUP_ID_ANNOTATION, id), (DIRECTION_ANNOTATION, direction)],
        None => vec![],
    }
}

/// Whether the operator ignores a request for a drill: this object never begins one.
pub fn drill_ignored(scope: &Scope<'_>) -> bool {
    scope.object.spec.drill.is_none() || scope.observe_only()
}

/// The reason why the clones of a drill exist longer than they should.
fn not_cleared(ran: &Ran<'_>) -> Option<String> {
    let failed = ran.acted.iter().find_map(|it| match (&it.step.action, it.error()) {
        (Action::ClearDrill { drill_id }, Some(error)) => match error.class {
            // The drill is not ready to be cleared, or the next reconcile repeats the call.
            Class::Conflict | Class::Throttled { .. } | Class::Unavailable => None,
            Class::NotFound | Class::Denied | Class::Invalid | Class::Ambiguous => {
                Some(format!("drill {drill_id} could not be cleared: {error}"))
            }
        },
        _ => None,
    });
    let text = failed.or_else(|| ran.decision.details.drill_overdue.clone())?;
    Some(format!("{text}; its disks are billed until they are gone: delete them in the console if it goes on"))
}

/// Whether a refusal lasts: a person has to detach disks, or half of the recovery point objective has to pass between two
/// single synchronizations.
fn lasts(error: &Error) -> bool {
    error.operation == ApiOperation::ReprotectDiskReplicaGroup
        || ["DeviceAttached", "ManualSyncLimit"].iter().any(|code| error.code.contains(code))
}

/// When to reconcile again.
fn requeue(scope: &Scope<'_>, ran: &Ran<'_>) -> Requeue {
    let Ran { observed, decision, acted } = *ran;
    let drills = observed.drills.as_ref().and_then(|drills| drills.as_ref().err());
    match (first_failure(acted).or(drills), &decision.verdict) {
        // A person has to act, or some minutes have to pass.
        (Some(error), _) if error.class == Class::Conflict && lasts(error) => Requeue::Retry(Class::Denied),
        (Some(Error { class: Class::Conflict, .. }), _) => Requeue::Soon,
        (Some(error), _) => Requeue::Retry(error.class),
        (None, Verdict::Acting(_) | Verdict::Waiting { .. }) => Requeue::Soon,
        (None, _) if !acted.is_empty() || decision.details.drill_busy => Requeue::Soon,
        // A person waits for the first synchronization.
        (None, Verdict::InSync) if first_synchronization(ran) => Requeue::Soon,
        (None, Verdict::Refused { .. }) if waiting_until(decision).is_some() => {
            let left = waiting_until(decision).map(|at| at.duration_since(scope.now)).unwrap_or_default();
            Requeue::PollWithin(Duration::try_from(left).unwrap_or_default().min(WAITING_INTERVAL))
        }
        (None, Verdict::InSync | Verdict::Refused { .. } | Verdict::Released { .. }) => {
            match decision.details.drill_at {
                Some(at) => Requeue::PollWithin(Duration::try_from(at.duration_since(scope.now)).unwrap_or_default()),
                None => Requeue::Poll,
            }
        }
    }
}

/// Maximum time between two observations while a request waits: it may begin soon, and must not begin after its end.
const WAITING_INTERVAL: Duration = Duration::from_secs(30);

/// The end of a request that waits.
fn waiting_until(decision: &Decision) -> Option<Timestamp> {
    let request = decision.details.request.request.as_ref()?;
    request.expires_at.filter(|_| request.phase == RequestPhase::Waiting)
}

/// Whether the group replicates and has no recovery point yet.
fn first_synchronization(ran: &Ran<'_>) -> bool {
    let group = ran.observed.group.group().filter(|group| lifecycle::runs(&group.status));
    group.is_some_and(|group| ran.decision.details.lifecycle.valid_recovery_point(group).is_none())
}
