//! The message backlog in `Protected`, in status and in the calls: what is not known has its reason and its message.

use disaster_recovery_operator::api::condition::condition_type::{OFFSETS_COVERED, PROTECTED};
use disaster_recovery_operator::api::plan::Backlog;
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::simulator::model::{Consumption, Production, Rules};
use disaster_recovery_operator::simulator::{Fault, FaultKind};
use serde_json::{Value, json};

use super::situations::{GET_LAG, at_rest, fail, first_item, requests, sample, steady};
use test_support::driver::faults::refusal;
use test_support::driver::plan::*;
use test_support::table::Table;

const UNKNOWN: &str = "Unknown/BacklogUnknown";

fn two_mappings() -> Value {
    json!({"topicMappings": [mapping("a", "a", "Running"), mapping("b", "b", "Running")]})
}

/// The plan's replicator moves like this from now on.
fn replicate(world: &World, to: Consumption) {
    world.simulator.with_model(|model, now| model.set_replication(None, to, now)).unwrap();
}

/// The source of a plan is a cluster of the user's own.
fn from_external() -> Value {
    let mut source = external();
    source["instanceRole"] = json!("ACTIVE");
    json!({"instances": [source, aliyun("hangzhou", "rmq-a", "PASSIVE")]})
}

#[test]
fn unknown_backlog_has_its_message_and_proves_nothing() {
    // The fault, and what the message contains.
    let situations = [
        (
            "no permission",
            FaultKind::refusal(403, "NoPermission"),
            "hangzhou (it cannot be read: GetConsumerGroupLag failed: NoPermission",
        ),
        ("no such group", FaultKind::refusal(404, "ConsumerGroup.NotFound"), "ConsumerGroup.NotFound"),
        ("unavailable", FaultKind::refusal(503, "ServiceUnavailable"), "ServiceUnavailable"),
        ("throttled", refusal(Class::Throttled { after: None }), "Throttling"),
        (
            "a topic is missing",
            FaultKind::WithoutTopics { ids: vec!["b".into()] },
            "b from hangzhou (the answer about GID_DR_",
        ),
        ("every topic is missing", FaultKind::WithoutTopics { ids: vec![] }, "a from hangzhou (the answer"),
    ];
    let mut table = Table::default();
    for (name, fault, text) in situations {
        let mut world = steady(two_mappings(), Rules::default());
        assert_eq!(world.condition(PROTECTED), "True/WithinObjective");
        world.simulator.add_fault(Fault::new(fault).of_action(GET_LAG));
        // A proof lasts until its end, except where a newer answer lacks the topic.
        sample(&mut world);
        world.observe_for(300_000);
        let message = world.message(PROTECTED);
        let named = message.contains(text) && message.contains("messageEvidence: NotRequired");
        table.cell(format!("{name}: {message}"), &(UNKNOWN, true), &(world.condition(PROTECTED).as_str(), named));
        table.cell(format!("{name}: offsets"), "True/AllGroups", world.condition(OFFSETS_COVERED).as_str());
        world.simulator.clear_faults();
        world.observe_for(310_000);
        table.cell(format!("{name}: recovered"), "True/WithinObjective", world.condition(PROTECTED).as_str());
    }
    table.check();
}

#[test]
fn refusal_that_lasts_is_repeated_rarely() {
    for fault in [FaultKind::refusal(403, "NoPermission"), FaultKind::WithoutTopics { ids: vec![] }] {
        let mut world = at_rest(two_mappings());
        world.simulator.add_fault(Fault::new(fault).of_action(GET_LAG));
        world.observe_for(1_800_000);
        world.simulator.clear_requests();
        world.store.take_writes();
        world.observe_for(3_600_000);
        let lags = requests(&world, GET_LAG);
        assert!((11..=13).contains(&lags), "{lags}");
        assert_eq!(world.store.take_writes(), Vec::<String>::new());
    }
}

#[test]
fn progress_alone_is_enough_where_spec_says_so() {
    let accepted = json!({"messageEvidence": "NotRequired"});
    let mut table = Table::default();
    for (name, mut spec) in [("from the cloud", json!({})), ("from an external cluster", from_external())] {
        spec["topicMappings"] = json!([mapping_to("hangzhou", "a", "a", "Running")]);
        if name == "from the cloud" {
            spec["topicMappings"] = json!([mapping("a", "a", "Running")]);
        } else {
            spec["topicMappings"][0]["topics"][0]["instance"] = json!("idc");
        }
        let mut world = steady(spec.clone(), Rules::default());
        world.observe_for(60_000);
        let external = name == "from an external cluster";
        let expected = if external { UNKNOWN } else { "True/WithinObjective" };
        table.cell(format!("{name}: {}", world.message(PROTECTED)), expected, world.condition(PROTECTED).as_str());
        table.cell(format!("{name}: calls"), &0, &(if external { requests(&world, GET_LAG) } else { 0 }));
        world.edit(accepted.clone());
        world.pass();
        world.simulator.clear_requests();
        world.observe_for(600_000);
        let says = world.message(PROTECTED).contains("NotRequired");
        let found = (world.condition(PROTECTED), says, requests(&world, GET_LAG));
        table.cell(format!("{name}: accepted"), &("True/WithinObjective".into(), true, 0), &found);
        let shown = world.status.topic_mappings.iter().any(|it| it.backlog.is_some());
        table.cell(format!("{name}: shown"), &false, &shown);
    }
    table.check();
}

#[test]
fn replicator_behind_refutes_although_consumers_are_level() {
    let mut world = at_rest(json!({}));
    let Backlog { messages, delay_seconds } = world.status.topic_mappings[0].backlog.clone().unwrap();
    assert_eq!((messages, delay_seconds), (Some(0), 0));
    replicate(&world, Consumption::Offline);
    world.observe_for(290_000);
    assert_ne!(world.condition(PROTECTED), "False/BacklogExceeded", "not beyond the objective yet");
    world.observe_for(80_000);
    assert_eq!(world.condition(PROTECTED), "False/BacklogExceeded", "{}", world.message(PROTECTED));
    assert!(world.message(PROTECTED).contains("orders from hangzhou"), "{}", world.message(PROTECTED));
    let Backlog { messages, delay_seconds } = world.status.topic_mappings[0].backlog.clone().unwrap();
    assert!(delay_seconds >= 300 && messages >= Some(3_000), "{messages:?} {delay_seconds}");
    assert_eq!(world.condition(OFFSETS_COVERED), "True/AllGroups", "consumers are level");
    replicate(&world, Consumption::Busy);
    world.observe_for(120_000);
    assert_eq!(world.condition(PROTECTED), "True/WithinObjective", "{}", world.message(PROTECTED));
}

#[test]
fn quiet_topic_and_offline_consumers_stay_protected() {
    let mut world = steady(json!({}), Rules::default());
    world.simulator.with_model(|model, now| model.set_production(None, Production::Quiet, now));
    for group in Rules::default().consumer_groups {
        world.simulator.with_model(|model, now| model.set_consumption(&group, Consumption::Offline, now));
    }
    for _ in 0..20 {
        world.observe_for(60_000);
        assert_eq!(world.condition(PROTECTED), "True/WithinObjective", "{}", world.message(PROTECTED));
    }
    // Messages arrive, whether consumers are there or not.
    world.simulator.with_model(|model, now| model.set_production(None, Production::Steady, now));
    world.observe_for(600_000);
    assert_eq!(world.condition(PROTECTED), "True/WithinObjective", "{}", world.message(PROTECTED));
    replicate(&world, Consumption::Offline);
    world.observe_for(400_000);
    assert_eq!(world.condition(PROTECTED), "False/BacklogExceeded", "{}", world.message(PROTECTED));
}

#[test]
fn old_answer_contradicts_progress_of_consumers() {
    // The replicator stands still, and the answer is an old one that says otherwise.
    let mut world = steady(json!({}), Rules::default());
    world.simulator.add_fault(Fault::new(FaultKind::Frozen { at_ms: None }).of_action(GET_LAG));
    replicate(&world, Consumption::Offline);
    let started = world.now();
    while world.condition(PROTECTED).starts_with("True") {
        world.observe_for(2_000);
        assert!(world.now() - started <= 300_000, "{}", world.message(PROTECTED));
    }
    sample(&mut world);
    world.observe_for(300_000);
    assert!(!world.condition(PROTECTED).starts_with("True"), "{}", world.message(PROTECTED));
}

#[test]
fn two_way_plan_rests_on_messages_of_both_directions() {
    let mut world = World::in_sync(two_way_spec("5m"), Rules::default());
    world.observe_for(60_000);
    assert_eq!(world.condition(PROTECTED), "True/WithinObjective", "{}", world.message(PROTECTED));
    assert!(world.message(PROTECTED).contains("both directions"));
    // Progress plays no part.
    world.model().freeze_sync(true);
    for group in Rules::default().consumer_groups {
        world.simulator.with_model(|model, now| model.set_target_ahead(&group, Some(120_000), now));
    }
    world.observe_for(900_000);
    assert_eq!(world.condition(PROTECTED), "True/WithinObjective", "{}", world.message(PROTECTED));
    world.edit(json!({"syncCheckpointEnabled": null}));
    let id = world.plan_id();
    world.model().edit_plan(id, &json!({"syncCheckpointEnabled": false}), world.now()).unwrap();
    world.pass();
    world.observe_for(60_000);
    assert_eq!(world.condition(PROTECTED), "True/WithinObjective", "{}", world.message(PROTECTED));
    // One direction of one mapping is enough to refute it, and one that cannot be read to doubt it.
    let groups: Vec<_> =
        world.our_plan().unwrap().instances.iter().filter_map(|it| it.consumer_group_id.clone()).collect();
    assert_eq!(groups.len(), 2);
    world.simulator.add_fault(Fault::new(refusal(Class::Denied)).of_action(GET_LAG).times(1));
    sample(&mut world);
    world.observe_for(1_000);
    assert!(world.condition(PROTECTED).starts_with("True"), "a failed read ends no proof");
    let (plan, item) = first_item(&mut world);
    let one = Some((plan, item));
    world.simulator.with_model(|model, now| model.set_replication(one, Consumption::Offline, now)).unwrap();
    world.observe_for(400_000);
    assert_eq!(world.condition(PROTECTED), "False/BacklogExceeded", "{}", world.message(PROTECTED));
    let message = world.message(PROTECTED);
    assert!(message.contains("a from hangzhou") && message.contains("a from shanghai"), "{message}");
    assert!(!message.contains("b from"), "{message}");
}

#[test]
fn one_direction_is_not_shown_as_both() {
    let mut world = World::in_sync(two_way_spec("5m"), Rules::default());
    let plan = world.our_plan().unwrap();
    let group =
        plan.instances.iter().find(|it| it.id() == "rmq-b").and_then(|it| it.consumer_group_id.clone()).unwrap();
    let denied = Fault::new(refusal(Class::Denied)).of_action(GET_LAG).of_path(&format!("/{group}/lag"));
    world.simulator.add_fault(denied);
    world.observe_for(900_000);
    assert_eq!(world.condition(PROTECTED), UNKNOWN);
    assert!(world.message(PROTECTED).contains("shanghai (it cannot be read"), "{}", world.message(PROTECTED));
    assert_eq!(world.status.topic_mappings.iter().filter_map(|it| it.backlog.clone()).count(), 0);
}

#[test]
fn many_topics_cost_one_call() {
    let names: Vec<_> = (0..100).map(|it| format!("t{it:03}")).collect();
    let mappings: Vec<_> = names.iter().map(|name| mapping(name, name, "Running")).collect();
    let mut world = at_rest(json!({ "topicMappings": mappings }));
    // Items of another owner in the same plan.
    let plan_id = world.plan_id();
    for number in 0..50 {
        let name = format!("theirs-{number}");
        world.console_item(plan_id, &mapping(&name, &name, ""));
    }
    world.observe_for(400_000);
    assert_eq!(world.condition(PROTECTED), "True/WithinObjective", "{}", world.message(PROTECTED));
    world.simulator.clear_requests();
    world.observe_for(900_000);
    let lags = requests(&world, GET_LAG);
    assert!((3..=5).contains(&lags), "{lags}");
    world.simulator.add_fault(Fault::new(FaultKind::WithoutTopics { ids: vec![] }).of_action(GET_LAG));
    sample(&mut world);
    world.observe_for(1_000);
    assert_eq!(world.condition(PROTECTED), UNKNOWN);
    assert!(world.message(PROTECTED).len() < 2_000, "{}", world.message(PROTECTED));
}

#[test]
fn backlog_in_status_stays_quiet() {
    let mut world = steady(json!({}), Rules::default());
    world.observe_for(60_000);
    world.store.take_writes();
    replicate(&world, Consumption::CatchingUp { behind_ms: 0, speed_percent: 100 });
    world.observe_for(3_600_000);
    let writes = world.store.take_writes().len();
    assert!(writes <= 2, "{writes} writes");
    fail(&world, Class::Unavailable, Some(GET_LAG));
    world.observe_for(400_000);
    assert_eq!(world.status.topic_mappings[0].backlog, None, "an old number is not shown");
}
