//! A token bucket. It takes the time as an argument.
//!
//! Changes take tokens in advance: the number of tokens may be negative, and each reservation has the time at which its
//! token exists. Samples take only tokens that exist and that changes can spare.

use std::time::{Duration, Instant};

/// Seconds in which the burst accumulates, as a divisor of the rate: 135 calls a second and a burst of 15 are the 150
/// calls a second that RocketMQ allows.
const BURST_DIVISOR: f64 = 9.0;
/// Share of the burst that samples leave to changes.
const RESERVED_SHARE: f64 = 0.25;
/// Maximum pause that the service can ask for.
const MAX_PAUSE: Duration = Duration::from_secs(900);
/// Pause after a throttled call if the answer names none.
const DEFAULT_PAUSE: Duration = Duration::from_millis(500);
/// Minimum time between two reductions of the rate: the calls in flight are throttled together.
const REDUCTION_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum factor by which throttling slows a bucket down.
const MAX_SLOWDOWN: f64 = 64.0;
/// Time in which the rate recovers from zero to the limit, in seconds.
const RECOVERY_SECONDS: f64 = 30.0;
/// Time without use after which a bucket is dropped.
const UNUSED_EXPIRY: Duration = Duration::from_secs(3600);
/// Rounding errors of the number of tokens.
const EPSILON: f64 = 1e-6;

/// A slot that a change took in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The time of the slot.
    pub at: Instant,
    generation: u64,
}

/// The totals of a bucket since its creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Total time that calls waited for their slots.
    pub waited: Duration,
    /// Calls that were given up, since no slot came soon enough.
    pub exhausted: u64,
    /// Calls that the service throttled.
    pub throttled: u64,
}

/// The bucket of one operation.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    /// Calls a second without throttling.
    limit: f64,
    /// Calls a second at `updated`.
    rate: f64,
    /// Tokens at `updated`; below zero by those that changes took in advance.
    tokens: f64,
    updated: Instant,
    /// The end of the pause that the service asked for.
    resumes: Instant,
    reduced: Option<Instant>,
    /// Number of throttled calls. Reservations of former generations are void.
    generation: u64,
    used: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let limit = f64::from(per_second.max(1));
        let (tokens, reduced, generation) = (burst(limit), None, 0);
        Self { limit, rate: limit, tokens, updated: now, resumes: now, reduced, generation, used: now }
    }

    /// Calls a second without throttling.
    pub(super) fn limit(&self) -> f64 {
        self.limit
    }

    /// Calls a second at `now`; none during a pause.
    pub(super) fn allowed(&self, now: Instant) -> f64 {
        let mut bucket = self.clone();
        bucket.refill(now);
        if now < bucket.resumes { 0.0 } else { bucket.rate }
    }

    /// Whether the bucket was not used for an hour.
    pub(super) fn is_unused(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) >= UNUSED_EXPIRY
    }

    /// Changes the limit. Throttling keeps its effect.
    pub(super) fn set_limit(&mut self, per_second: u32, now: Instant) {
        let limit = f64::from(per_second.max(1));
        if limit != self.limit {
            self.refill(now);
            self.rate *= limit / self.limit;
            self.limit = limit;
            self.tokens = self.tokens.min(burst(self.rate));
        }
    }

    /// Reserves the next slot for a change. If the wait for it exceeds `max_wait`, reserves none and fails with the
    /// wait.
    pub(super) fn reserve(&mut self, now: Instant, max_wait: Duration) -> Result<Reservation, Duration> {
        self.used = now;
        self.refill(now);
        let at = self.time_of(1.0, now);
        let wait = at.saturating_duration_since(now);
        if wait > max_wait {
            return Err(wait);
        }
        self.tokens -= 1.0;
        Ok(Reservation { at, generation: self.generation })
    }

    /// Whether a reservation still has its slot: a throttled call voids all.
    pub(super) fn is_valid(&self, reservation: &Reservation) -> bool {
        reservation.generation == self.generation
    }

    /// Takes a slot for a sample if one is free and enough is left for changes. Else changes nothing and fails with the
    /// time after which one may be free.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.used = now;
        self.refill(now);
        let wait = self.time_of(1.0 + reserved(self.rate), now).saturating_duration_since(now);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.tokens -= 1.0;
        Ok(())
    }

    /// Records that the service throttled a call and asked for a pause.
    pub(super) fn throttled(&mut self, after: Option<Duration>, now: Instant) {
        self.used = now;
        self.refill(now);
        if self.reduced.is_none_or(|last| now.saturating_duration_since(last) >= REDUCTION_INTERVAL) {
            self.rate = (self.rate / 2.0).max(self.limit / MAX_SLOWDOWN);
            self.reduced = Some(now);
        }
        self.resumes = self.resumes.max(now + after.unwrap_or(DEFAULT_PAUSE).min(MAX_PAUSE));
        // All reservations are void: the calls that hold them reserve again, with the slower rate and after the pause.
        self.generation += 1;
        self.tokens = self.tokens.clamp(0.0, 1.0);
    }

    /// Adds the tokens and the recovery of the rate since the last time. A pause adds none.
    fn refill(&mut self, now: Instant) {
        let start = self.updated.max(self.resumes);
        let Some(passed) = now.checked_duration_since(start).filter(|it| !it.is_zero()) else { return };
        let (passed, slope, recovery) = (passed.as_secs_f64(), self.slope(), self.recovery_time());
        let (growing, steady) = (passed.min(recovery), (passed - recovery).max(0.0));
        let gained = self.rate * growing + slope * growing * growing / 2.0 + self.limit * steady;
        self.rate = if passed >= recovery { self.limit } else { self.rate + slope * passed };
        self.tokens = (self.tokens + gained).min(burst(self.rate));
        self.updated = now;
    }

    /// The time, not before `now`, at which there are `wanted` tokens.
    fn time_of(&self, wanted: f64, now: Instant) -> Instant {
        let missing = wanted - self.tokens;
        if missing <= EPSILON {
            return now.max(self.resumes);
        }
        let (slope, recovery) = (self.slope(), self.recovery_time());
        let until_steady = self.rate * recovery + slope * recovery * recovery / 2.0;
        let seconds = match missing <= until_steady {
            true => 2.0 * missing / (self.rate + (self.rate * self.rate + 2.0 * slope * missing).sqrt()),
            false => recovery + (missing - until_steady) / self.limit,
        };
        now.max(self.updated.max(self.resumes) + Duration::from_secs_f64(seconds))
    }

    /// Growth of the rate after throttling, calls a second in each second.
    fn slope(&self) -> f64 {
        self.limit / RECOVERY_SECONDS
    }

    /// Time until the rate is the limit, in seconds.
    fn recovery_time(&self) -> f64 {
        (self.limit - self.rate).max(0.0) / self.slope()
    }
}

/// Maximum number of tokens.
fn burst(rate: f64) -> f64 {
    (rate / BURST_DIVISOR).max(1.0)
}

/// Tokens that a sample leaves to changes: a quarter of the burst and at least one. A burst of less than two tokens has
/// no room for both, so a sample needs a full bucket there.
fn reserved(rate: f64) -> f64 {
    let burst = burst(rate);
    (burst * RESERVED_SHARE).max(1.0).min(burst - 1.0)
}

#[cfg(test)]
mod tests;
