//! The driver of production code works as a process on a real clock would.

#![allow(clippy::expect_used, reason = "a test that cannot go on ends where it fails")]

use disaster_recovery_operator::api::plan::DisasterRecoveryPlan;
use disaster_recovery_operator::simulator::Config;
use serde_json::json;
use test_support::driver::faults::Fate;
use test_support::driver::tripwire::Crash;
use test_support::driver::world::World;

fn plan() -> World<DisasterRecoveryPlan> {
    let object = serde_json::from_value(json!({
        "apiVersion": "disasterrecovery.dev/v1alpha1", "kind": "DisasterRecoveryPlan",
        "metadata": {"namespace": "messaging", "name": "orders", "uid": "1", "generation": 1},
        "spec": {
            "regionId": "cn-hangzhou", "planType": "ACTIVE_PASSIVE", "syncCheckpointEnabled": true,
            "instances": [
                {"name": "a", "instanceType": "ALIYUN_ROCKETMQ", "instanceRole": "ACTIVE", "regionId": "cn-hangzhou", "instanceId": "rmq-a"},
                {"name": "b", "instanceType": "ALIYUN_ROCKETMQ", "instanceRole": "PASSIVE", "regionId": "cn-shanghai", "instanceId": "rmq-b"},
            ],
            "topicMappings": [{"name": "orders", "topics": [
                {"instance": "a", "topicName": "orders"}, {"instance": "b", "topicName": "orders"},
            ]}],
        },
    }));
    World::of(object.expect("a plan"), Config::default())
}

#[test]
fn plan_converges_through_real_reconcile() {
    let mut world = plan();
    let mut calls = vec![];
    for _ in 0..6 {
        calls.extend(world.pass().calls.into_iter().map(|it| it.action));
    }
    assert_eq!(calls, ["CreateDisasterRecoveryPlan", "AddDisasterRecoveryItem"], "{:?}", world.status);
    assert_eq!(world.condition("Ready"), "True/Available", "{:?}", world.status);
}

#[test]
fn crash_after_any_deed_doubles_nothing() {
    for deeds in 1..12 {
        let mut world = plan();
        for at in 1..=deeds {
            drop(world.faulty_pass(vec![], Crash::After(at)));
        }
        for _ in 0..60 {
            world.pass();
        }
        assert_eq!(world.simulator.plans().len(), 1, "crashes up to deed {deeds}");
        assert_eq!(world.condition("Ready"), "True/Available", "{:?}", world.status);
    }
}

#[test]
fn lost_answer_to_create_makes_one_plan() {
    let mut world = plan();
    drop(world.faulty_pass(vec![Fate::REPLY_LOST], Crash::Never));
    for _ in 0..60 {
        world.pass();
    }
    assert_eq!(world.simulator.plans().len(), 1);
    assert_eq!(world.condition("Ready"), "True/Available", "{:?}", world.status);
}
