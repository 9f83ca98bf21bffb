//! Decides the steps of a reconcile: a total, synchronous function of the object, the observation and the time.
//!
//! `by_status` decides by the group's status, `failover` begins and continues failovers, `failed_over` decides while the secondary
//! disks are in use, `site` explains a site that is not active, `operation` makes the calls of an operation, `pairs` compares fields
//! and pairs, `drills` decides about drills, `teardown` about the deletion. `intents` prepares the status that is written before the calls.

mod by_status;
mod decision;
mod drills;
mod failed_over;
mod failover;
mod intents;
mod operation;
mod pairs;
mod site;
mod teardown;

use jiff::Timestamp;

pub use self::decision::{Action, Decision, Details, Step};
pub use self::drills::{direction_to, drills_needed, next_due, requested as drill_requested};
pub use self::teardown::owes_restart;
use super::Scope;
use super::call::Call;
use super::lifecycle::{Lifecycle, Unproven};
use super::observe::{Lookup, Observed};
use super::request::{Request, RequestState};
use super::resolve;
use crate::api::condition::synced;
use crate::api::disk_replica_group::{
    DiskReplicaGroupSpec, DiskReplicaGroupStatus, Drift, OperationType, PendingCall, Phase, Replication, Site, StepName,
};
use crate::cloud::ebs::{ClientToken, GroupView, NewGroup, ReplicationStatus as S, Tag};
use crate::controller::absence::Absence;
pub use crate::controller::verdict::{Verdict, Work};

/// The factor by which the visibility window of an accepted call is longer than that of a call without an answer.
const ACCEPTED_WINDOW_FACTOR: u32 = 10;

/// A decision in progress.
struct Draft<'a> {
    scope: Scope<'a>,
    owner: &'a str,
    group_id: String,
    lifecycle: Lifecycle,
    request: Request<'a>,
    request_state: RequestState,
    actions: Vec<Action>,
    drift: Vec<Drift>,
    missing: bool,
    listed: Vec<&'a str>,
    /// Whether the lists of pairs are complete, or show every pair of spec and status all the same.
    all_shown: bool,
    pairs_complete: bool,
}

impl<'a> Draft<'a> {
    fn new(scope: &Scope<'a>, observed: &'a Observed) -> Self {
        let group = observed.group.group();
        let request = Request::of(scope);
        Self {
            scope: *scope,
            owner: &observed.binding.owner,
            group_id: group.map(|it| it.replica_group_id.clone()).unwrap_or_default(),
            lifecycle: Lifecycle::new(scope, group),
            request,
            request_state: RequestState::of(scope, &request),
            actions: vec![],
            drift: vec![],
            missing: false,
            all_shown: observed.pairs_complete || all_shown(scope, observed),
            pairs_complete: observed.pairs_complete,
            listed: observed.pairs.iter().map(|pair| pair.replica_pair_id.as_str()).collect(),
        }
    }

    /// Whether a list shows a pair.
    fn is_listed(&self, pair_id: &str) -> bool {
        self.listed.contains(&pair_id)
    }

    fn spec(&self) -> &'a DiskReplicaGroupSpec {
        &self.scope.object.spec
    }

    fn status(&self) -> &'a DiskReplicaGroupStatus {
        self.scope.status
    }

    fn now(&self) -> Timestamp {
        self.scope.now
    }

    fn generation(&self) -> i64 {
        self.scope.generation().unwrap_or_default()
    }

    fn act(mut self, action: Action, work: Work) -> Decision {
        self.actions.push(action);
        self.finish(Verdict::Acting(work))
    }

    fn wait(self, work: Work, on: impl AsRef<str>) -> Decision {
        self.finish(Verdict::Waiting { work, on: format!("waiting for {}", on.as_ref()) })
    }

    fn refuse(self, reason: &'static str, message: impl Into<String>) -> Decision {
        self.finish(Verdict::Refused { reason, message: message.into() })
    }

    fn add_drift(&mut self, field: &str, wanted: impl Into<String>, found: impl Into<String>) {
        self.drift.push(Drift { field: field.into(), wanted: wanted.into(), found: found.into() });
    }

    fn pending(&self, call: &Call) -> Option<&'a PendingCall> {
        call.pending(self.scope.status)
    }

    /// Whether a time is longer ago than the visibility window.
    fn is_past_window(&self, at: Timestamp) -> bool {
        self.scope.now.duration_since(at).unsigned_abs() > self.scope.visibility_window
    }

    /// What is known of a group that is not found.
    fn missing_group(&self, id: &str) -> Absence {
        self.scope.absence(&resolve::group_part(id))
    }

    /// Whether the cloud accepted a call, and its effect did not become visible in time.
    fn had_no_effect(&self, call: &Call) -> bool {
        self.pending(call).and_then(|it| it.accepted_at).is_some_and(|at| self.is_past_window(at))
    }

    /// Whether the cloud may have executed a call whose effect is not visible yet.
    fn in_flight(&self, call: &Call) -> bool {
        self.pending(call).is_some_and(|it| !self.is_past_window(it.last()))
    }

    /// The last attempt at a call. A synchronization of an earlier failover does not count.
    fn last_attempt(&self, call: &Call) -> Option<&'a PendingCall> {
        self.pending(call).filter(|it| *call != Call::Synchronize || !self.lifecycle.predates_operation(it))
    }

    /// Whether the effect of an accepted call may still become visible.
    fn is_awaited(&self, action: &Action, accepted_at: Timestamp) -> bool {
        let window = match action {
            Action::CreateGroup(_) | Action::CreatePair { .. } | Action::StartDrill => {
                self.scope.visibility_window * ACCEPTED_WINDOW_FACTOR
            }
            _ => self.scope.visibility_window,
        };
        self.scope.now.duration_since(accepted_at).unsigned_abs() <= window
    }

    /// Gives each call its token. A call whose answer was lost keeps its token. The operator repeats an accepted call only
    /// after its effect had time to become visible.
    fn finish(self, verdict: Verdict) -> Decision {
        let mut last = self.scope.status.call_sequence.unwrap_or_default();
        let (mut steps, mut awaited) = (vec![], vec![]);
        for action in &self.actions {
            let call = action.call();
            let known = self.last_attempt(&call);
            let sequence = match known {
                Some(PendingCall { accepted_at: Some(at), .. }) if self.is_awaited(action, *at) => {
                    awaited.push(call);
                    continue;
                }
                // The cloud accepted the call, and it had no effect.
                Some(PendingCall { accepted_at: Some(_), .. }) | None => {
                    last = last.saturating_add(1);
                    last
                }
                Some(known) => known.sequence,
            };
            let (group_id, direction) = (self.group_id.clone(), self.lifecycle.direction);
            let (token, elsewhere) = tokens(&self.scope, &call, sequence);
            let (action, lost) = (action.clone(), lost(known));
            steps.push(Step { action, group_id, direction, sequence, lost, token, elsewhere });
        }
        let verdict = match verdict {
            Verdict::Acting(work) if steps.is_empty() && !awaited.is_empty() => {
                let calls: Vec<_> = awaited.iter().map(Call::to_string).collect();
                Verdict::Waiting { work, on: format!("waiting for the effect of {} to show", calls.join(", ")) }
            }
            other => other,
        };
        let details = Details {
            lifecycle: self.lifecycle,
            request: self.request_state,
            drills: self.scope.status.drills.clone(),
            drill_busy: false,
            drill_overdue: None,
            drill_handled: false,
            awaited,
            missing: self.missing,
            drill_at: None,
        };
        Decision { verdict, steps, drift: self.drift, intents: None, details }
    }
}

/// Whether the lists show every pair of spec and status.
fn all_shown(scope: &Scope<'_>, observed: &Observed) -> bool {
    let listed = |id: &String| observed.pairs.iter().any(|pair| pair.replica_pair_id == *id);
    let wanted =
        scope.object.spec.pairs.iter().all(|want| resolve::pair(want, scope.status, &observed.pairs).is_some());
    wanted && scope.status.pairs.iter().filter_map(|it| it.replica_pair_id.as_ref()).all(listed)
}

/// The client tokens of a call, for its region and for the other one.
fn tokens(scope: &Scope<'_>, call: &Call, sequence: i64) -> (ClientToken, ClientToken) {
    let uid = scope.object.metadata.uid.as_deref().unwrap_or_default();
    let token = ClientToken::of(uid, &call.to_string(), sequence);
    (token, ClientToken::of(uid, &format!("{call}/elsewhere"), sequence))
}

/// The time of the last attempt at a call whose answer was lost.
fn lost(known: Option<&PendingCall>) -> Option<Timestamp> {
    known.filter(|it| it.accepted_at.is_none()).map(|it| it.requested_at)
}

/// Decides the steps of a reconcile.
pub fn decide(scope: &Scope<'_>, observed: &Observed) -> Decision {
    let mut decision = match scope.deleting() {
        true => teardown::teardown(scope, observed),
        false => {
            let mut decision = drills::decide_drills(scope, observed, decide_group(scope, observed));
            keep_pending_calls(scope, observed, &mut decision);
            decision
        }
    };
    decision.intents = intents::intents(scope, &decision).map(Box::new);
    decision
}

/// The name of the group in the cloud.
fn group_name<'a>(scope: &Scope<'a>) -> &'a str {
    let name = scope.object.metadata.name.as_deref().unwrap_or_default();
    scope.object.spec.group_name.as_deref().unwrap_or(name)
}

/// Keeps pending calls that this decision does not make, while their effect may still become visible and later decisions depend
/// on it.
fn keep_pending_calls(scope: &Scope<'_>, observed: &Observed, decision: &mut Decision) {
    for pending in &scope.status.pending_calls {
        let Some(call) = Call::parse(&pending.call) else { continue };
        let in_window = scope.visibility_window >= scope.now.duration_since(pending.last()).unsigned_abs();
        let kept = (in_window && effect_invisible(scope, observed, decision, &call))
            || outlives_window(scope, observed, decision, &call, pending);
        let known =
            decision.details.awaited.contains(&call) || decision.steps.iter().any(|it| it.action.call() == call);
        if kept && !known {
            decision.details.awaited.push(call);
        }
    }
}

/// Whether the effect of a call that cannot be undone is not visible.
fn effect_invisible(scope: &Scope<'_>, observed: &Observed, decision: &Decision, call: &Call) -> bool {
    let group = observed.group.group().map(|group| &group.status);
    match call {
        Call::CreateGroup => group.is_none(),
        Call::CreatePair(name) => pair_invisible(scope, observed, name),
        Call::FailoverGroup => !matches!(group, Some(S::Failovering | S::Failovered | S::FailoverFailed)),
        Call::StartDrill => {
            let current = decision.details.drills.as_ref().and_then(|it| it.current.as_ref());
            current.is_some_and(|run| run.drill_id.is_none())
        }
        Call::Reverse | Call::Cancel => {
            let reverses = decision.details.lifecycle.running().is_some_and(|it| it.r#type == OperationType::Reprotect);
            let reversing = *call == Call::Reverse && reverses && group != Some(&S::ReprotectFailed);
            matches!(group, Some(S::Failovered | S::Other(_)) | None) || reversing
        }
        Call::Synchronize => matches!(group, Some(S::ManualSyncing | S::Other(_))),
        Call::AddPair(_)
        | Call::RemovePair(_)
        | Call::DeletePair(_)
        | Call::ModifyGroup(_)
        | Call::StartGroup
        | Call::StopGroup
        | Call::DeleteGroup
        | Call::ClearDrill(_) => false,
    }
}

/// Whether no list contains the pair that a call may have created for a pair of the spec.
pub fn pair_invisible(scope: &Scope<'_>, observed: &Observed, name: &str) -> bool {
    let known = scope.status.pairs.iter().find(|it| it.name == name).and_then(|it| it.replica_pair_id.as_ref());
    let want = scope.object.spec.pairs.iter().find(|it| it.name == name);
    let meant = want.is_some_and(|it| resolve::pair(it, &Default::default(), &observed.pairs).is_some());
    !meant && !known.is_some_and(|id| observed.pairs.iter().any(|pair| pair.replica_pair_id == *id))
}

/// Whether a call is kept beyond its window: it distinguishes its effect from another actor's change.
fn outlives_window(
    scope: &Scope<'_>,
    observed: &Observed,
    decision: &Decision,
    call: &Call,
    pending: &PendingCall,
) -> bool {
    let group = observed.group.group().map(|group| &group.status);
    let unproven = decision.details.lifecycle.unproven() == Some(&Unproven::Call(call.clone()));
    unproven
        || match call {
            // A person has to resolve a failed reversal.
            Call::Reverse | Call::Cancel => matches!(group, Some(S::Reprotecting | S::Other(_))),
            // Its repeat learns the answer, however long the synchronization takes.
            Call::Synchronize => {
                matches!(group, Some(S::ManualSyncing | S::Other(_)))
                    && decision.details.lifecycle.step(StepName::Synchronize) == Some(false)
            }
            // The operator does not repeat a change that the cloud does not keep.
            Call::ModifyGroup(_) => {
                let fields = ["groupName", "description", "enableRtc"];
                pending.accepted_at.is_some() && decision.drift.iter().any(|it| fields.contains(&it.field.as_str()))
            }
            // The call distinguishes a deleted pair from a late list.
            Call::DeletePair(id) => {
                let known = scope.status.pairs.iter().any(|it| it.replica_pair_id.as_ref() == Some(id));
                pending.accepted_at.is_some() && known
            }
            _ => false,
        }
}

/// Decides the steps for the group itself.
fn decide_group(scope: &Scope<'_>, observed: &Observed) -> Decision {
    let mut draft = Draft::new(scope, observed);
    let group = match &observed.group {
        Lookup::Found(group) => group,
        Lookup::Absent(bound) => return absent(draft, bound.as_deref(), observed),
    };
    if let Some(owner) = resolve::owner(&group.tags).filter(|it| it.as_str() != draft.owner) {
        let text = format!(
            "group {} belongs to {owner}: nothing is touched; delete that object with deletionPolicy Retain and remove the \
             tag {} from the group first, or name another group",
            group.replica_group_id,
            resolve::OWNER_TAG
        );
        return draft.refuse(synced::OWNED_BY_ANOTHER, text);
    }
    if let Some(named) = draft.spec().replica_group_id.as_deref().filter(|it| *it != group.replica_group_id) {
        let text = format!(
            "spec.replicaGroupId is {named}, but the object manages group {}: set replicaGroupId to that ID, remove it, or make a \
             new object for {named}",
            group.replica_group_id
        );
        return draft.refuse(synced::IMMUTABLE_FIELD, text);
    }
    if !resolve::same_zones(draft.spec(), group) {
        let text = format!(
            "group {} is between other zones than source and destination: write its zones into a new object, or name \
             another group",
            group.replica_group_id
        );
        return draft.refuse(synced::IMMUTABLE_FIELD, text);
    }
    let twins = observed.all_twins(scope);
    if !twins.is_empty() && !scope.observe_only() {
        let text = format!(
            "nothing is changed: groups {} and {} carry the tag {} of this object. Delete the group that you do not need in the \
             console, or remove the tag from it",
            group.replica_group_id,
            twins.join(", "),
            resolve::OWNER_TAG
        );
        return draft.refuse(synced::TWIN, text);
    }
    pairs::add_field_drift(&mut draft, group);
    pairs::add_pair_drift(&mut draft, group, observed);
    if scope.observe_only() {
        return observing(draft, group, observed);
    }
    failover::decide_owned(draft, group, observed)
}

/// Reports the differences of a group in observe mode.
fn observing(mut draft: Draft<'_>, group: &GroupView, observed: &Observed) -> Decision {
    let active = draft.lifecycle.active;
    if let Some(wanted) = draft.spec().active_site.filter(|wanted| *wanted != active) {
        draft.add_drift("activeSite", wanted.as_str(), active.as_str());
    }
    if matches!(group.status, S::Invalid | S::CreateFailed | S::FailoverFailed | S::ReprotectFailed | S::DeleteFailed) {
        return by_status::refuse_failed(draft, group, observed);
    }
    let running = super::lifecycle::runs(&group.status)
        || (group.status == S::Failovered && draft.spec().active_site.is_none_or(|wanted| wanted == active));
    if (draft.spec().replication == Replication::Running) != running && group.status != S::ManualSyncing {
        draft.add_drift("replication", format!("{:?}", draft.spec().replication), group.status.as_str());
    }
    draft.finish(Verdict::InSync)
}

/// Creates the absent group, unless a group may exist or the creation is refused.
fn absent(mut draft: Draft<'_>, bound: Option<&str>, observed: &Observed) -> Decision {
    let spec = draft.spec();
    let creation = draft.pending(&Call::CreateGroup);
    if !observed.all_twins(&draft.scope).is_empty() && !draft.scope.observe_only() {
        return draft.wait(Work::Creating, "proof that the groups with the tag of this object are gone");
    }
    if let Some(at) = creation.and_then(|it| it.accepted_at)
        && bound.is_some()
        && draft.now().duration_since(at).unsigned_abs() <= draft.scope.visibility_window * ACCEPTED_WINDOW_FACTOR
    {
        let mut decision = draft.wait(Work::Creating, "the new group to become visible");
        decision.details.awaited.push(Call::CreateGroup);
        return decision;
    }
    // A call whose answer was lost returns the group that it created when the operator repeats it with its token.
    let lost = creation.is_some_and(|it| it.accepted_at.is_none());
    let known =
        bound.filter(|id| spec.replica_group_id.as_deref() != Some(*id) || draft.status().replica_group_id.is_some());
    let missing = known.filter(|_| !lost && !draft.scope.observe_only()).map(|id| (id, draft.missing_group(id)));
    if let Some((id, Absence::Unproven { since, until })) = missing {
        draft.missing = true;
        let on = format!(
            "proof: group {id} is not found since {since}, and counts as deleted when every read until {until} agrees"
        );
        return draft.wait(Work::Creating, on);
    }
    if let Some(id) = spec.replica_group_id.as_deref() {
        draft.missing = bound.is_some();
        let text = format!(
            "group {id} is not found at {} or {}: correct replicaGroupId, or source and destination in a new object",
            spec.source.region_id, spec.destination.region_id
        );
        return draft.refuse(synced::GROUP_NOT_FOUND, text);
    }
    if draft.scope.observe_only() {
        draft.add_drift("replicaGroupId", "a group", "none");
        return draft.finish(Verdict::InSync);
    }
    if bound.is_some() {
        draft.missing = true;
        draft.lifecycle.end(Phase::Failed, "the group is gone", draft.now());
    }
    if draft.lifecycle.active == Site::Destination || spec.active_site == Some(Site::Destination) {
        let text = "there is no group, and the destination is the active site: a new one would overwrite the disks in use with \
                    those of the source. Create a new object whose source is the site in use; or, if the source is in use, \
                    one without activeSite";
        return draft.refuse(synced::GROUP_NOT_FOUND, text);
    }
    if bound.is_some() {
        // A new group starts a new lifecycle.
        draft.lifecycle.direction = Default::default();
        draft.lifecycle.reported_source_zone = None;
        draft.lifecycle.outdated = None;
        draft.lifecycle.failed_over_by = None;
    }
    let new = NewGroup {
        source_zone_id: spec.source.zone_id.clone(),
        destination_zone_id: spec.destination.zone_id.clone(),
        group_name: Some(group_name(&draft.scope).to_owned()),
        description: spec.description.clone(),
        rpo: Some(RPO_SECONDS),
        enable_rtc: spec.enable_rtc,
        resource_group_id: None,
        tags: vec![Tag { key: resolve::OWNER_TAG.into(), value: draft.owner.to_owned() }],
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
