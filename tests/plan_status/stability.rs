//! Status that does not change without a cause: transition times, writes, and repeated reconciles.

use disaster_recovery_operator::api::RECONCILE_ANNOTATION;
use disaster_recovery_operator::api::condition::{condition_type, synced};
use disaster_recovery_operator::api::plan::DisasterRecoveryPlanStatus;
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::controller::conditions::{self, ConditionState};
use disaster_recovery_operator::simulator::model::{ItemStatus, Rules};
use serde_json::json;

use super::situations::{first_item, lag, steady};
use test_support::driver::plan::*;
use test_support::table::Table;

#[test]
fn transition_times_stay_while_status_stays() {
    let mut world = steady(json!({"recoveryPointObjective": "1m"}), Rules::default());
    let time = |status: &DisasterRecoveryPlanStatus, kind| {
        conditions::find(&status.head.conditions, kind).unwrap().last_transition_time.clone()
    };
    let before = world.status.clone();
    world.observe_for(600_000);
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

/// The status as JSON, without the IDs of failed requests: they differ in every reconcile.
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
        ("immutable", |world| world.edit(json!({"planType": "ACTIVE_ACTIVE"}))),
        ("unreadable", |world| {
            world.fail_checkpoints(Some(Class::Unavailable));
            world.observe_for(300_000);
        }),
        ("secret", |world| world.set_password(None)),
        ("observe", |world| world.edit(json!({"managementPolicy": "Observe"}))),
        ("lag", |world| lag(world, 3_600_000)),
        ("theirs", |world| {
            let id = world.plan_id();
            world.model().edit_plan(id, &json!({"planDesc": THEIRS}), world.now()).unwrap();
        }),
    ];
    let mut cells = Table::default();
    for (name, situation) in table {
        let mut world = steady(json!({}), Rules::default());
        situation(&mut world);
        world.pace = 0;
        world.pass();
        world.pass();
        let before = without_request_ids(&world);
        let events = world.pass().events;
        let found = without_request_ids(&world);
        cells.cell(name, &(before, vec![]), &(found, events));
    }
    cells.check();
}

#[test]
fn reconcile_request_is_echoed_without_observation() {
    let mut world = steady(json!({}), Rules::default());
    world.annotate(RECONCILE_ANNOTATION, "2025-03-01T00:00:00Z");
    world.pass();
    assert_eq!(world.status.head.last_handled_reconcile_at, world.annotation(RECONCILE_ANNOTATION).cloned());
    let failed = ConditionState::unknown(synced::CLOUD_UNAVAILABLE, "down");
    world.annotate(RECONCILE_ANNOTATION, "2025-03-02T00:00:00Z");
    world.status = world.scope(|scope| scope.unobserved(&failed, false));
    assert_eq!(world.status.head.last_handled_reconcile_at, world.annotation(RECONCILE_ANNOTATION).cloned());
}
