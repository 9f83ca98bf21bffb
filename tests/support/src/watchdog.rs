//! Servers and a folder that end with this process, however it ends.
//!
//! A process killed by SIGKILL runs no code, and a static is never dropped. What always happens is that the kernel closes
//! the files of a process that is gone. So a small bash sits over each server and one over the folder, each reading a pipe
//! that only this process can write to (Rust's pipes are closed in every other child). At the end of the pipe the server's
//! bash ends the server, and the folder's bash removes the folder. The servers' bashes hold the folder's pipe open as well:
//! so the folder goes last.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail, ensure};

/// Makes a folder named by the template in `$1`, prints its name, and removes it at the end of its stdin.
///
/// Without the word `done` our process was killed, and a kubectl that it had started may still write its cache: hence the
/// second removal.
const KEEP_FOLDER: &str = r#"
trap '' INT TERM HUP PIPE
folder=$(mktemp -d "$1") || exit 1
echo "$folder"
exec >/dev/null
read -r -d '' word
rm -rf "$folder"
[[ $word == done ]] || { sleep 1; rm -rf "$folder"; }
"#;

/// Runs `$@` until it ends or stdin does, and leaves no process. Output goes to stderr; stdout is only held open.
///
/// `%1` is the program: by that name bash signals it only while it lives, and never a stranger that got its number.
const WATCH_PROGRAM: &str = r#"
trap : INT TERM HUP
exec 3<&0 </dev/null
"$@" 3<&- >&2 &
(read -r -d '' -u 3) &
wait -n
kill -TERM %1 2>/dev/null
for _ in {1..50}; do
  kill -0 %1 2>/dev/null || break
  sleep 0.1
done
kill -KILL %1 2>/dev/null
kill -TERM %2 2>/dev/null
wait
"#;

/// A private temporary folder that is gone when this value, or this process, and every [`Server`] in it have ended.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    keeper: Child,
}

impl Folder {
    /// Makes the folder below the system's folder for temporary files.
    pub fn create() -> anyhow::Result<Self> {
        let template = std::path::absolute(std::env::temp_dir().join("disaster-recovery-control-plane.XXXXXX"))
            .context("naming the temporary folder")?;
        let mut keeper = Command::new("bash")
            .args(["-c", KEEP_FOLDER, "keep-folder"])
            .arg(template)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0) // Ctrl-C is for us; the keeper still has to clean up
            .spawn()
            .context("starting bash, the keeper of the temporary folder")?;
        let mut line = String::new();
        if let Some(stdout) = keeper.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).context("reading the name of the temporary folder")?;
        }
        let folder = Self { path: PathBuf::from(line.trim_end()), keeper };
        ensure!(folder.path.is_dir(), "no temporary folder could be made: mktemp printed {line:?}");
        Ok(folder)
    }

    /// Where it is; absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the folder as long as it is open.
    fn hold(&self) -> anyhow::Result<OwnedFd> {
        let pipe = self.keeper.stdin.as_ref().context("the folder's keeper has no pipe")?;
        pipe.as_fd().try_clone_to_owned().context("sharing the pipe of the folder's keeper")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.keeper.stdin.take()
            && let Err(error) = pipe.write_all(b"done")
        {
            eprintln!("{} may be left behind, its keeper is gone: {error}", self.path.display());
        }
        if let Err(error) = self.keeper.wait() {
            eprintln!("waiting for the keeper of {}: {error}", self.path.display());
        }
    }
}

/// A program that runs until this value is dropped or this process is gone: TERM first, KILL after 5 s.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    log: PathBuf,
    watchdog: Child,
}

impl Server {
    /// Starts `program` with its output in `<name>.log` in the folder, which an earlier server of that name loses.
    pub fn start(folder: &Folder, name: &'static str, program: &Path, args: &[String]) -> anyhow::Result<Self> {
        ensure!(program.is_file(), "there is no {}", program.display());
        let log = folder.path().join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let watchdog = Command::new("bash")
            .args(["-c", WATCH_PROGRAM, "watch-program"])
            .arg(program)
            .args(args)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(folder.hold()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting bash, the watchdog of {name}"))?;
        Ok(Self { name, log, watchdog })
    }

    /// Whether the program has ended by itself.
    pub fn ended(&mut self) -> anyhow::Result<bool> {
        let status = self.watchdog.try_wait().with_context(|| format!("looking after {}", self.name))?;
        Ok(status.is_some())
    }

    /// The ID of the process that runs `program`, the file's name, below the watchdog.
    pub fn pid(&self, program: &str) -> anyhow::Result<u32> {
        let runs = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with(program));
        let pids = std::fs::read_dir("/proc").context("listing processes")?;
        let mut pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let found = pids.find(|pid| parent(*pid) == Some(self.watchdog.id()) && runs(pid));
        found.with_context(|| format!("{} runs no {program}", self.name))
    }

    /// Whether its log reports that another process has its port.
    pub fn lost_its_port(&self) -> bool {
        std::fs::read_to_string(&self.log).is_ok_and(|log| log.contains("address already in use"))
    }

    /// An error that says `what` went wrong, with the last lines of the log.
    pub fn failure<T>(&self, what: &str) -> anyhow::Result<T> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_else(|error| format!("(unreadable: {error})"));
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(30)..].join("\n");
        bail!("{} {what}; the end of its log:\n{tail}", self.name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        if let Err(error) = self.watchdog.wait() {
            eprintln!("waiting for the end of {}: {error}", self.name);
        }
    }
}

/// The parent of a process, while it runs.
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name in parentheses, which may have any characters: state and parent.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
