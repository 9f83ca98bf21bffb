//! The custom resource definitions on a real API server: what they describe, what they show, what they accept and what they
//! refuse, in the words that people read.
//!
//! `tests/crds/` holds manifests that a person can apply too: `refused/` (the first line says what the server answers),
//! `accepted/`, and `…-updates/`, where the second document of a file changes the object that the first one made.

#![allow(clippy::expect_used, reason = "a test that cannot go on says why")]

mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use disaster_recovery_operator::api::manifest::definitions;
use disaster_recovery_operator::api::plan::DisasterRecoveryPlan;
use serde_json::{Map, Value, json};
use support::{ControlPlane, eventually_blocking};

const CRD: &str = "disasterrecoveryplans.disasterrecovery.dev";

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// The manifests in a folder, by name.
fn manifests(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(path(folder))
        .unwrap_or_else(|error| panic!("reading {folder}: {error}"))
        .map(|entry| entry.expect("an entry of the folder").path())
        .filter(|file| file.extension().is_some_and(|suffix| suffix == "yaml"))
        .collect();
    files.sort();
    files
}

/// The part of the server's answer that the first line of a refused manifest promises.
fn expected(file: &Path) -> String {
    let manifest = std::fs::read_to_string(file).expect("a manifest");
    let first = manifest.lines().next().unwrap_or_default();
    first
        .strip_prefix("# expected: ")
        .unwrap_or_else(|| panic!("{} does not begin with `# expected: `", file.display()))
        .to_owned()
}

/// A control plane that serves the definitions of `crds/`.
fn control_plane() -> &'static ControlPlane {
    static READY: OnceLock<Result<(), String>> = OnceLock::new();
    let control_plane = ControlPlane::shared();
    let ready = READY.get_or_init(|| {
        let apply = || -> anyhow::Result<()> {
            control_plane.kubectl(&["apply", "-f", text(&path("crds"))]).checked()?;
            let wait = ["wait", "--for=condition=Established", "--timeout=60s", &format!("crd/{CRD}")];
            control_plane.kubectl(&wait).checked()?;
            // Known to the server is not yet listed to its clients.
            eventually_blocking(Duration::from_secs(60), "kubectl explains the kind", || {
                control_plane.kubectl(&["explain", "drp.spec"]).status.success().then_some(())
            });
            Ok(())
        };
        apply().map_err(|error| format!("{error:#}"))
    });
    if let Err(reason) = ready {
        panic!("the definitions are not served: {reason}");
    }
    control_plane
}

/// What kubectl prints as JSON.
#[track_caller]
fn kubectl_json(args: &[&str]) -> Value {
    let printed = control_plane().kubectl(args).checked().unwrap_or_else(|error| panic!("{args:?}: {error:#}"));
    serde_json::from_str(&printed).expect("JSON from kubectl")
}

/// The definition as this crate makes it.
fn definition() -> Value {
    let (_, yaml) = definitions().expect("definitions").remove(0);
    serde_yaml::from_str(&yaml).expect("YAML that is read back")
}

fn schema_of(definition: &Value) -> &Value {
    &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

/// Where two values first differ, so that a failure does not print the whole definition twice.
fn difference(at: &str, found: &Value, meant: &Value) -> Option<String> {
    match (found, meant) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
            keys.into_iter().find_map(|key| difference(&format!("{at}.{key}"), &found[key], &meant[key]))
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => one
            .iter()
            .zip(other)
            .enumerate()
            .find_map(|(n, (one, other))| difference(&format!("{at}[{n}]"), one, other)),
        _ => (found != meant).then(|| format!("{at} is {found}, meant is {meant}")),
    }
}

/// Visits every schema below `schema` with its path, such as `spec.instances[].name`.
fn visit<'a>(at: &str, schema: &'a Value, see: &mut impl FnMut(&str, &'a Value)) {
    see(at, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let below = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        visit(&below, property, see);
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            visit(&format!("{at}[]"), &schema[key], see);
        }
    }
}

#[test]
fn the_files_are_what_the_code_defines() {
    let definitions = definitions().expect("definitions");
    for (name, yaml) in &definitions {
        let kept = std::fs::read_to_string(path("crds").join(name)).unwrap_or_default();
        assert!(
            kept == *yaml,
            "crds/{name} is not what src/api defines: run `make crds` (`cargo run --bin dr-operator -- crd --output crds`) and commit the result"
        );
    }
    let mut defined: Vec<_> = definitions.iter().map(|(name, _)| path("crds").join(name)).collect();
    defined.sort();
    assert_eq!(manifests("crds"), defined, "crds/ holds a file that nothing defines");

    let listed: Value =
        serde_yaml::from_str(&std::fs::read_to_string(path("crds/Kustomization")).expect("crds/Kustomization"))
            .expect("YAML");
    let names: Vec<_> = definitions.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed["resources"], json!(names), "crds/Kustomization lists the files");
}

#[test]
fn kubectl_and_the_server_read_the_file_as_it_is_meant() {
    let meant = definition();
    let file = path("crds/disasterrecoveryplans.yaml");
    let read = kubectl_json(&["create", "--dry-run=client", "--validate=false", "-o", "json", "-f", text(&file)]);
    assert_eq!(difference("what kubectl reads", &read, &meant), None);

    let mut kept = kubectl_json(&["get", "crd", CRD, "-o", "json"])["spec"].take();
    // The server adds these two.
    kept.as_object_mut().and_then(|spec| spec.remove("conversion")).expect("conversion");
    kept["names"].as_object_mut().and_then(|names| names.remove("listKind")).expect("listKind");
    assert_eq!(difference("what the server keeps", &kept, &meant["spec"]), None);
}

#[test]
fn the_definition_is_established_and_nothing_is_wrong_with_it() {
    let status = kubectl_json(&["get", "crd", CRD, "-o", "json"])["status"].take();
    let conditions: Map<String, Value> = status["conditions"]
        .as_array()
        .expect("conditions")
        .iter()
        .map(|condition| (condition["type"].as_str().expect("a type").to_owned(), condition["status"].clone()))
        .collect();
    let wanted = json!({ "Established": "True", "NamesAccepted": "True" });
    assert_eq!(Value::Object(conditions), wanted, "no other condition, such as NonStructuralSchema");
    assert_eq!(status["acceptedNames"]["shortNames"], json!(["drp"]));
    assert_eq!(status["acceptedNames"]["categories"], json!(["dr"]));
}

#[test]
fn every_field_is_described() {
    let definition = definition();
    let mut seen = 0;
    let mut silent = Vec::new();
    visit("", schema_of(&definition), &mut |at, schema| {
        seen += 1;
        // A list's description is its field's; entries that are objects have their own.
        let needed = !at.ends_with("[]") || schema["properties"].is_object();
        if needed && schema["description"].as_str().is_none_or(|text| text.trim().is_empty()) {
            silent.push(at.to_owned());
        }
    });
    assert!(seen > 80, "only {seen} schemas were seen");
    assert_eq!(silent, Vec::<String>::new(), "fields without a description");
    for inner in ["type", "status", "reason", "message", "lastTransitionTime", "observedGeneration"] {
        let condition = &schema_of(&definition)["properties"]["status"]["properties"]["conditions"]["items"];
        assert!(condition["properties"][inner]["description"].is_string(), "conditions[].{inner}");
    }
}

#[test]
fn kubectl_explains_fields_and_their_units() {
    for (field, phrases) in [
        ("drp", &["A Global Replicator plan", "spec", "status"][..]),
        (
            "drp.spec.instances",
            &["The two instances.", "instanceId", "-required-", "enum: ALIYUN_ROCKETMQ, EXTERNAL_ROCKETMQ"],
        ),
        ("drp.spec.instances.instanceRole", &["An ACTIVE_PASSIVE plan has exactly one of each."]),
        ("drp.spec.instances.authType", &["Instances of version 4.0 need none."]),
        ("drp.spec.instances.credentialsSecretRef", &["`username` and `password`"]),
        ("drp.spec.topicMappings.topics", &["one for each of the two instances", "topicName"]),
        ("drp.spec.recoveryPointObjective", &["such as 30s, 5m or 1h; 1s to 168h"]),
        ("drp.spec.pollInterval", &["such as 30s or 1m; 1s to 24h"]),
        ("drp.status.checkpoints.maxLagSeconds", &["in seconds"]),
        ("drp.status.checkpoints.worst.lagSeconds", &["in seconds"]),
        ("drp.status.checkpoints.lastSyncTime", &["(UTC)"]),
        ("drp.status.conditions", &["Ready, Synced, Protected and OffsetsCovered"]),
    ] {
        let printed = control_plane().kubectl(&["explain", field]).checked().expect("an explanation");
        let words = printed.split_whitespace().collect::<Vec<_>>().join(" ");
        for phrase in phrases {
            assert!(words.contains(phrase), "kubectl explain {field} does not say {phrase:?}:\n{printed}");
        }
    }
}

#[test]
fn tables_show_what_a_person_asks_first() {
    let control_plane = control_plane();
    let namespace = control_plane.namespace("columns");
    let sample = path("deploy/samples/01-one-way.yaml");
    control_plane.kubectl(&["apply", "-n", &namespace, "-f", text(&sample)]).checked().expect("applied");
    let condition = |kind, status| {
        json!({
            "type": kind, "status": status, "reason": "Because", "message": "",
            "lastTransitionTime": "2026-11-22T12:00:00Z",
        })
    };
    let status = json!({ "status": {
        "planId": "1300000016",
        "planStatus": "RUNNING",
        "items": "1/2",
        "checkpoints": {
            "total": 2, "behind": 1, "neverSynced": 0, "maxLagSeconds": 120, "maxLag": "2m",
            "lastSyncTime": "2026-11-22T12:00:00Z",
        },
        "conditions": [condition("Ready", "True"), condition("Protected", "False")],
    }});
    let patch =
        ["patch", "drp", "orders", "-n", &namespace, "--subresource=status", "--type=merge", "-p", &status.to_string()];
    control_plane.kubectl(&patch).checked().expect("a status");

    let columns = "TYPE | PLAN ID | STATUS | ITEMS | MAX LAG | READY | PROTECTED | AGE";
    for (what, more, values) in [("drp", "", 8), ("dr", "", 8), ("drp", " | REGION | LAST SYNC", 10)] {
        let output = if more.is_empty() { "" } else { "wide" };
        let args = ["get", what, "-n", &namespace, "-o", output];
        let table = control_plane.kubectl(&args).checked().expect("a table");
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(rows.len(), 2, "{table}");
        assert_eq!(rows[0].join(" | "), format!("NAME | {columns}{more}"), "{table}");
        assert_eq!(
            rows[1][..8].join(" | "),
            "orders | ACTIVE_PASSIVE | 1300000016 | RUNNING | 1/2 | 2m | True | False"
        );
        assert_eq!(rows[1].len(), values + 1, "{table}");
        assert!(more.is_empty() || rows[1][9] == "cn-hangzhou", "{table}");
    }
}

/// Runs `check` on every file, a few at once, and tells all that failed.
fn for_all(files: &[PathBuf], check: impl Fn(&Path) -> Result<(), String> + Sync) {
    let failures = std::sync::Mutex::new(String::new());
    std::thread::scope(|scope| {
        for some in files.chunks(files.len().div_ceil(4).max(1)) {
            let (check, failures) = (&check, &failures);
            scope.spawn(move || {
                for file in some {
                    if let Err(failure) = check(file) {
                        let name = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(file).display();
                        let mut failures = failures.lock().expect("no check panicked");
                        writeln!(failures, "{name}: {failure}").expect("written to a String");
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no check panicked");
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn refused_manifests_are_refused_with_the_words_that_help() {
    let control_plane = control_plane();
    let namespace = control_plane.namespace("refused");
    let files = manifests("tests/crds/refused");
    assert!(files.len() >= 40, "only {} manifests", files.len());
    for_all(&files, |file| {
        let answer = control_plane.kubectl(&["apply", "-n", &namespace, "-f", text(file)]);
        let expected = expected(file);
        if answer.status.success() {
            Err(format!("accepted: {}", answer.stdout.trim_end()))
        } else if answer.stderr.contains(&expected) {
            Ok(())
        } else {
            Err(format!("not for this reason:\n  {expected}\nbut:\n  {}", answer.stderr.trim_end()))
        }
    });
    let left = kubectl_json(&["get", "drp", "-n", &namespace, "-o", "json"]);
    assert_eq!(left["items"], json!([]), "nothing of them is kept");
}

#[test]
fn refused_updates_are_refused_with_the_words_that_help() {
    let control_plane = control_plane();
    let namespace = control_plane.namespace("refused-updates");
    for_all(&manifests("tests/crds/refused-updates"), |file| {
        let answer = control_plane.kubectl(&["apply", "-n", &namespace, "-f", text(file)]);
        let expected = expected(file);
        if answer.stdout.lines().filter(|line| line.ends_with(" created")).count() != 1 {
            Err(format!("the first document is not accepted: {}", answer.stderr.trim_end()))
        } else if answer.status.success() {
            Err(format!("accepted: {}", answer.stdout.trim_end()))
        } else if answer.stderr.contains(&expected) {
            Ok(())
        } else {
            Err(format!("not for this reason:\n  {expected}\nbut:\n  {}", answer.stderr.trim_end()))
        }
    });
}

#[test]
fn unusual_but_right_manifests_are_accepted_and_understood() {
    let control_plane = control_plane();
    let namespace = control_plane.namespace("accepted");
    for_all(&manifests("tests/crds/accepted"), |file| {
        // Not apply, which would leave out what is null.
        let create = ["create", "-n", &namespace, "-o", "json", "-f", text(file)];
        let created = control_plane.kubectl(&create).checked().map_err(|error| format!("{error:#}"))?;
        understood(&created)
    });
    let updates = control_plane.namespace("accepted-updates");
    for_all(&manifests("tests/crds/accepted-updates"), |file| {
        let apply = ["apply", "-n", &updates, "-f", text(file)];
        let answer = control_plane.kubectl(&apply).checked().map_err(|error| format!("{error:#}"))?;
        let told: Vec<_> = answer.lines().filter_map(|line| line.rsplit(' ').next()).collect();
        if told == ["created", "configured"] { Ok(()) } else { Err(answer) }
    });
}

/// One object that the server accepts and the operator cannot read would end its watch of all others.
fn understood(object: &str) -> Result<(), String> {
    let object: DisasterRecoveryPlan = serde_json::from_str(object).map_err(|error| error.to_string())?;
    let objective: Duration = object.spec.recovery_point_objective.into();
    let day = Duration::from_secs(86400);
    (Duration::from_secs(1)..=7 * day).contains(&objective).then_some(()).ok_or_else(|| format!("{objective:?}"))
}

#[test]
fn as_many_mappings_as_are_promised_fit() {
    let control_plane = control_plane();
    let namespace = control_plane.namespace("many");
    let plan = |name: &str, count: usize| {
        let topic = |instance, number| json!({ "instance": instance, "topicName": format!("{number:0>127}") });
        let mapping = |number: usize| {
            json!({
                "name": format!("{number:0>63}"),
                "topics": [topic("hangzhou", number), topic("shanghai", number)],
            })
        };
        let mut plan: Value = serde_yaml::from_str(
            &std::fs::read_to_string(path("tests/crds/accepted/01-minimal-one-way.yaml")).expect("a manifest"),
        )
        .expect("YAML");
        plan["metadata"]["name"] = json!(name);
        plan["spec"]["topicMappings"] = (0..count).map(mapping).collect();
        plan.to_string()
    };
    let create = ["create", "-n", &namespace, "-o", "json", "-f", "-"];
    let created = control_plane.kubectl_stdin(&create, &plan("all", 150)).checked().expect("150 mappings fit");
    assert_eq!(understood(&created), Ok(()));
    let refused = control_plane.kubectl_stdin(&create, &plan("more", 151)).checked().expect_err("one too many");
    assert!(refused.to_string().contains("must have at most 150 items"), "{refused:#}");
}

#[test]
fn every_rule_has_a_manifest_that_it_refuses() {
    let mut promised: Vec<String> = Vec::new();
    for folder in ["tests/crds/refused", "tests/crds/refused-updates"] {
        promised.extend(manifests(folder).iter().map(|file| expected(file)));
    }
    let definition = definition();
    let (mut rules, mut untested) = (0, Vec::new());
    visit("", schema_of(&definition), &mut |at, schema| {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            rules += 1;
            let message = rule["message"].as_str().unwrap_or_else(|| panic!("a rule of {at} has no message"));
            assert!(message.contains(": ") || message.contains("such as") || message.contains("exactly"), "{message}");
            // Most files promise the whole message, some its beginning.
            if !promised.iter().any(|part| part.len() > 30 && message.contains(part.as_str())) {
                untested.push(message.to_owned());
            }
        }
    });
    assert!(rules >= 20, "only {rules} rules were seen");
    assert_eq!(untested, Vec::<String>::new(), "rules that no manifest in tests/crds/refused shows");
}

/// A plan that has every field of the spec, valid but for one: the first instance has what only external ones have.
fn every_field() -> Value {
    let instance = |name: &str, role: &str| {
        json!({
            "name": name, "instanceType": "EXTERNAL_ROCKETMQ", "instanceRole": role, "regionId": "cn-hangzhou",
            "instanceId": "rmq-cn-one", "endpointUrl": format!("{name}:9876"), "networkType": "TCP_VPC",
            "vpcId": "vpc-one", "vSwitchIds": ["vsw-one"], "securityGroupId": "sg-one", "consumerGroupId": "GID_DR",
            "authType": "ACL_AUTH", "credentialsSecretRef": { "name": "idc-acl" },
            "messageProperty": { "propertyKey": "site", "propertyValue": "hz" },
        })
    };
    let topic = |instance: &str| {
        json!({
            "instance": instance, "topicName": "orders", "deliveryOrderType": "Orderly", "consumerGroupId": "GID_ORDERS",
        })
    };
    let mut second = instance("shanghai", "PASSIVE");
    second.as_object_mut().and_then(|fields| fields.remove("instanceId")).expect("an ID");
    json!({
        "apiVersion": "disasterrecovery.dev/v1alpha1",
        "kind": "DisasterRecoveryPlan",
        "metadata": { "name": "every-field" },
        "spec": {
            "regionId": "cn-hangzhou", "planId": "1300000016", "planName": "orders", "planDesc": "Orders",
            "planType": "ACTIVE_PASSIVE", "syncCheckpointEnabled": true, "autoSyncCheckpoint": true,
            "instances": [instance("hangzhou", "ACTIVE"), second],
            "topicMappings": [{ "name": "orders", "topics": [topic("hangzhou"), topic("shanghai")], "state": "Running" }],
            "itemPolicy": "Keep", "recoveryPointObjective": "5m", "deletionPolicy": "Delete",
            "managementPolicy": "Manage", "suspend": false, "pollInterval": "1m",
        },
    })
}

/// The values just outside the bounds of a schema, each with a part of what the server says to it.
fn outside(schema: &Value) -> Vec<(Value, String)> {
    let mut values = Vec::new();
    let number = |key: &str| schema[key].as_u64().map(|number| usize::try_from(number).expect("a small bound"));
    if let Some(most) = number("maxLength") {
        values.push((json!("a".repeat(most + 1)), format!("may not be more than {most} bytes")));
    }
    if let Some(least) = number("minLength") {
        values.push((json!("a".repeat(least - 1)), format!("should be at least {least} chars long")));
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        values.push((json!(" "), format!("should match '{pattern}'")));
        values.push((json!("a\nb"), format!("should match '{pattern}'")));
    }
    if schema["enum"].is_array() {
        values.push((json!("Other"), "supported values: ".to_owned()));
    }
    if let Some(most) = number("maxItems") {
        values.push((json!([0].repeat(most + 1)), format!("must have at most {most} items")));
    }
    if let Some(least) = number("minItems") {
        values.push((json!([]), format!("should have at least {least} items")));
    }
    values
}

/// Where `at` (a path of the schema) is in the object that has every field: the first entry of every list.
fn pointer(at: &str) -> String {
    format!("/{}", at.replace("[]", ".0").replace('.', "/"))
}

#[tokio::test]
async fn every_bound_holds() {
    let control_plane = control_plane();
    let namespace = control_plane.namespace("bounds");
    let client = control_plane.admin_client();
    let definition = definition();
    let base = every_field();
    let mut cases = Vec::new();
    visit("spec", &schema_of(&definition)["properties"]["spec"], &mut |at, schema| {
        let pointer = pointer(at);
        assert!(base.pointer(&pointer).is_some(), "the plan that should have every field has no {at}");
        let text = schema["type"] == "string";
        let bounded = schema["maxLength"].is_u64() || schema["enum"].is_array();
        assert!(!text || bounded, "{at} has no bound on its length, so that rules on it may cost too much");
        assert!(schema["type"] != "array" || schema["maxItems"].is_u64(), "{at} has no bound on its count");
        cases.extend(outside(schema).into_iter().map(|(value, answer)| (pointer.clone(), value, answer)));
    });
    assert!(cases.len() > 50, "only {} cases", cases.len());

    let mut failures = String::new();
    for (pointer, value, answer) in cases {
        let mut plan = base.clone();
        *plan.pointer_mut(&pointer).expect("a field") = value.clone();
        let request = http::Request::post(format!(
            "/apis/disasterrecovery.dev/v1alpha1/namespaces/{namespace}/disasterrecoveryplans?dryRun=All"
        ))
        .header("content-type", "application/json")
        .body(plan.to_string().into_bytes())
        .expect("a request");
        let field = pointer[1..].split('/').fold(String::new(), |field, step| {
            let entry = step.parse::<usize>().is_ok();
            if entry { format!("{field}[{step}]") } else { format!("{field}.{step}") }
        });
        let field = field.trim_start_matches('.');
        match client.request::<Value>(request).await {
            Err(kube::Error::Api(status)) if status.code == 422 => {
                let said = status.details.as_ref().is_some_and(|details| {
                    details.causes.iter().any(|cause| cause.field == field && cause.message.contains(&answer))
                });
                if !said {
                    writeln!(failures, "{field} = {value}: not {answer:?} but {}", status.message).expect("written");
                }
            }
            other => writeln!(failures, "{field} = {value}: {other:?}").expect("written"),
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn samples_apply_as_they_are() {
    let control_plane = control_plane();
    let namespace = control_plane.namespace("samples");
    let files = manifests("deploy/samples");
    assert!(files.len() >= 6, "only {} samples", files.len());
    for_all(&files, |file| {
        let manifest = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
        if !manifest.starts_with("# ") {
            return Err("the first line does not say what it shows".to_owned());
        }
        let apply = ["apply", "-n", &namespace, "-f", text(file)];
        let answer = control_plane.kubectl(&apply).checked().map_err(|error| format!("{error:#}"))?;
        let new = answer.lines().all(|line| line.ends_with(" created"));
        if new { Ok(()) } else { Err(format!("it shares a name with another sample: {answer}")) }
    });
    let all = kubectl_json(&["get", "drp", "-n", &namespace, "-o", "json"]);
    let plans = all["items"].as_array().expect("a list");
    assert_eq!(plans.len(), files.len(), "one plan a file");
    for plan in plans {
        assert_eq!(understood(&plan.to_string()), Ok(()));
        for instance in plan["spec"]["instances"].as_array().into_iter().flatten() {
            let Some(secret) = instance["credentialsSecretRef"]["name"].as_str() else { continue };
            let secret = kubectl_json(&["get", "secret", secret, "-n", &namespace, "-o", "json"]);
            assert!(secret["data"]["username"].is_string() && secret["data"]["password"].is_string());
        }
    }
}

#[test]
fn the_default_installation_is_accepted_and_asks_for_little() {
    let control_plane = control_plane();
    let folder = path("deploy");
    let rendered = control_plane.kubectl(&["kustomize", text(&folder)]).checked().expect("kustomize");
    assert!(!rendered.contains("\nkind: Secret\n"), "credentials are no part of the manifests");
    assert!(rendered.contains("\nkind: CustomResourceDefinition\n"), "the definitions are included");
    control_plane.kubectl(&["apply", "-k", text(&folder)]).checked().expect("applied");
    let again = control_plane.kubectl(&["apply", "-k", text(&folder)]).checked().expect("applied again");
    assert!(again.lines().all(|line| line.ends_with(" unchanged")), "applying it again changes something: {again}");

    let name = "disaster-recovery-operator";
    let deployment = kubectl_json(&["get", "deployment", name, "-n", "disaster-recovery-system", "-o", "json"]);
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(deployment["spec"]["strategy"], json!({ "type": "Recreate" }));
    assert_eq!(pod["serviceAccountName"], json!(name));
    assert_eq!(pod["securityContext"]["runAsUser"], json!(65532));
    let container = &pod["containers"][0];
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(container["image"], json!(format!("ghcr.io/{name}/{name}:{version}")), "the image of this version");
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], json!(true));
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], json!("/livez"));
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], json!("/readyz"));

    // `--help` at the end is reached only when the program knows all arguments before it.
    let args = container["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let program = std::process::Command::new(env!("CARGO_BIN_EXE_dr-operator")).args(args).arg("--help").output();
    let program = program.expect("the operator's program runs");
    let complaint = String::from_utf8_lossy(&program.stderr);
    assert!(program.status.success(), "the program does not take {}: {complaint}", container["args"]);

    // The namespace enforces the strictest pod security standard: the pod itself must be accepted there.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "the-pod", "namespace": "disaster-recovery-system" },
        "spec": pod,
    });
    let create = ["create", "--dry-run=server", "-f", "-"];
    control_plane.kubectl_stdin(&create, &pod.to_string()).checked().expect("a pod that asks for nothing special");
}
