//! A world with random actions of users, of people at the console, of time and of faults, and its invariants.

use std::collections::BTreeMap;

use disaster_recovery_operator::api::DRILL_ANNOTATION;
use disaster_recovery_operator::api::disk_replica_group::{
    DeletionPolicy, Direction, FailoverMode, Pair, Phase, Reprotect, Site,
};
use disaster_recovery_operator::cloud::ebs::{GroupView, ReplicationStatus};
use disaster_recovery_operator::cloud::error::{Class, classify};
use disaster_recovery_operator::controller::disk_replica_group::decide::{Action, Step, Verdict};
use disaster_recovery_operator::controller::disk_replica_group::resolve::OWNER_TAG;
use disaster_recovery_operator::simulator::model::ebs::{DiskRules, Production, ReplicaStatus};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::by_status::{active, allowed};
use test_support::driver::faults::Fate;
use test_support::driver::group::*;

/// An event.
#[derive(Clone, Debug)]
pub enum Event {
    /// A reconcile with these faults, one for each changing call in turn and from the start again, with a crash, and with
    /// reads that answer as the last time.
    Pass { faults: Vec<Fate>, crash: Crash, stale: bool },
    /// The user waits so many ms.
    Wait(i64),
    /// The user changes the spec by a merge patch.
    Edit(Value),
    /// The user sets pairs of these names.
    Pairs(Vec<&'static str>),
    /// The user requests a drill now.
    Drill,
    /// The next transition of the cloud fails.
    FailNext,
    /// A person ends the failure that status shows; there are several ways.
    Mend(bool),
    /// The disks of a site are attached to instances, or detached.
    Attach(Site, bool),
}

/// The last attempt at a call, and whether another token may be used now.
#[derive(Debug)]
struct Call {
    sequence: i64,
    free: bool,
    /// The time of the last attempt without an outcome in status, in ms.
    lost: Option<i64>,
}

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Accepted,
    Refused,
    /// The cloud may have carried it out.
    Unknown,
    /// An earlier call failed, or a crash came first.
    NotTried,
}

/// A world, and what is known of it for its invariants.
pub struct Trial {
    pub world: World,
    calls: BTreeMap<String, Call>,
    /// Direction and status of the group at the last fresh observation, and the time of that in ms.
    truth: Option<(Direction, String)>,
    observed_at: i64,
    /// Whether there was a fresh observation.
    observed: bool,
    /// The number of requests by the user.
    pub asked: usize,
    /// Whether a person ended a failure in a way that the spec does not ask for.
    pub meddled: bool,
    drills: usize,
}

/// Whether a failover of the group failed: the operator repeats it.
fn failed_over(group: &GroupView) -> bool {
    group.status == ReplicationStatus::FailoverFailed
}

fn name(status: ReplicaStatus) -> String {
    serde_json::to_value(status).unwrap().as_str().unwrap().to_owned()
}

impl Trial {
    pub fn new(world: World) -> Trial {
        let (calls, truth) = Default::default();
        Trial { world, calls, truth, observed_at: 0, observed: false, asked: 0, meddled: false, drills: 0 }
    }

    /// The direction and status of our group in the model.
    fn truth(&self) -> Option<(Direction, String)> {
        let inspection = self.world.inspect();
        let group = inspection.groups.first()?;
        let truth = self.world.disks(|disks, _| disks.group(&group.replica_group_id).cloned())?;
        let forward = truth.source.zone == self.world.object.spec.source.zone_id;
        let direction = if forward { Direction::Forward } else { Direction::Reverse };
        Some((direction, name(group.status)))
    }

    pub fn happen(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match event {
            Event::Pass { faults, crash, stale } => self.pass(faults, *crash, *stale).map(drop)?,
            Event::Wait(ms) => self.world.advance(*ms),
            Event::Edit(patch) => {
                self.world.want(patch.clone());
                self.asked += usize::from(patch.get("failover").or(patch.get("activeSite")).is_some());
            }
            Event::Pairs(names) => {
                let pairs: Vec<_> = names.iter().map(|it| pair(it)).collect();
                self.world.want(json!({ "pairs": pairs }));
            }
            Event::Drill => {
                self.drills += 1;
                self.world.annotate(DRILL_ANNOTATION, &self.drills.to_string());
            }
            Event::FailNext => self.console(json!({"failNext": true})),
            Event::Mend(other) => self.mend(*other),
            Event::Attach(site, attached) => {
                for pair in ["data", "logs", "temp"] {
                    let end = if *site == Site::Source { 's' } else { 'd' };
                    self.world.attach(&format!("d-{pair}-{end}"), *attached);
                }
            }
        }
        Ok(())
    }

    fn console(&mut self, edit: Value) {
        if !self.world.inspect().groups.is_empty() {
            self.world.console(edit);
        }
    }

    /// Ends a failure that status shows, as a person does.
    fn mend(&mut self, other: bool) {
        let Some((_, now)) = self.truth() else { return };
        if self.world.status.group_status.as_deref() != Some(&now) {
            return;
        }
        let to = match (now.as_str(), other) {
            ("failover_failed", false) | ("reprotect_failed", true) | ("invalid", _) => "stopped",
            ("failover_failed", true) | ("reprotect_failed", false) => "failovered",
            ("create_failed" | "delete_failed", _) => {
                return self.world.drop_group();
            }
            _ => return,
        };
        self.meddled |= now == "failover_failed" || now == "reprotect_failed";
        self.console(json!({ "status": to }));
    }

    pub fn pass(&mut self, fates: &[Fate], crash: Crash, stale: bool) -> Result<Passed, TestCaseError> {
        let now = self.world.now();
        // No list is older than the time until the result of a call is visible.
        let stale = stale && self.observed && now - self.observed_at < 100_000;
        let mut truth = self.truth();
        let fates = fates.iter().cloned().cycle().take(16).collect();
        let passed = if stale {
            self.world.pass_in_past(self.observed_at, fates, crash)
        } else {
            (self.truth, self.observed_at) = (truth.clone(), now);
            self.world.faulty_pass(fates, crash)
        };
        let passed = passed.map_err(|error| TestCaseError::fail(format!("nothing was observed: {error}")))?;
        if stale {
            truth.clone_from(&self.truth);
        } else {
            self.observed = true;
        }
        for step in &passed.decision.steps {
            self.step(step, &passed, now)?;
        }
        self.tokens(&passed, crash, now)?;
        self.state(&passed, crash, truth)?;
        Ok(passed)
    }

    /// Invariants of every step.
    fn step(&self, step: &Step, passed: &Passed, decided_at: i64) -> Result<(), TestCaseError> {
        let spec = &self.world.object.spec;
        let (life, deleting) = (&passed.decision.details.lifecycle, self.world.deleting());
        // A lost call that is repeated with its token asks for its outcome.
        let asks = life.unproven().is_some() && step.lost.is_some();
        if let Some(group) = passed.seen.group.group().filter(|_| !asks) {
            prop_assert_eq!(allowed(step, group.status.as_str()), Ok(()));
        }
        let production = life.direction.production();
        let named = |id: &str| {
            let pair = passed.seen.pairs.iter().find(|it| it.replica_pair_id == id);
            let disks = pair.map(|it| [it.source_disk_id.clone(), it.destination_disk_id.clone()]);
            let both = |it: &Pair| {
                let wanted = [Some(it.source_disk_id.clone()), Some(it.destination_disk_id.clone())];
                disks.as_ref().is_some_and(|disks| wanted.iter().all(|disk| disks.contains(disk)))
            };
            spec.pairs.iter().any(both)
        };
        let delete = deleting && spec.deletion_policy == DeletionPolicy::Delete;
        match &step.action {
            // A call that may have been made is repeated.
            Action::FailoverGroup if step.lost.is_some() || passed.seen.group.group().is_some_and(failed_over) => {
                prop_assert!(self.asked > 0 && !deleting);
            }
            Action::FailoverGroup => {
                let wanted = Some(life.direction.standby());
                prop_assert_eq!(spec.active_site, wanted, "a failover to a site that the spec does not name");
                prop_assert!(self.asked > 0 && !deleting);
                let request = passed.decision.details.request.request.as_ref().unwrap();
                let expires = request.expires_at.unwrap().as_millisecond();
                prop_assert!(decided_at < expires, "a failover begins after its request expired");
            }
            Action::ReprotectGroup { reverse: true } if !asks => {
                let failover = life.failover_in_effect();
                let planned = failover.is_some_and(|it| it.mode == Some(FailoverMode::Planned));
                let automatic = planned && spec.reprotect() == Reprotect::AfterPlanned;
                let consent = spec.failover.as_ref().and_then(|it| it.overwrite) == Some(production);
                prop_assert!(automatic || consent, "a reversal without consent");
            }
            Action::ReprotectGroup { reverse: false } => {
                let mode = spec.failover.as_ref().map(|it| it.mode);
                prop_assert_eq!((spec.active_site, mode), (Some(production), Some(FailoverMode::Cancel)));
                prop_assert!(!deleting);
            }
            Action::RemovePair { pair_id } | Action::DeletePair { pair_id } => {
                prop_assert!(delete || !named(pair_id), "{pair_id} is named by the spec");
            }
            Action::DeleteGroup => prop_assert!(delete, "the group is retained"),
            Action::CreateGroup(_) => {
                prop_assert_eq!((spec.active_site.unwrap_or_default(), life.active), (Site::Source, Site::Source));
            }
            Action::CreatePair { new, .. } => {
                prop_assert!(life.active == production, "a pair of a group that is failed over");
                let wanted = spec.pairs.iter().map(|it| match production {
                    Site::Source => &it.source_disk_id,
                    Site::Destination => &it.destination_disk_id,
                });
                prop_assert!(wanted.into_iter().any(|disk| *disk == new.disk_id), "the disk in use is overwritten");
            }
            Action::StartDrill => {
                prop_assert!(!deleting && spec.drill.is_some());
                prop_assert!(life.running().is_none(), "a drill during an operation");
            }
            Action::ReprotectGroup { reverse: true } => {}
            Action::AddPair { .. } | Action::ModifyGroup(_) | Action::StartGroup { .. } | Action::StopGroup => {}
            Action::ClearDrill { .. } => {}
        }
        Ok(())
    }

    /// The outcome of a step by the answers that the operator got.
    fn outcome(&self, step: &Step) -> Outcome {
        let tokens = [step.token.as_str(), step.elsewhere.as_str()];
        let attempts = self.world.attempts();
        let mine = attempts.iter().filter(|it| match (&it.token, step.action.has_token()) {
            (Some(token), true) => tokens.contains(&token.as_str()),
            (token, _) => token.is_none() && it.action == step.action.call().operation().as_str(),
        });
        let answers: Vec<_> = mine.map(|it| it.answer.clone()).collect();
        let gone = matches!(step.action, Action::DeletePair { .. } | Action::DeleteGroup);
        match answers.last() {
            None => Outcome::NotTried,
            Some(Some((200, _))) => Outcome::Accepted,
            Some(Some((status, code))) if answers.iter().all(Option::is_some) => {
                match classify(*status, code, None, true) {
                    Class::NotFound if gone => Outcome::Accepted,
                    Class::Ambiguous => Outcome::Unknown,
                    _ if code == "LastTokenProcessing" => Outcome::Unknown,
                    _ => Outcome::Refused,
                }
            }
            Some(_) => Outcome::Unknown,
        }
    }

    /// A call keeps its token until it was refused, or until a reconcile observed its effect or no longer decided on it.
    fn tokens(&mut self, passed: &Passed, crash: Crash, decided_at: i64) -> Result<(), TestCaseError> {
        for attempt in self.world.attempts() {
            let decided = passed.decision.steps.iter().any(|it| {
                let of = [it.token.as_str(), it.elsewhere.as_str()];
                attempt.action == it.action.call().operation().as_str()
                    && attempt.token.as_deref().is_none_or(|token| of.contains(&token))
            });
            prop_assert!(decided, "{attempt:?} was not decided");
        }
        let wanted = |call: &str| {
            passed.decision.steps.iter().any(|it| it.action.call().to_string() == call)
                || passed.decision.details.awaited.iter().any(|it| it.to_string() == call)
        };
        // The time of the outcome, and that of the attempt as status has it.
        let (now, at) = (self.world.now() - self.world.pace, decided_at / 1000 * 1000);
        for step in passed.decision.steps.iter().filter(|it| it.action.has_token()) {
            let (call, sequence) = (step.action.call().to_string(), step.sequence);
            let outcome = self.outcome(step);
            if let Some(before) = self.calls.get(&call) {
                prop_assert!(
                    before.free || before.sequence == sequence,
                    "{call}: sequence {sequence} after {} without an outcome; {:?}",
                    before.sequence,
                    (&passed.seen.group, self.world.status.pending_calls.clone())
                );
            }
            let failed = matches!(outcome, Outcome::Unknown | Outcome::Refused);
            let before = self.calls.get(&call).filter(|it| it.sequence == sequence).and_then(|it| it.lost);
            // The next reconcile repeats what status does not know. A refusal says nothing about a lost attempt before it.
            let free = outcome != Outcome::Unknown && crash == Crash::Never;
            let lost = if failed && free { before } else { Some(at) };
            let free = free && !(failed && before.is_some_and(|at| now - at <= 120_000));
            if outcome != Outcome::NotTried {
                self.calls.insert(call, Call { sequence, free, lost });
            }
        }
        for (call, known) in &mut self.calls {
            known.free |= !wanted(call) && crash == Crash::Never;
        }
        Ok(())
    }

    /// Invariants of the cloud and of status after every reconcile. `truth` is from the time of the observation.
    fn state(&self, passed: &Passed, crash: Crash, truth: Option<(Direction, String)>) -> Result<(), TestCaseError> {
        let inspection = self.world.inspect();
        prop_assert!(inspection.groups.len() <= 1, "{} groups", inspection.groups.len());
        prop_assert!(inspection.drills.len() <= 1, "{} drills", inspection.drills.len());
        let operations = &self.world.status.operations;
        prop_assert!(operations.len() <= 10);
        prop_assert!(operations.iter().skip(1).all(|it| it.phase != Phase::Running), "two operations at once");
        if crash != Crash::Never || self.world.released.is_some() {
            return Ok(());
        }
        // A state that one read does not prove is waited for.
        let proven = passed.decision.details.lifecycle.unproven().is_none();
        if let (Some((direction, status)), Some(_), true) = (truth, passed.seen.group.group(), proven) {
            let known = &self.world.status;
            prop_assert_eq!(known.direction, Some(direction), "{}", status);
            prop_assert_eq!(known.group_status.as_ref(), Some(&status));
            if !matches!(status.as_str(), "invalid" | "creating" | "create_failed" | "deleting" | "delete_failed") {
                prop_assert_eq!(known.active_site, Some(active(&status, direction)), "{}", status);
            }
        }
        Ok(())
    }

    /// Removes every obstacle and reconciles until nothing is left to do.
    pub fn settle(&mut self) -> Result<Passed, TestCaseError> {
        self.world.pace = 20_000;
        let mut quiet = 0;
        let mut trace = vec![];
        for _ in 0..400 {
            for site in [Site::Source, Site::Destination] {
                self.happen(&Event::Attach(site, false))?;
            }
            self.mend(false);
            let passed = self.pass(&[], Crash::Never, false)?;
            let stuck = passed.decision.steps.iter().any(|it| {
                let failed = matches!(self.outcome(it), Outcome::Unknown | Outcome::Refused);
                it.action == Action::FailoverGroup && failed
            });
            // A forced failover to a disk that was never synchronized: the user reads the cloud's refusal, and withdraws.
            if stuck {
                let back = passed.decision.details.lifecycle.direction.production();
                self.happen(&Event::Edit(json!({"activeSite": back.as_str()})))?;
            }
            // The remedy that the message names.
            if let Verdict::Refused { reason: "ReprotectWaits", .. } = passed.decision.verdict {
                self.world.consent();
            }
            let rest =
                matches!(passed.decision.verdict, Verdict::InSync | Verdict::Refused { .. } | Verdict::Released { .. });
            quiet = if rest
                && passed.decision.steps.is_empty()
                && passed.decision.details.awaited.is_empty()
                && !passed.decision.details.drill_busy
            {
                quiet + 1
            } else {
                0
            };
            if quiet > 12 || self.world.released.is_some() {
                return Ok(passed);
            }
            trace.push((passed.summary(), self.world.attempts()));
        }
        let last = trace.split_off(trace.len() - 6);
        Err(TestCaseError::fail(format!("not at rest; the last: {last:#?}; {:#?}", self.world.status)))
    }

    /// Whether the cloud matches the spec, by the model alone.
    pub fn matches_spec(&self) -> Result<(), TestCaseError> {
        let (direction, status) = self.truth().unwrap();
        let spec = &self.world.object.spec;
        prop_assert!(spec.active_site.is_none_or(|wanted| wanted == active(&status, direction)), "{}", status);
        let running = spec.replication == Default::default();
        match status.as_str() {
            "failovered" => prop_assert_eq!(spec.reprotect(), Reprotect::Manual),
            "normal" | "syncing" | "initial_syncing" => prop_assert!(running, "{}", status),
            "stopped" | "created" => prop_assert!(!running, "{}", status),
            other => prop_assert!(false, "{}", other),
        }
        let inspection = self.world.inspect();
        let ours = inspection.pairs.iter().filter(|it| it.tags.iter().any(|tag| tag.tag_key == OWNER_TAG));
        let mut found: Vec<_> = ours.map(|it| it.source_disk_id.clone().max(it.destination_disk_id.clone())).collect();
        let mut wanted: Vec<_> = spec.pairs.iter().map(|it| it.source_disk_id.clone()).collect();
        found.sort();
        wanted.sort();
        prop_assert_eq!(found, wanted, "pairs");
        let wanted = spec.group_name.clone().unwrap_or("orders-db".into());
        let found = inspection.groups[0].group_name.clone().unwrap();
        prop_assert!(found == wanted || spec.group_name.is_none(), "{found}");
        Ok(())
    }
}

/// Rules of clouds that differ in the duration of transitions, in which site counts as production after a reversal, in what they
/// name as the source then, in the delay of recovery points, and in what a failover may open.
pub fn rules() -> impl Strategy<Value = DiskRules> {
    let delays = proptest::sample::select(vec![0, 4_000, 40_000]);
    let points = proptest::sample::select(vec![0, 7_000, 30_000]);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (delays, points, flags).prop_map(|(delay_ms, point_delay_ms, (slow, stays, site_names_fixed, early))| DiskRules {
        site_names_fixed,
        point_delay_ms,
        failover_before_first_copy: early,
        delay_ms,
        initial_sync_ms: slow.then_some(150_000),
        production: if stays { Production::Primary } else { Production::Source },
        ..DiskRules::default()
    })
}
