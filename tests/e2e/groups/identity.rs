//! Whose group it is: adoption, other owners, and observing only.

use disaster_recovery_operator::api::disk_replica_group::{DiskReplicaGroupStatus, Site};
use disaster_recovery_operator::simulator::model::ebs::{DiskGroupInput, DiskPairInput, ReplicaStatus};
use serde_json::json;

use super::{Groups, REGIONS, spec, spec_with};
use test_support::eventually;
use test_support::stage::DEADLINE;
use test_support::stage::{has, message};

const NAMES: &[&str] = &["data", "logs"];

/// A running group, created by another actor.
async fn foreign(world: &Groups, owner: Option<&str>) -> String {
    let tags = owner.map(|owner| ("disasterrecovery.dev/owner".to_owned(), owner.to_owned())).into_iter().collect();
    let text = |text: &str| Some(text.to_owned());
    let group = DiskGroupInput {
        name: text("by hand"),
        source_zone: text("cn-hangzhou-h"),
        destination_region: text(REGIONS[1]),
        destination_zone: text("cn-shanghai-b"),
        tags,
        ..DiskGroupInput::default()
    };
    let pair = |name: &&str| DiskPairInput {
        disk: Some(format!("d-hangzhou-{name}")),
        destination_disk: Some(format!("d-shanghai-{name}")),
        source_zone: text("cn-hangzhou-h"),
        destination_region: text(REGIONS[1]),
        destination_zone: text("cn-shanghai-b"),
        ..DiskPairInput::default()
    };
    let (id, pairs) = world.cloud.with_disks(|disks, now| {
        let mut made = |name| disks.create_pair(REGIONS[0], pair(name), now).expect("a pair");
        let pairs: Vec<_> = NAMES.iter().map(&mut made).collect();
        (disks.create_group(REGIONS[0], group, now).expect("a group"), pairs)
    });
    for pair in pairs {
        let added = || world.cloud.with_disks(|disks, now| disks.add_pair(REGIONS[0], (&id, &pair), now).ok());
        eventually(DEADLINE, "the pair is added", async || added()).await;
    }
    world.cloud.with_disks(|disks, now| disks.start_group(REGIONS[0], &id, false, now)).expect("it is started");
    world.cloud.clear_requests();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn adopted_group_stays_unchanged() {
    let world = Groups::quick().await;
    let id = foreign(&world, None).await;
    let _operator = world.operator().await;
    let mut taken = spec();
    taken.as_object_mut().expect("an object").remove("description");
    taken["replicaGroupId"] = json!(id);
    let status = world.create_protected(taken).await;
    world.assert_one(&status, Site::Source, NAMES);
    assert_eq!(world.changes(), Vec::<String>::new());
    assert!(world.event("db", "Adopted").await.contains(&id));
    assert!(!world.events("db").await.iter().any(|it| it.0 == "Created"));
    // It is the object's own from now on.
    world.go_to("Destination", "Planned").await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
    world.delete("db").await;
    world.gone("db").await;
    world.assert_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_over_group_is_adopted_unchanged() {
    let world = Groups::quick().await;
    let id = foreign(&world, None).await;
    world.until(ReplicaStatus::Normal).await;
    world.change_externally(|disks, id, now| disks.failover_group(REGIONS[1], id, now)).expect("it is failed over");
    let _operator = world.operator().await;
    world.create("db", spec_with(json!({ "replicaGroupId": id }))).await;
    let status = world.condition("db", "Synced", "False", "ReprotectWaits").await;
    assert_eq!((status.active_site, world.changes()), (Some(Site::Destination), vec![]), "{status:#?}");
    // Its description differs, which takes a stop once it runs the other way.
    world.patch("db", json!({ "spec": { "description": null } })).await;
    world.overwrite(Site::Source).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_group_id_creates_nothing() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create("db", spec_with(json!({ "replicaGroupId": "pg-nowhere" }))).await;
    let status = world.condition("db", "Synced", "False", "GroupNotFound").await;
    assert!(message(&status, "Synced").contains("pg-nowhere"), "{status:#?}");
    world.polls(2).await;
    assert_eq!(world.changes(), Vec::<String>::new());
    world.delete("db").await;
    world.gone("db").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn group_of_another_owner_stays_unchanged() {
    let world = Groups::quick().await;
    let id = foreign(&world, Some("ffffffff/elsewhere/db")).await;
    let _operator = world.operator().await;
    world.create("db", spec_with(json!({ "replicaGroupId": id, "activeSite": "Destination" }))).await;
    let status = world.condition("db", "Synced", "False", "OwnedByAnother").await;
    assert!(message(&status, "Synced").contains("ffffffff/elsewhere/db"), "{status:#?}");
    assert!(has(&status, "Ready", "False", "NotReady"), "{status:#?}");
    world.polls(2).await;
    world.delete("db").await;
    world.gone("db").await;
    assert_eq!(world.changes(), Vec::<String>::new());
    assert_eq!(world.group().id, id);
    assert!(world.event("db", "Retained").await.contains("belongs to another object"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_do_not_fight_over_one_group() {
    let mut world = Groups::quick().await;
    world.settings.cluster_id = Some("one".into());
    let operator = world.operator().await;
    let id = world.create_protected(spec()).await.replica_group_id.expect("its ID");
    operator.stop().await;
    world.cloud.clear_requests();
    let mut other = Groups::quick().await;
    other.cloud = world.cloud.clone();
    other.settings.cluster_id = Some("two".into());
    let _operator = other.operator().await;
    other.create("db", spec_with(json!({ "replicaGroupId": id, "activeSite": "Destination" }))).await;
    other.condition("db", "Synced", "False", "OwnedByAnother").await;
    other.delete("db").await;
    other.gone("db").await;
    assert_eq!(world.changes(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn observe_mode_reports_differences_and_changes_nothing() {
    let world = Groups::quick().await;
    let id = foreign(&world, None).await;
    let _operator = world.operator().await;
    let more = json!({ "replicaGroupId": id, "managementPolicy": "Observe", "activeSite": "Destination" });
    world.create("db", spec_with(more)).await;
    let differs = |it: &DiskReplicaGroupStatus| {
        has(it, "Synced", "False", "ObserveOnly") && it.group_status.as_deref() == Some("normal")
    };
    let status = world.status("db", "the differences", differs).await;
    let mut fields: Vec<_> = status.head.drift.iter().map(|it| it.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["activeSite", "description"], "{status:#?}");
    let same = json!({ "activeSite": null, "description": null });
    world.patch("db", json!({ "spec": same })).await;
    let status = world.condition("db", "Synced", "True", "ObserveOnly").await;
    assert!(has(&status, "Ready", "True", "Available"), "{status:#?}");
    assert_eq!(world.get("db").await.expect("it is there").metadata.finalizers, None);
    world.delete("db").await;
    world.gone("db").await;
    assert_eq!(world.changes(), Vec::<String>::new());
    // It is managed from now on.
    world.create("db", spec_with(json!({ "replicaGroupId": id, "managementPolicy": "Observe" }))).await;
    world.condition("db", "Synced", "False", "ObserveOnly").await;
    world.patch("db", json!({ "spec": { "managementPolicy": "Manage", "description": null } })).await;
    world.protected().await;
    assert_eq!(world.changes(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn group_is_found_without_its_status() {
    let world = Groups::quick().await;
    let operator = world.operator().await;
    world.create_protected(spec()).await;
    world.force(Site::Destination).await;
    let before = world.protected().await;
    operator.stop().await;
    // A restored backup has the spec and the annotations; then not even those.
    for annotations in [true, false] {
        let mut object = world.get("db").await.expect("it is there");
        world.patch("db", json!({ "metadata": { "finalizers": null } })).await;
        world.delete("db").await;
        world.gone("db").await;
        world.cloud.clear_requests();
        object.status = None;
        let kept = object.metadata.annotations.filter(|_| annotations);
        object.metadata =
            kube::api::ObjectMeta { name: object.metadata.name, annotations: kept, ..kube::api::ObjectMeta::default() };
        world.api().create(&kube::api::PostParams::default(), &object).await.expect("it is restored");
        let operator = world.operator().await;
        let status = world.protected().await;
        world.assert_one(&status, Site::Destination, NAMES);
        assert_eq!(status.replica_group_id, before.replica_group_id);
        assert_eq!(world.changes(), Vec::<String>::new(), "nothing was made or changed");
        operator.stop().await;
    }
}
