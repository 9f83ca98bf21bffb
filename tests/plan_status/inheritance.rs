//! Conditions that another process made True: how long they count, and how they become this process's own.

use disaster_recovery_operator::api::condition::condition_type::{OFFSETS_COVERED, PROTECTED, READY};
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::controller::conditions;
use disaster_recovery_operator::simulator::model::{ItemStatus, Rules};
use serde_json::json;

use super::situations::{EXPIRING, at_rest, at_rest_with, fail, first_item};
use test_support::driver::plan::*;
use test_support::table::Table;

/// The conditions that expire, and when each last changed.
fn transitions(world: &World) -> Vec<(String, i64)> {
    let conditions = EXPIRING.map(|it| conditions::find(&world.status.head.conditions, it).unwrap().clone());
    conditions.map(|it| (it.status, it.last_transition_time.0.as_second())).to_vec()
}

/// The ms after a restart at which each condition is Unknown first, in an outage.
fn lifetimes(world: &mut World) -> [Option<i64>; 3] {
    let (start, mut found) = (world.now(), [None; 3]);
    while world.now() < start + 400_000 {
        world.observe_for(250);
        for (found, condition) in found.iter_mut().zip(EXPIRING) {
            if found.is_none() && world.condition(condition).starts_with("Unknown/") {
                *found = Some(world.now() - start);
            }
        }
    }
    found
}

#[test]
fn inherited_conditions_last_part_of_objective() {
    let mut table = Table::default();
    // A quarter of the objective, a minute at most; of a proof that was not marked as ending, an eighth but two seconds.
    for (objective, quarter, eighth) in
        [("30s", 7_500, 0), ("1m", 15_000, 5_500), ("5m", 60_000, 35_500), ("40m", 60_000, 35_500)]
    {
        for age in [0, 10_000, 60_000] {
            let mut world = at_rest(json!({"recoveryPointObjective": objective}));
            let renewed = world.timestamp();
            world.advance(age);
            world.restart_after(Some(renewed));
            fail(&world, Class::Unavailable, None);
            let found = lifetimes(&mut world);
            for (condition, found) in EXPIRING.into_iter().zip(found) {
                let lasts = if condition == PROTECTED { eighth } else { quarter };
                let left = (lasts - age).max(0);
                let in_time = found.is_some_and(|at| (left..=left + 1_000).contains(&at));
                table.cell(format!("{condition}, {objective}, after {age} ms: {found:?}"), &true, &in_time);
            }
        }
    }
    table.check();
}

#[test]
fn nothing_is_inherited_without_lease() {
    let mut world = at_rest(json!({}));
    world.restart_after(None);
    fail(&world, Class::Unavailable, None);
    world.observe_for(1_000);
    assert_eq!(EXPIRING.map(|it| world.condition(it)), ["Unknown/NotReady", "Unknown/Unknown", "Unknown/Unknown"]);
}

#[test]
fn reconcile_in_outage_extends_no_inheritance() {
    let mut world = at_rest(json!({}));
    world.restart_after(Some(world.timestamp()));
    fail(&world, Class::Unavailable, None);
    world.observe_for(30_000);
    drop(world.faulty_pass(vec![], Crash::Never));
    assert_eq!(EXPIRING.map(|it| world.condition(it)), ["True/Available", "True/WithinObjective", "True/AllGroups"]);
    world.observe_for(75_000 + 1_000 - 30_000);
    assert_eq!(EXPIRING.map(|it| world.condition(it)), ["Unknown/NotReady", "Unknown/Unknown", "Unknown/Unknown"]);
}

#[test]
fn first_samples_keep_inherited_conditions() {
    let mut world = at_rest(json!({}));
    let before = transitions(&world);
    world.restart_after(Some(world.timestamp()));
    world.observe_for(20_000);
    // The first reconcile writes its status before the first sample.
    world.pass();
    assert_eq!(transitions(&world), before);
    world.observe_for(600_000);
    assert_eq!(transitions(&world), before, "no flap");
}

#[test]
fn first_samples_restore_conditions_without_lease() {
    let mut world = at_rest(json!({}));
    let before = transitions(&world);
    world.restart_after(None);
    world.observe_for(20_000);
    assert_eq!(EXPIRING.map(|it| world.condition(it)), ["Unknown/NotReady", "Unknown/Unknown", "Unknown/Unknown"]);
    world.pass();
    assert_eq!(EXPIRING.map(|it| world.condition(it)), ["True/Available", "True/WithinObjective", "True/AllGroups"]);
    assert_ne!(transitions(&world), before);
}

#[test]
fn own_evidence_ends_inheritance() {
    type Situation = fn(&mut World);
    // Worse than what is inherited: at the first reconcile, not at the end of the inheritance.
    let situations: [(&str, Situation, [&str; 3]); 2] = [
        (
            "overdue",
            |world| {
                let (plan, item) = first_item(world);
                world.model().set_item_status(plan, item, ItemStatus::OverdueStopped, world.now()).unwrap();
            },
            ["False/NotReady", "False/ReplicationStopped", "True/AllGroups"],
        ),
        (
            "lagging",
            |world| super::situations::lag(world, 3_600_000),
            ["True/Available", "False/ObjectiveExceeded", "True/AllGroups"],
        ),
    ];
    let mut table = Table::default();
    for (name, situation, expected) in situations {
        let mut world = at_rest_with(json!({}), Rules::default());
        situation(&mut world);
        world.restart_after(Some(world.timestamp()));
        world.pass();
        table.cell(name, &expected, &[READY, PROTECTED, OFFSETS_COVERED].map(|it| world.condition(it)));
    }
    table.check();
}

#[test]
fn unreadable_checkpoints_end_inheritance_in_time() {
    let mut world = at_rest(json!({}));
    world.restart_after(Some(world.timestamp()));
    world.fail_checkpoints(Some(Class::Unavailable));
    world.pass();
    assert_eq!(EXPIRING.map(|it| world.condition(it)), ["True/Available", "True/WithinObjective", "True/AllGroups"]);
    world.observe_for(71_000);
    assert_eq!(EXPIRING.map(|it| world.condition(it)), ["True/Available", "Unknown/Unknown", "Unknown/Unknown"]);
    world.simulator.clear_faults();
    world.observe_for(61_000);
    assert_eq!(EXPIRING.map(|it| world.condition(it)), ["True/Available", "True/WithinObjective", "True/AllGroups"]);
}
