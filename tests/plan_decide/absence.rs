//! What the operator concludes from reads that do not show a plan or an item: nothing, until all reads of the window agree.

use disaster_recovery_operator::api::condition::synced;
use disaster_recovery_operator::controller::plan::decide::Verdict;
use disaster_recovery_operator::simulator::model::Rules;
use disaster_recovery_operator::simulator::{Fault, FaultKind};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::properties::config;
use test_support::driver::plan::*;

/// Reads do not show these resources for a time.
fn gap(world: &World, ids: &[i64], ms: u32) {
    let ids = ids.iter().map(ToString::to_string).collect();
    world.simulator.add_fault(Fault::new(FaultKind::Gap { ids, counted: false }).lasting_ms(ms));
}

#[test]
fn gap_of_nine_seconds_creates_no_plan() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    let id = world.plan_id();
    let since = world.timestamp();
    gap(&world, &[id], 9_000);
    for _ in 0..2 {
        assert_eq!(world.pass().names(), Vec::<&str>::new());
        assert!(world.condition("Synced").starts_with("False/"));
        let message = world.message("Synced");
        assert!(message.contains(&format!("plan {id} ")) && message.contains(&since.to_string()), "{message}");
        for condition in ["Ready", "Protected", "OffsetsCovered"] {
            assert!(world.condition(condition).starts_with("Unknown/"), "{condition} {}", world.message(condition));
        }
    }
    assert_eq!(world.converge(3).decision.verdict, Verdict::InSync);
    assert_eq!((world.plans().len(), world.condition("Protected")), (1, "True/WithinObjective".into()));
    assert_eq!(world.status.topic_mappings[0].item_id.as_deref(), Some("100070284"));
}

#[test]
fn restart_during_gap_begins_the_window_again() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    gap(&world, &[world.plan_id()], 300_000);
    for n in 0..58 {
        if n % 20 == 0 {
            world.restart();
        }
        assert_eq!(world.pass().names(), Vec::<&str>::new(), "after {n} reconciles");
    }
    world.advance(20_000);
    assert_eq!(world.converge(3).decision.verdict, Verdict::InSync);
    assert_eq!(world.plans().len(), 1);
}

#[test]
fn stale_missing_since_proves_nothing() {
    // Status of a backup: the plan was missing long ago.
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    world.status.missing_since = Some("2025-01-01T00:00:00Z".parse().unwrap());
    gap(&world, &[world.plan_id()], 9_000);
    world.pass();
    world.pass();
    world.advance(10_000);
    assert_eq!(world.converge(3).decision.verdict, Verdict::InSync);
    assert_eq!(world.plans().len(), 1);
}

#[test]
fn gap_in_item_list_adds_no_item() {
    let both = json!([mapping("a", "a", "Running"), mapping("b", "b", "Running")]);
    let mut world = World::in_sync(spec_with(json!({ "topicMappings": both })), Rules::default());
    let (plan_id, first) = (world.plan_id(), *world.items(world.plan_id()).keys().next().unwrap());
    gap(&world, &[first], 60_000);
    for n in 0..11 {
        // Neither under its name nor under another one.
        if n == 4 {
            world.edit(json!({"topicMappings": [mapping("renamed", "a", "Running"), mapping("b", "b", "Running")]}));
        }
        assert_eq!(world.pass().names(), Vec::<&str>::new());
        assert!(world.message("Synced").contains(&first.to_string()), "{}", world.message("Synced"));
        assert_eq!(world.condition("Protected"), "Unknown/Unknown", "{}", world.message("Protected"));
    }
    world.advance(10_000);
    assert_eq!(world.converge(5).decision.verdict, Verdict::InSync);
    assert_eq!(world.items(plan_id).len(), 2);
    assert_eq!(world.status.topic_mappings[0].item_id, Some(first.to_string()));
}

#[test]
fn deleted_item_is_added_after_window() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    let (plan_id, item) = (world.plan_id(), *world.items(world.plan_id()).keys().next().unwrap());
    world.model().remove_item(plan_id, item).unwrap();
    let added = (0..60).find(|_| world.pass().names() == ["AddItem"]);
    assert_eq!(added, Some(24), "120 s in steps of 5 s");
    assert_eq!(world.converge(5).decision.verdict, Verdict::InSync);
}

#[test]
fn incomplete_item_list_adds_and_deletes_nothing() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    let (plan_id, item) = (world.plan_id(), *world.items(world.plan_id()).keys().next().unwrap());
    let gap = FaultKind::Gap { ids: vec![item.to_string()], counted: true };
    world.simulator.add_fault(Fault::new(gap).of_action("ListDisasterRecoveryItems"));
    for _ in 0..40 {
        assert_eq!(world.pass().names(), Vec::<&str>::new());
    }
    assert_eq!(world.condition("Protected"), "Unknown/Unknown");
    world.delete();
    for _ in 0..40 {
        assert_eq!(world.pass().names(), Vec::<&str>::new(), "DeletePlan would leave an item behind");
    }
    world.simulator.clear_faults();
    world.converge(60);
    assert!(world.released.is_some() && world.plan(plan_id).is_none());
}

#[test]
fn gap_during_deletion_leaves_no_plan() {
    for begin in 0..6 {
        let mut world = World::in_sync(spec_with(json!({})), Rules { delay_ms: 3_000, ..Rules::default() });
        let id = world.plan_id();
        world.delete();
        for _ in 0..begin {
            world.pass();
        }
        gap(&world, &[id], 8_000);
        world.pass();
        assert!(world.released.is_none(), "released in a gap after {begin} reconciles");
        world.converge(60);
        assert_eq!(world.plans().len(), 0, "after {begin} reconciles");
    }
}

#[test]
fn refused_reads_delay_a_deletion_and_do_not_hold_it() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    world.delete();
    for _ in 0..6 {
        world.pass();
    }
    assert!(world.released.is_none() && world.plans().is_empty(), "the plan is deleted, and that is not proven");
    // One read in 90 s succeeds.
    for _ in 0..4 {
        let throttle = FaultKind::Throttle { retry_after_ms: None };
        world.simulator.add_fault(Fault::new(throttle).of_action("GetDisasterRecoveryPlan"));
        for _ in 0..17 {
            assert!(world.faulty_pass(vec![], Crash::Never).is_err());
            assert!(world.released.is_none(), "nothing was read");
        }
        world.simulator.clear_faults();
        world.pass();
        if world.released.is_some() {
            return;
        }
    }
    panic!("{}", world.message("Synced"));
}

#[test]
fn contradictory_reads_begin_the_proof_again() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    let id = world.plan_id();
    gap(&world, &[id], 4_000);
    world.pass();
    assert!(world.message("Synced").contains("is not found"), "{}", world.message("Synced"));
    world.advance(4_000);
    // The list shows the plan for two minutes, and Get does not.
    let (code, message) = ("DisasterRecoveryPlan.NotFound".into(), "Not found.".into());
    let missing = FaultKind::Error { status: 404, code, message, pascal_case: false };
    world.simulator.add_fault(Fault::new(missing).of_action("GetDisasterRecoveryPlan"));
    for _ in 0..24 {
        assert!(world.faulty_pass(vec![], Crash::Never).is_err());
        assert!(world.message("Synced").contains("is listed and yet cannot be read"), "{}", world.message("Synced"));
    }
    world.simulator.clear_faults();
    gap(&world, &[id], 100_000);
    for _ in 0..18 {
        assert_eq!(world.pass().names(), Vec::<&str>::new(), "{}", world.message("Synced"));
    }
    world.advance(20_000);
    assert_eq!(world.converge(3).decision.verdict, Verdict::InSync);
    assert_eq!(world.plans().len(), 1);
}

#[test]
fn set_clock_begins_the_window_again() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    let gone = FaultKind::Gap { ids: vec![world.plan_id().to_string()], counted: false };
    world.simulator.add_fault(Fault::new(gone));
    for _ in 0..20 {
        assert_eq!(world.pass().names(), Vec::<&str>::new(), "before");
    }
    world.set_clock(3_600_000);
    for n in 0..24 {
        assert_eq!(world.pass().names(), Vec::<&str>::new(), "{n} reconciles after the clock was set");
    }
    world.simulator.clear_faults();
    assert_eq!(world.converge(3).decision.verdict, Verdict::InSync);
    assert_eq!(world.plans().len(), 1);
}

/// The number of reconciles until the next one that makes changing calls, which never arrive.
fn until_lost_call(world: &mut World) -> usize {
    let lost = |_: &usize| {
        world.faulty_pass(vec![Fate::LOST; 16], Crash::Never).unwrap();
        !world.attempts().is_empty()
    };
    (0..100).find(lost).unwrap_or_else(|| panic!("no call"))
}

#[test]
fn each_lost_create_waits_for_a_window_of_its_own() {
    let mut world = World::new(spec_with(json!({})), Rules::default());
    assert_eq!(until_lost_call(&mut world), 0);
    for n in 0..3 {
        assert_eq!(until_lost_call(&mut world), 24, "call {n}, 120 s in steps of 5 s");
    }
    world.converge(60);
    assert_eq!(world.plans().len(), 1);
}

#[test]
fn each_lost_item_waits_for_a_window_of_its_own() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    world.edit(json!({"topicMappings": [mapping("orders", "orders", "Running"), mapping("b", "b", "Running")]}));
    assert_eq!(until_lost_call(&mut world), 0);
    for n in 0..3 {
        assert_eq!(until_lost_call(&mut world), 24, "call {n}, 120 s in steps of 5 s");
    }
    world.converge(60);
    assert_eq!(world.items(world.plan_id()).len(), 2);
}

#[test]
fn plan_deleted_between_pages_hides_no_other() {
    // The first entry of the first page goes after that page was read: the second page then begins one entry later.
    let mut world = World::new(spec_with(json!({})), Rules::default());
    let first = world.stranger("theirs", None);
    for _ in 1..1_000 {
        world.stranger("theirs", None);
    }
    world.faulty_steps(&mut |_| Fate::REPLY_LOST, Crash::BeforeStatus);
    world.advance(100_000);
    for _ in 0..30 {
        let gone = FaultKind::Gap { ids: vec![first.to_string()], counted: false };
        world.simulator.clear_faults();
        world.simulator.add_fault(Fault::new(gone).of_action("ListDisasterRecoveryPlans").after(1));
        assert!(!world.pass().names().contains(&"CreatePlan"));
    }
    assert_eq!((world.plans().len(), world.pass().decision.verdict), (1_001, Verdict::InSync));
}

#[test]
fn create_after_the_window_is_reported_as_twin() {
    let mut world = World::new(spec_with(json!({})), Rules::default());
    world.faulty_steps(&mut |_| Fate::late(150_000), Crash::Never);
    assert_eq!(world.converge(60).decision.verdict, Verdict::InSync, "the second call made a plan");
    let used = world.status.plan_id.clone().unwrap();
    world.advance(60_000);
    let twin = (0..5).map(|_| world.pass()).last().unwrap();
    assert_eq!((twin.refusal(), twin.names()), (Some(synced::TWIN), vec![]));
    let ids: Vec<_> = world.plans().iter().map(|it| it.plan_id.to_string()).collect();
    assert!(ids.len() == 2 && ids.iter().all(|id| world.message("Synced").contains(id)), "{}", world.message("Synced"));
    assert_eq!(world.status.plan_id, Some(used.clone()), "one of them is used");
    // A list without the twin proves nothing, and no plan is deleted with the object.
    let other = ids.into_iter().find(|id| *id != used).unwrap();
    gap(&world, &[other.parse().unwrap()], 20_000);
    world.delete();
    for _ in 0..30 {
        let passed = world.pass();
        assert_eq!((passed.refusal(), passed.names()), (Some(synced::TWIN), vec![]));
    }
    // A person deletes one of them.
    world.model().remove_plan(other.parse().unwrap()).unwrap();
    for _ in 0..80 {
        if world.released.is_none() {
            world.pass();
        }
    }
    assert_eq!((world.plans().len(), world.released.is_some()), (0, true));
}

#[test]
fn gap_of_used_plan_does_not_switch_to_twin() {
    for deleting in [false, true] {
        let mut world = World::new(spec_with(json!({})), Rules::default());
        world.faulty_steps(&mut |_| Fate::Fault(FaultKind::Twice), Crash::BeforeAnnotation);
        world.converge(60);
        let (used, twins) = (world.status.plan_id.clone(), world.status.twins.clone());
        assert_eq!((world.condition("Synced"), twins.len()), ("False/Twin".into(), 1));
        world.delete_if(deleting);
        gap(&world, &[used.clone().unwrap().parse().unwrap()], 60_000);
        for _ in 0..20 {
            assert_eq!(world.pass().names(), Vec::<&str>::new());
            assert_eq!((&world.status.plan_id, &world.status.twins), (&used, &twins));
        }
        assert_eq!((world.pass().refusal(), world.plans().len()), (Some(synced::TWIN), 2));
    }
}

#[test]
fn twin_ends_when_a_person_removes_its_mark() {
    let mut world = World::new(spec_with(json!({})), Rules::default());
    world.faulty_steps(&mut |_| Fate::Fault(FaultKind::Twice), Crash::BeforeAnnotation);
    assert_eq!(world.converge(60).refusal(), Some(synced::TWIN));
    let used: i64 = world.status.plan_id.clone().unwrap().parse().unwrap();
    let other = world.plans().into_iter().find(|it| it.plan_id != used).unwrap().plan_id;
    world.model().edit_plan(other, &json!({"planDesc": "mine"}), world.now()).unwrap();
    assert_eq!(world.converge(10).decision.verdict, Verdict::InSync);
    assert_eq!((world.plans().len(), world.status.twins.len()), (2, 0));
}

#[test]
fn description_edited_during_twin_is_changed_after_it() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    let id = world.plan_id();
    let (twin, _) = world.console_plan(Some(&format!("Orders {MARK}")), &[]);
    world.status.unanswered_creation = Some(world.timestamp());
    assert_eq!(world.pass().refusal(), Some(synced::TWIN));
    world.edit(json!({"planDesc": "Other"}));
    assert_eq!(world.pass().refusal(), Some(synced::TWIN));
    world.model().edit_plan(twin, &json!({"planDesc": "mine"}), world.now()).unwrap();
    assert_eq!(world.converge(20).decision.verdict, Verdict::InSync);
    assert_eq!(world.plan(id).unwrap().plan_desc, Some(format!("Other {MARK}")), "{}", world.message("Synced"));
}

#[test]
fn hinted_plan_without_mark_is_not_replaced() {
    // A restored object has no status, and a person removed the mark and renamed the plan.
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    let id = world.plan_id();
    world.model().edit_plan(id, &json!({"planName": "theirs", "planDesc": "no mark"}), world.now()).unwrap();
    world.status = Default::default();
    let before = world.snapshot(id);
    for _ in 0..40 {
        let passed = world.pass();
        assert_eq!((passed.refusal(), passed.names()), (Some(synced::NAME_CONFLICT), vec![]));
    }
    assert_eq!((world.snapshot(id), world.plans().len()), (before, 1));
    world.edit(json!({"planId": id.to_string()}));
    assert_eq!(world.converge(20).decision.verdict, Verdict::InSync);
}

#[test]
fn annotation_alone_binds_marked_plan_only() {
    for (desc, bound) in [(format!("Orders {MARK}"), true), ("Orders".to_owned(), false), (THEIRS.to_owned(), false)] {
        let mut world = World::new(spec_with(json!({"planName": "other"})), Rules::default());
        let (id, _) = world.console_plan(Some(&desc), &[]);
        world.model().edit_plan(id, &json!({"planName": "by-hand"}), world.now()).unwrap();
        world.claim(Some(id));
        world.pass();
        let plan = world.plan(id).unwrap();
        assert_eq!((plan.plan_name == "other", plan.plan_desc), (bound, Some(desc)));
    }
}

#[test]
fn observed_plan_is_not_bound_for_later() {
    let mut world = World::new(spec_with(json!({"managementPolicy": "Observe"})), Rules::default());
    let (id, _) = world.console_plan(Some("by hand"), &[mapping("orders", "orders", "")]);
    world.edit(json!({"planId": id.to_string()}));
    world.pass();
    assert_eq!(world.status.plan_id, Some(id.to_string()));
    let before = world.snapshot(id);
    world.edit(json!({"managementPolicy": "Manage", "planId": null}));
    for _ in 0..30 {
        let passed = world.pass();
        assert_eq!((passed.refusal(), passed.names()), (Some(synced::NAME_CONFLICT), vec![]));
    }
    assert_eq!(world.snapshot(id), before);
}

/// Reconciles until the object is at rest: with this crash in the reconcile at `begin`, and nothing shown for 45 s after it.
fn crash_before_gap(world: &mut World, begin: usize, crash: Crash) {
    for n in 0..begin + 60 {
        if n == begin + 1 {
            world.simulator.add_fault(Fault::new(FaultKind::Gap { ids: vec![], counted: false }).lasting_ms(45_000));
        }
        let crash = if n == begin { crash } else { Crash::Never };
        world.faulty_steps(&mut |_| Fate::Normal, crash);
        assert!(world.plans().len() <= 1, "{crash:?} in reconcile {begin}");
        if world.released.is_some() {
            return;
        }
    }
}

#[test]
fn crash_before_gap_doubles_and_orphans_nothing() {
    let both = json!([mapping("a", "a", "Running"), mapping("b", "b", "Stopped")]);
    let crashes =
        [Crash::BeforeActing, Crash::AfterCalls(1), Crash::AfterCalls(2), Crash::BeforeAnnotation, Crash::BeforeStatus];
    for (begin, crash) in (0..6).flat_map(|begin| crashes.map(|crash| (begin, crash))) {
        let mut world =
            World::new(spec_with(json!({ "topicMappings": both })), Rules { delay_ms: 3_000, ..Rules::default() });
        crash_before_gap(&mut world, begin, crash);
        assert_eq!(world.items(world.plan_id()).len(), 2, "{crash:?} in reconcile {begin}");
        world.delete();
        crash_before_gap(&mut world, begin, crash);
        assert!(world.released.is_some() && world.plans().is_empty(), "{crash:?} in reconcile {begin} of the deletion");
    }
}

/// What happens before and during one reconcile.
#[derive(Clone, Debug)]
struct Event {
    read: Option<FaultKind>,
    /// The number of reconciles that see the fault of reads.
    reconciles: u32,
    call: Fate,
    crash: Crash,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let everything = |counted| FaultKind::Gap { ids: vec![], counted };
    let read = prop_oneof![
        2 => Just(None),
        3 => select(vec![everything(false), everything(true), FaultKind::ShiftedPages { by: 1 }]).prop_map(Some),
        1 => select(vec!["1300000016", "1300000017", "100070284", "100070285"])
            .prop_map(|id| Some(FaultKind::Gap { ids: vec![id.into()], counted: false })),
    ];
    let call = prop_oneof![
        3 => Just(Fate::Normal),
        1 => Just(Fate::LOST),
        1 => Just(Fate::REPLY_LOST),
        2 => (1_000..60_000u32).prop_map(Fate::late),
    ];
    let crash = prop_oneof![
        4 => Just(Crash::Never),
        1 => Just(Crash::BeforeActing),
        1 => (0..3usize).prop_map(Crash::AfterCalls),
        1 => Just(Crash::BeforeAnnotation),
        1 => Just(Crash::BeforeStatus),
    ];
    // What is executed late and then not shown for a time shows within the window all the same.
    let one = (read, 1..10u32, call, crash);
    vec(one.prop_map(|(read, reconciles, call, crash)| Event { read, reconciles, call, crash }), 1..8)
}

/// Lets the events happen. No plan and no pair of topics is there twice, ever.
fn happen(world: &mut World, events: &[Event]) -> Result<(), TestCaseError> {
    for Event { read, reconciles, call, crash } in events {
        if let Some(kind) = read {
            world.simulator.add_fault(Fault::new(kind.clone()));
        }
        for n in 0..*reconciles {
            let (fates, crash) = if n == 0 { (vec![call.clone()], *crash) } else { (vec![], Crash::Never) };
            let _unobserved = world.faulty_pass(fates, crash);
            let plans = world.plans();
            prop_assert!(plans.len() <= 1, "{} plans", plans.len());
            let items = plans.first().map(|plan| plan.items.len()).unwrap_or_default();
            prop_assert!(items <= world.object.spec.topic_mappings.len(), "{items} items");
            if world.released.is_some() {
                return Ok(());
            }
        }
        // No fault of reads lasts as long as the window.
        world.simulator.clear_faults();
        world.pass();
        if world.released.is_some() {
            return Ok(());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn gaps_timeouts_and_restarts_double_nothing(before in events(), after in events(), during in events()) {
        let both = json!([mapping("a", "a", "Running"), mapping("b", "b", "Stopped")]);
        let mut world = World::new(spec_with(json!({ "topicMappings": both })), Rules { delay_ms: 3_000, ..Rules::default() });
        happen(&mut world, &before)?;
        world.converge(200);
        happen(&mut world, &after)?;
        world.converge(200);
        prop_assert_eq!((world.plans().len(), world.items(world.plan_id()).len()), (1, 2));
        world.delete();
        happen(&mut world, &during)?;
        if world.released.is_none() {
            world.converge(200);
        }
        world.advance(200_000);
        world.simulator.with_model(|model, now| model.inspect(now));
        prop_assert!(world.released.is_some() && world.plans().is_empty(), "an orphan is left");
    }
}
