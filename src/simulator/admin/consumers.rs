//! Admin routes for consumer groups, checkpoints and their synchronisation.

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post, put};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::super::handle::Simulator;
use super::super::model::{CheckpointTimes, Consumption, Failure, Model};
use super::answer::{Answer, done, model_answer, read};
use super::plans::{number, numbers};

/// The routes; each handler documents its body.
pub(super) fn router() -> Router<Simulator> {
    Router::new()
        .route("/groups/{group}", post(edit_group).put(add_group).delete(remove_group))
        .route("/plans/{plan}/items/{item}/groups/{group}", put(add_group_of_item).delete(remove_group_of_item))
        .route("/checkpoints/{checkpoint}", patch(set_checkpoint).post(edit_checkpoint))
        .route("/sync", post(sync))
        .route("/truth", get(truth))
}

/// A change of how a group's consumers move.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Movement {
    online: Option<bool>,
    consumption: Option<Consumption>,
    /// `null` ends it.
    #[serde(default, deserialize_with = "present")]
    target_ahead_ms: Option<Option<i64>>,
}

fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<i64>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// Body: `{"online": false}` takes a consumer group offline at the destinations. `consumption` is a [`Consumption`], such
/// as `{"type": "Offline"}`, at the sources. `targetAheadMs` lets the consumers at the destinations run on their own.
async fn edit_group(State(simulator): State<Simulator>, Path(name): Path<String>, body: Bytes) -> Answer {
    let Movement { online, consumption, target_ahead_ms } = read(&body)?;
    simulator.with_model(|model, now| {
        if let Some(online) = online {
            model.set_group_online(&name, online);
        }
        if let Some(consumption) = consumption {
            model.set_consumption(&name, consumption, now);
        }
        if let Some(ahead_ms) = target_ahead_ms {
            model.set_target_ahead(&name, ahead_ms, now);
        }
    });
    done()
}

async fn add_group(State(simulator): State<Simulator>, Path(name): Path<String>) -> Answer {
    change(&simulator, |model, now| model.add_group(&name, None, now))
}

async fn remove_group(State(simulator): State<Simulator>, Path(name): Path<String>) -> Answer {
    change(&simulator, |model, now| model.remove_group(&name, None, now))
}

async fn add_group_of_item(
    State(simulator): State<Simulator>,
    Path((plan, item, name)): Path<(String, String, String)>,
) -> Answer {
    let ids = numbers(&(plan, item))?;
    change(&simulator, |model, now| model.add_group(&name, Some(ids), now))
}

async fn remove_group_of_item(
    State(simulator): State<Simulator>,
    Path((plan, item, name)): Path<(String, String, String)>,
) -> Answer {
    let ids = numbers(&(plan, item))?;
    change(&simulator, |model, now| model.remove_group(&name, Some(ids), now))
}

/// Body: `lastSyncTime`, `sourceTime`, `targetTime`, ms since the epoch, each optional. The times then stay until
/// SyncDisasterRecoveryCheckpoint.
async fn set_checkpoint(State(simulator): State<Simulator>, Path(id): Path<String>, body: Bytes) -> Answer {
    let (id, times) = (number(&id)?, read::<CheckpointTimes>(&body)?);
    change(&simulator, |model, _| model.set_checkpoint(id, times))
}

/// Body: `consumption` and `targetAheadMs` as of a group, for this checkpoint only.
async fn edit_checkpoint(State(simulator): State<Simulator>, Path(id): Path<String>, body: Bytes) -> Answer {
    let (id, movement) = (number(&id)?, read::<Movement>(&body)?);
    change(&simulator, |model, now| {
        if movement.online.is_some() {
            return Err(Failure::invalid("online", "it is of a group, not of a checkpoint"));
        }
        if let Some(consumption) = movement.consumption {
            model.set_checkpoint_consumption(id, consumption, now)?;
        }
        match movement.target_ahead_ms {
            Some(ahead_ms) => model.set_checkpoint_target_ahead(id, ahead_ms, now),
            None => Ok(()),
        }
    })
}

pub(super) fn change(simulator: &Simulator, change: impl FnOnce(&mut Model, i64) -> Result<(), Failure>) -> Answer {
    model_answer(simulator.with_model(change), |()| json!({"done": true}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sync {
    frozen: bool,
}

/// Body: `{"frozen": true}` stops the automatic synchronisation of consumer progress, so that lag grows.
async fn sync(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let Sync { frozen } = read(&body)?;
    simulator.with_model(|model, _| model.freeze_sync(frozen));
    done()
}

/// What the target of each checkpoint has of the source's progress, whatever faults show.
async fn truth(State(simulator): State<Simulator>) -> Response {
    Json(simulator.with_model(|model, now| model.lag_truth(now))).into_response()
}
