//! Drills: begun when they are due and possible, one at a time, and always cleared again.

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

/// A drill that outlives its time by this is said to be overdue, whatever the cloud says of it.
const GRACE: Duration = Duration::from_secs(600);
/// How far the clocks of the cloud and of this machine may be apart.
const SKEW: Duration = Duration::from_secs(60);

/// The newest time of the schedule after `since` and up to `now`.
fn due(spec: &DiskReplicaGroupSpec, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let schedule = Cron::from_str(&spec.drill.as_ref()?.schedule).ok()?;
    let found = schedule.find_previous_occurrence(&now.to_zoned(TimeZone::UTC), true).ok()?.timestamp();
    (found > since).then_some(found)
}

/// When the first drill is due by the schedule that was not begun, which may have passed.
pub fn due_at(spec: &DiskReplicaGroupSpec, status: &DrillsStatus) -> Option<Timestamp> {
    let drill = spec.drill.as_ref().filter(|it| status.schedule.as_ref() == Some(&it.schedule))?;
    let since = status.last_schedule_time?.to_zoned(TimeZone::UTC);
    Some(Cron::from_str(&drill.schedule).ok()?.find_next_occurrence(&since, false).ok()?.timestamp())
}

/// Whether an annotation requests a drill.
pub fn requested(scope: &Scope<'_>) -> bool {
    let requested = scope.annotation(DRILL_ANNOTATION);
    requested.is_some() && requested != scope.status.last_handled_drill_at.as_deref()
}

/// Whether a drill is to begin scope.now, as far as can be told without looking.
fn wanted(scope: &Scope<'_>, status: &DrillsStatus) -> bool {
    let scheduled = status.last_schedule_time.is_some_and(|since| due(&scope.object.spec, since, scope.now).is_some());
    scope.object.spec.drill.is_some() && (requested(scope) || scheduled)
}

/// Whether the drills of the group have to be observed.
pub fn matter(scope: &Scope<'_>) -> bool {
    let status = scope.status.drills.clone().unwrap_or_default();
    status.current.is_some() || (!scope.observe_only() && wanted(scope, &status))
}

/// Adds to a decision what the drills need.
pub(super) fn carry_on(scope: &Scope<'_>, observed: &Observed, mut decision: Decision) -> Decision {
    let mut drills = scope.status.drills.clone().unwrap_or_default();
    if scope.observe_only() {
        let left = drills.current.as_ref().map(name);
        decision.details.drill_overdue =
            left.map(|it| format!("{it} is not cleared, since managementPolicy is Observe"));
        return decision;
    }
    // What was due by another schedule, or before there was one, is not made up for.
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
            Course::Continues(run) => (Some(run), drills.last),
            Course::Over(run) => (None, Some(run)),
        };
    } else if wanted(scope, &drills)
        && let Some(group) = observed.group.group()
        && let Some(Ok(found)) = &observed.drills
    {
        begin(scope, group, found, &mut drills, &mut decision);
    }
    decision.details.drills = (drills != DrillsStatus::default()).then_some(drills);
    decision
}

/// Adds to the decision of a deletion what a drill needs to be cleared. The object goes when none is left.
pub(super) fn clear(scope: &Scope<'_>, observed: &Observed, mut decision: Decision) -> Decision {
    let mut drills = scope.status.drills.clone().unwrap_or_default();
    let Some(run) = drills.current.take() else { return decision };
    match continue_drill(scope, observed, run, None, &mut decision) {
        Course::Continues(run) => drills.current = Some(run),
        Course::Over(run) => drills.last = Some(run),
    }
    decision.details.drills = Some(drills);
    decision
}

/// Whether a drill could be begun in this state of the group. Source: the status table of the vendor's pages lists none for
/// drills; a drill clones the last recovery point while replication goes on.
fn possible(group: &GroupView, decision: &Decision) -> bool {
    let Decision { details, verdict, steps, .. } = decision;
    let lifecycle = &details.lifecycle;
    // What is refused otherwise is not ours, or is about to be failed over.
    let calm =
        matches!(verdict, Verdict::InSync | Verdict::Refused { reason: synced::REPLICATION_RUNNING, message: _ });
    calm && steps.is_empty()
        && lifecycle.running().is_none()
        && matches!(group.status, S::Normal | S::Syncing)
        && lifecycle.counted(group).is_some()
}

fn begin(
    scope: &Scope<'_>,
    group: &GroupView,
    found: &[DrillView],
    drills: &mut DrillsStatus,
    decision: &mut Decision,
) {
    // It stays due. One at a time: another one's drill is waited for too.
    if let Some(other) = found.first() {
        let text = format!("drill {} of this group is there, which this object has not begun", other.drill_id);
        drills.waiting_for = Some(text);
        return;
    }
    if !possible(group, decision) {
        drills.waiting_for = Some("the group to replicate, with a recovery point and nothing else under way".into());
        return;
    }
    drills.last_schedule_time = drills
        .last_schedule_time
        .and_then(|since| due(&scope.object.spec, since, scope.now))
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
    start(scope, group, decision);
}

/// Calls for the drill, with the token that the call had if it was made before.
fn start(scope: &Scope<'_>, group: &GroupView, decision: &mut Decision) {
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

/// The state of a drill after this decision.
enum Course {
    /// It is in progress, or its clones still exist.
    Continues(DrillRun),
    /// It is over, and nothing is left of it.
    Over(DrillRun),
}

/// Continues a drill.
fn continue_drill(
    scope: &Scope<'_>,
    observed: &Observed,
    mut run: DrillRun,
    keep_for: Option<Duration>,
    decision: &mut Decision,
) -> Course {
    let age = scope.now.duration_since(run.started_at).unsigned_abs();
    let kept = keep_for.unwrap_or_default();
    decision.details.drill_busy = true;
    if age >= kept {
        run.clearing_since.get_or_insert(seconds(scope.now));
    }
    if run.clearing_since.is_some_and(|since| scope.now.duration_since(since).unsigned_abs() > GRACE) {
        decision.details.drill_overdue = Some(format!("{} is kept longer than it should be", name(&run)));
    }
    let found = match &observed.drills {
        Some(Ok(found)) => found,
        Some(Err(error)) => {
            run.message = format!("{} failed: {}", error.operation, error.code);
            if run.drill_id.is_some() && age >= kept {
                clear_step(scope, &run, decision);
            }
            return Course::Continues(run);
        }
        // Without its group, nobody can name it any more.
        None if gone(scope, observed, keep_for) => {
            run.cleared_at = Some(seconds(scope.now));
            run.message = "the group is gone".into();
            return Course::Over(run);
        }
        None => return Course::Continues(run),
    };
    if run.drill_id.is_none() {
        let ours = found.iter().find(|it| {
            let began = it.start_at.and_then(|at| Timestamp::from_second(at).ok());
            began.map_or(found.len() == 1, |at| at + SKEW >= run.started_at)
        });
        match ours {
            Some(view) => run.drill_id = Some(view.drill_id.clone()),
            // The call's answer was lost: made again, it names the drill that it made.
            None if let Some(group) = repeatable(scope, observed, keep_for, decision) => {
                start(scope, group, decision);
                return Course::Continues(run);
            }
            None if in_flight(scope) => return Course::Continues(run),
            None => {
                run.cleared_at = Some(seconds(scope.now));
                run.result = Some(DrillResult::Failed);
                run.message = "it was not begun".into();
                return Course::Over(run);
            }
        }
    }
    let id = run.drill_id.clone().unwrap_or_default();
    let Some(view) = found.iter().find(|it| it.drill_id == id) else {
        // It may not be visible yet, or a list may be late: that it is gone is believed once its clearing was answered.
        if run.drill_status.is_none() && age <= scope.visibility_window * super::ANSWERED && keep_for.is_some() {
            return Course::Continues(run);
        }
        if run.drill_status.as_deref() != Some(DrillStatus::Clearing.as_str()) {
            clear_step(scope, &run, decision);
            return Course::Continues(run);
        }
        run.cleared_at = Some(seconds(scope.now));
        run.result = Some(if run.ready_at.is_some() { DrillResult::Succeeded } else { DrillResult::Failed });
        return Course::Over(run);
    };
    update(&mut run, view, scope.now);
    match &view.status {
        DrillStatus::Executing | DrillStatus::Clearing => {}
        DrillStatus::Executed if age < kept => {
            decision.details.drill_busy = false;
            let ends = run.started_at.checked_add(kept).ok();
            decision.details.drill_at = [decision.details.drill_at, ends].into_iter().flatten().min();
        }
        DrillStatus::Executed | DrillStatus::ExecuteFailed | DrillStatus::ClearFailed => {
            run.clearing_since.get_or_insert(seconds(scope.now));
            if view.status == DrillStatus::ClearFailed {
                let text = format!("{} could not be cleared: {}", name(&run), run.message);
                decision.details.drill_overdue = Some(text);
            }
            clear_step(scope, &run, decision);
        }
        DrillStatus::Other(_) => {}
    }
    Course::Continues(run)
}

/// Whether a drill may still come of the call.
fn in_flight(scope: &Scope<'_>) -> bool {
    let last = Call::StartDrill.pending(scope.status).map(|it| it.last());
    last.is_some_and(|at| scope.now.duration_since(at).unsigned_abs() <= scope.visibility_window)
}

/// The group, where the call for a drill can be made again in it.
fn repeatable<'a>(
    scope: &Scope<'_>,
    observed: &'a Observed,
    keep_for: Option<Duration>,
    decision: &Decision,
) -> Option<&'a GroupView> {
    let run = scope.status.drills.as_ref()?.current.as_ref()?;
    let same = run.site == decision.details.lifecycle.direction.standby();
    let group = observed.group.group().filter(|_| keep_for.is_some() && same)?;
    possible(group, decision).then_some(group)
}

fn gone(scope: &Scope<'_>, observed: &Observed, keep_for: Option<Duration>) -> bool {
    let missing = scope.status.missing_since;
    let long = missing.is_some_and(|at| scope.now.duration_since(at).unsigned_abs() > scope.visibility_window);
    observed.group.group().is_none() && (long || (keep_for.is_none() && scope.status.replica_group_id.is_none()))
}

fn name(run: &DrillRun) -> String {
    run.drill_id.as_ref().map_or_else(|| "a drill".into(), |id| format!("drill {id}"))
}

/// Takes over what the cloud reports about a drill.
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

/// The direction whose standby site a site is.
pub fn toward(standby: Site) -> Direction {
    match standby {
        Site::Destination => Direction::Forward,
        Site::Source => Direction::Reverse,
    }
}

fn clear_step(scope: &Scope<'_>, run: &DrillRun, decision: &mut Decision) {
    let drill_id = run.drill_id.clone().unwrap_or_default();
    let action = Action::ClearDrill { drill_id };
    // The API takes no token here; a second call does no harm.
    let (token, _) = tokens(scope, &action.call(), 0);
    decision.steps.push(super::Step {
        group_id: scope.status.replica_group_id.clone().unwrap_or_default(),
        direction: toward(run.site),
        sequence: 0,
        lost: None,
        elsewhere: token.clone(),
        token,
        action,
    });
}
