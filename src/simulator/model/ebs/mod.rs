//! Replication groups, pairs and drills of disks as in EBS 2021-07-30: plain data, every time an argument.
//!
//! Sources: help pages, SDK 5.0.1 and the API's metadata. Behaviour that those do not document is marked "inferred": a
//! test must not take it for a promise of the cloud.

mod content;
mod disks;
mod drift;
mod drill;
mod failure;
mod group;
mod operations;
mod page;
mod pair;
mod parameters;
mod points;
mod reports;
mod rules;
mod status;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends where it fails")]
mod tests;
mod violation;

pub use disks::{DiskInspection, Disks};
pub use drift::{DiskGroupEdit, DrillEdit};
pub use drill::{Drill, DrillPair, DrillStatus, DrillView};
pub use group::{DiskGroup, DiskGroupInput, DiskGroupView, GroupFilter};
pub use page::{EbsPage, EbsPaging};
pub use pair::{DiskPair, DiskPairInput, DiskPairView, PairFilter};
pub use parameters::{Place, Tag};
pub use rules::{DiskRules, Production};
pub use status::{GroupOperation, ReplicaStatus};
pub use violation::{Violation, ViolationKind};
