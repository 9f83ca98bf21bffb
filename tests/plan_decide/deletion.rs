//! Deletion: what the operator deletes, what it keeps, and what it never touches.

use disaster_recovery_operator::api::plan::CreationStatus;
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::controller::plan::decide::{Step, Verdict};
use disaster_recovery_operator::simulator::model::{ItemStatus, Rules};
use jiff::Timestamp;
use serde_json::json;

use test_support::driver::plan::*;
use test_support::table::Table;

/// The plan after the deletion of its object.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Left {
    Nothing,
    Unmarked,
    Untouched,
}

const POLICIES: [&str; 3] = ["Delete", "Retain", "Observe"];
const MARKS: [&str; 4] = ["ours", "another's", "none, claimed", "none, unclaimed"];

const TABLE: &[(&str, &str, Left)] = &[
    ("Delete", "ours", Left::Nothing),
    ("Delete", "another's", Left::Untouched),
    ("Delete", "none, claimed", Left::Nothing),
    ("Delete", "none, unclaimed", Left::Untouched),
    ("Retain", "ours", Left::Unmarked),
    ("Retain", "another's", Left::Untouched),
    ("Retain", "none, claimed", Left::Untouched),
    ("Retain", "none, unclaimed", Left::Untouched),
    ("Observe", "ours", Left::Untouched),
    ("Observe", "another's", Left::Untouched),
    ("Observe", "none, claimed", Left::Untouched),
    ("Observe", "none, unclaimed", Left::Untouched),
];

fn desc(mark: &str) -> String {
    match mark {
        "ours" => format!("Orders {MARK}"),
        "another's" => format!("Orders {THEIRS}"),
        _ => "Orders".into(),
    }
}

/// Deletes an object whose plan has this mark, while its creation is pending and its items run, or not.
fn delete(policy: &str, mark: &str, pending: bool, running: bool) -> Result<Left, String> {
    let spec = match policy {
        "Observe" => json!({"managementPolicy": "Observe"}),
        policy => json!({ "deletionPolicy": policy }),
    };
    let mut world = World::new(spec_with(spec), Rules { delay_ms: 3_000, ..Rules::default() });
    let mappings = if running { vec![mapping("orders", "orders", "")] } else { vec![] };
    let (id, _) = world.console_plan(Some(&desc(mark)), &mappings);
    let stranger = world.stranger("other", None);
    world.edit(json!({"planId": id.to_string()}));
    world.advance(10_000);
    world.claim(matches!(mark, "ours" | "none, claimed").then_some(id));
    world.status.plan_id = world.claimed().map(|id| id.to_string());
    if pending {
        let time = Timestamp::from_millisecond(world.now()).unwrap();
        world.status.creation = Some(CreationStatus { nonce: "n".into(), time });
    }
    let (before, theirs) = (world.snapshot(id), world.snapshot(stranger));
    world.hold();
    world.delete();
    world.converge(60);
    if world.released.is_none() {
        return Err("the object is not released".into());
    }
    if world.snapshot(stranger) != theirs {
        return Err("another plan changed".into());
    }
    let mut unmarked = before.clone().unwrap();
    unmarked["planDesc"] = json!("Orders");
    match world.snapshot(id) {
        None => Ok(Left::Nothing),
        after if after == before => Ok(Left::Untouched),
        Some(after) if after == unmarked => Ok(Left::Unmarked),
        Some(after) => Err(format!("the plan changed to {after}")),
    }
}

#[test]
fn every_policy_and_owner_has_its_outcome() {
    assert_eq!(TABLE.len(), POLICIES.len() * MARKS.len());
    let mut table = Table::default();
    for (policy, mark) in POLICIES.iter().flat_map(|policy| MARKS.map(|mark| (*policy, mark))) {
        let (_, _, expected) = TABLE.iter().find(|it| (it.0, it.1) == (policy, mark)).unwrap();
        for (pending, running) in [(false, false), (false, true), (true, false), (true, true)] {
            let found = delete(policy, mark, pending, running);
            let case = format!("{policy}, {mark}, creation pending: {pending}, items: {running}");
            table.cell(case, &Ok(expected), &found.as_ref());
        }
    }
    table.check();
}

#[test]
fn deletion_waits_for_unanswered_create() {
    for (fault, calls) in [(Fate::REPLY_LOST, 1), (Fate::LOST, 0)] {
        let rules = Rules { visibility_delay_ms: 60_000, ..Rules::default() };
        let mut world = World::new(spec_with(json!({})), rules);
        world.faulty_steps(&mut |_| fault.clone(), Crash::BeforeStatus);
        assert_eq!(world.plans().len(), calls);
        world.delete();
        assert!(matches!(world.pass().decision.verdict, Verdict::Waiting { .. }));
        world.converge(60);
        assert!(world.released.is_some());
        assert_eq!(world.plans().len(), 0, "{fault:?}");
    }
}

#[test]
fn plan_not_yet_visible_is_deleted() {
    let mut world = World::new(spec_with(json!({})), Rules { visibility_delay_ms: 60_000, ..Rules::default() });
    world.pass();
    world.delete();
    world.converge(60);
    assert_eq!(world.plans().len(), 0);
}

#[test]
fn object_without_plan_is_released_at_once() {
    let mut world = World::new(spec_with(json!({})), Rules::default());
    world.stranger("orders", None);
    world.hold();
    world.delete();
    assert_eq!(world.pass().decision.verdict, Verdict::Released { left: None });
    assert_eq!(world.plans().len(), 1);
}

#[test]
fn deletion_needs_no_valid_spec_or_secret() {
    let mut world = World::in_sync(spec_with(json!({})), Rules { delay_ms: 3_000, ..Rules::default() });
    world.edit(json!({"planType": "ACTIVE_ACTIVE", "instances": [aliyun("x", "rmq-x", "ACTIVE"), aliyun("y", "rmq-y", "ACTIVE")], "topicMappings": []}));
    world.set_password(None);
    world.delete();
    world.converge(60);
    assert_eq!(world.plans().len(), 0);
}

#[test]
fn deletion_deletes_items_of_every_status() {
    let spec = spec_with(json!({"topicMappings": [
        mapping("a", "a", "Running"), mapping("b", "b", "Stopped"), mapping("c", "c", "Running"),
    ]}));
    let mut world = World::in_sync(spec, Rules { delay_ms: 12_000, ..Rules::default() });
    let plan_id = world.plan_id();
    let item = world.console_item(plan_id, &mapping("x", "foreign", ""));
    let overdue = *world.items(plan_id).keys().next().unwrap();
    world.model().set_item_status(plan_id, overdue, ItemStatus::OverdueStopped, world.now()).unwrap();
    assert_eq!(world.items(plan_id)[&item], ItemStatus::Creating);
    world.delete();
    world.converge(60);
    assert_eq!(world.plans().len(), 0);
}

#[test]
fn retained_plan_keeps_running_items_running() {
    for update_while_running in [false, true] {
        for delay_ms in [0, 12_000] {
            let spec = spec_with(json!({"deletionPolicy": "Retain", "topicMappings": [
                mapping("a", "a", "Running"), mapping("b", "b", "Stopped"), mapping("c", "c", "Running"),
            ]}));
            let mut world = World::in_sync(spec, Rules { delay_ms, update_while_running, ..Rules::default() });
            let (plan_id, before) = (world.plan_id(), world.items(world.plan_id()));
            world.delete();
            world.converge(60);
            world.advance(60_000);
            assert_eq!(world.items(plan_id), before);
            assert_eq!(world.plan(plan_id).unwrap().plan_desc.as_deref(), Some("Orders"));
        }
    }
}

#[test]
fn retained_plan_keeps_manually_stopped_item_stopped() {
    let spec = spec_with(json!({"deletionPolicy": "Retain", "topicMappings": [
        mapping("a", "a", "Running"), mapping("b", "b", "Running"),
    ]}));
    let mut world = World::in_sync(spec, Rules::default());
    let plan_id = world.plan_id();
    let first = *world.items(plan_id).keys().next().unwrap();
    world.model().set_item_status(plan_id, first, ItemStatus::ManualStopped, world.now()).unwrap();
    let before = world.items(plan_id);
    world.delete();
    world.converge(60);
    world.advance(60_000);
    assert_eq!(world.items(plan_id), before);
}

#[test]
fn retain_beside_foreign_item_touches_no_item() {
    let mut world = World::in_sync(spec_with(json!({"deletionPolicy": "Retain"})), Rules::default());
    let plan_id = world.plan_id();
    world.console_item(plan_id, &mapping("x", "foreign", ""));
    world.converge(5);
    let before = world.items(plan_id);
    world.delete();
    world.converge(60);
    assert!(world.released.clone().unwrap().unwrap().contains("kept with its owner mark"), "{:?}", world.released);
    assert_eq!(world.items(plan_id), before);
}

#[test]
fn retain_without_annotation_leaves_items_running() {
    let mut world = World::in_sync(spec_with(json!({"deletionPolicy": "Retain"})), Rules::default());
    let (plan_id, before) = (world.plan_id(), world.items(world.plan_id()));
    world.claim(None);
    world.delete();
    world.converge(60);
    world.advance(60_000);
    assert_eq!(world.items(plan_id), before, "{:?}", world.released);
}

#[test]
fn refused_removal_of_the_mark_releases_the_object() {
    for class in [Class::Invalid, Class::Denied, Class::Conflict, Class::Unavailable, Class::Ambiguous] {
        for policy in ["Wait", "PauseItems"] {
            let spec = json!({"deletionPolicy": "Retain", "updatePolicy": policy});
            let mut world = World::in_sync(spec_with(spec), Rules::default());
            let (plan_id, before) = (world.plan_id(), world.items(world.plan_id()));
            world.delete();
            for _ in 0..250 {
                if world.released.is_none() {
                    let mut refuse = |step: &Step| match step {
                        Step::UpdatePlan { .. } => Fate::refused(class),
                        _ => Fate::Normal,
                    };
                    world.faulty_steps(&mut refuse, Crash::Never);
                }
            }
            let left = world.released.clone().unwrap_or_else(|| panic!("{class:?} {policy}: the object stays"));
            assert!(left.unwrap().contains("kept with its owner mark"), "{class:?} {policy}");
            assert_eq!(world.items(plan_id), before, "{class:?} {policy}");
        }
    }
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

/// A plan with a running item, so many reconciles after its adoption began: paused for the update that marks it.
fn half_adopted(reconciles: usize) -> (World, i64) {
    let mut world = World::new(spec_with(json!({})), Rules::default());
    let (plan_id, _) = world.console_plan(Some("by hand"), &[mapping("orders", "orders", "")]);
    world.edit(json!({"planId": plan_id.to_string()}));
    for _ in 0..reconciles {
        world.pass();
    }
    (world, plan_id)
}

#[test]
fn deletion_during_adoption_leaves_no_item_stopped() {
    for policy in ["Retain", "Delete"] {
        for reconciles in 1..8 {
            let (mut world, plan_id) = half_adopted(reconciles);
            world.edit(json!({ "deletionPolicy": policy }));
            world.delete();
            world.converge(60);
            world.advance(60_000);
            let stopped = world.items(plan_id).values().any(|it| *it != ItemStatus::Running);
            assert!(!stopped, "{policy} after {reconciles} reconciles: {:?}", world.released);
        }
    }
}

#[test]
fn retain_during_pause_leaves_no_item_stopped() {
    for reconciles in 1..8 {
        let spec = spec_with(json!({"deletionPolicy": "Retain"}));
        let mut world = World::in_sync(spec, Rules { delay_ms: 7_000, ..Rules::default() });
        let plan_id = world.plan_id();
        world.edit(json!({"planDesc": "Other"}));
        for _ in 0..reconciles {
            world.pass();
        }
        world.delete();
        world.converge(60);
        world.advance(60_000);
        let stopped = world.items(plan_id).values().any(|it| *it != ItemStatus::Running);
        assert!(!stopped, "after {reconciles} reconciles: {:?}", world.released);
    }
}
