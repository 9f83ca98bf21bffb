//! Concurrency limits. Each account and region has workers of its own, so that a region or credentials that do not answer delay no
//! others. Among the objects of one account and region no namespace takes all workers, and polls leave some to edits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Resource;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::controller::Settings;
use crate::controller::resource::Lane;

/// Time between two checks of what a waiting reconcile needs.
const CHANGE_INTERVAL: Duration = Duration::from_secs(2);

/// Maximum number of workers of a lane that one namespace takes: a quarter is left to others. A namespace that is watched by its name
/// has its own workers.
fn max_per_namespace(settings: &Settings) -> u16 {
    let Settings { workers, namespaces, .. } = settings;
    if namespaces.is_empty() { workers - workers / 4 } else { *workers }
}

/// What a reconcile needs a permit for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::controller) struct Need {
    pub(in crate::controller) lane: Lane,
    pub(in crate::controller) namespace: String,
    /// Whether the reconcile only polls the cloud.
    pub(in crate::controller) polls: bool,
}

/// The scope of a limit: a lane, or a namespace in it; and whether it limits only polls.
type Counted = (Lane, Option<String>, bool);

/// Limits the concurrent reconciles of a kind.
pub(in crate::controller) struct Limits {
    per_lane: usize,
    per_namespace: usize,
    all: Mutex<HashMap<Counted, Arc<Semaphore>>>,
}

/// Permission for one reconcile. Dropping it returns it.
pub(in crate::controller) struct Permit<'a> {
    limits: &'a Limits,
    held: Vec<OwnedSemaphorePermit>,
}

impl Limits {
    /// The limits of the command line.
    pub(in crate::controller) fn new(settings: &Settings) -> Self {
        Self::of(settings.workers, max_per_namespace(settings))
    }

    fn of(per_lane: u16, per_namespace: u16) -> Self {
        let at_least_one = |limit: u16| usize::from(limit.max(1));
        Self { per_lane: at_least_one(per_lane), per_namespace: at_least_one(per_namespace), all: Mutex::default() }
    }

    /// Waits for a permit for what `need` returns of the newest version of an object, which may change meanwhile. `None` where the object
    /// is gone.
    pub(in crate::controller) async fn acquire_for<K: Resource>(
        &self,
        newest: impl Fn() -> Option<Arc<K>>,
        need: impl Fn(&Arc<K>) -> Need,
    ) -> Option<Permit<'_>> {
        loop {
            let object = newest()?;
            let (needed, mut version) = (need(&object), object.meta().resource_version.clone());
            drop(object);
            let changed = async {
                // Thousands may wait: what an unchanged version needs is not asked again.
                while let Some(object) = newest()
                    && (object.meta().resource_version == version || need(&object) == needed)
                {
                    version.clone_from(&object.meta().resource_version);
                    drop(object);
                    tokio::time::sleep(CHANGE_INTERVAL).await;
                }
            };
            tokio::select! {
                biased;
                permit = self.acquire(&needed) => return Some(permit),
                () = changed => {}
            }
        }
    }

    /// Waits for a permit. Those of one namespace, and of one lane, are given in the order of the calls.
    pub(in crate::controller) async fn acquire(&self, need: &Need) -> Permit<'_> {
        let mut permit = Permit { limits: self, held: Vec::new() };
        // The narrow limits first: a wait for one of them holds no permit of the wider ones.
        for polls in [true, false] {
            for namespace in [Some(need.namespace.clone()), None] {
                if polls && !need.polls {
                    continue;
                }
                let semaphore = self.semaphore((need.lane.clone(), namespace, polls));
                // It is never closed.
                permit.held.extend(semaphore.acquire_owned().await);
            }
        }
        permit
    }

    fn semaphore(&self, of: Counted) -> Arc<Semaphore> {
        let limit = if of.1.is_some() { self.per_namespace } else { self.per_lane };
        // Polls leave one place, where there are two.
        let limit = if of.2 { (limit - 1).max(1) } else { limit };
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(of).or_insert_with(|| Arc::new(Semaphore::new(limit))).clone()
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.held.clear();
        // Nothing is kept of lanes and namespaces without reconciles.
        let mut all = self.limits.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn need(region: &str, namespace: &str, polls: bool) -> Need {
        Need { lane: (String::new(), region.to_owned()), namespace: namespace.to_owned(), polls }
    }

    #[test]
    fn namespace_never_takes_all_workers() {
        let limits = Limits::of(4, 2);
        let take = |namespace: &str| limits.acquire(&need("a", namespace, false)).now_or_never();
        let held = (take("a"), take("a"));
        assert!(held.0.is_some() && held.1.is_some() && take("a").is_none());
        assert!(take("b").is_some(), "another namespace has its own permits");
        drop(held.0);
        assert!(take("a").is_some());
        drop(held.1);
        assert!(limits.all.lock().expect("no panic").is_empty(), "nothing is kept of idle namespaces");
    }

    #[test]
    fn polls_leave_worker_to_edits() {
        let limits = Limits::of(4, 2);
        let poll = |namespace: &str| limits.acquire(&need("a", namespace, true)).now_or_never();
        let held = (poll("a"), poll("b"), poll("c"));
        assert!(held.0.is_some() && held.1.is_some() && held.2.is_some());
        assert!(poll("a").is_none() && poll("d").is_none(), "three of four workers, one of two permits");
        assert!(limits.acquire(&need("a", "a", false)).now_or_never().is_some());
    }

    #[test]
    fn blocked_region_delays_no_other() {
        let limits = Limits::of(2, 2);
        let take = |region: &str| limits.acquire(&need(region, "a", false)).now_or_never();
        let held = (take("dead"), take("dead"));
        assert!(held.0.is_some() && held.1.is_some() && take("dead").is_none());
        assert!(take("alive").is_some());
    }
}
