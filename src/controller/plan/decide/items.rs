//! The items of a plan: add, update, start, stop, and prune where the spec says so.

use jiff::Timestamp;

use super::{Scope, Step, difference, runs, still_hidden, window_of};
use crate::api::plan::{Drift, ItemPolicy, MappingState, TopicMapping};
use crate::cloud::rocketmq::{ItemStatus, ItemTopic, ItemView};
use crate::controller::plan::observe::Observed;
use crate::controller::plan::resolve;

/// Maximum number of items that one reconcile adds: each call is made well within the window that its intent opens.
const MAX_ADDITIONS: usize = 20;

/// What goes on besides.
#[derive(Clone, Copy)]
pub(super) struct Mode {
    /// Items are stopped so that the plan can be changed.
    pub(super) pausing: bool,
    /// The change of topics is given up for now.
    pub(super) given_up: bool,
}

/// What the items need.
#[derive(Default)]
pub(super) struct Chores {
    /// The steps, each for another item.
    pub(super) steps: Vec<Step>,
    /// What is waited for.
    pub(super) waits: Vec<String>,
    /// What differs.
    pub(super) drift: Vec<Drift>,
    /// Whether an item is missing or being made.
    pub(super) creating: bool,
}

/// Compares every mapping with its item.
pub(super) fn work(scope: &Scope<'_>, observed: &Observed, plan_id: i64, others: &[&ItemView], mode: Mode) -> Chores {
    let mut work = Chores::default();
    for mapping in &scope.object.spec.topic_mappings {
        let topics = observed.topics(&mapping.name).to_vec();
        match observed.item(&mapping.name) {
            None => missing(scope, plan_id, mapping, topics, &mut work),
            Some(item) => existing(scope, plan_id, mapping, topics, item, mode, &mut work),
        }
    }
    limit_additions(&mut work, scope.now);
    match scope.object.spec.item_policy {
        ItemPolicy::Keep => {}
        ItemPolicy::Prune => {
            for item in others {
                let field = format!("topicMappings: item {} ({})", item.item_id, names(&item.topics));
                work.drift.push(difference(field, "absent", item.item_status.as_str()));
                removal(plan_id, item, &mut work);
            }
        }
    }
    work
}

/// Limits the additions of one reconcile. Each reconcile begins with others, so that failing ones do not block the rest.
fn limit_additions(work: &mut Chores, now: Timestamp) {
    let (mut added, others): (Vec<_>, Vec<_>) =
        std::mem::take(&mut work.steps).into_iter().partition(|step| matches!(step, Step::AddItem { .. }));
    if added.len() > MAX_ADDITIONS {
        let first = usize::try_from(now.as_second()).unwrap_or_default() % added.len();
        added.rotate_left(first);
        work.waits.push(format!("{} topic mappings are added after others", added.len() - MAX_ADDITIONS));
        added.truncate(MAX_ADDITIONS);
    }
    work.steps = others;
    work.steps.extend(added);
}

/// The mappings whose items have other topics than the spec says, and these.
pub(super) fn changes(scope: &Scope<'_>, observed: &Observed) -> Vec<String> {
    let differing = scope.object.spec.topic_mappings.iter().filter_map(|mapping| {
        let topics = observed.topics(&mapping.name);
        let item = observed.item(&mapping.name)?;
        differs(topics, &item.topics).then(|| format!("{}: {}", mapping.name, names(topics)))
    });
    differing.collect()
}

/// Whether every item that runs is one of those that were listed when the plan refused a change.
pub(super) fn all_listed(paused: &[String], items: &[ItemView]) -> bool {
    items.iter().filter(|item| runs(item)).all(|item| paused.contains(&item.item_id.to_string()))
}

/// Whether something is still to be done with one of the items that were stopped for a change.
pub(super) fn unfinished(paused: &[String], items: &[ItemView], steps: &[Step]) -> bool {
    let changing = |item: &ItemView| matches!(item.item_status, ItemStatus::Creating | ItemStatus::Changing);
    let worked_on = |item: &ItemView| steps.iter().any(|step| step.item_id() == Some(item.item_id));
    items.iter().filter(|item| paused.contains(&item.item_id.to_string())).any(|item| changing(item) || worked_on(item))
}

fn missing(scope: &Scope<'_>, plan_id: i64, mapping: &TopicMapping, topics: Vec<ItemTopic>, work: &mut Chores) {
    work.creating = true;
    let known = scope.status.topic_mappings.iter().find(|it| it.name == mapping.name);
    if known.is_some_and(|it| it.item_id.is_some()) {
        work.drift.push(difference(format!("topicMappings[{}]", mapping.name), "present", "absent"));
    }
    let pair = resolve::pair(&topics);
    let begun = scope.status.item_creations.iter().find(|it| it.topics == pair);
    if let Some(until) = begun.and_then(|it| still_hidden(it.time, window_of(scope, it.item_id.is_some()), scope.now)) {
        let name = &mapping.name;
        work.waits
            .push(format!("the item of topic mapping {name} becomes visible, or is known to be absent at {until}"));
        return;
    }
    work.steps.push(Step::AddItem { plan_id, mapping: mapping.name.clone(), topics });
}

fn existing(
    scope: &Scope<'_>,
    plan_id: i64,
    mapping: &TopicMapping,
    topics: Vec<ItemTopic>,
    item: &ItemView,
    mode: Mode,
    work: &mut Chores,
) {
    let item_id = item.item_id;
    let field = |name: &str| format!("topicMappings[{}].{name}", mapping.name);
    let wait = || format!("item {item_id} of topic mapping {} is {}", mapping.name, item.item_status.as_str());
    match &item.item_status {
        ItemStatus::Creating => {
            work.creating = true;
            work.waits.push(wait());
            return;
        }
        ItemStatus::Changing => {
            work.waits.push(wait());
            return;
        }
        ItemStatus::Other(_) => {
            work.waits.push(format!("{}, a status that is not documented", wait()));
            return;
        }
        ItemStatus::Running | ItemStatus::ManualStopped | ItemStatus::OverdueStopped => {}
    }
    if differs(&topics, &item.topics) {
        work.drift.push(difference(field("topics"), names(&topics), names(&item.topics)));
        // Where the API refused that of a running item, it is stopped for it and started again after it.
        let stop = scope.status.paused_items.contains(&item_id.to_string()) && runs(item);
        match (mode.given_up, stop) {
            (false, true) => return work.steps.push(Step::StopItem { plan_id, item_id }),
            (false, false) => return work.steps.push(Step::UpdateItem { plan_id, item_id, topics }),
            // It goes on with the topics that it has.
            (true, _) => {}
        }
    }
    match (mapping.state, runs(item)) {
        (MappingState::Running, true) | (MappingState::Stopped, false) => {}
        (MappingState::Stopped, true) => {
            work.drift.push(difference(field("state"), "Stopped", item.item_status.as_str()));
            work.steps.push(Step::StopItem { plan_id, item_id });
        }
        (MappingState::Running, false) if mode.pausing => {}
        (MappingState::Running, false) => {
            if scope.status.paused_items.is_empty() {
                work.drift.push(difference(field("state"), "Running", item.item_status.as_str()));
            }
            work.steps.push(Step::StartItem { plan_id, item_id });
        }
    }
}

/// What removing an item takes next: stop, wait, delete.
pub(super) fn removal(plan_id: i64, item: &ItemView, work: &mut Chores) {
    let item_id = item.item_id;
    match &item.item_status {
        ItemStatus::Running => work.steps.push(Step::StopItem { plan_id, item_id }),
        // Whether a status that is not documented allows it, the API says.
        ItemStatus::ManualStopped | ItemStatus::OverdueStopped | ItemStatus::Other(_) => {
            work.steps.push(Step::DeleteItem { plan_id, item_id });
        }
        ItemStatus::Creating | ItemStatus::Changing => {
            work.waits.push(format!("item {item_id} is {} and cannot be deleted yet", item.item_status.as_str()));
        }
    }
}

/// The items that change just now, which no call on them or on the plan may interrupt.
pub(super) fn transitional(items: &[ItemView]) -> Vec<String> {
    let changing = |item: &&ItemView| matches!(item.item_status, ItemStatus::Creating | ItemStatus::Changing);
    let say = |item: &ItemView| format!("item {} is {}", item.item_id, item.item_status.as_str());
    items.iter().filter(changing).map(say).collect()
}

/// Stops every running item, so that the plan can be changed.
pub(super) fn pause(plan_id: i64, items: &[ItemView]) -> Vec<Step> {
    let stop = |item: &ItemView| Step::StopItem { plan_id, item_id: item.item_id };
    items.iter().filter(|item| runs(item)).map(stop).collect()
}

/// Starts those of the items again that were stopped for an update.
pub(super) fn resume(paused: &[String], plan_id: i64, items: &[ItemView]) -> Vec<Step> {
    let ours = |item: &&ItemView| paused.contains(&item.item_id.to_string());
    let stopped = items.iter().filter(ours).filter(|item| item.item_status == ItemStatus::ManualStopped);
    stopped.map(|item| Step::StartItem { plan_id, item_id: item.item_id }).collect()
}

/// Whether an item that is not this object's is about to run.
pub(super) fn others_change(others: &[&ItemView]) -> bool {
    others.iter().any(|item| matches!(item.item_status, ItemStatus::Creating | ItemStatus::Changing))
}

/// Why the plan cannot be changed although its own items could be stopped: others run that are not this object's.
pub(super) fn foreign_runners(others: &[&ItemView]) -> Option<String> {
    let running: Vec<_> = others.iter().filter(|item| runs(item)).map(|item| item.item_id.to_string()).collect();
    (!running.is_empty()).then(|| {
        format!(
            "the API refuses to change the plan while items run, and items {} are not in topicMappings: stop them, or name \
             them in topicMappings",
            running.join(", ")
        )
    })
}

/// Whether the topics differ in what the spec says. What the cloud does not show cannot be said to differ.
fn differs(wanted: &[ItemTopic], found: &[ItemTopic]) -> bool {
    let differs = |wanted: &Option<String>, found: &Option<String>| match (wanted, found) {
        (Some(wanted), Some(found)) => !wanted.eq_ignore_ascii_case(found) && !found.is_empty(),
        _ => false,
    };
    wanted.iter().any(|side| {
        let ItemTopic {
            region_id: _,
            instance_type: _,
            instance_id: _,
            topic_name,
            // It is deprecated, and the cloud may show one of its own.
            consumer_group_id: _,
            delivery_order_type,
        } = side;
        let exact = found.iter().find(|other| resolve::same_side(side, other));
        match exact.or_else(|| found.iter().find(|other| resolve::same_instance(side, other))) {
            None => true,
            Some(other) => other.topic_name != *topic_name || differs(delivery_order_type, &other.delivery_order_type),
        }
    })
}

/// Topics as people read them.
fn names(topics: &[ItemTopic]) -> String {
    let one = |topic: &ItemTopic| {
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        let order = topic.delivery_order_type.as_deref().map(|order| format!(" {order}")).unwrap_or_default();
        format!("{}/{}{order}", part(&topic.instance_id), part(&topic.topic_name))
    };
    let mut all: Vec<_> = topics.iter().map(one).collect();
    all.sort();
    all.join(" ~ ")
}
