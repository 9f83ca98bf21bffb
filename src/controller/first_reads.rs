//! The first reads of what the conditions of an object need, in the reconcile that finds its cloud side as the spec says: one write of
//! its status says all.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;

use super::access::Access;
use super::object::ObjectHandle;
use super::resource::{Resource, Scope};
use crate::cloud::rate_limit::Priority;

/// Maximum time for them. An object whose reads take longer is read between reconciles, which wait for no reads.
const FIRST_READS_TIMEOUT: Duration = Duration::from_secs(1);

/// A read that ended in time.
struct Read<K: Resource> {
    task: K::Task,
    reading: K::Reading,
    started: Timestamp,
}

/// Reads what the object's evidence lacks, and records it.
pub(super) async fn read_first<K: Resource>(handle: &ObjectHandle<'_, K>, access: &Access) {
    let scope = handle.scope(&handle.object);
    let cloud = handle.object.cloud(access, Priority::Sample);
    let reads = K::first_reads(&scope).into_iter().map(|task| read(handle, &scope, &cloud, task));
    for Read { task, reading, started } in join_all(reads).await.into_iter().flatten() {
        handle.ctx.update_evidence::<K, _>(&handle.key(), |evidence| {
            K::record(&scope, evidence, &task, reading, started);
        });
    }
}

async fn read<K: Resource>(
    handle: &ObjectHandle<'_, K>,
    scope: &Scope<'_, K>,
    cloud: &K::Cloud,
    task: K::Task,
) -> Option<Read<K>> {
    let started = handle.ctx.clock.now();
    let reading = K::read(&task, scope, handle.ctx, cloud);
    let reading = tokio::time::timeout(FIRST_READS_TIMEOUT, reading).await.ok()?;
    Some(Read { task, reading, started })
}
