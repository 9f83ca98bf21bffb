//! The lifecycle of an account: it stays while it is used, its users continue, and waiting users are reconciled on its events.

use kube::ResourceExt;

use super::*;

/// A plan of `main` that observes the cloud once an hour.
fn seldom() -> Value {
    let mut spec = plan_of("main");
    spec["pollInterval"] = json!("1h");
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn account_is_deleted_after_its_last_user() {
    let world = World::with_roles().await;
    let _operator = world.operator().await;
    let accounts = world.accounts();
    world.main_and_orders(assuming(secret("cloud"), ROLE)).await;
    world.groups().create("db", group_of("main")).await;
    world.ready("orders").await;
    world.groups().ready("db").await;
    world.available("main", 1, 1).await;
    accounts.delete("main").await;
    let status = accounts.condition("main", "Ready", "False", "Deleting").await;
    let text = message(&status, "Ready");
    for user in ["DisasterRecoveryPlan orders", "DiskReplicaGroup db", "delete them first"] {
        assert!(text.contains(user), "{text}");
    }
    let account = accounts.get("main").await.expect("it is kept");
    assert!(account.metadata.deletion_timestamp.is_some() && !account.finalizers().is_empty());
    accounts.event("main", "AccountInUse").await;
    // Its users continue, also with temporary keys.
    world.revoke(ROLE);
    let changed = json!({ "planDesc": "changed while the account is going", "updatePolicy": "PauseItems" });
    world.patch("orders", json!({ "spec": changed })).await;
    world.ready("orders").await;
    world.groups().patch("db", json!({ "spec": { "pollInterval": "1s" } })).await;
    world.groups().ready("db").await;
    // And they go, with their cloud side.
    world.delete("orders").await;
    world.gone("orders").await;
    let only_db = |text: &str| text.contains("DiskReplicaGroup db") && !text.contains("orders");
    accounts.status("main", "the group alone keeps it", |it| only_db(&message(it, "Ready"))).await;
    world.groups().delete("db").await;
    world.groups().gone("db").await;
    accounts.gone("main").await;
    assert_eq!(world.cloud.plans(), []);
    assert!(world.cloud.with_disks(|disks, _| disks.inspect().groups.is_empty()));
    assert_eq!(world.signers(), [ROLE.to_owned()].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_deleted_once_unused() {
    let mut world = World::with_roles().await;
    world.settings.poll_interval = std::time::Duration::from_secs(3600);
    let _operator = world.operator().await;
    let accounts = world.accounts();
    accounts.create("idle", secret("cloud")).await;
    world.available("idle", 0, 0).await;
    accounts.delete("idle").await;
    accounts.gone("idle").await;
    // Also where its credentials never were.
    accounts.create("broken", secret("nowhere")).await;
    accounts.condition("broken", "Ready", "False", "SecretNotFound").await;
    accounts.delete("broken").await;
    accounts.gone("broken").await;
    // All of a namespace at once, as with its deletion: no order is kept, and no poll is due.
    world.main_and_orders(secret("cloud")).await;
    world.well().await;
    accounts.delete("main").await;
    world.delete("orders").await;
    world.gone("orders").await;
    accounts.gone("main").await;
    assert_eq!(world.cloud.plans(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_secret_shows_everywhere_and_allows_retained_deletion() {
    let world = World::with_roles().await;
    let _operator = world.operator().await;
    world.accounts().create("main", secret("cloud")).await;
    let named = |name: &str, policy: &str| {
        let mut spec = plan_of("main");
        (spec["planName"], spec["deletionPolicy"]) = (json!(name), json!(policy));
        spec
    };
    world.create("kept", named("kept", "Retain")).await;
    world.create("orders", named("orders", "Delete")).await;
    world.groups().create("db", group_of("main")).await;
    world.groups().patch("db", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    for name in ["kept", "orders"] {
        world.ready(name).await;
    }
    world.groups().ready("db").await;
    world.delete_secret("cloud").await;
    for name in ["kept", "orders"] {
        let status = world.condition(name, "Synced", "False", "CredentialsNotFound").await;
        assert!(message(&status, "Synced").contains("/cloud does not exist"), "{status:?}");
    }
    world.groups().condition("db", "Synced", "False", "CredentialsNotFound").await;
    world.accounts().condition("main", "Ready", "False", "SecretNotFound").await;
    world.cloud.clear_requests();
    for name in ["kept", "orders"] {
        world.delete(name).await;
    }
    world.groups().delete("db").await;
    world.gone("kept").await;
    assert!(world.event("kept", "Retained").await.contains("was kept with its owner mark"));
    world.groups().gone("db").await;
    let status = world.condition("orders", "Synced", "False", "DeletionBlocked").await;
    assert!(message(&status, "Synced").contains("/cloud does not exist"), "{status:?}");
    // The account waits for the one that is left.
    world.accounts().delete("main").await;
    let accounts = world.accounts();
    let reported = |text: &str| text.contains("DisasterRecoveryPlan orders") && text.contains("/cloud does not exist");
    accounts.status("main", "who keeps it, and what is wrong", |it| reported(&message(it, "Ready"))).await;
    assert_eq!(world.cloud.requests(), []);
    world.secret("cloud", &[("accessKeyId", "simulator-key-id"), ("accessKeySecret", "simulator-key-secret")]).await;
    world.gone("orders").await;
    accounts.gone("main").await;
    let left: Vec<_> = world.cloud.plans().into_iter().map(|it| it.plan_name).collect();
    assert_eq!(left, ["kept"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn account_event_wakes_its_waiting_users() {
    let world = World::with_roles().await;
    world.allow_tokens().await;
    let _operator = world.operator().await;
    world.create("orders", seldom()).await;
    let status = world.condition("orders", "Synced", "False", "CredentialsNotFound").await;
    assert!(message(&status, "Synced").contains("/main does not exist: create it"), "{status:?}");
    // The account comes, without its Secret.
    world.accounts().create("main", secret("theirs")).await;
    let status = world.status("orders", "the Secret is missing", |it| message(it, "Synced").contains("/theirs")).await;
    assert!(has(&status, "Synced", "False", "CredentialsNotFound"), "{status:?}");
    // The Secret comes.
    world.secret("theirs", &[("accessKeyId", "simulator-key-id"), ("accessKeySecret", "simulator-key-secret")]).await;
    world.well().await;
    // It goes: at once, the plan says so too.
    world.delete_secret("theirs").await;
    world.condition("orders", "Synced", "False", "CredentialsNotFound").await;
    // Another source comes.
    let spec = json!({ "credentials": { "secretRef": null, "oidc": tenant_oidc(ROLE)["credentials"]["oidc"] } });
    world.accounts().patch("main", json!({ "spec": spec })).await;
    world.well().await;
    world.status("orders", "the new identity", |it| it.head.identity.as_deref() == Some(ROLE)).await;
    // An endpoint that is refused, and its end.
    world.accounts().patch("main", json!({ "spec": { "endpoints": { "ebs": "https://example.com" } } })).await;
    world.condition("orders", "Synced", "False", "EndpointRefused").await;
    world.accounts().patch("main", json!({ "spec": { "endpoints": null } })).await;
    world.well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_counted_through_their_lifecycle() {
    let mut world = World::with_roles().await;
    world.settings.poll_interval = std::time::Duration::from_secs(3600);
    let _operator = world.operator().await;
    for name in ["main", "other"] {
        world.accounts().create(name, secret("cloud")).await;
        world.available(name, 0, 0).await;
    }
    world.create("orders", plan_of("main")).await;
    world.groups().create("db", group_of("main")).await;
    world.available("main", 1, 1).await;
    world.patch("orders", json!({ "spec": { "accountRef": { "name": "other" } } })).await;
    world.available("main", 0, 1).await;
    world.available("other", 1, 0).await;
    world.patch("orders", json!({ "spec": { "accountRef": null } })).await;
    world.available("other", 0, 0).await;
    world.ready("orders").await;
    world.groups().ready("db").await;
    world.groups().delete("db").await;
    world.groups().gone("db").await;
    world.available("main", 0, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unwatched_user_keeps_the_account() {
    let mut world = World::with_roles().await;
    world.settings.selector = Some("watched=yes".into());
    let _operator = world.operator().await;
    world.accounts().create("main", secret("cloud")).await;
    let label = json!({ "metadata": { "labels": { "watched": "yes" } } });
    world.accounts().patch("main", label).await;
    world.available("main", 0, 0).await;
    world.create("orders", plan_of("main")).await;
    world.accounts().delete("main").await;
    let status = world.accounts().condition("main", "Ready", "False", "Deleting").await;
    assert!(message(&status, "Ready").contains("DisasterRecoveryPlan orders"), "{status:?}");
    world.delete("orders").await;
    world.accounts().gone("main").await;
}
