//! Objects that do not parse. They are reported and not reconciled, and the others of their kind are served. The operator does
//! not take them as deleted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;
use tokio::sync::Notify;

use super::relist::Name;
use crate::api::event::{action, reason};
use crate::controller::Context;
use crate::controller::events::EventRecord;
use crate::controller::object::publish;
use crate::controller::resource::Object;
use crate::leadership::Leadership;

/// An object as a watch shows it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    /// It parses.
    Readable {
        /// The account that it names.
        account: Option<String>,
    },
    /// It does not parse.
    Unreadable(Report),
}

impl Seen {
    /// An object with the account that `account` returns.
    pub(super) fn of<K: Object>(object: &DeserializeGuard<K>, account: impl Fn(&K) -> Option<String>) -> Self {
        match &object.0 {
            Ok(readable) => Self::Readable { account: account(readable) },
            Err(invalid) => Self::Unreadable(Report {
                about: object.object_ref(&()),
                deleting: invalid.metadata.deletion_timestamp.is_some(),
                error: format!("{:.400}", invalid.error),
            }),
        }
    }

    /// The account that it names, as far as the operator can read that.
    pub(super) fn account(&self) -> Option<&str> {
        match self {
            Self::Readable { account } => account.as_deref(),
            Self::Unreadable(_) => None,
        }
    }

    /// The report of an object that does not parse.
    pub(super) fn report(&self) -> Option<&Report> {
        match self {
            Self::Readable { .. } => None,
            Self::Unreadable(report) => Some(report),
        }
    }
}

/// The report of an object that does not parse. A version with an equal report is not reported again.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Report {
    /// The object, without its version.
    about: ObjectReference,
    deleting: bool,
    error: String,
}

impl Report {
    fn record(&self) -> EventRecord {
        let deletion = if self.deleting { "; its deletion waits too" } else { "" };
        let note = format!(
            "The operator cannot read this object and does nothing for it{deletion}: {}. Correct the field, or run the \
             version of the operator that the object is written for.",
            self.error
        );
        EventRecord::warning(reason::UNREADABLE, action::READ, note)
    }
}

/// The event without objects that do not parse. The readable version of such an object leaves the cache, so that no reconcile
/// acts on it.
pub(super) fn readable<K: Object>(event: Event<DeserializeGuard<K>>, cache: &Store<K>) -> Option<Event<K>> {
    let metadata = match event {
        Event::Init => return Some(Event::Init),
        Event::InitDone => return Some(Event::InitDone),
        Event::InitApply(DeserializeGuard(Ok(object))) => return Some(Event::InitApply(object)),
        Event::Apply(DeserializeGuard(Ok(object))) => return Some(Event::Apply(object)),
        Event::Delete(DeserializeGuard(Ok(object))) => return Some(Event::Delete(object)),
        Event::InitApply(DeserializeGuard(Err(invalid)))
        | Event::Apply(DeserializeGuard(Err(invalid)))
        | Event::Delete(DeserializeGuard(Err(invalid))) => invalid.metadata,
    };
    let (namespace, name) = (metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default());
    let last = cache.get(&ObjectRef::new(&name).within(&namespace))?;
    Some(Event::Delete(Arc::unwrap_or_clone(last)))
}

/// The unreadable objects of one watch.
pub(super) struct Unreadable {
    ctx: Arc<Context>,
    kind: &'static str,
    /// The reports without an event: each waits until this process leads.
    pending: Mutex<BTreeMap<Name, Report>>,
    added: Notify,
}

impl Unreadable {
    pub(super) fn new(ctx: Arc<Context>, kind: &'static str) -> Self {
        ctx.metrics.unreadable(kind, 0);
        Self { ctx, kind, pending: Mutex::default(), added: Notify::new() }
    }

    /// Counts and logs a change of an object's report, and queues its event.
    pub(super) fn update(&self, object: &Name, before: Option<&Report>, after: Option<&Report>) {
        if before == after {
            return;
        }
        self.ctx.metrics.unreadable(self.kind, i64::from(after.is_some()) - i64::from(before.is_some()));
        let (namespace, name) = object;
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(report) = after {
            tracing::warn!(
                kind = self.kind,
                namespace,
                object = name,
                error = report.error,
                "cannot read the object: the operator does nothing for it"
            );
            pending.insert(object.clone(), report.clone());
            self.added.notify_one();
        } else {
            pending.remove(object);
        }
    }

    /// Publishes the events of the reports once this process leads. Never returns.
    pub(super) async fn publish(&self, leadership: Leadership) {
        leadership.clone().started().await;
        loop {
            while let Some(report) = self.next() {
                if leadership.is_leader() {
                    publish(&self.ctx, &report.about, &report.record()).await;
                }
            }
            self.added.notified().await;
        }
    }

    fn next(&self) -> Option<Report> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.pop_first().map(|(_, report)| report)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use kube::runtime::reflector;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::disk_replica_group::DiskReplicaGroup;

    /// A group of disks with these pairs.
    fn group(pairs: &Value) -> DeserializeGuard<DiskReplicaGroup> {
        let object = json!({
            "apiVersion": "disasterrecovery.dev/v1alpha1",
            "kind": "DiskReplicaGroup",
            "metadata": { "namespace": "shop", "name": "db", "uid": "1" },
            "spec": {
                "source": { "regionId": "cn-hangzhou", "zoneId": "cn-hangzhou-h" },
                "destination": { "regionId": "cn-shanghai", "zoneId": "cn-shanghai-b" },
                "accountRef": { "name": "main" },
                "pairs": pairs,
            },
        });
        serde_json::from_value(object).expect("the metadata parses")
    }

    fn good() -> DeserializeGuard<DiskReplicaGroup> {
        group(&json!([{ "name": "data", "sourceDiskId": "d-1", "destinationDiskId": "d-2" }]))
    }

    fn bad() -> DeserializeGuard<DiskReplicaGroup> {
        group(&json!("all"))
    }

    fn seen(object: &DeserializeGuard<DiskReplicaGroup>) -> Seen {
        Seen::of(object, |it| it.spec.account_ref.as_ref().map(|it| it.name.clone()))
    }

    #[test]
    fn unparsed_version_leaves_the_cache() {
        // It is absent already before the end of a relist.
        let relist = vec![Event::Init, Event::InitApply(bad()), Event::InitDone];
        let cases =
            [(vec![Event::Apply(bad())], vec![0]), (vec![Event::Delete(bad())], vec![0]), (relist, vec![1, 0, 0])];
        for (events, sizes) in cases {
            let shown = format!("{events:?}");
            let (store, mut writer) = reflector::store::<DiskReplicaGroup>();
            let mut apply = |event| {
                if let Some(event) = readable(event, &store) {
                    writer.apply_watcher_event(&event);
                }
                store.state().len()
            };
            assert_eq!(apply(Event::Apply(good())), 1);
            let found: Vec<_> = events.into_iter().map(&mut apply).collect();
            assert_eq!(found, sizes, "{shown}");
            assert_eq!(apply(Event::Apply(good())), 1, "{shown}");
        }
    }

    #[test]
    fn report_depends_on_error_uid_and_deletion() {
        assert_eq!((seen(&good()).account(), seen(&good()).report()), (Some("main"), None));
        assert_eq!((seen(&bad()).account(), seen(&bad()).report().is_some()), (None, true));
        let edited = |edit: fn(&mut DeserializeGuard<DiskReplicaGroup>)| {
            let mut object = bad();
            edit(&mut object);
            seen(&object)
        };
        assert_eq!(edited(|it| it.meta_mut().resource_version = Some("2".into())), seen(&bad()));
        assert_ne!(edited(|it| it.meta_mut().uid = Some("2".into())), seen(&bad()));
        assert_ne!(edited(|it| it.meta_mut().deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH))), seen(&bad()));
        assert_ne!(seen(&group(&json!(1))), seen(&bad()));
    }

    #[test]
    fn long_errors_leave_room_for_the_remedy() {
        let report =
            |object: &DeserializeGuard<DiskReplicaGroup>| seen(object).report().cloned().expect("it is unreadable");
        let note = report(&bad()).record().note;
        let lower = note.to_lowercase();
        assert!(lower.contains("nothing for it: invalid type") && lower.contains("string \"all\""), "{note}");
        assert!(lower.contains("expected a sequence. correct"), "{note}");
        let note = report(&group(&json!("all".repeat(1000)))).record().note;
        assert!(note.len() < 1000 && note.ends_with("the object is written for."), "{note}");
        let mut deleted = bad();
        deleted.meta_mut().deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert!(report(&deleted).record().note.contains("its deletion waits too: "));
    }
}
