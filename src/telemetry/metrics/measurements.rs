//! The exact numbers of one object, as plain values.

use super::{ConsumerGroupLag, GroupMeasures, MappingMeasures, Metrics};

/// The exact numbers of one object. Numbers that are absent here disappear from the exported metrics.
#[derive(Clone, Debug, PartialEq)]
pub enum Measurements {
    Plan {
        /// The lags of all consumer groups.
        lags: Vec<ConsumerGroupLag>,
        /// The numbers of the mappings.
        mappings: MappingMeasures,
        /// The recovery point objective, in ms.
        objective_ms: i64,
    },
    /// Of a replication group of disks.
    DiskReplicaGroup {
        /// The group's numbers, where it was observed.
        group: Option<Box<GroupMeasures>>,
        /// The time of the next drill, in seconds since 1970 UTC.
        drill_due: Option<f64>,
    },
}

impl Metrics {
    /// Exports the numbers of an object.
    pub fn measure(&self, namespace: &str, name: &str, measurements: &Measurements) {
        match measurements {
            Measurements::Plan { lags, mappings, objective_ms } => {
                self.lags(namespace, name, lags, *objective_ms);
                self.mappings(namespace, name, mappings);
            }
            Measurements::DiskReplicaGroup { group, drill_due } => {
                self.disk_group(namespace, name, group.as_deref());
                self.drill_due(namespace, name, *drill_due);
            }
        }
    }
}
