//! One signed call: sign, send, wait no longer than the deadline, understand the answer, and repeat it only where a
//! repeat is harmless.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

pub use bytes::Bytes;

use super::answer::{Answer, understand};
use super::budget::{Budget, Lane};
use super::credentials::Credentials;
use super::error::{Class, Error};
use super::sign;

/// The most that an answer may hold; a page of 10,000 plans is far below.
const LARGEST_ANSWER: usize = 64 << 20;

/// The longest that one call waits for its turn: a pass that waited longer would hold up others and what it has to say.
const MOST_WAIT: Duration = Duration::from_secs(5);

/// How often a read is tried within one call.
const READ_ATTEMPTS: u32 = 3;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// There was no connection: the request was surely not carried out.
    #[error("{0}")]
    NotSent(String),
    /// The request left, and its answer did not arrive whole.
    #[error("{0}")]
    Lost(String),
}

/// What carries requests: a TLS connector in production, the simulator's router in tests.
pub type HttpService = BoxCloneSyncService<Request<Bytes>, Response<Bytes>, TransportError>;

/// The connector for production: TLS, HTTP/1.1, no redirects (a redirect must not carry a signature elsewhere), proxies as
/// the environment says.
///
/// `through_proxy` is false for an endpoint on this machine: what is plain text there must not leave it.
pub fn https(connect_timeout: Duration, through_proxy: bool) -> Result<HttpService, reqwest::Error> {
    let builder = reqwest::Client::builder()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect_timeout)
        // Below the keep-alive of usual servers: a connection that they just closed costs a lost answer.
        .pool_idle_timeout(Duration::from_secs(15));
    let client = if through_proxy { builder.build()? } else { builder.no_proxy().build()? };
    Ok(BoxCloneSyncService::new(tower::service_fn(move |request: Request<Bytes>| {
        let client = client.clone();
        async move {
            let request = reqwest::Request::try_from(request).map_err(|error| not_sent(&error))?;
            let mut answer = client.execute(request).await.map_err(|error| {
                if error.is_connect() || error.is_builder() { not_sent(&error) } else { lost(&error) }
            })?;
            let mut response = Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                std::mem::swap(headers, answer.headers_mut());
            }
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await.map_err(|error| lost(&error))? {
                if body.len() + chunk.len() > LARGEST_ANSWER {
                    return Err(TransportError::Lost("the answer is larger than 64 MiB".into()));
                }
                body.extend_from_slice(&chunk);
            }
            response.body(Bytes::from(body)).map_err(|error| TransportError::Lost(error.to_string()))
        }
    })))
}

/// Makes a connector of any HTTP service, such as a router in this process.
pub fn from_service<S, B>(service: S) -> HttpService
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: fmt::Display,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    BoxCloneSyncService::new(tower::service_fn(move |request: Request<Bytes>| {
        let service = service.clone();
        async move {
            let answer = service
                .oneshot(request.map(Full::new))
                .await
                .map_err(|error| TransportError::NotSent(error.to_string()))?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, LARGEST_ANSWER)
                .collect()
                .await
                .map_err(|error| TransportError::Lost(error.to_string()))?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        }
    }))
}

fn not_sent(error: &reqwest::Error) -> TransportError {
    TransportError::NotSent(causes(error))
}

fn lost(error: &reqwest::Error) -> TransportError {
    TransportError::Lost(causes(error))
}

/// The innermost cause, which is the one that says what happened; the outer ones repeat the URL.
fn causes(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// One call, before it is signed.
#[derive(Clone)]
pub struct Call {
    /// The API operation.
    pub action: &'static str,
    /// The HTTP method.
    pub method: Method,
    /// The path, encoded.
    pub path: String,
    /// The query, decoded.
    pub query: Vec<(&'static str, String)>,
    /// The JSON body, if any.
    pub body: Option<Vec<u8>>,
    /// Whether the call changes something: then it is never repeated here, and a lost answer is ambiguous.
    pub changing: bool,
    /// What must be cut out of any error text, besides the key.
    pub secrets: Vec<SecretString>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body may hold passwords.
        f.debug_struct("Call").field("action", &self.action).field("path", &self.path).finish_non_exhaustive()
    }
}

/// A finished request, for the metrics.
#[derive(Clone, Debug)]
pub struct Finished<'a> {
    /// The product, such as `rocketmq`.
    pub product: &'static str,
    /// The API operation.
    pub action: &'static str,
    /// `OK`, or the error's code.
    pub code: &'a str,
    /// How long it took, waiting for the budget not included.
    pub duration: Duration,
}

/// Who is told of finished requests.
pub type Listener = Arc<dyn Fn(&Finished<'_>) + Send + Sync>;

/// What all calls of this process share.
#[derive(Clone)]
pub struct Client {
    http: HttpService,
    budget: Arc<Budget>,
    deadline: Duration,
    listener: Listener,
}

/// Where a call goes and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// The product, such as `rocketmq`.
    pub product: &'static str,
    /// The API version, such as `2022-08-01`.
    pub version: &'static str,
    /// Scheme and authority.
    pub endpoint: String,
    /// The region, for the budget.
    pub region: String,
    /// Who signs.
    pub credentials: Credentials,
    /// Which share of the budget is used.
    pub lane: Lane,
}

impl Client {
    /// A client whose every attempt ends after `deadline`.
    pub fn new(http: HttpService, budget: Arc<Budget>, deadline: Duration, listener: Listener) -> Self {
        Self { http, budget, deadline, listener }
    }

    /// Makes a call and returns the `data` of its answer (null where there is none).
    pub async fn send(&self, target: &Target, call: &Call) -> Result<Value, Error> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.budget.reserve(&target.region, target.lane, Instant::now(), MOST_WAIT) {
                Ok(wait) => tokio::time::sleep(wait).await,
                Err(wait) => {
                    let message = format!("the region's budget of calls is used up for {} s", wait.as_secs());
                    let (class, code) = (Class::Throttled { after: Some(wait) }, "LocalBudget".into());
                    return Err(Error { class, action: call.action, code, message, request_id: None });
                }
            }
            let started = Instant::now();
            let (outcome, request_id) = match self.attempt(target, call).await {
                Ok((data, request_id)) => (Ok(data), request_id),
                Err(error) => (Err(error.clone()), error.request_id),
            };
            let code = outcome.as_ref().map_or_else(|error| label(&error.code), |_| "OK");
            let duration = started.elapsed();
            (self.listener)(&Finished { product: target.product, action: call.action, code, duration });
            let (action, duration_ms, request_id) = (call.action, duration.as_millis(), request_id.unwrap_or_default());
            // Reads come with every poll; what changes the cloud is worth a line.
            match call.changing {
                true => tracing::info!(action, code, attempt, duration_ms, request_id, "cloud call"),
                false => tracing::debug!(action, code, attempt, duration_ms, request_id, "cloud call"),
            }
            match outcome {
                Err(Error { class: Class::Throttled { after }, .. }) => {
                    self.budget.throttled(&target.region, after, Instant::now());
                    return outcome;
                }
                Err(Error { class: Class::Unavailable, .. }) if !call.changing && attempt < READ_ATTEMPTS => {
                    let pause = Duration::from_millis(100 << attempt);
                    tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
                }
                Err(_) => return outcome,
                Ok(_) => {
                    self.budget.succeeded(&target.region, target.lane, Instant::now());
                    return outcome;
                }
            }
        }
    }

    async fn attempt(&self, target: &Target, call: &Call) -> Result<Answer, Error> {
        let lost = if call.changing { Class::Ambiguous } else { Class::Unavailable };
        let failed = |class, code: &str, message: String| Error {
            class,
            action: call.action,
            code: code.into(),
            message: shortened(&scrub(message, target, call)),
            request_id: None,
        };
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let request = signed(target, call, Timestamp::now(), &nonce)
            .map_err(|error| failed(Class::Invalid, "BrokenRequest", error.to_string()))?;
        let answer = tokio::time::timeout(self.deadline, self.http.clone().oneshot(request)).await;
        let response = match answer {
            Err(_) => return Err(failed(lost, "Timeout", format!("no answer within {:?}", self.deadline))),
            Ok(Err(TransportError::NotSent(why))) => return Err(failed(Class::Unavailable, "ConnectionFailed", why)),
            Ok(Err(TransportError::Lost(why))) => return Err(failed(lost, "ConnectionLost", why)),
            Ok(Ok(response)) => response,
        };
        let (parts, body) = response.into_parts();
        understand(parts.status.as_u16(), &parts.headers, &body, call.action, call.changing).map_err(|error| {
            // A secret that is cut in two could no longer be found.
            let message = shortened(&scrub(error.message, target, call));
            Error { message, ..error }
        })
    }
}

/// A code as a metric's label: the other side must not be able to make up any number of them.
fn label(code: &str) -> &str {
    let fits =
        code.len() <= 64 && code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ' '));
    if fits { code } else { "Unrecognized" }
}

/// Builds the request with all headers that the service wants, signed over all of them.
fn signed(target: &Target, call: &Call, now: Timestamp, nonce: &str) -> Result<Request<Bytes>, http::Error> {
    let endpoint: Uri = target.endpoint.parse()?;
    let host = endpoint.authority().map(ToString::to_string).unwrap_or_default();
    let body = call.body.clone().unwrap_or_default();
    let hash = sign::payload_hash(&body);
    let date = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let Credentials { access_key_id, access_key_secret, security_token } = &target.credentials;
    let mut headers = vec![
        ("accept", "application/json"),
        ("host", host.as_str()),
        ("user-agent", concat!("disaster-recovery-operator/", env!("CARGO_PKG_VERSION"))),
        ("x-acs-action", call.action),
        ("x-acs-content-sha256", hash.as_str()),
        ("x-acs-date", date.as_str()),
        ("x-acs-signature-nonce", nonce),
        ("x-acs-version", target.version),
    ];
    if let Some(token) = security_token {
        headers.push(("x-acs-accesskey-id", access_key_id.as_str()));
        headers.push(("x-acs-security-token", token.expose_secret()));
    }
    if call.body.is_some() {
        headers.push(("content-type", "application/json; charset=utf-8"));
    }
    let canonical = sign::canonical_request(call.method.as_str(), &call.path, &call.query, &headers, &hash);
    let authorization = sign::authorization(access_key_id, access_key_secret.expose_secret(), &canonical);
    let query = sign::canonical_query(&call.query);
    let mark = if query.is_empty() { "" } else { "?" };
    let mut request =
        Request::builder().method(call.method.clone()).uri(format!("{}{}{mark}{query}", target.endpoint, call.path));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut authorization = http::HeaderValue::try_from(authorization)?;
    authorization.set_sensitive(true);
    request.header("authorization", authorization).body(Bytes::from(body))
}

/// Messages go into conditions and logs: one line, not endless.
fn shortened(message: &str) -> String {
    let line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(600).collect();
    line.trim().to_owned()
}

/// Cuts every secret of the call out of a text that the other side wrote.
fn scrub(mut text: String, target: &Target, call: &Call) -> String {
    let Credentials { access_key_id: _, access_key_secret, security_token } = &target.credentials;
    for secret in call.secrets.iter().chain([access_key_secret]).chain(security_token) {
        let secret = secret.expose_secret();
        if secret.is_empty() || !text.contains(secret) {
            continue;
        }
        // A very short secret would turn the text into a riddle that can be solved.
        text = if secret.len() < 4 { "[redacted]".into() } else { text.replace(secret, "[redacted]") };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(changing: bool) -> Call {
        Call {
            action: "GetDisasterRecoveryPlan",
            method: Method::GET,
            path: "/disaster_recovery/1".into(),
            query: vec![],
            body: None,
            changing,
            secrets: vec!["hunter22".into()],
        }
    }

    fn target() -> Target {
        let credentials = Credentials {
            access_key_id: "id".into(),
            access_key_secret: "key-secret".into(),
            security_token: Some("token-text".into()),
        };
        let endpoint = "https://rocketmq.cn-hangzhou.aliyuncs.com".into();
        let (product, version, region) = ("rocketmq", "2022-08-01", "cn-hangzhou".into());
        Target { product, version, endpoint, region, credentials, lane: Lane::Edit }
    }

    #[test]
    fn an_error_text_never_repeats_a_secret() {
        let text = scrub("hunter22, key-secret and token-text are wrong".into(), &target(), &call(true));
        assert_eq!(text, "[redacted], [redacted] and [redacted] are wrong");
        assert!(!format!("{:?} {:?}", target(), call(true)).contains("hunter22"));
        assert!(!format!("{:?}", target()).contains("key-secret"));
    }

    #[test]
    fn every_header_but_the_authorization_is_signed() {
        let body = Some(b"{}".to_vec());
        let request = signed(&target(), &Call { body, ..call(true) }, Timestamp::UNIX_EPOCH, "n").expect("signed");
        let authorization = request.headers()["authorization"].to_str().expect("ascii").to_owned();
        let (_, rest) = authorization.split_once("SignedHeaders=").expect("has the list");
        let (list, _) = rest.split_once(',').expect("is followed by the signature");
        let mut names: Vec<_> = request.headers().keys().map(|name| name.as_str()).collect();
        names.retain(|name| *name != "authorization");
        names.sort_unstable();
        assert_eq!(list, names.join(";"));
        assert_eq!(request.headers()["x-acs-date"], "1970-01-01T00:00:00Z");
    }
}
