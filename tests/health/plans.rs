//! The states of a plan, as passes over a simulated cloud leave them.

use disaster_recovery_operator::api::condition::synced;
use disaster_recovery_operator::cloud::endpoint::EndpointError;
use disaster_recovery_operator::cloud::error::{Class, Error};
use disaster_recovery_operator::cloud::operation::ApiOperation;
use disaster_recovery_operator::controller::access::AccountError;
use disaster_recovery_operator::controller::conditions;
use disaster_recovery_operator::controller::conditions::ConditionState;
use disaster_recovery_operator::simulator::model::{CheckpointTimes, ItemStatus, Rules};
use disaster_recovery_operator::simulator::{Fault, FaultKind};
use serde_json::{Value, json};

use crate::states::{deleted, json_of, object, unseen};
use test_support::driver::plan::{Crash, Fate, MARK, THEIRS, World, base_spec, external, mapping, spec_with};

const KIND: &str = "DisasterRecoveryPlan";

fn slow() -> Rules {
    Rules { delay_ms: 20_000, ..Rules::default() }
}

fn running_update() -> Rules {
    Rules { update_while_running: true, ..Rules::default() }
}

/// In sync, and long enough for consumer progress to have been synchronized.
fn steady(patch: Value, rules: Rules) -> World {
    let mut world = World::in_sync(spec_with(patch), rules);
    world.advance(30_000);
    world.pass();
    world
}

fn fresh(patch: Value) -> World {
    World::new(spec_with(patch), Rules::default())
}

/// After one more pass.
fn then(mut world: World, what: impl FnOnce(&mut World)) -> World {
    what(&mut world);
    world.pass();
    world
}

/// At rest for longer than any sample of consumer progress is evidence.
fn later(mut world: World, what: impl FnOnce(&mut World)) -> World {
    what(&mut world);
    world.observe_for(301_000);
    world
}

/// After a pass that saw nothing.
fn blind(mut world: World, (synced, stalled): (ConditionState, bool)) -> World {
    world.status = world.scope(|scope| scope.unobserved(&synced, stalled));
    world
}

fn error(operation: ApiOperation, class: Class) -> Error {
    let (code, message) = ("Code".into(), "The cloud's own words.".into());
    Error { class, operation, code, message, request_id: Some("R-1".into()) }
}

fn failure(class: Class) -> (ConditionState, bool) {
    conditions::failure(&error(ApiOperation::ListDisasterRecoveryPlans, class))
}

fn item(world: &mut World, status: ItemStatus) {
    let (plan, now) = (world.plan_id(), world.now());
    let item = *world.items(plan).keys().next().expect("an item");
    world.model().set_item_status(plan, item, status, now).expect("it is set");
}

/// Puts the progress at the destination so many ms behind that at the source, or ahead of it when negative.
fn behind(ms: i64) -> impl FnOnce(&mut World) {
    move |world| {
        let plan = world.our_plan().expect("a plan");
        let ids = plan.items.values().flat_map(|it| it.checkpoints.iter().map(|it| it.checkpoint_id));
        let now = world.now();
        let times = CheckpointTimes { last_sync_time: Some(now), source_time: Some(now), target_time: Some(now - ms) };
        ids.for_each(|id| world.model().set_checkpoint(id, times).expect("it is set"));
    }
}

fn observed(desc: &str, edit: Value) -> World {
    let mut world = fresh(json!({"managementPolicy": "Observe"}));
    let (id, _) = world.console_plan(Some(desc), &[mapping("orders", "orders", "")]);
    world.edit(json!({"planId": id.to_string()}));
    world.edit(edit);
    world.object.metadata.generation = Some(1);
    then(world, |world| world.advance(30_000))
}

fn deleting(mut world: World) -> World {
    world.delete();
    world
}

fn suspended(mut world: World) -> World {
    world.status = world.scope(|scope| scope.suspended());
    world
}

/// Whose passes came to what.
fn worlds() -> Vec<(&'static str, World)> {
    let running = || steady(json!({}), Rules::default());
    let edited = |patch: Value| move |world: &mut World| world.edit(patch);
    let console = |id: i64, patch: Value| {
        move |world: &mut World| world.model().edit_plan(id, &patch, world.now()).map(drop).expect("edited")
    };
    let mut hangzhou = serde_json::to_value(base_spec()).expect("JSON")["instances"][0].take();
    hangzhou["instanceId"] = json!("rmq-z");
    let endpoint = AccountError::Endpoint {
        account: "messaging/production".into(),
        product: "rocketmq",
        why: EndpointError::NotAUrl("elsewhere".into()),
    };
    let missing = AccountError::Missing("messaging/production".into());
    let changed = "plan 1 was last seen as one identity and is not found as another";
    let changed = (ConditionState::no(synced::ACCOUNT_CHANGED, changed), true);
    let renamed = steady(json!({}), running_update());
    let id = renamed.plan_id();
    vec![
        ("being-made", then(World::new(spec_with(json!({})), slow()), |_| {})),
        ("running", running()),
        (
            "stopped",
            then(steady(json!({"topicMappings": [mapping("orders", "orders", "Stopped")]}), Rules::default()), |_| {}),
        ),
        ("lagging", later(running(), behind(900_000))),
        ("ahead", later(running(), behind(-900_000))),
        ("clocks-differ", later(running(), |world| world.simulator.set_clock_offset_ms(120_000))),
        ("never-synchronized", {
            let mut world = fresh(json!({}));
            world.model().set_group_online("GID_BILLING", false);
            world.converge(20);
            then(world, |world| world.advance(30_000))
        }),
        ("being-changed", then(steady(json!({}), running_update()), edited(json!({"planDesc": "Other"})))),
        ("stopped-by-somebody", then(steady(json!({}), slow()), |world| item(world, ItemStatus::ManualStopped))),
        ("renamed-by-somebody", then(renamed, console(id, json!({"planName": "renamed"})))),
        ("unpaid", then(running(), |world| item(world, ItemStatus::OverdueStopped))),
        ("items-of-others-run", {
            let mut world = fresh(json!({"updatePolicy": "PauseItems"}));
            let (id, _) = world.console_plan(None, &[mapping("orders", "orders", ""), mapping("x", "foreign", "")]);
            world.edit(json!({"planId": id.to_string()}));
            world.converge(10);
            world
        }),
        // The API refuses the first attempt; the second pass waits.
        (
            "edited-while-items-run",
            then(then(running(), edited(json!({"planDesc": "Other", "updatePolicy": "Wait"}))), |_| {}),
        ),
        ("renamed-while-items-run", {
            let world = running();
            let id = world.plan_id();
            then(then(world, console(id, json!({"planName": "renamed"}))), |_| {})
        }),
        ("without-checkpoints", {
            let mappings = json!([mapping("orders", "orders", "Running"), mapping("idle", "idle", "Running")]);
            let world = steady(json!({"topicMappings": mappings}), Rules::default());
            let plan = world.our_plan().expect("a plan");
            let idle = plan.items.values().find(|it| format!("{:?}", it.topics).contains("idle")).expect("its item");
            let ids = idle.checkpoints.iter().map(|it| it.checkpoint_id.to_string()).collect();
            world.simulator.add_fault(
                Fault::new(FaultKind::Gap { ids, counted: false }).of_action("ListDisasterRecoveryCheckpoints"),
            );
            later(world, |_| {})
        }),
        ("plan-missing", {
            let world = running();
            let ids = vec![world.plan_id().to_string()];
            world.simulator.add_fault(Fault::new(FaultKind::Gap { ids, counted: false }));
            then(world, |_| {})
        }),
        ("item-missing", {
            let mut world = running();
            let plan = world.plan_id();
            let ids = world.items(plan).keys().map(ToString::to_string).collect();
            let gap = Fault::new(FaultKind::Gap { ids, counted: false });
            world.simulator.add_fault(gap.of_action("ListDisasterRecoveryItems"));
            then(world, |_| {})
        }),
        ("plan-status-unknown", {
            let world = running();
            let kind = FaultKind::UnknownStatus { ids: vec![world.plan_id().to_string()], status: "MIGRATING".into() };
            world.simulator.add_fault(Fault::new(kind).of_action("GetDisasterRecoveryPlan"));
            then(world, |_| {})
        }),
        ("item-status-unknown", {
            let world = running();
            let kind = FaultKind::UnknownStatus { ids: vec![], status: "MIGRATING".into() };
            world.simulator.add_fault(Fault::new(kind).of_action("ListDisasterRecoveryItems"));
            then(world, |_| {})
        }),
        ("twin", {
            let mut world = running();
            world.status.unanswered_creation = Some(world.timestamp());
            world.console_plan(Some(&format!("Orders {MARK}")), &[]);
            then(world, |_| {})
        }),
        ("invalid", {
            let mut world = fresh(json!({}));
            world.faulty_steps(&mut |_| Fate::refused(Class::Invalid), Crash::Never);
            world
        }),
        ("immutable-field", then(running(), edited(json!({"instances": [hangzhou, external()]})))),
        ("name-conflict", then(fresh(json!({})), |world| _ = world.stranger("orders", Some("somebody's")))),
        (
            "owned-by-another",
            then(fresh(json!({})), |world| drop(world.console_plan(Some(&format!("Orders {THEIRS}")), &[]))),
        ),
        ("plan-not-found", then(fresh(json!({"planId": "1300000999"})), |_| {})),
        ("secret-not-found", then(running(), |world| world.set_password(None))),
        ("secret-never-found", then(fresh(json!({})), |world| world.set_password(None))),
        ("account-not-found", blind(running(), conditions::unusable(&missing))),
        ("account-changed", blind(running(), changed)),
        ("taken-over", then(running(), |world| world.restart_with("operators/second"))),
        ("endpoint-refused", blind(running(), conditions::unusable(&endpoint))),
        ("access-denied", blind(running(), failure(Class::Denied))),
        ("access-never-allowed", blind(fresh(json!({})), failure(Class::Denied))),
        ("checkpoints-denied", {
            let world = running();
            world.fail_checkpoints(Some(Class::Denied));
            later(world, |_| {})
        }),
        ("throttled", blind(running(), failure(Class::Throttled { after: None }))),
        ("cloud-unavailable", blind(running(), failure(Class::Unavailable))),
        ("cloud-unavailable-for-long", {
            let mut world = running();
            world.advance(301_000);
            world.fresh = false;
            blind(world, failure(Class::Unavailable))
        }),
        ("edited-while-the-cloud-is-unavailable", {
            let mut world = running();
            world.edit(json!({"planDesc": "Other"}));
            blind(world, failure(Class::Unavailable))
        }),
        ("suspended", {
            let mut world = running();
            world.edit(json!({"suspend": true}));
            suspended(world)
        }),
        ("suspended-from-the-first", suspended(fresh(json!({"suspend": true})))),
        ("observed", observed("Orders", json!({}))),
        ("observed-and-different", observed("theirs", json!({}))),
        ("observed-and-stopped", {
            let world = observed("Orders", json!({}));
            let plan = world.plans().into_iter().next().expect("a plan");
            let (plan, item) = (plan.plan_id, *plan.items.keys().next().expect("an item"));
            world.model().set_item_status(plan, item, ItemStatus::ManualStopped, world.now()).expect("it is set");
            then(world, |_| {})
        }),
        ("observed-and-being-changed", {
            let world = observed("Orders", json!({}));
            let plan = world.plans().into_iter().next().expect("a plan");
            let (plan, item) = (plan.plan_id, *plan.items.keys().next().expect("an item"));
            world.model().set_item_status(plan, item, ItemStatus::Changing, world.now()).expect("it is set");
            then(world, |_| {})
        }),
        (
            "observed-and-not-stopped",
            observed("Orders", json!({"topicMappings": [mapping("orders", "orders", "Stopped")]})),
        ),
        ("being-deleted", then(deleting(steady(json!({}), slow())), |_| {})),
        ("deletion-blocked", blind(deleting(running()), failure(Class::Denied))),
        ("deletion-held-up", blind(deleting(running()), failure(Class::Unavailable))),
        ("deletion-while-suspended", {
            let mut world = running();
            world.edit(json!({"suspend": true}));
            suspended(deleting(suspended(world)))
        }),
        ("deletion-not-seen", deleting(running())),
        ("deletion-not-seen-of-a-stalled-one", deleting(blind(running(), failure(Class::Denied)))),
        ("edited", {
            let mut world = running();
            world.edit(json!({"planDesc": "Other"}));
            world
        }),
        ("crashed-while-it-was-made", {
            let mut world = fresh(json!({}));
            world.status.head.observed_generation = Some(-1);
            world.faulty_steps(&mut |_| Fate::Normal, Crash::BeforeActing);
            world
        }),
        ("edited-once-stalled", {
            let mut world = then(fresh(json!({"planId": "1300000999"})), |_| {});
            world.edit(json!({"planDesc": "Other"}));
            world
        }),
    ]
}

pub(crate) fn states() -> Vec<Value> {
    let made = worlds().into_iter().map(|(name, world)| {
        let object = object(KIND, name, world.generation(), json_of(&world.object.spec), json_of(&world.status));
        if world.deleting() { deleted(object) } else { object }
    });
    made.chain([object(KIND, "new", 1, json_of(&spec_with(json!({}))), unseen())]).collect()
}
