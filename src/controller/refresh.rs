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

/// Outcome of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refreshed {
    /// It was written.
    Written,
    /// It says what the evidence says.
    Same,
    /// Another process serves the object.
    NotServed,
    /// The cache does not show the last write of a reconcile yet, so that the status to compare with is not known.
    CacheLate,
}

/// Brings the status of an object up to date with the evidence. `find` returns the object as the cache has it.
pub(super) async fn refresh<K: Resource>(ctx: &Context, find: impl Fn() -> Option<Arc<K>>) -> Result<Refreshed, Error> {
    for attempt in 1..=MAX_ATTEMPTS {
        match attempt_refresh(ctx, &find).await {
            Err(Error::Conflict) if attempt < MAX_ATTEMPTS => tokio::time::sleep(CACHE_DELAY * attempt).await,
            outcome => return outcome,
        }
    }
    Ok(Refreshed::Same)
}

async fn attempt_refresh<K: Resource>(ctx: &Context, find: &impl Fn() -> Option<Arc<K>>) -> Result<Refreshed, Error> {
    let Some(object) = find() else { return Ok(Refreshed::Same) };
    let writing = ObjectHandle::new(ctx, object).writing();
    let writing = writing.lock().await;
    // A reconcile may have written it meanwhile.
    let Some(object) = find() else { return Ok(Refreshed::Same) };
    let mut handle = ObjectHandle::new(ctx, object);
    let before = handle.take_over_refreshed(handle.object.clone());
    if handle.deleting() || before.management().suspend {
        return Ok(Refreshed::Same);
    }
    if !handle.serves(handle.scope(&handle.object).status) {
        return Ok(Refreshed::NotServed);
    }
    if handle.is_replaced() {
        return Ok(Refreshed::CacheLate);
    }
    let unlisted = ctx.remember(&handle.key(), |memory| memory.unlisted.clone());
    let (status, expiries) = handle.scope(&before).refreshed(unlisted.as_deref());
    let conditions = status.as_ref().conditions.clone();
    let changed = status != *handle.scope(&before).status;
    if changed {
        handle.write_refreshed(status.clone()).await?;
    }
    drop(writing);
    handle.export(&conditions, &expiries);
    handle.measure(None);
    if changed {
        let scope = handle.scope(&before);
        let mut records = K::refreshed_events(&scope, &status);
        records.extend(Change::new(scope.status, &status).objective());
        for record in &records {
            handle.publish(record).await;
        }
    }
    Ok(if changed { Refreshed::Written } else { Refreshed::Same })
}
