//! What carries requests, without knowing what they say.

use std::fmt;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

pub use bytes::Bytes;

/// The most that an answer may hold; a page of 10,000 plans is far below.
const LARGEST_ANSWER: usize = 64 << 20;

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
/// `through_proxy` is false where an endpoint is on this machine: what is plain text there must not leave it.
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
