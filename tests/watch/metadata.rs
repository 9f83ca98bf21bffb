//! Metadata that the operator does not keep in memory stays in the cluster.

use disaster_recovery_operator::api::{FINALIZER, PLAN_ID_ANNOTATION};
use kube::ResourceExt;
use serde_json::json;

use test_support::stage::plans::{World, one_way};

#[tokio::test(flavor = "multi_thread")]
async fn writes_keep_metadata_of_other_actors() {
    let world = World::new().await;
    world.create("orders", one_way(&["orders"])).await;
    let metadata = json!({
        "labels": { "app": "shop", "example.com/team": "orders" },
        "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}", "example.com/note": "kept" },
        "finalizers": ["example.com/backup"],
    });
    world.patch("orders", json!({ "metadata": metadata })).await;
    let before = world.get("orders").await.expect("it is there");
    let operator = world.operator().await;
    world.ready("orders").await;
    let after = world.get("orders").await.expect("it is there");
    assert_eq!(after.labels(), before.labels());
    let mut annotations = after.annotations().clone();
    assert!(annotations.remove(PLAN_ID_ANNOTATION).is_some(), "the operator wrote its own: {annotations:?}");
    assert_eq!(annotations, *before.annotations());
    assert_eq!(after.finalizers(), ["example.com/backup", FINALIZER]);
    assert!(after.status.is_some() && !after.managed_fields().is_empty());

    world.delete("orders").await;
    world.event("orders", "Deleted").await;
    let released = world.get("orders").await.expect("the backup's finalizer keeps it");
    assert_eq!(released.finalizers(), ["example.com/backup"]);
    assert_eq!((released.labels(), released.annotations()), (before.labels(), after.annotations()));
    world.patch("orders", json!({ "metadata": { "finalizers": null } })).await;
    world.gone("orders").await;
    operator.stop().await;
}
