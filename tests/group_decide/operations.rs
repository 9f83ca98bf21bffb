//! A failover from its beginning to its end, reversed, failed back, cancelled: each step with every status of the cloud.

use disaster_recovery_operator::api::disk_replica_group::Direction;
use serde_json::{Value, json};

use super::by_status::{allowed, knowing, seen, statuses, table};
use test_support::driver::group::*;
use test_support::driver::words;
use test_support::table::Table;

/// One row a status, one column a situation; in the words of `words`.
const TABLE: &str = include_str!("operations.txt");

/// The situations.
const COLUMNS: [&str; 12] = [
    "stopping",
    "synchronizing",
    "synchronized",
    "opening",
    "forced",
    "withdrawn",
    "cancelling",
    "cancelled",
    "reversing",
    "refused",
    "now Manual",
    "reversed",
];

/// A world with an operation of these steps in status; `!` behind a step says that it is in progress.
fn during(direction: Direction, kind: &str, steps: &[&str], patch: Value) -> World {
    let at = "2025-02-28T06:20:00Z";
    let steps: Vec<_> = steps
        .iter()
        .map(|step| match step.strip_suffix('!') {
            Some(step) => json!({"name": step, "startedAt": at}),
            None => json!({"name": step, "startedAt": at, "completedAt": at}),
        })
        .collect();
    let mut world = knowing(direction, patch);
    let target = if kind == "Cancel" { "Source" } else { "Destination" };
    let mut operation = json!({
        "number": 3, "type": kind, "generation": 2, "phase": "Running", "targetSite": target, "startedAt": at,
        "steps": steps,
    });
    if kind == "Failover" {
        operation["mode"] = json!("Planned");
        operation["recoveryPoint"] = json!("2025-02-28T06:27:00Z");
    }
    let before = json!({
        "number": 2, "type": "Failover", "mode": "Planned", "generation": 2, "phase": "Succeeded", "targetSite": "Destination",
        "startedAt": at, "requestedAt": at,
    });
    world.status.operations = serde_json::from_value(json!([operation, before])).unwrap();
    if kind == "Reprotect" && direction == Direction::Forward {
        world.status.failed_over_by = Some(2);
    }
    world
}

/// A world in that situation, and the direction in which the cloud replicates.
fn situation(column: &str) -> (World, Direction) {
    use Direction::{Forward, Reverse};
    let there = json!({"activeSite": "Destination"});
    let forced = json!({"activeSite": "Destination", "failover": {"mode": "Forced"}});
    let cancel = json!({"activeSite": "Source", "failover": {"mode": "Cancel"}});
    let manual = json!({"activeSite": "Destination", "reprotect": "Manual"});
    let mut world = match column {
        "stopping" => during(Forward, "Failover", &["Stop!"], there),
        "synchronizing" => during(Forward, "Failover", &["Stop", "Synchronize!"], there),
        "synchronized" => during(Forward, "Failover", &["Stop", "Synchronize"], there),
        "opening" => during(Forward, "Failover", &["Stop", "Synchronize", "Failover!"], there),
        "forced" => during(Forward, "Failover", &["Stop!"], forced),
        "withdrawn" => during(Forward, "Failover", &["Stop!"], json!({"activeSite": "Source"})),
        "cancelling" => during(Forward, "Cancel", &["Reprotect!"], cancel),
        "cancelled" => during(Forward, "Cancel", &["Reprotect", "Start!"], json!({})),
        "reversing" | "refused" => during(Forward, "Reprotect", &["Reprotect!"], there),
        "now Manual" => during(Forward, "Reprotect", &["Reprotect!"], manual),
        "reversed" => during(Reverse, "Reprotect", &["Reprotect", "Start!"], there),
        other => panic!("{other}"),
    };
    if column == "reversing" {
        let call = json!([{"call": "ReprotectDiskReplicaGroup/Reverse", "sequence": 4, "requestedAt": "2025-02-28T06:20:00Z",
                           "acceptedAt": "2025-02-28T06:20:00Z"}]);
        world.status.pending_calls = serde_json::from_value(call).unwrap();
    }
    if column == "synchronizing" {
        // The last recovery point is the one that was there before.
        world.status.operations[0].recovery_point = Some("2025-02-28T06:27:00Z".parse().unwrap());
    }
    (world, if column == "reversed" { Reverse } else { Forward })
}

#[test]
fn every_status_and_step_has_its_decision() {
    let table = table(TABLE, &COLUMNS);
    let mut rows = Table::default();
    for status in statuses() {
        let mut found = vec![];
        for column in COLUMNS {
            let (world, direction) = situation(column);
            let decision = world.decide_on(&seen(&status, direction));
            for step in &decision.steps {
                rows.cell(format!("{status} × {column}: allowed"), &Ok(()), &allowed(step, &status));
            }
            found.push(words::decision(&decision));
        }
        let expected = table.get(&status).map(|row| row.join(" | ")).unwrap_or_default();
        rows.cell(&status, &expected, &found.join(" | "));
    }
    rows.check();
    assert_eq!(table.len(), statuses().len(), "a row is no status");
}
