//! The samples of consumer progress of one topic mapping. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::grounds::{Grounds, GroundsOfMapping};
use super::pace::{Outcome, Pace};
use super::{Scope, lag};
use crate::api::plan::DisasterRecoveryPlanSpec;
use crate::cloud::error::Error;
use crate::cloud::list::List;
use crate::cloud::rocketmq::{self, Checkpoint};
use crate::controller::evidence::progress::{Judgement, MAX_LIST_AGE_MS, Reading, Terms, Track};

/// The samples of one topic mapping.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MappingSamples {
    /// The plan and the item.
    of: (i64, i64),
    /// By the ID of the source instance.
    sources: BTreeMap<String, SourceSamples>,
    /// When it is sampled again.
    pub pace: Pace,
}

/// The samples of one topic mapping from one source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceSamples {
    /// The start of the newest complete list, in ms.
    complete_ms: Option<i64>,
    /// The start of the first complete list while the item runs, in ms.
    first_complete_ms: Option<i64>,
    /// The time up to which the newest complete list certainly shows every group, in ms.
    current_ms: Option<i64>,
    /// By consumer group, topic and ID of the checkpoint.
    tracks: BTreeMap<(String, String, i64), Track>,
    /// The failure of the newest read.
    failure: Option<Error>,
    /// Whether the newest list was incomplete.
    incomplete: bool,
}

impl MappingSamples {
    /// Without a sample of this plan and item.
    pub fn new(of: (i64, i64)) -> Self {
        Self { of, ..Self::default() }
    }

    /// The plan and the item.
    pub fn of(&self) -> (i64, i64) {
        self.of
    }

    /// Forgets the samples from other sources.
    pub fn keep_sources(&mut self, sources: &[String]) {
        self.sources.retain(|source, _| sources.contains(source));
    }

    /// The item runs from now on, or no longer: while it does not run, new groups have no checkpoints.
    pub fn forget_absence(&mut self) {
        for source in self.sources.values_mut() {
            (source.first_complete_ms, source.current_ms) = (None, None);
        }
    }

    /// Adds lists by source whose request began at `started`.
    pub fn record(
        &mut self,
        scope: &Scope<'_>,
        grounds: &Grounds,
        about: &GroundsOfMapping,
        lists: BTreeMap<String, Result<List<Checkpoint>, Error>>,
        started: Timestamp,
        terms: Terms,
    ) {
        // The first sample of an item is not one of the item before it.
        if self.pace.is_outdated(started) && self.sources.is_empty() {
            return;
        }
        let window_ms = i64::try_from(scope.visibility_window.as_millis()).unwrap_or(i64::MAX);
        let by = ListTerms { objective_ms: terms.objective_ms, window_ms, runs: about.runs };
        for (source, list) in lists {
            let samples = self.sources.entry(source.clone()).or_default();
            samples.record(&source, list, started.as_millisecond(), &by);
        }
        let until_ms = proven_until_ms(&scope.object.spec, self, grounds, about, scope.now.as_millisecond(), terms);
        let failed = self.sources.values().any(|it| it.failure.is_some());
        let outcome = match until_ms.filter(|_| !failed) {
            Some(until_ms) => Outcome::Proven(until_ms),
            None => Outcome::Unproven { until_ms, lasts: false },
        };
        self.pace.sampled(scope, started, outcome);
    }

    /// The samples of each source, by the ID of its instance.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &SourceSamples)> {
        self.sources.iter().map(|(id, samples)| (id.as_str(), samples))
    }

    /// The samples of one source.
    pub fn source(&self, id: &str) -> Option<&SourceSamples> {
        self.sources.get(id)
    }
}

impl SourceSamples {
    /// The start of the newest complete list, in ms.
    pub fn complete_ms(&self) -> Option<i64> {
        self.complete_ms
    }

    /// The tracks, each with its consumer group and topic.
    pub fn tracks(&self) -> impl Iterator<Item = (&str, &str, &Track)> {
        self.tracks.iter().map(|((group, topic, _), track)| (group.as_str(), topic.as_str(), track))
    }

    /// The start of the first complete list while the item runs, in ms.
    pub fn running_since_ms(&self) -> Option<i64> {
        self.first_complete_ms
    }

    /// The track of a checkpoint.
    pub fn track(&self, key: &(String, String, i64)) -> Option<&Track> {
        self.tracks.get(key)
    }

    /// The failure of the newest read.
    pub fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    /// Whether the newest list was incomplete.
    pub fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Adds a list that began before the newest one: what it lacks says nothing.
    fn record_late(&mut self, source: &str, list: List<Checkpoint>, started_ms: i64, about: &ListTerms) {
        for checkpoint in list.into_entries() {
            let Some(key) = key(&checkpoint, source) else { continue };
            if let Some(track) = self.tracks.get_mut(&key) {
                track.record(progress(&checkpoint, started_ms), about.objective_ms);
            }
        }
    }

    /// Adds a list of this source whose request began at `started_ms`. Absence counts only once complete lists agree over the
    /// visibility window, and lists of an item that does not run prove none.
    fn record(&mut self, source: &str, list: Result<List<Checkpoint>, Error>, started_ms: i64, about: &ListTerms) {
        let list = match list {
            Ok(list) => list,
            Err(_) if self.complete_ms.is_some_and(|newest_ms| started_ms < newest_ms) => return,
            Err(error) => {
                // The ID of each request would change the message of a condition.
                self.failure = Some(Error { request_id: None, ..error });
                return;
            }
        };
        let complete = list.is_complete();
        if self.complete_ms.is_some_and(|newest_ms| started_ms < newest_ms) {
            return self.record_late(source, list, started_ms, about);
        }
        (self.failure, self.incomplete) = (None, !complete);
        let agreed = |last: i64, first: i64| last - first >= about.window_ms;
        let known = self.complete_ms.zip(self.first_complete_ms).is_some_and(|(last, first)| agreed(last, first));
        let absent_ms = self.current_ms.filter(|_| known);
        // The same group under another ID was not absent.
        let names: BTreeSet<_> = self.tracks.keys().map(|(group, topic, _)| (group.clone(), topic.clone())).collect();
        let (mut shown, mut fetched_ms) = (BTreeSet::new(), None);
        for checkpoint in list.into_entries() {
            let Some(key) = key(&checkpoint, source) else { continue };
            let absent_ms = absent_ms.filter(|_| !names.contains(&(key.0.clone(), key.1.clone())));
            let reading = progress(&checkpoint, started_ms);
            fetched_ms = fetched_ms.max(reading.source_fetched_ms);
            let track = self.tracks.entry(key.clone()).or_insert_with(|| Track::new(absent_ms));
            track.record(reading, about.objective_ms);
            shown.insert(key);
        }
        self.complete_ms = self.complete_ms.max(complete.then_some(started_ms));
        if complete && about.runs {
            // A list may be late: it shows nothing of the time after its newest progress.
            self.current_ms = self.current_ms.max(Some(fetched_ms.map_or(started_ms, |ms| ms.min(started_ms))));
            self.first_complete_ms = self.first_complete_ms.or(Some(started_ms));
        }
        if complete {
            self.tracks.retain(|key, track| shown.contains(key) || !track.is_gone(started_ms, about.window_ms));
        }
    }
}

/// The consumer group and the topic of a checkpoint.
pub fn name(checkpoint: &Checkpoint) -> (String, String) {
    let side = checkpoint.source_progress.clone().unwrap_or_default();
    (side.consumer_group_id.unwrap_or_default(), side.topic_name.unwrap_or_default())
}

/// The consumer group, the topic and the ID of a checkpoint from this source. `None` for one from another source.
pub fn key(checkpoint: &Checkpoint, source: &str) -> Option<(String, String, i64)> {
    let from = checkpoint.source_progress.as_ref().and_then(|it| it.instance_id.as_deref()).unwrap_or_default();
    let (group, topic) = name(checkpoint);
    (from.is_empty() || from == source).then_some((group, topic, checkpoint.checkpoint_id))
}

/// The terms by which a list of checkpoints is recorded.
struct ListTerms {
    objective_ms: i64,
    /// The visibility window, in ms.
    window_ms: i64,
    /// Whether the item runs.
    runs: bool,
}

/// The progress that a checkpoint shows. The API reports 0 for a time that it does not know.
pub fn progress(checkpoint: &Checkpoint, requested_ms: i64) -> Reading {
    let known = |ms: Option<i64>| ms.filter(|ms| *ms > 0);
    let (source, target) = (checkpoint.source_progress.as_ref(), checkpoint.target_progress.as_ref());
    let consumed = |side: Option<&rocketmq::Progress>| {
        known(side.and_then(|it| it.progress_data.as_ref()).and_then(|it| it.consume_timestamp))
    };
    Reading {
        source_ms: consumed(source),
        target_ms: consumed(target),
        last_sync_ms: known(checkpoint.last_sync_time),
        source_fetched_ms: known(source.and_then(|it| it.last_fetch_time)),
        target_fetched_ms: known(target.and_then(|it| it.last_fetch_time)),
        requested_ms,
    }
}

/// The end of what the samples prove of a mapping, in ms. `None` where they prove nothing.
fn proven_until_ms(
    spec: &DisasterRecoveryPlanSpec,
    samples: &MappingSamples,
    grounds: &Grounds,
    about: &GroundsOfMapping,
    now_ms: i64,
    terms: Terms,
) -> Option<i64> {
    if !about.runs {
        // It is not protected, whatever its progress is. Its list must only be recent.
        return now_ms.checked_add(MAX_LIST_AGE_MS);
    }
    let (mut until_ms, mut counted) = (i64::MAX, 0);
    for source in &grounds.sources {
        let source = samples.sources.get(source)?;
        until_ms = until_ms.min(source.complete_ms?.saturating_add(MAX_LIST_AGE_MS));
        if grounds.two_way {
            // Both sides have consumers of their own: the list says only which of them have an offset.
            continue;
        }
        for (_, _, track) in source.tracks().filter(|(group, _, _)| !lag::is_ignored(spec, group)) {
            counted += usize::from(!track.is_missing());
            let Judgement::Within { until_ms: end_ms } = track.judge(now_ms, terms) else { return None };
            until_ms = until_ms.min(end_ms);
        }
    }
    (counted > 0 || !about.expects_checkpoints() || grounds.two_way).then_some(until_ms)
}
