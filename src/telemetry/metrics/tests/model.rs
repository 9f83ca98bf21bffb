//! Any sequence of changes exports what the last change of each object says, compared with a plain list of expected lines.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// The last values of an object.
#[derive(Clone, Debug, Default)]
struct Expected {
    conditions: Vec<(String, String)>,
    evidence: Vec<(String, i64)>,
    drift: Option<u64>,
    lags: Option<(Vec<ConsumerGroupLag>, i64)>,
    mappings: MappingMeasures,
    credentials: Option<i64>,
}

#[derive(Clone, Debug)]
enum Change {
    Conditions(Vec<(String, String)>),
    Evidence(Vec<(String, i64)>),
    Drift,
    Lags(Vec<ConsumerGroupLag>, i64),
    Mappings(MappingMeasures),
    Credentials(Option<i64>),
    Forget,
}

/// Texts that occur twice now and then, and that need escapes.
fn text() -> impl Strategy<Value = String> + Clone {
    prop::sample::select(vec!["a", "b", "rmq-cn-1", "GID\"quoted\"", "back\\slash", ""]).prop_map(String::from)
}

/// Milliseconds that are exact as seconds.
fn ms() -> impl Strategy<Value = i64> + Clone {
    (0_i64..2_000_000_000).prop_map(|seconds| seconds * 1000)
}

fn lags() -> impl Strategy<Value = Vec<ConsumerGroupLag>> {
    let lag = (text(), text(), text(), text(), prop::option::of(ms()), prop::option::of(ms()));
    let lag = lag.prop_map(|(mapping, source_instance, topic, group, lag_ms, last_sync_ms)| ConsumerGroupLag {
        mapping,
        source_instance,
        group,
        topic,
        lag_ms,
        last_sync_ms,
    });
    prop::collection::vec(lag, 0..5)
}

fn mappings() -> impl Strategy<Value = MappingMeasures> {
    let backlog = (text(), text(), text(), prop::option::of(-3_i64..1000), ms(), ms());
    let backlog = backlog.prop_map(|(mapping, source_instance, topic, messages, delay_ms, requested_ms)| {
        MessageBacklog { mapping, source_instance, topic, messages, delay_ms, requested_ms }
    });
    let round = (text(), ms(), 0_usize..9);
    let round = round.prop_map(|(mapping, started_ms, failed)| SyncRound { mapping, started_ms, failed });
    let few = 0..4;
    let lists = (
        prop::collection::vec((text(), ms()), few.clone()),
        prop::collection::vec(backlog, few.clone()),
        prop::collection::vec(round, few),
    );
    lists.prop_map(|(sampled, backlogs, rounds)| MappingMeasures { sampled, backlogs, rounds })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        prop::collection::vec((text(), text()), 0..4).prop_map(Change::Conditions),
        prop::collection::vec((text(), ms()), 0..4).prop_map(Change::Evidence),
        Just(Change::Drift),
        (lags(), ms()).prop_map(|(lags, objective)| Change::Lags(lags, objective)),
        mappings().prop_map(Change::Mappings),
        prop::option::of(ms()).prop_map(Change::Credentials),
        Just(Change::Forget),
    ]
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).expect("a time")
}

fn apply(metrics: &Metrics, kind: &'static str, name: &str, change: Change, expected: &mut Expected) {
    match change {
        Change::Conditions(all) => {
            let list: Vec<_> = all.iter().map(|(condition_type, it)| condition(condition_type, it, "Reason")).collect();
            metrics.conditions(kind, "ns", name, &list);
            expected.conditions = all;
            if kind != ACCOUNT {
                expected.drift.get_or_insert_default();
            }
        }
        Change::Evidence(all) => {
            let list: Vec<_> = all.iter().map(|(condition_type, ms)| (condition_type.as_str(), at(*ms))).collect();
            metrics.evidence(kind, "ns", name, &list);
            expected.evidence = all;
        }
        Change::Drift => {
            metrics.drift_corrected(kind, "ns", name);
            *expected.drift.get_or_insert_default() += 1;
        }
        Change::Lags(lags, objective) if kind == PLAN => {
            metrics.lags("ns", name, &lags, objective);
            expected.lags = Some((lags, objective));
        }
        Change::Mappings(measures) if kind == PLAN => {
            metrics.mappings("ns", name, &measures);
            expected.mappings = measures;
        }
        Change::Credentials(expiry) if kind == ACCOUNT => {
            metrics.credentials("ns", name, expiry.map(at));
            expected.credentials = expiry;
        }
        Change::Forget => {
            metrics.forget(kind, "ns", name);
            *expected = Expected::default();
        }
        Change::Lags(..) | Change::Mappings(_) | Change::Credentials(_) => {}
    }
}

fn quoted(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Series and values of an object.
fn lines(kind: &str, name: &str, expected: &Expected) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut add = |family: &str, has_kind: bool, labels: &[(&str, &str)], value: String| {
        let kind = if has_kind { format!("kind=\"{kind}\",") } else { String::new() };
        let rest: String = labels.iter().map(|(label, value)| format!(",{label}=\"{}\"", quoted(value))).collect();
        let series = format!("disaster_recovery_{family}{{{kind}namespace=\"ns\",name=\"{name}\"{rest}}}");
        all.insert(series, value);
    };
    let seconds = |ms: i64| format!("{}.0", ms / 1000);
    for (condition_type, status) in &expected.conditions {
        let labels = [("type", condition_type.as_str()), ("status", status), ("reason", "Reason")];
        add("condition_status", true, &labels, "1".into());
    }
    for (condition_type, ms) in &expected.evidence {
        add("evidence_expiration_timestamp_seconds", true, &[("type", condition_type)], seconds(*ms));
    }
    if let Some(count) = expected.drift {
        add("drift_corrections_total", true, &[], count.to_string());
    }
    if let Some((_, objective)) = expected.lags {
        add("recovery_point_objective_seconds", true, &[], seconds(objective));
    }
    // Of equal label sets the last one counts.
    let mut lags = BTreeMap::new();
    for lag in expected.lags.iter().flat_map(|it| &it.0) {
        lags.insert((&lag.mapping, &lag.source_instance, &lag.topic, &lag.group), (lag.lag_ms, lag.last_sync_ms));
    }
    for ((mapping, instance, topic, group), (lag_ms, last_sync_ms)) in lags {
        let labels =
            [("mapping", &**mapping), ("source_instance", instance), ("topic", topic), ("consumer_group", group)];
        add("checkpoint_never_synced", false, &labels, if last_sync_ms.is_none() { "1" } else { "0" }.into());
        lag_ms.into_iter().for_each(|ms| add("checkpoint_lag_seconds", false, &labels, seconds(ms)));
        let family = "checkpoint_last_sync_timestamp_seconds";
        last_sync_ms.into_iter().for_each(|ms| add(family, false, &labels, seconds(ms)));
    }
    let MappingMeasures { sampled, backlogs, rounds } = &expected.mappings;
    for (mapping, ms) in sampled {
        add("checkpoint_sample_timestamp_seconds", false, &[("mapping", mapping)], seconds(*ms));
    }
    for it in rounds {
        let labels = [("mapping", it.mapping.as_str())];
        add("checkpoint_sync_round_timestamp_seconds", false, &labels, seconds(it.started_ms));
        add("checkpoint_sync_round_failures", false, &labels, it.failed.to_string());
    }
    let backlogs: BTreeMap<_, _> =
        backlogs.iter().map(|it| ((&it.mapping, &it.source_instance, &it.topic), it)).collect();
    for ((mapping, instance, topic), it) in backlogs {
        let labels = [("mapping", &**mapping), ("source_instance", instance), ("topic", topic)];
        it.messages.into_iter().for_each(|count| add("message_backlog", false, &labels, count.to_string()));
        add("message_backlog_delay_seconds", false, &labels, seconds(it.delay_ms));
        add("message_backlog_sample_timestamp_seconds", false, &labels, seconds(it.requested_ms));
    }
    if let Some(ms) = expected.credentials {
        add("credentials_expiration_timestamp_seconds", false, &[], seconds(ms));
    }
    all
}

/// Each family is described once, and has all of its samples, each once, after that.
#[track_caller]
pub(super) fn assert_families_are_whole(text: &str) {
    let (mut families, mut series, mut family) = (BTreeSet::new(), BTreeSet::new(), "");
    assert!(text.ends_with("\n# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().expect("a name");
            assert!(families.insert(family), "{family} twice");
        } else if let Some(rest) = line.strip_prefix("# ") {
            assert!(rest == "EOF" || rest.split(' ').nth(1) == Some(family), "{line} after {family}");
        } else {
            let (labelled, _) = line.rsplit_once(' ').expect("a value");
            assert!(labelled.starts_with(family), "{line} after {family}");
            assert!(series.insert(labelled), "{labelled} twice");
        }
    }
}

proptest! {
    #[test]
    fn text_has_the_last_values_of_each_object(
        changes in prop::collection::vec((prop::sample::select(vec![PLAN, DISK_GROUP, ACCOUNT]), 0..2_usize, change()), 0..25)
    ) {
        let metrics = Metrics::new();
        let mut objects: BTreeMap<(&'static str, &str), Expected> = BTreeMap::new();
        let mut in_progress = None;
        for (kind, number, change) in changes {
            let name = ["orders", "db"][number];
            apply(&metrics, kind, name, change, objects.entry((kind, name)).or_default());
            // A scrape in progress keeps its numbers, and hinders no change.
            in_progress.get_or_insert_with(|| (metrics.scrape(), metrics.text()));
        }
        let expected: BTreeMap<_, _> = objects.iter().flat_map(|((kind, name), it)| lines(kind, name, it)).collect();
        let text = metrics.text();
        assert_families_are_whole(&text);
        let samples = text.lines().filter(|line| line.contains("namespace=\"ns\""));
        let samples = samples.map(|line| line.rsplit_once(' ').expect("a value"));
        let exported: BTreeMap<_, _> = samples.map(|(series, value)| (series.to_owned(), value.to_owned())).collect();
        prop_assert_eq!(exported, expected);
        if let Some((scrape, then)) = in_progress {
            prop_assert_eq!(scrape.collect::<String>(), then);
        }
    }
}
