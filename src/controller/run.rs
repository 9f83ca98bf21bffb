//! Runs the controllers: watches, workers, and what becomes of a pass that ended early.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, Shared};
use futures::{FutureExt, StreamExt};
use kube::api::Api;
use kube::core::NamespaceResourceScope;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Predicate, WatchStreamExt, predicates, reflector, watcher};
use kube::{Resource, ResourceExt};

use super::{Context, Error, Next, plan};
use crate::api::plan::DisasterRecoveryPlan;
use crate::cloud::error::Class;

/// A signal that every controller waits for.
pub type Shutdown = Shared<BoxFuture<'static, ()>>;

/// Runs every controller until `shutdown`, then lets the passes in hand finish. `ready` is called once the caches are
/// filled.
pub async fn run(ctx: Arc<Context>, shutdown: Shutdown, ready: impl FnOnce() + Send + 'static) {
    let namespaces = &ctx.settings.namespaces;
    let apis: Vec<Api<DisasterRecoveryPlan>> = match namespaces.is_empty() {
        true => vec![Api::all(ctx.client.clone())],
        false => namespaces.iter().map(|name| Api::namespaced(ctx.client.clone(), name)).collect(),
    };
    let mut filled = Vec::new();
    let mut running = Vec::new();
    for api in apis {
        let (store, writer) = reflector::store::<DisasterRecoveryPlan>();
        filled.push(store.clone());
        running.push(control(api, store, writer, ctx.clone(), shutdown.clone()));
    }
    let signal = async move {
        for store in filled {
            if store.wait_until_ready().await.is_err() {
                return;
            }
        }
        ready();
    };
    let until = shutdown.clone();
    let signal = async move {
        tokio::select! { () = signal => {}, () = until => {} }
    };
    futures::join!(futures::future::join_all(running), signal);
}

async fn control(
    api: Api<DisasterRecoveryPlan>,
    store: reflector::Store<DisasterRecoveryPlan>,
    writer: reflector::store::Writer<DisasterRecoveryPlan>,
    ctx: Arc<Context>,
    shutdown: Shutdown,
) {
    let config = ctx.settings.selector.iter().fold(watcher::Config::default(), |config, labels| config.labels(labels));
    let changed = predicates::generation::<DisasterRecoveryPlan>;
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
        .run(measured, failed, ctx)
        .for_each(|outcome| {
            told(&outcome, &seen);
            futures::future::ready(())
        })
        .await;
}

/// Logs what no pass can tell of, and drops what is known of objects that went without a finalizer.
fn told<K: Resource<DynamicType = ()>>(
    outcome: &Result<(ObjectRef<K>, Action), controller::Error<Error, watcher::Error>>,
    ctx: &Context,
) {
    match outcome {
        Ok(_) | Err(controller::Error::ReconcilerFailed(..)) => {}
        Err(controller::Error::ObjectNotFound(gone)) => {
            ctx.forget(gone.namespace.as_deref().unwrap_or_default(), &gone.name);
        }
        Err(error) => {
            tracing::error!(%error, "cannot watch: are the definitions installed, and may the operator read them?");
        }
    }
}

async fn measured(object: Arc<DisasterRecoveryPlan>, ctx: Arc<Context>) -> Result<Action, Error> {
    use tracing::Instrument;
    let span = tracing::info_span!(
        "pass",
        kind = "DisasterRecoveryPlan",
        namespace = object.namespace(),
        object = object.name_any(),
        generation = object.metadata.generation
    );
    let started = Instant::now();
    let outcome = plan::reconcile(object, ctx.clone()).instrument(span).await;
    let result = if outcome.is_ok() { "success" } else { "error" };
    ctx.metrics.reconciled("DisasterRecoveryPlan", result, started.elapsed());
    outcome
}

/// What becomes of a pass that ended early.
fn failed<K>(object: Arc<K>, error: &Error, ctx: Arc<Context>) -> Action
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let key = format!("{namespace}/{name}");
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
