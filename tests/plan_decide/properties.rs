//! What holds of every object in every cloud: random specs, random clouds, random faults. Bounded; PROPTEST_CASES asks for
//! more. A case that fails is printed in its smallest form, to become a row of a table.

use std::collections::{BTreeMap, BTreeSet};

use disaster_recovery_operator::api::SYNC_CHECKPOINTS_ANNOTATION;
use disaster_recovery_operator::api::plan::{
    DeletionPolicy, DisasterRecoveryPlan, DisasterRecoveryPlanSpec, ItemPolicy, ManagementPolicy, MappingState,
};
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::controller::plan::decide::{Step, Verdict};
use disaster_recovery_operator::simulator::model::{Item, ItemInput, ItemStatus, PasswordEcho, Plan, Rules};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};

use test_support::driver::plan::*;
use test_support::driver::world::Passed;

const CASES: u32 = 24;
/// No world needs more passes of 5 s than this: the window after a lost answer alone takes 24 of them.
const MOST_PASSES: usize = 250;

fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|it| it.parse().ok());
    // The same cases every time, unless more are asked for: a red build says that the code changed, not the dice.
    let rng_seed = if asked.is_some() { RngSeed::Random } else { RngSeed::Fixed(20_220_801) };
    let cases = asked.unwrap_or(CASES);
    ProptestConfig { cases, rng_seed, failure_persistence: None, max_shrink_iters: 4_000, ..ProptestConfig::default() }
}

/// A random spec: one to six mappings of eight topics, both kinds of instances and of plans.
fn specs() -> impl Strategy<Value = DisasterRecoveryPlanSpec> {
    let topics = subsequence((0..8).collect::<Vec<u32>>(), 1..=6);
    let states = vec(any::<bool>(), 8);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let sync = (proptest::option::of(any::<bool>()), any::<bool>());
    (topics, states, flags, sync).prop_map(|(topics, states, (external, active, prune, described, property), sync)| {
        let second = if external { "idc" } else { "shanghai" };
        let mappings: Vec<Value> = topics
            .iter()
            .map(|topic| {
                let state = if states[*topic as usize] { "Running" } else { "Stopped" };
                mapping_to(second, &format!("m{topic}"), &format!("t{topic}"), state)
            })
            .collect();
        let mut first = aliyun("hangzhou", "rmq-a", "ACTIVE");
        if property {
            first["messageProperty"] = json!({"propertyKey": "site", "propertyValue": "hz"});
        }
        let other = if external { self::external() } else { aliyun("shanghai", "rmq-b", "PASSIVE") };
        let (enabled, auto) = sync;
        spec_with(json!({
            "planDesc": described.then_some("Orders"),
            "planType": if active { "ACTIVE_ACTIVE" } else { "ACTIVE_PASSIVE" },
            "syncCheckpointEnabled": enabled,
            "autoSyncCheckpoint": (!active && enabled == Some(true) && auto).then_some(true),
            "instances": [first, other],
            "topicMappings": mappings,
            "itemPolicy": if prune { "Prune" } else { "Keep" },
        }))
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    let echo = select(vec![PasswordEcho::Masked, PasswordEcho::Clear, PasswordEcho::Omitted]);
    (select(vec![0, 1_000, 7_000, 22_000]), select(vec![0, 4_000, 31_000]), any::<bool>(), echo).prop_map(
        |(delay_ms, visibility_delay_ms, update_while_running, password_echo)| Rules {
            delay_ms,
            visibility_delay_ms,
            update_while_running,
            password_echo,
            consumer_groups: vec!["GID_ORDERS".into()],
            ..Rules::default()
        },
    )
}

/// What there is before the first pass, or what somebody does later.
#[derive(Clone, Debug)]
enum Start {
    /// No plan.
    Nothing,
    /// A plan in sync, of which somebody changed something.
    Drifted(Vec<Drifting>),
    /// Somebody's plan that the spec names, with items of the mappings of these places and these foreign ones.
    Adopted { mapped: Vec<(usize, usize)>, foreign: Vec<usize>, renamed: bool },
}

/// What somebody does in the console.
#[derive(Clone, Debug)]
enum Drifting {
    Rename,
    Redescribe,
    Unmark,
    Flags,
    Property,
    Username,
    RemovePlan,
    RemoveItem(usize),
    Status(usize, usize),
    Topics(usize),
    ForeignItem(u32),
    /// The user renames, adds, removes or changes a mapping.
    Spec(Box<SpecChange>),
}

#[derive(Clone, Debug)]
enum SpecChange {
    Rename(usize),
    Retopic(usize),
    State(usize),
    Remove(usize),
    Add,
    Describe,
}

const STATUSES: [ItemStatus; 3] = [ItemStatus::Running, ItemStatus::ManualStopped, ItemStatus::OverdueStopped];

fn driftings() -> impl Strategy<Value = Vec<Drifting>> {
    let spec = prop_oneof![
        (0..6usize).prop_map(SpecChange::Rename),
        (0..6usize).prop_map(SpecChange::Retopic),
        (0..6usize).prop_map(SpecChange::State),
        (0..6usize).prop_map(SpecChange::Remove),
        Just(SpecChange::Add),
        Just(SpecChange::Describe),
    ];
    let one = prop_oneof![
        Just(Drifting::Rename),
        Just(Drifting::Redescribe),
        Just(Drifting::Unmark),
        Just(Drifting::Flags),
        Just(Drifting::Property),
        Just(Drifting::Username),
        Just(Drifting::RemovePlan),
        (0..6usize).prop_map(Drifting::RemoveItem),
        (0..6usize, 0..3usize).prop_map(|(item, status)| Drifting::Status(item, status)),
        (0..6usize).prop_map(Drifting::Topics),
        (0..4u32).prop_map(Drifting::ForeignItem),
        spec.prop_map(|it| Drifting::Spec(Box::new(it))),
    ];
    vec(one, 0..4)
}

fn starts() -> impl Strategy<Value = Start> {
    prop_oneof![
        1 => Just(Start::Nothing),
        3 => driftings().prop_map(Start::Drifted),
        2 => (vec((0..6usize, 0..3usize), 0..5), vec(0..3usize, 0..3), any::<bool>())
            .prop_map(|(mapped, foreign, renamed)| Start::Adopted { mapped, foreign, renamed }),
    ]
}

/// A foreign topic pair that no spec here names.
fn foreign_topics(n: usize) -> Value {
    mapping("x", &format!("foreign-{n}"), "")
}

/// A world with strangers in it, and what must hold in it throughout.
struct Trial {
    world: World,
    /// Plans of others, as they were.
    strangers: BTreeMap<i64, Value>,
    /// Items that are not the object's and that it must keep, with what they were.
    foreign: BTreeSet<i64>,
    /// The pairs that somebody had twice before the object came.
    doubled: bool,
}

impl Trial {
    fn new(spec: DisasterRecoveryPlanSpec, rules: Rules, start: &Start) -> Trial {
        let mut world = World::new(spec, rules);
        let ids = [world.stranger("other", None), world.stranger("others", Some(&format!("Orders {THEIRS}")))];
        world.advance(100_000);
        let strangers = ids.into_iter().map(|id| (id, world.snapshot(id).unwrap())).collect();
        let mut trial = Trial { world, strangers, foreign: BTreeSet::new(), doubled: false };
        match start {
            Start::Nothing => {}
            Start::Drifted(all) => {
                trial.world.converge(MOST_PASSES);
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
        let mut seen = BTreeSet::new();
        for (at, status) in mapped {
            let at = at % mappings.as_array().unwrap().len();
            if seen.insert(at) {
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

    fn drift(&mut self, what: &Drifting) {
        let world = &mut self.world;
        let Some(id) = world.our_plan().map(|it| it.plan_id).or(world.claimed()) else { return };
        if world.plan(id).is_none() {
            return;
        }
        let items: Vec<i64> = world.items(id).into_keys().filter(|it| !self.foreign.contains(it)).collect();
        let item = |at: usize| items.get(at % items.len().max(1)).copied();
        let edit = |patch: Value| world.model().edit_plan(id, &patch, world.now()).unwrap();
        match what {
            Drifting::Rename => edit(json!({"planName": "renamed"})),
            Drifting::Redescribe => edit(json!({"planDesc": format!("theirs {MARK}")})),
            Drifting::Unmark => edit(json!({"planDesc": "no mark"})),
            Drifting::Flags => edit(json!({"syncCheckpointEnabled": false, "autoSyncCheckpoint": false})),
            Drifting::Property => {
                let property = json!({"propertyKey": "k", "propertyValue": "v"});
                edit(json!({"instances": [{"instanceId": "rmq-a", "messageProperty": property}]}));
            }
            Drifting::Username => {
                let mut model = world.model();
                let second = model.plan_mut(id).unwrap();
                if second.instances[1].username.is_some() {
                    second.instances[1].username = Some("other".into());
                }
            }
            Drifting::RemovePlan => {
                world.model().remove_plan(id).unwrap();
                self.foreign.clear();
            }
            Drifting::RemoveItem(at) => {
                if let Some(item) = item(*at) {
                    world.model().remove_item(id, item).unwrap();
                }
            }
            Drifting::Status(at, status) => {
                if let Some(item) = item(*at) {
                    world.model().set_item_status(id, item, STATUSES[*status], world.now()).unwrap();
                }
            }
            Drifting::Topics(at) => {
                let Some(item) = item(*at) else { return };
                let mut topics = world.plan(id).unwrap().items[&item].topics.clone();
                topics[0].topic_name = Some(format!("moved-{item}"));
                world.model().set_item_topics(id, item, ItemInput { topics: Some(topics) }, world.now()).unwrap();
            }
            Drifting::ForeignItem(n) => {
                let item = world.console_item(id, &foreign_topics(10 * self.foreign.len() + *n as usize));
                self.foreign.insert(item);
            }
            Drifting::Spec(change) => self.change_spec(change),
        }
    }

    fn change_spec(&mut self, change: &SpecChange) {
        let world = &mut self.world;
        let mut all = serde_json::to_value(&world.object.spec.topic_mappings).unwrap();
        let list = all.as_array_mut().unwrap();
        let at = |n: usize| n % list.len().max(1);
        match change {
            SpecChange::Describe => world.edit(json!({"planDesc": "Described anew"})),
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
            SpecChange::Remove(n) => {
                let at = at(*n);
                list.remove(at);
            }
        }
        let mut names = BTreeSet::new();
        list.retain(|it| names.insert(it["name"].to_string()));
        world.edit(json!({ "topicMappings": all }));
        // What the spec named once and names no more is left alone under Keep.
        if let Some(id) = world.our_plan().map(|it| it.plan_id) {
            let (named, known) = (self.named_items(id), self.world.items(id));
            self.foreign.extend(known.into_keys().filter(|it| !named.contains(it)));
        }
    }

    /// The items that a mapping has: by pair, or by what status remembers for a mapping of that name.
    fn named_items(&self, plan_id: i64) -> BTreeSet<i64> {
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

    /// What holds after every pass.
    fn invariants(&mut self, steps: &[Step]) -> Result<(), TestCaseError> {
        let keep = self.world.object.spec.item_policy == ItemPolicy::Keep && !self.world.deleting();
        for step in steps {
            let (plan_id, item) = target(step);
            prop_assert!(plan_id.is_none_or(|id| !self.strangers.contains_key(&id)), "a stranger's plan: {step:?}");
            if let (true, Some(item)) = (keep, item) {
                prop_assert!(!self.foreign.contains(&item), "a foreign item: {step:?}");
            }
            if let (Step::DeleteItem { plan_id, item_id }, false) = (step, self.world.deleting()) {
                let named = self.named_items(*plan_id);
                prop_assert!(!named.contains(item_id), "an item that the spec names: {step:?}");
            }
            prop_assert!(self.world.deleting() || !matches!(step, Step::DeletePlan { .. }), "{step:?}");
            if let (Step::StopItem { plan_id, item_id }, false) = (step, self.world.deleting()) {
                let plan = self.world.plan(*plan_id);
                let topics = plan.as_ref().and_then(|plan| Some((plan, plan.items.get(item_id)?.topics.iter())));
                let runs = topics.is_some_and(|(plan, topics)| {
                    let mut mappings = self.world.object.spec.topic_mappings.iter();
                    mappings
                        .any(|it| it.state == MappingState::Running && same_pair(topics.clone(), it, plan, &self.world))
                });
                prop_assert!(!runs || !self.world.status.paused_items.is_empty(), "stopped for no update: {step:?}");
            }
        }
        let own: Vec<_> =
            self.world.plans().into_iter().filter(|it| !self.strangers.contains_key(&it.plan_id)).collect();
        prop_assert!(own.len() <= 1, "{} plans", own.len());
        for plan in own {
            let mut pairs = BTreeSet::new();
            for item in plan.items.values() {
                let pair: BTreeSet<_> = item.topics.iter().map(|it| (&it.instance_id, &it.topic_name)).collect();
                prop_assert!(pairs.insert(pair) || self.doubled, "two items of one pair: {:?}", item.topics);
            }
        }
        for (id, before) in &self.strangers {
            let now = self.world.snapshot(*id);
            prop_assert_eq!(now.as_ref(), Some(before), "a stranger's plan changed");
        }
        Ok(())
    }

    /// One pass, with what must hold after it.
    fn pass(
        &mut self,
        fault: &mut dyn FnMut(&Step) -> Fault,
        crash: Crash,
    ) -> Result<Passed<DisasterRecoveryPlan>, TestCaseError> {
        let passed = self.world.faulty_steps(fault, crash);
        self.invariants(&passed.decision.steps)?;
        let told = format!("{:?} {:?} {:?}", self.world.status, passed.events, passed.decision);
        prop_assert!(!told.contains(PASSWORD), "{told}");
        Ok(passed)
    }

    /// Passes until nine in a row have nothing to do: what others made is visible by then. Arrears are settled after a while.
    fn settle(&mut self) -> Result<Passed<DisasterRecoveryPlan>, TestCaseError> {
        let mut quiet = 0;
        let mut trace = Vec::new();
        for n in 0..MOST_PASSES {
            if n == 20 || n == 60 {
                self.settle_arrears();
                quiet = 0;
                // What was given up is tried again after an hour.
                self.world.advance(3_700_000);
            }
            let passed = self.pass(&mut |_| Fault::None, Crash::Never)?;
            let rest =
                matches!(passed.decision.verdict, Verdict::InSync | Verdict::Refused { .. } | Verdict::Released { .. });
            quiet = if (rest && passed.decision.steps.is_empty()) || passed.blocked() { quiet + 1 } else { 0 };
            if (quiet > 8 && n > 60) || self.world.released.is_some() {
                return Ok(passed);
            }
            trace.push(passed.decision);
        }
        let last = trace.split_off(trace.len() - 4);
        Err(TestCaseError::fail(format!("no rest after {MOST_PASSES} passes; the last: {last:#?}")))
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

    /// Whether the cloud is what the spec says, by the model's own state alone.
    fn matches_spec(&mut self) -> Result<(), TestCaseError> {
        let world = &mut self.world;
        let spec = world.object.spec.clone();
        let own: Vec<_> = world.plans().into_iter().filter(|it| !self.strangers.contains_key(&it.plan_id)).collect();
        prop_assert_eq!(own.len(), 1, "plans");
        let plan = own[0].clone();
        prop_assert_eq!(Some(&plan.plan_name), spec.plan_name.as_ref());
        let desc = plan.plan_desc.clone().unwrap_or_default();
        match &spec.plan_desc {
            Some(text) => prop_assert_eq!(&desc, &format!("{text} {MARK}")),
            None => prop_assert!(desc.ends_with(MARK), "{desc}"),
        }
        if let Some(enabled) = spec.sync_checkpoint_enabled {
            prop_assert_eq!(plan.sync_checkpoint_enabled, enabled);
        }
        if let Some(auto) = spec.auto_sync_checkpoint {
            prop_assert_eq!(plan.auto_sync_checkpoint, auto);
        }
        for (want, found) in spec.instances.iter().zip(&plan.instances) {
            if let Some(property) = &want.message_property {
                let found = found.message_property.clone().unwrap_or_default();
                prop_assert_eq!(
                    (&found.property_key, &found.property_value),
                    (&property.property_key, &property.property_value)
                );
            }
            if want.credentials_secret_ref.is_some() {
                prop_assert_eq!(
                    (found.username.as_deref(), found.password.as_deref()),
                    (Some("replicator"), Some(PASSWORD))
                );
            }
        }
        let mut named = BTreeSet::new();
        for mapping in &spec.topic_mappings {
            let items: Vec<_> =
                plan.items.values().filter(|item| same_pair(item.topics.iter(), mapping, &plan, world)).collect();
            prop_assert_eq!(items.len(), 1, "items of mapping {}", mapping.name);
            named.insert(items[0].item_id);
            let stopped = matches!(items[0].status, ItemStatus::ManualStopped | ItemStatus::OverdueStopped);
            match mapping.state {
                MappingState::Running => prop_assert_eq!(items[0].status, ItemStatus::Running, "{}", mapping.name),
                MappingState::Stopped => prop_assert!(stopped, "{}: {:?}", mapping.name, items[0].status),
            }
        }
        for item in plan.items.keys() {
            prop_assert!(
                named.contains(item) || spec.item_policy == ItemPolicy::Keep,
                "item {item} should have been pruned"
            );
        }
        if spec.item_policy == ItemPolicy::Keep {
            for item in &self.foreign {
                prop_assert!(plan.items.contains_key(item), "foreign item {item} is gone");
            }
        }
        Ok(())
    }

    /// The only reason not to go on here: the plan must be changed, cannot be while items run, and such run that no mapping
    /// has.
    fn block_is_justified(&mut self) -> Result<(), TestCaseError> {
        let plan = self.own_plan();
        let unnamed = |item: &&Item| {
            !self
                .world
                .object
                .spec
                .topic_mappings
                .iter()
                .any(|it| same_pair(item.topics.iter(), it, &plan, &self.world))
        };
        let runs = plan.items.values().filter(unnamed).any(|it| it.status == ItemStatus::Running);
        prop_assert!(runs, "no foreign item runs");
        Ok(())
    }

    fn own_plan(&self) -> Plan {
        self.world.plans().into_iter().find(|it| !self.strangers.contains_key(&it.plan_id)).unwrap()
    }

    /// Whether every mapping that should run and has an item runs.
    fn what_should_run_runs(&self) -> Result<(), TestCaseError> {
        let plan = self.own_plan();
        for mapping in self.world.object.spec.topic_mappings.iter().filter(|it| it.state == MappingState::Running) {
            for item in plan.items.values().filter(|it| same_pair(it.topics.iter(), mapping, &plan, &self.world)) {
                prop_assert_eq!(item.status, ItemStatus::Running, "{}", mapping.name);
            }
        }
        Ok(())
    }

    fn at_rest(&mut self, last: &Passed<DisasterRecoveryPlan>) -> Result<(), TestCaseError> {
        match &last.decision.verdict {
            Verdict::InSync => {
                prop_assert_eq!(&last.decision.drift, &vec![]);
                self.matches_spec()
            }
            _ if last.blocked() => self.block_is_justified(),
            other => Err(TestCaseError::fail(format!("{other:?}"))),
        }
    }
}

/// The plan and item that a step is about.
fn target(step: &Step) -> (Option<i64>, Option<i64>) {
    match step {
        Step::CreatePlan { .. } => (None, None),
        Step::UpdatePlan { plan_id, .. }
        | Step::AddItem { plan_id, .. }
        | Step::DeletePlan { plan_id }
        | Step::SyncCheckpoints { plan_id, .. } => (Some(*plan_id), None),
        Step::UpdateItem { plan_id, item_id, .. }
        | Step::StartItem { plan_id, item_id }
        | Step::StopItem { plan_id, item_id }
        | Step::DeleteItem { plan_id, item_id } => (Some(*plan_id), Some(*item_id)),
    }
}

/// Whether an item of the model has the topics of a mapping; the instances of spec and plan are in the same order here.
fn same_pair<'a>(
    topics: impl Iterator<Item = &'a disaster_recovery_operator::simulator::model::Topic>,
    mapping: &disaster_recovery_operator::api::plan::TopicMapping,
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

/// What goes wrong in one pass: a fault for each call in turn, and a crash.
#[derive(Clone, Debug)]
struct Trouble {
    faults: Vec<Fault>,
    crash: Crash,
}

fn troubles() -> impl Strategy<Value = Vec<Trouble>> {
    let fault = prop_oneof![
        4 => Just(Fault::None),
        1 => Just(Fault::AnswerLost),
        1 => Just(Fault::RequestLost),
        1 => select(vec![
            Fault::Refused(Class::Throttled { after: None }), Fault::Refused(Class::Denied), Fault::Refused(Class::Invalid),
            Fault::Refused(Class::Conflict), Fault::Refused(Class::Unavailable),
        ]),
    ];
    let crash = prop_oneof![
        4 => Just(Crash::Never),
        1 => Just(Crash::BeforeActing),
        1 => (0..4usize).prop_map(Crash::AfterCalls),
        1 => Just(Crash::BeforeAnnotation),
        1 => Just(Crash::BeforeStatus),
    ];
    vec((vec(fault, 1..4), crash).prop_map(|(faults, crash)| Trouble { faults, crash }), 0..14)
}

impl Trial {
    fn suffer(&mut self, troubles: &[Trouble]) -> Result<(), TestCaseError> {
        for Trouble { faults, crash } in troubles {
            let mut calls = faults.iter().copied().cycle();
            self.pass(&mut |_| calls.next().unwrap_or(Fault::None), *crash)?;
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn reconciles_converge_and_then_take_no_step(spec in specs(), rules in rules(), start in starts()) {
        let mut trial = Trial::new(spec, rules, &start);
        let last = trial.settle()?;
        trial.at_rest(&last)?;
        prop_assert!(!last.blocked() || !trial.world.model().rules.update_while_running, "nothing had to be refused");
        let before = trial.world.status.clone();
        let again = trial.pass(&mut |_| Fault::None, Crash::Never)?;
        prop_assert!(again.names().is_empty() || again.blocked(), "{:?}", again.decision);
        // Lag moves with the clock, all else stays.
        let steady = |mut it: disaster_recovery_operator::api::plan::DisasterRecoveryPlanStatus| {
            it.checkpoints = None;
            it.topic_mappings.iter_mut().for_each(|it| it.checkpoints = None);
            it.head.conditions.retain(|it| !matches!(it.type_.as_str(), "Protected" | "OffsetsCovered"));
            it
        };
        prop_assert_eq!(steady(trial.world.status.clone()), steady(before));
        prop_assert!(again.events.iter().all(|it| it.reason.starts_with("Objective")), "{:?}", again.events);
    }

    #[test]
    fn every_running_mapping_runs_at_rest(spec in specs(), rules in rules(), start in starts()) {
        let mut trial = Trial::new(spec, rules, &start);
        trial.settle()?;
        trial.what_should_run_runs()?;
    }

    #[test]
    fn any_failures_still_converge_to_spec(
        spec in specs(), rules in rules(), start in starts(), troubles in troubles(),
    ) {
        let mut trial = Trial::new(spec, rules, &start);
        trial.suffer(&troubles)?;
        let last = trial.settle()?;
        trial.at_rest(&last)?;
    }

    #[test]
    fn observe_mode_never_changes_the_cloud(
        spec in specs(), rules in rules(), start in starts(), troubles in troubles(), deleting in any::<bool>(),
    ) {
        let mut trial = Trial::new(spec, rules, &start);
        trial.suffer(&troubles)?;
        trial.world.object.spec.management_policy = ManagementPolicy::Observe;
        trial.world.delete_if(deleting);
        trial.world.annotate(SYNC_CHECKPOINTS_ANNOTATION, "now");
        trial.world.advance(100_000);
        let plans: Vec<_> = trial.world.plans().into_iter().map(|it| it.plan_id).collect();
        let before: Vec<_> = plans.iter().map(|id| trial.world.snapshot(*id)).collect();
        for _ in 0..5 {
            let passed = trial.pass(&mut |_| Fault::None, Crash::Never)?;
            prop_assert_eq!(passed.names(), Vec::<&str>::new());
        }
        prop_assert_eq!(plans.iter().map(|id| trial.world.snapshot(*id)).collect::<Vec<_>>(), before);
        prop_assert_eq!(trial.world.released.is_some(), deleting);
    }

    #[test]
    fn deletion_from_any_state_leaves_no_plan(
        spec in specs(), rules in rules(), start in starts(), before in troubles(), during in troubles(),
    ) {
        let mut trial = Trial::new(spec, rules, &start);
        trial.suffer(&before)?;
        let adopting = matches!(start, Start::Adopted { .. });
        trial.world.delete();
        for Trouble { faults, crash } in &during {
            if trial.world.released.is_none() {
                let mut calls = faults.iter().copied().cycle();
                trial.pass(&mut |_| calls.next().unwrap_or(Fault::None), *crash)?;
            }
        }
        if trial.world.released.is_none() {
            trial.settle()?;
        }
        prop_assert!(trial.world.released.is_some());
        trial.world.advance(200_000);
        prop_assert!(trial.world.our_plan().is_none(), "a plan with our mark is left");
        let left = trial.world.plans().into_iter().filter(|it| !trial.strangers.contains_key(&it.plan_id)).count();
        prop_assert!(left == 0 || adopting, "an orphan is left");
        trial.invariants(&[])?;
    }

    #[test]
    fn retain_from_rest_changes_only_the_mark(
        spec in specs(), rules in rules(), start in starts(), during in troubles(),
    ) {
        let mut trial = Trial::new(spec, rules, &start);
        let last = trial.settle()?;
        prop_assume!(last.decision.verdict == Verdict::InSync);
        trial.world.object.spec.deletion_policy = DeletionPolicy::Retain;
        let plan_id = trial.world.plan_id();
        let before = trial.world.items(plan_id);
        trial.world.delete();
        for Trouble { faults, crash } in &during {
            if trial.world.released.is_none() {
                let mut calls = faults.iter().copied().cycle();
                trial.pass(&mut |_| calls.next().unwrap_or(Fault::None), *crash)?;
            }
        }
        if trial.world.released.is_none() {
            trial.settle()?;
        }
        let left = trial.world.released.clone().flatten().unwrap_or_default();
        trial.world.advance(200_000);
        prop_assert_eq!(trial.world.items(plan_id), before, "{}", left);
        prop_assert!(trial.world.our_plan().is_none() || left.contains("with its owner mark"), "{}", left);
        trial.invariants(&[])?;
    }
}
