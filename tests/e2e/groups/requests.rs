//! Requests for failovers: admission, withdrawal and expiry. Nothing fails over or back that no new request asks for.

use std::time::Duration;

use disaster_recovery_operator::api::disk_replica_group::{DiskReplicaGroupStatus, Phase, RequestPhase, Site};
use disaster_recovery_operator::simulator::model::ebs::{DiskGroupEdit, ReplicaStatus};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{Groups, history, spec, spec_with};
use test_support::ControlPlane;
use test_support::stage::{has, message};

const NAMES: &[&str] = &["data", "logs"];
/// How Argo CD applies with ServerSideApply=true.
const BY_THE_SERVER: &[&str] = &["--server-side", "--field-manager=argocd-controller"];
/// How kubectl applies, and Argo CD without that option.
const BY_THE_CLIENT: &[&str] = &[];
/// What a refusal at admission says.
const REMEDY: &str = "write failover.requestedAt with the present time in UTC";

/// The manifest of `db` with more in its spec.
fn manifest(more: Value) -> Value {
    let metadata = json!({ "name": "db" });
    let (version, kind) = ("disasterrecovery.dev/v1alpha1", "DiskReplicaGroup");
    json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec_with(more) })
}

/// A request of now, as a manifest has it.
fn now() -> Value {
    json!({ "requestedAt": jiff::Timestamp::now() })
}

fn apply(world: &Groups, how: &[&str], manifest: &Value) -> Result<String, String> {
    let args = [&["apply", "-n", &world.namespace, "-f", "-"], how].concat();
    let applied = tokio::task::block_in_place(|| ControlPlane::shared().kubectl_stdin(&args, &manifest.to_string()));
    applied.checked().map_err(|error| format!("{error:#}"))
}

/// The refusal of a change of the spec.
async fn refused(world: &Groups, spec: Value) -> String {
    let patch = Patch::Merge(json!({ "spec": spec }));
    match world.api().patch("db", &PatchParams::default(), &patch).await {
        Ok(object) => panic!("accepted: {:#?}", object.spec),
        Err(error) => error.to_string(),
    }
}

/// The old manifests are refused, and change nothing.
async fn assert_old_refused(world: &Groups, how: &[&str], old: &[Value]) {
    let before = world.get("db").await.expect("it is there").spec;
    for old in old {
        let error = apply(world, how, old).expect_err("an old manifest");
        assert!(error.contains(REMEDY), "{error}");
    }
    assert_eq!(world.get("db").await.expect("it is there").spec, before);
}

/// A failover by manifest, and the manifests from before it again.
async fn old_manifest(how: &[&str]) {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    let first = manifest(json!({}));
    apply(&world, how, &first).expect("it is created");
    world.protected().await;
    let source = manifest(json!({ "activeSite": "Source", "failover": now() }));
    apply(&world, how, &source).expect("it is accepted");
    let site = manifest(json!({ "activeSite": "Source" }));
    let old = [first, source, site];
    world.protected().await;

    // Replication stops, and no more.
    world.cloud.with_disks(|disks, _| disks.rules.delay_ms = 3_600_000);
    world.cloud.clear_requests();
    let new = manifest(json!({ "activeSite": "Destination", "failover": now() }));
    apply(&world, how, &new).expect("it is accepted");
    world.until(ReplicaStatus::Stopping).await;
    assert_old_refused(&world, how, &old).await;
    world.polls(2).await;
    world.cloud.with_disks(|disks, _| disks.rules.delay_ms = 60);
    world.edit(DiskGroupEdit { status: Some(ReplicaStatus::Stopped), ..DiskGroupEdit::default() });
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);

    world.cloud.clear_requests();
    assert_old_refused(&world, how, &old).await;
    apply(&world, how, &new).expect("nothing changes");
    world.polls(3).await;
    assert_eq!(world.changes(), Vec::<String>::new(), "nothing fails back");
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
    assert_eq!(status.operations.len(), 2, "{status:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_manifest_applied_by_client_is_refused() {
    old_manifest(BY_THE_CLIENT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_manifest_applied_by_server_is_refused() {
    old_manifest(BY_THE_SERVER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn site_without_newer_request_is_refused() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    let created = world.create_protected(spec()).await.last_requested_at.expect("the creation");
    world.cloud.clear_requests();
    let old = world.new_request(json!({ "requestedAt": created }));
    for change in [
        json!({ "activeSite": "Destination" }),
        json!({ "activeSite": "Destination", "failover": old }),
        json!({ "activeSite": "Destination", "failover": world.new_request(json!({ "requestedAt": "2020-01-01T00:00:00Z" })) }),
    ] {
        let error = refused(&world, change.clone()).await;
        assert!(error.contains(REMEDY) && error.contains("status.lastRequestedAt"), "{change}: {error}");
    }
    let error = refused(&world, json!({ "activeSite": "Destination", "failover": { "mode": "Forced" } })).await;
    assert!(error.contains("failover has no requestedAt: write the present time in UTC"), "{error}");
    let error = refused(&world, json!({ "failover": world.new_request(json!({})) })).await;
    assert!(error.contains("failover is a request without activeSite"), "{error}");

    // A request is taken: it cannot be changed or removed without a newer one.
    world.go_to("Source", "Planned").await;
    world.condition("db", "Synced", "True", "InSync").await;
    for change in [
        json!({ "failover": { "mode": "Forced" } }),
        json!({ "failover": { "overwrite": "Destination" } }),
        json!({ "failover": null }),
        json!({ "activeSite": null, "failover": null }),
    ] {
        let error = refused(&world, change.clone()).await;
        assert!(error.contains(REMEDY) || error.contains("failover is a request without"), "{change}: {error}");
    }
    world.polls(2).await;
    let status = world.protected().await;
    assert_eq!((world.changes(), status.operations.len()), (vec![], 0), "{status:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn site_without_request_is_removable() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec_with(json!({ "activeSite": "Source", "reprotect": "Automatic" }))).await;
    world.cloud.clear_requests();
    world.patch("db", json!({ "spec": { "activeSite": null } })).await;
    let status = world.protected().await;
    assert_eq!((status.active_site, world.changes()), (Some(Site::Source), vec![]), "{status:#?}");
    let object = world.get("db").await.expect("it is there");
    assert_eq!((object.spec.active_site, object.spec.failover), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn site_without_request_never_fails_over() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create("db", spec_with(json!({ "activeSite": "Destination" }))).await;
    let status = world.condition("db", "Synced", "False", "GroupNotFound").await;
    assert!(message(&status, "Synced").contains("would overwrite"), "{status:#?}");
    assert_eq!(world.changes(), Vec::<String>::new());
    world.patch("db", json!({ "spec": { "activeSite": null } })).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Source, NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_from_the_future_is_invalid_and_correctable() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.cloud.clear_requests();
    let ahead = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(8);
    world.request("Destination", json!({ "requestedAt": ahead })).await;
    let status = world.condition("db", "Synced", "False", "FailoverRefused").await;
    assert_eq!(status.request.as_ref().map(|it| it.phase), Some(RequestPhase::Invalid), "{status:#?}");
    assert!(message(&status, "Synced").contains("five minutes in the future"), "{status:#?}");
    world.event("db", "FailoverRefused").await;
    assert_eq!((status.last_requested_at < Some(ahead), world.changes()), (true, vec![]), "{status:#?}");
    world.go_to("Destination", "Planned").await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_request_restarts_replication() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    let held = world.hold_up(json!({ "validFor": "1m" })).await;
    assert_eq!(held.request.as_ref().map(|it| it.phase), Some(RequestPhase::Running), "{held:#?}");
    world.advance(Duration::from_mins(1));
    world.cloud.clear_faults();
    let status = world.condition("db", "Synced", "False", "FailoverExpired").await;
    assert_eq!(status.request.as_ref().map(|it| it.phase), Some(RequestPhase::Expired), "{status:#?}");
    assert_eq!(history(&status).last().map(|it| it.2), Some(Phase::Failed), "{status:#?}");
    assert!(has(&status, "Stalled", "True", "FailoverExpired"), "{status:#?}");
    world.event("db", "FailoverExpired").await;
    let again = |it: &DiskReplicaGroupStatus| {
        has(it, "Protected", "True", "WithinObjective") && has(it, "Synced", "False", "FailoverExpired")
    };
    let status = world.status("db", "replication is started again", again).await;
    assert_eq!(status.active_site, Some(Site::Source), "{status:#?}");
    world.polls(3).await;
    assert!(!world.changes().iter().any(|it| it == "FailoverDiskReplicaGroup"), "{:?}", world.changes());
    world.go_to("Destination", "Planned").await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn planned_failback_waits_for_next_synchronization() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.go_to("Destination", "Planned").await;
    world.protected().await;
    world.cloud.clear_requests();
    world.go_to("Source", "Planned").await;
    let status = world.condition("db", "Synced", "False", "FailoverRefused").await;
    assert!(message(&status, "Synced").contains("half the objective"), "{status:#?}");
    let preview = status.failover_preview.expect("a preview");
    assert_eq!((preview.planned.possible, preview.forced.possible), (false, true));
    world.polls(2).await;
    assert_eq!((world.changes(), world.group().status), (vec![], ReplicaStatus::Normal), "replication continues");
    world.advance(Duration::from_secs(450));
    let status = world.protected().await;
    world.assert_one(&status, Site::Source, NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn way_back_is_refused_before_reversal() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.go_to("Destination", "Forced").await;
    world.condition("db", "Synced", "False", "ReprotectWaits").await;
    world.cloud.clear_requests();
    for mode in ["Planned", "Forced"] {
        world.go_to("Source", mode).await;
        let status = world.condition("db", "Synced", "False", "NotReversedYet").await;
        assert_eq!(status.request.map(|it| it.phase), Some(RequestPhase::Refused), "{mode}");
        assert_eq!(status.active_site, Some(Site::Destination), "{mode}");
    }
    world.polls(3).await;
    assert_eq!((world.changes(), world.group().status), (vec![], ReplicaStatus::Failovered));
    world.overwrite(Site::Source).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
    // Once it is reversed, it is asked for again.
    world.force(Site::Source).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Source, NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancellation_without_failover_cancels_nothing() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.go_to("Destination", "Planned").await;
    world.protected().await;
    world.cloud.clear_requests();
    world.go_to("Source", "Cancel").await;
    let status = world.condition("db", "Synced", "False", "NothingToCancel").await;
    assert_eq!(status.request.map(|it| it.phase), Some(RequestPhase::Refused));
    world.polls(3).await;
    assert_eq!((world.changes(), world.group().status), (vec![], ReplicaStatus::Normal));
    world.go_to("Destination", "Planned").await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
}
