//! One signed call: sign, send, wait no longer than the deadline, understand the answer, and repeat it only where a
//! repeat is harmless.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

pub use bytes::Bytes;

use super::budget::{Budget, Lane};
use super::credentials::Credentials;
use super::error::{Class, Error, classify};
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
        understand(parts.status.as_u16(), &parts.headers, &body, call).map_err(|error| {
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

/// The `data` of an answer, and its request ID.
type Answer = (Value, Option<String>);

/// Reads an answer: its `data`, or what went wrong. Both casings of the error body are read, and the gateway's XML.
fn understand(status: u16, headers: &HeaderMap, body: &[u8], call: &Call) -> Result<Answer, Error> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let retry_after = header("x-acs-retry-after")
        .and_then(|ms| ms.trim().parse().ok())
        .filter(|ms| *ms > 0)
        .map(Duration::from_millis);
    let answer = serde_json::from_slice::<Value>(body).ok().filter(Value::is_object);
    let text = |names: [&str; 2]| {
        let found = answer.as_ref().and_then(|json| names.iter().find_map(|name| json.get(name)));
        match found {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => element(body, names[0]),
        }
    };
    let code = text(["Code", "code"]).filter(|code| !code.is_empty());
    let message = text(["Message", "message"]).unwrap_or_default();
    let request_id = text(["RequestId", "requestId"]).or_else(|| header("x-acs-request-id").map(Into::into));
    let failed = |class, code: String, message: String| Error {
        class,
        action: call.action,
        code,
        message,
        request_id: request_id.clone(),
    };
    let broken = |what: &str| {
        let class = classify(status.max(500), "", retry_after, call.changing);
        failed(class, "BrokenAnswer".into(), format!("HTTP {status} with {what}"))
    };
    if !(200..300).contains(&status) {
        return Err(match code {
            Some(code) => failed(classify(status, &code, retry_after, call.changing), code, message),
            None if retry_after.is_some() || status == 429 => {
                failed(Class::Throttled { after: retry_after }, format!("HTTP {status}"), message)
            }
            None => broken("a body that is no error of the API"),
        });
    }
    let Some(mut answer) = answer else { return Err(broken("a body that is no JSON object")) };
    let success = match answer.get("success") {
        Some(Value::Bool(success)) => Some(*success),
        Some(Value::String(text)) => Some(!text.eq_ignore_ascii_case("false")),
        _ => None,
    };
    // Without `success`, only a code that says otherwise makes a failure (so does the vendor's Terraform provider).
    let fine = |code: &str| ["success", "ok", "200", "0"].iter().any(|fine| code.eq_ignore_ascii_case(fine));
    let accepted = success.unwrap_or_else(|| message.is_empty() || code.as_deref().is_none_or(fine));
    if !accepted {
        let status = answer.get("httpStatusCode").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
        let status = status.filter(|status| *status >= 400).unwrap_or(400);
        let code = code.unwrap_or_else(|| "Unknown".into());
        return Err(failed(classify(status, &code, retry_after, call.changing), code, message));
    }
    Ok((answer.get_mut("data").map(Value::take).unwrap_or_default(), request_id))
}

/// The text of an XML element, for the gateway's XML errors.
fn element(body: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.contains("<Error>"))?;
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inner.trim().to_owned())
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

    fn answer(status: u16, body: &str, changing: bool) -> Result<Value, Error> {
        understand(status, &HeaderMap::new(), body.as_bytes(), &call(changing)).map(|(data, _)| data)
    }

    #[test]
    fn both_casings_and_xml_are_read() {
        let pascal = r#"{"RequestId":"R1","HostId":"h","Code":"MissingplanName","Message":"planName is mandatory."}"#;
        let camel = r#"{"requestId":"R1","success":false,"code":"MissingplanName","message":"planName is mandatory."}"#;
        let xml = "<?xml version='1.0'?><Error><RequestId>R1</RequestId><Code>MissingplanName</Code><Message>planName is mandatory.</Message></Error>";
        for body in [pascal, camel, xml] {
            let error = answer(400, body, true).expect_err(body);
            let text = "GetDisasterRecoveryPlan failed: MissingplanName: planName is mandatory (request id R1)";
            assert_eq!(error.to_string(), text);
            assert_eq!(error.class, Class::Invalid);
        }
    }

    #[test]
    fn success_false_is_an_error_and_composite_samples_are_not() {
        let refused =
            r#"{"success":false,"code":"DisasterRecoveryPlanStatus.Error","message":"m","httpStatusCode":400}"#;
        assert_eq!(answer(200, refused, true).expect_err("refused").class, Class::Conflict);
        let sample = r#"{"success":true,"data":true,"code":"DisasterRecoveryPlanStatus.Error","message":"m"}"#;
        assert_eq!(answer(200, sample, true), Ok(Value::Bool(true)));
        let number = r#"{"success":true,"data":{"list":[]},"code":200,"message":"The instance cannot be found."}"#;
        assert!(answer(200, number, false).is_ok());
        let bare = r#"{"code":"Instance.NotFound","message":"no such instance"}"#;
        assert_eq!(answer(200, bare, false).expect_err("refused").class, Class::Invalid);
        assert_eq!(answer(200, r#"{"data":7}"#, false), Ok(Value::from(7)));
    }

    #[test]
    fn what_is_not_understood_may_have_happened() {
        for body in ["<html>Bad gateway</html>", "{\"data\":", "[]", ""] {
            for status in [200, 502, 403] {
                assert_eq!(answer(status, body, true).expect_err(body).class, Class::Ambiguous, "{status} {body}");
                assert_eq!(answer(status, body, false).expect_err(body).class, Class::Unavailable, "{status} {body}");
            }
        }
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
