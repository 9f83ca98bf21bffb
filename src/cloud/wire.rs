//! Tolerant reading of answers: numbers may come as text, lists may be null, an undocumented status keeps its name.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::error::{Class, Error};
use super::operation::ApiOperation;

/// Declares a status of the API: its documented names, and a variant that keeps any other.
macro_rules! status {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// An undocumented status.
            Other(String),
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)+
                    _ => Self::Other(text),
                }
            }
        }

        impl $name {
            /// All documented values.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant),+];

            /// The API's own name of the status.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(<Option<String> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or_default().into())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::Other(String::new())
            }
        }
    };
}
pub(super) use status;

/// Reads a number that may come as text.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    maybe_number(deserializer)?.ok_or_else(|| serde::de::Error::custom("a number is missing"))
}

/// Reads a number that may come as text or be absent.
pub(super) fn maybe_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let broken = || serde::de::Error::custom("not a whole number");
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::Number(number) => number.as_i64().map(Some).ok_or_else(broken),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => text.parse().map(Some).map_err(|_| broken()),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(broken()),
    }
}

/// Reads a list that may be null.
pub(super) fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

/// The error for a successful answer that does not have what the operation returns.
pub(super) fn broken(operation: ApiOperation, what: impl fmt::Display) -> Error {
    let message = format!("the answer has {what}");
    Error { class: Class::Unavailable, operation, code: "BrokenAnswer".into(), message, request_id: None }
}

/// Reads the data of an answer.
pub(super) fn parse<T: DeserializeOwned>(operation: ApiOperation, data: Value) -> Result<T, Error> {
    // An error of serde may quote the data, and the data may hold a password.
    serde_json::from_value(data).map_err(|_| broken(operation, "data of an unexpected shape"))
}

/// Turns NotFound of a Create into Invalid: a resource that the call refers to is missing, not the one that it creates.
pub(super) fn referenced(error: Error) -> Error {
    match error.class {
        Class::NotFound => Error { class: Class::Invalid, ..error },
        _ => error,
    }
}
