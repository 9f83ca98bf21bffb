//! Decisions about plans, proved on production code and the simulated cloud: tables of situations, and properties of all of them.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]
#![allow(dead_code, reason = "not every test binary needs all of the support")]

mod by_status;
mod deletion;
#[path = "../support/faults.rs"]
mod faults;
#[path = "../support/plans.rs"]
mod plans;
mod properties;
#[path = "../support/store.rs"]
mod store;
mod tables;
#[path = "../support/tripwire.rs"]
mod tripwire;
#[path = "../support/world.rs"]
mod world;
