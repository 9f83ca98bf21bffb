//! Decisions in every status that the cloud may show, for every wish of the user, in both directions.

use std::collections::BTreeMap;

use disaster_recovery_operator::api::disk_replica_group::{Direction, DiskReplicaGroupStatus, Site};
use disaster_recovery_operator::cloud::ebs::{GroupView, PairView, ReplicationStatus};
use disaster_recovery_operator::controller::disk_replica_group::decide::{Decision, Step};
use disaster_recovery_operator::controller::disk_replica_group::observe::{Binding, Lookup, Observed};
use disaster_recovery_operator::controller::disk_replica_group::resolve::OWNER_TAG;
use serde_json::{Value, json};

use test_support::driver::group::*;
use test_support::driver::words;
use test_support::driver::world::T0;
use test_support::table::Table;

/// One row a status, one column a wish: replication runs or is stopped, the other site becomes active (by a planned or a
/// forced failover), the object is being deleted. In the words of `words`.
const TABLE: &str = include_str!("by_status.txt");

/// Where the documents allow a call: one row a call (cloud API, section "EBS async replication rules"; `initial_syncing`
/// counts as `syncing` for Start and Stop).
const ALLOWED: &[(&str, &str)] = &[
    ("Modify", "created stopped"),
    ("AddPair", "created stopped"),
    ("RemovePair", "created stopped invalid"),
    ("Start", "created initial_syncing syncing normal stopped"),
    ("OneShot", "created manual_syncing stopped"),
    ("Stop", "manual_syncing initial_syncing syncing normal stopping stop_failed stopped"),
    ("Failover", "manual_syncing syncing normal stopping stop_failed stopped failovering failover_failed failovered"),
    ("Reverse", "failovered"),
    ("Cancel", "failovered"),
    ("Delete", "created create_failed stopped failovered deleting delete_failed invalid"),
];

/// Whether the documents allow a call in a status.
pub fn allowed(step: &Step, status: &str) -> Result<(), String> {
    let call = words::call(&step.action);
    let Some((_, statuses)) = ALLOWED.iter().find(|(name, _)| *name == call) else { return Ok(()) };
    match statuses.split(' ').any(|it| it == status) {
        true => Ok(()),
        false => Err(format!("{call} is not allowed in {status}")),
    }
}

/// The site in use in a status, by the documents: after a failover the secondary one.
pub fn active(status: &str, direction: Direction) -> Site {
    match status {
        "failovered" | "reprotecting" | "reprotect_failed" => direction.standby(),
        _ => direction.production(),
    }
}

/// A group in that status and direction with one pair and a recovery point one minute old.
pub fn seen(status: &str, direction: Direction) -> Observed {
    let (source, destination) = (("cn-hangzhou", "cn-hangzhou-h"), ("cn-shanghai", "cn-shanghai-b"));
    let (from, to) = match direction {
        Direction::Forward => (source, destination),
        Direction::Reverse => (destination, source),
    };
    let disks = match direction {
        Direction::Forward => ("d-data-s", "d-data-d"),
        Direction::Reverse => ("d-data-d", "d-data-s"),
    };
    let group: GroupView = serde_json::from_value(json!({
        "ReplicaGroupId": "pg-1", "Status": status, "Site": "production", "GroupName": "orders-db",
        "SourceRegionId": from.0, "SourceZoneId": from.1, "DestinationRegionId": to.0, "DestinationZoneId": to.1,
        "PrimaryZone": source.1, "StandbyZone": destination.1, "PairIds": ["pair-1"],
        "LastRecoverPoint": T0 / 1000 - 60, "Tags": [{"TagKey": OWNER_TAG, "TagValue": OWNER}],
    }))
    .unwrap();
    let pair: PairView = serde_json::from_value(json!({
        "ReplicaPairId": "pair-1", "LastRecoverPoint": T0 / 1000 - 60, "Status": status, "ReplicaGroupId": "pg-1", "SourceDiskId": disks.0,
        "DestinationDiskId": disks.1, "Tags": [{"TagKey": OWNER_TAG, "TagValue": OWNER}],
    }))
    .unwrap();
    let binding = Binding { bound: Some("pg-1".into()), owner: OWNER.into(), direction, twins: vec![], forced: false };
    Observed {
        binding,
        group: Lookup::Found(Box::new(group)),
        twins: vec![],
        unseen_twins: vec![],
        pairs: vec![pair],
        pairs_complete: true,
        drills: None,
    }
}

/// The status of the object of such a group after it was in sync.
pub fn known(direction: Direction) -> DiskReplicaGroupStatus {
    serde_json::from_value(json!({
        "replicaGroupId": "pg-1", "groupStatus": "normal", "syncedGeneration": 1, "callSequence": 4,
        "direction": direction.as_str(), "activeSite": direction.production().as_str(),
        "reportedSourceZone": if direction == Direction::Forward { "cn-hangzhou-h" } else { "cn-shanghai-b" },
        "pairs": [{"name": "data", "replicaPairId": "pair-1", "synchronized": direction.as_str()}],
    }))
    .unwrap()
}

/// A world with an empty cloud and an object with the status of such a group.
pub fn knowing(direction: Direction, patch: Value) -> World {
    let mut world = World::new(spec_with(json!({"activeSite": direction.production().as_str()})), Default::default());
    world.status = known(direction);
    world.want(patch);
    world
}

const WISHES: [&str; 7] = ["Running", "Stopped", "Planned", "Forced", "Delete", "Delete, Manual", "Retain"];

/// The rows of a table with these columns, by their first cell.
pub fn table(text: &str, columns: &[&str]) -> BTreeMap<String, Vec<String>> {
    let mut rows = text.lines().filter(|line| !line.is_empty() && !line.starts_with('-'));
    let cells = |row: &str| row.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    assert_eq!(&cells(rows.next().unwrap())[1..], columns, "the columns");
    rows.map(|row| (cells(row)[0].clone(), cells(row)[1..].to_vec())).collect()
}

/// The decision of one cell.
fn cell(status: &str, wish: &str, direction: Direction) -> Decision {
    let other = direction.standby().as_str();
    let patch = match wish {
        "Stopped" => json!({"replication": "Stopped"}),
        "Planned" | "Forced" => json!({"activeSite": other, "failover": {"mode": wish}}),
        "Retain" => json!({"deletionPolicy": "Retain"}),
        "Delete, Manual" => json!({"reprotect": "Manual"}),
        _ => json!({}),
    };
    let mut world = knowing(direction, patch);
    if matches!(wish, "Delete" | "Delete, Manual" | "Retain") {
        world.delete();
    }
    let decision = world.decide_on(&seen(status, direction));
    assert!(decision.steps.iter().all(|it| it.direction == direction), "{status} × {wish}: a call to the wrong site");
    decision
}

/// Every documented status, and one that is not.
pub fn statuses() -> Vec<String> {
    let unknown = ReplicationStatus::Other("migrating".into());
    ReplicationStatus::KNOWN.iter().chain([&unknown]).map(|it| it.as_str().to_owned()).collect()
}

#[test]
fn every_status_and_wish_has_its_decision() {
    let table = table(TABLE, &WISHES);
    let mut rows = Table::default();
    for direction in [Direction::Forward, Direction::Reverse] {
        for status in statuses() {
            let mut found = vec![];
            for wish in WISHES {
                let decision = cell(&status, wish, direction);
                found.push(words::decision(&decision));
                for step in &decision.steps {
                    rows.cell(format!("{status} × {wish}: allowed"), &Ok(()), &allowed(step, &status));
                }
                let reported = decision.details.lifecycle.active;
                rows.cell(format!("{status} × {wish}: active site"), &active(&status, direction), &reported);
            }
            let expected = table.get(&status).map(|row| row.join(" | ")).unwrap_or_default();
            rows.cell(format!("{direction:?} {status}"), &expected, &found.join(" | "));
        }
    }
    rows.check();
    assert_eq!(table.len(), statuses().len(), "a row is no status");
}
