//! Installing it, proved on a real API server with the real helm and kubectl: what the chart renders and refuses, that the
//! manifests of `deploy/` are the same, and that a release is installed, works, is upgraded and is removed.
//!
//! No kubelet runs pods here: the operator is started as its Deployment says, with its service account's token.

#![allow(clippy::expect_used, reason = "a test that cannot go on says why")]

mod chart;
mod history;
mod job;
mod life;
mod manifests;
mod monitoring;
mod namespaces;
mod rendered;
mod values;
