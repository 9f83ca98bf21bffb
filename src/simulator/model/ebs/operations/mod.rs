//! The operations of the API on the disks of an account, by resource.

mod drills;
mod group_lifecycle;
mod groups;
mod pair_lifecycle;
mod pairs;
