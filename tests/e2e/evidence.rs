//! Changes and observations do not wait for each other, and what is claimed of a plan lasts as long as its evidence.

use std::collections::BTreeSet;
use std::time::Duration;

use disaster_recovery_operator::api::SYNC_CHECKPOINTS_ANNOTATION;
use disaster_recovery_operator::api::plan::DisasterRecoveryPlanStatus;
use disaster_recovery_operator::cloud::client::{Bytes, HttpService};
use disaster_recovery_operator::simulator::model::{ItemStatus, Rules};
use disaster_recovery_operator::simulator::{Config, Fault, FaultKind};
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::leader::PROGRAM;
use test_support::eventually;
use test_support::operator::{self, Tripwire, installed};
use test_support::process::{Operator, served};
use test_support::stage::accounts::plan_of;
use test_support::stage::plans::{World, one_way};
use test_support::stage::{DEADLINE, has, message};

const CHECKPOINTS: &str = "ListDisasterRecoveryCheckpoints";
/// The time within which an edit reaches the cloud, and a new plan is ready.
const SOON: Duration = Duration::from_secs(10);

/// A cloud that synchronizes all the time.
fn busy() -> Rules {
    Rules { sync_interval_ms: 200, ..Rules::default() }
}

/// A plan with an objective of half a minute.
fn short(mut spec: Value) -> Value {
    spec["recoveryPointObjective"] = json!("30s");
    spec
}

/// Sets the state of the last mapping.
async fn set_state(world: &World, mut spec: Value, state: &str) {
    let mappings = spec["topicMappings"].as_array_mut().expect("mappings");
    mappings.last_mut().expect("a mapping")["state"] = json!(state);
    world.patch("orders", json!({ "spec": { "topicMappings": mappings } })).await;
}

/// Waits until an edit of the state of the mapping of a topic has reached the cloud.
async fn reached(world: &World, topic: &str, status: ItemStatus) {
    let is_so = || {
        let items = world.cloud.plans().into_iter().flat_map(|plan| plan.items);
        let mut of_topic = items.filter(|item| item.topics.iter().any(|it| it.topic_name.as_deref() == Some(topic)));
        of_topic.any(|item| item.item_status == status).then_some(())
    };
    eventually(SOON, format!("the edit of {topic} reaches the cloud"), async || is_so()).await;
}

/// The number of requests of an action.
fn count(world: &World, action: &str) -> usize {
    world.cloud.requests().iter().filter(|it| it.action == action).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn edit_does_not_wait_for_slow_checkpoints() {
    let world = World::on(Config { rules: busy(), rate_limit_per_second: 100_000, ..Config::default() }).await;
    world.cloud.add_fault(Fault::new(FaultKind::Slow { ms: 1_000 }).of_action(CHECKPOINTS));
    let _operator = world.operator().await;
    let topics: Vec<_> = (0..150).map(|it| format!("topic-{it:03}")).collect();
    let spec = one_way(&topics.iter().map(String::as_str).collect::<Vec<_>>());
    world.create("orders", spec.clone()).await;
    world.ready("orders").await;
    world.request_reconcile("orders").await;
    let before = count(&world, CHECKPOINTS);
    eventually(DEADLINE, "samples are in progress", async || (count(&world, CHECKPOINTS) > before).then_some(())).await;
    set_state(&world, spec.clone(), "Stopped").await;
    reached(&world, "topic-149", ItemStatus::ManualStopped).await;
    set_state(&world, spec, "Running").await;
    reached(&world, "topic-149", ItemStatus::Running).await;
    // The samples do not wait for ever either.
    world.condition("orders", "Protected", "True", "WithinObjective").await;
}

/// An endpoint that accepts connections and never answers.
async fn black_hole() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_endpoint_delays_no_other_account() {
    let world = World::with(busy()).await;
    let (cloud, dead) = (served(&world).await, black_hole().await);
    let account = |endpoint: &str| {
        let credentials = json!({ "secretRef": { "name": "cloud" } });
        json!({ "credentials": credentials, "endpoints": { "rocketmq": endpoint } })
    };
    world.accounts().create("dead", account(&dead)).await;
    world.accounts().create("main", account(&cloud)).await;
    for number in 0..10 {
        world.create(&format!("dead-{number}"), plan_of("dead")).await;
    }
    let (kubeconfig, allowed) = (installed(), format!("--allowed-endpoints={dead},{cloud}"));
    let _operator = Operator::quick(PROGRAM, "simulator-key-id", &world, kubeconfig, &[&allowed]);
    let waits = |it: &DisasterRecoveryPlanStatus| has(it, "Synced", "Unknown", "CloudUnavailable");
    world.accounts().condition("main", "Ready", "True", "Available").await;
    world.create("orders", plan_of("main")).await;
    let ready = tokio::time::timeout(SOON, world.ready("orders"));
    ready.await.expect("the plan of the other account is created as usual");
    let protected = tokio::time::timeout(SOON, world.condition("orders", "Protected", "True", "WithinObjective"));
    protected.await.expect("its checkpoints are read as usual");
    for (state, status) in [("Stopped", ItemStatus::ManualStopped), ("Running", ItemStatus::Running)] {
        set_state(&world, plan_of("main"), state).await;
        reached(&world, "orders", status).await;
    }
    world.status("dead-0", "the dead endpoint is reported", waits).await;
    set_state(&world, plan_of("main"), "Stopped").await;
    reached(&world, "orders", ItemStatus::ManualStopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_samples_affect_protection_alone() {
    let mut world = World::with(busy()).await;
    // What is throttled often is slow for a time: `Ready` lasts three intervals.
    world.settings.poll_interval = Duration::from_secs(5);
    let _operator = world.operator().await;
    let spec = short(one_way(&["orders", "billing"]));
    world.create("orders", spec.clone()).await;
    world.ready("orders").await;
    world.condition("orders", "Protected", "True", "WithinObjective").await;
    let record = world.record("orders").await;
    world.cloud.add_fault(Fault::new(FaultKind::Throttle { retry_after_ms: None }).of_action(CHECKPOINTS));
    // The samples of the mappings expire one after the other.
    world
        .status("orders", "it names both mappings", |status| {
            let text = message(status, "Protected");
            has(status, "Protected", "Unknown", "Unknown")
                && ["topic orders", "topic billing"].iter().all(|topic| text.contains(topic))
        })
        .await;
    record.assert_true(&["Ready", "Synced"]).await;
    set_state(&world, spec, "Stopped").await;
    reached(&world, "billing", ItemStatus::ManualStopped).await;
    world.ready("orders").await;
}

/// The way to the cloud, on which requests for the checkpoints of an item fail.
fn failing_for(world: &World, item: i64) -> HttpService {
    let (cloud, part) = (world.wire(), format!("/items/{item}/checkpoints"));
    HttpService::new(tower::service_fn(move |request: Request<Bytes>| {
        let (cloud, fails) = (cloud.clone(), request.uri().path().contains(&part));
        async move {
            match fails {
                true => {
                    let body = json!({ "code": "ServiceUnavailable", "message": "try later", "requestId": "R" });
                    let answer = Response::builder().status(503).body(Bytes::from(body.to_string()));
                    Ok(answer.expect("an answer"))
                }
                false => cloud.oneshot(request).await,
            }
        }
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_mapping_stops_no_synchronization_of_others() {
    let world = World::with(Rules { sync_interval_ms: 3_600_000, ..Rules::default() }).await;
    let operator = world.operator().await;
    world.create("orders", one_way(&["orders", "billing", "returns"])).await;
    world.ready("orders").await;
    operator.stop().await;
    let items = world.cloud.plans()[0].items.clone();
    let (cloud, settings) = (failing_for(&world, items[0].item_id), world.settings.clone());
    let _operator = operator::Operator::start(cloud, settings, Tripwire::default()).await;
    world.annotate("orders", SYNC_CHECKPOINTS_ANNOTATION, "now").await;
    world
        .status("orders", "the request is marked as handled", |it| {
            it.last_handled_sync_checkpoints_at.as_deref() == Some("now")
        })
        .await;
    let note = world.event("orders", "CheckpointsNotSynced").await;
    assert!(note.contains("synchronized 4 checkpoints, 1 failed") && note.contains("ServiceUnavailable"), "{note}");
    let synchronized = |item: usize| {
        let plan = &world.cloud.plans()[0];
        plan.items[item].checkpoints.iter().map(|it| it.last_sync_time.is_some()).collect::<BTreeSet<_>>()
    };
    assert_eq!([0, 1, 2].map(synchronized), [[false].into(), [true].into(), [true].into()]);
    assert_eq!(count(&world, "SyncDisasterRecoveryCheckpoint"), 4, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_show_when_evidence_expires() {
    let world = World::with(busy()).await;
    let operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    world.condition("orders", "Protected", "True", "WithinObjective").await;
    for condition in ["Ready", "Protected", "OffsetsCovered"] {
        let labels = format!("namespace=\"{}\",name=\"orders\",type=\"{condition}\"", world.namespace);
        let series = format!(
            "disaster_recovery_evidence_expiration_timestamp_seconds{{kind=\"DisasterRecoveryPlan\",{labels}}} "
        );
        let expires = || {
            let text = operator.metrics.text();
            let value = text.lines().find_map(|line| line.strip_prefix(&series).map(str::to_owned))?;
            value.parse::<f64>().ok().filter(|it| *it > jiff::Timestamp::now().as_second() as f64)
        };
        eventually(DEADLINE, format!("the expiry of {condition}"), async || expires()).await;
    }
}
