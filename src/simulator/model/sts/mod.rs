//! The Security Token Service 2015-04-01 and the metadata of an ECS instance: who may assume which role, and the keys that
//! were issued. Plain data, every time an argument; ids and secrets derive from a counter, the time and what was asked.
//!
//! Sources: help pages, SDKs and the API's metadata. What those leave open is marked "inferred": a test must not take it
//! for a promise of the cloud.

mod assume;
mod claims;
mod failure;
mod issued;
mod metadata;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends where it fails")]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use assume::{AssumeRoleInput, Caller, OidcInput};
pub use claims::Claims;
pub use issued::Issued;
pub use metadata::{MetadataRefusal, MetadataRules};
use serde::{Deserialize, Serialize};

use super::Failure;

/// What stands for every caller or every subject of a role.
const ANYONE: &str = "*";

/// A RAM role and whom it trusts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Role {
    /// `acs:ram::<account>:role/<name>`.
    pub arn: String,
    /// The longest session, s.
    #[serde(default = "Role::usual_session")]
    pub max_session_seconds: u32,
    /// Who may assume it: ids of permanent keys and ARNs of roles; `*` is everyone.
    #[serde(default)]
    pub trusted_callers: BTreeSet<String>,
    /// What a caller must give as ExternalId; nothing is asked when absent.
    #[serde(default)]
    pub external_id: Option<String>,
    /// By the ARN of an OIDC provider, which of its subjects may assume it: as they are, or the beginning with a `*`.
    #[serde(default)]
    pub trusted_subjects: BTreeMap<String, Vec<String>>,
}

impl Role {
    /// A role that trusts nobody yet, with sessions of an hour at most.
    pub fn new(arn: &str) -> Role {
        Role {
            arn: arn.to_owned(),
            max_session_seconds: Role::usual_session(),
            trusted_callers: BTreeSet::new(),
            external_id: None,
            trusted_subjects: BTreeMap::new(),
        }
    }

    /// A role that every key, every role and every subject of these providers may assume.
    pub fn open(arn: &str, providers: &[String]) -> Role {
        let subjects = providers.iter().map(|provider| (provider.clone(), vec![ANYONE.to_owned()]));
        Role {
            trusted_callers: BTreeSet::from([ANYONE.to_owned()]),
            trusted_subjects: subjects.collect(),
            ..Role::new(arn)
        }
    }

    /// Whether a text is the ARN of a role.
    pub fn is_arn(text: &str) -> bool {
        parts_of_role(text).is_some()
    }

    fn usual_session() -> u32 {
        3600
    }

    fn trusts_caller(&self, caller: &str) -> bool {
        self.trusted_callers.contains(ANYONE) || self.trusted_callers.contains(caller)
    }

    fn trusts_subject(&self, provider: &str, subject: &str) -> bool {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => subject.starts_with(beginning),
            None => subject == pattern,
        };
        self.trusted_subjects.get(provider).is_some_and(|patterns| patterns.iter().any(matches))
    }
}

/// An identity provider of OIDC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OidcProvider {
    /// `acs:ram::<account>:oidc-provider/<name>`.
    pub arn: String,
    /// What `iss` of a token must be; anything when absent.
    #[serde(default)]
    pub issuer: Option<String>,
    /// What `aud` of a token must have one of.
    #[serde(default = "OidcProvider::usual_clients")]
    pub client_ids: Vec<String>,
}

impl OidcProvider {
    /// A provider of any issuer, with the client ID that RRSA of ACK has.
    pub fn new(arn: &str) -> OidcProvider {
        OidcProvider { arn: arn.to_owned(), issuer: None, client_ids: OidcProvider::usual_clients() }
    }

    fn usual_clients() -> Vec<String> {
        vec!["sts.aliyuncs.com".to_owned()]
    }
}

/// The rules by which the simulated token service behaves; by default it knows no role.
#[derive(Debug, Clone, Default)]
pub struct StsRules {
    /// The roles that there are.
    pub roles: Vec<Role>,
    /// The OIDC providers that there are.
    pub providers: Vec<OidcProvider>,
    /// The longest life of a key in ms, however long a session was asked for; Expiration tells the short one. None given:
    /// the session's.
    pub life_ms: Option<i64>,
}

/// The token service's side of one account, which is not regional.
#[derive(Clone)]
pub struct Sts {
    /// The rules; a test may change them at any time.
    pub rules: StsRules,
    /// What the instance's metadata say; a test may change it at any time.
    pub metadata: MetadataRules,
    issued: BTreeMap<String, Issued>,
    /// When each token of the metadata ends.
    metadata_tokens: BTreeMap<String, i64>,
    /// The id of the key that the metadata gave last.
    metadata_key: Option<String>,
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

    fn role(&self, arn: &str) -> Result<&Role, Failure> {
        self.rules.roles.iter().find(|role| role.arn == arn).ok_or_else(|| Failure::role_not_found(arn))
    }

    /// Issues a key. Its life ends with a whole second, as Expiration says it, and is never longer than was asked for.
    fn issue(&mut self, role_arn: &str, session: &str, seconds: i64, now: i64) -> Issued {
        let asked = seconds.saturating_mul(1000);
        let life = self.rules.life_ms.map_or(asked, |most| most.min(asked));
        let end = now.saturating_add(life);
        let key = Issued::new(self.count(), (role_arn, session), now, end - end.rem_euclid(1000));
        self.issued.insert(key.access_key_id.clone(), key.clone());
        key
    }

    fn count(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }
}

/// Account and name of a role's ARN.
fn parts_of_role(arn: &str) -> Option<(&str, &str)> {
    let (account, name) = arn.strip_prefix("acs:ram::")?.split_once(":role/")?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let named = (1..=64).contains(&name.len()) && name.chars().all(good);
    (named && !account.is_empty() && account.chars().all(|c| c.is_ascii_digit())).then_some((account, name))
}
