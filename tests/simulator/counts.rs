//! The numbers that the admin API has of requests and of the cloud.

use disaster_recovery_operator::simulator::Config;
use serde_json::{Value, json};

use super::stage::{GROUP, Stage, T0};

const GET: &str = "GetDisasterRecoveryPlan";

#[tokio::test]
async fn requests_are_counted_by_action_and_path() {
    let stage = Stage::with(Config { rate_limit_per_second: 3, ..Config::default() });
    let paths = [stage.plan().await, stage.plan().await].map(|plan| format!("/disaster_recovery/{plan}"));
    for path in [&paths[0], &paths[1], &paths[1], &paths[1]] {
        stage.rocketmq(GET, path, &[]).await;
    }
    stage.advance(1000);
    stage.rocketmq(GET, "/disaster_recovery/1", &[]).await;
    let counted = stage.admin("GET", "/request-counts", Value::Null).await;
    assert_eq!(counted, json!({ GET: { "calls": 5, "refused": 2, "throttled": 1, "paths": 3 } }));

    stage.admin("DELETE", "/requests", Value::Null).await;
    assert_eq!(stage.admin("GET", "/request-counts", Value::Null).await, json!({}));
}

#[tokio::test]
async fn changes_since_time_leave_out_reads_and_earlier_calls() {
    let stage = Stage::new();
    let plan = stage.plan().await;
    let path = format!("/disaster_recovery/{plan}");
    let group = async |token: &str| {
        let mut query = GROUP;
        query[4].1 = token;
        stage.ebs("CreateDiskReplicaGroup", &query).await.unwrap()
    };
    group("a").await;
    stage.advance(10);
    group("b").await;
    stage.rocketmq(GET, &path, &[]).await;
    stage.advance(10);
    group("c").await;
    let changes = stage.admin("GET", &format!("/changes?sinceMs={}", T0 + 10), Value::Null).await;
    let times: Vec<_> = changes.as_array().unwrap().iter().map(|it| it["atMs"].as_i64().unwrap()).collect();
    assert_eq!(times, [T0 + 10, T0 + 20]);
}

#[tokio::test]
async fn totals_count_plans_and_disks() {
    let stage = Stage::new();
    stage.plan().await;
    stage.ebs("CreateDiskReplicaGroup", &GROUP).await.unwrap();
    let totals = stage.admin("GET", "/totals", Value::Null).await;
    let expected = json!({
        "plans": 1, "items": 1, "runningItems": 1, "diskGroups": 1, "normalDiskGroups": 0, "diskPairs": 0,
    });
    assert_eq!(totals, expected);
}
