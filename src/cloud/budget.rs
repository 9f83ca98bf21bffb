//! How many calls a product's region may get: polls have their own share, so that a user's edit never waits behind them, and
//! both slow down while the service throttles and recover after. No product pays for another's calls.
//!
//! RocketMQ allows 150 calls a second, region, API and account (help page "api-rocketmq-2022-08-01-quota"), EBS 40, and 10 of
//! ClearReplicaGroupDrill ("api-ebs-2021-07-30-quota").

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

/// What one call draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share<'a> {
    /// The product, such as `rocketmq`.
    pub product: &'static str,
    /// The region.
    pub region: &'a str,
    /// The lane.
    pub lane: Lane,
}

/// The longest pause that the service can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(900);
/// How much slower than asked a throttled lane may become.
const SLOWEST: u32 = 64;

/// One lane of one product in one region: calls are spaced by `interval × slowdown`, but for a burst of one second's worth.
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

/// The budgets of all products and regions.
#[derive(Debug)]
pub struct Budget {
    per_second: u32,
    rates: HashMap<&'static str, u32>,
    lanes: Mutex<HashMap<(&'static str, String, Lane), Pace>>,
}

impl Budget {
    /// A budget of so many calls a second, product and region for edits, and half of it again for polls.
    pub fn new(per_second: u32) -> Self {
        Self { per_second, rates: HashMap::new(), lanes: Mutex::default() }
    }

    /// The same, but for one product, which gets so many calls a second and region.
    pub fn with_rate(mut self, product: &'static str, per_second: u32) -> Self {
        self.rates.insert(product, per_second);
        self
    }

    /// Another budget of the same rates, of which nothing is used yet.
    pub fn anew(&self) -> Self {
        Self { per_second: self.per_second, rates: self.rates.clone(), lanes: Mutex::default() }
    }

    fn with<R>(&self, share: Share<'_>, now: Instant, act: impl FnOnce(&mut Pace) -> R) -> R {
        let Share { product, region, lane } = share;
        let rate = self.rates.get(product).copied().unwrap_or(self.per_second);
        let per_second = match lane {
            Lane::Poll => rate.div_ceil(2),
            Lane::Edit => rate,
        };
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        act(lanes.entry((product, region.to_owned(), lane)).or_insert_with(|| Pace::new(per_second, now)))
    }

    /// Takes a slot: how long to wait before the call. Where that is longer than `most`, none is taken, and the error is how
    /// long it would be: whoever holds others up must give way instead.
    pub fn reserve(&self, share: Share<'_>, now: Instant, most: Duration) -> Result<Duration, Duration> {
        self.with(share, now, |pace| pace.reserve(now, most))
    }

    /// The service throttled: both lanes of the product slow down in that region.
    pub fn throttled(&self, share: Share<'_>, after: Option<Duration>, now: Instant) {
        for lane in [Lane::Poll, Lane::Edit] {
            self.with(Share { lane, ..share }, now, |pace| pace.throttled(after, now));
        }
    }

    /// A call was let through: after ten of them the lane is twice as fast again, up to what was asked for.
    pub fn succeeded(&self, share: Share<'_>, now: Instant) {
        self.with(share, now, Pace::succeeded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(60);

    fn share(lane: Lane) -> Share<'static> {
        Share { product: "rocketmq", region: "cn-hangzhou", lane }
    }

    fn wait_after(budget: &Budget, calls: usize, share: Share<'_>, now: Instant) -> Duration {
        let reserve = |_| budget.reserve(share, now, MOST).expect("soon enough");
        (0..calls).map(reserve).last().unwrap_or_default()
    }

    #[test]
    fn an_edit_never_waits_behind_polls() {
        let (budget, now) = (Budget::new(10), Instant::now());
        assert!(wait_after(&budget, 100, share(Lane::Poll), now) > Duration::from_secs(5));
        assert_eq!(budget.reserve(share(Lane::Edit), now, MOST), Ok(Duration::ZERO));
        let elsewhere = Share { region: "cn-shanghai", ..share(Lane::Poll) };
        assert_eq!(budget.reserve(elsewhere, now, MOST), Ok(Duration::ZERO));
    }

    #[test]
    fn each_product_has_its_own_rate_and_its_own_throttling() {
        let (budget, now) = (Budget::new(100).with_rate("ebs", 10), Instant::now());
        let ebs = Share { product: "ebs", ..share(Lane::Edit) };
        assert_eq!(wait_after(&budget, 31, ebs, now), Duration::from_secs(3));
        assert_eq!(wait_after(&budget, 31, share(Lane::Edit), now), Duration::from_millis(300));
        budget.throttled(ebs, Some(Duration::from_secs(30)), now);
        assert_eq!(budget.reserve(share(Lane::Edit), now, MOST), Ok(Duration::from_millis(310)));
        let poll = Share { lane: Lane::Poll, ..ebs };
        assert_eq!(budget.reserve(poll, now, MOST), Ok(Duration::from_secs(30)));
    }

    #[test]
    fn throttling_slows_down_and_success_recovers() {
        let (budget, now) = (Budget::new(10), Instant::now());
        budget.throttled(share(Lane::Edit), Some(Duration::from_secs(3)), now);
        let reserve = |most| budget.reserve(share(Lane::Edit), now, most);
        assert_eq!(reserve(Duration::from_secs(1)), Err(Duration::from_secs(3)), "and no slot is taken");
        assert_eq!(reserve(MOST), Ok(Duration::from_secs(3)));
        assert_eq!(reserve(MOST), Ok(Duration::from_millis(3200)));
        for _ in 0..10 {
            budget.succeeded(share(Lane::Edit), now);
        }
        let later = now + Duration::from_secs(60);
        assert_eq!(wait_after(&budget, 10, share(Lane::Edit), later), Duration::ZERO);
    }

    #[test]
    fn another_budget_has_the_same_rates_and_nothing_in_common() {
        let (budget, now) = (Budget::new(100).with_rate("ebs", 10), Instant::now());
        assert!(wait_after(&budget, 500, share(Lane::Edit), now) > Duration::ZERO);
        let ebs = Share { product: "ebs", ..share(Lane::Edit) };
        budget.throttled(ebs, Some(Duration::from_secs(30)), now);
        let other = budget.anew();
        assert_eq!(other.reserve(share(Lane::Edit), now, MOST), Ok(Duration::ZERO));
        assert_eq!(wait_after(&other, 31, ebs, now), Duration::from_secs(3));
    }
}
