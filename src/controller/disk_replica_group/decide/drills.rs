//! Drills: begun when they are due and possible, one at a time, and always cleared again.

use std::str::FromStr;
use std::time::Duration;

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::observe::Observed;
use super::{Action, Decision, Desired, Verdict};
use crate::api::condition::synced;
use crate::api::disk_replica_group::{Direction, DiskReplicaGroupSpec, DrillResult, DrillRun, DrillsStatus, Site};
use crate::cloud::ebs::{ClientToken, DrillStatus, DrillView, GroupView, ReplicationStatus as S};
use crate::controller::conditions::seconds;

/// A drill that outlives its time by this is said to be overdue, whatever the cloud says of it.
const GRACE: Duration = Duration::from_secs(600);
/// How far the clocks of the cloud and of this machine may be apart.
const SKEW: Duration = Duration::from_secs(60);
const START: &str = "StartReplicaGroupDrill";

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

/// Whether a drill is to begin now, as far as can be told without looking.
fn wanted(want: &Desired<'_>, status: &DrillsStatus, now: Timestamp) -> bool {
    let scheduled = status.last_schedule_time.is_some_and(|since| due(want.spec, since, now).is_some());
    want.spec.drill.is_some() && (want.drill_requested || scheduled)
}

/// Whether the drills of the group have to be looked at.
pub fn matter(want: &Desired<'_>, now: Timestamp) -> bool {
    let status = want.status.drills.clone().unwrap_or_default();
    status.current.is_some() || (!want.observing() && wanted(want, &status, now))
}

/// Adds to a decision what the drills need.
pub(super) fn carry_on(want: &Desired<'_>, seen: &Observed, mut decision: Decision, now: Timestamp) -> Decision {
    let mut drills = want.status.drills.clone().unwrap_or_default();
    if want.observing() {
        let left = drills.current.as_ref().map(name);
        decision.drill_overdue = left.map(|it| format!("{it} is not cleared, since managementPolicy is Observe"));
        return decision;
    }
    // What was due by another schedule, or before there was one, is not made up for.
    let schedule = want.spec.drill.as_ref().map(|it| it.schedule.clone());
    if drills.schedule != schedule {
        drills.last_schedule_time = schedule.as_ref().map(|_| seconds(now));
        drills.schedule = schedule;
    }
    drills.waiting_for = want.spec.drill.as_ref().and_then(|drill| {
        let error = Cron::from_str(&drill.schedule).err()?;
        Some(format!("a schedule that can be understood: {error}"))
    });
    decision.drill_at = want.spec.drill.as_ref().and_then(|drill| {
        let schedule = Cron::from_str(&drill.schedule).ok()?;
        Some(schedule.find_next_occurrence(&now.to_zoned(TimeZone::UTC), false).ok()?.timestamp())
    });
    if let Some(run) = drills.current.take() {
        let keep_for = want.spec.drill.as_ref().map(|it| Duration::from(it.keep_for));
        (drills.current, drills.last) = match go_on(want, seen, run, keep_for, &mut decision, now) {
            Course::GoesOn(run) => (Some(run), drills.last),
            Course::Over(run) => (None, Some(run)),
        };
    } else if wanted(want, &drills, now)
        && let Some(group) = seen.group.group()
        && let Some(Ok(found)) = &seen.drills
    {
        begin(want, group, found, &mut drills, &mut decision, now);
    }
    decision.drills = (drills != DrillsStatus::default()).then_some(drills);
    decision
}

/// Adds to the decision of a deletion what a drill needs to be cleared. The object goes when none is left.
pub(super) fn clear(want: &Desired<'_>, seen: &Observed, mut decision: Decision, now: Timestamp) -> Decision {
    let mut drills = want.status.drills.clone().unwrap_or_default();
    let Some(run) = drills.current.take() else { return decision };
    match go_on(want, seen, run, None, &mut decision, now) {
        Course::GoesOn(run) => drills.current = Some(run),
        Course::Over(run) => drills.last = Some(run),
    }
    decision.drills = Some(drills);
    decision
}

/// Whether a drill could be begun in this state of the group. Source: the status table of the vendor's pages lists none for
/// drills; a drill clones the last recovery point while replication goes on.
fn possible(group: &GroupView, decision: &Decision) -> bool {
    let Decision { life, verdict, steps, .. } = decision;
    // What is refused otherwise is not ours, or is about to be failed over.
    let calm =
        matches!(verdict, Verdict::InSync | Verdict::Refused { reason: synced::REPLICATION_RUNNING, message: _ });
    calm && steps.is_empty()
        && life.running().is_none()
        && matches!(group.status, S::Normal | S::Syncing)
        && life.counted(group).is_some()
}

fn begin(
    want: &Desired<'_>,
    group: &GroupView,
    found: &[DrillView],
    drills: &mut DrillsStatus,
    decision: &mut Decision,
    now: Timestamp,
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
    drills.last_schedule_time =
        drills.last_schedule_time.and_then(|since| due(want.spec, since, now)).or(drills.last_schedule_time);
    drills.current = Some(DrillRun {
        drill_id: None,
        site: decision.life.direction.standby(),
        started_at: seconds(now),
        drill_status: None,
        recovery_point: None,
        ready_at: None,
        duration_seconds: None,
        clearing_since: None,
        cleared_at: None,
        result: None,
        message: String::new(),
    });
    decision.drill_handled = true;
    decision.drill_busy = true;
    start(want, group, decision);
}

/// Calls for the drill, with the token that the call had if it was made before.
fn start(want: &Desired<'_>, group: &GroupView, decision: &mut Decision) {
    let used = decision.steps.iter().map(|it| it.sequence).max();
    let next =
        used.or(want.status.call_sequence).unwrap_or_default().max(want.status.call_sequence.unwrap_or_default()) + 1;
    let sequence = want.pending(START).map_or(next, |it| it.sequence);
    let token = ClientToken::of(want.uid, START, sequence);
    let elsewhere = ClientToken::of(want.uid, &format!("{START}/elsewhere"), sequence);
    decision.steps.push(super::Step {
        action: Action::StartDrill,
        group_id: group.replica_group_id.clone(),
        direction: decision.life.direction,
        sequence,
        lost: super::lost(want.pending(START)),
        token,
        elsewhere,
    });
}

/// What became of a drill.
enum Course {
    /// It goes on, or its clones are there still.
    GoesOn(DrillRun),
    /// It is over, and nothing is left of it.
    Over(DrillRun),
}

/// Carries a drill on.
fn go_on(
    want: &Desired<'_>,
    seen: &Observed,
    mut run: DrillRun,
    keep_for: Option<Duration>,
    decision: &mut Decision,
    now: Timestamp,
) -> Course {
    let age = now.duration_since(run.started_at).unsigned_abs();
    let kept = keep_for.unwrap_or_default();
    decision.drill_busy = true;
    if age >= kept {
        run.clearing_since.get_or_insert(seconds(now));
    }
    if run.clearing_since.is_some_and(|since| now.duration_since(since).unsigned_abs() > GRACE) {
        decision.drill_overdue = Some(format!("{} is kept longer than it should be", name(&run)));
    }
    let found = match &seen.drills {
        Some(Ok(found)) => found,
        Some(Err(error)) => {
            run.message = format!("{} failed: {}", error.operation, error.code);
            if run.drill_id.is_some() && age >= kept {
                clear_step(want, &run, decision);
            }
            return Course::GoesOn(run);
        }
        // Without its group, nobody can name it any more.
        None if gone(want, seen, keep_for, now) => {
            run.cleared_at = Some(seconds(now));
            run.message = "the group is gone".into();
            return Course::Over(run);
        }
        None => return Course::GoesOn(run),
    };
    if run.drill_id.is_none() {
        let ours = found.iter().find(|it| {
            let began = it.start_at.and_then(|at| Timestamp::from_second(at).ok());
            began.map_or(found.len() == 1, |at| at + SKEW >= run.started_at)
        });
        match ours {
            Some(view) => run.drill_id = Some(view.drill_id.clone()),
            // The call's answer was lost: made again, it names the drill that it made.
            None if let Some(group) = repeatable(want, seen, keep_for, decision) => {
                start(want, group, decision);
                return Course::GoesOn(run);
            }
            None if in_flight(want, now) => return Course::GoesOn(run),
            None => {
                run.cleared_at = Some(seconds(now));
                run.result = Some(DrillResult::Failed);
                run.message = "it was not begun".into();
                return Course::Over(run);
            }
        }
    }
    let id = run.drill_id.clone().unwrap_or_default();
    let Some(view) = found.iter().find(|it| it.drill_id == id) else {
        // It may not be visible yet, or a list may be late: that it is gone is believed once its clearing was answered.
        if run.drill_status.is_none() && age <= want.visibility_window * super::ANSWERED && keep_for.is_some() {
            return Course::GoesOn(run);
        }
        if run.drill_status.as_deref() != Some(DrillStatus::Clearing.as_str()) {
            clear_step(want, &run, decision);
            return Course::GoesOn(run);
        }
        run.cleared_at = Some(seconds(now));
        run.result = Some(if run.ready_at.is_some() { DrillResult::Succeeded } else { DrillResult::Failed });
        return Course::Over(run);
    };
    look(&mut run, view, now);
    match &view.status {
        DrillStatus::Executing | DrillStatus::Clearing => {}
        DrillStatus::Executed if age < kept => {
            decision.drill_busy = false;
            let ends = run.started_at.checked_add(kept).ok();
            decision.drill_at = [decision.drill_at, ends].into_iter().flatten().min();
        }
        DrillStatus::Executed | DrillStatus::ExecuteFailed | DrillStatus::ClearFailed => {
            run.clearing_since.get_or_insert(seconds(now));
            if view.status == DrillStatus::ClearFailed {
                let text = format!("{} could not be cleared: {}", name(&run), run.message);
                decision.drill_overdue = Some(text);
            }
            clear_step(want, &run, decision);
        }
        DrillStatus::Other(_) => {}
    }
    Course::GoesOn(run)
}

/// Whether a drill may still come of the call.
fn in_flight(want: &Desired<'_>, now: Timestamp) -> bool {
    let last = want.pending(START).map(|it| it.last());
    last.is_some_and(|at| now.duration_since(at).unsigned_abs() <= want.visibility_window)
}

/// The group, where the call for a drill can be made again in it.
fn repeatable<'a>(
    want: &Desired<'_>,
    seen: &'a Observed,
    keep_for: Option<Duration>,
    decision: &Decision,
) -> Option<&'a GroupView> {
    let run = want.status.drills.as_ref()?.current.as_ref()?;
    let same = run.site == decision.life.direction.standby();
    let group = seen.group.group().filter(|_| keep_for.is_some() && same)?;
    possible(group, decision).then_some(group)
}

fn gone(want: &Desired<'_>, seen: &Observed, keep_for: Option<Duration>, now: Timestamp) -> bool {
    let missing = want.status.missing_since;
    let long = missing.is_some_and(|at| now.duration_since(at).unsigned_abs() > want.visibility_window);
    seen.group.group().is_none() && (long || (keep_for.is_none() && want.status.replica_group_id.is_none()))
}

fn name(run: &DrillRun) -> String {
    run.drill_id.as_ref().map_or_else(|| "a drill".into(), |id| format!("drill {id}"))
}

/// Takes over what the cloud says of a drill.
fn look(run: &mut DrillRun, view: &DrillView, now: Timestamp) {
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

fn clear_step(want: &Desired<'_>, run: &DrillRun, decision: &mut Decision) {
    let drill_id = run.drill_id.clone().unwrap_or_default();
    let action = Action::ClearDrill { drill_id };
    // The API takes no token here; a second call does no harm.
    let token = ClientToken::of(want.uid, &action.call(), 0);
    decision.steps.push(super::Step {
        group_id: want.status.replica_group_id.clone().unwrap_or_default(),
        direction: toward(run.site),
        sequence: 0,
        lost: None,
        elsewhere: token.clone(),
        token,
        action,
    });
}
