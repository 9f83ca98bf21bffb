//! The custom resource definitions on a real API server: what they describe, show, accept and refuse, in the messages that
//! people read.
//!
//! `plans.yaml`, `groups.yaml` and `accounts.yaml` are the tables of accepted and refused manifests.

#![allow(clippy::expect_used, reason = "a test that cannot go on says why")]

mod bounds;
mod cases;
mod common;
mod definitions;
mod installation;
mod lists;
mod manifests;
mod tables;
