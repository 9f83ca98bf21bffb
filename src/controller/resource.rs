//! What sets a kind apart from the others: everything that the pipeline asks of it. The pipeline itself, every write to
//! Kubernetes and the words that kinds have in common are not here, since they are the same for all.

use std::fmt::Debug;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::core::NamespaceResourceScope;
use kube::core::object::HasStatus;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::access::Access;
use super::decision::Verdict;
use super::{Context, Requeue};
use crate::cloud::error::Error;
use crate::cloud::rate_limit::Priority;
use crate::controller::conditions::ConditionState;
use crate::telemetry::metrics::Metrics;

/// How long something may be stopped for a change, whatever becomes of it.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// A kind of objects that a controller watches and writes to.
pub trait Object:
    kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + HasStatus<Status: Clone + Default + PartialEq + Serialize + Send + Sync>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// The kind's name in metrics, in logs, and in what is remembered.
    const KIND: &'static str;
    /// What keeps an object until it may go.
    const FINALIZER: &'static str;
}

/// A kind of objects that the pipeline keeps true in the cloud.
///
/// Hooks that are not async are functions of their arguments: they ask nobody, so that tables can test them.
pub trait Resource: Object {
    /// The product of the cloud that its objects are of.
    const PRODUCT: &'static str;
    /// What the cloud side of an object is called in sentences: the … was kept.
    const NOUN: &'static str;
    /// The action of the event that tells of the cloud side's end, as one word.
    const DELETION: &'static str;
    /// The annotation that keeps the cloud's ID where a backup without status keeps it.
    const ID_ANNOTATION: &'static str;

    /// The cloud's APIs that a pass uses, in all regions that it needs.
    type Cloud: Send + Sync;
    /// Everything that a pass decides on.
    type Seen: Send + Sync;
    /// What a pass does, and what that comes to.
    type Decision: Send + Sync;
    /// What was done, and what became of it.
    type Acted: Send + Sync;

    /// Whether no work is to be done, reading and deletion included.
    fn suspended(&self) -> bool;

    /// Whether no call may be made that changes the cloud.
    fn observing(&self) -> bool;

    /// Whether the deletion of the object leaves the cloud side as it is.
    fn retained(&self) -> bool;

    /// How often the cloud is looked at; the operator's own interval, where absent.
    fn poll_interval(&self) -> Option<Duration>;

    /// The name of the account whose credentials are used; the operator's own, where absent.
    fn account(&self) -> Option<&str>;

    /// The conditions of a status.
    fn conditions(status: &Self::Status) -> &[Condition];

    /// Whether the pass is a mere poll: nothing is asked for that was not reached before. A deletion never is, which need not
    /// be looked at here.
    fn settled(it: &Scope<'_, Self>) -> bool;

    /// Whether something may exist in the cloud that this object made or took over. An ID in the annotation always says so,
    /// which need not be looked at here.
    fn ever_made(it: &Scope<'_, Self>) -> bool;

    /// Whether something was stopped for this object's sake that is to run again before the object goes. It is waited for no
    /// longer than [`LONGEST_PAUSE`] where the cloud cannot be seen.
    fn owes(_it: &Scope<'_, Self>) -> bool {
        false
    }

    /// Whether something of this object exists that must not be left behind, whatever its deletion leaves: then an object is
    /// not let go while the cloud cannot be seen.
    fn holds(_it: &Scope<'_, Self>) -> bool {
        false
    }

    /// The APIs that a pass uses, for whom the account's access signs.
    fn cloud(&self, access: &Access, priority: Priority) -> Self::Cloud;

    /// Reads what a pass decides on. An error means that nothing can be decided; what the pass can do without belongs, with
    /// its own error, into what was seen.
    fn observe(
        it: &Scope<'_, Self>,
        ctx: &Context,
        cloud: &Self::Cloud,
    ) -> impl Future<Output = Result<Self::Seen, Error>> + Send;

    /// Whether everything was seen that status tells of, so that what it says is fresh.
    fn whole(_seen: &Self::Seen) -> bool {
        true
    }

    /// What this object made or took over, or may have made, and what was not found now.
    fn lost(it: &Scope<'_, Self>, seen: &Self::Seen) -> Option<String>;

    /// Where status keeps who signed when the cloud was last seen.
    fn identity(status: &mut Self::Status) -> &mut Option<String>;

    /// Decides what the pass does, for objects that are being deleted too.
    fn decide(it: &Scope<'_, Self>, seen: &Self::Seen) -> Self::Decision;

    /// What a decision comes to. [`Verdict::Released`] lets an object go that is being deleted: then nothing of the decision is
    /// carried out, and the finalizer is removed. As long as something is to be cleared first, it is another one.
    fn verdict(decision: &Self::Decision) -> &Verdict;

    /// The status with the intents of calls whose loss must not go unnoticed, if there are any. It is written before
    /// [`act`](Self::act), against the version that the pass is about: of two passes, one gets through. `nonce` is a random
    /// name of this attempt, for the logs.
    fn intents(_it: &Scope<'_, Self>, _decision: &Self::Decision, _nonce: &str) -> Option<Self::Status> {
        None
    }

    /// Carries the decision out.
    fn act(cloud: &Self::Cloud, decision: &Self::Decision) -> impl Future<Output = Self::Acted> + Send;

    /// The first failure among what was done.
    fn first_failure(acted: &Self::Acted) -> Option<&Error>;

    /// The annotations that keep what a backup without status would lose, of what is certainly this object's: its ID first.
    fn claim(
        it: &Scope<'_, Self>,
        seen: &Self::Seen,
        decision: &Self::Decision,
        acted: &Self::Acted,
    ) -> Vec<(&'static str, String)>;

    /// The status after the pass. `it.status` holds the intents of the pass.
    fn report(it: &Scope<'_, Self>, report: &Report<'_, Self>) -> Self::Status;

    /// What is told in events of a pass that ran: `before` is from before the intents, `after` the status that was written.
    fn events(
        before: &Scope<'_, Self>,
        after: &Self::Status,
        seen: &Self::Seen,
        decision: &Self::Decision,
        acted: &Self::Acted,
    ) -> Vec<EventRecord>;

    /// Exports exact numbers; with nothing seen, takes back those that were exported, since what is old must not look like
    /// what is.
    fn measure(_it: &Scope<'_, Self>, _seen: Option<&Self::Seen>, _metrics: &Metrics) {}

    /// When to look again after a pass that ran; `before` is from before the intents.
    fn next(before: &Scope<'_, Self>, seen: &Self::Seen, decision: &Self::Decision, acted: &Self::Acted) -> Requeue;
}

/// The object of a pass and what is known of it without asking anybody, at one moment.
#[derive(Clone, Debug)]
pub struct Scope<'a, K: Resource> {
    /// The object in its newest version.
    pub object: K,
    /// Its status; an empty one, where it has none.
    pub status: K::Status,
    /// What sets this cluster apart from others.
    pub cluster_id: &'a str,
    /// How long something may take to become visible after the call that made it.
    pub visibility_window: Duration,
    /// How often the cloud is looked at.
    pub poll_interval: Duration,
    /// Whether the last observation that was whole, of this pass or before, or else this process's first pass, is younger than
    /// three polls.
    pub fresh: bool,
    /// The time.
    pub now: Timestamp,
}

impl<K: Resource> Scope<'_, K> {
    /// The object's namespace.
    pub fn namespace(&self) -> String {
        self.object.namespace().unwrap_or_default()
    }

    /// The object's name.
    pub fn name(&self) -> String {
        self.object.name_any()
    }

    /// The generation of the spec.
    pub fn generation(&self) -> Option<i64> {
        self.object.meta().generation
    }

    /// When the deletion of the object began.
    pub fn deleting_since(&self) -> Option<Timestamp> {
        self.object.meta().deletion_timestamp.as_ref().map(|it| it.0)
    }

    /// Whether the object is being deleted.
    pub fn deleting(&self) -> bool {
        self.deleting_since().is_some()
    }

    /// The value of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.object.annotations().get(name).map(String::as_str)
    }
}

/// What a pass came to.
pub enum Report<'a, K: Resource> {
    /// It observed, decided and acted.
    Ran {
        /// What it saw.
        seen: &'a K::Seen,
        /// What it decided.
        decision: &'a K::Decision,
        /// What it did.
        acted: &'a K::Acted,
    },
    /// It could not observe.
    Failed {
        /// What `Synced` says of it.
        synced: &'a ConditionState,
        /// Whether a person has to act.
        stalled: bool,
    },
    /// It was not to do anything.
    Suspended,
}

/// How an object that is being deleted may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// Nothing of it is left in the cloud.
    Gone,
    /// Something is left in the cloud: what, and why.
    Kept(String),
}

/// An event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// Whether it is a warning.
    pub warning: bool,
    /// The reason, as one word.
    pub reason: &'static str,
    /// What was done, as one word.
    pub action: &'static str,
    /// The text for people.
    pub note: String,
}

impl EventRecord {
    /// An event that asks nothing of anybody.
    pub fn normal(reason: &'static str, action: &'static str, note: String) -> Self {
        Self { warning: false, reason, action, note }
    }

    /// An event that a person should look into.
    pub fn warning(reason: &'static str, action: &'static str, note: String) -> Self {
        Self { warning: true, reason, action, note }
    }
}
