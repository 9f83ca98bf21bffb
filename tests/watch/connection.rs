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

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_watches_share_one_connection() {
    let path = Path::new().await;
    let (plane, namespace) = (ControlPlane::shared(), ControlPlane::shared().namespace("connection"));
    let objects: Api<ConfigMap> = Api::namespaced(path.client.clone(), &namespace);
    let mut events = objects.watch(&WatchParams::default(), "0").await.expect("a watch").boxed();
    let names = path.namespaces();
    join_all((0..64).map(|_| names.get(&namespace))).await.into_iter().for_each(|it| drop(it.expect("an answer")));
    plane
        .apply_yaml(
            &json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "one", "namespace": namespace } })
                .to_string(),
        )
        .expect("applied");
    let is_one = |event: &WatchEvent<ConfigMap>| matches!(event, WatchEvent::Added(it) if it.metadata.name.as_deref() == Some("one"));
    while !is_one(&events.try_next().await.expect("no error").expect("an event")) {}
    assert_eq!(path.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_that_ends_or_falls_silent_is_replaced() {
    for trouble in [Network::Ends, Network::Silent] {
        let path = Path::new().await;
        let names = path.namespaces();
        let watched = names.watch(&WatchParams::default(), "0").await.expect("a watch");
        path.trouble.send_replace(trouble);
        // The watch ends, so that the operator watches anew.
        tokio::time::timeout(DEADLINE, watched.for_each(async |_| {})).await.expect("the watch ends");
        eventually(DEADLINE, "requests are answered again", async || names.get("default").await.ok()).await;
        assert_eq!(path.connections(), 2);
    }
}
