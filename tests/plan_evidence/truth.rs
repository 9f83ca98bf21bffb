//! `Protected=True` is never shown while the cloud's truth has been outside of the objective for longer than the margin: random
//! progress, random faults of the observation, random delays and restarts.

use std::collections::BTreeMap;

use disaster_recovery_operator::api::SYNC_CHECKPOINTS_ANNOTATION;
use disaster_recovery_operator::api::condition::condition_type::PROTECTED;
use disaster_recovery_operator::simulator::model::{Consumption, ItemStatus, Rules};
use disaster_recovery_operator::simulator::{Config, Fault, FaultKind};
use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use serde_json::json;
use test_support::driver::plan::*;

const CASES: u32 = 48;
/// The time between two comparisons, in ms.
const STEP_MS: i64 = 2_000;
/// The part of the objective that no proof uses, in ms.
const MARGIN_MS: i64 = 5_000;
const CHECKPOINTS: &str = "ListDisasterRecoveryCheckpoints";
const GROUPS: [&str; 3] = ["GID_ORDERS", "GID_BILLING", "GID_NEW"];

fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|it| it.parse().ok());
    let rng_seed = if asked.is_some() { RngSeed::Random } else { RngSeed::Fixed(20_261_129) };
    let cases = asked.unwrap_or(CASES);
    ProptestConfig { cases, rng_seed, failure_persistence: None, max_shrink_iters: 2_000, ..ProptestConfig::default() }
}

/// What happens to the cloud or to the operator.
#[derive(Clone, Debug)]
enum Happening {
    Consumption(usize, Consumption),
    Online(usize, bool),
    FreezeSync(bool),
    TargetAhead(usize, Option<i64>),
    AddGroup,
    RemoveGroup,
    StopItem,
    StartItem,
    /// A fault of reads that lasts so long, in ms.
    Fault(FaultKind, Option<&'static str>, u32),
    /// The checkpoint of one group is missing in lists, with a total that fits or not, for so long, in ms.
    Gap(usize, bool, u32),
    /// Another process, after one that renewed its lease so many ms ago, or without a lease.
    Restart(Option<i64>),
    Sync,
}

fn consumptions() -> impl Strategy<Value = Consumption> {
    prop_oneof![
        Just(Consumption::Busy),
        Just(Consumption::Offline),
        (1_000_i64..3_600_000, 110_u32..2_000)
            .prop_map(|(behind_ms, speed_percent)| Consumption::CatchingUp { behind_ms, speed_percent }),
    ]
}

fn faults() -> impl Strategy<Value = FaultKind> {
    prop_oneof![
        Just(FaultKind::FrozenProgress { ids: vec![] }),
        Just(FaultKind::Frozen { at_ms: None }),
        (1_000_u32..120_000).prop_map(|lag_ms| FaultKind::Stale { lag_ms }),
        Just(FaultKind::WithoutFetchTimes { ids: vec![] }),
        Just(FaultKind::WithoutTimestamps { ids: vec![] }),
        Just(FaultKind::refusal(503, "ServiceUnavailable")),
        Just(FaultKind::refusal(403, "NoPermission")),
        Just(FaultKind::Throttle { retry_after_ms: Some(30_000) }),
        Just(FaultKind::Lost),
        (100_u64..9_000).prop_map(|ms| FaultKind::Slow { ms }),
    ]
}

fn happenings() -> impl Strategy<Value = Happening> {
    let group = 0..GROUPS.len();
    prop_oneof![
        4 => (group.clone(), consumptions()).prop_map(|(group, it)| Happening::Consumption(group, it)),
        2 => (group.clone(), any::<bool>()).prop_map(|(group, online)| Happening::Online(group, online)),
        2 => any::<bool>().prop_map(Happening::FreezeSync),
        1 => (group.clone(), proptest::option::of(0_i64..120_000))
            .prop_map(|(group, ahead)| Happening::TargetAhead(group, ahead)),
        1 => Just(Happening::AddGroup),
        1 => Just(Happening::RemoveGroup),
        1 => Just(Happening::StopItem),
        1 => Just(Happening::StartItem),
        4 => (faults(), any::<bool>(), 1_000_u32..600_000)
            .prop_map(|(kind, all, ms)| Happening::Fault(kind, (!all).then_some(CHECKPOINTS), ms)),
        1 => (group, any::<bool>(), 1_000_u32..100_000).prop_map(|(group, counted, ms)| Happening::Gap(group, counted, ms)),
        1 => proptest::option::of(0_i64..60_000).prop_map(Happening::Restart),
        1 => Just(Happening::Sync),
    ]
}

/// A plan of two mappings in sync, whose cloud has this offset of its clock.
fn world(objective: &str, clock_offset_ms: i64) -> World {
    let second = mapping("b", "b", "Running");
    let spec = spec_with(json!({
        "recoveryPointObjective": objective, "topicMappings": [mapping("a", "a", "Running"), second],
    }));
    let rules = Rules { consumer_groups: GROUPS[..2].iter().map(|it| (*it).to_owned()).collect(), ..Rules::default() };
    let mut world = World::with_config(spec, Config { rules, clock_offset_ms, ..Config::default() });
    world.converge(20);
    world.observe_for(60_000);
    world
}

fn happen(world: &mut World, it: &Happening) {
    let simulator = world.simulator.clone();
    let plan_id = world.our_plan().unwrap().plan_id;
    let first = *world.items(plan_id).keys().next().unwrap();
    match it {
        Happening::Consumption(group, it) => {
            simulator.with_model(|model, now| model.set_consumption(GROUPS[*group], *it, now));
        }
        Happening::Online(group, online) => simulator.model().set_group_online(GROUPS[*group], *online),
        Happening::FreezeSync(frozen) => simulator.model().freeze_sync(*frozen),
        Happening::TargetAhead(group, ahead) => {
            simulator.with_model(|model, now| model.set_target_ahead(GROUPS[*group], *ahead, now));
        }
        Happening::AddGroup => simulator.with_model(|model, now| model.add_group(GROUPS[2], None, now)).unwrap(),
        Happening::RemoveGroup => simulator.with_model(|model, now| model.remove_group(GROUPS[2], None, now)).unwrap(),
        Happening::StopItem => simulator
            .with_model(|model, now| model.set_item_status(plan_id, first, ItemStatus::OverdueStopped, now))
            .unwrap(),
        Happening::StartItem => {
            simulator.with_model(|model, now| model.set_item_status(plan_id, first, ItemStatus::Running, now)).unwrap();
        }
        Happening::Fault(kind, action, ms) => {
            let fault = Fault::new(kind.clone()).lasting_ms(*ms);
            simulator.add_fault(match action {
                Some(action) => fault.of_action(action),
                None => fault,
            });
        }
        Happening::Gap(group, counted, ms) => {
            let plan = world.our_plan().unwrap();
            let all = plan.items.values().flat_map(|item| &item.checkpoints);
            let of_group = all.filter(|it| it.consumer_group_id == GROUPS[*group]);
            let ids: Vec<_> = of_group.map(|it| it.checkpoint_id.to_string()).collect();
            if !ids.is_empty() {
                let gap = FaultKind::Gap { ids, counted: *counted };
                simulator.add_fault(Fault::new(gap).of_action(CHECKPOINTS).lasting_ms(*ms));
            }
        }
        Happening::Restart(renewed) => {
            let renewed = renewed.and_then(|ms| Timestamp::from_millisecond(world.now() - ms).ok());
            world.restart_after(renewed);
            world.reconcile_at_start();
        }
        Happening::Sync => {
            world.annotate(SYNC_CHECKPOINTS_ANNOTATION, &world.now().to_string());
        }
    }
}

/// How long the truth has been outside of the objective, in ms, at the cloud's time `now`. A group counts as covered until it appears.
fn outside_ms(world: &World, appeared: &mut BTreeMap<i64, i64>, objective_ms: i64) -> (i64, String) {
    let truth = world.simulator.with_model(|model, now| (now, model.lag_truth(now)));
    let (now, groups) = truth;
    appeared.retain(|id, _| groups.iter().any(|it| it.checkpoint_id == *id));
    let mut worst = (i64::MIN, String::new());
    for group in groups {
        let since = *appeared.entry(group.checkpoint_id).or_insert(now);
        let covered_ms = group.covered_ms.unwrap_or(i64::MIN).max(since);
        let outside_ms = now - covered_ms - objective_ms;
        if outside_ms > worst.0 {
            worst = (outside_ms, format!("{group:?}"));
        }
    }
    worst
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn true_is_never_shown_beyond_margin(
        (objective, objective_ms) in select(vec![("30s", 30_000_i64), ("1m", 60_000), ("5m", 300_000)]),
        clock_offset_ms in select(vec![0_i64, 0, 40_000, -40_000, 90_000]),
        story in vec((0_i64..400_000, happenings()), 1..12),
    ) {
        let mut world = world(objective, clock_offset_ms);
        let mut appeared = BTreeMap::new();
        outside_ms(&world, &mut appeared, objective_ms);
        for (pause_ms, it) in &story {
            happen(&mut world, it);
            let end = world.now() + pause_ms + STEP_MS;
            while world.now() < end {
                world.observe_for(STEP_MS);
                let (outside, group) = outside_ms(&world, &mut appeared, objective_ms);
                let shown = world.condition(PROTECTED);
                prop_assert!(
                    !shown.starts_with("True") || outside <= MARGIN_MS,
                    "{shown} although the truth is {outside} ms beyond {objective} at {}: {group}",
                    world.timestamp()
                );
            }
        }
    }
}
