//! `Protected` of plans on simulated time: what it claims against what the simulated cloud has.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod healthy;
mod truth;
