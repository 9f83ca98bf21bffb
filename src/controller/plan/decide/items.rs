//! Decides the changes of a plan's items: add, update, start, stop, and prune where the spec says so.

use jiff::Timestamp;

use super::update::{self, Attempt, Change};
use super::{Scope, Step, difference, runs, window_end, window_of};
use crate::api::condition::synced;
use crate::api::plan::{Drift, ItemPolicy, MappingState, TopicMapping};
use crate::cloud::rocketmq::{ItemStatus, ItemTopic, ItemView};
use crate::controller::absence::Absence;
use crate::controller::plan::observe::Observed;
use crate::controller::plan::resolve;

/// Maximum number of items that one reconcile adds: the operator makes each call well within the window that its intent opens.
const MAX_ADDITIONS: usize = 20;

/// The part of a decision that is about items.
#[derive(Default)]
pub(super) struct ItemDecision {
    /// The steps, at most one for each item.
    pub(super) steps: Vec<Step>,
    /// The changes of items that the operator waits for.
    pub(super) waits: Vec<String>,
    /// The differences.
    pub(super) drift: Vec<Drift>,
    /// Whether an item is missing or being created.
    pub(super) creating: bool,
    /// The wanted changes of topics.
    pub(super) changes: Vec<Change>,
    /// The changes of topics that wait because the item runs.
    pub(super) update_waits: Vec<String>,
    /// Other attempts at such changes.
    pub(super) retries: Vec<Step>,
    /// The reasons of `Synced` and messages of what the operator does not change.
    pub(super) refusals: Vec<(&'static str, String)>,
    /// The IDs of the items that are stopped for a change of their topics.
    pub(super) paused: Vec<String>,
}

/// Compares every mapping with its item. `pausing`: items stay stopped for a change of the plan.
pub(super) fn decide_items(
    scope: &Scope<'_>,
    observed: &Observed,
    plan_id: i64,
    others: &[&ItemView],
    pausing: bool,
) -> ItemDecision {
    let mut decision = ItemDecision::default();
    // Without one of its instances, the spec names no item of this plan.
    if !observed.has_instances(&scope.object.spec) {
        return decision;
    }
    let unproven = unproven(scope, observed);
    for mapping in &scope.object.spec.topic_mappings {
        let topics = observed.topics(&mapping.name).to_vec();
        let keeps = scope.object.spec.item_policy == ItemPolicy::Keep;
        match (observed.item(&mapping.name), observed.twin_item(&mapping.name)) {
            (None, _) => add(scope, observed, plan_id, mapping, topics, &unproven, &mut decision),
            (Some(item), Some(twin)) if keeps => decision.refusals.push((synced::TWIN, twins(mapping, item, twin))),
            (Some(item), _) => compare(scope, plan_id, mapping, topics, item, pausing, &mut decision),
        }
    }
    limit_additions(&mut decision, scope.now);
    match scope.object.spec.item_policy {
        ItemPolicy::Keep => {}
        ItemPolicy::Prune => {
            for item in others {
                let field = format!("topicMappings: item {} ({})", item.item_id, describe(&item.topics));
                decision.drift.push(difference(field, "absent", item.item_status.as_str()));
                remove(plan_id, item, &mut decision);
            }
        }
    }
    decision
}

/// The items that status knows and that the list lacks without proof that they are gone, each with the wait for the proof.
fn unproven(scope: &Scope<'_>, observed: &Observed) -> Vec<(i64, String)> {
    let mut all = Vec::new();
    for id in observed.missing_items(scope) {
        if let Absence::Unproven { since, until } = scope.absence(&resolve::item_part(id)) {
            all.push((
                id,
                format!("is not found since {since}; it counts as deleted when every read until {until} agrees"),
            ));
        }
    }
    all
}

fn twins(mapping: &TopicMapping, item: &ItemView, twin: &ItemView) -> String {
    format!(
        "topic mapping {} is not changed: items {} and {} both map its topics. Delete the one that you do not need in the \
         console, or set itemPolicy: Prune, which deletes the newer one",
        mapping.name, item.item_id, twin.item_id
    )
}

/// The additions to a plan that the same decision creates.
pub(super) fn first(scope: &Scope<'_>, observed: &Observed) -> Vec<Step> {
    let mappings = scope.object.spec.topic_mappings.iter();
    let add = |mapping: &TopicMapping| Step::AddItem {
        plan_id: None,
        mapping: mapping.name.clone(),
        topics: observed.topics(&mapping.name).to_vec(),
    };
    mappings.map(add).take(MAX_ADDITIONS).collect()
}

/// Limits the additions of one reconcile. Each reconcile begins with others, so that failing ones do not block the rest.
fn limit_additions(decision: &mut ItemDecision, now: Timestamp) {
    let (mut added, others): (Vec<_>, Vec<_>) =
        std::mem::take(&mut decision.steps).into_iter().partition(|step| matches!(step, Step::AddItem { .. }));
    if added.len() > MAX_ADDITIONS {
        let first = usize::try_from(now.as_second()).unwrap_or_default() % added.len();
        added.rotate_left(first);
        decision.waits.push(format!("{} topic mappings are added after others", added.len() - MAX_ADDITIONS));
        added.truncate(MAX_ADDITIONS);
    }
    decision.steps = others;
    decision.steps.extend(added);
}

/// Adds the missing item of a mapping, unless it may exist.
fn add(
    scope: &Scope<'_>,
    observed: &Observed,
    plan_id: i64,
    mapping: &TopicMapping,
    topics: Vec<ItemTopic>,
    unproven: &[(i64, String)],
    decision: &mut ItemDecision,
) {
    let name = &mapping.name;
    let known = scope.status.topic_mappings.iter().find(|it| it.name == *name).and_then(|it| it.item_id.as_deref());
    if let Some((id, wait)) = unproven.iter().find(|(id, _)| known == Some(id.to_string().as_str())) {
        decision.waits.push(format!("item {id} of topic mapping {name} {wait}"));
        return;
    }
    decision.creating = true;
    if !observed.items_complete {
        decision.waits.push(format!("topic mapping {name} is added once the list of items can be read whole"));
        return;
    }
    if let Some((id, wait)) = unproven.first() {
        decision.waits.push(format!("topic mapping {name} is not added, because item {id} {wait}"));
        return;
    }
    if known.is_some() {
        decision.drift.push(difference(format!("topicMappings[{name}]"), "present", "absent"));
    }
    if let Some(until) = added_until(scope, &resolve::pair(&topics)) {
        decision
            .waits
            .push(format!("the item of topic mapping {name} becomes visible, or is known to be absent at {until}"));
        return;
    }
    decision.steps.push(Step::AddItem { plan_id: Some(plan_id), mapping: name.clone(), topics });
}

/// The time until which an item may become visible that an earlier call may have added.
fn added_until(scope: &Scope<'_>, pair: &str) -> Option<Timestamp> {
    let creation = scope.status.item_creations.iter().find(|it| it.topics == pair)?;
    if let Some(until) = window_end(creation.time, window_of(scope, creation.item_id.is_some()), scope.now) {
        return Some(until);
    }
    match scope.absence(&resolve::added_item_part(creation)) {
        Absence::Proven => None,
        Absence::Unproven { until, .. } => Some(until),
    }
}

/// Compares a mapping with its item.
fn compare(
    scope: &Scope<'_>,
    plan_id: i64,
    mapping: &TopicMapping,
    topics: Vec<ItemTopic>,
    item: &ItemView,
    pausing: bool,
    decision: &mut ItemDecision,
) {
    let item_id = item.item_id;
    let field = |name: &str| format!("topicMappings[{}].{name}", mapping.name);
    let wait = || format!("item {item_id} of topic mapping {} is {}", mapping.name, item.item_status.as_str());
    match &item.item_status {
        ItemStatus::Creating => {
            decision.creating = true;
            decision.waits.push(wait());
            return;
        }
        ItemStatus::Changing => {
            decision.waits.push(wait());
            return;
        }
        ItemStatus::Other(_) => {
            decision.waits.push(format!("{}, a status that is not documented", wait()));
            return;
        }
        ItemStatus::Running | ItemStatus::ManualStopped | ItemStatus::OverdueStopped => {}
    }
    if differs(&topics, &item.topics) {
        decision.drift.push(difference(field("topics"), describe(&topics), describe(&item.topics)));
        let change = Change::of_topics(scope, &mapping.name, &describe(&topics), item);
        let attempt = change.attempt(scope, update::may_pause(scope));
        decision.changes.push(change);
        let what = || format!("the change of topic mapping {}", mapping.name);
        match attempt {
            Attempt::Send => return decision.steps.push(Step::UpdateItem { plan_id, item_id, topics }),
            Attempt::Pause => {
                decision.paused.push(item_id.to_string());
                return decision.steps.push(Step::StopItem { plan_id, item_id });
            }
            Attempt::Wait(cause) => decision.update_waits.push(update::waiting(scope, &what(), &cause, &[])),
            Attempt::Retry(cause) => {
                decision.update_waits.push(update::waiting(scope, &what(), &cause, &[]));
                decision.retries.push(Step::UpdateItem { plan_id, item_id, topics });
            }
            Attempt::Sent(until) => {
                decision.waits.push(format!("waiting for {} to become visible, until {until} at most", what()));
            }
            // The item keeps its topics.
            Attempt::Refused(message) => decision.refusals.push((synced::INVALID_SPEC, message)),
        }
    }
    match (mapping.state, runs(item)) {
        (MappingState::Running, true) | (MappingState::Stopped, false) => {}
        (MappingState::Stopped, true) => {
            decision.drift.push(difference(field("state"), "Stopped", item.item_status.as_str()));
            decision.steps.push(Step::StopItem { plan_id, item_id });
        }
        (MappingState::Running, false) if pausing => {}
        (MappingState::Running, false) => {
            if scope.status.paused_items.is_empty() {
                decision.drift.push(difference(field("state"), "Running", item.item_status.as_str()));
            }
            decision.steps.push(Step::StartItem { plan_id, item_id });
        }
    }
}

/// The next step of a removal: stop, wait, or delete.
pub(super) fn remove(plan_id: i64, item: &ItemView, decision: &mut ItemDecision) {
    let item_id = item.item_id;
    match &item.item_status {
        ItemStatus::Running => decision.steps.push(Step::StopItem { plan_id, item_id }),
        // For a status that is not documented, the API decides.
        ItemStatus::ManualStopped | ItemStatus::OverdueStopped | ItemStatus::Other(_) => {
            decision.steps.push(Step::DeleteItem { plan_id, item_id });
        }
        ItemStatus::Creating | ItemStatus::Changing => {
            decision.waits.push(format!("item {item_id} is {} and cannot be deleted yet", item.item_status.as_str()));
        }
    }
}

/// The items that are changing. No call on them or on the plan may interrupt the change.
pub(super) fn transitional(items: &[ItemView]) -> Vec<String> {
    let changing = |item: &&ItemView| matches!(item.item_status, ItemStatus::Creating | ItemStatus::Changing);
    let text = |item: &ItemView| format!("item {} is {}", item.item_id, item.item_status.as_str());
    items.iter().filter(changing).map(text).collect()
}

/// Stops every running item, so that the plan can be changed.
pub(super) fn stop_running(plan_id: i64, items: &[ItemView]) -> Vec<Step> {
    let stop = |item: &ItemView| Step::StopItem { plan_id, item_id: item.item_id };
    items.iter().filter(|item| runs(item)).map(stop).collect()
}

/// Starts the paused items again that no step changes.
pub(super) fn start_paused(scope: &Scope<'_>, observed: &Observed, plan_id: i64, steps: &[Step]) -> Vec<Step> {
    let mut starts = Vec::new();
    for item in observed.items.iter().filter(|item| is_paused(scope, item)) {
        let has_step = steps.iter().any(|step| step.item_id() == Some(item.item_id));
        if item.item_status == ItemStatus::ManualStopped && !has_step && !meant_to_be_stopped(scope, observed, item) {
            starts.push(Step::StartItem { plan_id, item_id: item.item_id });
        }
    }
    starts
}

/// The paused items that do not run again.
pub(super) fn still_paused(scope: &Scope<'_>, observed: &Observed) -> Vec<String> {
    let mut still = scope.status.paused_items.clone();
    still.retain(|id| match observed.items.iter().find(|item| item.item_id.to_string() == *id) {
        Some(item) => match item.item_status {
            // Arrears stopped it.
            ItemStatus::Running | ItemStatus::OverdueStopped => false,
            ItemStatus::ManualStopped => !meant_to_be_stopped(scope, observed, item),
            ItemStatus::Creating | ItemStatus::Changing | ItemStatus::Other(_) => true,
        },
        None => {
            let gone = |id: i64| observed.items_complete && scope.absence(&resolve::item_part(id)).is_proven();
            // The operator never wrote an ID that is no number.
            id.parse().is_ok_and(|id| !gone(id))
        }
    });
    still
}

fn is_paused(scope: &Scope<'_>, item: &ItemView) -> bool {
    scope.status.paused_items.contains(&item.item_id.to_string())
}

/// Whether the mapping of an item says that it is stopped.
fn meant_to_be_stopped(scope: &Scope<'_>, observed: &Observed, item: &ItemView) -> bool {
    let mut mappings = scope.object.spec.topic_mappings.iter().filter(|it| it.state == MappingState::Stopped);
    mappings.any(|it| observed.item(&it.name).is_some_and(|found| found.item_id == item.item_id))
}

/// Whether an item that the spec does not name is changing.
pub(super) fn any_changing(others: &[&ItemView]) -> bool {
    others.iter().any(|item| matches!(item.item_status, ItemStatus::Creating | ItemStatus::Changing))
}

/// Whether the topics differ from the spec. A value that the cloud does not show does not count as different.
fn differs(wanted: &[ItemTopic], found: &[ItemTopic]) -> bool {
    wanted.iter().any(|side| {
        let ItemTopic {
            region_id: _,
            instance_type: _,
            instance_id: _,
            topic_name,
            // The field is deprecated, and the cloud may show a group of its own.
            consumer_group_id: _,
            delivery_order_type,
        } = side;
        let exact = found.iter().find(|other| resolve::same_side(side, other));
        match exact.or_else(|| found.iter().find(|other| resolve::same_instance(side, other))) {
            None => true,
            Some(other) => {
                other.topic_name != *topic_name || text_differs(delivery_order_type, &other.delivery_order_type)
            }
        }
    })
}

fn text_differs(wanted: &Option<String>, found: &Option<String>) -> bool {
    match (wanted, found) {
        (Some(wanted), Some(found)) => !wanted.eq_ignore_ascii_case(found) && !found.is_empty(),
        _ => false,
    }
}

/// The topics in messages.
fn describe(topics: &[ItemTopic]) -> String {
    let one = |topic: &ItemTopic| {
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        let order = topic.delivery_order_type.as_deref().map(|order| format!(" {order}")).unwrap_or_default();
        format!("{}/{}{order}", part(&topic.instance_id), part(&topic.topic_name))
    };
    let mut all: Vec<_> = topics.iter().map(one).collect();
    all.sort();
    all.join(" ~ ")
}
