//! What the tests of plans share: their stage, and specs.

use disaster_recovery_operator::api::plan::DisasterRecoveryPlan;
use disaster_recovery_operator::simulator::Config;
use disaster_recovery_operator::simulator::model::Rules;
use serde_json::{Value, json};

use super::Stage;

/// The stage of plans.
pub type World = Stage<DisasterRecoveryPlan>;

impl World {
    /// A world whose cloud is quick and without faults.
    pub async fn new() -> Self {
        Self::with(Rules::default()).await
    }

    /// A world whose cloud has rules of its own.
    pub async fn with(rules: Rules) -> Self {
        Self::on(Config { rules, ..Config::default() }).await
    }

    /// One plan carries the object's mark, with as many items as `items` and no two for one pair of topics.
    pub fn assert_one_plan(&self, name: &str, items: usize) -> i64 {
        let mark = format!("/{}/{name}]", self.namespace);
        let plans = self.cloud.plans();
        let ours: Vec<_> =
            plans.iter().filter(|it| it.plan_desc.as_deref().is_some_and(|it| it.ends_with(&mark))).collect();
        assert_eq!(plans.len(), 1, "one plan: {plans:#?}");
        assert_eq!(ours.len(), 1, "it is ours: {plans:#?}");
        assert_eq!(ours[0].items.len(), items, "its items: {plans:#?}");
        let key = |topics: &Vec<_>| format!("{topics:?}");
        let mut pairs: Vec<_> = ours[0].items.iter().map(|it| key(&it.topics)).collect();
        pairs.sort();
        pairs.dedup();
        assert_eq!(pairs.len(), items, "no item twice: {plans:#?}");
        ours[0].plan_id
    }
}

/// A one-way plan between two instances with the named topics.
pub fn one_way(topics: &[&str]) -> Value {
    json!({
        "regionId": "cn-hangzhou",
        "planDesc": "Orders, Hangzhou to Shanghai",
        "planType": "ACTIVE_PASSIVE",
        "syncCheckpointEnabled": true,
        "autoSyncCheckpoint": true,
        "instances": [
            { "name": "hangzhou", "instanceType": "ALIYUN_ROCKETMQ", "instanceRole": "ACTIVE", "regionId": "cn-hangzhou",
              "instanceId": "rmq-cn-aaa", "messageProperty": { "propertyKey": "site", "propertyValue": "hz" } },
            { "name": "shanghai", "instanceType": "ALIYUN_ROCKETMQ", "instanceRole": "PASSIVE", "regionId": "cn-shanghai",
              "instanceId": "rmq-cn-bbb" },
        ],
        "topicMappings": topics.iter().map(|topic| mapping(topic, "shanghai")).collect::<Vec<_>>(),
    })
}

/// A mapping of a topic to itself.
pub fn mapping(topic: &str, other: &str) -> Value {
    json!({ "name": topic, "topics": [
        { "instance": "hangzhou", "topicName": topic, "deliveryOrderType": "Orderly" },
        { "instance": other, "topicName": topic, "deliveryOrderType": "Orderly" },
    ] })
}

/// A one-way plan to a self-managed cluster with user name and password.
pub fn external(topics: &[&str]) -> Value {
    let mut spec = one_way(&[]);
    spec["instances"][1] = json!({
        "name": "idc", "instanceType": "EXTERNAL_ROCKETMQ", "instanceRole": "PASSIVE", "regionId": "cn-shanghai",
        "endpointUrl": "10.0.0.1:9876", "networkType": "TCP_VPC", "vpcId": "vpc-1", "vSwitchIds": ["vsw-a", "vsw-b"],
        "securityGroupId": "sg-1", "consumerGroupId": "GID_DR", "authType": "ACL_AUTH",
        "credentialsSecretRef": { "name": "idc-acl" },
    });
    spec["topicMappings"] = topics.iter().map(|topic| mapping(topic, "idc")).collect();
    spec
}
