//! Decides the changes of an existing plan and its items.

use super::items::{self, ItemDecision};
use super::update::{self, Attempt, Change};
use super::{
    Decision, Details, Scope, Step, Verdict, Work, creating, creation_window_end, missing_plan, owned_by_another, plan,
    resuming, runs,
};
use crate::api::condition::synced;
use crate::api::plan::{Drift, ItemPolicy};
use crate::cloud::rocketmq::{ItemView, PlanView};
use crate::controller::ownership::Owner;
use crate::controller::plan::observe::Observed;
use crate::controller::plan::resolve;

/// The decision on an existing plan that the operator must not change, if there is a reason.
fn present_refused(scope: &Scope<'_>, observed: &Observed, plan: &PlanView) -> Option<Decision> {
    let binding = &observed.binding;
    let owner = resolve::owner(plan, &binding.mark);
    // Observe mode accepts the plan of another owner: it changes nothing.
    if let (Owner::Another(owner), false) = (&owner, scope.observe_only()) {
        return Some(Decision::refused(synced::OWNED_BY_ANOTHER, owned_by_another(plan.plan_id, owner)));
    }
    if let Some(named) = binding.spec_plan_id.filter(|id| *id != plan.plan_id) {
        let message = format!(
            "spec.planId is {named}, but the object manages plan {}: set planId to {:?}, remove it, or make a new object",
            plan.plan_id,
            plan.plan_id.to_string()
        );
        return Some(Decision::refused(synced::INVALID_SPEC, message));
    }
    // The intent of a Create is written only after the proof that the former plan is gone.
    let missing = observed.missing.filter(|_| scope.status.creation.is_none() && !scope.observe_only());
    if let Some(wait) = missing.and_then(|id| missing_plan(scope, id)) {
        return Some(creating(format!("{wait}; plan {} carries the mark of this object as well", plan.plan_id)));
    }
    let hidden = creation_window_end(scope.status.creation.as_ref(), scope.visibility_window, scope.now)?;
    let unsure = owner == Owner::Unmarked && !scope.observe_only();
    unsure.then(|| creating(format!("whether an earlier call created another plan is known at {hidden}")))
}

/// The refusal of differences in fields that the API cannot change. All else is managed.
fn immutable_refusal(immutable: &[Drift]) -> Option<(&'static str, String)> {
    let fields: Vec<_> = immutable.iter().map(|it| format!("{} ({} → {})", it.field, it.found, it.wanted)).collect();
    (!fields.is_empty()).then(|| {
        let message = format!(
            "the API cannot change {}: write what the plan has, or make a new object with another planName and delete this \
             one",
            fields.join(", ")
        );
        (synced::IMMUTABLE_FIELD, message)
    })
}

/// The change of the plan itself.
struct PlanUpdate {
    step: Option<Step>,
    change: Option<Change>,
    attempt: Attempt,
    /// Whether a user asks for it: by the spec, or by a Secret.
    wanted: bool,
}

/// Decides about the change of the plan itself.
fn plan_update(
    scope: &Scope<'_>,
    observed: &Observed,
    plan: &PlanView,
    update: plan::Update,
    others: &[&ItemView],
) -> PlanUpdate {
    let manages = observed.manages(plan);
    let texts = plan::texts_hash(scope, observed);
    let new_texts = scope.status.synced_texts.as_ref().map_or(!scope.synced_before(), |known| *known != texts);
    let wanted = !manages || update.rotated || new_texts || (update.beyond_texts && !scope.synced_before());
    let Some(step) = update.step.filter(|_| observed.credentials.is_ok()) else {
        return PlanUpdate { step: None, change: None, attempt: Attempt::Send, wanted };
    };
    let change = Change::of_plan(scope, observed, &update.fields, observed.items.iter().any(runs));
    // No item is stopped because another actor changes name or description.
    let worth_a_pause = update.beyond_texts || !manages || new_texts;
    // The operator may stop items that it prunes, but not items that the spec keeps.
    let kept = scope.object.spec.item_policy == ItemPolicy::Keep && others.iter().any(|item| runs(item));
    let pausable = update::may_pause(scope) && worth_a_pause && !kept && observed.has_instances(&scope.object.spec);
    let attempt = change.attempt(scope, pausable);
    PlanUpdate { step: Some(step), change: Some(change), attempt, wanted }
}

/// Changes an existing plan and its items as the spec says.
pub(super) fn present(scope: &Scope<'_>, observed: &Observed, plan: &PlanView) -> Decision {
    let plan_id = plan.plan_id;
    if let Some(refused) = present_refused(scope, observed, plan) {
        return resuming(scope, observed, plan_id, refused);
    }
    let observing = scope.observe_only();
    let immutable = plan::immutable(&scope.object.spec, observed, plan);
    let missing_secret = observed.credentials.as_ref().err().filter(|_| !observing);
    let others = observed.other_items();
    let update = plan::update(scope, observed, plan, observed.credentials.as_ref().ok());
    let texts_differ = update.texts_differ;
    let mut drift = [immutable.clone(), update.drift.clone()].concat();
    let PlanUpdate { step, change, attempt, wanted } = plan_update(scope, observed, plan, update, &others);

    // Only stopped items are left, so that the plan can be changed now.
    let stopped = !scope.status.paused_items.is_empty() && step.is_some() && !observed.items.iter().any(runs);
    let pausing = attempt == Attempt::Pause || (attempt == Attempt::Send && stopped);
    let over = update::pause_is_over(scope.status, scope.now);
    let pausing = pausing && !over;
    let mut items = match observed.manages(plan) || observing {
        true => items::decide_items(scope, observed, plan_id, &others, pausing),
        // The operator marks a plan before it manages it.
        false => ItemDecision::default(),
    };
    drift.append(&mut items.drift);
    if observing {
        let decision = Decision { drift, ..Decision::new(vec![], Verdict::InSync) };
        return decision.pausing(scope.status.paused_items.clone());
    }
    let mut refusals: Vec<_> =
        missing_secret.map(|it| (synced::CREDENTIALS_NOT_FOUND, it.to_string())).into_iter().collect();
    refusals.extend(immutable_refusal(&immutable));
    refusals.append(&mut items.refusals);
    let mut retries = std::mem::take(&mut items.retries);
    let topics_wanted = !items.update_waits.is_empty() && !scope.synced_before();
    let plan_wanted = wanted && matches!(attempt, Attempt::Wait(_) | Attempt::Retry(_));
    let mut plan_step = None;
    let kept = match scope.object.spec.item_policy {
        ItemPolicy::Keep => others.iter().filter(|item| runs(item)).map(|item| item.item_id).collect(),
        ItemPolicy::Prune => vec![],
    };
    match attempt {
        // The items start before another attempt, which may fail and end the reconcile.
        Attempt::Send | Attempt::Pause => plan_step = step.filter(|_| !over),
        Attempt::Wait(cause) => {
            items.update_waits.push(update::waiting(scope, "the change of the plan", &cause, &kept));
        }
        Attempt::Retry(cause) => {
            items.update_waits.push(update::waiting(scope, "the change of the plan", &cause, &kept));
            retries.extend(step.filter(|_| items::transitional(&observed.items).is_empty()));
        }
        Attempt::Sent(until) => {
            items.waits.push(format!("waiting for the change of the plan to become visible, until {until} at most"));
        }
        Attempt::Refused(message) => refusals.push((synced::INVALID_SPEC, message)),
    }
    let update_waits = items.update_waits.join("; ");
    let synced_texts = (!texts_differ).then(|| plan::texts_hash(scope, observed));
    let mut details = Details { changes: change.into_iter().collect(), synced_texts, ..Details::default() };
    details.changes.append(&mut items.changes);
    details.paused = std::mem::take(&mut items.paused);
    let creating = items.creating;
    let (mut steps, waits) = match pausing {
        true => paused_update(scope, observed, plan_id, plan_step, &others, &mut details.paused),
        false => running_update(scope, observed, plan_id, plan_step, items),
    };
    details.paused.extend(match pausing {
        true => scope.status.paused_items.clone(),
        false => items::still_paused(scope, observed),
    });
    details.paused.sort();
    details.paused.dedup();
    match (update_waits.is_empty(), plan_wanted || topics_wanted) {
        (true, _) => {}
        (false, true) => refusals.push((synced::UPDATE_WAITS, update_waits)),
        (false, false) => details.update_waits = Some(update_waits),
    }
    let verdict = present_verdict(refusals.into_iter().next(), &steps, waits, creating);
    // Another attempt at a change that waits is no work in progress.
    steps.extend(retries);
    Decision { details, drift, ..Decision::new(steps, verdict) }
}

/// The verdict on an existing plan.
fn present_verdict(
    refused: Option<(&'static str, String)>,
    steps: &[Step],
    waits: Vec<String>,
    creating: bool,
) -> Verdict {
    let work = if creating { Work::Creating } else { Work::Updating };
    match (refused, waits.into_iter().next()) {
        (Some((reason, message)), _) => Verdict::Refused { reason, message },
        (None, _) if !steps.is_empty() => Verdict::Acting(work),
        (None, Some(on)) => Verdict::Waiting { work, on },
        (None, None) => Verdict::InSync,
    }
}

/// Stops every running item, then changes the plan. Adds the stopped items to `paused`.
fn paused_update(
    scope: &Scope<'_>,
    observed: &Observed,
    plan_id: i64,
    plan_step: Option<Step>,
    others: &[&ItemView],
    paused: &mut Vec<String>,
) -> (Vec<Step>, Vec<String>) {
    let waits = items::transitional(&observed.items);
    // An item that the operator may not stop and that is about to run would make the stops useless.
    let unsettled = scope.object.spec.item_policy == ItemPolicy::Keep && items::any_changing(others);
    let mut steps = if unsettled { vec![] } else { items::stop_running(plan_id, &observed.items) };
    paused.extend(steps.iter().filter_map(Step::item_id).map(|id| id.to_string()));
    if steps.is_empty() && waits.is_empty() {
        steps.extend(plan_step);
    }
    (steps, waits)
}

/// Changes the plan and its items while replication continues, and starts the paused items again.
fn running_update(
    scope: &Scope<'_>,
    observed: &Observed,
    plan_id: i64,
    plan_step: Option<Step>,
    items: ItemDecision,
) -> (Vec<Step>, Vec<String>) {
    let (mut steps, mut waits) = (vec![], items.waits);
    // The API refuses to change the plan while an item changes. The items do not wait for the plan.
    let changing = items::transitional(&observed.items);
    match plan_step {
        Some(step) if changing.is_empty() => steps.push(step),
        Some(_) => waits.extend(changing),
        None => {}
    }
    steps.extend(items.steps);
    let started = items::start_paused(scope, observed, plan_id, &steps);
    steps.extend(started);
    (steps, waits)
}
