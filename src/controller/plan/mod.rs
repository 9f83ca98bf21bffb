//! The kind `DisasterRecoveryPlan`: what the pipeline does for a plan.

pub mod act;
pub mod decide;
pub mod events;
pub mod lag;
pub mod observe;
pub mod resolve;
pub mod status;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use self::act::Acted;
use self::decide::{Decision, Desired};
use self::observe::{Binding, Lookup, Observed};
use self::status::{Pass, Report};
use super::resource::{self, EventRecord, Object, Resource};

use super::access::Access;
use super::decision::Verdict;
use super::ownership::{self, Owner};
use super::{Context, Requeue};
use crate::api::plan::{
    DeletionPolicy, DisasterRecoveryPlan, DisasterRecoveryPlanSpec, DisasterRecoveryPlanStatus, ManagementPolicy,
};
use crate::api::{FINALIZER, PLAN_ID_ANNOTATION, RECONCILE_ANNOTATION, SYNC_CHECKPOINTS_ANNOTATION};
use crate::cloud::error::{Class, Error};
use crate::cloud::rate_limit::Priority;
use crate::cloud::rocketmq::{self, RocketMq};
use crate::telemetry::metrics::{ConsumerGroupLag, Metrics};

type Scope<'a> = resource::Scope<'a, DisasterRecoveryPlan>;

impl Object for DisasterRecoveryPlan {
    const KIND: &'static str = "DisasterRecoveryPlan";
    const FINALIZER: &'static str = FINALIZER;
}

impl Resource for DisasterRecoveryPlan {
    const PRODUCT: &'static str = rocketmq::PRODUCT;
    const NOUN: &'static str = "plan";
    const DELETION: &'static str = "DeletePlan";
    const ID_ANNOTATION: &'static str = PLAN_ID_ANNOTATION;

    type Cloud = RocketMq;
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

    fn conditions(status: &DisasterRecoveryPlanStatus) -> &[Condition] {
        &status.conditions
    }

    fn settled(it: &Scope<'_>) -> bool {
        let synced = it.status.synced_generation;
        synced.is_some() && synced == it.generation() && !sync_requested(it)
    }

    fn ever_made(it: &Scope<'_>) -> bool {
        it.status.plan_id.is_some() || it.status.creation.is_some() || it.object.spec.plan_id.is_some()
    }

    fn owes(it: &Scope<'_>) -> bool {
        !it.status.paused_items.is_empty()
    }

    fn cloud(&self, access: &Access, priority: Priority) -> RocketMq {
        access.rocketmq(&self.spec.region_id, priority)
    }

    fn lost(it: &Scope<'_>, seen: &Observed) -> Option<String> {
        let Binding { bound, creating, .. } = binding(it);
        match (&seen.plan, bound) {
            (Lookup::Found(_), _) => None,
            // Whoever saw it last found it gone.
            _ if it.status.missing_since.is_some() && !creating => None,
            (Lookup::Absent { .. }, Some(id)) => Some(format!("plan {id}")),
            (Lookup::Absent { .. }, None) => creating.then(|| "the plan whose creation was begun".into()),
        }
    }

    fn identity(status: &mut DisasterRecoveryPlanStatus) -> &mut Option<String> {
        &mut status.identity
    }

    async fn observe(it: &Scope<'_>, ctx: &Context, cloud: &RocketMq) -> Result<Observed, Error> {
        let (spec, namespace) = (&it.object.spec, it.namespace());
        let plan = observe::find_plan(cloud, &binding(it)).await?;
        let items = observe::items(cloud, &plan).await?;
        if it.deleting() {
            return Ok(Observed {
                plan,
                items,
                checkpoints: Ok(Default::default()),
                credentials: Ok(Default::default()),
            });
        }
        let checkpoints = observe::checkpoints(cloud, spec, &it.status, &plan, &items).await;
        let credentials = match spec.management_policy {
            ManagementPolicy::Observe => Ok(Default::default()),
            ManagementPolicy::Manage => observe::acl_credentials(&ctx.client, &namespace, spec).await,
        };
        let credentials = credentials.map(|all| observe::by_content(ctx, &namespace, all));
        Ok(Observed { plan, items, checkpoints, credentials })
    }

    fn whole(seen: &Observed) -> bool {
        seen.checkpoints.is_ok()
    }

    fn decide(it: &Scope<'_>, seen: &Observed) -> Decision {
        let want = Desired {
            spec: &it.object.spec,
            status: &it.status,
            binding: &binding(it),
            claimed: claimed(it),
            sync_requested: sync_requested(it),
            visibility_window: it.visibility_window,
            generation: it.generation().unwrap_or_default(),
            asked_again: it.annotation(RECONCILE_ANNOTATION) != it.status.last_handled_reconcile_at.as_deref(),
            deleting_since: it.deleting_since(),
        };
        match it.deleting() {
            true => decide::teardown(&want, seen, it.now),
            false => decide::decide(&want, seen, it.now),
        }
    }

    fn verdict(decision: &Decision) -> &Verdict {
        &decision.verdict
    }

    /// Those of calls that have no client token.
    fn intents(it: &Scope<'_>, decision: &Decision, nonce: &str) -> Option<DisasterRecoveryPlanStatus> {
        status::intended(&it.status, decision, nonce, it.now)
    }

    async fn act(cloud: &RocketMq, decision: &Decision) -> Vec<Acted> {
        act::act(cloud, decision.steps.clone()).await
    }

    fn first_failure(acted: &Vec<Acted>) -> Option<&Error> {
        status::first_failure(acted)
    }

    fn claim(it: &Scope<'_>, seen: &Observed, _decision: &Decision, acted: &Vec<Acted>) -> Vec<(&'static str, String)> {
        let id = claim(&binding(it), seen, acted, &it.object.spec);
        id.map(|id| (PLAN_ID_ANNOTATION, id)).into_iter().collect()
    }

    fn report(it: &Scope<'_>, report: &Report<'_>) -> DisasterRecoveryPlanStatus {
        let pass = Pass {
            generation: it.generation(),
            deleting: it.deleting(),
            old: &it.status,
            spec: &it.object.spec,
            binding: &binding(it),
            reconcile_requested: it.annotation(RECONCILE_ANNOTATION),
            sync_requested: it.annotation(SYNC_CHECKPOINTS_ANNOTATION),
            poll_ms: i64::try_from(it.poll_interval.as_millis()).unwrap_or(i64::MAX),
            fresh: it.fresh,
            visibility_window: it.visibility_window,
            now: it.now,
        };
        status::status(&pass, report)
    }

    fn events(
        before: &Scope<'_>,
        after: &DisasterRecoveryPlanStatus,
        seen: &Observed,
        decision: &Decision,
        acted: &Vec<Acted>,
    ) -> Vec<EventRecord> {
        events::events(&before.object.spec, &before.status, after, seen, decision, acted, sync_requested(before))
    }

    /// Exports exact lags.
    fn measure(it: &Scope<'_>, seen: Option<&Observed>, metrics: &Metrics) {
        let spec = &it.object.spec;
        let export = |lags: &[_]| metrics.lags(&it.namespace(), &it.name(), lags, status::objective_ms(spec));
        match seen {
            Some(Observed { plan: Lookup::Found(plan), checkpoints: Ok(checkpoints), items, .. }) => {
                let instances = resolve::instances(spec, plan);
                let items = resolve::items(spec, &it.status.topic_mappings, &instances, items);
                export(&lag::lags(&items, checkpoints).into_iter().map(measured).collect::<Vec<_>>());
            }
            Some(Observed { plan: Lookup::Found(_), .. }) if it.fresh => {}
            Some(_) | None => export(&[]),
        }
    }

    fn next(before: &Scope<'_>, seen: &Observed, decision: &Decision, acted: &Vec<Acted>) -> Requeue {
        next(seen, decision, acted, Self::owes(before))
    }
}

/// The values that metrics take.
fn measured(lag: lag::GroupLag) -> ConsumerGroupLag {
    let lag::GroupLag { mapping, source_instance, group, topic, lag_ms, last_sync_ms } = lag;
    ConsumerGroupLag { mapping, source_instance, group, topic, lag_ms, last_sync_ms }
}

fn sync_requested(it: &Scope<'_>) -> bool {
    let asked = it.annotation(SYNC_CHECKPOINTS_ANNOTATION);
    asked.is_some() && asked != it.status.last_handled_sync_checkpoints_at.as_deref()
}

fn claimed(it: &Scope<'_>) -> Option<i64> {
    it.annotation(PLAN_ID_ANNOTATION).and_then(|id| id.parse().ok())
}

fn binding(it: &Scope<'_>) -> Binding {
    let number = |id: &Option<String>| id.as_deref().and_then(|id| id.parse().ok());
    Binding {
        bound: number(&it.status.plan_id).or_else(|| claimed(it)),
        named: number(&it.object.spec.plan_id),
        creating: it.status.creation.is_some(),
        plan_name: it.object.spec.plan_name.clone().unwrap_or_else(|| it.name()),
        mark: ownership::mark(it.cluster_id, &it.namespace(), &it.name()),
    }
}

/// The plan's ID for the annotation: of a plan that carries our mark, or that was just made.
pub fn claim(binding: &Binding, seen: &Observed, acted: &[Acted], spec: &DisasterRecoveryPlanSpec) -> Option<String> {
    if spec.management_policy == ManagementPolicy::Observe {
        return None;
    }
    let created = acted.iter().find_map(|it| match it.outcome {
        act::Outcome::CreatedPlan(id) => Some(id),
        _ => None,
    });
    let found = match &seen.plan {
        Lookup::Found(plan) => (resolve::owner(plan, &binding.mark) == Owner::Us).then_some(plan.plan_id),
        Lookup::Absent { .. } => None,
    };
    created.or(found).map(|id| id.to_string())
}

/// Whether the first failure concerns one mapping only.
fn of_an_item(acted: &[Acted]) -> bool {
    let failed = acted.iter().find(|it| matches!(it.outcome, act::Outcome::Failed(_)));
    failed.is_some_and(|it| {
        !act::concerns_others(&it.step, Class::Invalid) && !matches!(it.step, decide::Step::UpdatePlan { .. })
    })
}

/// When to look again.
fn next(seen: &Observed, decision: &Decision, acted: &[Acted], paused: bool) -> Requeue {
    let failed = status::first_failure(acted).or_else(|| seen.checkpoints.as_ref().err());
    match (failed, &decision.verdict) {
        // The plan is asked again at every poll, in case it no longer minds.
        (Some(error), _) if error.class == Class::Conflict && decision.blocked_by.is_some() => Requeue::Poll,
        (Some(error), _) if error.class == Class::Conflict => Requeue::Soon,
        // What was stopped for a change that is refused runs on without delay.
        (Some(error), _) if paused && matches!(error.class, Class::Denied | Class::Invalid) => Requeue::Soon,
        // One topic that does not exist must not keep the others from being looked at.
        (Some(error), _) if error.class == Class::Invalid && of_an_item(acted) => {
            let done = acted.iter().any(|it| matches!(it.outcome, act::Outcome::Done | act::Outcome::AddedItem(_)));
            if done { Requeue::Soon } else { Requeue::Poll }
        }
        (Some(error), _) => Requeue::Retry(error.class),
        (None, Verdict::Acting(_) | Verdict::Waiting { .. }) => Requeue::Soon,
        (None, Verdict::Refused { .. }) if paused || !acted.is_empty() => Requeue::Soon,
        (None, Verdict::InSync | Verdict::Refused { .. } | Verdict::Released { .. }) => Requeue::Poll,
    }
}
