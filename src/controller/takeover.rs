//! The operator process that serves an object, by its lease. Processes with different leases may select the same object: its shard was
//! changed, or two operators run. At most one of them changes the cloud side of an object:
//!
//! - The status names the lease of the process that serves the object. A process writes its own lease before it acts, against the
//!   version that it read.
//! - A process that finds another lease takes the object over: it writes its own lease, and then waits until calls of the other have
//!   ended. Meanwhile the status names the former lease, so that the wait survives a crash.
//! - A status of an older version names no lease. The first shard serves its object; another one takes it over.
//! - A process acts only for a short time after the proof that no other process took the object over: a write against the version that it read,
//!   or a read of that version. The client sends no later call.

use std::time::Duration;

use kube::ResourceExt;
use tokio::time;

use super::conditions::ConditionState;
use super::object::{ObjectHandle, within};
use super::proof::{HOLD, Proof};
use super::resource::Resource;
use super::{Error, Requeue};
use crate::api::StatusHead;
use crate::api::condition::synced;
use crate::cloud::fence::Fence;

/// The former lease, where the status of an older version names none.
const UNKNOWN: &str = "unknown";

/// Maximum time limit of one call to the cloud. A call that began within [`HOLD`] has ended after it.
pub const MAX_CLOUD_TIMEOUT: Duration = Duration::from_secs(30);
/// Time that a takeover waits: the calls that the former process sent within [`HOLD`] have ended by then.
pub const TAKEOVER_TIME: Duration = HOLD.saturating_add(MAX_CLOUD_TIMEOUT);

/// The operator process that serves an object.
enum Server {
    /// This one.
    This,
    /// One with another lease.
    Another(String),
    /// This one, after one with another lease, whose calls may not have ended.
    ThisAfter,
}

impl<K: Resource> ObjectHandle<'_, K> {
    fn server(&self, head: &StatusHead) -> Server {
        let Some(own) = self.ctx.lease() else { return Server::This };
        match (&head.lease, &head.former_lease) {
            (Some(lease), _) if lease != own => Server::Another(lease.clone()),
            (_, Some(_)) => Server::ThisAfter,
            (None, None)
                if head.observed_generation.is_some_and(|it| it >= 0) && !self.ctx.settings.shard.is_first() =>
            {
                Server::Another(UNKNOWN.to_owned())
            }
            (_, None) => Server::This,
        }
    }

    /// Whether this process serves the object by this status.
    pub(super) fn serves(&self, status: &K::Status) -> bool {
        matches!(self.server(status.as_ref()), Server::This)
    }

    /// Whether another process serves the object by this status.
    pub(super) fn is_of_another(&self, status: &K::Status) -> bool {
        matches!(self.server(status.as_ref()), Server::Another(_))
    }

    /// Whether the next reconcile only takes the object over, and makes no call to the cloud.
    pub(super) fn only_takes_over(&self) -> bool {
        match self.server(self.scope(&self.object).head()) {
            Server::This => false,
            Server::Another(_) => true,
            Server::ThisAfter => self.takeover_left().is_none_or(|left| !left.is_zero()),
        }
    }

    /// The rest of the wait; `None` where it did not begin.
    fn takeover_left(&self) -> Option<Duration> {
        let began = self.ctx.remember(&self.key(), |memory| memory.taking_over);
        began.map(|began| TAKEOVER_TIME.saturating_sub(began.elapsed()))
    }

    /// Takes over an object that a process with another lease served. `None`, once this process serves it.
    pub(super) async fn take_over(&mut self) -> Result<Option<Requeue>, Error> {
        let left = self.takeover_left();
        match (self.server(self.scope(&self.object).head()), left) {
            (Server::This, _) => Ok(None),
            // Two processes that select one object must not replace each other's claim again and again.
            (Server::Another(_) | Server::ThisAfter, Some(left)) if !left.is_zero() => {
                Ok(Some(Requeue::PollWithin(left)))
            }
            (Server::Another(former), _) => {
                self.claim(former).await?;
                Ok(Some(Requeue::PollWithin(TAKEOVER_TIME)))
            }
            (Server::ThisAfter, None) => {
                // Another process with this lease wrote the claim, or its answer was lost.
                self.begin_takeover();
                Ok(Some(Requeue::PollWithin(TAKEOVER_TIME)))
            }
            (Server::ThisAfter, Some(_)) => {
                let mut status = self.scope(&self.object).status.clone();
                status.as_mut().former_lease = None;
                self.assume(status);
                Ok(None)
            }
        }
    }

    /// Writes that this process serves the object. What is known of the object is the other's.
    async fn claim(&mut self, former: String) -> Result<(), Error> {
        self.ctx.forget_observations(&self.key());
        self.take_over_evidence();
        let text = format!(
            "the operator with the lease {former} served this object: nothing is read or changed until its calls have ended, {} s. If \
             this repeats, two operators select the object: exclude it from one by --namespace, --label-selector or --shard",
            TAKEOVER_TIME.as_secs()
        );
        tracing::info!(key = self.key(), former, "taking over an object");
        let mut status =
            self.scope(&self.object).unobserved(&ConditionState::unknown(synced::TAKING_OVER, text), false);
        status.as_mut().former_lease = Some(former);
        // The wait of an earlier takeover says nothing, also if the answer is lost.
        self.ctx.remember(&self.key(), |memory| memory.taking_over = None);
        self.write_status(status).await?;
        self.begin_takeover();
        Ok(())
    }

    fn begin_takeover(&self) {
        self.ctx.remember(&self.key(), |memory| memory.taking_over = Some(time::Instant::now()));
    }

    /// Writes that this process serves the object, unless its status says so.
    pub(super) async fn sign(&mut self) -> Result<(), Error> {
        let status = self.scope(&self.object).status.clone();
        match status.as_ref().lease.is_none() && self.ctx.lease().is_some() {
            true => self.write_status(status).await,
            false => Ok(()),
        }
    }

    /// Proves that this process serves the object in the version that it read. Changing calls may be sent while the fence is open.
    pub(super) async fn hold(&mut self) -> Result<Fence, Error> {
        let signed = self.scope(&self.object).head().lease.as_deref() == self.ctx.lease();
        if !signed || !self.serves(self.scope(&self.object).status) {
            return Err(Error::Conflict);
        }
        let known = self.proof.take().filter(Proof::is_recent);
        let proof = match known {
            Some(proof) => proof,
            None => self.prove().await?,
        };
        let hold = proof.hold();
        self.proof = Some(proof);
        Ok(hold)
    }

    async fn prove(&self) -> Result<Proof, Error> {
        let writing = self.writing();
        let _writing = writing.lock().await;
        let proof = Proof::begin();
        let newest = within("read the object", self.api().get_metadata(&self.object.name_any())).await?;
        match newest.resource_version().is_some_and(|newest| newest == self.version()) {
            true => Ok(proof),
            false => Err(Error::Conflict),
        }
    }
}
