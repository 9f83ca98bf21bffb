//! Stories of plans.

use disaster_recovery_operator::api::RECONCILE_ANNOTATION;
use disaster_recovery_operator::simulator::model::{CheckpointTimes, Consumption, ItemStatus, Rules};
use disaster_recovery_operator::simulator::{Config, Fault, FaultKind};
use serde_json::json;

use crate::alerts::exported;
use crate::promtool;
use crate::runbook::runbook;
use crate::story::{EXPIRY, Firing, Labels, Scrape, Story, about};
use test_support::eventually;
use test_support::operator::Operator;
use test_support::stage::DEADLINE;
use test_support::stage::groups::{Groups, quick, spec};
use test_support::stage::has;
use test_support::stage::plans::{World, one_way};

const PLAN: &str = "DisasterRecoveryPlan";
const LAG: &str = "disaster_recovery_checkpoint_lag_seconds";
const NEVER: &str = "disaster_recovery_checkpoint_never_synced";
const DELAY: &str = "disaster_recovery_message_backlog_delay_seconds";
const ROUND: &str = "disaster_recovery_checkpoint_sync_round_timestamp_seconds";
const ROUND_FAILURES: &str = "disaster_recovery_checkpoint_sync_round_failures";

/// A cloud that is quick in everything.
pub(crate) fn config() -> Config {
    let rules = Rules { sync_interval_ms: 100, ..Rules::default() };
    let (rate_limit_per_second, ebs_rate_limit_per_second) = (100_000, 100_000);
    Config { rules, disk_rules: quick(), rate_limit_per_second, ebs_rate_limit_per_second, ..Config::default() }
}

/// An operator that leads.
pub(crate) async fn leader<K: test_support::stage::Tested>(world: &test_support::stage::Stage<K>) -> Operator {
    let operator = world.operator().await;
    operator.metrics.leading(true);
    operator
}

/// An alert about the plan `orders`.
fn orders(alert: &'static str, world: &World) -> Firing {
    about(alert, PLAN, &world.namespace, "orders")
}

/// Waits until the plan is protected and a scrape shows it.
async fn protected(world: &World, operator: &Operator) -> Scrape {
    let generation = world.get("orders").await.expect("it is there").metadata.generation;
    let well = |all: [(&str, &str); 3], it: &_| all.iter().all(|(kind, reason)| has(it, kind, "True", reason));
    let wanted = [("Ready", "Available"), ("Synced", "InSync"), ("Protected", "WithinObjective")];
    let current = move |it: &disaster_recovery_operator::api::plan::DisasterRecoveryPlanStatus| {
        it.head.observed_generation == generation && well(wanted, it) && has(it, "OffsetsCovered", "True", "AllGroups")
    };
    world.status("orders", "it is as it should be", current).await;
    // Conditions are exported a moment before what was measured.
    shows(operator, "it is protected", |it| {
        let conditions = it.all("disaster_recovery_condition_status");
        let of = |reason: &str| conditions.iter().any(|it| it.0["kind"] == PLAN && it.0["reason"] == reason);
        let lags = it.all(LAG);
        let within = !lags.is_empty() && lags.iter().all(|it| it.1 < 300.0) && it.sum(NEVER) == 0.0;
        within && of("WithinObjective") && of("InSync") && of("Available")
    })
    .await
}

/// Scrapes until something is shown, and all of it is recent: evidence lasts a second here, and a story goes on for hours.
pub(crate) async fn shows(operator: &Operator, what: &str, wanted: impl Fn(&Scrape) -> bool) -> Scrape {
    shows_at_all(operator, what, |it| it.is_recent() && wanted(it)).await
}

/// Scrapes until something is shown.
async fn shows_at_all(operator: &Operator, what: &str, wanted: impl Fn(&Scrape) -> bool) -> Scrape {
    eventually(DEADLINE, format!("the metrics show: {what}"), async || {
        Some(Scrape::of(&operator.metrics)).filter(&wanted)
    })
    .await
}

/// Scrapes until a condition of an object has a reason.
pub(crate) async fn says(operator: &Operator, name: &str, kind: &str, reason: &str) -> Scrape {
    shows(operator, &format!("{kind} of {name} is {reason}"), |it| has_reason(it, name, kind, reason)).await
}

/// Scrapes until a condition has a reason, whether that is recent or not.
async fn says_at_all(operator: &Operator, name: &str, kind: &str, reason: &str) -> Scrape {
    shows_at_all(operator, &format!("{kind} of {name} is {reason}"), |it| has_reason(it, name, kind, reason)).await
}

fn has_reason(scrape: &Scrape, name: &str, kind: &str, reason: &str) -> bool {
    let all = scrape.all("disaster_recovery_condition_status");
    all.iter().any(|it| it.0["name"] == name && it.0["type"] == kind && it.0["reason"] == reason)
}

/// Has the checkpoints of `orders` read now: at rest that takes minutes.
async fn sample(world: &World) {
    world.annotate("orders", RECONCILE_ANNOTATION, &jiff::Timestamp::now().to_string()).await;
}

/// The labels of the consumer groups of which a metric is above a value, as alerts have them.
fn above(scrape: &Scrape, metric: &str, least: f64) -> Vec<Labels> {
    let all = scrape.all(metric).into_iter().filter(|it| it.1 > least);
    all.map(|it| it.0).collect()
}

fn each(alert: &'static str, all: &[Labels]) -> Vec<Firing> {
    assert!(!all.is_empty(), "{alert} is of something");
    all.iter().map(|it| (alert, it.clone())).collect()
}

/// A group of disks has the plan's name, and another objective.
pub(crate) async fn behind() -> Story {
    let (world, mut story) = (World::on(config()).await, Story::new("consumer groups fall behind"));
    let operator = leader(&world).await;
    let groups: Groups = world.of();
    groups.create("orders", spec()).await;
    groups.condition("orders", "Protected", "True", "WithinObjective").await;
    world.create("orders", one_way(&["orders"])).await;
    story.go_on(30, &protected(&world, &operator).await);
    story.fires([]);
    let lag = async |seconds: i64| {
        let now = world.cloud.now_ms();
        let checkpoint = world.cloud.plans()[0].items[0].checkpoints[0].checkpoint_id;
        let then = Some(now - seconds * 1000);
        let times = CheckpointTimes { last_sync_time: then.min(Some(now)), source_time: Some(now), target_time: then };
        world.cloud.with_model(|model, _| model.set_checkpoint(checkpoint, times)).expect("set");
        sample(&world).await;
    };
    lag(400).await;
    let late = shows(&operator, "it is behind", |it| above(it, LAG, 300.0).len() == 1).await;
    let who = above(&late, LAG, 300.0);
    let exceeded = each("DisasterRecoveryConsumerGroupObjectiveExceeded", &who);
    story.go_on(3, &late);
    story.fires([]);
    // The leader changes, with no leader in between: the alert neither restarts nor fires twice.
    story.advance(1, &[], &[]);
    story.advance(2, &[("pod-1", &late)], &[]);
    story.fires(exceeded.clone());
    story.advance(3, &[("pod-1", &late), ("pod-0", &late)], &[]);
    story.fires(exceeded.clone());
    lag(1000).await;
    let later = shows(&operator, "it is far behind", |it| above(it, LAG, 900.0).len() == 1).await;
    story.go_on(3, &later);
    story.fires([exceeded, each("DisasterRecoveryConsumerGroupObjectiveFarExceeded", &who)].concat());
    lag(0).await;
    story.go_on(10, &protected(&world, &operator).await);
    story.fires([]);
    lag(-60).await;
    story.go_on(10, &says(&operator, "orders", "Protected", "TargetAhead").await);
    story.fires([orders("DisasterRecoveryTargetAhead", &world)]);
    lag(0).await;
    story.go_on(2, &protected(&world, &operator).await);
    story.fires([]);
    story
}

pub(crate) async fn never_synced() -> Story {
    let (world, mut story) = (World::on(config()).await, Story::new("consumer groups are never synchronized"));
    world.cloud.with_model(|model, _| model.freeze_sync(true));
    let operator = leader(&world).await;
    world.create("orders", one_way(&["orders"])).await;
    world.condition("orders", "OffsetsCovered", "False", "GroupsNotSynced").await;
    // Samples begin before the reconcile that created the item has ended.
    let never = shows(&operator, "never synchronized", |it| {
        let settled = has_reason(it, "orders", "Ready", "Available") && has_reason(it, "orders", "Synced", "InSync");
        settled && has_reason(it, "orders", "OffsetsCovered", "GroupsNotSynced") && it.sum(NEVER) > 0.0
    })
    .await;
    story.go_on(29, &never);
    story.fires([]);
    story.go_on(40, &never);
    let groups = each("DisasterRecoveryConsumerGroupNeverSynced", &above(&never, NEVER, 0.5));
    story.fires(groups.into_iter().chain([orders("DisasterRecoveryGroupsNotCovered", &world)]));
    world.cloud.with_model(|model, _| model.freeze_sync(false));
    story.go_on(2, &protected(&world, &operator).await);
    story.fires([]);
    story
}

/// The replicator falls behind while consumers are level; then the cloud does not say how far.
pub(crate) async fn messages() -> Story {
    let (world, mut story) = (World::on(config()).await, Story::new("messages wait"));
    let operator = leader(&world).await;
    world.create("orders", one_way(&["orders", "billing"])).await;
    story.go_on(30, &protected(&world, &operator).await);
    story.fires([]);
    let (plan, item) = (world.cloud.plans()[0].plan_id, world.cloud.plans()[0].items[0].item_id);
    let replicator = async |to: Consumption| {
        world.cloud.with_model(|model, now| model.set_replication(Some((plan, item)), to, now)).expect("set");
        sample(&world).await;
    };
    let behind = |seconds: i64| Consumption::CatchingUp { behind_ms: seconds * 1000, speed_percent: 100 };
    replicator(behind(400)).await;
    let late = shows(&operator, "messages wait", |it| {
        above(it, DELAY, 300.0).len() == 1 && has_reason(it, "orders", "Protected", "BacklogExceeded")
    })
    .await;
    let topic = above(&late, DELAY, 300.0);
    let exceeded = each("DisasterRecoveryMessageBacklogExceeded", &topic);
    story.go_on(5, &late);
    story.fires([]);
    story.go_on(2, &late);
    story.fires(exceeded.clone());
    replicator(behind(1000)).await;
    let later = shows(&operator, "messages wait for long", |it| above(it, DELAY, 900.0).len() == 1).await;
    story.go_on(3, &later);
    story.fires([exceeded, each("DisasterRecoveryMessageBacklogFarExceeded", &topic)].concat());
    replicator(Consumption::Busy).await;
    let level = |it: &Scrape| it.all(DELAY).len() == 2 && above(it, DELAY, 300.0).is_empty();
    shows(&operator, "no message waits", level).await;
    story.go_on(10, &protected(&world, &operator).await);
    story.fires([]);

    world.cloud.add_fault(Fault::new(FaultKind::WithoutTopics { ids: vec![] }));
    sample(&world).await;
    world.condition("orders", "Protected", "Unknown", "BacklogUnknown").await;
    let unknown = says(&operator, "orders", "Protected", "BacklogUnknown").await;
    // The last end of the former evidence counts for five minutes, and may delay the alert as long.
    story.go_on(25, &unknown);
    story.fires([orders("DisasterRecoveryProtectionUnknown", &world)]);
    world.cloud.clear_faults();
    sample(&world).await;
    story.go_on(2, &protected(&world, &operator).await);
    story.fires([]);
    story
}

/// Consumers on both sides: their progress matters to no alert, and messages do.
pub(crate) async fn two_way() -> Story {
    let mut config = config();
    config.rules.update_while_running = true;
    let (world, mut story) = (World::on(config).await, Story::new("a plan of both directions"));
    let operator = leader(&world).await;
    let mut spec = one_way(&["orders"]);
    (spec["planType"], spec["autoSyncCheckpoint"]) = (json!("ACTIVE_ACTIVE"), json!(false));
    world.create("orders", spec).await;
    world.condition("orders", "OffsetsCovered", "False", "GroupsNotSynced").await;
    let never = shows(&operator, "no group is synchronized", |it| {
        let settled = has_reason(it, "orders", "Ready", "Available") && has_reason(it, "orders", "Synced", "InSync");
        settled && has_reason(it, "orders", "Protected", "WithinObjective") && it.sum(NEVER) > 0.0
    })
    .await;
    story.go_on(120, &never);
    story.fires([]);

    // One that does not synchronize progress either, while messages are not counted.
    world.patch("orders", json!({ "spec": { "syncCheckpointEnabled": false } })).await;
    world.condition("orders", "OffsetsCovered", "False", "SyncDisabled").await;
    world.cloud.add_fault(Fault::new(FaultKind::WithoutTopics { ids: vec![] }));
    sample(&world).await;
    world.condition("orders", "Protected", "Unknown", "BacklogUnknown").await;
    let unknown = says(&operator, "orders", "Protected", "BacklogUnknown").await;
    story.go_on(30, &unknown);
    story.fires([orders("DisasterRecoveryProtectionUnknown", &world)]);
    story
}

/// The operator synchronizes; the cloud refuses that, and then no round happens.
pub(crate) async fn rounds() -> Story {
    let (world, mut story) = (World::on(config()).await, Story::new("rounds of synchronizations"));
    world.cloud.with_model(|model, _| model.freeze_sync(true));
    let operator = leader(&world).await;
    let mut spec = one_way(&["orders"]);
    spec["autoSyncCheckpoint"] = json!(false);
    spec["checkpointSync"] = json!({ "by": "Operator", "interval": "5s" });
    world.create("orders", spec).await;
    protected(&world, &operator).await;
    let works = |it: &Scrape| it.all(ROUND).len() == 1 && it.sum(ROUND_FAILURES) == 0.0;
    let well = shows(&operator, "a round succeeds", works).await;
    story.go_on(40, &well);
    story.fires([]);

    let error = FaultKind::Error {
        status: 403,
        code: "NoPermission".into(),
        message: "You are not authorized.".into(),
        pascal_case: false,
    };
    world.cloud.add_fault(Fault::new(error).of_action("SyncDisasterRecoveryCheckpoint"));
    let failing = shows(&operator, "a round fails", |it| it.sum(ROUND_FAILURES) > 0.0).await;
    let mappings = above(&failing, ROUND_FAILURES, 0.0);
    story.go_on(29, &failing);
    story.fires([]);
    story.go_on(5, &failing);
    story.fires(each("DisasterRecoveryCheckpointSyncFailed", &mappings));
    world.cloud.clear_faults();
    let well = shows(&operator, "a round succeeds again", works).await;
    story.go_on(10, &well);
    story.fires([]);

    story.advance(14, &[("pod-0", &well)], &[ROUND]);
    story.fires([]);
    // The time of the round begins to stand still once more.
    story.advance(20, &[("pod-0", &well)], &[ROUND]);
    story.fires(each("DisasterRecoveryCheckpointSyncOverdue", &mappings));
    story.go_on(2, &well);
    story.fires([]);
    // No round is due for a plan that is only observed.
    world.patch("orders", json!({ "spec": { "managementPolicy": "Observe" } })).await;
    let observed = says(&operator, "orders", "Synced", "ObserveOnly").await;
    story.advance(40, &[("pod-0", &observed)], &[ROUND]);
    story.fires([]);
    story
}

pub(crate) async fn stuck() -> Story {
    let mut config = config();
    config.rules.update_while_running = true;
    let (world, mut story) = (World::on(config).await, Story::new("plans are stuck"));
    let operator = leader(&world).await;
    world.create("orders", one_way(&["orders"])).await;
    story.go_on(30, &protected(&world, &operator).await);
    story.fires([]);

    world.patch("orders", json!({ "spec": { "planType": "ACTIVE_ACTIVE", "autoSyncCheckpoint": false } })).await;
    world.condition("orders", "Stalled", "True", "ImmutableField").await;
    story.go_on(40, &says(&operator, "orders", "Stalled", "ImmutableField").await);
    // The progress of another type of plan proves nothing about this one.
    story.fires(["DisasterRecoveryStalled", "DisasterRecoveryProtectionUnknown"].map(|it| orders(it, &world)));
    world.patch("orders", json!({ "spec": { "planType": "ACTIVE_PASSIVE", "autoSyncCheckpoint": true } })).await;
    let well = protected(&world, &operator).await;
    story.go_on(5, &well);
    story.fires([orders("DisasterRecoveryStalled", &world)]);
    story.go_on(10, &well);
    story.fires([]);

    // The plan alone cannot be changed.
    let fault = Fault::new(FaultKind::Html { status: 502 });
    world.cloud.add_fault(fault.clone().of_action("UpdateDisasterRecoveryPlan"));
    world.patch("orders", json!({ "spec": { "planDesc": "Renamed" } })).await;
    world.condition("orders", "Synced", "Unknown", "CloudUnavailable").await;
    story.go_on(20, &says(&operator, "orders", "Synced", "CloudUnavailable").await);
    story.fires([orders("DisasterRecoveryCloudCallsFail", &world)]);
    world.cloud.clear_faults();
    story.go_on(2, &protected(&world, &operator).await);
    story.fires([]);

    // Checkpoints without timestamps prove nothing.
    world.cloud.add_fault(Fault::new(FaultKind::WithoutTimestamps { ids: vec![] }));
    sample(&world).await;
    world.condition("orders", "Protected", "Unknown", "Unknown").await;
    let doubtful = shows(&operator, "no lag is known", |it| {
        it.all(LAG).is_empty() && has_reason(it, "orders", "Protected", "Unknown")
    })
    .await;
    story.go_on(10, &doubtful);
    story.fires([]);
    // The last end of the former evidence counts for five minutes, and may delay the alert as long.
    story.go_on(15, &doubtful);
    story.fires([orders("DisasterRecoveryProtectionUnknown", &world)]);
    world.cloud.clear_faults();
    story.go_on(2, &protected(&world, &operator).await);
    story.fires([]);

    // Nothing can be read.
    world.cloud.add_fault(fault);
    world.condition("orders", "Ready", "Unknown", "NotReady").await;
    let unseen = says_at_all(&operator, "orders", "Ready", "NotReady").await;
    assert!(!unseen.is_recent());
    story.advance(4, &[("pod-0", &unseen)], &[EXPIRY]);
    story.fires([]);
    story.advance(36, &[("pod-0", &unseen)], &[EXPIRY]);
    story.fires([orders("DisasterRecoveryObservationStale", &world)]);
    world.cloud.clear_faults();
    story.go_on(2, &protected(&world, &operator).await);
    story.fires([]);

    let (plan, item) = (world.cloud.plans()[0].plan_id, world.cloud.plans()[0].items[0].item_id);
    let set = |status| world.cloud.with_model(|model, now| model.set_item_status(plan, item, status, now));
    set(ItemStatus::OverdueStopped).expect("set");
    story.go_on(40, &says(&operator, "orders", "Ready", "NotReady").await);
    story.fires(["DisasterRecoveryNotReady", "DisasterRecoveryReplicationStopped"].map(|it| orders(it, &world)));
    set(ItemStatus::ManualStopped).expect("set");
    story.go_on(2, &protected(&world, &operator).await);
    story.fires([]);

    world.patch("orders", json!({ "spec": { "suspend": true } })).await;
    world.condition("orders", "Synced", "Unknown", "Suspended").await;
    let suspended = says_at_all(&operator, "orders", "Synced", "Suspended").await;
    story.go_on(24 * 60, &suspended);
    story.fires([]);
    story.go_on(2, &suspended);
    story.fires([orders("DisasterRecoverySuspended", &world)]);
    world.patch("orders", json!({ "spec": { "suspend": false } })).await;
    story.go_on(2, &protected(&world, &operator).await);
    story.fires([]);

    world.patch("orders", json!({ "spec": { "suspend": true } })).await;
    world.condition("orders", "Synced", "Unknown", "Suspended").await;
    world.delete("orders").await;
    world.condition("orders", "Synced", "False", "DeletionBlocked").await;
    story.go_on(20, &says_at_all(&operator, "orders", "Synced", "DeletionBlocked").await);
    story.fires([orders("DisasterRecoveryDeletionBlocked", &world)]);
    world.patch("orders", json!({ "spec": { "suspend": false } })).await;
    world.gone("orders").await;
    let none = |it: &Scrape| it.all("disaster_recovery_condition_status").is_empty();
    story.go_on(7, &shows(&operator, "the object is gone", none).await);
    story.fires([]);
    story
}

/// A cloud that takes an hour for everything.
pub(crate) async fn slow() -> Story {
    let rules = Rules { delay_ms: 3_600_000, sync_interval_ms: 100, ..Rules::default() };
    let (world, mut story) = (World::on(Config { rules, ..config() }).await, Story::new("a plan takes too long"));
    let operator = leader(&world).await;
    world.create("orders", one_way(&["orders"])).await;
    world.condition("orders", "Reconciling", "True", "Creating").await;
    says(&operator, "orders", "Reconciling", "Creating").await;
    let made = || world.cloud.plans().first().is_some_and(|it| !it.items.is_empty());
    eventually(DEADLINE, "the item is being made", async || made().then_some(())).await;
    let creating = says(&operator, "orders", "Protected", "ReplicationStopped").await;
    let stopped = orders("DisasterRecoveryReplicationStopped", &world);
    story.go_on(60, &creating);
    story.fires([stopped.clone()]);
    story.go_on(2, &creating);
    story.fires([stopped, orders("DisasterRecoveryReconcilingTooLong", &world)]);
    let (plan, item) = (world.cloud.plans()[0].plan_id, world.cloud.plans()[0].items[0].item_id);
    let set = |model: &mut disaster_recovery_operator::simulator::model::Model, now| {
        model.set_item_status(plan, item, ItemStatus::Running, now)
    };
    world.cloud.with_model(set).expect("set");
    story.go_on(2, &protected(&world, &operator).await);
    story.fires([]);
    story
}

/// Another actor renames the plan again and again.
pub(crate) async fn drift() -> Story {
    const CORRECTED: &str = "disaster_recovery_drift_corrections_total";
    let mut config = config();
    config.rules.update_while_running = true;
    let (world, mut story) = (World::on(config).await, Story::new("drift comes back"));
    let operator = leader(&world).await;
    world.create("orders", one_way(&["orders"])).await;
    let fresh = protected(&world, &operator).await;
    assert_eq!(fresh.sum(CORRECTED), 0.0);
    story.go_on(10, &fresh);
    let plan = world.cloud.plans()[0].plan_id;
    for times in 1..=3 {
        let rename = json!({ "planName": format!("renamed-{times}") });
        world.cloud.with_model(|model, now| model.edit_plan(plan, &rename, now)).expect("edited");
        let what = format!("{times} corrections");
        shows(&operator, &what, |it| it.sum(CORRECTED) == f64::from(times)).await;
        story.go_on(60, &protected(&world, &operator).await);
        story.fires((times == 3).then(|| orders("DisasterRecoveryDriftRecurs", &world)));
    }
    story.go_on(360, &protected(&world, &operator).await);
    story.fires([]);
    story
}

/// One call a minute is throttled.
pub(crate) async fn throttled() -> Story {
    const THROTTLED: &str = "disaster_recovery_cloud_throttled_requests_total";
    let (world, mut story) = (World::on(config()).await, Story::new("the cloud throttles"));
    let operator = leader(&world).await;
    world.create("orders", one_way(&["orders"])).await;
    story.go_on(10, &protected(&world, &operator).await);
    story.fires([]);
    for minute in 1..=14 {
        let fault = Fault::new(FaultKind::Throttle { retry_after_ms: Some(1) });
        world.cloud.add_fault(fault.of_action("GetDisasterRecoveryPlan").times(1));
        world.annotate("orders", RECONCILE_ANNOTATION, &minute.to_string()).await;
        let what = format!("{minute} throttled calls");
        let scrape = shows(&operator, &what, |it| it.sum(THROTTLED) == f64::from(minute)).await;
        assert!(
            scrape.all("disaster_recovery_cloud_requests_total").iter().any(|it| it.0["code"] == "Throttling.User")
        );
        story.go_on(1, &protected(&world, &operator).await);
    }
    let labels = [("product", "rocketmq"), ("region", "cn-hangzhou")];
    let labels: Labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    story.fires([("DisasterRecoveryCloudThrottled", labels)]);
    story.go_on(10, &protected(&world, &operator).await);
    story.fires([]);
    story
}

/// The service throttles while a reconcile is requested every minute.
pub(crate) async fn exhausted() -> Story {
    const GIVEN_UP: &str = "disaster_recovery_cloud_budget_exhausted_total";
    let (world, mut story) = (World::on(config()).await, Story::new("the budget is used up"));
    let operator = leader(&world).await;
    world.create("orders", one_way(&["orders"])).await;
    story.go_on(10, &protected(&world, &operator).await);
    story.fires([]);
    let fault = Fault::new(FaultKind::Throttle { retry_after_ms: Some(600_000) });
    world.cloud.add_fault(fault.of_action("GetDisasterRecoveryPlan").times(1));
    // A plan at rest is not read by its ID.
    sample(&world).await;
    world.condition("orders", "Synced", "Unknown", "Throttled").await;
    // The list of plans still shows the plan.
    let before = says(&operator, "orders", "Synced", "Throttled").await.sum(GIVEN_UP);
    for minute in 1..=14 {
        world.annotate("orders", RECONCILE_ANNOTATION, &minute.to_string()).await;
        story.go_on(
            1,
            &shows(&operator, "a call is given up", |it| it.sum(GIVEN_UP) >= before + f64::from(minute)).await,
        );
    }
    let labels = [("product", "rocketmq"), ("region", "cn-hangzhou")];
    let labels: Labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    story.fires([("DisasterRecoveryBudgetExhausted", labels)]);
    operator.stop().await;
    // Another one has a budget of its own.
    let other = leader(&world).await;
    story.advance(10, &[("pod-1", &protected(&world, &other).await)], &[]);
    story.fires([]);
    story
}

/// What Prometheus says of the exposition of an operator that has done something of everything.
#[tokio::test(flavor = "multi_thread")]
async fn exported_metrics_pass_prometheus_checks() {
    let world = World::on(config()).await;
    let operator = leader(&world).await;
    let groups: Groups = world.of();
    groups.create("orders", spec()).await;
    world.create("orders", one_way(&["orders"])).await;
    protected(&world, &operator).await;
    groups.condition("orders", "Protected", "True", "WithinObjective").await;
    says(&operator, "orders", "Protected", "WithinObjective").await;
    let text = operator.metrics.text();
    runbook(&world).await;
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).count();
    assert!(families > 20, "{text}");
    assert!(text.ends_with("# EOF\n"));
    // promtool reads the format before OpenMetrics, in which a family of counters is named as its samples are.
    let counters: Vec<_> = text.lines().filter_map(|it| it.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let older = counters.iter().fold(text.clone(), |text, name| {
        ["HELP", "TYPE", "UNIT"]
            .iter()
            .fold(text, |text, what| text.replace(&format!("# {what} {name} "), &format!("# {what} {name}_total ")))
    });
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &older).expect("it is written");
    assert_eq!(promtool::run(&["check", "metrics"], Some(file.path())), "");
    let reference = exported();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        assert!(reference.contains(name), "the reference does not have {name}");
    }
}
