//! `/livez`, `/readyz` and `/metrics` over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

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
    ([(header::CONTENT_TYPE, kind)], metrics.text())
}
