//! Reads between reconciles: what they cost at rest, which differences they find, and what failures and gaps lead to.

use disaster_recovery_operator::api::condition::condition_type::{PROTECTED, READY, SYNCED};
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::simulator::model::{ItemStatus, Rules};
use disaster_recovery_operator::simulator::{Fault, FaultKind};
use serde_json::json;

use super::situations::{
    EXPIRING, GET_LAG, LIST_CHECKPOINTS, LIST_ITEMS, LIST_PLANS, all_conditions, at_rest, at_rest_with, caught_up,
    fail, first_item, requests,
};
use test_support::driver::plan::*;
use test_support::table::Table;

const HOUR_MS: i64 = 3_600_000;
/// The interval between two reads of the plans.
const POLL_MS: i64 = 60_000;

/// The reconciles in this time.
fn reconciles(world: &mut World, ms: i64) -> usize {
    let before = world.reconciles;
    world.observe_for(ms);
    world.reconciles - before
}

/// Reads of all plans without a gap in the answer to one of them.
fn gap(world: &World, ids: Vec<String>, counted: bool, action: &str) {
    world.simulator.add_fault(Fault::new(FaultKind::Gap { ids, counted }).of_action(action));
}

#[test]
fn hour_at_rest_costs_few_calls() {
    let both = json!([mapping("a", "a", "Running"), mapping("b", "b", "Running")]);
    let mut world = at_rest(json!({"topicMappings": both, "recoveryPointObjective": "5m", "pollInterval": "60s"}));
    world.simulator.clear_requests();
    world.store.take_writes();
    let before = world.status.clone();
    assert_eq!(reconciles(&mut world, HOUR_MS), 0);
    let all = world.simulator.requests();
    let plans = requests(&world, LIST_PLANS);
    let (items, checkpoints) = (requests(&world, LIST_ITEMS), requests(&world, LIST_CHECKPOINTS));
    assert!((59..=61).contains(&plans), "{plans}");
    let (own, lags) = (all.len() - plans, requests(&world, GET_LAG));
    assert!(own <= 66, "{own} calls: {items} of items, {checkpoints} of checkpoints, {lags} of messages");
    assert_eq!(items + checkpoints + lags + plans, all.len(), "and no others");
    assert_eq!(world.store.take_writes(), Vec::<String>::new());
    assert_eq!(world.status, before);
}

#[test]
fn consuming_groups_cost_no_write_either() {
    let mut world = at_rest_with(json!({}), Rules::default());
    world.simulator.clear_requests();
    world.store.take_writes();
    assert_eq!(reconciles(&mut world, HOUR_MS), 0);
    // The present progress of a group that consumes is never at the target: the proof is shorter by the interval of the cloud.
    let checkpoints = requests(&world, LIST_CHECKPOINTS);
    assert!((15..=20).contains(&checkpoints), "{checkpoints}");
    let writes = world.store.take_writes().len();
    assert!(writes <= 2, "{writes} writes");
}

#[test]
fn differences_are_found_by_their_reads() {
    type Change = fn(&mut World);
    // The time within which the difference is corrected.
    let changes: [(&str, Change, i64); 5] = [
        (
            "renamed plan",
            |world| {
                let id = world.plan_id();
                world.model().edit_plan(id, &json!({"planName": "renamed"}), world.now()).unwrap();
            },
            POLL_MS,
        ),
        (
            "plan without its mark",
            |world| {
                let id = world.plan_id();
                world.model().edit_plan(id, &json!({"planDesc": "Orders"}), world.now()).unwrap();
            },
            POLL_MS,
        ),
        (
            "stopped item",
            |world| {
                let (plan, item) = first_item(world);
                world.model().set_item_status(plan, item, ItemStatus::ManualStopped, world.now()).unwrap();
            },
            5 * POLL_MS,
        ),
        ("rotated Secret", |world| world.set_password(Some("new-word-1")), POLL_MS),
        (
            "deleted plan",
            |world| {
                let id = world.plan_id();
                world.model().remove_plan(id).unwrap();
            },
            POLL_MS,
        ),
    ];
    let mut table = Table::default();
    for (name, change, within_ms) in changes {
        let mut world = at_rest_with(json!({}), Rules { update_while_running: true, ..caught_up() });
        change(&mut world);
        // The reconcile that finds it asks for the next ones.
        assert!(reconciles(&mut world, within_ms + 1_000) > 0, "{name}");
        for _ in 0..60 {
            world.pass();
        }
        let plan = world.our_plan().unwrap_or_else(|| panic!("{name}: {:#?}", world.status));
        let found = (
            plan.plan_name.as_str() == "orders",
            plan.items.values().all(|it| it.status == ItemStatus::Running),
            plan.instances[1].password.as_deref()
                == Some(if name == "rotated Secret" { "new-word-1" } else { PASSWORD }),
        );
        table.cell(name, &(true, true, true), &found);
        table.cell(
            format!("{name}: conditions"),
            &["True/Available", "True/InSync"],
            &[READY, SYNCED].map(|it| world.condition(it)),
        );
    }
    table.check();
}

#[test]
fn difference_wakes_one_reconcile() {
    let mut world = at_rest_with(json!({}), Rules { update_while_running: true, ..caught_up() });
    let id = world.plan_id();
    world.model().edit_plan(id, &json!({"planName": "renamed"}), world.now()).unwrap();
    assert_eq!(reconciles(&mut world, POLL_MS), 1);
    assert_eq!((world.condition(SYNCED).as_str(), world.awaits_change), ("False/Drifted", false));
    assert_eq!(world.our_plan().unwrap().plan_name, "orders");
    world.pass();
    assert_eq!((world.condition(SYNCED).as_str(), world.awaits_change), ("True/InSync", true));
    assert_eq!(reconciles(&mut world, HOUR_MS), 0);
}

#[test]
fn reverted_change_is_found_despite_old_list() {
    // Several reconciles follow a change within one interval. Another actor restores what the last list showed.
    let mut world = at_rest_with(json!({}), Rules { update_while_running: true, ..caught_up() });
    let id = world.plan_id();
    world.edit(json!({"planName": "other"}));
    for _ in 0..5 {
        world.pass();
    }
    assert_eq!(world.our_plan().unwrap().plan_name, "other");
    world.model().edit_plan(id, &json!({"planName": "orders"}), world.now()).unwrap();
    world.observe_for(POLL_MS + 1_000);
    assert_eq!(world.our_plan().unwrap().plan_name, "other");
}

#[test]
fn twin_in_list_is_reported_once() {
    let mut world = at_rest(json!({}));
    let (twin, _) = world.console_plan(Some(&format!("Orders {MARK}")), &[]);
    world.observe_for(POLL_MS + 1_000);
    assert_eq!([SYNCED, READY].map(|it| world.condition(it)), ["False/Twin", "False/NotReady"]);
    assert_eq!(world.status.twins, [twin.to_string()]);
    assert_eq!(reconciles(&mut world, HOUR_MS), 0, "it is known");
    assert_eq!(world.condition(SYNCED), "False/Twin");
    world.model().remove_plan(twin).unwrap();
    world.observe_for(5 * POLL_MS);
    for _ in 0..60 {
        world.pass();
    }
    assert_eq!([SYNCED, READY].map(|it| world.condition(it)), ["True/InSync", "True/Available"]);
}

#[test]
fn incomplete_lists_conclude_nothing() {
    let mut table = Table::default();
    for (action, lasts_ms) in [(LIST_PLANS, 2 * POLL_MS), (LIST_ITEMS, 590_000), (LIST_CHECKPOINTS, 60_000)] {
        let mut world = at_rest(json!({}));
        let before = world.status.clone();
        world.store.take_writes();
        gap(&world, vec![], true, action);
        table.cell(format!("{action}: reconciles"), &0, &reconciles(&mut world, lasts_ms));
        table.cell(format!("{action}: writes"), &Vec::<String>::new(), &world.store.take_writes());
        table.cell(format!("{action}: same"), &true, &(world.status == before));
        // Absent evidence is no good news.
        world.observe_for(1_000_000);
        let expected = match action {
            LIST_PLANS => [false, true, true],
            LIST_ITEMS => [false, false, false],
            _ => [true, false, false],
        };
        let found = EXPIRING.map(|it| world.condition(it).starts_with("True/"));
        table.cell(format!("{action}: lasting"), &expected, &found);
        let plan = world.our_plan().unwrap();
        table.cell(format!("{action}: cloud"), &(1, 1), &(world.plans().len(), plan.items.len()));
        world.simulator.clear_faults();
        world.observe_for(130_000);
        if !world.awaits_change {
            world.pass();
        }
        let again = ["True/Available", "True/WithinObjective", "True/AllGroups"];
        table.cell(format!("{action}: again"), &again, &EXPIRING.map(|it| world.condition(it)));
    }
    table.check();
}

#[test]
fn plan_missing_in_list_is_found_by_get() {
    let mut world = at_rest(json!({}));
    let before = all_conditions(&world);
    gap(&world, vec![world.plan_id().to_string()], false, LIST_PLANS);
    for _ in 0..60 {
        let count = reconciles(&mut world, POLL_MS);
        assert!(count <= 1, "{count} in a poll");
        assert_eq!(all_conditions(&world), before);
    }
    assert_eq!(world.plans().len(), 1);
}

#[test]
fn different_representations_wake_not_for_ever() {
    for action in [LIST_PLANS, "GetDisasterRecoveryPlan"] {
        let mut world = at_rest_with(json!({}), Rules { update_while_running: true, ..caught_up() });
        if action == LIST_PLANS {
            let kind = FaultKind::UnknownStatus { ids: vec![], status: "MIGRATING".into() };
            world.simulator.add_fault(Fault::new(kind).of_action(action));
        } else {
            // Get shows an old state of the plan, and then the list differs in what the decision does not compare.
            let kind = FaultKind::UnknownStatus { ids: vec![], status: "CHANGING".into() };
            world.simulator.add_fault(Fault::new(kind).of_action(action));
        }
        let count = reconciles(&mut world, HOUR_MS);
        assert!(count <= 3, "{action}: {count}");
        assert_eq!(reconciles(&mut world, HOUR_MS), 0, "{action}");
        // A difference is found all the same.
        let id = world.plan_id();
        world.model().edit_plan(id, &json!({"planName": "renamed"}), world.now()).unwrap();
        let count = reconciles(&mut world, POLL_MS + 1_000);
        assert!(count >= 1, "{action}");
    }
}

#[test]
fn failing_inventory_is_reported_by_class() {
    let (unavailable, throttled) = (Class::Unavailable, Class::Throttled { after: None });
    let known = ["True/WithinObjective", "True/AllGroups"];
    let mut table = Table::default();
    // `Ready`, `Synced` and `Stalled` after the first failure, and after the second.
    let rest = ["True/Available", "True/InSync", ""];
    let denied = ["Unknown/NotReady", "False/AccessDenied", "True/AccessDenied"];
    for (class, first, second) in [
        (unavailable, rest, ["True/Available", "Unknown/CloudUnavailable", ""]),
        (throttled, rest, ["True/Available", "Unknown/Throttled", ""]),
        (Class::Denied, denied, denied),
    ] {
        let mut world = at_rest(json!({}));
        let before = all_conditions(&world);
        let show = |world: &World| [0, 1, 5].map(|it| all_conditions(world)[it].clone());
        fail(&world, class, Some(LIST_PLANS));
        let count = requests(&world, LIST_PLANS);
        while requests(&world, LIST_PLANS) == count {
            world.observe_for(1_000);
        }
        table.cell(format!("{class:?} once"), &first, &show(&world));
        // One failure that passes leaves no trace.
        world.simulator.clear_faults();
        world.observe_for(125_000);
        table.cell(format!("{class:?} once, again"), &before, &all_conditions(&world));
        fail(&world, class, Some(LIST_PLANS));
        world.store.take_writes();
        let reconciles = reconciles(&mut world, 100_000);
        table.cell(format!("{class:?} twice"), &second, &show(&world));
        table.cell(format!("{class:?} twice, others"), &known, &[2, 3].map(|it| all_conditions(&world)[it].clone()));
        let names = ["ListDisasterRecoveryPlans failed"; 1].map(|it| world.message(SYNCED).contains(it));
        table.cell(format!("{class:?} names its call: {}", world.message(SYNCED)), &[true], &names);
        table.cell(
            format!("{class:?}: reconciles and writes"),
            &(0, 1),
            &(reconciles, world.store.take_writes().len()),
        );
        world.simulator.clear_faults();
        world.observe_for(125_000);
        table.cell(format!("{class:?} recovered"), &before, &all_conditions(&world));
    }
    table.check();
}

#[test]
fn one_failed_list_is_not_written() {
    let mut world = at_rest(json!({}));
    let before = world.status.clone();
    fail(&world, Class::Unavailable, Some(LIST_PLANS));
    let count = requests(&world, LIST_PLANS);
    world.store.take_writes();
    while requests(&world, LIST_PLANS) == count {
        world.observe_for(1_000);
    }
    world.simulator.clear_faults();
    assert_eq!(reconciles(&mut world, HOUR_MS), 0);
    assert_eq!((world.status == before, world.store.take_writes()), (true, vec![]));
}

#[test]
fn stopped_mapping_proves_no_offsets_for_ever() {
    let mut world = at_rest(json!({}));
    let (plan, item) = first_item(&mut world);
    world.model().set_item_status(plan, item, ItemStatus::OverdueStopped, world.now()).unwrap();
    // The API has no checkpoints of an item that does not run.
    fail(&world, Class::Invalid, Some(LIST_CHECKPOINTS));
    world.observe_for(5 * POLL_MS + 1_000);
    assert_eq!(world.condition(PROTECTED), "False/ReplicationStopped");
    world.observe_for(600_000);
    let [_, _, protected, offsets, ..] = all_conditions(&world);
    assert_eq!([protected.as_str(), offsets.as_str()], ["False/ReplicationStopped", "Unknown/Unknown"]);
}
