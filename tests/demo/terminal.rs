//! What the demo prints, and the commands that it runs: each is shown as a person would type it, ends by its deadline, and
//! ends when the demo is interrupted.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// Set by Ctrl-C and SIGTERM: everything ends at its next check.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Interval between two checks of a condition.
const LOOK: Duration = Duration::from_millis(100);

/// Asks everything to end.
pub(crate) fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Whether everything is to end.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Prints a line. A reader that went away holds nothing up.
pub(crate) fn say(text: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

fn styled(style: &str, text: &str) -> String {
    let plain = !std::io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some();
    if plain { text.to_owned() } else { format!("\x1b[{style}m{text}\x1b[0m") }
}

/// The heading of a step.
pub(crate) fn heading(text: &str) {
    say(format_args!("\n{}", styled("1;36", &format!("── {text}"))));
}

/// A command, as it would be typed.
pub(crate) fn typed(command: &str) {
    say(styled("1", &format!("$ {command}")));
}

/// Checks `condition` until it returns something. Prints every 5 s that it still waits.
pub(crate) fn until<T>(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    let mut told = start;
    loop {
        ensure!(!interrupted(), "interrupted while waiting for: {what}");
        if let Some(found) = condition()? {
            return Ok(found);
        }
        ensure!(start.elapsed() < deadline, "not within {} s: {what}", deadline.as_secs());
        if told.elapsed() > Duration::from_secs(5) {
            told = Instant::now();
            say(styled("2", &format!("  … {} s, waiting for: {what}", start.elapsed().as_secs())));
        }
        std::thread::sleep(LOOK);
    }
}

/// Runs kubectl with one kubeconfig.
pub(crate) struct Kubectl {
    /// The program.
    pub(crate) program: PathBuf,
    /// The kubeconfig; where absent, what kubectl finds by itself.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Where it keeps its cache.
    pub(crate) cache: PathBuf,
}

impl Kubectl {
    /// Prints the command, runs it, prints its output, and returns it.
    pub(crate) fn show(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.show_within(Duration::from_secs(30), arguments)
    }

    /// As [`Kubectl::show`], with a deadline of its own.
    pub(crate) fn show_within(&self, deadline: Duration, arguments: &[&str]) -> anyhow::Result<String> {
        let words: Vec<_> = arguments.iter().map(|it| quoted(it)).collect();
        typed(&format!("kubectl {}", words.join(" ")));
        let printed = self.run(deadline, true, arguments)?;
        say(printed.trim_end());
        Ok(printed)
    }

    /// Runs it silently.
    pub(crate) fn quiet(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.run(Duration::from_secs(30), true, arguments)
    }

    /// Runs it silently, also when everything is to end.
    pub(crate) fn at_the_end(&self, deadline: Duration, arguments: &[&str]) -> anyhow::Result<String> {
        self.run(deadline, false, arguments)
    }

    fn run(&self, deadline: Duration, heed: bool, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("KUBECACHEDIR", &self.cache).env("KUBERC", "off");
        if let Some(file) = &self.kubeconfig {
            command.env("KUBECONFIG", file);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let what = || format!("kubectl {}", arguments.join(" "));
        let mut child = command.spawn().with_context(|| format!("starting {}", self.program.display()))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let start = Instant::now();
        std::thread::scope(|scope| {
            let printed = scope.spawn(|| read_all(stdout));
            let complained = scope.spawn(|| read_all(stderr));
            let ended = loop {
                if let Some(status) = child.try_wait().with_context(what)? {
                    break Ok(status);
                }
                if heed && interrupted() {
                    break Err("interrupted".to_owned());
                }
                if start.elapsed() > deadline {
                    break Err(format!("not within {} s", deadline.as_secs()));
                }
                std::thread::sleep(Duration::from_millis(20));
            };
            if ended.is_err() {
                child.kill().with_context(what)?;
                child.wait().with_context(what)?;
            }
            let (printed, complained) = (printed.join().unwrap_or_default(), complained.join().unwrap_or_default());
            match ended {
                Ok(status) if status.success() => Ok(printed),
                Ok(_) if heed && interrupted() => bail!("interrupted"),
                Ok(status) => bail!("`{}` failed ({status}): {}", what(), complained.trim_end()),
                Err(why) => bail!("`{}`: {why}", what()),
            }
        })
    }
}

fn read_all(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // A pipe that breaks ends like one that was closed; the exit status tells.
        let _ = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A word as bash takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{word}'") }
}

/// The program of that name in a folder of PATH.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// The cloud simulator's admin API and the operator's own pages, by HTTP. Shown as a call of curl, which need not be there.
pub(crate) struct Http {
    client: reqwest::Client,
    runtime: tokio::runtime::Handle,
}

impl Http {
    /// Goes through no proxy.
    pub(crate) fn new(runtime: tokio::runtime::Handle) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        Ok(Self { client, runtime })
    }

    /// The text at a URL.
    pub(crate) fn get(&self, url: &str) -> anyhow::Result<String> {
        self.send(self.client.get(url), url)
    }

    /// Shows and sends a PATCH with a JSON body.
    pub(crate) fn patch(&self, url: &str, body: &serde_json::Value) -> anyhow::Result<()> {
        typed(&format!("curl -sS -X PATCH {url} -d '{body}'"));
        say(self.send(self.client.patch(url).body(body.to_string()), url)?);
        Ok(())
    }

    /// Shows and sends a POST with a JSON body.
    pub(crate) fn post(&self, url: &str, body: &serde_json::Value) -> anyhow::Result<()> {
        typed(&format!("curl -sS -X POST {url} -d '{body}'"));
        say(self.send(self.client.post(url).body(body.to_string()), url)?);
        Ok(())
    }

    /// Shows and sends a PUT without a body.
    pub(crate) fn put(&self, url: &str) -> anyhow::Result<()> {
        typed(&format!("curl -sS -X PUT {url}"));
        say(self.send(self.client.put(url), url)?);
        Ok(())
    }

    fn send(&self, request: reqwest::RequestBuilder, url: &str) -> anyhow::Result<String> {
        let text = self.runtime.block_on(async {
            let answer = request.send().await?;
            let status = answer.status();
            anyhow::Ok((status, answer.text().await?))
        });
        let (status, text) = text.with_context(|| format!("asking {url}"))?;
        ensure!(status.is_success(), "{url} answered {status}: {text}");
        Ok(text)
    }
}
