//! Runs the controllers: watches, workers, and what becomes of a pass that ended early.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, Shared, join_all};
use futures::{FutureExt, StreamExt};
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Predicate, WatchStreamExt, predicates, reflector, watcher};
use tokio::sync::Semaphore;

use super::kind::Kind;
use super::{Context, Error, Next, key, pipeline};
use crate::api::disk_replica_group::DiskReplicaGroup;
use crate::api::plan::DisasterRecoveryPlan;
use crate::cloud::error::Class;

/// A signal that every controller waits for.
pub type Shutdown = Shared<BoxFuture<'static, ()>>;

/// One watch and its workers.
struct Running {
    /// Ends after `shutdown`, when the passes in hand are finished.
    work: BoxFuture<'static, ()>,
    /// Ends when the cache is filled, or with `false` when it never will be.
    filled: BoxFuture<'static, bool>,
}

/// Runs every controller until `shutdown`, then lets the passes in hand finish. `ready` is called once the caches are
/// filled.
pub async fn run(ctx: Arc<Context>, shutdown: Shutdown, ready: impl FnOnce() + Send + 'static) {
    let kinds =
        [controllers::<DisasterRecoveryPlan>(&ctx, &shutdown), controllers::<DiskReplicaGroup>(&ctx, &shutdown)];
    let (running, filled): (Vec<_>, Vec<_>) = kinds.into_iter().flatten().map(|it| (it.work, it.filled)).unzip();
    let signal = async move {
        if join_all(filled).await.into_iter().all(|filled| filled) {
            ready();
        }
    };
    let until = shutdown.clone();
    let signal = async move {
        tokio::select! { () = signal => {}, () = until => {} }
    };
    futures::join!(join_all(running), signal);
}

/// The controllers of a kind: one for all namespaces, or one for each of those that are watched.
fn controllers<K: Kind>(ctx: &Arc<Context>, shutdown: &Shutdown) -> Vec<Running> {
    let namespaces = &ctx.settings.namespaces;
    let apis: Vec<Api<K>> = match namespaces.is_empty() {
        true => vec![Api::all(ctx.client.clone())],
        false => namespaces.iter().map(|name| Api::namespaced(ctx.client.clone(), name)).collect(),
    };
    // One fewer than there are workers. A kind whose cloud is slow does not take the turns of another.
    let polls = Arc::new(Semaphore::new(usize::from(ctx.settings.workers.saturating_sub(1).max(1))));
    let control = |api| {
        let (store, writer) = reflector::store::<K>();
        let cache = store.clone();
        let work = control(api, store, writer, ctx.clone(), polls.clone(), shutdown.clone()).boxed();
        Running { work, filled: async move { cache.wait_until_ready().await.is_ok() }.boxed() }
    };
    apis.into_iter().map(control).collect()
}

async fn control<K: Kind>(
    api: Api<K>,
    store: reflector::Store<K>,
    writer: reflector::store::Writer<K>,
    ctx: Arc<Context>,
    polls: Arc<Semaphore>,
    shutdown: Shutdown,
) {
    let config = ctx.settings.selector.iter().fold(watcher::Config::default(), |config, labels| config.labels(labels));
    let changed = predicates::generation::<K>;
    let trigger = watcher(api, config).default_backoff().reflect(writer).applied_objects().predicate_filter(
        // Status writes are our own; annotations ask for work; the last finalizer's end is the object's end.
        changed.combine(predicates::annotations).combine(predicates::finalizers),
        Default::default(),
    );
    let workers = controller::Config::default().concurrency(ctx.settings.workers);
    let seen = ctx.clone();
    Controller::for_stream(trigger, store)
        .with_config(workers)
        .graceful_shutdown_on(shutdown)
        .run(move |object, ctx| measured(object, ctx, polls.clone()), failed, ctx)
        .for_each(|outcome| {
            told::<K>(&outcome, &seen);
            futures::future::ready(())
        })
        .await;
}

/// Logs what no pass can tell of, and drops what is known of objects that went without a finalizer.
fn told<K: Kind>(outcome: &Result<(ObjectRef<K>, Action), controller::Error<Error, watcher::Error>>, ctx: &Context) {
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

async fn measured<K: Kind>(object: Arc<K>, ctx: Arc<Context>, polls: Arc<Semaphore>) -> Result<Action, Error> {
    use tracing::Instrument;
    let span = tracing::info_span!(
        "pass",
        kind = K::KIND,
        namespace = object.namespace(),
        object = object.name_any(),
        generation = object.meta().generation
    );
    let started = Instant::now();
    let outcome = pipeline::reconcile(object, ctx.clone(), polls).instrument(span).await;
    let result = if outcome.is_ok() { "success" } else { "error" };
    ctx.metrics.reconciled(K::KIND, result, started.elapsed());
    outcome
}

/// What becomes of a pass that ended early.
fn failed<K: Kind>(object: Arc<K>, error: &Error, ctx: Arc<Context>) -> Action {
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
