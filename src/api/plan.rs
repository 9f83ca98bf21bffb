//! `DisasterRecoveryPlan`: a Global Replicator plan between two RocketMQ instances, its topic mappings and its checkpoints.
//!
//! Field names are those of the API (ApsaraMQ for RocketMQ 2022-08-01), so that its documentation applies.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use kube::core::Duration;

pub use super::account::LocalReference;
pub use super::plan_status::*;
pub use super::policy::{DeletionPolicy, ManagementPolicy};

/// Which way a plan replicates.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanType {
    /// One way: from the ACTIVE to the PASSIVE instance.
    #[serde(rename = "ACTIVE_PASSIVE")]
    ActivePassive,
    /// Both ways. Consumer progress is never synchronized automatically.
    #[serde(rename = "ACTIVE_ACTIVE")]
    ActiveActive,
}

/// What an instance is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceType {
    /// An ApsaraMQ for RocketMQ instance.
    #[serde(rename = "ALIYUN_ROCKETMQ")]
    Aliyun,
    /// A self-managed open source RocketMQ cluster.
    #[serde(rename = "EXTERNAL_ROCKETMQ")]
    External,
}

/// The role of an instance in the plan.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceRole {
    /// The primary instance.
    #[serde(rename = "ACTIVE")]
    Active,
    /// The secondary instance.
    #[serde(rename = "PASSIVE")]
    Passive,
}

/// How Global Replicator authenticates to an instance.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthType {
    /// Not at all.
    #[serde(rename = "NO_AUTH")]
    NoAuth,
    /// By access control list: user name and password.
    #[serde(rename = "ACL_AUTH")]
    Acl,
}

/// How an external cluster is reached.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkType {
    /// Over the internet.
    #[serde(rename = "TCP_INTERNET")]
    Internet,
    /// Through a VPC.
    #[serde(rename = "TCP_VPC")]
    Vpc,
}

/// The order in which messages of a topic are delivered.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryOrderType {
    /// Concurrent delivery.
    Concurrently,
    /// Ordered delivery.
    Orderly,
}

/// Whether a mapping replicates.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MappingState {
    /// It replicates.
    #[default]
    Running,
    /// It is stopped.
    Stopped,
}

/// What happens to items of the plan that the spec does not name.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ItemPolicy {
    /// They stay as they are, so that taking over a plan deletes nothing.
    #[default]
    Keep,
    /// They are stopped and deleted.
    Prune,
}

/// What happens when the API refuses a change because items run.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpdatePolicy {
    /// The change waits, and replication continues.
    #[default]
    Wait,
    /// Items are stopped for the change and started again after it.
    PauseItems,
}

/// Whether a topic mapping has consumers, so that it has consumer progress.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consumers {
    /// Without any checkpoint, it is unknown whether its consumers can continue at the destination.
    #[default]
    Expected,
    /// No checkpoint is needed. Checkpoints that exist still count.
    #[serde(rename = "None")]
    NotExpected,
}

/// Whether `Protected` needs evidence that messages arrive.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageEvidence {
    /// The message backlog has to be known, and within the objective.
    #[default]
    Required,
    /// Consumer progress alone is enough. The message backlog is not read.
    NotRequired,
}

/// Who synchronizes consumer progress.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckpointSyncBy {
    /// The cloud, by autoSyncCheckpoint. It skips consumer groups that are offline at the destination.
    #[default]
    Cloud,
    /// The operator, also for consumer groups that are offline at the destination.
    Operator,
}

/// How consumer progress is synchronized.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.interval) || self.by == 'Operator'")
    .message("interval is for by: Operator only: set by: Operator or remove interval"))]
pub struct CheckpointSync {
    /// Cloud or Operator. Operator keeps a cold standby covered: in each interval the operator lists the checkpoints of every
    /// running mapping, and synchronizes those whose source is ahead of the destination or that never were.
    #[serde(default)]
    pub by: CheckpointSyncBy,
    /// The interval between two rounds with by: Operator, such as 75s; at least 5s, at most half of recoveryPointObjective. A round
    /// that is not finished after a minute is continued at once, and a new consumer group gets one at once. Default: a quarter of
    /// recoveryPointObjective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('5s') && duration(self) <= duration('84h')")
        .message("interval is a duration from 5s to 84h, such as 75s"))]
    pub interval: Option<Duration>,
}

/// A Secret in the namespace of the object.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
pub struct SecretReference {
    /// The name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
}

/// An attribute that is stamped on every message that is replicated to an instance, for SQL-92 filtering there.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MessageProperty {
    /// The attribute's key.
    #[schemars(length(min = 1, max = 128))]
    pub property_key: String,
    /// The attribute's value.
    #[schemars(length(min = 1, max = 128))]
    pub property_value: String,
}

/// One of the two instances of a plan.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.instanceType != 'ALIYUN_ROCKETMQ' || has(self.instanceId)")
        .message("instanceId is required for ALIYUN_ROCKETMQ: write the ID of the instance, such as rmq-cn-…"),
    validation = Rule::new("self.instanceType != 'EXTERNAL_ROCKETMQ' || !has(self.instanceId)")
        .message("instanceId is generated by the cloud for EXTERNAL_ROCKETMQ: remove it and write endpointUrl"),
    validation = Rule::new("self.instanceType != 'EXTERNAL_ROCKETMQ' || has(self.endpointUrl)")
        .message("endpointUrl is required for EXTERNAL_ROCKETMQ: write host:port of the name server"),
    validation = Rule::new("self.instanceType != 'EXTERNAL_ROCKETMQ' || has(self.networkType)")
        .message("networkType is required for EXTERNAL_ROCKETMQ: write TCP_INTERNET or TCP_VPC"),
    validation = Rule::new("self.instanceType != 'EXTERNAL_ROCKETMQ' || has(self.consumerGroupId)")
        .message("consumerGroupId is required for EXTERNAL_ROCKETMQ: write the consumer group that replication may use"),
    validation = Rule::new("self.instanceType == 'EXTERNAL_ROCKETMQ' || (!has(self.endpointUrl) && !has(self.networkType))")
        .message("endpointUrl and networkType are for EXTERNAL_ROCKETMQ only: remove them, instanceId says where it is"),
    validation = Rule::new("!has(self.networkType) || self.networkType != 'TCP_VPC' || (has(self.vpcId) && has(self.vSwitchIds) && has(self.securityGroupId))")
        .message("networkType TCP_VPC requires vpcId, vSwitchIds and securityGroupId: write all three"),
    validation = Rule::new("(has(self.networkType) && self.networkType == 'TCP_VPC') || (!has(self.vpcId) && !has(self.vSwitchIds) && !has(self.securityGroupId))")
        .message("vpcId, vSwitchIds and securityGroupId are for EXTERNAL_ROCKETMQ with networkType TCP_VPC only: remove them or set networkType: TCP_VPC"),
    validation = Rule::new("!has(self.authType) || self.authType != 'ACL_AUTH' || has(self.credentialsSecretRef)")
        .message("authType ACL_AUTH requires credentialsSecretRef: name a Secret of this namespace with the keys username and password"),
    validation = Rule::new("!has(self.credentialsSecretRef) || (has(self.authType) && self.authType == 'ACL_AUTH')")
        .message("credentialsSecretRef is used with authType ACL_AUTH only: set authType: ACL_AUTH or remove the reference"),
)]
pub struct Instance {
    /// The name of this instance within the object; `topicMappings[].topics[].instance` refers to it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// ALIYUN_ROCKETMQ (an ApsaraMQ for RocketMQ instance) or EXTERNAL_ROCKETMQ (a self-managed cluster).
    /// The API cannot change it once the plan exists.
    pub instance_type: InstanceType,
    /// ACTIVE (primary) or PASSIVE (secondary). An ACTIVE_PASSIVE plan has exactly one of each. The API cannot change it
    /// once the plan exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "InstanceRole")]
    pub instance_role: Option<InstanceRole>,
    /// The region in which the instance resides, such as cn-hangzhou.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9]+(-[a-z0-9]+)*$"))]
    pub region_id: String,
    /// The instance's ID. Required for ALIYUN_ROCKETMQ; the cloud generates it for EXTERNAL_ROCKETMQ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[^\s/?#|]+$"))]
    pub instance_id: Option<String>,
    /// Host and port of the cluster's name server. Required for EXTERNAL_ROCKETMQ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^\S+$"))]
    pub endpoint_url: Option<String>,
    /// TCP_INTERNET or TCP_VPC. Required for EXTERNAL_ROCKETMQ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "NetworkType")]
    pub network_type: Option<NetworkType>,
    /// The VPC through which the cluster is reached. Required with TCP_VPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[^\s|]+$"))]
    pub vpc_id: Option<String>,
    /// The vSwitches of the VPC. Required with TCP_VPC. (The API takes them joined with a vertical bar.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 128), regex(pattern = r"^[^\s|]+$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub v_switch_ids: Option<Vec<String>>,
    /// The security group of the connection. Required with TCP_VPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[^\s|]+$"))]
    pub security_group_id: Option<String>,
    /// The consumer group that replication uses on this instance. Required for EXTERNAL_ROCKETMQ; the cloud generates it
    /// for ALIYUN_ROCKETMQ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^\S+$"))]
    pub consumer_group_id: Option<String>,
    /// NO_AUTH or ACL_AUTH. Instances of version 4.0 need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AuthType")]
    pub auth_type: Option<AuthType>,
    /// The Secret (same namespace) whose keys `username` and `password` are used with ACL_AUTH. For ALIYUN_ROCKETMQ only
    /// the user name is sent. The operator finds a changed Secret within pollInterval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretReference>,
    /// An attribute that is stamped on every message that is replicated to this instance. Left as it is when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_property: Option<MessageProperty>,
}

/// One side of a topic mapping.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MappedTopic {
    /// The name of one of `spec.instances`.
    #[schemars(length(min = 1, max = 63))]
    pub instance: String,
    /// The topic on that instance.
    #[schemars(length(min = 1, max = 127), regex(pattern = r"^[%|a-zA-Z0-9_-]+$"))]
    pub topic_name: String,
    /// Concurrently or Orderly. Left to the cloud when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DeliveryOrderType")]
    pub delivery_order_type: Option<DeliveryOrderType>,
    /// The consumer group of this side, which older revisions of the API ask for in ACTIVE_ACTIVE plans. Deprecated there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^\S+$"))]
    pub consumer_group_id: Option<String>,
}

/// A pair of topics that are kept alike: one item of the plan.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TopicMapping {
    /// The name of this mapping within the object.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The topics, one for each of the two instances.
    #[schemars(length(min = 2, max = 2))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["instance".into()]))]
    pub topics: Vec<MappedTopic>,
    /// Running or Stopped.
    #[serde(default)]
    pub state: MappingState,
    /// Expected, or None for topics that no consumer group reads. With Expected, OffsetsCovered, and Protected of an
    /// ACTIVE_PASSIVE plan, are Unknown while the mapping runs without a checkpoint of a consumer group that counts. An
    /// ACTIVE_ACTIVE plan needs one from each instance.
    #[serde(default)]
    pub consumers: Consumers,
}

/// What a plan should be.
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "disasterrecovery.dev",
    version = "v1alpha1",
    kind = "DisasterRecoveryPlan",
    plural = "disasterrecoveryplans",
    shortname = "drp",
    category = "dr",
    namespaced,
    status = "DisasterRecoveryPlanStatus",
    derive = "PartialEq",
    doc = "A Global Replicator plan of ApsaraMQ for RocketMQ: replication of topics and consumer progress between two instances, and whether a failover now would work.",
    validation = Rule::new("has(self.spec.planName) || self.metadata.name.size() <= 128")
        .message("the plan takes its name from metadata.name, which is longer than 128 characters: set spec.planName"),
    validation = Rule::new("!has(self.spec.planId) || (has(oldSelf.spec.planId) && self.spec.planId == oldSelf.spec.planId) || !has(self.status) || !has(self.status.planId) || self.spec.planId == self.status.planId")
        .message("planId can be removed, or be the ID of the plan that the object manages, which is in status.planId: write that ID, or make a new object to manage another plan"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.planType", description = "Which way the plan replicates."),
    printcolumn(name = "Plan ID", type_ = "string", json_path = ".status.planId", description = "The plan's ID in the cloud."),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.planStatus", description = "The plan's status in the cloud."),
    printcolumn(name = "Items", type_ = "string", json_path = ".status.items", description = "Running mappings of all mappings."),
    printcolumn(name = "Max Lag", type_ = "string", json_path = ".status.checkpoints.maxLag", description = "The largest lag of a consumer group."),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether the plan is as the spec asks for."),
    printcolumn(name = "Protected", type_ = "string", json_path = ".status.conditions[?(@.type==\"Protected\")].status", description = "Whether a failover now would be within the objective."),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "The age of the object."),
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.regionId", priority = 1, description = "The region whose endpoint holds the plan."),
    printcolumn(name = "Last Sync", type_ = "date", json_path = ".status.checkpoints.lastSyncTime", priority = 1, description = "When consumer progress was last synchronized; shown in steps."),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.planType != 'ACTIVE_PASSIVE' || (self.instances.exists_one(i, has(i.instanceRole) && i.instanceRole == 'ACTIVE') && self.instances.exists_one(i, has(i.instanceRole) && i.instanceRole == 'PASSIVE'))")
        .message("an ACTIVE_PASSIVE plan has exactly one instance with instanceRole: ACTIVE and one with instanceRole: PASSIVE"),
    validation = Rule::new("!has(self.autoSyncCheckpoint) || !self.autoSyncCheckpoint || (has(self.syncCheckpointEnabled) && self.syncCheckpointEnabled)")
        .message("autoSyncCheckpoint takes effect only with syncCheckpointEnabled: set syncCheckpointEnabled: true or autoSyncCheckpoint: false"),
    validation = Rule::new("self.planType != 'ACTIVE_ACTIVE' || !has(self.autoSyncCheckpoint) || !self.autoSyncCheckpoint")
        .message("consumer progress of an ACTIVE_ACTIVE plan is never synchronized automatically: remove autoSyncCheckpoint, and annotate disasterrecovery.dev/sync-checkpoints-requested-at to synchronize once"),
    validation = Rule::new("self.planType != 'ACTIVE_ACTIVE' || !has(self.messageEvidence) || self.messageEvidence != 'NotRequired'")
        .message("the message backlog is the only evidence of an ACTIVE_ACTIVE plan: remove messageEvidence: NotRequired"),
    validation = Rule::new("!has(self.checkpointSync) || self.checkpointSync.by != 'Operator' || self.planType != 'ACTIVE_ACTIVE'")
        .message("the operator synchronizes no consumer progress of an ACTIVE_ACTIVE plan, whose consumers work on both sides: remove checkpointSync"),
    validation = Rule::new("!has(self.checkpointSync) || self.checkpointSync.by != 'Operator' || (has(self.syncCheckpointEnabled) && self.syncCheckpointEnabled)")
        .message("checkpointSync by: Operator needs syncCheckpointEnabled: set syncCheckpointEnabled: true"),
    validation = Rule::new("!has(self.checkpointSync) || !has(self.checkpointSync.interval) || duration(self.checkpointSync.interval) + duration(self.checkpointSync.interval) <= duration(self.recoveryPointObjective)")
        .message("checkpointSync.interval is longer than half of recoveryPointObjective: write a shorter interval or remove it, a quarter of the objective is the default"),
    validation = Rule::new("!has(self.topicMappings) || self.topicMappings.all(m, m.topics.all(t, self.instances.exists(i, i.name == t.instance)))")
        .message("every topic names one of spec.instances by its name: write the name of an instance in topicMappings[].topics[].instance"),
)]
pub struct DisasterRecoveryPlanSpec {
    /// The AlibabaCloudAccount of this namespace whose credentials are used. When absent, the operator's own are, which works
    /// only in the namespaces of --default-account-namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LocalReference")]
    pub account_ref: Option<LocalReference>,
    /// The region whose endpoint holds the plan, such as cn-hangzhou. Immutable.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9]+(-[a-z0-9]+)*$"))]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("regionId is immutable, since a plan stays at the endpoint that made it: make a new object for another region"))]
    pub region_id: String,
    /// The ID of an existing plan to take over. The operator marks the plan first, and manages it once it carries the mark. Once
    /// status.planId has an ID, only that ID is allowed here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 19), regex(pattern = r"^[1-9][0-9]*$"))]
    #[x_kube(validation = Rule::new("self.size() < 19 || self <= '9223372036854775807'")
        .message("planId is larger than any ID of the cloud: write the ID that the console shows, such as 1300000016"))]
    pub plan_id: Option<String>,
    /// The name of the plan in the cloud, 1 to 128 characters. Default: metadata.name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^\S(.*\S)?$"))]
    pub plan_name: Option<String>,
    /// The description of the plan, at most 159 characters; the operator adds a mark that names the owner. Left as it is
    /// when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 159))]
    #[x_kube(validation = Rule::new("!self.contains('[drp ')")
        .message("planDesc cannot contain an owner mark: remove the part that starts with [drp, the operator writes its own"))]
    pub plan_desc: Option<String>,
    /// ACTIVE_PASSIVE (one way) or ACTIVE_ACTIVE (both ways). The API cannot change it once the plan exists.
    pub plan_type: PlanType,
    /// Whether consumer progress can be synchronized at all. Left to the cloud when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_checkpoint_enabled: Option<bool>,
    /// Whether consumer progress is synchronized automatically, every 10 s for groups that are online at the destination.
    /// Needs syncCheckpointEnabled; not for ACTIVE_ACTIVE. Left to the cloud when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_sync_checkpoint: Option<bool>,
    /// The two instances.
    #[schemars(length(min = 2, max = 2))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[x_kube(validation = Rule::new("self.size() != 2 || !(has(self[0].instanceId) && has(self[1].instanceId) && self[0].instanceId == self[1].instanceId)")
        .message("the two instances have the same instanceId: a plan needs two different instances"))]
    #[x_kube(validation = Rule::new("self.size() != 2 || !(has(self[0].endpointUrl) && has(self[1].endpointUrl) && self[0].endpointUrl == self[1].endpointUrl && (has(self[0].vpcId) ? self[0].vpcId : '') == (has(self[1].vpcId) ? self[1].vpcId : ''))")
        .message("the two instances have the same endpointUrl: a plan needs two different instances"))]
    pub instances: Vec<Instance>,
    /// The topics to replicate, at most 150 pairs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 150))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[x_kube(validation = Rule::new("[self.map(m, m.topics.size() != 2 ? m.name : m.topics[0].instance < m.topics[1].instance ? m.topics[0].topicName + ' ' + m.topics[1].topicName : m.topics[1].topicName + ' ' + m.topics[0].topicName)].all(pairs, pairs.all(p, pairs.exists_one(q, q == p)))")
        .message("two topic mappings map the same pair of topics: remove one of them"))]
    pub topic_mappings: Vec<TopicMapping>,
    /// Consumer groups that do not count for Protected and OffsetsCovered, such as those of retired applications: names, or
    /// prefixes that end with an asterisk, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 255), regex(pattern = r"^[^\s*]*\*?$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub ignored_consumer_groups: Vec<String>,
    /// What happens when the API refuses a change because items run: Wait or PauseItems. Wait leaves replication running, and
    /// Synced is False with the reason UpdateWaits until the change is made. PauseItems stops items for the change, for ten
    /// minutes at most, and starts them again. It stops none for a planName or planDesc that another actor changed. With
    /// itemPolicy Keep it stops none for a change of the plan while an item runs that topicMappings does not name.
    #[serde(default)]
    pub update_policy: UpdatePolicy,
    /// What happens to items of the plan that topicMappings does not name: Keep or Prune.
    #[serde(default)]
    pub item_policy: ItemPolicy,
    /// The largest lag of consumer progress, and the longest delay of a message, that still count as protected, such as 30s, 5m or
    /// 1h; 30s to 168h. The cloud synchronizes progress every 10 s, and no proof uses the last 5 s of the objective.
    #[serde(default = "default_recovery_point_objective")]
    #[schemars(with = "String", extend("default" = "5m"), length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('30s') && duration(self) <= duration('168h')")
        .message("recoveryPointObjective is a duration from 30s to 168h, such as 5m: a shorter one cannot be proven"))]
    pub recovery_point_objective: Duration,
    /// Required, or NotRequired to let Protected rest on consumer progress alone, where the cloud does not show the message backlog
    /// (external clusters, no permission). Then nothing shows whether messages arrive that no consumer has read yet. Not for
    /// ACTIVE_ACTIVE, where the backlog is the only evidence.
    #[serde(default)]
    pub message_evidence: MessageEvidence,
    /// Who synchronizes consumer progress: the cloud (default), or the operator for a cold standby, whose consumer groups the cloud
    /// skips. By the operator it needs syncCheckpointEnabled, and is not for ACTIVE_ACTIVE. Under managementPolicy Observe nothing
    /// is synchronized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CheckpointSync")]
    pub checkpoint_sync: Option<CheckpointSync>,
    /// What the deletion of this object does to the plan: Delete or Retain.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Manage, or Observe: no call that changes the cloud, ever.
    #[serde(default)]
    pub management_policy: ManagementPolicy,
    /// Stops all work on this object, reading and deletion included, until it is false again.
    #[serde(default)]
    pub suspend: bool,
    /// The interval between two reads of the list of plans, such as 30s or 1m; 1s to 24h, in effect at least 15s. Items are listed
    /// every five intervals, 15s to 5m. Checkpoints are read when their evidence is about to expire. Default: the operator's
    /// --poll-interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')")
        .message("pollInterval is a duration from 1s to 24h, such as 1m"))]
    pub poll_interval: Option<Duration>,
}

fn default_recovery_point_objective() -> Duration {
    std::time::Duration::from_secs(300).into()
}
