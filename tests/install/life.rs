//! A release from its installation to its end, on a control plane of its own: definitions are the cluster's.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use crate::chart::{NAMESPACE, RELEASE, chart, get, labelled, path, text};
use crate::{history, job};
use test_support::installation::{Cloud, Operator};
use test_support::{ControlPlane, Options};

/// The plural names of our kinds.
const KINDS: [&str; 3] = ["alibabacloudaccounts", "disasterrecoveryplans", "diskreplicagroups"];

/// The part of an object that changes only with an edit.
fn identities(objects: &[Value]) -> Vec<[&Value; 3]> {
    objects.iter().map(|it| [&it["metadata"]["uid"], &it["spec"], &it["status"]]).collect()
}

fn definitions(plane: &ControlPlane) -> Vec<Value> {
    let all = KINDS.map(|plural| get(plane, &["crd", &format!("{plural}.disasterrecovery.dev")]));
    all.to_vec()
}

/// What a definition says, without what the server adds.
fn meaning(definition: &Value) -> Value {
    let mut spec = definition["spec"].clone();
    spec.as_object_mut().expect("a spec").remove("conversion");
    spec["names"].as_object_mut().expect("names").remove("listKind");
    spec
}

#[test]
fn default_release_works_and_keeps_definitions_and_objects() {
    let plane = &ControlPlane::start(Options::default()).expect("a control plane");
    let install = ["install", RELEASE, &chart(), "--namespace", NAMESPACE, "--create-namespace"];
    let reported = plane.helm(&install).checked().expect("helm install");
    let notes = plane.helm(&["get", "notes", RELEASE, "--namespace", NAMESPACE]).checked().expect("notes");
    assert!(notes.lines().count() > 3 && notes.contains("kubectl") && !notes.contains("<no value>"), "{notes}");
    assert!(reported.contains(notes.lines().last().expect("a line")), "{reported}");
    let cloud = Cloud::start();
    let operator = Operator::start(plane, NAMESPACE, RELEASE, &cloud);
    let tenant = job::tenant(plane, "tenant");
    job::becomes_ready(plane, &tenant);
    assert_eq!(cloud.holds(), (1, 1));
    job::is_deleted(plane, [&tenant], &cloud);
    let hooks = plane.helm(&["get", "hooks", RELEASE, "--namespace", NAMESPACE]).checked().expect("hooks");
    let test: Pod = serde_yaml::from_str(&hooks).expect("the pod of helm test");
    assert_eq!(operator.tested(test.spec.as_ref().expect("a pod")), (true, String::new()));
    // These stay.
    let tenant = job::tenant(plane, "tenant");
    job::becomes_ready(plane, &tenant);
    operator.stop();
    let before = (definitions(plane), job::objects(plane, &tenant));
    assert!(labelled(plane, RELEASE).len() > KINDS.len(), "the release is labelled");

    let reported = plane.helm(&["uninstall", RELEASE, "--namespace", NAMESPACE]).checked().expect("helm uninstall");
    let kept = KINDS.map(|plural| format!("{plural}.disasterrecovery.dev"));
    assert!(kept.iter().all(|name| reported.contains(&format!("[CustomResourceDefinition] {name}"))), "{reported}");
    assert_eq!(labelled(plane, RELEASE), kept.map(|name| format!("CustomResourceDefinition /{name}")));
    let after = (definitions(plane), job::objects(plane, &tenant));
    assert_eq!(identities(&after.0), identities(&before.0));
    assert_eq!(identities(&after.1), identities(&before.1));
    assert_eq!(cloud.holds(), (1, 1));

    // The same release takes the definitions back, and its operator the objects.
    plane.helm(&install).checked().expect("installed again");
    let operator = Operator::start(plane, NAMESPACE, RELEASE, &cloud);
    job::becomes_ready(plane, &tenant);
    assert_eq!(identities(&definitions(plane)), identities(&before.0));
    job::is_deleted(plane, [&tenant], &cloud);
    operator.stop();
    plane.helm(&["uninstall", RELEASE, "--namespace", NAMESPACE]).checked().expect("helm uninstall");
    another_release_asks_for_the_definitions(plane, &before.0);
}

/// Of definitions that a release left behind.
fn another_release_asks_for_the_definitions(plane: &ControlPlane, definitions_before: &[Value]) {
    let owner = || definitions(plane)[0]["metadata"]["labels"]["app.kubernetes.io/instance"].clone();
    let install = |more: &[&str]| {
        let install = ["install", "other", &chart(), "--namespace", "elsewhere", "--create-namespace"];
        plane.helm(&[&install[..], more].concat()).checked()
    };
    let refused = install(&[]).expect_err("they are another release's").to_string();
    assert!(refused.contains("cannot be imported into the current release"), "{refused}");
    install(&["--set", "crds.install=false"]).expect("without the definitions");
    assert_eq!(owner(), RELEASE);
    plane.helm(&["uninstall", "other", "--namespace", "elsewhere"]).checked().expect("helm uninstall");
    install(&["--take-ownership"]).expect("with them");
    assert_eq!(owner(), "other");
    assert_eq!(identities(&definitions(plane)), identities(definitions_before));
}

/// Whether `after` has every field of `before`, with its value.
fn keeps(after: &Value, before: &Value) -> bool {
    match (after, before) {
        (Value::Object(after), Value::Object(before)) => {
            before.iter().all(|(key, value)| after.get(key).is_some_and(|it| keeps(it, value)))
        }
        (Value::Array(after), Value::Array(before)) => {
            after.len() == before.len() && after.iter().zip(before).all(|(after, before)| keeps(after, before))
        }
        _ => after == before,
    }
}

#[test]
fn upgrade_updates_definitions_and_keeps_objects() {
    let plane = &ControlPlane::start(Options::default()).expect("a control plane");
    let folder = tempfile::tempdir().expect("a folder");
    let previous = history::previous(folder.path());
    let install = ["install", RELEASE, text(&previous.chart), "--namespace", NAMESPACE, "--create-namespace"];
    plane.helm(&[&install[..], &previous.values].concat()).checked().expect("the previous chart");
    // Stored with the defaults of the previous definitions. No operator runs yet: this one writes fields of status that they do not
    // have, which the server refuses.
    let tenant = job::tenant(plane, "tenant");
    let deployment = || get(plane, &["deployment", RELEASE, "-n", NAMESPACE]);
    let before = (definitions(plane), job::objects(plane, &tenant), deployment());

    plane.helm(&["upgrade", RELEASE, &chart(), "--namespace", NAMESPACE]).checked().expect("helm upgrade");
    let after = (definitions(plane), job::objects(plane, &tenant), deployment());
    for (plural, definition) in KINDS.iter().zip(&after.0) {
        let file = std::fs::read_to_string(path("crds").join(format!("{plural}.yaml"))).expect("a definition");
        let wanted: Value = serde_yaml::from_str(&file).expect("YAML");
        assert_eq!(meaning(definition), meaning(&wanted), "{plural}");
    }
    let uids = |all: &[Value]| all.iter().map(|it| it["metadata"]["uid"].clone()).collect::<Vec<_>>();
    assert_ne!(identities(&after.0), identities(&before.0), "there was nothing to upgrade");
    assert_eq!(uids(&after.0), uids(&before.0), "the definitions were changed in place");
    assert_eq!(uids(&after.1), uids(&before.1));
    // A definition may add defaults; what is stored stays.
    for (after, before) in after.1.iter().zip(&before.1) {
        assert!(keeps(&after["spec"], &before["spec"]), "{after:#} {before:#}");
    }
    assert_eq!(after.2["metadata"]["uid"], before.2["metadata"]["uid"]);
    assert_eq!(after.2["spec"]["selector"], before.2["spec"]["selector"]);

    // Without leader election and back: what the server filled in for the one must not stand in the way of the other.
    for (enabled, strategy) in [("false", "Recreate"), ("true", "RollingUpdate")] {
        let values = format!("replicaCount=1,leaderElection.enabled={enabled}");
        let upgrade = ["upgrade", RELEASE, &chart(), "--namespace", NAMESPACE, "--set", &values];
        plane.helm(&upgrade).checked().expect("helm upgrade");
        assert_eq!(deployment()["spec"]["strategy"]["type"], strategy);
    }

    let cloud = Cloud::start();
    let operator = Operator::start(plane, NAMESPACE, RELEASE, &cloud);
    job::becomes_ready(plane, &tenant);
    assert_eq!(cloud.holds(), (1, 1));
    job::is_deleted(plane, [&tenant], &cloud);
    operator.stop();
}
