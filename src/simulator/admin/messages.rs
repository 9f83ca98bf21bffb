//! Admin routes for the messages of topics and their replication.

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::super::handle::Simulator;
use super::super::model::{Consumption, Production};
use super::answer::{Answer, done, read};
use super::consumers::change;
use super::plans::numbers;

/// The routes; each handler documents its body.
pub(super) fn router() -> Router<Simulator> {
    Router::new()
        .route("/production", post(set_production))
        .route("/instances/{instance}/topics/{topic}/production", post(set_production_of_topic))
        .route("/replication", post(set_replication))
        .route("/plans/{plan}/items/{item}/replication", post(set_replication_of_item))
        .route("/message-truth", get(truth))
}

/// Body: a [`Production`], such as `{"type": "Quiet"}`, of all topics.
async fn set_production(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let production = read::<Production>(&body)?;
    simulator.with_model(|model, now| model.set_production(None, production, now));
    done()
}

/// Body: the same, of one topic on one instance.
async fn set_production_of_topic(
    State(simulator): State<Simulator>,
    Path((instance, topic)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let production = read::<Production>(&body)?;
    simulator.with_model(|model, now| model.set_production(Some((&instance, &topic)), production, now));
    done()
}

/// Body: a [`Consumption`], such as `{"type": "Offline"}`, of the replicators of all items.
async fn set_replication(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let to = read::<Consumption>(&body)?;
    change(&simulator, |model, now| model.set_replication(None, to, now))
}

/// Body: the same, of one item.
async fn set_replication_of_item(
    State(simulator): State<Simulator>,
    Path(ids): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let (ids, to) = (numbers(&ids)?, read::<Consumption>(&body)?);
    change(&simulator, |model, now| model.set_replication(Some(ids), to, now))
}

/// The messages that the target of each item has, whatever faults show.
async fn truth(State(simulator): State<Simulator>) -> Response {
    Json(simulator.with_model(|model, now| model.message_truth(now))).into_response()
}
