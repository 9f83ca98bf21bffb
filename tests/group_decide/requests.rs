//! Requests: when one begins, and when nothing begins.

use disaster_recovery_operator::api::disk_replica_group::{Direction, OperationType, Phase, RequestPhase, Site};
use disaster_recovery_operator::cloud::error::Class;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::by_status::{active, knowing, seen, statuses, table};
use super::lifecycles::{message, there, until};
use test_support::driver::faults::Fate;
use test_support::driver::group::*;
use test_support::driver::words;
use test_support::table::Table;

/// One row a status, one column a request for the site in it. In the words of `words`.
const TABLE: &str = include_str!("requests.txt");

/// An old request, one in the future and one that expired, each for the other site; a cancellation and a failover to the site
/// that is in use while replication is not reversed; a consent to the reversal.
const REQUESTS: [&str; 6] = ["Old", "Invalid", "Expired", "Cancel", "Back", "Overwrite"];

/// The decision for a request in a status.
fn decided(status: &str, request: &str, direction: Direction) -> String {
    let mut world = knowing(direction, json!({}));
    let (now, day) = (world.timestamp(), SignedDuration::from_hours(24));
    world.object.metadata.creation_timestamp = Some(Time(now - day));
    let (production, standby, active) = (direction.production(), direction.standby(), active(status, direction));
    (world.status.active_site, world.status.active_site_since) =
        (Some(active), Some(now - SignedDuration::from_hours(1)));
    let failover = |at: Timestamp, mode: &str| json!({"requestedAt": at, "mode": mode, "validFor": "1h"});
    let (site, failover) = match request {
        "Old" => (standby, failover(now - day * 2, "Forced")),
        "Invalid" => (standby, failover(now + SignedDuration::from_mins(6), "Forced")),
        "Expired" => (standby, failover(now - SignedDuration::from_hours(1), "Forced")),
        "Cancel" => (production, failover(now, "Cancel")),
        "Back" => (production, failover(now, "Forced")),
        _ => {
            let mut failover = failover(now, "Planned");
            failover["overwrite"] = json!(active.other());
            (active, failover)
        }
    };
    world.edit(json!({"activeSite": site, "failover": failover}));
    words::decision(&world.decide_on(&seen(status, direction)))
}

#[test]
fn every_status_and_request_has_its_decision() {
    let table = table(TABLE, &REQUESTS);
    let mut rows = Table::default();
    for direction in [Direction::Forward, Direction::Reverse] {
        for status in statuses() {
            let found: Vec<_> = REQUESTS.iter().map(|request| decided(&status, request, direction)).collect();
            let expected = table.get(&status).map(|row| row.join(" | ")).unwrap_or_default();
            rows.cell(format!("{direction:?} {status}"), &expected, &found.join(" | "));
        }
    }
    rows.check();
    assert_eq!(table.len(), statuses().len(), "a row is no status");
}

fn phase(world: &World) -> Option<RequestPhase> {
    world.status.request.as_ref().map(|it| it.phase)
}

/// Reconciles for so long, and returns the changing calls.
fn calls(world: &mut World, reconciles: usize) -> Vec<String> {
    (0..reconciles).flat_map(|_| world.pass().calls).map(|it| it.action).collect()
}

#[test]
fn old_manifest_starts_nothing() {
    let mut world = World::in_sync(json!({}));
    let before = serde_json::to_value(&world.object.spec).unwrap();
    world.want(there());
    until(&mut world, "ok");
    // A reverted commit, as admission would refuse it.
    world.edit(json!({"activeSite": "Source", "failover": before["failover"].clone()}));
    assert_eq!(calls(&mut world, 10), Vec::<String>::new());
    assert_eq!(world.condition("Synced"), "False/Drifted");
    assert_eq!(world.status.active_site, Some(Site::Destination));
}

#[test]
fn forced_in_spec_starts_nothing_later() {
    let mut world = World::in_sync(json!({}));
    world.want(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
    until(&mut world, "!ReprotectWaits");
    world.consent();
    until(&mut world, "ok");
    world.advance(90 * 24 * 3_600_000);
    world.pass();
    // The way back without a new request.
    world.edit(json!({"activeSite": "Source"}));
    assert_eq!(calls(&mut world, 10), Vec::<String>::new());
    assert_eq!(world.condition("Synced"), "False/Drifted");
}

#[test]
fn request_expires_while_lag_is_high() {
    let mut world = World::in_sync(json!({}));
    world.freeze();
    world.advance(1_000_000);
    world.want(json!({"activeSite": "Destination", "failover": {"validFor": "1h"}}));
    assert_eq!(world.pass().summary(), "!FailoverRefused");
    assert_eq!(phase(&world), Some(RequestPhase::Waiting));
    world.advance(3_600_000);
    // In the morning the lag is low again.
    world.disks(|disks, _| disks.freeze(false));
    assert_eq!(calls(&mut world, 10), Vec::<String>::new());
    assert_eq!(
        (world.condition("Synced").as_str(), phase(&world)),
        ("False/FailoverExpired", Some(RequestPhase::Expired))
    );
    assert_eq!(world.condition("Protected"), "True/WithinObjective");
    assert_eq!(world.status.operations, vec![]);
    // A newer one begins.
    world.want(there());
    assert_eq!(world.pass().summary(), "Stop:FailingOver");
}

#[test]
fn expiry_before_opening_starts_replication_again() {
    let mut world = World::in_sync(json!({}));
    world.attach("d-data-d", true);
    world.want(json!({"activeSite": "Destination", "failover": {"validFor": "1m"}}));
    until(&mut world, "OneShot:FailingOver");
    world.advance(60_000);
    let found = world.pass();
    assert_eq!(found.summary(), "Start !FailoverExpired");
    assert_eq!(world.status.operations[0].phase, Phase::Failed);
    world.attach("d-data-d", false);
    until(&mut world, "!FailoverExpired");
    assert_eq!(world.group().status, disaster_recovery_operator::simulator::model::ebs::ReplicaStatus::Normal);
    assert!(found.events.iter().any(|it| it.reason == "FailoverExpired"), "{:?}", found.events);
}

#[test]
fn newer_request_for_former_site_withdraws() {
    let mut world = World::in_sync(json!({}));
    world.want(there());
    assert_eq!(world.pass().summary(), "Stop:FailingOver");
    world.want(json!({"activeSite": "Source"}));
    until(&mut world, "ok");
    assert_eq!((phase(&world), world.status.operations[0].phase), (Some(RequestPhase::Succeeded), Phase::Cancelled));
    assert_eq!(world.status.active_site, Some(Site::Source));
}

#[test]
fn way_back_is_refused_until_reversal() {
    let slow = disaster_recovery_operator::simulator::model::ebs::DiskRules { delay_ms: 30_000, ..Default::default() };
    let mut world = World::in_sync_with(json!({}), slow);
    world.want(there());
    until(&mut world, "wait:FailingOver");
    until(&mut world, "Failover:FailingOver");
    world.want(json!({"activeSite": "Source", "failover": {"mode": "Forced"}}));
    world.pass();
    assert_eq!(phase(&world), Some(RequestPhase::Refused));
    // Replication is reversed all the same, and the request does not begin later.
    let found: Vec<_> = (0..60).map(|_| world.pass().summary()).collect();
    assert!(found.iter().any(|it| it.starts_with("Reverse")), "{found:?}");
    assert_eq!(world.condition("Synced"), "False/NotReversedYet");
    assert_eq!((world.status.direction, world.status.active_site), (Some(Direction::Reverse), Some(Site::Destination)));
    world.want(json!({"activeSite": "Source", "failover": {"mode": "Forced"}}));
    assert_eq!(world.pass().summary(), "Failover:FailingOver");
}

#[test]
fn cancel_goes_back_before_reversal_only() {
    let mut world = World::in_sync(json!({"reprotect": "Manual"}));
    world.want(there());
    until(&mut world, "ok");
    world.want(json!({"activeSite": "Source", "failover": {"mode": "Cancel"}}));
    assert_eq!(world.pass().summary(), "Cancel:Cancelling");
    until(&mut world, "ok");
    assert_eq!((world.status.active_site, phase(&world)), (Some(Site::Source), Some(RequestPhase::Succeeded)));
    assert_eq!(world.status.operations[0].r#type, OperationType::Cancel);
    let mut reversed = World::in_sync(json!({}));
    reversed.want(there());
    until(&mut reversed, "ok");
    reversed.want(json!({"activeSite": "Source", "failover": {"mode": "Cancel"}}));
    assert_eq!(calls(&mut reversed, 5), Vec::<String>::new());
    assert_eq!(reversed.condition("Synced"), "False/NothingToCancel");
}

#[test]
fn future_request_is_invalid_and_correctable() {
    let mut world = World::in_sync(json!({}));
    let last = world.status.last_requested_at;
    let ahead = world.timestamp() + SignedDuration::from_mins(6);
    world.edit(json!({"activeSite": "Destination", "failover": {"requestedAt": ahead, "mode": "Forced"}}));
    assert_eq!(calls(&mut world, 3), Vec::<String>::new());
    assert_eq!((phase(&world), world.status.last_requested_at), (Some(RequestPhase::Invalid), last));
    assert_eq!(world.condition("Synced"), "False/FailoverRefused");
    let now = world.timestamp();
    world.edit(json!({"failover": {"requestedAt": now}}));
    assert_eq!(world.pass().summary(), "Failover:FailingOver");
}

#[test]
fn request_is_carried_out_once() {
    let mut world = World::in_sync(json!({"reprotect": "Manual"}));
    world.want(there());
    until(&mut world, "ok");
    // Another actor goes back in the console.
    world.console_reprotect(false);
    assert_eq!(calls(&mut world, 5), Vec::<String>::new());
    assert_eq!(world.condition("Synced"), "False/Drifted");
    let text = message(&world);
    assert!(text.contains("no request of this object explains it"), "{text}");
}

#[test]
fn new_object_takes_no_request_from_before_it() {
    let spec: Value = json!({
        "activeSite": "Destination",
        "failover": {"requestedAt": "2025-02-28T06:00:00Z", "mode": "Forced", "validFor": "24h"},
    });
    let mut world = World::new(spec_with(spec), Default::default());
    assert_eq!(calls(&mut world, 5), Vec::<String>::new());
    assert_eq!(world.status.request.as_ref().map(|it| it.phase), Some(RequestPhase::Refused));
}

#[test]
fn invalid_request_does_not_become_valid_with_time() {
    let mut world = World::in_sync(json!({}));
    let ahead = world.timestamp() + SignedDuration::from_mins(30);
    world.edit(json!({"activeSite": "Destination", "failover": {"requestedAt": ahead, "mode": "Forced"}}));
    world.pass();
    world.advance(30 * 60_000);
    assert_eq!(calls(&mut world, 3), Vec::<String>::new());
    assert_eq!(phase(&world), Some(RequestPhase::Invalid));
}

#[test]
fn cancel_expires_and_can_be_replaced() {
    for replaced in [false, true] {
        let mut world = World::in_sync(json!({"reprotect": "Manual"}));
        world.want(there());
        until(&mut world, "ok");
        world.want(json!({"activeSite": "Source", "failover": {"mode": "Cancel", "validFor": "1h"}}));
        // The cloud refuses the call.
        for _ in 0..3 {
            world.pass_with(Fate::refused(Class::Denied));
        }
        assert_eq!(phase(&world), Some(RequestPhase::Running));
        world.advance(200_000);
        if replaced {
            world.want(json!({"activeSite": "Source"}));
        } else {
            world.advance(24 * 3_600_000);
        }
        let calls = calls(&mut world, 10);
        assert!(!calls.iter().any(|it| it == "ReprotectDiskReplicaGroup"), "{replaced}: {calls:?}");
        assert_eq!(world.status.active_site, Some(Site::Destination), "{replaced}");
    }
}

#[test]
fn newer_planned_request_ends_forced_operation() {
    let mut world = World::in_sync(json!({}));
    world.want(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
    world.pass_with(Fate::refused(Class::Denied));
    world.want(there());
    assert_eq!(world.pass().summary(), "Stop:FailingOver");
    until(&mut world, "ok");
    assert_eq!(world.status.failovers[0].loss_seconds, Some(0));
}

#[test]
fn lost_status_begins_no_request_again() {
    let mut world = World::in_sync(json!({"reprotect": "Manual"}));
    world.want(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
    until(&mut world, "ok");
    world.console_reprotect(false);
    let id = world.group_id();
    world.disks(|disks, now| disks.start_group(SOURCE, &id, false, now)).unwrap();
    world.advance(60_000);
    world.pass();
    for lost in [true, false] {
        match lost {
            true => world.status = Default::default(),
            // Another actor writes it.
            false => world.status.last_requested_at = Some(world.timestamp() + SignedDuration::from_hours(9_000)),
        }
        assert_eq!(calls(&mut world, 10), Vec::<String>::new(), "{lost}");
        assert_eq!(world.condition("Synced"), "False/Drifted", "{lost}");
    }
    // A new request begins.
    world.want(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
    assert_eq!(world.pass().summary(), "Failover:FailingOver");
}

#[test]
fn slow_clock_keeps_recorded_request() {
    let mut world = World::in_sync(json!({}));
    world.want(there());
    assert_eq!(world.pass().summary(), "Stop:FailingOver");
    world.advance(-600_000);
    world.pass();
    assert_eq!(phase(&world), Some(RequestPhase::Running));
}

#[test]
fn expired_call_is_awaited_and_not_repeated() {
    let mut world = World::in_sync(json!({}));
    world.want(json!({"activeSite": "Destination", "failover": {"mode": "Forced", "validFor": "1m"}}));
    world.advance(50_000);
    assert_eq!(world.pass_with(Fate::LOST).summary(), "Failover:FailingOver");
    world.advance(10_000);
    assert_eq!(calls(&mut world, 60), Vec::<String>::new());
    assert_eq!(
        (world.condition("Synced").as_str(), phase(&world)),
        ("False/FailoverExpired", Some(RequestPhase::Expired))
    );
}
