//! The contract of a kind: the hooks that the shared reconcile calls. Shared code does the rest: writes to Kubernetes,
//! credentials, deletion, retention, retries and the conditions that all kinds have.

use std::fmt::Debug;
use std::time::Duration;

use jiff::Timestamp;
use kube::core::NamespaceResourceScope;
use kube::core::object::HasStatus;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::absence::{Absence, Absences};
use super::access::Access;
use super::conditions::ConditionState;
use super::events::EventRecord;
use super::requeue::Intervals;
use super::steps::{Acted, Step};
use super::verdict::Verdict;
use super::{Context, Requeue};
use crate::api::{Drift, RECONCILE_ANNOTATION, StatusHead};
use crate::cloud::error::Error;
use crate::cloud::rate_limit::Priority;
use crate::telemetry::metrics::Measurements;

/// Maximum time for which a condition counts that another process made True. A process relies on no other that led for less.
const MAX_INHERITED: Duration = Duration::from_secs(60);

/// Maximum time for which the operator keeps replication stopped for a change, whatever the outcome of the change.
pub const MAX_PAUSE: Duration = Duration::from_secs(600);

/// A kind of objects that a controller watches and writes.
pub trait Object:
    kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + HasStatus<Status: Clone + Debug + Default + PartialEq + Serialize + Send + Sync>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + PartialEq
    + Send
    + Sync
    + 'static
{
    /// The kind's name in the API, metrics and logs.
    const KIND: &'static str;
    /// The finalizer that keeps an object until its deletion is complete.
    const FINALIZER: &'static str;
    /// A typical object at rest, as JSON: caches keep what distinguishes others from it.
    const TYPICAL: &'static str;

    /// Whether each object belongs to one shard. The objects of other kinds belong to all.
    const IS_SHARDED: bool = true;

    /// What this process knows of an object's cloud side between reconciles. No part of it must survive a crash.
    type Evidence: Clone + Debug + Default + Send + Sync;

    /// The name of the account that the object uses; the operator's own credentials, where absent.
    fn account(&self) -> Option<&str>;

    /// The shared part of a status, for a kind with a side in the cloud.
    fn head(_status: &Self::Status) -> Option<&StatusHead> {
        None
    }

    /// As [`Self::head`].
    fn head_mut(_status: &mut Self::Status) -> Option<&mut StatusHead> {
        None
    }
}

/// A kind of objects with a cloud side.
///
/// All hooks but `observe` are functions of their arguments, so that tables can test them.
pub trait Resource: Object + HasStatus<Status: AsRef<StatusHead> + AsMut<StatusHead>> {
    /// The kind's names and conditions.
    const DESCRIPTOR: Descriptor;

    /// The clients of the cloud's APIs, in all regions that a reconcile needs.
    type Cloud: Send + Sync;
    /// The observation that a reconcile decides on.
    type Observed: Send + Sync;
    /// A call that changes the cloud.
    type Step: Step<Cloud = Self::Cloud>;
    /// The part of a decision that only this kind's status uses.
    type Details: Clone + Debug + PartialEq + Send + Sync;
    /// A read between reconciles.
    type Task: Clone + Debug + Ord + Send + Sync;
    /// The result of a task.
    type Reading: Send;
    /// The cloud sides of one account and region, as one list shows them.
    type Inventory: Send + Sync;

    /// The fields of the spec that shared code acts on, and whether an annotation requests work.
    fn management(&self) -> Management<'_>;

    /// The APIs for one reconcile, signed with the account's credentials.
    fn cloud(&self, access: &Access, priority: Priority) -> Self::Cloud;

    /// Observes the cloud side. An error means that the reconcile cannot decide. The error of a read that the decision does not
    /// need is a part of the observation.
    fn observe(
        scope: &Scope<'_, Self>,
        ctx: &Context,
        cloud: &Self::Cloud,
    ) -> impl Future<Output = Result<Self::Observed, Error>> + Send;

    /// The state of the cloud side, by status, annotations and, if there is one, the observation.
    fn remote(scope: &Scope<'_, Self>, observed: Option<&Self::Observed>) -> RemoteState;

    /// Decides the steps of a reconcile, also for an object that is being deleted.
    fn decide(scope: &Scope<'_, Self>, observed: &Self::Observed) -> Decision<Self>;

    /// The kind's part of the status after the steps. `scope.status` holds the intents.
    fn report(scope: &Scope<'_, Self>, ran: &Ran<'_, Self>) -> Report<Self>;

    /// The events that only this kind has. `before` is the status before the intents, `after` the written one.
    fn events(before: &Scope<'_, Self>, after: &Self::Status, ran: &Ran<'_, Self>) -> Vec<EventRecord>;

    /// Exact numbers for the metrics. Without an observation the numbers of the cloud are absent, so that old ones disappear.
    /// `None` keeps the exported numbers.
    fn measurements(scope: &Scope<'_, Self>, observed: Option<&Self::Observed>) -> Option<Measurements>;

    /// Adds an observation that began at `started` to the evidence.
    fn learn(scope: &Scope<'_, Self>, evidence: &mut Self::Evidence, observed: &Self::Observed, started: Timestamp);

    /// Sets the kind's own conditions and claims in status by the evidence, without an observation. Returns the expiry of the
    /// evidence of each condition that rests on some.
    fn refresh(scope: &Scope<'_, Self>, status: &mut Self::Status) -> Vec<Expiry>;

    /// Records in status the requests that tasks have completed.
    fn settle_tasks(_scope: &Scope<'_, Self>, _status: &mut Self::Status) {}

    /// The tasks that a reconcile runs itself when it first finds the cloud side as the spec says: what the conditions lack.
    fn first_reads(_scope: &Scope<'_, Self>) -> Vec<Self::Task> {
        vec![]
    }

    /// The annotations with results of calls that must survive a crash before the next call begins.
    fn answers(_acted: &[Acted<Self::Step>]) -> Annotations {
        vec![]
    }

    /// The events of a status that was written without a reconcile.
    fn refreshed_events(_before: &Scope<'_, Self>, _after: &Self::Status) -> Vec<EventRecord> {
        vec![]
    }

    /// The reads between reconciles, and when each is due.
    fn tasks(scope: &Scope<'_, Self>) -> Vec<Scheduled<Self::Task>>;

    /// Whether a task may change the cloud.
    fn changes(_task: &Self::Task) -> bool {
        false
    }

    /// Carries out a task.
    fn read(
        task: &Self::Task,
        scope: &Scope<'_, Self>,
        ctx: &Context,
        cloud: &Self::Cloud,
    ) -> impl Future<Output = Self::Reading> + Send;

    /// Records the result of a task that began at `started`.
    fn record(
        scope: &Scope<'_, Self>,
        evidence: &mut Self::Evidence,
        task: &Self::Task,
        reading: Self::Reading,
        started: Timestamp,
    ) -> Recorded;

    /// Whether an inventory shows the object's cloud side.
    fn is_listed(scope: &Scope<'_, Self>) -> bool;

    /// Reads the inventory of one account and region.
    fn inventory(cloud: &Self::Cloud) -> impl Future<Output = Result<Self::Inventory, Error>> + Send;

    /// Compares an inventory with what the last reconcile observed.
    fn compare(scope: &Scope<'_, Self>, evidence: &mut Self::Evidence, inventory: &Self::Inventory) -> Listed;

    /// Removes refusals from status, because an annotation requests a new attempt.
    fn forget_refusals(_status: &mut Self::Status) {}
}

/// The expiry of the evidence that a condition rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The type of the condition.
    pub condition_type: &'static str,
    /// The time at which the condition becomes Unknown.
    pub at: Timestamp,
}

/// A task and when it is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled<T> {
    pub task: T,
    /// The time from which it may run.
    pub due: Timestamp,
    /// The expiry of the evidence that it renews.
    pub expires: Timestamp,
    /// Whether that evidence is valid when the task is due.
    pub renews: bool,
    /// The region that answers, where it is not that of the cloud side.
    pub region: Option<String>,
}

/// The consequence of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Whether a reconcile has to follow.
    pub wake: bool,
    /// Whether the parts of the cloud side are as the last reconcile observed them.
    pub confirmed: bool,
}

/// The comparison of an inventory with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// The cloud side is as the last reconcile observed it.
    Same,
    /// It differs, or it is not listed although the list is complete.
    Differs,
    /// The list is incomplete and does not show it.
    NotShown,
}

/// The names and conditions of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    /// The product of the cloud, such as `rocketmq`.
    pub product: &'static str,
    /// The noun for the cloud side in messages: the … is being deleted.
    pub noun: &'static str,
    /// The action of the event that reports the end of the cloud side.
    pub deletion: &'static str,
    /// The annotation with the cloud's ID, which survives a backup without status.
    pub id_annotation: &'static str,
    /// The conditions besides `Ready` that become Unknown when their evidence expires, each with its reason for that.
    pub expiring: &'static [(&'static str, &'static str)],
    /// The time for which an observation of the parts of the cloud side is evidence; three list intervals, where absent.
    pub details_lifetime: Option<Duration>,
}

/// The fields of the spec that shared code acts on.
#[derive(Clone, Copy, Debug)]
pub struct Management<'a> {
    /// Neither read nor change anything, also for a deletion.
    pub suspend: bool,
    /// Make no call that changes the cloud.
    pub observe_only: bool,
    /// Leave the cloud side as it is when the object is deleted.
    pub retain: bool,
    /// The interval between observations; the operator's own, where absent.
    pub poll_interval: Option<Duration>,
    /// The recovery point objective.
    pub objective: Duration,
    /// The region of the cloud side.
    pub region: &'a str,
    /// The name of the account; the operator's own credentials, where absent.
    pub account: Option<&'a str>,
    /// Whether an annotation requests work that the kind has not handled.
    pub work_requested: bool,
}

/// Annotations to write, by their names.
pub type Annotations = Vec<(&'static str, String)>;

/// The account and the region of an object. A job that waits in one lane delays no other lane.
pub type Lane = (String, String);

impl Management<'_> {
    /// The lane of an object in a namespace.
    pub fn lane(&self, namespace: &str) -> Lane {
        let account = self.account.map(|name| format!("{namespace}/{name}")).unwrap_or_default();
        (account, self.region.to_owned())
    }
}

/// The state of an object's cloud side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteState {
    /// The object may have created or taken over a cloud side. An ID in the annotation implies it.
    pub may_exist: bool,
    /// The operator stopped replication for a change, and has to start it again before it releases the object. An unreachable
    /// cloud delays the deletion for at most [`MAX_PAUSE`].
    pub owes_restart: bool,
    /// A part of the cloud side must be deleted under every deletion policy. The object stays while the cloud is unreachable.
    pub must_clear: bool,
    /// The description of a cloud side that the object created or took over, or may have, and that the observation did not
    /// find.
    pub not_found: Option<String>,
    /// The observation is complete: it contains every part that status reports.
    pub complete: bool,
    /// The parts of the cloud side that the object has or may have, and that the observation does not show.
    pub absent: Vec<String>,
}

/// One object during one reconcile, and its circumstances that are known without a call.
#[derive(Debug)]
pub struct Scope<'a, K: Object> {
    /// The object in its newest version.
    pub object: &'a K,
    /// Its status; an empty one, where it has none.
    pub status: &'a K::Status,
    /// The ID that distinguishes this cluster from others.
    pub cluster_id: &'a str,
    /// A random name of this reconcile, for intents and logs.
    pub nonce: &'a str,
    /// Maximum time from a call until its result is visible in lists.
    pub visibility_window: Duration,
    /// The parts of the cloud side that the observations of this process do not show.
    pub absences: &'a Absences,
    /// The intervals between reads.
    pub intervals: Intervals,
    /// The evidence of this process.
    pub evidence: &'a K::Evidence,
    /// The expiry of the evidence that the cloud side is as the last reconcile observed it. `None` where this process has none.
    pub observed_until: Option<Timestamp>,
    /// The time at which the process that led before this one last renewed its lease. `None` where none did.
    pub former_renewal: Option<Timestamp>,
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

impl<K: Object> Scope<'_, K> {
    /// What is known of a part of the cloud side that the observation does not show.
    pub fn absence(&self, part: &str) -> Absence {
        self.absences.of(part, self.visibility_window, self.now)
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

    /// Whether an annotation requests a reconcile, which also repeats refused changes.
    pub fn reconcile_requested(&self) -> bool {
        self.annotation(RECONCILE_ANNOTATION) != self.head().last_handled_reconcile_at.as_deref()
    }

    /// Whether the evidence that the cloud side is as the last reconcile observed it is valid: this process's, or inherited.
    pub fn evidence_recent(&self) -> bool {
        self.evidence_until().is_some_and(|until| self.now < until)
    }

    /// The expiry of that evidence.
    pub fn evidence_until(&self) -> Option<Timestamp> {
        self.observed_until.or_else(|| self.inherited_until())
    }

    /// The time until which True of another process counts: at most a quarter of the objective after that process last renewed its
    /// lease.
    pub fn inherited_until(&self) -> Option<Timestamp> {
        let quarter = (self.object.management().objective / 4).min(MAX_INHERITED);
        self.former_renewal?.checked_add(quarter).ok()
    }

    /// Whether only reads are allowed.
    pub fn observe_only(&self) -> bool {
        self.object.management().observe_only
    }
}

/// The decision of a reconcile, complete before its first step.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<K: Resource> {
    /// The outcome.
    pub verdict: Verdict,
    /// Calls that change the cloud, in their order.
    pub steps: Vec<K::Step>,
    /// The differences between spec and cloud.
    pub drift: Vec<Drift>,
    /// The status with the intents of the steps that a crash must not hide, if there are any. Shared code writes it before the
    /// first step, against the version of the object that the decision is about.
    pub intents: Option<Box<K::Status>>,
    /// The part that only this kind's status uses.
    pub details: K::Details,
}

impl<K: Resource> Decision<K> {
    /// Maximum number of differences in status: a plan with thousands of items to prune must not make the object too large.
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
    /// `Ready`, as far as the kind knows.
    pub ready: ConditionState,
    /// `Synced` and whether a person has to act, where only the kind can explain a refusal. It replaces the conclusion of
    /// shared code.
    pub synced: Option<(ConditionState, bool)>,
    /// The annotations that survive a backup without status. They name only a cloud side that certainly belongs to this object.
    pub annotations: Annotations,
    /// When to reconcile again.
    pub requeue: Requeue,
}
