//! The evidence of a plan: what its last reconcile observed, the samples of consumer progress, and when each is read again. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use litemap::LiteMap;

use super::backlog::{self, Arrival, BacklogSamples, BacklogSource, Replicator};
use super::grounds::Grounds;
use super::inventory::ListedPlan;
use super::observe::Observed;
use super::pace::Outcome;
use super::repeated::Repeated;
use super::rounds::{Round, Rounds};
use super::samples::{MappingSamples, SourceSamples};
use super::sync::{SyncRequest, SyncRun};
use super::{Scope, lag, resolve};
use crate::api::SYNC_CHECKPOINTS_ANNOTATION;
use crate::api::plan::MappingState;
use crate::cloud::error::{Class, Error};
use crate::cloud::list::List;
use crate::cloud::rocketmq::{Checkpoint, GroupLag, ItemView};
use crate::controller::evidence::backlog::Consumed;
use crate::controller::evidence::progress::{MAX_CLOCK_SKEW_MS, Terms};
use crate::controller::resource::{Recorded, Scheduled};

/// Maximum number of samples that a reconcile reads itself. Only the reads between reconciles limit how many run at a time.
const MAX_FIRST_READS: usize = 4;

/// A read of a plan between reconciles.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// The checkpoints of a topic mapping.
    Checkpoints(Arc<str>),
    /// The message backlog of an instance, by its name in the spec.
    Backlog(Arc<str>),
    /// The list of items.
    Items,
    /// The Secrets of the instances.
    Secrets,
    /// The requested synchronization of every checkpoint.
    Synchronization,
    /// A round of spec.checkpointSync in a topic mapping.
    Round(Arc<str>),
}

/// The result of a task.
#[derive(Debug)]
pub enum Reading {
    /// The checkpoints of one mapping.
    Checkpoints(CheckpointLists),
    /// The message backlog of one instance.
    Backlog {
        /// Where it was read.
        of: Arc<BacklogSource>,
        lag: Result<GroupLag, Error>,
        /// The distance between the clocks of the operator and of the instance's region.
        clock_skew: Duration,
    },
    /// The list of items.
    Items(Result<List<ItemView>, Error>),
    /// A hash of the Secrets under a key of this process.
    Secrets(u64),
    /// A part of the requested synchronization.
    Synchronization(SyncRun),
    /// A round in one mapping, and the lists that it began with.
    Round(CheckpointLists, Round),
    /// There is no longer anything to read.
    Nothing,
}

/// The checkpoints of one mapping.
#[derive(Debug)]
pub struct CheckpointLists {
    /// The plan and the item.
    pub of: (i64, i64),
    /// The lists, by the ID of the source instance.
    pub lists: BTreeMap<Arc<str>, Result<List<Checkpoint>, Error>>,
    /// The distance between the clocks of the operator and of the cloud.
    pub clock_skew: Duration,
}

/// What this process knows of a plan between reconciles.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What the last reconcile observed.
    pub grounds: Option<Grounds>,
    /// The samples, by the name of the topic mapping.
    pub mappings: LiteMap<Arc<str>, MappingSamples>,
    /// The samples of the message backlog, by the name of the source instance in the spec.
    backlogs: LiteMap<Arc<str>, BacklogSamples>,
    /// The list of items.
    items: Repeated,
    /// The Secrets of the instances.
    secrets: Repeated,
    /// The plan in Get and in the list of plans.
    pub(super) listed: ListedPlan,
    /// The distance between the clocks of the operator and of the plan's region.
    clock_skew: Duration,
    /// The requested synchronization of every checkpoint.
    pub sync: Option<Box<SyncRequest>>,
    /// The rounds of spec.checkpointSync.
    pub rounds: Rounds,
}

/// The terms by which samples of a plan are judged.
pub fn terms(scope: &Scope<'_>, evidence: &Evidence) -> Terms {
    Terms {
        objective_ms: lag::objective_ms(&scope.object.spec),
        skew_ms: i64::try_from(evidence.clock_skew().as_millis()).unwrap_or(i64::MAX),
    }
}

/// A map without room for more.
fn exact<V>(entries: Vec<(Arc<str>, V)>) -> LiteMap<Arc<str>, V> {
    let mut map = LiteMap::with_capacity(entries.len());
    map.extend(entries);
    map
}

impl Evidence {
    /// Adds the observation of a reconcile that began at `started`.
    pub fn learn(&mut self, scope: &Scope<'_>, observed: &Observed, started: Timestamp) {
        let before = self.grounds.take();
        let mut grounds = Grounds::new(scope, observed, started);
        before.iter().for_each(|before| grounds.share(before));
        self.grounds = Some(grounds);
        let Some(grounds) = &self.grounds else { return };
        let items = observed.items_complete.then(|| resolve::items_fingerprint(&observed.items));
        let of = |item_id: i64| (grounds.plan_id.unwrap_or_default(), item_id);
        let same_spec = before.as_ref().is_some_and(|before| before.generation == grounds.generation);
        let mut mappings = Vec::new();
        for mapping in &grounds.mappings {
            let known =
                self.mappings.get_mut(&mapping.name).map(std::mem::take).filter(|it| it.of() == of(mapping.item_id));
            let mut samples = known.unwrap_or_else(|| MappingSamples::new(of(mapping.item_id)));
            samples.keep_sources(&grounds.sources);
            // A sample from before a change says little about the time after it.
            let known = before.as_ref().and_then(|before| before.mapping(&mapping.name));
            if !same_spec || known != Some(mapping) || scope.reconcile_requested() {
                samples.pace.restart(started);
            }
            if known.is_some_and(|it| it.runs != mapping.runs) {
                samples.forget_absence();
            }
            mappings.push((mapping.name.clone(), samples));
        }
        self.mappings = exact(mappings);
        let mut backlogs = Vec::new();
        for replicator in grounds.replicators.iter().filter(|it| !it.topics.is_empty()) {
            let Ok(source) = &replicator.source else { continue };
            let known = self.backlogs.remove(&replicator.instance).filter(|it| *it.of() == **source);
            let mut samples = known.unwrap_or_else(|| BacklogSamples::new(source.clone()));
            let known = before.as_ref().and_then(|before| before.replicator(&replicator.instance));
            if !same_spec || known != Some(replicator) || scope.reconcile_requested() {
                samples.pace.restart(started);
            }
            backlogs.push((replicator.instance.clone(), samples));
        }
        self.backlogs = exact(backlogs);
        let rounds = lag::round_interval(&scope.object.spec).is_some() && !scope.observe_only();
        self.rounds.keep(|mapping| grounds.mapping(mapping).filter(|it| rounds && it.runs).map(|it| of(it.item_id)));
        self.items.observed(items, started);
        self.secrets.observed(observed.secrets_fingerprint, started);
        self.listed.observed(observed.found());
        self.request_synchronization(scope);
    }

    /// Begins the requested synchronization, or drops one that is not requested any more.
    fn request_synchronization(&mut self, scope: &Scope<'_>) {
        let wanted = scope.annotation(SYNC_CHECKPOINTS_ANNOTATION).filter(|_| !scope.observe_only());
        let handled = scope.status.last_handled_sync_checkpoints_at.as_deref();
        match wanted.filter(|wanted| handled != Some(*wanted)) {
            Some(wanted) if self.sync.as_ref().is_none_or(|it| it.requested != wanted) => {
                self.sync = Some(Box::new(SyncRequest::new(wanted)));
            }
            Some(_) => {}
            None => self.sync = None,
        }
    }

    /// The largest distance between the clocks of the operator and of the cloud's regions.
    pub fn clock_skew(&self) -> Duration {
        self.backlogs.values().map(|it| it.clock_skew).max().unwrap_or_default().max(self.clock_skew)
    }

    /// The samples of the message backlog of an instance, by its name in the spec.
    pub fn backlog(&self, instance: &str) -> Option<&BacklogSamples> {
        self.backlogs.get(instance)
    }

    /// Whether the message backlog was read, or could not be.
    pub fn has_backlog(&self) -> bool {
        self.backlogs.values().any(|it| it.requested_ms().is_some() || it.failure().is_some())
    }

    /// The end of what the samples of consumer progress prove of every mapping.
    pub fn progress_proven_until(&self) -> Option<Timestamp> {
        let all: Option<Vec<_>> = self.mappings.values().map(|it| it.pace.proven_until_ms()).collect();
        Timestamp::from_millisecond(all?.into_iter().min()?).ok()
    }

    /// The end of what all samples prove.
    pub fn proven_until(&self) -> Option<Timestamp> {
        let grounds = self.grounds.as_ref()?;
        let running = grounds.replicators.iter().filter(|it| !it.topics.is_empty());
        let all: Option<Vec<_>> = running.map(|it| self.backlogs.get(&it.instance)?.pace.proven_until_ms()).collect();
        let messages = all?.into_iter().min().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        match grounds.two_way {
            true => messages,
            false => self.progress_proven_until().map(|until| messages.map_or(until, |it| it.min(until))),
        }
    }

    /// What is known of the messages of one topic of a replication.
    pub fn arrival(&self, replicator: &Replicator, mapping: &str, now_ms: i64, terms: Terms) -> Arrival {
        let Some(samples) = self.backlogs.get(&replicator.instance) else { return Arrival::NotRead };
        let Some(topic) = replicator.topics.get(mapping) else { return Arrival::NotRead };
        samples.judge(topic, self.consumed(samples, mapping, topic), now_ms, terms)
    }

    /// What consumer groups of the source have consumed of a topic. In a plan that replicates both ways they also consume messages that
    /// came from the other side.
    fn consumed(&self, samples: &BacklogSamples, mapping: &str, topic: &str) -> impl Iterator<Item = Consumed> {
        let one_way = self.grounds.as_ref().is_some_and(|it| !it.two_way);
        let source = self.mappings.get(mapping).and_then(|it| it.source(&samples.of().instance_id));
        let source = source.filter(|_| one_way);
        let since_ms = source.and_then(SourceSamples::running_since_ms).filter(|_| samples.shows_replicated());
        let of_topic = source.into_iter().flat_map(SourceSamples::tracks).filter(move |it| it.1 == topic);
        let consumed = move |stored_ms: i64| Consumed { stored_ms, replicated_since_ms: since_ms };
        of_topic.filter_map(move |(_, _, track)| track.reading().source_ms.map(consumed))
    }

    /// Whether the operator may synchronize checkpoints by this version of the object: the last reconcile observed the plan under its
    /// spec, and no change of the plan is in progress.
    pub fn may_synchronize(&self, scope: &Scope<'_>) -> bool {
        let grounds = self.grounds.as_ref().filter(|it| it.managed);
        let current = grounds.is_some_and(|it| it.generation == scope.generation() && it.plan_id.is_some());
        let forbidden = scope.observe_only() || scope.object.spec.suspend || scope.deleting();
        let busy = !scope.status.paused_items.is_empty() || !scope.status.twins.is_empty();
        current && !forbidden && !busy
    }

    /// The interval of the rounds in a mapping, where there may be rounds.
    pub fn round_interval(&self, scope: &Scope<'_>, mapping: &str) -> Option<Duration> {
        let spec = &scope.object.spec;
        let interval = lag::round_interval(spec).filter(|_| self.may_synchronize(scope))?;
        let runs = self.grounds.as_ref()?.mapping(mapping)?.runs && self.grounds.as_ref()?.synchronizes;
        let wanted = spec.topic_mappings.iter().any(|it| it.name == mapping && it.state == MappingState::Running);
        let timed = terms(scope, self).skew_ms <= MAX_CLOCK_SKEW_MS;
        (runs && wanted && timed).then_some(interval)
    }

    /// Whether a mapping has a checkpoint that was never synchronized, and that the last round did not see.
    fn has_unseen(&self, scope: &Scope<'_>, mapping: &str) -> bool {
        let Some(samples) = self.mappings.get(mapping) else { return false };
        let mut tracks = samples.sources().flat_map(|(_, source)| source.tracks());
        tracks.any(|(group, topic, track)| {
            let lacks = track.never_synced() && track.reading().source_ms.is_some() && !track.is_missing();
            let counts = !lag::is_ignored(&scope.object.spec, group);
            lacks && counts && !self.rounds.has_seen(mapping, (group, topic))
        })
    }

    /// When the checkpoints of each mapping were last read whole, in ms.
    pub fn sampled_ms(&self) -> Vec<(String, i64)> {
        let mut all = Vec::new();
        for (name, samples) in &self.mappings {
            let oldest = samples.sources().map(|(_, it)| it.complete_ms()).min().flatten();
            all.extend(oldest.map(|ms| (name.to_string(), ms)));
        }
        all
    }

    /// The reads, and when each is due.
    pub fn tasks(&self, scope: &Scope<'_>) -> Vec<Scheduled<Task>> {
        let Some(grounds) = self.grounds.as_ref().filter(|it| it.samples_checkpoints()) else { return vec![] };
        let now = scope.now;
        let mut tasks = Vec::new();
        for (name, samples) in self.mappings.iter().filter(|_| grounds.synchronizes) {
            tasks.push(samples.pace.scheduled(now, Task::Checkpoints(name.clone()), None));
        }
        for (name, samples) in &self.backlogs {
            tasks.push(samples.pace.scheduled(now, Task::Backlog(name.clone()), Some(samples.of().region.to_string())));
        }
        let intervals = scope.intervals;
        let at = |task, due, renews| Scheduled { task, due, expires: due, renews, region: None };
        tasks.push(at(Task::Items, self.items.due(now, intervals.details()), self.items.failures == 0));
        let secrets = scope.object.spec.instances.iter().any(|it| it.credentials_secret_ref.is_some());
        if secrets && !scope.observe_only() {
            tasks.push(at(Task::Secrets, self.secrets.due(now, intervals.poll), true));
        }
        let allowed = self.may_synchronize(scope);
        if let Some(sync) = self.sync.as_ref().filter(|it| it.result().is_none() && allowed) {
            tasks.push(at(Task::Synchronization, sync.next(now), false));
        }
        for about in &grounds.mappings {
            let Some(interval) = self.round_interval(scope, &about.name) else { continue };
            // A round may take long: samples that renew evidence do not wait for it.
            let due = self.rounds.next(&about.name, interval, intervals, now);
            tasks.push(at(Task::Round(about.name.clone()), due, false));
        }
        tasks
    }

    /// The samples that are due and renew no valid evidence, where they are few.
    pub fn first_reads(&self, scope: &Scope<'_>) -> Vec<Task> {
        let is_sample = |task: &Task| matches!(task, Task::Checkpoints(_) | Task::Backlog(_));
        let due = self.tasks(scope).into_iter().filter(|it| is_sample(&it.task) && !it.renews && it.due <= scope.now);
        let due: Vec<_> = due.map(|it| it.task).collect();
        if due.len() <= MAX_FIRST_READS { due } else { vec![] }
    }

    /// Records the result of a task that began at `started`.
    pub fn record(&mut self, scope: &Scope<'_>, task: &Task, reading: Reading, started: Timestamp) -> Recorded {
        match (task, reading) {
            (Task::Checkpoints(mapping), Reading::Checkpoints(read)) => {
                self.checkpoints_read(scope, mapping, read, started);
                if self.has_unseen(scope, mapping) {
                    self.rounds.hasten(mapping);
                }
                Recorded::default()
            }
            (Task::Round(mapping), Reading::Round(read, round)) => {
                let of = read.of;
                self.checkpoints_read(scope, mapping, read, started);
                // What was synchronized is read again.
                if let Some(samples) =
                    self.mappings.get_mut(mapping).filter(|it| it.of() == of && round.has_synchronized())
                {
                    samples.pace.request(scope.now);
                }
                let runs = self.grounds.as_ref().and_then(|it| it.mapping(mapping)).is_some_and(|it| it.runs);
                if runs && self.mappings.get(mapping).is_some_and(|it| it.of() == of) {
                    self.rounds.record(mapping, of, round, started, scope);
                }
                Recorded::default()
            }
            (Task::Backlog(instance), Reading::Backlog { of, lag, clock_skew }) => {
                self.backlog_read(scope, instance, &of, lag, clock_skew, started);
                Recorded::default()
            }
            (_, Reading::Items(items)) => self.items_read(scope, items, started),
            (_, Reading::Secrets(hash)) => {
                let wake = self.secrets.fingerprint.is_some_and(|known| known != hash);
                self.secrets.succeeded(started);
                self.secrets.fingerprint = Some(hash);
                Recorded { wake, confirmed: false }
            }
            (_, Reading::Synchronization(run)) => {
                for mapping in run.mappings() {
                    if let Some(samples) = self.mappings.get_mut(mapping) {
                        samples.pace.request(scope.now);
                    }
                }
                if let Some(sync) = &mut self.sync {
                    sync.record(run, scope.intervals, scope.now);
                }
                Recorded::default()
            }
            (_, Reading::Checkpoints(_) | Reading::Round(..) | Reading::Backlog { .. } | Reading::Nothing) => {
                Recorded::default()
            }
        }
    }

    fn items_read(&mut self, scope: &Scope<'_>, items: Result<List<ItemView>, Error>, started: Timestamp) -> Recorded {
        match items {
            Ok(items) if items.is_complete() => {
                let same = self.items.fingerprint == Some(resolve::items_fingerprint(items.entries()));
                self.items.succeeded(started);
                if same && let Some(grounds) = &mut self.grounds {
                    grounds.items_at = grounds.items_at.max(started);
                }
                Recorded { wake: !same, confirmed: same }
            }
            // Nothing follows from what an incomplete list lacks.
            Ok(_) => {
                self.items.failed(scope, Class::Unavailable);
                Recorded::default()
            }
            Err(error) => {
                self.items.failed(scope, error.class);
                // A reconcile says what a person has to do.
                let wake = matches!(error.class, Class::Denied | Class::Invalid | Class::NotFound | Class::Conflict);
                Recorded { wake: wake && self.items.failures == 1, confirmed: false }
            }
        }
    }

    fn backlog_read(
        &mut self,
        scope: &Scope<'_>,
        instance: &str,
        of: &BacklogSource,
        lag: Result<GroupLag, Error>,
        clock_skew: Duration,
        started: Timestamp,
    ) {
        let Some(samples) = self.backlogs.get_mut(instance).filter(|it| it.of() == of) else { return };
        let Some(replicator) = self.grounds.as_ref().and_then(|it| it.replicator(instance)) else { return };
        samples.clock_skew = clock_skew;
        samples.record(lag, started.as_millisecond(), &replicator.topics);
        let (terms, now_ms) = (terms(scope, self), scope.now.as_millisecond());
        let (mut until_ms, mut lasts, mut exceeded) = (Some(i64::MAX), false, false);
        for mapping in replicator.topics.keys() {
            let arrival = self.arrival(replicator, mapping, now_ms, terms);
            lasts |= arrival.lasts();
            exceeded |= arrival == Arrival::Exceeded;
            until_ms = until_ms.and_then(|until_ms| Some(until_ms.min(arrival.proven_until_ms()?)));
        }
        let current = self.grounds.as_ref().is_some_and(|it| it.generation == scope.generation());
        let Some(samples) = self.backlogs.get_mut(instance) else { return };
        // Samples of another spec extend no proof. The next reconcile observes by the new one.
        if !current {
            return samples.pace.delay(scope);
        }
        let outcome = match (until_ms, samples.failure()) {
            (Some(until_ms), None) => Outcome::Proven(until_ms),
            (_, failure) => {
                let lasts = lasts || failure.is_some_and(backlog::lasts);
                // What refutes the objective is renewed before it is too old.
                Outcome::Unproven { until_ms, lasts: lasts && !exceeded }
            }
        };
        samples.pace.sampled(scope, started, outcome);
    }

    fn checkpoints_read(&mut self, scope: &Scope<'_>, mapping: &str, read: CheckpointLists, started: Timestamp) {
        let CheckpointLists { of, lists, clock_skew } = read;
        self.clock_skew = clock_skew;
        let terms = terms(scope, self);
        let Some(grounds) = &self.grounds else { return };
        let Some(about) = grounds.mapping(mapping) else { return };
        let Some(samples) = self.mappings.get_mut(mapping).filter(|it| it.of() == of) else { return };
        match grounds.generation == scope.generation() {
            true => samples.record(scope, grounds, about, lists, started, terms),
            // Samples of another spec extend no proof: the next reconcile says what it is about.
            false => samples.pace.delay(scope),
        }
    }
}
