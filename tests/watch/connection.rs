//! The operator's connection to kube-apiserver, through a network that ends it or falls silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use disaster_recovery_operator::kubernetes;
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, WatchEvent, WatchParams};
use serde_json::json;
use test_support::stage::DEADLINE;
use test_support::{ControlPlane, eventually};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the network does to the connections that there are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    Passes,
    Ends,
    /// It passes nothing on, and says nothing of it.
    Silent,
}

/// A network between a client and kube-apiserver, and the number of connections that were ever made. Only connections that are there
/// at the time of a trouble have it.
struct Path {
    connections: Arc<AtomicUsize>,
    trouble: watch::Sender<Network>,
    client: kube::Client,
}

impl Path {
    async fn new() -> Self {
        let mut config = ControlPlane::shared().admin_config();
        let server = config.cluster_url.authority().expect("a host and a port").to_string();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        config.cluster_url = format!("https://127.0.0.1:{port}").parse().expect("a URL");
        let (connections, trouble) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(Network::Passes));
        let (made, troubles) = (connections.clone(), trouble.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                made.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(pass(client, server.clone(), troubles.subscribe()));
            }
        });
        Self { connections, trouble, client: kubernetes::client(config).expect("a client") }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn namespaces(&self) -> Api<Namespace> {
        Api::all(self.client.clone())
    }
}

async fn pass(mut client: TcpStream, server: String, mut trouble: watch::Receiver<Network>) {
    let mut server = TcpStream::connect(server).await.expect("kube-apiserver listens");
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = trouble.changed() => {}
    }
    if *trouble.borrow() == Network::Silent {
        std::future::pending::<()>().await;
    }
}

/// More than a server allows on one connection.
const WATCHES: usize = 120;

#[tokio::test(flavor = "multi_thread")]
async fn requests_share_a_connection_apart_from_watches() {
    let path = Path::new().await;
    let (plane, namespace) = (ControlPlane::shared(), ControlPlane::shared().namespace("connection"));
    let objects: Api<ConfigMap> = Api::namespaced(path.client.clone(), &namespace);
    let names = path.namespaces();
    names.get(&namespace).await.expect("an answer");
    let params = WatchParams::default();
    let watches = join_all((0..WATCHES).map(|_| objects.watch(&params, "0"))).await;
    join_all((0..64).map(|_| names.get(&namespace))).await.into_iter().for_each(|it| drop(it.expect("an answer")));
    assert_eq!(path.connections(), WATCHES + 1);
    let one = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "one", "namespace": namespace } });
    plane.apply_yaml(&one.to_string()).expect("applied");
    let is_one = |event: &WatchEvent<ConfigMap>| matches!(event, WatchEvent::Added(it) if it.metadata.name.as_deref() == Some("one"));
    for events in watches {
        let mut events = events.expect("a watch").boxed();
        while !is_one(&events.try_next().await.expect("no error").expect("an event")) {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_that_ends_or_falls_silent_is_replaced() {
    for trouble in [Network::Ends, Network::Silent] {
        let path = Path::new().await;
        let names = path.namespaces();
        names.get("default").await.expect("an answer");
        path.trouble.send_replace(trouble);
        eventually(DEADLINE, "requests are answered again", async || names.get("default").await.ok()).await;
        assert_eq!(path.connections(), 2);
    }
}
