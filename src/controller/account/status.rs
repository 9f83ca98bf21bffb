//! The status of an account, and the events of its changes. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::account::{AlibabaCloudAccountStatus, UsedBy};
use crate::api::condition::{account, condition_type, ready};
use crate::api::event::{action, reason};
use crate::cloud::credentials::CredentialsError;
use crate::cloud::credentials::cache::KeyHealth;
use crate::cloud::error::Error;
use crate::controller::access::AccountError;
use crate::controller::conditions::join_limited;
use crate::controller::conditions::{self, ConditionState, Truth};
use crate::controller::events::EventRecord;

/// The observed credentials of an account.
#[derive(Clone, Debug)]
pub struct ObservedCredentials {
    /// The identity that signs, for people.
    pub identity: String,
    /// The time when they expire.
    pub expires: Option<Timestamp>,
    /// Whether the cloud accepts them, as far as is known.
    pub key_health: KeyHealth,
    /// The time when they are due to be renewed.
    pub due: Option<Timestamp>,
}

/// The object and its users in one reconcile.
#[derive(Clone, Debug)]
pub struct StatusInput<'a> {
    /// The generation of the spec.
    pub generation: Option<i64>,
    /// The users that block the deletion of the account; `None` while it is not being deleted.
    pub blocked_by: Option<&'a [String]>,
    /// The number of users that this process watches.
    pub used_by: UsedBy,
    /// Whether no other process watches any.
    pub knows_users: bool,
    /// The status before.
    pub old: &'a AlibabaCloudAccountStatus,
    /// The time.
    pub now: Timestamp,
}

/// The status after a reconcile.
pub fn status(
    input: &StatusInput<'_>,
    observed: &Result<ObservedCredentials, AccountError>,
) -> AlibabaCloudAccountStatus {
    let mut conditions = input.old.conditions.clone();
    let (state, stalled) = unjudged(input, observed).unwrap_or_else(|| readiness(observed));
    let mut set = |kind, state| conditions::set(&mut conditions, kind, state, input.generation, input.now);
    let ready = match input.blocked_by {
        Some(users) => {
            let text = format!("the account is kept while it is in use by {}: delete them first", join_limited(users));
            let more = if state.truth == Truth::True { String::new() } else { format!("; {}", state.message) };
            ConditionState::no(ready::DELETING, format!("{text}{more}"))
        }
        None => state.clone(),
    };
    set(condition_type::READY, ready);
    // kstatus expects these only while they are True.
    let reconciling = state.truth != Truth::True && !stalled;
    for (kind, holds) in [(condition_type::STALLED, stalled), (condition_type::RECONCILING, reconciling)] {
        match holds {
            true => conditions::set(
                &mut conditions,
                kind,
                ConditionState::yes(state.reason, state.message.clone()),
                input.generation,
                input.now,
            ),
            false => conditions::remove(&mut conditions, kind),
        }
    }
    let observed = observed.as_ref().ok();
    AlibabaCloudAccountStatus {
        observed_generation: input.generation,
        identity: observed.map(|it| it.identity.clone()),
        expiration: observed.and_then(|it| it.expires).map(|at| Time(conditions::seconds(at))),
        used_by: input.knows_users.then(|| input.used_by.clone()),
        conditions,
    }
}

/// `Ready` by the observed credentials, and whether a person has to act.
fn readiness(observed: &Result<ObservedCredentials, AccountError>) -> (ConditionState, bool) {
    match observed {
        Err(error) => (
            ConditionState { truth: truth(error), reason: reason(error), message: error.to_string() },
            !error.passing(),
        ),
        Ok(ObservedCredentials { key_health: KeyHealth { refused: Some(error), .. }, .. }) => {
            (ConditionState::no(refusal(error), format!("the cloud refuses the access key: {error}")), true)
        }
        // An outage is not reported while the credentials are good. A refusal of the role is.
        Ok(ObservedCredentials { identity, key_health: KeyHealth { failing: Some(why), .. }, .. })
            if !why.passing() =>
        {
            let text = format!("calls are signed as {identity} until that expires; it cannot be renewed: {why}");
            (ConditionState::yes(account::NOT_RENEWED, text), false)
        }
        Ok(ObservedCredentials { identity, .. }) => {
            (ConditionState::yes(ready::AVAILABLE, format!("calls are signed as {identity}")), false)
        }
    }
}

/// The reasons that the answers to calls give.
const REASONS_BY_CALLS: [&str; 3] = [account::ACCESS_KEY_REFUSED, account::CLOCK_SKEW, account::EXPIRED];

/// `Ready` of a key that was refused before this process began, until the answer to a call proves otherwise. A restart does not
/// make a key good.
fn unjudged(
    input: &StatusInput<'_>,
    observed: &Result<ObservedCredentials, AccountError>,
) -> Option<(ConditionState, bool)> {
    let observed = observed.as_ref().ok().filter(|it| !it.key_health.judged)?;
    let used = input.used_by.disaster_recovery_plans + input.used_by.disk_replica_groups > 0;
    let same_identity = input.old.identity.as_deref() == Some(&observed.identity);
    let same = same_identity && input.old.observed_generation == input.generation;
    let old = readiness_of(input.old).filter(|old| used && same && old.status == Truth::False.as_str())?;
    let reason = REASONS_BY_CALLS.into_iter().find(|reason| *reason == old.reason)?;
    Some((ConditionState::no(reason, old.message.clone()), true))
}

fn truth(error: &AccountError) -> Truth {
    let expired = matches!(error.why(), Some(CredentialsError::Expired { .. }));
    if error.passing() && !expired { Truth::Unknown } else { Truth::False }
}

/// The reason of `Ready` for an error.
pub fn reason(error: &AccountError) -> &'static str {
    match error {
        AccountError::NotAllowed { .. } | AccountError::Missing(_) | AccountError::Invalid(..) => {
            account::CREDENTIALS_NOT_FOUND
        }
        AccountError::Unreadable(..) => account::UNAVAILABLE,
        AccountError::Endpoint { .. } => account::ENDPOINT_REFUSED,
        AccountError::Credentials { why, .. } => match &**why {
            CredentialsError::SecretNotFound(_) => account::SECRET_NOT_FOUND,
            CredentialsError::KeyMissing { .. }
            | CredentialsError::NotText { .. }
            | CredentialsError::VariableMissing(_) => account::KEY_MISSING,
            CredentialsError::TokenFileUnreadable { .. } => account::TOKEN_FILE_UNREADABLE,
            CredentialsError::TokenRequestFailed { .. } => account::TOKEN_REQUEST_FAILED,
            CredentialsError::MetadataUnavailable(_) => account::METADATA_UNAVAILABLE,
            CredentialsError::Expired { .. } => account::EXPIRED,
            CredentialsError::EndedWhenIssued { .. } => account::CLOCK_SKEW,
            CredentialsError::Refused(error) => refusal(error),
            CredentialsError::SecretUnreadable(..) | CredentialsError::Unreachable(_) => account::UNAVAILABLE,
            CredentialsError::ProfileUnusable(_) | CredentialsError::NoSource(_) => account::CREDENTIALS_NOT_FOUND,
        },
    }
}

/// The reason of `Ready` for a refusal, of STS or of another service.
fn refusal(error: &Error) -> &'static str {
    let starts = |codes: &[&str]| codes.iter().any(|code| error.code.starts_with(code));
    if starts(&["InvalidTimeStamp"]) {
        account::CLOCK_SKEW
    } else if starts(&["InvalidSecurityToken.Expired", "AuthenticationFail.OIDCToken.Expired"]) {
        account::EXPIRED
    } else if starts(&["InvalidAccessKeyId", "Forbidden.AccessKey", "InvalidSecurityToken", "MissingSecurityToken"])
        || starts(&["SignatureDoesNotMatch", "IncompleteSignature"])
    {
        account::ACCESS_KEY_REFUSED
    } else {
        account::ASSUME_ROLE_DENIED
    }
}

fn readiness_of(status: &AlibabaCloudAccountStatus) -> Option<&Condition> {
    conditions::find(&status.conditions, condition_type::READY)
}

/// The events: the account became usable, or a person has to act.
pub fn events(old: &AlibabaCloudAccountStatus, new: &AlibabaCloudAccountStatus) -> Vec<EventRecord> {
    let reason = |status| readiness_of(status).map_or("", |it: &Condition| it.reason.as_str());
    let (before, after) = (reason(old), reason(new));
    let Some(now) = readiness_of(new).filter(|_| before != after) else { return vec![] };
    match now.status.as_str() {
        "True" if after == account::NOT_RENEWED => {
            vec![EventRecord::warning(reason::CREDENTIALS_NOT_RENEWED, action::AUTHENTICATE, now.message.clone())]
        }
        "True" => vec![EventRecord::normal(reason::CREDENTIALS_AVAILABLE, action::AUTHENTICATE, now.message.clone())],
        "False" if after == ready::DELETING => {
            vec![EventRecord::warning(reason::ACCOUNT_IN_USE, action::RELEASE, now.message.clone())]
        }
        "False" => {
            vec![EventRecord::warning(reason::CREDENTIALS_UNAVAILABLE, action::AUTHENTICATE, now.message.clone())]
        }
        _ => vec![],
    }
}

/// Whether to trigger the users of the account: its spec or its key changed, or its credentials are missing or back. No trigger
/// follows from the answer to a call: the user that made the call knows it.
pub fn triggers_users(old: &AlibabaCloudAccountStatus, new: &AlibabaCloudAccountStatus) -> bool {
    let state = |status| {
        let it = readiness_of(status)?;
        let known = REASONS_BY_CALLS.contains(&it.reason.as_str()) || it.reason == ready::DELETING;
        Some((it.status.as_str(), known))
    };
    let changed = match (state(old), state(new)) {
        (before, Some(("True", _))) => before.is_none_or(|(truth, known)| truth != "True" && !known),
        (Some(("True", _)), Some(("False", known))) => !known,
        _ => false,
    };
    let other_identity = new.identity.is_some() && old.identity != new.identity;
    old.observed_generation != new.observed_generation || other_identity || changed
}

#[cfg(test)]
mod tests;
