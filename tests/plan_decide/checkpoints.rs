//! Synchronization of checkpoints that an annotation requests.

use disaster_recovery_operator::api::SYNC_CHECKPOINTS_ANNOTATION;
use disaster_recovery_operator::simulator::model::{ItemStatus, Rules};
use serde_json::json;

use test_support::driver::plan::*;

#[test]
fn requested_checkpoint_sync_happens_once() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    world.annotate(SYNC_CHECKPOINTS_ANNOTATION, "2025-03-01T00:00:00Z");
    let passed = world.pass();
    assert_eq!(passed.names(), ["SyncCheckpoints"]);
    assert!(passed.events.iter().any(|it| it.reason == "CheckpointsSynced"), "{:?}", passed.events);
    assert_eq!(world.status.last_handled_sync_checkpoints_at, world.annotation(SYNC_CHECKPOINTS_ANNOTATION).cloned());
    assert_eq!(world.pass().names(), Vec::<&str>::new());
}

#[test]
fn overdue_item_does_not_block_requested_sync() {
    let spec = spec_with(json!({"topicMappings": [mapping("a", "a", "Running"), mapping("b", "b", "Running")]}));
    let mut world = World::in_sync(spec, Rules::default());
    let (plan_id, item) = (world.plan_id(), *world.our_plan().unwrap().items.keys().next().unwrap());
    world.model().set_item_status(plan_id, item, ItemStatus::OverdueStopped, world.now()).unwrap();
    world.annotate(SYNC_CHECKPOINTS_ANNOTATION, "2025-03-01T00:00:00Z");
    let synced = (0..20).any(|_| world.pass().names().contains(&"SyncCheckpoints"));
    assert!(synced, "{:?}", world.pass().decision);
}
