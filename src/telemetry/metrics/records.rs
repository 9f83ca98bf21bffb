//! The numbers of all objects, one record each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Record;
use super::family::Object;

/// Maximum number of consumer groups of all plans with series of their own.
pub(super) const MAX_GROUPS: usize = 50_000;

/// Number of consumer groups below which a further lack of series is logged again.
const FEW_GROUPS: usize = MAX_GROUPS / 10 * 9;

/// Key of an object. Objects of different kinds may share a name.
#[derive(Clone, Debug)]
pub(super) struct Key {
    kind: &'static str,
    /// Namespace and name, separated by a slash.
    path: Arc<str>,
}

impl Key {
    pub(super) fn new(kind: &'static str, namespace: &str, name: &str) -> Self {
        Self { kind, path: format!("{namespace}/{name}").into() }
    }

    pub(super) fn object(&self) -> Object<'_> {
        let (namespace, name) = self.path.split_once('/').unwrap_or_default();
        Object { kind: self.kind, namespace, name }
    }
}

/// The records of all objects at one time.
pub(super) type Snapshot = Vec<(Key, Arc<Record>)>;

/// The records of all objects.
#[derive(Debug, Default)]
pub(super) struct Records(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    /// By kind and path.
    records: BTreeMap<&'static str, BTreeMap<Arc<str>, Arc<Record>>>,
    /// Number of consumer groups in them.
    groups: usize,
    /// Whether the lack of series was logged.
    lack_is_logged: bool,
}

impl All {
    fn update<R>(&mut self, key: Key, change: impl FnOnce(&mut Record) -> R) -> R {
        // Copies a record that a scrape holds, which is short since its parts are shared.
        let record = Arc::make_mut(self.records.entry(key.kind).or_default().entry(key.path).or_default());
        let former = record.group_count;
        let result = change(record);
        self.groups = self.groups - former + record.group_count;
        result
    }
}

impl Records {
    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the record of an object, and creates it if there is none. The caller drops what `change` returns without the lock.
    pub(super) fn update<R>(&self, key: Key, change: impl FnOnce(&mut Record) -> R) -> R {
        self.lock().update(key, change)
    }

    /// Counts consumer groups for an object, up to the number that it wants, and returns how many it may have series for.
    pub(super) fn reserve_groups(&self, key: Key, wanted: usize) -> usize {
        let mut all = self.lock();
        let others = all.groups
            - all.records.get(key.kind).and_then(|it| it.get(&key.path)).map_or(0, |record| record.group_count);
        let reserved = wanted.min(MAX_GROUPS.saturating_sub(others));
        all.update(key, |record| record.group_count = reserved);
        let is_new = reserved < wanted && !all.lack_is_logged;
        all.lack_is_logged = reserved < wanted || (all.lack_is_logged && all.groups >= FEW_GROUPS);
        drop(all);
        if is_new {
            tracing::warn!(
                max_groups = MAX_GROUPS,
                "Some consumer groups have no series: all plans together have too many. Plans report them again once others \
                 leave. Set --group-metrics=false to have none."
            );
        }
        reserved
    }

    pub(super) fn remove(&self, key: &Key) {
        let mut all = self.lock();
        let former = all.records.get_mut(key.kind).and_then(|it| it.remove(&key.path));
        all.groups -= former.as_ref().map_or(0, |record| record.group_count);
        drop(all);
    }

    /// The records at this time, in the order of their keys.
    pub(super) fn snapshot(&self) -> Snapshot {
        let all = self.lock();
        let records = all.records.iter().flat_map(|(kind, records)| records.iter().map(move |it| (*kind, it)));
        records.map(|(kind, (path, record))| (Key { kind, path: path.clone() }, record.clone())).collect()
    }
}
