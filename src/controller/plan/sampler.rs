//! The reads of a plan between reconciles, and the requested synchronizations of checkpoints.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::Instant;

use super::credentials::{acl_credentials, fingerprint};
use super::evidence::{CheckpointLists, Reading, Task, terms};
use super::grounds::Grounds;
use super::rounds::{self, Check, Round};
use super::sync::{MappingRun, SyncRun};
use super::tracks::{key, name, progress};
use super::{Scope, lag, observe};
use crate::cloud::error::{Class, Error};
use crate::cloud::list::{self, List};
use crate::cloud::operation::ApiOperation;
use crate::cloud::rocketmq::{Checkpoint, RocketMq};
use crate::controller::Context;

/// Time from the request for a list until a round reaches no further checkpoint: what the list shows is too old then. The next round
/// continues.
const ROUND_TIMEOUT: Duration = Duration::from_secs(60);
/// Time after which a run of a requested synchronization reaches no further checkpoint. The next run continues.
const SYNC_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum time for the checkpoints of one mapping from one source.
const LIST_TIMEOUT: Duration = Duration::from_secs(90);

/// Maximum number of concurrent synchronizations of one mapping.
const CONCURRENT_SYNCS: usize = 4;

/// Carries out a task.
pub async fn read(task: &Task, scope: &Scope<'_>, ctx: &Context, cloud: &RocketMq) -> Reading {
    let grounds = scope.evidence.grounds.as_ref();
    match task {
        Task::Checkpoints(mapping) => Reading::Checkpoints(checkpoint_lists(cloud, grounds, mapping).await),
        Task::Synchronization if !scope.evidence.may_synchronize(scope) => Reading::Nothing,
        Task::Round(mapping) if scope.evidence.round_interval(scope, mapping).is_none() => Reading::Nothing,
        Task::Round(mapping) => {
            let until = Instant::now() + ROUND_TIMEOUT;
            let read = checkpoint_lists(cloud, grounds, mapping).await;
            let round = round(cloud, scope, mapping, &read, until).await;
            Reading::Round(read, round)
        }
        Task::Backlog(instance) => {
            let source = grounds.and_then(|it| it.replicator(instance)?.source.as_ref().ok());
            match source {
                Some(source) => {
                    let cloud = cloud.of_region(&source.region);
                    let lag = cloud.consumer_group_lag(&source.instance_id, &source.group).await;
                    Reading::Backlog { of: source.clone(), lag, clock_skew: cloud.clock_skew() }
                }
                None => Reading::Nothing,
            }
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

async fn checkpoint_lists(cloud: &RocketMq, grounds: Option<&Grounds>, mapping: &str) -> CheckpointLists {
    let lists = match grounds {
        Some(grounds) => checkpoints(cloud, grounds, mapping).await,
        None => BTreeMap::new(),
    };
    let plan_id = grounds.and_then(|it| it.plan_id).unwrap_or_default();
    let of = (plan_id, grounds.and_then(|it| it.item(mapping)).unwrap_or_default());
    CheckpointLists { of, lists, clock_skew: cloud.clock_skew() }
}

/// Reads the checkpoints of one mapping, from each source.
async fn checkpoints(
    cloud: &RocketMq,
    grounds: &Grounds,
    mapping: &str,
) -> BTreeMap<Arc<str>, Result<List<Checkpoint>, Error>> {
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
                tracing::debug!(mapping, %source, shown, complete, "checkpoints sampled");
            }
            Err(error) => tracing::debug!(mapping, %source, %error, "checkpoints not sampled"),
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

/// Synchronizes the checkpoints that the request has not reached. A mapping that fails stops no other.
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
            mapping.unread = unread(&list).or(mapping.unread);
            all.extend(list.map(List::into_entries).unwrap_or_default());
        }
        all.retain(|checkpoint| request.is_due(checkpoint));
        all.sort_by_key(|checkpoint| checkpoint.last_sync_time);
        let (outcomes, unfinished) =
            synchronize_all(cloud, (plan_id, about.item_id), all, started + SYNC_TIMEOUT).await;
        mapping.unfinished = unfinished;
        for (checkpoint, outcome) in outcomes {
            match outcome {
                Ok(()) => mapping.done.push(checkpoint.checkpoint_id),
                Err(error) => mapping.failed.push((checkpoint.checkpoint_id, error)),
            }
        }
        run.add(about.name.to_string(), mapping);
    }
    run.finish(pending().map(|it| &*it.name));
    run
}

/// Synchronizes the checkpoints of one mapping whose source is ahead of the target.
async fn round(cloud: &RocketMq, scope: &Scope<'_>, mapping: &str, read: &CheckpointLists, until: Instant) -> Round {
    let (mut round, mut due, evidence) = (Round::default(), Vec::new(), scope.evidence);
    let (now_ms, skew_ms) = (scope.now.as_millisecond(), terms(scope, evidence).skew_ms);
    let series_ms = evidence.rounds.series(mapping).map(|it| it.as_millisecond());
    for (source, list) in &read.lists {
        round.unread = unread(list).or(round.unread);
        let known = evidence.mappings.get(mapping).and_then(|it| it.source(source));
        for checkpoint in list.iter().flat_map(List::entries) {
            let Some(key) = key(checkpoint, source) else { continue };
            if lag::is_ignored(&scope.object.spec, key.0) {
                continue;
            }
            let track = known.and_then(|it| it.track(key));
            let had_target = track.is_some_and(|it| !it.never_synced() || it.reading().target_ms.is_some());
            let reading = progress(checkpoint, now_ms);
            // The rounds that this one continues have reached it.
            let reached = series_ms.is_some_and(|from_ms| reading.last_sync_ms.is_some_and(|at_ms| at_ms >= from_ms));
            let check = match rounds::check(&reading, had_target, skew_ms) {
                Check::Due if reached => Check::Level,
                other => other,
            };
            if check == Check::Due && !evidence.rounds.waits(mapping, name(checkpoint), scope.now) {
                due.push(checkpoint.clone());
            }
            round.seen.insert(rounds::owned(name(checkpoint)), check);
        }
    }
    // The oldest synchronization first. What failed before keeps no other from its turn.
    due.sort_by_key(|it| (evidence.rounds.has_failed(mapping, name(it)), it.last_sync_time));
    let (outcomes, unfinished) = synchronize_all(cloud, read.of, due, until).await;
    round.unfinished = unfinished;
    round.outcomes =
        outcomes.into_iter().map(|(checkpoint, outcome)| (rounds::owned(name(&checkpoint)), outcome.err())).collect();
    round
}

/// The error of a list that cannot be read whole.
fn unread(list: &Result<List<Checkpoint>, Error>) -> Option<Error> {
    match list {
        Ok(list) if list.is_complete() => None,
        Ok(_) => Some(list::incomplete(ApiOperation::ListDisasterRecoveryCheckpoints)),
        Err(error) => Some(error.clone()),
    }
}

/// Synchronizes checkpoints of an item in this order. Returns the outcomes, and whether the time was over before all were reached. A
/// denied call is answered for all the others: they need the same permission.
async fn synchronize_all(
    cloud: &RocketMq,
    (plan_id, item_id): (i64, i64),
    checkpoints: Vec<Checkpoint>,
    until: Instant,
) -> (Vec<(Checkpoint, Result<(), Error>)>, bool) {
    let (all, denied) = (checkpoints.len(), &OnceLock::new());
    let calls = checkpoints.into_iter().map(|checkpoint| async move {
        if let Some(error) = denied.get() {
            return Some((checkpoint, Err(Error::clone(error))));
        }
        if Instant::now() > until {
            return None;
        }
        let outcome = cloud.sync_checkpoint(plan_id, item_id, checkpoint.checkpoint_id).await;
        if let Err(error) = &outcome
            && error.class == Class::Denied
        {
            denied.get_or_init(|| error.clone());
        }
        Some((checkpoint, outcome))
    });
    let outcomes: Vec<_> = stream::iter(calls).buffer_unordered(CONCURRENT_SYNCS).collect().await;
    let outcomes: Vec<_> = outcomes.into_iter().flatten().collect();
    let unfinished = outcomes.len() < all;
    (outcomes, unfinished)
}
