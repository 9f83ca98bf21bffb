//! The disaster-recovery operations of ApsaraMQ for RocketMQ 2022-08-01: one typed method an operation.
//!
//! Names and shapes are the API's (help pages of the operations; the official SDK 5.1.0). Answers are read tolerantly:
//! unknown fields are passed over, numbers may come as text, and a status that nobody documented is kept by its name.

use std::fmt;

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::client::{Call, Client, Target};
use super::error::{Class, Error};

/// The product's name in metrics and in the budget.
pub const PRODUCT: &str = "rocketmq";
/// The version of the API.
pub const VERSION: &str = "2022-08-01";

/// Plans and items a page; the API takes 10 to 10,000 (OpenAPI metadata).
const PAGE_SIZE: u64 = 1000;
/// Checkpoints a page; no bound is published, the console uses far less.
const CHECKPOINT_PAGE_SIZE: u64 = 100;
/// More pages than this are a fault of the other side.
const MOST_PAGES: u64 = 100_000;

/// A password on the wire: serialized for the service, never printed.
#[derive(Clone)]
pub struct Password(SecretString);

impl Password {
    /// The text, for the wire and for comparison.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether this is not the password but what the service shows in its place: nothing, three or more signs such as
    /// `*` in a row, or one and the same character only.
    pub fn is_mask(&self) -> bool {
        is_mask(self.expose())
    }
}

/// Whether a text stands for a secret that the service does not show.
pub fn is_mask(text: &str) -> bool {
    let signs: Vec<char> = text.chars().collect();
    let hidden = |run: &[char]| run.iter().all(|sign| *sign == run[0] && !sign.is_alphanumeric());
    text.is_empty() || signs.iter().all(|sign| *sign == signs[0]) || signs.windows(3).any(hidden)
}

impl From<SecretString> for Password {
    fn from(secret: SecretString) -> Self {
        Self(secret)
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(String::deserialize(deserializer)?.into()))
    }
}

/// An attribute that is stamped on replicated messages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageProperty {
    /// Its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub property_key: Option<String>,
    /// Its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub property_value: Option<String>,
}

/// An instance of a plan, as it is sent and as it is returned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Instance {
    /// `ALIYUN_ROCKETMQ` or `EXTERNAL_ROCKETMQ`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// The region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region_id: Option<String>,
    /// The ID; generated for an external instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// `ACTIVE` or `PASSIVE`; the documentation also prints `Passive`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_role: Option<String>,
    /// `NO_AUTH` or `ACL_AUTH`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_type: Option<String>,
    /// The user of `ACL_AUTH`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password of `ACL_AUTH`, not for Alibaba Cloud's own instances. May come back masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// The name server of an external instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,
    /// `TCP_INTERNET` or `TCP_VPC`, of an external instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_type: Option<String>,
    /// The VPC of `TCP_VPC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc_id: Option<String>,
    /// The vSwitches of `TCP_VPC`, joined with `|`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v_switch_id: Option<String>,
    /// The security group of `TCP_VPC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_group_id: Option<String>,
    /// The attribute on replicated messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_property: Option<MessageProperty>,
    /// The consumer group of replication; generated for Alibaba Cloud's own instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_group_id: Option<String>,
}

/// A plan as it is sent: absent fields are left as they are by an update.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_name: Option<String>,
    /// The description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_desc: Option<String>,
    /// `ACTIVE_PASSIVE` or `ACTIVE_ACTIVE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_type: Option<String>,
    /// The full list of instances, or none: whether an update merges or replaces is not documented.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<Vec<Instance>>,
    /// Whether consumer progress is synchronized automatically.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_sync_checkpoint: Option<bool>,
    /// Whether consumer progress is synchronized at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_checkpoint_enabled: Option<bool>,
}

/// Declares a status of the API: its documented names, and any other kept as it came.
macro_rules! status {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A status that is not documented.
            Other(String),
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)+
                    _ => Self::Other(text),
                }
            }
        }

        impl $name {
            /// The API's own name of the status.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default().into())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::Other(String::new())
            }
        }
    };
}

status! {
    /// The status of a plan (official SDK).
    PlanStatus {
        /// It was made and nothing runs.
        Created = "CREATED",
        /// It replicates.
        Running = "RUNNING",
        /// It is gone.
        Deleted = "DELETED",
    }
}

status! {
    /// The status of an item (official SDK).
    ItemStatus {
        /// It is being made.
        Creating = "CREATING",
        /// It is being changed.
        Changing = "CHANGING",
        /// It replicates.
        Running = "RUNNING",
        /// Somebody stopped it.
        ManualStopped = "MANUAL_STOPPED",
        /// An overdue payment stopped it.
        OverdueStopped = "OVERDUE_STOPPED",
    }
}

/// A plan as it is returned.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// The ID.
    #[serde(deserialize_with = "number")]
    pub plan_id: i64,
    /// The status.
    #[serde(default)]
    pub plan_status: PlanStatus,
    /// The name.
    #[serde(default)]
    pub plan_name: Option<String>,
    /// The description.
    #[serde(default)]
    pub plan_desc: Option<String>,
    /// `ACTIVE_PASSIVE` or `ACTIVE_ACTIVE`.
    #[serde(default)]
    pub plan_type: Option<String>,
    /// The instances.
    #[serde(default, deserialize_with = "list")]
    pub instances: Vec<Instance>,
    /// Whether consumer progress is synchronized automatically.
    #[serde(default)]
    pub auto_sync_checkpoint: Option<bool>,
    /// Whether consumer progress is synchronized at all.
    #[serde(default)]
    pub sync_checkpoint_enabled: Option<bool>,
}

/// One side of an item, as it is sent and as it is returned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ItemTopic {
    /// The region of the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region_id: Option<String>,
    /// The type of the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// The instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// The consumer group; deprecated in the schema, asked for by older pages in ACTIVE_ACTIVE plans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_group_id: Option<String>,
    /// `Concurrently` or `Orderly`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_order_type: Option<String>,
}

/// An item as it is returned.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemView {
    /// The ID.
    #[serde(deserialize_with = "number")]
    pub item_id: i64,
    /// The status.
    #[serde(default)]
    pub item_status: ItemStatus,
    /// The topics, one a side.
    #[serde(default, deserialize_with = "list")]
    pub topics: Vec<ItemTopic>,
}

/// How far consumers are.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProgressData {
    /// The time of the message that was consumed last, in ms since 1970 UTC.
    #[serde(deserialize_with = "maybe_number")]
    pub consume_timestamp: Option<i64>,
}

/// Consumer progress of one side of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// The instance.
    pub instance_id: Option<String>,
    /// The consumer group.
    pub consumer_group_id: Option<String>,
    /// The topic.
    pub topic_name: Option<String>,
    /// How far it is.
    pub progress_data: Option<ProgressData>,
}

/// Consumer progress of one consumer group and topic.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The ID.
    #[serde(deserialize_with = "number")]
    pub checkpoint_id: i64,
    /// When it was last synchronized, in ms since 1970 UTC.
    #[serde(default, deserialize_with = "maybe_number")]
    pub last_sync_time: Option<i64>,
    /// The source's side.
    #[serde(default)]
    pub source_progress: Option<Progress>,
    /// The destination's side.
    #[serde(default)]
    pub target_progress: Option<Progress>,
}

/// A number that may come as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    maybe_number(deserializer)?.ok_or_else(|| serde::de::Error::custom("a number is missing"))
}

fn maybe_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let broken = || serde::de::Error::custom("not a whole number");
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::Number(number) => number.as_i64().map(Some).ok_or_else(broken),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => text.parse().map(Some).map_err(|_| broken()),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(broken()),
    }
}

/// A list that may be null.
fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

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
        action: &'static str,
        method: Method,
        path: String,
        query: Vec<(&'static str, String)>,
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        let changing = method != Method::GET;
        let secrets = body.map(passwords).unwrap_or_default();
        let body = body.map(|body| body.to_string().into_bytes());
        self.client.send(&self.target, &Call { action, method, path, query, body, changing, secrets }).await
    }

    /// `CreateDisasterRecoveryPlan`: the new plan's ID. There is no client token: a repeat makes a second plan.
    pub async fn create_plan(&self, plan: &Plan) -> Result<i64, Error> {
        let action = "CreateDisasterRecoveryPlan";
        let data = self
            .call(action, Method::POST, "/disaster_recovery".into(), vec![], Some(&json!(plan)))
            .await
            .map_err(referenced)?;
        new_id(action, data)
    }

    /// `UpdateDisasterRecoveryPlan`: absent fields are left as they are.
    pub async fn update_plan(&self, plan_id: i64, plan: &Plan) -> Result<(), Error> {
        let path = format!("/disaster_recovery/{plan_id}");
        self.call("UpdateDisasterRecoveryPlan", Method::PATCH, path, vec![], Some(&json!(plan)))
            .await
            .and_then(accepted)
    }

    /// `GetDisasterRecoveryPlan`. A plan that does not exist is [`Class::NotFound`].
    pub async fn get_plan(&self, plan_id: i64) -> Result<PlanView, Error> {
        let action = "GetDisasterRecoveryPlan";
        let path = format!("/disaster_recovery/{plan_id}");
        let plan: PlanView = found(action, self.call(action, Method::GET, path, vec![], None).await?)?;
        if plan.plan_id == plan_id { Ok(plan) } else { Err(broken(action, "another plan than was asked for")) }
    }

    /// `ListDisasterRecoveryPlans`: all plans of the region, all pages.
    ///
    /// No filter is sent, since what exactly it matches is not documented and a plan must not be overlooked.
    pub async fn list_plans(&self) -> Result<Vec<PlanView>, Error> {
        let id = |plan: &PlanView| plan.plan_id;
        self.all_pages("ListDisasterRecoveryPlans", "/disaster_recovery".into(), &[], PAGE_SIZE, Twice::Refuse, id)
            .await
    }

    /// `DeleteDisasterRecoveryPlan`.
    pub async fn delete_plan(&self, plan_id: i64) -> Result<(), Error> {
        let path = format!("/disaster_recovery/{plan_id}");
        self.call("DeleteDisasterRecoveryPlan", Method::DELETE, path, vec![], None).await.and_then(accepted)
    }

    /// `AddDisasterRecoveryItem`: the new item's ID. There is no client token: a repeat makes a second item.
    pub async fn add_item(&self, plan_id: i64, topics: &[ItemTopic]) -> Result<i64, Error> {
        let action = "AddDisasterRecoveryItem";
        let path = format!("/disaster_recovery/{plan_id}/items");
        let body = json!({ "topics": topics });
        let data = self.call(action, Method::POST, path, vec![], Some(&body)).await.map_err(referenced)?;
        new_id(action, data)
    }

    /// `UpdateDisasterRecoveryItem`.
    pub async fn update_item(&self, plan_id: i64, item_id: i64, topics: &[ItemTopic]) -> Result<(), Error> {
        let body = json!({ "topics": topics });
        let path = item_path(plan_id, item_id);
        self.call("UpdateDisasterRecoveryItem", Method::PATCH, path, vec![], Some(&body)).await.and_then(accepted)
    }

    /// `GetDisasterRecoveryItem`. An item that does not exist is [`Class::NotFound`].
    pub async fn get_item(&self, plan_id: i64, item_id: i64) -> Result<ItemView, Error> {
        let action = "GetDisasterRecoveryItem";
        found(action, self.call(action, Method::GET, item_path(plan_id, item_id), vec![], None).await?)
    }

    /// `ListDisasterRecoveryItems`: all items of the plan, all pages.
    pub async fn list_items(&self, plan_id: i64) -> Result<Vec<ItemView>, Error> {
        let path = format!("/disaster_recovery/{plan_id}/items");
        let id = |item: &ItemView| item.item_id;
        self.all_pages("ListDisasterRecoveryItems", path, &[], PAGE_SIZE, Twice::Refuse, id).await
    }

    /// `StartDisasterRecoveryItem`.
    pub async fn start_item(&self, plan_id: i64, item_id: i64) -> Result<(), Error> {
        let path = format!("{}/start", item_path(plan_id, item_id));
        self.call("StartDisasterRecoveryItem", Method::POST, path, vec![], None).await.and_then(accepted)
    }

    /// `StopDisasterRecoveryItem`.
    pub async fn stop_item(&self, plan_id: i64, item_id: i64) -> Result<(), Error> {
        let path = format!("{}/stop", item_path(plan_id, item_id));
        self.call("StopDisasterRecoveryItem", Method::POST, path, vec![], None).await.and_then(accepted)
    }

    /// `DeleteDisasterRecoveryItem`.
    pub async fn delete_item(&self, plan_id: i64, item_id: i64) -> Result<(), Error> {
        let path = item_path(plan_id, item_id);
        self.call("DeleteDisasterRecoveryItem", Method::DELETE, path, vec![], None).await.and_then(accepted)
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
        // Checkpoints may be sorted by times that move while they are read.
        self.all_pages("ListDisasterRecoveryCheckpoints", path, &query, CHECKPOINT_PAGE_SIZE, Twice::Skip, id).await
    }

    /// `SyncDisasterRecoveryCheckpoint`: synchronizes one checkpoint once, also for a group that is offline at the
    /// destination.
    pub async fn sync_checkpoint(&self, plan_id: i64, item_id: i64, checkpoint_id: i64) -> Result<(), Error> {
        let path = format!("{}/checkpoints/{checkpoint_id}", item_path(plan_id, item_id));
        self.call("SyncDisasterRecoveryCheckpoint", Method::POST, path, vec![], None).await.and_then(accepted)
    }

    /// Reads all pages. A list that changed while it was read is [`Class::Unavailable`]: an entry may be missing, and an
    /// overlooked plan would be made a second time.
    async fn all_pages<T: DeserializeOwned>(
        &self,
        action: &'static str,
        path: String,
        query: &[(&'static str, String)],
        page_size: u64,
        twice: Twice,
        id: impl Fn(&T) -> i64,
    ) -> Result<Vec<T>, Error> {
        let mut all: Vec<T> = Vec::new();
        let (mut ids, mut read) = (std::collections::BTreeSet::new(), 0);
        for number in 1..=MOST_PAGES {
            let mut query = query.to_vec();
            query.push(("pageNumber", number.to_string()));
            query.push(("pageSize", page_size.to_string()));
            let data = self.call(action, Method::GET, path.clone(), query, None).await?;
            let page: Page<T> = parse(action, data)?;
            let entries = match (page.list, page.total_count) {
                (Some(entries), _) => entries,
                (None, Some(0)) => vec![],
                (None, _) => return Err(broken(action, "a page without list")),
            };
            let empty = entries.is_empty();
            read += entries.len();
            for entry in entries {
                match (ids.insert(id(&entry)), twice) {
                    (true, _) => all.push(entry),
                    (false, Twice::Skip) => {}
                    (false, Twice::Refuse) => {
                        return Err(broken(action, "an entry on two pages: the list changed while it was read"));
                    }
                }
            }
            // Pages may be shorter than was asked for, so that only an empty one is the end where no total is given.
            match page.total_count.map(|total| usize::try_from(total).unwrap_or_default()) {
                Some(total) if read >= total => return Ok(all),
                Some(_) if empty => return Err(broken(action, "fewer entries than its totalCount")),
                None if empty => return Ok(all),
                Some(_) | None => {}
            }
        }
        Err(broken(action, "more pages than can be"))
    }
}

fn item_path(plan_id: i64, item_id: i64) -> String {
    format!("/disaster_recovery/{plan_id}/items/{item_id}")
}

fn broken(action: &'static str, what: impl fmt::Display) -> Error {
    let message = format!("the answer has {what}");
    Error { class: Class::Unavailable, action, code: "BrokenAnswer".into(), message, request_id: None }
}

fn parse<T: DeserializeOwned>(action: &'static str, data: Value) -> Result<T, Error> {
    // What serde says may quote the data, and the data may hold a password.
    serde_json::from_value(data).map_err(|_| broken(action, "data of an unexpected shape"))
}

fn found<T: DeserializeOwned>(action: &'static str, data: Value) -> Result<T, Error> {
    if data.is_null() {
        let message = "the answer has no data".into();
        return Err(Error { class: Class::NotFound, action, code: "NoData".into(), message, request_id: None });
    }
    parse(action, data)
}

/// What an entry means that comes on two pages.
#[derive(Clone, Copy)]
enum Twice {
    /// Another one may be missing.
    Refuse,
    /// It is the same one.
    Skip,
}

/// The answer of an operation whose data is a mere yes; `false` is none.
fn accepted(data: Value) -> Result<(), Error> {
    if data != Value::Bool(false) {
        return Ok(());
    }
    let message = "the API answered false".into();
    Err(Error { class: Class::Conflict, action: "the call", code: "False".into(), message, request_id: None })
}

/// What the call names and cannot be found is not what the call makes.
fn referenced(error: Error) -> Error {
    match error.class {
        Class::NotFound => Error { class: Class::Invalid, ..error },
        _ => error,
    }
}

/// The ID of what was made. Without one the call has happened all the same.
fn new_id(action: &'static str, data: Value) -> Result<i64, Error> {
    let ambiguous = |error| Error { class: Class::Ambiguous, ..error };
    maybe_number(data).ok().flatten().ok_or_else(|| ambiguous(broken(action, "no ID of what was made")))
}

/// The passwords in a body, to be cut out of error texts.
fn passwords(body: &Value) -> Vec<SecretString> {
    let instances = body.get("instances").and_then(Value::as_array).into_iter().flatten();
    instances.filter_map(|instance| instance.get("password")?.as_str()).map(SecretString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_checkpoint_is_read() {
        let checkpoint: Checkpoint = serde_json::from_value(json!({
            "planId": 0, "itemId": 0, "checkpointId": 7, "lastSyncTime": 1740724080343_i64,
            "sourceProgress": {"consumerGroupId": "GID_TEST", "progressData": {"consumeTimestamp": "1740724080343"}},
            "targetProgress": null,
        }))
        .expect("reads");
        assert_eq!(checkpoint.last_sync_time, Some(1740724080343));
        let source = checkpoint.source_progress.and_then(|side| side.progress_data).and_then(|it| it.consume_timestamp);
        assert_eq!(source, Some(1740724080343));
    }

    #[test]
    fn a_password_is_sent_and_never_printed() {
        let instance = Instance { password: Some(Password(String::from("hunter22").into())), ..Instance::default() };
        assert_eq!(json!(instance).to_string(), r#"{"password":"hunter22"}"#);
        assert!(!format!("{instance:?}").contains("hunter22"));
        assert_eq!(passwords(&json!({"instances": [instance]})).len(), 1);
    }

    #[test]
    fn masks_are_known() {
        for mask in ["", "******", "h***2", "xxxx", "••••••"] {
            assert!(is_mask(mask), "{mask}");
        }
        for password in ["hunter22", "a**b", "pass-word"] {
            assert!(!is_mask(password), "{password}");
        }
    }

    #[test]
    fn an_undocumented_status_keeps_its_name() {
        let item: ItemView =
            serde_json::from_value(json!({"itemId": "5", "itemStatus": "MIGRATING", "topics": null})).expect("reads");
        assert_eq!((item.item_id, item.item_status.as_str()), (5, "MIGRATING"));
        assert_eq!(item.item_status, ItemStatus::Other("MIGRATING".into()));
    }
}
