//! The message backlog of a plan: where it is read, and what the answers say. Pure.

use std::sync::Arc;
use std::time::Duration;

use litemap::LiteMap;

use crate::cloud::error::{Class, Error};
use crate::cloud::rocketmq::{GroupLag, TopicLag};
use crate::controller::evidence::backlog::{Consumed, Doubt, Judgement, KeptReading, Reading};
use crate::controller::evidence::packed::Packed;
use crate::controller::evidence::progress::Terms;

use super::pace::Pace;

/// The time by which all topics together may wait longer than each of them.
const UNASSIGNED_MS: i64 = 10_000;

/// The replication from one source instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicator {
    /// The name of the instance in the spec.
    pub instance: Arc<str>,
    /// Where the messages that it has not replicated are counted, or why they are not.
    pub source: Result<Arc<BacklogSource>, NotCounted>,
    /// The topics on the instance, by the names of the mappings that run.
    pub topics: LiteMap<Arc<str>, Arc<str>>,
}

/// Where the API counts the messages that are not replicated: in the consumer group that replication uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BacklogSource {
    /// The region of the instance.
    pub region: Box<str>,
    /// The ID of the instance.
    pub instance_id: Box<str>,
    /// The consumer group.
    pub group: Box<str>,
}

/// The cause for which the API counts no messages of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCounted {
    /// The API has only instances of its own.
    External,
    /// The plan shows no consumer group.
    NoGroup,
    /// The plan does not show the instance.
    NoInstance,
}

/// What the answers say about one topic.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrival {
    /// Every message is within the objective.
    Within {
        /// The end of the proof, in ms.
        until_ms: i64,
    },
    /// A message waits for longer than the objective.
    Exceeded,
    /// Nothing was read so far.
    NotRead,
    /// The newest answer is a failure, and no earlier one is recent enough.
    Failed(Error),
    /// The newest answer lacks the topic.
    Missing,
    /// The newest answer proves and refutes nothing.
    Unknown(Doubt),
}

/// The samples of the messages that are not replicated from one source instance.
#[derive(Clone, Debug, PartialEq)]
pub struct BacklogSamples {
    /// Where they are counted.
    of: Arc<BacklogSource>,
    /// The newest answer, by topic.
    topics: LiteMap<Arc<str>, KeptReading>,
    /// The start of its request, in ms.
    requested_ms: Packed,
    /// Whether messages wait that the answer assigns to no topic.
    unassigned: bool,
    /// The failure of the newest request.
    failure: Option<Box<Error>>,
    /// The distance between the clocks of the operator and of the region.
    pub clock_skew: Duration,
    /// When they are counted again.
    pub pace: Pace,
}

impl BacklogSamples {
    /// Without a sample.
    pub fn new(of: Arc<BacklogSource>) -> Self {
        let (topics, requested_ms, pace) = (LiteMap::new(), Packed::NONE, Pace::default());
        Self { of, topics, requested_ms, unassigned: false, failure: None, clock_skew: Duration::ZERO, pace }
    }

    /// Where they are counted.
    pub fn of(&self) -> &BacklogSource {
        &self.of
    }

    /// The start of the newest request that was answered, in ms.
    pub fn requested_ms(&self) -> Option<i64> {
        self.requested_ms.get()
    }

    /// The failure of the newest request.
    pub fn failure(&self) -> Option<&Error> {
        self.failure.as_deref()
    }

    /// The newest answer about every topic.
    fn readings(&self) -> impl Iterator<Item = Reading> {
        self.topics.values().map(|it| Reading::from(*it))
    }

    /// Whether the newest answer says of a topic which message was replicated last: then a topic without it never was.
    pub fn shows_replicated(&self) -> bool {
        self.readings().any(|it| it.replicated_ms.is_some())
    }

    /// The newest answer about a topic.
    pub fn topic(&self, topic: &str) -> Option<Reading> {
        self.topics.get(topic).map(|it| Reading::from(*it))
    }

    /// Adds the answer to a request that began at `started_ms`. `replicated` are the topics of the mappings.
    pub fn record(&mut self, lag: Result<GroupLag, Error>, started_ms: i64, replicated: &LiteMap<Arc<str>, Arc<str>>) {
        if self.requested_ms.get().is_some_and(|newer| started_ms < newer) {
            // A newer request has been answered.
            return;
        }
        let lag = match lag {
            Ok(lag) => lag,
            Err(error) => {
                // The ID of each request would change the message of a condition.
                self.failure = Some(Box::new(Error { request_id: None, ..error }));
                return;
            }
        };
        self.failure = None;
        self.requested_ms = Some(started_ms).into();
        let shared = |topic: &str| replicated.values().find(|it| ***it == *topic).cloned();
        let mut topics = LiteMap::with_capacity(lag.topic_lag_map.len());
        for (topic, lag) in lag.topic_lag_map {
            let reading = reading(&lag, started_ms).after(self.topic(&topic));
            topics.insert(shared(&topic).unwrap_or_else(|| topic.into()), reading.into());
        }
        self.topics = topics;
        let longest_ms = self.readings().filter_map(|it| it.delay_ms).max().unwrap_or_default();
        let total_ms = reading(&lag.total_lag, started_ms).delay_ms.unwrap_or_default();
        self.unassigned = total_ms.saturating_sub(longest_ms) > UNASSIGNED_MS;
    }

    /// Judges a topic at `now_ms`, by what consumer groups of the source have consumed.
    pub fn judge(
        &self,
        topic: &str,
        consumed: impl IntoIterator<Item = Consumed>,
        now_ms: i64,
        terms: Terms,
    ) -> Arrival {
        let judgement = self.topic(topic).map(|reading| reading.judge(now_ms, consumed, terms));
        match (judgement, &self.failure) {
            (Some(Judgement::Within { .. }), _) if self.unassigned => Arrival::Unknown(Doubt::Unassigned),
            (Some(Judgement::Within { until_ms }), _) => Arrival::Within { until_ms },
            (Some(Judgement::Exceeded), _) => Arrival::Exceeded,
            (_, Some(error)) => Arrival::Failed(Error::clone(error)),
            (Some(Judgement::Unknown(doubt)), None) => Arrival::Unknown(doubt),
            (None, None) if self.requested_ms == Packed::NONE => Arrival::NotRead,
            (None, None) => Arrival::Missing,
        }
    }
}

/// What an answer says about a topic. Numbers below zero say nothing.
fn reading(lag: &TopicLag, requested_ms: i64) -> Reading {
    let known = |number: Option<i64>| number.filter(|it| *it >= 0);
    let counts = known(lag.ready_count).zip(known(lag.inflight_count));
    Reading {
        requested_ms,
        messages: counts.map(|(ready, inflight)| ready.saturating_add(inflight)),
        delay_ms: known(lag.delivery_duration).map(|seconds| seconds.saturating_mul(1000)),
        replicated_ms: lag.last_consume_timestamp.filter(|ms| *ms > 0),
        stuck_since_ms: None,
    }
}

impl Arrival {
    /// The end of the proof, in ms.
    pub fn proven_until_ms(&self) -> Option<i64> {
        match self {
            Self::Within { until_ms } => Some(*until_ms),
            Self::Exceeded | Self::NotRead | Self::Failed(_) | Self::Missing | Self::Unknown(_) => None,
        }
    }

    /// Whether the cloud is likely to answer the same for long.
    pub fn lasts(&self) -> bool {
        match self {
            Self::Failed(error) => lasts(error),
            Self::Missing | Self::Unknown(Doubt::NoDelay | Doubt::Inconsistent | Doubt::Unassigned) => true,
            Self::Within { .. } | Self::Exceeded | Self::NotRead => false,
            Self::Unknown(Doubt::TooOld | Doubt::Contradictory | Doubt::Unproven | Doubt::Expired) => false,
        }
    }
}

/// Whether a failure is likely to last.
pub fn lasts(error: &Error) -> bool {
    match error.class {
        Class::NotFound | Class::Denied | Class::Invalid => true,
        Class::Conflict | Class::Throttled { .. } | Class::Unavailable | Class::Ambiguous => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_answer_replaces_no_newer_one() {
        let (region, instance_id, group) = ("cn-hangzhou".into(), "rmq-a".into(), "GID".into());
        let mut samples = BacklogSamples::new(Arc::new(BacklogSource { region, instance_id, group }));
        let lag = |topic: &str| -> Result<GroupLag, Error> {
            let topics = [(topic.to_owned(), TopicLag::default())].into();
            Ok(GroupLag { topic_lag_map: topics, ..GroupLag::default() })
        };
        samples.record(lag("orders"), 2_000, &LiteMap::new());
        samples.record(lag("billing"), 1_000, &LiteMap::new());
        assert!(samples.topic("orders").is_some() && samples.topic("billing").is_none());
        assert_eq!(samples.requested_ms(), Some(2_000));
        samples.record(lag("billing"), 3_000, &LiteMap::new());
        assert!(samples.topic("billing").is_some());
    }
}
