//! Conditions after failures: no observation, refused steps, refused specs.

use disaster_recovery_operator::api::condition::{condition_type, synced};
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::controller::conditions::{self, ConditionState};
use disaster_recovery_operator::simulator::model::Rules;
use serde_json::json;

use super::situations::{all_conditions, failure, named_plan, sample, steady};
use test_support::driver::plan::*;
use test_support::table::Table;

#[test]
fn last_observation_lasts_until_it_expires() {
    let table = [
        (Class::Unavailable, "Unknown/CloudUnavailable", ""),
        (Class::Ambiguous, "Unknown/CloudUnavailable", ""),
        (Class::Throttled { after: None }, "Unknown/Throttled", ""),
        (Class::Denied, "False/AccessDenied", "True/AccessDenied"),
    ];
    let mut cells = Table::default();
    for (class, synced, stalled) in table {
        let mut world = steady(json!({}), Rules::default());
        let (failed, stalls) = conditions::failure(&failure(class));
        cells.cell(format!("{class:?} needs a person"), &!stalled.is_empty(), &stalls);
        for (recent, ready, protected, offsets) in [
            (true, "True/Available", "True/WithinObjective", "True/AllGroups"),
            (false, "Unknown/NotReady", "Unknown/Unknown", "Unknown/Unknown"),
        ] {
            world.fresh = recent;
            if !recent {
                world.advance(300_000);
            }
            world.status = world.scope(|scope| scope.unobserved(&failed, stalls));
            // A wait for Ready must not end while a person has to act.
            let ready = if stalled.is_empty() { ready } else { "Unknown/NotReady" };
            let (found, expected) = (all_conditions(&world), [ready, synced, protected, offsets, "", stalled]);
            cells.cell(format!("{class:?}, recent: {recent}"), &expected, &found);
        }
    }
    cells.check();
}

#[test]
fn unobserved_plan_has_unknown_conditions() {
    let mut world = World::new(spec_with(json!({})), Rules::default());
    let failed = ConditionState::no(synced::CREDENTIALS_NOT_FOUND, "no Secret");
    world.status = world.scope(|scope| scope.unobserved(&failed, true));
    assert_eq!(
        all_conditions(&world),
        [
            "Unknown/NotReady",
            "False/CredentialsNotFound",
            "Unknown/Unknown",
            "Unknown/Unknown",
            "",
            "True/CredentialsNotFound"
        ]
    );
}

#[test]
fn message_names_why_nothing_is_known() {
    let (failed, _) = conditions::failure(&failure(Class::Unavailable));
    let unobserved = |mut world: World, recent| {
        world.fresh = recent;
        if !recent {
            world.advance(300_000);
        }
        world.status = world.scope(|scope| scope.unobserved(&failed, false));
        [condition_type::READY, condition_type::PROTECTED, condition_type::RECONCILING].map(|kind| world.message(kind))
    };
    let long = "no observation of the cloud is recent enough";
    let behind = "the spec is not carried out yet, and the cloud cannot be seen";
    let later = "the spec is carried out once the cloud can be seen";
    let new = || World::new(spec_with(json!({})), Rules::default());
    let never = "nothing was seen of the cloud yet";
    assert_eq!(unobserved(new(), true), [behind, never, later]);
    assert_eq!(unobserved(new(), false), [long, never, later]);
    let edited = |mut world: World| {
        world.edit(json!({"planDesc": "Other"}));
        world
    };
    let within = "every consumer group and every message is within 5m";
    let running = || steady(json!({}), Rules::default());
    assert_eq!(unobserved(edited(running()), true), [behind, within, later]);
    assert_eq!(unobserved(edited(running()), false), [long, long, later]);
    let mut observing = named_plan("Observe", "Running");
    observing.pass();
    let compared =
        ["the cloud could not be seen since the spec changed", "the spec is compared once the cloud can be seen"];
    assert_eq!(unobserved(edited(observing), true), [compared[0], within, compared[1]]);
}

#[test]
fn unreadable_checkpoints_stall_nothing() {
    let mut table = Table::default();
    for class in [Class::Denied, Class::Throttled { after: None }, Class::Unavailable, Class::Invalid] {
        for policy in ["Manage", "Observe"] {
            let mut world = named_plan(policy, "Running");
            sample(&mut world);
            let before = all_conditions(&world);
            world.fail_checkpoints(Some(class));
            sample(&mut world);
            table.cell(format!("{class:?} {policy}"), &before, &all_conditions(&world));
            world.observe_for(300_000);
            let mut expected = before.clone();
            (expected[2], expected[3]) = ("Unknown/Unknown".into(), "Unknown/Unknown".into());
            table.cell(format!("{class:?} {policy}, later"), &expected, &all_conditions(&world));
            let named = |it| {
                world.message(it).contains("its checkpoints cannot be read: ListDisasterRecoveryCheckpoints failed")
            };
            let found = [condition_type::PROTECTED, condition_type::OFFSETS_COVERED].map(named);
            table.cell(format!("{class:?} {policy}, cause"), &[true; 2], &found);
            world.fail_checkpoints(None);
            world.observe_for(61_000);
            table.cell(format!("{class:?} {policy}, again"), &before, &all_conditions(&world));
        }
    }
    table.check();
}

#[test]
fn every_failed_step_has_its_reason() {
    let mut cells = Table::default();
    for (class, synced, stalled) in [
        (Class::Denied, "False/AccessDenied", "True/AccessDenied"),
        (Class::Invalid, "False/InvalidSpec", "True/InvalidSpec"),
        (Class::Conflict, "False/Progressing", ""),
        // A resource that the new plan names does not exist.
        (Class::NotFound, "False/InvalidSpec", "True/InvalidSpec"),
        (Class::Throttled { after: None }, "Unknown/Throttled", ""),
        (Class::Unavailable, "Unknown/CloudUnavailable", ""),
        (Class::Ambiguous, "Unknown/CloudUnavailable", ""),
    ] {
        let mut world = World::new(spec_with(json!({})), Rules::default());
        world.faulty_steps(&mut |_| Fate::refused(class), Crash::Never);
        let [_, found_synced, _, _, reconciling, found_stalled] = all_conditions(&world);
        cells.cell(format!("{class:?}"), &[synced, stalled], &[found_synced, found_stalled]);
        cells.cell(format!("{class:?} is in progress"), &stalled.is_empty(), &!reconciling.is_empty());
    }
    cells.check();
}

#[test]
fn refusal_stalls_and_publishes_one_event() {
    let mut world = steady(json!({}), Rules::default());
    world.edit(json!({"planType": "ACTIVE_ACTIVE"}));
    let first = world.pass();
    let refused = ["False/NotReady", "False/ImmutableField"];
    assert_eq!(&all_conditions(&world)[..2], refused);
    assert_eq!(&all_conditions(&world)[4..], ["", "True/ImmutableField"]);
    assert!(world.message(condition_type::SYNCED).contains("planType"));
    assert_eq!(first.events.iter().filter(|it| it.reason == synced::IMMUTABLE_FIELD).count(), 1);
    assert_eq!(world.pass().events, vec![]);
}

#[test]
fn plan_owned_by_another_has_unknown_protection() {
    let mut world = steady(json!({}), Rules::default());
    let id = world.plan_id();
    world.model().edit_plan(id, &json!({"planDesc": format!("Orders {THEIRS}")}), world.now()).unwrap();
    world.pass();
    assert_eq!(
        all_conditions(&world),
        ["False/NotReady", "False/OwnedByAnother", "Unknown/Unknown", "Unknown/Unknown", "", "True/OwnedByAnother"]
    );
}
