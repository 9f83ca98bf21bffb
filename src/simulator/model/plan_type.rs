//! The directions of a plan.

use serde::{Deserialize, Serialize};

use super::failure::Failure;

/// The directions of replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PlanType {
    /// One way, from the ACTIVE instance to the PASSIVE one.
    ActivePassive,
    /// Both ways; the cloud never synchronises consumer progress automatically.
    ActiveActive,
}

impl PlanType {
    pub(super) fn parse(text: &str) -> Result<PlanType, Failure> {
        match text {
            "ACTIVE_PASSIVE" => Ok(PlanType::ActivePassive),
            "ACTIVE_ACTIVE" => Ok(PlanType::ActiveActive),
            _ => Err(Failure::invalid("planType", "it must be one of ACTIVE_PASSIVE, ACTIVE_ACTIVE")),
        }
    }
}
