//! What is wrong with credentials: each has its own reason, and what is mended works again without a restart.

use disaster_recovery_operator::cloud::credentials::{environment as env, oidc};
use disaster_recovery_operator::simulator::AccessKey;
use disaster_recovery_operator::simulator::model::sts::OidcProvider;

use super::*;

/// The condition of `orders` without credentials.
const NOT_FOUND: [&str; 2] = ["False", "CredentialsNotFound"];
/// Its condition after a refusal.
const DENIED: [&str; 2] = ["False", "AccessDenied"];

const MINUTES: i64 = 60_000;

fn good_key() -> Vec<AccessKey> {
    Config::default().keys
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_secret_or_key_is_named() {
    let world = World::with_roles().await;
    let _operator = world.operator().await;
    world.main_and_orders(secret("theirs")).await;
    let [gone, whole] = ["does not exist: create it", "has no key accessKeySecret"];
    world.says(["False", "SecretNotFound"], NOT_FOUND, gone).await;
    world.secret("theirs", &[("accessKeyId", "simulator-key-id")]).await;
    world.says(["False", "KeyMissing"], NOT_FOUND, whole).await;
    assert_eq!(world.cloud.requests(), [], "no request was signed");
    let good = [("accessKeyId", "simulator-key-id"), ("accessKeySecret", "simulator-key-secret")];
    world.secret("theirs", &good).await;
    world.well().await;
    world.delete_secret("theirs").await;
    world.says(["False", "SecretNotFound"], NOT_FOUND, gone).await;
    let status = world.condition("orders", "Synced", "False", "CredentialsNotFound").await;
    let full = format!("{0}/main: Secret {0}/theirs does not exist", world.namespace);
    assert!(message(&status, "Synced").contains(&full), "{status:?}");
    world.secret("theirs", &good).await;
    world.well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_key_is_reported_by_account_and_plan() {
    let world = World::with_roles().await;
    let _operator = world.operator().await;
    world.main_and_orders(secret("cloud")).await;
    world.well().await;
    let inactive = good_key().into_iter().map(|key| AccessKey { inactive: true, ..key }).collect();
    let others = vec![AccessKey::new("somebody-elses-key", "secret")];
    let wrong = vec![AccessKey::new("simulator-key-id", "another-secret")];
    for (keys, text) in [
        (inactive, "InvalidAccessKeyId.Inactive"),
        (others, "InvalidAccessKeyId.NotFound"),
        (wrong, "SignatureDoesNotMatch"),
    ] {
        world.cloud.set_keys(keys);
        world.says(["False", "AccessKeyRefused"], DENIED, text).await;
        world.cloud.set_keys(good_key());
        world.well().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_key_assumes_no_role() {
    let world = World::with_roles().await;
    world.cloud.set_keys(vec![]);
    let _operator = world.operator().await;
    world.main_and_orders(assuming(secret("cloud"), ROLE)).await;
    world.says(["False", "AccessKeyRefused"], DENIED, "AssumeRole failed: InvalidAccessKeyId.NotFound").await;
    world.cloud.set_keys(good_key());
    world.well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_permission_is_reported_on_the_plan_only() {
    let world = World::with_roles().await;
    let _operator = world.operator().await;
    world.main_and_orders(secret("cloud")).await;
    world.well().await;
    let main = world.accounts().record("main").await;
    for action in ["ListDisasterRecoveryPlans", "ListDisasterRecoveryItems", "GetDisasterRecoveryPlan"] {
        world.cloud.set_denied_actions([action]);
        if action == "GetDisasterRecoveryPlan" {
            world.request_reconcile("orders").await;
        }
        let status = world.condition("orders", "Synced", "False", "AccessDenied").await;
        assert!(message(&status, "Synced").starts_with(action), "{status:?}");
        world.cloud.set_denied_actions(Vec::<String>::new());
        world.well().await;
    }
    main.assert_unchanged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_another_audience_is_denied() {
    let world = World::with_roles().await;
    world.allow_tokens().await;
    let others = OidcProvider { client_ids: vec!["kubernetes".to_owned()], ..OidcProvider::new(PROVIDER) };
    world.cloud.with_sts(|sts, _| sts.set_provider(others));
    let _operator = world.operator().await;
    world.main_and_orders(tenant_oidc(ROLE)).await;
    world.says(["False", "AssumeRoleDenied"], DENIED, "OIDCToken.AudienceNotMatch").await;
    world.cloud.with_sts(|sts, _| sts.set_provider(OidcProvider::new(PROVIDER)));
    world.well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_pod_token_is_reported_by_its_cause() {
    let mut world = World::with_roles().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    world.settings.variables = variables(&[(oidc::TOKEN_FILE, file.to_str().expect("a path"))]);
    let _operator = world.operator().await;
    world.main_and_orders(pod_oidc()).await;
    world.says(["False", "TokenFileUnreadable"], NOT_FOUND, "No such file").await;
    let put = |text: &str| std::fs::write(&file, text).expect("it is written");
    put("\n");
    world.says(["False", "TokenFileUnreadable"], NOT_FOUND, "it is empty").await;
    assert_eq!(world.cloud.requests(), [], "STS was not asked without a token");
    put(&jwt("https://kubernetes.default.svc"));
    world.says(["False", "AssumeRoleDenied"], DENIED, "OIDCToken.AudienceNotMatch").await;
    put(&jwt_for(AUDIENCE, -60));
    world.says(["False", "Expired"], DENIED, "OIDCToken.Expired").await;
    put(&jwt(AUDIENCE));
    world.well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_or_untrusting_role_is_denied() {
    let world = World::with_roles().await;
    world.allow_tokens().await;
    world.cloud.with_sts(|sts, _| sts.remove_role(ROLE));
    let _operator = world.operator().await;
    world.main_and_orders(tenant_oidc(ROLE)).await;
    world.says(["False", "AssumeRoleDenied"], DENIED, "EntityNotExist.Role").await;
    world.cloud.with_sts(|sts, _| sts.set_role(Role::new(ROLE)));
    world.says(["False", "AssumeRoleDenied"], DENIED, "AuthenticationFail.NoPermission").await;
    let mine = [(PROVIDER.to_owned(), vec![world.subject()])].into();
    world.cloud.with_sts(|sts, _| sts.set_role(Role { trusted_subjects: mine, ..Role::new(ROLE) }));
    world.well().await;
    // The wrong external ID: the new spec is denied, and the old session is not used for it.
    let locked = Role { external_id: Some("right".to_owned()), ..Role::open(OTHER_ROLE, &[]) };
    world.cloud.with_sts(|sts, _| sts.set_role(locked));
    let role = json!({ "roleArn": OTHER_ROLE, "externalId": "wrong" });
    world.accounts().patch("main", json!({ "spec": { "assumeRole": role } })).await;
    world.says(["False", "AssumeRoleDenied"], DENIED, "AssumeRole failed: NoPermission").await;
    world.accounts().patch("main", json!({ "spec": { "assumeRole": { "externalId": "right" } } })).await;
    world.well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn token_permission_errors_name_the_remedy() {
    let world = World::with_roles().await;
    let _operator = world.operator().await;
    world.main_and_orders(tenant_oidc(ROLE)).await;
    let failed = ["False", "TokenRequestFailed"];
    world.says(failed, NOT_FOUND, "allow it in this namespace, see deploy/tenant-tokens").await;
    world.allow_tokens().await;
    world.well().await;
    world.kubectl(&["delete", "serviceaccount", "disaster-recovery"]).await;
    world.revoke(ROLE);
    world.says(failed, NOT_FOUND, "it does not exist: create it").await;
    world.allow_tokens().await;
    world.well().await;
    // Another service account of the namespace is not allowed.
    world.kubectl(&["create", "serviceaccount", "powerful"]).await;
    let other = json!({ "oidc": { "serviceAccountRef": { "name": "powerful" } } });
    world.accounts().patch("main", json!({ "spec": { "credentials": other } })).await;
    world.says(failed, NOT_FOUND, "/powerful can be had: the operator may not ask for it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unset_variable_is_named() {
    for (spec, name) in [(environment(), env::ACCESS_KEY_SECRET), (pod_oidc(), oidc::TOKEN_FILE)] {
        let mut world = World::with_roles().await;
        world.settings.variables = variables(&[(env::ACCESS_KEY_ID, "simulator-key-id")]);
        let _operator = world.operator().await;
        world.main_and_orders(spec).await;
        world.says(["False", "KeyMissing"], NOT_FOUND, name).await;
        assert_eq!(world.cloud.requests(), []);
        // The pod's own variables change with the pod only; the account can change now.
        let credentials = json!({ "environment": null, "oidc": null, "secretRef": { "name": "cloud" } });
        world.accounts().patch("main", json!({ "spec": { "credentials": credentials } })).await;
        world.well().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_instance_role_is_waited_for() {
    for (name, text) in [(None, "the instance has no RAM role"), (Some("disaster-recovery"), "has no RAM role")] {
        let world = World::with_roles().await;
        let _operator = world.operator().await;
        world.main_and_orders(ecs_role(name)).await;
        world.says(["Unknown", "MetadataUnavailable"], NOT_FOUND, text).await;
        world.cloud.with_sts(|sts, _| sts.metadata.role_arn = Some(ROLE.to_owned()));
        world.well().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn initial_sts_outage_is_retried() {
    let world = World::with_roles().await;
    world.allow_tokens().await;
    outage(&world, &FaultKind::Lost);
    let _operator = world.operator().await;
    world.main_and_orders(tenant_oidc(ROLE)).await;
    let away = ["Unknown", "CloudUnavailable"];
    world.says(away, away, "AssumeRoleWithOIDC failed").await;
    let status = world.accounts().condition("main", "Ready", "Unknown", "CloudUnavailable").await;
    assert!(!has(&status, "Stalled", "True", "CloudUnavailable"), "{status:?}");
    assert_eq!(world.accounts().events("main").await, []);
    world.cloud.clear_faults();
    world.well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_off_by_twenty_minutes_is_reported() {
    let skew = ["False", "ClockSkew"];
    let accounts = [secret("cloud"), tenant_oidc(ROLE), assuming(secret("cloud"), ROLE)];
    let skewed = accounts.map(async |account| {
        let world = World::with_roles().await;
        world.allow_tokens().await;
        world.cloud.set_clock_offset_ms(20 * MINUTES);
        let _operator = world.operator().await;
        world.main_and_orders(account).await;
        world.says(skew, DENIED, "InvalidTimeStamp.Expired").await;
        world.cloud.set_clock_offset_ms(0);
        world.well().await;
        // Also while credentials are in use, and the other way.
        world.cloud.set_clock_offset_ms(-20 * MINUTES);
        world.says(skew, DENIED, "InvalidTimeStamp.Expired").await;
        world.cloud.set_clock_offset_ms(0);
        world.well().await;
    });
    futures::future::join_all(skewed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_expired_at_issue_point_to_the_clock() {
    let world = World::with_roles().await;
    // The instance metadata ignores the time of a request.
    world.cloud.with_sts(|sts, _| sts.metadata.role_arn = Some(ROLE.to_owned()));
    world.cloud.set_clock_offset_ms(-7 * 60 * MINUTES);
    let _operator = world.operator().await;
    world.main_and_orders(ecs_role(None)).await;
    world.says(["False", "ClockSkew"], NOT_FOUND, "this machine's clock differs from the cloud's").await;
    world.cloud.set_clock_offset_ms(0);
    world.well().await;
}
