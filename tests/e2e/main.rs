//! The operator on a real kube-apiserver, with the shipped permissions, against the simulator in this process.
#![allow(clippy::expect_used, reason = "a test that cannot go on ends and says why")]

mod accounts;
mod annotations;
mod crash;
mod drift;
mod enumerate;
mod evidence;
mod fairness;
mod gitops;
mod groups;
mod identity;
mod kinds;
mod leader;
mod life;
mod program;
mod secrets;
mod shards;
mod steady;
mod trouble;
