//! `make demo`: one plan and one group of disks from their creation to their end, on a real Kubernetes API and a simulated
//! cloud, in under two minutes.
//!
//! Every step is checked: one that does not happen in its deadline ends the demo with an error.

mod disks;
mod replication;
mod stage;
mod terminal;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use stage::{Cluster, Stage};
use terminal::{heading, say, typed, until};

/// Shows a disaster-recovery plan and a group of disks from their creation to their end, on a real Kubernetes API and a simulated cloud.
#[derive(Parser)]
struct Arguments {
    /// Uses the cluster of this context of KUBECONFIG instead of a control plane of the demo's own.
    #[arg(long)]
    context: Option<String>,
    /// Uses the cluster of KUBECONFIG's current context.
    #[arg(long)]
    use_kubeconfig: bool,
    /// Keeps everything running, with the plan and the group, until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

/// All conditions, one a line.
const CONDITIONS: &str = r#"jsonpath={range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{"\n"}{end}"#;
const NOTE: &str = "custom-columns=TYPE:.type,REASON:.reason,NOTE:.message";
const EVENTS: [&str; 6] = ["get", "events", "--sort-by=.metadata.creationTimestamp", OF_THE_PLAN, "-o", NOTE];
const OF_THE_PLAN: &str = "--field-selector=involvedObject.kind=DisasterRecoveryPlan";
const OF_THE_GROUP: &str = "--field-selector=involvedObject.kind=DiskReplicaGroup";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let signals = signal(SignalKind::interrupt()).and_then(|it| Ok((it, signal(SignalKind::terminate())?)));
    match signals {
        Ok((mut interrupt, mut terminate)) => tokio::spawn(async move {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            terminal::interrupt();
        }),
        Err(error) => {
            say(format_args!("no signal can be awaited: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Handle::current();
    let played = tokio::task::spawn_blocking(move || play(&arguments, runtime)).await;
    match played.map_err(anyhow::Error::from).and_then(|result| result) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if terminal::interrupted() => {
            say("\nThe demo was interrupted; nothing of it runs any more.");
            ExitCode::from(130)
        }
        Err(error) => {
            say(format_args!("\nThe demo FAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn play(arguments: &Arguments, runtime: tokio::runtime::Handle) -> anyhow::Result<()> {
    let start = Instant::now();
    let cluster = match &arguments.context {
        None if !arguments.use_kubeconfig => Cluster::Own,
        context => Cluster::Foreign(context.clone()),
    };
    heading("1/13 A Kubernetes control plane, a simulated cloud, and the operator");
    if let Cluster::Foreign(_) = cluster {
        say("your cluster gets the custom resource definitions and one namespace, and nothing else");
    }
    let mut stage = Stage::set(&cluster, runtime)?;
    let played = scenes(&mut stage, &cluster, arguments.keep);
    if played.is_err() && !terminal::interrupted() && stage.has_namespace() {
        tell_all(&stage);
    }
    let struck = stage.strike();
    played?;
    struck?;
    if !arguments.keep {
        say(format_args!(
            "\nAll of it happened as it should, in {} s. Nothing of it runs any more.",
            start.elapsed().as_secs()
        ));
        say("`make demo KEEP=1` keeps it running, with the plan and the group, until Ctrl-C.");
    }
    Ok(())
}

/// What helps to see why a step did not happen.
fn tell_all(stage: &Stage) {
    for (kind, name) in [("drp", "orders"), ("drg", "orders-db")] {
        if let Ok(found) = stage.kubectl.quiet(&["get", kind, name, "--ignore-not-found", "-o", CONDITIONS]) {
            say(format_args!("\nNot as it should be. The conditions of {kind}/{name}:\n{}", found.trim_end()));
        }
    }
    if let Ok(found) = stage.kubectl.quiet(&["get", "events", "--sort-by=.metadata.creationTimestamp", "-o", NOTE]) {
        say(format_args!("the events:\n{}", found.trim_end()));
    }
    if let Some(log) = stage.operator_log() {
        say(format_args!("the end of the operator's log:\n{log}"));
    }
}

fn scenes(stage: &mut Stage, cluster: &Cluster, keep: bool) -> anyhow::Result<()> {
    let root = test_support::path("");
    // As a person in the checkout types it, where that is where we are.
    let here = std::env::current_dir().is_ok_and(|folder| folder == root);
    let file = |name: &str| if here { name.into() } else { root.join(name) };
    if let Cluster::Foreign(_) = cluster {
        stage.refuse_a_second_operator()?;
    }
    stage.prepare(&file("crds"))?;
    stage.start_simulator()?;
    stage.start_operator()?;

    let sample = file("deploy/samples/01-one-way.yaml");
    create(stage, sample.to_str().context("the sample's path is no text")?)?;
    protect(stage)?;
    drift(stage)?;
    lag(stage)?;
    replication::fall_behind(stage)?;
    let protected_since = replication::stand_by_cold(stage)?;
    disks::create(stage, &file("deploy/samples/07-disk-group.yaml"))?;
    disks::fail_over(stage)?;
    disks::fail_back(stage)?;
    disks::drill(stage)?;
    heading("12/13 What the operator told of the plan and of the group");
    say("No consumer has run in Shanghai since step 7, and the plan stays covered:");
    replication::stay_protected(stage, &protected_since)?;
    say("");
    stage.kubectl.show(&EVENTS)?;
    say("");
    stage.kubectl.show(&EVENTS.map(|word| if word == OF_THE_PLAN { OF_THE_GROUP } else { word }))?;
    if keep {
        heading("Running until Ctrl-C");
        say(stage.addresses()?);
        while !terminal::interrupted() {
            std::thread::sleep(Duration::from_millis(100));
        }
        return Ok(());
    }
    delete(stage)
}

fn create(stage: &Stage, sample: &str) -> anyhow::Result<()> {
    heading("2/13 A plan is applied; the operator makes it in the cloud");
    say("One consumer group, GID_BILLING, has no consumer in Shanghai yet:");
    group(stage, false)?;
    stage.kubectl.show(&["apply", "-f", sample])?;
    stage
        .kubectl
        .show_within(Duration::from_secs(40), &["wait", "--for=condition=Ready", "drp/orders", "--timeout=30s"])?;
    stage.kubectl.show(&["get", "drp", "-o", "wide"])?;
    in_the_cloud(stage, "every item runs", all_run)?;
    Ok(())
}

fn protect(stage: &Stage) -> anyhow::Result<()> {
    heading("3/13 Ready is not Protected: could we fail over now?");
    say("The cloud carries consumer progress over every 10 s, but not that of groups without a consumer over there.");
    await_condition(stage, 30, "Protected", "NeverSynced", |conditions| {
        // The other group is covered by then.
        conditions.contains("not synchronized: GID_BILLING") && !conditions.contains("GID_ORDERS")
    })?;
    stage.kubectl.show(&["get", "drp", "orders", "-o", CONDITIONS])?;
    say("\nA consumer is started in Shanghai:");
    group(stage, true)?;
    say("(within 10 s)");
    stage
        .kubectl
        .show_within(Duration::from_secs(40), &["wait", "--for=condition=Protected", "drp/orders", "--timeout=30s"])?;
    stage.kubectl.show(&["get", "drp"])?;
    let url = format!("{}/metrics", stage.operator_url);
    typed(&format!("curl -sS {url} | grep ^disaster_recovery_checkpoint_lag_seconds"));
    let text = stage.http.get(&url)?;
    let lags: Vec<_> =
        text.lines().filter(|line| line.starts_with("disaster_recovery_checkpoint_lag_seconds")).collect();
    ensure!(lags.len() == 4, "there should be a lag for two groups of two topics each, and there are {}", lags.len());
    say(lags.join("\n"));
    Ok(())
}

fn drift(stage: &Stage) -> anyhow::Result<()> {
    heading("4/13 Somebody works in the console: a topic's replication is stopped, then the description is rewritten");
    let plan = plan(stage)?;
    let id = &plan["planId"];
    let items = plan["items"].as_array().context("the plan has no items")?;
    let stopped = items.first().context("the plan has no items")?["itemId"].clone();
    let cloud = format!("{}/_simulator/plans", stage.cloud);
    stage.http.patch(&format!("{cloud}/{id}/items/{stopped}"), &json!({"itemStatus": "MANUAL_STOPPED"}))?;
    until(Duration::from_secs(20), "the drift is found", || {
        Ok(stage.kubectl.quiet(&EVENTS)?.contains("DriftFound").then_some(()))
    })?;
    stage.kubectl.show(&["get", "events", "--field-selector=reason=DriftFound", "-o", NOTE])?;
    in_the_cloud(stage, "the item runs again", all_run)?;
    stage.kubectl.show(&["wait", "--for=condition=Synced", "drp/orders", "--timeout=20s"])?;

    say("");
    stage.http.patch(&format!("{cloud}/{id}"), &json!({"planDesc": "do not touch"}))?;
    say("(the API refuses to change a plan while its items run: the change waits, and replication continues)");
    await_condition(stage, 20, "Synced", "UpdateWaits", |_| true)?;
    say("Somebody stops the items: the description is restored, and they run again");
    for item in items {
        stage
            .http
            .patch(&format!("{cloud}/{id}/items/{}", item["itemId"]), &json!({"itemStatus": "MANUAL_STOPPED"}))?;
    }
    let ours =
        |plan: &Value| plan["planDesc"].as_str().is_some_and(|it| it.starts_with("Orders, Hangzhou to Shanghai [drp "));
    in_the_cloud(stage, "the description is as it was, and every item runs", |plan| ours(plan) && all_run(plan))?;
    stage.kubectl.show(&["wait", "--for=condition=Synced", "drp/orders", "--timeout=20s"])?;
    Ok(())
}

fn lag(stage: &Stage) -> anyhow::Result<()> {
    heading("5/13 A consumer group falls 20 minutes behind; the objective is 5");
    let plan = plan(stage)?;
    let checkpoint = plan["items"][0]["checkpoints"][0]["checkpointId"].clone();
    let now = jiff::Timestamp::now();
    let times = json!({"sourceTime": now.as_millisecond(), "targetTime": now.as_millisecond() - 20 * 60 * 1000});
    stage.http.patch(&format!("{}/_simulator/checkpoints/{checkpoint}", stage.cloud), &times)?;
    say("What the last sample proved lasts for minutes. A new one is requested:");
    let annotation = format!("disasterrecovery.dev/reconcile-requested-at={}", now.strftime("%FT%TZ"));
    stage.kubectl.show(&["annotate", "--overwrite", "drp", "orders", &annotation])?;
    await_condition(stage, 20, "Protected", "ObjectiveExceeded", |_| true)?;
    stage.kubectl.show(&["get", "drp", "-o", "wide"])?;
    stage.kubectl.show(&[
        "get",
        "drp",
        "orders",
        "-o",
        r#"jsonpath={.status.conditions[?(@.type=="Protected")].message}{"\n"}"#,
    ])?;
    say("\nSynchronized once, by hand:");
    let annotation = format!("disasterrecovery.dev/sync-checkpoints-requested-at={}", now.strftime("%FT%TZ"));
    stage.kubectl.show(&["annotate", "--overwrite", "drp", "orders", &annotation])?;
    stage
        .kubectl
        .show_within(Duration::from_secs(40), &["wait", "--for=condition=Protected", "drp/orders", "--timeout=30s"])?;
    stage.kubectl.show(&["get", "drp"])?;
    Ok(())
}

fn delete(stage: &Stage) -> anyhow::Result<()> {
    heading("13/13 The objects are deleted, and with them the plan and the group in the cloud");
    say("(items are stopped, then deleted, then the plan; replication is stopped, then pairs and group are deleted)");
    stage.kubectl.show_within(Duration::from_secs(50), &["delete", "drp/orders", "drg/orders-db", "--timeout=40s"])?;
    let url = format!("{}/_simulator/plans", stage.cloud);
    typed(&format!("curl -sS {url}"));
    let left = stage.http.get(&url)?;
    say(&left);
    ensure!(left.trim() == "[]", "something is left in the cloud");
    disks::gone(stage)
}

/// Takes a consumer group on- or offline at the destination.
fn group(stage: &Stage, online: bool) -> anyhow::Result<()> {
    stage.http.post(&format!("{}/_simulator/groups/GID_BILLING", stage.cloud), &json!({"online": online}))
}

/// The one plan in the cloud, as the simulator knows it.
fn plan(stage: &Stage) -> anyhow::Result<Value> {
    let text = stage.http.get(&format!("{}/_simulator/plans", stage.cloud))?;
    let mut all: Vec<Value> = serde_json::from_str(&text).context("the simulator's plans are no JSON")?;
    ensure!(all.len() == 1, "there should be one plan in the cloud, and there are {}", all.len());
    Ok(all.remove(0))
}

/// Whether every item of a plan replicates.
fn all_run(plan: &Value) -> bool {
    plan["items"].as_array().is_some_and(|items| items.iter().all(|item| item["itemStatus"] == "RUNNING"))
}

/// Waits until the plan in the cloud is as it should be, and shows it.
fn in_the_cloud(stage: &Stage, what: &str, condition: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
    let plan = until(Duration::from_secs(40), what, || Ok(Some(plan(stage)?).filter(|plan| condition(plan))))?;
    let items: Vec<_> = plan["items"].as_array().into_iter().flatten().collect();
    let items: Vec<_> =
        items.iter().map(|it| format!("{} {}", it["itemId"], it["itemStatus"].as_str().unwrap_or("?"))).collect();
    say(format_args!(
        "In the cloud: plan {}, described as {}, items {}",
        plan["planId"],
        plan["planDesc"],
        items.join(", ")
    ));
    Ok(())
}

/// Waits until a condition has a reason, and all conditions together are as `also` says.
fn await_condition(
    stage: &Stage,
    seconds: u64,
    kind: &str,
    reason: &str,
    also: impl Fn(&str) -> bool,
) -> anyhow::Result<()> {
    let what = format!("{kind} says {reason}");
    until(Duration::from_secs(seconds), &what, || {
        let all = stage.kubectl.quiet(&["get", "drp", "orders", "-o", CONDITIONS])?;
        let found =
            all.lines().any(|line| line.starts_with(&format!("{kind}=")) && line.contains(&format!(" {reason}: ")));
        Ok((found && also(&all)).then_some(()))
    })
}
