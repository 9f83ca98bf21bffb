//! Situations of a plan, and its conditions in short.

use disaster_recovery_operator::api::condition::condition_type;
use disaster_recovery_operator::cloud::error::{Class, Error};
use disaster_recovery_operator::cloud::operation::ApiOperation;
use disaster_recovery_operator::simulator::model::{CheckpointTimes, Rules};
use serde_json::{Value, json};

use test_support::driver::plan::*;

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
