//! The command line of the operator.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, Subcommand};
use disaster_recovery_operator::api;
use disaster_recovery_operator::cloud::endpoint::Allowed;
use disaster_recovery_operator::cloud::fence::Fence;
use disaster_recovery_operator::cloud::operation::ApiOperation;
use disaster_recovery_operator::cloud::rate_limit::RateLimit;
use disaster_recovery_operator::cloud::{client, ebs, endpoint, sts};
use disaster_recovery_operator::controller::access::Variables;
use disaster_recovery_operator::controller::secrets::CONTENT_HASH_ROUNDS;
use disaster_recovery_operator::controller::shard::Shard;
use disaster_recovery_operator::controller::takeover::MAX_CLOUD_TIMEOUT;
use disaster_recovery_operator::controller::{self, Context, SecretName, Settings};
use disaster_recovery_operator::controller::{names, selector};
use disaster_recovery_operator::kubernetes;
use disaster_recovery_operator::leadership::election::Timing;
use disaster_recovery_operator::leadership::{self, Candidate, Leadership};
use disaster_recovery_operator::telemetry::health::{self, Readiness};
use disaster_recovery_operator::telemetry::logging::{self, Format};
use disaster_recovery_operator::telemetry::metrics::Metrics;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Keeps disaster-recovery set-ups on Alibaba Cloud as Kubernetes resources.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the operator, in a cluster or with the cluster of KUBECONFIG.
    Run(Box<Run>),
    /// Asks an address such as http://HOST:PORT/readyz, and fails unless the answer is that all is well.
    Probe {
        /// The address.
        url: String,
    },
    /// Prints the custom resource definitions.
    Crd {
        /// Writes one file a kind into this folder instead.
        #[arg(long)]
        output: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
struct Run {
    /// A namespace to watch; repeatable, or separated by commas. Default: all namespaces.
    #[arg(long = "namespace", env = "DR_OPERATOR_NAMESPACE", value_delimiter = ',', value_parser = namespace)]
    namespaces: Vec<String>,
    /// Watches only objects with these labels.
    #[arg(long, env = "DR_OPERATOR_LABEL_SELECTOR", value_parser = label_selector)]
    label_selector: Option<String>,
    /// The number of this process and the number of all shards, such as 1/3. It serves the plans and groups with the label
    /// disasterrecovery.dev/shard=1; number 0 serves all others and the accounts. The lease of another number than 0 has -shard-NUMBER at
    /// the end of its name, and each shard makes its part of the calls in a second.
    #[arg(long, env = "DR_OPERATOR_SHARD", default_value = "0/1")]
    shard: Shard,
    /// How many objects of a kind are reconciled at a time, for each account and region. Half as many more wait for new items to start.
    #[arg(long, env = "DR_OPERATOR_WORKERS", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    workers: u16,
    /// The interval between two observations of an object at rest where spec.pollInterval does not say, such as 30s or 1m. Plans are
    /// listed no more often than every 15s, unless this is shorter; checkpoints are read when their evidence is about to expire.
    #[arg(long, env = "DR_OPERATOR_POLL_INTERVAL", default_value = "1m", value_parser = duration)]
    poll_interval: Duration,
    /// The interval between two observations while a change is in progress.
    #[arg(long, env = "DR_OPERATOR_TRANSITION_INTERVAL", default_value = "3s", value_parser = duration)]
    transition_interval: Duration,
    /// The first pause after a failure; it doubles with every further one, up to 2m, and up to 15s for the first eight of a service that
    /// fails. Where a person has to act, it is six times as long.
    #[arg(long, env = "DR_OPERATOR_RETRY_INTERVAL", default_value = "5s", value_parser = duration)]
    retry_interval: Duration,
    /// The time within which a created plan, item or group becomes visible in the cloud. One that is not found counts as deleted
    /// only when every read of that time agrees. A call whose answer was lost is repeated only after that time; a call whose
    /// answer named what it created, only after ten times as long.
    #[arg(long, env = "DR_OPERATOR_CREATE_VISIBILITY_WINDOW", default_value = "30s", value_parser = duration)]
    create_visibility_window: Duration,
    /// One endpoint for every region in place of https://rocketmq.REGION.aliyuncs.com. Plain http is accepted for loopback
    /// only.
    #[arg(long, env = "DR_OPERATOR_ROCKETMQ_ENDPOINT")]
    rocketmq_endpoint: Option<String>,
    /// One endpoint for every region in place of https://ebs.REGION.aliyuncs.com. Plain http is accepted for loopback only.
    #[arg(long, env = "DR_OPERATOR_EBS_ENDPOINT")]
    ebs_endpoint: Option<String>,
    /// One endpoint in place of https://sts.aliyuncs.com, which gives temporary credentials. Plain http is accepted for
    /// loopback only.
    #[arg(long, env = "DR_OPERATOR_STS_ENDPOINT")]
    sts_endpoint: Option<String>,
    /// The metadata service of ECS in place of http://100.100.100.200. Plain http is accepted for loopback only.
    #[arg(long, env = "DR_OPERATOR_METADATA_ENDPOINT")]
    metadata_endpoint: Option<String>,
    /// An endpoint that an AlibabaCloudAccount may name besides https to the API's own hosts under aliyuncs.com; repeatable, or separated by
    /// commas: HOST, HOST:PORT, *.DOMAIN, or a URL such as http://HOST:PORT.
    #[arg(long = "allowed-endpoints", env = "DR_OPERATOR_ALLOWED_ENDPOINTS", value_delimiter = ',')]
    allowed_endpoints: Vec<String>,
    /// A namespace whose objects may use the operator's own identity: no accountRef, or an account with environment, ecsRole,
    /// or oidc without serviceAccountRef; repeatable, or separated by commas; * for all. Default: the operator's own namespace.
    #[arg(
        long = "default-account-namespaces",
        env = "DR_OPERATOR_DEFAULT_ACCOUNT_NAMESPACES",
        value_delimiter = ',',
        value_parser = namespace_or_all
    )]
    default_account_namespaces: Vec<String>,
    /// Accepts plain http to other hosts than this one. Requests are signed, but passwords in them can be read on the way.
    #[arg(long, env = "DR_OPERATOR_ALLOW_INSECURE_ENDPOINTS")]
    allow_insecure_endpoints: bool,
    /// The Secret with the keys accessKeyId, accessKeySecret and optionally securityToken, as NAME (in the operator's own
    /// namespace) or NAMESPACE/NAME. Default: the standard chain of the vendor's SDKs: the variables of the environment, OIDC
    /// (RRSA), the profile of the command line, the RAM role of the ECS instance.
    #[arg(long, env = "DR_OPERATOR_CREDENTIALS_SECRET", value_parser = secret)]
    credentials_secret: Option<String>,
    /// Maximum calls of each RocketMQ operation in a second, region and cloud account. RocketMQ allows 150; a short burst
    /// may use what the default leaves.
    #[arg(long, env = "DR_OPERATOR_ROCKETMQ_REQUESTS_PER_SECOND", default_value_t = 135, value_parser = clap::value_parser!(u32).range(1..=150))]
    rocketmq_requests_per_second: u32,
    /// The same of EBS, which has disks. It allows 40, and 10 of ClearReplicaGroupDrill, of which the operator makes at most 9.
    #[arg(long, env = "DR_OPERATOR_EBS_REQUESTS_PER_SECOND", default_value_t = 36, value_parser = clap::value_parser!(u32).range(1..=40))]
    ebs_requests_per_second: u32,
    /// How long one call to the cloud may take, at most 30s.
    #[arg(long, env = "DR_OPERATOR_CLOUD_TIMEOUT", default_value = "10s", value_parser = duration)]
    cloud_timeout: Duration,
    /// What sets this cluster apart from others in owner marks: 1 to 32 letters, digits and dashes. Default: the first 8
    /// characters of the kube-system namespace's UID.
    #[arg(long, env = "DR_OPERATOR_CLUSTER_ID", value_parser = cluster_id)]
    cluster_id: Option<String>,
    /// Works only while this process holds a Lease, so that of several only one does.
    #[arg(long, env = "DR_OPERATOR_LEADER_ELECT")]
    leader_elect: bool,
    /// How long others wait for the holder of the lease after its last renewal, in whole seconds.
    #[arg(long, env = "DR_OPERATOR_LEADER_ELECT_LEASE_DURATION", default_value = "15s", value_parser = duration)]
    leader_elect_lease_duration: Duration,
    /// How long the holder tries to renew the lease before it ends itself.
    #[arg(long, env = "DR_OPERATOR_LEADER_ELECT_RENEW_DEADLINE", default_value = "10s", value_parser = duration)]
    leader_elect_renew_deadline: Duration,
    /// How long there is between two attempts to get or renew the lease.
    #[arg(long, env = "DR_OPERATOR_LEADER_ELECT_RETRY_PERIOD", default_value = "2s", value_parser = duration)]
    leader_elect_retry_period: Duration,
    /// The name of the lease.
    #[arg(
        long,
        env = "DR_OPERATOR_LEADER_ELECT_RESOURCE_NAME",
        default_value = "disaster-recovery-operator",
        value_parser = object_name
    )]
    leader_elect_resource_name: String,
    /// The namespace of the lease. Default: the operator's own.
    #[arg(long, env = "DR_OPERATOR_LEADER_ELECT_RESOURCE_NAMESPACE", value_parser = namespace)]
    leader_elect_resource_namespace: Option<String>,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, env = "DR_OPERATOR_METRICS_ADDRESS", default_value = "0.0.0.0:8080")]
    metrics_address: SocketAddr,
    /// Whether consumer groups have series of their own: their lag, their last synchronization, and whether they have one.
    #[arg(long, env = "DR_OPERATOR_GROUP_METRICS", default_value_t = true, action = ArgAction::Set)]
    group_metrics: bool,
    /// How log lines look.
    #[arg(long, env = "DR_OPERATOR_LOG_FORMAT", value_enum, default_value_t = Format::Json)]
    log_format: Format,
    /// What is logged: a level, or a list such as info,disaster_recovery_operator=debug.
    #[arg(long, env = "DR_OPERATOR_LOG_LEVEL", default_value = "info")]
    log_level: String,
}

impl Run {
    /// Settings of leader election, if it is enabled.
    fn election(&self, own_namespace: &str) -> anyhow::Result<Option<leadership::Settings>> {
        let timing = Timing {
            lease_duration: self.leader_elect_lease_duration,
            renew_deadline: self.leader_elect_renew_deadline,
            retry_period: self.leader_elect_retry_period,
        };
        if !self.leader_elect && !self.shard.is_only() {
            bail!("--shard is refused: it needs --leader-elect, since the lease shows which shard serves an object");
        }
        timing.check().map_err(|error| anyhow!("--leader-elect-*: {error}"))?;
        let namespace = self.leader_elect_resource_namespace.clone().filter(|namespace| !namespace.is_empty());
        let pod = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME"));
        Ok(self.leader_elect.then(|| leadership::Settings {
            namespace: namespace.unwrap_or_else(|| own_namespace.to_owned()),
            name: self.shard.lease(&self.leader_elect_resource_name),
            identity: leadership::identity(pod.as_deref().unwrap_or("dr-operator")),
            timing,
        }))
    }

    /// Rate limits of all calls to the cloud.
    fn rate_limit(&self) -> RateLimit {
        RateLimit::new(self.shard.part_of(self.rocketmq_requests_per_second))
            .with_rate(ebs::PRODUCT, self.shard.part_of(self.ebs_requests_per_second))
            .with_rate(sts::PRODUCT, sts::REQUESTS_PER_SECOND)
            .with_max(ApiOperation::ClearReplicaGroupDrill, self.shard.part_of(ebs::CLEAR_DRILL_REQUESTS_PER_SECOND))
    }

    /// Settings of the controllers.
    fn settings(&self, own_namespace: &str) -> anyhow::Result<Settings> {
        if self.cloud_timeout > MAX_CLOUD_TIMEOUT {
            bail!(
                "--cloud-timeout is refused: it is at most {} s, since takeovers of objects rely on it",
                MAX_CLOUD_TIMEOUT.as_secs()
            );
        }
        let rocketmq_endpoint = self.parse_endpoint("--rocketmq-endpoint", self.rocketmq_endpoint.as_deref())?;
        let ebs_endpoint = self.parse_endpoint("--ebs-endpoint", self.ebs_endpoint.as_deref())?;
        let sts_endpoint = self.parse_endpoint("--sts-endpoint", self.sts_endpoint.as_deref())?;
        let metadata_endpoint = self.parse_endpoint("--metadata-endpoint", self.metadata_endpoint.as_deref())?;
        let allowed_endpoints = Allowed::new(&non_empty(&self.allowed_endpoints), self.allow_insecure_endpoints)
            .context("--allowed-endpoints is refused")?;
        let mut default_account_namespaces = non_empty(&self.default_account_namespaces);
        if default_account_namespaces.is_empty() {
            default_account_namespaces.push(own_namespace.to_owned());
        }
        Ok(Settings {
            namespaces: non_empty(&self.namespaces),
            selector: self.label_selector.clone().filter(|selector| !selector.is_empty()),
            shard: self.shard,
            workers: self.workers,
            poll_interval: self.poll_interval,
            transition_interval: self.transition_interval,
            retry_interval: self.retry_interval,
            visibility_window: self.create_visibility_window,
            content_hash_rounds: CONTENT_HASH_ROUNDS,
            rocketmq_endpoint,
            ebs_endpoint,
            sts_endpoint,
            metadata_endpoint,
            allowed_endpoints,
            credentials_secret: (self.credentials_secret.as_deref().filter(|text| !text.is_empty()))
                .map(|text| secret_name(text, own_namespace)),
            variables: Variables::of_this_process(),
            default_account_namespaces,
            cluster_id: self.cluster_id.clone(),
        })
    }

    /// Parses the endpoint of a flag, if it is set.
    fn parse_endpoint(&self, flag: &str, text: Option<&str>) -> anyhow::Result<Option<String>> {
        let parsed = text.map(|text| endpoint::parse(text, self.allow_insecure_endpoints));
        parsed.transpose().with_context(|| format!("{flag} is refused"))
    }
}

/// The values that are not empty.
fn non_empty(values: &[String]) -> Vec<String> {
    values.iter().filter(|value| !value.is_empty()).cloned().collect()
}

/// Parses NAME, in the operator's own namespace, or NAMESPACE/NAME.
fn secret_name(text: &str, own_namespace: &str) -> SecretName {
    let (namespace, name) = text.split_once('/').unwrap_or((own_namespace, text));
    SecretName { namespace: namespace.to_owned(), name: name.to_owned() }
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: kube::core::Duration = text.parse().map_err(|error| format!("{error}; write it like 30s, 5m or 1h"))?;
    if parsed.is_negative() || Duration::from(parsed).is_zero() {
        return Err("it must be more than nothing; write it like 30s, 5m or 1h".into());
    }
    Ok(parsed.into())
}

/// A name of a namespace; nothing counts as absent.
fn namespace(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text {
        "*" => Err("leave it out for all namespaces".into()),
        _ if text.is_empty() || names::is_label(text) => Ok(text.to_owned()),
        _ => Err("a namespace has 1 to 63 lower-case letters, digits and dashes between them".into()),
    }
}

fn namespace_or_all(text: &str) -> Result<String, String> {
    if text.trim() == "*" { Ok("*".to_owned()) } else { namespace(text) }
}

fn label_selector(text: &str) -> Result<String, String> {
    selector::check(text).map(|()| text.trim().to_owned())
}

fn object_name(text: &str) -> Result<String, String> {
    let error = "a name has lower-case letters, digits, and dashes and full stops between them";
    if names::is_subdomain(text) { Ok(text.to_owned()) } else { Err(error.into()) }
}

/// NAME or NAMESPACE/NAME; nothing counts as absent.
fn secret(text: &str) -> Result<String, String> {
    if let Some((in_namespace, name)) = text.split_once('/') {
        if in_namespace.is_empty() {
            return Err("write NAME or NAMESPACE/NAME".into());
        }
        namespace(in_namespace)?;
        object_name(name)?;
    } else if !text.is_empty() {
        object_name(text)?;
    }
    Ok(text.to_owned())
}

fn cluster_id(text: &str) -> Result<String, String> {
    let is_valid = (1..=32).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if is_valid { Ok(text.to_owned()) } else { Err("write 1 to 32 letters, digits and dashes".into()) }
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Run(arguments) => on_runtime(run(*arguments)),
        Command::Crd { output } => crd(output),
        Command::Probe { url } => on_runtime(async move { Ok(health::probe(&url).await?) }),
    }
}

/// Runs `work` and ends with it. Other tasks are dropped: a process that lost its lease must not wait for them.
fn on_runtime(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("no runtime can be started")?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_background();
    outcome
}

/// What the command line says. Ends the program with code 2 and the reason, where it cannot be used, as for a flag that does not parse.
fn usable<T>(parsed: anyhow::Result<T>) -> T {
    parsed.unwrap_or_else(|error| Arguments::command().error(ErrorKind::ValueValidation, format!("{error:#}")).exit())
}

fn crd(output: Option<PathBuf>) -> anyhow::Result<()> {
    for (file, yaml) in api::manifest::definitions()? {
        match &output {
            Some(folder) => {
                let path = folder.join(file);
                std::fs::write(&path, yaml).with_context(|| format!("cannot write {}", path.display()))?;
            }
            None => print!("---\n{yaml}"),
        }
    }
    Ok(())
}

async fn run(arguments: Run) -> anyhow::Result<()> {
    // The kernel ignores signals without a handler for the first process of a container.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let logging = logging::start(arguments.log_format, &arguments.log_level).context("--log-level is not understood");
    usable(logging);
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        bail!("a TLS provider is installed already");
    }
    let kubernetes = kube::Config::infer()
        .await
        .context("no cluster is known: set KUBECONFIG, or run in a cluster with a service account")?;
    let own_namespace = std::env::var("POD_NAMESPACE").unwrap_or_else(|_| kubernetes.default_namespace.clone());
    let election = usable(arguments.election(&own_namespace));
    let settings = usable(arguments.settings(&own_namespace));
    const UNUSABLE: &str = "the cluster's configuration cannot be used";
    // Nothing delays a renewal: it has connections of its own.
    let leases = kube::Client::try_from(leadership::client_config(kubernetes.clone())).context(UNUSABLE)?;
    let kubernetes = kubernetes::client(kubernetes).context(UNUSABLE)?;

    let readiness = Readiness::default();
    let metrics = Arc::new(Metrics::new().with_group_metrics(arguments.group_metrics));
    let listener = TcpListener::bind(arguments.metrics_address)
        .await
        .with_context(|| format!("cannot listen on --metrics-address {}", arguments.metrics_address))?;
    tracing::info!(address = %listener.local_addr()?, "serving health and metrics");
    let probes = axum::serve(listener, health::router(readiness.clone(), metrics.clone()));
    let probes = tokio::spawn(probes.into_future());

    let connector = client::https(Duration::from_secs(5)).context("no TLS connector can be made")?;
    let rate_limit = Arc::new(arguments.rate_limit());
    metrics.budget(rate_limit.clone());
    let request_metrics = metrics.clone();
    let listener: client::Listener = Arc::new(move |finished| request_metrics.requested(finished));
    let fence = if election.is_some() { Fence::closed() } else { Fence::open() };
    let cloud = client::Client::new(connector, rate_limit, arguments.cloud_timeout, listener).with_fence(fence.clone());
    let leader_metrics = metrics.clone();
    let context = Context::new(kubernetes, cloud, settings, metrics).await.context("the operator cannot start")?;
    tracing::info!(cluster_id = context.cluster_id, "operator started");

    let ending = readiness.clone();
    let shutdown = controller::shutdown(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        ending.set(false);
        tracing::info!("ending: reconciles in progress are finished");
    });
    let (caches_filled, caches_are_filled) = tokio::sync::oneshot::channel::<()>();
    let ready = move || {
        readiness.set(true);
        caches_filled.send(()).unwrap_or_default();
    };
    let context = Arc::new(context);
    match election {
        None => {
            leader_metrics.leading(true);
            controller::run(context, Leadership::without_election(), shutdown, ready).await;
        }
        Some(election) => {
            let candidate = Candidate::new(leases, election, fence, move |is_leader| leader_metrics.leading(is_leader));
            let work = controller::run(context, candidate.leadership(), shutdown, ready);
            // A process that cannot list the objects must not become the leader.
            candidate.run(work, async move { caches_are_filled.await.is_ok() }).await?;
        }
    }
    probes.abort();
    tracing::info!("operator ended");
    Ok(())
}
