//! A profile in the configuration file of the vendor's command line (`aliyun`), read again each time.
//!
//! Source of the file's fields: the official credentials libraries for Python and Go. Sessions have the duration of
//! every other source, whatever `expired_seconds` says, and no session policy is sent.

use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

use super::oidc::{self, DEFAULT_SESSION_NAME};
use super::services::Services;
use super::signer::Signer;
use super::{Credentials, CredentialsError, Issued, Provider, Variables, ecs_role, is_true, provider, variable};
use crate::cloud::sts::{RoleRequest, Sts, failed};

/// Variable of the official SDKs: the name of the profile, optional. The default is the file's `current`.
pub const PROFILE: &str = "ALIBABA_CLOUD_PROFILE";
/// Variable of the official SDKs: `true` if the file must not be read.
pub const DISABLED: &str = "ALIBABA_CLOUD_CLI_PROFILE_DISABLED";
/// Maximum profiles in a chain of `source_profile`.
const MAX_SOURCE_PROFILES: usize = 5;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    current: Option<String>,
    #[serde(default)]
    profiles: Option<Vec<Profile>>,
}

/// One profile. A null, missing or empty field counts as absent.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Profile {
    name: Option<String>,
    mode: Option<String>,
    access_key_id: Option<String>,
    #[serde(deserialize_with = "hidden")]
    access_key_secret: Option<SecretString>,
    #[serde(deserialize_with = "hidden")]
    sts_token: Option<SecretString>,
    ram_role_arn: Option<String>,
    ram_role_name: Option<String>,
    ram_session_name: Option<String>,
    /// The library for Python reads the session's name of an OIDC profile here, the one for Go from `ram_session_name`.
    role_session_name: Option<String>,
    external_id: Option<String>,
    source_profile: Option<String>,
    oidc_provider_arn: Option<String>,
    oidc_token_file: Option<String>,
    sts_region: Option<String>,
    enable_vpc: Option<bool>,
}

/// The selected profile, with all profiles of the file, since it may refer to others.
pub(super) struct Chosen {
    profiles: Vec<Profile>,
    name: String,
}

/// The path of the file, if the environment names the home.
pub fn default_path(variables: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    variable(variables, "HOME").map(|home| Path::new(&home).join(".aliyun").join("config.json"))
}

/// The credentials of the selected profile in `file`. Some modes ask `services`.
pub fn of(services: Services, file: PathBuf, variables: Variables) -> Provider {
    provider(move || {
        let (services, file, variables) = (services.clone(), file.clone(), variables.clone());
        async move {
            match chosen(&file, &variables).await? {
                Some(chosen) => chosen.issued(&services, &variables).await,
                None => Err(unusable(format!("{} has none that is meant: name one in {PROFILE}", file.display()))),
            }
        }
    })
}

/// Reads the file and finds the selected profile. None if the file must not be read, does not exist or has no such
/// profile; but a profile that the environment names must exist.
pub(super) async fn chosen(file: &Path, variables: &Variables) -> Result<Option<Chosen>, CredentialsError> {
    if is_true(&**variables, DISABLED) {
        return Ok(None);
    }
    let named = variable(&**variables, PROFILE);
    let shown = file.display();
    let text = match tokio::fs::read(file).await {
        Ok(text) => text,
        Err(error) => {
            let missing = matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory);
            return match named {
                None if missing => Ok(None),
                _ => Err(unusable(format!("{shown} cannot be read: {}", error.kind()))),
            };
        }
    };
    // The parser's error may quote a value.
    let Ok(File { current, profiles }) = serde_json::from_slice(&text) else {
        return Err(unusable(format!("{shown} is not the JSON that `aliyun configure` writes")));
    };
    let profiles = profiles.unwrap_or_default();
    let explicit = named.is_some();
    let Some(name) = named.or_else(|| given(current.as_deref()).map(Into::into)) else { return Ok(None) };
    match find(&profiles, &name) {
        Some(_) => Ok(Some(Chosen { profiles, name })),
        None if explicit => Err(unusable(format!("{PROFILE} names {name:?}, and {shown} has no such profile"))),
        None => Ok(None),
    }
}

impl Chosen {
    /// The credentials of the profile.
    pub(super) async fn issued(&self, services: &Services, variables: &Variables) -> Result<Issued, CredentialsError> {
        self.of_profile(&self.name, MAX_SOURCE_PROFILES, services, variables).await
    }

    fn of_profile<'a>(
        &'a self,
        name: &'a str,
        steps: usize,
        services: &'a Services,
        variables: &'a Variables,
    ) -> BoxFuture<'a, Result<Issued, CredentialsError>> {
        Box::pin(async move {
            let wrong = |why: &str| unusable(format!("profile {name:?} {why}"));
            let profile = find(&self.profiles, name).ok_or_else(|| wrong("does not exist"))?;
            let need = |value: &Option<String>, field: &str| {
                given(value.as_deref()).map(str::to_owned).ok_or_else(|| wrong(&format!("has no {field}")))
            };
            let session = [&profile.ram_session_name, &profile.role_session_name];
            let session = session.into_iter().find_map(|name| given(name.as_deref()));
            let session_name = session.unwrap_or(DEFAULT_SESSION_NAME).to_owned();
            let sts = || {
                let region = given(profile.sts_region.as_deref());
                Sts::new(services.client.clone(), services.sts(variables, region, profile.enable_vpc))
            };
            match given(profile.mode.as_deref()) {
                Some("AK") => Ok(Issued::without_expiry(profile.key(name)?)),
                Some("StsToken") => {
                    let token = secret(&profile.sts_token).ok_or_else(|| wrong("has no sts_token"))?;
                    Ok(Issued::without_expiry(Credentials { security_token: Some(token), ..profile.key(name)? }))
                }
                Some(mode @ ("RamRoleArn" | "ChainableRamRoleArn")) => {
                    let base = if mode == "RamRoleArn" {
                        profile.key(name)?
                    } else {
                        let source = need(&profile.source_profile, "source_profile")?;
                        let steps = steps.checked_sub(1).ok_or_else(|| {
                            wrong("is reached through too many others, or through itself: correct source_profile")
                        })?;
                        self.of_profile(&source, steps, services, variables).await?.credentials
                    };
                    let external_id = given(profile.external_id.as_deref()).map(str::to_owned);
                    let role_arn = need(&profile.ram_role_arn, "ram_role_arn")?;
                    let request = RoleRequest { role_arn, external_id, session_name };
                    sts().assume_role(Signer::fixed(base), &request).await.map_err(failed)
                }
                Some("OIDC") => {
                    let role_arn = need(&profile.ram_role_arn, "ram_role_arn")?;
                    let provider_arn = need(&profile.oidc_provider_arn, "oidc_provider_arn")?;
                    let token = need(&profile.oidc_token_file, "oidc_token_file")?;
                    let assumed = oidc::Assumed { role_arn, provider_arn, session_name };
                    oidc::of(sts(), assumed, oidc::file(token.into()))().await
                }
                Some("EcsRamRole") if is_true(&**variables, ecs_role::DISABLED) => {
                    Err(wrong(&format!("has mode EcsRamRole, and {} forbids to ask for it", ecs_role::DISABLED)))
                }
                Some("EcsRamRole") => {
                    let role = given(profile.ram_role_name.as_deref()).map(str::to_owned);
                    let role = role.or_else(|| variable(&**variables, ecs_role::ROLE));
                    ecs_role::ask(&services.http, &services.metadata, role.as_deref()).await
                }
                Some(mode) if mode.len() <= 40 && mode.bytes().all(|c| c.is_ascii_alphanumeric()) => {
                    let known = "AK, StsToken, RamRoleArn, ChainableRamRoleArn, OIDC or EcsRamRole";
                    Err(wrong(&format!("has mode {mode}, which is not supported: use {known}")))
                }
                Some(_) => Err(wrong("has a mode that is not known")),
                None => Err(wrong("has no mode: run `aliyun configure`")),
            }
        })
    }
}

impl Profile {
    fn key(&self, name: &str) -> Result<Credentials, CredentialsError> {
        let missing = |field: &str| unusable(format!("profile {name:?} has no {field}"));
        Ok(Credentials {
            access_key_id: given(self.access_key_id.as_deref()).ok_or_else(|| missing("access_key_id"))?.to_owned(),
            access_key_secret: secret(&self.access_key_secret).ok_or_else(|| missing("access_key_secret"))?,
            security_token: None,
        })
    }
}

fn hidden<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(Into::into))
}

fn find<'a>(profiles: &'a [Profile], name: &str) -> Option<&'a Profile> {
    profiles.iter().find(|profile| profile.name.as_deref() == Some(name))
}

fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

fn secret(text: &Option<SecretString>) -> Option<SecretString> {
    given(text.as_ref().map(ExposeSecret::expose_secret)).map(Into::into)
}

fn unusable(why: String) -> CredentialsError {
    CredentialsError::ProfileUnusable(why)
}
