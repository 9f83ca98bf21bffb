//! Temporary keys: renewed before they end, and used until they end while they cannot be renewed.

use std::time::{Duration, Instant};

use disaster_recovery_operator::api::account::AlibabaCloudAccountStatus;

use super::*;

/// The kinds of accounts whose keys STS issues, each with the action that does it.
fn issued() -> [(&'static str, Value); 2] {
    [("AssumeRole", assuming(secret("cloud"), ROLE)), ("AssumeRoleWithOIDC", tenant_oidc(ROLE))]
}

/// How often keys were issued.
fn issues(world: &World) -> usize {
    world.sts_calls().iter().filter(|it| it.code == "200" && it.fault.is_none()).count()
}

async fn issued_again(world: &World, times: usize) {
    let more = issues(world) + times;
    let what = format!("keys are issued {times} times more");
    eventually(DEADLINE, what, async || (issues(world) >= more).then_some(())).await;
}

/// No request was refused for its key.
fn assert_no_refusal(world: &World) {
    let refused = |it: &RequestRecord| it.code.contains("SecurityToken") || it.code.contains("AccessKey");
    let refused: Vec<_> = world.cloud.requests().into_iter().filter(refused).collect();
    assert_eq!(refused, []);
}

/// The account and the plan reported no problem.
async fn assert_no_warning(world: &World) {
    let all = [world.accounts().events("main").await, world.events("orders").await].concat();
    let good = ["CredentialsAvailable", "Created"];
    assert!(all.iter().all(|it| good.contains(&it.0.as_str())), "{all:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn expiring_keys_are_renewed_without_failed_calls() {
    let renewed = issued().map(async |(action, account)| {
        let world = World::with_life(6_000).await;
        world.allow_tokens().await;
        let _operator = world.operator().await;
        world.main_and_orders(account).await;
        world.well().await;
        let (orders, main) = (world.record("orders").await, world.accounts().record("main").await);
        issued_again(&world, 3).await;
        assert!(world.sts_calls().iter().all(|it| it.action == action));
        assert_no_refusal(&world);
        orders.assert_true(&["Ready", "Synced"]).await;
        main.assert_true(&["Ready"]).await;
        assert_no_warning(&world).await;
        // Whose keys they are stays the same, so that a plan's status has no reason to change.
        let writes = orders.versions().await;
        let identities: BTreeSet<_> =
            writes.iter().map(|it| it.status.as_ref().and_then(|it| it.head.identity.clone())).collect();
        assert_eq!(identities, [Some(ROLE.to_owned())].into());
        let ends: BTreeSet<_> = main.versions().await.iter().map(expiration).collect();
        assert!(ends.len() >= 3, "each expiry is reported: {ends:?}");
        world.assert_one_plan("orders", 1);
    });
    futures::future::join_all(renewed).await;
}

fn expiration(account: &AlibabaCloudAccount) -> i64 {
    let status = account.status.as_ref().expect("a status");
    status.expiration.as_ref().expect("an end").0.as_second()
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_key_is_renewed_at_the_refused_call() {
    let revoked = issued().map(async |(_, account)| {
        let world = World::with_roles().await;
        world.allow_tokens().await;
        let _operator = world.operator().await;
        world.main_and_orders(account).await;
        world.well().await;
        let (orders, main) = (world.record("orders").await, world.accounts().record("main").await);
        for _ in 0..2 {
            world.cloud.clear_requests();
            world.revoke(ROLE);
            issued_again(&world, 1).await;
            let requests = || world.cloud.requests();
            // The refused call is repeated, and polls continue.
            let polls = || requests().iter().rev().take_while(|it| it.code == "200").count() >= 8;
            eventually(DEADLINE, "calls are taken again", async || polls().then_some(())).await;
            let refused = requests().iter().filter(|it| it.code == "InvalidSecurityToken.Expired").count();
            assert!((1..=4).contains(&refused), "at most those that were under way: {:#?}", requests());
            assert_eq!(world.sts_calls().len(), 1, "one asks for all");
        }
        orders.assert_true(&["Ready", "Synced"]).await;
        main.assert_true(&["Ready"]).await;
        assert_no_warning(&world).await;
    });
    futures::future::join_all(revoked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outage_shorter_than_key_validity_is_invisible() {
    let survived = issued().map(async |(_, account)| {
        let world = World::with_life(18_000).await;
        world.allow_tokens().await;
        let operator = world.operator().await;
        world.main_and_orders(account).await;
        world.well().await;
        world.condition("orders", "Protected", "True", "WithinObjective").await;
        issued_again(&world, 1).await;
        // Its end is in the status: nothing else is to be written before the next.
        let end = || world.cloud.with_sts(|sts, _| sts.issued().map(|it| it.expires_at_ms / 1000).max());
        let reported = |it: &AlibabaCloudAccountStatus, end| it.expiration.as_ref().map(|it| it.0.as_second()) == end;
        world.accounts().status("main", "the end of the new keys", |it| reported(it, end())).await;
        outage(&world, &unavailable());
        wait_for_reconciles::<AlibabaCloudAccount>(&operator, 2).await;
        let (orders, main) = (world.record("orders").await, world.accounts().record("main").await);
        let struck = || world.sts_calls().iter().filter(|it| it.fault.is_some()).count();
        eventually(DEADLINE, "renewing failed more than once", async || (struck() >= 4).then_some(())).await;
        wait_for_reconciles::<AlibabaCloudAccount>(&operator, 1).await;
        main.assert_unchanged().await;
        world.cloud.clear_faults();
        issued_again(&world, 1).await;
        wait_for_reconciles::<AlibabaCloudAccount>(&operator, 1).await;
        assert_no_refusal(&world);
        orders.assert_unchanged().await;
        main.assert_true(&["Ready"]).await;
        assert_no_warning(&world).await;
    });
    futures::future::join_all(survived).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outage_beyond_key_validity_is_reported_and_recovers() {
    let outlived = [unavailable(), FaultKind::Lost].map(async |kind| {
        let mut world = World::with_life(5_000).await;
        let pause = Duration::from_millis(500);
        world.settings.retry_interval = pause;
        let _operator = world.operator().await;
        world.main_and_orders(assuming(secret("cloud"), ROLE)).await;
        let mut more = plan_of("main");
        more["planName"] = json!("returns");
        world.create("returns", more).await;
        world.ready("orders").await;
        world.ready("returns").await;
        let began = Instant::now();
        outage(&world, &kind);
        let accounts = world.accounts();
        let status = accounts.condition("main", "Ready", "False", "Expired").await;
        let text = message(&status, "Ready");
        assert!(text.contains("expired at") && text.contains("AssumeRole failed"), "{text}");
        assert!(has(&status, "Reconciling", "True", "Expired"), "it ends by itself: {status:?}");
        assert_eq!((&status.identity, &status.expiration), (&None, &None), "no identity signs");
        let status = world.condition("orders", "Synced", "Unknown", "CloudUnavailable").await;
        assert!(message(&status, "Synced").contains("expired at"), "{status:?}");
        accounts.event("main", "CredentialsUnavailable").await;
        // The pause doubles; each attempt is at most three requests. Four poll every half second meanwhile.
        let (struck, took) = (world.sts_calls().iter().filter(|it| it.fault.is_some()).count(), began.elapsed());
        let attempts = (took.as_secs_f64() / pause.as_secs_f64() + 1.0).log2().ceil() + 1.0;
        assert!(struck as f64 <= attempts * 3.0, "{struck} requests in {took:?}");
        world.cloud.clear_faults();
        world.ready("orders").await;
        world.ready("returns").await;
        world.available("main", 2, 0).await;
    });
    futures::future::join_all(outlived).await;
}
