//! The facts in the status of a plan: the plan, its mappings, pauses and sent credentials. Conditions follow from them
//! elsewhere.

use secrecy::ExposeSecret;

use super::super::act::Effect;
use super::super::decide::{Step, Verdict, is_refused, pause_is_over, window, window_end};
use super::super::observe::{AclCredentials, Lookup, Observed};
use super::super::{Acted, Ran, Scope, resolve};
use crate::api::plan::{DisasterRecoveryPlanStatus, SentCredentials, TopicMappingStatus, UpdateAttempts};
use crate::cloud::error::{Class, Error};
use crate::cloud::rocketmq::{ItemStatus, ItemView, PlanView};
use crate::controller::conditions::seconds;
use crate::controller::ownership::Owner;
use crate::controller::steps::Outcome;

/// Maximum number of attempts at a change that the API accepts and does not keep.
const MAX_ATTEMPTS: i32 = 5;

/// The items that are stopped so that the plan or an item can be changed, and the changes that the API refused for good.
pub(super) fn pauses(
    scope: &Scope<'_>,
    new: &mut DisasterRecoveryPlanStatus,
    ran: &Ran<'_>,
    refused_while_running: bool,
) {
    if !ran.decision.details.pause_for_update {
        new.paused_items.clear();
        new.paused_since = None;
    }
    for item in ran.observed.items.iter().filter(|item| item.item_status == ItemStatus::Running) {
        let id = item.item_id.to_string();
        let refused = refused_while_running || refused_item(ran.acted, item.item_id);
        if refused && !new.paused_items.contains(&id) {
            new.paused_items.push(id);
            new.paused_since.get_or_insert(seconds(scope.now));
        }
    }
    new.update_attempts = attempts(scope, ran, refused_while_running);
}

/// Whether the API refused to change the item because of its status.
fn refused_item(acted: &[Acted], id: i64) -> bool {
    acted.iter().any(|it| match (&it.step, &it.outcome) {
        (Step::UpdateItem { item_id, .. }, Outcome::Failed(error)) => *item_id == id && error.class == Class::Conflict,
        _ => false,
    })
}

/// The attempts at the wanted change, while it does not succeed.
fn attempts(scope: &Scope<'_>, ran: &Ran<'_>, refused_while_running: bool) -> Option<UpdateAttempts> {
    let change = ran.decision.details.change.clone().filter(|_| !scope.reconcile_requested())?;
    let known = scope.status.update_attempts.clone().filter(|it| it.change == change && !expired(it, scope));
    let mut attempts = known.unwrap_or(UpdateAttempts { change, times: 0, refusal: None, refused_at: None });
    let advice = format!(
        "it is tried again in an hour, or when the spec or the Secret changes, or when {} is annotated",
        crate::api::RECONCILE_ANNOTATION
    );
    let mut last = None;
    for it in ran.acted {
        let Some((paused, runs)) = paused_for(scope, ran, &it.step, refused_while_running) else { continue };
        match &it.outcome {
            Outcome::Failed(error @ Error { class: Class::Invalid | Class::Denied | Class::NotFound, .. })
                if paused =>
            {
                attempts.refusal = Some(format!("{error}; {advice}"));
            }
            Outcome::Failed(error) if paused && !runs => last = Some(error.to_string()),
            Outcome::Done(_) if !matches!(it.step, Step::StopItem { .. }) => {
                last = Some("the API accepts the change and does not keep it".into());
            }
            _ => {}
        }
    }
    if let Some(last) = last {
        attempts.times += 1;
        if attempts.times >= MAX_ATTEMPTS {
            attempts.refusal = Some(format!("{last}; {advice}"));
        }
    }
    if pause_is_over(scope.status, scope.now) && attempts.refusal.is_none() {
        attempts.refusal = Some(format!("items were stopped for ten minutes without the change being made; {advice}"));
    }
    if attempts.refusal.is_some() {
        attempts.refused_at.get_or_insert(seconds(scope.now));
    }
    Some(attempts).filter(|it| it.times > 0 || it.refusal.is_some())
}

fn expired(attempts: &UpdateAttempts, scope: &Scope<'_>) -> bool {
    attempts.refused_at.is_some() && !is_refused(attempts, scope.now)
}

/// Whether items were stopped for this step, which makes another attempt useful, and whether its subject still runs. A step
/// that changes neither the plan nor an item's topics is not an attempt.
fn paused_for(scope: &Scope<'_>, ran: &Ran<'_>, step: &Step, refused_while_running: bool) -> Option<(bool, bool)> {
    let paused = &scope.status.paused_items;
    let stopped = |id: &i64| paused.contains(&id.to_string());
    match step {
        Step::UpdatePlan { .. } => Some((!paused.is_empty(), refused_while_running)),
        Step::UpdateItem { item_id, .. } => Some((stopped(item_id), runs(&ran.observed.items, *item_id))),
        Step::StopItem { item_id, .. } if stopped(item_id) && ran.decision.details.pause_for_update => {
            Some((true, true))
        }
        _ => None,
    }
}

fn runs(items: &[ItemView], id: i64) -> bool {
    items.iter().any(|it| it.item_id == id && it.item_status == ItemStatus::Running)
}

/// Sets the plan's ID and status, and removes the intent of a Create once its result is known.
pub(super) fn bind(scope: &Scope<'_>, new: &mut DisasterRecoveryPlanStatus, ran: &Ran<'_>) {
    let Ran { observed, decision, acted } = *ran;
    match (&observed.plan, plan_of(scope, observed)) {
        (Lookup::Found(_), Some(plan)) => {
            let observing = scope.observe_only();
            let ours = resolve::owner(plan, &observed.binding.mark) == Owner::Us;
            if observing || ours {
                new.plan_id = Some(plan.plan_id.to_string());
            }
            new.plan_status = Some(plan.plan_status.as_str().into());
            // Another plan proves nothing about the plan of a Create without an answer.
            if ours || !matches!(decision.verdict, Verdict::Waiting { .. }) {
                new.creation = None;
            }
        }
        (Lookup::Found(_), None) => new.plan_status = None,
        (Lookup::Absent { missing, .. }, _) => {
            // A new plan may not be visible yet, and a missing one is searched for once more.
            let known = new.creation.is_some() || matches!(decision.verdict, Verdict::Waiting { .. });
            if !known {
                new.plan_id = None;
            }
            if missing.is_some() && new.creation.is_none() {
                new.missing_since.get_or_insert(seconds(scope.now));
            }
            new.plan_status = None;
        }
    }
    if observed.found().is_some() {
        new.missing_since = None;
    }
    for it in acted {
        match (&it.step, &it.outcome) {
            (Step::CreatePlan { .. }, Outcome::Done(Effect::CreatedPlan(id))) => {
                new.plan_id = Some(id.to_string());
                new.missing_since = None;
            }
            (Step::CreatePlan { .. }, Outcome::Failed(Error { class: Class::Ambiguous, .. })) => new.plan_id = None,
            (Step::CreatePlan { .. }, _) => (new.plan_id, new.creation) = (None, None),
            // The operator requested the deletion: it does not search for the plan once more.
            (Step::DeletePlan { .. }, Outcome::Done(_)) => new.missing_since = Some(seconds(scope.now)),
            _ => {}
        }
    }
}

/// The plan, unless another object owns it: such a plan proves nothing about this object. Observe mode accepts any plan.
pub fn plan_of<'a>(scope: &Scope<'_>, observed: &'a Observed) -> Option<&'a PlanView> {
    let plan = observed.found()?;
    let foreign = matches!(resolve::owner(plan, &observed.binding.mark), Owner::Another(_));
    (scope.observe_only() || !foreign).then_some(plan)
}

/// Sets the mappings of the spec with their items.
pub(super) fn mappings(scope: &Scope<'_>, new: &mut DisasterRecoveryPlanStatus, observed: &Observed, acted: &[Acted]) {
    let spec = &scope.object.spec;
    if plan_of(scope, observed).is_none() {
        new.topic_mappings.clear();
        new.items = Some(format!("0/{}", spec.topic_mappings.len()));
        new.checkpoints = None;
        return;
    }
    item_creations(scope, new, observed, acted);
    let entries = spec.topic_mappings.iter().map(|mapping| {
        let old = scope.status.topic_mappings.iter().find(|it| it.name == mapping.name);
        let item = observed.item(&mapping.name);
        let pair = resolve::pair(observed.topics(&mapping.name));
        let pending = new.item_creations.iter().any(|it| it.topics == pair);
        let known = old.and_then(|it| it.item_id.clone()).filter(|_| pending);
        let found = item.map(|item| item.item_id.to_string());
        TopicMappingStatus {
            name: mapping.name.clone(),
            item_id: found.or(added(acted, &mapping.name)).or(known),
            item_status: item.map(|item| item.item_status.as_str().into()),
            checkpoints: old.and_then(|it| it.checkpoints.clone()),
        }
    });
    let entries: Vec<_> = entries.collect();
    let running = observed.mapped_items().filter(|(_, item)| item.item_status == ItemStatus::Running).count();
    new.items = Some(format!("{running}/{}", spec.topic_mappings.len()));
    new.topic_mappings = entries;
}

/// The ID of the item that was added for a mapping.
fn added(acted: &[Acted], name: &str) -> Option<String> {
    acted.iter().find_map(|it| match (&it.step, &it.outcome) {
        (Step::AddItem { mapping, .. }, Outcome::Done(Effect::AddedItem(id))) if mapping == name => {
            Some(id.to_string())
        }
        _ => None,
    })
}

/// Updates the intents of items. An intent stays until its item is found or was certainly not created, or its window ends.
fn item_creations(scope: &Scope<'_>, new: &mut DisasterRecoveryPlanStatus, observed: &Observed, acted: &[Acted]) {
    let mut settled: Vec<String> = observed.items.iter().map(|item| resolve::pair(&item.topics)).collect();
    settled.extend(observed.mapped_items().map(|(name, _)| resolve::pair(observed.topics(name))));
    for it in acted {
        let Step::AddItem { topics, .. } = &it.step else { continue };
        let pair = resolve::pair(topics);
        match &it.outcome {
            Outcome::Done(Effect::AddedItem(id)) => {
                let pending = new.item_creations.iter_mut().filter(|it| it.topics == pair);
                pending.for_each(|it| it.item_id = Some(id.to_string()));
            }
            Outcome::Failed(Error { class: Class::Ambiguous, .. }) => {}
            Outcome::Done(_) | Outcome::Failed(_) | Outcome::Skipped => settled.push(pair),
        }
    }
    new.item_creations.retain(|it| {
        let window = window(scope.visibility_window, it.item_id.is_some());
        window_end(it.time, window, scope.now).is_some() && !settled.contains(&it.topics)
    });
}

/// Sets the Secrets that the cloud has, by which later reconciles recognize a rotation.
pub(super) fn sent_credentials(
    scope: &Scope<'_>,
    new: &mut DisasterRecoveryPlanStatus,
    observed: &Observed,
    acted: &[Acted],
) {
    let sent = acted.iter().any(|it| match (&it.step, &it.outcome) {
        (Step::CreatePlan { .. }, Outcome::Done(Effect::CreatedPlan(_))) => true,
        (Step::UpdatePlan { plan, .. }, Outcome::Done(_)) => plan.instances.is_some(),
        _ => false,
    });
    let referenced = |name: &str| {
        scope.object.spec.instances.iter().any(|it| it.name == name && it.credentials_secret_ref.is_some())
    };
    new.sent_credentials.retain(|it| referenced(&it.instance));
    if let (true, Ok(credentials)) = (sent, &observed.credentials) {
        let entry = |(instance, it): (&String, &AclCredentials)| SentCredentials {
            instance: instance.clone(),
            secret_name: it.secret_name.clone(),
            resource_version: it.resource_version.clone(),
            echoed: false,
        };
        new.sent_credentials = credentials.iter().map(entry).collect();
    }
    let (Some(_), Ok(credentials)) = (plan_of(scope, observed), &observed.credentials) else { return };
    for entry in &mut new.sent_credentials {
        let ours = credentials.get(&entry.instance).and_then(|it| it.password.as_ref());
        let found = observed.instance(&entry.instance).and_then(|it| it.password.as_ref());
        if let (Some(ours), Some(found)) = (ours, found) {
            entry.echoed |= found.expose() == ours.expose_secret();
        }
    }
}
