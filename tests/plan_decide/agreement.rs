//! The world of these tests does by hand what the operator does over HTTP. Here both look at the same cloud, through the
//! client and the simulator's router, so that the one stays true to the other.

use std::sync::Arc;
use std::time::Duration;

use disaster_recovery_operator::cloud::client::{self, Client, Target};
use disaster_recovery_operator::cloud::credentials::Credentials;
use disaster_recovery_operator::cloud::credentials::signer::Signer;
use disaster_recovery_operator::cloud::rate_limit::{Priority, RateLimit};
use disaster_recovery_operator::cloud::rocketmq::{self, RocketMq};
use disaster_recovery_operator::controller::plan::Acted;
use disaster_recovery_operator::controller::plan::act::Effect;
use disaster_recovery_operator::controller::plan::observe;
use disaster_recovery_operator::controller::steps::{Outcome, act};
use disaster_recovery_operator::simulator::model::{ItemStatus, Rules};
use disaster_recovery_operator::simulator::{Config, Simulator};
use serde_json::json;

use super::world::*;

/// The operator's client of a simulator.
fn operator(simulator: &Simulator) -> RocketMq {
    let http = client::from_service(simulator.router());
    let client = Client::new(http, Arc::new(RateLimit::new(10_000)), Duration::from_secs(10), Arc::new(|_| {}));
    let credentials = Credentials {
        access_key_id: "simulator-key-id".into(),
        access_key_secret: "simulator-key-secret".to_owned().into(),
        security_token: None,
    };
    let target = Target {
        product: rocketmq::PRODUCT,
        version: rocketmq::VERSION,
        endpoint: "https://rocketmq.cn-hangzhou.aliyuncs.com".into(),
        region: REGION.into(),
        signer: Some(Signer::fixed(credentials)),
        priority: Priority::Edit,
    };
    RocketMq::new(client, target)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Puts the world's cloud into a simulator, whose clock is later than the world's, and brings the world to that time.
fn simulated(world: &mut World) -> Simulator {
    let simulator = Simulator::new(Config { rate_limit_per_second: 1_000_000, ..Config::default() });
    world.now = simulator.now_ms();
    world.model.advance(world.now);
    simulator.with_model(|model, _| *model = world.model.clone());
    simulator
}

fn worlds() -> Vec<(&'static str, World)> {
    let fresh = || World::new(spec_with(json!({})), Rules::default());
    let in_sync = || World::in_sync(spec_with(json!({})), Rules::default());
    let mut all = vec![("nothing", fresh()), ("in sync", in_sync())];
    let mut add = |name, mut world: World, change: &dyn Fn(&mut World)| {
        change(&mut world);
        all.push((name, world));
    };
    add("no status", in_sync(), &|world| world.status = Default::default());
    add("no status and no annotation", in_sync(), &|world| (world.status, world.annotation) = Default::default());
    add("gone", in_sync(), &|world| world.model.remove_plan(world.plan_id()).unwrap());
    add("same name", fresh(), &|world| _ = world.stranger("orders", None));
    add("same name and another's mark", fresh(), &|world| _ = world.stranger("orders", Some(THEIRS)));
    add("named", fresh(), &|world| {
        let (id, _) = world.console_plan(None, &[mapping("orders", "orders", "")]);
        world.edit(json!({"planId": id.to_string()}));
    });
    add("named and absent", fresh(), &|world| world.edit(json!({"planId": "1"})));
    add("named after the bound one is gone", in_sync(), &|world| {
        world.model.remove_plan(world.plan_id()).unwrap();
        let (id, _) = world.console_plan(None, &[]);
        world.edit(json!({"planId": id.to_string()}));
    });
    add("items to start, stop, add, change and prune", in_sync(), &|world| {
        let mappings = [mapping("a", "a", "Running"), mapping("b", "b", "Running"), mapping("c", "c", "Running")];
        world.edit(json!({ "topicMappings": mappings }));
        world.converge(20);
        let id = world.plan_id();
        let items: Vec<_> = world.items(id).into_keys().collect();
        world.model.set_item_status(id, items[2], ItemStatus::ManualStopped, world.now).unwrap();
        let mappings = [mapping("a", "a2", "Running"), mapping("b", "b", "Running"), mapping("d", "d", "Running")];
        world.edit(json!({ "topicMappings": mappings, "itemPolicy": "Prune", "planDesc": "Other" }));
    });
    all
}

#[test]
fn the_world_sees_what_the_operator_sees() {
    for (name, mut world) in worlds() {
        let simulator = simulated(&mut world);
        let cloud = operator(&simulator);
        let seen = world.observe();
        let plan = run(observe::find_plan(&cloud, &world.binding())).unwrap();
        assert_eq!(plan, seen.plan, "{name}");
        assert_eq!(run(observe::items(&cloud, &plan)).unwrap(), seen.items, "{name}");
        let checkpoints = run(observe::checkpoints(&cloud, &world.spec, &seen)).unwrap();
        let count = |all: &std::collections::BTreeMap<i64, Vec<_>>| {
            all.iter().map(|(item, list)| (*item, list.len())).collect::<Vec<_>>()
        };
        assert_eq!(count(&checkpoints), count(&seen.checkpoints.unwrap()), "{name}");
    }
}

#[test]
fn the_world_acts_as_the_operator_acts() {
    for (name, mut world) in worlds() {
        let simulator = simulated(&mut world);
        let (_, decision) = world.decide();
        let acted = run(act(&operator(&simulator), &decision.steps));
        let passed = world.pass();
        assert_eq!(passed.decision.steps, decision.steps, "{name}");
        let outcomes = |acted: &[Acted]| {
            let strip = |outcome: &Outcome<Effect>| match outcome {
                // Only an answer over HTTP has a request ID, and only the client knows the API's name of the call.
                Outcome::Failed(error) => format!("{:?} {} {}", error.class, error.code, error.message),
                other => format!("{other:?}"),
            };
            acted.iter().map(|it| (it.step.label(), strip(&it.outcome))).collect::<Vec<_>>()
        };
        assert_eq!(outcomes(&acted), outcomes(&passed.acted), "{name}");
    }
}
