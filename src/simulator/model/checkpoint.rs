//! Checkpoints: the progress of a consumer group at source and target of an item.

use serde::{Deserialize, Serialize};

use super::rules::Rules;

/// A topic on an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The instance's region, if it has one.
    pub region_id: Option<String>,
    pub instance_id: String,
    /// The instance's type.
    pub instance_type: String,
    pub topic_name: String,
}

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
    /// Progress at the source: the time of the message consumed last, ms.
    pub source_time: i64,
    /// Progress at the target, ms; unknown before the first synchronisation.
    pub target_time: Option<i64>,
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
    pub(super) fn sync(&mut self, at: i64, live: bool) {
        if live {
            self.source_time = at;
        }
        self.target_time = Some(self.source_time);
        self.last_sync_time = Some(at);
    }

    /// The checkpoint as List returns it at `now`.
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
