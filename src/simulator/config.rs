//! What a simulator is told when it starts.

use std::collections::BTreeSet;

use super::model::{PasswordEcho, Rules};

/// One access key that the simulator knows. Its `Debug` shows no secret.
#[derive(Clone)]
pub struct AccessKey {
    /// The id, as it is sent.
    pub id: String,
    /// The secret, never sent.
    pub secret: String,
    /// The STS token that must come with a temporary key.
    pub security_token: Option<String>,
    /// When the STS token ends, ms since the epoch: `InvalidSecurityToken.Expired` from then on.
    pub expires_at_ms: Option<i64>,
    /// Whether it was switched off: `InvalidAccessKeyId.Inactive`.
    pub inactive: bool,
}

impl AccessKey {
    /// A permanent key.
    pub fn new(id: &str, secret: &str) -> AccessKey {
        let (id, secret) = (id.to_owned(), secret.to_owned());
        AccessKey { id, secret, security_token: None, expires_at_ms: None, inactive: false }
    }
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a simulator is told when it starts; the default is a permissive cloud without delays.
#[derive(Debug, Clone)]
pub struct Config {
    /// The keys that sign; `simulator-key-id` / `simulator-key-secret` by default.
    pub keys: Vec<AccessKey>,
    /// The region that requests to a loopback address are meant for; `cn-hangzhou` by default.
    pub default_region: String,
    /// Calls a second, for each region, action and key (the cloud's quota page: 150).
    pub rate_limit_per_second: u32,
    /// Whether a throttled reply names a time to wait in `x-acs-retry-after`, and which, in ms.
    pub retry_after_ms: Option<u64>,
    /// Actions that answer `NoPermission`; `*` is all.
    pub denied_actions: BTreeSet<String>,
    /// Whether RocketMQ's own refusals come as HTTP 200 with `success: false` (unconfirmed whether the cloud ever does).
    pub errors_as_http_200: bool,
    /// See [`Rules::delay_ms`].
    pub delay_ms: i64,
    /// See [`Rules::visibility_delay_ms`].
    pub visibility_delay_ms: i64,
    /// See [`Rules::sync_interval_ms`].
    pub sync_interval_ms: i64,
    /// See [`Rules::instances`].
    pub instances: Option<BTreeSet<String>>,
    /// See [`Rules::topics`].
    pub topics: Option<BTreeSet<String>>,
    /// See [`Rules::consumer_groups`].
    pub consumer_groups: Vec<String>,
    /// See [`Rules::idle_groups`].
    pub idle_groups: BTreeSet<String>,
    /// See [`Rules::update_while_running`].
    pub update_while_running: bool,
    /// See [`Rules::password_echo`].
    pub password_echo: PasswordEcho,
    /// See [`Rules::never_synced_as_zero`].
    pub never_synced_as_zero: bool,
}

impl Default for Config {
    fn default() -> Config {
        let rules = Rules::default();
        Config {
            keys: vec![AccessKey::new("simulator-key-id", "simulator-key-secret")],
            default_region: "cn-hangzhou".to_owned(),
            rate_limit_per_second: 150,
            retry_after_ms: None,
            denied_actions: BTreeSet::new(),
            errors_as_http_200: false,
            delay_ms: rules.delay_ms,
            visibility_delay_ms: rules.visibility_delay_ms,
            sync_interval_ms: rules.sync_interval_ms,
            instances: rules.instances,
            topics: rules.topics,
            consumer_groups: rules.consumer_groups,
            idle_groups: rules.idle_groups,
            update_while_running: rules.update_while_running,
            password_echo: rules.password_echo,
            never_synced_as_zero: rules.never_synced_as_zero,
        }
    }
}

impl Config {
    /// The part that the model goes by.
    pub fn rules(&self) -> Rules {
        Rules {
            delay_ms: self.delay_ms,
            visibility_delay_ms: self.visibility_delay_ms,
            sync_interval_ms: self.sync_interval_ms,
            instances: self.instances.clone(),
            topics: self.topics.clone(),
            consumer_groups: self.consumer_groups.clone(),
            idle_groups: self.idle_groups.clone(),
            update_while_running: self.update_while_running,
            password_echo: self.password_echo,
            never_synced_as_zero: self.never_synced_as_zero,
        }
    }
}
