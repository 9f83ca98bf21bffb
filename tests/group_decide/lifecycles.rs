//! Situations in the life of a group: there is none, it is another's, somebody else changed it, a failover may not begin.

use disaster_recovery_operator::api::GROUP_ID_ANNOTATION;
use disaster_recovery_operator::api::disk_replica_group::{Direction, OperationType, Site};
use disaster_recovery_operator::controller::disk_replica_group::decide::Verdict;
use disaster_recovery_operator::controller::disk_replica_group::observe::Lookup;
use disaster_recovery_operator::simulator::model::ebs::{DiskGroupInput, DiskRules};
use serde_json::{Value, json};

use super::acting::Fault;
use super::by_status::seen;
use super::world::*;

pub fn there() -> Value {
    json!({"activeSite": "Destination"})
}

fn message(world: &mut World) -> String {
    match world.decide().verdict {
        Verdict::Refused { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

/// Passes until one is told so.
pub fn until(world: &mut World, told: &str) {
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
    (gone.group, gone.pairs) = (Lookup::Absent(Some(world.group_id())), vec![]);
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
    assert_eq!(world.status.head.drift.iter().map(|it| it.field.as_str()).collect::<Vec<_>>(), ["activeSite"]);
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
        (world.status.active_site, world.status.head.drift[0].field.as_str()),
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
    assert_eq!(world.pass().told(), "wait:Updating", "one list may be old");
    world.advance(i64::try_from(world.window.as_millis()).unwrap());
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
    let decision = world.decide_on(&early);
    assert_eq!(
        (decision.details.lifecycle.direction, decision.details.lifecycle.active),
        (Direction::Forward, Site::Destination)
    );
    assert_eq!(decision.details.lifecycle.running().unwrap().r#type, OperationType::Reprotect);
}
