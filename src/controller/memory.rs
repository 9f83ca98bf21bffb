//! The memory of an object between the reconciles of this process. No part of it must survive a crash.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::absence::Absences;
use super::access::InventoryKey;
use super::evidence::packed::PackedTime;
use crate::cloud::error::Error;

/// The memory of an object.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The number of failures in a row.
    pub failures: u32,
    /// The number of reconciles in a row that did not find the cloud in sync.
    pub busy: u32,
    /// The time of the last complete observation by a reconcile.
    pub observed: PackedTime,
    /// The expiry of the evidence that the cloud side is listed as the last reconcile observed it.
    pub listed_until: PackedTime,
    /// The expiry of the evidence that the parts of the cloud side are as the last reconcile observed them.
    pub detailed_until: PackedTime,
    /// The error of the inventory that shows the object, while it lasts.
    pub unlisted: Option<Box<Error>>,
    /// The inventory that shows the object.
    pub inventory: Option<InventoryKey>,
    /// Whether the cache was proven to be as new as the leadership of this process: it contains the writes of the others.
    pub caught_up: bool,
    /// When this process began to take over the object from one with another lease.
    pub taking_over: Option<Instant>,
    /// The last logged reason of `Synced`, until the next observation.
    pub logged_failure: Option<&'static str>,
    /// The parts of the cloud side that the observations do not show.
    pub absences: Absences,
    /// The statuses that were written between reconciles.
    pub refreshed: Refreshed,
    /// Whether a reconcile is in progress, which may have read an older version than the cache shows.
    pub reconciling: bool,
    /// The versions of the object that this process replaced. A cache that shows one of them is late.
    pub replaced: Replaced,
    /// Held during each write of the object. It may be absent while nothing holds it or waits for it.
    pub writing: Option<Arc<Mutex<()>>>,
}

/// The newest status that was written between reconciles. A reconcile that has an earlier version may replace it.
#[derive(Clone, Debug, Default)]
pub struct Refreshed(Option<Box<Written>>);

#[derive(Clone, Debug)]
struct Written {
    /// The versions of the object, each written on top of the one before it, the newest last.
    versions: VecDeque<String>,
    /// The status of the newest version.
    status: Arc<dyn Any + Send + Sync>,
}

/// The newest versions of an object that this process wrote on top of, and the last one that it wrote. An empty text stands for what
/// another actor wrote between two of them.
#[derive(Clone, Debug, Default)]
pub struct Replaced(Box<[String]>);

/// Maximum number of versions that a reconcile in progress may have read.
const MAX_VERSIONS: usize = 32;

impl Memory {
    /// The expiry of the evidence that the cloud side is as the last reconcile observed it.
    pub fn observed_until(&self) -> Option<Timestamp> {
        Some(self.listed_until.get()?.min(self.detailed_until.get()?))
    }

    /// Forgets what only a later cache needs: it shows this version now, and shows no older one again.
    pub fn shown(&mut self, version: &str) {
        if self.reconciling || self.replaced.contains(version) {
            return;
        }
        self.replaced = Replaced::default();
        self.writing.take_if(|it| Arc::strong_count(it) == 1);
        if self.refreshed.newest() == Some(version) {
            self.refreshed = Refreshed::default();
        }
    }

    /// Whether to log a failed observation with this reason. Polls that fail for the same reason are logged once.
    pub fn is_news(&mut self, reason: &'static str) -> bool {
        self.logged_failure.replace(reason) != Some(reason)
    }
}

impl Refreshed {
    /// Records a status that was written on top of a version.
    pub fn record<S: Any + Send + Sync>(&mut self, before: String, after: String, status: S) {
        let known = self.0.take().map(|it| it.versions).filter(|it| it.back() == Some(&before));
        let mut versions = known.unwrap_or_else(|| VecDeque::from([before]));
        versions.push_back(after);
        if versions.len() > MAX_VERSIONS {
            versions.pop_front();
        }
        self.0 = Some(Box::new(Written { versions, status: Arc::new(status) }));
    }

    fn newest(&self) -> Option<&str> {
        self.0.as_ref()?.versions.back().map(String::as_str)
    }

    /// The newest version on top of this one.
    pub fn on_top_of(&self, version: &str) -> Option<&str> {
        let newest = self.newest().filter(|newest| *newest != version)?;
        self.0.iter().flat_map(|it| &it.versions).any(|it| it == version).then_some(newest)
    }

    /// The status of the newest version.
    pub fn status<S: Any + Send + Sync>(&self) -> Option<Arc<S>> {
        self.0.as_ref()?.status.clone().downcast().ok()
    }
}

impl Replaced {
    /// Records a write on top of a version. A write without effect replaces nothing.
    pub fn record(&mut self, before: String, after: &str) {
        if before == after {
            return;
        }
        let mut all = std::mem::take(&mut self.0).into_vec();
        if all.pop().is_some_and(|last| last != before) {
            all.push(String::new());
        }
        all.extend([before, after.to_owned()]);
        let surplus = all.len().saturating_sub(MAX_VERSIONS + 1);
        self.0 = all.into_iter().skip(surplus).collect();
    }

    /// Whether this process replaced a version.
    pub fn contains(&self, version: &str) -> bool {
        let is_known = |it: &String| !it.is_empty() && it == version;
        self.0.split_last().is_some_and(|(_, replaced)| replaced.iter().any(is_known))
    }

    /// Whether this process wrote a version.
    pub fn has_written(&self, version: &str) -> bool {
        self.0.windows(2).any(|pair| pair[1] == version && pair.iter().all(|it| !it.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_reason_is_logged_once_per_outage() {
        let mut memory = Memory::default();
        let reasons = ["CloudUnavailable", "CloudUnavailable", "AccessDenied", "AccessDenied", "CloudUnavailable"];
        assert_eq!(reasons.map(|reason| memory.is_news(reason)), [true, false, true, false, true]);
        memory.logged_failure = None;
        assert!(memory.is_news("CloudUnavailable"));
    }

    #[test]
    fn only_own_writes_are_replaced() {
        let mut refreshed = Refreshed::default();
        refreshed.record("1".into(), "2".into(), ());
        refreshed.record("2".into(), "5".into(), ());
        let newest = |refreshed: &Refreshed, version| refreshed.on_top_of(version).map(str::to_owned);
        assert_eq!(
            ["1", "2", "3", "5"].map(|it| newest(&refreshed, it)),
            [Some("5".into()), Some("5".into()), None, None]
        );
        // Another actor wrote version 6.
        refreshed.record("6".into(), "7".into(), ());
        assert_eq!(["5", "6"].map(|it| newest(&refreshed, it)), [None, Some("7".into())]);
    }

    #[test]
    fn only_the_newest_version_outside_of_reconciles_ends_their_memory() {
        let mut memory = Memory::default();
        memory.replaced.record("1".into(), "2");
        memory.refreshed.record("1".into(), "2".into(), ());
        let is_kept = |memory: &Memory| (memory.replaced.contains("1"), memory.refreshed.on_top_of("1").is_some());
        memory.shown("1");
        assert_eq!(is_kept(&memory), (true, true), "the cache is late");
        memory.reconciling = true;
        memory.shown("2");
        assert_eq!(is_kept(&memory), (true, true), "the reconcile may have read the version before");
        memory.reconciling = false;
        memory.shown("2");
        assert_eq!(is_kept(&memory), (false, false));
    }

    #[test]
    fn write_without_effect_replaces_nothing() {
        let mut replaced = Replaced::default();
        replaced.record("1".into(), "2");
        replaced.record("2".into(), "2");
        assert_eq!(["1", "2"].map(|it| replaced.contains(it)), [true, false]);
    }

    #[test]
    fn version_between_own_writes_is_not_written() {
        let mut replaced = Replaced::default();
        assert!(!replaced.has_written("1"));
        // Another actor wrote 4.
        for (before, after) in [("1", "2"), ("2", "3"), ("4", "5")] {
            replaced.record(before.into(), after);
        }
        let all = ["1", "2", "3", "4", "5", ""];
        assert_eq!(all.map(|it| replaced.contains(it)), [true, true, false, true, false, false]);
        assert_eq!(all.map(|it| replaced.has_written(it)), [false, true, false, false, true, false]);
        for number in 5..200 {
            replaced.record(number.to_string(), &(number + 1).to_string());
        }
        assert!(replaced.0.len() <= MAX_VERSIONS + 1 && replaced.has_written("200") && !replaced.has_written("5"));
    }
}
