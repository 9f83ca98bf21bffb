//! The simulator's token service and metadata over HTTP, in process: what is signed and what is not, which keys are good and
//! how long, what is recorded, faults and the admin API. That it takes what is right is for Alibaba Cloud's own SDK to say,
//! see `sdk.rs`; who may assume which role has tests beside the model.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod cloud;
mod control;
mod instance;
mod keys;
mod oidc;
