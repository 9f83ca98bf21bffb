//! The operator on a real kube-apiserver, with the rights that are shipped, against the simulator in this process.
#![allow(clippy::expect_used, reason = "a test that cannot go on ends and says why")]

#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod crash;
mod drift;
mod enumerate;
mod gitops;
mod groups;
mod identity;
mod kinds;
mod leader;
mod life;
mod program;
mod record;
mod secrets;
mod stage;
mod steady;
mod trouble;
mod world;
