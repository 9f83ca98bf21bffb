//! Which objects a watch knows, so that those are noticed that went while it was broken: no event tells of them.

use std::collections::HashSet;
use std::mem;

use kube::ResourceExt;
use kube::runtime::watcher::Event;

/// Namespace and name.
type Name = (String, String);

/// The objects that a watch knows, and while they are listed anew those of before.
#[derive(Default)]
pub(super) struct RelistIndex {
    known: HashSet<Name>,
    before: HashSet<Name>,
}

impl RelistIndex {
    /// The objects that are gone by this event.
    pub(super) fn gone<K: ResourceExt>(&mut self, event: &Event<K>) -> Vec<Name> {
        let name = |object: &K| (object.namespace().unwrap_or_default(), object.name_any());
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                self.before.remove(&name(object));
                self.known.insert(name(object));
                vec![]
            }
            Event::Delete(object) => {
                self.known.remove(&name(object));
                vec![name(object)]
            }
            Event::Init => {
                self.before.extend(self.known.drain());
                vec![]
            }
            Event::InitDone => mem::take(&mut self.before).into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(name: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some("a".into());
        object.metadata.name = Some(name.into());
        object
    }

    fn gone(listed: &mut RelistIndex, events: Vec<Event<ConfigMap>>) -> Vec<String> {
        let mut names: Vec<_> = events.iter().flat_map(|event| listed.gone(event)).map(|(_, name)| name).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_not_listed_again_is_gone_once() {
        let mut listed = RelistIndex::default();
        let list = |names: &[&str]| {
            let all = names.iter().map(|name| Event::InitApply(object(name)));
            [Event::Init].into_iter().chain(all).chain([Event::InitDone]).collect::<Vec<_>>()
        };
        assert!(gone(&mut listed, list(&["kept", "went", "deleted"])).is_empty());
        assert!(gone(&mut listed, vec![Event::Apply(object("made"))]).is_empty());
        assert_eq!(gone(&mut listed, vec![Event::Delete(object("deleted"))]), ["deleted"]);
        // A list that breaks off says nothing of what it did not come to.
        assert!(gone(&mut listed, vec![Event::Init, Event::InitApply(object("kept"))]).is_empty());
        assert_eq!(gone(&mut listed, list(&["kept"])), ["made", "went"]);
        assert!(gone(&mut listed, list(&["kept"])).is_empty());
    }
}
