//! The documents leave open how the cloud behaves in places: the main job is done on clouds of every kind.

use disaster_recovery_operator::simulator::Config;
use disaster_recovery_operator::simulator::model::{PasswordEcho, Rules};
use serde_json::json;

use test_support::stage::plans::{World, external};

/// A plan is created, changed in every way and deleted.
async fn whole_life(what: &str, config: Config) {
    let world = World::on(config).await;
    let operator = world.operator().await;
    let mut spec = external(&["orders", "billing"]);
    spec["updatePolicy"] = json!("PauseItems");
    world.create("orders", spec).await;
    world.ready("orders").await;
    world.assert_one_plan("orders", 2);
    world.condition("orders", "Protected", "True", "WithinObjective").await;

    let mut spec = external(&["orders", "returns"]);
    spec["planDesc"] = json!("changed");
    spec["instances"][0]["messageProperty"]["propertyValue"] = json!("hz2");
    spec["topicMappings"][0]["topics"][1]["topicName"] = json!("orders-copy");
    spec["itemPolicy"] = json!("Prune");
    world.patch("orders", json!({ "spec": spec })).await;
    world.ready("orders").await;
    world.assert_one_plan("orders", 2);
    let plan = &world.cloud.plans()[0];
    assert!(plan.plan_desc.as_deref().is_some_and(|it| it.starts_with("changed [drp ")), "{what}: {plan:#?}");
    let property = plan.instances[0].message_property.as_ref().map(|it| it.property_value.clone());
    assert_eq!(property.as_deref(), Some("hz2"), "{what}");
    assert_eq!(
        plan.instances[1].password.as_deref(),
        Some(test_support::stage::PASSWORD),
        "{what}: the password stays"
    );

    world.delete("orders").await;
    world.gone("orders").await;
    assert_eq!(world.cloud.plans(), [], "{what}");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_works_under_every_undocumented_behaviour() {
    let quick = || Rules { sync_interval_ms: 100, delay_ms: 50, ..Rules::default() };
    let ruled = |rules: Rules| Config { rules, ..Config::default() };
    let kinds = [
        ("refusals come as HTTP 200", Config { errors_as_http_200: true, ..ruled(quick()) }),
        ("plans change while items run", ruled(Rules { update_while_running: true, ..quick() })),
        ("what is made shows late", ruled(Rules { visibility_delay_ms: 600, ..quick() })),
        ("passwords come back clear", ruled(Rules { password_echo: PasswordEcho::Clear, ..quick() })),
        ("passwords do not come back", ruled(Rules { password_echo: PasswordEcho::Omitted, ..quick() })),
        ("never synchronized is 0", ruled(Rules { never_synced_as_zero: true, ..quick() })),
        ("few calls a second", Config { rate_limit_per_second: 2, retry_after_ms: Some(300), ..ruled(quick()) }),
    ];
    futures::future::join_all(kinds.map(|(what, config)| whole_life(what, config))).await;
}
