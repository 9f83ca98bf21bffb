//! The controllers: what they share, how they are run, and the one place that decides when an object is looked at again.

pub mod account;
pub mod accounts;
pub mod disk_replica_group;
pub mod kind;
mod listed;
pub mod owner;
mod pipeline;
pub mod plan;
mod run;
pub mod secrets;
mod session;
pub mod standing;
pub mod telling;
mod turns;
pub mod verdict;
pub mod wording;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use kube::runtime::controller::Action;
use kube::runtime::events::Reporter;
use kube::{Client, ResourceExt};

use self::accounts::{Accounts, Variables};
use self::kind::Object;
pub use self::run::{Shutdown, run, shutdown};
use crate::api::account::AlibabaCloudAccount;
use crate::cloud::client;
use crate::cloud::endpoint::Allowed;
use crate::cloud::error::Class;
use crate::telemetry::metrics::Metrics;

/// The field manager of server-side apply.
pub const FIELD_MANAGER: &str = "disaster-recovery-operator";

/// A Secret outside the object's reach: the operator's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// How the controllers behave; the command line fills it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespaces that are watched; all, where empty.
    pub namespaces: Vec<String>,
    /// The labels of the objects that are watched; all, where absent.
    pub selector: Option<String>,
    /// How many objects of a kind are worked on at a time.
    pub workers: u16,
    /// How often the cloud is looked at where the object does not say.
    pub poll_interval: Duration,
    /// How often it is looked at while something goes on there.
    pub transition_interval: Duration,
    /// The first pause after a failure; it doubles with every further one.
    pub retry_interval: Duration,
    /// How long something may take to become visible after the call that made it.
    pub visibility_window: Duration,
    /// One endpoint of RocketMQ for every region, where given.
    pub rocketmq_endpoint: Option<String>,
    /// One endpoint of EBS for every region, where given.
    pub ebs_endpoint: Option<String>,
    /// One endpoint of STS, where given.
    pub sts_endpoint: Option<String>,
    /// The metadata service of ECS in place of its fixed address, where given.
    pub metadata_endpoint: Option<String>,
    /// What an account may name as an endpoint besides the vendor's hosts.
    pub allowed_endpoints: Allowed,
    /// The Secret with the operator's credentials; the standard chain, where absent.
    pub credentials_secret: Option<SecretName>,
    /// The variables of the standard chain.
    pub variables: Variables,
    /// The namespaces whose objects may use the operator's own identity; `*` is all.
    pub default_account_namespaces: Vec<String>,
    /// What sets this cluster apart from others; the kube-system namespace's UID, where absent.
    pub cluster_id: Option<String>,
}

impl Settings {
    /// Whether the objects of a namespace may use the operator's own identity.
    pub fn may_use_own_identity(&self, namespace: &str) -> bool {
        self.default_account_namespaces.iter().any(|allowed| allowed == "*" || allowed == namespace)
    }
}

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

/// What all passes share.
pub struct Context {
    /// Kubernetes.
    pub client: Client,
    /// Who signs calls to the cloud.
    pub accounts: Accounts,
    /// How to behave.
    pub settings: Settings,
    /// What sets this cluster apart from others.
    pub cluster_id: String,
    /// Who publishes events.
    pub reporter: Reporter,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    memory: Mutex<HashMap<String, Memory>>,
    /// By Secret: a hash of its content under a key of this process, and the version at which it was first seen.
    contents: Mutex<HashMap<String, (u64, String)>>,
    hasher: RandomState,
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object was changed since it was read; the next pass has the new version.
    #[error("the object was changed while it was worked on")]
    Conflict,
    /// The object is gone.
    #[error("the object is gone")]
    Gone,
    /// The Kubernetes API failed.
    #[error("cannot {what}: {source}")]
    Kubernetes {
        /// What was to be done.
        what: &'static str,
        /// Why it was not.
        source: Box<kube::Error>,
    },
    /// The Kubernetes API did not answer in time.
    #[error("cannot {what}: the Kubernetes API did not answer in time")]
    Slow {
        /// What was to be done.
        what: &'static str,
    },
}

/// When an object is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
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
pub fn delay(next: &Next, memory: &Memory, poll: Duration, settings: &Settings) -> Option<Duration> {
    let doubled = |base: Duration, times: u32, most: Duration| base.saturating_mul(1 << times.min(16)).min(most);
    let before = memory.failures.saturating_sub(1);
    match next {
        Next::AwaitChange => None,
        Next::Poll => Some(poll),
        Next::PollWithin(most) => Some(poll.min(*most)),
        Next::Soon => {
            let over = memory.busy.saturating_sub(QUICK_PASSES);
            Some(doubled(settings.transition_interval, over, poll.max(settings.transition_interval)))
        }
        Next::Retry(class) => Some(match class {
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

impl Context {
    /// Connects what passes need. Reads the kube-system namespace's UID where no cluster ID is set.
    pub async fn new(
        client: Client,
        cloud: client::Client,
        settings: Settings,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Error> {
        let cluster_id = match &settings.cluster_id {
            Some(id) => id.clone(),
            None => cluster_id(&client).await?,
        };
        let instance = std::env::var("POD_NAME").ok();
        let reporter = Reporter { controller: FIELD_MANAGER.into(), instance };
        let (memory, contents, hasher) = (Mutex::default(), Mutex::default(), RandomState::new());
        let accounts = Accounts::new(client.clone(), cloud, settings.clone());
        Ok(Self { client, accounts, settings, cluster_id, reporter, metrics, memory, contents, hasher })
    }

    /// Reads or changes what is remembered of an object.
    pub fn remember<R>(&self, key: &str, with: impl FnOnce(&mut Memory) -> R) -> R {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        with(memory.entry(key.to_owned()).or_default())
    }

    /// Drops what is remembered and measured of an object.
    pub fn forget(&self, kind: &str, namespace: &str, name: &str) {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(kind, namespace, name));
        self.metrics.forget(kind, namespace, name);
        if kind == AlibabaCloudAccount::KIND {
            self.accounts.forget(&(namespace.to_owned(), name.to_owned()));
        }
    }

    /// The version at which a Secret's content was first seen by this process; `version` if it is new. Only a keyed hash of
    /// the content is kept, and that in memory only.
    pub fn content_version(&self, secret: String, content: impl Hash, version: &str) -> String {
        let hash = self.hasher.hash_one(content);
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        let known = contents.entry(secret).or_insert_with(|| (hash, version.to_owned()));
        if known.0 != hash {
            *known = (hash, version.to_owned());
        }
        known.1.clone()
    }

    /// Counts the pass and turns its end into the controller's next action.
    pub fn requeue(&self, key: &str, poll: Duration, next: &Next) -> Action {
        if *next == Next::AwaitChange {
            return Action::await_change();
        }
        let memory = self.remember(key, |memory| {
            match next {
                Next::Poll | Next::PollWithin(_) | Next::AwaitChange => (memory.failures, memory.busy) = (0, 0),
                Next::Soon => (memory.failures, memory.busy) = (0, memory.busy + 1),
                Next::Retry(_) => memory.failures += 1,
            }
            memory.clone()
        });
        let Some(delay) = delay(next, &memory, poll, &self.settings) else { return Action::await_change() };
        let jittered = delay.mul_f64(rand::random_range(0.9..1.1));
        // What is old must be said to be old, however long the pause.
        let stale = memory.looked().filter(|_| matches!(next, Next::Retry(_))).map(|seen| {
            let age = Timestamp::now().duration_since(seen).unsigned_abs();
            (poll * 3).saturating_sub(age)
        });
        let most = stale.filter(|left| *left > Duration::ZERO).map(|left| left + Duration::from_millis(100));
        Action::requeue(most.map_or(jittered, |most| jittered.min(most)))
    }
}

/// What an object is remembered by. Objects of different kinds may have the same name.
fn key(kind: &str, namespace: &str, name: &str) -> String {
    format!("{kind}/{namespace}/{name}")
}

/// The first eight characters of the kube-system namespace's UID.
async fn cluster_id(client: &Client) -> Result<String, Error> {
    let what = "read the kube-system namespace for the cluster's ID (or set --cluster-id)";
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let found =
        namespaces.get("kube-system").await.map_err(|source| Error::Kubernetes { what, source: Box::new(source) })?;
    Ok(found.uid().unwrap_or_default().chars().take(8).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn seconds(next: Next, failures: u32, busy: u32) -> u64 {
        let memory = Memory { failures, busy, ..Memory::default() };
        delay(&next, &memory, Duration::from_secs(60), &settings()).unwrap_or_default().as_secs()
    }

    #[test]
    fn failures_back_off_and_those_that_need_a_person_are_slow_from_the_start() {
        let unavailable = Next::Retry(Class::Unavailable);
        assert_eq!([1, 2, 3, 20].map(|n| seconds(unavailable, n, 0)), [5, 10, 20, 120]);
        assert_eq!([1, 2, 20].map(|n| seconds(Next::Retry(Class::Denied), n, 0)), [30, 60, 120]);
        let throttled = Next::Retry(Class::Throttled { after: Some(Duration::from_secs(33)) });
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
        assert_eq!([0, 5, 10, 11, 12, 40].map(|n| seconds(Next::Soon, 0, n)), [3, 3, 3, 6, 12, 60]);
    }
}
