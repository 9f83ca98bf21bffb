//! Tolerant reading of answers: numbers may come as text, lists may be null, an undocumented status keeps its name.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::error::{Class, Error};
use super::operation::ApiOperation;

/// Declares a status of the API: its documented names, and a variant that keeps any other.
macro_rules! status {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    struct Number;

    impl Visitor<'_> for Number {
        type Value = Option<i64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }

        fn visit_unit<E>(self) -> Result<Option<i64>, E> {
            Ok(None)
        }

        fn visit_i64<E>(self, number: i64) -> Result<Option<i64>, E> {
            Ok(Some(number))
        }

        fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Option<i64>, E> {
            i64::try_from(number).map(Some).map_err(E::custom)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Option<i64>, E> {
            if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(E::custom) }
        }
    }

    deserializer.deserialize_any(Number)
}

/// Reads a list that may be null.
pub(super) fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a list and hands over each entry as it is read, so that they are not in memory together.
pub(super) fn each<T: DeserializeOwned>(list: &RawValue, entry: impl FnMut(T)) -> serde_json::Result<()> {
    struct Each<T, F>(F, PhantomData<T>);

    impl<'de, T: DeserializeOwned, F: FnMut(T)> Visitor<'de> for Each<T, F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
            while let Some(entry) = list.next_element()? {
                (self.0)(entry);
            }
            Ok(())
        }
    }

    serde_json::Deserializer::from_str(list.get()).deserialize_seq(Each(entry, PhantomData))
}

/// The data of an answer, as JSON text. No object in it names a field twice.
#[derive(Clone, PartialEq, Eq)]
pub struct Data(Bytes);

impl Data {
    /// The data in this text, which is JSON.
    pub(super) fn new(text: Bytes) -> Self {
        Self(text)
    }

    /// The data of an answer without data.
    pub(super) fn null() -> Self {
        Self(Bytes::from_static(b"null"))
    }

    /// Whether there is no data.
    pub fn is_null(&self) -> bool {
        self.0 == "null"
    }

    /// Reads the data as what the operation returns. An error may quote the data, and the data may hold a password.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.0)
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} bytes)", self.0.len())
    }
}

/// The error for a successful answer that does not have what the operation returns.
pub(super) fn broken(operation: ApiOperation, what: impl fmt::Display) -> Error {
    let message = format!("the answer has {what}");
    Error { class: Class::Unavailable, operation, code: "BrokenAnswer".into(), message, request_id: None }
}

/// The error for data that is not what the operation returns. That of serde may quote the data, and the data may hold a password.
pub(super) fn misshapen(operation: ApiOperation) -> Error {
    broken(operation, "data of an unexpected shape")
}

/// Reads the data of an answer.
pub(super) fn parse<'a, T: Deserialize<'a>>(operation: ApiOperation, data: &'a Data) -> Result<T, Error> {
    data.read().map_err(|_| misshapen(operation))
}

/// Turns NotFound of a Create into Invalid: a resource that the call refers to is missing, not the one that it creates.
pub(super) fn referenced(error: Error) -> Error {
    match error.class {
        Class::NotFound => Error { class: Class::Invalid, ..error },
        _ => error,
    }
}
