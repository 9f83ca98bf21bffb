//! The RAM role of the ECS instance that the operator runs on, from the instance's metadata service.
//!
//! Only the second version of the service is used: with the first, one GET that an attacker makes the operator send
//! would return the key. Source: the official SDK for Python.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request};
use jiff::Timestamp;
use serde::Deserialize;
use tower::ServiceExt;

use super::{Credentials, CredentialsError, Issued, Provider, provider};
use crate::cloud::client::{Bytes, HttpService, METADATA_HOST};
use crate::cloud::sign;

/// Variable of the official SDKs: the name of the role, optional.
pub const ROLE: &str = "ALIBABA_CLOUD_ECS_METADATA";
/// Variable of the official SDKs: `true` if the metadata service must not be asked.
pub const DISABLED: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";

const TOKEN_PATH: &str = "/latest/api/token";
const ROLES_PATH: &str = "/latest/meta-data/ram/security-credentials/";
/// Lifetime of the metadata service's token in seconds, as in the official SDK.
const TOKEN_SECONDS: HeaderValue = HeaderValue::from_static("21600");
const TOKEN_SECONDS_HEADER: HeaderName = HeaderName::from_static("x-aliyun-ecs-metadata-token-ttl-seconds");
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-aliyun-ecs-metadata-token");
/// Timeout of one request. The official SDK waits 1 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Scheme and authority of the metadata service.
pub fn base() -> String {
    format!("http://{METADATA_HOST}")
}

/// Credentials of a role of the instance; without a name, of the instance's only one. `base` is scheme and authority of
/// the metadata service, usually [`base`].
pub fn of(http: HttpService, base: String, role: Option<String>) -> Provider {
    provider(move || {
        let (http, base, role) = (http.clone(), base.clone(), role.clone());
        async move { ask(&http, &base, role.as_deref()).await }
    })
}

/// Requests the credentials once.
pub(super) async fn ask(http: &HttpService, base: &str, role: Option<&str>) -> Result<Issued, CredentialsError> {
    let role = match role {
        Some(role) if matches!(role, "" | "." | "..") => {
            return Err(unavailable(format!("{role:?} is no name of a RAM role: correct {ROLE} or the CLI profile")));
        }
        role => role,
    };
    let token = token(http, base).await?;
    let role = match role {
        Some(role) => role.to_owned(),
        None => only_role(http, base, &token).await?,
    };
    let (status, body) = get(http, base, &format!("{ROLES_PATH}{}", sign::encode(&role)), &token).await?;
    match status {
        200 => issued(&role, &body),
        404 => Err(unavailable(format!(
            "the instance has no RAM role {role:?}: attach it to the instance, or name the one that it has in {ROLE}"
        ))),
        status => Err(unavailable(format!("HTTP {status} for RAM role {role:?}: check that the role is attached"))),
    }
}

async fn token(http: &HttpService, base: &str) -> Result<HeaderValue, CredentialsError> {
    let request = request(base, TOKEN_PATH, Method::PUT, TOKEN_SECONDS_HEADER, TOKEN_SECONDS)?;
    let (status, body) = send(http, request).await?;
    let token = HeaderValue::from_bytes(body.trim_ascii()).ok().filter(|token| status == 200 && !token.is_empty());
    let Some(mut token) = token else {
        return Err(unavailable(format!(
            "HTTP {status} and no token: allow the instance's metadata service, and a hop more where a container has its own network"
        )));
    };
    token.set_sensitive(true);
    Ok(token)
}

async fn only_role(http: &HttpService, base: &str, token: &HeaderValue) -> Result<String, CredentialsError> {
    let (status, body) = get(http, base, ROLES_PATH, token).await?;
    let none = "the instance has no RAM role: attach one to it, or give the operator other credentials";
    if status != 200 {
        let why = if status == 404 { none.to_owned() } else { format!("HTTP {status} for the name of the RAM role") };
        return Err(unavailable(why));
    }
    // The name is shown to people and becomes a part of a path, so only a plain name is accepted.
    let name = std::str::from_utf8(body.trim_ascii()).unwrap_or_default();
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    match name {
        "" => Err(unavailable(none.into())),
        "." | ".." => Err(unavailable("its list of RAM roles is not understood".into())),
        name if name.len() <= 64 && name.bytes().all(plain) => Ok(name.to_owned()),
        _ => Err(unavailable(format!("its list of RAM roles is not understood: name the role in {ROLE}"))),
    }
}

async fn get(
    http: &HttpService,
    base: &str,
    path: &str,
    token: &HeaderValue,
) -> Result<(u16, Bytes), CredentialsError> {
    send(http, request(base, path, Method::GET, TOKEN_HEADER, token.clone())?).await
}

fn request(
    base: &str,
    path: &str,
    method: Method,
    name: HeaderName,
    value: HeaderValue,
) -> Result<Request<Bytes>, CredentialsError> {
    let request = Request::builder().method(method).uri(format!("{base}{path}")).header(name, value);
    request.body(Bytes::new()).map_err(|error| unavailable(format!("it cannot be asked: {error}")))
}

async fn send(http: &HttpService, request: Request<Bytes>) -> Result<(u16, Bytes), CredentialsError> {
    let unreachable = |why: String| {
        unavailable(format!("{why}; where the operator does not run on an ECS instance, set {DISABLED}=true"))
    };
    match tokio::time::timeout(REQUEST_TIMEOUT, http.clone().oneshot(request)).await {
        Err(_) => Err(unreachable(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()))),
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Ok(Ok(answer)) => Ok((answer.status().as_u16(), answer.into_body())),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    code: String,
    #[serde(default)]
    access_key_id: String,
    #[serde(default)]
    access_key_secret: String,
    #[serde(default)]
    security_token: String,
    expiration: Option<Timestamp>,
}

fn issued(role: &str, body: &[u8]) -> Result<Issued, CredentialsError> {
    let not_understood = || unavailable(format!("its answer for RAM role {role:?} is not understood"));
    // The answer may hold secrets, so the error quotes none of it.
    let answer: Answer = serde_json::from_slice(body).map_err(|_| not_understood())?;
    let Answer { code, access_key_id, access_key_secret, security_token, expiration } = answer;
    if code != "Success" {
        let told = "it has no success with RAM role";
        return Err(unavailable(format!("{told} {role:?}: check that the role exists and that ECS may assume it")));
    }
    let whole = [&access_key_id, &access_key_secret, &security_token].into_iter().all(|text| !text.is_empty());
    let (Some(expires), true) = (expiration, whole) else { return Err(not_understood()) };
    let credentials = Credentials {
        access_key_id,
        access_key_secret: access_key_secret.into(),
        security_token: Some(security_token.into()),
    };
    Ok(Issued { credentials, expires: Some(expires), identity: format!("ECS RAM role {role}") })
}

fn unavailable(why: String) -> CredentialsError {
    CredentialsError::MetadataUnavailable(why)
}
