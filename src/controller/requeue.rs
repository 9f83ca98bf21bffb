//! The time of the next reconcile, by the result of the last one and the class of its error. The one place that decides
//! retries.

use std::time::Duration;

use super::Settings;
use super::absence::Absences;
use super::memory::Memory;
use crate::cloud::error::Class;

/// The time of the next reconcile of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// At the next poll.
    Poll,
    /// At the next poll, or after this time if that is earlier.
    PollWithin(Duration),
    /// Soon, because the cloud changes.
    Soon,
    /// After a failure of this class.
    Retry(Class),
    /// When the object changes, or when a read between reconciles finds a difference.
    Observed,
    /// When the object changes.
    AwaitChange,
}

/// Maximum number of quick reconciles in a row. A difference that no correction removes must not cause a hot loop.
const MAX_QUICK_RECONCILES: u32 = 10;
/// Maximum back-off after failures.
const MAX_BACKOFF: Duration = Duration::from_secs(120);
/// Maximum back-off after the first failures of a service that does not refuse: it may answer the next call.
const MAX_PASSING_BACKOFF: Duration = Duration::from_secs(15);
/// The number of such failures in a row. After more of them it is an outage, in which calls of all objects would be many.
const PASSING_FAILURES: u32 = 8;

/// The time until the next reconcile, before jitter. Pure.
pub fn delay(requeue: &Requeue, memory: &Memory, poll: Duration, settings: &Settings) -> Option<Duration> {
    match requeue {
        Requeue::Observed | Requeue::AwaitChange => None,
        Requeue::Poll => Some(poll),
        Requeue::PollWithin(max) => Some(poll.min(*max)),
        Requeue::Soon => {
            let over = memory.busy.saturating_sub(MAX_QUICK_RECONCILES);
            Some(doubled(settings.transition_interval, over, poll.max(settings.transition_interval)))
        }
        Requeue::Retry(class) => Some(backoff(*class, memory.failures, settings.retry_interval)),
    }
}

/// The back-off after `failures` in a row.
fn backoff(class: Class, failures: u32, retry: Duration) -> Duration {
    let before = failures.saturating_sub(1);
    match class {
        // A person has to act: a longer back-off.
        Class::Denied | Class::Invalid => doubled(retry * 6, before, MAX_BACKOFF),
        Class::Throttled { after } => doubled(retry, before, MAX_BACKOFF).max(after.unwrap_or_default()),
        Class::Unavailable | Class::Ambiguous => match before.checked_sub(PASSING_FAILURES - 1) {
            None | Some(0) => doubled(retry, before, MAX_PASSING_BACKOFF.max(retry)),
            Some(more) => doubled(MAX_PASSING_BACKOFF.max(retry), more, MAX_BACKOFF),
        },
        Class::NotFound | Class::Conflict => doubled(retry, before, MAX_BACKOFF),
    }
}

/// The next reconcile while it is not proven that a part of the cloud side is gone: the proof needs dense observations. Pure.
pub fn while_proving(requeue: Requeue, settings: &Settings) -> Requeue {
    let interval = Absences::interval(settings.visibility_window);
    match requeue {
        Requeue::Poll | Requeue::Observed => Requeue::PollWithin(interval),
        Requeue::PollWithin(max) => Requeue::PollWithin(interval.min(max)),
        Requeue::Soon => Requeue::PollWithin(interval.min(settings.transition_interval)),
        Requeue::Retry(Class::Throttled { .. }) | Requeue::AwaitChange => requeue,
        // A failing read or step must not keep the proof from being found.
        Requeue::Retry(_) => Requeue::PollWithin(interval),
    }
}

fn doubled(base: Duration, times: u32, max: Duration) -> Duration {
    base.saturating_mul(1 << times.min(16)).min(max)
}

/// The shortest interval between two reads of one list at rest.
const MIN_LIST_INTERVAL: Duration = Duration::from_secs(15);
/// The longest interval between two reads of the parts of one cloud side.
const MAX_DETAILS_INTERVAL: Duration = Duration::from_secs(300);
/// Item lists are read once in so many polls.
const POLLS_PER_DETAILS: u32 = 5;
/// The shortest interval between two samples of one mapping.
const MIN_SAMPLE_INTERVAL: Duration = Duration::from_secs(5);
/// The interval to the second sample without a proof. It doubles with each further one.
const UNPROVEN_INTERVAL: Duration = Duration::from_secs(10);
/// The longest interval between two samples without a proof.
const MAX_UNPROVEN_INTERVAL: Duration = Duration::from_secs(60);

/// The longest interval between two samples that the cloud refuses.
const MAX_REFUSED_INTERVAL: Duration = Duration::from_secs(300);

/// The intervals between reads of one object at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// Between two polls.
    pub poll: Duration,
    /// The poll interval of the command line. Where it is shorter than a bound, it replaces the bound.
    default_poll: Duration,
    /// The back-off after the first failure.
    retry: Duration,
}

impl Intervals {
    /// The intervals of an object with this poll interval.
    pub fn new(poll: Duration, settings: &Settings) -> Self {
        Self { poll, default_poll: settings.poll_interval, retry: settings.retry_interval }
    }

    /// The intervals of a poll interval, the command line's and the first back-off.
    #[cfg(test)]
    pub fn for_test(poll: Duration, default_poll: Duration, retry: Duration) -> Self {
        Self { poll, default_poll, retry }
    }

    /// Between two reads of a list that shows the object.
    pub fn list(&self) -> Duration {
        self.poll.max(MIN_LIST_INTERVAL.min(self.default_poll))
    }

    /// Between two reads of the parts of the cloud side.
    pub fn details(&self) -> Duration {
        let min = MIN_LIST_INTERVAL.min(self.default_poll);
        (self.poll.saturating_mul(POLLS_PER_DETAILS)).clamp(min, MAX_DETAILS_INTERVAL)
    }

    /// Until the next sample, while this much of a proof is left.
    pub fn proven_sample(&self, left: Duration) -> Duration {
        (left.saturating_mul(3) / 4).max(MIN_SAMPLE_INTERVAL.min(self.default_poll))
    }

    /// Until the next sample after `times` samples in a row without a proof.
    pub fn unproven_sample(&self, times: u32) -> Duration {
        let max = MAX_UNPROVEN_INTERVAL.min(self.default_poll);
        doubled(UNPROVEN_INTERVAL.min(max), times.saturating_sub(1), max)
    }

    /// Until the next sample after `times` samples in a row whose refusal is likely to last.
    pub fn refused_sample(&self, times: u32) -> Duration {
        let max = MAX_REFUSED_INTERVAL.min(self.default_poll.saturating_mul(POLLS_PER_DETAILS));
        doubled(UNPROVEN_INTERVAL.min(max), times.saturating_sub(1), max)
    }

    /// Until the next attempt at a read that failed so many times in a row.
    pub fn failed_read(&self, class: Class, times: u32) -> Duration {
        backoff(class, times, self.retry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::endpoint::Allowed;
    use crate::controller::access::Variables;

    fn settings() -> Settings {
        Settings {
            namespaces: vec![],
            selector: None,
            shard: crate::controller::shard::Shard::ALL,
            workers: 4,
            poll_interval: Duration::from_secs(60),
            transition_interval: Duration::from_secs(3),
            retry_interval: Duration::from_secs(5),
            visibility_window: Duration::from_secs(120),
            content_hash_rounds: 1,
            rocketmq_endpoint: None,
            ebs_endpoint: None,
            sts_endpoint: None,
            metadata_endpoint: None,
            allowed_endpoints: Allowed::default(),
            credentials_secret: None,
            variables: Variables::default(),
            default_account_namespaces: vec![],
            cluster_id: None,
        }
    }

    fn seconds(requeue: Requeue, failures: u32, busy: u32) -> u64 {
        let memory = Memory { failures, busy, ..Memory::default() };
        delay(&requeue, &memory, Duration::from_secs(60), &settings()).unwrap_or_default().as_secs()
    }

    #[test]
    fn failures_back_off_slower_where_people_act() {
        let unavailable = Requeue::Retry(Class::Unavailable);
        assert_eq!([1, 2, 3, 8].map(|n| seconds(unavailable, n, 0)), [5, 10, 15, 15]);
        assert_eq!([9, 10, 11, 99].map(|n| seconds(unavailable, n, 0)), [30, 60, 120, 120], "an outage");
        assert_eq!([1, 2, 6].map(|n| seconds(Requeue::Retry(Class::Conflict), n, 0)), [5, 10, 120]);
        assert_eq!([1, 2, 20].map(|n| seconds(Requeue::Retry(Class::Denied), n, 0)), [30, 60, 120]);
        let throttled = Requeue::Retry(Class::Throttled { after: Some(Duration::from_secs(33)) });
        assert_eq!([1, 4].map(|n| seconds(throttled, n, 0)), [33, 40]);
    }

    #[test]
    fn proof_of_absence_has_dense_observations() {
        let within = |seconds| Requeue::PollWithin(Duration::from_secs(seconds));
        for (requeue, expected) in [
            (Requeue::Poll, within(30)),
            (Requeue::Soon, within(3)),
            (Requeue::Retry(Class::Denied), within(30)),
            (Requeue::Retry(Class::Throttled { after: None }), Requeue::Retry(Class::Throttled { after: None })),
            (Requeue::AwaitChange, Requeue::AwaitChange),
        ] {
            assert_eq!(while_proving(requeue, &settings()), expected, "{requeue:?}");
        }
    }

    #[test]
    fn reads_at_rest_have_their_pace() {
        let seconds = |poll, default_poll| {
            let (poll, default_poll) = (Duration::from_secs(poll), Duration::from_secs(default_poll));
            let intervals = Intervals { poll, default_poll, retry: Duration::from_secs(5) };
            [intervals.list(), intervals.details()].map(|it| it.as_secs())
        };
        assert_eq!([seconds(60, 60), seconds(1, 60), seconds(20, 60)], [[60, 300], [15, 15], [20, 100]]);
        assert_eq!([seconds(86_400, 60), seconds(1, 1)], [[86_400, 300], [1, 5]]);
    }

    #[test]
    fn samples_follow_their_proof() {
        let of = |default_poll| {
            Intervals::new(Duration::from_secs(60), &Settings { poll_interval: default_poll, ..settings() })
        };
        let intervals = of(Duration::from_secs(60));
        assert_eq!([0, 4, 100].map(|left| intervals.proven_sample(Duration::from_secs(left)).as_secs()), [5, 5, 75]);
        assert_eq!([1, 2, 3, 4, 90].map(|times| intervals.unproven_sample(times).as_secs()), [10, 20, 40, 60, 60]);
        assert_eq!([1, 2, 5, 6, 90].map(|times| intervals.refused_sample(times).as_secs()), [10, 20, 160, 300, 300]);
        assert_eq!(of(Duration::from_secs(1)).proven_sample(Duration::ZERO).as_secs(), 1);
    }

    #[test]
    fn endless_difference_slows_to_poll_interval() {
        assert_eq!([0, 5, 10, 11, 12, 40].map(|n| seconds(Requeue::Soon, 0, n)), [3, 3, 3, 6, 12, 60]);
    }
}
