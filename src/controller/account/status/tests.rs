use super::*;
use crate::cloud::endpoint::EndpointError;
use crate::cloud::error::Class;
use crate::cloud::operation::ApiOperation;

fn refused(code: &str) -> Error {
    let (class, operation) = (Class::Denied, ApiOperation::AssumeRole);
    Error { class, operation, code: code.into(), message: "m".into(), request_id: None }
}

fn found(key_health: KeyHealth) -> Result<ObservedCredentials, AccountError> {
    Ok(ObservedCredentials { identity: "LTAI****0001".into(), expires: None, key_health, due: None })
}

fn good() -> Result<ObservedCredentials, AccountError> {
    found(KeyHealth { judged: true, ..KeyHealth::default() })
}

fn wrong(why: CredentialsError) -> Result<ObservedCredentials, AccountError> {
    Err(AccountError::credentials(Some("ns/main"), why))
}

fn after(
    old: &AlibabaCloudAccountStatus,
    found: &Result<ObservedCredentials, AccountError>,
) -> AlibabaCloudAccountStatus {
    let used_by = UsedBy { disaster_recovery_plans: 2, disk_replica_groups: 1 };
    status(
        &StatusInput {
            generation: Some(3),
            blocked_by: None,
            used_by,
            knows_users: true,
            old,
            now: Timestamp::UNIX_EPOCH,
        },
        found,
    )
}

/// Status and reason of `Ready`, and the conditions of kstatus that are present.
fn shown(status: &AlibabaCloudAccountStatus) -> (String, Vec<&str>) {
    let ready = readiness_of(status).expect("it is there");
    let others =
        status.conditions.iter().filter(|it| it.type_ != condition_type::READY).map(|it| it.type_.as_str()).collect();
    (format!("{}/{}", ready.status, ready.reason), others)
}

#[test]
fn every_error_has_a_reason_and_kstatus() {
    let unreachable = || CredentialsError::Unreachable(Error { class: Class::Unavailable, ..refused("Timeout") });
    let file = || CredentialsError::TokenFileUnreadable { path: "/token".into(), why: "gone".into() };
    let token = |passing| CredentialsError::TokenRequestFailed { account: "ns/a".into(), why: "w".into(), passing };
    let at = Timestamp::UNIX_EPOCH;
    let table = [
        (CredentialsError::SecretNotFound("ns/s".into()), "False/SecretNotFound", true),
        (CredentialsError::KeyMissing { secret: "ns/s".into(), key: "accessKeyId" }, "False/KeyMissing", true),
        (CredentialsError::NotText { secret: "ns/s".into(), key: "accessKeyId" }, "False/KeyMissing", true),
        (CredentialsError::VariableMissing("X"), "False/KeyMissing", true),
        (file(), "False/TokenFileUnreadable", true),
        (token(false), "False/TokenRequestFailed", true),
        (token(true), "Unknown/TokenRequestFailed", false),
        (CredentialsError::MetadataUnavailable("m".into()), "Unknown/MetadataUnavailable", false),
        (CredentialsError::SecretUnreadable("ns/s".into(), "w".into()), "Unknown/CloudUnavailable", false),
        (unreachable(), "Unknown/CloudUnavailable", false),
        (CredentialsError::Expired { at, why: Box::new(unreachable()) }, "False/Expired", false),
        (CredentialsError::EndedWhenIssued { expires: at, now: at }, "False/ClockSkew", true),
        (CredentialsError::Refused(refused("NoPermission")), "False/AssumeRoleDenied", true),
        (CredentialsError::Refused(refused("EntityNotExist.Role")), "False/AssumeRoleDenied", true),
        (
            CredentialsError::Refused(refused("AuthenticationFail.OIDCToken.AudienceNotMatch")),
            "False/AssumeRoleDenied",
            true,
        ),
        (CredentialsError::Refused(refused("AuthenticationFail.OIDCToken.Expired")), "False/Expired", true),
        (CredentialsError::Refused(refused("InvalidAccessKeyId.NotFound")), "False/AccessKeyRefused", true),
        (CredentialsError::Refused(refused("InvalidTimeStamp.Expired")), "False/ClockSkew", true),
    ];
    for (why, expected, stalled) in table {
        let status = after(&AlibabaCloudAccountStatus::default(), &wrong(why.clone()));
        let kstatus = if stalled { condition_type::STALLED } else { condition_type::RECONCILING };
        assert_eq!(shown(&status), (expected.to_owned(), vec![kstatus]), "{why:?}");
        assert_eq!((status.identity, status.observed_generation), (None, Some(3)));
    }
    let why = EndpointError::NotAUrl("x".into());
    let endpoint = AccountError::Endpoint { account: "ns/main".into(), product: "sts", why };
    let status = after(&AlibabaCloudAccountStatus::default(), &Err(endpoint));
    assert_eq!(shown(&status).0, "False/EndpointRefused");
    let not_allowed = AccountError::NotAllowed { namespace: "ns".into(), what: "the pod's" };
    let status = after(&AlibabaCloudAccountStatus::default(), &Err(not_allowed));
    assert_eq!(shown(&status).0, "False/CredentialsNotFound");
    let ready = readiness_of(&status).map(|it| it.message.clone()).unwrap_or_default();
    assert!(ready.contains("--default-account-namespaces=ns"), "{ready}");
}

#[test]
fn refused_key_stays_refused_until_next_answer() {
    let by_code = |code: &str| found(KeyHealth { refused: Some(refused(code)), judged: true, ..KeyHealth::default() });
    for (code, expected) in [
        ("InvalidAccessKeyId.Inactive", "False/AccessKeyRefused"),
        ("SignatureDoesNotMatch", "False/AccessKeyRefused"),
        ("InvalidSecurityToken.Expired", "False/Expired"),
        ("InvalidTimeStamp.Expired", "False/ClockSkew"),
    ] {
        let bad = after(&AlibabaCloudAccountStatus::default(), &by_code(code));
        assert_eq!(shown(&bad), (expected.to_owned(), vec![condition_type::STALLED]), "{code}");
        // A restart does not make a key good. The answer to a call does.
        let unjudged = found(KeyHealth::default());
        assert_eq!(after(&bad, &unjudged), bad);
        let judged = after(&bad, &good());
        assert_eq!(shown(&judged), ("True/Available".to_owned(), vec![]));
        // The refusal says nothing about another key.
        let other = AlibabaCloudAccountStatus { identity: Some("LTAI****0002".into()), ..bad.clone() };
        assert_eq!(shown(&after(&other, &unjudged)).0, "True/Available");
    }
}

#[test]
fn only_a_refused_renewal_is_reported() {
    let before = after(&AlibabaCloudAccountStatus::default(), &good());
    let failing = |why| found(KeyHealth { failing: Some(why), judged: true, ..KeyHealth::default() });
    let away = CredentialsError::Unreachable(Error { class: Class::Unavailable, ..refused("Timeout") });
    assert_eq!(after(&before, &failing(away)), before);
    let denied = after(&before, &failing(CredentialsError::Refused(refused("NoPermission"))));
    assert_eq!(shown(&denied), ("True/NotRenewed".to_owned(), vec![]));
    let reasons = |records: Vec<EventRecord>| records.iter().map(|it| (it.reason, it.warning)).collect::<Vec<_>>();
    assert_eq!(reasons(events(&before, &denied)), [("CredentialsNotRenewed", true)]);
    assert!(!triggers_users(&before, &denied));
}

#[test]
fn changes_publish_once_and_trigger_users() {
    let nothing = AlibabaCloudAccountStatus::default();
    let missing = after(&nothing, &wrong(CredentialsError::SecretNotFound("ns/s".into())));
    let there = after(&missing, &good());
    let key =
        found(KeyHealth { refused: Some(refused("SignatureDoesNotMatch")), judged: true, ..KeyHealth::default() });
    let bad = after(&there, &key);
    let away = CredentialsError::Unreachable(Error { class: Class::Unavailable, ..refused("Timeout") });
    let unknown = after(&there, &wrong(away));
    for (case, old, new, event, triggered) in [
        ("first", &nothing, &missing, Some("CredentialsUnavailable"), true),
        ("found", &missing, &there, Some("CredentialsAvailable"), true),
        ("the same", &there, &there, None, false),
        ("gone", &there, &missing, Some("CredentialsUnavailable"), true),
        ("refused", &there, &bad, Some("CredentialsUnavailable"), false),
        ("taken again, as whoever called knows", &bad, &there, Some("CredentialsAvailable"), false),
        ("unreachable", &there, &unknown, None, false),
        ("reached", &unknown, &there, Some("CredentialsAvailable"), true),
    ] {
        assert_eq!(events(old, new).first().map(|it| it.reason), event, "{case}");
        assert_eq!(triggers_users(old, new), triggered, "{case}");
    }
    let rotated = AlibabaCloudAccountStatus { identity: Some("LTAI****0002".into()), ..there.clone() };
    assert!(triggers_users(&bad, &rotated), "another key");
    let edited = AlibabaCloudAccountStatus { observed_generation: Some(4), ..there.clone() };
    assert!(triggers_users(&there, &edited), "another spec");
}

#[test]
fn deleted_account_in_use_names_its_users() {
    let old = after(&AlibabaCloudAccountStatus::default(), &good());
    let users = ["DisasterRecoveryPlan orders".to_owned()];
    let used_by = UsedBy { disaster_recovery_plans: 1, disk_replica_groups: 0 };
    let input = StatusInput {
        generation: Some(3),
        blocked_by: Some(&users),
        used_by,
        knows_users: true,
        old: &old,
        now: Timestamp::UNIX_EPOCH,
    };
    let new = status(&input, &good());
    assert_eq!(shown(&new), ("False/Deleting".to_owned(), vec![]));
    assert!(readiness_of(&new).is_some_and(|it| it.message.contains("DisasterRecoveryPlan orders")));
    assert_eq!(events(&old, &new).first().map(|it| it.reason), Some("AccountInUse"));
    assert!(!triggers_users(&old, &new));
}
