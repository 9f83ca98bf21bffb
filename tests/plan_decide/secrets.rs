//! Credentials of a cluster of the user's own: the Secret against what the cloud shows of the password.

use disaster_recovery_operator::api::condition::synced;
use disaster_recovery_operator::controller::plan::decide::Verdict;
use disaster_recovery_operator::simulator::model::{PasswordEcho, Rules};
use serde_json::json;

use super::pauses::updates_while_running;
use test_support::driver::plan::*;

#[test]
fn rotated_secret_is_sent_once() {
    for echo in [PasswordEcho::Masked, PasswordEcho::Clear, PasswordEcho::Omitted] {
        let rules = Rules { password_echo: echo, ..updates_while_running() };
        let mut world = World::in_sync(spec_with(json!({})), rules);
        world.set_password(Some("new-word-1"));
        let passed = world.pass();
        assert_eq!(passed.names(), ["UpdatePlan"], "{echo:?}");
        let text = format!("{:?} {:?} {:?}", passed.decision, world.status, passed.events);
        assert!(!text.contains("new-word-1") && !text.contains(PASSWORD), "{text}");
        assert_eq!(world.our_plan().unwrap().instances[1].password.as_deref(), Some("new-word-1"));
        let after = world.pass();
        assert_eq!((after.names(), after.decision.verdict), (vec![], Verdict::InSync), "{echo:?}");
    }
}

#[test]
fn masked_password_is_no_drift() {
    for (echo, drift) in [(PasswordEcho::Masked, 0), (PasswordEcho::Omitted, 0), (PasswordEcho::Clear, 1)] {
        let rules = Rules { password_echo: echo, ..updates_while_running() };
        let mut world = World::in_sync(spec_with(json!({})), rules);
        let id = world.plan_id();
        world.model().plan_mut(id).unwrap().instances[1].password = Some(OTHER_PASSWORD.into());
        let passed = world.pass();
        assert_eq!(passed.decision.drift.len(), drift, "{echo:?}: {:?}", passed.decision.drift);
        assert_eq!(passed.names().len(), drift, "{echo:?}");
        let text = format!("{:?} {:?} {:?}", passed.decision, world.status, passed.events);
        assert!(!text.contains(OTHER_PASSWORD) && !text.contains(PASSWORD), "{text}");
    }
}

#[test]
fn mask_like_password_is_sent_once() {
    for password in ["****", "aaaa", "a***b"] {
        for echo in [PasswordEcho::Masked, PasswordEcho::Clear, PasswordEcho::Omitted] {
            let mut world = World::new(spec_with(json!({})), Rules { password_echo: echo, ..updates_while_running() });
            world.set_password(Some(password));
            assert_eq!(world.converge(10).decision.verdict, Verdict::InSync, "{password} {echo:?}");
            assert_eq!(world.our_plan().unwrap().instances[1].password.as_deref(), Some(password));
            assert_eq!(world.pass().names(), Vec::<&str>::new());
        }
    }
}

#[test]
fn missing_secret_is_refused_without_step() {
    for created in [false, true] {
        let mut world = World::new(spec_with(json!({})), Rules::default());
        if created {
            world.converge(10);
        }
        world.set_password(None);
        let passed = world.pass();
        assert_eq!((passed.refusal(), passed.names()), (Some(synced::CREDENTIALS_NOT_FOUND), vec![]));
    }
}
