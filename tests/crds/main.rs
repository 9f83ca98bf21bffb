//! The custom resource definitions on a real API server: what they describe, what they show, what they accept and what they
//! refuse, in the words that people read.
//!
//! `tests/crds/` holds manifests that a person can apply too: `refused/` (the first line says what the server answers),
//! `accepted/`, and `…-updates/`, where the second document of a file changes the object that the first one made. Those of
//! a `DiskReplicaGroup` begin with `drg-`, those of an `AlibabaCloudAccount` with `aca-`.

#![allow(clippy::expect_used, reason = "a test that cannot go on says why")]

mod bounds;
mod common;
mod definitions;
mod installation;
mod lists;
mod manifests;
mod tables;
