//! The rounds of `spec.checkpointSync`: which checkpoints are synchronized, when, and what failed. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use litemap::LiteMap;

use super::Scope;
use super::sync::passes;
use crate::api::plan::{CheckpointSyncStatus, FailedSync};
use crate::cloud::error::{Class, Error};
use crate::cloud::operation::ApiOperation;
use crate::controller::evidence::progress::{MAX_LIST_AGE_MS, Reading};
use crate::controller::requeue::Intervals;
use crate::telemetry::metrics::SyncRound;

/// Maximum age of the source's progress that is synchronized. Where the source is lost, it gets older.
const MAX_SOURCE_AGE_MS: i64 = 120_000;
/// Maximum time for which the cloud is not called, whatever it asks for.
const MAX_PATIENCE: Duration = Duration::from_secs(600);
/// Maximum number of failures in status.
const MAX_FAILURES: usize = 10;
/// The time after which status shows a later round with the same outcome.
const SHOWN_INTERVAL: SignedDuration = SignedDuration::from_hours(1);

/// The consumer group and the topic of a checkpoint.
pub type Name = (Box<str>, Box<str>);

/// The outcome of one round in one mapping.
#[derive(Debug, Clone, Default)]
pub struct Round {
    /// The checkpoints that were due, each with its error if its synchronization failed.
    pub outcomes: BTreeMap<Name, Option<Error>>,
    /// All checkpoints that count, as the list shows them.
    pub seen: BTreeMap<Name, Check>,
    /// The error of the list of checkpoints, also of an incomplete one.
    pub unread: Option<Error>,
    /// Whether checkpoints were not reached in time.
    pub unfinished: bool,
}

/// What a round does about a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// It synchronizes the checkpoint: the source is ahead of the target, or the target never had progress.
    Due,
    /// Nothing: the target has what the source has.
    Level,
    /// Nothing: what the list shows is too old, or a part is missing.
    HeldBack,
}

/// The last rounds of each mapping.
#[derive(Debug, Clone, Default)]
pub struct Rounds {
    mappings: LiteMap<Arc<str>, LastRound>,
}

#[derive(Debug, Clone)]
struct LastRound {
    /// The plan and the item.
    of: (i64, i64),
    started: Timestamp,
    /// The start of the first of the rounds that were not finished in time, and that this one continues.
    series: Timestamp,
    ended: Timestamp,
    /// The checkpoints that count, in the order of their names.
    seen: Arc<[Name]>,
    /// As [`Round::unread`].
    unread: Option<Box<Error>>,
    /// As [`Round::passing`].
    passing: Option<Class>,
    /// As [`Round::continues`].
    continues: bool,
    /// The checkpoints that could not be synchronized, in this round or before.
    failed: LiteMap<Name, Failed>,
    /// The number of rounds in a row with a failure that may pass.
    failures: u32,
    /// Whether the next round is due at once.
    hastened: bool,
}

/// A checkpoint that could not be synchronized.
#[derive(Debug, Clone)]
struct Failed {
    error: Arc<Error>,
    /// The number of failures in a row.
    times: u32,
    /// The time of the next attempt at the earliest.
    retry: Timestamp,
}

impl Round {
    fn synchronized(&self) -> usize {
        self.outcomes.values().filter(|it| it.is_none()).count()
    }

    fn errors(&self) -> impl Iterator<Item = &Error> {
        self.outcomes.values().flatten().chain(&self.unread)
    }

    /// Whether the cloud may have synchronized a checkpoint.
    pub fn has_synchronized(&self) -> bool {
        let maybe = |error: &Error| error.class == Class::Ambiguous;
        self.outcomes.values().any(|it| it.as_ref().is_none_or(maybe))
    }

    /// The class of a failure that may pass soon: the one for which the cloud asks the most patience.
    fn passing(&self) -> Option<Class> {
        let classes = self.errors().map(|error| error.class).filter(|class| passes(*class));
        classes.max_by_key(|class| patience(*class))
    }

    /// Whether the next round reaches at once what this one did not reach in time. One that came no further does not.
    fn continues(&self) -> bool {
        self.unfinished && self.synchronized() > 0
    }
}

/// For how long the cloud asks not to be called.
fn patience(class: Class) -> Duration {
    match class {
        Class::Throttled { after } => after.unwrap_or_default().min(MAX_PATIENCE),
        Class::NotFound | Class::Conflict | Class::Denied | Class::Invalid => Duration::ZERO,
        Class::Unavailable | Class::Ambiguous => Duration::ZERO,
    }
}

/// A name that lasts.
pub fn owned((group, topic): (&str, &str)) -> Name {
    (group.into(), topic.into())
}

impl Rounds {
    /// Forgets the mappings that have another item now.
    pub fn keep(&mut self, item: impl Fn(&str) -> Option<(i64, i64)>) {
        self.mappings.retain(|mapping, last| item(mapping) == Some(last.of));
    }

    /// Adds a round in a mapping that began at `started`, and ends now.
    pub fn record(&mut self, mapping: &Arc<str>, of: (i64, i64), round: Round, started: Timestamp, scope: &Scope<'_>) {
        let before = self.mappings.remove(mapping).filter(|last| last.of == of);
        let series = before.as_ref().filter(|last| last.continues).map_or(started, |last| last.series);
        let (known, failures) = before.map_or_else(Default::default, |last| (last.failed, last.failures));
        let failures = round.passing().map_or(0, |_| failures + 1);
        let failed = failed(known, &round, started, scope);
        let (passing, continues) = (round.passing(), round.continues());
        let seen = round.seen.into_keys().collect();
        let last = LastRound {
            of,
            started,
            series,
            ended: scope.now,
            seen,
            unread: round.unread.map(Box::new),
            passing,
            continues,
            failed,
            failures,
            hastened: false,
        };
        self.mappings.insert(mapping.clone(), last);
    }

    /// Makes the next round of a mapping due at once.
    pub fn hasten(&mut self, mapping: &str) {
        if let Some(last) = self.mappings.get_mut(mapping) {
            last.hastened = true;
        }
    }

    /// Whether the last round in a mapping saw a checkpoint. True before the first round.
    pub fn has_seen(&self, mapping: &str, name: (&str, &str)) -> bool {
        self.mappings.get(mapping).is_none_or(|last| last.seen.binary_search_by(|it| borrowed(it).cmp(&name)).is_ok())
    }

    /// The start of the rounds that the next one continues, where the last one was not finished in time.
    pub fn series(&self, mapping: &str) -> Option<Timestamp> {
        self.mappings.get(mapping).filter(|last| last.continues).map(|last| last.series)
    }

    /// The time of the next round in a mapping.
    pub fn next(&self, mapping: &str, interval: Duration, intervals: Intervals, now: Timestamp) -> Timestamp {
        let Some(last) = self.mappings.get(mapping) else { return now };
        let (from, wait) = match last.passing {
            // The cloud may ask for more patience than the interval.
            Some(class) => (last.ended, interval.min(intervals.failed_read(class, last.failures)).max(patience(class))),
            None if last.continues || last.hastened => (last.ended, Duration::ZERO),
            None => (last.series, interval),
        };
        from.checked_add(wait).unwrap_or(Timestamp::MAX)
    }

    fn failure(&self, mapping: &str, name: (&str, &str)) -> Option<&Failed> {
        self.mappings.get(mapping)?.failed.get_by(|it| borrowed(it).cmp(&name))
    }

    /// Whether a checkpoint failed before, and its next attempt is not due yet.
    pub fn waits(&self, mapping: &str, name: (&str, &str), now: Timestamp) -> bool {
        self.failure(mapping, name).is_some_and(|it| now < it.retry)
    }

    /// Whether a checkpoint failed before.
    pub fn has_failed(&self, mapping: &str, name: (&str, &str)) -> bool {
        self.failure(mapping, name).is_some()
    }

    /// The last round of each mapping, for the metrics.
    pub fn measures(&self) -> Vec<SyncRound> {
        let measure = |(mapping, last): (&Arc<str>, &LastRound)| SyncRound {
            mapping: mapping.to_string(),
            started_ms: last.started.as_millisecond(),
            failed: last.failed.len() + usize::from(last.unread.is_some()),
        };
        self.mappings.iter().map(measure).collect()
    }

    /// The last rounds for status, once each of the mappings had one. `before` is what status shows.
    pub fn summary<'a>(
        &self,
        mappings: impl Iterator<Item = &'a str>,
        before: Option<&CheckpointSyncStatus>,
    ) -> Option<CheckpointSyncStatus> {
        let mappings: Vec<_> = mappings.collect();
        if mappings.is_empty() {
            return None;
        }
        if !mappings.iter().all(|mapping| self.mappings.contains_key(*mapping)) {
            return before.cloned();
        }
        let (mut failures, mut failed) = (Vec::new(), 0);
        for (mapping, last) in self.mappings.iter().filter(|(mapping, _)| mappings.contains(&&***mapping)) {
            let unread = last.unread.iter().map(|error| (None, &**error));
            let errors = unread.chain(last.failed.iter().map(|(name, it)| (Some(name), &*it.error)));
            failed += errors.clone().count();
            let failure = |(name, error): (Option<&Name>, &Error)| FailedSync {
                mapping: mapping.to_string(),
                consumer_group_id: name.map(|(group, _)| group.to_string()),
                topic_name: name.map(|(_, topic)| topic.to_string()),
                // The ID of each request would change status.
                message: Error { request_id: None, ..error.clone() }.to_string(),
            };
            failures.extend(errors.take(MAX_FAILURES - failures.len()).map(failure));
        }
        let failed = i64::try_from(failed).unwrap_or(i64::MAX);
        let oldest = self.mappings.values().map(|last| last.started.as_second()).min();
        let last_round_time = oldest.and_then(|s| Timestamp::from_second(s).ok());
        let mut new = CheckpointSyncStatus { last_round_time, failed, failures };
        let same = |before: &&CheckpointSyncStatus| (before.failed, &before.failures) == (new.failed, &new.failures);
        if let Some(shown) = before.filter(same).and_then(|it| it.last_round_time)
            && last_round_time.is_none_or(|last| shown <= last && last.duration_since(shown) < SHOWN_INTERVAL)
        {
            new.last_round_time = Some(shown);
        }
        Some(new)
    }
}

fn borrowed((group, topic): &Name) -> (&str, &str) {
    (group, topic)
}

/// The checkpoints that could not be synchronized in a round that began at `started`, or in one before it.
fn failed(known: LiteMap<Name, Failed>, round: &Round, started: Timestamp, scope: &Scope<'_>) -> LiteMap<Name, Failed> {
    let mut failed = Vec::new();
    for (name, it) in known.iter() {
        // A checkpoint that the list does not show may still fail.
        let kept = match round.seen.get(name) {
            Some(check) => *check == Check::Due,
            None => round.unread.is_some(),
        };
        if kept && !round.outcomes.contains_key(name) {
            failed.push((name.clone(), it.clone()));
        }
    }
    let held_back = Arc::new(held_back());
    for (name, _) in round.seen.iter().filter(|(_, check)| **check == Check::HeldBack) {
        failed.push((name.clone(), Failed { error: held_back.clone(), times: 0, retry: started }));
    }
    for (name, error) in &round.outcomes {
        let Some(error) = error else { continue };
        let times = known.get(name).map_or(0, |it| it.times) + 1;
        let wait = if passes(error.class) { Duration::ZERO } else { scope.intervals.refused_sample(times) };
        let retry = started.checked_add(wait).unwrap_or(started);
        failed.push((name.clone(), Failed { error: Arc::new(error.clone()), times, retry }));
    }
    let mut sorted = LiteMap::with_capacity(failed.len());
    // The last entry of a name counts.
    sorted.extend(failed);
    sorted
}

/// The failure of a checkpoint that is held back.
fn held_back() -> Error {
    let operation = ApiOperation::ListDisasterRecoveryCheckpoints;
    let message = "the cloud shows no recent progress of it, so that nothing is synchronized".into();
    Error { class: Class::Conflict, operation, code: "OldProgress".into(), message, request_id: None }
}

/// What a round does about a checkpoint. `had_target` says whether the target had progress in an earlier list. Progress that the cloud
/// fetched long before the request does not show that the source is ahead: consumers may work at the target meanwhile, and the source
/// may be lost.
pub fn check(reading: &Reading, had_target: bool, skew_ms: i64) -> Check {
    let Reading { source_ms, target_ms, last_sync_ms, source_fetched_ms, target_fetched_ms, requested_ms } = *reading;
    let recent = |ms: i64, max_age_ms: i64| ms >= requested_ms.saturating_sub(max_age_ms).saturating_sub(skew_ms);
    let source_recent = source_fetched_ms.map(|ms| recent(ms, MAX_SOURCE_AGE_MS));
    let target_recent = target_fetched_ms.map(|ms| recent(ms, MAX_LIST_AGE_MS));
    let never_synced = !had_target && last_sync_ms.is_none();
    match (source_ms, target_ms) {
        (Some(source), Some(target)) if source <= target => Check::Level,
        (Some(_), Some(_)) if source_recent == Some(true) && target_recent == Some(true) => Check::Due,
        (Some(_), None) if never_synced && source_recent != Some(false) => Check::Due,
        _ => Check::HeldBack,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cloud::rocketmq::Checkpoint;
    use crate::controller::plan::tracks::progress;

    const NOW_MS: i64 = 1_740_000_000_000;

    /// Progress in seconds before now: consumed, fetched.
    fn side(consumed: Option<i64>, fetched: Option<i64>) -> Value {
        let at = |s: Option<i64>| s.map(|s| NOW_MS - s * 1000);
        json!({"lastFetchTime": at(fetched), "progressData": {"consumeTimestamp": at(consumed)}})
    }

    #[test]
    fn only_fresh_progress_of_a_source_ahead_is_due() {
        use Check::{Due, HeldBack, Level};
        let (now, none) = (Some(1), None);
        for (name, source, target, synced, had_target, expected) in [
            ("ahead", side(Some(5), now), side(Some(9), now), true, true, Due),
            ("level", side(Some(9), now), side(Some(9), now), true, true, Level),
            ("level long ago", side(Some(9), Some(900)), side(Some(9), none), true, true, Level),
            ("behind", side(Some(9), now), side(Some(5), now), true, true, Level),
            ("fetched a while ago", side(Some(5), Some(120)), side(Some(9), Some(300)), true, true, Due),
            ("source fetched before", side(Some(5), Some(121)), side(Some(9), now), true, true, HeldBack),
            ("target fetched before", side(Some(5), now), side(Some(9), Some(301)), true, true, HeldBack),
            ("no time of the source", side(Some(5), none), side(Some(9), now), true, true, HeldBack),
            ("no time of the target", side(Some(5), now), side(Some(9), none), true, true, HeldBack),
            ("no progress of the source", side(none, now), side(Some(9), now), true, true, HeldBack),
            ("never synchronized", side(Some(5), now), Value::Null, false, false, Due),
            ("never synchronized, no time", side(Some(5), none), Value::Null, false, false, Due),
            ("never synchronized, fetched before", side(Some(5), Some(121)), Value::Null, false, false, HeldBack),
            ("synchronized, target not shown", side(Some(5), now), Value::Null, true, false, HeldBack),
            ("target not shown any more", side(Some(5), now), Value::Null, false, true, HeldBack),
        ] {
            let last_sync_time = synced.then_some(NOW_MS - 10_000);
            let checkpoint = json!({
                "checkpointId": 7, "lastSyncTime": last_sync_time, "sourceProgress": source, "targetProgress": target,
            });
            let checkpoint: Checkpoint = serde_json::from_value(checkpoint).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(check(&progress(&checkpoint, NOW_MS), had_target, 0), expected, "{name}");
        }
        let skewed = json!({
            "checkpointId": 7, "sourceProgress": side(Some(5), Some(130)), "targetProgress": side(Some(9), Some(130)),
        });
        let skewed: Checkpoint = serde_json::from_value(skewed).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!([0, 10_000].map(|skew_ms| check(&progress(&skewed, NOW_MS), true, skew_ms)), [HeldBack, Due]);
    }
}
