//! Alerts and the dashboard, held to what the operator exports: its metrics are scraped while it works on a real kube-apiserver
//! against the simulator, and promtool runs the rules on them.
#![allow(clippy::expect_used, reason = "a test that cannot go on ends and says why")]

#[path = "e2e/record.rs"]
#[allow(dead_code, reason = "the stage has it for others")]
mod record;
#[path = "e2e/stage.rs"]
#[allow(dead_code, reason = "it is shared")]
mod stage;
mod support;
#[path = "e2e/world.rs"]
#[allow(dead_code, unused_imports, reason = "it is shared")]
mod world;

#[path = "monitoring/accounts.rs"]
mod accounts;
#[path = "monitoring/alerts.rs"]
mod alerts;
#[path = "monitoring/dashboard.rs"]
mod dashboard;
#[path = "monitoring/disks.rs"]
mod disks;
#[path = "monitoring/plans.rs"]
mod plans;
#[path = "monitoring/promtool.rs"]
mod promtool;
#[path = "monitoring/runbook.rs"]
mod runbook;
#[path = "monitoring/story.rs"]
mod story;

use std::path::Path;

/// A file of the project.
fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
