//! What the demo stands on: a cluster, a namespace of its own, the cloud simulator and the operator. Every program is under
//! a watchdog and ends with the demo, however that ends.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::terminal::{Http, Kubectl, on_path, say, typed, until};
use test_support::watchdog::{Folder, Server};
use test_support::{ControlPlane, Options};

/// The definitions: the file below crds/, and the name.
const CRDS: [(&str, &str); 3] = [
    ("alibabacloudaccounts.yaml", "alibabacloudaccounts.disasterrecovery.dev"),
    ("disasterrecoveryplans.yaml", "disasterrecoveryplans.disasterrecovery.dev"),
    ("diskreplicagroups.yaml", "diskreplicagroups.disasterrecovery.dev"),
];
/// What the operator of an installation carries.
const INSTALLED: &str = "app.kubernetes.io/name=disaster-recovery-operator";
/// The simulator's own, which no other cloud knows.
const KEY: [&str; 2] = ["simulator-key-id", "simulator-key-secret"];

/// Which cluster is used.
pub(crate) enum Cluster {
    /// A control plane that lives as long as the demo.
    Own,
    /// That of KUBECONFIG, by this or the current context.
    Foreign(Option<String>),
}

/// Everything that runs. Fields are dropped in this order.
pub(crate) struct Stage {
    operator: Option<Server>,
    simulator: Option<Server>,
    control_plane: Option<ControlPlane>,
    folder: Folder,
    /// kubectl, in the demo's namespace.
    pub(crate) kubectl: Kubectl,
    /// The way to the simulator and the operator.
    pub(crate) http: Http,
    /// The namespace, once it exists.
    namespace: Option<String>,
    /// Where the simulator is.
    pub(crate) cloud: String,
    /// Where the operator's pages are.
    pub(crate) operator_url: String,
    /// The definitions that the demo created.
    crds: Vec<&'static str>,
}

impl Stage {
    /// Finds or starts the cluster; creates nothing in it yet.
    pub(crate) fn set(cluster: &Cluster, runtime: tokio::runtime::Handle) -> anyhow::Result<Self> {
        let folder = Folder::create()?;
        let cache = folder.path().join("kubectl-cache");
        let (control_plane, source, context) = match cluster {
            Cluster::Own => {
                say("starting etcd and kube-apiserver (this control plane lives as long as the demo)");
                let running = ControlPlane::start(Options::default())?;
                let kubeconfig = Some(running.admin_kubeconfig().to_owned());
                let kubectl = Kubectl { program: running.programs().join("kubectl"), kubeconfig, cache };
                (Some(running), kubectl, None)
            }
            Cluster::Foreign(context) => {
                let program =
                    on_path("kubectl").context("kubectl is needed to use a cluster of yours: put it on PATH")?;
                (None, Kubectl { program, kubeconfig: None, cache }, context.clone())
            }
        };
        // A copy with this one context, so that neither changes the other.
        let mut view = vec!["config", "view", "--raw", "--minify", "--flatten"];
        view.extend(context.iter().flat_map(|name| ["--context", name]));
        let config = source.quiet(&view).context("no cluster is known: set KUBECONFIG, or another CONTEXT")?;
        let file = folder.path().join("kubeconfig");
        private(&file, &config)?;
        let kubectl = Kubectl { kubeconfig: Some(file), ..source };
        let stage = Self {
            operator: None,
            simulator: None,
            control_plane,
            folder,
            kubectl,
            http: Http::new(runtime)?,
            namespace: None,
            cloud: String::new(),
            operator_url: String::new(),
            crds: vec![],
        };
        let version = stage.kubectl.quiet(&["version", "-o", "json"]).context("the cluster does not answer")?;
        let version: Value = serde_json::from_str(&version).context("kubectl version printed no JSON")?;
        say(format_args!("Kubernetes {}", version["serverVersion"]["gitVersion"].as_str().unwrap_or("?")));
        Ok(stage)
    }

    /// Refuses a cluster in which another operator would work on the demo's objects too, with real keys.
    pub(crate) fn refuse_a_second_operator(&self) -> anyhow::Result<()> {
        let found = self.kubectl.quiet(&["get", "deployments", "-A", "-l", INSTALLED, "-o", "name"])?;
        ensure!(
            found.trim().is_empty(),
            "this cluster has an operator already ({}), which would work on the demo's objects too, in the real cloud: use \
             another cluster",
            found.trim()
        );
        Ok(())
    }

    /// The definitions, the namespace and, in it, the key of the account. `crds` is their folder.
    pub(crate) fn prepare(&mut self, crds: &Path) -> anyhow::Result<()> {
        for (file, crd) in CRDS {
            let found = self.kubectl.quiet(&["get", "crd", crd, "--ignore-not-found", "-o", "name"])?;
            if found.trim().is_empty() {
                self.kubectl.show(&["apply", "-f", &text(&crds.join(file))?])?;
                self.crds.push(crd);
            } else {
                say(format_args!("the definition {crd} is there already and stays as it is"));
            }
        }
        let mut wait = vec!["wait", "--for=condition=Established", "crd"];
        wait.extend(CRDS.iter().map(|it| it.1));
        self.kubectl.show(&wait)?;
        let random = uuid::Uuid::new_v4().simple().to_string();
        let name = format!("dr-demo-{}", &random[..6]);
        self.kubectl.show(&["create", "namespace", &name])?;
        self.namespace = Some(name.clone());
        self.kubectl.show(&["config", "set-context", "--current", "--namespace", &name])?;
        let key = [format!("accessKeyId={}", KEY[0]), format!("accessKeySecret={}", KEY[1])];
        let secret =
            ["create", "secret", "generic", "alibaba-cloud-key", "--from-literal", &key[0], "--from-literal", &key[1]];
        self.kubectl.show(&secret)?;
        Ok(())
    }

    /// The cloud, on a free port.
    pub(crate) fn start_simulator(&mut self) -> anyhow::Result<()> {
        // Quick; the real cloud allows a one-shot synchronization of a group every 7.5 minutes only.
        let arguments = ["--listen", "127.0.0.1:0", "--delay", "500ms", "--one-shot-interval", "0s"];
        typed(&format!("cloud-simulator {}", arguments.join(" ")));
        let mut server = self.start("cloud-simulator", &[], &arguments)?;
        let log = self.log("cloud-simulator");
        self.cloud = until(Duration::from_secs(20), "the cloud simulator listens", || {
            ensure_runs(&mut server)?;
            let printed = std::fs::read_to_string(&log).unwrap_or_default();
            Ok(printed.lines().find_map(|line| line.strip_prefix("listening on ")).map(str::to_owned))
        })?;
        say(format_args!("listening on {}", self.cloud));
        self.simulator = Some(server);
        Ok(())
    }

    /// The operator, with the simulator as its cloud and no key of its own, until it is ready.
    pub(crate) fn start_operator(&mut self) -> anyhow::Result<()> {
        let namespace = self.namespace.clone().context("there is no namespace yet")?;
        let kubeconfig = self.kubectl.kubeconfig.clone().context("there is no kubeconfig yet")?;
        let environment = [format!("KUBECONFIG={}", text(&kubeconfig)?)];
        // Short intervals, so that there is something to see.
        let intervals = ["--poll-interval", "2s", "--transition-interval", "500ms", "--retry-interval", "1s"];
        let rest = ["--create-visibility-window", "5s", "--metrics-address", "127.0.0.1:0"];
        let mut arguments = vec!["run", "--namespace", &namespace, "--rocketmq-endpoint", &self.cloud];
        arguments.extend(["--ebs-endpoint", &self.cloud]);
        arguments.extend(intervals);
        arguments.extend(rest);
        typed(&format!("dr-operator {}", arguments.join(" ")));
        let mut server = self.start("dr-operator", &environment, &arguments)?;
        let log = self.log("dr-operator");
        self.operator_url = until(Duration::from_secs(20), "the operator listens", || {
            ensure_runs(&mut server)?;
            Ok(std::fs::read_to_string(&log).unwrap_or_default().lines().find_map(listening))
        })?;
        let url = format!("{}/readyz", self.operator_url);
        typed(&format!("curl -sS {url}"));
        until(Duration::from_secs(30), "the operator is ready", || {
            ensure_runs(&mut server)?;
            Ok(self.http.get(&url).ok().map(|text| say(text.trim_end())))
        })?;
        self.operator = Some(server);
        Ok(())
    }

    fn owns_its_cluster(&self) -> bool {
        self.control_plane.is_some()
    }

    /// Starts a program that was built beside this one.
    fn start(&self, name: &'static str, environment: &[String], arguments: &[&str]) -> anyhow::Result<Server> {
        let here = std::env::current_exe().context("looking for the built programs")?;
        let folder = here.parent().and_then(Path::parent).context("looking for the built programs")?;
        let program = folder.join(name);
        ensure!(program.is_file(), "there is no {}: run `cargo build --bins` first", program.display());
        let env = on_path("env").context("there is no program env on PATH")?;
        let mut all = Vec::new();
        // What the person has set for an operator of their own, and a proxy on the way to this machine itself.
        for variable in std::env::vars_os().filter_map(|(variable, _)| variable.into_string().ok()) {
            let prefixes = ["DR_OPERATOR_", "CLOUD_SIMULATOR_", "ALIBABA_CLOUD_"];
            let proxy = self.owns_its_cluster() && variable.to_ascii_uppercase().ends_with("_PROXY");
            if prefixes.iter().any(|prefix| variable.starts_with(prefix)) || proxy {
                all.extend(["-u".to_owned(), variable]);
            }
        }
        all.extend(environment.iter().cloned());
        all.push(text(&program)?);
        all.extend(arguments.iter().map(|&it| it.to_owned()));
        Server::start(&self.folder, name, &env, &all)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    /// Whether there is anything to show.
    pub(crate) fn has_namespace(&self) -> bool {
        self.namespace.is_some()
    }

    /// The addresses for a user who keeps it running.
    pub(crate) fn addresses(&self) -> anyhow::Result<String> {
        let kubeconfig = self.kubectl.kubeconfig.as_deref().unwrap_or(Path::new(""));
        let mut lines = vec![format!("export KUBECONFIG={}", text(kubeconfig)?)];
        if on_path("kubectl").is_none() {
            let folder = self.kubectl.program.parent().unwrap_or(Path::new(""));
            lines.push(format!("export PATH=$PATH:{}", text(folder)?));
        }
        lines.push(format!("cloud simulator:  {}/_simulator/plans", self.cloud));
        lines.push(format!("                  {}/_simulator/disk-groups", self.cloud));
        lines.push(format!("operator metrics: {}/metrics", self.operator_url));
        lines.push(format!("operator log:     {}", self.log("dr-operator").display()));
        Ok(lines.join("\n"))
    }

    /// The end of the operator's log.
    pub(crate) fn operator_log(&self) -> Option<String> {
        let log = std::fs::read_to_string(self.log("dr-operator")).ok()?;
        let lines: Vec<_> = log.lines().collect();
        Some(lines[lines.len().saturating_sub(15)..].join("\n"))
    }

    /// Takes the objects and the namespace out of a foreign cluster again, while the operator still runs. A cluster of the
    /// demo's own simply ends.
    pub(crate) fn strike(self) -> anyhow::Result<()> {
        let Some(namespace) = self.namespace.clone().filter(|_| !self.owns_its_cluster()) else { return Ok(()) };
        say(format_args!("removing the namespace {namespace}"));
        let kubectl = |seconds, arguments: &[&str]| self.kubectl.at_the_end(Duration::from_secs(seconds), arguments);
        let gone = kubectl(25, &["delete", "drp,drg,aca", "--all", "-n", &namespace, "--timeout=20s"]);
        if gone.is_err() {
            // The cloud ends with the demo: the finalizer protects nothing any more.
            let left = kubectl(10, &["get", "drp,drg,aca", "-n", &namespace, "-o", "name"])?;
            for object in left.lines() {
                let nothing = r#"{"metadata":{"finalizers":null}}"#;
                kubectl(10, &["patch", object, "-n", &namespace, "--type=merge", "-p", nothing])?;
            }
        }
        kubectl(70, &["delete", "namespace", &namespace, "--timeout=60s"]).with_context(|| {
            format!("the namespace {namespace} is left behind: kubectl delete namespace {namespace}")
        })?;
        if !self.crds.is_empty() {
            say(format_args!("the definitions stay; to remove them: kubectl delete crd {}", self.crds.join(" ")));
        }
        Ok(())
    }
}

/// The address in the operator's log line.
fn listening(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let address = line["address"].as_str().filter(|_| line["message"] == "serving health and metrics")?;
    Some(format!("http://{address}"))
}

fn ensure_runs(server: &mut Server) -> anyhow::Result<()> {
    if server.ended()? { server.failure("ended at its start") } else { Ok(()) }
}

fn text(path: &Path) -> anyhow::Result<String> {
    match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => bail!("{} is no text", path.display()),
    }
}

/// Writes a file that from its first byte on only its owner may read.
fn private(file: &Path, content: &str) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    opened.and_then(|mut it| it.write_all(content.as_bytes())).with_context(|| format!("writing {}", file.display()))
}
