//! When something is sampled again, by what its samples prove. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::Scope;
use crate::controller::evidence::packed::{Packed, PackedTime};
use crate::controller::resource::Scheduled;

/// The last sample of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It proves something until this time, in ms.
    Proven(i64),
    /// It proves nothing, or it failed. A failed sample is repeated soon, and ends no earlier proof.
    Unproven {
        /// The end of what earlier samples prove, in ms.
        until_ms: Option<i64>,
        /// Whether the cloud is likely to answer the same for long.
        lasts: bool,
    },
}

/// When something is sampled again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pace {
    /// The time of the next sample; at once, where absent.
    next: PackedTime,
    /// A sample that began before this time says little about the present: another one follows it at once.
    outdated_before: PackedTime,
    /// The end of what the samples prove.
    proven_until_ms: Packed,
    /// The number of samples in a row that proved nothing.
    unproven: u32,
}

impl Pace {
    /// Requests a sample that begins at this time or later.
    pub fn request(&mut self, at: Timestamp) {
        (self.next, self.outdated_before) = (None.into(), Some(at).into());
    }

    /// Requests such a sample, and forgets how many before it proved nothing.
    pub fn restart(&mut self, at: Timestamp) {
        self.request(at);
        self.unproven = 0;
    }

    /// Delays the next sample: it is not known yet what it is about.
    pub fn delay(&mut self, scope: &Scope<'_>) {
        self.next = scope.now.checked_add(scope.intervals.unproven_sample(1)).ok().into();
    }

    /// Whether a sample that began at `started` says little about the present.
    pub fn is_outdated(&self, started: Timestamp) -> bool {
        self.outdated_before.get().is_some_and(|before| started < before)
    }

    /// Adds a sample that began at `started`.
    pub fn sampled(&mut self, scope: &Scope<'_>, started: Timestamp, outcome: Outcome) {
        let now_ms = scope.now.as_millisecond();
        let wait = match outcome {
            Outcome::Proven(until_ms) if until_ms > now_ms => {
                self.unproven = 0;
                scope.intervals.proven_sample(Duration::from_millis((until_ms - now_ms).unsigned_abs()))
            }
            Outcome::Proven(_) | Outcome::Unproven { lasts: false, .. } => {
                self.unproven += 1;
                scope.intervals.unproven_sample(self.unproven)
            }
            Outcome::Unproven { lasts: true, .. } => {
                self.unproven += 1;
                scope.intervals.refused_sample(self.unproven)
            }
        };
        let until_ms = match outcome {
            Outcome::Proven(until_ms) => Some(until_ms),
            Outcome::Unproven { until_ms, .. } => until_ms,
        };
        self.proven_until_ms = until_ms.into();
        if !self.is_outdated(started) {
            (self.next, self.outdated_before) = (scope.now.checked_add(wait).ok().into(), None.into());
        }
    }

    /// The end of what the samples prove, in ms.
    pub fn proven_until_ms(&self) -> Option<i64> {
        self.proven_until_ms.get()
    }

    /// The next sample.
    pub fn scheduled<T>(&self, now: Timestamp, task: T, region: Option<String>) -> Scheduled<T> {
        let due = self.next.get().unwrap_or(now);
        let proven = self.proven_until_ms().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let (expires, renews) = (proven.unwrap_or(due), proven.is_some_and(|until| due < until));
        Scheduled { task, due, expires, renews, region }
    }
}
