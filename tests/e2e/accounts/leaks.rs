//! Every kind of account in the real program, through good and bad, and no secret in anything that it says.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use base64::engine::general_purpose::STANDARD;
use disaster_recovery_operator::cloud::credentials::{environment as env, oidc};
use disaster_recovery_operator::simulator::{AccessKey, Simulator};
use http::StatusCode;
use tempfile::NamedTempFile;
use tower::ServiceExt;

use super::*;
use test_support::operator::installed;
use test_support::stage::PASSWORD;
use test_support::stage::plans::external;

const KEY_SECRETS: [&str; 5] =
    ["secret-of-simulator-key", "secret-of-rotated", "secret-of-env", "secret-of-session", "wrong-secret"];
const SESSION_TOKEN: &str = "CAIS+/token/of+a/session=";

/// The operator as a process of its own. Dropped, it is killed.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Everything that a stream says, once it ends.
fn heard(mut stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        drop(stream.read_to_end(&mut text));
        sender.send(String::from_utf8_lossy(&text).into_owned())
    });
    receiver
}

struct Running {
    process: Process,
    log: Receiver<String>,
    output: Receiver<String>,
    metrics: std::net::SocketAddr,
}

/// Whether STS refuses everything and repeats the request in its answer, as a careless gateway might.
type Echo = Arc<AtomicBool>;

async fn refusal(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    let header = |name| parts.headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    let form = String::from_utf8_lossy(&body).into_owned();
    let token = form.split('&').find_map(|pair| pair.strip_prefix("OIDCToken=")).unwrap_or_default();
    let message = format!("{token} {} {} is refused", header("x-acs-security-token"), header("authorization"));
    let body = json!({ "Code": "NoPermission", "Message": message, "RequestId": "R" });
    (StatusCode::FORBIDDEN, Json(body)).into_response()
}

/// Serves the cloud of this process on loopback, so that the test knows the keys it issues.
async fn served(cloud: &Simulator, echo: &Echo) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (cloud, echo) = (cloud.router(), echo.clone());
    let router = Router::new().fallback(async move |request: Request| {
        let action = request.headers().get("x-acs-action").and_then(|it| it.to_str().ok()).unwrap_or_default();
        let asked = format!("{action} {}", request.uri().query().unwrap_or_default());
        match asked.contains("AssumeRole") && echo.load(Ordering::SeqCst) {
            true => refusal(request).await,
            false => cloud.oneshot(request).await.into_response(),
        }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn free_address() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

fn start(world: &World, url: &str, token: &NamedTempFile, level: &str) -> Running {
    let metrics = free_address();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dr-operator"));
    command.args(["run", "--log-format", "json", "--log-level", level, "--metrics-address", &metrics.to_string()]);
    command.args(["--namespace", &world.namespace, "--default-account-namespaces", &world.namespace]);
    for product in ["rocketmq", "ebs", "sts", "metadata"] {
        command.args([&format!("--{product}-endpoint"), url]);
    }
    command.args(["--poll-interval", "500ms", "--retry-interval", "100ms", "--transition-interval", "100ms"]);
    command.env("KUBECONFIG", installed()).env_remove("RUST_LOG").stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env(env::ACCESS_KEY_ID, "environment-key-id").env(env::ACCESS_KEY_SECRET, "secret-of-env");
    command.env(oidc::TOKEN_FILE, token.path());
    let mut child = command.spawn().expect("the operator starts");
    let (log, output) = (child.stderr.take().expect("its log"), child.stdout.take().expect("its output"));
    Running { process: Process(child), log: heard(log), output: heard(output), metrics }
}

/// What a plain GET answers.
async fn get(address: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("it is served");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it is asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}

fn keys() -> Vec<AccessKey> {
    let session = AccessKey::new("STS.session-key-id", "secret-of-session");
    vec![
        AccessKey::new("simulator-key-id", "secret-of-simulator-key"),
        AccessKey::new("environment-key-id", "secret-of-env"),
        AccessKey { security_token: Some(SESSION_TOKEN.to_owned()), ..session },
    ]
}

async fn all_accounts(world: &World) {
    let key = |secret: &'static str| [("accessKeyId", "simulator-key-id"), ("accessKeySecret", secret)];
    world.secret("cloud", &key("secret-of-simulator-key")).await;
    world.secret("wrong", &key("wrong-secret")).await;
    let session = [("accessKeyId", "STS.session-key-id"), ("accessKeySecret", "secret-of-session")];
    world.secret("session", &[&session[..], &[("securityToken", SESSION_TOKEN)]].concat()).await;
    for (name, spec) in [
        ("key", secret("cloud")),
        ("session", secret("session")),
        ("wrong", secret("wrong")),
        ("wrong-role", assuming(secret("wrong"), ROLE)),
        ("role", assuming(secret("cloud"), ROLE)),
        ("tenant", tenant_oidc(ROLE)),
        ("pod", pod_oidc()),
        ("chain", assuming(tenant_oidc(ROLE), OTHER_ROLE)),
        ("environment", environment()),
        ("ecs", ecs_role(None)),
    ] {
        world.accounts().create(name, spec).await;
        let mut plan = external(&["orders"]);
        (plan["planName"], plan["accountRef"]) = (json!(name), json!({ "name": name }));
        world.create(name, plan).await;
    }
    world.groups().create("db", group_of("chain")).await;
}

const GOOD: [&str; 8] = ["key", "session", "role", "tenant", "pod", "chain", "environment", "ecs"];

/// Drives everything through good and bad; returns what was said meanwhile of the objects.
async fn driven(world: &World, echo: &Echo) -> String {
    for name in GOOD {
        world.ready(name).await;
    }
    world.groups().ready("db").await;
    for name in ["wrong", "wrong-role"] {
        world.condition(name, "Synced", "False", "AccessDenied").await;
    }
    let mut said = reported(world).await;
    // Keys expire early while STS refuses and repeats the request, answers nonsense, or is unavailable.
    for kind in [None, Some(FaultKind::Garbage), Some(FaultKind::Html { status: 502 })] {
        echo.store(kind.is_none(), Ordering::SeqCst);
        kind.iter().for_each(|kind| outage(world, kind));
        for role in [ROLE, OTHER_ROLE] {
            world.revoke(role);
        }
        let broken = |it: &AlibabaCloudAccountStatus| !has(it, "Ready", "True", "Available");
        for name in ["role", "tenant", "pod", "chain"] {
            world.accounts().status(name, format!("{name} is not ready: {kind:?}"), broken).await;
            world.status(name, "nor is its plan in sync", |it| !has(it, "Synced", "True", "InSync")).await;
        }
        said += &reported(world).await;
        world.cloud.clear_faults();
        echo.store(false, Ordering::SeqCst);
        for name in GOOD {
            world.ready(name).await;
        }
    }
    // Keys are refused, and rotated.
    world.cloud.set_keys(vec![AccessKey::new("rotated-key-id", "secret-of-rotated")]);
    for name in ["key", "session", "environment"] {
        world.accounts().condition(name, "Ready", "False", "AccessKeyRefused").await;
    }
    said += &reported(world).await;
    world.secret("cloud", &[("accessKeyId", "rotated-key-id"), ("accessKeySecret", "secret-of-rotated")]).await;
    world.status("key", "the new key", |it| it.head.identity.as_deref() == Some("rota****y-id")).await;
    said + &reported(world).await
}

/// All that Kubernetes shows of objects and events.
async fn reported(world: &World) -> String {
    let kinds = "alibabacloudaccounts,disasterrecoveryplans,diskreplicagroups,events.events.k8s.io";
    world.kubectl(&["get", kinds, "-o", "yaml", "--show-managed-fields"]).await
}

/// Every secret that was in use, in every form in which it could be shown.
fn secrets(world: &World, token: &str) -> Vec<String> {
    let issued = world.cloud.with_sts(|sts, _| {
        sts.issued().flat_map(|it| [it.access_key_secret.clone(), it.security_token.clone()]).collect::<Vec<_>>()
    });
    assert!(issued.len() > 20, "many keys were issued");
    let fixed = KEY_SECRETS.iter().chain([&PASSWORD, &SESSION_TOKEN, &token]).map(|it| (*it).to_owned());
    let plain: Vec<_> = fixed.chain(issued).collect();
    let encode = |it: &String| disaster_recovery_operator::cloud::sign::encode(it);
    let encoded: Vec<_> =
        plain.iter().flat_map(|it| [STANDARD.encode(it), encode(it), it.replace('/', "\\/")]).collect();
    // Every other token of a service account begins so, the operator's own for Kubernetes too.
    [plain, encoded, vec!["eyJ".to_owned()]].concat()
}

/// A run at a log level, with a search of all its output.
async fn searched(level: &str) {
    let config = config();
    let sts = StsRules { max_key_lifetime_ms: Some(8_000), ..config.sts };
    let metadata = disaster_recovery_operator::simulator::model::sts::MetadataRules { role_arn: Some(ROLE.to_owned()) };
    let world = World::on(Config { sts, metadata, keys: keys(), ..config }).await;
    world.allow_tokens().await;
    let echo = Echo::default();
    let url = served(&world.cloud, &echo).await;
    let (file, token) = (NamedTempFile::new().expect("a file"), jwt(AUDIENCE));
    std::fs::write(&file, &token).expect("it is written");
    all_accounts(&world).await;
    let mut running = start(&world, &url, &file, level);
    let objects = driven(&world, &echo).await;
    let metrics = get(&running.metrics.to_string(), "/metrics").await;
    assert!(metrics.contains("disaster_recovery_reconciliations_total"), "{metrics}");
    let admin = url.trim_start_matches("http://").to_owned();
    let requests = get(&admin, "/_simulator/requests").await;
    assert!(requests.contains("AssumeRoleWithOIDC"), "the log is there");
    let issued = get(&admin, "/_simulator/issued-keys").await;
    running.process.0.kill().expect("it ends");
    let text = |receiver: &Receiver<String>| receiver.recv_timeout(DEADLINE).expect("the stream ends");
    let (log, output) = (text(&running.log), text(&running.output));
    for part in ["credentials are not renewed", "hyper_util", "kube_client"] {
        assert!(log.contains(part), "the log has lines of {part}");
    }
    let said = [("log", &log), ("output", &output), ("objects", &objects), ("metrics", &metrics)];
    let said = said.into_iter().chain([("requests", &requests), ("issued keys", &issued)]);
    assert!(objects.contains("[redacted]"), "STS repeated what it was sent");
    let secrets = secrets(&world, &token);
    for (what, text) in said {
        for line in text.lines() {
            let shown: Vec<_> = secrets.iter().filter(|secret| line.contains(secret.as_str())).collect();
            assert!(shown.is_empty(), "the {what} at level {level} shows {shown:?}: {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_appear_in_no_output() {
    searched("trace").await;
}
