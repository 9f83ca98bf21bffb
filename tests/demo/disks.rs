//! The group of disks: created, failed over and back, and drilled.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
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
    heading("8/13 A group of disks is applied; the operator makes it, pairs the disks and starts replication");
    say(format_args!("An instance in Hangzhou uses {DISK}:"));
    attach(stage, true)?;
    apply(stage, sample)?;
    wait(stage, "condition=Ready")?;
    wide(stage)
}

/// A forced failover. The reversal waits for consent, and then for a disk that is still attached where it was.
pub(crate) fn fail_over(stage: &Stage) -> anyhow::Result<()> {
    heading("9/13 Forced failover: Hangzhou is lost, and a request makes Destination the active site");
    say("status.failoverPreview says what it would do:");
    stage.kubectl.show(&["get", "drg", NAME, "-o", r#"jsonpath={.status.failoverPreview.forced}{"\n"}"#])?;
    request(stage, "Destination", &json!({"mode": "Forced"}))?;
    wait(stage, "jsonpath={.status.activeSite}=Destination")?;
    say("\nNothing fails back without a newer request. The API server refuses what an old manifest would do:");
    refused(stage, r#"{"spec":{"activeSite":"Source"}}"#)?;
    say("\nShanghai is in use. The disks in Hangzhou may hold the only copy of the last writes, so replication waits:");
    synced(stage, "ReprotectWaits")?;
    say("\nNothing of them is needed. A newer request consents to overwrite them, but one is still attached:");
    request(stage, "Destination", &json!({"overwrite": "Source"}))?;
    synced(stage, "DisksAttached")?;
    say("\nIt is detached:");
    attach(stage, false)?;
    wait(stage, "jsonpath={.status.direction}=Reverse")?;
    wait(stage, "condition=Ready")?;
    wide(stage)
}

/// The way back, and what both ways came to.
pub(crate) fn fail_back(stage: &Stage) -> anyhow::Result<()> {
    heading("10/13 Planned failback: a newer request makes Source the active site again");
    say(
        "(replication is stopped, the disks are synchronized once more, those in Hangzhou are opened for use, and replication",
    );
    say("is reversed by itself: a planned failover loses nothing)");
    request(stage, "Source", &json!({"mode": "Planned", "overwrite": null}))?;
    wait(stage, "jsonpath={.status.activeSite}=Source")?;
    wait(stage, "jsonpath={.status.direction}=Forward")?;
    wait(stage, "condition=Ready")?;
    say("\nstatus.operations, the newest first:");
    operations(stage)
}

/// A drill on request, and its end.
pub(crate) fn drill(stage: &Stage) -> anyhow::Result<()> {
    heading(
        "11/13 A drill: the disks of the last recovery point are cloned while replication goes on, and cleared again",
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
    violations(stage)
}

/// No call opened or overwrote a disk wrongly, but for the overwriting of Hangzhou's last writes that a request consented to.
fn violations(stage: &Stage) -> anyhow::Result<()> {
    let text = stage.http.get(&format!("{}/_simulator/disk-violations", stage.cloud))?;
    let all: Vec<Value> = serde_json::from_str(&text).context("the simulator's violations are no JSON")?;
    let consented = |it: &Value| {
        let disk = it["Disk"].as_str().unwrap_or_default();
        it["Kind"] == "UnreplicatedWritesOverwritten" && disk.starts_with("d-hangzhou-")
    };
    let wrong: Vec<_> = all.iter().filter(|it| !consented(it)).collect();
    ensure!(wrong.is_empty(), "disks were opened or overwritten wrongly: {wrong:?}");
    Ok(())
}

/// Requests a site now.
fn request(stage: &Stage, site: &str, fields: &Value) -> anyhow::Result<()> {
    let mut failover = json!({"requestedAt": Timestamp::now().strftime("%FT%T%.3fZ").to_string()});
    for (name, value) in fields.as_object().into_iter().flatten() {
        failover[name] = value.clone();
    }
    let patch = json!({"spec": {"activeSite": site, "failover": failover}}).to_string();
    stage.kubectl.show(&["patch", "drg", NAME, "--type=merge", "-p", &patch])?;
    Ok(())
}

/// Shows that the API server refuses a change.
fn refused(stage: &Stage, patch: &str) -> anyhow::Result<()> {
    let arguments = ["patch", "drg", NAME, "--type=merge", "-p", patch];
    match stage.kubectl.show(&arguments) {
        Ok(_) => bail!("the API server accepted {patch}"),
        Err(error) => {
            let error = error.to_string();
            ensure!(error.contains("failover.requestedAt"), "another refusal of {patch}: {error}");
            say(error);
            Ok(())
        }
    }
}

/// Waits until `Synced` is False for a reason, and shows all conditions.
fn synced(stage: &Stage, reason: &str) -> anyhow::Result<()> {
    until(Duration::from_secs(20), &format!("Synced says {reason}"), || {
        let all = stage.kubectl.quiet(&["get", "drg", NAME, "-o", CONDITIONS])?;
        Ok(all.lines().any(|line| line.starts_with(&format!("Synced=False {reason}: "))).then_some(()))
    })?;
    stage.kubectl.show(&["get", "drg", NAME, "-o", CONDITIONS])?;
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
            seconds("lossSeconds"),
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
