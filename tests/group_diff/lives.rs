//! Situations in the life of a group: there is none, it is another's, somebody else changed it, a failover may not begin.

use disaster_recovery_operator::api::GROUP_ID_ANNOTATION;
use disaster_recovery_operator::api::disk_replica_group::{
    Direction, DiskReplicaGroup, OperationType, Phase, Site, StepName,
};
use disaster_recovery_operator::controller::disk_replica_group::diff::Verdict;
use disaster_recovery_operator::controller::disk_replica_group::observe::Sight;
use disaster_recovery_operator::controller::kind::Kind;
use disaster_recovery_operator::simulator::model::ebs::{DiskGroupInput, DiskRules};
use serde_json::{Value, json};

use super::acting::Fault;
use super::cells::{knowing, seen};
use super::words;
use super::world::*;

fn there() -> Value {
    json!({"activeSite": "Destination"})
}

fn message(world: &mut World) -> String {
    match world.decide().verdict {
        Verdict::Refused { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

/// Passes until one is told so.
fn until(world: &mut World, told: &str) {
    let mut all = vec![];
    for _ in 0..200 {
        let now = world.pass().told();
        if now == told {
            return;
        }
        all.push(now);
    }
    panic!("never {told}: {all:?}");
}

/// A group that somebody made in the console, which replicates.
fn console_group(world: &mut World) -> String {
    let spec = world.object.spec.clone();
    let input = DiskGroupInput {
        source_zone: Some(spec.source.zone_id),
        destination_region: Some(spec.destination.region_id),
        destination_zone: Some(spec.destination.zone_id),
        name: Some("by-hand".into()),
        ..DiskGroupInput::default()
    };
    let id = world.disks.create_group(SOURCE, input, world.now).unwrap();
    let pair = disaster_recovery_operator::simulator::model::ebs::DiskPairInput {
        disk: Some("d-data-s".into()),
        source_zone: Some("cn-hangzhou-h".into()),
        destination_disk: Some("d-data-d".into()),
        destination_region: Some(DESTINATION.into()),
        destination_zone: Some("cn-shanghai-b".into()),
        ..Default::default()
    };
    let pair = world.disks.create_pair(SOURCE, pair, world.now).unwrap();
    world.advance(1);
    world.disks.add_pair(SOURCE, (&id, &pair), world.now).unwrap();
    world.disks.start_group(SOURCE, &id, false, world.now).unwrap();
    world.advance(60_000);
    id
}

#[test]
fn a_group_that_is_gone_is_made_again_when_a_second_look_agrees() {
    let mut world = World::in_sync(json!({}));
    let id = world.group_id();
    world.disks.drop_group(&id).unwrap();
    let first = world.pass();
    assert_eq!(first.told(), "wait:Creating");
    assert!(first.events.iter().any(|it| it.reason == "GroupGone"));
    assert_eq!(world.pass().told(), "wait:Creating", "one list may be late, and so may the next");
    world.advance(i64::try_from(world.window.as_millis()).unwrap() + 1_000);
    assert_eq!(world.pass().told(), "Create:Creating");
    assert_ne!(world.group_id(), id);
    assert_eq!(world.annotation(GROUP_ID_ANNOTATION), Some(&world.group_id()));
}

#[test]
fn a_group_that_was_missed_only_once_is_not_made_again() {
    let mut world = World::in_sync(json!({}));
    let there = world.last.clone();
    let mut gone = there.unwrap();
    (gone.group, gone.pairs) = (Sight::Absent(Some(world.group_id())), vec![]);
    world.last = Some(gone);
    world.faulty_pass(&mut |_| Fault::None, Crash::Never, true);
    assert!(world.status.missing_since.is_some());
    assert_eq!(world.pass().told(), "ok");
    assert_eq!(world.status.missing_since, None);
}

#[test]
fn no_group_is_made_while_the_destination_is_or_is_to_be_active() {
    // Never made, and the destination is asked for.
    let mut world = World::new(spec_with(there()), DiskRules::default());
    assert_eq!(world.pass().told(), "!GroupNotFound");
    // Failed over, and gone since; whatever is known of its ID, and whatever is asked for then.
    for known in [true, false] {
        let mut world = World::in_sync(json!({}));
        world.edit(there());
        until(&mut world, "ok");
        assert_eq!(world.status.active_site, Some(Site::Destination));
        let id = world.group_id();
        world.disks.drop_group(&id).unwrap();
        if !known {
            world.status.replica_group_id = None;
            world.object.metadata.annotations.as_mut().unwrap().clear();
        }
        for site in ["Destination", "Source"] {
            world.edit(json!({"activeSite": site}));
            for _ in 0..3 {
                let told = world.pass().told();
                assert!(told == "!GroupNotFound" || told == "wait:Creating", "{known} {site}: {told}");
                world.advance(i64::try_from(world.window.as_millis()).unwrap());
            }
        }
        assert!(world.disks.inspect().groups.is_empty());
        let text = message(&mut world);
        assert!(text.contains("would overwrite the disks in use"), "{text}");
    }
}

#[test]
fn a_group_that_the_spec_names_is_never_made() {
    let mut world = World::new(spec_with(json!({"replicaGroupId": "pg-unknown"})), DiskRules::default());
    for _ in 0..4 {
        assert_eq!(world.pass().told(), "!GroupNotFound");
    }
    // Another one was made before, and is gone.
    let mut world = World::in_sync(json!({}));
    world.edit(json!({"replicaGroupId": "pg-unknown"}));
    assert_eq!(world.pass().told(), "!ImmutableField");
    let id = world.group_id();
    world.disks.drop_group(&id).unwrap();
    for _ in 0..4 {
        assert_eq!(world.pass().told(), "!GroupNotFound");
    }
}

#[test]
fn a_lost_answer_to_create_makes_one_group() {
    for fault in [Fault::AnswerLost, Fault::RequestLost, Fault::Delayed(50_000), Fault::Processing] {
        for crash in [Crash::Never, Crash::AfterCalls(1), Crash::BeforeStatus] {
            let mut world = World::new(spec_with(json!({})), DiskRules::default());
            world.faulty_pass(&mut |_| fault, crash, false);
            world.converge(100);
            world.advance(300_000);
            assert_eq!(world.disks.inspect().groups.len(), 1, "{fault:?} {crash:?}");
        }
    }
}

#[test]
fn a_group_with_anothers_tag_is_never_touched() {
    for patch in
        [json!({"replication": "Stopped"}), there(), json!({"groupName": "other"}), json!({"pairs": [pair("x")]})]
    {
        let mut world = World::in_sync(json!({}));
        let id = world.group_id();
        let mut other = World::new(spec_with(json!({"replicaGroupId": id})), DiskRules::default());
        other.object.metadata.name = Some("orders-dc".into());
        other.disks = world.disks.clone();
        other.now = world.now;
        other.edit(patch);
        for _ in 0..3 {
            assert_eq!(other.pass().told(), "!OwnedByAnother");
        }
        assert_eq!(other.annotation(GROUP_ID_ANNOTATION), None);
        other.delete();
        assert_eq!(other.pass().told(), "kept");
        world.disks.advance(world.now);
        assert_eq!(world.group().status, other.group().status);
    }
}

#[test]
fn an_adopted_group_is_taken_as_it_is_and_its_other_site_is_drift() {
    let mut world = World::new(spec_with(json!({})), DiskRules::default());
    let id = console_group(&mut world);
    world.disks.failover_group(DESTINATION, &id, world.now).unwrap();
    world.advance(1);
    world.disks.reprotect_group(DESTINATION, &id, true, world.now).unwrap();
    world.advance(1);
    world.disks.start_group(DESTINATION, &id, false, world.now).unwrap();
    world.advance(20_000);
    world.edit(json!({"replicaGroupId": id, "managementPolicy": "Observe"}));
    assert_eq!(world.pass().told(), "ok");
    assert_eq!(world.status.drift.iter().map(|it| it.field.as_str()).collect::<Vec<_>>(), ["activeSite"]);
    world.edit(json!({"managementPolicy": "Manage"}));
    for _ in 0..3 {
        assert_eq!(world.pass().told(), "!Drifted");
    }
    assert_eq!((world.status.direction, world.status.active_site), (Some(Direction::Reverse), Some(Site::Destination)));
    // Accepted, it is as it is; set back then, it is failed back.
    world.edit(there());
    assert_eq!(world.converge(5).told(), "ok");
    assert_eq!(world.status.operations, vec![]);
    world.edit(json!({"activeSite": "Source"}));
    assert_eq!(world.pass().told(), "Stop:FailingOver");
    assert_eq!(world.status.operations[0].r#type, OperationType::Failback);
}

#[test]
fn status_that_was_lost_is_found_again_by_the_annotation_or_the_tag() {
    for annotated in [true, false] {
        let mut world = World::in_sync(json!({}));
        world.edit(there());
        until(&mut world, "ok");
        world.status = Default::default();
        if !annotated {
            world.object.metadata.annotations.as_mut().unwrap().clear();
        }
        assert_eq!(world.converge(5).told(), "ok", "{annotated}");
        assert_eq!(world.status.direction, Some(Direction::Reverse));
        assert_eq!(world.status.active_site, Some(Site::Destination));
    }
}

#[test]
fn somebody_elses_failover_is_left_alone_until_it_is_accepted_or_ended() {
    let mut world = World::in_sync(json!({}));
    let id = world.group_id();
    world.disks.failover_group(DESTINATION, &id, world.now).unwrap();
    world.advance(1);
    for _ in 0..3 {
        assert_eq!(world.pass().told(), "!Drifted");
    }
    assert_eq!(
        (world.status.active_site, world.status.drift[0].field.as_str()),
        (Some(Site::Destination), "activeSite")
    );
    let mut accepted = world.clone();
    accepted.edit(json!({"activeSite": "Destination", "reprotect": "Manual"}));
    assert_eq!(accepted.converge(5).told(), "ok");
    accepted.edit(json!({"activeSite": "Source"}));
    assert_eq!(accepted.pass().told(), "Cancel:Cancelling", "it was asked for");
    world.disks.reprotect_group(DESTINATION, &id, false, world.now).unwrap();
    until(&mut world, "ok");
    assert_eq!((world.status.operations.len(), world.status.active_site), (0, Some(Site::Source)));
}

#[test]
fn somebody_elses_reversal_is_noticed_by_the_zones() {
    let mut world = World::in_sync(json!({}));
    let id = world.group_id();
    world.disks.failover_group(DESTINATION, &id, world.now).unwrap();
    world.advance(1);
    world.disks.reprotect_group(DESTINATION, &id, true, world.now).unwrap();
    world.advance(1);
    assert_eq!(world.pass().told(), "!Drifted");
    assert_eq!((world.status.direction, world.status.active_site), (Some(Direction::Reverse), Some(Site::Destination)));
    assert_eq!(world.pass().told(), "!Drifted", "and nothing is started");
}

#[test]
fn a_cloud_that_names_the_new_source_early_does_not_confuse_the_reversal() {
    let mut world = World::in_sync(json!({}));
    world.edit(there());
    until(&mut world, "Reverse:Reprotecting");
    let mut early = seen("reprotecting", Direction::Reverse);
    early.pairs.clear();
    let decision = DiskReplicaGroup::decide(&world.subject(), &early);
    assert_eq!((decision.life.direction, decision.life.active), (Direction::Forward, Site::Destination));
    assert_eq!(decision.life.running().unwrap().r#type, OperationType::Reprotect);
}

#[test]
fn a_planned_failover_is_begun_only_with_a_fresh_recovery_point_of_its_direction() {
    let point = |age: i64| json!(T0 / 1000 - age);
    let refused = "!FailoverRefused";
    for (what, shown, mode, outdated, expected) in [
        ("unknown", Value::Null, "Planned", None, refused),
        ("none", json!(0), "Planned", None, refused),
        ("none", json!(0), "Forced", None, "Failover:FailingOver"),
        ("too old", point(901), "Planned", None, refused),
        ("too old", point(901), "Forced", None, "Failover:FailingOver"),
        ("just fresh", point(900), "Planned", None, "Stop:FailingOver"),
        ("of before the last failover", point(60), "Planned", Some(point(60)), refused),
        ("of before the last failover", point(60), "Forced", Some(point(60)), "Failover:FailingOver"),
        ("newer than the last failover", point(60), "Planned", Some(point(61)), "Stop:FailingOver"),
    ] {
        let patch = json!({"activeSite": "Destination", "failover": {"mode": mode}});
        let mut world = knowing(Direction::Forward, patch);
        world.status.outdated_recovery_point =
            outdated.map(|at: Value| jiff::Timestamp::from_second(at.as_i64().unwrap()).unwrap());
        let mut seen = seen("normal", Direction::Forward);
        let Sight::Found(group) = &mut seen.group else { panic!() };
        group.last_recover_point = shown.as_i64();
        let decision = DiskReplicaGroup::decide(&world.subject(), &seen);
        assert_eq!(words::decision(&decision), expected, "{what} {mode}");
    }
}

#[test]
fn a_group_with_a_pair_that_was_never_synchronized_is_not_failed_over() {
    for mode in ["Planned", "Forced"] {
        let patch = json!({"activeSite": "Destination", "failover": {"mode": mode}});
        let mut seen = seen("normal", Direction::Forward);
        seen.pairs[0].status = "created".to_owned().into();
        assert_eq!(
            words::decision(&DiskReplicaGroup::decide(&knowing(Direction::Forward, patch).subject(), &seen)),
            "!FailoverRefused"
        );
    }
}

#[test]
fn a_planned_failover_synchronizes_once_more_however_long_that_is_refused() {
    let mut world = World::in_sync(json!({}));
    world.edit(there());
    until(&mut world, "OneShot:FailingOver");
    // The first one was lost with its request, and all others are refused for a while.
    world = World::in_sync(json!({}));
    world.disks.attach("d-data-d", true);
    world.edit(there());
    for _ in 0..60 {
        let told = world.pass().told();
        assert!(!told.starts_with("Failover:"), "it was never synchronized");
    }
    world.disks.attach("d-data-d", false);
    until(&mut world, "Failover:FailingOver");
}

#[test]
fn a_replication_that_somebody_starts_in_between_is_stopped_and_synchronized_again() {
    let mut world = World::in_sync(json!({}));
    world.edit(there());
    until(&mut world, "OneShot:FailingOver");
    world.console(json!({"status": "normal"}));
    assert_eq!(world.pass().told(), "Stop:FailingOver");
    until(&mut world, "OneShot:FailingOver");
}

#[test]
fn a_forced_failover_goes_while_the_production_region_is_down() {
    let mut world = World::in_sync(json!({}));
    world.down.insert(SOURCE.into());
    world.edit(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
    assert_eq!(world.pass().told(), "Failover:FailingOver");
    world.pass();
    assert_eq!(world.status.active_site, Some(Site::Destination));
    assert_eq!(
        (world.status.operations[1].r#type, world.status.operations[1].phase),
        (OperationType::Failover, Phase::Succeeded)
    );
    // A planned one becomes a forced one.
    let mut world = World::in_sync(json!({}));
    world.edit(there());
    world.pass();
    world.down.insert(SOURCE.into());
    world.edit(json!({"failover": {"mode": "Forced"}}));
    assert_eq!(world.pass().told(), "Failover:FailingOver");
}

#[test]
fn what_a_failover_lost_and_how_long_it_took_is_recorded() {
    let mut world = World::in_sync_with(json!({}), DiskRules { delay_ms: 10_000, ..DiskRules::default() });
    world.disks.freeze(true);
    world.advance(300_000);
    let point = world.group().last_recover_point.unwrap() / 1000;
    let began = world.now / 1000;
    world.edit(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
    world.pass();
    until(&mut world, "Reverse:Reprotecting");
    let failover = &world.status.operations[1];
    assert_eq!(failover.recovery_point.unwrap().as_second(), point);
    assert_eq!(failover.recovery_point_age_seconds, Some(began - point));
    assert_eq!(failover.recovery_time_seconds, Some(10));
    let steps: Vec<_> = failover.steps.iter().map(|it| (it.name, it.completed_at.is_some())).collect();
    assert_eq!(steps, [(StepName::Failover, true)]);
}

#[test]
fn the_last_ten_operations_are_kept() {
    let mut world = World::in_sync_with(json!({}), DiskRules { one_shot_interval_ms: 0, ..DiskRules::default() });
    for round in 0..7 {
        world.edit(json!({"activeSite": if round % 2 == 0 { "Destination" } else { "Source" }}));
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
fn observing_never_proposes_a_step() {
    for direction in [Direction::Forward, Direction::Reverse] {
        for status in super::cells::statuses() {
            let other = json!({"activeSite": direction.standby().as_str(), "failover": {"mode": "Forced"}});
            for patch in [json!({}), other, json!({"replication": "Stopped"})] {
                let mut world = knowing(direction, patch);
                world.edit(json!({"managementPolicy": "Observe", "drill": {"schedule": "* * * * *"}}));
                let decision = DiskReplicaGroup::decide(&world.subject(), &seen(&status, direction));
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
fn retaining_starts_again_what_a_planned_failover_stopped() {
    let mut world = World::in_sync(json!({"deletionPolicy": "Retain"}));
    world.edit(there());
    assert_eq!(world.pass().told(), "Stop:FailingOver");
    world.delete();
    let told: Vec<_> = (0..2).map(|_| world.pass().told()).collect();
    assert_eq!(told, ["Start:Deleting", "kept"]);
    // What is stopped by the spec, or was failed over, stays as it is.
    for patch in [json!({"replication": "Stopped"}), json!({"activeSite": "Destination", "reprotect": "Manual"})] {
        let mut world = World::in_sync(json!({"deletionPolicy": "Retain"}));
        world.edit(patch.clone());
        until(&mut world, "ok");
        world.delete();
        assert_eq!(world.pass().told(), "kept", "{patch}");
    }
}

#[test]
fn a_failed_over_group_is_turned_round_before_it_is_deleted_if_that_is_allowed() {
    let mut world = World::in_sync(json!({"reprotect": "Manual"}));
    world.edit(there());
    until(&mut world, "ok");
    world.delete();
    assert_eq!(world.pass().told(), "!DeletionBlocked");
    world.edit(json!({"reprotect": "Automatic"}));
    let told: Vec<_> = (0..6).map(|_| world.pass().told()).collect();
    assert_eq!(told[..3], ["Reverse:Deleting", "RemovePair:Deleting", "DeletePair+Delete:Deleting"]);
    assert!(world.released.is_some());
    assert!(world.disks.inspect().groups.is_empty() && world.disks.inspect().pairs.is_empty());
}
