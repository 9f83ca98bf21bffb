//! Two shards, each an operator with its own lease, and objects that change their shard.

use disaster_recovery_operator::api::SHARD_LABEL;
use disaster_recovery_operator::api::account::AlibabaCloudAccountStatus;
use disaster_recovery_operator::api::condition::{condition_type, synced};
use disaster_recovery_operator::api::plan::DisasterRecoveryPlan;
use disaster_recovery_operator::cloud::clock::Clock;
use disaster_recovery_operator::leadership::Leadership;
use disaster_recovery_operator::simulator::model::Rules;
use kube::api::PostParams;
use serde_json::{Value, json};

use test_support::eventually;
use test_support::kubernetes::Requests;
use test_support::operator::{Operator, Tripwire};
use test_support::stage::accounts::plan_of;
use test_support::stage::plans::{World, one_way};
use test_support::stage::{DEADLINE, has};

/// Starts the operator of a shard. Its lease has the same name.
async fn shard(world: &World, shard: &str) -> Operator {
    let mut settings = world.settings.clone();
    settings.shard = shard.parse().expect("a shard");
    let leadership = Leadership::without_election().with_lease(&lease(shard));
    let wire = (world.wire(), Requests::default());
    Operator::start_led(leadership, Clock::system(), wire, settings, (Tripwire::default(), || {})).await
}

fn lease(shard: &str) -> String {
    format!("operators/{}", shard.replace('/', "-of-"))
}

async fn assign(world: &World, name: &str, shard: Value) {
    world.patch(name, json!({ "metadata": { "labels": { SHARD_LABEL: shard } } })).await;
}

/// A plan of its own instances.
fn spec_of(name: &str) -> Value {
    let mut spec = one_way(&[name]);
    spec["planName"] = json!(name);
    spec
}

/// The writes of an operator to objects of a name.
fn writes(operator: &Operator, name: &str) -> Vec<String> {
    let of_object = |it: &String| it.split('/').any(|part| part == name);
    operator.requests.writes().into_iter().filter(of_object).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shard_serves_its_own_objects() {
    let world = World::new().await;
    let (first, second) = (shard(&world, "0/2").await, shard(&world, "1/2").await);
    let account = json!({ "credentials": { "secretRef": { "name": "cloud" } } });
    world.accounts().create("main", account).await;
    for (name, number) in [("without", None), ("own", Some("1")), ("unknown", Some("7"))] {
        let mut spec = spec_of(name);
        spec["accountRef"] = plan_of("main")["accountRef"].clone();
        let labels = number.map(|number| (SHARD_LABEL.to_owned(), number.to_owned())).into_iter().collect();
        let mut plan = DisasterRecoveryPlan::new(name, serde_json::from_value(spec).expect("a spec"));
        plan.metadata.labels = Some(labels);
        world.api().create(&PostParams::default(), &plan).await.expect("the plan is accepted");
    }
    for (name, served_by) in [("without", "0/2"), ("own", "1/2"), ("unknown", "0/2")] {
        assert_eq!(world.ready(name).await.head.lease, Some(lease(served_by)), "{name}");
    }
    assert_eq!(world.cloud.plans().len(), 3);
    assert_eq!(
        [writes(&first, "own"), writes(&second, "without"), writes(&second, "unknown")].concat(),
        Vec::<String>::new()
    );

    // The first shard alone writes the status of the account. It does not know the users of the others.
    let available = |it: &AlibabaCloudAccountStatus| has(it, condition_type::READY, "True", "Available");
    let status = world.accounts().status("main", "the account is available", available).await;
    assert_eq!(status.used_by, None);
    assert_eq!(writes(&second, "main"), Vec::<String>::new());
    for name in ["without", "unknown"] {
        world.delete(name).await;
        world.gone(name).await;
    }
    world.accounts().delete("main").await;
    let kept =
        |it: &AlibabaCloudAccountStatus| it.conditions.iter().any(|it| it.message.contains("DisasterRecoveryPlan own"));
    world.accounts().status("main", "the account is kept for a plan of another shard", kept).await;
    world.delete("own").await;
    world.gone("own").await;
    world.accounts().gone("main").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_that_changes_its_shard_is_changed_by_neither_at_first() {
    let world = World::with(Rules { update_while_running: true, ..Rules::default() }).await;
    let (first, second) = (shard(&world, "0/2").await, shard(&world, "1/2").await);
    world.create("moved", spec_of("moved")).await;
    world.create("other", spec_of("other")).await;
    let id = world.ready("moved").await.plan_id.and_then(|id| id.parse().ok()).expect("an ID");
    assign(&world, "other", json!("1")).await;
    world.condition("other", condition_type::SYNCED, "Unknown", synced::TAKING_OVER).await;

    // The first shard does not notice that the plan moves.
    first.requests.hold_watches(true);
    assign(&world, "moved", json!("1")).await;
    let status = world.condition("moved", condition_type::SYNCED, "Unknown", synced::TAKING_OVER).await;
    let leases = (status.head.lease, status.head.former_lease);
    assert_eq!(leases, (Some(lease("1/2")), Some(lease("0/2"))));
    for condition in [condition_type::READY, condition_type::PROTECTED, condition_type::OFFSETS_COVERED] {
        assert!(status.head.conditions.iter().any(|it| it.type_ == condition && it.status == "Unknown"), "{condition}");
    }
    // The first shard finds an external change in its list of plans, and its version of the object is from before the move.
    let (known, reads) = (world.cloud.requests().len(), first.requests.gets("moved"));
    let renamed = json!({ "planName": "renamed" });
    world.cloud.with_model(|model, now| model.edit_plan(id, &renamed, now)).expect("edited");
    let tries = async || (first.requests.gets("moved") > reads).then_some(());
    eventually(DEADLINE, "the first shard reads whether it still serves the plan", tries).await;
    let tries = async || (first.requests.gets("moved") > reads + 1).then_some(());
    eventually(DEADLINE, "it reads that again", tries).await;
    let changing: Vec<_> = world.cloud.requests().into_iter().skip(known).filter(|it| it.changing).collect();
    assert!(changing.is_empty(), "{changing:?}");
    assert_eq!(world.get("moved").await.and_then(|it| it.status).and_then(|it| it.head.lease), Some(lease("1/2")));
    drop(second);
}
