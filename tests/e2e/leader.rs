//! Several operators at once, as users run them: one works, and another takes over when the first fails.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use disaster_recovery_operator::simulator::model::Rules;
use disaster_recovery_operator::simulator::{AccessKey, Config, Fault, FaultKind, RequestRecord};
use jiff::Timestamp;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};

use test_support::operator::installed;
use test_support::process::{Operator, lease, served};
use test_support::stage::DEADLINE;
use test_support::stage::plans::{World, one_way};
use test_support::{ControlPlane, eventually};

/// The program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_dr-operator");
/// The lease is one for all tests of this process.
static LEASE: Mutex<()> = Mutex::const_new(());

/// Duration of the lease, renew deadline of its holder, and maximum delay of the next leader beyond both.
const LEASE_DURATION: Duration = Duration::from_secs(6);
const RENEW_DEADLINE: Duration = Duration::from_secs(4);
const MARGIN: Duration = Duration::from_secs(5);

/// An operator that is elected.
fn start(key: &'static str, world: &World, cloud: &str, kubeconfig: &Path) -> Operator {
    let election = ["--leader-elect", "--leader-elect-lease-duration=6s", "--leader-elect-renew-deadline=4s"];
    let more = ["--leader-elect-retry-period=1500ms", "--retry-interval=200ms", "--rocketmq-endpoint", cloud];
    Operator::quick(PROGRAM, key, world, kubeconfig, &[&election[..], &more].concat())
}

/// A cloud with a key for each of three operators.
fn three_keys() -> Config {
    let keys = ["first", "second", "third"].map(|id| AccessKey::new(id, "secret"));
    Config { keys: keys.to_vec(), ..Config::default() }
}

/// A world with three keys, its cloud on a port, and plans that a task changes until the end is dropped.
async fn busy() -> (World, String, watch::Sender<()>) {
    let world = World::on(three_keys()).await;
    let url = served(&world).await;
    let plans = ["orders", "payments"];
    for plan in plans {
        let mut spec = one_way(&[plan]);
        spec["planName"] = json!(plan);
        world.create(plan, spec).await;
    }
    let (end, ended) = watch::channel(());
    let editor = world.of();
    tokio::spawn(async move {
        let mut ended = ended;
        for number in 0.. {
            let pause = tokio::time::timeout(Duration::from_millis(150), ended.changed());
            if pause.await.is_ok() {
                break;
            }
            for plan in plans {
                let editor: &World = &editor;
                editor.patch(plan, json!({ "spec": { "planDesc": format!("change {number}") } })).await;
            }
        }
    });
    (world, url, end)
}

/// The calls that changed the cloud or tried to.
fn writes(world: &World) -> Vec<RequestRecord> {
    world.cloud.requests().into_iter().filter(|it| it.changing).collect()
}

fn by(request: &RequestRecord, operator: &Operator) -> bool {
    request.access_key_id.as_deref() == Some(operator.key())
}

/// Waits until an operator changes the cloud.
async fn works(world: &World, operator: &Operator) {
    let before = writes(world).iter().filter(|it| by(it, operator)).count();
    eventually(DEADLINE, format!("{} changes the cloud", operator.key()), async || {
        (writes(world).iter().filter(|it| by(it, operator)).count() > before).then_some(())
    })
    .await;
}

async fn holder() -> Option<String> {
    lease().await?.holder_identity
}

/// The operators that changed the cloud, in the order of signing: one that occurs twice was not the only one in between. A request
/// that a process hands to the network before it is stopped may arrive when it continues.
fn turns(world: &World) -> Vec<String> {
    let mut all = writes(world);
    all.sort_by(|a, b| a.signed_at.cmp(&b.signed_at));
    let mut turns: Vec<_> = all.into_iter().filter_map(|it| it.access_key_id).collect();
    turns.dedup();
    turns
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_leader_is_replaced_without_two_writers() {
    let _lease = LEASE.lock().await;
    let (world, cloud, _changes) = busy().await;
    let mut first = start("first", &world, &cloud, installed());
    works(&world, &first).await;
    let second = start("second", &world, &cloud, installed());
    second.says("waiting for the lease").await;
    works(&world, &first).await;
    assert!(holder().await.expect("it is held").starts_with("first_"));
    assert!(!world.cloud.requests().iter().any(|it| by(it, &second)), "who stands by makes no call, not even a read");

    let killed = Instant::now();
    first.signal("-KILL");
    first.ended().await;
    works(&world, &second).await;
    assert!(killed.elapsed() < LEASE_DURATION + MARGIN, "taken over after {:?}", killed.elapsed());

    let mut third = start("third", &world, &cloud, installed());
    third.says("waiting for the lease").await;
    works(&world, &second).await;
    let stopped = Instant::now();
    second.signal("-STOP");
    works(&world, &third).await;
    assert!(stopped.elapsed() < LEASE_DURATION + MARGIN, "taken over after {:?}", stopped.elapsed());
    let mut second = second;
    second.signal("-CONT");
    assert_eq!(second.ended().await, Some(1), "who lost the lease ends, and not as if all were well");
    assert!(second.said().contains("the lease is lost"), "{}", second.said());
    works(&world, &third).await;
    assert_eq!(turns(&world), ["first", "second", "third"]);
    assert_eq!(world.cloud.plans().len(), 2, "no plan twice: {:#?}", world.cloud.plans());

    third.signal("-TERM");
    assert_eq!(third.ended().await, Some(0));
    assert_eq!(holder().await.as_deref(), Some(""), "a clean end gives it back");
    let next = start("first", &world, &cloud, installed());
    next.says("\"leading\"").await;
    assert!(!next.said().contains("waiting for the lease"), "no candidate waits for a released lease: {}", next.said());
}

/// A way to kube-apiserver that can be cut: what is sent is swallowed from then on.
async fn cuttable(world: &World) -> (PathBuf, watch::Sender<bool>) {
    let plane = ControlPlane::shared();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (ours, theirs) = (listener.local_addr().expect("an address"), plane.url().authority().expect("a port").clone());
    let (cut, is_cut) = watch::channel(false);
    let server = theirs.to_string();
    tokio::spawn(async move {
        loop {
            let Ok((mut client, _)) = listener.accept().await else { return };
            let (server, mut is_cut) = (server.clone(), is_cut.clone());
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await.expect("kube-apiserver is there");
                let cut = async { drop(is_cut.wait_for(|cut| *cut).await) };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
                    () = cut => {}
                }
                // Both ends stay open, and nothing comes.
                std::future::pending::<()>().await;
            });
        }
    });
    let kubeconfig = std::fs::read_to_string(installed()).expect("the kubeconfig reads");
    let kubeconfig = kubeconfig.replace(&theirs.to_string(), &ours.to_string());
    let file = plane.folder().join(format!("cuttable-{}.kubeconfig", world.namespace));
    std::fs::write(&file, kubeconfig).expect("the kubeconfig is written");
    (file, cut)
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_leader_ends_before_the_next_starts() {
    let _lease = LEASE.lock().await;
    let (world, cloud, _changes) = busy().await;
    let (kubeconfig, cut) = cuttable(&world).await;
    let mut first = start("first", &world, &cloud, &kubeconfig);
    works(&world, &first).await;
    let second = start("second", &world, &cloud, installed());
    second.says("waiting for the lease").await;
    works(&world, &first).await;
    let since = Instant::now();
    cut.send_replace(true);
    assert_eq!(first.ended().await, Some(1));
    // Its last renewal was before the cut.
    assert!(since.elapsed() < RENEW_DEADLINE + Duration::from_secs(1), "it ended after {:?}", since.elapsed());
    let taken = writes(&world).iter().any(|it| by(it, &second));
    assert!(!taken, "the other one began while this one was still there");
    works(&world, &second).await;
    assert!(since.elapsed() < LEASE_DURATION + MARGIN, "taken over after {:?}", since.elapsed());
    assert_eq!(turns(&world), ["first", "second"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn protection_outlives_its_leader_for_a_limited_time() {
    const OBJECTIVE: Duration = Duration::from_secs(120);
    let _lease = LEASE.lock().await;
    let world = World::on(Config { rules: Rules { sync_interval_ms: 200, ..Rules::default() }, ..three_keys() }).await;
    let cloud = served(&world).await;
    let mut spec = one_way(&["orders", "billing"]);
    spec["recoveryPointObjective"] = json!("2m");
    world.create("orders", spec).await;
    let mut first = start("first", &world, &cloud, installed());
    world.condition("orders", "Protected", "True", "WithinObjective").await;
    let mut second = start("second", &world, &cloud, installed());
    second.says("waiting for the lease").await;

    // Nothing renews the evidence of the first, which lasts longer than that of a former leader.
    world.cloud.add_fault(Fault::new(FaultKind::Html { status: 502 }).of_action("ListDisasterRecoveryCheckpoints"));
    first.signal("-KILL");
    first.ended().await;
    let renewed = lease().await.and_then(|it| it.renew_time).expect("it was renewed").0;
    second.says("\"leading\"").await;
    let ends = renewed.checked_add(OBJECTIVE / 8).expect("a time");
    let left = Duration::try_from(ends.duration_since(Timestamp::now())).unwrap_or_default();
    let unknown = world.condition("orders", "Protected", "Unknown", "Unknown");
    tokio::time::timeout(left + MARGIN, unknown).await.expect("no evidence of the second supports it");
    world.cloud.clear_faults();
    world.condition("orders", "Protected", "True", "WithinObjective").await;

    let third = start("third", &world, &cloud, installed());
    third.says("waiting for the lease").await;
    second.signal("-KILL");
    second.ended().await;
    let sampled = || world.cloud.requests().into_iter().any(|it| by(&it, &third) && it.action.contains("Checkpoints"));
    eventually(DEADLINE, "the third reads checkpoints", async || sampled().then_some(())).await;
    world.request_reconcile("orders").await;
    world.condition("orders", "Protected", "True", "WithinObjective").await;
    assert_eq!(world.cloud.plans().len(), 1);
}
