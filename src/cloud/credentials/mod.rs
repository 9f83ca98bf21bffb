//! Where the key comes from that signs a call: one source a file. None is ever logged, cached or put in an error.

pub mod environment;
pub mod secret;

use std::fmt;

use secrecy::SecretString;

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

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials([redacted])")
    }
}

/// Why there are no credentials: what is missing and where, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// A variable of the environment is not set.
    #[error("the environment variable {0} is not set: set it, or name a Secret with --credentials-secret")]
    VariableMissing(&'static str),
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
}
