//! The reads of a plan between reconciles, and the requested synchronizations of checkpoints.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Scope;
use super::credentials::{acl_credentials, fingerprint};
use super::evidence::{Reading, Task};
use super::grounds::Grounds;
use super::observe;
use super::sync::{MappingRun, SyncRun};
use crate::cloud::error::{Class, Error};
use crate::cloud::list::{self, List};
use crate::cloud::operation::ApiOperation;
use crate::cloud::rocketmq::{Checkpoint, RocketMq};
use crate::controller::Context;

/// Time after which a run of a requested synchronization reaches no further checkpoint. The next run continues.
const SYNC_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum time for the checkpoints of one mapping from one source.
const LIST_TIMEOUT: Duration = Duration::from_secs(90);

/// Carries out a task.
pub async fn read(task: &Task, scope: &Scope<'_>, ctx: &Context, cloud: &RocketMq) -> Reading {
    let grounds = scope.evidence.grounds.as_ref();
    match task {
        Task::Checkpoints(mapping) => {
            let lists = match grounds {
                Some(grounds) => checkpoints(cloud, grounds, mapping).await,
                None => BTreeMap::new(),
            };
            let plan_id = grounds.and_then(|it| it.plan_id).unwrap_or_default();
            let of = (plan_id, grounds.and_then(|it| it.item(mapping)).unwrap_or_default());
            Reading::Checkpoints { of, lists, clock_skew: cloud.clock_skew() }
        }
        Task::Items => match grounds.and_then(|it| it.plan_id) {
            Some(plan_id) => Reading::Items(observe::items(cloud, plan_id).await),
            None => Reading::Items(Ok(List::Incomplete(vec![]))),
        },
        Task::Secrets => {
            let found = acl_credentials(&ctx.client, scope.namespace(), &scope.object.spec).await;
            Reading::Secrets(fingerprint(ctx, found.as_ref()))
        }
        Task::Synchronization => Reading::Synchronization(synchronize(cloud, scope, grounds).await),
    }
}

/// Reads the checkpoints of one mapping, from each source.
async fn checkpoints(
    cloud: &RocketMq,
    grounds: &Grounds,
    mapping: &str,
) -> BTreeMap<String, Result<List<Checkpoint>, Error>> {
    let (Some(plan_id), Some(about)) = (grounds.plan_id, grounds.mapping(mapping)) else { return BTreeMap::new() };
    let mut lists = BTreeMap::new();
    for source in &grounds.sources {
        let list = tokio::time::timeout(LIST_TIMEOUT, cloud.list_checkpoints(plan_id, about.item_id, source)).await;
        let list = match list.unwrap_or_else(|_| Err(too_slow())) {
            // An item that does not run may have no checkpoints. It is not protected in any case.
            Err(Error { class: Class::NotFound | Class::Conflict | Class::Invalid, .. }) if !about.runs => continue,
            list => list,
        };
        match &list {
            Ok(list) => {
                let (shown, complete) = (list.entries().len(), list.is_complete());
                tracing::debug!(mapping, source, shown, complete, "checkpoints sampled");
            }
            Err(error) => tracing::debug!(mapping, source, %error, "checkpoints not sampled"),
        }
        lists.insert(source.clone(), list);
    }
    lists
}

fn too_slow() -> Error {
    let operation = ApiOperation::ListDisasterRecoveryCheckpoints;
    let message = format!("the checkpoints could not be read whole within {} s", LIST_TIMEOUT.as_secs());
    Error { class: Class::Unavailable, operation, code: "TooSlow".into(), message, request_id: None }
}

/// Synchronizes the checkpoints that the request has not reached, one after another. A mapping that fails stops no other.
async fn synchronize(cloud: &RocketMq, scope: &Scope<'_>, grounds: Option<&Grounds>) -> SyncRun {
    let started = Instant::now();
    let mut run = SyncRun::default();
    let (Some(request), Some(grounds)) = (&scope.evidence.sync, grounds) else { return run };
    let Some(plan_id) = grounds.plan_id else { return run };
    let pending = || grounds.mappings.iter().filter(|it| grounds.synchronizes && request.is_pending(&it.name));
    for about in pending() {
        if started.elapsed() > SYNC_TIMEOUT {
            break;
        }
        let mut mapping = MappingRun::default();
        let mut all = Vec::new();
        for list in checkpoints(cloud, grounds, &about.name).await.into_values() {
            match list {
                Ok(list) => {
                    if !list.is_complete() {
                        let shown = list.entries().len();
                        mapping.unread = Some(list::incomplete(ApiOperation::ListDisasterRecoveryCheckpoints, shown));
                    }
                    all.extend(list.into_entries());
                }
                Err(error) => mapping.unread = Some(error),
            }
        }
        // The oldest synchronization first: a run that has no time left is continued by the next one.
        all.retain(|checkpoint| request.is_due(checkpoint));
        all.sort_by_key(|checkpoint| checkpoint.last_sync_time);
        for checkpoint in all {
            if started.elapsed() > SYNC_TIMEOUT {
                mapping.unfinished = true;
                break;
            }
            match cloud.sync_checkpoint(plan_id, about.item_id, checkpoint.checkpoint_id).await {
                Ok(()) => mapping.done.push(checkpoint.checkpoint_id),
                Err(error) => mapping.failed.push((checkpoint.checkpoint_id, error)),
            }
        }
        run.add(about.name.clone(), mapping);
    }
    run.finish(pending().map(|it| it.name.as_str()));
    run
}
