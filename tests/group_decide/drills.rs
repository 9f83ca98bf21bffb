//! Drills: begun when they are due and possible, one at a time, with one token, and always cleared.

use disaster_recovery_operator::api::DRILL_ANNOTATION;
use disaster_recovery_operator::api::condition::condition_type;
use disaster_recovery_operator::api::disk_replica_group::{DrillResult, DrillRun};
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::controller::disk_replica_group::decide::{Decision, Step, Verdict, next_due};
use disaster_recovery_operator::simulator::model::ebs::{DiskRules, DrillEdit, DrillStatus};
use serde_json::{Value, json};

use super::acting::Fault;
use super::words;
use super::world::*;

const MINUTE: i64 = 60_000;

/// A world with a drill at 3:00 on Sundays whose clones are kept for two hours; it is Friday, 06:30.
fn sundays() -> World {
    let mut world = World::in_sync(json!({"drill": {"schedule": "0 3 * * 0", "keepFor": "2h"}}));
    world.pass();
    world
}

fn drills(world: &World) -> usize {
    world.disks.inspect().drills.len()
}

fn current(world: &World) -> Option<DrillRun> {
    world.status.drills.clone()?.current
}

fn last(world: &World) -> Option<DrillRun> {
    world.status.drills.clone()?.last
}

/// When the first drill is due that was not begun.
fn due(world: &World) -> Option<String> {
    next_due(&world.object.spec, world.status.drills.as_ref()?).map(|it| it.to_string())
}

fn edit(world: &mut World, status: Option<DrillStatus>, fail_next: Option<bool>) {
    let id = world.disks.inspect().drills[0].drill_id.clone();
    world.disks.edit_drill(&id, &DrillEdit { status, fail_next }).unwrap();
}

fn ask(world: &mut World, value: &str) {
    world.annotate(DRILL_ANNOTATION, value);
}

/// A drill that runs.
fn drilling(patch: Value) -> World {
    let mut world = World::in_sync(json!({"drill": {"schedule": "0 3 * * 0", "keepFor": "2h"}}));
    world.edit(patch);
    ask(&mut world, "now");
    assert_eq!(world.pass().told(), "Drill ok");
    world
}

#[test]
fn a_drill_begins_at_its_time_is_kept_for_its_time_and_is_cleared() {
    let mut world = sundays();
    assert_eq!(world.pass().told(), "ok");
    world.advance((44 * 60 + 29) * MINUTE);
    assert_eq!(world.pass().told(), "ok", "it is not 3:00 yet");
    assert_eq!(due(&world).as_deref(), Some("2025-03-02T03:00:00Z"));
    world.advance(3 * MINUTE);
    assert_eq!(due(&world).as_deref(), Some("2025-03-02T03:00:00Z"), "it has not begun");
    assert_eq!(world.pass().told(), "Drill ok");
    assert_eq!(due(&world).as_deref(), Some("2025-03-09T03:00:00Z"));
    assert_eq!(drills(&world), 1);
    let begun = current(&world).unwrap();
    assert!(begun.drill_id.is_some());
    world.pass();
    assert_eq!(current(&world).unwrap().drill_status.as_deref(), Some("executed"));
    assert!(current(&world).unwrap().recovery_point.is_some());
    world.advance(110 * MINUTE);
    assert_eq!(world.pass().told(), "ok");
    world.advance(10 * MINUTE);
    assert_eq!(world.pass().told(), "Clear ok");
    world.pass();
    let ended = last(&world).unwrap();
    assert_eq!((drills(&world), current(&world)), (0, None));
    assert_eq!((ended.result, ended.drill_id), (Some(DrillResult::Succeeded), begun.drill_id));
    assert_eq!(world.pass().told(), "ok", "once a Sunday");
}

#[test]
fn drills_that_were_missed_are_made_up_for_once() {
    let mut world = sundays();
    world.advance(22 * 24 * 60 * MINUTE);
    assert_eq!(world.pass().told(), "Drill ok");
    world.advance(121 * MINUTE);
    world.converge(10);
    assert_eq!(world.pass().told(), "ok");
    assert_eq!(drills(&world), 0);
}

#[test]
fn a_schedule_that_is_new_asks_for_no_drill_of_the_past() {
    let mut world = World::in_sync(json!({}));
    world.edit(json!({"drill": {"schedule": "* * * * *"}}));
    assert_eq!(world.pass().told(), "ok");
    assert!(world.status.drills.clone().unwrap().last_schedule_time.is_some());
    world.advance(MINUTE);
    assert_eq!(world.pass().told(), "Drill ok");
}

#[test]
fn a_request_is_handled_once_and_one_drill_runs_at_a_time() {
    let mut world = drilling(json!({}));
    assert_eq!(world.status.last_handled_drill_at.as_deref(), Some("now"));
    ask(&mut world, "again");
    for _ in 0..5 {
        assert_eq!(world.pass().told(), "ok");
    }
    assert_eq!(drills(&world), 1);
    assert_eq!(world.status.last_handled_drill_at.as_deref(), Some("now"), "it stays asked for");
    world.advance(121 * MINUTE);
    let told: Vec<_> = (0..4).map(|_| world.pass().told()).collect();
    assert_eq!(told, ["Clear ok", "ok", "Drill ok", "ok"]);
}

#[test]
fn somebody_elses_drill_is_waited_for_and_not_cleared() {
    let mut world = sundays();
    let id = world.group_id();
    world.disks.start_drill(DESTINATION, &id, world.now).unwrap();
    world.advance(24 * 60 * MINUTE);
    ask(&mut world, "now");
    for _ in 0..3 {
        assert_eq!(world.pass().told(), "ok");
    }
    assert_eq!((drills(&world), current(&world)), (1, None));
}

#[test]
fn a_request_without_a_schedule_is_told_and_handled() {
    let mut world = World::in_sync(json!({}));
    ask(&mut world, "now");
    let passed = world.pass();
    assert_eq!(passed.told(), "ok");
    assert!(passed.events.iter().any(|it| it.reason == "DrillNotStarted"), "{:?}", passed.events);
    assert_eq!(world.status.last_handled_drill_at.as_deref(), Some("now"));
    assert_eq!(world.pass().events, vec![]);
}

#[test]
fn no_drill_begins_while_something_goes_on_or_is_refused() {
    for (patch, console) in [
        (json!({"activeSite": "Destination"}), json!({})),
        (json!({"replication": "Stopped"}), json!({})),
        (json!({}), json!({"status": "failovered"})),
        (json!({}), json!({"status": "syncing", "lastRecoverPoint": 0})),
        (json!({"managementPolicy": "Observe"}), json!({})),
    ] {
        let mut world = sundays();
        world.disks.freeze(true);
        world.edit(patch.clone());
        world.console(console.clone());
        ask(&mut world, "now");
        let drill = |it: &Step| words::call(&it.action) == "Drill";
        let began = world.pass().decision.steps.iter().any(drill);
        assert!(!began, "{patch} {console}");
    }
}

#[test]
fn no_drill_begins_in_a_group_of_another() {
    let mut world = sundays();
    world.object.metadata.name = Some("other".into());
    ask(&mut world, "now");
    assert_eq!(world.pass().told(), "!OwnedByAnother");
    assert_eq!(drills(&world), 0);
}

fn one(fault: Fault) -> impl FnMut(&Step) -> Fault {
    move |_| fault
}

fn tokens(decision: &Decision) -> Vec<String> {
    decision.steps.iter().map(|it| it.token.to_string()).collect()
}

#[test]
fn a_lost_answer_is_asked_for_with_the_same_token_and_makes_one_drill() {
    for fault in [Fault::RequestLost, Fault::AnswerLost, Fault::Delayed(60_000), Fault::Processing] {
        let mut world = sundays();
        ask(&mut world, "now");
        let first = world.faulty_pass(&mut one(fault), Crash::Never, false).unwrap();
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
fn a_crash_after_the_call_makes_one_drill() {
    for crash in [Crash::AfterCalls(0), Crash::AfterCalls(1), Crash::BeforeStatus] {
        let mut world = sundays();
        ask(&mut world, "now");
        world.faulty_pass(&mut one(Fault::None), crash, false);
        for _ in 0..20 {
            world.pass();
            assert_eq!(drills(&world), 1, "{crash:?}");
        }
    }
}

#[test]
fn a_lost_drill_is_not_asked_for_again_once_a_failover_began() {
    let mut world = sundays();
    ask(&mut world, "now");
    world.faulty_pass(&mut one(Fault::RequestLost), Crash::Never, false);
    world.edit(json!({"activeSite": "Destination"}));
    assert_eq!(world.pass().told(), "Stop:FailingOver");
    for _ in 0..40 {
        world.pass();
    }
    assert_eq!((drills(&world), current(&world)), (0, None));
    assert_eq!(last(&world).unwrap().result, Some(DrillResult::Failed));
}

#[test]
fn a_refused_drill_failed_and_says_so() {
    let mut world = sundays();
    ask(&mut world, "now");
    let passed = world.faulty_pass(&mut one(Fault::Refused(Class::Invalid)), Crash::Never, false).unwrap();
    assert_eq!((current(&world), last(&world).unwrap().result), (None, Some(DrillResult::Failed)));
    assert!(passed.events.iter().any(|it| it.reason == "DrillFailed"), "{:?}", passed.events);
    assert!(
        world.condition(condition_type::SYNCED).starts_with("True/"),
        "what becomes of a drill is said of the drill"
    );
    assert_eq!(world.pass().told(), "ok");
}

#[test]
fn a_drill_whose_cloning_failed_is_cleared_at_once() {
    let mut world = World::in_sync_with(
        json!({"drill": {"schedule": "0 3 * * 0"}}),
        DiskRules { delay_ms: 20_000, ..DiskRules::default() },
    );
    ask(&mut world, "now");
    world.pass();
    edit(&mut world, None, Some(true));
    world.advance(30_000);
    assert_eq!(world.pass().told(), "Clear ok");
    world.advance(30_000);
    world.pass();
    assert_eq!((drills(&world), last(&world).unwrap().result), (0, Some(DrillResult::Failed)));
}

#[test]
fn a_drill_that_cannot_be_cleared_is_a_condition_and_is_cleared_again_until_it_is_gone() {
    let mut world = drilling(json!({}));
    world.pass();
    world.advance(121 * MINUTE);
    edit(&mut world, Some(DrillStatus::ClearFailed), None);
    assert_eq!(world.pass().told(), "Clear ok");
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
fn a_drill_that_somebody_cleared_has_ended() {
    let mut world = drilling(json!({}));
    world.pass();
    let (group, drill) = (world.group_id(), world.disks.inspect().drills[0].drill_id.clone());
    world.disks.clear_drill(DESTINATION, (&group, &drill), world.now).unwrap();
    world.advance(1_000);
    // One list may be late: it is asked to be cleared, and is gone when nothing is left to clear.
    assert_eq!(world.pass().told(), "Clear ok");
    world.pass();
    assert_eq!((current(&world), last(&world).unwrap().result), (None, Some(DrillResult::Succeeded)));
}

#[test]
fn a_drill_is_cleared_when_the_spec_has_none_any_more() {
    let mut world = drilling(json!({}));
    world.pass();
    world.edit(json!({"drill": null}));
    assert_eq!(world.pass().told(), "Clear ok");
    world.converge(10);
    assert_eq!((drills(&world), current(&world)), (0, None));
}

#[test]
fn a_drill_is_cleared_where_it_was_begun_though_replication_was_turned_round_since() {
    let mut world = drilling(json!({}));
    world.edit(json!({"activeSite": "Destination"}));
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
fn deletion_clears_the_drill_before_anything_else() {
    for policy in ["Delete", "Retain"] {
        let mut world = drilling(json!({"deletionPolicy": policy}));
        world.delete();
        assert_eq!(world.pass().told(), "Clear wait:Deleting", "{policy}");
        assert_eq!(drills(&world), 0);
        let last = world.converge(50);
        assert!(matches!(last.decision.verdict, Verdict::Released { .. }));
        assert_eq!(world.disks.inspect().groups.len(), usize::from(policy == "Retain"));
    }
}

#[test]
fn deletion_waits_for_a_drill_whose_call_was_lost_and_clears_it() {
    let mut world = sundays();
    ask(&mut world, "now");
    world.faulty_pass(&mut one(Fault::Delayed(100_000)), Crash::Never, false);
    world.delete();
    let last = world.converge(100);
    assert!(matches!(last.decision.verdict, Verdict::Released { .. }));
    world.advance(200_000);
    assert_eq!(drills(&world), 0);
}
