//! The rules of alerts: what they name, and when they fire.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::story::{Labels, Story};
use crate::{accounts, disks, plans, promtool};
use test_support::read;

const RULES: &str = "deploy/monitoring/alerts.yaml";
const RUNBOOK: &str =
    "https://github.com/disaster-recovery-operator/disaster-recovery-operator/blob/main/docs/alerts.md";

#[derive(Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    rules: Vec<serde_yaml::Value>,
}

/// A rule of an alert.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) alert: String,
    expr: String,
    #[serde(rename = "for")]
    _for: Option<String>,
    #[serde(rename = "keep_firing_for")]
    _keep_firing_for: Option<String>,
    pub(crate) labels: Labels,
    annotations: BTreeMap<String, String>,
}

/// A rule that records a series for the others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    record: String,
    expr: String,
}

fn groups() -> Vec<Group> {
    serde_yaml::from_str::<File>(&read(RULES)).expect("a file of rules").groups
}

/// The names of the groups of rules, in the order of the file.
pub(crate) fn order() -> Vec<String> {
    groups().into_iter().map(|it| it.name).collect()
}

/// The rules that are of alerts, or those that are not.
fn read_rules<R: serde::de::DeserializeOwned>(of_alerts: bool) -> Vec<R> {
    let all = groups().into_iter().flat_map(|it| it.rules);
    let chosen = all.filter(|it| it.get("alert").is_some() == of_alerts);
    chosen.map(|it| serde_yaml::from_value(it).expect("a rule")).collect()
}

/// All rules of alerts.
pub(crate) fn rules() -> Vec<Rule> {
    read_rules(true)
}

/// The names that an expression of PromQL has of this program.
pub(crate) fn metrics_in(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words.filter(|it| it.starts_with("disaster_recovery")).map(str::to_owned).collect()
}

/// Whether an expression keeps clusters apart wherever it takes series together.
pub(crate) fn keeps_clusters_apart(expression: &str) -> bool {
    let lists = expression.split(" by (").skip(1).chain(expression.split(" on (").skip(1));
    lists.clone().count() > 0 && lists.into_iter().all(|it| it.starts_with("cluster"))
}

/// The names of all series that the program exports, and those of histograms.
pub(crate) fn exported() -> BTreeSet<String> {
    let reference = disaster_recovery_operator::telemetry::metrics::reference();
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(|it| it.trim().trim_matches('`').to_owned()).collect();
        (cells.len() > 2).then(|| (cells[1].clone(), cells[2].clone()))
    };
    let families = reference.lines().skip(2).filter_map(row);
    let series = families.flat_map(|(name, kind)| match kind.as_str() {
        "histogram" => ["bucket", "count", "sum"].map(|it| format!("{name}_{it}")).to_vec(),
        _ => vec![name],
    });
    series.collect()
}

#[test]
fn alerts_use_exported_metrics_and_name_their_object() {
    let mut known = exported();
    for rule in read_rules::<Recorded>(false) {
        let metrics = metrics_in(&rule.expr);
        assert!(!metrics.is_empty() && metrics.is_subset(&known), "{}: {metrics:?}", rule.record);
        assert!(keeps_clusters_apart(&rule.expr), "{}", rule.record);
        known.insert(rule.record);
    }
    let mut names = BTreeSet::new();
    for rule in rules() {
        assert!(names.insert(rule.alert.clone()), "{} twice", rule.alert);
        let (severity, has) = (&rule.labels["severity"], |name: &str| rule.annotations.contains_key(name));
        assert!(["critical", "warning", "info"].contains(&severity.as_str()), "{}: {severity}", rule.alert);
        assert!(has("summary") && has("description"), "{}", rule.alert);
        let runbook = format!("{RUNBOOK}#{}", rule.alert.to_lowercase());
        assert_eq!(rule.annotations.get("runbook_url"), Some(&runbook), "{}", rule.alert);
        let metrics = metrics_in(&rule.expr);
        assert!(!metrics.is_empty() && metrics.is_subset(&known), "{}: {metrics:?}", rule.alert);
        assert!(keeps_clusters_apart(&rule.expr), "{}", rule.alert);
    }
}

#[test]
fn runbook_entries_match_the_alerts() {
    let page = read("docs/alerts.md");
    let alerts: BTreeSet<_> = rules().into_iter().map(|it| it.alert).collect();
    let mut entries = BTreeSet::new();
    for entry in page.split("\n### ").skip(1) {
        let (name, text) = entry.split_once('\n').expect("an entry has a text");
        assert!(entries.insert(name.to_owned()), "{name} twice");
        let parts =
            ["**What it means.**", "**What is at risk.**", "**How to look.**", "**What to do.**", "**It clears**"];
        for part in parts {
            assert!(text.contains(part), "docs/alerts.md: {name} has no {part}");
        }
        let rule = rules().into_iter().find(|it| it.alert == name);
        let severity = rule.map(|it| it.labels["severity"].clone()).unwrap_or_default();
        assert!(text.trim_start().starts_with(&format!("*{severity}*")), "docs/alerts.md: the severity of {name}");
    }
    assert_eq!(entries, alerts);
}

#[test]
fn prometheus_operator_rules_are_the_same() {
    let value = |path: &str| serde_yaml::from_str::<serde_yaml::Value>(&read(path)).expect("YAML");
    let object = value("deploy/monitoring/prometheus-rule.yaml");
    assert_eq!(
        (object["apiVersion"].as_str(), object["kind"].as_str()),
        (Some("monitoring.coreos.com/v1"), Some("PrometheusRule"))
    );
    assert_eq!(object["spec"], value(RULES));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_alert_fires_and_clears_on_exported_metrics() {
    let (messages, two_way, rounds) = tokio::join!(plans::messages(), plans::two_way(), plans::rounds());
    let (behind, never_synced, stuck, slow, drift, throttled, exhausted) = tokio::join!(
        plans::behind(),
        plans::never_synced(),
        plans::stuck(),
        plans::slow(),
        plans::drift(),
        plans::throttled(),
        plans::exhausted()
    );
    let (failed_over, given_up, first, drills) =
        tokio::join!(disks::failed_over(), disks::given_up(), disks::first_synchronization(), disks::drills());
    let (not_ready, expiring, leaders, unreadable) =
        tokio::join!(accounts::not_ready(), accounts::expiring(), accounts::leaders(), accounts::unreadable());
    let stories = [
        messages,
        two_way,
        rounds,
        behind,
        never_synced,
        stuck,
        slow,
        drift,
        throttled,
        exhausted,
        failed_over,
        given_up,
        first,
        drills,
        not_ready,
        expiring,
        leaders,
        unreadable,
    ];
    run(&stories);
    let all: BTreeSet<_> = rules().into_iter().map(|it| it.alert).collect();
    let reported = |which: fn(&Story) -> BTreeSet<&'static str>| -> BTreeSet<_> {
        stories.iter().flat_map(which).map(str::to_owned).collect()
    };
    assert_eq!(reported(|it| it.alerts().0), all, "each fires in some story");
    assert_eq!(reported(|it| it.alerts().1), all, "and clears");
}

/// Runs promtool on all stories.
fn run(stories: &[Story]) {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = test_support::path(RULES).display().to_string();
    promtool::run(&["check", "rules", &rules], None);
    let mut args = vec!["test".to_owned(), "rules".to_owned()];
    for story in stories {
        let path = folder.path().join(format!("{}.yaml", story.name().replace(' ', "-")));
        // JSON is YAML.
        std::fs::write(&path, story.file(&rules).to_string()).expect("it is written");
        args.push(path.display().to_string());
    }
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    promtool::run(&args, None);
}
