//! What a pass over a group of disks decides and says, proved on the simulated cloud's model: tables of situations, and
//! properties of all of them.
//!
//! `world` is the pass without the network; every time is an argument, so that no test waits.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod acting;
mod agreement;
mod calls;
mod cells;
mod drills;
mod lives;
mod members;
mod operations;
mod properties;
mod status;
mod trial;
mod words;
mod world;
