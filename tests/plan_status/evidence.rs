//! Evidence of each mapping: what is absent, partial or contradictory is Unknown, and the message names the mapping.

use disaster_recovery_operator::api::condition::condition_type::{OFFSETS_COVERED, PROTECTED, READY};
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::simulator::model::{ItemStatus, Rules};
use disaster_recovery_operator::simulator::{Fault, FaultKind};
use serde_json::{Value, json};

use super::situations::{first_item, sample, steady};
use test_support::driver::plan::*;
use test_support::table::Table;

/// Two running mappings.
fn two_mappings(patch: Value) -> Value {
    let mut spec = json!({"topicMappings": [mapping("a", "a", "Running"), mapping("b", "b", "Running")]});
    spec.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
    spec
}

/// The IDs of an item's checkpoints.
fn checkpoints(world: &World, item: i64) -> Vec<String> {
    let plan = world.our_plan().unwrap();
    plan.items[&item].checkpoints.iter().map(|it| it.checkpoint_id.to_string()).collect()
}

#[test]
fn partial_evidence_is_unknown_with_mapping() {
    type Situation = fn(&mut World, i64, i64);
    // Of the mapping `b`: the situation, and whether `OffsetsCovered` is unknown too.
    let situations: [(&str, Situation, bool); 6] = [
        ("no checkpoint", |world, _, item| hide(world, checkpoints(world, item), false), true),
        ("an incomplete list", |world, _, item| hide(world, checkpoints(world, item), true), true),
        (
            "no timestamps",
            |world, _, item| {
                let ids = checkpoints(world, item);
                world.simulator.add_fault(Fault::new(FaultKind::WithoutTimestamps { ids }));
            },
            true,
        ),
        (
            "an unknown status of the item",
            |world, _, item| {
                let kind = FaultKind::UnknownStatus { ids: vec![item.to_string()], status: "MIGRATING".into() };
                world.simulator.add_fault(Fault::new(kind));
            },
            false,
        ),
        ("a gap in the list of items", |world, _, item| hide(world, vec![item.to_string()], false), true),
        (
            "an incomplete list of items",
            |world, _, item| {
                let gap = FaultKind::Gap { ids: vec![item.to_string()], counted: true };
                world.simulator.add_fault(Fault::new(gap).of_action("ListDisasterRecoveryItems"));
            },
            true,
        ),
    ];
    let mut table = Table::default();
    for (name, situation, offsets) in situations {
        let mut world = steady(two_mappings(json!({})), Rules::default());
        assert_eq!(world.condition(PROTECTED), "True/WithinObjective");
        let (plan, _) = first_item(&mut world);
        let item = *world.items(plan).keys().max().unwrap();
        situation(&mut world, plan, item);
        sample(&mut world);
        if name == "an incomplete list" {
            // Nothing follows from it: what was known before is evidence as long as its proof lasts.
            table.cell(format!("{name} at once"), "True/WithinObjective", world.condition(PROTECTED).as_str());
            world.observe_for(300_000);
        }
        let named = world.message(PROTECTED).contains("b (") && !world.message(PROTECTED).contains("a (");
        table.cell(name, &("Unknown/Unknown", true), &(world.condition(PROTECTED).as_str(), named));
        let expected = if offsets { "Unknown/Unknown" } else { "True/AllGroups" };
        table.cell(format!("{name}: offsets"), expected, world.condition(OFFSETS_COVERED).as_str());
        world.simulator.clear_faults();
        sample(&mut world);
        table.cell(format!("{name} before"), "True/WithinObjective", world.condition(PROTECTED).as_str());
    }
    table.check();
}

fn hide(world: &World, ids: Vec<String>, counted: bool) {
    world.simulator.add_fault(Fault::new(FaultKind::Gap { ids, counted }));
}

#[test]
fn unknown_plan_status_proves_nothing() {
    let mut world = steady(json!({}), Rules::default());
    let kind = FaultKind::UnknownStatus { ids: vec![world.plan_id().to_string()], status: "MIGRATING".into() };
    world.simulator.add_fault(Fault::new(kind));
    world.pass();
    assert_eq!([READY, PROTECTED].map(|it| world.condition(it)), ["Unknown/NotReady", "Unknown/Unknown"]);
    assert!(world.message(READY).contains("MIGRATING"), "{}", world.message(READY));
}

#[test]
fn mapping_without_consumers_needs_no_checkpoint() {
    let mut quiet = mapping("b", "b", "Running");
    quiet["consumers"] = json!("None");
    let spec = json!({"topicMappings": [mapping("a", "a", "Running"), quiet]});
    let mut world = steady(spec, Rules::default());
    let (plan, _) = first_item(&mut world);
    let item = *world.items(plan).keys().max().unwrap();
    hide(&world, checkpoints(&world, item), false);
    sample(&mut world);
    assert_eq!(world.condition(PROTECTED), "True/WithinObjective", "{}", world.message(PROTECTED));
    assert_eq!(world.condition(OFFSETS_COVERED), "True/AllGroups");
    // Checkpoints that exist still count.
    world.simulator.clear_faults();
    let ids = checkpoints(&world, item);
    world.simulator.add_fault(Fault::new(FaultKind::WithoutTimestamps { ids }));
    sample(&mut world);
    assert_eq!(world.condition(PROTECTED), "Unknown/Unknown");
}

#[test]
fn plan_without_any_consumers_is_protected() {
    let mut quiet = mapping("orders", "orders", "Running");
    quiet["consumers"] = json!("None");
    let world = steady(json!({"topicMappings": [quiet]}), Rules { consumer_groups: vec![], ..Rules::default() });
    assert_eq!(world.condition(PROTECTED), "True/WithinObjective", "{}", world.message(PROTECTED));
    assert_eq!(world.condition(OFFSETS_COVERED), "True/AllGroups");
}

#[test]
fn ignored_groups_do_not_count() {
    let mut table = Table::default();
    for (ignored, protected, total) in [
        (json!([]), "False/NeverSynced", 2),
        (json!(["GID_BILLING"]), "True/WithinObjective", 1),
        (json!(["GID_B*"]), "True/WithinObjective", 1),
        (json!(["GID_ORDERS"]), "False/NeverSynced", 1),
        // Nothing is left that proves anything.
        (json!(["GID_*"]), "Unknown/Unknown", 0),
    ] {
        let rules = Rules::default();
        let mut world = World::new(spec_with(json!({ "ignoredConsumerGroups": ignored })), rules);
        world.model().set_group_online("GID_BILLING", false);
        world.converge(20);
        world.advance(30_000);
        world.pass();
        let found = world.status.checkpoints.as_ref().unwrap().summary.total;
        table.cell(ignored.to_string(), &(protected, total), &(world.condition(PROTECTED).as_str(), found));
    }
    table.check();
}

#[test]
fn shifted_pages_never_prove_protection() {
    // Two pages. Their order changes between them, so that the one group is on none that was never synchronized.
    let groups: Vec<_> = (0..1_100).map(|number| format!("GID_{number:04}")).collect();
    let mut world = World::new(spec_with(json!({})), Rules { consumer_groups: groups, ..Rules::default() });
    world.model().set_group_online("GID_1000", false);
    world.converge(20);
    world.advance(30_000);
    world.simulator.add_fault(Fault::new(FaultKind::ShiftedPages { by: 1 }));
    for _ in 0..5 {
        sample(&mut world);
        for condition in [PROTECTED, OFFSETS_COVERED] {
            assert!(!world.condition(condition).starts_with("True/"), "{}", world.message(condition));
        }
    }
    // One read of them fits together.
    world.simulator.clear_faults();
    world
        .simulator
        .add_fault(Fault::new(FaultKind::ShiftedPages { by: 1 }).of_action("ListDisasterRecoveryCheckpoints").times(2));
    sample(&mut world);
    assert_eq!(world.condition(PROTECTED), "False/NeverSynced");
}

#[test]
fn unreadable_checkpoints_hide_no_other_doubt() {
    let mut world = steady(two_mappings(json!({})), Rules::default());
    let (_, item) = first_item(&mut world);
    world.fail_checkpoints(Some(Class::Unavailable));
    let kind = FaultKind::UnknownStatus { ids: vec![item.to_string()], status: "MIGRATING".into() };
    world.simulator.add_fault(Fault::new(kind));
    world.pass();
    assert_eq!(world.condition(PROTECTED), "Unknown/Unknown", "{}", world.message(PROTECTED));
}

#[test]
fn metadata_change_and_restart_send_nothing() {
    let mut world = steady(json!({}), Rules::default());
    let path = "/api/v1/namespaces/messaging/secrets/idc-acl";
    let mut secret = world.store.get(path).unwrap();
    secret["metadata"]["labels"] = json!({"team": "orders"});
    world.store.put(path, secret);
    let version = world.status.sent_credentials[0].resource_version.clone();
    for restarts in [false, true] {
        if restarts {
            world.restart();
        }
        for _ in 0..3 {
            let passed = world.pass();
            assert_eq!((passed.names(), world.condition(READY)), (vec![], "True/Available".into()), "{restarts}");
        }
    }
    assert_eq!(world.status.sent_credentials[0].resource_version, version);
    // Another content is sent, also after a restart.
    world.set_password(Some("new-word-1"));
    world.restart();
    let (plan, item) = first_item(&mut world);
    world.model().set_item_status(plan, item, ItemStatus::ManualStopped, world.now()).unwrap();
    assert!((0..5).any(|_| world.pass().names().contains(&"UpdatePlan")));
    assert_eq!(world.our_plan().unwrap().instances[1].password.as_deref(), Some("new-word-1"));
}

#[test]
fn rotated_secret_that_waits_stalls() {
    let mut world = steady(json!({"updatePolicy": "Wait"}), Rules::default());
    world.set_password(Some("new-word-1"));
    world.pass();
    world.pass();
    assert_eq!(world.condition("Synced"), "False/UpdateWaits");
    assert_eq!(world.condition("Stalled"), "True/UpdateWaits", "the cloud has the former password");
    let (plan, item) = first_item(&mut world);
    assert_eq!(world.items(plan)[&item], ItemStatus::Running);
}
