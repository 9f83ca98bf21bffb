//! Consumer groups at run time, by the admin API. The rules of their progress have tests beside the model.

use serde_json::{Value, json};
use test_support::requests::admin;

use super::stage::{Stage, T0};

const ORDERS: &str = "/groups/GID_ORDERS";

/// The group and the times of each checkpoint from T0: last synchronisation, progress of source and target, truth.
async fn shown(stage: &Stage, plan: i64) -> Vec<(String, [Option<i64>; 4])> {
    let truth = stage.admin("GET", "/truth", Value::Null).await;
    let from_t0 = |time: &Value| time.as_i64().map(|at| at - T0);
    let show = |checkpoint: &Value| {
        let id = &checkpoint["checkpointId"];
        let truth = truth.as_array().unwrap().iter().find(|it| it["checkpointId"] == *id).unwrap();
        let (source, target) = (&checkpoint["sourceProgress"], &checkpoint["targetProgress"]);
        assert_eq!(truth["group"], source["consumerGroupId"]);
        let times = [
            &checkpoint["lastSyncTime"],
            &source["progressData"]["consumeTimestamp"],
            &target["progressData"]["consumeTimestamp"],
            &truth["coveredMs"],
        ];
        (truth["group"].as_str().unwrap().to_owned(), times.map(from_t0))
    };
    stage.checkpoints(plan).await.iter().map(show).collect()
}

#[tokio::test]
async fn group_lags_and_target_runs_ahead() {
    let stage = Stage::new();
    let plan = stage.synchronized_plan().await;
    let orders = async || shown(&stage, plan).await.remove(0).1;
    stage.advance(15_000);
    let behind = json!({"consumption": {"type": "CatchingUp", "behindMs": 100_000, "speedPercent": 1000}});
    stage.admin("POST", ORDERS, behind).await;
    stage.advance(6_000);
    // Since its jump back the source was last within the target's progress at the synchronisation.
    assert_eq!(orders().await, [20_000, -25_000, -35_000, 20_000].map(Some));
    stage.advance(6_000);
    assert_eq!(orders().await, [20_000, 27_000, -35_000, 20_000].map(Some));
    stage.admin("POST", ORDERS, json!({"consumption": {"type": "Offline"}, "targetAheadMs": 40_000})).await;
    stage.advance(5_000);
    assert_eq!(orders().await, [30_000, 27_000, 67_000, 32_000].map(Some));
    stage.admin("POST", ORDERS, json!({"targetAheadMs": null})).await;
    stage.advance(8_000);
    assert_eq!(orders().await, [40_000, 27_000, 27_000, 40_000].map(Some));
}

#[tokio::test]
async fn one_checkpoint_is_reset() {
    let stage = Stage::new();
    let plan = stage.synchronized_plan().await;
    stage.advance(15_000);
    let id = stage.checkpoints(plan).await[1]["checkpointId"].clone();
    let path = format!("/checkpoints/{id}");
    let reset = json!({"consumption": {"type": "Reset", "toMs": T0, "speedPercent": 50}});
    stage.admin("POST", &path, reset).await;
    stage.advance(4_000);
    let (billing, orders) = ([10_000, 2_000, 10_000, 19_000].map(Some), [10_000, 19_000, 10_000, 10_000].map(Some));
    assert_eq!(shown(&stage, plan).await, [("GID_ORDERS".to_owned(), orders), ("GID_BILLING".to_owned(), billing)]);
    for (path, body, expected) in [
        (&*path, json!({"online": false}), 400),
        (&*path, json!({"consumption": {"type": "Idle"}}), 400),
        (&*path, json!({"consumption": {"type": "Reset", "toMs": 1}}), 400),
        ("/checkpoints/7", json!({"targetAheadMs": 1}), 404),
        (ORDERS, json!({"onlin": false}), 400),
        ("/plans/7/items/7/groups/GID", json!({}), 405),
    ] {
        assert_eq!(admin(&stage.simulator, "POST", path, body.clone()).await.0, expected, "{path} {body}");
    }
}

#[tokio::test]
async fn groups_are_added_and_removed() {
    let stage = Stage::new();
    let plan = stage.synchronized_plan().await;
    let item = stage.simulator.plans()[0].items[0].item_id;
    stage.advance(12_000);
    let of_item = |group: &str| format!("/plans/{plan}/items/{item}/groups/{group}");
    stage.admin("PUT", "/groups/GID_NEW", Value::Null).await;
    stage.admin("PUT", &of_item("GID_ONE"), Value::Null).await;
    stage.admin("DELETE", ORDERS, Value::Null).await;
    stage.advance(1_000);
    let (old, new) = ([10_000, 13_000, 10_000, 10_000].map(Some), [None, Some(13_000), None, None]);
    let expected = [("GID_BILLING", old), ("GID_NEW", new), ("GID_ONE", new)];
    assert_eq!(shown(&stage, plan).await, expected.map(|(group, times)| (group.to_owned(), times)));
    stage.admin("DELETE", &of_item("GID_BILLING"), Value::Null).await;
    stage.advance(7_000);
    let synced = [20_000; 4].map(Some);
    let expected = [("GID_NEW", synced), ("GID_ONE", synced)];
    assert_eq!(shown(&stage, plan).await, expected.map(|(group, times)| (group.to_owned(), times)));
    for (method, path, expected) in [
        ("PUT", "/plans/7/items/7/groups/GID", 404),
        ("DELETE", "/plans/x/items/7/groups/GID", 400),
        ("GET", ORDERS, 405),
    ] {
        assert_eq!(admin(&stage.simulator, method, path, Value::Null).await.0, expected, "{method} {path}");
    }
}
