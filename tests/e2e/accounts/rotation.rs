//! Replaced keys: the next call uses them, without a restart and without a failed call.

use disaster_recovery_operator::simulator::AccessKey;

use super::*;

const NEW: [(&str, &str); 2] = [("accessKeyId", "rotated-key-id"), ("accessKeySecret", "rotated-key-secret")];

fn new_key() -> AccessKey {
    AccessKey::new("rotated-key-id", "rotated-key-secret")
}

/// The requests after the last one of the former key, once there are enough of them.
async fn goes_on_as(world: &World, signer: &'static str) {
    let by = |it: &RequestRecord| it.role.clone().or(it.access_key_id.clone()).as_deref() == Some(signer);
    let polls = || {
        let all = world.cloud.requests();
        all.into_iter().rev().filter(|it| !is_for_keys(it)).take_while(|it| by(it) && it.code == "200").count()
    };
    eventually(DEADLINE, format!("polls are signed by {signer}"), async || (polls() >= 8).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_secret_signs_next_call_despite_dead_key() {
    let world = World::with_roles().await;
    let _operator = world.operator().await;
    world.main_and_orders(secret("cloud")).await;
    world.well().await;
    let orders = world.record("orders").await;
    for round in 0..3 {
        let (id, secret) = (format!("rotated-key-{round}"), format!("secret-of-{round}"));
        world.secret("cloud", &[("accessKeyId", &id), ("accessKeySecret", &secret)]).await;
        world.cloud.set_keys(vec![AccessKey::new(&id, &secret)]);
        let newest = || world.cloud.requests().pop();
        let taken = || newest().is_some_and(|it| it.access_key_id.as_deref() == Some(&id) && it.code == "200");
        eventually(DEADLINE, "the new key signs", async || taken().then_some(())).await;
    }
    world.status("orders", "the new identity", |it| it.head.identity.as_deref() == Some("rota****ey-2")).await;
    world.accounts().status("main", "the new identity", |it| it.identity.as_deref() == Some("rota****ey-2")).await;
    orders.assert_true(&["Ready", "Synced"]).await;
    let warnings = [world.accounts().events("main").await, world.events("orders").await].concat();
    assert!(warnings.iter().all(|it| it.0 != "AccessDenied" && it.0 != "CredentialsUnavailable"), "{warnings:?}");
    world.assert_one_plan("orders", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn key_below_a_role_is_rotated() {
    let world = World::with_life(6_000).await;
    let _operator = world.operator().await;
    world.main_and_orders(assuming(secret("cloud"), ROLE)).await;
    world.well().await;
    let orders = world.record("orders").await;
    world.secret("cloud", &NEW).await;
    world.cloud.set_keys(vec![new_key()]);
    let renewed = || world.sts_calls().iter().any(|it| it.access_key_id.as_deref() == Some("rotated-key-id"));
    eventually(DEADLINE, "the new key renews", async || renewed().then_some(())).await;
    world.cloud.clear_requests();
    goes_on_as(&world, ROLE).await;
    orders.assert_true(&["Ready", "Synced"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_source_continues_with_the_same_plan() {
    let world = World::with_roles().await;
    world.allow_tokens().await;
    let _operator = world.operator().await;
    world.main_and_orders(secret("cloud")).await;
    world.well().await;
    let id = world.ready("orders").await.plan_id;
    let orders = world.record("orders").await;
    world.cloud.clear_requests();
    let mut spec = tenant_oidc(ROLE);
    spec["credentials"]["secretRef"] = Value::Null;
    world.accounts().patch("main", json!({ "spec": spec })).await;
    let status = world.status("orders", "another identity", |it| it.head.identity.as_deref() == Some(ROLE)).await;
    assert_eq!(status.plan_id, id);
    goes_on_as(&world, ROLE).await;
    world.accounts().status("main", "its own identity too", |it| it.identity.as_deref() == Some(ROLE)).await;
    // And the other way, with a key that was never used before.
    world.cloud.set_keys(vec![new_key()]);
    world.secret("other", &NEW).await;
    let spec = json!({ "credentials": { "oidc": null, "secretRef": { "name": "other" } } });
    world.accounts().patch("main", json!({ "spec": spec })).await;
    goes_on_as(&world, "rotated-key-id").await;
    world.accounts().status("main", "no end", |it| it.expiration.is_none()).await;
    orders.assert_true(&["Ready", "Synced"]).await;
    assert_eq!(world.changes(), Vec::<String>::new(), "nothing was made, changed or deleted");
    world.assert_one_plan("orders", 1);
}
