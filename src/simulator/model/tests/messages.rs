//! Messages, their replication, and the lag of those who read them.

use super::*;

const ORDERS: &str = "GID_ORDERS";
const SLOW: Consumption = Consumption::CatchingUp { behind_ms: 60_000, speed_percent: 50 };

type Change = fn(&mut Model, (i64, i64), i64);

/// A cloud whose item runs since T0 and synchronizes every 10 s.
fn running() -> (Model, (i64, i64)) {
    let mut model = Model::new(Rules { consumer_groups: vec![ORDERS.to_owned()], ..Rules::default() });
    let plan = model.create_plan(REGION, one_way(), T0).unwrap();
    let item = model.add_item(REGION, plan, orders(), T0).unwrap();
    (model, (plan, item))
}

fn lag_of(model: &mut Model, instance: &str, group: &str, now: i64) -> Result<ConsumerGroupLag, Failure> {
    model.consumer_group_lag(Some(REGION), (instance, group), (None, None), now)
}

/// The group of the replicator of a plan at the instance with this index.
fn replicator(model: &mut Model, plan: i64, index: usize) -> String {
    model.get_plan(REGION, plan, T0).unwrap().instances[index].consumer_group_id.clone().unwrap()
}

/// Waiting messages, age of the oldest in seconds, and store time of the last message that was read, from T0.
fn shown(lag: Lag) -> [i64; 3] {
    [lag.ready_count + lag.inflight_count, lag.delivery_duration, lag.last_consume_timestamp - T0]
}

/// The last message consumed at source and target of the only checkpoint, and the truth, from T0.
fn progress(model: &mut Model, now: i64) -> [i64; 3] {
    let covered = model.lag_truth(now)[0].covered_ms.unwrap();
    let view = model.inspect(now).remove(0).items.remove(0).checkpoints.remove(0);
    let time = |side: Progress| side.progress_data.unwrap().consume_timestamp - T0;
    [time(view.source_progress), time(view.target_progress), covered - T0]
}

fn stop(model: &mut Model, (plan, item): (i64, i64), now: i64) {
    model.set_item_status(plan, item, ItemStatus::OverdueStopped, now).unwrap();
}

fn start(model: &mut Model, (plan, item): (i64, i64), now: i64) {
    model.set_item_status(plan, item, ItemStatus::Running, now).unwrap();
}

fn quiet(model: &mut Model, _: (i64, i64), now: i64) {
    model.set_production(None, Production::Quiet, now);
}

fn steady(model: &mut Model, _: (i64, i64), now: i64) {
    model.set_production(Some(("rmq-a", "orders")), Production::Steady, now);
}

fn replicate(model: &mut Model, ids: (i64, i64), to: Consumption, now: i64) {
    model.set_replication(Some(ids), to, now).unwrap();
}

fn fall_behind(model: &mut Model, ids: (i64, i64), now: i64) {
    replicate(model, ids, SLOW, now);
}

fn offline(model: &mut Model, ids: (i64, i64), now: i64) {
    replicate(model, ids, Consumption::Offline, now);
}

fn real_time(model: &mut Model, ids: (i64, i64), now: i64) {
    replicate(model, ids, Consumption::Busy, now);
}

fn twentyfold(model: &mut Model, ids: (i64, i64), now: i64) {
    let behind_ms = now - T0 - 12_000;
    replicate(model, ids, Consumption::CatchingUp { behind_ms, speed_percent: 2_000 }, now);
}

fn group_offline(model: &mut Model, _: (i64, i64), now: i64) {
    model.set_consumption(ORDERS, Consumption::Offline, now);
}

#[test]
fn every_state_is_consistent() {
    // Changes and their times. Then, at a time: lag of the replicator with the truth of its messages, lag of the group
    // at the source, progress of source and target with its truth. All times are from T0.
    type Row<'a> = (&'a str, &'a [(i64, Change)], i64, ([i64; 3], i64), [i64; 3], [i64; 3]);
    let table: &[Row<'_>] = &[
        ("healthy", &[], 95_000, ([0, 0, 95_000], 95_000), [0, 0, 95_000], [95_000, 90_000, 90_000]),
        (
            "group offline",
            &[(12_000, group_offline)],
            95_000,
            ([0, 0, 95_000], 95_000),
            [830, 82, 12_000],
            [12_000, 12_000, 95_000],
        ),
        (
            "replicator stopped",
            &[(12_000, offline)],
            95_000,
            ([830, 82, 12_000], 12_000),
            [0, 0, 95_000],
            [95_000, 12_000, 12_000],
        ),
        (
            "replicator stopped, group offline before",
            &[(11_000, group_offline), (12_000, offline)],
            95_000,
            ([830, 82, 12_000], 12_000),
            [840, 83, 11_000],
            [11_000, 11_000, 95_000],
        ),
        (
            "replicator set back: its copies stay",
            &[(80_000, fall_behind)],
            95_000,
            ([675, 67, 27_500], 80_000),
            [0, 0, 95_000],
            [95_000, 80_000, 80_000],
        ),
        (
            "replicator catches up",
            &[(12_000, offline), (88_000, twentyfold)],
            90_000,
            ([380, 37, 52_000], 52_000),
            [0, 0, 90_000],
            [90_000, 52_000, 52_000],
        ),
        (
            "replicator in real time again",
            &[(12_000, offline), (88_000, real_time)],
            89_000,
            ([0, 0, 89_000], 89_000),
            [0, 0, 89_000],
            [89_000, 12_000, 12_000],
        ),
        ("quiet", &[(12_000, quiet)], 95_000, ([0, 0, 12_000], 95_000), [0, 0, 12_000], [12_000, 12_000, 95_000]),
        (
            "quiet, replicator stopped before",
            &[(11_000, offline), (12_000, quiet)],
            95_000,
            ([10, 83, 11_000], 11_000),
            [0, 0, 12_000],
            [12_000, 11_000, 11_000],
        ),
        (
            "quiet, replicator stopped since",
            &[(12_000, quiet), (20_000, offline)],
            95_000,
            ([0, 0, 12_000], 95_000),
            [0, 0, 12_000],
            [12_000, 12_000, 95_000],
        ),
        (
            "messages again after a quiet time, replicator stopped",
            &[(12_000, quiet), (20_000, offline), (90_000, steady)],
            95_000,
            ([51, 5, 12_000], 89_999),
            [0, 0, 95_000],
            [95_000, 12_000, 89_999],
        ),
        (
            "quiet, group offline",
            &[(11_000, group_offline), (12_000, quiet)],
            95_000,
            ([0, 0, 12_000], 95_000),
            [10, 83, 11_000],
            [11_000, 11_000, 95_000],
        ),
        (
            "item stopped",
            &[(12_000, stop)],
            95_000,
            ([830, 82, 12_000], 12_000),
            [0, 0, 95_000],
            [95_000, 10_000, 10_000],
        ),
        (
            "item started, catches up",
            &[(12_000, stop), (88_000, start)],
            90_000,
            ([380, 37, 52_000], 52_000),
            [0, 0, 90_000],
            [90_000, 10_000, 10_000],
        ),
        (
            "item started, caught up",
            &[(12_000, stop), (88_000, start)],
            99_000,
            ([0, 0, 99_000], 99_000),
            [0, 0, 99_000],
            [99_000, 98_000, 98_000],
        ),
        (
            "a start leaves the fault",
            &[(12_000, offline), (20_000, stop), (50_000, start)],
            95_000,
            ([830, 82, 12_000], 12_000),
            [0, 0, 95_000],
            [95_000, 12_000, 12_000],
        ),
        (
            "a fault of a stopped item begins with the start",
            &[(12_000, stop), (20_000, fall_behind), (50_000, start)],
            95_000,
            ([605, 60, 34_500], 34_500),
            [0, 0, 95_000],
            [95_000, 32_000, 32_000],
        ),
    ];
    for (name, changes, at, (messages, arrived), group, truth) in table {
        let (mut model, ids) = running();
        for (at, change) in *changes {
            change(&mut model, ids, T0 + at);
        }
        let now = T0 + at;
        let own = replicator(&mut model, ids.0, 0);
        let found = lag_of(&mut model, "rmq-a", &own, now).unwrap().topic_lag_map["orders"];
        assert_eq!((shown(found), model.message_truth(now)[0].covered_ms - T0), (*messages, *arrived), "{name}");
        let found = lag_of(&mut model, "rmq-a", ORDERS, now).unwrap().topic_lag_map["orders"];
        assert_eq!(shown(found), *group, "{name}");
        assert_eq!(progress(&mut model, now), *truth, "{name}");
    }
}

#[test]
fn truth_names_source_of_each_direction() {
    let mut model = Model::new(Rules::default());
    let instances = vec![aliyun("rmq-a", "ACTIVE"), aliyun("rmq-b", "ACTIVE")];
    let plan = model.create_plan(REGION, plan_of(instances, "ACTIVE_ACTIVE"), T0).unwrap();
    let item = model.add_item(REGION, plan, orders(), T0).unwrap();
    stop(&mut model, (plan, item), T0 + 10_000);
    model.set_production(Some(("rmq-b", "orders-copy")), Production::Quiet, T0 + 5_000);
    let truth = |source_instance: &str, topic: &str, covered_ms| MessageTruth {
        plan_id: plan,
        item_id: item,
        source_instance: source_instance.to_owned(),
        topic: topic.to_owned(),
        covered_ms,
    };
    let expected = [truth("rmq-a", "orders", T0 + 10_000), truth("rmq-b", "orders-copy", T0 + 30_000)];
    assert_eq!(model.message_truth(T0 + 30_000), expected);
    let groups = [0, 1].map(|index| replicator(&mut model, plan, index));
    assert_ne!(groups[0], groups[1]);
    for (instance, group, topic, expected) in
        [("rmq-a", &groups[0], "orders", [200, 19, 10_000]), ("rmq-b", &groups[1], "orders-copy", [0, 0, 5_000])]
    {
        let lag = lag_of(&mut model, instance, group, T0 + 30_000).unwrap();
        assert_eq!(lag.topic_lag_map.keys().collect::<Vec<_>>(), [topic]);
        assert_eq!(shown(lag.total_lag), expected, "{instance}");
        let topics = lag_of(&mut model, instance, ORDERS, T0 + 30_000).unwrap().topic_lag_map;
        assert_eq!(topics.into_keys().collect::<Vec<_>>(), [topic]);
    }
    assert_eq!(code(lag_of(&mut model, "rmq-a", &groups[1], T0 + 30_000)), "ConsumerGroup.NotFound");
}

#[test]
fn lag_is_sum_of_topics_that_ran() {
    let (mut model, ids) = running();
    model.rules.delay_ms = 100;
    model.add_item(REGION, ids.0, topics(("rmq-a", "audit"), ("rmq-b", "audit")), T0).unwrap();
    let group = replicator(&mut model, ids.0, 0);
    let names =
        |model: &mut Model, now| lag_of(model, "rmq-a", &group, now).unwrap().topic_lag_map.into_keys().collect();
    let before: Vec<_> = names(&mut model, T0 + 99);
    let after: Vec<_> = names(&mut model, T0 + 100);
    assert_eq!((before, after), (vec!["orders".to_owned()], vec!["audit".to_owned(), "orders".to_owned()]));
    offline(&mut model, ids, T0 + 4_000);
    model.set_replication(None, SLOW, T0 + 60_000).unwrap();
    offline(&mut model, ids, T0 + 60_000);
    let lag = lag_of(&mut model, "rmq-a", &group, T0 + 70_001).unwrap();
    let (audit, orders) = (lag.topic_lag_map["audit"], lag.topic_lag_map["orders"]);
    let expected =
        Lag { ready_count: 641, inflight_count: 10, delivery_duration: 65, last_consume_timestamp: T0 + 5_000 };
    assert_eq!(audit, expected);
    let expected = Lag { ready_count: 701, inflight_count: 0, delivery_duration: 70, last_consume_timestamp: T0 };
    assert_eq!(orders, expected);
    let expected =
        Lag { ready_count: 1_342, inflight_count: 10, delivery_duration: 70, last_consume_timestamp: T0 + 5_000 };
    assert_eq!(lag.total_lag, expected);
}

#[test]
fn lag_of_unknown_resource_is_not_found() {
    let (mut model, ids) = running();
    let far = Instance { region_id: Some("cn-shanghai".to_owned()), ..aliyun("rmq-d", "PASSIVE") };
    let other = plan_of(vec![aliyun("rmq-c", "ACTIVE"), far], "ACTIVE_PASSIVE");
    let other = model.create_plan("cn-beijing", other, T0).unwrap();
    let self_managed = plan_of(
        vec![aliyun("rmq-a", "PASSIVE"), Instance { instance_role: Some("ACTIVE".to_owned()), ..external() }],
        "ACTIVE_PASSIVE",
    );
    let external = model.create_plan(REGION, self_managed, T0).unwrap();
    let external = model.get_plan(REGION, external, T0).unwrap().instances[1].id().to_owned();
    let own = [replicator(&mut model, ids.0, 0), replicator(&mut model, ids.0, 1)];
    let of_other = format!("GID_DR_{other}_1");
    // Region, instance, group, topic, and the topics of the answer.
    type Row<'a> = (Option<&'a str>, &'a str, &'a str, Option<&'a str>, Result<usize, &'a str>);
    let table: [Row<'_>; 14] = [
        (Some(REGION), "rmq-a", &own[0], None, Ok(1)),
        (None, "rmq-a", &own[0], Some(""), Ok(1)),
        (Some(REGION), "rmq-a", &own[0], Some("orders"), Ok(1)),
        (Some(REGION), "rmq-a", ORDERS, Some("orders"), Ok(1)),
        // The plan is in another region than its instance, and has no items.
        (Some(REGION), "rmq-c", &of_other, None, Ok(0)),
        (Some("cn-shanghai"), "rmq-a", &own[0], None, Err("Instance.NotFound")),
        (Some(REGION), "rmq-d", &own[0], None, Err("Instance.NotFound")),
        (None, "rmq-x", &own[0], None, Err("Instance.NotFound")),
        (Some(REGION), &external, "GID_DR", None, Err("Instance.NotFound")),
        (Some(REGION), "rmq-b", &own[1], None, Err("ConsumerGroup.NotFound")),
        (Some("cn-shanghai"), "rmq-d", &own[0], None, Err("ConsumerGroup.NotFound")),
        (Some(REGION), "rmq-a", "GID_NONE", None, Err("ConsumerGroup.NotFound")),
        (Some(REGION), "rmq-a", &own[0], Some("orders-copy"), Err("Topic.NotFound")),
        (Some(REGION), "rmq-c", &of_other, Some("orders"), Err("Topic.NotFound")),
    ];
    for (region, instance, group, topic, expected) in table {
        let topic = topic.map(str::to_owned);
        let found = model.consumer_group_lag(region, (instance, group), (topic.as_ref(), None), T0 + 1_000);
        let found = found.map(|lag| lag.topic_lag_map.len()).map_err(|failure| (failure.status, failure.code));
        let expected = expected.map_err(|code| (404, code.to_owned()));
        assert_eq!(found, expected, "{region:?} {instance} {group} {topic:?}");
    }
    let lite = Some("lite".to_owned());
    let found = model.consumer_group_lag(None, ("rmq-a", ORDERS), (None, lite.as_ref()), T0 + 1_000);
    assert_eq!(code(found), "Topic.NotFound");
}

#[test]
fn other_topic_begins_with_its_own_messages() {
    let (mut model, ids) = running();
    offline(&mut model, ids, T0 + 10_000);
    let changed = topics(("rmq-a", "audit"), ("rmq-b", "audit"));
    model.set_item_topics(ids.0, ids.1, changed, T0 + 20_000).unwrap();
    let group = replicator(&mut model, ids.0, 0);
    let lag = lag_of(&mut model, "rmq-a", &group, T0 + 30_000).unwrap();
    assert_eq!(lag.topic_lag_map.keys().collect::<Vec<_>>(), ["audit"]);
    assert_eq!(shown(lag.total_lag), [100, 9, 20_000]);
    assert_eq!(code(model.set_replication(Some((ids.0, 7)), SLOW, T0)), "DisasterRecoveryItem.NotFound");
    assert_eq!(code(model.set_replication(Some((7, 7)), SLOW, T0)), "DisasterRecoveryPlan.NotFound");
}
