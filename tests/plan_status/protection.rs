//! Protected and OffsetsCovered: only recent and complete evidence counts as protection.

use disaster_recovery_operator::api::SYNC_CHECKPOINTS_ANNOTATION;
use disaster_recovery_operator::api::condition::condition_type;
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::simulator::model::{ItemStatus, Rules};
use serde_json::json;

use super::situations::{first_item, lag, sample, steady};
use test_support::driver::plan::*;

#[test]
fn lag_above_objective_ends_protection() {
    let mut world = steady(json!({"recoveryPointObjective": "1m"}), Rules::default());
    for (ms, condition) in [
        (0, "True/WithinObjective"),
        (54_999, "True/WithinObjective"),
        // No proof uses the last 5 s, and nothing refutes the objective before its end.
        (55_000, "Unknown/Unknown"),
        (60_000, "Unknown/Unknown"),
        (60_001, "False/ObjectiveExceeded"),
        (3_600_000, "False/ObjectiveExceeded"),
        (50_000, "True/WithinObjective"),
    ] {
        let before = world.condition(condition_type::PROTECTED);
        lag(&mut world, ms);
        let passed = sample(&mut world);
        assert_eq!(world.condition(condition_type::PROTECTED), condition, "{ms}");
        assert_eq!(world.condition(condition_type::READY), "True/Available");
        let reasons: Vec<_> = passed.events.iter().map(|it| it.reason.as_str()).collect();
        let wanted: &[&str] = match (before == condition, condition) {
            (true, _) | (false, "Unknown/Unknown") => &[],
            (false, "False/ObjectiveExceeded") => &["ObjectiveExceeded"],
            (false, _) => &["ObjectiveMet"],
        };
        assert_eq!(reasons, wanted, "{ms}");
        let behind = world.status.checkpoints.as_ref().unwrap().summary.behind;
        assert_eq!(behind > 0, ms > 60_000, "{ms}");
    }
}

#[test]
fn unsynchronized_group_is_not_protected() {
    for never_synced_as_zero in [false, true] {
        let mut world = World::new(spec_with(json!({})), Rules { never_synced_as_zero, ..Rules::default() });
        world.model().set_group_online("GID_BILLING", false);
        world.converge(20);
        world.advance(30_000);
        world.pass();
        assert_eq!(world.condition(condition_type::PROTECTED), "False/NeverSynced");
        assert_eq!(world.condition(condition_type::OFFSETS_COVERED), "False/GroupsNotSynced");
        let text = world.message(condition_type::OFFSETS_COVERED);
        assert!(text.contains("GID_BILLING") && !text.contains("GID_ORDERS"), "{text}");
        world.annotate(SYNC_CHECKPOINTS_ANNOTATION, "now");
        world.pass();
        world.pass();
        assert_eq!(
            world.condition(condition_type::OFFSETS_COVERED),
            "True/AllGroups",
            "after a requested synchronization"
        );
    }
}

#[test]
fn plan_without_sync_has_unknown_protection() {
    let off = json!({"syncCheckpointEnabled": false, "autoSyncCheckpoint": false});
    let world = steady(off, Rules::default());
    assert_eq!(world.condition(condition_type::PROTECTED), "Unknown/Unknown");
    assert_eq!(world.condition(condition_type::OFFSETS_COVERED), "False/SyncDisabled");
    assert_eq!(world.status.checkpoints, None);
}

#[test]
fn plan_without_groups_has_unknown_protection() {
    let world = steady(json!({}), Rules { consumer_groups: vec![], ..Rules::default() });
    assert_eq!(world.condition(condition_type::PROTECTED), "Unknown/Unknown");
    assert_eq!(world.condition(condition_type::OFFSETS_COVERED), "Unknown/Unknown");
}

#[test]
fn unreadable_checkpoints_never_count_as_protection() {
    let mut world = steady(json!({}), Rules::default());
    world.fail_checkpoints(Some(Class::Unavailable));
    sample(&mut world);
    assert_eq!(world.condition(condition_type::PROTECTED), "True/WithinObjective", "the last samples still prove it");
    assert_eq!(world.condition(condition_type::SYNCED), "True/InSync", "plan and items are as the spec says");
    world.observe_for(300_000);
    assert_eq!(world.condition(condition_type::PROTECTED), "Unknown/Unknown");
    assert_eq!(world.condition(condition_type::OFFSETS_COVERED), "Unknown/Unknown");
    assert_eq!(world.condition(condition_type::READY), "True/Available", "plan and items are observed");
}

#[test]
fn stopped_item_ends_protection_without_checkpoints() {
    let mut world = steady(json!({}), Rules::default());
    world.fail_checkpoints(Some(Class::Unavailable));
    let (plan, item) = first_item(&mut world);
    world.model().set_item_status(plan, item, ItemStatus::OverdueStopped, world.now()).unwrap();
    world.pass();
    assert!(
        !world.condition(condition_type::PROTECTED).starts_with("True"),
        "{}",
        world.condition(condition_type::PROTECTED)
    );
}

#[test]
fn unsynchronized_group_on_last_page_is_not_protected() {
    // Two pages of checkpoints.
    let groups: Vec<_> = (0..1_100).map(|number| format!("GID_{number:04}")).collect();
    let mut world = World::new(spec_with(json!({})), Rules { consumer_groups: groups, ..Rules::default() });
    world.model().set_group_online("GID_1099", false);
    world.converge(20);
    world.advance(30_000);
    world.pass();
    assert_eq!(world.condition(condition_type::PROTECTED), "False/NeverSynced");
    assert!(world.message(condition_type::OFFSETS_COVERED).contains("GID_1099"));
}
