//! Reads Secrets by name when they are needed. They are never listed, cached or logged.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use crate::cloud::credentials::CredentialsError;

/// No Secret takes longer to read.
const READ_DEADLINE: Duration = Duration::from_secs(10);

/// Why a Secret cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SecretError {
    /// It does not exist.
    #[error("Secret {0} does not exist: create it")]
    Missing(String),
    /// It may not be read.
    #[error("Secret {0} cannot be read: {1}; check the operator's RBAC")]
    Unreadable(String, String),
    /// Its content is not what is needed.
    #[error(transparent)]
    Content(#[from] CredentialsError),
}

/// Reads a Secret. The error names it and nothing of its content.
pub async fn read(client: &Client, namespace: &str, name: &str) -> Result<Secret, SecretError> {
    let full = format!("{namespace}/{name}");
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    match tokio::time::timeout(READ_DEADLINE, secrets.get_opt(name)).await {
        Ok(Ok(Some(secret))) => Ok(secret),
        Ok(Ok(None)) => Err(SecretError::Missing(full)),
        Ok(Err(kube::Error::Api(status))) => Err(SecretError::Unreadable(full, status.message.clone())),
        Ok(Err(_)) | Err(_) => Err(SecretError::Unreadable(full, "the Kubernetes API did not answer".into())),
    }
}
