//! What a pass over a group of disks decides and says, proved on the simulated cloud's model: tables of situations, and
//! properties of all of them.
//!
//! `world` is the pass without the network; every time is an argument, so that no test waits.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod acting;
mod agreement;
mod by_status;
mod calls;
mod drills;
mod failovers;
mod lifecycles;
mod operations;
mod pairs;
mod properties;
mod setup;
mod status;
mod trial;
mod words;
mod world;
