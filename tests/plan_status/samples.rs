//! Samples between reconciles, and the requests for new ones.

use std::collections::BTreeMap;
use std::time::Duration;

use disaster_recovery_operator::api::RECONCILE_ANNOTATION;
use disaster_recovery_operator::api::plan::DisasterRecoveryPlan;
use disaster_recovery_operator::controller::plan::evidence::{CheckpointLists, Evidence, Reading, Task};
use disaster_recovery_operator::controller::resource::Scope;
use disaster_recovery_operator::simulator::model::Rules;
use jiff::Timestamp;
use serde_json::json;

use super::situations::steady;
use test_support::driver::plan::*;

/// The time of the next sample of the mapping `a`.
fn due(scope: &Scope<'_, DisasterRecoveryPlan>, evidence: &Evidence) -> Timestamp {
    let tasks = evidence.tasks(scope);
    tasks.into_iter().find(|it| it.task == Task::Checkpoints("a".into())).unwrap().due
}

#[test]
fn sample_in_flight_does_not_answer_a_request() {
    let mut world = steady(json!({"topicMappings": [mapping("a", "a", "Running")]}), Rules::default());
    world.annotate(RECONCILE_ANNOTATION, "1");
    let observed = world.observe().unwrap();
    world.scope(|scope| {
        let mut evidence = scope.evidence.clone();
        assert!(due(scope, &evidence) > scope.now, "the last sample is recent");
        evidence.learn(scope, &observed, scope.now);
        let task = Task::Checkpoints("a".into());
        let grounds = evidence.grounds.clone().unwrap();
        let of = (grounds.plan_id.unwrap(), grounds.item("a").unwrap());
        let reading =
            || Reading::Checkpoints(CheckpointLists { of, lists: BTreeMap::new(), clock_skew: Duration::ZERO });
        let before = scope.now.checked_sub(Duration::from_secs(1)).unwrap();
        evidence.record(scope, &task, reading(), before);
        assert_eq!(due(scope, &evidence), scope.now, "this sample began before the request");
        evidence.record(scope, &task, reading(), scope.now);
        assert!(due(scope, &evidence) > scope.now, "this one answers it");
    });
}
