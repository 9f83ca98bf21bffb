//! Fields of the plan: drift, and changes of the spec that can or cannot be carried out.

use disaster_recovery_operator::api::condition::synced;
use disaster_recovery_operator::controller::plan::decide::{Step, Verdict};
use disaster_recovery_operator::simulator::model::ItemStatus;
use serde_json::{Value, json};

use super::pauses::updates_while_running;
use test_support::driver::plan::*;
use test_support::table::Table;

#[test]
fn order_of_instances_is_no_drift() {
    let aliyun_only = json!([aliyun("hangzhou", "rmq-a", "ACTIVE"), aliyun("idc", "rmq-b", "PASSIVE")]);
    let mixed = json!([aliyun("hangzhou", "rmq-a", "ACTIVE"), external()]);
    for instances in [aliyun_only, mixed, two_clusters("10.0.0.9:9876")] {
        let mut world = World::in_sync(spec_with(json!({ "instances": instances })), updates_while_running());
        let id = world.plan_id();
        world.model().plan_mut(id).unwrap().instances.swap(0, 1);
        let passed = world.pass();
        assert_eq!((passed.names(), passed.decision.verdict), (vec![], Verdict::InSync), "{instances}");
        world.edit(json!({"planDesc": "Other"}));
        assert_eq!(world.converge(10).decision.verdict, Verdict::InSync);
    }
}

/// Two clusters of the user's own, the first one at that address.
fn two_clusters(address: &str) -> Value {
    let mut first = external();
    first["name"] = json!("hangzhou");
    first["instanceRole"] = json!("ACTIVE");
    first["endpointUrl"] = json!(address);
    first["vpcId"] = json!("vpc-9");
    first["authType"] = json!("NO_AUTH");
    first.as_object_mut().unwrap().remove("credentialsSecretRef");
    json!([first, external()])
}

#[test]
fn same_address_in_two_vpcs_is_no_drift() {
    let mut world =
        World::in_sync(spec_with(json!({ "instances": two_clusters("10.0.0.1:9876") })), updates_while_running());
    let id = world.plan_id();
    world.model().plan_mut(id).unwrap().instances.swap(0, 1);
    let passed = world.pass();
    assert_eq!((passed.names(), passed.decision.verdict), (vec![], Verdict::InSync));
}

/// The first instance of the spec.
fn hangzhou() -> Value {
    serde_json::to_value(&base_spec().instances[0]).unwrap()
}

#[test]
fn vswitch_order_and_spelling_are_no_drift() {
    let mut world = World::in_sync(spec_with(json!({})), updates_while_running());
    let mut idc = external();
    idc["vSwitchIds"] = json!(["vsw-b", "vsw-a"]);
    let id = world.plan_id();
    world.edit(json!({"instances": [hangzhou(), idc]}));
    world.model().plan_mut(id).unwrap().instances[1].instance_role = Some("Passive".into());
    let passed = world.pass();
    assert_eq!((passed.names(), passed.decision.verdict), (vec![], Verdict::InSync));
}

#[test]
fn every_immutable_field_is_refused_by_name() {
    let first = |field: &str, value: Value| {
        let mut it = hangzhou();
        it[field] = value;
        json!({"instances": [it, external()]})
    };
    let second = |field: &str, value: Value| {
        let mut it = external();
        it[field] = value;
        json!({"instances": [hangzhou(), it]})
    };
    let mut roles = json!({"instances": [hangzhou(), external()]});
    roles["instances"][0]["instanceRole"] = json!("PASSIVE");
    roles["instances"][1]["instanceRole"] = json!("ACTIVE");
    let mut kind = json!({"instances": [hangzhou(), aliyun("idc", "rmq-b", "PASSIVE")]});
    kind["instances"][1]["regionId"] = json!("cn-shanghai");
    let table: Vec<(Value, &str)> = vec![
        (json!({"planType": "ACTIVE_ACTIVE"}), "planType"),
        (first("instanceId", json!("rmq-other")), "instances[hangzhou]"),
        (first("regionId", json!("cn-beijing")), "instances[hangzhou].regionId"),
        (roles.clone(), "instances[hangzhou].instanceRole"),
        (roles, "instances[idc].instanceRole"),
        (kind, "instances[idc]"),
        (second("regionId", json!("cn-beijing")), "instances[idc].regionId"),
        (second("endpointUrl", json!("10.0.0.2:9876")), "instances[idc].endpointUrl"),
        (second("networkType", json!("TCP_INTERNET")), "instances[idc].networkType"),
        (second("vpcId", json!("vpc-2")), "instances[idc].vpcId"),
        (second("vSwitchIds", json!(["vsw-a"])), "instances[idc].vSwitchIds"),
        (second("securityGroupId", json!("sg-2")), "instances[idc].securityGroupId"),
        (second("consumerGroupId", json!("GID_OTHER")), "instances[idc].consumerGroupId"),
    ];
    let mut wrong = vec![];
    for (patch, field) in table {
        let mut world = World::in_sync(spec_with(json!({})), updates_while_running());
        let before = world.snapshot(world.plan_id());
        world.edit(patch);
        for _ in 0..2 {
            let passed = world.pass();
            let refused = passed.refusal() == Some(synced::IMMUTABLE_FIELD) && passed.names().is_empty();
            let drifted = passed.decision.drift.iter().any(|it| it.field == field);
            let named = matches!(&passed.decision.verdict, Verdict::Refused { message, .. } if message.contains(field));
            if !(refused && drifted && named) {
                wrong.push(format!("{field}: expected a refusal that names it, found {:?}", passed.decision));
            }
        }
        if world.snapshot(world.plan_id()) != before {
            wrong.push(format!("{field}: expected the same plan, found {:?}", world.our_plan()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn immutable_difference_leaves_all_else_managed() {
    let mut world = World::in_sync(spec_with(json!({})), updates_while_running());
    let id = world.plan_id();
    let mut second = external();
    second["regionId"] = json!("cn-beijing");
    second["messageProperty"] = json!({"propertyKey": "site", "propertyValue": "idc"});
    let both = [mapping("orders", "orders", "Stopped"), mapping("added", "added", "Running")];
    let instances = [hangzhou(), second];
    world.edit(json!({
        "planType": "ACTIVE_ACTIVE", "planDesc": "Other", "instances": instances, "topicMappings": both,
    }));
    assert_eq!(world.converge(20).refusal(), Some(synced::IMMUTABLE_FIELD));
    let plan = world.our_plan().unwrap();
    assert_eq!(plan.plan_desc.as_deref(), Some(format!("Other {MARK}").as_str()));
    assert_eq!(plan.instances[1].message_property.as_ref().unwrap().property_value, "idc");
    assert_eq!(plan.instances[1].region_id.as_deref(), Some("cn-shanghai"), "the request has the cloud's region");
    let statuses: Vec<_> = world.items(id).into_values().collect();
    assert_eq!(statuses, [ItemStatus::ManualStopped, ItemStatus::Running]);
    assert!(world.condition("Protected").starts_with("False/"), "{}", world.message("Protected"));
}

#[test]
fn plan_between_other_instances_keeps_all_items() {
    for policy in ["Keep", "Prune"] {
        let mut world = World::in_sync(spec_with(json!({"itemPolicy": policy})), updates_while_running());
        let before = world.items(world.plan_id());
        let mut second = external();
        second["endpointUrl"] = json!("10.0.0.9:9876");
        world.edit(json!({"instances": [hangzhou(), second]}));
        for _ in 0..40 {
            assert_eq!(world.pass().refusal(), Some(synced::IMMUTABLE_FIELD));
        }
        assert_eq!(world.items(world.plan_id()), before);
        assert_eq!(world.condition("Protected"), "Unknown/Unknown");
    }
}

/// The correction of drift by one reconcile, and the next one.
#[derive(Debug, PartialEq)]
struct Correction {
    steps: Vec<&'static str>,
    drift: Vec<String>,
    /// The number of instances that the update sends: of the whole list, or none.
    instances: Option<usize>,
    sends_type: bool,
    sends_mask: bool,
    next: (Vec<&'static str>, Verdict),
    /// The password in the cloud in the end.
    password: Option<String>,
}

#[test]
fn drifted_mutable_field_leads_to_one_update() {
    let first = |patch: Value| {
        let mut patch = patch;
        patch["instanceId"] = json!("rmq-a");
        json!({"instances": [patch]})
    };
    let second = |world: &World, patch: Value| {
        let mut patch = patch;
        patch["instanceId"] = json!(world.our_plan().unwrap().instances[1].id());
        json!({"instances": [patch]})
    };
    // The field that drifts, the change in the console, and whether the update sends instances.
    type Patch<'a> = Box<dyn Fn(&World) -> Value + 'a>;
    let table: Vec<(&str, Patch<'_>, bool)> = vec![
        ("planName", Box::new(|_| json!({"planName": "renamed"})), false),
        ("planDesc", Box::new(|_| json!({"planDesc": format!("Other {MARK}")})), false),
        ("planDesc", Box::new(|_| json!({"planDesc": "Orders"})), false),
        ("planDesc", Box::new(|_| json!({"planDesc": null})), false),
        ("syncCheckpointEnabled", Box::new(|_| json!({"syncCheckpointEnabled": false})), false),
        ("autoSyncCheckpoint", Box::new(|_| json!({"autoSyncCheckpoint": false})), false),
        (
            "instances[hangzhou].messageProperty",
            Box::new(|_| first(json!({"messageProperty": {"propertyKey": "site", "propertyValue": "sh"}}))),
            true,
        ),
        ("instances[hangzhou].messageProperty", Box::new(|_| first(json!({"messageProperty": null}))), true),
        ("instances[idc].authType", Box::new(|world| second(world, json!({"authType": "NO_AUTH"}))), true),
        ("instances[idc].credentialsSecretRef", Box::new(|world| second(world, json!({"username": "other"}))), true),
    ];
    let mut cells = Table::default();
    for (field, patch, instances) in table {
        let mut world = World::in_sync(spec_with(json!({})), updates_while_running());
        let patch = patch(&world);
        let id = world.plan_id();
        world.model().edit_plan(id, &patch, world.now()).unwrap();
        let passed = world.pass();
        let next = world.pass();
        let sent = passed.decision.steps.iter().find_map(|step| match step {
            Step::UpdatePlan { plan, .. } => Some(plan),
            _ => None,
        });
        let found = Correction {
            steps: passed.names(),
            drift: passed.decision.drift.iter().map(|it| it.field.clone()).collect(),
            instances: sent.and_then(|plan| plan.instances.as_ref()).map(Vec::len),
            sends_type: sent.is_some_and(|plan| plan.plan_type.is_some()),
            sends_mask: sent.is_some_and(|plan| serde_json::to_string(plan).unwrap().contains("***")),
            next: (next.names(), next.decision.verdict),
            password: world.our_plan().unwrap().instances[1].password.clone(),
        };
        let expected = Correction {
            steps: vec!["UpdatePlan"],
            drift: vec![field.to_owned()],
            instances: instances.then_some(2),
            sends_type: false,
            sends_mask: false,
            next: (vec![], Verdict::InSync),
            password: Some(PASSWORD.to_owned()),
        };
        cells.cell(field, &expected, &found);
    }
    cells.check();
}

#[test]
fn changed_spec_leads_to_one_update() {
    let mut open = external();
    open.as_object_mut().unwrap().remove("credentialsSecretRef");
    open["authType"] = json!("NO_AUTH");
    for (patch, instances) in [
        (json!({"planName": "other"}), false),
        (json!({"planDesc": "Other"}), false),
        (json!({"syncCheckpointEnabled": false, "autoSyncCheckpoint": false}), false),
        (json!({"instances": [aliyun("hangzhou", "rmq-a", "ACTIVE"), open]}), true),
    ] {
        let mut world = World::in_sync(spec_with(json!({})), updates_while_running());
        world.edit(patch.clone());
        let passed = world.pass();
        assert_eq!(passed.names(), ["UpdatePlan"], "{patch}");
        let Step::UpdatePlan { plan, .. } = &passed.decision.steps[0] else { panic!() };
        assert_eq!(plan.instances.is_some(), instances, "{patch}");
        let after = world.pass();
        assert_eq!((after.names(), after.decision.verdict), (vec![], Verdict::InSync), "{patch}");
    }
}

#[test]
fn absent_spec_fields_are_left_alone() {
    let spec = spec_with(json!({"planDesc": null, "syncCheckpointEnabled": null, "autoSyncCheckpoint": null}));
    let mut world = World::in_sync(spec, updates_while_running());
    let console = json!({
        "planDesc": format!("theirs {MARK}"), "syncCheckpointEnabled": true, "autoSyncCheckpoint": true,
    });
    let id = world.plan_id();
    world.model().edit_plan(id, &console, world.now()).unwrap();
    let passed = world.pass();
    assert_eq!((passed.names(), passed.decision.verdict), (vec![], Verdict::InSync));
}
