//! The status of a plan after a reconcile that acted: the observed facts, the effects of the steps, the kind's conditions, and
//! the time of the next reconcile. Pure.

mod conditions;
mod facts;

use self::conditions::readiness;
use self::facts::{bind, mappings, sent_credentials, updates};
use super::act::created_plan;
use super::coverage;
use super::decide::{Decision, Step, Verdict};
use super::grounds::missing_is_proven;
use super::observe::Observed;
use super::{Acted, Ran, Scope, resolve};
use crate::api::PLAN_ID_ANNOTATION;
use crate::api::SYNC_CHECKPOINTS_ANNOTATION;
use crate::api::condition::synced;
use crate::api::plan::{DisasterRecoveryPlan, DisasterRecoveryPlanStatus, Drift, PendingUpdate, UpdateOutcome};
use crate::cloud::error::{Class, Error};
use crate::controller::Requeue;
use crate::controller::conditions::{ConditionState, join_limited};
use crate::controller::ownership::Owner;
use crate::controller::resource::Report;
use crate::controller::steps::{Step as _, first_failure};

/// The report of a reconcile that acted. `scope.status` holds the intents.
pub fn report(scope: &Scope<'_>, ran: &Ran<'_>) -> Report<DisasterRecoveryPlan> {
    let Ran { observed, decision, acted } = *ran;
    let mut new = scope.status.clone();
    bind(scope, &mut new, ran);
    mappings(scope, &mut new, observed, acted);
    sent_credentials(scope, &mut new, observed, acted);
    updates(scope, &mut new, ran);
    new.head.drift = drift(scope, decision);
    if scope.observe_only() {
        new.last_handled_sync_checkpoints_at = scope.annotation(SYNC_CHECKPOINTS_ANNOTATION).map(Into::into);
    }
    coverage::refresh(scope, &mut new);
    let synced = synced(scope, &new, ran);
    let ready = readiness(scope, decision, observed);
    let annotations = plan_id(scope, observed, acted).map(|id| (PLAN_ID_ANNOTATION, id)).into_iter().collect();
    let requeue = requeue(scope, &new, ran);
    Report { ready, synced, annotations, requeue, status: new }
}

/// The differences. Those that a correction in progress found last until everything runs again.
fn drift(scope: &Scope<'_>, decision: &Decision) -> Vec<Drift> {
    let mut drift = decision.shown_drift();
    let correcting = scope.synced_before() && !scope.deleting();
    let working = matches!(decision.verdict, Verdict::Acting(_) | Verdict::Waiting { .. });
    if (correcting || !scope.status.paused_items.is_empty()) && working {
        let dropped = |old: &&Drift| !decision.drift.iter().any(|new| new.field == old.field);
        drift.extend(scope.head().drift.iter().filter(dropped).cloned());
        drift.truncate(Decision::MAX_DRIFT);
    }
    drift
}

/// `Synced` where the API refuses changes because items run, and whether a person has to act.
fn synced(scope: &Scope<'_>, new: &DisasterRecoveryPlanStatus, ran: &Ran<'_>) -> Option<(ConditionState, bool)> {
    let waiting = |it: &PendingUpdate| it.outcome == UpdateOutcome::RefusedWhileRunning;
    if scope.deleting() {
        return None;
    }
    let failed = first_failure(ran.acted);
    if let (Some(message), Verdict::InSync) = (&ran.decision.details.update_waits, &ran.decision.verdict)
        && failed.is_none_or(|error| error.class == Class::Conflict)
    {
        return Some((ConditionState::no(synced::UPDATE_WAITS, message.clone()), false));
    }
    // The refusal of this reconcile. The next one decides whether items are stopped for the change.
    let refused = failed.filter(|error| error.class == Class::Conflict)?;
    if ran.decision.verdict.refuses() || !new.pending_updates.iter().any(waiting) {
        return None;
    }
    let text = format!("the API refuses a change while items run: {refused}");
    let state = match scope.synced_before() && !new.head.drift.is_empty() {
        true => {
            let fields: Vec<_> = new.head.drift.iter().map(|it| it.field.clone()).collect();
            ConditionState::no(synced::DRIFTED, format!("somebody changed {}; {text}", join_limited(&fields)))
        }
        false => ConditionState::no(synced::PROGRESSING, text),
    };
    Some((state, false))
}

/// The ID for the annotation: of a plan that carries this object's mark, or of the new one.
fn plan_id(scope: &Scope<'_>, observed: &Observed, acted: &[Acted]) -> Option<String> {
    if scope.observe_only() {
        return None;
    }
    // Until the missing plan of the annotation is known to be gone, the annotation names it.
    let certain = observed.missing.is_none() || missing_is_proven(scope, observed);
    let marked = observed.found().filter(|plan| certain && resolve::owner(plan, &observed.binding.mark) == Owner::Us);
    created_plan(acted).or(marked.map(|plan| plan.plan_id)).map(|id| id.to_string())
}

/// Whether the first failure concerns one mapping only.
fn concerns_an_item(acted: &[Acted]) -> bool {
    let failed = acted.iter().find(|it| it.error().is_some());
    failed.is_some_and(|it| it.step.stands_alone() && !matches!(it.step, Step::UpdatePlan { .. }))
}

/// When to reconcile again.
fn requeue(scope: &Scope<'_>, new: &DisasterRecoveryPlanStatus, ran: &Ran<'_>) -> Requeue {
    let Ran { decision, acted, .. } = *ran;
    let paused = !scope.status.paused_items.is_empty();
    let failed = first_failure(acted);
    match (failed, &decision.verdict) {
        (Some(Error { class: Class::Conflict, .. }), _) => Requeue::Soon,
        // Items that were stopped for a refused change start again without delay.
        (Some(Error { class: Class::Denied | Class::Invalid, .. }), _) if paused => Requeue::Soon,
        // One topic that does not exist must not delay the others.
        (Some(Error { class: Class::Invalid, .. }), _) if concerns_an_item(acted) => match changed_something(acted) {
            true => Requeue::Soon,
            false => Requeue::Poll,
        },
        (Some(error), _) => Requeue::Retry(error.class),
        (None, Verdict::Acting(_) | Verdict::Waiting { .. }) => Requeue::Soon,
        (None, Verdict::Refused { .. }) if paused || !acted.is_empty() => Requeue::Soon,
        // Another attempt at a change that waited succeeded.
        (None, Verdict::InSync) if changed_something(acted) => Requeue::Soon,
        // A read between reconciles finds later changes.
        (None, Verdict::InSync) if is_settled(scope, new, ran) => Requeue::Observed,
        (None, Verdict::InSync | Verdict::Refused { .. } | Verdict::Released { .. }) => Requeue::Poll,
    }
}

/// Whether no later reconcile decides something else without a difference in the cloud.
fn is_settled(scope: &Scope<'_>, new: &DisasterRecoveryPlanStatus, ran: &Ran<'_>) -> bool {
    let calls = new.creation.is_none() && new.unanswered_creation.is_none() && new.item_creations.is_empty();
    let changes = ran.decision.details.changes.is_empty() && ran.decision.details.update_waits.is_none();
    let found = ran.observed.found().is_some() && ran.observed.missing.is_none() && ran.observed.items_complete;
    found && calls && changes && ran.observed.all_twins(scope).is_empty()
}

fn changed_something(acted: &[Acted]) -> bool {
    acted.iter().any(|it| it.effect().is_some())
}
