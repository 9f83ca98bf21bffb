//! User names and passwords of instances, from the Secrets that the spec refers to, and which version of each was sent.

use std::collections::BTreeMap;

use kube::Client;
use secrecy::{ExposeSecret, SecretString};

use super::Scope;
use crate::api::plan::{AuthType, DisasterRecoveryPlanSpec, InstanceType, SentCredentials};
use crate::cloud::credentials::{CredentialsError, secret};
use crate::controller::{Context, secrets};

/// User name and password of an instance, from a Secret.
#[derive(Clone, Debug)]
pub struct AclCredentials {
    /// The user name.
    pub username: SecretString,
    /// The password; absent for Alibaba Cloud's own instances.
    pub password: Option<SecretString>,
    /// The Secret's name.
    pub secret_name: String,
    /// The first resourceVersion of the Secret with its present content, as far as is known.
    pub resource_version: String,
    /// A salted, slow hash of the content.
    pub content_hash: String,
}

/// Reads the user names and passwords that the spec refers to.
pub async fn acl_credentials(
    client: &Client,
    namespace: &str,
    spec: &DisasterRecoveryPlanSpec,
) -> Result<BTreeMap<String, AclCredentials>, CredentialsError> {
    let mut all = BTreeMap::new();
    for instance in &spec.instances {
        let (Some(AuthType::Acl), Some(reference)) = (instance.auth_type, &instance.credentials_secret_ref) else {
            continue;
        };
        let found = secrets::read(client, namespace, &reference.name).await?;
        let full_name = format!("{namespace}/{}", reference.name);
        let data: BTreeMap<_, _> =
            found.data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0)).collect();
        let password = match instance.instance_type {
            InstanceType::External => Some(secret::text(&full_name, &data, "password")?),
            InstanceType::Aliyun => None,
        };
        let username = secret::text(&full_name, &data, "username")?;
        let resource_version = found.metadata.resource_version.unwrap_or_default();
        let secret_name = reference.name.clone();
        let content_hash = String::new();
        let credentials = AclCredentials { username, password, secret_name, resource_version, content_hash };
        all.insert(instance.name.clone(), credentials);
    }
    Ok(all)
}

/// A hash of user names and passwords, or of what is wrong with their Secrets, under a key of this process.
pub fn fingerprint(ctx: &Context, found: Result<&BTreeMap<String, AclCredentials>, &CredentialsError>) -> u64 {
    match found {
        Ok(all) => {
            let content = all.iter().map(|(instance, it)| {
                let password = it.password.as_ref().map(ExposeSecret::expose_secret);
                (instance, &it.secret_name, it.username.expose_secret(), password)
            });
            ctx.hash(content.collect::<Vec<_>>())
        }
        Err(error) => ctx.hash(error.to_string()),
    }
}

/// Gives each Secret the first version with its present content, so that a new label does not count as a rotation: as far as this
/// process has seen it, and as far as the hash of the sent content proves it.
pub async fn with_content_versions(
    scope: &Scope<'_>,
    ctx: &Context,
    mut all: BTreeMap<String, AclCredentials>,
) -> BTreeMap<String, AclCredentials> {
    for (instance, it) in &mut all {
        let mut sent = scope.status.sent_credentials.iter();
        let sent = sent.find(|sent| sent.instance == *instance && sent.secret_name == it.secret_name);
        match sent.filter(|sent| sent.resource_version == it.resource_version && !sent.content_hash.is_empty()) {
            Some(sent) => it.content_hash.clone_from(&sent.content_hash),
            None => with_content_version(scope.namespace(), ctx, it, sent).await,
        }
    }
    all
}

/// As [`with_content_versions`], for one Secret whose resourceVersion is not the one that was sent.
async fn with_content_version(namespace: &str, ctx: &Context, it: &mut AclCredentials, sent: Option<&SentCredentials>) {
    let rounds = ctx.settings.content_hash_rounds;
    let name = format!("{namespace}/{} {}", it.secret_name, it.password.is_some());
    let content = [Some(it.username.clone()), it.password.clone()];
    let texts = (it.username.expose_secret(), it.password.as_ref().map(ExposeSecret::expose_secret));
    let mut known = ctx.known_content(&name, texts, &it.resource_version);
    let sent = sent.filter(|sent| !sent.content_hash.is_empty());
    let unknown = sent.map(|sent| sent.content_hash.clone());
    let unknown = unknown.filter(|hash| !known.hashes.contains(hash) && !known.others.contains(hash));
    if unknown.is_some() || known.hashes.is_empty() {
        // Hashes are slow: each process computes each of them once.
        let before = known.clone();
        let slow = tokio::task::spawn_blocking(move || {
            if known.hashes.is_empty() {
                known.hashes.push(secrets::content_hash(&content, rounds));
            }
            if let Some(hash) = unknown {
                match secrets::has_content(&hash, &content, rounds) {
                    true => known.hashes.push(hash),
                    false => known.others.push(hash),
                }
            }
            known
        });
        known = slow.await.unwrap_or(before);
        ctx.remember_content(&name, texts, &known);
    }
    let same = sent.filter(|sent| known.hashes.contains(&sent.content_hash));
    it.resource_version = same.map_or(known.version, |sent| sent.resource_version.clone());
    it.content_hash = same.map(|sent| sent.content_hash.clone()).or(known.hashes.first().cloned()).unwrap_or_default();
}
