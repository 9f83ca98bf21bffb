//! Drills: started when they are due and possible, one at a time, with one token, and always cleared.

use disaster_recovery_operator::api::DRILL_ANNOTATION;
use disaster_recovery_operator::api::condition::condition_type;
use disaster_recovery_operator::api::disk_replica_group::{DrillResult, DrillRun};
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::controller::disk_replica_group::decide::{Action, Decision, Verdict, next_due};
use disaster_recovery_operator::simulator::model::ebs::{DiskRules, DrillEdit, DrillStatus};
use serde_json::{Value, json};

use test_support::driver::faults::Fate;
use test_support::driver::group::*;

const MINUTE: i64 = 60_000;

/// A world with a drill at 3:00 on Sundays that keeps its clones for two hours; it is Friday, 06:30.
fn sundays() -> World {
    let mut world = World::in_sync(json!({"drill": {"schedule": "0 3 * * 0", "keepFor": "2h"}}));
    world.pass();
    world
}

fn drills(world: &World) -> usize {
    world.inspect().drills.len()
}

fn current(world: &World) -> Option<DrillRun> {
    world.status.drills.clone()?.current
}

fn last(world: &World) -> Option<DrillRun> {
    world.status.drills.clone()?.last
}

/// The time of the first drill that was not started.
fn due(world: &World) -> Option<String> {
    next_due(&world.object.spec, world.status.drills.as_ref()?).map(|it| it.to_string())
}

fn edit(world: &mut World, status: Option<DrillStatus>, fail_next: Option<bool>) {
    let id = world.inspect().drills[0].drill_id.clone();
    world.disks(|disks, _| disks.edit_drill(&id, &DrillEdit { status, fail_next })).unwrap();
}

fn request(world: &mut World, value: &str) {
    world.annotate(DRILL_ANNOTATION, value);
}

/// A world with a drill in progress.
fn drilling(patch: Value) -> World {
    let mut world = World::in_sync(json!({"drill": {"schedule": "0 3 * * 0", "keepFor": "2h"}}));
    world.want(patch);
    request(&mut world, "now");
    assert_eq!(world.pass().summary(), "Drill ok");
    world
}

#[test]
fn drill_starts_on_schedule_and_is_cleared_later() {
    let mut world = sundays();
    assert_eq!(world.pass().summary(), "ok");
    world.advance((44 * 60 + 29) * MINUTE);
    assert_eq!(world.pass().summary(), "ok", "it is not 3:00 yet");
    assert_eq!(due(&world).as_deref(), Some("2025-03-02T03:00:00Z"));
    world.advance(3 * MINUTE);
    assert_eq!(due(&world).as_deref(), Some("2025-03-02T03:00:00Z"), "it has not started");
    assert_eq!(world.pass().summary(), "Drill ok");
    assert_eq!(due(&world).as_deref(), Some("2025-03-09T03:00:00Z"));
    assert_eq!(drills(&world), 1);
    let started = current(&world).unwrap();
    assert!(started.drill_id.is_some());
    world.pass();
    assert_eq!(current(&world).unwrap().drill_status.as_deref(), Some("executed"));
    assert!(current(&world).unwrap().recovery_point.is_some());
    world.advance(110 * MINUTE);
    assert_eq!(world.pass().summary(), "ok");
    world.advance(10 * MINUTE);
    assert_eq!(world.pass().summary(), "Clear ok");
    world.pass();
    let ended = last(&world).unwrap();
    assert_eq!((drills(&world), current(&world)), (0, None));
    assert_eq!((ended.result, ended.drill_id), (Some(DrillResult::Succeeded), started.drill_id));
    assert_eq!(world.pass().summary(), "ok", "once a Sunday");
}

#[test]
fn missed_drills_run_once() {
    let mut world = sundays();
    world.advance(22 * 24 * 60 * MINUTE);
    assert_eq!(world.pass().summary(), "Drill ok");
    world.advance(121 * MINUTE);
    world.converge(10);
    assert_eq!(world.pass().summary(), "ok");
    assert_eq!(drills(&world), 0);
}

#[test]
fn new_schedule_starts_no_past_drill() {
    let mut world = World::in_sync(json!({}));
    world.want(json!({"drill": {"schedule": "* * * * *"}}));
    assert_eq!(world.pass().summary(), "ok");
    assert!(world.status.drills.clone().unwrap().last_schedule_time.is_some());
    world.advance(MINUTE);
    assert_eq!(world.pass().summary(), "Drill ok");
}

#[test]
fn second_request_waits_for_end_of_drill() {
    let mut world = drilling(json!({}));
    assert_eq!(world.status.last_handled_drill_at.as_deref(), Some("now"));
    request(&mut world, "again");
    for _ in 0..5 {
        assert_eq!(world.pass().summary(), "ok");
    }
    assert_eq!(drills(&world), 1);
    assert_eq!(world.status.last_handled_drill_at.as_deref(), Some("now"), "the request stays");
    world.advance(121 * MINUTE);
    let found: Vec<_> = (0..4).map(|_| world.pass().summary()).collect();
    assert_eq!(found, ["Clear ok", "ok", "Drill ok", "ok"]);
}

#[test]
fn external_drill_is_awaited_and_not_cleared() {
    let mut world = sundays();
    let id = world.group_id();
    world.disks(|disks, now| disks.start_drill(DESTINATION, &id, now)).unwrap();
    world.advance(24 * 60 * MINUTE);
    request(&mut world, "now");
    for _ in 0..3 {
        assert_eq!(world.pass().summary(), "ok");
    }
    assert_eq!((drills(&world), current(&world)), (1, None));
}

#[test]
fn request_without_schedule_is_reported_and_handled() {
    let mut world = World::in_sync(json!({}));
    request(&mut world, "now");
    let passed = world.pass();
    assert_eq!(passed.summary(), "ok");
    assert!(passed.events.iter().any(|it| it.reason == "DrillNotStarted"), "{:?}", passed.events);
    assert_eq!(world.status.last_handled_drill_at.as_deref(), Some("now"));
    assert_eq!(world.pass().events, vec![]);
}

#[test]
fn drill_does_not_start_during_work_or_refusal() {
    for (patch, console) in [
        (json!({"activeSite": "Destination"}), json!({})),
        (json!({"replication": "Stopped"}), json!({})),
        (json!({}), json!({"status": "failovered"})),
        (json!({}), json!({"status": "syncing", "lastRecoverPoint": 0})),
        (json!({"managementPolicy": "Observe"}), json!({})),
    ] {
        let mut world = sundays();
        world.freeze();
        world.want(patch.clone());
        world.console(console.clone());
        request(&mut world, "now");
        let passed = world.pass();
        let decided = passed.decision.steps.iter().any(|it| it.action == Action::StartDrill);
        let called = passed.calls.iter().any(|it| it.action == "StartReplicaGroupDrill");
        assert!(!decided && !called, "{patch} {console}");
    }
}

#[test]
fn drill_does_not_start_in_group_of_another() {
    let mut world = sundays();
    world.object.metadata.name = Some("other".into());
    request(&mut world, "now");
    assert_eq!(world.pass().summary(), "!OwnedByAnother");
    assert_eq!(drills(&world), 0);
}

fn tokens(decision: &Decision) -> Vec<String> {
    decision.steps.iter().map(|it| it.token.to_string()).collect()
}

#[test]
fn lost_answer_starts_one_drill() {
    for fault in [Fate::LOST, Fate::REPLY_LOST, Fate::late(60_000), Fate::processing()] {
        let mut world = sundays();
        request(&mut world, "now");
        let first = world.pass_with(fault.clone());
        let again = world.pass();
        assert!(again.decision.steps.is_empty() || tokens(&again.decision) == tokens(&first.decision), "{fault:?}");
        for _ in 0..20 {
            world.pass();
            assert_eq!(drills(&world), 1, "{fault:?}");
        }
        world.advance(121 * MINUTE);
        world.converge(10);
        assert_eq!(drills(&world), 0, "{fault:?}");
    }
}

#[test]
fn crash_around_call_starts_one_drill() {
    for crash in [Crash::AfterCalls(0), Crash::AfterCalls(1), Crash::BeforeStatus] {
        let mut world = sundays();
        request(&mut world, "now");
        world.faulty_pass(vec![], crash).unwrap();
        for _ in 0..20 {
            world.pass();
            assert_eq!(drills(&world), 1, "{crash:?}");
        }
    }
}

#[test]
fn lost_drill_is_not_repeated_after_failover_starts() {
    let mut world = sundays();
    request(&mut world, "now");
    world.pass_with(Fate::LOST);
    world.want(json!({"activeSite": "Destination"}));
    assert_eq!(world.pass().summary(), "Stop:FailingOver");
    for _ in 0..40 {
        world.pass();
    }
    assert_eq!((drills(&world), current(&world)), (0, None));
    assert_eq!(last(&world).unwrap().result, Some(DrillResult::Failed));
}

#[test]
fn refused_drill_is_reported_as_failed() {
    let mut world = sundays();
    request(&mut world, "now");
    let passed = world.pass_with(Fate::refused(Class::Invalid));
    assert_eq!((current(&world), last(&world).unwrap().result), (None, Some(DrillResult::Failed)));
    assert!(passed.events.iter().any(|it| it.reason == "DrillFailed"), "{:?}", passed.events);
    assert!(
        world.condition(condition_type::SYNCED).starts_with("True/"),
        "the failure of a drill is reported with the drill"
    );
    assert_eq!(world.pass().summary(), "ok");
}

#[test]
fn failed_drill_is_cleared_at_once() {
    let mut world = World::in_sync_with(
        json!({"drill": {"schedule": "0 3 * * 0"}}),
        DiskRules { delay_ms: 20_000, ..DiskRules::default() },
    );
    request(&mut world, "now");
    world.pass();
    edit(&mut world, None, Some(true));
    world.advance(30_000);
    assert_eq!(world.pass().summary(), "Clear ok");
    world.advance(30_000);
    world.pass();
    assert_eq!((drills(&world), last(&world).unwrap().result), (0, Some(DrillResult::Failed)));
}

#[test]
fn uncleared_drill_is_reported_and_cleared_again() {
    let mut world = drilling(json!({}));
    world.pass();
    world.advance(121 * MINUTE);
    edit(&mut world, Some(DrillStatus::ClearFailed), None);
    assert_eq!(world.pass().summary(), "Clear ok");
    assert_eq!(world.condition(condition_type::DRILL_NOT_CLEARED), "True/ClearOverdue");
    assert!(
        world.message(condition_type::DRILL_NOT_CLEARED).contains("drill-sim"),
        "{}",
        world.message(condition_type::DRILL_NOT_CLEARED)
    );
    world.converge(10);
    assert_eq!(drills(&world), 0);
    assert_eq!(world.condition(condition_type::DRILL_NOT_CLEARED), "", "it is there only while it is true");
}

#[test]
fn externally_cleared_drill_has_ended() {
    let mut world = drilling(json!({}));
    world.pass();
    let (group, drill) = (world.group_id(), world.inspect().drills[0].drill_id.clone());
    world.disks(|disks, now| disks.clear_drill(DESTINATION, (&group, &drill), now)).unwrap();
    world.advance(1_000);
    // One list may be late: the operator clears the drill, which is gone when nothing is left to clear.
    assert_eq!(world.pass().summary(), "Clear ok");
    world.pass();
    assert_eq!((current(&world), last(&world).unwrap().result), (None, Some(DrillResult::Succeeded)));
}

#[test]
fn drill_removed_from_spec_is_cleared() {
    let mut world = drilling(json!({}));
    world.pass();
    world.want(json!({"drill": null}));
    assert_eq!(world.pass().summary(), "Clear ok");
    world.converge(10);
    assert_eq!((drills(&world), current(&world)), (0, None));
}

#[test]
fn drill_is_cleared_at_its_site_after_reversal() {
    let mut world = drilling(json!({}));
    world.want(json!({"activeSite": "Destination"}));
    for _ in 0..40 {
        world.pass();
    }
    assert_eq!(world.status.direction.unwrap().as_str(), "Reverse");
    assert_eq!(drills(&world), 1);
    world.advance(121 * MINUTE);
    world.converge(20);
    assert_eq!(drills(&world), 0);
}

#[test]
fn deletion_clears_drill_first() {
    for policy in ["Delete", "Retain"] {
        let mut world = drilling(json!({"deletionPolicy": policy}));
        world.delete();
        assert_eq!(world.pass().summary(), "Clear wait:Deleting", "{policy}");
        assert_eq!(drills(&world), 0);
        let last = world.converge(50);
        assert!(matches!(last.decision.verdict, Verdict::Released { .. }));
        assert_eq!(world.inspect().groups.len(), usize::from(policy == "Retain"));
    }
}

#[test]
fn deletion_clears_drill_of_lost_call() {
    let mut world = sundays();
    request(&mut world, "now");
    world.pass_with(Fate::late(100_000));
    world.delete();
    let last = world.converge(100);
    assert!(matches!(last.decision.verdict, Verdict::Released { .. }));
    world.advance(200_000);
    assert_eq!(drills(&world), 0);
}
