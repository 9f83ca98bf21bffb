//! The status of `DisasterRecoveryPlan`, which only the operator writes.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::drift::Drift;
pub use super::head::StatusHead;

/// The mark of a Create call that may have happened: written before it, removed once the plan is seen.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CreationStatus {
    /// A random name of this attempt, for the logs.
    pub nonce: String,
    /// When the attempt began (UTC).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
}

/// Consumer progress, summed up. Seconds are rounded up to steps; the metrics are exact.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointSummary {
    /// How many checkpoints (consumer group and topic) there are.
    pub total: i64,
    /// How many lag by more than the objective.
    pub behind: i64,
    /// How many were never synchronized.
    pub never_synced: i64,
    /// The largest lag in seconds when it was last sampled, rounded up. Absent when nothing was synchronized yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lag_seconds: Option<i64>,
}

/// Messages of a topic that are not at the destination yet.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Backlog {
    /// How many messages waited when delaySeconds last changed. An ACTIVE_ACTIVE plan has the sum of both directions. Absent where
    /// the cloud does not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<i64>,
    /// How long the oldest of them has waited, in seconds, rounded up; the longer one of both directions.
    pub delay_seconds: i64,
}

/// A consumer group whose progress the operator could not synchronize.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FailedSync {
    /// The topic mapping's name.
    pub mapping: String,
    /// The consumer group. Absent where the checkpoints of the mapping could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer_group_id: Option<String>,
    /// The topic on the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// The error of the last attempt.
    pub message: String,
}

/// The last round of synchronizations by the operator (spec.checkpointSync).
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointSyncStatus {
    /// When the last round began (UTC), of the mapping whose last round is the oldest. While nothing else changes it advances once
    /// an hour; the metrics are exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_round_time: Option<Timestamp>,
    /// How many consumer groups, and mappings as a whole, could not be synchronized; also those that failed before and wait for
    /// another attempt.
    pub failed: i64,
    /// The first ten of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub failures: Vec<FailedSync>,
}

/// A consumer group that lags or was never synchronized.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LaggingGroup {
    /// The topic mapping's name.
    pub mapping: String,
    /// The instance that the progress comes from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source_instance_id: String,
    /// The consumer group on the source.
    pub consumer_group_id: String,
    /// The topic on the source.
    pub topic_name: String,
    /// Its lag in seconds, rounded up. Absent when it was never synchronized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<i64>,
}

/// Consumer progress of the whole plan.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlanCheckpoints {
    /// The sums over all mappings.
    #[serde(flatten)]
    pub summary: CheckpointSummary,
    /// `maxLagSeconds` as people read it, such as 40s or 2m; `-` when nothing was synchronized yet.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub max_lag: String,
    /// When a checkpoint was last synchronized (UTC). Advances only with another change, so that a steady plan is not rewritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_sync_time: Option<Timestamp>,
    /// The groups that lag most, at most ten, those never synchronized first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub worst: Vec<LaggingGroup>,
}

/// What is known of one topic mapping.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TopicMappingStatus {
    /// The mapping's name in the spec.
    pub name: String,
    /// The item's ID in the cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_id: Option<String>,
    /// The item's status in the cloud: CREATING, CHANGING, RUNNING, MANUAL_STOPPED or OVERDUE_STOPPED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_status: Option<String>,
    /// Consumer progress of this mapping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<CheckpointSummary>,
    /// Messages of this mapping that are not at the destination yet. Absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<Backlog>,
}

/// The mark of an AddDisasterRecoveryItem call that may have happened: written before it, removed once the item is seen.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ItemCreationStatus {
    /// The pair of topics, each as instance/topic.
    pub topics: String,
    /// A random name of this attempt, for the logs.
    pub nonce: String,
    /// When the attempt began (UTC).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// The item's ID, where the call was answered: then it is waited for ten times as long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_id: Option<String>,
}

/// A change of the plan, or of an item's topics, that the cloud does not show although the operator called the API for it.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PendingUpdate {
    /// The changed part: plan, or topicMappings[…] with the name of a mapping.
    pub field: String,
    /// The change: the generation of the spec, the versions of the Secrets, and the fields that differ.
    pub change: String,
    /// What the API did: Refused, RefusedWhileRunning, or Sent if it accepted the change or did not answer.
    pub outcome: UpdateOutcome,
    /// The time of the call (UTC).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// The API's refusal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// What the API did with a change.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// It refused the change because items run.
    RefusedWhileRunning,
    /// It refused the change, or it accepted the change twice without effect. The operator repeats the change after an hour.
    Refused,
    /// It accepted the change, or did not answer. The operator repeats the change after the visibility window.
    Sent,
}

/// The Secret that was last sent for an instance.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SentCredentials {
    /// The instance's name in the spec.
    pub instance: String,
    /// The Secret's name.
    pub secret_name: String,
    /// The Secret's resourceVersion when its content was sent.
    pub resource_version: String,
    /// A salted, slow hash of the content that was sent. It recognizes a Secret whose metadata alone changed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub content_hash: String,
    /// Whether the cloud showed the password as it was sent: then another one there is a difference.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub echoed: bool,
}

/// What is known of a plan.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DisasterRecoveryPlanStatus {
    /// What every kind has.
    #[serde(flatten)]
    pub head: StatusHead,
    /// The plan's ID in the cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<String>,
    /// The plan's status in the cloud: CREATED, RUNNING or DELETED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_status: Option<String>,
    /// Running mappings of all mappings, such as 2/3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<String>,
    /// The topic mappings of the spec, and former ones whose items are not found, without proof that they are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub topic_mappings: Vec<TopicMappingStatus>,
    /// Consumer progress of the whole plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<PlanCheckpoints>,
    /// The synchronization of consumer progress by the operator (spec.checkpointSync).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_sync: Option<CheckpointSyncStatus>,
    /// Whether the proof that Protected rests on ends soon and was not renewed. A new leader does not rely on it. Present only while
    /// it is true.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protection_ends: bool,
    /// A CreateDisasterRecoveryPlan call that may have happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation: Option<CreationStatus>,
    /// The time of the last CreateDisasterRecoveryPlan call (UTC) that had no answer and was followed by another call. The plan
    /// of the first call may still appear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub unanswered_creation: Option<Timestamp>,
    /// The IDs of other plans that carry this object's mark. While there are any, the operator only starts paused items again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub twins: Vec<String>,
    /// The Secrets that were last sent, to notice a rotation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["instance".into()]))]
    pub sent_credentials: Vec<SentCredentials>,
    /// AddDisasterRecoveryItem calls that may have happened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["topics".into()]))]
    pub item_creations: Vec<ItemCreationStatus>,
    /// The IDs of the items that the operator stopped, or is about to stop, for a change. It starts them again whether the
    /// change succeeds or not, and keeps each ID until the item runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub paused_items: Vec<String>,
    /// The time of the first stop (UTC). A pause ends after ten minutes, also without the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub paused_since: Option<Timestamp>,
    /// A hash of the planName and planDesc that the plan last had as the spec says. It distinguishes a change of the spec from
    /// another actor's change of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_texts: Option<String>,
    /// Changes that the operator sent and that the cloud does not show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["field".into()]))]
    pub pending_updates: Vec<PendingUpdate>,
    /// The time since which the plan is not found (UTC). It counts as gone when all reads over the whole visibility window
    /// agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub missing_since: Option<Timestamp>,
    /// The last handled value of the annotation disasterrecovery.dev/sync-checkpoints-requested-at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_sync_checkpoints_at: Option<String>,
}

impl AsRef<StatusHead> for DisasterRecoveryPlanStatus {
    fn as_ref(&self) -> &StatusHead {
        &self.head
    }
}

impl AsMut<StatusHead> for DisasterRecoveryPlanStatus {
    fn as_mut(&mut self) -> &mut StatusHead {
        &mut self.head
    }
}
