//! How answers are read, tolerantly: numbers may come as text, lists may be null, a status that nobody documented is kept by
//! its name, and a list that changes while it is read is an error.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::error::{Class, Error};
use super::operation::ApiOperation;

/// Declares a status of the API: its documented names, and any other kept as it came.
macro_rules! status {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A status that is not documented.
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
            /// All that are documented.
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

/// A number that may come as text.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    maybe_number(deserializer)?.ok_or_else(|| serde::de::Error::custom("a number is missing"))
}

/// A number that may come as text, or not at all.
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

/// A list that may be null.
pub(super) fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

/// An answer that was understood, but is not what the operation returns.
pub(super) fn broken(operation: ApiOperation, what: impl fmt::Display) -> Error {
    let message = format!("the answer has {what}");
    Error { class: Class::Unavailable, operation, code: "BrokenAnswer".into(), message, request_id: None }
}

/// Reads what an answer holds.
pub(super) fn parse<T: DeserializeOwned>(operation: ApiOperation, data: Value) -> Result<T, Error> {
    // What serde says may quote the data, and the data may hold a password.
    serde_json::from_value(data).map_err(|_| broken(operation, "data of an unexpected shape"))
}

/// What the call names and cannot be found is not what the call makes.
pub(super) fn referenced(error: Error) -> Error {
    match error.class {
        Class::NotFound => Error { class: Class::Invalid, ..error },
        _ => error,
    }
}

/// What an entry means that comes on two pages.
#[derive(Clone, Copy)]
pub(super) enum Duplicates {
    /// Another one may be missing.
    Refuse,
    /// It is the same one.
    Skip,
}

/// No list is longer: it is kept in memory whole.
const MAX_ENTRIES: usize = 100_000;

/// The pages of a list that were read so far.
pub(super) struct Pages<T, Id> {
    operation: ApiOperation,
    duplicates: Duplicates,
    ids: BTreeSet<Id>,
    read: usize,
    /// Their entries.
    pub(super) all: Vec<T>,
}

impl<T, Id: Ord> Pages<T, Id> {
    pub(super) fn new(operation: ApiOperation, duplicates: Duplicates) -> Self {
        Self { operation, duplicates, ids: BTreeSet::new(), read: 0, all: Vec::new() }
    }

    /// Adds a page; an entry that came before says that the list changed while it was read.
    pub(super) fn add(&mut self, entries: Vec<T>, id: impl Fn(&T) -> Id) -> Result<(), Error> {
        self.read += entries.len();
        if self.read > MAX_ENTRIES {
            return Err(broken(self.operation, "more entries than anybody can have"));
        }
        for entry in entries {
            match (self.ids.insert(id(&entry)), self.duplicates) {
                (true, _) => self.all.push(entry),
                (false, Duplicates::Skip) => {}
                (false, Duplicates::Refuse) => {
                    return Err(broken(self.operation, "an entry on two pages: the list changed while it was read"));
                }
            }
        }
        Ok(())
    }

    /// Whether so many entries were read as the list has by what the service says; without that, only an empty page ends
    /// it, since pages may be shorter than was asked for.
    pub(super) fn is_complete(&self, total: Option<i64>, empty: bool) -> Result<bool, Error> {
        match total.map(|total| usize::try_from(total).unwrap_or_default()) {
            Some(total) if self.read >= total => Ok(true),
            Some(_) if empty => Err(broken(self.operation, "fewer entries than its totalCount")),
            None if empty => Ok(true),
            Some(_) | None => Ok(false),
        }
    }
}
