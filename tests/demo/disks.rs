//! The group of disks: created, failed over and back, and drilled.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::CONDITIONS;
use crate::stage::Stage;
use crate::terminal::{heading, say, typed, until};

const NAME: &str = "orders-db";
/// The disk that is in use in Hangzhou.
const DISK: &str = "d-hangzhou-data";

/// Creates the group and waits until it is synchronized.
pub(crate) fn create(stage: &Stage, sample: &Path) -> anyhow::Result<()> {
    heading("6/11 A group of disks is applied; the operator makes it, pairs the disks and starts replication");
    say(format_args!("An instance in Hangzhou uses {DISK}:"));
    attach(stage, true)?;
    apply(stage, sample)?;
    wait(stage, "condition=Ready")?;
    wide(stage)
}

/// A planned failover, held up by a disk that is still attached where it was.
pub(crate) fn fail_over(stage: &Stage, sample: &Path) -> anyhow::Result<()> {
    heading("7/11 Planned failover: activeSite becomes Destination");
    say("(replication is stopped, the disks are synchronized once more, and those in Shanghai are opened for use)");
    apply(stage, sample)?;
    wait(stage, "jsonpath={.status.activeSite}=Destination")?;
    say("\nShanghai is in use. Replication is to be turned round, but a disk in Hangzhou is still attached:");
    until(Duration::from_secs(20), "Synced says DisksAttached", || {
        let all = stage.kubectl.quiet(&["get", "drg", NAME, "-o", CONDITIONS])?;
        Ok(all.lines().any(|line| line.starts_with("Synced=False DisksAttached: ")).then_some(()))
    })?;
    stage.kubectl.show(&["get", "drg", NAME, "-o", CONDITIONS])?;
    say("\nIt is detached:");
    attach(stage, false)?;
    wait(stage, "jsonpath={.status.direction}=Reverse")?;
    wait(stage, "condition=Ready")?;
    wide(stage)
}

/// The way back, and what both ways came to.
pub(crate) fn fail_back(stage: &Stage) -> anyhow::Result<()> {
    heading("8/11 Failback: activeSite becomes Source again");
    stage.kubectl.show(&["patch", "drg", NAME, "--type=merge", "-p", r#"{"spec":{"activeSite":"Source"}}"#])?;
    wait(stage, "jsonpath={.status.activeSite}=Source")?;
    wait(stage, "jsonpath={.status.direction}=Forward")?;
    wait(stage, "condition=Ready")?;
    say("\nstatus.operations, the newest first:");
    operations(stage)
}

/// A drill on request, and its end.
pub(crate) fn drill(stage: &Stage) -> anyhow::Result<()> {
    heading(
        "9/11 A drill: the disks of the last recovery point are cloned while replication goes on, and cleared again",
    );
    let drill = r#"{"spec":{"drill":{"schedule":"0 3 * * 0","keepFor":"6s"}}}"#;
    stage.kubectl.show(&["patch", "drg", NAME, "--type=merge", "-p", drill])?;
    let annotation = format!("disasterrecovery.dev/drill-requested-at={}", Timestamp::now().strftime("%FT%TZ"));
    stage.kubectl.show(&["annotate", "--overwrite", "drg", NAME, &annotation])?;
    until(Duration::from_secs(20), "the clones are there", || {
        let ready = stage.kubectl.quiet(&["get", "drg", NAME, "-o", "jsonpath={.status.drills.current.readyAt}"])?;
        Ok((!ready.is_empty()).then_some(()))
    })?;
    let clones = drills(stage)?;
    stage.kubectl.show(&["get", "drg", NAME, "-o", "jsonpath={.status.drills.current}"])?;
    let clones = clones.first().context("there is no drill in the cloud")?;
    say(format_args!("In the cloud: {clones}"));
    say("\n(6 s after its beginning)");
    wait(stage, "jsonpath={.status.drills.last.result}=Succeeded")?;
    stage.kubectl.show(&["get", "drg", NAME, "-o", "jsonpath={.status.drills.last}"])?;
    ensure!(drills(stage)?.is_empty(), "the drill is still in the cloud");
    say("In the cloud: no drill");
    Ok(())
}

/// Nothing of the group is left in the cloud.
pub(crate) fn gone(stage: &Stage) -> anyhow::Result<()> {
    let url = url(stage);
    typed(&format!("curl -sS {url}"));
    let text = stage.http.get(&url)?;
    say(&text);
    let left: Value = serde_json::from_str(&text).context("the simulator's disks are no JSON")?;
    for what in ["Groups", "Pairs", "Drills"] {
        ensure!(left[what] == json!([]), "{what} are left in the cloud");
    }
    Ok(())
}

fn url(stage: &Stage) -> String {
    format!("{}/_simulator/disk-groups", stage.cloud)
}

fn drills(stage: &Stage) -> anyhow::Result<Vec<Value>> {
    let text = stage.http.get(&url(stage))?;
    let all: Value = serde_json::from_str(&text).context("the simulator's disks are no JSON")?;
    Ok(all["Drills"].as_array().cloned().unwrap_or_default())
}

fn attach(stage: &Stage, attached: bool) -> anyhow::Result<()> {
    stage.http.post(&format!("{}/_simulator/disks/{DISK}", stage.cloud), &json!({"attached": attached}))
}

fn apply(stage: &Stage, file: &Path) -> anyhow::Result<()> {
    stage.kubectl.show(&["apply", "-f", file.to_str().context("the sample's path is no text")?])?;
    Ok(())
}

fn wait(stage: &Stage, what: &str) -> anyhow::Result<()> {
    let (what, name) = (format!("--for={what}"), format!("drg/{NAME}"));
    stage.kubectl.show_within(Duration::from_secs(40), &["wait", &what, &name, "--timeout=30s"])?;
    Ok(())
}

fn wide(stage: &Stage) -> anyhow::Result<()> {
    stage.kubectl.show(&["get", "drg", "-o", "wide"])?;
    Ok(())
}

/// What the operations came to, as a table.
fn operations(stage: &Stage) -> anyhow::Result<()> {
    let text = stage.kubectl.quiet(&["get", "drg", NAME, "-o", "jsonpath={.status.operations}"])?;
    let all: Vec<Value> = serde_json::from_str(&text).context("status.operations is no JSON")?;
    let heads = ["#", "OPERATION", "PHASE", "ACTIVE SITE", "RECOVERY POINT", "LOST", "RECOVERED IN", "STEPS"];
    let mut rows = vec![heads.map(str::to_owned)];
    for it in &all {
        let text = |field: &str| it[field].as_str().unwrap_or("-").to_owned();
        let seconds = |field: &str| it[field].as_i64().map_or_else(|| "-".to_owned(), |it| format!("{it} s"));
        let kind = match it["mode"].as_str() {
            Some(mode) => format!("{} ({mode})", text("type")),
            None => text("type"),
        };
        let steps: Vec<_> = it["steps"].as_array().into_iter().flatten().map(step).collect();
        rows.push([
            it["number"].to_string(),
            kind,
            text("phase"),
            text("targetSite"),
            text("recoveryPoint"),
            seconds("recoveryPointAgeSeconds"),
            seconds("recoveryTimeSeconds"),
            steps.join(", "),
        ]);
    }
    let widths: Vec<_> = (0..heads.len()).map(|at| rows.iter().map(|row| row[at].len()).max().unwrap_or(0)).collect();
    for row in rows {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        say(cells.join("   ").trim_end());
    }
    let found: Vec<_> = all.iter().map(|it| (it["type"].as_str(), it["phase"].as_str())).collect();
    let expected = ["Reprotect", "Failback", "Reprotect", "Failover"].map(|kind| (Some(kind), Some("Succeeded")));
    ensure!(found == expected, "the operations should be {expected:?}, and are {found:?}");
    Ok(())
}

/// A step and how long it took.
fn step(step: &Value) -> String {
    let at = |field: &str| step[field].as_str().and_then(|it| it.parse::<Timestamp>().ok());
    let name = step["name"].as_str().unwrap_or("?");
    match (at("startedAt"), at("completedAt")) {
        (Some(begun), Some(ended)) => format!("{name} {} s", ended.duration_since(begun).as_secs()),
        _ => format!("{name} …"),
    }
}
