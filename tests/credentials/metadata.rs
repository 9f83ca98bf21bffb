//! The metadata service of an ECS instance.

use std::time::{Duration, Instant};

use disaster_recovery_operator::cloud::credentials::{CredentialsError, Issued, ecs_role};
use serde_json::{Value, json};

use super::service::{Answer, Seen, Service, assert_hidden, in_an_hour};

const ROLES: &str = "/latest/meta-data/ram/security-credentials/";
const TOKEN: &str = "metadata-token-text";

fn whole() -> Value {
    json!({
        "AccessKeyId": "STS.hidden", "AccessKeySecret": "hidden-secret", "SecurityToken": "hidden-token",
        "Expiration": in_an_hour(), "LastUpdated": "2026-01-01T00:00:00Z", "Code": "Success",
    })
}

/// A metadata service with one role, that wants its token.
fn metadata(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Service {
    Service::new(move |seen: &Seen, _| match (seen.method.as_str(), seen.path.as_str()) {
        ("PUT", "/latest/api/token") if seen.header("x-aliyun-ecs-metadata-token-ttl-seconds") == "21600" => {
            answer("token")
        }
        ("GET", path) if seen.header("x-aliyun-ecs-metadata-token") == TOKEN => {
            answer(path.strip_prefix(ROLES).unwrap_or("?"))
        }
        _ => (403, "hidden".into()),
    })
}

fn usual(path: &str) -> Answer {
    match path {
        "token" => (200, TOKEN.into()),
        "" => (200, "OperatorRole\n".into()),
        "OperatorRole" => (200, whole().to_string()),
        _ => (404, "<html>hidden</html>".into()),
    }
}

async fn ask(service: &Service, role: Option<&str>) -> Result<Issued, CredentialsError> {
    ecs_role::of(service.http(), ecs_role::base(), role.map(Into::into))().await
}

fn why(error: CredentialsError) -> String {
    assert!(matches!(error, CredentialsError::MetadataUnavailable(_)) && error.passing(), "{error:?}");
    assert_hidden(&error, &error.to_string(), &["hidden", TOKEN]);
    error.to_string()
}

#[tokio::test]
async fn key_of_the_attached_role_is_used() {
    for (role, requests) in [(None, 3), (Some("OperatorRole"), 2)] {
        let service = metadata(usual);
        let issued = ask(&service, role).await.unwrap();
        assert_eq!(issued.identity, "ECS RAM role OperatorRole");
        assert_eq!(issued.credentials.access_key_id, "STS.hidden");
        assert!(issued.expires.is_some() && issued.credentials.security_token.is_some());
        assert_hidden(&issued, "", &["hidden"]);
        let seen = service.seen();
        assert_eq!(seen.len(), requests);
        assert!(seen.iter().all(|seen| seen.host == "100.100.100.200" && seen.body.is_empty()));
    }
}

#[tokio::test]
async fn metadata_is_not_read_without_a_token() {
    for status in [403, 404, 405, 500] {
        let service = metadata(move |path| if path == "token" { (status, "hidden".into()) } else { usual(path) });
        let why = why(ask(&service, None).await.unwrap_err());
        assert!(why.contains(&format!("HTTP {status}")), "{why}");
        assert_eq!(service.seen().len(), 1);
    }
    for empty in ["", " \n", "hidden\nhidden"] {
        let service = metadata(move |path| if path == "token" { (200, empty.into()) } else { usual(path) });
        why(ask(&service, None).await.unwrap_err());
        assert_eq!(service.seen().len(), 1, "{empty:?}");
    }
}

#[tokio::test]
async fn missing_role_is_named() {
    let why_of = why(ask(&metadata(usual), Some("Other")).await.unwrap_err());
    assert!(why_of.contains("no RAM role \"Other\"") && why_of.contains("attach"), "{why_of}");
    for list in [(404, "hidden".to_owned()), (200, "\n".to_owned())] {
        let service = metadata(move |path| if path.is_empty() { list.clone() } else { usual(path) });
        let why = why(ask(&service, None).await.unwrap_err());
        assert!(why.contains("no RAM role: attach one"), "{why}");
    }
}

#[tokio::test]
async fn role_name_cannot_change_the_path() {
    for (role, path) in [
        ("../../dynamic/instance", "..%2F..%2Fdynamic%2Finstance"),
        ("a?b=c#d", "a%3Fb%3Dc%23d"),
        ("a\r\nx: y", "a%0D%0Ax%3A%20y"),
        ("角色", "%E8%A7%92%E8%89%B2"),
    ] {
        let service = metadata(usual);
        why(ask(&service, Some(role)).await.unwrap_err());
        assert_eq!(service.seen()[1].uri, format!("http://100.100.100.200{ROLES}{path}"));
    }
    for role in ["", ".", ".."] {
        let service = metadata(usual);
        why(ask(&service, Some(role)).await.unwrap_err());
        assert!(service.seen().is_empty());
    }
    for listed in ["../hidden", "..", "hidden\nhidden", "<html>hidden</html>", "hidden?x"] {
        let service = metadata(move |path| if path.is_empty() { (200, listed.into()) } else { usual(path) });
        why(ask(&service, None).await.unwrap_err());
        assert_eq!(service.seen().len(), 2, "{listed}");
    }
}

#[tokio::test]
async fn partial_answers_give_no_key() {
    for (field, broken) in [
        ("Code", json!("hidden")),
        ("Code", Value::Null),
        ("AccessKeyId", json!("")),
        ("AccessKeySecret", Value::Null),
        ("SecurityToken", json!("")),
        ("Expiration", Value::Null),
        ("Expiration", json!("hidden")),
    ] {
        let mut answer = whole();
        answer[field] = broken;
        let service =
            metadata(move |path| if path == "OperatorRole" { (200, answer.to_string()) } else { usual(path) });
        why(ask(&service, None).await.unwrap_err());
    }
    for (status, body) in [(200, "hidden"), (500, "hidden")] {
        let service = metadata(move |path| if path == "OperatorRole" { (status, body.into()) } else { usual(path) });
        why(ask(&service, None).await.unwrap_err());
    }
}

#[tokio::test]
async fn metadata_service_without_answer_times_out() {
    for silent in ["token", "OperatorRole"] {
        let service = metadata(move |path| if path == silent { (0, String::new()) } else { usual(path) });
        let (started, error) = (Instant::now(), ask(&service, None).await.unwrap_err());
        assert!((Duration::from_secs(2)..Duration::from_secs(4)).contains(&started.elapsed()));
        let why = why(error);
        assert!(why.contains("within 2 s") && why.contains("ALIBABA_CLOUD_ECS_METADATA_DISABLED=true"), "{why}");
    }
}
