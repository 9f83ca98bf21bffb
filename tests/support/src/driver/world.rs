//! One object, one cloud and one clock, driven by production code: the real reconcile runs through the simulator's router and a
//! small versioned store, on simulated time. Nothing here decides, observes or acts by itself.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use disaster_recovery_operator::api::StatusHead;
use disaster_recovery_operator::cloud::client::{self, Client, HttpService};
use disaster_recovery_operator::cloud::clock::Clock;
use disaster_recovery_operator::cloud::endpoint::Allowed;
use disaster_recovery_operator::cloud::error::Error;
use disaster_recovery_operator::cloud::rate_limit::{Priority, RateLimit};
use disaster_recovery_operator::controller::cached::Cached;
use disaster_recovery_operator::controller::conditions;
use disaster_recovery_operator::controller::evidence::observer::Observer;
use disaster_recovery_operator::controller::requeue::Intervals;
use disaster_recovery_operator::controller::resource::{Decision, Resource, Scope};
use disaster_recovery_operator::controller::shard::Shard;
use disaster_recovery_operator::controller::verdict::Verdict;
use disaster_recovery_operator::controller::{Context, Settings, reconcile};
use disaster_recovery_operator::leadership::Leadership;
use disaster_recovery_operator::simulator::model::ebs::ViolationKind;
use disaster_recovery_operator::simulator::{self, Config, Fault, FaultKind, RequestRecord, Simulator};
use disaster_recovery_operator::telemetry::metrics::Metrics;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::controller::Action;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::faults::{Attempt, Fate, Wire};
use super::store::{Published, Store, merge};
use super::tripwire::{Crash, Tripwire};

/// The start of every world, in ms: a Friday, 2025-02-28 06:28 UTC.
pub const T0: i64 = 1_740_724_080_000;
/// The time between two looks at what falls due during a reconcile.
const BESIDE_INTERVAL: Duration = Duration::from_millis(50);
/// The cluster of every world.
pub const CLUSTER: &str = "0a1b2c3d";

/// The simulated time: what a test let pass, and what production code waited for.
#[derive(Clone)]
struct SimulatedTime {
    base_ms: Arc<AtomicI64>,
    origin: Instant,
    /// The runtime whose timers are simulated: outside of it, an `Instant` is of the machine's clock.
    runtime: tokio::runtime::Handle,
}

impl SimulatedTime {
    fn now_ms(&self) -> i64 {
        let _inside = self.runtime.enter();
        let waited = i64::try_from(self.origin.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.base_ms.load(Ordering::SeqCst).saturating_add(waited)
    }
}

/// What a reconcile came to.
pub struct Passed<K: Resource> {
    /// What it observed, as a read right before it shows.
    pub seen: K::Observed,
    /// What it decided on that.
    pub decision: Decision<K>,
    /// The changing calls that reached the cloud, in order.
    pub calls: Vec<RequestRecord>,
    /// The events that it published.
    pub events: Vec<Published>,
}

impl<K: Resource> Passed<K> {
    /// The reason of a refusal.
    pub fn refusal(&self) -> Option<&'static str> {
        match &self.decision.verdict {
            Verdict::Refused { reason, .. } => Some(reason),
            Verdict::InSync | Verdict::Acting(_) | Verdict::Waiting { .. } | Verdict::Released { .. } => None,
        }
    }
}

/// The lease of the process, until a test chooses another one.
const LEASE: &str = "operator/first";

/// One object and one cloud.
pub struct World<K: Resource> {
    runtime: tokio::runtime::Runtime,
    time: SimulatedTime,
    pub simulator: Simulator,
    pub store: Store,
    tripwire: Tripwire,
    wire: Wire,
    ctx: Arc<Context>,
    observer: Arc<Observer<K>>,
    /// Whether the observer asks for a reconcile.
    woken: Arc<AtomicBool>,
    /// The object without its status, as the next reconcile finds it.
    pub object: K,
    /// Its status.
    pub status: K::Status,
    /// Set once the object is gone: what was left in the cloud.
    pub released: Option<Option<String>>,
    /// Whether the last reconcile crashed.
    crashed: bool,
    /// The violations of user data that the test consents to.
    pub consented: Vec<ViolationKind>,
    pub window: Duration,
    /// What passes between two reconciles, in ms.
    pub pace: i64,
    /// The time at which the last reconcile observed, in ms.
    pub observed_at: i64,
    /// Whether evidence counts as recent in [`World::scope`].
    pub fresh: bool,
    /// The number of reconciles so far.
    pub reconciles: usize,
    /// Whether the last reconcile leaves the next one to a change, or to a read that finds a difference.
    pub awaits_change: bool,
    /// Whether reads and expiries that fall due during a reconcile run beside it.
    pub observes_beside: bool,
    /// Whether a reconcile may end early.
    pub fails: bool,
    lease: String,
    shard: Shard,
    /// What another actor writes before the next reconcile, whose cache does not show it.
    unseen: Option<Value>,
}

impl<K> World<K>
where
    K: Resource + Serialize,
    K::Status: AsRef<StatusHead> + AsMut<StatusHead>,
{
    /// A world with this object, which has neither status nor finalizer, and a cloud with these rules.
    pub fn of(object: K, config: Config) -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let time = runtime.block_on(async {
            let (base_ms, origin) = (Arc::new(AtomicI64::new(T0)), Instant::now());
            SimulatedTime { base_ms, origin, runtime: tokio::runtime::Handle::current() }
        });
        let shown = time.clone();
        let simulator = Simulator::new(Config {
            clock: simulator::Clock::new(move || shown.now_ms()),
            rate_limit_per_second: u32::MAX,
            ebs_rate_limit_per_second: u32::MAX,
            sts_rate_limit_per_second: u32::MAX,
            history_ms: 200_000,
            ..config
        });
        let tripwire = Tripwire::default();
        let store = Store::new(tripwire.clone());
        let wire = Wire::new(client::from_service(simulator.router()), tripwire.clone());
        let window = Duration::from_secs(120);
        let ctx = runtime.block_on(process(&store, &wire, &time, window, Shard::ALL));
        ctx.follow(Leadership::without_election().with_lease(LEASE));
        ctx.follow(Leadership::without_election());
        let woken = Arc::default();
        let observer = observer(&store, &ctx, &woken);
        Self {
            runtime,
            time,
            simulator,
            store,
            tripwire,
            wire,
            ctx,
            observer,
            woken,
            object,
            status: K::Status::default(),
            released: None,
            consented: vec![],
            crashed: false,
            window,
            pace: 5_000,
            observed_at: T0,
            fresh: true,
            reconciles: 0,
            awaits_change: false,
            observes_beside: false,
            fails: false,
            lease: LEASE.into(),
            shard: Shard::ALL,
            unseen: None,
        }
    }

    /// Whether the last reconcile was cut off.
    pub fn crashed(&self) -> bool {
        self.crashed
    }

    /// The time, in ms.
    pub fn now(&self) -> i64 {
        self.time.now_ms()
    }

    pub fn timestamp(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now()).expect("a time")
    }

    /// Lets time pass.
    pub fn advance(&mut self, ms: i64) {
        self.time.base_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the machine's clock forward, which the process notices.
    pub fn set_clock(&mut self, ms: i64) {
        self.advance(ms);
        self.put();
        self.observer.schedule(&self.key());
        self.observer.forget_evidence();
    }

    /// Changes the spec by a JSON merge patch (lists are replaced), as a user does.
    pub fn edit(&mut self, patch: Value) {
        let mut value = serde_json::to_value(&self.object).expect("JSON");
        merge(&mut value["spec"], patch);
        value["metadata"]["generation"] = json!(self.generation() + 1);
        self.object = serde_json::from_value(value).expect("the object with the changed spec");
    }

    /// Changes the object as another actor does while the next reconcile makes the changing call of this number, from 0. The JSON merge
    /// patch is of the whole object; one of the spec is a new generation.
    pub fn edit_beside(&self, call: usize, patch: Value) {
        let (store, path) = (self.store.clone(), self.path());
        self.wire.beside(call, move || write_as_another(&store, &path, patch));
    }

    /// Changes the object as another actor does. The next reconcile has the version from before it.
    pub fn edit_unseen(&mut self, patch: Value) {
        self.unseen = Some(patch);
    }

    pub fn generation(&self) -> i64 {
        self.object.meta().generation.unwrap_or_default()
    }

    /// Deletes the object, as a user does. One without a finalizer is gone at once.
    pub fn delete(&mut self) {
        let now = Time(self.timestamp());
        let meta = self.object.meta_mut();
        meta.deletion_timestamp = Some(now);
        meta.generation = meta.generation.map(|it| it + 1);
        if meta.finalizers.as_ref().is_none_or(Vec::is_empty) {
            self.released = Some(None);
        }
    }

    pub fn deleting(&self) -> bool {
        self.object.meta().deletion_timestamp.is_some()
    }

    pub fn annotate(&mut self, name: &str, value: &str) {
        let annotations = self.object.meta_mut().annotations.get_or_insert_default();
        annotations.insert(name.into(), value.into());
    }

    pub fn annotation(&self, name: &str) -> Option<&String> {
        self.object.meta().annotations.as_ref()?.get(name)
    }

    fn path(&self) -> String {
        let meta = self.object.meta();
        let (namespace, name) =
            (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
        format!("/apis/{}/namespaces/{namespace}/{}/{name}", K::api_version(&()), K::plural(&()))
    }

    /// The object with its status, as the API server has it.
    pub fn whole(&self) -> K {
        let mut object = self.object.clone();
        *object.status_mut() = Some(self.status.clone());
        object
    }

    /// Gives production code what it is given of the object in a reconcile.
    pub fn scope<R>(&self, with: impl FnOnce(&Scope<'_, K>) -> R) -> R {
        self.scope_without(vec![], with)
    }

    /// The same, after an observation that does not show these parts of the cloud side.
    fn scope_without<R>(&self, absent: Vec<String>, with: impl FnOnce(&Scope<'_, K>) -> R) -> R {
        let object = self.whole();
        let meta = object.meta();
        let (namespace, name) = (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
        let mut absences = self.ctx.memory(K::KIND, &namespace, &name).absences;
        absences.observe(absent, self.window, self.timestamp(), self.timestamp());
        let evidence = self.ctx.evidence::<K>(&format!("{}/{namespace}/{name}", K::KIND));
        let until = self.now() + if self.fresh { 3_600_000 } else { 0 };
        with(&Scope {
            status: object.status().expect("it has one"),
            object: &object,
            cluster_id: CLUSTER,
            nonce: "00",
            visibility_window: self.window,
            absences: &absences,
            intervals: Intervals::new(Duration::from_secs(60), &self.ctx.settings),
            evidence: &evidence,
            observed_until: Timestamp::from_millisecond(until).ok(),
            former_renewal: None,
            now: self.timestamp(),
        })
    }

    /// The APIs of the cloud, as a reconcile gets them.
    fn cloud(&self) -> K::Cloud {
        let meta = self.object.meta();
        let management = self.object.management();
        let access = self.ctx.accounts.access(meta.namespace.as_deref().unwrap_or_default(), management.account);
        let access = self.runtime.block_on(access).unwrap_or_else(|error| panic!("no access: {error}"));
        self.object.cloud(&access, Priority::Change)
    }

    /// The shared state of the process.
    pub fn context(&self) -> &Arc<Context> {
        &self.ctx
    }

    /// Runs a future on the simulated time.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// What a reconcile would observe now.
    pub fn observe(&self) -> Result<K::Observed, Error> {
        let cloud = self.cloud();
        self.scope(|scope| self.runtime.block_on(K::observe(scope, &self.ctx, &cloud)))
    }

    /// What a reconcile would decide on this observation.
    pub fn decide_on(&self, observed: &K::Observed) -> Decision<K> {
        let absent = self.scope(|scope| K::remote(scope, Some(observed))).absent;
        self.scope_without(absent, |scope| K::decide(scope, observed))
    }

    /// One reconcile that reads the cloud as it was at this time, and then reads it as it is again.
    pub fn pass_in_past(&mut self, at_ms: i64, fates: Vec<Fate>, crash: Crash) -> Result<Passed<K>, Error> {
        self.simulator.add_fault(Fault::new(FaultKind::Frozen { at_ms: Some(at_ms) }));
        let passed = self.faulty_pass(fates, crash);
        self.simulator.remove_faults(|fault| matches!(fault.kind, FaultKind::Frozen { .. }));
        passed
    }

    /// The changing requests that the last reconcile sent, in order, repeats by the client included.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.wire.attempts()
    }

    /// One reconcile without faults, and the time until the next one.
    pub fn pass(&mut self) -> Passed<K> {
        self.faulty_pass(vec![], Crash::Never).unwrap_or_else(|error| panic!("nothing was observed: {error}"))
    }

    /// One reconcile with these fates, one for each changing call in turn, and with a crash. An error, where the cloud could not
    /// be observed; the reconcile ran all the same.
    pub fn faulty_pass(&mut self, fates: Vec<Fate>, crash: Crash) -> Result<Passed<K>, Error> {
        self.observed_at = self.now();
        let looked = self.observe().map(|seen| {
            let decision = self.decide_on(&seen);
            (seen, decision)
        });
        let intents = looked.as_ref().is_ok_and(|(_, decision)| decision.intents.is_some());
        let (calls, events) = self.reconcile(fates, crash, intents);
        self.advance(self.pace);
        looked.map(|(seen, decision)| Passed { seen, decision, calls, events })
    }

    /// Gives the store the object as the test has it.
    fn put(&self) {
        let mut whole = serde_json::to_value(self.whole()).expect("JSON");
        whole["apiVersion"] = json!(K::api_version(&()));
        whole["kind"] = json!(K::kind(&()));
        self.store.put(&self.path(), whole);
    }

    /// Takes the object from the store. False, if it is gone.
    fn take(&mut self) -> bool {
        let Some(mut object) = self.stored::<K>(&self.path()) else { return false };
        self.status = object.status_mut().take().unwrap_or_default();
        self.object = object;
        true
    }

    fn key(&self) -> (String, String) {
        let meta = self.object.meta();
        (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    }

    /// Runs the reads between reconciles that are due now. True, if there were any.
    fn observe_now(&mut self) -> bool {
        let mut any = false;
        loop {
            let jobs = self.observer.begin();
            if jobs.is_empty() {
                return any;
            }
            any = true;
            let observer = self.observer.clone();
            self.runtime.block_on(futures::future::join_all(jobs.into_iter().map(|job| observer.run(job))));
        }
    }

    /// Lets time pass as a process at rest does: reads between reconciles, expiries, and the reconciles that they ask for.
    pub fn observe_for(&mut self, ms: i64) {
        let end = self.now() + ms;
        self.put();
        self.observer.schedule(&self.key());
        while self.released.is_none() {
            let any = self.observe_now();
            if !self.take() {
                return;
            }
            if self.woken.swap(false, Ordering::SeqCst) {
                self.reconcile(vec![], Crash::Never, false);
                self.put();
                continue;
            }
            if any {
                continue;
            }
            let next = self.observer.next().map_or(end, |at| at.as_millisecond());
            if next > end || self.now() >= end {
                break;
            }
            self.advance((next - self.now()).max(1));
        }
        self.advance((end - self.now()).max(0));
    }

    /// Sets the visibility window of the operator, which is another process then.
    pub fn set_window(&mut self, window: Duration) {
        self.window = window;
        self.restart();
    }

    /// The first reconcile of a process.
    pub fn reconcile_at_start(&mut self) {
        self.put();
        self.observer.schedule(&self.key());
        self.observe_now();
        self.take();
        self.reconcile(vec![], Crash::Never, false);
    }

    /// The real reconcile, once.
    fn reconcile(&mut self, fates: Vec<Fate>, crash: Crash, intents: bool) -> (Vec<RequestRecord>, Vec<Published>) {
        let path = self.path();
        self.put();
        self.store.take_events();
        self.simulator.clear_requests();
        self.tripwire.arm(crash, intents);
        self.wire.set_fates(fates);
        self.wire.forget_attempts();
        let object: K = self.stored(&path).expect("it was just put");
        if let Some(patch) = self.unseen.take() {
            write_as_another(&self.store, &path, patch);
        }
        self.reconciles += 1;
        let done = Cell::new(!self.observes_beside);
        let reconciling = async {
            let reconcile = reconcile(Arc::new(object), self.ctx.clone());
            let outcome = tokio::select! {
                biased;
                outcome = reconcile => Some(outcome),
                () = self.tripwire.tripped() => None,
            };
            done.set(true);
            outcome
        };
        let beside = async {
            while !done.get() {
                let jobs = self.observer.begin();
                futures::future::join_all(jobs.into_iter().map(|job| self.observer.run(job))).await;
                tokio::time::sleep(BESIDE_INTERVAL).await;
            }
        };
        let (outcome, ()) = self.runtime.block_on(futures::future::join(reconciling, beside));
        self.wire.set_fates(vec![]);
        self.tripwire.arm(Crash::Never, false);
        let crashed = outcome.is_none();
        match outcome {
            Some(Err(_)) if self.fails => self.awaits_change = false,
            Some(outcome) => {
                let action = outcome.unwrap_or_else(|error| panic!("the reconcile failed: {error}"));
                self.awaits_change = action == Action::await_change();
            }
            None => self.restart(),
        }
        self.crashed = crashed;
        self.observer.reconciled(&self.key());
        if !crashed {
            self.observe_now();
        }
        let events = self.store.take_events();
        if !self.take() {
            let left = events.iter().find(|it| it.reason == "Retained").map(|it| it.note.clone());
            self.released = Some(left);
        }
        self.assert_agreement();
        self.assert_consent();
        let reached = |request: &RequestRecord| request.changing && request.executed;
        let calls = self.simulator.requests().into_iter().filter(reached).collect();
        (calls, events)
    }

    /// Another process: what the former one remembered is lost.
    pub fn restart(&mut self) {
        self.restart_after(None);
    }

    /// Another process, with this lease.
    pub fn restart_with(&mut self, lease: &str) {
        lease.clone_into(&mut self.lease);
        self.restart();
    }

    /// Another process, of this shard and with its lease.
    pub fn restart_as(&mut self, shard: &str) {
        self.shard = shard.parse().expect("a shard");
        self.restart_with(&self.shard.lease("operator/shards"));
    }

    /// Waits in the time of timers, in which takeovers wait.
    pub fn wait(&mut self, time: Duration) {
        self.runtime.block_on(async move { tokio::time::sleep(time).await });
    }

    /// Another process, which knows when a former leader renewed its lease for the last time.
    pub fn restart_after(&mut self, former_renewal: Option<Timestamp>) {
        self.ctx = self.runtime.block_on(process(&self.store, &self.wire, &self.time, self.window, self.shard));
        self.ctx.follow(Leadership::after(former_renewal).with_lease(&self.lease));
        self.woken = Arc::default();
        self.observer = observer(&self.store, &self.ctx, &self.woken);
    }

    fn stored<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        self.store.get(path).map(|object| serde_json::from_value(object).expect("an object"))
    }

    /// The condition of a type as `status/reason`.
    pub fn condition(&self, condition_type: &str) -> String {
        let found = conditions::find(&self.status.as_ref().conditions, condition_type);
        found.map(|it| format!("{}/{}", it.status, it.reason)).unwrap_or_default()
    }

    /// The message of a condition.
    pub fn message(&self, condition_type: &str) -> String {
        let found = conditions::find(&self.status.as_ref().conditions, condition_type);
        found.map(|it| it.message.clone()).unwrap_or_default()
    }

    /// No call opened or overwrote a disk wrongly, except as the test consents to.
    fn assert_consent(&self) {
        let violations = self.simulator.with_disks(|disks, _| disks.violations().to_vec());
        let unexpected: Vec<_> = violations.iter().filter(|it| !self.consented.contains(&it.kind)).collect();
        assert!(unexpected.is_empty(), "{unexpected:#?}");
    }

    /// `Ready` is never True while kstatus reports work or a stall.
    pub fn assert_agreement(&self) {
        let work = ["Reconciling", "Stalled"].map(|condition_type| self.condition(condition_type));
        let ready = self.condition("Ready");
        assert!(!ready.starts_with("True/") || work.iter().all(String::is_empty), "{ready} and {work:?}");
    }
}

/// The reads between reconciles of a new process.
fn observer<K: Resource>(store: &Store, ctx: &Arc<Context>, woken: &Arc<AtomicBool>) -> Arc<Observer<K>> {
    let (store, woken) = (store.clone(), woken.clone());
    let known = Mutex::<Option<(Value, Arc<Cached<K>>)>>::default();
    let find = move |(namespace, name): &(String, String)| {
        let path = format!("/apis/{}/namespaces/{namespace}/{}/{name}", K::api_version(&()), K::plural(&()));
        let object = store.get(&path)?;
        let mut known = known.lock().expect("not poisoned");
        // A debug build checks each new entry of a cache, which takes long.
        if known.as_ref().is_none_or(|(as_stored, _)| *as_stored != object) {
            let cached = Cached::new(serde_json::from_value(object.clone()).expect("an object"));
            *known = Some((object, Arc::new(cached)));
        }
        known.as_ref().map(|(_, cached)| cached.clone())
    };
    let wake = move |_: &(String, String)| woken.store(true, Ordering::SeqCst);
    Arc::new(Observer::new(ctx.clone(), find, wake))
}

/// Writes a JSON merge patch of the whole object. One of the spec is a new generation.
fn write_as_another(store: &Store, path: &str, patch: Value) {
    let mut object = store.get(path).expect("it is there");
    if let (Some(_), Some(generation)) = (patch.get("spec"), object["metadata"]["generation"].as_i64()) {
        object["metadata"]["generation"] = json!(generation + 1);
    }
    merge(&mut object, patch);
    store.put(path, object);
}

/// The shared state of a new process.
async fn process(store: &Store, wire: &Wire, time: &SimulatedTime, window: Duration, shard: Shard) -> Arc<Context> {
    let shown = time.clone();
    let clock = Clock::new(move || Timestamp::from_millisecond(shown.now_ms()).expect("a time"));
    let http: HttpService = wire.service();
    // At this rate no call waits, so that reconciles without faults take no time.
    let limit = Arc::new(RateLimit::new(u32::MAX));
    let cloud = Client::new(http, limit, Duration::from_secs(10), Arc::new(|_| {})).with_clock(clock);
    let variables = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "simulator-key-id"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "simulator-key-secret"),
    ];
    let settings = Settings {
        namespaces: vec![],
        selector: None,
        shard,
        workers: 4,
        poll_interval: Duration::from_secs(60),
        transition_interval: Duration::from_secs(3),
        retry_interval: Duration::from_secs(5),
        visibility_window: window,
        content_hash_rounds: 1,
        rocketmq_endpoint: None,
        ebs_endpoint: None,
        sts_endpoint: None,
        metadata_endpoint: None,
        allowed_endpoints: Allowed::default(),
        credentials_secret: None,
        variables: variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        default_account_namespaces: vec!["*".into()],
        cluster_id: Some(CLUSTER.into()),
    };
    let context = Context::new(store.client(), cloud, settings, Arc::new(Metrics::new())).await;
    Arc::new(context.expect("the operator starts"))
}
