//! Which of several processes works: leader election by a Lease, as the components of Kubernetes do it.
//!
//! Every write is made against the version that was read, so that of two who write one is refused. The holder renews the lease;
//! if it cannot, it ends itself well before others may take the lease over, and its [`Fence`] is closed by then. The others keep
//! their caches warm and do nothing.

pub mod election;

use std::pin::pin;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::{oneshot, watch};

use self::election::{Election, Move, Standing, Timing};
use crate::cloud::fence::Fence;

/// No call about the lease takes longer.
const CALL_DEADLINE: Duration = Duration::from_secs(5);
/// How often the lease is given back where that fails: others only have to wait longer.
const RELEASE_ATTEMPTS: u32 = 3;
const RELEASE_PAUSE: Duration = Duration::from_millis(200);

/// Which lease, as whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace of the lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What no other process has: what it is in the lease.
    pub identity: String,
    /// How long the lease lasts and how it is kept.
    pub timing: Timing,
}

/// The lease was lost: what this process began must not go on.
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

/// Whether this process is the one that works. A clone is a handle to the same.
#[derive(Clone, Debug)]
pub struct Leading(watch::Receiver<bool>, Fence);

impl Leading {
    /// There is nobody else.
    pub fn always() -> Self {
        Self(watch::channel(true).1, Fence::open())
    }

    /// Whether it is now.
    pub fn now(&self) -> bool {
        *self.0.borrow() && self.1.is_open()
    }

    /// Ends once it is; never, where the lease is not obtained.
    pub async fn begun(mut self) {
        // Who decided it and went: what it said last stays.
        if self.0.wait_for(|leading| *leading).await.is_err() {
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
    leading: watch::Sender<bool>,
    told: Box<dyn Fn(bool) + Send + Sync>,
    /// Whether a write was begun whose answer is not known.
    writing: bool,
}

impl Candidate {
    /// A candidate over a client of its own: one that waits for no answer longer than a few seconds and repeats nothing by
    /// itself, see [`config`]. `fence` is opened while the lease is its own. `told` is called with every beginning and end.
    pub fn new(client: Client, settings: Settings, fence: Fence, told: impl Fn(bool) + Send + Sync + 'static) -> Self {
        let api = Api::namespaced(client, &settings.namespace);
        let election = Election::new(&settings.name, &settings.identity, settings.timing);
        Self {
            api,
            settings,
            election,
            fence,
            leading: watch::Sender::new(false),
            told: Box::new(told),
            writing: false,
        }
    }

    /// Whether it leads.
    pub fn leading(&self) -> Leading {
        Leading(self.leading.subscribe(), self.fence.clone())
    }

    /// Does `work`, and from when it is `ready` waits for the lease and keeps it until the work has ended; then gives it back.
    /// Work that never gets ready is done without.
    ///
    /// # Errors
    /// When the lease was lost: the work was dropped, wherever it was.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn during(
        self,
        work: impl Future<Output = ()>,
        ready: impl Future<Output = bool> + Send + 'static,
    ) -> Result<(), Lost> {
        let (finished, finish) = oneshot::channel::<()>();
        let finish = async move { drop(finish.await) };
        // A task of its own: work that keeps its thread for long must not hold up a renewal.
        let mut lease = tokio::spawn(async move {
            match ready.await {
                true => self.run(finish).await,
                false => Ok(()),
            }
        });
        let mut work = pin!(work);
        let ended = tokio::select! {
            ended = &mut lease => Some(ended),
            () = &mut work => None,
        };
        let ended = match ended {
            // It stands for nothing, and the work goes to its end.
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

    /// Waits for the lease and keeps it until `end`, then gives it back.
    ///
    /// # Errors
    /// When the lease was lost. The fence is closed by then.
    async fn run(mut self, end: impl Future<Output = ()>) -> Result<(), Lost> {
        let lost = tokio::select! {
            lost = self.hold() => Some(lost),
            () = end => None,
        };
        self.fence.close();
        let led = self.leading.send_replace(false);
        (self.told)(false);
        match lost {
            Some(lost) => {
                tracing::error!(error = %lost, "the lease is lost: ending");
                Err(lost)
            }
            None => {
                if led || self.writing {
                    self.give_back().await;
                }
                Ok(())
            }
        }
    }

    async fn hold(&mut self) -> Lost {
        loop {
            // However long this process was stopped: what it may do now is decided now.
            let outcome = match self.election.standing(Instant::now()) {
                Standing::Lost => return self.lost(),
                Standing::Following => self.attempt().await,
                // Whoever leads ends in time, whatever it waits for.
                Standing::Leading { until } => tokio::time::timeout_at(until.into(), self.attempt())
                    .await
                    .unwrap_or_else(|_| Err("no answer until the renew deadline".into())),
            };
            if let Err(error) = outcome {
                let (name, leading) = (&self.settings.name, self.leading.borrow().to_owned());
                tracing::warn!(lease = name, leading, error, "the lease was not read or written");
            }
            let now = Instant::now();
            match self.election.standing(now) {
                Standing::Lost => return self.lost(),
                Standing::Following => {}
                Standing::Leading { until } => {
                    self.fence.open_until(until);
                    if !self.leading.send_replace(true) {
                        tracing::info!(lease = self.settings.name, identity = self.settings.identity, "leading");
                        (self.told)(true);
                    }
                }
            }
            tokio::time::sleep_until((now + self.election.pause(now, rand::random())).into()).await;
        }
    }

    fn lost(&self) -> Lost {
        let Settings { namespace, name, identity, timing: _ } = &self.settings;
        let holder = self.election.holder().filter(|holder| holder != identity);
        Lost { namespace: namespace.clone(), name: name.clone(), holder }
    }

    /// Renews the lease, or takes it if it is free.
    async fn attempt(&mut self) -> Result<(), String> {
        let leads = *self.leading.borrow();
        // Who leads has seen the newest version: it is read again only where that turns out to be wrong.
        if !leads {
            self.read().await?;
        }
        if self.write().await? || !leads {
            return Ok(());
        }
        self.read().await?;
        self.write().await?;
        Ok(())
    }

    async fn read(&mut self) -> Result<(), String> {
        let holder = self.election.holder();
        let lease = self.within(self.api.get_opt(&self.settings.name)).await?.map_err(|error| error.to_string())?;
        self.election.saw(lease, Instant::now());
        let now = self.election.holder();
        if now.is_some() && holder != now && !*self.leading.borrow() {
            tracing::info!(lease = self.settings.name, holder = now, "waiting for the lease");
        }
        Ok(())
    }

    /// Makes the next move. False, if the lease is another than the one that was seen.
    async fn write(&mut self) -> Result<bool, String> {
        let (begun, params) = (Instant::now(), PostParams::default());
        let (name, written) = (&self.settings.name, self.election.next(begun, Timestamp::now()));
        let there = matches!(written, Move::Replace(_));
        self.writing = written != Move::Wait;
        let written = match written {
            Move::Wait => return Ok(true),
            Move::Create(lease) => self.within(self.api.create(&params, &lease)).await?,
            Move::Replace(lease) => self.within(self.api.replace(name, &params, &lease)).await?,
        };
        match written {
            Ok(lease) => {
                self.writing = false;
                self.election.wrote(lease, begun, Instant::now());
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 || (there && status.code == 404) => {
                self.writing = false;
                Ok(false)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    async fn give_back(&mut self) {
        for attempt in 0..RELEASE_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(RELEASE_PAUSE).await;
            }
            // A write that was given up may have been carried out.
            if self.writing && self.read().await.is_err() {
                continue;
            }
            let Some(lease) = self.election.given_back(Timestamp::now()) else { return };
            match self.within(self.api.replace(&self.settings.name, &PostParams::default(), &lease)).await {
                Ok(Ok(_)) => {
                    tracing::info!(lease = self.settings.name, "the lease is given back");
                    return;
                }
                Ok(Err(_)) | Err(_) => self.writing = true,
            }
        }
        tracing::warn!(lease = self.settings.name, "the lease was not given back: others wait until it ends");
    }

    async fn within<T>(&self, call: impl Future<Output = T>) -> Result<T, String> {
        let most = CALL_DEADLINE.min(self.settings.timing.renew_deadline / 2);
        tokio::time::timeout(most, call).await.map_err(|_| format!("no answer within {most:?}"))
    }
}

/// The configuration of a client for leases: whoever waits for an answer loses the lease meanwhile.
pub fn config(mut kubernetes: kube::Config) -> kube::Config {
    kubernetes.connect_timeout = Some(CALL_DEADLINE);
    kubernetes.read_timeout = Some(CALL_DEADLINE);
    kubernetes.write_timeout = Some(CALL_DEADLINE);
    kubernetes.default_retry = false;
    kubernetes
}

/// What no other process is called: `name`, by which people find it, and a random part.
pub fn identity(name: &str) -> String {
    format!("{name}_{}", uuid::Uuid::new_v4())
}
