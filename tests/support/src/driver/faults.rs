//! The network between the operator and the cloud: faults of single calls, late execution, and reads that are old.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use disaster_recovery_operator::cloud::client::{HttpService, TransportError};
use disaster_recovery_operator::cloud::error::Class;
use http::{Request, Response};
use tower::ServiceExt;

use super::tripwire::{Deed, Tripwire};

/// The fate of one changing call, its repeats by the client included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The cloud answers.
    None,
    /// The cloud refuses it with an error of this class, and does not carry it out.
    Refused(Class),
    /// The cloud carries it out, and the answer is lost.
    AnswerLost,
    /// The request is lost, and the operator cannot know that.
    RequestLost,
    /// The cloud carries it out so many ms later, and the operator gets no answer.
    Delayed(i64),
    /// The cloud carries it out, and answers that the call with this token is in progress.
    Processing,
}

/// A changing request that the operator sent, and the answer that it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The operation.
    pub action: String,
    /// The client token, where the operation has one.
    pub token: Option<String>,
    /// HTTP status and error code of the answer; absent where no answer arrived.
    pub answer: Option<(u16, String)>,
}

#[derive(Default)]
struct State {
    faults: VecDeque<Fault>,
    /// The fault of each call that was made, by its key.
    fates: HashMap<String, Fault>,
    /// Requests that arrive late, with their times in ms.
    delayed: Vec<(i64, Request<Bytes>)>,
    /// The last answer to each read and its time, by what it asks for.
    reads: HashMap<String, (i64, Response<Bytes>)>,
    /// Where reads are answered as the last time: the time of the oldest answer that is given again.
    stale: Option<i64>,
    /// The changing requests since the last [`Wire::forget_attempts`].
    attempts: Vec<Attempt>,
    now_ms: Option<Arc<dyn Fn() -> i64 + Send + Sync>>,
}

impl State {
    fn now(&self) -> i64 {
        self.now_ms.as_ref().map_or(0, |now| now())
    }
}

/// The network. Its clones share the faults.
#[derive(Clone)]
pub struct Wire {
    cloud: HttpService,
    tripwire: Tripwire,
    state: Arc<Mutex<State>>,
}

impl Wire {
    /// A network to this cloud. `now_ms` is the simulated time.
    pub fn new(cloud: HttpService, tripwire: Tripwire, now_ms: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        let state = State { now_ms: Some(Arc::new(now_ms)), ..State::default() };
        Self { cloud, tripwire, state: Arc::new(Mutex::new(state)) }
    }

    /// Sets the faults of the next changing calls, one each; the ones after them have none.
    pub fn fail_in_turn(&self, faults: Vec<Fault>) {
        let mut state = self.lock();
        (state.faults, state.fates) = (faults.into(), HashMap::new());
    }

    /// Answers reads as the last time, where there was one.
    pub fn answer_stale(&self, stale: bool) {
        self.lock().stale = stale.then_some(i64::MIN);
    }

    /// Answers reads as the last time, where that was at this time or later.
    pub fn answer_stale_since(&self, at_ms: i64) {
        self.lock().stale = Some(at_ms);
    }

    /// The changing requests that the operator sent since the last [`Wire::forget_attempts`], repeats included.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.lock().attempts.clone()
    }

    pub fn forget_attempts(&self) {
        self.lock().attempts.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// Takes the first request that arrives late by this time.
    pub fn next_delayed(&self, until: i64) -> Option<(i64, Request<Bytes>)> {
        let mut state = self.lock();
        state.delayed.sort_by_key(|(at, _)| *at);
        let due = state.delayed.first().is_some_and(|(at, _)| *at <= until);
        due.then(|| state.delayed.remove(0))
    }

    /// Delivers a late request.
    pub async fn deliver(&self, request: Request<Bytes>) {
        drop(self.cloud.clone().oneshot(request).await);
    }

    /// The network as the operator's client takes it.
    pub fn service(&self) -> HttpService {
        let wire = self.clone();
        HttpService::new(tower::service_fn(move |request| {
            let wire = wire.clone();
            async move { wire.carry(request).await }
        }))
    }

    async fn carry(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let Some(call) = change(&request) else { return self.read(request).await };
        let fault = self.fate(call);
        self.tripwire.before(Deed::Call).await;
        let (action, token) = (header(&request, "x-acs-action"), token(&request));
        let answer = match fault {
            Fault::None => self.cloud.clone().oneshot(request).await,
            Fault::Refused(class) => refusal(class),
            Fault::RequestLost => Err(lost()),
            Fault::AnswerLost => {
                self.deliver(request).await;
                Err(lost())
            }
            Fault::Processing => {
                self.deliver(request).await;
                Ok(error(403, "LastTokenProcessing"))
            }
            Fault::Delayed(ms) => {
                let mut state = self.lock();
                let now = state.now();
                state.delayed.push((now + ms, request));
                Err(lost())
            }
        };
        let answered = answer.as_ref().ok().map(|answer| (answer.status().as_u16(), code(answer)));
        self.lock().attempts.push(Attempt { action, token, answer: answered });
        self.tripwire.after(Deed::Call).await;
        answer
    }

    /// The fault of a call: a repeat by the client has the fate of the first attempt.
    fn fate(&self, call: String) -> Fault {
        let mut state = self.lock();
        if let Some(known) = state.fates.get(&call) {
            return *known;
        }
        let fault = state.faults.pop_front().unwrap_or(Fault::None);
        state.fates.insert(call, fault);
        fault
    }

    async fn read(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let asked = format!("{} {}", header(&request, "x-acs-action"), request.uri());
        let known = {
            let state = self.lock();
            let known = state.reads.get(&asked);
            known.filter(|(at, _)| state.stale.is_some_and(|since| *at >= since)).map(|(_, answer)| answer.clone())
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let answer = self.cloud.clone().oneshot(request).await?;
        let mut state = self.lock();
        let now = state.now();
        state.reads.insert(asked, (now, answer.clone()));
        Ok(answer)
    }
}

/// What identifies a changing call and its repeats: the operation and the client token of EBS; else each request is a call of
/// its own.
fn change(request: &Request<Bytes>) -> Option<String> {
    let action = header(request, "x-acs-action");
    if ["Get", "List", "Describe"].iter().any(|prefix| action.starts_with(prefix)) {
        return None;
    }
    Some(format!("{action} {}", token(request).unwrap_or_else(|| header(request, "x-acs-signature-nonce"))))
}

/// The client token of a request to EBS.
fn token(request: &Request<Bytes>) -> Option<String> {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').find_map(|it| it.strip_prefix("ClientToken=")).map(str::to_owned)
}

/// The code of an answer, in the casing of either product.
fn code(answer: &Response<Bytes>) -> String {
    let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    ["Code", "code"].iter().find_map(|name| body[*name].as_str()).unwrap_or_default().to_owned()
}

fn header(request: &Request<Bytes>, name: &str) -> String {
    request.headers().get(name).and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned()
}

fn lost() -> TransportError {
    TransportError::Lost("injected".into())
}

fn refusal(class: Class) -> Result<Response<Bytes>, TransportError> {
    Ok(match class {
        Class::NotFound => error(404, "NoSuchResource"),
        Class::Conflict => error(409, "Injected"),
        Class::Throttled { .. } => error(400, "Throttling.User"),
        Class::Denied => error(403, "NoPermission"),
        Class::Invalid => error(400, "InvalidParameter"),
        Class::Unavailable => return Err(TransportError::NotSent("injected".into())),
        Class::Ambiguous => error(500, "InternalError"),
    })
}

/// An error in both casings of the API's products.
fn error(status: u16, code: &str) -> Response<Bytes> {
    let body = serde_json::json!({
        "success": false, "code": code, "message": "injected", "requestId": "R-injected",
        "Code": code, "Message": "injected", "RequestId": "R-injected",
    });
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(body.to_string().into()).expect("a response")
}
