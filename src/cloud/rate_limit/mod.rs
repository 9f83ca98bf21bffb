//! Rate limits of calls: one token bucket per cloud account (or access key), product, region and operation, since that is
//! how the service counts. The whole process shares them. An account object may have a second bucket of its own for each
//! operation; a call needs a slot in both.
//!
//! RocketMQ allows 150 calls a second, region, API and account (help page "api-rocketmq-2022-08-01-quota"), EBS 40, and
//! 10 of ClearReplicaGroupDrill ("api-ebs-2021-07-30-quota"), STS 100 ("api-sts-quota").
//!
//! Every function takes the time as an argument. The client does the waiting.

mod bucket;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::bucket::Bucket;
pub use self::bucket::{Reservation, Totals};
use super::operation::ApiOperation;

/// Maximum number of buckets with a [`Usage`] of their own. Regions and accounts come from specs, so there may be any
/// number of them.
const MAX_REPORTED: usize = 2000;

/// The priority of a call in the rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Reads of an observation at rest. They take what changes leave.
    Sample,
    /// Changes, and the reads of a reconcile that makes them.
    Change,
}

/// The cloud account that the service counts a call for; where it is unknown, the access key or role. Never a secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    key: String,
    shown: String,
}

impl Identity {
    /// The cloud account with this ID.
    pub fn of_account(id: &str) -> Self {
        Self { key: format!("account {id}"), shown: id.to_owned() }
    }

    /// An access key, whose masked ID is for people.
    pub fn of_key(id: &str, masked: String) -> Self {
        Self { key: format!("key {id}"), shown: masked }
    }

    /// A role of an unknown account.
    pub fn of_role(role: String) -> Self {
        Self { key: format!("role {role}"), shown: role }
    }

    /// The callers of operations that take no signature, at one endpoint.
    pub fn unsigned(endpoint: &str) -> Self {
        Self { key: format!("unsigned {endpoint}"), shown: "unsigned".into() }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.shown)
    }
}

/// The rate limit that an account object sets for each operation and region, on top of the shared one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    account: String,
    per_second: u32,
    max: Vec<(&'static str, u32)>,
}

impl Budget {
    /// The budget of an account object, `namespace/name`.
    pub fn new(account: String, per_second: u32) -> Self {
        Self { account, per_second, max: vec![] }
    }

    /// Caps the rate of one product.
    pub fn with_max(mut self, product: &'static str, per_second: u32) -> Self {
        self.max.push((product, per_second));
        self
    }

    fn rate(&self, product: &str) -> u32 {
        let max = self.max.iter().filter(|it| it.0 == product).map(|it| it.1);
        max.fold(self.per_second, u32::min)
    }
}

/// The owner of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// All callers with one identity.
    Shared(&'a Identity),
    /// The users of one account object.
    Account(&'a Budget),
}

/// Selects a bucket that one call draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketKey<'a> {
    /// The owner.
    pub owner: Owner<'a>,
    /// The product, such as `rocketmq`.
    pub product: &'static str,
    /// The region.
    pub region: &'a str,
    /// The operation.
    pub operation: ApiOperation,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum OwnerId {
    Shared(Identity),
    Account(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Id {
    owner: OwnerId,
    product: &'static str,
    region: String,
    operation: ApiOperation,
}

impl From<BucketKey<'_>> for Id {
    fn from(key: BucketKey<'_>) -> Self {
        let owner = match key.owner {
            Owner::Shared(identity) => OwnerId::Shared(identity.clone()),
            Owner::Account(budget) => OwnerId::Account(budget.account.clone()),
        };
        Self { owner, product: key.product, region: key.region.to_owned(), operation: key.operation }
    }
}

/// The use of one bucket, or of several that people cannot tell apart: the rate now, and the totals since its creation.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// The identity, for people; empty for the bucket of an account object.
    pub identity: String,
    /// The account object, `namespace/name`; empty for a shared bucket.
    pub account: String,
    /// The product.
    pub product: &'static str,
    /// The region.
    pub region: String,
    /// The operation.
    pub operation: ApiOperation,
    /// Calls a second without throttling, and now. Absent for the buckets without a usage of their own.
    pub rates: Option<Rates>,
    /// The totals.
    pub totals: Totals,
}

/// The rates of a bucket, in calls a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Without throttling.
    pub limit: f64,
    /// Now; none during a pause that the service asked for.
    pub allowed: f64,
}

#[derive(Debug)]
struct Entry {
    bucket: Bucket,
    totals: Totals,
    /// Whether the bucket has a usage of its own.
    reported: bool,
    samples: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct State {
    buckets: HashMap<Id, Entry>,
    /// The totals of the buckets without a usage of their own.
    rest: BTreeMap<(&'static str, ApiOperation), Totals>,
}

impl State {
    fn drop_unused(&mut self, now: Instant) {
        self.buckets.retain(|_, entry| !entry.bucket.is_unused(now));
    }
}

/// The rate limits of the process.
#[derive(Debug)]
pub struct RateLimit {
    per_second: u32,
    products: HashMap<&'static str, u32>,
    operations: HashMap<ApiOperation, u32>,
    state: Mutex<State>,
}

impl RateLimit {
    /// A rate limit of `per_second` calls of each operation and region.
    pub fn new(per_second: u32) -> Self {
        Self { per_second, products: HashMap::new(), operations: HashMap::new(), state: Mutex::default() }
    }

    /// Sets another rate for the operations of one product.
    pub fn with_rate(mut self, product: &'static str, per_second: u32) -> Self {
        self.products.insert(product, per_second);
        self
    }

    /// Caps the rate of one operation.
    pub fn with_max(mut self, operation: ApiOperation, per_second: u32) -> Self {
        self.operations.insert(operation, per_second);
        self
    }

    fn rate(&self, key: &BucketKey<'_>) -> u32 {
        let own = match key.owner {
            Owner::Shared(_) => self.products.get(key.product).copied().unwrap_or(self.per_second),
            Owner::Account(budget) => budget.rate(key.product),
        };
        self.operations.get(&key.operation).map_or(own, |max| own.min(*max))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_entry<R>(&self, key: BucketKey<'_>, now: Instant, act: impl FnOnce(&mut Entry) -> R) -> R {
        let (id, rate) = (Id::from(key), self.rate(&key));
        let mut state = self.state();
        if let Some(entry) = state.buckets.get_mut(&id) {
            // The spec of an account object may have changed.
            entry.bucket.set_limit(rate, now);
            return act(entry);
        }
        state.drop_unused(now);
        let reported = state.buckets.values().filter(|it| it.reported).count() < MAX_REPORTED;
        let (bucket, totals, samples) = (Bucket::new(rate, now), Totals::default(), Arc::default());
        act(state.buckets.entry(id).or_insert(Entry { bucket, totals, reported, samples }))
    }

    fn count(&self, key: BucketKey<'_>, now: Instant, add: impl Fn(&mut Totals)) {
        let reported = self.with_entry(key, now, |entry| {
            if entry.reported {
                add(&mut entry.totals);
            }
            entry.reported
        });
        if !reported {
            add(self.state().rest.entry((key.product, key.operation)).or_default());
        }
    }

    /// Reserves the next slot for a change. If the wait for it exceeds `max_wait`, reserves none and fails with the
    /// wait.
    pub fn reserve(&self, key: BucketKey<'_>, now: Instant, max_wait: Duration) -> Result<Reservation, Duration> {
        self.with_entry(key, now, |entry| entry.bucket.reserve(now, max_wait))
    }

    /// Whether a reservation still has its slot. A throttled call voids all reservations of its bucket; then the caller
    /// reserves again.
    pub fn is_valid(&self, key: BucketKey<'_>, now: Instant, reservation: &Reservation) -> bool {
        self.with_entry(key, now, |entry| entry.bucket.is_valid(reservation))
    }

    /// Takes a slot for a sample if one is free and enough is left for changes. Else changes nothing and fails with the
    /// time after which one may be free.
    pub fn take(&self, key: BucketKey<'_>, now: Instant) -> Result<(), Duration> {
        self.with_entry(key, now, |entry| entry.bucket.take(now))
    }

    /// The queue of the samples that wait for a slot: one at a time tries to take it.
    pub fn samples(&self, key: BucketKey<'_>, now: Instant) -> Arc<tokio::sync::Mutex<()>> {
        self.with_entry(key, now, |entry| entry.samples.clone())
    }

    /// Counts the wait of a call that got its slot.
    pub fn waited(&self, key: BucketKey<'_>, now: Instant, wait: Duration) {
        self.count(key, now, |totals| totals.waited += wait);
    }

    /// Counts the wait of a call that was given up.
    pub fn exhausted(&self, key: BucketKey<'_>, now: Instant, wait: Duration) {
        self.count(key, now, |totals| {
            totals.waited += wait;
            totals.exhausted += 1;
        });
    }

    /// Records that the service throttled a call: the bucket pauses as asked, and slows down. No other does.
    pub fn throttled(&self, key: BucketKey<'_>, after: Option<Duration>, now: Instant) {
        self.with_entry(key, now, |entry| entry.bucket.throttled(after, now));
        self.count(key, now, |totals| totals.throttled += 1);
    }

    /// The use of all buckets, each from its first use until an hour after its last. Their number is limited: further
    /// buckets are reported together, by product and operation, as the identity and region `Other`.
    pub fn usage(&self, now: Instant) -> Vec<Usage> {
        let mut state = self.state();
        state.drop_unused(now);
        let mut all: BTreeMap<_, (Rates, Totals)> = BTreeMap::new();
        for (id, entry) in state.buckets.iter().filter(|(_, entry)| entry.reported) {
            let (identity, account) = match &id.owner {
                OwnerId::Shared(identity) => (identity.shown.clone(), String::new()),
                OwnerId::Account(account) => (String::new(), account.clone()),
            };
            let labels = (identity, account, id.product, id.region.clone(), id.operation);
            let (rates, totals) = all.entry(labels).or_insert((Rates { limit: 0.0, allowed: 0.0 }, Totals::default()));
            // Two keys may look alike once they are masked.
            rates.limit += entry.bucket.limit();
            rates.allowed += entry.bucket.allowed(now);
            totals.waited += entry.totals.waited;
            totals.exhausted += entry.totals.exhausted;
            totals.throttled += entry.totals.throttled;
        }
        let own = all.into_iter().map(|((identity, account, product, region, operation), (rates, totals))| Usage {
            identity,
            account,
            product,
            region,
            operation,
            rates: Some(rates),
            totals,
        });
        let rest = state.rest.iter().map(|((product, operation), totals)| Usage {
            identity: "Other".into(),
            account: String::new(),
            product,
            region: "Other".into(),
            operation: *operation,
            rates: None,
            totals: *totals,
        });
        own.chain(rest).collect()
    }
}

#[cfg(test)]
mod tests;
