//! Roles, OIDC providers and the rules by which the simulated token service behaves.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What stands for every caller or every subject of a role.
const WILDCARD: &str = "*";

/// A RAM role and whom it trusts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Role {
    /// `acs:ram::<account>:role/<name>`.
    pub arn: String,
    /// The longest session, s.
    #[serde(default = "Role::default_max_session_seconds")]
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
            max_session_seconds: Role::default_max_session_seconds(),
            trusted_callers: BTreeSet::new(),
            external_id: None,
            trusted_subjects: BTreeMap::new(),
        }
    }

    /// A role that every key, every role and every subject of these providers may assume.
    pub fn open(arn: &str, providers: &[String]) -> Role {
        let subjects = providers.iter().map(|provider| (provider.clone(), vec![WILDCARD.to_owned()]));
        Role {
            trusted_callers: BTreeSet::from([WILDCARD.to_owned()]),
            trusted_subjects: subjects.collect(),
            ..Role::new(arn)
        }
    }

    /// Whether a text is the ARN of a role.
    pub fn is_arn(text: &str) -> bool {
        parts_of_role(text).is_some()
    }

    fn default_max_session_seconds() -> u32 {
        3600
    }

    pub(super) fn trusts_caller(&self, caller: &str) -> bool {
        self.trusted_callers.contains(WILDCARD) || self.trusted_callers.contains(caller)
    }

    pub(super) fn trusts_subject(&self, provider: &str, subject: &str) -> bool {
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
    #[serde(default = "OidcProvider::default_client_ids")]
    pub client_ids: Vec<String>,
}

impl OidcProvider {
    /// A provider of any issuer, with the client ID that RRSA of ACK has.
    pub fn new(arn: &str) -> OidcProvider {
        OidcProvider { arn: arn.to_owned(), issuer: None, client_ids: OidcProvider::default_client_ids() }
    }

    fn default_client_ids() -> Vec<String> {
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
    pub max_key_lifetime_ms: Option<i64>,
}

/// What the metadata say; by default the instance has no role.
#[derive(Debug, Clone, Default)]
pub struct MetadataRules {
    /// The ARN of the role that is attached to the instance. It need not be one of those that can be assumed.
    pub role_arn: Option<String>,
}

impl MetadataRules {
    /// The name of the role that is attached.
    pub fn role_name(&self) -> Option<&str> {
        self.role_arn.as_deref().and_then(parts_of_role).map(|(_, name)| name)
    }
}

/// Account and name of a role's ARN.
pub(super) fn parts_of_role(arn: &str) -> Option<(&str, &str)> {
    let (account, name) = arn.strip_prefix("acs:ram::")?.split_once(":role/")?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let named = (1..=64).contains(&name.len()) && name.chars().all(good);
    (named && !account.is_empty() && account.chars().all(|c| c.is_ascii_digit())).then_some((account, name))
}
