//! What the definitions accept and refuse: the tables of this folder.

use disaster_recovery_operator::api::disk_replica_group::{DiskReplicaGroup, ManagementPolicy, Replication};
use serde_json::{Value, json};
use test_support::Output;

use crate::cases::{Case, case, cases};
use crate::common::{
    ACCOUNTS, GROUPS, KINDS, PLANS, control_plane, definition, for_all, kubectl_json, schema_of, understood, visit,
};

/// The cases of all kinds that are refused or accepted, at their creation or their update, each with the name of its table.
fn all(refused: bool, updated: bool) -> Vec<(&'static str, Case)> {
    let all = KINDS.iter().flat_map(|kind| cases(kind).into_iter().map(|case| (kind.cases, case)));
    all.filter(|(_, case)| case.refusal.is_some() == refused && case.updated.is_some() == updated).collect()
}

/// Creates the object of a case, writes its status and updates the object. The answer to the update.
fn update(namespace: &str, case: &Case) -> Result<Output, String> {
    let updated = case.updated.as_ref().expect("a case with an update").to_string();
    let apply = |manifest: &str| control_plane().kubectl_stdin(&["apply", "-n", namespace, "-f", "-"], manifest);
    if case.status.is_none() {
        let answer = apply(&format!("{}\n{updated}", case.object));
        let created = answer.stdout.lines().filter(|line| line.ends_with(" created")).count();
        return if created == 1 { Ok(answer) } else { Err(format!("not created: {}", answer.stderr.trim_end())) };
    }
    apply(&case.object.to_string()).checked().map_err(|error| format!("not created: {error:#}"))?;
    write_status(namespace, case)?;
    let answer = apply(&updated);
    write_status(namespace, case)?;
    Ok(answer)
}

/// Writes the status of a case, and after it another one: rules that compare with a status hold for status writes too.
fn write_status(namespace: &str, case: &Case) -> Result<(), String> {
    let kind = case.object["kind"].as_str().expect("a kind");
    let name = case.object["metadata"]["name"].as_str().expect("a name");
    for status in [case.status.as_ref().expect("a case with a status"), &json!({ "observedGeneration": 7 })] {
        let patch = json!({ "status": status }).to_string();
        let write = ["patch", kind, name, "-n", namespace, "--subresource=status", "--type=merge", "-p", &patch];
        let written = control_plane().kubectl(&write).checked();
        written.map_err(|error| format!("the status is refused: {error:#}"))?;
    }
    Ok(())
}

/// Whether the answer of kubectl refuses a case with its message.
fn refuses(answer: &Output, case: &Case) -> Result<(), String> {
    let message = case.refusal.as_deref().expect("a case that is refused");
    if answer.status.success() {
        Err(format!("accepted: {}", answer.stdout.trim_end()))
    } else if answer.stderr.contains(message) {
        Ok(())
    } else {
        Err(answer.stderr.trim_end().to_owned())
    }
}

#[test]
fn invalid_objects_are_refused_with_the_expected_message() {
    let control_plane = control_plane();
    let namespace = control_plane.namespace("refused");
    let refused = all(true, false);
    for kind in KINDS {
        let count = refused.iter().filter(|(table, _)| *table == kind.cases).count();
        assert!(count >= 40, "only {count} manifests of {}", kind.name);
    }
    let apply = ["apply", "-n", &namespace, "-f", "-"];
    for_all(&refused, |case| refuses(&control_plane.kubectl_stdin(&apply, &case.object.to_string()), case));
    let left = kubectl_json(&["get", "drp,drg,aca", "-n", &namespace, "-o", "json"]);
    assert_eq!(left["items"], json!([]), "nothing of them is kept");
}

#[test]
fn invalid_updates_are_refused_with_the_expected_message() {
    let namespace = control_plane().namespace("refused-updates");
    for_all(&all(true, true), |case| refuses(&update(&namespace, case)?, case));
}

#[test]
fn unusual_valid_objects_are_accepted_and_parsed() {
    let control_plane = control_plane();
    let namespace = control_plane.namespace("accepted");
    // Not apply, which would leave out nulls.
    let create = ["create", "-n", &namespace, "-o", "json", "-f", "-"];
    for_all(&all(false, false), |case| {
        let created = control_plane.kubectl_stdin(&create, &case.object.to_string()).checked();
        understood(&created.map_err(|error| format!("{error:#}"))?)?;
        if case.status.is_some() { write_status(&namespace, case) } else { Ok(()) }
    });
    let updates = control_plane.namespace("accepted-updates");
    for_all(&all(false, true), |case| {
        let answer = update(&updates, case)?.checked().map_err(|error| format!("{error:#}"))?;
        if answer.trim_end().ends_with(" configured") { Ok(()) } else { Err(answer) }
    });
}

#[test]
fn plan_with_150_mappings_is_accepted() {
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
        let mut plan = case(&PLANS, "minimal-one-way").object;
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
fn every_rule_has_a_case_that_it_refuses() {
    for kind in KINDS {
        let expected: Vec<_> = cases(&kind).into_iter().filter_map(|case| case.refusal).collect();
        let definition = definition(&kind);
        let (mut rules, mut untested) = (0, Vec::new());
        visit("", schema_of(&definition), &mut |at, schema| {
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                rules += 1;
                let message = rule["message"].as_str().unwrap_or_else(|| panic!("a rule of {at} has no message"));
                let helps = [": ", "such as", "exactly"].iter().any(|words| message.contains(words));
                assert!(helps, "{message}");
                // Most cases have the whole message, some its beginning.
                if !expected.iter().any(|part| part.len() > 30 && message.contains(part.as_str())) {
                    untested.push(message.to_owned());
                }
            }
        });
        assert!(rules >= kind.has.rules, "only {rules} rules of {} were seen", kind.name);
        assert_eq!(untested, Vec::<String>::new(), "rules without a case in {}", kind.cases);
    }
}

/// The object as the API server keeps it.
fn created(namespace: &str, case: &Case) -> Value {
    let create = ["create", "-n", namespace, "-o", "json", "-f", "-"];
    let created =
        control_plane().kubectl_stdin(&create, &case.object.to_string()).checked().expect("an accepted object");
    serde_json::from_str(&created).expect("JSON from kubectl")
}

#[test]
fn minimal_plan_gets_the_careful_defaults() {
    let namespace = control_plane().namespace("plan-defaults");
    let spec = created(&namespace, &case(&PLANS, "account-named-later"))["spec"].take();
    let fields = ["updatePolicy", "itemPolicy", "recoveryPointObjective", "deletionPolicy", "managementPolicy"];
    assert_eq!(fields.map(|field| &spec[field]), ["Wait", "Keep", "5m", "Delete", "Manage"]);
    assert_eq!(spec["ignoredConsumerGroups"], json!(null));
    let mapping = created(&namespace, &case(&PLANS, "one-topic-to-two"))["spec"]["topicMappings"][0].take();
    assert_eq!((&mapping["state"], &mapping["consumers"]), (&json!("Running"), &json!("Expected")));
    let set = created(&namespace, &case(&PLANS, "pause-items-and-no-consumers"))["spec"].take();
    assert_eq!((&set["updatePolicy"], &set["topicMappings"][0]["consumers"]), (&json!("PauseItems"), &json!("None")));
}

#[test]
fn minimal_group_gets_the_careful_defaults() {
    let namespace = control_plane().namespace("defaults");
    let create = |name: &str| created(&namespace, &case(&GROUPS, name));
    let kept = create("minimal");
    let wanted = json!({
        "source": { "regionId": "cn-hangzhou", "zoneId": "cn-hangzhou-h" },
        "destination": { "regionId": "cn-shanghai", "zoneId": "cn-shanghai-b" },
        "pairs": [{ "name": "data", "sourceDiskId": "d-data-a", "destinationDiskId": "d-data-b" }],
        "recoveryPointObjective": "15m",
        "replication": "Running",
        "deletionPolicy": "Delete",
        "managementPolicy": "Manage",
        "suspend": false,
    });
    assert_eq!(kept["spec"], wanted);
    let group: DiskReplicaGroup = serde_json::from_value(kept).expect("a group");
    let spec = group.spec;
    assert_eq!((spec.active_site, spec.failover), (None, None));
    assert_eq!((spec.replication, spec.reprotect), (Replication::Running, None));
    assert_eq!(spec.management_policy, ManagementPolicy::Manage);
    assert_eq!((spec.group_name, spec.description, spec.enable_rtc, spec.drill), (None, None, None, None));

    let request = create("request")["spec"]["failover"].take();
    assert_eq!(request, json!({ "requestedAt": "2026-11-28T03:10:00Z", "mode": "Planned", "validFor": "1h" }));
    let drill = create("schedule-every-minute")["spec"]["drill"].take();
    assert_eq!(drill, json!({ "schedule": "* * * * *", "keepFor": "2h" }));
}

#[test]
fn account_keeps_its_source_and_drops_nulls() {
    let namespace = control_plane().namespace("account-nulls");
    let kept = |name: &str| created(&namespace, &case(&ACCOUNTS, name))["spec"].take();
    let oidc = json!({
        "roleArn": "acs:ram::1234567890123456:role/disaster-recovery",
        "providerArn": "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c1",
        "sessionName": null,
    });
    assert_eq!(kept("explicit-nulls"), json!({ "credentials": { "oidc": oidc } }));
    assert_eq!(kept("ecs-role"), json!({ "credentials": { "ecsRole": {} } }));
    assert_eq!(kept("environment"), json!({ "credentials": { "environment": {} } }));
    assert_eq!(kept("budget-empty")["budget"], json!({ "requestsPerSecond": 135 }));
    assert_eq!(kept("nulls-further-down")["budget"], json!({ "requestsPerSecond": 135 }));
}
