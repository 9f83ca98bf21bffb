mod checkpoints;
mod consumers;
mod lists;
mod messages;

use super::*;

const REGION: &str = "cn-hangzhou";
const T0: i64 = 1_740_724_080_000;

fn aliyun(id: &str, role: &str) -> Instance {
    Instance {
        instance_type: Some("ALIYUN_ROCKETMQ".to_owned()),
        region_id: Some(REGION.to_owned()),
        instance_id: Some(id.to_owned()),
        instance_role: Some(role.to_owned()),
        ..Instance::default()
    }
}

fn external() -> Instance {
    let text = |text: &str| Some(text.to_owned());
    Instance {
        instance_type: text("EXTERNAL_ROCKETMQ"),
        instance_role: text("Passive"),
        endpoint_url: text("10.0.0.1:9876"),
        network_type: text("TCP_VPC"),
        vpc_id: text("vpc-1"),
        v_switch_id: text("vsw-1|vsw-2"),
        security_group_id: text("sg-1"),
        consumer_group_id: text("GID_DR"),
        auth_type: text("ACL_AUTH"),
        username: text("user"),
        password: text("word"),
        ..Instance::default()
    }
}

fn plan_of(instances: Vec<Instance>, plan_type: &str) -> PlanInput {
    PlanInput {
        plan_name: Some("orders".to_owned()),
        plan_desc: Some("Orders [mark]".to_owned()),
        plan_type: Some(plan_type.to_owned()),
        instances: Some(instances),
        auto_sync_checkpoint: Some(true),
        sync_checkpoint_enabled: Some(true),
    }
}

fn one_way() -> PlanInput {
    plan_of(vec![aliyun("rmq-a", "ACTIVE"), aliyun("rmq-b", "PASSIVE")], "ACTIVE_PASSIVE")
}

fn topics(first: (&str, &str), second: (&str, &str)) -> ItemInput {
    let topic = |(instance, topic): (&str, &str)| Topic {
        instance_id: Some(instance.to_owned()),
        topic_name: Some(topic.to_owned()),
        ..Topic::default()
    };
    ItemInput { topics: Some(vec![topic(first), topic(second)]) }
}

fn orders() -> ItemInput {
    topics(("rmq-a", "orders"), ("rmq-b", "orders-copy"))
}

/// A cloud with a one-way plan and one item that was added at T0; changes take 100 ms.
fn cloud() -> (Model, i64, (i64, i64)) {
    let mut model = Model::new(Rules { delay_ms: 100, ..Rules::default() });
    let plan = model.create_plan(REGION, one_way(), T0).unwrap();
    let item = model.add_item(REGION, plan, orders(), T0).unwrap();
    (model, plan, (plan, item))
}

fn status(model: &mut Model, ids: (i64, i64), now: i64) -> ItemStatus {
    model.get_item(REGION, ids, now).unwrap().item_status
}

fn code<T: std::fmt::Debug>(result: Result<T, Failure>) -> String {
    result.unwrap_err().code
}

#[test]
fn first_ids_match_documentation() {
    let (_, _, ids) = cloud();
    assert_eq!(ids, (1_300_000_016, 100_070_284));
}

#[test]
fn create_names_missing_field() {
    let with = |change: fn(&mut PlanInput)| {
        let mut input = plan_of(vec![aliyun("rmq-a", "ACTIVE"), external()], "ACTIVE_PASSIVE");
        change(&mut input);
        input
    };
    fn far(input: &mut PlanInput) -> &mut Instance {
        &mut input.instances.as_mut().unwrap()[1]
    }
    fn near(input: &mut PlanInput) -> &mut Instance {
        &mut input.instances.as_mut().unwrap()[0]
    }
    type Change = fn(&mut PlanInput);
    let table: [(Change, &str); 22] = [
        (|i| i.plan_name = None, "MissingplanName"),
        (|i| i.plan_name = Some(String::new()), "MissingplanName"),
        (|i| i.plan_type = None, "MissingplanType"),
        (|i| i.plan_type = Some("BOTH".to_owned()), "InvalidParameter"),
        (|i| i.instances = None, "Missinginstances"),
        (|i| i.instances.as_mut().unwrap().truncate(1), "InvalidParameter"),
        (|i| near(i).instance_type = None, "MissinginstanceType"),
        (|i| near(i).instance_type = Some("KAFKA".to_owned()), "InvalidParameter"),
        (|i| near(i).instance_id = None, "MissinginstanceId"),
        (|i| near(i).region_id = None, "MissingregionId"),
        (|i| near(i).instance_role = None, "MissinginstanceRole"),
        (|i| near(i).instance_role = Some("PASSIVE".to_owned()), "InvalidParameter"),
        (|i| far(i).instance_role = Some("active".to_owned()), "InvalidParameter"),
        (|i| far(i).endpoint_url = None, "MissingendpointUrl"),
        (|i| far(i).network_type = None, "MissingnetworkType"),
        (|i| far(i).vpc_id = None, "MissingvpcId"),
        (|i| far(i).v_switch_id = None, "MissingvSwitchId"),
        (|i| far(i).security_group_id = None, "MissingsecurityGroupId"),
        (|i| far(i).consumer_group_id = None, "MissingconsumerGroupId"),
        (|i| far(i).username = None, "Missingusername"),
        (|i| far(i).password = None, "Missingpassword"),
        (|i| far(i).message_property = Some(MessageProperty::default()), "MissingpropertyKey"),
    ];
    for (index, (change, expected)) in table.into_iter().enumerate() {
        let mut model = Model::new(Rules::default());
        assert_eq!(code(model.create_plan(REGION, with(change), T0)), expected, "row {index}");
        assert_eq!(model.plans().count(), 0, "row {index}");
    }
    assert!(Model::new(Rules::default()).create_plan(REGION, with(|_| ()), T0).is_ok());
}

#[test]
fn create_generates_ids_and_uppercases_roles() {
    let mut model = Model::new(Rules::default());
    let input = plan_of(vec![aliyun("rmq-a", "active"), external()], "ACTIVE_PASSIVE");
    let plan = model.create_plan(REGION, input, T0).unwrap();
    let view = model.get_plan(REGION, plan, T0).unwrap();
    assert!(view.instances[0].consumer_group_id.is_some() && view.instances[1].instance_id.is_some());
    assert_eq!(view.instances[0].instance_role.as_deref(), Some("ACTIVE"));
    assert_eq!(view.instances[1].instance_role.as_deref(), Some("PASSIVE"));
    assert_eq!(view.create_time, "2025-02-28 06:28:00");
}

#[test]
fn password_echo_follows_rule() {
    for (echo, expected) in
        [(PasswordEcho::Masked, Some("******")), (PasswordEcho::Clear, Some("word")), (PasswordEcho::Omitted, None)]
    {
        let mut model = Model::new(Rules { password_echo: echo, ..Rules::default() });
        let input = plan_of(vec![aliyun("rmq-a", "ACTIVE"), external()], "ACTIVE_PASSIVE");
        let plan = model.create_plan(REGION, input, T0).unwrap();
        assert_eq!(model.get_plan(REGION, plan, T0).unwrap().instances[1].password.as_deref(), expected);
        assert_eq!(model.inspect(T0)[0].instances[1].password.as_deref(), Some("word"));
    }
}

#[test]
fn unknown_instance_or_topic_is_refused() {
    let (mut model, plan, ids) = cloud();
    model.rules.instances = Some(["rmq-a".to_owned()].into());
    model.rules.topics = Some(["orders".to_owned()].into());
    assert_eq!(code(model.create_plan(REGION, one_way(), T0)), "Instance.NotFound");
    assert_eq!(code(model.add_item(REGION, plan, orders(), T0)), "Topic.NotFound");
    assert_eq!(code(model.update_item(REGION, ids, orders(), T0 + 100)), "Topic.NotFound");
}

#[test]
fn update_changes_only_given_fields() {
    let mut model = Model::new(Rules::default());
    let input = plan_of(vec![aliyun("rmq-a", "ACTIVE"), external()], "ACTIVE_PASSIVE");
    let plan = model.create_plan(REGION, input, T0).unwrap();
    let input = PlanInput { plan_desc: Some(String::new()), auto_sync_checkpoint: Some(false), ..PlanInput::default() };
    model.update_plan(REGION, plan, input, T0 + 5000).unwrap();
    let view = model.get_plan(REGION, plan, T0 + 5000).unwrap();
    assert_eq!((view.plan_name.as_str(), view.plan_desc.as_deref()), ("orders", Some("")));
    assert!(!view.auto_sync_checkpoint && view.sync_checkpoint_enabled);
    assert_eq!(view.update_time, "2025-02-28 06:28:05");

    let property = MessageProperty { property_key: "site".to_owned(), property_value: "hz".to_owned() };
    let near = Instance { message_property: Some(property.clone()), ..aliyun("rmq-a", "ACTIVE") };
    let far = Instance { password: None, username: Some("other".to_owned()), ..external() };
    let input = PlanInput { instances: Some(vec![near, far]), ..PlanInput::default() };
    model.update_plan(REGION, plan, input, T0).unwrap();
    let view = model.inspect(T0).remove(0);
    assert_eq!(view.instances[0].message_property, Some(property));
    assert_eq!(view.instances[1].username.as_deref(), Some("other"));
    assert_eq!(view.instances[1].password.as_deref(), Some("word"), "a password that is not given stays");
}

#[test]
fn update_of_immutable_field_changes_nothing() {
    let table: [fn(&mut Vec<Instance>); 6] = [
        |i| i[0].region_id = Some("cn-shanghai".to_owned()),
        |i| i[0].instance_id = Some("rmq-c".to_owned()),
        |i| i[1].endpoint_url = Some("10.0.0.2:9876".to_owned()),
        |i| i[1].vpc_id = Some("vpc-2".to_owned()),
        |i| (i[0].instance_role, i[1].instance_role) = (Some("PASSIVE".to_owned()), Some("ACTIVE".to_owned())),
        |i| i[1] = aliyun("rmq-b", "PASSIVE"),
    ];
    for (index, change) in table.into_iter().enumerate() {
        let mut model = Model::new(Rules::default());
        let mut instances = vec![aliyun("rmq-a", "ACTIVE"), external()];
        let plan = model.create_plan(REGION, plan_of(instances.clone(), "ACTIVE_PASSIVE"), T0).unwrap();
        let before = model.inspect(T0);
        change(&mut instances);
        let plan_name = Some("renamed".to_owned());
        let input = PlanInput { plan_name, instances: Some(instances), ..PlanInput::default() };
        let failure = model.update_plan(REGION, plan, input, T0).unwrap_err();
        assert_eq!(
            (failure.status, failure.code.as_str()),
            (400, "DisasterRecoveryPlan.InstancesImmutable"),
            "{index}"
        );
        assert_eq!(model.inspect(T0), before, "row {index}");
        let input = PlanInput { plan_type: Some("ACTIVE_ACTIVE".to_owned()), ..PlanInput::default() };
        assert_eq!(code(model.update_plan(REGION, plan, input, T0)), "DisasterRecoveryPlan.InstancesImmutable");
    }
}

#[test]
fn plan_is_visible_only_in_creating_region() {
    let (mut model, plan, ids) = cloud();
    let other = "cn-shanghai";
    assert_eq!(code(model.get_plan(other, plan, T0)), "DisasterRecoveryPlan.NotFound");
    assert_eq!(code(model.get_item(other, ids, T0)), "DisasterRecoveryPlan.NotFound");
    assert_eq!(code(model.delete_plan(other, plan, T0)), "DisasterRecoveryPlan.NotFound");
    let paging = Paging::of_plans_or_items(None, None).unwrap();
    assert_eq!(model.list_plans(other, &PlanFilter::default(), &paging, T0).total_count, 0);
}

#[test]
fn item_transitions_set_plan_status() {
    let (mut model, plan, ids) = cloud();
    let plan_status = |model: &mut Model, now| model.get_plan(REGION, plan, now).unwrap().plan_status;
    assert_eq!(status(&mut model, ids, T0 + 99), ItemStatus::Creating);
    assert_eq!(plan_status(&mut model, T0 + 99), PlanStatus::Created);
    assert_eq!(status(&mut model, ids, T0 + 100), ItemStatus::Running);
    assert_eq!(plan_status(&mut model, T0 + 100), PlanStatus::Running);
    model.update_item(REGION, ids, orders(), T0 + 200).unwrap();
    assert_eq!(status(&mut model, ids, T0 + 299), ItemStatus::Changing);
    assert_eq!(status(&mut model, ids, T0 + 300), ItemStatus::Running);
    model.stop_item(REGION, ids, T0 + 400).unwrap();
    assert_eq!(status(&mut model, ids, T0 + 400), ItemStatus::Changing);
    assert_eq!(status(&mut model, ids, T0 + 500), ItemStatus::ManualStopped);
    assert_eq!(plan_status(&mut model, T0 + 500), PlanStatus::Created);
    model.update_item(REGION, ids, orders(), T0 + 600).unwrap();
    assert_eq!(status(&mut model, ids, T0 + 700), ItemStatus::ManualStopped);
    model.start_item(REGION, ids, T0 + 700).unwrap();
    assert_eq!(status(&mut model, ids, T0 + 800), ItemStatus::Running);
}

#[test]
fn item_status_decides_allowed_operations() {
    use ItemStatus::{Changing, Creating, ManualStopped, OverdueStopped, Running};
    // Start, Stop, Update and Delete of the item; Update and Delete of the plan.
    for (item_status, allowed) in [
        (Creating, [false, false, false, false, false, false]),
        (Changing, [false, false, false, false, false, false]),
        (Running, [false, true, true, false, false, false]),
        (ManualStopped, [true, false, true, true, true, true]),
        (OverdueStopped, [false, false, true, true, true, true]),
    ] {
        let (mut model, plan, ids) = cloud();
        model.set_item_status(plan, ids.1, item_status, T0).unwrap();
        let outcomes = [
            model.clone().start_item(REGION, ids, T0),
            model.clone().stop_item(REGION, ids, T0),
            model.clone().update_item(REGION, ids, orders(), T0),
            model.clone().delete_item(REGION, ids, T0),
            model.clone().update_plan(REGION, plan, PlanInput::default(), T0),
            model.clone().delete_plan(REGION, plan, T0),
        ];
        assert_eq!(outcomes.clone().map(|outcome| outcome.is_ok()), allowed, "{item_status:?}");
        for (index, failure) in outcomes.into_iter().enumerate().filter_map(|(i, o)| Some((i, o.err()?))) {
            let expected =
                if index < 4 { "DisasterRecoveryItemStatus.Error" } else { "DisasterRecoveryPlanStatus.Error" };
            assert_eq!((failure.status, failure.code.as_str()), (400, expected), "{item_status:?} {index}");
        }
    }
    let (mut model, plan, _) = cloud();
    model.rules.update_while_running = true;
    assert!(model.update_plan(REGION, plan, PlanInput::default(), T0 + 100).is_ok());
}

#[test]
fn item_needs_one_topic_per_instance() {
    let (mut model, plan, _) = cloud();
    for (input, expected) in [
        (ItemInput::default(), "Missingtopics"),
        (ItemInput { topics: Some(orders().topics.unwrap()[..1].to_vec()) }, "InvalidParameter"),
        (topics(("rmq-a", "orders"), ("rmq-a", "orders")), "InvalidParameter"),
        (topics(("rmq-a", "orders"), ("rmq-c", "orders")), "Instance.NotFound"),
        (topics(("rmq-a", ""), ("rmq-b", "orders")), "MissingtopicName"),
        (topics(("rmq-a", "orders"), ("", "orders")), "MissinginstanceId"),
    ] {
        assert_eq!(code(model.add_item(REGION, plan, input, T0)), expected);
    }
    let doubled = model.add_item(REGION, plan, orders(), T0).unwrap();
    let view = model.get_item(REGION, (plan, doubled), T0).unwrap();
    assert_eq!(view.topics[0].region_id.as_deref(), Some(REGION), "omitted fields are added");
}

#[test]
fn created_resource_is_visible_after_delay() {
    let mut model = Model::new(Rules { visibility_delay_ms: 1000, ..Rules::default() });
    let plan = model.create_plan(REGION, one_way(), T0).unwrap();
    let item = model.add_item(REGION, plan, orders(), T0 + 500).unwrap();
    let paging = Paging::of_plans_or_items(None, None).unwrap();
    assert_eq!(code(model.get_plan(REGION, plan, T0 + 999)), "DisasterRecoveryPlan.NotFound");
    assert_eq!(model.list_plans(REGION, &PlanFilter::default(), &paging, T0 + 999).total_count, 0);
    assert!(model.get_plan(REGION, plan, T0 + 1000).is_ok());
    assert_eq!(code(model.get_item(REGION, (plan, item), T0 + 1000)), "DisasterRecoveryItem.NotFound");
    assert_eq!(model.list_items(REGION, plan, (None, None), &paging, T0 + 1000).unwrap().total_count, 0);
    assert_eq!(model.list_items(REGION, plan, (None, None), &paging, T0 + 1500).unwrap().total_count, 1);
    assert_eq!(model.inspect(T0).len(), 1, "assertions include it at once");
}

#[test]
fn console_edit_changes_any_field() {
    let (mut model, plan, ids) = cloud();
    let patch = serde_json::json!({
        "planName": "renamed", "planDesc": null, "autoSyncCheckpoint": false,
        "instances": [{"instanceId": "rmq-b", "messageProperty": {"propertyKey": "k", "propertyValue": "v"}}],
    });
    model.edit_plan(plan, &patch, T0 + 100).unwrap();
    let view = model.inspect(T0 + 100).remove(0);
    assert_eq!((view.plan_name.as_str(), view.plan_desc, view.auto_sync_checkpoint), ("renamed", None, false));
    assert!(view.instances[0].message_property.is_none() && view.instances[1].message_property.is_some());
    for wrong in [
        serde_json::json!([]),
        serde_json::json!({"planNmae": "x"}),
        serde_json::json!({"planName": null}),
        serde_json::json!({"instances": [{"instanceId": "rmq-c"}]}),
    ] {
        assert_eq!(code(model.edit_plan(plan, &wrong, T0)), "InvalidParameter", "{wrong}");
    }
    model.set_item_topics(plan, ids.1, topics(("rmq-a", "x"), ("rmq-b", "y")), T0 + 100).unwrap();
    let checkpoint = model.inspect(T0 + 100).remove(0).items.remove(0).checkpoints.remove(0);
    assert_eq!(checkpoint.source_progress.topic_name, "x");
    model.remove_item(plan, ids.1).unwrap();
    assert_eq!(code(model.get_item(REGION, ids, T0)), "DisasterRecoveryItem.NotFound");
    model.remove_plan(plan).unwrap();
    assert_eq!(code(model.remove_plan(plan)), "DisasterRecoveryPlan.NotFound");
    let plan = PlanInput { plan_name: Some("theirs".to_owned()), ..PlanInput::default() };
    let foreign = ForeignPlan { plan, ..ForeignPlan::default() };
    assert!(model.add_foreign_plan(REGION, foreign, T0).is_ok());
}

#[test]
fn clock_set_back_does_not_stop_changes() {
    let (mut model, _, ids) = cloud();
    model.advance(T0 + 3_600_000);
    model.stop_item(REGION, ids, T0).unwrap();
    assert_eq!(status(&mut model, ids, T0 + 99), ItemStatus::Changing);
    assert_eq!(status(&mut model, ids, T0 + 100), ItemStatus::ManualStopped);
}
