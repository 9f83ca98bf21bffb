//! Alibaba Cloud's OpenAPI as this operator uses it: one signed client, one typed method an operation.
//!
//! The seam to the network is [`client::HttpService`]: production hands it a TLS connector, tests the simulator's router.

mod answer;
pub mod budget;
pub mod client;
pub mod credentials;
pub mod ebs;
pub mod endpoint;
pub mod error;
pub mod fence;
mod request;
pub mod rocketmq;
pub mod sign;
pub mod sts;
mod transport;
mod wire;
