//! What the conditions say: whether everything runs, whether a failover now would work, whether the cloud matches the spec.

use std::time::Duration;

use super::super::decide::{Decision, Verdict, Work};
use super::super::lag::{self, GroupLag};
use super::super::observe::{Lookup, Observed};
use super::super::resolve::Items;
use super::{Pass, set};
use crate::api::condition::{condition_type, offsets, protected, ready, synced};
use crate::api::plan::{
    DisasterRecoveryPlanSpec, DisasterRecoveryPlanStatus, ManagementPolicy, MappingState, TopicMapping,
};
use crate::cloud::error::{Class, Error};
use crate::cloud::rocketmq::{ItemStatus, PlanView};
use crate::controller::conditions::{self, ConditionState};
use crate::controller::conditions::{failure, listed};

/// Whether everything runs as the spec says.
pub(super) fn readiness(
    pass: &Pass<'_>,
    decision: &Decision,
    plan: Option<&PlanView>,
    items: &Items<'_>,
) -> ConditionState {
    if pass.deleting {
        return ConditionState::no(ready::DELETING, "the object is being deleted");
    }
    let Some(_) = plan else {
        return match &decision.verdict {
            Verdict::Refused { message, .. } => ConditionState::no(ready::NOT_READY, message.clone()),
            _ => ConditionState::no(ready::CREATING, "the plan is being created"),
        };
    };
    let current = pass.old.synced_generation == pass.generation;
    let overdue = |it: &TopicMapping| {
        let status = items.mapped.get(it.name.as_str()).map(|item| &item.item_status);
        it.state == MappingState::Running && status == Some(&ItemStatus::OverdueStopped)
    };
    let current = current || pass.spec.topic_mappings.iter().any(overdue);
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
    let all = pass.spec.topic_mappings.len();
    let idle = all > 0 && pass.spec.topic_mappings.iter().all(|it| it.state == MappingState::Stopped);
    let (mut stopped, mut running, mut passing) = (Vec::new(), Vec::new(), Vec::new());
    for mapping in pass.spec.topic_mappings.iter().filter(|it| idle || it.state == MappingState::Running) {
        match items.mapped.get(mapping.name.as_str()).map(|item| &item.item_status) {
            Some(status @ (ItemStatus::Creating | ItemStatus::Changing)) if pass.observing() => {
                passing.push(format!("{} ({})", mapping.name, status.as_str()));
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
    if !stopped.is_empty() && !pass.old.paused_items.is_empty() {
        return ConditionState::no(ready::UPDATING, "topic mappings are stopped while the plan is changed");
    }
    if !stopped.is_empty() {
        return ConditionState::no(ready::NOT_READY, format!("topic mappings do not run: {}", listed(&stopped)));
    }
    if !running.is_empty() {
        return ConditionState::no(ready::NOT_READY, format!("topic mappings are not stopped: {}", listed(&running)));
    }
    if !passing.is_empty() {
        return ConditionState::no(ready::UPDATING, format!("topic mappings are being changed: {}", listed(&passing)));
    }
    if idle {
        return ConditionState::yes(ready::STOPPED, "every topic mapping is stopped, as the spec says");
    }
    match &decision.verdict {
        Verdict::Refused { message, .. } => ConditionState::no(ready::NOT_READY, message.clone()),
        _ => ConditionState::yes(ready::AVAILABLE, format!("the plan is as the spec says; topic mappings: {all}")),
    }
}

/// Lags, and what they mean for a failover.
pub(super) fn coverage(
    pass: &Pass<'_>,
    new: &mut DisasterRecoveryPlanStatus,
    seen: &Observed,
    plan: Option<&PlanView>,
    items: &Items<'_>,
) {
    let unknown = |text: &str| {
        (ConditionState::unknown(protected::UNKNOWN, text), ConditionState::unknown(offsets::UNKNOWN, text))
    };
    let (protection, covered) = match (plan, &seen.checkpoints) {
        _ if pass.deleting => unknown("the object is being deleted"),
        (None, _) if matches!(seen.plan, Lookup::Found(_)) => unknown("the plan is another owner's"),
        (None, _) => {
            let text = "there is no plan";
            (ConditionState::no(protected::REPLICATION_STOPPED, text), ConditionState::unknown(offsets::UNKNOWN, text))
        }
        (Some(_), Err(error)) if !pass.fresh => {
            unknown(&format!("no checkpoint was read for more than three polls: {error}"))
        }
        (Some(_), Err(_)) => match (replicates(pass, items), still_true(new)) {
            (Err(statement), _) => {
                set(pass, new, condition_type::PROTECTED, statement);
                return;
            }
            (Ok(()), true) if pass.old.synced_generation == pass.generation => return,
            (Ok(()), _) => unknown("no checkpoint was read yet"),
        },
        (Some(plan), Ok(checkpoints)) => {
            let lags = lag::lags(items, checkpoints);
            let objective_ms = objective_ms(pass.spec);
            let disabled = plan.sync_checkpoint_enabled == Some(false);
            if disabled {
                new.checkpoints = None;
                new.topic_mappings.iter_mut().for_each(|it| it.checkpoints = None);
            } else {
                let stale_ms = pass.poll_ms.saturating_mul(20).max(900_000);
                for entry in &mut new.topic_mappings {
                    let own = lags.iter().filter(|it| it.mapping == entry.name);
                    entry.checkpoints = Some(lag::summary(own, objective_ms, entry.checkpoints.as_ref()));
                }
                new.checkpoints =
                    Some(lag::plan_checkpoints(&lags, objective_ms, pass.old.checkpoints.as_ref(), stale_ms));
            }
            (protection(pass, &lags, objective_ms, disabled, items), covered(&lags, disabled))
        }
    };
    set(pass, new, condition_type::PROTECTED, protection);
    set(pass, new, condition_type::OFFSETS_COVERED, covered);
}

pub(super) fn still_true(new: &DisasterRecoveryPlanStatus) -> bool {
    conditions::find(&new.conditions, condition_type::PROTECTED).is_some()
        && conditions::find(&new.conditions, condition_type::OFFSETS_COVERED).is_some()
}

/// The objective in ms.
pub fn objective_ms(spec: &DisasterRecoveryPlanSpec) -> i64 {
    let objective = Duration::from(spec.recovery_point_objective);
    i64::try_from(objective.as_millis()).unwrap_or(i64::MAX)
}

/// Whether every mapping replicates, or what is said where one does not.
pub(super) fn replicates(pass: &Pass<'_>, items: &Items<'_>) -> Result<(), ConditionState> {
    let runs = |name: &str| items.mapped.get(name).is_some_and(|item| item.item_status == ItemStatus::Running);
    let stopped: Vec<_> =
        pass.spec.topic_mappings.iter().filter(|it| !runs(&it.name)).map(|it| it.name.clone()).collect();
    if pass.spec.topic_mappings.is_empty() {
        return Err(ConditionState::no(protected::REPLICATION_STOPPED, "no topic is replicated: add topicMappings"));
    }
    if !stopped.is_empty() {
        let text = format!("topic mappings do not replicate: {}", listed(&stopped));
        return Err(ConditionState::no(protected::REPLICATION_STOPPED, text));
    }
    Ok(())
}

pub(super) fn protection(
    pass: &Pass<'_>,
    lags: &[GroupLag],
    objective_ms: i64,
    disabled: bool,
    items: &Items<'_>,
) -> ConditionState {
    if let Err(statement) = replicates(pass, items) {
        return statement;
    }
    if disabled {
        let text = "the plan does not synchronize consumer progress, so that its lag is not known: set \
                    syncCheckpointEnabled: true";
        return ConditionState::unknown(protected::UNKNOWN, text);
    }
    let never: Vec<_> = lags.iter().filter(|it| it.lag_ms.is_none()).map(named).collect();
    if !never.is_empty() {
        return ConditionState::no(protected::NEVER_SYNCED, format!("never synchronized: {}", listed(&never)));
    }
    let behind: Vec<_> = lags.iter().filter(|it| it.lag_ms.is_some_and(|ms| ms > objective_ms)).map(named).collect();
    let objective = lag::duration(objective_ms / 1000);
    if !behind.is_empty() {
        let text = format!("consumer progress is more than {objective} behind: {}", listed(&behind));
        return ConditionState::no(protected::OBJECTIVE_EXCEEDED, text);
    }
    if lags.is_empty() {
        return ConditionState::unknown(protected::UNKNOWN, "the cloud reports no consumer group yet");
    }
    ConditionState::yes(protected::WITHIN_OBJECTIVE, format!("every consumer group is within {objective}"))
}

pub(super) fn covered(lags: &[GroupLag], disabled: bool) -> ConditionState {
    if disabled {
        return ConditionState::no(
            offsets::SYNC_DISABLED,
            "syncCheckpointEnabled is false: consumers start anew after a failover",
        );
    }
    let never: Vec<_> = lags.iter().filter(|it| it.lag_ms.is_none()).map(named).collect();
    if !never.is_empty() {
        let text = format!(
            "not synchronized: {}; automatic synchronization skips groups that are offline at the destination: start a \
             consumer there, or annotate {}",
            listed(&never),
            crate::api::SYNC_CHECKPOINTS_ANNOTATION
        );
        return ConditionState::no(offsets::GROUPS_NOT_SYNCED, text);
    }
    if lags.is_empty() {
        return ConditionState::unknown(offsets::UNKNOWN, "the cloud reports no consumer group yet");
    }
    ConditionState::yes(offsets::ALL_GROUPS, "every consumer group is synchronized")
}

pub(super) fn named(lag: &GroupLag) -> String {
    format!("{} of topic {} from {}", lag.group, lag.topic, lag.source_instance)
}

/// Whether the cloud matches the spec.
pub(super) fn synchrony(
    pass: &Pass<'_>,
    new: &DisasterRecoveryPlanStatus,
    seen: &Observed,
    decision: &Decision,
    failed: Option<&Error>,
    refused_while_running: bool,
) -> ConditionState {
    let fields = || listed(&new.drift.iter().map(|it| it.field.clone()).collect::<Vec<_>>());
    if pass.deleting {
        return match (failed, &decision.verdict) {
            (Some(error), _) => ConditionState::no(synced::DELETION_BLOCKED, error.to_string()),
            (None, Verdict::Refused { reason, message }) => ConditionState::no(reason, message.clone()),
            (None, Verdict::Waiting { on, .. }) => ConditionState::no(synced::PROGRESSING, on.clone()),
            (None, Verdict::Acting(_) | Verdict::InSync | Verdict::Released { .. }) => {
                ConditionState::no(synced::PROGRESSING, "the cloud side is being deleted")
            }
        };
    }
    let drifted = pass.old.synced_generation == pass.generation && !new.drift.is_empty();
    if refused_while_running {
        let text = "the API refuses to change the plan while items run: they are stopped for it and started again";
        return match drifted {
            true => ConditionState::no(synced::DRIFTED, format!("somebody changed {}; {text}", fields())),
            false => ConditionState::no(synced::PROGRESSING, text),
        };
    }
    match (failed, &decision.verdict) {
        // That the plan still refuses is what a person has to act on.
        (Some(Error { class: Class::Conflict, .. }) | None, Verdict::Refused { reason, message }) => {
            return ConditionState::no(reason, message.clone());
        }
        (Some(error), _) => return failure(error).0,
        (None, _) => {}
    }
    if let Err(error) = &seen.checkpoints {
        return failure(error).0;
    }
    if pass.spec.management_policy == ManagementPolicy::Observe {
        return match new.drift.is_empty() {
            true => ConditionState::yes(synced::OBSERVE_ONLY, "the cloud matches the spec; nothing is ever changed"),
            false => ConditionState::no(
                synced::OBSERVE_ONLY,
                format!("the cloud differs in {}; nothing is changed, since managementPolicy is Observe", fields()),
            ),
        };
    }
    match &decision.verdict {
        Verdict::InSync => ConditionState::yes(synced::IN_SYNC, "the cloud matches the spec"),
        _ if drifted => {
            ConditionState::no(synced::DRIFTED, format!("somebody changed {}; it is being corrected", fields()))
        }
        Verdict::Waiting { on, .. } => ConditionState::no(synced::PROGRESSING, on.clone()),
        Verdict::Acting(_) | Verdict::Refused { .. } | Verdict::Released { .. } => {
            let text = if new.drift.is_empty() {
                "the cloud is being changed".into()
            } else {
                format!("changing {}", fields())
            };
            ConditionState::no(synced::PROGRESSING, text)
        }
    }
}
