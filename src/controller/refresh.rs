//! Writes the status of an object between reconciles, where the evidence of this process says something else than the status.

use std::sync::Arc;
use std::time::Duration;

use super::events::Change;
use super::object::ObjectHandle;
use super::resource::Resource;
use super::{Context, Error};

/// Attempts at a write: the cache may be older than the object.
const MAX_ATTEMPTS: u32 = 5;
/// Time until the cache shows a write.
const CACHE_DELAY: Duration = Duration::from_millis(100);

/// Brings the status of an object up to date with the evidence. `find` returns the object as the cache has it.
pub(super) async fn refresh<K: Resource>(ctx: &Context, find: impl Fn() -> Option<Arc<K>>) -> Result<(), Error> {
    for attempt in 1..=MAX_ATTEMPTS {
        let Some(object) = find() else { return Ok(()) };
        match attempt_refresh(ctx, object).await {
            Err(Error::Conflict) if attempt < MAX_ATTEMPTS => tokio::time::sleep(CACHE_DELAY * attempt).await,
            outcome => return outcome,
        }
    }
    Ok(())
}

async fn attempt_refresh<K: Resource>(ctx: &Context, object: Arc<K>) -> Result<(), Error> {
    let mut handle = ObjectHandle::new(ctx, object);
    let before = handle.take_over_refreshed(handle.object.clone());
    if handle.deleting() || before.management().suspend {
        return Ok(());
    }
    let unlisted = ctx.remember(&handle.key(), |memory| memory.unlisted.clone());
    let status = handle.scope(&before).refreshed(unlisted.as_ref());
    let conditions = status.as_ref().conditions.clone();
    let changed = status != *handle.scope(&before).status;
    if changed {
        handle.write_refreshed(status.clone()).await?;
    }
    handle.export(&conditions);
    handle.measure(None);
    if changed {
        let scope = handle.scope(&before);
        let mut records = K::refreshed_events(&scope, &status);
        records.extend(Change::new(scope.status, &status).objective());
        for record in &records {
            handle.publish(record).await;
        }
    }
    Ok(())
}
