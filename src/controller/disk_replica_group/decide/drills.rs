//! Decides about drills: the operator begins them when they are due and possible, one at a time, and always clears them.

use std::str::FromStr;
use std::time::Duration;

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::call::Call;
use super::super::observe::Observed;
use super::{Action, Decision, Scope, Verdict, tokens};
use crate::api::DRILL_ANNOTATION;
use crate::api::condition::synced;
use crate::api::disk_replica_group::{Direction, DiskReplicaGroupSpec, DrillResult, DrillRun, DrillsStatus, Site};
use crate::cloud::ebs::{DrillStatus, DrillView, GroupView, ReplicationStatus as S};
use crate::controller::conditions::seconds;

/// Grace period after which a drill that is not cleared counts as overdue, in any status of the cloud.
const CLEAR_GRACE_PERIOD: Duration = Duration::from_secs(600);
/// Maximum difference between the clocks of the cloud and of this machine.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The newest time of the schedule after `since` and up to `now`.
fn newest_due(spec: &DiskReplicaGroupSpec, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let schedule = Cron::from_str(&spec.drill.as_ref()?.schedule).ok()?;
    let found = schedule.find_previous_occurrence(&now.to_zoned(TimeZone::UTC), true).ok()?.timestamp();
    (found > since).then_some(found)
}

/// The first time of the schedule whose drill did not begin, which may have passed.
pub fn next_due(spec: &DiskReplicaGroupSpec, status: &DrillsStatus) -> Option<Timestamp> {
    let drill = spec.drill.as_ref().filter(|it| status.schedule.as_ref() == Some(&it.schedule))?;
    let since = status.last_schedule_time?.to_zoned(TimeZone::UTC);
    Some(Cron::from_str(&drill.schedule).ok()?.find_next_occurrence(&since, false).ok()?.timestamp())
}

/// Whether an annotation requests a drill.
pub fn requested(scope: &Scope<'_>) -> bool {
    let requested = scope.annotation(DRILL_ANNOTATION);
    requested.is_some() && requested != scope.status.last_handled_drill_at.as_deref()
}

/// Whether a drill is due or requested, by the object alone.
fn is_due(scope: &Scope<'_>, status: &DrillsStatus) -> bool {
    let scheduled =
        status.last_schedule_time.is_some_and(|since| newest_due(&scope.object.spec, since, scope.now).is_some());
    scope.object.spec.drill.is_some() && (requested(scope) || scheduled)
}

/// Whether the decision needs an observation of the drills.
pub fn drills_needed(scope: &Scope<'_>) -> bool {
    let status = scope.status.drills.clone().unwrap_or_default();
    status.current.is_some() || (!scope.observe_only() && is_due(scope, &status))
}

/// Adds the steps of drills to a decision.
pub(super) fn decide_drills(scope: &Scope<'_>, observed: &Observed, mut decision: Decision) -> Decision {
    let mut drills = scope.status.drills.clone().unwrap_or_default();
    if scope.observe_only() {
        let left = drills.current.as_ref().map(describe);
        decision.details.drill_overdue =
            left.map(|it| format!("{it} is not cleared, since managementPolicy is Observe"));
        return decision;
    }
    // Drills that were due by another schedule, or before there was one, are skipped.
    let schedule = scope.object.spec.drill.as_ref().map(|it| it.schedule.clone());
    if drills.schedule != schedule {
        drills.last_schedule_time = schedule.as_ref().map(|_| seconds(scope.now));
        drills.schedule = schedule;
    }
    drills.waiting_for = scope.object.spec.drill.as_ref().and_then(|drill| {
        let error = Cron::from_str(&drill.schedule).err()?;
        Some(format!("a schedule that can be understood: {error}"))
    });
    decision.details.drill_at = scope.object.spec.drill.as_ref().and_then(|drill| {
        let schedule = Cron::from_str(&drill.schedule).ok()?;
        Some(schedule.find_next_occurrence(&scope.now.to_zoned(TimeZone::UTC), false).ok()?.timestamp())
    });
    if let Some(run) = drills.current.take() {
        let keep_for = scope.object.spec.drill.as_ref().map(|it| Duration::from(it.keep_for));
        (drills.current, drills.last) = match continue_drill(scope, observed, run, keep_for, &mut decision) {
            Progress::Running(run) => (Some(run), drills.last),
            Progress::Ended(run) => (None, Some(run)),
        };
    } else if is_due(scope, &drills)
        && let Some(group) = observed.group.group()
        && let Some(Ok(found)) = &observed.drills
    {
        begin_drill(scope, group, found, &mut drills, &mut decision);
    }
    decision.details.drills = (drills != DrillsStatus::default()).then_some(drills);
    decision
}

/// Adds the steps that clear a drill to the decision of a deletion. The object stays until none is left.
pub(super) fn clear_for_deletion(scope: &Scope<'_>, observed: &Observed, mut decision: Decision) -> Decision {
    let mut drills = scope.status.drills.clone().unwrap_or_default();
    let Some(run) = drills.current.take() else { return decision };
    match continue_drill(scope, observed, run, None, &mut decision) {
        Progress::Running(run) => drills.current = Some(run),
        Progress::Ended(run) => drills.last = Some(run),
    }
    decision.details.drills = Some(drills);
    decision
}

/// Whether the operator can begin a drill in this state of the group. Source: the status table of the vendor's pages lists none
/// for drills; a drill clones the last recovery point while replication continues.
fn can_begin(group: &GroupView, decision: &Decision) -> bool {
    let Decision { details, verdict, steps, .. } = decision;
    let lifecycle = &details.lifecycle;
    // With any other refusal the group belongs to another object, or is about to fail over.
    let calm =
        matches!(verdict, Verdict::InSync | Verdict::Refused { reason: synced::REPLICATION_RUNNING, message: _ });
    calm && steps.is_empty()
        && lifecycle.running().is_none()
        && matches!(group.status, S::Normal | S::Syncing)
        && lifecycle.valid_recovery_point(group).is_some()
}

/// Begins a drill, or sets the reason why it waits.
fn begin_drill(
    scope: &Scope<'_>,
    group: &GroupView,
    found: &[DrillView],
    drills: &mut DrillsStatus,
    decision: &mut Decision,
) {
    // The drill stays due. There is one drill at a time, including those of other actors.
    if let Some(other) = found.first() {
        let text = format!("drill {} of this group is there, which this object has not begun", other.drill_id);
        drills.waiting_for = Some(text);
        return;
    }
    if !can_begin(group, decision) {
        drills.waiting_for = Some("the group to replicate, with a recovery point and nothing else under way".into());
        return;
    }
    drills.last_schedule_time = drills
        .last_schedule_time
        .and_then(|since| newest_due(&scope.object.spec, since, scope.now))
        .or(drills.last_schedule_time);
    drills.current = Some(DrillRun {
        drill_id: None,
        site: decision.details.lifecycle.direction.standby(),
        started_at: seconds(scope.now),
        drill_status: None,
        recovery_point: None,
        ready_at: None,
        duration_seconds: None,
        clearing_since: None,
        cleared_at: None,
        result: None,
        message: String::new(),
    });
    decision.details.drill_handled = true;
    decision.details.drill_busy = true;
    add_start(scope, group, decision);
}

/// Adds the step that starts the drill. A repeated call keeps its token.
fn add_start(scope: &Scope<'_>, group: &GroupView, decision: &mut Decision) {
    let used = decision.steps.iter().map(|it| it.sequence).max();
    let next =
        used.or(scope.status.call_sequence).unwrap_or_default().max(scope.status.call_sequence.unwrap_or_default()) + 1;
    let sequence = Call::StartDrill.pending(scope.status).map_or(next, |it| it.sequence);
    let (token, elsewhere) = tokens(scope, &Call::StartDrill, sequence);
    decision.steps.push(super::Step {
        action: Action::StartDrill,
        group_id: group.replica_group_id.clone(),
        direction: decision.details.lifecycle.direction,
        sequence,
        lost: super::lost(Call::StartDrill.pending(scope.status)),
        token,
        elsewhere,
    });
}

/// The progress of a drill after this decision.
enum Progress {
    /// The drill is in progress, or its clones still exist.
    Running(DrillRun),
    /// The drill ended, and its clones are gone.
    Ended(DrillRun),
}

fn continue_drill(
    scope: &Scope<'_>,
    observed: &Observed,
    mut run: DrillRun,
    keep_for: Option<Duration>,
    decision: &mut Decision,
) -> Progress {
    let kept_long_enough = age(scope, &run) >= keep_for.unwrap_or_default();
    decision.details.drill_busy = true;
    if kept_long_enough {
        run.clearing_since.get_or_insert(seconds(scope.now));
    }
    let overdue = |since: Timestamp| scope.now.duration_since(since).unsigned_abs() > CLEAR_GRACE_PERIOD;
    if run.clearing_since.is_some_and(overdue) {
        decision.details.drill_overdue = Some(format!("{} is kept longer than it should be", describe(&run)));
    }
    let found = match &observed.drills {
        Some(Ok(found)) => found,
        Some(Err(error)) => {
            run.message = format!("{} failed: {}", error.operation, error.code);
            if run.drill_id.is_some() && kept_long_enough {
                add_clear(scope, &run, decision);
            }
            return Progress::Running(run);
        }
        // Without its group, the drill cannot be identified any more.
        None if group_gone(scope, observed, keep_for) => {
            run.cleared_at = Some(seconds(scope.now));
            run.message = "the group is gone".into();
            return Progress::Ended(run);
        }
        None => return Progress::Running(run),
    };
    if run.drill_id.is_none() {
        match find_own(&run, found) {
            Some(view) => run.drill_id = Some(view.drill_id.clone()),
            None => return continue_start(scope, observed, run, keep_for, decision),
        }
    }
    match found.iter().find(|it| Some(&it.drill_id) == run.drill_id.as_ref()) {
        Some(view) => continue_found(scope, run, view, keep_for, decision),
        None => continue_missing(scope, run, keep_for, decision),
    }
}

fn age(scope: &Scope<'_>, run: &DrillRun) -> Duration {
    scope.now.duration_since(run.started_at).unsigned_abs()
}

/// The drill of a call whose answer was lost: one that began after the call.
fn find_own<'a>(run: &DrillRun, found: &'a [DrillView]) -> Option<&'a DrillView> {
    found.iter().find(|it| {
        let began = it.start_at.and_then(|at| Timestamp::from_second(at).ok());
        let is_later = |at: Timestamp| at.saturating_add(MAX_CLOCK_SKEW).is_ok_and(|at| at >= run.started_at);
        began.map_or(found.len() == 1, is_later)
    })
}

/// Continues a drill that no list contains and whose ID is unknown: its call may have had no effect.
fn continue_start(
    scope: &Scope<'_>,
    observed: &Observed,
    mut run: DrillRun,
    keep_for: Option<Duration>,
    decision: &mut Decision,
) -> Progress {
    // The answer to the call was lost. A repetition with its token returns the drill that the call began.
    if let Some(group) = group_for_retry(scope, observed, keep_for, decision) {
        add_start(scope, group, decision);
        return Progress::Running(run);
    }
    if start_in_flight(scope) {
        return Progress::Running(run);
    }
    run.cleared_at = Some(seconds(scope.now));
    run.result = Some(DrillResult::Failed);
    run.message = "it was not begun".into();
    Progress::Ended(run)
}

/// Continues a drill that no list contains. It may not be visible yet, or a list may be late: it counts as gone only after the
/// cloud accepted the call that clears it.
fn continue_missing(
    scope: &Scope<'_>,
    mut run: DrillRun,
    keep_for: Option<Duration>,
    decision: &mut Decision,
) -> Progress {
    let in_window = age(scope, &run) <= scope.visibility_window * super::ACCEPTED_WINDOW_FACTOR;
    if run.drill_status.is_none() && in_window && keep_for.is_some() {
        return Progress::Running(run);
    }
    if run.drill_status.as_deref() != Some(DrillStatus::Clearing.as_str()) {
        add_clear(scope, &run, decision);
        return Progress::Running(run);
    }
    run.cleared_at = Some(seconds(scope.now));
    run.result = Some(if run.ready_at.is_some() { DrillResult::Succeeded } else { DrillResult::Failed });
    Progress::Ended(run)
}

/// Continues a drill by its status in the cloud.
fn continue_found(
    scope: &Scope<'_>,
    mut run: DrillRun,
    view: &DrillView,
    keep_for: Option<Duration>,
    decision: &mut Decision,
) -> Progress {
    let keep_for = keep_for.unwrap_or_default();
    update(&mut run, view, scope.now);
    match &view.status {
        DrillStatus::Executing | DrillStatus::Clearing => {}
        DrillStatus::Executed if age(scope, &run) < keep_for => {
            decision.details.drill_busy = false;
            let ends = run.started_at.checked_add(keep_for).ok();
            decision.details.drill_at = [decision.details.drill_at, ends].into_iter().flatten().min();
        }
        DrillStatus::Executed | DrillStatus::ExecuteFailed | DrillStatus::ClearFailed => {
            run.clearing_since.get_or_insert(seconds(scope.now));
            if view.status == DrillStatus::ClearFailed {
                let text = format!("{} could not be cleared: {}", describe(&run), run.message);
                decision.details.drill_overdue = Some(text);
            }
            add_clear(scope, &run, decision);
        }
        DrillStatus::Other(_) => {}
    }
    Progress::Running(run)
}

/// Whether the effect of the call that starts the drill may still become visible.
fn start_in_flight(scope: &Scope<'_>) -> bool {
    let last = Call::StartDrill.pending(scope.status).map(|it| it.last());
    last.is_some_and(|at| scope.now.duration_since(at).unsigned_abs() <= scope.visibility_window)
}

/// The group, if the operator can repeat the call that starts the drill.
fn group_for_retry<'a>(
    scope: &Scope<'_>,
    observed: &'a Observed,
    keep_for: Option<Duration>,
    decision: &Decision,
) -> Option<&'a GroupView> {
    let run = scope.status.drills.as_ref()?.current.as_ref()?;
    let same = run.site == decision.details.lifecycle.direction.standby();
    let group = observed.group.group().filter(|_| keep_for.is_some() && same)?;
    can_begin(group, decision).then_some(group)
}

fn group_gone(scope: &Scope<'_>, observed: &Observed, keep_for: Option<Duration>) -> bool {
    let bound = observed.binding.bound.as_deref();
    let long = bound.is_some_and(|id| scope.absence(&super::resolve::group_part(id)).is_proven());
    observed.group.group().is_none() && (long || (keep_for.is_none() && scope.status.replica_group_id.is_none()))
}

fn describe(run: &DrillRun) -> String {
    run.drill_id.as_ref().map_or_else(|| "a drill".into(), |id| format!("drill {id}"))
}

/// Updates a drill by the report of the cloud.
fn update(run: &mut DrillRun, view: &DrillView, now: Timestamp) {
    run.drill_status = Some(view.status.as_str().to_owned());
    run.message = view.status_message.clone().unwrap_or_default();
    if let Some(at) = view.recover_point.filter(|at| *at > 0).and_then(|at| Timestamp::from_second(at).ok()) {
        run.recovery_point = Some(at);
    }
    if view.status == DrillStatus::Executed && run.ready_at.is_none() {
        run.ready_at = Some(seconds(now));
        run.duration_seconds = Some(now.duration_since(run.started_at).as_secs().max(0));
    }
}

/// The direction of replication to a standby site.
pub fn direction_to(standby: Site) -> Direction {
    match standby {
        Site::Destination => Direction::Forward,
        Site::Source => Direction::Reverse,
    }
}

fn add_clear(scope: &Scope<'_>, run: &DrillRun, decision: &mut Decision) {
    let drill_id = run.drill_id.clone().unwrap_or_default();
    let action = Action::ClearDrill { drill_id };
    // The API accepts no token here. A second call is harmless.
    let (token, _) = tokens(scope, &action.call(), 0);
    decision.steps.push(super::Step {
        group_id: scope.status.replica_group_id.clone().unwrap_or_default(),
        direction: direction_to(run.site),
        sequence: 0,
        lost: None,
        elsewhere: token.clone(),
        token,
        action,
    });
}
