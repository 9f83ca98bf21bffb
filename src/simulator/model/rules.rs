//! The rules by which one simulated cloud behaves.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// How a stored password comes back in Get and List; the SDK's response type has the field, no page says what is in it
/// (inferred, hence all three).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PasswordEcho {
    /// As `******`.
    #[default]
    Masked,
    /// As it was given.
    Clear,
    /// Not at all.
    Omitted,
}

/// The rules by which one simulated cloud behaves.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How long an item stays CREATING or CHANGING, in ms.
    pub delay_ms: i64,
    /// How long a created plan or item stays unseen by Get and List, in ms.
    pub visibility_delay_ms: i64,
    /// The time between two automatic synchronisations of a running item, in ms (the cloud: 10 s).
    pub sync_interval_ms: i64,
    /// The ALIYUN_ROCKETMQ instances that exist; none given: all do. An unknown one is `Instance.NotFound`.
    pub instances: Option<BTreeSet<String>>,
    /// The topics that exist on ALIYUN_ROCKETMQ instances; none given: all do. An unknown one is `Topic.NotFound`.
    pub topics: Option<BTreeSet<String>>,
    /// The consumer groups that subscribe to every topic on both sides; each gives a checkpoint an item and direction.
    pub consumer_groups: Vec<String>,
    /// The groups that do not consume at the source: their timestamp stays where it was.
    pub idle_groups: BTreeSet<String>,
    /// Whether UpdatePlan is allowed while an item runs; the documents do not say (inferred: no).
    pub update_while_running: bool,
    /// How passwords come back.
    pub password_echo: PasswordEcho,
    /// Whether a checkpoint that was never synchronised says `lastSyncTime: 0` instead of nothing.
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
