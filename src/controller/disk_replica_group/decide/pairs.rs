//! Decides the changes of a group's fields and pairs.

use super::super::capability::holds_data;
use super::super::observe::Observed;
use super::super::resolve;
use super::{Action, Decision, Draft};
use crate::api::condition::synced;
use crate::api::disk_replica_group::{Direction, Pair};
use crate::cloud::ebs::{GroupChange, GroupView, NewPair, PairView, ReplicationStatus as S, Tag};
use crate::controller::absence::Absence;

/// Adds the differences of the group's fields.
pub(super) fn add_field_drift(draft: &mut Draft<'_>, group: &GroupView) {
    let change = group_change(draft, group);
    let found = |text: &Option<String>| text.clone().unwrap_or_default();
    if let Some(wanted) = &change.group_name {
        draft.add_drift("groupName", wanted, found(&group.group_name));
    }
    if let Some(wanted) = &change.description {
        draft.add_drift("description", wanted, found(&group.description));
    }
    if let Some(wanted) = change.enable_rtc {
        let found = group.enable_rtc.map(|it| it.to_string());
        draft.add_drift("enableRtc", wanted.to_string(), found.unwrap_or_default());
    }
}

/// The change that the group's fields need.
fn group_change(draft: &Draft<'_>, group: &GroupView) -> GroupChange {
    let spec = draft.spec();
    let name = Some(super::group_name(&draft.scope).to_owned());
    GroupChange {
        group_name: name
            .filter(|_| spec.group_name.is_some() || group.group_name.is_none())
            .filter(|wanted| group.group_name.as_deref() != Some(wanted)),
        description: spec.description.clone().filter(|wanted| group.description.as_deref() != Some(wanted)),
        rpo: None,
        enable_rtc: spec.enable_rtc.filter(|wanted| group.enable_rtc.is_some_and(|found| found != *wanted)),
    }
}

/// Adds the differences of the pairs.
pub(super) fn add_pair_drift(draft: &mut Draft<'_>, group: &GroupView, observed: &Observed) {
    let (spec, status) = (draft.spec(), draft.status());
    let unproven = missing_pairs(draft).is_some() || !draft.pairs_complete;
    for want in &spec.pairs {
        let found = resolve::pair(want, status, &observed.pairs);
        if found.is_none() && unproven {
            continue;
        }
        if !found.is_some_and(|it| resolve::in_group(it, group)) {
            let found = if found.is_some() { "a pair outside of the group" } else { "none" };
            draft.add_drift(&format!("pairs[{}]", want.name), disks(want), found);
        }
    }
    // A pair that no list contains is deleted when the group is at rest. Before, it delays nothing.
    for left in resolve::leftovers(spec, status, draft.owner, &observed.pairs).iter().filter(|it| it.view.is_some()) {
        draft.add_drift(&format!("pairs[{}]", left.name), "none", left.id);
    }
}

/// The proof that the operator waits for, where lists do not show pairs of status and it is not known whether these are gone.
pub(super) fn missing_pairs(draft: &Draft<'_>) -> Option<String> {
    if !draft.pairs_complete {
        return (!draft.all_shown).then(|| "the list of pairs, which cannot be read whole".to_owned());
    }
    let mut missing = Vec::new();
    for known in &draft.status().pairs {
        let Some(id) = known.replica_pair_id.as_deref() else { continue };
        if draft.is_listed(id) || resolve::deletion_accepted(draft.status(), id) {
            continue;
        }
        if let Absence::Unproven { since, until } = draft.scope.absence(&resolve::pair_part(id)) {
            missing.push(format!(
                "{} ({id}) is not found since {since}, and counts as deleted when every read until {until} agrees",
                known.name
            ));
        }
    }
    (!missing.is_empty()).then(|| format!("proof: pair {}", missing.join("; pair ")))
}

fn disks(pair: &Pair) -> String {
    format!("{} to {}", pair.source_disk_id, pair.destination_disk_id)
}

/// Whether fields or pairs differ.
pub(super) fn has_drift(draft: &Draft<'_>) -> bool {
    draft.drift.iter().any(|it| it.field != "replication" && it.field != "activeSite")
}

/// Whether the API accepted a change of the group's fields and does not keep it.
pub(super) fn change_not_kept(draft: &Draft<'_>, group: &GroupView) -> bool {
    let change = group_change(draft, group);
    change != GroupChange::default() && draft.had_no_effect(&Action::ModifyGroup(change).call())
}

/// Refuses a change that the API accepts and does not keep.
pub(super) fn refuse_change_not_kept(draft: Draft<'_>) -> Decision {
    let fields: Vec<_> = draft.drift.iter().map(|it| it.field.clone()).collect();
    let text = format!(
        "the API accepted the change of {} and does not keep it: write into the spec what the cloud has, or remove it",
        fields.join(", ")
    );
    draft.refuse(synced::INVALID_SPEC, text)
}

/// Refuses changes that need a stop of replication, which the spec does not want.
pub(super) fn refuse_while_running(draft: Draft<'_>) -> Decision {
    let fields: Vec<_> = draft.drift.iter().map(|it| it.field.clone()).collect();
    let fields = fields.join(", ");
    let text = match draft.lifecycle.active == draft.lifecycle.direction.standby() {
        true => format!("{fields} cannot be changed while the group is failed over, before replication is reversed"),
        false => format!(
            "{fields} can be changed only while replication is stopped: set replication: Stopped, and Running again once \
             Synced is True"
        ),
    };
    draft.refuse(synced::REPLICATION_RUNNING, text)
}

/// The result of the comparison of a group at rest with the spec.
pub(super) enum AtRest {
    /// The draft has steps that change the group.
    Acting,
    /// The operator waits for pairs.
    Waiting(String),
    /// A person has to act.
    Refused(String),
    /// Fields and pairs are as the spec says.
    InSync,
}

/// Changes the fields and pairs of a group at rest as the spec says.
pub(super) fn change_at_rest(draft: &mut Draft<'_>, group: &GroupView, observed: &Observed) -> AtRest {
    let (spec, status) = (draft.spec(), draft.status());
    let before = draft.actions.len();
    let (mut waits, mut broken) = (vec![], vec![]);
    let change = group_change(draft, group);
    if change != GroupChange::default() {
        let action = Action::ModifyGroup(change);
        // A change that the API does not keep must not delay replication forever.
        if !draft.had_no_effect(&action.call()) {
            draft.actions.push(action);
        }
    }
    for want in &spec.pairs {
        match resolve::pair(want, status, &observed.pairs) {
            None if !draft.pairs_complete => waits.push("the list of pairs, which cannot be read whole".into()),
            // The pair may be the missing one under another name.
            None if missing_pairs(draft).is_some() => waits.extend(missing_pairs(draft)),
            None if !holds_data(&draft.scope, &want.name, None, draft.lifecycle.direction) => {}
            None => {
                let new = new_pair(draft, want);
                draft.actions.push(Action::CreatePair { pair: want.name.clone(), new });
            }
            Some(pair) if resolve::in_group(pair, group) => {}
            Some(pair) if resolve::owner(&pair.tags).is_some_and(|owner| owner != draft.owner) => {
                broken.push(format!("{}, which belongs to another object", describe(want, pair)));
            }
            Some(pair) => match &pair.status {
                // Such a pair would overwrite the disk in use once it is in the group.
                _ if replicates_opposite(draft, want, pair) => {
                    broken.push(format!("{}, which is replicated the other way", describe(want, pair)));
                }
                S::Created | S::Stopped
                    if !holds_data(&draft.scope, &want.name, Some(pair), draft.lifecycle.direction) => {}
                S::Created | S::Stopped => {
                    draft.actions.push(Action::AddPair { pair_id: pair.replica_pair_id.clone() });
                }
                S::Creating | S::Stopping | S::Deleting => waits.push(describe(want, pair)),
                _ => broken.push(describe(want, pair)),
            },
        }
    }
    waits.extend(remove_leftovers(draft, group, observed));
    if draft.actions.len() > before {
        return AtRest::Acting;
    }
    if !broken.is_empty() {
        let text = format!(
            "pairs cannot be added to the group: {}: delete them in the console, they are made again then, or remove them \
             from the spec",
            broken.join(", ")
        );
        return AtRest::Refused(text);
    }
    if !waits.is_empty() {
        return AtRest::Waiting(format!("pairs to be ready: {}", waits.join(", ")));
    }
    AtRest::InSync
}

/// Whether there are pairs of this object that the spec no longer names.
pub(super) fn has_leftovers(draft: &Draft<'_>, observed: &Observed) -> bool {
    !resolve::leftovers(draft.spec(), draft.status(), draft.owner, &observed.pairs).is_empty()
}

/// The reason why replication does not start: pairs of the group would copy disks without data over those that hold it. They were
/// never synchronized in the first direction.
pub(super) fn copy_refusal(draft: &Draft<'_>, group: &GroupView, observed: &Observed) -> Option<String> {
    let members = observed.pairs.iter().filter(|pair| resolve::in_group(pair, group));
    let name = |pair: &PairView| {
        let known = draft.status().pairs.iter().find(|it| it.replica_pair_id.as_ref() == Some(&pair.replica_pair_id));
        known.map_or_else(|| pair.replica_pair_id.clone(), |it| it.name.clone())
    };
    let direction = draft.lifecycle.direction;
    let blank = members.filter(|pair| !holds_data(&draft.scope, &name(pair), Some(pair), direction));
    let blank: Vec<_> = blank.map(|pair| format!("{} ({})", name(pair), pair.replica_pair_id)).collect();
    (!blank.is_empty()).then(|| {
        format!(
            "replication is not started: it would copy disks that were never synchronized over those of the {} that hold the \
             data: {}. Remove these pairs from the spec",
            direction.standby().as_str().to_lowercase(),
            blank.join(", ")
        )
    })
}

/// The pairs of the spec that are not in the group and would be created from a disk without data, and the remedy.
pub(super) fn blank_pairs(draft: &Draft<'_>, group: &GroupView, observed: &Observed) -> Option<String> {
    let direction = draft.lifecycle.direction;
    let blank = draft.spec().pairs.iter().filter(|want| {
        let pair = resolve::pair(want, draft.status(), &observed.pairs);
        let member = pair.is_some_and(|pair| resolve::in_group(pair, group));
        !member && !holds_data(&draft.scope, &want.name, pair, direction)
    });
    let blank: Vec<_> = blank.map(|want| want.name.clone()).collect();
    (!blank.is_empty()).then(|| {
        let (from, to) = (direction.production().as_str(), direction.standby().as_str());
        format!(
            "pairs are not added: their disks at the {from} were never synchronized, and would be copied over those of the {to}, \
             which alone hold the data: {}. Fail back before you add them, or remove them from the spec",
            blank.join(", ")
        )
    })
}

/// Removes the pairs that the spec no longer names from the group, and deletes them. Returns the pairs that cannot be deleted
/// yet.
pub(super) fn remove_leftovers(draft: &mut Draft<'_>, group: &GroupView, observed: &Observed) -> Vec<String> {
    let mut waits = vec![];
    for left in resolve::leftovers(draft.spec(), draft.status(), draft.owner, &observed.pairs) {
        let pair_id = left.id.to_owned();
        match left.view {
            Some(pair) if resolve::in_group(pair, group) => draft.actions.push(Action::RemovePair { pair_id }),
            Some(pair) if !is_deletable(&pair.status) => waits.push(format!("{pair_id} ({})", pair.status.as_str())),
            // A renamed pair may be the missing one.
            None if !draft.scope.absence(&resolve::pair_part(left.id)).is_proven() => {
                waits.extend(missing_pairs(draft));
            }
            // A pair that no list contains may still exist.
            Some(_) | None => draft.actions.push(Action::DeletePair { pair_id }),
        }
    }
    waits
}

/// Whether a pair replicates in the opposite direction of the group.
fn replicates_opposite(draft: &Draft<'_>, want: &Pair, pair: &PairView) -> bool {
    let from = match draft.lifecycle.direction {
        Direction::Forward => &want.source_disk_id,
        Direction::Reverse => &want.destination_disk_id,
    };
    pair.source_disk_id.as_ref().is_some_and(|disk| disk != from)
}

fn describe(want: &Pair, pair: &PairView) -> String {
    let message = pair.status_message.as_deref().filter(|it| !it.is_empty());
    let message = message.map(|it| format!(", {it}")).unwrap_or_default();
    format!("{} ({}, {}{message})", want.name, pair.replica_pair_id, pair.status.as_str())
}

/// Whether a pair that is in no group can be deleted in its status.
pub(super) fn is_deletable(status: &S) -> bool {
    matches!(status, S::Created | S::CreateFailed | S::Stopped | S::Failovered | S::DeleteFailed | S::Invalid)
}

/// The broken pairs, for messages.
pub(super) fn broken_pairs(draft: &Draft<'_>, observed: &Observed) -> String {
    let pairs = draft.spec().pairs.iter().filter_map(|want| {
        let pair = resolve::pair(want, draft.status(), &observed.pairs)?;
        let has_message = pair.status_message.as_deref().is_some_and(|it| !it.is_empty());
        (has_message || pair.status == S::Invalid).then(|| describe(want, pair))
    });
    pairs.collect::<Vec<_>>().join(", ")
}

fn new_pair(draft: &Draft<'_>, want: &Pair) -> NewPair {
    let spec = draft.spec();
    let (from, to) = match draft.lifecycle.direction {
        Direction::Forward => (&want.source_disk_id, &want.destination_disk_id),
        Direction::Reverse => (&want.destination_disk_id, &want.source_disk_id),
    };
    let zone = |site| resolve::place(spec, site).zone_id.clone();
    let mut name = format!("{}-{}", draft.scope.name(), want.name);
    name.truncate(name.floor_char_boundary(128));
    NewPair {
        disk_id: from.clone(),
        source_zone_id: zone(draft.lifecycle.direction.production()),
        destination_disk_id: to.clone(),
        destination_zone_id: zone(draft.lifecycle.direction.standby()),
        pair_name: Some(name),
        description: None,
        rpo: Some(super::RPO_SECONDS),
        enable_rtc: spec.enable_rtc,
        resource_group_id: None,
        tags: vec![Tag { key: resolve::OWNER_TAG.into(), value: draft.owner.to_owned() }],
    }
}
