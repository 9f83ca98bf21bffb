//! Records of the requests that arrived.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;

/// A request that arrived, accepted or refused. It holds no secret: headers and bodies are not kept, and secret query
/// parameters are masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    /// The action of method and path; else that of `x-acs-action` or the parameter `Action`; else empty.
    pub action: String,
    /// The access key id that the request claims.
    pub access_key_id: Option<String>,
    /// The ARN of the role that STS issued this key for, if it did.
    pub role: Option<String>,
    /// The region of the host.
    pub region: Option<String>,
    /// The HTTP method.
    pub method: String,
    /// The path as sent.
    pub path: String,
    /// The decoded query; tokens are masked.
    pub query: Vec<(String, String)>,
    /// The HTTP status of the answer, also when a fault lost the answer.
    pub status: u16,
    /// The code of the answer: `200` on success, empty if the answer has none.
    pub code: String,
    /// Whether the action can change the cloud.
    pub changing: bool,
    /// The name of the fault that applied to it.
    pub fault: Option<String>,
    /// Whether the simulator executed it before it answered, successfully or not.
    pub executed: bool,
    /// Arrival by the simulator's clock, ms since the epoch.
    pub at_ms: i64,
    /// The time of signing that the request claims, in whole seconds: the header `x-acs-date`.
    pub signed_at: Option<String>,
}

/// The requests of one action, however many there are.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionCounts {
    /// All calls.
    pub calls: u64,
    /// Calls whose answer is no success.
    pub refused: u64,
    /// Calls beyond the rate limit.
    pub throttled: u64,
    /// Different paths: plans, items and so on that were called.
    pub paths: usize,
    /// Hashes of these paths.
    #[serde(skip)]
    seen: HashSet<u64>,
}

/// The number of requests by action.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RequestCounts(BTreeMap<String, ActionCounts>);

impl RequestCounts {
    /// The counts of an action.
    pub fn of(&self, action: &str) -> ActionCounts {
        self.0.get(action).cloned().unwrap_or_default()
    }

    pub(super) fn count(&mut self, request: &RequestRecord) {
        let counts = match self.0.get_mut(&request.action) {
            Some(counts) => counts,
            None => self.0.entry(request.action.clone()).or_default(),
        };
        counts.calls += 1;
        counts.refused += u64::from(request.status >= 300);
        counts.throttled += u64::from(request.code.starts_with("Throttling"));
        let mut hasher = DefaultHasher::new();
        request.path.hash(&mut hasher);
        if counts.seen.insert(hasher.finish()) {
            counts.paths += 1;
        }
    }
}
