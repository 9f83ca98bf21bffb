//! The memory that a process needs between reconciles, for each plan at rest with two mappings.

#![allow(clippy::expect_used, reason = "a broken set-up ends the test")]

use std::alloc::System;
use std::sync::Arc;

use disaster_recovery_operator::api::plan::DisasterRecoveryPlan;
use disaster_recovery_operator::controller::cached::Cached;
use disaster_recovery_operator::controller::evidence::observer::Observer;
use disaster_recovery_operator::controller::plan::evidence::Evidence;
use disaster_recovery_operator::simulator::model::Rules;
use kube::runtime::reflector;
use kube::runtime::watcher::Event;
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use test_support::driver::plan::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NAMESPACE: &str = "messaging";
const PLANS: usize = 1_000;
/// The maximum of what a plan needs, in bytes: memory of the process, jobs between reconciles, evidence, cache, and metrics.
const MAX_BYTES: [usize; 5] = [275, 915, 1_500, 1_310, 455];

fn bytes_in_use() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn key(name: &str) -> String {
    format!("DisasterRecoveryPlan/{NAMESPACE}/{name}")
}

fn at_rest() -> World {
    let mappings = [mapping("a", "a", "Running"), mapping("b", "b", "Running")];
    let mut world = World::new(spec_with(json!({ "topicMappings": mappings })), Rules::default());
    world.converge(20);
    world.observe_for(600_000);
    assert!(world.condition("Protected").starts_with("True"), "{}", world.message("Protected"));
    world
}

/// The memory of what `run` leaves for each of many plans.
fn for_each_plan(mut run: impl FnMut(String)) -> usize {
    let before = bytes_in_use();
    (0..PLANS).for_each(|number| run(format!("plan-{number:05}")));
    (bytes_in_use() - before) / PLANS
}

/// The memory that `run` frees.
fn freed_by(run: impl FnOnce()) -> usize {
    let before = bytes_in_use();
    run();
    before - bytes_in_use()
}

/// The memory of the evidence of the plan of a world, which is dropped.
fn evidence_of(world: &World) -> usize {
    let ctx = world.context();
    freed_by(|| ctx.update_evidence::<DisasterRecoveryPlan, _>(&key("orders"), |it| *it = Evidence::default()))
}

/// The memory of a plan in the cache of a watch.
fn cached(world: &World) -> usize {
    let (store, mut writer) = reflector::store::<Cached<DisasterRecoveryPlan>>();
    let mut plan = world.whole();
    (plan.metadata.uid, plan.metadata.resource_version) =
        (Some("9b4d1f6e-2f0c-4c1d-9a57-3c9d2e41b7a0".into()), Some("1042337".into()));
    writer.apply_watcher_event(&Event::Init);
    writer.apply_watcher_event(&Event::InitDone);
    let bytes = for_each_plan(|name| {
        let mut plan = plan.clone();
        plan.metadata.name = Some(name);
        writer.apply_watcher_event(&Event::Apply(Cached::new(plan)));
    });
    assert_eq!(store.len(), PLANS);
    bytes
}

// One test: no other allocates meanwhile.
#[test]
fn plan_at_rest_needs_little_memory() {
    let world = at_rest();
    let ctx = world.context();
    let (evidence, found) =
        (ctx.evidence::<DisasterRecoveryPlan>(&key("orders")), Arc::new(Cached::new(world.whole())));
    let memory = ctx.memory("DisasterRecoveryPlan", NAMESPACE, "orders");
    let observer = Observer::<DisasterRecoveryPlan>::new(ctx.clone(), move |_| Some(found.clone()), |_| {});
    let entry = for_each_plan(|name| {
        ctx.remember(&key(&name), |it| {
            (it.listed_until, it.inventory) = (memory.listed_until, memory.inventory.clone());
        });
    });
    for_each_plan(|name| {
        ctx.update_evidence::<DisasterRecoveryPlan, _>(&key(&name), |it| *it = Evidence::clone(&evidence));
    });
    let scheduled = for_each_plan(|name| observer.schedule(&(NAMESPACE.to_owned(), name)));
    // The copies share parts of it.
    (0..PLANS).for_each(|number| ctx.forget("DisasterRecoveryPlan", NAMESPACE, &format!("plan-{number:05}")));
    drop(evidence);
    let metrics = freed_by(|| ctx.metrics.forget("DisasterRecoveryPlan", NAMESPACE, "orders"));
    let bytes = [entry, scheduled, evidence_of(&world), cached(&world), metrics];
    assert!(std::iter::zip(bytes, MAX_BYTES).all(|(bytes, max)| bytes <= max), "{bytes:?}");
}
