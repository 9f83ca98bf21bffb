//! Objects that do not parse. They are reported and not reconciled, and the others of their kind are served. The operator does
//! not take them as deleted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use tokio::sync::Notify;

use crate::api::event::{action, reason};
use crate::controller::Context;
use crate::controller::access::Key;
use crate::controller::decode::Invalid;
use crate::controller::events::EventRecord;
use crate::controller::object::publish;
use crate::controller::resource::Object;
use crate::leadership::Leadership;

/// The report of an object that does not parse. A version with an equal report is not reported again.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Report {
    /// The object, without its version.
    about: ObjectReference,
    deleting: bool,
    error: String,
}

impl Report {
    /// The report of an object of a kind.
    pub(super) fn new<K: Object>(object: Invalid) -> Self {
        let Invalid { error, metadata } = object;
        let about = ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(K::KIND.into()),
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            ..ObjectReference::default()
        };
        Self { about, deleting: metadata.deletion_timestamp.is_some(), error }
    }

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

/// The unreadable objects of one watch.
pub(super) struct Unreadable {
    ctx: Arc<Context>,
    kind: &'static str,
    /// The reports without an event: each waits until this process leads.
    pending: Mutex<BTreeMap<Key, Report>>,
    added: Notify,
}

impl Unreadable {
    pub(super) fn new(ctx: Arc<Context>, kind: &'static str) -> Self {
        ctx.metrics.unreadable(kind, 0);
        Self { ctx, kind, pending: Mutex::default(), added: Notify::new() }
    }

    /// Counts and logs a change of an object's report, and queues its event.
    pub(super) fn update(&self, object: &Key, before: Option<&Report>, after: Option<&Report>) {
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
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

    use super::*;
    use crate::api::disk_replica_group::DiskReplicaGroup;
    use crate::controller::decode::MAX_ERROR_BYTES;

    fn invalid() -> Invalid {
        let (namespace, name) = (Some("shop".into()), Some("db".into()));
        let metadata = ObjectMeta { namespace, name, uid: Some("1".into()), ..ObjectMeta::default() };
        Invalid { error: "invalid type".into(), metadata }
    }

    fn report(edit: fn(&mut Invalid)) -> Report {
        let mut object = invalid();
        edit(&mut object);
        Report::new::<DiskReplicaGroup>(object)
    }

    #[test]
    fn report_depends_on_error_uid_and_deletion() {
        let before = report(|_| {});
        assert_eq!(report(|it| it.metadata.resource_version = Some("2".into())), before);
        assert_ne!(report(|it| it.metadata.uid = Some("2".into())), before);
        assert_ne!(report(|it| it.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH))), before);
        assert_ne!(report(|it| it.error = "missing field".into()), before);
    }

    #[test]
    fn long_errors_leave_room_for_the_remedy() {
        let note = report(|_| {}).record().note;
        assert!(note.contains("does nothing for it: invalid type. Correct the field"), "{note}");
        let note = report(|it| it.error = "x".repeat(MAX_ERROR_BYTES)).record().note;
        assert!(note.len() < 1000 && note.ends_with("the object is written for."), "{note}");
        let deleted = report(|it| it.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH)));
        assert!(deleted.record().note.contains("its deletion waits too: "));
    }
}
