//! A crash after every cloud call and every write of every kind of request: nothing is doubled, and the request ends as without
//! the crash.

use disaster_recovery_operator::api::disk_replica_group::{Direction, OperationType, Phase, Site};
use serde_json::json;

use test_support::driver::group::*;

/// A sequence of requests, and its end.
struct Story {
    name: &'static str,
    /// The requests, each after the one before it came to rest, except for the second one of a withdrawal.
    begin: fn(&mut World),
    then: fn(&mut World),
    /// The site and direction at the end, and the operations that succeeded, the newest first.
    end: (Site, Direction, &'static [OperationType]),
}

fn planned(world: &mut World) {
    world.want(json!({"activeSite": "Destination"}));
}

fn forced(world: &mut World) {
    world.want(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
}

fn rest(world: &mut World) {
    for _ in 0..30 {
        world.pass();
    }
}

const STORIES: &[Story] = &[
    Story {
        name: "planned failover",
        begin: planned,
        then: |_| {},
        end: (Site::Destination, Direction::Reverse, &[OperationType::Reprotect, OperationType::Failover]),
    },
    Story {
        name: "forced failover",
        begin: forced,
        then: |_| {},
        end: (Site::Destination, Direction::Forward, &[OperationType::Failover]),
    },
    Story {
        name: "consent to reverse",
        begin: |world| {
            forced(world);
            rest(world);
            world.consent();
        },
        then: |_| {},
        end: (Site::Destination, Direction::Reverse, &[OperationType::Reprotect, OperationType::Failover]),
    },
    Story {
        name: "cancellation",
        begin: |world| {
            forced(world);
            rest(world);
            world.want(json!({"activeSite": "Source", "failover": {"mode": "Cancel"}}));
        },
        then: |_| {},
        end: (Site::Source, Direction::Forward, &[OperationType::Cancel, OperationType::Failover]),
    },
    Story {
        name: "withdrawal",
        begin: |world| {
            planned(world);
            world.pass();
            world.want(json!({"activeSite": "Source"}));
        },
        then: |_| {},
        end: (Site::Source, Direction::Forward, &[]),
    },
    Story {
        name: "expiry",
        begin: |world| {
            world.attach("d-data-d", true);
            world.want(json!({"activeSite": "Destination", "failover": {"validFor": "1m"}}));
            world.pass();
            world.pass();
            world.advance(60_000);
        },
        then: |world| world.attach("d-data-d", false),
        end: (Site::Source, Direction::Forward, &[]),
    },
];

/// Tells a story with a crash in this reconcile after so many deeds. False if the reconcile had fewer.
fn tell(story: &Story, reconcile: usize, deeds: usize) -> bool {
    let mut world = World::in_sync(json!({}));
    (story.begin)(&mut world);
    for _ in 0..reconcile {
        world.pass();
    }
    world.faulty_pass(vec![], Crash::After(deeds)).unwrap();
    let crashed = world.crashed();
    (story.then)(&mut world);
    rest(&mut world);
    let case = format!("{}, crash in reconcile {reconcile} after {deeds}", story.name);
    let succeeded: Vec<_> =
        world.status.operations.iter().filter(|it| it.phase == Phase::Succeeded).map(|it| it.r#type).collect();
    let found = (world.status.active_site.unwrap(), world.status.direction.unwrap(), succeeded.as_slice());
    assert_eq!(found, story.end, "{case}: {:#?}", world.status);
    let running = world.status.operations.iter().any(|it| it.phase == Phase::Running);
    assert!(!running && world.inspect().groups.len() == 1 && world.inspect().pairs.len() == 1, "{case}");
    crashed
}

#[test]
fn crash_anywhere_changes_no_outcome() {
    let mut crashes = 0;
    for story in STORIES {
        for reconcile in 0..7 {
            crashes += (1..8).take_while(|deeds| tell(story, reconcile, *deeds)).count();
        }
    }
    assert!(crashes > 60, "{crashes} crashes");
}
