//! `AlibabaCloudAccount`: the credentials, endpoints and rate limit that objects of its namespace use.
//!
//! No field names a file of the operator's pod, or a resource outside of the object's namespace.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An object of the same namespace.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LocalReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// RRSA: a RAM role is assumed with a token of a Kubernetes service account (AssumeRoleWithOIDC).
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OidcCredentials {
    /// The ARN of the RAM role, such as acs:ram::1234567890123456:role/disaster-recovery.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^acs:ram::[^:\s]+:role/\S+$"))]
    pub role_arn: String,
    /// The ARN of the OIDC identity provider in RAM, such as acs:ram::1234567890123456:oidc-provider/ack-rrsa-c1.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^acs:ram::[^:\s]+:oidc-provider/\S+$"))]
    pub provider_arn: String,
    /// The service account of this namespace whose token is used; the operator asks for one with the audience
    /// sts.aliyuncs.com, which the installation has to allow. When absent, the token of the operator's own pod is used
    /// (ALIBABA_CLOUD_OIDC_TOKEN_FILE), which works only in the namespaces of --default-account-namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LocalReference")]
    pub service_account_ref: Option<LocalReference>,
    /// The name of the session, which the cloud's audit log shows. Default: disaster-recovery-operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 64), regex(pattern = r"^[a-zA-Z0-9.@_-]+$"))]
    pub session_name: Option<String>,
}

/// The RAM role of the ECS instance that the operator runs on (instance metadata, IMDSv2 only).
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct EcsRoleCredentials {
    /// The name of the role. Default: the one that is attached to the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-zA-Z0-9][a-zA-Z0-9._-]*$"))]
    pub name: Option<String>,
}

/// The variables ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and ALIBABA_CLOUD_SECURITY_TOKEN of the operator.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentCredentials {}

/// Where credentials come from: exactly one source.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.secretRef) ? 1 : 0) + (has(self.oidc) ? 1 : 0) + (has(self.ecsRole) ? 1 : 0) + (has(self.environment) ? 1 : 0) == 1")
    .message("credentials come from exactly one source: set one of secretRef, oidc, ecsRole and environment"))]
pub struct CredentialsSource {
    /// An access key in a Secret of this namespace, with the keys accessKeyId, accessKeySecret and optionally
    /// securityToken. A changed Secret is used from the next poll on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LocalReference")]
    pub secret_ref: Option<LocalReference>,
    /// RRSA: a RAM role that is assumed with a token of a Kubernetes service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "OidcCredentials")]
    pub oidc: Option<OidcCredentials>,
    /// The RAM role of the ECS instance that the operator runs on. Only in the namespaces of --default-account-namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "EcsRoleCredentials")]
    pub ecs_role: Option<EcsRoleCredentials>,
    /// The standard variables of the operator's own pod. Only in the namespaces of --default-account-namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "EnvironmentCredentials")]
    pub environment: Option<EnvironmentCredentials>,
}

/// A RAM role that is assumed with the credentials.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AssumeRole {
    /// The ARN of the RAM role, such as acs:ram::1234567890123456:role/disaster-recovery.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^acs:ram::[^:\s]+:role/\S+$"))]
    pub role_arn: String,
    /// The external ID that the role's trust policy asks for, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1224), regex(pattern = r"^\S+$"))]
    pub external_id: Option<String>,
    /// The name of the session, which the cloud's audit log shows. Default: disaster-recovery-operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 64), regex(pattern = r"^[a-zA-Z0-9.@_-]+$"))]
    pub session_name: Option<String>,
}

/// A scheme, a host and an optional port. Only the characters of host names and addresses are allowed: URL parsers disagree about
/// others, such as a backslash.
const ENDPOINT: &str = r"^https?://([a-zA-Z0-9.-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?/?$";

/// Endpoints in place of the public ones.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// In place of https://rocketmq.REGION.aliyuncs.com.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = ENDPOINT))]
    pub rocketmq: Option<String>,
    /// In place of https://ebs.REGION.aliyuncs.com.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = ENDPOINT))]
    pub ebs: Option<String>,
    /// In place of https://sts.aliyuncs.com, such as https://sts.cn-shanghai.aliyuncs.com.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = ENDPOINT))]
    pub sts: Option<String>,
}

/// A second rate limit of the account, on top of the operator's.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AccountBudget {
    /// Calls a second of each operation and region, 1 to 150; EBS never more than 40.
    #[serde(default = "default_requests_per_second")]
    #[schemars(range(min = 1, max = 150), extend("default" = 135))]
    pub requests_per_second: i64,
}

fn default_requests_per_second() -> i64 {
    135
}

/// What an account should be.
#[allow(clippy::duplicated_attributes, reason = "columns have the same type or priority")]
#[derive(CustomResource, Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "disasterrecovery.dev",
    version = "v1alpha1",
    kind = "AlibabaCloudAccount",
    plural = "alibabacloudaccounts",
    shortname = "aca",
    category = "dr",
    namespaced,
    status = "AlibabaCloudAccountStatus",
    derive = "PartialEq",
    doc = "Whose credentials, endpoints and budget of calls the objects of this namespace use that name it in accountRef.",
    printcolumn(
        name = "Identity",
        type_ = "string",
        json_path = ".status.identity",
        description = "The RAM role or the masked ID of the access key in use."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether there are credentials that the cloud takes."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why it is ready or not."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "The age of the object."
    ),
    printcolumn(
        name = "Plans",
        type_ = "integer",
        json_path = ".status.usedBy.disasterRecoveryPlans",
        priority = 1,
        description = "How many plans use it."
    ),
    printcolumn(
        name = "Groups",
        type_ = "integer",
        json_path = ".status.usedBy.diskReplicaGroups",
        priority = 1,
        description = "How many groups of disks use it."
    ),
    printcolumn(
        name = "Expires",
        type_ = "string",
        json_path = ".status.expiration",
        priority = 1,
        description = "When the temporary credentials in use end (UTC); they are renewed before."
    )
)]
#[serde(rename_all = "camelCase")]
pub struct AlibabaCloudAccountSpec {
    /// Where credentials come from: exactly one source.
    pub credentials: CredentialsSource,
    /// A RAM role that is assumed with these credentials; then its temporary credentials are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AssumeRole")]
    pub assume_role: Option<AssumeRole>,
    /// Endpoints in place of the public ones: https to the product's own hosts under aliyuncs.com, and what
    /// --allowed-endpoints of the operator names besides. One endpoint is used for every region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Endpoints")]
    pub endpoints: Option<Endpoints>,
    /// A rate limit of all objects that use the account together. It is in addition to the operator's limits, which all
    /// accounts with keys of one cloud account share. Default: only these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AccountBudget")]
    pub budget: Option<AccountBudget>,
}

/// How many objects use an account.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UsedBy {
    /// Plans that name it in accountRef.
    #[serde(default)]
    pub disaster_recovery_plans: i64,
    /// Groups of disks that name it in accountRef.
    #[serde(default)]
    pub disk_replica_groups: i64,
}

/// What is known of an account. Never a secret.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AlibabaCloudAccountStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Who signs: the ARN of the RAM role, or the ID of the access key with its middle masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// When the temporary credentials in use end (UTC); they are renewed well before. Absent for permanent keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration: Option<Time>,
    /// How many objects use the account. It is not deleted while any does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "UsedBy")]
    pub used_by: Option<UsedBy>,
    /// Ready: there are credentials, and the cloud takes them as far as is known. Reconciling and Stalled by kstatus, present
    /// only while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
