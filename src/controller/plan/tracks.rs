//! The tracks of one topic mapping from one source, in the order of their names. Plans may have thousands of them. Pure.

use std::sync::Arc;

use crate::cloud::rocketmq::{self, Checkpoint};
use crate::controller::evidence::progress::{KeptTrack, Reading, Track};

/// The consumer group, the topic and the ID of a checkpoint.
pub type Key<'a> = (&'a str, &'a str, i64);

/// The tracks of one topic mapping from one source. A copy of the evidence shares them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tracks(Arc<[Tracked]>);

/// A checkpoint and its track.
#[derive(Clone, Debug, PartialEq)]
struct Tracked {
    group: Arc<str>,
    topic: Arc<str>,
    id: i64,
    track: KeptTrack,
}

/// The terms by which a list of checkpoints is recorded.
#[derive(Clone, Copy)]
pub struct ListTerms<'a> {
    pub objective_ms: i64,
    /// The visibility window, in ms.
    pub window_ms: i64,
    /// Whether the item runs.
    pub runs: bool,
    /// The topic of the mapping at the source, where it is known: most checkpoints are of it.
    pub topic: Option<&'a Arc<str>>,
}

/// What a list shows of the checkpoints of one source, by their keys.
pub struct Shown<'a>(Vec<(Key<'a>, Reading)>);

impl<'a> Shown<'a> {
    /// What a list of this source shows whose request began at `started_ms`.
    pub fn new(list: &'a [Checkpoint], source: &str, started_ms: i64) -> Self {
        let shown = |it: &'a Checkpoint| Some((key(it, source)?, progress(it, started_ms)));
        let mut all: Vec<_> = list.iter().filter_map(shown).collect();
        all.sort_by_key(|(key, _)| *key);
        Self(all)
    }

    /// The newest time at which the cloud fetched the progress of the source.
    pub fn fetched_ms(&self) -> Option<i64> {
        self.0.iter().filter_map(|(_, reading)| reading.source_fetched_ms).max()
    }
}

impl Tracked {
    fn key(&self) -> Key<'_> {
        (&self.group, &self.topic, self.id)
    }

    /// What is left after a list without the checkpoint. `complete_ms` is the start of that list, if it is complete.
    fn after_list_without(&self, complete_ms: Option<i64>, about: ListTerms<'_>) -> Option<Self> {
        let mut track = Track::from(&self.track);
        let gone = complete_ms.is_some_and(|ms| track.is_gone(ms, about.window_ms));
        (!gone).then(|| Self { track: track.into(), ..self.clone() })
    }
}

impl Tracks {
    /// The tracks, each with its consumer group and topic.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, Track)> {
        self.0.iter().map(|it| (&*it.group, &*it.topic, Track::from(&it.track)))
    }

    /// The track of a checkpoint.
    pub fn get(&self, key: Key<'_>) -> Option<Track> {
        Some(Track::from(&self.0.get(self.find(key)?)?.track))
    }

    fn find(&self, key: Key<'_>) -> Option<usize> {
        self.0.binary_search_by(|it| it.key().cmp(&key)).ok()
    }

    /// Adds a list that began before the newest one: what it lacks says nothing.
    pub fn record_late(&mut self, shown: &Shown<'_>, about: ListTerms<'_>) {
        for (key, reading) in &shown.0 {
            let at = self.find(*key);
            if let Some(tracked) = at.and_then(|at| Arc::make_mut(&mut self.0).get_mut(at)) {
                let mut track = Track::from(&tracked.track);
                track.record(*reading, about.objective_ms);
                tracked.track = track.into();
            }
        }
    }

    /// Adds a list. `absent_ms` is the start of the newest complete list, where complete lists agree on what they lack. `complete_ms` is
    /// the start of this one, if it is complete.
    pub fn record(
        &mut self,
        shown: &Shown<'_>,
        absent_ms: Option<i64>,
        complete_ms: Option<i64>,
        about: ListTerms<'_>,
    ) {
        let mut tracks = Vec::with_capacity(self.0.len().max(shown.0.len()));
        let (mut known, mut last) = (self.0.iter().peekable(), None::<&Tracked>);
        let mut shared = about.topic.cloned();
        for readings in shown.0.chunk_by(|(a, _), (b, _)| a == b) {
            let Some(((group, topic, id), _)) = readings.first() else { continue };
            let key = (*group, *topic, *id);
            while let Some(lacking) = known.next_if(|it| it.key() < key) {
                tracks.extend(lacking.after_list_without(complete_ms, about));
                last = Some(lacking);
            }
            let same = known.next_if(|it| it.key() == key);
            // The same group under another ID was not absent.
            let has_name = |it: &Tracked| (&*it.group, &*it.topic) == (*group, *topic);
            let new = !last.is_some_and(has_name) && !known.peek().is_some_and(|it| has_name(it));
            let (group, topic, mut track) = match same {
                Some(known) => (known.group.clone(), known.topic.clone(), Track::from(&known.track)),
                None => {
                    let topic = shared.take().filter(|it| **it == **topic).unwrap_or_else(|| Arc::from(*topic));
                    shared = Some(topic.clone());
                    (Arc::from(*group), topic, Track::new(absent_ms.filter(|_| new)))
                }
            };
            for (_, reading) in readings {
                track.record(*reading, about.objective_ms);
            }
            tracks.push(Tracked { group, topic, id: *id, track: track.into() });
            last = same.or(last);
        }
        tracks.extend(known.filter_map(|lacking| lacking.after_list_without(complete_ms, about)));
        self.0 = tracks.into();
    }
}

/// The consumer group and the topic of a checkpoint.
pub fn name(checkpoint: &Checkpoint) -> (&str, &str) {
    let side = checkpoint.source_progress.as_ref();
    let group = side.and_then(|it| it.consumer_group_id.as_deref());
    (group.unwrap_or_default(), side.and_then(|it| it.topic_name.as_deref()).unwrap_or_default())
}

/// The consumer group, the topic and the ID of a checkpoint from this source. `None` for one from another source.
pub fn key<'a>(checkpoint: &'a Checkpoint, source: &str) -> Option<Key<'a>> {
    let from = checkpoint.source_progress.as_ref().and_then(|it| it.instance_id.as_deref()).unwrap_or_default();
    let (group, topic) = name(checkpoint);
    (from.is_empty() || from == source).then_some((group, topic, checkpoint.checkpoint_id))
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::cloud::rocketmq::{Progress, ProgressData};

    const OBJECTIVE_MS: i64 = 60_000;
    const WINDOW_MS: i64 = 25_000;

    type Name = (String, String, i64);

    fn checkpoint((group, topic, id): &Name, at_ms: i64) -> Checkpoint {
        let side = |ms: i64| {
            Some(Progress {
                instance_id: None,
                consumer_group_id: Some(group.clone()),
                topic_name: Some(topic.clone()),
                last_fetch_time: Some(at_ms),
                progress_data: Some(ProgressData { consume_timestamp: Some(ms) }),
            })
        };
        let (source_progress, target_progress) = (side(at_ms - 100), side(at_ms - 900));
        Checkpoint { checkpoint_id: *id, last_sync_time: Some(at_ms), source_progress, target_progress }
    }

    /// The rules for one list, checkpoint by checkpoint.
    fn record(
        all: &mut BTreeMap<Name, Track>,
        list: &[(Name, Reading)],
        absent_ms: Option<i64>,
        complete_ms: Option<i64>,
    ) {
        let names: BTreeSet<_> = all.keys().map(|(group, topic, _)| (group.clone(), topic.clone())).collect();
        for (name, reading) in list {
            let absent_ms = absent_ms.filter(|_| !names.contains(&(name.0.clone(), name.1.clone())));
            all.entry(name.clone()).or_insert_with(|| Track::new(absent_ms)).record(*reading, OBJECTIVE_MS);
        }
        let shown = |name: &Name| list.iter().any(|(it, _)| it == name);
        if let Some(ms) = complete_ms {
            all.retain(|name, track| shown(name) || !track.is_gone(ms, WINDOW_MS));
        }
    }

    #[test]
    fn merged_lists_agree_with_single_records() {
        let mut seed = 7_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let topic: Arc<str> = "b".into();
        let about = ListTerms { objective_ms: OBJECTIVE_MS, window_ms: WINDOW_MS, runs: true, topic: Some(&topic) };
        let (mut tracks, mut expected) = (Tracks::default(), BTreeMap::new());
        for step in 1..400_i64 {
            let at_ms = 1_740_000_000_000 + step * 10_000;
            let mut list = Vec::new();
            for _ in 0..random(8) {
                let (group, topic) = (format!("GID_{}", random(4)), ["a", "b"][usize::from(random(3) > 0)]);
                list.push(checkpoint(&(group, topic.to_owned(), i64::from(random(5) == 0)), at_ms));
            }
            let (absent_ms, complete_ms) = ((random(2) > 0).then_some(at_ms - 5_000), (random(4) > 0).then_some(at_ms));
            let owned = |it: &Checkpoint| key(it, "rmq-a").map(|(group, topic, id)| (group.into(), topic.into(), id));
            let readings: Vec<(Name, Reading)> =
                list.iter().filter_map(|it| Some((owned(it)?, progress(it, at_ms)))).collect();
            record(&mut expected, &readings, absent_ms, complete_ms);
            tracks.record(&Shown::new(&list, "rmq-a", at_ms), absent_ms, complete_ms, about);
            let all: BTreeMap<Name, Track> = tracks
                .0
                .iter()
                .map(|it| ((it.group.to_string(), it.topic.to_string(), it.id), Track::from(&it.track)))
                .collect();
            assert_eq!((all.len(), &all), (tracks.0.len(), &expected), "step {step}");
            assert!(tracks.0.is_sorted_by_key(|it| (it.group.clone(), it.topic.clone(), it.id)));
            assert!(expected.keys().all(|(group, topic, id)| tracks.get((group, topic, *id)).is_some()));
        }
    }
}
