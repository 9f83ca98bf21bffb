//! Synchronization of checkpoints that an annotation requests: by the reads between reconciles, mapping by mapping.

use disaster_recovery_operator::api::SYNC_CHECKPOINTS_ANNOTATION;
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::simulator::model::{ItemStatus, Rules};
use disaster_recovery_operator::simulator::{Fault, FaultKind};
use serde_json::json;

use test_support::driver::faults::refusal;
use test_support::driver::plan::*;
use test_support::table::Table;

const SYNC: &str = "SyncDisasterRecoveryCheckpoint";
const LIST: &str = "ListDisasterRecoveryCheckpoints";

/// A plan in sync with two mappings: four checkpoints.
fn two_mappings(patch: serde_json::Value) -> World {
    let mut spec = json!({"topicMappings": [mapping("a", "a", "Running"), mapping("b", "b", "Running")]});
    spec.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
    World::in_sync(spec_with(spec), Rules::default())
}

fn request(world: &mut World) {
    world.annotate(SYNC_CHECKPOINTS_ANNOTATION, "2025-03-01T00:00:00Z");
}

fn handled(world: &World) -> bool {
    world.status.last_handled_sync_checkpoints_at.as_ref() == world.annotation(SYNC_CHECKPOINTS_ANNOTATION)
}

/// The reasons and notes of the events about the synchronization.
fn reports(world: &World) -> Vec<(String, String)> {
    let events = world.store.take_events().into_iter().filter(|it| it.reason.starts_with("Checkpoints"));
    events.map(|it| (it.reason, it.note)).collect()
}

/// The executed synchronizations since the last reconcile.
fn synchronized(world: &World) -> usize {
    world.simulator.requests().iter().filter(|it| it.action == SYNC && it.executed).count()
}

#[test]
fn requested_checkpoint_sync_happens_once() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    request(&mut world);
    let passed = world.pass();
    assert_eq!(passed.names(), Vec::<&str>::new(), "no step of the reconcile");
    let calls: Vec<_> = passed.calls.iter().map(|it| it.action.as_str()).collect();
    assert_eq!(calls, [SYNC; 2]);
    let events: Vec<_> = passed.events.iter().map(|it| (it.reason.as_str(), it.note.as_str())).collect();
    assert_eq!(events, [("CheckpointsSynced", "synchronized all 2 checkpoints")]);
    assert!(handled(&world));
    let passed = world.pass();
    assert_eq!((passed.calls, passed.events), (vec![], vec![]));
    world.observe_for(3_600_000);
    assert_eq!((synchronized(&world), reports(&world)), (0, vec![]));
    // A new value is a new request.
    world.annotate(SYNC_CHECKPOINTS_ANNOTATION, "2025-03-02T00:00:00Z");
    assert_eq!(world.pass().calls.len(), 2);
}

#[test]
fn overdue_item_does_not_block_requested_sync() {
    let mut world = two_mappings(json!({}));
    let (plan_id, item) = (world.plan_id(), *world.our_plan().unwrap().items.keys().next().unwrap());
    world.model().set_item_status(plan_id, item, ItemStatus::OverdueStopped, world.now()).unwrap();
    request(&mut world);
    world.pass();
    world.observe_for(600_000);
    let ours = world.our_plan().unwrap();
    let other = ours.items.values().find(|it| it.item_id != item).unwrap();
    assert!(other.checkpoints.iter().all(|it| it.last_sync_time.is_some()));
    assert!(handled(&world) && synchronized(&world) >= 2, "{}", synchronized(&world));
}

#[test]
fn failed_sync_is_repeated_and_then_reported() {
    let mut table = Table::default();
    // The faults of single calls, and what is reported in the end.
    for (name, fault, expected) in [
        (
            "passing",
            Fault::new(refusal(Class::Unavailable)).of_action(SYNC).lasting_ms(20_000),
            ("CheckpointsSynced", 4),
        ),
        (
            "unread for a while",
            Fault::new(refusal(Class::Unavailable)).of_action(LIST).lasting_ms(20_000),
            ("CheckpointsSynced", 4),
        ),
        ("lasting", Fault::new(refusal(Class::Unavailable)).of_action(SYNC), ("CheckpointsNotSynced", 0)),
        ("denied", Fault::new(refusal(Class::Denied)).of_action(SYNC), ("CheckpointsNotSynced", 0)),
        ("unread", Fault::new(refusal(Class::Denied)).of_action(LIST), ("CheckpointsNotSynced", 0)),
        (
            "an incomplete list",
            Fault::new(FaultKind::Gap { ids: vec![], counted: true }).of_action(LIST),
            ("CheckpointsNotSynced", 0),
        ),
    ] {
        let mut world = two_mappings(json!({}));
        world.simulator.add_fault(fault);
        request(&mut world);
        let mut found: Vec<_> = world.pass().events.into_iter().map(|it| (it.reason, it.note)).collect();
        let mut calls = synchronized(&world);
        if found.is_empty() {
            world.observe_for(600_000);
            (found, calls) = (reports(&world), synchronized(&world));
        }
        let reasons: Vec<_> = found.iter().map(|it| it.0.as_str()).collect();
        table.cell(format!("{name}: {found:?}"), &(vec![expected.0], expected.1), &(reasons, calls));
        table.cell(format!("{name} is handled"), &true, &handled(&world));
    }
    table.check();
}

#[test]
fn observe_mode_synchronizes_nothing() {
    let mut world = two_mappings(json!({}));
    world.edit(json!({"managementPolicy": "Observe"}));
    request(&mut world);
    let events: Vec<_> = world.pass().events.into_iter().map(|it| it.reason).collect();
    assert_eq!(events, ["CheckpointsNotSynced"]);
    world.observe_for(600_000);
    assert_eq!((synchronized(&world), handled(&world)), (0, true));
}

#[test]
fn sync_waits_for_end_of_pause() {
    let spec = spec_with(json!({"topicMappings": [mapping("a", "a", "Running"), mapping("b", "b", "Running")]}));
    let mut world = World::in_sync(spec, Rules { delay_ms: 7_000, ..Rules::default() });
    world.edit(json!({"planDesc": "Other"}));
    request(&mut world);
    let mut synced = false;
    for _ in 0..20 {
        let calls = world.pass().calls;
        let now = calls.iter().any(|it| it.action == SYNC);
        assert!(!now || world.status.paused_items.is_empty(), "{calls:?}");
        synced |= now;
    }
    assert!(synced && handled(&world));
}

#[test]
fn former_process_leaves_request_to_next_one() {
    let mut world = two_mappings(json!({}));
    world.simulator.add_fault(Fault::new(refusal(Class::Unavailable)).of_action(SYNC));
    request(&mut world);
    world.pass();
    assert!(!handled(&world));
    world.restart();
    world.simulator.clear_faults();
    assert_eq!(world.pass().calls.len(), 4);
    assert!(handled(&world));
}

#[test]
fn withdrawn_request_ends() {
    let mut world = two_mappings(json!({}));
    world.simulator.add_fault(Fault::new(refusal(Class::Unavailable)).of_action(SYNC));
    request(&mut world);
    world.pass();
    world.object.metadata.annotations.as_mut().map(|all| all.remove(SYNC_CHECKPOINTS_ANNOTATION));
    world.simulator.clear_faults();
    world.pass();
    world.observe_for(600_000);
    assert_eq!((synchronized(&world), reports(&world)), (0, vec![]));
}
