//! The messages and the progress that a target has, as only the simulator knows them.

use serde::{Deserialize, Serialize};

use super::account::Model;

/// What the target of a consumer group has of the source's progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupTruth {
    /// The plan's id.
    pub plan_id: i64,
    /// The item's id.
    pub item_id: i64,
    /// The checkpoint's id.
    pub checkpoint_id: i64,
    /// The consumer group.
    pub group: String,
    /// The id of the source instance.
    pub source_instance: String,
    /// The newest time, ms, when the source's progress was not beyond the present progress of the target; absent while the
    /// target has none. After a group's 1,024 last changes of speed it may be too old, never too new.
    pub covered_ms: Option<i64>,
}

/// The messages of a source topic that the target of an item has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageTruth {
    /// The plan's id.
    pub plan_id: i64,
    /// The item's id.
    pub item_id: i64,
    /// The id of the source instance.
    pub source_instance: String,
    /// The topic at the source.
    pub topic: String,
    /// The newest time, ms, up to which every message of the source topic is at the target.
    pub covered_ms: i64,
}

impl Model {
    /// The messages that the target of each item that ever ran has at `now`, in each direction, whatever an answer shows.
    /// `now` is not before the last advance.
    pub fn message_truth(&self, now: i64) -> Vec<MessageTruth> {
        if now != self.now {
            let mut model = self.clone();
            model.advance(now);
            return model.message_truth(now);
        }
        let items = self.plans().flat_map(|plan| plan.items.values().map(|item| (plan.plan_id, item)));
        let replications =
            items.flat_map(|(plan_id, item)| item.replications.iter().map(move |it| (plan_id, item, it)));
        let truth = replications.map(|(plan_id, item, replication)| MessageTruth {
            plan_id,
            item_id: item.item_id,
            source_instance: replication.source.instance_id.clone(),
            topic: replication.source.topic_name.clone(),
            covered_ms: self.messages.of(&replication.source).newest_without_more(replication.arrived(now)).min(now),
        });
        truth.collect()
    }

    /// What the target of each checkpoint has at `now`, whatever lists show. `now` is not before the last advance.
    pub fn lag_truth(&self, now: i64) -> Vec<GroupTruth> {
        if now != self.now {
            let mut model = self.clone();
            model.advance(now);
            return model.lag_truth(now);
        }
        let items = self.plans().flat_map(|plan| plan.items.values().map(|item| (plan.plan_id, item)));
        let checkpoints = items.flat_map(|(plan_id, item)| item.checkpoints.iter().map(move |it| (plan_id, item, it)));
        let truth = checkpoints.map(|(plan_id, item, checkpoint)| GroupTruth {
            plan_id,
            item_id: item.item_id,
            checkpoint_id: checkpoint.checkpoint_id,
            group: checkpoint.consumer_group_id.clone(),
            source_instance: checkpoint.source.instance_id.clone(),
            covered_ms: checkpoint.covered(&self.messages, now),
        });
        truth.collect()
    }
}
