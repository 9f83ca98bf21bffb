//! The operator as a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Api;
use tokio::net::TcpListener;

use crate::operator::SYSTEM;
use crate::stage::DEADLINE;
use crate::stage::plans::World;
use crate::{ControlPlane, eventually};

/// An operator in a process of its own, which calls the cloud by a key of its own. It does not outlive the test.
pub struct Operator {
    process: Child,
    key: &'static str,
    log: PathBuf,
}

impl Operator {
    /// Starts the program with short intervals and with more arguments.
    pub fn quick(program: &str, key: &'static str, world: &World, kubeconfig: &Path, more: &[&str]) -> Self {
        let quick = ["--poll-interval=1s", "--transition-interval=100ms", "--create-visibility-window=2s"];
        Self::start(program, key, world, kubeconfig, &[&quick[..], more].concat())
    }

    /// Starts the program with more arguments.
    pub fn start(program: &str, key: &'static str, world: &World, kubeconfig: &Path, more: &[&str]) -> Self {
        let log = ControlPlane::shared().folder().join(format!("operator-{key}-{}.log", world.namespace));
        let mut command = Command::new(program);
        command.args(["run", "--metrics-address=127.0.0.1:0"]).args(more);
        command.args(["--namespace", &world.namespace, "--default-account-namespaces", &world.namespace]);
        command
            .env("KUBECONFIG", kubeconfig)
            .env("POD_NAMESPACE", SYSTEM.0)
            .env("POD_NAME", key)
            .env_remove("RUST_LOG");
        command.env("ALIBABA_CLOUD_ACCESS_KEY_ID", key).env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret");
        let output = std::fs::File::create(&log).expect("its log is made");
        let process = command.stdout(Stdio::null()).stderr(output).spawn().expect("the operator starts");
        Self { process, key, log }
    }

    /// The ID of its access key.
    pub fn key(&self) -> &'static str {
        self.key
    }

    /// Sends it a signal, such as `-KILL`.
    pub fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let done = Command::new("kill").args([signal, &pid]).status().expect("kill runs");
        assert!(done.success(), "{signal} of {}", self.key);
    }

    /// The most memory that it had at once, in MiB.
    pub fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
        peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
    }

    /// What it has logged.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).expect("its log reads")
    }

    /// Waits until it has logged a text.
    pub async fn says(&self, text: &str) {
        eventually(DEADLINE, format!("{} says: {text}", self.key), async || self.said().contains(text).then_some(()))
            .await;
    }

    /// Waits until it has ended. Its exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let what = format!("{} ends", self.key);
        eventually(DEADLINE, what, async || self.process.try_wait().expect("it can be awaited")).await.code()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        if std::thread::panicking() {
            eprintln!("the log of {}:\n{}", self.key, self.said());
        }
    }
}

/// Serves the cloud of a world on a port.
pub async fn served(world: &World) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router = world.cloud.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// The Lease of the election, as it is now.
pub async fn lease() -> Option<LeaseSpec> {
    let leases: Api<Lease> = Api::namespaced(ControlPlane::shared().admin_client(), SYSTEM.0);
    leases.get_opt("disaster-recovery-operator").await.expect("kube-apiserver answers")?.spec
}
