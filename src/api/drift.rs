//! Differences between the spec and the cloud in the status of every kind.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A difference between the spec and the cloud.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// The field of the spec.
    pub field: String,
    /// What the spec wants. Secrets are shown as `[redacted]`.
    pub wanted: String,
    /// What the cloud has. Secrets are shown as `[redacted]`.
    pub found: String,
}
