//! Decisions about a group of disks and what the operator reports, by the real reconcile on the simulated cloud: tables of
//! situations, and properties of all of them. Time is simulated, so that no test waits.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod by_status;
mod calls;
mod copies;
mod crashes;
mod drills;
mod failovers;
mod lifecycles;
mod operations;
mod pairs;
mod properties;
mod requests;
mod status;
mod takeover;
mod trial;
