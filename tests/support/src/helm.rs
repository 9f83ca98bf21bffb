//! Runs the pinned helm.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::ControlPlane;
use crate::kubectl::{self, Output};

impl ControlPlane {
    /// Runs helm as the admin, without the user's own configuration, and blocks until it ends.
    ///
    /// # Panics
    /// When there is no helm, neither beside the other programs nor on PATH.
    #[track_caller]
    pub fn helm(&self, args: &[impl AsRef<OsStr>]) -> Output {
        let home = self.folder().join("home");
        let mut command = Command::new(program(self.programs()).expect("helm"));
        for variable in std::env::vars_os().map(|it| it.0) {
            let name = variable.to_string_lossy();
            if name.starts_with("HELM_") || name.starts_with("XDG_") {
                command.env_remove(variable);
            }
        }
        command.args(args).env("KUBECONFIG", self.admin_kubeconfig()).env("HOME", home);
        kubectl::finish(&mut command, None).expect("helm runs")
    }
}

/// Helm among the pinned programs; a folder of KUBEBUILDER_ASSETS has none, then it is that on PATH.
fn program(pinned: &Path) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(pinned.to_owned())
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join("helm"))
        .find(|file| file.is_file())
        .with_context(|| format!("{} has no helm, and PATH has none: install Helm 4", pinned.display()))
}
