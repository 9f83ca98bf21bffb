//! What status and events say of a pass: conditions for every situation, times that are kept, numbers that do not flicker,
//! and no secret anywhere.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]
#![allow(dead_code, reason = "not every test binary needs all of the world")]

#[path = "plan_status/tables.rs"]
mod tables;
#[path = "plan_decide/world.rs"]
mod world;
