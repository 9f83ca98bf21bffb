//! The lifecycle of a group, by what was known and what is observed now: direction, active site, and the progress of its
//! operation. Pure.

use jiff::Timestamp;

use super::call::Call;
use super::{Scope, resolve};
use crate::api::DIRECTION_ANNOTATION;
use crate::api::disk_replica_group::{
    Direction, DiskReplicaGroupSpec, FailoverMode, Operation, OperationStep, OperationType, PendingCall, Phase,
    Replication, Reprotect, Site, StepName,
};
use crate::cloud::ebs::{GroupView, ReplicationStatus as S};
use crate::controller::conditions::seconds;

/// Maximum number of operations in status.
const MAX_OPERATIONS: usize = 10;
/// Maximum number of steps of an operation in status: an actor that works against it must not make the object too large.
const MAX_STEPS: usize = 20;

/// An effect that an observation seems to show and does not prove: the observation may be older than the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// The effect of a call.
    Call(Call),
    /// A reversal that the operator did not call: the cloud names another source than before.
    Reversal,
}

/// The lifecycle of a group, as status remembers it.
#[derive(Clone, Debug, PartialEq)]
pub struct Lifecycle {
    /// Which way disks are replicated.
    pub direction: Direction,
    /// The site whose disks are in use.
    pub active: Site,
    /// The zone that the cloud names as the source's.
    pub reported_source_zone: Option<String>,
    /// The recovery point that does not count, since it was made before the last failover.
    pub outdated: Option<Timestamp>,
    /// The value of `spec.activeSite` that was last acted on.
    pub handled: Site,
    /// The operations, the newest first.
    pub operations: Vec<Operation>,
    /// Since when the cloud names another source than before.
    pub renamed_since: Option<Timestamp>,
    unproven: Option<Unproven>,
}

/// Whether disks are, or can at once be, replicated in the present direction: no failover stands.
pub fn replicates(status: &S) -> bool {
    matches!(
        status,
        S::Created
            | S::InitialSyncing
            | S::ManualSyncing
            | S::Syncing
            | S::Normal
            | S::Stopping
            | S::Stopped
            | S::StopFailed
    )
}

/// Whether replication runs.
pub fn runs(status: &S) -> bool {
    matches!(status, S::InitialSyncing | S::Syncing | S::Normal)
}

/// The recovery point that the cloud shows. It prints 0 for none.
pub fn shown(group: &GroupView) -> Option<Timestamp> {
    group.last_recover_point.filter(|it| *it > 0).and_then(|it| Timestamp::from_second(it).ok())
}

/// The direction that the annotation keeps, where a backup dropped status.
pub fn noted_direction(scope: &Scope<'_>) -> Option<Direction> {
    let noted = scope.annotation(DIRECTION_ANNOTATION)?;
    [Direction::Forward, Direction::Reverse].into_iter().find(|it| it.as_str() == noted)
}

impl Lifecycle {
    /// The lifecycle by status and annotation, continued by the observation.
    pub fn new(scope: &Scope<'_>, group: Option<&GroupView>) -> Self {
        let (spec, old) = (&scope.object.spec, scope.status);
        let observed = group.and_then(|group| resolve::direction(spec, group));
        let direction = old.direction.or(noted_direction(scope)).or(observed).unwrap_or_default();
        let mut life = Self {
            direction,
            active: old.active_site.unwrap_or(direction.production()),
            reported_source_zone: old.reported_source_zone.clone(),
            outdated: old.outdated_recovery_point,
            handled: old.last_handled_active_site.unwrap_or(spec.active_site),
            operations: old.operations.clone(),
            renamed_since: None,
            unproven: None,
        };
        let Some(group) = group else { return life };
        life.follow_reversal(scope, group);
        if life.unproven().is_none() {
            life.site(group);
            life.advance(scope, group);
            if life.counted(group).is_some() {
                life.outdated = None;
            }
        }
        let settled = replicates(&group.status) && life.renamed_since.is_none();
        if settled || life.reported_source_zone.is_none() {
            life.reported_source_zone = group.source_zone_id.clone().or(life.reported_source_zone);
        }
        life
    }

    /// The operation in progress.
    pub fn running(&self) -> Option<&Operation> {
        self.operations.first().filter(|it| it.phase == Phase::Running)
    }

    fn running_mut(&mut self) -> Option<&mut Operation> {
        self.operations.first_mut().filter(|it| it.phase == Phase::Running)
    }

    /// The recovery point that counts: one of the present direction.
    pub fn counted(&self, group: &GroupView) -> Option<Timestamp> {
        if !replicates(&group.status) && !matches!(group.status, S::Failovering | S::FailoverFailed | S::Invalid) {
            return None;
        }
        shown(group).filter(|it| self.outdated.is_none_or(|outdated| *it > outdated))
    }

    /// Whether a step was begun in the operation under way, and whether it ended.
    pub fn step(&self, name: StepName) -> Option<bool> {
        let step = self.running()?.steps.iter().rev().find(|it| it.name == name)?;
        Some(step.completed_at.is_some())
    }

    /// The effect that the observation seems to show and does not prove.
    pub fn unproven(&self) -> Option<&Unproven> {
        self.unproven.as_ref()
    }

    /// Reverses the direction where replication was reversed.
    fn follow_reversal(&mut self, scope: &Scope<'_>, group: &GroupView) {
        let (spec, old, now) = (&scope.object.spec, scope.status, scope.now);
        if !replicates(&group.status) {
            // When the cloud names the new source while replication is being turned round is not documented: what counts
            // is what it names at the end.
            return;
        }
        let zone = group.source_zone_id.as_deref();
        let renamed = old.direction.is_some()
            && zone.is_some()
            && old.reported_source_zone.as_deref().is_some_and(|known| Some(known) != zone)
            && resolve::direction(spec, group).is_some_and(|seen| seen != self.direction);
        let call = match self.running().map(|it| it.r#type) {
            Some(OperationType::Reprotect) if self.step(StepName::Reprotect) == Some(false) => Call::Reverse,
            // What is read once may be old, in whichever direction that was.
            kind if renamed && kind != Some(OperationType::Reprotect) => {
                let since = old.renamed_since.unwrap_or(seconds(now));
                if now.duration_since(since).unsigned_abs() > scope.visibility_window {
                    self.reverse(group);
                    self.end(Phase::Cancelled, "replication was turned round by somebody else", now);
                } else {
                    (self.renamed_since, self.unproven) = (Some(since), Some(Unproven::Reversal));
                }
                return;
            }
            Some(OperationType::Cancel) if self.step(StepName::Reprotect) == Some(false) => Call::Cancel,
            Some(_) | None => return,
        };
        // Only a call that may have happened turned it: one that was refused did not, whoever ended the failover then.
        let Some(pending) = call.pending(old) else {
            if renamed {
                self.reverse(group);
                self.end(Phase::Cancelled, "replication was turned round by somebody else", now);
            }
            return;
        };
        let seen = old.group_status.as_deref() == Some(S::Reprotecting.as_str());
        let waited = now.duration_since(pending.last()).unsigned_abs() > scope.visibility_window;
        let answered = pending.accepted_at.is_some();
        let at_rest = matches!(group.status, S::Stopped | S::Created);
        match call {
            Call::Reverse if seen || renamed || (answered && waited) => {
                self.reverse(group);
                self.complete(StepName::Reprotect, now);
            }
            // It ends at rest. What runs was read before the failover, or was started by somebody.
            Call::Cancel if at_rest || seen || waited => {}
            call => self.unproven = Some(Unproven::Call(call)),
        }
    }

    /// Whether the spec still asks for what the reversal under way is for.
    pub fn reverses(&self, spec: &DiskReplicaGroupSpec) -> bool {
        let wanted = |it: &Operation| it.r#type == OperationType::Reprotect && it.target_site == spec.active_site;
        self.running().is_some_and(wanted) && spec.reprotect == Reprotect::Automatic
    }

    fn reverse(&mut self, group: &GroupView) {
        self.direction = self.direction.reversed();
        self.outdated = self.outdated.max(shown(group));
    }

    /// The site whose disks are in use.
    fn site(&mut self, group: &GroupView) {
        let before = self.active;
        self.active = match &group.status {
            S::Failovered | S::Reprotecting | S::ReprotectFailed => self.direction.standby(),
            S::Failovering | S::FailoverFailed => self.direction.production(),
            status if replicates(status) => self.direction.production(),
            _ => before,
        };
        if group.status == S::Failovered && self.outdated < shown(group) {
            // What is written at the other site from now on is in no recovery point.
            self.outdated = shown(group);
        }
    }

    /// Continues the operation in progress.
    fn advance(&mut self, scope: &Scope<'_>, group: &GroupView) {
        let (spec, old, now) = (&scope.object.spec, scope.status, scope.now);
        let Some(operation) = self.running() else { return };
        let (kind, target, status) = (operation.r#type, operation.target_site, &group.status);
        match kind {
            OperationType::Failover | OperationType::Failback => {
                if self.active == target {
                    let began = operation.started_at;
                    self.complete_all(now);
                    let newer = shown(group).filter(|it| old.outdated_recovery_point.is_none_or(|old| *it > old));
                    if let Some(operation) = self.running_mut() {
                        operation.recovery_point = operation.recovery_point.max(newer);
                        operation.recovery_time_seconds = Some(now.duration_since(began).as_secs().max(0));
                        end(operation, Phase::Succeeded, "", now);
                    }
                    return;
                }
                if *status == S::Stopped {
                    self.complete(StepName::Stop, now);
                }
                // A list may still show what was before: the end of a synchronization counts once it was seen to go on, or
                // to have brought something, or long enough after the call was accepted. One that was refused never ends.
                let pending = Call::Synchronize.pending(old).filter(|it| !self.before(it));
                let (accepted, unanswered) =
                    (pending.and_then(|it| it.accepted_at), pending.is_some_and(|it| it.accepted_at.is_none()));
                let was_seen = old.group_status.as_deref() == Some(S::ManualSyncing.as_str());
                let before = self.running().and_then(|it| it.recovery_point);
                let brought = before.is_some() && self.counted(group) > before;
                let waited = accepted.is_some_and(|at| now.duration_since(at).unsigned_abs() > scope.visibility_window);
                // What goes on while the call's answer is lost may be somebody else's.
                if *status == S::Stopped && (brought || waited || (was_seen && !unanswered)) {
                    self.complete(StepName::Synchronize, now);
                } else if runs(status) {
                    // Somebody started replication: what is written since is in no synchronization.
                    self.forget(StepName::Synchronize);
                }
            }
            OperationType::Cancel | OperationType::Reprotect => {
                let elsewhere = kind == OperationType::Reprotect
                    && self.step(StepName::Reprotect) == Some(true)
                    && resolve::direction(spec, group) == Some(self.direction);
                if *status == S::Failovered && !elsewhere {
                    // What seemed to be its end was read late.
                    self.reopen(kind, group);
                }
                if !replicates(status) {
                    return;
                }
                if kind == OperationType::Reprotect && self.step(StepName::Reprotect) != Some(true) {
                    let message = "the failover was taken back by somebody else";
                    if let Some(operation) = self.running_mut() {
                        end(operation, Phase::Cancelled, message, now);
                    }
                    return;
                }
                self.complete(StepName::Reprotect, now);
                if spec.replication == Replication::Stopped || runs(status) {
                    self.complete(StepName::Start, now);
                    if let Some(operation) = self.running_mut() {
                        end(operation, Phase::Succeeded, "", now);
                    }
                }
            }
        }
    }

    /// Whether a call was made before the operation under way was begun: it says nothing of it.
    pub fn before(&self, call: &PendingCall) -> bool {
        self.running().is_some_and(|it| call.requested_at < it.started_at)
    }

    /// Begins an operation.
    pub fn begin(&mut self, kind: OperationType, mode: Option<FailoverMode>, generation: i64, now: Timestamp) {
        let target_site = match kind {
            OperationType::Failover | OperationType::Failback | OperationType::Reprotect => self.direction.standby(),
            OperationType::Cancel => self.direction.production(),
        };
        let number = self.operations.first().map_or(0, |it| it.number) + 1;
        let operation = Operation {
            number,
            r#type: kind,
            mode,
            generation,
            phase: Phase::Running,
            target_site,
            started_at: seconds(now),
            completed_at: None,
            steps: vec![],
            recovery_point: None,
            recovery_point_age_seconds: None,
            recovery_time_seconds: None,
            message: String::new(),
        };
        self.operations.insert(0, operation);
        self.operations.truncate(MAX_OPERATIONS);
    }

    /// Begins a step of the operation under way; one that goes on is left as it is.
    pub fn begin_step(&mut self, name: StepName, now: Timestamp) {
        if self.step(name) == Some(false) {
            return;
        }
        if let Some(operation) = self.running_mut().filter(|it| it.steps.len() < MAX_STEPS) {
            operation.steps.push(OperationStep { name, started_at: seconds(now), completed_at: None });
        }
    }

    /// Notes what the failover under way goes to: the recovery point and its age at this moment.
    pub fn note_recovery_point(&mut self, group: &GroupView, now: Timestamp) {
        let point = self.counted(group);
        if let (Some(point), Some(operation)) = (point, self.running_mut()) {
            operation.recovery_point = Some(point);
            operation.recovery_point_age_seconds = Some(now.duration_since(point).as_secs().max(0));
        }
    }

    /// The failover under way need not wait for a synchronization any more.
    pub fn force(&mut self) {
        if let Some(operation) = self.running_mut().filter(|it| it.mode.is_some()) {
            operation.mode = Some(FailoverMode::Forced);
        }
    }

    /// Ends the operation under way.
    pub fn end(&mut self, phase: Phase, message: &str, now: Timestamp) {
        if let Some(operation) = self.running_mut() {
            end(operation, phase, message, now);
        }
    }

    /// The failover stands still: it is not taken back, and replication is not turned round.
    fn reopen(&mut self, kind: OperationType, group: &GroupView) {
        if kind == OperationType::Reprotect && self.step(StepName::Reprotect) == Some(true) {
            self.direction = self.direction.reversed();
            self.active = self.direction.standby();
            // That the cloud names another one is what will tell the reversal.
            self.reported_source_zone = group.source_zone_id.clone().or_else(|| self.reported_source_zone.take());
        }
        if let Some(operation) = self.running_mut() {
            operation.steps.retain(|it| it.name != StepName::Start);
            let reprotects = operation.steps.iter_mut().filter(|it| it.name == StepName::Reprotect);
            reprotects.for_each(|it| it.completed_at = None);
        }
    }

    fn forget(&mut self, name: StepName) {
        if let Some(operation) = self.running_mut() {
            operation.steps.retain(|it| it.name != name);
        }
    }

    fn complete(&mut self, name: StepName, now: Timestamp) {
        let steps = self.running_mut().map(|it| it.steps.iter_mut()).into_iter().flatten();
        for step in steps.filter(|it| it.name == name && it.completed_at.is_none()) {
            step.completed_at = Some(seconds(now));
        }
    }

    fn complete_all(&mut self, now: Timestamp) {
        let steps = self.running_mut().map(|it| it.steps.iter_mut()).into_iter().flatten();
        for step in steps.filter(|it| it.completed_at.is_none()) {
            step.completed_at = Some(seconds(now));
        }
    }
}

fn end(operation: &mut Operation, phase: Phase, message: &str, now: Timestamp) {
    operation.phase = phase;
    operation.completed_at = Some(seconds(now));
    operation.message = message.to_owned();
}
