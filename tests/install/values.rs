//! What the chart refuses: typos, wrong types and values that make no sense together, with a message that names the value.

use serde_json::{Map, Value, json};

use crate::chart::{NAMESPACE, RELEASE, chart, path, text};
use crate::support::ControlPlane;

/// Maps whose keys are the user's or Kubernetes' own.
const FREE: [&str; 10] = [
    "commonLabels",
    "annotations",
    "labels",
    "nodeSelector",
    "podAnnotations",
    "podLabels",
    "affinity",
    "resources",
    "podSecurityContext",
    "securityContext",
];

fn defaults() -> Value {
    let values = std::fs::read_to_string(path("charts/disaster-recovery-operator/values.yaml")).expect("values");
    serde_yaml::from_str(&values).expect("YAML")
}

/// Why the chart does not render with these arguments.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let template = ["template", RELEASE, &chart(), "--namespace", NAMESPACE];
    match ControlPlane::shared().helm(&[&template[..], args].concat()).checked() {
        Ok(_) => panic!("{args:?} is accepted"),
        Err(error) => format!("{error:#}"),
    }
}

#[track_caller]
fn refused_values(values: &Value) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    // JSON is YAML as well.
    std::fs::write(file.path(), values.to_string()).expect("it is written");
    refused(&["-f", text(file.path())])
}

/// Visits every map of values with fixed keys, by its JSON pointer.
fn maps(at: &str, values: &mut Map<String, Value>, visit: &mut impl FnMut(&str, &mut Map<String, Value>)) {
    for (key, value) in values.iter_mut().filter(|(key, _)| !FREE.contains(&key.as_str())) {
        if let Value::Object(map) = value {
            maps(&format!("{at}/{key}"), map, visit);
        }
    }
    visit(at, values);
}

#[test]
fn a_typo_at_every_level_is_refused_by_its_place() {
    let mut values = defaults();
    values["imagePullSecrets"] = json!([{ "name": "registry", "typo": 1 }]);
    values["tenantTokens"] = json!([{ "namespace": "team-a", "serviceAccount": "dr", "typo": 1 }]);
    let mut places = vec!["/imagePullSecrets/0".to_owned(), "/tenantTokens/0".to_owned()];
    maps("", values.as_object_mut().expect("a map"), &mut |at, map| {
        map.insert("typo".to_owned(), json!(1));
        places.push(at.to_owned());
    });
    assert!(places.len() > 20, "{places:?}");
    let said = refused_values(&values);
    for place in places {
        assert!(said.contains(&format!("at '{place}': additional properties 'typo' not allowed")), "{place}: {said}");
    }
}

#[test]
fn a_value_of_another_type_is_refused_by_its_place() {
    let mut values = defaults();
    let mut places = Vec::new();
    maps("", values.as_object_mut().expect("a map"), &mut |at, map| {
        for (key, value) in map {
            let is_map = value.is_object() && !FREE.contains(&key.as_str());
            if !is_map {
                // Nothing takes this number but a number, and this text where one is taken.
                *value = if value.is_number() || value.is_null() { json!("many of them") } else { json!(0.5) };
                places.push(format!("{at}/{key}"));
            }
        }
    });
    assert!(places.len() > 60, "{places:?}");
    let said = refused_values(&values);
    let accepted: Vec<_> = places.iter().filter(|place| !said.contains(&format!("at '{place}'"))).collect();
    assert!(accepted.is_empty(), "{accepted:?} are accepted: {said}");

    let Value::Object(all) = defaults() else { panic!("values are a map") };
    let maps: Map<_, _> = all.into_iter().filter(|it| it.1.is_object()).map(|it| (it.0, json!("text"))).collect();
    let said = refused_values(&Value::Object(maps.clone()));
    for key in maps.keys() {
        assert!(said.contains(&format!("at '/{key}': got string, want object")), "{key}: {said}");
    }
}

/// Each file of `ci/refused` begins with the words that are said.
#[test]
fn values_that_make_no_sense_are_refused_with_the_words_that_help() {
    let folder = std::fs::read_dir(path("charts/disaster-recovery-operator/ci/refused")).expect("a folder");
    let files: Vec<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
    assert!(files.len() >= 30, "{files:?}");
    for file in files {
        let values = std::fs::read_to_string(&file).expect("values");
        let words = values.lines().next().and_then(|line| line.strip_prefix("# refused: "));
        let words = words.unwrap_or_else(|| panic!("{} does not begin with `# refused: `", file.display()));
        let said = refused(&["-f", text(&file)]);
        assert!(said.contains(words), "{}: {said}", file.display());
    }
}
