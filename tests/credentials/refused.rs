//! What the client does when the cloud refuses a key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use disaster_recovery_operator::cloud::client::{Call, Style, Target};
use disaster_recovery_operator::cloud::credentials::cache::CredentialsCache;
use disaster_recovery_operator::cloud::credentials::signer::Signer;
use disaster_recovery_operator::cloud::credentials::{Issued, provider};
use disaster_recovery_operator::cloud::error::Class;
use disaster_recovery_operator::cloud::operation::ApiOperation;
use disaster_recovery_operator::cloud::rate_limit::Priority;
use http::Method;
use jiff::{SignedDuration, Timestamp};

use super::service::{Service, key, refusal};

/// A cache with a source of `key-1`, `key-2` and so on, up to `last`.
fn cache(last: u32, pause: Duration) -> (Arc<CredentialsCache>, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let asking = asked.clone();
    let source = provider(move || {
        let number = (asking.fetch_add(1, Ordering::SeqCst) + 1).min(last);
        let expires = Some(Timestamp::now() + SignedDuration::from_hours(1));
        let credentials = key(&format!("key-{number}"));
        std::future::ready(Ok(Issued { credentials, expires, identity: "role".into() }))
    });
    (Arc::new(CredentialsCache::renewed(source, pause, Arc::new(|| {}))), asked)
}

fn call(changing: bool) -> Call {
    let (operation, method) = if changing {
        (ApiOperation::CreateDisasterRecoveryPlan, Method::POST)
    } else {
        (ApiOperation::ListDisasterRecoveryPlans, Method::GET)
    };
    Call {
        operation,
        method,
        path: "/disaster_recovery".into(),
        query: vec![],
        body: None,
        style: Style::Roa,
        changing,
        repeatable: false,
        secrets: vec![],
    }
}

fn target(signer: Signer) -> Target {
    Target {
        product: "rocketmq",
        version: "2022-08-01",
        endpoint: "https://rocketmq.cn-hangzhou.aliyuncs.com".into(),
        region: "cn-hangzhou".into(),
        signer: Some(signer),
        priority: Priority::Change,
    }
}

/// A service that refuses some keys.
fn refusing(code: &'static str, keys: &'static [&'static str]) -> Service {
    Service::new(move |seen, _| match seen.header("x-acs-accesskey-id") {
        id if keys.contains(&id) => refusal(400, code, "no"),
        _ => (200, r#"{"success":true,"data":7}"#.into()),
    })
}

fn keys(service: &Service) -> Vec<String> {
    service.seen().iter().map(|seen| seen.header("x-acs-accesskey-id").to_owned()).collect()
}

#[tokio::test]
async fn refused_key_is_replaced_and_call_repeated_once() {
    for code in ["InvalidSecurityToken.Expired", "InvalidAccessKeyId.NotFound", "SignatureDoesNotMatch"] {
        // A call refused for its key has had no effect, so that a change is repeated too.
        for changing in [false, true] {
            let service = refusing(code, &["key-1"]);
            let (cache, asked) = cache(9, Duration::ZERO);
            let target = target(Signer::of(&cache, Timestamp::now()).await.unwrap());
            let data = service.client().send(&target, &call(changing)).await.expect(code);
            assert_eq!(data.read::<i64>().unwrap(), 7);
            assert_eq!(keys(&service), ["key-1", "key-2"]);
            let nonces: Vec<_> = service.seen().iter().map(|s| s.header("x-acs-signature-nonce").to_owned()).collect();
            assert_ne!(nonces[0], nonces[1]);
            service.seen()[1].assert_signed_by(&key("key-2"), "key-2-secret");
            assert_eq!(asked.load(Ordering::SeqCst), 2);
            assert!(cache.health(Some(&key("key-2")), Timestamp::now()).refused.is_none(), "the new one was taken");
            // It signs the rest of the reconcile.
            service.client().send(&target, &call(false)).await.unwrap();
            assert_eq!(keys(&service)[2], "key-2");
        }
    }
}

#[tokio::test]
async fn call_is_not_sent_a_third_time() {
    for changing in [false, true] {
        let service = refusing("InvalidSecurityToken.Malformed", &["key-1", "key-2", "key-3"]);
        let (cache, asked) = cache(9, Duration::ZERO);
        let target = target(Signer::of(&cache, Timestamp::now()).await.unwrap());
        let error = service.client().send(&target, &call(changing)).await.unwrap_err();
        assert_eq!((error.class, error.code.as_str()), (Class::Denied, "InvalidSecurityToken.Malformed"));
        assert_eq!(keys(&service), ["key-1", "key-2"]);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        let refused =
            cache.health(Some(&key("key-2")), Timestamp::now()).refused.expect("what was said of the second is known");
        assert_eq!(refused.code, "InvalidSecurityToken.Malformed");
    }
}

#[tokio::test]
async fn refusal_is_returned_without_another_key() {
    let service = refusing("InvalidAccessKeyId.Inactive", &["key-1"]);
    let (cache, asked) = cache(1, Duration::ZERO);
    let target = target(Signer::of(&cache, Timestamp::now()).await.unwrap());
    let error = service.client().send(&target, &call(true)).await.unwrap_err();
    assert_eq!((error.class, keys(&service).len(), asked.load(Ordering::SeqCst)), (Class::Denied, 1, 2));
    assert_eq!(cache.health(Some(&key("key-1")), Timestamp::now()).refused.map(|error| error.code), Some(error.code));

    // One that never changes has no other.
    let service = refusing("InvalidAccessKeyId.Inactive", &["key-1"]);
    let fixed = Target { signer: Some(Signer::fixed(key("key-1"))), ..target };
    assert!(service.client().send(&fixed, &call(false)).await.is_err());
    assert_eq!(keys(&service).len(), 1);
}

#[tokio::test]
async fn missing_permission_does_not_replace_the_key() {
    for code in ["NoPermission", "Forbidden.RAM", "DisasterRecoveryPlanStatus.Error", "InvalidTimeStamp.Expired"] {
        let service = refusing(code, &["key-1"]);
        let (cache, asked) = cache(9, Duration::ZERO);
        let target = target(Signer::of(&cache, Timestamp::now()).await.unwrap());
        assert!(service.client().send(&target, &call(false)).await.is_err());
        assert_eq!((keys(&service).len(), asked.load(Ordering::SeqCst)), (1, 1), "{code}");
        assert_eq!(
            cache.health(None, Timestamp::now()).refused.is_some(),
            code.starts_with("InvalidTimeStamp"),
            "{code}"
        );
    }
}

#[tokio::test]
async fn refused_keys_are_requested_with_backoff() {
    let service = Service::new(|_, _| refusal(400, "InvalidSecurityToken.Expired", "no"));
    let (cache, asked) = cache(99, Duration::from_secs(60));
    for _ in 0..20 {
        let target = target(Signer::of(&cache, Timestamp::now()).await.unwrap());
        assert!(service.client().send(&target, &call(false)).await.is_err());
    }
    assert_eq!((asked.load(Ordering::SeqCst), keys(&service).len()), (1, 20));
}
