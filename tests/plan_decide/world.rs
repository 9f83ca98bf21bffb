//! A world for the pure part of the plan controller: the simulated cloud's model, one object, and a clock that only tests
//! move. A pass here is the pass of `controller::plan` without the network: it observes through JSON, as the wire would
//! carry it, decides, writes intents, acts, and computes the status.

use std::collections::BTreeMap;
use std::time::Duration;

use disaster_recovery_operator::api::condition::condition_type;
use disaster_recovery_operator::api::plan::{DisasterRecoveryPlanSpec, DisasterRecoveryPlanStatus, ManagementPolicy};
use disaster_recovery_operator::cloud::credentials::CredentialsError;
use disaster_recovery_operator::cloud::error::{self, Class, Error};
use disaster_recovery_operator::cloud::operation::ApiOperation;
use disaster_recovery_operator::cloud::rocketmq::{self, ItemStatus};
use disaster_recovery_operator::controller::conditions;
use disaster_recovery_operator::controller::plan;
use disaster_recovery_operator::controller::plan::act::{self, Acted, Outcome};
use disaster_recovery_operator::controller::plan::decide::{self, Decision, Desired, Step, Verdict};
use disaster_recovery_operator::controller::plan::events;
use disaster_recovery_operator::controller::plan::observe::{self, AclCredentials, Binding, Lookup, Observed};
use disaster_recovery_operator::controller::plan::resolve;
use disaster_recovery_operator::controller::plan::status::{self, Pass, Report};
use disaster_recovery_operator::controller::resource::EventRecord;
use disaster_recovery_operator::simulator::model::{
    self, Failure, ForeignPlan, ItemInput, Model, Paging, PlanFilter, PlanInput, Rules,
};
use jiff::Timestamp;
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
        self.decision.steps.iter().map(Step::name).collect()
    }

    /// Whether nothing but the change of the plan is left, which the API refuses while another's items run.
    pub fn blocked(&self) -> bool {
        let refused = |it: &Acted| matches!(&it.outcome, Outcome::Failed(error) if error.class == Class::Conflict);
        self.decision.blocked_by.is_some() && self.names() == ["UpdatePlan"] && self.acted.iter().all(refused)
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

    pub fn binding(&self) -> Binding {
        let number = |id: &Option<String>| id.as_deref().and_then(|id| id.parse().ok());
        Binding {
            bound: number(&self.status.plan_id).or(self.annotation),
            named: number(&self.spec.plan_id),
            creating: self.status.creation.is_some(),
            plan_name: self.spec.plan_name.clone().unwrap_or_else(|| "orders".into()),
            mark: MARK.into(),
        }
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
        observe::pick(&binding, &ids, wire(&page.list)).unwrap()
    }

    /// What a pass would see.
    pub fn observe(&mut self) -> Observed {
        let plan = self.find_plan();
        let Lookup::Found(found) = &plan else {
            return Observed { plan, items: vec![], checkpoints: Ok(BTreeMap::new()), credentials: self.secrets() };
        };
        let paging = Paging::of_plans_or_items(Some(1), Some(10_000)).unwrap();
        let page = self.model.list_items(REGION, found.plan_id, (None, None), paging, self.now).unwrap();
        let items: Vec<rocketmq::ItemView> = wire(&page.list);
        let mut checkpoints = BTreeMap::new();
        if found.sync_checkpoint_enabled != Some(false) && !self.deleting {
            let instances = resolve::instances(&self.spec, found);
            let resolved = resolve::items(&self.spec, &self.status.topic_mappings, &instances, &items);
            let sources: Vec<_> = resolve::sources(&self.spec, &instances).into_iter().map(str::to_owned).collect();
            for item in resolved.mapped.into_values().filter(|item| item.item_status != ItemStatus::Creating) {
                let all: &mut Vec<rocketmq::Checkpoint> = checkpoints.entry(item.item_id).or_default();
                for source in &sources {
                    let paging = Paging::of_checkpoints(Some(1), Some(10_000)).unwrap();
                    let ids = (found.plan_id, item.item_id);
                    let page = self.model.list_checkpoints(REGION, ids, (Some(source), None), paging, self.now);
                    all.extend(wire::<Vec<rocketmq::Checkpoint>>(&page.unwrap().list));
                }
            }
        }
        let checkpoints = match &self.checkpoints_fail {
            Some(error) => Err(error.clone()),
            None => Ok(checkpoints),
        };
        Observed { plan, items, checkpoints, credentials: self.secrets() }
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
        let binding = self.binding();
        let want = Desired {
            spec: &self.spec,
            status: &self.status,
            binding: &binding,
            claimed: self.annotation,
            sync_requested: self.sync_requested.is_some()
                && self.sync_requested != self.status.last_handled_sync_checkpoints_at,
            visibility_window: self.window,
            generation: self.generation,
            asked_again: self.reconcile_requested != self.status.last_handled_reconcile_at,
            deleting_since: None,
        };
        let now = self.timestamp();
        if self.deleting { decide::teardown(&want, seen, now) } else { decide::decide(&want, seen, now) }
    }

    /// One pass without faults, and the time until the next one.
    pub fn pass(&mut self) -> Passed {
        self.faulty_pass(&mut |_| Fault::None, Crash::Never)
    }

    /// One pass with faults.
    pub fn faulty_pass(&mut self, fault: &mut dyn FnMut(&Step) -> Fault, crash: Crash) -> Passed {
        let (seen, decision) = self.decide();
        let before = self.status.clone();
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
                stopped = act::concerns_others(step, error.class);
            }
            acted.push(Acted { step: step.clone(), outcome });
        }
        let mut events = vec![];
        let crashed = matches!(crash, Crash::BeforeActing | Crash::AfterCalls(_) | Crash::BeforeAnnotation);
        if !crashed {
            self.annotate(&seen, &acted);
        }
        if !crashed && crash != Crash::BeforeStatus {
            let new = self.new_status(&Report::Ran { seen: &seen, decision: &decision, acted: &acted });
            let asked = self.sync_requested.is_some() && self.sync_requested != before.last_handled_sync_checkpoints_at;
            events = events::events(&self.spec, &before, &new, &seen, &decision, &acted, asked);
            self.status = new;
        }
        self.advance(self.pace);
        Passed { seen, decision, acted, events }
    }

    /// The status that a report leads to.
    pub fn new_status(&self, report: &Report<'_>) -> DisasterRecoveryPlanStatus {
        let binding = self.binding();
        let pass = Pass {
            generation: Some(self.generation),
            deleting: self.deleting,
            old: &self.status,
            spec: &self.spec,
            binding: &binding,
            reconcile_requested: self.reconcile_requested.as_deref(),
            sync_requested: self.sync_requested.as_deref(),
            poll_ms: 60_000,
            fresh: self.fresh,
            visibility_window: self.window,
            now: self.timestamp(),
        };
        let new = status::status(&pass, report);
        // Who waits for `Ready` and who reads kstatus go on together.
        let find = |kind| conditions::find(&new.conditions, kind);
        let work = find(condition_type::RECONCILING).or(find(condition_type::STALLED));
        let ready = find(condition_type::READY).is_some_and(|it| it.status == "True");
        assert!(!ready || work.is_none(), "ready, and {work:?}");
        new
    }

    fn write_intents(&mut self, decision: &Decision) {
        if let Some(status) = status::intended(&self.status, decision, "00", self.timestamp()) {
            self.status = status;
        }
    }

    fn annotate(&mut self, seen: &Observed, acted: &[Acted]) {
        if !self.deleting
            && let Some(id) = plan::claim(&self.binding(), seen, acted, &self.spec)
        {
            self.annotation = id.parse().ok();
        }
    }

    /// As `act::act`, on the model.
    fn act(&mut self, step: &Step, fault: Fault) -> Outcome {
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

    fn carry_out(&mut self, step: &Step) -> Outcome {
        let now = self.now;
        let fail = |failure: Failure| {
            let class = error::classify(failure.status, &failure.code, None, true);
            let Failure { code, message, .. } = failure;
            Outcome::Failed(Error { class, operation: operation(step), code, message, request_id: None })
        };
        let done = |result: Result<(), Failure>| result.map_or_else(fail, |()| Outcome::Done);
        let gone = |result: Result<(), Failure>| match result {
            Err(failure) if failure.status == 404 => Outcome::Done,
            other => done(other),
        };
        let topics = |topics: &Vec<rocketmq::ItemTopic>| wire::<ItemInput>(&json!({ "topics": topics }));
        let model = &mut self.model;
        match step {
            Step::CreatePlan { plan } => {
                model.create_plan(REGION, wire::<PlanInput>(plan), now).map_or_else(fail, Outcome::CreatedPlan)
            }
            Step::UpdatePlan { plan_id, plan } => done(model.update_plan(REGION, *plan_id, wire(plan), now)),
            Step::AddItem { plan_id, topics: it, .. } => {
                model.add_item(REGION, *plan_id, topics(it), now).map_or_else(fail, Outcome::AddedItem)
            }
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
                Outcome::Synced { done: checkpoints.len(), failed: 0, first: None }
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
        conditions::find(&self.status.conditions, kind)
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

/// The API operation that carries a step out.
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
