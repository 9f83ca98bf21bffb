//! Runs one step of a group: one call, in the region where it belongs.

use super::decide::{Action, Step};
use super::observe::Cloud;
use crate::cloud::ebs::{ClientToken, Ebs, SiteRole};
use crate::cloud::error::{Class, Error};
use crate::controller::steps;

/// The result of a step that the cloud accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A change without a result.
    Changed,
    /// The ID of the new group, pair or drill.
    Created(String),
}

impl steps::Step for Step {
    type Cloud = Cloud;
    type Effect = Effect;

    fn name(&self) -> String {
        self.action.call().to_string()
    }

    /// Makes the call in its region. Where the service answers that the call belongs to the other site, it is made there: which
    /// region is production after a reversal is not documented.
    async fn run(&self, cloud: &Cloud) -> Result<Effect, Error> {
        let ebs = cloud.in_direction(self.direction);
        let result = call(ebs, self, &self.token).await;
        let two_regions = ebs.region(SiteRole::Production) != ebs.region(SiteRole::Standby);
        let result = match &result {
            Err(error) if two_regions && (wrong_site(error) || unknown_drill(self, error)) => {
                call(cloud.in_direction(self.direction.reversed()), self, &self.elsewhere).await
            }
            _ => result,
        };
        match result {
            // A drill that no region knows is cleared.
            Err(error) if unknown_drill(self, &error) => Ok(Effect::Changed),
            other => other,
        }
    }

    fn stands_alone(&self) -> bool {
        self.action.stands_alone()
    }

    /// Clearing a drill always runs: its clones are billed.
    fn runs_always(&self) -> bool {
        matches!(self.action, Action::ClearDrill { .. })
    }

    /// The status of the drill reports its failure.
    fn is_secondary(&self) -> bool {
        matches!(self.action, Action::StartDrill | Action::ClearDrill { .. })
    }
}

/// Whether the region does not know a drill. A drill stays in the region where it began, which is not always known.
fn unknown_drill(step: &Step, error: &Error) -> bool {
    matches!(step.action, Action::ClearDrill { .. }) && error.class == Class::NotFound
}

/// Whether the service answers that the call belongs to the other site.
pub fn wrong_site(error: &Error) -> bool {
    ["OperateNotAllowedFor", "StartDrillShouldOnDestRegion"].iter().any(|code| error.code.contains(code))
}

async fn call(ebs: &Ebs, step: &Step, token: &ClientToken) -> Result<Effect, Error> {
    let group = step.group_id.as_str();
    match &step.action {
        Action::CreateGroup(new) => ebs.create_group(new, token).await.map(Effect::Created),
        Action::CreatePair { pair: _, new } => ebs.create_pair(new, token).await.map(Effect::Created),
        Action::AddPair { pair_id } => changed(ebs.add_pair(group, pair_id, token).await),
        Action::RemovePair { pair_id } => changed(ebs.remove_pair(group, pair_id, token).await),
        Action::DeletePair { pair_id } => deleted(ebs.delete_pair(pair_id, token).await),
        Action::ModifyGroup(change) => changed(ebs.modify_group(group, change, token).await),
        Action::StartGroup { one_shot } => changed(ebs.start_group(group, *one_shot, token).await),
        Action::StopGroup => changed(ebs.stop_group(group, token).await),
        Action::FailoverGroup => changed(ebs.failover_group(group, token).await),
        Action::ReprotectGroup { reverse } => changed(ebs.reprotect_group(group, *reverse, token).await),
        Action::DeleteGroup => deleted(ebs.delete_group(group, token).await),
        Action::StartDrill => ebs.start_drill(group, token).await.map(Effect::Created),
        Action::ClearDrill { drill_id } => changed(ebs.clear_drill(group, drill_id).await),
    }
}

fn changed(result: Result<(), Error>) -> Result<Effect, Error> {
    result.map(|()| Effect::Changed)
}

/// The deletion of something that does not exist succeeds.
fn deleted(result: Result<(), Error>) -> Result<Effect, Error> {
    match result {
        Err(Error { class: Class::NotFound, .. }) => Ok(Effect::Changed),
        other => changed(other),
    }
}
