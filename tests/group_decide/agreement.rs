//! The world of these tests does by hand what the operator does over HTTP. Here both look at the same cloud, through the
//! client and the simulator's router, so that the one stays true to the other.

use std::sync::Arc;
use std::time::Duration;

use disaster_recovery_operator::api::DRILL_ANNOTATION;
use disaster_recovery_operator::cloud::client::{self, Client, Target};
use disaster_recovery_operator::cloud::credentials::Credentials;
use disaster_recovery_operator::cloud::credentials::signer::Signer;
use disaster_recovery_operator::cloud::ebs::{self, Ebs};
use disaster_recovery_operator::cloud::endpoint;
use disaster_recovery_operator::cloud::rate_limit::{Priority, RateLimit};
use disaster_recovery_operator::controller::disk_replica_group::Acted;
use disaster_recovery_operator::controller::disk_replica_group::act::Effect;
use disaster_recovery_operator::controller::disk_replica_group::observe::{self, Binding, Cloud};
use disaster_recovery_operator::controller::steps::{Outcome, act};
use disaster_recovery_operator::simulator::model::ebs::{DiskRules, Production};
use disaster_recovery_operator::simulator::{Config, Simulator};
use serde_json::json;

use super::world::*;

/// The operator's client of a simulator.
fn operator(simulator: &Simulator) -> Cloud {
    let http = client::from_service(simulator.router());
    let client = Client::new(http, Arc::new(RateLimit::new(10_000)), Duration::from_secs(10), Arc::new(|_| {}));
    let target = |region: &str| Target {
        product: ebs::PRODUCT,
        version: ebs::VERSION,
        endpoint: endpoint::ebs(region),
        region: region.into(),
        signer: Some(Signer::fixed(Credentials {
            access_key_id: "simulator-key-id".into(),
            access_key_secret: "simulator-key-secret".to_owned().into(),
            security_token: None,
        })),
        priority: Priority::Edit,
    };
    Cloud::new(Ebs::new(client, target(SOURCE), target(DESTINATION)))
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Puts the world's cloud into a simulator, whose clock is later than the world's, and brings the world to that time.
fn simulated(world: &mut World) -> Simulator {
    let simulator = Simulator::new(Config { rate_limit_per_second: 1_000_000, ..Config::default() });
    world.disks.freeze(true);
    let now = simulator.with_disks(|_, now| now);
    world.advance(now - world.now);
    simulator.with_disks(|disks, _| *disks = world.disks.clone());
    simulator
}

fn worlds() -> Vec<(&'static str, World)> {
    let fresh = || World::new(spec_with(json!({})), DiskRules::default());
    let mut all = vec![("nothing", fresh()), ("in sync", World::in_sync(json!({})))];
    let mut add = |name, mut world: World, change: &dyn Fn(&mut World)| {
        change(&mut world);
        all.push((name, world));
    };
    let forced = json!({"activeSite": "Destination", "failover": {"mode": "Forced"}});
    add("no status", World::in_sync(json!({})), &|world| world.status = Default::default());
    add("gone", World::in_sync(json!({})), &|world| {
        let id = world.group_id();
        world.disks.drop_group(&id).unwrap();
        world.pass();
    });
    add("stopped, to be changed", World::in_sync(json!({"replication": "Stopped"})), &|world| {
        world.edit(json!({"groupName": "other", "description": "text", "pairs": [pair("logs"), pair("temp")]}));
    });
    add("to be stopped", World::in_sync(json!({})), &|world| world.edit(json!({"replication": "Stopped"})));
    add("to be started", World::in_sync(json!({"replication": "Stopped"})), &|world| {
        world.edit(json!({"replication": "Running"}));
    });
    add("to be failed over", World::in_sync(json!({})), &|world| world.edit(forced.clone()));
    let production = DiskRules { production: Production::Primary, ..DiskRules::default() };
    for rules in [DiskRules::default(), production] {
        let over = |world: &mut World, passes: usize| {
            world.edit(forced.clone());
            (0..passes).for_each(|_| drop(world.pass()));
        };
        add("to be turned round", World::in_sync_with(json!({}), rules.clone()), &|world| over(world, 1));
        add("turned round", World::in_sync_with(json!({}), rules.clone()), &|world| over(world, 2));
        add("with attached disks", World::in_sync_with(json!({}), rules.clone()), &|world| {
            world.disks.attach("d-data-s", true);
            over(world, 1);
        });
        add("to be deleted", World::in_sync_with(json!({}), rules.clone()), &|world| {
            over(world, 4);
            world.edit(json!({"replication": "Stopped"}));
            world.converge(10);
            world.delete();
        });
    }
    add("to be drilled", World::in_sync(json!({"drill": {"schedule": "0 3 29 2 *"}})), &|world| {
        world.annotate(DRILL_ANNOTATION, "now");
    });
    add("a drill to be cleared", World::in_sync(json!({"drill": {"schedule": "0 3 29 2 *"}})), &|world| {
        world.annotate(DRILL_ANNOTATION, "now");
        world.pass();
        world.pass();
        world.edit(json!({"drill": null}));
    });
    all
}

#[test]
fn the_world_sees_what_the_operator_sees() {
    for (name, mut world) in worlds() {
        let simulator = simulated(&mut world);
        let cloud = operator(&simulator);
        let seen = world.observe().unwrap();
        let direction = world.status.direction.unwrap_or_default();
        let binding = Binding { bound: world.bound(), owner: OWNER.into(), direction, forced: false };
        let (group, site) = run(observe::find_group(&cloud, &binding)).unwrap();
        assert_eq!(group, seen.group, "{name}");
        let status = &world.status;
        let pairs = world.scope(|scope| run(observe::pairs(&cloud, (&group, site), direction, scope))).unwrap();
        assert_eq!(pairs, seen.pairs, "{name}");
        if let (Some(group), Some(drills)) = (group.group(), &seen.drills) {
            let current = status.drills.as_ref().and_then(|it| it.current.as_ref());
            let found = run(observe::drills(&cloud, direction, &group.replica_group_id, current));
            assert_eq!(&found, drills, "{name}");
        }
    }
}

#[test]
fn the_world_acts_as_the_operator_acts() {
    for (name, mut world) in worlds() {
        let simulator = simulated(&mut world);
        let decision = world.decide();
        let acted = run(act(&operator(&simulator), &decision.steps));
        let passed = world.pass();
        assert_eq!(passed.decision.steps, decision.steps, "{name}");
        assert!(!acted.is_empty() || matches!(name, "nothing" | "in sync" | "no status" | "gone"), "{name}");
        let outcomes = |acted: &[Acted]| {
            let strip = |outcome: &Outcome<Effect>| match outcome {
                // Only an answer over HTTP has a request ID.
                Outcome::Failed(error) => {
                    format!("{:?} {} {} {}", error.class, error.operation, error.code, error.message)
                }
                other => format!("{other:?}"),
            };
            acted.iter().map(|it| (it.step.action.call(), strip(&it.outcome))).collect::<Vec<_>>()
        };
        assert_eq!(outcomes(&acted), outcomes(&passed.acted), "{name}");
    }
}
