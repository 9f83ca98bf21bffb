//! Requests with a token of OIDC in the place of a signature.

use disaster_recovery_operator::simulator::model::sts::OidcProvider;
use serde_json::json;

use super::cloud::*;
use test_support::requests::*;

#[tokio::test]
async fn oidc_token_replaces_a_signature() {
    let cloud = cloud();
    let (good, now) = (token(&cloud, json!({})), date(&cloud, 0));
    let all =
        [("OIDCProviderArn", PROVIDER), ("OIDCToken", good.as_str()), ("Timestamp", &now), ("DurationSeconds", "900")];
    let query = [&COMMON[..], &ASK, &all].concat();
    for (method, host) in [("GET", "sts.aliyuncs.com"), ("POST", "127.0.0.1:4711")] {
        let (status, body) = answer(&cloud, plain(method, host, &query, &[])).await;
        assert_eq!(status, 200, "{method} {host}: {body}");
        assert_eq!(body["OIDCTokenInfo"]["Subject"], "system:serviceaccount:team-a:dr");
        assert_eq!(body["OIDCTokenInfo"]["ClientIds"], "sts.aliyuncs.com");
        assert_eq!(uses(&cloud, &Key::of(&body)).await, thrice(200, ""));
    }
    let (status, body) = with_oidc(&cloud, &token(&cloud, json!({"aud": "sts.aliyuncs.com"})), &[]).await;
    assert_eq!(status, 200, "{body}");
    let record = &cloud.requests()[0];
    assert_eq!((record.action.as_str(), record.code.as_str()), ("AssumeRoleWithOIDC", "200"));
    assert_eq!((record.access_key_id.as_deref(), record.role.as_deref(), record.changing), (None, None, false));
    let kept = record.query.iter().find(|(name, _)| name == "OIDCToken").unwrap();
    assert_eq!(kept.1, "***");
}

#[tokio::test]
async fn oidc_token_errors_name_the_cause() {
    let cloud = cloud();
    cloud.with_sts(|sts, _| {
        let issuer = Some("https://issuer".to_owned());
        sts.set_provider(OidcProvider { issuer, ..OidcProvider::new(PROVIDER) });
    });
    let none: Pairs<'_> = &[];
    for (changes, parameters, status, code) in [
        (json!({}), none, 200, ""),
        (json!({"exp": cloud.now_ms() / 1000}), none, 401, "AuthenticationFail.OIDCToken.Expired"),
        (json!({"aud": ["other"]}), none, 401, "AuthenticationFail.OIDCToken.AudienceNotMatch"),
        (json!({"iss": "https://other"}), none, 401, "AuthenticationFail.OIDCToken.Invalid"),
        (json!({}), &[("OIDCToken", "nothing")], 401, "AuthenticationFail.OIDCToken.Invalid"),
        (json!({}), &[("OIDCToken", "abc")], 400, "InvalidParameter.OIDCToken"),
        (json!({}), &[("OIDCToken", "")], 400, "MissingOIDCToken"),
        (json!({}), &[("OIDCProviderArn", "")], 400, "MissingOIDCProviderArn"),
        (json!({}), &[("OIDCProviderArn", "acs:ram::1:oidc-provider/x")], 404, "EntityNotExist.OIDCProvider"),
        (json!({}), &[("RoleArn", "acs:ram::1:role/none")], 404, "EntityNotExist.Role"),
        (json!({}), &[("RoleArn", OTHER)], 401, "AuthenticationFail.NoPermission"),
        (json!({"sub": "system:serviceaccount:team-b:dr"}), none, 401, "AuthenticationFail.NoPermission"),
    ] {
        let (found, body) = with_oidc(&cloud, &token(&cloud, changes.clone()), parameters).await;
        let found = (found, body["Code"].as_str().unwrap_or_default());
        assert_eq!(found, (status, code), "{changes} {parameters:?}: {body}");
    }
    let good = token(&cloud, json!({}));
    cloud.set_clock_offset_ms(601_000);
    assert_eq!(with_oidc(&cloud, &good, &[]).await.1["Code"], "AuthenticationFail.OIDCToken.Expired");
}

#[tokio::test]
async fn time_and_version_of_unsigned_requests_are_checked() {
    let cloud = cloud();
    let good = token(&cloud, json!({}));
    let form = [&ASK[..], &[("OIDCProviderArn", PROVIDER), ("OIDCToken", &good)]].concat();
    let (early, late) = (date(&cloud, -16 * 60), date(&cloud, 16 * 60));
    let action = COMMON[0];
    for (query, status, code) in [
        (COMMON.to_vec(), 200, ""),
        ([&COMMON[..], &[("Timestamp", &early)]].concat(), 400, "InvalidTimeStamp.Expired"),
        ([&COMMON[..], &[("Timestamp", &late)]].concat(), 400, "InvalidTimeStamp.Expired"),
        ([&COMMON[..], &[("Timestamp", "now")]].concat(), 400, "InvalidTimeStamp.Format"),
        (vec![action], 400, "MissingVersion"),
        (vec![action, ("Version", "2015-04-02")], 404, "InvalidApi.NotFound"),
    ] {
        let (found, body) = answer(&cloud, plain("POST", STS, &query, &form)).await;
        assert_eq!((found, body["Code"].as_str().unwrap_or_default()), (status, code), "{query:?}: {body}");
    }
}
