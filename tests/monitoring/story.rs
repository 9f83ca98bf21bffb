//! What Prometheus would have seen: scrapes of the real exporter, one after the other, as a test file of promtool.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use disaster_recovery_operator::telemetry::metrics::Metrics;
use serde_json::{Value, json};

use crate::alerts::{Rule, order, rules};

/// When the evidence of a condition ends.
pub(crate) const EXPIRY: &str = "disaster_recovery_evidence_expiration_timestamp_seconds";

/// The labels of a series or of an alert.
pub(crate) type Labels = BTreeMap<String, String>;

/// What one scrape gave.
#[derive(Clone, Debug)]
pub(crate) struct Scrape {
    /// The samples as they were printed: name with labels, and value.
    samples: Vec<(String, f64)>,
    /// Its time, in seconds since 1970 UTC.
    at: f64,
}

impl Scrape {
    /// Scrapes.
    pub(crate) fn of(metrics: &Metrics) -> Self {
        let text = metrics.text();
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            (series.to_owned(), value.parse().expect("it is a number"))
        };
        // Buckets are many, and no alert uses them.
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket{"));
        let at = jiff::Timestamp::now().as_millisecond() as f64 / 1000.0;
        Self { samples: lines.map(sample).collect(), at }
    }

    /// The labels and values of a metric.
    pub(crate) fn all(&self, metric: &str) -> Vec<(Labels, f64)> {
        let of_it = self.samples.iter().filter(|(series, _)| series.split('{').next() == Some(metric));
        of_it.map(|(series, value)| (labels(series), *value)).collect()
    }

    /// Whether no evidence has expired.
    pub(crate) fn is_recent(&self) -> bool {
        let ends =
            self.all(EXPIRY).into_iter().filter(|it| it.0["type"] == "Ready" || it.0["type"] == "OffsetsCovered");
        ends.into_iter().all(|it| it.1 > self.at)
    }

    /// The value of a metric summed over all of its series.
    pub(crate) fn sum(&self, metric: &str) -> f64 {
        self.all(metric).iter().map(|it| it.1).sum()
    }
}

/// The labels of a series. No value of the tests has a comma or a quotation mark in it.
fn labels(series: &str) -> Labels {
    let inside = series.split_once('{').and_then(|it| it.1.rsplit_once('}')).map_or("", |it| it.0);
    let pairs = inside.split(',').filter_map(|it| it.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
}

/// A firing alert: its name and the labels that set it apart.
pub(crate) type Firing = (&'static str, Labels);

/// An alert about an object of a kind.
pub(crate) fn about(alert: &'static str, kind: &str, namespace: &str, name: &str) -> Firing {
    let all = [("kind", kind), ("namespace", namespace), ("name", name)];
    (alert, all.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
}

/// Minutes of scrapes, one a minute, and what fires at some of them.
pub(crate) struct Story {
    name: &'static str,
    minutes: usize,
    /// By series, what promtool is given for each part of the story, and up to which minute it goes.
    series: BTreeMap<String, (String, usize)>,
    checks: Vec<(usize, Vec<Firing>)>,
}

impl Story {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, minutes: 0, series: BTreeMap::new(), checks: vec![] }
    }

    /// For so many minutes, the scrape of each pod returns these samples; a pod of another namespace has that before its name.
    /// Times among them advance with the clock, so that an age stays the same, except those of `still`: nothing happened to them
    /// since.
    pub(crate) fn advance(&mut self, minutes: usize, pods: &[(&str, &Scrape)], still: &[&str]) {
        let mut seen = BTreeSet::new();
        for (number, (pod, scrape)) in pods.iter().enumerate() {
            for (series, value) in &scrape.samples {
                let is_time = series.split('{').next().unwrap_or_default().ends_with("_timestamp_seconds");
                let moves = is_time && !still.iter().any(|name| series.contains(name));
                // promtool's clock begins in 1970: times are moved as that of the scrape is.
                let value = if is_time { value - scrape.at + self.minutes as f64 * 60.0 } else { *value };
                let key = targeted(series, pod, number);
                let (text, until) = self.series.entry(key.clone()).or_default();
                if self.minutes > *until {
                    write!(text, " _x{}", self.minutes - *until).expect("it is written");
                }
                let step = if moves { 60 } else { 0 };
                write!(text, " {value}+{step}x{}", minutes - 1).expect("it is written");
                *until = self.minutes + minutes;
                assert!(seen.insert(key), "{series} twice");
            }
        }
        // What is not scraped any more is over at once, as Prometheus has it.
        for (_, (text, until)) in self.series.iter_mut().filter(|it| !seen.contains(it.0)) {
            if *until == self.minutes {
                text.push_str(" stale");
                *until += 1;
            }
        }
        self.minutes += minutes;
    }

    /// The same of one pod with nothing that stands still.
    pub(crate) fn go_on(&mut self, minutes: usize, scrape: &Scrape) {
        self.advance(minutes, &[("pod-0", scrape)], &[]);
    }

    /// At the last minute so far these alerts fire, and no other.
    pub(crate) fn fires(&mut self, firing: impl IntoIterator<Item = Firing>) {
        self.checks.push((self.minutes - 1, firing.into_iter().collect()));
    }

    /// The alerts that fire at some time of the story, and those that fire at one time and not at a later one.
    pub(crate) fn alerts(&self) -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
        let (mut fired, mut cleared) = (BTreeSet::new(), BTreeSet::new());
        for (_, firing) in &self.checks {
            let now: BTreeSet<_> = firing.iter().map(|it| it.0).collect();
            cleared.extend(fired.difference(&now));
            fired.extend(now);
        }
        (fired, cleared)
    }

    /// The test file of promtool.
    pub(crate) fn file(&self, rules_file: &str) -> Value {
        let rules = rules();
        let series = self.series.iter();
        let series = series.map(|(series, (text, _))| json!({ "series": series, "values": text.trim_start() }));
        let check = |(minute, firing): &(usize, Vec<Firing>)| {
            let samples = firing.iter().map(|it| json!({ "labels": firing_series(&rules, it), "value": 1 }));
            json!({
                "expr": "ALERTS{alertstate=\"firing\"}",
                "eval_time": format!("{minute}m"),
                "exp_samples": samples.collect::<Vec<_>>(),
            })
        };
        json!({
            "rule_files": [rules_file],
            "evaluation_interval": "1m",
            "group_eval_order": order(),
            "tests": [{
                "name": self.name,
                "interval": "1m",
                "input_series": series.collect::<Vec<_>>(),
                "promql_expr_test": self.checks.iter().map(check).collect::<Vec<_>>(),
            }],
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}

/// A series with the labels that Prometheus adds to those of its target. The exporter's own go first (`honor_labels`).
fn targeted(series: &str, pod: &str, number: usize) -> String {
    let (namespace, pod) = pod.split_once('/').unwrap_or(("disaster-recovery-system", pod));
    let (metric, own) = series.split_once('{').unwrap_or((series, "}"));
    let own = own.trim_end_matches('}');
    let mut all: Vec<_> = own.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect();
    let target = [
        ("job", "disaster-recovery-operator".to_owned()),
        ("instance", format!("10.0.0.{number}:8080")),
        ("namespace", namespace.to_owned()),
        ("pod", pod.to_owned()),
    ];
    let known: BTreeSet<_> = labels(series).into_iter().filter(|it| !it.1.is_empty()).map(|it| it.0).collect();
    all.retain(|it| !it.ends_with("=\"\""));
    all.extend(
        target.into_iter().filter(|it| !known.contains(it.0)).map(|(name, value)| format!("{name}=\"{value}\"")),
    );
    format!("{metric}{{{}}}", all.join(","))
}

/// What Prometheus itself keeps of a firing alert.
fn firing_series(rules: &[Rule], (alert, labels): &Firing) -> String {
    let rule = rules.iter().find(|it| it.alert == *alert).unwrap_or_else(|| panic!("there is no alert {alert}"));
    let mut all = labels.clone();
    all.extend(rule.labels.clone());
    all.extend([("alertname", *alert), ("alertstate", "firing")].map(|(name, value)| (name.into(), value.into())));
    let all: Vec<_> = all.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("ALERTS{{{}}}", all.join(","))
}
