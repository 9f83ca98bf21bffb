//! What the tests and the demo share: a real control plane, the operator in this process and as a program, stages for objects
//! of each kind, requests to the simulator, and waiting for a condition instead of for a time.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a harness that cannot continue ends the test and says why"
)]

pub mod bench;
mod certificates;
mod control_plane;
pub mod driver;
mod helm;
pub mod installation;
mod kubectl;
pub mod kubernetes;
pub mod operator;
pub mod process;
pub mod programs;
pub mod requests;
pub mod stage;
pub mod table;
pub mod watchdog;

pub use control_plane::{ControlPlane, Options};
pub use kubectl::Output;

use std::panic::Location;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Interval between two checks of a condition.
const POLL: Duration = Duration::from_millis(50);

/// Checks `condition` every 50 ms and returns what it finds.
///
/// # Panics
/// When `deadline` has passed, also in the middle of a check. The message names `what` was awaited and the line of the caller.
#[track_caller]
pub fn eventually<T>(
    deadline: Duration,
    what: impl Into<String>,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    let (caller, what) = (Location::caller(), what.into());
    async move {
        let polling = async {
            loop {
                if let Some(found) = condition().await {
                    return found;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        match tokio::time::timeout(deadline, polling).await {
            Ok(found) => found,
            Err(_) => panic!("{caller}: not within {deadline:?}: {what}"),
        }
    }
}

/// As [`eventually`], where there is no async runtime. A check that hangs is not interrupted.
///
/// # Panics
/// When `deadline` has passed. The message names `what` was awaited.
#[track_caller]
pub fn eventually_blocking<T>(deadline: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        std::thread::sleep(POLL);
    }
}

/// The path of a file or folder of the project.
#[must_use]
pub fn path(relative: impl AsRef<Path>) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("two folders above this crate");
    root.join(relative)
}

/// The text of a file of the project.
///
/// # Panics
/// When there is no such file.
#[must_use]
pub fn read(relative: impl AsRef<Path>) -> String {
    let path = path(relative);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
