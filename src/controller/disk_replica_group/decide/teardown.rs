//! Decides the deletion of the object: clear drills, then delete the group and its pairs or release them.

use super::super::call::Call;
use super::super::lifecycle::{self, Origin};
use super::super::observe::{Lookup, Observed};
use super::super::resolve;
use super::pairs::is_deletable;
use super::{
    Action, Decision, Draft, Scope, Verdict, Work, drills, failed_over, keep_pending_calls, operation, pair_invisible,
};
use crate::api::condition::synced;
use crate::api::disk_replica_group::{
    DeletionPolicy, DiskReplicaGroupStatus, Operation, OperationType, PendingCall, Phase, Replication, StepName,
};
use crate::cloud::ebs::{GroupView, PairView, ReplicationStatus as S};
use crate::controller::absence::Absence;

/// Decides the steps for an object that is being deleted. A spec that is not valid does not block it.
pub(super) fn teardown(scope: &Scope<'_>, observed: &Observed) -> Decision {
    // The clones of a drill are billed: the operator deletes them first.
    let mut draft = Draft::new(scope, observed);
    draft.missing = observed.group.group().is_none();
    let waiting = draft.wait(Work::Deleting, "the drill to be cleared");
    let mut clearing = drills::clear_for_deletion(scope, observed, waiting);
    keep_pending_calls(scope, observed, &mut clearing);
    if clearing.details.drills.as_ref().is_some_and(|it| it.current.is_some()) {
        return clearing;
    }
    let draft = Draft::new(scope, observed);
    let mut decision = match &observed.group {
        Lookup::Absent(bound) => without_group(draft, observed, bound.as_deref()),
        Lookup::Found(group) if resolve::owner(&group.tags).is_some_and(|owner| owner != draft.owner) => {
            let left = format!("group {} belongs to another object and was left alone", group.replica_group_id);
            draft.finish(Verdict::Released { left: Some(left) })
        }
        Lookup::Found(group)
            if !observed.all_twins(scope).is_empty() && scope.object.spec.deletion_policy == DeletionPolicy::Delete =>
        {
            let text = format!(
                "groups {} and {} carry the tag of this object, and none is deleted: delete those in the console that you do not \
                 need, or set deletionPolicy: Retain",
                group.replica_group_id,
                observed.all_twins(scope).join(", ")
            );
            draft.refuse(synced::TWIN, text)
        }
        Lookup::Found(group) => match scope.object.spec.deletion_policy {
            DeletionPolicy::Retain => retain(draft, group),
            DeletionPolicy::Delete => match draft.lifecycle.unproven().cloned() {
                Some(unproven) => operation::resolve_unproven(draft, unproven),
                None => delete(draft, group, observed),
            },
        },
    };
    decision.details.drills = clearing.details.drills;
    keep_pending_calls(scope, observed, &mut decision);
    decision
}

/// Releases the group. Starts replication again that was stopped for a failover that has not begun.
fn retain(draft: Draft<'_>, group: &GroupView) -> Decision {
    let failover = |it: &Operation| matches!(it.r#type, OperationType::Failover | OperationType::Failback);
    let restarts = draft.lifecycle.running().is_some_and(failover) && draft.spec().replication == Replication::Running;
    match &group.status {
        S::Stopped | S::ManualSyncing | S::Stopping | S::StopFailed
            if restarts && draft.in_flight(&Call::FailoverGroup) =>
        {
            draft.wait(Work::Deleting, "the failover to show, which may have been called")
        }
        S::Stopped if restarts => draft.act(Action::StartGroup { one_shot: false }, Work::Deleting),
        S::ManualSyncing | S::Stopping if restarts => {
            let on = format!("the status {} to end, so that replication can be started again", group.status.as_str());
            draft.wait(Work::Deleting, on)
        }
        S::StopFailed if restarts => draft.act(Action::StopGroup, Work::Deleting),
        _ => {
            let left = format!("group {} was kept", group.replica_group_id);
            draft.finish(Verdict::Released { left: Some(left) })
        }
    }
}

fn delete(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    let id = &group.replica_group_id;
    match &group.status {
        S::InitialSyncing | S::ManualSyncing | S::Syncing | S::Normal | S::StopFailed => {
            draft.act(Action::StopGroup, Work::Deleting)
        }
        S::Created | S::Stopped | S::Invalid => empty_and_delete(draft, group, observed),
        S::CreateFailed | S::DeleteFailed => draft.act(Action::DeleteGroup, Work::Deleting),
        S::Failovered if pairs_in(group, observed).is_empty() && group.pair_ids.is_empty() => {
            draft.act(Action::DeleteGroup, Work::Deleting)
        }
        S::Failovered if failed_over::may_reverse(&draft) => {
            if draft.in_flight(&Call::Cancel) {
                return draft.wait(Work::Deleting, format!("{} to show, which may have been called", Call::Cancel));
            }
            let (generation, now) = (draft.generation(), draft.now());
            if draft.lifecycle.running().is_none_or(|it| it.r#type != OperationType::Reprotect) {
                draft.lifecycle.end(Phase::Cancelled, "the object is being deleted", now);
                draft.lifecycle.begin(OperationType::Reprotect, Origin { generation, ..Origin::default() }, now);
            }
            draft.lifecycle.begin_step(StepName::Reprotect, now);
            draft.act(Action::ReprotectGroup { reverse: true }, Work::Deleting)
        }
        S::Failovered => {
            let why = format!(
                "group {id} is failed over, and the API deletes its pairs only after replication is reversed: after a planned \
                 failover set reprotect: AfterPlanned; else write failover.overwrite: {} with a new failover.requestedAt",
                draft.lifecycle.active.other().as_str()
            );
            refuse_deletion(draft, &why)
        }
        S::FailoverFailed | S::ReprotectFailed => {
            let why = format!(
                "group {id} is in the status {}, in which the API does not delete it: see to it in the console",
                group.status.as_str()
            );
            refuse_deletion(draft, &why)
        }
        S::Deleting => {
            let mut decision = draft.wait(Work::Deleting, "the group to be deleted");
            // The call distinguishes the end of the group from a late list.
            decision.details.awaited.push(Call::DeleteGroup);
            decision
        }
        S::Creating | S::Stopping | S::Failovering | S::Reprotecting | S::Deleted => {
            let on = format!("the status {} to end", group.status.as_str());
            draft.wait(Work::Deleting, on)
        }
        S::Other(name) => {
            let on = super::by_status::undocumented_status(name);
            draft.wait(Work::Deleting, on)
        }
    }
}

/// Refuses a deletion that the API does not allow.
fn refuse_deletion(draft: Draft<'_>, why: &str) -> Decision {
    let text = format!("{why}; or set deletionPolicy: Retain, which lets the group go as it is");
    draft.refuse(synced::DELETION_BLOCKED, text)
}

fn pairs_in<'a>(group: &GroupView, observed: &'a Observed) -> Vec<&'a PairView> {
    observed.pairs.iter().filter(|pair| resolve::in_group(pair, group)).collect()
}

/// Removes all pairs from the group, deletes those of this object, then the group.
fn empty_and_delete(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    for pair in pairs_in(group, observed) {
        draft.actions.push(Action::RemovePair { pair_id: pair.replica_pair_id.clone() });
    }
    if !draft.actions.is_empty() {
        return draft.finish(Verdict::Acting(Work::Deleting));
    }
    if !observed.pairs_complete {
        return draft.wait(Work::Deleting, "the list of pairs, which cannot be read whole");
    }
    // Pairs that cannot be deleted yet are deleted after the group.
    delete_own_pairs(&mut draft, observed);
    draft.act(Action::DeleteGroup, Work::Deleting)
}

/// Deletes the pairs of this object that are in no group. Returns the pairs that cannot be deleted yet.
fn delete_own_pairs(draft: &mut Draft<'_>, observed: &Observed) -> Vec<String> {
    let status = draft.status();
    let mut waits = vec![];
    for pair in observed.pairs.iter().filter(|pair| !resolve::in_a_group(pair)) {
        let known = status.pairs.iter().any(|it| it.replica_pair_id.as_deref() == Some(&pair.replica_pair_id));
        let marked = resolve::owner(&pair.tags).is_some_and(|owner| owner == draft.owner);
        if !known && !marked {
            continue;
        }
        match is_deletable(&pair.status) {
            true => draft.actions.push(Action::DeletePair { pair_id: pair.replica_pair_id.clone() }),
            false => waits.push(format!("{} ({})", pair.replica_pair_id, pair.status.as_str())),
        }
    }
    // A pair that no list contains may still exist.
    for pair_id in status.pairs.iter().filter_map(|it| it.replica_pair_id.clone()) {
        let is_listed = observed.pairs.iter().any(|pair| pair.replica_pair_id == pair_id);
        if !is_listed && !resolve::deletion_accepted(status, &pair_id) {
            draft.actions.push(Action::DeletePair { pair_id });
        }
    }
    waits
}

/// Decides the steps without a group: only pairs may be left.
fn without_group(mut draft: Draft<'_>, observed: &Observed, bound: Option<&str>) -> Decision {
    draft.missing = bound.is_some();
    let deleted = draft.pending(&Call::DeleteGroup).is_some();
    if !observed.all_twins(&draft.scope).is_empty() {
        return draft.wait(Work::Deleting, "proof that the groups with the tag of this object are gone");
    }
    let missing = bound.map(|id| (id, draft.missing_group(id)));
    if let Some((id, Absence::Unproven { since, until })) = missing {
        let on = format!(
            "proof: group {id} is not found since {since}, and counts as deleted when every read until {until} agrees"
        );
        let mut decision = draft.wait(Work::Deleting, on);
        if deleted {
            decision.details.awaited.push(Call::DeleteGroup);
        }
        return decision;
    }
    if draft.spec().deletion_policy == DeletionPolicy::Retain {
        return draft.finish(Verdict::Released { left: None });
    }
    let mut decision = delete_leftover_pairs(draft, observed);
    if deleted {
        decision.details.awaited.push(Call::DeleteGroup);
    }
    decision
}

fn delete_leftover_pairs(mut draft: Draft<'_>, observed: &Observed) -> Decision {
    // A group or pair whose creation is not visible yet may still appear.
    let creates = |call: &Call, pending: &PendingCall| {
        let unproven = || !draft.scope.absence(&resolve::created_part(pending)).is_proven();
        match call {
            Call::CreateGroup => draft.in_flight(call) || unproven(),
            Call::CreatePair(name) => {
                draft.in_flight(call) || (pair_invisible(&draft.scope, observed, name) && unproven())
            }
            _ => false,
        }
    };
    let pending = draft.status().pending_calls.iter();
    let awaited: Vec<_> = pending.filter_map(|it| Call::parse(&it.call).filter(|call| creates(call, it))).collect();
    if !awaited.is_empty() {
        let names: Vec<_> = awaited.iter().map(Call::to_string).collect();
        let mut decision = draft.wait(Work::Deleting, format!("what {} may have made to show", names.join(", ")));
        decision.details.awaited.extend(awaited);
        return decision;
    }
    let mut waits = delete_own_pairs(&mut draft, observed);
    if !draft.actions.is_empty() {
        return draft.finish(Verdict::Acting(Work::Deleting));
    }
    if !observed.pairs_complete {
        waits.push("the list of pairs cannot be read whole".into());
    }
    if !waits.is_empty() {
        return draft.wait(Work::Deleting, format!("pairs to be deleted: {}", waits.join(", ")));
    }
    draft.finish(Verdict::Released { left: None })
}

/// Whether replication was stopped for a failover that has not begun. The operator starts it again before it releases the
/// object.
pub fn owes_restart(status: &DiskReplicaGroupStatus) -> bool {
    let stopped = status.group_status.as_deref().is_some_and(|it| !lifecycle::runs(&S::from(it.to_owned())));
    let failover = |it: &Operation| matches!(it.r#type, OperationType::Failover | OperationType::Failback);
    status.operations.first().is_some_and(|it| it.phase == Phase::Running && failover(it)) && stopped
}
