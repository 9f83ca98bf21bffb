//! In every healthy set-up `Protected` becomes True soon, and stays.

use disaster_recovery_operator::api::condition::condition_type::PROTECTED;
use disaster_recovery_operator::simulator::model::{Consumption, Rules};
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
    let mut world = World::new(spec, Rules::default());
    // The default of the command line.
    world.set_window(std::time::Duration::from_secs(30));
    world.converge(20);
    world
}

#[test]
fn healthy_plans_become_and_stay_protected() {
    type Situation = fn(&mut World);
    let situations: [(&str, Situation); 6] = [
        ("busy", |_| {}),
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
