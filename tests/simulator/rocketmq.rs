//! The simulator's RocketMQ: what the gateway and the product refuse, faults and the admin API.

use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::Body;
use disaster_recovery_operator::cloud::sign;
use disaster_recovery_operator::simulator::{AccessKey, Config, Fault, FaultKind, Simulator};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use test_support::requests::{admin, date};
use tower::ServiceExt;

const HOST: &str = "rocketmq.cn-hangzhou.aliyuncs.com";

/// A valid request that a test may change, signed last.
struct Call {
    method: &'static str,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    unsigned: Vec<&'static str>,
    body: Vec<u8>,
    secret: &'static str,
    wire_query: Option<String>,
}

impl Call {
    fn new(simulator: &Simulator, method: &'static str, path: &str, action: &str) -> Call {
        static NONCE: AtomicU32 = AtomicU32::new(0);
        let nonce = NONCE.fetch_add(1, Ordering::Relaxed).to_string();
        let (path, query, unsigned) = (path.to_owned(), Vec::new(), vec!["authorization"]);
        let (body, secret, wire_query) = (Vec::new(), "simulator-key-secret", None);
        Call { method, path, query, headers: Vec::new(), unsigned, body, secret, wire_query }
            .header("host", HOST)
            .header("x-acs-action", action)
            .header("x-acs-version", "2022-08-01")
            .header("x-acs-date", &date(simulator, 0))
            .header("x-acs-signature-nonce", &nonce)
    }

    fn header(mut self, name: &str, value: &str) -> Call {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Call {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    fn query(mut self, name: &str, value: &str) -> Call {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    fn json(mut self, body: &Value) -> Call {
        self.body = body.to_string().into_bytes();
        self.header("content-type", "application/json; charset=utf-8")
    }

    fn secret(mut self, secret: &'static str) -> Call {
        self.secret = secret;
        self
    }

    fn signed_by(self, id: &str) -> Request<Body> {
        let hash = sign::payload_hash(&self.body);
        let call = if self.headers.iter().any(|(name, _)| name == "x-acs-content-sha256") {
            self
        } else {
            self.header("x-acs-content-sha256", &hash)
        };
        let signed = call.headers.iter().filter(|(name, _)| !call.unsigned.contains(&name.as_str()));
        let signed: Vec<_> = signed.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let canonical = sign::canonical_request(call.method, &call.path, &call.query, &signed, &hash);
        let authorization = sign::authorization(id, call.secret, &canonical);
        let query = call.wire_query.clone().unwrap_or_else(|| sign::canonical_query(&call.query));
        let mut request = Request::builder().method(call.method).uri(format!("{}?{query}", call.path));
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if !call.headers.iter().any(|(name, _)| name == "authorization") {
            request = request.header("authorization", authorization);
        }
        request.body(Body::from(call.body)).unwrap()
    }

    async fn send(self, simulator: &Simulator) -> Reply {
        Reply::read(simulator.router().oneshot(self.signed_by("simulator-key-id")).await.unwrap()).await
    }
}

#[derive(Debug)]
struct Reply {
    status: u16,
    retry_after: Option<String>,
    /// None when the connection broke.
    text: Option<String>,
}

impl Reply {
    async fn read(response: Response<Body>) -> Reply {
        let status = response.status().as_u16();
        let header = response.headers().get("x-acs-retry-after");
        let retry_after = header.map(|value| value.to_str().unwrap().to_owned());
        let text = response.into_body().collect().await.ok();
        let text = text.map(|body| String::from_utf8(body.to_bytes().to_vec()).unwrap());
        Reply { status, retry_after, text }
    }

    fn json(&self) -> Value {
        serde_json::from_str(self.text.as_deref().unwrap()).unwrap()
    }

    /// The status with the code, of whichever body.
    fn code(&self) -> (u16, String) {
        let body = self.json();
        let code = body.get("Code").or(body.get("code")).and_then(Value::as_str).unwrap();
        (self.status, code.to_owned())
    }
}

fn list(simulator: &Simulator) -> Call {
    Call::new(simulator, "GET", "/disaster_recovery", "ListDisasterRecoveryPlans")
}

fn create(simulator: &Simulator) -> Call {
    let instance = |id: &str, role: &str| {
        let kind = "ALIYUN_ROCKETMQ";
        json!({"instanceType": kind, "instanceId": id, "regionId": "cn-hangzhou", "instanceRole": role})
    };
    let plan = json!({
        "planName": "orders", "planType": "ACTIVE_PASSIVE",
        "instances": [instance("rmq-a", "ACTIVE"), instance("rmq-b", "PASSIVE")],
    });
    Call::new(simulator, "POST", "/disaster_recovery", "CreateDisasterRecoveryPlan").json(&plan)
}

fn get(simulator: &Simulator, plan: i64) -> Call {
    Call::new(simulator, "GET", &format!("/disaster_recovery/{plan}"), "GetDisasterRecoveryPlan")
}

fn cloud() -> Simulator {
    Simulator::new(Config::default())
}

fn fault(kind: FaultKind) -> Fault {
    Fault::new(kind).times(1)
}

#[tokio::test]
async fn gateway_refuses_invalid_signatures() {
    let cloud = cloud();
    let list = || list(&cloud);
    let unsigned = |name| Call { unsigned: vec!["authorization", name], ..list() };
    let table = [
        ("good", list(), (200, "200")),
        ("wrong secret", list().secret("wrong"), (400, "SignatureDoesNotMatch")),
        ("no authorization", list().header("authorization", ""), (400, "IncompleteSignature")),
        ("other algorithm", list().header("authorization", "acs a:b"), (400, "IncompleteSignature")),
        ("no date", list().without("x-acs-date"), (400, "IncompleteSignature")),
        ("no nonce", list().without("x-acs-signature-nonce"), (400, "IncompleteSignature")),
        ("old date", list().header("x-acs-date", &date(&cloud, -960)), (400, "InvalidTimeStamp.Expired")),
        ("early date", list().header("x-acs-date", &date(&cloud, 960)), (400, "InvalidTimeStamp.Expired")),
        ("odd date", list().header("x-acs-date", "2025-01-02 03:04:05"), (400, "InvalidTimeStamp.Format")),
        ("host not signed", unsigned("host"), (400, "IncompleteSignature")),
        ("action not signed", unsigned("x-acs-action"), (400, "IncompleteSignature")),
        ("type not signed", Call { unsigned: vec!["content-type"], ..create(&cloud) }, (400, "IncompleteSignature")),
        ("other body", list().header("x-acs-content-sha256", "00"), (400, "SignatureDoesNotMatch")),
        ("other query", Call { wire_query: Some("a=b".to_owned()), ..list() }, (400, "SignatureDoesNotMatch")),
        ("token without need", list().header("x-acs-security-token", "t"), (400, "InvalidSecurityToken.Malformed")),
        ("other action", list().header("x-acs-action", "GetDisasterRecoveryPlan"), (404, "InvalidApi.NotFound")),
        ("other version", list().header("x-acs-version", "2021-07-30"), (404, "InvalidApi.NotFound")),
        ("other path", Call { path: "/plans".to_owned(), ..list() }, (404, "InvalidApi.NotFound")),
        ("other method", Call { method: "PUT", ..list() }, (404, "InvalidApi.NotFound")),
        ("other product", list().header("host", "ebs.cn-hangzhou.aliyuncs.com"), (404, "InvalidApi.NotFound")),
        ("other host", list().header("host", "ecs.cn-hangzhou.aliyuncs.com"), (404, "InvalidProduct.NotFound")),
    ];
    for (name, call, (status, code)) in table {
        let reply = call.send(&cloud).await;
        assert_eq!(reply.code(), (status, code.to_owned()), "{name}: {reply:?}");
        if status != 200 {
            for field in ["RequestId", "HostId", "Code", "Message", "Recommend"] {
                assert!(reply.json().get(field).is_some(), "{name}: {field}");
            }
        }
    }
    let records = cloud.requests();
    assert_eq!(records.len(), 21, "a request that is refused is recorded too");
    assert!(!format!("{records:?}").contains("simulator-key-secret"));
    let reply = cloud.router().oneshot(list().signed_by("somebody")).await.unwrap();
    assert_eq!(Reply::read(reply).await.code(), (404, "InvalidAccessKeyId.NotFound".to_owned()));
}

#[tokio::test]
async fn a_temporary_key_needs_its_token() {
    let cloud = cloud();
    let key = AccessKey {
        security_token: Some("token".to_owned()),
        ..AccessKey::new("simulator-key-id", "simulator-key-secret")
    };
    cloud.set_keys(vec![key.clone()]);
    let with = |token| list(&cloud).header("x-acs-security-token", token);
    assert_eq!(with("token").send(&cloud).await.status, 200);
    assert_eq!(list(&cloud).send(&cloud).await.code().1, "MissingSecurityToken");
    assert_eq!(with("other").send(&cloud).await.code().1, "InvalidSecurityToken.MismatchWithAccessKey");
    cloud.set_keys(vec![AccessKey { expires_at_ms: Some(cloud.now_ms()), ..key.clone() }]);
    assert_eq!(with("token").send(&cloud).await.code().1, "InvalidSecurityToken.Expired");
    cloud.set_keys(vec![AccessKey { inactive: true, ..key }]);
    assert_eq!(with("token").send(&cloud).await.code().1, "InvalidAccessKeyId.Inactive");
}

#[tokio::test]
async fn nonce_is_accepted_once() {
    let cloud = cloud();
    let call = || list(&cloud).header("x-acs-signature-nonce", "once");
    assert_eq!(call().secret("wrong").send(&cloud).await.code().1, "SignatureDoesNotMatch");
    assert_eq!(call().send(&cloud).await.status, 200, "one with a wrong signature does not use it up");
    assert_eq!(call().send(&cloud).await.code(), (400, "SignatureNonceUsed".to_owned()));
    cloud.set_clock_offset_ms(3_600_000);
    assert_eq!(call().send(&cloud).await.status, 200, "the date keeps an old one out");
}

#[tokio::test]
async fn plus_and_percent_20_both_mean_space() {
    let cloud = cloud();
    let call = list(&cloud).query("filter", "a b+c*~ü");
    let wire_query = Some("filter=a+b%2Bc*%7e%C3%BC".to_owned());
    assert_eq!(Call { wire_query, ..call }.send(&cloud).await.status, 200);
    assert_eq!(cloud.requests()[0].query, [("filter".to_owned(), "a b+c*~ü".to_owned())]);
}

#[tokio::test]
async fn host_is_taken_from_the_uri() {
    let cloud = cloud();
    let (mut parts, body) = list(&cloud).signed_by("simulator-key-id").into_parts();
    parts.headers.remove("host");
    parts.uri = format!("https://{HOST}{}", parts.uri).parse().unwrap();
    let reply = cloud.router().oneshot(Request::from_parts(parts, body)).await.unwrap();
    assert_eq!(reply.status(), 200);
}

#[tokio::test]
async fn each_region_has_its_own_plans() {
    let cloud = cloud();
    let id = create(&cloud).send(&cloud).await.json()["data"].as_i64().unwrap();
    assert_eq!(id, 1_300_000_016);
    assert_eq!(get(&cloud, id).send(&cloud).await.status, 200);
    let elsewhere = get(&cloud, id).header("host", "rocketmq.cn-shanghai.aliyuncs.com").send(&cloud).await;
    assert_eq!(elsewhere.code(), (404, "DisasterRecoveryPlan.NotFound".to_owned()));
    assert_eq!(elsewhere.json()["success"], false);
    let local = get(&cloud, id).header("host", "127.0.0.1:4711").send(&cloud).await;
    assert_eq!(local.status, 200);
}

#[tokio::test]
async fn a_list_comes_in_pages() {
    let cloud = cloud();
    for _ in 0..12 {
        assert_eq!(create(&cloud).send(&cloud).await.status, 200);
    }
    let page = list(&cloud).query("pageNumber", "2").query("pageSize", "10").send(&cloud).await.json();
    assert_eq!(page["data"]["totalCount"], 12);
    assert_eq!(page["data"]["pageNumber"], 2);
    assert_eq!(page["data"]["list"].as_array().unwrap().len(), 2);
    for (name, value) in [("pageSize", "9"), ("pageSize", "10001"), ("pageNumber", "0"), ("pageNumber", "one")] {
        let reply = list(&cloud).query(name, value).send(&cloud).await;
        assert_eq!(reply.code(), (400, "InvalidParameter".to_owned()), "{name}={value}");
    }
}

#[tokio::test]
async fn gateway_refuses_missing_and_product_refuses_wrong_parameters() {
    let cloud = cloud();
    let missing = create(&cloud).json(&json!({})).send(&cloud).await.json();
    assert_eq!(missing["Code"], "MissingplanName");
    let wrong = create(&cloud).json(&json!({"planName": 7})).send(&cloud).await.json();
    assert_eq!((&wrong["code"], &wrong["httpStatusCode"]), (&json!("InvalidParameter"), &json!(400)));
    let lenient = Simulator::new(Config { errors_as_http_200: true, ..Config::default() });
    let reply = get(&lenient, 1).send(&lenient).await;
    assert_eq!(reply.code(), (200, "DisasterRecoveryPlan.NotFound".to_owned()));
    assert_eq!((&reply.json()["success"], &reply.json()["httpStatusCode"]), (&json!(false), &json!(404)));
}

#[tokio::test]
async fn throttled_and_denied_calls_are_refused() {
    let cloud = Simulator::new(Config { rate_limit_per_second: 2, retry_after_ms: Some(700), ..Config::default() });
    // They may straddle the end of a second, but not of two.
    let mut replies = Vec::new();
    for _ in 0..6 {
        replies.push(list(&cloud).send(&cloud).await);
    }
    let throttled = replies.iter().find(|reply| reply.status == 400).unwrap();
    assert_eq!(throttled.code().1, "Throttling.User");
    assert_eq!(throttled.retry_after.as_deref(), Some("700"));
    cloud.set_rate_limit(1000);
    cloud.set_denied_actions(["CreateDisasterRecoveryPlan"]);
    let denied = create(&cloud).send(&cloud).await;
    assert_eq!(denied.code(), (403, "NoPermission".to_owned()));
    assert!(denied.json()["accessDeniedDetail"].is_object());
    assert_eq!(list(&cloud).send(&cloud).await.status, 200);
    assert!(cloud.plans().is_empty());
}

#[tokio::test]
async fn each_fault_answers_before_or_after_the_change() {
    let (code, message) = ("InternalError".to_owned(), "try again".to_owned());
    let error =
        |pascal_case| FaultKind::Error { status: 500, code: code.clone(), message: message.clone(), pascal_case };
    let after = FaultKind::ErrorAfter { status: 504, code: code.clone(), message: message.clone(), pascal_case: true };
    let table = [
        (error(true), 500, r#""Code":"InternalError""#, false),
        (error(false), 500, r#""code":"InternalError""#, false),
        (after, 504, r#""Code":"InternalError""#, true),
        (FaultKind::Throttle { retry_after_ms: Some(5) }, 400, "Throttling.User", false),
        (FaultKind::Slow { ms: 5 }, 200, r#""success":true"#, true),
        (FaultKind::Html { status: 502 }, 502, "<html>", false),
        (FaultKind::Garbage, 200, r#"{"requestId":"#, false),
        (FaultKind::SuccessFalse { code: "Busy".to_owned(), message }, 200, r#""success":false"#, false),
        (FaultKind::ReplyLost, 200, "", true),
        (FaultKind::Lost, 200, "", false),
    ];
    for (kind, status, expected, changed) in table {
        let cloud = cloud();
        let (name, broken) = (kind.name(), matches!(kind, FaultKind::ReplyLost | FaultKind::Lost));
        cloud.add_fault(fault(kind));
        let reply = create(&cloud).send(&cloud).await;
        assert_eq!((reply.status, reply.text.is_none()), (status, broken), "{name}");
        assert!(reply.text.unwrap_or_default().contains(expected), "{name}");
        assert_eq!(cloud.plans().len(), usize::from(changed), "{name}");
        assert_eq!(cloud.requests()[0].fault.as_deref(), Some(name));
        assert_eq!(create(&cloud).send(&cloud).await.status, 200, "{name} strikes once");
    }
}

#[tokio::test]
async fn admin_api_needs_no_signature_and_reports_errors() {
    let cloud = cloud();
    let admin = async |method: &str, path: &str, body: Value| admin(&cloud, method, path, body).await;
    let (status, made) = admin("POST", "/plans", json!({"planName": "theirs", "syncCheckpointEnabled": true})).await;
    assert_eq!((status, &made), (200, &json!({"planId": 1_300_000_016})));
    let topics = json!([
        {"instanceId": "rmq-foreign-a", "topicName": "t"}, {"instanceId": "rmq-foreign-b", "topicName": "t"}
    ]);
    let (status, made) = admin("POST", "/plans/1300000016/items", json!({"topics": topics})).await;
    assert_eq!((status, &made), (200, &json!({"itemId": 100_070_284})));
    let item = "/plans/1300000016/items/100070284";
    let checkpoint = cloud.plans()[0].items[0].checkpoints[0].checkpoint_id;
    let checkpoint = format!("/checkpoints/{checkpoint}");
    for (method, path, body, expected) in [
        ("PATCH", "/plans/1300000016", json!({"planDesc": "edited"}), 200),
        ("PATCH", "/plans/1300000016", json!({"planDecs": "edited"}), 400),
        ("PATCH", "/plans/7", json!({}), 404),
        ("PATCH", "/plans/x", json!({}), 400),
        ("PATCH", item, json!({"itemStatus": "OVERDUE_STOPPED"}), 200),
        ("PATCH", item, json!({"itemStatus": "GONE"}), 400),
        ("PATCH", &checkpoint, json!({"sourceTime": 5, "targetTime": 1}), 200),
        ("PATCH", "/checkpoints/7", json!({}), 404),
        ("POST", "/sync", json!({"frozen": true}), 200),
        ("POST", "/sync", json!({}), 400),
        ("POST", "/groups/GID_ORDERS", json!({"online": false}), 200),
        ("POST", "/denied", json!({"actions": ["*"]}), 200),
        ("POST", "/clock", json!({"offsetMs": 5000}), 200),
        ("POST", "/faults", json!({"times": 1, "kind": {"type": "Lost"}}), 200),
        ("POST", "/faults", json!({"kind": {"type": "Slow"}}), 400),
        ("POST", "/plans", json!({}), 400),
        ("DELETE", "/faults", Value::Null, 200),
        ("GET", "/requests", Value::Null, 200),
        ("DELETE", "/requests", Value::Null, 200),
        ("GET", "/plans", Value::Null, 200),
        ("PUT", "/plans", Value::Null, 405),
        ("GET", "/nothing", Value::Null, 404),
    ] {
        let (status, body) = admin(method, path, body).await;
        assert_eq!(status, expected, "{method} {path}: {body}");
        assert_eq!(status != 200, body.get("error").is_some(), "{method} {path}: {body}");
    }
    let plan = cloud.plans().remove(0);
    assert_eq!(plan.plan_desc.as_deref(), Some("edited"));
    assert_eq!(admin("DELETE", item, Value::Null).await.0, 200);
    assert_eq!(admin("DELETE", "/plans/1300000016", Value::Null).await.0, 200);
    assert!(cloud.plans().is_empty());
    assert_eq!(list(&cloud).send(&cloud).await.code().1, "NoPermission");
}
