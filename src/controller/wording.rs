//! What the conditions of every kind say in the same words. Pure.

use crate::api::condition::synced;
use crate::cloud::credentials::CredentialsError;
use crate::cloud::error::{Class, Error};
use crate::conditions::Statement;

use super::accounts::AccountError;

/// What `Synced` says of a failed call, and whether a person has to act.
pub fn failure(error: &Error) -> (Statement, bool) {
    let message = error.to_string();
    match error.class {
        Class::Denied => (Statement::no(synced::ACCESS_DENIED, message), true),
        Class::Invalid => (Statement::no(synced::INVALID_SPEC, message), true),
        Class::Conflict | Class::NotFound => (Statement::no(synced::PROGRESSING, message), false),
        Class::Throttled { .. } => (Statement::unknown(synced::THROTTLED, message), false),
        Class::Unavailable | Class::Ambiguous => (Statement::unknown(synced::CLOUD_UNAVAILABLE, message), false),
    }
}

/// What `Synced` says where there is nobody to sign calls, and whether a person has to act.
pub fn unusable(error: &AccountError) -> (Statement, bool) {
    let message = error.to_string();
    match (error, error.why()) {
        (AccountError::Endpoint { .. }, _) => (Statement::no(synced::ENDPOINT_REFUSED, message), true),
        (_, Some(CredentialsError::Refused(_))) => (Statement::no(synced::ACCESS_DENIED, message), true),
        (_, Some(CredentialsError::Unreachable(error))) => (Statement { message, ..failure(error).0 }, false),
        (_, Some(CredentialsError::Expired { .. })) => (Statement::unknown(synced::CLOUD_UNAVAILABLE, message), false),
        _ => (Statement::no(synced::CREDENTIALS_NOT_FOUND, message), true),
    }
}

/// At most five entries, and how many more there are.
pub fn listed(entries: &[String]) -> String {
    let head = entries.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    match entries.len().saturating_sub(5) {
        0 => head,
        more => format!("{head} and {more} more"),
    }
}
