//! One object during one pass: its newest version, and every write to Kubernetes. Each write is made against the version
//! that was read, so that a pass that worked with an old one fails instead of undoing what another wrote.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::resource::{EventRecord, Object, Resource, Scope};
use super::{Context, Error, FIELD_MANAGER};

/// No write to Kubernetes takes longer.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);
/// The most that an event's note may hold, in bytes; the API takes 1024.
const LONGEST_NOTE: usize = 1000;

/// One object during one pass.
pub(super) struct ObjectHandle<'a, K: Object> {
    pub(super) ctx: &'a Context,
    pub(super) object: K,
}

impl<'a, K: Object> ObjectHandle<'a, K> {
    pub(super) fn new(ctx: &'a Context, object: K) -> Self {
        Self { ctx, object }
    }

    /// What the object is remembered by.
    pub(super) fn key(&self) -> String {
        super::key(K::KIND, &self.namespace(), &self.object.name_any())
    }

    /// Whether the object is being deleted.
    pub(super) fn deleting(&self) -> bool {
        self.object.meta().deletion_timestamp.is_some()
    }

    fn namespace(&self) -> String {
        self.object.namespace().unwrap_or_default()
    }

    /// Drops what is remembered and measured of the object.
    pub(super) fn forget(&self) {
        self.ctx.forget(K::KIND, &self.namespace(), &self.object.name_any());
    }

    /// Refuses to work with an object that is older than what another process, which worked before this one, may have acted
    /// on: its watch can be late. Reads it once.
    pub(super) async fn catch_up(&self) -> Result<(), Error> {
        if self.ctx.remember(&self.key(), |memory| memory.caught_up.is_some()) {
            return Ok(());
        }
        let newest: K = within("read the object", self.api().get(&self.object.name_any())).await?;
        if newest.resource_version() != self.object.resource_version() {
            return Err(Error::Conflict);
        }
        self.ctx.remember(&self.key(), |memory| memory.caught_up = Some(Timestamp::now()));
        Ok(())
    }

    pub(super) fn has_finalizer(&self) -> bool {
        self.object.finalizers().iter().any(|it| it == K::FINALIZER)
    }

    pub(super) async fn add_finalizer(&mut self) -> Result<(), Error> {
        let mut all = self.object.finalizers().to_vec();
        all.push(K::FINALIZER.into());
        self.patch_metadata("add the finalizer", json!({ "finalizers": all, "resourceVersion": self.version() })).await
    }

    pub(super) async fn remove_finalizer(&mut self) -> Result<(), Error> {
        let all: Vec<_> = self.object.finalizers().iter().filter(|it| *it != K::FINALIZER).cloned().collect();
        let metadata = json!({ "finalizers": all, "resourceVersion": self.version() });
        match self.patch_metadata("remove the finalizer", metadata).await {
            Err(Error::Gone) => Ok(()),
            other => other,
        }
    }

    /// Keeps the cloud's ID where a backup without status keeps it.
    pub(super) async fn annotate(&mut self, all: &[(&'static str, String)]) -> Result<(), Error> {
        if all.iter().all(|(key, value)| self.object.annotations().get(*key) == Some(value)) {
            return Ok(());
        }
        let annotations: BTreeMap<_, _> = all.iter().cloned().collect();
        let metadata = json!({ "annotations": annotations, "resourceVersion": self.version() });
        self.patch_metadata("write the cloud's ID", metadata).await
    }

    fn version(&self) -> String {
        self.object.resource_version().unwrap_or_default()
    }

    fn api(&self) -> Api<K> {
        Api::namespaced(self.ctx.client.clone(), &self.namespace())
    }

    async fn patch_metadata(&mut self, what: &'static str, metadata: serde_json::Value) -> Result<(), Error> {
        let (api, name) = (self.api(), self.object.name_any());
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let call = api.patch(&name, &params, &patch);
        self.object = within(what, call).await?;
        Ok(())
    }

    /// Writes the whole status. Fields that the operator no longer sets are removed.
    pub(super) async fn write_status(&mut self, status: K::Status) -> Result<(), Error> {
        let (api, name) = (self.api(), self.object.name_any());
        let body = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": { "name": name, "resourceVersion": self.version() },
            "status": status,
        });
        let (params, patch) = (PatchParams::apply(FIELD_MANAGER).force(), Patch::Apply(body));
        let call = api.patch_status(&name, &params, &patch);
        self.object = within("write status", call).await?;
        Ok(())
    }

    /// Publishes an event. That it cannot be published holds nothing up.
    pub(super) async fn publish(&self, told: &EventRecord) {
        let mut note = told.note.clone();
        if note.len() > LONGEST_NOTE {
            note.truncate(note.floor_char_boundary(LONGEST_NOTE));
            note.push('…');
        }
        let event = Event {
            type_: if told.warning { EventType::Warning } else { EventType::Normal },
            reason: told.reason.into(),
            note: Some(note),
            action: told.action.into(),
            secondary: None,
        };
        let reference = self.object.object_ref(&());
        // A recorder of its own, since a shared one would repeat the first note of a reason for any later one. Events tell
        // of changes, so that they are few.
        let recorder = Recorder::new(self.ctx.client.clone(), self.ctx.reporter.clone());
        let call = recorder.publish(&event, &reference);
        match tokio::time::timeout(WRITE_DEADLINE, call).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, reason = told.reason, "event not published"),
            Err(_) => tracing::warn!(reason = told.reason, "event not published in time"),
        }
    }
}

impl<'a, K: Resource> ObjectHandle<'a, K> {
    /// The object and what is known of it now.
    pub(super) fn subject(&self) -> Scope<'a, K> {
        Scope {
            object: self.object.clone(),
            status: self.object.status().cloned().unwrap_or_default(),
            cluster_id: &self.ctx.cluster_id,
            visibility_window: self.ctx.settings.visibility_window,
            poll_interval: self.poll_interval(),
            fresh: self.fresh(),
            now: Timestamp::now(),
        }
    }

    /// Whether a pass is a mere poll.
    pub(super) fn settled(&self) -> bool {
        !self.deleting() && K::settled(&self.subject())
    }

    /// Whether something may exist in the cloud that this object made or took over.
    pub(super) fn ever_made(&self) -> bool {
        self.object.annotations().contains_key(K::ID_ANNOTATION) || K::ever_made(&self.subject())
    }

    /// How often the cloud is looked at.
    pub(super) fn poll_interval(&self) -> Duration {
        self.object.poll_interval().unwrap_or(self.ctx.settings.poll_interval)
    }

    /// Remembers that the cloud was seen whole.
    pub(super) fn seen_now(&self) {
        self.ctx.remember(&self.key(), |memory| memory.seen = Some(Timestamp::now()));
    }

    /// Whether the cloud was seen whole within three polls, or could not be for no longer than that by this process.
    pub(super) fn fresh(&self) -> bool {
        let looked = self.ctx.remember(&self.key(), |memory| memory.looked());
        let age = looked.map(|looked| Timestamp::now().duration_since(looked));
        age.is_some_and(|age| age.unsigned_abs() < self.poll_interval() * 3)
    }

    /// Exports what was seen; with nothing seen, takes back what was exported.
    pub(super) fn measure(&self, seen: Option<&K::Seen>) {
        K::measure(&self.subject(), seen, &self.ctx.metrics);
    }
}

/// Waits for a write, but not for ever, and tells a conflict from a failure.
async fn within<T>(what: &'static str, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(WRITE_DEADLINE, call).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(Error::Conflict),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Err(Error::Gone),
        Ok(Err(source)) => Err(Error::Kubernetes { what, source: Box::new(source) }),
        Err(_) => Err(Error::Slow { what }),
    }
}
