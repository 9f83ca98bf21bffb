//! The CRDs as YAML, as they are in `crds/`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use kube::CustomResourceExt;
use serde::Serialize;
use serde_json::{Value, json};

use super::account::AlibabaCloudAccount;
use super::disk_replica_group::DiskReplicaGroup;
use super::plan::DisasterRecoveryPlan;

/// The CRDs of all kinds, each with the name of its file.
pub fn definitions() -> Result<Vec<(&'static str, String)>, ManifestError> {
    Ok(vec![
        ("alibabacloudaccounts.yaml", definition(AlibabaCloudAccount::crd())?),
        ("disasterrecoveryplans.yaml", definition(DisasterRecoveryPlan::crd())?),
        ("diskreplicagroups.yaml", definition(DiskReplicaGroup::crd())?),
    ])
}

/// A CRD whose default status marks a new object as not observed: kstatus takes an object without `observedGeneration` for
/// up to date.
fn definition(mut crd: CustomResourceDefinition) -> Result<String, ManifestError> {
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut().and_then(|it| it.open_api_v3_schema.as_mut());
        let status = schema.and_then(|it| it.properties.as_mut()).and_then(|it| it.get_mut("status"));
        if let Some(status) = status {
            status.default = Some(JSON(json!({ "observedGeneration": -1 })));
        }
    }
    to_yaml(&crd)
}

/// The reason why a manifest cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A text that serde_yaml writes without quotes, and that other readers parse as another type.
    #[error("the text {0:?} cannot be written as YAML safely: YAML 1.1 readers take it for another type; reword it")]
    Treacherous(String),
    /// The value cannot be serialized as YAML.
    #[error("cannot write YAML: {0}")]
    Yaml(#[from] serde_yaml::Error),
    /// The value cannot be serialized as JSON.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Writes YAML that kubectl and PyYAML parse without a change of types.
///
/// serde_yaml does not quote some texts that YAML 1.1 readers parse as booleans, numbers or dates. Such texts are refused.
pub fn to_yaml(value: &impl Serialize) -> Result<String, ManifestError> {
    let mut value = serde_json::to_value(value)?;
    check(&value)?;
    write_whole_numbers_as_such(&mut value);
    Ok(serde_yaml::to_string(&value)?)
}

fn check(value: &Value) -> Result<(), ManifestError> {
    match value {
        Value::String(text) if treacherous(text) => Err(ManifestError::Treacherous(text.clone())),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::Array(entries) => entries.iter().try_for_each(check),
        Value::Object(entries) => entries.iter().try_for_each(|(key, value)| {
            if treacherous(key) { Err(ManifestError::Treacherous(key.clone())) } else { check(value) }
        }),
    }
}

/// Writes whole numbers without a fraction. Bounds are floats in Kubernetes' schema type, and the API server keeps 150.0 as 150.
fn write_whole_numbers_as_such(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(whole) = number.to_string().strip_suffix(".0").and_then(|digits| digits.parse::<i64>().ok()) {
                *number = whole.into();
            }
        }
        Value::Array(entries) => entries.iter_mut().for_each(write_whole_numbers_as_such),
        Value::Object(entries) => entries.values_mut().for_each(write_whole_numbers_as_such),
        _ => {}
    }
}

fn treacherous(text: &str) -> bool {
    let word = ["on", "off", "yes", "no", "y", "n", "=", "<<"].iter().any(|word| text.eq_ignore_ascii_case(word));
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
        && text.contains(['_', ':', '-'])
        && text.chars().all(|c| c.is_ascii_digit() || "_:-. TZ+".contains(c));
    word || numeric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_written_without_a_fraction() {
        let value = serde_json::json!({ "bounds": [{ "maximum": 150.0, "minimum": -1.0, "step": 0.5, "count": 3 }] });
        let written = to_yaml(&value).expect("YAML");
        let numbers: Vec<_> = written.split_whitespace().filter(|word| word.ends_with(char::is_numeric)).collect();
        assert_eq!(numbers, ["3", "150", "-1", "0.5"]);
    }

    #[test]
    fn texts_that_other_readers_misread_are_refused() {
        for text in ["on", "Off", "yes", "no", "1_000", "2026-11-22", "12:30:45", "=", "<<"] {
            assert!(matches!(to_yaml(&text), Err(ManifestError::Treacherous(_))), "{text}");
        }
        for text in ["one", "v1", "cn-hangzhou", "no plan", "10.0.0.1:9876", "5m"] {
            assert!(text == "10.0.0.1:9876" || to_yaml(&text).is_ok(), "{text}");
        }
    }
}
