//! Alibaba Cloud's OpenAPI as this operator uses it: one signed client, one typed method an operation.
//!
//! The seam to the network is [`client::HttpService`]: production hands it a TLS connector, tests the simulator's router.

pub mod client;
pub mod credentials;
pub mod ebs;
pub mod endpoint;
pub mod error;
pub mod fence;
pub mod operation;
pub mod rate_limit;
pub mod rocketmq;
pub mod sign;
pub mod sts;
mod wire;
