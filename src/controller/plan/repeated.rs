//! A read that is repeated to find differences. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::Scope;
use crate::cloud::error::Class;
use crate::controller::evidence::packed::PackedTime;

/// A read that is repeated to find differences.
#[derive(Clone, Debug, Default)]
pub struct Repeated {
    /// What the last reconcile observed, as a hash.
    pub fingerprint: Option<u64>,
    /// The start of the last read that succeeded.
    read: PackedTime,
    /// The number of failures in a row, and the time of the next attempt after them.
    pub failures: u32,
    retry: PackedTime,
}

impl Repeated {
    /// Records what a reconcile observed at this time.
    pub fn observed(&mut self, fingerprint: Option<u64>, at: Timestamp) {
        if fingerprint.is_some() {
            self.fingerprint = fingerprint;
        }
        self.succeeded(at);
    }

    /// Records a read that began at this time.
    pub fn succeeded(&mut self, at: Timestamp) {
        (self.read, self.failures, self.retry) = (self.read.get().max(Some(at)).into(), 0, None.into());
    }

    /// Records a failed read.
    pub fn failed(&mut self, scope: &Scope<'_>, class: Class) {
        self.failures += 1;
        self.retry = scope.now.checked_add(scope.intervals.failed_read(class, self.failures)).ok().into();
    }

    /// The time of the next read.
    pub fn due(&self, now: Timestamp, interval: Duration) -> Timestamp {
        let regular = self.read.get().and_then(|read| read.checked_add(interval).ok());
        self.retry.get().or(regular).unwrap_or(now)
    }
}
