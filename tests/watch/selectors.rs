//! The operator and kube-apiserver agree on which label selectors there are.

use disaster_recovery_operator::api::plan::DisasterRecoveryPlan;
use disaster_recovery_operator::controller::selector::check;
use kube::api::{Api, ListParams};

use test_support::stage::plans::World;

const ACCEPTED: &[&str] = &[
    "",
    " ",
    "team",
    "team=a",
    "team==a",
    "team = a",
    "team!=a",
    "team=",
    "team!=",
    "team=,app",
    "!team",
    "! team",
    "team,app=web",
    "team in (a)",
    "team in ()",
    "team in (a, b)",
    "team in (a,)",
    "team in (,a)",
    "team in (,)",
    "team in (a,,b)",
    "team notin (a,b),!app",
    "example.com/team=a",
    "example.com/team in (a,b)",
    "size>5",
    "in=a",
    "in in (in,notin)",
    "notin",
    "TEAM=A_b.c-d",
    "1=2",
    "a.b.c/x",
    "team=a,team=b",
];

const REFUSED: &[&str] = &[
    ",",
    "team,",
    ",team",
    "team=a,",
    "team=a b",
    "team a",
    "team=a=b",
    "=a",
    "!",
    "!team=a",
    "!!team",
    "team in",
    "team in a",
    "team in (a",
    "team in (a b)",
    "team in (=)",
    "team in a)",
    "team notin ((a))",
    "team>a",
    "team>",
    "team=-a",
    "team=a-",
    "team=a/b",
    "-team",
    "team-",
    "team_=a",
    "/team",
    "example.com/",
    "example_com/team",
    "Example.com/team",
    "a/b/c",
    "team=*",
    "*",
    "team~a",
    "téam",
    "team=a;app=b",
    "team=(a)",
    "\"team\"=a",
    "size<-3",
];

#[tokio::test(flavor = "multi_thread")]
async fn operator_and_server_accept_the_same_selectors() {
    let world = World::new().await;
    let plans: Api<DisasterRecoveryPlan> = world.api();
    let (longest, longer) = ("a".repeat(63), "a".repeat(64));
    let long = [format!("{longest}={longest}"), longer.clone(), format!("team={longer}")];
    let [accepted, refused @ ..] = long.each_ref().map(String::as_str);
    let mut wrong = vec![];
    let all = ACCEPTED.iter().copied().chain([accepted]).map(|it| (it, true));
    for (selector, expected) in all.chain(REFUSED.iter().copied().chain(refused).map(|it| (it, false))) {
        let listed = plans.list_metadata(&ListParams::default().labels(selector)).await;
        match &listed {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 400 => {}
            Err(error) => panic!("{selector:?}: {error}"),
        }
        let (by_server, by_us) = (listed.is_ok(), check(selector).is_ok());
        if (by_server, by_us) != (expected, expected) {
            wrong.push(format!("{selector:?}: kube-apiserver {by_server}, operator {by_us}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}
