//! The configuration of a simulator.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::model::Rules;
use super::model::ebs::DiskRules;
use super::model::sts::{Issued, MetadataRules, StsRules};

/// An access key. Its `Debug` shows no secret.
#[derive(Clone)]
pub struct AccessKey {
    /// The id, which requests contain.
    pub id: String,
    /// The secret, which requests never contain.
    pub secret: String,
    /// The STS token that requests with a temporary key must contain.
    pub security_token: Option<String>,
    /// Expiry of the STS token, ms since the epoch: `InvalidSecurityToken.Expired` from then on.
    pub expires_at_ms: Option<i64>,
    /// Whether the key is disabled: `InvalidAccessKeyId.Inactive`.
    pub inactive: bool,
    /// Whether the key is the account's own, not a RAM user's: it can assume no role.
    pub root: bool,
}

impl AccessKey {
    /// A permanent key.
    pub fn new(id: &str, secret: &str) -> AccessKey {
        let (id, secret) = (id.to_owned(), secret.to_owned());
        AccessKey { id, secret, security_token: None, expires_at_ms: None, inactive: false, root: false }
    }

    /// A temporary key that STS issued for a role. A revoked key has always expired.
    pub(super) fn issued(issued: &Issued) -> AccessKey {
        AccessKey {
            security_token: Some(issued.security_token.clone()),
            expires_at_ms: Some(if issued.revoked { i64::MIN } else { issued.expires_at_ms }),
            ..AccessKey::new(&issued.access_key_id, &issued.access_key_secret)
        }
    }
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The simulator's clock, ms since the epoch.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// A clock that shows what `now_ms` returns.
    pub fn new(now_ms: impl Fn() -> i64 + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now_ms))
    }

    /// The current time.
    pub(super) fn now_ms(&self) -> i64 {
        (self.0)()
    }
}

impl Default for Clock {
    /// The machine's clock.
    fn default() -> Clock {
        Clock::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// The configuration of a simulator; the default is a permissive cloud without delays.
#[derive(Debug, Clone)]
pub struct Config {
    /// The clock of everything that the simulator does: operations, delays, the signature window, expiry of keys.
    pub clock: Clock,
    /// The distance of the simulator's time ahead of the clock, ms; negative is behind. It shifts everything that the
    /// clock decides, and the `Date` header.
    pub clock_offset_ms: i64,
    /// Permanent access keys; `simulator-key-id` / `simulator-key-secret` by default. Keys that STS issues are valid
    /// too.
    pub keys: Vec<AccessKey>,
    /// The region of requests to a loopback address; `cn-hangzhou` by default.
    pub default_region: String,
    /// Allowed calls of RocketMQ a second, for each region, action and account (the cloud's quota page: 150). All keys
    /// issued for roles of one account count together; each permanent key counts as an account of its own.
    pub rate_limit_per_second: u32,
    /// Allowed calls of EBS a second, for each region, action and account, and a quarter of it for
    /// ClearReplicaGroupDrill (the cloud's quota page: 40 and 10; 40 for each action that it omits is inferred).
    pub ebs_rate_limit_per_second: u32,
    /// Allowed calls of STS a second, for each region, action and account (the cloud's quota page: 100); further calls
    /// get `Throttling.Api`. All calls of AssumeRoleWithOIDC count together: they have no key.
    pub sts_rate_limit_per_second: u32,
    /// The value of `x-acs-retry-after` in a throttled reply, ms; no such header when absent.
    pub retry_after_ms: Option<u64>,
    /// Actions that answer `NoPermission` (EBS: `Forbidden.Action`); `*` means all signed actions. The metadata service
    /// checks no permissions.
    pub denied_actions: BTreeSet<String>,
    /// The time of which the states before all requests are kept for reads that show the past, ms. Each state is a copy of
    /// the whole cloud.
    pub history_ms: u32,
    /// Whether RocketMQ's own refusals are HTTP 200 with `success: false` (unconfirmed whether the cloud ever does
    /// this).
    pub errors_as_http_200: bool,
    /// Rules of plans, items and checkpoints.
    pub rules: Rules,
    pub disk_rules: DiskRules,
    /// Roles and OIDC providers.
    pub sts: StsRules,
    /// The role of the ECS instance.
    pub metadata: MetadataRules,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            clock: Clock::default(),
            clock_offset_ms: 0,
            keys: vec![AccessKey::new("simulator-key-id", "simulator-key-secret")],
            default_region: "cn-hangzhou".to_owned(),
            rate_limit_per_second: 150,
            ebs_rate_limit_per_second: 40,
            sts_rate_limit_per_second: 100,
            retry_after_ms: None,
            denied_actions: BTreeSet::new(),
            history_ms: 0,
            errors_as_http_200: false,
            rules: Rules::default(),
            disk_rules: DiskRules::default(),
            sts: StsRules::default(),
            metadata: MetadataRules::default(),
        }
    }
}
