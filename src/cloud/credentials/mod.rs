//! Where the key comes from that signs a call: one source a file. None is ever logged or put in an error; only temporary
//! ones are kept, in memory, by the one [`Identity`](identity::Identity) of an account.

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

/// An access key, with the token that belongs to it if it is temporary.
#[derive(Clone)]
pub struct Credentials {
    /// The key's ID. It is no secret, but still nobody's business.
    pub access_key_id: String,
    /// The key's secret.
    pub access_key_secret: SecretString,
    /// The token of a temporary key.
    pub security_token: Option<SecretString>,
}

impl Credentials {
    /// Whether these are the same as others, to the last secret.
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

/// Credentials, how long they are good, and whose they are.
#[derive(Clone, Debug)]
pub struct Issued {
    /// What signs.
    pub credentials: Credentials,
    /// When they end. Absent for a permanent key, and where nobody says.
    pub expires: Option<Timestamp>,
    /// Who signs, for people: the ARN of a role, or the masked ID of a key. It stays the same when they are renewed.
    pub identity: String,
}

impl Issued {
    /// A key that nobody says the end of.
    pub fn without_expiry(credentials: Credentials) -> Self {
        let identity = masked(&credentials.access_key_id);
        Self { credentials, expires: None, identity }
    }
}

/// One source of credentials: each call reads or asks for them anew.
pub type Provider = Arc<dyn Fn() -> BoxFuture<'static, Result<Issued, CredentialsError>> + Send + Sync>;

/// Makes a [`Provider`] of an async function.
pub fn provider<F, R>(function: F) -> Provider
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Result<Issued, CredentialsError>> + Send + 'static,
{
    Arc::new(move || Box::pin(function()))
}

/// Where the standard variables are read: production makes it of the process's environment.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A variable without the white space around it; an empty one counts as not set.
fn variable(variables: impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    variables(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Whether a variable says `true`, in any case of letters, as the official SDK reads it.
fn is_true(variables: impl Fn(&str) -> Option<String>, name: &str) -> bool {
    variable(variables, name).is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// The ID of a key, recognizable to who knows it: its first and last four characters, or the beginning of a hash of a short
/// one, so that two are told apart.
pub fn masked(access_key_id: &str) -> String {
    let characters: Vec<char> = access_key_id.chars().collect();
    if characters.len() < 12 {
        return format!("****{}", &super::sign::payload_hash(access_key_id.as_bytes())[..4]);
    }
    let (head, tail) = (&characters[..4], &characters[characters.len() - 4..]);
    format!("{}****{}", head.iter().collect::<String>(), tail.iter().collect::<String>())
}

/// Why there are no credentials: what is missing and where, never a value.
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
    /// A key of the Secret is no text.
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
        /// Its path, of the operator's own configuration.
        path: String,
        /// Why.
        why: String,
    },
    /// Kubernetes gives no token of a service account.
    #[error("no token of service account {account} can be had: {why}")]
    TokenRequestFailed {
        /// The service account, `namespace/name`.
        account: String,
        /// Why, and what to do.
        why: String,
        /// Whether it may be otherwise in a moment.
        passing: bool,
    },
    /// The metadata service of the ECS instance gives no credentials.
    #[error("the ECS metadata service gives no credentials: {0}")]
    MetadataUnavailable(String),
    /// The configuration file of the vendor's command line cannot be used.
    #[error("the CLI profile cannot be used: {0}")]
    ProfileUnusable(String),
    /// STS refuses.
    #[error("{0}")]
    Refused(Error),
    /// STS cannot be reached, fails, or asks for fewer calls.
    #[error("{0}")]
    Unreachable(Error),
    /// They have ended and cannot be renewed.
    #[error("the credentials expired at {at} and cannot be renewed: {why}")]
    Expired {
        /// When they ended.
        at: Timestamp,
        /// Why there are no others.
        why: Box<CredentialsError>,
    },
    /// What the source just issued has already ended, by the clock of this machine.
    #[error(
        "the credentials that were just issued have ended already: this machine's clock differs from the cloud's, or the source gives old ones; set the clock"
    )]
    EndedWhenIssued {
        /// When they end, as the source says.
        expires: Timestamp,
        /// The time of this machine.
        now: Timestamp,
    },
    /// No source of the standard chain has any.
    #[error("the operator has no credentials of its own: {0}")]
    NoSource(String),
}

impl CredentialsError {
    /// Whether it may pass without anybody's doing.
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
    fn the_middle_of_a_key_id_is_masked_and_all_of_a_short_one() {
        assert_eq!(masked("LTAI5tExampleKeyId0001"), "LTAI****0001");
        assert_eq!(masked("short"), "****f9b0");
        assert_ne!(masked("other"), masked("short"));
    }
}
