//! The proof that a part of the cloud side is gone. One read that does not show it proves nothing: a list may be late or have a gap.
//! Plain values; the process keeps them in memory, so that a restart only makes the operator wait longer.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The parts of an object's cloud side that its observations do not show, such as `plan 1300000016`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Absences {
    /// The time since which no observation of this process showed the part.
    since: BTreeMap<String, Timestamp>,
    /// The start and the end of the last observation.
    last: Option<(Timestamp, Timestamp)>,
    /// The start of the observation before it.
    before: Option<Timestamp>,
}

/// What is known of a part that an observation does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It is gone: all observations of the visibility window agree.
    Proven,
    /// It may exist.
    Unproven {
        /// The time since which the observations agree.
        since: Timestamp,
        /// The end of the window.
        until: Timestamp,
    },
}

impl Absences {
    /// The interval between observations that prove an absence.
    pub fn interval(window: Duration) -> Duration {
        window / 4
    }

    /// Records an observation from `started` to `now` that does not show these parts, and shows every other part. After a long time
    /// without an observation a proof that is not complete begins again.
    pub fn observe(
        &mut self,
        absent: impl IntoIterator<Item = String>,
        window: Duration,
        started: Timestamp,
        now: Timestamp,
    ) {
        let before = std::mem::take(self);
        let pause = before.last.map(|(_, ended)| started.duration_since(ended));
        let dense = pause.is_some_and(|pause| pause <= SignedDuration::try_from(window / 2).unwrap_or_default());
        for part in absent {
            let kept = dense || before.of(&part, window, now).is_proven();
            let first = before.since.get(&part).copied().filter(|_| kept).unwrap_or(now);
            self.since.insert(part, first);
        }
        self.before = before.last.map(|(started, _)| started);
        self.last = Some((started, now));
    }

    /// What is known of a part that the last observation does not show. Reads prove it: the last one began after the window.
    pub fn of(&self, part: &str, window: Duration, now: Timestamp) -> Absence {
        let started = self.last.map(|(started, _)| started);
        self.at(part, window, started, now)
    }

    fn at(&self, part: &str, window: Duration, started: Option<Timestamp>, now: Timestamp) -> Absence {
        let since = self.since.get(part).copied().unwrap_or(now);
        let until = since.saturating_add(window).unwrap_or(now);
        match started.is_some_and(|started| until <= started && since < started) {
            true => Absence::Proven,
            false => Absence::Unproven { since, until },
        }
    }

    /// Whether the last observation completed the proof that a part is gone.
    pub fn newly_proven(&self, part: &str, window: Duration, now: Timestamp) -> bool {
        self.of(part, window, now).is_proven() && !self.at(part, window, self.before, now).is_proven()
    }

    /// Whether the proof of an absence is not complete.
    pub fn any_unproven(&self, window: Duration, now: Timestamp) -> bool {
        self.since.keys().any(|part| !self.of(part, window, now).is_proven())
    }
}

impl Absence {
    /// Whether the part is gone.
    pub fn is_proven(self) -> bool {
        self == Self::Proven
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(120);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    /// Observations at these seconds that do not show the part.
    fn absent_at(seconds: &[i64]) -> Absences {
        let mut absences = Absences::default();
        for second in seconds {
            absences.observe(["plan 1".into()], WINDOW, at(*second), at(*second));
        }
        absences
    }

    #[test]
    fn absence_is_proven_over_the_whole_window() {
        assert!(!Absences::default().of("plan 1", WINDOW, at(0)).is_proven(), "never observed");
        let absences = absent_at(&[0, 60, 119]);
        assert_eq!(absences.of("plan 1", WINDOW, at(119)), Absence::Unproven { since: at(0), until: at(120) });
        assert!(absences.any_unproven(WINDOW, at(119)));
        let absences = absent_at(&[0, 60, 120]);
        assert!(absences.of("plan 1", WINDOW, at(120)).is_proven() && !absences.any_unproven(WINDOW, at(120)));
        assert!(absences.newly_proven("plan 1", WINDOW, at(120)));
        let absences = absent_at(&[0, 60, 120, 125]);
        assert!(!absences.newly_proven("plan 1", WINDOW, at(125)), "it was proven before");
        assert!(!absences.of("plan 2", WINDOW, at(120)).is_proven());
    }

    #[test]
    fn few_observations_prove_nothing() {
        let absences = absent_at(&[0, 61, 121]);
        assert_eq!(absences.of("plan 1", WINDOW, at(121)), Absence::Unproven { since: at(61), until: at(181) });
    }

    #[test]
    fn slow_observations_prove_an_absence() {
        let mut absences = Absences::default();
        for started in [0, 70, 140, 210] {
            absences.observe(["plan 1".into()], WINDOW, at(started), at(started + 60));
        }
        assert!(absences.of("plan 1", WINDOW, at(270)).is_proven());
    }

    #[test]
    fn time_without_reads_proves_nothing() {
        let absences = absent_at(&[0]);
        assert!(!absences.of("plan 1", WINDOW, at(500)).is_proven());
    }

    #[test]
    fn proven_absence_stays_proven_at_rest() {
        let absences = absent_at(&[0, 60, 120, 600, 3_600]);
        assert!(absences.of("plan 1", WINDOW, at(3_600)).is_proven());
        assert!(!absences.newly_proven("plan 1", WINDOW, at(3_600)));
    }

    #[test]
    fn one_sight_begins_the_window_again() {
        let mut absences = absent_at(&[0, 60]);
        absences.observe([], WINDOW, at(90), at(90));
        absences.observe(["plan 1".into()], WINDOW, at(130), at(130));
        assert_eq!(absences.of("plan 1", WINDOW, at(130)), Absence::Unproven { since: at(130), until: at(250) });
    }
}
