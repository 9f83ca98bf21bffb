//! Situations of a plan, one by one.

use disaster_recovery_operator::api::SYNC_CHECKPOINTS_ANNOTATION;
use disaster_recovery_operator::api::condition::synced;
use disaster_recovery_operator::api::plan::CreationStatus;
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::controller::plan::decide::{Step, Verdict};
use disaster_recovery_operator::simulator::model::{ItemStatus, PasswordEcho, Rules};
use jiff::Timestamp;
use serde_json::{Value, json};

use test_support::driver::plan::*;

fn slow() -> Rules {
    Rules { delay_ms: 2_000, visibility_delay_ms: 7_000, ..Rules::default() }
}

fn running_update() -> Rules {
    Rules { update_while_running: true, ..Rules::default() }
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
fn adoption_leaves_existing_items_untouched() {
    let mut world = World::new(spec_with(json!({})), running_update());
    let foreign = mapping("x", "foreign", "Running");
    let (plan_id, items) = world.console_plan(Some("by hand"), &[mapping("orders", "orders", "Running"), foreign]);
    world.edit(json!({"planId": plan_id.to_string()}));
    let first = world.pass();
    assert_eq!(first.names(), ["UpdatePlan"]);
    let Step::UpdatePlan { plan, .. } = &first.decision.steps[0] else { panic!() };
    // The one plan update also brings the credentials, which nobody knows to be those of the Secret.
    assert_eq!(plan.plan_desc.as_deref(), Some("Orders [drp 0a1b2c3d/messaging/orders]"));
    assert_eq!(world.converge(10).decision.verdict, Verdict::InSync);
    assert_eq!(
        world.items(plan_id).into_iter().collect::<Vec<_>>(),
        items.iter().map(|id| (*id, ItemStatus::Running)).collect::<Vec<_>>()
    );
    assert_eq!(world.status.topic_mappings[0].item_id, Some(items[0].to_string()));
}

#[test]
fn adopted_plan_without_items_gets_them() {
    let mut world = World::new(spec_with(json!({})), Rules::default());
    let (plan_id, _) = world.console_plan(None, &[]);
    world.edit(json!({"planId": plan_id.to_string()}));
    assert_eq!(world.pass().names(), ["UpdatePlan", "AddItem"]);
    assert_eq!(world.converge(10).decision.verdict, Verdict::InSync);
    assert_eq!(world.plan_id(), plan_id);
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
        assert_eq!(world.pass().names(), ["UpdatePlan"], "the plan is asked again, in case it no longer minds");
    }
    assert_eq!(
        world.items(plan_id).into_iter().collect::<Vec<_>>(),
        items.iter().map(|id| (*id, ItemStatus::Running)).collect::<Vec<_>>()
    );
}

#[test]
fn refusal_during_pause_resumes_items() {
    // The foreign item is still being made when ours is stopped, and runs when the plan could be updated.
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
    let mut world = World::in_sync(spec_with(json!({})), running_update());
    let plan_id = world.plan_id();
    world.console_item(plan_id, &mapping("x", "foreign", ""));
    world.advance(10_000);
    world.edit(json!({"planDesc": "Other"}));
    world.faulty_steps(&mut |_| Fault::Refused(Class::Conflict), Crash::Never);
    for _ in 0..20 {
        world.pass();
    }
    assert_eq!(world.pass().decision.verdict, Verdict::InSync);
}

#[test]
fn refused_topics_leave_no_item_stopped() {
    // It refuses them while the item runs, and then it refuses them for good.
    for class in [Class::Conflict, Class::Invalid, Class::Ambiguous] {
        let mut world = World::in_sync(spec_with(json!({})), Rules { delay_ms: 3_000, ..Rules::default() });
        let plan_id = world.plan_id();
        world.edit(json!({"topicMappings": [mapping("orders", "other", "Running")]}));
        let mut first = true;
        for _ in 0..60 {
            let mut fault = |step: &Step| match step {
                Step::UpdateItem { .. } => {
                    let refused = if std::mem::take(&mut first) { Class::Conflict } else { class };
                    Fault::Refused(refused)
                }
                _ => Fault::None,
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
            Step::StopItem { item_id, .. } if *item_id == second => Fault::Refused(Class::Conflict),
            _ => Fault::None,
        };
        world.faulty_steps(&mut fault, Crash::Never);
    }
    assert_eq!(world.items(plan_id).into_values().collect::<Vec<_>>(), [ItemStatus::Running; 2]);
    assert_eq!(world.condition("Synced"), format!("False/{}", synced::INVALID_SPEC));
}

#[test]
fn retain_stops_only_items_it_resumes() {
    // One item was listed for a change of its own when the object was deleted.
    let spec = json!({
        "deletionPolicy": "Retain",
        "topicMappings": [mapping("a", "a", "Running"), mapping("b", "b", "Running")],
    });
    let mut world = World::in_sync(spec_with(spec), Rules { delay_ms: 3_000, ..Rules::default() });
    let plan_id = world.plan_id();
    world.status.paused_items = vec![world.items(plan_id).keys().min().unwrap().to_string()];
    world.status.paused_since = Some(Timestamp::from_millisecond(world.now()).unwrap());
    world.delete();
    world.converge(60);
    assert!(world.released.is_some());
    assert_eq!(world.items(plan_id).into_values().collect::<Vec<_>>(), [ItemStatus::Running; 2]);
    assert!(!world.plan(plan_id).unwrap().plan_desc.unwrap().contains(MARK));
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
            Step::UpdatePlan { .. } => Fault::Refused(class),
            _ => Fault::None,
        };
        let running = (0..40)
            .filter(|_| {
                world.faulty_steps(&mut refuse, Crash::Never);
                world.items(plan_id).values().all(|it| *it == ItemStatus::Running)
            })
            .count();
        assert!(running > 20, "{class:?}: replication ran after {running} of 40 passes");
    }
}

#[test]
fn mapping_renamed_before_visibility_gets_one_item() {
    let rules = Rules { visibility_delay_ms: 30_000, ..Rules::default() };
    let mut world = World::in_sync(spec_with(json!({"topicMappings": []})), rules);
    world.edit(json!({"topicMappings": [mapping("orders", "orders", "Running")]}));
    assert_eq!(world.pass().names(), ["AddItem"]);
    world.edit(json!({"topicMappings": [mapping("renamed", "orders", "Running")]}));
    world.converge(60);
    assert_eq!(world.our_plan().unwrap().items.len(), 1);
}

#[test]
fn order_of_instances_is_no_drift() {
    let aliyun_only = json!([aliyun("hangzhou", "rmq-a", "ACTIVE"), aliyun("idc", "rmq-b", "PASSIVE")]);
    let mixed = json!([aliyun("hangzhou", "rmq-a", "ACTIVE"), external()]);
    for instances in [aliyun_only, mixed, two_clusters("10.0.0.9:9876")] {
        let mut world = World::in_sync(spec_with(json!({ "instances": instances })), running_update());
        let id = world.plan_id();
        world.model().plan_mut(id).unwrap().instances.swap(0, 1);
        let passed = world.pass();
        assert_eq!((passed.names(), passed.decision.verdict), (vec![], Verdict::InSync), "{instances}");
        world.edit(json!({"planDesc": "Other"}));
        assert_eq!(world.converge(10).decision.verdict, Verdict::InSync);
    }
}

/// Two clusters of the user's own, the first one at that address.
fn two_clusters(address: &str) -> Value {
    let mut first = external();
    first["name"] = json!("hangzhou");
    first["instanceRole"] = json!("ACTIVE");
    first["endpointUrl"] = json!(address);
    first["vpcId"] = json!("vpc-9");
    first["authType"] = json!("NO_AUTH");
    first.as_object_mut().unwrap().remove("credentialsSecretRef");
    json!([first, external()])
}

#[test]
fn same_address_in_two_vpcs_is_no_drift() {
    let mut world = World::in_sync(spec_with(json!({ "instances": two_clusters("10.0.0.1:9876") })), running_update());
    let id = world.plan_id();
    world.model().plan_mut(id).unwrap().instances.swap(0, 1);
    let passed = world.pass();
    assert_eq!((passed.names(), passed.decision.verdict), (vec![], Verdict::InSync));
}

#[test]
fn plan_id_during_create_leaves_no_orphan() {
    let rules = Rules { visibility_delay_ms: 30_000, ..Rules::default() };
    let mut world = World::new(spec_with(json!({})), rules);
    let id = world.stranger("other", None);
    world.advance(60_000);
    world.faulty_steps(&mut |_| Fault::AnswerLost, Crash::Never);
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
fn name_conflict_leaves_other_plan_alone() {
    let mut world = World::new(spec_with(json!({})), Rules::default());
    let id = world.stranger("orders", Some("somebody's"));
    let before = world.snapshot(id);
    for _ in 0..3 {
        let passed = world.pass();
        assert_eq!((passed.refusal(), passed.names()), (Some(synced::NAME_CONFLICT), vec![]));
        let Verdict::Refused { message, .. } = &passed.decision.verdict else { panic!() };
        assert!(message.contains(&id.to_string()), "{message}");
    }
    assert_eq!((world.snapshot(id), world.plans().len()), (before, 1));
}

#[test]
fn plan_id_ends_name_conflict() {
    let mut world = World::new(spec_with(json!({})), running_update());
    let (plan_id, _) = world.console_plan(None, &[]);
    assert_eq!(world.pass().refusal(), Some(synced::NAME_CONFLICT));
    world.edit(json!({"planId": plan_id.to_string()}));
    assert_eq!(world.converge(10).decision.verdict, Verdict::InSync);
}

#[test]
fn plan_id_ends_name_conflict_after_deletion() {
    // Somebody deleted the plan and made one of the same name by hand; the annotation still has the first one's ID.
    let mut world = World::in_sync(spec_with(json!({})), running_update());
    let id = world.plan_id();
    world.model().remove_plan(id).unwrap();
    let (plan_id, _) = world.console_plan(None, &[]);
    assert_eq!(world.converge(5).refusal(), Some(synced::NAME_CONFLICT));
    world.edit(json!({"planId": plan_id.to_string()}));
    let last = world.converge(10);
    assert_eq!(last.decision.verdict, Verdict::InSync);
    assert_eq!(world.plan_id(), plan_id);
}

#[test]
fn plan_owned_by_another_is_left_alone() {
    for named in [false, true] {
        let mut world = World::new(spec_with(json!({})), Rules::default());
        let (id, _) = world.console_plan(Some(&format!("Orders {THEIRS}")), &[mapping("x", "foreign", "")]);
        if named {
            world.edit(json!({"planId": id.to_string()}));
        }
        let before = world.snapshot(id);
        for _ in 0..3 {
            let passed = world.pass();
            assert_eq!((passed.refusal(), passed.names()), (Some(synced::OWNED_BY_ANOTHER), vec![]));
        }
        assert_eq!((world.snapshot(id), world.plans().len()), (before, 1));
    }
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    let id = world.plan_id();
    world.model().edit_plan(id, &json!({"planDesc": format!("Orders {THEIRS}")}), world.now()).unwrap();
    let before = world.snapshot(id);
    let passed = world.pass();
    assert_eq!((passed.refusal(), passed.names()), (Some(synced::OWNED_BY_ANOTHER), vec![]));
    assert_eq!(world.snapshot(id), before);
}

#[test]
fn unknown_plan_id_creates_no_plan() {
    let mut world = World::new(spec_with(json!({"planId": "1300000999"})), Rules::default());
    for _ in 0..3 {
        let passed = world.pass();
        assert_eq!((passed.refusal(), passed.names()), (Some(synced::PLAN_NOT_FOUND), vec![]));
    }
    assert_eq!(world.plans().len(), 0);
}

#[test]
fn object_never_moves_to_another_plan() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    let other = world.stranger("other", None);
    let before = (world.snapshot(world.plan_id()), world.snapshot(other));
    world.edit(json!({"planId": other.to_string()}));
    let passed = world.pass();
    assert_eq!((passed.refusal(), passed.names()), (Some(synced::INVALID_SPEC), vec![]));
    assert_eq!((world.snapshot(world.plan_id()), world.snapshot(other)), before);
}

#[test]
fn unanswered_create_yields_exactly_one_plan() {
    // (whether it happened, how long it stays invisible in s, the crash) and how many plans there are in the end: one.
    for (fault, visibility) in [
        (Fault::AnswerLost, 0),
        (Fault::AnswerLost, 30),
        (Fault::AnswerLost, 110),
        (Fault::RequestLost, 0),
        (Fault::RequestLost, 110),
        (Fault::Refused(Class::Throttled { after: None }), 0),
        (Fault::Refused(Class::Denied), 0),
    ] {
        for crash in [Crash::Never, Crash::BeforeAnnotation, Crash::BeforeStatus, Crash::BeforeActing] {
            let rules = Rules { visibility_delay_ms: visibility * 1000, ..Rules::default() };
            let mut world = World::new(spec_with(json!({})), rules);
            world.faulty_steps(&mut |_| fault, crash);
            if matches!(fault, Fault::Refused(_)) && crash == Crash::Never {
                assert_eq!(world.status.creation, None, "what did not happen is not waited for");
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
    for (age, names) in [(0, vec![]), (119, vec![]), (120, vec!["CreatePlan"]), (500, vec!["CreatePlan"])] {
        let mut world = World::new(spec_with(json!({})), Rules::default());
        let time = Timestamp::from_second(T0 / 1000 - age).unwrap();
        world.status.creation = Some(CreationStatus { nonce: "n".into(), time });
        let (_, decision) = world.decide();
        assert_eq!(decision.steps.iter().map(Step::label).collect::<Vec<_>>(), names, "{age}");
        assert_eq!(matches!(decision.verdict, Verdict::Waiting { .. }), age < 120, "{age}");
    }
}

#[test]
fn unanswered_add_item_creates_no_second_item() {
    for fault in [Fault::AnswerLost, Fault::RequestLost, Fault::Refused(Class::Invalid)] {
        for crash in [Crash::Never, Crash::BeforeStatus] {
            for visibility in [0, 60_000] {
                let rules = Rules { visibility_delay_ms: visibility, delay_ms: 3_000, ..Rules::default() };
                let spec =
                    spec_with(json!({"topicMappings": [mapping("a", "a", "Running"), mapping("b", "b", "Stopped")]}));
                let mut world = World::new(spec, rules);
                while world.decide().1.steps.first().is_none_or(|it| it.label() != "AddItem") {
                    world.pass();
                }
                world.faulty_steps(&mut |_| fault, crash);
                assert_eq!(world.converge(120).decision.verdict, Verdict::InSync);
                assert_eq!(world.our_plan().unwrap().items.len(), 2, "{fault:?} {crash:?} {visibility}");
            }
        }
    }
}

#[test]
fn plan_deleted_in_console_is_recreated() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    let first = world.plan_id();
    world.model().remove_plan(first).unwrap();
    let passed = world.pass();
    assert_eq!(passed.names(), Vec::<&str>::new(), "a second look has to agree");
    assert_eq!(passed.decision.drift[0].field, "planId");
    assert!(passed.events.iter().any(|it| it.reason == "PlanGone"), "{:?}", passed.events);
    let passed = world.pass();
    assert_eq!(passed.names(), ["CreatePlan"]);
    assert!(!passed.events.iter().any(|it| it.reason == "PlanGone"), "{:?}", passed.events);
    assert_eq!(world.converge(10).decision.verdict, Verdict::InSync);
    assert_ne!(world.plan_id(), first);
    assert_eq!(world.claimed(), Some(world.plan_id()));
}

#[test]
fn every_immutable_field_is_refused_by_name() {
    let first = |field: &str, value: Value| {
        let mut it = serde_json::to_value(&base_spec().instances[0]).unwrap();
        it[field] = value;
        json!({"instances": [it, external()]})
    };
    let second = |field: &str, value: Value| {
        let mut it = external();
        it[field] = value;
        json!({"instances": [serde_json::to_value(&base_spec().instances[0]).unwrap(), it]})
    };
    let mut roles = json!({"instances": [serde_json::to_value(&base_spec().instances[0]).unwrap(), external()]});
    roles["instances"][0]["instanceRole"] = json!("PASSIVE");
    roles["instances"][1]["instanceRole"] = json!("ACTIVE");
    let mut kind = json!({"instances": [serde_json::to_value(&base_spec().instances[0]).unwrap(), aliyun("idc", "rmq-b", "PASSIVE")]});
    kind["instances"][1]["regionId"] = json!("cn-shanghai");
    let table: Vec<(Value, &str)> = vec![
        (json!({"planType": "ACTIVE_ACTIVE", "autoSyncCheckpoint": false}), "planType"),
        (first("instanceId", json!("rmq-other")), "instances[hangzhou]"),
        (first("regionId", json!("cn-beijing")), "instances[hangzhou].regionId"),
        (roles.clone(), "instances[hangzhou].instanceRole"),
        (roles, "instances[idc].instanceRole"),
        (kind, "instances[idc]"),
        (second("regionId", json!("cn-beijing")), "instances[idc].regionId"),
        (second("endpointUrl", json!("10.0.0.2:9876")), "instances[idc].endpointUrl"),
        (second("networkType", json!("TCP_INTERNET")), "instances[idc].networkType"),
        (second("vpcId", json!("vpc-2")), "instances[idc].vpcId"),
        (second("vSwitchIds", json!(["vsw-a"])), "instances[idc].vSwitchIds"),
        (second("securityGroupId", json!("sg-2")), "instances[idc].securityGroupId"),
        (second("consumerGroupId", json!("GID_OTHER")), "instances[idc].consumerGroupId"),
    ];
    for (patch, field) in table {
        let mut world = World::in_sync(spec_with(json!({})), running_update());
        let before = world.snapshot(world.plan_id());
        world.edit(patch);
        for _ in 0..2 {
            let passed = world.pass();
            assert_eq!((passed.refusal(), passed.names()), (Some(synced::IMMUTABLE_FIELD), vec![]), "{field}");
            assert!(passed.decision.drift.iter().any(|it| it.field == field), "{field}: {:?}", passed.decision.drift);
            let Verdict::Refused { message, .. } = &passed.decision.verdict else { panic!() };
            assert!(message.contains(field), "{field}: {message}");
        }
        assert_eq!(world.snapshot(world.plan_id()), before);
    }
}

#[test]
fn vswitch_order_and_spelling_are_no_drift() {
    let mut world = World::in_sync(spec_with(json!({})), running_update());
    let mut idc = external();
    idc["vSwitchIds"] = json!(["vsw-b", "vsw-a"]);
    let id = world.plan_id();
    world.edit(json!({"instances": [serde_json::to_value(&base_spec().instances[0]).unwrap(), idc]}));
    world.model().plan_mut(id).unwrap().instances[1].instance_role = Some("Passive".into());
    let passed = world.pass();
    assert_eq!((passed.names(), passed.decision.verdict), (vec![], Verdict::InSync));
}

/// What to change in the console, and what field of the spec then differs; whether instances must be sent.
#[test]
fn drifted_mutable_field_leads_to_one_update() {
    let first = |patch: Value| {
        let mut patch = patch;
        patch["instanceId"] = json!("rmq-a");
        json!({"instances": [patch]})
    };
    let second = |world: &World, patch: Value| {
        let mut patch = patch;
        patch["instanceId"] = json!(world.our_plan().unwrap().instances[1].id());
        json!({"instances": [patch]})
    };
    type Patch<'a> = Box<dyn Fn(&World) -> Value + 'a>;
    let table: Vec<(&str, Patch<'_>, bool)> = vec![
        ("planName", Box::new(|_| json!({"planName": "renamed"})), false),
        ("planDesc", Box::new(|_| json!({"planDesc": format!("Other {MARK}")})), false),
        ("planDesc", Box::new(|_| json!({"planDesc": "Orders"})), false),
        ("planDesc", Box::new(|_| json!({"planDesc": null})), false),
        ("syncCheckpointEnabled", Box::new(|_| json!({"syncCheckpointEnabled": false})), false),
        ("autoSyncCheckpoint", Box::new(|_| json!({"autoSyncCheckpoint": false})), false),
        (
            "instances[hangzhou].messageProperty",
            Box::new(|_| first(json!({"messageProperty": {"propertyKey": "site", "propertyValue": "sh"}}))),
            true,
        ),
        ("instances[hangzhou].messageProperty", Box::new(|_| first(json!({"messageProperty": null}))), true),
        ("instances[idc].authType", Box::new(|world| second(world, json!({"authType": "NO_AUTH"}))), true),
        ("instances[idc].credentialsSecretRef", Box::new(|world| second(world, json!({"username": "other"}))), true),
    ];
    for (field, patch, instances) in table {
        let mut world = World::in_sync(spec_with(json!({})), running_update());
        let patch = patch(&world);
        let id = world.plan_id();
        world.model().edit_plan(id, &patch, world.now()).unwrap();
        let passed = world.pass();
        assert_eq!(passed.names(), ["UpdatePlan"], "{field}");
        let fields: Vec<_> = passed.decision.drift.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, [field]);
        let Step::UpdatePlan { plan, .. } = &passed.decision.steps[0] else { panic!() };
        assert_eq!(plan.instances.is_some(), instances, "{field}");
        assert!(plan.instances.as_ref().is_none_or(|it| it.len() == 2), "the whole list or none");
        assert_eq!(plan.plan_type, None, "{field}");
        assert!(!serde_json::to_string(plan).unwrap().contains("***"), "{field}: the mask was sent");
        let after = world.pass();
        assert_eq!((after.names(), after.decision.verdict), (vec![], Verdict::InSync), "{field}");
        assert_eq!(world.our_plan().unwrap().instances[1].password.as_deref(), Some(PASSWORD), "{field}");
    }
}

#[test]
fn changed_spec_leads_to_one_update() {
    let mut open = external();
    open.as_object_mut().unwrap().remove("credentialsSecretRef");
    open["authType"] = json!("NO_AUTH");
    for (patch, instances) in [
        (json!({"planName": "other"}), false),
        (json!({"planDesc": "Other"}), false),
        (json!({"syncCheckpointEnabled": false, "autoSyncCheckpoint": false}), false),
        (json!({"instances": [aliyun("hangzhou", "rmq-a", "ACTIVE"), open]}), true),
    ] {
        let mut world = World::in_sync(spec_with(json!({})), running_update());
        world.edit(patch.clone());
        let passed = world.pass();
        assert_eq!(passed.names(), ["UpdatePlan"], "{patch}");
        let Step::UpdatePlan { plan, .. } = &passed.decision.steps[0] else { panic!() };
        assert_eq!(plan.instances.is_some(), instances, "{patch}");
        let after = world.pass();
        assert_eq!((after.names(), after.decision.verdict), (vec![], Verdict::InSync), "{patch}");
    }
}

#[test]
fn absent_spec_fields_are_left_alone() {
    let spec = spec_with(json!({"planDesc": null, "syncCheckpointEnabled": null, "autoSyncCheckpoint": null}));
    let mut world = World::in_sync(spec, running_update());
    let console = json!({
        "planDesc": format!("theirs {MARK}"), "syncCheckpointEnabled": true, "autoSyncCheckpoint": true,
    });
    let id = world.plan_id();
    world.model().edit_plan(id, &console, world.now()).unwrap();
    let passed = world.pass();
    assert_eq!((passed.names(), passed.decision.verdict), (vec![], Verdict::InSync));
}

#[test]
fn rotated_secret_is_sent_once() {
    for echo in [PasswordEcho::Masked, PasswordEcho::Clear, PasswordEcho::Omitted] {
        let rules = Rules { password_echo: echo, ..running_update() };
        let mut world = World::in_sync(spec_with(json!({})), rules);
        world.set_password(Some("new-word-1"));
        let passed = world.pass();
        assert_eq!(passed.names(), ["UpdatePlan"], "{echo:?}");
        let text = format!("{:?} {:?} {:?}", passed.decision, world.status, passed.events);
        assert!(!text.contains("new-word-1") && !text.contains(PASSWORD), "{text}");
        assert_eq!(world.our_plan().unwrap().instances[1].password.as_deref(), Some("new-word-1"));
        let after = world.pass();
        assert_eq!((after.names(), after.decision.verdict), (vec![], Verdict::InSync), "{echo:?}");
    }
}

#[test]
fn masked_password_is_no_drift() {
    for (echo, drift) in [(PasswordEcho::Masked, 0), (PasswordEcho::Omitted, 0), (PasswordEcho::Clear, 1)] {
        let rules = Rules { password_echo: echo, ..running_update() };
        let mut world = World::in_sync(spec_with(json!({})), rules);
        let id = world.plan_id();
        world.model().plan_mut(id).unwrap().instances[1].password = Some(OTHER_PASSWORD.into());
        let passed = world.pass();
        assert_eq!(passed.decision.drift.len(), drift, "{echo:?}: {:?}", passed.decision.drift);
        assert_eq!(passed.names().len(), drift, "{echo:?}");
        let text = format!("{:?} {:?} {:?}", passed.decision, world.status, passed.events);
        assert!(!text.contains(OTHER_PASSWORD) && !text.contains(PASSWORD), "{text}");
    }
}

#[test]
fn mask_like_password_is_sent_once() {
    for password in ["****", "aaaa", "a***b"] {
        for echo in [PasswordEcho::Masked, PasswordEcho::Clear, PasswordEcho::Omitted] {
            let mut world = World::new(spec_with(json!({})), Rules { password_echo: echo, ..running_update() });
            world.set_password(Some(password));
            assert_eq!(world.converge(10).decision.verdict, Verdict::InSync, "{password} {echo:?}");
            assert_eq!(world.our_plan().unwrap().instances[1].password.as_deref(), Some(password));
            assert_eq!(world.pass().names(), Vec::<&str>::new());
        }
    }
}

#[test]
fn missing_secret_is_refused_without_step() {
    for made in [false, true] {
        let mut world = World::new(spec_with(json!({})), Rules::default());
        if made {
            world.converge(10);
        }
        world.set_password(None);
        let passed = world.pass();
        assert_eq!((passed.refusal(), passed.names()), (Some(synced::CREDENTIALS_NOT_FOUND), vec![]));
    }
}

#[test]
fn changed_topics_update_the_existing_item() {
    let mut world = World::in_sync(spec_with(json!({})), Rules { delay_ms: 3_000, ..Rules::default() });
    let (plan_id, before) = (world.plan_id(), world.our_plan().unwrap().items.keys().copied().collect::<Vec<_>>());
    for patch in [
        json!({"topicMappings": [mapping("orders", "invoices", "Running")]}),
        json!({"topicMappings": [{"name": "orders", "topics": [
            {"instance": "hangzhou", "topicName": "invoices", "deliveryOrderType": "Concurrently"},
            {"instance": "idc", "topicName": "invoices-copy", "deliveryOrderType": "Orderly"},
        ]}]}),
    ] {
        world.edit(patch);
        assert_eq!(world.pass().names(), ["UpdateItem"]);
        assert_eq!(world.converge(10).decision.verdict, Verdict::InSync);
        assert_eq!(world.items(plan_id).into_keys().collect::<Vec<_>>(), before);
    }
}

#[test]
fn renamed_mapping_keeps_its_item() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    let id = world.status.topic_mappings[0].item_id.clone();
    world.edit(json!({"topicMappings": [mapping("renamed", "orders", "Running")]}));
    let passed = world.pass();
    assert_eq!((passed.names(), passed.decision.verdict), (vec![], Verdict::InSync));
    assert_eq!(
        (world.status.topic_mappings[0].name.as_str(), &world.status.topic_mappings[0].item_id),
        ("renamed", &id)
    );
    assert_eq!(world.status.topic_mappings.len(), 1);
}

#[test]
fn mappings_with_swapped_names_keep_items() {
    let both = |a: &str, b: &str| json!({"topicMappings": [mapping(a, "t1", "Running"), mapping(b, "t2", "Stopped")]});
    let mut world = World::in_sync(spec_with(both("a", "b")), Rules::default());
    let before = world.items(world.plan_id());
    world.edit(both("b", "a"));
    let passed = world.pass();
    assert_eq!((passed.names(), passed.decision.verdict), (vec![], Verdict::InSync));
    assert_eq!(world.items(world.plan_id()), before);
}

#[test]
fn newer_duplicate_item_follows_item_policy() {
    for (policy, left) in [("Keep", 2), ("Prune", 1)] {
        let mut world = World::in_sync(spec_with(json!({"itemPolicy": policy})), Rules::default());
        let plan_id = world.plan_id();
        let ours = world.status.topic_mappings[0].item_id.clone().unwrap();
        world.console_item(plan_id, &mapping("x", "orders", ""));
        assert_eq!(world.converge(10).decision.verdict, Verdict::InSync);
        assert_eq!(world.items(plan_id).len(), left, "{policy}");
        assert!(world.items(plan_id).contains_key(&ours.parse().unwrap()), "{policy}");
        assert_eq!(world.status.topic_mappings[0].item_id.as_deref(), Some(ours.as_str()));
    }
}

#[test]
fn observe_mode_takes_no_step() {
    let observe = json!({"managementPolicy": "Observe"});
    // No plan; a plan that differs in everything; a request to synchronize; a plan of another owner.
    let mut world = World::new(spec_with(observe.clone()), Rules::default());
    assert_eq!((world.pass().names(), world.converge(1).refusal()), (vec![], Some(synced::PLAN_NOT_FOUND)));
    for desc in [None, Some(THEIRS), Some(MARK)] {
        let mut world = World::new(spec_with(observe.clone()), Rules::default());
        let (id, _) = world.console_plan(desc, &[mapping("x", "foreign", "")]);
        world.edit(json!({"planId": id.to_string(), "itemPolicy": "Prune", "planDesc": "Other"}));
        world.annotate(SYNC_CHECKPOINTS_ANNOTATION, "now");
        let before = world.snapshot(id);
        for _ in 0..4 {
            assert_eq!(world.pass().names(), Vec::<&str>::new());
        }
        assert_eq!(world.snapshot(id), before);
        assert_eq!(world.claimed(), None);
        world.delete();
        assert_eq!(world.pass().decision.verdict, Verdict::Released { left: None });
        assert_eq!(world.snapshot(id), before);
    }
}

#[test]
fn requested_checkpoint_sync_happens_once() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    world.annotate(SYNC_CHECKPOINTS_ANNOTATION, "2025-03-01T00:00:00Z");
    let passed = world.pass();
    assert_eq!(passed.names(), ["SyncCheckpoints"]);
    assert!(passed.events.iter().any(|it| it.reason == "CheckpointsSynced"), "{:?}", passed.events);
    assert_eq!(world.status.last_handled_sync_checkpoints_at, world.annotation(SYNC_CHECKPOINTS_ANNOTATION).cloned());
    assert_eq!(world.pass().names(), Vec::<&str>::new());
}

#[test]
fn overdue_item_does_not_block_requested_sync() {
    let spec = spec_with(json!({"topicMappings": [mapping("a", "a", "Running"), mapping("b", "b", "Running")]}));
    let mut world = World::in_sync(spec, Rules::default());
    let (plan_id, item) = (world.plan_id(), *world.our_plan().unwrap().items.keys().next().unwrap());
    world.model().set_item_status(plan_id, item, ItemStatus::OverdueStopped, world.now()).unwrap();
    world.annotate(SYNC_CHECKPOINTS_ANNOTATION, "2025-03-01T00:00:00Z");
    let synced = (0..20).any(|_| world.pass().names().contains(&"SyncCheckpoints"));
    assert!(synced, "{:?}", world.pass().decision);
}

#[test]
fn failure_that_concerns_others_skips_later_steps() {
    let spec = spec_with(json!({"topicMappings": [mapping("a", "a", "Running"), mapping("b", "b", "Running")]}));
    for (class, second) in [(Class::Invalid, true), (Class::Denied, false), (Class::Ambiguous, false)] {
        let mut world = World::new(spec.clone(), Rules::default());
        world.pass();
        assert!(world.observe().unwrap().found().is_some());
        let mut first = true;
        let passed = world.faulty_steps(
            &mut |_| if std::mem::take(&mut first) { Fault::Refused(class) } else { Fault::None },
            Crash::Never,
        );
        assert_eq!(passed.names(), ["AddItem", "AddItem"]);
        let added = passed.calls.iter().filter(|it| it.action == "AddDisasterRecoveryItem" && it.code == "200");
        assert_eq!(added.count() == 1, second, "{class:?}");
        let waits = |name: &str| world.status.item_creations.iter().any(|it| it.topics.contains(&format!("/{name}")));
        assert_eq!((waits("a"), waits("b")), (class == Class::Ambiguous, second), "{class:?}");
    }
}
