//! The proof that a part of the cloud side is gone. One read that does not show it proves nothing: a list may be late or have a gap.
//! Plain values; the process keeps them in memory, so that a restart only makes the operator wait longer.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

/// The parts of an object's cloud side that its observations do not show, such as `plan 1300000016`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Absences {
    missing: BTreeMap<String, Missing>,
}

/// A part that no observation of this process shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Missing {
    /// The time since which none showed it.
    since: Timestamp,
    /// The start of the last observation that counts: they are [`Absences::interval`] apart.
    counted: Timestamp,
    /// The time that they cover: what lies between two of them, and half of the window at most.
    covered: Duration,
    /// Whether they prove that the part is gone.
    proven: bool,
    /// Whether the last observation completed the proof.
    newly: bool,
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

    /// Records an observation from `started` to `now` that does not show these parts, and shows every other part. A time without
    /// observations, for example while the cloud refuses them, delays a proof and does not undo it: it counts as half of the window.
    pub fn observe(
        &mut self,
        absent: impl IntoIterator<Item = String>,
        window: Duration,
        started: Timestamp,
        now: Timestamp,
    ) {
        let mut before = std::mem::take(&mut self.missing);
        for part in absent {
            let missing = match before.remove(&part) {
                Some(missing) => missing.again(window, started),
                None => Missing { since: now, counted: started, covered: Duration::ZERO, proven: false, newly: false },
            };
            self.missing.insert(part, missing);
        }
    }

    /// What is known of a part that the last observation does not show.
    pub fn of(&self, part: &str, window: Duration, now: Timestamp) -> Absence {
        match self.missing.get(part) {
            Some(missing) if missing.proven => Absence::Proven,
            missing => {
                let since = missing.map_or(now, |missing| missing.since);
                Absence::Unproven { since, until: since.saturating_add(window).unwrap_or(now) }
            }
        }
    }

    /// Whether the last observation completed the proof that a part is gone.
    pub fn newly_proven(&self, part: &str) -> bool {
        self.missing.get(part).is_some_and(|missing| missing.newly)
    }

    /// Whether the proof of an absence is not complete.
    pub fn any_unproven(&self) -> bool {
        self.missing.values().any(|missing| !missing.proven)
    }
}

impl Missing {
    /// One more observation does not show the part. Reads prove that it is gone, not time: they cover the window, and the last one
    /// began after it.
    fn again(self, window: Duration, started: Timestamp) -> Self {
        let since_counted = Duration::try_from(started.duration_since(self.counted)).unwrap_or_default();
        let (counted, covered) = match since_counted >= Absences::interval(window) {
            true => (started, self.covered.saturating_add(since_counted.min(window / 2))),
            false => (self.counted, self.covered),
        };
        let is_over = self.since.saturating_add(window).is_ok_and(|end| end <= started);
        let complete = covered >= window && is_over;
        Self { counted, covered, proven: self.proven || complete, newly: complete && !self.proven, ..self }
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
        assert!(absences.any_unproven());
        let absences = absent_at(&[0, 60, 120]);
        assert!(absences.of("plan 1", WINDOW, at(120)).is_proven() && !absences.any_unproven());
        assert!(absences.newly_proven("plan 1"));
        let absences = absent_at(&[0, 60, 120, 125]);
        assert!(!absences.newly_proven("plan 1"), "it was proven before");
        assert!(!absences.of("plan 2", WINDOW, at(120)).is_proven());
    }

    #[test]
    fn few_observations_prove_nothing() {
        for seconds in [&[0, 121][..], &[0, 10, 20, 29, 125], &[0, 3_600, 3_610], &[0, 3_600, 3_630]] {
            assert!(!absent_at(seconds).of("plan 1", WINDOW, at(3_640)).is_proven(), "{seconds:?}");
        }
    }

    #[test]
    fn observations_that_fail_delay_a_proof_and_do_not_undo_it() {
        let absences = absent_at(&[0, 200, 400]);
        assert!(absences.of("plan 1", WINDOW, at(400)).is_proven());
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
        assert!(!absences.newly_proven("plan 1"));
    }

    #[test]
    fn one_sight_begins_the_window_again() {
        let mut absences = absent_at(&[0, 60]);
        absences.observe([], WINDOW, at(90), at(90));
        absences.observe(["plan 1".into()], WINDOW, at(130), at(130));
        assert_eq!(absences.of("plan 1", WINDOW, at(130)), Absence::Unproven { since: at(130), until: at(250) });
    }
}
