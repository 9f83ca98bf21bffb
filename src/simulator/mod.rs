//! The disaster-recovery side of Alibaba Cloud on loopback or in process: a pure model and an HTTP face that checks
//! signatures. For the demo and the tests; it is never part of the operator's image.

mod admin;
mod cloud;
mod config;
mod ebs;
mod faults;
mod handle;
mod http;
mod metadata;
pub mod model;
mod product;
mod record;
mod rocketmq;
mod router;
mod signature;
mod sts;

pub use self::config::{AccessKey, Config};
pub use self::faults::{Fault, FaultKind};
pub use self::handle::Simulator;
pub use self::record::RequestRecord;
