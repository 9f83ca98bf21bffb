//! The kind `AlibabaCloudAccount`: reports whether the account has credentials that the cloud accepts, renews them, and keeps
//! the object while other objects use it. An account at rest sends no request to the cloud.

pub mod status;
pub mod users;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;

use self::status::{ObservedCredentials, StatusInput};
use self::users::AccountUsers;
use super::access::{AccountError, Key};
use super::object::ObjectHandle;
use super::resource::Object;
use super::{Context, Error, Requeue};
use crate::api::IN_USE_FINALIZER;
use crate::api::account::{AlibabaCloudAccount, AlibabaCloudAccountStatus};
use crate::cloud::credentials::CredentialsError;
use crate::cloud::credentials::cache::KeyHealth;
use crate::cloud::error::Class;

impl Object for AlibabaCloudAccount {
    const KIND: &'static str = "AlibabaCloudAccount";
    const FINALIZER: &'static str = IN_USE_FINALIZER;
    const TYPICAL: &'static str = include_str!("typical.json");
    const IS_SHARDED: bool = false;
    /// The last status, in the shards that do not write it.
    type Evidence = AlibabaCloudAccountStatus;

    fn account(&self) -> Option<&str> {
        None
    }
}

/// Reconciles one account.
pub(super) async fn reconcile(
    object: Arc<AlibabaCloudAccount>,
    ctx: Arc<Context>,
    users: Arc<AccountUsers>,
) -> Result<Action, Error> {
    let mut handle = ObjectHandle::new(&ctx, object);
    let requeue = run(&mut handle, &users).await?;
    Ok(ctx.requeue(&handle.key(), ctx.settings.poll_interval, &requeue))
}

async fn run(handle: &mut ObjectHandle<'_, AlibabaCloudAccount>, users: &AccountUsers) -> Result<Requeue, Error> {
    let (namespace, name) = (handle.object.namespace().unwrap_or_default(), handle.object.name_any());
    let key: Key = (namespace, name);
    if !handle.ctx.settings.shard.is_first() {
        return follow(handle, users, key).await;
    }
    let deleting = handle.deleting();
    if deleting && !handle.has_finalizer() {
        return Ok(gone(handle));
    }
    let blocked_by = match deleting {
        true => users.list(&handle.ctx.client, &key).await?,
        false => vec![],
    };
    if deleting && blocked_by.is_empty() {
        handle.remove_finalizer().await?;
        return Ok(gone(handle));
    }
    if !deleting && !handle.has_finalizer() {
        handle.add_finalizer().await?;
    }
    let observed = observe_credentials(handle, &key).await;
    let old = handle.object.status.clone().unwrap_or_default();
    // Caches that are not filled would give a count that is too low, and a second write of status.
    let used_by = match users.wait_until_filled().await {
        true => users.count(&key),
        false => old.used_by.clone().unwrap_or_default(),
    };
    let input = StatusInput {
        generation: handle.object.metadata.generation,
        blocked_by: deleting.then_some(blocked_by.as_slice()),
        used_by,
        knows_users: handle.ctx.settings.shard.is_only(),
        old: &old,
        now: handle.ctx.clock.now(),
    };
    let new = status::status(&input, &observed);
    if new != old {
        handle.write_status(new.clone()).await?;
    }
    announce(handle, key, &old, &new);
    for record in status::events(&old, &new) {
        handle.publish(&record).await;
    }
    Ok(requeue(&observed, handle.ctx.clock.now(), handle.ctx.settings.retry_interval))
}

/// Renews the credentials that this shard uses, and triggers its users. The first shard writes the account's status.
async fn follow(
    handle: &ObjectHandle<'_, AlibabaCloudAccount>,
    users: &AccountUsers,
    key: Key,
) -> Result<Requeue, Error> {
    let observed = observe_credentials(handle, &key).await;
    let old = handle.ctx.evidence::<AlibabaCloudAccount>(&handle.key());
    let (generation, now) = (handle.object.metadata.generation, handle.ctx.clock.now());
    let used_by = users.count(&key);
    let input = StatusInput { generation, blocked_by: None, used_by, knows_users: false, old: &old, now };
    let new = status::status(&input, &observed);
    announce(handle, key, &old, &new);
    handle.ctx.update_evidence::<AlibabaCloudAccount, _>(&handle.key(), |last| *last = new);
    Ok(requeue(&observed, handle.ctx.clock.now(), handle.ctx.settings.retry_interval))
}

/// Exports a status, and triggers the users of the account where it concerns them.
fn announce(
    handle: &ObjectHandle<'_, AlibabaCloudAccount>,
    key: Key,
    old: &AlibabaCloudAccountStatus,
    new: &AlibabaCloudAccountStatus,
) {
    let metrics = &handle.ctx.metrics;
    metrics.conditions(AlibabaCloudAccount::KIND, &key.0, &key.1, &new.conditions);
    metrics.credentials(&key.0, &key.1, new.expiration.as_ref().map(|it| it.0));
    if status::triggers_users(old, new) {
        handle.ctx.accounts.trigger_users(key);
    }
}

fn gone(handle: &ObjectHandle<'_, AlibabaCloudAccount>) -> Requeue {
    handle.forget();
    Requeue::AwaitChange
}

/// The account's credentials, renewed where they are due, and the health of their key.
async fn observe_credentials(
    handle: &ObjectHandle<'_, AlibabaCloudAccount>,
    key: &Key,
) -> Result<ObservedCredentials, AccountError> {
    let now = handle.ctx.clock.now();
    let account = handle.ctx.accounts.account(&handle.object)?;
    let base_error = account.check_base(now).await;
    let issued = account.credentials.credentials(now).await;
    let full_name = format!("{}/{}", key.0, key.1);
    let issued = issued.map_err(|why| AccountError::credentials(Some(&full_name), why))?;
    let key_health = account.credentials.health(Some(&issued.credentials), now);
    // An error that a person has to resolve goes before one that passes.
    let failing = base_error.filter(|it| !it.passing()).or(key_health.failing);
    let key_health = KeyHealth { failing, ..key_health };
    let due = account.credentials.due();
    Ok(ObservedCredentials { identity: issued.identity, expires: issued.expires, key_health, due })
}

/// When to reconcile again.
fn requeue(observed: &Result<ObservedCredentials, AccountError>, now: Timestamp, retry_interval: Duration) -> Requeue {
    match observed {
        Ok(ObservedCredentials { due: Some(due), .. }) => {
            // An overdue renewal is in progress elsewhere, or failed a moment ago.
            let left = Duration::try_from(due.duration_since(now)).unwrap_or_default();
            Requeue::PollWithin(left.max(retry_interval))
        }
        Ok(ObservedCredentials { due: None, .. }) => Requeue::Poll,
        Err(error) if matches!(error.why(), Some(CredentialsError::Refused(_))) => Requeue::Retry(Class::Denied),
        Err(error) if error.passing() => Requeue::Retry(Class::Unavailable),
        Err(_) => Requeue::Poll,
    }
}
