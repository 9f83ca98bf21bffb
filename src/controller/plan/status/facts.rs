//! What was seen and done, as status remembers it: the plan, the mappings, what is under way. No judgement.

use secrecy::ExposeSecret;

use super::super::act::{Acted, Outcome};
use super::super::decide::{Decision, Step, Verdict, given_up, pause_is_over, still_hidden, window};
use super::super::observe::{AclCredentials, Lookup, Observed};
use super::super::resolve;
use super::Pass;
use crate::api::plan::{
    DisasterRecoveryPlanStatus, ManagementPolicy, SentCredentials, TopicMappingStatus, UpdateAttempts,
};
use crate::cloud::error::{Class, Error};
use crate::cloud::rocketmq::{ItemStatus, PlanView};
use crate::controller::conditions;
use crate::controller::ownership::Owner;

/// How often a change of the plan is made that the API accepts and does not keep.
const MOST_ATTEMPTS: i32 = 5;

/// The failure of the plan's update, if it is of that class.
pub(super) fn update_failed(acted: &[Acted], class: Class) -> Option<&Error> {
    acted.iter().find_map(|it| match (&it.step, &it.outcome) {
        (Step::UpdatePlan { .. }, Outcome::Failed(error)) if error.class == class => Some(error),
        _ => None,
    })
}

/// Which items are stopped for the plan's sake, and which change it has refused for good.
pub(super) fn pauses(
    pass: &Pass<'_>,
    new: &mut DisasterRecoveryPlanStatus,
    seen: &Observed,
    decision: &Decision,
    acted: &[Acted],
    refused_while_running: bool,
) {
    if !decision.pause_for_update {
        new.paused_items.clear();
        new.paused_since = None;
    }
    let refused_item = |id: i64| {
        acted.iter().any(|it| match (&it.step, &it.outcome) {
            (Step::UpdateItem { item_id, .. }, Outcome::Failed(error)) => {
                *item_id == id && error.class == Class::Conflict
            }
            _ => false,
        })
    };
    for item in seen.items.iter().filter(|item| item.item_status == ItemStatus::Running) {
        let id = item.item_id.to_string();
        if (refused_while_running || refused_item(item.item_id)) && !new.paused_items.contains(&id) {
            new.paused_items.push(id);
            new.paused_since.get_or_insert(conditions::seconds(pass.now));
        }
    }
    let asked_again = pass.reconcile_requested != pass.old.last_handled_reconcile_at.as_deref();
    let Some(change) = decision.change.clone().filter(|_| !asked_again) else {
        new.update_attempts = None;
        return;
    };
    let expired = |it: &UpdateAttempts| it.refused_at.is_some() && !given_up(it, pass.now);
    let known = pass.old.update_attempts.clone().filter(|it| it.change == change && !expired(it));
    let mut attempts = known.unwrap_or(UpdateAttempts { change, times: 0, refusal: None, refused_at: None });
    let advice = format!(
        "it is tried again in an hour, or when the spec or the Secret changes, or when {} is annotated",
        crate::api::RECONCILE_ANNOTATION
    );
    let stopped = |id: i64| pass.old.paused_items.contains(&id.to_string());
    let running = |id: i64| seen.items.iter().any(|it| it.item_id == id && it.item_status == ItemStatus::Running);
    let mut last = None;
    for it in acted {
        // Whether items were stopped for this very step, so that trying it again is not for nothing.
        let (paused, runs) = match &it.step {
            Step::UpdatePlan { .. } => (!pass.old.paused_items.is_empty(), refused_while_running),
            Step::UpdateItem { item_id, .. } => (stopped(*item_id), running(*item_id)),
            Step::StopItem { item_id, .. } if stopped(*item_id) && decision.pause_for_update => (true, true),
            _ => continue,
        };
        match &it.outcome {
            Outcome::Failed(error @ Error { class: Class::Invalid | Class::Denied | Class::NotFound, .. })
                if paused =>
            {
                attempts.refusal = Some(format!("{error}; {advice}"));
            }
            Outcome::Failed(error) if paused && !runs => last = Some(error.to_string()),
            Outcome::Done if !matches!(it.step, Step::StopItem { .. }) => {
                last = Some("the API accepts the change and does not keep it".into());
            }
            _ => {}
        }
    }
    if let Some(last) = last {
        attempts.times += 1;
        if attempts.times >= MOST_ATTEMPTS {
            attempts.refusal = Some(format!("{last}; {advice}"));
        }
    }
    if pause_is_over(pass.old, pass.now) && attempts.refusal.is_none() {
        attempts.refusal = Some(format!("items were stopped for ten minutes without the change being made; {advice}"));
    }
    if attempts.refusal.is_some() {
        attempts.refused_at.get_or_insert(conditions::seconds(pass.now));
    }
    new.update_attempts = Some(attempts).filter(|it| it.times > 0 || it.refusal.is_some());
}

/// The plan's ID and status, and whether a Create may still be unanswered.
pub(super) fn identity(
    pass: &Pass<'_>,
    new: &mut DisasterRecoveryPlanStatus,
    seen: &Observed,
    decision: &Decision,
    acted: &[Acted],
) {
    match (&seen.plan, plan_of(pass, seen)) {
        (Lookup::Found(_), Some(plan)) => {
            let observing = pass.spec.management_policy == ManagementPolicy::Observe;
            let ours = resolve::owner(plan, &pass.binding.mark) == Owner::Us;
            if observing || ours {
                new.plan_id = Some(plan.plan_id.to_string());
            }
            new.plan_status = Some(plan.plan_status.as_str().into());
            // Another plan says nothing of the one that an unanswered Create may have made.
            if ours || !matches!(decision.verdict, Verdict::Waiting { .. }) {
                new.creation = None;
            }
        }
        (Lookup::Found(_), None) => new.plan_status = None,
        (Lookup::Absent { missing, .. }, _) => {
            // A plan that was just made may not be visible yet, and one that is not found is looked for once more.
            let known = new.creation.is_some() || matches!(decision.verdict, Verdict::Waiting { .. });
            if !known {
                new.plan_id = None;
            }
            if missing.is_some() && new.creation.is_none() {
                new.missing_since.get_or_insert(conditions::seconds(pass.now));
            }
            new.plan_status = None;
        }
    }
    if matches!(seen.plan, Lookup::Found(_)) || acted.iter().any(|it| matches!(it.outcome, Outcome::CreatedPlan(_))) {
        new.missing_since = None;
    }
    // Whoever asked for its end need not find it again.
    if acted.iter().any(|it| matches!((&it.step, &it.outcome), (Step::DeletePlan { .. }, Outcome::Done))) {
        new.missing_since = Some(conditions::seconds(pass.now));
    }
    for it in acted {
        if !matches!(it.step, Step::CreatePlan { .. }) {
            continue;
        }
        match &it.outcome {
            Outcome::CreatedPlan(id) => new.plan_id = Some(id.to_string()),
            Outcome::Failed(Error { class: Class::Ambiguous, .. }) => new.plan_id = None,
            Outcome::Failed(_) | Outcome::Skipped | Outcome::Done | Outcome::AddedItem(_) | Outcome::Synced { .. } => {
                (new.plan_id, new.creation) = (None, None);
            }
        }
    }
}

/// The plan, unless it is another owner's: then it says nothing about this object. Who only observes may observe any.
pub(super) fn plan_of<'a>(pass: &Pass<'_>, seen: &'a Observed) -> Option<&'a PlanView> {
    match &seen.plan {
        Lookup::Found(plan) => {
            let observing = pass.spec.management_policy == ManagementPolicy::Observe;
            let foreign = matches!(resolve::owner(plan, &pass.binding.mark), Owner::Another(_));
            (observing || !foreign).then_some(plan.as_ref())
        }
        Lookup::Absent { .. } => None,
    }
}

/// The mappings of the spec with their items.
pub(super) fn mappings(pass: &Pass<'_>, new: &mut DisasterRecoveryPlanStatus, seen: &Observed, acted: &[Acted]) {
    let Some(plan) = plan_of(pass, seen) else {
        new.topic_mappings.clear();
        new.items = Some(format!("0/{}", pass.spec.topic_mappings.len()));
        new.checkpoints = None;
        return;
    };
    let instances = resolve::instances(pass.spec, plan);
    let items = resolve::items(pass.spec, &pass.old.topic_mappings, &instances, &seen.items);
    let added = |name: &str| {
        acted.iter().find_map(|it| match &it.step {
            Step::AddItem { mapping, .. } if mapping == name => Some(&it.outcome),
            _ => None,
        })
    };
    // An intent stays until its item is seen, surely was not made, or should long have been seen.
    let failed: Vec<String> = acted
        .iter()
        .filter_map(|it| match (&it.step, &it.outcome) {
            (Step::AddItem { .. }, Outcome::AddedItem(_) | Outcome::Failed(Error { class: Class::Ambiguous, .. })) => {
                None
            }
            (Step::AddItem { topics, .. }, _) => Some(resolve::pair(topics)),
            _ => None,
        })
        .collect();
    for it in acted {
        if let (Step::AddItem { topics, .. }, Outcome::AddedItem(id)) = (&it.step, &it.outcome) {
            let pair = resolve::pair(topics);
            let begun = new.item_creations.iter_mut().find(|it| it.topics == pair);
            begun.into_iter().for_each(|it| it.item_id = Some(id.to_string()));
        }
    }
    let visible: Vec<String> = seen.items.iter().map(|item| resolve::pair(&item.topics)).collect();
    let mapped: Vec<String> = {
        let wanted = pass.spec.topic_mappings.iter().filter(|it| items.mapped.contains_key(it.name.as_str()));
        wanted.map(|it| resolve::pair(&resolve::topics(pass.spec, it, &instances))).collect()
    };
    new.item_creations.retain(|it| {
        let window = window(pass.visibility_window, it.item_id.is_some());
        let hidden = still_hidden(it.time, window, pass.now).is_some();
        hidden && !failed.contains(&it.topics) && !visible.contains(&it.topics) && !mapped.contains(&it.topics)
    });
    let mut all = Vec::with_capacity(pass.spec.topic_mappings.len());
    for mapping in &pass.spec.topic_mappings {
        let old = pass.old.topic_mappings.iter().find(|it| it.name == mapping.name);
        let pair = resolve::pair(&resolve::topics(pass.spec, mapping, &instances));
        let begun = new.item_creations.iter().any(|it| it.topics == pair);
        let mut entry = TopicMappingStatus {
            name: mapping.name.clone(),
            item_id: None,
            item_status: None,
            checkpoints: old.and_then(|it| it.checkpoints.clone()),
        };
        match (items.mapped.get(mapping.name.as_str()), added(&mapping.name)) {
            (Some(item), _) => {
                entry.item_id = Some(item.item_id.to_string());
                entry.item_status = Some(item.item_status.as_str().into());
            }
            (None, Some(Outcome::AddedItem(id))) => entry.item_id = Some(id.to_string()),
            (None, _) => entry.item_id = old.and_then(|it| it.item_id.clone()).filter(|_| begun),
        }
        all.push(entry);
    }
    let running = items.mapped.values().filter(|item| item.item_status == ItemStatus::Running).count();
    new.items = Some(format!("{running}/{}", pass.spec.topic_mappings.len()));
    new.topic_mappings = all;
}

/// Which Secrets the cloud has, so that a rotation is noticed.
pub(super) fn sent_credentials(
    pass: &Pass<'_>,
    new: &mut DisasterRecoveryPlanStatus,
    seen: &Observed,
    acted: &[Acted],
) {
    let sent = acted.iter().any(|it| match (&it.step, &it.outcome) {
        (Step::CreatePlan { .. }, Outcome::CreatedPlan(_)) => true,
        (Step::UpdatePlan { plan, .. }, Outcome::Done) => plan.instances.is_some(),
        _ => false,
    });
    let named =
        |name: &str| pass.spec.instances.iter().any(|it| it.name == name && it.credentials_secret_ref.is_some());
    new.sent_credentials.retain(|it| named(&it.instance));
    if let (true, Ok(credentials)) = (sent, &seen.credentials) {
        let entry = |(instance, it): (&String, &AclCredentials)| SentCredentials {
            instance: instance.clone(),
            secret_name: it.secret_name.clone(),
            resource_version: it.resource_version.clone(),
            echoed: false,
        };
        new.sent_credentials = credentials.iter().map(entry).collect();
    }
    let (Some(plan), Ok(credentials)) = (plan_of(pass, seen), &seen.credentials) else { return };
    let instances = resolve::instances(pass.spec, plan);
    for entry in &mut new.sent_credentials {
        let ours = credentials.get(&entry.instance).and_then(|it| it.password.as_ref());
        let found = instances.get(entry.instance.as_str()).and_then(|it| it.password.as_ref());
        if let (Some(ours), Some(found)) = (ours, found) {
            entry.echoed |= found.expose() == ours.expose_secret();
        }
    }
}
