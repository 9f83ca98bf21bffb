//! The lifecycle of a group, by status and observation: direction, active site, and the progress of its operation. Pure.

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
/// Maximum number of steps of an operation in status: an actor that works against the operator must not make the object too
/// large.
const MAX_STEPS: usize = 20;

/// An effect that an observation seems to show and does not prove: the observation may be older than the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// The effect of a call.
    Call(Call),
    /// A reversal that the operator did not request: the cloud reports another source than before.
    Reversal,
}

/// The lifecycle of a group, as status keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Lifecycle {
    /// The direction of replication.
    pub direction: Direction,
    /// The site whose disks are in use.
    pub active: Site,
    /// The source's zone, as the cloud reports it.
    pub reported_source_zone: Option<String>,
    /// The newest recovery point that is not valid: it is from before the last failover.
    pub outdated: Option<Timestamp>,
    /// The last handled value of `spec.activeSite`.
    pub handled: Site,
    /// The operations, the newest first.
    pub operations: Vec<Operation>,
    /// The time since when the cloud reports another source than before.
    pub renamed_since: Option<Timestamp>,
    unproven: Option<Unproven>,
}

/// Whether disks are replicated in the present direction, or can be at once: no failover is in effect.
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

/// The recovery point that the cloud reports. The API has 0 for none.
pub fn reported_recovery_point(group: &GroupView) -> Option<Timestamp> {
    group.last_recover_point.filter(|it| *it > 0).and_then(|it| Timestamp::from_second(it).ok())
}

/// The direction in the annotation, which survives a backup without status.
pub fn annotated_direction(scope: &Scope<'_>) -> Option<Direction> {
    let annotated = scope.annotation(DIRECTION_ANNOTATION)?;
    [Direction::Forward, Direction::Reverse].into_iter().find(|it| it.as_str() == annotated)
}

impl Lifecycle {
    /// The lifecycle by status and annotation, advanced by the observation.
    pub fn new(scope: &Scope<'_>, group: Option<&GroupView>) -> Self {
        let (spec, old) = (&scope.object.spec, scope.status);
        let observed = group.and_then(|group| resolve::direction(spec, group));
        let direction = old.direction.or(annotated_direction(scope)).or(observed).unwrap_or_default();
        let mut lifecycle = Self {
            direction,
            active: old.active_site.unwrap_or(direction.production()),
            reported_source_zone: old.reported_source_zone.clone(),
            outdated: old.outdated_recovery_point,
            handled: old.last_handled_active_site.unwrap_or(spec.active_site),
            operations: old.operations.clone(),
            renamed_since: None,
            unproven: None,
        };
        let Some(group) = group else { return lifecycle };
        lifecycle.follow_reversal(scope, group);
        if lifecycle.unproven().is_none() {
            lifecycle.update_active_site(group);
            lifecycle.advance(scope, group);
            if lifecycle.valid_recovery_point(group).is_some() {
                lifecycle.outdated = None;
            }
        }
        let settled = replicates(&group.status) && lifecycle.renamed_since.is_none();
        if settled || lifecycle.reported_source_zone.is_none() {
            lifecycle.reported_source_zone = group.source_zone_id.clone().or(lifecycle.reported_source_zone);
        }
        lifecycle
    }

    /// The running operation.
    pub fn running(&self) -> Option<&Operation> {
        self.operations.first().filter(|it| it.phase == Phase::Running)
    }

    fn running_mut(&mut self) -> Option<&mut Operation> {
        self.operations.first_mut().filter(|it| it.phase == Phase::Running)
    }

    /// The recovery point, if it is valid for the present direction.
    pub fn valid_recovery_point(&self, group: &GroupView) -> Option<Timestamp> {
        if !replicates(&group.status) && !matches!(group.status, S::Failovering | S::FailoverFailed | S::Invalid) {
            return None;
        }
        reported_recovery_point(group).filter(|it| self.outdated.is_none_or(|outdated| *it > outdated))
    }

    /// Whether the running operation began a step, and whether the step is complete.
    pub fn step(&self, name: StepName) -> Option<bool> {
        let step = self.running()?.steps.iter().rev().find(|it| it.name == name)?;
        Some(step.completed_at.is_some())
    }

    /// The effect that the observation seems to show and does not prove.
    pub fn unproven(&self) -> Option<&Unproven> {
        self.unproven.as_ref()
    }

    /// Reverses the direction after a reversal of replication.
    fn follow_reversal(&mut self, scope: &Scope<'_>, group: &GroupView) {
        let (spec, old, now) = (&scope.object.spec, scope.status, scope.now);
        if !replicates(&group.status) {
            // The documentation does not say when the cloud reports the new source during a reversal. Its report at the end
            // counts.
            return;
        }
        let zone = group.source_zone_id.as_deref();
        let renamed = old.direction.is_some()
            && zone.is_some()
            && old.reported_source_zone.as_deref().is_some_and(|known| Some(known) != zone)
            && resolve::direction(spec, group).is_some_and(|reported| reported != self.direction);
        let call = match self.running().map(|it| it.r#type) {
            Some(OperationType::Reprotect) if self.step(StepName::Reprotect) == Some(false) => Call::Reverse,
            // One read may be old, in any direction.
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
        // Without a pending call the cloud refused the reversal: another actor ended the failover.
        let Some(pending) = call.pending(old) else {
            if renamed {
                self.reverse(group);
                self.end(Phase::Cancelled, "replication was turned round by somebody else", now);
            }
            return;
        };
        let was_reprotecting = old.group_status.as_deref() == Some(S::Reprotecting.as_str());
        let waited = now.duration_since(pending.last()).unsigned_abs() > scope.visibility_window;
        let answered = pending.accepted_at.is_some();
        let at_rest = matches!(group.status, S::Stopped | S::Created);
        match call {
            Call::Reverse if was_reprotecting || renamed || (answered && waited) => {
                self.reverse(group);
                self.complete_step(StepName::Reprotect, now);
            }
            // A cancellation ends at rest. Running replication was read before the failover, or another actor started it.
            Call::Cancel if at_rest || was_reprotecting || waited => {}
            call => self.unproven = Some(Unproven::Call(call)),
        }
    }

    /// Whether the spec still wants the running reversal.
    pub fn reverses(&self, spec: &DiskReplicaGroupSpec) -> bool {
        let wanted = |it: &Operation| it.r#type == OperationType::Reprotect && it.target_site == spec.active_site;
        self.running().is_some_and(wanted) && spec.reprotect == Reprotect::Automatic
    }

    fn reverse(&mut self, group: &GroupView) {
        self.direction = self.direction.reversed();
        self.outdated = self.outdated.max(reported_recovery_point(group));
    }

    /// Updates the site whose disks are in use.
    fn update_active_site(&mut self, group: &GroupView) {
        let before = self.active;
        self.active = match &group.status {
            S::Failovered | S::Reprotecting | S::ReprotectFailed => self.direction.standby(),
            S::Failovering | S::FailoverFailed => self.direction.production(),
            status if replicates(status) => self.direction.production(),
            _ => before,
        };
        if group.status == S::Failovered && self.outdated < reported_recovery_point(group) {
            // Writes at the other site from now on are in no recovery point.
            self.outdated = reported_recovery_point(group);
        }
    }

    /// Continues the running operation.
    fn advance(&mut self, scope: &Scope<'_>, group: &GroupView) {
        let Some(operation) = self.running() else { return };
        match operation.r#type {
            OperationType::Failover | OperationType::Failback => self.advance_failover(scope, group),
            kind @ (OperationType::Cancel | OperationType::Reprotect) => self.advance_reprotect(scope, group, kind),
        }
    }

    /// Continues a failover or failback.
    fn advance_failover(&mut self, scope: &Scope<'_>, group: &GroupView) {
        let (old, now, status) = (scope.status, scope.now, &group.status);
        let Some(operation) = self.running() else { return };
        if self.active == operation.target_site {
            let began = operation.started_at;
            self.complete_all_steps(now);
            let newer =
                reported_recovery_point(group).filter(|it| old.outdated_recovery_point.is_none_or(|old| *it > old));
            if let Some(operation) = self.running_mut() {
                operation.recovery_point = operation.recovery_point.max(newer);
                operation.recovery_time_seconds = Some(now.duration_since(began).as_secs().max(0));
                end(operation, Phase::Succeeded, "", now);
            }
            return;
        }
        if *status == S::Stopped {
            self.complete_step(StepName::Stop, now);
        }
        if *status == S::Stopped && self.synchronization_ended(scope, group) {
            self.complete_step(StepName::Synchronize, now);
        } else if runs(status) {
            // Another actor started replication. Writes made since then are in no synchronization.
            self.forget_step(StepName::Synchronize);
        }
    }

    /// Whether the last synchronization of a stopped group has ended. A list may show the state before the synchronization. Its
    /// end counts after the operator observed it in progress, after it brought a newer recovery point, or long enough after the
    /// cloud accepted the call. A refused synchronization never ends.
    fn synchronization_ended(&self, scope: &Scope<'_>, group: &GroupView) -> bool {
        let pending = Call::Synchronize.pending(scope.status).filter(|it| !self.predates_operation(it));
        let accepted = pending.and_then(|it| it.accepted_at);
        let unanswered = pending.is_some_and(|it| it.accepted_at.is_none());
        let was_in_progress = scope.status.group_status.as_deref() == Some(S::ManualSyncing.as_str());
        let before = self.running().and_then(|it| it.recovery_point);
        let newer = before.is_some() && self.valid_recovery_point(group) > before;
        let waited = accepted.is_some_and(|at| scope.now.duration_since(at).unsigned_abs() > scope.visibility_window);
        // While the answer to the call is lost, another actor may have started the synchronization in progress.
        newer || waited || (was_in_progress && !unanswered)
    }

    /// Continues a cancellation or a reversal.
    fn advance_reprotect(&mut self, scope: &Scope<'_>, group: &GroupView, kind: OperationType) {
        let (spec, now, status) = (&scope.object.spec, scope.now, &group.status);
        let reversed = kind == OperationType::Reprotect && self.step(StepName::Reprotect) == Some(true);
        let failed_over_again = reversed && resolve::direction(spec, group) == Some(self.direction);
        if *status == S::Failovered && !failed_over_again {
            // The observation of the end was old.
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
        self.complete_step(StepName::Reprotect, now);
        if spec.replication == Replication::Stopped || runs(status) {
            self.complete_step(StepName::Start, now);
            if let Some(operation) = self.running_mut() {
                end(operation, Phase::Succeeded, "", now);
            }
        }
    }

    /// Whether a call is older than the running operation, and proves nothing about it.
    pub fn predates_operation(&self, call: &PendingCall) -> bool {
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

    /// Begins a step of the running operation. A step in progress stays.
    pub fn begin_step(&mut self, name: StepName, now: Timestamp) {
        if self.step(name) == Some(false) {
            return;
        }
        if let Some(operation) = self.running_mut().filter(|it| it.steps.len() < MAX_STEPS) {
            operation.steps.push(OperationStep { name, started_at: seconds(now), completed_at: None });
        }
    }

    /// Records the recovery point of the running failover, and its age now.
    pub fn record_recovery_point(&mut self, group: &GroupView, now: Timestamp) {
        let point = self.valid_recovery_point(group);
        if let (Some(point), Some(operation)) = (point, self.running_mut()) {
            operation.recovery_point = Some(point);
            operation.recovery_point_age_seconds = Some(now.duration_since(point).as_secs().max(0));
        }
    }

    /// Makes the running failover forced: it no longer waits for a synchronization.
    pub fn force(&mut self) {
        if let Some(operation) = self.running_mut().filter(|it| it.mode.is_some()) {
            operation.mode = Some(FailoverMode::Forced);
        }
    }

    /// Ends the running operation.
    pub fn end(&mut self, phase: Phase, message: &str, now: Timestamp) {
        if let Some(operation) = self.running_mut() {
            end(operation, phase, message, now);
        }
    }

    /// Reopens the operation: the failover is still in effect, neither cancelled nor reversed.
    fn reopen(&mut self, kind: OperationType, group: &GroupView) {
        if kind == OperationType::Reprotect && self.step(StepName::Reprotect) == Some(true) {
            self.direction = self.direction.reversed();
            self.active = self.direction.standby();
            // The next change of the reported zone proves the reversal.
            self.reported_source_zone = group.source_zone_id.clone().or_else(|| self.reported_source_zone.take());
        }
        if let Some(operation) = self.running_mut() {
            operation.steps.retain(|it| it.name != StepName::Start);
            let reprotects = operation.steps.iter_mut().filter(|it| it.name == StepName::Reprotect);
            reprotects.for_each(|it| it.completed_at = None);
        }
    }

    fn forget_step(&mut self, name: StepName) {
        if let Some(operation) = self.running_mut() {
            operation.steps.retain(|it| it.name != name);
        }
    }

    fn complete_step(&mut self, name: StepName, now: Timestamp) {
        let steps = self.running_mut().map(|it| it.steps.iter_mut()).into_iter().flatten();
        for step in steps.filter(|it| it.name == name && it.completed_at.is_none()) {
            step.completed_at = Some(seconds(now));
        }
    }

    fn complete_all_steps(&mut self, now: Timestamp) {
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
