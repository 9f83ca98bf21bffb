//! The health of every state that the operator writes: what Argo CD's own evaluation of `deploy/argocd`, kstatus (and with it
//! Flux) and `kubectl wait` say of it, on objects that a real kube-apiserver has taken. All three agree.
//!
//! There is a file for each state in `tests/argocd/states`: what is expected, and the object. The objects are what the
//! operator's own passes come to; `UPDATE_STATES=1` writes the files anew, for a person to read what changed.

#![allow(clippy::expect_used, reason = "a test that cannot go on says why")]

mod accounts;
mod cluster;
mod groups;
mod judge;
mod manifests;
mod plans;
mod shapes;
mod states;
mod table;
