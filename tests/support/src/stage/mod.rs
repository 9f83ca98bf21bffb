//! A namespace, a cloud and an operator of one test's own, for objects of one kind.

pub mod accounts;
pub mod groups;
pub mod plans;
pub mod record;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use disaster_recovery_operator::api::RECONCILE_ANNOTATION;
use disaster_recovery_operator::api::account::AlibabaCloudAccountStatus;
use disaster_recovery_operator::api::disk_replica_group::DiskReplicaGroupStatus;
use disaster_recovery_operator::api::plan::DisasterRecoveryPlanStatus;
use disaster_recovery_operator::cloud::client::{HttpService, from_service};
use disaster_recovery_operator::cloud::clock::Clock;
use disaster_recovery_operator::controller::Settings;
use disaster_recovery_operator::controller::resource::Object;
use disaster_recovery_operator::simulator::model::ebs::ViolationKind;
use disaster_recovery_operator::simulator::{Config, Simulator};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::object::HasStatus;
use serde::Serialize;
use serde_json::{Value, json};

use crate::operator::{self, Operator, Tripwire};
use crate::{ControlPlane, eventually};
use record::Record;

/// How long anything may take. Nothing waits that long unless it is broken.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The password of the samples, which must appear nowhere.
pub const PASSWORD: &str = "correct-horse-battery-staple";

/// What the status of every kind says.
pub trait KindStatus: Debug {
    /// The conditions.
    fn conditions(&self) -> &[Condition];
    /// The generation that the status is about, and the last one that the cloud matched.
    fn generations(&self) -> [Option<i64>; 2];
}

impl KindStatus for DisasterRecoveryPlanStatus {
    fn conditions(&self) -> &[Condition] {
        &self.head.conditions
    }

    fn generations(&self) -> [Option<i64>; 2] {
        [self.head.observed_generation, self.head.synced_generation]
    }
}

impl KindStatus for DiskReplicaGroupStatus {
    fn conditions(&self) -> &[Condition] {
        &self.head.conditions
    }

    fn generations(&self) -> [Option<i64>; 2] {
        [self.head.observed_generation, self.head.synced_generation]
    }
}

/// An account is in sync with nothing.
impl KindStatus for AlibabaCloudAccountStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    fn generations(&self) -> [Option<i64>; 2] {
        [self.observed_generation, None]
    }
}

/// A kind whose status has conditions.
pub trait Tested: Object + HasStatus<Status: KindStatus> + Serialize {}

impl<K: Object + HasStatus<Status: KindStatus> + Serialize> Tested for K {}

/// A namespace, a cloud, and what is needed to start operators between them.
pub struct Stage<K> {
    /// A client that may do everything.
    pub client: Client,
    /// The namespace of the objects.
    pub namespace: String,
    /// The cloud.
    pub cloud: Simulator,
    /// The settings of operators.
    pub settings: Settings,
    /// The clock of operators.
    clock: Clock,
    violations: Violations,
    kind: PhantomData<fn() -> K>,
}

/// The violations that a test consents to. At its end there is no other one in its cloud.
#[derive(Clone)]
struct Violations {
    cloud: Simulator,
    /// Kinds, and the beginning of the names of their disks.
    expected: Arc<Mutex<BTreeSet<(ViolationKind, &'static str)>>>,
}

impl Violations {
    fn of(cloud: &Simulator) -> Self {
        Self { cloud: cloud.clone(), expected: Arc::default() }
    }

    fn expect(&self, kind: ViolationKind, disks: &'static str) {
        self.expected.lock().expect("the kinds").insert((kind, disks));
    }
}

impl Drop for Violations {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let expected = self.expected.lock().map(|it| it.clone()).unwrap_or_default();
        let mut found = self.cloud.with_disks(|disks, _| disks.violations().to_vec());
        found.retain(|it| !expected.iter().any(|(kind, disks)| it.kind == *kind && it.disk.starts_with(disks)));
        assert!(found.is_empty(), "calls that open or overwrite a disk wrongly: {found:#?}");
    }
}

impl<K: Tested> Stage<K> {
    /// A world with a cloud of its own kind.
    pub async fn on(config: Config) -> Self {
        let plane = tokio::task::spawn_blocking(|| {
            let plane = ControlPlane::shared();
            operator::installed();
            plane
        })
        .await
        .expect("the control plane is there");
        let client = plane.admin_client();
        Self::within(client, Simulator::new(config)).await
    }

    /// A new namespace with the usual Secrets.
    async fn within(client: Client, cloud: Simulator) -> Self {
        let namespace = format!("e2e-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let metadata = ObjectMeta { name: Some(namespace.clone()), ..ObjectMeta::default() };
        let object = Namespace { metadata, ..Namespace::default() };
        Api::all(client.clone()).create(&PostParams::default(), &object).await.expect("a namespace");
        let settings = operator::settings(&namespace);
        let (clock, violations) = (Clock::system(), Violations::of(&cloud));
        let world = Self { client, namespace, cloud, settings, clock, violations, kind: PhantomData };
        world
            .secret("cloud", &[("accessKeyId", "simulator-key-id"), ("accessKeySecret", "simulator-key-secret")])
            .await;
        world.secret("idc-acl", &[("username", "replicator"), ("password", PASSWORD)]).await;
        world
    }

    /// Another namespace beside this one with the same cloud. Operators of this stage watch both from now on.
    pub async fn beside(&mut self) -> Self {
        let mut other = Self::within(self.client.clone(), self.cloud.clone()).await;
        (other.clock, other.violations) = (self.clock.clone(), self.violations.clone());
        self.settings.namespaces.push(other.namespace.clone());
        other
    }

    /// The same namespace and cloud for objects of another kind.
    pub fn of<J: Tested>(&self) -> Stage<J> {
        let (client, namespace) = (self.client.clone(), self.namespace.clone());
        let (cloud, settings, violations) = (self.cloud.clone(), self.settings.clone(), self.violations.clone());
        Stage { client, namespace, cloud, settings, clock: self.clock.clone(), violations, kind: PhantomData }
    }

    /// Gives operators the clock of the cloud, which [`Self::advance`] moves.
    pub fn use_clouds_clock(&mut self) {
        let cloud = self.cloud.clone();
        self.clock = Clock::new(move || Timestamp::from_millisecond(cloud.now_ms()).expect("a time"));
    }

    /// Lets time pass, for the cloud and for its operators.
    pub fn advance(&self, by: Duration) {
        let ahead = self.cloud.now_ms() - Timestamp::now().as_millisecond();
        let by = i64::try_from(by.as_millis()).expect("a time");
        self.cloud.set_clock_offset_ms(ahead.max(0) + by);
    }

    /// Consents to a kind of violations of disks whose names begin like this. They count as errors at the end of the test
    /// otherwise.
    pub fn expect_violation(&self, kind: ViolationKind, disks: &'static str) {
        self.violations.expect(kind, disks);
    }

    /// Watches an object from now on.
    pub async fn record(&self, name: &str) -> Record<K> {
        Record::of(self.api(), name).await
    }

    /// The way to the cloud.
    pub fn wire(&self) -> HttpService {
        from_service(self.cloud.router().into_service::<http_body_util::Full<axum::body::Bytes>>())
    }

    /// Starts an operator.
    pub async fn operator(&self) -> Operator {
        self.operator_until(Tripwire::default()).await
    }

    /// Starts an operator that is stopped dead by `wire`.
    pub async fn operator_until(&self, wire: Tripwire) -> Operator {
        Operator::start_at(self.clock.clone(), self.wire(), self.settings.clone(), wire).await
    }

    /// The objects.
    pub fn api(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates or replaces a Secret.
    pub async fn secret(&self, name: &str, data: &[(&str, &str)]) {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let metadata = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
        let object = Secret { metadata, string_data: Some(data), ..Secret::default() };
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let params = PatchParams::apply("test").force();
        secrets.patch(name, &params, &Patch::Apply(&object)).await.expect("the Secret is written");
    }

    /// Deletes a Secret.
    pub async fn delete_secret(&self, name: &str) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        secrets.delete(name, &DeleteParams::default()).await.expect("the Secret goes");
    }

    /// Creates an object.
    pub async fn create(&self, name: &str, spec: Value) -> K {
        let object = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": { "name": name },
            "spec": spec,
        });
        let object = serde_json::from_value(object).expect("an object");
        self.api().create(&PostParams::default(), &object).await.expect("the object is accepted")
    }

    /// Changes an object by a merge patch.
    pub async fn patch(&self, name: &str, patch: Value) {
        self.api().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("the change is accepted");
    }

    /// Sets an annotation of an object.
    pub async fn annotate(&self, name: &str, annotation: &str, value: &str) {
        self.patch(name, json!({ "metadata": { "annotations": { annotation: value } } })).await;
    }

    /// Requests a reconcile, and with it new samples, which are otherwise taken when their evidence is about to expire.
    pub async fn request_reconcile(&self, name: &str) {
        self.annotate(name, RECONCILE_ANNOTATION, &uuid::Uuid::new_v4().to_string()).await;
    }

    /// Deletes an object.
    pub async fn delete(&self, name: &str) {
        self.api().delete(name, &DeleteParams::default()).await.expect("the deletion is accepted");
    }

    /// The object, where there is one.
    pub async fn get(&self, name: &str) -> Option<K> {
        self.api().get_opt(name).await.expect("kube-apiserver answers")
    }

    /// Waits until an object's status is as wanted, and gives it.
    #[track_caller]
    pub fn status(
        &self,
        name: &str,
        what: impl Into<String>,
        wanted: impl Fn(&K::Status) -> bool,
    ) -> impl Future<Output = K::Status> {
        self.wait_for(name, what, move |_, status| wanted(status))
    }

    /// Waits until an object's generation and status are as wanted, and gives the status.
    #[track_caller]
    fn wait_for(
        &self,
        name: &str,
        what: impl Into<String>,
        wanted: impl Fn(Option<i64>, &K::Status) -> bool,
    ) -> impl Future<Output = K::Status> {
        let (objects, name) = (self.api(), name.to_owned());
        let last = Arc::new(Mutex::new(String::new()));
        let shown = last.clone();
        let waiting = eventually(DEADLINE, what, async move || {
            let object = objects.get_opt(&name).await.expect("kube-apiserver answers")?;
            let status = object.status().cloned()?;
            if let Ok(mut last) = last.lock() {
                *last = format!("{status:#?}");
            }
            wanted(object.meta().generation, &status).then_some(status)
        });
        // What was there instead is what a person needs to see.
        let guard = Shown(shown);
        async move {
            let found = waiting.await;
            guard.done();
            found
        }
    }

    /// Waits until a condition has a status and reason at the object's generation.
    #[track_caller]
    pub fn condition(
        &self,
        name: &str,
        kind: &'static str,
        status: &'static str,
        reason: &'static str,
    ) -> impl Future<Output = K::Status> {
        let what = format!("{kind}={status}/{reason} of {name}");
        self.wait_for(name, what, move |generation, it| {
            let current = |it: &&Condition| it.type_ == kind && it.observed_generation == generation;
            it.conditions().iter().find(current).is_some_and(|it| it.status == status && it.reason == reason)
        })
    }

    /// Waits until the object is in sync, ready and at its newest generation.
    pub async fn ready(&self, name: &str) -> K::Status {
        self.wait_for(name, "Ready and InSync at the newest generation", |generation, it| {
            it.generations() == [generation; 2]
                && has(it, "Ready", "True", "Available")
                && has(it, "Synced", "True", "InSync")
        })
        .await
    }

    /// Waits until the object is gone.
    #[track_caller]
    pub fn gone(&self, name: &str) -> impl Future<Output = ()> {
        let (objects, name) = (self.api(), name.to_owned());
        eventually(DEADLINE, "the object is gone", async move || {
            objects.get_opt(&name).await.expect("kube-apiserver answers").is_none().then_some(())
        })
    }

    /// The events of an object: reason and note.
    pub async fn events(&self, name: &str) -> Vec<(String, String)> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let all = events.list(&Default::default()).await.expect("kube-apiserver answers");
        let about =
            all.items.into_iter().filter(|it| it.regarding.as_ref().is_some_and(|it| it.name.as_deref() == Some(name)));
        about.map(|it| (it.reason.unwrap_or_default(), it.note.unwrap_or_default())).collect()
    }

    /// Waits for an event of a reason.
    pub async fn event(&self, name: &str, reason: &str) -> String {
        eventually(DEADLINE, format!("the event {reason}"), async || {
            self.events(name).await.into_iter().find(|it| it.0 == reason).map(|it| it.1)
        })
        .await
    }

    /// The actions that changed the cloud, in their order. A call that was repeated with its token is one.
    pub fn changes(&self) -> Vec<String> {
        let mut tokens = BTreeSet::new();
        let mut first = |query: &[(String, String)]| {
            let token = query.iter().find(|(name, _)| name == "ClientToken");
            token.is_none_or(|(_, token)| tokens.insert(token.clone()))
        };
        let changing = self.cloud.requests().into_iter().filter(|it| it.changing && first(&it.query));
        changing.map(|it| it.action).collect()
    }
}

struct Shown(Arc<Mutex<String>>);

impl Shown {
    fn done(self) {
        if let Ok(mut text) = self.0.lock() {
            text.clear();
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Ok(text) = self.0.lock()
            && !text.is_empty()
        {
            eprintln!("the last status seen: {text}");
        }
    }
}

/// Whether a status has a condition.
pub fn has(it: &impl KindStatus, kind: &str, status: &str, reason: &str) -> bool {
    it.conditions().iter().any(|it| it.type_ == kind && it.status == status && it.reason == reason)
}

/// The message of a condition.
pub fn message(it: &impl KindStatus, kind: &str) -> String {
    it.conditions().iter().find(|it| it.type_ == kind).map(|it| it.message.clone()).unwrap_or_default()
}
