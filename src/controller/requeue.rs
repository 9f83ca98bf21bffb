//! Decides when an object is reconciled again, and how soon after which class of error. The one place that decides retries.

use std::time::Duration;

use jiff::Timestamp;

use super::Settings;
use crate::cloud::error::Class;

/// What is remembered of an object between passes, in memory only: nothing that must survive a crash.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Failures in a row.
    pub failures: u32,
    /// Passes in a row that did not find the cloud in sync.
    pub busy: u32,
    /// When the cloud was last seen whole.
    pub seen: Option<Timestamp>,
    /// When the cache was first found as new as the API server: what another process did before is in it.
    pub caught_up: Option<Timestamp>,
    /// The reason of `Synced` that was last logged, until the cloud is seen again.
    pub unseen: Option<&'static str>,
}

/// When an object is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// At the next poll.
    Poll,
    /// At the next poll, or after so long where that comes first.
    PollWithin(Duration),
    /// While something goes on in the cloud.
    Soon,
    /// After a failure of this class.
    Retry(Class),
    /// When the object changes.
    AwaitChange,
}

/// Passes in a row that may follow each other quickly. A difference that every correction leaves behind must not become a
/// hot loop.
const QUICK_PASSES: u32 = 10;
/// The longest pause after failures.
const LONGEST_RETRY: Duration = Duration::from_secs(120);

/// How long to wait, before jitter. Pure: the one place that decides retries.
pub fn delay(next: &Requeue, memory: &Memory, poll: Duration, settings: &Settings) -> Option<Duration> {
    let doubled = |base: Duration, times: u32, most: Duration| base.saturating_mul(1 << times.min(16)).min(most);
    let before = memory.failures.saturating_sub(1);
    match next {
        Requeue::AwaitChange => None,
        Requeue::Poll => Some(poll),
        Requeue::PollWithin(most) => Some(poll.min(*most)),
        Requeue::Soon => {
            let over = memory.busy.saturating_sub(QUICK_PASSES);
            Some(doubled(settings.transition_interval, over, poll.max(settings.transition_interval)))
        }
        Requeue::Retry(class) => Some(match class {
            // A person has to act: slowly.
            Class::Denied | Class::Invalid => doubled(settings.retry_interval * 6, before, LONGEST_RETRY),
            Class::Throttled { after } => {
                doubled(settings.retry_interval, before, LONGEST_RETRY).max(after.unwrap_or_default())
            }
            Class::NotFound | Class::Conflict | Class::Unavailable | Class::Ambiguous => {
                doubled(settings.retry_interval, before, LONGEST_RETRY)
            }
        }),
    }
}

impl Memory {
    /// When the cloud was last seen whole. Until this process saw it, what another one said of it is taken to be from just
    /// before the first pass.
    pub fn looked(&self) -> Option<Timestamp> {
        self.seen.or(self.caught_up)
    }

    /// Whether it is news that nothing is seen for this reason: each poll may fail alike.
    pub fn news(&mut self, reason: &'static str) -> bool {
        self.unseen.replace(reason) != Some(reason)
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

    fn seconds(next: Requeue, failures: u32, busy: u32) -> u64 {
        let memory = Memory { failures, busy, ..Memory::default() };
        delay(&next, &memory, Duration::from_secs(60), &settings()).unwrap_or_default().as_secs()
    }

    #[test]
    fn failures_back_off_and_those_that_need_a_person_are_slow_from_the_start() {
        let unavailable = Requeue::Retry(Class::Unavailable);
        assert_eq!([1, 2, 3, 20].map(|n| seconds(unavailable, n, 0)), [5, 10, 20, 120]);
        assert_eq!([1, 2, 20].map(|n| seconds(Requeue::Retry(Class::Denied), n, 0)), [30, 60, 120]);
        let throttled = Requeue::Retry(Class::Throttled { after: Some(Duration::from_secs(33)) });
        assert_eq!([1, 4].map(|n| seconds(throttled, n, 0)), [33, 40]);
    }

    #[test]
    fn the_age_of_what_another_process_saw_is_counted_from_the_first_pass_over_the_object() {
        let at = |second| Timestamp::from_second(second).ok();
        let memory = Memory::default();
        assert_eq!(memory.looked(), None, "before the first pass");
        let memory = Memory { caught_up: at(10), ..memory };
        assert_eq!(memory.looked(), at(10));
        let memory = Memory { seen: at(70), ..memory };
        assert_eq!(memory.looked(), at(70));
    }

    #[test]
    fn an_outage_is_news_once_for_each_reason_and_again_after_the_cloud_was_seen() {
        let mut memory = Memory::default();
        let reasons = ["CloudUnavailable", "CloudUnavailable", "AccessDenied", "AccessDenied", "CloudUnavailable"];
        assert_eq!(reasons.map(|reason| memory.news(reason)), [true, false, true, false, true]);
        memory.unseen = None;
        assert!(memory.news("CloudUnavailable"));
    }

    #[test]
    fn a_difference_that_never_ends_is_worked_on_at_the_pace_of_polls() {
        assert_eq!([0, 5, 10, 11, 12, 40].map(|n| seconds(Requeue::Soon, 0, n)), [3, 3, 3, 6, 12, 60]);
    }
}
