//! What the tests share: a real control plane, and waiting for a condition instead of for a time.
//!
//! A test binary includes it with `mod support;`, anything else with `#[path = ".../tests/support/mod.rs"] mod support;`.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]
#![allow(clippy::expect_used, reason = "a harness that cannot go on ends the test and says why")]

mod certificates;
mod control_plane;
mod helm;
mod kubectl;
pub(crate) mod operator;
mod watchdog;

pub(crate) use control_plane::{ControlPlane, Options};
pub(crate) use kubectl::Output;

use std::panic::Location;
use std::time::{Duration, Instant};

/// How long a condition rests between two looks at it.
const POLL: Duration = Duration::from_millis(50);

/// Looks at `condition` every 50 ms and gives what it found.
///
/// # Panics
/// When `deadline` has passed, also in the middle of a look: names `what` was awaited and the line of the caller.
#[track_caller]
pub(crate) fn eventually<T>(
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

/// As [`eventually`], where there is no async runtime. A look that hangs is not interrupted.
///
/// # Panics
/// When `deadline` has passed: names `what` was awaited.
#[track_caller]
pub(crate) fn eventually_blocking<T>(deadline: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        std::thread::sleep(POLL);
    }
}
