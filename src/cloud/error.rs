//! What a failed call means, decided once: the rest of the program branches on [`Class`] and never on codes.

use std::fmt;
use std::time::Duration;

use super::operation::ApiOperation;

/// What a failure means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The plan, item, group, pair or drill that the call names does not exist.
    NotFound,
    /// The resource is in a state that does not allow the call; later it may be.
    Conflict,
    /// Too many calls. Nothing was done.
    Throttled {
        /// How long the service asks to wait, where it says so.
        after: Option<Duration>,
    },
    /// The key, the token, the clock or the permission is refused.
    Denied,
    /// The service refuses the content of the call, or the account is at a limit or out of money; repeating it changes
    /// nothing, a person must.
    Invalid,
    /// The service cannot be reached or fails, and the call did not happen or does not matter.
    Unavailable,
    /// The call may have happened: its answer was lost, late, or not understood.
    Ambiguous,
}

/// A failed call, with everything that a person needs to follow it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What it means.
    pub class: Class,
    /// The API operation.
    pub operation: ApiOperation,
    /// The service's own error code, or what failed on the way (`Timeout`, `ConnectionFailed`, `BrokenAnswer`).
    pub code: String,
    /// The service's own message.
    pub message: String,
    /// The service's request ID, where there was an answer.
    pub request_id: Option<String>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class: _, operation, code, message, request_id } = self;
        write!(f, "{operation} failed: {code}: {}", message.trim_end_matches([' ', '.']))?;
        if let Some(id) = request_id {
            write!(f, " (request id {id})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Codes that say that the key, its token, the signature or the caller's clock is refused.
/// Source: help page 48054, STS error codes.
const KEY_CODES: &[&str] = &[
    "InvalidAccessKeyId",
    "Forbidden.AccessKeyDisabled",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "InvalidSecurityToken",
    "MissingSecurityToken",
    "InvalidTimeStamp",
];

/// Codes of missing things that a call refers to, which are not the plan or item itself.
/// Source: TF provider; help page of the RocketMQ error codes.
const REFERENCED_CODES: &[&str] = &["Instance.", "Topic.", "ConsumerGroup.", "InvalidApi.", "InvalidProduct."];

/// Codes of a service that fails, whatever the status that comes with them; also what has no code. A used nonce means that
/// an intermediary sent the request twice: the first may have been carried out.
/// Source: help page of the RocketMQ error codes; EBS metadata; TF provider.
const FAILING_CODES: &[&str] =
    &["InternalError", "RemoteCallError", "SystemError", "ServiceUnavailable", "SignatureNonceUsed", "Unknown"];

/// Codes of EBS by which an account is at a limit or out of money, with or without `OperationDenied.` in front. They look
/// like a conflict of states, but waiting changes nothing: a person must raise the limit, pay, or ask for less.
/// Source: EBS metadata.
const LIMIT_CODES: &[&str] = &[
    "QuotaExceed",
    "TooMuchEmptyGroup",
    "PairsExceedInGroup",
    "GroupTotalDiskCapacityLimit",
    "InvalidAccountStatus.NotEnoughBalance",
];

/// Codes that refuse what a call says, whatever the status and whatever follows the code: another call may have it changed.
/// Source: EBS metadata; help page 25693 (idempotence).
const CONTENT_CODES: &[&str] = &["IdempotentParameterMismatch", "InvalidParameter", "MissingParameter"];

/// Codes of a state that does not allow the call, with status 403 for the most part (EBS metadata).
///
/// `LastTokenProcessing` says that the first call with this client token is at work. That is no failure of the service:
/// whoever waits and looks again sees its result, and a repeat with the same token gets it.
const STATE_CODES: &[&str] = &["OperationDenied", "LastTokenProcessing"];

/// Decides what an answer with an error means.
///
/// `status` is the HTTP status (or the `httpStatusCode` of a body with `success: false`), `retry_after` the header
/// `x-acs-retry-after`, and `changing` whether the call could have changed something.
pub fn classify(status: u16, code: &str, retry_after: Option<Duration>, changing: bool) -> Class {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| code.starts_with(prefix));
    let failing = status >= 500 || status == 408 || starts(FAILING_CODES) || code.contains("Timeout");
    let throttled = status == 429 || code.starts_with("Throttling") || code == "Rejected.Throttling";
    // A failing service may have done what it could not answer, whatever it says of when to come back.
    if throttled || (retry_after.is_some() && !(changing && failing)) {
        return Class::Throttled { after: retry_after };
    }
    if failing {
        return if changing { Class::Ambiguous } else { Class::Unavailable };
    }
    if starts(KEY_CODES) || code.starts_with("NoPermission") || code.starts_with("Forbidden") || status == 401 {
        return Class::Denied;
    }
    let bare = code.strip_prefix("OperationDenied.").unwrap_or(code);
    let limit = LIMIT_CODES.iter().any(|limit| bare.starts_with(limit));
    if starts(REFERENCED_CODES) || starts(CONTENT_CODES) || limit {
        return Class::Invalid;
    }
    // Before what is missing: `OperationDenied.RecoverPointNotFound` speaks of a state, not of the group.
    if starts(STATE_CODES) {
        return Class::Conflict;
    }
    // The codes for a missing plan or item are not published, so that every spelling of it counts.
    if status == 404 || code.contains("NotFound") || code.contains("NotExist") || code == "NoSuchResource" {
        return Class::NotFound;
    }
    if code.ends_with("Status.Error") || status == 409 {
        return Class::Conflict;
    }
    if status == 403 {
        return Class::Denied;
    }
    Class::Invalid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_code_has_its_class() {
        let second = Some(Duration::from_secs(1));
        let table: &[(u16, &str, Option<Duration>, bool, Class)] = &[
            (400, "Throttling.User", None, true, Class::Throttled { after: None }),
            (400, "Throttling", None, false, Class::Throttled { after: None }),
            (400, "Rejected.Throttling", None, false, Class::Throttled { after: None }),
            (503, "ServiceUnavailable", second, false, Class::Throttled { after: second }),
            (429, "", None, false, Class::Throttled { after: None }),
            (500, "InternalError", second, true, Class::Ambiguous),
            (503, "Throttling.User", second, true, Class::Throttled { after: second }),
            (400, "InternalError", None, true, Class::Ambiguous),
            (400, "RemoteCallError", None, false, Class::Unavailable),
            (400, "Unknown", None, true, Class::Ambiguous),
            (408, "RequestTimeout", None, true, Class::Ambiguous),
            (500, "InternalError", None, false, Class::Unavailable),
            (500, "InternalError", None, true, Class::Ambiguous),
            (400, "ServiceUnavailable", None, true, Class::Ambiguous),
            (400, "SignatureNonceUsed", None, true, Class::Ambiguous),
            (404, "InvalidAccessKeyId.NotFound", None, false, Class::Denied),
            (400, "InvalidAccessKeyId.NotFound", None, false, Class::Denied),
            (400, "InvalidTimeStamp.Expired", None, false, Class::Denied),
            (400, "SignatureDoesNotMatch", None, false, Class::Denied),
            (400, "InvalidSecurityToken.Expired", None, false, Class::Denied),
            (403, "NoPermission", None, true, Class::Denied),
            (403, "Forbidden.RAM", None, true, Class::Denied),
            (404, "Instance.NotFound", None, true, Class::Invalid),
            (404, "Topic.NotFound", None, true, Class::Invalid),
            (404, "InvalidApi.NotFound", None, false, Class::Invalid),
            (404, "DisasterRecoveryPlan.NotFound", None, false, Class::NotFound),
            (400, "DisasterRecoveryPlanNotExist", None, false, Class::NotFound),
            (400, "DisasterRecoveryPlanStatus.Error", None, true, Class::Conflict),
            (400, "DisasterRecoveryItemStatus.Error", None, true, Class::Conflict),
            (403, "OperationDenied.InvalidStatus", None, true, Class::Conflict),
            (400, "MissingplanName", None, true, Class::Invalid),
        ];
        for (status, code, retry_after, changing, class) in table {
            assert_eq!(classify(*status, code, *retry_after, *changing), *class, "{status} {code}");
        }
    }

    #[test]
    fn every_code_of_ebs_has_its_class() {
        let states = [
            "OperationDenied",
            "OperationDenied.InvalidStatus",
            "OperationDenied.NoPairInGroup",
            "OperationDenied.OperateNotAllowedForPrimary",
            "OperationDenied.OperateNotAllowedForStandby",
            "OperationDenied.GroupHasPair",
            "OperationDenied.ManualSyncLimit",
            "OperationDenied.PairGroupStatusConflict",
            "OperationDenied.PairGroupAZoneConflict",
            "OperationDenied.PairNotInGroup",
            "OperationDenied.PairInAnotherGroup",
            "OperationDenied.GroupStatusCannotAddPair",
            "OperationDenied.PairStatusCannotAddToGroup",
            "OperationDenied.PairInitializing",
            "OperationDenied.GroupStatusCannotRemovePair",
            "OperationDenied.PairStatusCannotRemoveFromGroup",
            "OperationDenied.RecoverPointNotFound",
            "OperationDenied.StartDrillShouldOnDestRegion",
            "LastTokenProcessing",
        ];
        let states = states.map(|code| (403, code, Class::Conflict));
        let others = [
            (400, "OperationDenied.StandbyDeviceAttached", Class::Conflict),
            (403, "OperationDenied.QuotaExceed", Class::Invalid),
            (403, "OperationDenied.TooMuchEmptyGroup", Class::Invalid),
            (403, "OperationDenied.PairsExceedInGroup", Class::Invalid),
            (403, "OperationDenied.GroupTotalDiskCapacityLimit", Class::Invalid),
            (403, "InvalidAccountStatus.NotEnoughBalance", Class::Invalid),
            (400, "IdempotentParameterMismatch", Class::Invalid),
            (400, "InvalidParameter", Class::Invalid),
            (400, "InvalidParameter.Conflict", Class::Invalid),
            (400, "InvalidParameter.Format", Class::Invalid),
            (400, "MissingParameter", Class::Invalid),
            (404, "InvalidApi.NotFound", Class::Invalid),
            (404, "NoSuchResource", Class::NotFound),
            (403, "Forbidden", Class::Denied),
            (403, "Forbidden.Action", Class::Denied),
            (403, "NoPermission.SLR", Class::Denied),
            (403, "SomethingNew", Class::Denied),
            (500, "InternalError", Class::Ambiguous),
            (504, "RequestTimeout", Class::Ambiguous),
        ];
        for (status, code, class) in states.into_iter().chain(others) {
            assert_eq!(classify(status, code, None, true), class, "{status} {code}");
        }
    }
}
