//! The custom resource definitions on a real API server: what they describe, what they show, what they accept and what they
//! refuse, in the words that people read.
//!
//! `tests/crds/` holds manifests that a person can apply too: `refused/` (the first line says what the server answers),
//! `accepted/`, and `…-updates/`, where the second document of a file changes the object that the first one made. Those of
//! a `DiskReplicaGroup` begin with `drg-`, those of an `AlibabaCloudAccount` with `aca-`.

#![allow(clippy::expect_used, reason = "a test that cannot go on says why")]

#[path = "crds/bounds.rs"]
mod bounds;
#[path = "crds/common.rs"]
mod common;
#[path = "crds/definitions.rs"]
mod definitions;
#[path = "crds/installation.rs"]
mod installation;
#[path = "crds/lists.rs"]
mod lists;
#[path = "crds/manifests.rs"]
mod manifests;
mod support;
#[path = "crds/tables.rs"]
mod tables;
