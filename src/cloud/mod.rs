//! Client of Alibaba Cloud's OpenAPI: one signed client, one typed method per operation.
//!
//! [`client::HttpService`] is the seam to the network: a TLS connector in production, the simulator's router in tests.

#![warn(missing_docs)]

pub mod client;
pub mod clock;
pub mod credentials;
pub mod ebs;
pub mod endpoint;
pub mod error;
pub mod fence;
pub mod list;
pub mod operation;
pub mod rate_limit;
pub mod rocketmq;
pub mod sign;
pub mod skew;
pub mod sts;
mod wire;
