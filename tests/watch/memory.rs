//! Memory of a process whose objects have very much metadata of other actors.

use std::time::Duration;

use disaster_recovery_operator::api::GROUP;
use disaster_recovery_operator::simulator::{AccessKey, Config};
use kube::ResourceExt;
use serde_json::{Value, json};

use test_support::bench::apiserver::Requests;
use test_support::operator::installed;
use test_support::process::{Operator, served};
use test_support::stage::plans::{World, one_way};
use test_support::{ControlPlane, eventually};

const PLURAL: &str = "disasterrecoveryplans";
const PLANS: usize = 150;
/// The plans that are in the cloud. The others are suspended.
const REPLICATED: usize = 5;
/// The plans without a status, one for each worker. The others are at rest: nothing is written.
const NEW: usize = 32;
/// The maximum, in MiB. One page of the watch is about a fifth of all objects.
const MAX_MIB: u64 = 128;
/// How long kube-apiserver may take for so many large objects. Nothing waits that long unless it is broken.
const PHASE: Duration = Duration::from_secs(240);
/// The name of the plan that all others are copies of.
const TEMPLATE: &str = "plan-template";

/// Labels with the longest names, an annotation of almost the maximum size, and managed fields, which name each label once more.
fn enlarge(metadata: &mut Value) {
    let prefix = ["p".repeat(62), "q".repeat(62), "r".repeat(62), "s".repeat(62)].join(".");
    let (mut labels, mut fields) = (json!({}), json!({}));
    for number in 0..1_500 {
        let name = format!("{prefix}/l{number:062}");
        fields[format!("f:{name}")] = json!({});
        labels[name] = json!("v".repeat(63));
    }
    let note = "example.com/note";
    metadata["labels"] = labels;
    metadata["annotations"] = json!({ note: "a".repeat(250_000) });
    metadata["managedFields"] = json!([{
        "manager": "kubectl", "operation": "Update", "apiVersion": format!("{GROUP}/v1alpha1"), "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": { "f:metadata": { "f:labels": fields, "f:annotations": { format!("f:{note}"): {} } } },
    }]);
}

/// A suspended plan at rest as etcd stores it, and its UID.
async fn template(world: &World) -> (Value, String) {
    let operator = world.operator().await;
    let mut spec = one_way(&[TEMPLATE]);
    (spec["planName"], spec["suspend"]) = (json!(TEMPLATE), json!(true));
    world.create(TEMPLATE, spec).await;
    world.condition(TEMPLATE, "Synced", "Unknown", "Suspended").await;
    operator.stop().await;
    let object = world.get(TEMPLATE).await.expect("it is there");
    world.delete(TEMPLATE).await;
    let uid = object.uid().expect("its UID");
    let mut object = serde_json::to_value(object).expect("JSON");
    object["metadata"]["resourceVersion"].take();
    (object, uid)
}

async fn store_plans(world: &World) {
    let (mut at_rest, uid) = template(world).await;
    enlarge(&mut at_rest["metadata"]);
    let mut suspended = at_rest.clone();
    suspended["status"].take();
    let mut replicated = suspended.clone();
    replicated["spec"]["suspend"] = json!(false);
    let [at_rest, suspended, replicated] = [at_rest, suspended, replicated].map(|it| it.to_string());
    for number in 0..PLANS {
        let name = name(number);
        let copied = match number {
            0..REPLICATED => &replicated,
            REPLICATED..NEW => &suspended,
            _ => &at_rest,
        };
        let object = copied.replace(TEMPLATE, &name).replace(&uid, &uuid::Uuid::new_v4().to_string());
        let path = format!("{GROUP}/{PLURAL}/{}/{name}", world.namespace);
        ControlPlane::shared().store(&path, object).expect("etcd stores it");
    }
}

fn name(number: usize) -> String {
    format!("plan-{number:03}")
}

/// A plan as kube-apiserver sends it. To parse it would take longer than everything else.
async fn text(world: &World, number: usize) -> String {
    let (namespace, name) = (&world.namespace, name(number));
    let path = format!("/apis/{GROUP}/v1alpha1/namespaces/{namespace}/{PLURAL}/{name}");
    let request = http::Request::get(path).body(vec![]).expect("a request");
    world.client.request_text(request).await.expect("it is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn large_metadata_is_not_kept() {
    let world = World::on(Config { keys: vec![AccessKey::new("first", "secret")], ..Config::default() }).await;
    store_plans(&world).await;
    for number in [0, REPLICATED, PLANS - 1] {
        let size = text(&world, number).await.len();
        assert!(size > 1_300_000, "an object has {size} bytes");
    }

    let cloud = served(&world).await;
    let more = ["--rocketmq-endpoint", &cloud];
    let before = Requests::read(&world.client).await.expect("metrics");
    let operator = Operator::quick(env!("CARGO_BIN_EXE_dr-operator"), "first", &world, installed(), &more);
    // Reads of all these objects would take longer than everything else.
    eventually(PHASE, "a status of each new plan is written", async || {
        let written = Requests::read(&world.client).await.ok()?.since(&before);
        (written.of("disasterrecoveryplans/status", "PUT") >= NEW as u64).then_some(())
    })
    .await;
    for number in 0..NEW {
        let reason = if number < REPLICATED { "Available" } else { "Suspended" };
        eventually(PHASE, format!("{} is {reason}", name(number)), async || {
            text(&world, number).await.contains(&format!("\"reason\":\"{reason}\"")).then_some(())
        })
        .await;
    }
    let requests = Requests::read(&world.client).await.expect("metrics").since(&before);
    println!("requests: {requests:?}");
    let peak = operator.peak_mib();
    println!("peak: {peak} MiB");
    assert!(peak <= MAX_MIB, "{peak} MiB");
}
