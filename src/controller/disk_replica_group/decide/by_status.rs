//! What to do in each status of a group whose active site is as the spec says. The documents say which operation is allowed
//! in which status (section "EBS async replication rules" of what the vendor's pages come to).

use super::super::observe::Observed;
use super::pairs::{self, Need};
use super::{Action, Decision, Draft, Verdict, Work};
use crate::api::condition::synced;
use crate::api::disk_replica_group::{Phase, Replication};
use crate::cloud::ebs::{GroupView, ReplicationStatus as S};

/// What is said of a group that only a person can help.
pub(super) fn failed(draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    let id = &group.replica_group_id;
    let text = match &group.status {
        S::CreateFailed => format!(
            "group {id} could not be made (create_failed): see to the cause in the console and delete the group there; it is \
             made again then"
        ),
        S::FailoverFailed => format!(
            "the failover of group {id} failed (failover_failed), and the API cannot take it back: set activeSite: {} to \
             try it again, or see to the group in the console",
            draft.lifecycle.direction.standby().as_str()
        ),
        S::ReprotectFailed => format!(
            "replication of group {id} could not be turned round (reprotect_failed): the API takes no other call in this \
             status; see to the group in the console"
        ),
        S::DeleteFailed => format!(
            "somebody tried to delete group {id} (delete_failed): delete it in the console, it is made again then, or delete \
             this object"
        ),
        status => {
            let broken = pairs::broken(&draft, observed);
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

/// What to do for a group whose active site is as it should be.
pub(super) fn steady(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    let running = draft.spec().replication == Replication::Running;
    let status = &group.status;
    match status {
        S::Stopped | S::Stopping | S::StopFailed | S::ManualSyncing if running => {
            draft.differs("replication", "Running", status.as_str());
        }
        // Until it is stopped, so that the end of the difference is told.
        S::InitialSyncing | S::Syncing | S::Normal | S::Stopping | S::StopFailed if !running => {
            draft.differs("replication", "Stopped", status.as_str());
        }
        _ => {}
    }
    match status {
        S::Creating => draft.wait(Work::Creating, "the group to be made"),
        S::Created | S::Stopped => at_rest(draft, group, observed),
        S::InitialSyncing | S::Syncing | S::Normal if !running => draft.act(Action::StopGroup, Work::Updating),
        S::InitialSyncing | S::Syncing | S::Normal if pairs::in_vain(&draft, group) => pairs::not_kept(draft),
        S::InitialSyncing | S::Syncing | S::Normal if pairs::differ(&draft) => pairs::needs_stop(draft),
        S::InitialSyncing | S::Syncing | S::Normal => draft.finish(Verdict::InSync),
        S::ManualSyncing => draft.wait(Work::Updating, "a single synchronization to end"),
        S::Stopping => draft.wait(Work::Updating, "replication to be stopped"),
        S::StopFailed => draft.act(Action::StopGroup, Work::Updating),
        S::Failovering => draft.wait(Work::FailingOver, "the failover to end"),
        S::Reprotecting => draft.wait(Work::Reprotecting, "replication to be turned round"),
        S::Deleting => draft.wait(Work::Deleting, "somebody's deletion of the group to end"),
        S::Invalid if removes(&mut draft, group, observed) => draft.finish(Verdict::Acting(Work::Updating)),
        S::Failovered
        | S::FailoverFailed
        | S::ReprotectFailed
        | S::CreateFailed
        | S::DeleteFailed
        | S::Invalid
        | S::Deleted => failed(draft, group, observed),
        S::Other(name) => {
            let on = unknown(name);
            draft.wait(Work::Updating, on)
        }
    }
}

/// What is waited for in a status that is not documented.
pub(super) fn unknown(status: &str) -> String {
    format!("the status {status:?}, which is not documented, to end")
}

/// Takes out of an invalid group the pairs that the spec names no more: the API allows nothing else in it.
fn removes(draft: &mut Draft<'_>, group: &GroupView, observed: &Observed) -> bool {
    pairs::remove(draft, group, observed);
    !draft.actions.is_empty()
}

/// A group that is created or stopped: the one time when it can be changed.
fn at_rest(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    let first = draft.scope.head().synced_generation.is_none();
    let work = if first { Work::Creating } else { Work::Updating };
    match pairs::bring(&mut draft, group, observed) {
        Need::Steps => draft.finish(Verdict::Acting(work)),
        Need::Time(on) => draft.wait(work, on),
        Need::Person(text) => draft.refuse(synced::GROUP_FAILED, text),
        Need::Nothing if draft.spec().replication == Replication::Running => {
            draft.act(Action::StartGroup { one_shot: false }, work)
        }
        Need::Nothing if pairs::in_vain(&draft, group) => pairs::not_kept(draft),
        Need::Nothing => draft.finish(Verdict::InSync),
    }
}

/// Gives the operation under way up, at a point where nothing is half done.
pub(super) fn give_up(draft: &mut Draft<'_>, phase: Phase, message: &str) {
    let now = draft.now();
    draft.lifecycle.end(phase, message, now);
}
