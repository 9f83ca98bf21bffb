//! Reads what a pass decides on: the group, its pairs, and its drills where they matter.

use crate::api::GROUP_ID_ANNOTATION;
use crate::api::disk_replica_group::{Direction, DrillRun, FailoverMode, Pair};
use crate::cloud::ebs::{DrillView, Ebs, GroupView, PairView, Pairs, ReplicationStatus, SiteRole};
use crate::cloud::error::{Class, Error};

use super::call::{Call, creates_pair};
use super::lifecycle::noted_direction;
use super::{Scope, resolve};
use crate::controller::ownership;

/// Maximum length of a tag's value.
const MAX_OWNER_LENGTH: usize = 128;

/// The API as a group is replicated forward, and as it is replicated backward.
#[derive(Clone)]
pub struct Cloud {
    forward: Ebs,
    reverse: Ebs,
}

impl Cloud {
    /// The API of a group, whose production site is the source's region as long as it replicates forward.
    pub fn new(forward: Ebs) -> Self {
        let reverse = forward.clone().reversed();
        Self { forward, reverse }
    }

    /// The API of a direction.
    pub fn toward(&self, direction: Direction) -> &Ebs {
        match direction {
            Direction::Forward => &self.forward,
            Direction::Reverse => &self.reverse,
        }
    }
}

/// What identifies the group before it is observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The bound group: status, else the annotation, else what the spec names.
    pub bound: Option<String>,
    /// The value of the tag [`OWNER_TAG`](resolve::OWNER_TAG) of this object's group and pairs.
    pub owner: String,
    /// The direction of replication, as far as is known.
    pub direction: Direction,
    /// Whether a forced failover is requested: then the production region may be lost, and the standby region is asked first.
    pub forced: bool,
}

impl Binding {
    /// The binding by status, annotations and spec.
    pub fn new(scope: &Scope<'_>) -> Self {
        let (spec, status) = (&scope.object.spec, scope.status);
        // While a new group is being created, the former one is not it.
        let creating = Call::CreateGroup.pending(status).is_some();
        let claimed = scope.annotation(GROUP_ID_ANNOTATION).map(str::to_owned);
        let before = claimed.or_else(|| spec.replica_group_id.clone()).filter(|_| !creating);
        let wanted = status.active_site.is_some_and(|active| active != spec.active_site);
        Self {
            bound: status.replica_group_id.clone().or(before),
            owner: ownership::owner_id(scope.cluster_id, scope.namespace(), scope.name(), MAX_OWNER_LENGTH),
            direction: status.direction.or(noted_direction(scope)).unwrap_or_default(),
            forced: spec.failover.mode == FailoverMode::Forced && wanted,
        }
    }
}

/// Whether there is a group.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// The bound or marked group.
    Found(Box<GroupView>),
    /// There is none: not the bound one of this ID, where one is bound, and none with our mark.
    Absent(Option<String>),
}

impl Lookup {
    /// The group, if it is there.
    pub fn group(&self) -> Option<&GroupView> {
        match self {
            Self::Found(group) => Some(group),
            Self::Absent(_) => None,
        }
    }
}

/// Everything that a reconcile decides on.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// What was looked for.
    pub binding: Binding,
    /// The group.
    pub group: Lookup,
    /// The pairs in the group, and those in no group that this object may mean.
    pub pairs: Vec<PairView>,
    /// The group's drills, or why they could not be read; none, where nobody asked for them.
    pub drills: Option<Result<Vec<DrillView>, Error>>,
}

/// Reads the group with its pairs, and its drills where they matter.
pub async fn observe(scope: &Scope<'_>, cloud: &Cloud) -> Result<Observed, Error> {
    let binding = Binding::new(scope);
    let (group, site) = find_group(cloud, &binding).await?;
    let pairs = pairs(cloud, (&group, site), binding.direction, scope).await?;
    Ok(Observed { binding, group, pairs, drills: None })
}

/// Finds the group: the bound one by its ID, else the one with our mark among all.
///
/// It is looked for at the production site, and where that does not answer at the standby site: a failover must be possible
/// while a region is lost.
pub async fn find_group(cloud: &Cloud, binding: &Binding) -> Result<(Lookup, SiteRole), Error> {
    let ebs = cloud.toward(binding.direction);
    if binding.forced
        && other_region(ebs)
        && let Ok(sight @ Lookup::Found(_)) = at_site(ebs, binding, SiteRole::Standby).await
    {
        return Ok((sight, SiteRole::Standby));
    }
    let first = at_site(ebs, binding, SiteRole::Production).await;
    let unsure = match &first {
        Ok(Lookup::Found(_)) => false,
        // A region that is lost may answer anything.
        Err(_) => true,
        // A list may be late, and which region shows a group that was turned round is not documented.
        Ok(Lookup::Absent(bound)) => bound.is_some(),
    };
    if !unsure || binding.forced || !other_region(ebs) {
        return first.map(|sight| (sight, SiteRole::Production));
    }
    match (first, at_site(ebs, binding, SiteRole::Standby).await) {
        (_, Ok(sight @ Lookup::Found(_))) => Ok((sight, SiteRole::Standby)),
        // That it is nowhere is known when both say so.
        (Ok(Lookup::Absent(_)), Err(error)) => Err(error),
        (first, _) => first.map(|sight| (sight, SiteRole::Production)),
    }
}

fn other_region(ebs: &Ebs) -> bool {
    ebs.region(SiteRole::Production) != ebs.region(SiteRole::Standby)
}

async fn at_site(ebs: &Ebs, binding: &Binding, site: SiteRole) -> Result<Lookup, Error> {
    let mut groups = match &binding.bound {
        Some(id) => match ebs.group(site, id).await {
            Ok(group) => vec![group],
            Err(Error { class: Class::NotFound, .. }) => vec![],
            Err(error) => return Err(error),
        },
        None => ebs.groups(site, &[]).await?,
    };
    groups.retain(|group| group.status != ReplicationStatus::Deleted);
    groups.sort_by(|a, b| a.replica_group_id.cmp(&b.replica_group_id));
    let found = match &binding.bound {
        Some(_) => groups.pop(),
        None => groups.into_iter().find(|group| resolve::owner(&group.tags) == Some(&binding.owner)),
    };
    Ok(found.map_or_else(|| Lookup::Absent(binding.bound.clone()), |group| Lookup::Found(Box::new(group))))
}

/// Reads the drills of a group where they are begun; where the one under way is not among them, in the other region too:
/// which one begins them after a reversal is not documented, and clones that nobody sees are billed.
pub async fn drills(
    cloud: &Cloud,
    direction: Direction,
    group_id: &str,
    current: Option<&DrillRun>,
) -> Result<Vec<DrillView>, Error> {
    let ebs = cloud.toward(direction);
    let mut found = ebs.drills(group_id).await?;
    let listed = |run: &DrillRun| found.iter().any(|it| Some(&it.drill_id) == run.drill_id.as_ref());
    if other_region(ebs) && current.is_some_and(|run| !listed(run)) {
        found.extend(cloud.toward(direction.reversed()).drills(group_id).await?);
        found.sort_by(|a, b| a.drill_id.cmp(&b.drill_id));
        found.dedup_by(|a, b| a.drill_id == b.drill_id);
    }
    Ok(found)
}

/// Reads the pairs in the group, and those in no group where one that the object means is not in it.
pub async fn pairs(
    cloud: &Cloud,
    (group, site): (&Lookup, SiteRole),
    direction: Direction,
    scope: &Scope<'_>,
) -> Result<Vec<PairView>, Error> {
    let ebs = cloud.toward(direction);
    let mut pairs = match group.group() {
        Some(group) => {
            let mut pairs = ebs.pairs(site, Pairs::InGroup(&group.replica_group_id)).await?;
            // The call asked for this group's pairs, whether or not they name it themselves.
            pairs.iter_mut().for_each(|pair| pair.replica_group_id = Some(group.replica_group_id.clone()));
            pairs
        }
        None => vec![],
    };
    // The pair of a call whose answer was lost is in no group.
    if scope.deleting() || creates_pair(scope.status) || !all_known(scope, &pairs) {
        pairs.extend(ebs.pairs(site, Pairs::Ungrouped).await?);
    }
    pairs.retain(|pair| pair.status != ReplicationStatus::Deleted);
    pairs.sort_by(|a, b| a.replica_pair_id.cmp(&b.replica_pair_id));
    pairs.dedup_by(|a, b| a.replica_pair_id == b.replica_pair_id);
    Ok(pairs)
}

/// Whether every pair of spec and status is among these.
fn all_known(scope: &Scope<'_>, pairs: &[PairView]) -> bool {
    let wanted = |pair: &Pair| resolve::pair(pair, scope.status, pairs).is_some();
    let listed = |id: &String| pairs.iter().any(|pair| pair.replica_pair_id == *id);
    scope.object.spec.pairs.iter().all(wanted)
        && scope.status.pairs.iter().filter_map(|it| it.replica_pair_id.as_ref()).all(listed)
}
