//! A cloud with roles, and the requests that are sent to it.

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use disaster_recovery_operator::cloud::sign;
use disaster_recovery_operator::simulator::model::sts::{OidcProvider, Role, StsRules};
use disaster_recovery_operator::simulator::{Config, Simulator};
use http::Request;
use serde_json::{Value, json};
use test_support::requests::{Endpoint, Key, Pairs, answer, date, exchange, signed};

pub const ROLE: &str = "acs:ram::1234567890123456:role/team-a";
pub const OTHER: &str = "acs:ram::1234567890123456:role/team-b";
pub const PROVIDER: &str = "acs:ram::1234567890123456:oidc-provider/ack";
pub const STS: &str = "sts.cn-hangzhou.aliyuncs.com";
pub const ASK: [(&str, &str); 2] = [("RoleArn", ROLE), ("RoleSessionName", "dr")];
pub const METADATA: &str = "100.100.100.200";
pub const ROOM: &str = "/latest/meta-data/ram/security-credentials/";

/// A cloud with two roles: the usual key may assume the first, and only the first may assume the second.
pub fn cloud() -> Simulator {
    let mut role = Role::new(ROLE);
    role.trusted_callers.insert("simulator-key-id".to_owned());
    role.trusted_subjects.insert(PROVIDER.to_owned(), vec!["system:serviceaccount:team-a:*".to_owned()]);
    let mut other = Role::new(OTHER);
    other.trusted_callers.insert(ROLE.to_owned());
    let sts =
        StsRules { roles: vec![role, other], providers: vec![OidcProvider::new(PROVIDER)], max_key_lifetime_ms: None };
    Simulator::new(Config { sts, ..Config::default() })
}

pub const POST: Endpoint<'_> = ("POST", STS, "2015-04-01");

pub async fn assume(simulator: &Simulator, key: &Key, query: Pairs<'_>) -> (u16, Value) {
    answer(simulator, signed(simulator, key, POST, ("AssumeRole", "/"), (query, &[]))).await
}

pub async fn assumed(simulator: &Simulator, key: &Key, role: &str) -> Key {
    let (status, body) = assume(simulator, key, &[("RoleArn", role), ("RoleSessionName", "dr")]).await;
    assert_eq!(status, 200, "{body}");
    Key::of(&body)
}

/// A call of each product with a key: the statuses and the codes of the refusals.
pub async fn uses(simulator: &Simulator, key: &Key) -> Vec<(u16, String)> {
    let requests = [
        signed(
            simulator,
            key,
            ("GET", "rocketmq.cn-hangzhou.aliyuncs.com", "2022-08-01"),
            ("ListDisasterRecoveryPlans", "/disaster_recovery"),
            (&[], &[]),
        ),
        signed(
            simulator,
            key,
            ("POST", "ebs.cn-hangzhou.aliyuncs.com", "2021-07-30"),
            ("DescribeDiskReplicaGroups", "/"),
            (&[("RegionId", "cn-hangzhou")], &[]),
        ),
        signed(simulator, key, POST, ("AssumeRole", "/"), (&[("RoleArn", OTHER), ("RoleSessionName", "dr")], &[])),
    ];
    let mut all = Vec::new();
    for request in requests {
        let (status, body) = answer(simulator, request).await;
        all.push((status, body["Code"].as_str().unwrap_or_default().to_owned()));
    }
    all
}

pub fn thrice(status: u16, code: &str) -> Vec<(u16, String)> {
    vec![(status, code.to_owned()); 3]
}

/// A valid JWT with these changes.
pub fn token(simulator: &Simulator, changes: Value) -> String {
    let mut claims = json!({
        "sub": "system:serviceaccount:team-a:dr", "iss": "https://issuer", "aud": ["sts.aliyuncs.com"],
        "exp": simulator.now_ms() / 1000 + 600,
    });
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2VjcmV0LXNpZ25hdHVyZQ", part(json!({"alg": "RS256"})), part(claims))
}

/// A request without a signature.
pub fn plain(method: &str, host: &str, query: Pairs<'_>, form: Pairs<'_>) -> Request<Body> {
    let uri = format!("/?{}", sign::canonical_query(query));
    let request = Request::builder().method(method).uri(uri).header("host", host);
    let request = match form.is_empty() {
        true => request,
        false => request.header("content-type", "application/x-www-form-urlencoded"),
    };
    request.body(Body::from(sign::canonical_query(form))).unwrap()
}

pub const COMMON: [(&str, &str); 3] = [("Action", "AssumeRoleWithOIDC"), ("Format", "JSON"), ("Version", "2015-04-01")];

/// AssumeRoleWithOIDC as the SDK for Go sends it.
pub async fn with_oidc(simulator: &Simulator, token: &str, changes: Pairs<'_>) -> (u16, Value) {
    let timestamp = date(simulator, 0);
    let query = [&COMMON[..], &[("Timestamp", &timestamp)]].concat();
    let mut form = [&ASK[..], &[("OIDCProviderArn", PROVIDER), ("OIDCToken", token)]].concat();
    form.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    form.extend(changes);
    answer(simulator, plain("POST", STS, &query, &form)).await
}

/// A request to the metadata.
pub async fn metadata(simulator: &Simulator, method: &str, path: &str, header: Pairs<'_>) -> (u16, String) {
    let request = Request::builder().method(method).uri(path).header("host", METADATA);
    let request = header.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let (status, body) = exchange(simulator, request.body(Body::empty()).unwrap()).await;
    (status, body.unwrap())
}

pub async fn metadata_token(simulator: &Simulator, seconds: &str) -> String {
    let header = [("X-aliyun-ecs-metadata-token-ttl-seconds", seconds)];
    let (status, token) = metadata(simulator, "PUT", "/latest/api/token", &header).await;
    assert_eq!(status, 200, "{token}");
    token
}

pub async fn metadata_get(simulator: &Simulator, path: &str, token: &str) -> (u16, String) {
    metadata(simulator, "GET", path, &[("X-aliyun-ecs-metadata-token", token)]).await
}
