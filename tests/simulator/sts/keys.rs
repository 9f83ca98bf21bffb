//! The keys that STS issues, and their validity.

use disaster_recovery_operator::simulator::AccessKey;
use disaster_recovery_operator::simulator::model::sts::Role;
use serde_json::json;

use super::cloud::*;
use test_support::requests::*;

#[tokio::test]
async fn assumed_role_key_signs_for_every_product() {
    let cloud = cloud();
    for (method, host, query, form) in [
        ("POST", STS, &ASK[..], &[][..]),
        ("GET", "sts.aliyuncs.com", &ASK, &[]),
        ("POST", "sts-vpc.cn-shanghai.aliyuncs.com", &[], &ASK),
        ("POST", "127.0.0.1:4711", &ASK[..1], &ASK[1..]),
    ] {
        let to = (method, host, POST.2);
        let request = signed(&cloud, &Key::usual(), to, ("AssumeRole", "/"), (query, form));
        let (status, body) = answer(&cloud, request).await;
        assert_eq!(status, 200, "{to:?}: {body}");
        assert_eq!(body["AssumedRoleUser"]["Arn"], "acs:ram::1234567890123456:assumed-role/team-a/dr");
        assert!(body["AssumedRoleUser"]["AssumedRoleId"].as_str().unwrap().ends_with(":dr"));
        assert!(body["RequestId"].is_string() && body["OIDCTokenInfo"].is_null());
        let end: jiff::Timestamp = body["Credentials"]["Expiration"].as_str().unwrap().parse().unwrap();
        let left = end.as_millisecond() - cloud.now_ms();
        assert!((3_590_000..=3_600_000).contains(&left), "{left}");
        assert_eq!(uses(&cloud, &Key::of(&body)).await, thrice(200, ""), "{to:?}");
    }
    let records = cloud.requests();
    assert_eq!(records.len(), 16);
    let first: Vec<_> = records[..4].iter().map(|it| (it.action.as_str(), it.role.as_deref())).collect();
    assert_eq!(
        first,
        [
            ("AssumeRole", None),
            ("ListDisasterRecoveryPlans", Some(ROLE)),
            ("DescribeDiskReplicaGroups", Some(ROLE)),
            ("AssumeRole", Some(ROLE)),
        ]
    );
    assert!(records.iter().all(|it| !it.changing && it.access_key_id.is_some()));
    let regions: Vec<_> = records.iter().step_by(4).map(|it| it.region.as_deref().unwrap()).collect();
    assert_eq!(regions, ["cn-hangzhou", "cn-hangzhou", "cn-shanghai", "cn-hangzhou"]);
}

#[tokio::test]
async fn issued_key_needs_token_and_expires() {
    let cloud = cloud();
    let key = assumed(&cloud, &Key::usual(), ROLE).await;
    let another = assumed(&cloud, &Key::usual(), ROLE).await;
    for (wrong, status, code) in [
        (Key { token: None, ..key.clone() }, 400, "MissingSecurityToken"),
        (Key { token: another.token, ..key.clone() }, 400, "InvalidSecurityToken.MismatchWithAccessKey"),
        (Key { secret: another.secret, ..key.clone() }, 400, "SignatureDoesNotMatch"),
        (Key { id: "STS.unknown".to_owned(), ..key.clone() }, 404, "InvalidAccessKeyId.NotFound"),
    ] {
        assert_eq!(uses(&cloud, &wrong).await, thrice(status, code));
    }
    cloud.set_keys(vec![AccessKey::new("next", "next-secret")]);
    assert_eq!(uses(&cloud, &key).await, thrice(200, ""), "a rotation leaves issued keys alone");
    assert_eq!(uses(&cloud, &Key::usual()).await, thrice(404, "InvalidAccessKeyId.NotFound"));
    cloud.set_clock_offset_ms(3_590_000);
    assert_eq!(uses(&cloud, &key).await, thrice(200, ""));
    cloud.set_clock_offset_ms(3_600_000);
    assert_eq!(uses(&cloud, &key).await, thrice(400, "InvalidSecurityToken.Expired"));

    cloud.with_sts(|sts, _| {
        sts.rules.max_key_lifetime_ms = Some(60_000);
        sts.set_role(Role::open(ROLE, &[]));
    });
    let short = assumed(&cloud, &Key::permanent("next", "next-secret"), ROLE).await;
    cloud.set_clock_offset_ms(3_600_000 + 50_000);
    assert_eq!(uses(&cloud, &short).await, thrice(200, ""));
    cloud.set_clock_offset_ms(3_600_000 + 60_000);
    assert_eq!(uses(&cloud, &short).await, thrice(400, "InvalidSecurityToken.Expired"));
}

#[tokio::test]
async fn a_revocation_ends_the_keys_of_one_role() {
    let cloud = cloud();
    let key = assumed(&cloud, &Key::usual(), ROLE).await;
    let chained = assumed(&cloud, &key, OTHER).await;
    assert_eq!(cloud.with_sts(|sts, _| sts.revoke(ROLE)), 1);
    // Not even by a clock that is set back.
    cloud.set_clock_offset_ms(-60_000);
    assert_eq!(uses(&cloud, &key).await, thrice(400, "InvalidSecurityToken.Expired"));
    cloud.set_clock_offset_ms(0);
    let found = uses(&cloud, &chained).await;
    assert_eq!(found, [(200, String::new()), (200, String::new()), (403, "NoPermission".to_owned())]);
    let later = assumed(&cloud, &Key::usual(), ROLE).await;
    assert_eq!(uses(&cloud, &later).await, thrice(200, ""));
}

#[tokio::test]
async fn assume_role_refusals_name_the_cause() {
    let cloud = cloud();
    let mut guarded = Role::open("acs:ram::1:role/guarded", &[]);
    guarded.external_id = Some("tenant-a".to_owned());
    cloud.with_sts(|sts, _| sts.set_role(guarded));
    let guarded = ("RoleArn", "acs:ram::1:role/guarded");
    let session = ("RoleSessionName", "dr");
    for (query, status, code) in [
        (vec![session], 400, "MissingRoleArn"),
        (vec![("RoleArn", ROLE)], 400, "MissingRoleSessionName"),
        (vec![("RoleArn", "team-a"), session], 400, "InvalidParameter.RoleArn"),
        (vec![("RoleArn", ROLE), ("RoleSessionName", "a b")], 400, "InvalidParameter.RoleSessionName"),
        (vec![ASK[0], ASK[1], ("DurationSeconds", "899")], 400, "InvalidParameter.DurationSeconds"),
        (vec![ASK[0], ASK[1], ("DurationSeconds", "3601")], 400, "InvalidParameter.DurationSeconds"),
        (vec![ASK[0], ASK[1], ("DurationSeconds", "long")], 400, "InvalidParameter.DurationSeconds"),
        (vec![("RoleArn", "acs:ram::1:role/none"), session], 404, "EntityNotExist.Role"),
        (vec![("RoleArn", OTHER), session], 403, "NoPermission"),
        (vec![guarded, session], 403, "NoPermission"),
        (vec![guarded, session, ("ExternalId", "tenant-b")], 403, "NoPermission"),
        (vec![guarded, session, ("ExternalId", "tenant-a")], 200, ""),
        (vec![ASK[0], ASK[1], ("DurationSeconds", "900"), ("Policy", "{}")], 200, ""),
    ] {
        let (found, body) = assume(&cloud, &Key::usual(), &query).await;
        assert_eq!((found, body["Code"].as_str().unwrap_or_default()), (status, code), "{query:?}: {body}");
    }
    let request = signed(&cloud, &Key::usual(), ("POST", STS, "2015-04-02"), ("AssumeRole", "/"), (&ASK, &[]));
    assert_eq!(answer(&cloud, request).await.1["Code"], "InvalidApi.NotFound");
    let request = signed(&cloud, &Key::usual(), POST, ("GetCallerIdentity", "/"), (&ASK, &[]));
    assert_eq!(answer(&cloud, request).await.1["Code"], "InvalidApi.NotFound");
    let query = [&[("Action", "AssumeRole"), ("Version", "2015-04-01")], &ASK[..]].concat();
    assert_eq!(answer(&cloud, plain("POST", STS, &query, &[])).await.1["Code"], "IncompleteSignature");
    assert_eq!(cloud.requests().last().unwrap().action, "AssumeRole");

    cloud.set_keys(vec![AccessKey { root: true, ..AccessKey::new("root", "root-secret") }]);
    cloud.with_sts(|sts, _| sts.set_role(Role::open(ROLE, &[])));
    let (status, body) = assume(&cloud, &Key::permanent("root", "root-secret"), &ASK).await;
    assert_eq!((status, &body["Code"]), (403, &json!("NoPermission")), "{body}");
}
