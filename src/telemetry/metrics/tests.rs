use std::time::Duration;

use jiff::Timestamp;

use super::cloud::MAX_CODES;
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
    let condition = |status: &str, reason: &str| Condition {
        type_: "Synced".into(),
        status: status.into(),
        reason: reason.into(),
        message: String::new(),
        observed_generation: None,
        last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH),
    };
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
