//! `Protected=True` is never shown while the cloud's truth has been outside of the objective for longer than the margin: random
//! progress and messages, random faults of the observation, random delays and restarts.

use std::collections::BTreeMap;

use disaster_recovery_operator::api::SYNC_CHECKPOINTS_ANNOTATION;
use disaster_recovery_operator::api::condition::condition_type::PROTECTED;
use disaster_recovery_operator::api::plan::{DisasterRecoveryPlanSpec, PlanType};
use disaster_recovery_operator::simulator::model::{Consumption, ItemStatus, MessageTruth, Model, Production, Rules};
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
const LAG: &str = "GetConsumerGroupLag";
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
    /// The replicator of the first mapping, or of all.
    Replication(bool, Consumption),
    Production(Production),
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

/// Faults of the lists of checkpoints, whose progress has times.
fn old_progress() -> impl Strategy<Value = FaultKind> {
    prop_oneof![
        Just(FaultKind::FrozenProgress { ids: vec![] }),
        Just(FaultKind::Frozen { at_ms: None }),
        (1_000_u32..120_000).prop_map(|lag_ms| FaultKind::Stale { lag_ms }),
        Just(FaultKind::WithoutFetchTimes { ids: vec![] }),
        Just(FaultKind::WithoutTimestamps { ids: vec![] }),
    ]
}

/// Faults of any read. The answer about messages has no time, so that nothing recognizes an old one.
fn faults() -> impl Strategy<Value = FaultKind> {
    prop_oneof![
        Just(FaultKind::WithoutTopics { ids: vec!["a".into()] }),
        Just(FaultKind::WithoutTopics { ids: vec![] }),
        Just(FaultKind::refusal(404, "ConsumerGroup.NotFound")),
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
        2 => (old_progress(), 1_000_u32..600_000)
            .prop_map(|(kind, ms)| Happening::Fault(kind, Some(CHECKPOINTS), ms)),
        4 => (faults(), select(vec![None, Some(CHECKPOINTS), Some(LAG)]), 1_000_u32..600_000)
            .prop_map(|(kind, action, ms)| Happening::Fault(kind, action, ms)),
        4 => (any::<bool>(), consumptions()).prop_map(|(all, it)| Happening::Replication(all, it)),
        1 => select(vec![Production::Steady, Production::Quiet]).prop_map(Happening::Production),
        1 => (group, any::<bool>(), 1_000_u32..100_000).prop_map(|(group, counted, ms)| Happening::Gap(group, counted, ms)),
        1 => proptest::option::of(0_i64..60_000).prop_map(Happening::Restart),
        1 => Just(Happening::Sync),
    ]
}

/// The ways in which a plan is used.
#[derive(Clone, Copy, Debug)]
enum Standby {
    Warm,
    /// The operator synchronizes the groups, which are offline at the destination.
    Cold,
    TwoWay,
}

fn spec(standby: Standby, objective: &str) -> DisasterRecoveryPlanSpec {
    let mappings = json!([mapping("a", "a", "Running"), mapping("b", "b", "Running")]);
    let one_way = json!({"recoveryPointObjective": objective, "topicMappings": mappings});
    match standby {
        Standby::Warm => spec_with(one_way),
        Standby::Cold => spec_of(&spec_with(one_way), json!({"checkpointSync": {"by": "Operator"}})),
        Standby::TwoWay => two_way_spec(objective),
    }
}

/// A plan of two mappings in sync, whose cloud has this offset of its clock.
fn world(standby: Standby, objective: &str, clock_offset_ms: i64) -> World {
    let spec = spec(standby, objective);
    let rules = Rules { consumer_groups: GROUPS[..2].iter().map(|it| (*it).to_owned()).collect(), ..Rules::default() };
    let mut world = World::with_config(spec, Config { rules, clock_offset_ms, ..Config::default() });
    world.converge(20);
    if matches!(standby, Standby::Cold) {
        GROUPS.iter().for_each(|group| world.model().set_group_online(group, false));
    }
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
        Happening::Replication(all, it) => {
            let item = (!all).then_some((plan_id, first));
            simulator.with_model(|model, now| replicate(model, item, *it, now));
        }
        Happening::Production(it) => simulator.with_model(|model, now| model.set_production(None, *it, now)),
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

/// Changes how the replicator moves. What it catches up with is what it has not fetched: a message that arrived is not lost again.
fn replicate(model: &mut Model, item: Option<(i64, i64)>, it: Consumption, now: i64) {
    let behind = |truth: MessageTruth| now - truth.covered_ms;
    let own = |it: &MessageTruth| item.is_none_or(|item| item == (it.plan_id, it.item_id));
    let most = model.message_truth(now).into_iter().filter(own).map(behind).max().unwrap_or_default();
    let it = match it {
        Consumption::CatchingUp { speed_percent, .. } => Consumption::CatchingUp { behind_ms: most, speed_percent },
        other => other,
    };
    model.set_replication(item, it, now).unwrap();
}

/// How long the truth has been outside of the objective, in ms, at the cloud's time `now`. A group counts as covered until it appears.
fn outside_ms(world: &World, appeared: &mut BTreeMap<i64, i64>, objective_ms: i64) -> (i64, String) {
    let truth = world.simulator.with_model(|model, now| (now, model.lag_truth(now), model.message_truth(now)));
    let (now, groups, messages) = truth;
    appeared.retain(|id, _| groups.iter().any(|it| it.checkpoint_id == *id));
    let mut worst = (i64::MIN, String::new());
    for topic in messages {
        let outside_ms = now - topic.covered_ms - objective_ms;
        if outside_ms > worst.0 {
            worst = (outside_ms, format!("{topic:?}"));
        }
    }
    let one_way = world.object.spec.plan_type == PlanType::ActivePassive;
    for group in groups.into_iter().filter(|_| one_way) {
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
        standby in select(vec![Standby::Warm, Standby::Warm, Standby::Cold, Standby::TwoWay]),
        story in vec((0_i64..400_000, happenings()), 1..12),
    ) {
        let mut world = world(standby, objective, clock_offset_ms);
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
