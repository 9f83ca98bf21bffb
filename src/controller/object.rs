//! One object during one reconcile: its newest version, and every write to Kubernetes. Each write is made against the version
//! that was read. A reconcile with an old version fails, and does not undo the write of another actor. A write is a patch of the fields
//! that the operator owns: the cache does not have all metadata.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::sync::Mutex;

use super::absence::Absences;
use super::access::InventoryKey;
use super::decode::Decoded;
use super::events::EventRecord;
use super::proof::Proof;
use super::requeue::Intervals;
use super::resource::{Annotations, Expiry, Object, Resource, Scope};
use super::{Context, Error, FIELD_MANAGER, Requeue, requeue};
use crate::cloud::error::Class;

/// Maximum time for one request to the Kubernetes API.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The number of intervals for which one list is evidence.
pub(super) const POLLS_OF_EVIDENCE: u32 = 3;
/// Maximum size of an event's note, in bytes. The API accepts 1024.
const MAX_NOTE_BYTES: usize = 1000;

/// One object during one reconcile. It always has a status: an empty one where the API server has none.
pub(super) struct ObjectHandle<'a, K: Object> {
    pub(super) ctx: &'a Context,
    pub(super) object: Arc<K>,
    nonce: String,
    empty: K::Status,
    absences: Absences,
    evidence: Arc<K::Evidence>,
    /// Whether the next write of the status is needed although it says the same.
    overwrites: bool,
    /// The newest proof that the version that was read, or this process's own on top of it, is the newest one.
    pub(super) proof: Option<Proof>,
}

/// The object since the reconcile decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// It is the same, as far as its user writes it.
    Same,
    /// It has another spec, or is being deleted.
    Edited,
}

impl<'a, K: Object> ObjectHandle<'a, K> {
    pub(super) fn new(ctx: &'a Context, object: Arc<K>) -> Self {
        let object = with_status(object);
        let key = super::key(K::KIND, &object.namespace().unwrap_or_default(), &object.name_any());
        Self {
            ctx,
            object,
            nonce: uuid::Uuid::new_v4().simple().to_string(),
            empty: K::Status::default(),
            absences: Absences::default(),
            evidence: ctx.evidence::<K>(&key),
            overwrites: false,
            proof: None,
        }
    }

    /// The key under which this process remembers the object.
    pub(super) fn key(&self) -> String {
        super::key(K::KIND, &self.namespace(), &self.object.name_any())
    }

    pub(super) fn deleting(&self) -> bool {
        self.object.meta().deletion_timestamp.is_some()
    }

    pub(super) fn namespace(&self) -> String {
        self.object.namespace().unwrap_or_default()
    }

    /// Drops the memory and the metrics of the object.
    pub(super) fn forget(&self) {
        self.ctx.forget(K::KIND, &self.namespace(), &self.object.name_any());
    }

    /// Fails for a version that is older than one on which another process may have acted: this process's watch may be late.
    /// Reads the object's metadata only where the watch itself proves nothing. A newer version that does not parse is a conflict too.
    pub(super) async fn catch_up(&self) -> Result<(), Error> {
        if self.ctx.remember(&self.key(), |memory| memory.caught_up) {
            return Ok(());
        }
        let newest = within("read the object", self.api().get_metadata(&self.object.name_any())).await?;
        if newest.resource_version() != self.object.resource_version() {
            return Err(Error::Conflict);
        }
        self.ctx.remember(&self.key(), |memory| memory.caught_up = true);
        Ok(())
    }

    pub(super) fn has_finalizer(&self) -> bool {
        self.object.finalizers().iter().any(|it| it == K::FINALIZER)
    }

    pub(super) async fn add_finalizer(&mut self) -> Result<(), Error> {
        let mut all = self.object.finalizers().to_vec();
        all.push(K::FINALIZER.into());
        let writing = self.writing();
        let _writing = writing.lock().await;
        self.patch_metadata("add the finalizer", json!({ "finalizers": all }), true).await
    }

    pub(super) async fn remove_finalizer(&mut self) -> Result<(), Error> {
        let all: Vec<_> = self.object.finalizers().iter().filter(|it| *it != K::FINALIZER).cloned().collect();
        let writing = self.writing();
        let _writing = writing.lock().await;
        match self.patch_metadata("remove the finalizer", json!({ "finalizers": all }), true).await {
            Err(Error::Gone) => Ok(()),
            other => other,
        }
    }

    /// The version to write on: the one that was read, or a newer one that differs only in the status that this process wrote
    /// between reconciles.
    pub(super) fn version(&self) -> String {
        let read = self.object.resource_version().unwrap_or_default();
        self.ctx.remember(&self.key(), |memory| memory.refreshed.on_top_of(&read).map(str::to_owned)).unwrap_or(read)
    }

    /// The lock that every write of the object holds.
    pub(super) fn writing(&self) -> Arc<Mutex<()>> {
        self.ctx.remember(&self.key(), |memory| memory.writing.get_or_insert_default().clone())
    }

    /// Answers are decoded without metadata of other actors, which may be large.
    pub(super) fn api(&self) -> Api<Decoded<K>> {
        Api::namespaced(self.ctx.client.clone(), &self.namespace())
    }

    /// Writes metadata. The caller holds the lock of writes.
    async fn patch_metadata(
        &mut self,
        what: &'static str,
        mut metadata: serde_json::Value,
        against_version: bool,
    ) -> Result<(), Error> {
        let (api, name, before, proof) = (self.api(), self.object.name_any(), self.version(), Proof::begin());
        if against_version {
            metadata["resourceVersion"] = json!(before);
        }
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let call = api.patch(&name, &params, &patch);
        self.object = with_status(Arc::new(readable(within(what, call).await?)?));
        self.remember_replaced(before, against_version);
        if against_version {
            self.proof = Some(proof);
        }
        Ok(())
    }

    /// Remembers the version that a write replaced. A write against a version proves that it was the newest one.
    fn remember_replaced(&self, before: String, against_version: bool) {
        let after = self.object.resource_version().unwrap_or_default();
        self.ctx.remember(&self.key(), |memory| {
            memory.replaced.record(before, &after);
            memory.caught_up |= against_version;
        });
    }

    /// Whether this process replaced the version that was read: the cache is late.
    pub(super) fn is_replaced(&self) -> bool {
        let read = self.object.resource_version().unwrap_or_default();
        self.ctx.remember(&self.key(), |memory| memory.replaced.contains(&read))
    }

    /// Writes the whole status. Fields that the operator no longer sets are removed.
    pub(super) async fn write_status(&mut self, status: K::Status) -> Result<(), Error> {
        let writing = self.writing();
        let _writing = writing.lock().await;
        self.replace_status(status).await
    }

    /// Replaces the status, which also removes fields that other field managers have set. The API server takes nothing else from
    /// the body.
    async fn replace_status(&mut self, mut status: K::Status) -> Result<(), Error> {
        self.name_lease(&mut status);
        let (api, name, before, proof) = (self.api(), self.object.name_any(), self.version(), Proof::begin());
        let body = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": { "name": name, "namespace": self.namespace(), "resourceVersion": before },
            "status": status,
        });
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let call = api.replace_subresource("status", &name, &params, &body);
        self.object = with_status(Arc::new(readable(within("write status", call).await?)?));
        self.remember_replaced(before, true);
        self.proof = Some(proof);
        self.check_lease()
    }

    /// Fails where the API server dropped the lease of the status that was written.
    fn check_lease(&self) -> Result<(), Error> {
        let written = self.object.status().and_then(K::head);
        let dropped = written.is_some_and(|head| head.lease.as_deref() != self.ctx.lease());
        match dropped && self.ctx.lease().is_some() {
            true => Err(Error::OldDefinition { kind: K::KIND }),
            false => Ok(()),
        }
    }

    /// Names the lease of this process in a status.
    fn name_lease(&self, status: &mut K::Status) {
        if let (Some(head), Some(lease)) = (K::head_mut(status), self.ctx.lease()) {
            head.lease = Some(lease.to_owned());
        }
    }

    /// Publishes an event. A failure delays nothing.
    pub(super) async fn publish(&self, record: &EventRecord) {
        publish(self.ctx, &self.object.object_ref(&()), record).await;
    }
}

impl<'a, K: Resource> ObjectHandle<'a, K> {
    /// Writes annotations that the object lacks, as [`Self::annotate_again`].
    pub(super) async fn annotate(&mut self, all: &Annotations) -> Result<Since, Error> {
        if all.iter().all(|(key, value)| self.object.annotations().get(*key) == Some(value)) {
            return Ok(Since::Same);
        }
        self.annotate_again(all).await
    }

    /// Writes annotations, which survive a backup without status. It has no version precondition: a concurrent write must not
    /// cost the ID of a new plan or group. Another object of the same name does not get it. The next write is on top of the newest
    /// version, and the spec and the status stay those that the reconcile decided on.
    pub(super) async fn annotate_again(&mut self, all: &Annotations) -> Result<Since, Error> {
        let decided = self.object.clone();
        let annotations: BTreeMap<_, _> = all.iter().cloned().collect();
        let metadata = json!({ "annotations": annotations, "uid": self.object.uid() });
        let writing = self.writing();
        let _writing = writing.lock().await;
        self.patch_metadata("write the cloud's ID", metadata, false).await?;
        let newest = std::mem::replace(&mut self.object, decided);
        let (was, is) = (self.object.meta(), newest.meta());
        let edited = was.generation != is.generation || was.deletion_timestamp != is.deletion_timestamp;
        self.overwrites |= self.object.status() != newest.status();
        if newest.status().is_some_and(|status| self.is_of_another(status)) {
            return Err(Error::Conflict);
        }
        let (version, annotations) = (is.resource_version.clone(), is.annotations.clone());
        let metadata = Arc::make_mut(&mut self.object).meta_mut();
        // Another annotation may request work that this reconcile does not know of.
        let known = metadata.annotations.get_or_insert_default();
        known.extend(annotations.into_iter().flatten().filter(|(key, _)| all.iter().any(|(name, _)| name == key)));
        metadata.resource_version = version;
        Ok(if edited { Since::Edited } else { Since::Same })
    }

    /// The scope of one version of the object.
    pub(super) fn scope<'s>(&'s self, object: &'s K) -> Scope<'s, K> {
        Scope {
            status: object.status().unwrap_or(&self.empty),
            object,
            cluster_id: &self.ctx.cluster_id,
            nonce: &self.nonce,
            visibility_window: self.ctx.settings.visibility_window,
            absences: &self.absences,
            intervals: Intervals::new(self.poll_interval(), &self.ctx.settings),
            evidence: &self.evidence,
            observed_until: self.ctx.remember(&self.key(), |memory| memory.observed_until()),
            former_renewal: self.ctx.former_renewal().filter(|_| object.status().is_none_or(|it| self.serves(it))),
            now: self.ctx.clock.now(),
        }
    }

    /// Takes over the status that this process wrote between reconciles since the object was read, and its conditions into an
    /// earlier version of the object. The evidence is the newest as well.
    pub(super) fn take_over_refreshed(&mut self, mut earlier: Arc<K>) -> Arc<K> {
        self.take_over_evidence();
        let read = self.object.resource_version().unwrap_or_default();
        let newer = self.ctx.remember(&self.key(), |memory| {
            let version = memory.refreshed.on_top_of(&read)?.to_owned();
            Some((version, memory.refreshed.status::<K::Status>()?))
        });
        let Some((version, status)) = newer else { return earlier };
        let object = Arc::make_mut(&mut self.object);
        object.meta_mut().resource_version = Some(version);
        *object.status_mut() = Some(status.as_ref().clone());
        if let Some(before) = Arc::make_mut(&mut earlier).status_mut() {
            before.as_mut().conditions.clone_from(&status.as_ref().as_ref().conditions);
        }
        earlier
    }

    /// Takes over the newest evidence.
    pub(super) fn take_over_evidence(&mut self) {
        self.evidence = self.ctx.evidence::<K>(&self.key());
    }

    /// Writes a status of a reconcile, if it differs from the one that was read, or if this process has written another one since.
    pub(super) async fn write_changed(&mut self, mut status: K::Status) -> Result<(), Error> {
        self.name_lease(&mut status);
        let writing = self.writing();
        let _writing = writing.lock().await;
        let newest = self.object.resource_version().is_some_and(|read| read == self.version());
        if newest && !self.overwrites && status == *self.scope(&self.object).status {
            return Ok(());
        }
        self.replace_status(status).await
    }

    /// Writes a status of a reconcile as [`Self::write_changed`], and exports its conditions.
    pub(super) async fn write(&mut self, status: K::Status) -> Result<(), Error> {
        self.write_changed(status.clone()).await?;
        self.export_conditions(&status);
        Ok(())
    }

    /// Exports the conditions of a status.
    pub(super) fn export_conditions(&self, status: &K::Status) {
        let expiries = self.scope(&self.object).expiries();
        self.export(&status.as_ref().conditions, &expiries);
    }

    /// Writes a status between reconciles. A reconcile in progress continues on top of it. The caller holds the lock of writes, so that
    /// no reconcile ends between the evidence that it read and the write.
    pub(super) async fn write_refreshed(&mut self, status: K::Status) -> Result<(), Error> {
        let before = self.version();
        self.replace_status(status).await?;
        let after = self.object.resource_version().unwrap_or_default();
        let status = self.scope(&self.object).status.clone();
        self.ctx.remember(&self.key(), |memory| memory.refreshed.record(before, after, status));
        Ok(())
    }

    /// Continues with a status that is not written yet: the next write contains it.
    pub(super) fn assume(&mut self, status: K::Status) {
        *Arc::make_mut(&mut self.object).status_mut() = Some(status);
        self.overwrites = true;
    }

    /// Learns from an observation that began at `started`.
    pub(super) fn learn(&mut self, observed: &K::Observed, started: Timestamp) {
        let (key, scope) = (self.key(), self.scope(&self.object));
        self.ctx.update_evidence::<K, _>(&key, |evidence| K::learn(&scope, evidence, observed, started));
        self.take_over_evidence();
    }

    /// Whether the cloud matched this spec before, no work is requested and no part of the cloud side is missing: the reconcile only
    /// polls the cloud.
    pub(super) fn settled(&self) -> bool {
        let scope = self.scope(&self.object);
        let proving = self.ctx.remember(&self.key(), |memory| memory.absences.any_unproven());
        !scope.deleting() && scope.synced_before() && !scope.object.management().work_requested && !proving
    }

    /// Whether the object may have created or taken over a cloud side.
    pub(super) fn may_exist(&self) -> bool {
        let annotated = self.object.annotations().contains_key(K::DESCRIPTOR.id_annotation);
        annotated || K::remote(&self.scope(&self.object), None).may_exist
    }

    /// The interval between observations.
    pub(super) fn poll_interval(&self) -> Duration {
        self.object.management().poll_interval.unwrap_or(self.ctx.settings.poll_interval)
    }

    /// Recalls which parts of the cloud side earlier observations with these credentials did not show.
    pub(super) fn recall(&mut self, identity: &str) {
        let same = self.scope(&self.object).head().identity.as_deref() == Some(identity);
        self.absences = self.ctx.remember(&self.key(), |memory| {
            if !same {
                memory.absences = Absences::default();
            }
            memory.absences.clone()
        });
    }

    /// Remembers which parts of the cloud side an observation that began at `started` does not show.
    pub(super) fn observed_without(&mut self, absent: Vec<String>, started: Timestamp) {
        let (window, now) = (self.ctx.settings.visibility_window, self.ctx.clock.now());
        self.absences = self.ctx.remember(&self.key(), |memory| {
            memory.absences.observe(absent, window, started, now);
            memory.absences.clone()
        });
    }

    /// Remembers an observation that failed. One that was refused says nothing. One whose answers contradict each other may have shown
    /// what earlier ones did not.
    pub(super) fn not_observed(&self, class: Class) {
        match class {
            Class::Denied | Class::Throttled { .. } | Class::Unavailable => {}
            Class::NotFound | Class::Conflict | Class::Invalid | Class::Ambiguous => {
                self.ctx.recall(&self.key(), |memory| memory.absences = Absences::default());
            }
        }
    }

    /// When to observe again: in time for the proof that a part of the cloud side is gone, where one is not complete.
    pub(super) fn proving(&self, requeue: Requeue) -> Requeue {
        let settings = &self.ctx.settings;
        match self.absences.any_unproven() {
            true => requeue::while_proving(requeue, settings),
            false => requeue,
        }
    }

    /// Remembers a complete observation that began at `started`.
    pub(super) fn observed_from(&self, started: Timestamp, inventory: InventoryKey) {
        let interval = Intervals::new(self.poll_interval(), &self.ctx.settings).list();
        let listed = later(started, interval * POLLS_OF_EVIDENCE);
        let detailed = K::DESCRIPTOR.details_lifetime.map_or(listed, |lifetime| later(started, lifetime));
        self.ctx.remember(&self.key(), |memory| {
            memory.observed = Some(self.ctx.clock.now()).into();
            (memory.listed_until, memory.detailed_until) = (Some(listed).into(), Some(detailed).into());
            (memory.unlisted, memory.inventory) = (None, Some(inventory));
        });
    }

    /// Exports the conditions, and the expiry of the evidence of each.
    pub(super) fn export(&self, conditions: &[Condition], expiries: &[Expiry]) {
        let scope = self.scope(&self.object);
        let mut ends = BTreeMap::new();
        for it in expiries {
            // The last one is that of the condition. An earlier one is that of `protectionEnds`.
            let at: &mut Timestamp = ends.entry(it.condition_type).or_insert(it.at);
            *at = (*at).max(it.at);
        }
        let expiries: Vec<_> = ends.into_iter().collect();
        let (namespace, name) = (scope.namespace(), scope.name());
        self.ctx.metrics.conditions(K::KIND, namespace, name, conditions);
        self.ctx.metrics.evidence(K::KIND, namespace, name, &expiries);
    }

    /// Exports exact numbers. Numbers that need an observation disappear without one.
    pub(super) fn measure(&self, observed: Option<&K::Observed>) {
        let scope = self.scope(&self.object);
        if let Some(measurements) = K::measurements(&scope, observed) {
            self.ctx.metrics.measure(scope.namespace(), scope.name(), &measurements);
        }
    }
}

/// A time after another one.
pub(super) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// Gives an object without status an empty one.
fn with_status<K: Object>(object: Arc<K>) -> Arc<K> {
    if object.status().is_some() {
        return object;
    }
    let mut object = Arc::unwrap_or_clone(object);
    *object.status_mut() = Some(K::Status::default());
    Arc::new(object)
}

/// Publishes an event about an object. A failure delays nothing.
pub(super) async fn publish(ctx: &Context, about: &ObjectReference, record: &EventRecord) {
    let mut note = record.note.clone();
    if note.len() > MAX_NOTE_BYTES {
        note.truncate(note.floor_char_boundary(MAX_NOTE_BYTES));
        note.push('…');
    }
    let event = Event {
        type_: if record.warning { EventType::Warning } else { EventType::Normal },
        reason: record.reason.into(),
        note: Some(note),
        action: record.action.into(),
        secondary: None,
    };
    // A shared recorder would repeat the first note of a reason for each later event. Events report changes, so there are few.
    let recorder = Recorder::new(ctx.client.clone(), ctx.reporter.clone());
    let call = recorder.publish(&event, about);
    match tokio::time::timeout(REQUEST_TIMEOUT, call).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, reason = record.reason, "event not published"),
        Err(_) => tracing::warn!(reason = record.reason, "event not published in time"),
    }
}

/// The object of an answer. Where it does not parse, another version than was read is stored: the watch reports it.
fn readable<K>(answer: Decoded<K>) -> Result<K, Error> {
    answer.0.map_err(|_| Error::Conflict)
}

/// Waits for a request with a time limit, and distinguishes a conflict from a failure.
pub(super) async fn within<T>(
    what: &'static str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(REQUEST_TIMEOUT, call).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(Error::Conflict),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Err(Error::Gone),
        Ok(Err(source)) => Err(Error::Kubernetes { what, source: Box::new(source) }),
        Err(_) => Err(Error::Slow { what }),
    }
}
