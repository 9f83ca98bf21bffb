//! A world in which users, people at the console, time and faults do as they like, and what must hold in it throughout.

use std::collections::BTreeMap;

use disaster_recovery_operator::api::DRILL_ANNOTATION;
use disaster_recovery_operator::api::disk_replica_group::{DeletionPolicy, Direction, Phase, Reprotect, Site};
use disaster_recovery_operator::controller::disk_replica_group::decide::{Action, Step, Verdict};
use disaster_recovery_operator::controller::disk_replica_group::resolve::OWNER_TAG;
use disaster_recovery_operator::controller::steps::Outcome;
use disaster_recovery_operator::simulator::model::ebs::{DiskRules, Production, ReplicaStatus};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::acting::Fault;
use super::by_status::{active, allowed};
use super::world::*;

/// What happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// The operator looks at the object, and this goes wrong.
    Pass { faults: Vec<Fault>, crash: Crash, stale: bool },
    /// Time passes, in ms.
    Wait(i64),
    /// The user changes the spec by a merge patch.
    Edit(Value),
    /// The user asks for pairs of these names.
    Pairs(Vec<&'static str>),
    /// The user asks for a drill now.
    Drill,
    /// The next thing that the cloud does by itself fails.
    FailNext,
    /// A person ends the failure that status shows; there are several ways.
    Mend(bool),
    /// The disks of a site are attached to instances, or detached.
    Attach(Site, bool),
}

/// What was last done of a call, and whether it may be done with another token.
#[derive(Debug)]
struct Call {
    sequence: i64,
    free: bool,
    /// When its answer was last lost.
    lost: Option<i64>,
}

/// A world, and what must hold in it.
pub struct Trial {
    pub world: World,
    calls: BTreeMap<String, Call>,
    /// Where replication comes from and what the status is, when the cloud was last looked at.
    truth: Option<(Direction, String)>,
    looked: i64,
    /// How many sites the user asked for.
    pub asked: usize,
    /// Whether a person ended a failure in a way that the spec does not ask for.
    pub meddled: bool,
    drills: usize,
}

fn name(status: ReplicaStatus) -> String {
    serde_json::to_value(status).unwrap().as_str().unwrap().to_owned()
}

impl Trial {
    pub fn new(world: World) -> Trial {
        let (calls, truth) = Default::default();
        Trial { world, calls, truth, looked: 0, asked: 0, meddled: false, drills: 0 }
    }

    /// The direction and status of our group in the model.
    fn look(&mut self) -> Option<(Direction, String)> {
        self.world.disks.advance(self.world.now);
        let inspection = self.world.disks.inspect();
        let group = inspection.groups.first()?;
        let truth = self.world.disks.group(&group.replica_group_id)?;
        let forward = truth.source.zone == self.world.object.spec.source.zone_id;
        let direction = if forward { Direction::Forward } else { Direction::Reverse };
        Some((direction, name(group.status)))
    }

    pub fn happen(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match event {
            Event::Pass { faults, crash, stale } => self.pass(faults, *crash, *stale).map(drop)?,
            Event::Wait(ms) => self.world.advance(*ms),
            Event::Edit(patch) => {
                let before = self.world.object.spec.active_site;
                self.world.edit(patch.clone());
                self.asked += usize::from(before != self.world.object.spec.active_site);
            }
            Event::Pairs(names) => {
                let pairs: Vec<_> = names.iter().map(|it| pair(it)).collect();
                self.world.edit(json!({ "pairs": pairs }));
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
                    self.world.disks.attach(&format!("d-{pair}-{end}"), *attached);
                }
            }
        }
        Ok(())
    }

    fn console(&mut self, edit: Value) {
        if !self.world.disks.inspect().groups.is_empty() {
            self.world.console(edit);
        }
    }

    /// A person ends a failure that status shows.
    fn mend(&mut self, other: bool) {
        let Some((_, now)) = self.look() else { return };
        if self.world.status.group_status.as_deref() != Some(&now) {
            return;
        }
        let to = match (now.as_str(), other) {
            ("failover_failed", false) | ("reprotect_failed", true) | ("invalid", _) => "stopped",
            ("failover_failed", true) | ("reprotect_failed", false) => "failovered",
            ("create_failed" | "delete_failed", _) => {
                let id = self.world.group_id();
                return self.world.disks.drop_group(&id).unwrap();
            }
            _ => return,
        };
        self.meddled |= now == "failover_failed" || now == "reprotect_failed";
        self.console(json!({ "status": to }));
    }

    pub fn pass(&mut self, faults: &[Fault], crash: Crash, stale: bool) -> Result<Option<Passed>, TestCaseError> {
        // No list is older than a call takes to show.
        let stale = stale && self.world.last.is_some() && self.world.now - self.looked < 100_000;
        if !stale {
            (self.truth, self.looked) = (self.look(), self.world.now);
        }
        let mut faults = faults.iter().copied().cycle();
        let Some(passed) = self.world.faulty_pass(&mut |_| faults.next().unwrap_or(Fault::None), crash, stale) else {
            return Ok(None);
        };
        for step in &passed.decision.steps {
            self.step(step, &passed)?;
        }
        self.tokens(&passed, crash)?;
        self.state(&passed, crash)?;
        Ok(Some(passed))
    }

    /// What holds of every step.
    fn step(&self, step: &Step, passed: &Passed) -> Result<(), TestCaseError> {
        let spec = &self.world.object.spec;
        let (life, deleting) = (&passed.decision.details.lifecycle, self.world.deleting());
        // A lost call that is made again with its token asks what became of it.
        let asks = life.unproven().is_some() && step.lost.is_some();
        if let Some(group) = passed.seen.group.group().filter(|_| !asks) {
            prop_assert_eq!(allowed(&passed.decision, group.status.as_str()), Ok(()));
        }
        let production = life.direction.production();
        let named = |id: &str| {
            let pair = passed.seen.pairs.iter().find(|it| it.replica_pair_id == id);
            let disks = pair.map(|it| [it.source_disk_id.clone(), it.destination_disk_id.clone()]);
            let both = |it: &disaster_recovery_operator::api::disk_replica_group::Pair| {
                let wanted = [Some(it.source_disk_id.clone()), Some(it.destination_disk_id.clone())];
                disks.as_ref().is_some_and(|disks| wanted.iter().all(|disk| disks.contains(disk)))
            };
            spec.pairs.iter().any(both)
        };
        let delete = deleting && spec.deletion_policy == DeletionPolicy::Delete;
        match &step.action {
            Action::FailoverGroup => {
                prop_assert_eq!(
                    spec.active_site,
                    life.direction.standby(),
                    "a failover to the site that is not asked for"
                );
                prop_assert!(self.asked > 0 && !deleting);
            }
            Action::ReprotectGroup { reverse: true } if !asks => {
                prop_assert!(spec.reprotect == Reprotect::Automatic && (delete || spec.active_site == life.active));
            }
            Action::ReprotectGroup { reverse: false } => {
                prop_assert!(spec.active_site == production && self.asked > 0 && !deleting);
            }
            Action::RemovePair { pair_id } | Action::DeletePair { pair_id } => {
                prop_assert!(delete || !named(pair_id), "{pair_id} is named by the spec");
            }
            Action::DeleteGroup => prop_assert!(delete, "the group is to be kept"),
            Action::CreateGroup(_) => prop_assert_eq!((spec.active_site, life.active), (Site::Source, Site::Source)),
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

    /// A call keeps its token until it was refused, or until a pass saw what it did or did not want it any more.
    fn tokens(&mut self, passed: &Passed, crash: Crash) -> Result<(), TestCaseError> {
        let wanted = |call: &str| {
            passed.decision.steps.iter().any(|it| it.action.call().to_string() == call)
                || passed.decision.details.awaited.iter().any(|it| it.to_string() == call)
        };
        for acted in passed.acted.iter().filter(|it| it.step.action.has_token()) {
            let (call, sequence) = (acted.step.action.call().to_string(), acted.step.sequence);
            if let Some(before) = self.calls.get(&call) {
                prop_assert!(
                    before.free || before.sequence == sequence,
                    "{call}: sequence {sequence} after {}, of which nobody knows; {:?}",
                    before.sequence,
                    (&passed.seen.group, self.world.status.pending_calls.clone())
                );
            }
            let free = match &acted.outcome {
                Outcome::Done(_) | Outcome::Skipped => true,
                Outcome::Failed(error) => {
                    use disaster_recovery_operator::cloud::error::Class;
                    !(matches!(error.class, Class::Ambiguous | Class::Unavailable)
                        || error.code == "LastTokenProcessing")
                }
            };
            let now = self.world.now;
            let before = self.calls.get(&call).filter(|it| it.sequence == sequence).and_then(|it| it.lost);
            let failed = matches!(acted.outcome, Outcome::Failed(_));
            // What status does not know, the next pass repeats. A refusal says nothing of what was lost before.
            let free = free && crash == Crash::Never;
            let lost = if failed && free { before } else { Some(now) };
            let free = free && !(failed && before.is_some_and(|at| now - at <= 120_000));
            if acted.outcome != Outcome::Skipped {
                self.calls.insert(call, Call { sequence, free, lost });
            }
        }
        for (call, known) in &mut self.calls {
            known.free |= !wanted(call) && crash == Crash::Never;
        }
        Ok(())
    }

    /// What holds of the cloud and of status after every pass.
    fn state(&mut self, passed: &Passed, crash: Crash) -> Result<(), TestCaseError> {
        let inspection = self.world.disks.inspect();
        prop_assert!(inspection.groups.len() <= 1, "{} groups", inspection.groups.len());
        prop_assert!(inspection.drills.len() <= 1, "{} drills", inspection.drills.len());
        let operations = &self.world.status.operations;
        prop_assert!(operations.len() <= 10);
        prop_assert!(operations.iter().skip(1).all(|it| it.phase != Phase::Running), "two operations at once");
        if crash != Crash::Never || self.world.released.is_some() {
            return Ok(());
        }
        // What one read does not prove is waited for.
        let proven = passed.decision.details.lifecycle.unproven().is_none();
        if let (Some((direction, status)), Some(_), true) = (&self.truth, passed.seen.group.group(), proven) {
            let known = &self.world.status;
            prop_assert_eq!(known.direction, Some(*direction), "{}", status);
            prop_assert_eq!(known.group_status.as_ref(), Some(status));
            if !matches!(status.as_str(), "invalid" | "creating" | "create_failed" | "deleting" | "delete_failed") {
                prop_assert_eq!(known.active_site, Some(active(status, *direction)), "{}", status);
            }
        }
        Ok(())
    }

    /// Everything that was in the way is out of it, and passes go on until nothing is to be done any more.
    pub fn settle(&mut self) -> Result<Passed, TestCaseError> {
        self.world.pace = 20_000;
        let mut quiet = 0;
        let mut trace = vec![];
        for _ in 0..400 {
            for site in [Site::Source, Site::Destination] {
                self.happen(&Event::Attach(site, false))?;
            }
            self.mend(false);
            let passed = self.pass(&[], Crash::Never, false)?.unwrap();
            let stuck = passed
                .acted
                .iter()
                .any(|it| it.step.action == Action::FailoverGroup && matches!(it.outcome, Outcome::Failed(_)));
            // A forced failover to a disk that was never synchronized: the user sees the cloud's refusal, and sets it back.
            if stuck {
                let back = passed.decision.details.lifecycle.direction.production();
                self.happen(&Event::Edit(json!({"activeSite": back.as_str()})))?;
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
            trace.push((passed.told(), passed.acted.iter().map(|it| format!("{:?}", it.outcome)).collect::<Vec<_>>()));
        }
        let last = trace.split_off(trace.len() - 6);
        Err(TestCaseError::fail(format!("no rest; the last: {last:#?}; {:#?}", self.world.status)))
    }

    /// Whether the cloud is what the spec says, by the model alone.
    pub fn matches_spec(&mut self) -> Result<(), TestCaseError> {
        let (direction, status) = self.look().unwrap();
        let spec = &self.world.object.spec;
        prop_assert_eq!(spec.active_site, active(&status, direction), "{}", status);
        let running = spec.replication == Default::default();
        match status.as_str() {
            "failovered" => prop_assert_eq!(spec.reprotect, Reprotect::Manual),
            "normal" | "syncing" | "initial_syncing" => prop_assert!(running, "{}", status),
            "stopped" | "created" => prop_assert!(!running, "{}", status),
            other => prop_assert!(false, "{}", other),
        }
        let inspection = self.world.disks.inspect();
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

/// Rules of clouds that differ in how long things take, in which site counts as production after a reversal, and in what
/// they name as the source then.
pub fn rules() -> impl Strategy<Value = DiskRules> {
    let delays = proptest::sample::select(vec![0, 4_000, 40_000]);
    (delays, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(delay_ms, slow, stays, site_names_fixed)| {
        DiskRules {
            site_names_fixed,
            delay_ms,
            initial_sync_ms: slow.then_some(150_000),
            production: if stays { Production::Primary } else { Production::Source },
            ..DiskRules::default()
        }
    })
}
