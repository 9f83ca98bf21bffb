//! What a pass decides, proved on the simulated cloud's model: tables of situations, and properties of all of them.
//!
//! `world` is the pass without the network; every time is an argument, so that no test waits.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]
#![allow(dead_code, reason = "not every test binary needs all of the world")]

#[path = "plan_diff/agreement.rs"]
mod agreement;
#[path = "plan_diff/cells.rs"]
mod cells;
#[path = "plan_diff/deletion.rs"]
mod deletion;
#[path = "plan_diff/properties.rs"]
mod properties;
#[path = "plan_diff/tables.rs"]
mod tables;
#[path = "plan_diff/world.rs"]
mod world;
