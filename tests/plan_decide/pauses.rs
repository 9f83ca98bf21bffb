//! Updates that the cloud refuses while items run: the operator pauses the items, and resumes them in the end.

use disaster_recovery_operator::api::condition::synced;
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::controller::plan::decide::{Step, Verdict};
use disaster_recovery_operator::simulator::model::{ItemStatus, Rules};
use serde_json::json;

use test_support::driver::plan::*;

/// A cloud that changes a plan while its items run.
pub(crate) fn updates_while_running() -> Rules {
    Rules { update_while_running: true, ..Rules::default() }
}

#[test]
fn refused_update_pauses_and_resumes_items() {
    let spec =
        spec_with(json!({"topicMappings": [mapping("orders", "orders", "Running"), mapping("off", "off", "Stopped")]}));
    let mut world = World::new(spec, Rules { delay_ms: 7_000, ..Rules::default() });
    let (plan_id, items) = world.console_plan(None, &[mapping("orders", "orders", ""), mapping("off", "off", "")]);
    world.model().set_item_status(plan_id, items[1], ItemStatus::ManualStopped, world.now()).unwrap();
    world.edit(json!({"planId": plan_id.to_string()}));
    let mut all = vec![];
    for _ in 0..12 {
        let passed = world.pass();
        assert!(passed.decision.steps.len() <= 1, "{:?}", passed.decision.steps);
        all.extend(passed.calls.into_iter().map(|it| (it.action, it.code == "200")));
    }
    let wanted = [
        ("UpdateDisasterRecoveryPlan", false),
        ("StopDisasterRecoveryItem", true),
        ("UpdateDisasterRecoveryPlan", true),
        ("StartDisasterRecoveryItem", true),
    ];
    assert_eq!(all, wanted.map(|(action, accepted)| (action.to_owned(), accepted)));
    assert_eq!(world.pass().decision.verdict, Verdict::InSync);
    assert_eq!(world.items(plan_id)[&items[0]], ItemStatus::Running);
    assert_eq!(world.items(plan_id)[&items[1]], ItemStatus::ManualStopped);
    assert!(world.status.paused_items.is_empty());
}

#[test]
fn running_foreign_item_prevents_pause() {
    let mut world = World::new(spec_with(json!({})), Rules::default());
    let both = [mapping("orders", "orders", ""), mapping("x", "foreign", "")];
    let (plan_id, items) = world.console_plan(None, &both);
    world.edit(json!({"planId": plan_id.to_string()}));
    let last = world.converge(10);
    assert!(last.decision.details.blocked_by.is_some());
    assert_eq!(world.condition("Synced"), format!("False/{}", synced::ITEMS_RUNNING));
    for _ in 0..5 {
        assert_eq!(world.pass().names(), ["UpdatePlan"], "the operator retries: a later state may allow it");
    }
    assert_eq!(
        world.items(plan_id).into_iter().collect::<Vec<_>>(),
        items.iter().map(|id| (*id, ItemStatus::Running)).collect::<Vec<_>>()
    );
}

#[test]
fn refusal_during_pause_resumes_items() {
    // The foreign item is still CREATING when ours is stopped, and runs when the plan could be updated.
    let mut world = World::new(spec_with(json!({})), Rules { delay_ms: 20_000, ..Rules::default() });
    let (plan_id, items) = world.console_plan(None, &[mapping("orders", "orders", "")]);
    world.edit(json!({"planId": plan_id.to_string()}));
    world.pass();
    assert!(!world.status.paused_items.is_empty());
    world.console_item(plan_id, &mapping("x", "foreign", ""));
    for _ in 0..30 {
        world.pass();
    }
    assert_eq!(world.items(plan_id)[&items[0]], ItemStatus::Running, "{:?}", world.pass().decision);
}

#[test]
fn blocked_plan_update_does_not_block_items() {
    let spec = spec_with(json!({"topicMappings": [mapping("a", "a", "Running"), mapping("b", "b", "Running")]}));
    let mut world = World::new(spec, Rules::default());
    let (plan_id, items) = world.console_plan(None, &[mapping("a", "a", ""), mapping("x", "foreign", "")]);
    world.model().set_item_status(plan_id, items[0], ItemStatus::ManualStopped, world.now()).unwrap();
    world.edit(json!({"planId": plan_id.to_string()}));
    world.converge(20);
    let statuses: Vec<_> = world.items(plan_id).into_values().collect();
    assert_eq!(statuses, [ItemStatus::Running; 3], "{:?}", world.pass().decision);
}

#[test]
fn refused_update_is_retried_beside_foreign_item() {
    // This cloud changes a plan while items run; one refusal had another cause, which is gone.
    let mut world = World::in_sync(spec_with(json!({})), updates_while_running());
    let plan_id = world.plan_id();
    world.console_item(plan_id, &mapping("x", "foreign", ""));
    world.advance(10_000);
    world.edit(json!({"planDesc": "Other"}));
    world.faulty_steps(&mut |_| Fate::refused(Class::Conflict), Crash::Never);
    for _ in 0..20 {
        world.pass();
    }
    assert_eq!(world.pass().decision.verdict, Verdict::InSync);
}

#[test]
fn refused_topics_leave_no_item_stopped() {
    // The API refuses them while the item runs, and then it refuses them for good.
    for class in [Class::Conflict, Class::Invalid, Class::Ambiguous] {
        let mut world = World::in_sync(spec_with(json!({})), Rules { delay_ms: 3_000, ..Rules::default() });
        let plan_id = world.plan_id();
        world.edit(json!({"topicMappings": [mapping("orders", "other", "Running")]}));
        let mut first = true;
        for _ in 0..60 {
            let mut fault = |step: &Step| match step {
                Step::UpdateItem { .. } => {
                    let refused = if std::mem::take(&mut first) { Class::Conflict } else { class };
                    Fate::refused(refused)
                }
                _ => Fate::Normal,
            };
            world.faulty_steps(&mut fault, Crash::Never);
        }
        assert_eq!(world.items(plan_id).into_values().collect::<Vec<_>>(), [ItemStatus::Running], "{class:?}");
        assert_eq!(world.condition("Synced"), format!("False/{}", synced::INVALID_SPEC), "{class:?}");
        assert!(world.status.paused_items.is_empty(), "{class:?}");
    }
}

#[test]
fn pause_ends_after_ten_minutes() {
    // One item is stopped, the other cannot be: the plan can never be changed.
    let spec = spec_with(json!({"topicMappings": [mapping("a", "a", "Running"), mapping("b", "b", "Running")]}));
    let mut world = World::in_sync(spec, Rules::default());
    let plan_id = world.plan_id();
    let second = *world.items(plan_id).keys().max().unwrap();
    world.edit(json!({"planDesc": "Other"}));
    for _ in 0..300 {
        let mut fault = |step: &Step| match step {
            Step::StopItem { item_id, .. } if *item_id == second => Fate::refused(Class::Conflict),
            _ => Fate::Normal,
        };
        world.faulty_steps(&mut fault, Crash::Never);
    }
    assert_eq!(world.items(plan_id).into_values().collect::<Vec<_>>(), [ItemStatus::Running; 2]);
    assert_eq!(world.condition("Synced"), format!("False/{}", synced::INVALID_SPEC));
}

#[test]
fn update_refused_for_good_leaves_items_running() {
    // The plan must be paused for the change, and then the change itself is refused, such as for a wrong password.
    for class in [Class::Invalid, Class::Denied] {
        let mut world = World::in_sync(spec_with(json!({})), Rules::default());
        let plan_id = world.plan_id();
        world.set_password(Some("mistyped-1"));
        world.pass();
        assert!(!world.status.paused_items.is_empty());
        let mut refuse = |step: &Step| match step {
            Step::UpdatePlan { .. } => Fate::refused(class),
            _ => Fate::Normal,
        };
        let running = (0..40)
            .filter(|_| {
                world.faulty_steps(&mut refuse, Crash::Never);
                world.items(plan_id).values().all(|it| *it == ItemStatus::Running)
            })
            .count();
        assert!(running > 20, "{class:?}: replication ran after {running} of 40 reconciles");
    }
}

#[test]
fn missing_secret_during_pause_resumes_items() {
    let mut world = World::in_sync(spec_with(json!({})), Rules { delay_ms: 7_000, ..Rules::default() });
    let plan_id = world.plan_id();
    world.edit(json!({"planDesc": "Other"}));
    world.pass();
    world.pass();
    assert!(!world.status.paused_items.is_empty());
    world.set_password(None);
    for _ in 0..20 {
        world.pass();
    }
    let running = world.items(plan_id).values().all(|it| *it == ItemStatus::Running);
    assert!(running, "{:?} {:?}", world.items(plan_id), world.pass().decision);
}

#[test]
fn immutable_difference_during_pause_resumes_items() {
    let mut world = World::in_sync(spec_with(json!({})), Rules { delay_ms: 7_000, ..Rules::default() });
    let plan_id = world.plan_id();
    world.edit(json!({"planDesc": "Other"}));
    world.pass();
    world.pass();
    assert!(!world.status.paused_items.is_empty());
    world.edit(json!({"planType": "ACTIVE_ACTIVE", "autoSyncCheckpoint": false}));
    for _ in 0..20 {
        world.pass();
    }
    let running = world.items(plan_id).values().all(|it| *it == ItemStatus::Running);
    assert!(running, "{:?} {:?}", world.items(plan_id), world.pass().decision);
}
