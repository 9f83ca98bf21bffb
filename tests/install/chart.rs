//! The chart and its rendered objects.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use test_support::ControlPlane;
pub(crate) use test_support::path;

/// The release and the namespace that the documentation installs.
pub(crate) const RELEASE: &str = "disaster-recovery-operator";
pub(crate) const NAMESPACE: &str = "disaster-recovery-system";

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// The folder of the chart.
pub(crate) fn chart() -> String {
    text(&path("charts/disaster-recovery-operator")).to_owned()
}

/// The files of values that show what the chart can do, by name.
pub(crate) fn value_files() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(path("charts/disaster-recovery-operator/ci")).expect("the chart has a folder ci");
    let files = folder.map(|entry| entry.expect("an entry of ci").path());
    let mut files: Vec<_> = files.filter(|file| text(file).ends_with("-values.yaml")).collect();
    files.sort();
    assert!(files.len() >= 4, "only {files:?}");
    files
}

/// The objects in a stream of YAML.
pub(crate) fn objects(yaml: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(yaml);
    let read = |document| Value::deserialize(document).unwrap_or_else(|error| panic!("{error} in\n{yaml}"));
    documents.map(read).filter(|object| !object.is_null()).collect()
}

/// What the release would be with these arguments, and the pod of `helm test`.
#[track_caller]
pub(crate) fn rendered(plane: &ControlPlane, args: &[&str]) -> String {
    let template = ["template", RELEASE, &chart(), "--namespace", NAMESPACE];
    plane.helm(&[&template[..], args].concat()).checked().expect("the chart renders")
}

/// `kind namespace/name` of an object.
pub(crate) fn name(object: &Value) -> String {
    let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    format!("{} {}/{}", of(&object["kind"]), of(&metadata["namespace"]), of(&metadata["name"]))
}

/// The annotations of what neither Argo CD nor Flux may prune.
pub(crate) fn kept() -> Value {
    json!({
        "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
        "kustomize.toolkit.fluxcd.io/prune": "disabled",
    })
}

/// What kubectl gets, as JSON.
#[track_caller]
pub(crate) fn get(plane: &ControlPlane, args: &[&str]) -> Value {
    let json = plane.kubectl(&[&["get", "-o", "json"], args].concat()).checked().expect("it is there");
    serde_json::from_str(&json).expect("JSON")
}

/// Names of what carries the release's label, of every kind that the server has, in every namespace.
pub(crate) fn labelled(plane: &ControlPlane, release: &str) -> Vec<String> {
    let kinds = plane.kubectl(&["api-resources", "--verbs=list", "-o", "name"]).checked().expect("kinds");
    let kinds: Vec<_> = kinds.lines().collect();
    let label = format!("app.kubernetes.io/instance={release}");
    let found = get(plane, &[&kinds.join(","), "--all-namespaces", "-l", &label]);
    found["items"].as_array().expect("items").iter().map(name).collect()
}
