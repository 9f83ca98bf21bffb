//! Decides the changes of a plan's items: add, update, start, stop, and prune where the spec says so.

use jiff::Timestamp;

use super::{Scope, Step, difference, runs, window_end, window_of};
use crate::api::plan::{Drift, ItemPolicy, MappingState, TopicMapping};
use crate::cloud::rocketmq::{ItemStatus, ItemTopic, ItemView};
use crate::controller::plan::observe::Observed;
use crate::controller::plan::resolve;

/// Maximum number of items that one reconcile adds: the operator makes each call well within the window that its intent opens.
const MAX_ADDITIONS: usize = 20;

/// The state of the change of the plan and its items.
#[derive(Clone, Copy)]
pub(super) struct Mode {
    /// Items are stopped so that the plan can be changed.
    pub(super) pausing: bool,
    /// The API refused the change, and the operator does not repeat it for now.
    pub(super) refused: bool,
}

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
}

/// Compares every mapping with its item.
pub(super) fn decide_items(
    scope: &Scope<'_>,
    observed: &Observed,
    plan_id: i64,
    others: &[&ItemView],
    mode: Mode,
) -> ItemDecision {
    let mut decision = ItemDecision::default();
    for mapping in &scope.object.spec.topic_mappings {
        let topics = observed.topics(&mapping.name).to_vec();
        match observed.item(&mapping.name) {
            None => add(scope, plan_id, mapping, topics, &mut decision),
            Some(item) => compare(scope, plan_id, mapping, topics, item, mode, &mut decision),
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

/// The mappings whose items have other topics than the spec, each with the wanted topics.
pub(super) fn topic_changes(scope: &Scope<'_>, observed: &Observed) -> Vec<String> {
    let differing = scope.object.spec.topic_mappings.iter().filter_map(|mapping| {
        let topics = observed.topics(&mapping.name);
        let item = observed.item(&mapping.name)?;
        differs(topics, &item.topics).then(|| format!("{}: {}", mapping.name, describe(topics)))
    });
    differing.collect()
}

/// Whether status lists every running item as paused. It lists them only for a plan that refused a change.
pub(super) fn all_paused(paused: &[String], items: &[ItemView]) -> bool {
    items.iter().filter(|item| runs(item)).all(|item| paused.contains(&item.item_id.to_string()))
}

/// Whether one of the paused items changes, or is subject to a step.
pub(super) fn pause_unfinished(paused: &[String], items: &[ItemView], steps: &[Step]) -> bool {
    let changing = |item: &ItemView| matches!(item.item_status, ItemStatus::Creating | ItemStatus::Changing);
    let has_step = |item: &ItemView| steps.iter().any(|step| step.item_id() == Some(item.item_id));
    items.iter().filter(|item| paused.contains(&item.item_id.to_string())).any(|item| changing(item) || has_step(item))
}

/// Adds the missing item of a mapping, unless a former call may have added it.
fn add(scope: &Scope<'_>, plan_id: i64, mapping: &TopicMapping, topics: Vec<ItemTopic>, decision: &mut ItemDecision) {
    decision.creating = true;
    let known = scope.status.topic_mappings.iter().find(|it| it.name == mapping.name);
    if known.is_some_and(|it| it.item_id.is_some()) {
        decision.drift.push(difference(format!("topicMappings[{}]", mapping.name), "present", "absent"));
    }
    let pair = resolve::pair(&topics);
    let creation = scope.status.item_creations.iter().find(|it| it.topics == pair);
    if let Some(until) = creation.and_then(|it| window_end(it.time, window_of(scope, it.item_id.is_some()), scope.now))
    {
        let name = &mapping.name;
        decision
            .waits
            .push(format!("the item of topic mapping {name} becomes visible, or is known to be absent at {until}"));
        return;
    }
    decision.steps.push(Step::AddItem { plan_id, mapping: mapping.name.clone(), topics });
}

/// Compares a mapping with its item.
fn compare(
    scope: &Scope<'_>,
    plan_id: i64,
    mapping: &TopicMapping,
    topics: Vec<ItemTopic>,
    item: &ItemView,
    mode: Mode,
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
        // Where the API refuses this change of a running item, the operator stops the item and starts it again after the
        // change.
        let stop = scope.status.paused_items.contains(&item_id.to_string()) && runs(item);
        match (mode.refused, stop) {
            (false, true) => return decision.steps.push(Step::StopItem { plan_id, item_id }),
            (false, false) => return decision.steps.push(Step::UpdateItem { plan_id, item_id, topics }),
            // The item keeps its topics.
            (true, _) => {}
        }
    }
    match (mapping.state, runs(item)) {
        (MappingState::Running, true) | (MappingState::Stopped, false) => {}
        (MappingState::Stopped, true) => {
            decision.drift.push(difference(field("state"), "Stopped", item.item_status.as_str()));
            decision.steps.push(Step::StopItem { plan_id, item_id });
        }
        (MappingState::Running, false) if mode.pausing => {}
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

/// Starts the paused items again.
pub(super) fn start_paused(paused: &[String], plan_id: i64, items: &[ItemView]) -> Vec<Step> {
    let ours = |item: &&ItemView| paused.contains(&item.item_id.to_string());
    let stopped = items.iter().filter(ours).filter(|item| item.item_status == ItemStatus::ManualStopped);
    stopped.map(|item| Step::StartItem { plan_id, item_id: item.item_id }).collect()
}

/// Whether an item that the spec does not name is changing.
pub(super) fn any_changing(others: &[&ItemView]) -> bool {
    others.iter().any(|item| matches!(item.item_status, ItemStatus::Creating | ItemStatus::Changing))
}

/// The reason why stopping the items of the spec does not permit a change of the plan: other items run.
pub(super) fn blocked_by_others(others: &[&ItemView]) -> Option<String> {
    let running: Vec<_> = others.iter().filter(|item| runs(item)).map(|item| item.item_id.to_string()).collect();
    (!running.is_empty()).then(|| {
        format!(
            "the API refuses to change the plan while items run, and items {} are not in topicMappings: stop them, or name \
             them in topicMappings",
            running.join(", ")
        )
    })
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
