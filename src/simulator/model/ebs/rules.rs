//! The rules by which the simulated disks behave.

/// Which region counts as the production site once replication runs the other way round. The documents say that the
/// sites "remain unchanged" and that data then flows from the secondary to the primary one; which region then takes
/// which operation they do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Production {
    /// The region that data comes from (inferred).
    #[default]
    Source,
    /// The region that was production when the group was created.
    Primary,
}

/// The rules by which the simulated disks behave.
#[derive(Debug, Clone)]
pub struct DiskRules {
    /// How long every status lasts that passes by itself, in ms.
    pub delay_ms: i64,
    /// How long the first full copy takes, in ms; the delay where nothing is given.
    pub initial_sync_ms: Option<i64>,
    /// The time between two recovery points while replication is normal, in ms (the cloud: up to 15 minutes).
    pub cycle_ms: i64,
    /// The least time between two one-shot synchronisations, in ms (the cloud: half of the RPO of 900 s).
    pub one_shot_interval_ms: i64,
    /// Which region counts as production after a reversal.
    pub production: Production,
    /// The most groups that a region has as their first production: `OperationDenied.QuotaExceed` beyond. None given: no
    /// limit (the cloud's is not documented; what counts is inferred).
    pub max_groups: Option<usize>,
    /// The most of those that may be without pairs: `OperationDenied.TooMuchEmptyGroup` beyond. None given: no limit (the
    /// cloud's is not documented; what counts is inferred).
    pub max_empty_groups: Option<usize>,
    /// Whether drills are shown and cleared in both regions of their group. The documents name the secondary site for
    /// starting one and do not say more (inferred: only where it was started, where its disks are).
    pub drills_in_both_regions: bool,
    /// Whether Source* and Destination* name what they named at creation, also after a reversal. The documents do not say
    /// (that they change round is inferred).
    pub site_names_fixed: bool,
}

impl Default for DiskRules {
    fn default() -> DiskRules {
        DiskRules {
            delay_ms: 0,
            initial_sync_ms: None,
            cycle_ms: 10_000,
            one_shot_interval_ms: 450_000,
            production: Production::Source,
            max_groups: None,
            max_empty_groups: None,
            drills_in_both_regions: false,
            site_names_fixed: false,
        }
    }
}
