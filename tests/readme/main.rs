//! The README's commands and manifests, as a new user runs them: on a real API server with the real helm and kubectl, the
//! operator's program as its Deployment starts it, and the simulator as cloud.

#![allow(clippy::expect_used, reason = "a test that cannot continue says why")]

mod elsewhere;
mod first_steps;
mod output;
mod page;
mod rest;
mod terminal;
