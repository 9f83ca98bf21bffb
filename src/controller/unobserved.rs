//! A reconcile without an observation: what it reports, when the next one follows, and whether a deleted object is released although the
//! cloud cannot be read.

use super::access::AccountError;
use super::conditions::{self, ConditionState};
use super::object::ObjectHandle;
use super::release::{Release, kept, release};
use super::resource::{MAX_PAUSE, RemoteState, Resource, Scope};
use super::{Error, Requeue, ownership};
use crate::api::condition::synced;
use crate::cloud::credentials::CredentialsError;
use crate::cloud::error::{self, Class};

/// Failures in a row after which an object with deletion policy Retain is released without an observation.
const MAX_FAILURES_BEFORE_RELEASE: u32 = 3;

/// The reason why a reconcile has no observation.
pub(super) enum Unobserved {
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

/// Whether the credentials changed since the last observation and do not find its cloud side. The cloud side may exist in
/// another cloud account: the operator neither creates a second one nor releases the object.
pub(super) fn account_changed<K: Resource>(
    scope: &Scope<'_, K>,
    remote: &RemoteState,
    identity: &str,
) -> Option<Unobserved> {
    let what = remote.not_found.clone()?;
    let last = scope.head().identity.clone();
    let changed = match &last {
        Some(last) => !ownership::same_cloud_account(last, identity),
        // The object is older than the field. At that time no object had an account.
        None => scope.object.management().account.is_some(),
    };
    changed.then(|| Unobserved::AccountChanged { what, last, identity: identity.to_owned() })
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
pub(super) async fn unobserved<K: Resource>(
    handle: &mut ObjectHandle<'_, K>,
    cause: Unobserved,
) -> Result<Requeue, Error> {
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
    handle.write(status).await?;
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
    let blind = memory.observed.get().is_none_or(|at| scope.now.duration_since(at).unsigned_abs() > MAX_PAUSE);
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
