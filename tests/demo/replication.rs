//! The plan's messages and its standby: a replicator that falls behind, and a destination without consumers.

use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::stage::Stage;
use crate::terminal::{heading, say, until};
use crate::{CONDITIONS, await_condition, plan};

/// The message backlog of each topic mapping, one a line.
const BACKLOG: &str = r#"jsonpath={range .status.topicMappings[*]}{.name}: {.backlog}{"\n"}{end}"#;
/// How far the replicator falls behind.
const BEHIND_S: i64 = 20 * 60;
/// All consumer groups.
const GROUPS: [&str; 3] = ["GID_ORDERS", "GID_BILLING", NEW_GROUP];
/// A group that the cloud has never synchronized.
const NEW_GROUP: &str = "GID_REPORTS";

/// Messages wait at the source, which consumer progress does not show.
pub(crate) fn fall_behind(stage: &Stage) -> anyhow::Result<()> {
    heading("6/13 The replicator falls 20 minutes behind, and consumers are level");
    let plan = plan(stage)?;
    let item = &plan["items"][0]["itemId"];
    let url = format!("{}/_simulator/plans/{}/items/{item}/replication", stage.cloud, plan["planId"]);
    stage.http.post(&url, &json!({"type": "CatchingUp", "behindMs": BEHIND_S * 1000, "speedPercent": 0}))?;
    say("Consumer progress does not show it; the message backlog does. A new sample is requested:");
    let annotation = format!("disasterrecovery.dev/reconcile-requested-at={}", Timestamp::now().strftime("%FT%T%.3fZ"));
    stage.kubectl.show(&["annotate", "--overwrite", "drp", "orders", &annotation])?;
    await_condition(stage, 20, "Protected", "BacklogExceeded", |conditions| {
        conditions.lines().any(|line| line.starts_with("OffsetsCovered=True "))
    })?;
    stage.kubectl.show(&["get", "drp"])?;
    stage.kubectl.show(&["get", "drp", "orders", "-o", CONDITIONS])?;
    let lag = max_lag_s(stage)?;
    ensure!(lag < 60.0, "consumers should be level, and are {lag} s behind");
    let shown = stage.kubectl.show(&["get", "drp", "orders", "-o", BACKLOG])?;
    let mut delays: Vec<_> = shown.lines().filter_map(delay_s).collect();
    delays.sort_unstable();
    ensure!(
        matches!(delays[..], [other, behind] if other < 60 && behind >= BEHIND_S),
        "one of two mappings should be {BEHIND_S} s behind, and they are {delays:?} s behind"
    );
    say("\nIt catches up:");
    stage.http.post(&url, &json!({"type": "Busy"}))?;
    wait_for_protection(stage)?;
    stage.kubectl.show(&["get", "drp", "orders", "-o", BACKLOG])?;
    Ok(())
}

/// The operator synchronizes what the cloud skips. Returns the time at which `Protected` became True.
pub(crate) fn stand_by_cold(stage: &Stage) -> anyhow::Result<String> {
    heading("7/13 A cold standby: no consumer runs in Shanghai");
    for group in GROUPS {
        stage.http.post(&format!("{}/_simulator/groups/{group}", stage.cloud), &json!({"online": false}))?;
    }
    stage.http.put(&format!("{}/_simulator/groups/{NEW_GROUP}", stage.cloud))?;
    say("The cloud skips these groups, also the new one. With an objective of 30 s the last proof ends soon:");
    patch(stage, &json!({"recoveryPointObjective": "30s"}))?;
    await_condition(stage, 40, "Protected", "NeverSynced", |conditions| {
        conditions.lines().any(|line| line.starts_with("OffsetsCovered=False ") && line.contains(NEW_GROUP))
    })?;
    stage.kubectl.show(&["get", "drp", "orders", "-o", CONDITIONS])?;
    say("\nThe operator synchronizes every group instead:");
    patch(stage, &json!({"checkpointSync": {"by": "Operator", "interval": "5s"}}))?;
    wait_for_protection(stage)?;
    let shown = stage.kubectl.show(&["get", "drp", "orders", "-o", "jsonpath={.status.checkpointSync}"])?;
    let shown: Value = serde_json::from_str(&shown).context("status.checkpointSync is no JSON")?;
    ensure!(shown["failed"] == 0, "a round failed");
    let since = protected_since(stage)?;
    let (first, _) = synchronized(stage)?;
    let (oldest, count) = until(Duration::from_secs(30), "two more rounds", || {
        let (oldest, count) = synchronized(stage)?;
        Ok((oldest.duration_since(first).as_secs() >= 9).then_some((oldest, count)))
    })?;
    let age = Timestamp::now().duration_since(oldest).as_secs();
    say(format_args!(
        "In the cloud, two rounds later: {count} checkpoints, each synchronized in the last {} s",
        age + 1
    ));
    stay_protected(stage, &since)?;
    Ok(since)
}

/// Shows that the plan has been protected without a break.
pub(crate) fn stay_protected(stage: &Stage, since: &str) -> anyhow::Result<()> {
    stage.kubectl.show(&["get", "drp"])?;
    let now = protected_since(stage)?;
    ensure!(now == since, "Protected should be True since {since}, and is since {now}");
    say(format_args!("Protected has been True since {since}, without a break."));
    Ok(())
}

/// The time at which `Protected` became True.
fn protected_since(stage: &Stage) -> anyhow::Result<String> {
    let path = r#"jsonpath={.status.conditions[?(@.type=="Protected")]}"#;
    let condition = stage.kubectl.quiet(&["get", "drp", "orders", "-o", path])?;
    let condition: Value = serde_json::from_str(&condition).context("the condition is no JSON")?;
    ensure!(condition["status"] == "True", "the plan is not protected: {condition}");
    Ok(condition["lastTransitionTime"].as_str().context("the condition has no time")?.to_owned())
}

/// The oldest last synchronization of the plan's checkpoints, and their number.
fn synchronized(stage: &Stage) -> anyhow::Result<(Timestamp, usize)> {
    let plan = plan(stage)?;
    let items = plan["items"].as_array().into_iter().flatten();
    let checkpoints = items.flat_map(|item| item["checkpoints"].as_array().into_iter().flatten());
    let times: Option<Vec<_>> = checkpoints.map(|it| it["lastSyncTime"].as_i64()).collect();
    let times = times.context("a checkpoint was never synchronized")?;
    let oldest = times.iter().min().context("the plan has no checkpoint")?;
    Ok((Timestamp::from_millisecond(*oldest)?, times.len()))
}

/// The largest lag of a consumer group, by the operator's metrics.
fn max_lag_s(stage: &Stage) -> anyhow::Result<f64> {
    let text = stage.http.get(&format!("{}/metrics", stage.operator_url))?;
    let lines = text.lines().filter(|line| line.starts_with("disaster_recovery_checkpoint_lag_seconds{"));
    let lags = lines.map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<f64>());
    let lags: Vec<_> = lags.collect::<Result<_, _>>().context("a lag is no number")?;
    lags.into_iter().max_by(f64::total_cmp).context("the operator shows no lag")
}

/// The delay in a line of `BACKLOG`.
fn delay_s(line: &str) -> Option<i64> {
    let (_, backlog) = line.split_once(": ")?;
    serde_json::from_str::<Value>(backlog).ok()?["delaySeconds"].as_i64()
}

fn patch(stage: &Stage, spec: &Value) -> anyhow::Result<()> {
    let patch = json!({"spec": spec}).to_string();
    stage.kubectl.show(&["patch", "drp", "orders", "--type=merge", "-p", &patch])?;
    Ok(())
}

fn wait_for_protection(stage: &Stage) -> anyhow::Result<()> {
    let arguments = ["wait", "--for=condition=Protected", "drp/orders", "--timeout=30s"];
    stage.kubectl.show_within(Duration::from_secs(40), &arguments)?;
    Ok(())
}
