//! Rounds of `spec.checkpointSync`: which checkpoints the operator synchronizes, how often, and what status and events say.

use disaster_recovery_operator::api::SYNC_CHECKPOINTS_ANNOTATION;
use disaster_recovery_operator::api::condition::condition_type::{OFFSETS_COVERED, PROTECTED};
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::simulator::model::{CheckpointTimes, Consumption, Production, Rules};
use disaster_recovery_operator::simulator::{Fault, FaultKind};
use serde_json::{Value, json};

use super::situations::{LIST_CHECKPOINTS, SYNC_CHECKPOINT, fail, first_item, requests};
use test_support::driver::faults::refusal;
use test_support::driver::plan::*;
use test_support::table::Table;

const HOUR_MS: i64 = 3_600_000;

/// Changes that let the operator synchronize.
fn by_operator() -> Value {
    json!({"checkpointSync": {"by": "Operator"}})
}

/// A standby whose consumer groups are offline at the destination.
fn cold(patch: Value) -> World {
    let mut world = World::new(spec_of(&spec_with(by_operator()), patch), Rules::default());
    for group in Rules::default().consumer_groups {
        world.model().set_group_online(&group, false);
    }
    world.converge(20);
    world
}

/// The notes of the events of a reason since the last call.
fn notes(world: &World, reason: &str) -> Vec<String> {
    world.store.take_events().into_iter().filter(|it| it.reason == reason).map(|it| it.note).collect()
}

#[test]
fn cold_standby_is_covered_by_operator_alone() {
    let mut world = cold(json!({"checkpointSync": null}));
    world.observe_for(600_000);
    assert_eq!(world.condition(PROTECTED), "False/NeverSynced", "the cloud skips its groups");
    world.edit(by_operator());
    world.pass();
    world.observe_for(60_000);
    let conditions = [PROTECTED, OFFSETS_COVERED].map(|it| world.condition(it));
    assert_eq!(conditions, ["True/WithinObjective", "True/AllGroups"], "{}", world.message(PROTECTED));
    world.simulator.clear_requests();
    world.observe_for(HOUR_MS);
    assert_eq!(world.condition(PROTECTED), "True/WithinObjective", "{}", world.message(PROTECTED));
    // A round every 75 s: a list, both groups, and a list of the result.
    let (lists, syncs) = (requests(&world, LIST_CHECKPOINTS), requests(&world, SYNC_CHECKPOINT));
    assert!((94..=100).contains(&lists) && (94..=98).contains(&syncs), "{lists} lists, {syncs} synchronizations");
    let shown = world.status.checkpoint_sync.clone().unwrap();
    assert_eq!((shown.failed, shown.failures.len()), (0, 0));
    assert!(shown.last_round_time.is_some());
}

#[test]
fn rounds_follow_interval_and_skip_covered_groups() {
    let mut world = cold(json!({"checkpointSync": {"by": "Operator", "interval": "2m"}}));
    world.observe_for(600_000);
    world.simulator.with_model(|model, now| model.set_production(None, Production::Quiet, now));
    world.observe_for(600_000);
    world.simulator.clear_requests();
    world.store.take_writes();
    world.observe_for(HOUR_MS);
    let (lists, syncs) = (requests(&world, LIST_CHECKPOINTS), requests(&world, SYNC_CHECKPOINT));
    assert!((29..=31).contains(&lists), "{lists}");
    assert_eq!(syncs, 0);
    let writes = world.store.take_writes();
    assert!(writes.len() <= 1, "the time of the last round is shown once an hour: {writes:?}");
}

#[test]
fn nothing_is_synchronized_for_operator_with_another_lease() {
    let mut world = cold(json!({}));
    world.observe_for(60_000);
    world.status.head.lease = Some("operator/second".into());
    world.simulator.clear_requests();
    world.observe_for(HOUR_MS);
    assert_eq!(requests(&world, SYNC_CHECKPOINT), 0, "of {} lists", requests(&world, LIST_CHECKPOINTS));
}

#[test]
fn nothing_is_synchronized_where_it_must_not_be() {
    type Situation = fn(&mut World);
    let situations: [(&str, Value, Situation); 6] = [
        ("by the cloud", json!({"checkpointSync": {"by": "Cloud"}}), |_| {}),
        ("observed only", json!({"managementPolicy": "Observe"}), |_| {}),
        ("suspended", json!({"suspend": true}), |_| {}),
        ("stopped", json!({"topicMappings": [mapping("orders", "orders", "Stopped")]}), |_| {}),
        ("ignored groups", json!({"ignoredConsumerGroups": ["GID_*"]}), |_| {}),
        ("target ahead", json!({}), |world| {
            for group in Rules::default().consumer_groups {
                world.simulator.with_model(|model, now| model.set_target_ahead(&group, Some(60_000), now));
            }
        }),
    ];
    let mut table = Table::default();
    for (name, patch, situation) in situations {
        let mut world = cold(json!({}));
        world.observe_for(60_000);
        situation(&mut world);
        world.edit(patch);
        for _ in 0..5 {
            world.pass();
        }
        world.simulator.clear_requests();
        world.observe_for(HOUR_MS);
        table.cell(name, &0, &requests(&world, SYNC_CHECKPOINT));
    }
    table.check();
}

#[test]
fn progress_that_stands_still_is_not_synchronized() {
    let mut world = cold(json!({}));
    world.observe_for(60_000);
    world.simulator.add_fault(Fault::new(FaultKind::FrozenProgress { ids: vec![] }));
    world.observe_for(400_000);
    world.simulator.clear_requests();
    world.observe_for(HOUR_MS);
    assert_eq!(requests(&world, SYNC_CHECKPOINT), 0, "it was fetched more than a minute before");
}

#[test]
fn failed_group_stops_no_other_and_has_one_event() {
    let mut world = cold(json!({}));
    world.observe_for(120_000);
    world.store.take_events();
    let plan = world.our_plan().unwrap();
    let of = |group: &str| {
        let mut all = plan.items.values().flat_map(|item| &item.checkpoints);
        all.find(|it| it.consumer_group_id == group).unwrap().checkpoint_id
    };
    let path = format!("/checkpoints/{}", of("GID_BILLING"));
    let mut table = Table::default();
    for class in [Class::Denied, Class::NotFound, Class::Conflict] {
        world.simulator.add_fault(Fault::new(refusal(class)).of_action(SYNC_CHECKPOINT).of_path(&path));
        world.observe_for(HOUR_MS);
        let shown = world.status.checkpoint_sync.clone().unwrap();
        let failure = shown.failures[0].clone();
        let of = (shown.failed, failure.mapping, failure.consumer_group_id, failure.topic_name);
        let expected = (1, "orders".into(), Some("GID_BILLING".into()), Some("orders".into()));
        table.cell(format!("{class:?}: {}", failure.message), &expected, &of);
        table.cell(format!("{class:?}: events"), &1, &notes(&world, "CheckpointsNotSynced").len());
        let message = world.message(PROTECTED);
        let others = !message.contains("GID_ORDERS") && message.contains("GID_BILLING");
        table.cell(
            format!("{class:?}: {message}"),
            &(true, true),
            &(others, world.condition(PROTECTED).starts_with("False")),
        );
        world.simulator.clear_faults();
        world.observe_for(300_000);
        let again = (world.condition(PROTECTED), notes(&world, "CheckpointsSynced").len());
        table.cell(format!("{class:?}: recovered"), &("True/WithinObjective".into(), 1), &again);
    }
    table.check();
}

#[test]
fn refusals_are_repeated_rarely() {
    let groups: Vec<_> = (0..30).map(|number| format!("GID_{number:03}")).collect();
    // How many calls of 30 groups an hour at most.
    for (class, most) in [(Class::Denied, 60), (Class::NotFound, 420), (Class::Conflict, 420)] {
        let rules = Rules { consumer_groups: groups.clone(), ..Rules::default() };
        let spec = spec_of(&spec_with(by_operator()), json!({"recoveryPointObjective": "30s"}));
        let mut world = World::new(spec, rules);
        for group in &groups {
            world.model().set_group_online(group, false);
        }
        fail(&world, class, Some(SYNC_CHECKPOINT));
        world.converge(20);
        world.observe_for(1_200_000);
        world.simulator.clear_requests();
        world.store.take_writes();
        world.observe_for(HOUR_MS);
        let calls = requests(&world, SYNC_CHECKPOINT);
        assert!(calls <= most, "{class:?}: {calls}");
        let shown = world.status.checkpoint_sync.clone().unwrap();
        assert_eq!(shown.failed, 30, "{class:?}");
        let writes = world.store.take_writes();
        assert!(writes.len() <= 2, "{class:?}: {} writes", writes.len());
        world.simulator.clear_faults();
        world.observe_for(310_000);
        assert_eq!(world.condition(PROTECTED), "True/WithinObjective", "{class:?}: {}", world.message(PROTECTED));
    }
}

#[test]
fn edit_ends_rounds_before_its_reconcile_does() {
    let mut table = Table::default();
    for (name, patch) in [
        ("observe", json!({"managementPolicy": "Observe"})),
        ("by the cloud", json!({"checkpointSync": null})),
        ("suspend", json!({"suspend": true})),
        ("delete", Value::Null),
        ("ignore", json!({"ignoredConsumerGroups": ["*"]})),
    ] {
        let mut world = cold(json!({}));
        world.observe_for(600_000);
        world.simulator.clear_requests();
        while requests(&world, SYNC_CHECKPOINT) == 0 {
            world.observe_for(1_000);
        }
        // The next round is due in less than five seconds, and the reconcile takes longer.
        world.observe_for(70_000);
        if ["observe", "suspend", "delete"].contains(&name) {
            world.annotate(SYNC_CHECKPOINTS_ANNOTATION, "now");
        }
        world.simulator.clear_requests();
        match patch {
            Value::Null => world.delete(),
            patch => world.edit(patch),
        }
        world.simulator.add_fault(Fault::new(FaultKind::Slow { ms: 8_000 }).of_action("GetDisasterRecoveryPlan"));
        world.observes_beside = true;
        world.pass();
        table.cell(name, &0, &requests(&world, SYNC_CHECKPOINT));
    }
    table.check();
}

#[test]
fn items_stopped_for_change_are_not_synchronized() {
    let mut world = cold(json!({"checkpointSync": {"by": "Operator", "interval": "5s"}}));
    world.observe_for(600_000);
    world.observes_beside = true;
    for action in ["UpdateDisasterRecoveryPlan", "StopDisasterRecoveryItem"] {
        world.simulator.add_fault(Fault::new(FaultKind::Slow { ms: 4_000 }).of_action(action));
    }
    world.edit(json!({"planName": "orders-2"}));
    let mut stopped = false;
    for _ in 0..12 {
        world.pass();
        for request in world.simulator.requests() {
            stopped |= request.action == "StopDisasterRecoveryItem";
            stopped &= request.action != "StartDisasterRecoveryItem";
            assert!(!stopped || request.action != SYNC_CHECKPOINT, "{request:?}");
        }
    }
    assert_eq!(world.our_plan().unwrap().plan_name, "orders-2");
}

#[test]
fn new_group_after_first_round_is_synchronized_soon() {
    for objective in ["1h", "168h"] {
        let spec = spec_of(&spec_with(by_operator()), json!({"recoveryPointObjective": objective}));
        let mut world = World::new(spec, Rules { consumer_groups: vec![], ..Rules::default() });
        world.converge(20);
        world.observe_for(10_000);
        world.simulator.with_model(|model, now| model.add_group("GID_NEW", None, now)).unwrap();
        world.model().set_group_online("GID_NEW", false);
        world.observe_for(180_000);
        assert_eq!(world.condition(PROTECTED), "True/WithinObjective", "{objective}: {}", world.message(PROTECTED));
    }
}

#[test]
fn accepted_synchronization_without_effect_is_no_hot_loop() {
    let mut world = cold(json!({}));
    world.simulator.add_fault(Fault::new(FaultKind::NoEffect).of_action(SYNC_CHECKPOINT));
    world.observe_for(120_000);
    world.simulator.clear_requests();
    world.observe_for(HOUR_MS);
    let syncs = requests(&world, SYNC_CHECKPOINT);
    assert!((90..=100).contains(&syncs), "{syncs}");
    assert!(world.condition(PROTECTED).starts_with("False"), "{}", world.message(PROTECTED));
}

#[test]
fn restart_repeats_no_event() {
    let mut world = cold(json!({}));
    fail(&world, Class::Denied, Some(SYNC_CHECKPOINT));
    world.observe_for(300_000);
    assert_eq!(notes(&world, "CheckpointsNotSynced").len(), 1);
    world.restart();
    world.reconcile_at_start();
    world.observe_for(300_000);
    assert_eq!(notes(&world, "CheckpointsNotSynced").len(), 0);
    assert_eq!(world.status.checkpoint_sync.as_ref().unwrap().failed, 2);
}

#[test]
fn failed_list_is_a_failure_of_its_mapping() {
    let mut world = cold(json!({}));
    world.observe_for(120_000);
    fail(&world, Class::Unavailable, Some(LIST_CHECKPOINTS));
    world.observe_for(300_000);
    let shown = world.status.checkpoint_sync.clone().unwrap();
    assert_eq!((shown.failed, shown.failures[0].consumer_group_id.clone()), (1, None));
    assert_eq!(notes(&world, "CheckpointsNotSynced").len(), 1);
}

#[test]
fn taken_over_plan_is_synchronized_once_marked() {
    let mut world = World::new(spec_with(by_operator()), Rules::default());
    let (id, items) = world.console_plan(Some("Orders"), &[mapping("orders", "orders", "")]);
    for group in Rules::default().consumer_groups {
        world.model().set_group_online(&group, false);
    }
    // The mark waits while the item runs.
    world.edit(json!({"planId": id.to_string(), "updatePolicy": "Wait"}));
    for _ in 0..10 {
        world.pass();
    }
    world.annotate(SYNC_CHECKPOINTS_ANNOTATION, "now");
    world.pass();
    world.simulator.clear_requests();
    world.observe_for(600_000);
    assert!(world.our_plan().is_none(), "it has no mark");
    assert_eq!(requests(&world, SYNC_CHECKPOINT), 0);
    world.edit(json!({"updatePolicy": "PauseItems"}));
    for _ in 0..20 {
        world.pass();
    }
    assert_eq!(world.our_plan().unwrap().plan_id, id);
    world.observe_for(600_000);
    assert!(world.items(id).contains_key(&items[0]));
    assert_eq!(world.condition(PROTECTED), "True/WithinObjective", "{}", world.message(PROTECTED));
    assert_eq!(world.status.last_handled_sync_checkpoints_at.as_deref(), Some("now"));
}

#[test]
fn many_groups_are_synchronized_within_interval() {
    let groups: Vec<_> = (0..300).map(|number| format!("GID_{number:04}")).collect();
    let rules = Rules { consumer_groups: groups.clone(), ..Rules::default() };
    let mut world = World::new(spec_with(by_operator()), rules);
    for group in &groups {
        world.model().set_group_online(group, false);
    }
    world.converge(20);
    world.observe_for(120_000);
    assert_eq!(world.condition(PROTECTED), "True/WithinObjective", "{}", world.message(PROTECTED));
    fail(&world, Class::Denied, Some(SYNC_CHECKPOINT));
    world.observe_for(300_000);
    let shown = world.status.checkpoint_sync.clone().unwrap();
    assert_eq!((shown.failed, shown.failures.len()), (300, 10));
    let size = serde_json::to_vec(&world.status).unwrap().len();
    assert!(size < 16_384, "{size} bytes");
}

#[test]
fn held_checkpoint_and_behind_consumers_are_synchronized_too() {
    let mut world = cold(json!({}));
    world.observe_for(120_000);
    let (plan, item) = first_item(&mut world);
    let id = world.our_plan().unwrap().items[&item].checkpoints[0].checkpoint_id;
    let now = world.now();
    let times = CheckpointTimes { source_time: Some(now), target_time: Some(now - 200_000), last_sync_time: None };
    world.model().set_checkpoint(id, times).unwrap();
    world.observe_for(160_000);
    let found = world.our_plan().unwrap().items[&item].checkpoints[0].clone();
    assert!(found.last_sync_time.unwrap() > now, "{plan}: {found:?}");
    let behind = Consumption::CatchingUp { behind_ms: HOUR_MS, speed_percent: 1_000 };
    world.simulator.with_model(|model, now| model.set_consumption("GID_ORDERS", behind, now));
    world.observe_for(900_000);
    assert_eq!(world.condition(PROTECTED), "True/WithinObjective", "{}", world.message(PROTECTED));
}
