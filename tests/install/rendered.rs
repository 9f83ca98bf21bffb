//! What the chart renders from the values of `ci/`: accepted by the real API server without a warning, and with few permissions.

use std::process::Command;

use disaster_recovery_operator::controller::shard::Shard;
use serde_json::{Value, json};

use crate::chart::{NAMESPACE, chart, kept, name, objects, path, rendered, text, value_files};
use crate::monitoring;
use test_support::{ControlPlane, eventually_blocking};

/// What is rendered without any value, and by each file of `ci/`, with the file's values.
fn matrix(plane: &ControlPlane) -> Vec<(String, Value, Vec<Value>)> {
    let mut all = vec![("no value".to_owned(), json!({}), objects(&rendered(plane, &[])))];
    for file in value_files() {
        let values = std::fs::read_to_string(&file).expect("values");
        let values: Value = serde_yaml::from_str(&values).expect("YAML");
        all.push((text(&file).to_owned(), values, objects(&rendered(plane, &["-f", text(&file)]))));
    }
    all
}

fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

#[test]
fn lint_finds_nothing() {
    let plane = ControlPlane::shared();
    plane.helm(&["lint", "--strict", &chart()]).checked().expect("no value");
    for file in value_files() {
        let linted = plane.helm(&["lint", "--strict", &chart(), "-f", text(&file)]).checked();
        linted.unwrap_or_else(|error| panic!("{}: {error:#}", file.display()));
    }
}

#[test]
fn server_accepts_rendered_manifests_without_warning() {
    let plane = ControlPlane::shared();
    monitoring::define(plane);
    let mut matrix = matrix(plane);
    let monitoring = plane.kubectl(&["kustomize", text(&path("deploy/monitoring"))]).checked().expect("kustomize");
    matrix.push(("deploy/monitoring".to_owned(), json!({}), objects(&monitoring)));
    // Where the operator is installed the strictest standard is enforced, and a Deployment that breaks it is warned about.
    let namespaces = matrix.iter().flat_map(|it| &it.2).filter_map(|object| object["metadata"]["namespace"].as_str());
    for namespace in namespaces.collect::<std::collections::BTreeSet<_>>() {
        let labels =
            ["enforce", "warn"].map(|mode| (format!("pod-security.kubernetes.io/{mode}"), json!("restricted")));
        let labels: serde_json::Map<_, _> = labels.into_iter().collect();
        let object =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace, "labels": labels } });
        plane.apply_yaml(&object.to_string()).expect("a namespace");
    }
    for (values, _, objects) in &matrix {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
        let apply =
            ["apply", "--server-side", "--force-conflicts", "--field-manager=dry", "--dry-run=server", "-f", "-"];
        let answer = eventually_blocking(test_support::installation::DEADLINE, "the kinds are listed", || {
            let answer = plane.kubectl_stdin(&apply, &list);
            (!answer.stderr.contains("no matches for kind")).then_some(answer)
        });
        assert!(!answer.stderr.contains("Warning"), "{values}: {}", answer.stderr);
        let accepted = answer.checked().unwrap_or_else(|error| panic!("{values}: {error:#}"));
        assert_eq!(accepted.lines().filter(|line| line.ends_with("(server dry run)")).count(), objects.len());
        // The standard is enforced on pods, which the server does not see before a controller creates them.
        for deployment in of_kind(objects, "Deployment") {
            let mut pod = deployment["spec"]["template"].clone();
            pod["apiVersion"] = json!("v1");
            pod["kind"] = json!("Pod");
            pod["metadata"]["name"] = json!("the-pod");
            let create = ["create", "--dry-run=server", "-n", NAMESPACE, "-f", "-"];
            let answer = plane.kubectl_stdin(&create, &pod.to_string());
            assert!(answer.status.success() && !answer.stderr.contains("Warning"), "{values}: {}", answer.stderr);
        }
    }
    let kinds: Vec<_> = matrix.iter().flat_map(|it| &it.2).filter_map(|object| object["kind"].as_str()).collect();
    let shards = |values: &Value| values["shards"].as_u64().unwrap_or(1);
    // deploy/monitoring has none.
    let deployments = matrix.iter().map(|it| shards(&it.1)).sum::<u64>() - 1;
    assert_eq!(kinds.iter().filter(|kind| **kind == "Deployment").count() as u64, deployments);
    for kind in ["ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "PrometheusRule", "ServiceMonitor", "Service"] {
        assert!(kinds.contains(&kind), "no values of ci/ make a {kind}");
    }
}

#[test]
fn rbac_has_no_wildcard_and_lists_no_secret() {
    let plane = ControlPlane::shared();
    let (mut rules, mut narrow) = (0, 0);
    for (values, given, objects) in matrix(plane) {
        assert_eq!(of_kind(&objects, "Secret").count(), 0, "{values}");
        for role in objects.iter().filter(|it| it["kind"] == "ClusterRole" || it["kind"] == "Role") {
            for rule in role["rules"].as_array().expect("rules") {
                let words = |field: &str| -> Vec<&str> {
                    rule[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
                };
                let all = ["verbs", "resources", "apiGroups", "nonResourceURLs", "resourceNames"].map(words);
                assert!(all.iter().flatten().all(|word| !word.contains('*')), "{values}: {} {rule}", name(role));
                if all[1].iter().any(|resource| resource.starts_with("secrets")) {
                    assert_eq!(
                        (&all[0][..], &all[1][..]),
                        (&["get"][..], &["secrets"][..]),
                        "{values}: {}",
                        name(role)
                    );
                }
                let powers = ["bind", "escalate", "impersonate"];
                assert!(!all[0].iter().any(|verb| powers.contains(verb)), "{values}: {} {rule}", name(role));
                rules += 1;
            }
        }
        if given["watchNamespaces"].as_array().is_some_and(|it| !it.is_empty()) {
            let cluster = ["ClusterRole", "ClusterRoleBinding"].map(|kind| of_kind(&objects, kind).count());
            assert_eq!(cluster, [0, 0], "{values}");
            narrow += 1;
        }
    }
    assert!(rules > 20 && narrow > 0, "{rules} rules, {narrow} times for some namespaces");
}

#[test]
fn numeric_looking_name_is_a_string() {
    let args = ["--set-string", "serviceAccount.name=1234,priorityClassName=5678"];
    let all = objects(&rendered(ControlPlane::shared(), &args));
    let subjects: Vec<_> = all.iter().filter_map(|it| it["subjects"].as_array()).flatten().collect();
    assert_eq!(subjects.len(), 2);
    assert!(subjects.iter().all(|it| it["name"] == "1234"), "{subjects:?}");
    let pod = &of_kind(&all, "Deployment").next().expect("a deployment")["spec"]["template"]["spec"];
    assert_eq!((&pod["serviceAccountName"], &pod["priorityClassName"]), (&json!("1234"), &json!("5678")));
    assert_eq!(of_kind(&all, "ServiceAccount").next().expect("an account")["metadata"]["name"], "1234");
}

/// Whether labels have all of a selector.
fn selects(selector: &Value, labels: &Value) -> bool {
    let selector = selector.as_object().expect("a selector");
    !selector.is_empty() && selector.iter().all(|(label, value)| labels[label] == *value)
}

fn matched(object: &Value) -> &Value {
    &object["spec"]["selector"]["matchLabels"]
}

#[test]
fn each_shard_has_its_own_pods_and_lease() {
    let all = objects(&rendered(
        ControlPlane::shared(),
        &["--set", "fullnameOverride=dr,shards=3,metrics.serviceMonitor.enabled=true"],
    ));
    let deployments: Vec<_> = of_kind(&all, "Deployment").collect();
    let pods: Vec<_> = deployments.iter().map(|it| &it["spec"]["template"]["metadata"]["labels"]).collect();
    let selectors = |kind, at: fn(&Value) -> &Value| -> Vec<_> {
        let all: Vec<_> = of_kind(&all, kind).map(at).collect();
        assert_eq!(all.len(), 3, "{kind}");
        all
    };
    for kind in ["Deployment", "PodDisruptionBudget"] {
        for (number, selector) in selectors(kind, matched).into_iter().enumerate() {
            let own: Vec<_> = pods.iter().map(|labels| selects(selector, labels)).collect();
            assert_eq!(own, [0, 1, 2].map(|it| it == number), "{kind} {number}");
        }
    }
    let services: Vec<_> = of_kind(&all, "Service").map(|it| &it["metadata"]["labels"]).collect();
    for (number, selector) in selectors("Service", |it| &it["spec"]["selector"]).into_iter().enumerate() {
        assert!(selects(selector, pods[number]), "Service {number}");
        assert!(selects(selectors("ServiceMonitor", matched)[number], services[number]), "ServiceMonitor {number}");
    }

    let flag = |number: usize, name: &str| {
        let args = deployments[number]["spec"]["template"]["spec"]["containers"][0]["args"].as_array().expect("a list");
        args.iter().find_map(|it| it.as_str()?.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    };
    let lease = flag(0, "--leader-elect-resource-name").expect("the release has another name");
    let leases: Vec<_> = (0..3)
        .map(|number| flag(number, "--shard").expect("a shard").parse::<Shard>().expect("it parses").lease(&lease))
        .collect();
    assert_eq!(leases[0], lease);
    let rules = of_kind(&all, "Role").filter_map(|it| it["rules"].as_array()).flatten();
    let named: Vec<_> =
        rules.filter(|it| it["resources"] == json!(["leases"])).map(|it| &it["resourceNames"]).collect();
    assert!(named.contains(&&json!(leases)), "{named:?}");
}

#[test]
fn definitions_survive_uninstall_and_pruning_unless_disabled() {
    let plane = ControlPlane::shared();
    let of = |keep: &str| {
        let all = objects(&rendered(plane, &["--set", &format!("crds.keep={keep}")]));
        let definitions = of_kind(&all, "CustomResourceDefinition");
        definitions.map(|definition| definition["metadata"]["annotations"].clone()).collect::<Vec<_>>()
    };
    let mut kept = kept();
    kept["helm.sh/resource-policy"] = json!("keep");
    assert_eq!(of("true"), vec![kept; 3]);
    assert_eq!(of("false"), vec![Value::Null; 3]);
}

#[test]
fn chart_files_match_this_version() {
    let files = |folder: &str| {
        let entries = std::fs::read_dir(path(folder)).expect("a folder").map(|entry| entry.expect("an entry").path());
        let mut files: Vec<_> = entries
            .filter(|file| file.extension().is_some_and(|it| it == "yaml"))
            .map(|file| {
                (file.file_name().map(std::ffi::OsStr::to_owned), std::fs::read_to_string(&file).expect("text"))
            })
            .collect();
        files.sort();
        files
    };
    let of_chart = files("charts/disaster-recovery-operator/files/crds");
    assert_eq!(of_chart.len(), 3);
    assert!(of_chart == files("crds"), "the chart has other definitions than crds/: run make crds");
    for name in ["alerts.yaml", "dashboard.json"] {
        let read = |folder: &str| std::fs::read_to_string(path(folder).join(name)).expect("a file");
        let same = read("charts/disaster-recovery-operator/files") == read("deploy/monitoring");
        assert!(same, "the chart has another {name} than deploy/monitoring: run make manifests");
    }
}

#[test]
fn chart_readme_matches_helm_docs() {
    let run = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).current_dir(path("")).output().expect("it runs");
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let program = run("tests/helm-docs/build.sh", &[]);
    let args = ["--chart-search-root", "charts", "--sort-values-order", "file", "--dry-run"];
    let printed = run(program.trim_end(), &args);
    let readme = path("charts/disaster-recovery-operator/README.md");
    assert!(printed == std::fs::read_to_string(readme).expect("a README"), "the README is older than the values");
}
