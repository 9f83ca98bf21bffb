//! Whose turn it is: where several namespaces share an operator, none takes all its workers, and polls leave some to edits.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::controller::Settings;

/// How many workers of a kind one namespace may take. One that is watched by its name has workers of its own.
pub(in crate::controller) fn most(settings: &Settings) -> u16 {
    if settings.namespaces.is_empty() { settings.workers.div_ceil(2) } else { settings.workers }
}

/// When to ask for a turn again: not all at once.
pub(in crate::controller) fn again(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(1.0..3.0))
}

/// The passes in hand of each namespace.
pub(in crate::controller) struct NamespaceLimit {
    most: u16,
    taken: Mutex<HashMap<String, u16>>,
}

/// A turn of a namespace, given back when it is dropped.
pub(in crate::controller) struct Permit<'a> {
    turns: &'a NamespaceLimit,
    namespace: String,
}

impl NamespaceLimit {
    /// So many turns for each namespace.
    pub(in crate::controller) fn new(most: u16) -> Self {
        Self { most: most.max(1), taken: Mutex::default() }
    }

    /// A turn, if the namespace has one left.
    pub(in crate::controller) fn take(&self, namespace: String) -> Option<Permit<'_>> {
        let mut all = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = all.entry(namespace.clone()).or_default();
        if *taken >= self.most {
            return None;
        }
        *taken += 1;
        Some(Permit { turns: self, namespace })
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut all = self.turns.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = all.get_mut(&self.namespace) {
            *taken = taken.saturating_sub(1);
        }
        all.retain(|_, taken| *taken > 0);
    }
}

/// The turns of polls, of all namespaces and of each: one worker at least is left for edits of all, and one turn for edits of
/// each.
pub(in crate::controller) struct PollLimit {
    all: Semaphore,
    each: NamespaceLimit,
}

impl PollLimit {
    /// For a kind with so many workers, and so many turns for each namespace.
    pub(in crate::controller) fn new(workers: u16, each: u16) -> Self {
        let all = Semaphore::new(usize::from(workers.saturating_sub(1).max(1)));
        Self { all, each: NamespaceLimit::new(each.saturating_sub(1)) }
    }

    /// A turn for a poll, if there is one.
    pub(in crate::controller) fn take(&self, namespace: String) -> Option<(SemaphorePermit<'_>, Permit<'_>)> {
        let turn = self.each.take(namespace)?;
        Some((self.all.try_acquire().ok()?, turn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_namespace_takes_all_the_turns() {
        let turns = NamespaceLimit::new(2);
        let take = |namespace: &str| turns.take(namespace.to_owned());
        let held = (take("a"), take("a"));
        assert!(held.0.is_some() && held.1.is_some() && take("a").is_none());
        assert!(take("b").is_some(), "another one has its own");
        drop(held.0);
        assert!(take("a").is_some());
        drop(held.1);
        assert!(turns.taken.lock().expect("nobody panicked").is_empty(), "nothing is kept of those that went");
    }

    #[test]
    fn polls_leave_a_worker_and_a_turn_of_their_namespace() {
        let polls = PollLimit::new(4, 2);
        let held = polls.take("a".into());
        assert!(held.is_some() && polls.take("a".into()).is_none(), "one of two turns");
        let others = (polls.take("b".into()), polls.take("c".into()));
        assert!(others.0.is_some() && others.1.is_some() && polls.take("d".into()).is_none(), "three of four workers");
        drop(held);
        assert!(polls.take("d".into()).is_some());
    }
}
