//! Logs, metrics and health of the operator.

pub mod health;
pub mod logging;
pub mod metrics;
