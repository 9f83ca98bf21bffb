//! The replicator of an item in one direction.

use super::place::Place;
use super::progress::{Consumption, Position};

/// The speed at which a replicator without a fault catches up after its item was started, % of real time.
pub(super) const RESUME_SPEED_PERCENT: u32 = 2_000;

/// The replication of an item in one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    /// The source of the messages.
    pub source: Place,
    /// The target of the messages.
    pub target: Place,
    /// The fetch position: the store time at the source up to which the replicator fetched messages and stored them at
    /// the target.
    pub position: Position,
    /// Whether the item runs; the position stands still while it does not.
    runs: bool,
}

impl Replication {
    /// The replication of an item that does not run yet. Messages from before `at` are not replicated (inferred), and
    /// count as stored at the target.
    pub(super) fn new(source: Place, target: Place, at: i64) -> Replication {
        let mut position = Position::busy(at);
        position.change(Consumption::Offline, at);
        Replication { source, target, position, runs: false }
    }

    /// Follows the item, which runs or does not run from `at` on. A replicator without a fault catches up; one with a
    /// fault continues with the speed of its fault.
    pub(super) fn follow(&mut self, runs: bool, motion: Consumption, at: i64) {
        if std::mem::replace(&mut self.runs, runs) == runs {
            return;
        }
        let speed_percent = match motion {
            _ if !runs => 0,
            Consumption::Offline => 0,
            Consumption::Busy => RESUME_SPEED_PERCENT,
            Consumption::CatchingUp { speed_percent, .. } | Consumption::Reset { speed_percent, .. } => speed_percent,
        };
        let behind_ms = at.saturating_sub(self.position.at(at));
        self.position.change(Consumption::CatchingUp { behind_ms, speed_percent }, at);
    }

    /// Changes how the replicator moves, if the item runs.
    pub(super) fn set(&mut self, motion: Consumption, at: i64) {
        if self.runs {
            self.position.change(motion, at);
        }
    }

    /// The store time up to which all messages are at the target. A replicator that was set back stores copies again;
    /// what it stored before stays.
    pub(super) fn arrived(&self, at: i64) -> i64 {
        self.position.highest(at)
    }
}
