//! Rate limits of calls, one bucket per product, region and priority. Polls have a bucket of their own, so that a
//! user's edit never waits behind them. Both buckets slow down while the service throttles and recover afterwards. No
//! product uses up another's rate.
//!
//! RocketMQ allows 150 calls a second, region, API and account (help page "api-rocketmq-2022-08-01-quota"), EBS 40, and
//! 10 of ClearReplicaGroupDrill ("api-ebs-2021-07-30-quota").

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The priority of a call in the rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Reads of an observation at rest. They take what changes leave.
    Sample,
    /// Changes, and the reads of a reconcile that makes them.
    Change,
}

/// Selects the bucket that one call draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketKey<'a> {
    /// The product, such as `rocketmq`.
    pub product: &'static str,
    /// The region.
    pub region: &'a str,
    /// The priority.
    pub priority: Priority,
}

/// Maximum pause that the service can ask for.
const MAX_PAUSE: Duration = Duration::from_secs(900);
/// Maximum factor by which throttling slows a bucket down.
const MAX_SLOWDOWN: u32 = 64;
/// Time without use after which a bucket is no longer slowed down.
const SLOWDOWN_EXPIRY: Duration = Duration::from_secs(60);
/// Time without use after which a bucket is dropped: regions come from specs, so there may be any number of them.
const UNUSED_EXPIRY: Duration = Duration::from_secs(3600);

/// The bucket of one product, region and priority: calls are spaced by `interval × slowdown`, except for a burst of one
/// second's worth.
#[derive(Clone, Debug)]
struct Bucket {
    interval: Duration,
    slowdown: u32,
    successes: u32,
    next: Instant,
    waited: Duration,
    exhausted: u64,
    throttled: u64,
}

/// The use of one bucket: its rate now, and its totals since its creation.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// The owner of the rate limit; empty for the operator's own.
    pub owner: String,
    /// The product.
    pub product: &'static str,
    /// The region.
    pub region: String,
    /// The priority.
    pub priority: Priority,
    /// Calls a second without throttling.
    pub limit: f64,
    /// Calls a second now.
    pub allowed: f64,
    /// Total time that calls waited for their slots.
    pub waited: Duration,
    /// Calls that were given up, since no slot came soon enough.
    pub exhausted: u64,
    /// Calls that the service throttled.
    pub throttled: u64,
}

impl Bucket {
    fn new(per_second: u32, now: Instant) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        let (waited, exhausted, throttled) = (Duration::ZERO, 0, 0);
        Self { interval, slowdown: 1, successes: 0, next: now, waited, exhausted, throttled }
    }

    /// The factor by which calls are slowed down at `now`.
    fn slowdown(&self, now: Instant) -> u32 {
        if now.saturating_duration_since(self.next) > SLOWDOWN_EXPIRY { 1 } else { self.slowdown }
    }

    fn unused(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.next) >= UNUSED_EXPIRY
    }

    /// Takes the next slot and returns the wait for it. If the wait exceeds `max_wait`, takes none and fails with the
    /// wait.
    fn reserve(&mut self, now: Instant, max_wait: Duration) -> Result<Duration, Duration> {
        self.slowdown = self.slowdown(now);
        // Up to a second of unused slots may be used at once, unless the service throttled recently.
        let burst = if self.slowdown == 1 { Duration::from_secs(1) } else { Duration::ZERO };
        let earliest = now.checked_sub(burst).unwrap_or(now);
        let slot = self.next.max(earliest);
        let wait = slot.saturating_duration_since(now);
        if wait > max_wait {
            self.exhausted += 1;
            return Err(wait);
        }
        self.waited += wait;
        self.next = slot + self.interval * self.slowdown;
        Ok(wait)
    }

    fn throttled(&mut self, after: Option<Duration>, now: Instant) {
        self.slowdown = (self.slowdown * 2).min(MAX_SLOWDOWN);
        self.successes = 0;
        self.next = self.next.max(now + after.unwrap_or(Duration::from_millis(500)).min(MAX_PAUSE));
    }

    fn succeeded(&mut self) {
        self.successes += 1;
        if self.successes >= 10 {
            self.successes = 0;
            self.slowdown = (self.slowdown / 2).max(1);
        }
    }
}

type Buckets = Mutex<HashMap<(&'static str, String, Priority), Bucket>>;

/// The rate limit of one owner, for all products and regions.
#[derive(Debug)]
pub struct RateLimit {
    per_second: u32,
    rates: HashMap<&'static str, u32>,
    buckets: Arc<Buckets>,
    /// The buckets of every owner while they are in use, shared by all rate limits with the same origin.
    all: Arc<Mutex<BTreeMap<String, Weak<Buckets>>>>,
}

impl RateLimit {
    /// A rate limit of `per_second` calls per product and region for edits, and half as many again for polls.
    pub fn new(per_second: u32) -> Self {
        let buckets = Arc::default();
        let all = BTreeMap::from([(String::new(), Arc::downgrade(&buckets))]);
        Self { per_second, rates: HashMap::new(), buckets, all: Arc::new(Mutex::new(all)) }
    }

    /// Sets another rate for one product.
    pub fn with_rate(mut self, product: &'static str, per_second: u32) -> Self {
        self.rates.insert(product, per_second);
        self
    }

    /// A rate limit of the same rates for `owner`, with unused buckets. It replaces the owner's former one.
    pub fn for_owner(&self, owner: &str) -> Self {
        let buckets = Arc::default();
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(owner.to_owned(), Arc::downgrade(&buckets));
        Self { per_second: self.per_second, rates: self.rates.clone(), buckets, all: self.all.clone() }
    }

    /// Sets one rate for all products.
    pub fn with_single_rate(self, per_second: u32) -> Self {
        Self { per_second, rates: HashMap::new(), ..self }
    }

    /// The use of the buckets of all owners. A bucket is reported from its first use until an hour after its last.
    pub fn usage(&self, now: Instant) -> Vec<Usage> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, buckets| buckets.strong_count() > 0);
        let in_use = all.iter().filter_map(|(owner, buckets)| Some((owner.clone(), buckets.upgrade()?)));
        let mut found = vec![];
        for (owner, buckets) in in_use {
            let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
            buckets.retain(|_, bucket| !bucket.unused(now));
            found.extend(buckets.iter().map(|((product, region, priority), bucket)| {
                let limit = 1.0 / bucket.interval.as_secs_f64();
                let (owner, region) = (owner.clone(), region.clone());
                let allowed = limit / f64::from(bucket.slowdown(now));
                let Bucket { waited, exhausted, throttled, .. } = *bucket;
                Usage { owner, product, region, priority: *priority, limit, allowed, waited, exhausted, throttled }
            }));
        }
        found
    }

    fn with_bucket<R>(&self, key: BucketKey<'_>, now: Instant, act: impl FnOnce(&mut Bucket) -> R) -> R {
        let BucketKey { product, region, priority } = key;
        let rate = self.rates.get(product).copied().unwrap_or(self.per_second);
        let per_second = match priority {
            Priority::Sample => rate.div_ceil(2),
            Priority::Change => rate,
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        act(buckets.entry((product, region.to_owned(), priority)).or_insert_with(|| Bucket::new(per_second, now)))
    }

    /// Takes a slot and returns the wait before the call. If the wait exceeds `max_wait`, takes none and fails with the
    /// wait, so that the caller does not hold up others.
    pub fn reserve(&self, key: BucketKey<'_>, now: Instant, max_wait: Duration) -> Result<Duration, Duration> {
        self.with_bucket(key, now, |bucket| bucket.reserve(now, max_wait))
    }

    /// Records that the service throttled a call: both buckets of the product slow down in that region.
    pub fn throttled(&self, key: BucketKey<'_>, after: Option<Duration>, now: Instant) {
        self.with_bucket(key, now, |bucket| bucket.throttled += 1);
        for priority in [Priority::Sample, Priority::Change] {
            self.with_bucket(BucketKey { priority, ..key }, now, |bucket| bucket.throttled(after, now));
        }
    }

    /// Records that the service took a call: after ten of them the bucket is twice as fast again, up to its configured
    /// rate.
    pub fn succeeded(&self, key: BucketKey<'_>, now: Instant) {
        self.with_bucket(key, now, Bucket::succeeded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_WAIT: Duration = Duration::from_secs(60);

    fn key(priority: Priority) -> BucketKey<'static> {
        BucketKey { product: "rocketmq", region: "cn-hangzhou", priority }
    }

    fn wait_after(rate_limit: &RateLimit, calls: usize, key: BucketKey<'_>, now: Instant) -> Duration {
        let reserve = |_| rate_limit.reserve(key, now, MAX_WAIT).expect("soon enough");
        (0..calls).map(reserve).fold(Duration::ZERO, |_, wait| wait)
    }

    #[test]
    fn edit_never_waits_behind_polls() {
        let (rate_limit, now) = (RateLimit::new(10), Instant::now());
        assert!(wait_after(&rate_limit, 100, key(Priority::Sample), now) > Duration::from_secs(5));
        assert_eq!(rate_limit.reserve(key(Priority::Change), now, MAX_WAIT), Ok(Duration::ZERO));
        let elsewhere = BucketKey { region: "cn-shanghai", ..key(Priority::Sample) };
        assert_eq!(rate_limit.reserve(elsewhere, now, MAX_WAIT), Ok(Duration::ZERO));
    }

    #[test]
    fn products_have_own_rate_and_throttling() {
        let (rate_limit, now) = (RateLimit::new(100).with_rate("ebs", 10), Instant::now());
        let ebs = BucketKey { product: "ebs", ..key(Priority::Change) };
        assert_eq!(wait_after(&rate_limit, 31, ebs, now), Duration::from_secs(3));
        assert_eq!(wait_after(&rate_limit, 31, key(Priority::Change), now), Duration::from_millis(300));
        rate_limit.throttled(ebs, Some(Duration::from_secs(30)), now);
        assert_eq!(rate_limit.reserve(key(Priority::Change), now, MAX_WAIT), Ok(Duration::from_millis(310)));
        let poll = BucketKey { priority: Priority::Sample, ..ebs };
        assert_eq!(rate_limit.reserve(poll, now, MAX_WAIT), Ok(Duration::from_secs(30)));
    }

    #[test]
    fn throttling_slows_down_and_success_recovers() {
        let (rate_limit, now) = (RateLimit::new(10), Instant::now());
        rate_limit.throttled(key(Priority::Change), Some(Duration::from_secs(3)), now);
        let reserve = |max_wait| rate_limit.reserve(key(Priority::Change), now, max_wait);
        assert_eq!(reserve(Duration::from_secs(1)), Err(Duration::from_secs(3)), "and no slot is taken");
        assert_eq!(reserve(MAX_WAIT), Ok(Duration::from_secs(3)));
        assert_eq!(reserve(MAX_WAIT), Ok(Duration::from_millis(3200)));
        for _ in 0..10 {
            rate_limit.succeeded(key(Priority::Change), now);
        }
        let later = now + Duration::from_secs(60);
        assert_eq!(wait_after(&rate_limit, 10, key(Priority::Change), later), Duration::ZERO);
    }

    #[test]
    fn owners_have_same_rates_and_own_buckets() {
        let (rate_limit, now) = (RateLimit::new(100).with_rate("ebs", 10), Instant::now());
        assert!(wait_after(&rate_limit, 500, key(Priority::Change), now) > Duration::ZERO);
        let ebs = BucketKey { product: "ebs", ..key(Priority::Change) };
        rate_limit.throttled(ebs, Some(Duration::from_secs(30)), now);
        let other = rate_limit.for_owner("ns/main");
        assert_eq!(other.reserve(key(Priority::Change), now, MAX_WAIT), Ok(Duration::ZERO));
        assert_eq!(wait_after(&other, 31, ebs, now), Duration::from_secs(3));
    }

    #[test]
    fn usage_covers_all_owners_in_use() {
        let (rate_limit, now) = (RateLimit::new(100).with_rate("ebs", 10), Instant::now());
        assert_eq!(rate_limit.usage(now), []);
        let ebs = BucketKey { product: "ebs", ..key(Priority::Change) };
        wait_after(&rate_limit, 12, ebs, now);
        rate_limit.throttled(ebs, Some(Duration::from_secs(30)), now);
        assert!(rate_limit.reserve(ebs, now, Duration::from_secs(1)).is_err());
        let of = |owner: &str, priority, now| {
            rate_limit.usage(now).into_iter().find(|it| it.owner == owner && it.priority == priority)
        };
        let used = of("", Priority::Change, now).expect("it was used");
        assert_eq!((used.product, used.limit, used.allowed), ("ebs", 10.0, 5.0));
        assert_eq!((used.waited, used.exhausted, used.throttled), (Duration::from_millis(6600), 1, 1));
        let polls = of("", Priority::Sample, now).expect("it is throttled too");
        assert_eq!((polls.limit, polls.allowed, polls.throttled), (5.0, 2.5, 0));
        let later = of("", Priority::Change, now + Duration::from_secs(100)).expect("it was used");
        assert_eq!(later.allowed, 10.0, "the slowdown expires without use");
        let much_later = now + Duration::from_secs(3700);
        wait_after(&rate_limit, 1, BucketKey { region: "cn-shanghai", ..ebs }, much_later);
        let left: Vec<_> = rate_limit.usage(much_later).into_iter().map(|it| it.region).collect();
        assert_eq!(left, ["cn-shanghai"], "unused buckets are dropped");
        wait_after(&rate_limit, 1, ebs, much_later);
        assert_eq!(of("", Priority::Change, much_later).map(|it| it.waited), Some(Duration::ZERO));
        let other = rate_limit.for_owner("ns/main").with_single_rate(20);
        wait_after(&other, 1, ebs, now);
        assert_eq!(of("ns/main", Priority::Change, now).map(|it| it.limit), Some(20.0));
        drop(other);
        assert_eq!(of("ns/main", Priority::Change, now), None);
    }
}
