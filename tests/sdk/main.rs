//! The simulator against Alibaba Cloud's own SDK for Python, see `sdk/drive.py` and its neighbours. Needs Python 3 with
//! venv, and a package index the first time.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Ends the program with the test, also after a failure.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which the test says better than a failure here.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn simulator(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloud-simulator"));
    let own = std::env::vars_os().map(|(name, _)| name);
    own.filter(|name| name.to_string_lossy().starts_with("CLOUD_SIMULATOR_")).for_each(|name| {
        command.env_remove(name);
    });
    command.args(arguments).stdout(Stdio::piped());
    command
}

/// Starts the simulator on a free port, and returns it with its base URL.
fn start(arguments: &[&str]) -> (Running, String) {
    let mut running = Running(simulator(arguments).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let base = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("it said {line:?}"));
    assert!(base.starts_with("http://127.0.0.1:"), "{base}");
    (running, base.to_owned())
}

/// Runs one of the drivers against a simulator of its own, which is started with these arguments too.
fn drive(driver: &str, arguments: &[&str]) {
    let folder = test_support::path("tests/sdk");
    let setup = Command::new(folder.join("setup.sh")).stderr(Stdio::inherit()).output().unwrap();
    assert!(setup.status.success(), "the Python environment could not be made: {}", setup.status);
    let environment = String::from_utf8(setup.stdout).unwrap();
    let python = Path::new(environment.trim()).join("bin/python");

    let (_running, base) = start(&[&["--delay", "200ms"], arguments].concat());
    let mut drive = Command::new(python);
    drive.arg(folder.join(driver)).args([&base, "simulator-key-id", "simulator-key-secret"]);
    // Neither a proxy nor credentials of the machine may interfere.
    let foreign = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy().to_ascii_uppercase();
        name.ends_with("_PROXY") || name.starts_with("ALIBABA_CLOUD_")
    });
    foreign.for_each(|name| {
        drive.env_remove(name);
    });
    let output = drive.output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}\n{complained}", output.status);
    println!("{said}");
}

#[test]
fn vendor_sdk_accepts_every_rocketmq_operation() {
    drive("drive.py", &[]);
}

#[test]
fn vendor_sdk_accepts_every_ebs_operation() {
    drive("drive_ebs.py", &[]);
}

#[test]
fn vendor_sdk_accepts_issued_keys() {
    let account = "acs:ram::1234567890123456";
    let (role, provider) = (format!("{account}:role/dr"), format!("{account}:oidc-provider/ack"));
    drive("drive_sts.py", &["--role", &role, "--oidc-provider", &provider, "--ecs-role", "node"]);
}

#[test]
fn simulator_listens_on_loopback_and_ends_on_signals() {
    let output = simulator(&["--listen", "0.0.0.0:0"]).stderr(Stdio::piped()).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("loopback"));
    for (name, wrong) in [("--delay", "soon"), ("--delay", "1h"), ("--password-echo", "loud"), ("--role", "dr")] {
        assert!(!simulator(&[name, wrong]).stderr(Stdio::null()).status().unwrap().success(), "{name} {wrong}");
    }
    for signal in ["-TERM", "-INT"] {
        let (mut running, _) = start(&[]);
        let sent = Command::new("kill").args([signal, &running.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
        assert!(running.0.wait().unwrap().success(), "{signal}");
    }
}
