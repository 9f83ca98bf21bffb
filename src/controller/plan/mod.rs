//! The kind `DisasterRecoveryPlan`.

pub mod act;
pub mod arrival;
pub mod backlog;
pub mod binding;
pub mod coverage;
pub mod credentials;
pub mod decide;
pub mod events;
pub mod evidence;
pub mod grounds;
pub mod inventory;
pub mod lag;
pub mod observe;
pub mod pace;
pub mod repeated;
pub mod resolve;
pub mod rounds;
pub mod sampler;
pub mod samples;
pub mod search;
pub mod status;
pub mod sync;
pub mod tracks;

use jiff::Timestamp;

use self::binding::Binding;
use self::decide::{Decision, Details, Step};
use self::evidence::{Evidence, Reading, Task};
use self::grounds::Grounds;
use self::inventory::{Inventory, PlanEntry};
use self::observe::Observed;
use super::Context;
use super::access::Access;
use super::events::EventRecord;
use super::resource::{
    self, Annotations, Descriptor, Expiry, Listed, Management, Object, Recorded, RemoteState, Report, Resource,
    Scheduled,
};
use super::steps;
use crate::api::condition::{condition_type, offsets, protected};
use crate::api::event::action;
use crate::api::plan::{DeletionPolicy, DisasterRecoveryPlan, DisasterRecoveryPlanStatus, ManagementPolicy};
use crate::api::{FINALIZER, PLAN_ID_ANNOTATION, SYNC_CHECKPOINTS_ANNOTATION, StatusHead};
use crate::cloud::error::Error;
use crate::cloud::rate_limit::Priority;
use crate::cloud::rocketmq::{self, RocketMq};
use crate::telemetry::metrics::{MappingMeasures, Measurements};

/// One plan during one reconcile.
pub type Scope<'a> = resource::Scope<'a, DisasterRecoveryPlan>;
/// A reconcile of a plan that acted.
pub type Ran<'a> = resource::Ran<'a, DisasterRecoveryPlan>;
/// A step and its outcome.
pub type Acted = steps::Acted<Step>;

impl Object for DisasterRecoveryPlan {
    const KIND: &'static str = "DisasterRecoveryPlan";
    const FINALIZER: &'static str = FINALIZER;
    const TYPICAL: &'static str = include_str!("typical.json");
    type Evidence = Evidence;

    fn account(&self) -> Option<&str> {
        self.spec.account_ref.as_ref().map(|it| it.name.as_str())
    }

    fn head(status: &DisasterRecoveryPlanStatus) -> Option<&StatusHead> {
        Some(status.as_ref())
    }

    fn head_mut(status: &mut DisasterRecoveryPlanStatus) -> Option<&mut StatusHead> {
        Some(status.as_mut())
    }
}

impl Resource for DisasterRecoveryPlan {
    const DESCRIPTOR: Descriptor = Descriptor {
        product: rocketmq::PRODUCT,
        noun: "plan",
        deletion: action::DELETE_PLAN,
        id_annotation: PLAN_ID_ANNOTATION,
        expiring: &[
            (condition_type::PROTECTED, protected::UNKNOWN),
            (condition_type::OFFSETS_COVERED, offsets::UNKNOWN),
        ],
        details_lifetime: Some(coverage::MAX_ITEMS_AGE),
    };

    type Cloud = RocketMq;
    type Observed = Observed;
    type Step = Step;
    type Details = Details;
    type Task = Task;
    type Reading = Reading;
    type Inventory = Inventory;

    fn management(&self) -> Management<'_> {
        let requested = self.metadata.annotations.as_ref().and_then(|all| all.get(SYNC_CHECKPOINTS_ANNOTATION));
        let handled = self.status.as_ref().and_then(|it| it.last_handled_sync_checkpoints_at.as_ref());
        Management {
            suspend: self.spec.suspend,
            observe_only: self.spec.management_policy == ManagementPolicy::Observe,
            retain: self.spec.deletion_policy == DeletionPolicy::Retain,
            poll_interval: self.spec.poll_interval.map(Into::into),
            objective: self.spec.recovery_point_objective.into(),
            region: &self.spec.region_id,
            account: self.account(),
            work_requested: requested.is_some() && requested != handled,
        }
    }

    fn cloud(&self, access: &Access, priority: Priority) -> RocketMq {
        access.rocketmq(&self.spec.region_id, priority)
    }

    async fn observe(scope: &Scope<'_>, ctx: &Context, cloud: &RocketMq) -> Result<Observed, Error> {
        observe::observe(scope, ctx, cloud).await
    }

    fn remote(scope: &Scope<'_>, observed: Option<&Observed>) -> RemoteState {
        let status = scope.status;
        RemoteState {
            may_exist: status.plan_id.is_some() || status.creation.is_some() || scope.object.spec.plan_id.is_some(),
            owes_restart: !status.paused_items.is_empty(),
            must_clear: false,
            not_found: observed.and_then(|observed| not_found(scope, observed)),
            complete: observed.is_some(),
            absent: observed.map(|observed| observed.absent(scope)).unwrap_or_default(),
        }
    }

    fn decide(scope: &Scope<'_>, observed: &Observed) -> Decision {
        decide::decide(scope, observed)
    }

    fn first_reads(scope: &Scope<'_>) -> Vec<Task> {
        scope.evidence.first_reads(scope)
    }

    fn answers(acted: &[Acted]) -> Annotations {
        act::created_plan(acted).map(|id| (PLAN_ID_ANNOTATION, id.to_string())).into_iter().collect()
    }

    fn report(scope: &Scope<'_>, ran: &Ran<'_>) -> Report<Self> {
        status::report(scope, ran)
    }

    fn events(before: &Scope<'_>, after: &DisasterRecoveryPlanStatus, ran: &Ran<'_>) -> Vec<EventRecord> {
        events::events(before, after, ran)
    }

    fn measurements(scope: &Scope<'_>, _observed: Option<&Observed>) -> Option<Measurements> {
        let objective_ms = lag::objective_ms(&scope.object.spec);
        let (lags, mappings) = match scope.object.spec.suspend {
            true => (vec![], MappingMeasures::default()),
            false => (coverage::lags(scope), coverage::measures(scope)),
        };
        Some(Measurements::Plan { lags, mappings, objective_ms })
    }

    fn learn(scope: &Scope<'_>, evidence: &mut Evidence, observed: &Observed, started: Timestamp) {
        evidence.learn(scope, observed, started);
    }

    fn refresh(scope: &Scope<'_>, status: &mut DisasterRecoveryPlanStatus) -> Vec<Expiry> {
        coverage::refresh(scope, status)
    }

    fn settle_tasks(scope: &Scope<'_>, status: &mut DisasterRecoveryPlanStatus) {
        if let Some(sync) = scope.evidence.sync.as_ref().filter(|it| it.result().is_some()) {
            status.last_handled_sync_checkpoints_at = Some(sync.requested.clone());
        }
        if lag::round_interval(&scope.object.spec).is_none() || scope.observe_only() {
            status.checkpoint_sync = None;
        } else if let Some(grounds) = &scope.evidence.grounds {
            let running = grounds.mappings.iter().filter(|it| it.runs).map(|it| &*it.name);
            status.checkpoint_sync = scope.evidence.rounds.summary(running, scope.status.checkpoint_sync.as_ref());
        }
    }

    fn refreshed_events(before: &Scope<'_>, after: &DisasterRecoveryPlanStatus) -> Vec<EventRecord> {
        events::synchronized(before, after).into_iter().chain(events::rounds(before.status, after)).collect()
    }

    fn tasks(scope: &Scope<'_>) -> Vec<Scheduled<Task>> {
        scope.evidence.tasks(scope)
    }

    async fn read(task: &Task, scope: &Scope<'_>, ctx: &Context, cloud: &RocketMq) -> Reading {
        sampler::read(task, scope, ctx, cloud).await
    }

    fn changes(task: &Task) -> bool {
        matches!(task, Task::Synchronization | Task::Round(_))
    }

    fn record(
        scope: &Scope<'_>,
        evidence: &mut Evidence,
        task: &Task,
        reading: Reading,
        started: Timestamp,
    ) -> Recorded {
        evidence.record(scope, task, reading, started)
    }

    fn is_listed(scope: &Scope<'_>) -> bool {
        scope.evidence.grounds.as_ref().is_some_and(Grounds::samples_checkpoints)
    }

    async fn inventory(cloud: &RocketMq) -> Result<Inventory, Error> {
        Ok(Inventory::new(&cloud.list_plans_as(|plan| PlanEntry::of(&plan)).await?))
    }

    fn compare(scope: &Scope<'_>, evidence: &mut Evidence, inventory: &Inventory) -> Listed {
        inventory::compare(scope, &mut evidence.listed, inventory)
    }

    fn forget_refusals(status: &mut DisasterRecoveryPlanStatus) {
        status.pending_updates.clear();
    }
}

/// The plan that this object created or took over, or may have created, and that was not found.
fn not_found(scope: &Scope<'_>, observed: &Observed) -> Option<String> {
    let Binding { creating, .. } = observed.binding;
    // An earlier observation proved that it is gone.
    let known = scope.status.missing_since.is_some() && scope.status.plan_id.is_none() && !creating;
    if observed.found().is_some() || known {
        return None;
    }
    match observed.missing.filter(|id| observed.binding.knows(*id)) {
        Some(id) => Some(resolve::plan_part(id)),
        None => creating.then(|| "the plan whose creation was begun".into()),
    }
}
