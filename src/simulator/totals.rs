//! How much there is in a simulated cloud.

use serde::Serialize;

use super::model::ebs::{Disks, ReplicaStatus};
use super::model::{ItemStatus, Model};

/// The number of everything in the cloud, visible or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Plans of all regions.
    pub plans: usize,
    /// Items of all plans.
    pub items: usize,
    /// Items that run.
    pub running_items: usize,
    /// Groups of disks.
    pub disk_groups: usize,
    /// Groups that replicate.
    pub normal_disk_groups: usize,
    /// Pairs of disks.
    pub disk_pairs: usize,
}

impl Totals {
    pub(super) fn of(model: &Model, disks: &Disks) -> Totals {
        let items = || model.plans().flat_map(|plan| plan.items.values());
        Totals {
            plans: model.plans().count(),
            items: items().count(),
            running_items: items().filter(|item| item.status == ItemStatus::Running).count(),
            disk_groups: disks.groups().count(),
            normal_disk_groups: disks.groups().filter(|group| group.status == ReplicaStatus::Normal).count(),
            disk_pairs: disks.pairs().count(),
        }
    }
}
