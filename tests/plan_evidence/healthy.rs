//! In every healthy set-up `Protected` becomes True soon, and stays.

use disaster_recovery_operator::api::condition::condition_type::{OFFSETS_COVERED, PROTECTED};
use disaster_recovery_operator::api::plan::DisasterRecoveryPlanSpec;
use disaster_recovery_operator::controller::conditions::find;
use disaster_recovery_operator::simulator::model::{Consumption, Production, Rules};
use jiff::Timestamp;
use serde_json::json;
use test_support::driver::plan::*;
use test_support::table::Table;

const STEP_MS: i64 = 2_000;

/// How long `Protected` takes to become True, in ms, and how often it ends until `for_ms` are over.
fn becomes_and_stays(world: &mut World, for_ms: i64) -> (Option<i64>, usize) {
    let start = world.now();
    let (mut became, mut ended) = (None, 0);
    while world.now() - start < for_ms {
        world.observe_for(STEP_MS);
        let holds = world.condition(PROTECTED).starts_with("True");
        match (became, holds) {
            (None, true) => became = Some(world.now() - start),
            (Some(_), false) => {
                ended += 1;
                became = None;
            }
            _ => {}
        }
    }
    (became, ended)
}

fn plan(objective: &str) -> World {
    let spec = spec_with(json!({
        "recoveryPointObjective": objective,
        "topicMappings": [mapping("a", "a", "Running"), mapping("b", "b", "Running")],
    }));
    begin(spec)
}

fn begin(spec: DisasterRecoveryPlanSpec) -> World {
    let mut world = World::new(spec, Rules::default());
    // The default of the command line.
    world.set_window(std::time::Duration::from_secs(30));
    world.converge(20);
    world
}

#[test]
fn healthy_plans_become_and_stay_protected() {
    type Situation = fn(&mut World);
    let situations: [(&str, Situation); 7] = [
        ("busy", |_| {}),
        ("quiet topics", |world| {
            world.observe_for(60_000);
            world.simulator.with_model(|model, now| model.set_production(None, Production::Quiet, now));
        }),
        ("source offline", |world| {
            world.observe_for(60_000);
            world.simulator.with_model(|model, now| model.set_consumption("GID_ORDERS", Consumption::Offline, now));
        }),
        ("all offline", |world| {
            world.observe_for(60_000);
            world.simulator.with_model(|model, now| {
                model.set_consumption("GID_ORDERS", Consumption::Offline, now);
                model.set_consumption("GID_BILLING", Consumption::Offline, now);
            });
        }),
        ("catching up", |world| {
            world.simulator.with_model(|model, now| model.set_consumption("GID_ORDERS", Consumption::Offline, now));
            let offline = world.now();
            world.observe_for(3_600_000);
            let behind_ms = world.now() - offline;
            let slow = Consumption::CatchingUp { behind_ms, speed_percent: 150 };
            world.simulator.with_model(|model, now| model.set_consumption("GID_ORDERS", slow, now));
        }),
        ("new group", |world| {
            world.observe_for(600_000);
            world.simulator.with_model(|model, now| model.add_group("GID_NEW", None, now)).unwrap();
        }),
        ("restart with a lease", |world| {
            world.observe_for(600_000);
            let renewed = Timestamp::from_millisecond(world.now() - 5_000).ok();
            world.restart_after(renewed);
            world.reconcile_at_start();
        }),
    ];
    let mut table = Table::default();
    for objective in ["30s", "5m", "1h"] {
        for (name, situation) in situations {
            let mut world = plan(objective);
            situation(&mut world);
            let (became, ended) = becomes_and_stays(&mut world, 1_200_000);
            let soon = became.is_some_and(|ms| ms <= 60_000);
            table.cell(format!("{name}, {objective}"), &(true, 0), &(soon, ended));
        }
    }
    table.check();
}

#[test]
fn five_thousand_groups_fit_into_status() {
    let groups: Vec<_> = (0..5_000).map(|number| format!("GID_{number:04}")).collect();
    let spec = spec_with(json!({"recoveryPointObjective": "5m"}));
    let mut world = World::new(spec, Rules { consumer_groups: groups, ..Rules::default() });
    world.converge(20);
    let (became, ended) = becomes_and_stays(&mut world, 120_000);
    assert_eq!((became.is_some(), ended), (true, 0), "{}", world.message(PROTECTED));
    world.model().freeze_sync(true);
    world.observe_for(700_000);
    assert_eq!(world.condition(PROTECTED), "False/ObjectiveExceeded");
    assert_eq!(world.status.checkpoints.as_ref().unwrap().worst.len(), 10);
    let size = serde_json::to_vec(&world.status).unwrap().len();
    assert!(size < 16_384, "{size} bytes");
}

/// A day of a plan, and how it is used.
struct Day {
    name: &'static str,
    spec: DisasterRecoveryPlanSpec,
    groups_offline: bool,
    quiet: bool,
    /// Whether automatic synchronization reaches its groups.
    offsets: &'static str,
}

#[test]
fn healthy_plans_stay_protected_for_a_day() {
    let two = json!([mapping("a", "a", "Running"), mapping("b", "b", "Running")]);
    let one_way = |patch| spec_of(&spec_with(json!({"recoveryPointObjective": "5m", "topicMappings": two})), patch);
    let cold = json!({"checkpointSync": {"by": "Operator"}});
    let all = "True/AllGroups";
    let day = |name, spec| Day { name, spec, groups_offline: false, quiet: false, offsets: all };
    let days = [
        day("warm", one_way(json!({}))),
        Day { quiet: true, ..day("quiet", one_way(json!({}))) },
        Day { groups_offline: true, ..day("cold", one_way(cold.clone())) },
        Day { groups_offline: true, quiet: true, ..day("quiet and cold", one_way(cold)) },
        Day { offsets: "False/GroupsNotSynced", ..day("two-way", two_way_spec("5m")) },
    ];
    let mut table = Table::default();
    for Day { name, spec, groups_offline, quiet, offsets } in days {
        let mut world = begin(spec);
        for group in Rules::default().consumer_groups.iter().filter(|_| groups_offline) {
            world.model().set_group_online(group, false);
        }
        world.observe_for(60_000);
        if quiet {
            world.simulator.with_model(|model, now| model.set_production(None, Production::Quiet, now));
        }
        let became = transition(&world);
        world.store.take_writes();
        world.observe_for(24 * 3_600_000);
        let found = (world.condition(PROTECTED), world.condition(OFFSETS_COVERED), transition(&world) == became);
        table.cell(name, &("True/WithinObjective".into(), offsets.into(), true), &found);
        // The time of the last round is shown once an hour.
        let writes = world.store.take_writes().len();
        table.cell(format!("{name}: few writes"), &true, &(writes <= 48));
    }
    table.check();
}

/// When `Protected` last changed.
fn transition(world: &World) -> Timestamp {
    find(&world.status.head.conditions, PROTECTED).unwrap().last_transition_time.0
}

#[test]
fn rare_messages_do_not_flap() {
    let mut table = Table::default();
    for behind_ms in [0, 3_000, 6_000, 60_000] {
        let mut world = plan("5m");
        world.observe_for(60_000);
        let behind = Consumption::CatchingUp { behind_ms, speed_percent: 100 };
        world.simulator.with_model(|model, now| model.set_replication(None, behind, now)).unwrap();
        let produce = |world: &World, to| world.simulator.with_model(|model, now| model.set_production(None, to, now));
        produce(&world, Production::Quiet);
        let became = transition(&world);
        // A message every 40 s, which the consumers of the source have before the replicator.
        for _ in 0..90 {
            produce(&world, Production::Steady);
            world.advance(5);
            produce(&world, Production::Quiet);
            world.observe_for(40_000);
        }
        let found = (world.condition(PROTECTED), transition(&world) == became);
        table.cell(
            format!("{behind_ms} ms behind: {}", world.message(PROTECTED)),
            &("True/WithinObjective".into(), true),
            &found,
        );
    }
    table.check();
}
