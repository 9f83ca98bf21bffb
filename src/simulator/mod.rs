//! The disaster-recovery APIs of Alibaba Cloud on loopback or in process: a pure model behind an HTTP interface that
//! checks signatures. For the demo and the tests; the operator's image does not contain it.

mod active_faults;
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
mod totals;

pub use self::config::{AccessKey, Clock, Config};
pub use self::faults::{Fault, FaultKind};
pub use self::handle::{ModelGuard, Simulator};
pub use self::record::{ActionCounts, RequestCounts, RequestRecord};
pub use self::totals::Totals;
