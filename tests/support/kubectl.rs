//! Runs the pinned kubectl.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, ensure};

/// What a kubectl that has ended left.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// Its exit status; a refused request is no success.
    pub(crate) status: ExitStatus,
    /// What it printed.
    pub(crate) stdout: String,
    /// What it complained about.
    pub(crate) stderr: String,
}

impl Output {
    /// What it printed when it succeeded, else an error with what it complained about.
    pub(crate) fn checked(self) -> anyhow::Result<String> {
        ensure!(self.status.success(), "kubectl ended with {}: {}", self.status, self.stderr.trim_end());
        Ok(self.stdout)
    }
}

/// Runs `program` to its end, as the user of `kubeconfig` and with nothing from the home folder of who runs the tests.
pub(super) fn run(
    program: &Path,
    home: &Path,
    kubeconfig: &Path,
    args: &[impl AsRef<OsStr>],
    input: Option<&str>,
) -> anyhow::Result<Output> {
    let mut child = Command::new(program)
        .args(args)
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", home)
        .env("KUBECACHEDIR", home.join("cache"))
        .env("KUBERC", "off")
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let pipe = child.stdin.take();
    let output = std::thread::scope(|scope| {
        if let Some(mut pipe) = pipe {
            // A kubectl that ends without reading its input tells why in its own words.
            scope.spawn(move || pipe.write_all(input.unwrap_or_default().as_bytes()).ok());
        }
        child.wait_with_output().context("waiting for kubectl")
    })?;
    Ok(Output {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
