//! The operator in this process, with the shipped permissions, against a simulator's router.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use disaster_recovery_operator::cloud::client::{self, HttpService};
use disaster_recovery_operator::cloud::clock::Clock;
use disaster_recovery_operator::cloud::endpoint::Allowed;
use disaster_recovery_operator::cloud::rate_limit::RateLimit;
use disaster_recovery_operator::controller::access::Variables;
use disaster_recovery_operator::controller::shard::Shard;
use disaster_recovery_operator::controller::{self, Context, SecretName, Settings};
use disaster_recovery_operator::leadership::Leadership;
use disaster_recovery_operator::telemetry::metrics::Metrics;
use kube::client::{Body, ClientBuilder};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tower::{Service, ServiceExt};

use crate::kubernetes::Requests;
use crate::{ControlPlane, eventually_blocking};

/// The HTTP service below a kube client.
type Inner = tower::util::BoxService<http::Request<Body>, http::Response<Box<kube::client::DynBody>>, tower::BoxError>;

/// The namespace and service account of the default installation.
pub const SYSTEM: (&str, &str) = ("disaster-recovery-system", "disaster-recovery-operator");

/// Installs `deploy/` once in this process's control plane and gives the operator's own kubeconfig.
pub fn installed() -> &'static PathBuf {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let plane = ControlPlane::shared();
        let deploy = crate::path("deploy").display().to_string();
        eventually_blocking(Duration::from_secs(30), "kubectl apply -k deploy/", || {
            plane.kubectl(&["apply", "--server-side", "--force-conflicts", "-k", &deploy]).checked().ok()
        });
        let crds = ["alibabacloudaccounts", "disasterrecoveryplans", "diskreplicagroups"];
        let crds = crds.map(|plural| format!("crd/{plural}.disasterrecovery.dev"));
        let wait = ["wait", "--for=condition=Established", &crds[0], &crds[1], &crds[2], "--timeout=30s"];
        plane.kubectl(&wait).checked().expect("the definitions are established");
        plane.service_account_kubeconfig(SYSTEM.0, SYSTEM.1).expect("the service account has a token")
    })
}

/// Stops an operator dead: after a given number of calls nothing gets through any more, and what is in hand never ends.
#[derive(Clone, Default)]
pub struct Tripwire(Arc<Wire>);

#[derive(Default)]
struct Wire {
    at: Option<usize>,
    calls: AtomicUsize,
    tripped: Notify,
}

impl Tripwire {
    /// Lets `calls` calls through.
    pub fn after(calls: usize) -> Self {
        Self(Arc::new(Wire { at: Some(calls), ..Wire::default() }))
    }

    /// Waits until it has stopped the operator.
    pub async fn tripped(&self) {
        self.0.tripped.notified().await;
    }

    async fn before(&self) {
        if self.0.at.is_some_and(|at| self.0.calls.load(Ordering::SeqCst) >= at) {
            std::future::pending::<()>().await;
        }
    }

    async fn after_call(&self) {
        let calls = self.0.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if self.0.at.is_some_and(|at| calls >= at) {
            self.0.tripped.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

/// Settings for tests: quick, one namespace, the simulator's keys in a Secret.
pub fn settings(namespace: &str) -> Settings {
    Settings {
        namespaces: vec![namespace.into()],
        selector: None,
        shard: Shard::ALL,
        workers: 4,
        poll_interval: Duration::from_millis(500),
        transition_interval: Duration::from_millis(100),
        retry_interval: Duration::from_millis(100),
        visibility_window: Duration::from_secs(2),
        content_hash_rounds: 1,
        rocketmq_endpoint: None,
        ebs_endpoint: None,
        sts_endpoint: None,
        metadata_endpoint: None,
        allowed_endpoints: Allowed::default(),
        credentials_secret: Some(SecretName { namespace: namespace.into(), name: "cloud".into() }),
        variables: Variables::default(),
        default_account_namespaces: vec![namespace.into()],
        cluster_id: None,
    }
}

/// A running operator. Dropped, it is stopped dead.
pub struct Operator {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    /// Its metrics.
    pub metrics: Arc<Metrics>,
    /// Its requests to Kubernetes.
    pub requests: Requests,
}

impl Operator {
    /// Starts an operator; its calls to the cloud and writes to Kubernetes go through `wire`.
    pub async fn start(cloud: HttpService, settings: Settings, wire: Tripwire) -> Self {
        Self::start_at(Clock::system(), cloud, settings, wire).await
    }

    /// As [`Operator::start`], with a clock.
    pub async fn start_at(clock: Clock, cloud: HttpService, settings: Settings, wire: Tripwire) -> Self {
        let (leadership, requests) = (Leadership::without_election(), Requests::default());
        Self::start_led(leadership, clock, (cloud, requests), settings, (wire, || {})).await
    }

    /// As [`Operator::start_at`], with a leadership and a record of requests. Calls `ready` once the caches are filled.
    pub async fn start_led(
        leadership: Leadership,
        clock: Clock,
        (cloud, requests): (HttpService, Requests),
        settings: Settings,
        (wire, ready): (Tripwire, impl FnOnce() + Send + 'static),
    ) -> Self {
        let kubeconfig = kube::config::Kubeconfig::read_from(installed()).expect("the kubeconfig reads");
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.expect("it is usable");
        let (kube_wire, record) = (wire.clone(), requests.clone());
        let client = ClientBuilder::try_from(config)
            .expect("a client")
            .with_layer(&tower::layer::layer_fn(move |inner: Inner| {
                let (wire, record) = (kube_wire.clone(), record.clone());
                let inner = Arc::new(tokio::sync::Mutex::new(inner));
                tower::service_fn(move |request: http::Request<Body>| {
                    let (inner, wire, record) = (inner.clone(), wire.clone(), record.clone());
                    async move {
                        let changing = request.method() != http::Method::GET;
                        let Some(recorded) = record.record(&request) else { return Err("the list is refused".into()) };
                        if changing {
                            wire.before().await;
                        }
                        // Only the start of a call needs the service.
                        let call = inner.lock().await.ready().await?.call(request);
                        let answer = call.await;
                        if changing {
                            wire.after_call().await;
                        }
                        match recorded.watches() {
                            true => Ok(answer?.map(|body| record.holdable(body))),
                            false => answer,
                        }
                    }
                })
            }))
            .build();
        let cloud = tower::service_fn(move |request| {
            let (cloud, wire) = (cloud.clone(), wire.clone());
            async move {
                wire.before().await;
                let answer = cloud.oneshot(request).await;
                wire.after_call().await;
                answer
            }
        });
        let metrics = Arc::new(Metrics::new());
        let counted = metrics.clone();
        let listener: client::Listener = Arc::new(move |finished| counted.requested(finished));
        let budget = Arc::new(RateLimit::new(135));
        metrics.budget(budget.clone());
        let cloud = client::Client::new(HttpService::new(cloud), budget, Duration::from_secs(2), listener);
        let cloud = cloud.with_clock(clock);
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = controller::shutdown(async move { drop(stopped.await) });
        let context = Context::new(client, cloud, settings, metrics.clone()).await.expect("the operator starts");
        let task = tokio::spawn(controller::run(Arc::new(context), leadership, shutdown, ready));
        Self { stop: Some(stop), task, metrics, requests }
    }

    /// Ends it as SIGTERM does: what is in hand is finished.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        tokio::time::timeout(Duration::from_secs(30), &mut self.task).await.expect("it ends").expect("without a panic");
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.task.abort();
    }
}
