//! The lag of consumer progress: exact for decisions and metrics, rounded for status.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::plan::{CheckpointSummary, CheckpointSyncBy, DisasterRecoveryPlanSpec, LaggingGroup, PlanCheckpoints};
use crate::controller::evidence::progress::{Reading, Track};
use crate::telemetry::metrics::ConsumerGroupLag;

/// Maximum number of lagging groups in status.
const MAX_LAGGING_GROUPS: usize = 10;

/// The recovery point objective, in ms.
pub fn objective_ms(spec: &DisasterRecoveryPlanSpec) -> i64 {
    let objective = Duration::from(spec.recovery_point_objective);
    i64::try_from(objective.as_millis()).unwrap_or(i64::MAX)
}

/// The interval of the rounds in which the operator synchronizes checkpoints. `None` where the cloud does.
pub fn round_interval(spec: &DisasterRecoveryPlanSpec) -> Option<Duration> {
    let sync = spec.checkpoint_sync.as_ref().filter(|it| it.by == CheckpointSyncBy::Operator)?;
    Some(sync.interval.map_or_else(|| Duration::from(spec.recovery_point_objective) / 4, Duration::from))
}

/// What is normal for the lags of a plan.
#[derive(Clone, Copy, Debug)]
pub struct Usual {
    /// The recovery point objective, in ms.
    pub objective_ms: i64,
    /// The interval of the operator's rounds, in ms: between two of them a lag grows by it. 0 where the cloud synchronizes.
    pub round_ms: i64,
}

impl Usual {
    /// By the spec of a plan.
    pub fn new(spec: &DisasterRecoveryPlanSpec) -> Self {
        let round_ms = round_interval(spec).map_or(0, |it| i64::try_from(it.as_millis()).unwrap_or(i64::MAX));
        Self { objective_ms: objective_ms(spec), round_ms }
    }
}

/// Whether the spec ignores a consumer group.
pub fn is_ignored(spec: &DisasterRecoveryPlanSpec, group: &str) -> bool {
    spec.ignored_consumer_groups.iter().any(|pattern| matches(pattern, group))
}

/// Whether a consumer group has this name, or this prefix before an asterisk.
fn matches(pattern: &str, group: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => group.starts_with(prefix),
        None => group == pattern,
    }
}

/// The lag of a consumer group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag<'a> {
    /// The name of the mapping.
    pub mapping: &'a str,
    /// The consumer group.
    pub group: &'a str,
    /// The topic on the source.
    pub topic: &'a str,
    /// The ID of the instance that the progress comes from.
    pub source_instance: &'a str,
    /// The distance of the target behind the source. It is known only where a synchronization and both timestamps are.
    pub lag_ms: Option<i64>,
    /// The time of the last synchronization.
    pub last_sync_ms: Option<i64>,
}

impl<'a> Lag<'a> {
    /// The lag that a track of this name shows.
    pub fn new(mapping: &'a str, source_instance: &'a str, group: &'a str, topic: &'a str, track: &Track) -> Self {
        let Reading { source_ms, target_ms, last_sync_ms, .. } = track.reading();
        let known = last_sync_ms.and(source_ms).and(target_ms);
        Self { mapping, source_instance, group, topic, lag_ms: known.and(track.lag_ms()), last_sync_ms }
    }

    /// What messages and status are ordered by.
    pub fn place(&self) -> (&'a str, &'a str, &'a str, &'a str) {
        (self.mapping, self.group, self.topic, self.source_instance)
    }

    /// Whether the checkpoint was never synchronized.
    fn never_synced(&self) -> bool {
        self.last_sync_ms.is_none()
    }
}

impl From<Lag<'_>> for ConsumerGroupLag {
    fn from(lag: Lag<'_>) -> Self {
        Self {
            mapping: lag.mapping.to_owned(),
            source_instance: lag.source_instance.to_owned(),
            group: lag.group.to_owned(),
            topic: lag.topic.to_owned(),
            lag_ms: lag.lag_ms,
            last_sync_ms: lag.last_sync_ms,
        }
    }
}

/// The lag in seconds for status: rounded up to 10 s, above 10 min to a minute, above 3 h to 10 min. The former value stays
/// while the exact one is within one step of it (or a tenth of the objective), or has fallen by no more than a round takes off, so that
/// the status of a steady plan does not change.
pub fn rounded_seconds(lag_ms: i64, usual: Usual, before: Option<i64>) -> i64 {
    let exact = lag_ms.div_euclid(1000) + i64::from(lag_ms % 1000 > 0);
    let step = match exact {
        ..=600 => 10,
        601..=10_800 => 60,
        _ => 600,
    };
    let above = step.max(usual.objective_ms / 10_000);
    let below = above.max(usual.round_ms / 1000 + step);
    match before {
        Some(before) if exact <= before.saturating_add(above) && before - exact <= below => before,
        _ => (exact + step - 1) / step * step,
    }
}

/// Summarizes lags. `before` is the summary in status.
pub fn summary(lags: &[Lag<'_>], usual: Usual, before: Option<&CheckpointSummary>) -> CheckpointSummary {
    let mut sum = CheckpointSummary::default();
    let mut max_ms = None;
    for lag in lags {
        sum.total += 1;
        sum.never_synced += i64::from(lag.never_synced());
        sum.behind += i64::from(lag.lag_ms.is_some_and(|ms| ms > usual.objective_ms));
        max_ms = max_ms.max(lag.lag_ms);
    }
    sum.max_lag_seconds = max_ms.map(|ms| rounded_seconds(ms, usual, before.and_then(|it| it.max_lag_seconds)));
    sum
}

/// Summarizes the whole plan. The time of the last synchronization advances only with another change, so that a steady plan is not
/// rewritten.
pub fn plan_checkpoints(lags: &[Lag<'_>], usual: Usual, before: Option<&PlanCheckpoints>) -> PlanCheckpoints {
    let summary = summary(lags, usual, before.map(|it| &it.summary));
    let worst = worst(lags, usual, before);
    let max_lag = summary.max_lag_seconds.map_or_else(|| "-".to_owned(), duration);
    let last_sync = lags.iter().filter_map(|lag| lag.last_sync_ms).max();
    let last_sync_time = last_sync.and_then(|ms| Timestamp::from_second(ms.div_euclid(1000)).ok());
    let mut new = PlanCheckpoints { summary, max_lag, last_sync_time, worst };
    if let Some(before) = before
        && before.last_sync_time.is_some()
        && (PlanCheckpoints { last_sync_time: before.last_sync_time, ..new.clone() }) == *before
    {
        new.last_sync_time = before.last_sync_time;
    }
    new
}

/// The groups that lag most, those that were never synchronized first.
fn worst(lags: &[Lag<'_>], usual: Usual, before: Option<&PlanCheckpoints>) -> Vec<LaggingGroup> {
    let mut worst = Vec::new();
    for lag in lags {
        let known = before.and_then(|it| it.worst.iter().find(|it| is_about(it, lag)));
        // The cloud synchronizes every 10 s: a lag of a few times that is normal, and one as long as a round of the operator. An entry
        // stays until its group has caught up.
        let threshold_ms = match known {
            Some(_) => usual.round_ms.max(10_000),
            None => usual.round_ms.saturating_mul(3).div_euclid(2).max(30_000),
        };
        if lag.lag_ms.is_some_and(|ms| ms <= threshold_ms) {
            continue;
        }
        let known_seconds = known.and_then(|it| it.lag_seconds);
        worst.push((lag.lag_ms.map(|ms| rounded_seconds(ms, usual, known_seconds)), lag));
    }
    worst.sort_by_key(|(seconds, lag)| (seconds.map_or(i64::MIN, |seconds| -seconds), lag.place()));
    worst.truncate(MAX_LAGGING_GROUPS);
    let entry = |(lag_seconds, lag): (Option<i64>, &Lag<'_>)| LaggingGroup {
        mapping: lag.mapping.to_owned(),
        consumer_group_id: lag.group.to_owned(),
        topic_name: lag.topic.to_owned(),
        source_instance_id: lag.source_instance.to_owned(),
        lag_seconds,
    };
    worst.into_iter().map(entry).collect()
}

/// Whether an entry of status is about the group of a lag.
fn is_about(entry: &LaggingGroup, lag: &Lag<'_>) -> bool {
    entry.mapping == lag.mapping
        && entry.consumer_group_id == lag.group
        && entry.topic_name == lag.topic
        && entry.source_instance_id == lag.source_instance
}

/// A duration for people: `40s`, `2m`, `2m30s`, `3h10m`.
pub fn duration(seconds: i64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds % 3600 / 60, seconds % 60);
    match (hours, minutes, rest) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, 0) => format!("{minutes}m"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, 0, _) => format!("{hours}h"),
        (hours, minutes, _) => format!("{hours}h{minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Usual = Usual { objective_ms: 300_000, round_ms: 0 };

    fn group(lag_ms: Option<i64>, last_sync_ms: i64) -> Lag<'static> {
        Lag {
            mapping: "orders",
            source_instance: "rmq-a",
            group: "GID_ORDERS",
            topic: "orders",
            lag_ms,
            last_sync_ms: Some(last_sync_ms),
        }
    }

    #[test]
    fn steady_plan_shows_same_numbers() {
        let first = plan_checkpoints(&[group(Some(3_000), 1_000_000)], USUAL, None);
        for (poll, lag_ms) in [(1, 0), (2, 9_900), (3, 10_000), (4, 14_000), (5, 200)] {
            let next = plan_checkpoints(&[group(Some(lag_ms), 1_000_000 + poll * 60_000)], USUAL, Some(&first));
            if lag_ms <= 10_000 {
                assert_eq!(next, first, "poll {poll}");
            }
        }
        let late = plan_checkpoints(&[group(Some(60_000), 2_000_000)], USUAL, Some(&first));
        assert_ne!(late.last_sync_time, first.last_sync_time);
    }

    #[test]
    fn lag_between_rounds_shows_its_largest_value() {
        let usual = Usual { round_ms: 75_000, ..USUAL };
        let mut shown = plan_checkpoints(&[group(Some(1_000), 1)], usual, None);
        let mut seen = Vec::new();
        for lag_ms in [75_000, 900, 76_000, 40_000, 0, 70_000, 120_000, 500] {
            shown = plan_checkpoints(&[group(Some(lag_ms), 1)], usual, Some(&shown));
            seen.push((shown.summary.max_lag_seconds.unwrap_or_default(), shown.worst.len()));
        }
        assert_eq!(seen, [(80, 0), (80, 0), (80, 0), (80, 0), (80, 0), (80, 0), (120, 1), (10, 0)]);
    }

    #[test]
    fn rounding_never_hides_lag_beyond_objective() {
        let rounded = |ms| rounded_seconds(ms, USUAL, None);
        assert_eq!([300_001, 1, 0, 700_000].map(rounded), [310, 10, 0, 720]);
        let sum = summary(&[group(Some(300_001), 1)], USUAL, None);
        assert_eq!((sum.behind, sum.total, sum.max_lag_seconds), (1, 1, Some(310)));
    }

    #[test]
    fn lag_needs_synchronization_and_both_timestamps() {
        let reading = |last_sync_ms, source_ms, target_ms| Reading {
            last_sync_ms,
            source_ms,
            target_ms,
            source_fetched_ms: Some(6_000),
            target_fetched_ms: Some(6_000),
            requested_ms: 6_000,
        };
        for (reading, lag_ms) in [
            (reading(None, Some(5_000), Some(5_000)), None),
            (reading(Some(9_000), Some(5_000), None), None),
            (reading(Some(9_000), None, Some(5_000)), None),
            (reading(Some(9_000), Some(5_000), Some(4_000)), Some(2_000)),
            (reading(Some(9_000), Some(4_000), Some(5_000)), Some(0)),
        ] {
            let mut track = Track::new(None);
            track.record(reading, 300_000);
            assert_eq!(Lag::new("m", "i", "g", "t", &track).lag_ms, lag_ms, "{reading:?}");
        }
    }

    #[test]
    fn pattern_matches_name_or_prefix() {
        for (pattern, group, expected) in [
            ("GID_OLD", "GID_OLD", true),
            ("GID_OLD", "GID_OLDER", false),
            ("GID_OLD*", "GID_OLDER", true),
            ("GID_OLD*", "GID_OLD", true),
            ("*", "GID_OLD", true),
            ("gid_old", "GID_OLD", false),
        ] {
            assert_eq!(matches(pattern, group), expected, "{pattern} {group}");
        }
    }

    #[test]
    fn ten_worst_groups_never_synced_first() {
        let mut all: Vec<_> = (0..15).map(|i| group(Some(i * 60_000), 1)).collect();
        all.push(group(None, 0));
        let sum = plan_checkpoints(&all, USUAL, None);
        assert_eq!(sum.worst.len(), 10);
        assert_eq!(sum.worst[0].lag_seconds, None);
        assert_eq!(sum.worst[1].lag_seconds, Some(840));
        assert_eq!(sum.max_lag, "14m");
    }
}
