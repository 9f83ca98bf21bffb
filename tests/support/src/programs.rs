//! The project's programs, which cargo builds before it builds an integration test or runs the demo.

use std::path::PathBuf;

/// The operator.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn operator() -> PathBuf {
    built("dr-operator")
}

/// The cloud simulator.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn simulator() -> PathBuf {
    built("cloud-simulator")
}

/// A program in the folder above that of this test (`deps`) or example (`examples`).
fn built(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("the path of this program");
    let program = this.ancestors().nth(2).expect("two folders above this program").join(name);
    assert!(program.is_file(), "{} has not been built", program.display());
    program
}
