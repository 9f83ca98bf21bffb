//! What a pass decides, proved on the simulated cloud's model: tables of situations, and properties of all of them.
//!
//! `world` is the pass without the network; every time is an argument, so that no test waits.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]
#![allow(dead_code, reason = "not every test binary needs all of the world")]

#[path = "plan_decide/agreement.rs"]
mod agreement;
#[path = "plan_decide/by_status.rs"]
mod by_status;
#[path = "plan_decide/deletion.rs"]
mod deletion;
#[path = "plan_decide/properties.rs"]
mod properties;
#[path = "plan_decide/tables.rs"]
mod tables;
#[path = "plan_decide/world.rs"]
mod world;
