//! The reconcile of every kind: observe → decide → act → status. Deletion, retention, credentials and failures are the same for
//! all kinds; [`Resource`] has the differences.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::controller::Action;
use tokio::time::Instant;

use super::access::Access;
use super::events::Change;
use super::first_reads::read_first;
use super::object::{ObjectHandle, Since};
use super::release::{Release, kept, release, unattended};
use super::resource::{Annotations, Decision, Ran, RemoteState, Resource};
use super::runtime::concurrency::give_way;
use super::steps::{act, first_failure, skip};
use super::unobserved::{Unobserved, account_changed, unobserved};
use super::verdict::Verdict;
use super::{Context, Error, Requeue, status};
use crate::cloud::error::{self, Class};
use crate::cloud::operation::ApiOperation;
use crate::cloud::rate_limit::Priority;

/// Minimum of the time limit for one observation; it grows with the poll interval.
const OBSERVATION_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum time limit for one observation: other objects need the worker.
const MAX_OBSERVATION_TIMEOUT: Duration = Duration::from_secs(300);
/// Time after which the parts of a new cloud side may have started.
const TIME_TO_START: Duration = Duration::from_millis(600);
/// Maximum time for the observation after that: the status after the creation waits for it.
const SECOND_OBSERVATION_TIMEOUT: Duration = Duration::from_secs(1);

/// The end of a reconcile.
struct Concluded<K: Resource> {
    /// The status after the steps.
    status: K::Status,
    /// When to reconcile again.
    requeue: Requeue,
    /// The annotations to write before that status.
    annotations: Annotations,
}

/// The second observation of a reconcile that created a cloud side: it found it as the spec says.
struct Second<K: Resource> {
    /// The object with the status after the creation.
    object: Arc<K>,
    observed: K::Observed,
    decision: Decision<K>,
    concluded: Concluded<K>,
}

impl<K: Resource> Second<K> {
    fn ran(&self) -> Ran<'_, K> {
        Ran { observed: &self.observed, decision: &self.decision, acted: &[] }
    }
}

/// Reconciles one object.
pub async fn reconcile<K: Resource>(object: Arc<K>, ctx: Arc<Context>) -> Result<Action, Error> {
    let mut handle = ObjectHandle::new(&ctx, object);
    ctx.remember(&handle.key(), |memory| memory.reconciling = true);
    let outcome = attempt(&mut handle).await;
    ctx.recall(&handle.key(), |memory| memory.reconciling = false);
    Ok(ctx.requeue(&handle.key(), handle.poll_interval(), &outcome?))
}

async fn attempt<K: Resource>(handle: &mut ObjectHandle<'_, K>) -> Result<Requeue, Error> {
    handle.catch_up().await?;
    run(handle).await
}

async fn run<K: Resource>(handle: &mut ObjectHandle<'_, K>) -> Result<Requeue, Error> {
    let deleting = handle.deleting();
    if deleting && !handle.has_finalizer() {
        handle.forget();
        return Ok(Requeue::AwaitChange);
    }
    if let Some(requeue) = handle.take_over().await? {
        handle.measure(None);
        handle.export_conditions(handle.scope(&handle.object).status);
        return Ok(requeue);
    }
    let object = handle.object.clone();
    let management = object.management();
    if management.suspend {
        handle.measure(None);
        let status = handle.scope(&object).suspended();
        handle.write(status).await?;
        return Ok(Requeue::AwaitChange);
    }
    if deleting && management.observe_only {
        let remote = K::remote(&handle.scope(&object), None);
        let left = remote.must_clear || remote.owes_restart;
        return release(handle, if left { unattended::<K>() } else { Release::Gone }).await;
    }
    if !management.observe_only && !deleting && !handle.has_finalizer() {
        handle.add_finalizer().await?;
    }
    let access = match handle.ctx.accounts.access(&handle.namespace(), management.account).await {
        Ok(access) => access,
        Err(error) => return unobserved(handle, Unobserved::Credentials(error)).await,
    };
    let priority = if handle.settled() { Priority::Sample } else { Priority::Change };
    let cloud = handle.object.cloud(&access, priority);
    let started = handle.ctx.clock.now();
    match observe(handle, &cloud).await {
        Ok(observed) => decide_and_act(handle, &access, observed, started).await,
        Err(error) => {
            handle.not_observed(error.class);
            unobserved(handle, Unobserved::Cloud(error)).await
        }
    }
}

/// Observes within a time limit: a longer observation would be old before it is complete.
async fn observe<K: Resource>(handle: &ObjectHandle<'_, K>, cloud: &K::Cloud) -> Result<K::Observed, error::Error> {
    let timeout = OBSERVATION_TIMEOUT.max((handle.poll_interval() * 2).min(MAX_OBSERVATION_TIMEOUT));
    let scope = handle.scope(&handle.object);
    let observation = tokio::time::timeout(timeout, K::observe(&scope, handle.ctx, cloud));
    observation.await.unwrap_or_else(|_| {
        let message = format!("the {} could not be read whole within {} s", K::DESCRIPTOR.noun, timeout.as_secs());
        let (class, operation, code) = (Class::Unavailable, ApiOperation::Observation, "TooSlow".into());
        Err(error::Error { class, operation, code, message, request_id: None })
    })
}

/// Decides, writes the intents that must survive a crash, acts, and writes status.
async fn decide_and_act<K: Resource>(
    handle: &mut ObjectHandle<'_, K>,
    access: &Access,
    observed: K::Observed,
    started: Timestamp,
) -> Result<Requeue, Error> {
    let identity = access.identity(K::DESCRIPTOR.product);
    handle.recall(&identity);
    let object = handle.object.clone();
    let remote = K::remote(&handle.scope(&object), Some(&observed));
    if let Some(changed) = account_changed(&handle.scope(&object), &remote, &identity) {
        return unobserved(handle, changed).await;
    }
    handle.ctx.remember(&handle.key(), |memory| memory.logged_failure = None);
    learn(handle, access, &remote, &observed, started);
    let decision = K::decide(&handle.scope(&object), &observed);
    if let Verdict::Released { left } = &decision.verdict {
        return release(handle, left.clone().map_or(Release::Gone, Release::Kept)).await;
    }
    let object = handle.take_over_refreshed(object);
    if let Some(intents) = &decision.intents {
        let mut status = intents.as_ref().clone();
        status.as_mut().identity = Some(identity.clone());
        let scope = handle.scope(&handle.object);
        status.as_mut().conditions.clone_from(&scope.head().conditions);
        // The steps may take longer than the evidence of a condition lasts.
        if !status.as_mut().conditions.is_empty() {
            K::refresh(&scope, &mut status);
        }
        K::settle_tasks(&scope, &mut status);
        let records = K::refreshed_events(&scope, &status);
        handle.write_status(status).await?;
        for record in &records {
            handle.publish(record).await;
        }
    }
    let held = match decision.steps.is_empty() {
        true => access.clone(),
        false => {
            handle.sign().await?;
            access.while_held(handle.hold().await?)
        }
    };
    // A correction does not wait behind samples.
    let cloud = handle.object.cloud(&held, Priority::Change);
    let (mut acted, started) = (Vec::with_capacity(decision.steps.len()), Instant::now());
    while acted.len() < decision.steps.len() {
        act(&cloud, &decision.steps, &mut acted, started).await;
        if handle.annotate(&K::answers(&acted)).await? == Since::Edited {
            // The next reconcile decides by the new spec.
            skip(&decision.steps, &mut acted);
        }
    }
    let in_sync = decision.verdict == Verdict::InSync && decision.steps.is_empty();
    if in_sync && !handle.scope(&handle.object).synced_before() {
        read_first(handle, access).await;
    }
    // The events of conditions that changed between reconciles are published.
    let object = handle.take_over_refreshed(object);
    let ran = Ran { observed: &observed, decision: &decision, acted: &acted };
    let first = conclude(handle, &ran, identity.clone());
    let created = !K::answers(&acted).is_empty() && acted.iter().all(|it| it.effect().is_some());
    let second = if created { observe_again(handle, access, &first.status, identity).await } else { None };
    let last = second.as_ref().map_or(&first, |it| &it.concluded);
    let requeue = handle.proving(last.requeue);
    handle.annotate(&last.annotations).await?;
    match handle.write(last.status.clone()).await {
        // Another actor wrote the object while the steps ran, and the status has the only record of an item's ID.
        Err(Error::Conflict) if !K::answers(&acted).is_empty() => {
            handle.annotate_again(&last.annotations).await?;
            handle.write(last.status.clone()).await?;
        }
        written => written?,
    }
    publish(handle, &object, &first.status, &ran).await;
    if let Some(second) = &second {
        publish(handle, &second.object, &second.concluded.status, &second.ran()).await;
    }
    handle.measure(Some(second.as_ref().map_or(&observed, |it| &it.observed)));
    let denied = first_failure(&acted).is_some_and(|error| error.class == Class::Denied);
    if denied && handle.deleting() && object.management().retain && !remote.owes_restart && !remote.must_clear {
        return release(handle, kept::<K>(", since the cloud denies access")).await;
    }
    Ok(requeue)
}

/// Remembers an observation that began at `started`.
fn learn<K: Resource>(
    handle: &mut ObjectHandle<'_, K>,
    access: &Access,
    remote: &RemoteState,
    observed: &K::Observed,
    started: Timestamp,
) {
    handle.observed_without(remote.absent.clone(), started);
    if remote.complete {
        let inventory = access.inventory_key(K::DESCRIPTOR.product, handle.object.management().region);
        handle.observed_from(started, inventory);
    }
    handle.learn(observed, started);
}

fn conclude<K: Resource>(handle: &ObjectHandle<'_, K>, ran: &Ran<'_, K>, identity: String) -> Concluded<K> {
    let scope = handle.scope(&handle.object);
    let mut report = K::report(&scope, ran);
    let (requeue, annotations) = (report.requeue, std::mem::take(&mut report.annotations));
    let mut status = scope.concluded(report, ran);
    status.as_mut().identity = Some(identity);
    Concluded { status, requeue, annotations }
}

/// Observes once more after a creation. Where the cloud side is already as the spec says, one write of the status reports both the
/// creation and that. `None`, where the status after the creation has to be written. A crash meanwhile is one before the answers were
/// written: the intents protect it.
async fn observe_again<K: Resource>(
    handle: &mut ObjectHandle<'_, K>,
    access: &Access,
    created: &K::Status,
    identity: String,
) -> Option<Second<K>> {
    give_way();
    tokio::time::sleep(TIME_TO_START).await;
    let started = handle.ctx.clock.now();
    let cloud = handle.object.cloud(access, Priority::Change);
    // By the status after the creation, whose answers are known: nothing has to be searched for.
    let before = handle.object.clone();
    handle.assume(created.clone());
    let observed = tokio::time::timeout(SECOND_OBSERVATION_TIMEOUT, async {
        let scope = handle.scope(&handle.object);
        K::observe(&scope, handle.ctx, &cloud).await.ok()
    });
    let Some(observed) = observed.await.ok().flatten() else {
        handle.object = before;
        return None;
    };
    let remote = K::remote(&handle.scope(&handle.object), Some(&observed));
    let decision = K::decide(&handle.scope(&handle.object), &observed);
    let settled = decision.verdict == Verdict::InSync && decision.steps.is_empty() && decision.intents.is_none();
    if !settled || remote.not_found.is_some() {
        handle.object = before;
        return None;
    }
    learn(handle, access, &remote, &observed, started);
    read_first(handle, access).await;
    handle.take_over_evidence();
    let ran = Ran { observed: &observed, decision: &decision, acted: &[] };
    let concluded = conclude(handle, &ran, identity);
    Some(Second { object: handle.object.clone(), observed, decision, concluded })
}

/// Publishes the events of a reconcile that acted. `before` is the object from before the intents.
async fn publish<K: Resource>(handle: &ObjectHandle<'_, K>, before: &K, after: &K::Status, ran: &Ran<'_, K>) {
    let scope = handle.scope(before);
    if Change::new(scope.status, after).drift_corrected() {
        handle.ctx.metrics.drift_corrected(K::KIND, scope.namespace(), scope.name());
    }
    for record in status::events(&scope, after, ran) {
        handle.publish(&record).await;
    }
}
