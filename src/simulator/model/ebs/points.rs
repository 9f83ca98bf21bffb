//! Recovery points: when a synchronisation completes one, and when answers show it.

use super::rules::DiskRules;

/// The recovery points of a group or pair, up to the one that answers show.
#[derive(Debug, Clone, Copy)]
pub(super) struct Points {
    /// The begin of the first cycle, ms since the epoch.
    cycles_since: i64,
    /// The last completed point that answers do not show yet, ms since the epoch.
    hidden: Option<i64>,
    /// The time until which points stay hidden, ms since the epoch.
    hidden_until: i64,
}

impl Points {
    /// No points.
    pub(super) fn new(now: i64) -> Points {
        Points { cycles_since: now, hidden: None, hidden_until: now }
    }

    /// Begins the first cycle now.
    pub(super) fn begin_cycles(&mut self, now: i64) {
        self.cycles_since = now;
    }

    /// Adds the point of a synchronisation that ended at its time; the first cycle begins then.
    pub(super) fn end_sync(&mut self, at: i64, rules: &DiskRules) {
        (self.cycles_since, self.hidden_until) = (at, at.saturating_add(rules.point_delay_ms));
        self.add(at);
    }

    /// Adds the point of the last cycle whose transfer is complete, and returns it.
    pub(super) fn end_cycle(&mut self, now: i64, rules: &DiskRules) -> Option<i64> {
        let transferred = now.saturating_sub(rules.transfer_ms);
        let elapsed = transferred.saturating_sub(self.cycles_since);
        if elapsed < 0 {
            return None;
        }
        let at = transferred - elapsed % rules.cycle_ms.max(1);
        self.add(at);
        Some(at)
    }

    /// Takes the point that answers show from now on.
    pub(super) fn take_shown(&mut self, now: i64) -> Option<i64> {
        if now < self.hidden_until { None } else { self.hidden.take() }
    }

    fn add(&mut self, at: i64) {
        self.hidden = self.hidden.max(Some(at));
    }
}
