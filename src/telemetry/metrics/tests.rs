mod model;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::cloud::MAX_CODES;
use super::groups::MAX_GROUPS as MAX_PLAN_GROUPS;
use super::records::MAX_GROUPS;
use super::*;
use crate::cloud::operation::ApiOperation;

fn lag(group: &str, lag_ms: Option<i64>) -> ConsumerGroupLag {
    let (mapping, source_instance, topic) = ("orders".into(), "rmq-a".into(), "orders".into());
    ConsumerGroupLag {
        mapping,
        source_instance,
        group: group.into(),
        topic,
        lag_ms,
        last_sync_ms: Some(1_740_724_080_343),
    }
}

fn condition(condition_type: &str, status: &str, reason: &str) -> Condition {
    Condition {
        type_: condition_type.into(),
        status: status.into(),
        reason: reason.into(),
        message: String::new(),
        observed_generation: None,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

/// Consumer groups that have a series in a family.
fn groups(text: &str, family: &str) -> Vec<String> {
    let samples = text.lines().filter(|line| line.starts_with(&format!("disaster_recovery_{family}{{")));
    samples.map(|line| line.split("consumer_group=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()).collect()
}

#[test]
fn lags_are_exact_and_removed_with_their_object() {
    let metrics = Metrics::new();
    metrics.lags("ns", "orders", &[lag("GID_A", Some(1_234)), lag("GID_B", None)], 300_000);
    let text = metrics.text();
    assert!(text.contains("disaster_recovery_checkpoint_lag_seconds{"), "{text}");
    assert!(text.contains("consumer_group=\"GID_A\"} 1.234"), "{text}");
    let objective = "objective_seconds{kind=\"DisasterRecoveryPlan\",namespace=\"ns\",name=\"orders\"} 300.0";
    assert!(text.contains(objective), "{text}");
    metrics.lags("ns", "orders", &[lag("GID_A", Some(0))], 300_000);
    assert!(!metrics.text().contains("GID_B"));
    let last_sync = || metrics.text().contains("checkpoint_last_sync_timestamp_seconds{");
    assert!(last_sync());
    metrics.lags("ns", "orders", &[ConsumerGroupLag { last_sync_ms: None, ..lag("GID_A", None) }], 300_000);
    assert!(!last_sync() && metrics.text().contains("GID_A"), "the former value is removed");
    metrics.forget(PLAN, "ns", "orders");
    assert!(!metrics.text().contains("orders"));
}

#[test]
fn kinds_with_one_name_have_separate_series() {
    let metrics = Metrics::new();
    metrics.lags("ns", "orders", &[lag("GID_A", Some(1_234))], 300_000);
    metrics.disk_group("ns", "orders", Some(&GroupMeasures { objective_seconds: 900.0, ..Default::default() }));
    metrics.forget(DISK_GROUP, "ns", "orders");
    assert!(metrics.text().contains("GID_A") && !metrics.text().contains("DiskReplicaGroup"));
    metrics.disk_group("ns", "orders", Some(&GroupMeasures::default()));
    metrics.forget(PLAN, "ns", "orders");
    let text = metrics.text();
    assert!(!text.contains("GID_A") && !text.contains(PLAN) && text.contains(DISK_GROUP), "{text}");
}

#[test]
fn error_codes_are_limited() {
    let metrics = Metrics::new();
    for number in 0..1000 {
        let (product, operation, code) = ("rocketmq", ApiOperation::GetDisasterRecoveryPlan, format!("Code{number}"));
        metrics.requested(&Finished { product, operation, code: &code, duration: Duration::ZERO });
    }
    let text = metrics.text();
    let series = text.lines().filter(|line| line.starts_with("disaster_recovery_cloud_requests_total{")).count();
    assert_eq!(series, MAX_CODES + 1);
    let other = format!("code=\"Other\"}} {}", 1000 - MAX_CODES);
    assert!(text.contains(&other), "{text}");
}

#[test]
fn leader_is_exported_only_while_it_leads() {
    let metrics = Metrics::new();
    let leader =
        || metrics.text().lines().filter(|line| line.starts_with("disaster_recovery_leader ")).collect::<String>();
    assert_eq!(leader(), "disaster_recovery_leader 0");
    metrics.leading(true);
    assert_eq!(leader(), "disaster_recovery_leader 1");
    metrics.leading(false);
    assert_eq!(leader(), "disaster_recovery_leader 0");
}

#[test]
fn unreadable_objects_are_counted_by_kind() {
    let metrics = Metrics::new();
    let series = |kind: &str, count: u8| format!("disaster_recovery_unreadable_objects{{kind=\"{kind}\"}} {count}\n");
    for (change, count) in [(0, 0), (1, 1), (1, 2), (-1, 1), (0, 1), (-1, 0)] {
        metrics.unreadable(DISK_GROUP, change);
        assert!(metrics.text().contains(&series(DISK_GROUP, count)), "{}", metrics.text());
    }
    metrics.unreadable(PLAN, 1);
    metrics.forget(PLAN, "ns", "orders");
    let text = metrics.text();
    assert!(text.contains(&series(PLAN, 1)) && text.contains(&series(DISK_GROUP, 0)), "{text}");
}

#[test]
fn credentials_expiry_is_removed_with_its_account() {
    let metrics = Metrics::new();
    metrics.credentials("ns", "main", Some(Timestamp::UNIX_EPOCH));
    let series = "disaster_recovery_credentials_expiration_timestamp_seconds{namespace=\"ns\",name=\"main\"} 0.0";
    assert!(metrics.text().contains(series), "{}", metrics.text());
    metrics.forget(ACCOUNT, "ns", "main");
    assert!(!metrics.text().contains("main"));
}

#[test]
fn condition_has_one_series_drift_starts_at_zero() {
    let metrics = Metrics::new();
    let condition = |status: &str, reason: &str| condition("Synced", status, reason);
    let samples = || {
        let text = metrics.text();
        let lines = text.lines().filter(|line| line.contains("name=\"db\""));
        lines
            .map(|line| line.replace("kind=\"DiskReplicaGroup\",namespace=\"ns\",name=\"db\"", "db"))
            .collect::<Vec<_>>()
    };
    metrics.conditions(DISK_GROUP, "ns", "db", &[condition("False", "Drifted")]);
    let [status, corrections] = ["disaster_recovery_condition_status", "disaster_recovery_drift_corrections_total"];
    let drifted = format!("{status}{{db,type=\"Synced\",status=\"False\",reason=\"Drifted\"}} 1");
    assert_eq!(samples(), [drifted, format!("{corrections}{{db}} 0")]);
    metrics.conditions(DISK_GROUP, "ns", "db", &[condition("True", "InSync")]);
    metrics.drift_corrected(DISK_GROUP, "ns", "db");
    let synced = format!("{status}{{db,type=\"Synced\",status=\"True\",reason=\"InSync\"}} 1");
    assert_eq!(samples(), [synced, format!("{corrections}{{db}} 1")]);
    metrics.drill_due("ns", "db", Some(1_740_724_080.0));
    assert!(metrics.text().contains("drill_due_timestamp_seconds{namespace=\"ns\",name=\"db\"} 1740724080.0"));
    metrics.forget(DISK_GROUP, "ns", "db");
    assert_eq!(samples(), Vec::<String>::new());
    metrics.conditions(ACCOUNT, "ns", "db", &[condition("True", "Available")]);
    assert!(!metrics.text().contains("drift_corrections_total"), "accounts have no drift");
}

#[test]
fn largest_lags_remain_of_too_many_groups() {
    let metrics = Metrics::new();
    let never = |it: ConsumerGroupLag| ConsumerGroupLag { last_sync_ms: None, lag_ms: None, ..it };
    let known = (0..3000).map(|number| lag(&format!("GID_{number:04}"), Some(number)));
    let lags: Vec<_> = known.chain((0..100).map(|number| never(lag(&format!("NEVER_{number}"), None)))).collect();
    metrics.lags("ns", "orders", &lags, 300_000);
    let text = metrics.text();
    assert_eq!(groups(&text, "checkpoint_never_synced").len(), MAX_PLAN_GROUPS);
    let remaining: BTreeSet<_> = groups(&text, "checkpoint_lag_seconds").into_iter().collect();
    let largest: BTreeSet<_> = (1100..3000).map(|number| format!("GID_{number:04}")).collect();
    assert_eq!(remaining, largest);
    let never_synced = text.lines().filter(|line| line.contains("consumer_group=\"NEVER_") && line.ends_with(" 1"));
    assert_eq!(never_synced.count(), 100);
}

#[test]
fn groups_of_all_plans_are_limited_until_others_leave() {
    let metrics = Metrics::new();
    let lags = |count: i64| (0..count).map(|number| lag(&format!("GID_{number}"), Some(number))).collect::<Vec<_>>();
    let counted = |name: &str| {
        let records = metrics.records.snapshot();
        records.iter().find(|(key, _)| key.object().name == name).map(|(_, record)| record.group_count)
    };
    let exported = |text: &str, name: &str| {
        groups(
            &text.replace(&format!("{{namespace=\"ns\",name=\"{name}\""), "_of_plan{"),
            "checkpoint_lag_seconds_of_plan",
        )
    };
    let all = lags(2000);
    for plan in 0..MAX_GROUPS / 2000 - 1 {
        metrics.lags("ns", &format!("plan-{plan}"), &all, 1);
    }
    metrics.lags("ns", "almost", &all[..1997], 1);
    metrics.lags("ns", "last", &all[..5], 1);
    metrics.lags("ns", "late", &all[..5], 1);
    let text = metrics.text();
    assert_eq!(groups(&text, "checkpoint_lag_seconds").len(), MAX_GROUPS);
    assert_eq!((exported(&text, "last").join(" "), exported(&text, "late").len()), ("GID_4 GID_3 GID_2".into(), 0));
    assert!(text.contains("objective_seconds{kind=\"DisasterRecoveryPlan\",namespace=\"ns\",name=\"late\"} 0.001"));
    metrics.lags("ns", "last", &all[..5], 1);
    assert_eq!(counted("last"), Some(3), "a plan that is sampled again takes nothing more");
    metrics.lags("ns", "plan-0", &all[..1995], 1);
    metrics.lags("ns", "late", &all[..9], 1);
    assert_eq!(counted("late"), Some(5));
    metrics.forget(PLAN, "ns", "plan-1");
    metrics.lags("ns", "late", &all[..9], 1);
    metrics.lags("ns", "last", &all[..5], 1);
    let text = metrics.text();
    assert_eq!((exported(&text, "late").len(), exported(&text, "last").len()), (9, 5));
}

#[test]
fn groups_have_no_series_without_group_metrics() {
    let metrics = Metrics::new().with_group_metrics(false);
    metrics.lags("ns", "orders", &[lag("GID_A", Some(1)), lag("GID_B", None)], 300_000);
    let sampled = MappingMeasures { sampled: vec![("orders".into(), 1)], ..MappingMeasures::default() };
    metrics.mappings("ns", "orders", &sampled);
    let text = metrics.text();
    assert!(!text.contains("GID_") && !text.contains("checkpoint_lag") && !text.contains("checkpoint_never"), "{text}");
    assert!(text.contains("checkpoint_sample_timestamp_seconds{") && text.contains("objective_seconds{"), "{text}");
}

#[test]
fn plan_at_rest_takes_little_memory() {
    let metrics = Metrics::new();
    let name = |what: &str, plan: usize| format!("{what}-{plan:05}");
    let lags = |plan: usize| {
        ["orders", "payments"].map(|mapping| ConsumerGroupLag {
            mapping: mapping.into(),
            source_instance: "rmq-cn-hangzhou-01".into(),
            topic: name(mapping, plan),
            ..lag(&name("GID", plan), Some(1_234))
        })
    };
    for plan in 0..100 {
        let lags = lags(plan);
        metrics.lags("team-a", &name("plan", plan), &lags, 300_000);
        let backlog = |lag: &ConsumerGroupLag| MessageBacklog {
            mapping: lag.mapping.clone(),
            source_instance: lag.source_instance.clone(),
            topic: lag.topic.clone(),
            messages: Some(0),
            delay_ms: 0,
            requested_ms: 1_740_724_080_343,
        };
        let sampled = lags.iter().map(|it| (it.mapping.clone(), 1_740_724_080_343)).collect();
        let backlogs = lags.iter().map(backlog).collect();
        metrics.mappings("team-a", &name("plan", plan), &MappingMeasures { sampled, backlogs, rounds: vec![] });
        let conditions = ["Ready", "Synced", "Protected", "OffsetsCovered", "Stalled"];
        metrics.conditions(
            PLAN,
            "team-a",
            &name("plan", plan),
            &conditions.map(|it| condition(it, "True", "Available")),
        );
        let expiries =
            ["Ready", "Protected", "OffsetsCovered"].map(|it| (it, Timestamp::from_second(1_740_724_080).unwrap()));
        metrics.evidence(PLAN, "team-a", &name("plan", plan), &expiries);
    }
    let records = metrics.records.snapshot();
    let packed = |it: &Record| [&it.evidence, &it.mappings, &it.groups].map(|it| it.bytes()).iter().sum::<usize>();
    let largest = records.iter().map(|(_, it)| size_of::<Record>() + packed(it)).max();
    assert!(largest <= Some(400), "{largest:?}");
    assert_eq!(metrics.shared_conditions.lock().unwrap().len(), 1, "equal conditions are stored once");
}

#[test]
fn families_are_whole_in_pieces() {
    let metrics = Metrics::new();
    for number in 0..1000 {
        for kind in [PLAN, DISK_GROUP] {
            let conditions = ["Ready", "Synced"].map(|it| condition(it, "True", "Available"));
            metrics.conditions(kind, "ns", &format!("object-{number}"), &conditions);
        }
        metrics.lags("ns", &format!("object-{number}"), &[lag("GID_A", Some(number))], 1);
    }
    let pieces: Vec<_> = metrics.scrape().collect();
    assert!(pieces.len() > 10 && pieces.iter().all(|piece| !piece.is_empty() && piece.len() < 100_000));
    let text = pieces.concat();
    assert_eq!(text.lines().filter(|line| line.starts_with("disaster_recovery_condition_status{")).count(), 4000);
    assert_eq!(text.lines().filter(|line| line.starts_with("disaster_recovery_checkpoint_lag_seconds{")).count(), 1000);
    model::assert_families_are_whole(&text);
}
