//! The items of a new plan, which the reconcile adds that creates the plan.

use disaster_recovery_operator::api::RECONCILE_ANNOTATION;
use disaster_recovery_operator::api::plan::DisasterRecoveryPlanSpec;
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::controller::plan::decide::Verdict;
use disaster_recovery_operator::simulator::model::Rules;
use serde_json::json;

use test_support::driver::plan::*;

/// A spec of two instances with IDs and two mappings.
pub fn spec() -> DisasterRecoveryPlanSpec {
    spec_with(json!({
        "instances": [aliyun("hangzhou", "rmq-a", "ACTIVE"), aliyun("shanghai", "rmq-b", "PASSIVE")],
        "topicMappings": [
            mapping_to("shanghai", "orders", "orders", "Running"),
            mapping_to("shanghai", "bills", "bills", "Running"),
        ],
    }))
}

/// Asserts that the cloud has one plan with one item for each mapping, in the end.
fn assert_one_of_each(world: &mut World, case: &str) {
    assert_eq!(world.converge(200).decision.verdict, Verdict::InSync, "{case}");
    assert_eq!(world.plans().len(), 1, "{case}");
    assert_eq!(world.our_plan().unwrap().items.len(), 2, "{case}");
    assert_eq!(world.claimed(), Some(world.plan_id()), "{case}");
    assert!(world.status.item_creations.is_empty() && world.status.creation.is_none(), "{case}");
}

#[test]
fn new_plan_gets_its_items_at_once() {
    let mut world = World::new(spec(), Rules::default());
    let first = world.pass();
    let calls: Vec<_> = first.calls.iter().map(|it| it.action.as_str()).collect();
    assert_eq!(calls, ["CreateDisasterRecoveryPlan", "AddDisasterRecoveryItem", "AddDisasterRecoveryItem"]);
    assert_eq!(world.claimed(), Some(world.plan_id()), "the annotation names it");
    let known: Vec<_> = world.status.topic_mappings.iter().filter_map(|it| it.item_id.clone()).collect();
    assert_eq!(known.len(), 2, "status has the IDs of the answers");
    assert_eq!(world.pass().decision.verdict, Verdict::InSync);
    assert_one_of_each(&mut world, "without a fault");
}

#[test]
fn new_plan_costs_one_write_of_status_where_it_starts_at_once() {
    for (delay_ms, ready) in [(0, true), (60_000, false)] {
        let mut world = World::new(spec(), Rules { delay_ms, ..Rules::default() });
        world.store.take_writes();
        let first = world.pass();
        let writes: Vec<_> = world.store.take_writes().iter().map(|it| it.ends_with("/status")).collect();
        assert_eq!(writes, [false, true, false, true], "finalizer, intents, annotation, status: {delay_ms} ms");
        assert_eq!(world.condition("Ready") == "True/Available", ready, "{:?}", world.status.head.conditions);
        assert_eq!(world.status.topic_mappings.iter().filter(|it| it.item_id.is_some()).count(), 2, "{delay_ms} ms");
        let reasons: Vec<_> = first.events.iter().map(|it| it.reason.as_str()).collect();
        assert_eq!(reasons.first(), Some(&"Created"), "{reasons:?}");
        assert_one_of_each(&mut world, &format!("starts after {delay_ms} ms"));
    }
}

#[test]
fn edit_while_new_items_start_is_carried_out() {
    for (delay_ms, patch) in [(0, json!({ "managementPolicy": "Observe" })), (0, json!({ "planDesc": "edited" }))] {
        let mut world = World::new(spec(), Rules { delay_ms, ..Rules::default() });
        // Beside the last item: the reconcile then only observes.
        world.edit_beside(2, json!({ "spec": patch }));
        world.pass();
        assert_eq!(world.status.head.observed_generation, Some(1), "{patch}");
        assert_eq!(world.status.head.synced_generation, Some(1), "{patch}");
        assert_one_of_each(&mut world, &patch.to_string());
        assert_eq!(world.status.head.observed_generation, Some(2), "{patch}");
    }
}

#[test]
fn item_refused_by_unseen_plan_is_added_later() {
    for class in [Class::NotFound, Class::Conflict, Class::Invalid] {
        let mut world = World::new(spec(), Rules::default());
        let first = world.faulty_pass(vec![Fate::Normal, Fate::refused(class)], Crash::Never).unwrap();
        assert_eq!(first.calls.len(), 1, "the second item is not tried");
        assert_eq!(world.status.item_creations, vec![], "no call without an answer");
        assert_eq!(world.condition("Synced"), "False/Progressing", "nothing failed");
        assert!(first.events.iter().all(|it| it.reason == "Created"), "{:?}", first.events);
        assert_eq!(world.pass().names(), ["AddItem", "AddItem"]);
        assert_one_of_each(&mut world, "refused");
    }
}

#[test]
fn failed_creation_adds_no_item() {
    for fate in [Fate::refused(Class::Invalid), Fate::refused(Class::Denied), Fate::REPLY_LOST, Fate::NotSent] {
        let mut world = World::new(spec(), Rules::default());
        let first = world.faulty_pass(vec![fate.clone()], Crash::Never).unwrap();
        assert!(first.calls.len() <= 1, "{fate:?}");
        assert!(world.status.item_creations.is_empty(), "{fate:?}");
        assert_one_of_each(&mut world, &format!("{fate:?}"));
    }
}

#[test]
fn crash_after_annotation_creates_no_second_plan() {
    // Longer than the window of a call without an answer.
    for visibility_s in [0, 150, 900] {
        let rules = Rules { visibility_delay_ms: visibility_s * 1000, ..Rules::default() };
        let mut world = World::new(spec(), rules);
        world.faulty_pass(vec![], Crash::BeforeStatus).unwrap();
        assert_eq!((world.status.plan_id.clone(), world.claimed().is_some()), (None, true));
        assert_one_of_each(&mut world, &format!("visible after {visibility_s} s"));
    }
}

#[test]
fn edit_beside_creation_stops_the_items() {
    let edits = [
        json!({ "managementPolicy": "Observe", "planDesc": null }),
        json!({ "suspend": true }),
        json!({ "topicMappings": [mapping_to("shanghai", "bills", "bills", "Running")] }),
    ];
    for edit in edits {
        let mut world = World::new(spec(), Rules::default());
        world.edit_beside(0, json!({ "spec": edit }));
        let first = world.pass();
        assert_eq!(first.calls.len(), 1, "no call of the old spec follows: {edit}");
        assert_eq!(world.status.head.observed_generation, Some(1), "the reconcile decided by the old spec: {edit}");
        assert_eq!(world.status.item_creations, vec![], "{edit}");
        assert_eq!(world.status.plan_id, Some(world.plan_id().to_string()), "{edit}");
    }
}

#[test]
fn write_beside_an_item_loses_no_answer() {
    for call in 0..3 {
        for patch in [json!({ "labels": { "team": "a" } }), json!({ "annotations": null })] {
            let mut world = World::new(spec(), Rules { visibility_delay_ms: 400_000, ..Rules::default() });
            world.edit_beside(call, json!({ "metadata": patch }));
            world.pass();
            let case = format!("{patch} beside call {call}");
            assert_eq!(world.claimed(), Some(world.plan_id()), "{case}");
            assert_eq!(world.status.plan_id, Some(world.plan_id().to_string()), "{case}");
            let answered = world.status.item_creations.iter().filter(|it| it.item_id.is_some()).count();
            assert_eq!(answered, 2, "{case}");
            assert_one_of_each(&mut world, &case);
        }
    }
}

#[test]
fn request_beside_creation_is_not_handled() {
    let mut world = World::new(spec(), Rules::default());
    world.edit_beside(0, json!({ "metadata": { "annotations": { RECONCILE_ANNOTATION: "now" } } }));
    world.pass();
    assert_eq!(world.status.head.last_handled_reconcile_at, None, "the reconcile began before it");
    world.pass();
    assert_eq!(world.status.head.last_handled_reconcile_at.as_deref(), Some("now"));
}

#[test]
fn faults_and_crashes_leave_one_plan_and_item() {
    let fates = [Fate::Normal, Fate::REPLY_LOST, Fate::LOST, Fate::refused(Class::NotFound)];
    for crash in (0..8).map(Crash::After).chain([Crash::Never]) {
        for (of, fate) in (0..3).flat_map(|of| fates.iter().map(move |fate| (of, fate))) {
            let mut world = World::new(spec(), Rules { visibility_delay_ms: 7_000, ..Rules::default() });
            let mut all = vec![Fate::Normal; 3];
            all[of] = fate.clone();
            world.faulty_pass(all, crash).unwrap();
            assert_one_of_each(&mut world, &format!("call {of} is {fate:?}, {crash:?}"));
        }
    }
}
