//! What a simulator is told when it starts.

use std::collections::BTreeSet;

use super::model::Rules;
use super::model::ebs::DiskRules;
use super::model::sts::{Issued, MetadataRules, StsRules};

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
    /// Whether it is the account's own key and not a RAM user's: it can assume no role.
    pub root: bool,
}

impl AccessKey {
    /// A permanent key.
    pub fn new(id: &str, secret: &str) -> AccessKey {
        let (id, secret) = (id.to_owned(), secret.to_owned());
        AccessKey { id, secret, security_token: None, expires_at_ms: None, inactive: false, root: false }
    }

    /// A temporary key that was issued for a role. One that was revoked ended before any time that a clock says.
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

/// What a simulator is told when it starts; the default is a permissive cloud without delays.
#[derive(Debug, Clone)]
pub struct Config {
    /// The keys that sign, besides those that were issued for roles; `simulator-key-id` / `simulator-key-secret` by default.
    pub keys: Vec<AccessKey>,
    /// The region that requests to a loopback address are meant for; `cn-hangzhou` by default.
    pub default_region: String,
    /// Calls of RocketMQ a second, for each region, action and key (the cloud's quota page: 150).
    pub rate_limit_per_second: u32,
    /// Calls of EBS a second, for each region, action and key (the cloud's quota page: mostly 40).
    pub ebs_rate_limit_per_second: u32,
    /// Calls of STS a second, for each region, action and key (the cloud's quota page: 100); those beyond are
    /// `Throttling.Api`. All calls of AssumeRoleWithOIDC count together: they have no key.
    pub sts_rate_limit_per_second: u32,
    /// Whether a throttled reply names a time to wait in `x-acs-retry-after`, and which, in ms.
    pub retry_after_ms: Option<u64>,
    /// Actions that answer `NoPermission` (EBS: `Forbidden.Action`); `*` is all that are signed. The metadata of the
    /// instance know no permissions.
    pub denied_actions: BTreeSet<String>,
    /// Whether RocketMQ's own refusals come as HTTP 200 with `success: false` (unconfirmed whether the cloud ever does).
    pub errors_as_http_200: bool,
    /// How its plans, items and checkpoints behave.
    pub rules: Rules,
    /// How its disks behave.
    pub disk_rules: DiskRules,
    /// Which roles there are, and who may assume them.
    pub sts: StsRules,
    /// Which role the metadata of the instance give keys of.
    pub metadata: MetadataRules,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            keys: vec![AccessKey::new("simulator-key-id", "simulator-key-secret")],
            default_region: "cn-hangzhou".to_owned(),
            rate_limit_per_second: 150,
            ebs_rate_limit_per_second: 40,
            sts_rate_limit_per_second: 100,
            retry_after_ms: None,
            denied_actions: BTreeSet::new(),
            errors_as_http_200: false,
            rules: Rules::default(),
            disk_rules: DiskRules::default(),
            sts: StsRules::default(),
            metadata: MetadataRules::default(),
        }
    }
}
