//! Decisions about a group of disks and what the operator reports, by the real reconcile on the simulated cloud: tables of
//! situations, and properties of all of them. Time is simulated, so that no test waits.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod by_status;
mod calls;
mod drills;
mod failovers;
#[path = "../support/faults.rs"]
mod faults;
mod lifecycles;
mod operations;
mod pairs;
mod properties;
mod setup;
mod status;
#[path = "../support/store.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod store;
mod trial;
#[path = "../support/tripwire.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod tripwire;
mod words;
#[path = "../support/world.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod world;
