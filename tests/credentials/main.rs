//! Where credentials come from, over HTTP in this process: STS, the metadata service of an ECS instance, the standard chain,
//! and what the client does when a key is refused. What is asked is noted, and held against what the documentation says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

mod chain;
mod metadata;
mod proxy;
mod refused;
mod service;
mod sts;
