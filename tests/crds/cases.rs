//! The tables of manifests: `plans.yaml`, `groups.yaml` and `accounts.yaml`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::common::Kind;

/// A table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    kind: String,
    bases: BTreeMap<String, Value>,
    cases: Vec<Row>,
}

/// A row as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    case: String,
    #[serde(default = "minimal")]
    base: String,
    #[serde(default)]
    set: BTreeMap<String, Value>,
    #[serde(default)]
    remove: Vec<String>,
    status: Option<Value>,
    update: Option<Changes>,
    expected: String,
}

/// Changes to an object, by JSON pointer.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Changes {
    set: BTreeMap<String, Value>,
    remove: Vec<String>,
}

/// One manifest, and what the API server answers.
pub(crate) struct Case {
    /// Its name in the table of its kind.
    pub(crate) name: String,
    /// The object.
    pub(crate) object: Value,
    /// The status that is written after the object has been created.
    pub(crate) status: Option<Value>,
    /// The object after an update.
    pub(crate) updated: Option<Value>,
    /// Part of the message that refuses the object, or its update where there is one.
    pub(crate) refusal: Option<String>,
}

fn minimal() -> String {
    "minimal".to_owned()
}

/// The cases of a kind.
pub(crate) fn cases(kind: &Kind) -> Vec<Case> {
    let text = test_support::read(format!("tests/crds/{}", kind.cases));
    let table: Table = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", kind.cases));
    assert_eq!(table.kind, kind.name, "{}", kind.cases);
    let cases: Vec<_> = table.cases.into_iter().map(|row| row.case(kind, &table.bases)).collect();
    let mut names: Vec<_> = cases.iter().map(|case| &case.name).collect();
    names.sort();
    assert!(names.windows(2).all(|two| two[0] != two[1]), "two cases of {} have one name", kind.cases);
    cases
}

/// The case of a kind with a name.
pub(crate) fn case(kind: &Kind, name: &str) -> Case {
    let found = cases(kind).into_iter().find(|case| case.name == name);
    found.unwrap_or_else(|| panic!("{} has no case {name}", kind.cases))
}

impl Row {
    fn case(self, kind: &Kind, bases: &BTreeMap<String, Value>) -> Case {
        let Self { case: name, base, set, remove, status, update, expected } = self;
        let base = bases.get(&base).unwrap_or_else(|| panic!("{name}: there is no base {base}"));
        let mut object = json!({
            "apiVersion": "disasterrecovery.dev/v1alpha1", "kind": kind.name, "metadata": { "name": name }, "spec": base,
        });
        Changes { set, remove }.apply(&name, &mut object);
        let updated = update.map(|changes| {
            let mut updated = object.clone();
            changes.apply(&name, &mut updated);
            assert_ne!(object, updated, "{name}: the update changes nothing");
            updated
        });
        let refusal = Some(expected).filter(|expected| expected != "accepted");
        assert!(updated.is_some() || status.is_none() || refusal.is_none(), "{name}: a status write is never refused");
        Case { name, object, status, updated, refusal }
    }
}

impl Changes {
    /// A pointer to nothing is a mistake of the table.
    fn apply(&self, case: &str, object: &mut Value) {
        for pointer in &self.remove {
            let (parent, key) = split(case, object, pointer);
            let removed = match parent {
                Value::Object(fields) => fields.remove(key),
                Value::Array(entries) => key.parse().ok().filter(|at| *at < entries.len()).map(|at| entries.remove(at)),
                _ => None,
            };
            assert!(removed.is_some(), "{case}: there is no {pointer} to remove");
        }
        for (pointer, value) in &self.set {
            let (parent, key) = split(case, object, pointer);
            let index = key.parse::<usize>();
            match (parent, index) {
                (Value::Object(fields), _) => drop(fields.insert(key.to_owned(), value.clone())),
                (Value::Array(entries), Ok(at)) if at < entries.len() => entries[at] = value.clone(),
                (Value::Array(entries), Ok(at)) if at == entries.len() => entries.push(value.clone()),
                _ => panic!("{case}: {pointer} cannot be set"),
            }
        }
    }
}

/// The value above that of a pointer, and the last step of the pointer.
fn split<'a>(case: &str, object: &'a mut Value, pointer: &'a str) -> (&'a mut Value, &'a str) {
    let (above, key) = pointer.rsplit_once('/').unwrap_or_else(|| panic!("{case}: {pointer:?} is no JSON pointer"));
    let parent = object.pointer_mut(above).unwrap_or_else(|| panic!("{case}: there is no {above}"));
    (parent, key)
}
