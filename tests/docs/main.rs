//! The documentation names what there is, and nothing else: flags, reasons, metrics, actions, events, links and manifests.

#![allow(clippy::expect_used, reason = "a test that cannot go on says why")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use disaster_recovery_operator::api::account::AlibabaCloudAccount;
use disaster_recovery_operator::api::disk_replica_group::DiskReplicaGroup;
use disaster_recovery_operator::api::plan::DisasterRecoveryPlan;
use disaster_recovery_operator::telemetry::metrics::reference;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use test_support::{path, read};

/// The README and everything below docs/.
fn pages() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(path("docs")).expect("docs/ is there");
    let mut all: Vec<_> = docs.map(|entry| entry.expect("an entry of docs/").path()).collect();
    all.retain(|path| path.extension().is_some_and(|it| it == "md"));
    all.extend(["README.md", "CHANGELOG.md"].map(path));
    all
}

/// The fields of every table row of a page that begins with a name in backticks.
fn rows(page: &str) -> Vec<Vec<&str>> {
    page.lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_start_matches("| ").trim_end_matches(" |").split(" | ").map(str::trim).collect())
        .collect()
}

fn unquoted(cell: &str) -> &str {
    cell.trim_matches('`')
}

/// Flag, variable and default of every option that the program's help names; those of clap itself are left out.
fn options(program: &str, arguments: &[&str]) -> Vec<(String, String, Option<String>)> {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("DR_OPERATOR_") || name.starts_with("CLOUD_SIMULATOR_") {
            command.env_remove(name);
        }
    }
    let output = command.args(arguments).arg("--help").output().expect("the program runs");
    let help = String::from_utf8(output.stdout).expect("help is text");
    let between = |text: &str, from: &str, to: char| {
        let rest = text.split_once(from)?.1;
        Some(rest.split_once(to)?.0.to_owned())
    };
    let mut all = Vec::new();
    for part in help.split("\n      --").skip(1) {
        let name = part.split_whitespace().next().expect("an option has a name");
        let variable = between(part, "[env: ", ']').expect("every option is a variable too");
        let variable = variable.trim_end_matches('=').to_owned();
        all.push((format!("--{name}"), variable, between(part, "[default: ", ']')));
    }
    assert!(!all.is_empty(), "no option was found in:\n{help}");
    all
}

#[track_caller]
fn compare_options(page: &str, options: &[(String, String, Option<String>)]) {
    let text = read(page);
    let rows: Vec<_> = rows(&text).into_iter().filter(|row| row[0].starts_with("`--")).collect();
    let documented: BTreeSet<_> = rows.iter().map(|row| unquoted(row[0]).to_owned()).collect();
    let real: BTreeSet<_> = options.iter().map(|it| it.0.clone()).collect();
    assert_eq!(documented, real, "{page}: the flags");
    for (flag, variable, default) in options {
        let row = rows.iter().find(|row| unquoted(row[0]) == flag).expect("it was compared above");
        assert_eq!(unquoted(row[1]), variable, "{page}: the variable of {flag}");
        if let Some(default) = default {
            assert_eq!(unquoted(row[2]), default, "{page}: the default of {flag}");
        }
    }
}

#[test]
fn flags_are_documented_with_variable_and_default() {
    compare_options("docs/command-line.md", &options(env!("CARGO_BIN_EXE_dr-operator"), &["run"]));
    compare_options("docs/simulator.md", &options(env!("CARGO_BIN_EXE_cloud-simulator"), &[]));
}

/// The constants of a module of `src/api/condition.rs`, with those that are another module's.
fn constants(module: &str) -> BTreeSet<String> {
    values("src/api/condition.rs", module).into_values().collect()
}

/// The constants of a module by their names.
fn values(file: &str, module: &str) -> BTreeMap<String, String> {
    let source = read(file);
    let body = source.split_once(&format!("pub mod {module} {{")).expect("the module is there").1;
    let body = body.split_once("\n}").expect("the module ends").0;
    let constants = body.lines().filter_map(|line| line.trim().strip_prefix("pub const ")?.split_once(": &str = "));
    let value = |text: &str| {
        let text = text.trim_end_matches(';');
        match text.strip_prefix("super::").and_then(|path| path.split_once("::")) {
            Some((other, name)) => values(file, other).remove(name).expect("the other module has it"),
            None => text.trim_matches('"').to_owned(),
        }
    };
    constants.map(|(name, text)| (name.to_owned(), value(text))).collect()
}

#[test]
fn documented_conditions_and_reasons_match_the_code() {
    let page = read("docs/conditions.md");
    for kind in constants("condition_type") {
        assert!(page.contains(&format!("\n## `{kind}`\n")), "docs/conditions.md has no section for {kind}");
    }
    let managed = &["drp", "drg", "both"][..];
    let sections = [
        ("ready", "Ready", managed),
        ("account", "Ready", &["aca"]),
        ("synced", "Synced", managed),
        ("protected", "Protected", managed),
        ("failover_ready", "FailoverReady", managed),
        ("offsets", "OffsetsCovered", managed),
        ("drill", "DrillNotCleared", managed),
    ];
    for (module, kind, whose) in sections {
        let section = page.split_once(&format!("\n## `{kind}`\n")).expect("it was looked for above").1;
        let section = section.split("\n## ").next().unwrap_or_default();
        let all = rows(section);
        let documented: BTreeSet<_> =
            all.iter().filter(|row| whose.contains(&row[1])).map(|row| unquoted(row[0]).to_owned()).collect();
        let mut real = constants(module);
        // What an account has in common with the other kinds.
        if module == "account" {
            real.extend(["Available", "Deleting"].map(String::from));
        }
        assert_eq!(documented, real, "docs/conditions.md: the reasons of {kind} of {whose:?}");
        for row in all {
            let known = sections.iter().filter(|it| it.1 == kind).any(|it| it.2.contains(&row[1]));
            assert!(known, "docs/conditions.md: whose reason is {row:?}");
            assert!(["True", "False", "Unknown"].contains(&row[2]), "docs/conditions.md: the status of {row:?}");
        }
    }
    // Every module of reasons has a section.
    let source = read("src/api/condition.rs");
    let modules = source.split("\npub mod ").skip(1).filter_map(|rest| rest.split_once(" {")).map(|it| it.0);
    let modules: BTreeSet<_> = modules.filter(|module| *module != "condition_type").collect();
    assert_eq!(modules, sections.iter().map(|it| it.0).collect());
    // And a section that names a type names one that there is.
    let named: BTreeSet<_> = page.lines().filter_map(|line| line.strip_prefix("## `")).map(unquoted).collect();
    assert_eq!(named, constants("condition_type").iter().map(String::as_str).collect());
}

/// The reasons of events that a source names, by the constants of `src/api/event.rs`.
fn events(source: &str) -> BTreeSet<String> {
    let reasons = values("src/api/event.rs", "reason");
    let source = read(source);
    let named = source.split("reason::").skip(1).map(|rest| {
        let name: String = rest.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
        reasons.get(&name).unwrap_or_else(|| panic!("there is no reason {name}")).clone()
    });
    let named: BTreeSet<_> = named.collect();
    assert!(!named.is_empty(), "no event was found in\n{source}");
    named
}

#[test]
fn documented_events_match_the_code() {
    let page = read("docs/conditions.md");
    let section = page.split_once("\n## Events\n").expect("a section of events").1;
    let rows = rows(section);
    for row in &rows {
        assert!(["Normal", "Warning"].contains(&row[2]), "docs/conditions.md: the type of {row:?}");
    }
    let documented = |of: &str| -> BTreeSet<String> {
        let rows = rows.iter().filter(|row| [of, "both", "all"].contains(&row[1]));
        rows.flat_map(|row| row[0].split(", ").map(|name| unquoted(name).to_owned())).collect()
    };
    let watched = events("src/controller/runtime/unreadable.rs");
    let shared = events("src/controller/release.rs").into_iter().chain(events("src/controller/events.rs"));
    let shared: BTreeSet<_> = shared.chain(watched.iter().cloned()).collect();
    for (of, kind) in [("drp", "plan"), ("drg", "disk_replica_group")] {
        let mut reported = events(&format!("src/controller/{kind}/events.rs"));
        reported.extend(shared.iter().cloned());
        assert_eq!(documented(of), reported, "docs/conditions.md: the events of {of}");
    }
    let of_accounts = rows.iter().filter(|row| ["aca", "all"].contains(&row[1])).map(|row| unquoted(row[0]).to_owned());
    let mut reported = events("src/controller/account/status.rs");
    reported.extend(watched);
    assert_eq!(of_accounts.collect::<BTreeSet<_>>(), reported, "docs/conditions.md: the events of aca");
    let whose: BTreeSet<_> = rows.iter().map(|row| row[1]).collect();
    assert_eq!(whose, BTreeSet::from(["aca", "all", "both", "drg", "drp"]));
}

#[test]
fn metrics_reference_matches_the_code() {
    let page = read("docs/metrics.md");
    let begin = "<!-- Written by make docs, from src/telemetry. -->\n";
    let written = page.split_once(begin).and_then(|it| it.1.split_once("<!-- The end")).expect("marks").0;
    let reference = reference();
    assert_eq!(written, reference, "run make docs");
    let known: BTreeSet<_> = rows(&reference).into_iter().map(|row| unquoted(row[0]).to_owned()).collect();
    for row in rows(&reference) {
        let [name, kind, unit, labels, meaning] = row[..] else { panic!("a row has five cells: {row:?}") };
        assert_eq!(kind == "counter", unquoted(name).ends_with("_total"), "{name}");
        assert_eq!(unit == "seconds", name.contains("_seconds"), "{name}");
        assert!(labels == "–" || labels.starts_with('`'), "{name}: {labels}");
        let whole = meaning.starts_with(|c: char| c.is_uppercase() || c == '1') && meaning.ends_with('.');
        assert!(whole && meaning.len() > 20, "{name}: {meaning}");
    }
    for page in pages() {
        let text = read(&page);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        // The crate has that prefix too.
        for word in words.filter(|it| it.starts_with("disaster_recovery_") && *it != "disaster_recovery_operator") {
            assert!(known.contains(word), "{}: there is no metric {word}", page.display());
        }
    }
}

/// The operations of the two products that a text names behind `before`.
fn operations(text: &str, before: &str) -> BTreeSet<String> {
    let name = |rest: &str| rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned();
    let of_ours = |name: &String| {
        let what = ["DisasterRecovery", "ConsumerGroupLag", "DiskReplicaGroup", "DiskReplicaPair", "ReplicaGroupDrill"];
        what.iter().any(|what| name.contains(what))
    };
    text.split(before).skip(1).map(name).filter(of_ours).collect()
}

#[test]
fn ram_policy_lists_every_action_called() {
    let page = read("docs/ram-policy.md");
    let (table, policy) = page.split_once("```json").expect("a policy");
    let policy = policy.split_once("```").expect("the policy ends").0;
    serde_json::from_str::<serde_json::Value>(policy).expect("the policy is JSON");
    // The client has it and the operator never calls it: lists return the same data.
    for (product, count, uncalled) in [("rocketmq", 14, &["GetDisasterRecoveryItem"][..]), ("ebs", 16, &[])] {
        let mut called = operations(&read(format!("src/cloud/{product}/mod.rs")), "ApiOperation::");
        for operation in uncalled {
            assert!(called.remove(*operation), "{operation}");
        }
        assert_eq!(called.len(), count, "{product}: {called:?}");
        assert_eq!(operations(table, &format!("| `{product}:")), called, "the table");
        assert_eq!(operations(policy, &format!("\"{product}:")), called, "the policy");
    }
    let roles = page.split_once("\n## Roles\n").expect("a section of roles").1;
    for (operation, variant) in [("AssumeRole", "AssumeRole"), ("AssumeRoleWithOIDC", "AssumeRoleWithOidc")] {
        assert!(read("src/cloud/sts.rs").contains(&format!("ApiOperation::{variant}")), "{operation} is not called");
        assert!(roles.contains(&format!("({operation})")), "{operation}");
    }
    assert!(roles.contains("\"Action\": \"sts:AssumeRole\""), "the caller's policy");
}

/// The blocks of a language in a page, also those within lists.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(indent) = line.find("```").filter(|at| line[*at..] == format!("```{language}")) else { continue };
        let block = lines.by_ref().take_while(|line| line.trim() != "```");
        all.push(block.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect());
    }
    all
}

#[test]
fn every_object_in_docs_parses() {
    let mut found = 0;
    for page in pages() {
        let text = read(&page);
        assert_eq!(text.matches("```yaml").count(), blocks(&text, "yaml").len(), "{}", page.display());
        for block in blocks(&text, "yaml").iter().flat_map(|block| block.split("---\n")) {
            let error = match block.lines().find_map(|line| line.strip_prefix("kind: ")) {
                Some("AlibabaCloudAccount") => serde_yaml::from_str::<AlibabaCloudAccount>(block).err(),
                Some("DisasterRecoveryPlan") => serde_yaml::from_str::<DisasterRecoveryPlan>(block).err(),
                Some("DiskReplicaGroup") => serde_yaml::from_str::<DiskReplicaGroup>(block).err(),
                Some("Deployment") => serde_yaml::from_str::<Deployment>(block).err(),
                Some("Role") => serde_yaml::from_str::<Role>(block).err(),
                Some("RoleBinding") => serde_yaml::from_str::<RoleBinding>(block).err(),
                Some("Kustomization" | "HelmRelease") => serde_yaml::from_str::<serde_yaml::Value>(block).err(),
                other => panic!("{}: what is a {other:?}?\n{block}", page.display()),
            };
            assert!(error.is_none(), "{}: {error:?}\n{block}", page.display());
            found += 1;
        }
    }
    assert!(found > 1, "only {found} manifests are shown");
}

#[test]
fn deployment_in_docs_differs_only_as_described() {
    let shown = blocks(&read("docs/accounts.md"), "yaml");
    let shown = shown.iter().find(|block| block.contains("kind: Deployment")).expect("a patch");
    let container = |text: &str| {
        let deployment: Deployment = serde_yaml::from_str(text).expect("a deployment");
        let pod = deployment.spec.and_then(|spec| spec.template.spec).expect("a pod");
        let container = pod.containers.into_iter().next().expect("a container");
        (deployment.metadata.name, container.name, container.args.unwrap_or_default())
    };
    let (name, operator, args) = container(shown);
    let (installed_name, installed_operator, installed) = container(&read("deploy/base/deployment.yaml"));
    assert_eq!((name, operator), (installed_name, installed_operator));
    let rest = |args: Vec<String>, left_out: &str| -> Vec<String> {
        args.into_iter().filter(|arg| !arg.starts_with(left_out)).collect()
    };
    assert_eq!(rest(args, "--sts-endpoint="), rest(installed, "--credentials-secret="));
}

#[test]
fn policies_in_docs_are_json() {
    let policies: Vec<_> = pages().iter().flat_map(|page| blocks(&read(page), "json")).collect();
    for policy in &policies {
        let policy: serde_json::Value = serde_json::from_str(policy).expect("JSON");
        assert_eq!(policy["Version"], "1");
    }
    assert!(policies.len() > 2);
}

/// A heading as GitHub links to it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-')
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn every_internal_link_resolves() {
    for page in pages() {
        let text = read(&page);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|it| it.0) {
            if target.starts_with("https://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let folder = page.parent().expect("a page is in a folder");
            let file = if file.is_empty() { page.clone() } else { folder.join(file) };
            assert!(file.exists(), "{}: {target} leads nowhere", page.display());
            if !heading.is_empty() {
                let text = read(&file);
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                let found = headings.any(|line| anchor(line.trim_start_matches(['#', ' '])) == heading);
                assert!(found, "{}: {target} is no heading there", page.display());
            }
        }
    }
}
