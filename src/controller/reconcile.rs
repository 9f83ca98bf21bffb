//! The pipeline of every kind: watch → observe → decide → act → status. What sets a kind apart, [`Resource`] says.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::controller::Action;

use super::access::{Access, AccountError};
use super::decision::Verdict;
use super::object::ObjectHandle;
use super::resource::{EventRecord, LONGEST_PAUSE, Release, Report, Resource, Scope};
use super::runtime::concurrency::{self, PollLimit};
use super::{Context, Error, Requeue, conditions, ownership};
use crate::api::condition::synced;
use crate::cloud::credentials::CredentialsError;
use crate::cloud::error::{self, Class};
use crate::cloud::operation::ApiOperation;
use crate::cloud::rate_limit::Priority;
use crate::controller::conditions::ConditionState;

/// No observation takes longer, but for a long poll interval.
const LONGEST_OBSERVATION: Duration = Duration::from_secs(120);
/// Nor with one: whoever waits that long holds a worker that others need.
const LONGEST_PATIENCE: Duration = Duration::from_secs(300);
/// After so many failures in a row, what is to be kept anyway is let go.
const FAILURES_BEFORE_LETTING_GO: u32 = 3;

/// When a poll is tried again for which no worker was free.
const POLL_AGAIN: Duration = Duration::from_millis(500);

/// Why a pass saw nothing.
enum Unseen {
    /// There are no credentials.
    Credentials(AccountError),
    /// The cloud failed.
    Cloud(error::Error),
    /// Another identity than before does not find what that one saw.
    Stranger {
        /// What it saw.
        what: String,
        /// Who saw it last, if that is known.
        last: Option<String>,
        /// Who looks now.
        identity: String,
    },
}

/// One pass over one object. `polls` are the turns of its kind's polls.
pub(super) async fn reconcile<K: Resource>(
    object: Arc<K>,
    ctx: Arc<Context>,
    polls: Arc<PollLimit>,
) -> Result<Action, Error> {
    let mut session = ObjectHandle::new(&ctx, (*object).clone());
    // One worker at least is left for edits.
    let namespace = session.object.namespace().unwrap_or_default();
    let turn = if session.settled() { Some(polls.take(namespace)) } else { None };
    if let Some(None) = turn {
        return Ok(Action::requeue(concurrency::again(POLL_AGAIN)));
    }
    session.catch_up().await?;
    let next = pass(&mut session).await?;
    Ok(ctx.requeue(&session.key(), session.poll_interval(), &next))
}

async fn pass<K: Resource>(session: &mut ObjectHandle<'_, K>) -> Result<Requeue, Error> {
    let deleting = session.deleting();
    if deleting && !session.has_finalizer() {
        session.forget();
        return Ok(Requeue::AwaitChange);
    }
    let observing = session.object.observing();
    if session.object.suspended() {
        session.measure(None);
        write(session, &Report::Suspended, None).await?;
        return Ok(Requeue::AwaitChange);
    }
    if deleting && observing {
        let held = K::holds(&session.subject());
        let left = Release::Kept(format!("the {} was left with what was under way in it, unlooked at", K::NOUN));
        return release(session, if held { left } else { Release::Gone }).await;
    }
    if !observing && !deleting && !session.has_finalizer() {
        session.add_finalizer().await?;
    }
    let priority = if session.settled() { Priority::Poll } else { Priority::Edit };
    let namespace = session.object.namespace().unwrap_or_default();
    let access = match session.ctx.accounts.access(&namespace, session.object.account()).await {
        Ok(access) => access,
        Err(error) => return unseen(session, Unseen::Credentials(error)).await,
    };
    let cloud = session.object.cloud(&access, priority);
    // What takes that long is old before it is whole, and others wait for their turn.
    let longest = LONGEST_OBSERVATION.max((session.poll_interval() * 2).min(LONGEST_PATIENCE));
    let subject = session.subject();
    match tokio::time::timeout(longest, K::observe(&subject, session.ctx, &cloud)).await {
        Ok(Ok(seen)) => run(session, &access, &cloud, seen).await,
        Ok(Err(error)) => unseen(session, Unseen::Cloud(error)).await,
        Err(_) => {
            let message = format!("the {} could not be read whole within {} s", K::NOUN, longest.as_secs());
            let (class, operation, code) = (Class::Unavailable, ApiOperation::Observation, "TooSlow".into());
            unseen(session, Unseen::Cloud(error::Error { class, operation, code, message, request_id: None })).await
        }
    }
}

/// Decides, writes down what must survive a crash, acts, and says so in status.
async fn run<K: Resource>(
    session: &mut ObjectHandle<'_, K>,
    access: &Access,
    cloud: &K::Cloud,
    seen: K::Seen,
) -> Result<Requeue, Error> {
    let identity = access.identity(K::PRODUCT);
    if let Some((what, last)) = stranger::<K>(&session.subject(), &seen, &identity) {
        return unseen(session, Unseen::Stranger { what, last, identity }).await;
    }
    session.ctx.remember(&session.key(), |memory| memory.unseen = None);
    if K::whole(&seen) {
        session.seen_now();
    }
    let before = session.subject();
    let decision = K::decide(&before, &seen);
    if let Verdict::Released { left } = K::verdict(&decision) {
        return release(session, left.clone().map_or(Release::Gone, Release::Kept)).await;
    }
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    if let Some(mut status) = K::intents(&before, &decision, &nonce) {
        *K::identity(&mut status) = Some(identity.clone());
        session.write_status(status).await?;
    }
    let acted = K::act(cloud, &decision).await;
    if !before.deleting() {
        session.annotate(&K::claim(&before, &seen, &decision, &acted)).await?;
    }
    let report = Report::Ran { seen: &seen, decision: &decision, acted: &acted };
    let after = write(session, &report, Some(identity)).await?;
    for told in K::events(&before, &after, &seen, &decision, &acted) {
        if told.reason == "DriftCorrected" {
            session.ctx.metrics.drift_corrected(K::KIND, &before.namespace(), &before.name());
        }
        session.publish(&told).await;
    }
    session.measure(Some(&seen));
    if before.deleting()
        && before.object.retained()
        && !K::owes(&before)
        && !K::holds(&before)
        && let Some(error::Error { class: Class::Denied, .. }) = K::first_failure(&acted)
    {
        return release(session, kept::<K>(", since the cloud denies access")).await;
    }
    Ok(K::next(&before, &seen, &decision, &acted))
}

/// How an object goes whose mark could not be removed.
fn kept<K: Resource>(why: &str) -> Release {
    Release::Kept(format!("the {} was kept with its owner mark{why}", K::NOUN))
}

/// What is not found by another identity than the one that saw it last, and who that was. It may be there all the same, in
/// another cloud account: nothing may be made in its place, and nothing let go.
fn stranger<K: Resource>(it: &Scope<'_, K>, seen: &K::Seen, identity: &str) -> Option<(String, Option<String>)> {
    let what = K::lost(it, seen)?;
    match K::identity(&mut it.status.clone()).take() {
        Some(last) => (!ownership::same_cloud_account(&last, identity)).then_some((what, Some(last))),
        // An object from before the field: then nobody had an account.
        None => it.object.account().map(|_| (what, None)),
    }
}

/// Computes the status, writes it where it changed, and gives it. `identity` is who saw the cloud, if it was seen.
async fn write<K: Resource>(
    session: &mut ObjectHandle<'_, K>,
    report: &Report<'_, K>,
    identity: Option<String>,
) -> Result<K::Status, Error> {
    let subject = session.subject();
    let mut new = K::report(&subject, report);
    if identity.is_some() {
        *K::identity(&mut new) = identity;
    }
    if new != subject.status {
        session.write_status(new.clone()).await?;
    }
    session.ctx.metrics.conditions(K::KIND, &subject.namespace(), &subject.name(), K::conditions(&new));
    Ok(new)
}

/// When to come back to an account that gives nothing. Its own controller tells when it does again.
fn unusable(error: &AccountError) -> Requeue {
    match error.why() {
        Some(CredentialsError::Refused(_)) => Requeue::Retry(Class::Denied),
        _ if error.passing() => Requeue::Retry(Class::Unavailable),
        _ => Requeue::Poll,
    }
}

/// The pass saw nothing: say why, and come back.
async fn unseen<K: Resource>(session: &mut ObjectHandle<'_, K>, why: Unseen) -> Result<Requeue, Error> {
    let (synced, stalled, next) = match &why {
        Unseen::Credentials(error) => {
            let (statement, stalled) = conditions::unusable(error);
            (statement, stalled, unusable(error))
        }
        Unseen::Cloud(error) => {
            let (statement, stalled) = conditions::failure(error);
            (statement, stalled, Requeue::Retry(error.class))
        }
        Unseen::Stranger { what, last, identity } => {
            let last = last.as_deref().unwrap_or("another identity, perhaps the operator's own,");
            let text = format!(
                "{what} was last seen as {last} and is not found as {identity}: if that is another cloud account, set the \
                 former credentials again; if it is gone for good, set deletionPolicy: Retain, delete this object and make it \
                 anew without the annotation {}",
                K::ID_ANNOTATION
            );
            (ConditionState::no(synced::ACCOUNT_CHANGED, text), true, Requeue::Poll)
        }
    };
    if session.ctx.remember(&session.key(), |memory| memory.news(synced.reason)) {
        tracing::warn!(reason = synced.reason, error = synced.message, "cannot see the cloud");
    }
    let subject = session.subject();
    let deleting = subject.deleting();
    // What was stopped for this object's sake is not left so without need.
    let since = subject.deleting_since().map(|it| subject.now.duration_since(it));
    let waited = since.is_some_and(|since| since.unsigned_abs() > LONGEST_PAUSE);
    // What a person has to mend, and not what mends itself.
    let denied = match &why {
        Unseen::Credentials(error) => !error.passing(),
        Unseen::Cloud(error) => error.class == Class::Denied,
        Unseen::Stranger { .. } => true,
    };
    // Whoever may not look for so long can clear nothing either.
    let seen = session.ctx.remember(&session.key(), |memory| memory.seen);
    let blind = seen.is_none_or(|seen| subject.now.duration_since(seen).unsigned_abs() > LONGEST_PAUSE);
    let held = K::holds(&subject) && !(waited && denied && blind);
    let owing = held || (K::owes(&subject) && !waited);
    let retained = deleting && subject.object.retained() && !owing;
    if retained && denied {
        return release(session, kept::<K>(&format!(": {}", synced.message))).await;
    }
    if deleting && !session.ever_made() {
        return release(session, Release::Kept("nothing was ever made for this object".into())).await;
    }
    let failing = session.ctx.remember(&session.key(), |memory| memory.failures) >= FAILURES_BEFORE_LETTING_GO;
    let throttled = matches!(&why, Unseen::Cloud(error::Error { class: Class::Throttled { .. }, .. }));
    if retained && failing && !throttled {
        let why = format!(", since it could not be reached: {}", synced.message);
        return release(session, kept::<K>(&why)).await;
    }
    if !session.fresh() {
        session.measure(None);
    }
    write(session, &Report::Failed { synced: &synced, stalled }, None).await?;
    let left = since.map(|since| LONGEST_PAUSE.saturating_sub(since.unsigned_abs()));
    Ok(match left {
        Some(left) if next == Requeue::Poll && !left.is_zero() => Requeue::PollWithin(left),
        _ => next,
    })
}

/// Lets the object go.
async fn release<K: Resource>(session: &mut ObjectHandle<'_, K>, how: Release) -> Result<Requeue, Error> {
    let told = match how {
        Release::Kept(note) => EventRecord::normal("Retained", "Release", note),
        Release::Gone => EventRecord::normal("Deleted", K::DELETION, "the cloud side is gone".into()),
    };
    session.remove_finalizer().await?;
    // Of what is only looked at, nothing is told but what is left behind.
    if told.reason == "Retained" || !session.object.observing() {
        session.publish(&told).await;
    }
    session.forget();
    Ok(Requeue::AwaitChange)
}
