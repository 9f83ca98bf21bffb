//! Alerts and the dashboard, held to what the operator exports: its metrics are scraped while it works on a real kube-apiserver
//! against the simulator, and promtool runs the rules on them.
#![allow(clippy::expect_used, reason = "a test that cannot go on ends and says why")]

mod accounts;
mod alerts;
mod dashboard;
mod disks;
mod plans;
mod promtool;
mod runbook;
mod story;
