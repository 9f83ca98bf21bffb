//! The rate limit of the client and its measurement of the clock skew, at the simulator.

use std::sync::Arc;
use std::time::Duration;

use disaster_recovery_operator::cloud::client::{Bytes, Client, Target, from_service};
use disaster_recovery_operator::cloud::credentials::Credentials;
use disaster_recovery_operator::cloud::credentials::signer::Signer;
use disaster_recovery_operator::cloud::ebs::{self, ClientToken, Ebs, NewGroup, Pairs, SiteRole};
use disaster_recovery_operator::cloud::endpoint;
use disaster_recovery_operator::cloud::error::{Class, Error};
use disaster_recovery_operator::cloud::operation::ApiOperation;
use disaster_recovery_operator::cloud::rate_limit::{Budget, Priority, RateLimit};
use disaster_recovery_operator::cloud::rocketmq::{self, RocketMq};
use disaster_recovery_operator::simulator::{Config, Fault, FaultKind, Simulator};
use http_body_util::Full;

fn client(simulator: &Simulator, limit: &Arc<RateLimit>) -> Client {
    let wire = from_service(simulator.router().into_service::<Full<Bytes>>());
    Client::new(wire, limit.clone(), Duration::from_secs(5), Arc::new(|_| {}))
}

fn signer() -> Option<Signer> {
    Some(Signer::fixed(Credentials {
        access_key_id: "simulator-key-id".into(),
        access_key_secret: String::from("simulator-key-secret").into(),
        security_token: None,
    }))
}

fn ebs(client: Client, priority: Priority) -> Ebs {
    let target = |region: &str| {
        let (product, version, endpoint) = (ebs::PRODUCT, ebs::VERSION, endpoint::ebs(region));
        Target { product, version, endpoint, region: region.into(), signer: signer(), priority }
    };
    Ebs::new(client, target("cn-hangzhou"), target("cn-shanghai"))
}

fn rocketmq(client: Client, region: &str) -> RocketMq {
    let (product, version, endpoint) = (rocketmq::PRODUCT, rocketmq::VERSION, endpoint::rocketmq(region));
    let priority = Priority::Sample;
    RocketMq::new(client, Target { product, version, endpoint, region: region.into(), signer: signer(), priority })
}

/// The wait that an error of the operator's own rate limit names.
fn own_limit(error: &Error) -> Option<Duration> {
    match error.class {
        Class::Throttled { after } if error.code == "LocalBudget" => after,
        _ => None,
    }
}

#[tokio::test]
async fn throttling_of_one_operation_slows_no_other() {
    let (simulator, limit) = (Simulator::new(Config::default()), Arc::new(RateLimit::new(36)));
    let fault = Fault::new(FaultKind::Throttle { retry_after_ms: Some(600_000) });
    simulator.add_fault(fault.of_action("DescribeDiskReplicaGroups").times(1));
    let (change, sample) =
        (ebs(client(&simulator, &limit), Priority::Change), ebs(client(&simulator, &limit), Priority::Sample));
    let error = change.groups(SiteRole::Production, &[]).await.expect_err("it is throttled");
    assert_eq!(error.class, Class::Throttled { after: Some(Duration::from_secs(600)) });
    let before = simulator.requests().len();
    let started = std::time::Instant::now();
    for api in [&change, &sample] {
        let error = api.groups(SiteRole::Production, &[]).await.expect_err("the operation pauses");
        assert!(own_limit(&error).is_some_and(|wait| wait > Duration::from_secs(590)), "{error:?}");
    }
    assert_eq!(simulator.requests().len(), before, "no call is sent");
    // Other operations, and the same one in the other region, go on at once.
    let group = NewGroup {
        source_zone_id: "cn-hangzhou-h".into(),
        destination_zone_id: "cn-shanghai-b".into(),
        ..NewGroup::default()
    };
    let token = ClientToken::of("5f0c6f4e-0000-4000-8000-000000000000", "create", 1);
    change.create_group(&group, &token).await.expect("created");
    sample.pairs(SiteRole::Production, Pairs::All).await.expect("listed");
    sample.groups(SiteRole::Standby, &[]).await.expect("listed");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    for usage in limit.usage(std::time::Instant::now()) {
        let here = usage.operation == ApiOperation::DescribeDiskReplicaGroups && usage.region == "cn-hangzhou";
        let rates = usage.rates.expect("few buckets");
        assert_eq!(rates.allowed, if here { 0.0 } else { 36.0 }, "{usage:?}");
        assert_eq!(usage.totals.throttled, u64::from(here), "{usage:?}");
    }
}

#[tokio::test]
async fn call_needs_slot_of_budget_and_shared_limit() {
    let (simulator, limit) = (Simulator::new(Config::default()), Arc::new(RateLimit::new(1000)));
    let narrow = |name: &str| client(&simulator, &limit).with_budget(Budget::new(name.into(), 9));
    let (one, other) = (ebs(narrow("shop/one"), Priority::Change), ebs(narrow("shop/other"), Priority::Change));
    let calls = (0..60).map(|_| one.groups(SiteRole::Production, &[]));
    let outcomes = futures::future::join_all(calls).await;
    let given_up: Vec<_> = outcomes.iter().filter_map(|it| it.as_ref().err()).collect();
    // One at once and nine in each of five seconds; a slow machine makes room for a few more.
    assert!((5..=14).contains(&given_up.len()), "{} calls were given up", given_up.len());
    assert!(given_up.iter().all(|error| own_limit(error).is_some()), "{given_up:?}");
    let started = std::time::Instant::now();
    other.groups(SiteRole::Production, &[]).await.expect("the other account has a budget of its own");
    assert!(started.elapsed() < Duration::from_secs(1));
    let usage = limit.usage(std::time::Instant::now());
    let named = |account: &str| usage.iter().find(|it| it.account == account).expect("it is used").clone();
    assert_eq!(named("shop/one").totals.exhausted, given_up.len() as u64);
    assert_eq!((named("shop/one").identity.as_str(), named("shop/other").totals.exhausted), ("", 0));
    // Both have the same key.
    assert_eq!(usage.iter().filter(|it| it.account.is_empty()).count(), 1, "{usage:?}");
}

#[tokio::test]
async fn clock_skew_is_that_of_last_answer_in_region() {
    let (simulator, limit) = (Simulator::new(Config::default()), Arc::new(RateLimit::new(1000)));
    let client = client(&simulator, &limit);
    let (here, clone) = (rocketmq(client.clone(), "cn-hangzhou"), rocketmq(client.clone(), "cn-hangzhou"));
    let elsewhere = rocketmq(client, "cn-shanghai");
    assert_eq!(here.clock_skew(), Duration::ZERO);
    for (offset_ms, expected) in [(0_i64, 0..=0), (120_000, 118..=120), (-300_000, 297..=300), (0, 0..=0)] {
        simulator.set_clock_offset_ms(offset_ms);
        here.list_plans().await.expect("within the window of signatures");
        let skew = clone.clock_skew();
        assert!(expected.contains(&skew.as_secs()), "{skew:?} at {offset_ms} ms");
        assert_eq!(elsewhere.clock_skew(), Duration::ZERO);
    }
    // A refusal is an answer too.
    simulator.set_clock_offset_ms(3_600_000);
    here.list_plans().await.expect_err("too far ahead");
    assert!(here.clock_skew() > Duration::from_secs(3590));
}
