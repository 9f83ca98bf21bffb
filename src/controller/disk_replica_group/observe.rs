//! Reads what a pass decides on: the group, its pairs, and its drills where they matter.

use crate::api::disk_replica_group::{Direction, DiskReplicaGroupSpec, DiskReplicaGroupStatus, DrillRun};
use crate::cloud::ebs::{DrillView, Ebs, GroupView, PairView, Pairs, ReplicationStatus, SiteRole};
use crate::cloud::error::{Class, Error};

use super::resolve;

/// The tag that names the owner of a group and of its pairs.
pub const OWNER_TAG: &str = "disasterrecovery.dev/owner";

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

/// What is known of where the group is, before looking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The bound group: status, else the annotation, else what the spec names.
    pub bound: Option<String>,
    /// The value of the tag [`OWNER_TAG`] of what this object makes.
    pub owner: String,
    /// Which way the group replicates, as far as is known.
    pub direction: Direction,
    /// Whether a forced failover is asked for: then the production region may be lost, and the standby region is asked first.
    pub forced: bool,
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

/// Everything that a pass decides on.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The group.
    pub group: Lookup,
    /// The pairs in the group, and those in no group that this object may mean.
    pub pairs: Vec<PairView>,
    /// The group's drills, or why they could not be read; none, where nobody asked for them.
    pub drills: Option<Result<Vec<DrillView>, Error>>,
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
        None => groups.into_iter().find(|group| owner(&group.tags) == Some(&binding.owner)),
    };
    Ok(found.map_or_else(|| Lookup::Absent(binding.bound.clone()), |group| Lookup::Found(Box::new(group))))
}

/// Whose tag is among these.
pub fn owner(tags: &[crate::cloud::ebs::Tag]) -> Option<&String> {
    tags.iter().find(|tag| tag.key == OWNER_TAG).map(|tag| &tag.value)
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
        found.extend(cloud.toward(direction.turned()).drills(group_id).await?);
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
    spec: &DiskReplicaGroupSpec,
    status: &DiskReplicaGroupStatus,
    deleting: bool,
) -> Result<Vec<PairView>, Error> {
    let ebs = cloud.toward(direction);
    let mut pairs = match group.group() {
        Some(group) => {
            let mut pairs = ebs.pairs(site, Pairs::InGroup(&group.replica_group_id)).await?;
            // They were asked for as its members, whether or not they say so themselves.
            pairs.iter_mut().for_each(|pair| pair.replica_group_id = Some(group.replica_group_id.clone()));
            pairs
        }
        None => vec![],
    };
    let found = |pairs: &[PairView]| {
        let wanted = spec.pairs.iter().all(|pair| resolve::pair(pair, status, pairs).is_some());
        let known = status.pairs.iter().filter_map(|it| it.replica_pair_id.as_deref());
        wanted && known.into_iter().all(|id| pairs.iter().any(|pair| pair.replica_pair_id == id))
    };
    // What a call may have made whose answer was lost is in no group.
    let making = status.pending_calls.iter().any(|it| it.call.starts_with("CreateDiskReplicaPair/"));
    if deleting || making || !found(&pairs) {
        pairs.extend(ebs.pairs(site, Pairs::Ungrouped).await?);
    }
    pairs.retain(|pair| pair.status != ReplicationStatus::Deleted);
    pairs.sort_by(|a, b| a.replica_pair_id.cmp(&b.replica_pair_id));
    pairs.dedup_by(|a, b| a.replica_pair_id == b.replica_pair_id);
    Ok(pairs)
}
