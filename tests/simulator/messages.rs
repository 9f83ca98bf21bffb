//! Messages, their replication, and GetConsumerGroupLag. The rules of the numbers have tests beside the model.

use disaster_recovery_operator::simulator::model::{ForeignPlan, ItemInput, PlanInput, Topic};
use serde_json::{Value, json};
use test_support::requests::{Key, admin, answer, exchange, signed};

use super::stage::{ROCKETMQ, Stage, T0};

const ACTION: &str = "GetConsumerGroupLag";

fn path(instance: &str, group: &str) -> String {
    format!("/instances/{instance}/consumerGroups/{group}/lag")
}

/// The path of the lag of a plan's replicator.
fn replicator(plan: i64) -> String {
    path("rmq-foreign-a", &format!("GID_DR_{plan}_1"))
}

/// The `data` of the lag at a path.
async fn lag(stage: &Stage, path: &str) -> Value {
    let (status, body) = stage.rocketmq(ACTION, path, &[]).await;
    assert_eq!(status, 200, "{body}");
    body["data"].clone()
}

/// Waiting messages and age of the oldest in seconds.
async fn waiting(stage: &Stage, path: &str) -> (i64, i64) {
    let total = lag(stage, path).await["totalLag"].clone();
    let number = |name: &str| total[name].as_i64().unwrap();
    (number("readyCount") + number("inflightCount"), number("deliveryDuration"))
}

#[tokio::test]
async fn lag_of_replicator_has_documented_fields() {
    let stage = Stage::new();
    let plan = stage.plan().await;
    stage.advance(5_000);
    stage.admin("POST", "/replication", json!({"type": "CatchingUp", "behindMs": 5_000, "speedPercent": 10})).await;
    stage.advance(10_000);
    let number =
        json!({"readyCount": 130, "inflightCount": 10, "deliveryDuration": 13, "lastConsumeTimestamp": T0 + 1_000});
    let mut expected = json!({
        "regionId": "cn-hangzhou", "instanceId": "rmq-foreign-a", "consumerGroupId": format!("GID_DR_{plan}_1"),
        "totalLag": number, "topicLagMap": {"t": number},
    });
    assert_eq!(lag(&stage, &replicator(plan)).await, expected);
    expected["topicName"] = json!("t");
    let (_, body) = stage.rocketmq(ACTION, &replicator(plan), &[("topicName", "t")]).await;
    assert_eq!(body["data"], expected);
    let truth = stage.admin("GET", "/message-truth", Value::Null).await;
    let item = stage.simulator.plans()[0].items[0].item_id;
    let of = json!({
        "planId": plan, "itemId": item, "sourceInstance": "rmq-foreign-a", "topic": "t", "coveredMs": T0 + 5_000,
    });
    assert_eq!(truth, json!([of]));
}

#[tokio::test]
async fn replication_and_production_are_set() {
    let stage = Stage::new();
    let (first, second) = (stage.plan().await, stage.plan().await);
    let item = stage.simulator.plans()[0].items[0].item_id;
    let of_item = format!("/plans/{first}/items/{item}/replication");
    let of_topic = "/instances/rmq-foreign-a/topics/t/production";
    let (offline, busy) = (json!({"type": "Offline"}), json!({"type": "Busy"}));
    let (quiet, steady) = (json!({"type": "Quiet"}), json!({"type": "Steady"}));
    stage.admin("POST", &of_item, offline.clone()).await;
    stage.advance(2_500);
    let mut found = Vec::new();
    for (route, body) in [
        ("/replication", &offline),
        ("/instances/rmq-foreign-b/topics/t/production", &quiet),
        (of_topic, &quiet),
        ("/production", &steady),
        ("/production", &quiet),
        (&of_item, &busy),
    ] {
        stage.admin("POST", route, body.clone()).await;
        stage.advance(1_000);
        found.push((waiting(&stage, &replicator(first)).await, waiting(&stage, &replicator(second)).await));
    }
    let expected = [
        ((35, 3), (10, 0)),
        ((45, 4), (20, 1)),
        ((45, 5), (20, 2)),
        // The messages of a second and one more, which counts as a whole one.
        ((56, 6), (31, 3)),
        ((56, 7), (31, 4)),
        ((0, 0), (31, 5)),
    ];
    assert_eq!(found, expected);
    for (path, body, expected) in [
        ("/production", json!({"type": "Loud"}), 400),
        ("/replication", json!({"type": "Reset"}), 400),
        ("/plans/7/items/7/replication", offline.clone(), 404),
        ("/plans/x/items/7/replication", offline, 400),
    ] {
        assert_eq!(admin(&stage.simulator, "POST", path, body.clone()).await.0, expected, "{path} {body}");
    }
}

#[tokio::test]
async fn application_group_waits_and_synchronization_stops_at_replicator() {
    let stage = Stage::new();
    let plan = stage.synchronized_plan().await;
    let orders = path("rmq-foreign-a", "GID_ORDERS");
    stage.admin("POST", "/groups/GID_ORDERS", json!({"consumption": {"type": "Offline"}})).await;
    stage.advance(4_000);
    stage.admin("POST", "/replication", json!({"type": "Offline"})).await;
    stage.advance(8_000);
    assert_eq!(waiting(&stage, &orders).await, (120, 11));
    assert_eq!(waiting(&stage, &path("rmq-foreign-a", "GID_BILLING")).await, (0, 0));
    let target =
        |checkpoint: &Value| checkpoint["targetProgress"]["progressData"]["consumeTimestamp"].as_i64().unwrap();
    let targets: Vec<_> = stage.checkpoints(plan).await.iter().map(|it| target(it) - T0).collect();
    assert_eq!(targets, [0, 4_000]);
}

#[tokio::test]
async fn unknown_resources_are_not_found() {
    let stage = Stage::new();
    let plan = stage.plan().await;
    let known = replicator(plan);
    for (path, topic, expected) in [
        (path("rmq-other", "GID_ORDERS"), "", "Instance.NotFound"),
        (path("rmq-foreign-a", "GID_NONE"), "", "ConsumerGroup.NotFound"),
        (path("rmq-foreign-b", &format!("GID_DR_{plan}_2")), "", "ConsumerGroup.NotFound"),
        (known.clone(), "other", "Topic.NotFound"),
    ] {
        let (status, body) = stage.rocketmq(ACTION, &path, &[("topicName", topic)]).await;
        assert_eq!((status, &body["code"], &body["success"]), (404, &json!(expected), &json!(false)), "{path} {topic}");
    }
    for (host, expected) in [
        ("rocketmq.cn-hangzhou.aliyuncs.com", 200),
        ("rocketmq-vpc.cn-hangzhou.aliyuncs.com", 200),
        ("rocketmq.cn-shanghai.aliyuncs.com", 404),
        ("127.0.0.1:4711", 200),
    ] {
        let endpoint = ("GET", host, ROCKETMQ.2);
        let request = signed(&stage.simulator, &Key::usual(), endpoint, (ACTION, &known), (&[], &[]));
        assert_eq!(answer(&stage.simulator, request).await.0, expected, "{host}");
    }
    let (_, refused) = stage.rocketmq("ListDisasterRecoveryPlans", &known, &[]).await;
    assert_eq!(refused["Code"], "InvalidApi.NotFound");
    let mut request = signed(&stage.simulator, &Key::usual(), ROCKETMQ, (ACTION, &known), (&[], &[]));
    request.headers_mut().remove("authorization");
    let (status, _) = answer(&stage.simulator, request).await;
    assert_ne!(status, 200, "without a signature");
}

#[tokio::test]
async fn faults_and_permissions_affect_lag() {
    let stage = Stage::new();
    let path = replicator(stage.plan().await);
    for (kind, expected) in [
        (json!({"type": "Error", "status": 503, "code": "ServiceUnavailable", "message": "m"}), Some(503)),
        (json!({"type": "Throttle"}), Some(400)),
        (json!({"type": "Slow", "ms": 5}), Some(200)),
        (json!({"type": "Lost"}), None),
    ] {
        stage.fault(json!({"action": ACTION, "times": 1, "kind": kind.clone()})).await;
        let request = signed(&stage.simulator, &Key::usual(), ROCKETMQ, (ACTION, &path), (&[], &[]));
        let (status, body) = exchange(&stage.simulator, request).await;
        assert_eq!(body.map(|_| status), expected, "{kind}");
    }
    stage.simulator.set_denied_actions([ACTION]);
    let (status, body) = stage.rocketmq(ACTION, &path, &[]).await;
    assert_eq!((status, &body["code"]), (403, &json!("NoPermission")));
    stage.simulator.set_denied_actions(Vec::<String>::new());
    let record = stage.simulator.requests().pop().unwrap();
    assert_eq!((record.action.as_str(), record.changing), (ACTION, false));
    stage.simulator.set_rate_limit(2);
    stage.advance(1_000);
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(stage.rocketmq(ACTION, &path, &[]).await.0);
    }
    assert_eq!(codes, [200, 200, 400]);
}

#[tokio::test]
async fn past_state_shows_past_lag() {
    for (kind, expected) in
        [(json!({"type": "Frozen"}), (30, 2)), (json!({"type": "Stale", "lag_ms": 32_000}), (330, 32))]
    {
        let stage = Stage::new();
        let path = replicator(stage.plan().await);
        stage.admin("POST", "/replication", json!({"type": "Offline"})).await;
        stage.advance(3_000);
        stage.fault(json!({"action": ACTION, "kind": kind})).await;
        for _ in 0..62 {
            stage.advance(1_000);
            waiting(&stage, &path).await;
        }
        stage.admin("POST", "/production", json!({"type": "Quiet"})).await;
        stage.admin("POST", "/replication", json!({"type": "Busy"})).await;
        assert_eq!(waiting(&stage, &path).await, expected, "{kind}");
        stage.clear().await;
        assert_eq!(waiting(&stage, &path).await, (0, 0));
    }
}

#[tokio::test]
async fn answer_lacks_some_of_many_topics() {
    let stage = Stage::new();
    let topic = |instance: &str, number: usize| Topic {
        instance_id: Some(instance.to_owned()),
        topic_name: Some(format!("topic-{number}")),
        ..Topic::default()
    };
    let topics = |number| Some(vec![topic("rmq-foreign-a", number), topic("rmq-foreign-b", number)]);
    let items = (0..3_000).map(|number| ItemInput { topics: topics(number) }).collect();
    let plan = PlanInput { plan_name: Some("large".to_owned()), ..PlanInput::default() };
    let foreign = ForeignPlan { plan, items, ..ForeignPlan::default() };
    let plan = stage.simulator.with_model(|model, now| model.add_foreign_plan("cn-hangzhou", foreign, now)).unwrap();
    stage.admin("POST", "/replication", json!({"type": "Offline"})).await;
    stage.advance(2_000);
    let total = json!({
        "readyCount": 60_000, "inflightCount": 0, "deliveryDuration": 1, "lastConsumeTimestamp": T0,
    });
    for (ids, expected) in [(None, 3_000), (Some(json!(["topic-7", "topic-8", "other"])), 2_998), (Some(json!([])), 0)]
    {
        if let Some(ids) = &ids {
            stage.fault(json!({"action": ACTION, "kind": {"type": "WithoutTopics", "ids": ids}})).await;
        }
        let data = lag(&stage, &replicator(plan)).await;
        let topics = data["topicLagMap"].as_object().unwrap();
        assert_eq!((topics.len(), &data["totalLag"]), (expected, &total), "{ids:?}");
        assert_eq!(topics.contains_key("topic-7"), ids.is_none(), "{ids:?}");
        stage.clear().await;
    }
}
