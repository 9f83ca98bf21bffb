//! The pairs of a group and its fields: what is made, waited for, added, changed and taken out, and when.

use disaster_recovery_operator::api::disk_replica_group::{Direction, Pair};
use disaster_recovery_operator::cloud::ebs::PairView;
use disaster_recovery_operator::controller::disk_replica_group::decide::Verdict;
use disaster_recovery_operator::controller::disk_replica_group::observe::{Lookup, Observed};
use disaster_recovery_operator::controller::disk_replica_group::resolve;
use disaster_recovery_operator::controller::disk_replica_group::resolve::OWNER_TAG;
use disaster_recovery_operator::simulator::model::ebs::DiskRules;
use serde_json::{Value, json};

use super::by_status::{knowing, seen};
use super::words;
use super::world::*;

/// A second pair, of the disks `d-logs-…`, in that status and group.
fn second(status: &str, group: Option<&str>, owner: Option<&str>) -> PairView {
    let tags = owner.map(|owner| json!([{"TagKey": OWNER_TAG, "TagValue": owner}])).unwrap_or(json!([]));
    serde_json::from_value(json!({
        "ReplicaPairId": "pair-2", "Status": status, "ReplicaGroupId": group, "SourceDiskId": "d-logs-s",
        "DestinationDiskId": "d-logs-d", "StatusMessage": if status == "invalid" { "DeviceRemoved" } else { "" },
        "Tags": tags,
    }))
    .unwrap()
}

fn both() -> Value {
    json!({"pairs": [pair("data"), pair("logs")]})
}

fn told(world: &World, seen: &Observed) -> String {
    words::decision(&world.decide_on(seen))
}

#[test]
fn a_pair_that_the_spec_names_is_made_waited_for_and_added_in_every_status_that_it_may_have() {
    let ungrouped = [
        ("absent", "CreatePair(logs):Updating"),
        ("creating", "wait:Updating"),
        ("created", "AddPair:Updating"),
        ("stopped", "AddPair:Updating"),
        ("stopping", "wait:Updating"),
        ("deleting", "wait:Updating"),
        ("create_failed", "!GroupFailed"),
        ("delete_failed", "!GroupFailed"),
        ("invalid", "!GroupFailed"),
        ("normal", "!GroupFailed"),
        ("syncing", "!GroupFailed"),
        ("failovered", "!GroupFailed"),
        ("migrating", "!GroupFailed"),
    ];
    for (status, expected) in ungrouped {
        let mut seen = seen("stopped", Direction::Forward);
        if status != "absent" {
            seen.pairs.push(second(status, None, Some(OWNER)));
        }
        assert_eq!(told(&knowing(Direction::Forward, both()), &seen), expected, "{status}");
    }
    let mut seen = seen("stopped", Direction::Forward);
    seen.pairs.push(second("stopped", Some("pg-1"), Some(OWNER)));
    assert_eq!(told(&knowing(Direction::Forward, both()), &seen), "Start:Updating");
}

#[test]
fn a_pair_that_the_spec_names_no_more_is_taken_out_and_deleted() {
    for (status, group, expected) in [
        ("stopped", Some("pg-1"), "RemovePair:Updating"),
        ("created", None, "DeletePair:Updating"),
        ("stopped", None, "DeletePair:Updating"),
        ("invalid", None, "DeletePair:Updating"),
        ("failovered", None, "DeletePair:Updating"),
        ("creating", None, "wait:Updating"),
        ("deleting", None, "wait:Updating"),
        ("normal", None, "wait:Updating"),
    ] {
        for known in [true, false] {
            let mut world = knowing(Direction::Forward, json!({}));
            // Its ID is known, or its tag says whose it is.
            let owner = if known { None } else { Some(OWNER) };
            if known {
                let pair = json!({"name": "logs", "replicaPairId": "pair-2"});
                world.status.pairs.push(serde_json::from_value(pair).unwrap());
            }
            let mut seen = seen("stopped", Direction::Forward);
            seen.pairs.push(second(status, group, owner));
            assert_eq!(told(&world, &seen), expected, "{status} {group:?} {known}");
        }
    }
}

#[test]
fn pairs_of_nobody_and_of_others_are_left_alone() {
    for owner in [None, Some("ffffffff/databases/orders-db")] {
        let mut seen = seen("stopped", Direction::Forward);
        seen.pairs.push(second("stopped", None, owner));
        assert_eq!(told(&knowing(Direction::Forward, json!({})), &seen), "Start:Updating", "{owner:?}");
    }
}

#[test]
fn a_pair_that_is_replicated_the_other_way_is_not_added() {
    let mut seen = seen("stopped", Direction::Reverse);
    seen.pairs.push(second("stopped", None, Some(OWNER)));
    let world = knowing(Direction::Reverse, both());
    assert_eq!(told(&world, &seen), "!GroupFailed");
}

#[test]
fn pairs_are_made_in_the_present_direction() {
    for direction in [Direction::Forward, Direction::Reverse] {
        let decision = knowing(direction, both()).decide_on(&seen("stopped", direction));
        let text = format!("{:?}", decision.steps);
        let (from, to) = match direction {
            Direction::Forward => ("d-logs-s", "d-logs-d"),
            Direction::Reverse => ("d-logs-d", "d-logs-s"),
        };
        assert!(text.contains(&format!("disk_id: {from:?}")) && text.contains(&format!("destination_disk_id: {to:?}")));
    }
}

#[test]
fn broken_pairs_of_an_invalid_group_are_named_and_taken_out_when_the_spec_drops_them() {
    let mut seen = seen("invalid", Direction::Forward);
    seen.pairs.push(second("invalid", Some("pg-1"), Some(OWNER)));
    let world = knowing(Direction::Forward, both());
    let decision = world.decide_on(&seen);
    let Verdict::Refused { reason: "GroupFailed", message } = &decision.verdict else { panic!("{decision:?}") };
    assert!(message.contains("logs (pair-2, invalid, DeviceRemoved)"), "{message}");
    assert_eq!(told(&knowing(Direction::Forward, json!({})), &seen), "RemovePair:Updating");
}

#[test]
fn a_name_that_is_used_again_for_other_disks_leaves_no_pair_behind() {
    let mut world = World::in_sync(json!({"replication": "Stopped"}));
    world.edit(json!({"pairs": [{"name": "data", "sourceDiskId": "d-3", "destinationDiskId": "d-4"}]}));
    world.converge(50);
    let pairs = world.disks.inspect().pairs;
    assert_eq!(pairs.iter().map(|it| it.source_disk_id.as_str()).collect::<Vec<_>>(), ["d-3"]);
    let names: Vec<_> = world.status.pairs.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["data"]);
}

#[test]
fn a_group_comes_to_what_the_spec_says_step_by_step() {
    let mut world = World::new(spec_with(both()), DiskRules { delay_ms: 7_000, ..DiskRules::default() });
    let told: Vec<_> = (0..12).map(|_| world.pass().told()).collect();
    assert_eq!(
        told,
        [
            "Create:Creating",
            "wait:Creating",
            "CreatePair(data)+CreatePair(logs):Creating",
            "wait:Creating",
            "AddPair+AddPair:Creating",
            "Start:Creating",
            "ok",
            "ok",
            "ok",
            "ok",
            "ok",
            "ok",
        ]
    );
    assert_eq!(world.status.pairs_in_group.as_deref(), Some("2/2"));
    let group = world.group();
    assert_eq!((group.name.as_deref(), group.tags[OWNER_TAG].as_str()), (Some("orders-db"), OWNER));
}

#[test]
fn fields_are_changed_only_at_rest() {
    for patch in [
        json!({"groupName": "orders-2"}),
        json!({"description": "Disks of orders"}),
        json!({"enableRtc": true}),
        both(),
        json!({"pairs": [pair("logs")]}),
    ] {
        let mut world = World::in_sync(json!({}));
        world.edit(patch.clone());
        for _ in 0..3 {
            assert_eq!(world.pass().told(), "!ReplicationRunning", "{patch}");
        }
        assert_eq!(words::decision(&world.decide()), "!ReplicationRunning");
        world.edit(json!({"replication": "Stopped"}));
        world.converge(50);
        let told = world.pass();
        assert_eq!((told.told().as_str(), &told.decision.drift), ("ok", &vec![]), "{patch}");
        world.edit(json!({"replication": "Running"}));
        world.converge(50);
    }
}

#[test]
fn a_name_and_a_description_that_nobody_wrote_into_the_spec_stay() {
    let mut world = World::in_sync(json!({}));
    world.console(json!({"groupName": "by-hand", "description": "by hand", "enableRtc": true, "status": "stopped"}));
    let told: Vec<_> = (0..3).map(|_| world.pass().told()).collect();
    assert_eq!(told, ["Start:Updating", "ok", "ok"]);
    assert_eq!(world.group().name.as_deref(), Some("by-hand"));
}

#[test]
fn pairs_are_known_by_their_disks_whichever_way_they_replicate() {
    let want: Pair = serde_json::from_value(pair("logs")).unwrap();
    let mut found = second("normal", None, None);
    let status = Default::default();
    assert!(resolve::pair(&want, &status, std::slice::from_ref(&found)).is_some());
    std::mem::swap(&mut found.source_disk_id, &mut found.destination_disk_id);
    assert!(resolve::pair(&want, &status, std::slice::from_ref(&found)).is_some());
    found.source_disk_id = Some("d-other".into());
    assert!(resolve::pair(&want, &status, std::slice::from_ref(&found)).is_none());
}

#[test]
fn nothing_is_done_to_a_group_between_other_zones() {
    let mut seen = seen("stopped", Direction::Forward);
    let Lookup::Found(group) = &mut seen.group else { panic!() };
    group.destination_zone_id = Some("cn-beijing-a".into());
    for patch in [both(), json!({"activeSite": "Destination", "failover": {"mode": "Forced"}})] {
        assert_eq!(told(&knowing(Direction::Forward, patch), &seen), "!ImmutableField");
    }
}
