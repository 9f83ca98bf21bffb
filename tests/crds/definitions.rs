//! The definitions: generated files, established without errors, with a description of every field.

use disaster_recovery_operator::api::manifest::definitions;
use serde_json::{Map, Value, json};

use crate::common::{KINDS, control_plane, definition, kubectl_json, manifests, path, schema_of, text, visit};

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

#[test]
fn committed_files_match_the_code() {
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
fn kubectl_and_server_read_definitions_without_loss() {
    for kind in KINDS {
        let meant = definition(&kind);
        let file = path("crds").join(kind.file);
        let read = kubectl_json(&["create", "--dry-run=client", "--validate=false", "-o", "json", "-f", text(&file)]);
        assert_eq!(difference("what kubectl reads", &read, &meant), None);

        let mut kept = kubectl_json(&["get", "crd", kind.crd, "-o", "json"])["spec"].take();
        // The server adds these two.
        kept.as_object_mut().and_then(|spec| spec.remove("conversion")).expect("conversion");
        kept["names"].as_object_mut().and_then(|names| names.remove("listKind")).expect("listKind");
        assert_eq!(difference("what the server keeps", &kept, &meant["spec"]), None);
    }
}

#[test]
fn definitions_are_established_without_other_conditions() {
    for kind in KINDS {
        let status = kubectl_json(&["get", "crd", kind.crd, "-o", "json"])["status"].take();
        let conditions: Map<String, Value> = status["conditions"]
            .as_array()
            .expect("conditions")
            .iter()
            .map(|condition| (condition["type"].as_str().expect("a type").to_owned(), condition["status"].clone()))
            .collect();
        let wanted = json!({ "Established": "True", "NamesAccepted": "True" });
        assert_eq!(Value::Object(conditions), wanted, "{}: another one, such as NonStructuralSchema?", kind.name);
        assert_eq!(status["acceptedNames"]["shortNames"], json!([kind.short]));
        assert_eq!(status["acceptedNames"]["categories"], json!(["dr"]));
    }
}

#[test]
fn every_field_is_described() {
    for kind in KINDS {
        let definition = definition(&kind);
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
        assert!(seen >= kind.has.fields, "only {seen} schemas of {} were seen", kind.name);
        assert_eq!(silent, Vec::<String>::new(), "fields of {} without a description", kind.name);
        for inner in ["type", "status", "reason", "message", "lastTransitionTime", "observedGeneration"] {
            let condition = &schema_of(&definition)["properties"]["status"]["properties"]["conditions"]["items"];
            assert!(condition["properties"][inner]["description"].is_string(), "conditions[].{inner}");
        }
    }
}

/// The choices of an optional field are those of the field that has to be there: null is none of them, and the description
/// is that of the field and not that of its type.
#[test]
fn enums_are_never_null() {
    for kind in KINDS {
        let definition = definition(&kind);
        let mut seen = 0;
        visit("", schema_of(&definition), &mut |at, schema| {
            let Some(choices) = schema["enum"].as_array() else { return };
            seen += 1;
            assert!(schema["nullable"].is_null() && choices.iter().all(Value::is_string), "{at}: {schema}");
            assert_eq!(schema["type"], "string", "{at}");
        });
        assert!(seen >= kind.has.choices, "only {seen} fields of {} have choices", kind.name);
    }
}

#[test]
fn times_and_durations_name_their_unit() {
    for kind in KINDS {
        let definition = definition(&kind);
        visit("", schema_of(&definition), &mut |at, schema| {
            let description = schema["description"].as_str().unwrap_or_default();
            let name = at.rsplit('.').next().unwrap_or_default();
            // The type of conditions is Kubernetes' own.
            if schema["format"] == "date-time" && !at.contains("conditions") {
                assert!(description.contains("(UTC)"), "{at}: {description}");
            }
            if name.ends_with("Seconds") {
                assert!(description.contains("in seconds"), "{at}: {description}");
            }
        });
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
        ("drp.spec.recoveryPointObjective", &["such as 30s, 5m or 1h; 30s to 168h"]),
        ("drp.spec.pollInterval", &["such as 30s or 1m; 1s to 24h"]),
        ("drp.spec.messageEvidence", &["Required, or NotRequired", "Not for ACTIVE_ACTIVE"]),
        ("drp.spec.checkpointSync", &["a cold standby, whose consumer groups the cloud skips", "by", "interval"]),
        ("drp.spec.checkpointSync.interval", &["at most half of recoveryPointObjective", "Default: a quarter of"]),
        ("drp.status.topicMappings.backlog.delaySeconds", &["in seconds"]),
        ("drp.status.checkpointSync.lastRoundTime", &["(UTC)", "once an hour"]),
        ("drp.status.checkpoints.maxLagSeconds", &["in seconds"]),
        ("drp.status.checkpoints.worst.lagSeconds", &["in seconds"]),
        ("drp.status.checkpoints.lastSyncTime", &["(UTC)"]),
        ("drp.status.conditions", &["Ready, Synced, Protected and OffsetsCovered"]),
        ("drg", &["A replication pair-consistent group of disks", "spec", "status"]),
        ("drg.spec.source", &["Immutable.", "regionId", "zoneId", "-required-"]),
        (
            "drg.spec.activeSite",
            &["Source or Destination", "needs a failover with a newer requestedAt", "ENUM: Source Destination"],
        ),
        ("drg.spec.failover", &["carries the request out once", "begins nothing after it expired"]),
        ("drg.spec.failover.requestedAt", &["(UTC)", "an older request is refused"]),
        ("drg.spec.failover.mode", &["one more synchronization first", "later writes are lost", "discarded"]),
        ("drg.spec.reprotect", &["A reversal needs the disks of the former site detached"]),
        ("drg.spec.pairs.destinationDiskId", &["overwritten for good", "Immutable."]),
        ("drg.spec.recoveryPointObjective", &["one value only: 15m"]),
        ("drg.spec.drill.schedule", &["cron expression of five fields", "in UTC", "\"0 3 * * 0\" for Sundays at 3:00"]),
        ("drg.spec.drill.keepFor", &["such as 30m or 2h; 1s to 168h"]),
        ("drg.spec.pollInterval", &["such as 30s or 1m; 1s to 24h"]),
        ("drg.status.activeSite", &["The site whose disks are in use", "ENUM: Source Destination"]),
        ("drg.status.direction", &["Forward (source to destination) or Reverse", "ENUM: Forward Reverse"]),
        ("drg.status.recoveryPoint", &["(UTC)", "in steps of a minute"]),
        ("drg.status.operations.mode", &["Planned or Forced, of a failover or failback"]),
        ("drg.status.operations.recoveryPointAgeSeconds", &["in seconds"]),
        ("drg.status.operations.recoveryTimeSeconds", &["in seconds"]),
        ("drg.status.drills.last.result", &["Succeeded or Failed, once it is known"]),
        ("aca", &["Whose credentials, endpoints and budget of calls", "that name it in accountRef"]),
        ("aca.spec.credentials", &["exactly one source", "secretRef", "oidc", "ecsRole", "environment"]),
        ("aca.spec", &["What an account should be.", "credentials <Object> -required-", "assumeRole <Object> A RAM"]),
        ("aca.spec.credentials.secretRef", &["accessKeyId, accessKeySecret and optionally securityToken"]),
        ("aca.spec.credentials.oidc.roleArn", &["such as acs:ram::1234567890123456:role/disaster-recovery"]),
        ("aca.spec.credentials.oidc.serviceAccountRef", &["of this namespace", "the audience sts.aliyuncs.com"]),
        ("aca.spec.credentials.environment", &["Only in the namespaces of --default-account-namespaces."]),
        ("aca.spec.endpoints", &["https to the product's own hosts under aliyuncs.com", "--allowed-endpoints"]),
        ("aca.spec.budget.requestsPerSecond", &["1 to 150"]),
        ("aca.status", &["Never a secret."]),
        ("aca.status.identity", &["with its middle masked"]),
        ("aca.status.expiration", &["(UTC)"]),
        ("drp.spec.accountRef", &["of this namespace", "When absent, the operator's own are"]),
        ("drg.spec.accountRef", &["of this namespace", "When absent, the operator's own are"]),
        ("drg.status.conditions", &["Ready, Synced, Protected", "DrillNotCleared (groups only)"]),
    ] {
        let printed = control_plane().kubectl(&["explain", field]).checked().expect("an explanation");
        let words = printed.split_whitespace().collect::<Vec<_>>().join(" ");
        for phrase in phrases {
            assert!(words.contains(phrase), "kubectl explain {field} does not say {phrase:?}:\n{printed}");
        }
    }
}
