//! Installing it, proved on a real API server with the real helm and kubectl: what the chart renders and refuses, that the
//! manifests of `deploy/` are the same, and that a release is installed, works, is upgraded and is removed.
//!
//! No kubelet runs pods here: the operator is started as its Deployment says, with its service account's token.

#![allow(clippy::expect_used, reason = "a test that cannot go on says why")]

#[path = "install/chart.rs"]
mod chart;
#[path = "install/history.rs"]
mod history;
#[path = "install/job.rs"]
mod job;
#[path = "install/life.rs"]
mod life;
#[path = "install/manifests.rs"]
mod manifests;
#[path = "install/monitoring.rs"]
mod monitoring;
#[path = "install/namespaces.rs"]
mod namespaces;
#[path = "install/operator.rs"]
mod operator;
#[path = "install/rendered.rs"]
mod rendered;
mod support;
#[path = "install/values.rs"]
mod values;
