//! Runs the pinned kubectl, and what is used beside it, to its end.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, ensure};

/// What a program that has ended left.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its name.
    program: String,
    /// Its exit status; a refused request is no success.
    pub status: ExitStatus,
    /// Its stdout.
    pub stdout: String,
    /// Its stderr.
    pub stderr: String,
}

impl Output {
    /// Its stdout when it succeeded, else an error with its stderr.
    pub fn checked(self) -> anyhow::Result<String> {
        ensure!(self.status.success(), "{} ended with {}: {}", self.program, self.status, self.stderr.trim_end());
        Ok(self.stdout)
    }
}

/// Runs kubectl to its end, as the user of `kubeconfig` and without the user's home folder.
pub(crate) fn run(
    program: &Path,
    home: &Path,
    kubeconfig: &Path,
    args: &[impl AsRef<OsStr>],
    input: Option<&str>,
) -> anyhow::Result<Output> {
    let mut command = Command::new(program);
    command.args(args).env("KUBECONFIG", kubeconfig).env("HOME", home);
    finish(command.env("KUBECACHEDIR", home.join("cache")).env("KUBERC", "off"), input)
}

/// Runs a command to its end, with `input` on its stdin.
pub(crate) fn finish(command: &mut Command, input: Option<&str>) -> anyhow::Result<Output> {
    let program = Path::new(command.get_program()).display().to_string();
    let mut child = command
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    let pipe = child.stdin.take();
    let output = std::thread::scope(|scope| {
        if let Some(mut pipe) = pipe {
            // A program that ends without reading its input prints the cause itself.
            scope.spawn(move || pipe.write_all(input.unwrap_or_default().as_bytes()).ok());
        }
        child.wait_with_output().with_context(|| format!("waiting for {program}"))
    })?;
    Ok(Output {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        program,
    })
}
