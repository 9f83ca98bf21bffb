//! Security Token Service (STS) 2015-04-01: temporary credentials of RAM roles.
//!
//! Source: OpenAPI metadata; the official credentials libraries for Python and Go.

use std::borrow::Cow;

use http::Method;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::client::{Body, Call, Client, Data, Style, Target};
use super::credentials::signer::Signer;
use super::credentials::{Credentials, CredentialsError, Issued};
use super::error::{Class, Error};
use super::operation::ApiOperation;
use super::rate_limit::Priority;
use super::sign;

/// The product's name in metrics.
pub const PRODUCT: &str = "sts";
/// The version of the API.
pub const VERSION: &str = "2015-04-01";
/// Calls a second of each operation and account: 90 % of the published limit (help page "api-sts-quota").
pub const REQUESTS_PER_SECOND: u32 = 90;
/// Duration of a session in seconds: the default of the API, which every role allows.
const SESSION_SECONDS: &str = "3600";

/// STS at one endpoint.
#[derive(Clone)]
pub struct Sts {
    client: Client,
    endpoint: String,
}

/// Parameters of [`Sts::assume_role`].
#[derive(Clone, Debug)]
pub struct RoleRequest {
    /// The ARN of the role.
    pub role_arn: String,
    /// The external ID, if the role's trust policy asks for one.
    pub external_id: Option<String>,
    /// The name of the session, 2 to 64 characters.
    pub session_name: String,
}

/// Parameters of [`Sts::assume_role_with_oidc`].
#[derive(Clone, Debug)]
pub struct OidcRequest {
    /// The ARN of the role.
    pub role_arn: String,
    /// The ARN of the OIDC identity provider.
    pub provider_arn: String,
    /// The name of the session, 2 to 64 characters.
    pub session_name: String,
    /// The token, 4 to 20,000 characters.
    pub token: SecretString,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Credentials")]
    credentials: Session,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Session {
    access_key_id: String,
    access_key_secret: String,
    security_token: String,
    expiration: Timestamp,
}

impl Sts {
    /// STS at `endpoint`, which is scheme and authority.
    pub fn new(client: Client, endpoint: String) -> Self {
        Self { client, endpoint }
    }

    /// The time, by the clock of the client.
    pub fn now(&self) -> Timestamp {
        self.client.clock().now()
    }

    /// Temporary credentials of a role, for a caller that the role trusts. `base` signs the call.
    pub async fn assume_role(&self, base: Signer, request: &RoleRequest) -> Result<Issued, Error> {
        let RoleRequest { role_arn, external_id, session_name } = request;
        let mut query: Vec<(Cow<'static, str>, String)> = vec![
            ("RoleArn".into(), role_arn.clone()),
            ("RoleSessionName".into(), session_name.clone()),
            ("DurationSeconds".into(), SESSION_SECONDS.into()),
        ];
        query.extend(external_id.clone().map(|id| ("ExternalId".into(), id)));
        let call = Call { query, ..call(ApiOperation::AssumeRole) };
        let answer = self.client.send(&self.target(Some(base)), &call).await?;
        issued(ApiOperation::AssumeRole, role_arn, &answer)
    }

    /// Temporary credentials of a role, for a token of an OIDC identity provider that the role trusts. The call is
    /// unsigned. The token is in the body, so that no log of URLs contains it (as in the official library for Go).
    pub async fn assume_role_with_oidc(&self, request: &OidcRequest) -> Result<Issued, Error> {
        let OidcRequest { role_arn, provider_arn, session_name, token } = request;
        let form = sign::canonical_query(&[
            ("RoleArn", role_arn.as_str()),
            ("OIDCProviderArn", provider_arn),
            ("OIDCToken", token.expose_secret()),
            ("RoleSessionName", session_name),
            ("DurationSeconds", SESSION_SECONDS),
        ]);
        let call = Call {
            body: Some(Body::form(form)),
            secrets: vec![token.clone()],
            ..call(ApiOperation::AssumeRoleWithOidc)
        };
        let answer = self.client.send(&self.target(None), &call).await?;
        issued(ApiOperation::AssumeRoleWithOidc, role_arn, &answer)
    }

    fn target(&self, signer: Option<Signer>) -> Target {
        let (endpoint, region) = (self.endpoint.clone(), String::new());
        Target { product: PRODUCT, version: VERSION, endpoint, region, signer, priority: Priority::Change }
    }
}

/// A call that is safe to repeat: an unused session changes nothing.
fn call(operation: ApiOperation) -> Call {
    Call {
        operation,
        method: Method::POST,
        path: "/".into(),
        query: vec![],
        body: None,
        style: Style::Rpc,
        changing: false,
        repeatable: true,
        secrets: vec![],
    }
}

fn issued(operation: ApiOperation, role_arn: &str, answer: &Data) -> Result<Issued, Error> {
    let Ok(Answer { credentials }) = answer.read() else {
        // The answer may hold secrets, so the error quotes none of it.
        let message = "the answer holds no credentials that are understood".into();
        return Err(Error {
            class: Class::Unavailable,
            operation,
            code: "BrokenAnswer".into(),
            message,
            request_id: None,
        });
    };
    let Session { access_key_id, access_key_secret, security_token, expiration } = credentials;
    let credentials = Credentials {
        access_key_id,
        access_key_secret: access_key_secret.into(),
        security_token: Some(security_token.into()),
    };
    Ok(Issued { credentials, expires: Some(expiration), identity: role_arn.to_owned() })
}

/// Turns a failed call into the error of a source. The request ID is left out, since it would make the message
/// different at every attempt; the log has it.
pub fn failed(error: Error) -> CredentialsError {
    let error = Error { request_id: None, ..error };
    match error.class {
        Class::Throttled { .. } | Class::Unavailable | Class::Ambiguous => CredentialsError::Unreachable(error),
        Class::NotFound | Class::Conflict | Class::Denied | Class::Invalid => CredentialsError::Refused(error),
    }
}
