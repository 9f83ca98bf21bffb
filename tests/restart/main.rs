//! A new leader takes over a thousand plans: no false claim, no burst of calls, and no plan is left behind. A suite of its own, since it
//! needs the whole machine.
#![allow(clippy::expect_used, reason = "a test that cannot go on ends and says why")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use disaster_recovery_operator::api::plan::DisasterRecoveryPlan;
use disaster_recovery_operator::api::{FINALIZER, PLAN_ID_ANNOTATION};
use disaster_recovery_operator::controller::ownership;
use disaster_recovery_operator::simulator::model::{CheckpointTimes, ForeignPlan, ItemStatus, Model, Rules};
use disaster_recovery_operator::simulator::{AccessKey, Config, RequestRecord};
use futures::{StreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use test_support::operator::{SYSTEM, installed};
use test_support::process::{Operator, lease, served};
use test_support::stage::plans::{World, one_way};
use test_support::{ControlPlane, eventually};

const PLANS: usize = 1_000;
/// The number of plans of each fate but the healthy one.
const UNHEALTHY: usize = 5;
/// How long a phase may take. Nothing waits that long unless it is broken.
const PHASE: Duration = Duration::from_secs(240);
/// Maximum time from the end of a proof until a watch shows it on a busy machine, in ms.
const MARGIN_MS: i64 = 30_000;
/// How long a new leader inherits `Protected` with the default objective, in ms.
const INHERITED_MS: i64 = 35_500;
/// The objective of the plans that are no longer synchronized, in ms.
const SHORT_OBJECTIVE_MS: i64 = 30_000;
/// The cluster ID of owner marks.
const CLUSTER: &str = "restart";
/// The consumer group of every topic, and that of the plans that are no longer synchronized.
const GROUPS: [&str; 2] = ["GID_ORDERS", "GID_LATE"];
const CHECKPOINTS: &str = "ListDisasterRecoveryCheckpoints";

/// What happens to a plan while no operator runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// A consumer group is no longer synchronized. The objective is short.
    Unsynchronized,
    /// The destination's offset is reset to a time before the objective.
    Reset,
    /// The destination consumes on its own.
    Ahead,
    /// The cloud stops the mapping. The plan is only observed: no call starts it again.
    Stopped,
    Healthy,
}

impl Fate {
    fn of(number: usize) -> Self {
        let fates = [Self::Unsynchronized, Self::Reset, Self::Ahead, Self::Stopped];
        fates.get(number / UNHEALTHY).copied().unwrap_or(Self::Healthy)
    }

    /// `Protected` at the end.
    fn protected(self) -> [&'static str; 2] {
        match self {
            Self::Unsynchronized | Self::Reset => ["False", "ObjectiveExceeded"],
            Self::Ahead => ["False", "TargetAhead"],
            Self::Stopped => ["False", "ReplicationStopped"],
            Self::Healthy => ["True", "WithinObjective"],
        }
    }
}

/// An object, and its plan in the cloud.
#[derive(Clone, Debug)]
struct Plan {
    name: String,
    fate: Fate,
    plan_id: i64,
    item_id: i64,
}

impl Plan {
    fn spec(&self) -> Value {
        let mut spec = one_way(&["orders"]);
        match self.fate {
            Fate::Unsynchronized => spec["recoveryPointObjective"] = json!("30s"),
            Fate::Stopped => {
                (spec["managementPolicy"], spec["planId"]) = (json!("Observe"), json!(self.plan_id.to_string()));
            }
            Fate::Reset | Fate::Ahead | Fate::Healthy => {}
        }
        spec
    }

    /// Brings about the fate of the plan.
    fn meet(&self, model: &mut Model, now: i64) {
        let item = &model.plan(self.plan_id).expect("a plan").items[&self.item_id];
        let checkpoint = item.checkpoints[0].checkpoint_id;
        let hour_ago = Some(now - 3_600_000);
        match self.fate {
            Fate::Healthy => {}
            Fate::Unsynchronized => model.set_group_online(GROUPS[1], false),
            Fate::Reset => {
                let times = CheckpointTimes { source_time: Some(now), target_time: hour_ago, last_sync_time: hour_ago };
                model.set_checkpoint(checkpoint, times).expect("a checkpoint");
            }
            Fate::Ahead => {
                model.set_checkpoint_target_ahead(checkpoint, Some(600_000), now).expect("a checkpoint");
            }
            Fate::Stopped => {
                let stopped = ItemStatus::OverdueStopped;
                model.set_item_status(self.plan_id, self.item_id, stopped, now).expect("an item");
            }
        }
    }
}

/// Creates the cloud's plans, each with the owner mark of its object: a backup of the objects is restored below.
fn plans(world: &World) -> Vec<Plan> {
    let spec = one_way(&["orders"]);
    let side = |id: &str| json!({ "instanceId": id, "topicName": "orders", "deliveryOrderType": "Orderly" });
    let item = json!({ "topics": [side("rmq-cn-aaa"), side("rmq-cn-bbb")] });
    let mut foreign = spec.clone();
    foreign["items"] = json!([item]);
    world.cloud.with_model(|model, now| {
        let create = |number: usize| {
            let (name, fate) = (format!("plan-{number:04}"), Fate::of(number));
            let mut foreign: ForeignPlan = serde_json::from_value(foreign.clone()).expect("a plan");
            let mark = ownership::mark(CLUSTER, &world.namespace, &name);
            let text = spec["planDesc"].as_str().expect("a description");
            (foreign.plan.plan_name, foreign.plan.plan_desc) =
                (Some(name.clone()), Some(ownership::marked(text, &mark)));
            let plan_id = model.add_foreign_plan("cn-hangzhou", foreign, now).expect("it is created");
            let item_id = *model.plan(plan_id).expect("it is there").items.keys().next().expect("an item");
            if fate == Fate::Unsynchronized {
                model.advance(now);
                model.add_group(GROUPS[1], Some((plan_id, item_id)), now).expect("its own group");
            }
            Plan { name, fate, plan_id, item_id }
        };
        (0..PLANS).map(create).collect()
    })
}

/// Creates the objects as a backup has them: without status, and with the ID of the plan.
async fn restore(world: &World, plans: &[Plan]) {
    let (api, params) = (world.api(), PostParams::default());
    let creations = plans.iter().map(|plan| {
        let object = json!({
            "apiVersion": DisasterRecoveryPlan::api_version(&()),
            "kind": DisasterRecoveryPlan::kind(&()),
            "metadata": { "name": plan.name, "finalizers": [FINALIZER], "annotations": { PLAN_ID_ANNOTATION: plan.plan_id.to_string() } },
            "spec": plan.spec(),
        });
        let (api, params) = (&api, &params);
        async move {
            let object = serde_json::from_value(object).expect("an object");
            api.create(params, &object).await.expect("the object is accepted");
        }
    });
    stream::iter(creations).buffer_unordered(32).collect::<()>().await;
}

/// A version of an object, as a watch showed it.
#[derive(Clone, Debug)]
struct Version {
    /// The resourceVersion.
    number: u64,
    /// The time of its arrival, in ms.
    at_ms: i64,
    /// Status and reason of `Protected`.
    protected: [String; 2],
}

impl Version {
    fn is_true(&self) -> bool {
        self.protected[0] == "True"
    }
}

/// Every version of every object of a namespace since the record began.
struct History {
    api: Api<DisasterRecoveryPlan>,
    versions: Arc<Mutex<BTreeMap<String, Vec<Version>>>>,
    task: JoinHandle<()>,
}

impl History {
    async fn begin(world: &World) -> Self {
        let (api, versions) = (world.api(), Arc::<Mutex<BTreeMap<String, Vec<Version>>>>::default());
        let mut from = newest(&api).await.to_string();
        let (watching, seen, cloud) = (api.clone(), versions.clone(), world.cloud.clone());
        let task = tokio::spawn(async move {
            // kube-apiserver ends a watch that is slow. The next one continues after the last version.
            loop {
                let events = watching.watch(&WatchParams::default(), &from).await.expect("the watch begins");
                let mut events = std::pin::pin!(events);
                while let Some(event) = events.next().await {
                    match event {
                        Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                            from = object.resource_version().expect("a resourceVersion");
                            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                            seen.entry(object.name_any()).or_default().push(version(&object, cloud.now_ms()));
                        }
                        Ok(WatchEvent::Bookmark(_)) => {}
                        Ok(other) => panic!("an object is deleted, or the watch misses versions: {other:?}"),
                        Err(_) => break,
                    }
                }
            }
        });
        Self { api, versions, task }
    }

    fn read<R>(&self, with: impl FnOnce(&BTreeMap<String, Vec<Version>>) -> R) -> R {
        with(&self.versions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until the newest version of every plan is as wanted.
    async fn all(&self, what: &str, plans: &[Plan], wanted: impl Fn(&Plan, &Version) -> bool) {
        let is_there = |all: &BTreeMap<String, Vec<Version>>| {
            plans.iter().all(|plan| all.get(&plan.name).and_then(|it| it.last()).is_some_and(|it| wanted(plan, it)))
        };
        eventually(PHASE, what, async || self.read(is_there).then_some(())).await;
    }

    /// The last version before a resourceVersion, and the later ones.
    fn since(&self, plan: &Plan, cut: u64) -> Vec<Version> {
        self.read(|all| {
            let versions = &all[&plan.name];
            let first = versions.partition_point(|it| it.number <= cut);
            versions[first.saturating_sub(1)..].to_vec()
        })
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn version(object: &DisasterRecoveryPlan, at_ms: i64) -> Version {
    let number = object.resource_version().and_then(|it| it.parse().ok()).expect("a resourceVersion");
    let status = object.status.clone().unwrap_or_default();
    let protected = status.head.conditions.iter().find(|it| it.type_ == "Protected");
    let protected = protected.map(|it| [it.status.clone(), it.reason.clone()]).unwrap_or_default();
    Version { number, at_ms, protected }
}

/// The newest resourceVersion.
async fn newest(api: &Api<DisasterRecoveryPlan>) -> u64 {
    let list = api.list_metadata(&ListParams::default().limit(1)).await.expect("kube-apiserver answers");
    list.metadata.resource_version.and_then(|it| it.parse().ok()).expect("a resourceVersion")
}

fn start(key: &'static str, world: &World, cloud: &str) -> Operator {
    let more = ["--leader-elect", "--rocketmq-endpoint", cloud, "--cluster-id", CLUSTER];
    Operator::start(env!("CARGO_BIN_EXE_dr-operator"), key, world, installed(), &more)
}

/// Lets the holder of the lease count as a leader for long, from which the next one inherits. Returns its last renewal, in ms.
async fn led_for_long() -> i64 {
    let spec = lease().await.expect("the lease");
    let (acquired, renewed) = (spec.acquire_time.expect("a time").0, spec.renew_time.expect("a time").0);
    let earlier = acquired.checked_sub(jiff::SignedDuration::from_mins(1)).expect("a time");
    let leases: Api<Lease> = Api::namespaced(ControlPlane::shared().admin_client(), SYSTEM.0);
    let patch = Patch::Merge(json!({ "spec": { "acquireTime": format!("{earlier:.6}") } }));
    leases.patch("disaster-recovery-operator", &PatchParams::default(), &patch).await.expect("the lease is written");
    renewed.as_millisecond()
}

/// The number of requests by action and plan. A list of plans counts for none.
fn calls(requests: &[RequestRecord]) -> BTreeMap<(&str, Option<i64>), usize> {
    let mut calls = BTreeMap::new();
    for request in requests {
        let plan_id = request.path.split('/').nth(2).and_then(|id| id.parse().ok());
        *calls.entry((request.action.as_str(), plan_id)).or_default() += 1;
    }
    calls
}

/// Asserts how long `Protected` of a plan stayed True that was no longer protected when the first operator ended.
fn assert_true_ends(world: &World, plan: &Plan, versions: &[Version], renewed_ms: i64) {
    let limit_ms = match plan.fate {
        Fate::Unsynchronized => {
            let truth = world.cloud.with_model(|model, now| model.lag_truth(now));
            let covered = truth.iter().filter(|it| it.plan_id == plan.plan_id).filter_map(|it| it.covered_ms).min();
            covered.expect("its groups were synchronized") + SHORT_OBJECTIVE_MS
        }
        _ => {
            // Nothing that the second operator reads proves it.
            let regained = versions.windows(2).any(|it| !it[0].is_true() && it[1].is_true());
            assert!(!regained, "{plan:?} became True: {versions:#?}");
            renewed_ms + INHERITED_MS
        }
    };
    let after = versions.iter().rposition(Version::is_true).map_or(0, |last| last + 1);
    let late_ms = versions[after].at_ms - limit_ms;
    assert!(late_ms <= MARGIN_MS, "{plan:?} was True for {late_ms} ms too long: {versions:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_leader_takes_over_thousand_plans() {
    let rules = Rules { sync_interval_ms: 1_000, consumer_groups: vec![GROUPS[0].into()], ..Rules::default() };
    let keys = ["first", "second"].map(|id| AccessKey::new(id, "secret")).to_vec();
    let world = World::on(Config { rules, keys, rate_limit_per_second: 100_000, ..Config::default() }).await;
    let cloud = served(&world).await;
    let plans = plans(&world);
    let history = History::begin(&world).await;
    restore(&world, &plans).await;
    let mut first = start("first", &world, &cloud);
    history.all("every plan is protected", &plans, |_, newest| newest.is_true()).await;
    let changing = |it: &RequestRecord| it.changing;
    assert!(!world.cloud.requests().iter().any(changing), "restored objects find their plans");

    first.signal("-KILL");
    first.ended().await;
    world.cloud.with_model(|model, now| plans.iter().for_each(|plan| plan.meet(model, now)));
    world.cloud.clear_requests();
    let renewed_ms = led_for_long().await;
    let cut = newest(&history.api).await;
    let _second = start("second", &world, &cloud);
    let sampled = || {
        let requests = world.cloud.requests();
        let calls = calls(&requests);
        let runs = plans.iter().filter(|it| it.fate != Fate::Stopped);
        runs.map(|it| (CHECKPOINTS, Some(it.plan_id))).all(|it| calls.contains_key(&it))
    };
    eventually(PHASE, "the second operator reads all checkpoints", async || sampled().then_some(())).await;
    history.all("every plan shows its fate", &plans, |plan, it| it.protected == plan.fate.protected()).await;

    let requests = world.cloud.requests();
    assert!(!requests.iter().any(changing), "a restart changes nothing in the cloud");
    assert_eq!(world.cloud.plans().len(), PLANS);
    let calls = calls(&requests);
    let count = |action: &str, plan: &Plan| calls.get(&(action, Some(plan.plan_id))).copied().unwrap_or_default();
    let mut unknown = 0;
    for plan in &plans {
        // Two times at which inherited conditions end, the reconcile, its first sample, and one more. A plan without a proof is read
        // again after 10 s, 20 s and so on.
        let (reads, writes) = if plan.fate == Fate::Healthy { (2, 5) } else { (20, 10) };
        for (action, most) in [("GetDisasterRecoveryPlan", 2), ("ListDisasterRecoveryItems", 2), (CHECKPOINTS, reads)] {
            assert!(count(action, plan) <= most, "{action} of {plan:?}: {} calls", count(action, plan));
        }
        let versions = history.since(plan, cut);
        assert!(versions.len() - 1 <= writes, "{} writes of {plan:?}: {versions:#?}", versions.len() - 1);
        match plan.fate {
            Fate::Healthy => unknown += usize::from(!versions.iter().all(Version::is_true)),
            _ => assert_true_ends(&world, plan, &versions, renewed_ms),
        }
    }
    let lists = calls.get(&("ListDisasterRecoveryPlans", None)).copied().unwrap_or_default();
    assert!(lists <= 10, "{lists} lists of plans");
    // Expected on a slow machine: what a new leader inherits ends before it has read every plan.
    println!("{unknown} of {PLANS} plans were Unknown for a time");
}
