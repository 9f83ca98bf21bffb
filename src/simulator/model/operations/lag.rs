//! GetConsumerGroupLag: the messages that wait for a consumer group.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::account::Model;
use super::super::failure::Failure;
use super::super::instance::Instance;
use super::super::item::Item;
use super::super::messages::Stored;
use super::super::place::Place;
use super::super::plan::Plan;
use super::super::progress::Position;
use super::super::text::given;

/// Messages a second of a topic that is not quiet. Any part of a message counts as one.
const MESSAGES_PER_SECOND: i64 = 10;
/// Maximum number of messages of a topic that the consumers of a group process at a time.
const MAX_INFLIGHT: i64 = 10;

/// The messages that wait for a consumer group, in one topic or in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lag {
    /// Messages that wait to be delivered.
    pub ready_count: i64,
    /// Messages that consumers process; none while the group is offline.
    pub inflight_count: i64,
    /// Age of the oldest waiting message, whole seconds; 0 if none waits.
    pub delivery_duration: i64,
    /// Store time of the message that was fetched last, ms; 0 without topics.
    pub last_consume_timestamp: i64,
}

/// The answer of GetConsumerGroupLag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerGroupLag {
    /// The instance's region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region_id: Option<String>,
    pub instance_id: String,
    pub consumer_group_id: String,
    /// The topic that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// The lag of all topics in `topic_lag_map`: the sum of the messages, the longest duration and the last time.
    pub total_lag: Lag,
    /// The lag of each topic.
    pub topic_lag_map: BTreeMap<String, Lag>,
}

impl Lag {
    fn new(position: &Position, stored: &Stored, now: i64) -> Lag {
        let read = position.at(now);
        let waiting_ms = stored.ms_between(read, now);
        let waiting = (waiting_ms * MESSAGES_PER_SECOND + 999) / 1000;
        let inflight_count = if position.moves(now) { waiting.min(MAX_INFLIGHT) } else { 0 };
        let oldest = stored.next(read).filter(|oldest| *oldest <= now);
        Lag {
            ready_count: waiting - inflight_count,
            inflight_count,
            delivery_duration: oldest.map_or(0, |oldest| (now - oldest) / 1000),
            last_consume_timestamp: stored.last(read),
        }
    }

    fn total<'a>(lags: impl Iterator<Item = &'a Lag>) -> Lag {
        lags.fold(Lag::default(), |total, lag| Lag {
            ready_count: total.ready_count + lag.ready_count,
            inflight_count: total.inflight_count + lag.inflight_count,
            delivery_duration: total.delivery_duration.max(lag.delivery_duration),
            last_consume_timestamp: total.last_consume_timestamp.max(lag.last_consume_timestamp),
        })
    }
}

impl Model {
    /// GetConsumerGroupLag on the instance with this id, in the region if the request names one.
    ///
    /// The instances are those of all plans; a self-managed cluster is none. A group is that of a plan's replicator at a
    /// source, or one of an application with checkpoints there. A lite topic is never found.
    pub fn consumer_group_lag(
        &mut self,
        region: Option<&str>,
        (instance_id, group): (&str, &str),
        (topic_name, lite_topic_name): (Option<&String>, Option<&String>),
        now: i64,
    ) -> Result<ConsumerGroupLag, Failure> {
        self.advance_plans(now, |plan| plan.names(instance_id));
        let wanted = |instance: &&Instance| {
            let in_region = region.is_none_or(|region| instance.region_id.as_deref() == Some(region));
            instance.is_aliyun() && instance.id() == instance_id && in_region
        };
        let instance = self.plans.values().flat_map(|plan| &plan.instances).find(wanted);
        let instance = instance.ok_or_else(Failure::instance_not_found)?;
        let mut lags = self.lags(instance_id, group, now).ok_or_else(Failure::consumer_group_not_found)?;
        let topic_name = given(topic_name);
        if let Some(topic_name) = topic_name {
            lags.retain(|topic, _| topic == topic_name);
        }
        if topic_name.is_some() && lags.is_empty() || given(lite_topic_name).is_some() {
            return Err(Failure::topic_not_found());
        }
        Ok(ConsumerGroupLag {
            region_id: instance.region_id.clone(),
            instance_id: instance_id.to_owned(),
            consumer_group_id: group.to_owned(),
            topic_name: topic_name.map(str::to_owned),
            total_lag: Lag::total(lags.values()),
            topic_lag_map: lags,
        })
    }

    /// The lag of a group on an instance by topic, if there is such a group.
    fn lags(&self, instance_id: &str, group: &str, now: i64) -> Option<BTreeMap<String, Lag>> {
        let mut positions: Vec<(&Place, &Position)> = Vec::new();
        let mut found = false;
        for plan in self.plans.values().filter(|plan| plan.names(instance_id)) {
            let items = plan.items.values();
            if plan.replicates_with(instance_id, group) {
                found = true;
                positions
                    .extend(items.clone().flat_map(|item| &item.replications).map(|it| (&it.source, &it.position)));
            }
            let checkpoints = items.flat_map(|item| &item.checkpoints).filter(|it| it.consumer_group_id == group);
            positions.extend(checkpoints.map(|it| (&it.source, &it.source_progress)));
        }
        positions.retain(|(source, _)| source.instance_id == instance_id);
        let mut lags = BTreeMap::new();
        for (source, position) in &positions {
            let lag = Lag::new(position, self.messages.of(source), now);
            let known = lags.entry(source.topic_name.clone()).or_insert(lag);
            // Several items can have one source topic: the reader that is behind counts.
            if lag.last_consume_timestamp < known.last_consume_timestamp {
                *known = lag;
            }
        }
        (found || !positions.is_empty()).then_some(lags)
    }
}

impl Plan {
    /// Whether it is between this instance and another, or was when an item ran.
    fn names(&self, instance_id: &str) -> bool {
        let of_item = |item: &Item| item.replications.iter().any(|it| it.source.instance_id == instance_id);
        self.instances.iter().any(|it| it.id() == instance_id) || self.items.values().any(of_item)
    }

    /// Whether its replicator reads from this instance with this group.
    fn replicates_with(&self, instance_id: &str, group: &str) -> bool {
        let sources = self.directions().into_iter().filter_map(|(source, _)| self.instances.get(source));
        sources.into_iter().any(|it| it.id() == instance_id && it.consumer_group_id.as_deref() == Some(group))
    }
}
