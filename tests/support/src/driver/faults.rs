//! The network between the operator and the cloud: the fates of single calls.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use disaster_recovery_operator::cloud::client::{HttpService, TransportError};
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::simulator::FaultKind;
use http::{Request, Response};
use tower::ServiceExt;

use super::tripwire::{Deed, Tripwire};

/// The fate of one changing call, its repeats by the client included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The cloud answers.
    Normal,
    /// The network does not accept the request.
    NotSent,
    /// The cloud has this fault.
    Fault(FaultKind),
}

impl Fate {
    /// The cloud executes it, and the answer is lost.
    pub const REPLY_LOST: Fate = Fate::Fault(FaultKind::ReplyLost);
    /// The request is lost, and the operator cannot know that.
    pub const LOST: Fate = Fate::Fault(FaultKind::Lost);

    /// The cloud executes it so many ms later, and the operator gets no answer.
    pub fn late(ms: u32) -> Fate {
        Fate::Fault(FaultKind::ExecutedLate { ms })
    }

    /// The cloud executes it, and answers that the call with this token is in progress.
    pub fn processing() -> Fate {
        let (code, message) = ("LastTokenProcessing".to_owned(), "injected".to_owned());
        Fate::Fault(FaultKind::ErrorAfter { status: 403, code, message, pascal_case: false })
    }

    /// Whether the operator knows that the cloud did not execute it.
    pub fn refuses(&self) -> bool {
        matches!(self, Fate::NotSent | Fate::Fault(FaultKind::Error { .. } | FaultKind::Throttle { .. }))
    }

    /// The cloud refuses it with an error of this class, and does not execute it.
    pub fn refused(class: Class) -> Fate {
        match class {
            Class::Unavailable => Fate::NotSent,
            Class::Ambiguous => Fate::Fault(FaultKind::refusal(500, "InternalError")),
            Class::NotFound | Class::Conflict | Class::Throttled { .. } | Class::Denied | Class::Invalid => {
                Fate::Fault(refusal(class))
            }
        }
    }
}

/// An error that a read or a change gets for this class.
pub fn refusal(class: Class) -> FaultKind {
    let (status, code) = match class {
        Class::NotFound => (404, "NoSuchResource"),
        Class::Conflict => (409, "Injected"),
        Class::Throttled { .. } => (400, "Throttling.User"),
        Class::Denied => (403, "NoPermission"),
        Class::Invalid => (400, "InvalidParameter"),
        Class::Unavailable | Class::Ambiguous => (503, "ServiceUnavailable"),
    };
    FaultKind::refusal(status, code)
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

/// What another actor does while a call is in progress.
type Beside = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    fates: VecDeque<Fate>,
    /// By the number of the changing call since [`Wire::set_fates`], from 0.
    beside: HashMap<usize, Beside>,
    /// The fate of each call that was made, by its key.
    decided: HashMap<String, Fate>,
    /// The changing requests since the last [`Wire::forget_attempts`].
    attempts: Vec<Attempt>,
}

/// The network. Its clones share the faults.
#[derive(Clone)]
pub struct Wire {
    cloud: HttpService,
    tripwire: Tripwire,
    state: Arc<Mutex<State>>,
}

impl Wire {
    /// A network to this cloud.
    pub fn new(cloud: HttpService, tripwire: Tripwire) -> Self {
        Self { cloud, tripwire, state: Arc::default() }
    }

    /// Sets the fates of the next changing calls, one each; the calls after them are normal.
    pub fn set_fates(&self, fates: Vec<Fate>) {
        let mut state = self.lock();
        (state.fates, state.decided) = (fates.into(), HashMap::new());
    }

    /// Runs something while the changing call of this number is in progress: the first one is 0.
    pub fn beside(&self, number: usize, what: impl FnOnce() + Send + 'static) {
        self.lock().beside.insert(number, Box::new(what));
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

    /// The network as the operator's client takes it.
    pub fn service(&self) -> HttpService {
        let wire = self.clone();
        HttpService::new(tower::service_fn(move |request| {
            let wire = wire.clone();
            async move { wire.carry(request).await }
        }))
    }

    async fn carry(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let Some(call) = change(&request) else { return self.cloud.clone().oneshot(request).await };
        let fate = self.fate(call);
        self.tripwire.before(Deed::Call).await;
        let (action, token) = (header(&request, "x-acs-action"), token(&request));
        let beside = {
            let mut state = self.lock();
            let number = state.attempts.len();
            state.beside.remove(&number)
        };
        if let Some(beside) = beside {
            beside();
        }
        let answer = match fate {
            Fate::Normal => self.cloud.clone().oneshot(request).await,
            Fate::NotSent => Err(TransportError::NotSent("injected".into())),
            Fate::Fault(kind) => {
                request.extensions_mut().insert(kind);
                self.cloud.clone().oneshot(request).await
            }
        };
        let answered = answer.as_ref().ok().map(|answer| (answer.status().as_u16(), code(answer)));
        self.lock().attempts.push(Attempt { action, token, answer: answered });
        self.tripwire.after(Deed::Call).await;
        answer
    }

    /// The fate of a call: a repeat by the client has the fate of the first attempt.
    fn fate(&self, call: String) -> Fate {
        let mut state = self.lock();
        if let Some(known) = state.decided.get(&call) {
            return known.clone();
        }
        let fate = state.fates.pop_front().unwrap_or(Fate::Normal);
        state.decided.insert(call, fate.clone());
        fate
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
