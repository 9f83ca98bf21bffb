//! Debian's promtool, which runs the rules.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Runs promtool and returns its output. A failure prints it.
#[track_caller]
pub(crate) fn run(args: &[&str], input: Option<&Path>) -> String {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let script = test_support::path("tests/monitoring/promtool.sh");
        let output = Command::new("bash").arg(script).stderr(Stdio::inherit()).output().expect("the script runs");
        assert!(output.status.success(), "tests/monitoring/promtool.sh ended with {}", output.status);
        String::from_utf8(output.stdout).expect("a path").trim_end().to_owned()
    });
    let input = input.map_or_else(Stdio::null, |path| std::fs::File::open(path).expect("it is there").into());
    let output = Command::new(program).args(args).stdin(input).output().expect("promtool runs");
    let printed = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
    assert!(output.status.success(), "promtool {}: {}\n{printed}", args.join(" "), output.status);
    printed
}
