//! The lifecycle of a group, by status and observation: direction, active site, and the progress of its operation. Pure.

use jiff::{SignedDuration, Timestamp};

use super::call::Call;
use super::{Scope, resolve};
use crate::api::DIRECTION_ANNOTATION;
use crate::api::disk_replica_group::{
    Direction, FailoverMode, Operation, OperationStep, OperationType, PendingCall, Phase, Replication, Site, StepName,
};
use crate::cloud::ebs::{GroupView, PairView, ReplicationStatus as S};
use crate::controller::conditions::seconds;

/// Maximum number of operations in status.
const MAX_OPERATIONS: usize = 10;
/// Maximum number of steps of an operation in status: an actor that works against the operator must not make the object too
/// large.
const MAX_STEPS: usize = 20;

/// Maximum difference between the clocks of the operator and the cloud.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(10);

/// The origin of an operation.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The mode of a failover or failback.
    pub mode: Option<FailoverMode>,
    /// The generation of the spec.
    pub generation: i64,
    /// The time of the request.
    pub requested_at: Option<Timestamp>,
    /// The loss that is expected of a failover.
    pub expected_loss_seconds: Option<i64>,
    /// The pairs whose data a failover gives up.
    pub pairs_left_behind: Vec<String>,
}

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
    /// The operations, the newest first.
    pub operations: Vec<Operation>,
    /// The failovers and failbacks that ended, the newest first.
    pub failovers: Vec<Operation>,
    /// The number of the operation that made the standby site the active one.
    pub failed_over_by: Option<i64>,
    /// The time since which active site and direction are known as they are.
    pub active_since: Option<Timestamp>,
    /// Whether another actor reversed replication, and no synchronization was completed since then.
    pub reversed_by_other: bool,
    /// The difference between the annotation and the cloud, where there is no status: which one is newer is unknown.
    pub contradiction: Option<String>,
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

/// The end of the time from which no recovery point is valid after a change of site or direction now.
fn earliest_valid(now: Timestamp) -> Option<Timestamp> {
    now.checked_sub(MAX_CLOCK_SKEW).ok().map(seconds)
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
            operations: old.operations.clone(),
            failovers: old.failovers.clone(),
            failed_over_by: old.failed_over_by,
            active_since: old.active_site_since,
            reversed_by_other: old.reversed_by_other,
            contradiction: None,
            renamed_since: None,
            unproven: None,
        };
        let Some(group) = group else { return lifecycle };
        if old.direction.is_none() {
            lifecycle.check_first_observation(scope, group, observed);
        }
        lifecycle.follow_reversal(scope, group);
        if lifecycle.unproven().is_none() {
            lifecycle.update_active_site(scope, group);
            lifecycle.advance(scope, group);
            if lifecycle.valid_recovery_point(group).is_some() {
                lifecycle.reversed_by_other = false;
            }
        }
        let known = (old.direction, old.active_site) == (Some(lifecycle.direction), Some(lifecycle.active));
        if !known || lifecycle.active_since.is_none() {
            lifecycle.active_since = Some(seconds(scope.now));
        }
        let opened = group.status == S::Failovered && old.group_status.as_deref() != Some(S::Failovered.as_str());
        let own = lifecycle.failed_over_by.is_some() && opened;
        let settled = (replicates(&group.status) || own) && lifecycle.renamed_since.is_none();
        if settled || lifecycle.reported_source_zone.is_none() {
            lifecycle.reported_source_zone = group.source_zone_id.clone().or(lifecycle.reported_source_zone);
        }
        lifecycle
    }

    /// Without a status, an annotation that differs from the cloud is older or newer than the last reversal. In the reverse
    /// direction, a recovery point may be from before the reversal.
    fn check_first_observation(&mut self, scope: &Scope<'_>, group: &GroupView, observed: Option<Direction>) {
        let annotated = annotated_direction(scope);
        if let (Some(annotated), Some(observed)) = (annotated, observed)
            && annotated != observed
        {
            self.contradiction = Some(format!(
                "the annotation {DIRECTION_ANNOTATION} is {}, and the cloud reports {}",
                annotated.as_str(),
                observed.as_str()
            ));
        }
        if self.direction == Direction::Reverse {
            self.outdated = self.outdated.max(reported_recovery_point(group));
            self.reversed_by_other = true;
        }
    }

    /// Whether a pair completed a synchronization in the present direction.
    pub fn is_synchronized(&self, pair: &PairView) -> bool {
        let point = pair.last_recover_point.filter(|it| *it > 0).and_then(|it| Timestamp::from_second(it).ok());
        let valid = point.is_some_and(|point| self.outdated.is_none_or(|outdated| point > outdated));
        valid && !matches!(pair.status, S::Created | S::InitialSyncing)
    }

    /// The operation that made the standby site the active one, if this operator did it.
    pub fn failover_in_effect(&self) -> Option<&Operation> {
        let number = self.failed_over_by.filter(|_| self.active == self.direction.standby())?;
        self.operations.iter().chain(&self.failovers).find(|it| it.number == number)
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
        if group.status == S::Failovered && self.running().is_none_or(|it| it.r#type != OperationType::Reprotect) {
            self.check_source_while_failed_over(scope, group);
            return;
        }
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
                    self.reverse(group, now);
                    self.reversed_by_other = true;
                    self.end(Phase::Cancelled, "another actor reversed replication", now);
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
                self.reverse(group, now);
                self.reversed_by_other = true;
                self.end(Phase::Cancelled, "another actor reversed replication", now);
            }
            return;
        };
        let was_reprotecting = old.group_status.as_deref() == Some(S::Reprotecting.as_str());
        let waited = now.duration_since(pending.last()).unsigned_abs() > scope.visibility_window;
        let answered = pending.accepted_at.is_some();
        let at_rest = matches!(group.status, S::Stopped | S::Created);
        match call {
            Call::Reverse if was_reprotecting || renamed || (answered && waited) => {
                self.reverse(group, now);
                self.complete_step(StepName::Reprotect, now);
            }
            // A cancellation ends at rest. Running replication was read before the failover, or another actor started it.
            Call::Cancel if at_rest || was_reprotecting || waited => {}
            call => self.unproven = Some(Unproven::Call(call)),
        }
    }

    /// Notices a failover in the other direction that no reconcile observed: the cloud reports another source than before.
    fn check_source_while_failed_over(&mut self, scope: &Scope<'_>, group: &GroupView) {
        let (zone, known) = (group.source_zone_id.as_ref(), scope.status.reported_source_zone.as_ref());
        let changed = zone.is_some() && known.is_some() && zone != known;
        let reported = resolve::direction(&scope.object.spec, group);
        // The failover itself may have changed the report.
        let own = self.running().is_some();
        if changed && !own && reported.is_some_and(|reported| reported != self.direction) {
            self.contradiction = Some(format!(
                "status.direction is {}, and the cloud reports another source since the group was failed over",
                self.direction.as_str()
            ));
        }
    }

    /// Whether a reversal runs.
    pub fn reverses(&self) -> bool {
        self.running().is_some_and(|it| it.r#type == OperationType::Reprotect)
    }

    fn reverse(&mut self, group: &GroupView, now: Timestamp) {
        self.direction = self.direction.reversed();
        self.failed_over_by = None;
        self.reversed_by_other = false;
        self.outdated = self.outdated.max(reported_recovery_point(group)).max(earliest_valid(now));
    }

    /// Updates the site whose disks are in use.
    fn update_active_site(&mut self, scope: &Scope<'_>, group: &GroupView) {
        let before = self.active;
        self.active = match &group.status {
            S::Failovered | S::Reprotecting | S::ReprotectFailed => self.direction.standby(),
            S::Failovering | S::FailoverFailed => self.direction.production(),
            status if replicates(status) => self.direction.production(),
            _ => before,
        };
        // One read may be old.
        let past_window = |at: Timestamp| scope.now.duration_since(at).unsigned_abs() > scope.visibility_window;
        if self.active == self.direction.production()
            && self.active == before
            && self.active_since.is_some_and(past_window)
        {
            self.failed_over_by = None;
        }
        if group.status == S::Failovered && self.outdated < reported_recovery_point(group) {
            // Writes at the other site from now on are in no recovery point.
            self.outdated = reported_recovery_point(group);
        }
        if group.status == S::Failovered && before != self.active {
            self.outdated = self.outdated.max(earliest_valid(scope.now));
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
            let (number, began) = (operation.number, operation.requested_at.unwrap_or(operation.started_at));
            let lossless =
                operation.mode == Some(FailoverMode::Planned) && self.step(StepName::Synchronize) == Some(true);
            self.complete_all_steps(now);
            self.failed_over_by = Some(number);
            let newer =
                reported_recovery_point(group).filter(|it| old.outdated_recovery_point.is_none_or(|old| *it > old));
            if let Some(operation) = self.running_mut() {
                operation.recovery_point = operation.recovery_point.max(newer);
                operation.recovery_time_seconds = Some(now.duration_since(began).as_secs().max(0));
                // Without the last synchronization, the former site holds writes that this one does not have.
                if !lossless {
                    operation.mode = Some(FailoverMode::Forced);
                }
                let age = if lossless { Some(0) } else { operation.recovery_point_age_seconds };
                operation.loss_seconds = age.filter(|_| operation.pairs_left_behind.is_empty());
                let message = outcome(operation);
                end(operation, Phase::Succeeded, &message, now);
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

    /// Whether the last synchronization of a stopped group has ended: the cloud accepted the call, and shows a recovery point from
    /// after it. Points may appear later than the status.
    fn synchronization_ended(&self, scope: &Scope<'_>, group: &GroupView) -> bool {
        let operation = self.running();
        let before = operation.and_then(|it| it.recovery_point);
        let began = operation.and_then(|it| it.steps.iter().rev().find(|it| it.name == StepName::Synchronize));
        let Some(began) = began else { return false };
        // Without an accepted call, another actor may have started a synchronization, or the point is that of a cycle. The call
        // itself is pending no longer than its effect takes to become visible.
        let pending = Call::Synchronize.pending(scope.status).filter(|it| !self.predates_operation(it));
        let last = scope.status.last_single_synchronization_at;
        if pending.is_none_or(|it| it.accepted_at.is_none()) && last.is_none_or(|at| at < began.started_at) {
            return false;
        }
        let asked_for = began.started_at.saturating_sub(MAX_CLOCK_SKEW).unwrap_or(Timestamp::MIN);
        self.valid_recovery_point(group).is_some_and(|point| Some(point) > before && point >= asked_for)
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
            let message = "another actor cancelled the failover";
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
    pub fn begin(&mut self, kind: OperationType, origin: Origin, now: Timestamp) {
        let Origin { mode, generation, requested_at, expected_loss_seconds, pairs_left_behind } = origin;
        let target_site = match kind {
            OperationType::Failover | OperationType::Failback | OperationType::Reprotect => self.direction.standby(),
            OperationType::Cancel => self.direction.production(),
        };
        let number = self.operations.first().map_or(0, |it| it.number).saturating_add(1);
        let operation = Operation {
            number,
            r#type: kind,
            mode,
            generation,
            requested_at,
            phase: Phase::Running,
            target_site,
            started_at: seconds(now),
            completed_at: None,
            steps: vec![],
            recovery_point: None,
            recovery_point_age_seconds: None,
            expected_loss_seconds,
            pairs_left_behind,
            loss_seconds: None,
            recovery_time_seconds: None,
            message: String::new(),
        };
        self.operations.insert(0, operation);
        self.operations.truncate(MAX_OPERATIONS);
    }

    /// The failovers and failbacks that ended, this decision included.
    pub fn ended_failovers(&self) -> Vec<Operation> {
        let is_failover = |it: &&Operation| matches!(it.r#type, OperationType::Failover | OperationType::Failback);
        let ended = self.operations.iter().filter(is_failover).filter(|it| it.phase != Phase::Running);
        let known = |number: i64| self.operations.iter().any(|it| it.number == number);
        let older = self.failovers.iter().filter(|it| !known(it.number));
        ended.chain(older).take(MAX_OPERATIONS).cloned().collect()
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

    /// Records that a newer request asks for the running failover.
    pub fn renew(&mut self, requested_at: Timestamp) {
        if let Some(operation) = self.running_mut() {
            operation.requested_at = operation.requested_at.max(Some(requested_at));
        }
    }

    /// Makes the running failover forced: it no longer waits for a synchronization, and loses writes.
    pub fn force(&mut self, expected_loss_seconds: Option<i64>) {
        if let Some(operation) = self.running_mut().filter(|it| it.mode == Some(FailoverMode::Planned)) {
            operation.mode = Some(FailoverMode::Forced);
            operation.expected_loss_seconds = expected_loss_seconds.or(operation.expected_loss_seconds);
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

/// The outcome of a successful failover, in one sentence.
fn outcome(operation: &Operation) -> String {
    let (site, kind) = (operation.target_site.as_str(), operation.r#type);
    let after = operation.recovery_time_seconds.unwrap_or_default();
    let loss = match operation.loss_seconds {
        Some(0) => "nothing was lost".to_owned(),
        Some(loss) => format!("writes of at most {loss} s were lost"),
        None if operation.pairs_left_behind.is_empty() => "the loss is unknown".to_owned(),
        None => format!("the data of these pairs was given up: {}", operation.pairs_left_behind.join(", ")),
    };
    format!("{kind:?} succeeded: the disks of the {site} are in use {after} s after the request; {loss}")
}

fn end(operation: &mut Operation, phase: Phase, message: &str, now: Timestamp) {
    operation.phase = phase;
    operation.completed_at = Some(seconds(now));
    operation.message = message.to_owned();
}
