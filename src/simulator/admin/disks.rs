//! Admin routes for groups, pairs, disks and drills.

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use serde::Deserialize;
use serde_json::json;

use super::super::handle::Simulator;
use super::super::model::ebs::{DiskGroupEdit, DrillEdit};
use super::answer::{Answer, done, model_answer, read};

/// The routes; each handler documents its body.
pub(super) fn router() -> Router<Simulator> {
    Router::new()
        .route("/disk-groups", get(groups))
        .route("/disk-groups/{group}", patch(edit_group).delete(remove_group))
        .route("/disk-pairs/{pair}", delete(remove_pair))
        .route("/disks/{disk}", post(disk))
        .route("/disk-cycles", post(cycles))
        .route("/disk-violations", get(violations).delete(clear_violations))
        .route("/drills/{drill}", patch(edit_drill))
}

async fn groups(State(simulator): State<Simulator>) -> Response {
    Json(simulator.with_disks(|disks, _| disks.inspect())).into_response()
}

/// Body: a [`DiskGroupEdit`], such as `{"status": "failovered", "attached": true}`.
async fn edit_group(State(simulator): State<Simulator>, Path(group): Path<String>, body: Bytes) -> Answer {
    let edit: DiskGroupEdit = read(&body)?;
    model_answer(simulator.with_disks(|disks, _| disks.edit_group(&group, edit)), |()| json!({"done": true}))
}

async fn remove_group(State(simulator): State<Simulator>, Path(group): Path<String>) -> Answer {
    model_answer(simulator.with_disks(|disks, _| disks.drop_group(&group)), |()| json!({"done": true}))
}

async fn remove_pair(State(simulator): State<Simulator>, Path(pair): Path<String>) -> Answer {
    model_answer(simulator.with_disks(|disks, _| disks.drop_pair(&pair)), |()| json!({"done": true}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attachment {
    attached: bool,
}

/// Body: `{"attached": true}` attaches the disk to an instance.
async fn disk(State(simulator): State<Simulator>, Path(disk): Path<String>, body: Bytes) -> Answer {
    let Attachment { attached } = read(&body)?;
    simulator.with_disks(|disks, _| disks.attach(&disk, attached));
    done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cycles {
    frozen: bool,
}

/// Body: `{"frozen": true}` stops new recovery points, so that lag grows.
async fn cycles(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let Cycles { frozen } = read(&body)?;
    simulator.with_disks(|disks, _| disks.freeze(frozen));
    done()
}

/// The calls that opened or overwrote a disk wrongly, since the start or the last DELETE.
async fn violations(State(simulator): State<Simulator>) -> Response {
    Json(simulator.with_disks(|disks, _| disks.violations().to_vec())).into_response()
}

async fn clear_violations(State(simulator): State<Simulator>) -> Answer {
    simulator.with_disks(|disks, _| disks.clear_violations());
    done()
}

/// Body: a [`DrillEdit`], such as `{"failNext": true}`.
async fn edit_drill(State(simulator): State<Simulator>, Path(drill): Path<String>, body: Bytes) -> Answer {
    let edit: DrillEdit = read(&body)?;
    model_answer(simulator.with_disks(|disks, _| disks.edit_drill(&drill, &edit)), |()| json!({"done": true}))
}
