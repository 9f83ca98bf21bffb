//! The transport of requests, independent of their content.

use std::fmt;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

pub use bytes::Bytes;

use super::super::endpoint;

/// Time after which a connection with unacknowledged data is closed.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of an answer. A page of 1,000 entries is far smaller.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// Host of the metadata service of an ECS instance. Source: the official SDK.
pub const METADATA_HOST: &str = "100.100.100.200";

/// The reason for a missing answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// There was no connection, so the service did not carry out the request.
    #[error("{0}")]
    NotSent(String),
    /// The request was sent, and its answer did not arrive whole.
    #[error("{0}")]
    Lost(String),
}

/// The transport: a TLS connector in production, the simulator's router in tests.
pub type HttpService = BoxCloneSyncService<Request<Bytes>, Response<Bytes>, TransportError>;

/// The connector for production: TLS, HTTP/1.1, proxies from the environment, no redirects (a redirect must not carry a
/// signature elsewhere).
///
/// Requests to this machine or to the metadata service of the ECS instance never go through a proxy, whatever the
/// environment says: they are plain text and must not leave the machine. `connect_timeout` is for one connection.
pub fn https(connect_timeout: Duration) -> Result<HttpService, reqwest::Error> {
    let builder = || {
        reqwest::Client::builder()
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(connect_timeout)
            // Unacknowledged data must not be retransmitted for long: another process may lead by then.
            .tcp_user_timeout(UNACKNOWLEDGED_TIMEOUT)
            // Shorter than the keep-alive of usual servers: reusing a connection that they just closed loses an answer.
            .pool_idle_timeout(Duration::from_secs(15))
    };
    let (direct, by_environment) = (builder().no_proxy().build()?, builder().build()?);
    Ok(BoxCloneSyncService::new(tower::service_fn(move |request: Request<Bytes>| {
        let (direct, by_environment) = (direct.clone(), by_environment.clone());
        async move {
            let request = reqwest::Request::try_from(request).map_err(|error| not_sent(&error))?;
            // The host is the parsed one that the connector dials, so no spelling of an address escapes the check.
            let client = if request.url().host_str().is_some_and(stays_here) { direct } else { by_environment };
            let mut answer = client.execute(request).await.map_err(|error| {
                if error.is_connect() || error.is_builder() { not_sent(&error) } else { lost(&error) }
            })?;
            let mut response = Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                std::mem::swap(headers, answer.headers_mut());
            }
            let length = answer.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
            let mut body = Vec::with_capacity(length.min(MAX_ANSWER_BYTES));
            while let Some(chunk) = answer.chunk().await.map_err(|error| lost(&error))? {
                if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                    return Err(TransportError::Lost("the answer is larger than 8 MiB".into()));
                }
                body.extend_from_slice(&chunk);
            }
            response.body(Bytes::from(body)).map_err(|error| TransportError::Lost(error.to_string()))
        }
    })))
}

/// Whether requests to a host stay on this machine: loopback, and the metadata service of the ECS instance.
fn stays_here(host: &str) -> bool {
    endpoint::is_loopback(host) || host == METADATA_HOST
}

/// Wraps any HTTP service, such as a router in this process, as a connector.
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
            let body = Limited::new(body, MAX_ANSWER_BYTES)
                .collect()
                .await
                .map_err(|error| TransportError::Lost(error.to_string()))?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        }
    }))
}

fn not_sent(error: &reqwest::Error) -> TransportError {
    TransportError::NotSent(innermost_cause(error))
}

fn lost(error: &reqwest::Error) -> TransportError {
    TransportError::Lost(innermost_cause(error))
}

/// The innermost cause, which says what happened. The outer causes repeat the URL.
fn innermost_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_metadata_requests_bypass_proxies() {
        let host = |text: &str| reqwest::Url::parse(text).expect("a URL").host_str().expect("has a host").to_owned();
        for text in [
            "http://127.0.0.1:8080/",
            "http://LOCALHOST/",
            "http://[::1]:80/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://100.100.100.200/latest/api/token",
        ] {
            assert!(stays_here(&host(text)), "{text}");
        }
        for text in ["https://sts.aliyuncs.com/", "http://127.0.0.1.nip.io/", "http://100.100.100.201/"] {
            assert!(!stays_here(&host(text)), "{text}");
        }
    }
}
