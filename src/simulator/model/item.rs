//! Items: mappings of a topic on one instance to a topic on the other.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, CheckpointView};
use super::failure::Failure;
use super::instance::{Instance, allow};
use super::messages::Messages;
use super::place::Place;
use super::progress::Consumption;
use super::replication::Replication;
use super::rules::Rules;
use super::text::{given, wall_time};

/// The status of an item. The names are the API's; the transitions are not documented (all inferred).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ItemStatus {
    /// Just added; changes to RUNNING by itself.
    Creating,
    /// Being started, stopped or updated.
    Changing,
    /// Replicates.
    Running,
    /// Stopped by StopItem.
    ManualStopped,
    /// Stopped by the cloud because of arrears; cannot be started until they are paid.
    OverdueStopped,
}

impl ItemStatus {
    /// Whether it ends by itself; the cloud refuses every change of the item until then.
    pub fn is_transitional(self) -> bool {
        matches!(self, ItemStatus::Creating | ItemStatus::Changing)
    }

    pub(super) fn is_stopped(self) -> bool {
        matches!(self, ItemStatus::ManualStopped | ItemStatus::OverdueStopped)
    }
}

/// One side of an item.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Topic {
    /// The instance's region; the cloud adds it when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region_id: Option<String>,
    /// The instance's type; the cloud adds it when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// The id of one of the plan's two instances; required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The topic; required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// Deprecated in the schema, but documented: accepted and returned, without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_group_id: Option<String>,
    /// `Concurrently` or `Orderly`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_order_type: Option<String>,
}

/// The body of Add- and UpdateItem.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ItemInput {
    /// Exactly two, one for each instance of the plan (inferred).
    pub topics: Option<Vec<Topic>>,
}

/// A change of status in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The status after the change.
    pub to: ItemStatus,
    /// End of the change, ms.
    pub at: i64,
}

/// One stored item.
#[derive(Debug, Clone)]
pub struct Item {
    /// The id that the cloud assigned.
    pub item_id: i64,
    /// The status now.
    pub status: ItemStatus,
    /// The change in progress, while the status is CREATING or CHANGING.
    pub change: Option<Change>,
    /// The two topics.
    pub topics: Vec<Topic>,
    /// Time of creation, ms.
    pub created_at: i64,
    /// Time of the last change, ms.
    pub updated_at: i64,
    /// Time from which Get and List return it, ms.
    pub visible_at: i64,
    /// Time since which it runs, ms; automatic synchronisations count from it.
    pub running_since: Option<i64>,
    /// How its replicators move while it runs; [`Model::set_replication`](super::Model::set_replication) sets it.
    pub replication: Consumption,
    /// Its replicators, one for each direction since it ran for the first time.
    pub replications: Vec<Replication>,
    /// Its consumer progress.
    pub checkpoints: Vec<Checkpoint>,
    /// The consumer groups that subscribe to its topics only, beside those of the rules.
    pub extra_groups: BTreeSet<String>,
    /// The consumer groups of the rules that do not subscribe to its topics.
    pub absent_groups: BTreeSet<String>,
}

/// An item as Get and List return it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemView {
    /// The plan's id.
    pub plan_id: i64,
    /// The item's id.
    pub item_id: i64,
    pub item_status: ItemStatus,
    /// The two topics.
    pub topics: Vec<Topic>,
    /// Always empty; its content in the cloud is not documented.
    pub ext_info: BTreeMap<String, String>,
    /// `YYYY-MM-DD HH:mm:ss`, UTC (zone inferred).
    pub create_time: String,
    /// `YYYY-MM-DD HH:mm:ss`, UTC (zone inferred).
    pub update_time: String,
    /// The checkpoints of all directions; only [`Model::inspect`](super::Model::inspect) returns them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checkpoints: Vec<CheckpointView>,
}

impl Item {
    /// The item as Get and List return it.
    pub fn view(&self, plan_id: i64) -> ItemView {
        ItemView {
            plan_id,
            item_id: self.item_id,
            item_status: self.status,
            topics: self.topics.clone(),
            ext_info: BTreeMap::new(),
            create_time: wall_time(self.created_at),
            update_time: wall_time(self.updated_at),
            checkpoints: Vec::new(),
        }
    }

    pub(super) fn inspect(&self, plan_id: i64, rules: &Rules, messages: &Messages, now: i64) -> ItemView {
        let view = |checkpoint: &Checkpoint| checkpoint.view((plan_id, self.item_id), rules, messages, now);
        ItemView { checkpoints: self.checkpoints.iter().map(view).collect(), ..self.view(plan_id) }
    }

    /// Ends a change that is due. Returns its end if the item runs because of it.
    pub(super) fn settle(&mut self, now: i64) -> Option<i64> {
        let change = self.change.filter(|change| change.at <= now)?;
        self.change = None;
        self.set_status(change.to, change.at);
        (change.to == ItemStatus::Running).then_some(change.at)
    }

    /// Sets the status, whatever it was.
    pub(super) fn set_status(&mut self, status: ItemStatus, at: i64) {
        self.status = status;
        self.updated_at = at;
        self.running_since = (status == ItemStatus::Running).then_some(at);
        self.replicate(at);
    }

    pub(super) fn begin(&mut self, to: ItemStatus, now: i64, delay_ms: i64) {
        self.status = ItemStatus::Changing;
        self.change = Some(Change { to, at: now.saturating_add(delay_ms) });
        self.running_since = None;
        self.updated_at = now;
        self.replicate(now);
    }

    /// Lets the replicators follow the status from `at` on.
    fn replicate(&mut self, at: i64) {
        let runs = self.status == ItemStatus::Running;
        self.replications.iter_mut().for_each(|it| it.follow(runs, self.replication, at));
    }

    /// Changes how its replicators move.
    pub(super) fn set_replication(&mut self, to: Consumption, now: i64) {
        self.replication = to;
        self.replications.iter_mut().for_each(|it| it.set(to, now));
    }

    pub(super) fn names_topic(&self, wanted: impl Fn(&str) -> bool) -> bool {
        self.topics.iter().any(|topic| wanted(topic.topic_name.as_deref().unwrap_or_default()))
    }
}

impl Item {
    /// Whether it has checkpoints as soon as a group subscribes to its topics.
    pub(super) fn has_run(&self) -> bool {
        self.status == ItemStatus::Running || !self.replications.is_empty()
    }

    /// Creates missing replicators and checkpoints, and deletes those of topics and consumer groups that the item no longer has.
    pub(super) fn cover(
        &mut self,
        instances: &[Instance],
        directions: &[(usize, usize)],
        rules: &Rules,
        next_id: &mut i64,
        now: i64,
    ) {
        let place = |index: usize| {
            let instance = instances.get(index)?;
            let topic = self.topics.iter().find(|topic| topic.instance_id == instance.instance_id)?;
            Some(Place {
                region_id: instance.region_id.clone(),
                instance_id: instance.id().to_owned(),
                instance_type: instance.instance_type.clone().unwrap_or_default(),
                topic_name: topic.topic_name.clone().unwrap_or_default(),
            })
        };
        let known = rules.consumer_groups.iter().filter(|group| !self.absent_groups.contains(*group));
        let extra = self.extra_groups.iter().filter(|group| !rules.consumer_groups.contains(group));
        let groups: Vec<_> = known.chain(extra).collect();
        let (mut covered, mut replications) = (Vec::new(), Vec::new());
        for (from, to) in directions {
            let (Some(source), Some(target)) = (place(*from), place(*to)) else { continue };
            let same = |old: &&Replication| old.source == source && old.target == target;
            let replication = self.replications.iter().find(same).cloned();
            replications.push(replication.unwrap_or_else(|| Replication::new(source.clone(), target.clone(), now)));
            for group in &groups {
                let same = |old: &&Checkpoint| {
                    old.consumer_group_id == **group && old.source == source && old.target == target
                };
                let checkpoint = self.checkpoints.iter().find(same).cloned().unwrap_or_else(|| {
                    let checkpoint_id = *next_id;
                    *next_id += 1;
                    let mut new = Checkpoint::new(checkpoint_id, group, (source.clone(), target.clone()), now);
                    new.follow_idle(rules, now);
                    new
                });
                covered.push(checkpoint);
            }
        }
        covered.sort_by_key(|checkpoint| checkpoint.checkpoint_id);
        self.checkpoints = covered;
        self.replications = replications;
        self.replicate(now);
    }

    /// Executes the automatic synchronisations after `before` until `now`. Only the last one has an effect, so only that
    /// one is executed, with the progress at its time.
    pub(super) fn synchronise(
        &mut self,
        (before, now): (i64, i64),
        (rules, messages): (&Rules, &Messages),
        automatic: &dyn Fn(&str) -> bool,
    ) {
        let Some(since) = self.running_since else { return };
        let interval = rules.sync_interval_ms.max(1);
        let last = since + (now - since) / interval * interval;
        if last <= since || last <= before {
            return;
        }
        let wanted = |checkpoint: &Checkpoint| !checkpoint.held && automatic(&checkpoint.consumer_group_id);
        self.sync(&wanted, messages, last);
    }

    /// Synchronises the wanted checkpoints, each as far as its messages have arrived.
    pub(super) fn sync(&mut self, wanted: &dyn Fn(&Checkpoint) -> bool, messages: &Messages, at: i64) {
        for checkpoint in self.checkpoints.iter_mut().filter(|checkpoint| wanted(checkpoint)) {
            let same = |it: &&Replication| it.source == checkpoint.source && it.target == checkpoint.target;
            let arrived = self.replications.iter().find(same).map_or(at, |it| it.arrived(at));
            checkpoint.sync(messages, arrived, at);
        }
    }
}

/// Checks the two topics of an item against the plan's instances and adds omitted fields.
pub(super) fn checked(input: ItemInput, instances: &[Instance], rules: &Rules) -> Result<Vec<Topic>, Failure> {
    let mut topics = input.topics.ok_or_else(|| Failure::missing("topics"))?;
    if topics.len() != instances.len() {
        return Err(Failure::invalid("topics", "there must be exactly two, one for each instance of the plan"));
    }
    for topic in &mut topics {
        let name = given(topic.topic_name.as_ref()).ok_or_else(|| Failure::missing("topicName"))?;
        let id = given(topic.instance_id.as_ref()).ok_or_else(|| Failure::missing("instanceId"))?;
        let instance = instances.iter().find(|instance| instance.id() == id).ok_or_else(Failure::instance_not_found)?;
        if instance.is_aliyun() && rules.topics.as_ref().is_some_and(|known| !known.contains(name)) {
            return Err(Failure::topic_not_found());
        }
        allow("deliveryOrderType", topic.delivery_order_type.as_deref(), &["Concurrently", "Orderly"])?;
        for (field, given, stored) in [
            ("regionId", &mut topic.region_id, &instance.region_id),
            ("instanceType", &mut topic.instance_type, &instance.instance_type),
        ] {
            if given.is_some() && stored.is_some() && *given != *stored {
                return Err(Failure::invalid(field, "it is not the instance's"));
            }
            if given.is_none() {
                given.clone_from(stored);
            }
        }
    }
    let both = instances.iter().all(|instance| topics.iter().any(|topic| topic.instance_id == instance.instance_id));
    if both { Ok(topics) } else { Err(Failure::invalid("topics", "there must be one for each instance of the plan")) }
}
