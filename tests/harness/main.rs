//! The harness itself: the control plane of all other tests, and its complete removal.

#![allow(clippy::expect_used, reason = "a test that cannot go on says why")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use test_support::table::Table;
use test_support::{ControlPlane, Options, eventually, eventually_blocking};

/// In the environment of a child process: how it is to end.
const CHILD_ENDS_BY: &str = "HARNESS_CHILD_ENDS_BY";
/// Before the name of the child's folder, on its stdout.
const FOLDER: &str = "control plane in ";
/// A server has 5 s after TERM; a busy machine some more.
const GONE_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test]
async fn server_is_ready_and_is_the_pinned_program() {
    let control_plane = ControlPlane::shared();
    let version = control_plane.admin_client().apiserver_version().await.expect("the server's version");

    let program = Command::new(control_plane.programs().join("kube-apiserver")).arg("--version").output();
    let program = String::from_utf8(program.expect("kube-apiserver runs").stdout).expect("text");
    assert_eq!(format!("Kubernetes {}", version.git_version), program.trim_end());

    if std::env::var_os("KUBEBUILDER_ASSETS").is_none() {
        let pins = test_support::read("tests/control-plane/go.mod");
        let pin = format!("k8s.io/kubernetes {}", version.git_version);
        assert!(pins.lines().any(|line| line.trim().split(" //").next() == Some(&pin)), "{pin} is not the pinned one");
    }
}

#[tokio::test]
async fn namespaces_keep_tests_apart() {
    let control_plane = ControlPlane::shared();
    let client = control_plane.admin_client();
    let (one, other) = (control_plane.namespace("apart"), control_plane.namespace("apart"));
    assert_ne!(one, other);

    let map = ConfigMap {
        metadata: ObjectMeta { name: Some("mine".to_owned()), ..ObjectMeta::default() },
        ..ConfigMap::default()
    };
    let maps = |namespace: &str| Api::<ConfigMap>::namespaced(client.clone(), namespace);
    maps(&one).create(&PostParams::default(), &map).await.expect("created");
    assert!(maps(&one).get_opt("mine").await.expect("an answer").is_some());
    assert!(maps(&other).get_opt("mine").await.expect("an answer").is_none());
}

#[tokio::test]
async fn service_account_authenticates_without_any_permission() {
    let control_plane = ControlPlane::shared();
    let namespace = control_plane.namespace("account");
    control_plane
        .apply_yaml(&format!(
            "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: operator, namespace: {namespace}}}}}"
        ))
        .expect("a service account");

    let kubeconfig = control_plane.service_account_kubeconfig(&namespace, "operator").expect("a kubeconfig");
    let whoami =
        control_plane.kubectl_as(&kubeconfig, &["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]);
    assert_eq!(whoami.checked().expect("an answer"), format!("system:serviceaccount:{namespace}:operator"));
    let refused = control_plane.kubectl_as(&kubeconfig, &["get", "configmaps", "--namespace", &namespace]);
    assert!(!refused.status.success());
    assert!(refused.stderr.contains("Forbidden"), "{}", refused.stderr);

    let client = control_plane.service_account_client(&namespace, "operator");
    let refused = Api::<ConfigMap>::namespaced(client, &namespace).get_opt("any").await;
    assert!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 403), "{refused:?}");

    assert!(control_plane.service_account_kubeconfig(&namespace, "stranger").is_err());
    for file in [&kubeconfig, control_plane.admin_kubeconfig()] {
        let mode = std::fs::metadata(file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
}

#[test]
fn kubectl_reads_stdin_and_reports_failures() {
    let control_plane = ControlPlane::shared();
    let namespace = control_plane.namespace("input");
    let map = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "from-input"}}"#;
    let created = control_plane.kubectl_stdin(&["create", "-f", "-", "--namespace", &namespace], map);
    assert_eq!(created.checked().expect("created"), "configmap/from-input created\n");
    let again = control_plane.kubectl_stdin(&["create", "-f", "-", "--namespace", &namespace], map);
    assert!(again.checked().expect_err("it is there").to_string().contains("AlreadyExists"));

    let file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
    std::fs::write(&file, map.replace("from-input\"", &format!("from-file\", \"namespace\": \"{namespace}\"")))
        .expect("written");
    control_plane.apply_file(file.path()).expect("applied");
    control_plane.apply_file(file.path()).expect("applied again");
    let names = control_plane.kubectl(&["get", "configmaps", "--namespace", &namespace, "-o", "name"]);
    assert_eq!(names.checked().expect("a list"), "configmap/from-file\nconfigmap/from-input\n");
    assert!(control_plane.apply_yaml("{apiVersion: v1, kind: Nothing, metadata: {name: none}}").is_err());
}

#[tokio::test]
async fn with_a_controller_manager_a_deleted_namespace_ends() {
    let control_plane = ControlPlane::start(Options { controller_manager: true }).expect("a control plane");
    if !control_plane.has_controller_manager() {
        assert!(std::env::var_os("KUBEBUILDER_ASSETS").is_some(), "only foreign programs may lack it");
        return;
    }
    let namespace = control_plane.namespace("ends");
    let namespaces: Api<Namespace> = Api::all(control_plane.admin_client());
    namespaces.delete(&namespace, &DeleteParams::default()).await.expect("deletion accepted");
    eventually(Duration::from_secs(60), "the namespace is gone", async || {
        namespaces.get_opt(&namespace).await.expect("an answer").is_none().then_some(())
    })
    .await;
}

#[test]
fn drop_ends_servers_and_removes_folder() {
    let control_plane = ControlPlane::start(Options::default()).expect("a control plane");
    let folder = control_plane.folder().to_owned();
    assert_serving(&folder);
    drop(control_plane);
    assert_eq!(processes_of(&folder), Vec::<String>::new());
    assert!(!folder.exists());
}

#[test]
fn returned_process_leaves_nothing() {
    nothing_is_left_of_a_child_that_ends_by("return");
}

#[test]
fn panicked_process_leaves_nothing() {
    nothing_is_left_of_a_child_that_ends_by("panic");
}

#[test]
fn aborted_process_leaves_nothing() {
    nothing_is_left_of_a_child_that_ends_by("abort");
}

#[test]
fn killed_process_leaves_nothing() {
    nothing_is_left_of_a_child_that_ends_by("kill");
}

/// No test by itself: what the tests above run in a process of its own.
#[test]
fn child_holds_a_control_plane() {
    let Ok(ending) = std::env::var(CHILD_ENDS_BY) else { return };
    let control_plane = ControlPlane::shared(); // a static: no drop will help
    println!("\n{FOLDER}{}", control_plane.folder().display());
    std::io::stdin().read_line(&mut String::new()).expect("the word to end");
    match ending.as_str() {
        "return" => {}
        "panic" => panic!("as told"),
        "abort" => std::process::abort(),
        other => unreachable!("unknown end of a child: {other}"),
    }
}

fn nothing_is_left_of_a_child_that_ends_by(ending: &str) {
    let errors = tempfile::NamedTempFile::new().expect("a file for the child's errors");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "child_holds_a_control_plane", "--nocapture"])
        .env(CHILD_ENDS_BY, ending)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors.reopen().expect("the file for the child's errors"))
        .spawn()
        .expect("a child");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let folder = folder_of(&mut stdout).unwrap_or_else(|| {
        child.kill().ok();
        panic!("no control plane in the child: {}", std::fs::read_to_string(&errors).unwrap_or_default())
    });
    assert_serving(&folder);
    end(&mut child, ending);
    eventually_blocking(GONE_WITHIN, "all processes of the child's control plane are gone", || {
        processes_of(&folder).is_empty().then_some(())
    });
    eventually_blocking(GONE_WITHIN, "the child's folder is gone", || (!folder.exists()).then_some(()));
}

fn folder_of(stdout: &mut BufReader<ChildStdout>) -> Option<PathBuf> {
    let mut line = String::new();
    while stdout.read_line(&mut line).expect("text from the child") > 0 {
        if let Some(folder) = line.trim_end().strip_prefix(FOLDER) {
            return Some(folder.into());
        }
        line.clear();
    }
    None
}

fn end(child: &mut Child, ending: &str) {
    if ending == "kill" {
        child.kill().expect("SIGKILL");
    } else {
        child.stdin.take().expect("piped").write_all(b"\n").expect("the child listens");
    }
    let status = child.wait().expect("the child's end");
    assert_eq!(status.success(), ending == "return", "{status}");
}

#[track_caller]
fn assert_serving(folder: &Path) {
    let processes = processes_of(folder);
    for server in ["/etcd", "/kube-apiserver"] {
        let named = |process: &&String| process.split('\0').next().is_some_and(|program| program.ends_with(server));
        assert_eq!(processes.iter().filter(named).count(), 1, "{server} runs once, in {processes:?}");
    }
}

/// The command lines of all processes that name the folder: the servers and their watchdogs.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().expect("text");
    std::fs::read_dir("/proc")
        .expect("a list of processes")
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .filter(|line| line.contains(folder))
        .collect()
}

/// What a table prints when a cell is wrong; none if it is right.
fn failure(table: &Table) -> Option<String> {
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| table.check())).err()?;
    Some(failed.downcast_ref::<String>().expect("a message").clone())
}

#[test]
fn wrong_cell_prints_whole_table() {
    let mut table = Table::default();
    assert!(failure(&table).is_some(), "a table without cells proves nothing");
    table.cell("first", "a", "a");
    assert_eq!(failure(&table), None);
    table.cell("second", "b", "c");
    let printed = "\n  case   | expected | found\n  first  | \"a\"      | =\n> second | \"b\"      | \"c\"\n";
    assert_eq!(failure(&table).as_deref(), Some(printed));
}
