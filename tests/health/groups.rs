//! The states of a group of disks, as the real reconcile leaves them on a simulated cloud.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use disaster_recovery_operator::api::DRILL_ANNOTATION;
use disaster_recovery_operator::api::condition::{condition_type, synced};
use disaster_recovery_operator::cloud::endpoint::EndpointError;
use disaster_recovery_operator::cloud::error::{Class, Error};
use disaster_recovery_operator::cloud::operation::ApiOperation;
use disaster_recovery_operator::controller::access::AccountError;
use disaster_recovery_operator::controller::conditions;
use disaster_recovery_operator::controller::conditions::ConditionState;
use disaster_recovery_operator::simulator::model::ebs::{DiskGroupInput, DiskRules, DrillEdit, DrillStatus};
use disaster_recovery_operator::simulator::{Fault, FaultKind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use crate::states::{deleted, json_of, object, unseen};
use test_support::driver::faults::Fate;
use test_support::driver::group::{Crash, DESTINATION, OWNER, SOURCE, World, pair, spec_with};

const KIND: &str = "DiskReplicaGroup";

fn slow() -> DiskRules {
    DiskRules { delay_ms: 30_000, ..DiskRules::default() }
}

fn running() -> World {
    World::in_sync(json!({}))
}

/// After one more reconcile.
fn then(mut world: World, what: impl FnOnce(&mut World)) -> World {
    what(&mut world);
    world.pass();
    world
}

/// After a reconcile that observed the group like this.
fn console(patch: Value, edit: Value) -> World {
    let world = World::in_sync(patch);
    world.freeze();
    then(world, |world| world.console(edit))
}

/// After a reconcile without an observation.
fn blind(mut world: World, (synced, stalled): (ConditionState, bool)) -> World {
    world.status = world.scope(|scope| scope.unobserved(&synced, stalled));
    world
}

fn failure(class: Class) -> (ConditionState, bool) {
    let (operation, code, message) =
        (ApiOperation::DescribeDiskReplicaGroups, "Code".into(), "The cloud's own words.".into());
    conditions::failure(&Error { class, operation, code, message, request_id: Some("R-1".into()) })
}

/// After a reconcile in which a call failed.
fn failed(class: Class) -> World {
    let mut world = running();
    world.want(json!({"replication": "Stopped"}));
    world.pass_with(Fate::refused(class));
    world
}

/// The group of another object, observed by a second one.
fn second(patch: Value) -> World {
    let first = running();
    let mut world = first.beside(json!({"replicaGroupId": first.group_id()}));
    world.want(patch);
    world.object.metadata.generation = Some(1);
    world
}

/// A drill in progress.
fn drilling() -> World {
    let world = World::in_sync(json!({"drill": {"schedule": "0 3 * * 0", "keepFor": "2h"}}));
    let mut world = then(world, |world| world.annotate(DRILL_ANNOTATION, "now"));
    world.pass();
    world
}

fn worlds() -> Vec<(&'static str, World)> {
    let edited = |patch: Value| move |world: &mut World| world.want(patch);
    let there = || json!({"activeSite": "Destination"});
    let endpoint = AccountError::Endpoint {
        account: "databases/production".into(),
        product: "ebs",
        why: EndpointError::NotAUrl("elsewhere".into()),
    };
    let missing = AccountError::Missing("databases/production".into());
    let changed = "group pg-1 was last seen as one identity and is not found as another";
    let changed = (ConditionState::no(synced::ACCOUNT_CHANGED, changed), true);
    let aged = || {
        let mut world = running();
        world.freeze();
        world.advance(1_000_000);
        world
    };
    let failing_over = || then(World::in_sync_with(json!({}), slow()), edited(there()));
    let failed_over = || {
        let mut world = World::in_sync(json!({"reprotect": "Manual"}));
        world.want(there());
        world.converge(50);
        world
    };
    let back = |mode: &str| json!({"activeSite": "Source", "failover": {"mode": mode}});
    let forced = |patch: Value| {
        let mut world = World::in_sync(patch);
        world.want(json!({"activeSite": "Destination", "failover": {"mode": "Forced"}}));
        world.converge(50);
        world
    };
    let observe = json!({"managementPolicy": "Observe"});
    vec![
        ("being-made", then(World::new(spec_with(json!({})), slow()), |_| {})),
        ("first-synchronization", {
            let mut world = World::new(spec_with(json!({})), slow());
            while world.pass().summary() != "ok" {}
            world
        }),
        ("replicating", running()),
        ("recovery-point-too-old", then(aged(), |_| {})),
        ("stopped", then(World::in_sync(json!({"replication": "Stopped"})), |_| {})),
        ("stopped-by-somebody", console(json!({}), json!({"status": "stopped"}))),
        ("failed-over-by-somebody", console(json!({"activeSite": "Source"}), json!({"status": "failovered"}))),
        ("failed", console(json!({}), json!({"status": "invalid"}))),
        ("failover-failed", console(json!({}), json!({"status": "failover_failed"}))),
        ("failing-over", failing_over()),
        ("being-turned-round", {
            let mut world = failing_over();
            while world.pass().summary() != "Reverse:Reprotecting" {}
            world
        }),
        ("failed-over", failed_over()),
        ("being-cancelled", then(failed_over(), edited(back("Cancel")))),
        ("failover-refused", then(aged(), edited(there()))),
        ("failover-expired", {
            let mut world = aged();
            world.want(json!({"activeSite": "Destination", "failover": {"validFor": "1m"}}));
            world.pass();
            world.advance(60_000);
            then(world, |_| {})
        }),
        ("not-reversed-yet", then(failed_over(), edited(back("Planned")))),
        (
            "nothing-to-cancel",
            then(running(), edited(json!({"activeSite": "Destination", "failover": {"mode": "Cancel"}}))),
        ),
        ("reprotect-waits", forced(json!({}))),
        ("copy-refused", {
            let mut world = forced(json!({}));
            world.consent();
            world.converge(50);
            world.want(json!({"replication": "Stopped", "pairs": [pair("data"), pair("logs")]}));
            world.converge(50);
            world
        }),
        ("change-needs-a-stop", then(running(), edited(json!({"groupName": "other"})))),
        ("renamed-by-somebody", console(json!({"groupName": "orders"}), json!({"groupName": "by hand"}))),
        ("disks-attached", {
            let mut world = forced(json!({"pairs": [pair("data"), pair("logs")]}));
            world.attach("d-data-s", true);
            world.consent();
            then(world, |_| {})
        }),
        ("call-denied", failed(Class::Denied)),
        ("call-invalid", failed(Class::Invalid)),
        ("call-throttled", failed(Class::Throttled { after: None })),
        ("answer-lost", failed(Class::Ambiguous)),
        ("group-missing", {
            let world = running();
            let ids = vec![world.group_id()];
            world.simulator.add_fault(Fault::new(FaultKind::Gap { ids, counted: false }));
            then(world, |_| {})
        }),
        ("twin", {
            let mut world = World::new(spec_with(json!({})), DiskRules::default());
            for _ in 0..2 {
                let input = DiskGroupInput {
                    name: Some("orders-db".into()),
                    rpo: Some(900),
                    source_zone: Some("cn-hangzhou-h".into()),
                    destination_region: Some(DESTINATION.into()),
                    destination_zone: Some("cn-shanghai-b".into()),
                    tags: [("disasterrecovery.dev/owner".to_owned(), OWNER.to_owned())].into(),
                    ..DiskGroupInput::default()
                };
                world.disks(|disks, now| disks.create_group(SOURCE, input, now)).unwrap();
            }
            world.advance(60_000);
            then(world, |_| {})
        }),
        (
            "group-not-found",
            then(World::new(spec_with(json!({"replicaGroupId": "pg-unknown"})), DiskRules::default()), |_| {}),
        ),
        ("immutable-field", then(running(), edited(json!({"replicaGroupId": "pg-unknown"})))),
        ("owned-by-another", {
            let mut world = second(json!({}));
            world.object.metadata.name = Some("orders-dc".into());
            then(world, |_| {})
        }),
        ("account-not-found", blind(running(), conditions::unusable(&missing))),
        ("account-changed", blind(running(), changed)),
        ("taken-over", then(running(), |world| world.restart_with("operators/second"))),
        ("endpoint-refused", blind(running(), conditions::unusable(&endpoint))),
        ("access-denied", blind(running(), failure(Class::Denied))),
        ("throttled", blind(running(), failure(Class::Throttled { after: None }))),
        ("cloud-unavailable", {
            let mut world = running();
            world.lose(&[SOURCE, DESTINATION]);
            let at = world.timestamp();
            assert!(world.faulty_pass(vec![], Crash::Never).is_err());
            // The pauses between the client's attempts are random.
            let conditions = &mut world.status.head.conditions;
            let synced = conditions.iter_mut().find(|it| it.type_ == condition_type::SYNCED).unwrap();
            synced.last_transition_time = Time(at);
            world
        }),
        ("cloud-unavailable-for-long", {
            let mut world = running();
            world.fresh = false;
            blind(world, failure(Class::Unavailable))
        }),
        ("failover-while-the-cloud-is-unavailable", {
            let mut world = running();
            world.want(there());
            blind(world, failure(Class::Unavailable))
        }),
        ("suspended", then(running(), edited(json!({"suspend": true})))),
        ("observed", then(second(observe.clone()), |_| {})),
        ("observed-and-different", {
            let mut other = observe.clone();
            other["description"] = json!("another");
            then(second(other), |_| {})
        }),
        ("observed-and-stopped", {
            let world = second(observe.clone());
            world.freeze();
            then(world, |world| world.console(json!({"status": "stopped"})))
        }),
        ("observed-and-not-stopped", {
            let mut stopped = observe.clone();
            stopped["replication"] = json!("Stopped");
            then(second(stopped), |_| {})
        }),
        ("observed-while-failed-over", {
            let world = second(observe);
            world.freeze();
            then(world, |world| world.console(json!({"status": "failovering"})))
        }),
        ("failover-not-seen-for-long", {
            let mut world = failing_over();
            world.fresh = false;
            blind(world, failure(Class::Unavailable))
        }),
        ("drilling", drilling()),
        ("drill-not-cleared", {
            let mut world = drilling();
            world.advance(121 * 60_000);
            let id = world.inspect().drills[0].drill_id.clone();
            let edit = DrillEdit { status: Some(DrillStatus::ClearFailed), fail_next: None };
            world.disks(|disks, _| disks.edit_drill(&id, &edit)).unwrap();
            then(world, |_| {})
        }),
        ("being-deleted", then(running(), World::delete)),
        ("deletion-blocked", {
            let mut world = running();
            world.delete();
            blind(world, failure(Class::Denied))
        }),
        ("deletion-not-seen", {
            let mut world = running();
            world.delete();
            world
        }),
        ("edited", {
            let mut world = running();
            world.want(there());
            world
        }),
        ("crashed-while-it-was-made", {
            let mut world = World::new(spec_with(json!({})), slow());
            world.status.head.observed_generation = Some(-1);
            world.faulty_pass(vec![], Crash::AfterCalls(0)).unwrap();
            world
        }),
        ("crashed-while-failing-over", {
            let mut world = running();
            world.want(there());
            world.faulty_pass(vec![], Crash::AfterCalls(0)).unwrap();
            world
        }),
        ("edited-once-stalled", {
            let mut world = then(aged(), edited(there()));
            world.want(json!({"failover": {"mode": "Forced"}}));
            world
        }),
    ]
}

pub(crate) fn states() -> Vec<Value> {
    let made = worlds().into_iter().map(|(name, world)| {
        let generation = world.object.metadata.generation.unwrap();
        let object = object(KIND, name, generation, json_of(&world.object.spec), json_of(&world.status));
        if world.deleting() { deleted(object) } else { object }
    });
    made.chain([object(KIND, "new", 1, json_of(&spec_with(json!({}))), unseen())]).collect()
}
