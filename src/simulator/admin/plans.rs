//! Admin routes for plans and items.

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::handle::Simulator;
use super::super::model::{Failure, ForeignPlan, ItemInput, ItemStatus, Topic};
use super::answer::{Answer, Refused, model_answer, read};

/// The routes; each handler documents its body.
pub(super) fn router() -> Router<Simulator> {
    Router::new()
        .route("/plans", get(plans).post(add_plan))
        .route("/plans/{plan}", patch(edit_plan).delete(remove_plan))
        .route("/plans/{plan}/items", post(add_item))
        .route("/plans/{plan}/items/{item}", patch(edit_item).delete(remove_item))
}

pub(super) fn number(text: &str) -> Result<i64, Refused> {
    text.parse().map_err(|_| Refused::malformed(format!("{text:?} is not an id")))
}

pub(super) fn numbers((plan, item): &(String, String)) -> Result<(i64, i64), Refused> {
    Ok((number(plan)?, number(item)?))
}

async fn plans(State(simulator): State<Simulator>) -> Response {
    Json(simulator.plans()).into_response()
}

/// Body: that of CreateDisasterRecoveryPlan plus `regionId` and `items: [{topics}]`; all but `planName` optional.
async fn add_plan(State(simulator): State<Simulator>, body: Bytes) -> Answer {
    let foreign: ForeignPlan = read(&body)?;
    let region = simulator.default_region();
    let result = simulator.with_model(|model, now| model.add_foreign_plan(&region, foreign, now));
    model_answer(result, |id| json!({"planId": id}))
}

/// Body: a merge patch of `planName`, `planDesc`, `planType`, the two flags and `instances` (each by its `instanceId`).
async fn edit_plan(State(simulator): State<Simulator>, Path(plan): Path<String>, body: Bytes) -> Answer {
    let (plan, edit) = (number(&plan)?, read::<Value>(&body)?);
    model_answer(simulator.with_model(|model, now| model.edit_plan(plan, &edit, now)), |()| json!({"done": true}))
}

async fn remove_plan(State(simulator): State<Simulator>, Path(plan): Path<String>) -> Answer {
    let plan = number(&plan)?;
    model_answer(simulator.with_model(|model, _| model.remove_plan(plan)), |()| json!({"done": true}))
}

/// Body: that of AddDisasterRecoveryItem.
async fn add_item(State(simulator): State<Simulator>, Path(plan): Path<String>, body: Bytes) -> Answer {
    let (plan, input) = (number(&plan)?, read::<ItemInput>(&body)?);
    let result = simulator.with_model(|model, now| {
        let region = model.plan(plan).map(|plan| plan.region_id.clone()).ok_or_else(Failure::plan_not_found)?;
        model.add_item(&region, plan, input, now)
    });
    model_answer(result, |id| json!({"itemId": id}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ItemEdit {
    item_status: Option<ItemStatus>,
    topics: Option<Vec<Topic>>,
}

/// Body: `itemStatus` (arrears set OVERDUE_STOPPED) and/or `topics`, which replace the existing ones.
async fn edit_item(State(simulator): State<Simulator>, Path(ids): Path<(String, String)>, body: Bytes) -> Answer {
    let ((plan, item), edit) = (numbers(&ids)?, read::<ItemEdit>(&body)?);
    let result = simulator.with_model(|model, now| {
        if edit.topics.is_some() {
            model.set_item_topics(plan, item, ItemInput { topics: edit.topics }, now)?;
        }
        match edit.item_status {
            Some(status) => model.set_item_status(plan, item, status, now),
            None => Ok(()),
        }
    });
    model_answer(result, |()| json!({"done": true}))
}

async fn remove_item(State(simulator): State<Simulator>, Path(ids): Path<(String, String)>) -> Answer {
    let (plan, item) = numbers(&ids)?;
    model_answer(simulator.with_model(|model, _| model.remove_item(plan, item)), |()| json!({"done": true}))
}
