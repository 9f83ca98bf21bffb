//! Carries steps out, in their order, one attempt each. Whoever calls decides what a failure means for the next pass.

use std::time::{Duration, Instant};

use tracing::Instrument;

use super::decide::{Action, Step};
use super::observe::Cloud;
use crate::cloud::ebs::{ClientToken, Ebs, SiteRole};
use crate::cloud::error::{Class, Error};

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was accepted.
    Done,
    /// It made the group, pair or drill of this ID.
    Made(String),
    /// It failed.
    Failed(Error),
    /// An earlier step failed, and this one was not tried.
    Skipped,
}

/// A step and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Acted {
    /// The step.
    pub step: Step,
    /// What became of it.
    pub outcome: Outcome,
}

/// After so long no further step is begun: others need the worker. The next pass goes on.
const LONGEST: Duration = Duration::from_secs(180);

/// Carries the steps out until one fails in a way that concerns the others too. A drill is cleared whatever becomes of the
/// group.
pub async fn act(cloud: &Cloud, steps: &[Step]) -> Vec<Acted> {
    let mut acted = Vec::with_capacity(steps.len());
    let (mut stopped, begun) = (false, Instant::now());
    for step in steps {
        let step = step.clone();
        stopped |= begun.elapsed() > LONGEST;
        if stopped && !matches!(step.action, Action::ClearDrill { .. }) {
            acted.push(Acted { step, outcome: Outcome::Skipped });
            continue;
        }
        let call = step.action.call();
        let span = tracing::info_span!("step", step = call);
        let outcome = carry_out(cloud, &step).instrument(span).await;
        match &outcome {
            Outcome::Failed(error) => {
                tracing::warn!(step = call, %error, "step failed");
                stopped |= concerns_others(&step.action, error.class);
            }
            Outcome::Done | Outcome::Made(_) | Outcome::Skipped => tracing::info!(step = call, "step accepted"),
        }
        acted.push(Acted { step, outcome });
    }
    acted
}

/// The first failure among the outcomes; of the group rather than of a drill.
pub fn first_failure(acted: &[Acted]) -> Option<&Error> {
    let failed = |drills: bool| {
        acted.iter().find_map(|it| match &it.outcome {
            Outcome::Failed(error) if of_a_drill(&it.step.action) == drills => Some(error),
            _ => None,
        })
    };
    failed(false).or_else(|| failed(true))
}

/// Whether an action is about a drill.
pub fn of_a_drill(action: &Action) -> bool {
    matches!(action, Action::StartDrill | Action::ClearDrill { .. })
}

/// Whether the steps behind one that failed so are not tried.
pub fn concerns_others(action: &Action, class: Class) -> bool {
    match class {
        Class::Denied | Class::Throttled { .. } | Class::Unavailable | Class::Ambiguous => true,
        Class::NotFound | Class::Conflict | Class::Invalid => !action.stands_alone(),
    }
}

/// Makes the call where it belongs; where the service says that it belongs to the other site, there. Which region is
/// production after a reversal is not documented.
async fn carry_out(cloud: &Cloud, step: &Step) -> Outcome {
    let ebs = cloud.toward(step.direction);
    let outcome = call(ebs, step, &step.token).await;
    let two_regions = ebs.region(SiteRole::Production) != ebs.region(SiteRole::Standby);
    let outcome = match &outcome {
        Outcome::Failed(error) if two_regions && (wrong_site(error) || unknown_drill(step, error)) => {
            let elsewhere = cloud.toward(step.direction.turned());
            call(elsewhere, step, &step.elsewhere).await
        }
        _ => outcome,
    };
    match outcome {
        // What is to be gone and is gone is done.
        Outcome::Failed(error) if unknown_drill(step, &error) => Outcome::Done,
        other => other,
    }
}

/// Whether a drill is not known in the region that was asked. It stays where it was begun, which is not always known.
fn unknown_drill(step: &Step, error: &Error) -> bool {
    matches!(step.action, Action::ClearDrill { .. }) && error.class == Class::NotFound
}

/// Whether the service says that the call belongs to the other site.
pub fn wrong_site(error: &Error) -> bool {
    ["OperateNotAllowedFor", "StartDrillShouldOnDestRegion"].iter().any(|code| error.code.contains(code))
}

async fn call(ebs: &Ebs, step: &Step, token: &ClientToken) -> Outcome {
    let done = |result: Result<(), Error>| result.map_or_else(Outcome::Failed, |()| Outcome::Done);
    let made = |result: Result<String, Error>| result.map_or_else(Outcome::Failed, Outcome::Made);
    // What is to be gone and is gone is done.
    let gone = |result: Result<(), Error>| match result {
        Err(Error { class: Class::NotFound, .. }) => Outcome::Done,
        other => done(other),
    };
    let group = step.group_id.as_str();
    match &step.action {
        Action::CreateGroup(new) => made(ebs.create_group(new, token).await),
        Action::CreatePair { pair: _, new } => made(ebs.create_pair(new, token).await),
        Action::AddPair { pair_id } => done(ebs.add_pair(group, pair_id, token).await),
        Action::RemovePair { pair_id } => done(ebs.remove_pair(group, pair_id, token).await),
        Action::DeletePair { pair_id } => gone(ebs.delete_pair(pair_id, token).await),
        Action::ModifyGroup(change) => done(ebs.modify_group(group, change, token).await),
        Action::StartGroup { one_shot } => done(ebs.start_group(group, *one_shot, token).await),
        Action::StopGroup => done(ebs.stop_group(group, token).await),
        Action::FailoverGroup => done(ebs.failover_group(group, token).await),
        Action::ReprotectGroup { reverse } => done(ebs.reprotect_group(group, *reverse, token).await),
        Action::DeleteGroup => gone(ebs.delete_group(group, token).await),
        Action::StartDrill => made(ebs.start_drill(group, token).await),
        Action::ClearDrill { drill_id } => done(ebs.clear_drill(group, drill_id).await),
    }
}
