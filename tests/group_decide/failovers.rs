//! The start of a failover, its steps, and its record afterwards.

use disaster_recovery_operator::api::disk_replica_group::{Direction, OperationType, Phase, Site, StepName};
use disaster_recovery_operator::controller::disk_replica_group::decide::Verdict;
use disaster_recovery_operator::controller::disk_replica_group::observe::Lookup;
use disaster_recovery_operator::simulator::model::ebs::DiskRules;
use serde_json::{Value, json};

use super::by_status::{knowing, seen};
use super::lifecycles::{there, until};
use test_support::driver::faults::Fate;
use test_support::driver::group::*;
use test_support::driver::words;
use test_support::driver::world::T0;

#[test]
fn planned_failover_needs_fresh_recovery_point_of_direction() {
    let point = |age: i64| json!(T0 / 1000 - age);
    let refused = "!FailoverRefused";
    for (what, shown, mode, outdated, expected) in [
        ("unknown", Value::Null, "Planned", None, refused),
        ("none", json!(0), "Planned", None, refused),
        ("none", json!(0), "Forced", None, refused),
        ("too old", point(901), "Planned", None, refused),
        ("too old", point(901), "Forced", None, "Failover:FailingOver"),
        ("just fresh", point(900), "Planned", None, "Stop:FailingOver"),
        ("of before the last failover", point(60), "Planned", Some(point(60)), refused),
        ("of before the last failover", point(60), "Forced", Some(point(60)), refused),
        ("newer than the last failover", point(60), "Planned", Some(point(61)), "Stop:FailingOver"),
    ] {
        let patch = json!({"activeSite": "Destination", "failover": {"mode": mode}});
        let mut world = knowing(Direction::Forward, patch);
        world.status.outdated_recovery_point =
            outdated.map(|at: Value| jiff::Timestamp::from_second(at.as_i64().unwrap()).unwrap());
        let mut seen = seen("normal", Direction::Forward);
        let Lookup::Found(group) = &mut seen.group else { panic!() };
        group.last_recover_point = shown.as_i64();
        let decision = world.decide_on(&seen);
        assert_eq!(words::decision(&decision), expected, "{what} {mode}");
    }
}

#[test]
fn never_synchronized_pair_refuses_failover() {
    for mode in ["Planned", "Forced"] {
        let patch = json!({"activeSite": "Destination", "failover": {"mode": mode}});
        let mut seen = seen("normal", Direction::Forward);
        seen.pairs[0].status = "created".to_owned().into();
        assert_eq!(words::decision(&knowing(Direction::Forward, patch).decide_on(&seen)), "!FailoverRefused");
    }
}

#[test]
fn planned_failover_waits_for_refused_synchronization() {
    let mut world = World::in_sync(json!({}));
    world.want(there());
    until(&mut world, "OneShot:FailingOver");
    // Attached disks refuse the synchronization for a while.
    world = World::in_sync(json!({}));
    world.attach("d-data-d", true);
    world.want(there());
    for _ in 0..60 {
        let found = world.pass().summary();
        assert!(!found.starts_with("Failover:"), "it was never synchronized");
    }
    world.attach("d-data-d", false);
    until(&mut world, "Failover:FailingOver");
}

#[test]
fn long_last_synchronization_is_not_repeated() {
    let mut world = World::in_sync(json!({}));
    world.want(there());
    until(&mut world, "Stop:FailingOver");
    // Longer than the effect of a call takes to become visible.
    world.disks(|disks, _| disks.rules.delay_ms = 3 * 120_000);
    until(&mut world, "OneShot:FailingOver");
    loop {
        let found = world.pass().summary();
        assert!(!found.starts_with("OneShot"), "a second synchronization");
        if found == "Failover:FailingOver" {
            break;
        }
    }
}

#[test]
fn external_start_is_stopped_and_synchronized_again() {
    let mut world = World::in_sync(json!({}));
    world.want(there());
    until(&mut world, "OneShot:FailingOver");
    world.console(json!({"status": "normal"}));
    assert_eq!(world.pass().summary(), "Stop:FailingOver");
    until(&mut world, "OneShot:FailingOver");
}

#[test]
fn forced_failover_works_without_production_region() {
    let mut world = World::in_sync(json!({}));
    world.lose(&[SOURCE]);
    world.want(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
    assert_eq!(world.pass().summary(), "Failover:FailingOver");
    world.pass();
    assert_eq!(world.status.active_site, Some(Site::Destination));
    assert_eq!(
        (world.status.operations[0].r#type, world.status.operations[0].phase),
        (OperationType::Failover, Phase::Succeeded)
    );
    // A planned one becomes a forced one.
    let mut world = World::in_sync(json!({}));
    world.want(there());
    world.pass();
    world.lose(&[SOURCE]);
    world.want(json!({"failover": {"mode": "Forced"}}));
    assert_eq!(world.pass().summary(), "Failover:FailingOver");
}

#[test]
fn failover_records_data_loss_and_duration() {
    let mut world = World::in_sync_with(json!({}), DiskRules { delay_ms: 10_000, ..DiskRules::default() });
    world.freeze();
    world.advance(300_000);
    let point = world.group().last_recover_point.unwrap() / 1000;
    let began = world.now() / 1000;
    world.want(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
    world.pass();
    until(&mut world, "!ReprotectWaits");
    let failover = &world.status.failovers[0];
    assert_eq!(failover.recovery_point.unwrap().as_second(), point);
    assert_eq!(failover.recovery_point_age_seconds, Some(began - point));
    assert_eq!(failover.recovery_time_seconds, Some(10));
    assert_eq!((failover.expected_loss_seconds, failover.loss_seconds), (Some(900), Some(began - point)));
    let steps: Vec<_> = failover.steps.iter().map(|it| (it.name, it.completed_at.is_some())).collect();
    assert_eq!(steps, [(StepName::Failover, true)]);
}

#[test]
fn status_keeps_last_ten_operations() {
    let mut world = World::in_sync_with(json!({}), DiskRules { one_shot_interval_ms: 0, ..DiskRules::default() });
    for round in 0..7 {
        world.want(json!({"activeSite": if round % 2 == 0 { "Destination" } else { "Source" }}));
        until(&mut world, "ok");
        world.advance(20_000);
        world.pass();
    }
    let operations = &world.status.operations;
    assert_eq!(operations.iter().map(|it| it.number).collect::<Vec<_>>(), (5..=14).rev().collect::<Vec<_>>());
    assert!(operations.iter().all(|it| it.phase == Phase::Succeeded), "{operations:#?}");
    let steps: Vec<_> = operations[1].steps.iter().map(|it| it.name).collect();
    assert_eq!(steps, [StepName::Stop, StepName::Synchronize, StepName::Failover]);
}

#[test]
fn observe_mode_decides_no_step() {
    for direction in [Direction::Forward, Direction::Reverse] {
        for status in super::by_status::statuses() {
            let other = json!({"activeSite": direction.standby().as_str(), "failover": {"mode": "Forced"}});
            for patch in [json!({}), other, json!({"replication": "Stopped"})] {
                let mut world = knowing(direction, patch);
                world.want(json!({"managementPolicy": "Observe", "drill": {"schedule": "* * * * *"}}));
                let decision = world.decide_on(&seen(&status, direction));
                assert!(decision.steps.is_empty(), "{status}");
                let failed = ["invalid", "create_failed", "failover_failed", "reprotect_failed", "delete_failed"];
                match &decision.verdict {
                    Verdict::InSync => assert!(!failed.contains(&status.as_str()), "{status}"),
                    Verdict::Refused { reason, .. } => {
                        assert!(*reason == "GroupFailed" && failed.contains(&status.as_str()), "{status}");
                    }
                    other => panic!("{status}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn retained_group_restarts_after_planned_stop() {
    let mut world = World::in_sync(json!({"deletionPolicy": "Retain"}));
    world.want(there());
    assert_eq!(world.pass().summary(), "Stop:FailingOver");
    world.delete();
    let found: Vec<_> = (0..2).map(|_| world.pass().summary()).collect();
    assert_eq!(found, ["Start:Deleting", "kept"]);
    // A group that the spec stops, or that is failed over, stays as it is.
    for patch in [json!({"replication": "Stopped"}), json!({"activeSite": "Destination", "reprotect": "Manual"})] {
        let mut world = World::in_sync(json!({"deletionPolicy": "Retain"}));
        world.want(patch.clone());
        until(&mut world, "ok");
        world.delete();
        assert_eq!(world.pass().summary(), "kept", "{patch}");
    }
}

#[test]
fn failed_over_group_is_reversed_before_deletion() {
    let mut world = World::in_sync(json!({"reprotect": "Manual"}));
    world.want(there());
    until(&mut world, "ok");
    world.delete();
    assert_eq!(world.pass().summary(), "!DeletionBlocked");
    world.want(json!({"reprotect": "Automatic"}));
    let mut found = vec![];
    while world.released.is_none() && found.len() < 60 {
        found.push(world.pass().summary());
    }
    assert_eq!(found[..3], ["Reverse:Deleting", "RemovePair:Deleting", "DeletePair+Delete:Deleting"]);
    assert!(world.released.is_some());
    assert!(world.inspect().groups.is_empty() && world.inspect().pairs.is_empty());
}

#[test]
fn external_cancel_is_not_taken_for_lost_reversal() {
    let mut world = World::in_sync(json!({}));
    world.want(there());
    for _ in 0..20 {
        let reverses = words::decision(&world.decide()).starts_with("Reverse");
        world.pass_with(if reverses { Fate::LOST } else { Fate::Normal });
        if reverses {
            break;
        }
    }
    world.console_reprotect(false);
    let found: Vec<_> = (0..60).map(|_| world.pass().summary()).collect();
    assert!(
        found.iter().all(|it| !it.starts_with("Start")),
        "nothing is started in a direction that is not known: {found:?}"
    );
    assert_eq!(found.last().map(String::as_str), Some("!Drifted"), "{found:?}");
    assert_eq!((world.status.direction, world.status.active_site), (Some(Direction::Forward), Some(Site::Source)));
    assert_eq!(world.status.operations[0].phase, Phase::Cancelled);
}

#[test]
fn failover_after_cancel_waits_for_synchronization() {
    let mut world = World::in_sync(json!({}));
    world.want(json!({"activeSite": "Destination", "reprotect": "Manual"}));
    until(&mut world, "ok");
    // The application runs at the destination: its disks are attached, and replication to them cannot be started.
    world.attach("d-data-d", true);
    world.want(json!({"activeSite": "Source", "failover": {"mode": "Cancel"}}));
    until(&mut world, "Start:Cancelling");
    world.want(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
    for _ in 0..20 {
        assert_eq!(world.pass().summary(), "Start:Cancelling", "the disks there are not as they were replicated");
    }
    world.attach("d-data-d", false);
    until(&mut world, "ok");
    assert_eq!(world.status.active_site, Some(Site::Destination));
    let kinds: Vec<_> = world.status.operations.iter().map(|it| (it.r#type, it.phase)).collect();
    let ended = [(OperationType::Failover, Phase::Succeeded), (OperationType::Cancel, Phase::Succeeded)];
    assert_eq!(kinds[..2], ended, "{kinds:?}");
}

#[test]
fn next_failover_synchronizes_again_after_cancel() {
    let slow = DiskRules { delay_ms: 10_000, one_shot_interval_ms: 0, ..DiskRules::default() };
    let mut world = World::in_sync_with(json!({}), slow);
    world.want(there());
    until(&mut world, "OneShot:FailingOver");
    world.want(json!({"activeSite": "Source"}));
    assert_eq!(world.pass().summary(), "wait:Updating");
    world.advance(450_000);
    world.want(there());
    let found: Vec<_> = (0..60).map(|_| world.pass().summary()).take_while(|it| !it.starts_with("Failover:")).collect();
    assert!(found.iter().any(|it| it.starts_with("OneShot:")), "it was synchronized for this failover too: {found:?}");
}
