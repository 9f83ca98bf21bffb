//! Admin routes for the recorded requests, faults, permissions and the clock.

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use super::super::faults::Fault;
use super::super::handle::Simulator;
use super::answer::{Answer, done, read};

/// The routes; each handler documents its body.
pub(super) fn router() -> Router<Simulator> {
    Router::new()
        .route("/requests", get(requests).delete(clear_requests))
        .route("/request-counts", get(request_counts))
        .route("/changes", get(changes))
        .route("/totals", get(totals))
        .route("/faults", post(add_fault).delete(clear_faults))
        .route("/denied", post(denied))
        .route("/clock", post(clock))
}

async fn requests(State(simulator): State<Simulator>) -> Response {
    Json(simulator.requests()).into_response()
}

async fn request_counts(State(simulator): State<Simulator>) -> Response {
    Json(simulator.request_counts()).into_response()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Since {
    since_ms: i64,
}

/// The recorded changing requests that arrived at `sinceMs`, ms since the epoch, or later.
async fn changes(State(simulator): State<Simulator>, Query(Since { since_ms }): Query<Since>) -> Response {
    Json(simulator.changes_since(since_ms)).into_response()
}

async fn totals(State(simulator): State<Simulator>) -> Response {
    Json(simulator.totals()).into_response()
}

async fn clear_requests(State(simulator): State<Simulator>) -> Answer {
    simulator.clear_requests();
    done()
}

/// Body: a [`Fault`], such as `{"action": "GetDisasterRecoveryPlan", "times": 1, "kind": {"type": "Lost"}}`.
async fn add_fault(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    simulator.add_fault(read::<Fault>(&body)?);
    done()
}

async fn clear_faults(State(simulator): State<Simulator>) -> Answer {
    simulator.clear_faults();
    done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Denied {
    actions: Vec<String>,
}

/// Body: `{"actions": ["…"]}`, all actions that answer `NoPermission` from now on; `*` means every action, `[]` none.
async fn denied(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let Denied { actions } = read(&body)?;
    simulator.set_denied_actions(actions);
    done()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Clock {
    offset_ms: i64,
}

/// Body: `{"offsetMs": 60000}` sets the simulator's clock ahead of the machine's.
async fn clock(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let Clock { offset_ms } = read(&body)?;
    simulator.set_clock_offset_ms(offset_ms);
    done()
}
