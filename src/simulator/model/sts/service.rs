//! The state of the token service.

use std::collections::BTreeMap;

use super::super::failure::Failure;
use super::issued::Issued;
use super::rules::{MetadataRules, OidcProvider, Role, StsRules};

/// The token service of one account; it is not regional.
#[derive(Clone)]
pub struct Sts {
    /// The rules, which a test may change at any time.
    pub rules: StsRules,
    /// The instance's metadata, which a test may change at any time.
    pub metadata: MetadataRules,
    issued: BTreeMap<String, Issued>,
    /// Expiry of each metadata token.
    pub(super) metadata_tokens: BTreeMap<String, i64>,
    /// The id of the key that the metadata service returned last.
    pub(super) metadata_key: Option<String>,
    next: u64,
}

impl Sts {
    /// A service without issued keys.
    pub fn new(rules: StsRules, metadata: MetadataRules) -> Sts {
        let (issued, metadata_tokens) = Default::default();
        Sts { rules, metadata, issued, metadata_tokens, metadata_key: None, next: 1 }
    }

    /// Adds a role or replaces the one with its ARN.
    pub fn set_role(&mut self, role: Role) {
        self.rules.roles.retain(|known| known.arn != role.arn);
        self.rules.roles.push(role);
    }

    /// Removes a role; false if it does not exist. Its issued keys stay valid (inferred).
    pub fn remove_role(&mut self, arn: &str) -> bool {
        let before = self.rules.roles.len();
        self.rules.roles.retain(|role| role.arn != arn);
        self.rules.roles.len() < before
    }

    /// The role with this ARN, for changes.
    pub fn role_mut(&mut self, arn: &str) -> Option<&mut Role> {
        self.rules.roles.iter_mut().find(|role| role.arn == arn)
    }

    /// Adds an OIDC provider or replaces the one with its ARN.
    pub fn set_provider(&mut self, provider: OidcProvider) {
        self.rules.providers.retain(|known| known.arn != provider.arn);
        self.rules.providers.push(provider);
    }

    /// Removes an OIDC provider; false if it does not exist.
    pub fn remove_provider(&mut self, arn: &str) -> bool {
        let before = self.rules.providers.len();
        self.rules.providers.retain(|provider| provider.arn != arn);
        self.rules.providers.len() < before
    }

    /// All issued keys, in the order of their ids.
    pub fn issued(&self) -> impl Iterator<Item = &Issued> {
        self.issued.values()
    }

    /// The issued key with this id.
    pub fn issued_key(&self, access_key_id: &str) -> Option<&Issued> {
        self.issued.get(access_key_id)
    }

    /// Revokes all issued keys of a role at once and returns the number of newly revoked keys. Keys issued later are
    /// valid.
    pub fn revoke(&mut self, role_arn: &str) -> usize {
        let good = self.issued.values_mut().filter(|key| key.role_arn == role_arn && !key.revoked);
        good.map(|key| key.revoked = true).count()
    }

    pub(super) fn role(&self, arn: &str) -> Result<&Role, Failure> {
        self.rules.roles.iter().find(|role| role.arn == arn).ok_or_else(|| Failure::role_not_found(arn))
    }

    /// Issues a key. It expires at a whole second, as in Expiration, and never later than requested.
    pub(super) fn issue(&mut self, role_arn: &str, session: &str, seconds: i64, now: i64) -> Issued {
        let requested = seconds.saturating_mul(1000);
        let lifetime = self.rules.max_key_lifetime_ms.map_or(requested, |max| max.min(requested));
        let end = now.saturating_add(lifetime);
        let key = Issued::new(self.count(), (role_arn, session), now, end - end.rem_euclid(1000));
        self.issued.insert(key.access_key_id.clone(), key.clone());
        key
    }

    pub(super) fn count(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }
}
