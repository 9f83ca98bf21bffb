//! The deletion of the object: drills are cleared, and the group and its pairs are deleted or let go.

use jiff::Timestamp;

use super::super::lifecycle;
use super::super::observe::{self, Lookup, Observed};
use super::super::resolve;
use super::failover::FAILOVER;
use super::pairs::deletable;
use super::{Action, Decision, Desired, Draft, Verdict, Work, drills, failover, keep_in_mind};
use crate::api::condition::synced;
use crate::api::disk_replica_group::{
    DeletionPolicy, DiskReplicaGroupStatus, Operation, OperationType, Phase, Replication, Reprotect, StepName,
};
use crate::cloud::ebs::{GroupView, PairView, ReplicationStatus as S};

/// What to do for an object that is being deleted. It needs no valid spec.
pub fn teardown(want: &Desired<'_>, seen: &Observed, now: Timestamp) -> Decision {
    // The clones of a drill are billed: they go first.
    let mut draft = Draft::new(want, seen, now);
    draft.missing = seen.group.group().is_none();
    let mut clearing = drills::clear(want, seen, draft.wait(Work::Deleting, "the drill to be cleared"), now);
    keep_in_mind(want, seen, &mut clearing, now);
    if clearing.drills.as_ref().is_some_and(|it| it.current.is_some()) {
        return clearing;
    }
    let draft = Draft::new(want, seen, now);
    let decision = match &seen.group {
        Lookup::Absent(bound) => without_group(draft, seen, bound.is_some()),
        Lookup::Found(group) if observe::owner(&group.tags).is_some_and(|owner| owner != want.owner) => {
            let left = format!("group {} belongs to another object and was left alone", group.replica_group_id);
            draft.finish(Verdict::Released { left: Some(left) })
        }
        Lookup::Found(group) => match want.spec.deletion_policy {
            DeletionPolicy::Retain => retain(draft, group),
            DeletionPolicy::Delete => match draft.life.unproven() {
                Some(call) => failover::ask(draft, call),
                None => delete(draft, group, seen),
            },
        },
    };
    let mut decision = Decision { drills: clearing.drills, ..decision };
    keep_in_mind(want, seen, &mut decision, now);
    decision
}

/// The group is kept. What was stopped for a failover that has not begun is started again.
fn retain(draft: Draft<'_>, group: &GroupView) -> Decision {
    let failover = |it: &Operation| matches!(it.r#type, OperationType::Failover | OperationType::Failback);
    let owes = draft.life.running().is_some_and(failover) && draft.want.spec.replication == Replication::Running;
    match &group.status {
        S::Stopped | S::ManualSyncing | S::Stopping | S::StopFailed if owes && draft.in_flight(FAILOVER) => {
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

fn delete(mut draft: Draft<'_>, group: &GroupView, seen: &Observed) -> Decision {
    let blocked = |draft: Draft<'_>, why: String| {
        let text = format!("{why}; or set deletionPolicy: Retain, which lets the group go as it is");
        draft.refuse(synced::DELETION_BLOCKED, text)
    };
    let id = &group.replica_group_id;
    match &group.status {
        S::InitialSyncing | S::ManualSyncing | S::Syncing | S::Normal | S::StopFailed => {
            draft.act(Action::StopGroup, Work::Deleting)
        }
        S::Created | S::Stopped | S::Invalid => empty(draft, group, seen),
        S::CreateFailed | S::DeleteFailed => draft.act(Action::DeleteGroup, Work::Deleting),
        S::Failovered if members(group, seen).is_empty() && group.pair_ids.is_empty() => {
            draft.act(Action::DeleteGroup, Work::Deleting)
        }
        S::Failovered if draft.want.spec.reprotect == Reprotect::Automatic => {
            let cancel = Action::ReprotectGroup { reverse: false }.call();
            if draft.in_flight(&cancel) {
                return draft.wait(Work::Deleting, format!("{cancel} to show, which may have been called"));
            }
            let (generation, now) = (draft.want.generation, draft.now);
            if draft.life.running().is_none_or(|it| it.r#type != OperationType::Reprotect) {
                draft.life.end(Phase::Cancelled, "the object is being deleted", now);
                draft.life.begin(OperationType::Reprotect, None, generation, now);
            }
            draft.life.begin_step(StepName::Reprotect, now);
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
            decision.awaited.push(DELETE.into());
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

fn members<'a>(group: &GroupView, seen: &'a Observed) -> Vec<&'a PairView> {
    seen.pairs.iter().filter(|pair| resolve::in_group(pair, group)).collect()
}

/// Takes all pairs out of the group, deletes those of this object, then the group.
fn empty(mut draft: Draft<'_>, group: &GroupView, seen: &Observed) -> Decision {
    for pair in members(group, seen) {
        draft.actions.push(Action::RemovePair { pair_id: pair.replica_pair_id.clone() });
    }
    if !draft.actions.is_empty() {
        return draft.finish(Verdict::Acting(Work::Deleting));
    }
    // What cannot be deleted yet is waited for when the group is gone.
    own_pairs(&mut draft, seen);
    draft.act(Action::DeleteGroup, Work::Deleting)
}

const DELETE: &str = "DeleteDiskReplicaGroup";

/// Deletes the pairs of this object that are in no group, and names those that cannot be deleted yet.
fn own_pairs(draft: &mut Draft<'_>, seen: &Observed) -> Vec<String> {
    let status = draft.want.status;
    let mut waits = vec![];
    for pair in seen.pairs.iter().filter(|pair| !resolve::in_a_group(pair)) {
        let known = status.pairs.iter().any(|it| it.replica_pair_id.as_deref() == Some(&pair.replica_pair_id));
        let marked = observe::owner(&pair.tags).is_some_and(|owner| owner == draft.want.owner);
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
    let hidden = |id: &String| !seen.pairs.iter().any(|pair| pair.replica_pair_id == *id);
    for pair_id in known.filter(|id| hidden(id) && !resolve::deleted(status, id)) {
        draft.actions.push(Action::DeletePair { pair_id });
    }
    waits
}

/// There is no group: what is left are pairs.
fn without_group(mut draft: Draft<'_>, seen: &Observed, bound: bool) -> Decision {
    if draft.want.spec.deletion_policy == DeletionPolicy::Retain {
        return draft.finish(Verdict::Released { left: None });
    }
    draft.missing = bound;
    let deleted = draft.want.pending(DELETE).is_some();
    if bound && !deleted && !draft.missed(draft.want.status.missing_since) {
        return draft.wait(Work::Deleting, "a second look for the group, which was not found");
    }
    let mut decision = pairs_left(draft, seen);
    if deleted {
        decision.awaited.push(DELETE.into());
    }
    decision
}

fn pairs_left(mut draft: Draft<'_>, seen: &Observed) -> Decision {
    // A group or pair whose making was not seen yet may still appear.
    let made = |call: &&str| call.starts_with("CreateDiskReplica") && draft.in_flight(call);
    let calls = draft.want.status.pending_calls.iter().map(|it| it.call.as_str());
    let awaited: Vec<String> = calls.filter(made).map(str::to_owned).collect();
    if !awaited.is_empty() {
        let mut decision = draft.wait(Work::Deleting, format!("what {} may have made to show", awaited.join(", ")));
        decision.awaited.extend(awaited);
        return decision;
    }
    let waits = own_pairs(&mut draft, seen);
    if !draft.actions.is_empty() {
        return draft.finish(Verdict::Acting(Work::Deleting));
    }
    if !waits.is_empty() {
        return draft.wait(Work::Deleting, format!("pairs to be deleted: {}", waits.join(", ")));
    }
    draft.finish(Verdict::Released { left: None })
}

/// Whether something was stopped for this object's sake that runs again before it goes.
pub fn owes(status: &DiskReplicaGroupStatus) -> bool {
    let stopped = status.group_status.as_deref().is_some_and(|it| !lifecycle::runs(&S::from(it.to_owned())));
    let failover = |it: &Operation| matches!(it.r#type, OperationType::Failover | OperationType::Failback);
    status.operations.first().is_some_and(|it| it.phase == Phase::Running && failover(it)) && stopped
}
