//! The benchmark in short, as a test: how many calls and writes some plans cost. It asserts no times.
#![allow(clippy::expect_used, reason = "a test that cannot go on says why")]

use std::time::Duration;

use test_support::bench::load::{Kind, Load};
use test_support::bench::measure::{Bench, Options};
use test_support::bench::stage::{Ending, Programs};

const PLANS: usize = 50;
/// Maximum number of Kubernetes writes for a new plan with two mappings: the object, its status and an event. Each first sample that a busy
/// machine reads late is one of them.
const WRITES_PER_NEW_PLAN: u64 = 9;
/// Maximum number of Kubernetes GETs of a new object: one that is created while the freshness of the cache is proven needs one.
const GETS_PER_NEW_PLAN: u64 = 1;
/// Maximum number of Kubernetes GETs of all objects that a new leader takes over: those that change while it lists the versions, by the end
/// of what it inherited.
const GETS_OF_NEW_LEADER: u64 = 25;
/// Lists of plans that the time at rest covers.
const LISTS: u64 = 2;
/// Maximum number of `GetDisasterRecoveryPlan` of a plan at rest between two lists of plans.
const PLAN_READS_PER_LIST: u64 = 1;
/// Lists that may begin at the edges of the time at rest.
const MORE_LISTS: u64 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_plans_cost_few_calls_and_writes() {
    // A busy machine must not cost the leader its lease.
    let flags = ["--poll-interval=3s", "--leader-elect-lease-duration=60s", "--leader-elect-renew-deadline=50s"]
        .map(str::to_owned);
    let options = Options {
        load: Load { kind: Kind::Plans, objects: PLANS, namespaces: 5, poll_s: 3 },
        programs: Programs {
            operator: env!("CARGO_BIN_EXE_dr-operator").into(),
            simulator: env!("CARGO_BIN_EXE_cloud-simulator").into(),
            operator_args: flags.into(),
        },
        quiet: Duration::from_secs(4),
        rest: Some(Duration::ZERO),
        lists: LISTS,
        edits: 5,
        ending: Some(Ending::Terminate),
        edits_after_restart: 0,
    };
    let mut bench = Bench::start(options).await.expect("everything starts");
    let figures = bench.measure(|_| Ok(())).await.expect("everything is measured");
    println!("{figures:#?}");

    let plans = PLANS as u64;
    let created = &figures.created;
    assert!(created.kubernetes_writes <= WRITES_PER_NEW_PLAN * plans, "writes of new plans: {:?}", created.kubernetes);
    assert!(created.kubernetes_gets <= GETS_PER_NEW_PLAN * plans, "GETs of new plans: {:?}", created.kubernetes);
    assert_eq!(created.cloud.refused(), 0, "refused calls of new plans: {:?}", created.cloud);

    let rest = figures.rest.expect("it was measured");
    let [lists, reads] =
        ["ListDisasterRecoveryPlans", "GetDisasterRecoveryPlan"].map(|action| rest.cloud.of(action).calls);
    assert_eq!(rest.kubernetes.writes(), 0, "writes at rest: {:?}", rest.kubernetes);
    assert_eq!(rest.refused, 0, "refused calls at rest: {:?}", rest.cloud);
    assert!((LISTS..=LISTS + MORE_LISTS).contains(&lists), "lists of plans at rest: {:?}", rest.cloud);
    assert!(reads <= PLAN_READS_PER_LIST * plans * (lists + 1), "reads of plans at rest: {:?}", rest.cloud);

    assert_eq!(figures.edits.expect("they were measured").lost, 0, "every edit reaches the cloud");

    let restart = figures.restart.expect("it was measured");
    assert!(restart.kubernetes_gets <= GETS_OF_NEW_LEADER, "GETs of a new leader: {:?}", restart.kubernetes);
    assert_eq!(restart.cloud.refused(), 0, "refused calls of a new leader: {:?}", restart.cloud);
}
