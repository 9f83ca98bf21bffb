//! What a group consists of: its own fields and its pairs.

use super::super::observe::Observed;
use super::super::resolve;
use super::{Action, Decision, Draft};
use crate::api::condition::synced;
use crate::api::disk_replica_group::{Direction, Pair};
use crate::cloud::ebs::{GroupChange, GroupView, NewPair, PairView, ReplicationStatus as S, Tag};

/// Notes the fields of the group that differ.
pub(super) fn fields(draft: &mut Draft<'_>, group: &GroupView) {
    let change = change(draft, group);
    let found = |text: &Option<String>| text.clone().unwrap_or_default();
    if let Some(wanted) = &change.group_name {
        draft.differs("groupName", wanted, found(&group.group_name));
    }
    if let Some(wanted) = &change.description {
        draft.differs("description", wanted, found(&group.description));
    }
    if let Some(wanted) = change.enable_rtc {
        let found = group.enable_rtc.map(|it| it.to_string());
        draft.differs("enableRtc", wanted.to_string(), found.unwrap_or_default());
    }
}

fn change(draft: &Draft<'_>, group: &GroupView) -> GroupChange {
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

/// Notes the pairs that differ.
pub(super) fn differences(draft: &mut Draft<'_>, group: &GroupView, observed: &Observed) {
    let (spec, status) = (draft.spec(), draft.status());
    for want in &spec.pairs {
        let found = resolve::pair(want, status, &observed.pairs);
        if !found.is_some_and(|it| resolve::in_group(it, group)) {
            let found = if found.is_some() { "a pair outside of the group" } else { "none" };
            draft.differs(&format!("pairs[{}]", want.name), disks(want), found);
        }
    }
    // One that no list shows is deleted when the group is at rest, and holds nothing up before.
    for left in resolve::leftovers(spec, status, draft.owner, &observed.pairs).iter().filter(|it| it.view.is_some()) {
        draft.differs(&format!("pairs[{}]", left.name), "none", left.id);
    }
}

fn disks(pair: &Pair) -> String {
    format!("{} to {}", pair.source_disk_id, pair.destination_disk_id)
}

/// Whether what the group consists of differs.
pub(super) fn differ(draft: &Draft<'_>) -> bool {
    draft.drift.iter().any(|it| it.field != "replication" && it.field != "activeSite")
}

/// Whether the API accepted a change of the group's fields and does not keep it.
pub(super) fn in_vain(draft: &Draft<'_>, group: &GroupView) -> bool {
    let change = change(draft, group);
    change != GroupChange::default() && draft.in_vain(&Action::ModifyGroup(change).call())
}

/// What is said of a change that the API accepts and does not keep.
pub(super) fn not_kept(draft: Draft<'_>) -> Decision {
    let fields: Vec<_> = draft.drift.iter().map(|it| it.field.clone()).collect();
    let text = format!(
        "the API accepted the change of {} and does not keep it: write into the spec what the cloud has, or remove it",
        fields.join(", ")
    );
    draft.refuse(synced::INVALID_SPEC, text)
}

/// What is said where the group would have to be stopped for its changes, and is not to be.
pub(super) fn needs_stop(draft: Draft<'_>) -> Decision {
    let fields: Vec<_> = draft.drift.iter().map(|it| it.field.clone()).collect();
    let fields = fields.join(", ");
    let text = match draft.lifecycle.active == draft.lifecycle.direction.standby() {
        true => format!("{fields} cannot be changed while the group is failed over: set reprotect: Automatic first"),
        false => format!(
            "{fields} can be changed only while replication is stopped: set replication: Stopped, and Running again once \
             Synced is True"
        ),
    };
    draft.refuse(synced::REPLICATION_RUNNING, text)
}

/// What the pairs of a group at rest need.
pub(super) enum Need {
    /// The steps that were added.
    Steps,
    /// Some time.
    Time(String),
    /// A person.
    Person(String),
    /// Nothing.
    Nothing,
}

/// Brings the fields and pairs of a group at rest to what the spec says.
pub(super) fn bring(draft: &mut Draft<'_>, group: &GroupView, observed: &Observed) -> Need {
    let (spec, status) = (draft.spec(), draft.status());
    let before = draft.actions.len();
    let (mut waits, mut broken) = (vec![], vec![]);
    let change = change(draft, group);
    if change != GroupChange::default() {
        let action = Action::ModifyGroup(change);
        // What the API accepted and does not keep must not hold replication up for ever.
        if !draft.in_vain(&action.call()) {
            draft.actions.push(action);
        }
    }
    for want in &spec.pairs {
        match resolve::pair(want, status, &observed.pairs) {
            None => {
                let new = new_pair(draft, want);
                draft.actions.push(Action::CreatePair { pair: want.name.clone(), new });
            }
            Some(pair) if resolve::in_group(pair, group) => {}
            Some(pair) if resolve::owner(&pair.tags).is_some_and(|owner| owner != draft.owner) => {
                broken.push(format!("{}, which belongs to another object", describe(want, pair)));
            }
            Some(pair) => match &pair.status {
                // In the group, it would overwrite the disk in use.
                _ if backward(draft, want, pair) => {
                    broken.push(format!("{}, which is replicated the other way", describe(want, pair)));
                }
                S::Created | S::Stopped => {
                    draft.actions.push(Action::AddPair { pair_id: pair.replica_pair_id.clone() });
                }
                S::Creating | S::Stopping | S::Deleting => waits.push(describe(want, pair)),
                _ => broken.push(describe(want, pair)),
            },
        }
    }
    waits.extend(remove(draft, group, observed));
    if draft.actions.len() > before {
        return Need::Steps;
    }
    if !broken.is_empty() {
        let text = format!(
            "pairs cannot be added to the group: {}: delete them in the console, they are made again then, or remove them \
             from the spec",
            broken.join(", ")
        );
        return Need::Person(text);
    }
    if !waits.is_empty() {
        return Need::Time(format!("pairs to be ready: {}", waits.join(", ")));
    }
    Need::Nothing
}

/// Takes the pairs that the spec names no more out of the group and deletes them; names those that are not ready for it.
pub(super) fn remove(draft: &mut Draft<'_>, group: &GroupView, observed: &Observed) -> Vec<String> {
    let mut waits = vec![];
    for left in resolve::leftovers(draft.spec(), draft.status(), draft.owner, &observed.pairs) {
        let pair_id = left.id.to_owned();
        match left.view {
            Some(pair) if resolve::in_group(pair, group) => draft.actions.push(Action::RemovePair { pair_id }),
            Some(pair) if !deletable(&pair.status) => waits.push(format!("{pair_id} ({})", pair.status.as_str())),
            // One that no list shows may still be there.
            Some(_) | None => draft.actions.push(Action::DeletePair { pair_id }),
        }
    }
    waits
}

/// Whether a pair is replicated the other way than the group.
fn backward(draft: &Draft<'_>, want: &Pair, pair: &PairView) -> bool {
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
pub(super) fn deletable(status: &S) -> bool {
    matches!(status, S::Created | S::CreateFailed | S::Stopped | S::Failovered | S::DeleteFailed | S::Invalid)
}

/// The pairs that are broken, as people read them.
pub(super) fn broken(draft: &Draft<'_>, observed: &Observed) -> String {
    let pairs = draft.spec().pairs.iter().filter_map(|want| {
        let pair = resolve::pair(want, draft.status(), &observed.pairs)?;
        let told = pair.status_message.as_deref().is_some_and(|it| !it.is_empty());
        (told || pair.status == S::Invalid).then(|| describe(want, pair))
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
