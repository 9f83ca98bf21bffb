//! What is not relied on: observations of items that are too old, samples of another spec, a group under a new ID.

use std::collections::BTreeMap;
use std::time::Duration;

use disaster_recovery_operator::api::condition::condition_type::PROTECTED;
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::cloud::list::List;
use disaster_recovery_operator::cloud::rocketmq::{Checkpoint, Progress, ProgressData};
use disaster_recovery_operator::controller::plan::evidence::{CheckpointLists, Evidence, Reading, Task};
use disaster_recovery_operator::simulator::model::{ItemStatus, Rules};
use serde_json::json;

use super::situations::{EXPIRING, LIST_ITEMS, at_rest, fail, first_item, steady};
use test_support::driver::plan::*;

#[test]
fn every_condition_expires_with_items() {
    let mut world = at_rest(json!({}));
    fail(&world, Class::Unavailable, Some(LIST_ITEMS));
    world.observe_for(1_000_000);
    assert_eq!(EXPIRING.map(|it| world.condition(it)), ["Unknown/NotReady", "Unknown/Unknown", "Unknown/Unknown"]);
    world.store.take_writes();
    world.observe_for(600_000);
    // A reconcile a minute writes the ID of its failed request.
    let writes = world.store.take_writes().len();
    assert!(writes <= 20, "{writes} writes");
}

#[test]
fn samples_of_another_spec_renew_nothing() {
    let mut world = at_rest(json!({"updatePolicy": "Wait"}));
    fail(&world, Class::Unavailable, Some(LIST_ITEMS));
    world.edit(json!({"pollInterval": "50s"}));
    drop(world.faulty_pass(vec![], Crash::Never));
    let (plan, item) = first_item(&mut world);
    world.model().set_item_status(plan, item, ItemStatus::OverdueStopped, world.now()).unwrap();
    world.observe_for(310_000);
    assert_eq!(world.condition(PROTECTED), "Unknown/Unknown");
}

/// A checkpoint with this ID of a group that is an hour behind.
fn late(id: i64, source: &str, now: i64) -> Checkpoint {
    let side = |ms: i64| {
        Some(Progress {
            instance_id: Some(source.to_owned()),
            consumer_group_id: Some("GID_LATE".into()),
            topic_name: Some("a".into()),
            last_fetch_time: Some(now),
            progress_data: Some(ProgressData { consume_timestamp: Some(ms) }),
        })
    };
    Checkpoint {
        checkpoint_id: id,
        last_sync_time: Some(now),
        source_progress: side(now),
        target_progress: side(now - 3_600_000),
    }
}

#[test]
fn new_id_of_lagging_group_proves_nothing() {
    let mut world = steady(json!({"topicMappings": [mapping("a", "a", "Running")]}), Rules::default());
    let observed = world.observe().unwrap();
    let mut evidence = Evidence::default();
    world.scope(|scope| evidence.learn(scope, &observed, scope.now));
    for step in 0..30 {
        world.scope(|scope| {
            let now = scope.now.as_millisecond();
            let grounds = evidence.grounds.clone().unwrap();
            let of = (grounds.plan_id.unwrap(), grounds.item("a").unwrap());
            let source = grounds.sources[0].clone();
            let id = if step < 15 { 1 } else { 2 };
            let list = List::Complete(vec![late(id, &source, now)]);
            let lists: BTreeMap<_, _> = [(source, Ok(list))].into();
            let reading = Reading::Checkpoints(CheckpointLists { of, lists, clock_skew: Duration::ZERO });
            evidence.record(scope, &Task::Checkpoints("a".into()), reading, scope.now);
            assert_eq!(evidence.proven_until(), None, "an hour behind, sample {step}");
        });
        world.advance(20_000);
    }
}
