//! Situations of a plan, and its conditions in short.

use disaster_recovery_operator::api::RECONCILE_ANNOTATION;
use disaster_recovery_operator::api::condition::condition_type;
use disaster_recovery_operator::api::plan::DisasterRecoveryPlan;
use disaster_recovery_operator::cloud::error::{Class, Error};
use disaster_recovery_operator::cloud::operation::ApiOperation;
use disaster_recovery_operator::simulator::Fault;
use disaster_recovery_operator::simulator::model::{CheckpointTimes, Rules};
use serde_json::{Value, json};

use test_support::driver::faults;
use test_support::driver::plan::*;
use test_support::driver::world::Passed;

/// All conditions as `status/reason`: Ready, Synced, Protected, OffsetsCovered, Reconciling, Stalled.
pub(crate) fn all_conditions(world: &World) -> [String; 6] {
    [
        condition_type::READY,
        condition_type::SYNCED,
        condition_type::PROTECTED,
        condition_type::OFFSETS_COVERED,
        condition_type::RECONCILING,
        condition_type::STALLED,
    ]
    .map(|kind| world.condition(kind))
}

/// Ready and Stalled as `status/reason`.
pub(crate) fn ready_and_stalled(world: &World) -> [String; 2] {
    [condition_type::READY, condition_type::STALLED].map(|kind| world.condition(kind))
}

/// A failed read of this class.
pub(crate) fn failure(class: Class) -> Error {
    let (operation, code, message) = (ApiOperation::ListDisasterRecoveryPlans, "Injected".into(), "injected".into());
    Error { class, operation, code, message, request_id: Some("R-1".into()) }
}

/// A plan in sync, so long that the cloud has synchronized consumer progress.
pub(crate) fn steady(spec: Value, rules: Rules) -> World {
    let mut world = World::in_sync(spec_with(spec), rules);
    world.advance(30_000);
    world.pass();
    world
}

/// A plan of another actor with one item, and an object that names it.
pub(crate) fn named_plan(policy: &str, state: &str) -> World {
    let wanted = [mapping("orders", "orders", state)];
    let mut world =
        World::new(spec_with(json!({"managementPolicy": policy, "topicMappings": wanted})), Rules::default());
    let (id, _) = world.console_plan(Some("Orders"), &[mapping("orders", "orders", "")]);
    world.edit(json!({"planId": id.to_string()}));
    world.converge(10);
    world.advance(30_000);
    world
}

/// One reconcile on request, after which every mapping is sampled.
pub(crate) fn sample(world: &mut World) -> Passed<DisasterRecoveryPlan> {
    let now = world.now().to_string();
    world.annotate(RECONCILE_ANNOTATION, &now);
    world.pass()
}

/// The IDs of the plan and of its first item.
pub(crate) fn first_item(world: &mut World) -> (i64, i64) {
    let plan_id = world.plan_id();
    (plan_id, *world.items(plan_id).keys().next().unwrap())
}

/// Puts every checkpoint so many ms behind.
pub(crate) fn lag(world: &mut World, ms: i64) {
    let ids: Vec<i64> = world
        .our_plan()
        .unwrap()
        .items
        .values()
        .flat_map(|item| item.checkpoints.iter().map(|it| it.checkpoint_id))
        .collect();
    assert!(!ids.is_empty());
    let now = world.now();
    for id in ids {
        let times = CheckpointTimes { last_sync_time: Some(now), source_time: Some(now), target_time: Some(now - ms) };
        world.model().set_checkpoint(id, times).unwrap();
    }
}

/// The conditions that rest on evidence with an expiry.
pub(crate) const EXPIRING: [&str; 3] =
    [condition_type::READY, condition_type::PROTECTED, condition_type::OFFSETS_COVERED];
pub(crate) const LIST_PLANS: &str = "ListDisasterRecoveryPlans";
pub(crate) const LIST_ITEMS: &str = "ListDisasterRecoveryItems";
pub(crate) const LIST_CHECKPOINTS: &str = "ListDisasterRecoveryCheckpoints";
pub(crate) const GET_LAG: &str = "GetConsumerGroupLag";
pub(crate) const SYNC_CHECKPOINT: &str = "SyncDisasterRecoveryCheckpoint";

/// Rules with consumer groups that have consumed everything: a sample proves the objective from its own time on.
pub(crate) fn caught_up() -> Rules {
    let groups = Rules::default().consumer_groups;
    Rules { idle_groups: groups.into_iter().collect(), ..Rules::default() }
}

/// A plan in sync that was at rest for ten minutes, and the requests of that time.
pub(crate) fn at_rest(spec: Value) -> World {
    at_rest_with(spec, caught_up())
}

/// The same, with a cloud of these rules.
pub(crate) fn at_rest_with(spec: Value, rules: Rules) -> World {
    let mut world = steady(spec, rules);
    assert!(world.awaits_change, "a plan at rest is not polled");
    world.observe_for(600_000);
    assert_eq!(EXPIRING.map(|it| world.condition(it)), ["True/Available", "True/WithinObjective", "True/AllGroups"]);
    world
}

/// The start of the last request of an action, in ms.
pub(crate) fn last(world: &World, action: &str) -> i64 {
    world.simulator.requests().iter().filter(|it| it.action == action).map(|it| it.at_ms).max().unwrap()
}

/// The number of requests of an action since the last reconcile.
pub(crate) fn requests(world: &World, action: &str) -> usize {
    world.simulator.requests().iter().filter(|it| it.action == action).count()
}

/// Makes every call fail like this, or those of one action.
pub(crate) fn fail(world: &World, class: Class, action: Option<&str>) {
    let fault = Fault::new(faults::refusal(class));
    world.simulator.add_fault(action.map_or(fault.clone(), |action| fault.of_action(action)));
}
