//! Which pair of the cloud each part of the spec means. Pure; every later stage uses its answers.

use super::call::Call;
use crate::api::disk_replica_group::{Direction, DiskReplicaGroupSpec, DiskReplicaGroupStatus, Pair, Place, Site};
use crate::cloud::ebs::{GroupView, PairView, ReplicationStatus, SiteView, Tag};

/// The tag that names the owner of a group and of its pairs.
pub const OWNER_TAG: &str = "disasterrecovery.dev/owner";

/// The owner that the tags name.
pub fn owner(tags: &[Tag]) -> Option<&String> {
    tags.iter().find(|tag| tag.key == OWNER_TAG).map(|tag| &tag.value)
}

/// The pair of the cloud that a pair of the spec means: the one of these two disks, whichever is replicated to the other.
pub fn pair<'a>(want: &Pair, status: &DiskReplicaGroupStatus, pairs: &'a [PairView]) -> Option<&'a PairView> {
    let disks = |it: &&PairView| match (it.source_disk_id.as_deref(), it.destination_disk_id.as_deref()) {
        (Some(source), Some(destination)) => {
            (source == want.source_disk_id && destination == want.destination_disk_id)
                || (source == want.destination_disk_id && destination == want.source_disk_id)
        }
        // Without its disks, a pair is known by its ID only.
        (None, _) | (_, None) => known(want, status) == Some(&it.replica_pair_id),
    };
    let mut found: Vec<_> = pairs.iter().filter(disks).collect();
    // One that is in a group is meant rather than one that is in none.
    found.sort_by_key(|it| !in_a_group(it));
    found.first().copied()
}

fn known<'a>(want: &Pair, status: &'a DiskReplicaGroupStatus) -> Option<&'a String> {
    status.pairs.iter().find(|it| it.name == want.name).and_then(|it| it.replica_pair_id.as_ref())
}

/// Whether a pair is in a group.
pub fn in_a_group(pair: &PairView) -> bool {
    pair.replica_group_id.as_deref().is_some_and(|id| !id.is_empty() && id != "-")
}

/// Whether a pair is in this group.
pub fn in_group(pair: &PairView, group: &GroupView) -> bool {
    pair.replica_group_id.as_deref() == Some(&group.replica_group_id) || group.pair_ids.contains(&pair.replica_pair_id)
}

/// A pair that this object has made or taken over and that the spec names no more.
pub struct Leftover<'a> {
    /// The name that status has for it: its ID, where there was none or where the spec uses the name for other disks now.
    pub name: &'a str,
    /// The pair's ID.
    pub id: &'a str,
    /// The pair, where a list shows it.
    pub view: Option<&'a PairView>,
}

/// The pairs of this object that the spec names no more: those that status knows, and those that carry the owner's tag.
pub fn leftovers<'a>(
    spec: &DiskReplicaGroupSpec,
    status: &'a DiskReplicaGroupStatus,
    ours: &str,
    pairs: &'a [PairView],
) -> Vec<Leftover<'a>> {
    let named: Vec<_> = spec.pairs.iter().filter_map(|want| pair(want, status, pairs)).collect();
    let in_spec = |name: &str| spec.pairs.iter().any(|want| want.name == name);
    let seen = pairs.iter().filter(|pair| !named.iter().any(|it| it.replica_pair_id == pair.replica_pair_id));
    let shown = seen.filter_map(|pair| {
        let id = pair.replica_pair_id.as_str();
        let known = status.pairs.iter().find(|it| it.replica_pair_id.as_deref() == Some(id));
        let name = known.map(|it| it.name.as_str()).filter(|name| !in_spec(name));
        let marked = owner(&pair.tags).is_some_and(|it| it == ours);
        (known.is_some() || marked).then_some(Leftover { name: name.unwrap_or(id), id, view: Some(pair) })
    });
    let hidden = status.pairs.iter().filter(|it| !in_spec(&it.name)).filter_map(|it| {
        let id = it.replica_pair_id.as_deref().filter(|id| !pairs.iter().any(|pair| pair.replica_pair_id == *id))?;
        let id = Some(id).filter(|id| !deleted(status, id))?;
        Some(Leftover { name: &it.name, id, view: None })
    });
    shown.chain(hidden).collect()
}

/// The pairs of the spec that are not replicated, though the group may be, each with why: not in the group, or what the
/// cloud says is wrong with it.
pub fn lacking(
    spec: &DiskReplicaGroupSpec,
    status: &DiskReplicaGroupStatus,
    group: &GroupView,
    pairs: &[PairView],
) -> Vec<String> {
    let why = |want: &Pair| {
        let Some(found) = pair(want, status, pairs).filter(|it| in_group(it, group)) else {
            return Some("not in the group".to_owned());
        };
        let told = found.status_message.clone().filter(|text| !text.is_empty());
        told.or_else(|| (found.status == ReplicationStatus::Invalid).then(|| found.status.as_str().to_owned()))
    };
    spec.pairs.iter().filter_map(|want| why(want).map(|why| format!("{} ({why})", want.name))).collect()
}

/// Whether a pair's deletion was answered: then what no list shows is gone.
pub fn deleted(status: &DiskReplicaGroupStatus, pair_id: &str) -> bool {
    Call::DeletePair(pair_id.to_owned()).pending(status).is_some_and(|it| it.accepted_at.is_some())
}

/// The place of a site.
pub fn place(spec: &DiskReplicaGroupSpec, site: Site) -> &Place {
    match site {
        Site::Source => &spec.source,
        Site::Destination => &spec.destination,
    }
}

/// Which way the cloud says that a group replicates: by the zone that it names as the source's, or by what it calls the
/// region that answered.
pub fn direction(spec: &DiskReplicaGroupSpec, group: &GroupView) -> Option<Direction> {
    match group.source_zone_id.as_deref() {
        Some(zone) if zone == spec.source.zone_id => Some(Direction::Forward),
        Some(zone) if zone == spec.destination.zone_id => Some(Direction::Reverse),
        _ => match group.site {
            SiteView::Production => Some(Direction::Forward),
            SiteView::Backup | SiteView::Other(_) => None,
        },
    }
}

/// Whether a group is between the two zones of the spec, as far as it names its zones.
pub fn same_zones(spec: &DiskReplicaGroupSpec, group: &GroupView) -> bool {
    let mine = [spec.source.zone_id.as_str(), spec.destination.zone_id.as_str()];
    let zones = [&group.source_zone_id, &group.destination_zone_id, &group.primary_zone, &group.standby_zone];
    zones.into_iter().flatten().all(|zone| zone.is_empty() || mine.contains(&zone.as_str()))
}
