//! Reads Secrets by name when they are needed, and requests tokens of service accounts. The operator never lists, caches or
//! logs either.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Client};
use pbkdf2::pbkdf2_hmac_array;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::cloud::credentials::oidc::{AUDIENCE, TokenSource};
use crate::cloud::credentials::{CredentialsError, Issued, Provider, provider, secret};

/// Maximum time for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Rounds of the hash of a Secret's content, as OWASP recommends for PBKDF2 with HMAC-SHA256. Each process computes it once for
/// each content.
pub const CONTENT_HASH_ROUNDS: u32 = 600_000;
/// Length of its salt, in bytes.
const SALT_LENGTH: usize = 16;
/// Lifetime of a token, in seconds. It is used at once.
const TOKEN_LIFETIME_SECONDS: i64 = 600;

/// Reads a Secret. The error contains its name and no content.
pub async fn read(client: &Client, namespace: &str, name: &str) -> Result<Secret, CredentialsError> {
    let full_name = format!("{namespace}/{name}");
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    match tokio::time::timeout(REQUEST_TIMEOUT, secrets.get_opt(name)).await {
        Ok(Ok(Some(secret))) => Ok(secret),
        Ok(Ok(None)) => Err(CredentialsError::SecretNotFound(full_name)),
        Ok(Err(kube::Error::Api(status))) => Err(CredentialsError::SecretUnreadable(full_name, status.message.clone())),
        Ok(Err(_)) | Err(_) => {
            Err(CredentialsError::SecretUnreadable(full_name, "the Kubernetes API did not answer".into()))
        }
    }
}

/// The content of a Secret: user name and password.
pub type Content = [Option<SecretString>; 2];

fn slow_hash(content: &Content, salt: &[u8], rounds: u32) -> [u8; 32] {
    // The lengths keep two contents apart whose texts are the same when they are joined.
    let mut bytes = Vec::new();
    for text in content.iter().map(|text| text.as_ref().map_or("", ExposeSecret::expose_secret)) {
        bytes.extend((text.len() as u64).to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    pbkdf2_hmac_array::<Sha256, 32>(&bytes, salt, rounds)
}

/// A hash of a Secret's content for status, which people read who may not read the Secret: salted, and slow to compute.
pub fn content_hash(content: &Content, rounds: u32) -> String {
    let salt: [u8; SALT_LENGTH] = rand::random();
    format!("{}{}", hex::encode(salt), hex::encode(slow_hash(content, &salt, rounds)))
}

/// Whether a hash of [`content_hash`] is of this content.
pub fn has_content(hash: &str, content: &Content, rounds: u32) -> bool {
    let Ok(decoded) = hex::decode(hash) else { return false };
    match decoded.split_first_chunk::<SALT_LENGTH>() {
        Some((salt, hash)) => slow_hash(content, salt, rounds) == hash,
        None => false,
    }
}

/// The access key in a Secret. Each use reads the Secret again.
pub fn access_key(client: Client, namespace: String, name: String) -> Provider {
    provider(move || {
        let (client, namespace, name) = (client.clone(), namespace.clone(), name.clone());
        async move {
            let found = read(&client, &namespace, &name).await?;
            let data = found.data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0)).collect();
            Ok(Issued::without_expiry(secret::read(&format!("{namespace}/{name}"), &data)?))
        }
    })
}

/// Tokens of a service account for STS. Each use requests a new one.
pub fn service_account_token(client: Client, namespace: String, name: String) -> TokenSource {
    Arc::new(move || {
        let (client, namespace, name) = (client.clone(), namespace.clone(), name.clone());
        Box::pin(async move {
            let failed = |why: String, passing: bool| {
                let account = format!("{namespace}/{name}");
                CredentialsError::TokenRequestFailed { account, why, passing }
            };
            let accounts: Api<ServiceAccount> = Api::namespaced(client, &namespace);
            let spec = TokenRequestSpec {
                audiences: vec![AUDIENCE.into()],
                expiration_seconds: Some(TOKEN_LIFETIME_SECONDS),
                ..TokenRequestSpec::default()
            };
            let request = TokenRequest { spec, ..TokenRequest::default() };
            let params = PostParams::default();
            let call = accounts.create_token_request(&name, &params, &request);
            let answer = match tokio::time::timeout(REQUEST_TIMEOUT, call).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
                    return Err(failed("it does not exist: create it".into(), false));
                }
                Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                    let why = "the operator may not ask for it: allow it in this namespace, see deploy/tenant-tokens";
                    return Err(failed(why.into(), false));
                }
                Ok(Err(kube::Error::Api(status))) => return Err(failed(status.message.clone(), true)),
                Ok(Err(_)) | Err(_) => return Err(failed("the Kubernetes API did not answer".into(), true)),
            };
            match answer.status {
                Some(status) if !status.token.is_empty() => Ok(status.token.into()),
                Some(_) | None => Err(failed("the Kubernetes API gave none".into(), true)),
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(username: &str, password: Option<&str>) -> Content {
        [Some(username.into()), password.map(Into::into)]
    }

    #[test]
    fn content_hash_recognizes_its_content_only() {
        let ours = content("replicator", Some("hunter22"));
        let hash = content_hash(&ours, 2);
        assert!(has_content(&hash, &ours, 2));
        for other in [
            content("replicator", Some("hunter23")),
            content("replicatorh", Some("unter22")),
            content("replicator", None),
        ] {
            assert!(!has_content(&hash, &other, 2));
        }
        assert!(!hash.contains("hunter22"));
        assert_ne!(hash, content_hash(&ours, 2), "it is salted");
        for broken in ["", "00", "hunter22"] {
            assert!(!has_content(broken, &ours, 2));
        }
    }
}
