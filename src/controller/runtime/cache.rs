//! The cache of one watch: which objects changed by an event, and which must be reconciled.
//!
//! No event reports objects that were deleted while a watch was broken: the relist after it shows them. A relist changes the cache object
//! by object, so that no object is in memory twice.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::Event;

use super::unreadable::Report;
use crate::controller::access::Key;
use crate::controller::cached::Cached;
use crate::controller::decode::Decoded;
use crate::controller::resource::Object;

/// An object as a watch shows it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen<K> {
    /// It parses.
    Readable(Arc<Cached<K>>),
    /// It does not parse.
    Unreadable(Report),
}

/// One object before and after an event; `None` where it does not exist.
#[derive(Debug, PartialEq)]
pub(super) struct Change<K> {
    pub(super) name: Key,
    pub(super) before: Option<Seen<K>>,
    pub(super) after: Option<Seen<K>>,
}

/// The consequences of an event.
#[derive(Debug, PartialEq)]
pub(super) struct Applied<K> {
    pub(super) changes: Vec<Change<K>>,
    /// The objects to reconcile. The cache has them.
    pub(super) reconcile: Vec<Arc<Cached<K>>>,
}

/// The cache of one watch. Objects that do not parse have only a report.
pub(super) struct Cache<K: Object> {
    store: Store<Cached<K>>,
    writer: Writer<Cached<K>>,
    /// Whether a list was complete. Before, [`Writer`] keeps the objects back.
    filled: bool,
    unreadable: HashMap<Key, Report>,
    /// During a relist: the objects that it has not shown yet.
    unlisted: HashSet<Key>,
}

impl<K> Seen<K> {
    /// The object, if it parses.
    pub(super) fn readable(&self) -> Option<&Arc<Cached<K>>> {
        match self {
            Self::Readable(object) => Some(object),
            Self::Unreadable(_) => None,
        }
    }

    /// The report of an object that does not parse.
    pub(super) fn report(&self) -> Option<&Report> {
        match self {
            Self::Readable(_) => None,
            Self::Unreadable(report) => Some(report),
        }
    }
}

impl<K: Object> Change<K> {
    /// The object to reconcile. Status writes are the operator's own. Annotations request work: the cache has only those of the
    /// operator, so that others trigger nothing. The last finalizer ends the object. A repair may have changed only the status.
    fn to_reconcile(&self) -> Option<&Arc<Cached<K>>> {
        let after = self.after.as_ref().and_then(Seen::readable)?;
        let Some(before) = self.before.as_ref().and_then(Seen::readable) else { return Some(after) };
        before.is_changed_in(after).then_some(after)
    }
}

impl<K: Object> Cache<K> {
    /// An empty cache.
    pub(super) fn new() -> Self {
        let (store, writer) = reflector::store::<Cached<K>>();
        Self { store, writer, filled: false, unreadable: HashMap::new(), unlisted: HashSet::new() }
    }

    /// The objects that parse.
    pub(super) fn store(&self) -> &Store<Cached<K>> {
        &self.store
    }

    /// Whether a list was complete.
    pub(super) fn is_filled(&self) -> bool {
        self.filled
    }

    /// Applies an event.
    pub(super) fn apply(&mut self, event: Event<Decoded<K>>) -> Applied<K> {
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                let change = self.shown(object);
                let reconcile = change.to_reconcile().filter(|_| self.filled).cloned();
                Applied { changes: vec![change], reconcile: reconcile.into_iter().collect() }
            }
            Event::Delete(object) => {
                let change = self.gone((object.namespace().unwrap_or_default(), object.name_any()));
                Applied { changes: vec![change], reconcile: vec![] }
            }
            Event::Init => {
                self.unlisted = self.unreadable.keys().cloned().collect();
                if self.filled {
                    self.unlisted.extend(self.store.state().iter().map(|object| object.key()));
                } else {
                    self.writer.apply_watcher_event(&Event::Init);
                }
                Applied { changes: vec![], reconcile: vec![] }
            }
            Event::InitDone => self.listed(),
        }
    }

    /// Ends a list: the objects that it did not contain are gone. The objects of the first list are reconciled after it.
    fn listed(&mut self) -> Applied<K> {
        let reconcile = match self.filled {
            true => vec![],
            false => {
                self.writer.apply_watcher_event(&Event::InitDone);
                self.filled = true;
                self.store.state()
            }
        };
        let gone = std::mem::take(&mut self.unlisted);
        Applied { changes: gone.into_iter().map(|name| self.gone(name)).collect(), reconcile }
    }

    /// Applies an object that exists.
    fn shown(&mut self, object: Decoded<K>) -> Change<K> {
        let name = name(&object);
        self.unlisted.remove(&name);
        match object.0 {
            Ok(object) => {
                let object = Cached::new(object);
                let before = self.unreadable.remove(&name).map(Seen::Unreadable).or_else(|| self.cached(&name));
                let after = if self.filled {
                    self.writer.apply_watcher_event(&Event::Apply(object));
                    self.cached(&name)
                } else {
                    let kept_back = Arc::new(object.clone());
                    self.writer.apply_watcher_event(&Event::InitApply(object));
                    Some(Seen::Readable(kept_back))
                };
                Change { name, before, after }
            }
            Err(invalid) => {
                let report = Report::new::<K>(*invalid);
                let before = self.gone(name.clone()).before;
                self.unreadable.insert(name.clone(), report.clone());
                Change { name, before, after: Some(Seen::Unreadable(report)) }
            }
        }
    }

    /// Removes an object, so that no reconcile acts on it.
    fn gone(&mut self, name: Key) -> Change<K> {
        self.unlisted.remove(&name);
        let report = self.unreadable.remove(&name).map(Seen::Unreadable);
        let before = report.or_else(|| self.cached(&name));
        if let Some(Seen::Readable(object)) = &before {
            self.writer.apply_watcher_event(&Event::Delete(object.as_ref().clone()));
        }
        Change { name, before, after: None }
    }

    fn cached(&self, name: &Key) -> Option<Seen<K>> {
        self.stored(name).map(Seen::Readable)
    }

    fn stored(&self, (namespace, name): &Key) -> Option<Arc<Cached<K>>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }
}

/// The name of an object.
pub(super) fn name<K: ResourceExt>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::disk_replica_group::DiskReplicaGroup;

    type Group = DiskReplicaGroup;

    /// A version of a group; one that does not parse, with the generation 0.
    fn group(name: &str, generation: i64) -> Decoded<Group> {
        let pairs = if generation == 0 { json!("all") } else { json!([]) };
        edited(name, generation, &json!({ "pairs": pairs }), &json!({}))
    }

    fn edited(name: &str, generation: i64, spec: &Value, annotations: &Value) -> Decoded<Group> {
        let mut object = json!({
            "metadata": { "namespace": "shop", "name": name, "uid": name, "generation": generation },
            "spec": {
                "source": { "regionId": "cn-hangzhou", "zoneId": "cn-hangzhou-h" },
                "destination": { "regionId": "cn-shanghai", "zoneId": "cn-shanghai-b" },
            },
        });
        object["metadata"]["annotations"] = annotations.clone();
        object["spec"]["pairs"] = spec["pairs"].clone();
        serde_json::from_value(object).expect("the metadata parses")
    }

    fn show(seen: Option<&Seen<Group>>) -> String {
        match seen {
            None => "-".into(),
            Some(Seen::Unreadable(_)) => "unreadable".into(),
            Some(Seen::Readable(object)) => {
                object.object().and_then(|it| it.metadata.generation).unwrap_or_default().to_string()
            }
        }
    }

    /// The changes as `name: before → after`, and the objects to reconcile.
    fn apply(cache: &mut Cache<Group>, events: Vec<Event<Decoded<Group>>>) -> (Vec<String>, Vec<String>) {
        let (mut changes, mut reconcile) = (vec![], vec![]);
        for event in events {
            let applied = cache.apply(event);
            let shown = |it: &Change<Group>| {
                format!("{}: {} → {}", it.name.1, show(it.before.as_ref()), show(it.after.as_ref()))
            };
            changes.extend(applied.changes.iter().map(shown));
            for object in applied.reconcile {
                assert_eq!(cache.stored(&object.key()), Some(object.clone()), "the cache has it");
                reconcile.push(object.key().1);
            }
        }
        changes.sort();
        reconcile.sort();
        (changes, reconcile)
    }

    fn list(objects: &[(&str, i64)]) -> Vec<Event<Decoded<Group>>> {
        let all = objects.iter().map(|(name, generation)| Event::InitApply(group(name, *generation)));
        [Event::Init].into_iter().chain(all).chain([Event::InitDone]).collect()
    }

    #[test]
    fn relist_reports_missing_objects_once() {
        let mut cache = Cache::new();
        let (changes, reconcile) = apply(&mut cache, list(&[("bad", 0), ("deleted", 1), ("kept", 1), ("went", 1)]));
        assert_eq!(changes, ["bad: - → unreadable", "deleted: - → 1", "kept: - → 1", "went: - → 1"]);
        assert_eq!(reconcile, ["deleted", "kept", "went"]);
        assert_eq!(apply(&mut cache, vec![Event::Apply(group("made", 1))]).0, ["made: - → 1"]);
        assert_eq!(apply(&mut cache, vec![Event::Delete(group("deleted", 1))]).0, ["deleted: 1 → -"]);
        // An interrupted list proves nothing about the objects that it did not reach.
        let broken = vec![Event::Init, Event::InitApply(group("kept", 2))];
        assert_eq!(apply(&mut cache, broken), (vec!["kept: 1 → 2".into()], vec!["kept".into()]));
        let (changes, reconcile) = apply(&mut cache, list(&[("kept", 2), ("new", 1)]));
        assert_eq!(changes, ["bad: unreadable → -", "kept: 2 → 2", "made: 1 → -", "new: - → 1", "went: 1 → -"]);
        assert_eq!(reconcile, ["new"]);
        assert_eq!(apply(&mut cache, list(&[("kept", 2), ("new", 1)])).0, ["kept: 2 → 2", "new: 1 → 1"]);
    }

    #[test]
    fn interrupted_first_list_fills_no_cache() {
        let mut cache = Cache::new();
        let broken = vec![Event::Init, Event::InitApply(group("went", 1)), Event::InitApply(group("bad", 0))];
        assert_eq!(apply(&mut cache, broken).1, Vec::<String>::new());
        assert!(!cache.is_filled() && cache.store().is_empty());
        let (changes, reconcile) = apply(&mut cache, list(&[("kept", 1)]));
        assert_eq!(changes, ["bad: unreadable → -", "kept: - → 1"]);
        assert_eq!((reconcile, cache.store().len()), (vec!["kept".into()], 1));
    }

    #[test]
    fn unparsed_version_leaves_the_cache() {
        let relist = vec![Event::Init, Event::InitApply(group("db", 0))];
        for events in [vec![Event::Apply(group("db", 0))], vec![Event::Delete(group("db", 0))], relist] {
            let shown = format!("{events:?}");
            let mut cache = Cache::new();
            apply(&mut cache, list(&[("db", 1)]));
            assert_eq!(cache.store().len(), 1);
            apply(&mut cache, events);
            // It is absent already before the end of a relist.
            assert_eq!(cache.store().len(), 0, "{shown}");
            let (_, reconcile) = apply(&mut cache, vec![Event::Apply(group("db", 1))]);
            assert_eq!((reconcile, cache.store().len()), (vec!["db".into()], 1), "{shown}");
        }
    }

    #[test]
    fn only_changes_by_other_actors_are_reconciled() {
        let own = |value: &str| json!({ "disasterrecovery.dev/reconcile-requested-at": value });
        let spec = json!({ "pairs": [] });
        let reconciled = |events: Vec<Decoded<Group>>| {
            let mut cache = Cache::new();
            apply(&mut cache, list(&[]));
            events.into_iter().map(|it| apply(&mut cache, vec![Event::Apply(it)]).1.len()).collect::<Vec<_>>()
        };
        let by_status = |at: &str| {
            let mut object = edited("db", 1, &spec, &own("1"));
            let group = object.0.as_mut().expect("it parses");
            group.metadata.resource_version = Some(at.into());
            object
        };
        let mut recreated = by_status("4");
        recreated.0.as_mut().expect("it parses").metadata.uid = Some("another".into());
        let mut released = recreated.clone();
        released.0.as_mut().expect("it parses").metadata.finalizers = Some(vec!["example.com/a".into()]);
        assert_eq!(reconciled(vec![by_status("1"), by_status("2"), recreated, released]), [1, 0, 1, 1]);
        let foreign = edited("db", 1, &spec, &json!({ "example.com/note": "changed" }));
        let requested = [edited("db", 1, &spec, &own("2")), edited("db", 2, &spec, &own("2"))];
        let versions = [vec![edited("db", 1, &spec, &json!({})), foreign], requested.into()].concat();
        assert_eq!(reconciled(versions), [1, 0, 1, 1]);
    }
}
