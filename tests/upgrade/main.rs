//! Objects that were stored before a failover needed a request, on a control plane of their own: `activeSite` and `failover`
//! without `requestedAt`. They keep working and start nothing.

#![allow(clippy::expect_used, reason = "a test that cannot go on ends and says why")]

use disaster_recovery_operator::api::disk_replica_group::{DiskReplicaGroup, Site};
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use test_support::operator::installed;
use test_support::stage::DEADLINE;
use test_support::stage::groups::{Groups, spec};
use test_support::{ControlPlane, eventually, eventually_blocking};

/// The definition is the process's: one test at a time changes it.
static DEFINITION: Mutex<()> = Mutex::const_new(());
const NAMES: &[&str] = &["data", "logs"];
const DEFINITION_NAME: &str = "crd/diskreplicagroups.disasterrecovery.dev";

/// Changes the schema of the definition, and returns the former one.
fn change_schema(change: impl Fn(&mut Value)) -> Value {
    // Another writer of the definition's status makes it a conflict.
    eventually_blocking(DEADLINE, "the definition is replaced", || {
        let plane = ControlPlane::shared();
        let text = plane.kubectl(&["get", DEFINITION_NAME, "-o", "json"]).checked().ok()?;
        let mut definition: Value = serde_json::from_str(&text).ok()?;
        let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let before = schema.clone();
        change(schema);
        plane.kubectl_stdin(&["replace", "-f", "-"], &definition.to_string()).checked().ok()?;
        Some(before)
    })
}

/// Removes all rules, as if the definition were from before them.
fn remove_rules(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.remove("x-kubernetes-validations");
            fields.values_mut().for_each(remove_rules);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_rules),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Writes an object's old spec and no request into its status under a definition without rules, and brings the rules back.
async fn store_old(world: &Groups, old: Value) {
    let schema = tokio::task::spawn_blocking(|| {
        installed();
        change_schema(remove_rules)
    });
    let schema = schema.await.expect("the rules are removed");
    let patch = |value: Value| Patch::Merge(value);
    let (api, params): (Api<DiskReplicaGroup>, _) = (world.api(), PatchParams::default());
    eventually(DEADLINE, "the server accepts the old object", async || {
        api.patch("db", &params, &patch(json!({ "spec": old }))).await.ok()
    })
    .await;
    let status =
        json!({ "status": { "lastRequestedAt": null, "request": null, "failoverPreview": null, "failovers": null } });
    api.patch_status("db", &params, &patch(status)).await.expect("the status is patched");
    tokio::task::spawn_blocking(move || change_schema(|it| *it = schema.clone())).await.expect("the rules are back");
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    let wrong = patch(json!({ "spec": { "destination": { "zoneId": "cn-shanghai-z" } } }));
    eventually(DEADLINE, "the server has the rules", async || api.patch("db", &dry, &wrong).await.err().map(drop))
        .await;
}

/// The refusal of a change of the spec.
async fn refused(world: &Groups, spec: Value) -> String {
    let patch = Patch::Merge(json!({ "spec": spec }));
    let answer = world.api().patch("db", &PatchParams::default(), &patch).await;
    answer.map(|it| it.spec).expect_err("an old change").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_site_without_request_is_updatable_and_removable() {
    let _definition = DEFINITION.lock().await;
    let world = Groups::quick().await;
    world.create("db", spec()).await;
    let old = json!({ "activeSite": "Source", "failover": { "mode": "Planned" }, "reprotect": "Automatic" });
    store_old(&world, old).await;
    let _operator = world.operator().await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Source, NAMES);
    assert_eq!(status.request, None, "{status:#?}");

    world.cloud.clear_requests();
    world.patch("db", json!({ "spec": { "pollInterval": "1s", "drill": null } })).await;
    world.protected().await;
    let error = refused(&world, json!({ "activeSite": "Destination" })).await;
    assert!(error.contains("write failover.requestedAt with the present time"), "{error}");
    let error = refused(&world, json!({ "failover": { "mode": "Forced" } })).await;
    assert!(error.contains("requestedAt"), "{error}");
    world.patch("db", json!({ "spec": { "activeSite": null, "failover": null } })).await;
    let status = world.protected().await;
    assert_eq!((status.active_site, world.changes()), (Some(Site::Source), vec![]), "{status:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_failover_without_request_starts_nothing() {
    let _definition = DEFINITION.lock().await;
    let world = Groups::quick().await;
    let operator = world.operator().await;
    world.create_protected(spec()).await;
    world.force(Site::Destination).await;
    world.protected().await;
    operator.stop().await;
    // What an operator of the former version left.
    let gone = json!({ "requestedAt": null, "validFor": null, "overwrite": null, "mode": "Forced" });
    store_old(&world, json!({ "failover": gone, "reprotect": "Automatic" })).await;
    world.cloud.clear_requests();
    let _operator = world.operator().await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
    world.patch("db", json!({ "spec": { "pollInterval": "1s" } })).await;
    world.protected().await;
    let error = refused(&world, json!({ "activeSite": "Source" })).await;
    assert!(error.contains("write failover.requestedAt with the present time"), "{error}");
    world.polls(2).await;
    assert_eq!(world.changes(), Vec::<String>::new());
    // It fails back by a request.
    world.force(Site::Source).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Source, NAMES);
}
