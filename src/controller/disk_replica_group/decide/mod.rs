//! The difference between a group as it should be and as it is: a total function of (desired, observed, now).
//!
//! What the group's status and the wish come to is in `cells`; `failover` has the life of a failover, `members` the pairs,
//! `drills` the drills, `teardown` the deletion.

mod by_status;
mod decision;
mod drills;
mod failover;
mod pairs;
mod teardown;

use std::time::Duration;

use jiff::Timestamp;

pub use self::decision::{Action, Decision, Step};
pub use self::drills::{due_at, matter, toward};
pub use self::teardown::{owes, teardown};
use super::lifecycle::Lifecycle;
use super::observe::{self, Lookup, Observed};
use super::resolve;
use crate::api::condition::synced;
use crate::api::disk_replica_group::{
    Direction, DiskReplicaGroupSpec, DiskReplicaGroupStatus, Drift, ManagementPolicy, OperationType, PendingCall,
    Phase, Replication, Site,
};
use crate::cloud::ebs::{ClientToken, GroupView, NewGroup, ReplicationStatus as S, Tag};
pub use crate::controller::decision::{Verdict, Work};

/// What is wanted, and what is known from before.
#[derive(Clone, Copy, Debug)]
pub struct Desired<'a> {
    /// The spec.
    pub spec: &'a DiskReplicaGroupSpec,
    /// The status as the API server has it.
    pub status: &'a DiskReplicaGroupStatus,
    /// The direction that an annotation keeps.
    pub noted: Option<Direction>,
    /// The object's UID, which client tokens derive from.
    pub uid: &'a str,
    /// The object's name.
    pub name: &'a str,
    /// The value of the owner's tag.
    pub owner: &'a str,
    /// The generation of the spec.
    pub generation: i64,
    /// The value of the annotation that asks for a drill, if it was not handled.
    pub drill_requested: bool,
    /// How long something may take to become visible after the call that made it.
    pub visibility_window: Duration,
}

impl Desired<'_> {
    fn observing(&self) -> bool {
        self.spec.management_policy == ManagementPolicy::Observe
    }

    /// The name of the group in the cloud.
    pub fn group_name(&self) -> &str {
        self.spec.group_name.as_deref().unwrap_or(self.name)
    }

    fn pending(&self, call: &str) -> Option<&PendingCall> {
        self.status.pending_calls.iter().find(|it| it.call == call)
    }
}

/// A call that was answered is waited for so much longer than one whose answer was lost.
const ANSWERED: u32 = 10;

/// A decision in the making.
struct Draft<'a> {
    want: Desired<'a>,
    now: Timestamp,
    group_id: String,
    life: Lifecycle,
    actions: Vec<Action>,
    drift: Vec<Drift>,
    missing: bool,
}

impl<'a> Draft<'a> {
    fn new(want: &Desired<'a>, seen: &Observed, now: Timestamp) -> Self {
        let group = seen.group.group();
        let life = Lifecycle::new(want.spec, want.status, want.noted, group, want.visibility_window, now);
        let group_id = group.map(|it| it.replica_group_id.clone()).unwrap_or_default();
        Self { want: *want, now, group_id, life, actions: vec![], drift: vec![], missing: false }
    }

    fn act(mut self, action: Action, work: Work) -> Decision {
        self.actions.push(action);
        self.finish(Verdict::Acting(work))
    }

    fn wait(self, work: Work, on: impl Into<String>) -> Decision {
        self.finish(Verdict::Waiting { work, on: on.into() })
    }

    fn refuse(self, reason: &'static str, message: impl Into<String>) -> Decision {
        self.finish(Verdict::Refused { reason, message: message.into() })
    }

    fn differs(&mut self, field: &str, wanted: impl Into<String>, found: impl Into<String>) {
        self.drift.push(Drift { field: field.into(), wanted: wanted.into(), found: found.into() });
    }

    /// Whether a group that is not found has not been for so long that it is gone: one list may be late.
    fn missed(&self, since: Option<Timestamp>) -> bool {
        since.is_some_and(|at| self.now.duration_since(at).unsigned_abs() > self.want.visibility_window)
    }

    /// Whether a call was answered, and nothing came of it in the time that it takes to show.
    fn in_vain(&self, call: &str) -> bool {
        let answered = self.want.pending(call).and_then(|it| it.accepted_at);
        answered.is_some_and(|at| self.now.duration_since(at).unsigned_abs() > self.want.visibility_window)
    }

    /// Whether a call may have been made whose effect does not show yet.
    fn in_flight(&self, call: &str) -> bool {
        self.want
            .pending(call)
            .is_some_and(|it| self.now.duration_since(it.last()).unsigned_abs() <= self.want.visibility_window)
    }

    /// Gives each call its token. A call whose answer was lost has the token that it had; one that was answered is not made
    /// again before its effect had time to show.
    fn finish(self, verdict: Verdict) -> Decision {
        let Self { want, now, group_id, life, actions, drift, missing } = self;
        let mut next = want.status.call_sequence.unwrap_or_default();
        let (mut steps, mut awaited) = (vec![], vec![]);
        for action in actions {
            let call = action.call();
            // The last synchronization of another failover is none of this one.
            let other = |it: &&PendingCall| action == Action::StartGroup { one_shot: true } && life.before(it);
            let known = want.pending(&call).filter(|it| !other(it));
            let patience = match action {
                Action::CreateGroup(_) | Action::CreatePair { .. } | Action::StartDrill => {
                    want.visibility_window * ANSWERED
                }
                _ => want.visibility_window,
            };
            let late = |at: Timestamp| now.duration_since(at).unsigned_abs() > patience;
            let sequence = match known {
                Some(PendingCall { accepted_at: Some(at), .. }) if !late(*at) => {
                    awaited.push(call);
                    continue;
                }
                // It was answered, and nothing came of it.
                Some(PendingCall { accepted_at: Some(_), .. }) | None => {
                    next += 1;
                    next
                }
                Some(known) => known.sequence,
            };
            let token = ClientToken::of(want.uid, &call, sequence);
            let elsewhere = ClientToken::of(want.uid, &format!("{call}/elsewhere"), sequence);
            let (group_id, direction) = (group_id.clone(), life.direction);
            let lost = lost(known);
            steps.push(Step { action, group_id, direction, sequence, lost, token, elsewhere });
        }
        let verdict = match verdict {
            Verdict::Acting(work) if steps.is_empty() && !awaited.is_empty() => {
                Verdict::Waiting { work, on: format!("the effect of {} to show", awaited.join(", ")) }
            }
            other => other,
        };
        let (drills, drill_busy, drill_overdue, drill_handled) = (want.status.drills.clone(), false, None, false);
        Decision {
            steps,
            verdict,
            drift,
            life,
            drills,
            drill_busy,
            drill_overdue,
            drill_handled,
            awaited,
            missing,
            drill_at: None,
        }
    }
}

/// When a call was last made of which nobody knows what became.
fn lost(known: Option<&PendingCall>) -> Option<Timestamp> {
    known.filter(|it| it.accepted_at.is_none()).map(|it| it.requested_at)
}

/// What to do for a group that should be there.
pub fn decide(want: &Desired<'_>, seen: &Observed, now: Timestamp) -> Decision {
    let mut decision = group(want, seen, now);
    decision = drills::carry_on(want, seen, decision, now);
    keep_in_mind(want, seen, &mut decision, now);
    decision
}

/// A call whose effect cannot be taken back, that may be under way still and that is not wanted any more, or not now, is
/// not forgotten before it had time to show: what is decided next goes by it.
fn keep_in_mind(want: &Desired<'_>, seen: &Observed, decision: &mut Decision, now: Timestamp) {
    let status = seen.group.group().map(|group| &group.status);
    for pending in &want.status.pending_calls {
        let hidden = match pending.call.split_once('/').unwrap_or((&pending.call, "")) {
            ("CreateDiskReplicaGroup", _) => status.is_none(),
            ("CreateDiskReplicaPair", name) => {
                let known =
                    want.status.pairs.iter().find(|it| it.name == name).and_then(|it| it.replica_pair_id.as_ref());
                let want = want.spec.pairs.iter().find(|it| it.name == name);
                let meant = want.is_some_and(|it| resolve::pair(it, &Default::default(), &seen.pairs).is_some());
                !meant && !known.is_some_and(|id| seen.pairs.iter().any(|it| it.replica_pair_id == *id))
            }
            ("FailoverDiskReplicaGroup", _) => {
                !matches!(status, Some(S::Failovering | S::Failovered | S::FailoverFailed))
            }
            ("StartReplicaGroupDrill", _) => {
                let current = decision.drills.as_ref().and_then(|it| it.current.as_ref());
                current.is_some_and(|run| run.drill_id.is_none())
            }
            ("ReprotectDiskReplicaGroup", _) => matches!(status, Some(S::Failovered | S::Other(_)) | None),
            ("StartDiskReplicaGroup", "OneShot") => matches!(status, Some(S::ManualSyncing | S::Other(_))),
            _ => false,
        };
        // That it was called is what tells its end from somebody else's doing, however long it takes. What becomes of one
        // that failed is a person's doing.
        let lasting = pending.call.starts_with("ReprotectDiskReplicaGroup")
            && matches!(status, Some(S::Reprotecting | S::Other(_)));
        let reverses = decision.life.running().is_some_and(|it| it.r#type == OperationType::Reprotect);
        let failed = matches!(status, Some(S::ReprotectFailed));
        let hidden = hidden || (pending.call == super::lifecycle::REVERSE && reverses && !failed);
        let unproven = decision.life.unproven() == Some(&pending.call);
        // What is not kept is not asked for again and again.
        let fields = ["groupName", "description", "enableRtc"];
        let in_vain = pending.call.starts_with("ModifyDiskReplicaGroup")
            && pending.accepted_at.is_some()
            && decision.drift.iter().any(|it| fields.contains(&it.field.as_str()));
        // That it was asked for is what tells the end of a pair from a list that is late.
        let pair = pending.call.strip_prefix("DeleteDiskReplicaPair/").filter(|_| pending.accepted_at.is_some());
        let deleted =
            pair.is_some_and(|id| want.status.pairs.iter().any(|it| it.replica_pair_id.as_deref() == Some(id)));
        let lasting = lasting || unproven || in_vain || deleted;
        let due = want.visibility_window >= now.duration_since(pending.last()).unsigned_abs();
        let known = decision.awaited.contains(&pending.call)
            || decision.steps.iter().any(|it| it.action.call() == pending.call);
        if ((hidden && due) || lasting) && !known {
            decision.awaited.push(pending.call.clone());
        }
    }
}

fn group(want: &Desired<'_>, seen: &Observed, now: Timestamp) -> Decision {
    let mut draft = Draft::new(want, seen, now);
    let group = match &seen.group {
        Lookup::Found(group) => group,
        Lookup::Absent(bound) => return absent(draft, bound.as_deref()),
    };
    if let Some(owner) = observe::owner(&group.tags).filter(|it| it.as_str() != want.owner) {
        let text = format!(
            "group {} belongs to {owner}: nothing is touched; delete that object with deletionPolicy Retain and remove the \
             tag {} from the group first, or name another group",
            group.replica_group_id,
            observe::OWNER_TAG
        );
        return draft.refuse(synced::OWNED_BY_ANOTHER, text);
    }
    if let Some(named) = want.spec.replica_group_id.as_deref().filter(|it| *it != group.replica_group_id) {
        let text = format!(
            "the object manages group {} and is to take over {named}: make a new object for {named}",
            group.replica_group_id
        );
        return draft.refuse(synced::IMMUTABLE_FIELD, text);
    }
    if !resolve::same_zones(want.spec, group) {
        let text = format!(
            "group {} is between other zones than source and destination: write its zones into a new object, or name \
             another group",
            group.replica_group_id
        );
        return draft.refuse(synced::IMMUTABLE_FIELD, text);
    }
    pairs::fields(&mut draft, group);
    pairs::differences(&mut draft, group, seen);
    if want.observing() {
        return observing(draft, group, seen);
    }
    failover::live(draft, group, seen)
}

/// What is said of a group that is only looked at.
fn observing(mut draft: Draft<'_>, group: &GroupView, seen: &Observed) -> Decision {
    if draft.life.active != draft.want.spec.active_site {
        let (wanted, found) = (draft.want.spec.active_site.as_str(), draft.life.active.as_str());
        draft.differs("activeSite", wanted, found);
    }
    if matches!(group.status, S::Invalid | S::CreateFailed | S::FailoverFailed | S::ReprotectFailed | S::DeleteFailed) {
        return by_status::failed(draft, group, seen);
    }
    let running = super::lifecycle::runs(&group.status)
        || (group.status == S::Failovered && draft.life.active == draft.want.spec.active_site);
    if (draft.want.spec.replication == Replication::Running) != running && group.status != S::ManualSyncing {
        draft.differs("replication", format!("{:?}", draft.want.spec.replication), group.status.as_str());
    }
    draft.finish(Verdict::InSync)
}

/// There is no group.
fn absent(mut draft: Draft<'_>, bound: Option<&str>) -> Decision {
    let (spec, status) = (draft.want.spec, draft.want.status);
    let creation = draft.want.pending("CreateDiskReplicaGroup");
    if let Some(at) = creation.and_then(|it| it.accepted_at)
        && bound.is_some()
        && draft.now.duration_since(at).unsigned_abs() <= draft.want.visibility_window * ANSWERED
    {
        let mut decision = draft.wait(Work::Creating, "the new group to become visible");
        decision.awaited.push("CreateDiskReplicaGroup".into());
        return decision;
    }
    // Made again with its token, a call whose answer was lost names the group that it made.
    let lost = creation.is_some_and(|it| it.accepted_at.is_none());
    if let Some(id) = spec.replica_group_id.as_deref() {
        draft.missing = bound.is_some();
        let text = format!(
            "group {id} does not exist at {} or {}: correct source and destination, or remove the object and name another \
             group",
            spec.source.region_id, spec.destination.region_id
        );
        return draft.refuse(synced::GROUP_NOT_FOUND, text);
    }
    if draft.want.observing() {
        draft.differs("replicaGroupId", "a group", "none");
        return draft.finish(Verdict::InSync);
    }
    if let Some(id) = bound {
        draft.missing = true;
        if !lost && !draft.missed(status.missing_since) {
            return draft.wait(Work::Creating, format!("a second look for group {id}, which was not found"));
        }
        draft.life.end(Phase::Failed, "the group is gone", draft.now);
    }
    if draft.life.active == Site::Destination || spec.active_site == Site::Destination {
        let text = "there is no group, and the destination is the active site: to make one would overwrite the disks in use \
                    with those of the source. Make a new object whose source is the site in use; or, if the source is in \
                    use, one with activeSite: Source";
        return draft.refuse(synced::GROUP_NOT_FOUND, text);
    }
    if bound.is_some() {
        // A new group starts a new life.
        draft.life.direction = Default::default();
        draft.life.reported_source_zone = None;
        draft.life.outdated = None;
    }
    draft.life.handled = spec.active_site;
    let new = NewGroup {
        source_zone_id: spec.source.zone_id.clone(),
        destination_zone_id: spec.destination.zone_id.clone(),
        group_name: Some(draft.want.group_name().to_owned()),
        description: spec.description.clone(),
        rpo: Some(RPO_SECONDS),
        enable_rtc: spec.enable_rtc,
        resource_group_id: None,
        tags: vec![Tag { key: observe::OWNER_TAG.into(), value: draft.want.owner.to_owned() }],
    };
    draft.act(Action::CreateGroup(new), Work::Creating)
}

/// The only recovery point objective that the API takes, in seconds.
const RPO_SECONDS: i64 = 900;

/// The kind of work that an operation is.
fn work_of(kind: OperationType) -> Work {
    match kind {
        OperationType::Failover | OperationType::Failback => Work::FailingOver,
        OperationType::Cancel => Work::Cancelling,
        OperationType::Reprotect => Work::Reprotecting,
    }
}
