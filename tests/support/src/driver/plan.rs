//! Worlds of plans: specs in short, the console, and what the cloud has.

use std::collections::BTreeMap;

use disaster_recovery_operator::api::condition::synced;
use disaster_recovery_operator::api::plan::{DisasterRecoveryPlan, DisasterRecoveryPlanSpec, Instance};
use disaster_recovery_operator::api::{FINALIZER, PLAN_ID_ANNOTATION};
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::controller::plan::binding::Binding;
use disaster_recovery_operator::controller::plan::decide::{Decision, Step};
use disaster_recovery_operator::controller::plan::observe::Observed;
use disaster_recovery_operator::controller::plan::resolve;
use disaster_recovery_operator::controller::verdict::Verdict;
use disaster_recovery_operator::simulator::model::{self, ForeignPlan, ItemInput, PlanInput, Rules};
use disaster_recovery_operator::simulator::{Config, Fault, ModelGuard};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::store::merge;
use super::world::{self, Passed};

pub use super::faults::Fate;
use super::faults::refusal;
pub use super::tripwire::Crash;
pub use super::world::T0;

/// A plan, its cloud and a clock.
pub type World = world::World<DisasterRecoveryPlan>;

/// The region of every plan here.
pub const REGION: &str = "cn-hangzhou";
/// The object's mark.
pub const MARK: &str = "[drp 0a1b2c3d/messaging/orders]";
/// The mark of another cluster.
pub const THEIRS: &str = "[drp ffffffff/messaging/orders]";
/// The password in the Secret.
pub const PASSWORD: &str = "hunter22-secret";
/// A password that is in the cloud and not in the Secret.
pub const OTHER_PASSWORD: &str = "letmein-elsewhere";

/// Something as the wire carries it.
pub fn wire<T: DeserializeOwned>(value: &impl Serialize) -> T {
    serde_json::from_value(serde_json::to_value(value).unwrap()).unwrap()
}

/// A spec with changes by JSON merge patch.
pub fn spec_with(patch: Value) -> DisasterRecoveryPlanSpec {
    spec_of(&base_spec(), patch)
}

/// A spec with changes by JSON merge patch (lists are replaced).
pub fn spec_of(base: &DisasterRecoveryPlanSpec, patch: Value) -> DisasterRecoveryPlanSpec {
    let mut value = serde_json::to_value(base).unwrap();
    merge(&mut value, patch);
    serde_json::from_value(value).unwrap()
}

/// An instance that Alibaba Cloud runs.
pub fn aliyun(name: &str, id: &str, role: &str) -> Value {
    json!({"name": name, "instanceType": "ALIYUN_ROCKETMQ", "instanceRole": role, "regionId": REGION, "instanceId": id})
}

/// A cluster of the user's own.
pub fn external() -> Value {
    json!({
        "name": "idc", "instanceType": "EXTERNAL_ROCKETMQ", "instanceRole": "PASSIVE", "regionId": "cn-shanghai",
        "endpointUrl": "10.0.0.1:9876", "networkType": "TCP_VPC", "vpcId": "vpc-1", "vSwitchIds": ["vsw-a", "vsw-b"],
        "securityGroupId": "sg-1", "consumerGroupId": "GID_DR", "authType": "ACL_AUTH",
        "credentialsSecretRef": {"name": "idc-acl"},
    })
}

/// A mapping of one topic to its copy on the external instance.
pub fn mapping(name: &str, topic: &str, state: &str) -> Value {
    mapping_to("idc", name, topic, state)
}

/// A mapping of one topic to its copy on the instance of that name.
pub fn mapping_to(second: &str, name: &str, topic: &str, state: &str) -> Value {
    json!({
        "name": name, "state": state,
        "topics": [
            {"instance": "hangzhou", "topicName": topic, "deliveryOrderType": "Orderly"},
            {"instance": second, "topicName": format!("{topic}-copy"), "deliveryOrderType": "Orderly"},
        ],
    })
}

/// A plan with every field and one running mapping.
pub fn base_spec() -> DisasterRecoveryPlanSpec {
    let mut hangzhou = aliyun("hangzhou", "rmq-a", "ACTIVE");
    hangzhou["messageProperty"] = json!({"propertyKey": "site", "propertyValue": "hz"});
    serde_json::from_value(json!({
        "regionId": REGION, "planName": "orders", "planDesc": "Orders", "planType": "ACTIVE_PASSIVE",
        "syncCheckpointEnabled": true, "autoSyncCheckpoint": true, "updatePolicy": "PauseItems",
        "instances": [hangzhou, external()],
        "topicMappings": [mapping("orders", "orders", "Running")],
    }))
    .unwrap()
}

/// A plan with two running mappings that replicates both ways.
pub fn two_way_spec(objective: &str) -> DisasterRecoveryPlanSpec {
    let mappings = [mapping_to("shanghai", "a", "a", "Running"), mapping_to("shanghai", "b", "b", "Running")];
    serde_json::from_value(json!({
        "regionId": REGION, "planName": "orders", "planDesc": "Orders", "planType": "ACTIVE_ACTIVE",
        "syncCheckpointEnabled": true, "recoveryPointObjective": objective,
        "instances": [aliyun("hangzhou", "rmq-a", "ACTIVE"), aliyun("shanghai", "rmq-b", "ACTIVE")],
        "topicMappings": mappings,
    }))
    .unwrap()
}

impl Passed<DisasterRecoveryPlan> {
    /// The names of the steps.
    pub fn names(&self) -> Vec<&'static str> {
        self.decision.steps.iter().map(Step::label).collect()
    }

    /// Whether a change waits because items run.
    pub fn update_waits(&self) -> bool {
        self.decision.details.update_waits.is_some() || self.refusal() == Some(synced::UPDATE_WAITS)
    }
}

impl World {
    /// A world with a new object of this spec.
    pub fn new(spec: DisasterRecoveryPlanSpec, rules: Rules) -> World {
        Self::with_config(spec, Config { rules, ..Config::default() })
    }

    /// A world with a new object of this spec, and a cloud of this configuration.
    pub fn with_config(spec: DisasterRecoveryPlanSpec, config: Config) -> World {
        let mut object = DisasterRecoveryPlan::new("orders", spec);
        object.metadata.namespace = Some("messaging".into());
        object.metadata.uid = Some("0f8fad5b-d9cb-469f-a165-70867728950e".into());
        object.metadata.generation = Some(1);
        let world = World::of(object, config);
        world.set_password(Some(PASSWORD));
        world
    }

    /// A world whose object is in sync with its plan.
    pub fn in_sync(spec: DisasterRecoveryPlanSpec, rules: Rules) -> World {
        let mut world = World::new(spec, rules);
        world.converge(60);
        world
    }

    /// Writes the Secret of the external instance, or deletes it.
    pub fn set_password(&self, password: Option<&str>) {
        let path = "/api/v1/namespaces/messaging/secrets/idc-acl";
        let Some(password) = password else { return self.store.remove(path) };
        let data = BTreeMap::from([("username", "replicator"), ("password", password)]);
        let encoded: BTreeMap<_, _> =
            data.into_iter().map(|(key, text)| (key, k8s_openapi::ByteString(text.as_bytes().to_vec()))).collect();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "messaging", "name": "idc-acl"}, "data": encoded,
        });
        self.store.put(path, secret);
    }

    /// Makes reads of checkpoints fail, or work again.
    pub fn fail_checkpoints(&self, class: Option<Class>) {
        self.simulator.clear_faults();
        let Some(class) = class else { return };
        self.simulator.add_fault(Fault::new(refusal(class)).of_action("ListDisasterRecoveryCheckpoints"));
    }

    /// The plans in the cloud, locked.
    pub fn model(&self) -> ModelGuard<'_> {
        self.simulator.model()
    }

    /// A plan as the cloud has it.
    pub fn plan(&self, plan_id: i64) -> Option<model::Plan> {
        self.model().plan(plan_id).cloned()
    }

    /// All plans as the cloud has them.
    pub fn plans(&self) -> Vec<model::Plan> {
        self.model().plans().cloned().collect()
    }

    /// Gives the object the operator's finalizer, as its first reconcile does.
    pub fn hold(&mut self) {
        let finalizers = self.object.metadata.finalizers.get_or_insert_default();
        if finalizers.is_empty() {
            finalizers.push(FINALIZER.to_owned());
        }
    }

    /// Deletes the object where `deleting` says so, also when no reconcile has seen it.
    pub fn delete_if(&mut self, deleting: bool) {
        if deleting {
            self.hold();
            self.delete();
        }
    }

    /// The annotation with the plan's ID.
    pub fn claimed(&self) -> Option<i64> {
        self.annotation(PLAN_ID_ANNOTATION)?.parse().ok()
    }

    pub fn claim(&mut self, plan_id: Option<i64>) {
        match plan_id {
            Some(id) => self.annotate(PLAN_ID_ANNOTATION, &id.to_string()),
            None => {
                let annotations = self.object.metadata.annotations.as_mut();
                annotations.map(|all| all.remove(PLAN_ID_ANNOTATION));
            }
        }
    }

    pub fn binding(&self) -> Binding {
        self.scope(Binding::new)
    }

    /// What a reconcile would decide, without doing it.
    pub fn decide(&self) -> (Observed, Decision) {
        let seen = self.observe().unwrap_or_else(|error| panic!("nothing was observed: {error}"));
        let decision = self.decide_on(&seen);
        (seen, decision)
    }

    /// One reconcile with a fault for each step that it decides on, and with a crash.
    pub fn faulty_steps(&mut self, fate: &mut dyn FnMut(&Step) -> Fate, crash: Crash) -> Passed<DisasterRecoveryPlan> {
        let faults = self.decide().1.steps.iter().map(fate).collect();
        self.faulty_pass(faults, crash).unwrap_or_else(|error| panic!("nothing was observed: {error}"))
    }

    /// Reconciles until nothing is to be done, a person has to act, or the object is gone. The last reconcile.
    pub fn converge(&mut self, most: usize) -> Passed<DisasterRecoveryPlan> {
        let mut last = None;
        for _ in 0..most {
            let passed = self.pass();
            let at_rest = match &passed.decision.verdict {
                Verdict::InSync => passed.decision.steps.is_empty(),
                Verdict::Refused { .. } | Verdict::Released { .. } => true,
                Verdict::Acting(_) | Verdict::Waiting { .. } => false,
            };
            if at_rest {
                return passed;
            }
            last = Some(passed);
        }
        panic!("not at rest after {most} reconciles: {:#?}", last.map(|it| (it.decision, it.calls)));
    }

    /// Makes a plan that somebody else made in the console, with the object's own instances.
    pub fn console_plan(&mut self, desc: Option<&str>, mappings: &[Value]) -> (i64, Vec<i64>) {
        let instances: Vec<Value> = self.object.spec.instances.iter().map(|it| self.console_instance(it)).collect();
        let plan: PlanInput = serde_json::from_value(json!({
            "planName": self.binding().plan_name, "planDesc": desc,
            "planType": resolve::plan_type(self.object.spec.plan_type), "instances": instances,
            "autoSyncCheckpoint": self.object.spec.auto_sync_checkpoint, "syncCheckpointEnabled": self.object.spec.sync_checkpoint_enabled,
        }))
        .unwrap();
        let plan_id = self.simulator.with_model(|model, now| model.create_plan(REGION, plan, now)).unwrap();
        let items = mappings.iter().map(|it| self.console_item(plan_id, it)).collect();
        let delay = {
            let model = self.model();
            model.rules.visibility_delay_ms + model.rules.delay_ms
        };
        self.advance(delay);
        (plan_id, items)
    }

    fn console_instance(&self, it: &Instance) -> Value {
        let mut value = serde_json::to_value(it).unwrap();
        for field in ["name", "credentialsSecretRef"] {
            value.as_object_mut().unwrap().remove(field);
        }
        if let Some(ids) = value.as_object_mut().unwrap().remove("vSwitchIds") {
            let ids: Vec<String> = serde_json::from_value(ids).unwrap();
            value["vSwitchId"] = json!(ids.join("|"));
        }
        if it.credentials_secret_ref.is_some() {
            value["username"] = json!("replicator");
            value["password"] = json!(PASSWORD);
        }
        value
    }

    /// Adds an item by hand: the topics of a mapping.
    pub fn console_item(&mut self, plan_id: i64, mapping: &Value) -> i64 {
        let ids: Vec<String> =
            self.model().plan(plan_id).unwrap().instances.iter().map(|it| it.id().to_owned()).collect();
        let topics: Vec<Value> = mapping["topics"]
            .as_array()
            .unwrap()
            .iter()
            .zip(ids)
            .map(|(topic, id)| {
                json!({
                    "instanceId": id, "topicName": topic["topicName"], "deliveryOrderType": topic["deliveryOrderType"],
                })
            })
            .collect();
        let input: ItemInput = serde_json::from_value(json!({ "topics": topics })).unwrap();
        self.simulator.with_model(|model, now| model.add_item(REGION, plan_id, input, now)).unwrap()
    }

    /// A plan of other people, with one running item.
    pub fn stranger(&mut self, name: &str, desc: Option<&str>) -> i64 {
        let foreign: ForeignPlan = serde_json::from_value(json!({
            "planName": name, "planDesc": desc,
            "items": [{"topics": [
                {"instanceId": "rmq-foreign-a", "topicName": "theirs"},
                {"instanceId": "rmq-foreign-b", "topicName": "theirs"},
            ]}],
        }))
        .unwrap();
        self.simulator.with_model(|model, now| model.add_foreign_plan(REGION, foreign, now)).unwrap()
    }

    /// All that a plan is and has, but for times and consumer progress.
    pub fn snapshot(&mut self, plan_id: i64) -> Option<Value> {
        let plans = self.simulator.with_model(|model, now| model.inspect(now));
        let plan = plans.into_iter().find(|it| it.plan_id == plan_id)?;
        let mut value = serde_json::to_value(plan).unwrap();
        let strip = |value: &mut Value| {
            for field in ["createTime", "updateTime", "checkpoints"] {
                value.as_object_mut().unwrap().remove(field);
            }
        };
        strip(&mut value);
        value["items"].as_array_mut().into_iter().flatten().for_each(strip);
        Some(value)
    }

    /// The items of a plan by ID, with their statuses.
    pub fn items(&mut self, plan_id: i64) -> BTreeMap<i64, model::ItemStatus> {
        let model = self.model();
        let plan = model.plan(plan_id);
        plan.map(|plan| plan.items.iter().map(|(id, item)| (*id, item.status)).collect()).unwrap_or_default()
    }

    /// The one plan with our mark.
    pub fn our_plan(&self) -> Option<model::Plan> {
        let model = self.model();
        let mut ours = model.plans().filter(|plan| plan.plan_desc.as_deref().unwrap_or_default().ends_with(MARK));
        let first = ours.next().cloned();
        assert!(ours.next().is_none(), "two plans with our mark");
        first
    }

    /// The ID of the one plan with our mark.
    pub fn plan_id(&self) -> i64 {
        self.our_plan().unwrap().plan_id
    }
}
