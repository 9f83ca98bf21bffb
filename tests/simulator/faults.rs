//! Faults of reads and of executions, as the admin API takes them, on a clock of the test.

use serde_json::{Value, json};

use super::stage::{DESTINATION, GROUP, SOURCE, Stage, T0};

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

/// The times of a checkpoint from T0: last synchronisation, then observation and progress of source and target.
fn times(checkpoint: &Value) -> [Option<i64>; 5] {
    let pointers = [
        "/lastSyncTime",
        "/sourceProgress/lastFetchTime",
        "/sourceProgress/progressData/consumeTimestamp",
        "/targetProgress/lastFetchTime",
        "/targetProgress/progressData/consumeTimestamp",
    ];
    pointers.map(|pointer| checkpoint.pointer(pointer).map(|at| at.as_i64().unwrap() - T0))
}

#[tokio::test]
async fn past_state_shows_past_fetch_times() {
    for (kind, expected) in [
        (json!({"type": "Frozen"}), [20_000, 25_000, 25_000, 25_000, 20_000]),
        (json!({"type": "Stale", "lag_ms": 32_000}), [50_000, 58_000, 58_000, 58_000, 50_000]),
    ] {
        let stage = Stage::new();
        let plan = stage.synchronized_plan().await;
        stage.advance(25_000);
        stage.fault(json!({"kind": kind})).await;
        for _ in 0..65 {
            stage.advance(1_000);
            stage.checkpoints(plan).await;
        }
        for checkpoint in stage.checkpoints(plan).await {
            assert_eq!(times(&checkpoint), expected.map(Some), "{kind}");
        }
    }
}

#[tokio::test]
async fn frozen_progress_leaves_rest_of_list_current() {
    let stage = Stage::new();
    let plan = stage.synchronized_plan().await;
    stage.advance(25_000);
    let ids: Vec<_> = stage.checkpoints(plan).await.iter().map(|it| it["checkpointId"].to_string()).collect();
    let frozen = [Some(60_000), Some(25_000), Some(25_000), Some(25_000), Some(20_000)];
    let current = [Some(60_000), Some(65_000), Some(65_000), Some(65_000), Some(60_000)];
    for (of, expected) in [(json!([ids[1]]), [current, frozen]), (json!([]), [frozen, frozen])] {
        let stage = Stage::new();
        let plan = stage.synchronized_plan().await;
        stage.advance(25_000);
        stage.fault(json!({"kind": {"type": "FrozenProgress", "ids": of}})).await;
        stage.advance(40_000);
        stage.admin("PUT", "/groups/GID_NEW", Value::Null).await;
        let shown: Vec<_> = stage.checkpoints(plan).await.iter().map(times).collect();
        let new = [None, Some(65_000), Some(65_000), Some(65_000), None];
        assert_eq!(shown, [&expected[..], &[new]].concat(), "{of}");
        let (_, got) = stage.rocketmq("GetDisasterRecoveryPlan", &format!("/disaster_recovery/{plan}"), &[]).await;
        assert_eq!(got["data"]["planStatus"], "RUNNING");
        let truth = stage.admin("GET", "/truth", Value::Null).await;
        assert_eq!(truth[0]["coveredMs"], T0 + 60_000, "{truth}");
        stage.clear().await;
        let shown: Vec<_> = stage.checkpoints(plan).await.iter().map(times).collect();
        assert_eq!(shown, [current, current, new]);
    }
}

#[tokio::test]
async fn frozen_progress_shows_target_without_progress() {
    let stage = Stage::new();
    let plan = stage.synchronized_plan().await;
    stage.advance(5_000);
    stage.fault(json!({"kind": {"type": "FrozenProgress"}})).await;
    stage.advance(10_000);
    for checkpoint in stage.checkpoints(plan).await {
        assert_eq!(times(&checkpoint), [Some(10_000), Some(5_000), Some(5_000), Some(5_000), None]);
    }
}

#[tokio::test]
async fn checkpoint_without_fetch_times_keeps_progress() {
    let stage = Stage::new();
    let plan = stage.synchronized_plan().await;
    stage.advance(15_000);
    let complete: Vec<_> = stage.checkpoints(plan).await;
    let id = complete[0]["checkpointId"].to_string();
    let all = [10_000, 15_000, 15_000, 15_000, 10_000].map(Some);
    let without = [Some(10_000), None, Some(15_000), None, Some(10_000)];
    for (ids, expected) in [(json!([id]), [without, all]), (json!([]), [without, without])] {
        stage.fault(json!({"kind": {"type": "WithoutFetchTimes", "ids": ids}})).await;
        let shown: Vec<_> = stage.checkpoints(plan).await.iter().map(times).collect();
        assert_eq!(shown, expected, "{ids}");
        stage.clear().await;
    }
    assert_eq!(stage.checkpoints(plan).await, complete);
}
