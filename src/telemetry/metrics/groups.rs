//! Lags of the consumer groups of plans.

use std::cmp::Reverse;
use std::fmt;

use prometheus_client::encoding::EncodeGaugeValue;

use super::family::{Family, Object, Samples, seconds};
use super::rows::Rows;
use super::{Record, last_of_each};

/// Maximum number of consumer groups of one plan with series of their own.
pub(super) const MAX_GROUPS: usize = 2000;

/// Lag of one consumer group and topic of one mapping of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerGroupLag {
    /// Name of the mapping.
    pub mapping: String,
    /// ID of the instance that the progress comes from.
    pub source_instance: String,
    /// Consumer group.
    pub group: String,
    /// Topic on the source.
    pub topic: String,
    /// Time that the destination is behind the source, in milliseconds. None if it was never synchronized.
    pub lag_ms: Option<i64>,
    /// Time of the last synchronization, in milliseconds since 1970 UTC.
    pub last_sync_ms: Option<i64>,
}

/// Mapping, source instance, topic and consumer group.
type Labels<'a> = ((&'a str, &'a str), (&'a str, &'a str));
/// Labels, lag and time of the last synchronization.
type Row<'a> = (Labels<'a>, Option<i64>, Option<i64>);

fn labels(lag: &ConsumerGroupLag) -> Labels<'_> {
    ((&lag.mapping, &lag.source_instance), (&lag.topic, &lag.group))
}

/// One lag for each consumer group.
pub(super) fn distinct(lags: &[ConsumerGroupLag]) -> Vec<&ConsumerGroupLag> {
    last_of_each(lags, labels)
}

/// Packs the lags of `count` groups at most: those that were never synchronized, then those with the largest lag.
pub(super) fn pack(mut lags: Vec<&ConsumerGroupLag>, count: usize) -> Rows {
    if lags.len() > count {
        lags.sort_by_key(|lag| (lag.last_sync_ms.is_some(), Reverse(lag.lag_ms.unwrap_or(i64::MAX))));
        lags.truncate(count);
    }
    Rows::new(lags.into_iter().map(|lag| (labels(lag), lag.lag_ms, lag.last_sync_ms)))
}

/// Writes the value of each group that has one.
fn write<V: EncodeGaugeValue>(
    object: &Object<'_>,
    record: &Record,
    to: &mut Samples<'_>,
    value: impl Fn(Option<i64>, Option<i64>) -> Option<V>,
) -> fmt::Result {
    for (((mapping, source_instance), (topic, group)), lag_ms, last_sync_ms) in record.groups.iter::<Row<'_>>() {
        let Some(value) = value(lag_ms, last_sync_ms) else { continue };
        let labels =
            [("mapping", mapping), ("source_instance", source_instance), ("topic", topic), ("consumer_group", group)];
        to.gauge(&object.labels(), &labels, value)?;
    }
    Ok(())
}

pub(super) static FAMILIES: [Family; 3] = [
    Family::seconds(
        "checkpoint_lag",
        "How far the progress of a consumer group at the destination was behind the source when it was sampled, exactly; \
            no series for one that was never synchronized.",
        |object, record, to| write(object, record, to, |lag_ms, _| lag_ms.map(seconds)),
    ),
    Family::gauge(
        "checkpoint_never_synced",
        "1 for a consumer group whose progress was never synchronized, else 0.",
        |object, record, to| write(object, record, to, |_, last_sync_ms| Some(i64::from(last_sync_ms.is_none()))),
    ),
    Family::seconds(
        "checkpoint_last_sync_timestamp",
        "When the progress of a consumer group was last synchronized, in seconds since 1970 UTC.",
        |object, record, to| write(object, record, to, |_, last_sync_ms| last_sync_ms.map(seconds)),
    ),
];
