//! `deploy/` is what the chart renders: an overlay beside its `values.yaml`, object by object.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::chart::{NAMESPACE, RELEASE, chart, get, kept, labelled, name, objects, path, rendered, text};
use test_support::{ControlPlane, Options};

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
    // Helm creates the namespace, and the definitions are those of crds/.
    let namespace = found.remove(&format!("Namespace /{NAMESPACE}")).expect("the namespace");
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    assert_eq!(namespace["metadata"]["annotations"], kept(), "{folder}");
    let crds = path("crds");
    let crds = plane.kubectl(&["kustomize", text(&crds)]).checked().expect("kustomize");
    for (name, definition) in normal(objects(&crds)) {
        assert_eq!(definition["metadata"]["annotations"], kept(), "{folder}: {name}");
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
fn high_availability_overlay_equals_default_chart() {
    equal("deploy/overlays/high-availability");
}

#[test]
fn single_namespace_overlay_equals_chart_for_own_namespace() {
    equal("deploy/overlays/single-namespace");
}

/// The blocks of YAML of a page, also those within lists.
fn shown(page: &str) -> Vec<String> {
    let page = std::fs::read_to_string(path(page)).expect("a page");
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```")).map(|it| it.0);
    let unindented = |block: &str| {
        let indent = block.len() - block.trim_start().len();
        block.lines().map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect()
    };
    blocks.map(unindented).collect()
}

/// The output of a kustomization in a folder beside `deploy/`, with the files that it names.
fn built(kustomization: &str, files: &[(&str, &str)]) -> String {
    // Kustomize takes relative paths only; more steps up than there are end at the root.
    let deploy = format!("{}{}", "../".repeat(32), text(&path("deploy")).trim_start_matches('/'));
    let folder = tempfile::tempdir().expect("a folder");
    let kustomization = kustomization.replace("../deploy", &deploy);
    for (name, content) in [&[("kustomization.yaml", &*kustomization)], files].concat() {
        std::fs::write(folder.path().join(name), content).expect("it is written");
    }
    ControlPlane::shared().kubectl(&["kustomize", text(folder.path())]).checked().expect("kustomize")
}

#[test]
fn single_namespace_overlay_installs_in_another_namespace_only() {
    let shown = shown("docs/installation.md");
    let kustomization = shown.iter().find(|block| block.contains("\nnamespace: team-a\n")).expect("a kustomization");
    let built = built(kustomization, &[]);
    for object in objects(&built) {
        let of_cluster = ["CustomResourceDefinition", "Namespace"].iter().any(|kind| object["kind"] == *kind);
        assert!(of_cluster || object["metadata"]["namespace"] == "team-a", "{}", name(&object));
        let subjects = object["subjects"].as_array().into_iter().flatten();
        assert!(subjects.map(|it| &it["namespace"]).all(|it| it == "team-a"), "{object:#}");
    }
    assert!(!built.contains(NAMESPACE) && built.contains("\n  name: team-a\n"), "the namespace itself is another");
    let args = built.lines().map(str::trim).filter(|line| line.starts_with("- --"));
    let args: Vec<_> = args.filter(|arg| arg.contains("cluster-id") || arg.contains("namespace")).collect();
    assert_eq!(args, ["- --namespace=$(POD_NAMESPACE)", "- --cluster-id=production-1"]);
}

#[test]
fn kustomizations_in_docs_change_the_installation() {
    let container = |built: &str| {
        let deployment = objects(built).into_iter().find(|it| it["kind"] == "Deployment").expect("a deployment");
        deployment["spec"]["template"]["spec"]["containers"][0].clone()
    };
    let installation = shown("docs/installation.md");
    let image = installation.iter().find(|block| block.contains("\nimages:\n")).expect("a kustomization");
    assert_eq!(container(&built(image, &[]))["image"], "registry.example.com/disaster-recovery-operator:0.1.0");

    let accounts = shown("docs/accounts.md");
    let block = |part: &str| accounts.iter().find(|block| block.contains(part)).expect("it is shown");
    let rrsa = container(&built(block("- path: rrsa.yaml"), &[("rrsa.yaml", block("kind: Deployment"))]));
    let args = rrsa["args"].as_array().expect("arguments");
    assert!(args.iter().any(|arg| arg == "--sts-endpoint=https://sts.cn-shanghai.aliyuncs.com"), "{args:?}");
    assert!(!args.iter().any(|arg| arg.to_string().contains("credentials-secret")), "{args:?}");
    assert_eq!(rrsa["env"].as_array().map(Vec::len), Some(6), "{rrsa:#}");
}

#[test]
fn argo_cd_and_flux_releases_in_docs_render() {
    let gitops = shown("docs/gitops.md");
    let flux = gitops.iter().find(|block| block.contains("kind: HelmRelease")).expect("a release");
    let application = std::fs::read_to_string(path("deploy/argocd/application.yaml")).expect("an application");
    for (manifest, release, namespace, values) in [
        (flux, "/spec/releaseName", "/spec/targetNamespace", "/spec/values"),
        (
            &application,
            "/spec/source/helm/releaseName",
            "/spec/destination/namespace",
            "/spec/source/helm/valuesObject",
        ),
    ] {
        let manifest: Value = serde_yaml::from_str(manifest).expect("YAML");
        let at = |pointer: &str| manifest.pointer(pointer).unwrap_or_else(|| panic!("{pointer} in {manifest:#}"));
        assert_eq!((at(release), at(namespace)), (&json!(RELEASE), &json!(NAMESPACE)));
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), at(values).to_string()).expect("it is written");
        let objects = objects(&rendered(ControlPlane::shared(), &["-f", text(file.path())]));
        let image = at(values).pointer("/image/repository").expect("no image is published").as_str().expect("text");
        let deployment = objects.iter().find(|it| it["kind"] == "Deployment").expect("a deployment");
        let found = deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().expect("an image");
        assert!(found.starts_with(&format!("{image}:")), "{found}");
    }
}

#[test]
fn helm_adopts_or_removes_manifests_as_documented() {
    let plane = &ControlPlane::start(Options::default()).expect("a control plane");
    let apply = |folder: &str| plane.kubectl(&["apply", "-k", text(&path(folder))]).checked().expect("applied");
    let page = std::fs::read_to_string(path("docs/installation.md")).expect("a page");
    let commands = |before: &str| -> Vec<Vec<String>> {
        let block = page.split_once(before).and_then(|it| it.1.split_once("```sh\n")).expect("commands").1;
        let block = block.split("```").next().unwrap_or_default().replace("\\\n", "");
        block.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };

    apply("deploy");
    let uid = || get(plane, &["deployment", RELEASE, "-n", NAMESPACE])["metadata"]["uid"].clone();
    let before = uid();
    for command in commands("From plain manifests to Helm") {
        assert_eq!(command[0], "helm");
        let args: Vec<_> =
            command[1..].iter().map(|arg| arg.replace("charts/disaster-recovery-operator", &chart())).collect();
        plane.helm(&args).checked().expect("helm takes it over");
    }
    assert_eq!(uid(), before);
    plane.helm(&["uninstall", RELEASE, "-n", NAMESPACE]).checked().expect("helm uninstall");
    assert_eq!(labelled(plane, RELEASE).len(), 3, "the definitions stay");

    apply("deploy/overlays/high-availability");
    apply("deploy/overlays/single-namespace");
    let removing = commands("and keep them:");
    assert_eq!(removing.len(), 3);
    for command in removing {
        assert_eq!(command[0], "kubectl");
        let deleted = plane.kubectl(&command[1..]).checked().expect("deleted");
        assert!(deleted.contains(" deleted"), "{command:?}: {deleted}");
    }
    let left = labelled(plane, RELEASE);
    assert!(left.iter().all(|name| name.starts_with("CustomResourceDefinition ")), "{left:?}");
    get(plane, &["drp,drg,aca", "--all-namespaces"]);
}
