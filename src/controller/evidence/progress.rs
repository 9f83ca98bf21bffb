//! How far the target of a checkpoint covers the progress of its source, and how long that proves a recovery point objective. Pure.
//!
//! S and T are the consume timestamps of source and target, both taken as the source's store times. A sample says that the source
//! had consumed up to S at time t. The target covers the source's progress up to the newest t whose S is not beyond the present T.
//! All times are in ms since 1970 UTC.

use super::packed::Numbers;

/// Maximum age of a list of checkpoints that a condition rests on.
pub const MAX_LIST_AGE_MS: i64 = 300_000;
/// The clock skew above which nothing is claimed.
pub const MAX_CLOCK_SKEW_MS: i64 = 60_000;
/// The part of the objective that no proof uses, besides the clock skew.
const MARGIN_MS: i64 = 5_000;
/// The distance by which a target may be ahead of its source.
const AHEAD_TOLERANCE_MS: i64 = 10_000;
/// Maximum number of samples of one consumer group. More of them are thinned out, which only shortens proofs.
const MAX_SAMPLES: usize = 16;

/// The progress of one checkpoint, as one list shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The consume timestamp of the source (S).
    pub source_ms: Option<i64>,
    /// The consume timestamp of the target (T).
    pub target_ms: Option<i64>,
    /// The time of the last synchronization.
    pub last_sync_ms: Option<i64>,
    /// The time at which the cloud fetched the source's progress.
    pub source_fetched_ms: Option<i64>,
    /// The time at which the cloud fetched the target's progress.
    pub target_fetched_ms: Option<i64>,
    /// The start of the request for the list.
    pub requested_ms: i64,
}

/// The terms of a judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The recovery point objective.
    pub objective_ms: i64,
    /// The distance between the clocks of the operator and of the cloud.
    pub skew_ms: i64,
}

/// A value of S and the times at which samples showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    source_ms: i64,
    first_ms: i64,
    last_ms: i64,
}

/// The samples of one consumer group and topic from one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Track {
    /// The newest reading.
    reading: Reading,
    /// The start of the newest list that shows the checkpoint.
    listed_ms: i64,
    /// The samples, the oldest first.
    samples: Vec<Sample>,
    /// The start of the newest complete list that did not contain the checkpoint, before it appeared.
    absent_ms: Option<i64>,
    /// The start of the first complete list since which no list contains it.
    gone_since_ms: Option<i64>,
}

/// A track in the space that thousands of them need.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptTrack(Numbers);

impl From<Track> for KeptTrack {
    fn from(track: Track) -> Self {
        let Track { reading, listed_ms, samples, absent_ms, gone_since_ms } = track;
        let Reading { source_ms, target_ms, last_sync_ms, source_fetched_ms, target_fetched_ms, requested_ms } =
            reading;
        let times = [Some(requested_ms), Some(listed_ms), source_fetched_ms, target_fetched_ms, source_ms, target_ms];
        let samples = samples.into_iter().flat_map(|it| [it.source_ms, it.first_ms, it.last_ms]).map(Some);
        Self(Numbers::new(times.into_iter().chain([last_sync_ms, absent_ms, gone_since_ms]).chain(samples)))
    }
}

impl From<&KeptTrack> for Track {
    fn from(kept: &KeptTrack) -> Self {
        let mut numbers = kept.0.iter();
        let mut next = || numbers.next().flatten();
        let (requested_ms, listed_ms) = (next().unwrap_or_default(), next().unwrap_or_default());
        let (source_fetched_ms, target_fetched_ms, source_ms, target_ms) = (next(), next(), next(), next());
        let (last_sync_ms, absent_ms, gone_since_ms) = (next(), next(), next());
        let mut sample = || Some(Sample { source_ms: next()?, first_ms: next()?, last_ms: next()? });
        let samples = std::iter::from_fn(&mut sample).collect();
        let reading =
            Reading { source_ms, target_ms, last_sync_ms, source_fetched_ms, target_fetched_ms, requested_ms };
        Self { reading, listed_ms, samples, absent_ms, gone_since_ms }
    }
}

/// What the samples say about a consumer group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is within the objective.
    Within {
        /// The end of the proof.
        until_ms: i64,
    },
    /// It was never synchronized.
    NeverSynced,
    /// It is further behind than the objective.
    Exceeded,
    /// The target is ahead of the source: a failover would skip messages.
    TargetAhead {
        /// The distance.
        by_ms: i64,
    },
    /// Nothing proves or refutes it.
    Unknown(Doubt),
}

/// The cause of a doubt about a consumer group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The newest list that shows it is too old.
    ListTooOld,
    /// A timestamp is missing.
    NoTimestamps,
    /// The samples prove less than the objective.
    Unproven,
}

impl Track {
    /// The track of a checkpoint that was in no list before. `absent_ms` is the start of the newest complete list without it, where
    /// complete lists agree on that.
    pub fn new(absent_ms: Option<i64>) -> Self {
        Self { absent_ms, ..Self::default() }
    }

    /// The newest reading.
    pub fn reading(&self) -> Reading {
        self.reading
    }

    /// The start of the newest list that shows the checkpoint.
    pub fn listed_ms(&self) -> i64 {
        self.listed_ms
    }

    /// Adds a reading. One that the cloud fetched before the present one changes nothing: a list may be late.
    pub fn record(&mut self, mut reading: Reading, objective_ms: i64) {
        self.listed_ms = self.listed_ms.max(reading.requested_ms);
        self.gone_since_ms = None;
        // Nothing was fetched after the request, whatever clocks say.
        for fetched_ms in [&mut reading.source_fetched_ms, &mut reading.target_fetched_ms] {
            *fetched_ms = fetched_ms.map(|ms| ms.min(reading.requested_ms));
        }
        let known = self.reading();
        if is_late(&reading, &known) {
            return;
        }
        // A list without a time does not say that no synchronization ever was.
        reading.last_sync_ms = reading.last_sync_ms.or(known.last_sync_ms);
        self.reading = reading;
        let (Some(source_ms), Some(at_ms)) = (reading.source_ms, reading.source_fetched_ms) else { return };
        if self.samples.last().is_some_and(|last| at_ms < last.last_ms) {
            return;
        }
        // After a reset of the source's offset, what it consumed before is consumed again.
        self.samples.retain(|sample| sample.source_ms <= source_ms);
        // One sample older than the objective may refute it.
        let old = |sample: &Sample| at_ms - sample.first_ms > objective_ms;
        let newest = Sample { source_ms, first_ms: at_ms, last_ms: at_ms };
        match self.samples.last_mut() {
            Some(last) if last.source_ms == source_ms => last.last_ms = at_ms,
            Some(_) | None => self.samples.push(newest),
        }
        let outdated = self.samples.iter().skip(1).take_while(|second| old(second)).count();
        self.samples.drain(..outdated);
        if self.samples.len() > MAX_SAMPLES {
            self.thin_out();
        }
    }

    /// Records a complete list without the checkpoint. True once such lists agree over the visibility window.
    pub fn is_gone(&mut self, requested_ms: i64, window_ms: i64) -> bool {
        let since_ms = self.gone_since_ms.unwrap_or(requested_ms);
        self.gone_since_ms = Some(since_ms);
        requested_ms.saturating_sub(since_ms) >= window_ms
    }

    /// Whether the newest complete list does not contain the checkpoint.
    pub fn is_missing(&self) -> bool {
        self.gone_since_ms.is_some()
    }

    /// Drops the sample whose neighbours are closest to each other. The oldest and the newest stay.
    fn thin_out(&mut self) {
        let gap = |at: &usize| self.samples[at + 1].first_ms - self.samples[at - 1].last_ms;
        if let Some(at) = (1..self.samples.len() - 1).min_by_key(gap) {
            self.samples.remove(at);
        }
    }

    /// The time up to which the target covers the source's progress.
    pub fn covered_ms(&self) -> Option<i64> {
        let reading = self.reading();
        let by_target = reading.target_ms.and_then(|target_ms| {
            let synced = reading.last_sync_ms.map(|last_sync_ms| target_ms.min(last_sync_ms));
            let sampled = self.samples.iter().rev().find(|sample| sample.source_ms <= target_ms).map(|it| it.last_ms);
            synced.max(sampled)
        });
        // Nothing is known of the time after the request, whatever clocks say.
        by_target.map(|covered_ms| covered_ms.min(reading.requested_ms)).max(self.absent_ms)
    }

    /// The distance of the target behind the source when the newest list was read: that of `covered_ms`. `None` where nothing is
    /// known to be covered.
    pub fn lag_ms(&self) -> Option<i64> {
        self.covered_ms().map(|covered_ms| (self.listed_ms - covered_ms).max(0))
    }

    /// Whether the checkpoint was never synchronized.
    pub fn never_synced(&self) -> bool {
        self.reading.last_sync_ms.is_none()
    }

    /// Judges the consumer group at `now_ms`.
    pub fn judge(&self, now_ms: i64, terms: Terms) -> Judgement {
        let fresh = now_ms.saturating_sub(self.listed_ms) < MAX_LIST_AGE_MS;
        if let Some(by_ms) = self.ahead_ms().filter(|_| fresh) {
            return Judgement::TargetAhead { by_ms };
        }
        if let Some(until_ms) = self.covered_ms().map(|covered_ms| terms.proof_end_ms(covered_ms))
            && now_ms < until_ms
        {
            return Judgement::Within { until_ms };
        }
        match () {
            () if !fresh => Judgement::Unknown(Doubt::ListTooOld),
            () if self.never_synced() => Judgement::NeverSynced,
            () if self.exceeds(now_ms, terms) => Judgement::Exceeded,
            () if self.lacks_timestamps() => Judgement::Unknown(Doubt::NoTimestamps),
            () => Judgement::Unknown(Doubt::Unproven),
        }
    }

    /// Whether the target is certainly further behind than the objective.
    fn exceeds(&self, now_ms: i64, terms: Terms) -> bool {
        let reading = self.reading();
        let Some(target_ms) = reading.target_ms.filter(|_| !self.stands_still()) else { return false };
        let Terms { objective_ms, skew_ms } = terms;
        let apart = reading.source_ms.is_some_and(|source_ms| source_ms.saturating_sub(target_ms) > objective_ms);
        // T was present when the cloud fetched it.
        let present_ms = reading.target_fetched_ms.map_or(now_ms.saturating_sub(skew_ms), |ms| ms.min(now_ms));
        let old = |sample: &Sample| present_ms.saturating_sub(sample.first_ms) > objective_ms;
        apart || self.samples.iter().any(|sample| old(sample) && sample.source_ms > target_ms)
    }

    /// Whether the cloud fetched the progress too long before the list.
    fn stands_still(&self) -> bool {
        let Reading { source_fetched_ms, target_fetched_ms, requested_ms, .. } = self.reading();
        let old = |fetched_ms: Option<i64>| {
            fetched_ms.is_some_and(|ms| requested_ms.max(self.listed_ms).saturating_sub(ms) > MAX_LIST_AGE_MS)
        };
        old(source_fetched_ms) || old(target_fetched_ms)
    }

    /// Whether the samples may say more soon: there is only one.
    pub fn is_new(&self) -> bool {
        self.samples.len() < 2 && self.samples.iter().all(|sample| sample.first_ms == sample.last_ms)
    }

    fn lacks_timestamps(&self) -> bool {
        let Reading { source_ms, target_ms, source_fetched_ms, .. } = self.reading();
        source_ms.is_none() || target_ms.is_none() || source_fetched_ms.is_none()
    }

    /// The distance by which the target is ahead of the source, beyond what the times of the two fetches explain.
    fn ahead_ms(&self) -> Option<i64> {
        let Reading { source_ms, target_ms, source_fetched_ms, target_fetched_ms, .. } = self.reading();
        let by_ms = target_ms?.saturating_sub(source_ms?);
        let later_ms = target_fetched_ms?.saturating_sub(source_fetched_ms?).max(0);
        let ahead = by_ms > AHEAD_TOLERANCE_MS.saturating_add(later_ms) && !self.stands_still();
        ahead.then_some(by_ms)
    }
}

/// Whether the cloud fetched a reading before a known one.
fn is_late(reading: &Reading, known: &Reading) -> bool {
    let before = |new: Option<i64>, known: Option<i64>| new.zip(known).is_some_and(|(new, known)| new < known);
    let after = |new: Option<i64>, known: Option<i64>| new.zip(known).is_some_and(|(new, known)| new > known);
    let sides =
        [(reading.source_fetched_ms, known.source_fetched_ms), (reading.target_fetched_ms, known.target_fetched_ms)];
    sides.iter().any(|(new, known)| before(*new, *known)) && !sides.iter().any(|(new, known)| after(*new, *known))
}

impl Terms {
    /// The end of a proof that rests on this covered time.
    pub(super) fn proof_end_ms(&self, covered_ms: i64) -> i64 {
        covered_ms.saturating_add(self.objective_ms).saturating_sub(self.margin_ms())
    }

    /// The part of the objective that no proof uses.
    pub(super) fn margin_ms(&self) -> i64 {
        MARGIN_MS.saturating_add(self.skew_ms)
    }
}

#[cfg(test)]
mod tests;
