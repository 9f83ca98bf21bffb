//! The evidence of a plan: what its last reconcile observed, the samples of consumer progress, and when each is read again. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::grounds::{Grounds, GroundsOfMapping};
use super::inventory::ListedPlan;
use super::observe::Observed;
use super::sync::{SyncRequest, SyncRun};
use super::{Scope, lag, resolve};
use crate::api::SYNC_CHECKPOINTS_ANNOTATION;
use crate::api::plan::{DisasterRecoveryPlanSpec, PlanType};
use crate::cloud::error::{Class, Error};
use crate::cloud::list::List;
use crate::cloud::rocketmq::{Checkpoint, ItemView};
use crate::controller::evidence::progress::{Judgement, MAX_LIST_AGE_MS, Reading as Progress, Terms, Track};
use crate::controller::resource::{Recorded, Scheduled};

/// A read of a plan between reconciles.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// The checkpoints of a topic mapping.
    Checkpoints(String),
    /// The list of items.
    Items,
    /// The Secrets of the instances.
    Secrets,
    /// The requested synchronization of every checkpoint.
    Synchronization,
}

/// The result of a task.
#[derive(Debug)]
pub enum Reading {
    /// The checkpoints of one mapping.
    Checkpoints {
        /// The plan and the item.
        of: (i64, i64),
        /// The lists, by the ID of the source instance.
        lists: BTreeMap<String, Result<List<Checkpoint>, Error>>,
        /// The distance between the clocks of the operator and of the cloud.
        clock_skew: Duration,
    },
    /// The list of items.
    Items(Result<List<ItemView>, Error>),
    /// A hash of the Secrets under a key of this process.
    Secrets(u64),
    /// A part of the requested synchronization.
    Synchronization(SyncRun),
}

/// What this process knows of a plan between reconciles.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What the last reconcile observed.
    pub grounds: Option<Grounds>,
    /// The samples, by the name of the topic mapping.
    pub mappings: BTreeMap<String, MappingSamples>,
    /// The list of items.
    items: Repeated,
    /// The Secrets of the instances.
    secrets: Repeated,
    /// The plan in Get and in the list of plans.
    pub(super) listed: ListedPlan,
    /// The distance between the clocks of the operator and of the cloud.
    pub clock_skew: Duration,
    /// The requested synchronization of every checkpoint.
    pub sync: Option<SyncRequest>,
}

/// A read that is repeated to find differences.
#[derive(Clone, Debug, Default)]
struct Repeated {
    /// What the last reconcile observed, as a hash.
    fingerprint: Option<u64>,
    /// The start of the last read that succeeded.
    read: Option<Timestamp>,
    /// The number of failures in a row, and the time of the next attempt after them.
    failures: u32,
    retry: Option<Timestamp>,
}

/// The samples of one topic mapping.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MappingSamples {
    /// The plan and the item.
    of: (i64, i64),
    /// By the ID of the source instance.
    sources: BTreeMap<String, SourceSamples>,
    /// The time of the next sample; at once, where absent.
    next: Option<Timestamp>,
    /// A sample that began before this time says little about the present: another one follows it at once.
    outdated_before: Option<Timestamp>,
    /// The end of what the samples prove of the mapping.
    proven_until_ms: Option<i64>,
    /// The number of samples in a row that proved nothing.
    unproven: u32,
}

/// The samples of one topic mapping from one source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceSamples {
    /// The start of the newest complete list, in ms.
    complete_ms: Option<i64>,
    /// The start of the first complete list while the item runs, in ms.
    first_complete_ms: Option<i64>,
    /// The time up to which the newest complete list certainly shows every group, in ms.
    current_ms: Option<i64>,
    /// By consumer group, topic and ID of the checkpoint.
    tracks: BTreeMap<(String, String, i64), Track>,
    /// The failure of the newest read.
    failure: Option<Error>,
    /// Whether the newest list was incomplete.
    incomplete: bool,
}

impl MappingSamples {
    /// The samples of each source, by the ID of its instance.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &SourceSamples)> {
        self.sources.iter().map(|(id, samples)| (id.as_str(), samples))
    }

    /// Requests a sample that begins at this time or later.
    fn request(&mut self, at: Timestamp) {
        (self.next, self.outdated_before) = (None, Some(at));
    }

    /// The samples of one source.
    pub fn source(&self, id: &str) -> Option<&SourceSamples> {
        self.sources.get(id)
    }
}

impl SourceSamples {
    /// The start of the newest complete list, in ms.
    pub fn complete_ms(&self) -> Option<i64> {
        self.complete_ms
    }

    /// The tracks, each with its consumer group and topic.
    pub fn tracks(&self) -> impl Iterator<Item = (&str, &str, &Track)> {
        self.tracks.iter().map(|((group, topic, _), track)| (group.as_str(), topic.as_str(), track))
    }

    /// The failure of the newest read.
    pub fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    /// Whether the newest list was incomplete.
    pub fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Adds a list of this source whose request began at `started_ms`. Absence counts only once complete lists agree over the
    /// visibility window, and lists of an item that does not run prove none.
    fn record(&mut self, source: &str, list: Result<List<Checkpoint>, Error>, started_ms: i64, about: &ListTerms) {
        let list = match list {
            Ok(list) => list,
            Err(error) => {
                // The ID of each request would change the message of a condition.
                self.failure = Some(Error { request_id: None, ..error });
                return;
            }
        };
        let complete = list.is_complete();
        (self.failure, self.incomplete) = (None, !complete);
        let agreed = |last: i64, first: i64| last - first >= about.window_ms;
        let known = self.complete_ms.zip(self.first_complete_ms).is_some_and(|(last, first)| agreed(last, first));
        let absent_ms = self.current_ms.filter(|_| known);
        // The same group under another ID was not absent.
        let names: BTreeSet<_> = self.tracks.keys().map(|(group, topic, _)| (group.clone(), topic.clone())).collect();
        let (mut shown, mut fetched_ms) = (BTreeSet::new(), None);
        for checkpoint in list.into_entries() {
            let side = checkpoint.source_progress.clone().unwrap_or_default();
            if side.instance_id.as_deref().is_some_and(|id| !id.is_empty() && id != source) {
                continue;
            }
            let name = (side.consumer_group_id.unwrap_or_default(), side.topic_name.unwrap_or_default());
            let absent_ms = absent_ms.filter(|_| !names.contains(&name));
            let key = (name.0, name.1, checkpoint.checkpoint_id);
            let reading = progress(&checkpoint, started_ms);
            fetched_ms = fetched_ms.max(reading.source_fetched_ms);
            let track = self.tracks.entry(key.clone()).or_insert_with(|| Track::new(absent_ms));
            track.record(reading, about.objective_ms);
            shown.insert(key);
        }
        self.complete_ms = self.complete_ms.max(complete.then_some(started_ms));
        if complete && about.runs {
            // A list may be late: it shows nothing of the time after its newest progress.
            self.current_ms = self.current_ms.max(Some(fetched_ms.map_or(started_ms, |ms| ms.min(started_ms))));
            self.first_complete_ms = self.first_complete_ms.or(Some(started_ms));
        }
        if complete {
            self.tracks.retain(|key, track| shown.contains(key) || !track.is_gone(started_ms, about.window_ms));
        }
    }
}

/// The terms by which a list of checkpoints is recorded.
struct ListTerms {
    objective_ms: i64,
    /// The visibility window, in ms.
    window_ms: i64,
    /// Whether the item runs.
    runs: bool,
}

/// The progress that a checkpoint shows. The API reports 0 for a time that it does not know.
fn progress(checkpoint: &Checkpoint, requested_ms: i64) -> Progress {
    let known = |ms: Option<i64>| ms.filter(|ms| *ms > 0);
    let (source, target) = (checkpoint.source_progress.as_ref(), checkpoint.target_progress.as_ref());
    let consumed = |side: Option<&crate::cloud::rocketmq::Progress>| {
        known(side.and_then(|it| it.progress_data.as_ref()).and_then(|it| it.consume_timestamp))
    };
    Progress {
        source_ms: consumed(source),
        target_ms: consumed(target),
        last_sync_ms: known(checkpoint.last_sync_time),
        source_fetched_ms: known(source.and_then(|it| it.last_fetch_time)),
        target_fetched_ms: known(target.and_then(|it| it.last_fetch_time)),
        requested_ms,
    }
}

/// The terms by which samples of a plan are judged.
pub fn terms(scope: &Scope<'_>, evidence: &Evidence) -> Terms {
    Terms {
        objective_ms: lag::objective_ms(&scope.object.spec),
        skew_ms: i64::try_from(evidence.clock_skew.as_millis()).unwrap_or(i64::MAX),
        two_way: scope.object.spec.plan_type == PlanType::ActiveActive,
    }
}

impl Evidence {
    /// Adds the observation of a reconcile that began at `started`.
    pub fn learn(&mut self, scope: &Scope<'_>, observed: &Observed, started: Timestamp) {
        let grounds = Grounds::new(scope, observed, started);
        let before = self.grounds.replace(grounds);
        let Some(grounds) = &self.grounds else { return };
        let of = |item_id: i64| (grounds.plan_id.unwrap_or_default(), item_id);
        self.mappings.retain(|name, samples| grounds.item(name).map(of) == Some(samples.of));
        for mapping in &grounds.mappings {
            let new = MappingSamples { of: of(mapping.item_id), ..MappingSamples::default() };
            let samples = self.mappings.entry(mapping.name.clone()).or_insert(new);
            samples.sources.retain(|source, _| grounds.sources.contains(source));
            // A sample from before a change says little about the time after it.
            let changed = before.as_ref().is_none_or(|before| {
                before.generation != grounds.generation || before.mapping(&mapping.name) != Some(mapping)
            });
            if changed || scope.reconcile_requested() {
                samples.request(started);
                samples.unproven = 0;
            }
            // While an item does not run, new groups have no checkpoints.
            if before
                .as_ref()
                .and_then(|before| before.mapping(&mapping.name))
                .is_some_and(|it| it.runs != mapping.runs)
            {
                for source in samples.sources.values_mut() {
                    (source.first_complete_ms, source.current_ms) = (None, None);
                }
            }
        }
        self.items.observed(grounds.items_fingerprint, started);
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
                self.sync = Some(SyncRequest::new(wanted));
            }
            Some(_) => {}
            None => self.sync = None,
        }
    }

    /// The end of what the samples prove of every mapping.
    pub fn proven_until(&self) -> Option<Timestamp> {
        let all: Option<Vec<_>> = self.mappings.values().map(|it| it.proven_until_ms).collect();
        Timestamp::from_millisecond(all?.into_iter().min()?).ok()
    }

    /// When the checkpoints of each mapping were last read whole, in ms.
    pub fn sampled_ms(&self) -> Vec<(String, i64)> {
        let mut all = Vec::new();
        for (name, samples) in &self.mappings {
            let oldest = samples.sources.values().map(|it| it.complete_ms).min().flatten();
            all.extend(oldest.map(|ms| (name.clone(), ms)));
        }
        all
    }

    /// The reads, and when each is due.
    pub fn tasks(&self, scope: &Scope<'_>) -> Vec<Scheduled<Task>> {
        let Some(grounds) = self.grounds.as_ref().filter(|it| it.samples_checkpoints()) else { return vec![] };
        let now = scope.now;
        let mut tasks = Vec::new();
        for (name, samples) in &self.mappings {
            let due = samples.next.unwrap_or(now);
            let proven = samples.proven_until_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
            let (expires, renews) = (proven.unwrap_or(due), proven.is_some_and(|until| due < until));
            if grounds.synchronizes {
                tasks.push(Scheduled { task: Task::Checkpoints(name.clone()), due, expires, renews });
            }
        }
        let intervals = scope.intervals;
        let due = self.items.due(now, intervals.details());
        tasks.push(Scheduled { task: Task::Items, due, expires: due, renews: self.items.failures == 0 });
        let secrets = scope.object.spec.instances.iter().any(|it| it.credentials_secret_ref.is_some());
        if secrets && !scope.observe_only() {
            let due = self.secrets.due(now, intervals.poll);
            tasks.push(Scheduled { task: Task::Secrets, due, expires: due, renews: true });
        }
        let allowed = !grounds.pausing && !scope.observe_only() && grounds.generation == scope.generation();
        if let Some(sync) = self.sync.as_ref().filter(|it| it.result().is_none() && allowed) {
            let due = sync.next(now);
            tasks.push(Scheduled { task: Task::Synchronization, due, expires: due, renews: false });
        }
        tasks
    }

    /// Records the result of a task that began at `started`.
    pub fn record(&mut self, scope: &Scope<'_>, task: &Task, reading: Reading, started: Timestamp) -> Recorded {
        match (task, reading) {
            (Task::Checkpoints(mapping), Reading::Checkpoints { of, lists, clock_skew }) => {
                self.clock_skew = clock_skew;
                if self.mappings.get(mapping).is_some_and(|it| it.of == of) {
                    self.sampled(scope, mapping, lists, started);
                }
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
                        samples.request(scope.now);
                    }
                }
                if let Some(sync) = &mut self.sync {
                    sync.record(run, scope.intervals, scope.now);
                }
                Recorded::default()
            }
            (_, Reading::Checkpoints { .. }) => Recorded::default(),
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

    fn sampled(
        &mut self,
        scope: &Scope<'_>,
        mapping: &str,
        lists: BTreeMap<String, Result<List<Checkpoint>, Error>>,
        started: Timestamp,
    ) {
        let terms = terms(scope, self);
        let spec = &scope.object.spec;
        let Some(grounds) = &self.grounds else { return };
        let Some(about) = grounds.mapping(mapping) else { return };
        let Some(samples) = self.mappings.get_mut(mapping) else { return };
        let window_ms = i64::try_from(scope.visibility_window.as_millis()).unwrap_or(i64::MAX);
        let by = ListTerms { objective_ms: terms.objective_ms, window_ms, runs: about.runs };
        // Samples of another spec extend no proof: the next reconcile says what it is about.
        if grounds.generation != scope.generation() {
            samples.next = scope.now.checked_add(scope.intervals.unproven_sample(1)).ok();
            return;
        }
        let outdated = samples.outdated_before.is_some_and(|before| started < before);
        // The first sample of an item is not one of the item before it.
        if outdated && samples.sources.is_empty() {
            return;
        }
        for (source, list) in lists {
            let samples = samples.sources.entry(source.clone()).or_default();
            samples.record(&source, list, started.as_millisecond(), &by);
        }
        let now_ms = scope.now.as_millisecond();
        let proven_until_ms = proven_until_ms(spec, samples, grounds, about, now_ms, terms);
        samples.proven_until_ms = proven_until_ms;
        // A failed read is repeated soon, and ends no proof.
        let failed = samples.sources.values().any(|it| it.failure.is_some());
        let wait = match proven_until_ms.map(|until_ms| until_ms.saturating_sub(now_ms)) {
            Some(left_ms) if left_ms > 0 && !failed => {
                samples.unproven = 0;
                scope.intervals.proven_sample(Duration::from_millis(left_ms.unsigned_abs()))
            }
            _ => {
                samples.unproven += 1;
                scope.intervals.unproven_sample(samples.unproven)
            }
        };
        if !outdated {
            (samples.next, samples.outdated_before) = (scope.now.checked_add(wait).ok(), None);
        }
    }
}

/// The end of what the samples prove of a mapping, in ms. `None` where they prove nothing.
fn proven_until_ms(
    spec: &DisasterRecoveryPlanSpec,
    samples: &MappingSamples,
    grounds: &Grounds,
    about: &GroundsOfMapping,
    now_ms: i64,
    terms: Terms,
) -> Option<i64> {
    if !about.runs {
        // It is not protected, whatever its progress is. Its list must only be recent.
        return now_ms.checked_add(MAX_LIST_AGE_MS);
    }
    let (mut until_ms, mut counted) = (i64::MAX, 0);
    for source in &grounds.sources {
        let source = samples.sources.get(source)?;
        until_ms = until_ms.min(source.complete_ms?.saturating_add(MAX_LIST_AGE_MS));
        for (_, _, track) in source.tracks().filter(|(group, _, _)| !lag::is_ignored(spec, group)) {
            counted += usize::from(!track.is_missing());
            let Judgement::Within { until_ms: end_ms } = track.judge(now_ms, terms) else { return None };
            until_ms = until_ms.min(end_ms);
        }
    }
    (counted > 0 || !about.expects_checkpoints()).then_some(until_ms)
}

impl Repeated {
    fn observed(&mut self, fingerprint: Option<u64>, at: Timestamp) {
        if fingerprint.is_some() {
            self.fingerprint = fingerprint;
        }
        self.succeeded(at);
    }

    fn succeeded(&mut self, at: Timestamp) {
        (self.read, self.failures, self.retry) = (self.read.max(Some(at)), 0, None);
    }

    fn failed(&mut self, scope: &Scope<'_>, class: Class) {
        self.failures += 1;
        self.retry = scope.now.checked_add(scope.intervals.failed_read(class, self.failures)).ok();
    }

    fn due(&self, now: Timestamp, interval: Duration) -> Timestamp {
        let regular = self.read.and_then(|read| read.checked_add(interval).ok());
        self.retry.or(regular).unwrap_or(now)
    }
}
