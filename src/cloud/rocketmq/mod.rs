//! The disaster-recovery operations of ApsaraMQ for RocketMQ 2022-08-01: one typed method an operation.
//!
//! Names and shapes are the API's (help pages of the operations; the official SDK 5.1.0). Reading is tolerant: unknown
//! fields are ignored, numbers may come as text, and an undocumented status keeps its name.

mod shapes;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub use self::shapes::*;
pub use self::shared::SharedLists;
use super::client::{Body, Call, Client, Data, Style, Target};
use super::credentials::signer::Signer;
use super::endpoint;
use super::error::{Class, Error};
use super::list::{List, MAX_READS, Pages};
use super::operation::ApiOperation;
use super::rate_limit::Priority;
use super::sign::encode;
use super::wire::{broken, maybe_number, number, parse, referenced};

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
struct Page<'a> {
    #[serde(default, deserialize_with = "maybe_number")]
    total_count: Option<i64>,
    #[serde(borrow)]
    list: Option<&'a RawValue>,
}

/// The API of one region, as one caller.
#[derive(Clone)]
pub struct RocketMq {
    client: Client,
    target: Target,
    shared: Arc<SharedLists>,
}

impl RocketMq {
    /// The API at `target` (its product and version are [`PRODUCT`] and [`VERSION`]).
    pub fn new(client: Client, target: Target) -> Self {
        Self { client, target, shared: Arc::default() }
    }

    /// The same API, whose [`Self::find_plans`] shares lists with others.
    #[must_use]
    pub fn sharing(self, shared: Arc<SharedLists>) -> Self {
        Self { shared, ..self }
    }

    /// The same API with another priority in the rate limit.
    fn with_priority(&self, priority: Priority) -> Self {
        Self { target: Target { priority, ..self.target.clone() }, ..self.clone() }
    }

    /// What distinguishes the lists of this caller and region from those of others: a policy may filter them.
    fn caller(&self) -> String {
        let signer = self.target.signer.as_ref().map(Signer::key).unwrap_or_default();
        format!("{signer} {} {}", self.target.region, self.target.endpoint)
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
    ) -> Result<Data, Error> {
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
        accepted(operation, &self.call(operation, method, path, vec![], body).await?)
    }

    /// `CreateDisasterRecoveryPlan`: the new plan's ID. There is no client token: a repeat creates a second plan.
    pub async fn create_plan(&self, plan: &Plan) -> Result<i64, Error> {
        let operation = ApiOperation::CreateDisasterRecoveryPlan;
        let data = self
            .call(operation, Method::POST, "/disaster_recovery".into(), vec![], Some(&json!(plan)))
            .await
            .map_err(referenced)?;
        new_id(operation, &data)
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
        let plan: PlanView = found(operation, &self.call(operation, Method::GET, path, vec![], None).await?)?;
        if plan.plan_id == plan_id { Ok(plan) } else { Err(broken(operation, "another plan than was asked for")) }
    }

    /// `ListDisasterRecoveryPlans`: all plans of the region.
    ///
    /// The call has no filter: the matching is not documented, and the list must not lack a plan.
    pub async fn list_plans(&self) -> Result<List<PlanView>, Error> {
        self.list_plans_as(|plan| plan).await
    }

    /// As [`Self::list_plans`], but each plan becomes what `keep` keeps of it as soon as it is read: all of them together are large.
    pub async fn list_plans_as<K>(&self, keep: impl Fn(PlanView) -> K) -> Result<List<K>, Error> {
        let operation = ApiOperation::ListDisasterRecoveryPlans;
        let entry = |plan: PlanView| (plan.plan_id, keep(plan));
        self.list(operation, "/disaster_recovery", &[], PAGE_SIZE, entry).await
    }

    /// `ListDisasterRecoveryPlans` by one request for all callers that ask before it begins: the plans of the region that `wanted`
    /// accepts, and perhaps others. It is complete if the list of all plans is.
    pub async fn find_plans(
        &self,
        wanted: impl Fn(&PlanView) -> bool + Send + Sync + 'static,
    ) -> Result<Arc<List<PlanView>>, Error> {
        self.shared.next(self, Box::new(wanted)).await
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
        new_id(operation, &data)
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
        found(operation, &self.call(operation, Method::GET, item_path(plan_id, item_id), vec![], None).await?)
    }

    /// `ListDisasterRecoveryItems`: all items of the plan.
    pub async fn list_items(&self, plan_id: i64) -> Result<List<ItemView>, Error> {
        let path = format!("/disaster_recovery/{plan_id}/items");
        let operation = ApiOperation::ListDisasterRecoveryItems;
        self.list(operation, &path, &[], PAGE_SIZE, |item: ItemView| (item.item_id, item)).await
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
        let entry = |checkpoint: Checkpoint| (checkpoint.checkpoint_id, checkpoint);
        match self.list(operation, &path, &query, PAGE_SIZE, entry).await {
            Err(Error { class: Class::Invalid, .. }) => {
                self.list(operation, &path, &query, SMALL_PAGE_SIZE, entry).await
            }
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
        let lag: GroupLag = found(operation, &self.call(operation, Method::GET, path, vec![], None).await?)?;
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
        Self { client: self.client.clone(), target, shared: self.shared.clone() }
    }

    /// Reads a list. `entry` returns the ID of an entry and what to keep of it.
    async fn list<T: DeserializeOwned, K>(
        &self,
        operation: ApiOperation,
        path: &str,
        query: &[(&'static str, String)],
        page_size: u64,
        entry: impl Fn(T) -> (i64, K),
    ) -> Result<List<K>, Error> {
        let mut list = self.all_pages(operation, path, query, page_size, &entry).await?;
        for _ in 1..MAX_READS {
            if list.is_complete() {
                break;
            }
            list = self.all_pages(operation, path, query, page_size, &entry).await?;
        }
        Ok(list)
    }

    /// Reads all pages of a list once.
    async fn all_pages<T: DeserializeOwned, K>(
        &self,
        operation: ApiOperation,
        path: &str,
        query: &[(&'static str, String)],
        page_size: u64,
        entry: impl Fn(T) -> (i64, K),
    ) -> Result<List<K>, Error> {
        let mut pages = Pages::new(operation);
        for number in 1..=MAX_PAGES {
            let mut query = query.to_vec();
            query.push(("pageNumber", number.to_string()));
            query.push(("pageSize", page_size.to_string()));
            let data = self.call(operation, Method::GET, path.to_owned(), query, None).await?;
            let Page { total_count, list } = parse(operation, &data)?;
            if list.is_none() && total_count != Some(0) {
                return Err(broken(operation, "a page without list"));
            }
            if !pages.add(list, total_count, &entry)? {
                return Ok(pages.counted());
            }
        }
        Err(broken(operation, "more pages than can be"))
    }
}

fn item_path(plan_id: i64, item_id: i64) -> String {
    format!("/disaster_recovery/{plan_id}/items/{item_id}")
}

fn found<T: DeserializeOwned>(operation: ApiOperation, data: &Data) -> Result<T, Error> {
    if data.is_null() {
        let message = "the answer has no data".into();
        return Err(Error { class: Class::NotFound, operation, code: "NoData".into(), message, request_id: None });
    }
    parse(operation, data)
}

/// Checks an answer that only acknowledges the call. The data `false` is a refusal.
fn accepted(operation: ApiOperation, data: &Data) -> Result<(), Error> {
    if !matches!(data.read(), Ok(false)) {
        return Ok(());
    }
    let message = "the API answered false".into();
    Err(Error { class: Class::Conflict, operation, code: "False".into(), message, request_id: None })
}

/// The ID of the created resource. Without an ID the outcome is ambiguous, since the call has happened.
fn new_id(operation: ApiOperation, data: &Data) -> Result<i64, Error> {
    #[derive(Deserialize)]
    struct Id(#[serde(deserialize_with = "number")] i64);

    let ambiguous = |error| Error { class: Class::Ambiguous, ..error };
    let id = data.read().map(|Id(id)| id);
    id.map_err(|_| ambiguous(broken(operation, "no ID of what was made")))
}

/// The passwords in a body, to redact from error texts.
fn passwords(body: &Value) -> Vec<SecretString> {
    let instances = body.get("instances").and_then(Value::as_array).into_iter().flatten();
    instances.filter_map(|instance| instance.get("password")?.as_str()).map(SecretString::from).collect()
}

#[cfg(test)]
mod tests;
