//! Decides by the status of a group whose active site is as the spec says. The documentation lists the operations that each
//! status allows (section "EBS async replication rules" of the cloud reference).

use super::super::observe::Observed;
use super::super::request::consents;
use super::super::resolve;
use super::pairs::{self, AtRest};
use super::{Action, Decision, Draft, Verdict, Work};
use crate::api::condition::synced;
use crate::api::disk_replica_group::Replication;
use crate::cloud::ebs::{GroupView, ReplicationStatus as S};

/// Refuses to work with a group that only a person can repair.
pub(super) fn refuse_failed(draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    let id = &group.replica_group_id;
    let text = match &group.status {
        S::CreateFailed => format!(
            "group {id} could not be made (create_failed): see to the cause in the console and delete the group there; it is \
             made again then"
        ),
        S::FailoverFailed => format!(
            "the failover of group {id} failed (failover_failed), and the API cannot cancel it: write activeSite: {} and \
             failover.mode: Forced with a new failover.requestedAt to try it again, or correct the group in the console",
            draft.lifecycle.direction.standby().as_str()
        ),
        S::ReprotectFailed => format!(
            "replication of group {id} could not be reversed (reprotect_failed): the API takes no other call in this \
             status; correct the group in the console"
        ),
        S::DeleteFailed => format!(
            "somebody tried to delete group {id} (delete_failed): delete it in the console, it is made again then, or delete \
             this object"
        ),
        status => {
            let broken = pairs::broken_pairs(&draft, observed);
            let broken = if broken.is_empty() { String::new() } else { format!("; pairs: {broken}") };
            format!(
                "group {id} cannot be used any more ({}){broken}: remove the broken pairs from the spec, or delete this \
                 object and make it anew",
                status.as_str()
            )
        }
    };
    draft.refuse(synced::GROUP_FAILED, text)
}

/// Decides the steps for a group whose active site is as the spec says.
pub(super) fn decide_by_status(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    let running = draft.spec().replication == Replication::Running;
    let status = &group.status;
    match status {
        S::Stopped | S::Stopping | S::StopFailed | S::ManualSyncing if running => {
            draft.add_drift("replication", "Running", status.as_str());
        }
        // The difference lasts until replication is stopped, so that an event reports its correction.
        S::InitialSyncing | S::Syncing | S::Normal | S::Stopping | S::StopFailed if !running => {
            draft.add_drift("replication", "Stopped", status.as_str());
        }
        _ => {}
    }
    match status {
        S::Creating => draft.wait(Work::Creating, "the group to be made"),
        S::Created | S::Stopped => decide_at_rest(draft, group, observed),
        S::InitialSyncing | S::Syncing | S::Normal if !running => draft.act(Action::StopGroup, Work::Updating),
        S::InitialSyncing | S::Syncing | S::Normal if pairs::blank_pairs(&draft, group, observed).is_some() => {
            let text = pairs::blank_pairs(&draft, group, observed).unwrap_or_default();
            draft.refuse(synced::COPY_REFUSED, text)
        }
        S::InitialSyncing | S::Syncing | S::Normal if pairs::change_not_kept(&draft, group) => {
            pairs::refuse_change_not_kept(draft)
        }
        S::InitialSyncing | S::Syncing | S::Normal if pairs::has_drift(&draft) => pairs::refuse_while_running(draft),
        S::InitialSyncing | S::Syncing | S::Normal => match pairs::missing_pairs(&draft) {
            Some(on) => draft.wait(Work::Updating, on),
            None => draft.finish(Verdict::InSync),
        },
        S::ManualSyncing => draft.wait(Work::Updating, "a single synchronization to end"),
        S::Stopping => draft.wait(Work::Updating, "replication to be stopped"),
        S::StopFailed => draft.act(Action::StopGroup, Work::Updating),
        S::Failovering => draft.wait(Work::FailingOver, "the failover to end"),
        S::Reprotecting => draft.wait(Work::Reprotecting, "replication to be reversed"),
        S::Deleting => draft.wait(Work::Deleting, "somebody's deletion of the group to end"),
        S::Invalid if removes_leftovers(&mut draft, group, observed) => draft.finish(Verdict::Acting(Work::Updating)),
        S::Failovered
        | S::FailoverFailed
        | S::ReprotectFailed
        | S::CreateFailed
        | S::DeleteFailed
        | S::Invalid
        | S::Deleted => refuse_failed(draft, group, observed),
        S::Other(name) => {
            let on = undocumented_status(name);
            draft.wait(Work::Updating, on)
        }
    }
}

/// The end of an undocumented status, for which the operator waits.
pub(super) fn undocumented_status(status: &str) -> String {
    format!("the status {status:?}, which is not documented, to end")
}

/// Removes the pairs that the spec no longer names from an invalid group. The API allows no other call on it.
fn removes_leftovers(draft: &mut Draft<'_>, group: &GroupView, observed: &Observed) -> bool {
    pairs::remove_leftovers(draft, group, observed);
    !draft.actions.is_empty()
}

/// Decides the steps for a group that is created or stopped: only then the API changes it.
fn decide_at_rest(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    let first = draft.scope.head().synced_generation.is_none();
    let work = if first { Work::Creating } else { Work::Updating };
    match pairs::change_at_rest(&mut draft, group, observed) {
        AtRest::Acting => draft.finish(Verdict::Acting(work)),
        AtRest::Waiting(on) => draft.wait(work, on),
        AtRest::Refused(text) => draft.refuse(synced::GROUP_FAILED, text),
        AtRest::InSync if draft.spec().replication == Replication::Running => {
            let empty = !observed.pairs.iter().any(|pair| resolve::in_group(pair, group));
            let blank = pairs::blank_pairs(&draft, group, observed).filter(|_| empty);
            match pairs::copy_refusal(&draft, group, observed).or(blank) {
                Some(text) => draft.refuse(synced::COPY_REFUSED, text),
                None if draft.lifecycle.reversed_by_other
                    && !consents(&draft.scope, draft.lifecycle.active, draft.lifecycle.active_since) =>
                {
                    refuse_unrequested_copy(draft)
                }
                None => draft.act(Action::StartGroup { one_shot: false }, work),
            }
        }
        AtRest::InSync if pairs::blank_pairs(&draft, group, observed).is_some() => {
            let text = pairs::blank_pairs(&draft, group, observed).unwrap_or_default();
            draft.refuse(synced::COPY_REFUSED, text)
        }
        AtRest::InSync if pairs::change_not_kept(&draft, group) => pairs::refuse_change_not_kept(draft),
        AtRest::InSync => draft.finish(Verdict::InSync),
    }
}

/// Refuses to start replication in a direction that this object did not ask for: it overwrites the former site.
fn refuse_unrequested_copy(draft: Draft<'_>) -> Decision {
    let (active, former) = (draft.lifecycle.active.as_str(), draft.lifecycle.active.other().as_str());
    let text = format!(
        "replication is not started: another actor reversed it, and the first synchronization overwrites the disks of the \
         {former}. If these may be lost, write activeSite: {active} and failover.overwrite: {former} with a new \
         failover.requestedAt, or start replication in the console"
    );
    draft.refuse(synced::REPROTECT_WAITS, text)
}
