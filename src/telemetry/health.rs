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

/// How long a probe may take that this program makes itself.
const DEADLINE: Duration = Duration::from_secs(10);

/// Whether the operator works, or would if it led: it does once its caches are filled and until it is told to end.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Sets it.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }
}

/// The routes.
pub fn router(readiness: Readiness, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(exported).with_state(metrics))
}

/// Why something is not well.
#[derive(Debug, thiserror::Error)]
pub enum Unwell {
    /// It was not reached, or gave no answer.
    #[error("{url} was not reached: {source}")]
    Silent {
        /// Who was asked.
        url: String,
        /// Why there is no answer.
        source: reqwest::Error,
    },
    /// It answered otherwise.
    #[error("{url} answers {status}: {text}")]
    Otherwise {
        /// Who was asked.
        url: String,
        /// What it answered.
        status: StatusCode,
        /// With what text, shortened.
        text: String,
    },
}

/// Asks a probe, directly and once. It is well, if the answer is a 2xx.
pub async fn probe(url: &str) -> Result<(), Unwell> {
    let silent = |source: reqwest::Error| Unwell::Silent { url: url.into(), source: source.without_url() };
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(DEADLINE);
    let answer = client.build().map_err(silent)?.get(url).send().await.map_err(silent)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let text: String = answer.text().await.unwrap_or_default().trim().chars().take(200).collect();
    Err(Unwell::Otherwise { url: url.into(), status, text })
}

async fn readyz(State(readiness): State<Readiness>) -> impl IntoResponse {
    match readiness.0.load(Ordering::Relaxed) {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the caches are not filled yet, or the operator is ending\n"),
    }
}

async fn exported(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics.text())
}
