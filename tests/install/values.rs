//! Refused values: typos, wrong types and contradictions, with a message that names the value.

use serde_json::{Map, Value, json};

use crate::chart::{NAMESPACE, RELEASE, chart, objects, path, rendered, text, value_files};
use test_support::ControlPlane;

/// Maps whose keys are the user's or Kubernetes' own.
const FREE: [&str; 9] = [
    "commonLabels",
    "annotations",
    "labels",
    "nodeSelector",
    "podAnnotations",
    "podLabels",
    "affinity",
    "requests",
    "limits",
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
fn typo_at_any_level_is_refused_with_path() {
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
fn wrong_type_is_refused_with_path() {
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

/// A null takes a key away, its default too.
#[test]
fn null_is_refused_with_path_or_ignored() {
    let groups = |values: &Value| -> Vec<String> {
        let groups = values.as_object().expect("a map").iter();
        groups.filter(|(key, it)| it.is_object() && !FREE.contains(&key.as_str())).map(|it| it.0.clone()).collect()
    };
    // The pod has no such fields.
    let may_go = ["resources", "podSecurityContext", "securityContext", "livenessProbe", "readinessProbe"];
    let defaults = defaults();
    let mut pointers = vec![String::new()];
    let mut refused_groups = 0;
    while let Some(at) = pointers.pop() {
        let inner = groups(defaults.pointer(&at).expect("a group"));
        let inner: Vec<_> = inner.into_iter().filter(|key| !may_go.contains(&key.as_str())).collect();
        let mut values = defaults.clone();
        for key in &inner {
            values.pointer_mut(&at).expect("a group")[key] = Value::Null;
            pointers.push(format!("{at}/{key}"));
        }
        if !inner.is_empty() {
            let said = refused_values(&values);
            let place = said.lines().find(|line| line.contains(&format!("at '{at}': missing propert")));
            let place = place.unwrap_or_else(|| panic!("{at}: {said}"));
            assert!(inner.iter().all(|key| place.contains(&format!("'{key}'"))), "{at}: {inner:?}: {said}");
            refused_groups += inner.len();
        }
    }
    assert!(refused_groups > 15, "{refused_groups}");

    // All others at once: required ones are named, and the chart renders without the rest.
    let mut values = defaults.clone();
    maps("", values.as_object_mut().expect("a map"), &mut |at, map| {
        let nullable = |key: &str| at != "/podDisruptionBudget" || key == "minAvailable";
        map.iter_mut().filter(|(key, it)| !it.is_object() && nullable(key)).for_each(|it| *it.1 = Value::Null);
    });
    let said = refused_values(&values);
    let mut refused_leaves = 0;
    maps("", values.as_object_mut().expect("a map"), &mut |at, map| {
        let line = said.lines().find(|line| line.contains(&format!("at '{at}': missing propert"))).unwrap_or_default();
        for (key, value) in map.iter_mut().filter(|it| it.1.is_null()) {
            if line.contains(&format!("'{key}'")) {
                *value = defaults.pointer(&format!("{at}/{key}")).expect("a default").clone();
                refused_leaves += 1;
            }
        }
    });
    assert!(refused_leaves > 20, "{refused_leaves}: {said}");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), values.to_string()).expect("it is written");
    let nulls = objects(&rendered(ControlPlane::shared(), &["-f", text(file.path())]));
    assert!(nulls.iter().any(|it| it["kind"] == "Deployment"), "{nulls:?}");
}

#[test]
fn extra_arguments_with_a_dedicated_value_are_refused() {
    let mut flags = std::collections::BTreeSet::new();
    for file in value_files() {
        let given = std::fs::read_to_string(&file).expect("values");
        let given: Value = serde_yaml::from_str(&given).expect("YAML");
        let further = given["extraArgs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let all = objects(&rendered(ControlPlane::shared(), &["-f", text(&file)]));
        let deployment = all.iter().find(|it| it["kind"] == "Deployment").expect("a deployment");
        let args = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
        for arg in args.as_array().expect("arguments").iter().skip(1).filter(|arg| !further.contains(arg)) {
            let arg = arg.as_str().expect("text");
            flags.insert(arg.split('=').next().unwrap_or(arg).to_owned());
        }
    }
    assert!(flags.len() > 20, "{flags:?}");
    let said = refused_values(&json!({ "extraArgs": flags }));
    let reported: Vec<_> = said.split([' ', ',', '.', '\n']).collect();
    let accepted: Vec<_> = flags.iter().filter(|flag| !reported.contains(&flag.as_str())).collect();
    assert!(accepted.is_empty(), "{accepted:?}: {said}");
}

#[test]
fn invalid_service_name_is_refused() {
    let plane = ControlPlane::shared();
    for release in ["9-disaster-recovery-operator", "a.disaster-recovery-operator", "9lives"] {
        let error = plane.helm(&["template", release, &chart()]).checked().expect_err("it is refused");
        let error = format!("{error:#}");
        assert!(error.contains("is no name for a Service") && error.contains("set fullnameOverride"), "{error}");
        plane.helm(&["template", release, &chart(), "--set", "fullnameOverride=dr"]).checked().expect("another name");
    }
}

/// Each file of `ci/refused` begins with the words that are said.
#[test]
fn invalid_values_are_refused_with_a_helpful_message() {
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
