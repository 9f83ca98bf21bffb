//! Runs the controllers: watches, workers, and what becomes of a pass that ended early.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, Shared, join_all};
use futures::stream::{self, Stream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Predicate, WatchStreamExt, predicates, reflector, watcher};
use tokio::sync::{Semaphore, broadcast, watch};

use super::account::users::{Filled, Users, uses};
use super::accounts::Key;
use super::kind::{Kind, Object};
use super::{Context, Error, Next, account, key, pipeline};
use crate::api::account::AlibabaCloudAccount;
use crate::api::disk_replica_group::DiskReplicaGroup;
use crate::api::plan::DisasterRecoveryPlan;
use crate::cloud::error::Class;

/// When a pass is tried again whose namespace had all of its turns.
const TURN_AGAIN: Duration = Duration::from_millis(200);

/// A signal that every controller waits for.
pub type Shutdown = Shared<BoxFuture<'static, ()>>;

/// One watch and its workers.
struct Running {
    /// Ends after `shutdown`, when the passes in hand are finished.
    work: BoxFuture<'static, ()>,
    /// Whether the cache is filled.
    filled: Filled,
}

/// Runs every controller until `shutdown`, then lets the passes in hand finish. `ready` is called once the caches are
/// filled.
pub async fn run(ctx: Arc<Context>, shutdown: Shutdown, ready: impl FnOnce() + Send + 'static) {
    let (plans, mut running) = managed::<DisasterRecoveryPlan>(&ctx, &shutdown);
    let (groups, more) = managed::<DiskReplicaGroup>(&ctx, &shutdown);
    running.extend(more);
    let filled = running.iter().map(|it| it.filled.clone()).collect();
    running.extend(accounts(&ctx, &shutdown, Users { plans, groups, filled }));
    let (running, filled): (Vec<_>, Vec<_>) = running.into_iter().map(|it| (it.work, it.filled)).unzip();
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

/// The controllers of a kind that the pipeline keeps true in the cloud, and their caches.
fn managed<K: Kind>(ctx: &Arc<Context>, shutdown: &Shutdown) -> (Vec<Store<K>>, Vec<Running>) {
    // One fewer than there are workers. A kind whose cloud is slow does not take the turns of another.
    let polls = Arc::new(Semaphore::new(usize::from(ctx.settings.workers.saturating_sub(1).max(1))));
    let control = |api| {
        let (store, writer) = reflector::store::<K>();
        let told = ctx.clone();
        let mut named = HashMap::new();
        let (events, filled) = events(api, writer, ctx);
        let events = events.inspect_ok(move |event| named_accounts(&told, &mut named, event));
        let users = store.clone();
        let wake = signals(ctx.accounts.usable()).flat_map(move |account| {
            let all = users.state().into_iter().filter(move |object| uses(&**object, &account));
            stream::iter(all.map(|object| ObjectRef::from_obj(&*object)))
        });
        let polls = polls.clone();
        let pass = move |object, ctx| pipeline::reconcile(object, ctx, polls.clone());
        let work = control(events, store.clone(), wake, ctx.clone(), shutdown.clone(), pass).boxed();
        (store, Running { work, filled })
    };
    apis(ctx).into_iter().map(control).unzip()
}

/// The controllers of accounts.
fn accounts(ctx: &Arc<Context>, shutdown: &Shutdown, users: Users) -> Vec<Running> {
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
        let (events, filled) = events(api, writer, ctx);
        let work = control(events, store.clone(), wake, ctx.clone(), shutdown.clone(), pass).boxed();
        (store, Running { work, filled })
    };
    let (stores, running): (Vec<_>, Vec<_>) = apis(ctx).into_iter().map(control).unzip();
    ctx.accounts.look_up_in(stores);
    running
}

/// What happens to the objects of a kind, kept in a cache, and whether that is filled. The cache itself wakes only one of
/// those who wait for that.
fn events<K: Object>(
    api: Api<K>,
    writer: reflector::store::Writer<K>,
    ctx: &Arc<Context>,
) -> (impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send + use<K>, Filled) {
    let config = ctx.settings.selector.iter().fold(watcher::Config::default(), |config, labels| config.labels(labels));
    let ((fill, filled), seen) = (watch::channel(false), ctx.clone());
    let events = watcher(api, config).default_backoff().reflect(writer).inspect_ok(move |event| match event {
        watcher::Event::InitDone => {
            fill.send_replace(true);
        }
        // Of an object without a finalizer no pass may tell that it went.
        watcher::Event::Delete(gone) => {
            seen.forget(K::KIND, &gone.namespace().unwrap_or_default(), &gone.name_any());
        }
        watcher::Event::Apply(_) | watcher::Event::Init | watcher::Event::InitApply(_) => {}
    });
    (events, filled)
}

/// Tells the controllers of accounts that one has a user more or fewer. `named` are the accounts that were named before.
fn named_accounts<K: Kind>(
    ctx: &Context,
    named: &mut HashMap<ObjectRef<K>, Option<String>>,
    event: &watcher::Event<K>,
) {
    let (object, now) = match event {
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => (object, object.account()),
        watcher::Event::Delete(object) => (object, None),
        watcher::Event::Init => return named.clear(),
        watcher::Event::InitDone => return,
    };
    let now = now.map(str::to_owned);
    let key = ObjectRef::from_obj(object);
    let before = match event {
        watcher::Event::Delete(_) => named.remove(&key),
        _ => named.insert(key, now.clone()),
    }
    .flatten();
    if before != now {
        let namespace = object.namespace().unwrap_or_default();
        before.into_iter().chain(now).for_each(|account| ctx.accounts.look_at((namespace.clone(), account)));
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
    shutdown: Shutdown,
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
    let (seen, turns) = (ctx.clone(), Arc::<Turns>::default());
    Controller::for_stream(trigger, store)
        .with_config(workers)
        .reconcile_on(wake)
        .graceful_shutdown_on(shutdown)
        .run(move |object, ctx| measured(object, ctx, turns.clone(), pass.clone()), failed, ctx)
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

/// The passes in hand of each namespace: where several share the operator, none takes all the workers.
#[derive(Default)]
struct Turns(Mutex<HashMap<String, u16>>);

/// A turn of a namespace, given back when it is dropped.
struct Turn<'a> {
    turns: &'a Turns,
    namespace: String,
}

impl Turns {
    /// A turn, if the namespace has fewer than `most`.
    fn take(&self, namespace: String, most: u16) -> Option<Turn<'_>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = all.entry(namespace.clone()).or_default();
        if *taken >= most {
            return None;
        }
        *taken += 1;
        Some(Turn { turns: self, namespace })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut all = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = all.get_mut(&self.namespace) {
            *taken = taken.saturating_sub(1);
        }
        all.retain(|_, taken| *taken > 0);
    }
}

async fn measured<K: Object, R>(
    object: Arc<K>,
    ctx: Arc<Context>,
    turns: Arc<Turns>,
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
    let workers = ctx.settings.workers;
    // A namespace that is watched by name has workers of its own.
    let most = if ctx.settings.namespaces.is_empty() { workers.div_ceil(2) } else { workers };
    let Some(_turn) = turns.take(object.namespace().unwrap_or_default(), most) else {
        return Ok(Action::requeue(TURN_AGAIN));
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
        Error::Gone => Action::await_change(),
        Error::Kubernetes { .. } | Error::Slow { .. } => {
            tracing::error!(key, %error, "pass failed");
            ctx.requeue(&key, ctx.settings.poll_interval, &Next::Retry(Class::Unavailable))
        }
    }
}

/// A shutdown signal of any future.
pub fn shutdown(signal: impl Future<Output = ()> + Send + 'static) -> Shutdown {
    signal.boxed().shared()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_namespace_takes_all_the_turns() {
        let turns = Turns::default();
        let take = |namespace: &str| turns.take(namespace.to_owned(), 2);
        let held = (take("a"), take("a"));
        assert!(held.0.is_some() && held.1.is_some() && take("a").is_none());
        assert!(take("b").is_some(), "another one has its own");
        drop(held.0);
        assert!(take("a").is_some());
        drop(held.1);
        assert!(
            turns.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty(),
            "nothing is kept of those that went"
        );
    }
}
