//! One object during one pass: its newest version, and every write to Kubernetes. Each write is made against the version
//! that was read, so that a pass that worked with an old one fails instead of undoing what another wrote.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Api, Resource, ResourceExt};
use secrecy::ExposeSecret;
use serde_json::json;

use super::events::Told;
use super::lag;
use super::observe::{AclCredentials, Observed, Sight};
use super::resolve;
use super::status;
use crate::api::plan::{DisasterRecoveryPlan, DisasterRecoveryPlanStatus};
use crate::api::{FINALIZER, PLAN_ID_ANNOTATION};
use crate::cloud::budget::Lane;
use crate::cloud::rocketmq::RocketMq;
use crate::controller::secrets::SecretError;
use crate::controller::{Context, Error, FIELD_MANAGER};

/// No write to Kubernetes takes longer.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);
/// The most that an event's note may hold, in bytes; the API takes 1024.
const LONGEST_NOTE: usize = 1000;

/// One object during one pass.
pub(super) struct Session<'a> {
    pub(super) ctx: &'a Context,
    pub(super) object: DisasterRecoveryPlan,
}

impl<'a> Session<'a> {
    pub(super) fn new(ctx: &'a Context, object: DisasterRecoveryPlan) -> Self {
        Self { ctx, object }
    }

    /// What the object is remembered by.
    pub(super) fn key(&self) -> String {
        format!("{}/{}", self.namespace(), self.object.name_any())
    }

    /// Whether a plan may exist that this object made or took over.
    pub(super) fn ever_made(&self) -> bool {
        let status = self.status();
        let claimed = self.object.annotations().contains_key(PLAN_ID_ANNOTATION);
        claimed || status.plan_id.is_some() || status.creation.is_some() || self.object.spec.plan_id.is_some()
    }

    /// Gives each Secret the version at which its content was first seen, so that a new label is no rotation.
    pub(super) fn by_content(&self, mut all: BTreeMap<String, AclCredentials>) -> BTreeMap<String, AclCredentials> {
        for it in all.values_mut() {
            let (username, password) = (it.username.expose_secret(), it.password.as_ref().map(|it| it.expose_secret()));
            let name = format!("{}/{} {}", self.namespace(), it.secret_name, password.is_some());
            it.resource_version = self.ctx.content_version(name, (username, password), &it.resource_version);
        }
        all
    }

    pub(super) fn namespace(&self) -> String {
        self.object.namespace().unwrap_or_default()
    }

    pub(super) fn status(&self) -> DisasterRecoveryPlanStatus {
        self.object.status.clone().unwrap_or_default()
    }

    /// How often the cloud is looked at.
    pub(super) fn poll_interval(&self) -> Duration {
        self.object.spec.poll_interval.map_or(self.ctx.settings.poll_interval, Into::into)
    }

    /// The cloud's API in the object's region.
    pub(super) async fn cloud(&self, lane: Lane) -> Result<RocketMq, SecretError> {
        self.ctx.rocketmq(&self.object.spec.region_id, lane).await
    }

    /// Remembers that the cloud was seen whole.
    pub(super) fn seen_now(&self) {
        self.ctx.remember(&self.key(), |memory| memory.seen = Some(Timestamp::now()));
    }

    /// Whether the cloud was seen whole within three polls.
    pub(super) fn fresh(&self) -> bool {
        let age =
            self.ctx.remember(&self.key(), |memory| memory.seen).map(|seen| Timestamp::now().duration_since(seen));
        age.is_some_and(|age| age.unsigned_abs() < self.poll_interval() * 3)
    }

    /// Drops what is remembered and measured of the object.
    pub(super) fn forget(&self) {
        self.ctx.forget(&self.namespace(), &self.object.name_any());
    }

    pub(super) fn has_finalizer(&self) -> bool {
        self.object.finalizers().iter().any(|it| it == FINALIZER)
    }

    pub(super) async fn add_finalizer(&mut self) -> Result<(), Error> {
        let mut all = self.object.finalizers().to_vec();
        all.push(FINALIZER.into());
        self.patch_metadata("add the finalizer", json!({ "finalizers": all, "resourceVersion": self.version() })).await
    }

    pub(super) async fn remove_finalizer(&mut self) -> Result<(), Error> {
        let all: Vec<_> = self.object.finalizers().iter().filter(|it| *it != FINALIZER).cloned().collect();
        let metadata = json!({ "finalizers": all, "resourceVersion": self.version() });
        match self.patch_metadata("remove the finalizer", metadata).await {
            Err(Error::Gone) => Ok(()),
            other => other,
        }
    }

    /// Keeps the plan's ID where a backup without status keeps it.
    pub(super) async fn annotate(&mut self, plan_id: &str) -> Result<(), Error> {
        if self.object.annotations().get(PLAN_ID_ANNOTATION).is_some_and(|it| it == plan_id) {
            return Ok(());
        }
        let metadata = json!({ "annotations": { PLAN_ID_ANNOTATION: plan_id }, "resourceVersion": self.version() });
        self.patch_metadata("write the plan's ID", metadata).await
    }

    fn version(&self) -> String {
        self.object.resource_version().unwrap_or_default()
    }

    fn api(&self) -> Api<DisasterRecoveryPlan> {
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
    pub(super) async fn write_status(&mut self, status: DisasterRecoveryPlanStatus) -> Result<(), Error> {
        let (api, name) = (self.api(), self.object.name_any());
        let body = json!({
            "apiVersion": DisasterRecoveryPlan::api_version(&()),
            "kind": DisasterRecoveryPlan::kind(&()),
            "metadata": { "name": name, "resourceVersion": self.version() },
            "status": status,
        });
        let (params, patch) = (PatchParams::apply(FIELD_MANAGER).force(), Patch::Apply(body));
        let call = api.patch_status(&name, &params, &patch);
        self.object = within("write status", call).await?;
        Ok(())
    }

    /// Publishes an event. That it cannot be published holds nothing up.
    pub(super) async fn publish(&self, told: &Told) {
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

    /// Takes back the lags that were exported: what is old must not look like what is.
    pub(super) fn measure_nothing(&self) {
        let objective = status::objective_ms(&self.object.spec);
        self.ctx.metrics.lags(&self.namespace(), &self.object.name_any(), &[], objective);
    }

    /// Exports exact lags.
    pub(super) fn measure(&self, seen: &Observed) {
        let spec = &self.object.spec;
        let (Sight::Found(plan), Ok(checkpoints)) = (&seen.plan, &seen.checkpoints) else {
            if !self.fresh() || matches!(seen.plan, Sight::Absent { .. }) {
                self.measure_nothing();
            }
            return;
        };
        let instances = resolve::instances(spec, plan);
        let status = self.status();
        let items = resolve::items(spec, &status.topic_mappings, &instances, &seen.items);
        let lags = lag::lags(&items, checkpoints);
        let objective = status::objective_ms(spec);
        self.ctx.metrics.lags(&self.namespace(), &self.object.name_any(), &lags, objective);
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
