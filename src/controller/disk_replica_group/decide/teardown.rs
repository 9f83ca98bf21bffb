//! The deletion of the object: drills are cleared, and the group and its pairs are deleted or let go.

use super::super::call::{Call, pending_calls};
use super::super::lifecycle;
use super::super::observe::{Lookup, Observed};
use super::super::resolve;
use super::pairs::deletable;
use super::{Action, Decision, Draft, Scope, Verdict, Work, drills, failover, keep_in_mind};
use crate::api::condition::synced;
use crate::api::disk_replica_group::{
    DeletionPolicy, DiskReplicaGroupStatus, Operation, OperationType, Phase, Replication, Reprotect, StepName,
};
use crate::cloud::ebs::{GroupView, PairView, ReplicationStatus as S};

/// Decides what a reconcile does for an object that is being deleted. It needs no valid spec.
pub(super) fn teardown(scope: &Scope<'_>, observed: &Observed) -> Decision {
    // The clones of a drill are billed: they go first.
    let mut draft = Draft::new(scope, observed);
    draft.missing = observed.group.group().is_none();
    let waiting = draft.wait(Work::Deleting, "the drill to be cleared");
    let mut clearing = drills::clear(scope, observed, waiting);
    keep_in_mind(scope, observed, &mut clearing);
    if clearing.details.drills.as_ref().is_some_and(|it| it.current.is_some()) {
        return clearing;
    }
    let draft = Draft::new(scope, observed);
    let mut decision = match &observed.group {
        Lookup::Absent(bound) => without_group(draft, observed, bound.is_some()),
        Lookup::Found(group) if resolve::owner(&group.tags).is_some_and(|owner| owner != draft.owner) => {
            let left = format!("group {} belongs to another object and was left alone", group.replica_group_id);
            draft.finish(Verdict::Released { left: Some(left) })
        }
        Lookup::Found(group) => match scope.object.spec.deletion_policy {
            DeletionPolicy::Retain => retain(draft, group),
            DeletionPolicy::Delete => match draft.lifecycle.unproven().cloned() {
                Some(unproven) => failover::ask(draft, unproven),
                None => delete(draft, group, observed),
            },
        },
    };
    decision.details.drills = clearing.details.drills;
    keep_in_mind(scope, observed, &mut decision);
    decision
}

/// The group is kept. What was stopped for a failover that has not begun is started again.
fn retain(draft: Draft<'_>, group: &GroupView) -> Decision {
    let failover = |it: &Operation| matches!(it.r#type, OperationType::Failover | OperationType::Failback);
    let owes = draft.lifecycle.running().is_some_and(failover) && draft.spec().replication == Replication::Running;
    match &group.status {
        S::Stopped | S::ManualSyncing | S::Stopping | S::StopFailed
            if owes && draft.in_flight(&Call::FailoverGroup) =>
        {
            draft.wait(Work::Deleting, "the failover to show, which may have been called")
        }
        S::Stopped if owes => draft.act(Action::StartGroup { one_shot: false }, Work::Deleting),
        S::ManualSyncing | S::Stopping if owes => {
            let on = format!("the status {} to end, so that replication can be started again", group.status.as_str());
            draft.wait(Work::Deleting, on)
        }
        S::StopFailed if owes => draft.act(Action::StopGroup, Work::Deleting),
        _ => {
            let left = format!("group {} was kept", group.replica_group_id);
            draft.finish(Verdict::Released { left: Some(left) })
        }
    }
}

fn delete(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    let blocked = |draft: Draft<'_>, why: String| {
        let text = format!("{why}; or set deletionPolicy: Retain, which lets the group go as it is");
        draft.refuse(synced::DELETION_BLOCKED, text)
    };
    let id = &group.replica_group_id;
    match &group.status {
        S::InitialSyncing | S::ManualSyncing | S::Syncing | S::Normal | S::StopFailed => {
            draft.act(Action::StopGroup, Work::Deleting)
        }
        S::Created | S::Stopped | S::Invalid => empty(draft, group, observed),
        S::CreateFailed | S::DeleteFailed => draft.act(Action::DeleteGroup, Work::Deleting),
        S::Failovered if pairs_in(group, observed).is_empty() && group.pair_ids.is_empty() => {
            draft.act(Action::DeleteGroup, Work::Deleting)
        }
        S::Failovered if draft.spec().reprotect == Reprotect::Automatic => {
            if draft.in_flight(&Call::Cancel) {
                return draft.wait(Work::Deleting, format!("{} to show, which may have been called", Call::Cancel));
            }
            let (generation, now) = (draft.generation(), draft.now());
            if draft.lifecycle.running().is_none_or(|it| it.r#type != OperationType::Reprotect) {
                draft.lifecycle.end(Phase::Cancelled, "the object is being deleted", now);
                draft.lifecycle.begin(OperationType::Reprotect, None, generation, now);
            }
            draft.lifecycle.begin_step(StepName::Reprotect, now);
            draft.act(Action::ReprotectGroup { reverse: true }, Work::Deleting)
        }
        S::Failovered => {
            let why = format!(
                "group {id} is failed over, and the API deletes its pairs only after replication was turned round: set \
                 reprotect: Automatic"
            );
            blocked(draft, why)
        }
        S::FailoverFailed | S::ReprotectFailed => {
            let why = format!(
                "group {id} is in the status {}, in which the API does not delete it: see to it in the console",
                group.status.as_str()
            );
            blocked(draft, why)
        }
        S::Deleting => {
            let mut decision = draft.wait(Work::Deleting, "the group to be deleted");
            // That it was called tells its end from a list that is late.
            decision.details.awaited.push(Call::DeleteGroup);
            decision
        }
        S::Creating | S::Stopping | S::Failovering | S::Reprotecting | S::Deleted => {
            let on = format!("the status {} to end", group.status.as_str());
            draft.wait(Work::Deleting, on)
        }
        S::Other(name) => {
            let on = super::by_status::unknown(name);
            draft.wait(Work::Deleting, on)
        }
    }
}

fn pairs_in<'a>(group: &GroupView, observed: &'a Observed) -> Vec<&'a PairView> {
    observed.pairs.iter().filter(|pair| resolve::in_group(pair, group)).collect()
}

/// Takes all pairs out of the group, deletes those of this object, then the group.
fn empty(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    for pair in pairs_in(group, observed) {
        draft.actions.push(Action::RemovePair { pair_id: pair.replica_pair_id.clone() });
    }
    if !draft.actions.is_empty() {
        return draft.finish(Verdict::Acting(Work::Deleting));
    }
    // What cannot be deleted yet is waited for when the group is gone.
    own_pairs(&mut draft, observed);
    draft.act(Action::DeleteGroup, Work::Deleting)
}

/// Deletes the pairs of this object that are in no group, and names those that cannot be deleted yet.
fn own_pairs(draft: &mut Draft<'_>, observed: &Observed) -> Vec<String> {
    let status = draft.status();
    let mut waits = vec![];
    for pair in observed.pairs.iter().filter(|pair| !resolve::in_a_group(pair)) {
        let known = status.pairs.iter().any(|it| it.replica_pair_id.as_deref() == Some(&pair.replica_pair_id));
        let marked = resolve::owner(&pair.tags).is_some_and(|owner| owner == draft.owner);
        if !known && !marked {
            continue;
        }
        match deletable(&pair.status) {
            true => draft.actions.push(Action::DeletePair { pair_id: pair.replica_pair_id.clone() }),
            false => waits.push(format!("{} ({})", pair.replica_pair_id, pair.status.as_str())),
        }
    }
    // One that no list shows may still be there.
    let known = status.pairs.iter().filter_map(|it| it.replica_pair_id.clone());
    let hidden = |id: &String| !observed.pairs.iter().any(|pair| pair.replica_pair_id == *id);
    for pair_id in known.filter(|id| hidden(id) && !resolve::deleted(status, id)) {
        draft.actions.push(Action::DeletePair { pair_id });
    }
    waits
}

/// There is no group: what is left are pairs.
fn without_group(mut draft: Draft<'_>, observed: &Observed, bound: bool) -> Decision {
    if draft.spec().deletion_policy == DeletionPolicy::Retain {
        return draft.finish(Verdict::Released { left: None });
    }
    draft.missing = bound;
    let deleted = draft.pending(&Call::DeleteGroup).is_some();
    if bound && !deleted && !draft.missed(draft.status().missing_since) {
        return draft.wait(Work::Deleting, "a second look for the group, which was not found");
    }
    let mut decision = pairs_left(draft, observed);
    if deleted {
        decision.details.awaited.push(Call::DeleteGroup);
    }
    decision
}

fn pairs_left(mut draft: Draft<'_>, observed: &Observed) -> Decision {
    // A group or pair whose making was not seen yet may still appear.
    let creates = |call: &Call| matches!(call, Call::CreateGroup | Call::CreatePair(_)) && draft.in_flight(call);
    let awaited: Vec<Call> = pending_calls(draft.status()).filter(creates).collect();
    if !awaited.is_empty() {
        let names: Vec<_> = awaited.iter().map(Call::to_string).collect();
        let mut decision = draft.wait(Work::Deleting, format!("what {} may have made to show", names.join(", ")));
        decision.details.awaited.extend(awaited);
        return decision;
    }
    let waits = own_pairs(&mut draft, observed);
    if !draft.actions.is_empty() {
        return draft.finish(Verdict::Acting(Work::Deleting));
    }
    if !waits.is_empty() {
        return draft.wait(Work::Deleting, format!("pairs to be deleted: {}", waits.join(", ")));
    }
    draft.finish(Verdict::Released { left: None })
}

/// Whether replication was stopped for a failover that has not begun: it runs again before the object goes.
pub fn owes_restart(status: &DiskReplicaGroupStatus) -> bool {
    let stopped = status.group_status.as_deref().is_some_and(|it| !lifecycle::runs(&S::from(it.to_owned())));
    let failover = |it: &Operation| matches!(it.r#type, OperationType::Failover | OperationType::Failback);
    status.operations.first().is_some_and(|it| it.phase == Phase::Running && failover(it)) && stopped
}
