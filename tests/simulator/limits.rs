//! Rate limits: what counts together, and the limit of each operation.

use disaster_recovery_operator::simulator::Config;
use disaster_recovery_operator::simulator::model::sts::{Role, StsRules};
use test_support::requests::{Endpoint, Key, Pairs, answer, signed};

use super::stage::{EBS, ROCKETMQ, Stage};

const ROLES: [&str; 3] = [
    "acs:ram::1000000000000001:role/team-a",
    "acs:ram::1000000000000001:role/team-b",
    "acs:ram::1000000000000002:role/team-a",
];
const STS: Endpoint<'_> = ("POST", "sts.aliyuncs.com", "2015-04-01");
const LIST: (&str, &str) = ("ListDisasterRecoveryPlans", "/disaster_recovery");

fn stage(limits: Config) -> Stage {
    let roles = ROLES.iter().map(|arn| Role::open(arn, &[])).collect();
    Stage::with(Config { sts: StsRules { roles, ..StsRules::default() }, ..limits })
}

/// Calls until the first refusal, at most 500, and returns the number of accepted calls.
async fn accepted(stage: &Stage, key: &Key, endpoint: Endpoint<'_>, call: (&str, &str), query: Pairs<'_>) -> usize {
    for calls in 0..500 {
        let (_, body) = answer(&stage.simulator, signed(&stage.simulator, key, endpoint, call, (query, &[]))).await;
        if body["Code"].as_str().is_some_and(|code| code.starts_with("Throttling")) {
            return calls;
        }
    }
    500
}

async fn assumed(stage: &Stage, role: &str) -> Key {
    let query = [("RoleArn", role), ("RoleSessionName", "dr")];
    let request = signed(&stage.simulator, &Key::usual(), STS, ("AssumeRole", "/"), (&query, &[]));
    let (status, body) = answer(&stage.simulator, request).await;
    assert_eq!(status, 200, "{body}");
    Key::of(&body)
}

#[tokio::test]
async fn each_operation_and_region_has_own_limit() {
    let stage = stage(Config::default());
    let (key, region) = (Key::usual(), [("RegionId", "cn-hangzhou")]);
    let shanghai = ("GET", "rocketmq.cn-shanghai.aliyuncs.com", ROCKETMQ.2);
    let get = ("GetDisasterRecoveryPlan", "/disaster_recovery/1");
    for second in 0..2 {
        for (endpoint, call, limit) in [
            (ROCKETMQ, LIST, 150),
            (ROCKETMQ, get, 150),
            (shanghai, LIST, 150),
            (EBS, ("DescribeDiskReplicaGroups", "/"), 40),
            (EBS, ("StartDiskReplicaGroup", "/"), 40),
            (EBS, ("StartReplicaGroupDrill", "/"), 40),
            (EBS, ("ClearReplicaGroupDrill", "/"), 10),
            (STS, ("AssumeRole", "/"), 100),
        ] {
            let calls = accepted(&stage, &key, endpoint, call, &region).await;
            assert_eq!(calls, limit, "{call:?} in second {second}");
            assert_eq!(accepted(&stage, &key, endpoint, call, &region).await, 0, "{call:?} in second {second}");
        }
        stage.advance(1_000);
    }
}

#[tokio::test]
async fn keys_of_one_account_count_together() {
    let stage = stage(Config { rate_limit_per_second: 5, ..Config::default() });
    let mut keys = vec![assumed(&stage, ROLES[0]).await];
    for role in ROLES {
        keys.push(assumed(&stage, role).await);
    }
    keys.push(Key::usual());
    let mut calls = Vec::new();
    for key in &keys {
        calls.push(accepted(&stage, key, ROCKETMQ, LIST, &[]).await);
    }
    // The first three are of one account.
    assert_eq!(calls, [5, 0, 0, 5, 5]);
}
