//! The EBS client: against a service that records requests and answers as the documentation prints, and against the simulator.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod agreement;
mod limits;
mod requests;
