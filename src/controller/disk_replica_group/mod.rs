//! The kind `DiskReplicaGroup`.

pub mod act;
pub mod call;
pub mod capability;
pub mod decide;
pub mod events;
pub mod lifecycle;
mod measurements;
pub mod observe;
pub mod request;
pub mod resolve;
pub mod status;

use std::convert::Infallible;

use jiff::Timestamp;

use self::call::Call;
use self::decide::{Decision, Details, Step};
use self::observe::{Cloud, Lookup, Observed};
use super::Context;
use super::access::Access;
use super::events::EventRecord;
use super::resource::{
    self, Descriptor, Expiry, Listed, Management, Object, Recorded, RemoteState, Report, Resource, Scheduled,
};
use super::steps;
use crate::api::condition::{condition_type, failover_ready, protected};
use crate::api::disk_replica_group::{DeletionPolicy, DiskReplicaGroup, DiskReplicaGroupStatus, ManagementPolicy};
use crate::api::event::action;
use crate::api::{DRILL_ANNOTATION, FINALIZER, GROUP_ID_ANNOTATION, StatusHead};
use crate::cloud::ebs;
use crate::cloud::error::Error;
use crate::cloud::rate_limit::Priority;
use crate::telemetry::metrics::Measurements;

/// One group during one reconcile.
pub type Scope<'a> = resource::Scope<'a, DiskReplicaGroup>;
/// A reconcile of a group that acted.
pub type Ran<'a> = resource::Ran<'a, DiskReplicaGroup>;
/// A step and its outcome.
pub type Acted = steps::Acted<Step>;

impl Object for DiskReplicaGroup {
    const KIND: &'static str = "DiskReplicaGroup";
    const FINALIZER: &'static str = FINALIZER;
    const TYPICAL: &'static str = include_str!("typical.json");
    type Evidence = ();

    fn account(&self) -> Option<&str> {
        self.spec.account_ref.as_ref().map(|it| it.name.as_str())
    }

    fn head(status: &DiskReplicaGroupStatus) -> Option<&StatusHead> {
        Some(status.as_ref())
    }

    fn head_mut(status: &mut DiskReplicaGroupStatus) -> Option<&mut StatusHead> {
        Some(status.as_mut())
    }
}

impl Resource for DiskReplicaGroup {
    const DESCRIPTOR: Descriptor = Descriptor {
        product: ebs::PRODUCT,
        noun: "group",
        deletion: action::DELETE_GROUP,
        id_annotation: GROUP_ID_ANNOTATION,
        expiring: &[
            (condition_type::PROTECTED, protected::UNKNOWN),
            (condition_type::FAILOVER_READY, failover_ready::UNKNOWN),
        ],
        details_lifetime: None,
    };

    type Cloud = Cloud;
    type Observed = Observed;
    type Step = Step;
    type Details = Details;
    type Task = Infallible;
    type Reading = Infallible;
    type Inventory = ();

    fn management(&self) -> Management<'_> {
        let requested = self.metadata.annotations.as_ref().and_then(|all| all.get(DRILL_ANNOTATION));
        let handled = self.status.as_ref().and_then(|it| it.last_handled_drill_at.as_ref());
        Management {
            suspend: self.spec.suspend,
            observe_only: self.spec.management_policy == ManagementPolicy::Observe,
            retain: self.spec.deletion_policy == DeletionPolicy::Retain,
            poll_interval: self.spec.poll_interval.map(Into::into),
            objective: self.spec.recovery_point_objective.into(),
            region: &self.spec.source.region_id,
            account: self.account(),
            work_requested: requested.is_some() && requested != handled,
        }
    }

    fn cloud(&self, access: &Access, priority: Priority) -> Cloud {
        let regions = [&self.spec.source, &self.spec.destination].map(|place| place.region_id.as_str());
        Cloud::new(access.ebs(regions, priority))
    }

    async fn observe(scope: &Scope<'_>, _ctx: &Context, cloud: &Cloud) -> Result<Observed, Error> {
        let mut observed = observe::observe(scope, cloud).await?;
        if let Some(group) = observed.group.group().filter(|_| decide::drills_needed(scope)) {
            // A drill stays at the site where it began, also after a reversal of replication.
            let current = scope.status.drills.as_ref().and_then(|it| it.current.as_ref());
            let direction = current.map_or(observed.binding.direction, |run| decide::direction_to(run.site));
            observed.drills = Some(observe::drills(cloud, direction, &group.replica_group_id, current).await);
        }
        Ok(observed)
    }

    fn remote(scope: &Scope<'_>, observed: Option<&Observed>) -> RemoteState {
        let (spec, status) = (&scope.object.spec, scope.status);
        let created = status.replica_group_id.is_some() || status.call_sequence.is_some();
        RemoteState {
            may_exist: created || spec.replica_group_id.is_some(),
            owes_restart: decide::owes_restart(status),
            must_clear: status.drills.as_ref().is_some_and(|it| it.current.is_some()),
            not_found: observed.and_then(|observed| not_found(scope, observed)),
            absent: observed.map(|observed| absent(scope, observed)).unwrap_or_default(),
            complete: observed.is_some(),
        }
    }

    fn decide(scope: &Scope<'_>, observed: &Observed) -> Decision {
        decide::decide(scope, observed)
    }

    fn report(scope: &Scope<'_>, ran: &Ran<'_>) -> Report<Self> {
        status::report(scope, ran)
    }

    fn events(before: &Scope<'_>, after: &DiskReplicaGroupStatus, ran: &Ran<'_>) -> Vec<EventRecord> {
        events::events(before, after, ran)
    }

    fn measurements(scope: &Scope<'_>, observed: Option<&Observed>) -> Option<Measurements> {
        if observed.is_none() && scope.evidence_recent() && !scope.object.spec.suspend {
            return None;
        }
        Some(measurements::measurements(scope, observed))
    }

    fn learn(_scope: &Scope<'_>, _evidence: &mut (), _observed: &Observed, _started: Timestamp) {}

    fn refresh(scope: &Scope<'_>, status: &mut DiskReplicaGroupStatus) -> Vec<Expiry> {
        if !scope.evidence_recent() {
            status.failover_preview = None;
        }
        scope.expire_observed(&mut status.head)
    }

    fn tasks(_scope: &Scope<'_>) -> Vec<Scheduled<Infallible>> {
        vec![]
    }

    async fn read(task: &Infallible, _scope: &Scope<'_>, _ctx: &Context, _cloud: &Cloud) -> Infallible {
        match *task {}
    }

    fn record(
        _scope: &Scope<'_>,
        _evidence: &mut (),
        _task: &Infallible,
        reading: Infallible,
        _started: Timestamp,
    ) -> Recorded {
        match reading {}
    }

    fn is_listed(_scope: &Scope<'_>) -> bool {
        false
    }

    async fn inventory(_cloud: &Cloud) -> Result<(), Error> {
        Ok(())
    }

    fn compare(_scope: &Scope<'_>, _evidence: &mut (), _inventory: &()) -> Listed {
        Listed::NotShown
    }
}

/// The group or pairs that this object created or took over, or may have created, and that were not found.
fn not_found(scope: &Scope<'_>, observed: &Observed) -> Option<String> {
    let Lookup::Absent(_) = &observed.group else { return None };
    let status = scope.status;
    let creating = Call::CreateGroup.pending(status).is_some();
    // The pairs of a group that is gone are deleted after it.
    if scope.deleting() && observed.pairs.is_empty() && !status.pairs.is_empty() {
        return Some("the pairs of the group".into());
    }
    // Earlier observations proved that it is gone, or the operator requested its deletion.
    let gone = observed.binding.bound.as_deref().is_some_and(|id| scope.absence(&resolve::group_part(id)).is_proven());
    if (gone || Call::DeleteGroup.pending(status).is_some()) && !creating {
        return None;
    }
    match status.replica_group_id.as_deref().or(scope.annotation(GROUP_ID_ANNOTATION)) {
        Some(id) if !creating => Some(format!("group {id}")),
        _ => creating.then(|| "the group whose creation was begun".into()),
    }
}

/// The group and pairs that the object has, and that the observation does not show.
fn absent(scope: &Scope<'_>, observed: &Observed) -> Vec<String> {
    let mut parts = Vec::new();
    if let Lookup::Absent(Some(id)) = &observed.group {
        parts.push(resolve::group_part(id));
    }
    parts.extend(observed.unseen_twins.iter().map(|id| resolve::group_part(id)));
    for pending in &scope.status.pending_calls {
        let invisible = match Call::parse(&pending.call) {
            Some(Call::CreateGroup) => observed.group.group().is_none(),
            Some(Call::CreatePair(name)) => observed.pairs_complete && decide::pair_invisible(scope, observed, &name),
            _ => false,
        };
        if invisible {
            parts.push(resolve::created_part(pending));
        }
    }
    for id in scope.status.pairs.iter().filter_map(|it| it.replica_pair_id.as_deref()) {
        if observed.pairs_complete && !observed.pairs.iter().any(|pair| pair.replica_pair_id == id) {
            parts.push(resolve::pair_part(id));
        }
    }
    parts
}
