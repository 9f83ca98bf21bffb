//! The controllers: what they share, how they are run, and the one place that decides when an object is looked at again.

pub mod access;
pub mod account;
pub mod conditions;
pub mod disk_replica_group;
pub mod events;
mod object;
pub mod ownership;
pub mod plan;
mod reconcile;
pub mod requeue;
pub mod resource;
mod runtime;
pub mod secrets;
pub mod status;
pub mod steps;
pub mod verdict;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use kube::runtime::controller::Action;
use kube::runtime::events::Reporter;
use kube::{Client, ResourceExt};

use self::access::{Accounts, Variables};
pub use self::reconcile::reconcile;
pub use self::requeue::Requeue;
use self::requeue::{Memory, delay};
use self::resource::Object;
pub use self::runtime::concurrency::PollLimit;
pub use self::runtime::{Shutdown, run, shutdown};
use crate::api::account::AlibabaCloudAccount;
use crate::cloud::client;
use crate::cloud::clock::Clock;
use crate::cloud::endpoint::Allowed;
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
    /// The clock of reconciles, which is that of the cloud client.
    pub clock: Clock,
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
        let clock = cloud.clock().clone();
        let accounts = Accounts::new(client.clone(), cloud, settings.clone());
        Ok(Self { client, accounts, settings, cluster_id, reporter, metrics, clock, memory, contents, hasher })
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
    pub fn requeue(&self, key: &str, poll: Duration, next: &Requeue) -> Action {
        if *next == Requeue::AwaitChange {
            return Action::await_change();
        }
        let memory = self.remember(key, |memory| {
            match next {
                Requeue::Poll | Requeue::PollWithin(_) | Requeue::AwaitChange => {
                    (memory.failures, memory.busy) = (0, 0);
                }
                Requeue::Soon => (memory.failures, memory.busy) = (0, memory.busy + 1),
                Requeue::Retry(_) => memory.failures += 1,
            }
            memory.clone()
        });
        let Some(delay) = delay(next, &memory, poll, &self.settings) else { return Action::await_change() };
        let jittered = delay.mul_f64(rand::random_range(0.9..1.1));
        // What is old must be said to be old, however long the pause.
        let stale = memory.evidence_since().filter(|_| matches!(next, Requeue::Retry(_))).map(|seen| {
            let age = self.clock.now().duration_since(seen).unsigned_abs();
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
