//! Argo CD's own evaluation and kstatus, for many objects by one process (`tests/argocd`).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::Value;

/// What one of them says.
#[derive(Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) status: String,
    pub(crate) message: String,
}

/// What is said of an object.
#[derive(Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// What Argo CD shows.
    pub(crate) argocd: Said,
    /// What the script alone says.
    pub(crate) script: Said,
    /// What kstatus says.
    pub(crate) kstatus: Said,
}

pub(crate) fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

pub(crate) fn program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let built = Command::new(path("tests/argocd/build.sh")).stderr(Stdio::inherit()).output().expect("it is run");
        assert!(built.status.success(), "tests/argocd/build.sh ended with {}", built.status);
        PathBuf::from(String::from_utf8(built.stdout).expect("a path").trim_end())
    })
}

/// What is said of each of these objects.
pub(crate) fn judge<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Vec<Verdict> {
    let lines: Vec<String> = objects.into_iter().map(Value::to_string).collect();
    let mut child = Command::new(program())
        .arg("health")
        .arg(path("deploy/argocd/argocd-cm.yaml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut pipe = child.stdin.take().expect("stdin");
    let count = lines.len();
    let output = std::thread::scope(|scope| {
        // One that ends early says why.
        scope.spawn(move || pipe.write_all(lines.join("\n").as_bytes()).ok());
        child.wait_with_output().expect("it ends")
    });
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let all: Vec<Verdict> = text.lines().map(|line| serde_json::from_str(line).expect("a verdict")).collect();
    assert_eq!(all.len(), count, "one verdict for each object");
    all
}
