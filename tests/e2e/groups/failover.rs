//! Failovers, failbacks, and reprotects.

use std::time::Duration;

use disaster_recovery_operator::api::disk_replica_group::{
    DiskReplicaGroupStatus, FailoverMode, Operation, OperationType, Phase, RequestPhase, Site, StepName,
};
use disaster_recovery_operator::simulator::model::ebs::{DiskRules, Production};
use disaster_recovery_operator::simulator::{Fault, FaultKind};
use serde_json::json;

use super::{Groups, REGIONS, history, quick, spec, spec_with, steps};
use test_support::stage::{has, message};

const NAMES: &[&str] = &["data", "logs"];

/// A completed failover, with its status, events and metrics.
fn assert_measured(operation: &Operation, mode: FailoverMode, wanted: &[StepName]) {
    assert_eq!((operation.phase, operation.mode), (Phase::Succeeded, Some(mode)), "{operation:#?}");
    assert_eq!(steps(operation), wanted, "{operation:#?}");
    let (began, ended) = (operation.started_at, operation.completed_at.expect("it ended"));
    // A forced failover does not wait for the step before it.
    let mut starts = vec![began];
    for step in &operation.steps {
        starts.push(step.started_at);
        assert!((step.started_at..=ended).contains(&step.completed_at.expect("it ended")), "{operation:#?}");
    }
    assert!(starts.is_sorted(), "{operation:#?}");
    let point = operation.recovery_point.expect("a recovery point");
    assert!(point <= operation.completed_at.expect("it ended"), "{operation:#?}");
    let age = operation.recovery_point_age_seconds.expect("an age");
    let took = operation.recovery_time_seconds.expect("a time");
    assert!((0..900).contains(&age) && (0..600).contains(&took), "{operation:#?}");
    let (expected, lost) = if mode == FailoverMode::Planned { (0, 0) } else { (900, age) };
    assert_eq!((operation.expected_loss_seconds, operation.loss_seconds), (Some(expected), Some(lost)));
    assert!(operation.message.contains("succeeded") && operation.requested_at.is_some(), "{operation:#?}");
}

/// Two whole round trips, planned and forced.
async fn round_trips(rules: DiskRules) {
    use FailoverMode::{Forced, Planned};
    use OperationType::{Failback, Failover, Reprotect};
    let world = Groups::with(rules).await;
    let operator = world.operator().await;
    world.create_protected(spec()).await;
    let mut all = vec![];
    for modes in [[Planned, Forced], [Forced, Planned]] {
        for (mode, (site, kind)) in modes.into_iter().zip([(Site::Destination, Failover), (Site::Source, Failback)]) {
            if mode == Forced {
                world.force(site).await;
            } else {
                world.advance(Duration::from_secs(450));
                world.go_to(site.as_str(), "Planned").await;
            }
            let status = world.protected().await;
            world.assert_one(&status, site, NAMES);
            all.extend([(kind, site, Phase::Succeeded), (Reprotect, site, Phase::Succeeded)]);
            assert_eq!(history(&status), all, "{status:#?}");
            let [reversed, moved] = &status.operations[..2] else { panic!("two operations: {status:#?}") };
            let planned = [StepName::Stop, StepName::Synchronize, StepName::Failover];
            assert_measured(moved, mode, if mode == Planned { &planned } else { &planned[2..] });
            assert_eq!(steps(reversed), [StepName::Reprotect, StepName::Start], "{reversed:#?}");
            assert!(reversed.steps.iter().all(|it| it.completed_at.is_some()) && reversed.completed_at.is_some());
            assert!(status.pending_calls.is_empty(), "{status:#?}");
        }
    }
    for reason in
        ["FailoverStarted", "FailoverCompleted", "FailbackCompleted", "ReprotectStarted", "ReprotectCompleted"]
    {
        world.event("db", reason).await;
    }
    let labels = format!("namespace=\"{}\",name=\"db\"", world.namespace);
    let text = operator.metrics.text();
    for name in ["last_failover_recovery_time_seconds", "last_failover_recovery_point_age_seconds"] {
        assert!(text.contains(&format!("disaster_recovery_disk_group_{name}{{{labels}}} ")), "{name}: {text}");
    }
    world.delete("db").await;
    world.gone("db").await;
    world.assert_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn failovers_and_failbacks_work_twice() {
    round_trips(quick()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failover_works_when_production_region_stays_fixed() {
    round_trips(DiskRules { production: Production::Primary, ..quick() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failover_works_when_cloud_keeps_first_source() {
    round_trips(DiskRules { site_names_fixed: true, ..quick() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reversed_group_is_deletable() {
    for production in [Production::Source, Production::Primary] {
        let world = Groups::with(DiskRules { production, ..quick() }).await;
        let _operator = world.operator().await;
        world.create_protected(spec()).await;
        world.force(Site::Destination).await;
        world.protected().await;
        world.delete("db").await;
        world.gone("db").await;
        world.assert_nothing();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forced_failover_starts_immediately() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.cloud.clear_requests();
    world.force(Site::Destination).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
    assert_measured(&status.operations[1], FailoverMode::Forced, &[StepName::Failover]);
    let calls = ["FailoverDiskReplicaGroup", "ReprotectDiskReplicaGroup", "StartDiskReplicaGroup"];
    assert_eq!(world.changes(), calls, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn forced_failover_works_without_the_production_region() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec_with(json!({ "reprotect": "Manual" }))).await;
    world.cloud.add_fault(Fault::new(FaultKind::Lost).in_region(REGIONS[0]));
    world.go_to("Destination", "Forced").await;
    let status = world.condition("db", "Ready", "True", "FailedOver").await;
    assert_eq!(status.active_site, Some(Site::Destination));
    assert_measured(&status.operations[0], FailoverMode::Forced, &[StepName::Failover]);
    assert!(has(&status, "Protected", "False", "ReplicationStopped"), "{status:#?}");
    world.cloud.clear_faults();
    world.overwrite(Site::Source).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn planned_failover_that_cannot_stop_becomes_forced() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.cloud.add_fault(Fault::new(FaultKind::Lost).in_region(REGIONS[0]));
    world.go_to("Destination", "Planned").await;
    let unavailable = |it: &DiskReplicaGroupStatus| {
        has(it, "Synced", "Unknown", "CloudUnavailable") && message(it, "Synced").contains("StopDiskReplicaGroup")
    };
    world.status("db", "production cannot be stopped", unavailable).await;
    world.go_to("Destination", "Forced").await;
    let status = world.status("db", "the destination is active", |it| it.active_site == Some(Site::Destination)).await;
    let moved = status.operations.iter().find(|it| it.r#type == OperationType::Failover).expect("the failover");
    assert_measured(moved, FailoverMode::Forced, &[StepName::Stop, StepName::Failover]);
    world.cloud.clear_faults();
    world.overwrite(Site::Source).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
}

#[tokio::test(flavor = "multi_thread")]
async fn forced_failover_waits_for_consent_to_reverse() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.cloud.clear_requests();
    // A consent in the request itself has no effect.
    world.request("Destination", json!({ "mode": "Forced", "overwrite": "Source" })).await;
    let status = world.condition("db", "Synced", "False", "ReprotectWaits").await;
    let text = message(&status, "Synced");
    assert!(text.contains("failover.overwrite: Source") && text.contains("mode: Cancel"), "{text}");
    assert!(has(&status, "Stalled", "True", "ReprotectWaits"), "{status:#?}");
    assert!(has(&status, "Protected", "False", "ReplicationStopped"), "{status:#?}");
    assert_eq!(status.active_site, Some(Site::Destination), "{status:#?}");
    world.polls(3).await;
    assert_eq!(world.changes(), ["FailoverDiskReplicaGroup"]);
    // Nor has the wrong site.
    world.request("Destination", json!({ "overwrite": "Destination" })).await;
    world.condition("db", "Synced", "False", "ReprotectWaits").await;
    world.overwrite(Site::Source).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
    assert_eq!(world.changes(), ["FailoverDiskReplicaGroup", "ReprotectDiskReplicaGroup", "StartDiskReplicaGroup"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn manual_reprotect_waits_for_the_request() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec_with(json!({ "reprotect": "Manual" }))).await;
    world.go_to("Destination", "Planned").await;
    let status = world.condition("db", "Ready", "True", "FailedOver").await;
    assert!(has(&status, "Synced", "True", "InSync") && has(&status, "Protected", "False", "ReplicationStopped"));
    assert_eq!((status.active_site, status.group_status.as_deref()), (Some(Site::Destination), Some("failovered")));
    world.cloud.clear_requests();
    world.polls(3).await;
    assert_eq!(world.changes(), Vec::<String>::new());
    world.patch("db", json!({ "spec": { "reprotect": "AfterPlanned" } })).await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, NAMES);
    assert_eq!(world.changes(), ["ReprotectDiskReplicaGroup", "StartDiskReplicaGroup"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn failover_is_cancelled_before_reprotect() {
    use OperationType::{Cancel, Failover};
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec_with(json!({ "reprotect": "Manual" }))).await;
    world.go_to("Destination", "Forced").await;
    world.condition("db", "Ready", "True", "FailedOver").await;
    world.cloud.clear_requests();
    world.go_to("Source", "Cancel").await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Source, NAMES);
    let all = [(Failover, Site::Destination, Phase::Succeeded), (Cancel, Site::Source, Phase::Succeeded)];
    assert_eq!(history(&status), all, "{status:#?}");
    let reprotect = world.cloud.requests().into_iter().find(|it| it.action == "ReprotectDiskReplicaGroup");
    let reverse = ("ReverseReplicate".to_owned(), "false".to_owned());
    assert!(reprotect.is_some_and(|it| it.query.contains(&reverse)));
    assert_eq!(world.changes(), ["ReprotectDiskReplicaGroup", "StartDiskReplicaGroup"]);
    world.event("db", "CancelCompleted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failover_is_cancelled_before_disks_open() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    // It stays stopped before the synchronization.
    world.hold_up(json!({})).await;
    world.go_to("Source", "Planned").await;
    let cancelled = |it: &DiskReplicaGroupStatus| history(it).first().is_some_and(|it| it.2 == Phase::Cancelled);
    world.status("db", "it is given up", cancelled).await;
    world.cloud.clear_faults();
    let status = world.protected().await;
    world.assert_one(&status, Site::Source, NAMES);
    assert!(!world.changes().iter().any(|it| it == "FailoverDiskReplicaGroup"));
    world.event("db", "OperationCancelled").await;
    assert_eq!(status.request.map(|it| it.phase), Some(RequestPhase::Succeeded));
}
