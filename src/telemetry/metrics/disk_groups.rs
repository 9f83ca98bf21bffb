//! The numbers of disk groups.

use std::fmt;

use prometheus_client::encoding::EncodeGaugeValue;

use super::Record;
use super::family::{Family, Object, Samples};

/// Measures of a disk group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupMeasures {
    /// Status of the group in the cloud, such as `normal`.
    pub status: String,
    /// Age of the last recovery point, in seconds.
    pub lag_seconds: Option<f64>,
    /// Time of the last recovery point, in seconds since 1970 UTC.
    pub recovery_point: Option<f64>,
    /// Recovery point objective, in seconds.
    pub objective_seconds: f64,
    /// Site with the disks in use.
    pub active_site: &'static str,
    /// Duration of the last failover, in seconds.
    pub last_recovery_time_seconds: Option<f64>,
    /// Age of the recovery point that the last failover opened, in seconds: its data loss.
    pub last_data_loss_seconds: Option<f64>,
    /// Measures of the drills. None if there are no drills.
    pub drill: Option<DrillMeasures>,
}

/// Measures of the drills of a disk group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DrillMeasures {
    /// Whether a drill is in progress or its clones still exist.
    pub active: bool,
    /// Start of the active drill, in seconds since 1970 UTC.
    pub started: Option<f64>,
    /// Whether the last completed drill succeeded.
    pub last_result_success: Option<bool>,
    /// Duration of the last completed drill, in seconds.
    pub last_duration_seconds: Option<f64>,
    /// End of the last completed drill, in seconds since 1970 UTC.
    pub last_completed: Option<f64>,
}

/// Numbers of a disk group.
#[derive(Clone, Debug, Default)]
pub(super) struct DiskNumbers {
    state: Option<State>,
    failover_time: Option<f64>,
    failover_loss: Option<f64>,
    drill_success: Option<bool>,
    drill_duration: Option<f64>,
    drill_completion: Option<f64>,
    /// Time of the next drill, in seconds since 1970 UTC.
    pub(super) drill_due: Option<f64>,
}

/// Numbers that need an observation.
#[derive(Clone, Debug)]
struct State {
    status: Box<str>,
    site: &'static str,
    recovery_point: Option<f64>,
    recovery_point_age: Option<f64>,
    drill_is_active: bool,
    drill_start: Option<f64>,
}

impl DiskNumbers {
    /// Replaces the numbers. Without measures, the results of the last failover and drill stay.
    pub(super) fn replace(&mut self, measures: Option<&GroupMeasures>) {
        let Some(measures) = measures else {
            self.state = None;
            return;
        };
        let drill = measures.drill.clone().unwrap_or_default();
        *self = Self {
            state: Some(State {
                status: measures.status.as_str().into(),
                site: measures.active_site,
                recovery_point: measures.recovery_point,
                recovery_point_age: measures.lag_seconds,
                drill_is_active: drill.active,
                drill_start: drill.started.filter(|_| drill.active),
            }),
            failover_time: measures.last_recovery_time_seconds,
            failover_loss: measures.last_data_loss_seconds,
            drill_success: drill.last_result_success,
            drill_duration: drill.last_duration_seconds,
            drill_completion: drill.last_completed,
            drill_due: self.drill_due,
        };
    }
}

/// Writes a number of the group, if it has it.
fn write<V: EncodeGaugeValue>(
    object: &Object<'_>,
    record: &Record,
    to: &mut Samples<'_>,
    number: impl Fn(&DiskNumbers) -> Option<V>,
) -> fmt::Result {
    to.optional(&object.labels(), record.disks.as_deref().and_then(number))
}

/// Writes a number of the observed state, if the group has it.
fn write_state<V: EncodeGaugeValue>(
    object: &Object<'_>,
    record: &Record,
    to: &mut Samples<'_>,
    number: impl Fn(&State) -> Option<V>,
) -> fmt::Result {
    write(object, record, to, |it| it.state.as_ref().and_then(&number))
}

/// Writes 1 for the value that a label of the observed state has.
fn write_label(
    object: &Object<'_>,
    record: &Record,
    to: &mut Samples<'_>,
    label: &'static str,
    value: impl Fn(&State) -> &str,
) -> fmt::Result {
    let state = record.disks.as_deref().and_then(|it| it.state.as_ref());
    state.map_or(Ok(()), |it| to.gauge(&object.labels(), &[(label, value(it))], 1_i64))
}

pub(super) static FAMILIES: [Family; 12] = [
    Family::gauge(
        "disk_group_status",
        "1 for the status that a group of disks has in the cloud; other statuses have no series, nor has any while the \
            group cannot be seen.",
        |object, record, to| write_label(object, record, to, "status", |it| &it.status),
    ),
    Family::gauge(
        "disk_group_active_site",
        "1 for the site whose disks are in use, Source or Destination.",
        |object, record, to| write_label(object, record, to, "site", |it| it.site),
    ),
    Family::gauge(
        "disk_group_drill_active",
        "1 while a drill is in progress or its clones exist, which are billed, else 0.",
        |object, record, to| write_state(object, record, to, |it| Some(i64::from(it.drill_is_active))),
    ),
    Family::gauge(
        "disk_group_drill_last_success",
        "1 if the last drill that ended was a success, else 0; no series before the first, nor where the group went \
            before the drill ended.",
        |object, record, to| write(object, record, to, |it| it.drill_success.map(i64::from)),
    ),
    Family::seconds(
        "disk_group_recovery_point_timestamp",
        "The last recovery point in the present direction, in seconds since 1970 UTC; no series while there is none, nor \
            while the group cannot be seen.",
        |object, record, to| write_state(object, record, to, |it| it.recovery_point),
    ),
    Family::seconds(
        "disk_group_recovery_point_age",
        "Age of the last recovery point at the last observation: what a failover would have lost.",
        |object, record, to| write_state(object, record, to, |it| it.recovery_point_age),
    ),
    Family::seconds(
        "disk_group_last_failover_recovery_time",
        "How long the last failover or failback took from its request until the disks could be used.",
        |object, record, to| write(object, record, to, |it| it.failover_time),
    ),
    Family::seconds(
        "disk_group_last_failover_recovery_point_age",
        "At most how many seconds of writes the last failover or failback lost: 0 after a last synchronization, else the \
            age of the recovery point that it opened.",
        |object, record, to| write(object, record, to, |it| it.failover_loss),
    ),
    Family::seconds(
        "disk_group_drill_start_timestamp",
        "Start of the drill that is in progress or whose clones exist, in seconds since 1970 UTC.",
        |object, record, to| write_state(object, record, to, |it| it.drill_start),
    ),
    Family::seconds(
        "disk_group_drill_last_duration",
        "How long the cloning of the last drill that ended took.",
        |object, record, to| write(object, record, to, |it| it.drill_duration),
    ),
    Family::seconds(
        "disk_group_drill_last_completion_timestamp",
        "When the clones of the last drill that ended were gone, in seconds since 1970 UTC.",
        |object, record, to| write(object, record, to, |it| it.drill_completion),
    ),
    Family::seconds(
        "disk_group_drill_due_timestamp",
        "When the next drill is due by its schedule, in seconds since 1970 UTC; in the past while one is due and not \
            begun.",
        |object, record, to| write(object, record, to, |it| it.drill_due),
    ),
];

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    fn measures() -> GroupMeasures {
        let drill = DrillMeasures {
            active: true,
            started: Some(1_740_724_200.0),
            last_result_success: Some(false),
            last_duration_seconds: Some(42.5),
            last_completed: Some(1_740_720_000.0),
        };
        GroupMeasures {
            status: "normal".into(),
            lag_seconds: Some(12.5),
            recovery_point: Some(1_740_724_080.0),
            objective_seconds: 900.0,
            active_site: "production",
            last_recovery_time_seconds: Some(65.0),
            last_data_loss_seconds: Some(300.0),
            drill: Some(drill),
        }
    }

    /// Samples of the group `db`, without the prefix that all share.
    fn samples(metrics: &Metrics) -> Vec<String> {
        let text = metrics.text();
        let lines = text.lines().filter_map(|line| line.strip_prefix("disaster_recovery_"));
        let lines = lines.filter(|line| line.contains("name=\"db\""));
        let mut all: Vec<_> = lines.map(|line| line.replace("namespace=\"ns\",name=\"db\"", "db")).collect();
        all.sort();
        all
    }

    #[test]
    fn measures_are_exported_exactly() {
        let metrics = Metrics::new();
        metrics.disk_group("ns", "db", Some(&measures()));
        let expected = [
            "disk_group_active_site{db,site=\"production\"} 1",
            "disk_group_drill_active{db} 1",
            "disk_group_drill_last_completion_timestamp_seconds{db} 1740720000.0",
            "disk_group_drill_last_duration_seconds{db} 42.5",
            "disk_group_drill_last_success{db} 0",
            "disk_group_drill_start_timestamp_seconds{db} 1740724200.0",
            "disk_group_last_failover_recovery_point_age_seconds{db} 300.0",
            "disk_group_last_failover_recovery_time_seconds{db} 65.0",
            "disk_group_recovery_point_age_seconds{db} 12.5",
            "disk_group_recovery_point_timestamp_seconds{db} 1740724080.0",
            "disk_group_status{db,status=\"normal\"} 1",
            "recovery_point_objective_seconds{kind=\"DiskReplicaGroup\",db} 900.0",
        ];
        assert_eq!(samples(&metrics), expected);
    }

    #[test]
    fn new_measures_replace_the_former_ones() {
        let metrics = Metrics::new();
        metrics.disk_group("ns", "db", Some(&measures()));
        let later = GroupMeasures { status: "failovered".into(), active_site: "standby", ..GroupMeasures::default() };
        metrics.disk_group("ns", "db", Some(&later));
        let expected = [
            "disk_group_active_site{db,site=\"standby\"} 1",
            "disk_group_drill_active{db} 0",
            "disk_group_status{db,status=\"failovered\"} 1",
            "recovery_point_objective_seconds{kind=\"DiskReplicaGroup\",db} 0.0",
        ];
        assert_eq!(samples(&metrics), expected);
    }

    #[test]
    fn unobserved_group_keeps_results_and_forgotten_group_nothing() {
        let metrics = Metrics::new();
        metrics.disk_group("ns", "db", Some(&measures()));
        metrics.disk_group("ns", "db", None);
        let expected = [
            "disk_group_drill_last_completion_timestamp_seconds{db} 1740720000.0",
            "disk_group_drill_last_duration_seconds{db} 42.5",
            "disk_group_drill_last_success{db} 0",
            "disk_group_last_failover_recovery_point_age_seconds{db} 300.0",
            "disk_group_last_failover_recovery_time_seconds{db} 65.0",
            "recovery_point_objective_seconds{kind=\"DiskReplicaGroup\",db} 900.0",
        ];
        assert_eq!(samples(&metrics), expected);
        metrics.disk_group("ns", "db", Some(&measures()));
        metrics.forget(super::super::DISK_GROUP, "ns", "db");
        assert_eq!(samples(&metrics), Vec::<String>::new());
    }
}
