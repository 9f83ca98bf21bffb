//! The facts in the status of a plan: the plan, its mappings, pauses and sent credentials. Conditions follow from them
//! elsewhere.

use secrecy::ExposeSecret;

use super::super::act::{Effect, created_plan};
use super::super::binding::is_recent;
use super::super::credentials::AclCredentials;
use super::super::decide::{Change, Step, Verdict, window, window_end};
use super::super::grounds::{missing_is_proven, plan_of};
use super::super::observe::Observed;
use super::super::search::Lookup;
use super::super::{Acted, Ran, Scope, resolve};
use crate::api::plan::{DisasterRecoveryPlanStatus, SentCredentials, TopicMappingStatus};
use crate::cloud::error::{Class, Error};
use crate::cloud::rocketmq::ItemStatus;
use crate::controller::conditions::seconds;
use crate::controller::ownership::Owner;
use crate::controller::steps::Outcome;

/// Sets the items that are stopped for changes, and the changes that were sent and do not show.
pub(super) fn updates(scope: &Scope<'_>, new: &mut DisasterRecoveryPlanStatus, ran: &Ran<'_>) {
    let details = &ran.decision.details;
    new.paused_items.clone_from(&details.paused);
    new.paused_since = match details.paused.is_empty() {
        true => None,
        false => new.paused_since.or(Some(seconds(scope.now))),
    };
    new.pending_updates.clear();
    for change in &details.changes {
        new.pending_updates.extend(match call(ran.acted, change) {
            Some(Outcome::Done(_)) => change.settled(scope, Ok(())),
            Some(Outcome::Failed(error)) => change.settled(scope, Err(error)),
            Some(Outcome::Skipped) | None => change.kept(scope),
        });
    }
}

/// The outcome of the call that made a change.
fn call<'a>(acted: &'a [Acted], change: &Change) -> Option<&'a Outcome<Effect>> {
    let made = |step: &Step| match step {
        Step::UpdatePlan { .. } => change.item_id.is_none(),
        Step::UpdateItem { item_id, .. } => change.item_id == Some(*item_id),
        _ => false,
    };
    acted.iter().find(|it| made(&it.step)).map(|it| &it.outcome)
}

/// Sets the plan's ID and status, and removes the intent of a Create once its result is known.
pub(super) fn bind(scope: &Scope<'_>, new: &mut DisasterRecoveryPlanStatus, ran: &Ran<'_>) {
    let Ran { observed, decision, acted } = *ran;
    match (&observed.plan, plan_of(scope, observed)) {
        (Lookup::Found(_), Some(plan)) => {
            let ours = resolve::owner(plan, &observed.binding.mark) == Owner::Us;
            // Another plan of this object is used once the missing one is known to be gone.
            let certain =
                observed.missing.is_none() || missing_is_proven(scope, observed) || scope.status.creation.is_some();
            if scope.observe_only() || (ours && certain) {
                new.plan_id = Some(plan.plan_id.to_string());
            }
            new.plan_status = Some(plan.plan_status.as_str().into());
            // Another plan proves nothing about the plan of a Create without an answer.
            if ours || !matches!(decision.verdict, Verdict::Waiting { .. }) {
                let creation = new.creation.take().filter(|_| !ours);
                new.unanswered_creation = creation.map(|it| it.time).or(new.unanswered_creation);
            }
            new.synced_texts = decision.details.synced_texts.clone().or(new.synced_texts.take());
        }
        (Lookup::Found(_), None) => new.plan_status = None,
        (Lookup::Absent { .. }, _) => {
            new.plan_status = None;
            // Observe mode binds nothing.
            if scope.observe_only() {
                new.plan_id = None;
            }
        }
    }
    if missing_is_proven(scope, observed) && observed.found().is_none() && new.creation.is_none() {
        new.plan_id = None;
    }
    new.missing_since = match observed.missing {
        Some(_) if new.creation.is_none() => new.missing_since.or(Some(seconds(scope.now))),
        Some(_) => new.missing_since,
        None => None,
    };
    // While a plan is missing, the list does not say which of them are twins.
    if observed.missing.is_none() || missing_is_proven(scope, observed) {
        new.twins = observed.all_twins(scope).iter().map(ToString::to_string).collect();
    }
    new.unanswered_creation = new.unanswered_creation.filter(|at| is_recent(*at, scope.now));
    for it in acted {
        match (&it.step, &it.outcome) {
            (Step::CreatePlan { .. }, Outcome::Done(Effect::CreatedPlan(id))) => {
                new.plan_id = Some(id.to_string());
                new.missing_since = None;
            }
            (Step::CreatePlan { .. }, Outcome::Failed(Error { class: Class::Ambiguous, .. })) => new.plan_id = None,
            (Step::CreatePlan { .. }, _) => (new.plan_id, new.creation) = (None, None),
            _ => {}
        }
    }
}

/// Sets the mappings of the spec with their items.
pub(super) fn mappings(scope: &Scope<'_>, new: &mut DisasterRecoveryPlanStatus, observed: &Observed, acted: &[Acted]) {
    let spec = &scope.object.spec;
    item_creations(scope, new, observed, acted);
    let found = plan_of(scope, observed).is_some();
    if !found && created_plan(acted).is_none() {
        // A plan that is not found, without proof that it is gone, has its items.
        if observed.missing.is_none() || missing_is_proven(scope, observed) {
            new.topic_mappings.clear();
        }
        new.items = Some(format!("0/{}", spec.topic_mappings.len()));
        (new.checkpoints, new.checkpoint_sync) = (None, None);
        return;
    }
    let entries = spec.topic_mappings.iter().map(|mapping| {
        // A new plan has no item of a former one.
        let old = scope.status.topic_mappings.iter().find(|it| found && it.name == mapping.name);
        let item = observed.item(&mapping.name);
        let pair = resolve::pair(observed.topics(&mapping.name));
        let pending = new.item_creations.iter().any(|it| it.topics == pair);
        let known = old.and_then(|it| it.item_id.clone()).filter(|id| pending || may_exist(scope, observed, id));
        let shown = item.map(|item| item.item_id.to_string());
        TopicMappingStatus {
            name: mapping.name.clone(),
            item_id: shown.or(added(acted, &mapping.name)).or(known),
            item_status: item.map(|item| item.item_status.as_str().into()),
            checkpoints: old.and_then(|it| it.checkpoints.clone()),
            backlog: old.and_then(|it| it.backlog.clone()),
        }
    });
    let mut entries: Vec<_> = entries.collect();
    if found {
        entries.extend(forgotten(scope, observed, &entries));
    }
    let running = observed.mapped_items().filter(|(_, item)| item.item_status == ItemStatus::Running).count();
    new.items = Some(format!("{running}/{}", spec.topic_mappings.len()));
    new.topic_mappings = entries;
}

/// The entries of former mappings whose items are not found, without proof that they are gone: a renamed mapping finds them again.
fn forgotten(scope: &Scope<'_>, observed: &Observed, entries: &[TopicMappingStatus]) -> Vec<TopicMappingStatus> {
    let known =
        |it: &TopicMappingStatus| entries.iter().any(|entry| entry.name == it.name || entry.item_id == it.item_id);
    let shown = |id: &String| observed.items.iter().any(|item| item.item_id.to_string() == *id);
    let mut kept = Vec::new();
    for old in scope.status.topic_mappings.iter().filter(|it| !known(it)) {
        if old.item_id.as_ref().is_some_and(|id| !shown(id) && may_exist(scope, observed, id)) {
            kept.push(TopicMappingStatus { item_status: None, checkpoints: None, backlog: None, ..old.clone() });
        }
    }
    kept
}

/// Whether an item that the list lacks may exist.
fn may_exist(scope: &Scope<'_>, observed: &Observed, item_id: &str) -> bool {
    let gone = |id: i64| observed.items_complete && scope.absence(&resolve::item_part(id)).is_proven();
    item_id.parse().is_ok_and(|id| !gone(id))
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
        let over = window_end(it.time, window, scope.now).is_none();
        let gone = over && scope.absence(&resolve::added_item_part(it)).is_proven();
        !gone && !settled.contains(&it.topics)
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
            content_hash: it.content_hash.clone(),
            echoed: false,
        };
        new.sent_credentials = credentials.iter().map(entry).collect();
    }
    let (Some(_), Ok(credentials)) = (plan_of(scope, observed), &observed.credentials) else { return };
    for entry in &mut new.sent_credentials {
        // An earlier version of the operator wrote no hash.
        let same = credentials.get(&entry.instance).filter(|it| it.resource_version == entry.resource_version);
        if let (true, Some(same)) = (entry.content_hash.is_empty(), same) {
            entry.content_hash.clone_from(&same.content_hash);
        }
        let ours = credentials.get(&entry.instance).and_then(|it| it.password.as_ref());
        let found = observed.instance(&entry.instance).and_then(|it| it.password.as_ref());
        if let (Some(ours), Some(found)) = (ours, found) {
            entry.echoed |= found.expose() == ours.expose_secret();
        }
    }
}
