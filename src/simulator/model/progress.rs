//! The position of a reader in a source topic over time: a consumer group, or the replicator of an item. How it moves is
//! the simulator's simplification (inferred); the cloud shows only the position at the time of a read.

use serde::{Deserialize, Serialize};

/// Maximum number of changes of speed that a history keeps; the oldest are dropped first.
const MAX_SEGMENTS: usize = 1024;

/// The speed of a reader that reads each message when it is stored, %.
const REAL_TIME: u32 = 100;

/// How the consumers of a group, or the replicator of an item, move at the source from now on. The position is the store
/// time up to which they read; where a topic was quiet, the last message before it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Consumption {
    /// They read each message when it is stored: the position is now.
    Busy,
    /// They are offline: the position stands still.
    Offline,
    /// They read old messages until they reach now, then each when it is stored.
    CatchingUp {
        /// The distance of the position from now at the beginning, ms.
        behind_ms: i64,
        /// The speed, % of real time: 1000 reads ten seconds of messages a second. Below 100 they never reach now, and
        /// with 0 they stand still.
        speed_percent: u32,
    },
    /// An offset reset: the position jumps to a time, and continues from there until it reaches now.
    Reset {
        /// The position after the reset, ms since the epoch; at most now.
        to_ms: i64,
        /// As in `CatchingUp`.
        speed_percent: u32,
    },
}

/// A part of the history with one speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    /// Begin, ms. The next segment begins at its end.
    from: i64,
    /// The progress at the begin, ms.
    progress: i64,
    /// The speed, % of real time.
    speed_percent: u32,
}

/// The position of one reader in one topic, now and in the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// By ascending begin, never empty.
    segments: Vec<Segment>,
}

impl Segment {
    fn progress_at(&self, at: i64) -> i64 {
        if self.speed_percent == 0 {
            return self.progress;
        }
        let consumed = at.saturating_sub(self.from).max(0).saturating_mul(i64::from(self.speed_percent)) / 100;
        self.progress.saturating_add(consumed).min(at)
    }

    /// The newest time in the segment, which ends at `end`, with a progress of at most `limit`.
    fn newest_within(&self, limit: i64, end: i64) -> Option<i64> {
        if self.progress_at(self.from) > limit {
            return None;
        }
        if self.progress_at(end) <= limit {
            return Some(end);
        }
        // The progress never falls within a segment.
        let (mut within, mut beyond) = (self.from, end);
        while beyond - within > 1 {
            let middle = within + (beyond - within) / 2;
            let half = if self.progress_at(middle) <= limit { &mut within } else { &mut beyond };
            *half = middle;
        }
        Some(within)
    }
}

impl Position {
    /// A reader that is busy from this time on, and was before.
    pub(super) fn busy(from: i64) -> Position {
        Position { segments: vec![Segment { from, progress: from, speed_percent: REAL_TIME }] }
    }

    /// The position at a time, ms. Before the begin of the history it is that of a busy reader.
    pub fn at(&self, at: i64) -> i64 {
        self.segments.iter().rev().find(|segment| segment.from <= at).map_or(at, |segment| segment.progress_at(at))
    }

    /// The newest time until `now` when the position was at most `limit`.
    pub(super) fn newest_within(&self, limit: i64, now: i64) -> i64 {
        let mut end = now;
        for segment in self.segments.iter().rev().filter(|segment| segment.from <= now) {
            if let Some(newest) = segment.newest_within(limit, end) {
                return newest;
            }
            end = segment.from - 1;
        }
        limit.min(end)
    }

    /// The highest position until `at`, ms.
    pub(super) fn highest(&self, at: i64) -> i64 {
        let begun = self.segments.iter().filter(|segment| segment.from <= at);
        let ends = self.segments.iter().skip(1).map(|segment| segment.from).chain([at]);
        // The position never falls within a segment.
        begun.zip(ends).map(|(segment, end)| segment.progress_at(end.min(at))).max().unwrap_or(at)
    }

    /// Whether the reader moves at a time, or waits for messages.
    pub(super) fn moves(&self, at: i64) -> bool {
        self.segments.iter().rev().find(|segment| segment.from <= at).is_none_or(|segment| segment.speed_percent > 0)
    }

    /// Changes how the reader moves from `at` on.
    pub(super) fn change(&mut self, to: Consumption, at: i64) {
        let (progress, speed_percent) = match to {
            Consumption::Busy => (at, REAL_TIME),
            Consumption::Offline => (self.at(at), 0),
            Consumption::CatchingUp { behind_ms, speed_percent } => (at.saturating_sub(behind_ms), speed_percent),
            Consumption::Reset { to_ms, speed_percent } => (to_ms, speed_percent),
        };
        self.begin(Segment { from: at, progress: progress.min(at), speed_percent });
    }

    /// Stops at this progress, which may be later than `at`.
    pub(super) fn hold(&mut self, progress: i64, at: i64) {
        self.begin(Segment { from: at, progress, speed_percent: 0 });
    }

    /// Begins a segment. After the clock was set back, it replaces the segments of later times.
    fn begin(&mut self, segment: Segment) {
        self.segments.retain(|known| known.from < segment.from);
        if self.segments.len() == MAX_SEGMENTS {
            self.segments.remove(0);
        }
        self.segments.push(segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(progress: &Position, times: [i64; 5]) -> [i64; 5] {
        times.map(|at| progress.at(at))
    }

    #[test]
    fn each_consumption_moves_as_documented() {
        let table = [
            (Consumption::Busy, [999, 1_000, 1_100, 1_200, 9_000]),
            (Consumption::Offline, [999, 1_000, 1_000, 1_000, 1_000]),
            (Consumption::CatchingUp { behind_ms: 900, speed_percent: 500 }, [999, 100, 600, 1_100, 9_000]),
            (Consumption::CatchingUp { behind_ms: 900, speed_percent: 50 }, [999, 100, 150, 200, 4_100]),
            (Consumption::Reset { to_ms: 200, speed_percent: 100 }, [999, 200, 300, 400, 8_200]),
            (Consumption::Reset { to_ms: 2_000, speed_percent: 100 }, [999, 1_000, 1_100, 1_200, 9_000]),
        ];
        for (consumption, expected) in table {
            let mut progress = Position::busy(500);
            progress.change(consumption, 1_000);
            assert_eq!(values(&progress, [999, 1_000, 1_100, 1_200, 9_000]), expected, "{consumption:?}");
        }
    }

    #[test]
    fn newest_time_matches_each_ms_of_history() {
        let mut progress = Position::busy(0);
        progress.change(Consumption::Offline, 100);
        progress.change(Consumption::CatchingUp { behind_ms: 250, speed_percent: 330 }, 300);
        progress.change(Consumption::Reset { to_ms: 150, speed_percent: 70 }, 450);
        progress.hold(700, 520);
        progress.change(Consumption::Busy, 560);
        for now in (0..800).step_by(7) {
            for limit in 0..800 {
                let newest = (0..=now).rev().find(|at| progress.at(*at) <= limit).unwrap();
                assert_eq!(progress.newest_within(limit, now), newest, "{limit} at {now}");
            }
        }
    }

    #[test]
    fn history_is_bounded_and_follows_clock_back() {
        let mut progress = Position::busy(0);
        for at in 0..3_000 {
            progress.change(Consumption::Reset { to_ms: at - 10, speed_percent: 0 }, at);
        }
        assert_eq!(progress.segments.len(), MAX_SEGMENTS);
        // Older than the history.
        assert_eq!(progress.newest_within(500, 2_999), 500);
        progress.change(Consumption::Busy, 2_500);
        assert_eq!(values(&progress, [2_499, 2_500, 2_600, 2_999, 5_000]), [2_489, 2_500, 2_600, 2_999, 5_000]);
    }
}
