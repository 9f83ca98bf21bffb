//! Metric families of disk groups.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::{Object, Seconds};

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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    namespace: String,
    name: String,
    status: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SiteLabels {
    namespace: String,
    name: String,
    site: String,
}

/// Series of one disk group with labels that change with its measures.
#[derive(Default)]
pub(super) struct DiskSeries {
    status: Option<StatusLabels>,
    site: Option<SiteLabels>,
}

/// Metric families of disk groups.
#[derive(Default)]
pub(super) struct DiskGroups {
    status: Family<StatusLabels, Gauge>,
    active_site: Family<SiteLabels, Gauge>,
    recovery_point: Family<Object, Seconds>,
    recovery_point_age: Family<Object, Seconds>,
    failover_time: Family<Object, Seconds>,
    failover_loss: Family<Object, Seconds>,
    drill_active: Family<Object, Gauge>,
    drill_start: Family<Object, Seconds>,
    drill_success: Family<Object, Gauge>,
    drill_duration: Family<Object, Seconds>,
    drill_completion: Family<Object, Seconds>,
    drill_due: Family<Object, Seconds>,
}

impl DiskGroups {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let all = Self::default();
        let help = "1 for the status that a group of disks has in the cloud; other statuses have no series, nor \
            has any while the group cannot be seen";
        registry.register("disk_group_status", help, all.status.clone());
        let help = "1 for the site whose disks are in use, Source or Destination";
        registry.register("disk_group_active_site", help, all.active_site.clone());
        let help = "1 while a drill is under way or its clones are still there, which are billed, else 0";
        registry.register("disk_group_drill_active", help, all.drill_active.clone());
        let help = "1 if the last drill that ended was a success, else 0; no series before the first, nor where \
            the group went before the drill ended";
        registry.register("disk_group_drill_last_success", help, all.drill_success.clone());
        let seconds = [
            (
                "recovery_point_timestamp",
                "The last recovery point in the present direction, in seconds since 1970 UTC; no series while \
                    there is none, nor while the group cannot be seen",
                &all.recovery_point,
            ),
            (
                "recovery_point_age",
                "How old the last recovery point was when it was looked at: what a failover would have lost",
                &all.recovery_point_age,
            ),
            (
                "last_failover_recovery_time",
                "How long the last failover or failback took from its request until the disks could be used",
                &all.failover_time,
            ),
            (
                "last_failover_recovery_point_age",
                "At most how many seconds of writes the last failover or failback lost: 0 after a last \
                    synchronization, else the age of the recovery point that it opened",
                &all.failover_loss,
            ),
            (
                "drill_start_timestamp",
                "When the drill began that is under way or whose clones are still there, in seconds since 1970 UTC",
                &all.drill_start,
            ),
            ("drill_last_duration", "How long the cloning of the last drill that ended took", &all.drill_duration),
            (
                "drill_last_completion_timestamp",
                "When the clones of the last drill that ended were gone, in seconds since 1970 UTC",
                &all.drill_completion,
            ),
            (
                "drill_due_timestamp",
                "When the next drill is due by its schedule, in seconds since 1970 UTC; in the past while one is \
                    due and not begun",
                &all.drill_due,
            ),
        ];
        for (name, help, family) in seconds {
            registry.register_with_unit(format!("disk_group_{name}"), help, Unit::Seconds, family.clone());
        }
        all
    }

    /// Exports measures and removes the former ones. Without measures, the series of the present state are removed; the
    /// results of the last failover and drill stay.
    pub(super) fn export(&self, object: &Object, series: &mut DiskSeries, measures: Option<&GroupMeasures>) {
        let (namespace, name) = (&object.namespace, &object.name);
        let status = measures.map(|it| StatusLabels {
            namespace: namespace.clone(),
            name: name.clone(),
            status: it.status.clone(),
        });
        replace(&self.status, &mut series.status, status);
        let site = measures.map(|it| SiteLabels {
            namespace: namespace.clone(),
            name: name.clone(),
            site: it.active_site.to_owned(),
        });
        replace(&self.active_site, &mut series.site, site);
        set(&self.recovery_point, object, measures.and_then(|it| it.recovery_point));
        set(&self.recovery_point_age, object, measures.and_then(|it| it.lag_seconds));
        let drill = measures.map(|it| it.drill.clone().unwrap_or_default());
        let active = drill.as_ref().map(|it| it.active);
        set_flag(&self.drill_active, object, active);
        set(&self.drill_start, object, drill.as_ref().filter(|it| it.active).and_then(|it| it.started));
        if let (Some(measures), Some(drill)) = (measures, drill) {
            set(&self.failover_time, object, measures.last_recovery_time_seconds);
            set(&self.failover_loss, object, measures.last_data_loss_seconds);
            set_flag(&self.drill_success, object, drill.last_result_success);
            set(&self.drill_duration, object, drill.last_duration_seconds);
            set(&self.drill_completion, object, drill.last_completed);
        }
    }

    /// Exports the time of the next drill, or removes it.
    pub(super) fn due(&self, object: &Object, due: Option<f64>) {
        set(&self.drill_due, object, due);
    }

    /// Removes every series of an object.
    pub(super) fn forget(&self, object: &Object, mut series: DiskSeries) {
        self.export(object, &mut series, None);
        self.due(object, None);
        for family in [&self.failover_time, &self.failover_loss, &self.drill_duration, &self.drill_completion] {
            family.remove(object);
        }
        self.drill_success.remove(object);
    }
}

/// Exports 1 for the new labels and removes the old ones.
fn replace<L>(family: &Family<L, Gauge>, old: &mut Option<L>, new: Option<L>)
where
    L: Clone + std::hash::Hash + Eq,
{
    if let Some(labels) = old.take_if(|labels| new.as_ref() != Some(labels)) {
        family.remove(&labels);
    }
    if let Some(labels) = &new {
        family.get_or_create(labels).set(1);
    }
    *old = new;
}

fn set(family: &Family<Object, Seconds>, object: &Object, value: Option<f64>) {
    if let Some(value) = value {
        family.get_or_create(object).set(value);
    } else {
        family.remove(object);
    }
}

fn set_flag(family: &Family<Object, Gauge>, object: &Object, value: Option<bool>) {
    if let Some(value) = value {
        family.get_or_create(object).set(i64::from(value));
    } else {
        family.remove(object);
    }
}

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
