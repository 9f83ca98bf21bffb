//! The reconcile of every kind: observe → decide → act → status. Deletion, retention, credentials and failures are the same for
//! all kinds; [`Resource`] has the differences.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::controller::Action;
use tokio::time::Instant;

use super::access::{Access, AccountError};
use super::conditions::{self, ConditionState};
use super::events::{Change, EventRecord};
use super::first_reads::read_first;
use super::object::{ObjectHandle, Since};
use super::resource::{Annotations, Decision, MAX_PAUSE, Ran, RemoteState, Resource, Scope};
use super::steps::{act, first_failure, skip};
use super::verdict::Verdict;
use super::{Context, Error, Requeue, ownership, status};
use crate::api::condition::synced;
use crate::api::event::{action, reason};
use crate::cloud::credentials::CredentialsError;
use crate::cloud::error::{self, Class};
use crate::cloud::operation::ApiOperation;
use crate::cloud::rate_limit::Priority;

/// Minimum of the time limit for one observation; it grows with the poll interval.
const OBSERVATION_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum time limit for one observation: other objects need the worker.
const MAX_OBSERVATION_TIMEOUT: Duration = Duration::from_secs(300);
/// Failures in a row after which an object with deletion policy Retain is released without an observation.
const MAX_FAILURES_BEFORE_RELEASE: u32 = 3;

/// Time after which the parts of a new cloud side may have started.
const TIME_TO_START: Duration = Duration::from_millis(600);
/// Maximum time for the observation after that: the status after the creation waits for it.
const SECOND_OBSERVATION_TIMEOUT: Duration = Duration::from_secs(1);

/// The reason why a reconcile has no observation.
enum Unobserved {
    /// The account has no usable credentials.
    Credentials(AccountError),
    /// A read failed.
    Cloud(error::Error),
    /// These credentials do not find a cloud side that other credentials found.
    AccountChanged {
        /// The cloud side that the others found.
        what: String,
        /// The credentials of the last observation, if that is known.
        last: Option<String>,
        /// The credentials of this reconcile.
        identity: String,
    },
}

/// How the operator releases an object that is being deleted.
enum Release {
    /// Its cloud side is gone.
    Gone,
    /// Its cloud side stays, with a note that says what and why.
    Kept(String),
}

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
        export(handle, handle.scope(&handle.object).status);
        return Ok(requeue);
    }
    let object = handle.object.clone();
    let management = object.management();
    if management.suspend {
        handle.measure(None);
        let status = handle.scope(&object).suspended();
        write(handle, status).await?;
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
        Err(error) => unobserved(handle, Unobserved::Cloud(error)).await,
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
    match write(handle, last.status.clone()).await {
        // Another actor wrote the object while the steps ran, and the status has the only record of an item's ID.
        Err(Error::Conflict) if !K::answers(&acted).is_empty() => {
            handle.annotate_again(&last.annotations).await?;
            write(handle, last.status.clone()).await?;
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
    tokio::time::sleep(TIME_TO_START).await;
    let started = handle.ctx.clock.now();
    let cloud = handle.object.cloud(access, Priority::Change);
    let observed = tokio::time::timeout(SECOND_OBSERVATION_TIMEOUT, async {
        let scope = handle.scope(&handle.object);
        K::observe(&scope, handle.ctx, &cloud).await.ok()
    });
    let observed = observed.await.ok()??;
    let before = handle.object.clone();
    handle.assume(created.clone());
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

/// The release of an object whose mark could not be removed.
fn kept<K: Resource>(why: &str) -> Release {
    Release::Kept(format!("the {} was kept with its owner mark{why}", K::DESCRIPTOR.noun))
}

/// The release of an object in observe mode with work in progress in the cloud.
fn unattended<K: Resource>() -> Release {
    Release::Kept(format!(
        "the {} stays with unfinished work, because managementPolicy is Observe: check for stopped items or clones of a drill in \
         the console",
        K::DESCRIPTOR.noun
    ))
}

/// Whether the credentials changed since the last observation and do not find its cloud side. The cloud side may exist in
/// another cloud account: the operator neither creates a second one nor releases the object.
fn account_changed<K: Resource>(scope: &Scope<'_, K>, remote: &RemoteState, identity: &str) -> Option<Unobserved> {
    let what = remote.not_found.clone()?;
    let last = scope.head().identity.clone();
    let changed = match &last {
        Some(last) => !ownership::same_cloud_account(last, identity),
        // The object is older than the field. At that time no object had an account.
        None => scope.object.management().account.is_some(),
    };
    changed.then(|| Unobserved::AccountChanged { what, last, identity: identity.to_owned() })
}

/// Writes a status that differs from the present one, and exports its conditions.
async fn write<K: Resource>(handle: &mut ObjectHandle<'_, K>, status: K::Status) -> Result<(), Error> {
    handle.write_changed(status.clone()).await?;
    export(handle, &status);
    Ok(())
}

fn export<K: Resource>(handle: &ObjectHandle<'_, K>, status: &K::Status) {
    let expiries = handle.scope(&handle.object).expiries();
    handle.export(&status.as_ref().conditions, &expiries);
}

impl Unobserved {
    /// `Synced`, whether a person has to act, and when to reconcile again.
    fn explain(&self, id_annotation: &str) -> (ConditionState, bool, Requeue) {
        match self {
            // The account's own controller wakes its users when the account is usable again.
            Self::Credentials(error) => {
                let (state, stalled) = conditions::unusable(error);
                let requeue = match error.why() {
                    Some(CredentialsError::Refused(_)) => Requeue::Retry(Class::Denied),
                    _ if error.passing() => Requeue::Retry(Class::Unavailable),
                    _ => Requeue::Poll,
                };
                (state, stalled, requeue)
            }
            Self::Cloud(error) => {
                let (state, stalled) = conditions::failure(error);
                (state, stalled, Requeue::Retry(error.class))
            }
            Self::AccountChanged { what, last, identity } => {
                let last = last.as_deref().unwrap_or("another identity, perhaps the operator's own,");
                let text = format!(
                    "{what} was last seen as {last} and is not found as {identity}: if that is another cloud account, set \
                     the former credentials again; if it is gone for good, set deletionPolicy: Retain, delete this object \
                     and make it anew without the annotation {id_annotation}"
                );
                (ConditionState::no(synced::ACCOUNT_CHANGED, text), true, Requeue::Poll)
            }
        }
    }

    /// Whether a person has to resolve the cause.
    fn needs_person(&self) -> bool {
        match self {
            Self::Credentials(error) => !error.passing(),
            Self::Cloud(error) => error.class == Class::Denied,
            Self::AccountChanged { .. } => true,
        }
    }

    fn is_throttled(&self) -> bool {
        matches!(self, Self::Cloud(error::Error { class: Class::Throttled { .. }, .. }))
    }
}

/// Reports a reconcile without an observation, and releases a deleted object where its deletion policy allows it.
async fn unobserved<K: Resource>(handle: &mut ObjectHandle<'_, K>, cause: Unobserved) -> Result<Requeue, Error> {
    let (synced, stalled, requeue) = cause.explain(K::DESCRIPTOR.id_annotation);
    if handle.ctx.remember(&handle.key(), |memory| memory.is_news(synced.reason)) {
        tracing::warn!(reason = synced.reason, error = synced.message, "cannot see the cloud");
    }
    if let Some(how) = release_without_observation(handle, &cause, &synced) {
        return release(handle, how).await;
    }
    handle.take_over_refreshed(handle.object.clone());
    let object = handle.object.clone();
    if !handle.scope(&object).evidence_recent() {
        handle.measure(None);
    }
    let status = handle.scope(&object).unobserved(&synced, stalled);
    write(handle, status).await?;
    let scope = handle.scope(&object);
    let waited = scope.deleting_since().map(|since| scope.now.duration_since(since).unsigned_abs());
    Ok(match waited.map(|waited| MAX_PAUSE.saturating_sub(waited)) {
        Some(left) if requeue == Requeue::Poll && !left.is_zero() => Requeue::PollWithin(left),
        _ => requeue,
    })
}

/// The release of a deleted object although the cloud cannot be read, if it is allowed.
fn release_without_observation<K: Resource>(
    handle: &ObjectHandle<'_, K>,
    cause: &Unobserved,
    synced: &ConditionState,
) -> Option<Release> {
    let scope = handle.scope(&handle.object);
    let waited = scope.now.duration_since(scope.deleting_since()?).unsigned_abs() > MAX_PAUSE;
    let memory = handle.ctx.remember(&handle.key(), |memory| memory.clone());
    let remote = K::remote(&scope, None);
    // Without credentials for that long, the operator cannot clear anything either.
    let blind = memory.observed.is_none_or(|at| scope.now.duration_since(at).unsigned_abs() > MAX_PAUSE);
    let must_clear = remote.must_clear && !(waited && cause.needs_person() && blind);
    let blocked = must_clear || (remote.owes_restart && !waited);
    let retained = scope.object.management().retain && !blocked;
    if retained && cause.needs_person() {
        return Some(kept::<K>(&format!(": {}", synced.message)));
    }
    if !handle.may_exist() {
        return Some(Release::Kept("nothing was ever made for this object".into()));
    }
    let failing = memory.failures >= MAX_FAILURES_BEFORE_RELEASE;
    (retained && failing && !cause.is_throttled())
        .then(|| kept::<K>(&format!(", since it could not be reached: {}", synced.message)))
}

/// Releases the object. In observe mode an event reports only a cloud side that stays.
async fn release<K: Resource>(handle: &mut ObjectHandle<'_, K>, how: Release) -> Result<Requeue, Error> {
    let record = match how {
        Release::Kept(note) => Some(EventRecord::normal(reason::RETAINED, action::RELEASE, note)),
        Release::Gone if handle.object.management().observe_only => None,
        Release::Gone => Some(EventRecord::normal(reason::DELETED, K::DESCRIPTOR.deletion, "the cloud side is gone")),
    };
    handle.remove_finalizer().await?;
    if let Some(record) = record {
        handle.publish(&record).await;
    }
    handle.forget();
    Ok(Requeue::AwaitChange)
}
