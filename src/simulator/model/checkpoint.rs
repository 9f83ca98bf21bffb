//! Checkpoints: how far one consumer group has come on either side of an item.

use serde::{Deserialize, Serialize};

use super::{Failure, Instance, Item, Model, Page, Paging, Rules, given};

/// A topic on an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The instance's region, if it has one.
    pub region_id: Option<String>,
    /// The instance.
    pub instance_id: String,
    /// The instance's type.
    pub instance_type: String,
    /// The topic.
    pub topic_name: String,
}

/// The progress of one consumer group in one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The cloud's id.
    pub checkpoint_id: i64,
    /// The consumer group, of the same name on both sides.
    pub consumer_group_id: String,
    /// Where the progress is taken from.
    pub source: Place,
    /// Where it is brought to.
    pub target: Place,
    /// When it was last synchronised, ms.
    pub last_sync_time: Option<i64>,
    /// How far the group has come at the source: the time of the message consumed last, ms.
    pub source_time: i64,
    /// How far it has come at the destination, ms; unknown before the first synchronisation.
    pub target_time: Option<i64>,
    /// Whether neither time nor the automatic synchronisation moves it: set with [`Model::set_checkpoint`], ended by
    /// SyncCheckpoint.
    pub held: bool,
}

/// Times to put in a checkpoint; what is absent stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CheckpointTimes {
    /// When it was last synchronised, ms.
    pub last_sync_time: Option<i64>,
    /// How far the source has come, ms.
    pub source_time: Option<i64>,
    /// How far the destination has come, ms.
    pub target_time: Option<i64>,
}

/// A checkpoint as List shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointView {
    /// The plan's id.
    pub plan_id: i64,
    /// The item's id.
    pub item_id: i64,
    /// The checkpoint's id.
    pub checkpoint_id: i64,
    /// When it was last synchronised, ms; absent or 0 before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_time: Option<i64>,
    /// How far the source has come.
    pub source_progress: Progress,
    /// How far the destination has come.
    pub target_progress: Progress,
}

/// One side of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The instance's region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region_id: Option<String>,
    /// The instance.
    pub instance_id: String,
    /// The instance's type.
    pub instance_type: String,
    /// The consumer group.
    pub consumer_group_id: String,
    /// The topic.
    pub topic_name: String,
    /// When the cloud last looked, ms: the time of the call (inferred).
    pub last_fetch_time: i64,
    /// What it saw; absent at the destination before the first synchronisation (inferred).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_data: Option<ProgressData>,
}

/// How far a group has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressData {
    /// The time of the message consumed last, ms.
    pub consume_timestamp: i64,
}

impl Checkpoint {
    fn sync(&mut self, at: i64, live: bool) {
        if live {
            self.source_time = at;
        }
        self.target_time = Some(self.source_time);
        self.last_sync_time = Some(at);
    }

    /// The checkpoint as List shows it at `now`.
    pub(super) fn view(&self, plan_id: i64, item_id: i64, rules: &Rules, now: i64) -> CheckpointView {
        let progress = |place: &Place, time: Option<i64>| Progress {
            region_id: place.region_id.clone(),
            instance_id: place.instance_id.clone(),
            instance_type: place.instance_type.clone(),
            consumer_group_id: self.consumer_group_id.clone(),
            topic_name: place.topic_name.clone(),
            last_fetch_time: now,
            progress_data: time.map(|consume_timestamp| ProgressData { consume_timestamp }),
        };
        CheckpointView {
            plan_id,
            item_id,
            checkpoint_id: self.checkpoint_id,
            last_sync_time: self.last_sync_time.or(rules.never_synced_as_zero.then_some(0)),
            source_progress: progress(&self.source, Some(self.source_time)),
            target_progress: progress(&self.target, self.target_time),
        }
    }
}

impl Item {
    /// Makes the checkpoints that are missing and drops those of topics that the item no longer has.
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
        let mut covered = Vec::new();
        for (from, to) in directions {
            let (Some(source), Some(target)) = (place(*from), place(*to)) else { continue };
            for group in &rules.consumer_groups {
                let same =
                    |old: &&Checkpoint| old.consumer_group_id == *group && old.source == source && old.target == target;
                let checkpoint = self.checkpoints.iter().find(same).cloned().unwrap_or_else(|| {
                    let checkpoint_id = *next_id;
                    *next_id += 1;
                    Checkpoint {
                        checkpoint_id,
                        consumer_group_id: group.clone(),
                        source: source.clone(),
                        target: target.clone(),
                        last_sync_time: None,
                        source_time: now,
                        target_time: None,
                        held: false,
                    }
                });
                covered.push(checkpoint);
            }
        }
        self.checkpoints = covered;
    }

    /// Lets the groups that consume at the source come to `now`, whether the item runs or not.
    pub(super) fn consume(&mut self, now: i64, rules: &Rules) {
        for checkpoint in &mut self.checkpoints {
            if !checkpoint.held && !rules.idle_groups.contains(&checkpoint.consumer_group_id) {
                checkpoint.source_time = now;
            }
        }
    }

    /// Does the automatic synchronisations that fall in `before..=now`. Only the last one shows, so that only it is done.
    pub(super) fn synchronise(&mut self, before: i64, now: i64, rules: &Rules, automatic: &dyn Fn(&str) -> bool) {
        let Some(since) = self.running_since else { return };
        let interval = rules.sync_interval_ms.max(1);
        let last = since + (now - since) / interval * interval;
        if last <= since || last <= before {
            return;
        }
        for checkpoint in &mut self.checkpoints {
            let group = &checkpoint.consumer_group_id;
            if !checkpoint.held && automatic(group) {
                let live = !rules.idle_groups.contains(group);
                checkpoint.sync(last, live);
            }
        }
        // What was consumed after the last synchronisation is the lag.
        self.consume(now, rules);
    }
}

impl Model {
    /// ListDisasterRecoveryCheckpoints: those whose source is `instance_id`; none unless the plan synchronises.
    pub fn list_checkpoints(
        &mut self,
        region: &str,
        ids: (i64, i64),
        (instance_id, filter): (Option<&String>, Option<&String>),
        paging: Paging,
        now: i64,
    ) -> Result<Page<CheckpointView>, Failure> {
        self.advance(now);
        let (plan, item) = self.visible_item(region, ids, now)?;
        let instance_id = given(instance_id).ok_or_else(|| Failure::missing("instanceId"))?;
        if !plan.instances.iter().any(|instance| instance.id() == instance_id) {
            return Err(Failure::instance_not_found());
        }
        let text = given(filter).unwrap_or_default();
        let wanted = |checkpoint: &&Checkpoint| {
            let topics = [&checkpoint.source.topic_name, &checkpoint.target.topic_name];
            plan.sync_checkpoint_enabled
                && checkpoint.source.instance_id == instance_id
                && (checkpoint.consumer_group_id.contains(text) || topics.iter().any(|topic| topic.contains(text)))
        };
        let view = |checkpoint: &Checkpoint| checkpoint.view(ids.0, ids.1, &self.rules, now);
        Ok(paging.cut(item.checkpoints.iter().filter(wanted).map(view).collect(), false))
    }

    /// SyncDisasterRecoveryCheckpoint: once, whether the group is online at the destination or not.
    pub fn sync_checkpoint(
        &mut self,
        region: &str,
        ids: (i64, i64),
        checkpoint_id: i64,
        now: i64,
    ) -> Result<(), Failure> {
        self.advance(now);
        let rules = self.rules.clone();
        let plan = self.find_mut(region, ids.0)?;
        let enabled = plan.sync_checkpoint_enabled;
        let item = plan.items.get_mut(&ids.1).ok_or_else(Failure::item_not_found)?;
        let checkpoint = item.checkpoints.iter_mut().find(|checkpoint| checkpoint.checkpoint_id == checkpoint_id);
        let checkpoint = checkpoint.filter(|_| enabled).ok_or_else(Failure::checkpoint_not_found)?;
        let held = std::mem::take(&mut checkpoint.held);
        let live = !held && !rules.idle_groups.contains(&checkpoint.consumer_group_id);
        checkpoint.sync(now, live);
        Ok(())
    }
}
