//! Calls and their client tokens: a lost call is repeated with its token, a refused one gets another, an accepted one is not
//! repeated before its effect had time to show.

use disaster_recovery_operator::api::disk_replica_group::PendingCall;
use disaster_recovery_operator::cloud::error::Class;
use serde_json::json;

use test_support::driver::faults::Fate;
use test_support::driver::group::*;
use test_support::driver::world::T0;

/// A world that is about to start replication.
fn starting() -> World {
    let mut world = World::in_sync(json!({"replication": "Stopped"}));
    world.want(json!({"replication": "Running"}));
    world
}

/// The client tokens of the requests that the last reconcile sent, without repeats.
fn sent(world: &World) -> Vec<String> {
    let mut tokens: Vec<_> = world.attempts().into_iter().map(|it| it.token.unwrap()).collect();
    tokens.dedup();
    tokens
}

/// The token of the one step, which the last reconcile sent if it sent anything.
fn token(world: &World, passed: &Passed) -> String {
    assert_eq!(passed.decision.steps.len(), 1, "{}", passed.summary());
    let token = passed.decision.steps[0].token.to_string();
    assert!(sent(world).iter().all(|it| *it == token), "{:?} and {token}", sent(world));
    token
}

fn pending(world: &World) -> Vec<&PendingCall> {
    world.status.pending_calls.iter().collect()
}

#[test]
fn lost_call_keeps_token_refused_call_does_not() {
    for (fault, same) in [
        (Fate::LOST, true),
        (Fate::late(100_000), true),
        (Fate::refused(Class::Unavailable), true),
        (Fate::refused(Class::Throttled { after: None }), false),
        (Fate::refused(Class::Conflict), false),
        (Fate::refused(Class::Denied), false),
        (Fate::refused(Class::Invalid), false),
        (Fate::refused(Class::NotFound), false),
    ] {
        let mut world = starting();
        let passed = world.pass_with(fault.clone());
        let first = token(&world, &passed);
        assert_eq!(sent(&world), [first.as_str()], "{fault:?}");
        assert_eq!(pending(&world).len(), usize::from(same), "{fault:?}");
        let passed = world.pass();
        assert_eq!(token(&world, &passed) == first, same, "{fault:?}");
        assert_eq!(sent(&world).len(), 1, "{fault:?}");
    }
}

#[test]
fn call_in_progress_keeps_token() {
    let mut world = starting();
    world.disks(|disks, _| disks.rules.delay_ms = 60_000);
    let passed = world.pass_with(Fate::processing());
    let first = token(&world, &passed);
    let again = world.stale_pass();
    assert_eq!(token(&world, &again), first);
    assert_eq!(sent(&world), [first]);
}

#[test]
fn refused_repeat_of_lost_call_keeps_token() {
    let mut world = starting();
    let called_at = world.now();
    let passed = world.pass_with(Fate::late(110_000));
    let first = token(&world, &passed);
    let mut same = 0;
    while world.now() < T0 + 10_000_000 {
        let again = world.pass_with(Fate::refused(Class::Throttled { after: None }));
        if again.decision.steps.is_empty() || token(&world, &again) != first {
            break;
        }
        same += 1;
    }
    // As long as the first attempt may take effect, its token stays.
    assert!(world.now() >= called_at + 110_000, "{same} repeats");
    assert!(same > 10, "{same} repeats of 5 s and the client's pauses");
}

#[test]
fn accepted_call_is_repeated_after_visibility_window() {
    let mut world = starting();
    let first = world.pass();
    assert_eq!(first.summary(), "Start:Updating");
    assert!(pending(&world)[0].accepted_at.is_some());
    let first = token(&world, &first);
    let tokens: Vec<_> = (0..27)
        .map(|_| {
            // The call has no effect.
            world.console(json!({"status": "stopped"}));
            let passed = world.pass();
            if passed.decision.steps.is_empty() {
                assert_eq!(passed.summary(), "wait:Updating");
                assert_eq!(passed.calls, vec![]);
            }
            sent(&world).first().cloned()
        })
        .collect();
    let again = tokens.iter().position(Option::is_some).unwrap();
    assert_eq!(again, 24, "after 120 s");
    assert_ne!(tokens[again], Some(first), "with another token");
}

#[test]
fn crash_around_call_repeats_same_call() {
    for crash in [Crash::AfterCalls(0), Crash::AfterCalls(1), Crash::BeforeStatus] {
        let mut world = starting();
        let first = world.faulty_pass(vec![], crash).unwrap();
        assert_eq!(first.calls.len(), usize::from(crash != Crash::AfterCalls(0)), "{crash:?}");
        let first = token(&world, &first);
        assert_eq!(pending(&world).len(), 1, "the intent is written");
        let again = world.stale_pass();
        assert_eq!(token(&world, &again), first, "{crash:?}");
        assert_eq!(sent(&world), [first], "{crash:?}");
    }
}

#[test]
fn skipped_call_keeps_token() {
    let mut world = World::in_sync(json!({"replication": "Stopped"}));
    world.want(json!({"pairs": [pair("data"), pair("logs"), pair("temp")]}));
    let tokens = |passed: &Passed| passed.decision.steps.iter().map(|it| it.token.to_string()).collect::<Vec<_>>();
    let first = world.pass_with(Fate::LOST);
    assert_eq!(tokens(&first).len(), 2);
    assert_eq!(sent(&world), tokens(&first)[..1], "the second one is skipped");
    let again = world.pass();
    assert_eq!(tokens(&again), tokens(&first));
    assert_eq!(sent(&world), tokens(&first));
}

#[test]
fn each_call_and_region_has_own_token() {
    let mut world = World::in_sync(json!({"replication": "Stopped"}));
    world.want(json!({"groupName": "other", "pairs": [pair("data"), pair("logs"), pair("temp")]}));
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
fn cancel_waits_for_failover_that_may_happen() {
    for fault in [Fate::late(100_000), Fate::REPLY_LOST, Fate::LOST] {
        let mut world = World::in_sync(json!({}));
        world.want(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
        assert_eq!(world.pass_with(fault.clone()).summary(), "Failover:FailingOver");
        world.want(json!({"activeSite": "Source", "failover": {"mode": "Cancel"}}));
        let found: Vec<_> = (0..40).map(|_| world.pass().summary()).collect();
        let cancelled = found.iter().any(|it| it == "Cancel:Cancelling");
        assert_eq!(cancelled, fault != Fate::LOST, "{fault:?}: {found:?}");
        assert!(!found.iter().any(|it| it == "!Drifted"), "{found:?}");
        assert_eq!(found.last().unwrap(), "ok");
    }
}
