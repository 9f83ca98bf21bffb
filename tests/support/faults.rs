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

#[derive(Default)]
struct State {
    faults: VecDeque<Fault>,
    /// The fault of each call that was made, by its key.
    fates: HashMap<String, Fault>,
    /// Requests that arrive late, with their times in ms.
    delayed: Vec<(i64, Request<Bytes>)>,
    /// The last answer to each read, by what it asks for.
    reads: HashMap<String, Response<Bytes>>,
    /// Whether reads are answered as the last time.
    stale: bool,
    now_ms: Option<Arc<dyn Fn() -> i64 + Send + Sync>>,
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
        self.lock().stale = stale;
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
                let now = state.now_ms.as_ref().map_or(0, |now| now());
                state.delayed.push((now + ms, request));
                Err(lost())
            }
        };
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
            state.reads.get(&asked).filter(|_| state.stale).cloned()
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let answer = self.cloud.clone().oneshot(request).await?;
        self.lock().reads.insert(asked, answer.clone());
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
    let query = request.uri().query().unwrap_or_default();
    let token = query.split('&').find(|it| it.starts_with("ClientToken="));
    Some(format!("{action} {}", token.map_or_else(|| header(request, "x-acs-signature-nonce"), str::to_owned)))
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
