//! Conditions of a plan in observe mode.

use disaster_recovery_operator::api::condition::condition_type;
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::controller::conditions;
use disaster_recovery_operator::simulator::model::{ItemStatus, Rules};
use serde_json::json;

use super::situations::{all_conditions, failure, named_plan, ready_and_stalled};
use test_support::driver::plan::*;
use test_support::table::Table;

#[test]
fn observe_mode_reports_drift_without_progress() {
    let mut world = World::new(spec_with(json!({"managementPolicy": "Observe"})), Rules::default());
    let (id, _) = world.console_plan(Some("theirs"), &[mapping("orders", "orders", "")]);
    world.edit(json!({"planId": id.to_string()}));
    world.advance(30_000);
    world.pass();
    assert_eq!(
        all_conditions(&world),
        ["True/Available", "False/ObserveOnly", "True/WithinObjective", "True/AllGroups", "", ""]
    );
    assert_eq!(world.status.plan_id, Some(id.to_string()));
    assert_eq!(world.status.head.synced_generation, None);
    assert!(world.message(condition_type::SYNCED).contains("planDesc"), "{}", world.message(condition_type::SYNCED));
}

#[test]
fn stopped_plan_stalls_in_observe_mode() {
    let mut world = World::new(spec_with(json!({"managementPolicy": "Observe"})), Rules::default());
    let (id, items) = world.console_plan(Some("Orders"), &[mapping("orders", "orders", "")]);
    world.edit(json!({"planId": id.to_string()}));
    world.model().set_item_status(id, items[0], ItemStatus::ManualStopped, world.now()).unwrap();
    world.pass();
    assert_eq!(world.condition(condition_type::READY), "False/NotReady");
    assert_eq!(world.condition(condition_type::STALLED), "True/ObserveOnly");
    assert_eq!(world.message(condition_type::STALLED), world.message(condition_type::READY));
}

#[test]
fn every_observed_status_has_its_conditions() {
    let (stopped, available) = (["True/Stopped", "", ""], ["True/Available", "", ""]);
    let stalled = ["False/NotReady", "", "True/ObserveOnly"];
    let changing = ["False/Updating", "True/Updating", ""];
    let mut table = Table::default();
    for (item, wanted_running, wanted_stopped) in [
        (ItemStatus::Running, available, stalled),
        (ItemStatus::Creating, changing, changing),
        (ItemStatus::Changing, changing, changing),
        (ItemStatus::ManualStopped, stalled, stopped),
        (ItemStatus::OverdueStopped, stalled, stopped),
    ] {
        for (state, expected) in [("Running", wanted_running), ("Stopped", wanted_stopped)] {
            let mut world = named_plan("Observe", state);
            let plan = world.plans().into_iter().next().unwrap();
            let (plan, id) = (plan.plan_id, *plan.items.keys().next().unwrap());
            world.model().set_item_status(plan, id, item, world.now()).unwrap();
            world.pass();
            let [ready, _, _, _, reconciling, is_stalled] = all_conditions(&world);
            let found = [ready, reconciling, is_stalled];
            table.cell(format!("{item:?} × {state}"), &expected, &found);
            // One failed read changes neither of these.
            let before = ready_and_stalled(&world);
            let (synced, _) = conditions::failure(&failure(Class::Unavailable));
            world.status = world.scope(|scope| scope.unobserved(&synced, false));
            let unobserved = ready_and_stalled(&world);
            world.fail_checkpoints(Some(Class::Throttled { after: None }));
            world.pass();
            table.cell(format!("{item:?} × {state}, unobserved"), &before, &unobserved);
            table.cell(format!("{item:?} × {state}, throttled"), &before, &ready_and_stalled(&world));
        }
    }
    table.check();
}

#[test]
fn missing_mark_is_no_drift_when_observed() {
    let mut world = World::new(spec_with(json!({"managementPolicy": "Observe"})), Rules::default());
    let (id, _) = world.console_plan(Some("Orders"), &[mapping("orders", "orders", "")]);
    world.edit(json!({"planId": id.to_string()}));
    world.advance(30_000);
    world.pass();
    assert_eq!(world.status.head.drift, vec![]);
    assert_eq!(world.condition(condition_type::SYNCED), "True/ObserveOnly");
}

#[test]
fn plan_owned_by_another_can_be_observed() {
    let mut world = World::new(spec_with(json!({"managementPolicy": "Observe"})), Rules::default());
    let (id, _) = world.console_plan(Some(&format!("Orders {THEIRS}")), &[mapping("orders", "orders", "")]);
    world.edit(json!({"planId": id.to_string()}));
    world.advance(30_000);
    world.pass();
    assert_eq!(
        all_conditions(&world),
        ["True/Available", "True/ObserveOnly", "True/WithinObjective", "True/AllGroups", "", ""]
    );
}
