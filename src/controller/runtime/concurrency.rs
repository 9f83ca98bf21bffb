//! Concurrency limits: no namespace takes all workers of a shared operator, and polls leave some workers to edits.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::controller::Settings;

/// Maximum number of workers of a kind that one namespace takes. A namespace that is watched by its name has its own workers.
pub(in crate::controller) fn max_per_namespace(settings: &Settings) -> u16 {
    if settings.namespaces.is_empty() { settings.workers.div_ceil(2) } else { settings.workers }
}

/// The time until the next attempt to get a permit. The jitter keeps waiting objects from trying at once.
pub(in crate::controller) fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(rand::random_range(1.0..3.0))
}

/// Limits the concurrent reconciles of each namespace.
pub(in crate::controller) struct NamespaceLimit {
    max: u16,
    taken: Mutex<HashMap<String, u16>>,
}

/// Permission for one reconcile in a namespace. Dropping it returns it.
pub(in crate::controller) struct Permit<'a> {
    limit: &'a NamespaceLimit,
    namespace: String,
}

impl NamespaceLimit {
    /// Limits each namespace to `max` reconciles, at least one.
    pub(in crate::controller) fn new(max: u16) -> Self {
        Self { max: max.max(1), taken: Mutex::default() }
    }

    /// A permit, if the namespace has one left.
    pub(in crate::controller) fn take(&self, namespace: String) -> Option<Permit<'_>> {
        let mut all = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = all.entry(namespace.clone()).or_default();
        if *taken >= self.max {
            return None;
        }
        *taken += 1;
        Some(Permit { limit: self, namespace })
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut all = self.limit.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = all.get_mut(&self.namespace) {
            *taken = taken.saturating_sub(1);
        }
        all.retain(|_, taken| *taken > 0);
    }
}

/// Limits concurrent polls, of all namespaces and of each: at least one worker stays free for edits, and one permit of each
/// namespace.
pub struct PollLimit {
    all: Semaphore,
    each: NamespaceLimit,
}

impl PollLimit {
    /// Limits for a kind with `workers` workers, and `each` permits for each namespace.
    pub fn new(workers: u16, each: u16) -> Self {
        let all = Semaphore::new(usize::from(workers.saturating_sub(1).max(1)));
        Self { all, each: NamespaceLimit::new(each.saturating_sub(1)) }
    }

    /// A permit for a poll, if there is one.
    pub(in crate::controller) fn take(&self, namespace: String) -> Option<(SemaphorePermit<'_>, Permit<'_>)> {
        let permit = self.each.take(namespace)?;
        Some((self.all.try_acquire().ok()?, permit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespace_never_takes_all_permits() {
        let limit = NamespaceLimit::new(2);
        let take = |namespace: &str| limit.take(namespace.to_owned());
        let held = (take("a"), take("a"));
        assert!(held.0.is_some() && held.1.is_some() && take("a").is_none());
        assert!(take("b").is_some(), "another namespace has its own permits");
        drop(held.0);
        assert!(take("a").is_some());
        drop(held.1);
        assert!(limit.taken.lock().expect("no panic").is_empty(), "nothing is kept of idle namespaces");
    }

    #[test]
    fn polls_leave_worker_and_permit_to_edits() {
        let polls = PollLimit::new(4, 2);
        let held = polls.take("a".into());
        assert!(held.is_some() && polls.take("a".into()).is_none(), "one of two permits");
        let others = (polls.take("b".into()), polls.take("c".into()));
        assert!(others.0.is_some() && others.1.is_some() && polls.take("d".into()).is_none(), "three of four workers");
        drop(held);
        assert!(polls.take("d".into()).is_some());
    }
}
