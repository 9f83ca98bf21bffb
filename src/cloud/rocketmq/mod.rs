//! The disaster-recovery operations of ApsaraMQ for RocketMQ 2022-08-01: one typed method an operation.
//!
//! Names and shapes are the API's (help pages of the operations; the official SDK 5.1.0). Reading is tolerant: unknown
//! fields are ignored, numbers may come as text, and an undocumented status keeps its name.

mod shapes;

use http::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use self::shapes::*;
use super::client::{Body, Call, Client, Style, Target};
use super::error::{Class, Error};
use super::operation::ApiOperation;
use super::wire::{Duplicates, Pages, broken, maybe_number, parse, referenced};

/// The product's name in metrics and in the rate limit.
pub const PRODUCT: &str = "rocketmq";
/// The version of the API.
pub const VERSION: &str = "2022-08-01";

/// Plans and items per page; the API takes 10 to 10,000 (OpenAPI metadata).
const PAGE_SIZE: u64 = 1000;
/// Checkpoints per page; no bound is published, the console uses far fewer.
const CHECKPOINT_PAGE_SIZE: u64 = 100;
/// Maximum pages of a list; more are a fault of the service.
const MAX_PAGES: u64 = 100_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    #[serde(default, deserialize_with = "maybe_number")]
    total_count: Option<i64>,
    list: Option<Vec<T>>,
}

/// The API of one region, as one caller.
#[derive(Clone)]
pub struct RocketMq {
    client: Client,
    target: Target,
}

impl RocketMq {
    /// The API at `target` (its product and version are [`PRODUCT`] and [`VERSION`]).
    pub fn new(client: Client, target: Target) -> Self {
        Self { client, target }
    }

    async fn call(
        &self,
        operation: ApiOperation,
        method: Method,
        path: String,
        query: Vec<(&'static str, String)>,
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        let changing = method != Method::GET;
        let secrets = body.map(passwords).unwrap_or_default();
        let body = body.map(|body| Body::json(body.to_string().into_bytes()));
        let query = query.into_iter().map(|(key, value)| (key.into(), value)).collect();
        // No operation has a client token.
        let (style, repeatable) = (Style::Roa, false);
        let call = Call { operation, method, path, query, body, style, changing, repeatable, secrets };
        self.client.send(&self.target, &call).await
    }

    /// Makes a change whose answer has no data but an acknowledgement.
    async fn change(
        &self,
        operation: ApiOperation,
        method: Method,
        path: String,
        body: Option<&Value>,
    ) -> Result<(), Error> {
        accepted(operation, self.call(operation, method, path, vec![], body).await?)
    }

    /// `CreateDisasterRecoveryPlan`: the new plan's ID. There is no client token: a repeat creates a second plan.
    pub async fn create_plan(&self, plan: &Plan) -> Result<i64, Error> {
        let operation = ApiOperation::CreateDisasterRecoveryPlan;
        let data = self
            .call(operation, Method::POST, "/disaster_recovery".into(), vec![], Some(&json!(plan)))
            .await
            .map_err(referenced)?;
        new_id(operation, data)
    }

    /// `UpdateDisasterRecoveryPlan`: absent fields stay unchanged.
    pub async fn update_plan(&self, plan_id: i64, plan: &Plan) -> Result<(), Error> {
        let path = format!("/disaster_recovery/{plan_id}");
        self.change(ApiOperation::UpdateDisasterRecoveryPlan, Method::PATCH, path, Some(&json!(plan))).await
    }

    /// `GetDisasterRecoveryPlan`. A plan that does not exist is [`Class::NotFound`].
    pub async fn get_plan(&self, plan_id: i64) -> Result<PlanView, Error> {
        let operation = ApiOperation::GetDisasterRecoveryPlan;
        let path = format!("/disaster_recovery/{plan_id}");
        let plan: PlanView = found(operation, self.call(operation, Method::GET, path, vec![], None).await?)?;
        if plan.plan_id == plan_id { Ok(plan) } else { Err(broken(operation, "another plan than was asked for")) }
    }

    /// `ListDisasterRecoveryPlans`: all plans of the region, all pages.
    ///
    /// The call has no filter: the matching is not documented, and the list must not lack a plan.
    pub async fn list_plans(&self) -> Result<Vec<PlanView>, Error> {
        let id = |plan: &PlanView| plan.plan_id;
        self.all_pages(
            ApiOperation::ListDisasterRecoveryPlans,
            "/disaster_recovery".into(),
            &[],
            PAGE_SIZE,
            Duplicates::Refuse,
            id,
        )
        .await
    }

    /// `DeleteDisasterRecoveryPlan`.
    pub async fn delete_plan(&self, plan_id: i64) -> Result<(), Error> {
        let path = format!("/disaster_recovery/{plan_id}");
        self.change(ApiOperation::DeleteDisasterRecoveryPlan, Method::DELETE, path, None).await
    }

    /// `AddDisasterRecoveryItem`: the new item's ID. There is no client token: a repeat creates a second item.
    pub async fn add_item(&self, plan_id: i64, topics: &[ItemTopic]) -> Result<i64, Error> {
        let operation = ApiOperation::AddDisasterRecoveryItem;
        let path = format!("/disaster_recovery/{plan_id}/items");
        let body = json!({ "topics": topics });
        let data = self.call(operation, Method::POST, path, vec![], Some(&body)).await.map_err(referenced)?;
        new_id(operation, data)
    }

    /// `UpdateDisasterRecoveryItem`.
    pub async fn update_item(&self, plan_id: i64, item_id: i64, topics: &[ItemTopic]) -> Result<(), Error> {
        let body = json!({ "topics": topics });
        let path = item_path(plan_id, item_id);
        self.change(ApiOperation::UpdateDisasterRecoveryItem, Method::PATCH, path, Some(&body)).await
    }

    /// `GetDisasterRecoveryItem`. An item that does not exist is [`Class::NotFound`].
    pub async fn get_item(&self, plan_id: i64, item_id: i64) -> Result<ItemView, Error> {
        let operation = ApiOperation::GetDisasterRecoveryItem;
        found(operation, self.call(operation, Method::GET, item_path(plan_id, item_id), vec![], None).await?)
    }

    /// `ListDisasterRecoveryItems`: all items of the plan, all pages.
    pub async fn list_items(&self, plan_id: i64) -> Result<Vec<ItemView>, Error> {
        let path = format!("/disaster_recovery/{plan_id}/items");
        let id = |item: &ItemView| item.item_id;
        self.all_pages(ApiOperation::ListDisasterRecoveryItems, path, &[], PAGE_SIZE, Duplicates::Refuse, id).await
    }

    /// `StartDisasterRecoveryItem`.
    pub async fn start_item(&self, plan_id: i64, item_id: i64) -> Result<(), Error> {
        let path = format!("{}/start", item_path(plan_id, item_id));
        self.change(ApiOperation::StartDisasterRecoveryItem, Method::POST, path, None).await
    }

    /// `StopDisasterRecoveryItem`.
    pub async fn stop_item(&self, plan_id: i64, item_id: i64) -> Result<(), Error> {
        let path = format!("{}/stop", item_path(plan_id, item_id));
        self.change(ApiOperation::StopDisasterRecoveryItem, Method::POST, path, None).await
    }

    /// `DeleteDisasterRecoveryItem`.
    pub async fn delete_item(&self, plan_id: i64, item_id: i64) -> Result<(), Error> {
        let path = item_path(plan_id, item_id);
        self.change(ApiOperation::DeleteDisasterRecoveryItem, Method::DELETE, path, None).await
    }

    /// `ListDisasterRecoveryCheckpoints`: all checkpoints of the item whose source is `source_instance_id`, all pages.
    pub async fn list_checkpoints(
        &self,
        plan_id: i64,
        item_id: i64,
        source_instance_id: &str,
    ) -> Result<Vec<Checkpoint>, Error> {
        let path = format!("{}/checkpoints", item_path(plan_id, item_id));
        let query = [("instanceId", source_instance_id.to_owned())];
        let id = |checkpoint: &Checkpoint| checkpoint.checkpoint_id;
        // Checkpoints may be sorted by times that change while the client reads the pages.
        self.all_pages(
            ApiOperation::ListDisasterRecoveryCheckpoints,
            path,
            &query,
            CHECKPOINT_PAGE_SIZE,
            Duplicates::Skip,
            id,
        )
        .await
    }

    /// `SyncDisasterRecoveryCheckpoint`: synchronizes one checkpoint once, even for a consumer group that is offline at
    /// the destination.
    pub async fn sync_checkpoint(&self, plan_id: i64, item_id: i64, checkpoint_id: i64) -> Result<(), Error> {
        let path = format!("{}/checkpoints/{checkpoint_id}", item_path(plan_id, item_id));
        self.change(ApiOperation::SyncDisasterRecoveryCheckpoint, Method::POST, path, None).await
    }

    /// Reads all pages. A list that changed meanwhile is [`Class::Unavailable`]: an entry may be missing, and the
    /// operator would create a missing plan a second time.
    async fn all_pages<T: DeserializeOwned>(
        &self,
        operation: ApiOperation,
        path: String,
        query: &[(&'static str, String)],
        page_size: u64,
        duplicates: Duplicates,
        id: impl Fn(&T) -> i64,
    ) -> Result<Vec<T>, Error> {
        let mut pages = Pages::new(operation, duplicates);
        for number in 1..=MAX_PAGES {
            let mut query = query.to_vec();
            query.push(("pageNumber", number.to_string()));
            query.push(("pageSize", page_size.to_string()));
            let data = self.call(operation, Method::GET, path.clone(), query, None).await?;
            let page: Page<T> = parse(operation, data)?;
            let entries = match (page.list, page.total_count) {
                (Some(entries), _) => entries,
                (None, Some(0)) => vec![],
                (None, _) => return Err(broken(operation, "a page without list")),
            };
            let empty = entries.is_empty();
            pages.add(entries, &id)?;
            if pages.is_complete(page.total_count, empty)? {
                return Ok(pages.all);
            }
        }
        Err(broken(operation, "more pages than can be"))
    }
}

fn item_path(plan_id: i64, item_id: i64) -> String {
    format!("/disaster_recovery/{plan_id}/items/{item_id}")
}

fn found<T: DeserializeOwned>(operation: ApiOperation, data: Value) -> Result<T, Error> {
    if data.is_null() {
        let message = "the answer has no data".into();
        return Err(Error { class: Class::NotFound, operation, code: "NoData".into(), message, request_id: None });
    }
    parse(operation, data)
}

/// Checks an answer that only acknowledges the call. The data `false` is a refusal.
fn accepted(operation: ApiOperation, data: Value) -> Result<(), Error> {
    if data != Value::Bool(false) {
        return Ok(());
    }
    let message = "the API answered false".into();
    Err(Error { class: Class::Conflict, operation, code: "False".into(), message, request_id: None })
}

/// The ID of the created resource. Without an ID the outcome is ambiguous, since the call has happened.
fn new_id(operation: ApiOperation, data: Value) -> Result<i64, Error> {
    let ambiguous = |error| Error { class: Class::Ambiguous, ..error };
    maybe_number(data).ok().flatten().ok_or_else(|| ambiguous(broken(operation, "no ID of what was made")))
}

/// The passwords in a body, to redact from error texts.
fn passwords(body: &Value) -> Vec<SecretString> {
    let instances = body.get("instances").and_then(Value::as_array).into_iter().flatten();
    instances.filter_map(|instance| instance.get("password")?.as_str()).map(SecretString::from).collect()
}
