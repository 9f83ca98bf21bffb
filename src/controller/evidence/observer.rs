//! The reads between reconciles of one kind, and the expiry of its evidence: what is due when, and what follows from the results.
//! Nothing here waits for a worker of the reconciles.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tracing::Instrument;

use super::agenda::Due;
use crate::api::condition::condition_type;
use crate::cloud::error::Class;
use crate::cloud::rate_limit::Priority;
use crate::controller::access::Key;
use crate::controller::cached::Cached;
use crate::controller::conditions::{Truth, find};
use crate::controller::memory::{Memory, Replaced};
use crate::controller::object::{ObjectHandle, later};
use crate::controller::refresh::{Refreshed, refresh};
use crate::controller::requeue::Intervals;
use crate::controller::resource::Resource;
use crate::controller::{self, Context, Shutdown, key};
use crate::leadership::Leadership;

mod inventories;
mod jobs;

pub use self::jobs::Job;
use self::jobs::{Owner, State};

/// Maximum time for one read between reconciles.
const READ_TIMEOUT: Duration = Duration::from_secs(300);
/// Time from a refresh until the next one of an object. Until then the cache shows the first, and the reads of many mappings that end
/// meanwhile are one write.
const REFRESH_INTERVAL: Duration = Duration::from_millis(300);
/// The number of refreshes in a row for which the cache is late, after which it is believed.
const MAX_CACHE_LATE: u32 = 20;
/// Maximum time between two reads of the clock, which may be set.
const MAX_SLEEP: Duration = Duration::from_millis(500);
/// Time between two comparisons of an object with its version at the start of a read.
const CHANGE_INTERVAL: Duration = Duration::from_millis(500);
/// Time until the next attempt at work on an object that this process may not serve.
const HOLD_INTERVAL: Duration = Duration::from_secs(2);
/// The step of the machine's clock from which on no time of the evidence is trusted.
const MAX_CLOCK_STEP: Duration = Duration::from_secs(5);
/// Maximum number of concurrent writes of status between reconciles.
const MAX_REFRESHES: usize = 32;

type Find<K> = Box<dyn Fn(&Key) -> Option<Arc<Cached<K>>> + Send + Sync>;

/// A version of an object: as the cache has it, and decoded.
type Decoded<K> = (Arc<Cached<K>>, Arc<K>);

/// What one job sees of its object in the cache. It decodes each version once.
struct View<'a, K: Resource> {
    observer: &'a Observer<K>,
    key: &'a Key,
    last: Mutex<Option<Decoded<K>>>,
}

impl<'a, K: Resource> View<'a, K> {
    fn new(observer: &'a Observer<K>, key: &'a Key) -> Self {
        Self { observer, key, last: Mutex::default() }
    }

    /// The object as the cache has it now.
    fn object(&self) -> Option<Arc<K>> {
        self.object_if(|_| true)
    }

    /// The same, if its metadata say so.
    fn object_if(&self, wanted: impl FnOnce(&Cached<K>) -> bool) -> Option<Arc<K>> {
        let cached = (self.observer.find)(self.key).filter(|it| wanted(it))?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((same, object)) if Arc::ptr_eq(same, &cached) => Some(object.clone()),
            Some(_) | None => {
                let object = cached.object()?;
                *last = Some((cached, object.clone()));
                Some(object)
            }
        }
    }
}

/// The period in which an observer runs.
pub struct Period<F, E> {
    pub leadership: Leadership,
    /// Ends once the cache is filled.
    pub filled: F,
    /// No read begins after it.
    pub shutdown: Shutdown,
    /// Ends once no reconcile is in progress after `shutdown`.
    pub finished: E,
}

/// Reads the cloud between the reconciles of one kind.
pub struct Observer<K: Resource> {
    ctx: Arc<Context>,
    /// The object as the cache has it.
    find: Find<K>,
    /// Triggers a reconcile.
    wake: Box<dyn Fn(&Key) + Send + Sync>,
    state: Mutex<State<K::Task>>,
    changed: Notify,
    refreshes: Semaphore,
}

impl<K: Resource> Observer<K> {
    /// An observer of the objects that `find` returns. It calls `wake` for an object that has to be reconciled.
    pub fn new(
        ctx: Arc<Context>,
        find: impl Fn(&Key) -> Option<Arc<Cached<K>>> + Send + Sync + 'static,
        wake: impl Fn(&Key) + Send + Sync + 'static,
    ) -> Self {
        Self {
            ctx,
            find: Box::new(find),
            wake: Box::new(wake),
            state: Mutex::new(State::new()),
            changed: Notify::new(),
            refreshes: Semaphore::new(MAX_REFRESHES),
        }
    }

    fn with_state<R>(&self, with: impl FnOnce(&mut State<K::Task>) -> R) -> R {
        with(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The object as the cache has it.
    fn object(&self, object: &Key) -> Option<Arc<K>> {
        (self.find)(object)?.object()
    }

    fn remember<R>(&self, (namespace, name): &Key, with: impl FnOnce(&mut Memory) -> R) -> R {
        self.ctx.remember(&key(K::KIND, namespace, name), with)
    }

    /// Schedules the reads of an object by its evidence, and the expiry of that.
    pub fn schedule(&self, object: &Key) {
        self.schedule_viewed(&View::new(self, object));
    }

    fn schedule_viewed(&self, view: &View<'_, K>) {
        let object = view.key;
        let Some(found) = view.object().filter(|it| it.meta().deletion_timestamp.is_none()) else {
            return self.drop_jobs(object);
        };
        let management = found.management();
        if management.suspend {
            return self.drop_jobs(object);
        }
        let handle = ObjectHandle::new(&self.ctx, found.clone());
        let scope = handle.scope(&found);
        let (now, tasks) = (scope.now, K::tasks(&scope));
        let conditions = &scope.head().conditions;
        let certain = |it: &str| find(conditions, it).is_some_and(|found| found.status != Truth::Unknown.as_str());
        let version = found.meta().resource_version.as_deref().unwrap_or_default();
        self.remember(object, |memory| memory.shown(version));
        // A refresh follows at once.
        let stale = self.with_state(|state| state.objects.get(object).is_some_and(|it| it.stale));
        let expiries = if stale { vec![] } else { scope.expiries() };
        // Another process set the condition, and no evidence supports it.
        let unsupported = certain(condition_type::READY) && scope.evidence_until().is_none();
        // The cache may be older than a condition that a reconcile has just written.
        let expiry = expiries.iter().filter(|it| it.at > now || certain(it.condition_type)).map(|it| it.at).min();
        let expiry = if unsupported { Some(now) } else { expiry };
        let inventory = self.remember(object, |memory| memory.inventory.clone()).filter(|_| K::is_listed(&scope));
        let inventory = inventory.map(|key| (key, scope.intervals.list()));
        let lane = management.lane(&object.0);
        self.with_state(|state| {
            let object = &state.shared(object);
            state.set_tasks(object, &lane, tasks);
            let refresh = Job::Refresh(object.clone());
            // Reads that end in a moment are the same write. They delay it once.
            let more = if state.is_read(object) { REFRESH_INTERVAL } else { Duration::ZERO };
            let soon = state.agenda.at(&refresh).map_or(later(now, more), |at| at.min(later(now, more)));
            let known = state.known(object);
            let expiry = if known.stale { Some(soon) } else { expiry };
            let at = expiry.map(|at| known.refresh_from.get().map_or(at, |from| at.max(from)));
            match at {
                Some(at) => state.agenda.set(refresh, Due { at, expires: at, renews: true, lane: None }),
                None => state.agenda.remove(&refresh),
            }
            state.inventories.assign(object, inventory.clone());
            if let Some((key, interval)) = inventory {
                let job = Job::Inventory(key);
                let sooner = later(now, interval);
                let at = state.agenda.at(&job).map_or(sooner, |at| at.min(sooner));
                if !state.agenda.runs(&job) {
                    let lane = Some(state.lane(lane));
                    state.agenda.set(job, Due { at, expires: at, renews: true, lane });
                }
            }
        });
        self.changed.notify_one();
    }

    fn drop_jobs(&self, object: &Key) {
        self.with_state(|state| {
            let Some((object, _)) = state.objects.remove_entry(object) else { return };
            state.inventories.assign(&object, None);
            state.agenda.retain(&Owner::Object(object), |_| false);
        });
    }

    /// The time of the next job that is not due.
    pub fn next(&self) -> Option<Timestamp> {
        self.with_state(|state| state.agenda.next())
    }

    /// The jobs that begin now. Each of them has to be run.
    pub fn begin(&self) -> Vec<Job<K::Task>> {
        let now = self.ctx.clock.now();
        self.with_state(|state| state.agenda.begin(now))
    }

    /// Runs a job that began. A job that panics stops no other, and is repeated later.
    pub async fn run(&self, job: Job<K::Task>) {
        match &job {
            Job::Refresh(object) => {
                let view = View::new(self, object);
                self.run_viewed(&job, &view, self.refresh(&view)).await;
            }
            Job::Read(object, task) => {
                let view = View::new(self, object);
                self.run_viewed(&job, &view, Box::pin(self.read(&view, task))).await;
            }
            Job::Inventory(inventory) => {
                self.run_guarded(&job, Box::pin(self.list(inventory))).await;
                self.schedule_inventory(inventory);
            }
        }
        self.changed.notify_one();
    }

    async fn run_viewed(&self, job: &Job<K::Task>, view: &View<'_, K>, work: impl Future<Output = ()>) {
        if !self.run_guarded(job, work).await {
            self.block(view.key);
        }
        self.schedule_viewed(view);
    }

    /// Whether it ended without a panic.
    async fn run_guarded(&self, job: &Job<K::Task>, work: impl Future<Output = ()>) -> bool {
        let ended = AssertUnwindSafe(work).catch_unwind().await.is_ok();
        self.with_state(|state| state.agenda.end(job));
        if !ended {
            tracing::error!(kind = K::KIND, ?job, "a job between reconciles panicked");
        }
        ended
    }

    async fn refresh(&self, view: &View<'_, K>) {
        let Ok(_permit) = self.refreshes.acquire().await else { return };
        // Many wait at a time: they are small in memory.
        Box::pin(self.refresh_now(view)).await;
    }

    async fn refresh_now(&self, view: &View<'_, K>) {
        let object = view.key;
        let stale = self.with_state(|state| std::mem::take(&mut state.known(object).stale));
        let outcome = refresh::<K>(&self.ctx, || view.object()).await;
        let (now, intervals) = (self.ctx.clock.now(), Intervals::new(Duration::ZERO, &self.ctx.settings));
        let mut forget_replaced = false;
        self.with_state(|state| {
            let known = state.known(object);
            known.refresh_failures = match &outcome {
                // The cache shows the newer version soon.
                Ok(_) | Err(controller::Error::Conflict) => 0,
                Err(_) => known.refresh_failures + 1,
            };
            let wait = match (&outcome, known.refresh_failures) {
                // A reconcile takes it over.
                (Ok(Refreshed::NotServed), _) => Some(HOLD_INTERVAL),
                // Evidence that comes next may say more. An expiry that the cache does not show yet is not repeated at once.
                (Ok(Refreshed::Same), _) if stale => None,
                (_, 0) => Some(REFRESH_INTERVAL),
                (_, times) => Some(intervals.failed_read(Class::Unavailable, times)),
            };
            known.refresh_from = wait.map(|wait| later(now, wait)).into();
            known.stale |= !matches!(outcome, Ok(Refreshed::Same | Refreshed::Written | Refreshed::NotServed));
            known.cache_late = if matches!(outcome, Ok(Refreshed::CacheLate)) { known.cache_late + 1 } else { 0 };
            if known.cache_late == MAX_CACHE_LATE {
                known.cache_late = 0;
                // Kubernetes may have lost writes in a restore. A write on top of an older version is refused.
                forget_replaced = true;
            }
        });
        if forget_replaced {
            self.remember(object, |memory| memory.replaced = Replaced::default());
        }
        if let Err(error) = outcome {
            tracing::warn!(kind = K::KIND, namespace = object.0, object = object.1, %error, "status not refreshed");
        }
    }

    async fn read(&self, view: &View<'_, K>, task: &K::Task) {
        let object = view.key;
        // A reconcile that reports the suspension may end later.
        let Some(found) = view.object().filter(|it| !it.management().suspend) else { return };
        let management = found.management();
        let access = self.ctx.accounts.access(&object.0, management.account).await;
        let Ok(access) = access else { return self.block(object) };
        let mut handle = ObjectHandle::new(&self.ctx, found.clone());
        let access = match K::changes(task) {
            false => access,
            true => match handle.hold().await {
                Ok(hold) => access.while_held(hold),
                Err(_) if handle.serves(handle.scope(&found).status) => {
                    // The cache may be late.
                    return tokio::time::sleep(HOLD_INTERVAL).await;
                }
                Err(_) => {
                    // A reconcile takes the object over.
                    (self.wake)(object);
                    return self.block(object);
                }
            },
        };
        let cloud = found.cloud(&access, Priority::Sample);
        let started = self.ctx.clock.now();
        let scope = handle.scope(&found);
        let span = tracing::info_span!("read", kind = K::KIND, namespace = object.0, object = object.1, task = ?task);
        let reading = K::read(task, &scope, &self.ctx, &cloud).instrument(span);
        let reading = tokio::select! {
            biased;
            reading = tokio::time::timeout(READ_TIMEOUT, reading) => reading,
            // A read for another spec is of no use.
            () = self.changes(object, &found) => return,
        };
        let Ok(reading) = reading else {
            tracing::warn!(kind = K::KIND, namespace = object.0, object = object.1, ?task, "read took too long");
            return self.block(object);
        };
        self.with_state(|state| state.known(object).blocked = Default::default());
        let Some(found) = view.object_if(|now| now.is_same(found.meta())) else { return };
        let handle = ObjectHandle::new(&self.ctx, found.clone());
        let scope = handle.scope(&found);
        let key = handle.key();
        let recorded =
            self.ctx.update_evidence::<K, _>(&key, |evidence| K::record(&scope, evidence, task, reading, started));
        if let (true, Some(lifetime)) = (recorded.confirmed, K::DESCRIPTOR.details_lifetime) {
            self.remember(object, |memory| memory.detailed_until = Some(later(started, lifetime)).into());
        }
        if recorded.wake {
            (self.wake)(object);
        }
        // The end of the read schedules it.
        self.with_state(|state| state.known(object).stale = true);
    }

    /// Waits until the object has another spec, is being deleted or is gone.
    async fn changes(&self, object: &Key, known: &K) {
        // The cache decodes an object for each use.
        while (self.find)(object).is_some_and(|now| now.is_same(known.meta())) {
            tokio::time::sleep(CHANGE_INTERVAL).await;
        }
    }

    /// Delays the next reads of an object: the last one had no credentials, or no end.
    fn block(&self, object: &Key) {
        let (now, intervals) = (self.ctx.clock.now(), Intervals::new(Duration::ZERO, &self.ctx.settings));
        let times = self.with_state(|state| {
            let (times, until) = &mut state.known(object).blocked;
            *times += 1;
            *until = Some(later(now, intervals.failed_read(Class::Unavailable, *times))).into();
            *times
        });
        // A reconcile reports the state of the credentials.
        if times == 2 {
            (self.wake)(object);
        }
    }

    /// Forgets all evidence: its times are of a clock that was set.
    pub fn forget_evidence(&self) {
        self.ctx.forget_former();
        self.ctx.forget_absences(K::KIND);
        let objects: Vec<_> = self.with_state(|state| state.objects.keys().cloned().collect());
        for object in objects {
            let (namespace, name) = &*object;
            self.ctx
                .update_evidence::<K, _>(&key(K::KIND, namespace, name), |evidence| *evidence = K::Evidence::default());
            self.remember(&object, |memory| (memory.listed_until, memory.detailed_until) = Default::default());
            (self.wake)(&object);
            self.refresh_soon(&object);
        }
    }

    /// Schedules what follows a reconcile. Evidence that came while it wrote status may say something else.
    pub fn reconciled(&self, object: &Key) {
        self.refresh_soon(object);
    }

    fn refresh_soon(&self, object: &Key) {
        self.with_state(|state| state.known(object).stale = true);
        self.schedule(object);
    }

    /// Runs the jobs while this process leads, until `shutdown`. `period.filled` ends once the cache is filled, and `objects` returns
    /// all objects in it. Evidence expires until `period.finished`: until then this process leads, and another one relies on it.
    pub async fn observe<F, E>(self: Arc<Self>, period: Period<F, E>, objects: impl Fn() -> Vec<Key>)
    where
        F: Future<Output = ()>,
        E: Future<Output = ()>,
    {
        let Period { leadership, filled, mut shutdown, finished } = period;
        let started = async {
            filled.await;
            leadership.clone().started().await;
        };
        tokio::select! { () = started => {}, () = shutdown.clone() => return }
        for object in objects() {
            self.schedule(&object);
        }
        let mut finished = pin!(finished);
        let (mut reads, mut refreshes, mut ending) = (JoinSet::new(), JoinSet::new(), false);
        let mut clocks = (self.ctx.clock.now(), Instant::now());
        while leadership.is_leader() {
            self.check_clock(&mut clocks);
            let begun = if ending { self.begin_refreshes() } else { self.begin() };
            for job in begun {
                let (observer, refresh) = (self.clone(), matches!(job, Job::Refresh(_)));
                let set = if refresh { &mut refreshes } else { &mut reads };
                set.spawn(async move { observer.run(job).await });
            }
            while reads.try_join_next().is_some() || refreshes.try_join_next().is_some() {}
            let now = self.ctx.clock.now();
            let left = self.next().map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
            // Reads that are due begin no more after `shutdown`, and must not keep the loop busy.
            let least = if ending { REFRESH_INTERVAL } else { Duration::ZERO };
            tokio::select! {
                () = &mut shutdown, if !ending => {
                    ending = true;
                    // Every read can be repeated.
                    reads.shutdown().await;
                }
                () = &mut finished, if ending => break,
                () = self.changed.notified(), if !ending => {}
                () = tokio::time::sleep(left.map_or(MAX_SLEEP, |left| left.clamp(least, MAX_SLEEP))) => {}
            }
        }
        refreshes.shutdown().await;
    }

    fn begin_refreshes(&self) -> Vec<Job<K::Task>> {
        let now = self.ctx.clock.now();
        self.with_state(|state| state.agenda.begin_unlaned(now))
    }

    /// Forgets all evidence if the machine's clock was set since the last check.
    fn check_clock(&self, last: &mut (Timestamp, Instant)) {
        let now = (self.ctx.clock.now(), Instant::now());
        let (shown, passed) = (now.0.duration_since(last.0), now.1.duration_since(last.1));
        *last = now;
        let set = shown - SignedDuration::try_from(passed).unwrap_or_default();
        if set.unsigned_abs() > MAX_CLOCK_STEP {
            tracing::warn!(
                kind = K::KIND,
                seconds = set.as_secs(),
                "the machine's clock was set: evidence is read again"
            );
            self.forget_evidence();
        }
    }
}
