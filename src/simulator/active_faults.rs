//! The faults in force, and the past states that stale reads show.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::faults::{Fault, FaultKind};
use super::model::Model;
use super::model::ebs::Disks;

/// The state of plans and disks at a time, ms since the epoch.
#[derive(Clone)]
pub(super) struct Snapshot {
    pub(super) at_ms: i64,
    pub(super) model: Model,
    pub(super) disks: Disks,
}

/// The request that a fault may affect.
pub(super) struct Target<'a> {
    pub(super) action: &'a str,
    /// The region that the request itself names.
    pub(super) region: Option<&'a str>,
    pub(super) path: &'a str,
    /// Whether it can change the cloud.
    pub(super) changing: bool,
}

/// The effect of a fault on a request.
pub(super) struct Effect {
    pub(super) kind: FaultKind,
    /// The past state that the request reads, or whose progress it shows.
    pub(super) past: Option<Snapshot>,
}

/// The states before the requests of a time.
#[derive(Default)]
struct History {
    /// The time that the configuration keeps, ms.
    keep_ms: i64,
    /// The oldest first.
    states: VecDeque<Snapshot>,
}

/// A fault in force.
struct Active {
    fault: Fault,
    added_ms: i64,
    /// The number of requests that it might have affected.
    requests: u64,
    /// The state that reads show while the fault lasts.
    frozen: Option<Snapshot>,
}

/// The faults in force, in the order of their addition.
#[derive(Default)]
pub(super) struct Faults {
    active: Vec<Active>,
    history: History,
}

impl Faults {
    /// No faults. The states of the last `keep_ms` are kept.
    pub(super) fn new(keep_ms: u32) -> Faults {
        let history = History { keep_ms: i64::from(keep_ms), states: VecDeque::new() };
        Faults { active: Vec::new(), history }
    }

    pub(super) fn add(&mut self, fault: Fault, now: Snapshot) {
        let added_ms = now.at_ms;
        let frozen = match fault.kind {
            FaultKind::Frozen { at_ms } => {
                let past = at_ms.and_then(|at_ms| self.history.at(at_ms, i64::MIN));
                Some(past.unwrap_or(now))
            }
            FaultKind::FrozenProgress { .. } => Some(now),
            FaultKind::Stale { .. } => {
                self.history.states.push_back(now);
                None
            }
            _ => None,
        };
        self.active.push(Active { fault, added_ms, requests: 0, frozen });
    }

    pub(super) fn remove(&mut self, over: impl Fn(&Fault) -> bool) {
        self.active.retain(|active| !over(&active.fault));
    }

    pub(super) fn clear(&mut self) {
        self.remove(|_| true);
    }

    /// Returns the effect on this request: that of the first fault that matches and is not used up. A fault that lets
    /// the request through counts it.
    pub(super) fn apply(&mut self, target: &Target<'_>, now: i64) -> Option<Effect> {
        self.active.retain(|active| !active.is_over(now));
        for active in &mut self.active {
            if !active.matches(target) {
                continue;
            }
            if active.fault.after > 0 {
                active.fault.after -= 1;
                continue;
            }
            if !active.is_drawn() {
                continue;
            }
            if let Some(times) = &mut active.fault.times {
                *times -= 1;
            }
            let kind = active.fault.kind.clone();
            let past = match kind {
                FaultKind::Stale { lag_ms } => self.history.at(now.saturating_sub(i64::from(lag_ms)), active.added_ms),
                _ => active.frozen.clone(),
            };
            return Some(Effect { kind, past });
        }
        None
    }

    /// Keeps the state before a request for the reads that will show it.
    pub(super) fn remember(&mut self, now: i64, state: impl FnOnce() -> Snapshot) {
        let lag_ms = |active: &Active| match active.fault.kind {
            FaultKind::Stale { lag_ms } => i64::from(lag_ms),
            _ => 0,
        };
        let longest_lag_ms = self.active.iter().map(lag_ms).max().unwrap_or_default();
        self.history.push(longest_lag_ms, now, state);
    }
}

impl Active {
    fn is_over(&self, now: i64) -> bool {
        let used_up = self.fault.times == Some(0);
        used_up || self.fault.for_ms.is_some_and(|ms| now.saturating_sub(self.added_ms) >= i64::from(ms))
    }

    /// Whether the next request is one of those that the fault affects: the same ones in every run.
    fn is_drawn(&mut self) -> bool {
        self.requests += 1;
        let mut hasher = DefaultHasher::new();
        self.requests.hash(&mut hasher);
        self.fault.percent.is_none_or(|percent| hasher.finish() % 100 < u64::from(percent))
    }

    fn matches(&self, target: &Target<'_>) -> bool {
        let Fault { action, region, path, kind, .. } = &self.fault;
        action.as_deref().is_none_or(|wanted| wanted == target.action)
            && region.as_deref().is_none_or(|wanted| Some(wanted) == target.region)
            && path.as_deref().is_none_or(|end| target.path.ends_with(end))
            && kind.affects(target.changing)
    }
}

impl History {
    /// Adds a state, if it is kept: all of the configured time, sixteen of a lag.
    fn push(&mut self, lag_ms: i64, now: i64, state: impl FnOnce() -> Snapshot) {
        let (keep_ms, step_ms) = if self.keep_ms > 0 { (self.keep_ms.max(lag_ms), 0) } else { (lag_ms, lag_ms / 16) };
        if keep_ms == 0 {
            self.states.clear();
            return;
        }
        if self.states.back().is_none_or(|last| now - last.at_ms >= step_ms) {
            self.states.push_back(state());
        }
        while self.states.front().is_some_and(|oldest| oldest.at_ms < now - keep_ms) {
            self.states.pop_front();
        }
    }

    /// The first state that is no older than this time, as it was then: a state changes with time alone, too. It is shown as of
    /// `earliest` at least.
    fn at(&self, at_ms: i64, earliest: i64) -> Option<Snapshot> {
        let mut state = self.states.iter().find(|state| state.at_ms >= at_ms)?.clone();
        state.at_ms = at_ms.max(earliest);
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_of_the_requests_is_affected() {
        let outage = || Fault::new(FaultKind::Lost).of_percent(50);
        let affected = || {
            let mut faults = Faults::new(0);
            faults.add(outage(), snapshot(0));
            (0..1_000).map(|_| faults.apply(&read("A", None), 0).is_some()).collect::<Vec<_>>()
        };
        let (first, again) = (affected(), affected());
        assert_eq!(first, again, "the same ones in every run");
        let number = first.iter().filter(|it| **it).count();
        assert!((450..550).contains(&number), "{number} of 1,000");
        let in_a_row = first.chunk_by(|a, b| a == b).map(<[bool]>::len).max();
        assert!(in_a_row > Some(4), "by chance, and not by turns: {in_a_row:?}");
    }

    fn snapshot(at_ms: i64) -> Snapshot {
        Snapshot { at_ms, model: Model::new(Default::default()), disks: Disks::new(Default::default()) }
    }

    fn read<'a>(action: &'a str, region: Option<&'a str>) -> Target<'a> {
        Target { action, region, path: "/", changing: false }
    }

    #[test]
    fn fault_skips_after_and_applies_times() {
        let mut faults = Faults::default();
        faults.add(Fault::new(FaultKind::Lost).of_action("A").after(1).times(2), snapshot(0));
        let affected =
            ["B", "A", "A", "B", "A", "A"].map(|action| faults.apply(&read(action, None), 0).is_some()).to_vec();
        assert_eq!(affected, [false, false, true, false, true, false]);
        faults.add(Fault::new(FaultKind::Lost), snapshot(0));
        assert!(faults.apply(&read("B", None), 0).is_some());
        assert!(faults.apply(&read("A", Some("cn-hangzhou")), 0).is_some());
        faults.clear();
        assert!(faults.apply(&read("A", None), 0).is_none());
    }

    #[test]
    fn fault_affects_its_region_and_action_only() {
        let mut faults = Faults::default();
        faults.add(Fault::new(FaultKind::Lost).of_action("A").in_region("cn-hangzhou"), snapshot(0));
        let requests =
            [("A", Some("cn-hangzhou")), ("A", Some("cn-shanghai")), ("A", None), ("B", Some("cn-hangzhou"))];
        let affected = requests.map(|(action, region)| faults.apply(&read(action, region), 0).is_some());
        assert_eq!(affected, [true, false, false, false]);
    }

    #[test]
    fn fault_ends_with_its_time() {
        let mut faults = Faults::default();
        faults.add(Fault::new(FaultKind::Lost).lasting_ms(50), snapshot(1_000));
        assert_eq!([1_000, 1_049, 1_050].map(|now| faults.apply(&read("A", None), now).is_some()), [true, true, false]);
    }

    #[test]
    fn kinds_affect_reads_or_changes_only() {
        for (kind, reads, changes) in [
            (FaultKind::Lost, true, true),
            (FaultKind::Frozen { at_ms: None }, true, false),
            (FaultKind::ShiftedPages { by: 1 }, true, false),
            (FaultKind::UnknownStatus { ids: Vec::new(), status: "MIGRATING".to_owned() }, true, false),
            (FaultKind::WithoutTimestamps { ids: Vec::new() }, true, false),
            (FaultKind::WithoutFetchTimes { ids: Vec::new() }, true, false),
            (FaultKind::FrozenProgress { ids: Vec::new() }, true, false),
            (FaultKind::WithoutTopics { ids: Vec::new() }, true, false),
            (FaultKind::NoEffect, false, true),
            (FaultKind::Twice, false, true),
            (FaultKind::ExecutedLate { ms: 1 }, false, true),
        ] {
            let mut faults = Faults::default();
            faults.add(Fault::new(kind.clone()), snapshot(0));
            let change = Target { changing: true, ..read("A", None) };
            let affected = (faults.apply(&read("A", None), 0).is_some(), faults.apply(&change, 0).is_some());
            assert_eq!(affected, (reads, changes), "{kind:?}");
        }
    }

    #[test]
    fn stale_read_shows_state_of_lag_ago() {
        let mut faults = Faults::default();
        faults.add(Fault::new(FaultKind::Stale { lag_ms: 160 }), snapshot(0));
        let mut shown = Vec::new();
        for now in (0..=400).step_by(5) {
            faults.remember(now, || snapshot(now));
            let past = faults.apply(&read("A", None), now).and_then(|effect| effect.past);
            shown.push(past.map(|past| past.at_ms));
        }
        // Until the fault is old enough, its first state; then the time of the lag ago.
        let expected: Vec<_> = (0..=400).step_by(5).map(|now: i64| Some((now - 160).max(0))).collect();
        assert_eq!(shown, expected);
        assert!(faults.history.states.len() <= 18, "{}", faults.history.states.len());
    }

    #[test]
    fn frozen_read_shows_kept_state_of_time() {
        let mut faults = Faults::new(1_000);
        for now in [100, 100, 200, 300] {
            faults.remember(now, || snapshot(now));
        }
        for (at_ms, shown) in [(None, 400), (Some(150), 150), (Some(200), 200), (Some(999), 400)] {
            faults.clear();
            faults.add(Fault::new(FaultKind::Frozen { at_ms }), snapshot(400));
            let past = faults.apply(&read("A", None), 500).and_then(|effect| effect.past);
            assert_eq!(past.map(|past| past.at_ms), Some(shown), "{at_ms:?}");
        }
    }
}
