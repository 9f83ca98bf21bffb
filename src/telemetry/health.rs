//! `/livez`, `/readyz` and `/metrics` over HTTP.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use futures::stream;

use super::metrics::Metrics;

/// Maximum time for one probe by [`probe`].
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Readiness of the operator: true from the time its caches are filled until it shuts down, whether it leads or not.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Sets the readiness.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }
}

/// Builds the routes `/livez`, `/readyz` and `/metrics`.
pub fn router(readiness: Readiness, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(metrics_text).with_state(metrics))
}

/// Reason why a probe fails.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The endpoint is unreachable or does not answer.
    #[error("{url} was not reached: {source}")]
    Unreachable {
        /// URL of the endpoint.
        url: String,
        /// Cause of the failure.
        source: reqwest::Error,
    },
    /// The endpoint answers with a status other than 2xx.
    #[error("{url} answers {status}: {text}")]
    Status {
        /// URL of the endpoint.
        url: String,
        /// Status of the answer.
        status: StatusCode,
        /// Body of the answer, shortened to 200 characters.
        text: String,
    },
}

/// Requests a probe endpoint once, without a proxy. Succeeds if the answer is a 2xx.
pub async fn probe(url: &str) -> Result<(), ProbeError> {
    let unreachable =
        |source: reqwest::Error| ProbeError::Unreachable { url: url.into(), source: source.without_url() };
    let client =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(PROBE_TIMEOUT);
    let answer = client.build().map_err(unreachable)?.get(url).send().await.map_err(unreachable)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let text: String = answer.text().await.unwrap_or_default().trim().chars().take(200).collect();
    Err(ProbeError::Status { url: url.into(), status, text })
}

async fn readyz(State(readiness): State<Readiness>) -> impl IntoResponse {
    match readiness.0.load(Ordering::Relaxed) {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the caches are not filled yet, or the operator is ending\n"),
    }
}

async fn metrics_text(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let pieces = stream::iter(metrics.scrape().map(Ok::<_, Infallible>));
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(pieces))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::telemetry::metrics::PLAN;

    #[tokio::test]
    async fn metrics_of_many_objects_arrive_whole() {
        let metrics = Arc::new(Metrics::new());
        for number in 0..1000 {
            metrics.drift_corrected(PLAN, "ns", &format!("plan-{number}"));
        }
        let request = Request::get("/metrics").body(Body::empty()).expect("a request");
        let answer = router(Readiness::default(), metrics.clone()).oneshot(request).await.expect("an answer");
        let kind = answer.headers()[header::CONTENT_TYPE].to_str().expect("text").to_owned();
        assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        assert!(body == metrics.text().as_bytes() && body.ends_with(b"\n# EOF\n"));
    }
}
