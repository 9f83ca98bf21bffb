//! The time of the next reconcile, by the result of the last one and the class of its error. The one place that decides
//! retries.

use std::time::Duration;

use jiff::Timestamp;

use super::Settings;
use super::absence::Absences;
use crate::cloud::error::Class;

/// The memory of an object between the reconciles of this process. No part of it must survive a crash.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The number of failures in a row.
    pub failures: u32,
    /// The number of reconciles in a row that did not find the cloud in sync.
    pub busy: u32,
    /// The time of the last complete observation.
    pub observed: Option<Timestamp>,
    /// The time when the cache was first as new as the API server: it contains the writes of another process.
    pub caught_up: Option<Timestamp>,
    /// The last logged reason of `Synced`, until the next observation.
    pub logged_failure: Option<&'static str>,
    /// The parts of the cloud side that the observations do not show.
    pub absences: Absences,
}

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
    /// When the object changes.
    AwaitChange,
}

/// Maximum number of quick reconciles in a row. A difference that no correction removes must not cause a hot loop.
const MAX_QUICK_RECONCILES: u32 = 10;
/// Maximum back-off after failures.
const MAX_BACKOFF: Duration = Duration::from_secs(120);

/// The time until the next reconcile, before jitter. Pure.
pub fn delay(requeue: &Requeue, memory: &Memory, poll: Duration, settings: &Settings) -> Option<Duration> {
    let before = memory.failures.saturating_sub(1);
    match requeue {
        Requeue::AwaitChange => None,
        Requeue::Poll => Some(poll),
        Requeue::PollWithin(max) => Some(poll.min(*max)),
        Requeue::Soon => {
            let over = memory.busy.saturating_sub(MAX_QUICK_RECONCILES);
            Some(doubled(settings.transition_interval, over, poll.max(settings.transition_interval)))
        }
        Requeue::Retry(class) => Some(match class {
            // A person has to act: a longer back-off.
            Class::Denied | Class::Invalid => doubled(settings.retry_interval * 6, before, MAX_BACKOFF),
            Class::Throttled { after } => {
                doubled(settings.retry_interval, before, MAX_BACKOFF).max(after.unwrap_or_default())
            }
            Class::NotFound | Class::Conflict | Class::Unavailable | Class::Ambiguous => {
                doubled(settings.retry_interval, before, MAX_BACKOFF)
            }
        }),
    }
}

/// The next reconcile while it is not proven that a part of the cloud side is gone: the proof needs dense observations. Pure.
pub fn while_proving(requeue: Requeue, settings: &Settings) -> Requeue {
    let interval = Absences::interval(settings.visibility_window);
    match requeue {
        Requeue::Poll => Requeue::PollWithin(interval),
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

impl Memory {
    /// The time from which the age of evidence counts: the last complete observation. Before the first one of this process, the
    /// observations of another process count as made just before the first reconcile.
    pub fn evidence_since(&self) -> Option<Timestamp> {
        self.observed.or(self.caught_up)
    }

    /// Whether to log a failed observation with this reason. Polls that fail for the same reason are logged once.
    pub fn is_news(&mut self, reason: &'static str) -> bool {
        self.logged_failure.replace(reason) != Some(reason)
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
        assert_eq!([1, 2, 3, 20].map(|n| seconds(unavailable, n, 0)), [5, 10, 20, 120]);
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
    fn inherited_evidence_counts_from_first_reconcile() {
        let at = |second| Timestamp::from_second(second).ok();
        let memory = Memory::default();
        assert_eq!(memory.evidence_since(), None, "before the first reconcile");
        let memory = Memory { caught_up: at(10), ..memory };
        assert_eq!(memory.evidence_since(), at(10));
        let memory = Memory { observed: at(70), ..memory };
        assert_eq!(memory.evidence_since(), at(70));
    }

    #[test]
    fn each_failure_reason_is_logged_once_per_outage() {
        let mut memory = Memory::default();
        let reasons = ["CloudUnavailable", "CloudUnavailable", "AccessDenied", "AccessDenied", "CloudUnavailable"];
        assert_eq!(reasons.map(|reason| memory.is_news(reason)), [true, false, true, false, true]);
        memory.logged_failure = None;
        assert!(memory.is_news("CloudUnavailable"));
    }

    #[test]
    fn endless_difference_slows_to_poll_interval() {
        assert_eq!([0, 5, 10, 11, 12, 40].map(|n| seconds(Requeue::Soon, 0, n)), [3, 3, 3, 6, 12, 60]);
    }
}
