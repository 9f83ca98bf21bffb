//! `Ready`: whether the plan and its items run as the spec says.

use super::super::Scope;
use super::super::decide::{Decision, Verdict, Work};
use super::super::grounds::{missing, plan_of, undocumented};
use super::super::observe::Observed;
use crate::api::condition::ready;
use crate::api::plan::{MappingState, TopicMapping};
use crate::cloud::rocketmq::{ItemStatus, PlanStatus};
use crate::controller::conditions::{ConditionState, join_limited};

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
