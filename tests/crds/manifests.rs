//! What the definitions accept and refuse: the manifests of this folder.

use disaster_recovery_operator::api::disk_replica_group::{
    DiskReplicaGroup, FailoverMode, ManagementPolicy, Replication, Reprotect, Site,
};
use serde_json::{Value, json};

use crate::common::{
    KINDS, control_plane, definition, expected, for_all, kubectl_json, manifests, manifests_of, path, schema_of, text,
    understood, visit,
};

#[test]
fn refused_manifests_are_refused_with_the_words_that_help() {
    let control_plane = control_plane();
    let namespace = control_plane.namespace("refused");
    let files = manifests("tests/crds/refused");
    for kind in KINDS {
        let count = manifests_of(&kind, "tests/crds/refused").len();
        assert!(count >= 40, "only {count} manifests of {}", kind.name);
    }
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
    let left = kubectl_json(&["get", "drp,drg,aca", "-n", &namespace, "-o", "json"]);
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
    for kind in KINDS {
        let mut promised: Vec<String> = Vec::new();
        for folder in ["tests/crds/refused", "tests/crds/refused-updates"] {
            promised.extend(manifests_of(&kind, folder).iter().map(|file| expected(file)));
        }
        let definition = definition(&kind);
        let (mut rules, mut untested) = (0, Vec::new());
        visit("", schema_of(&definition), &mut |at, schema| {
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                rules += 1;
                let message = rule["message"].as_str().unwrap_or_else(|| panic!("a rule of {at} has no message"));
                let helps = [": ", "such as", "exactly"].iter().any(|words| message.contains(words));
                assert!(helps, "{message}");
                // Most files promise the whole message, some its beginning.
                if !promised.iter().any(|part| part.len() > 30 && message.contains(part.as_str())) {
                    untested.push(message.to_owned());
                }
            }
        });
        assert!(rules >= kind.has.rules, "only {rules} rules of {} were seen", kind.name);
        assert_eq!(untested, Vec::<String>::new(), "rules that no manifest in tests/crds/refused shows");
    }
}

#[test]
fn a_group_that_says_little_means_the_careful_choice() {
    let namespace = control_plane().namespace("defaults");
    let create = |name: &str| {
        let file = path("tests/crds/accepted").join(name);
        kubectl_json(&["create", "-n", &namespace, "-o", "json", "-f", text(&file)])
    };
    let kept = create("drg-01-minimal.yaml");
    let wanted = json!({
        "source": { "regionId": "cn-hangzhou", "zoneId": "cn-hangzhou-h" },
        "destination": { "regionId": "cn-shanghai", "zoneId": "cn-shanghai-b" },
        "pairs": [{ "name": "data", "sourceDiskId": "d-data-a", "destinationDiskId": "d-data-b" }],
        "recoveryPointObjective": "15m",
        "replication": "Running",
        "activeSite": "Source",
        "failover": { "mode": "Planned" },
        "reprotect": "Automatic",
        "deletionPolicy": "Delete",
        "managementPolicy": "Manage",
        "suspend": false,
    });
    assert_eq!(kept["spec"], wanted);
    let group: DiskReplicaGroup = serde_json::from_value(kept).expect("a group");
    let spec = group.spec;
    assert_eq!((spec.active_site, spec.failover.mode), (Site::Source, FailoverMode::Planned));
    assert_eq!((spec.replication, spec.reprotect), (Replication::Running, Reprotect::Automatic));
    assert_eq!(spec.management_policy, ManagementPolicy::Manage);
    assert_eq!((spec.group_name, spec.description, spec.enable_rtc, spec.drill), (None, None, None, None));

    assert_eq!(create("drg-10-empty-failover.yaml")["spec"]["failover"], json!({ "mode": "Planned" }));
    let drill = create("drg-17-schedule-every-minute.yaml")["spec"]["drill"].take();
    assert_eq!(drill, json!({ "schedule": "* * * * *", "keepFor": "2h" }));
}

#[test]
fn an_account_keeps_its_source_and_nothing_that_was_null() {
    let namespace = control_plane().namespace("account-nulls");
    let kept = |name: &str| {
        let file = path("tests/crds/accepted").join(name);
        kubectl_json(&["create", "-n", &namespace, "-o", "json", "-f", text(&file)])["spec"].take()
    };
    let oidc = json!({
        "roleArn": "acs:ram::1234567890123456:role/disaster-recovery",
        "providerArn": "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c1",
        "sessionName": null,
    });
    assert_eq!(kept("aca-07-explicit-nulls.yaml"), json!({ "credentials": { "oidc": oidc } }));
    assert_eq!(kept("aca-04-ecs-role.yaml"), json!({ "credentials": { "ecsRole": {} } }));
    assert_eq!(kept("aca-06-environment.yaml"), json!({ "credentials": { "environment": {} } }));
    assert_eq!(kept("aca-16-budget-empty.yaml")["budget"], json!({ "requestsPerSecond": 50 }));
    assert_eq!(kept("aca-08-nulls-further-down.yaml")["budget"], json!({ "requestsPerSecond": 50 }));
}
