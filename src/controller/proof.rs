//! The proof that this process serves an object: a request to Kubernetes that showed that no other process took it over.

use std::time::{Duration, Instant};

use crate::cloud::fence::Fence;

/// Time after the proof for which a process may change the cloud side. It is longer than all limits for work on one object.
pub const HOLD: Duration = Duration::from_secs(90);
/// Age of a proof from which on a new one is needed: the calls that rest on it need time.
const MAX_PROOF_AGE: Duration = Duration::from_secs(20);

/// The proof that this process serves an object.
pub struct Proof {
    begun: Instant,
    /// Open while calls may rest on the proof. The system's clock counts too: the machine may be suspended.
    hold: Fence,
}

impl Proof {
    /// The proof by a request that begins now, if it succeeds.
    pub fn begin() -> Self {
        let (begun, hold) = (Instant::now(), Fence::closed());
        hold.open_until(begun + HOLD);
        Self { begun, hold }
    }

    /// Whether calls that begin now may rest on it.
    pub fn is_recent(&self) -> bool {
        self.begun.elapsed() < MAX_PROOF_AGE && self.hold.is_open()
    }

    /// The fence that is open while calls may rest on it.
    pub fn hold(&self) -> Fence {
        self.hold.clone()
    }
}
