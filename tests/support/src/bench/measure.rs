//! The phases of a benchmark, one after another.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PatchParams};

use super::apiserver::Requests;
use super::cloud::{Cloud, Counts};
use super::figures::{Created, Edits, Figures, Rest, Restart};
use super::load::{Kind, Load};
use super::machine::Machine;
use super::objects::Objects;
use super::process::{cpu_seconds, memory};
use super::stage::{Ending, Leader, Programs, Stage};
use crate::ControlPlane;

/// Interval between two checks of a condition, each of which the simulator pays for.
const POLL: Duration = Duration::from_millis(250);
/// Interval between two lines about the progress.
const REPORT: Duration = Duration::from_secs(10);
/// Maximum time until objects are at rest.
const SETTLED: Duration = Duration::from_secs(180);
/// Interval between two samples of memory, and between two reads of kube-apiserver's counters, which cost it CPU time.
const SAMPLE: Duration = Duration::from_secs(2);
/// How long an edit may take until its first changing call.
const EDIT: Duration = Duration::from_secs(30);
/// Distance between two edited objects: a prime, so that all are different.
const STRIDE: usize = 7919;

const LIST_PLANS: &str = "ListDisasterRecoveryPlans";
const GET_PLAN: &str = "GetDisasterRecoveryPlan";
const LIST_CHECKPOINTS: &str = "ListDisasterRecoveryCheckpoints";
const CONSUMER_GROUP_LAG: &str = "GetConsumerGroupLag";

/// What is measured, and how.
#[derive(Clone, Debug)]
pub struct Options {
    pub load: Load,
    pub programs: Programs,
    /// Time without a write after which objects are at rest.
    pub quiet: Duration,
    /// The least length of the time at rest; nothing measures it when there is none.
    pub rest: Option<Duration>,
    /// The number of lists of plans that the time at rest covers at least.
    pub lists: u64,
    pub edits: usize,
    /// How the leader ends at last; without it there is no other one.
    pub ending: Option<Ending>,
    pub edits_after_restart: usize,
}

/// A benchmark in progress.
pub struct Bench {
    options: Options,
    stage: Stage,
    objects: Objects,
    leader: Leader,
    /// The next edit.
    next: usize,
}

/// Counters at one time.
struct Mark {
    at: Instant,
    kubernetes: Requests,
    cloud: Counts,
    operator_cpu_s: f64,
    apiserver_cpu_s: f64,
    simulator_cpu_s: f64,
}

impl Bench {
    /// Starts all processes; there are no objects yet.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let mut stage = Stage::set(options.programs.clone()).await?;
        options.load.prepare(&stage.client).await?;
        let objects = Objects::watch(stage.client.clone(), options.load.kind);
        let leader = stage.lead().await?;
        say(format_args!("the operator leads, its process is {}", leader.pid));
        Ok(Self { options, stage, objects, leader, next: 0 })
    }

    /// Measures everything; `keep` gets the figures after each phase.
    pub async fn measure(&mut self, mut keep: impl FnMut(&Figures) -> anyhow::Result<()>) -> anyhow::Result<Figures> {
        let Load { kind, objects, namespaces, .. } = self.options.load;
        let kubernetes = self.stage.client.apiserver_version().await.context("the version")?.git_version;
        let created = self.create().await?;
        let date = Timestamp::now().strftime("%Y-%m-%d").to_string();
        let (rest, edits, restart) = (None, None, None);
        let machine = Machine::this();
        let operator = self.options.programs.version()?;
        let mut figures =
            Figures { kind, objects, namespaces, machine, operator, kubernetes, date, created, rest, edits, restart };
        keep(&figures)?;
        if let Some(rest) = self.options.rest {
            figures.rest = Some(self.rest(rest).await?);
            keep(&figures)?;
        }
        if self.options.edits > 0 {
            figures.edits = Some(self.edit(self.options.edits).await?);
            keep(&figures)?;
        }
        if let Some(ending) = self.options.ending {
            figures.restart = Some(self.restart(ending).await?);
            keep(&figures)?;
        }
        Ok(figures)
    }

    /// Creates all objects, and waits until nothing is left to do.
    pub async fn create(&mut self) -> anyhow::Result<Created> {
        let load = self.options.load;
        let before = self.mark().await?;
        let (client, start) = (self.stage.client.clone(), before.at);
        let creating = tokio::spawn(async move { load.create(&client).await.map(|()| start.elapsed().as_secs_f64()) });
        let mut created = Created::default();
        let mut report = Instant::now();
        while created.protected_s == 0.0 {
            tokio::time::sleep(POLL).await;
            self.stage.ensure_runs()?;
            let (totals, shown) = (self.stage.cloud.totals().await?, self.objects.progress());
            let (there, runs) = match load.kind {
                Kind::Plans => (totals.items.min(2 * totals.plans), totals.running_items),
                Kind::DiskGroups => (totals.disk_pairs.min(2 * totals.disk_groups), 2 * totals.normal_disk_groups),
            };
            let seconds = start.elapsed().as_secs_f64();
            let reach = |figure: &mut f64, is_reached: bool| {
                if *figure == 0.0 && is_reached {
                    *figure = seconds;
                }
            };
            reach(&mut created.in_cloud_s, there == 2 * load.objects);
            reach(&mut created.running_s, runs == 2 * load.objects);
            reach(&mut created.ready_s, shown.ready == load.objects);
            reach(&mut created.protected_s, shown.protected == load.objects);
            if report.elapsed() >= REPORT || created.protected_s > 0.0 {
                report = Instant::now();
                let ready = format!("{} ready, {} protected", shown.ready, shown.protected);
                say(format_args!("{seconds:.0} s: {} in the cloud, {} run, {ready}", there / 2, runs / 2));
            }
            let limit = 300.0 + load.objects as f64;
            ensure!(seconds < limit, "not all objects are protected after {seconds:.0} s: {shown:?}, {totals:?}");
        }
        created.accepted_s = creating.await.context("the creation")??;
        created.settled_s = self.settle(start, &before).await?;
        let after = self.mark().await?;
        created.kubernetes = self.own(&before, &after).without(&self.resource(), "POST", load.objects as u64);
        created.kubernetes_writes = created.kubernetes.writes();
        created.kubernetes_gets = created.kubernetes.gets();
        created.cloud = after.cloud.since(&before.cloud);
        created.operator_cpu_s = after.operator_cpu_s - before.operator_cpu_s;
        created.apiserver_cpu_s = after.apiserver_cpu_s - before.apiserver_cpu_s;
        created.simulator_cpu_s = after.simulator_cpu_s - before.simulator_cpu_s;
        created.peak_kib = memory(self.leader.pid)?.peak_kib;
        Ok(created)
    }

    /// Waits until nothing is written any more. Returns the seconds from `start` to the last write.
    async fn settle(&mut self, start: Instant, before: &Mark) -> anyhow::Result<f64> {
        let deadline = Instant::now() + SETTLED;
        let (mut writes, mut last) = (0, Instant::now());
        while last.elapsed() < self.options.quiet && Instant::now() < deadline {
            self.stage.ensure_runs()?;
            let now = Requests::read(&self.stage.client).await?.since(&before.kubernetes).writes();
            if now != writes {
                (writes, last) = (now, Instant::now());
            }
            tokio::time::sleep(SAMPLE).await;
        }
        say(format_args!("{:.0} s: at rest", start.elapsed().as_secs_f64()));
        Ok(last.duration_since(start).as_secs_f64())
    }

    /// Leaves everything alone for a time.
    pub async fn rest(&mut self, least: Duration) -> anyhow::Result<Rest> {
        let before = self.mark().await?;
        let mut largest = 0;
        let lists = |now: &Counts| now.of(LIST_PLANS).calls - before.cloud.of(LIST_PLANS).calls;
        loop {
            tokio::time::sleep(SAMPLE).await;
            self.stage.ensure_runs()?;
            largest = largest.max(memory(self.leader.pid)?.resident_kib);
            let elapsed = before.at.elapsed();
            let wants_lists = self.options.load.kind == Kind::Plans && elapsed < 3 * least.max(Duration::from_secs(60));
            if elapsed >= least && (!wants_lists || lists(&self.stage.cloud.counts().await?) >= self.options.lists) {
                break;
            }
        }
        let (after, memory) = (self.mark().await?, memory(self.leader.pid)?);
        let seconds = (after.at - before.at).as_secs_f64();
        let percent = |cpu_s: f64| 100.0 * cpu_s / seconds;
        let (kubernetes, cloud) = (self.own(&before, &after), after.cloud.since(&before.cloud));
        let hours = seconds / 3600.0;
        say(format_args!("{seconds:.0} s at rest"));
        Ok(Rest {
            seconds,
            resident_kib: memory.resident_kib,
            largest_resident_kib: largest,
            peak_kib: memory.peak_kib,
            operator_cpu_percent: percent(after.operator_cpu_s - before.operator_cpu_s),
            apiserver_cpu_percent: percent(after.apiserver_cpu_s - before.apiserver_cpu_s),
            simulator_cpu_percent: percent(after.simulator_cpu_s - before.simulator_cpu_s),
            kubernetes_writes_per_minute: kubernetes.writes() as f64 / (seconds / 60.0),
            kubernetes,
            cloud_calls_per_object_and_hour: cloud.all() as f64 / hours / self.options.load.objects as f64,
            refused: cloud.refused(),
            plan_drift_calls_per_hour: (cloud.of(LIST_PLANS).calls + cloud.of(GET_PLAN).calls) as f64 / hours,
            cloud,
        })
    }

    /// Edits so many objects, one after another.
    pub async fn edit(&mut self, edits: usize) -> anyhow::Result<Edits> {
        let kind = self.options.load.kind;
        let names: Vec<_> = self.options.load.names().collect();
        let mut seconds = Vec::new();
        let mut figures = Edits { edits, ..Edits::default() };
        for _ in 0..edits {
            self.stage.ensure_runs()?;
            let object = &names[self.next * STRIDE % names.len()];
            let id = self.objects.id(object).with_context(|| format!("{object:?} has no ID"))?;
            let api = Api::<DynamicObject>::namespaced_with(self.stage.client.clone(), &object.0, &kind.resource());
            let before_ms = Timestamp::now().as_millisecond();
            let patch = Patch::Merge(kind.edit(self.next));
            api.patch(&object.1, &PatchParams::default(), &patch).await.context("editing an object")?;
            let answered_ms = Timestamp::now().as_millisecond();
            match first_change(&self.stage.cloud, &id, before_ms).await? {
                // The operator may be faster than the answer.
                Some(at_ms) => seconds.push((at_ms - answered_ms).max(0) as f64 / 1000.0),
                None => figures.lost += 1,
            }
            self.next += 1;
        }
        seconds.sort_by(f64::total_cmp);
        let quantile = |percent: usize| {
            let rank = (seconds.len() * percent).div_ceil(100).max(1);
            seconds.get(rank - 1).copied().unwrap_or_default()
        };
        (figures.p50_s, figures.p99_s, figures.max_s) = (quantile(50), quantile(99), quantile(100));
        let Edits { lost, p50_s, p99_s, .. } = figures;
        say(format_args!("{edits} edits: p50 {p50_s} s, p99 {p99_s} s, {lost} lost"));
        Ok(figures)
    }

    /// Ends the operator and starts another.
    pub async fn restart(&mut self, ending: Ending) -> anyhow::Result<Restart> {
        let load = self.options.load;
        let start = Instant::now();
        // Edits are over.
        let edited = self.mark().await?;
        self.settle(start, &edited).await?;
        let ended_ms = Timestamp::now().as_millisecond();
        self.stage.end(self.leader, ending).await?;
        self.stage.cloud.forget_calls().await?;
        let before = Requests::read(&self.stage.client).await?;
        self.leader = self.stage.lead().await?;
        let leaderless_s = (self.leader.since_ms - ended_ms) as f64 / 1000.0;
        say(format_args!("another operator leads, its process is {}", self.leader.pid));
        let since = || (Timestamp::now().as_millisecond() - self.leader.since_ms) as f64 / 1000.0;
        loop {
            self.stage.ensure_runs()?;
            let (read, shown) = (self.stage.cloud.counts().await?, self.objects.progress());
            let is_read = match load.kind {
                Kind::Plans => {
                    read.of(LIST_CHECKPOINTS).paths >= 2 * load.objects as u64
                        && read.of(CONSUMER_GROUP_LAG).paths >= load.objects as u64
                }
                Kind::DiskGroups => read.all() > 0,
            };
            if is_read && shown.protected == load.objects {
                break;
            }
            let limit = 300.0 + load.objects as f64;
            ensure!(since() < limit, "not all objects are served after {:.0} s: {shown:?}, {read:?}", since());
            tokio::time::sleep(POLL).await;
        }
        let served_s = since();
        say(format_args!("all objects are served after {served_s:.1} s"));
        let kubernetes = Requests::read(&self.stage.client).await?.since(&before);
        let cloud = self.stage.cloud.counts().await?;
        let operator_cpu_s = cpu_seconds(self.leader.pid)?;
        let edits = self.edit(self.options.edits_after_restart).await?;
        Ok(Restart {
            served_s,
            leaderless_s,
            kubernetes_writes: kubernetes.writes(),
            kubernetes_gets: kubernetes.gets(),
            kubernetes,
            cloud,
            operator_cpu_s,
            peak_kib: memory(self.leader.pid)?.peak_kib,
            edits,
        })
    }

    fn resource(&self) -> String {
        self.options.load.kind.resource().plural
    }

    /// The requests to kube-apiserver between two marks.
    fn own(&self, before: &Mark, after: &Mark) -> Requests {
        after.kubernetes.since(&before.kubernetes)
    }

    async fn mark(&self) -> anyhow::Result<Mark> {
        let apiserver = ControlPlane::shared().apiserver_pid()?;
        Ok(Mark {
            kubernetes: Requests::read(&self.stage.client).await?,
            cloud: self.stage.cloud.counts().await?,
            operator_cpu_s: cpu_seconds(self.leader.pid)?,
            apiserver_cpu_s: cpu_seconds(apiserver)?,
            simulator_cpu_s: cpu_seconds(self.stage.simulator_pid()?)?,
            at: Instant::now(),
        })
    }
}

/// The time of the first changing call about a plan or group since a time, ms since the epoch.
async fn first_change(cloud: &Cloud, id: &str, since_ms: i64) -> anyhow::Result<Option<i64>> {
    let deadline = Instant::now() + EDIT;
    while Instant::now() < deadline {
        if let Some(change) = cloud.changes_since(since_ms).await?.into_iter().find(|it| it.is_of(id)) {
            return Ok(Some(change.at_ms));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(None)
}

fn say(line: std::fmt::Arguments<'_>) {
    eprintln!("{line}");
}
