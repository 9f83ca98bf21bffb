//! The JSON text of an answer, checked before anything is read from it.

use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Maximum number of fields of an object that are compared with each other.
const MAX_COMPARED: usize = 64;

/// The text of a JSON object in which no object names a field twice. Of a field that comes twice, the last one counts. `None` for
/// a text that is no JSON object, be it in a part that is not read.
pub(super) fn object(body: &Bytes) -> Option<Bytes> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let (text, mut names) = (std::str::from_utf8(body).ok()?, Names::default());
    let mut json = serde_json::Deserializer::from_str(text);
    names.deserialize(&mut json).ok()?;
    json.end().ok()?;
    if !names.repeated {
        return Some(body.clone());
    }
    // A tree keeps the last one.
    let tree: Value = serde_json::from_str(text).ok()?;
    Some(tree.to_string().into())
}

/// Reads any value and keeps nothing of it but the names of the fields of the objects around.
#[derive(Default)]
struct Names<'de> {
    open: Vec<&'de str>,
    /// Whether an object may name a field twice.
    repeated: bool,
}

impl<'de> DeserializeSeed<'de> for &mut Names<'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Names<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while entries.next_element_seed(&mut *self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let outer = self.open.len();
        while let Some(Name(name)) = fields.next_key()? {
            match name {
                Some(name) if self.open.len() - outer < MAX_COMPARED => {
                    self.repeated |= self.open[outer..].contains(&name);
                    self.open.push(name);
                }
                _ => self.repeated = true,
            }
            fields.next_value_seed(&mut *self)?;
        }
        self.open.truncate(outer);
        Ok(())
    }
}

/// The name of a field; none if it is written with escapes.
struct Name<'de>(Option<&'de str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a field")
            }

            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Some(name)))
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Name<'de>, E> {
                Ok(Name(None))
            }
        }

        deserializer.deserialize_str(Read)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::cloud::rocketmq::{Checkpoint, ItemView, PlanView};

    /// A text that is JSON, or nearly.
    fn text() -> impl Strategy<Value = String> {
        const VALUES: &[&str] = &[
            "null",
            "true",
            "0",
            "-0",
            "7",
            "1.5",
            "1e3",
            "9223372036854775808",
            "\"\"",
            "\"7\"",
            "\"RUNNING\"",
            "\"é\\n\\u00e9\"",
            "\"\\ud83d\\ude00\"",
        ];
        const BROKEN: &[&str] = &["", "tru", "01", "1e999", "\"\\ud800\"", "\"\n\""];
        // The fields of plans, items and checkpoints, and the same field in two spellings.
        const NAMES: &[&str] = &[
            "planId",
            "plan\\u0049d",
            "planName",
            "planStatus",
            "instances",
            "instanceId",
            "messageProperty",
            "itemId",
            "topics",
            "checkpointId",
            "lastSyncTime",
            "sourceProgress",
            "progressData",
            "x",
            "",
        ];
        let object = |value: BoxedStrategy<String>| {
            vec((select(NAMES), value), 0..6).prop_map(|fields| {
                let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
                format!("{{{}}}", fields.join(","))
            })
        };
        let value = prop_oneof![30 => select(VALUES), 1 => select(BROKEN)];
        let value = value.prop_map(str::to_owned).prop_recursive(4, 32, 6, move |value| {
            prop_oneof![object(value.clone()), vec(value, 0..4).prop_map(|list| format!("[{}]", list.join(", ")))]
        });
        (object(value.boxed()), prop_oneof![8 => Just(""), 1 => select(&[" ", "x", "}"][..])])
            .prop_map(|(text, end)| text + end)
    }

    /// What a type reads from a text, and what it reads from the tree of the text.
    fn both<T: serde::de::DeserializeOwned>(text: &[u8], tree: &Value) -> [Option<T>; 2] {
        [serde_json::from_slice(text).ok(), serde_json::from_value(tree.clone()).ok()]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn text_reads_as_its_tree(text in text()) {
            let tree = serde_json::from_str::<Value>(&text).ok();
            let found = object(&Bytes::from(text));
            let parsed = found.as_deref().and_then(|text| serde_json::from_slice(text).ok());
            prop_assert_eq!(&parsed, &tree);
            let (Some(text), Some(tree)) = (found, tree) else { return Ok(()) };
            let [one, other] = both::<PlanView>(&text, &tree);
            prop_assert_eq!(one, other);
            let [one, other] = both::<ItemView>(&text, &tree);
            prop_assert_eq!(one, other);
            let [one, other] = both::<Checkpoint>(&text, &tree);
            prop_assert_eq!(one, other);
        }
    }

    #[test]
    fn usual_text_is_not_copied() {
        let body = |text: &str| Bytes::from(text.to_owned());
        let plain = body(r#" {"a":{"b":1},"b":[{"a":"\n"},{"a":2}]}"#);
        let found = object(&plain).expect("an object");
        assert_eq!(found.as_ptr(), plain.as_ptr());
        for (text, expected) in [
            (r#"{"a":1,"b":{"c":1},"a":2}"#, r#"{"a":2,"b":{"c":1}}"#),
            (r#"{"a":[{"\u0062":1,"b":2}]}"#, r#"{"a":[{"b":2}]}"#),
        ] {
            assert_eq!(object(&body(text)), Some(body(expected)), "{text}");
        }
        let many: serde_json::Map<_, _> = (0..100).map(|number| (number.to_string(), number.into())).collect();
        let many = serde_json::to_string(&many).expect("JSON");
        assert_eq!(object(&body(&many)), Some(body(&many)));
        for text in ["", "[]", "7", "{", "{}{}", "\u{feff}{}"] {
            assert_eq!(object(&body(text)), None, "{text}");
        }
    }
}
