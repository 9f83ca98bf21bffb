//! Endpoints of an account: none but those of the vendor and what the installation allows ever sees a request.

use disaster_recovery_operator::cloud::endpoint::Allowed;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn disallowed_endpoint_gets_no_request() {
    for (product, endpoint, text) in [
        ("rocketmq", "https://rocketmq.example.com", "--allowed-endpoints"),
        ("rocketmq", "https://aliyuncs.com.example.com", "--allowed-endpoints"),
        ("rocketmq", "http://rocketmq.cn-hangzhou.aliyuncs.com", "is not encrypted"),
        ("ebs", "https://ebs.example.com", "--allowed-endpoints"),
        ("sts", "https://sts.example.com", "--allowed-endpoints"),
        ("sts", "https://sts-x.oss-cn-hangzhou.aliyuncs.com", "--allowed-endpoints"),
        ("sts", "http://100.100.100.200", "--allowed-endpoints"),
    ] {
        let world = World::with_roles().await;
        world.allow_tokens().await;
        let operator = world.operator().await;
        let mut account = tenant_oidc(ROLE);
        account["endpoints"] = json!({ product: endpoint });
        world.main_and_orders(account).await;
        world.groups().create("db", group_of("main")).await;
        let refused = ["False", "EndpointRefused"];
        world.says(refused, refused, text).await;
        let status = world.groups().condition("db", "Synced", "False", "EndpointRefused").await;
        assert!(message(&status, "Synced").contains(endpoint), "{status:?}");
        wait_for_reconciles::<AlibabaCloudAccount>(&operator, 3).await;
        assert_eq!(world.cloud.requests(), [], "{endpoint}");
        world.accounts().patch("main", json!({ "spec": { "endpoints": null } })).await;
        world.ready("orders").await;
        world.groups().ready("db").await;
        world.available("main", 1, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn allowed_endpoint_is_used_for_every_region() {
    let mut world = World::with_roles().await;
    let allowed = ["http://gateway.example.com:8080".to_owned()];
    world.settings.allowed_endpoints = Allowed::new(&allowed, false).expect("an entry");
    let _operator = world.operator().await;
    let mut account = assuming(secret("cloud"), ROLE);
    let sts = "https://sts-vpc.cn-shanghai.aliyuncs.com";
    account["endpoints"] = json!({ "sts": sts, "rocketmq": "http://gateway.example.com:8080" });
    world.main_and_orders(account).await;
    // The simulator is not there, but what was sent there came to it.
    let status = world.condition("orders", "Synced", "False", "InvalidSpec").await;
    assert!(message(&status, "Synced").contains("InvalidProduct.NotFound"), "{status:?}");
    let requests = world.cloud.requests();
    let regions = |of_sts: bool| {
        requests.iter().filter(|it| is_for_keys(it) == of_sts).map(|it| it.region.clone()).collect::<BTreeSet<_>>()
    };
    assert_eq!(regions(true), [Some("cn-shanghai".to_owned())].into());
    assert_eq!(regions(false), [None].into());
    // One endpoint stands for every region: the plan's own does not matter.
    let endpoints = json!({ "rocketmq": "https://rocketmq.cn-shanghai.aliyuncs.com" });
    world.accounts().patch("main", json!({ "spec": { "endpoints": endpoints } })).await;
    world.well().await;
    assert_eq!(world.cloud.plans()[0].region_id.as_deref(), Some("cn-shanghai"));
    world.cloud.clear_requests();
    let other = json!({ "metadata": { "annotations": { "disasterrecovery.dev/reconcile-requested-at": "1" } } });
    world.patch("orders", other).await;
    world.status("orders", "a pass", |it| it.head.last_handled_reconcile_at.as_deref() == Some("1")).await;
    assert!(world.cloud.requests().iter().all(|it| it.region.as_deref() == Some("cn-shanghai")));
}
