use super::*;

/// The checkpoint of a consumer group with the given source instance.
fn checkpoint(model: &mut Model, source: &str, group: &str, now: i64) -> CheckpointView {
    let items = model.inspect(now).remove(0).items;
    let mut all = items.into_iter().flat_map(|item| item.checkpoints);
    let wanted =
        |c: &CheckpointView| c.source_progress.instance_id == source && c.source_progress.consumer_group_id == group;
    all.find(wanted).unwrap()
}

fn times(view: &CheckpointView) -> (Option<i64>, Option<i64>, Option<i64>) {
    let time = |progress: &Progress| progress.progress_data.map(|data| data.consume_timestamp - T0);
    (view.last_sync_time.map(|at| at - T0), time(&view.source_progress), time(&view.target_progress))
}

#[test]
fn checkpoints_synchronise_every_ten_seconds_of_item_runtime() {
    let (mut model, _, _) = cloud();
    model.rules.idle_groups = ["GID_BILLING".to_owned()].into();
    let mut observed = |at: i64, group: &str| times(&checkpoint(&mut model, "rmq-a", group, T0 + at));
    assert_eq!(observed(5000, "GID_ORDERS"), (None, Some(5000), None));
    let idle = observed(5000, "GID_BILLING").1;
    assert_eq!(observed(10_099, "GID_ORDERS"), (None, Some(10_099), None));
    assert_eq!(observed(10_100, "GID_ORDERS"), (Some(10_100), Some(10_100), Some(10_100)));
    assert_eq!(observed(37_000, "GID_ORDERS"), (Some(30_100), Some(37_000), Some(30_100)));
    assert_eq!(observed(37_000, "GID_BILLING"), (Some(30_100), idle, idle));
}

#[test]
fn advance_step_size_does_not_change_result() {
    let (model, _, _) = cloud();
    let (mut once, mut often) = (model.clone(), model);
    for step in 0..500 {
        often.advance(T0 + step * 137);
    }
    assert_eq!(once.inspect(T0 + 70_000), often.inspect(T0 + 70_000));
}

#[test]
fn skipped_automatic_synchronisation_still_allows_manual() {
    type Change = fn(&mut Model, i64);
    // The last entry of a row is the progress at the target after a manual synchronisation.
    let table: [(&str, Change, i64); 5] = [
        ("a group that is offline at the destination", |m, _| m.set_group_online("GID_ORDERS", false), 60_000),
        ("frozen", |m, _| m.freeze_sync(true), 60_000),
        ("not automatic", |m, plan| m.plan_mut(plan).unwrap().auto_sync_checkpoint = false, 60_000),
        ("both ways", |m, plan| m.plan_mut(plan).unwrap().plan_type = PlanType::ActiveActive, 60_000),
        (
            "stopped",
            |m, plan| {
                let item = *m.plan(plan).unwrap().items.keys().next().unwrap();
                m.set_item_status(plan, item, ItemStatus::ManualStopped, T0 + 100).unwrap();
            },
            100,
        ),
    ];
    for (name, change, synced) in table {
        let (mut model, plan, ids) = cloud();
        model.advance(T0 + 100);
        change(&mut model, plan);
        let view = checkpoint(&mut model, "rmq-a", "GID_ORDERS", T0 + 60_000);
        assert_eq!(times(&view), (None, Some(60_000), None), "{name}");
        model.sync_checkpoint(REGION, ids, view.checkpoint_id, T0 + 60_000).unwrap();
        let view = checkpoint(&mut model, "rmq-a", "GID_ORDERS", T0 + 61_000);
        assert_eq!(times(&view), (Some(60_000), Some(61_000), Some(synced)), "{name}");
    }
}

#[test]
fn disabled_synchronisation_has_no_checkpoints() {
    let (mut model, plan, ids) = cloud();
    let view = checkpoint(&mut model, "rmq-a", "GID_ORDERS", T0 + 100);
    let input = PlanInput { sync_checkpoint_enabled: Some(false), ..PlanInput::default() };
    model.rules.update_while_running = true;
    model.update_plan(REGION, plan, input, T0 + 200).unwrap();
    let (paging, instance) = (Paging::of_checkpoints(None, Some(1)).unwrap(), "rmq-a".to_owned());
    let page = model.list_checkpoints(REGION, ids, (Some(&instance), None), &paging, T0 + 60_000).unwrap();
    assert_eq!(page.total_count, 0);
    let found = code(model.sync_checkpoint(REGION, ids, view.checkpoint_id, T0));
    assert_eq!(found, "DisasterRecoveryCheckpoint.NotFound");
    assert_eq!(checkpoint(&mut model, "rmq-a", "GID_ORDERS", T0 + 60_000).last_sync_time, None);
}

#[test]
fn two_way_plan_has_checkpoints_in_both_directions() {
    let mut model = Model::new(Rules { never_synced_as_zero: true, ..Rules::default() });
    let instances = vec![aliyun("rmq-a", "ACTIVE"), aliyun("rmq-b", "ACTIVE")];
    let plan = model.create_plan(REGION, plan_of(instances, "ACTIVE_ACTIVE"), T0).unwrap();
    model.add_item(REGION, plan, orders(), T0).unwrap();
    for source in ["rmq-a", "rmq-b"] {
        assert_eq!(checkpoint(&mut model, source, "GID_ORDERS", T0).last_sync_time, Some(0));
    }
}

#[test]
fn set_checkpoint_stays_until_manual_synchronisation() {
    let (mut model, _, ids) = cloud();
    let id = checkpoint(&mut model, "rmq-a", "GID_ORDERS", T0 + 100).checkpoint_id;
    let set =
        CheckpointTimes { last_sync_time: Some(T0 - 1), source_time: Some(T0 - 1000), target_time: Some(T0 - 61_000) };
    model.set_checkpoint(id, set).unwrap();
    let view = checkpoint(&mut model, "rmq-a", "GID_ORDERS", T0 + 60_000);
    assert_eq!(times(&view), (Some(-1), Some(-1000), Some(-61_000)));
    model.sync_checkpoint(REGION, ids, id, T0 + 60_000).unwrap();
    let view = checkpoint(&mut model, "rmq-a", "GID_ORDERS", T0 + 60_000);
    assert_eq!(times(&view).2, Some(-1000));
}
