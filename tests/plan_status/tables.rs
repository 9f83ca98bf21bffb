//! Situations and their conditions.

use disaster_recovery_operator::api::condition::{condition_type, synced};
use disaster_recovery_operator::api::plan::DisasterRecoveryPlanStatus;
use disaster_recovery_operator::api::{RECONCILE_ANNOTATION, SYNC_CHECKPOINTS_ANNOTATION};
use disaster_recovery_operator::cloud::error::{Class, Error};
use disaster_recovery_operator::cloud::operation::ApiOperation;
use disaster_recovery_operator::controller::conditions::{self, ConditionState};
use disaster_recovery_operator::simulator::model::{CheckpointTimes, ItemStatus, PasswordEcho, Rules};
use serde_json::json;

use test_support::driver::plan::*;

fn failure(class: Class) -> Error {
    let (operation, code, message) = (ApiOperation::ListDisasterRecoveryPlans, "Injected".into(), "injected".into());
    Error { class, operation, code, message, request_id: Some("R-1".into()) }
}

/// All conditions of a world: Ready, Synced, Protected, OffsetsCovered, Reconciling, Stalled.
fn all(world: &World) -> [String; 6] {
    [
        condition_type::READY,
        condition_type::SYNCED,
        condition_type::PROTECTED,
        condition_type::OFFSETS_COVERED,
        condition_type::RECONCILING,
        condition_type::STALLED,
    ]
    .map(|kind| world.condition(kind))
}

fn message(world: &World, kind: &str) -> String {
    conditions::find(&world.status.head.conditions, kind).map(|it| it.message.clone()).unwrap_or_default()
}

/// In sync, and long enough for consumer progress to have been synchronized.
fn steady(spec: serde_json::Value, rules: Rules) -> World {
    let mut world = World::in_sync(spec_with(spec), rules);
    world.advance(30_000);
    world.pass();
    world
}

fn first_item(world: &mut World) -> (i64, i64) {
    let plan_id = world.plan_id();
    (plan_id, *world.items(plan_id).keys().next().unwrap())
}

/// Puts every checkpoint that much behind.
fn lag(world: &mut World, ms: i64) {
    let ids: Vec<i64> = world
        .our_plan()
        .unwrap()
        .items
        .values()
        .flat_map(|item| item.checkpoints.iter().map(|it| it.checkpoint_id))
        .collect();
    assert!(!ids.is_empty());
    let now = world.now();
    for id in ids {
        let times = CheckpointTimes { last_sync_time: Some(now), source_time: Some(now), target_time: Some(now - ms) };
        world.model().set_checkpoint(id, times).unwrap();
    }
}

#[test]
fn running_plan_is_ready_synced_and_protected() {
    let world = steady(json!({}), Rules::default());
    assert_eq!(all(&world), ["True/Available", "True/InSync", "True/WithinObjective", "True/AllGroups", "", ""]);
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
    assert_eq!(all(&world), creating);
    world.pass();
    assert_eq!(all(&world), creating, "the item is being added");
    world.pass();
    assert_eq!(all(&world), creating, "the item is CREATING");
    assert_eq!(world.status.topic_mappings[0].item_status.as_deref(), Some("CREATING"));
}

#[test]
fn plan_stopped_by_spec_is_not_protected() {
    let mut world = steady(json!({"topicMappings": [mapping("orders", "orders", "Stopped")]}), Rules::default());
    world.pass();
    let [ready, synced, protected, _, reconciling, stalled] = all(&world);
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
    assert!(
        message(&world, condition_type::PROTECTED).ends_with(": b"),
        "{}",
        message(&world, condition_type::PROTECTED)
    );
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
        message(&world, condition_type::READY).contains("OVERDUE_STOPPED"),
        "{}",
        message(&world, condition_type::READY)
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
        message(&world, condition_type::READY).contains("OVERDUE_STOPPED"),
        "{}",
        message(&world, condition_type::READY)
    );
}

#[test]
fn stopped_item_is_drift_until_it_runs() {
    let mut world = steady(json!({}), Rules { delay_ms: 7_000, ..Rules::default() });
    let (plan, item) = first_item(&mut world);
    world.model().set_item_status(plan, item, ItemStatus::ManualStopped, world.now()).unwrap();
    let passed = world.pass();
    assert_eq!(
        all(&world),
        ["False/NotReady", "False/Drifted", "False/ReplicationStopped", "True/AllGroups", "True/Updating", ""]
    );
    assert_eq!(world.status.head.drift[0].field, "topicMappings[orders].state");
    assert!(passed.events.iter().any(|it| it.reason == "DriftFound" && it.type_ == "Warning"), "{:?}", passed.events);
    let told: Vec<_> = (0..4).flat_map(|_| world.pass().events).map(|it| it.reason).collect();
    assert!(told.iter().any(|it| it == "DriftCorrected"), "{told:?}");
    assert_eq!(told.iter().filter(|it| **it == "DriftFound").count(), 0, "told once");
    assert_eq!(world.condition(condition_type::READY), "True/Available");
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

#[test]
fn lag_above_objective_ends_protection() {
    let mut world = steady(json!({"recoveryPointObjective": "1m"}), Rules::default());
    for (ms, condition) in [
        (0, "True/WithinObjective"),
        (60_000, "True/WithinObjective"),
        (60_001, "False/ObjectiveExceeded"),
        (3_600_000, "False/ObjectiveExceeded"),
        (59_000, "True/WithinObjective"),
    ] {
        let before = world.condition(condition_type::PROTECTED);
        lag(&mut world, ms);
        let passed = world.pass();
        assert_eq!(world.condition(condition_type::PROTECTED), condition, "{ms}");
        assert_eq!(world.condition(condition_type::READY), "True/Available");
        let told: Vec<_> = passed.events.iter().map(|it| it.reason.as_str()).collect();
        let wanted: &[&str] = match (before == condition, condition) {
            (true, _) => &[],
            (false, "False/ObjectiveExceeded") => &["ObjectiveExceeded"],
            (false, _) => &["ObjectiveMet"],
        };
        assert_eq!(told, wanted, "{ms}");
        let behind = world.status.checkpoints.as_ref().unwrap().summary.behind;
        assert_eq!(behind > 0, condition.starts_with("False"), "{ms}");
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
        let text = message(&world, condition_type::OFFSETS_COVERED);
        assert!(text.contains("GID_BILLING") && !text.contains("GID_ORDERS"), "{text}");
        world.annotate(SYNC_CHECKPOINTS_ANNOTATION, "now");
        world.pass();
        world.pass();
        assert_eq!(world.condition(condition_type::OFFSETS_COVERED), "True/AllGroups", "by hand it is");
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
fn last_observation_expires_after_three_polls() {
    let table = [
        (Class::Unavailable, "Unknown/CloudUnavailable", ""),
        (Class::Ambiguous, "Unknown/CloudUnavailable", ""),
        (Class::Throttled { after: None }, "Unknown/Throttled", ""),
        (Class::Denied, "False/AccessDenied", "True/AccessDenied"),
    ];
    for (class, synced, stalled) in table {
        let mut world = steady(json!({}), Rules::default());
        let (statement, is_stalled) = conditions::failure(&failure(class));
        assert_eq!(is_stalled, !stalled.is_empty());
        for (fresh, rest) in [
            (true, ["True/Available", "True/WithinObjective", "True/AllGroups"]),
            (false, ["Unknown/NotReady", "Unknown/Unknown", "Unknown/Unknown"]),
        ] {
            world.fresh = fresh;
            world.status = world.scope(|scope| scope.unobserved(&statement, is_stalled));
            let [ready, is_synced, protected, offsets, reconciling, is_stalled] = all(&world);
            // Who waits for Ready does not go on while a person has to act.
            let wanted = if stalled.is_empty() { rest[0] } else { "Unknown/NotReady" };
            assert_eq!([ready, protected, offsets], [wanted, rest[1], rest[2]], "{class:?} {fresh}");
            assert_eq!([is_synced.as_str(), &reconciling, &is_stalled], [synced, "", stalled], "{class:?} {fresh}");
        }
    }
}

#[test]
fn unobserved_plan_has_unknown_conditions() {
    let mut world = World::new(spec_with(json!({})), Rules::default());
    let statement = ConditionState::no(synced::CREDENTIALS_NOT_FOUND, "no Secret");
    world.status = world.scope(|scope| scope.unobserved(&statement, true));
    assert_eq!(
        all(&world),
        [
            "Unknown/NotReady",
            "False/CredentialsNotFound",
            "Unknown/Unknown",
            "Unknown/Unknown",
            "",
            "True/CredentialsNotFound"
        ]
    );
}

#[test]
fn unreadable_checkpoints_never_count_as_protection() {
    let mut world = steady(json!({}), Rules::default());
    world.fail_checkpoints(Some(Class::Unavailable));
    world.pass();
    assert_eq!(world.condition(condition_type::PROTECTED), "True/WithinObjective", "fresh: the last that was seen");
    assert_eq!(world.condition(condition_type::SYNCED), "Unknown/CloudUnavailable");
    world.advance(180_000);
    world.pass();
    assert_eq!(world.condition(condition_type::PROTECTED), "Unknown/Unknown");
    assert_eq!(world.condition(condition_type::OFFSETS_COVERED), "Unknown/Unknown");
    assert_eq!(world.condition(condition_type::READY), "True/Available", "plan and items were seen");
}

#[test]
fn denied_checkpoints_stall_until_allowed() {
    for (class, stalled) in [(Class::Denied, "True/AccessDenied"), (Class::Throttled { after: None }, "")] {
        for policy in ["Manage", "Observe"] {
            let mut world = observed(policy, "Running");
            world.pass();
            world.fail_checkpoints(Some(class));
            world.pass();
            let ready = if stalled.is_empty() { "True/Available" } else { "False/NotReady" };
            let said = [world.condition(condition_type::READY), world.condition(condition_type::STALLED)];
            assert_eq!(said, [ready, stalled], "{class:?} {policy}");
            world.fail_checkpoints(None);
            world.pass();
            let said = [world.condition(condition_type::READY), world.condition(condition_type::STALLED)];
            assert_eq!(said, ["True/Available", ""], "{class:?} {policy}");
        }
    }
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
fn suspended_object_reports_no_protection() {
    let mut world = steady(json!({}), Rules::default());
    world.edit(json!({"suspend": true}));
    world.status = world.scope(|scope| scope.suspended());
    let said = all(&world);
    assert_eq!(said, ["Unknown/NotReady", "Unknown/Suspended", "Unknown/Unknown", "Unknown/Unknown", "", ""]);
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
    assert_eq!(all(&world), deleting);
    world.pass();
    assert_eq!(all(&world), deleting, "waiting for the item");
    assert!(
        message(&world, condition_type::SYNCED).contains("CHANGING"),
        "{}",
        message(&world, condition_type::SYNCED)
    );
    let synced = ConditionState::no(synced::ACCESS_DENIED, "denied");
    world.status = world.scope(|scope| scope.unobserved(&synced, true));
    assert_eq!(world.condition(condition_type::SYNCED), "False/DeletionBlocked");
    assert_eq!(world.condition(condition_type::READY), "False/Deleting");
    assert_eq!(world.condition(condition_type::RECONCILING), "");
}

#[test]
fn failed_deletion_step_reports_deletion_blocked() {
    let mut world = steady(json!({}), Rules::default());
    world.delete();
    world.faulty_steps(&mut |_| Fault::Refused(Class::Denied), Crash::Never);
    assert_eq!(world.condition(condition_type::SYNCED), "False/DeletionBlocked");
    assert_ne!(world.condition(condition_type::STALLED), "");
}

#[test]
fn refusal_stalls_and_publishes_one_event() {
    let mut world = steady(json!({}), Rules::default());
    world.edit(json!({"planType": "ACTIVE_ACTIVE", "autoSyncCheckpoint": false}));
    let first = world.pass();
    let refused = ["False/NotReady", "False/ImmutableField"];
    assert_eq!(&all(&world)[..2], refused);
    assert_eq!(&all(&world)[4..], ["", "True/ImmutableField"]);
    assert!(message(&world, condition_type::SYNCED).contains("planType"));
    assert_eq!(first.events.iter().filter(|it| it.reason == synced::IMMUTABLE_FIELD).count(), 1);
    assert_eq!(world.pass().events, vec![]);
}

#[test]
fn plan_owned_by_another_has_unknown_protection() {
    let mut world = steady(json!({}), Rules::default());
    let id = world.plan_id();
    world.model().edit_plan(id, &json!({"planDesc": format!("Orders {THEIRS}")}), world.now()).unwrap();
    world.pass();
    assert_eq!(
        all(&world),
        ["False/NotReady", "False/OwnedByAnother", "Unknown/Unknown", "Unknown/Unknown", "", "True/OwnedByAnother"]
    );
}

#[test]
fn every_failed_step_has_its_reason() {
    for (class, synced, stalled) in [
        (Class::Denied, "False/AccessDenied", "True/AccessDenied"),
        (Class::Invalid, "False/InvalidSpec", "True/InvalidSpec"),
        (Class::Conflict, "False/Progressing", ""),
        // What the new plan names does not exist.
        (Class::NotFound, "False/InvalidSpec", "True/InvalidSpec"),
        (Class::Throttled { after: None }, "Unknown/Throttled", ""),
        (Class::Unavailable, "Unknown/CloudUnavailable", ""),
        (Class::Ambiguous, "Unknown/CloudUnavailable", ""),
    ] {
        let mut world = World::new(spec_with(json!({})), Rules::default());
        world.faulty_steps(&mut |_| Fault::Refused(class), Crash::Never);
        let [_, is_synced, _, _, _, is_stalled] = all(&world);
        assert_eq!([is_synced.as_str(), is_stalled.as_str()], [synced, stalled], "{class:?}");
        assert_eq!(world.condition(condition_type::RECONCILING).is_empty(), !stalled.is_empty(), "{class:?}");
    }
}

#[test]
fn observe_mode_reports_drift_without_progress() {
    let mut world = World::new(spec_with(json!({"managementPolicy": "Observe"})), Rules::default());
    let (id, _) = world.console_plan(Some("theirs"), &[mapping("orders", "orders", "")]);
    world.edit(json!({"planId": id.to_string()}));
    world.advance(30_000);
    world.pass();
    assert_eq!(all(&world), ["True/Available", "False/ObserveOnly", "True/WithinObjective", "True/AllGroups", "", ""]);
    assert_eq!(world.status.plan_id, Some(id.to_string()));
    assert_eq!(world.status.head.synced_generation, None);
    assert!(
        message(&world, condition_type::SYNCED).contains("planDesc"),
        "{}",
        message(&world, condition_type::SYNCED)
    );
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
    assert_eq!(message(&world, condition_type::STALLED), message(&world, condition_type::READY));
}

/// A plan of somebody with one item, and an object that names it.
fn observed(policy: &str, state: &str) -> World {
    let wanted = [mapping("orders", "orders", state)];
    let mut world =
        World::new(spec_with(json!({"managementPolicy": policy, "topicMappings": wanted})), Rules::default());
    let (id, _) = world.console_plan(Some("Orders"), &[mapping("orders", "orders", "")]);
    world.edit(json!({"planId": id.to_string()}));
    world.converge(10);
    world.advance(30_000);
    world
}

#[test]
fn every_observed_status_has_its_conditions() {
    let (stopped, available) = (["True/Stopped", "", ""], ["True/Available", "", ""]);
    let stalled = ["False/NotReady", "", "True/ObserveOnly"];
    let passing = ["False/Updating", "True/Updating", ""];
    for (item, wanted_running, wanted_stopped) in [
        (ItemStatus::Running, available, stalled),
        (ItemStatus::Creating, passing, passing),
        (ItemStatus::Changing, passing, passing),
        (ItemStatus::ManualStopped, stalled, stopped),
        (ItemStatus::OverdueStopped, stalled, stopped),
    ] {
        for (state, wanted) in [("Running", wanted_running), ("Stopped", wanted_stopped)] {
            let mut world = observed("Observe", state);
            let plan = world.plans().into_iter().next().unwrap();
            let (plan, id) = (plan.plan_id, *plan.items.keys().next().unwrap());
            world.model().set_item_status(plan, id, item, world.now()).unwrap();
            world.pass();
            let [ready, _, _, _, reconciling, is_stalled] = all(&world);
            assert_eq!([ready, reconciling, is_stalled], wanted, "{item:?} {state}");
            // One failure ends nothing of that.
            let conditions = [condition_type::READY, condition_type::STALLED].map(|kind| world.condition(kind));
            let (synced, _) = conditions::failure(&failure(Class::Unavailable));
            world.status = world.scope(|scope| scope.unobserved(&synced, false));
            assert_eq!(
                [condition_type::READY, condition_type::STALLED].map(|kind| world.condition(kind)),
                conditions,
                "{item:?} {state}"
            );
            world.fail_checkpoints(Some(Class::Throttled { after: None }));
            world.pass();
            assert_eq!(
                [condition_type::READY, condition_type::STALLED].map(|kind| world.condition(kind)),
                conditions,
                "{item:?} {state}"
            );
        }
    }
}

#[test]
fn message_names_why_nothing_is_known() {
    let (synced, _) = conditions::failure(&failure(Class::Unavailable));
    let blind = |mut world: World, fresh| {
        world.fresh = fresh;
        world.status = world.scope(|scope| scope.unobserved(&synced, false));
        [condition_type::READY, condition_type::PROTECTED, condition_type::RECONCILING]
            .map(|kind| message(&world, kind))
    };
    let long = "nothing was seen of the cloud for more than three polls";
    let behind = "the spec is not carried out yet, and the cloud cannot be seen";
    let later = "the spec is carried out once the cloud can be seen";
    let new = || World::new(spec_with(json!({})), Rules::default());
    assert_eq!(blind(new(), true), [behind, "nothing was seen of the cloud yet", later]);
    assert_eq!(blind(new(), false), [long, long, later]);
    let edited = |mut world: World| {
        world.edit(json!({"planDesc": "Other"}));
        world
    };
    let within = "every consumer group is within 5m";
    let running = || steady(json!({}), Rules::default());
    assert_eq!(blind(edited(running()), true), [behind, within, later]);
    assert_eq!(blind(edited(running()), false), [long, long, later]);
    let mut observed = observed("Observe", "Running");
    observed.pass();
    let compared =
        ["the cloud could not be seen since the spec changed", "the spec is compared once the cloud can be seen"];
    assert_eq!(blind(edited(observed), true), [compared[0], within, compared[1]]);
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
    assert_eq!(all(&world), ["True/Available", "True/ObserveOnly", "True/WithinObjective", "True/AllGroups", "", ""]);
}

#[test]
fn pause_publishes_one_event() {
    let mut world = steady(json!({}), Rules { delay_ms: 7_000, ..Rules::default() });
    world.edit(json!({"planDesc": "Other"}));
    let mut told = vec![];
    for n in 0..10 {
        let passed = world.pass();
        told.extend(passed.events.into_iter().map(|it| it.reason).filter(|it| !it.starts_with("Objective")));
        if n == 2 {
            assert_eq!(world.condition(condition_type::READY), "False/Updating");
            assert_eq!(world.condition(condition_type::PROTECTED), "False/ReplicationStopped");
            assert!(!world.status.paused_items.is_empty());
        }
    }
    assert_eq!(told, ["ItemsPaused"]);
    assert_eq!(world.condition(condition_type::READY), "True/Available");
    assert!(world.status.paused_items.is_empty());
}

#[test]
fn creation_and_adoption_publish_one_event() {
    let mut world = World::new(spec_with(json!({})), Rules::default());
    let told: Vec<_> = (0..5).flat_map(|_| world.pass().events).map(|it| it.reason).collect();
    assert_eq!(told, ["Created"]);

    let mut world = World::new(spec_with(json!({})), Rules::default());
    world.faulty_steps(&mut |_| Fault::AnswerLost, Crash::Never);
    let told: Vec<_> = (0..5).flat_map(|_| world.pass().events).map(|it| it.reason).collect();
    assert_eq!(told, ["Created"], "by a call whose answer was lost");

    let mut world = World::new(spec_with(json!({})), Rules::default());
    let (id, _) = world.console_plan(None, &[]);
    world.edit(json!({"planId": id.to_string()}));
    let told: Vec<_> = (0..6).flat_map(|_| world.pass().events).map(|it| it.reason).collect();
    assert_eq!(told, ["Adopted"]);
}

#[test]
fn transition_times_stay_while_status_stays() {
    let mut world = steady(json!({"recoveryPointObjective": "1m"}), Rules::default());
    let time = |status: &DisasterRecoveryPlanStatus, kind| {
        conditions::find(&status.head.conditions, kind).unwrap().last_transition_time.clone()
    };
    let before = world.status.clone();
    world.advance(600_000);
    lag(&mut world, 120_000);
    world.edit(json!({"pollInterval": "30s"}));
    world.pass();
    for kind in [condition_type::READY, condition_type::OFFSETS_COVERED, condition_type::SYNCED] {
        assert_eq!(time(&world.status, kind), time(&before, kind), "{kind}");
    }
    assert_ne!(time(&world.status, condition_type::PROTECTED), time(&before, condition_type::PROTECTED));
    let at = time(&world.status, condition_type::PROTECTED).0;
    assert_eq!(at.subsec_nanosecond(), 0, "the API server keeps whole seconds");
    let of_generation =
        conditions::find(&world.status.head.conditions, condition_type::READY).unwrap().observed_generation;
    assert_eq!(of_generation, Some(2));
}

#[test]
fn steady_plan_is_not_written_again() {
    let mut world = steady(json!({}), Rules { consumer_groups: vec!["GID_ORDERS".into()], ..Rules::default() });
    let mut writes = 0;
    for _ in 0..240 {
        let before = world.status.clone();
        world.pass();
        writes += usize::from(world.status != before);
    }
    // Twenty minutes of polls of 5 s: the time of the last synchronization advances once in a while.
    assert!(writes <= 2, "{writes} writes");
}

/// The status as JSON. The ID of a request that failed is another one in every reconcile.
fn without_request_ids(world: &World) -> String {
    let text = serde_json::to_string(&world.status).unwrap();
    let mut parts = text.split("request id ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(')').unwrap().1)
}

#[test]
fn second_reconcile_leaves_status_unchanged() {
    type Situation = fn(&mut World);
    let table: [(&str, Situation); 8] = [
        ("steady", |_| {}),
        ("overdue", |world| {
            let (plan, item) = first_item(world);
            world.model().set_item_status(plan, item, ItemStatus::OverdueStopped, world.now()).unwrap();
        }),
        ("immutable", |world| world.edit(json!({"planType": "ACTIVE_ACTIVE", "autoSyncCheckpoint": false}))),
        ("unreadable", |world| world.fail_checkpoints(Some(Class::Unavailable))),
        ("secret", |world| world.set_password(None)),
        ("observe", |world| world.edit(json!({"managementPolicy": "Observe"}))),
        ("lag", |world| lag(world, 3_600_000)),
        ("theirs", |world| {
            let id = world.plan_id();
            world.model().edit_plan(id, &json!({"planDesc": THEIRS}), world.now()).unwrap();
        }),
    ];
    for (name, situation) in table {
        let mut world = steady(json!({}), Rules::default());
        situation(&mut world);
        world.pace = 0;
        world.pass();
        world.pass();
        let before = without_request_ids(&world);
        let passed = world.pass();
        assert_eq!(without_request_ids(&world), before, "{name}");
        assert_eq!(passed.events, vec![], "{name}");
    }
}

#[test]
fn reconcile_request_is_echoed_without_observation() {
    let mut world = steady(json!({}), Rules::default());
    world.annotate(RECONCILE_ANNOTATION, "2025-03-01T00:00:00Z");
    world.pass();
    assert_eq!(world.status.head.last_handled_reconcile_at, world.annotation(RECONCILE_ANNOTATION).cloned());
    let statement = ConditionState::unknown(synced::CLOUD_UNAVAILABLE, "down");
    world.annotate(RECONCILE_ANNOTATION, "2025-03-02T00:00:00Z");
    world.status = world.scope(|scope| scope.unobserved(&statement, false));
    assert_eq!(world.status.head.last_handled_reconcile_at, world.annotation(RECONCILE_ANNOTATION).cloned());
}

#[test]
fn status_and_events_never_contain_password() {
    for echo in [PasswordEcho::Masked, PasswordEcho::Clear, PasswordEcho::Omitted] {
        for update_while_running in [false, true] {
            let mut world = World::new(
                spec_with(json!({})),
                Rules { password_echo: echo, update_while_running, ..Rules::default() },
            );
            let mut text = String::new();
            for n in 0..40 {
                let passed = world.pass();
                let drift = &passed.decision.drift;
                text += &format!(
                    "{} {:?} {drift:?} {:?}",
                    serde_json::to_string(&world.status).unwrap(),
                    passed.events,
                    passed.decision
                );
                match n {
                    10 => {
                        let id = world.plan_id();
                        world.model().plan_mut(id).unwrap().instances[1].password = Some(OTHER_PASSWORD.into());
                    }
                    20 => world.set_password(Some("rotated-word-3")),
                    30 => world.delete(),
                    _ => {}
                }
            }
            for secret in [PASSWORD, OTHER_PASSWORD, "rotated-word-3"] {
                assert!(!text.contains(secret), "{secret} {echo:?}");
            }
        }
    }
}
