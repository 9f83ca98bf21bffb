//! The contract of a kind: everything that the shared reconcile asks of it. Writes to Kubernetes, credentials, deletion,
//! retention, retries and the conditions that all kinds have are shared code and not here.

use std::fmt::Debug;
use std::time::Duration;

use jiff::Timestamp;
use kube::core::NamespaceResourceScope;
use kube::core::object::HasStatus;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::access::Access;
use super::conditions::ConditionState;
use super::events::EventRecord;
use super::steps::{Acted, Step};
use super::verdict::Verdict;
use super::{Context, Requeue};
use crate::api::{Drift, RECONCILE_ANNOTATION, StatusHead};
use crate::cloud::error::Error;
use crate::cloud::rate_limit::Priority;
use crate::telemetry::metrics::Measurements;

/// Maximum time for which an object keeps something stopped for a change, whatever the outcome of the change.
pub const MAX_PAUSE: Duration = Duration::from_secs(600);

/// A kind of objects that a controller watches and writes to.
pub trait Object:
    kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + HasStatus<Status: Clone + Debug + Default + PartialEq + Serialize + Send + Sync>
    + Clone
    + Debug
    + DeserializeOwned
    + PartialEq
    + Send
    + Sync
    + 'static
{
    /// The kind's name in the API, metrics and logs.
    const KIND: &'static str;
    /// The finalizer that keeps an object until its deletion is complete.
    const FINALIZER: &'static str;
}

/// A kind of objects that have a side in the cloud.
///
/// A kind implements at most these hooks. All but `observe` are functions of their arguments, so that tables can test them.
pub trait Resource: Object + HasStatus<Status: AsRef<StatusHead> + AsMut<StatusHead>> {
    /// The kind's names and conditions.
    const DESCRIPTOR: Descriptor;

    /// The cloud's APIs that a reconcile uses, in all regions that it needs.
    type Cloud: Send + Sync;
    /// Everything that a reconcile decides on.
    type Observed: Send + Sync;
    /// A call that changes the cloud.
    type Step: Step<Cloud = Self::Cloud>;
    /// What only this kind's status needs to know of a decision.
    type Details: Clone + Debug + PartialEq + Send + Sync;

    /// The fields of the spec that shared code acts on, and whether an annotation requests work.
    fn management(&self) -> Management<'_>;

    /// The APIs for one reconcile, signed with the account's credentials.
    fn cloud(&self, access: &Access, priority: Priority) -> Self::Cloud;

    /// Reads what a reconcile decides on. An error means that nothing can be decided. A failed read that the decision can do
    /// without belongs, with its own error, into the observation.
    fn observe(
        scope: &Scope<'_, Self>,
        ctx: &Context,
        cloud: &Self::Cloud,
    ) -> impl Future<Output = Result<Self::Observed, Error>> + Send;

    /// What the object has in the cloud, by its status and annotations and, where there is one, by an observation.
    fn remote(scope: &Scope<'_, Self>, observed: Option<&Self::Observed>) -> RemoteState;

    /// Decides what a reconcile does, for objects that are being deleted too.
    fn decide(scope: &Scope<'_, Self>, observed: &Self::Observed) -> Decision<Self>;

    /// The kind's part of the status after the steps. `scope.status` holds the intents.
    fn report(scope: &Scope<'_, Self>, ran: &Ran<'_, Self>) -> Report<Self>;

    /// The events that only this kind has. `before` is from before the intents, `after` the status that was written.
    fn events(before: &Scope<'_, Self>, after: &Self::Status, ran: &Ran<'_, Self>) -> Vec<EventRecord>;

    /// Exact numbers for the metrics. Without an observation, numbers of the cloud are absent, so that old ones disappear;
    /// `None` leaves the exported ones as they are.
    fn measurements(scope: &Scope<'_, Self>, observed: Option<&Self::Observed>) -> Option<Measurements>;

    /// Forgets refusals that status remembers, because an annotation requests a new attempt.
    fn forget_refusals(_status: &mut Self::Status) {}
}

/// The names and conditions of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    /// The product of the cloud, such as `rocketmq`.
    pub product: &'static str,
    /// The cloud side in sentences: the … is being deleted.
    pub noun: &'static str,
    /// The action of the event that reports the end of the cloud side.
    pub deletion: &'static str,
    /// The annotation with the cloud's ID, which survives a backup without status.
    pub id_annotation: &'static str,
    /// The conditions besides `Ready` that become Unknown when their evidence expires, each with its reason for that.
    pub expiring: &'static [(&'static str, &'static str)],
}

/// The fields of the spec that shared code acts on.
#[derive(Clone, Copy, Debug)]
pub struct Management<'a> {
    /// Neither read nor change anything, deletion included.
    pub suspend: bool,
    /// Make no call that changes the cloud.
    pub observe_only: bool,
    /// Leave the cloud side as it is when the object is deleted.
    pub retain: bool,
    /// The interval between observations; the operator's own where absent.
    pub poll_interval: Option<Duration>,
    /// The name of the account; the operator's own credentials where absent.
    pub account: Option<&'a str>,
    /// Whether an annotation requests work that the kind has not done yet.
    pub work_requested: bool,
}

/// What an object has in the cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteState {
    /// The object may have created or taken over something. An ID in the annotation always means that.
    pub may_exist: bool,
    /// Something is stopped for the object's sake and has to run again before the object goes. An unreachable cloud delays the
    /// deletion for at most [`MAX_PAUSE`].
    pub owes_restart: bool,
    /// Something exists that must not stay behind, whatever the deletion policy. The object stays while the cloud is
    /// unreachable.
    pub must_clear: bool,
    /// What the object created or took over, or may have, and the observation did not find.
    pub not_found: Option<String>,
    /// The observation is complete: everything that status reports was read.
    pub complete: bool,
}

/// One object during one reconcile, and everything that is known without a call.
#[derive(Debug)]
pub struct Scope<'a, K: Object> {
    /// The object in its newest version.
    pub object: &'a K,
    /// Its status; an empty one where it has none.
    pub status: &'a K::Status,
    /// The ID that distinguishes this cluster from others.
    pub cluster_id: &'a str,
    /// A random name of this reconcile, for intents and logs.
    pub nonce: &'a str,
    /// Maximum time from a call until its result is visible in lists.
    pub visibility_window: Duration,
    /// The interval between observations.
    pub poll_interval: Duration,
    /// Whether the last complete observation, of this reconcile or an earlier one, or else this process's first reconcile, is
    /// younger than three poll intervals.
    pub evidence_recent: bool,
    /// The time.
    pub now: Timestamp,
}

impl<K: Object> Copy for Scope<'_, K> {}

impl<K: Object> Clone for Scope<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Object> Scope<'_, K> {
    /// The object's namespace.
    pub fn namespace(&self) -> &str {
        self.object.meta().namespace.as_deref().unwrap_or_default()
    }

    /// The object's name.
    pub fn name(&self) -> &str {
        self.object.meta().name.as_deref().unwrap_or_default()
    }

    /// The generation of the spec.
    pub fn generation(&self) -> Option<i64> {
        self.object.meta().generation
    }

    /// The start of the object's deletion.
    pub fn deleting_since(&self) -> Option<Timestamp> {
        self.object.meta().deletion_timestamp.as_ref().map(|it| it.0)
    }

    /// Whether the object is being deleted.
    pub fn deleting(&self) -> bool {
        self.deleting_since().is_some()
    }

    /// The value of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.object.meta().annotations.as_ref()?.get(name).map(String::as_str)
    }
}

impl<K: Resource> Scope<'_, K> {
    /// The shared part of status.
    pub fn head(&self) -> &StatusHead {
        self.status.as_ref()
    }

    /// Whether the cloud matched this generation of the spec before.
    pub fn synced_before(&self) -> bool {
        self.head().synced_generation.is_some() && self.head().synced_generation == self.generation()
    }

    /// Whether an annotation requests a reconcile, which also tries again what was given up.
    pub fn reconcile_requested(&self) -> bool {
        self.annotation(RECONCILE_ANNOTATION) != self.head().last_handled_reconcile_at.as_deref()
    }

    /// Whether only reads are allowed.
    pub fn observe_only(&self) -> bool {
        self.object.management().observe_only
    }
}

/// Everything that a reconcile does, decided before it does any of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<K: Resource> {
    /// The outcome.
    pub verdict: Verdict,
    /// Calls that change the cloud, in their order.
    pub steps: Vec<K::Step>,
    /// The differences between spec and cloud.
    pub drift: Vec<Drift>,
    /// The status with the intents of the steps whose loss must not go unnoticed, where there are any. Shared code writes it
    /// before the first step, against the version that the decision is about.
    pub intents: Option<Box<K::Status>>,
    /// What only this kind's status needs to know.
    pub details: K::Details,
}

impl<K: Resource> Decision<K> {
    /// Maximum number of differences in status: thousands of items to prune must not make the object too large.
    pub const MAX_DRIFT: usize = 50;

    /// The drift as status shows it.
    pub fn shown_drift(&self) -> Vec<Drift> {
        self.drift.iter().take(Self::MAX_DRIFT).cloned().collect()
    }
}

/// A reconcile that observed, decided and acted.
pub struct Ran<'a, K: Resource> {
    /// The observation.
    pub observed: &'a K::Observed,
    /// The decision.
    pub decision: &'a Decision<K>,
    /// The steps and their outcomes.
    pub acted: &'a [Acted<K::Step>],
}

impl<K: Resource> Copy for Ran<'_, K> {}

impl<K: Resource> Clone for Ran<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

/// What a kind reports after a reconcile that acted. Shared code adds `Synced`, `Reconciling`, `Stalled` and the rest of the
/// [`StatusHead`].
pub struct Report<K: Resource> {
    /// The status with the kind's own fields and conditions, and the drift.
    pub status: K::Status,
    /// `Ready`, as far as the kind can tell.
    pub ready: ConditionState,
    /// `Synced` in place of what shared code concludes, where only the kind can explain a refusal, and whether a person has to
    /// act.
    pub synced: Option<(ConditionState, bool)>,
    /// Why a part of the observation failed that the decision could do without.
    pub unread: Option<Error>,
    /// The annotations that keep what a backup without status would lose, for what certainly belongs to this object.
    pub annotations: Vec<(&'static str, String)>,
    /// When to reconcile again.
    pub requeue: Requeue,
}
