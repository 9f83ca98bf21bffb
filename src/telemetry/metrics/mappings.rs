//! The numbers of the topic mappings of plans.

use std::fmt;

use prometheus_client::encoding::EncodeGaugeValue;

use super::family::{Family, Object, Samples, seconds};
use super::rows::Rows;
use super::{Record, last_of_each};

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

/// Source instance and topic, number of messages, delay and time of the count.
type Backlog<'a> = ((&'a str, &'a str), Option<i64>, i64, i64);
/// Mapping, time of its sample, start and failures of its last round, and backlog. A mapping may have several rows.
type Row<'a> = (&'a str, Option<i64>, Option<(i64, i64)>, Option<Backlog<'a>>);

/// Packs the numbers of the mappings.
pub(super) fn pack(measures: &MappingMeasures) -> Rows {
    fn round(it: &SyncRound) -> (i64, i64) {
        (it.started_ms, i64::try_from(it.failed).unwrap_or(i64::MAX))
    }
    fn backlog(it: &MessageBacklog) -> Backlog<'_> {
        ((&it.source_instance, &it.topic), it.messages, it.delay_ms, it.requested_ms)
    }
    let sampled = last_of_each(&measures.sampled, |(mapping, _)| mapping);
    let rounds = last_of_each(&measures.rounds, |it| &it.mapping);
    let backlogs = last_of_each(&measures.backlogs, |it| (&it.mapping, &it.source_instance, &it.topic));
    let sampled = sampled.into_iter().map(|(mapping, ms)| -> Row<'_> { (mapping, Some(*ms), None, None) });
    let rounds = rounds.into_iter().map(|it| -> Row<'_> { (&it.mapping, None, Some(round(it)), None) });
    let backlogs = backlogs.into_iter().map(|it| -> Row<'_> { (&it.mapping, None, None, Some(backlog(it))) });
    Rows::new(sampled.chain(rounds).chain(backlogs))
}

/// Writes the value of each mapping that has one.
fn write<V: EncodeGaugeValue>(
    object: &Object<'_>,
    record: &Record,
    to: &mut Samples<'_>,
    value: impl Fn(Row<'_>) -> Option<V>,
) -> fmt::Result {
    for row in record.mappings.iter::<Row<'_>>() {
        let Some(value) = value(row) else { continue };
        to.gauge(&object.labels(), &[("mapping", row.0)], value)?;
    }
    Ok(())
}

/// Writes the value of each backlog that has one.
fn write_backlogs<V: EncodeGaugeValue>(
    object: &Object<'_>,
    record: &Record,
    to: &mut Samples<'_>,
    value: impl Fn(Backlog<'_>) -> Option<V>,
) -> fmt::Result {
    for (mapping, _, _, backlog) in record.mappings.iter::<Row<'_>>() {
        let Some((backlog, value)) = backlog.and_then(|it| Some((it, value(it)?))) else { continue };
        let (source_instance, topic) = backlog.0;
        let labels = [("mapping", mapping), ("source_instance", source_instance), ("topic", topic)];
        to.gauge(&object.labels(), &labels, value)?;
    }
    Ok(())
}

pub(super) static FAMILIES: [Family; 6] = [
    Family::seconds(
        "checkpoint_sample_timestamp",
        "When the checkpoints of a topic mapping were last read whole, in seconds since 1970 UTC.",
        |object, record, to| write(object, record, to, |(_, sampled, _, _)| sampled.map(seconds)),
    ),
    Family::gauge(
        "message_backlog",
        "How many messages of a topic were not at the destination when they were counted; no series where the cloud does \
            not show it.",
        |object, record, to| write_backlogs(object, record, to, |(_, messages, _, _)| messages),
    ),
    Family::seconds(
        "message_backlog_delay",
        "How long the oldest message of a topic that was not at the destination had waited when they were counted, in \
            whole seconds.",
        |object, record, to| write_backlogs(object, record, to, |(_, _, delay, _)| Some(seconds(delay))),
    ),
    Family::seconds(
        "message_backlog_sample_timestamp",
        "When the messages of a topic that are not at the destination were last counted, in seconds since 1970 UTC.",
        |object, record, to| write_backlogs(object, record, to, |(_, _, _, requested)| Some(seconds(requested))),
    ),
    Family::seconds(
        "checkpoint_sync_round_timestamp",
        "When the operator last began to synchronize the checkpoints of a topic mapping (spec.checkpointSync), in seconds \
            since 1970 UTC.",
        |object, record, to| write(object, record, to, |(_, _, round, _)| round.map(|(started, _)| seconds(started))),
    ),
    Family::gauge(
        "checkpoint_sync_round_failures",
        "How many consumer groups of a topic mapping could not be synchronized in the last such round or before, and 1 \
            more where it could not list them.",
        |object, record, to| write(object, record, to, |(_, _, round, _)| round.map(|(_, failed)| failed)),
    ),
];
