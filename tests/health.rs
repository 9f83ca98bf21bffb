//! The health of every state that the operator writes: what Argo CD's own evaluation of `deploy/argocd`, kstatus (and with it
//! Flux) and `kubectl wait` say of it, on objects that a real kube-apiserver has taken. All three agree.
//!
//! There is a file for each state in `tests/argocd/states`: what is expected, and the object. The objects are what the
//! operator's own passes come to; `UPDATE_STATES=1` writes the files anew, for a person to read what changed.

#![allow(clippy::expect_used, reason = "a test that cannot go on says why")]

#[path = "health/accounts.rs"]
mod accounts;
#[path = "health/cluster.rs"]
mod cluster;
#[path = "health/groups.rs"]
mod groups;
#[path = "health/judge.rs"]
mod judge;
#[path = "health/manifests.rs"]
mod manifests;
#[path = "health/plans.rs"]
mod plans;
#[path = "health/shapes.rs"]
mod shapes;
#[path = "health/states.rs"]
mod states;
mod support;
#[path = "health/table.rs"]
mod table;
