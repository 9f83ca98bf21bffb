//! Why an object has nobody to sign its calls: plain values.

use crate::cloud::credentials::CredentialsError;
use crate::cloud::endpoint::EndpointError;

/// Why an object has nobody to sign its calls.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// The namespace may not use the operator's own identity.
    #[error(
        "namespace {namespace} may not use {what}: name an AlibabaCloudAccount of this namespace with credentials of its own \
         (secretRef, or oidc with serviceAccountRef), or start the operator with --default-account-namespaces={namespace}"
    )]
    NotAllowed {
        /// The namespace.
        namespace: String,
        /// What it may not use.
        what: &'static str,
    },
    /// The account does not exist.
    #[error("AlibabaCloudAccount {0} does not exist: create it, or correct spec.accountRef")]
    Missing(String),
    /// Kubernetes does not give the account.
    #[error("AlibabaCloudAccount {0} cannot be read: {1}")]
    Unreadable(String, String),
    /// The account names an endpoint that is not allowed. Nothing is sent for it.
    #[error("endpoint of {product} of AlibabaCloudAccount {account}: {why}")]
    Endpoint {
        /// The account.
        account: String,
        /// The product whose endpoint it is.
        product: &'static str,
        /// Why it is refused.
        why: EndpointError,
    },
    /// The source of the account's credentials gives none.
    #[error("{}{why}", of(.account.as_deref()))]
    Credentials {
        /// The account; none, where it is the operator's own identity.
        account: Option<String>,
        /// Why.
        why: Box<CredentialsError>,
    },
}

fn of(account: Option<&str>) -> String {
    account.map(|account| format!("AlibabaCloudAccount {account}: ")).unwrap_or_default()
}

impl AccountError {
    /// The source of an account's credentials, or of the operator's own, gives none.
    pub fn credentials(account: Option<&str>, why: CredentialsError) -> Self {
        Self::Credentials { account: account.map(Into::into), why: Box::new(why) }
    }

    /// What is wrong with the credentials, if it is that.
    pub fn why(&self) -> Option<&CredentialsError> {
        match self {
            Self::Credentials { why, .. } => Some(why),
            Self::NotAllowed { .. } | Self::Missing(_) | Self::Unreadable(..) | Self::Endpoint { .. } => None,
        }
    }

    /// Whether it may pass without anybody's doing.
    pub fn passing(&self) -> bool {
        match self {
            Self::Unreadable(..) => true,
            Self::Credentials { why, .. } => why.passing(),
            Self::NotAllowed { .. } | Self::Missing(_) | Self::Endpoint { .. } => false,
        }
    }
}
