//! Problems, and how they are reported.

use std::time::Duration;

use disaster_recovery_operator::api::plan::DisasterRecoveryPlanStatus;
use disaster_recovery_operator::simulator::model::Rules;
use disaster_recovery_operator::simulator::{Fault, FaultKind};
use serde_json::json;

use test_support::eventually;
use test_support::stage::plans::{World, one_way};
use test_support::stage::{DEADLINE, has, message};

/// The objective of the plans.
const OBJECTIVE: Duration = Duration::from_secs(300);

fn fault(action: &str, kind: FaultKind, times: Option<u32>) -> Fault {
    Fault { times, ..Fault::new(kind).of_action(action) }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_key_reports_cloud_message_and_retries_slowly() {
    let mut world = World::new().await;
    world.settings.retry_interval = Duration::from_secs(60);
    world.secret("cloud", &[("accessKeyId", "simulator-key-id"), ("accessKeySecret", "wrong-secret")]).await;
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    let status = world.condition("orders", "Synced", "False", "AccessDenied").await;
    let text = message(&status, "Synced");
    assert!(text.contains("SignatureDoesNotMatch") && text.contains("request id"), "{text}");
    assert!(has(&status, "Stalled", "True", "AccessDenied") && has(&status, "Ready", "Unknown", "NotReady"));
    assert!(has(&status, "Protected", "Unknown", "Unknown"));
    assert!(!format!("{status:?}").contains("wrong-secret"));
    let calls = world.cloud.requests().len();
    assert!(calls <= 2, "no hot loop: {calls} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_permission_and_unknown_instance_are_named() {
    let world = World::with(Rules { instances: Some(["rmq-cn-aaa".to_owned()].into()), ..Rules::default() }).await;
    world.cloud.set_denied_actions(["CreateDisasterRecoveryPlan"]);
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    // While it is tried once more, the intent is there again.
    let refused = |it: &DisasterRecoveryPlanStatus| has(it, "Synced", "False", "AccessDenied") && it.creation.is_none();
    let status = world.status("orders", "a refused call did not happen", refused).await;
    assert!(message(&status, "Synced").starts_with("CreateDisasterRecoveryPlan failed: NoPermission"), "{status:?}");
    world.cloud.set_denied_actions(Vec::<String>::new());
    let status = world.condition("orders", "Synced", "False", "InvalidSpec").await;
    assert!(message(&status, "Synced").contains("Instance.NotFound"), "{status:?}");
    world.cloud.with_model(|model, _| model.rules.instances = None);
    world.ready("orders").await;
    world.assert_one_plan("orders", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_topic_blocks_only_its_own_mapping() {
    let topics = Some(["billing".to_owned(), "returns".to_owned()].into());
    let world = World::with(Rules { topics, ..Rules::default() }).await;
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders", "billing", "returns"])).await;
    let status = world.status("orders", "two of three run", |it| it.items.as_deref() == Some("2/3")).await;
    assert!(message(&status, "Synced").contains("Topic.NotFound"), "{status:?}");
    world.cloud.with_model(|model, _| model.rules.topics = None);
    world.ready("orders").await;
    world.assert_one_plan("orders", 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn outage_is_unknown_and_stale_data_never_protects() {
    let mut world = World::with(Rules { sync_interval_ms: 100, ..Rules::default() }).await;
    world.settings.poll_interval = Duration::from_millis(300);
    world.use_clouds_clock();
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    world.condition("orders", "Protected", "True", "WithinObjective").await;
    for kind in [
        FaultKind::Error {
            status: 503,
            code: "ServiceUnavailable".into(),
            message: "try later".into(),
            pascal_case: true,
        },
        FaultKind::Html { status: 502 },
        FaultKind::Garbage,
        FaultKind::Lost,
    ] {
        let what = kind.name();
        world.cloud.add_fault(Fault::new(kind));
        let status = world.condition("orders", "Synced", "Unknown", "CloudUnavailable").await;
        assert!(!has(&status, "Stalled", "True", "CloudUnavailable"), "{what}");
        let status = world.condition("orders", "Ready", "Unknown", "NotReady").await;
        assert!(has(&status, "Protected", "True", "WithinObjective"), "{what}: its samples prove it: {status:?}");
        world.advance(OBJECTIVE);
        let status = world.condition("orders", "Protected", "Unknown", "Unknown").await;
        assert!(has(&status, "Ready", "Unknown", "NotReady"), "{what}: {status:?}");
        assert!(status.plan_id.is_some(), "{what}: the plan's ID stays");
        world.cloud.clear_faults();
        world.condition("orders", "Protected", "True", "WithinObjective").await;
    }
    world.assert_one_plan("orders", 1);
    assert_eq!(world.changes().len(), 2, "one Create and one Add, ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_is_reported_and_waited_for() {
    let world = World::new().await;
    let throttle = FaultKind::Throttle { retry_after_ms: Some(300) };
    world.cloud.add_fault(fault("CreateDisasterRecoveryPlan", throttle, Some(2)));
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    world.condition("orders", "Synced", "Unknown", "Throttled").await;
    world.ready("orders").await;
    world.assert_one_plan("orders", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answer_creates_no_second_plan_or_item() {
    let lost = [
        FaultKind::ReplyLost,
        FaultKind::Lost,
        FaultKind::ErrorAfter { status: 504, code: "RequestTimeout".into(), message: "late".into(), pascal_case: true },
        FaultKind::Slow { ms: 2_500 },
        FaultKind::Garbage,
        FaultKind::Html { status: 200 },
    ];
    for kind in lost {
        let world = World::with(Rules { visibility_delay_ms: 700, ..Rules::default() }).await;
        world.cloud.add_fault(fault("CreateDisasterRecoveryPlan", kind.clone(), Some(1)));
        world.cloud.add_fault(fault("AddDisasterRecoveryItem", kind, Some(1)));
        let operator = world.operator().await;
        world.create("orders", one_way(&["orders"])).await;
        world.status("orders", "the plan is in sync", |it| has(it, "Synced", "True", "InSync")).await;
        world.assert_one_plan("orders", 1);
        operator.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_without_success_is_retried() {
    let world = World::new().await;
    let kind = FaultKind::SuccessFalse { code: "DisasterRecoveryPlanStatus.Error".into(), message: "not now".into() };
    world.cloud.add_fault(fault("CreateDisasterRecoveryPlan", kind, Some(1)));
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    world.ready("orders").await;
    world.assert_one_plan("orders", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_clock_is_an_access_problem_with_code() {
    let world = World::new().await;
    world.cloud.set_clock_offset_ms(20 * 60 * 1000);
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    let status = world.condition("orders", "Synced", "False", "AccessDenied").await;
    assert!(message(&status, "Synced").contains("InvalidTimeStamp.Expired"), "{status:?}");
    world.cloud.set_clock_offset_ms(0);
    world.ready("orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_deletion_names_the_cause_and_continues() {
    let world = World::new().await;
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    world.ready("orders").await;
    world.cloud.set_denied_actions(["DeleteDisasterRecoveryPlan"]);
    world.delete("orders").await;
    let status = world.condition("orders", "Synced", "False", "DeletionBlocked").await;
    assert!(message(&status, "Synced").contains("NoPermission"), "{status:?}");
    assert!(has(&status, "Ready", "False", "Deleting"));
    world.cloud.set_denied_actions(Vec::<String>::new());
    world.gone("orders").await;
    assert_eq!(world.cloud.plans(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_secret_blocks_deletion_unless_retained() {
    let world = World::new().await;
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    world.ready("orders").await;
    world.delete_secret("cloud").await;
    world.delete("orders").await;
    let status = world.condition("orders", "Synced", "False", "DeletionBlocked").await;
    let text = message(&status, "Synced");
    assert!(text.contains(&format!("Secret {}/cloud does not exist", world.namespace)), "{text}");
    world.patch("orders", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    world.gone("orders").await;
    world.assert_one_plan("orders", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn overdue_item_is_not_ready_until_it_runs() {
    use disaster_recovery_operator::simulator::model::ItemStatus;
    let world = World::new().await;
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    world.ready("orders").await;
    let plan = &world.cloud.plans()[0];
    let (id, item) = (plan.plan_id, plan.items[0].item_id);
    world.cloud.with_model(|model, now| model.set_item_status(id, item, ItemStatus::OverdueStopped, now)).expect("set");
    let status = world.condition("orders", "Ready", "False", "NotReady").await;
    assert!(message(&status, "Ready").contains("OVERDUE_STOPPED"), "{status:?}");
    assert!(has(&status, "Protected", "False", "ReplicationStopped"));
    world.cloud.with_model(|model, now| model.set_item_status(id, item, ItemStatus::ManualStopped, now)).expect("set");
    world.ready("orders").await;
    eventually(DEADLINE, "no step is left", async || {
        world.get("orders").await.and_then(|it| it.status).filter(|it| it.head.drift.is_empty()).map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_recover_soon_after_half_of_all_calls_failed() {
    const PLANS: usize = 8;
    let mut world = World::with(Rules { update_while_running: true, ..Rules::default() }).await;
    // As by default.
    world.settings.poll_interval = Duration::from_secs(60);
    world.settings.retry_interval = Duration::from_secs(5);
    let _operator = world.operator().await;
    let names: Vec<_> = (0..PLANS).map(|number| format!("orders-{number}")).collect();
    for name in &names {
        let mut spec = one_way(&["orders"]);
        spec["planName"] = json!(name);
        world.create(name, spec).await;
        world.ready(name).await;
    }
    let (code, text) = ("ServiceUnavailable".into(), "Try later.".into());
    let unavailable = FaultKind::Error { status: 503, code, message: text, pascal_case: false };
    world.cloud.add_fault(Fault::new(unavailable).of_percent(50));
    world.cloud.clear_requests();
    let failed = || world.cloud.requests().iter().filter(|it| it.code == "ServiceUnavailable").count();
    // Edits go on until an object has failed several times in a row.
    for round in 0.. {
        for name in &names {
            world.patch(name, json!({ "spec": { "planDesc": format!("round {round}") } })).await;
        }
        let enough = failed() + 2 * PLANS;
        eventually(DEADLINE, "calls fail", async || (failed() >= enough).then_some(())).await;
        if failed() >= 6 * PLANS {
            break;
        }
    }
    world.cloud.clear_faults();
    let recovered = async || {
        for name in &names {
            let plan = world.get(name).await?;
            let status = plan.status.as_ref()?;
            let is_synced = status.head.synced_generation == plan.metadata.generation;
            (is_synced && has(status, "Ready", "True", "Available")).then_some(())?;
        }
        Some(())
    };
    eventually(Duration::from_secs(30), "all recover", recovered).await;
}
