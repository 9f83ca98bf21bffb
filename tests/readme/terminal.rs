//! The terminal of a new user: a checkout as the current folder, kubectl and helm on PATH, and a KUBECONFIG.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::page::path;
use test_support::ControlPlane;
use test_support::installation::KEY;

/// What helps to see why a command failed.
const STATE: &str = "kubectl get drp,drg,aca --all-namespaces -o jsonpath='{range .items[*]}{.kind} {.metadata.name}: \
                     {.status.conditions}{\"\\n\"}{end}'";

/// Where commands run. The folder is gone with it.
pub(crate) struct Terminal {
    folder: tempfile::TempDir,
    kubeconfig: PathBuf,
    search: std::ffi::OsString,
}

impl Terminal {
    /// A folder with everything of the checkout, so that relative paths lead where they do for a user, and with the two
    /// files of an access key, which no test writes into the checkout itself.
    pub(crate) fn open(plane: &ControlPlane) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for entry in std::fs::read_dir(path("")).expect("the checkout") {
            let entry = entry.expect("an entry of the checkout");
            if KEY.iter().any(|(name, _)| entry.file_name() == *name) {
                // A key of the person who runs the tests.
                continue;
            }
            let link = folder.path().join(entry.file_name());
            std::os::unix::fs::symlink(entry.path(), link).expect("a link");
        }
        for (name, value) in KEY {
            // With the line break that an editor leaves.
            std::fs::write(folder.path().join(name), format!("{value}\n")).expect("a file of the key");
        }
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let programs = std::iter::once(plane.programs().to_owned()).chain(std::env::split_paths(&inherited));
        let search = std::env::join_paths(programs).expect("a PATH");
        Self { folder, kubeconfig: plane.admin_kubeconfig().to_owned(), search }
    }

    /// Runs one command as it is written, and returns its output.
    ///
    /// # Panics
    /// When it fails: with its output and the state of our objects.
    #[track_caller]
    pub(crate) fn run(&self, command: &str) -> String {
        match self.attempt(command) {
            Ok([stdout, _]) => stdout,
            Err([stdout, stderr]) => {
                let [state, _] = self.attempt(STATE).unwrap_or_else(|output| output);
                panic!("README: `{command}` failed: {stdout}{stderr}{state}")
            }
        }
    }

    /// Stdout and stderr of a command, as an error where it failed.
    pub(crate) fn attempt(&self, command: &str) -> Result<[String; 2], [String; 2]> {
        let home = self.folder.path().join(".home");
        std::fs::create_dir_all(&home).expect("a home folder");
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", command]).current_dir(self.folder.path()).stdin(Stdio::null());
        bash.env_clear().env("PATH", &self.search).env("HOME", home).env("KUBECONFIG", &self.kubeconfig);
        let output = bash.env("KUBERC", "off").output().expect("bash runs");
        let texts = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
        if output.status.success() { Ok(texts) } else { Err(texts) }
    }
}
