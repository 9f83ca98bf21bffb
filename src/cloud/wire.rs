//! Tolerant reading of answers: numbers may come as text, lists may be null, an undocumented status keeps its name. A
//! list that changes while the client reads its pages is an error.

use std::collections::BTreeSet;
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

/// The treatment of an entry that comes on two pages.
#[derive(Clone, Copy)]
pub(super) enum Duplicates {
    /// Fail: another entry may be missing.
    Refuse,
    /// Keep the first.
    Skip,
}

/// Maximum entries of a list, which the client keeps in memory.
const MAX_ENTRIES: usize = 100_000;

/// The pages of a list that the client has read so far.
pub(super) struct Pages<T, Id> {
    operation: ApiOperation,
    duplicates: Duplicates,
    ids: BTreeSet<Id>,
    read: usize,
    pub(super) all: Vec<T>,
}

impl<T, Id: Ord> Pages<T, Id> {
    pub(super) fn new(operation: ApiOperation, duplicates: Duplicates) -> Self {
        Self { operation, duplicates, ids: BTreeSet::new(), read: 0, all: Vec::new() }
    }

    /// Adds a page. An entry that came before means that the list changed while the client read it.
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

    /// Whether as many entries were read as the service reports in total. Without a total only an empty page ends the
    /// list, since pages may be shorter than requested.
    pub(super) fn is_complete(&self, total: Option<i64>, empty: bool) -> Result<bool, Error> {
        match total.map(|total| usize::try_from(total).unwrap_or_default()) {
            Some(total) if self.read >= total => Ok(true),
            Some(_) if empty => Err(broken(self.operation, "fewer entries than its totalCount")),
            None if empty => Ok(true),
            Some(_) | None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_complete_with_its_total_only() {
        for (pages, total, expected) in [
            (vec![vec![1, 2], vec![3]], Some(3), vec![Ok(false), Ok(true)]),
            (vec![vec![1, 2, 3]], Some(3), vec![Ok(true)]),
            (vec![vec![]], Some(0), vec![Ok(true)]),
            (vec![vec![1, 2], vec![]], Some(3), vec![Ok(false), Err(())]),
            (vec![vec![1], vec![2], vec![]], None, vec![Ok(false), Ok(false), Ok(true)]),
        ] {
            let mut read = Pages::new(ApiOperation::ListDisasterRecoveryPlans, Duplicates::Refuse);
            let complete: Vec<_> = pages
                .iter()
                .map(|page: &Vec<i32>| {
                    read.add(page.clone(), |id| *id).expect("no duplicates");
                    read.is_complete(total, page.is_empty()).map_err(|_| ())
                })
                .collect();
            assert_eq!(complete, expected, "{pages:?} {total:?}");
        }
    }

    #[test]
    fn duplicate_entry_fails_list_unless_skipped() {
        for (duplicates, expected) in [(Duplicates::Refuse, None), (Duplicates::Skip, Some(vec![1, 2]))] {
            let mut read = Pages::new(ApiOperation::ListDisasterRecoveryPlans, duplicates);
            let added = read.add(vec![1], |id| *id).and_then(|()| read.add(vec![1, 2], |id| *id));
            assert_eq!(added.ok().map(|()| read.all), expected);
        }
    }
}
