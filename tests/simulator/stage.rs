//! A cloud on a clock of the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use disaster_recovery_operator::simulator::{Clock, Config, Simulator};
use serde_json::{Value, json};
use test_support::requests::{Endpoint, Key, Pairs, admin, answer, exchange, signed, signed_json};

pub const EBS: Endpoint<'_> = ("POST", "ebs.cn-hangzhou.aliyuncs.com", "2021-07-30");
pub const ROCKETMQ: Endpoint<'_> = ("GET", "rocketmq.cn-hangzhou.aliyuncs.com", "2022-08-01");
pub const SOURCE: (&str, &str) = ("RegionId", "cn-hangzhou");
pub const DESTINATION: (&str, &str) = ("RegionId", "cn-shanghai");
pub const GROUP: [(&str, &str); 5] = [
    SOURCE,
    ("SourceZoneId", "cn-hangzhou-h"),
    ("DestinationRegionId", "cn-shanghai"),
    ("DestinationZoneId", "cn-shanghai-b"),
    ("ClientToken", "t"),
];

/// The time at which a stage begins: Fri, 28 Feb 2025 06:28:00 GMT.
pub const T0: i64 = 1_740_724_080_000;

/// A cloud and its clock, ms since the epoch.
pub struct Stage {
    pub simulator: Simulator,
    now: Arc<AtomicI64>,
}

impl Stage {
    pub fn new() -> Stage {
        Stage::with(Config::default())
    }

    /// A cloud with this configuration but for the clock.
    pub fn with(config: Config) -> Stage {
        let now = Arc::new(AtomicI64::new(T0));
        let shown = now.clone();
        let clock = Clock::new(move || shown.load(Ordering::SeqCst));
        Stage { simulator: Simulator::new(Config { clock, ..config }), now }
    }

    pub fn advance(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::SeqCst);
    }

    pub async fn fault(&self, fault: Value) {
        let (status, body) = admin(&self.simulator, "POST", "/faults", fault).await;
        assert_eq!(status, 200, "{body}");
    }

    /// An admin call that succeeds.
    pub async fn admin(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = admin(&self.simulator, method, path, body).await;
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    /// The checkpoints of the first item of a plan as List shows them, by ascending ID.
    pub async fn checkpoints(&self, plan: i64) -> Vec<Value> {
        let item = self.simulator.plans().iter().find(|it| it.plan_id == plan).unwrap().items[0].item_id;
        let path = format!("/disaster_recovery/{plan}/items/{item}/checkpoints");
        let query = [("instanceId", "rmq-foreign-a")];
        let (status, body) = self.rocketmq("ListDisasterRecoveryCheckpoints", &path, &query).await;
        assert_eq!(status, 200, "{body}");
        body["data"]["list"].as_array().unwrap().clone()
    }

    pub async fn clear(&self) {
        assert_eq!(admin(&self.simulator, "DELETE", "/faults", Value::Null).await.0, 200);
    }

    /// Adds a plan with an item whose checkpoints nothing synchronizes, and returns its ID.
    pub async fn plan(&self) -> i64 {
        self.add_plan(false).await
    }

    /// Adds a plan with an item whose checkpoints are synchronized automatically, and returns its ID.
    pub async fn synchronized_plan(&self) -> i64 {
        self.add_plan(true).await
    }

    async fn add_plan(&self, auto: bool) -> i64 {
        let topics = json!([
            {"instanceId": "rmq-foreign-a", "topicName": "t"}, {"instanceId": "rmq-foreign-b", "topicName": "t"}
        ]);
        let plan = json!({"planName": "orders", "syncCheckpointEnabled": true, "autoSyncCheckpoint": auto, "items": [{"topics": topics}]});
        let (status, body) = admin(&self.simulator, "POST", "/plans", plan).await;
        assert_eq!(status, 200, "{body}");
        body["planId"].as_i64().unwrap()
    }

    /// Calls EBS. `None` if no answer arrived.
    pub async fn ebs(&self, action: &str, query: Pairs<'_>) -> Option<(u16, Value)> {
        let request = signed(&self.simulator, &Key::usual(), EBS, (action, "/"), (query, &[]));
        let (status, body) = exchange(&self.simulator, request).await;
        Some((status, serde_json::from_str(&body?).unwrap()))
    }

    pub async fn groups(&self, region: (&str, &str)) -> usize {
        let (status, body) = self.ebs("DescribeDiskReplicaGroups", &[region]).await.unwrap();
        assert_eq!(status, 200, "{body}");
        body["ReplicaGroups"].as_array().unwrap().len()
    }

    pub async fn rocketmq(&self, action: &str, path: &str, query: Pairs<'_>) -> (u16, Value) {
        let request = signed(&self.simulator, &Key::usual(), ROCKETMQ, (action, path), (query, &[]));
        answer(&self.simulator, request).await
    }

    /// Calls a changing action of RocketMQ with this body, and returns the `data` of its answer.
    pub async fn change(&self, action: &str, path: &str, body: Value) -> Value {
        let endpoint = ("POST", ROCKETMQ.1, ROCKETMQ.2);
        let request = signed_json(&self.simulator, &Key::usual(), endpoint, (action, path), &body);
        let (status, body) = answer(&self.simulator, request).await;
        assert_eq!(status, 200, "{body}");
        body["data"].clone()
    }

    /// The IDs of a page of plans, and the total.
    pub async fn plans(&self, number: &str) -> (Vec<i64>, i64) {
        let query = [("pageNumber", number), ("pageSize", "10")];
        let (status, body) = self.rocketmq("ListDisasterRecoveryPlans", "/disaster_recovery", &query).await;
        assert_eq!(status, 200, "{body}");
        let data = &body["data"];
        let ids = data["list"].as_array().unwrap().iter().map(|plan| plan["planId"].as_i64().unwrap());
        (ids.collect(), data["totalCount"].as_i64().unwrap())
    }
}
