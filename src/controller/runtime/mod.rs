//! Runs the controllers: watches, workers, and what becomes of a pass that ended early.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, Shared, join_all};
use futures::stream::{self, BoxStream, Stream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::utils::Backoff;
use kube::runtime::{Predicate, WatchStreamExt, predicates, reflector, watcher};
use tokio::sync::{broadcast, watch};

use super::access::Key;
use super::account::users::{Filled, Users, uses};
use super::resource::{Object, Resource};
pub(super) mod concurrency;
mod relist;

use self::concurrency::{NamespaceLimit, PollLimit};
use self::relist::{Change, RelistIndex};
use super::{Context, Error, Requeue, account, key, reconcile};
use crate::api::account::AlibabaCloudAccount;
use crate::api::disk_replica_group::DiskReplicaGroup;
use crate::api::plan::DisasterRecoveryPlan;
use crate::cloud::error::Class;
use crate::leadership::Leadership;

/// Time until the next attempt of a reconcile whose namespace had no permit left.
const PERMIT_RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// How long a failed watch holds up what else wakes objects.
const TRIGGER_PAUSE: Duration = Duration::from_millis(500);

/// The same pause each time.
struct Constant(Duration);

impl Iterator for Constant {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.0)
    }
}

impl Backoff for Constant {
    fn reset(&mut self) {}
}

/// A signal that every controller waits for.
pub type Shutdown = Shared<BoxFuture<'static, ()>>;

/// One watch and its workers.
struct Running {
    /// Ends after `shutdown`, when the passes in hand are finished.
    work: BoxFuture<'static, ()>,
    /// Whether the cache is filled.
    filled: Filled,
}

/// When the controllers work.
#[derive(Clone)]
struct While {
    /// Passes are made from then on.
    leading: Leadership,
    /// None is begun any more.
    shutdown: Shutdown,
}

impl Running {
    /// The work, and whether the cache is filled. Work that waits for its cache would not hear of `shutdown`; no pass of it is
    /// in hand then.
    fn until(self, shutdown: &Shutdown) -> (BoxFuture<'static, ()>, Filled) {
        let Self { work, filled } = self;
        let (until, waiting) = (shutdown.clone(), filled.clone());
        let waiting = async move {
            until.await;
            if *waiting.borrow() {
                futures::future::pending::<()>().await;
            }
        };
        let work = async move {
            tokio::select! { () = work => {}, () = waiting => {} }
        };
        (work.boxed(), filled)
    }
}

/// Runs every controller until `shutdown`, then lets the passes in hand finish. `ready` is called once the caches are
/// filled; no pass is made before `leading`.
pub async fn run(ctx: Arc<Context>, leading: Leadership, shutdown: Shutdown, ready: impl FnOnce() + Send + 'static) {
    let when = While { leading, shutdown: shutdown.clone() };
    let (plans, mut running) = managed::<DisasterRecoveryPlan>(&ctx, &when);
    let (groups, more) = managed::<DiskReplicaGroup>(&ctx, &when);
    running.extend(more);
    let filled = running.iter().map(|it| it.filled.clone()).collect();
    running.extend(accounts(&ctx, &when, Users { plans, groups, filled }));
    let (running, filled): (Vec<_>, Vec<_>) = running.into_iter().map(|it| it.until(&shutdown)).unzip();
    let signal = async move {
        let mut all = true;
        for mut filled in filled {
            all &= filled.wait_for(|filled| *filled).await.is_ok();
        }
        if all {
            ready();
        }
    };
    let until = shutdown.clone();
    let signal = async move {
        tokio::select! { () = signal => {}, () = until => {} }
    };
    futures::join!(join_all(running), signal);
}

/// All namespaces, or each of those that are watched.
fn apis<K: Object>(ctx: &Context) -> Vec<Api<K>> {
    let namespaces = &ctx.settings.namespaces;
    match namespaces.is_empty() {
        true => vec![Api::all(ctx.client.clone())],
        false => namespaces.iter().map(|name| Api::namespaced(ctx.client.clone(), name)).collect(),
    }
}

/// The controllers of a kind that the reconcile keeps true in the cloud, and their caches.
fn managed<K: Resource>(ctx: &Arc<Context>, when: &While) -> (Vec<Store<K>>, Vec<Running>) {
    // A kind whose cloud is slow does not take the limit of another.
    let polls = Arc::new(PollLimit::new(ctx.settings.workers, concurrency::max_per_namespace(&ctx.settings)));
    let control = |api| {
        let (store, writer) = reflector::store::<K>();
        let account = |object: &K| object.management().account.map(str::to_owned);
        let (events, filled) = events(api, writer, ctx, account);
        let users = store.clone();
        let wake = signals(ctx.accounts.usable()).flat_map(move |account| {
            let all = users.state().into_iter().filter(move |object| uses(&**object, &account));
            stream::iter(all.map(|object| ObjectRef::from_obj(&*object)))
        });
        let polls = polls.clone();
        let pass = move |object, ctx| reconcile::reconcile(object, ctx, polls.clone());
        let work = control(events, store.clone(), wake, ctx.clone(), when.clone(), pass).boxed();
        (store, Running { work, filled })
    };
    apis(ctx).into_iter().map(control).unzip()
}

/// The controllers of accounts.
fn accounts(ctx: &Arc<Context>, when: &While, users: Users) -> Vec<Running> {
    let users = Arc::new(users);
    let control = |api| {
        let (store, writer) = reflector::store::<AlibabaCloudAccount>();
        let (users, mine) = (users.clone(), store.clone());
        let wake = signals(ctx.accounts.changed()).filter_map(move |(namespace, name)| {
            let account = ObjectRef::new(&name).within(&namespace);
            // One of another namespace has a controller of its own.
            futures::future::ready(mine.get(&account).map(|_| account))
        });
        let pass = move |object, ctx| account::reconcile(object, ctx, users.clone());
        let (events, filled) = events(api, writer, ctx, |_| None);
        let work = control(events, store.clone(), wake, ctx.clone(), when.clone(), pass).boxed();
        (store, Running { work, filled })
    };
    let (stores, running): (Vec<_>, Vec<_>) = apis(ctx).into_iter().map(control).unzip();
    ctx.accounts.look_up_in(stores);
    running
}

/// The events of a kind's objects, kept in a cache, and whether the cache is filled. The cache itself wakes only one of those
/// who wait for that. `account` gives the account that an object names.
fn events<K: Object>(
    api: Api<K>,
    writer: reflector::store::Writer<K>,
    ctx: &Arc<Context>,
    account: impl Fn(&K) -> Option<String> + Send + 'static,
) -> (BoxStream<'static, Result<watcher::Event<K>, watcher::Error>>, Filled) {
    let config = ctx.settings.selector.iter().fold(watcher::Config::default(), |config, labels| config.labels(labels));
    let ((fill, filled), ctx, mut index) = (watch::channel(false), ctx.clone(), RelistIndex::default());
    let events = watcher(api, config).default_backoff().reflect(writer).inspect_ok(move |event| {
        index.follow(event, &account).into_iter().for_each(|change| note::<K>(&ctx, change));
        if matches!(event, watcher::Event::InitDone) {
            fill.send_replace(true);
        }
    });
    (events.boxed(), filled)
}

/// Forgets an object that is gone, of which no reconcile may report that. Wakes the controllers of accounts whose number of
/// users changed.
fn note<K: Object>(ctx: &Context, Change { name: (namespace, name), before, after }: Change<Option<String>>) {
    if after.is_none() {
        ctx.forget(K::KIND, &namespace, &name);
    }
    let (before, after) = (before.flatten(), after.flatten());
    if before != after {
        for account in [before, after].into_iter().flatten() {
            ctx.accounts.look_at((namespace.clone(), account));
        }
    }
}

/// What is sent, without what was missed: the next poll tells.
fn signals(receiver: broadcast::Receiver<Key>) -> impl Stream<Item = Key> + Send + 'static {
    stream::unfold(receiver, |mut receiver| async move {
        loop {
            match receiver.recv().await {
                Ok(key) => return Some((key, receiver)),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    })
}

async fn control<K, R>(
    events: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send + 'static,
    store: Store<K>,
    wake: impl Stream<Item = ObjectRef<K>> + Send + 'static,
    ctx: Arc<Context>,
    when: While,
    pass: impl Fn(Arc<K>, Arc<Context>) -> R + Clone + Send + Sync + 'static,
) where
    K: Object,
    R: Future<Output = Result<Action, Error>> + Send + 'static,
{
    let changed = predicates::generation::<K>;
    let trigger = events.applied_objects().predicate_filter(
        // Status writes are our own; annotations ask for work; the last finalizer's end is the object's end.
        changed.combine(predicates::annotations).combine(predicates::finalizers),
        Default::default(),
    );
    let workers = controller::Config::default().concurrency(ctx.settings.workers);
    let (seen, limit) = (ctx.clone(), Arc::new(NamespaceLimit::new(concurrency::max_per_namespace(&ctx.settings))));
    let While { leading, shutdown } = when;
    // What was passed over until then is in the cache.
    let (all, begun) = (store.clone(), leading.clone().started());
    let all = stream::once(begun).flat_map(move |()| {
        let all = all.state().into_iter().map(|object| ObjectRef::from_obj(&*object));
        stream::iter(all.collect::<Vec<_>>())
    });
    let pass = move |object: Arc<K>, ctx: Arc<Context>| {
        let (leads, limit, pass) = (leading.is_leader(), limit.clone(), pass.clone());
        async move {
            match leads {
                true => measured(object, ctx, limit, pass).await,
                false => Ok(Action::await_change()),
            }
        }
    };
    Controller::for_stream(trigger, store)
        // The watch has a backoff of its own. A second, longer one would hold up whatever else wakes objects.
        .trigger_backoff(Constant(TRIGGER_PAUSE))
        .with_config(workers)
        .reconcile_on(wake)
        .reconcile_on(all)
        .graceful_shutdown_on(shutdown)
        .run(pass, failed, ctx)
        .for_each(|outcome| {
            told::<K>(&outcome, &seen);
            futures::future::ready(())
        })
        .await;
}

/// Logs what no pass can tell of, and drops what is known of objects that went without a finalizer.
fn told<K: Object>(outcome: &Result<(ObjectRef<K>, Action), controller::Error<Error, watcher::Error>>, ctx: &Context) {
    match outcome {
        Ok(_) | Err(controller::Error::ReconcilerFailed(..)) => {}
        Err(controller::Error::ObjectNotFound(gone)) => {
            ctx.forget(K::KIND, gone.namespace.as_deref().unwrap_or_default(), &gone.name);
        }
        Err(error) => {
            tracing::error!(%error, "cannot watch: are the definitions installed, and may the operator read them?");
        }
    }
}

async fn measured<K: Object, R>(
    object: Arc<K>,
    ctx: Arc<Context>,
    limit: Arc<NamespaceLimit>,
    pass: impl Fn(Arc<K>, Arc<Context>) -> R,
) -> Result<Action, Error>
where
    R: Future<Output = Result<Action, Error>>,
{
    use tracing::Instrument;
    let span = tracing::info_span!(
        "pass",
        kind = K::KIND,
        namespace = object.namespace(),
        object = object.name_any(),
        generation = object.meta().generation
    );
    let Some(_permit) = limit.take(object.namespace().unwrap_or_default()) else {
        return Ok(Action::requeue(concurrency::jittered(PERMIT_RETRY_INTERVAL)));
    };
    let started = Instant::now();
    let outcome = pass(object, ctx.clone()).instrument(span).await;
    let result = if outcome.is_ok() { "success" } else { "error" };
    ctx.metrics.reconciled(K::KIND, result, started.elapsed());
    outcome
}

/// What becomes of a pass that ended early.
fn failed<K: Object>(object: Arc<K>, error: &Error, ctx: Arc<Context>) -> Action {
    let key = key(K::KIND, &object.namespace().unwrap_or_default(), &object.name_any());
    match error {
        Error::Conflict => {
            tracing::debug!(key, "object changed while it was worked on");
            // The cache has the new version in a moment; a cache that lags must not be outrun.
            let times = ctx.remember(&key, |memory| {
                memory.failures += 1;
                memory.failures
            });
            Action::requeue(Duration::from_millis(100 << times.min(8)))
        }
        Error::Gone => {
            ctx.forget(K::KIND, &object.namespace().unwrap_or_default(), &object.name_any());
            Action::await_change()
        }
        Error::Kubernetes { .. } | Error::Slow { .. } => {
            tracing::error!(key, %error, "pass failed");
            ctx.requeue(&key, ctx.settings.poll_interval, &Requeue::Retry(Class::Unavailable))
        }
    }
}

/// A shutdown signal of any future.
pub fn shutdown(signal: impl Future<Output = ()> + Send + 'static) -> Shutdown {
    signal.boxed().shared()
}
