//! What the operator tells of itself: logs, metrics and health.

pub mod health;
pub mod logging;
pub mod metrics;
