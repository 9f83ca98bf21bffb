//! One signed call: signs and sends the request, waits for the answer until the deadline, classifies errors, and
//! repeats the call only if that is safe.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::time::Instant;
use tower::ServiceExt;

mod json;
mod request;
mod response;
mod slot;
mod transport;
mod xml;

pub use self::request::{Body, Call, Style, Target};
pub use self::transport::{Bytes, HttpService, METADATA_HOST, TransportError, from_service, https};

use self::request::{signed, unsigned};
use self::response::{Answer, parse};
use super::clock::Clock;
use super::credentials::Credentials;
use super::credentials::cache::about_the_key;
use super::credentials::signer::Replaced;
use super::error::{Class, Error};
use super::fence::{Closed, Fence};
use super::operation::ApiOperation;
use super::rate_limit::{BucketKey, Budget, Identity, Owner, RateLimit};
use super::skew::Skews;
pub use super::wire::Data;

/// Code of a call that the client did not send, or gave up, since the [`Fence`] was closed.
pub const NOT_LEADING: &str = "NotLeading";
/// Code of a call that the client did not send, or gave up, since the proof that this process serves the object was too old.
pub const NOT_SERVING: &str = "NotServing";

/// Maximum attempts of a call that is safe to repeat.
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
    /// Duration of the request, without the wait for the rate limit.
    pub duration: Duration,
}

/// Callback for finished requests.
pub type Listener = Arc<dyn Fn(&Finished<'_>) + Send + Sync>;

/// The client of all calls: transport, rate limit, clock skew, fence and listener, which its clones share.
#[derive(Clone)]
pub struct Client {
    http: HttpService,
    rate_limit: Arc<RateLimit>,
    budget: Option<Arc<Budget>>,
    skews: Skews,
    deadline: Duration,
    listener: Listener,
    fence: Fence,
    hold: Fence,
    clock: Clock,
}

impl Client {
    /// A client whose every attempt ends after `deadline`.
    pub fn new(http: HttpService, rate_limit: Arc<RateLimit>, deadline: Duration, listener: Listener) -> Self {
        let (budget, skews) = (None, Skews::default());
        let (fence, hold, clock) = (Fence::open(), Fence::open(), Clock::system());
        Self { http, rate_limit, budget, skews, deadline, listener, fence, hold, clock }
    }

    /// The same client, which sends changing calls only while `fence` is open.
    pub fn with_fence(self, fence: Fence) -> Self {
        Self { fence, ..self }
    }

    /// The same client, which sends changing calls only while `hold` is open as well: the proof that this process serves the object.
    pub fn with_hold(self, hold: Fence) -> Self {
        Self { hold, ..self }
    }

    /// The same client with another clock. It dates requests and decides when credentials expire.
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The clock of the calls.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The transport, for requests that belong to no API.
    pub fn http(&self) -> HttpService {
        self.http.clone()
    }

    /// The same client, whose calls need a slot of `budget` as well.
    pub fn with_budget(self, budget: Budget) -> Self {
        Self { budget: Some(Arc::new(budget)), ..self }
    }

    /// The distance by which this machine's clock certainly differs from the clock of the service at `endpoint`, either
    /// way, by the last answer. Zero before the first answer with a date. Clones of the client share it.
    pub fn clock_skew(&self, endpoint: &str) -> Duration {
        self.skews.of(endpoint)
    }

    /// Waits for the slots of a call: in the budget of the account object, if it sets one, then in the bucket that all
    /// callers with the identity share. That one is last, so that no call takes its slot before it is sent.
    async fn wait_for_slots(&self, target: &Target, call: &Call, identity: &Identity) -> Result<(), Error> {
        let own = self.budget.as_deref().map(Owner::Account);
        for owner in own.into_iter().chain([Owner::Shared(identity)]) {
            let key = bucket(target, call, owner);
            if let Err(wait) = slot::wait_for(&self.rate_limit, key, target.priority).await {
                let message = format!(
                    "call not sent: the operator's rate limit of {} has no slot for {} s, because other calls use it up or \
                     the service throttles them; wait",
                    call.operation,
                    wait.as_secs()
                );
                let (class, code) = (Class::Throttled { after: Some(wait) }, "LocalBudget".into());
                return Err(Error { class, operation: call.operation, code, message, request_id: None });
            }
        }
        Ok(())
    }

    /// Makes a call and returns, depending on the [`Style`], the answer's `data` (null if absent) or the whole answer.
    ///
    /// The client repeats reads, and changes with a client token, if the service failed or the answer was lost. Each
    /// repeat has a new date and nonce and is otherwise unchanged. After a lost answer no later refusal proves that the
    /// call did not happen: every error but NotFound is [`Class::Ambiguous`] then.
    ///
    /// The service does not carry out a call whose key it refuses. The client makes it once more if the signer has
    /// another key.
    pub async fn send(&self, target: &Target, call: &Call) -> Result<Data, Error> {
        let (mut attempt, mut lost, mut replaced) = (0, false, false);
        loop {
            attempt += 1;
            let credentials = match &target.signer {
                Some(signer) => Some(signer.credentials(self.clock.now()).await),
                None => None,
            };
            let identity = match &target.signer {
                Some(signer) => signer.counted_for(),
                None => Identity::unsigned(&target.endpoint),
            };
            self.wait_for_slots(target, call, &identity).await.map_err(|error| ambiguous_if(lost, error))?;
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
            // Every poll reads; only changes of the cloud are worth a line.
            match call.changing {
                true => tracing::info!(action, code, attempt, duration_ms, request_id, "cloud call"),
                false => tracing::debug!(action, code, attempt, duration_ms, request_id, "cloud call"),
            }
            let error = match outcome {
                Ok(data) => {
                    accepted();
                    return Ok(data);
                }
                Err(error) => error,
            };
            lost |= error.class == Class::Ambiguous;
            if let (Some(signer), Some(refused), true) = (&target.signer, &credentials, about_the_key(&error)) {
                let (endpoint, now) = (&target.endpoint, self.clock.now());
                let outcome = match replaced {
                    true => Replaced::No,
                    false => signer.replace(refused, endpoint, &error, call.changing, now).await,
                };
                match outcome {
                    Replaced::Yes => {
                        replaced = true;
                        continue;
                    }
                    // The next reconcile observes with the other identity.
                    Replaced::ByAnother => {
                        return Err(ambiguous_if(lost, Error { class: Class::Unavailable, ..error }));
                    }
                    Replaced::No => signer.report_refused(refused, endpoint, &error, now),
                }
            }
            // An answer about the content of the call means that the service accepted the key.
            let answered = matches!(error.class, Class::NotFound | Class::Conflict | Class::Denied | Class::Invalid);
            if answered && !about_the_key(&error) {
                accepted();
            }
            let repeat = match error.class {
                Class::Throttled { after } => {
                    let key = bucket(target, call, Owner::Shared(&identity));
                    self.rate_limit.throttled(key, after, Instant::now().into_std());
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
            Some(credentials) => signed(target, credentials, call, self.clock.now(), &nonce),
            None => unsigned(target, call, self.clock.now()),
        };
        let request = request.map_err(|error| failed(Class::Invalid, "BrokenRequest", error.to_string()))?;
        let started = self.clock.now();
        let sending = tokio::time::timeout(self.deadline, self.http.clone().oneshot(request));
        let answer = match call.changing {
            true => self.fence.within(self.hold.within(sending)).await,
            false => Ok(Ok(sending.await)),
        };
        let stopped = |Closed { begun }, code, why: &str| {
            let class = if begun { lost } else { Class::Unavailable };
            failed(class, code, format!("this process may change nothing now: {why}"))
        };
        let answer = answer.map_err(|closed| stopped(closed, NOT_LEADING, "its lease ended"))?;
        let old_proof = "the proof that no other operator process serves the object is too old";
        let answer = answer.map_err(|closed| stopped(closed, NOT_SERVING, old_proof))?;
        let response = match answer {
            Err(_) => return Err(failed(lost, "Timeout", format!("no answer within {:?}", self.deadline))),
            Ok(Err(TransportError::NotSent(why))) => return Err(failed(Class::Unavailable, "ConnectionFailed", why)),
            Ok(Err(TransportError::Lost(why))) => return Err(failed(lost, "ConnectionLost", why)),
            Ok(Ok(response)) => response,
        };
        let (parts, body) = response.into_parts();
        if let Some(date) = parts.headers.get(http::header::DATE).and_then(|date| date.to_str().ok()) {
            self.skews.measure(&target.endpoint, date, started, self.clock.now());
        }
        parse(parts.status.as_u16(), &parts.headers, &body, call).map_err(|error| {
            // Secrets are redacted first: in a shortened text a secret could be cut in two and missed.
            let clean = |text: String| one_line(&scrub(text, signer, call));
            let (code, message) = (clean(error.code), clean(error.message));
            Error { code, message, request_id: error.request_id.map(clean), ..error }
        })
    }
}

/// The bucket of a call.
fn bucket<'a>(target: &'a Target, call: &Call, owner: Owner<'a>) -> BucketKey<'a> {
    BucketKey { owner, product: target.product, region: &target.region, operation: call.operation }
}

/// The failure of a call after its first answer was `lost`: the call may have happened, whatever the answer to its
/// repeat.
fn ambiguous_if(lost: bool, error: Error) -> Error {
    match error.class {
        Class::NotFound => error,
        _ if lost => Error { class: Class::Ambiguous, ..error },
        _ => error,
    }
}

/// A code as a metric's label. The service must not be able to create any number of series.
fn label(code: &str) -> &str {
    let fits =
        code.len() <= 64 && code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ' '));
    if fits { code } else { "Unrecognized" }
}

/// Shortens a message to one line of at most 600 characters, for conditions and logs.
fn one_line(message: &str) -> String {
    let line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(600).collect();
    line.trim().to_owned()
}

/// Redacts every secret of the call in a text from the service.
fn scrub(mut text: String, signer: Option<&Credentials>, call: &Call) -> String {
    let key = signer.into_iter().flat_map(|it| it.security_token.iter().chain([&it.access_key_secret]));
    for secret in call.secrets.iter().chain(key) {
        let secret = secret.expose_secret();
        if secret.is_empty() {
            continue;
        }
        // XML escapes some characters.
        let escaped = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        for spelling in [escaped.clone(), escaped.replace('"', "&quot;").replace('\'', "&apos;")] {
            if secret.len() >= 4 && spelling != secret {
                text = text.replace(&spelling, "[redacted]");
            }
        }
        // Redacting a very short secret in place would reveal it: replace the whole text.
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
    use jiff::Timestamp;

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
        Target { product, version, endpoint, region, signer, priority: Priority::Change }
    }

    /// Makes a call through a fence and returns the outcome and the number of requests that arrived. If `closes`, the
    /// service closes the fence before it answers.
    async fn fenced(fence: Fence, call: Call, closes: bool) -> (Result<Data, Error>, usize) {
        sent_while(&fence, call, closes, |client| client.with_fence(fence.clone())).await
    }

    async fn sent_while(
        fence: &Fence,
        call: Call,
        closes: bool,
        with: impl Fn(Client) -> Client,
    ) -> (Result<Data, Error>, usize) {
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
        let client = with(Client::new(from_service(service), rate_limit, deadline, Arc::new(|_| {})));
        let outcome = client.send(&target(), &call).await;
        (outcome, arrived.load(std::sync::atomic::Ordering::SeqCst))
    }

    #[tokio::test]
    async fn closed_fence_stops_changes_but_not_reads() {
        let (outcome, arrived) = fenced(Fence::open(), call(true), false).await;
        assert!(outcome.is_ok() && arrived == 1);
        let (outcome, arrived) = fenced(Fence::closed(), call(true), false).await;
        let error = outcome.expect_err("it is not made");
        assert_eq!((error.class, error.code.as_str(), arrived), (Class::Unavailable, NOT_LEADING, 0));
        let (outcome, arrived) = fenced(Fence::closed(), call(false), false).await;
        assert!(outcome.is_ok() && arrived == 1);
        // A repeatable change is not sent either.
        let (outcome, arrived) = fenced(Fence::closed(), Call { repeatable: true, ..call(true) }, false).await;
        assert!(outcome.is_err() && arrived == 0);
    }

    #[tokio::test]
    async fn change_is_ambiguous_when_fence_closes_meanwhile() {
        let (outcome, arrived) = fenced(Fence::open(), Call { repeatable: true, ..call(true) }, true).await;
        let error = outcome.expect_err("its answer is not waited for");
        assert_eq!((error.class, error.code.as_str(), arrived), (Class::Ambiguous, NOT_LEADING, 1));
    }

    #[tokio::test]
    async fn old_proof_stops_changes_but_not_reads() {
        for (hold, changing, closes, expected) in [
            (Fence::open(), true, false, (None, 1)),
            (Fence::closed(), true, false, (Some(Class::Unavailable), 0)),
            (Fence::closed(), false, false, (None, 1)),
            (Fence::open(), true, true, (Some(Class::Ambiguous), 1)),
        ] {
            let (outcome, arrived) =
                sent_while(&hold, call(changing), closes, |client| client.with_hold(hold.clone())).await;
            let error = outcome.err();
            assert!(error.iter().all(|it| it.code == NOT_SERVING), "{error:?}");
            assert_eq!((error.map(|it| it.class), arrived), expected);
        }
    }

    #[test]
    fn error_texts_never_repeat_secrets() {
        let text = scrub("hunter22, key-secret and token-text are wrong".into(), Some(&key()), &call(true));
        assert_eq!(text, "[redacted], [redacted] and [redacted] are wrong");
        assert!(!format!("{:?} {:?}", target(), call(true)).contains("hunter22"));
        assert!(!format!("{:?}", target()).contains("key-secret"));
    }

    #[test]
    fn every_header_but_authorization_is_signed() {
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
