//! Events: one for each change, and no secret in them.

use disaster_recovery_operator::api::condition::condition_type;
use disaster_recovery_operator::simulator::model::{PasswordEcho, Rules};
use serde_json::json;

use super::situations::steady;
use test_support::driver::plan::*;

#[test]
fn pause_publishes_one_event() {
    let mut world = steady(json!({}), Rules { delay_ms: 7_000, ..Rules::default() });
    world.edit(json!({"planDesc": "Other"}));
    let mut reasons = vec![];
    for n in 0..10 {
        let passed = world.pass();
        reasons.extend(passed.events.into_iter().map(|it| it.reason).filter(|it| !it.starts_with("Objective")));
        if n == 2 {
            assert_eq!(world.condition(condition_type::READY), "False/Updating");
            assert_eq!(world.condition(condition_type::PROTECTED), "False/ReplicationStopped");
            assert!(!world.status.paused_items.is_empty());
        }
    }
    assert_eq!(reasons, ["ItemsPaused"]);
    assert_eq!(world.condition(condition_type::READY), "True/Available");
    assert!(world.status.paused_items.is_empty());
}

#[test]
fn creation_and_adoption_publish_one_event() {
    let mut world = World::new(spec_with(json!({})), Rules::default());
    let reasons: Vec<_> = (0..5).flat_map(|_| world.pass().events).map(|it| it.reason).collect();
    assert_eq!(reasons, ["Created"]);

    let mut world = World::new(spec_with(json!({})), Rules::default());
    world.faulty_steps(&mut |_| Fate::REPLY_LOST, Crash::Never);
    let reasons: Vec<_> = (0..5).flat_map(|_| world.pass().events).map(|it| it.reason).collect();
    assert_eq!(reasons, ["Created"], "by a call without an answer");

    let mut world = World::new(spec_with(json!({})), Rules::default());
    let (id, _) = world.console_plan(None, &[]);
    world.edit(json!({"planId": id.to_string()}));
    let reasons: Vec<_> = (0..6).flat_map(|_| world.pass().events).map(|it| it.reason).collect();
    assert_eq!(reasons, ["Adopted"]);
}

#[test]
fn status_and_events_never_contain_password() {
    for echo in [PasswordEcho::Masked, PasswordEcho::Clear, PasswordEcho::Omitted] {
        for update_while_running in [false, true] {
            let mut world = World::new(
                spec_with(json!({})),
                Rules { password_echo: echo, update_while_running, ..Rules::default() },
            );
            let mut text = String::new();
            for n in 0..40 {
                let passed = world.pass();
                let drift = &passed.decision.drift;
                text += &format!(
                    "{} {:?} {drift:?} {:?}",
                    serde_json::to_string(&world.status).unwrap(),
                    passed.events,
                    passed.decision
                );
                match n {
                    10 => {
                        let id = world.plan_id();
                        world.model().plan_mut(id).unwrap().instances[1].password = Some(OTHER_PASSWORD.into());
                    }
                    20 => world.set_password(Some("rotated-word-3")),
                    30 => world.delete(),
                    _ => {}
                }
            }
            for secret in [PASSWORD, OTHER_PASSWORD, "rotated-word-3"] {
                assert!(!text.contains(secret), "{secret} {echo:?}");
            }
        }
    }
}
