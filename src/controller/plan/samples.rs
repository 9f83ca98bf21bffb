//! The samples of consumer progress of one topic mapping. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use litemap::LiteMap;

use super::grounds::{Grounds, GroundsOfMapping};
use super::pace::{Outcome, Pace};
use super::tracks::{Key, ListTerms, Shown, Tracks};
use super::{Scope, lag};
use crate::api::plan::DisasterRecoveryPlanSpec;
use crate::cloud::error::Error;
use crate::cloud::list::List;
use crate::cloud::rocketmq::Checkpoint;
use crate::controller::evidence::packed::Packed;
use crate::controller::evidence::progress::{Judgement, MAX_LIST_AGE_MS, Terms, Track};

/// The samples of one topic mapping.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MappingSamples {
    /// The plan and the item.
    of: (i64, i64),
    /// By the ID of the source instance.
    sources: LiteMap<Arc<str>, SourceSamples>,
    /// When it is sampled again.
    pub pace: Pace,
}

/// The samples of one topic mapping from one source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceSamples {
    /// The start of the newest complete list, in ms.
    complete_ms: Packed,
    /// The start of the first complete list while the item runs, in ms.
    first_complete_ms: Packed,
    /// The time up to which the newest complete list certainly shows every group, in ms.
    current_ms: Packed,
    tracks: Tracks,
    /// The failure of the newest read.
    failure: Option<Box<Error>>,
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
    pub fn keep_sources(&mut self, sources: &[Arc<str>]) {
        self.sources.retain(|source, _| sources.contains(source));
    }

    /// The item runs from now on, or no longer: while it does not run, new groups have no checkpoints.
    pub fn forget_absence(&mut self) {
        for (_, source) in self.sources.iter_mut() {
            (source.first_complete_ms, source.current_ms) = (Packed::NONE, Packed::NONE);
        }
    }

    /// Adds lists by source whose request began at `started`.
    pub fn record(
        &mut self,
        scope: &Scope<'_>,
        grounds: &Grounds,
        about: &GroundsOfMapping,
        lists: BTreeMap<Arc<str>, Result<List<Checkpoint>, Error>>,
        started: Timestamp,
        terms: Terms,
    ) {
        // The first sample of an item is not one of the item before it.
        if self.pace.is_outdated(started) && self.sources.is_empty() {
            return;
        }
        let window_ms = i64::try_from(scope.visibility_window.as_millis()).unwrap_or(i64::MAX);
        if self.sources.is_empty() {
            self.sources = LiteMap::with_capacity(lists.len());
        }
        for (source, list) in lists {
            let topic = grounds.topic(&source, &about.name);
            let by = ListTerms { objective_ms: terms.objective_ms, window_ms, runs: about.runs, topic };
            let samples = self.sources.entry(source.clone()).or_default();
            samples.record(&source, list, started.as_millisecond(), by);
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
        self.sources.iter().map(|(id, samples)| (&**id, samples))
    }

    /// The samples of one source.
    pub fn source(&self, id: &str) -> Option<&SourceSamples> {
        self.sources.get(id)
    }
}

impl SourceSamples {
    /// The start of the newest complete list, in ms.
    pub fn complete_ms(&self) -> Option<i64> {
        self.complete_ms.get()
    }

    /// The tracks, each with its consumer group and topic, in this order.
    pub fn tracks(&self) -> impl Iterator<Item = (&str, &str, Track)> {
        self.tracks.iter()
    }

    /// The start of the first complete list while the item runs, in ms.
    pub fn running_since_ms(&self) -> Option<i64> {
        self.first_complete_ms.get()
    }

    /// The track of a checkpoint.
    pub fn track(&self, key: Key<'_>) -> Option<Track> {
        self.tracks.get(key)
    }

    /// The failure of the newest read.
    pub fn failure(&self) -> Option<&Error> {
        self.failure.as_deref()
    }

    /// Whether the newest list was incomplete.
    pub fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Adds a list of this source whose request began at `started_ms`. Absence counts only once complete lists agree over the
    /// visibility window, and lists of an item that does not run prove none.
    fn record(&mut self, source: &str, list: Result<List<Checkpoint>, Error>, started_ms: i64, about: ListTerms<'_>) {
        let newest_ms = self.complete_ms.get();
        let late = newest_ms.is_some_and(|newest_ms| started_ms < newest_ms);
        let list = match list {
            Ok(list) => list,
            Err(_) if late => return,
            Err(error) => {
                // The ID of each request would change the message of a condition.
                self.failure = Some(Box::new(Error { request_id: None, ..error }));
                return;
            }
        };
        let complete = list.is_complete();
        let shown = Shown::new(list.entries(), source, started_ms);
        if late {
            // What a list lacks that began before the newest one says nothing.
            return self.tracks.record_late(&shown, about);
        }
        (self.failure, self.incomplete) = (None, !complete);
        let agreed = |last: i64, first: i64| last - first >= about.window_ms;
        let known = newest_ms.zip(self.first_complete_ms.get()).is_some_and(|(last, first)| agreed(last, first));
        let absent_ms = self.current_ms.get().filter(|_| known);
        self.tracks.record(&shown, absent_ms, complete.then_some(started_ms), about);
        self.complete_ms = newest_ms.max(complete.then_some(started_ms)).into();
        if complete && about.runs {
            // A list may be late: it shows nothing of the time after its newest progress.
            let current_ms = Some(shown.fetched_ms().map_or(started_ms, |ms| ms.min(started_ms)));
            self.current_ms = self.current_ms.get().max(current_ms).into();
            self.first_complete_ms = self.first_complete_ms.get().or(Some(started_ms)).into();
        }
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
        let source = samples.source(source)?;
        until_ms = until_ms.min(source.complete_ms()?.saturating_add(MAX_LIST_AGE_MS));
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
