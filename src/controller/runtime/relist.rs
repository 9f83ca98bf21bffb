//! An index of the objects that a watch knows, each with a value. No event reports objects that were deleted while a watch was
//! broken: the relist after it shows them.

use std::collections::HashMap;
use std::mem;

use kube::ResourceExt;
use kube::runtime::watcher::Event;

/// Namespace and name.
pub(super) type Name = (String, String);

/// The value of one object before and after an event; `None` where the object does not exist.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change<V> {
    pub(super) name: Name,
    pub(super) before: Option<V>,
    pub(super) after: Option<V>,
}

/// The objects that a watch knows, and during a relist those from before.
pub(super) struct RelistIndex<V> {
    known: HashMap<Name, V>,
    before: HashMap<Name, V>,
}

impl<V> Default for RelistIndex<V> {
    fn default() -> Self {
        Self { known: HashMap::new(), before: HashMap::new() }
    }
}

impl<V: Clone> RelistIndex<V> {
    /// Applies an event. `value` returns the value of an object.
    pub(super) fn apply<K: ResourceExt>(&mut self, event: &Event<K>, value: impl Fn(&K) -> V) -> Vec<Change<V>> {
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                let (name, after) = (name(object), value(object));
                let known = self.known.insert(name.clone(), after.clone());
                let before = self.before.remove(&name).or(known);
                vec![Change { name, before, after: Some(after) }]
            }
            Event::Delete(object) => {
                let name = name(object);
                let before = self.known.remove(&name);
                vec![Change { name, before, after: None }]
            }
            Event::Init => {
                self.before.extend(self.known.drain());
                vec![]
            }
            // Objects that the relist did not contain are gone.
            Event::InitDone => {
                let gone = mem::take(&mut self.before).into_iter();
                gone.map(|(name, before)| Change { name, before: Some(before), after: None }).collect()
            }
        }
    }
}

fn name<K: ResourceExt>(object: &K) -> Name {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(name: &str, value: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some("a".into());
        object.metadata.name = Some(name.into());
        object.metadata.resource_version = Some(value.into());
        object
    }

    /// The changes of events, as `name: before → after`.
    fn changes(index: &mut RelistIndex<String>, events: Vec<Event<ConfigMap>>) -> Vec<String> {
        let show = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        let all = events.iter().flat_map(|event| index.apply(event, |it| it.resource_version().unwrap_or_default()));
        let mut all: Vec<_> =
            all.map(|it| format!("{}: {} → {}", it.name.1, show(it.before), show(it.after))).collect();
        all.sort();
        all
    }

    fn list(objects: &[(&str, &str)]) -> Vec<Event<ConfigMap>> {
        let all = objects.iter().map(|(name, value)| Event::InitApply(object(name, value)));
        [Event::Init].into_iter().chain(all).chain([Event::InitDone]).collect()
    }

    #[test]
    fn relist_reports_missing_objects_once() {
        let mut index = RelistIndex::default();
        let first = changes(&mut index, list(&[("deleted", "1"), ("kept", "1"), ("went", "1")]));
        assert_eq!(first, ["deleted: - → 1", "kept: - → 1", "went: - → 1"]);
        assert_eq!(changes(&mut index, vec![Event::Apply(object("made", "1"))]), ["made: - → 1"]);
        assert_eq!(changes(&mut index, vec![Event::Delete(object("deleted", "1"))]), ["deleted: 1 → -"]);
        // An interrupted list proves nothing about the objects that it did not reach.
        let broken = vec![Event::Init, Event::InitApply(object("kept", "2"))];
        assert_eq!(changes(&mut index, broken), ["kept: 1 → 2"]);
        assert_eq!(changes(&mut index, list(&[("kept", "2")])), ["kept: 2 → 2", "made: 1 → -", "went: 1 → -"]);
        assert_eq!(changes(&mut index, list(&[("kept", "2")])), ["kept: 2 → 2"]);
    }
}
