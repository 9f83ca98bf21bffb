//! Objects that the operator cannot read, on a control plane of their own whose definitions accept them. The operator reports
//! them, does nothing for them, and serves all others.

#![allow(clippy::expect_used, reason = "a test that cannot go on ends and says why")]

use std::sync::OnceLock;

use disaster_recovery_operator::api::account::AlibabaCloudAccount;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use test_support::operator::{Operator, installed};
use test_support::stage::groups::{Groups, pair, spec};
use test_support::stage::{DEADLINE, Stage, Tested, message};
use test_support::{ControlPlane, eventually, eventually_blocking};

/// Makes the definitions accept a `spec.pairs` and `spec.credentials` of any type, and any value of an enum.
fn loosen() {
    static LOOSENED: OnceLock<()> = OnceLock::new();
    LOOSENED.get_or_init(|| {
        installed();
        for (plural, field) in [("diskreplicagroups", "pairs"), ("alibabacloudaccounts", "credentials")] {
            // Another writer of the definition's status makes it a conflict.
            eventually_blocking(DEADLINE, "the definition is replaced", || loosen_field(plural, field).ok());
        }
    });
}

fn loosen_field(plural: &str, field: &str) -> anyhow::Result<()> {
    let plane = ControlPlane::shared();
    let name = format!("crd/{plural}.disasterrecovery.dev");
    let mut definition: Value = serde_json::from_str(&plane.kubectl(&["get", &name, "-o", "json"]).checked()?)?;
    let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    remove_rules(schema);
    schema["properties"]["spec"]["properties"][field] = json!({ "x-kubernetes-preserve-unknown-fields": true });
    plane.kubectl_stdin(&["replace", "-f", "-"], &definition.to_string()).checked().map(drop)
}

/// Removes enums and rules, which may name the field.
fn remove_rules(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.retain(|name, _| !["enum", "x-kubernetes-validations"].contains(&name.as_str()));
            fields.values_mut().for_each(remove_rules);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_rules),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

async fn groups() -> Groups {
    tokio::task::spawn_blocking(loosen).await.expect("the definitions are loosened");
    Groups::quick().await
}

/// The objects of a kind, whatever their fields are.
fn untyped<K: Tested>(world: &Stage<K>) -> Api<DynamicObject> {
    Api::namespaced_with(world.client.clone(), &world.namespace, &ApiResource::erase::<K>(&()))
}

/// Creates an object that does not parse, once the server knows the loosened definition.
async fn create_unreadable<K: Tested>(world: &Stage<K>, name: &str, spec: Value) {
    let object = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": { "name": name }, "spec": spec,
    });
    let object: DynamicObject = serde_json::from_value(object).expect("an object");
    eventually(DEADLINE, format!("the server accepts {name}"), async || {
        untyped(world).create(&PostParams::default(), &object).await.ok()
    })
    .await;
}

/// Merges a patch into an object that need not parse, once the server knows the loosened definition.
async fn patch<K: Tested>(world: &Stage<K>, name: &str, patch: Value) {
    let patch = Patch::Merge(patch);
    eventually(DEADLINE, format!("the server accepts the change of {name}"), async || {
        untyped(world).patch(name, &PatchParams::default(), &patch).await.ok()
    })
    .await;
}

/// The same for its status.
async fn patch_status<K: Tested>(world: &Stage<K>, name: &str, patch: Value) {
    let patch = Patch::Merge(patch);
    eventually(DEADLINE, format!("the server accepts the status of {name}"), async || {
        untyped(world).patch_status(name, &PatchParams::default(), &patch).await.ok()
    })
    .await;
}

async fn delete<K: Tested>(world: &Stage<K>, name: &str) {
    untyped(world).delete(name, &DeleteParams::default()).await.expect("the deletion is accepted");
}

/// Waits until the operator counts so many unreadable objects of a kind.
async fn counted(operator: &Operator, kind: &str, count: usize) {
    let series = format!("disaster_recovery_unreadable_objects{{kind=\"{kind}\"}} {count}\n");
    eventually(DEADLINE, series.clone(), async || operator.metrics.text().contains(&series).then_some(())).await;
}

/// A group with these pairs.
fn with_pairs(pairs: &Value) -> Value {
    let mut spec = spec();
    spec["pairs"] = pairs.clone();
    spec
}

fn with_account(mut spec: Value) -> Value {
    spec["accountRef"] = json!({ "name": "main" });
    spec
}

const GROUP: &str = "DiskReplicaGroup";
const KEY: &str = "cloud";

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_group_is_reported_others_are_served() {
    let world = groups().await;
    create_unreadable(&world, "bad", with_pairs(&json!("all"))).await;
    let operator = world.operator().await;
    world.create_protected(spec()).await;
    let note = world.event("bad", "Unreadable").await;
    let lower = note.to_lowercase();
    assert!(lower.contains("does nothing for it: invalid type") && lower.contains("\"all\""), "{note}");
    counted(&operator, GROUP, 1).await;
    operator.stop().await;

    let operator = world.operator().await;
    world.patch("db", json!({ "spec": { "replication": "Stopped" } })).await;
    world.condition("db", "Ready", "True", "Stopped").await;
    counted(&operator, GROUP, 1).await;
    let object = untyped(&world).get("bad").await.expect("it is there");
    assert!(object.data["status"]["conditions"].is_null(), "no status is written: {object:?}");
    assert_eq!(object.metadata.finalizers, None);

    patch(&world, "bad", json!({ "spec": { "pairs": [pair("other")] } })).await;
    world.ready("bad").await;
    counted(&operator, GROUP, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_group_is_left_alone_until_repaired() {
    let world = groups().await;
    let operator = world.operator().await;
    world.create_protected(spec()).await;
    let before = untyped(&world).get("db").await.expect("it is there").metadata.finalizers;
    patch(&world, "db", json!({ "spec": { "pairs": "all" } })).await;
    counted(&operator, GROUP, 1).await;
    delete(&world, "db").await;
    eventually(DEADLINE, "an event about the deletion", async || {
        world.events("db").await.iter().any(|(_, note)| note.contains("its deletion waits too")).then_some(())
    })
    .await;
    world.create("other", with_pairs(&json!([pair("other")]))).await;
    world.ready("other").await;
    let object = untyped(&world).get("db").await.expect("it is not deleted");
    assert_eq!(object.metadata.finalizers, before, "the operator does not let it go");
    let changes = world.changes();
    assert!(!changes.iter().any(|it| it.starts_with("Delete") || it.starts_with("Stop")), "{changes:?}");
    assert_eq!(world.disks().groups.len(), 2);

    patch(&world, "db", json!({ "spec": { "pairs": [pair("data"), pair("logs")] } })).await;
    world.gone("db").await;
    counted(&operator, GROUP, 0).await;
    assert_eq!(world.disks().groups.len(), 1, "only the other one is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn repaired_status_resumes_reconciles() {
    let world = groups().await;
    let operator = world.operator().await;
    let status = world.create_protected(spec()).await;
    let direction = status.direction.expect("it has a direction");
    patch_status(&world, "db", json!({ "status": { "direction": "Sideways" } })).await;
    counted(&operator, GROUP, 1).await;
    // A reconcile that began before may export its conditions once more.
    let exported = || operator.metrics.text().contains("name=\"db\",type=\"Protected\"");
    eventually(DEADLINE, "no evidence is exported", async || (!exported()).then_some(())).await;
    patch_status(&world, "db", json!({ "status": { "direction": direction } })).await;
    counted(&operator, GROUP, 0).await;
    world.polls(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_name_their_unreadable_account() {
    let world = groups().await;
    let accounts: Stage<AlibabaCloudAccount> = world.of();
    create_unreadable(&accounts, "main", json!({ "credentials": KEY })).await;
    let operator = world.operator().await;
    world.create("db", with_account(spec())).await;
    let status = world.condition("db", "Synced", "False", "CredentialsNotFound").await;
    let expected = format!("alibabacloudaccount {}/main cannot be read: invalid type", world.namespace);
    assert!(message(&status, "Synced").to_lowercase().starts_with(&expected), "{status:#?}");
    accounts.event("main", "Unreadable").await;
    counted(&operator, "AlibabaCloudAccount", 1).await;
    patch(&accounts, "main", json!({ "spec": { "credentials": { "secretRef": { "name": KEY } } } })).await;
    world.ready("db").await;
    counted(&operator, "AlibabaCloudAccount", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn account_waits_for_unreadable_users() {
    let world = groups().await;
    let accounts: Stage<AlibabaCloudAccount> = world.of();
    let operator = world.operator().await;
    accounts.create("main", json!({ "credentials": { "secretRef": { "name": KEY } } })).await;
    accounts.condition("main", "Ready", "True", "Available").await;
    create_unreadable(&world, "bad", with_account(with_pairs(&json!("all")))).await;
    counted(&operator, GROUP, 1).await;
    accounts.delete("main").await;
    let status = accounts.condition("main", "Ready", "False", "Deleting").await;
    assert!(message(&status, "Ready").contains("DiskReplicaGroup bad (unreadable)"), "{status:#?}");
    delete(&world, "bad").await;
    accounts.gone("main").await;
    counted(&operator, GROUP, 0).await;
}
