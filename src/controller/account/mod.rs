//! The kind `AlibabaCloudAccount`: says whether there are credentials that the cloud takes, keeps them fresh, and keeps the
//! object while others use it. At rest it asks the cloud for nothing.

pub mod status;
pub mod users;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;

use self::status::{Found, Pass};
use self::users::Users;
use super::access::{AccountError, Key};
use super::object::ObjectHandle;
use super::resource::Object;
use super::{Context, Error, Requeue};
use crate::api::IN_USE_FINALIZER;
use crate::api::account::AlibabaCloudAccount;
use crate::cloud::credentials::CredentialsError;
use crate::cloud::credentials::cache::KeyHealth;
use crate::cloud::error::Class;

impl Object for AlibabaCloudAccount {
    const KIND: &'static str = "AlibabaCloudAccount";
    const FINALIZER: &'static str = IN_USE_FINALIZER;
}

/// One pass over one account.
pub(super) async fn reconcile(
    object: Arc<AlibabaCloudAccount>,
    ctx: Arc<Context>,
    users: Arc<Users>,
) -> Result<Action, Error> {
    let mut session = ObjectHandle::new(&ctx, object);
    let next = pass(&mut session, &users).await?;
    Ok(ctx.requeue(&session.key(), ctx.settings.poll_interval, &next))
}

async fn pass(session: &mut ObjectHandle<'_, AlibabaCloudAccount>, users: &Users) -> Result<Requeue, Error> {
    let (namespace, name) = (session.object.namespace().unwrap_or_default(), session.object.name_any());
    let key: Key = (namespace, name);
    let deleting = session.deleting();
    if deleting && !session.has_finalizer() {
        return Ok(gone(session));
    }
    let holders = match deleting {
        true => users.holders(&session.ctx.client, &key).await?,
        false => vec![],
    };
    if deleting && holders.is_empty() {
        session.remove_finalizer().await?;
        return Ok(gone(session));
    }
    if !deleting && !session.has_finalizer() {
        session.add_finalizer().await?;
    }
    let found = find(session, &key).await;
    let old = session.object.status.clone().unwrap_or_default();
    // Counts that are too low for a moment would be written, and taken back.
    let used_by = if users.known().await { users.count(&key) } else { old.used_by.clone().unwrap_or_default() };
    let pass = Pass {
        generation: session.object.metadata.generation,
        holders: deleting.then_some(holders.as_slice()),
        used_by,
        old: &old,
        now: Timestamp::now(),
    };
    let new = status::status(&pass, &found);
    if new != old {
        session.write_status(new.clone()).await?;
    }
    let metrics = &session.ctx.metrics;
    metrics.conditions(AlibabaCloudAccount::KIND, &key.0, &key.1, &new.conditions);
    metrics.credentials(&key.0, &key.1, new.expiration.as_ref().map(|it| it.0));
    if status::wakes(&old, &new) {
        session.ctx.accounts.wake_users_of(key);
    }
    for told in status::events(&old, &new) {
        session.publish(&told).await;
    }
    Ok(next(&found, session.ctx.settings.retry_interval))
}

fn gone(session: &ObjectHandle<'_, AlibabaCloudAccount>) -> Requeue {
    session.forget();
    Requeue::AwaitChange
}

/// What is known of the account's credentials, renewed where they are due.
async fn find(session: &ObjectHandle<'_, AlibabaCloudAccount>, key: &Key) -> Result<Found, AccountError> {
    let account = session.ctx.accounts.of(&session.object)?;
    let missing = account.look_at_base(Timestamp::now()).await;
    let issued = account.identity.credentials(Timestamp::now()).await;
    let full = format!("{}/{}", key.0, key.1);
    let issued = issued.map_err(|why| AccountError::credentials(Some(&full), why))?;
    let key_health = account.identity.health(Some(&issued.credentials), Timestamp::now());
    // What a person has to mend goes before what passes.
    let failing = missing.filter(|it| !it.passing()).or(key_health.failing);
    let key_health = KeyHealth { failing, ..key_health };
    Ok(Found { identity: issued.identity, expires: issued.expires, key_health, due: account.identity.due() })
}

/// When to look again.
fn next(found: &Result<Found, AccountError>, pause: Duration) -> Requeue {
    match found {
        Ok(Found { due: Some(due), .. }) => {
            // What is overdue is being renewed by another, or was tried a moment ago.
            let left = Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default();
            Requeue::PollWithin(left.max(pause))
        }
        Ok(Found { due: None, .. }) => Requeue::Poll,
        Err(error) if matches!(error.why(), Some(CredentialsError::Refused(_))) => Requeue::Retry(Class::Denied),
        Err(error) if error.passing() => Requeue::Retry(Class::Unavailable),
        Err(_) => Requeue::Poll,
    }
}
