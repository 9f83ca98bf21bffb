//! Situations in the lifecycle of a group: there is none, it belongs to another object, it was changed externally.

use disaster_recovery_operator::api::GROUP_ID_ANNOTATION;
use disaster_recovery_operator::api::disk_replica_group::{Direction, OperationType, Site};
use disaster_recovery_operator::controller::disk_replica_group::decide::Verdict;
use disaster_recovery_operator::controller::disk_replica_group::resolve::OWNER_TAG;
use disaster_recovery_operator::simulator::model::ebs::{DiskGroupInput, DiskPairInput, DiskRules, ViolationKind};
use disaster_recovery_operator::simulator::{Fault, FaultKind};
use serde_json::{Value, json};

use super::by_status::seen;
use test_support::driver::faults::Fate;
use test_support::driver::group::*;

pub fn there() -> Value {
    json!({"activeSite": "Destination"})
}

pub fn message(world: &World) -> String {
    match world.decide().verdict {
        Verdict::Refused { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

/// Reconciles until this decision.
pub fn until(world: &mut World, decision: &str) {
    let mut all = vec![];
    for _ in 0..200 {
        let found = world.pass().summary();
        if found == decision {
            return;
        }
        all.push(found);
    }
    panic!("never {decision}: {all:?}");
}

/// A group that was created in the console, which replicates.
pub fn console_group(world: &mut World) -> String {
    let spec = world.object.spec.clone();
    let input = DiskGroupInput {
        source_zone: Some(spec.source.zone_id),
        destination_region: Some(spec.destination.region_id),
        destination_zone: Some(spec.destination.zone_id),
        name: Some("by-hand".into()),
        ..DiskGroupInput::default()
    };
    let id = world.disks(|disks, now| disks.create_group(SOURCE, input, now)).unwrap();
    let pair = DiskPairInput {
        disk: Some("d-data-s".into()),
        source_zone: Some("cn-hangzhou-h".into()),
        destination_disk: Some("d-data-d".into()),
        destination_region: Some(DESTINATION.into()),
        destination_zone: Some("cn-shanghai-b".into()),
        ..Default::default()
    };
    let pair = world.disks(|disks, now| disks.create_pair(SOURCE, pair, now)).unwrap();
    world.advance(1);
    world.disks(|disks, now| disks.add_pair(SOURCE, (&id, &pair), now)).unwrap();
    world.disks(|disks, now| disks.start_group(SOURCE, &id, false, now)).unwrap();
    world.advance(60_000);
    id
}

#[test]
fn missing_group_is_recreated_after_visibility_window() {
    let mut world = World::in_sync(json!({}));
    let id = world.group_id();
    world.drop_group();
    let first = world.pass();
    assert_eq!(first.summary(), "wait:Creating");
    assert!(!first.events.iter().any(|it| it.reason == "GroupGone"), "it may exist");
    let mut gone = 0;
    let created = (1..60).find(|_| {
        let passed = world.pass();
        gone += passed.events.iter().filter(|it| it.reason == "GroupGone").count();
        passed.summary() != "wait:Creating"
    });
    assert_eq!(gone, 1);
    assert_eq!(created, Some(24), "every list of the window must agree");
    assert_ne!(world.group_id(), id);
    assert_eq!(world.annotation(GROUP_ID_ANNOTATION), Some(&world.group_id()));
}

#[test]
fn list_gap_does_not_recreate_group() {
    let mut world = World::in_sync(json!({}));
    let (code, message) = ("NoSuchResource".to_owned(), String::new());
    let kind = FaultKind::Error { status: 404, code, message, pascal_case: true };
    world.simulator.add_fault(Fault::new(kind).of_action("DescribeDiskReplicaGroups"));
    assert_eq!(world.pass().summary(), "wait:Creating");
    for condition in ["Ready", "Protected", "FailoverReady"] {
        assert!(world.condition(condition).starts_with("Unknown/"), "{condition}: {}", world.message(condition));
    }
    assert!(world.message("Synced").contains(&world.group_id()), "{}", world.message("Synced"));
    world.simulator.clear_faults();
    assert!(world.status.missing_since.is_some());
    assert_eq!(world.pass().summary(), "ok");
    assert_eq!(world.status.missing_since, None);
}

#[test]
fn gap_in_pair_list_creates_no_pair() {
    for (patch, rest) in [(json!({}), "ok"), (json!({"replication": "Stopped"}), "ok")] {
        let mut world = World::in_sync(json!({}));
        world.want(patch.clone());
        until(&mut world, rest);
        let before = world.inspect().pairs.len();
        let ids = world.status.pairs.iter().filter_map(|it| it.replica_pair_id.clone()).collect();
        let gap = Fault::new(FaultKind::Gap { ids, counted: false }).of_action("DescribeDiskReplicaPairs");
        world.simulator.add_fault(gap);
        for _ in 0..10 {
            let passed = world.pass();
            assert!(passed.summary().starts_with("wait:") && passed.calls.is_empty(), "{patch} {}", passed.summary());
        }
        world.simulator.clear_faults();
        until(&mut world, rest);
        assert_eq!(world.inspect().pairs.len(), before, "{patch}");
    }
}

/// A group with this object's tag.
fn tagged_group(world: &mut World) -> String {
    let spec = world.object.spec.clone();
    let input = DiskGroupInput {
        source_zone: Some(spec.source.zone_id),
        destination_region: Some(spec.destination.region_id),
        destination_zone: Some(spec.destination.zone_id),
        tags: [(OWNER_TAG.to_owned(), OWNER.to_owned())].into(),
        ..DiskGroupInput::default()
    };
    world.disks(|disks, now| disks.create_group(SOURCE, input, now)).unwrap()
}

#[test]
fn forced_failover_waits_for_gap_only() {
    for counted in [false, true] {
        let mut world = World::in_sync(json!({}));
        let ids = world.status.pairs.iter().filter_map(|it| it.replica_pair_id.clone()).collect();
        let gap = Fault::new(FaultKind::Gap { ids, counted }).of_action("DescribeDiskReplicaPairs");
        world.simulator.add_fault(gap);
        world.pass();
        let condition = world.condition("Protected");
        assert!(condition.starts_with("Unknown/"), "{counted}: {condition} {}", world.message("Protected"));
        // What no list shows is not opened.
        world.want(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
        let calls = |world: &mut World| world.pass().calls.iter().any(|it| it.action == "FailoverDiskReplicaGroup");
        assert!(!(0..3).any(|_| calls(&mut world)), "{counted}");
        world.simulator.clear_faults();
        assert!((0..3).any(|_| calls(&mut world)), "{counted}: {}", world.message("Synced"));
    }
}

#[test]
fn gap_during_deletion_does_not_release_group() {
    for policy in ["Delete", "Retain"] {
        let mut world = World::in_sync(json!({"deletionPolicy": policy}));
        world.delete();
        let ids = vec![world.group_id()];
        let gap = Fault::new(FaultKind::Gap { ids, counted: false }).of_action("DescribeDiskReplicaGroups");
        world.simulator.add_fault(gap.lasting_ms(20_000));
        for _ in 0..3 {
            world.pass();
            assert!(world.released.is_none(), "{policy}");
        }
    }
}

#[test]
fn two_groups_with_one_owner_are_reported() {
    let mut world = World::new(spec_with(json!({})), DiskRules::default());
    let ids = [tagged_group(&mut world), tagged_group(&mut world)];
    world.advance(60_000);
    for deleting in [false, true] {
        if deleting {
            world.delete();
        }
        for _ in 0..3 {
            let passed = world.pass();
            assert_eq!((passed.summary().as_str(), passed.calls.len()), ("!Twin", 0));
        }
        let message = world.message("Synced");
        assert!(ids.iter().all(|id| message.contains(id)), "{message}");
    }
    assert_eq!(world.status.replica_group_id, None);
    // A list without one of them neither binds nor deletes the other.
    for id in &ids {
        let gap = Fault::new(FaultKind::Gap { ids: vec![id.clone()], counted: false });
        world.simulator.add_fault(gap.of_action("DescribeDiskReplicaGroups"));
        for _ in 0..10 {
            let passed = world.pass();
            assert_eq!((passed.summary().as_str(), passed.calls.len()), ("!Twin", 0));
        }
        world.simulator.clear_faults();
    }
    assert_eq!(world.status.replica_group_id, None);
    world.disks(|disks, _| disks.drop_group(&ids[1])).unwrap();
    for _ in 0..60 {
        if world.released.is_none() {
            world.pass();
        }
    }
    assert!(world.released.is_some() && world.inspect().groups.is_empty());
}

#[test]
fn group_is_not_created_while_destination_is_active() {
    // Never created, and the spec names the destination.
    let mut world = World::new(spec_with(there()), DiskRules::default());
    assert_eq!(world.pass().summary(), "!GroupNotFound");
    // Failed over, and gone since: with and without its ID in status, for either site in the spec.
    for known in [true, false] {
        let mut world = World::in_sync(json!({}));
        world.want(there());
        until(&mut world, "ok");
        assert_eq!(world.status.active_site, Some(Site::Destination));
        world.drop_group();
        if !known {
            world.status.replica_group_id = None;
            world.object.metadata.annotations.as_mut().unwrap().clear();
        }
        for site in ["Destination", "Source"] {
            world.want(json!({"activeSite": site}));
            for _ in 0..30 {
                let found = world.pass().summary();
                assert!(found == "!GroupNotFound" || found == "wait:Creating", "{known} {site}: {found}");
            }
        }
        assert!(world.inspect().groups.is_empty());
        let text = message(&world);
        assert!(text.contains("would overwrite the disks in use"), "{text}");
    }
}

#[test]
fn group_named_by_spec_is_never_created() {
    let mut world = World::new(spec_with(json!({"replicaGroupId": "pg-unknown"})), DiskRules::default());
    for _ in 0..4 {
        assert_eq!(world.pass().summary(), "!GroupNotFound");
    }
    // Another one was created before, and is gone.
    let mut world = World::in_sync(json!({}));
    world.want(json!({"replicaGroupId": "pg-unknown"}));
    assert_eq!(world.pass().summary(), "!ImmutableField");
    world.drop_group();
    until(&mut world, "!GroupNotFound");
    for _ in 0..4 {
        assert_eq!(world.pass().summary(), "!GroupNotFound");
    }
}

#[test]
fn lost_answer_to_create_makes_one_group() {
    for fault in [Fate::REPLY_LOST, Fate::LOST, Fate::late(50_000), Fate::processing()] {
        for crash in [Crash::Never, Crash::AfterCalls(1), Crash::BeforeStatus] {
            let mut world = World::new(spec_with(json!({})), DiskRules::default());
            world.faulty_pass(vec![fault.clone(); 16], crash).unwrap();
            world.converge(100);
            world.advance(300_000);
            assert_eq!(world.inspect().groups.len(), 1, "{fault:?} {crash:?}");
        }
    }
}

#[test]
fn group_of_another_object_is_never_changed() {
    for patch in
        [json!({"replication": "Stopped"}), there(), json!({"groupName": "other"}), json!({"pairs": [pair("x")]})]
    {
        let world = World::in_sync(json!({}));
        let id = world.group_id();
        let mut other = world.beside(json!({"replicaGroupId": id}));
        other.object.metadata.name = Some("orders-dc".into());
        other.want(patch);
        for _ in 0..3 {
            assert_eq!(other.pass().summary(), "!OwnedByAnother");
        }
        assert_eq!(other.annotation(GROUP_ID_ANNOTATION), None);
        other.delete();
        assert_eq!(other.pass().summary(), "kept");
        assert_eq!(world.group().status, other.group().status);
    }
}

#[test]
fn adopted_group_stays_and_its_site_is_drift() {
    let mut world = World::new(spec_with(json!({})), DiskRules::default());
    let id = console_group(&mut world);
    world.console_failover();
    world.console_reprotect(true);
    world.disks(|disks, now| disks.start_group(DESTINATION, &id, false, now)).unwrap();
    world.advance(20_000);
    // The console did that.
    world.consented.push(ViolationKind::UnreplicatedWritesOverwritten);
    world.edit(json!({"replicaGroupId": id, "managementPolicy": "Observe", "activeSite": "Source"}));
    assert_eq!(world.pass().summary(), "ok");
    assert_eq!(world.status.head.drift.iter().map(|it| it.field.as_str()).collect::<Vec<_>>(), ["activeSite"]);
    world.want(json!({"managementPolicy": "Manage"}));
    for _ in 0..3 {
        assert_eq!(world.pass().summary(), "!Drifted");
    }
    assert_eq!((world.status.direction, world.status.active_site), (Some(Direction::Reverse), Some(Site::Destination)));
    // Once the spec accepts it, it is in sync; set back then, it is failed back.
    world.want(there());
    assert_eq!(world.converge(5).summary(), "ok");
    assert_eq!(world.status.operations, vec![]);
    world.want(json!({"activeSite": "Source"}));
    assert_eq!(world.pass().summary(), "Stop:FailingOver");
    assert_eq!(world.status.operations[0].r#type, OperationType::Failback);
}

#[test]
fn lost_status_is_restored_by_annotation_or_tag() {
    for annotated in [true, false] {
        let mut world = World::in_sync(json!({}));
        world.want(there());
        until(&mut world, "ok");
        world.status = Default::default();
        if !annotated {
            world.object.metadata.annotations.as_mut().unwrap().clear();
        }
        assert_eq!(world.converge(5).summary(), "ok", "{annotated}");
        assert_eq!(world.status.direction, Some(Direction::Reverse));
        assert_eq!(world.status.active_site, Some(Site::Destination));
    }
}

#[test]
fn external_failover_stays_until_accepted_or_ended() {
    let failed_over = || {
        let mut world = World::in_sync(json!({"activeSite": "Source"}));
        world.console_failover();
        for _ in 0..3 {
            assert_eq!(world.pass().summary(), "!Drifted");
        }
        assert_eq!(
            (world.status.active_site, world.status.head.drift[0].field.as_str()),
            (Some(Site::Destination), "activeSite")
        );
        world
    };
    let mut accepted = failed_over();
    accepted.want(json!({"activeSite": "Destination", "reprotect": "Manual"}));
    assert_eq!(accepted.converge(5).summary(), "ok");
    accepted.want(json!({"activeSite": "Source", "failover": {"mode": "Cancel"}}));
    assert_eq!(accepted.pass().summary(), "Cancel:Cancelling", "the spec asks for it");
    let mut ended = failed_over();
    ended.console_reprotect(false);
    until(&mut ended, "ok");
    assert_eq!((ended.status.operations.len(), ended.status.active_site), (0, Some(Site::Source)));
}

#[test]
fn external_reversal_is_detected_by_zones() {
    let mut world = World::in_sync(json!({"activeSite": "Source"}));
    world.console_failover();
    world.console_reprotect(true);
    assert_eq!(world.pass().summary(), "wait:Updating", "one list may be old");
    world.advance(world.window_ms());
    assert_eq!(world.pass().summary(), "!Drifted");
    assert_eq!((world.status.direction, world.status.active_site), (Some(Direction::Reverse), Some(Site::Destination)));
    assert_eq!(world.pass().summary(), "!Drifted", "and nothing is started");
}

#[test]
fn early_new_source_does_not_confuse_reversal() {
    let mut world = World::in_sync(json!({}));
    world.want(there());
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
