//! Says in status what a pass saw and did. Pure: the old status, the pass and the time in, the new status out.

mod conditions;
mod facts;

use self::conditions::{protection, readiness, synchrony};
pub use self::facts::intended;
use super::Scope;
use super::act::{Acted, Outcome, first_failure};
use super::decide::{Action, Decision};
use super::observe::Observed;
use crate::api::condition::{condition_type, drill, protected};
use crate::api::disk_replica_group::{DiskReplicaGroup, DiskReplicaGroupStatus};
use crate::api::{DRILL_ANNOTATION, RECONCILE_ANNOTATION};
use crate::cloud::error::Class;
use crate::controller::conditions::{ConditionSetter, ConditionState, Truth, remove};
use crate::controller::resource::{Report, Resource};

/// What becomes unknown with time, besides `Ready`.
const PASSING: &[(&str, &str)] = &[(condition_type::PROTECTED, protected::UNKNOWN)];

/// The status after a pass.
pub fn status(it: &Scope<'_>, report: &Report<'_, DiskReplicaGroup>) -> DiskReplicaGroupStatus {
    let mut new = it.status.clone();
    new.observed_generation = it.generation();
    let standing = ConditionSetter {
        generation: it.generation(),
        synced_generation: it.status.synced_generation,
        deleting: it.deleting(),
        observing: Resource::observing(&it.object),
        fresh: it.fresh,
        passing: PASSING,
        now: it.now,
    };
    match report {
        Report::Suspended => {
            standing.suspended(&mut new.conditions);
            return new;
        }
        Report::Failed { synced, stalled } => standing.unseen(&mut new.conditions, synced, *stalled),
        Report::Ran { seen, decision, acted } => ran(it, &standing, &mut new, seen, decision, acted),
    }
    new.last_handled_reconcile_at = it.annotation(RECONCILE_ANNOTATION).map(Into::into);
    new
}

fn ran(
    it: &Scope<'_>,
    standing: &ConditionSetter<'_>,
    new: &mut DiskReplicaGroupStatus,
    seen: &Observed,
    decision: &Decision,
    acted: &[Acted],
) {
    facts::facts(it, new, seen, decision, acted);
    if decision.drill_handled || drill_ignored(it) {
        new.last_handled_drill_at = it.annotation(DRILL_ANNOTATION).map(Into::into);
    }
    let protected = protection(it, new, seen, decision);
    standing.set(&mut new.conditions, condition_type::PROTECTED, protected);
    let ready = readiness(it, new, seen, decision);
    let (synced, by_failure) = synchrony(it, new, seen, decision, first_failure(acted));
    if !it.deleting() && synced.truth == Truth::True {
        new.synced_generation = it.generation();
    }
    match not_cleared(decision, acted) {
        Some(text) => {
            standing.set(
                &mut new.conditions,
                condition_type::DRILL_NOT_CLEARED,
                ConditionState::yes(drill::CLEAR_OVERDUE, text),
            );
        }
        None => remove(&mut new.conditions, condition_type::DRILL_NOT_CLEARED),
    }
    standing.conclude(&mut new.conditions, ready, synced, &decision.verdict, by_failure);
}

/// Whether a drill is asked for that this object never makes.
pub fn drill_ignored(it: &Scope<'_>) -> bool {
    it.object.spec.drill.is_none() || Resource::observing(&it.object)
}

/// Why the clones of a drill are there still, though they should not be.
fn not_cleared(decision: &Decision, acted: &[Acted]) -> Option<String> {
    let failed = acted.iter().find_map(|it| match (&it.step.action, &it.outcome) {
        (Action::ClearDrill { drill_id }, Outcome::Failed(error)) => match error.class {
            // It is not ready to be cleared, or is asked again in a moment.
            Class::Conflict | Class::Throttled { .. } | Class::Unavailable => None,
            Class::NotFound | Class::Denied | Class::Invalid | Class::Ambiguous => {
                Some(format!("drill {drill_id} could not be cleared: {error}"))
            }
        },
        _ => None,
    });
    let text = failed.or_else(|| decision.drill_overdue.clone())?;
    Some(format!("{text}; its disks are billed until they are gone: delete them in the console if it goes on"))
}
