//! The dashboard: JSON that names what is exported, and nothing of one installation; and how it and the rules are installed.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::alerts::{exported, keeps_clusters_apart, metrics_in};
use crate::promtool;
use test_support::read;

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/monitoring/dashboard.json")).expect("JSON")
}

/// The panels that show something; rows are headings.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let all = dashboard["panels"].as_array().expect("panels").iter();
    all.filter(|panel| panel["type"] != "row").collect()
}

fn text<'a>(of: &'a Value, what: &str) -> &'a str {
    of[what].as_str().unwrap_or_else(|| panic!("no {what} in {of:#}"))
}

/// Every value of a key anywhere in it.
fn all<'a>(of: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match of {
        Value::Object(fields) => {
            found.extend(fields.get(key));
            fields.values().for_each(|value| all(value, key, found));
        }
        Value::Array(items) => items.iter().for_each(|value| all(value, key, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_panel_has_a_description_and_unit() {
    let dashboard = dashboard();
    let ids: Vec<_> = dashboard["panels"].as_array().expect("panels").iter().map(|it| it["id"].as_i64()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "ids are unique");
    assert!(dashboard["schemaVersion"].as_i64() >= Some(38), "Grafana 10");
    let mut titles = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = text(panel, "title");
        assert!(titles.insert(title), "{title} twice");
        assert!(text(panel, "description").ends_with('.'), "{title}");
        assert!(!text(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{title}");
        let place = |what: &str| panel["gridPos"][what].as_u64().expect("a place");
        assert!(place("x") + place("w") <= 24 && place("h") > 0, "{title}");
        assert!(!panel["targets"].as_array().expect("targets").is_empty(), "{title}");
    }
    assert!(titles.len() > 20, "{titles:?}");
}

#[test]
fn dashboard_queries_exported_metrics_of_the_chosen_source() {
    let dashboard = dashboard();
    let mut asked = BTreeSet::new();
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().expect("targets") {
            let expr = text(target, "expr");
            let metrics = metrics_in(expr);
            assert!(!metrics.is_empty(), "{target}");
            assert!(keeps_clusters_apart(expr), "{target}");
            assert_eq!(
                expr.matches("cluster=~\"$cluster\"").count(),
                expr.matches("disaster_recovery_").count(),
                "{target}"
            );
            // A range would show what is gone.
            assert!(panel["type"] != "stat" || expr.ends_with("or vector(0)") || target["instant"] == true, "{target}");
            asked.extend(metrics);
        }
    }
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let names: Vec<_> = variables.iter().map(|it| text(it, "name")).collect();
    assert_eq!(names, ["datasource", "cluster", "kind", "namespace", "name", "product"]);
    for variable in variables.iter().filter(|it| it["type"] == "query") {
        asked.extend(metrics_in(text(&variable["query"], "query")));
    }
    let exported = exported();
    let unknown: Vec<_> = asked.difference(&exported).collect();
    assert_eq!(unknown, Vec::<&String>::new());
    // What is exported is shown, but for the parts of histograms that quantiles do not need.
    let whole = |it: &&String| !it.ends_with("_seconds_count") && !it.ends_with("_seconds_sum");
    let unseen: Vec<_> = exported.difference(&asked).filter(whole).collect();
    assert_eq!(unseen, Vec::<&String>::new());
    let mut sources = vec![];
    all(&dashboard, "datasource", &mut sources);
    assert!(sources.len() > 50 && sources.iter().all(|it| it["uid"] == "${datasource}"), "{sources:?}");
}

/// promtool parses each query as an expression of a rule, once Grafana's variables have values.
#[test]
fn every_query_is_promql() {
    let dashboard = dashboard();
    let mut found = vec![];
    all(&dashboard, "expr", &mut found);
    let filled = |it: &&Value| it.as_str().unwrap_or_default().replace("$__rate_interval", "5m");
    let rules = found
        .iter()
        .enumerate()
        .map(|(number, it)| serde_json::json!({ "record": format!("query:{number}"), "expr": filled(it) }));
    let rules: Vec<_> = rules.collect();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let group = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    std::fs::write(file.path(), group.to_string()).expect("it is written");
    let printed = promtool::run(&["check", "rules", "--lint=all", &file.path().display().to_string()], None);
    assert!(printed.contains(&format!("{} rules found", found.len())), "{printed}");
}

#[test]
fn scrape_targets_match_the_service() {
    let monitor: serde_yaml::Value =
        serde_yaml::from_str(&read("deploy/monitoring/service-monitor.yaml")).expect("YAML");
    let endpoint = &monitor["spec"]["endpoints"][0];
    assert_eq!((endpoint["port"].as_str(), endpoint["path"].as_str()), (Some("http"), Some("/metrics")));
    assert_eq!(endpoint["honorLabels"].as_bool(), Some(true));
    let labels = &monitor["spec"]["selector"]["matchLabels"];
    for label in ["name", "instance"] {
        let name = format!("app.kubernetes.io/{label}");
        assert_eq!(labels[name.as_str()].as_str(), Some("disaster-recovery-operator"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_builds_the_monitoring_from_the_same_files() {
    let plane = tokio::task::spawn_blocking(test_support::ControlPlane::shared).await.expect("a control plane");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/monitoring");
    let built = plane.kubectl(&["kustomize", folder]).checked().expect("it builds");
    let objects = serde_yaml::Deserializer::from_str(&built);
    let objects: Vec<Value> = objects.map(|it| serde::Deserialize::deserialize(it).expect("an object")).collect();
    let of = |kind: &str| objects.iter().find(|it| it["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"));
    let board = &of("ConfigMap")["data"]["disaster-recovery-operator.json"];
    assert_eq!(serde_json::from_str::<Value>(board.as_str().expect("a file")).expect("JSON"), dashboard());
    let rules: Value = serde_yaml::from_str(&read("deploy/monitoring/alerts.yaml")).expect("YAML");
    assert_eq!(of("PrometheusRule")["spec"], rules);
    assert_eq!(
        (objects.len(), &of("ServiceMonitor")["metadata"]["namespace"]),
        (3, &"disaster-recovery-system".into())
    );
}
