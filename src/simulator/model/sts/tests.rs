//! Roles, issued keys and metadata.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::Failure;
use super::*;

const NOW: i64 = 1_800_000_000_123;
const ROLE: &str = "acs:ram::1234567890123456:role/dr-team.a";
const OTHER: &str = "acs:ram::1234567890123456:role/dr-team.b";
const PROVIDER: &str = "acs:ram::1234567890123456:oidc-provider/ack";
const SUBJECT: &str = "system:serviceaccount:team-a:dr";

fn sts(change: impl FnOnce(&mut Role)) -> Sts {
    let mut role = Role::new(ROLE);
    role.trusted_callers.insert("key-1".to_owned());
    role.trusted_subjects.insert(PROVIDER.to_owned(), vec![SUBJECT.to_owned()]);
    change(&mut role);
    let providers = vec![OidcProvider { issuer: Some("https://issuer".to_owned()), ..OidcProvider::new(PROVIDER) }];
    Sts::new(StsRules { roles: vec![role], providers, max_key_lifetime_ms: None }, MetadataRules::default())
}

fn input() -> AssumeRoleInput {
    let session = Some("team-a@dr".to_owned());
    AssumeRoleInput { role_arn: Some(ROLE.to_owned()), session, ..AssumeRoleInput::default() }
}

fn claims() -> Value {
    json!({"sub": SUBJECT, "iss": "https://issuer", "aud": ["other", "sts.aliyuncs.com"], "exp": NOW / 1000 + 60, "iat": 1})
}

fn token(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2lnbmF0dXJl", part(&json!({"alg": "RS256"})), part(claims))
}

fn oidc(claims: &Value) -> OidcInput {
    OidcInput {
        role_arn: Some(ROLE.to_owned()),
        provider_arn: Some(PROVIDER.to_owned()),
        token: Some(token(claims)),
        session: Some("dr".to_owned()),
        duration: None,
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn key() -> Caller {
    Caller::Key("key-1".to_owned())
}

fn code<T>(result: Result<T, Failure>) -> (u16, String) {
    let failure = result.err().unwrap();
    assert!(failure.gateway && !failure.message.is_empty());
    (failure.status, failure.code)
}

#[test]
fn issued_key_expires_with_session() {
    let mut sts = sts(|role| role.max_session_seconds = 7200);
    let issued = sts.assume_role(&key(), &input(), NOW).unwrap();
    assert_eq!(issued.expires_at_ms, (NOW / 1000 + 3600) * 1000);
    assert_eq!(issued.expiration(), "2027-01-15T09:00:00Z");
    assert!(issued.access_key_id.starts_with("STS."));
    assert_eq!(issued.user_arn(), "acs:ram::1234567890123456:assumed-role/dr-team.a/team-a@dr");
    assert!(issued.user_id().ends_with(":team-a@dr"));
    let longest = AssumeRoleInput { duration: Some(7200), ..input() };
    let second = sts.assume_role(&key(), &longest, NOW).unwrap();
    assert_eq!(second.expires_at_ms, (NOW / 1000 + 7200) * 1000);
    assert!(second.access_key_id != issued.access_key_id && second.security_token != issued.security_token);
    sts.rules.max_key_lifetime_ms = Some(5_000);
    assert_eq!(sts.assume_role(&key(), &longest, NOW).unwrap().expires_at_ms, (NOW / 1000 + 5) * 1000);
    assert_eq!(sts.issued().count(), 3);
    let shown = format!("{:?} {}", issued, json!(issued));
    assert!(!shown.contains(&issued.access_key_secret) && !shown.contains(&issued.security_token), "{shown}");
}

#[test]
fn invalid_request_names_parameter() {
    let cases = [
        (AssumeRoleInput { role_arn: None, ..input() }, "MissingRoleArn"),
        (AssumeRoleInput { session: None, ..input() }, "MissingRoleSessionName"),
        (AssumeRoleInput { session: text(""), ..input() }, "MissingRoleSessionName"),
        (AssumeRoleInput { role_arn: text("acs:ram::x:role/a"), ..input() }, "InvalidParameter.RoleArn"),
        (AssumeRoleInput { role_arn: text("acs:ram::1:user/a"), ..input() }, "InvalidParameter.RoleArn"),
        (AssumeRoleInput { role_arn: text("acs:ram::1:role/a/b"), ..input() }, "InvalidParameter.RoleArn"),
        (AssumeRoleInput { session: text("a"), ..input() }, "InvalidParameter.RoleSessionName"),
        (AssumeRoleInput { session: Some("a".repeat(65)), ..input() }, "InvalidParameter.RoleSessionName"),
        (AssumeRoleInput { session: text("a/b"), ..input() }, "InvalidParameter.RoleSessionName"),
        (AssumeRoleInput { duration: Some(899), ..input() }, "InvalidParameter.DurationSeconds"),
        (AssumeRoleInput { duration: Some(3601), ..input() }, "InvalidParameter.DurationSeconds"),
    ];
    for (wrong, expected) in cases {
        assert_eq!(code(sts(|_| ()).assume_role(&key(), &wrong, NOW)), (400, expected.to_owned()), "{wrong:?}");
    }
    let unknown = AssumeRoleInput { role_arn: text(OTHER), ..input() };
    assert_eq!(code(sts(|_| ()).assume_role(&key(), &unknown, NOW)), (404, "EntityNotExist.Role".to_owned()));
}

#[test]
fn role_trusts_named_callers_with_external_id() {
    let no_permission = (403, "NoPermission".to_owned());
    let mut plain = sts(|_| ());
    for caller in [Caller::Root, Caller::Key("key-2".to_owned()), Caller::Role(OTHER.to_owned())] {
        assert_eq!(code(plain.assume_role(&caller, &input(), NOW)), no_permission, "{caller:?}");
    }
    plain.role_mut(ROLE).unwrap().trusted_callers.insert(OTHER.to_owned());
    assert!(plain.assume_role(&Caller::Role(OTHER.to_owned()), &input(), NOW).is_ok());
    plain.set_role(Role::open(ROLE, &[]));
    assert!(plain.assume_role(&Caller::Key("key-2".to_owned()), &input(), NOW).is_ok());
    assert_eq!(code(plain.assume_role(&Caller::Root, &input(), NOW)), no_permission);

    let mut external = sts(|role| role.external_id = Some("tenant-a".to_owned()));
    let with = |id: &str| AssumeRoleInput { external_id: Some(id.to_owned()), ..input() };
    assert_eq!(code(external.assume_role(&key(), &input(), NOW)), no_permission);
    assert_eq!(code(external.assume_role(&key(), &with("tenant-b"), NOW)), no_permission);
    assert!(external.assume_role(&key(), &with("tenant-a"), NOW).is_ok());
    // A role without an external id accepts any.
    external.role_mut(ROLE).unwrap().external_id = None;
    assert!(external.assume_role(&key(), &with("tenant-b"), NOW).is_ok());
    assert!(external.remove_role(ROLE) && !external.remove_role(ROLE));
}

#[test]
fn oidc_token_is_checked_before_role() {
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        oidc(&claims)
    };
    let good = || oidc(&claims());
    let cases = [
        (OidcInput { provider_arn: None, ..good() }, 400, "MissingOIDCProviderArn"),
        (OidcInput { token: None, ..good() }, 400, "MissingOIDCToken"),
        (OidcInput { token: text("abc"), ..good() }, 400, "InvalidParameter.OIDCToken"),
        (OidcInput { token: Some("a".repeat(20_001)), ..good() }, 400, "InvalidParameter.OIDCToken"),
        (OidcInput { session: None, ..good() }, 400, "MissingRoleSessionName"),
        (OidcInput { duration: Some(899), ..good() }, 400, "InvalidParameter.DurationSeconds"),
        (OidcInput { duration: Some(3601), ..good() }, 400, "InvalidParameter.DurationSeconds"),
        (OidcInput { provider_arn: text("acs:ram::1:oidc-provider/x"), ..good() }, 404, "EntityNotExist.OIDCProvider"),
        (OidcInput { token: text("no token"), ..good() }, 401, "AuthenticationFail.OIDCToken.Invalid"),
        (OidcInput { token: text("a.b.c"), ..good() }, 401, "AuthenticationFail.OIDCToken.Invalid"),
        (OidcInput { token: Some(token(&claims()) + "\n"), ..good() }, 401, "AuthenticationFail.OIDCToken.Invalid"),
        (with("sub", Value::Null), 401, "AuthenticationFail.OIDCToken.Invalid"),
        (with("iss", json!("https://other")), 401, "AuthenticationFail.OIDCToken.Invalid"),
        (with("exp", json!(NOW / 1000)), 401, "AuthenticationFail.OIDCToken.Expired"),
        (with("aud", json!("other")), 401, "AuthenticationFail.OIDCToken.AudienceNotMatch"),
        (with("aud", json!([])), 401, "AuthenticationFail.OIDCToken.AudienceNotMatch"),
        (
            OidcInput { role_arn: text(OTHER), ..with("aud", json!("x")) },
            401,
            "AuthenticationFail.OIDCToken.AudienceNotMatch",
        ),
        (OidcInput { role_arn: text(OTHER), ..good() }, 404, "EntityNotExist.Role"),
        (with("sub", json!("system:serviceaccount:team-b:dr")), 401, "AuthenticationFail.NoPermission"),
    ];
    for (index, (wrong, status, expected)) in cases.into_iter().enumerate() {
        let found = code(sts(|_| ()).assume_role_with_oidc(&wrong, NOW));
        assert_eq!(found, (status, expected.to_owned()), "case {index}");
    }
    let mut sts = sts(|_| ());
    let (issued, read) = sts.assume_role_with_oidc(&with("aud", json!("sts.aliyuncs.com")), NOW).unwrap();
    assert_eq!((issued.role_arn.as_str(), read.subject.as_str()), (ROLE, SUBJECT));
    assert_eq!(
        (read.expiration().as_str(), read.issuance().as_deref()),
        ("2027-01-15T08:01:00Z", Some("1970-01-01T00:00:01Z"))
    );
    assert!(sts.remove_provider(PROVIDER) && !sts.remove_provider(PROVIDER));
}

#[test]
fn subject_pattern_may_end_with_star() {
    for (pattern, trusted) in [
        ("system:serviceaccount:team-a:*", true),
        ("*", true),
        (SUBJECT, true),
        ("system:serviceaccount:team-a:d", false),
        ("system:serviceaccount:team-b:*", false),
        ("*:dr", false),
    ] {
        let mut sts = sts(|role| drop(role.trusted_subjects.insert(PROVIDER.to_owned(), vec![pattern.to_owned()])));
        assert_eq!(sts.assume_role_with_oidc(&oidc(&claims()), NOW).is_ok(), trusted, "{pattern}");
    }
    let mut elsewhere = sts(|role| {
        role.trusted_subjects = BTreeMap::from([("acs:ram::1:oidc-provider/x".to_owned(), vec!["*".to_owned()])]);
    });
    assert_eq!(code(elsewhere.assume_role_with_oidc(&oidc(&claims()), NOW)).1, "AuthenticationFail.NoPermission");
}

#[test]
fn revocation_ends_existing_keys_of_one_role() {
    let mut sts = sts(|_| ());
    sts.set_role(Role::open(OTHER, &[]));
    let first = sts.assume_role(&key(), &input(), NOW).unwrap();
    let other = AssumeRoleInput { role_arn: Some(OTHER.to_owned()), ..input() };
    let other = sts.assume_role(&key(), &other, NOW).unwrap();
    assert_eq!((sts.revoke(ROLE), sts.revoke(ROLE), sts.revoke("none")), (1, 0, 0));
    let later = sts.assume_role(&key(), &input(), NOW).unwrap();
    let revoked = |key: &Issued| sts.issued_key(&key.access_key_id).unwrap().revoked;
    assert_eq!([revoked(&first), revoked(&other), revoked(&later)], [true, false, false]);
}

#[test]
fn metadata_key_rotates_at_half_lifetime() {
    let mut sts = sts(|_| ());
    for ttl in [None, Some(0), Some(21_601)] {
        assert_eq!(sts.put_metadata_token(ttl, NOW), Err(MetadataRefusal::InvalidTtl), "{ttl:?}");
    }
    let token = sts.put_metadata_token(Some(21_600), NOW).unwrap();
    let brief = sts.put_metadata_token(Some(1), NOW).unwrap();
    assert_eq!(sts.metadata_role(Some(&token), NOW), Err(MetadataRefusal::NoSuchRole));
    sts.metadata.role_arn = Some(ROLE.to_owned());
    assert_eq!(sts.metadata_role(Some(&token), NOW).unwrap(), "dr-team.a");
    for wrong in [None, Some("other")] {
        assert_eq!(sts.metadata_role(wrong, NOW), Err(MetadataRefusal::InvalidToken));
    }
    assert!(sts.metadata_role(Some(&brief), NOW + 999).is_ok());
    assert_eq!(sts.metadata_role(Some(&brief), NOW + 1000), Err(MetadataRefusal::InvalidToken));
    assert_eq!(sts.metadata_key("other", Some(&token), NOW).err(), Some(MetadataRefusal::NoSuchRole));

    let mut get = |now: i64, change: &dyn Fn(&mut Sts)| {
        change(&mut sts);
        let token = sts.put_metadata_token(Some(60), now).unwrap();
        sts.metadata_key("dr-team.a", Some(&token), now).unwrap()
    };
    let half = 3 * 3_600_000;
    let first = get(NOW, &|_| ());
    assert_eq!(
        (first.expires_at_ms, first.last_updated().as_str()),
        ((NOW / 1000 + 21_600) * 1000, "2027-01-15T08:00:00Z")
    );
    assert_eq!(get(NOW + half - 1000, &|_| ()).access_key_id, first.access_key_id);
    let second = get(NOW + half, &|_| ());
    assert_ne!(second.access_key_id, first.access_key_id);
    let third = get(NOW + half, &|sts| assert_eq!(sts.revoke(ROLE), 2));
    assert_ne!(third.access_key_id, second.access_key_id);
    let fourth = get(NOW + half, &|sts| sts.metadata.role_arn = Some(ROLE.replace('1', "2")));
    assert_eq!(fourth.role_arn, ROLE.replace('1', "2"));
}
