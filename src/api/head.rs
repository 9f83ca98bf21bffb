//! The part of status that every kind with a cloud side has.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::drift::Drift;

/// The part of status that every kind with a cloud side has. Shared code writes it, the kind's own code the rest.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StatusHead {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The last generation of the spec that the cloud matched; a difference at this generation is drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_generation: Option<i64>,
    /// The credentials of the last observation: the ARN of the RAM role, or the ID of the access key with its middle masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The Lease of the operator process that serves the object, as NAMESPACE/NAME; `none` without leader election.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    /// The Lease of the operator process that served the object before, while the present one waits for the end of its calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_lease: Option<String>,
    /// The differences between the spec and the cloud, while they last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,
    /// The last handled value of the annotation disasterrecovery.dev/reconcile-requested-at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// Ready, Synced, Protected and OffsetsCovered (plans only). Reconciling, Stalled and DrillNotCleared (groups only) are
    /// present only while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
