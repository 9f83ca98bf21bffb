//! The pairs of a group and its fields: creation, waiting, addition, change and removal, and when.

use disaster_recovery_operator::api::disk_replica_group::{Direction, Pair};
use disaster_recovery_operator::cloud::ebs::PairView;
use disaster_recovery_operator::controller::disk_replica_group::decide::Verdict;
use disaster_recovery_operator::controller::disk_replica_group::observe::{Lookup, Observed};
use disaster_recovery_operator::controller::disk_replica_group::resolve;
use disaster_recovery_operator::controller::disk_replica_group::resolve::OWNER_TAG;
use disaster_recovery_operator::simulator::model::ebs::DiskRules;
use serde_json::{Value, json};

use super::by_status::{knowing, seen};
use test_support::driver::group::*;
use test_support::driver::words;

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

fn decided(world: &World, seen: &Observed) -> String {
    words::decision(&world.decide_on(seen))
}

#[test]
fn missing_pair_is_created_awaited_and_added() {
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
        assert_eq!(decided(&knowing(Direction::Forward, both()), &seen), expected, "{status}");
    }
    let mut seen = seen("stopped", Direction::Forward);
    seen.pairs.push(second("stopped", Some("pg-1"), Some(OWNER)));
    assert_eq!(decided(&knowing(Direction::Forward, both()), &seen), "Start:Updating");
}

#[test]
fn pair_dropped_from_spec_is_removed_and_deleted() {
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
            // Its ID is known, or its tag names the owner.
            let owner = if known { None } else { Some(OWNER) };
            if known {
                let pair = json!({"name": "logs", "replicaPairId": "pair-2"});
                world.status.pairs.push(serde_json::from_value(pair).unwrap());
            }
            let mut seen = seen("stopped", Direction::Forward);
            seen.pairs.push(second(status, group, owner));
            assert_eq!(decided(&world, &seen), expected, "{status} {group:?} {known}");
        }
    }
}

#[test]
fn pairs_without_tag_or_of_others_stay() {
    for owner in [None, Some("ffffffff/databases/orders-db")] {
        let mut seen = seen("stopped", Direction::Forward);
        seen.pairs.push(second("stopped", None, owner));
        assert_eq!(decided(&knowing(Direction::Forward, json!({})), &seen), "Start:Updating", "{owner:?}");
    }
}

#[test]
fn reversed_pair_is_not_added() {
    let mut seen = seen("stopped", Direction::Reverse);
    seen.pairs.push(second("stopped", None, Some(OWNER)));
    let world = knowing(Direction::Reverse, both());
    assert_eq!(decided(&world, &seen), "!GroupFailed");
}

#[test]
fn pairs_are_created_in_present_direction() {
    for direction in [Direction::Forward, Direction::Reverse] {
        let mut world = knowing(direction, both());
        // Its disks hold the data at both sites.
        let known = json!({"name": "logs", "synchronized": "Forward"});
        world.status.pairs.push(serde_json::from_value(known).unwrap());
        let decision = world.decide_on(&seen("stopped", direction));
        let text = format!("{:?}", decision.steps);
        let (from, to) = match direction {
            Direction::Forward => ("d-logs-s", "d-logs-d"),
            Direction::Reverse => ("d-logs-d", "d-logs-s"),
        };
        assert!(text.contains(&format!("disk_id: {from:?}")) && text.contains(&format!("destination_disk_id: {to:?}")));
    }
}

#[test]
fn broken_pairs_are_named_and_removed_when_dropped() {
    let mut seen = seen("invalid", Direction::Forward);
    seen.pairs.push(second("invalid", Some("pg-1"), Some(OWNER)));
    let world = knowing(Direction::Forward, both());
    let decision = world.decide_on(&seen);
    let Verdict::Refused { reason: "GroupFailed", message } = &decision.verdict else { panic!("{decision:?}") };
    assert!(message.contains("logs (pair-2, invalid, DeviceRemoved)"), "{message}");
    assert_eq!(decided(&knowing(Direction::Forward, json!({})), &seen), "RemovePair:Updating");
}

#[test]
fn reused_pair_name_leaves_no_pair() {
    let mut world = World::in_sync(json!({"replication": "Stopped"}));
    world.want(json!({"pairs": [{"name": "data", "sourceDiskId": "d-3", "destinationDiskId": "d-4"}]}));
    world.converge(50);
    let pairs = world.inspect().pairs;
    assert_eq!(pairs.iter().map(|it| it.source_disk_id.as_str()).collect::<Vec<_>>(), ["d-3"]);
    let names: Vec<_> = world.status.pairs.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["data"]);
}

#[test]
fn new_group_reaches_spec_step_by_step() {
    let mut world = World::new(spec_with(both()), DiskRules { delay_ms: 7_000, ..DiskRules::default() });
    let found: Vec<_> = (0..12).map(|_| world.pass().summary()).collect();
    assert_eq!(
        found,
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
fn fields_change_only_while_replication_is_stopped() {
    for patch in [
        json!({"groupName": "orders-2"}),
        json!({"description": "Disks of orders"}),
        json!({"enableRtc": true}),
        both(),
        json!({"pairs": [pair("logs")]}),
    ] {
        let mut world = World::in_sync(json!({}));
        world.want(patch.clone());
        for _ in 0..3 {
            assert_eq!(world.pass().summary(), "!ReplicationRunning", "{patch}");
        }
        assert_eq!(words::decision(&world.decide()), "!ReplicationRunning");
        world.want(json!({"replication": "Stopped"}));
        world.converge(50);
        let last = world.pass();
        assert_eq!((last.summary().as_str(), &last.decision.drift), ("ok", &vec![]), "{patch}");
        world.want(json!({"replication": "Running"}));
        world.converge(50);
    }
}

#[test]
fn name_and_description_outside_spec_stay() {
    let mut world = World::in_sync(json!({}));
    world.console(json!({"groupName": "by-hand", "description": "by hand", "enableRtc": true, "status": "stopped"}));
    let found: Vec<_> = (0..3).map(|_| world.pass().summary()).collect();
    assert_eq!(found, ["Start:Updating", "ok", "ok"]);
    assert_eq!(world.group().name.as_deref(), Some("by-hand"));
}

#[test]
fn pairs_match_by_disks_in_either_direction() {
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
fn group_between_other_zones_is_not_changed() {
    let mut seen = seen("stopped", Direction::Forward);
    let Lookup::Found(group) = &mut seen.group else { panic!() };
    group.destination_zone_id = Some("cn-beijing-a".into());
    for patch in [both(), json!({"activeSite": "Destination", "failover": {"mode": "Forced"}})] {
        assert_eq!(decided(&knowing(Direction::Forward, patch), &seen), "!ImmutableField");
    }
}
