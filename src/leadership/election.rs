//! Whose the lease is: values in, value out. Times are arguments.
//!
//! Clocks of two machines are never compared. When a lease ends is judged by when this process saw it change last, on its own
//! monotonic clock; the times that are written into it are for people.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// How long a lease lasts and how it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long others wait after they saw the lease change last. Written into it in whole seconds.
    pub lease_duration: Duration,
    /// How long the holder goes on after the last renewal that it began and that succeeded.
    pub renew_deadline: Duration,
    /// How long there is between two attempts.
    pub retry_period: Duration,
}

impl Timing {
    /// How much longer than the retry period a pause may be, so that those who wait do not come all at once.
    const JITTER: f64 = 0.2;

    /// What is wrong with it, if anything: whoever holds the lease has to give up well before others take it.
    pub fn check(&self) -> Result<(), &'static str> {
        let Self { lease_duration, renew_deadline, retry_period } = *self;
        if retry_period.is_zero() {
            return Err("the retry period must be more than nothing");
        }
        if renew_deadline <= retry_period.mul_f64(1.0 + Self::JITTER) {
            return Err("the renew deadline must be more than 1.2 times the retry period");
        }
        if lease_duration < renew_deadline + retry_period {
            return Err("the lease duration must be longer than the renew deadline, by the retry period at least");
        }
        if lease_duration.subsec_nanos() != 0 || i32::try_from(lease_duration.as_secs()).is_err() {
            return Err("the lease duration must be whole seconds");
        }
        Ok(())
    }
}

/// What a lease without a holder lasts that its holder gave back, s: as the components of Kubernetes write it.
const GIVEN_BACK: u64 = 1;

/// What cannot be added up is very late.
fn after(now: Instant, time: Duration) -> Instant {
    now.checked_add(time).unwrap_or_else(|| now + Duration::from_secs(u32::MAX.into()))
}

/// What is to be done about the lease now.
#[derive(Clone, Debug, PartialEq)]
pub enum Move {
    /// Make it.
    Create(Box<Lease>),
    /// Replace the one that was seen, which the API server refuses when it changed since.
    Replace(Box<Lease>),
    /// It is somebody else's.
    Wait,
}

/// Whose the lease is, as far as this process may rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not this process's.
    Following,
    /// This process's, until then at least.
    Leading {
        /// When it ends without a renewal, for its holder.
        until: Instant,
    },
    /// It was this process's and is no more, or nobody knows: for good, since what was begun must not go on.
    Lost,
}

/// The lease as it was seen last.
#[derive(Clone, Debug)]
struct Seen {
    lease: Lease,
    /// Whether it is there: one that was deleted still counts until it would have ended.
    there: bool,
    /// When it is free for others than its holder.
    free: Instant,
}

impl Seen {
    fn spec(&self) -> LeaseSpec {
        self.lease.spec.clone().unwrap_or_default()
    }

    fn holder(&self) -> Option<String> {
        self.spec().holder_identity.filter(|holder| !holder.is_empty())
    }
}

/// One candidate for a lease.
#[derive(Clone, Debug)]
pub struct Election {
    name: String,
    identity: String,
    timing: Timing,
    seen: Option<Seen>,
    /// When the last renewal that succeeded was begun.
    renewed: Option<Instant>,
}

impl Election {
    /// A candidate of an identity that no other process has, for the lease of a name.
    pub fn new(name: &str, identity: &str, timing: Timing) -> Self {
        Self { name: name.into(), identity: identity.into(), timing, seen: None, renewed: None }
    }

    /// Takes in what the API server has. A lease that did not change was seen before, however often it is read; one that was
    /// deleted is waited out.
    pub fn saw(&mut self, lease: Option<Lease>, now: Instant) {
        match (lease, &mut self.seen) {
            (None, seen) => seen.iter_mut().for_each(|seen| seen.there = false),
            (Some(lease), Some(seen)) if lease.spec == seen.lease.spec => {
                (seen.lease, seen.there) = (lease, true);
            }
            (Some(lease), seen) => {
                let spec = lease.spec.clone().unwrap_or_default();
                let held = spec.holder_identity.is_some_and(|holder| !holder.is_empty());
                let lasts = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
                let before = seen.as_ref().map(|seen| seen.free);
                let free = match (held, before) {
                    (true, _) => after(now, lasts.map_or(self.timing.lease_duration, Duration::from_secs)),
                    // As its holder gives it back. What somebody else took from him, he may not know yet.
                    (false, _) if lasts == Some(GIVEN_BACK) => now,
                    (false, before) => before.unwrap_or(now),
                };
                *seen = Some(Seen { lease, there: true, free });
            }
        }
    }

    /// Takes in that a [`Move`] succeeded that was begun at `begun`, and what the API server made of it.
    pub fn wrote(&mut self, lease: Lease, begun: Instant, now: Instant) {
        self.saw(Some(lease), now);
        if self.is_mine() {
            self.renewed = Some(begun);
        }
    }

    fn is_mine(&self) -> bool {
        self.seen.as_ref().and_then(Seen::holder).is_some_and(|holder| holder == self.identity)
    }

    /// When somebody else's lease ends, as far as this process can tell.
    fn ends(&self) -> Option<Instant> {
        self.seen.as_ref().filter(|_| !self.is_mine()).map(|seen| seen.free)
    }

    /// What to do about the lease. `wall` is the time that is written into it.
    pub fn next(&self, now: Instant, wall: Timestamp) -> Move {
        if self.ends().is_some_and(|end| now < end) {
            return Move::Wait;
        }
        let before = self.seen.as_ref().map(Seen::spec).unwrap_or_default();
        let wall = MicroTime(wall);
        let mine = self.is_mine();
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.timing.lease_duration.as_secs()).ok(),
            acquire_time: if mine { before.acquire_time } else { Some(wall.clone()) },
            renew_time: Some(wall),
            lease_transitions: match &self.seen {
                None => Some(0),
                Some(_) if mine => before.lease_transitions,
                Some(_) => Some(before.lease_transitions.unwrap_or(0).saturating_add(1)),
            },
            preferred_holder: before.preferred_holder,
            strategy: before.strategy,
        };
        match &self.seen {
            Some(Seen { lease, there: true, .. }) => {
                Move::Replace(Box::new(Lease { spec: Some(spec), ..lease.clone() }))
            }
            Some(_) | None => {
                let mut lease = Lease { spec: Some(spec), ..Lease::default() };
                lease.metadata.name = Some(self.name.clone());
                Move::Create(Box::new(lease))
            }
        }
    }

    /// The lease without a holder, if it is this process's to give back. It ends at once for everybody.
    pub fn given_back(&self, wall: Timestamp) -> Option<Lease> {
        let seen = self.seen.as_ref().filter(|seen| seen.there && self.is_mine())?;
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: i32::try_from(GIVEN_BACK).ok(),
            renew_time: Some(MicroTime(wall)),
            ..seen.spec()
        };
        Some(Lease { spec: Some(spec), ..seen.lease.clone() })
    }

    /// Whose the lease is.
    pub fn standing(&self, now: Instant) -> Standing {
        let Some(renewed) = self.renewed else { return Standing::Following };
        let until = renewed + self.timing.renew_deadline;
        if self.is_mine() && now < until { Standing::Leading { until } } else { Standing::Lost }
    }

    /// How long to wait for the next attempt. `share` is from 0 to 1 and sets those apart who wait for the same.
    pub fn pause(&self, now: Instant, share: f64) -> Duration {
        let period = self.timing.retry_period;
        let left = |end: Instant| end.saturating_duration_since(now);
        match self.standing(now) {
            Standing::Leading { until } => period.min(left(until)),
            Standing::Lost => Duration::ZERO,
            Standing::Following => {
                let pause = period.mul_f64(1.0 + Timing::JITTER * share.clamp(0.0, 1.0));
                // Who holds it no more is followed at once, but not in a hot loop when the API server fails.
                let shortest = period / 10;
                self.ends().filter(|end| *end > now).map_or(pause, |end| pause.min(left(end).max(shortest)))
            }
        }
    }

    /// Who holds the lease, as it was seen last; for people.
    pub fn holder(&self) -> Option<String> {
        self.seen.as_ref().filter(|seen| seen.there).and_then(Seen::holder)
    }
}
