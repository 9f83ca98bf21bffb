//! The observation of a group: the group, its pairs, and its drills where a decision needs them.

use crate::api::GROUP_ID_ANNOTATION;
use crate::api::disk_replica_group::{Direction, DrillRun, FailoverMode, Pair};
use crate::cloud::ebs::{DrillView, Ebs, GroupView, PairView, Pairs, ReplicationStatus, SiteRole};
use crate::cloud::error::{Class, Error};
use crate::cloud::list::List;
use crate::cloud::operation::ApiOperation;

use super::call::{Call, creates_pair};
use super::lifecycle::annotated_direction;
use super::{Scope, resolve};
use crate::controller::ownership;

/// Maximum length of a tag's value.
const MAX_OWNER_LENGTH: usize = 128;

/// The API of a group in both directions of replication.
#[derive(Clone)]
pub struct Cloud {
    forward: Ebs,
    reverse: Ebs,
}

impl Cloud {
    /// The API of a group. In the forward direction its production site is the source's region.
    pub fn new(forward: Ebs) -> Self {
        let reverse = forward.clone().reversed();
        Self { forward, reverse }
    }

    /// The API of a direction.
    pub fn in_direction(&self, direction: Direction) -> &Ebs {
        match direction {
            Direction::Forward => &self.forward,
            Direction::Reverse => &self.reverse,
        }
    }
}

/// The identification of the group before it is observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The ID of the bound group: from status, else from the annotation, else from the spec.
    pub bound: Option<String>,
    /// The value of the tag [`OWNER_TAG`](resolve::OWNER_TAG) of this object's group and pairs.
    pub owner: String,
    /// The direction of replication, as far as is known.
    pub direction: Direction,
    /// The IDs of the groups with our mark, where earlier observations found more than one.
    pub twins: Vec<String>,
    /// Whether a forced failover is requested. The production region may be lost then, so the standby region is read first.
    pub forced: bool,
}

impl Binding {
    /// The binding by status, annotations and spec.
    pub fn new(scope: &Scope<'_>) -> Self {
        let (spec, status) = (&scope.object.spec, scope.status);
        // While a new group is being created, the former ID is not bound.
        let creating = Call::CreateGroup.pending(status).is_some();
        let annotated = scope.annotation(GROUP_ID_ANNOTATION).map(str::to_owned);
        let named = annotated.or_else(|| spec.replica_group_id.clone()).filter(|_| !creating);
        let wanted = spec.active_site.is_some_and(|wanted| status.active_site.is_some_and(|active| active != wanted));
        Self {
            bound: status.replica_group_id.clone().or(named),
            owner: ownership::owner_id(scope.cluster_id, scope.namespace(), scope.name(), MAX_OWNER_LENGTH),
            direction: status.direction.or(annotated_direction(scope)).unwrap_or_default(),
            twins: status.twins.clone(),
            forced: spec.failover.as_ref().is_some_and(|it| it.mode == FailoverMode::Forced) && wanted,
        }
    }
}

/// The result of the search for the group.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// The bound or marked group.
    Found(Box<GroupView>),
    /// No group: neither the bound one, whose ID this is, nor one with our mark.
    Absent(Option<String>),
}

impl Lookup {
    /// The group, if it was found.
    pub fn group(&self) -> Option<&GroupView> {
        match self {
            Self::Found(group) => Some(group),
            Self::Absent(_) => None,
        }
    }
}

/// The result of the search for the group in one region, and its circumstances.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// The group.
    pub group: Lookup,
    /// The IDs of other groups with our mark, as far as the list was read.
    pub twins: Vec<String>,
    /// The IDs of such groups of earlier observations that the list does not show.
    pub unseen_twins: Vec<String>,
}

/// The observation of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The identification of the group.
    pub binding: Binding,
    pub group: Lookup,
    /// As [`Search::twins`].
    pub twins: Vec<String>,
    /// As [`Search::unseen_twins`].
    pub unseen_twins: Vec<String>,
    /// The pairs in the group, and pairs in no group that this object may mean.
    pub pairs: Vec<PairView>,
    /// Whether a pair that `pairs` lacks does not exist, as far as one read proves it.
    pub pairs_complete: bool,
    /// The group's drills, or the error of their read; `None` where the decision does not need them.
    pub drills: Option<Result<Vec<DrillView>, Error>>,
}

impl Observed {
    /// The other groups with our mark: those of the list, and those of earlier observations that are not known to be gone.
    pub fn all_twins(&self, scope: &Scope<'_>) -> Vec<String> {
        let unseen = self.unseen_twins.iter().filter(|id| !scope.absence(&resolve::group_part(id)).is_proven());
        self.twins.iter().chain(unseen).cloned().collect()
    }
}

/// Observes the group with its pairs.
pub async fn observe(scope: &Scope<'_>, cloud: &Cloud) -> Result<Observed, Error> {
    let binding = Binding::new(scope);
    let (Search { group, twins, unseen_twins }, site) = find_group(cloud, &binding).await?;
    let pairs = pairs(cloud, (&group, site), binding.direction, scope).await?;
    let (pairs_complete, pairs) = (pairs.is_complete(), pairs.into_entries());
    Ok(Observed { binding, group, twins, unseen_twins, pairs, pairs_complete, drills: None })
}

/// Finds the group: the bound one by its ID, else the one with our mark among all.
///
/// The production site is read first. Where it does not answer, the standby site is read: a failover must be possible while a
/// region is lost.
pub async fn find_group(cloud: &Cloud, binding: &Binding) -> Result<(Search, SiteRole), Error> {
    let ebs = cloud.in_direction(binding.direction);
    if binding.forced
        && other_region(ebs)
        && let Ok(search @ Search { group: Lookup::Found(_), .. }) = at_site(ebs, binding, SiteRole::Standby).await
    {
        return Ok((search, SiteRole::Standby));
    }
    let first = at_site(ebs, binding, SiteRole::Production).await;
    let unsure = match first.as_ref().map(|search| &search.group) {
        Ok(Lookup::Found(_)) => false,
        // A lost region may give any answer.
        Err(_) => true,
        // A list may be late. Which region shows a group after a reversal is not documented.
        Ok(Lookup::Absent(bound)) => bound.is_some(),
    };
    if !unsure || binding.forced || !other_region(ebs) {
        return first.map(|search| (search, SiteRole::Production));
    }
    match (first, at_site(ebs, binding, SiteRole::Standby).await) {
        (_, Ok(search @ Search { group: Lookup::Found(_), .. })) => Ok((search, SiteRole::Standby)),
        // The group is absent only when both sites agree.
        (Ok(Search { group: Lookup::Absent(_), .. }), Err(error)) => Err(error),
        (first, _) => first.map(|search| (search, SiteRole::Production)),
    }
}

fn other_region(ebs: &Ebs) -> bool {
    ebs.region(SiteRole::Production) != ebs.region(SiteRole::Standby)
}

async fn at_site(ebs: &Ebs, binding: &Binding, site: SiteRole) -> Result<Search, Error> {
    let absent = || Lookup::Absent(binding.bound.clone());
    if let Some(id) = &binding.bound {
        let group = match ebs.group(site, id).await {
            Ok(group) if group.status != ReplicationStatus::Deleted => Lookup::Found(Box::new(group)),
            Ok(_) | Err(Error { class: Class::NotFound, .. }) => absent(),
            Err(error) => return Err(error),
        };
        return Ok(Search { group, twins: vec![], unseen_twins: vec![] });
    }
    let groups = ebs.groups(site, &[]).await?.complete(ApiOperation::DescribeDiskReplicaGroups)?;
    let shown = |id: &String| groups.iter().any(|group| group.replica_group_id == *id);
    let unseen_twins = binding.twins.iter().filter(|id| !shown(id)).cloned().collect();
    let ours = |group: &GroupView| {
        group.status != ReplicationStatus::Deleted && resolve::owner(&group.tags) == Some(&binding.owner)
    };
    let mut groups: Vec<_> = groups.into_iter().filter(ours).collect();
    groups.sort_by(|a, b| b.replica_group_id.cmp(&a.replica_group_id));
    let group = groups.pop().map_or_else(absent, |group| Lookup::Found(Box::new(group)));
    Ok(Search { group, twins: groups.into_iter().map(|it| it.replica_group_id).collect(), unseen_twins })
}

/// Reads the drills of a group in the region where drills begin. Where the current drill is not among them, the other region is
/// read too: which region begins drills after a reversal is not documented, and overlooked clones are billed.
pub async fn drills(
    cloud: &Cloud,
    direction: Direction,
    group_id: &str,
    current: Option<&DrillRun>,
) -> Result<Vec<DrillView>, Error> {
    let ebs = cloud.in_direction(direction);
    let operation = ApiOperation::DescribeReplicaGroupDrills;
    let mut found = ebs.drills(group_id).await?.complete(operation)?;
    let contains = |run: &DrillRun| found.iter().any(|it| Some(&it.drill_id) == run.drill_id.as_ref());
    if other_region(ebs) && current.is_some_and(|run| !contains(run)) {
        found.extend(cloud.in_direction(direction.reversed()).drills(group_id).await?.complete(operation)?);
        found.sort_by(|a, b| a.drill_id.cmp(&b.drill_id));
        found.dedup_by(|a, b| a.drill_id == b.drill_id);
    }
    Ok(found)
}

/// Reads the pairs in the group. Where a pair of the object is not in it, pairs in no group are read too.
pub async fn pairs(
    cloud: &Cloud,
    (group, site): (&Lookup, SiteRole),
    direction: Direction,
    scope: &Scope<'_>,
) -> Result<List<PairView>, Error> {
    let ebs = cloud.in_direction(direction);
    let (mut pairs, mut complete) = match group.group() {
        Some(group) => {
            let list = ebs.pairs(site, Pairs::InGroup(&group.replica_group_id)).await?;
            let (complete, mut pairs) = (list.is_complete(), list.into_entries());
            // The list is filtered by this group. A pair may not name its group.
            pairs.iter_mut().for_each(|pair| pair.replica_group_id = Some(group.replica_group_id.clone()));
            (pairs, complete)
        }
        None => (vec![], true),
    };
    // The pair of a call whose answer was lost is in no group.
    if scope.deleting() || creates_pair(scope.status) || !all_found(scope, &pairs) {
        let list = ebs.pairs(site, Pairs::Ungrouped).await?;
        complete &= list.is_complete();
        pairs.extend(list.into_entries());
    }
    pairs.retain(|pair| pair.status != ReplicationStatus::Deleted);
    pairs.sort_by(|a, b| a.replica_pair_id.cmp(&b.replica_pair_id));
    pairs.dedup_by(|a, b| a.replica_pair_id == b.replica_pair_id);
    Ok(if complete { List::Complete(pairs) } else { List::Incomplete(pairs) })
}

/// Whether every pair of spec and status is among these pairs.
fn all_found(scope: &Scope<'_>, pairs: &[PairView]) -> bool {
    let wanted = |pair: &Pair| resolve::pair(pair, scope.status, pairs).is_some();
    let contains = |id: &String| pairs.iter().any(|pair| pair.replica_pair_id == *id);
    scope.object.spec.pairs.iter().all(wanted)
        && scope.status.pairs.iter().filter_map(|it| it.replica_pair_id.as_ref()).all(contains)
}
