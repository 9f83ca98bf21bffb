//! Faults of reads and of executions, as the admin API takes them, on a clock of the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use disaster_recovery_operator::simulator::{Clock, Config, Simulator};
use serde_json::{Value, json};
use test_support::requests::{Endpoint, Key, Pairs, admin, answer, exchange, signed, signed_json};

const EBS: Endpoint<'_> = ("POST", "ebs.cn-hangzhou.aliyuncs.com", "2021-07-30");
const ROCKETMQ: Endpoint<'_> = ("GET", "rocketmq.cn-hangzhou.aliyuncs.com", "2022-08-01");
const SOURCE: (&str, &str) = ("RegionId", "cn-hangzhou");
const DESTINATION: (&str, &str) = ("RegionId", "cn-shanghai");
const GROUP: [(&str, &str); 5] = [
    SOURCE,
    ("SourceZoneId", "cn-hangzhou-h"),
    ("DestinationRegionId", "cn-shanghai"),
    ("DestinationZoneId", "cn-shanghai-b"),
    ("ClientToken", "t"),
];

/// A cloud and its clock, ms since the epoch.
struct Stage {
    simulator: Simulator,
    now: Arc<AtomicI64>,
}

impl Stage {
    fn new() -> Stage {
        let now = Arc::new(AtomicI64::new(1_740_724_080_000));
        let shown = now.clone();
        let clock = Clock::new(move || shown.load(Ordering::SeqCst));
        Stage { simulator: Simulator::new(Config { clock, ..Config::default() }), now }
    }

    fn advance(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::SeqCst);
    }

    async fn fault(&self, fault: Value) {
        let (status, body) = admin(&self.simulator, "POST", "/faults", fault).await;
        assert_eq!(status, 200, "{body}");
    }

    async fn clear(&self) {
        assert_eq!(admin(&self.simulator, "DELETE", "/faults", Value::Null).await.0, 200);
    }

    /// Adds a plan with an item, and returns its ID.
    async fn plan(&self) -> i64 {
        let topics = json!([
            {"instanceId": "rmq-foreign-a", "topicName": "t"}, {"instanceId": "rmq-foreign-b", "topicName": "t"}
        ]);
        let plan = json!({"planName": "orders", "syncCheckpointEnabled": true, "items": [{"topics": topics}]});
        let (status, body) = admin(&self.simulator, "POST", "/plans", plan).await;
        assert_eq!(status, 200, "{body}");
        body["planId"].as_i64().unwrap()
    }

    /// Calls EBS. `None` if no answer arrived.
    async fn ebs(&self, action: &str, query: Pairs<'_>) -> Option<(u16, Value)> {
        let request = signed(&self.simulator, &Key::usual(), EBS, (action, "/"), (query, &[]));
        let (status, body) = exchange(&self.simulator, request).await;
        Some((status, serde_json::from_str(&body?).unwrap()))
    }

    async fn groups(&self, region: (&str, &str)) -> usize {
        let (status, body) = self.ebs("DescribeDiskReplicaGroups", &[region]).await.unwrap();
        assert_eq!(status, 200, "{body}");
        body["ReplicaGroups"].as_array().unwrap().len()
    }

    async fn rocketmq(&self, action: &str, path: &str, query: Pairs<'_>) -> (u16, Value) {
        let request = signed(&self.simulator, &Key::usual(), ROCKETMQ, (action, path), (query, &[]));
        answer(&self.simulator, request).await
    }

    /// Calls a changing action of RocketMQ with this body, and returns the `data` of its answer.
    async fn change(&self, action: &str, path: &str, body: Value) -> Value {
        let endpoint = ("POST", ROCKETMQ.1, ROCKETMQ.2);
        let request = signed_json(&self.simulator, &Key::usual(), endpoint, (action, path), &body);
        let (status, body) = answer(&self.simulator, request).await;
        assert_eq!(status, 200, "{body}");
        body["data"].clone()
    }

    /// The IDs of a page of plans, and the total.
    async fn plans(&self, number: &str) -> (Vec<i64>, i64) {
        let query = [("pageNumber", number), ("pageSize", "10")];
        let (status, body) = self.rocketmq("ListDisasterRecoveryPlans", "/disaster_recovery", &query).await;
        assert_eq!(status, 200, "{body}");
        let data = &body["data"];
        let ids = data["list"].as_array().unwrap().iter().map(|plan| plan["planId"].as_i64().unwrap());
        (ids.collect(), data["totalCount"].as_i64().unwrap())
    }
}

#[tokio::test]
async fn stale_region_shows_past_state() {
    let stage = Stage::new();
    stage.fault(json!({"region": "cn-shanghai", "kind": {"type": "Stale", "lag_ms": 10_000}})).await;
    assert_eq!(stage.ebs("CreateDiskReplicaGroup", &GROUP).await.unwrap().0, 200);
    for (ms, source, destination) in [(0, 1, 0), (9_000, 1, 0), (2_000, 1, 1)] {
        stage.advance(ms);
        assert_eq!((stage.groups(SOURCE).await, stage.groups(DESTINATION).await), (source, destination), "+{ms} ms");
    }
}

#[tokio::test]
async fn frozen_progress_stands_still() {
    let stage = Stage::new();
    let plan = stage.plan().await;
    let item = stage.simulator.plans()[0].items[0].item_id;
    let path = format!("/disaster_recovery/{plan}/items/{item}/checkpoints");
    let progress = async || {
        let query = [("instanceId", "rmq-foreign-a")];
        let (status, body) = stage.rocketmq("ListDisasterRecoveryCheckpoints", &path, &query).await;
        assert_eq!(status, 200, "{body}");
        let list = body["data"]["list"].as_array().unwrap().clone();
        assert!(!list.is_empty());
        list
    };
    stage.advance(20_000);
    let before = progress().await;
    stage.fault(json!({"action": "ListDisasterRecoveryCheckpoints", "kind": {"type": "Frozen"}})).await;
    stage.advance(60_000);
    assert_eq!(progress().await, before);
    stage.clear().await;
    assert_ne!(progress().await, before);
}

#[tokio::test]
async fn gap_hides_plan_until_its_end() {
    for counted in [false, true] {
        let stage = Stage::new();
        let (first, second) = (stage.plan().await, stage.plan().await);
        let kind = json!({"type": "Gap", "ids": [second.to_string()], "counted": counted});
        stage.fault(json!({"for_ms": 9_000, "kind": kind})).await;
        let get = async |plan: i64| {
            stage.rocketmq("GetDisasterRecoveryPlan", &format!("/disaster_recovery/{plan}"), &[]).await.0
        };
        let total = if counted { 2 } else { 1 };
        assert_eq!(stage.plans("1").await, (vec![first], total));
        assert_eq!((get(first).await, get(second).await), (200, 404));
        stage.advance(9_000);
        assert_eq!(stage.plans("1").await, (vec![first, second], 2));
        assert_eq!(get(second).await, 200);
    }
}

#[tokio::test]
async fn gap_without_ids_empties_list() {
    let stage = Stage::new();
    stage.plan().await;
    assert_eq!(stage.ebs("CreateDiskReplicaGroup", &GROUP).await.unwrap().0, 200);
    stage.fault(json!({"kind": {"type": "Gap"}})).await;
    assert_eq!(stage.plans("1").await, (vec![], 0));
    assert_eq!(stage.groups(SOURCE).await, 0);
}

#[tokio::test]
async fn shifted_pages_lack_some_and_repeat_others() {
    let stage = Stage::new();
    let mut plans = Vec::new();
    for _ in 0..25 {
        plans.push(stage.plan().await);
    }
    stage.fault(json!({"kind": {"type": "ShiftedPages", "by": 1}})).await;
    let mut found = Vec::new();
    for number in ["1", "2", "3"] {
        let (ids, total) = stage.plans(number).await;
        assert_eq!(total, 25);
        found.extend(ids);
    }
    let expected: Vec<_> = (0..10).chain(11..21).chain(22..25).chain(0..2).map(|index: usize| plans[index]).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn shifted_pages_of_groups_lack_one() {
    let stage = Stage::new();
    for token in ["a", "b", "c", "d", "e"] {
        let query = [&GROUP[..4], &[("ClientToken", token)]].concat();
        assert_eq!(stage.ebs("CreateDiskReplicaGroup", &query).await.unwrap().0, 200);
    }
    stage.fault(json!({"kind": {"type": "ShiftedPages", "by": 1}})).await;
    let (_, first) = stage.ebs("DescribeDiskReplicaGroups", &[SOURCE, ("MaxResults", "2")]).await.unwrap();
    let token = first["NextToken"].as_str().unwrap();
    let query = [SOURCE, ("MaxResults", "2"), ("NextToken", token)];
    let (_, second) = stage.ebs("DescribeDiskReplicaGroups", &query).await.unwrap();
    let ids = [&first, &second].map(|page| {
        let groups = page["ReplicaGroups"].as_array().unwrap();
        groups.iter().map(|group| group["ReplicaGroupId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    });
    let all: Vec<_> = (1..=5).map(|number| format!("pg-sim0000000{number}")).collect();
    assert_eq!(ids, [all[..2].to_vec(), all[3..].to_vec()]);
    assert!(second.get("NextToken").is_none(), "{second}");
}

#[tokio::test]
async fn late_change_is_executed_at_its_time() {
    let stage = Stage::new();
    stage.fault(json!({"times": 1, "kind": {"type": "ExecutedLate", "ms": 45_000}})).await;
    assert_eq!(stage.ebs("CreateDiskReplicaGroup", &GROUP).await, None);
    let record = stage.simulator.requests().remove(0);
    assert_eq!((record.fault.as_deref(), record.executed), (Some("ExecutedLate"), false));
    stage.advance(44_999);
    assert_eq!(stage.groups(SOURCE).await, 0);
    stage.advance(1);
    assert_eq!(stage.groups(SOURCE).await, 1);
    // The token of the late call makes a repeat harmless.
    assert_eq!(stage.ebs("CreateDiskReplicaGroup", &GROUP).await.unwrap().0, 200);
    assert_eq!(stage.groups(SOURCE).await, 1);
}

#[tokio::test]
async fn accepted_change_can_stay_without_effect() {
    let stage = Stage::new();
    stage.fault(json!({"times": 1, "kind": {"type": "NoEffect"}})).await;
    let (status, first) = stage.ebs("CreateDiskReplicaGroup", &GROUP).await.unwrap();
    assert_eq!(status, 200, "{first}");
    let (_, again) = stage.ebs("CreateDiskReplicaGroup", &GROUP).await.unwrap();
    assert_eq!(again["ReplicaGroupId"], first["ReplicaGroupId"]);
    assert_eq!(stage.groups(SOURCE).await, 0);
}

#[tokio::test]
async fn create_executed_twice_leaves_two_plans_and_items() {
    let stage = Stage::new();
    stage.fault(json!({"kind": {"type": "Twice"}})).await;
    let instance = |id: &str, role: &str| {
        let kind = "ALIYUN_ROCKETMQ";
        json!({"instanceType": kind, "instanceId": id, "regionId": "cn-hangzhou", "instanceRole": role})
    };
    let instances = [instance("rmq-a", "ACTIVE"), instance("rmq-b", "PASSIVE")];
    let plan = json!({"planName": "orders", "planType": "ACTIVE_PASSIVE", "instances": instances});
    let first = stage.change("CreateDisasterRecoveryPlan", "/disaster_recovery", plan).await.as_i64().unwrap();
    let record = stage.simulator.requests().remove(0);
    assert_eq!((record.fault.as_deref(), record.executed), (Some("Twice"), true));
    assert_eq!(stage.plans("1").await, (vec![first, first + 1], 2));
    let read = stage.simulator.requests().remove(1);
    assert_eq!((read.fault, stage.simulator.requests().len()), (None, 2));

    let path = format!("/disaster_recovery/{first}/items");
    let topics = ["rmq-a", "rmq-b"].map(|id| json!({"instanceId": id, "topicName": "t"}));
    let item = stage.change("AddDisasterRecoveryItem", &path, json!({"topics": topics})).await.as_i64().unwrap();
    let items = &stage.simulator.plans()[0].items;
    assert_eq!(items.iter().map(|item| item.item_id).collect::<Vec<_>>(), [item, item + 1]);
}

#[tokio::test]
async fn create_executed_twice_with_token_leaves_one() {
    let stage = Stage::new();
    stage.fault(json!({"kind": {"type": "Twice"}})).await;
    assert_eq!(stage.ebs("CreateDiskReplicaGroup", &GROUP).await.unwrap().0, 200);
    assert_eq!(stage.groups(SOURCE).await, 1);
    assert_eq!(stage.ebs("CreateDiskReplicaGroup", &GROUP[..4]).await.unwrap().0, 200);
    assert_eq!(stage.groups(SOURCE).await, 3);
}

#[tokio::test]
async fn change_executed_twice_has_first_answer() {
    let stage = Stage::new();
    let plan = stage.plan().await;
    let item = stage.simulator.plans()[0].items[0].item_id;
    let path = format!("/disaster_recovery/{plan}/items/{item}/stop");
    stage.simulator.set_rate_limit(1);
    stage.fault(json!({"kind": {"type": "Twice"}})).await;
    // The second execution fails, because the item does not run any more.
    assert_eq!(stage.change("StopDisasterRecoveryItem", &path, json!({})).await, true);
}

#[tokio::test]
async fn unknown_status_shows_for_selected_resources() {
    let stage = Stage::new();
    let plan = stage.plan().await;
    let item = stage.simulator.plans()[0].items[0].item_id;
    let (_, group) = stage.ebs("CreateDiskReplicaGroup", &GROUP).await.unwrap();
    let disks = [("DiskId", "d-1"), ("DestinationDiskId", "d-2"), ("ClientToken", "t")];
    let (_, pair) = stage.ebs("CreateDiskReplicaPair", &[&GROUP[..4], &disks].concat()).await.unwrap();
    let ids = [
        plan.to_string(),
        item.to_string(),
        group["ReplicaGroupId"].as_str().unwrap().to_owned(),
        pair["ReplicaPairId"].as_str().unwrap().to_owned(),
    ];
    let plan_path = format!("/disaster_recovery/{plan}");
    let items_path = format!("{plan_path}/items");
    let item_path = format!("{items_path}/{item}");
    // The statuses that Get and List show for plan, item, group and pair.
    let shown = async || {
        let mut statuses = Vec::new();
        for (name, get, list) in [
            (
                "planStatus",
                ("GetDisasterRecoveryPlan", &*plan_path),
                ("ListDisasterRecoveryPlans", "/disaster_recovery"),
            ),
            ("itemStatus", ("GetDisasterRecoveryItem", &*item_path), ("ListDisasterRecoveryItems", &*items_path)),
        ] {
            let (_, single) = stage.rocketmq(get.0, get.1, &[]).await;
            let (_, page) = stage.rocketmq(list.0, list.1, &[]).await;
            assert_eq!(single["data"][name], page["data"]["list"][0][name]);
            statuses.push(single["data"][name].as_str().unwrap().to_owned());
        }
        for (action, list) in
            [("DescribeDiskReplicaGroups", "ReplicaGroups"), ("DescribeDiskReplicaPairs", "ReplicaPairs")]
        {
            let (_, page) = stage.ebs(action, &[SOURCE]).await.unwrap();
            statuses.push(page[list][0]["Status"].as_str().unwrap().to_owned());
        }
        statuses
    };
    let own = shown().await;
    assert_eq!(own, ["RUNNING", "RUNNING", "created", "created"]);
    for (index, id) in ids.iter().enumerate() {
        stage.fault(json!({"kind": {"type": "UnknownStatus", "ids": [id], "status": "MIGRATING"}})).await;
        let mut expected = own.clone();
        expected[index] = "MIGRATING".to_owned();
        assert_eq!(shown().await, expected, "{id}");
        stage.clear().await;
    }
    stage.fault(json!({"kind": {"type": "UnknownStatus", "status": "MIGRATING"}})).await;
    assert_eq!(shown().await, ["MIGRATING"; 4]);
    stage.clear().await;
    assert_eq!(shown().await, own);
}

#[tokio::test]
async fn checkpoint_without_timestamps_keeps_last_sync_time() {
    let stage = Stage::new();
    let plan = stage.plan().await;
    let item = stage.simulator.plans()[0].items[0].clone();
    let path = format!("/disaster_recovery/{plan}/items/{}/checkpoints", item.item_id);
    for checkpoint in &item.checkpoints {
        stage
            .change("SyncDisasterRecoveryCheckpoint", &format!("{path}/{}", checkpoint.checkpoint_id), json!({}))
            .await;
    }
    let list = async || {
        let query = [("instanceId", "rmq-foreign-a")];
        let (status, body) = stage.rocketmq("ListDisasterRecoveryCheckpoints", &path, &query).await;
        assert_eq!(status, 200, "{body}");
        body["data"]["list"].as_array().unwrap().clone()
    };
    let complete = list().await;
    assert_eq!(complete.len(), 2);
    let without = |checkpoint: &Value| {
        let mut checkpoint = checkpoint.clone();
        assert!(checkpoint["lastSyncTime"].is_i64(), "{checkpoint}");
        for side in ["sourceProgress", "targetProgress"] {
            assert!(checkpoint[side]["progressData"]["consumeTimestamp"].is_i64(), "{checkpoint}");
            checkpoint[side]["progressData"] = json!({});
        }
        checkpoint
    };
    let id = complete[1]["checkpointId"].to_string();
    for (ids, expected) in [
        (json!([id]), vec![complete[0].clone(), without(&complete[1])]),
        (json!([]), complete.iter().map(without).collect()),
    ] {
        stage.fault(json!({"kind": {"type": "WithoutTimestamps", "ids": ids}})).await;
        assert_eq!(list().await, expected);
        stage.clear().await;
    }
    assert_eq!(list().await, complete);
}
