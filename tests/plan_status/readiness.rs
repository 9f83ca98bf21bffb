//! Ready and Synced of a plan that the operator creates, corrects or keeps in sync.

use disaster_recovery_operator::api::condition::condition_type;
use disaster_recovery_operator::controller::conditions;
use disaster_recovery_operator::simulator::model::{ItemStatus, Rules};
use serde_json::json;

use super::situations::{all_conditions, first_item, steady};
use test_support::driver::plan::*;

#[test]
fn running_plan_is_ready_synced_and_protected() {
    let world = steady(json!({}), Rules::default());
    assert_eq!(
        all_conditions(&world),
        ["True/Available", "True/InSync", "True/WithinObjective", "True/AllGroups", "", ""]
    );
    assert_eq!(world.status.items.as_deref(), Some("1/1"));
    assert_eq!(world.status.plan_status.as_deref(), Some("RUNNING"));
    assert_eq!(world.status.head.observed_generation, Some(1));
    assert_eq!(world.status.head.synced_generation, Some(1));
    assert_eq!(world.status.topic_mappings[0].item_status.as_deref(), Some("RUNNING"));
    assert_eq!(world.status.checkpoints.as_ref().unwrap().summary.total, 2);
}

#[test]
fn plan_in_creation_reports_creating() {
    let mut world = World::new(spec_with(json!({})), Rules { delay_ms: 20_000, ..Rules::default() });
    world.pass();
    let creating =
        ["False/Creating", "False/Progressing", "False/ReplicationStopped", "Unknown/Unknown", "True/Creating", ""];
    assert_eq!(all_conditions(&world), creating);
    world.pass();
    assert_eq!(all_conditions(&world), creating, "the item is being added");
    world.pass();
    assert_eq!(all_conditions(&world), creating, "the item is CREATING");
    assert_eq!(world.status.topic_mappings[0].item_status.as_deref(), Some("CREATING"));
}

#[test]
fn plan_stopped_by_spec_is_not_protected() {
    let mut world = steady(json!({"topicMappings": [mapping("orders", "orders", "Stopped")]}), Rules::default());
    world.pass();
    let [ready, synced, protected, _, reconciling, stalled] = all_conditions(&world);
    assert_eq!(
        [ready, synced, protected, reconciling, stalled],
        ["True/Stopped", "True/InSync", "False/ReplicationStopped", "", ""]
    );
}

#[test]
fn partly_stopped_plan_is_not_protected() {
    let both = json!({"topicMappings": [mapping("a", "a", "Running"), mapping("b", "b", "Stopped")]});
    let world = steady(both, Rules::default());
    assert_eq!(world.condition(condition_type::READY), "True/Available");
    assert_eq!(world.condition(condition_type::PROTECTED), "False/ReplicationStopped");
    assert!(world.message(condition_type::PROTECTED).ends_with(": b"), "{}", world.message(condition_type::PROTECTED));
}

#[test]
fn plan_without_mappings_protects_nothing() {
    let world = steady(json!({"topicMappings": []}), Rules::default());
    assert_eq!(world.condition(condition_type::READY), "True/Available");
    assert_eq!(world.condition(condition_type::PROTECTED), "False/ReplicationStopped");
}

#[test]
fn overdue_item_ends_readiness_and_protection() {
    let mut world = steady(json!({}), Rules::default());
    let (plan, item) = first_item(&mut world);
    world.model().set_item_status(plan, item, ItemStatus::OverdueStopped, world.now()).unwrap();
    world.pass();
    assert_eq!(world.condition(condition_type::READY), "False/NotReady");
    assert!(
        world.message(condition_type::READY).contains("OVERDUE_STOPPED"),
        "{}",
        world.message(condition_type::READY)
    );
    assert_eq!(world.condition(condition_type::PROTECTED), "False/ReplicationStopped");
    assert!(
        world.condition(condition_type::SYNCED).starts_with("False/"),
        "{}",
        world.condition(condition_type::SYNCED)
    );
}

#[test]
fn overdue_item_is_reported_despite_newer_spec() {
    let mut world = steady(json!({}), Rules::default());
    let (plan, item) = first_item(&mut world);
    world.model().set_item_status(plan, item, ItemStatus::OverdueStopped, world.now()).unwrap();
    world.edit(json!({"recoveryPointObjective": "10m"}));
    for _ in 0..3 {
        world.pass();
    }
    assert!(
        world.message(condition_type::READY).contains("OVERDUE_STOPPED"),
        "{}",
        world.message(condition_type::READY)
    );
}

#[test]
fn stopped_item_is_drift_until_it_runs() {
    let mut world = steady(json!({}), Rules { delay_ms: 7_000, ..Rules::default() });
    let (plan, item) = first_item(&mut world);
    world.model().set_item_status(plan, item, ItemStatus::ManualStopped, world.now()).unwrap();
    let passed = world.pass();
    assert_eq!(
        all_conditions(&world),
        ["False/NotReady", "False/Drifted", "False/ReplicationStopped", "True/AllGroups", "True/Updating", ""]
    );
    assert_eq!(world.status.head.drift[0].field, "topicMappings[orders].state");
    assert!(passed.events.iter().any(|it| it.reason == "DriftFound" && it.type_ == "Warning"), "{:?}", passed.events);
    let reasons: Vec<_> = (0..4).flat_map(|_| world.pass().events).map(|it| it.reason).collect();
    assert!(reasons.iter().any(|it| it == "DriftCorrected"), "{reasons:?}");
    assert_eq!(reasons.iter().filter(|it| **it == "DriftFound").count(), 0, "DriftFound is published once");
    assert_eq!(world.condition(condition_type::READY), "True/Available");
}

#[test]
fn drift_ends_readiness_until_it_is_corrected() {
    let mut world = steady(json!({}), Rules { update_while_running: true, ..Rules::default() });
    let id = world.plan_id();
    world.model().edit_plan(id, &json!({"planName": "renamed"}), world.now()).unwrap();
    let before = conditions::find(&world.status.head.conditions, condition_type::READY).cloned().unwrap();
    world.pass();
    assert_eq!(
        (world.condition(condition_type::READY), world.condition(condition_type::RECONCILING)),
        ("False/Updating".into(), "True/Updating".into())
    );
    world.pass();
    assert_eq!(
        (world.condition(condition_type::READY), world.condition(condition_type::RECONCILING)),
        ("True/Available".into(), String::new())
    );
    let after = conditions::find(&world.status.head.conditions, condition_type::READY).cloned().unwrap();
    assert!(after.last_transition_time.0 > before.last_transition_time.0);
}

#[test]
fn changed_spec_is_progress_not_drift() {
    let mut world = steady(json!({}), Rules { update_while_running: true, ..Rules::default() });
    world.edit(json!({"planDesc": "Other"}));
    let passed = world.pass();
    assert_eq!(world.condition(condition_type::SYNCED), "False/Progressing");
    assert_eq!(world.condition(condition_type::READY), "False/Updating");
    assert!(!passed.events.iter().any(|it| it.reason.starts_with("Drift")), "{:?}", passed.events);
    assert_eq!((world.status.head.observed_generation, world.status.head.synced_generation), (Some(2), Some(1)));
    world.pass();
    assert_eq!(world.condition(condition_type::SYNCED), "True/InSync");
    assert_eq!(world.status.head.synced_generation, Some(2));
}
