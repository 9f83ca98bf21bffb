//! The simulator over HTTP, in this process: what it signs, refuses and records, how its faults behave, and its admin API. That it
//! accepts correct requests is proved by Alibaba Cloud's own SDK, see `tests/sdk`. The rules of its models have tests beside them.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod clock;
mod consumers;
mod counts;
mod ebs;
mod faults;
mod limits;
mod messages;
mod rocketmq;
mod stage;
mod sts;
