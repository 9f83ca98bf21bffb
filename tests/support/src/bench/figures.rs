//! What a benchmark measures.

use serde::{Deserialize, Serialize};

use super::apiserver::Requests;
use super::cloud::Counts;
use super::load::Kind;
use super::machine::Machine;

/// All figures of one number of objects.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    pub kind: Kind,
    pub objects: usize,
    pub namespaces: usize,
    pub machine: Machine,
    /// What the operator says of its version.
    pub operator: String,
    /// The version of kube-apiserver.
    pub kubernetes: String,
    /// The day, UTC.
    pub date: String,
    pub created: Created,
    pub rest: Option<Rest>,
    pub edits: Option<Edits>,
    pub restart: Option<Restart>,
}

/// From the first object's creation until nothing is left to do. Times are in seconds since then.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Created {
    /// kube-apiserver has every object.
    pub accepted_s: f64,
    /// Every plan has its items in the cloud, or every group its pairs.
    pub in_cloud_s: f64,
    /// Every item runs, or every group replicates.
    pub running_s: f64,
    pub ready_s: f64,
    pub protected_s: f64,
    /// Nothing is written any more.
    pub settled_s: f64,
    /// The operator's requests to kube-apiserver.
    pub kubernetes: Requests,
    pub kubernetes_writes: u64,
    pub kubernetes_gets: u64,
    pub cloud: Counts,
    pub operator_cpu_s: f64,
    pub apiserver_cpu_s: f64,
    pub simulator_cpu_s: f64,
    pub peak_kib: u64,
}

/// A time in which nothing changes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rest {
    pub seconds: f64,
    /// The operator's memory at the end, the largest sample, and the peak since it started.
    pub resident_kib: u64,
    pub largest_resident_kib: u64,
    pub peak_kib: u64,
    /// Percent of one core.
    pub operator_cpu_percent: f64,
    pub apiserver_cpu_percent: f64,
    pub simulator_cpu_percent: f64,
    pub kubernetes: Requests,
    pub kubernetes_writes_per_minute: f64,
    pub cloud: Counts,
    pub cloud_calls_per_object_and_hour: f64,
    pub refused: u64,
    /// `ListDisasterRecoveryPlans` and `GetDisasterRecoveryPlan`.
    pub plan_drift_calls_per_hour: f64,
}

/// Edits one after another, each of another object: from the answer to the edit until its first changing call.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Edits {
    pub edits: usize,
    /// Edits without a changing call in 30 s.
    pub lost: usize,
    pub p50_s: f64,
    pub p99_s: f64,
    pub max_s: f64,
}

/// An operator that takes over after the former one was ended. Times are in seconds since it leads.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restart {
    /// All evidence was read again, and every object is protected.
    pub served_s: f64,
    /// Until it led, since the former one got the signal.
    pub leaderless_s: f64,
    pub kubernetes: Requests,
    pub kubernetes_writes: u64,
    pub kubernetes_gets: u64,
    pub cloud: Counts,
    pub operator_cpu_s: f64,
    pub peak_kib: u64,
    /// Edits directly after.
    pub edits: Edits,
}
