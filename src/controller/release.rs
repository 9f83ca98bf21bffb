//! The release of an object that is being deleted: its finalizer goes.

use super::events::EventRecord;
use super::object::ObjectHandle;
use super::resource::Resource;
use super::{Error, Requeue};
use crate::api::event::{action, reason};

/// How the operator releases an object that is being deleted.
pub(super) enum Release {
    /// Its cloud side is gone.
    Gone,
    /// Its cloud side stays, with a note that says what and why.
    Kept(String),
}

/// The release of an object whose mark could not be removed.
pub(super) fn kept<K: Resource>(why: &str) -> Release {
    Release::Kept(format!("the {} was kept with its owner mark{why}", K::DESCRIPTOR.noun))
}

/// The release of an object in observe mode with work in progress in the cloud.
pub(super) fn unattended<K: Resource>() -> Release {
    Release::Kept(format!(
        "the {} stays with unfinished work, because managementPolicy is Observe: check for stopped items or clones of a drill in \
         the console",
        K::DESCRIPTOR.noun
    ))
}

/// Releases the object. In observe mode an event reports only a cloud side that stays.
pub(super) async fn release<K: Resource>(handle: &mut ObjectHandle<'_, K>, how: Release) -> Result<Requeue, Error> {
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
