//! The pipeline of a plan: watch → observe → diff → act → status.

pub mod act;
pub mod diff;
pub mod events;
pub mod lag;
pub mod observe;
pub mod resolve;
mod session;
pub mod status;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;

use self::act::Acted;
use self::diff::{Decision, Desired, Verdict};
use self::events::Told;
use self::observe::{Binding, Observed};
use self::session::Session;
use self::status::{Pass, Report};
use super::secrets::SecretError;
use super::{Context, Error, Next, owner, wording};
use crate::api::condition::synced;
use crate::api::plan::{
    DeletionPolicy, DisasterRecoveryPlan, DisasterRecoveryPlanSpec, DisasterRecoveryPlanStatus, ManagementPolicy,
};
use crate::api::{PLAN_ID_ANNOTATION, RECONCILE_ANNOTATION, SYNC_CHECKPOINTS_ANNOTATION};
use crate::cloud::budget::Lane;
use crate::cloud::error::{self, Class};
use crate::cloud::rocketmq::RocketMq;
use crate::conditions::Statement;

/// No observation takes longer, but for a long poll interval.
const LONGEST_OBSERVATION: Duration = Duration::from_secs(120);
/// After so many failures in a row, what is to be kept anyway is let go.
const FAILURES_BEFORE_LETTING_GO: u32 = 3;

/// When a poll is tried again for which no worker was free.
const POLL_AGAIN: Duration = Duration::from_millis(500);

/// Why a pass saw nothing.
enum Unseen {
    /// There are no credentials.
    Credentials(SecretError),
    /// The cloud failed.
    Cloud(error::Error),
}

/// One pass over one object.
pub async fn reconcile(object: Arc<DisasterRecoveryPlan>, ctx: Arc<Context>) -> Result<Action, Error> {
    let mut session = Session::new(&ctx, (*object).clone());
    // One worker at least is left for edits.
    let turn = if settled(&session) { Some(ctx.polls.try_acquire()) } else { None };
    if let Some(Err(_)) = turn {
        return Ok(Action::requeue(POLL_AGAIN));
    }
    let next = pass(&mut session).await?;
    Ok(ctx.requeue(&session.key(), session.poll_interval(), &next))
}

async fn pass(session: &mut Session<'_>) -> Result<Next, Error> {
    let deleting = session.object.metadata.deletion_timestamp.is_some();
    if deleting && !session.has_finalizer() {
        session.forget();
        return Ok(Next::AwaitChange);
    }
    let observing = session.object.spec.management_policy == ManagementPolicy::Observe;
    if session.object.spec.suspend {
        session.measure_nothing();
        write(session, &Report::Suspended).await?;
        return Ok(Next::AwaitChange);
    }
    if deleting && observing {
        return release(session, None).await;
    }
    if !observing && !deleting && !session.has_finalizer() {
        session.add_finalizer().await?;
    }
    let cloud = match session.cloud(if settled(session) { Lane::Poll } else { Lane::Edit }).await {
        Ok(cloud) => cloud,
        Err(error) => return unseen(session, Unseen::Credentials(error)).await,
    };
    // What takes that long is old before it is whole, and others wait for their turn.
    let longest = LONGEST_OBSERVATION.max(session.poll_interval() * 2);
    match tokio::time::timeout(longest, observe_all(session, &cloud)).await {
        Ok(Ok(seen)) => run(session, &cloud, seen).await,
        Ok(Err(error)) => unseen(session, Unseen::Cloud(error)).await,
        Err(_) => {
            let message = format!("the plan could not be read whole within {} s", longest.as_secs());
            let (class, action, code) = (Class::Unavailable, "observing", "TooSlow".into());
            unseen(session, Unseen::Cloud(error::Error { class, action, code, message, request_id: None })).await
        }
    }
}

/// Whether a pass is a mere poll: nothing is asked for that was not reached before.
fn settled(session: &Session<'_>) -> bool {
    let status = session.status();
    session.object.metadata.deletion_timestamp.is_none()
        && status.synced_generation.is_some()
        && status.synced_generation == session.object.metadata.generation
        && !sync_requested(session)
}

fn sync_requested(session: &Session<'_>) -> bool {
    let asked = session.object.annotations().get(SYNC_CHECKPOINTS_ANNOTATION);
    asked.is_some() && asked != session.status().last_handled_sync_checkpoints_at.as_ref()
}

fn claimed(object: &DisasterRecoveryPlan) -> Option<i64> {
    object.annotations().get(PLAN_ID_ANNOTATION).and_then(|id| id.parse().ok())
}

fn binding(session: &Session<'_>) -> Binding {
    let object = &session.object;
    let number = |id: &Option<String>| id.as_deref().and_then(|id| id.parse().ok());
    let namespace = object.namespace().unwrap_or_default();
    Binding {
        bound: number(&session.status().plan_id).or_else(|| claimed(object)),
        named: number(&object.spec.plan_id),
        creating: session.status().creation.is_some(),
        plan_name: object.spec.plan_name.clone().unwrap_or_else(|| object.name_any()),
        mark: owner::mark(&session.ctx.cluster_id, &namespace, &object.name_any()),
    }
}

async fn observe_all(session: &Session<'_>, cloud: &RocketMq) -> Result<Observed, error::Error> {
    let object = &session.object;
    let namespace = object.namespace().unwrap_or_default();
    let spec = &object.spec;
    let plan = observe::find_plan(cloud, &binding(session)).await?;
    let items = observe::items(cloud, &plan).await?;
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Observed { plan, items, checkpoints: Ok(Default::default()), credentials: Ok(Default::default()) });
    }
    let checkpoints = observe::checkpoints(cloud, spec, &session.status(), &plan, &items).await;
    let credentials = match spec.management_policy {
        ManagementPolicy::Observe => Ok(Default::default()),
        ManagementPolicy::Manage => observe::acl_credentials(&session.ctx.client, &namespace, spec).await,
    };
    let credentials = credentials.map(|all| session.by_content(all));
    Ok(Observed { plan, items, checkpoints, credentials })
}

/// Decides, writes down what must survive a crash, acts, and says so in status.
async fn run(session: &mut Session<'_>, cloud: &RocketMq, seen: Observed) -> Result<Next, Error> {
    let deleting = session.object.metadata.deletion_timestamp.is_some();
    if seen.checkpoints.is_ok() {
        session.seen_now();
    }
    let (binding, before, spec) = (binding(session), session.status(), session.object.spec.clone());
    let asked = sync_requested(session);
    let want = Desired {
        spec: &spec,
        status: &before,
        binding: &binding,
        claimed: claimed(&session.object),
        sync_requested: asked,
        visibility_window: session.ctx.settings.visibility_window,
        generation: session.object.metadata.generation.unwrap_or_default(),
        asked_again: session.object.annotations().get(RECONCILE_ANNOTATION)
            != before.last_handled_reconcile_at.as_ref(),
        deleting_since: session.object.metadata.deletion_timestamp.as_ref().map(|it| it.0),
    };
    let decision = match deleting {
        true => diff::teardown(&want, &seen, Timestamp::now()),
        false => diff::diff(&want, &seen, Timestamp::now()),
    };
    if let Verdict::Released { left } = &decision.verdict {
        return release(session, left.clone()).await;
    }
    write_intents(session, &decision).await?;
    let acted = act::act(cloud, decision.steps.clone()).await;
    if let Some(id) = claim(&binding, &seen, &acted, &spec)
        && !deleting
    {
        session.annotate(&id).await?;
    }
    let report = Report::Ran { seen: &seen, decision: &decision, acted: &acted };
    let after = write(session, &report).await?;
    for told in events::events(&spec, &before, &after, &seen, &decision, &acted, asked) {
        session.publish(&told).await;
    }
    session.measure(&seen);
    if deleting
        && before.paused_items.is_empty()
        && spec.deletion_policy == DeletionPolicy::Retain
        && let Some(error::Error { class: Class::Denied, .. }) = status::first_failure(&acted)
    {
        return release(session, Some("the plan was kept with its owner mark, since the cloud denies access".into()))
            .await;
    }
    Ok(next(&seen, &decision, &acted, !before.paused_items.is_empty()))
}

/// Writes the intents of calls that have no client token, against the version that the pass is about: of two passes, one
/// gets through.
async fn write_intents(session: &mut Session<'_>, decision: &Decision) -> Result<(), Error> {
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    match status::intended(&session.status(), decision, &nonce, Timestamp::now()) {
        Some(status) => session.write_status(status).await,
        None => Ok(()),
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
        observe::Sight::Found(plan) => {
            (resolve::owner(plan, &binding.mark) == owner::Owner::Us).then_some(plan.plan_id)
        }
        observe::Sight::Absent { .. } => None,
    };
    created.or(found).map(|id| id.to_string())
}

/// Computes the status, writes it where it changed, and gives it.
async fn write(session: &mut Session<'_>, report: &Report<'_>) -> Result<DisasterRecoveryPlanStatus, Error> {
    let object = session.object.clone();
    let old = session.status();
    let binding = binding(session);
    let annotation = |name: &str| object.annotations().get(name).map(String::as_str);
    let pass = Pass {
        generation: object.metadata.generation,
        deleting: object.metadata.deletion_timestamp.is_some(),
        old: &old,
        spec: &object.spec,
        binding: &binding,
        reconcile_requested: annotation(RECONCILE_ANNOTATION),
        sync_requested: annotation(SYNC_CHECKPOINTS_ANNOTATION),
        poll_ms: i64::try_from(session.poll_interval().as_millis()).unwrap_or(i64::MAX),
        fresh: session.fresh(),
        visibility_window: session.ctx.settings.visibility_window,
        now: Timestamp::now(),
    };
    let new = status::status(&pass, report);
    if new != old {
        session.write_status(new.clone()).await?;
    }
    session.ctx.metrics.conditions("DisasterRecoveryPlan", &session.namespace(), &object.name_any(), &new.conditions);
    Ok(new)
}

/// The pass saw nothing: say why, and come back.
async fn unseen(session: &mut Session<'_>, why: Unseen) -> Result<Next, Error> {
    let (synced, stalled, next) = match &why {
        Unseen::Credentials(error) => {
            let next = match error {
                SecretError::Unreadable(..) => Next::Retry(Class::Unavailable),
                SecretError::Missing(_) | SecretError::Content(_) => Next::Poll,
            };
            (Statement::no(synced::CREDENTIALS_NOT_FOUND, error.to_string()), true, next)
        }
        Unseen::Cloud(error) => {
            let (statement, stalled) = wording::failure(error);
            (statement, stalled, Next::Retry(error.class))
        }
    };
    let deleting = session.object.metadata.deletion_timestamp.is_some();
    // What was stopped for this object's sake is not left so without need.
    let since = session.object.metadata.deletion_timestamp.as_ref().map(|it| Timestamp::now().duration_since(it.0));
    let waited = since.is_some_and(|since| since.unsigned_abs() > diff::LONGEST_PAUSE);
    let retained = deleting
        && session.object.spec.deletion_policy == DeletionPolicy::Retain
        && (waited || session.status().paused_items.is_empty());
    // What a person has to mend, and not what mends itself.
    let denied = match &why {
        Unseen::Credentials(SecretError::Missing(_) | SecretError::Content(_)) => true,
        Unseen::Credentials(SecretError::Unreadable(..)) => false,
        Unseen::Cloud(error) => error.class == Class::Denied,
    };
    if retained && denied {
        let left = format!("the plan was kept with its owner mark: {}", synced.message);
        return release(session, Some(left)).await;
    }
    if deleting && !session.ever_made() {
        return release(session, Some("nothing was ever made for this object".into())).await;
    }
    let failing = session.ctx.remember(&session.key(), |memory| memory.failures) >= FAILURES_BEFORE_LETTING_GO;
    let throttled = matches!(&why, Unseen::Cloud(error::Error { class: Class::Throttled { .. }, .. }));
    if retained && failing && !throttled {
        let left = format!("the plan was kept with its owner mark, since it could not be reached: {}", synced.message);
        return release(session, Some(left)).await;
    }
    if !session.fresh() {
        session.measure_nothing();
    }
    write(session, &Report::Failed { synced: &synced, stalled }).await?;
    Ok(next)
}

/// Lets the object go.
async fn release(session: &mut Session<'_>, left: Option<String>) -> Result<Next, Error> {
    let told = match left {
        Some(note) => Told { warning: false, reason: "Retained", action: "Release", note },
        None => Told { warning: false, reason: "Deleted", action: "DeletePlan", note: "the cloud side is gone".into() },
    };
    session.remove_finalizer().await?;
    if session.object.spec.management_policy == ManagementPolicy::Manage {
        session.publish(&told).await;
    }
    session.forget();
    Ok(Next::AwaitChange)
}

/// Whether the first failure concerns one mapping only.
fn of_an_item(acted: &[Acted]) -> bool {
    let failed = acted.iter().find(|it| matches!(it.outcome, act::Outcome::Failed(_)));
    failed.is_some_and(|it| {
        !act::concerns_others(&it.step, Class::Invalid) && !matches!(it.step, diff::Step::UpdatePlan { .. })
    })
}

/// When to look again.
fn next(seen: &Observed, decision: &Decision, acted: &[Acted], paused: bool) -> Next {
    let failed = status::first_failure(acted).or_else(|| seen.checkpoints.as_ref().err());
    match (failed, &decision.verdict) {
        // The plan is asked again at every poll, in case it no longer minds.
        (Some(error), _) if error.class == Class::Conflict && decision.blocked_by.is_some() => Next::Poll,
        (Some(error), _) if error.class == Class::Conflict => Next::Soon,
        // What was stopped for a change that is refused runs on without delay.
        (Some(error), _) if paused && matches!(error.class, Class::Denied | Class::Invalid) => Next::Soon,
        // One topic that does not exist must not keep the others from being looked at.
        (Some(error), _) if error.class == Class::Invalid && of_an_item(acted) => {
            let done = acted.iter().any(|it| matches!(it.outcome, act::Outcome::Done | act::Outcome::AddedItem(_)));
            if done { Next::Soon } else { Next::Poll }
        }
        (Some(error), _) => Next::Retry(error.class),
        (None, Verdict::Acting(_) | Verdict::Waiting { .. }) => Next::Soon,
        (None, Verdict::Refused { .. }) if paused || !acted.is_empty() => Next::Soon,
        (None, Verdict::InSync | Verdict::Refused { .. } | Verdict::Released { .. }) => Next::Poll,
    }
}
