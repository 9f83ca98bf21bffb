//! Refusals of EBS: always the gateway's body, and 403 for conflicts of state.

use super::super::failure::Failure;

impl Failure {
    /// A conflict of state, HTTP 403: `OperationDenied.{code}`.
    pub fn operation_denied(code: &str, message: impl Into<String>) -> Failure {
        Failure::gateway(403, &format!("OperationDenied.{code}"), message)
    }

    /// A conflict of state without a documented code: plain `OperationDenied` (inferred).
    pub fn operation_refused(message: impl Into<String>) -> Failure {
        Failure::gateway(403, "OperationDenied", message)
    }

    /// No such group, pair or drill in this region.
    pub fn no_such_resource() -> Failure {
        Failure::gateway(404, "NoSuchResource", "The specified resource does not exist.")
    }

    /// A parameter of EBS has an invalid value.
    pub fn invalid_ebs(parameter: &str, why: &str) -> Failure {
        Failure::gateway(400, "InvalidParameter", format!("The parameter {parameter} is invalid: {why}."))
    }

    /// The operation needs a group with pairs.
    pub(super) fn no_pair_in_group() -> Failure {
        Failure::operation_denied("NoPairInGroup", "The operation is not allowed because no pair in the group.")
    }

    /// The call reached the region of the primary site.
    pub(super) fn not_on_primary() -> Failure {
        Failure::operation_denied("OperateNotAllowedForPrimary", "Operation is not allowed on the primary site.")
    }

    /// The call reached the region of the secondary site.
    pub(super) fn not_on_standby() -> Failure {
        Failure::operation_denied("OperateNotAllowedForStandby", "Operation is not allowed on the secondary site.")
    }

    /// A secondary disk is attached to an instance.
    pub(super) fn standby_attached() -> Failure {
        let message = "The standby device must not be attached to an instance.";
        Failure::gateway(400, "OperationDenied.StandbyDeviceAttached", message)
    }

    /// Two one-shot synchronisations are too close to each other.
    pub(super) fn manual_sync_limit() -> Failure {
        let message = "The interval between two one-shot synchronizations must exceed half of the RPO.";
        Failure::operation_denied("ManualSyncLimit", message)
    }

    /// The status forbids it.
    pub(super) fn invalid_status() -> Failure {
        Failure::operation_denied("InvalidStatus", "The operation is not allowed in current status.")
    }

    /// The caller's RAM policy does not allow the action of EBS.
    pub fn forbidden_action(action: &str) -> Failure {
        let message = format!("User is not authorized to operate this action: ebs:{action}.");
        Failure::gateway(403, "Forbidden.Action", message)
    }
}
