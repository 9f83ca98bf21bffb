//! A small versioned store behind the API server's paths: the requests that the operator makes for one object, and no other.
//! It has resourceVersion conflicts as the API server has them. Admission, defaulting and field management are not here: a real
//! kube-apiserver proves them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower::Service;

use super::tripwire::{Deed, Tripwire};

/// An event that the operator published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Normal or Warning.
    pub type_: String,
    pub reason: String,
    pub action: String,
    pub note: String,
}

#[derive(Clone, Default)]
struct State {
    /// Objects by their paths, such as /api/v1/namespaces/a/secrets/b.
    objects: BTreeMap<String, Value>,
    version: u64,
    events: Vec<Published>,
    /// Writes that the store accepted: method and path.
    writes: Vec<String>,
    /// How many of the next writes conflict.
    conflicts: u32,
    /// How many of the next writes are carried out without an answer.
    lost: u32,
}

/// The store. Its clones share the objects.
#[derive(Clone)]
pub struct Store {
    state: Arc<Mutex<State>>,
    tripwire: Tripwire,
}

impl Store {
    /// An empty store, whose writes count on the tripwire.
    pub fn new(tripwire: Tripwire) -> Self {
        Self { state: Arc::default(), tripwire }
    }

    /// A store with the same content that shares nothing with this one.
    pub fn fork(&self, tripwire: Tripwire) -> Self {
        Self { state: Arc::new(Mutex::new(self.lock().clone())), tripwire }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with the store locked")
    }

    /// A client of the store.
    pub fn client(&self) -> Client {
        Client::new(self.clone(), "default")
    }

    /// Writes an object as another actor does, with the next resourceVersion.
    pub fn put(&self, path: &str, mut object: Value) {
        let mut state = self.lock();
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        state.objects.insert(path.to_owned(), object);
    }

    /// Removes an object.
    pub fn remove(&self, path: &str) {
        self.lock().objects.remove(path);
    }

    /// An object as it is now.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.lock().objects.get(path).cloned()
    }

    /// The events since the last call.
    pub fn take_events(&self) -> Vec<Published> {
        std::mem::take(&mut self.lock().events)
    }

    /// The accepted writes since the last call.
    pub fn take_writes(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().writes)
    }

    /// Refuses so many of the next writes with a conflict, as for a process whose cache lacks the write of another actor.
    pub fn refuse_writes(&self, count: u32) {
        self.lock().conflicts = count;
    }

    /// Carries out so many of the next writes without an answer.
    pub fn lose_answers(&self, count: u32) {
        self.lock().lost = count;
    }

    fn answer(&self, method: &Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let mut state = self.lock();
        match *method {
            Method::GET => match state.objects.get(path) {
                Some(object) => (StatusCode::OK, object.clone()),
                None => failure(StatusCode::NOT_FOUND, "NotFound", path),
            },
            Method::POST if path.ends_with("/events") => {
                let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
                let (type_, reason, action, note) = (text("type"), text("reason"), text("action"), text("note"));
                state.events.push(Published { type_, reason, action, note });
                (StatusCode::CREATED, body.clone())
            }
            Method::PATCH | Method::PUT => {
                let answer = state.write(method, path, body);
                match state.lost.checked_sub(1) {
                    Some(left) => {
                        state.lost = left;
                        failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", path)
                    }
                    None => answer,
                }
            }
            _ => failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", path),
        }
    }
}

impl State {
    /// A merge patch of metadata, or a replacement of the status.
    fn write(&mut self, method: &Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let (of, status) = path.strip_suffix("/status").map_or((path, false), |of| (of, true));
        if status != (method == Method::PUT) {
            return failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", path);
        }
        let Some(object) = self.objects.get_mut(of) else {
            return failure(StatusCode::NOT_FOUND, "NotFound", of);
        };
        if self.conflicts > 0 {
            self.conflicts -= 1;
            return failure(StatusCode::CONFLICT, "Conflict", of);
        }
        let wanted = &body["metadata"]["resourceVersion"];
        if !wanted.is_null() && *wanted != object["metadata"]["resourceVersion"] {
            return failure(StatusCode::CONFLICT, "Conflict", of);
        }
        let before = object.clone();
        match status {
            true => object["status"] = body["status"].clone(),
            false => merge(object, body.clone()),
        }
        object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
        if *object != before {
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        }
        self.writes.push(format!("{method} {path}"));
        let object = object.clone();
        let finalizers = object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty);
        if finalizers && object["metadata"]["deletionTimestamp"].is_string() {
            self.objects.remove(of);
        }
        (StatusCode::OK, object)
    }
}

/// Merges a JSON merge patch: null removes a field, lists are replaced.
pub fn merge(value: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *value = patch;
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    let fields = value.as_object_mut().expect("an object");
    for (name, part) in patch {
        if part.is_null() {
            fields.remove(&name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), part);
        }
    }
}

fn failure(code: StatusCode, reason: &str, path: &str) -> (StatusCode, Value) {
    let message = format!("{path}: {reason}");
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code.as_u16(), "reason": reason,
        "message": message, "metadata": {}, "details": {},
    });
    (code, status)
}

/// What a request writes.
fn deed(path: &str, body: &Value) -> Deed {
    match path.ends_with("/status") {
        true => Deed::Status,
        false if body["metadata"]["finalizers"].is_array() => Deed::Finalizer,
        false => Deed::Annotations,
    }
}

impl Service<Request<Body>> for Store {
    type Response = Response<Full<bytes::Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let store = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await.expect("a request with a body").to_bytes();
            let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("JSON") };
            let writes = [Method::PATCH, Method::PUT].contains(&parts.method);
            let deed = writes.then(|| deed(parts.uri.path(), &body));
            if let Some(deed) = deed {
                store.tripwire.before(deed).await;
            }
            let (code, answer) = store.answer(&parts.method, parts.uri.path(), &body);
            if let Some(deed) = deed.filter(|_| code.is_success()) {
                store.tripwire.after(deed).await;
            }
            let answer = serde_json::to_vec(&answer).expect("JSON");
            let response = Response::builder().status(code).header("content-type", "application/json");
            Ok(response.body(Full::new(answer.into())).expect("a response"))
        })
    }
}
