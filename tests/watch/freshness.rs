//! A new leader reads no object for itself, and acts on none that its watch has not caught up with.

use std::time::Duration;

use disaster_recovery_operator::api::RECONCILE_ANNOTATION;
use disaster_recovery_operator::api::plan::DisasterRecoveryPlanStatus;
use disaster_recovery_operator::cloud::clock::Clock;
use disaster_recovery_operator::cloud::fence::Fence;
use disaster_recovery_operator::leadership::election::Timing;
use disaster_recovery_operator::leadership::{self, Candidate};
use disaster_recovery_operator::simulator::model::Rules;
use futures::{StreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use test_support::eventually;
use test_support::kubernetes::Requests;
use test_support::operator::{Operator, Tripwire};
use test_support::stage::DEADLINE;
use test_support::stage::plans::{World, one_way};

const PLURAL: &str = "disasterrecoveryplans";
/// Three pages.
const PLANS: usize = 45;

/// An operator that waits for the lease of its namespace, with a full cache.
struct Standby {
    operator: Operator,
    candidate: JoinHandle<()>,
}

fn leases(world: &World) -> Api<Lease> {
    Api::namespaced(world.client.clone(), &world.namespace)
}

impl Standby {
    async fn start(world: &World) -> Self {
        let lease = json!({
            "metadata": { "name": "operator" },
            "spec": {
                "holderIdentity": "former", "leaseDurationSeconds": 3600, "leaseTransitions": 0,
                "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:00.000000Z",
            },
        });
        let lease: Lease = serde_json::from_value(lease).expect("a lease");
        leases(world).create(&PostParams::default(), &lease).await.expect("the lease is created");
        let timing = Timing {
            lease_duration: Duration::from_secs(60),
            renew_deadline: Duration::from_secs(50),
            retry_period: Duration::from_millis(100),
        };
        let settings = leadership::Settings {
            namespace: world.namespace.clone(),
            name: "operator".into(),
            identity: "standby".into(),
            timing,
        };
        let candidate = Candidate::new(world.client.clone(), settings, Fence::closed(), |_| {});
        let leadership = candidate.leadership();
        let candidate = tokio::spawn(async move {
            let lost = candidate.run(std::future::pending(), async { true }).await;
            panic!("the lease is not lost: {lost:?}");
        });
        let (filled, is_filled) = oneshot::channel();
        let ready = move || filled.send(()).unwrap_or_default();
        let cloud = (world.wire(), Requests::default());
        let (settings, wire) = (world.settings.clone(), (Tripwire::default(), ready));
        let operator = Operator::start_led(leadership, Clock::system(), cloud, settings, wire).await;
        is_filled.await.expect("the caches are filled");
        Self { operator, candidate }
    }

    /// Lets it lead.
    async fn lead(&self, world: &World) {
        let patch = Patch::Merge(json!({ "spec": { "holderIdentity": "", "leaseDurationSeconds": 1 } }));
        leases(world).patch("operator", &PatchParams::default(), &patch).await.expect("the lease is released");
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.candidate.abort();
    }
}

/// A plan that is reconciled without the cloud.
fn suspended() -> Value {
    let mut spec = one_way(&["orders"]);
    spec["suspend"] = json!(true);
    spec
}

async fn create_suspended(world: &World, names: &[String]) {
    let creations = names.iter().map(|name| async move { drop(world.create(name, suspended()).await) });
    stream::iter(creations).buffer_unordered(8).collect::<()>().await;
}

fn names(prefix: &str) -> Vec<String> {
    (0..PLANS).map(|number| format!("{prefix}-{number}")).collect()
}

fn gets(operator: &Operator, names: &[String]) -> usize {
    names.iter().map(|name| operator.requests.gets(name)).sum()
}

/// Waits until an operator has reconciled so many plans.
async fn reconciled(operator: &Operator, count: usize) {
    let prefix = "disaster_recovery_reconciliations_total{kind=\"DisasterRecoveryPlan\"";
    eventually(DEADLINE, format!("{count} reconciles"), async || {
        let text = operator.metrics.text();
        let counts = text.lines().filter(|line| line.starts_with(prefix)).filter_map(|line| line.rsplit(' ').next());
        (counts.filter_map(|count| count.parse::<usize>().ok()).sum::<usize>() >= count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn start_and_change_of_leader_read_no_object() {
    let world = World::new().await;
    let before = names("before");
    create_suspended(&world, &before).await;
    let operator = world.operator().await;
    reconciled(&operator, PLANS).await;
    let after = names("after");
    create_suspended(&world, &after).await;
    reconciled(&operator, 2 * PLANS).await;
    assert_eq!((gets(&operator, &before), gets(&operator, &after)), (0, 0));
    assert_eq!(operator.requests.lists(PLURAL), 3, "the list of the watch is the proof");

    let standby = Standby::start(&world).await;
    assert_eq!(standby.operator.requests.lists(PLURAL), 5);
    operator.stop().await;
    standby.lead(&world).await;
    reconciled(&standby.operator, 2 * PLANS).await;
    assert_eq!((gets(&standby.operator, &before), gets(&standby.operator, &after)), (0, 0));
    assert_eq!(standby.operator.requests.lists(PLURAL), 10, "one more list is the proof");

    // The first change that this process writes is the proof for all objects that appear later.
    world.create("first", suspended()).await;
    reconciled(&standby.operator, 2 * PLANS + 1).await;
    assert!(standby.operator.requests.gets("first") <= 1);
    world.patch("first", json!({ "spec": { "planDesc": "changed" } })).await;
    reconciled(&standby.operator, 2 * PLANS + 2).await;
    let later = names("later");
    create_suspended(&world, &later).await;
    reconciled(&standby.operator, 3 * PLANS + 2).await;
    assert_eq!(gets(&standby.operator, &later), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_watch_acts_on_no_old_version() {
    let world = World::with(Rules { update_while_running: true, ..Rules::default() }).await;
    let former = world.operator().await;
    for plan in ["changed", "deleted"] {
        let mut spec = one_way(&[plan]);
        spec["planName"] = json!(plan);
        world.create(plan, spec).await;
        world.ready(plan).await;
    }
    let standby = Standby::start(&world).await;
    standby.operator.requests.hold_watches(true);
    world.patch("changed", json!({ "spec": { "planDesc": "new" } })).await;
    world.ready("changed").await;
    // The standby sees its whole life only once it leads.
    world.create("passing", one_way(&["passing"])).await;
    world.ready("passing").await;
    for plan in ["deleted", "passing"] {
        world.delete(plan).await;
        world.gone(plan).await;
    }
    former.stop().await;
    let changes = world.changes();

    standby.lead(&world).await;
    eventually(DEADLINE, "the old versions are found out", async || {
        ["changed", "deleted"].iter().all(|plan| standby.operator.requests.gets(plan) > 0).then_some(())
    })
    .await;
    eventually(DEADLINE, "they are tried again", async || {
        (standby.operator.requests.gets("changed") > 1).then_some(())
    })
    .await;
    assert_eq!(world.changes(), changes, "the cloud is as the former leader left it");
    standby.operator.requests.hold_watches(false);
    world.annotate("changed", RECONCILE_ANNOTATION, "again").await;
    let handled = |it: &DisasterRecoveryPlanStatus| it.head.last_handled_reconcile_at.as_deref() == Some("again");
    world.status("changed", "the new leader reconciles it", handled).await;
    assert_eq!(world.changes(), changes);
    world.assert_one_plan("changed", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_list_delays_no_reconcile() {
    let world = World::new().await;
    let plans = names("plan");
    create_suspended(&world, &plans).await;
    let standby = Standby::start(&world).await;
    standby.operator.requests.refuse_metadata(true);
    standby.lead(&world).await;
    reconciled(&standby.operator, PLANS).await;
    // The first change that this process writes is the proof for the others.
    let gets = gets(&standby.operator, &plans);
    assert!((1..=PLANS).contains(&gets), "{gets} reads");
}
