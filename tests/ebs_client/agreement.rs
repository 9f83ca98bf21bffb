//! The EBS client and the EBS simulator agree: a group of disks is created, replicated, failed over, reversed, failed
//! back, drilled and deleted. `tests/sdk` proves the simulator against the vendor's SDK.

use std::sync::Arc;
use std::time::Duration;

use disaster_recovery_operator::cloud::client::{Bytes, Client, Target, from_service};
use disaster_recovery_operator::cloud::credentials::Credentials;
use disaster_recovery_operator::cloud::credentials::signer::Signer;
use disaster_recovery_operator::cloud::ebs::{ClientToken, Ebs, NewGroup, NewPair, Pairs, SiteRole};
use disaster_recovery_operator::cloud::endpoint;
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::cloud::rate_limit::{Priority, RateLimit};
use disaster_recovery_operator::simulator::{Config, Fault, FaultKind, Simulator};
use http_body_util::Full;

/// The API of two regions at the simulator.
fn ebs(simulator: &Simulator) -> Ebs {
    let wire = from_service(simulator.router().into_service::<Full<Bytes>>());
    let client = Client::new(wire, Arc::new(RateLimit::new(1000)), Duration::from_secs(5), Arc::new(|_| {}));
    let target = |region: &str| Target {
        product: "ebs",
        version: "2021-07-30",
        endpoint: endpoint::ebs(region),
        region: region.into(),
        signer: Some(Signer::fixed(Credentials {
            access_key_id: "simulator-key-id".into(),
            access_key_secret: String::from("simulator-key-secret").into(),
            security_token: None,
        })),
        priority: Priority::Change,
    };
    Ebs::new(client, target("cn-hangzhou"), target("cn-shanghai"))
}

/// The token of one operation.
fn token(operation: &str, sequence: i64) -> ClientToken {
    ClientToken::of("5f0c6f4e-0000-4000-8000-000000000000", operation, sequence)
}

fn pair() -> NewPair {
    NewPair {
        disk_id: "d-1".into(),
        source_zone_id: "cn-hangzhou-h".into(),
        destination_disk_id: "d-2".into(),
        destination_zone_id: "cn-shanghai-b".into(),
        ..NewPair::default()
    }
}

fn group() -> NewGroup {
    NewGroup {
        source_zone_id: "cn-hangzhou-h".into(),
        destination_zone_id: "cn-shanghai-b".into(),
        group_name: Some("orders-db".into()),
        ..NewGroup::default()
    }
}

async fn status(ebs: &Ebs, group: &str) -> String {
    ebs.group(SiteRole::Production, group).await.expect("the group is there").status.as_str().to_owned()
}

#[tokio::test]
async fn group_lifecycle_leaves_nothing() {
    let simulator = Simulator::new(Config::default());
    let ebs = ebs(&simulator);
    let pair_id = ebs.create_pair(&pair(), &token("pair", 1)).await.expect("a pair");
    let group = group();
    let id = ebs.create_group(&group, &token("group", 1)).await.expect("a group");
    assert_eq!(ebs.create_group(&group, &token("group", 1)).await.expect("a repeat"), id, "the token makes it one");
    ebs.add_pair(&id, &pair_id, &token("add", 1)).await.expect("the pair is added");
    assert_eq!(ebs.pairs(SiteRole::Production, Pairs::InGroup(&id)).await.expect("a list").entries().len(), 1);

    ebs.start_group(&id, false, &token("start", 1)).await.expect("it starts");
    assert_eq!(status(&ebs, &id).await, "normal");
    let drill = ebs.start_drill(&id, &token("drill", 1)).await.expect("a drill");
    assert_eq!(
        ebs.drills(&id).await.expect("a list").entries().first().map(|it| it.drill_id.clone()),
        Some(drill.clone())
    );
    ebs.clear_drill(&id, &drill).await.expect("it is cleared");
    assert_eq!(ebs.drills(&id).await.expect("a list").entries().len(), 0);

    ebs.failover_group(&id, &token("failover", 1)).await.expect("it fails over");
    assert_eq!(status(&ebs, &id).await, "failovered");
    let early = ebs.start_group(&id, false, &token("start", 2)).await.expect_err("first it is reversed");
    assert_eq!((early.class, early.code.as_str()), (Class::Conflict, "OperationDenied.InvalidStatus"));
    ebs.reprotect_group(&id, true, &token("reprotect", 1)).await.expect("it is reversed");
    assert_eq!(status(&ebs, &id).await, "stopped");

    // From now on the other region is production.
    let back = ebs.clone().reversed();
    back.start_group(&id, false, &token("start", 3)).await.expect("it replicates back");
    back.failover_group(&id, &token("failover", 2)).await.expect("it fails back");
    back.reprotect_group(&id, false, &token("reprotect", 2)).await.expect("the failover is cancelled");
    assert_eq!(status(&back, &id).await, "stopped");
    let full = back.delete_group(&id, &token("delete", 1)).await.expect_err("it has a pair");
    assert_eq!((full.class, full.code.as_str()), (Class::Conflict, "OperationDenied.GroupHasPair"));
    back.remove_pair(&id, &pair_id, &token("remove", 1)).await.expect("the pair is removed");
    back.delete_group(&id, &token("delete", 2)).await.expect("it is deleted");
    back.delete_pair(&pair_id, &token("delete-pair", 1)).await.expect("so is the pair");
    assert_eq!(back.group(SiteRole::Production, &id).await.expect_err("it is gone").class, Class::NotFound);
}

#[tokio::test]
async fn standby_site_fails_over_without_the_production_region() {
    let simulator = Simulator::new(Config::default());
    let ebs = ebs(&simulator);
    let pair_id = ebs.create_pair(&pair(), &token("pair", 1)).await.expect("a pair");
    let id = ebs.create_group(&group(), &token("group", 1)).await.expect("a group");
    ebs.add_pair(&id, &pair_id, &token("add", 1)).await.expect("the pair is added");
    ebs.start_group(&id, false, &token("start", 1)).await.expect("it starts");
    assert_eq!(status(&ebs, &id).await, "normal");

    simulator.add_fault(Fault::new(FaultKind::Lost).in_region("cn-hangzhou"));
    let unseen = ebs.group(SiteRole::Production, &id).await.expect_err("its region is down");
    assert_eq!(unseen.class, Class::Unavailable);
    ebs.failover_group(&id, &token("failover", 1)).await.expect("it fails over");
    let seen = ebs.group(SiteRole::Standby, &id).await.expect("the other region answers");
    assert_eq!(seen.status.as_str(), "failovered");
    simulator.clear_faults();
    assert_eq!(status(&ebs, &id).await, "failovered");
}

#[tokio::test]
async fn repeated_token_after_lost_answer_creates_one_group() {
    let simulator = Simulator::new(Config::default());
    let ebs = ebs(&simulator);
    simulator.add_fault(Fault::new(FaultKind::ReplyLost).of_action("CreateDiskReplicaGroup").times(1));
    let id = ebs.create_group(&group(), &token("group", 1)).await.expect("the second answer arrives");
    let all = ebs.groups(SiteRole::Production, &[&id]).await.expect("a list");
    assert_eq!(all.entries().len(), 1);
    let calls = simulator.requests().into_iter().filter(|it| it.action == "CreateDiskReplicaGroup").count();
    assert_eq!(calls, 2);
}
