//! Classes of failed calls. Codes are classified here once; the rest of the program branches on [`Class`] and never on
//! codes.

use std::fmt;
use std::time::Duration;

use super::operation::ApiOperation;

/// The meaning of a failure for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The plan, item, group, pair or drill named in the call does not exist.
    NotFound,
    /// The state of the resource does not allow the call now. A later state may.
    Conflict,
    /// Too many calls. The service did nothing.
    Throttled {
        /// The wait that the service asks for, if it names one.
        after: Option<Duration>,
    },
    /// The service refuses the key, the token, the clock or the permission.
    Denied,
    /// The service refuses the content of the call, or the account is at a limit or out of money. A repeat changes
    /// nothing; a person must act.
    Invalid,
    /// The service cannot be reached or fails. The call did not happen, or it only reads.
    Unavailable,
    /// The call may have happened: the answer was lost, came late or was not understood.
    Ambiguous,
}

/// A failed call, with everything that a person needs to investigate it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The meaning of the failure.
    pub class: Class,
    /// The API operation.
    pub operation: ApiOperation,
    /// The service's error code, or the client's own (`Timeout`, `ConnectionFailed`, `BrokenAnswer`).
    pub code: String,
    /// The service's message.
    pub message: String,
    /// The service's request ID, if the service answered.
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

/// Codes by which the service refuses the key, its token, the signature or the caller's clock.
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

/// Codes for missing resources that a call refers to, other than the plan or item itself.
/// Source: TF provider; help page of the RocketMQ error codes.
const REFERENCED_CODES: &[&str] = &["Instance.", "Topic.", "ConsumerGroup.", "InvalidApi.", "InvalidProduct."];

/// Codes of a failing service, whatever the HTTP status; `Unknown` stands for an answer without code. A used nonce
/// means that an intermediary sent the request twice: the service may have carried out the first.
/// Source: help page of the RocketMQ error codes; EBS metadata; TF provider.
const FAILING_CODES: &[&str] =
    &["InternalError", "RemoteCallError", "SystemError", "ServiceUnavailable", "SignatureNonceUsed", "Unknown"];

/// Codes of EBS for an account that is at a limit or out of money, with or without `OperationDenied.` in front. They
/// look like a conflict of states, but waiting changes nothing: a person must raise the limit, pay, or ask for less.
/// Source: EBS metadata.
const LIMIT_CODES: &[&str] = &[
    "QuotaExceed",
    "TooMuchEmptyGroup",
    "PairsExceedInGroup",
    "GroupTotalDiskCapacityLimit",
    "InvalidAccountStatus.NotEnoughBalance",
];

/// Prefixes of codes that refuse the content of a call, whatever the HTTP status. A call with other content may
/// succeed.
/// Source: EBS metadata; help page 25693 (idempotence).
const CONTENT_CODES: &[&str] = &["IdempotentParameterMismatch", "InvalidParameter", "MissingParameter"];

/// Codes for a state that does not allow the call, most of them with HTTP status 403 (EBS metadata).
///
/// `LastTokenProcessing` means that the service still processes the first call with this client token. The service does
/// not fail: a later observation shows the result, and a repeat with the same token returns it.
const STATE_CODES: &[&str] = &["OperationDenied", "LastTokenProcessing"];

/// Classifies an answer with an error.
///
/// `status` is the HTTP status (or the `httpStatusCode` of a body with `success: false`), `retry_after` the header
/// `x-acs-retry-after`, and `changing` whether the call can change something.
pub fn classify(status: u16, code: &str, retry_after: Option<Duration>, changing: bool) -> Class {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| code.starts_with(prefix));
    let failing = status >= 500 || status == 408 || starts(FAILING_CODES) || code.contains("Timeout");
    let throttled = status == 429 || code.starts_with("Throttling") || code == "Rejected.Throttling";
    // A failing service may have carried out the call, even if it names a time for the next one.
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
    // This check precedes NotFound: `OperationDenied.RecoverPointNotFound` is about a state, not about the group.
    if starts(STATE_CODES) {
        return Class::Conflict;
    }
    // The codes for a missing plan or item are not published, so every spelling counts.
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
    fn known_codes_have_their_class() {
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
    fn ebs_codes_have_their_class() {
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
