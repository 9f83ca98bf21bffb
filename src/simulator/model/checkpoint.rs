//! Checkpoints: the progress of a consumer group at source and target of an item.

use serde::{Deserialize, Serialize};

use super::messages::{Messages, Stored};
use super::place::Place;
use super::progress::{Consumption, Position};
use super::rules::Rules;

/// The progress of one consumer group in one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The id that the cloud assigned.
    pub checkpoint_id: i64,
    /// The consumer group, of the same name on both sides.
    pub consumer_group_id: String,
    /// The source of the progress.
    pub source: Place,
    /// The target of the progress.
    pub target: Place,
    /// Time of the last synchronisation, ms.
    pub last_sync_time: Option<i64>,
    /// Progress at the source: the time up to which messages were consumed.
    pub source_progress: Position,
    /// Progress at the target after the last synchronisation, ms; unknown before the first one.
    pub target_time: Option<i64>,
    /// Distance of the target's progress ahead of the source's, ms, while consumers at the target run on their own.
    pub target_ahead_ms: Option<i64>,
    /// Whether the source stands still because [`Rules::idle_groups`] has the group.
    pub(super) idle: bool,
    /// Whether time and automatic synchronisation leave it alone.
    /// [`Model::set_checkpoint`](super::Model::set_checkpoint) sets it, SyncCheckpoint clears it.
    pub held: bool,
}

/// New times of a checkpoint; absent ones stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CheckpointTimes {
    /// Time of the last synchronisation, ms.
    pub last_sync_time: Option<i64>,
    /// Progress at the source, ms.
    pub source_time: Option<i64>,
    /// Progress at the target, ms.
    pub target_time: Option<i64>,
}

/// A checkpoint as List returns it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointView {
    /// The plan's id.
    pub plan_id: i64,
    /// The item's id.
    pub item_id: i64,
    /// The checkpoint's id.
    pub checkpoint_id: i64,
    /// Time of the last synchronisation, ms; absent or 0 before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sync_time: Option<i64>,
    /// Progress at the source.
    pub source_progress: Progress,
    /// Progress at the target.
    pub target_progress: Progress,
}

/// One side of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The instance's region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region_id: Option<String>,
    pub instance_id: String,
    /// The instance's type.
    pub instance_type: String,
    pub consumer_group_id: String,
    pub topic_name: String,
    /// Time of the cloud's last observation, ms: the time of the call (inferred).
    pub last_fetch_time: i64,
    /// The observed progress; absent at the target before the first synchronisation (inferred).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_data: Option<ProgressData>,
}

/// Progress of a consumer group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressData {
    /// The time of the message consumed last, ms.
    pub consume_timestamp: i64,
}

impl Checkpoint {
    /// A checkpoint that was never synchronised, of a busy group.
    pub(super) fn new(checkpoint_id: i64, group: &str, (source, target): (Place, Place), now: i64) -> Checkpoint {
        Checkpoint {
            checkpoint_id,
            consumer_group_id: group.to_owned(),
            source,
            target,
            last_sync_time: None,
            source_progress: Position::busy(now),
            target_time: None,
            target_ahead_ms: None,
            idle: false,
            held: false,
        }
    }

    /// The progress at the target at `now`, ms. Consumers there that run on their own are ahead whatever a
    /// synchronisation sets, also of now (inferred).
    pub(super) fn target_at(&self, messages: &Messages, now: i64) -> Option<i64> {
        let ahead = self.target_ahead_ms.map(|ms| self.source_at(messages, now).saturating_add(ms));
        ahead.or(self.target_time)
    }

    /// The progress at the source at `now`, ms: the store time of the message consumed last.
    pub(super) fn source_at(&self, messages: &Messages, now: i64) -> i64 {
        self.stored(messages).last(self.source_progress.at(now))
    }

    fn stored<'a>(&self, messages: &'a Messages) -> &'a Stored {
        messages.of(&self.source)
    }

    /// Sets the target's progress to that of the source at this time, as far as messages have arrived at the target: a
    /// message that has not arrived has no offset there.
    pub(super) fn sync(&mut self, messages: &Messages, arrived: i64, at: i64) {
        self.target_time = Some(self.stored(messages).last(self.source_progress.at(at).min(arrived)));
        self.last_sync_time = Some(at);
    }

    /// Sets the times until SyncCheckpoint.
    pub(super) fn hold(&mut self, times: CheckpointTimes, messages: &Messages, now: i64) {
        self.last_sync_time = times.last_sync_time.or(self.last_sync_time);
        self.target_time = times.target_time.or(self.target_at(messages, now));
        self.target_ahead_ms = None;
        let source_time = times.source_time.unwrap_or_else(|| self.source_progress.at(now));
        self.source_progress.hold(source_time, now);
        self.held = true;
    }

    /// Ends a hold. The group is busy again, unless it is idle.
    pub(super) fn release(&mut self, now: i64) {
        if std::mem::take(&mut self.held) && !self.idle {
            self.source_progress.change(Consumption::Busy, now);
        }
    }

    /// Lets consumers at the target run so far ahead of the source. Their progress stays when they end.
    pub(super) fn run_ahead(&mut self, ahead_ms: Option<i64>, messages: &Messages, now: i64) {
        self.target_time = self.target_at(messages, now);
        self.target_ahead_ms = ahead_ms;
    }

    /// The newest time when the source's progress was not beyond the target's of `now`.
    pub(super) fn covered(&self, messages: &Messages, now: i64) -> Option<i64> {
        let limit = self.stored(messages).newest_without_more(self.target_at(messages, now)?);
        Some(self.source_progress.newest_within(limit, now))
    }

    /// Changes how the group moves at the source, and ends a hold.
    pub(super) fn consume(&mut self, consumption: Consumption, now: i64) {
        self.held = false;
        self.source_progress.change(consumption, now);
    }

    /// Follows a change of [`Rules::idle_groups`], which took effect at `at`.
    pub(super) fn follow_idle(&mut self, rules: &Rules, at: i64) {
        let idle = rules.idle_groups.contains(&self.consumer_group_id);
        if self.idle == idle {
            return;
        }
        self.idle = idle;
        if !self.held {
            self.source_progress.change(if idle { Consumption::Offline } else { Consumption::Busy }, at);
        }
    }

    /// The checkpoint as List returns it at `now`.
    pub(super) fn view(
        &self,
        (plan_id, item_id): (i64, i64),
        rules: &Rules,
        messages: &Messages,
        now: i64,
    ) -> CheckpointView {
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
            source_progress: progress(&self.source, Some(self.source_at(messages, now))),
            target_progress: progress(&self.target, self.target_at(messages, now)),
        }
    }
}
