//! A world with random changes by users and by other actors, and random faults. Each reconcile keeps the invariants.

use std::collections::{BTreeMap, BTreeSet};

use disaster_recovery_operator::api::plan::{DisasterRecoveryPlan, DisasterRecoveryPlanSpec, TopicMapping};
use disaster_recovery_operator::controller::plan::decide::{Step, Verdict};
use disaster_recovery_operator::simulator::model::{ItemInput, ItemStatus, Plan, Rules, Topic};
use proptest::prelude::*;
use serde_json::{Value, json};

use test_support::driver::plan::*;
use test_support::driver::world::Passed;

/// Maximum number of reconciles, 5 s apart, before the world is at rest. The window after a lost answer alone takes 24.
const MAX_RECONCILES: usize = 250;

/// The cloud before the first reconcile, and external changes after it.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    /// No plan.
    Nothing,
    /// A plan in sync, and then these changes.
    Drifted(Vec<Change>),
    /// A plan of another actor that the spec names. Its items: one for each of these mappings, and foreign ones.
    Adopted { mapped: Vec<(usize, usize)>, foreign: Vec<usize>, renamed: bool },
}

/// A change by another actor in the console, or of the spec.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Rename,
    Redescribe,
    Unmark,
    Flags,
    Property,
    Username,
    DeletePlan,
    DeleteItem(usize),
    Status(usize, usize),
    Topics(usize),
    ForeignItem(u32),
    /// The user changes the spec.
    Spec(Box<SpecChange>),
}

/// A change of the spec: of the mapping at an index, a new mapping, or another description.
#[derive(Clone, Debug)]
pub(crate) enum SpecChange {
    Rename(usize),
    Retopic(usize),
    State(usize),
    Delete(usize),
    Add,
    Describe,
}

const STATUSES: [ItemStatus; 3] = [ItemStatus::Running, ItemStatus::ManualStopped, ItemStatus::OverdueStopped];

/// A foreign topic pair that no spec here names.
fn foreign_topics(n: usize) -> Value {
    mapping("x", &format!("foreign-{n}"), "")
}

/// The faults of one reconcile, one for each call in turn, and its crash.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) faults: Vec<Fate>,
    pub(crate) crash: Crash,
}

/// A world that also has plans of others, and the state that its invariants need.
pub(crate) struct Trial {
    pub(crate) world: World,
    /// Plans of others, as they were at the start.
    pub(crate) strangers: BTreeMap<i64, Value>,
    /// Items that the operator must keep: no mapping has them.
    pub(crate) foreign: BTreeSet<i64>,
}

impl Trial {
    pub(crate) fn new(spec: DisasterRecoveryPlanSpec, rules: Rules, start: &Start) -> Trial {
        let mut world = World::new(spec, rules);
        let ids = [world.stranger("other", None), world.stranger("others", Some(&format!("Orders {THEIRS}")))];
        world.advance(100_000);
        let strangers = ids.into_iter().map(|id| (id, world.snapshot(id).unwrap())).collect();
        let mut trial = Trial { world, strangers, foreign: BTreeSet::new() };
        match start {
            Start::Nothing => {}
            Start::Drifted(all) => {
                trial.world.converge(MAX_RECONCILES);
                for one in all {
                    trial.drift(one);
                }
            }
            Start::Adopted { mapped, foreign, renamed } => trial.adopt(mapped, foreign, *renamed),
        }
        trial
    }

    fn adopt(&mut self, mapped: &[(usize, usize)], foreign: &[usize], renamed: bool) {
        let world = &mut self.world;
        let mappings = serde_json::to_value(&world.object.spec.topic_mappings).unwrap();
        let (plan_id, _) = world.console_plan(Some("by hand"), &[]);
        let mut taken = BTreeSet::new();
        for (at, status) in mapped {
            let at = at % mappings.as_array().unwrap().len();
            if taken.insert(at) {
                let item = world.console_item(plan_id, &mappings[at]);
                world.model().set_item_status(plan_id, item, STATUSES[*status], world.now()).unwrap();
            }
        }
        for (n, status) in foreign.iter().enumerate() {
            let item = world.console_item(plan_id, &foreign_topics(n));
            world.model().set_item_status(plan_id, item, STATUSES[*status], world.now()).unwrap();
            self.foreign.insert(item);
        }
        world.advance(100_000);
        let name = if renamed { json!({"planName": "by-hand"}) } else { json!({}) };
        world.model().edit_plan(plan_id, &name, world.now()).unwrap();
        world.edit(json!({"planId": plan_id.to_string()}));
    }

    fn drift(&mut self, change: &Change) {
        let world = &mut self.world;
        let Some(id) = world.our_plan().map(|it| it.plan_id).or(world.claimed()) else { return };
        if world.plan(id).is_none() {
            return;
        }
        let items: Vec<i64> = world.items(id).into_keys().filter(|it| !self.foreign.contains(it)).collect();
        let item = |at: usize| items.get(at % items.len().max(1)).copied();
        let edit = |patch: Value| world.model().edit_plan(id, &patch, world.now()).unwrap();
        match change {
            Change::Rename => edit(json!({"planName": "renamed"})),
            Change::Redescribe => edit(json!({"planDesc": format!("theirs {MARK}")})),
            Change::Unmark => edit(json!({"planDesc": "no mark"})),
            Change::Flags => edit(json!({"syncCheckpointEnabled": false, "autoSyncCheckpoint": false})),
            Change::Property => {
                let property = json!({"propertyKey": "k", "propertyValue": "v"});
                edit(json!({"instances": [{"instanceId": "rmq-a", "messageProperty": property}]}));
            }
            Change::Username => {
                let mut model = world.model();
                let second = model.plan_mut(id).unwrap();
                if second.instances[1].username.is_some() {
                    second.instances[1].username = Some("other".into());
                }
            }
            Change::DeletePlan => {
                world.model().remove_plan(id).unwrap();
                self.foreign.clear();
            }
            Change::DeleteItem(at) => {
                if let Some(item) = item(*at) {
                    world.model().remove_item(id, item).unwrap();
                }
            }
            Change::Status(at, status) => {
                if let Some(item) = item(*at) {
                    world.model().set_item_status(id, item, STATUSES[*status], world.now()).unwrap();
                }
            }
            Change::Topics(at) => {
                let Some(item) = item(*at) else { return };
                let mut topics = world.plan(id).unwrap().items[&item].topics.clone();
                topics[0].topic_name = Some(format!("moved-{item}"));
                world.model().set_item_topics(id, item, ItemInput { topics: Some(topics) }, world.now()).unwrap();
            }
            Change::ForeignItem(n) => {
                let item = world.console_item(id, &foreign_topics(10 * self.foreign.len() + *n as usize));
                self.foreign.insert(item);
            }
            Change::Spec(change) => self.change_spec(change),
        }
    }

    fn change_spec(&mut self, change: &SpecChange) {
        let world = &mut self.world;
        let mut all = serde_json::to_value(&world.object.spec.topic_mappings).unwrap();
        let list = all.as_array_mut().unwrap();
        let at = |n: usize| n % list.len().max(1);
        match change {
            SpecChange::Describe => world.edit(json!({"planDesc": "Another description"})),
            SpecChange::Add => {
                let second = world.object.spec.instances[1].name.clone();
                list.push(mapping_to(&second, "added", "added", "Running"));
            }
            _ if list.is_empty() => return,
            SpecChange::Rename(n) => {
                let at = at(*n);
                list[at]["name"] = json!(format!("renamed-{at}"));
            }
            SpecChange::Retopic(n) => {
                let at = at(*n);
                list[at]["topics"][0]["topicName"] = json!(format!("retopic-{at}"));
            }
            SpecChange::State(n) => {
                let at = at(*n);
                list[at]["state"] = json!(if list[at]["state"] == "Stopped" { "Running" } else { "Stopped" });
            }
            SpecChange::Delete(n) => {
                let at = at(*n);
                list.remove(at);
            }
        }
        let mut names = BTreeSet::new();
        list.retain(|it| names.insert(it["name"].to_string()));
        world.edit(json!({ "topicMappings": all }));
        // Under Keep, the operator leaves an item alone whose mapping is gone.
        if let Some(id) = world.our_plan().map(|it| it.plan_id) {
            let (named, known) = (self.named_items(id), self.world.items(id));
            self.foreign.extend(known.into_keys().filter(|it| !named.contains(it)));
        }
    }

    /// The items of the mappings: by pair, or by the item ID in status for the mapping's name.
    pub(crate) fn named_items(&self, plan_id: i64) -> BTreeSet<i64> {
        let Some(plan) = self.world.plan(plan_id) else { return BTreeSet::new() };
        let mut named = BTreeSet::new();
        for mapping in &self.world.object.spec.topic_mappings {
            let by_pair = plan.items.values().filter(|item| same_pair(item.topics.iter(), mapping, &plan, &self.world));
            named.extend(by_pair.map(|item| item.item_id));
            let known = self.world.status.topic_mappings.iter().find(|it| it.name == mapping.name);
            named.extend(known.and_then(|it| it.item_id.as_deref()?.parse::<i64>().ok()));
        }
        named
    }

    pub(crate) fn own_plan(&self) -> Plan {
        self.world.plans().into_iter().find(|it| !self.strangers.contains_key(&it.plan_id)).unwrap()
    }

    /// Reconciles once, and checks the invariants.
    pub(crate) fn reconcile(
        &mut self,
        fault: &mut dyn FnMut(&Step) -> Fate,
        crash: Crash,
    ) -> Result<Passed<DisasterRecoveryPlan>, TestCaseError> {
        let passed = self.world.faulty_steps(fault, crash);
        self.invariants(&passed.decision.steps)?;
        let text = format!("{:?} {:?} {:?}", self.world.status, passed.events, passed.decision);
        prop_assert!(!text.contains(PASSWORD), "{text}");
        Ok(passed)
    }

    /// Reconciles until nine in a row take no step: items of other actors are visible by then. Arrears are settled after a
    /// while.
    pub(crate) fn settle(&mut self) -> Result<Passed<DisasterRecoveryPlan>, TestCaseError> {
        let mut quiet = 0;
        let mut trace = Vec::new();
        for n in 0..MAX_RECONCILES {
            if n == 20 || n == 60 {
                self.settle_arrears();
                quiet = 0;
                // The operator retries after an hour what it gave up.
                self.world.advance(3_700_000);
            }
            let passed = self.reconcile(&mut |_| Fate::Normal, Crash::Never)?;
            let rest =
                matches!(passed.decision.verdict, Verdict::InSync | Verdict::Refused { .. } | Verdict::Released { .. });
            quiet = if rest && passed.decision.steps.is_empty() { quiet + 1 } else { 0 };
            if (quiet > 8 && n > 60) || self.world.released.is_some() {
                return Ok(passed);
            }
            trace.push(passed.decision);
        }
        let last = trace.split_off(trace.len() - 4);
        Err(TestCaseError::fail(format!(
            "not at rest after {MAX_RECONCILES} reconciles; the last decisions: {last:#?}"
        )))
    }

    fn settle_arrears(&mut self) {
        let now = self.world.now();
        for plan in self.world.plans() {
            for item in plan.items.values().filter(|it| it.status == ItemStatus::OverdueStopped) {
                let ids = (plan.plan_id, item.item_id);
                self.world.model().set_item_status(ids.0, ids.1, ItemStatus::ManualStopped, now).unwrap();
            }
        }
    }

    /// Reconciles once for each of these troubles, until the object is gone.
    pub(crate) fn suffer(&mut self, troubles: &[Trouble]) -> Result<(), TestCaseError> {
        for Trouble { faults, crash } in troubles {
            if self.world.released.is_some() {
                break;
            }
            let mut calls = faults.iter().cloned().cycle();
            self.reconcile(&mut |_| calls.next().unwrap_or(Fate::Normal), *crash)?;
        }
        Ok(())
    }
}

/// Whether an item of the model has the topics of a mapping. The instances of spec and plan are in the same order here.
pub(crate) fn same_pair<'a>(
    topics: impl Iterator<Item = &'a Topic>,
    mapping: &TopicMapping,
    plan: &Plan,
    world: &World,
) -> bool {
    let found: BTreeMap<_, _> =
        topics.map(|it| (it.instance_id.clone().unwrap(), it.topic_name.clone().unwrap())).collect();
    mapping.topics.iter().all(|topic| {
        let at = world.object.spec.instances.iter().position(|it| it.name == topic.instance).unwrap();
        found.get(plan.instances[at].id()) == Some(&topic.topic_name)
    })
}
