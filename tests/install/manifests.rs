//! `deploy/` is what the chart renders: an overlay beside its `values.yaml`, object by object.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::chart::{NAMESPACE, name, objects, path, rendered, text};
use crate::support::ControlPlane;

/// What Helm alone writes.
const OF_HELM: [&str; 2] = ["helm.sh/chart", "app.kubernetes.io/managed-by"];

/// Objects by kind and name, as far as they mean something.
fn normal(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let count = objects.len();
    let all: BTreeMap<_, _> = objects
        .into_iter()
        .map(|mut object| {
            for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
                let labels = object.pointer_mut(labels).and_then(Value::as_object_mut).into_iter();
                labels.for_each(|labels| labels.retain(|label, _| !OF_HELM.contains(&label.as_str())));
            }
            let args = object.pointer_mut("/spec/template/spec/containers/0/args").and_then(Value::as_array_mut);
            if let Some(args) = args {
                for arg in args.iter_mut() {
                    // As a kubelet does with the variable of the same pod.
                    *arg = arg.as_str().expect("text").replace("$(POD_NAMESPACE)", NAMESPACE).into();
                }
                // Flags have no order.
                args[1..].sort_by_key(ToString::to_string);
            }
            (name(&object), object)
        })
        .collect();
    assert_eq!(all.len(), count, "two objects have one name");
    all
}

fn equal(folder: &str) {
    let plane = ControlPlane::shared();
    let values = path(folder).join("values.yaml");
    let args = ["-f", text(&values), "--set", "crds.install=false", "--skip-tests"];
    let wanted = normal(objects(&rendered(plane, &args)));
    let built = plane.kubectl(&["kustomize", text(&path(folder))]).checked().expect("kustomize");
    let mut found = normal(objects(&built));
    // Helm is told to make the namespace, and the definitions are those of crds/.
    let namespace = found.remove(&format!("Namespace /{NAMESPACE}")).expect("the namespace");
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    let crds = path("crds");
    let crds = plane.kubectl(&["kustomize", text(&crds)]).checked().expect("kustomize");
    for (name, definition) in normal(objects(&crds)) {
        assert_eq!(found.remove(&name), Some(definition), "{folder}: {name}");
    }
    let names = |all: &BTreeMap<String, Value>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&wanted), "{folder} and the chart have other objects: run make manifests");
    for (name, wanted) in wanted {
        let (found, wanted) = (format!("{:#}", found[&name]), format!("{wanted:#}"));
        let differing = found.lines().zip(wanted.lines()).find(|(found, wanted)| found != wanted);
        assert!(
            found == wanted,
            "{folder}: {name} differs at {differing:?}: run make manifests\n{found}\nbut\n{wanted}"
        );
    }
}

#[test]
fn the_base_is_the_chart_with_one_replica() {
    equal("deploy/base");
}

#[test]
fn the_overlay_for_high_availability_is_the_chart_as_it_comes() {
    equal("deploy/overlays/high-availability");
}

#[test]
fn the_overlay_for_a_single_namespace_is_the_chart_that_watches_its_own() {
    equal("deploy/overlays/single-namespace");
}
