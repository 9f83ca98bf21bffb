//! States, and the files that they are kept in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The kinds, with their plurals.
pub(crate) const KINDS: [(&str, &str); 3] = [
    ("AlibabaCloudAccount", "alibabacloudaccounts"),
    ("DisasterRecoveryPlan", "disasterrecoveryplans"),
    ("DiskReplicaGroup", "diskreplicagroups"),
];

/// What is said of a state.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Expected {
    /// The health that Argo CD shows.
    pub(crate) argocd: String,
    /// What it shows beside it, or a part of that.
    pub(crate) message: String,
    /// The health that the script alone gives, where Argo CD does not ask it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) script: Option<String>,
    /// What kstatus says.
    pub(crate) kstatus: String,
    /// Whether `kubectl wait --for=condition=Ready` ends.
    pub(crate) ready: bool,
}

pub(crate) fn json_of(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("JSON")
}

/// Replaces what is random: the ID of a request, the nonce of a creation, and the salted hash of a Secret.
fn replace_random(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((before, rest)) = text.split_once("(request id ")
                && let Some((_, after)) = rest.split_once(')')
            {
                *text = format!("{before}(request id R-1){after}");
            }
        }
        Value::Array(all) => all.iter_mut().for_each(replace_random),
        Value::Object(fields) => {
            fields.values_mut().for_each(replace_random);
            for random in ["nonce", "contentHash"] {
                if let Some(value) = fields.get_mut(random) {
                    *value = json!("00");
                }
            }
        }
        _ => {}
    }
}

/// An object of a state, made of what the operator writes.
pub(crate) fn object(kind: &str, name: &str, generation: i64, spec: Value, mut status: Value) -> Value {
    replace_random(&mut status);
    json!({
        "apiVersion": "disasterrecovery.dev/v1alpha1",
        "kind": kind,
        "metadata": { "name": name, "generation": generation },
        "spec": spec,
        "status": status,
    })
}

/// The object is being deleted.
pub(crate) fn deleted(mut object: Value) -> Value {
    object["metadata"]["deletionTimestamp"] = json!("2025-02-28T06:30:00Z");
    object["metadata"]["finalizers"] = json!(["disasterrecovery.dev/cloud-resource"]);
    object
}

/// What kube-apiserver shows of an object that no operator has looked at.
pub(crate) fn unseen() -> Value {
    json!({ "observedGeneration": -1 })
}

/// Every state by its file.
pub(crate) fn made() -> BTreeMap<PathBuf, Value> {
    let all = [super::accounts::states(), super::plans::states(), super::groups::states()];
    let mut files = BTreeMap::new();
    for object in all.into_iter().flatten() {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let file = folder().join(text(&object["kind"])).join(format!("{}.yaml", text(&object["metadata"]["name"])));
        assert!(files.insert(file.clone(), object).is_none(), "{} is made twice", file.display());
    }
    files
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/argocd/states")
}

/// Every file that is kept: what is expected, and the object.
pub(crate) fn kept() -> BTreeMap<PathBuf, (Expected, Value)> {
    let mut files = BTreeMap::new();
    for (kind, _) in KINDS {
        for entry in std::fs::read_dir(folder().join(kind)).expect("a folder for each kind") {
            let file = entry.expect("an entry").path();
            let text = std::fs::read_to_string(&file).expect("a file");
            let mut documents = serde_yaml::Deserializer::from_str(&text);
            let mut next = || documents.next().unwrap_or_else(|| panic!("{} has two documents", file.display()));
            let expected = Expected::deserialize(next()).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let object = Value::deserialize(next()).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            files.insert(file, (expected, object));
        }
    }
    files
}

/// Writes a state's file.
pub(crate) fn keep(file: &Path, expected: &Expected, object: &Value) {
    let yaml = |value: String| {
        // Other readers take a bare time for something else than a text.
        let quoted = value.lines().map(|line| match line.split_once(": ") {
            Some((key, time)) if time.starts_with("20") && time.ends_with('Z') => format!("{key}: '{time}'\n"),
            _ => format!("{line}\n"),
        });
        quoted.collect::<String>()
    };
    let expected = yaml(serde_yaml::to_string(expected).expect("YAML"));
    let object = yaml(serde_yaml::to_string(object).expect("YAML"));
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    std::fs::write(file, format!("{expected}---\n{object}")).expect("the file is written");
}

/// The condition of a type.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|it| it["type"] == kind)
}
