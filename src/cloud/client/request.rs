//! One request: the call, its target and the signed bytes. Time and nonce are arguments.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::{Method, Request, Uri};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::super::credentials::Credentials;
use super::super::credentials::signer::Signer;
use super::super::operation::ApiOperation;
use super::super::rate_limit::Priority;
use super::super::sign;

const USER_AGENT: &str = concat!("disaster-recovery-operator/", env!("CARGO_PKG_VERSION"));

/// The protocol style of a product's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Paths and JSON bodies; the result is the `data` of an envelope (RocketMQ).
    Roa,
    /// POST to `/` with everything in the query; the result is the whole answer (EBS, STS).
    Rpc,
}

/// The body of a call.
#[derive(Clone)]
pub struct Body {
    content_type: &'static str,
    bytes: Bytes,
}

impl Body {
    /// A JSON body.
    pub fn json(bytes: Vec<u8>) -> Self {
        Self { content_type: "application/json; charset=utf-8", bytes: bytes.into() }
    }

    /// A form body, already encoded.
    pub fn form(text: String) -> Self {
        Self { content_type: "application/x-www-form-urlencoded", bytes: text.into() }
    }
}

/// One call, not yet signed.
#[derive(Clone)]
pub struct Call {
    /// The API operation.
    pub operation: ApiOperation,
    /// The HTTP method.
    pub method: Method,
    /// The path, encoded.
    pub path: String,
    /// The query, decoded.
    pub query: Vec<(Cow<'static, str>, String)>,
    /// The body, if any.
    pub body: Option<Body>,
    /// The protocol style of the product's API.
    pub style: Style,
    /// Whether the call changes something. Then a lost answer is ambiguous, and the client repeats the call only if it
    /// is `repeatable`.
    pub changing: bool,
    /// Whether the service recognizes a repeat of this changing call, by the client token in its query.
    pub repeatable: bool,
    /// Secrets to redact from any error text, besides the key.
    pub secrets: Vec<SecretString>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body may hold passwords.
        f.debug_struct("Call").field("operation", &self.operation).field("path", &self.path).finish_non_exhaustive()
    }
}

/// The destination and the signer of a call.
#[derive(Clone, Debug)]
pub struct Target {
    /// The product, such as `rocketmq`.
    pub product: &'static str,
    /// The API version, such as `2022-08-01`.
    pub version: &'static str,
    /// Scheme and authority.
    pub endpoint: String,
    /// The region, for the rate limit.
    pub region: String,
    /// The signer; none for an operation that takes no signature.
    pub signer: Option<Signer>,
    /// The priority in the rate limit.
    pub priority: Priority,
}

/// Builds the request with all headers that the service requires and signs all of them.
pub(super) fn signed(
    target: &Target,
    credentials: &Credentials,
    call: &Call,
    now: Timestamp,
    nonce: &str,
) -> Result<Request<Bytes>, http::Error> {
    let endpoint: Uri = target.endpoint.parse()?;
    let host = endpoint.authority().map(ToString::to_string).unwrap_or_default();
    let body = call.body.as_ref().map(|body| body.bytes.clone()).unwrap_or_default();
    let hash = sign::payload_hash(&body);
    let date = date(now);
    let Credentials { access_key_id, access_key_secret, security_token } = credentials;
    let mut headers = vec![
        ("accept", "application/json"),
        ("host", host.as_str()),
        ("user-agent", USER_AGENT),
        ("x-acs-action", call.operation.as_str()),
        ("x-acs-content-sha256", hash.as_str()),
        ("x-acs-date", date.as_str()),
        ("x-acs-signature-nonce", nonce),
        ("x-acs-version", target.version),
    ];
    if let Some(token) = security_token {
        headers.push(("x-acs-accesskey-id", access_key_id.as_str()));
        headers.push(("x-acs-security-token", token.expose_secret()));
    }
    headers.extend(call.body.iter().map(|body| ("content-type", body.content_type)));
    let canonical = sign::canonical_request(call.method.as_str(), &call.path, &call.query, &headers, &hash);
    let authorization = sign::authorization(access_key_id, access_key_secret.expose_secret(), &canonical);
    let query = &canonical.query;
    let mark = if query.is_empty() { "" } else { "?" };
    let mut request =
        Request::builder().method(call.method.clone()).uri(format!("{}{}{mark}{query}", target.endpoint, call.path));
    for (name, value) in headers {
        let mut value = http::HeaderValue::try_from(value)?;
        value.set_sensitive(name == "x-acs-security-token");
        request = request.header(name, value);
    }
    let mut authorization = http::HeaderValue::try_from(authorization)?;
    authorization.set_sensitive(true);
    request.header("authorization", authorization).body(body)
}

/// Builds the request of an RPC that takes no signature: action, version and time are in the query.
///
/// Source: the official credentials library for Go.
pub(super) fn unsigned(target: &Target, call: &Call, now: Timestamp) -> Result<Request<Bytes>, http::Error> {
    let common = [("Action", call.operation.as_str()), ("Format", "JSON"), ("Version", target.version)];
    let common = common.map(|(name, value)| (Cow::from(name), value.to_owned()));
    let mut query = call.query.clone();
    query.extend(common);
    query.push(("Timestamp".into(), date(now)));
    let query = sign::canonical_query(&query);
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(format!("{}{}?{query}", target.endpoint, call.path))
        .header("accept", "application/json")
        .header("user-agent", USER_AGENT);
    if let Some(body) = &call.body {
        request = request.header("content-type", body.content_type);
    }
    request.body(call.body.as_ref().map(|body| body.bytes.clone()).unwrap_or_default())
}

/// Formats a time as the API does.
fn date(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
