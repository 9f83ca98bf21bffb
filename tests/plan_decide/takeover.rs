//! Two operator processes with different leases, and one plan that both select.

use std::time::Duration;

use disaster_recovery_operator::controller::plan::decide::Verdict;
use disaster_recovery_operator::simulator::model::Rules;
use jiff::Timestamp;
use serde_json::json;

use super::first_items;
use test_support::driver::plan::*;

const FIRST: &str = "operator/first";
const SECOND: &str = "operator/second";
/// More than a takeover waits.
const TAKEOVER: Duration = Duration::from_secs(121);

/// A plan in sync, which the first process served, and an edit that nobody carried out.
fn edited() -> World {
    let mut world = World::in_sync(base_spec(), Rules::default());
    assert_eq!(world.status.head.lease.as_deref(), Some(FIRST));
    world.edit(json!({ "planDesc": "edited" }));
    world
}

/// One reconcile that may find another version, and the number of its requests.
fn requests(world: &mut World) -> usize {
    world.fails = true;
    world.reconcile_at_start();
    world.fails = false;
    world.simulator.requests().len()
}

fn leases(world: &World) -> (Option<&str>, Option<&str>) {
    let head = &world.status.head;
    (head.lease.as_deref(), head.former_lease.as_deref())
}

#[test]
fn taken_over_plan_is_changed_after_the_wait() {
    let mut world = edited();
    world.restart_with(SECOND);
    for wait_s in [0, 30, 60, 29] {
        world.wait(Duration::from_secs(wait_s));
        assert_eq!(requests(&mut world), 0, "nothing is read or changed");
        assert_eq!(leases(&world), (Some(SECOND), Some(FIRST)));
        assert_eq!(world.condition("Synced"), "Unknown/TakingOver");
        for condition in ["Ready", "Protected", "OffsetsCovered"] {
            assert!(world.condition(condition).starts_with("Unknown/"), "{condition}: {}", world.condition(condition));
        }
    }
    world.wait(TAKEOVER);
    assert_eq!(world.converge(20).decision.verdict, Verdict::InSync);
    assert_eq!(leases(&world), (Some(SECOND), None));
    assert!(world.our_plan().unwrap().plan_desc.unwrap().starts_with("edited"));
}

#[test]
fn evidence_of_another_lease_is_not_inherited() {
    let mut world = World::in_sync(base_spec(), Rules::default());
    world.observe_for(60_000);
    let renewed = world.timestamp();
    world.restart_with(SECOND);
    world.restart_after(Some(renewed));
    requests(&mut world);
    assert!(world.condition("Ready").starts_with("Unknown/"), "{}", world.condition("Ready"));
    // The same lease hands its evidence on.
    let mut world = World::in_sync(base_spec(), Rules::default());
    world.restart_after(Some(Timestamp::from_millisecond(world.now()).unwrap()));
    requests(&mut world);
    assert!(world.condition("Ready").starts_with("True/"), "{}", world.condition("Ready"));
}

#[test]
fn crash_during_takeover_begins_the_wait_anew() {
    let mut world = edited();
    world.restart_with(SECOND);
    requests(&mut world);
    world.wait(Duration::from_secs(100));
    world.restart();
    for wait_s in [0, 60, 59] {
        world.wait(Duration::from_secs(wait_s));
        assert_eq!(requests(&mut world), 0, "another process sent nothing for {wait_s} s");
    }
    world.wait(Duration::from_secs(2));
    assert_ne!(requests(&mut world), 0);
}

#[test]
fn claim_in_progress_is_not_replaced_at_once() {
    let mut world = edited();
    world.restart_with(SECOND);
    requests(&mut world);
    for _ in 0..5 {
        // The other process does the same.
        world.status.head.lease = Some(FIRST.into());
        world.status.head.former_lease = Some(SECOND.into());
        world.store.take_writes();
        assert_eq!(requests(&mut world), 0);
        assert_eq!(world.store.take_writes(), Vec::<String>::new(), "one claim in the time of a takeover");
        world.wait(Duration::from_secs(20));
    }
    world.wait(TAKEOVER);
    assert_eq!(requests(&mut world), 0);
    assert_eq!(leases(&world), (Some(SECOND), Some(FIRST)), "its calls may not have ended");
}

#[test]
fn lost_answer_to_a_claim_begins_the_wait_anew() {
    let mut world = edited();
    world.restart_with(SECOND);
    requests(&mut world);
    world.wait(TAKEOVER);
    requests(&mut world);
    assert_eq!(leases(&world), (Some(SECOND), None), "one takeover ended");
    world.status.head.lease = Some(FIRST.into());
    world.edit(json!({ "planDesc": "edited again" }));
    world.store.lose_answers(1);
    for wait_s in [0, 60, 59] {
        world.wait(Duration::from_secs(wait_s));
        assert_eq!(requests(&mut world), 0, "after {wait_s} s");
        assert_eq!(leases(&world), (Some(SECOND), Some(FIRST)));
    }
    world.wait(TAKEOVER);
    assert_ne!(requests(&mut world), 0);
}

#[test]
fn suspended_plan_is_taken_over_once() {
    let mut world = World::in_sync(base_spec(), Rules::default());
    world.edit(json!({ "suspend": true }));
    requests(&mut world);
    world.restart_with(SECOND);
    requests(&mut world);
    assert_eq!(leases(&world), (Some(SECOND), Some(FIRST)));
    world.wait(TAKEOVER);
    requests(&mut world);
    assert_eq!(leases(&world), (Some(SECOND), None));
    assert_eq!(world.condition("Synced"), "Unknown/Suspended");
}

#[test]
fn status_of_older_version_is_of_the_first_shard() {
    for (shard, expected) in [("0/2", None), ("1/2", Some("unknown"))] {
        let mut world = edited();
        world.status.head.lease = None;
        world.restart_as(shard);
        let requests = requests(&mut world);
        assert_eq!(world.status.head.former_lease.as_deref(), expected, "{shard}");
        assert_eq!(requests == 0, expected.is_some(), "{shard}: {requests} requests");
    }
    // Nothing served a new object.
    let mut world = World::new(base_spec(), Rules::default());
    world.restart_as("1/2");
    world.pass();
    assert_eq!(world.plans().len(), 1);
}

#[test]
fn old_version_is_not_acted_on() {
    let mut world = edited();
    // Another process takes the plan over, and the watch does not show that yet.
    world.edit_unseen(json!({ "status": { "lease": SECOND, "formerLease": FIRST } }));
    world.fails = true;
    world.reconcile_at_start();
    let changing = world.simulator.requests().iter().filter(|it| it.changing).count();
    assert_eq!(changing, 0, "{:?}", world.simulator.requests());
    assert_eq!(leases(&world), (Some(SECOND), Some(FIRST)), "no write replaces the claim");
}

#[test]
fn claim_beside_creation_keeps_the_id_only() {
    for call in 0..3 {
        let mut world = World::new(first_items::spec(), Rules::default());
        world.edit_beside(call, json!({ "status": { "lease": SECOND, "formerLease": FIRST } }));
        world.fails = true;
        world.reconcile_at_start();
        assert_eq!(world.claimed(), Some(world.plan_id()), "call {call}: the annotation names the plan");
        assert_eq!(leases(&world), (Some(SECOND), Some(FIRST)), "call {call}: no write replaces the claim");
        world.fails = false;
        world.restart_with(SECOND);
        requests(&mut world);
        world.wait(TAKEOVER);
        assert_eq!(world.converge(200).decision.verdict, Verdict::InSync, "call {call}");
        assert_eq!(world.plans().len(), 1, "call {call}");
        assert_eq!(world.our_plan().unwrap().items.len(), 2, "call {call}");
    }
}

#[test]
fn status_without_lease_is_signed_before_a_change() {
    let mut world = edited();
    world.status.head.lease = None;
    world.store.take_writes();
    let passed = world.pass();
    assert_ne!(passed.calls.len(), 0, "an older version served it");
    assert_eq!(leases(&world), (Some(FIRST), None));
    let mut world = edited();
    world.status.head.lease = None;
    // The process ends before its first call: the lease is written.
    world.faulty_pass(vec![], Crash::After(1)).unwrap();
    assert_eq!(leases(&world), (Some(FIRST), None));
}
