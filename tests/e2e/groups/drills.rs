//! Drills: begun on request and by schedule, kept, and always cleared.

use disaster_recovery_operator::api::DRILL_ANNOTATION;
use disaster_recovery_operator::api::disk_replica_group::{DiskReplicaGroupStatus, DrillResult, DrillRun, Site};
use disaster_recovery_operator::simulator::FaultKind;
use disaster_recovery_operator::simulator::model::ebs::{DiskRules, DrillEdit, DrillStatus};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{Groups, fault, quick, refusal, spec, spec_with};
use test_support::eventually;
use test_support::stage::DEADLINE;
use test_support::stage::{has, message};

/// A group with drills on New Year's Day, which are kept so long.
fn drilled(keep_for: &str) -> Value {
    spec_with(json!({ "drill": { "schedule": "0 0 1 1 *", "keepFor": keep_for } }))
}

fn current(status: &DiskReplicaGroupStatus) -> Option<&DrillRun> {
    status.drills.as_ref()?.current.as_ref()
}

fn last(status: &DiskReplicaGroupStatus) -> Option<&DrillRun> {
    status.drills.as_ref()?.last.as_ref()
}

/// Waits until clones are there and known.
async fn executed(world: &Groups) -> DrillRun {
    let there = |it: &DiskReplicaGroupStatus| current(it).is_some_and(|it| it.ready_at.is_some());
    let status = world.status("db", "the clones are there", there).await;
    current(&status).expect("a drill").clone()
}

/// Waits until the drill has ended.
async fn ended(world: &Groups) -> DrillRun {
    let over = |it: &DiskReplicaGroupStatus| current(it).is_none() && last(it).is_some();
    let status = world.status("db", "the drill has ended", over).await;
    assert_eq!(world.disks().drills, []);
    last(&status).expect("a drill").clone()
}

fn count(world: &Groups, action: &str) -> usize {
    world.changes().iter().filter(|it| *it == action).count()
}

/// What `edit` does to the one drill there is.
fn edit(world: &Groups, edit: DrillEdit) {
    world.cloud.with_disks(|disks, _| {
        let id = disks.inspect().drills[0].drill_id.clone();
        disks.edit_drill(&id, &edit).expect("it is edited");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn requested_drill_is_kept_and_then_cleared() {
    let world = Groups::quick().await;
    let operator = world.operator().await;
    world.create_protected(drilled("2s")).await;
    world.cloud.clear_requests();
    world.annotate("db", DRILL_ANNOTATION, "2026-11-22T12:00:00Z").await;
    let begun = executed(&world).await;
    assert_eq!((begun.site, begun.result), (Site::Destination, None), "{begun:#?}");
    let id = begun.drill_id.clone().expect("its ID");
    let active = format!("disk_group_drill_active{{namespace=\"{}\",name=\"db\"}}", world.namespace);
    let shows = |value: &str| operator.metrics.text().contains(&format!("{active} {value}\n"));
    eventually(DEADLINE, "the metrics show the drill", async || shows("1").then_some(())).await;
    let run = ended(&world).await;
    assert_eq!((run.drill_id.as_deref(), run.result), (Some(id.as_str()), Some(DrillResult::Succeeded)), "{run:#?}");
    let kept = run.cleared_at.expect("cleared").duration_since(run.started_at);
    assert!(kept.as_secs() >= 2 && run.recovery_point.is_some() && run.duration_seconds.is_some(), "{run:#?}");
    world.event("db", "DrillStarted").await;
    assert!(world.event("db", "DrillSucceeded").await.contains(&id));
    eventually(DEADLINE, "the metrics show its end", async || shows("0").then_some(())).await;
    for name in ["last_success", "last_duration_seconds", "last_completion_timestamp_seconds"] {
        let series = format!("disk_group_drill_{name}{{namespace=\"{}\",name=\"db\"}}", world.namespace);
        assert!(operator.metrics.text().contains(&series), "{name}");
    }
    let status = world.protected().await;
    assert_eq!(status.last_handled_drill_at.as_deref(), Some("2026-11-22T12:00:00Z"));
    world.polls(3).await;
    assert_eq!(world.changes(), ["StartReplicaGroupDrill", "ClearReplicaGroupDrill"], "once");
    world.delete("db").await;
    world.gone("db").await;
    let left = || operator.metrics.text().contains(&format!("namespace=\"{}\",name=\"db\"", world.namespace));
    eventually(DEADLINE, "its series are gone", async || (!left()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_drill_runs_once() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(drilled("1s")).await;
    world.polls(2).await;
    assert_eq!(count(&world, "StartReplicaGroupDrill"), 0, "none is due yet");
    let back = Patch::Merge(json!({ "status": { "drills": { "lastScheduleTime": "2020-06-01T00:00:00Z" } } }));
    world.api().patch_status("db", &PatchParams::default(), &back).await.expect("the status is patched");
    let run = ended(&world).await;
    assert_eq!(run.result, Some(DrillResult::Succeeded), "{run:#?}");
    world.polls(3).await;
    assert_eq!(count(&world, "StartReplicaGroupDrill"), 1);
    let since = world.get("db").await.and_then(|it| it.status?.drills?.last_schedule_time).expect("a time");
    assert!(since.to_string().ends_with("-01-01T00:00:00Z"), "{since}");
}

#[tokio::test(flavor = "multi_thread")]
async fn drills_run_at_the_site_of_copies() {
    let rules = DiskRules { drills_in_both_regions: true, ..quick() };
    for rules in [quick(), rules] {
        let world = Groups::with(rules).await;
        let _operator = world.operator().await;
        world.create_protected(drilled("1s")).await;
        world.force(Site::Destination).await;
        world.protected().await;
        world.annotate("db", DRILL_ANNOTATION, "1").await;
        let run = ended(&world).await;
        assert_eq!((run.site, run.result), (Site::Source, Some(DrillResult::Succeeded)), "{run:#?}");
        let starts: Vec<_> =
            world.cloud.requests().into_iter().filter(|it| it.action == "StartReplicaGroupDrill").collect();
        assert_eq!(starts.last().and_then(|it| it.region.as_deref()), Some("cn-hangzhou"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failover_does_not_wait_for_drill() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(drilled("1h")).await;
    world.annotate("db", DRILL_ANNOTATION, "1").await;
    executed(&world).await;
    world.go_to("Destination", "Planned").await;
    let status = world.protected().await;
    world.assert_one(&status, Site::Destination, &["data", "logs"]);
    assert!(current(&status).is_some(), "{status:#?}");
    world.patch("db", json!({ "spec": { "drill": null } })).await;
    let run = ended(&world).await;
    assert_eq!((run.site, run.result), (Site::Destination, Some(DrillResult::Succeeded)), "{run:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn uncleared_clones_are_reported_and_retried() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(drilled("1h")).await;
    world.annotate("db", DRILL_ANNOTATION, "1").await;
    executed(&world).await;
    // They cannot be cleared as long as this holds.
    let code = "InvalidParameter".into();
    let kind = FaultKind::Error { status: 400, code, message: "A disk is attached.".into(), pascal_case: true };
    edit(&world, DrillEdit { fail_next: Some(true), ..DrillEdit::default() });
    world.cloud.add_fault(super::Fault { after: 1, ..fault("ClearReplicaGroupDrill", kind, None) });
    world.patch("db", json!({ "spec": { "drill": { "keepFor": "1s" } } })).await;
    let reported = |it: &DiskReplicaGroupStatus| {
        has(it, "DrillNotCleared", "True", "ClearOverdue")
            && message(it, "DrillNotCleared").contains("A disk is attached")
    };
    let status = world.status("db", "the clones are reported", reported).await;
    assert!(message(&status, "DrillNotCleared").contains("billed"), "{status:#?}");
    let status = world.protected().await;
    assert!(current(&status).is_some_and(|it| it.drill_status.as_deref() == Some("clear_failed")), "{status:#?}");
    world.event("db", "DrillNotCleared").await;
    world.cloud.clear_faults();
    let run = ended(&world).await;
    assert_eq!(run.result, Some(DrillResult::Succeeded), "{run:#?}");
    let status = world.protected().await;
    assert!(!has(&status, "DrillNotCleared", "True", "ClearOverdue"), "{status:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_drill_is_cleared() {
    let world = Groups::with(DiskRules { delay_ms: 200, ..quick() }).await;
    let _operator = world.operator().await;
    world.create_protected(drilled("1h")).await;
    world.annotate("db", DRILL_ANNOTATION, "1").await;
    eventually(DEADLINE, "a drill", async || (!world.disks().drills.is_empty()).then_some(())).await;
    edit(&world, DrillEdit { status: Some(DrillStatus::ExecuteFailed), ..DrillEdit::default() });
    let run = ended(&world).await;
    assert_eq!(run.result, Some(DrillResult::Failed), "{run:#?}");
    world.event("db", "DrillFailed").await;
    world.polls(2).await;
    assert_eq!(count(&world, "StartReplicaGroupDrill"), 1, "it is not tried again by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_drill_is_reported_and_leaves_nothing() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(drilled("1s")).await;
    world.cloud.add_fault(fault("StartReplicaGroupDrill", refusal("OperationDenied.QuotaExceed"), Some(1)));
    world.annotate("db", DRILL_ANNOTATION, "1").await;
    let run = ended(&world).await;
    assert!(run.result == Some(DrillResult::Failed) && run.message.contains("QuotaExceed"), "{run:#?}");
    let status = world.protected().await;
    assert!(has(&status, "Ready", "True", "Available"), "{status:#?}");
    world.annotate("db", DRILL_ANNOTATION, "2").await;
    let succeeded = |it: &DiskReplicaGroupStatus| last(it).is_some_and(|it| it.result == Some(DrillResult::Succeeded));
    world.status("db", "the next one succeeds", succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drill_request_without_spec_is_acknowledged() {
    let world = Groups::quick().await;
    let _operator = world.operator().await;
    world.create_protected(spec()).await;
    world.annotate("db", DRILL_ANNOTATION, "1").await;
    world.event("db", "DrillNotStarted").await;
    world.status("db", "it is handled", |it| it.last_handled_drill_at.as_deref() == Some("1")).await;
    assert_eq!(count(&world, "StartReplicaGroupDrill"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_clears_drill_under_every_policy() {
    for policy in ["Delete", "Retain"] {
        let world = Groups::quick().await;
        let _operator = world.operator().await;
        let mut wanted = drilled("1h");
        wanted["deletionPolicy"] = json!(policy);
        world.create_protected(wanted).await;
        world.annotate("db", DRILL_ANNOTATION, "1").await;
        executed(&world).await;
        world.delete("db").await;
        world.gone("db").await;
        let left = world.disks();
        assert_eq!(left.drills, [], "{policy}");
        assert_eq!(left.groups.len(), usize::from(policy == "Retain"), "{policy}: {left:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_operator_clears_the_drill() {
    let world = Groups::quick().await;
    let operator = world.operator().await;
    world.create_protected(drilled("1s")).await;
    world.annotate("db", DRILL_ANNOTATION, "1").await;
    eventually(DEADLINE, "a drill", async || (!world.disks().drills.is_empty()).then_some(())).await;
    drop(operator);
    let _operator = world.operator().await;
    let run = ended(&world).await;
    assert_eq!(run.result, Some(DrillResult::Succeeded), "{run:#?}");
    assert_eq!(count(&world, "StartReplicaGroupDrill"), 1);
}
