//! Wires the controllers: watches, caches, workers, and the outcome of a reconcile that ended early.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use futures::stream::{self, BoxStream, Stream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::{broadcast, mpsc, watch};

use super::access::Key;
use super::account::users::{AccountUsers, Filled, is_user};
use super::cached::Cached;
use super::object::ObjectHandle;
use super::resource::{Lane, Object, Resource};

mod cache;
pub(super) mod concurrency;
mod freshness;
mod unreadable;

use self::cache::{Cache, Change, Seen};
use self::concurrency::{Limits, Need, with_permit};
use self::freshness::Freshness;
use self::unreadable::Unreadable;
use super::decode::Decoded;
use super::evidence::observer::{self, Observer};
use super::memory::Memory;
use super::{Context, Error, Requeue, Shutdown, account, key};
use crate::api::account::AlibabaCloudAccount;
use crate::api::disk_replica_group::DiskReplicaGroup;
use crate::api::plan::DisasterRecoveryPlan;
use crate::cloud::error::Class;
use crate::leadership::Leadership;

/// Maximum number of objects in one page of a list. Two copies of the text of a page are in memory, and an object may have more than a
/// megabyte of labels: 20 objects of 1.4 MB are 56 MB.
const PAGE_SIZE: u32 = 20;

/// Back-off after a failed watch. All triggers wait for it.
const TRIGGER_BACKOFF: Duration = Duration::from_millis(500);

/// The same back-off each time.
struct ConstantBackoff(Duration);

impl Iterator for ConstantBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.0)
    }
}

impl Backoff for ConstantBackoff {
    fn reset(&mut self) {}
}

/// One watch.
struct Watched<K: Object> {
    /// The objects to reconcile.
    changed: BoxStream<'static, Result<Cached<K>, watcher::Error>>,
    /// The cache.
    store: Store<Cached<K>>,
    /// Whether the cache is filled. The cache itself wakes only one waiter.
    filled: Filled,
    unreadable: Arc<Unreadable>,
    /// The proof that the cache is as new as the leadership.
    freshness: Arc<Freshness<K>>,
}

/// One watch and its workers.
struct Running {
    /// Ends after `shutdown`, when the reconciles in progress are finished.
    work: BoxFuture<'static, ()>,
    /// Whether the cache is filled.
    filled: Filled,
}

/// The period in which the controllers reconcile.
#[derive(Clone)]
struct Period {
    /// Reconciles begin once this process leads.
    leadership: Leadership,
    /// No reconcile begins after it.
    shutdown: Shutdown,
}

impl Running {
    /// The work, and whether the cache is filled. Work that waits for its cache would miss `shutdown`: it ends at once, since
    /// no reconcile is in progress.
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

/// Runs every controller until `shutdown`, then waits for the reconciles in progress. Calls `ready` once the caches are filled;
/// no reconcile begins before this process leads.
pub async fn run(ctx: Arc<Context>, leadership: Leadership, shutdown: Shutdown, ready: impl FnOnce() + Send + 'static) {
    ctx.follow(leadership.clone());
    let period = Period { leadership, shutdown: shutdown.clone() };
    let (plans, mut running) = managed::<DisasterRecoveryPlan>(&ctx, &period);
    let (groups, more) = managed::<DiskReplicaGroup>(&ctx, &period);
    running.extend(more);
    let filled = running.iter().map(|it| it.filled.clone()).collect();
    running.extend(accounts(&ctx, &period, AccountUsers { plans, groups, filled }));
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

/// The watched namespaces; `None` stands for all.
fn namespaces(ctx: &Context) -> Vec<Option<String>> {
    let namespaces = &ctx.settings.namespaces;
    if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() }
}

/// The controllers of a kind with a side in the cloud, their caches, and the reads between reconciles.
fn managed<K: Resource>(ctx: &Arc<Context>, period: &Period) -> (Vec<Store<Cached<K>>>, Vec<Running>) {
    let leadership = &period.leadership;
    let watch = |namespace| watched::<K>(namespace, ctx, leadership);
    let watched: Vec<_> = namespaces(ctx).into_iter().map(watch).collect();
    let stores: Vec<_> = watched.iter().map(|it| it.store.clone()).collect();
    let filled: Vec<_> = watched.iter().map(|it| it.filled.clone()).collect();
    let (wakes, woken): (Vec<_>, Vec<_>) = stores.iter().map(|_| mpsc::unbounded_channel()).unzip();
    let cached = stores.clone();
    let find = move |object: &Key| find(&cached, object);
    let wake = move |(namespace, name): &Key| {
        for wake in &wakes {
            wake.send(ObjectRef::new(name).within(namespace)).unwrap_or_default();
        }
    };
    let observer = Arc::new(Observer::new(ctx.clone(), find, wake));
    // Each controller holds one end until its reconciles are finished.
    let (alive, mut ended) = mpsc::channel::<()>(1);
    let control = |(watched, mut woken): (Watched<K>, mpsc::UnboundedReceiver<ObjectRef<Cached<K>>>)| {
        let (store, filled) = (watched.store.clone(), watched.filled.clone());
        // An object of another namespace has its own controller.
        let cached = store.clone();
        let woken = stream::poll_fn(move |cx| woken.poll_recv(cx))
            .filter(move |object| futures::future::ready(cached.get(object).is_some()));
        let triggers = stream::select(account_triggers(ctx, store), woken);
        let observer = observer.clone();
        let reconcile = move |object: Arc<K>, ctx| {
            let observer = observer.clone();
            async move {
                let key = (object.namespace().unwrap_or_default(), object.name_any());
                // The observer reads and expires also what a reconcile leaves that panics.
                let outcome = guarded(Box::pin(super::reconcile(object, ctx))).await;
                observer.reconciled(&key);
                outcome
            }
        };
        let (control, alive) =
            (control(watched, triggers, ctx.clone(), period.clone(), need::<K>, reconcile), alive.clone());
        let work = async move {
            let _alive = alive;
            control.await;
        };
        Running { work: work.boxed(), filled }
    };
    let mut running: Vec<_> = watched.into_iter().zip(woken).map(control).collect();
    let (all, Period { leadership, shutdown }) = (stores.clone(), period.clone());
    let objects = move || {
        let all = all.iter().flat_map(Store::state);
        all.map(|object| object.key()).collect()
    };
    let first = filled.first().cloned();
    let all_filled = async move {
        for mut filled in filled {
            // A watch that ends fills nothing: the process is ending.
            if filled.wait_for(|filled| *filled).await.is_err() {
                futures::future::pending::<()>().await;
            }
        }
    };
    drop(alive);
    let finished = async move {
        ended.recv().await;
    };
    let period = observer::Period { leadership, filled: all_filled, shutdown, finished };
    let observe = observer.observe(period, objects).boxed();
    running.extend(first.map(|filled| Running { work: observe, filled }));
    (stores, running)
}

/// An object in the caches of its kind.
fn find<K: Object>(stores: &[Store<Cached<K>>], (namespace, name): &Key) -> Option<Arc<Cached<K>>> {
    let reference = ObjectRef::new(name).within(namespace);
    stores.iter().find_map(|store| store.get(&reference))
}

/// What a reconcile of an object needs a permit for. A takeover does not wait behind calls to the cloud.
fn need<K: Resource>(object: &Arc<K>, ctx: &Context) -> Need {
    let namespace = object.namespace().unwrap_or_default();
    let handle = ObjectHandle::new(ctx, object.clone());
    match handle.only_takes_over() {
        true => Need { lane: Lane::default(), namespace, polls: false },
        false => Need { lane: object.management().lane(&namespace), namespace, polls: handle.settled() },
    }
}

/// The objects in a store whose account triggers its users.
fn account_triggers<K: Resource>(
    ctx: &Context,
    store: Store<Cached<K>>,
) -> impl Stream<Item = ObjectRef<Cached<K>>> + Send + 'static + use<K> {
    received(ctx.accounts.user_triggers()).flat_map(move |account| {
        let users = store.state().into_iter();
        let users = users.filter(move |object| account.as_ref().is_none_or(|account| is_user(object, account)));
        stream::iter(users.map(|object| object.reference()))
    })
}

/// The controllers of accounts.
fn accounts(ctx: &Arc<Context>, period: &Period, users: AccountUsers) -> Vec<Running> {
    let users = Arc::new(users);
    let control = |namespace| {
        let watched = watched::<AlibabaCloudAccount>(namespace, ctx, &period.leadership);
        let (store, filled) = (watched.store.clone(), watched.filled.clone());
        let (users, accounts) = (users.clone(), store.clone());
        let triggers = received(ctx.accounts.triggers()).flat_map(move |account| {
            let named = |object: &Cached<AlibabaCloudAccount>| {
                // An account of another namespace has its own controller.
                account.as_ref().is_none_or(|account| object.key() == *account)
            };
            let all: Vec<_> = accounts.state().into_iter().filter(|it| named(it)).map(|it| it.reference()).collect();
            stream::iter(all)
        });
        let reconcile = move |object, ctx| account::reconcile(object, ctx, users.clone());
        let need = |object: &Arc<AlibabaCloudAccount>, _: &Context| Need {
            lane: Lane::default(),
            namespace: object.namespace().unwrap_or_default(),
            polls: false,
        };
        let work = control(watched, triggers, ctx.clone(), period.clone(), need, reconcile).boxed();
        (store, Running { work, filled })
    };
    let (stores, running): (Vec<_>, Vec<_>) = namespaces(ctx).into_iter().map(control).unzip();
    ctx.accounts.look_up_by(move |account| find(&stores, account)?.object());
    running
}

/// Watches the objects of a kind.
fn watched<K: Object>(namespace: Option<String>, ctx: &Arc<Context>, leadership: &Leadership) -> Watched<K> {
    let api: Api<Decoded<K>> = match &namespace {
        Some(namespace) => Api::namespaced(ctx.client.clone(), namespace),
        None => Api::all(ctx.client.clone()),
    };
    let config = watcher::Config::default().page_size(PAGE_SIZE);
    let config = ctx.settings.selector_of::<K>().iter().fold(config, |config, labels| config.labels(labels));
    let (mut cache, (fill, filled)) = (Cache::<K>::new(), watch::channel(false));
    let (ctx, store) = (ctx.clone(), cache.store().clone());
    let unreadable = Arc::new(Unreadable::new(ctx.clone(), K::KIND));
    let freshness = Arc::new(Freshness::new(ctx.clone(), leadership.clone(), namespace, store.clone()));
    let (reports, proof) = (unreadable.clone(), freshness.clone());
    let changed = watcher(api, config).default_backoff().map_ok(move |event| {
        let listed = matches!(event, watcher::Event::InitDone);
        proof.before(&event);
        let mut applied = cache.apply(event);
        if !applied.reconcile.is_empty()
            && let [change] = &applied.changes[..]
            && is_noted(&ctx, change)
        {
            applied.reconcile.clear();
        }
        for change in &applied.changes {
            let (before, after) = (change.before.as_ref(), change.after.as_ref());
            reports.update(&change.name, before.and_then(Seen::report), after.and_then(Seen::report));
            handle_change(&ctx, change);
        }
        if listed {
            proof.listed();
            fill.send_if_modified(|filled| !std::mem::replace(filled, cache.is_filled()));
        }
        stream::iter(applied.reconcile.into_iter().map(|object| Ok(Arc::unwrap_or_clone(object))))
    });
    Watched { changed: changed.try_flatten().boxed(), store, filled, unreadable, freshness }
}

/// Whether an event shows what a reconcile of this process noted on its object: it knows that, and no further one is needed.
fn is_noted<K: Object>(ctx: &Context, change: &Change<K>) -> bool {
    let (before, after) =
        (change.before.as_ref().and_then(Seen::readable), change.after.as_ref().and_then(Seen::readable));
    before.zip(after).is_some_and(|(before, after)| {
        let (namespace, name) = &change.name;
        let [was, is] = [before, after].map(|it| it.version().unwrap_or_default());
        let wrote = |memory: &mut Memory| memory.replaced.contains(was) && memory.replaced.has_written(is);
        before.differs_in_notes(after) && ctx.recall(&key(K::KIND, namespace, name), wrote).unwrap_or_default()
    })
}

/// Forgets an object that is gone or does not parse, since no reconcile follows, and of another one what only a later cache needs.
/// Triggers the accounts whose number of users changed.
fn handle_change<K: Object>(ctx: &Context, change: &Change<K>) {
    let (namespace, name) = &change.name;
    let (before, after) =
        (change.before.as_ref().and_then(Seen::readable), change.after.as_ref().and_then(Seen::readable));
    match after {
        Some(object) => {
            let version = object.version().unwrap_or_default();
            ctx.recall(&key(K::KIND, namespace, name), |memory| memory.shown(version));
        }
        None => ctx.forget(K::KIND, namespace, name),
    }
    let (before, after) = (before.and_then(|it| it.account()), after.and_then(|it| it.account()));
    if before != after {
        for account in [before, after].into_iter().flatten() {
            ctx.accounts.trigger((namespace.clone(), account.to_owned()));
        }
    }
}

/// The received triggers. `None` stands for all that were missed: each account may be among them.
fn received(receiver: broadcast::Receiver<Key>) -> impl Stream<Item = Option<Key>> + Send + 'static {
    stream::unfold(receiver, |mut receiver| async move {
        match receiver.recv().await {
            Ok(key) => Some((Some(key), receiver)),
            Err(broadcast::error::RecvError::Lagged(_)) => Some((None, receiver)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    })
}

async fn control<K, R>(
    watched: Watched<K>,
    triggers: impl Stream<Item = ObjectRef<Cached<K>>> + Send + 'static,
    ctx: Arc<Context>,
    period: Period,
    need: impl Fn(&Arc<K>, &Context) -> Need + Copy + Send + Sync + 'static,
    reconcile: impl Fn(Arc<K>, Arc<Context>) -> R + Clone + Send + Sync + 'static,
) where
    K: Object,
    R: Future<Output = Result<Action, Error>> + Send + 'static,
{
    let Watched { changed, store, filled, unreadable, freshness } = watched;
    let (limits, mut begun) = Limits::new(&ctx.settings);
    let (context, limits, newest) = (ctx.clone(), Arc::new(limits), store.clone());
    let begun = stream::poll_fn(move |cx| begun.poll_recv(cx))
        .map(|(namespace, name): Key| ObjectRef::<Cached<K>>::new(&name).within(&namespace));
    let Period { leadership, shutdown } = period;
    // The cache contains the objects of events from before this process leads.
    let (all, proof) = (store.clone(), freshness.clone());
    let all = stream::once(async move { proof.tried().await }).flat_map(move |()| {
        let all = all.state().into_iter().map(|object| object.reference());
        stream::iter(all.collect::<Vec<_>>())
    });
    let reports = unreadable.publish(leadership.clone());
    let proof = freshness.clone();
    let prove = async move {
        proof.prove(filled).await;
        futures::future::pending::<()>().await;
    };
    let permits = limits.clone();
    let reconcile = move |object: Arc<Cached<K>>, ctx: Arc<Context>| {
        let (leadership, limits, reconcile) = (leadership.clone(), permits.clone(), reconcile.clone());
        let (freshness, newest) = (freshness.clone(), newest.clone());
        async move {
            // All objects follow once the list was tried.
            if !leadership.is_leader() || !freshness.was_tried() {
                return Ok(Action::await_change());
            }
            // The object may have changed while it waited.
            let (key, reference) = (object.key(), object.reference());
            drop(object);
            // Before it is read: what this process wrote on top of that version is remembered from now on.
            let is_reconciling = |is| ctx.recall(&self::key(K::KIND, &key.0, &key.1), |memory| memory.reconciling = is);
            is_reconciling(true);
            let found = newest.get(&reference).and_then(|it| it.object());
            if found.is_none() {
                limits.forget(&key);
            }
            let begun = found.and_then(|object| Some((limits.begin(&key, need(&object, &ctx))?, object)));
            let Some((permit, object)) = begun else {
                is_reconciling(false);
                return Ok(Action::await_change());
            };
            let outcome = Box::pin(with_permit(permit, measured(object, ctx.clone(), reconcile))).await;
            is_reconciling(false);
            if newest.get(&reference).is_none() {
                // It left the cache meanwhile.
                ctx.forget(K::KIND, &key.0, &key.1);
            }
            outcome
        }
    };
    let reconciles = Controller::for_stream(changed, store)
        // The watch has its own back-off. A second, longer one would delay the other triggers.
        .trigger_backoff(ConstantBackoff(TRIGGER_BACKOFF))
        .reconcile_on(triggers)
        .reconcile_on(all)
        .reconcile_on(begun)
        .graceful_shutdown_on(shutdown)
        .run(reconcile, failed, ctx)
        .for_each(|outcome| {
            if let Err(error) = outcome {
                log_failure::<K>(&error, &context, &limits);
            }
            futures::future::ready(())
        });
    // The first ends at `shutdown`, the others never.
    tokio::select! { () = reconciles => {}, () = reports => {}, () = prove => {} }
}

/// Logs failures outside of a reconcile, and forgets objects that were deleted without a finalizer.
fn log_failure<K: Object>(error: &controller::Error<Error, watcher::Error>, ctx: &Context, limits: &Limits) {
    match error {
        controller::Error::ReconcilerFailed(..) => {}
        controller::Error::ObjectNotFound(gone) => {
            let namespace = gone.namespace.as_deref().unwrap_or_default();
            ctx.forget(K::KIND, namespace, &gone.name);
            limits.forget(&(namespace.to_owned(), gone.name.clone()));
        }
        _ => {
            tracing::error!(%error, "cannot watch: are the definitions installed, and may the operator read them?");
        }
    }
}

async fn measured<K: Object, R>(
    object: Arc<K>,
    ctx: Arc<Context>,
    reconcile: impl Fn(Arc<K>, Arc<Context>) -> R,
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
    let started = Instant::now();
    let outcome = guarded(Box::pin(reconcile(object, ctx.clone()))).instrument(span).await;
    let result = match &outcome {
        Ok(_) => "success",
        Err(Error::Panicked) => "panic",
        Err(_) => "error",
    };
    ctx.metrics.reconciled(K::KIND, result, started.elapsed());
    outcome
}

/// A reconcile that panics fails: it ends neither the process nor the reconciles of others.
async fn guarded<T>(reconcile: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    AssertUnwindSafe(reconcile).catch_unwind().await.unwrap_or(Err(Error::Panicked))
}

/// When to reconcile again after a reconcile that ended early.
fn failed<K: Object>(object: Arc<Cached<K>>, error: &Error, ctx: Arc<Context>) -> Action {
    let (namespace, name) = object.key();
    let key = key(K::KIND, &namespace, &name);
    match error {
        Error::Conflict => {
            tracing::debug!(key, "object changed while it was worked on");
            // The cache gets the new version in a moment. A slow cache must not cause a hot loop.
            let times = ctx.remember(&key, |memory| {
                memory.failures += 1;
                memory.failures
            });
            Action::requeue(Duration::from_millis(100 << times.min(8)))
        }
        Error::Gone => {
            ctx.forget(K::KIND, &namespace, &name);
            // The watch may show it all the same. Where it does not, nothing happens then.
            Action::requeue(ctx.settings.poll_interval)
        }
        Error::Kubernetes { .. } | Error::Slow { .. } | Error::OldDefinition { .. } | Error::Panicked => {
            tracing::error!(key, %error, "pass failed");
            ctx.requeue(&key, ctx.settings.poll_interval, &Requeue::Retry(Class::Unavailable))
        }
    }
}

/// Makes a shutdown signal of any future.
pub fn shutdown(signal: impl Future<Output = ()> + Send + 'static) -> Shutdown {
    signal.boxed().shared()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_of_a_reconcile_is_its_failure() {
        let outcome = guarded::<()>(async { panic!("a defect") }).await;
        assert!(matches!(outcome, Err(Error::Panicked)));
        assert!(guarded(async { Ok(7) }).await.is_ok_and(|it| it == 7));
    }
}
