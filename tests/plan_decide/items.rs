//! Topic mappings and their items: one item for each mapping, and steps that do not wait for each other.

use disaster_recovery_operator::api::condition::synced;
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::controller::plan::decide::Verdict;
use disaster_recovery_operator::simulator::model::Rules;
use serde_json::json;

use super::pauses::updates_while_running;
use test_support::driver::plan::*;

#[test]
fn mapping_renamed_before_visibility_gets_one_item() {
    let rules = Rules { visibility_delay_ms: 30_000, ..Rules::default() };
    let mut world = World::in_sync(spec_with(json!({"topicMappings": []})), rules);
    world.edit(json!({"topicMappings": [mapping("orders", "orders", "Running")]}));
    assert_eq!(world.pass().names(), ["AddItem"]);
    world.edit(json!({"topicMappings": [mapping("renamed", "orders", "Running")]}));
    world.converge(60);
    assert_eq!(world.our_plan().unwrap().items.len(), 1);
}

#[test]
fn unanswered_add_item_creates_no_second_item() {
    for fault in [Fate::REPLY_LOST, Fate::LOST, Fate::refused(Class::Invalid)] {
        for crash in [Crash::Never, Crash::BeforeStatus] {
            for visibility in [0, 60_000] {
                let rules = Rules { visibility_delay_ms: visibility, delay_ms: 3_000, ..Rules::default() };
                let spec =
                    spec_with(json!({"topicMappings": [mapping("a", "a", "Running"), mapping("b", "b", "Stopped")]}));
                let mut world = World::new(spec, rules);
                while world.decide().1.steps.first().is_none_or(|it| it.label() != "AddItem") {
                    world.pass();
                }
                world.faulty_steps(&mut |_| fault.clone(), crash);
                assert_eq!(world.converge(120).decision.verdict, Verdict::InSync);
                assert_eq!(world.our_plan().unwrap().items.len(), 2, "{fault:?} {crash:?} {visibility}");
            }
        }
    }
}

#[test]
fn changed_topics_update_the_existing_item() {
    let mut world = World::in_sync(spec_with(json!({})), Rules { delay_ms: 3_000, ..Rules::default() });
    let (plan_id, before) = (world.plan_id(), world.our_plan().unwrap().items.keys().copied().collect::<Vec<_>>());
    for patch in [
        json!({"topicMappings": [mapping("orders", "invoices", "Running")]}),
        json!({"topicMappings": [{"name": "orders", "topics": [
            {"instance": "hangzhou", "topicName": "invoices", "deliveryOrderType": "Concurrently"},
            {"instance": "idc", "topicName": "invoices-copy", "deliveryOrderType": "Orderly"},
        ]}]}),
    ] {
        world.edit(patch);
        assert_eq!(world.pass().names(), ["UpdateItem"]);
        assert_eq!(world.converge(10).decision.verdict, Verdict::InSync);
        assert_eq!(world.items(plan_id).into_keys().collect::<Vec<_>>(), before);
    }
}

#[test]
fn renamed_mapping_keeps_its_item() {
    let mut world = World::in_sync(spec_with(json!({})), Rules::default());
    let id = world.status.topic_mappings[0].item_id.clone();
    world.edit(json!({"topicMappings": [mapping("renamed", "orders", "Running")]}));
    let passed = world.pass();
    assert_eq!((passed.names(), passed.decision.verdict), (vec![], Verdict::InSync));
    assert_eq!(
        (world.status.topic_mappings[0].name.as_str(), &world.status.topic_mappings[0].item_id),
        ("renamed", &id)
    );
    assert_eq!(world.status.topic_mappings.len(), 1);
}

#[test]
fn mappings_with_swapped_names_keep_items() {
    let both = |a: &str, b: &str| json!({"topicMappings": [mapping(a, "t1", "Running"), mapping(b, "t2", "Stopped")]});
    let mut world = World::in_sync(spec_with(both("a", "b")), Rules::default());
    let before = world.items(world.plan_id());
    world.edit(both("b", "a"));
    let passed = world.pass();
    assert_eq!((passed.names(), passed.decision.verdict), (vec![], Verdict::InSync));
    assert_eq!(world.items(world.plan_id()), before);
}

#[test]
fn newer_duplicate_item_follows_item_policy() {
    for (policy, left) in [("Keep", 2), ("Prune", 1)] {
        let mut world = World::in_sync(spec_with(json!({"itemPolicy": policy})), Rules::default());
        let plan_id = world.plan_id();
        let ours = world.status.topic_mappings[0].item_id.clone().unwrap();
        world.console_item(plan_id, &mapping("x", "orders", ""));
        let refusal = world.converge(10).refusal();
        assert_eq!(refusal, (policy == "Keep").then_some(synced::TWIN), "{policy}");
        assert_eq!(world.items(plan_id).len(), left, "{policy}");
        assert!(world.items(plan_id).contains_key(&ours.parse().unwrap()), "{policy}");
        assert_eq!(world.status.topic_mappings[0].item_id.as_deref(), Some(ours.as_str()));
    }
}

#[test]
fn changing_item_blocks_only_itself_and_plan() {
    let spec = spec_with(json!({"topicMappings": [mapping("a", "a", "Running"), mapping("b", "b", "Running")]}));
    let mut world = World::in_sync(spec, updates_while_running());
    world.model().rules.delay_ms = 60_000;
    world.edit(
        json!({"planDesc": "Other", "topicMappings": [mapping("a", "a2", "Running"), mapping("b", "b", "Running")]}),
    );
    world.pass();
    world.edit(json!({"planDesc": "Third", "topicMappings": [mapping("a", "a2", "Running"), mapping("b", "b", "Stopped"), mapping("c", "c", "Running")]}));
    assert_eq!(world.pass().names(), ["StopItem", "AddItem"]);
}

#[test]
fn failure_that_concerns_others_skips_later_steps() {
    let spec = spec_with(json!({"topicMappings": [mapping("a", "a", "Running"), mapping("b", "b", "Running")]}));
    for (class, second) in [(Class::Invalid, true), (Class::Denied, false), (Class::Ambiguous, false)] {
        let mut world = World::new(spec.clone(), Rules::default());
        world.pass();
        assert!(world.observe().unwrap().found().is_some());
        let mut first = true;
        let passed = world.faulty_steps(
            &mut |_| if std::mem::take(&mut first) { Fate::refused(class) } else { Fate::Normal },
            Crash::Never,
        );
        assert_eq!(passed.names(), ["AddItem", "AddItem"]);
        let added = passed.calls.iter().filter(|it| it.action == "AddDisasterRecoveryItem" && it.code == "200");
        assert_eq!(added.count() == 1, second, "{class:?}");
        let waits = |name: &str| world.status.item_creations.iter().any(|it| it.topics.contains(&format!("/{name}")));
        assert_eq!((waits("a"), waits("b")), (class == Class::Ambiguous, second), "{class:?}");
    }
}
