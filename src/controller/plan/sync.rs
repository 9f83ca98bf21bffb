//! The requested synchronization of every checkpoint: what is done, what failed, and what is left. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::cloud::error::{Class, Error};
use crate::cloud::rocketmq::Checkpoint;
use crate::controller::requeue::Intervals;

/// Maximum number of runs for a checkpoint or mapping with a transient failure.
const MAX_RUNS: u32 = 5;

/// A requested synchronization.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    /// The value of the annotation.
    pub requested: String,
    /// The mappings that are complete.
    complete: BTreeSet<String>,
    /// The checkpoints that were synchronized.
    done: BTreeSet<i64>,
    /// The checkpoints that were not, by their mappings, and the mappings that were not read, with the error of each.
    failed: BTreeMap<(String, Option<i64>), Error>,
    /// The number of runs.
    runs: u32,
    /// The time of the next run.
    next: Option<Timestamp>,
    finished: bool,
}

/// The outcome of a requested synchronization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncResult<'a> {
    /// The number of checkpoints that were synchronized.
    pub done: usize,
    /// The number of checkpoints, and of mappings as a whole, that were not.
    pub failed: usize,
    /// One of the errors.
    pub first: Option<&'a Error>,
}

/// The outcome of one run.
#[derive(Debug, Default)]
pub struct SyncRun {
    mappings: BTreeMap<String, MappingRun>,
    /// Whether a pending mapping was not reached in time.
    unreached: bool,
}

/// The outcome of one run for one mapping.
#[derive(Debug, Default)]
pub struct MappingRun {
    /// The checkpoints that were synchronized.
    pub done: Vec<i64>,
    /// The checkpoints that were not.
    pub failed: Vec<(i64, Error)>,
    /// The error of the list of checkpoints, also of an incomplete one.
    pub unread: Option<Error>,
    /// Whether checkpoints were not reached in time.
    pub unfinished: bool,
}

impl SyncRun {
    /// Adds the outcome for a mapping.
    pub fn add(&mut self, mapping: String, run: MappingRun) {
        self.mappings.insert(mapping, run);
    }

    /// Ends the run of a request that was pending for these mappings.
    pub fn finish<'a>(&mut self, mut pending: impl Iterator<Item = &'a str>) {
        self.unreached = pending.any(|name| !self.mappings.contains_key(name));
    }

    /// The names of the mappings.
    pub fn mappings(&self) -> impl Iterator<Item = &str> {
        self.mappings.keys().map(String::as_str)
    }
}

impl SyncRequest {
    /// A request by an annotation with this value.
    pub fn new(requested: &str) -> Self {
        Self {
            requested: requested.to_owned(),
            complete: BTreeSet::new(),
            done: BTreeSet::new(),
            failed: BTreeMap::new(),
            runs: 0,
            next: None,
            finished: false,
        }
    }

    /// Whether a mapping is not complete.
    pub fn is_pending(&self, mapping: &str) -> bool {
        !self.complete.contains(mapping)
    }

    /// Whether a checkpoint was not synchronized.
    pub fn is_due(&self, checkpoint: &Checkpoint) -> bool {
        !self.done.contains(&checkpoint.checkpoint_id)
    }

    /// The time of the next run.
    pub fn next(&self, now: Timestamp) -> Timestamp {
        self.next.unwrap_or(now)
    }

    /// Adds the outcome of a run.
    pub fn record(&mut self, run: SyncRun, intervals: Intervals, now: Timestamp) {
        let mut unfinished = run.unreached;
        let mut passing = None;
        for (name, mapping) in run.mappings {
            self.failed.retain(|(of, _), _| *of != name);
            let mut complete = !mapping.unfinished;
            self.done.extend(mapping.done);
            let failures = mapping.failed.into_iter().map(|(id, error)| (Some(id), error));
            for (part, error) in failures.chain(mapping.unread.map(|error| (None, error))) {
                if passes(error.class) {
                    (complete, passing) = (false, Some(error.class));
                }
                self.failed.insert((name.clone(), part), error);
            }
            unfinished |= mapping.unfinished;
            if complete {
                self.complete.insert(name);
            }
        }
        self.runs = if unfinished { 0 } else { self.runs + 1 };
        // Checkpoints that were not reached in time are reached by the next run at once.
        let retry = passing.filter(|_| self.runs < MAX_RUNS);
        self.finished = !unfinished && retry.is_none();
        self.next = retry.and_then(|class| now.checked_add(intervals.failed_read(class, self.runs)).ok());
    }

    /// The outcome, once nothing more is tried.
    pub fn result(&self) -> Option<SyncResult<'_>> {
        let result =
            SyncResult { done: self.done.len(), failed: self.failed.len(), first: self.failed.values().next() };
        self.finished.then_some(result)
    }
}

/// Whether a later run may succeed.
pub fn passes(class: Class) -> bool {
    match class {
        Class::Throttled { .. } | Class::Unavailable | Class::Ambiguous => true,
        Class::NotFound | Class::Conflict | Class::Denied | Class::Invalid => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cloud::operation::ApiOperation;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_second(1_740_000_000 + s).unwrap_or_default()
    }

    fn intervals() -> Intervals {
        Intervals::for_test(Duration::from_secs(60), Duration::from_secs(60), Duration::from_secs(5))
    }

    fn failure(class: Class) -> Error {
        let (operation, code) = (ApiOperation::SyncDisasterRecoveryCheckpoint, format!("{class:?}"));
        Error { class, operation, code, message: String::new(), request_id: None }
    }

    fn checkpoint(checkpoint_id: i64) -> Checkpoint {
        Checkpoint { checkpoint_id, last_sync_time: None, source_progress: None, target_progress: None }
    }

    fn done(ids: &[i64]) -> MappingRun {
        MappingRun { done: ids.to_vec(), ..MappingRun::default() }
    }

    /// A run that reached each pending mapping.
    fn run<const N: usize>(mappings: [(&str, MappingRun); N]) -> SyncRun {
        let names: Vec<_> = mappings.iter().map(|(name, _)| *name).collect();
        let mut run = SyncRun::default();
        for (name, mapping) in mappings {
            run.add(name.to_owned(), mapping);
        }
        run.finish(names.into_iter());
        run
    }

    /// A run whose time was over before it reached the mapping `b`.
    fn cut_off(a: MappingRun) -> SyncRun {
        let mut run = run([("a", a)]);
        run.finish(["a", "b"].into_iter());
        run
    }

    /// The request after these runs, each 100 s after the one before.
    fn after<const N: usize>(runs: [SyncRun; N]) -> SyncRequest {
        let mut request = SyncRequest::new("now");
        for (run, s) in runs.into_iter().zip((0..).step_by(100)) {
            request.record(run, intervals(), at(s));
        }
        request
    }

    /// The outcome in short: synchronized, failed and the code of one error.
    fn result(request: &SyncRequest) -> Option<(usize, usize, &str)> {
        let SyncResult { done, failed, first } = request.result()?;
        Some((done, failed, first.map_or("", |error| error.code.as_str())))
    }

    #[test]
    fn each_outcome_of_run_has_its_consequence() {
        let failed = |class| MappingRun { done: vec![1], failed: vec![(2, failure(class))], ..MappingRun::default() };
        let unread = |class| MappingRun { unread: Some(failure(class)), ..MappingRun::default() };
        let throttled = Class::Throttled { after: Some(Duration::from_secs(33)) };
        let rest = || ("b", done(&[3]));
        // The outcome, or the mappings that are left and the seconds until the next run.
        for (name, run, expected, pending, next) in [
            ("all", run([("a", done(&[1, 2])), rest()]), Some((3, 0, "")), [false, false], None),
            ("nothing to do", run([("a", done(&[])), ("b", done(&[]))]), Some((0, 0, "")), [false, false], None),
            ("refused", run([("a", failed(Class::Invalid)), rest()]), Some((2, 1, "Invalid")), [false, false], None),
            ("denied", run([("a", failed(Class::Denied)), rest()]), Some((2, 1, "Denied")), [false, false], None),
            ("gone", run([("a", failed(Class::NotFound)), rest()]), Some((2, 1, "NotFound")), [false, false], None),
            ("conflict", run([("a", failed(Class::Conflict)), rest()]), Some((2, 1, "Conflict")), [false, false], None),
            (
                "unread for ever",
                run([("a", unread(Class::Denied)), rest()]),
                Some((1, 1, "Denied")),
                [false, false],
                None,
            ),
            ("unavailable", run([("a", failed(Class::Unavailable)), rest()]), None, [true, false], Some(5)),
            ("ambiguous", run([("a", failed(Class::Ambiguous)), rest()]), None, [true, false], Some(5)),
            ("throttled", run([("a", failed(throttled)), rest()]), None, [true, false], Some(33)),
            ("unread", run([("a", unread(Class::Unavailable)), rest()]), None, [true, false], Some(5)),
        ] {
            let request = after([run]);
            assert_eq!(result(&request), expected, "{name}");
            assert_eq!(["a", "b"].map(|it| request.is_pending(it)), pending, "{name}");
            let wait = request.next(at(1_000)).as_second() - at(0).as_second();
            assert_eq!(wait, next.unwrap_or(1_000), "{name}");
        }
    }

    #[test]
    fn unreached_mapping_is_reached_by_next_run() {
        let unfinished = MappingRun { unfinished: true, ..done(&[1]) };
        let request = after([cut_off(unfinished)]);
        assert_eq!((result(&request), request.next(at(7))), (None, at(7)), "at once");
        assert!(request.is_pending("a") && request.is_pending("b"));
        // The time was over right after the last checkpoint of a mapping.
        let request = after([cut_off(done(&[1]))]);
        assert_eq!((result(&request), request.next(at(7))), (None, at(7)));
        assert!(!request.is_pending("a") && request.is_pending("b"));
        let request = after([cut_off(done(&[1])), run([("b", done(&[2]))])]);
        assert_eq!(result(&request), Some((2, 0, "")));
    }

    #[test]
    fn unreached_mappings_are_no_attempt() {
        let failing = || MappingRun { failed: vec![(2, failure(Class::Unavailable))], ..done(&[1]) };
        let mut request = after([cut_off(failing()), cut_off(failing()), cut_off(failing())]);
        for runs in 1..=5 {
            assert_eq!(result(&request), None, "{runs}");
            request.record(run([("a", failing()), ("b", done(&[]))]), intervals(), at(900));
        }
        assert_eq!(result(&request), Some((1, 1, "Unavailable")));
    }

    #[test]
    fn checkpoint_is_synchronized_once() {
        let partly = MappingRun { failed: vec![(2, failure(Class::Unavailable))], ..done(&[1]) };
        let mut request = after([run([("a", partly), ("b", done(&[]))])]);
        assert_eq!([1, 2, 3].map(|id| request.is_due(&checkpoint(id))), [false, true, true]);
        request.record(run([("a", done(&[2]))]), intervals(), at(100));
        assert_eq!(result(&request), Some((2, 0, "")), "a failure that passed is no failure");
    }

    #[test]
    fn passing_failure_is_given_up_after_five_runs() {
        let failing = || {
            run([("a", MappingRun { failed: vec![(2, failure(Class::Unavailable))], ..done(&[1]) }), ("b", done(&[]))])
        };
        let mut request = SyncRequest::new("now");
        let mut waits = vec![];
        for _ in 0..5 {
            request.record(failing(), intervals(), at(0));
            waits.push(request.next(at(0)).as_second() - at(0).as_second());
        }
        assert_eq!(waits, [5, 10, 15, 15, 0]);
        assert_eq!(result(&request), Some((1, 1, "Unavailable")));
    }

    #[test]
    fn lasting_failure_counts_beside_passing_one() {
        let refused = || MappingRun { failed: vec![(1, failure(Class::Invalid))], ..done(&[2]) };
        let passing = MappingRun { failed: vec![(3, failure(Class::Unavailable))], ..done(&[]) };
        let request = after([run([("a", refused()), ("b", passing)]), run([("b", done(&[3]))])]);
        assert_eq!(result(&request), Some((2, 1, "Invalid")));
    }
}
