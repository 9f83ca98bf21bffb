//! Consumer groups that change at run time, and the truth about them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const ORDERS: &str = "GID_ORDERS";
const CATCHING_UP: Consumption = Consumption::CatchingUp { behind_ms: 60_000, speed_percent: 400 };

/// All checkpoints: time of the last synchronisation, progress at source and target, each from T0.
fn times(model: &mut Model, now: i64) -> BTreeMap<i64, (Option<i64>, i64, Option<i64>)> {
    let items = model.inspect(now).into_iter().flat_map(|plan| plan.items);
    let time = |progress: &Progress| progress.progress_data.map(|data| data.consume_timestamp - T0);
    let view = |view: CheckpointView| {
        let sync = view.last_sync_time.map(|at| at - T0);
        (view.checkpoint_id, (sync, time(&view.source_progress).unwrap(), time(&view.target_progress)))
    };
    items.flat_map(|item| item.checkpoints).map(view).collect()
}

/// A cloud with the group ORDERS only, and the id of its checkpoint. The item runs since T0 + 100.
fn one_group() -> (Model, (i64, i64), i64) {
    let (mut model, _, ids) = cloud();
    model.rules.consumer_groups = vec![ORDERS.to_owned()];
    let id = *times(&mut model, T0 + 100).keys().next().unwrap();
    (model, ids, id)
}

#[test]
fn offline_source_stands_still_from_its_time() {
    let (mut model, _, id) = one_group();
    model.set_consumption(ORDERS, Consumption::Offline, T0 + 12_345);
    assert_eq!(times(&mut model, T0 + 15_000)[&id], (Some(10_100), 12_345, Some(10_100)));
    assert_eq!(times(&mut model, T0 + 45_000)[&id], (Some(40_100), 12_345, Some(12_345)));
    model.set_consumption(ORDERS, Consumption::Busy, T0 + 46_000);
    assert_eq!(times(&mut model, T0 + 47_000)[&id], (Some(40_100), 47_000, Some(12_345)));
}

#[test]
fn synchronisation_takes_progress_of_its_time() {
    let (mut model, _, id) = one_group();
    model.set_consumption(ORDERS, CATCHING_UP, T0 + 15_000);
    // At 20,100 the group has consumed 20,400 ms of the 60,000 ms.
    assert_eq!(times(&mut model, T0 + 29_000)[&id], (Some(20_100), 11_000, Some(-24_600)));
    assert_eq!(times(&mut model, T0 + 39_000)[&id], (Some(30_100), 39_000, Some(15_400)));
    model.set_checkpoint_consumption(id, Consumption::Reset { to_ms: T0, speed_percent: 50 }, T0 + 39_500).unwrap();
    assert_eq!(times(&mut model, T0 + 42_100)[&id], (Some(40_100), 1_300, Some(300)));
}

#[test]
fn target_runs_ahead_without_hold() {
    let (mut model, ids, id) = one_group();
    model.set_consumption(ORDERS, Consumption::Offline, T0 + 500);
    model.set_target_ahead(ORDERS, Some(30_000), T0 + 1_000);
    assert_eq!(times(&mut model, T0 + 25_000)[&id], (Some(20_100), 500, Some(30_500)));
    model.sync_checkpoint(REGION, ids, id, T0 + 26_000).unwrap();
    assert_eq!(times(&mut model, T0 + 26_000)[&id], (Some(26_000), 500, Some(30_500)));
    model.set_checkpoint_target_ahead(id, None, T0 + 27_000).unwrap();
    assert_eq!(times(&mut model, T0 + 30_000)[&id], (Some(26_000), 500, Some(30_500)));
    assert_eq!(times(&mut model, T0 + 30_100)[&id], (Some(30_100), 500, Some(500)));
}

#[test]
fn held_checkpoint_continues_with_consumption() {
    let (mut model, ids, id) = one_group();
    let set = |model: &mut Model, now: i64| {
        model.advance(now);
        let times = CheckpointTimes { target_time: Some(now + 90_000), ..CheckpointTimes::default() };
        model.set_checkpoint(id, times).unwrap();
    };
    set(&mut model, T0 + 1_000);
    assert_eq!(times(&mut model, T0 + 60_000)[&id], (None, 1_000, Some(91_000)));
    model.set_consumption(ORDERS, Consumption::Busy, T0 + 61_000);
    assert_eq!(times(&mut model, T0 + 70_100)[&id], (Some(70_100), 70_100, Some(70_100)));
    set(&mut model, T0 + 71_000);
    model.sync_checkpoint(REGION, ids, id, T0 + 75_000).unwrap();
    assert_eq!(times(&mut model, T0 + 76_000)[&id], (Some(75_000), 76_000, Some(71_000)));
}

#[test]
fn group_appears_and_vanishes_at_run_time() {
    let (mut model, plan, first) = cloud();
    let second = (plan, model.add_item(REGION, plan, orders(), T0).unwrap());
    let groups = |model: &mut Model, now: i64| {
        let items = model.inspect(now).remove(0).items;
        let of = |item: ItemView| {
            let checkpoints = item.checkpoints.into_iter();
            checkpoints.map(|it| (it.source_progress.consumer_group_id, it.last_sync_time.map(|at| at - T0))).collect()
        };
        items.into_iter().map(of).collect::<Vec<BTreeMap<_, _>>>()
    };
    let expected = |groups: &[(&str, Option<i64>)]| groups.iter().map(|(id, at)| ((*id).to_owned(), *at)).collect();
    model.remove_group("GID_BILLING", None, T0 + 11_000).unwrap();
    model.add_group("GID_NEW", None, T0 + 12_000).unwrap();
    model.add_group("GID_ONE", Some(second), T0 + 12_000).unwrap();
    model.remove_group(ORDERS, Some(first), T0 + 12_000).unwrap();
    let now = groups(&mut model, T0 + 20_099);
    let (orders, unsynced) = ((ORDERS, Some(10_100)), ("GID_NEW", None));
    assert_eq!(now, [expected(&[unsynced]), expected(&[orders, unsynced, ("GID_ONE", None)])]);
    let later = groups(&mut model, T0 + 20_100);
    let synced = |group| (group, Some(20_100));
    assert_eq!(later, [expected(&[synced("GID_NEW")]), expected(&[ORDERS, "GID_NEW", "GID_ONE"].map(synced))]);
    model.add_group(ORDERS, Some(first), T0 + 21_000).unwrap();
    model.remove_group("GID_ONE", Some(second), T0 + 21_000).unwrap();
    let last = groups(&mut model, T0 + 21_000);
    assert_eq!(last, [expected(&[(ORDERS, None), synced("GID_NEW")]), expected(&[ORDERS, "GID_NEW"].map(synced))]);
    assert_eq!(code(model.add_group("GID", Some((plan, 7)), T0 + 22_000)), "DisasterRecoveryItem.NotFound");
    assert_eq!(code(model.remove_group("GID", Some((7, 7)), T0 + 22_000)), "DisasterRecoveryPlan.NotFound");
}

#[test]
fn truth_is_absent_before_first_synchronisation() {
    let (mut model, ids, id) = one_group();
    let truth = |covered_ms: Option<i64>| GroupTruth {
        plan_id: ids.0,
        item_id: ids.1,
        checkpoint_id: id,
        group: ORDERS.to_owned(),
        source_instance: "rmq-a".to_owned(),
        covered_ms,
    };
    assert_eq!(model.lag_truth(T0 + 10_099), [truth(None)]);
    assert_eq!(model.lag_truth(T0 + 19_000), [truth(Some(T0 + 10_100))]);
    model.set_consumption(ORDERS, Consumption::Offline, T0 + 20_100);
    assert_eq!(model.lag_truth(T0 + 90_000), [truth(Some(T0 + 90_000))]);
    assert_eq!(times(&mut model, T0 + 20_100)[&id].0, Some(20_100));
}

/// A change at run time, of the group or the checkpoint with this index.
#[derive(Debug, Clone)]
enum Change {
    Consumption(usize, Consumption),
    OfCheckpoint(usize, Consumption),
    TargetAhead(usize, Option<i64>),
    Online(usize, bool),
    Frozen(bool),
    Hold(usize, i64, i64),
    Sync(usize),
    Status(ItemStatus),
}

const GROUPS: [&str; 3] = ["GID_A", "GID_B", "GID_C"];

fn change() -> impl Strategy<Value = Change> {
    let speed = || prop_oneof![Just(0_u32), Just(70), Just(100), Just(250), Just(1_000)];
    let consumption = || {
        prop_oneof![
            Just(Consumption::Busy),
            Just(Consumption::Offline),
            (0..200_000_i64, speed())
                .prop_map(|(behind_ms, speed_percent)| Consumption::CatchingUp { behind_ms, speed_percent }),
            (-100_000..100_000_i64, speed())
                .prop_map(|(to, speed_percent)| Consumption::Reset { to_ms: T0 + to, speed_percent }),
        ]
    };
    let status = prop_oneof![3 => Just(ItemStatus::Running), 1 => Just(ItemStatus::ManualStopped)];
    prop_oneof![
        4 => (0..3_usize, consumption()).prop_map(|(of, to)| Change::Consumption(of, to)),
        2 => (0..3_usize, consumption()).prop_map(|(of, to)| Change::OfCheckpoint(of, to)),
        1 => (0..3_usize, proptest::option::of(0..60_000_i64)).prop_map(|(of, ms)| Change::TargetAhead(of, ms)),
        1 => (0..3_usize, any::<bool>()).prop_map(|(of, online)| Change::Online(of, online)),
        1 => any::<bool>().prop_map(Change::Frozen),
        1 => (0..3_usize, -50_000..300_000_i64, -50_000..300_000_i64).prop_map(|(of, s, t)| Change::Hold(of, s, t)),
        2 => (0..3_usize).prop_map(Change::Sync),
        1 => status.prop_map(Change::Status),
    ]
}

fn apply(model: &mut Model, ids: (i64, i64), change: &Change, now: i64) {
    model.advance(now);
    let checkpoints: Vec<i64> = times(model, now).into_keys().collect();
    match change.clone() {
        Change::Consumption(of, to) => model.set_consumption(GROUPS[of], to, now),
        Change::OfCheckpoint(of, to) => model.set_checkpoint_consumption(checkpoints[of], to, now).unwrap(),
        Change::TargetAhead(of, ms) => model.set_target_ahead(GROUPS[of], ms, now),
        Change::Online(of, online) => model.set_group_online(GROUPS[of], online),
        Change::Frozen(frozen) => model.freeze_sync(frozen),
        Change::Hold(of, source, target) => {
            let (source_time, target_time) = (Some(T0 + source), Some(T0 + target));
            model.set_checkpoint(checkpoints[of], CheckpointTimes { last_sync_time: None, source_time, target_time })
        }
        .unwrap(),
        Change::Sync(of) => model.sync_checkpoint(REGION, ids, checkpoints[of], now).unwrap(),
        Change::Status(status) => model.set_item_status(ids.0, ids.1, status, now).unwrap(),
    }
}

fn cloud_of_groups() -> (Model, (i64, i64)) {
    let (mut model, _, ids) = cloud();
    model.rules.consumer_groups = GROUPS.map(str::to_owned).to_vec();
    model.advance(T0 + 100);
    (model, ids)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// The truth is that of samples every second, where changes come with whole seconds.
    #[test]
    fn truth_matches_samples_of_every_second(
        changes in proptest::collection::vec((1..200_i64, change()), 0..16),
    ) {
        let (mut model, ids) = cloud_of_groups();
        let mut samples: BTreeMap<i64, BTreeMap<i64, i64>> = BTreeMap::new();
        for second in 1..=200 {
            let now = T0 + second * 1_000;
            for (_, change) in changes.iter().filter(|(at, _)| *at == second) {
                apply(&mut model, ids, change, now);
            }
            let truth = model.lag_truth(now);
            let shown = times(&mut model, now);
            prop_assert_eq!(truth.len(), GROUPS.len());
            for truth in truth {
                let (_, source, target) = shown[&truth.checkpoint_id];
                let kept = samples.entry(truth.checkpoint_id).or_default();
                kept.insert(second * 1_000, source);
                let Some(target) = target else {
                    prop_assert_eq!(truth.covered_ms, None);
                    continue;
                };
                let covered = truth.covered_ms.unwrap() - T0;
                match kept.iter().rev().find(|(_, source)| **source <= target) {
                    Some((newest, _)) => prop_assert_eq!(covered / 1_000 * 1_000, *newest, "{:?}", truth),
                    None => prop_assert!(covered < 1_000, "{:?}", truth),
                }
            }
        }
    }

    /// The result does not depend on the steps in which time passes.
    #[test]
    fn step_size_does_not_change_result(
        changes in proptest::collection::vec((1..120_000_i64, change()), 0..8),
        step in 1..20_000_i64,
    ) {
        let (model, ids) = cloud_of_groups();
        let (mut once, mut often) = (model.clone(), model);
        let mut changes = changes;
        changes.sort_by_key(|(at, _)| *at);
        let mut now = T0;
        for (at, change) in &changes {
            while now < T0 + at {
                often.advance(now);
                now += step;
            }
            apply(&mut once, ids, change, T0 + at);
            apply(&mut often, ids, change, T0 + at);
        }
        while now < T0 + 200_000 {
            often.advance(now);
            now += step;
        }
        prop_assert_eq!(once.lag_truth(T0 + 200_000), often.lag_truth(T0 + 200_000));
        prop_assert_eq!(once.inspect(T0 + 200_000), often.inspect(T0 + 200_000));
    }
}
