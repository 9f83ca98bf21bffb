//! Conditions of an object that is deleted or suspended.

use disaster_recovery_operator::api::condition::{condition_type, synced};
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::controller::conditions::ConditionState;
use disaster_recovery_operator::simulator::model::Rules;
use serde_json::json;

use super::situations::{all_conditions, steady};
use test_support::driver::plan::*;

#[test]
fn suspended_object_reports_no_protection() {
    let mut world = steady(json!({}), Rules::default());
    world.edit(json!({"suspend": true}));
    world.status = world.scope(|scope| scope.suspended());
    let found = all_conditions(&world);
    assert_eq!(found, ["Unknown/NotReady", "Unknown/Suspended", "Unknown/Unknown", "Unknown/Unknown", "", ""]);
    assert_eq!(world.status.head.observed_generation, Some(2));
    world.delete();
    world.status = world.scope(|scope| scope.suspended());
    assert_eq!(world.condition(condition_type::SYNCED), "False/DeletionBlocked");
    assert!(!world.condition(condition_type::PROTECTED).starts_with("True"));
}

#[test]
fn deleted_object_reports_what_it_waits_for() {
    let mut world = steady(json!({}), Rules { delay_ms: 12_000, ..Rules::default() });
    world.delete();
    world.pass();
    let deleting = ["False/Deleting", "False/Progressing", "Unknown/Unknown", "Unknown/Unknown", "True/Deleting", ""];
    assert_eq!(all_conditions(&world), deleting);
    world.pass();
    assert_eq!(all_conditions(&world), deleting, "waiting for the item");
    assert!(world.message(condition_type::SYNCED).contains("CHANGING"), "{}", world.message(condition_type::SYNCED));
    let failed = ConditionState::no(synced::ACCESS_DENIED, "denied");
    world.status = world.scope(|scope| scope.unobserved(&failed, true));
    assert_eq!(world.condition(condition_type::SYNCED), "False/DeletionBlocked");
    assert_eq!(world.condition(condition_type::READY), "False/Deleting");
    assert_eq!(world.condition(condition_type::RECONCILING), "");
}

#[test]
fn failed_deletion_step_reports_deletion_blocked() {
    let mut world = steady(json!({}), Rules::default());
    world.delete();
    world.faulty_steps(&mut |_| Fate::refused(Class::Denied), Crash::Never);
    assert_eq!(world.condition(condition_type::SYNCED), "False/DeletionBlocked");
    assert_ne!(world.condition(condition_type::STALLED), "");
}
