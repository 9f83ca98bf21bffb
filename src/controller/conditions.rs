//! Conditions: sets them, keeps their transition times, and explains failures. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::access::AccountError;
use crate::api::condition::synced;
use crate::cloud::credentials::CredentialsError;
use crate::cloud::error::{Class, Error};

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// No recent and complete observation proves or refutes it.
    Unknown,
}

impl Truth {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// Status, reason and message of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionState {
    /// The status.
    pub truth: Truth,
    /// The cause, as one word for programs.
    pub reason: &'static str,
    /// Outcome, cause and remedy, for people.
    pub message: String,
}

impl ConditionState {
    /// The condition is True.
    pub fn yes(reason: &'static str, message: impl Into<String>) -> Self {
        Self { truth: Truth::True, reason, message: message.into() }
    }

    /// The condition is False.
    pub fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self { truth: Truth::False, reason, message: message.into() }
    }

    /// The condition is Unknown.
    pub fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self { truth: Truth::Unknown, reason, message: message.into() }
    }
}

/// Finds the condition of a type.
pub fn find<'a>(conditions: &'a [Condition], condition_type: &str) -> Option<&'a Condition> {
    conditions.iter().find(|it| it.type_ == condition_type)
}

/// Sets a condition. Its transition time stays unless its status changes.
pub fn set(
    conditions: &mut Vec<Condition>,
    condition_type: &str,
    state: ConditionState,
    generation: Option<i64>,
    now: Timestamp,
) {
    let ConditionState { truth, reason, message } = state;
    let same = find(conditions, condition_type).filter(|it| it.status == truth.as_str());
    let kept = same.map(|it| it.last_transition_time.clone());
    let new = Condition {
        type_: condition_type.into(),
        status: truth.as_str().into(),
        reason: reason.into(),
        message,
        observed_generation: generation,
        last_transition_time: kept.unwrap_or_else(|| Time(seconds(now))),
    };
    match conditions.iter_mut().find(|it| it.type_ == condition_type) {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
}

/// Removes a condition that is present only while it is True.
pub fn remove(conditions: &mut Vec<Condition>, condition_type: &str) {
    conditions.retain(|it| it.type_ != condition_type);
}

/// A time without fractions of a second: the API server does not keep them.
pub fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// `Synced` after a failed call, and whether a person has to act.
pub fn failure(error: &Error) -> (ConditionState, bool) {
    let message = error.to_string();
    match error.class {
        Class::Denied => (ConditionState::no(synced::ACCESS_DENIED, message), true),
        Class::Invalid => (ConditionState::no(synced::INVALID_SPEC, message), true),
        Class::Conflict | Class::NotFound => (ConditionState::no(synced::PROGRESSING, message), false),
        Class::Throttled { .. } => (ConditionState::unknown(synced::THROTTLED, message), false),
        Class::Unavailable | Class::Ambiguous => (ConditionState::unknown(synced::CLOUD_UNAVAILABLE, message), false),
    }
}

/// `Synced` without usable credentials, and whether a person has to act.
pub fn unusable(error: &AccountError) -> (ConditionState, bool) {
    let message = error.to_string();
    match (error, error.why()) {
        (AccountError::Endpoint { .. }, _) => (ConditionState::no(synced::ENDPOINT_REFUSED, message), true),
        (_, Some(CredentialsError::Refused(_))) => (ConditionState::no(synced::ACCESS_DENIED, message), true),
        (_, Some(CredentialsError::Unreachable(error))) => (ConditionState { message, ..failure(error).0 }, false),
        (_, Some(CredentialsError::Expired { .. })) => {
            (ConditionState::unknown(synced::CLOUD_UNAVAILABLE, message), false)
        }
        _ => (ConditionState::no(synced::CREDENTIALS_NOT_FOUND, message), true),
    }
}

/// Joins at most five entries, and adds the number of the others.
pub fn join_limited(entries: &[String]) -> String {
    let head = entries.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    match entries.len().saturating_sub(5) {
        0 => head,
        more => format!("{head} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn condition_keeps_its_time_until_status_changes() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let mut all = vec![];
        set(&mut all, "Ready", ConditionState::no("Creating", "a"), Some(1), at(10));
        set(&mut all, "Ready", ConditionState::no("Updating", "b"), Some(2), at(20));
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].last_transition_time.0, all[0].reason.as_str()), (at(10), "Updating"));
        set(&mut all, "Ready", ConditionState::yes("Available", "c"), Some(2), at(30));
        assert_eq!(all[0].last_transition_time.0, at(30));
        remove(&mut all, "Ready");
        assert!(all.is_empty());
    }
}
