//! Metric families of the topic mappings of plans.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Seconds;

/// Messages of one mapping and direction that are not at the destination yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageBacklog {
    /// Name of the mapping.
    pub mapping: String,
    /// ID of the instance that the messages come from.
    pub source_instance: String,
    /// Topic on that instance.
    pub topic: String,
    /// Number of messages, where it is known.
    pub messages: Option<i64>,
    /// How long the oldest of them has waited, in milliseconds.
    pub delay_ms: i64,
    /// Start of the request that showed them, in milliseconds since 1970 UTC.
    pub requested_ms: i64,
}

/// The last round in which the operator synchronized the checkpoints of one mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncRound {
    /// Name of the mapping.
    pub mapping: String,
    /// Its start, in milliseconds since 1970 UTC.
    pub started_ms: i64,
    /// Number of consumer groups that it could not synchronize, and 1 more where it could not list them.
    pub failed: usize,
}

/// The exact numbers of the mappings of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappingMeasures {
    /// When the checkpoints of each mapping were last read whole, in milliseconds since 1970 UTC.
    pub sampled: Vec<(String, i64)>,
    /// Messages that are not at the destination yet.
    pub backlogs: Vec<MessageBacklog>,
    /// The last rounds of spec.checkpointSync.
    pub rounds: Vec<SyncRound>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MappingLabels {
    namespace: String,
    name: String,
    mapping: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TopicLabels {
    namespace: String,
    name: String,
    mapping: String,
    source_instance: String,
    topic: String,
}

/// Series of the mappings of one plan.
#[derive(Default)]
pub(super) struct MappingSeries {
    sampled: Vec<MappingLabels>,
    topics: Vec<TopicLabels>,
    rounds: Vec<MappingLabels>,
}

/// Metric families of the mappings of plans.
#[derive(Default)]
pub(super) struct Mappings {
    sampled: Family<MappingLabels, Seconds>,
    messages: Family<TopicLabels, Gauge>,
    delay: Family<TopicLabels, Seconds>,
    counted: Family<TopicLabels, Seconds>,
    round: Family<MappingLabels, Seconds>,
    round_failures: Family<MappingLabels, Gauge>,
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

impl Mappings {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let all = Self::default();
        let help = "When the checkpoints of a topic mapping were last read whole, in seconds since 1970 UTC";
        registry.register_with_unit("checkpoint_sample_timestamp", help, Unit::Seconds, all.sampled.clone());
        let help = "How many messages of a topic were not at the destination when they were counted; no series where the cloud does \
            not show it";
        registry.register("message_backlog", help, all.messages.clone());
        let help = "How long the oldest message of a topic that was not at the destination had waited when they were counted, in \
            whole seconds";
        registry.register_with_unit("message_backlog_delay", help, Unit::Seconds, all.delay.clone());
        let help =
            "When the messages of a topic that are not at the destination were last counted, in seconds since 1970 UTC";
        registry.register_with_unit("message_backlog_sample_timestamp", help, Unit::Seconds, all.counted.clone());
        let help = "When the operator last began to synchronize the checkpoints of a topic mapping (spec.checkpointSync), in seconds \
            since 1970 UTC";
        registry.register_with_unit("checkpoint_sync_round_timestamp", help, Unit::Seconds, all.round.clone());
        let help = "How many consumer groups of a topic mapping could not be synchronized in the last such round or before, and 1 \
            more where it could not list them";
        registry.register("checkpoint_sync_round_failures", help, all.round_failures.clone());
        all
    }

    /// Exports the numbers of a plan and removes its former ones.
    pub(super) fn export(&self, namespace: &str, name: &str, series: &mut MappingSeries, measures: &MappingMeasures) {
        let mapping = |mapping: &String| MappingLabels {
            namespace: namespace.into(),
            name: name.into(),
            mapping: mapping.clone(),
        };
        let topic = |it: &MessageBacklog| TopicLabels {
            namespace: namespace.into(),
            name: name.into(),
            mapping: it.mapping.clone(),
            source_instance: it.source_instance.clone(),
            topic: it.topic.clone(),
        };
        let new = MappingSeries {
            sampled: measures.sampled.iter().map(|it| mapping(&it.0)).collect(),
            topics: measures.backlogs.iter().map(topic).collect(),
            rounds: measures.rounds.iter().map(|it| mapping(&it.mapping)).collect(),
        };
        for (labels, (_, ms)) in new.sampled.iter().zip(&measures.sampled) {
            self.sampled.get_or_create(labels).set(seconds(*ms));
        }
        for (labels, it) in new.topics.iter().zip(&measures.backlogs) {
            match it.messages {
                Some(messages) => drop(self.messages.get_or_create(labels).set(messages)),
                None => drop(self.messages.remove(labels)),
            }
            self.delay.get_or_create(labels).set(seconds(it.delay_ms));
            self.counted.get_or_create(labels).set(seconds(it.requested_ms));
        }
        for (labels, it) in new.rounds.iter().zip(&measures.rounds) {
            self.round.get_or_create(labels).set(seconds(it.started_ms));
            self.round_failures.get_or_create(labels).set(i64::try_from(it.failed).unwrap_or(i64::MAX));
        }
        let old = std::mem::replace(series, new);
        self.remove(&old, series);
    }

    /// Removes the series of a plan.
    pub(super) fn forget(&self, series: &MappingSeries) {
        self.remove(series, &MappingSeries::default());
    }

    /// Removes former series that are not among the new ones.
    fn remove(&self, former: &MappingSeries, new: &MappingSeries) {
        for labels in former.sampled.iter().filter(|it| !new.sampled.contains(it)) {
            self.sampled.remove(labels);
        }
        for labels in former.topics.iter().filter(|it| !new.topics.contains(it)) {
            self.messages.remove(labels);
            self.delay.remove(labels);
            self.counted.remove(labels);
        }
        for labels in former.rounds.iter().filter(|it| !new.rounds.contains(it)) {
            self.round.remove(labels);
            self.round_failures.remove(labels);
        }
    }
}
