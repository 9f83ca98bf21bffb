//! The decisions of leader election: values in, value out. Times are arguments.
//!
//! Clocks of two machines are never compared. A lease expires one lease duration after this process observed its last
//! change, on its own monotonic clock. The times in the record are for people.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// Lease duration, renew deadline and retry period, as in client-go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long candidates wait after they observed the last change of the lease. The record has it in whole seconds.
    pub lease_duration: Duration,
    /// How long the holder keeps the lease after the begin of its last successful renewal.
    pub renew_deadline: Duration,
    /// Time between two attempts to acquire or renew the lease.
    pub retry_period: Duration,
}

impl Timing {
    /// Largest extra share of the retry period that a candidate waits, so that candidates do not retry all at once.
    const JITTER: f64 = 0.2;

    /// Checks that the holder gives the lease up well before a candidate can acquire it.
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

/// Lease duration of a released lease, s, as client-go writes it.
const RELEASED_LEASE_SECONDS: u64 = 1;

/// `now` plus `time`; very late when the sum overflows.
fn after(now: Instant, time: Duration) -> Instant {
    now.checked_add(time).unwrap_or_else(|| now + Duration::from_secs(u32::MAX.into()))
}

/// The next write of a candidate or holder.
#[derive(Clone, Debug, PartialEq)]
pub enum LeaseWrite {
    /// Create the lease.
    Create(Box<Lease>),
    /// Replace the observed lease; the API server refuses the write if the lease has changed since.
    Replace(Box<Lease>),
    /// None: another process holds the lease.
    Wait,
}

/// Whether this process may act as the holder of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// This process has not acquired the lease.
    Candidate,
    /// This process holds the lease.
    Holder {
        /// The end of the lease for its holder unless it renews the lease.
        renew_deadline: Instant,
    },
    /// This process held the lease, and another may hold it now. Final, since work that this process began must not
    /// continue.
    Lost,
}

/// The lease as this process observed it last.
#[derive(Clone, Debug)]
struct ObservedRecord {
    lease: Lease,
    /// Whether the API server still has it. A deleted lease counts until it would have expired.
    exists: bool,
    /// When processes other than the holder may acquire it.
    expires_at: Instant,
}

impl ObservedRecord {
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
    observed: Option<ObservedRecord>,
    /// The begin of the last successful renewal.
    renewed_at: Option<Instant>,
}

impl Election {
    /// A candidate for the lease `name`. No other process may have the same `identity`.
    pub fn new(name: &str, identity: &str, timing: Timing) -> Self {
        Self { name: name.into(), identity: identity.into(), timing, observed: None, renewed_at: None }
    }

    /// Records the lease that the API server returned. An unchanged record keeps its expiry, however often this process
    /// reads it. A deleted lease still has to expire.
    pub fn observe(&mut self, lease: Option<Lease>, now: Instant) {
        let Some(lease) = lease else {
            if let Some(observed) = &mut self.observed {
                observed.exists = false;
            }
            return;
        };
        if let Some(observed) = &mut self.observed
            && observed.lease.spec == lease.spec
        {
            (observed.lease, observed.exists) = (lease, true);
            return;
        }
        let spec = lease.spec.clone().unwrap_or_default();
        let held = spec.holder_identity.is_some_and(|holder| !holder.is_empty());
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let expires_at = if held {
            after(now, seconds.map_or(self.timing.lease_duration, Duration::from_secs))
        } else if seconds == Some(RELEASED_LEASE_SECONDS) {
            now
        } else {
            // The holder did not release it: another actor cleared the holder, and that process may not know yet.
            self.observed.as_ref().map_or(now, |observed| observed.expires_at)
        };
        self.observed = Some(ObservedRecord { lease, exists: true, expires_at });
    }

    /// Records a successful write that began at `begun`, with the lease that the API server returned.
    pub fn record_write(&mut self, lease: Lease, begun: Instant, now: Instant) {
        self.observe(Some(lease), now);
        if self.is_holder() {
            self.renewed_at = Some(begun);
        }
    }

    fn is_holder(&self) -> bool {
        self.observed.as_ref().and_then(ObservedRecord::holder).is_some_and(|holder| holder == self.identity)
    }

    /// Expiry of a lease that another process holds, by this process's clock.
    fn expiry_of_other_holder(&self) -> Option<Instant> {
        self.observed.as_ref().filter(|_| !self.is_holder()).map(|observed| observed.expires_at)
    }

    /// The next write. `wall` is the time that the record gets.
    pub fn next_write(&self, now: Instant, wall: Timestamp) -> LeaseWrite {
        if self.expiry_of_other_holder().is_some_and(|expiry| now < expiry) {
            return LeaseWrite::Wait;
        }
        let before = self.observed.as_ref().map(ObservedRecord::spec).unwrap_or_default();
        let wall = MicroTime(wall);
        let is_holder = self.is_holder();
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.timing.lease_duration.as_secs()).ok(),
            acquire_time: if is_holder { before.acquire_time } else { Some(wall.clone()) },
            renew_time: Some(wall),
            lease_transitions: match &self.observed {
                None => Some(0),
                Some(_) if is_holder => before.lease_transitions,
                Some(_) => Some(before.lease_transitions.unwrap_or(0).saturating_add(1)),
            },
            preferred_holder: before.preferred_holder,
            strategy: before.strategy,
        };
        match &self.observed {
            Some(ObservedRecord { lease, exists: true, .. }) => {
                LeaseWrite::Replace(Box::new(Lease { spec: Some(spec), ..lease.clone() }))
            }
            Some(_) | None => {
                let mut lease = Lease { spec: Some(spec), ..Lease::default() };
                lease.metadata.name = Some(self.name.clone());
                LeaseWrite::Create(Box::new(lease))
            }
        }
    }

    /// The lease without a holder, if this process holds it. Every candidate may acquire it at once.
    pub fn released(&self, wall: Timestamp) -> Option<Lease> {
        let observed = self.observed.as_ref().filter(|observed| observed.exists && self.is_holder())?;
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: i32::try_from(RELEASED_LEASE_SECONDS).ok(),
            renew_time: Some(MicroTime(wall)),
            ..observed.spec()
        };
        Some(Lease { spec: Some(spec), ..observed.lease.clone() })
    }

    /// Whether this process holds the lease at `now`.
    pub fn state(&self, now: Instant) -> LeaseState {
        let Some(renewed_at) = self.renewed_at else { return LeaseState::Candidate };
        let renew_deadline = renewed_at + self.timing.renew_deadline;
        if self.is_holder() && now < renew_deadline { LeaseState::Holder { renew_deadline } } else { LeaseState::Lost }
    }

    /// Time until the next attempt. `jitter` is from 0 to 1 and spreads the attempts of several candidates.
    pub fn retry_delay(&self, now: Instant, jitter: f64) -> Duration {
        let period = self.timing.retry_period;
        match self.state(now) {
            LeaseState::Holder { renew_deadline } => period.min(renew_deadline.saturating_duration_since(now)),
            LeaseState::Lost => Duration::ZERO,
            LeaseState::Candidate => {
                let delay = period.mul_f64(1.0 + Timing::JITTER * jitter.clamp(0.0, 1.0));
                // A candidate acquires an expired lease at once, but not in a hot loop while the API server fails.
                let min_delay = period / 10;
                match self.expiry_of_other_holder() {
                    Some(expiry) if expiry > now => delay.min(expiry.saturating_duration_since(now).max(min_delay)),
                    Some(_) | None => delay,
                }
            }
        }
    }

    /// The observed holder, for logs and errors.
    pub fn holder(&self) -> Option<String> {
        self.observed.as_ref().filter(|observed| observed.exists).and_then(ObservedRecord::holder)
    }
}
