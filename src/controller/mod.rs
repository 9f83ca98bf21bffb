//! The controllers: their shared context and settings, and the time of the next reconcile of an object.

pub mod absence;
pub mod access;
pub mod account;
pub mod cached;
pub mod conditions;
mod decode;
pub mod disk_replica_group;
pub mod events;
pub mod evidence;
mod first_reads;
pub mod inventory;
pub mod memory;
pub mod names;
mod object;
pub mod ownership;
pub mod plan;
pub mod proof;
mod reconcile;
mod refresh;
mod release;
pub mod requeue;
pub mod resource;
mod runtime;
pub mod secrets;
pub mod selector;
pub mod shard;
pub mod status;
pub mod steps;
pub mod takeover;
mod unobserved;
pub mod verdict;

use std::any::Any;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, Shared};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use kube::runtime::controller::Action;
use kube::runtime::events::Reporter;
use kube::{Client, ResourceExt};

use self::absence::Absences;
use self::access::{Accounts, Variables};
use self::memory::Memory;
pub use self::reconcile::reconcile;
pub use self::requeue::Requeue;
use self::requeue::delay;
use self::resource::Object;
pub use self::runtime::{run, shutdown};
use self::shard::Shard;
use crate::api::account::AlibabaCloudAccount;
use crate::cloud::client;
use crate::cloud::clock::Clock;
use crate::cloud::endpoint::Allowed;
use crate::leadership::Leadership;
use crate::telemetry::metrics::Metrics;

/// A signal that every controller waits for.
pub type Shutdown = Shared<BoxFuture<'static, ()>>;

/// The field manager of every write.
pub const FIELD_MANAGER: &str = "disaster-recovery-operator";

/// The operator's own Secret, which no object can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretName {
    pub namespace: String,
    pub name: String,
}

/// The settings of the command line.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespaces that are watched; all, where empty.
    pub namespaces: Vec<String>,
    /// The labels of the objects that are watched; all, where absent.
    pub selector: Option<String>,
    /// The shard of this process.
    pub shard: Shard,
    /// Maximum number of concurrent reconciles of a kind.
    pub workers: u16,
    /// Interval between observations of an object that sets none.
    pub poll_interval: Duration,
    /// Interval between observations while the cloud changes.
    pub transition_interval: Duration,
    /// Back-off after the first failure. It doubles with each further one.
    pub retry_interval: Duration,
    /// Maximum time from a call until its result is visible in lists.
    pub visibility_window: Duration,
    /// Rounds of the hash of a Secret's content in status.
    pub content_hash_rounds: u32,
    /// One endpoint of RocketMQ for every region; the public ones, where absent.
    pub rocketmq_endpoint: Option<String>,
    /// One endpoint of EBS for every region; the public ones, where absent.
    pub ebs_endpoint: Option<String>,
    /// The endpoint of STS; the public one, where absent.
    pub sts_endpoint: Option<String>,
    /// The metadata service of ECS; its fixed address, where absent.
    pub metadata_endpoint: Option<String>,
    /// The endpoints that an account may name besides the vendor's hosts.
    pub allowed_endpoints: Allowed,
    /// The Secret with the operator's credentials; the standard chain, where absent.
    pub credentials_secret: Option<SecretName>,
    /// The variables of the standard chain.
    pub variables: Variables,
    /// The namespaces whose objects may use the operator's own identity; `*` is all.
    pub default_account_namespaces: Vec<String>,
    /// The ID that distinguishes this cluster from others; from the kube-system namespace's UID, where absent.
    pub cluster_id: Option<String>,
}

impl Settings {
    /// The labels of the objects of a kind that are watched. All shards watch the accounts.
    fn selector_of<K: Object>(&self) -> Option<String> {
        match K::IS_SHARDED {
            true => self.shard.selector(self.selector.as_deref()),
            false => self.selector.clone(),
        }
    }

    /// Whether the objects of a namespace may use the operator's own identity.
    pub fn may_use_own_identity(&self, namespace: &str) -> bool {
        self.default_account_namespaces.iter().any(|allowed| allowed == "*" || allowed == namespace)
    }
}

/// The context that all reconciles share.
pub struct Context {
    /// The client of the Kubernetes API.
    pub client: Client,
    /// The accounts, whose credentials sign calls to the cloud.
    pub accounts: Accounts,
    pub settings: Settings,
    /// The ID that distinguishes this cluster from others.
    pub cluster_id: String,
    /// The reporter of events.
    pub reporter: Reporter,
    pub metrics: Arc<Metrics>,
    /// The clock of reconciles, which is that of the cloud client.
    pub clock: Clock,
    /// What this process keeps of each object. The entries are small, since a map has many without one.
    kept: Mutex<HashMap<Box<str>, Box<Kept>>>,
    /// The leadership of this process.
    leadership: OnceLock<Leadership>,
    /// By Secret: a hash of its content under a key of this process, and what is known of the content.
    secret_contents: Mutex<HashMap<String, (u64, KnownContent)>>,
    hasher: RandomState,
}

/// What this process keeps of an object between reconciles.
#[derive(Default)]
struct Kept {
    memory: Memory,
    /// The evidence of the object's kind.
    evidence: Option<Arc<dyn Any + Send + Sync>>,
}

/// What this process knows of a Secret's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownContent {
    /// The first resourceVersion with the content.
    pub version: String,
    /// Slow hashes of the content, each with its own salt. The first one is this process's.
    pub hashes: Vec<String>,
    /// Slow hashes of other content.
    pub others: Vec<String>,
}

/// The reason why a reconcile ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object was changed since it was read. The next reconcile has the new version.
    #[error("the object was changed while it was worked on")]
    Conflict,
    /// The object is gone.
    #[error("the object is gone")]
    Gone,
    /// The Kubernetes API failed.
    #[error("cannot {what}: {source}")]
    Kubernetes {
        /// The operation that failed.
        what: &'static str,
        /// The cause.
        source: Box<kube::Error>,
    },
    /// The API server dropped a field of status that this version needs.
    #[error(
        "the API server drops status.lease of a {kind}: its CRD is of an older version, apply the CRDs of this version"
    )]
    OldDefinition {
        /// The kind.
        kind: &'static str,
    },
    /// The reconcile panicked: a defect of this program.
    #[error("the operator has a defect: a reconcile of the object panicked")]
    Panicked,
    /// The Kubernetes API did not answer in time.
    #[error("cannot {what}: the Kubernetes API did not answer in time")]
    Slow {
        /// The operation that failed.
        what: &'static str,
    },
}

impl Context {
    /// Creates the context. Reads the kube-system namespace's UID where no cluster ID is set.
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
        let (kept, leadership) = (Mutex::default(), OnceLock::new());
        let (secret_contents, hasher) = (Mutex::default(), RandomState::new());
        let clock = cloud.clock().clone();
        let accounts = Accounts::new(client.clone(), cloud, settings.clone());
        Ok(Self {
            client,
            accounts,
            settings,
            cluster_id,
            reporter,
            metrics,
            clock,
            kept,
            leadership,
            secret_contents,
            hasher,
        })
    }

    /// Reads or changes the memory of an object.
    pub fn remember<R>(&self, key: &str, with: impl FnOnce(&mut Memory) -> R) -> R {
        self.with_kept(key, |kept| with(&mut kept.memory))
    }

    fn with_kept<R>(&self, key: &str, with: impl FnOnce(&mut Kept) -> R) -> R {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(key) {
            Some(kept) => with(kept),
            None => with(all.entry(key.into()).or_default()),
        }
    }

    /// Changes the memory of an object, unless the object is forgotten.
    fn recall<R>(&self, key: &str, with: impl FnOnce(&mut Memory) -> R) -> Option<R> {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_mut(key).map(|kept| with(&mut kept.memory))
    }

    /// What this process remembers of an object.
    pub fn memory(&self, kind: &str, namespace: &str, name: &str) -> Memory {
        self.remember(&key(kind, namespace, name), |memory| memory.clone())
    }

    /// The evidence of an object.
    pub fn evidence<K: Object>(&self, key: &str) -> Arc<K::Evidence> {
        let all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(key).and_then(|it| it.evidence.clone()?.downcast().ok()).unwrap_or_default()
    }

    /// Changes the evidence of an object by a function.
    pub fn update_evidence<K: Object, R>(&self, key: &str, with: impl FnOnce(&mut K::Evidence) -> R) -> R {
        self.with_kept(key, |kept| {
            let known = kept.evidence.take().and_then(|it| it.downcast().ok());
            let mut evidence: Arc<K::Evidence> = known.unwrap_or_default();
            let result = with(Arc::make_mut(&mut evidence));
            kept.evidence = Some(evidence);
            result
        })
    }

    /// Sets the leadership of this process, once, before it reconciles.
    pub fn follow(&self, leadership: Leadership) {
        self.leadership.set(leadership).unwrap_or_default();
    }

    /// The lease of this process, as status names it.
    fn lease(&self) -> Option<&str> {
        Some(self.leadership.get()?.lease())
    }

    /// Relies on nothing that the process before this one knew.
    fn forget_former(&self) {
        self.leadership.get().into_iter().for_each(Leadership::forget_former);
    }

    /// The time at which the process that led before this one last renewed its lease.
    fn former_renewal(&self) -> Option<Timestamp> {
        self.leadership.get()?.former_renewal()
    }

    /// Forgets what this process observed of an object.
    fn forget_observations(&self, key: &str) {
        self.with_kept(key, |kept| {
            kept.evidence = None;
            let memory = &mut kept.memory;
            (memory.observed, memory.listed_until, memory.detailed_until) = Default::default();
            (memory.unlisted, memory.inventory, memory.absences) = (None, None, Absences::default());
        });
    }

    /// Forgets what the observations of the objects of a kind did not show.
    fn forget_absences(&self, kind: &str) {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let of_kind = |key: &str| key.strip_prefix(kind).is_some_and(|rest| rest.starts_with('/'));
        let kept = all.iter_mut().filter(|(key, _)| of_kind(key)).map(|(_, kept)| kept);
        kept.for_each(|kept| kept.memory.absences = Absences::default());
    }

    /// Drops the memory, the evidence and the metrics of an object.
    pub fn forget(&self, kind: &'static str, namespace: &str, name: &str) {
        let key = key(kind, namespace, name);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&*key);
        self.metrics.forget(kind, namespace, name);
        if kind == AlibabaCloudAccount::KIND {
            self.accounts.forget(&(namespace.to_owned(), name.to_owned()));
        }
    }

    /// What this process knows of the present content of a Secret. The operator keeps only keyed and slow hashes, in memory.
    pub fn known_content(&self, secret: &str, content: impl Hash, version: &str) -> KnownContent {
        let hash = self.hasher.hash_one(content);
        let mut contents = self.secret_contents.lock().unwrap_or_else(PoisonError::into_inner);
        match contents.get(secret) {
            Some((same, known)) if *same == hash => known.clone(),
            Some(_) | None => {
                let known = KnownContent { version: version.to_owned(), ..KnownContent::default() };
                contents.insert(secret.to_owned(), (hash, known.clone()));
                known
            }
        }
    }

    /// Remembers more of the present content of a Secret.
    pub fn remember_content(&self, secret: &str, content: impl Hash, known: &KnownContent) {
        let hash = self.hasher.hash_one(content);
        let mut contents = self.secret_contents.lock().unwrap_or_else(PoisonError::into_inner);
        contents.insert(secret.to_owned(), (hash, known.clone()));
    }

    /// The hash of a content under a key of this process.
    pub fn hash(&self, content: impl Hash) -> u64 {
        self.hasher.hash_one(content)
    }

    /// Counts the reconcile, and turns its result into the controller's next action.
    pub fn requeue(&self, key: &str, poll: Duration, requeue: &Requeue) -> Action {
        if *requeue == Requeue::AwaitChange {
            return Action::await_change();
        }
        let memory = self.remember(key, |memory| {
            match requeue {
                Requeue::Poll | Requeue::PollWithin(_) | Requeue::Observed | Requeue::AwaitChange => {
                    (memory.failures, memory.busy) = (0, 0);
                }
                Requeue::Soon => (memory.failures, memory.busy) = (0, memory.busy + 1),
                Requeue::Retry(_) => memory.failures += 1,
            }
            memory.clone()
        });
        let Some(delay) = delay(requeue, &memory, poll, &self.settings) else { return Action::await_change() };
        Action::requeue(delay.mul_f64(rand::random_range(0.9..1.1)))
    }
}

/// The key under which an object is remembered. Objects of different kinds may have the same name.
fn key(kind: &str, namespace: &str, name: &str) -> String {
    format!("{kind}/{namespace}/{name}")
}

/// The first eight characters of the kube-system namespace's UID.
async fn cluster_id(client: &Client) -> Result<String, Error> {
    let what = "read the kube-system namespace for the cluster's ID (or set --cluster-id)";
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let found = namespaces.get("kube-system").await;
    let namespace = found.map_err(|source| Error::Kubernetes { what, source: Box::new(source) })?;
    Ok(namespace.uid().unwrap_or_default().chars().take(8).collect())
}
