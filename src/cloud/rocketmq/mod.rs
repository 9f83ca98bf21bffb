//! The disaster-recovery operations of ApsaraMQ for RocketMQ 2022-08-01: one typed method an operation.
//!
//! Names and shapes are the API's (help pages of the operations; the official SDK 5.1.0). Reading is tolerant: unknown
//! fields are ignored, numbers may come as text, and an undocumented status keeps its name.

mod shapes;

use std::time::Duration;

use http::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use self::shapes::*;
use super::client::{Body, Call, Client, Style, Target};
use super::endpoint;
use super::error::{Class, Error};
use super::list::{List, MAX_READS, Pages};
use super::operation::ApiOperation;
use super::sign::encode;
use super::wire::{broken, maybe_number, parse, referenced};

/// The product's name in metrics and in the rate limit.
pub const PRODUCT: &str = "rocketmq";
/// The version of the API.
pub const VERSION: &str = "2022-08-01";

/// Entries per page; the API takes 10 to 10,000 plans or items (OpenAPI metadata). Few lists have more than one page then.
const PAGE_SIZE: u64 = 1000;
/// Checkpoints per page where the API refuses [`PAGE_SIZE`]: no bound is published.
const SMALL_PAGE_SIZE: u64 = 100;
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

    /// The distance by which this machine's clock certainly differs from the clock of the region's service, either way,
    /// by the last answer of any caller. Zero before the first answer with a date.
    pub fn clock_skew(&self) -> Duration {
        self.client.clock_skew(&self.target.endpoint)
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

    /// `ListDisasterRecoveryPlans`: all plans of the region.
    ///
    /// The call has no filter: the matching is not documented, and the list must not lack a plan.
    pub async fn list_plans(&self) -> Result<List<PlanView>, Error> {
        let operation = ApiOperation::ListDisasterRecoveryPlans;
        self.list(operation, "/disaster_recovery", &[], PAGE_SIZE, |plan: &PlanView| plan.plan_id).await
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

    /// `ListDisasterRecoveryItems`: all items of the plan.
    pub async fn list_items(&self, plan_id: i64) -> Result<List<ItemView>, Error> {
        let path = format!("/disaster_recovery/{plan_id}/items");
        let operation = ApiOperation::ListDisasterRecoveryItems;
        self.list(operation, &path, &[], PAGE_SIZE, |item: &ItemView| item.item_id).await
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

    /// `ListDisasterRecoveryCheckpoints`: all checkpoints of the item whose source is `source_instance_id`.
    pub async fn list_checkpoints(
        &self,
        plan_id: i64,
        item_id: i64,
        source_instance_id: &str,
    ) -> Result<List<Checkpoint>, Error> {
        let path = format!("{}/checkpoints", item_path(plan_id, item_id));
        let query = [("instanceId", source_instance_id.to_owned())];
        let operation = ApiOperation::ListDisasterRecoveryCheckpoints;
        let id = |checkpoint: &Checkpoint| checkpoint.checkpoint_id;
        match self.list(operation, &path, &query, PAGE_SIZE, id).await {
            Err(Error { class: Class::Invalid, .. }) => self.list(operation, &path, &query, SMALL_PAGE_SIZE, id).await,
            other => other,
        }
    }

    /// `SyncDisasterRecoveryCheckpoint`: synchronizes one checkpoint once, even for a consumer group that is offline at
    /// the destination.
    pub async fn sync_checkpoint(&self, plan_id: i64, item_id: i64, checkpoint_id: i64) -> Result<(), Error> {
        let path = format!("{}/checkpoints/{checkpoint_id}", item_path(plan_id, item_id));
        self.change(ApiOperation::SyncDisasterRecoveryCheckpoint, Method::POST, path, None).await
    }

    /// `GetConsumerGroupLag`: the messages that a consumer group of an instance has not consumed yet, by topic. The call goes to
    /// the instance's region. An instance or group that does not exist is [`Class::NotFound`].
    pub async fn consumer_group_lag(&self, instance_id: &str, group: &str) -> Result<GroupLag, Error> {
        let operation = ApiOperation::GetConsumerGroupLag;
        let path = format!("/instances/{}/consumerGroups/{}/lag", encode(instance_id), encode(group));
        let lag: GroupLag = found(operation, self.call(operation, Method::GET, path, vec![], None).await?)?;
        let same = |shown: &Option<String>, asked: &str| shown.as_deref().is_none_or(|it| it.is_empty() || it == asked);
        match same(&lag.instance_id, instance_id) && same(&lag.consumer_group_id, group) {
            true => Ok(lag),
            false => Err(broken(operation, "another consumer group than was asked for")),
        }
    }

    /// The API of another region, as the same caller. A custom endpoint serves every region.
    pub fn of_region(&self, region: &str) -> Self {
        let Target { endpoint, region: home, .. } = &self.target;
        let public = *endpoint == endpoint::rocketmq(home);
        let endpoint = if public { endpoint::rocketmq(region) } else { endpoint.clone() };
        let target = Target { endpoint, region: region.to_owned(), ..self.target.clone() };
        Self { client: self.client.clone(), target }
    }

    /// Reads a list.
    async fn list<T: DeserializeOwned>(
        &self,
        operation: ApiOperation,
        path: &str,
        query: &[(&'static str, String)],
        page_size: u64,
        id: fn(&T) -> i64,
    ) -> Result<List<T>, Error> {
        let mut list = self.all_pages(operation, path, query, page_size, id).await?;
        for _ in 1..MAX_READS {
            if list.is_complete() {
                break;
            }
            list = self.all_pages(operation, path, query, page_size, id).await?;
        }
        Ok(list)
    }

    /// Reads all pages of a list once.
    async fn all_pages<T: DeserializeOwned>(
        &self,
        operation: ApiOperation,
        path: &str,
        query: &[(&'static str, String)],
        page_size: u64,
        id: fn(&T) -> i64,
    ) -> Result<List<T>, Error> {
        let mut pages = Pages::new(operation);
        for number in 1..=MAX_PAGES {
            let mut query = query.to_vec();
            query.push(("pageNumber", number.to_string()));
            query.push(("pageSize", page_size.to_string()));
            let data = self.call(operation, Method::GET, path.to_owned(), query, None).await?;
            let page: Page<T> = parse(operation, data)?;
            let entries = match (page.list, page.total_count) {
                (Some(entries), _) => entries,
                (None, Some(0)) => vec![],
                (None, _) => return Err(broken(operation, "a page without list")),
            };
            if !pages.add(entries, page.total_count, id)? {
                return Ok(pages.counted());
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
