//! The chart as the project's history has it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::chart::path;

/// What an upgrade begins with.
pub(crate) struct Previous {
    /// The folder of the chart.
    pub(crate) chart: PathBuf,
    /// Arguments of its installation.
    pub(crate) values: Vec<&'static str>,
}

const CHART: &str = "charts/disaster-recovery-operator";

/// Puts the newest chart of the history that is another than this one into a folder. Where there is none, as in a shallow
/// clone, it is this chart as an older version and with other values.
///
/// Its definitions are in no category, so that every upgrade changes something.
pub(crate) fn previous(folder: &Path) -> Previous {
    let chart = folder.join(CHART);
    let values = match differing() {
        Some(commit) => {
            println!("upgrading from the chart of {commit}");
            run(&format!("git archive {commit} {CHART} | tar -x -C {}", folder.display()));
            vec![]
        }
        None => {
            println!("the history has no other chart: upgrading from this one, as version 0.0.1 with other values");
            run(&format!("mkdir {0}/charts && cp -R {CHART} {0}/charts", folder.display()));
            run(&format!("sed -i 's/^version: .*/version: 0.0.1/' {}/Chart.yaml", chart.display()));
            vec!["--set", "replicaCount=1"]
        }
    };
    for file in std::fs::read_dir(chart.join("files/crds")).expect("definitions") {
        let file = file.expect("a definition").path();
        let definition = std::fs::read_to_string(&file).expect("it reads");
        let older = definition.replace("    categories:\n    - dr\n", "");
        assert_ne!(older, definition, "{}", file.display());
        std::fs::write(&file, older).expect("it is written");
    }
    Previous { chart, values }
}

/// The newest commit with a chart that differs from that of the working tree.
fn differing() -> Option<String> {
    // A copy of the files alone has no history.
    let commits = run(&format!("git log --format=%H -- {CHART} || true"));
    let mut commits = commits.lines().map(str::to_owned);
    commits.find(|commit| {
        let git = |args: &[&str]| {
            let mut git = Command::new("git");
            git.args(args).current_dir(path("")).stdout(Stdio::null()).stderr(Stdio::null());
            git.status().expect("git runs").success()
        };
        git(&["cat-file", "-e", &format!("{commit}:{CHART}/Chart.yaml")])
            && !git(&["diff", "--quiet", commit, "--", CHART])
    })
}

fn run(line: &str) -> String {
    let output = Command::new("bash").args(["-euo", "pipefail", "-c", line]).current_dir(path("")).output();
    let output = output.expect("bash runs");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}
