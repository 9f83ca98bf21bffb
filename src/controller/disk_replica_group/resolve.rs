//! The pairs, sites and directions of the cloud that the parts of the spec mean. Pure.

use super::call::Call;
use crate::api::disk_replica_group::{
    Direction, DiskReplicaGroupSpec, DiskReplicaGroupStatus, Pair, PendingCall, Place, Site,
};
use crate::cloud::ebs::{GroupView, PairView, ReplicationStatus, SiteView, Tag};

/// The tag that names the owner of a group and of its pairs.
pub const OWNER_TAG: &str = "disasterrecovery.dev/owner";

/// The name of a group among the parts of the cloud side.
pub fn group_part(group_id: &str) -> String {
    format!("group {group_id}")
}

/// The name of the group or pair that this call without answer may have created. Each call has another one, and its repeats the same.
pub fn created_part(pending: &PendingCall) -> String {
    format!("the result of {} {}", pending.call, pending.sequence)
}

/// The name of a pair among the parts of the cloud side.
pub fn pair_part(pair_id: &str) -> String {
    format!("pair {pair_id}")
}

/// The owner that the tags name.
pub fn owner(tags: &[Tag]) -> Option<&String> {
    tags.iter().find(|tag| tag.key == OWNER_TAG).map(|tag| &tag.value)
}

/// The pair of the cloud that a pair of the spec means: the pair of the same two disks, in either direction.
pub fn pair<'a>(want: &Pair, status: &DiskReplicaGroupStatus, pairs: &'a [PairView]) -> Option<&'a PairView> {
    let disks = |it: &&PairView| match (it.source_disk_id.as_deref(), it.destination_disk_id.as_deref()) {
        (Some(source), Some(destination)) => {
            (source == want.source_disk_id && destination == want.destination_disk_id)
                || (source == want.destination_disk_id && destination == want.source_disk_id)
        }
        // A pair without disks is identified by its ID.
        (None, _) | (_, None) => known_id(want, status) == Some(&it.replica_pair_id),
    };
    let mut found: Vec<_> = pairs.iter().filter(disks).collect();
    // A pair in a group goes before a pair in no group.
    found.sort_by_key(|it| !in_a_group(it));
    found.first().copied()
}

fn known_id<'a>(want: &Pair, status: &'a DiskReplicaGroupStatus) -> Option<&'a String> {
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

/// A pair that this object created or took over, and that the spec no longer names.
pub struct Leftover<'a> {
    /// Its name in status. Its ID, where status has none or the spec uses the name for other disks.
    pub name: &'a str,
    /// The pair's ID.
    pub id: &'a str,
    /// The pair, if a list contains it.
    pub view: Option<&'a PairView>,
}

/// The pairs of this object that the spec no longer names: those in status, and those with the owner's tag.
pub fn leftovers<'a>(
    spec: &DiskReplicaGroupSpec,
    status: &'a DiskReplicaGroupStatus,
    ours: &str,
    pairs: &'a [PairView],
) -> Vec<Leftover<'a>> {
    let in_spec = |name: &str| spec.pairs.iter().any(|want| want.name == name);
    let wanted: Vec<_> = spec.pairs.iter().filter_map(|want| pair(want, status, pairs)).collect();
    let mut leftovers = Vec::new();
    for pair in pairs.iter().filter(|pair| !wanted.iter().any(|it| it.replica_pair_id == pair.replica_pair_id)) {
        let id = pair.replica_pair_id.as_str();
        let known = status.pairs.iter().find(|it| it.replica_pair_id.as_deref() == Some(id));
        let name = known.map(|it| it.name.as_str()).filter(|name| !in_spec(name));
        if known.is_some() || owner(&pair.tags).is_some_and(|it| it == ours) {
            leftovers.push(Leftover { name: name.unwrap_or(id), id, view: Some(pair) });
        }
    }
    for known in status.pairs.iter().filter(|it| !in_spec(&it.name)) {
        let Some(id) = known.replica_pair_id.as_deref() else { continue };
        if !pairs.iter().any(|pair| pair.replica_pair_id == id) && !deletion_accepted(status, id) {
            leftovers.push(Leftover { name: &known.name, id, view: None });
        }
    }
    leftovers
}

/// The pairs of the spec that are not replicated although the group may be, each with the cause: it is not in the group, or the
/// cloud reports an error.
pub fn unreplicated_pairs(
    spec: &DiskReplicaGroupSpec,
    status: &DiskReplicaGroupStatus,
    group: &GroupView,
    pairs: &[PairView],
) -> Vec<(String, String)> {
    let why = |want: &Pair| {
        let Some(found) = pair(want, status, pairs).filter(|it| in_group(it, group)) else {
            return Some("not in the group".to_owned());
        };
        let message = found.status_message.clone().filter(|text| !text.is_empty());
        message.or_else(|| (found.status == ReplicationStatus::Invalid).then(|| found.status.as_str().to_owned()))
    };
    spec.pairs.iter().filter_map(|want| Some((want.name.clone(), why(want)?))).collect()
}

/// Whether the cloud accepted the deletion of a pair. A pair that no list contains is gone then.
pub fn deletion_accepted(status: &DiskReplicaGroupStatus, pair_id: &str) -> bool {
    Call::DeletePair(pair_id.to_owned()).pending(status).is_some_and(|it| it.accepted_at.is_some())
}

/// The place of a site.
pub fn place(spec: &DiskReplicaGroupSpec, site: Site) -> &Place {
    match site {
        Site::Source => &spec.source,
        Site::Destination => &spec.destination,
    }
}

/// The direction in which a group replicates, as the cloud reports it: by the source's zone, else by the role of the region
/// that answered.
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

/// Whether a group is between the two zones of the spec. A zone that the cloud does not report counts as the same.
pub fn same_zones(spec: &DiskReplicaGroupSpec, group: &GroupView) -> bool {
    let wanted = [spec.source.zone_id.as_str(), spec.destination.zone_id.as_str()];
    let zones = [&group.source_zone_id, &group.destination_zone_id, &group.primary_zone, &group.standby_zone];
    zones.into_iter().flatten().all(|zone| zone.is_empty() || wanted.contains(&zone.as_str()))
}
