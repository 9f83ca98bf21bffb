//! Roles, OIDC providers and rules of the simulated token service.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Matches every caller or every subject of a role.
const WILDCARD: &str = "*";

/// A RAM role and its trust policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Role {
    /// `acs:ram::<account>:role/<name>`.
    pub arn: String,
    /// Maximum session duration, s.
    #[serde(default = "Role::default_max_session_seconds")]
    pub max_session_seconds: u32,
    /// Callers that may assume it: ids of permanent keys and ARNs of roles; `*` means every caller.
    #[serde(default)]
    pub trusted_callers: BTreeSet<String>,
    /// The required ExternalId; none when absent.
    #[serde(default)]
    pub external_id: Option<String>,
    /// By the ARN of an OIDC provider: subjects that may assume the role, complete or as a prefix with a trailing `*`.
    #[serde(default)]
    pub trusted_subjects: BTreeMap<String, Vec<String>>,
}

impl Role {
    /// A role without trusted callers, with sessions of an hour at most.
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

    /// The account in the ARN of a role.
    pub fn account_of(arn: &str) -> Option<&str> {
        parts_of_role(arn).map(|(account, _)| account)
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

/// An OIDC identity provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OidcProvider {
    /// `acs:ram::<account>:oidc-provider/<name>`.
    pub arn: String,
    /// The required `iss` of a token; any when absent.
    #[serde(default)]
    pub issuer: Option<String>,
    /// Accepted values of `aud`; a token needs one.
    #[serde(default = "OidcProvider::default_client_ids")]
    pub client_ids: Vec<String>,
}

impl OidcProvider {
    /// A provider for any issuer, with the client ID of RRSA in ACK.
    pub fn new(arn: &str) -> OidcProvider {
        OidcProvider { arn: arn.to_owned(), issuer: None, client_ids: OidcProvider::default_client_ids() }
    }

    fn default_client_ids() -> Vec<String> {
        vec!["sts.aliyuncs.com".to_owned()]
    }
}

/// Rules of the simulated token service; without roles by default.
#[derive(Debug, Clone, Default)]
pub struct StsRules {
    /// The existing roles.
    pub roles: Vec<Role>,
    /// The existing OIDC providers.
    pub providers: Vec<OidcProvider>,
    /// Maximum lifetime of a key, ms; Expiration reports it. The session's duration when absent.
    pub max_key_lifetime_ms: Option<i64>,
}

/// The metadata of the instance; without a role by default.
#[derive(Debug, Clone, Default)]
pub struct MetadataRules {
    /// The ARN of the role attached to the instance. The role need not be in [`StsRules`].
    pub role_arn: Option<String>,
}

impl MetadataRules {
    /// The name of the attached role.
    pub fn role_name(&self) -> Option<&str> {
        self.role_arn.as_deref().and_then(parts_of_role).map(|(_, name)| name)
    }
}

/// The account and name in a role's ARN.
pub(super) fn parts_of_role(arn: &str) -> Option<(&str, &str)> {
    let (account, name) = arn.strip_prefix("acs:ram::")?.split_once(":role/")?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let named = (1..=64).contains(&name.len()) && name.chars().all(good);
    (named && !account.is_empty() && account.chars().all(|c| c.is_ascii_digit())).then_some((account, name))
}
