//! A small service that notes what arrives and answers as a function says.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use disaster_recovery_operator::cloud::client::{Client, HttpService, from_service};
use disaster_recovery_operator::cloud::credentials::Credentials;
use disaster_recovery_operator::cloud::rate_limit::RateLimit;
use disaster_recovery_operator::cloud::sign;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub host: String,
    pub path: String,
    pub uri: String,
    pub query: BTreeMap<String, String>,
    pub headers: HeaderMap,
    pub body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The form in the body.
    pub fn form(&self) -> BTreeMap<String, String> {
        pairs(&self.body)
    }

    /// Compares the signature with one computed from the received request, over every header except the signature.
    pub fn assert_signed_by(&self, key: &Credentials, secret: &str) {
        let names = self.headers.keys().map(http::HeaderName::as_str).filter(|name| *name != "authorization");
        let headers: Vec<_> = names.map(|name| (name, self.header(name))).collect();
        let query: Vec<_> = self.query.iter().collect();
        let hash = sign::payload_hash(self.body.as_bytes());
        assert_eq!(self.header("x-acs-content-sha256"), hash);
        let canonical = sign::canonical_request(self.method.as_str(), &self.path, &query, &headers, &hash);
        let expected = sign::authorization(&key.access_key_id, secret, &canonical);
        assert_eq!(self.header("authorization"), expected, "\n{}", canonical.request);
    }
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    text.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (decode(key), decode(value))).collect()
}

/// What is answered; status 0 is never.
pub type Answer = (u16, String);

type Answering = dyn Fn(&Seen, usize) -> Answer + Send + Sync;

/// The service.
#[derive(Clone)]
pub struct Service {
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<Answering>,
}

impl Service {
    /// A service whose answer depends on the request and on the number of requests before it.
    pub fn new(answer: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static) -> Self {
        Self { seen: Arc::default(), answer: Arc::new(answer) }
    }

    /// One that gives a session to everybody, numbered.
    pub fn sts() -> Self {
        Self::new(|_, number| (200, session(&format!("session-{number}")).to_string()))
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn http(&self) -> HttpService {
        let service = self.clone();
        from_service(Router::new().fallback(move |request| service.clone().serve(request)))
    }

    pub fn client(&self) -> Client {
        Client::new(self.http(), Arc::new(RateLimit::new(1000)), Duration::from_secs(5), Arc::new(|_| {}))
    }

    async fn serve(self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let seen = Seen {
            method: parts.method,
            host: parts.uri.authority().map(ToString::to_string).unwrap_or_default(),
            path: parts.uri.path().to_owned(),
            uri: parts.uri.to_string(),
            query: pairs(parts.uri.query().unwrap_or_default()),
            headers: parts.headers,
            body,
        };
        let number = {
            let mut all = self.seen.lock().unwrap();
            all.push(seen.clone());
            all.len()
        };
        match (self.answer)(&seen, number) {
            (0, _) => std::future::pending().await,
            (status, body) => Response::builder().status(status).body(Body::from(body)).unwrap(),
        }
    }
}

/// What STS answers.
pub fn session(id: &str) -> Value {
    let expires = in_an_hour();
    json!({
        "RequestId": "964E0EC5-575B-4FF5-8FD0-D4BD8025602A",
        "AssumedRoleUser": {"Arn": "acs:ram::1:role/operator/s", "AssumedRoleId": "33157794895460****:s"},
        "Credentials": {
            "AccessKeyId": format!("STS.{id}"),
            "AccessKeySecret": format!("{id}-secret"),
            "SecurityToken": format!("{id}-token"),
            "Expiration": expires,
        },
    })
}

pub fn in_an_hour() -> String {
    let time = Timestamp::now() + SignedDuration::from_hours(1);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub fn refusal(status: u16, code: &str, message: &str) -> Answer {
    (status, json!({"RequestId": "R", "HostId": "h", "Code": code, "Message": message}).to_string())
}

pub fn key(id: &str) -> Credentials {
    Credentials {
        access_key_id: id.into(),
        access_key_secret: format!("{id}-secret").into(),
        security_token: Some(format!("{id}-token").into()),
    }
}

/// Neither what is shown to people nor what is shown to developers has any of these.
pub fn assert_hidden(shown: &(impl Debug + ?Sized), text: &str, secrets: &[&str]) {
    let debug = format!("{shown:?} {shown:#?}");
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} is in {text}");
        assert!(!debug.contains(secret), "{secret} is in {debug}");
    }
}
