//! Status after a reconcile: conditions for the main situations, and no write while nothing happens.

use disaster_recovery_operator::api::condition::condition_type;
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::simulator::model::ebs::DiskRules;
use serde_json::{Value, json};

use test_support::driver::faults::Fate;
use test_support::driver::group::*;

/// Ready, Synced, Protected, Reconciling, Stalled, DrillNotCleared.
fn all(world: &World) -> [String; 6] {
    [
        condition_type::READY,
        condition_type::SYNCED,
        condition_type::PROTECTED,
        condition_type::RECONCILING,
        condition_type::STALLED,
        condition_type::DRILL_NOT_CLEARED,
    ]
    .map(|kind| world.condition(kind))
}

fn slow() -> DiskRules {
    DiskRules { delay_ms: 30_000, ..DiskRules::default() }
}

/// After a reconcile that observed the group like this.
fn console(patch: Value, edit: Value) -> World {
    let mut world = World::in_sync(patch);
    world.freeze();
    world.console(edit);
    world.pass();
    world
}

#[test]
fn every_main_situation_has_its_conditions() {
    let check = |name: &str, world: &World, expected: [&str; 6]| {
        assert_eq!(all(world), expected, "{name}: {}", world.message(condition_type::SYNCED));
    };

    let mut world = World::new(spec_with(json!({})), slow());
    world.pass();
    let creating = ["False/Creating", "False/Progressing", "False/ReplicationStopped", "True/Creating", "", ""];
    check("being created", &world, creating);
    while world.pass().summary() != "ok" {}
    let first = ["False/Creating", "True/InSync", "False/NeverSynced", "", "", ""];
    check("first synchronization", &world, first);
    world.converge(20);
    world.advance(60_000);
    world.pass();
    check("replicates", &world, ["True/Available", "True/InSync", "True/WithinObjective", "", "", ""]);

    world.freeze();
    world.advance(1_000_000);
    world.pass();
    check("too old", &world, ["True/Available", "True/InSync", "False/ObjectiveExceeded", "", "", ""]);

    let stopped = ["True/Stopped", "True/InSync", "False/ReplicationStopped", "", "", ""];
    let mut world = World::in_sync(json!({"replication": "Stopped"}));
    world.pass();
    check("stopped", &world, stopped);

    let drift = ["False/Updating", "False/Drifted", "False/ReplicationStopped", "True/Updating", "", ""];
    check("stopped externally", &console(json!({}), json!({"status": "stopped"})), drift);

    let failed = ["False/NotReady", "False/GroupFailed", "False/ReplicationStopped", "", "True/GroupFailed", ""];
    for status in ["invalid", "create_failed", "delete_failed", "failover_failed", "reprotect_failed"] {
        check("failed", &console(json!({}), json!({"status": status})), failed);
    }
    let theirs = ["False/NotReady", "False/Drifted", "False/ReplicationStopped", "", "True/Drifted", ""];
    check("failed over externally", &console(json!({"activeSite": "Source"}), json!({"status": "failovered"})), theirs);

    let mut world = World::in_sync_with(json!({}), slow());
    world.want(json!({"activeSite": "Destination"}));
    world.pass();
    let going = ["False/FailingOver", "False/Progressing", "True/WithinObjective", "True/FailingOver", "", ""];
    check("failover started", &world, going);
    while world.pass().summary() != "Reverse:Reprotecting" {}
    let turning = ["False/Reprotecting", "False/Progressing", "False/ReplicationStopped", "True/Reprotecting", "", ""];
    check("being reversed", &world, turning);

    let mut world = World::in_sync(json!({"reprotect": "Manual"}));
    world.want(json!({"activeSite": "Destination"}));
    world.converge(50);
    let over = ["True/FailedOver", "True/InSync", "False/ReplicationStopped", "", "", ""];
    check("failed over", &world, over);
    world.want(json!({"activeSite": "Source", "failover": {"mode": "Cancel"}}));
    world.pass();
    let back = ["False/Cancelling", "False/Progressing", "False/ReplicationStopped", "True/Cancelling", "", ""];
    check("being cancelled", &world, back);

    let mut world = World::in_sync(json!({}));
    world.freeze();
    world.advance(1_000_000);
    world.want(json!({"activeSite": "Destination"}));
    world.pass();
    let refused =
        ["False/NotReady", "False/FailoverRefused", "False/ObjectiveExceeded", "", "True/FailoverRefused", ""];
    check("failover refused", &world, refused);

    let mut world = World::in_sync(json!({}));
    world.want(json!({"groupName": "other"}));
    world.pass();
    let running =
        ["False/NotReady", "False/ReplicationRunning", "True/WithinObjective", "", "True/ReplicationRunning", ""];
    check("a change that needs a stop", &world, running);

    for (class, synced, stalled) in [
        (Class::Denied, "False/AccessDenied", "True/AccessDenied"),
        (Class::Invalid, "False/InvalidSpec", "True/InvalidSpec"),
        (Class::Throttled { after: None }, "Unknown/Throttled", ""),
        (Class::Ambiguous, "Unknown/CloudUnavailable", ""),
    ] {
        let mut world = World::in_sync(json!({}));
        world.want(json!({"replication": "Stopped"}));
        world.pass_with(Fate::refused(class));
        let reconciling = if stalled.is_empty() { "True/Updating" } else { "" };
        check("a call failed", &world, ["False/Updating", synced, "True/WithinObjective", reconciling, stalled, ""]);
    }

    let mut world = World::in_sync(json!({}));
    world.delete();
    world.pass();
    check("being deleted", &world, ["False/Deleting", "False/Progressing", "Unknown/Unknown", "True/Deleting", "", ""]);
}

#[test]
fn attached_disks_are_named_with_their_site() {
    let mut world = World::in_sync(json!({"pairs": [pair("data"), pair("logs")]}));
    world.attach("d-data-s", true);
    world.want(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
    for _ in 0..4 {
        world.pass();
    }
    assert_eq!(world.condition(condition_type::SYNCED), "False/ReprotectWaits");
    world.consent();
    world.pass();
    assert_eq!(world.condition(condition_type::SYNCED), "False/DisksAttached");
    assert_eq!(world.condition(condition_type::STALLED), "True/DisksAttached");
    let text = world.message(condition_type::SYNCED);
    assert!(text.contains("reversed while disks of the source") && text.contains("d-data-s, d-logs-s"), "{text}");
    assert!(!text.contains("d-data-d"), "{text}");
    world.attach("d-data-s", false);
    world.attach("d-data-d", false);
    world.converge(50);
    assert_eq!(world.condition(condition_type::SYNCED), "True/InSync");

    // Replication is reversed now: its standby disks are those of the source.
    world.want(json!({"replication": "Stopped"}));
    world.converge(50);
    world.attach("d-logs-s", true);
    world.want(json!({"replication": "Running"}));
    world.pass();
    assert_eq!(world.condition(condition_type::SYNCED), "False/DisksAttached");
    let text = world.message(condition_type::SYNCED);
    assert!(text.contains("started while disks of the source") && text.contains("d-data-s, d-logs-s"), "{text}");
}

#[test]
fn observed_group_waits_for_changes_and_stalls_otherwise() {
    let stopped = ["True/Stopped", "", ""];
    let lasts = ["False/NotReady", "", "True/ObserveOnly"];
    let failed = ["False/NotReady", "", "True/GroupFailed"];
    let passing = |reason: &str| [format!("False/{reason}"), format!("True/{reason}"), String::new()];
    let all = |it: [&str; 3]| it.map(str::to_owned);
    let table = [
        ("created", all(lasts), all(stopped)),
        ("stopped", all(lasts), all(stopped)),
        ("normal", all(["True/Available", "", ""]), all(lasts)),
        ("stop_failed", all(lasts), all(lasts)),
        ("failovered", all(lasts), all(lasts)),
        ("creating", passing("Creating"), passing("Creating")),
        ("stopping", passing("Updating"), passing("Updating")),
        ("manual_syncing", passing("Updating"), passing("Updating")),
        ("failovering", passing("FailingOver"), passing("FailingOver")),
        ("reprotecting", passing("Reprotecting"), passing("Reprotecting")),
        ("deleting", passing("Deleting"), passing("Deleting")),
        ("failover_failed", all(failed), all(failed)),
        ("invalid", all(failed), all(failed)),
    ];
    for (status, running, stopped) in table {
        for (replication, wanted) in [("Running", running), ("Stopped", stopped)] {
            let mut world = World::in_sync(json!({}));
            world.freeze();
            world.edit(json!({"managementPolicy": "Observe", "replication": replication, "activeSite": "Source"}));
            world.console(json!({ "status": status }));
            world.pass();
            let found = [condition_type::READY, condition_type::RECONCILING, condition_type::STALLED]
                .map(|kind| world.condition(kind));
            assert_eq!(found, wanted, "{status} {replication}: {}", world.message(condition_type::READY));
        }
    }
}

#[test]
fn failover_stays_reported_during_outage() {
    let mut world = World::in_sync_with(json!({}), slow());
    world.want(json!({"activeSite": "Destination"}));
    world.pass();
    let going = ["False/FailingOver", "True/FailingOver"];
    assert_eq!([condition_type::READY, condition_type::RECONCILING].map(|kind| world.condition(kind)), going);
    world.lose(&[SOURCE, DESTINATION]);
    assert!(world.faulty_pass(vec![], Crash::Never).is_err());
    assert_eq!(
        [condition_type::READY, condition_type::RECONCILING].map(|kind| world.condition(kind)),
        going,
        "for three polls"
    );
    world.advance(180_000);
    assert!(world.faulty_pass(vec![], Crash::Never).is_err());
    let expired = ["Unknown/NotReady", "True/FailingOver"];
    assert_eq!([condition_type::READY, condition_type::RECONCILING].map(|kind| world.condition(kind)), expired);
    world.simulator.clear_faults();
    world.converge(50);
    world.advance(60_000);
    world.pass();
    assert_eq!(
        [condition_type::READY, condition_type::RECONCILING].map(|kind| world.condition(kind)),
        ["True/Available", ""]
    );
}

#[test]
fn steady_group_writes_recovery_point_each_minute() {
    let mut world = World::in_sync(json!({}));
    world.pace = 1_000;
    world.pass();
    let (mut writes, mut before) = (vec![], world.status.clone());
    for second in 0..180 {
        world.pass();
        if world.status != before {
            writes.push(second);
            let mut same = world.status.clone();
            same.recovery_point = before.recovery_point;
            assert_eq!(same, before, "only the recovery point moves");
            before = world.status.clone();
        }
    }
    assert!((2..=3).contains(&writes.len()), "{writes:?}");
}

#[test]
fn evidence_of_lost_cloud_stays_until_expiry() {
    let mut world = World::in_sync(json!({}));
    let before = world.status.clone();
    world.lose(&[SOURCE, DESTINATION]);
    assert!(world.faulty_pass(vec![], Crash::Never).is_err());
    assert_eq!(world.condition(condition_type::READY), "True/Available");
    assert_eq!(world.condition(condition_type::SYNCED), "Unknown/CloudUnavailable");
    assert_eq!(world.status.operations, before.operations);
    world.advance(180_000);
    assert!(world.faulty_pass(vec![], Crash::Never).is_err());
    assert_eq!(world.condition(condition_type::READY), "Unknown/NotReady");
    assert_eq!(world.condition(condition_type::PROTECTED), "Unknown/Unknown");
    assert_eq!(world.status.active_site, before.active_site);
}
