//! A world for the pure part of the plan controller: the simulated cloud's model, one object, and a clock that only tests
//! move. A pass here is the pass of `controller::plan` without the network: it observes through JSON, as the wire would
//! carry it, decides, writes intents, acts, and computes the status.

use std::collections::BTreeMap;
use std::time::Duration;

use disaster_recovery_operator::api::condition::condition_type;
use disaster_recovery_operator::api::plan::{
    DisasterRecoveryPlan, DisasterRecoveryPlanSpec, DisasterRecoveryPlanStatus, ManagementPolicy,
};
use disaster_recovery_operator::api::{PLAN_ID_ANNOTATION, RECONCILE_ANNOTATION, SYNC_CHECKPOINTS_ANNOTATION};
use disaster_recovery_operator::cloud::credentials::CredentialsError;
use disaster_recovery_operator::cloud::error::{self, Class, Error};
use disaster_recovery_operator::cloud::operation::ApiOperation;
use disaster_recovery_operator::cloud::rocketmq::{self, ItemStatus};
use disaster_recovery_operator::controller::conditions::{self, ConditionState};
use disaster_recovery_operator::controller::events::EventRecord;
use disaster_recovery_operator::controller::plan::act::Effect;
use disaster_recovery_operator::controller::plan::decide::{Decision, Step, Verdict};
use disaster_recovery_operator::controller::plan::observe::{self, AclCredentials, Binding, Lookup, Observed};
use disaster_recovery_operator::controller::plan::{Acted, Ran, Scope, resolve};
use disaster_recovery_operator::controller::resource::Resource;
use disaster_recovery_operator::controller::status;
use disaster_recovery_operator::controller::steps::{Outcome, stops_others};
use disaster_recovery_operator::simulator::model::{
    self, Failure, ForeignPlan, ItemInput, Model, Paging, PlanFilter, PlanInput, Rules,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The region of every plan here.
pub const REGION: &str = "cn-hangzhou";
/// When every world begins, in ms.
pub const T0: i64 = 1_740_724_080_000;
/// The object's mark.
pub const MARK: &str = "[drp 0a1b2c3d/messaging/orders]";
/// The mark of another cluster.
pub const THEIRS: &str = "[drp ffffffff/messaging/orders]";
/// The password in the Secret.
pub const PASSWORD: &str = "hunter22-secret";
/// A password that is in the cloud and not in the Secret.
pub const OTHER_PASSWORD: &str = "letmein-elsewhere";

/// What becomes of a call besides what the cloud makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It fails for sure, and does not happen.
    Refused(Class),
    /// It happens, and its answer is lost.
    AnswerLost,
    /// It does not happen, and nobody can tell.
    RequestLost,
}

/// Where a pass is cut off, as by a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// It is not.
    Never,
    /// After the intents were written and before the first call.
    BeforeActing,
    /// After this many calls.
    AfterCalls(usize),
    /// Before the annotation is written.
    BeforeAnnotation,
    /// Before the status is written.
    BeforeStatus,
}

/// What a status is about.
pub enum Report<'a> {
    /// A pass that acted.
    Ran { seen: &'a Observed, decision: &'a Decision, acted: &'a [Acted] },
    /// A pass that saw nothing.
    Failed { synced: &'a ConditionState, stalled: bool },
    /// `spec.suspend` is true.
    Suspended,
}

/// What a pass came to.
#[derive(Debug)]
pub struct Passed {
    /// What was seen.
    pub seen: Observed,
    /// What was decided.
    pub decision: Decision,
    /// What was done.
    pub acted: Vec<Acted>,
    /// The events.
    pub events: Vec<EventRecord>,
}

impl Passed {
    /// The names of the steps.
    pub fn names(&self) -> Vec<&'static str> {
        self.decision.steps.iter().map(Step::label).collect()
    }

    /// Whether nothing but the change of the plan is left, which the API refuses while another's items run.
    pub fn blocked(&self) -> bool {
        let refused = |it: &Acted| matches!(&it.outcome, Outcome::Failed(error) if error.class == Class::Conflict);
        self.decision.details.blocked_by.is_some() && self.names() == ["UpdatePlan"] && self.acted.iter().all(refused)
    }

    /// The reason of a refusal.
    pub fn refusal(&self) -> Option<&'static str> {
        match &self.decision.verdict {
            Verdict::Refused { reason, .. } => Some(reason),
            Verdict::InSync | Verdict::Acting(_) | Verdict::Waiting { .. } | Verdict::Released { .. } => None,
        }
    }
}

/// One object and one cloud.
#[derive(Clone)]
pub struct World {
    pub model: Model,
    pub now: i64,
    pub spec: DisasterRecoveryPlanSpec,
    pub generation: i64,
    pub status: DisasterRecoveryPlanStatus,
    /// The annotation with the plan's ID.
    pub annotation: Option<i64>,
    pub deleting: bool,
    pub released: Option<Option<String>>,
    pub credentials: BTreeMap<String, AclCredentials>,
    /// The Secret that does not exist.
    pub missing_secret: Option<String>,
    pub window: Duration,
    /// What passes between two passes, in ms.
    pub pace: i64,
    pub sync_requested: Option<String>,
    pub reconcile_requested: Option<String>,
    /// Why checkpoints cannot be read.
    pub checkpoints_fail: Option<Error>,
    pub fresh: bool,
}

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

fn merge(value: &mut Value, patch: Value) {
    match (value, patch) {
        (Value::Object(fields), Value::Object(patch)) => {
            for (name, part) in patch {
                if part.is_null() {
                    fields.remove(&name);
                } else {
                    merge(fields.entry(name).or_insert(Value::Null), part);
                }
            }
        }
        (value, patch) => *value = patch,
    }
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
        "syncCheckpointEnabled": true, "autoSyncCheckpoint": true,
        "instances": [hangzhou, external()],
        "topicMappings": [mapping("orders", "orders", "Running")],
    }))
    .unwrap()
}

/// A user name and password as a Secret holds them.
pub fn acl(password: Option<&str>, version: &str) -> AclCredentials {
    AclCredentials {
        username: "replicator".to_owned().into(),
        password: password.map(|it| it.to_owned().into()),
        secret_name: "idc-acl".into(),
        resource_version: version.into(),
    }
}

impl World {
    pub fn new(spec: DisasterRecoveryPlanSpec, rules: Rules) -> World {
        World {
            model: Model::new(rules),
            now: T0,
            spec,
            generation: 1,
            status: DisasterRecoveryPlanStatus::default(),
            annotation: None,
            deleting: false,
            released: None,
            credentials: BTreeMap::from([("idc".to_owned(), acl(Some(PASSWORD), "1"))]),
            missing_secret: None,
            window: Duration::from_secs(120),
            pace: 5_000,
            sync_requested: None,
            reconcile_requested: None,
            checkpoints_fail: None,
            fresh: true,
        }
    }

    /// A world whose object is in sync with its plan.
    pub fn in_sync(spec: DisasterRecoveryPlanSpec, rules: Rules) -> World {
        let mut world = World::new(spec, rules);
        world.converge(60);
        world
    }

    pub fn timestamp(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now).unwrap()
    }

    pub fn advance(&mut self, ms: i64) {
        self.now += ms;
        self.model.advance(self.now);
    }

    pub fn edit(&mut self, patch: Value) {
        self.spec = spec_of(&self.spec, patch);
        self.generation += 1;
    }

    /// The object as the API server has it.
    pub fn object(&self) -> DisasterRecoveryPlan {
        let mut object = DisasterRecoveryPlan::new("orders", self.spec.clone());
        object.metadata.namespace = Some("messaging".into());
        object.metadata.generation = Some(self.generation);
        object.metadata.deletion_timestamp = self.deleting.then(|| Time(self.timestamp()));
        let annotations = [
            (PLAN_ID_ANNOTATION, self.annotation.map(|id| id.to_string())),
            (RECONCILE_ANNOTATION, self.reconcile_requested.clone()),
            (SYNC_CHECKPOINTS_ANNOTATION, self.sync_requested.clone()),
        ];
        let annotations = annotations.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        object.metadata.annotations = Some(annotations.collect());
        object.status = Some(self.status.clone());
        object
    }

    /// What production code is given of the object.
    pub fn scope<R>(&self, with: impl FnOnce(&Scope<'_>) -> R) -> R {
        let object = self.object();
        with(&Scope {
            status: object.status.as_ref().unwrap(),
            object: &object,
            cluster_id: "0a1b2c3d",
            nonce: "00",
            visibility_window: self.window,
            poll_interval: Duration::from_secs(60),
            evidence_recent: self.fresh,
            now: self.timestamp(),
        })
    }

    pub fn binding(&self) -> Binding {
        self.scope(Binding::new)
    }

    /// As `observe::find_plan`.
    fn find_plan(&mut self) -> Lookup {
        let binding = self.binding();
        let ids = binding.ids();
        for id in &ids {
            if let Ok(plan) = self.model.get_plan(REGION, *id, self.now) {
                return Lookup::Found(Box::new(wire(&plan)));
            }
        }
        let paging = Paging::of_plans_or_items(Some(1), Some(10_000)).unwrap();
        let page = self.model.list_plans(REGION, &PlanFilter::default(), paging, self.now);
        observe::find_in_list(&binding, &ids, wire(&page.list)).unwrap()
    }

    /// What a pass would see.
    pub fn observe(&mut self) -> Observed {
        let plan = self.find_plan();
        let mut items: Vec<rocketmq::ItemView> = vec![];
        if let Lookup::Found(found) = &plan {
            let paging = Paging::of_plans_or_items(Some(1), Some(10_000)).unwrap();
            let page = self.model.list_items(REGION, found.plan_id, (None, None), paging, self.now).unwrap();
            items = wire(&page.list);
        }
        let mut observed = self.scope(|scope| Observed::new(scope, Binding::new(scope), plan, items));
        observed.credentials = self.secrets();
        observed.checkpoints = match &self.checkpoints_fail {
            Some(error) if observed.found().is_some() => Err(error.clone()),
            Some(_) | None => Ok(self.checkpoints(&observed)),
        };
        observed
    }

    /// As `observe::checkpoints`.
    fn checkpoints(&mut self, observed: &Observed) -> BTreeMap<i64, Vec<rocketmq::Checkpoint>> {
        let mut checkpoints = BTreeMap::new();
        let Some(plan) = observed.found().filter(|it| it.sync_checkpoint_enabled != Some(false) && !self.deleting)
        else {
            return checkpoints;
        };
        let sources = self.spec.instances.iter().filter(|want| resolve::is_source(&self.spec, want));
        let sources: Vec<_> = sources.filter_map(|want| observed.instance(&want.name)?.instance_id.clone()).collect();
        for (_, item) in observed.mapped_items().filter(|(_, item)| item.item_status != ItemStatus::Creating) {
            let all: &mut Vec<rocketmq::Checkpoint> = checkpoints.entry(item.item_id).or_default();
            for source in &sources {
                let paging = Paging::of_checkpoints(Some(1), Some(10_000)).unwrap();
                let ids = (plan.plan_id, item.item_id);
                let page = self.model.list_checkpoints(REGION, ids, (Some(source), None), paging, self.now);
                all.extend(wire::<Vec<rocketmq::Checkpoint>>(&page.unwrap().list));
            }
        }
        checkpoints
    }

    /// As `observe::acl_credentials`.
    fn secrets(&self) -> Result<BTreeMap<String, AclCredentials>, CredentialsError> {
        if self.deleting || self.spec.management_policy == ManagementPolicy::Observe {
            return Ok(BTreeMap::new());
        }
        if let Some(name) = &self.missing_secret {
            return Err(CredentialsError::SecretNotFound(name.clone()));
        }
        let mut all = self.credentials.clone();
        all.retain(|name, _| {
            self.spec.instances.iter().any(|it| it.name == *name && it.credentials_secret_ref.is_some())
        });
        Ok(all)
    }

    /// What a pass would decide, without doing it.
    pub fn decide(&mut self) -> (Observed, Decision) {
        let seen = self.observe();
        let decision = self.decide_on(&seen);
        (seen, decision)
    }

    /// What a pass would decide that saw this.
    pub fn decide_on(&self, seen: &Observed) -> Decision {
        self.scope(|scope| DisasterRecoveryPlan::decide(scope, seen))
    }

    /// One pass without faults, and the time until the next one.
    pub fn pass(&mut self) -> Passed {
        self.faulty_pass(&mut |_| Fault::None, Crash::Never)
    }

    /// One pass with faults.
    pub fn faulty_pass(&mut self, fault: &mut dyn FnMut(&Step) -> Fault, crash: Crash) -> Passed {
        let (seen, decision) = self.decide();
        let before = self.clone();
        if let Verdict::Released { left } = &decision.verdict {
            self.released = Some(left.clone());
            return Passed { seen, decision, acted: vec![], events: vec![] };
        }
        self.write_intents(&decision);
        let mut acted = Vec::new();
        let most = match crash {
            Crash::BeforeActing => 0,
            Crash::AfterCalls(calls) => calls,
            Crash::Never | Crash::BeforeAnnotation | Crash::BeforeStatus => usize::MAX,
        };
        let mut stopped = false;
        for step in decision.steps.iter().take(most) {
            let outcome = if stopped { Outcome::Skipped } else { self.act(step, fault(step)) };
            if let Outcome::Failed(error) = &outcome {
                stopped = stops_others(step, error.class);
            }
            acted.push(Acted { step: step.clone(), outcome });
        }
        let mut events = vec![];
        let crashed = matches!(crash, Crash::BeforeActing | Crash::AfterCalls(_) | Crash::BeforeAnnotation);
        if !crashed {
            self.annotate(&Ran { observed: &seen, decision: &decision, acted: &acted });
        }
        if !crashed && crash != Crash::BeforeStatus {
            let new = self.new_status(&Report::Ran { seen: &seen, decision: &decision, acted: &acted });
            let ran = Ran { observed: &seen, decision: &decision, acted: &acted };
            events = before.scope(|before| status::events(before, &new, &ran));
            self.status = new;
        }
        self.advance(self.pace);
        Passed { seen, decision, acted, events }
    }

    /// The status that a report leads to.
    pub fn new_status(&self, report: &Report<'_>) -> DisasterRecoveryPlanStatus {
        let new = self.scope(|scope| match report {
            Report::Suspended => scope.suspended(),
            Report::Failed { synced, stalled } => scope.unobserved(synced, *stalled),
            Report::Ran { seen, decision, acted } => {
                let ran = Ran { observed: seen, decision, acted };
                scope.concluded(DisasterRecoveryPlan::report(scope, &ran), &ran)
            }
        });
        // Who waits for `Ready` and who reads kstatus go on together.
        let find = |kind| conditions::find(&new.head.conditions, kind);
        let work = find(condition_type::RECONCILING).or(find(condition_type::STALLED));
        let ready = find(condition_type::READY).is_some_and(|it| it.status == "True");
        assert!(!ready || work.is_none(), "ready, and {work:?}");
        new
    }

    fn write_intents(&mut self, decision: &Decision) {
        if let Some(status) = &decision.intents {
            self.status = (**status).clone();
        }
    }

    fn annotate(&mut self, ran: &Ran<'_>) {
        let annotations = self.scope(|scope| DisasterRecoveryPlan::report(scope, ran).annotations);
        if let (false, Some((_, id))) = (self.deleting, annotations.into_iter().next()) {
            self.annotation = id.parse().ok();
        }
    }

    /// As `act::act`, on the model.
    fn act(&mut self, step: &Step, fault: Fault) -> Outcome<Effect> {
        let failed = |class, code: &str| {
            let message = "injected".to_owned();
            Outcome::Failed(Error { class, operation: operation(step), code: code.into(), message, request_id: None })
        };
        match fault {
            Fault::Refused(class) => failed(class, "Injected"),
            Fault::RequestLost => failed(Class::Ambiguous, "Timeout"),
            Fault::None => self.carry_out(step),
            Fault::AnswerLost => {
                self.carry_out(step);
                failed(Class::Ambiguous, "Timeout")
            }
        }
    }

    fn carry_out(&mut self, step: &Step) -> Outcome<Effect> {
        let now = self.now;
        let fail = |failure: Failure| {
            let class = error::classify(failure.status, &failure.code, None, true);
            let Failure { code, message, .. } = failure;
            Outcome::Failed(Error { class, operation: operation(step), code, message, request_id: None })
        };
        let done = |result: Result<(), Failure>| result.map_or_else(fail, |()| Outcome::Done(Effect::Changed));
        let gone = |result: Result<(), Failure>| match result {
            Err(failure) if failure.status == 404 => Outcome::Done(Effect::Changed),
            other => done(other),
        };
        let topics = |topics: &Vec<rocketmq::ItemTopic>| wire::<ItemInput>(&json!({ "topics": topics }));
        let model = &mut self.model;
        match step {
            Step::CreatePlan { plan } => model
                .create_plan(REGION, wire::<PlanInput>(plan), now)
                .map_or_else(fail, |id| Outcome::Done(Effect::CreatedPlan(id))),
            Step::UpdatePlan { plan_id, plan } => done(model.update_plan(REGION, *plan_id, wire(plan), now)),
            Step::AddItem { plan_id, topics: it, .. } => model
                .add_item(REGION, *plan_id, topics(it), now)
                .map_or_else(fail, |id| Outcome::Done(Effect::AddedItem(id))),
            Step::UpdateItem { plan_id, item_id, topics: it } => {
                done(model.update_item(REGION, (*plan_id, *item_id), topics(it), now))
            }
            Step::StartItem { plan_id, item_id } => done(model.start_item(REGION, (*plan_id, *item_id), now)),
            Step::StopItem { plan_id, item_id } => done(model.stop_item(REGION, (*plan_id, *item_id), now)),
            Step::DeleteItem { plan_id, item_id } => gone(model.delete_item(REGION, (*plan_id, *item_id), now)),
            Step::DeletePlan { plan_id } => gone(model.delete_plan(REGION, *plan_id, now)),
            Step::SyncCheckpoints { plan_id, checkpoints } => {
                for (item, checkpoint) in checkpoints {
                    model.sync_checkpoint(REGION, (*plan_id, *item), *checkpoint, now).unwrap();
                }
                Outcome::Done(Effect::Synced { done: checkpoints.len(), failed: 0, first: None })
            }
        }
    }

    /// Passes until nothing is to be done, a person has to act, or the object is let go. The last pass.
    pub fn converge(&mut self, most: usize) -> Passed {
        let mut last = None;
        for _ in 0..most {
            let passed = self.pass();
            let at_rest = match &passed.decision.verdict {
                Verdict::InSync => passed.decision.steps.is_empty(),
                Verdict::Refused { .. } | Verdict::Released { .. } => true,
                Verdict::Acting(_) => passed.blocked(),
                Verdict::Waiting { .. } => false,
            };
            if at_rest {
                return passed;
            }
            last = Some(passed);
        }
        panic!("not at rest after {most} passes: {:#?}", last.map(|it| (it.decision, it.acted)));
    }

    /// The condition of a type as `status/reason`.
    pub fn condition(&self, kind: &str) -> String {
        conditions::find(&self.status.head.conditions, kind)
            .map(|it| format!("{}/{}", it.status, it.reason))
            .unwrap_or_default()
    }

    /// Makes a plan that somebody else made in the console, with the object's own instances.
    pub fn console_plan(&mut self, desc: Option<&str>, mappings: &[Value]) -> (i64, Vec<i64>) {
        let instances: Vec<Value> = self.spec.instances.iter().map(|it| self.console_instance(it)).collect();
        let plan: PlanInput = serde_json::from_value(json!({
            "planName": self.binding().plan_name, "planDesc": desc,
            "planType": resolve::plan_type(self.spec.plan_type), "instances": instances,
            "autoSyncCheckpoint": self.spec.auto_sync_checkpoint, "syncCheckpointEnabled": self.spec.sync_checkpoint_enabled,
        }))
        .unwrap();
        let plan_id = self.model.create_plan(REGION, plan, self.now).unwrap();
        let items = mappings.iter().map(|it| self.console_item(plan_id, it)).collect();
        self.advance(self.model.rules.visibility_delay_ms + self.model.rules.delay_ms);
        (plan_id, items)
    }

    fn console_instance(&self, it: &disaster_recovery_operator::api::plan::Instance) -> Value {
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
            self.model.plan(plan_id).unwrap().instances.iter().map(|it| it.id().to_owned()).collect();
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
        self.model.add_item(REGION, plan_id, input, self.now).unwrap()
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
        self.model.add_foreign_plan(REGION, foreign, self.now).unwrap()
    }

    /// All that a plan is and has, but for times and consumer progress.
    pub fn snapshot(&mut self, plan_id: i64) -> Option<Value> {
        let plan = self.model.inspect(self.now).into_iter().find(|it| it.plan_id == plan_id)?;
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
        self.model.advance(self.now);
        let plan = self.model.plan(plan_id);
        plan.map(|plan| plan.items.iter().map(|(id, item)| (*id, item.status)).collect()).unwrap_or_default()
    }

    /// The one plan with our mark.
    pub fn our_plan(&self) -> Option<&model::Plan> {
        let mut ours = self.model.plans().filter(|plan| plan.plan_desc.as_deref().unwrap_or_default().ends_with(MARK));
        let first = ours.next();
        assert!(ours.next().is_none(), "two plans with our mark");
        first
    }

    /// The ID of the one plan with our mark.
    pub fn plan_id(&self) -> i64 {
        self.our_plan().unwrap().plan_id
    }
}

/// The API operation of a step.
fn operation(step: &Step) -> ApiOperation {
    match step {
        Step::CreatePlan { .. } => ApiOperation::CreateDisasterRecoveryPlan,
        Step::UpdatePlan { .. } => ApiOperation::UpdateDisasterRecoveryPlan,
        Step::AddItem { .. } => ApiOperation::AddDisasterRecoveryItem,
        Step::UpdateItem { .. } => ApiOperation::UpdateDisasterRecoveryItem,
        Step::StartItem { .. } => ApiOperation::StartDisasterRecoveryItem,
        Step::StopItem { .. } => ApiOperation::StopDisasterRecoveryItem,
        Step::DeleteItem { .. } => ApiOperation::DeleteDisasterRecoveryItem,
        Step::DeletePlan { .. } => ApiOperation::DeleteDisasterRecoveryPlan,
        Step::SyncCheckpoints { .. } => ApiOperation::SyncDisasterRecoveryCheckpoint,
    }
}
