//! Parameters and results of the operations, in the API's names.
//!
//! Reading is tolerant: unknown fields are ignored, numbers may come as text, lists may be null, and an undocumented
//! status keeps its name.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::super::wire::{list, maybe_number, number, status};

/// A password on the wire: serialized for the service, redacted in debug output.
#[derive(Clone)]
pub struct Password(SecretString);

impl Password {
    /// The text, for the wire and for comparison.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether this is not the password but a mask that the service shows in its place: an empty text, three or more
    /// signs such as `*` in a row, or only one repeated character.
    pub fn is_mask(&self) -> bool {
        is_mask(self.expose())
    }
}

/// Whether a text is a mask in place of a secret that the service does not show.
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

impl Hash for Password {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expose().hash(state);
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

/// An attribute that the replicator adds to replicated messages.
#[derive(Clone, Debug, Default, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageProperty {
    /// The attribute's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub property_key: Option<String>,
    /// The attribute's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub property_value: Option<String>,
}

/// An instance of a plan, sent and returned.
#[derive(Clone, Debug, Default, PartialEq, Hash, Serialize, Deserialize)]
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

/// A plan in a request. An update leaves absent fields unchanged.
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
    /// The full list of instances, or none: it is not documented whether an update merges or replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<Vec<Instance>>,
    /// Whether consumer progress is synchronized automatically.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_sync_checkpoint: Option<bool>,
    /// Whether consumer progress is synchronized at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_checkpoint_enabled: Option<bool>,
}

status! {
    /// The status of a plan (official SDK).
    PlanStatus {
        /// Created; nothing runs.
        Created = "CREATED",
        /// Replicating.
        Running = "RUNNING",
        /// Deleted.
        Deleted = "DELETED",
    }
}

status! {
    /// The status of an item (official SDK).
    ItemStatus {
        /// Being created.
        Creating = "CREATING",
        /// Being changed.
        Changing = "CHANGING",
        /// Replicating.
        Running = "RUNNING",
        /// Stopped by a call.
        ManualStopped = "MANUAL_STOPPED",
        /// Stopped by an overdue payment.
        OverdueStopped = "OVERDUE_STOPPED",
    }
}

/// A plan in an answer.
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

/// One side of an item, sent and returned.
#[derive(Clone, Debug, Default, PartialEq, Hash, Serialize, Deserialize)]
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
    /// The consumer group; deprecated in the schema, required by older help pages in ACTIVE_ACTIVE plans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_group_id: Option<String>,
    /// `Concurrently` or `Orderly`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_order_type: Option<String>,
}

/// An item in an answer.
#[derive(Clone, Debug, Default, PartialEq, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemView {
    /// The ID.
    #[serde(deserialize_with = "number")]
    pub item_id: i64,
    /// The status.
    #[serde(default)]
    pub item_status: ItemStatus,
    /// The topics, one per side.
    #[serde(default, deserialize_with = "list")]
    pub topics: Vec<ItemTopic>,
}

/// The progress of consumers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProgressData {
    /// Time of the message that was consumed last, in ms since 1970 UTC.
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
    /// Time at which the cloud fetched the progress, in ms since 1970 UTC.
    #[serde(deserialize_with = "maybe_number")]
    pub last_fetch_time: Option<i64>,
    /// The progress.
    pub progress_data: Option<ProgressData>,
}

/// Consumer progress of one consumer group and topic.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The ID.
    #[serde(deserialize_with = "number")]
    pub checkpoint_id: i64,
    /// Time of the last synchronization, in ms since 1970 UTC.
    #[serde(default, deserialize_with = "maybe_number")]
    pub last_sync_time: Option<i64>,
    /// The source's side.
    #[serde(default)]
    pub source_progress: Option<Progress>,
    /// The destination's side.
    #[serde(default)]
    pub target_progress: Option<Progress>,
}

/// The lag of one consumer group.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupLag {
    /// The instance.
    pub instance_id: Option<String>,
    /// The consumer group.
    pub consumer_group_id: Option<String>,
    /// All topics together.
    #[serde(deserialize_with = "lenient")]
    pub total_lag: TopicLag,
    /// By topic. Whether it contains topics without lag is not documented. One that cannot be read is here without numbers, so that it
    /// breaks no other.
    #[serde(deserialize_with = "lenient_map")]
    pub topic_lag_map: BTreeMap<String, TopicLag>,
}

fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TopicLag, D::Error> {
    Ok(topic_lag(<&RawValue>::deserialize(deserializer)?))
}

fn lenient_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, TopicLag>, D::Error> {
    let topics = Option::<BTreeMap<String, &RawValue>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(topics.into_iter().map(|(topic, lag)| (topic, topic_lag(lag))).collect())
}

fn topic_lag(lag: &RawValue) -> TopicLag {
    serde_json::from_str(lag.get()).unwrap_or_default()
}

/// The lag of one consumer group in one topic.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicLag {
    /// The number of messages that are not being consumed yet.
    #[serde(deserialize_with = "maybe_number")]
    pub ready_count: Option<i64>,
    /// The number of messages that are being consumed.
    #[serde(deserialize_with = "maybe_number")]
    pub inflight_count: Option<i64>,
    /// The time for which the oldest of these messages has waited, in s.
    #[serde(deserialize_with = "maybe_number")]
    pub delivery_duration: Option<i64>,
    /// Time of the message that was consumed last, in ms since 1970 UTC.
    #[serde(deserialize_with = "maybe_number")]
    pub last_consume_timestamp: Option<i64>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn published_checkpoint_is_read() {
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
    fn odd_topic_breaks_no_other() {
        let answer = json!({
            "totalLag": [],
            "topicLagMap": {
                "orders": {"readyCount": "3", "inflightCount": 0, "deliveryDuration": 7, "lastConsumeTimestamp": null},
                "%RETRY%g": {"deliveryDuration": 1.5}, "list": [], "none": null,
            },
        });
        let lag: GroupLag = serde_json::from_str(&answer.to_string()).expect("reads");
        let durations: Vec<_> =
            lag.topic_lag_map.iter().map(|(topic, it)| (topic.as_str(), it.delivery_duration)).collect();
        assert_eq!(durations, [("%RETRY%g", None), ("list", None), ("none", None), ("orders", Some(7))]);
        assert_eq!(lag.total_lag, TopicLag::default());
    }

    #[test]
    fn masks_differ_from_passwords() {
        for mask in ["", "******", "h***2", "xxxx", "••••••"] {
            assert!(is_mask(mask), "{mask}");
        }
        for password in ["hunter22", "a**b", "pass-word"] {
            assert!(!is_mask(password), "{password}");
        }
    }

    #[test]
    fn undocumented_status_keeps_its_name() {
        let item: ItemView =
            serde_json::from_value(json!({"itemId": "5", "itemStatus": "MIGRATING", "topics": null})).expect("reads");
        assert_eq!((item.item_id, item.item_status.as_str()), (5, "MIGRATING"));
        assert_eq!(item.item_status, ItemStatus::Other("MIGRATING".into()));
    }

    #[test]
    fn password_is_sent_and_never_printed() {
        let instance = Instance { password: Some(Password(String::from("hunter22").into())), ..Instance::default() };
        assert_eq!(json!(instance).to_string(), r#"{"password":"hunter22"}"#);
        assert!(!format!("{instance:?}").contains("hunter22"));
    }
}
