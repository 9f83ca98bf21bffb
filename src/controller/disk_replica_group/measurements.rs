//! The exact numbers of a group. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::observe::Observed;
use super::{Scope, decide, lifecycle};
use crate::api::disk_replica_group::{DrillResult, DrillsStatus};
use crate::cloud::ebs::GroupView;
use crate::telemetry::metrics::{DrillMeasures, GroupMeasures, Measurements};

/// The numbers of a group and its drills. The time of the next drill does not need an observation.
pub(super) fn measurements(scope: &Scope<'_>, observed: Option<&Observed>) -> Measurements {
    let group = observed.and_then(|observed| observed.group.group());
    let begins = !scope.deleting() && !scope.object.spec.suspend && !scope.observe_only();
    let drills = scope.status.drills.as_ref().filter(|_| begins);
    let due = drills.and_then(|drills| decide::next_due(&scope.object.spec, drills));
    Measurements::DiskReplicaGroup {
        group: group.map(|group| Box::new(measures(scope, group))),
        drill_due: due.map(|at| at.as_second() as f64),
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

fn measures(scope: &Scope<'_>, group: &GroupView) -> GroupMeasures {
    let status = scope.status;
    let counts = |point: &Timestamp| status.outdated_recovery_point.is_none_or(|outdated| *point > outdated);
    let point =
        lifecycle::reported_recovery_point(group).filter(|point| status.recovery_point.is_some() && counts(point));
    let failover = status.failovers.iter().find(|it| it.recovery_time_seconds.is_some());
    GroupMeasures {
        status: group.status.as_str().to_owned(),
        lag_seconds: point.map(|point| scope.now.duration_since(point).as_secs_f64().max(0.0)),
        recovery_point: point.map(seconds),
        objective_seconds: Duration::from(scope.object.spec.recovery_point_objective).as_secs_f64(),
        active_site: status.active_site.unwrap_or_default().as_str(),
        last_recovery_time_seconds: failover.and_then(|it| it.recovery_time_seconds).map(|it| it as f64),
        last_data_loss_seconds: failover.and_then(|it| it.loss_seconds).map(|it| it as f64),
        drill: status.drills.as_ref().map(drill),
    }
}

fn drill(drills: &DrillsStatus) -> DrillMeasures {
    let (current, last) = (drills.current.as_ref(), drills.last.as_ref());
    DrillMeasures {
        active: current.is_some(),
        started: current.map(|it| seconds(it.started_at)),
        last_result_success: last.and_then(|it| it.result).map(|it| it == DrillResult::Succeeded),
        last_duration_seconds: last.and_then(|it| it.duration_seconds).map(|it| it as f64),
        last_completed: last.and_then(|it| it.cleared_at).map(seconds),
    }
}
