//! The conditions of a plan: whether all of it runs, and whether a failover now would work.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::decide::{self, Decision, Verdict, Work};
use super::super::observe::Observed;
use super::super::{Scope, lag, resolve};
use super::facts::{missing_is_proven, plan_of};
use crate::api::condition::{condition_type, offsets, protected, ready};
use crate::api::plan::{
    Consumers, DisasterRecoveryPlanSpec, DisasterRecoveryPlanStatus, MappingState, PlanType, TopicMapping,
};
use crate::cloud::list::List;
use crate::cloud::rocketmq::{Checkpoint, ItemStatus, PlanStatus, PlanView};
use crate::controller::conditions::{ConditionState, find, join_limited};
use crate::telemetry::metrics::ConsumerGroupLag;

/// `Ready`: whether the plan and its items run as the spec says.
pub(super) fn readiness(scope: &Scope<'_>, decision: &Decision, observed: &Observed) -> ConditionState {
    let Some(plan) = plan_of(scope, observed) else {
        return match &decision.verdict {
            Verdict::Refused { message, .. } => ConditionState::no(ready::NOT_READY, message.clone()),
            Verdict::Waiting { on, .. } if missing(scope, observed).is_some() => {
                ConditionState::unknown(ready::NOT_READY, on.clone())
            }
            _ => ConditionState::no(ready::CREATING, "the plan is being created"),
        };
    };
    if let PlanStatus::Other(status) = &plan.plan_status {
        return ConditionState::unknown(ready::NOT_READY, undocumented(status));
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

/// The ID of a plan that is not found, without proof that it is gone.
fn missing(scope: &Scope<'_>, observed: &Observed) -> Option<i64> {
    observed.missing.filter(|id| observed.binding.knows(*id) && !missing_is_proven(scope, observed))
}

fn undocumented(status: &str) -> String {
    format!("the plan is {status:?}, a status that is not documented")
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
        (None, _) => match missing(scope, observed) {
            Some(id) => unknown(&format!("plan {id} is not found, and it is not known whether it is gone")),
            None => {
                let text = "there is no plan";
                let stopped = ConditionState::no(protected::REPLICATION_STOPPED, text);
                (stopped, ConditionState::unknown(offsets::UNKNOWN, text))
            }
        },
        (Some(_), Err(error)) if !scope.evidence_recent => {
            unknown(&format!("no checkpoint was read for more than three polls: {error}"))
        }
        (Some(plan), Err(_)) => {
            let not_proven = replication_stopped(scope, observed).or_else(|| {
                let text = replication_unknown(scope, observed, plan)?;
                Some(ConditionState::unknown(protected::UNKNOWN, text))
            });
            if let Some(state) = not_proven {
                return scope.set(&mut new.head, condition_type::PROTECTED, state);
            }
            let known = [condition_type::PROTECTED, condition_type::OFFSETS_COVERED];
            let known = known.iter().all(|it| find(&new.head.conditions, it).is_some());
            if known && scope.head().synced_generation == scope.generation() {
                return;
            }
            unknown("no checkpoint was read yet")
        }
        (Some(plan), Ok(checkpoints)) => {
            let lags = lag::lags(&scope.object.spec, observed.mapped_items(), checkpoints);
            let disabled = plan.sync_checkpoint_enabled == Some(false);
            summarize(scope, new, &lags, disabled);
            let mut gaps = evidence_gaps(scope, observed, checkpoints, &lags);
            gaps.extend(decide::other_direction(&scope.object.spec, observed, plan));
            let mappings = &scope.object.spec.topic_mappings;
            let unread =
                |it: &TopicMapping| it.consumers == Consumers::NotExpected && observed.item(&it.name).is_some();
            let nothing_to_cover = !mappings.is_empty() && mappings.iter().all(unread);
            let evidence = Evidence { lags: &lags, disabled, gaps, nothing_to_cover };
            (protection(scope, observed, plan, &evidence), offsets_covered(&evidence))
        }
    };
    scope.set(&mut new.head, condition_type::PROTECTED, protected);
    scope.set(&mut new.head, condition_type::OFFSETS_COVERED, covered);
}

/// The checkpoints that the conditions rest on.
struct Evidence<'a> {
    /// The lags of the consumer groups that count.
    lags: &'a [ConsumerGroupLag],
    /// Whether the plan does not synchronize consumer progress.
    disabled: bool,
    /// What is not known of mappings and consumer groups.
    gaps: Vec<String>,
    /// Whether no mapping is expected to have consumers, and each has an item.
    nothing_to_cover: bool,
}

/// What is not known of each mapping: a running one without checkpoints, an incomplete list, progress without timestamps.
fn evidence_gaps(
    scope: &Scope<'_>,
    observed: &Observed,
    checkpoints: &BTreeMap<i64, List<Checkpoint>>,
    lags: &[ConsumerGroupLag],
) -> Vec<String> {
    let mut gaps = Vec::new();
    for mapping in &scope.object.spec.topic_mappings {
        let name = &mapping.name;
        let Some(item) = observed.item(name) else {
            if !certainly_stopped(scope, observed, mapping) {
                gaps.push(format!("{name} (its item is not found)"));
            }
            continue;
        };
        let list = checkpoints.get(&item.item_id);
        let expected = mapping.consumers == Consumers::Expected && item.item_status == ItemStatus::Running;
        if list.is_some_and(|list| !list.is_complete()) {
            gaps.push(format!("{name} (its list of checkpoints cannot be read whole)"));
        } else if expected && !lags.iter().any(|lag| lag.mapping == *name) {
            gaps.push(format!("{name} (no checkpoint of a consumer group that counts)"));
        } else if let (true, Some(source)) = (expected, silent_source(scope, observed, name, lags)) {
            gaps.push(format!("{name} (no checkpoint from {source} of a consumer group that counts)"));
        }
    }
    let unknown = lags.iter().filter(|lag| lag::is_unknown(lag));
    gaps.extend(unknown.map(|lag| format!("{} ({}: progress without timestamps)", lag.mapping, describe(lag))));
    gaps
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

/// A source instance of a plan that replicates both ways, without any checkpoint of a mapping.
fn silent_source(scope: &Scope<'_>, observed: &Observed, mapping: &str, lags: &[ConsumerGroupLag]) -> Option<String> {
    let spec = &scope.object.spec;
    let sources = observed.sources(spec).into_iter().filter(|_| spec.plan_type == PlanType::ActiveActive);
    let counts = |source: &str| lags.iter().any(|lag| lag.mapping == mapping && lag.source_instance == source);
    sources.into_iter().find(|source| !counts(source)).map(str::to_owned)
}

/// `Protected` where a mapping certainly does not replicate.
fn replication_stopped(scope: &Scope<'_>, observed: &Observed) -> Option<ConditionState> {
    let mappings = &scope.object.spec.topic_mappings;
    if mappings.is_empty() {
        let text = "no topic is replicated: add topicMappings";
        return Some(ConditionState::no(protected::REPLICATION_STOPPED, text));
    }
    let stopped: Vec<_> =
        mappings.iter().filter(|it| certainly_stopped(scope, observed, it)).map(|it| it.name.clone()).collect();
    let text = format!("topic mappings do not replicate: {}", join_limited(&stopped));
    (!stopped.is_empty()).then(|| ConditionState::no(protected::REPLICATION_STOPPED, text))
}

/// Whether a mapping has no item, or one in a documented status other than RUNNING.
fn certainly_stopped(scope: &Scope<'_>, observed: &Observed, mapping: &TopicMapping) -> bool {
    match observed.item(&mapping.name).map(|item| &item.item_status) {
        Some(ItemStatus::Running | ItemStatus::Other(_)) => false,
        Some(_) => true,
        None => observed.items_complete && observed.has_instances(&scope.object.spec) && !any_missing(scope, observed),
    }
}

/// Whether an item may exist although a complete list lacks it: that of any mapping, since a mapping may have another name now.
fn any_missing(scope: &Scope<'_>, observed: &Observed) -> bool {
    let unproven = |id: &i64| !scope.absence(&resolve::item_part(*id)).is_proven();
    observed.missing_items(scope).iter().any(unproven)
}

/// The reason why it is not known what replicates, if there is one.
fn replication_unknown(scope: &Scope<'_>, observed: &Observed, plan: &PlanView) -> Option<String> {
    let spec = &scope.object.spec;
    if let PlanStatus::Other(status) = &plan.plan_status {
        return Some(undocumented(status));
    }
    if let Some(message) = decide::other_direction(spec, observed, plan) {
        return Some(message);
    }
    let mut unknown = Vec::new();
    for mapping in &spec.topic_mappings {
        match observed.item(&mapping.name).map(|item| &item.item_status) {
            Some(ItemStatus::Other(status)) => unknown.push(format!("{} ({status:?} is not documented)", mapping.name)),
            Some(_) => {}
            None => unknown.push(format!("{} (its item is not found)", mapping.name)),
        }
    }
    let text = format!("it is not known whether topic mappings replicate: {}", join_limited(&unknown));
    (!unknown.is_empty()).then_some(text)
}

/// `Protected` by the lags: whether a failover now would lose no more than the objective.
fn protection(scope: &Scope<'_>, observed: &Observed, plan: &PlanView, evidence: &Evidence<'_>) -> ConditionState {
    if let Some(stopped) = replication_stopped(scope, observed) {
        return stopped;
    }
    if let Some(text) = replication_unknown(scope, observed, plan) {
        return ConditionState::unknown(protected::UNKNOWN, text);
    }
    if evidence.disabled && !evidence.nothing_to_cover {
        let text = "the plan does not synchronize consumer progress, so that its lag is not known: set \
                    syncCheckpointEnabled: true";
        return ConditionState::unknown(protected::UNKNOWN, text);
    }
    let lags = evidence.lags;
    let never: Vec<_> = lags.iter().filter(|it| lag::never_synced(it)).map(describe).collect();
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
    if let Some(text) = unknown_progress(&evidence.gaps) {
        return ConditionState::unknown(protected::UNKNOWN, text);
    }
    ConditionState::yes(protected::WITHIN_OBJECTIVE, format!("every consumer group is within {objective}"))
}

/// The message on consumer progress that is not known, if some is not.
fn unknown_progress(gaps: &[String]) -> Option<String> {
    (!gaps.is_empty()).then(|| {
        format!(
            "consumer progress is not known: {}. Where this lasts, set consumers: None for a topic without consumers, and add \
             retired groups to ignoredConsumerGroups",
            join_limited(gaps)
        )
    })
}

/// `OffsetsCovered`: whether every consumer group has an offset at the destination.
fn offsets_covered(evidence: &Evidence<'_>) -> ConditionState {
    if evidence.disabled && !evidence.nothing_to_cover {
        return ConditionState::no(
            offsets::SYNC_DISABLED,
            "syncCheckpointEnabled is false: consumers start anew after a failover",
        );
    }
    let never: Vec<_> = evidence.lags.iter().filter(|it| lag::never_synced(it)).map(describe).collect();
    if !never.is_empty() {
        let text = format!(
            "not synchronized: {}; automatic synchronization skips groups that are offline at the destination: start a \
             consumer there, or annotate {}",
            join_limited(&never),
            crate::api::SYNC_CHECKPOINTS_ANNOTATION
        );
        return ConditionState::no(offsets::GROUPS_NOT_SYNCED, text);
    }
    if let Some(text) = unknown_progress(&evidence.gaps) {
        return ConditionState::unknown(offsets::UNKNOWN, text);
    }
    if evidence.lags.is_empty() && !evidence.nothing_to_cover {
        return ConditionState::unknown(offsets::UNKNOWN, "the cloud reports no consumer group yet");
    }
    ConditionState::yes(offsets::ALL_GROUPS, "every consumer group is synchronized")
}

fn describe(lag: &ConsumerGroupLag) -> String {
    format!("{} of topic {} from {}", lag.group, lag.topic, lag.source_instance)
}
