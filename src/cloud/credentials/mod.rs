//! Sources of the credentials that sign calls, one per file. No log and no error contains a secret. Only temporary
//! credentials are kept, in memory, by the account's [`CredentialsCache`](cache::CredentialsCache).

pub mod assume_role;
pub mod cache;
pub mod chain;
pub mod ecs_role;
pub mod environment;
pub mod oidc;
pub mod profile;
pub mod secret;
pub mod services;
pub mod signer;

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::error::Error;

/// An access key, with its token if it is temporary.
#[derive(Clone)]
pub struct Credentials {
    /// The key's ID. It is no secret, but logs and errors do not show it.
    pub access_key_id: String,
    /// The key's secret.
    pub access_key_secret: SecretString,
    /// The token of a temporary key.
    pub security_token: Option<SecretString>,
}

impl Credentials {
    /// Whether the key, its secret and its token equal those of `other`.
    pub fn same(&self, other: &Self) -> bool {
        let token = |it: &Self| it.security_token.as_ref().map(|token| token.expose_secret().to_owned());
        self.access_key_id == other.access_key_id
            && self.access_key_secret.expose_secret() == other.access_key_secret.expose_secret()
            && token(self) == token(other)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials([redacted])")
    }
}

/// Credentials from a source, with their expiry and identity.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The credentials.
    pub credentials: Credentials,
    /// The expiry. Absent for a permanent key, and if the source does not name it.
    pub expires: Option<Timestamp>,
    /// Who signs, for people: the ARN of a role, or the masked ID of a key. Renewal does not change it.
    pub identity: String,
}

impl Issued {
    /// Credentials whose source names no expiry.
    pub fn without_expiry(credentials: Credentials) -> Self {
        let identity = masked(&credentials.access_key_id);
        Self { credentials, expires: None, identity }
    }
}

/// A source of credentials. Each call reads or requests them again.
pub type Provider = Arc<dyn Fn() -> BoxFuture<'static, Result<Issued, CredentialsError>> + Send + Sync>;

/// Wraps an async function as a [`Provider`].
pub fn provider<F, R>(function: F) -> Provider
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Result<Issued, CredentialsError>> + Send + 'static,
{
    Arc::new(move || Box::pin(function()))
}

/// Lookup of the standard variables; in production, in the process's environment.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The trimmed value of a variable. An empty variable counts as not set.
fn variable(variables: impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    variables(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Whether a variable is `true` in any letter case, as in the official SDK.
fn is_true(variables: impl Fn(&str) -> Option<String>, name: &str) -> bool {
    variable(variables, name).is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// The masked ID of a key, which a person who knows the ID recognizes: its first and last four characters. For a short
/// ID it is the beginning of a hash, so that two IDs differ.
pub fn masked(access_key_id: &str) -> String {
    let characters: Vec<char> = access_key_id.chars().collect();
    if characters.len() < 12 {
        return format!("****{}", &super::sign::payload_hash(access_key_id.as_bytes())[..4]);
    }
    let (head, tail) = (&characters[..4], &characters[characters.len() - 4..]);
    format!("{}****{}", head.iter().collect::<String>(), tail.iter().collect::<String>())
}

/// The reason for missing credentials. It names the missing thing and its place, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// A variable of the environment is not set.
    #[error("the environment variable {0} is not set: set it on the operator's pod")]
    VariableMissing(&'static str),
    /// The Secret does not exist.
    #[error("Secret {0} does not exist: create it")]
    SecretNotFound(String),
    /// The Secret may not be read, or Kubernetes does not answer.
    #[error("Secret {0} cannot be read: {1}; check the operator's RBAC")]
    SecretUnreadable(String, String),
    /// A key of the Secret is missing or empty.
    #[error("Secret {secret} has no key {key}, or it is empty: add it")]
    KeyMissing {
        /// The Secret, `namespace/name`.
        secret: String,
        /// The key.
        key: &'static str,
    },
    /// A key of the Secret is not text.
    #[error("key {key} of Secret {secret} is not text in UTF-8: write it again")]
    NotText {
        /// The Secret, `namespace/name`.
        secret: String,
        /// The key.
        key: &'static str,
    },
    /// The file with the token of the operator's service account cannot be read.
    #[error("the token file {path} cannot be read: {why}; mount a projected token with the audience sts.aliyuncs.com")]
    TokenFileUnreadable {
        /// The path, from the operator's own configuration.
        path: String,
        /// The reason.
        why: String,
    },
    /// Kubernetes gives no token of a service account.
    #[error("no token of service account {account} can be had: {why}")]
    TokenRequestFailed {
        /// The service account, `namespace/name`.
        account: String,
        /// The reason and the remedy.
        why: String,
        /// Whether the failure may be temporary.
        passing: bool,
    },
    /// The metadata service of the ECS instance gives no credentials.
    #[error("the ECS metadata service gives no credentials: {0}")]
    MetadataUnavailable(String),
    /// The configuration file of the vendor's command line is unusable.
    #[error("the CLI profile cannot be used: {0}")]
    ProfileUnusable(String),
    /// STS refuses the request.
    #[error("{0}")]
    Refused(Error),
    /// STS cannot be reached, fails or throttles.
    #[error("{0}")]
    Unreachable(Error),
    /// The credentials expired and renewal fails.
    #[error("the credentials expired at {at} and cannot be renewed: {why}")]
    Expired {
        /// The expiry.
        at: Timestamp,
        /// The reason for the failed renewal.
        why: Box<CredentialsError>,
    },
    /// The source issued credentials that have already expired, by this machine's clock.
    #[error(
        "the credentials that were just issued have ended already: this machine's clock differs from the cloud's, or the source gives old ones; set the clock"
    )]
    EndedWhenIssued {
        /// The expiry that the source names.
        expires: Timestamp,
        /// The time of this machine.
        now: Timestamp,
    },
    /// No source of the standard chain is configured.
    #[error("the operator has no credentials of its own: {0}")]
    NoSource(String),
}

impl CredentialsError {
    /// Whether the failure may end without a person's action.
    pub fn passing(&self) -> bool {
        match self {
            Self::SecretUnreadable(..) | Self::Unreachable(_) | Self::MetadataUnavailable(_) => true,
            Self::TokenRequestFailed { passing, .. } => *passing,
            Self::Expired { why, .. } => why.passing(),
            Self::VariableMissing(_)
            | Self::SecretNotFound(_)
            | Self::KeyMissing { .. }
            | Self::NotText { .. }
            | Self::TokenFileUnreadable { .. }
            | Self::ProfileUnusable(_)
            | Self::Refused(_)
            | Self::EndedWhenIssued { .. }
            | Self::NoSource(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_ids_are_masked() {
        assert_eq!(masked("LTAI5tExampleKeyId0001"), "LTAI****0001");
        assert_eq!(masked("short"), "****f9b0");
        assert_ne!(masked("other"), masked("short"));
    }
}
