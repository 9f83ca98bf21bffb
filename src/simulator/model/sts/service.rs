//! The state of the token service.

use std::collections::BTreeMap;

use super::super::failure::Failure;
use super::issued::Issued;
use super::rules::{MetadataRules, OidcProvider, Role, StsRules};

/// The token service's side of one account, which is not regional.
#[derive(Clone)]
pub struct Sts {
    /// The rules; a test may change them at any time.
    pub rules: StsRules,
    /// What the instance's metadata say; a test may change it at any time.
    pub metadata: MetadataRules,
    issued: BTreeMap<String, Issued>,
    /// When each token of the metadata ends.
    pub(super) metadata_tokens: BTreeMap<String, i64>,
    /// The id of the key that the metadata gave last.
    pub(super) metadata_key: Option<String>,
    next: u64,
}

impl Sts {
    /// A service that has issued nothing.
    pub fn new(rules: StsRules, metadata: MetadataRules) -> Sts {
        let (issued, metadata_tokens) = Default::default();
        Sts { rules, metadata, issued, metadata_tokens, metadata_key: None, next: 1 }
    }

    /// Adds a role, or puts it in the place of the one with its ARN.
    pub fn set_role(&mut self, role: Role) {
        self.rules.roles.retain(|known| known.arn != role.arn);
        self.rules.roles.push(role);
    }

    /// Takes a role away; says whether it was there. Keys that were issued for it stay good (inferred).
    pub fn remove_role(&mut self, arn: &str) -> bool {
        let before = self.rules.roles.len();
        self.rules.roles.retain(|role| role.arn != arn);
        self.rules.roles.len() < before
    }

    /// A role by its ARN, to be changed.
    pub fn role_mut(&mut self, arn: &str) -> Option<&mut Role> {
        self.rules.roles.iter_mut().find(|role| role.arn == arn)
    }

    /// Adds an OIDC provider, or puts it in the place of the one with its ARN.
    pub fn set_provider(&mut self, provider: OidcProvider) {
        self.rules.providers.retain(|known| known.arn != provider.arn);
        self.rules.providers.push(provider);
    }

    /// Takes an OIDC provider away; says whether it was there.
    pub fn remove_provider(&mut self, arn: &str) -> bool {
        let before = self.rules.providers.len();
        self.rules.providers.retain(|provider| provider.arn != arn);
        self.rules.providers.len() < before
    }

    /// Every key that was ever issued, in the order of their ids.
    pub fn issued(&self) -> impl Iterator<Item = &Issued> {
        self.issued.values()
    }

    /// The issued key with this id.
    pub fn issued_key(&self, access_key_id: &str) -> Option<&Issued> {
        self.issued.get(access_key_id)
    }

    /// Ends all keys of a role at once, whatever the clock says, and returns how many were not revoked before. Keys that
    /// are issued later are good.
    pub fn revoke(&mut self, role_arn: &str) -> usize {
        let good = self.issued.values_mut().filter(|key| key.role_arn == role_arn && !key.revoked);
        good.map(|key| key.revoked = true).count()
    }

    pub(super) fn role(&self, arn: &str) -> Result<&Role, Failure> {
        self.rules.roles.iter().find(|role| role.arn == arn).ok_or_else(|| Failure::role_not_found(arn))
    }

    /// Issues a key. Its life ends with a whole second, as Expiration says it, and is never longer than was requested for.
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
