//! The operator's own credentials, from the first configured source of the standard chain: the environment, a token of
//! its service account (RRSA), a profile of the vendor's command line, the RAM role of its ECS instance.
//!
//! Source of the order: the official SDK. The chain leaves out the SDK's INI file, which nothing around the operator
//! writes, and its credentials URI, which would trust any server. The SDK continues with the next source when one
//! fails. This chain stays with the configured one, since an operator must not change its identity because STS was down
//! for a second.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::profile::{self, Chosen};
use super::services::Services;
use super::{CredentialsError, Issued, Provider, Variables, ecs_role, environment, is_true, oidc, provider, variable};
use crate::cloud::sts::Sts;

/// One of the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Environment,
    Oidc,
    Profile,
    EcsRole,
}

/// The source to ask now, with its configuration.
enum Next {
    Environment,
    Oidc(oidc::Assumed, PathBuf),
    Profile(Chosen),
    EcsRole,
}

/// Credentials of the first configured source: both variables of a key, all three of RRSA, a `profile` file with the
/// selected profile (absent if the home is unknown), the metadata service unless it is disabled. If a configured source
/// fails, that is the error, and no other is asked. After a source gave credentials once, only that source is asked.
pub fn of(services: Services, profile: Option<PathBuf>, variables: Variables) -> Provider {
    let used: Arc<Mutex<Option<Source>>> = Arc::default();
    provider(move || {
        let (services, profile, variables, used) = (services.clone(), profile.clone(), variables.clone(), used.clone());
        async move {
            let only = *used.lock().unwrap_or_else(PoisonError::into_inner);
            let next = next(profile, &variables, only).await?;
            let source = next.source();
            let issued =
                next.issued(&services, &variables).await.map_err(|error| with_alternatives(error, source, only))?;
            if only.is_none() {
                tracing::info!(identity = issued.identity, ?source, "the operator has an identity");
                *used.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
            }
            Ok(issued)
        }
    })
}

/// The first configured source, or the `only` one that may be asked.
async fn next(profile: Option<PathBuf>, variables: &Variables, only: Option<Source>) -> Result<Next, CredentialsError> {
    let counts = |source| only.is_none_or(|only| only == source);
    let get = |name| variable(&**variables, name);
    let key = [environment::ACCESS_KEY_ID, environment::ACCESS_KEY_SECRET].map(get);
    if counts(Source::Environment) && key.iter().all(Option::is_some) {
        return Ok(Next::Environment);
    }
    if let (true, Some(role_arn), Some(provider_arn), Some(file)) =
        (counts(Source::Oidc), get(oidc::ROLE_ARN), get(oidc::PROVIDER_ARN), get(oidc::TOKEN_FILE))
    {
        let session_name = get(oidc::SESSION_NAME).unwrap_or_else(|| oidc::DEFAULT_SESSION_NAME.into());
        return Ok(Next::Oidc(oidc::Assumed { role_arn, provider_arn, session_name }, file.into()));
    }
    if let (true, Some(file)) = (counts(Source::Profile), &profile) {
        match profile::chosen(file, variables).await? {
            Some(chosen) => return Ok(Next::Profile(chosen)),
            None if only.is_some() => {
                let why =
                    format!("{} had one and has it no more: put it back, or restart the operator", file.display());
                return Err(CredentialsError::ProfileUnusable(why));
            }
            None => {}
        }
    }
    if counts(Source::EcsRole) && !is_true(&**variables, ecs_role::DISABLED) {
        return Ok(Next::EcsRole);
    }
    Err(CredentialsError::NoSource(format!(
        "{}, and {}=true: give it one of them",
        sources_without_credentials(),
        ecs_role::DISABLED
    )))
}

impl Next {
    fn source(&self) -> Source {
        match self {
            Self::Environment => Source::Environment,
            Self::Oidc(..) => Source::Oidc,
            Self::Profile(_) => Source::Profile,
            Self::EcsRole => Source::EcsRole,
        }
    }

    async fn issued(self, services: &Services, variables: &Variables) -> Result<Issued, CredentialsError> {
        match self {
            Self::Environment => environment::read(&**variables).map(Issued::without_expiry),
            Self::Oidc(assumed, file) => {
                let sts = Sts::new(services.client.clone(), services.sts(variables, None, None));
                oidc::of(sts, assumed, oidc::file(file))().await
            }
            Self::Profile(chosen) => chosen.issued(services, variables).await,
            Self::EcsRole => {
                let role = variable(&**variables, ecs_role::ROLE);
                ecs_role::ask(&services.http, &services.metadata, role.as_deref()).await
            }
        }
    }
}

/// Adds the other sources to the error of the metadata service, for a person who did not mean to use the instance's
/// role.
fn with_alternatives(error: CredentialsError, source: Source, only: Option<Source>) -> CredentialsError {
    match error {
        CredentialsError::MetadataUnavailable(why) if source == Source::EcsRole && only.is_none() => {
            CredentialsError::MetadataUnavailable(format!("{why} ({})", sources_without_credentials()))
        }
        error => error,
    }
}

fn sources_without_credentials() -> String {
    format!(
        "neither {} and {} are set, nor {}, {} and {}, nor is there a profile in ~/.aliyun/config.json",
        environment::ACCESS_KEY_ID,
        environment::ACCESS_KEY_SECRET,
        oidc::ROLE_ARN,
        oidc::PROVIDER_ARN,
        oidc::TOKEN_FILE,
    )
}
