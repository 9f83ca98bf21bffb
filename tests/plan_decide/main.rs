//! Decisions about plans, proved on production code and the simulated cloud: tables of situations, and properties of all of them.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod by_status;
mod deletion;
mod properties;
mod tables;
