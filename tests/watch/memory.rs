//! Memory of a process whose objects have very much metadata of other actors.

use std::collections::BTreeMap;
use std::time::Duration;

use disaster_recovery_operator::api::plan::DisasterRecoveryPlan;
use disaster_recovery_operator::simulator::{AccessKey, Config};
use futures::{StreamExt, stream};
use kube::Resource;
use kube::api::PostParams;
use serde_json::json;

use test_support::bench::apiserver::Requests;
use test_support::eventually;
use test_support::operator::installed;
use test_support::process::{Operator, served};
use test_support::stage::plans::{World, one_way};

const PLANS: usize = 150;
/// The plans that are in the cloud. The others are suspended.
const REPLICATED: usize = 5;
/// The maximum, in MiB. One page of the watch is about a fifth of all objects.
const MAX_MIB: u64 = 128;
/// How long kube-apiserver may take for so many large objects. Nothing waits that long unless it is broken.
const PHASE: Duration = Duration::from_secs(240);

/// Labels with the longest names. kube-apiserver adds the managed fields, which name each of them once more.
fn labels() -> BTreeMap<String, String> {
    let prefix = ["p".repeat(62), "q".repeat(62), "r".repeat(62), "s".repeat(62)].join(".");
    (0..1_500).map(|number| (format!("{prefix}/l{number:062}"), "v".repeat(63))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_metadata_is_not_kept() {
    let world = World::on(Config { keys: vec![AccessKey::new("first", "secret")], ..Config::default() }).await;
    let cloud = served(&world).await;
    let metadata = json!({ "labels": labels(), "annotations": { "example.com/note": "a".repeat(250_000) } });
    let (world, metadata) = (&world, &metadata);
    let creations = (0..PLANS).map(|number| async move {
        let name = format!("plan-{number:03}");
        let mut spec = one_way(&[&name]);
        (spec["planName"], spec["suspend"]) = (json!(name), json!(number >= REPLICATED));
        let mut object = json!({
            "apiVersion": DisasterRecoveryPlan::api_version(&()),
            "kind": DisasterRecoveryPlan::kind(&()),
            "metadata": metadata,
            "spec": spec,
        });
        object["metadata"]["name"] = json!(name);
        let object = serde_json::from_value(object).expect("an object");
        world.api().create(&PostParams::default(), &object).await.expect("the object is accepted");
    });
    stream::iter(creations).buffer_unordered(4).collect::<()>().await;
    let first = serde_json::to_string(&world.get("plan-000").await.expect("it is there")).expect("JSON");
    assert!(first.len() > 1_300_000, "an object has {} bytes", first.len());

    let more = ["--rocketmq-endpoint", &cloud];
    let before = Requests::read(&world.client).await.expect("metrics");
    let operator = Operator::quick(env!("CARGO_BIN_EXE_dr-operator"), "first", world, installed(), &more);
    // Reads of all these objects would take longer than everything else.
    eventually(PHASE, "a status of each plan is written", async || {
        let written = Requests::read(&world.client).await.ok()?.since(&before);
        (written.of("disasterrecoveryplans/status", "PUT") >= PLANS as u64).then_some(())
    })
    .await;
    for number in [0, REPLICATED - 1, REPLICATED, PLANS - 1] {
        let name = format!("plan-{number:03}");
        let served = if number < REPLICATED { "Available" } else { "Suspended" };
        eventually(PHASE, format!("{name} is {served}"), async || {
            let status = world.get(&name).await?.status?;
            status.head.conditions.iter().any(|it| it.reason == served).then_some(())
        })
        .await;
    }
    let peak = operator.peak_mib();
    println!("peak: {peak} MiB");
    assert!(peak <= MAX_MIB, "{peak} MiB");
}
