//! The installed operator: a process that is started as its Deployment says, since no kubelet runs pods here.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec};
use serde_json::Value;

use crate::{ControlPlane, eventually_blocking, programs};

/// Maximum time for anything the operator or the cloud does.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// The only key that the simulator knows, as a Secret has it.
pub const KEY: [(&str, &str); 2] = [("accessKeyId", "simulator-key-id"), ("accessKeySecret", "simulator-key-secret")];

/// A process that ends with the test, and its output.
struct Program {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("stdout")), Box::new(child.stderr.take().expect("stderr"))];
        for output in outputs {
            let log = log.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    log.lock().expect("no thread panicked").push(line);
                }
            });
        }
        Self { child, log }
    }

    /// The first line that means something.
    fn line<T>(&mut self, what: &str, meaning: impl Fn(&str) -> Option<T>) -> T {
        eventually_blocking(DEADLINE, what, || {
            let log = self.log.lock().expect("no thread panicked");
            let found = log.iter().find_map(|line| meaning(line));
            let ended = self.child.try_wait().expect("it can be awaited");
            assert!(found.is_some() || ended.is_none(), "it ended with {ended:?} before: {what}\n{}", log.join("\n"));
            found
        })
    }

    fn terminate(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        eventually_blocking(DEADLINE, "the program ends", || self.child.try_wait().expect("it can be awaited")).code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A simulated cloud of its own.
pub struct Cloud {
    _program: Program,
    url: String,
}

impl Cloud {
    /// Starts it on a free port.
    pub fn start() -> Self {
        let mut command = Command::new(programs::simulator());
        command.env_clear().args(["--listen", "127.0.0.1:0", "--delay", "200ms", "--one-shot-interval", "0s"]);
        let mut program = Program::start(&mut command);
        let url = program.line("where it listens", |line| line.strip_prefix("listening on ").map(str::to_owned));
        Self { _program: program, url }
    }

    /// How many plans and groups of disks it has.
    pub fn holds(&self) -> (usize, usize) {
        let count = |value: &Value| value.as_array().expect("a list").len();
        (count(&self.plans()), count(&self.page("disk-groups")["Groups"]))
    }

    /// Its plans, with their descriptions.
    pub fn plans(&self) -> Value {
        self.page("plans")
    }

    fn page(&self, page: &str) -> Value {
        let (status, body) = get(self.url.trim_start_matches("http://"), &format!("/_simulator/{page}"));
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }
}

/// The installed operator, running.
pub struct Operator {
    program: Program,
    address: String,
}

impl Operator {
    /// Starts it with the arguments, the variables and the service account of a Deployment, and waits until it is ready.
    ///
    /// Its pages are on a free port of this machine instead of the Deployment's. The cloud's address and the poll interval are
    /// added as variables, which arguments override.
    pub fn start(plane: &ControlPlane, namespace: &str, deployment: &str, cloud: &Cloud) -> Self {
        let json = plane.kubectl(&["get", "deployment", deployment, "-n", namespace, "-o", "json"]).checked();
        let deployment: Deployment = serde_json::from_str(&json.expect("the Deployment")).expect("JSON");
        let pod = pod(&deployment);
        let account = pod.service_account_name.as_deref().expect("a service account");
        let kubeconfig = plane.service_account_kubeconfig(namespace, account).expect("its token");
        let mut command = as_in_pod(container(pod), namespace, &kubeconfig);
        for product in ["ROCKETMQ", "EBS"] {
            command.env(format!("DR_OPERATOR_{product}_ENDPOINT"), &cloud.url);
        }
        command.env("DR_OPERATOR_POLL_INTERVAL", "1s").env("DR_OPERATOR_TRANSITION_INTERVAL", "100ms");
        let mut program = Program::start(&mut command);
        let address = program.line("where it serves", |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            line["address"].as_str().map(str::to_owned)
        });
        eventually_blocking(DEADLINE, "/readyz", || (get(&address, "/readyz").0 == 200).then_some(()));
        Self { program, address }
    }

    /// Runs the pod of `helm test`: whether it succeeds, and its stderr. The Service is the operator here.
    pub fn tested(&self, pod: &PodSpec) -> (bool, String) {
        let args = container(pod).args.iter().flatten();
        let args = args.map(|arg| {
            let host = arg.strip_prefix("http://").and_then(|rest| rest.split_once('/'));
            host.map_or_else(|| arg.clone(), |(_, page)| format!("http://{}/{page}", self.address))
        });
        let test = Command::new(programs::operator()).env_clear().args(args).output().expect("it runs");
        (test.status.success(), String::from_utf8_lossy(&test.stderr).into_owned())
    }

    /// Ends it as a kubelet does. Its log has no request that was forbidden, and no secret.
    pub fn stop(mut self) {
        assert_eq!(self.program.terminate(), Some(0), "SIGTERM ends it cleanly");
        let log = eventually_blocking(DEADLINE, "its last words", || {
            let log = self.program.log.lock().expect("no thread panicked").clone();
            log.iter().any(|line| line.contains("operator ended")).then_some(log)
        });
        let bad = |line: &&String| ["forbidden", "Forbidden", KEY[1].1].iter().any(|word| line.contains(word));
        assert_eq!(log.iter().filter(bad).collect::<Vec<_>>(), Vec::<&String>::new());
    }
}

/// The pod of a Deployment.
pub fn pod(deployment: &Deployment) -> &PodSpec {
    deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()).expect("a pod")
}

/// The only container of a pod.
pub fn container(pod: &PodSpec) -> &Container {
    let [container] = &pod.containers[..] else { panic!("one container, but {:?}", pod.containers) };
    container
}

/// The program of a container, with its variables and arguments, as the user of `kubeconfig`.
fn as_in_pod(container: &Container, namespace: &str, kubeconfig: &Path) -> Command {
    let variables: BTreeMap<_, _> =
        container.env.iter().flatten().map(|it| (it.name.clone(), value(it, namespace))).collect();
    let args = container.args.iter().flatten().map(|arg| {
        let expanded = |arg: String, (name, value): (&String, &String)| arg.replace(&format!("$({name})"), value);
        let arg = variables.iter().fold(arg.clone(), expanded);
        if arg.starts_with("--metrics-address=") { "--metrics-address=127.0.0.1:0".to_owned() } else { arg }
    });
    let mut command = Command::new(programs::operator());
    command.env_clear().args(args).envs(&variables).env("KUBECONFIG", kubeconfig);
    command
}

/// The value that a kubelet gives a variable.
fn value(variable: &EnvVar, namespace: &str) -> String {
    if let Some(value) = &variable.value {
        return value.clone();
    }
    let field = variable.value_from.as_ref().and_then(|from| from.field_ref.as_ref()).expect("a value or a field");
    match field.field_path.as_str() {
        "metadata.namespace" => namespace.to_owned(),
        "metadata.name" => "the-pod".to_owned(),
        other => panic!("a pod here has no {other}"),
    }
}

/// Status and body of a page.
pub fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it is served");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("it is asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status"), body.to_owned())
}
