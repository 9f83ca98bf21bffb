//! The conditions of a plan: whether all of it runs, and whether a failover now would work.

use std::time::Duration;

use super::super::Scope;
use super::super::decide::{Decision, Verdict, Work};
use super::super::lag;
use super::super::observe::Observed;
use super::facts::plan_of;
use crate::api::condition::{condition_type, offsets, protected, ready};
use crate::api::plan::{DisasterRecoveryPlanSpec, DisasterRecoveryPlanStatus, MappingState, TopicMapping};
use crate::cloud::rocketmq::ItemStatus;
use crate::controller::conditions::{ConditionState, find, join_limited};
use crate::telemetry::metrics::ConsumerGroupLag;

/// `Ready`: whether the plan and its items run as the spec says.
pub(super) fn readiness(scope: &Scope<'_>, decision: &Decision, observed: &Observed) -> ConditionState {
    if plan_of(scope, observed).is_none() {
        return match &decision.verdict {
            Verdict::Refused { message, .. } => ConditionState::no(ready::NOT_READY, message.clone()),
            _ => ConditionState::no(ready::CREATING, "the plan is being created"),
        };
    }
    let overdue = scope.object.spec.topic_mappings.iter().any(|it| is_overdue(observed, it));
    let current = scope.head().synced_generation == scope.generation() || overdue;
    match &decision.verdict {
        Verdict::Refused { message, .. } if !current => return ConditionState::no(ready::NOT_READY, message.clone()),
        Verdict::Acting(Work::Creating) => {
            return ConditionState::no(ready::CREATING, "topic mappings are being added");
        }
        Verdict::Waiting { work: Work::Creating, on } => return ConditionState::no(ready::CREATING, on.clone()),
        Verdict::Acting(_) if !current => {
            return ConditionState::no(ready::UPDATING, "a change of the spec is carried out");
        }
        Verdict::Waiting { on, .. } => return ConditionState::no(ready::UPDATING, on.clone()),
        Verdict::Acting(_) | Verdict::Refused { .. } | Verdict::InSync | Verdict::Released { .. } => {}
    }
    by_mappings(scope, decision, observed)
}

/// Whether a mapping should run and does not because of an overdue payment.
fn is_overdue(observed: &Observed, mapping: &TopicMapping) -> bool {
    let status = observed.item(&mapping.name).map(|item| &item.item_status);
    mapping.state == MappingState::Running && status == Some(&ItemStatus::OverdueStopped)
}

/// `Ready` by the statuses of the mappings' items.
fn by_mappings(scope: &Scope<'_>, decision: &Decision, observed: &Observed) -> ConditionState {
    let mappings = &scope.object.spec.topic_mappings;
    let idle = !mappings.is_empty() && mappings.iter().all(|it| it.state == MappingState::Stopped);
    let (mut stopped, mut running, mut changing) = (Vec::new(), Vec::new(), Vec::new());
    for mapping in mappings.iter().filter(|it| idle || it.state == MappingState::Running) {
        match observed.item(&mapping.name).map(|item| &item.item_status) {
            Some(status @ (ItemStatus::Creating | ItemStatus::Changing)) if scope.observe_only() => {
                changing.push(format!("{} ({})", mapping.name, status.as_str()));
            }
            None | Some(ItemStatus::ManualStopped | ItemStatus::OverdueStopped) if idle => {}
            Some(other) if idle => running.push(format!("{} ({})", mapping.name, other.as_str())),
            Some(ItemStatus::Running) => {}
            Some(ItemStatus::OverdueStopped) => {
                stopped.push(format!("{} (OVERDUE_STOPPED: settle the overdue payment)", mapping.name));
            }
            Some(other) => stopped.push(format!("{} ({})", mapping.name, other.as_str())),
            None => stopped.push(format!("{} (absent)", mapping.name)),
        }
    }
    if !stopped.is_empty() && !scope.status.paused_items.is_empty() {
        return ConditionState::no(ready::UPDATING, "topic mappings are stopped while the plan is changed");
    }
    if !stopped.is_empty() {
        return ConditionState::no(ready::NOT_READY, format!("topic mappings do not run: {}", join_limited(&stopped)));
    }
    if !running.is_empty() {
        return ConditionState::no(
            ready::NOT_READY,
            format!("topic mappings are not stopped: {}", join_limited(&running)),
        );
    }
    if !changing.is_empty() {
        return ConditionState::no(
            ready::UPDATING,
            format!("topic mappings are being changed: {}", join_limited(&changing)),
        );
    }
    if idle {
        return ConditionState::yes(ready::STOPPED, "every topic mapping is stopped, as the spec says");
    }
    match &decision.verdict {
        Verdict::Refused { message, .. } => ConditionState::no(ready::NOT_READY, message.clone()),
        _ => {
            let all = mappings.len();
            ConditionState::yes(ready::AVAILABLE, format!("the plan is as the spec says; topic mappings: {all}"))
        }
    }
}

/// `Protected` and `OffsetsCovered`, with the lags that they rest on.
pub(super) fn coverage(scope: &Scope<'_>, new: &mut DisasterRecoveryPlanStatus, observed: &Observed) {
    let (protected, covered) = match (plan_of(scope, observed), &observed.checkpoints) {
        _ if scope.deleting() => unknown("the object is being deleted"),
        (None, _) if observed.found().is_some() => unknown("the plan is another owner's"),
        (None, _) => {
            let text = "there is no plan";
            (ConditionState::no(protected::REPLICATION_STOPPED, text), ConditionState::unknown(offsets::UNKNOWN, text))
        }
        (Some(_), Err(error)) if !scope.evidence_recent => {
            unknown(&format!("no checkpoint was read for more than three polls: {error}"))
        }
        (Some(_), Err(_)) => {
            if let Some(stopped) = replication_stopped(scope, observed) {
                return scope.set(&mut new.head, condition_type::PROTECTED, stopped);
            }
            let known = [condition_type::PROTECTED, condition_type::OFFSETS_COVERED];
            let known = known.iter().all(|it| find(&new.head.conditions, it).is_some());
            if known && scope.head().synced_generation == scope.generation() {
                return;
            }
            unknown("no checkpoint was read yet")
        }
        (Some(plan), Ok(checkpoints)) => {
            let lags = lag::lags(observed.mapped_items(), checkpoints);
            let disabled = plan.sync_checkpoint_enabled == Some(false);
            summarize(scope, new, &lags, disabled);
            (protection(scope, observed, &lags, disabled), offsets_covered(&lags, disabled))
        }
    };
    scope.set(&mut new.head, condition_type::PROTECTED, protected);
    scope.set(&mut new.head, condition_type::OFFSETS_COVERED, covered);
}

fn unknown(text: &str) -> (ConditionState, ConditionState) {
    (ConditionState::unknown(protected::UNKNOWN, text), ConditionState::unknown(offsets::UNKNOWN, text))
}

/// Summarizes the lags in status. A plan that does not synchronize consumer progress has none.
fn summarize(scope: &Scope<'_>, new: &mut DisasterRecoveryPlanStatus, lags: &[ConsumerGroupLag], disabled: bool) {
    if disabled {
        new.checkpoints = None;
        new.topic_mappings.iter_mut().for_each(|it| it.checkpoints = None);
        return;
    }
    let objective_ms = objective_ms(&scope.object.spec);
    for entry in &mut new.topic_mappings {
        let own = lags.iter().filter(|it| it.mapping == entry.name);
        entry.checkpoints = Some(lag::summary(own, objective_ms, entry.checkpoints.as_ref()));
    }
    let poll_ms = i64::try_from(scope.poll_interval.as_millis()).unwrap_or(i64::MAX);
    let stale_ms = poll_ms.saturating_mul(20).max(900_000);
    let before = scope.status.checkpoints.as_ref();
    new.checkpoints = Some(lag::plan_checkpoints(lags, objective_ms, before, stale_ms));
}

/// The recovery point objective, in ms.
pub fn objective_ms(spec: &DisasterRecoveryPlanSpec) -> i64 {
    let objective = Duration::from(spec.recovery_point_objective);
    i64::try_from(objective.as_millis()).unwrap_or(i64::MAX)
}

/// `Protected` where a mapping does not replicate.
fn replication_stopped(scope: &Scope<'_>, observed: &Observed) -> Option<ConditionState> {
    let mappings = &scope.object.spec.topic_mappings;
    if mappings.is_empty() {
        let text = "no topic is replicated: add topicMappings";
        return Some(ConditionState::no(protected::REPLICATION_STOPPED, text));
    }
    let runs = |it: &TopicMapping| observed.item(&it.name).is_some_and(|it| it.item_status == ItemStatus::Running);
    let stopped: Vec<_> = mappings.iter().filter(|it| !runs(it)).map(|it| it.name.clone()).collect();
    let text = format!("topic mappings do not replicate: {}", join_limited(&stopped));
    (!stopped.is_empty()).then(|| ConditionState::no(protected::REPLICATION_STOPPED, text))
}

/// `Protected` by the lags: whether a failover now would lose no more than the objective.
fn protection(scope: &Scope<'_>, observed: &Observed, lags: &[ConsumerGroupLag], disabled: bool) -> ConditionState {
    if let Some(stopped) = replication_stopped(scope, observed) {
        return stopped;
    }
    if disabled {
        let text = "the plan does not synchronize consumer progress, so that its lag is not known: set \
                    syncCheckpointEnabled: true";
        return ConditionState::unknown(protected::UNKNOWN, text);
    }
    let never: Vec<_> = lags.iter().filter(|it| it.lag_ms.is_none()).map(describe).collect();
    if !never.is_empty() {
        return ConditionState::no(protected::NEVER_SYNCED, format!("never synchronized: {}", join_limited(&never)));
    }
    let objective_ms = objective_ms(&scope.object.spec);
    let behind: Vec<_> = lags.iter().filter(|it| it.lag_ms.is_some_and(|ms| ms > objective_ms)).map(describe).collect();
    let objective = lag::duration(objective_ms / 1000);
    if !behind.is_empty() {
        let text = format!("consumer progress is more than {objective} behind: {}", join_limited(&behind));
        return ConditionState::no(protected::OBJECTIVE_EXCEEDED, text);
    }
    if lags.is_empty() {
        return ConditionState::unknown(protected::UNKNOWN, "the cloud reports no consumer group yet");
    }
    ConditionState::yes(protected::WITHIN_OBJECTIVE, format!("every consumer group is within {objective}"))
}

/// `OffsetsCovered`: whether every consumer group has an offset at the destination.
fn offsets_covered(lags: &[ConsumerGroupLag], disabled: bool) -> ConditionState {
    if disabled {
        return ConditionState::no(
            offsets::SYNC_DISABLED,
            "syncCheckpointEnabled is false: consumers start anew after a failover",
        );
    }
    let never: Vec<_> = lags.iter().filter(|it| it.lag_ms.is_none()).map(describe).collect();
    if !never.is_empty() {
        let text = format!(
            "not synchronized: {}; automatic synchronization skips groups that are offline at the destination: start a \
             consumer there, or annotate {}",
            join_limited(&never),
            crate::api::SYNC_CHECKPOINTS_ANNOTATION
        );
        return ConditionState::no(offsets::GROUPS_NOT_SYNCED, text);
    }
    if lags.is_empty() {
        return ConditionState::unknown(offsets::UNKNOWN, "the cloud reports no consumer group yet");
    }
    ConditionState::yes(offsets::ALL_GROUPS, "every consumer group is synchronized")
}

fn describe(lag: &ConsumerGroupLag) -> String {
    format!("{} of topic {} from {}", lag.group, lag.topic, lag.source_instance)
}
