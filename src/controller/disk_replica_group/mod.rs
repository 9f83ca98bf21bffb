//! The kind `DiskReplicaGroup`: what the pipeline does for a group of disks.

pub mod act;
pub mod decide;
pub mod events;
pub mod lifecycle;
pub mod observe;
pub mod resolve;
pub mod status;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use self::act::{Acted, Outcome, first_failure};
use self::decide::{Action, Decision, Desired};
use self::observe::{Binding, Cloud, Lookup, Observed};
use super::resource::{self, EventRecord, Object, Resource};

use super::access::Access;
use super::decision::Verdict;
use super::{Context, Requeue, ownership};
use crate::api::disk_replica_group::{
    DeletionPolicy, Direction, DiskReplicaGroup, DiskReplicaGroupStatus, DrillResult, FailoverMode, ManagementPolicy,
};
use crate::api::{DIRECTION_ANNOTATION, DRILL_ANNOTATION, FINALIZER, GROUP_ID_ANNOTATION};
use crate::cloud::ebs;
use crate::cloud::error::{Class, Error};
use crate::cloud::operation::ApiOperation;
use crate::cloud::rate_limit::Priority;
use crate::telemetry::metrics::{DrillMeasures, GroupMeasures, Metrics};

type Scope<'a> = resource::Scope<'a, DiskReplicaGroup>;

/// A tag's value holds no more characters.
const LONGEST_OWNER: usize = 128;

impl Object for DiskReplicaGroup {
    const KIND: &'static str = "DiskReplicaGroup";
    const FINALIZER: &'static str = FINALIZER;
}

impl Resource for DiskReplicaGroup {
    const PRODUCT: &'static str = ebs::PRODUCT;
    const NOUN: &'static str = "group";
    const DELETION: &'static str = "DeleteGroup";
    const ID_ANNOTATION: &'static str = GROUP_ID_ANNOTATION;

    type Cloud = Cloud;
    type Seen = Observed;
    type Decision = Decision;
    type Acted = Vec<Acted>;

    fn suspended(&self) -> bool {
        self.spec.suspend
    }

    fn observing(&self) -> bool {
        self.spec.management_policy == ManagementPolicy::Observe
    }

    fn retained(&self) -> bool {
        self.spec.deletion_policy == DeletionPolicy::Retain
    }

    fn poll_interval(&self) -> Option<Duration> {
        self.spec.poll_interval.map(Into::into)
    }

    fn account(&self) -> Option<&str> {
        self.spec.account_ref.as_ref().map(|it| it.name.as_str())
    }

    fn conditions(status: &DiskReplicaGroupStatus) -> &[Condition] {
        &status.conditions
    }

    fn settled(it: &Scope<'_>) -> bool {
        let synced = it.status.synced_generation;
        synced.is_some() && synced == it.generation() && !drill_requested(it)
    }

    fn ever_made(it: &Scope<'_>) -> bool {
        let status = &it.status;
        status.replica_group_id.is_some() || status.call_sequence.is_some() || it.object.spec.replica_group_id.is_some()
    }

    fn owes(it: &Scope<'_>) -> bool {
        decide::owes(&it.status)
    }

    fn holds(it: &Scope<'_>) -> bool {
        it.status.drills.as_ref().is_some_and(|it| it.current.is_some())
    }

    fn cloud(&self, access: &Access, priority: Priority) -> Cloud {
        let regions = [&self.spec.source, &self.spec.destination].map(|place| place.region_id.as_str());
        Cloud::new(access.ebs(regions, priority))
    }

    fn lost(it: &Scope<'_>, seen: &Observed) -> Option<String> {
        let Lookup::Absent(_) = &seen.group else { return None };
        let pending = |call: &str| it.status.pending_calls.iter().any(|it| it.call == call);
        let creating = pending("CreateDiskReplicaGroup");
        // The pairs of a group that is gone are deleted after it.
        if it.deleting() && seen.pairs.is_empty() && !it.status.pairs.is_empty() {
            return Some("the pairs of the group".into());
        }
        // Whoever saw it last found it gone, or asked for that.
        if (it.status.missing_since.is_some() || pending("DeleteDiskReplicaGroup")) && !creating {
            return None;
        }
        match it.status.replica_group_id.as_deref().or(it.annotation(GROUP_ID_ANNOTATION)) {
            Some(id) if !creating => Some(format!("group {id}")),
            _ => creating.then(|| "the group whose creation was begun".into()),
        }
    }

    fn identity(status: &mut DiskReplicaGroupStatus) -> &mut Option<String> {
        &mut status.identity
    }

    async fn observe(it: &Scope<'_>, _ctx: &Context, cloud: &Cloud) -> Result<Observed, Error> {
        let binding = binding(it);
        let (group, site) = observe::find_group(cloud, &binding).await?;
        let spec = &it.object.spec;
        let pairs = observe::pairs(cloud, (&group, site), binding.direction, spec, &it.status, it.deleting()).await?;
        let want = desired(it, &binding.owner);
        let drills = match group.group() {
            Some(group) if decide::matter(&want, it.now) => {
                // A drill stays where it was begun, though replication was turned round since.
                let current = it.status.drills.as_ref().and_then(|it| it.current.as_ref());
                let direction = current.map_or(binding.direction, |run| decide::toward(run.site));
                Some(observe::drills(cloud, direction, &group.replica_group_id, current).await)
            }
            Some(_) | None => None,
        };
        Ok(Observed { group, pairs, drills })
    }

    fn decide(it: &Scope<'_>, seen: &Observed) -> Decision {
        let owner = owner(it);
        let want = desired(it, &owner);
        match it.deleting() {
            true => decide::teardown(&want, seen, it.now),
            false => decide::decide(&want, seen, it.now),
        }
    }

    fn verdict(decision: &Decision) -> &Verdict {
        &decision.verdict
    }

    /// Those of all calls that have a client token.
    fn intents(it: &Scope<'_>, decision: &Decision, _nonce: &str) -> Option<DiskReplicaGroupStatus> {
        let mut new = status::intended(&it.status, decision, it.now)?;
        // After a crash the drill goes on, and what asked for it must not ask for a second one.
        if decision.drill_handled {
            new.last_handled_drill_at = it.annotation(DRILL_ANNOTATION).map(Into::into);
        }
        Some(new)
    }

    async fn act(cloud: &Cloud, decision: &Decision) -> Vec<Acted> {
        act::act(cloud, &decision.steps).await
    }

    fn first_failure(acted: &Vec<Acted>) -> Option<&Error> {
        first_failure(acted)
    }

    /// The group's ID, and which way it replicates.
    fn claim(it: &Scope<'_>, seen: &Observed, decision: &Decision, acted: &Vec<Acted>) -> Vec<(&'static str, String)> {
        if it.object.observing() {
            return vec![];
        }
        let created = acted.iter().find_map(|it| match (&it.step.action, &it.outcome) {
            (Action::CreateGroup(_), Outcome::Made(id)) => Some(id.clone()),
            _ => None,
        });
        let mine = owner(it);
        let found = seen.group.group().filter(|group| observe::owner(&group.tags).is_none_or(|owner| *owner == mine));
        let id = created.or_else(|| found.map(|group| group.replica_group_id.clone()));
        let direction = decision.life.direction.as_str().to_owned();
        id.map(|id| vec![(GROUP_ID_ANNOTATION, id), (DIRECTION_ANNOTATION, direction)]).unwrap_or_default()
    }

    fn report(it: &Scope<'_>, report: &resource::Report<'_, Self>) -> DiskReplicaGroupStatus {
        status::status(it, report)
    }

    fn events(
        before: &Scope<'_>,
        after: &DiskReplicaGroupStatus,
        seen: &Observed,
        decision: &Decision,
        acted: &Vec<Acted>,
    ) -> Vec<EventRecord> {
        events::events(before, after, seen, decision, acted)
    }

    /// Exports exact numbers.
    fn measure(it: &Scope<'_>, seen: Option<&Observed>, metrics: &Metrics) {
        let group = seen.and_then(|seen| seen.group.group());
        let measures = group.map(|group| measures(it, group));
        metrics.disk_group(&it.namespace(), &it.name(), measures.as_ref());
        // Also while the cloud cannot be seen: then none is begun.
        let drills = it.status.drills.as_ref().filter(|_| !it.deleting() && !it.object.spec.suspend);
        let due = drills.filter(|_| !it.object.observing()).and_then(|drills| decide::due_at(&it.object.spec, drills));
        metrics.drill_due(&it.namespace(), &it.name(), due.map(|at| at.as_second() as f64));
    }

    fn next(before: &Scope<'_>, seen: &Observed, decision: &Decision, acted: &Vec<Acted>) -> Requeue {
        next(seen, decision, acted, before.now)
    }
}

fn owner(it: &Scope<'_>) -> String {
    ownership::identity(it.cluster_id, &it.namespace(), &it.name(), LONGEST_OWNER)
}

fn binding(it: &Scope<'_>) -> Binding {
    // While a new group is being made, what is known from before is not it.
    let creating = it.status.pending_calls.iter().any(|call| call.call == "CreateDiskReplicaGroup");
    let claimed = it.annotation(GROUP_ID_ANNOTATION).map(str::to_owned);
    let before = claimed.or_else(|| it.object.spec.replica_group_id.clone()).filter(|_| !creating);
    Binding {
        bound: it.status.replica_group_id.clone().or(before),
        owner: owner(it),
        direction: it.status.direction.or(noted(it)).unwrap_or_default(),
        forced: it.object.spec.failover.mode == FailoverMode::Forced
            && it.status.active_site.is_some_and(|active| active != it.object.spec.active_site),
    }
}

/// The direction that the annotation keeps.
fn noted(it: &Scope<'_>) -> Option<Direction> {
    match it.annotation(DIRECTION_ANNOTATION)? {
        "Forward" => Some(Direction::Forward),
        "Reverse" => Some(Direction::Reverse),
        _ => None,
    }
}

fn drill_requested(it: &Scope<'_>) -> bool {
    let asked = it.annotation(DRILL_ANNOTATION);
    asked.is_some() && asked != it.status.last_handled_drill_at.as_deref()
}

fn desired<'a>(it: &'a Scope<'_>, owner: &'a str) -> Desired<'a> {
    Desired {
        spec: &it.object.spec,
        status: &it.status,
        noted: noted(it),
        uid: it.object.metadata.uid.as_deref().unwrap_or_default(),
        name: it.object.metadata.name.as_deref().unwrap_or_default(),
        owner,
        generation: it.generation().unwrap_or_default(),
        drill_requested: drill_requested(it),
        visibility_window: it.visibility_window,
    }
}

fn measures(it: &Scope<'_>, group: &ebs::GroupView) -> GroupMeasures {
    let status = &it.status;
    let seconds = |at: Timestamp| at.as_millisecond() as f64 / 1000.0;
    let point = lifecycle::shown(group).filter(|point| {
        status.recovery_point.is_some() && status.outdated_recovery_point.is_none_or(|outdated| *point > outdated)
    });
    let failover = status.operations.iter().find(|it| it.recovery_time_seconds.is_some());
    let drills = status.drills.as_ref();
    let last = drills.and_then(|it| it.last.as_ref());
    let current = drills.and_then(|it| it.current.as_ref());
    GroupMeasures {
        status: group.status.as_str().to_owned(),
        lag_seconds: point.map(|point| it.now.duration_since(point).as_secs_f64().max(0.0)),
        recovery_point: point.map(seconds),
        objective_seconds: Duration::from(it.object.spec.recovery_point_objective).as_secs_f64(),
        active_site: status.active_site.unwrap_or_default().as_str(),
        last_recovery_time_seconds: failover.and_then(|it| it.recovery_time_seconds).map(|it| it as f64),
        last_data_loss_seconds: failover.and_then(|it| it.recovery_point_age_seconds).map(|it| it as f64),
        drill: drills.map(|_| DrillMeasures {
            active: current.is_some(),
            started: current.map(|it| seconds(it.started_at)),
            last_result_success: last.and_then(|it| it.result).map(|it| it == DrillResult::Succeeded),
            last_duration_seconds: last.and_then(|it| it.duration_seconds).map(|it| it as f64),
            last_completed: last.and_then(|it| it.cleared_at).map(seconds),
        }),
    }
}

/// Whether a refusal lasts: disks have to be detached, or half of the recovery point objective has to pass between two single
/// synchronizations.
fn patient(error: &Error) -> bool {
    error.operation == ApiOperation::ReprotectDiskReplicaGroup
        || ["DeviceAttached", "ManualSyncLimit"].iter().any(|code| error.code.contains(code))
}

/// When to look again.
fn next(seen: &Observed, decision: &Decision, acted: &[Acted], now: Timestamp) -> Requeue {
    let drills = match &seen.drills {
        Some(Err(error)) => Some(error),
        Some(Ok(_)) | None => None,
    };
    let synchronized = seen.group.group().is_none_or(|group| decision.life.counted(group).is_some());
    match (first_failure(acted).or(drills), &decision.verdict) {
        // A person has to act, or some minutes have to pass.
        (Some(error), _) if error.class == Class::Conflict && patient(error) => Requeue::Retry(Class::Denied),
        (Some(error), _) if error.class == Class::Conflict => Requeue::Soon,
        (Some(error), _) => Requeue::Retry(error.class),
        (None, Verdict::Acting(_) | Verdict::Waiting { .. }) => Requeue::Soon,
        (None, _) if !acted.is_empty() || decision.drill_busy => Requeue::Soon,
        // The first synchronization is what everybody waits for.
        (None, Verdict::InSync)
            if !synchronized && seen.group.group().is_some_and(|it| lifecycle::runs(&it.status)) =>
        {
            Requeue::Soon
        }
        (None, Verdict::InSync | Verdict::Refused { .. } | Verdict::Released { .. }) => match decision.drill_at {
            Some(at) => Requeue::PollWithin(Duration::try_from(at.duration_since(now)).unwrap_or_default()),
            None => Requeue::Poll,
        },
    }
}
