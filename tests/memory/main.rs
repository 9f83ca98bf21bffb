//! The memory that a process needs between reconciles, for each plan at rest with two mappings.

#![allow(clippy::expect_used, reason = "a broken set-up ends the test")]

use std::alloc::System;
use std::sync::Arc;

use disaster_recovery_operator::api::plan::DisasterRecoveryPlan;
use disaster_recovery_operator::controller::cached::Cached;
use disaster_recovery_operator::controller::evidence::observer::Observer;
use disaster_recovery_operator::controller::plan::evidence::Evidence;
use disaster_recovery_operator::simulator::model::Rules;
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use test_support::driver::plan::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NAMESPACE: &str = "messaging";
const PLANS: usize = 1_000;
/// The maximum of what a plan needs, in bytes: memory of the process, jobs between reconciles, and evidence.
const MAX_BYTES: [usize; 3] = [550, 900, 2_100];

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

/// The memory of the evidence of the plan of a world, which is dropped.
fn evidence_of(world: &World) -> usize {
    let before = bytes_in_use();
    world.context().update_evidence::<DisasterRecoveryPlan, _>(&key("orders"), |it| *it = Evidence::default());
    before - bytes_in_use()
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
    let bytes = [entry, scheduled, evidence_of(&world)];
    assert!(std::iter::zip(bytes, MAX_BYTES).all(|(bytes, max)| bytes <= max), "{bytes:?}");
}
