//! Updates that the cloud refuses while items run: the operator pauses the items, and resumes them in the end.

use disaster_recovery_operator::api::condition::synced;
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::controller::plan::decide::{Step, Verdict};
use disaster_recovery_operator::simulator::FaultKind;
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
fn update_waits_while_items_run() {
    let spec = spec_with(json!({"updatePolicy": "Wait"}));
    let mut world = World::in_sync(spec, Rules::default());
    let (plan_id, first) = (world.plan_id(), *world.items(world.plan_id()).keys().next().unwrap());
    world.edit(json!({"planDesc": "Other"}));
    let mut calls = vec![];
    for _ in 0..70 {
        calls.extend(world.pass().calls.into_iter().map(|it| it.action));
        assert_eq!(world.items(plan_id)[&first], ItemStatus::Running);
    }
    assert_eq!(calls, ["UpdateDisasterRecoveryPlan"; 2], "at once, and after five minutes");
    assert_eq!(world.condition("Synced"), format!("False/{}", synced::UPDATE_WAITS));
    assert_eq!(
        (world.condition("Ready"), world.condition("Stalled")),
        ("False/NotReady".into(), "True/UpdateWaits".into())
    );
    assert!(world.message("Synced").contains("updatePolicy: PauseItems"), "{}", world.message("Synced"));
    // Somebody stops the item: the change is made, and the item starts again.
    world.model().set_item_status(plan_id, first, ItemStatus::ManualStopped, world.now()).unwrap();
    assert_eq!(world.converge(20).decision.verdict, Verdict::InSync);
    assert_eq!(world.plan(plan_id).unwrap().plan_desc, Some(format!("Other {MARK}")));
    assert_eq!(world.items(plan_id)[&first], ItemStatus::Running);
}

#[test]
fn topics_wait_while_their_item_runs() {
    let both = |topic: &str| json!([mapping("a", topic, "Running"), mapping("b", "b", "Running")]);
    let spec = spec_with(json!({"updatePolicy": "Wait", "topicMappings": both("a")}));
    let mut world = World::in_sync(spec, Rules::default());
    let plan_id = world.plan_id();
    world.edit(json!({"planDesc": "Orders", "topicMappings": both("other")}));
    for _ in 0..20 {
        world.faulty_steps(&mut |_| Fate::refused(Class::Conflict), Crash::Never);
        assert_eq!(world.items(plan_id).into_values().collect::<Vec<_>>(), [ItemStatus::Running; 2]);
    }
    assert_eq!(world.condition("Synced"), format!("False/{}", synced::UPDATE_WAITS));
    assert!(world.message("Synced").contains("topic mapping a "), "{}", world.message("Synced"));
}

#[test]
fn rewritten_description_stops_no_item() {
    for policy in ["Wait", "PauseItems"] {
        let mut world = World::in_sync(spec_with(json!({"updatePolicy": policy})), Rules::default());
        let (plan_id, first) = (world.plan_id(), *world.items(world.plan_id()).keys().next().unwrap());
        let mut calls = 0;
        for n in 0..60 {
            let text = format!("rewritten {n}");
            world.model().edit_plan(plan_id, &json!({"planDesc": text}), world.now()).unwrap();
            // An edit of something else makes it no change of the description.
            if n == 30 {
                world.edit(json!({"pollInterval": "2m"}));
            }
            let passed = world.pass();
            calls += passed.calls.len();
            assert_eq!(world.items(plan_id)[&first], ItemStatus::Running, "{policy}");
            assert!(
                n == 0 || n >= 30 || world.condition("Ready") == "True/Available",
                "{policy} {n}: {}",
                world.message("Ready")
            );
        }
        assert!(calls <= 3, "{policy}: {calls} calls in five minutes");
        assert_eq!(world.condition("Synced"), format!("False/{}", synced::UPDATE_WAITS));
        world.model().set_item_status(plan_id, first, ItemStatus::ManualStopped, world.now()).unwrap();
        world.converge(20);
        assert!(
            world.plan(plan_id).unwrap().plan_desc.unwrap().ends_with(MARK),
            "{policy}: restored when no item runs"
        );
    }
}

#[test]
fn paused_items_are_listed_before_stops() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    world.edit(json!({"planDesc": "Other"}));
    world.pass();
    let passed = world.faulty_steps(&mut |_| Fate::Normal, Crash::BeforeActing);
    assert_eq!((passed.names(), world.status.paused_items.len()), (vec!["StopItem"], 1));
}

#[test]
fn ignored_update_stops_items_once() {
    // The API takes the change while items are stopped, and never keeps it.
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    let (plan_id, first) = (world.plan_id(), *world.items(world.plan_id()).keys().next().unwrap());
    world.edit(json!({"planDesc": "Other"}));
    let (mut stops, mut stopped) = (0, 0);
    for _ in 0..200 {
        let running = world.items(plan_id)[&first] == ItemStatus::Running;
        let mut fault = |step: &Step| match step {
            Step::UpdatePlan { .. } if !running => Fate::Fault(FaultKind::NoEffect),
            _ => Fate::Normal,
        };
        let passed = world.faulty_steps(&mut fault, Crash::Never);
        stops += passed.names().iter().filter(|name| **name == "StopItem").count();
        stopped += usize::from(!running);
    }
    assert!(stops == 1 && stopped < 5, "{stops} stops, {stopped} reconciles with the item stopped");
    assert_eq!(world.condition("Synced"), format!("False/{}", synced::INVALID_SPEC));
}

#[test]
fn refused_take_over_starts_items_again() {
    for class in [Class::Invalid, Class::Denied, Class::Conflict] {
        let mut world = World::new(spec_with(json!({})), Rules::default());
        let (plan_id, items) =
            world.console_plan(Some("by hand"), &[mapping("orders", "orders", ""), mapping("x", "x", "")]);
        world.edit(json!({"planId": plan_id.to_string(), "itemPolicy": "Prune"}));
        let mut refuse = |step: &Step| match step {
            Step::UpdatePlan { .. } => Fate::refused(class),
            _ => Fate::Normal,
        };
        for _ in 0..60 {
            world.faulty_steps(&mut refuse, Crash::Never);
        }
        let statuses: Vec<_> = items.iter().map(|id| world.items(plan_id)[id]).collect();
        assert_eq!(statuses, [ItemStatus::Running; 2], "{class:?}: {:?}", world.status.pending_updates);
        assert!(world.status.paused_items.is_empty(), "{class:?}");
    }
}

#[test]
fn throttled_update_ends_the_pause() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    let plan_id = world.plan_id();
    world.edit(json!({"planDesc": "Other"}));
    world.pass();
    let mut throttle = |step: &Step| match step {
        Step::UpdatePlan { .. } => Fate::refused(Class::Throttled { after: None }),
        _ => Fate::Normal,
    };
    for n in 0..200 {
        world.faulty_steps(&mut throttle, Crash::Never);
        // Another edit makes it another change.
        if n == 60 {
            world.edit(json!({"planDesc": "Third"}));
        }
    }
    assert_eq!(world.items(plan_id).into_values().collect::<Vec<_>>(), [ItemStatus::Running]);
}

#[test]
fn observe_during_pause_keeps_paused_items() {
    let mut world = World::in_sync(spec_with(json!({})), Rules { delay_ms: 7_000, ..Rules::default() });
    let plan_id = world.plan_id();
    world.edit(json!({"planDesc": "Other"}));
    world.pass();
    world.pass();
    assert_eq!(world.status.paused_items.len(), 1);
    world.edit(json!({"managementPolicy": "Observe"}));
    world.advance(60_000);
    world.pass();
    assert_eq!(world.status.paused_items.len(), 1);
    world.edit(json!({"managementPolicy": "Manage"}));
    world.converge(40);
    assert_eq!(world.items(plan_id).into_values().collect::<Vec<_>>(), [ItemStatus::Running]);
}

#[test]
fn running_foreign_item_prevents_pause() {
    let mut world = World::new(spec_with(json!({})), Rules::default());
    let both = [mapping("orders", "orders", ""), mapping("x", "foreign", "")];
    let (plan_id, items) = world.console_plan(None, &both);
    world.edit(json!({"planId": plan_id.to_string()}));
    let last = world.converge(10);
    assert!(last.update_waits());
    assert_eq!(world.condition("Synced"), format!("False/{}", synced::UPDATE_WAITS));
    let tried = (0..70).filter(|_| world.pass().names() == ["UpdatePlan"]).count();
    assert_eq!(tried, 1, "the operator retries every five minutes: a later state may allow it");
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
    world.converge(20);
    let (plan_id, first) = (world.plan_id(), *world.items(world.plan_id()).keys().next().unwrap());
    world.console_item(plan_id, &mapping("x", "foreign", ""));
    world.advance(10_000);
    world.model().set_item_status(plan_id, first, ItemStatus::ManualStopped, world.now()).unwrap();
    world.edit(json!({"planDesc": "Other"}));
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
    for _ in 0..70 {
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

#[test]
fn paused_items_that_never_were_leave_the_status() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    world.status.paused_items = vec!["abc".into(), "999".into(), "99999999999999999999".into()];
    world.status.paused_since = Some("2025-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(world.pass().names(), Vec::<&str>::new());
    assert_eq!(world.status.paused_items, ["999"], "no item ever had one of the others");
    for _ in 0..30 {
        assert_eq!(world.pass().names(), Vec::<&str>::new());
    }
    assert!(world.status.paused_items.is_empty(), "the reads of the whole window do not show it");
    world.edit(json!({"planDesc": "Other"}));
    assert_eq!(world.converge(80).decision.verdict, Verdict::InSync, "{}", world.message("Synced"));
}
