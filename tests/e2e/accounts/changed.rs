//! Credentials of another cloud account: plans and groups of the former one are not there, and the operator neither recreates
//! nor releases them.

use axum::body::Body;
use disaster_recovery_operator::cloud::client::{HttpService, from_service};
use disaster_recovery_operator::simulator::{AccessKey, Simulator};
use http::Request;
use kube::ResourceExt;
use tower::ServiceExt;

use super::*;
use test_support::operator::Tripwire;

/// Two clouds behind one wire: the second is that of the key `other-cloud-key`.
struct Clouds {
    world: World,
    other: Simulator,
}

const OTHER_KEY: [(&str, &str); 2] = [("accessKeyId", "other-cloud-key"), ("accessKeySecret", "other-cloud-secret")];
const FORMER_KEY: [(&str, &str); 2] =
    [("accessKeyId", "simulator-key-id"), ("accessKeySecret", "simulator-key-secret")];

impl Clouds {
    async fn new() -> Self {
        let keys = vec![AccessKey::new("other-cloud-key", "other-cloud-secret")];
        Self { world: World::with_roles().await, other: Simulator::new(Config { keys, ..config() }) }
    }

    fn wire(&self) -> HttpService {
        let (first, second) = (self.world.cloud.router(), self.other.router());
        from_service(tower::service_fn(move |request: Request<http_body_util::Full<axum::body::Bytes>>| {
            let authorization = request.headers().get("authorization").and_then(|it| it.to_str().ok());
            let others = authorization.is_some_and(|it| it.contains("Credential=other-cloud-key,"));
            let cloud = if others { second.clone() } else { first.clone() };
            cloud.oneshot(request.map(Body::new))
        }))
    }

    async fn operator(&self) -> Operator {
        Operator::start(self.wire(), self.world.settings.clone(), Tripwire::default()).await
    }

    /// The plan and the group say what was seen as whom.
    async fn both_changed(&self) {
        let world = &self.world;
        let status = world.condition("orders", "Synced", "False", "AccountChanged").await;
        let text = message(&status, "Synced");
        for part in
            ["plan ", "last seen as simu****y-id", "not found as othe****-key", "set the former credentials again"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert!(has(&status, "Stalled", "True", "AccountChanged"), "{status:?}");
        assert_eq!(status.head.identity.as_deref(), Some("simu****y-id"), "who saw it last stays known");
        world.groups().condition("db", "Synced", "False", "AccountChanged").await;
    }

    /// Nothing was created or changed in the other cloud.
    fn assert_untouched(&self) {
        let changing: Vec<_> = self.other.requests().into_iter().filter(|it| it.changing).collect();
        assert_eq!(changing, []);
        assert!(!self.other.requests().is_empty(), "it was looked at");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_cloud_account_neither_recreates_nor_releases() {
    let clouds = Clouds::new().await;
    let world = &clouds.world;
    let _operator = clouds.operator().await;
    world.main_and_orders(secret("cloud")).await;
    world.groups().create("db", group_of("main")).await;
    let id = world.ready("orders").await.plan_id;
    world.groups().ready("db").await;
    world.secret("cloud", &OTHER_KEY).await;
    clouds.both_changed().await;
    // Not even for a deletion.
    world.delete("orders").await;
    let status = world.condition("orders", "Synced", "False", "DeletionBlocked").await;
    assert!(message(&status, "Synced").contains("was last seen as"), "{status:?}");
    let object = world.get("orders").await.expect("it is kept");
    assert!(!object.finalizers().is_empty());
    clouds.assert_untouched();
    world.assert_one_plan("orders", 1);
    assert_eq!(world.cloud.plans()[0].plan_id.to_string(), id.expect("a plan"));
    // The former credentials find it, and it goes.
    world.secret("cloud", &FORMER_KEY).await;
    world.gone("orders").await;
    assert_eq!(world.cloud.plans(), []);
    world.groups().ready("db").await;
    clouds.assert_untouched();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_former_credentials_find_everything_again() {
    let clouds = Clouds::new().await;
    let world = &clouds.world;
    let operator = clouds.operator().await;
    world.main_and_orders(secret("cloud")).await;
    world.groups().create("db", group_of("main")).await;
    let plan = world.ready("orders").await.plan_id;
    let group = world.groups().ready("db").await.replica_group_id;
    let accounts = world.accounts();
    world.secret("other", &OTHER_KEY).await;
    accounts.patch("main", json!({ "spec": { "credentials": { "secretRef": { "name": "other" } } } })).await;
    clouds.both_changed().await;
    // The account itself is well: the cloud takes its key.
    accounts.condition("main", "Ready", "True", "Available").await;
    // A restart makes no difference, nor does an edit.
    operator.stop().await;
    let _operator = clouds.operator().await;
    world.patch("orders", json!({ "spec": { "planDesc": "another", "updatePolicy": "PauseItems" } })).await;
    clouds.both_changed().await;
    accounts.patch("main", json!({ "spec": { "credentials": { "secretRef": { "name": "cloud" } } } })).await;
    assert_eq!(world.ready("orders").await.plan_id, plan);
    assert_eq!(world.groups().ready("db").await.replica_group_id, group);
    world.assert_one_plan("orders", 1);
    clouds.assert_untouched();
}

#[tokio::test(flavor = "multi_thread")]
async fn retained_object_can_start_in_the_other_account() {
    let clouds = Clouds::new().await;
    let world = &clouds.world;
    let _operator = clouds.operator().await;
    world.main_and_orders(secret("cloud")).await;
    world.ready("orders").await;
    world.secret("cloud", &OTHER_KEY).await;
    world.condition("orders", "Synced", "False", "AccountChanged").await;
    world.patch("orders", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    world.delete("orders").await;
    world.gone("orders").await;
    assert!(world.event("orders", "Retained").await.contains("was kept with its owner mark"));
    world.assert_one_plan("orders", 1);
    clouds.assert_untouched();
    world.create("orders", plan_of("main")).await;
    let status = world.ready("orders").await;
    assert_eq!(status.head.identity.as_deref(), Some("othe****-key"));
    assert_eq!(clouds.other.plans().len(), 1);
    world.assert_one_plan("orders", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_endpoint_counts_as_another_cloud() {
    let world = World::with_roles().await;
    let _operator = world.operator().await;
    world.main_and_orders(secret("cloud")).await;
    world.ready("orders").await;
    world.cloud.clear_requests();
    let elsewhere = "https://rocketmq.cn-beijing.aliyuncs.com";
    world.accounts().patch("main", json!({ "spec": { "endpoints": { "rocketmq": elsewhere } } })).await;
    let status = world.condition("orders", "Synced", "False", "AccountChanged").await;
    assert!(message(&status, "Synced").contains(&format!("is not found as simu****y-id at {elsewhere}")), "{status:?}");
    assert_eq!(world.changes(), Vec::<String>::new(), "nothing is made there");
    world.accounts().patch("main", json!({ "spec": { "endpoints": null } })).await;
    world.ready("orders").await;
    world.assert_one_plan("orders", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn first_account_does_not_recreate_existing_plan() {
    let world = World::with_roles().await;
    let _operator = world.operator().await;
    world.accounts().create("main", secret("cloud")).await;
    // As a backup without status brings it back, or an operator that knew no accounts left it.
    let mut spec = one_way(&["orders"]);
    spec["accountRef"] = json!({ "name": "main" });
    let object = json!({
        "apiVersion": "disasterrecovery.dev/v1alpha1",
        "kind": "DisasterRecoveryPlan",
        "metadata": { "name": "orders", "annotations": { "disasterrecovery.dev/plan-id": "1399999999" } },
        "spec": spec,
    });
    let object = serde_json::from_value(object).expect("an object");
    world.api().create(&kube::api::PostParams::default(), &object).await.expect("it is accepted");
    let status = world.condition("orders", "Synced", "False", "AccountChanged").await;
    assert!(message(&status, "Synced").contains("plan 1399999999 was last seen as another identity"), "{status:?}");
    assert_eq!(world.changes(), Vec::<String>::new());
    // It is gone for good: the way out that the message names.
    world.patch("orders", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    world.delete("orders").await;
    world.gone("orders").await;
    assert_eq!(world.changes(), Vec::<String>::new());
}
