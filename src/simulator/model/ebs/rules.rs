//! Rules of the simulated disks.

/// The production site after replication was reversed. The documentation says that the sites "remain unchanged" and
/// that data then flows from the secondary to the primary site. It does not say which region then accepts which
/// operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Production {
    /// The region of the source (inferred).
    #[default]
    Source,
    /// The region that was production when the group was created.
    Primary,
}

/// Rules of the simulated disks.
#[derive(Debug, Clone)]
pub struct DiskRules {
    /// Duration of every transitional status, ms.
    pub delay_ms: i64,
    /// Duration of the first full copy, ms; `delay_ms` when absent.
    pub initial_sync_ms: Option<i64>,
    /// Time between two recovery points while replication is normal, ms (the cloud: up to 15 minutes).
    pub cycle_ms: i64,
    /// Duration of the transfer of a cycle, ms. The cycle's recovery point is the begin of the cycle and appears when
    /// the transfer is complete.
    pub transfer_ms: i64,
    /// Time from the status that shows the end of a synchronisation to the appearance of its recovery point, ms.
    pub point_delay_ms: i64,
    /// Minimum time between two one-shot synchronisations, ms (the cloud: half of the RPO of 900 s).
    pub one_shot_interval_ms: i64,
    /// The production site after a reversal.
    pub production: Production,
    /// Maximum number of groups with their first production site in a region: `OperationDenied.QuotaExceed` beyond. No
    /// limit when absent (the cloud's limit is not documented; the groups that count are inferred).
    pub max_groups: Option<usize>,
    /// Maximum number of those groups without pairs: `OperationDenied.TooMuchEmptyGroup` beyond. No limit when absent
    /// (the cloud's limit is not documented; the groups that count are inferred).
    pub max_empty_groups: Option<usize>,
    /// Whether both regions of a group show and clear its drills. The documentation names the secondary site for
    /// starting a drill and says no more (inferred: only the region where it was started and its disks are).
    pub drills_in_both_regions: bool,
    /// Whether Source* and Destination* keep their values from creation after a reversal. The documentation does not
    /// say (inferred: they swap).
    pub site_names_fixed: bool,
    /// Whether FailoverDiskReplicaGroup is accepted although a pair never completed a copy in the present direction:
    /// its first copy, or the first copy back after a reversal. The documentation requires the first full copy and does
    /// not say whether that of the other direction counts (inferred: it does not).
    pub failover_before_first_copy: bool,
    /// Whether the user stops writing before the one-shot synchronisation of a stopped group, so that a failover after
    /// it loses no write. Otherwise the user writes on the source disks until the failover.
    pub writes_stop_with_last_sync: bool,
}

impl Default for DiskRules {
    fn default() -> DiskRules {
        DiskRules {
            delay_ms: 0,
            initial_sync_ms: None,
            cycle_ms: 10_000,
            transfer_ms: 0,
            point_delay_ms: 0,
            one_shot_interval_ms: 450_000,
            production: Production::Source,
            max_groups: None,
            max_empty_groups: None,
            drills_in_both_regions: false,
            site_names_fixed: false,
            failover_before_first_copy: false,
            writes_stop_with_last_sync: true,
        }
    }
}
