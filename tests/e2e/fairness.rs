//! A namespace with thousands of plans delays no other.

use std::time::Duration;

use disaster_recovery_operator::api::GROUP;
use disaster_recovery_operator::simulator::model::Rules;
use disaster_recovery_operator::simulator::{Config, RequestRecord};
use serde_json::json;

use test_support::stage::DEADLINE;
use test_support::stage::plans::{World, one_way};
use test_support::{ControlPlane, eventually};

/// The plans of the busy namespace.
const BUSY: usize = 2_000;
const WORKERS: u16 = 8;
/// Maximum number of the cloud calls that one reconcile of a new plan makes.
const CALLS_PER_RECONCILE: usize = 12;
/// The busy namespace's calls before the first one that follows an edit of another: each worker ends the reconcile that it has, and one
/// more while the reconcile of the edit reads the cloud. Half as many more wait for new items.
const MAX_CALLS: usize = (2 * WORKERS + WORKERS / 2) as usize * CALLS_PER_RECONCILE;

/// Creates plans in a namespace, past kube-apiserver, which would take a minute.
async fn store_busy(world: &World, label: &str) {
    let (name, uid) = ("busy-plan", "uid-of-the-plan");
    let mut spec = one_way(&[name]);
    (spec["planName"], spec["pollInterval"]) = (json!(name), json!("1s"));
    let metadata = json!({
        "name": name, "namespace": world.namespace, "uid": uid, "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": { label: "yes" },
    });
    let object =
        json!({ "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "DisasterRecoveryPlan", "metadata": metadata, "spec": spec }).to_string();
    for number in 0..BUSY {
        let name = format!("busy-{number:04}");
        let object = object.replace("busy-plan", &name).replace(uid, &uuid::Uuid::new_v4().to_string());
        let path = format!("{GROUP}/disasterrecoveryplans/{}/{name}", world.namespace);
        ControlPlane::shared().store(&path, object).expect("etcd stores it");
    }
}

/// Waits for a request after so many others. The number of requests of others since.
async fn others_before(world: &World, known: usize, what: &str, wanted: impl Fn(&RequestRecord) -> bool) -> usize {
    eventually(DEADLINE, what, async || world.cloud.requests().iter().skip(known).position(&wanted)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_namespace_delays_no_edit_or_sample_of_another() {
    let rules = Rules { update_while_running: true, ..Rules::default() };
    let mut world = World::on(Config { rules, ..Config::default() }).await;
    let busy = world.beside().await;
    // One watch of all namespaces, of the objects of this test.
    let label = format!("{GROUP}.{}", world.namespace);
    world.settings.default_account_namespaces = std::mem::take(&mut world.settings.namespaces);
    world.settings.selector = Some(format!("{label}=yes"));
    (world.settings.workers, world.settings.poll_interval) = (WORKERS, Duration::from_secs(60));
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    world.patch("orders", json!({ "metadata": { "labels": { &label: "yes" } } })).await;
    world.ready("orders").await;
    let id = world.cloud.plans()[0].plan_id.to_string();
    let is_of_other = |it: &RequestRecord| it.path.split('/').any(|part| part == id);

    store_busy(&busy, &label).await;
    eventually(DEADLINE, "the busy namespace has as many reconciles in progress as it may", async || {
        (world.cloud.plans().len() > usize::from(WORKERS)).then_some(())
    })
    .await;
    for number in 0..3 {
        let known = world.cloud.requests().len();
        world.patch("orders", json!({ "spec": { "planDesc": format!("Edit {number}") } })).await;
        let what = format!("edit {number} reaches the cloud");
        let before = others_before(&world, known, &what, |it| it.changing && is_of_other(it)).await;
        println!("calls before edit {number}: {before}");
        assert!(before <= MAX_CALLS, "{before} calls before edit {number}");
        let known = world.cloud.requests().len();
        world.request_reconcile("orders").await;
        let is_sample = |it: &RequestRecord| it.action == "ListDisasterRecoveryCheckpoints" && is_of_other(it);
        let before = others_before(&world, known, "the sample", is_sample).await;
        println!("calls before sample {number}: {before}");
        assert!(before <= MAX_CALLS, "{before} calls before sample {number}");
    }
    let created = world.cloud.plans().len();
    assert!(created < BUSY / 2, "most plans still wait: {created} are created");
}
