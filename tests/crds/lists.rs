//! Lists whose entries have a key: applying one entry keeps those of other field managers.

use disaster_recovery_operator::api::disk_replica_group::DiskReplicaGroup;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::common::{KINDS, control_plane, definition, schema_of, visit};

#[test]
fn list_map_keys_are_required_fields() {
    let group = [
        "spec.pairs name",
        "status.conditions type",
        "status.failovers number",
        "status.operations number",
        "status.pairs name",
        "status.pendingCalls call",
    ];
    for (kind, lists) in [("drg", &group[..]), ("aca", &["status.conditions type"])] {
        assert_eq!(keyed_lists(kind), lists, "{kind}");
    }
}

/// The lists of a kind that have keys, each with its keys, which its entries have to have.
fn keyed_lists(kind: &str) -> Vec<String> {
    let kind = KINDS.iter().find(|known| known.short == kind).expect("a kind");
    let definition = definition(kind);
    let mut found = Vec::new();
    visit("", schema_of(&definition), &mut |at, schema| {
        if schema["x-kubernetes-list-type"] != "map" {
            return;
        }
        let keys: Vec<_> =
            schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let required = schema["items"]["required"].as_array().expect("fields that have to be there");
        assert!(keys.iter().all(|key| required.contains(&json!(key))), "{at}: {keys:?} of {required:?}");
        found.push(format!("{at} {}", keys.join(",")));
    });
    found
}

fn names(list: &Value, key: &str) -> Vec<Value> {
    list.as_array().into_iter().flatten().map(|entry| entry[key].clone()).collect()
}

#[tokio::test]
async fn applying_one_entry_keeps_entries_of_other_managers() {
    let control_plane = control_plane();
    let namespace = control_plane.namespace("lists");
    let groups: Api<DiskReplicaGroup> = Api::namespaced(control_plane.admin_client(), &namespace);
    let applied = |part: Value| {
        let mut object = json!({
            "apiVersion": "disasterrecovery.dev/v1alpha1", "kind": "DiskReplicaGroup",
            "metadata": { "name": "orders-db" },
        });
        object.as_object_mut().expect("an object").extend(part.as_object().expect("an object").clone());
        Patch::Apply(object)
    };
    let pair = |name: &str| json!({ "name": name, "sourceDiskId": format!("d-{name}-a"), "destinationDiskId": format!("d-{name}-b") });
    let (one, other) = (PatchParams::apply("one"), PatchParams::apply("other"));
    let spec = |pairs: Value| {
        applied(json!({ "spec": {
            "source": { "regionId": "cn-hangzhou", "zoneId": "cn-hangzhou-h" },
            "destination": { "regionId": "cn-shanghai", "zoneId": "cn-shanghai-b" },
            "pairs": pairs,
        }}))
    };
    groups.patch("orders-db", &one, &spec(json!([pair("data")]))).await.expect("an object");
    let both = groups.patch("orders-db", &other, &spec(json!([pair("logs")]))).await.expect("one more pair");
    assert_eq!(both.spec.pairs.len(), 2);
    // A manager that drops a pair removes only its own.
    let left = groups.patch("orders-db", &one, &spec(json!([pair("more")]))).await.expect("another pair");
    let left: Vec<_> = left.spec.pairs.iter().map(|pair| pair.name.as_str()).collect();
    assert_eq!(left, ["logs", "more"]);

    let time = "2026-11-22T12:00:00Z";
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "reason": "Because", "message": "", "lastTransitionTime": time });
    let operation = |number: i64, kind: &str| {
        json!({
            "number": number, "type": kind, "mode": "Planned", "generation": 1, "phase": "Running",
            "targetSite": "Destination", "startedAt": time, "steps": [{ "name": "Stop", "startedAt": time }],
        })
    };
    let call = |name: &str| json!({ "call": name, "sequence": 1, "requestedAt": time });
    let status = |condition: Value, operation: Value, call: Value, pair: &str| {
        applied(json!({ "status": {
            "activeSite": "Source", "direction": "Forward", "pairs": [{ "name": pair, "pairStatus": "normal" }],
            "conditions": [condition], "operations": [operation], "pendingCalls": [call],
        }}))
    };
    let first = status(condition("Ready"), operation(1, "Failover"), call("StartDiskReplicaGroup"), "data");
    groups.patch_status("orders-db", &one, &first).await.expect("a status");
    let second = status(condition("Synced"), operation(2, "Reprotect"), call("CreateDiskReplicaPair/logs"), "logs");
    let both = groups.patch_status("orders-db", &other, &second).await.expect("more of it");
    let both = serde_json::to_value(both.status).expect("a status");
    assert_eq!(names(&both["conditions"], "type"), ["Ready", "Synced"]);
    assert_eq!(names(&both["operations"], "number"), [1, 2]);
    assert_eq!(names(&both["pendingCalls"], "call"), ["StartDiskReplicaGroup", "CreateDiskReplicaPair/logs"]);
    assert_eq!(names(&both["pairs"], "name"), ["data", "logs"]);

    // A key is there once, and a choice is one of those that are there.
    let twice = json!({ "status": { "operations": [operation(1, "Failover"), operation(1, "Failback")] } });
    let answer = groups.patch_status("orders-db", &PatchParams::default(), &Patch::Merge(&twice)).await;
    assert!(answer.is_err_and(|error| error.to_string().contains("Duplicate value")));
    let unknown = json!({ "status": { "direction": "Sideways" } });
    let answer = groups.patch_status("orders-db", &PatchParams::default(), &Patch::Merge(&unknown)).await;
    assert!(answer.is_err_and(|error| error.to_string().contains("supported values: \"Forward\", \"Reverse\"")));
}
