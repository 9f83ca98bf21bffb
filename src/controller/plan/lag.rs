//! The lag of consumer progress: exact for decisions and metrics, rounded for status.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::plan::{CheckpointSummary, DisasterRecoveryPlanSpec, LaggingGroup, PlanCheckpoints};
use crate::cloud::list::List;
use crate::cloud::rocketmq::{Checkpoint, ItemView, Progress};
use crate::telemetry::metrics::ConsumerGroupLag;

/// Maximum number of lagging groups in status.
const MAX_LAGGING_GROUPS: usize = 10;

/// The lags of all checkpoints of all mappings, but for those of consumer groups that the spec ignores.
pub fn lags<'a>(
    spec: &DisasterRecoveryPlanSpec,
    mapped_items: impl Iterator<Item = (&'a str, &'a ItemView)>,
    checkpoints: &BTreeMap<i64, List<Checkpoint>>,
) -> Vec<ConsumerGroupLag> {
    let mut all = Vec::new();
    for (mapping, item) in mapped_items {
        let list = checkpoints.get(&item.item_id).map(List::entries).unwrap_or_default();
        all.extend(list.iter().map(|checkpoint| lag(mapping, checkpoint)));
    }
    all.retain(|lag| !spec.ignored_consumer_groups.iter().any(|pattern| matches(pattern, &lag.group)));
    // Messages must not change with the order of the list.
    all.sort_by_cached_key(|it| (it.mapping.clone(), it.group.clone(), it.topic.clone(), it.source_instance.clone()));
    all
}

/// Whether a consumer group has this name, or this prefix before an asterisk.
fn matches(pattern: &str, group: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => group.starts_with(prefix),
        None => group == pattern,
    }
}

/// The lag is known only where a synchronization and both timestamps are.
fn lag(mapping: &str, checkpoint: &Checkpoint) -> ConsumerGroupLag {
    let last_sync_ms = checkpoint.last_sync_time.filter(|ms| *ms > 0);
    let source = consume_timestamp(checkpoint.source_progress.as_ref());
    let target = consume_timestamp(checkpoint.target_progress.as_ref());
    let known = last_sync_ms.and(source).zip(target);
    let side = checkpoint.source_progress.clone().unwrap_or_default();
    ConsumerGroupLag {
        mapping: mapping.to_owned(),
        source_instance: side.instance_id.unwrap_or_default(),
        group: side.consumer_group_id.unwrap_or_default(),
        topic: side.topic_name.unwrap_or_default(),
        lag_ms: known.map(|(source, target)| (source - target).max(0)),
        last_sync_ms,
    }
}

/// Whether a checkpoint was never synchronized.
pub fn never_synced(lag: &ConsumerGroupLag) -> bool {
    lag.last_sync_ms.is_none()
}

/// Whether a checkpoint was synchronized and lacks a timestamp, so that its lag is not known.
pub fn is_unknown(lag: &ConsumerGroupLag) -> bool {
    !never_synced(lag) && lag.lag_ms.is_none()
}

/// The consume timestamp of one side, in ms; the API reports 0 for none.
fn consume_timestamp(progress: Option<&Progress>) -> Option<i64> {
    progress?.progress_data.as_ref()?.consume_timestamp.filter(|ms| *ms > 0)
}

/// The lag in seconds for status: rounded up to 10 s, above 10 min to a minute, above 3 h to 10 min. The former value stays
/// while the exact one is within one step of it (or a tenth of the objective), so that the status of a steady plan does not
/// change.
fn rounded_seconds(lag_ms: i64, objective_ms: i64, before: Option<i64>) -> i64 {
    let exact = lag_ms.div_euclid(1000) + i64::from(lag_ms % 1000 > 0);
    let step = match exact {
        ..=600 => 10,
        601..=10_800 => 60,
        _ => 600,
    };
    let near = step.max(objective_ms / 10_000);
    match before {
        Some(before) if (before - exact).abs() <= near => before,
        _ => (exact + step - 1) / step * step,
    }
}

/// Summarizes lags. `before` is the summary in status.
pub fn summary<'a>(
    lags: impl IntoIterator<Item = &'a ConsumerGroupLag>,
    objective_ms: i64,
    before: Option<&CheckpointSummary>,
) -> CheckpointSummary {
    let mut sum = CheckpointSummary::default();
    let mut max_ms = None;
    for lag in lags {
        sum.total += 1;
        sum.never_synced += i64::from(never_synced(lag));
        sum.behind += i64::from(lag.lag_ms.is_some_and(|ms| ms > objective_ms));
        max_ms = max_ms.max(lag.lag_ms);
    }
    sum.max_lag_seconds = max_ms.map(|ms| rounded_seconds(ms, objective_ms, before.and_then(|it| it.max_lag_seconds)));
    sum
}

/// Summarizes the whole plan. The time of the last synchronization advances only with another change, or after `stale_ms`.
pub fn plan_checkpoints(
    lags: &[ConsumerGroupLag],
    objective_ms: i64,
    before: Option<&PlanCheckpoints>,
    stale_ms: i64,
) -> PlanCheckpoints {
    let summary = summary(lags, objective_ms, before.map(|it| &it.summary));
    let worst = worst(lags, objective_ms, before);
    let max_lag = summary.max_lag_seconds.map_or_else(|| "-".to_owned(), duration);
    let last_sync = lags.iter().filter_map(|lag| lag.last_sync_ms).max();
    let last_sync_time = last_sync.and_then(|ms| Timestamp::from_second(ms.div_euclid(1000)).ok());
    let mut new = PlanCheckpoints { summary, max_lag, last_sync_time, worst };
    if let Some(before) = before
        && let (Some(old), Some(newer)) = (before.last_sync_time, new.last_sync_time)
        && newer.as_millisecond() - old.as_millisecond() < stale_ms
        && (PlanCheckpoints { last_sync_time: Some(old), ..new.clone() }) == *before
    {
        new.last_sync_time = Some(old);
    }
    new
}

/// The groups that lag most, those that were never synchronized first.
fn worst(lags: &[ConsumerGroupLag], objective_ms: i64, before: Option<&PlanCheckpoints>) -> Vec<LaggingGroup> {
    let mut worst = Vec::new();
    for lag in lags {
        let known = before.and_then(|it| it.worst.iter().find(|it| is_about(it, lag)));
        // The cloud synchronizes every 10 s: a lag of a few times that is normal. An entry stays until its group has caught up.
        let threshold_ms = if known.is_some() { 10_000 } else { 30_000 };
        if lag.lag_ms.is_some_and(|ms| ms <= threshold_ms) {
            continue;
        }
        let known_seconds = known.and_then(|it| it.lag_seconds);
        worst.push(LaggingGroup {
            mapping: lag.mapping.clone(),
            consumer_group_id: lag.group.clone(),
            topic_name: lag.topic.clone(),
            source_instance_id: lag.source_instance.clone(),
            lag_seconds: lag.lag_ms.map(|ms| rounded_seconds(ms, objective_ms, known_seconds)),
        });
    }
    let rank = |it: &LaggingGroup| (it.lag_seconds.map_or(i64::MIN, |seconds| -seconds), it.mapping.clone());
    worst.sort_by(|a, b| {
        (rank(a), &a.consumer_group_id, &a.topic_name).cmp(&(rank(b), &b.consumer_group_id, &b.topic_name))
    });
    worst.truncate(MAX_LAGGING_GROUPS);
    worst
}

/// Whether an entry of status is about the group of a lag.
fn is_about(entry: &LaggingGroup, lag: &ConsumerGroupLag) -> bool {
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

    fn group(lag_ms: Option<i64>, last_sync_ms: i64) -> ConsumerGroupLag {
        ConsumerGroupLag {
            mapping: "orders".into(),
            source_instance: "rmq-a".into(),
            group: "GID_ORDERS".into(),
            topic: "orders".into(),
            lag_ms,
            last_sync_ms: Some(last_sync_ms),
        }
    }

    #[test]
    fn steady_plan_shows_same_numbers() {
        let first = plan_checkpoints(&[group(Some(3_000), 1_000_000)], 300_000, None, 900_000);
        for (poll, lag_ms) in [(1, 0), (2, 9_900), (3, 10_000), (4, 14_000), (5, 200)] {
            let next =
                plan_checkpoints(&[group(Some(lag_ms), 1_000_000 + poll * 60_000)], 300_000, Some(&first), 900_000);
            if lag_ms <= 10_000 {
                assert_eq!(next, first, "poll {poll}");
            }
        }
        let late = plan_checkpoints(&[group(Some(3_000), 2_000_000)], 300_000, Some(&first), 900_000);
        assert_ne!(late.last_sync_time, first.last_sync_time);
    }

    #[test]
    fn rounding_never_hides_lag_beyond_objective() {
        let rounded = |ms| rounded_seconds(ms, 300_000, None);
        assert_eq!([300_001, 1, 0, 700_000].map(rounded), [310, 10, 0, 720]);
        let sum = summary(&[group(Some(300_001), 1)], 300_000, None);
        assert_eq!((sum.behind, sum.total, sum.max_lag_seconds), (1, 1, Some(310)));
    }

    #[test]
    fn lag_needs_synchronization_and_both_timestamps() {
        let side = |ms: Option<i64>| {
            let data = crate::cloud::rocketmq::ProgressData { consume_timestamp: ms };
            Some(Progress { progress_data: Some(data), ..Progress::default() })
        };
        let table = [
            (None, side(Some(5_000)), side(Some(5_000)), None),
            (Some(0), side(Some(5_000)), side(Some(5_000)), None),
            (Some(9), side(Some(5_000)), None, None),
            (Some(9), side(Some(5_000)), side(Some(0)), None),
            (Some(9), side(Some(5_000)), side(Some(4_000)), Some(1_000)),
            (Some(9), side(Some(4_000)), side(Some(5_000)), Some(0)),
            (Some(9), side(None), None, None),
            (Some(9), None, None, None),
        ];
        for (last_sync_time, source_progress, target_progress, lag_ms) in table {
            let checkpoint = Checkpoint { checkpoint_id: 1, last_sync_time, source_progress, target_progress };
            assert_eq!(lag("m", &checkpoint).lag_ms, lag_ms, "{checkpoint:?}");
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
        let sum = plan_checkpoints(&all, 300_000, None, 900_000);
        assert_eq!(sum.worst.len(), 10);
        assert_eq!(sum.worst[0].lag_seconds, None);
        assert_eq!(sum.worst[1].lag_seconds, Some(840));
        assert_eq!(sum.max_lag, "14m");
    }
}
