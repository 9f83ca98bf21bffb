//! Leader election by a Lease, as in client-go.
//!
//! Every write names the version that this process read, so that the API server refuses one of two concurrent writes. The
//! holder renews the lease. If it cannot, it ends well before a candidate can acquire the lease, and its [`Fence`] is
//! closed by then. Candidates keep their caches warm and change nothing.

pub mod election;

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::{oneshot, watch};

use self::election::{Election, LeaseState, LeaseWrite, Timing};
use crate::cloud::fence::Fence;

/// Maximum time for one read or write of the lease.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts to release the lease. If all fail, candidates wait until the lease expires.
const MAX_RELEASE_ATTEMPTS: u32 = 3;
const RELEASE_RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// Time for which a process must have led before another one relies on what it knew. No reliance lasts longer.
pub const MIN_LEADERSHIP: SignedDuration = SignedDuration::from_secs(60);

/// The lease, and the identity and timing of this candidate.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace of the lease.
    pub namespace: String,
    /// The name of the lease.
    pub name: String,
    /// The holder identity of this process, different from that of every other process.
    pub identity: String,
    /// Lease duration, renew deadline and retry period.
    pub timing: Timing,
}

/// The lease was lost: work that this process began must not continue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the lease {namespace}/{name} could not be renewed in time{}: another process may be working by now",
    .holder.iter().map(|holder| format!(", it is {holder}'s")).collect::<String>()
)]
pub struct Lost {
    namespace: String,
    name: String,
    holder: Option<String>,
}

/// The name in status of the lease of a process without leader election.
const NO_LEASE: &str = "none";

/// Whether this process is the leader. A clone shares the state.
#[derive(Clone, Debug)]
pub struct Leadership {
    lease: Arc<str>,
    is_leader: watch::Receiver<bool>,
    fence: Fence,
    former_renewal: Arc<Mutex<Option<Timestamp>>>,
}

impl Leadership {
    /// The leadership of a process that runs without leader election. Nothing is known of the processes before it.
    pub fn without_election() -> Self {
        Self::after(None)
    }

    /// The leadership of a process without leader election that follows one whose last renewal was then.
    pub fn after(former_renewal: Option<Timestamp>) -> Self {
        let former_renewal = Arc::new(Mutex::new(former_renewal));
        Self { lease: NO_LEASE.into(), is_leader: watch::channel(true).1, fence: Fence::open(), former_renewal }
    }

    /// The same leadership by another lease.
    pub fn with_lease(self, lease: &str) -> Self {
        Self { lease: lease.into(), ..self }
    }

    /// The lease, as NAMESPACE/NAME; `none` without leader election.
    pub fn lease(&self) -> &str {
        &self.lease
    }

    /// Forgets the former leader: the times of its renewals are of a clock that was set.
    pub fn forget_former(&self) {
        *self.former_renewal.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The last renewal of the lease by another process, by that process's clock or this one's, whichever shows the earlier time.
    /// `None` where no other process held the lease for long enough to have evidence of its own.
    pub fn former_renewal(&self) -> Option<Timestamp> {
        *self.former_renewal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this process is the leader now.
    pub fn is_leader(&self) -> bool {
        *self.is_leader.borrow() && self.fence.is_open()
    }

    /// Waits until this process is the leader; forever if it never acquires the lease.
    pub async fn started(mut self) {
        // The candidate is gone: its last value stays.
        if self.is_leader.wait_for(|leading| *leading).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A candidate for the lease.
pub struct Candidate {
    api: Api<Lease>,
    settings: Settings,
    election: Election,
    fence: Fence,
    is_leader: watch::Sender<bool>,
    on_change: Box<dyn Fn(bool) + Send + Sync>,
    /// Whether the result of the last write is unknown.
    write_unconfirmed: bool,
    former_renewal: Arc<Mutex<Option<Timestamp>>>,
}

impl Candidate {
    /// A candidate with its own client. The client's requests time out after a few seconds and are not retried, see
    /// [`client_config`]. The candidate opens `fence` while it holds the lease. It calls `on_change` with true when it
    /// becomes the leader and with false when it stops.
    pub fn new(
        client: Client,
        settings: Settings,
        fence: Fence,
        on_change: impl Fn(bool) + Send + Sync + 'static,
    ) -> Self {
        let api = Api::namespaced(client, &settings.namespace);
        let election = Election::new(&settings.name, &settings.identity, settings.timing);
        Self {
            api,
            settings,
            election,
            fence,
            is_leader: watch::Sender::new(false),
            on_change: Box::new(on_change),
            write_unconfirmed: false,
            former_renewal: Arc::default(),
        }
    }

    /// The leadership of this candidate.
    pub fn leadership(&self) -> Leadership {
        let former_renewal = self.former_renewal.clone();
        let lease = format!("{}/{}", self.settings.namespace, self.settings.name).into();
        Leadership { lease, is_leader: self.is_leader.subscribe(), fence: self.fence.clone(), former_renewal }
    }

    /// Runs `work`. Once `ready` is true, acquires the lease, renews it until the work has ended and releases it. If
    /// `ready` is false, runs the work without the lease.
    ///
    /// # Errors
    /// When the lease was lost: the work was dropped at its current await point.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn run(
        self,
        work: impl Future<Output = ()>,
        ready: impl Future<Output = bool> + Send + 'static,
    ) -> Result<(), Lost> {
        let (finished, finish) = oneshot::channel::<()>();
        let finish = async move { drop(finish.await) };
        // A separate task: work that blocks its thread must not delay a renewal.
        let mut lease = tokio::spawn(async move {
            match ready.await {
                true => self.acquire_and_renew(finish).await,
                false => Ok(()),
            }
        });
        let mut work = pin!(work);
        let ended = tokio::select! {
            ended = &mut lease => Some(ended),
            () = &mut work => None,
        };
        let ended = match ended {
            // `ready` was false: the work runs to its end without the lease.
            Some(Ok(Ok(()))) => {
                work.await;
                return Ok(());
            }
            Some(ended) => ended,
            None => {
                drop(finished);
                lease.await
            }
        };
        ended.unwrap_or_else(|broken| std::panic::resume_unwind(broken.into_panic()))
    }

    /// Acquires the lease, renews it until `end` and releases it.
    ///
    /// # Errors
    /// When the lease was lost. The fence is closed by then.
    async fn acquire_and_renew(mut self, end: impl Future<Output = ()>) -> Result<(), Lost> {
        let lost = tokio::select! {
            lost = self.renew_until_lost() => Some(lost),
            () = end => None,
        };
        self.fence.close();
        let was_leader = self.is_leader.send_replace(false);
        (self.on_change)(false);
        match lost {
            Some(lost) => {
                tracing::error!(error = %lost, "the lease is lost: ending");
                Err(lost)
            }
            None => {
                if was_leader || self.write_unconfirmed {
                    self.release().await;
                }
                Ok(())
            }
        }
    }

    async fn renew_until_lost(&mut self) -> Lost {
        loop {
            // This process may have been suspended: the state is that of this moment.
            let outcome = match self.election.state(Instant::now()) {
                LeaseState::Lost => return self.lost(),
                LeaseState::Candidate => self.try_acquire_or_renew().await,
                // The holder ends at the renew deadline, even during a request.
                LeaseState::Holder { renew_deadline } => {
                    tokio::time::timeout_at(renew_deadline.into(), self.try_acquire_or_renew())
                        .await
                        .unwrap_or_else(|_| Err("no answer until the renew deadline".into()))
                }
            };
            if let Err(error) = outcome {
                let (name, leading) = (&self.settings.name, self.is_leader.borrow().to_owned());
                tracing::warn!(lease = name, leading, error, "the lease was not read or written");
            }
            let now = Instant::now();
            match self.election.state(now) {
                LeaseState::Lost => return self.lost(),
                LeaseState::Candidate => {}
                LeaseState::Holder { renew_deadline } => {
                    self.fence.open_until(renew_deadline);
                    if !self.is_leader.send_replace(true) {
                        tracing::info!(lease = self.settings.name, identity = self.settings.identity, "leading");
                        (self.on_change)(true);
                    }
                }
            }
            let delay = self.election.retry_delay(now, rand::random());
            tokio::time::sleep_until((now + delay).into()).await;
        }
    }

    fn lost(&self) -> Lost {
        let Settings { namespace, name, identity, timing: _ } = &self.settings;
        let holder = self.election.holder().filter(|holder| holder != identity);
        Lost { namespace: namespace.clone(), name: name.clone(), holder }
    }

    /// Renews the lease, or acquires it if it has expired.
    async fn try_acquire_or_renew(&mut self) -> Result<(), String> {
        let is_leader = *self.is_leader.borrow();
        // The holder wrote the newest version. It reads the lease only after the API server refused that version.
        if !is_leader {
            self.read().await?;
        }
        if self.write().await? || !is_leader {
            return Ok(());
        }
        self.read().await?;
        self.write().await?;
        Ok(())
    }

    async fn read(&mut self) -> Result<(), String> {
        let holder = self.election.holder();
        let lease =
            self.with_timeout(self.api.get_opt(&self.settings.name)).await?.map_err(|error| error.to_string())?;
        self.remember_former(lease.as_ref());
        self.election.observe(lease, Instant::now());
        let now = self.election.holder();
        if now.is_some() && holder != now && !*self.is_leader.borrow() {
            tracing::info!(lease = self.settings.name, holder = now, "waiting for the lease");
        }
        Ok(())
    }

    /// Remembers the last renewal by another process. This process's own record may be the result of a write without an answer.
    fn remember_former(&self, lease: Option<&Lease>) {
        let Some(spec) = lease.and_then(|lease| lease.spec.as_ref()) else { return };
        if spec.holder_identity.as_deref() != Some(&self.settings.identity) {
            let mut former = self.former_renewal.lock().unwrap_or_else(PoisonError::into_inner);
            *former = reliable_renewal(spec, Timestamp::now());
        }
    }

    /// Writes the lease if it is due. False if the lease differs from the observed record.
    async fn write(&mut self) -> Result<bool, String> {
        let (begun, params) = (Instant::now(), PostParams::default());
        let (name, write) = (&self.settings.name, self.election.next_write(begun, Timestamp::now()));
        let replaces = matches!(write, LeaseWrite::Replace(_));
        self.write_unconfirmed = write != LeaseWrite::Wait;
        let written = match write {
            LeaseWrite::Wait => return Ok(true),
            LeaseWrite::Create(lease) => self.with_timeout(self.api.create(&params, &lease)).await?,
            LeaseWrite::Replace(lease) => self.with_timeout(self.api.replace(name, &params, &lease)).await?,
        };
        match written {
            Ok(lease) => {
                self.write_unconfirmed = false;
                self.election.record_write(lease, begun, Instant::now());
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 || (replaces && status.code == 404) => {
                self.write_unconfirmed = false;
                Ok(false)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    async fn release(&mut self) {
        for attempt in 0..MAX_RELEASE_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(RELEASE_RETRY_INTERVAL).await;
            }
            // The API server may have executed a write that timed out.
            if self.write_unconfirmed && self.read().await.is_err() {
                continue;
            }
            let Some(lease) = self.election.released(Timestamp::now()) else { return };
            match self.with_timeout(self.api.replace(&self.settings.name, &PostParams::default(), &lease)).await {
                Ok(Ok(_)) => {
                    tracing::info!(lease = self.settings.name, "the lease is given back");
                    return;
                }
                Ok(Err(_)) | Err(_) => self.write_unconfirmed = true,
            }
        }
        tracing::warn!(lease = self.settings.name, "the lease was not given back: others wait until it ends");
    }

    async fn with_timeout<T>(&self, call: impl Future<Output = T>) -> Result<T, String> {
        let timeout = CALL_TIMEOUT.min(self.settings.timing.renew_deadline / 2);
        tokio::time::timeout(timeout, call).await.map_err(|_| format!("no answer within {timeout:?}"))
    }
}

/// The last renewal of a holder that led for long enough to have evidence of its own: one that did not may itself have relied on
/// the one before it. A time in the future is of a clock that differs.
fn reliable_renewal(spec: &LeaseSpec, now: Timestamp) -> Option<Timestamp> {
    let renewed = spec.renew_time.as_ref()?.0;
    let acquired = spec.acquire_time.as_ref()?.0;
    (renewed.duration_since(acquired) >= MIN_LEADERSHIP).then(|| renewed.min(now))
}

/// Client configuration for the lease: short timeouts and no retries, because the holder loses the lease while it waits.
pub fn client_config(mut kubernetes: kube::Config) -> kube::Config {
    kubernetes.connect_timeout = Some(CALL_TIMEOUT);
    kubernetes.read_timeout = Some(CALL_TIMEOUT);
    kubernetes.write_timeout = Some(CALL_TIMEOUT);
    kubernetes.default_retry = false;
    kubernetes
}

/// A unique identity: `name`, for people, and a random part.
pub fn identity(name: &str) -> String {
    format!("{name}_{}", uuid::Uuid::new_v4())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;

    #[test]
    fn only_leader_with_own_evidence_is_relied_on() {
        let at = |second| Timestamp::from_second(second).unwrap_or_default();
        let time = |second: Option<i64>| second.map(|second| MicroTime(at(second)));
        for (acquired, renewed, expected) in [
            (Some(0), Some(60), Some(60)),
            (Some(0), Some(59), None),
            (Some(0), Some(2_000), Some(1_000)),
            (None, Some(60), None),
            (Some(0), None, None),
        ] {
            let spec = LeaseSpec { acquire_time: time(acquired), renew_time: time(renewed), ..LeaseSpec::default() };
            assert_eq!(reliable_renewal(&spec, at(1_000)), expected.map(at), "{acquired:?} {renewed:?}");
        }
    }
}
