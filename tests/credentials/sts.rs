//! STS: the requests to it, and the use of its answers.

use std::sync::Arc;
use std::time::Duration;

use disaster_recovery_operator::cloud::credentials::cache::CredentialsCache;
use disaster_recovery_operator::cloud::credentials::signer::Signer;
use disaster_recovery_operator::cloud::credentials::{CredentialsError, Issued, assume_role, oidc, provider};
use disaster_recovery_operator::cloud::sts::{RoleRequest, Sts};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::service::{Answer, Service, assert_hidden, key, refusal, session};

const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJvcGVyYXRvciJ9.c2lnbmF0dXJl";
const ROLE: &str = "acs:ram::123456789012****:role/operator";
const PROVIDER: &str = "acs:ram::123456789012****:oidc-provider/ack-rrsa-c1";

fn sts(service: &Service) -> Sts {
    Sts::new(service.client(), "https://sts.cn-hangzhou.aliyuncs.com".into())
}

async fn by_token(service: &Service, token: &'static str) -> Result<Issued, CredentialsError> {
    let assumed =
        oidc::Assumed { role_arn: ROLE.into(), provider_arn: PROVIDER.into(), session_name: "operator".into() };
    let source: oidc::TokenSource = Arc::new(move || Box::pin(std::future::ready(Ok(token.into()))));
    oidc::of(sts(service), assumed, source)().await
}

async fn by_role(service: &Service) -> Result<Issued, CredentialsError> {
    let base = provider(|| std::future::ready(Ok(Issued::without_expiry(key("base")))));
    let base = Arc::new(CredentialsCache::read_each_time(base, Arc::new(|| {})));
    let external_id = Some("team a/*+".to_owned());
    let request = RoleRequest { role_arn: ROLE.into(), external_id, session_name: "operator".into() };
    assume_role::of(sts(service), base, request)().await
}

#[tokio::test]
async fn token_is_sent_in_the_body_only() {
    let service = Service::sts();
    let issued = by_token(&service, TOKEN).await.unwrap();
    assert_eq!((issued.identity.as_str(), issued.credentials.access_key_id.as_str()), (ROLE, "STS.session-1"));
    assert!(issued.expires.is_some());
    assert_hidden(&issued, "", &["session-1"]);

    let [seen] = &service.seen()[..] else { panic!("one request") };
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/"));
    assert_eq!(seen.host, "sts.cn-hangzhou.aliyuncs.com");
    assert_eq!(seen.header("content-type"), "application/x-www-form-urlencoded");
    let form = seen.form();
    assert_eq!(form["OIDCToken"], TOKEN);
    let expected = [("RoleArn", ROLE), ("OIDCProviderArn", PROVIDER), ("RoleSessionName", "operator")];
    for (name, value) in expected.into_iter().chain([("DurationSeconds", "3600")]) {
        assert_eq!(form[name], value, "{name}");
    }
    for (name, value) in [("Action", "AssumeRoleWithOIDC"), ("Version", "2015-04-01"), ("Format", "JSON")] {
        assert_eq!(seen.query[name], value, "{name}");
    }
    assert!(seen.query.contains_key("Timestamp"));
    assert!(!seen.uri.contains(TOKEN) && !seen.uri.contains("eyJ"), "{}", seen.uri);
    assert!(!format!("{:?}", seen.headers).contains("eyJ"));
    for name in seen.headers.keys() {
        assert!(name != "authorization" && !name.as_str().starts_with("x-acs-"), "{name} on a call without signature");
    }
}

#[tokio::test]
async fn assume_role_signs_the_base_keys_token() {
    let service = Service::sts();
    let issued = by_role(&service).await.unwrap();
    assert_eq!((issued.identity.as_str(), issued.credentials.access_key_id.as_str()), (ROLE, "STS.session-1"));

    let [seen] = &service.seen()[..] else { panic!("one request") };
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/"));
    assert_eq!(seen.header("x-acs-action"), "AssumeRole");
    assert_eq!(seen.header("x-acs-version"), "2015-04-01");
    assert_eq!(seen.query["ExternalId"], "team a/*+");
    assert_eq!((seen.query["RoleArn"].as_str(), seen.query["DurationSeconds"].as_str()), (ROLE, "3600"));
    // What the vectors with a token have, this has: the key's ID and the token are headers, and are signed.
    let vectors: Vec<Value> = serde_json::from_str(include_str!("../acs3-vectors.json")).unwrap();
    for vector in [&vectors[0], &vectors[2]] {
        let signed = |text: &str| {
            let (_, rest) = text.split_once("SignedHeaders=").unwrap();
            rest.split_once(',').unwrap().0.split(';').map(str::to_owned).collect::<Vec<_>>()
        };
        let names = signed(seen.header("authorization"));
        for name in signed(vector["authorization"].as_str().unwrap()) {
            // The first is what the vendor's SDK counts for itself; the second says what a body is, and there is none.
            let left_out = ["x-acs-credentials-provider", "content-type"].contains(&name.as_str());
            assert!(left_out || names.contains(&name), "{name} is not signed");
        }
    }
    assert_eq!(seen.header("x-acs-security-token"), "base-token");
    assert_eq!(seen.header("x-acs-accesskey-id"), "base");
    seen.assert_signed_by(&key("base"), key("base").access_key_secret.expose_secret());
}

/// The vectors are what the check above is worth: it reproduces their signatures.
#[test]
fn signature_check_agrees_with_vectors() {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("../acs3-vectors.json")).unwrap();
    for vector in [&vectors[0], &vectors[2]] {
        let text = |name: &str| vector[name].as_str().unwrap_or_default();
        let mut headers = http::HeaderMap::new();
        for (name, value) in vector["headers"].as_object().unwrap() {
            let name: http::HeaderName = name.parse().unwrap();
            headers.insert(name, value.as_str().unwrap().parse().unwrap());
        }
        headers.insert("authorization", text("authorization").parse().unwrap());
        let query = vector["query"].as_object().unwrap().iter();
        let seen = super::service::Seen {
            method: text("method").parse().unwrap(),
            host: String::new(),
            path: text("pathname").into(),
            uri: text("url").into(),
            query: query.map(|(name, value)| (name.clone(), value.as_str().unwrap().into())).collect(),
            headers,
            body: text("body").into(),
        };
        seen.assert_signed_by(&key(text("access_key_id")), text("access_key_secret"));
    }
}

#[tokio::test]
async fn sts_refusal_is_reported_without_secrets() {
    let said = format!("the token {TOKEN} of base-token with base-secret is no good");
    for (status, code, passing) in [
        (401, "AuthenticationFail.OIDCToken.Expired", false),
        (401, "AuthenticationFail.NoPermission", false),
        (404, "EntityNotExist.Role", false),
        (403, "NoPermission", false),
        (400, "InvalidParameter.RoleArn", false),
        (400, "Throttling.Api", true),
        (503, "ServiceUnavailable", true),
    ] {
        let message = said.clone();
        let service = Service::new(move |_, _| refusal(status, code, &message));
        for error in [by_token(&service, TOKEN).await, by_role(&service).await].map(Result::unwrap_err) {
            assert_eq!(error.passing(), passing, "{error}");
            assert_eq!(matches!(error, CredentialsError::Refused(_)), !passing, "{error}");
            assert!(error.to_string().contains(code), "{error}");
        }
        let error = by_token(&service, TOKEN).await.unwrap_err();
        assert_hidden(&error, &error.to_string(), &[TOKEN]);
        let error = by_role(&service).await.unwrap_err();
        assert_hidden(&error, &error.to_string(), &["base-token", "base-secret"]);
    }
    // Nor does it get there as a code, or as the ID of the request.
    let service = Service::new(|_, _| {
        (400, json!({"RequestId": TOKEN, "Code": TOKEN, "Message": format!("{}{TOKEN}", "x".repeat(580))}).to_string())
    });
    let error = by_token(&service, TOKEN).await.unwrap_err();
    assert_hidden(&error, &error.to_string(), &[TOKEN, "eyJ"]);
}

#[tokio::test]
async fn incomplete_answer_gives_no_key_and_leaks_nothing() {
    for field in ["AccessKeyId", "AccessKeySecret", "SecurityToken", "Expiration"] {
        for broken in [Value::Null, json!(7), json!({})] {
            let mut answer = session("hidden");
            answer["Credentials"][field] = broken;
            let service = Service::new(move |_, _| -> Answer { (200, answer.to_string()) });
            let error = by_token(&service, TOKEN).await.unwrap_err();
            assert!(matches!(error, CredentialsError::Unreachable(_)) && error.passing(), "{field}: {error}");
            assert_hidden(&error, &error.to_string(), &["hidden", TOKEN]);
        }
    }
}

#[tokio::test]
async fn malformed_token_is_not_sent() {
    let service = Service::sts();
    assert!(matches!(by_token(&service, "abc").await, Err(CredentialsError::Refused(_))));
    assert!(service.seen().is_empty());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let error = oidc::file(path.clone())().await.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("token") && error.contains("audience"), "{error}");
    // It is read each time, without the line's end.
    for token in ["first", "second"] {
        std::fs::write(&path, format!("{token}\n")).unwrap();
        assert_eq!(oidc::file(path.clone())().await.unwrap().expose_secret(), token);
    }
    std::fs::write(&path, " \n").unwrap();
    assert!(matches!(oidc::file(path)().await, Err(CredentialsError::TokenFileUnreadable { .. })));
}

#[tokio::test]
async fn refused_base_key_is_read_again() {
    let service = Service::new(|seen, number| match seen.header("x-acs-accesskey-id") {
        "old" => refusal(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found."),
        _ => (200, session(&format!("session-{number}")).to_string()),
    });
    let reads = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let base = provider(move || {
        let first = reads.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        std::future::ready(Ok(Issued::without_expiry(key(if first { "old" } else { "new" }))))
    });
    let base = Arc::new(CredentialsCache::read_each_time(base, Arc::new(|| {})));
    let request = RoleRequest { role_arn: ROLE.into(), external_id: None, session_name: "operator".into() };
    let role = assume_role::of(sts(&service), base.clone(), request);
    let cache = Arc::new(CredentialsCache::renewed(role, Duration::from_secs(5), Arc::new(|| {})));
    let signer = Signer::of(&cache, Timestamp::now()).await.unwrap();
    assert_eq!(signer.credentials(Timestamp::now()).await.access_key_id, "STS.session-2");
    assert!(!service.seen()[0].query.contains_key("ExternalId"));
    assert!(base.health(Some(&key("new")), Timestamp::now()).refused.is_none(), "the new one was taken");
}
