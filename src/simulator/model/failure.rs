//! Refusals of the cloud.

/// A refusal: HTTP status, code and message of the cloud.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} (HTTP {status}): {message}")]
pub struct Failure {
    /// The HTTP status, 400 to 599.
    pub status: u16,
    /// The code, such as `Topic.NotFound`.
    pub code: String,
    pub message: String,
    /// Whether the gateway refuses (PascalCase body) or RocketMQ itself (camelCase envelope).
    pub gateway: bool,
}

impl Failure {
    /// A refusal by RocketMQ itself.
    pub fn business(status: u16, code: &str, message: impl Into<String>) -> Failure {
        Failure { status, code: code.to_owned(), message: message.into(), gateway: false }
    }

    /// A refusal by the gateway in front of it.
    pub fn gateway(status: u16, code: &str, message: impl Into<String>) -> Failure {
        Failure { status, code: code.to_owned(), message: message.into(), gateway: true }
    }

    /// Action, version, method and path match no API.
    pub fn api_not_found() -> Failure {
        let message = "Specified api is not found: action, version, method and path do not go together.";
        Failure::gateway(404, "InvalidApi.NotFound", message)
    }

    /// A mandatory parameter is missing: `Missing{Param}` with the gateway's body (terraform-provider-alicloud #8916
    /// shows `Missingnull`; the names are inferred from it).
    pub fn missing(parameter: &str) -> Failure {
        let message = format!("Parameter {parameter} is mandatory for this action.");
        Failure::gateway(400, &format!("Missing{parameter}"), message)
    }

    /// A parameter has an invalid value (code inferred).
    pub fn invalid(parameter: &str, why: &str) -> Failure {
        Failure::business(400, "InvalidParameter", format!("The parameter {parameter} is invalid: {why}."))
    }

    /// The plan does not exist in this region. The code is not documented (inferred).
    pub fn plan_not_found() -> Failure {
        let message = "The disaster recovery plan cannot be found.";
        Failure::business(404, "DisasterRecoveryPlan.NotFound", message)
    }

    /// The item does not exist in the plan. The code is not documented (inferred).
    pub fn item_not_found() -> Failure {
        let message = "The disaster recovery item cannot be found.";
        Failure::business(404, "DisasterRecoveryItem.NotFound", message)
    }

    /// The checkpoint does not exist in the item. The code is not documented (inferred).
    pub fn checkpoint_not_found() -> Failure {
        let message = "The disaster recovery checkpoint cannot be found.";
        Failure::business(404, "DisasterRecoveryCheckpoint.NotFound", message)
    }

    /// The instance does not exist (code: terraform-provider-alicloud; message: help page of ListCheckpoints).
    pub fn instance_not_found() -> Failure {
        Failure::business(404, "Instance.NotFound", "The instance cannot be found.")
    }

    /// The consumer group does not exist on the instance (code: terraform-provider-alicloud).
    pub fn consumer_group_not_found() -> Failure {
        Failure::business(404, "ConsumerGroup.NotFound", "The consumer group cannot be found.")
    }

    /// The topic does not exist (help pages of UpdateItem and SyncCheckpoint).
    pub fn topic_not_found() -> Failure {
        Failure::business(404, "Topic.NotFound", "The topic cannot be found.")
    }

    /// The plan's status forbids it (help pages of Update- and DeletePlan).
    pub fn plan_status() -> Failure {
        let message = "The current status of the disaster recovery plan does not support this operation.";
        Failure::business(400, "DisasterRecoveryPlanStatus.Error", message)
    }

    /// The item's status forbids it (help pages of Start-, Stop- and DeleteItem).
    pub fn item_status() -> Failure {
        let message = "The current status of the disaster recovery item does not support this operation.";
        Failure::business(400, "DisasterRecoveryItemStatus.Error", message)
    }

    /// A field that UpdatePlan cannot change: the rule is the SDK's ("you cannot change the instances involved"), the
    /// code is inferred.
    pub fn immutable(field: &str) -> Failure {
        let message = format!("The field {field} cannot be changed after the disaster recovery plan was created.");
        Failure::business(400, "DisasterRecoveryPlan.InstancesImmutable", message)
    }

    /// The caller's RAM policy does not allow the action.
    pub fn no_permission(action: &str) -> Failure {
        let message = format!("You are not authorized to do this action: rocketmq:{action}.");
        Failure::business(403, "NoPermission", message)
    }
}
