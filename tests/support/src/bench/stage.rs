//! The processes of a benchmark.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Client;
use kube::api::Api;

use super::cloud::Cloud;
use crate::operator::{SYSTEM, installed};
use crate::watchdog::{Folder, Server};
use crate::{ControlPlane, eventually};

/// How long a program may take until it listens.
const START: Duration = Duration::from_secs(30);
/// How long the election may take. The lease of a killed leader lasts 15 s, or as long as an argument of the operator says.
const ELECTION: Duration = Duration::from_secs(180);
const KEY: [&str; 2] = ["simulator-key-id", "simulator-key-secret"];

/// The two programs under test.
#[derive(Clone, Debug)]
pub struct Programs {
    pub operator: PathBuf,
    pub simulator: PathBuf,
    /// More arguments of the operator, after those that every benchmark has.
    pub operator_args: Vec<String>,
}

impl Programs {
    /// What the operator says of its version.
    pub fn version(&self) -> anyhow::Result<String> {
        let output = Command::new(&self.operator).arg("--version").output().context("asking the operator's version")?;
        let text = String::from_utf8(output.stdout).context("its version is no text")?;
        Ok(text.trim().trim_start_matches("dr-operator ").trim_start_matches("disaster-recovery-operator ").to_owned())
    }
}

/// A simulator and perhaps an operator, at the control plane of this process. Fields are dropped in this order.
pub struct Stage {
    operator: Option<Server>,
    simulator: Server,
    folder: Folder,
    programs: Programs,
    cloud_url: String,
    /// The simulator.
    pub cloud: Cloud,
    /// A client that may do everything.
    pub client: Client,
}

/// How the former leader ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It can do nothing about it: its lease expires.
    Kill,
    /// It finishes what is in progress, and releases its lease.
    Terminate,
}

/// A running operator that leads.
#[derive(Clone, Copy, Debug)]
pub struct Leader {
    /// Its process.
    pub pid: u32,
    /// The time when it acquired the lease, ms since the epoch.
    pub since_ms: i64,
}

impl Stage {
    /// Starts everything but the operator.
    pub async fn set(programs: Programs) -> anyhow::Result<Self> {
        let plane = tokio::task::spawn_blocking(|| {
            installed();
            ControlPlane::shared()
        });
        let client = plane.await.context("starting the control plane")?.admin_client();
        let folder = Folder::create()?;
        // Most of the time of a new item is then the operator's.
        let arguments = ["--listen=127.0.0.1:0", "--delay=500ms", "--one-shot-interval=0s", "--update-while-running"];
        let simulator = start(&folder, "cloud-simulator", &programs.simulator, &[], &arguments.map(str::to_owned))?;
        let log = folder.path().join("cloud-simulator.log");
        let cloud_url = eventually(START, "the cloud simulator listens", async || {
            let printed = std::fs::read_to_string(&log).unwrap_or_default();
            printed.lines().find_map(|line| line.strip_prefix("listening on ")).map(str::to_owned)
        })
        .await;
        let cloud = Cloud::at(&cloud_url)?;
        // One caught-up consumer group on every topic.
        cloud.remove_consumer_group("GID_BILLING").await?;
        Ok(Self { operator: None, simulator, folder, programs, cloud_url, cloud, client })
    }

    /// Starts an operator, and waits until it leads.
    pub async fn lead(&mut self) -> anyhow::Result<Leader> {
        let before = self.lease().await?.and_then(|it| it.holder_identity);
        let endpoint = |flag: &str| format!("{flag}={}", self.cloud_url);
        let mut arguments = vec!["run".to_owned(), endpoint("--rocketmq-endpoint"), endpoint("--ebs-endpoint")];
        let flags = ["--leader-elect", "--cluster-id=bench", "--metrics-address=127.0.0.1:0"];
        arguments.extend(flags.map(str::to_owned));
        arguments.push("--default-account-namespaces=*".to_owned());
        arguments.extend(self.programs.operator_args.iter().cloned());
        let environment = [
            // The end of its log is to say why it ended.
            "RUST_BACKTRACE=0".to_owned(),
            format!("KUBECONFIG={}", installed().display()),
            format!("POD_NAMESPACE={}", SYSTEM.0),
            format!("ALIBABA_CLOUD_ACCESS_KEY_ID={}", KEY[0]),
            format!("ALIBABA_CLOUD_ACCESS_KEY_SECRET={}", KEY[1]),
        ];
        let server = start(&self.folder, "dr-operator", &self.programs.operator, &environment, &arguments)?;
        let server = self.operator.insert(server);
        let program = file_name(&self.programs.operator)?;
        let pid = eventually(START, "the operator runs", async || server.pid(program).ok()).await;
        let acquired = eventually(ELECTION, "the operator leads", async || {
            let lease = self.lease().await.ok()??;
            let is_new = lease.holder_identity.is_some() && lease.holder_identity != before;
            lease.acquire_time.filter(|_| is_new)
        });
        Ok(Leader { pid, since_ms: acquired.await.0.as_millisecond() })
    }

    /// Ends the operator.
    pub async fn end(&mut self, leader: Leader, by: Ending) -> anyhow::Result<()> {
        let signal = match by {
            Ending::Kill => "-KILL",
            Ending::Terminate => "-TERM",
        };
        let sent = Command::new("kill").args([signal, &leader.pid.to_string()]).status().context("running kill")?;
        ensure!(sent.success(), "the operator got no signal");
        let mut server = self.operator.take().context("there is no operator")?;
        eventually(START, "the operator ends", async || server.ended().ok().filter(|ended| *ended)).await;
        Ok(())
    }

    /// Fails if the operator or the simulator has ended by itself, with the end of its log.
    pub fn ensure_runs(&mut self) -> anyhow::Result<()> {
        for server in self.operator.iter_mut().chain([&mut self.simulator]) {
            if server.ended()? {
                return server.failure("ended by itself");
            }
        }
        Ok(())
    }

    /// The simulator's process.
    pub fn simulator_pid(&self) -> anyhow::Result<u32> {
        self.simulator.pid(file_name(&self.programs.simulator)?)
    }

    async fn lease(&self) -> anyhow::Result<Option<LeaseSpec>> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), SYSTEM.0);
        let lease = leases.get_opt("disaster-recovery-operator").await.context("reading the lease")?;
        Ok(lease.and_then(|it| it.spec))
    }
}

fn file_name(program: &Path) -> anyhow::Result<&str> {
    let name = program.file_name().and_then(|it| it.to_str());
    name.with_context(|| format!("{} names no program", program.display()))
}

/// Starts a program without what the environment says of operators, simulators and proxies.
fn start(
    folder: &Folder,
    name: &'static str,
    program: &Path,
    environment: &[String],
    arguments: &[String],
) -> anyhow::Result<Server> {
    let program = std::fs::canonicalize(program).with_context(|| format!("there is no {}", program.display()))?;
    let mut all = Vec::new();
    for variable in std::env::vars_os().filter_map(|(variable, _)| variable.into_string().ok()) {
        let foreign = ["DR_OPERATOR_", "CLOUD_SIMULATOR_", "ALIBABA_CLOUD_", "RUST_LOG", "HOSTNAME"];
        let is_proxy = variable.to_ascii_uppercase().ends_with("_PROXY");
        if is_proxy || foreign.iter().any(|prefix| variable.starts_with(prefix)) {
            all.extend(["-u".to_owned(), variable]);
        }
    }
    all.extend(environment.iter().cloned());
    all.push(program.display().to_string());
    all.extend(arguments.iter().cloned());
    Server::start(folder, name, Path::new("/usr/bin/env"), &all)
}
