//! The programs as users run them: the built operator and simulator, and the real kubectl.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use test_support::operator::installed;
use test_support::stage::DEADLINE;
use test_support::{ControlPlane, eventually_blocking};

const OPERATOR: &str = env!("CARGO_BIN_EXE_dr-operator");
const SIMULATOR: &str = env!("CARGO_BIN_EXE_cloud-simulator");

/// A process that does not outlive the test.
struct Program(Child);

impl Program {
    fn terminate(&mut self) -> Option<i32> {
        let pid = self.0.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        eventually_blocking(DEADLINE, "the program ends", || self.0.try_wait().expect("it can be awaited")).code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts the operator with more arguments and gives it with the address of its probes and the lines of its log.
fn operator(arguments: &[&str]) -> (Program, String, std::sync::mpsc::Receiver<String>) {
    let mut command = Command::new(OPERATOR);
    command.args(["run", "--metrics-address", "127.0.0.1:0", "--transition-interval", "100ms"]).args(arguments);
    command.env("KUBECONFIG", installed());
    started(&mut command)
}

/// Starts an operator, and gives the same.
fn started(command: &mut Command) -> (Program, String, std::sync::mpsc::Receiver<String>) {
    let mut child = command.env_remove("RUST_LOG").stderr(Stdio::piped()).spawn().expect("the operator starts");
    let log = child.stderr.take().expect("its log");
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(log).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let program = Program(child);
    let address = loop {
        let line = lines.recv_timeout(DEADLINE).expect("the operator says where it serves");
        let entry: serde_json::Value = serde_json::from_str(&line).expect("a log line is JSON");
        if let Some(address) = entry["address"].as_str() {
            break address.to_owned();
        }
    };
    (program, address, lines)
}

fn get(address: &str, path: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).expect("the probes are served");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("it is asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, answer)
}

#[test]
fn programs_create_a_plan_and_end_cleanly() {
    let plane = ControlPlane::shared();
    installed();
    let namespace = plane.namespace("program");
    let mut simulator = Command::new(SIMULATOR);
    simulator.args(["--listen", "127.0.0.1:0", "--delay", "200ms"]).stdout(Stdio::piped());
    let mut simulator = Program(simulator.spawn().expect("the simulator starts"));
    let mut line = String::new();
    let out = simulator.0.stdout.take().expect("its output");
    BufReader::new(out).read_line(&mut line).expect("it says where it listens");
    let url = line.trim().rsplit(' ').next().expect("a URL").to_owned();

    let (mut operator, address, lines) =
        operator(&["--namespace", &namespace, "--rocketmq-endpoint", &url, "--poll-interval", "1s"]);
    eventually_blocking(DEADLINE, "/readyz", || (get(&address, "/readyz").0 == 200).then_some(()));
    assert_eq!(get(&address, "/livez").0, 200);
    let probe = |path: &str| {
        let output =
            Command::new(OPERATOR).args(["probe", &format!("http://{address}{path}")]).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(probe("/readyz").0, Some(0));
    let (code, text) = probe("/nothing");
    assert!(code == Some(1) && text.contains("404 Not Found"), "{text}");

    let sample = test_support::path("deploy/samples/01-one-way.yaml");
    let sample = sample.to_str().expect("a path");
    let kubectl = |args: &[&str]| plane.kubectl(&[&["--namespace", &namespace], args].concat()).checked();
    let key = ["--from-literal=accessKeyId=simulator-key-id", "--from-literal=accessKeySecret=simulator-key-secret"];
    kubectl(&[&["create", "secret", "generic", "alibaba-cloud-key"], &key[..]].concat()).expect("the account's key");
    kubectl(&["apply", "-f", sample]).expect("kubectl applies the sample");
    kubectl(&["wait", "--for=condition=Ready", "drp", "--all", "--timeout=60s"]).expect("it becomes ready");
    let wide = kubectl(&["get", "drp", "-o", "wide"]).expect("kubectl shows it");
    for text in ["PLAN ID", "RUNNING", "True", "MAX LAG", "REGION"] {
        assert!(wide.contains(text), "{wide}");
    }
    let (_, metrics) = get(&address, "/metrics");
    assert!(metrics.contains("disaster_recovery_cloud_requests_total{product=\"rocketmq\""), "{metrics}");
    kubectl(&["delete", "-f", sample, "--timeout=60s"]).expect("it goes");
    assert!(get(url.trim_start_matches("http://"), "/_simulator/plans").1.ends_with("[]"));

    assert_eq!(operator.terminate(), Some(0), "SIGTERM ends it cleanly");
    assert_eq!(simulator.terminate(), Some(0));
    let log: Vec<_> = lines.iter().collect();
    assert!(log.iter().any(|line| line.contains("operator ended")), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("simulator-key-secret")), "{log:#?}");
}

#[test]
fn program_without_caches_is_neither_ready_nor_leader() {
    let plane = ControlPlane::shared();
    installed();
    let namespace = plane.namespace("no-rights");
    plane.kubectl(&["create", "serviceaccount", "nobody", "--namespace", &namespace]).checked().expect("it is made");
    let kubeconfig = plane.service_account_kubeconfig(&namespace, "nobody").expect("it has a token");
    for election in [&[][..], &["--leader-elect"]] {
        let mut command = Command::new(OPERATOR);
        command.args(["run", "--metrics-address", "127.0.0.1:0", "--cluster-id", "test"]).args(election);
        let (mut operator, address, lines) = started(command.env("KUBECONFIG", &kubeconfig));
        let refused = |line: String| line.contains("cannot watch").then_some(());
        eventually_blocking(DEADLINE, "it is refused", || lines.try_iter().find_map(refused));
        assert_eq!(get(&address, "/readyz").0, 503);
        let leader = format!("\ndisaster_recovery_leader {}\n", u8::from(election.is_empty()));
        assert!(get(&address, "/metrics").1.contains(&leader), "{leader}");
        assert_eq!(operator.terminate(), Some(0), "{election:?}");
    }
}

#[test]
fn argument_that_cannot_be_used_is_refused_with_code_2() {
    for (flag, variable, values, reason) in [
        ("--namespace", "DR_OPERATOR_NAMESPACE", &["*", "a,*"][..], "leave it out for all namespaces"),
        ("--namespace", "DR_OPERATOR_NAMESPACE", &["Team_A", "team-", "a.b"], "lower-case letters"),
        ("--label-selector", "DR_OPERATOR_LABEL_SELECTOR", &["team in a", "team=a,"], "--label-selector"),
        ("--default-account-namespaces", "DR_OPERATOR_DEFAULT_ACCOUNT_NAMESPACES", &["a,Team_A"], "lower-case letters"),
        ("--credentials-secret", "DR_OPERATOR_CREDENTIALS_SECRET", &["a/b/c", "/b", "a/", "A"], "--credentials-secret"),
        (
            "--leader-elect-resource-name",
            "DR_OPERATOR_LEADER_ELECT_RESOURCE_NAME",
            &["Lease", "a_b"],
            "lower-case letters",
        ),
        ("--leader-elect-resource-namespace", "DR_OPERATOR_LEADER_ELECT_RESOURCE_NAMESPACE", &["*", "A"], "namespace"),
        ("--cloud-timeout", "DR_OPERATOR_CLOUD_TIMEOUT", &["31s"], "--cloud-timeout is refused"),
        ("--leader-elect-renew-deadline", "DR_OPERATOR_LEADER_ELECT_RENEW_DEADLINE", &["20s"], "--leader-elect-"),
        ("--shard", "DR_OPERATOR_SHARD", &["1/3"], "--shard is refused"),
        ("--allowed-endpoints", "DR_OPERATOR_ALLOWED_ENDPOINTS", &["ftp://a"], "--allowed-endpoints is refused"),
        ("--log-level", "DR_OPERATOR_LOG_LEVEL", &["a=b=c"], "--log-level is not understood"),
    ] {
        for value in values {
            for by_flag in [true, false] {
                let mut command = Command::new(OPERATOR);
                command.args(["run", "--metrics-address", "127.0.0.1:0"]).env("KUBECONFIG", installed());
                match by_flag {
                    true => command.args([flag, value]),
                    false => command.env(variable, value),
                };
                let output = command.env_remove("RUST_BACKTRACE").output().expect("it runs");
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(output.status.code(), Some(2), "{flag} {value}: {text}");
                assert!(text.contains(reason), "{flag} {value}: {text}");
            }
        }
    }
}

#[test]
fn plain_text_endpoint_is_refused_before_any_request() {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(OPERATOR);
        command.args(["run", "--metrics-address", "127.0.0.1:0"]).args(arguments).env("KUBECONFIG", installed());
        let output = command.env_remove("RUST_BACKTRACE").output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for flag in ["--rocketmq-endpoint", "--ebs-endpoint", "--sts-endpoint", "--metadata-endpoint"] {
        let (code, text) = run(&[flag, "http://cloud.example.com"]);
        assert_eq!(code, Some(2), "{flag}");
        assert!(text.contains(&format!("{flag} is refused")) && text.contains("is not encrypted: use https"), "{text}");
    }
    let (code, text) = run(&["--poll-interval", "soon"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("write it like 30s, 5m or 1h"), "{text}");
    let (code, text) = run(&["--cluster-id", "a/b"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("write 1 to 32 letters, digits and dashes"), "{text}");
}
