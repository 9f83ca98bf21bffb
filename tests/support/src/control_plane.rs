//! A real control plane: etcd, kube-apiserver and, where asked, kube-controller-manager, on this machine only.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use k8s_openapi::ByteString;
use serde_json::json;

use crate::certificates::{Certificates, Identity, write_private};
use crate::kubectl::{self, Output};
use crate::watchdog::{Folder, Server};

/// How long a server may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often a server is started on another port after it lost one to a stranger.
const PORT_ATTEMPTS: usize = 5;

/// What a control plane consists of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Also runs kube-controller-manager, where its program is at hand. Without it no namespace ends, nothing is collected
    /// as garbage, and no default service account appears.
    pub controller_manager: bool,
}

/// A running control plane with its own data, ports and certificates.
///
/// Dropping it ends its servers and removes its folder. The same happens when this process ends in any way.
#[derive(Debug)]
pub struct ControlPlane {
    // Fields are dropped in this order: the folder last.
    controller_manager: Option<Server>,
    apiserver: Server,
    _etcd: Server,
    url: http::Uri,
    certificates: Certificates,
    admin_kubeconfig: PathBuf,
    programs: PathBuf,
    folder: Folder,
}

impl ControlPlane {
    /// The control plane that all tests of this process share, without a controller manager; started by the first call,
    /// which blocks until it is ready. Tests keep apart by [`ControlPlane::namespace`].
    ///
    /// # Panics
    /// When it could not be started; every call then gives the same reason.
    #[track_caller]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
        match SHARED.get_or_init(|| Self::start(Options::default()).map_err(|error| format!("{error:#}"))) {
            Ok(running) => running,
            Err(reason) => panic!("no control plane: {reason}"),
        }
    }

    /// Starts one and blocks until it answers `ok` on `/readyz`. Builds the programs when they have never been built.
    ///
    /// What was started is ended again when this fails; the error has the end of the server's log.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let programs = programs()?;
        let folder = Folder::create()?;
        for sub in ["certificates", "home"] {
            std::fs::create_dir(folder.path().join(sub)).with_context(|| format!("making the folder {sub}"))?;
        }
        let certificates = Certificates::create(&folder.path().join("certificates"))?;
        let etcd = start_etcd(&folder, &programs)?;
        let admin_kubeconfig = folder.path().join("admin.kubeconfig");
        let (apiserver, url) = start_apiserver(&folder, &programs, &certificates, &admin_kubeconfig)?;
        let mut control_plane = Self {
            controller_manager: None,
            apiserver,
            _etcd: etcd,
            url,
            certificates,
            admin_kubeconfig,
            programs,
            folder,
        };
        if options.controller_manager && control_plane.programs.join("kube-controller-manager").is_file() {
            control_plane.controller_manager = Some(control_plane.start_controller_manager()?);
        }
        Ok(control_plane)
    }

    /// The folder of its data, certificates and logs (`<program>.log`).
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the programs: `etcd`, `kube-apiserver`, `kubectl` and perhaps `kube-controller-manager`.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// Where kube-apiserver is: `https://127.0.0.1:<port>`.
    pub fn url(&self) -> &http::Uri {
        &self.url
    }

    /// The process ID of kube-apiserver.
    pub fn apiserver_pid(&self) -> anyhow::Result<u32> {
        self.apiserver.pid("kube-apiserver")
    }

    /// Whether namespaces end and garbage is collected here.
    pub fn has_controller_manager(&self) -> bool {
        self.controller_manager.is_some()
    }

    /// The kubeconfig file of a user who may do everything; readable by its owner only.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.admin_kubeconfig
    }

    /// The same for the client library.
    pub fn admin_config(&self) -> kube::Config {
        let mut config = self.anonymous_config();
        config.auth_info.client_certificate = Some(self.certificates.admin.certificate.display().to_string());
        config.auth_info.client_key = Some(self.certificates.admin.key.display().to_string());
        config
    }

    /// A client that may do everything. It belongs to the tokio runtime that this is called in: create one for each test.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn admin_client(&self) -> kube::Client {
        client(self.admin_config())
    }

    /// A kubeconfig file, readable by its owner only, with a token of an existing service account, good for two hours.
    pub fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> anyhow::Result<PathBuf> {
        let token = self.service_account_token(namespace, name)?;
        let file = format!("{namespace}-{name}-{}.kubeconfig", uuid::Uuid::new_v4().simple());
        let file = self.folder().join(file);
        write_kubeconfig(&file, &self.url, &self.certificates.authority, &json!({ "token": token }))?;
        Ok(file)
    }

    /// A client with the token of an existing service account. It belongs to the tokio runtime that this is called in.
    ///
    /// # Panics
    /// When there is no such service account, and outside a tokio runtime.
    #[track_caller]
    pub fn service_account_client(&self, namespace: &str, name: &str) -> kube::Client {
        let token = self.service_account_token(namespace, name).expect("a token of the service account");
        let mut config = self.anonymous_config();
        config.auth_info.token = Some(token.into());
        client(config)
    }

    /// Runs the pinned kubectl as the admin and blocks until it ends. The status tells whether the request was refused, see
    /// [`Output::checked`].
    ///
    /// # Panics
    /// When kubectl cannot be run at all.
    #[track_caller]
    pub fn kubectl(&self, args: &[impl AsRef<OsStr>]) -> Output {
        self.run_kubectl(&self.admin_kubeconfig, args, None).expect("kubectl runs")
    }

    /// As [`ControlPlane::kubectl`], with `input` on its stdin (`-f -`).
    #[track_caller]
    pub fn kubectl_stdin(&self, args: &[impl AsRef<OsStr>], input: &str) -> Output {
        self.run_kubectl(&self.admin_kubeconfig, args, Some(input)).expect("kubectl runs")
    }

    /// As [`ControlPlane::kubectl`], as the user of `kubeconfig`.
    #[track_caller]
    pub fn kubectl_as(&self, kubeconfig: &Path, args: &[impl AsRef<OsStr>]) -> Output {
        self.run_kubectl(kubeconfig, args, None).expect("kubectl runs")
    }

    /// Applies all documents of `yaml` as the admin, on the server's side and over the claims of others.
    pub fn apply_yaml(&self, yaml: &str) -> anyhow::Result<()> {
        self.apply("-", Some(yaml))
    }

    /// Applies the objects in a file, or in the files of a folder, as [`ControlPlane::apply_yaml`] does.
    pub fn apply_file(&self, file: &Path) -> anyhow::Result<()> {
        let name = file.to_str().with_context(|| format!("{} is no text", file.display()))?;
        self.apply(name, None)
    }

    /// Stores an object in etcd as JSON, past kube-apiserver, which validates and converts for a quarter of a second what has a megabyte.
    /// `path` is `<group>/<plural>/<namespace>/<name>`.
    pub fn store(&self, path: &str, object: String) -> anyhow::Result<()> {
        let base64 = |text: String| serde_json::to_string(&ByteString(text.into_bytes())).context("encoding an object");
        let body = format!(r#"{{"key":{},"value":{}}}"#, base64(format!("/registry/{path}"))?, base64(object)?);
        let head = "POST /v3/kv/put HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Type: application/json";
        let mut etcd = UnixStream::connect(etcd_socket(&self.folder)).context("connecting to etcd")?;
        write!(etcd, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).context("asking etcd")?;
        let mut answer = String::new();
        etcd.read_to_string(&mut answer).context("reading etcd's answer")?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "etcd does not store {path}: {answer}");
        Ok(())
    }

    /// Creates a namespace that no other test has, named `<prefix>-<random>`, and returns its name. It stays until the
    /// control plane ends.
    ///
    /// # Panics
    /// When the server refuses it, as with a prefix of more than 50 characters.
    #[track_caller]
    pub fn namespace(&self, prefix: &str) -> String {
        let random = uuid::Uuid::new_v4().simple().to_string();
        let name = format!("{prefix}-{}", &random[..12]);
        self.kubectl(&["create", "namespace", &name]).checked().expect("a namespace of its own");
        name
    }

    fn apply(&self, file: &str, input: Option<&str>) -> anyhow::Result<()> {
        let args = ["apply", "--server-side", "--force-conflicts", "-f", file];
        self.run_kubectl(&self.admin_kubeconfig, &args, input)?.checked().map(drop)
    }

    fn run_kubectl(
        &self,
        kubeconfig: &Path,
        args: &[impl AsRef<OsStr>],
        input: Option<&str>,
    ) -> anyhow::Result<Output> {
        kubectl::run(&self.programs.join("kubectl"), &self.folder().join("home"), kubeconfig, args, input)
    }

    fn service_account_token(&self, namespace: &str, name: &str) -> anyhow::Result<String> {
        let args = ["create", "token", "--duration", "2h", "--namespace", namespace, name];
        let token = self
            .run_kubectl(&self.admin_kubeconfig, &args, None)?
            .checked()
            .with_context(|| format!("a token for the service account {namespace}/{name}"))?;
        Ok(token.trim_end().to_owned())
    }

    fn anonymous_config(&self) -> kube::Config {
        let mut config = kube::Config::new(self.url.clone());
        config.root_cert = Some(vec![self.certificates.authority_der.clone()]);
        config
    }

    fn start_controller_manager(&self) -> anyhow::Result<Server> {
        let certificates = &self.certificates;
        let kubeconfig = self.folder().join("controller-manager.kubeconfig");
        let user = user_of(&certificates.controller_manager);
        write_kubeconfig(&kubeconfig, &self.url, &certificates.authority, &user)?;
        let args = |port: u16| {
            vec![
                flag("kubeconfig", kubeconfig.display()),
                flag("service-account-private-key-file", certificates.service_account_key.display()),
                flag("root-ca-file", certificates.authority.display()),
                flag("use-service-account-credentials", true), // its own user may do little
                flag("leader-elect", false),
                flag("bind-address", "127.0.0.1"),
                flag("secure-port", port),
            ]
        };
        // Only its controllers create this account.
        let ready = |_port| {
            let account = ["get", "serviceaccount", "default", "--namespace", "default", "--request-timeout", "5s"];
            Ok(self.run_kubectl(&self.admin_kubeconfig, &account, None)?.status.success())
        };
        let program = self.programs.join("kube-controller-manager");
        let (server, _port) = start_on_free_port(&self.folder, "kube-controller-manager", &program, args, ready)?;
        Ok(server)
    }
}

/// The folder of the pinned programs, built where that has never been done (which takes ten minutes).
fn programs() -> anyhow::Result<PathBuf> {
    static PROGRAMS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let find = || {
        // It knows about KUBEBUILDER_ASSETS as well.
        let script = crate::path("tests/control-plane/build.sh");
        let output = Command::new("bash")
            .arg(&script)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("running {}", script.display()))?;
        ensure!(output.status.success(), "{} ended with {}", script.display(), output.status);
        let printed = String::from_utf8(output.stdout).context("the folder of the programs is no text")?;
        std::fs::canonicalize(printed.trim_end()).with_context(|| format!("looking for the programs in {printed:?}"))
    };
    let found = PROGRAMS.get_or_init(|| find().map_err(|error: anyhow::Error| format!("{error:#}")));
    found.clone().map_err(|reason| anyhow!(reason))
}

/// etcd listens on sockets in the private folder: no other user can reach it, and no port can be lost.
fn start_etcd(folder: &Folder, programs: &Path) -> anyhow::Result<Server> {
    let socket = etcd_socket(folder);
    ensure!(
        socket.as_os_str().len() < 100,
        "{} is too long a name for a socket; set TMPDIR to a shorter one",
        socket.display()
    );
    let unused = "http://127.0.0.1:1"; // a single member has no peers, but must advertise an address
    let args = [
        flag("name", "lone"),
        flag("data-dir", folder.path().join("etcd").display()),
        flag("listen-client-urls", format_args!("unix://{}", socket.display())),
        flag("advertise-client-urls", unused),
        flag("listen-peer-urls", format_args!("unix://{}", folder.path().join("peer.sock").display())),
        flag("initial-advertise-peer-urls", unused),
        flag("initial-cluster", format_args!("lone={unused}")),
        "--unsafe-no-fsync".to_owned(),
        flag("log-level", "error"),
    ];
    let mut server = Server::start(folder, "etcd", &programs.join("etcd"), &args)?;
    match await_ready(&mut server, || Ok(UnixStream::connect(&socket).is_ok()))? {
        Start::Ready => Ok(server),
        Start::Ended => server.failure("ended at its start"),
    }
}

fn etcd_socket(folder: &Folder) -> PathBuf {
    folder.path().join("etcd.sock")
}

/// Also writes the admin's kubeconfig, as only now the port is known.
fn start_apiserver(
    folder: &Folder,
    programs: &Path,
    certificates: &Certificates,
    kubeconfig: &Path,
) -> anyhow::Result<(Server, http::Uri)> {
    let args = |port: u16| {
        vec![
            flag("etcd-servers", format_args!("unix://{}", etcd_socket(folder).display())),
            flag("bind-address", "127.0.0.1"),
            flag("advertise-address", "127.0.0.1"),
            flag("secure-port", port),
            flag("tls-cert-file", certificates.server.certificate.display()),
            flag("tls-private-key-file", certificates.server.key.display()),
            flag("client-ca-file", certificates.authority.display()),
            flag("service-account-key-file", certificates.service_account_public_key.display()),
            flag("service-account-signing-key-file", certificates.service_account_key.display()),
            flag("service-account-issuer", "https://kubernetes.default.svc"),
            flag("authorization-mode", "RBAC"),
            flag("disable-admission-plugins", "ServiceAccount"),
            flag("service-cluster-ip-range", "10.0.0.0/24"),
            flag("endpoint-reconciler-type", "none"),
            flag("allow-privileged", true),
        ]
    };
    let url = |port: u16| format!("https://127.0.0.1:{port}").parse::<http::Uri>().context("the server's address");
    let ready = |port| {
        // A stranger on a lost port has no certificate of our authority.
        write_kubeconfig(kubeconfig, &url(port)?, &certificates.authority, &user_of(&certificates.admin))?;
        let args = ["get", "--raw", "/readyz", "--request-timeout", "5s"];
        let answer = kubectl::run(&programs.join("kubectl"), &folder.path().join("home"), kubeconfig, &args, None)?;
        Ok(answer.status.success() && answer.stdout.trim_end() == "ok")
    };
    let (server, port) = start_on_free_port(folder, "kube-apiserver", &programs.join("kube-apiserver"), args, ready)?;
    Ok((server, url(port)?))
}

/// Starts a server on a port of 127.0.0.1 that was free a moment ago, and on another one when it was lost in between.
fn start_on_free_port(
    folder: &Folder,
    name: &'static str,
    program: &Path,
    args: impl Fn(u16) -> Vec<String>,
    ready: impl Fn(u16) -> anyhow::Result<bool>,
) -> anyhow::Result<(Server, u16)> {
    for _ in 0..PORT_ATTEMPTS {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .context("looking for a free port")?
            .port();
        let mut server = Server::start(folder, name, program, &args(port))?;
        match await_ready(&mut server, || ready(port))? {
            Start::Ready => return Ok((server, port)),
            Start::Ended if server.lost_its_port() => {}
            Start::Ended => return server.failure("ended at its start"),
        }
    }
    bail!("{name} lost its port to other processes {PORT_ATTEMPTS} times")
}

/// How the start of a server came out.
enum Start {
    Ready,
    Ended,
}

fn await_ready(server: &mut Server, ready: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<Start> {
    let end = Instant::now() + READY_WITHIN;
    loop {
        let answered = ready()?;
        // Checked last: an answer after the server has ended is that of another process.
        if server.ended()? {
            return Ok(Start::Ended);
        }
        if answered {
            return Ok(Start::Ready);
        }
        if Instant::now() > end {
            return server.failure(&format!("was not ready within {READY_WITHIN:?}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}

fn user_of(identity: &Identity) -> serde_json::Value {
    json!({ "client-certificate": identity.certificate, "client-key": identity.key })
}

/// Writes a kubeconfig of one cluster and one user.
fn write_kubeconfig(file: &Path, url: &http::Uri, authority: &Path, user: &serde_json::Value) -> anyhow::Result<()> {
    let server = url.to_string();
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "test", "cluster": {
            "server": server.trim_end_matches('/'), "certificate-authority": authority,
        }}],
        "users": [{ "name": "test", "user": user }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        "current-context": "test",
    });
    // JSON is YAML as well.
    write_private(file, &format!("{config:#}\n"))
}

fn client(config: kube::Config) -> kube::Client {
    // An Err means that the provider is installed already; the crate has no other.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    kube::Client::try_from(config).expect("a client for the control plane")
}
