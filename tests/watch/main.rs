//! The watches of the operator: what they keep in memory, and the proof that a cache is new enough after a change of the leader.
#![allow(clippy::expect_used, reason = "a test that cannot go on ends and says why")]

mod connection;
mod freshness;
mod memory;
mod metadata;
mod selectors;
