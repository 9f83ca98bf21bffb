//! A namespace, a cloud and an operator of one test's own.

use std::time::Duration;

use disaster_recovery_operator::api::plan::{DisasterRecoveryPlan, DisasterRecoveryPlanStatus};
use disaster_recovery_operator::cloud::client::{HttpService, from_service};
use disaster_recovery_operator::controller::Settings;
use disaster_recovery_operator::simulator::model::Rules;
use disaster_recovery_operator::simulator::{Config, Simulator};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::Client;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::support::operator::{self, Operator, Tripwire};
use crate::support::{ControlPlane, eventually};

/// How long anything may take. Nothing waits that long unless it is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The password of the samples, which must appear nowhere.
pub(crate) const PASSWORD: &str = "correct-horse-battery-staple";

/// A namespace, a cloud, and what is needed to start operators between them.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) cloud: Simulator,
    pub(crate) settings: Settings,
}

impl World {
    /// A world whose cloud is quick and without faults.
    pub(crate) async fn new() -> Self {
        Self::with(Rules::default()).await
    }

    /// A world whose cloud has rules of its own.
    pub(crate) async fn with(rules: Rules) -> Self {
        Self::on(Config { rules, ..Config::default() }).await
    }

    /// A world with a cloud of its own kind.
    pub(crate) async fn on(config: Config) -> Self {
        let plane = tokio::task::spawn_blocking(|| {
            let plane = ControlPlane::shared();
            operator::installed();
            plane
        })
        .await
        .expect("the control plane is there");
        let client = plane.admin_client();
        let namespace = format!("e2e-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let metadata = ObjectMeta { name: Some(namespace.clone()), ..ObjectMeta::default() };
        let object = Namespace { metadata, ..Namespace::default() };
        Api::all(client.clone()).create(&PostParams::default(), &object).await.expect("a namespace");
        let (cloud, settings) = (Simulator::new(config), operator::settings(&namespace));
        let world = Self { client, namespace, cloud, settings };
        world
            .secret("cloud", &[("accessKeyId", "simulator-key-id"), ("accessKeySecret", "simulator-key-secret")])
            .await;
        world.secret("idc-acl", &[("username", "replicator"), ("password", PASSWORD)]).await;
        world
    }

    /// The way to the cloud.
    pub(crate) fn wire(&self) -> HttpService {
        from_service(self.cloud.router().into_service::<http_body_util::Full<axum::body::Bytes>>())
    }

    /// Starts an operator.
    pub(crate) async fn operator(&self) -> Operator {
        self.operator_until(Tripwire::default()).await
    }

    /// Starts an operator that is stopped dead by `wire`.
    pub(crate) async fn operator_until(&self, wire: Tripwire) -> Operator {
        Operator::start(self.wire(), self.settings.clone(), wire).await
    }

    pub(crate) fn plans(&self) -> Api<DisasterRecoveryPlan> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates or replaces a Secret.
    pub(crate) async fn secret(&self, name: &str, data: &[(&str, &str)]) {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let metadata = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
        let object = Secret { metadata, string_data: Some(data), ..Secret::default() };
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let params = PatchParams::apply("test").force();
        secrets.patch(name, &params, &Patch::Apply(&object)).await.expect("the Secret is written");
    }

    pub(crate) async fn delete_secret(&self, name: &str) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        secrets.delete(name, &DeleteParams::default()).await.expect("the Secret goes");
    }

    /// Creates a plan object.
    pub(crate) async fn create(&self, name: &str, spec: Value) -> DisasterRecoveryPlan {
        let object = json!({
            "apiVersion": "disasterrecovery.dev/v1alpha1",
            "kind": "DisasterRecoveryPlan",
            "metadata": { "name": name },
            "spec": spec,
        });
        let object = serde_json::from_value(object).expect("a plan");
        self.plans().create(&PostParams::default(), &object).await.expect("the plan is accepted")
    }

    /// Changes a plan object by a merge patch.
    pub(crate) async fn patch(&self, name: &str, patch: Value) {
        self.plans().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("the change is accepted");
    }

    pub(crate) async fn annotate(&self, name: &str, annotation: &str, value: &str) {
        self.patch(name, json!({ "metadata": { "annotations": { annotation: value } } })).await;
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.plans().delete(name, &DeleteParams::default()).await.expect("the deletion is accepted");
    }

    pub(crate) async fn get(&self, name: &str) -> Option<DisasterRecoveryPlan> {
        self.plans().get_opt(name).await.expect("kube-apiserver answers")
    }

    /// Waits until an object's status is as wanted, and gives it.
    #[track_caller]
    pub(crate) fn status(
        &self,
        name: &str,
        what: impl Into<String>,
        wanted: impl Fn(&DisasterRecoveryPlanStatus) -> bool,
    ) -> impl Future<Output = DisasterRecoveryPlanStatus> {
        let (plans, name) = (self.plans(), name.to_owned());
        let last = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let shown = last.clone();
        let waiting = eventually(DEADLINE, what, async move || {
            let object = plans.get_opt(&name).await.expect("kube-apiserver answers")?;
            let status = object.status?;
            if let Ok(mut last) = last.lock() {
                *last = format!("{status:#?}");
            }
            wanted(&status).then_some(status)
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
    pub(crate) fn condition(
        &self,
        name: &str,
        kind: &'static str,
        status: &'static str,
        reason: &'static str,
    ) -> impl Future<Output = DisasterRecoveryPlanStatus> {
        let what = format!("{kind}={status}/{reason} of {name}");
        self.status(name, what, move |it| has(it, kind, status, reason))
    }

    /// Waits until the object is in sync, ready and at its newest generation.
    pub(crate) async fn ready(&self, name: &str) -> DisasterRecoveryPlanStatus {
        let generation = self.get(name).await.expect("the object is there").metadata.generation;
        self.status(name, "Ready and InSync at the newest generation", move |it| {
            it.observed_generation == generation
                && it.synced_generation == generation
                && has(it, "Ready", "True", "Available")
                && has(it, "Synced", "True", "InSync")
        })
        .await
    }

    /// Waits until the object is gone.
    #[track_caller]
    pub(crate) fn gone(&self, name: &str) -> impl Future<Output = ()> {
        let (plans, name) = (self.plans(), name.to_owned());
        eventually(DEADLINE, "the object is gone", async move || {
            plans.get_opt(&name).await.expect("kube-apiserver answers").is_none().then_some(())
        })
    }

    /// The events of an object: reason and note.
    pub(crate) async fn events(&self, name: &str) -> Vec<(String, String)> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let all = events.list(&Default::default()).await.expect("kube-apiserver answers");
        let about =
            all.items.into_iter().filter(|it| it.regarding.as_ref().is_some_and(|it| it.name.as_deref() == Some(name)));
        about.map(|it| (it.reason.unwrap_or_default(), it.note.unwrap_or_default())).collect()
    }

    /// Waits for an event of a reason.
    pub(crate) async fn event(&self, name: &str, reason: &str) -> String {
        eventually(DEADLINE, format!("the event {reason}"), async || {
            self.events(name).await.into_iter().find(|it| it.0 == reason).map(|it| it.1)
        })
        .await
    }

    /// The actions that changed the cloud, in their order.
    pub(crate) fn changes(&self) -> Vec<String> {
        self.cloud.requests().into_iter().filter(|it| it.changing).map(|it| it.action).collect()
    }

    /// One plan carries the object's mark, with as many items as `items` and no two for one pair of topics.
    pub(crate) fn assert_one_plan(&self, name: &str, items: usize) -> i64 {
        let mark = format!("/{}/{name}]", self.namespace);
        let plans = self.cloud.plans();
        let ours: Vec<_> =
            plans.iter().filter(|it| it.plan_desc.as_deref().is_some_and(|it| it.ends_with(&mark))).collect();
        assert_eq!(plans.len(), 1, "one plan: {plans:#?}");
        assert_eq!(ours.len(), 1, "it is ours: {plans:#?}");
        assert_eq!(ours[0].items.len(), items, "its items: {plans:#?}");
        let key = |topics: &Vec<_>| format!("{topics:?}");
        let mut pairs: Vec<_> = ours[0].items.iter().map(|it| key(&it.topics)).collect();
        pairs.sort();
        pairs.dedup();
        assert_eq!(pairs.len(), items, "no item twice: {plans:#?}");
        ours[0].plan_id
    }
}

struct Shown(std::sync::Arc<std::sync::Mutex<String>>);

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
pub(crate) fn has(it: &DisasterRecoveryPlanStatus, kind: &str, status: &str, reason: &str) -> bool {
    it.conditions.iter().any(|it| it.type_ == kind && it.status == status && it.reason == reason)
}

/// The message of a condition.
pub(crate) fn message(it: &DisasterRecoveryPlanStatus, kind: &str) -> String {
    it.conditions.iter().find(|it| it.type_ == kind).map(|it| it.message.clone()).unwrap_or_default()
}

/// A one-way plan between two instances with the named topics.
pub(crate) fn one_way(topics: &[&str]) -> Value {
    json!({
        "regionId": "cn-hangzhou",
        "planDesc": "Orders, Hangzhou to Shanghai",
        "planType": "ACTIVE_PASSIVE",
        "syncCheckpointEnabled": true,
        "autoSyncCheckpoint": true,
        "instances": [
            { "name": "hangzhou", "instanceType": "ALIYUN_ROCKETMQ", "instanceRole": "ACTIVE", "regionId": "cn-hangzhou",
              "instanceId": "rmq-cn-aaa", "messageProperty": { "propertyKey": "site", "propertyValue": "hz" } },
            { "name": "shanghai", "instanceType": "ALIYUN_ROCKETMQ", "instanceRole": "PASSIVE", "regionId": "cn-shanghai",
              "instanceId": "rmq-cn-bbb" },
        ],
        "topicMappings": topics.iter().map(|topic| mapping(topic, "shanghai")).collect::<Vec<_>>(),
    })
}

/// A mapping of a topic to itself.
pub(crate) fn mapping(topic: &str, other: &str) -> Value {
    json!({ "name": topic, "topics": [
        { "instance": "hangzhou", "topicName": topic, "deliveryOrderType": "Orderly" },
        { "instance": other, "topicName": topic, "deliveryOrderType": "Orderly" },
    ] })
}

/// A one-way plan to a self-managed cluster with user name and password.
pub(crate) fn external(topics: &[&str]) -> Value {
    let mut spec = one_way(&[]);
    spec["instances"][1] = json!({
        "name": "idc", "instanceType": "EXTERNAL_ROCKETMQ", "instanceRole": "PASSIVE", "regionId": "cn-shanghai",
        "endpointUrl": "10.0.0.1:9876", "networkType": "TCP_VPC", "vpcId": "vpc-1", "vSwitchIds": ["vsw-a", "vsw-b"],
        "securityGroupId": "sg-1", "consumerGroupId": "GID_DR", "authType": "ACL_AUTH",
        "credentialsSecretRef": { "name": "idc-acl" },
    });
    spec["topicMappings"] = topics.iter().map(|topic| mapping(topic, "idc")).collect();
    spec
}
