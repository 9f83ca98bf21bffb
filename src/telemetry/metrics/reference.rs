//! Reference of all metrics, generated from a registry in which every family has a sample.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    ACCOUNT, ConsumerGroupLag, DISK_GROUP, DrillMeasures, GroupMeasures, MappingMeasures, MessageBacklog, Metrics,
    PLAN, SyncRound,
};
use crate::cloud::client::Finished;
use crate::cloud::operation::ApiOperation;
use crate::cloud::rate_limit::{BucketKey, Identity, Owner, RateLimit};

/// Renders a Markdown table of every family: name, type, unit, labels and help.
pub fn reference() -> String {
    let text = complete().text();
    let mut out = String::from("| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n");
    let after = |line: &str, what: &str| {
        line.strip_prefix(what).and_then(|rest| rest.split_once(' ')).map(|it| (it.0.to_owned(), it.1.to_owned()))
    };
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((family, help)) = after(line, "# HELP ") else { continue };
        let kind = lines.next().and_then(|line| after(line, "# TYPE ")).unwrap_or_default().1;
        let unit = lines.next_if(|line| line.starts_with("# UNIT ")).and_then(|line| after(line, "# UNIT "));
        let unit = unit.map_or_else(|| "–".to_owned(), |it| it.1);
        let sample = lines.peek().copied().unwrap_or_default();
        let name = if kind == "counter" { format!("{family}_total") } else { family };
        out += &format!("| `{name}` | {kind} | {unit} | {} | {help} |\n", labels(sample));
    }
    out
}

/// Names of a sample's labels, without `le` of histograms.
fn labels(sample: &str) -> String {
    let inside = sample.split_once('{').and_then(|it| it.1.rsplit_once('}')).map_or("", |it| it.0);
    // No value of the sample has a comma or an equals sign in it.
    let names = inside.split(',').filter_map(|it| it.split_once('=')).map(|it| it.0).filter(|name| *name != "le");
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "–".into() } else { names.join(", ") }
}

/// Metrics with a sample of every family.
fn complete() -> Metrics {
    let (metrics, rate_limit) = (Metrics::new(), Arc::new(RateLimit::new(1)));
    let duration = Duration::from_millis(10);
    metrics.leading(true);
    metrics.requested(&Finished {
        product: "rocketmq",
        operation: ApiOperation::ListDisasterRecoveryPlans,
        code: "OK",
        duration,
    });
    let (product, operation) = ("rocketmq", ApiOperation::ListDisasterRecoveryPlans);
    let owner = Owner::Shared(&Identity::of_account("1234567890123456"));
    rate_limit.waited(BucketKey { owner, product, region: "cn-hangzhou", operation }, Instant::now(), duration);
    metrics.budget(rate_limit);
    for kind in [PLAN, DISK_GROUP, ACCOUNT] {
        metrics.reconciled(kind, "success", duration);
        metrics.unreadable(kind, 0);
        let condition = Condition {
            type_: "Ready".into(),
            status: "True".into(),
            reason: "Available".into(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        };
        metrics.conditions(kind, "shop", "orders", &[condition]);
        metrics.evidence(kind, "shop", "orders", &[("Ready", Timestamp::UNIX_EPOCH)]);
    }
    let (mapping, source_instance, group, topic) = ("m".into(), "i".into(), "g".into(), "t".into());
    let lag = ConsumerGroupLag { mapping, source_instance, group, topic, lag_ms: Some(1), last_sync_ms: Some(1) };
    metrics.lags("shop", "orders", &[lag], 1);
    let backlog = MessageBacklog { messages: Some(1), ..MessageBacklog::default() };
    let (sampled, backlogs, rounds) = (vec![("m".into(), 1)], vec![backlog], vec![SyncRound::default()]);
    metrics.mappings("shop", "orders", &MappingMeasures { sampled, backlogs, rounds });
    let some = Some(1.0);
    let drill = DrillMeasures {
        active: true,
        started: some,
        last_result_success: Some(true),
        last_duration_seconds: some,
        last_completed: some,
    };
    let measures = GroupMeasures {
        status: "normal".into(),
        lag_seconds: some,
        recovery_point: some,
        objective_seconds: 1.0,
        active_site: "Source",
        last_recovery_time_seconds: some,
        last_data_loss_seconds: some,
        drill: Some(drill),
    };
    metrics.disk_group("shop", "orders", Some(&measures));
    metrics.drill_due("shop", "orders", some);
    metrics.credentials("shop", "production", Some(Timestamp::UNIX_EPOCH));
    metrics
}
