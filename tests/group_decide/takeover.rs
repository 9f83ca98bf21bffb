//! A group of disks that an operator process with another lease served.

use std::time::Duration;

use serde_json::json;

use test_support::driver::group::*;

#[test]
fn taken_over_group_is_changed_after_the_wait() {
    let mut world = World::in_sync(json!({}));
    world.delete();
    world.restart_with("operator/second");
    for wait_s in [0, 60, 59] {
        world.wait(Duration::from_secs(wait_s));
        world.reconcile_at_start();
        assert!(world.simulator.requests().is_empty(), "{:?}", world.simulator.requests());
        assert_eq!(world.status.head.former_lease.as_deref(), Some("operator/first"));
        assert_eq!(world.condition("Synced"), "False/DeletionBlocked");
        for condition in ["Protected", "FailoverReady"] {
            assert!(!world.condition(condition).starts_with("True"), "{condition}: {}", world.condition(condition));
        }
    }
    world.wait(Duration::from_secs(2));
    world.reconcile_at_start();
    assert!(world.simulator.requests().iter().any(|it| it.changing), "the deletion begins");
    assert_eq!(world.status.head.former_lease, None);
}
