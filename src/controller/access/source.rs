//! The source of credentials: the one that an account names, or the operator's own identity.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use kube::Client;

use super::AccountError;
use crate::api::account::{AlibabaCloudAccountSpec, CredentialsSource, OidcCredentials};
use crate::cloud;
use crate::cloud::credentials::cache::{CredentialsCache, OnChange};
use crate::cloud::credentials::chain;
use crate::cloud::credentials::oidc::{TOKEN_FILE, TokenSource};
use crate::cloud::credentials::services::Services;
use crate::cloud::credentials::{CredentialsError, ecs_role, environment, oidc, profile};
use crate::cloud::endpoint;
use crate::cloud::sts::Sts;
use crate::controller::{Settings, secrets};

/// The variables of the operator's environment that name the source of its own credentials. `Debug` shows none of them.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// The variables of this process that the standard chain knows, and `HOME`.
    pub fn of_this_process() -> Self {
        let known = |name: &str| name.starts_with("ALIBABA_CLOUD_") || name == "HOME";
        Self(std::env::vars().filter(|(name, _)| known(name)).collect())
    }

    /// The lookup that the sources use.
    fn lookup(&self) -> cloud::credentials::Variables {
        let variables = self.clone();
        Arc::new(move |name| variables.get(name))
    }

    /// The value of a variable, unless it is empty.
    pub fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }
}

impl FromIterator<(String, String)> for Variables {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(all: T) -> Self {
        Self(all.into_iter().collect())
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Variables([redacted])")
    }
}

/// The settings and clients that all accounts share.
pub(super) struct Installation<'a> {
    pub(super) kubernetes: &'a Client,
    pub(super) cloud: &'a cloud::client::Client,
    pub(super) settings: &'a Settings,
}

/// The credentials of the one source that the spec names.
pub(super) fn credentials(
    installation: &Installation<'_>,
    namespace: &str,
    account: &str,
    source: &CredentialsSource,
    sts: &Sts,
    on_change: &OnChange,
) -> Result<CredentialsCache, AccountError> {
    let settings = installation.settings;
    let renewed = |provider| CredentialsCache::renewed(provider, settings.retry_interval, on_change.clone());
    let read = |provider| CredentialsCache::read_each_time(provider, on_change.clone());
    match source {
        CredentialsSource { secret_ref: Some(secret), oidc: None, ecs_role: None, environment: None } => {
            let (client, namespace) = (installation.kubernetes.clone(), namespace.to_owned());
            Ok(read(secrets::access_key(client, namespace, secret.name.clone())))
        }
        CredentialsSource { secret_ref: None, oidc: Some(oidc), ecs_role: None, environment: None } => {
            let OidcCredentials { role_arn, provider_arn, session_name: session, .. } = oidc;
            let token = token_source(installation, namespace, account, oidc)?;
            let (role_arn, provider_arn) = (role_arn.clone(), provider_arn.clone());
            let assumed = oidc::Assumed { role_arn, provider_arn, session_name: session_name(session.as_ref()) };
            Ok(renewed(oidc::of(sts.clone(), assumed, token)))
        }
        CredentialsSource { secret_ref: None, oidc: None, ecs_role: Some(role), environment: None } => {
            require_own_identity(settings, namespace, "the RAM role of the operator's ECS instance (ecsRole)")?;
            let base = metadata_endpoint(settings);
            Ok(renewed(ecs_role::of(installation.cloud.http(), base, role.name.clone())))
        }
        CredentialsSource { secret_ref: None, oidc: None, ecs_role: None, environment: Some(_) } => {
            require_own_identity(settings, namespace, "the variables of the operator's own pod (environment)")?;
            Ok(read(environment::of(settings.variables.lookup())))
        }
        // The CRD refuses it. For an object that is older than the CRD the operator does not guess.
        CredentialsSource { .. } => {
            let why = CredentialsError::NoSource("set one of secretRef, oidc, ecsRole and environment".into());
            Err(AccountError::credentials(Some(account), why))
        }
    }
}

/// Refuses a source that rests on the operator's own identity in a namespace that may not use it.
fn require_own_identity(settings: &Settings, namespace: &str, what: &'static str) -> Result<(), AccountError> {
    match settings.may_use_own_identity(namespace) {
        true => Ok(()),
        false => Err(AccountError::NotAllowed { namespace: namespace.to_owned(), what }),
    }
}

/// The OIDC tokens of an account: those of a service account in its namespace, or the one of the operator's pod.
fn token_source(
    installation: &Installation<'_>,
    namespace: &str,
    account: &str,
    oidc: &OidcCredentials,
) -> Result<TokenSource, AccountError> {
    if let Some(service_account) = &oidc.service_account_ref {
        let (client, namespace) = (installation.kubernetes.clone(), namespace.to_owned());
        return Ok(secrets::service_account_token(client, namespace, service_account.name.clone()));
    }
    let settings = installation.settings;
    let what = "the token of the operator's own pod (oidc without serviceAccountRef)";
    require_own_identity(settings, namespace, what)?;
    match settings.variables.get(TOKEN_FILE) {
        Some(file) => Ok(oidc::file(PathBuf::from(file))),
        None => Err(AccountError::credentials(Some(account), CredentialsError::VariableMissing(TOKEN_FILE))),
    }
}

/// Whether two specs have the same credentials from the same source.
pub(super) fn same_credentials(one: &AlibabaCloudAccountSpec, other: &AlibabaCloudAccountSpec) -> bool {
    let sts = |it: &AlibabaCloudAccountSpec| it.endpoints.as_ref().and_then(|it| it.sts.clone());
    one.credentials == other.credentials && one.assume_role == other.assume_role && sts(one) == sts(other)
}

/// The name of a session: the one of the spec, or the default.
pub(super) fn session_name(name: Option<&String>) -> String {
    name.cloned().unwrap_or_else(|| oidc::DEFAULT_SESSION_NAME.into())
}

fn metadata_endpoint(settings: &Settings) -> String {
    settings.metadata_endpoint.clone().unwrap_or_else(ecs_role::base)
}

/// The endpoint of STS by the variables of the official SDK, for an account that names none.
pub(super) fn sts_endpoint(variables: &Variables) -> String {
    let vpc = variables.get(endpoint::VPC_ENDPOINT_ENABLED).is_some_and(|it| it.eq_ignore_ascii_case("true"));
    endpoint::sts(variables.get(endpoint::STS_REGION).as_deref(), vpc)
}

/// The operator's own credentials: those of its Secret, else of the standard chain of the official SDK.
pub(super) fn operator_credentials(installation: &Installation<'_>) -> CredentialsCache {
    let Installation { kubernetes, cloud, settings } = installation;
    let no_trigger: OnChange = Arc::new(|| {});
    if let Some(secret) = &settings.credentials_secret {
        let (namespace, name) = (secret.namespace.clone(), secret.name.clone());
        return CredentialsCache::read_each_time(
            secrets::access_key((*kubernetes).clone(), namespace, name),
            no_trigger,
        );
    }
    let services = Services {
        client: (*cloud).clone(),
        http: cloud.http(),
        sts: settings.sts_endpoint.clone(),
        metadata: metadata_endpoint(settings),
    };
    let variables = settings.variables.lookup();
    let chain = chain::of(services, profile::default_path(&*variables), variables);
    CredentialsCache::renewed(chain, settings.retry_interval, no_trigger)
}
