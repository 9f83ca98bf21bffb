//! The reasons why an object has no credentials. Plain values.

use crate::cloud::credentials::CredentialsError;
use crate::cloud::endpoint::EndpointError;

/// The reason why an object has no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// The namespace may not use the operator's own identity.
    #[error(
        "namespace {namespace} may not use {what}: name an AlibabaCloudAccount of this namespace with credentials of its own \
         (secretRef, or oidc with serviceAccountRef), or start the operator with --default-account-namespaces={namespace}"
    )]
    NotAllowed {
        namespace: String,
        /// The credentials that it may not use.
        what: &'static str,
    },
    /// The account does not exist.
    #[error("AlibabaCloudAccount {0} does not exist: create it, or correct spec.accountRef")]
    Missing(String),
    /// The account cannot be read from Kubernetes.
    #[error("AlibabaCloudAccount {0} cannot be read: {1}")]
    Unreadable(String, String),
    /// The account does not parse.
    #[error("AlibabaCloudAccount {0} cannot be read: {1:.400}; correct the account")]
    Invalid(String, String),
    /// The account names an endpoint that is not allowed. The operator sends no request for it.
    #[error("endpoint of {product} of AlibabaCloudAccount {account}: {why}")]
    Endpoint {
        account: String,
        /// The product of the endpoint.
        product: &'static str,
        /// The cause of the refusal.
        why: EndpointError,
    },
    /// The source of the account's credentials issues none.
    #[error("{}{why}", of(.account.as_deref()))]
    Credentials {
        /// The account; `None` for the operator's own identity.
        account: Option<String>,
        /// The cause.
        why: Box<CredentialsError>,
    },
}

fn of(account: Option<&str>) -> String {
    account.map(|account| format!("AlibabaCloudAccount {account}: ")).unwrap_or_default()
}

impl AccountError {
    /// The error of an account's credentials, or of the operator's own.
    pub fn credentials(account: Option<&str>, why: CredentialsError) -> Self {
        Self::Credentials { account: account.map(Into::into), why: Box::new(why) }
    }

    /// The error of the credentials, if they are the cause.
    pub fn why(&self) -> Option<&CredentialsError> {
        match self {
            Self::Credentials { why, .. } => Some(why),
            Self::NotAllowed { .. }
            | Self::Missing(_)
            | Self::Unreadable(..)
            | Self::Invalid(..)
            | Self::Endpoint { .. } => None,
        }
    }

    /// Whether the cause may pass without an action of a person.
    pub fn passing(&self) -> bool {
        match self {
            Self::Unreadable(..) => true,
            Self::Credentials { why, .. } => why.passing(),
            Self::NotAllowed { .. } | Self::Missing(_) | Self::Invalid(..) | Self::Endpoint { .. } => false,
        }
    }
}
