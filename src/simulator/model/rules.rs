//! Rules of one simulated cloud.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// How Get and List return a stored password. The SDK's response type has the field; no page documents its content
/// (inferred, hence all three).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PasswordEcho {
    /// As `******`.
    #[default]
    Masked,
    /// In clear.
    Clear,
    /// Absent.
    Omitted,
}

/// Rules of one simulated cloud.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Time that an item stays CREATING or CHANGING, ms.
    pub delay_ms: i64,
    /// Time until Get and List show a created plan or item, ms.
    pub visibility_delay_ms: i64,
    /// Time between two automatic synchronisations of a running item, ms (the cloud: 10 s).
    pub sync_interval_ms: i64,
    /// The ALIYUN_ROCKETMQ instances that exist; all when absent. An unknown one is `Instance.NotFound`.
    pub instances: Option<BTreeSet<String>>,
    /// The topics that exist on ALIYUN_ROCKETMQ instances; all when absent. An unknown one is `Topic.NotFound`.
    pub topics: Option<BTreeSet<String>>,
    /// The consumer groups that subscribe to every topic on both sides; each has a checkpoint for each item and
    /// direction.
    pub consumer_groups: Vec<String>,
    /// The groups that do not consume at the source: their timestamp does not change. [`Model::set_consumption`] changes
    /// it, and a change of this set takes effect as of the last advance.
    ///
    /// [`Model::set_consumption`]: super::Model::set_consumption
    pub idle_groups: BTreeSet<String>,
    /// Whether UpdatePlan is allowed while an item runs; the documentation does not say (inferred: no).
    pub update_while_running: bool,
    /// How Get and List return passwords.
    pub password_echo: PasswordEcho,
    /// Whether a checkpoint without a synchronisation has `lastSyncTime: 0` instead of no such field.
    pub never_synced_as_zero: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            delay_ms: 0,
            visibility_delay_ms: 0,
            sync_interval_ms: 10_000,
            instances: None,
            topics: None,
            consumer_groups: vec!["GID_ORDERS".to_owned(), "GID_BILLING".to_owned()],
            idle_groups: BTreeSet::new(),
            update_while_running: false,
            password_echo: PasswordEcho::Masked,
            never_synced_as_zero: false,
        }
    }
}
