//! Calls and their client tokens: what was lost is repeated with its token, what was refused gets another, what was accepted
//! is not repeated before its effect had time to show.

use disaster_recovery_operator::api::disk_replica_group::PendingCall;
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::controller::disk_replica_group::decide::Step;
use serde_json::json;

use super::acting::Fault;
use super::world::*;

/// A world that is about to start replication.
fn starting() -> World {
    let mut world = World::in_sync(json!({"replication": "Stopped"}));
    world.edit(json!({"replication": "Running"}));
    world
}

fn faulty(world: &mut World, fault: Fault) -> Passed {
    world.faulty_pass(&mut |_: &Step| fault, Crash::Never, false).unwrap()
}

/// The token of the one step.
fn token(passed: &Passed) -> String {
    assert_eq!(passed.decision.steps.len(), 1, "{}", passed.told());
    passed.decision.steps[0].token.to_string()
}

fn pending(world: &World) -> Vec<&PendingCall> {
    world.status.pending_calls.iter().collect()
}

#[test]
fn a_lost_call_keeps_its_token_and_a_refused_one_gets_another() {
    for (fault, same) in [
        (Fault::RequestLost, true),
        (Fault::Delayed(100_000), true),
        (Fault::Refused(Class::Unavailable), true),
        (Fault::Refused(Class::Throttled { after: None }), false),
        (Fault::Refused(Class::Conflict), false),
        (Fault::Refused(Class::Denied), false),
        (Fault::Refused(Class::Invalid), false),
        (Fault::Refused(Class::NotFound), false),
    ] {
        let mut world = starting();
        let first = token(&faulty(&mut world, fault));
        assert_eq!(pending(&world).len(), usize::from(same), "{fault:?}");
        assert_eq!(token(&world.pass()) == first, same, "{fault:?}");
    }
}

#[test]
fn a_call_that_the_cloud_is_still_at_work_on_keeps_its_token() {
    let mut world = starting();
    world.disks.rules.delay_ms = 60_000;
    let before = world.last.clone();
    let first = faulty(&mut world, Fault::Processing);
    let mut faults = |_: &Step| Fault::None;
    assert!(before.is_some());
    let again = world.faulty_pass(&mut faults, Crash::Never, true).unwrap();
    assert_eq!(token(&again), token(&first));
}

#[test]
fn a_refusal_of_a_repeat_says_nothing_of_what_was_lost_before() {
    let mut world = starting();
    let first = token(&faulty(&mut world, Fault::Delayed(110_000)));
    let mut same = 0;
    // As long as the first attempt may take effect, its token stays.
    while world.now < T0 + 10_000_000 {
        let again = faulty(&mut world, Fault::Refused(Class::Throttled { after: None }));
        if again.decision.steps.is_empty() || token(&again) != first {
            break;
        }
        same += 1;
    }
    assert!((20..=25).contains(&same), "{same} repeats of 5 s");
}

#[test]
fn an_accepted_call_is_not_repeated_before_its_effect_had_time_to_show() {
    let mut world = starting();
    let first = world.pass();
    assert_eq!(first.told(), "Start:Updating");
    assert!(pending(&world)[0].accepted_at.is_some());
    let tokens: Vec<_> = (0..27)
        .map(|_| {
            // Nothing comes of it.
            world.console(json!({"status": "stopped"}));
            let passed = world.pass();
            if passed.decision.steps.is_empty() {
                assert_eq!(passed.told(), "wait:Updating");
            }
            passed.decision.steps.first().map(|it| it.token.to_string())
        })
        .collect();
    let again = tokens.iter().position(Option::is_some).unwrap();
    assert_eq!(again, 24, "after 120 s");
    assert_ne!(tokens[again], Some(token(&first)), "with another token");
}

#[test]
fn a_crash_between_the_intent_and_the_call_or_after_it_repeats_the_same_call() {
    for crash in [Crash::AfterCalls(0), Crash::AfterCalls(1), Crash::BeforeStatus] {
        let mut world = starting();
        let first = world.faulty_pass(&mut |_| Fault::None, crash, false).unwrap();
        assert_eq!(pending(&world).len(), 1, "the intent is written");
        let again = world.faulty_pass(&mut |_| Fault::None, Crash::Never, true).unwrap();
        assert_eq!(token(&again), token(&first), "{crash:?}");
    }
}

#[test]
fn a_call_that_was_skipped_keeps_what_is_known_of_it() {
    let mut world = World::in_sync(json!({"replication": "Stopped"}));
    world.edit(json!({"pairs": [pair("data"), pair("logs"), pair("temp")]}));
    let first = world.faulty_pass(&mut |_| Fault::RequestLost, Crash::Never, false).unwrap();
    let again = world.pass();
    let tokens = |passed: &Passed| passed.decision.steps.iter().map(|it| it.token.to_string()).collect::<Vec<_>>();
    assert_eq!(tokens(&first).len(), 2);
    assert_eq!(tokens(&again), tokens(&first));
}

#[test]
fn each_call_has_a_token_of_its_own_in_each_region() {
    let mut world = World::in_sync(json!({"replication": "Stopped"}));
    world.edit(json!({"groupName": "other", "pairs": [pair("data"), pair("logs"), pair("temp")]}));
    let decision = world.decide();
    let mut tokens: Vec<_> =
        decision.steps.iter().flat_map(|it| [it.token.to_string(), it.elsewhere.to_string()]).collect();
    tokens.sort();
    let all = tokens.len();
    tokens.dedup();
    assert_eq!((all, tokens.len()), (6, 6));
    assert_eq!(world.decide().steps, decision.steps, "the same decision has the same tokens");
}

#[test]
fn a_failover_that_may_be_under_way_is_waited_for_before_it_is_taken_back() {
    for fault in [Fault::Delayed(100_000), Fault::AnswerLost, Fault::RequestLost] {
        let mut world = World::in_sync(json!({}));
        world.edit(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
        assert_eq!(faulty(&mut world, fault).told(), "Failover:FailingOver");
        world.edit(json!({"activeSite": "Source"}));
        let told: Vec<_> = (0..40).map(|_| world.pass().told()).collect();
        let cancelled = told.iter().any(|it| it == "Cancel:Cancelling");
        assert_eq!(cancelled, fault != Fault::RequestLost, "{fault:?}: {told:?}");
        assert!(!told.iter().any(|it| it == "!Drifted"), "{told:?}");
        assert_eq!(told.last().unwrap(), "ok");
    }
}
