//! Every bound of every field of a spec, one at a time.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::common::{KINDS, Kind, control_plane, definition, schema_of, visit};

/// An object of the kind that has every field of the spec.
fn every_field(kind: &Kind) -> Value {
    match kind.short {
        "drp" => plan(),
        "drg" => group(),
        "aca" => account(),
        other => panic!("no object with every field of a {other}"),
    }
}

/// An account, valid but for the four sources of credentials, of which one is allowed.
fn account() -> Value {
    let role = "acs:ram::1234567890123456:role/disaster-recovery";
    let oidc = json!({
        "roleArn": role, "providerArn": "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c1",
        "serviceAccountRef": { "name": "disaster-recovery" }, "sessionName": "orders",
    });
    json!({
        "apiVersion": "disasterrecovery.dev/v1alpha1",
        "kind": "AlibabaCloudAccount",
        "metadata": { "name": "every-field" },
        "spec": {
            "credentials": {
                "secretRef": { "name": "key" }, "oidc": oidc, "ecsRole": { "name": "orders" }, "environment": {},
            },
            "assumeRole": { "roleArn": role, "externalId": "orders", "sessionName": "orders" },
            "endpoints": {
                "rocketmq": "https://rocketmq.cn-hangzhou.aliyuncs.com", "ebs": "https://ebs.cn-hangzhou.aliyuncs.com",
                "sts": "https://sts.aliyuncs.com",
            },
            "budget": { "requestsPerSecond": 50 },
        },
    })
}

/// A group.
fn group() -> Value {
    json!({
        "apiVersion": "disasterrecovery.dev/v1alpha1",
        "kind": "DiskReplicaGroup",
        "metadata": { "name": "every-field" },
        "spec": {
            "replicaGroupId": "pg-one", "groupName": "orders-db", "description": "Disks of the orders database",
            "source": { "regionId": "cn-hangzhou", "zoneId": "cn-hangzhou-h" },
            "destination": { "regionId": "cn-shanghai", "zoneId": "cn-shanghai-b" },
            "recoveryPointObjective": "15m", "enableRtc": false,
            "pairs": [{ "name": "data", "sourceDiskId": "d-data-a", "destinationDiskId": "d-data-b" }],
            "replication": "Running", "activeSite": "Source",
            "failover": {
                "requestedAt": "2026-11-28T03:10:00Z", "mode": "Planned", "validFor": "1h", "leaveBehind": ["data"],
                "overwrite": "Destination",
            },
            "reprotect": "AfterPlanned", "drill": { "schedule": "0 3 * * 0", "keepFor": "2h" },
            "deletionPolicy": "Delete", "managementPolicy": "Manage", "suspend": false, "pollInterval": "1m",
            "accountRef": { "name": "production" },
        },
    })
}

/// A plan, valid but for one: the first instance has what only external ones have.
fn plan() -> Value {
    let instance = |name: &str, role: &str| {
        json!({
            "name": name, "instanceType": "EXTERNAL_ROCKETMQ", "instanceRole": role, "regionId": "cn-hangzhou",
            "instanceId": "rmq-cn-one", "endpointUrl": format!("{name}:9876"), "networkType": "TCP_VPC",
            "vpcId": "vpc-one", "vSwitchIds": ["vsw-one"], "securityGroupId": "sg-one", "consumerGroupId": "GID_DR",
            "authType": "ACL_AUTH", "credentialsSecretRef": { "name": "idc-acl" },
            "messageProperty": { "propertyKey": "site", "propertyValue": "hz" },
        })
    };
    let topic = |instance: &str| {
        json!({
            "instance": instance, "topicName": "orders", "deliveryOrderType": "Orderly", "consumerGroupId": "GID_ORDERS",
        })
    };
    let mut second = instance("shanghai", "PASSIVE");
    second.as_object_mut().and_then(|fields| fields.remove("instanceId")).expect("an ID");
    json!({
        "apiVersion": "disasterrecovery.dev/v1alpha1",
        "kind": "DisasterRecoveryPlan",
        "metadata": { "name": "every-field" },
        "spec": {
            "regionId": "cn-hangzhou", "planId": "1300000016", "planName": "orders", "planDesc": "Orders",
            "planType": "ACTIVE_PASSIVE", "syncCheckpointEnabled": true, "autoSyncCheckpoint": true,
            "instances": [instance("hangzhou", "ACTIVE"), second],
            "topicMappings": [{ "name": "orders", "topics": [topic("hangzhou"), topic("shanghai")], "state": "Running", "consumers": "Expected" }],
            "ignoredConsumerGroups": ["GID_RETIRED"], "updatePolicy": "Wait", "itemPolicy": "Keep", "recoveryPointObjective": "5m", "messageEvidence": "Required",
            "checkpointSync": { "by": "Operator", "interval": "75s" }, "deletionPolicy": "Delete",
            "managementPolicy": "Manage", "suspend": false, "pollInterval": "1m", "accountRef": { "name": "production" },
        },
    })
}

/// The values just outside the bounds of a schema, each with a part of what the server says to it.
fn outside(schema: &Value) -> Vec<(Value, String)> {
    let mut values = Vec::new();
    let number = |key: &str| schema[key].as_u64().map(|number| usize::try_from(number).expect("a small bound"));
    if let Some(most) = number("maxLength") {
        values.push((json!("a".repeat(most + 1)), format!("may not be more than {most} bytes")));
    }
    if let Some(least) = number("minLength") {
        values.push((json!("a".repeat(least - 1)), format!("should be at least {least} chars long")));
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        values.push((json!(" ".repeat(number("minLength").unwrap_or(1))), format!("should match '{pattern}'")));
        values.push((json!("a\nb"), format!("should match '{pattern}'")));
    }
    if let Some(most) = schema["maximum"].as_i64() {
        values.push((json!(most + 1), format!("should be less than or equal to {most}")));
    }
    if let Some(least) = schema["minimum"].as_i64() {
        values.push((json!(least - 1), format!("should be greater than or equal to {least}")));
    }
    if schema["enum"].is_array() {
        values.push((json!("Other"), "supported values: ".to_owned()));
    }
    if let Some(most) = number("maxItems") {
        values.push((json!([0].repeat(most + 1)), format!("must have at most {most} items")));
    }
    if let Some(least) = number("minItems") {
        values.push((json!([]), format!("should have at least {least} items")));
    }
    values
}

/// Where `at` (a path of the schema) is in the object that has every field: the first entry of every list.
fn pointer(at: &str) -> String {
    format!("/{}", at.replace("[]", ".0").replace('.', "/"))
}

#[tokio::test]
async fn every_bound_holds() {
    for kind in KINDS {
        every_bound_of(&kind).await;
    }
}

async fn every_bound_of(kind: &Kind) {
    let control_plane = control_plane();
    let namespace = control_plane.namespace(&format!("bounds-{}", kind.short));
    let client = control_plane.admin_client();
    let definition = definition(kind);
    let base = every_field(kind);
    let mut cases = Vec::new();
    visit("spec", &schema_of(&definition)["properties"]["spec"], &mut |at, schema| {
        let pointer = pointer(at);
        assert!(base.pointer(&pointer).is_some(), "the {} that should have every field has no {at}", kind.name);
        let text = schema["type"] == "string";
        let bounded = schema["maxLength"].is_u64() || schema["enum"].is_array();
        assert!(!text || bounded, "{at} has no bound on its length, so that rules on it may cost too much");
        let both = schema["maximum"].is_i64() && schema["minimum"].is_i64();
        assert!(schema["type"] != "integer" || both, "{at} has no bound on its size");
        assert!(schema["type"] != "array" || schema["maxItems"].is_u64(), "{at} has no bound on its count");
        cases.extend(outside(schema).into_iter().map(|(value, answer)| (pointer.clone(), value, answer)));
    });
    assert!(cases.len() >= 50, "only {} cases of {}", cases.len(), kind.name);

    let url = format!("/apis/disasterrecovery.dev/v1alpha1/namespaces/{namespace}/{}?dryRun=All", kind.plural);
    let mut failures = String::new();
    for (pointer, value, answer) in cases {
        let mut object = base.clone();
        *object.pointer_mut(&pointer).expect("a field") = value.clone();
        let request = http::Request::post(&url)
            .header("content-type", "application/json")
            .body(object.to_string().into_bytes())
            .expect("a request");
        let field = pointer[1..].split('/').fold(String::new(), |field, step| {
            let entry = step.parse::<usize>().is_ok();
            if entry { format!("{field}[{step}]") } else { format!("{field}.{step}") }
        });
        let field = field.trim_start_matches('.');
        match client.request::<Value>(request).await {
            Err(kube::Error::Api(status)) if status.code == 422 => {
                let said = status.details.as_ref().is_some_and(|details| {
                    details.causes.iter().any(|cause| cause.field == field && cause.message.contains(&answer))
                });
                if !said {
                    writeln!(failures, "{field} = {value}: not {answer:?} but {}", status.message).expect("written");
                }
            }
            other => writeln!(failures, "{field} = {value}: {other:?}").expect("written"),
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
