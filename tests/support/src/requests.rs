//! Requests to the simulator in this process, signed as the client signs.

use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::Body;
use disaster_recovery_operator::cloud::sign;
use disaster_recovery_operator::simulator::Simulator;
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

/// Parameters or headers.
pub type Pairs<'a> = &'a [(&'a str, &'a str)];

/// An access key that signs.
#[derive(Clone)]
pub struct Key {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// The security token of a temporary key.
    pub token: Option<String>,
}

impl Key {
    /// A key without a security token.
    pub fn permanent(id: &str, secret: &str) -> Self {
        Self { id: id.to_owned(), secret: secret.to_owned(), token: None }
    }

    /// The key that every simulator knows.
    pub fn usual() -> Self {
        Self::permanent("simulator-key-id", "simulator-key-secret")
    }

    /// The key in an answer of STS or of the metadata service.
    pub fn of(body: &Value) -> Self {
        let body = body.get("Credentials").unwrap_or(body);
        let text = |name: &str| body[name].as_str().expect("a field of the key").to_owned();
        Self { id: text("AccessKeyId"), secret: text("AccessKeySecret"), token: Some(text("SecurityToken")) }
    }
}

/// Method, host and API version of a request.
pub type Endpoint<'a> = (&'a str, &'a str, &'a str);

/// The simulator's time, `ahead_s` seconds ahead, as `x-acs-date` has it.
pub fn date(simulator: &Simulator, ahead_s: i64) -> String {
    let at = jiff::Timestamp::from_second(simulator.now_ms() / 1000 + ahead_s).expect("a time");
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A signed request to a product: action and path, query and form.
pub fn signed(
    simulator: &Simulator,
    key: &Key,
    endpoint: Endpoint<'_>,
    call: (&str, &str),
    (query, form): (Pairs<'_>, Pairs<'_>),
) -> Request<Body> {
    let form = ("application/x-www-form-urlencoded", sign::canonical_query(&owned(form)));
    signed_with_body(simulator, key, endpoint, call, (query, form))
}

/// A signed request to a product with a body of JSON.
pub fn signed_json(
    simulator: &Simulator,
    key: &Key,
    endpoint: Endpoint<'_>,
    call: (&str, &str),
    body: &Value,
) -> Request<Body> {
    let body = ("application/json; charset=utf-8", body.to_string());
    signed_with_body(simulator, key, endpoint, call, (&[], body))
}

fn signed_with_body(
    simulator: &Simulator,
    key: &Key,
    (method, host, version): Endpoint<'_>,
    (action, path): (&str, &str),
    (query, (content_type, body)): (Pairs<'_>, (&str, String)),
) -> Request<Body> {
    static NONCE: AtomicU32 = AtomicU32::new(0);
    let (query, body) = (owned(query), body.into_bytes());
    let (hash, date) = (sign::payload_hash(&body), date(simulator, 0));
    let nonce = format!("nonce-{}", NONCE.fetch_add(1, Ordering::Relaxed));
    let mut headers = vec![
        ("host", host),
        ("x-acs-action", action),
        ("x-acs-content-sha256", &hash),
        ("x-acs-date", &date),
        ("x-acs-signature-nonce", &nonce),
        ("x-acs-version", version),
    ];
    if !body.is_empty() {
        headers.push(("content-type", content_type));
    }
    if let Some(token) = &key.token {
        headers.push(("x-acs-security-token", token));
    }
    let canonical = sign::canonical_request(method, path, &query, &headers, &hash);
    let authorization = sign::authorization(&key.id, &key.secret, &canonical);
    let mut request = Request::builder().method(method).uri(format!("{path}?{}", sign::canonical_query(&query)));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.header("authorization", authorization).body(Body::from(body)).expect("a request")
}

fn owned(pairs: Pairs<'_>) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Sends a request: the status and the body. The body is `None` when the connection broke.
pub async fn exchange(simulator: &Simulator, request: Request<Body>) -> (u16, Option<String>) {
    let response = simulator.router().oneshot(request).await.expect("an answer");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.ok();
    (status, body.map(|body| String::from_utf8(body.to_bytes().to_vec()).expect("text")))
}

/// Sends a request: the status and the JSON. The JSON is null when the connection broke.
pub async fn answer(simulator: &Simulator, request: Request<Body>) -> (u16, Value) {
    let (status, body) = exchange(simulator, request).await;
    (status, body.map_or(Value::Null, |body| serde_json::from_str(&body).expect("JSON")))
}

/// A request to the admin API, below `/_simulator`. A body of null is none.
pub async fn admin(simulator: &Simulator, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let request = Request::builder().method(method).uri(format!("/_simulator{path}"));
    answer(simulator, request.body(body).expect("a request")).await
}
