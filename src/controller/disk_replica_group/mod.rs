//! The group of disks.
pub mod diff;
pub mod life;
pub mod observe;
pub mod resolve;
