//! Says in status what a pass saw and did. Pure: the old status, the pass and the time in, the new status out.

mod conditions;
mod facts;

use std::time::Duration;

use jiff::Timestamp;

pub use self::conditions::objective_ms;
use self::conditions::{coverage, readiness, synchrony};
use self::facts::{identity, mappings, pauses, plan_of, sent_credentials, update_failed};
use super::act::{Acted, Outcome, TOO_SLOW};
use super::decide::{Decision, Step, Verdict};
use super::observe::{Binding, Observed};
use super::resolve;
use crate::api::condition::{condition_type, offsets, protected, synced};
use crate::api::plan::{
    CreationStatus, DisasterRecoveryPlan, DisasterRecoveryPlanSpec, DisasterRecoveryPlanStatus, ItemCreationStatus,
    ManagementPolicy,
};
use crate::cloud::error::{Class, Error};
use crate::cloud::rocketmq::ItemStatus;
use crate::controller::conditions::failure;
use crate::controller::conditions::{ConditionSetter, ConditionState, Truth, seconds};

/// The pass that a status is about.
#[derive(Clone, Copy, Debug)]
pub struct Pass<'a> {
    /// The generation of the spec.
    pub generation: Option<i64>,
    /// Whether the object is being deleted.
    pub deleting: bool,
    /// The status as the API server has it, the intents of this pass included.
    pub old: &'a DisasterRecoveryPlanStatus,
    /// The spec.
    pub spec: &'a DisasterRecoveryPlanSpec,
    /// Where the plan is.
    pub binding: &'a Binding,
    /// The value of the annotation that asks for a pass.
    pub reconcile_requested: Option<&'a str>,
    /// The value of the annotation that asks for a synchronization of all checkpoints.
    pub sync_requested: Option<&'a str>,
    /// How often the cloud is looked at, in ms.
    pub poll_ms: i64,
    /// Whether the last complete observation, of this pass or before, or else this process's first pass, is younger than three
    /// polls.
    pub fresh: bool,
    /// How long an item may take to become visible after the call that made it.
    pub visibility_window: Duration,
    /// The time.
    pub now: Timestamp,
}

impl Pass<'_> {
    /// Whether the plan is only looked at.
    fn observing(&self) -> bool {
        self.spec.management_policy == ManagementPolicy::Observe
    }
}

/// What the pass came to.
pub type Report<'a> = crate::controller::resource::Report<'a, DisasterRecoveryPlan>;

/// The status with the intents of the decision's calls that have no client token, if there are any. It is written before
/// them, so that a crash or a lost answer is followed by looking and not by doing it again.
pub fn intended(
    old: &DisasterRecoveryPlanStatus,
    decision: &Decision,
    nonce: &str,
    now: Timestamp,
) -> Option<DisasterRecoveryPlanStatus> {
    let (mut new, time) = (old.clone(), seconds(now));
    for step in &decision.steps {
        let nonce = nonce.to_owned();
        match step {
            Step::CreatePlan { .. } => (new.creation, new.plan_id) = (Some(CreationStatus { nonce, time }), None),
            Step::AddItem { topics, .. } => {
                let topics = resolve::pair(topics);
                new.item_creations.retain(|it| it.topics != topics);
                new.item_creations.push(ItemCreationStatus { topics, nonce, time, item_id: None });
            }
            Step::UpdatePlan { .. }
            | Step::UpdateItem { .. }
            | Step::StartItem { .. }
            | Step::StopItem { .. }
            | Step::DeleteItem { .. }
            | Step::DeletePlan { .. }
            | Step::SyncCheckpoints { .. } => {}
        }
    }
    (new != *old).then_some(new)
}

/// The most differences that status names: thousands of items to be pruned must not make the object too large.
const MOST_DRIFT: usize = 50;

/// The first failure among the outcomes.
pub fn first_failure(acted: &[Acted]) -> Option<&Error> {
    acted.iter().find_map(|it| match &it.outcome {
        Outcome::Failed(error) => Some(error),
        Outcome::Done | Outcome::CreatedPlan(_) | Outcome::AddedItem(_) | Outcome::Synced { .. } | Outcome::Skipped => {
            None
        }
    })
}

/// The status after a pass.
pub fn status(pass: &Pass<'_>, report: &Report<'_>) -> DisasterRecoveryPlanStatus {
    let mut new = pass.old.clone();
    new.observed_generation = pass.generation;
    if pass.reconcile_requested != pass.old.last_handled_reconcile_at.as_deref() {
        new.update_attempts = None;
    }
    match report {
        Report::Suspended => standing(pass).suspended(&mut new.conditions),
        Report::Failed { synced, stalled } => {
            standing(pass).unseen(&mut new.conditions, synced, *stalled);
            new.last_handled_reconcile_at = pass.reconcile_requested.map(Into::into);
        }
        Report::Ran { seen, decision, acted } => {
            ran(pass, &mut new, seen, decision, acted);
            new.last_handled_reconcile_at = pass.reconcile_requested.map(Into::into);
        }
    }
    new
}

/// What becomes unknown with time, besides `Ready`.
const PASSING: &[(&str, &str)] =
    &[(condition_type::PROTECTED, protected::UNKNOWN), (condition_type::OFFSETS_COVERED, offsets::UNKNOWN)];

fn standing(pass: &Pass<'_>) -> ConditionSetter<'static> {
    ConditionSetter {
        generation: pass.generation,
        synced_generation: pass.old.synced_generation,
        deleting: pass.deleting,
        observing: pass.observing(),
        fresh: pass.fresh,
        passing: PASSING,
        now: pass.now,
    }
}

fn set(pass: &Pass<'_>, new: &mut DisasterRecoveryPlanStatus, kind: &str, statement: ConditionState) {
    standing(pass).set(&mut new.conditions, kind, statement);
}

fn ran(pass: &Pass<'_>, new: &mut DisasterRecoveryPlanStatus, seen: &Observed, decision: &Decision, acted: &[Acted]) {
    let failed = first_failure(acted);
    identity(pass, new, seen, decision, acted);
    mappings(pass, new, seen, acted);
    sent_credentials(pass, new, seen, acted);
    let refused_while_running = update_failed(acted, Class::Conflict).is_some()
        && seen.items.iter().any(|item| item.item_status == ItemStatus::Running);
    let blocked_by = decision.blocked_by.as_deref().filter(|_| refused_while_running);
    pauses(pass, new, seen, decision, acted, refused_while_running && blocked_by.is_none());
    new.drift = decision.drift.iter().take(MOST_DRIFT).cloned().collect();
    let correcting = pass.old.synced_generation == pass.generation && !pass.deleting;
    if (correcting || !pass.old.paused_items.is_empty())
        && matches!(decision.verdict, Verdict::Acting(_) | Verdict::Waiting { .. })
    {
        // What was found is not corrected before all runs again.
        let lasting = pass.old.drift.iter().filter(|old| !decision.drift.iter().any(|new| new.field == old.field));
        new.drift.extend(lasting.cloned());
        new.drift.truncate(MOST_DRIFT);
    }
    // What took too long goes on with the next pass.
    let whole = |first: &Option<Error>| first.as_ref().is_none_or(|error| error.code != TOO_SLOW);
    let synchronized = acted.iter().any(|it| matches!(&it.outcome, Outcome::Synced { first, .. } if whole(first)));
    if synchronized || pass.observing() {
        new.last_handled_sync_checkpoints_at = pass.sync_requested.map(Into::into);
    }

    let plan = plan_of(pass, seen);
    let instances = plan.map(|plan| resolve::instances(pass.spec, plan)).unwrap_or_default();
    let items = resolve::items(pass.spec, &pass.old.topic_mappings, &instances, &seen.items);
    coverage(pass, new, seen, plan, &items);
    let ready = readiness(pass, decision, plan, &items);
    let synced = match blocked_by {
        Some(message) if !pass.deleting => ConditionState::no(synced::ITEMS_RUNNING, message),
        _ => synchrony(pass, new, seen, decision, failed, refused_while_running),
    };
    let reached = synced.truth == Truth::True;
    if !pass.deleting && reached {
        new.synced_generation = pass.generation;
    }
    // Whoever may not read checkpoints knows of no protection until somebody allows it.
    let failed = failed.or(seen.checkpoints.as_ref().err());
    let stalled = blocked_by.is_some() || failed.is_some_and(|error| failure(error).1);
    standing(pass).conclude(&mut new.conditions, ready, synced, &decision.verdict, stalled);
}
