//! What a test has in its hands: faults, limits, denials, the record of requests and the admin API.

use disaster_recovery_operator::simulator::model::sts::Role;
use disaster_recovery_operator::simulator::{Config, Fault, FaultKind, Simulator};
use serde_json::{Value, json};

use super::cloud::*;
use test_support::requests::*;

#[tokio::test]
async fn faults_limits_and_denials_affect_sts() {
    let cloud = cloud();
    let strike = |action: &str, kind: FaultKind| {
        cloud.add_fault(Fault::new(kind).of_action(action).times(1));
    };
    let issued = || cloud.with_sts(|sts, _| sts.issued().count());
    let good = token(&cloud, json!({}));
    let code = "AuthenticationFail.OIDCToken.InvalidSignature".to_owned();
    strike(
        "AssumeRoleWithOIDC",
        FaultKind::Error { status: 401, code: code.clone(), message: "wrong".to_owned(), pascal_case: false },
    );
    let (status, body) = with_oidc(&cloud, &good, &[]).await;
    assert_eq!((status, &body["Code"]), (401, &json!(code)), "STS knows one casing only");
    strike("AssumeRoleWithOIDC", FaultKind::Lost);
    assert_eq!((with_oidc(&cloud, &good, &[]).await.1, issued()), (Value::Null, 0));
    strike("AssumeRoleWithOIDC", FaultKind::ReplyLost);
    assert_eq!((with_oidc(&cloud, &good, &[]).await.1, issued()), (Value::Null, 1));
    strike("AssumeRole", FaultKind::Throttle { retry_after_ms: None });
    assert_eq!(assume(&cloud, &Key::usual(), &ASK).await.1["Code"], "Throttling.User");
    strike("AssumeRole", FaultKind::Slow { ms: 1 });
    assert_eq!((assume(&cloud, &Key::usual(), &ASK).await.0, issued()), (200, 2));
    let faults: Vec<_> = cloud.requests().iter().map(|it| it.fault.clone().unwrap()).collect();
    assert_eq!(faults, ["Error", "Lost", "ReplyLost", "Throttle", "Slow"]);

    cloud.set_denied_actions(["AssumeRole"]);
    let (status, body) = assume(&cloud, &Key::usual(), &ASK).await;
    assert_eq!((status, &body["Code"]), (403, &json!("NoPermission")));
    assert!(body["AccessDeniedDetail"].is_object());
    assert_eq!(with_oidc(&cloud, &good, &[]).await.0, 200);
    cloud.set_denied_actions(["*"]);
    assert_eq!(assume(&cloud, &Key::usual(), &ASK).await.0, 403);
    assert_eq!(with_oidc(&cloud, &good, &[]).await.0, 200, "it is not signed");
    cloud.set_denied_actions(["AssumeRoleWithOIDC"]);
    assert_eq!(with_oidc(&cloud, &good, &[]).await.1["Code"], "AuthenticationFail.NoPermission");
    cloud.set_denied_actions::<String>([]);

    cloud.set_sts_rate_limit(0);
    assert_eq!(assume(&cloud, &Key::usual(), &ASK).await.1["Code"], "Throttling.Api");
    assert_eq!(with_oidc(&cloud, &good, &[]).await.1["Code"], "Throttling.Api");
    cloud.set_sts_rate_limit(100);
    cloud.set_rate_limit(0);
    assert_eq!(assume(&cloud, &Key::usual(), &ASK).await.0, 200, "the other products' limits are their own");
}

#[tokio::test]
async fn no_secret_and_no_token_is_recorded() {
    let cloud = cloud();
    cloud.with_sts(|sts, _| sts.metadata.role_arn = Some(ROLE.to_owned()));
    let good = token(&cloud, json!({}));
    let query =
        [&COMMON[..], &ASK, &[("OIDCProviderArn", PROVIDER), ("OIDCToken", &good), ("SecurityToken", "hush-hush")]]
            .concat();
    let (_, body) = answer(&cloud, plain("GET", STS, &query, &[])).await;
    let (by_oidc, by_key) = (Key::of(&body), assumed(&cloud, &Key::usual(), ROLE).await);
    with_oidc(&cloud, &good, &[]).await;
    let opening = metadata_token(&cloud, "60").await;
    let (_, body) = metadata_get(&cloud, &format!("{ROOM}team-a"), &opening).await;
    let by_metadata = Key::of(&serde_json::from_str(&body).unwrap());
    let mut secrets = vec![good, opening, "hush-hush".to_owned(), "simulator-key-secret".to_owned()];
    for key in [by_oidc, by_key, by_metadata] {
        uses(&cloud, &key).await;
        secrets.extend([key.secret, key.token.unwrap()]);
    }
    let (_, records) = admin(&cloud, "GET", "/requests", Value::Null).await;
    let (_, keys) = admin(&cloud, "GET", "/issued-keys", Value::Null).await;
    assert_eq!(keys.as_array().unwrap().len(), 7, "{keys}");
    let issued = cloud.with_sts(|sts, _| format!("{:?}", sts.issued().collect::<Vec<_>>()));
    let shown = format!("{:?} {records} {keys} {issued}", cloud.requests());
    for secret in secrets {
        assert!(!shown.contains(&secret), "{secret} is in\n{shown}");
    }
}

#[tokio::test]
async fn recorded_requests_distinguish_tenant_keys() {
    let cloud = cloud();
    cloud.with_sts(|sts, _| sts.set_role(Role::open(OTHER, &[])));
    for role in [ROLE, OTHER] {
        let key = assumed(&cloud, &Key::usual(), role).await;
        let to = ("GET", "rocketmq.cn-hangzhou.aliyuncs.com", "2022-08-01");
        let path = ("ListDisasterRecoveryPlans", "/disaster_recovery");
        answer(&cloud, signed(&cloud, &key, to, path, (&[], &[]))).await;
    }
    let records = cloud.requests().into_iter().filter(|it| it.action == "ListDisasterRecoveryPlans");
    let roles: Vec<_> = records.map(|it| it.role.unwrap()).collect();
    assert_eq!(roles, [ROLE, OTHER]);
}

#[tokio::test]
async fn the_admin_api_reaches_roles_and_keys() {
    let cloud = Simulator::new(Config::default());
    let role = json!({
        "arn": ROLE, "maxSessionSeconds": 7200, "trustedCallers": ["next"], "externalId": "tenant-a",
        "trustedSubjects": {PROVIDER: ["system:*"]},
    });
    let provider = json!({"arn": PROVIDER, "issuer": "https://issuer", "clientIds": ["own"]});
    for (method, path, body, status) in [
        ("POST", "/roles", role.clone(), 200),
        ("POST", "/roles", json!({"arn": OTHER}), 200),
        ("POST", "/roles", json!({"name": "x"}), 400),
        ("POST", "/roles", json!({"arn": "team-a"}), 400),
        ("POST", "/ecs-role", json!({"role": "team-a"}), 400),
        ("POST", "/roles", role.clone(), 200),
        ("DELETE", &format!("/roles?arn={OTHER}"), Value::Null, 200),
        ("DELETE", &format!("/roles?arn={OTHER}"), Value::Null, 404),
        ("DELETE", &format!("/oidc-providers?arn={PROVIDER}"), Value::Null, 404),
        ("POST", "/oidc-providers", provider.clone(), 200),
        ("POST", "/keys", json!([{"id": "next", "secret": "s"}, {"id": "r", "secret": "s", "root": true}]), 200),
        ("POST", "/keys", json!([{"id": "next"}]), 400),
        ("POST", "/token-life", json!({"lifeMs": 60_000}), 200),
        ("POST", "/ecs-role", json!({"role": ROLE}), 200),
    ] {
        let found = admin(&cloud, method, path, body).await;
        assert_eq!(found.0, status, "{method} {path}: {}", found.1);
    }
    assert_eq!(admin(&cloud, "GET", "/roles", Value::Null).await.1, json!([role]));
    assert_eq!(admin(&cloud, "GET", "/oidc-providers", Value::Null).await.1, json!([provider]));
    let query = [ASK[0], ASK[1], ("ExternalId", "tenant-a")];
    let (status, body) = assume(&cloud, &Key::permanent("next", "s"), &query).await;
    assert_eq!(status, 200, "{body}");
    let key = Key::of(&body);
    let (_, keys) = admin(&cloud, "GET", "/issued-keys", Value::Null).await;
    assert_eq!(keys[0]["accessKeyId"], json!(key.id));
    assert_eq!(keys[0]["expiration"], body["Credentials"]["Expiration"]);
    assert_eq!((&keys[0]["roleArn"], &keys[0]["revoked"]), (&json!(ROLE), &json!(false)));
    assert_eq!(assume(&cloud, &Key::usual(), &query).await.1["Code"], "InvalidAccessKeyId.NotFound");
    assert_eq!(assume(&cloud, &Key::permanent("r", "s"), &query).await.1["Code"], "NoPermission");
    assert_eq!(admin(&cloud, "POST", "/revoke", json!({"role": ROLE})).await.1, json!({"revoked": 1}));
    assert_eq!(assume(&cloud, &key, &query).await.1["Code"], "InvalidSecurityToken.Expired");
    let opening = metadata_token(&cloud, "60").await;
    assert_eq!(metadata_get(&cloud, ROOM, &opening).await.1, "team-a");
    assert_eq!(admin(&cloud, "POST", "/ecs-role", json!({"role": null})).await.0, 200);
    assert_eq!(metadata_get(&cloud, ROOM, &opening).await.0, 404);
}
