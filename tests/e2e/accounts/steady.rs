//! An account at rest costs nothing.

use std::time::Duration;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn idle_accounts_send_and_write_nothing() {
    let mut world = World::with_roles().await;
    world.allow_tokens().await;
    // A slow machine may be late by less than the three intervals of evidence.
    world.settings.poll_interval = Duration::from_secs(1);
    let operator = world.operator().await;
    let kinds = [("key", secret("cloud")), ("role", assuming(secret("cloud"), ROLE)), ("token", tenant_oidc(ROLE))];
    for (name, account) in kinds.clone() {
        world.accounts().create(name, account).await;
        let mut plan = plan_of(name);
        plan["planName"] = json!(name);
        world.create(name, plan).await;
    }
    for (name, _) in &kinds {
        world.ready(name).await;
        world.condition(name, "Protected", "True", "WithinObjective").await;
        world.available(name, 1, 0).await;
    }
    let lists = || world.cloud.requests().iter().filter(|it| it.action == "ListDisasterRecoveryPlans").count();
    // The reads that found this may still write it.
    let first = lists();
    eventually(DEADLINE, "the next lists", async || (lists() > first + 6).then_some(())).await;
    wait_for_reconciles::<AlibabaCloudAccount>(&operator, 6).await;
    world.cloud.clear_requests();
    let before = operator.requests.writes().len();
    eventually(DEADLINE, "six lists of each", async || (lists() >= 18).then_some(())).await;
    wait_for_reconciles::<AlibabaCloudAccount>(&operator, 6).await;
    // A request for a token is a write too.
    assert_eq!(operator.requests.writes().len(), before, "no status, no event, no token");
    assert_eq!(world.sts_calls(), []);
    assert_eq!(world.changes(), Vec::<String>::new());
}
