//! Conditions that expire: by a timer, at their time, without a call and without a reconcile, whatever else happens.

use std::collections::BTreeMap;

use disaster_recovery_operator::api::condition::condition_type::{OFFSETS_COVERED, PROTECTED, READY};
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::controller::conditions;
use disaster_recovery_operator::simulator::FaultKind;
use disaster_recovery_operator::simulator::model::ItemStatus;
use serde_json::json;

use super::situations::{
    EXPIRING, GET_LAG, LIST_CHECKPOINTS, LIST_ITEMS, LIST_PLANS, all_conditions, at_rest, fail, first_item, last,
};
use test_support::driver::plan::*;
use test_support::table::Table;

/// From a sample of caught-up groups to the end of its proof: the objective without the margin.
const PROOF_MS: i64 = 295_000;
/// From a complete list of checkpoints to the end of what rests on it.
const LIST_MS: i64 = 300_000;
/// Three list intervals.
const PLANS_MS: i64 = 180_000;
const ITEMS_MS: i64 = 900_000;

/// The time at which each condition ceased to be certain, within this time, and how many requests and reconciles there were in
/// that moment.
fn expiries(world: &mut World, within_ms: i64) -> BTreeMap<&'static str, (i64, usize, usize)> {
    let mut found = BTreeMap::new();
    let end = world.now() + within_ms;
    while world.now() < end {
        let certain = EXPIRING.map(|it| !world.condition(it).starts_with("Unknown/"));
        let (requests, reconciles) = (world.simulator.requests().len(), world.reconciles);
        world.observe_for(500);
        // A reconcile forgets the requests before it.
        let requests = world.simulator.requests().len().saturating_sub(requests);
        for (condition, certain) in EXPIRING.into_iter().zip(certain) {
            if certain && world.condition(condition).starts_with("Unknown/") {
                found.insert(condition, (world.now(), requests, world.reconciles - reconciles));
            }
        }
    }
    found
}

/// Lets time pass until this moment.
fn observe_until(world: &mut World, ms: i64) {
    world.observe_for(ms - world.now());
}

fn transition(world: &World, condition: &str) -> i64 {
    conditions::find(&world.status.head.conditions, condition).unwrap().last_transition_time.0.as_millisecond()
}

#[test]
fn conditions_expire_at_their_time_without_call() {
    // What fails, and what expires of that, by the last read.
    let plans = |world: &World| (READY, last(world, LIST_PLANS) + PLANS_MS);
    let progress = |world: &World| (PROTECTED, last(world, LIST_CHECKPOINTS) + PROOF_MS);
    let messages = |world: &World| (PROTECTED, last(world, GET_LAG) + PROOF_MS);
    let protected = |world: &World| progress(world).min(messages(world));
    let offsets = |world: &World| (OFFSETS_COVERED, last(world, LIST_CHECKPOINTS) + LIST_MS);
    let items = |world: &World, condition| (condition, last(world, LIST_ITEMS) + ITEMS_MS);
    type Expected<'a> = &'a dyn Fn(&World) -> Vec<(&'static str, i64)>;
    let cases: [(&str, Option<&str>, Expected<'_>); 5] = [
        ("everything", None, &|world| vec![plans(world), protected(world), offsets(world)]),
        ("plans", Some(LIST_PLANS), &|world| vec![plans(world)]),
        ("checkpoints", Some(LIST_CHECKPOINTS), &|world| vec![progress(world), offsets(world)]),
        ("messages", Some(GET_LAG), &|world| vec![messages(world)]),
        ("items", Some(LIST_ITEMS), &|world| {
            vec![items(world, READY), items(world, PROTECTED), items(world, OFFSETS_COVERED)]
        }),
    ];
    let mut table = Table::default();
    for (name, action, expected) in cases {
        let mut world = at_rest(json!({}));
        let expected: BTreeMap<_, _> = expected(&world).into_iter().collect();
        fail(&world, Class::Unavailable, action);
        let within_ms = if action == Some(LIST_ITEMS) { ITEMS_MS } else { LIST_MS };
        let found = expiries(&mut world, within_ms + 1_000);
        table.cell(format!("{name}: which"), &expected.keys().collect::<Vec<_>>(), &found.keys().collect::<Vec<_>>());
        for (condition, at) in expected {
            let (found, requests, reconciles) = found.get(condition).copied().unwrap_or_default();
            let in_time = (at..=at + 1_000).contains(&found);
            table.cell(format!("{name}: {condition} at its time"), &(true, 0, 0), &(in_time, requests, reconciles));
            let text = world.message(condition);
            if action == Some(LIST_ITEMS) {
                // The error of the reconcile that follows is in `Synced`.
                continue;
            }
            table.cell(
                format!("{name}: {condition} names the error: {text}"),
                &true,
                &text.contains("ServiceUnavailable"),
            );
        }
        world.simulator.clear_faults();
        world.observe_for(180_000);
        let again = ["True/Available", "True/WithinObjective", "True/AllGroups"];
        table.cell(format!("{name}: recovered"), &again, &EXPIRING.map(|it| world.condition(it)));
    }
    table.check();
}

#[test]
fn edit_during_outage_extends_nothing() {
    let mut world = at_rest(json!({"updatePolicy": "Wait"}));
    let until = last(&world, LIST_CHECKPOINTS).min(last(&world, GET_LAG)) + PROOF_MS;
    let offsets_until = last(&world, LIST_CHECKPOINTS) + PROOF_MS;
    fail(&world, Class::Unavailable, None);
    world.observe_for(20_000);
    world.edit(json!({"pollInterval": "50s"}));
    drop(world.faulty_pass(vec![], Crash::Never));
    // `Ready` and `Synced` are about the new spec; what is known of the old one lasts.
    let kept =
        ["Unknown/NotReady", "Unknown/CloudUnavailable", "True/WithinObjective", "True/AllGroups", "True/Updating", ""];
    assert_eq!(all_conditions(&world), kept);
    let generation = conditions::find(&world.status.head.conditions, PROTECTED).unwrap().observed_generation;
    assert_eq!(generation, Some(1), "about the old spec");
    let found = expiries(&mut world, 300_000);
    for (condition, until) in [(PROTECTED, until), (OFFSETS_COVERED, offsets_until)] {
        // Here a timer waits for the repeats of a read that fails at the same time.
        assert!((until..=until + 2_000).contains(&found[condition].0), "{condition} {until} {found:?}");
    }
    world.simulator.clear_faults();
    world.pass();
    assert_eq!(
        all_conditions(&world)[..4],
        ["True/Available", "True/InSync", "True/WithinObjective", "True/AllGroups"]
    );
}

#[test]
fn reconcile_and_timer_keep_both_writes() {
    let mut world = at_rest(json!({}));
    world.edit(json!({"planDesc": "Other"}));
    assert_eq!(world.pass().calls[0].action, "UpdateDisasterRecoveryPlan", "refused, since an item runs");
    let until = last(&world, LIST_CHECKPOINTS) + PROOF_MS;
    fail(&world, Class::Unavailable, Some(LIST_CHECKPOINTS));
    observe_until(&mut world, until - 3_000);
    assert_eq!(world.condition(PROTECTED), "True/WithinObjective");
    // The reconcile writes its intent, and the call that follows takes longer than the proof lasts.
    world.observes_beside = true;
    world.store.take_writes();
    drop(world.faulty_pass(vec![Fate::Fault(FaultKind::Slow { ms: 8_000 })], Crash::Never));
    let status = world.store.take_writes().iter().filter(|it| it.ends_with("/status")).count();
    assert!(status >= 3, "the intent, the expiry and the outcome: {status}");
    assert!(world.now() > until + 4_000);
    let (plan, item) = first_item(&mut world);
    assert_eq!(world.items(plan)[&item], ItemStatus::ManualStopped);
    assert_eq!(world.status.paused_items, [item.to_string()]);
    assert_eq!(world.condition(PROTECTED), "Unknown/Unknown", "{}", world.message(PROTECTED));
    assert!((until - 1_000..=until + 1_000).contains(&transition(&world, PROTECTED)), "when the timer wrote it");
    // The change is carried out all the same.
    world.simulator.clear_faults();
    world.converge(10);
    assert_eq!(world.our_plan().unwrap().plan_desc.unwrap(), format!("Other {MARK}"));
    assert_eq!(world.items(plan)[&item], ItemStatus::Running);
}

#[test]
fn conflicting_write_is_repeated() {
    let mut table = Table::default();
    for (conflicts, within_ms) in [(0, 100), (1, 250), (3, 1_000), (9, 5_000)] {
        let mut world = at_rest(json!({}));
        let until = last(&world, LIST_CHECKPOINTS) + PROOF_MS;
        fail(&world, Class::Unavailable, Some(LIST_CHECKPOINTS));
        observe_until(&mut world, until - 100);
        world.store.refuse_writes(conflicts);
        observe_until(&mut world, until + within_ms);
        table.cell(format!("{conflicts} conflicts"), "Unknown/Unknown", world.condition(PROTECTED).as_str());
    }
    table.check();
}

#[test]
fn suspended_and_deleted_plans_have_no_timer() {
    type Change = fn(&mut World);
    let changes: [(&str, Change); 2] =
        [("suspended", |world| world.edit(json!({"suspend": true}))), ("deleted", |world| world.delete())];
    for (name, change) in changes {
        let mut world = at_rest(json!({}));
        change(&mut world);
        fail(&world, Class::Unavailable, None);
        drop(world.faulty_pass(vec![], Crash::Never));
        world.store.take_writes();
        world.simulator.clear_requests();
        world.observe_for(3_600_000);
        assert_eq!(world.store.take_writes(), Vec::<String>::new(), "{name}");
        assert_eq!(world.simulator.requests().len(), 0, "{name}");
    }
}
