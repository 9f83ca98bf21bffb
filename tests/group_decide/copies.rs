//! No sequence opens a disk that does not hold the data, or copies one over the only good copy without consent.

use disaster_recovery_operator::api::DIRECTION_ANNOTATION;
use disaster_recovery_operator::api::disk_replica_group::{Direction, Phase, Site, StepName};
use disaster_recovery_operator::simulator::model::ebs::{DiskRules, ReplicaStatus};
use serde_json::json;

use super::lifecycles::{console_group, message, there, until};
use test_support::driver::faults::Fate;
use test_support::driver::group::*;

/// A group that another pair joined while it replicated, after a forced failover that gave the pair up, and its reversal.
fn reversed_without_logs() -> World {
    let mut world = World::in_sync(json!({}));
    world.want(json!({"pairs": [pair("data"), pair("logs")]}));
    world.pass();
    world.want(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
    assert_eq!(world.pass().summary(), "!FailoverRefused");
    assert!(message(&world).contains("logs (not in the group)"), "{}", message(&world));
    world.want(json!({"activeSite": "Destination", "failover": {"mode": "Forced", "leaveBehind": ["logs"]}}));
    until(&mut world, "!ReprotectWaits");
    assert_eq!(world.status.active_site, Some(Site::Destination));
    world.consent();
    until(&mut world, "!CopyRefused");
    world
}

#[test]
fn never_copied_pair_is_not_created_in_reverse() {
    let mut world = reversed_without_logs();
    world.want(json!({"replication": "Stopped"}));
    world.converge(20);
    world.want(json!({"replication": "Running"}));
    for _ in 0..20 {
        let passed = world.pass();
        assert!(!passed.summary().contains("CreatePair"), "{}", passed.summary());
    }
    assert_eq!(world.condition("Synced"), "False/CopyRefused");
    assert!(message(&world).contains("logs"), "{}", message(&world));
    assert_eq!(world.group().status, ReplicaStatus::Normal, "the other pair is replicated");
    assert_eq!(world.inspect().pairs.len(), 1);
    // The way out: without the pair nothing is refused.
    world.want(json!({"pairs": [pair("data")]}));
    until(&mut world, "ok");
}

#[test]
fn stale_side_is_not_opened_after_reversal() {
    for early in [false, true] {
        let rules = DiskRules { failover_before_first_copy: early, ..DiskRules::default() };
        let mut world = World::in_sync_with(json!({}), rules);
        // The former site's disks are attached: replication is reversed, and cannot be started.
        world.attach("d-data-s", true);
        world.want(there());
        until(&mut world, "Failover:FailingOver");
        world.attach("d-data-s", false);
        until(&mut world, "Reverse:Reprotecting");
        world.attach("d-data-s", true);
        world.pass();
        assert_eq!(world.status.direction, Some(Direction::Reverse));
        world.want(json!({"activeSite": "Source", "failover": {"mode": "Forced"}}));
        for _ in 0..10 {
            let passed = world.pass();
            assert!(!passed.summary().contains("Failover:"), "{}", passed.summary());
        }
        let preview = world.status.failover_preview.clone().unwrap();
        assert!(!preview.forced.possible && !preview.planned.possible, "{preview:#?}");
        assert_eq!(world.status.active_site, Some(Site::Destination));
        // Once every pair completed a synchronization, it begins.
        world.attach("d-data-s", false);
        until(&mut world, "Failover:FailingOver");
    }
}

#[test]
fn forced_failover_waits_for_consent_to_overwrite() {
    let mut world = World::in_sync(json!({}));
    world.attach("d-data-s", true);
    // In the request that begins the failover the consent has no effect.
    world.request(json!({"activeSite": "Destination", "failover": {"mode": "Forced", "overwrite": "Source"}}));
    world.consented.clear();
    until(&mut world, "!ReprotectWaits");
    world.attach("d-data-s", false);
    for _ in 0..20 {
        assert_eq!(world.pass().summary(), "!ReprotectWaits");
    }
    assert_eq!(world.condition("Protected"), "False/ReplicationStopped");
    let text = message(&world);
    assert!(text.contains("failover.overwrite: Source"), "{text}");
    world.consent();
    until(&mut world, "ok");
    assert_eq!(world.status.direction, Some(Direction::Reverse));
}

#[test]
fn consent_for_other_site_reverses_nothing() {
    let mut world = World::in_sync(json!({}));
    world.want(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
    until(&mut world, "!ReprotectWaits");
    world.request(json!({"activeSite": "Destination", "failover": {"overwrite": "Destination"}}));
    world.consented.clear();
    for _ in 0..5 {
        assert_eq!(world.pass().summary(), "!ReprotectWaits");
    }
}

#[test]
fn first_copy_of_added_pair_is_not_protected() {
    let rules = DiskRules { initial_sync_ms: Some(600_000), ..DiskRules::default() };
    let mut world = World::in_sync_with(json!({}), rules);
    world.advance(700_000);
    world.pass();
    assert_eq!(world.condition("Protected"), "True/WithinObjective");
    // The documented way: stop, add, start.
    world.want(json!({"pairs": [pair("data"), pair("logs")], "replication": "Stopped"}));
    world.converge(30);
    world.want(json!({"replication": "Running"}));
    for _ in 0..10 {
        world.pass();
        assert!(!world.condition("Protected").starts_with("True"), "{}", world.condition("Protected"));
        assert!(!world.condition("FailoverReady").starts_with("True"), "{}", world.condition("FailoverReady"));
        let preview = world.status.failover_preview.clone().unwrap();
        assert!(!preview.forced.possible, "{preview:#?}");
    }
    world.advance(700_000);
    world.pass();
    world.pass();
    assert_eq!(world.condition("Protected"), "True/WithinObjective");
    assert_eq!(world.condition("FailoverReady"), "True/Possible");
}

#[test]
fn recovery_point_of_cycle_is_no_last_synchronization() {
    let rules = DiskRules { point_delay_ms: 30_000, ..DiskRules::default() };
    let mut world = World::in_sync_with(json!({}), rules);
    world.want(there());
    until(&mut world, "Stop:FailingOver");
    // The API refuses the synchronization, and a point appears that a cycle had begun.
    for _ in 0..10 {
        let refused = Fate::Fault(disaster_recovery_operator::simulator::FaultKind::refusal(
            403,
            "OperationDenied.ManualSyncLimit",
        ));
        let passed = world.pass_with(refused);
        assert!(!passed.summary().contains("Failover:"), "{}", passed.summary());
    }
    let synchronized = world.status.operations[0].steps.iter().find(|it| it.name == StepName::Synchronize);
    assert!(synchronized.is_some_and(|it| it.completed_at.is_none()), "{synchronized:?}");
    until(&mut world, "Failover:FailingOver");
}

#[test]
fn backup_from_before_switch_is_drift() {
    let mut world = World::in_sync(json!({}));
    let backup = world.object.clone();
    world.want(there());
    until(&mut world, "ok");
    world.object = backup;
    world.status = Default::default();
    assert_eq!(world.annotation(DIRECTION_ANNOTATION).map(String::as_str), Some("Forward"));
    for _ in 0..5 {
        let passed = world.pass();
        assert_eq!((passed.summary().as_str(), passed.calls.len()), ("!Drifted", 0));
    }
    assert_eq!(world.condition("Protected"), "Unknown/Unknown");
    assert_eq!(world.condition("FailoverReady"), "Unknown/Unknown");
    // The remedy that the message names.
    assert!(message(&world).contains(DIRECTION_ANNOTATION), "{}", message(&world));
    world.object.metadata.annotations.as_mut().unwrap().remove(DIRECTION_ANNOTATION);
    until(&mut world, "ok");
    assert_eq!((world.status.direction, world.status.active_site), (Some(Direction::Reverse), Some(Site::Destination)));
}

#[test]
fn adopted_failed_over_group_is_observed() {
    let mut world = World::new(spec_with(json!({})), DiskRules::default());
    let id = console_group(&mut world);
    world.console_failover();
    world.want(json!({"replicaGroupId": id}));
    for _ in 0..10 {
        let passed = world.pass();
        assert_eq!((passed.summary().as_str(), passed.calls.len()), ("!ReprotectWaits", 0));
    }
    assert_eq!((world.status.active_site, world.status.direction), (Some(Site::Destination), Some(Direction::Forward)));
    assert_eq!(world.status.operations, vec![]);
    world.consent();
    until(&mut world, "ok");
}

#[test]
fn planned_failover_loses_nothing() {
    let mut world = World::in_sync(json!({}));
    let requested = world.now();
    world.want(there());
    until(&mut world, "ok");
    let failover = &world.status.failovers[0];
    assert_eq!(
        (failover.phase, failover.loss_seconds, failover.expected_loss_seconds),
        (Phase::Succeeded, Some(0), Some(0))
    );
    assert_eq!(failover.requested_at.unwrap().as_millisecond(), requested);
    assert!(failover.message.contains("nothing was lost"), "{}", failover.message);
}

#[test]
fn recovery_time_counts_from_request() {
    let mut world = World::in_sync(json!({}));
    world.want(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
    world.advance(120_000);
    until(&mut world, "!ReprotectWaits");
    let seconds = world.status.failovers[0].recovery_time_seconds.unwrap();
    assert!((120..140).contains(&seconds), "{seconds}");
}

#[test]
fn second_planned_failover_waits_before_stop() {
    let mut world = World::in_sync(json!({}));
    world.want(there());
    until(&mut world, "ok");
    world.advance(30_000);
    world.pass();
    world.want(json!({"activeSite": "Source"}));
    let passed = world.pass();
    assert_eq!((passed.summary().as_str(), passed.calls.len()), ("!FailoverRefused", 0));
    assert!(message(&world).contains("half the objective"), "{}", message(&world));
    assert_eq!(world.condition("FailoverReady"), "False/Refused");
    world.advance(450_000);
    assert_eq!(world.pass().summary(), "Stop:FailingOver");
}

#[test]
fn console_reversal_is_not_started_without_consent() {
    let mut world = World::in_sync(json!({}));
    world.console_failover();
    world.console_reprotect(true);
    world.advance(world.window_ms());
    world.pass();
    world.advance(world.window_ms());
    for _ in 0..10 {
        let passed = world.pass();
        assert_eq!((passed.summary().as_str(), passed.calls.len()), ("!ReprotectWaits", 0));
    }
    world.consent();
    until(&mut world, "ok");
    assert_eq!(world.status.direction, Some(Direction::Reverse));
}

#[test]
fn steady_group_keeps_its_preview() {
    let mut world = World::in_sync(json!({}));
    let before = world.status.failover_preview.clone();
    assert_eq!(before.as_ref().and_then(|it| it.forced.expected_loss_seconds), Some(900));
    assert_eq!(before.as_ref().map(|it| (it.planned.possible, it.planned.calls.len())), Some((true, 3)));
    for _ in 0..100 {
        world.pass();
        assert_eq!(world.status.failover_preview, before);
    }
}

#[test]
fn lost_cloud_ends_preview_with_evidence() {
    let mut world = World::in_sync(json!({}));
    world.lose(&[SOURCE, DESTINATION]);
    world.advance(400_000);
    assert!(world.faulty_pass(vec![], Crash::Never).is_err());
    assert_eq!(world.condition("FailoverReady"), "Unknown/Unknown");
    assert_eq!(world.status.failover_preview, None);
}

#[test]
fn old_consent_reverses_no_external_failover() {
    let mut world = World::in_sync(json!({}));
    world.want(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
    until(&mut world, "!ReprotectWaits");
    world.attach("d-data-s", true);
    world.consent();
    world.consented.clear();
    world.pass();
    assert_eq!(world.condition("Synced"), "False/DisksAttached");
    // Another actor goes back, and fails over again later.
    world.console_reprotect(false);
    world.attach("d-data-s", false);
    world.pass();
    let id = world.group_id();
    world.disks(|disks, now| disks.start_group(SOURCE, &id, false, now)).unwrap();
    world.advance(60_000);
    world.pass();
    world.console_failover();
    for _ in 0..10 {
        let passed = world.pass();
        assert!(!passed.summary().contains("Reverse"), "{}", passed.summary());
    }
}

#[test]
fn consent_in_forcing_request_has_no_effect() {
    let mut world = World::in_sync(json!({}));
    world.want(there());
    assert_eq!(world.pass().summary(), "Stop:FailingOver");
    world.request(json!({"activeSite": "Destination", "failover": {"mode": "Forced", "overwrite": "Source"}}));
    world.consented.clear();
    until(&mut world, "!ReprotectWaits");
    for _ in 0..5 {
        assert_eq!(world.pass().summary(), "!ReprotectWaits");
    }
}

#[test]
fn console_failover_during_planned_is_not_lossless() {
    let mut world = World::in_sync_with(json!({}), DiskRules { delay_ms: 20_000, ..DiskRules::default() });
    world.want(there());
    assert_eq!(world.pass().summary(), "Stop:FailingOver");
    world.console_failover();
    until(&mut world, "!ReprotectWaits");
    let failover = &world.status.failovers[0];
    assert_ne!(failover.loss_seconds, Some(0));
    assert_eq!(failover.mode, Some(disaster_recovery_operator::api::disk_replica_group::FailoverMode::Forced));
}

#[test]
fn failed_failover_is_not_ready_for_planned() {
    let mut world = World::in_sync(json!({}));
    world.console(json!({"status": "failover_failed"}));
    world.pass();
    assert_eq!(world.condition("FailoverReady"), "False/Refused");
    let preview = world.status.failover_preview.clone().unwrap();
    assert!(!preview.planned.possible && preview.forced.possible, "{preview:#?}");
    world.want(there());
    for _ in 0..5 {
        let passed = world.pass();
        assert!(passed.calls.is_empty(), "{}", passed.summary());
    }
    world.want(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
    assert_eq!(world.pass().summary(), "Failover:FailingOver");
}

#[test]
fn unobserved_failover_in_reverse_is_drift() {
    let mut world = World::in_sync(json!({"reprotect": "Manual"}));
    world.want(there());
    until(&mut world, "ok");
    // While no reconcile observes the group: reversed, copied back, failed over to the source.
    let id = world.group_id();
    world.console_reprotect(true);
    world.disks(|disks, now| disks.start_group(DESTINATION, &id, false, now)).unwrap();
    world.advance(60_000);
    world.disks(|disks, now| disks.failover_group(SOURCE, &id, now)).unwrap();
    world.advance(1);
    for _ in 0..5 {
        let passed = world.pass();
        assert_eq!((passed.summary().as_str(), passed.calls.len()), ("!Drifted", 0));
    }
    assert_eq!(world.condition("Protected"), "Unknown/Unknown");
}

#[test]
fn slow_last_synchronization_counts_when_answer_was_lost() {
    let rules = DiskRules { delay_ms: 300_000, ..DiskRules::default() };
    let mut world = World::in_sync_with(json!({}), rules);
    world.advance(400_000);
    world.pass();
    world.want(there());
    until(&mut world, "wait:FailingOver");
    for _ in 0..200 {
        if world.decide().steps.iter().any(|it| it.action.call().to_string().contains("OneShot")) {
            break;
        }
        world.pass();
    }
    assert_eq!(world.pass_with(Fate::REPLY_LOST).summary(), "OneShot:FailingOver");
    let mut all = vec![];
    for _ in 0..200 {
        let passed = world.pass();
        if passed.summary() == "Failover:FailingOver" {
            return;
        }
        all.push((passed.summary(), world.attempts().len()));
    }
    panic!("never opened: {all:?}");
}

#[test]
fn pair_left_behind_is_a_reported_loss() {
    let world = reversed_without_logs();
    let failover = &world.status.failovers[0];
    assert_eq!((failover.loss_seconds, failover.pairs_left_behind.as_slice()), (None, &["logs".to_owned()][..]));
    assert!(failover.message.contains("logs"), "{}", failover.message);
}

#[test]
fn stale_read_does_not_end_automatic_reversal() {
    let mut world = World::in_sync_with(json!({}), DiskRules { delay_ms: 10_000, ..DiskRules::default() });
    world.want(there());
    until(&mut world, "Failover:FailingOver");
    let before = world.observed_at;
    world.attach("d-data-s", true);
    while world.status.active_site != Some(Site::Destination) {
        world.pass();
    }
    world.pass_in_past(before, vec![], Crash::Never).unwrap();
    world.attach("d-data-s", false);
    until(&mut world, "ok");
    assert_eq!(world.status.direction, Some(Direction::Reverse));
}
