//! Creation: one plan, with its mark, however the call ends.

use disaster_recovery_operator::api::plan::CreationStatus;
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::controller::plan::decide::{Step, Verdict};
use disaster_recovery_operator::simulator::model::{ItemStatus, Rules};
use disaster_recovery_operator::simulator::{Fault, FaultKind};
use jiff::Timestamp;
use serde_json::json;

use test_support::driver::plan::*;
use test_support::table::Table;

/// A cloud in which changes take time, and show later.
fn slow() -> Rules {
    Rules { delay_ms: 2_000, visibility_delay_ms: 7_000, ..Rules::default() }
}

#[test]
fn plan_is_created_with_mark_before_items() {
    let mut world = World::new(spec_with(json!({})), slow());
    let first = world.pass();
    let [Step::CreatePlan { plan }] = first.decision.steps.as_slice() else { panic!("{:?}", first.decision) };
    assert_eq!(plan.plan_desc.as_deref(), Some("Orders [drp 0a1b2c3d/messaging/orders]"));
    assert_eq!(plan.instances.as_ref().unwrap()[1].v_switch_id.as_deref(), Some("vsw-a|vsw-b"));
    assert_eq!(plan.instances.as_ref().unwrap()[1].password.as_ref().unwrap().expose(), PASSWORD);
    assert!(matches!(world.pass().decision.verdict, Verdict::Waiting { .. }), "the plan is not visible yet");
    let last = world.converge(20);
    assert_eq!(last.decision.verdict, Verdict::InSync);
    assert_eq!(last.decision.drift, vec![]);
    let plan = world.our_plan().unwrap();
    assert_eq!(plan.items.values().map(|it| it.status).collect::<Vec<_>>(), [ItemStatus::Running]);
    assert_eq!(world.claimed(), Some(plan.plan_id));
    assert_eq!(world.status.plan_id, Some(plan.plan_id.to_string()));
    assert_eq!(world.status.creation, None);
}

#[test]
fn plan_in_sync_needs_no_step() {
    let mut world = World::in_sync(spec_with(json!({})), slow());
    for _ in 0..30 {
        let passed = world.pass();
        assert_eq!((passed.names(), &passed.decision.verdict), (vec![], &Verdict::InSync));
        assert!(passed.events.is_empty(), "{:?}", passed.events);
    }
}

#[test]
fn unanswered_create_yields_exactly_one_plan() {
    // The fault of the call, and the time in s until its plan is visible. In the end there is one plan.
    for (fault, visibility) in [
        (Fate::REPLY_LOST, 0),
        (Fate::REPLY_LOST, 30),
        (Fate::REPLY_LOST, 110),
        (Fate::LOST, 0),
        (Fate::LOST, 110),
        (Fate::refused(Class::Throttled { after: None }), 0),
        (Fate::refused(Class::Denied), 0),
    ] {
        for crash in [Crash::Never, Crash::BeforeAnnotation, Crash::BeforeStatus, Crash::BeforeActing] {
            let rules = Rules { visibility_delay_ms: visibility * 1000, ..Rules::default() };
            let mut world = World::new(spec_with(json!({})), rules);
            world.faulty_steps(&mut |_| fault.clone(), crash);
            if fault.refuses() && crash == Crash::Never {
                assert_eq!(world.status.creation, None, "the operator does not wait for a refused call");
            } else {
                assert!(world.status.creation.is_some());
            }
            assert_eq!(world.converge(120).decision.verdict, Verdict::InSync, "{fault:?} {crash:?}");
            assert_eq!(world.plans().len(), 1, "{fault:?} {crash:?}");
            assert_eq!(world.our_plan().unwrap().items.len(), 1);
        }
    }
}

#[test]
fn absent_plan_is_created_after_visibility_window() {
    // The age of a call without answer, in s, when the process starts: it observes the whole window itself.
    let mut table = Table::default();
    for (age, expected) in [(0, 120), (60, 120), (500, 120)] {
        let mut world = World::new(spec_with(json!({})), Rules::default());
        let time = Timestamp::from_second(T0 / 1000 - age).unwrap();
        world.status.creation = Some(CreationStatus { nonce: "n".into(), time });
        let created = (0..60).find(|_| world.pass().names() == ["CreatePlan"]);
        table.cell(format!("after {age} s"), &Some(expected), &created.map(|n| n * world.pace / 1000));
    }
    table.check();
}

#[test]
fn plan_id_during_create_leaves_no_orphan() {
    let rules = Rules { visibility_delay_ms: 30_000, ..Rules::default() };
    let mut world = World::new(spec_with(json!({})), rules);
    let id = world.stranger("other", None);
    world.advance(60_000);
    world.faulty_steps(&mut |_| Fate::REPLY_LOST, Crash::Never);
    world.edit(json!({"planId": id.to_string()}));
    for _ in 0..40 {
        world.pass();
    }
    let marked: Vec<_> = world
        .plans()
        .into_iter()
        .filter(|it| it.plan_desc.as_deref().unwrap_or_default().ends_with(MARK))
        .map(|it| it.plan_id)
        .collect();
    assert!(marked.is_empty() || world.status.plan_id == Some(marked[0].to_string()), "{marked:?} {:?}", world.status);
}

#[test]
fn plan_deleted_in_console_is_recreated() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    let first = world.plan_id();
    world.model().remove_plan(first).unwrap();
    let deleted = world.now();
    let mut gone = 0;
    let created = loop {
        let passed = world.pass();
        gone += passed.events.iter().filter(|it| it.reason == "PlanGone").count();
        if !passed.names().is_empty() {
            break passed;
        }
        assert_eq!((world.condition("Ready"), gone), ("Unknown/NotReady".into(), 0), "every read must agree");
    };
    assert_eq!((created.names(), gone), (vec!["CreatePlan"], 1));
    assert_eq!(created.decision.drift[0].field, "planId");
    assert!(world.observed_at - deleted >= 120_000);
    assert_eq!(world.converge(10).decision.verdict, Verdict::InSync);
    assert_ne!(world.plan_id(), first);
    assert_eq!(world.claimed(), Some(world.plan_id()));
}

#[test]
fn created_plan_on_second_page_is_found() {
    let mut world = World::new(spec_with(json!({})), Rules::default());
    for _ in 0..1_000 {
        world.stranger("theirs", None);
    }
    world.faulty_steps(&mut |_| Fate::REPLY_LOST, Crash::BeforeStatus);
    world.advance(300_000);
    assert_eq!(world.converge(10).decision.verdict, Verdict::InSync);
    assert_eq!(world.plans().len(), 1_001);
}

#[test]
fn incomplete_list_does_not_create_plan() {
    let mut world = World::new(spec_with(json!({})), Rules::default());
    world.faulty_steps(&mut |_| Fate::REPLY_LOST, Crash::BeforeStatus);
    world.advance(300_000);
    let created = world.plans()[0].plan_id.to_string();
    let gap = FaultKind::Gap { ids: vec![created], counted: true };
    world.simulator.add_fault(Fault::new(gap).of_action("ListDisasterRecoveryPlans"));
    for _ in 0..10 {
        assert!(world.faulty_pass(vec![], Crash::Never).is_err(), "the list lacks an entry that its total counts");
    }
    assert_eq!(world.condition("Synced"), "Unknown/CloudUnavailable");
    world.simulator.clear_faults();
    assert_eq!(world.converge(10).decision.verdict, Verdict::InSync);
    assert_eq!(world.plans().len(), 1);
}
