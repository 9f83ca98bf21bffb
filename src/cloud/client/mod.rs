//! One signed call: sign, send, wait no longer than the deadline, understand the answer, and repeat it only where a
//! repeat is harmless.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::Value;
use tower::ServiceExt;

mod request;
mod response;
mod transport;

pub use self::request::{Body, Call, Style, Target};
pub use self::transport::{Bytes, HttpService, METADATA_HOST, TransportError, from_service, https};

use self::request::{signed, unsigned};
use self::response::{Answer, parse};
use super::credentials::Credentials;
use super::credentials::cache::about_the_key;
use super::credentials::signer::Replaced;
use super::error::{Class, Error};
use super::fence::{Closed, Fence};
use super::operation::ApiOperation;
use super::rate_limit::{BucketKey, RateLimit};

/// The longest that one call waits for its turn: a pass that waited longer would hold up others and what it has to say.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The code of a call that was not made, or given up, since the [`Fence`] was closed.
pub const NOT_LEADING: &str = "NotLeading";

/// How often what may be repeated is tried within one call.
const MAX_ATTEMPTS: u32 = 3;

/// A finished request, for the metrics.
#[derive(Clone, Debug)]
pub struct Finished<'a> {
    /// The product, such as `rocketmq`.
    pub product: &'static str,
    /// The API operation.
    pub operation: ApiOperation,
    /// `OK`, or the error's code.
    pub code: &'a str,
    /// How long it took, waiting for the rate_limit not included.
    pub duration: Duration,
}

/// Who is told of finished requests.
pub type Listener = Arc<dyn Fn(&Finished<'_>) + Send + Sync>;

/// What all calls of this process bucket.
#[derive(Clone)]
pub struct Client {
    http: HttpService,
    rate_limit: Arc<RateLimit>,
    deadline: Duration,
    listener: Listener,
    fence: Fence,
}

impl Client {
    /// A client whose every attempt ends after `deadline`.
    pub fn new(http: HttpService, rate_limit: Arc<RateLimit>, deadline: Duration, listener: Listener) -> Self {
        Self { http, rate_limit, deadline, listener, fence: Fence::open() }
    }

    /// The same client, whose calls that change something are made while `fence` is open, and no others.
    pub fn with_fence(self, fence: Fence) -> Self {
        Self { fence, ..self }
    }

    /// What carries requests, for those that are not of an API.
    pub fn http(&self) -> HttpService {
        self.http.clone()
    }

    /// The rate_limit that calls draw from.
    pub fn rate_limit(&self) -> &RateLimit {
        &self.rate_limit
    }

    /// The same client with a rate_limit of its own.
    pub fn with_rate_limit(self, rate_limit: Arc<RateLimit>) -> Self {
        Self { rate_limit, ..self }
    }

    /// Makes a call and returns what its answer holds: as the [`Style`] says, its `data` (null where there is none) or all
    /// of it.
    ///
    /// Reads, and changes with a client token, are repeated where the service failed or the answer was lost, each time with
    /// a new date and nonce and otherwise unchanged. Once an answer was lost, no later refusal proves that the call did not
    /// happen: it is [`Class::Ambiguous`], but for what does not exist.
    ///
    /// What is refused for its key is not carried out, so that it is made once more where the signer has another by now.
    pub async fn send(&self, target: &Target, call: &Call) -> Result<Value, Error> {
        let bucket = BucketKey { product: target.product, region: &target.region, priority: target.priority };
        let (mut attempt, mut lost, mut replaced) = (0, false, false);
        loop {
            attempt += 1;
            match self.rate_limit.reserve(bucket, Instant::now(), MAX_WAIT) {
                Ok(wait) => tokio::time::sleep(wait).await,
                Err(wait) => {
                    let message = format!("the region's budget of calls is used up for {} s", wait.as_secs());
                    let (class, code) = (Class::Throttled { after: Some(wait) }, "LocalBudget".into());
                    return Err(ambiguous_if(
                        lost,
                        Error { class, operation: call.operation, code, message, request_id: None },
                    ));
                }
            }
            let credentials = match &target.signer {
                Some(signer) => Some(signer.credentials(Timestamp::now()).await),
                None => None,
            };
            let accepted = || target.signer.iter().for_each(|signer| signer.report_accepted(&target.endpoint));
            let started = Instant::now();
            let (outcome, request_id) = match self.attempt(target, credentials.as_ref(), call).await {
                Ok((data, request_id)) => (Ok(data), request_id.map(|id| one_line(&id))),
                Err(error) => (Err(error.clone()), error.request_id),
            };
            let code = outcome.as_ref().map_or_else(|error| label(&error.code), |_| "OK");
            let duration = started.elapsed();
            (self.listener)(&Finished { product: target.product, operation: call.operation, code, duration });
            let (action, duration_ms, request_id) =
                (call.operation.as_str(), duration.as_millis(), request_id.unwrap_or_default());
            // Reads come with every poll; what changes the cloud is worth a line.
            match call.changing {
                true => tracing::info!(action, code, attempt, duration_ms, request_id, "cloud call"),
                false => tracing::debug!(action, code, attempt, duration_ms, request_id, "cloud call"),
            }
            let error = match outcome {
                Ok(data) => {
                    self.rate_limit.succeeded(bucket, Instant::now());
                    accepted();
                    return Ok(data);
                }
                Err(error) => error,
            };
            lost |= error.class == Class::Ambiguous;
            if let (Some(signer), Some(refused), true) = (&target.signer, &credentials, about_the_key(&error)) {
                let (endpoint, now) = (&target.endpoint, Timestamp::now());
                let outcome = match replaced {
                    true => Replaced::No,
                    false => signer.replace(refused, endpoint, &error, call.changing, now).await,
                };
                match outcome {
                    Replaced::Yes => {
                        replaced = true;
                        continue;
                    }
                    // The next pass looks at what the other identity sees.
                    Replaced::ByAnother => {
                        return Err(ambiguous_if(lost, Error { class: Class::Unavailable, ..error }));
                    }
                    Replaced::No => signer.report_refused(refused, endpoint, &error, now),
                }
            }
            // Whoever is told what is wrong with a call was let in.
            let answered = matches!(error.class, Class::NotFound | Class::Conflict | Class::Denied | Class::Invalid);
            if answered && !about_the_key(&error) {
                accepted();
            }
            let repeat = match error.class {
                Class::Throttled { after } => {
                    self.rate_limit.throttled(bucket, after, Instant::now());
                    false
                }
                Class::Unavailable => !call.changing || call.repeatable,
                Class::Ambiguous => call.repeatable,
                Class::NotFound | Class::Conflict | Class::Denied | Class::Invalid => false,
            };
            if !repeat || attempt >= MAX_ATTEMPTS {
                return Err(ambiguous_if(lost, error));
            }
            let pause = Duration::from_millis(100 << attempt);
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
        }
    }

    async fn attempt(&self, target: &Target, signer: Option<&Credentials>, call: &Call) -> Result<Answer, Error> {
        let lost = if call.changing { Class::Ambiguous } else { Class::Unavailable };
        let failed = |class, code: &str, message: String| Error {
            class,
            operation: call.operation,
            code: code.into(),
            message: one_line(&scrub(message, signer, call)),
            request_id: None,
        };
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let request = match signer {
            Some(credentials) => signed(target, credentials, call, Timestamp::now(), &nonce),
            None => unsigned(target, call, Timestamp::now()),
        };
        let request = request.map_err(|error| failed(Class::Invalid, "BrokenRequest", error.to_string()))?;
        let sending = tokio::time::timeout(self.deadline, self.http.clone().oneshot(request));
        let answer = match call.changing {
            true => self.fence.within(sending).await,
            false => Ok(sending.await),
        };
        let answer = answer.map_err(|Closed { begun }| {
            let class = if begun { lost } else { Class::Unavailable };
            failed(class, NOT_LEADING, "this process may change nothing now: its lease ended".into())
        })?;
        let response = match answer {
            Err(_) => return Err(failed(lost, "Timeout", format!("no answer within {:?}", self.deadline))),
            Ok(Err(TransportError::NotSent(why))) => return Err(failed(Class::Unavailable, "ConnectionFailed", why)),
            Ok(Err(TransportError::Lost(why))) => return Err(failed(lost, "ConnectionLost", why)),
            Ok(Ok(response)) => response,
        };
        let (parts, body) = response.into_parts();
        parse(parts.status.as_u16(), &parts.headers, &body, call).map_err(|error| {
            // A secret that is cut in two could no longer be found.
            let clean = |text: String| one_line(&scrub(text, signer, call));
            let (code, message) = (clean(error.code), clean(error.message));
            Error { code, message, request_id: error.request_id.map(clean), ..error }
        })
    }
}

/// What a failure means after an answer was lost: the call may have happened, whatever is said of its repeat.
fn ambiguous_if(lost: bool, error: Error) -> Error {
    match error.class {
        Class::NotFound => error,
        _ if lost => Error { class: Class::Ambiguous, ..error },
        _ => error,
    }
}

/// A code as a metric's label: the other side must not be able to make up any number of them.
fn label(code: &str) -> &str {
    let fits =
        code.len() <= 64 && code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ' '));
    if fits { code } else { "Unrecognized" }
}

/// Messages go into conditions and logs: one line, not endless.
fn one_line(message: &str) -> String {
    let line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(600).collect();
    line.trim().to_owned()
}

/// Cuts every secret of the call out of a text that the other side wrote.
fn scrub(mut text: String, signer: Option<&Credentials>, call: &Call) -> String {
    let key = signer.into_iter().flat_map(|it| it.security_token.iter().chain([&it.access_key_secret]));
    for secret in call.secrets.iter().chain(key) {
        let secret = secret.expose_secret();
        if secret.is_empty() {
            continue;
        }
        // XML writes some characters in other ways.
        let escaped = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        for spelling in [escaped.clone(), escaped.replace('"', "&quot;").replace('\'', "&apos;")] {
            if secret.len() >= 4 && spelling != secret {
                text = text.replace(&spelling, "[redacted]");
            }
        }
        // A very short secret would turn the text into a riddle that can be solved.
        text = match secret.len() {
            _ if !text.contains(secret) => text,
            0..4 => "[redacted]".into(),
            _ => text.replace(secret, "[redacted]"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::super::rate_limit::Priority;
    use super::*;
    use crate::cloud::credentials::signer::Signer;

    fn call(changing: bool) -> Call {
        Call {
            operation: ApiOperation::GetDisasterRecoveryPlan,
            method: Method::GET,
            path: "/disaster_recovery/1".into(),
            query: vec![],
            body: None,
            style: Style::Roa,
            changing,
            repeatable: false,
            secrets: vec!["hunter22".into()],
        }
    }

    fn key() -> Credentials {
        Credentials {
            access_key_id: "id".into(),
            access_key_secret: "key-secret".into(),
            security_token: Some("token-text".into()),
        }
    }

    fn target() -> Target {
        let endpoint = "https://rocketmq.cn-hangzhou.aliyuncs.com".into();
        let (product, version, region) = ("rocketmq", "2022-08-01", "cn-hangzhou".into());
        let signer = Some(Signer::fixed(key()));
        Target { product, version, endpoint, region, signer, priority: Priority::Edit }
    }

    /// Makes a call through a fence: what comes of it, and how many requests arrived. The service closes the fence before it
    /// answers, where `closes`.
    async fn fenced(fence: Fence, call: Call, closes: bool) -> (Result<Value, Error>, usize) {
        let arrived = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (counted, closed) = (arrived.clone(), fence.clone());
        let service = tower::service_fn(move |_| {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            if closes {
                closed.close();
            }
            async {
                tokio::task::yield_now().await;
                let body = http_body_util::Full::new(Bytes::from(r#"{"success":true,"data":{}}"#.as_bytes().to_vec()));
                Ok::<_, std::convert::Infallible>(http::Response::new(body))
            }
        });
        let (rate_limit, deadline) = (Arc::new(RateLimit::new(100)), Duration::from_secs(5));
        let client = Client::new(from_service(service), rate_limit, deadline, Arc::new(|_| {})).with_fence(fence);
        let outcome = client.send(&target(), &call).await;
        (outcome, arrived.load(std::sync::atomic::Ordering::SeqCst))
    }

    #[tokio::test]
    async fn what_changes_the_cloud_is_sent_while_the_fence_is_open_and_what_reads_it_always() {
        let (outcome, arrived) = fenced(Fence::open(), call(true), false).await;
        assert!(outcome.is_ok() && arrived == 1);
        let (outcome, arrived) = fenced(Fence::closed(), call(true), false).await;
        let error = outcome.expect_err("it is not made");
        assert_eq!((error.class, error.code.as_str(), arrived), (Class::Unavailable, NOT_LEADING, 0));
        let (outcome, arrived) = fenced(Fence::closed(), call(false), false).await;
        assert!(outcome.is_ok() && arrived == 1);
        // One that a repeat would not harm is not made either.
        let (outcome, arrived) = fenced(Fence::closed(), Call { repeatable: true, ..call(true) }, false).await;
        assert!(outcome.is_err() && arrived == 0);
    }

    #[tokio::test]
    async fn a_change_whose_fence_is_closed_on_the_way_may_have_been_made() {
        let (outcome, arrived) = fenced(Fence::open(), Call { repeatable: true, ..call(true) }, true).await;
        let error = outcome.expect_err("its answer is not waited for");
        assert_eq!((error.class, error.code.as_str(), arrived), (Class::Ambiguous, NOT_LEADING, 1));
    }

    #[test]
    fn an_error_text_never_repeats_a_secret() {
        let text = scrub("hunter22, key-secret and token-text are wrong".into(), Some(&key()), &call(true));
        assert_eq!(text, "[redacted], [redacted] and [redacted] are wrong");
        assert!(!format!("{:?} {:?}", target(), call(true)).contains("hunter22"));
        assert!(!format!("{:?}", target()).contains("key-secret"));
    }

    #[test]
    fn every_header_but_the_authorization_is_signed() {
        let body = Some(Body::json(b"{}".to_vec()));
        let request =
            signed(&target(), &key(), &Call { body, ..call(true) }, Timestamp::UNIX_EPOCH, "n").expect("signed");
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
