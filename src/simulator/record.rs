//! Records of the requests that arrived.

use serde::Serialize;

/// One request that arrived, whether it was good or not. Neither headers nor bodies are kept, nor what is secret in a
/// query, hence no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    /// The action that method and path mean; else what `x-acs-action` or the parameter `Action` said; else nothing.
    pub action: String,
    /// The id of the key that it claimed.
    pub access_key_id: Option<String>,
    /// The ARN of the role that this key was issued for, if it was.
    pub role: Option<String>,
    /// The region that its host means.
    pub region: Option<String>,
    /// The HTTP method.
    pub method: String,
    /// The path as sent.
    pub path: String,
    /// The query, decoded; tokens in it are left out.
    pub query: Vec<(String, String)>,
    /// The HTTP status of the answer, of one that a fault then lost too.
    pub status: u16,
    /// The code of the answer, `200` when all went well; empty for what has none.
    pub code: String,
    /// Whether the action changes anything in the cloud.
    pub changing: bool,
    /// The name of the fault that struck it.
    pub fault: Option<String>,
    /// When it arrived by the simulator's clock, ms since the epoch.
    pub at_ms: i64,
}
