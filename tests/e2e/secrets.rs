//! Passwords and keys: rotated without a restart, and seen nowhere but on the wire.

use disaster_recovery_operator::simulator::RequestRecord;
use disaster_recovery_operator::simulator::model::PasswordEcho;
use disaster_recovery_operator::simulator::model::Rules;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use test_support::eventually;
use test_support::stage::plans::{World, external};
use test_support::stage::{DEADLINE, PASSWORD, has, message};

#[tokio::test(flavor = "multi_thread")]
async fn rotated_password_is_sent_and_never_leaked() {
    for password_echo in [PasswordEcho::Masked, PasswordEcho::Clear, PasswordEcho::Omitted] {
        let world = World::with(Rules { password_echo, ..Rules::default() }).await;
        let operator = world.operator().await;
        let mut spec = external(&["orders"]);
        spec["updatePolicy"] = json!("PauseItems");
        world.create("orders", spec).await;
        world.ready("orders").await;
        let sent = || world.cloud.plans()[0].instances[1].password.clone();
        assert_eq!(sent().as_deref(), Some(PASSWORD));
        let rotated = "another-battery-entirely";
        world.secret("idc-acl", &[("username", "replicator"), ("password", rotated)]).await;
        eventually(DEADLINE, "the new password is in the cloud", async || {
            (sent().as_deref() == Some(rotated)).then_some(())
        })
        .await;
        world.ready("orders").await;
        let shown = format!(
            "{:?} {:?} {} {:?}",
            world.get("orders").await.expect("it is there"),
            world.events("orders").await,
            operator.metrics.text(),
            world.cloud.requests()
        );
        for secret in [PASSWORD, rotated, "simulator-key-secret"] {
            assert!(!shown.contains(secret), "{password_echo:?}: {secret} is shown");
        }
        operator.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn relabelled_secret_is_not_sent_after_restart() {
    for password_echo in [PasswordEcho::Masked, PasswordEcho::Clear, PasswordEcho::Omitted] {
        let world = World::with(Rules { password_echo, ..Rules::default() }).await;
        let operator = world.operator().await;
        let mut spec = external(&["orders"]);
        spec["updatePolicy"] = json!("PauseItems");
        world.create("orders", spec).await;
        let sent = world.ready("orders").await.sent_credentials;
        assert_eq!(sent.len(), 1);
        operator.stop().await;
        world.cloud.clear_requests();
        let secrets: Api<Secret> = Api::namespaced(world.client.clone(), &world.namespace);
        let label = json!({ "metadata": { "labels": { "team": "orders" } } });
        let changed = secrets.patch("idc-acl", &PatchParams::default(), &Patch::Merge(label)).await.expect("a label");
        assert_ne!(changed.metadata.resource_version.as_ref(), Some(&sent[0].resource_version));
        let _operator = world.operator().await;
        let lists = || world.cloud.requests().iter().filter(|it| it.action == "ListDisasterRecoveryPlans").count();
        eventually(DEADLINE, "three lists, one a poll", async || (lists() >= 3).then_some(())).await;
        world.ready("orders").await;
        assert_eq!(world.changes(), Vec::<String>::new(), "{password_echo:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_secret_is_named_and_plan_still_observed() {
    let world = World::new().await;
    let _operator = world.operator().await;
    world.delete_secret("idc-acl").await;
    world.create("orders", external(&["orders"])).await;
    let status = world.condition("orders", "Synced", "False", "CredentialsNotFound").await;
    assert!(message(&status, "Synced").contains(&format!("Secret {}/idc-acl does not exist", world.namespace)));
    assert_eq!(world.changes(), Vec::<String>::new(), "no plan without its password");
    world.secret("idc-acl", &[("username", "replicator")]).await;
    world.status("orders", "the key is named", |it| message(it, "Synced").contains("has no key password")).await;
    world.secret("idc-acl", &[("username", "replicator"), ("password", PASSWORD)]).await;
    world.ready("orders").await;
    world.delete_secret("idc-acl").await;
    let status = world.condition("orders", "Synced", "False", "CredentialsNotFound").await;
    assert_eq!(status.items.as_deref(), Some("1/1"), "it still replicates: {status:?}");
    assert!(has(&status, "Ready", "False", "NotReady"), "a person has to act: {status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_access_key_signs_the_next_call() {
    use disaster_recovery_operator::simulator::AccessKey;
    let world = World::new().await;
    let _operator = world.operator().await;
    world.create("orders", external(&["orders"])).await;
    world.ready("orders").await;
    world.cloud.set_keys(vec![AccessKey::new("second-key-id", "second-key-secret")]);
    world.condition("orders", "Synced", "False", "AccessDenied").await;
    world.secret("cloud", &[("accessKeyId", "second-key-id"), ("accessKeySecret", "second-key-secret")]).await;
    world.condition("orders", "Synced", "True", "InSync").await;
    let last = world.cloud.requests().pop().and_then(|it| it.access_key_id);
    assert_eq!(last.as_deref(), Some("second-key-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn own_key_is_replaced_and_lost_at_rest() {
    use disaster_recovery_operator::simulator::AccessKey;
    let world = World::new().await;
    let keys = ["first", "second"].map(|it| AccessKey::new(&format!("{it}-key-id"), &format!("{it}-key-secret")));
    world.cloud.set_keys(keys.to_vec());
    let own = [("accessKeyId", "first-key-id"), ("accessKeySecret", "first-key-secret")];
    world.secret("cloud", &own).await;
    let _operator = world.operator().await;
    world.create("orders", external(&["orders"])).await;
    world.ready("orders").await;
    // Both keys are valid: no call fails.
    world.secret("cloud", &[("accessKeyId", "second-key-id"), ("accessKeySecret", "second-key-secret")]).await;
    let second = Some("seco****y-id");
    world.status("orders", "the new identity", |it| it.head.identity.as_deref() == second).await;
    let lists = || {
        let by = |it: &&RequestRecord| it.access_key_id.as_deref() == Some("second-key-id");
        let all = world.cloud.requests();
        all.iter().filter(by).filter(|it| it.action == "ListDisasterRecoveryPlans").count()
    };
    eventually(DEADLINE, "lists by the new key", async || (lists() >= 4).then_some(())).await;
    world.ready("orders").await;
    world.delete_secret("cloud").await;
    let status = world.condition("orders", "Synced", "False", "CredentialsNotFound").await;
    assert!(message(&status, "Synced").contains("cloud does not exist"), "{status:?}");
    world.secret("cloud", &own).await;
    world.ready("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_repeats_the_password_is_redacted() {
    use disaster_recovery_operator::simulator::{Fault, FaultKind};
    let world = World::new().await;
    let kind = FaultKind::Error {
        status: 400,
        code: "InvalidPassword".into(),
        message: format!("the password {PASSWORD} is too simple"),
        pascal_case: false,
    };
    world.cloud.add_fault(Fault::new(kind).of_action("CreateDisasterRecoveryPlan"));
    let _operator = world.operator().await;
    world.create("orders", external(&["orders"])).await;
    let status = world.condition("orders", "Synced", "False", "InvalidSpec").await;
    assert!(message(&status, "Synced").contains("the password [redacted] is too simple"), "{status:?}");
}
