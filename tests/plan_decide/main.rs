//! Decisions about plans, by the real reconcile on the simulated cloud: tables of situations, and properties of all of them.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod absence;
mod adoption;
mod by_status;
mod checkpoints;
mod creation;
mod deletion;
mod fields;
mod first_items;
mod invariants;
mod items;
mod pauses;
mod properties;
mod secrets;
mod takeover;
mod trial;
