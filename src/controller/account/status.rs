//! What the status of an account says, and which events tell of its changes. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::account::{AlibabaCloudAccountStatus, UsedBy};
use crate::api::condition::{account, condition_type, ready};
use crate::api::event::{action, reason};
use crate::cloud::credentials::CredentialsError;
use crate::cloud::credentials::cache::KeyHealth;
use crate::cloud::error::Error;
use crate::controller::access::AccountError;
use crate::controller::conditions::listed;
use crate::controller::conditions::{self, ConditionState, Truth};
use crate::controller::events::EventRecord;

/// Credentials that were found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Who signs, for people.
    pub identity: String,
    /// When they end.
    pub expires: Option<Timestamp>,
    /// What is known of how the cloud takes them.
    pub key_health: KeyHealth,
    /// When they are to be renewed.
    pub due: Option<Timestamp>,
}

/// The object of a pass.
#[derive(Clone, Debug)]
pub struct Pass<'a> {
    /// The generation of the spec.
    pub generation: Option<i64>,
    /// Who still uses an account that is being deleted.
    pub holders: Option<&'a [String]>,
    /// How many use it.
    pub used_by: UsedBy,
    /// The status before.
    pub old: &'a AlibabaCloudAccountStatus,
    /// The time.
    pub now: Timestamp,
}

/// The status after the pass.
pub fn status(pass: &Pass<'_>, found: &Result<Found, AccountError>) -> AlibabaCloudAccountStatus {
    let mut conditions = pass.old.conditions.clone();
    let (statement, stalled) = unjudged(pass, found).unwrap_or_else(|| readiness(found));
    let mut set = |kind, statement| conditions::set(&mut conditions, kind, statement, pass.generation, pass.now);
    let shown = match pass.holders {
        Some(holders) => {
            let text = format!("the account is kept while it is in use by {}: delete them first", listed(holders));
            let more = if statement.truth == Truth::True { String::new() } else { format!("; {}", statement.message) };
            ConditionState::no(ready::DELETING, format!("{text}{more}"))
        }
        None => statement.clone(),
    };
    set(condition_type::READY, shown);
    // kstatus: these are there only while they are true.
    let waits = statement.truth != Truth::True && !stalled;
    for (kind, holds) in [(condition_type::STALLED, stalled), (condition_type::RECONCILING, waits)] {
        match holds {
            true => conditions::set(
                &mut conditions,
                kind,
                ConditionState::yes(statement.reason, statement.message.clone()),
                pass.generation,
                pass.now,
            ),
            false => conditions::remove(&mut conditions, kind),
        }
    }
    let found = found.as_ref().ok();
    AlibabaCloudAccountStatus {
        observed_generation: pass.generation,
        identity: found.map(|found| found.identity.clone()),
        expiration: found.and_then(|found| found.expires).map(|at| Time(conditions::seconds(at))),
        used_by: Some(pass.used_by.clone()),
        conditions,
    }
}

/// Whether there are credentials that the cloud takes, and whether a person has to act where there are none.
fn readiness(found: &Result<Found, AccountError>) -> (ConditionState, bool) {
    match found {
        Err(error) => (
            ConditionState { truth: truth(error), reason: reason(error), message: error.to_string() },
            !error.passing(),
        ),
        Ok(Found { key_health: KeyHealth { refused: Some(error), .. }, .. }) => {
            (ConditionState::no(refusal(error), format!("the cloud refuses the access key: {error}")), true)
        }
        // An outage is not worth a word while the credentials are good; that somebody took the role away is.
        Ok(Found { identity, key_health: KeyHealth { failing: Some(why), .. }, .. }) if !why.passing() => {
            let text = format!("calls are signed as {identity} until that expires; it cannot be renewed: {why}");
            (ConditionState::yes(account::NOT_RENEWED, text), false)
        }
        Ok(Found { identity, .. }) => {
            (ConditionState::yes(ready::AVAILABLE, format!("calls are signed as {identity}")), false)
        }
    }
}

/// Reasons by what the cloud said of calls.
const TOLD_BY_CALLS: [&str; 3] = [account::ACCESS_KEY_REFUSED, account::CLOCK_SKEW, account::EXPIRED];

/// What was known of a key before this process began, until a call tells: a restart makes no key good.
fn unjudged(pass: &Pass<'_>, found: &Result<Found, AccountError>) -> Option<(ConditionState, bool)> {
    let found = found.as_ref().ok().filter(|found| !found.key_health.judged)?;
    let used = pass.used_by.disaster_recovery_plans + pass.used_by.disk_replica_groups > 0;
    let same = pass.old.identity.as_deref() == Some(&found.identity) && pass.old.observed_generation == pass.generation;
    let old = readiness_of(pass.old).filter(|old| used && same && old.status == Truth::False.as_str())?;
    let reason = TOLD_BY_CALLS.into_iter().find(|reason| *reason == old.reason)?;
    Some((ConditionState::no(reason, old.message.clone()), true))
}

fn truth(error: &AccountError) -> Truth {
    let ended = matches!(error.why(), Some(CredentialsError::Expired { .. }));
    if error.passing() && !ended { Truth::Unknown } else { Truth::False }
}

/// The reason of `Ready` for what is wrong.
pub fn reason(error: &AccountError) -> &'static str {
    match error {
        AccountError::NotAllowed { .. } | AccountError::Missing(_) => account::CREDENTIALS_NOT_FOUND,
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

/// What is told in events: that the account became usable, and what a person has to mend.
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

/// Whether those who use the account are to be looked at now: its spec or its key changed, or credentials went or are there
/// again. What the cloud says of a key, one of them saw itself.
pub fn wakes(old: &AlibabaCloudAccountStatus, new: &AlibabaCloudAccountStatus) -> bool {
    let state = |status| {
        let it = readiness_of(status)?;
        let told = TOLD_BY_CALLS.contains(&it.reason.as_str()) || it.reason == ready::DELETING;
        Some((it.status.as_str(), told))
    };
    let changed = match (state(old), state(new)) {
        (before, Some(("True", _))) => before.is_none_or(|(truth, told)| truth != "True" && !told),
        (Some(("True", _)), Some(("False", told))) => !told,
        _ => false,
    };
    let another = new.identity.is_some() && old.identity != new.identity;
    old.observed_generation != new.observed_generation || another || changed
}

#[cfg(test)]
mod tests;
