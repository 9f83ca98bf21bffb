//! Adoption of the plan that `spec.planId` names, and plans that the operator leaves alone.

use disaster_recovery_operator::api::SYNC_CHECKPOINTS_ANNOTATION;
use disaster_recovery_operator::api::condition::synced;
use disaster_recovery_operator::controller::plan::decide::{Step, Verdict};
use disaster_recovery_operator::simulator::model::{ItemStatus, Rules};
use serde_json::json;

use super::pauses::updates_while_running;
use test_support::driver::plan::*;

#[test]
fn adoption_leaves_existing_items_untouched() {
    let mut world = World::new(spec_with(json!({})), updates_while_running());
    let foreign = mapping("x", "foreign", "Running");
    let (plan_id, items) = world.console_plan(Some("by hand"), &[mapping("orders", "orders", "Running"), foreign]);
    world.edit(json!({"planId": plan_id.to_string()}));
    let first = world.pass();
    assert_eq!(first.names(), ["UpdatePlan"]);
    let Step::UpdatePlan { plan, .. } = &first.decision.steps[0] else { panic!() };
    // The one update also sends the credentials: the cloud does not show whether it has those of the Secret.
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
    assert_eq!(world.pass().names(), ["UpdatePlan"], "the operator marks a plan before it manages it");
    assert_eq!(world.pass().names(), ["AddItem"]);
    assert_eq!(world.converge(10).decision.verdict, Verdict::InSync);
    assert_eq!(world.plan_id(), plan_id);
}

#[test]
fn name_conflict_leaves_other_plan_alone() {
    let mut world = World::new(spec_with(json!({})), Rules::default());
    let id = world.stranger("orders", Some("theirs"));
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
    let mut world = World::new(spec_with(json!({})), updates_while_running());
    let (plan_id, _) = world.console_plan(None, &[]);
    assert_eq!(world.pass().refusal(), Some(synced::NAME_CONFLICT));
    world.edit(json!({"planId": plan_id.to_string()}));
    assert_eq!(world.converge(10).decision.verdict, Verdict::InSync);
}

#[test]
fn plan_id_ends_name_conflict_after_deletion() {
    // Another actor deleted the plan and created one of the same name. The annotation still has the first one's ID.
    let mut world = World::in_sync(spec_with(json!({})), updates_while_running());
    let id = world.plan_id();
    world.model().remove_plan(id).unwrap();
    let (plan_id, _) = world.console_plan(None, &[]);
    assert_eq!(world.converge(40).refusal(), Some(synced::NAME_CONFLICT));
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
fn observe_mode_takes_no_step() {
    let observe = json!({"managementPolicy": "Observe"});
    // No plan; plans that differ in everything, with no mark, another owner's and the object's own; a requested sync.
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
