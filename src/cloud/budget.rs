//! How many calls a region may get: polls have their own share, so that a user's edit never waits behind them, and both
//! slow down while the service throttles and recover after.
//!
//! RocketMQ allows 150 calls a second, API and account (help page "api-rocketmq-2022-08-01-quota").

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Which share of the budget a call draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Reads that a poll makes.
    Poll,
    /// Everything that follows an edit: changes, and the reads of a pass that changes.
    Edit,
}

/// The longest pause that the service can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(900);
/// How much slower than asked a throttled lane may become.
const SLOWEST: u32 = 64;

/// One lane of one region: calls are spaced by `interval × slowdown`, but for a burst of one second's worth.
#[derive(Clone, Debug)]
struct Pace {
    interval: Duration,
    slowdown: u32,
    successes: u32,
    next: Instant,
}

impl Pace {
    fn new(per_second: u32, now: Instant) -> Self {
        Self { interval: Duration::from_secs(1) / per_second.max(1), slowdown: 1, successes: 0, next: now }
    }

    /// Takes the next slot and returns how long to wait for it; where that is longer than `most`, takes none.
    fn reserve(&mut self, now: Instant, most: Duration) -> Result<Duration, Duration> {
        // Up to a second of unused slots may be used at once, unless the service just throttled.
        // What was not used for a minute is not throttled any more.
        if now.saturating_duration_since(self.next) > Duration::from_secs(60) {
            self.slowdown = 1;
        }
        let burst = if self.slowdown == 1 { Duration::from_secs(1) } else { Duration::ZERO };
        let earliest = now.checked_sub(burst).unwrap_or(now);
        let slot = self.next.max(earliest);
        let wait = slot.saturating_duration_since(now);
        if wait > most {
            return Err(wait);
        }
        self.next = slot + self.interval * self.slowdown;
        Ok(wait)
    }

    fn throttled(&mut self, after: Option<Duration>, now: Instant) {
        self.slowdown = (self.slowdown * 2).min(SLOWEST);
        self.successes = 0;
        self.next = self.next.max(now + after.unwrap_or(Duration::from_millis(500)).min(LONGEST_PAUSE));
    }

    fn succeeded(&mut self) {
        self.successes += 1;
        if self.successes >= 10 {
            self.successes = 0;
            self.slowdown = (self.slowdown / 2).max(1);
        }
    }
}

/// The budgets of all regions.
#[derive(Debug)]
pub struct Budget {
    per_second: u32,
    lanes: Mutex<HashMap<(String, Lane), Pace>>,
}

impl Budget {
    /// A budget of so many calls a second and region for edits, and half of it again for polls.
    pub fn new(per_second: u32) -> Self {
        Self { per_second, lanes: Mutex::default() }
    }

    fn with<R>(&self, region: &str, lane: Lane, now: Instant, act: impl FnOnce(&mut Pace) -> R) -> R {
        let per_second = match lane {
            Lane::Poll => self.per_second.div_ceil(2),
            Lane::Edit => self.per_second,
        };
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        act(lanes.entry((region.to_owned(), lane)).or_insert_with(|| Pace::new(per_second, now)))
    }

    /// Takes a slot: how long to wait before the call. Where that is longer than `most`, none is taken, and the error is how
    /// long it would be: whoever holds others up must give way instead.
    pub fn reserve(&self, region: &str, lane: Lane, now: Instant, most: Duration) -> Result<Duration, Duration> {
        self.with(region, lane, now, |pace| pace.reserve(now, most))
    }

    /// The service throttled: both lanes of the region slow down.
    pub fn throttled(&self, region: &str, after: Option<Duration>, now: Instant) {
        for lane in [Lane::Poll, Lane::Edit] {
            self.with(region, lane, now, |pace| pace.throttled(after, now));
        }
    }

    /// A call was let through: after ten of them the lane is twice as fast again, up to what was asked for.
    pub fn succeeded(&self, region: &str, lane: Lane, now: Instant) {
        self.with(region, lane, now, Pace::succeeded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(60);

    fn wait_after(budget: &Budget, calls: usize, lane: Lane, now: Instant) -> Duration {
        let reserve = |_| budget.reserve("cn-hangzhou", lane, now, MOST).expect("soon enough");
        (0..calls).map(reserve).last().unwrap_or_default()
    }

    #[test]
    fn an_edit_never_waits_behind_polls() {
        let (budget, now) = (Budget::new(10), Instant::now());
        assert!(wait_after(&budget, 100, Lane::Poll, now) > Duration::from_secs(5));
        assert_eq!(budget.reserve("cn-hangzhou", Lane::Edit, now, MOST), Ok(Duration::ZERO));
        assert_eq!(budget.reserve("cn-shanghai", Lane::Poll, now, MOST), Ok(Duration::ZERO));
    }

    #[test]
    fn throttling_slows_down_and_success_recovers() {
        let (budget, now) = (Budget::new(10), Instant::now());
        budget.throttled("cn-hangzhou", Some(Duration::from_secs(3)), now);
        let reserve = |most| budget.reserve("cn-hangzhou", Lane::Edit, now, most);
        assert_eq!(reserve(Duration::from_secs(1)), Err(Duration::from_secs(3)), "and no slot is taken");
        assert_eq!(reserve(MOST), Ok(Duration::from_secs(3)));
        assert_eq!(reserve(MOST), Ok(Duration::from_millis(3200)));
        for _ in 0..10 {
            budget.succeeded("cn-hangzhou", Lane::Edit, now);
        }
        let later = now + Duration::from_secs(60);
        assert_eq!(wait_after(&budget, 10, Lane::Edit, later), Duration::ZERO);
    }
}
