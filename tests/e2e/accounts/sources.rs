//! Every source of credentials, from the object to the plan.

use disaster_recovery_operator::api::account::AlibabaCloudAccountStatus;
use disaster_recovery_operator::cloud::credentials::{ecs_role as ecs, environment as env, oidc};
use disaster_recovery_operator::simulator::AccessKey;
use disaster_recovery_operator::simulator::model::sts::{OidcProvider, Role};
use serde_json::{Value, json};

use super::*;

const KEY: &str = "simulator-key-id";
const MASKED: &str = "simu****y-id";

/// This account creates a plan, and no other identity signs.
async fn signs(world: &World, account: Value, identity: &str, signer: &str) -> AlibabaCloudAccountStatus {
    let _operator = world.operator().await;
    world.main_and_orders(account).await;
    let plan = world.ready("orders").await;
    let status = world.available("main", 1, 0).await;
    assert_eq!(status.identity.as_deref(), Some(identity), "{status:?}");
    assert_eq!(plan.head.identity.as_deref(), Some(identity), "{plan:?}");
    assert!(message(&status, "Ready").contains(identity), "{status:?}");
    assert_eq!(world.signers(), [signer.to_owned()].into());
    world.assert_one_plan("orders", 1);
    assert!(world.cloud.requests().iter().all(|it| it.code == "200" || it.code.is_empty() && it.status == 200));
    status
}

/// The keys last as long as the session.
fn assert_lasts(status: &AlibabaCloudAccountStatus, role: &str, world: &World) {
    let said = status.expiration.as_ref().expect("temporary keys end").0.as_millisecond();
    let issued = world.cloud.with_sts(|sts, _| {
        sts.issued().filter(|it| it.role_arn == role).map(|it| it.expires_at_ms).collect::<Vec<_>>()
    });
    assert_eq!(issued, [said], "one key was issued, and its expiry is reported");
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_key_signs_for_plan_and_group() {
    let world = World::with_roles().await;
    world.secret("theirs", &[("accessKeyId", KEY), ("accessKeySecret", "simulator-key-secret")]).await;
    // Not the operator's own.
    world.secret("cloud", &[("accessKeyId", "nobodys-key-id"), ("accessKeySecret", "nobodys-secret")]).await;
    let status = signs(&world, secret("theirs"), MASKED, KEY).await;
    assert_eq!(status.expiration, None);
    assert_eq!(world.sts_calls(), []);
    let _operator = world.operator().await;
    world.groups().create("db", group_of("main")).await;
    let group = world.groups().ready("db").await;
    assert_eq!(group.head.identity.as_deref(), Some(MASKED));
    world.available("main", 1, 1).await;
    assert_eq!(world.signers(), [KEY.to_owned()].into());
    world.accounts().event("main", "CredentialsAvailable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_secret_key_signs_with_its_token() {
    let world = World::with_roles().await;
    let token = Some("token-of-a-session".to_owned());
    let key = AccessKey { security_token: token, ..AccessKey::new("STS.session-key-id", "session-key-secret") };
    world.cloud.set_keys(vec![key]);
    let data = [("accessKeyId", "STS.session-key-id"), ("accessKeySecret", "session-key-secret")];
    let data = [&data[..], &[("securityToken", "token-of-a-session")]].concat();
    world.secret("session", &data).await;
    let status = signs(&world, secret("session"), "STS.****y-id", "STS.session-key-id").await;
    assert_eq!(status.expiration, None, "its expiry is unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn service_account_token_has_the_sts_audience_only() {
    let world = World::with_roles().await;
    world.allow_tokens().await;
    world.cloud.with_sts(|sts, _| {
        sts.set_provider(OidcProvider { issuer: Some(ISSUER.to_owned()), ..OidcProvider::new(PROVIDER) });
        let trusted_subjects = [(PROVIDER.to_owned(), vec![world.subject()])].into();
        sts.set_role(Role { trusted_subjects, ..Role::new(ROLE) });
    });
    let status = signs(&world, tenant_oidc(ROLE), ROLE, ROLE).await;
    assert_lasts(&status, ROLE, &world);
    let calls = world.sts_calls();
    assert_eq!(calls.len(), 1, "{calls:#?}");
    assert_eq!((calls[0].method.as_str(), calls[0].path.as_str(), &calls[0].access_key_id), ("POST", "/", &None));
    let mut names: Vec<_> = calls[0].query.iter().map(|it| it.0.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["Action", "Format", "Timestamp", "Version"], "no token in the URL");
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_token_is_read_from_its_file() {
    let mut world = World::with_roles().await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, format!("{}\n", jwt(AUDIENCE))).expect("it is written");
    world.settings.variables = variables(&[(oidc::TOKEN_FILE, file.path().to_str().expect("a path"))]);
    let mut account = pod_oidc();
    account["credentials"]["oidc"]["sessionName"] = json!("nightly");
    let status = signs(&world, account, ROLE, ROLE).await;
    assert_lasts(&status, ROLE, &world);
    let sessions = world.cloud.with_sts(|sts, _| sts.issued().map(|it| it.session.clone()).collect::<Vec<_>>());
    assert_eq!(sessions, ["nightly"]);
    let calls = world.sts_calls();
    assert!(calls.iter().all(|it| it.query.iter().all(|it| it.0 != "OIDCToken")), "{calls:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn instance_role_works_with_and_without_name() {
    for name in [None, Some("disaster-recovery")] {
        let world = World::with_roles().await;
        world.cloud.with_sts(|sts, _| sts.metadata.role_arn = Some(ROLE.to_owned()));
        let status = signs(&world, ecs_role(name), "ECS RAM role disaster-recovery", ROLE).await;
        assert_lasts(&status, ROLE, &world);
        let asked = world.cloud.requests().iter().filter(|it| it.action == "GetMetadataRole").count();
        assert_eq!(asked, usize::from(name.is_none()));
        assert_eq!(world.sts_calls(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_variables_are_a_source() {
    let mut world = World::with_roles().await;
    world.cloud.set_keys(vec![AccessKey::new("environment-key-id", "environment-secret")]);
    let pair = [(env::ACCESS_KEY_ID, "environment-key-id"), (env::ACCESS_KEY_SECRET, "environment-secret")];
    world.settings.variables = variables(&pair);
    let status = signs(&world, environment(), "envi****y-id", "environment-key-id").await;
    assert_eq!(status.expiration, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn key_assumes_role_with_external_id() {
    let world = World::with_roles().await;
    world.cloud.with_sts(|sts, _| {
        let (trusted_callers, external_id) = ([KEY.to_owned()].into(), Some("customer-4711".to_owned()));
        sts.set_role(Role { trusted_callers, external_id, ..Role::new(ROLE) });
    });
    let mut account = assuming(secret("cloud"), ROLE);
    account["assumeRole"]["externalId"] = json!("customer-4711");
    account["assumeRole"]["sessionName"] = json!("audited");
    let status = signs(&world, account, ROLE, ROLE).await;
    assert_lasts(&status, ROLE, &world);
    let calls = world.sts_calls();
    assert_eq!(calls.len(), 1, "{calls:#?}");
    assert_eq!((calls[0].action.as_str(), calls[0].access_key_id.as_deref()), ("AssumeRole", Some(KEY)));
    let sessions = world.cloud.with_sts(|sts, _| sts.issued().map(|it| it.session.clone()).collect::<Vec<_>>());
    assert_eq!(sessions, ["audited"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn token_role_assumes_another_role() {
    let world = World::with_roles().await;
    world.allow_tokens().await;
    world.cloud.with_sts(|sts, _| {
        sts.set_role(Role { trusted_callers: [ROLE.to_owned()].into(), ..Role::new(OTHER_ROLE) });
    });
    let status = signs(&world, assuming(tenant_oidc(ROLE), OTHER_ROLE), OTHER_ROLE, OTHER_ROLE).await;
    assert_lasts(&status, OTHER_ROLE, &world);
    let calls: Vec<_> = world.sts_calls().into_iter().map(|it| (it.action, it.role)).collect();
    let expected = [("AssumeRoleWithOIDC".to_owned(), None), ("AssumeRole".to_owned(), Some(ROLE.to_owned()))];
    assert_eq!(calls, expected, "the first role signs for the second and for nothing else");
}

/// Without an account, the operator's own identity creates the plan.
async fn own(world: &World, identity: &str, signer: &str) {
    let _operator = world.operator().await;
    world.create("orders", one_way(&["orders"])).await;
    let plan = world.ready("orders").await;
    assert_eq!(plan.head.identity.as_deref(), Some(identity));
    assert_eq!(world.signers(), [signer.to_owned()].into());
    world.assert_one_plan("orders", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn own_identity_is_the_first_configured_source() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, jwt(AUDIENCE)).expect("it is written");
    let path = file.path().to_str().expect("a path");
    let key = [(env::ACCESS_KEY_ID, KEY), (env::ACCESS_KEY_SECRET, "simulator-key-secret")];
    let rrsa = [(oidc::ROLE_ARN, ROLE), (oidc::PROVIDER_ARN, PROVIDER), (oidc::TOKEN_FILE, path)];
    for (given, identity, signer) in [
        ([&key[..], &rrsa].concat(), MASKED, KEY),
        (rrsa.to_vec(), ROLE, ROLE),
        (vec![], "ECS RAM role disks", OTHER_ROLE),
        (vec![(ecs::ROLE, "disks")], "ECS RAM role disks", OTHER_ROLE),
    ] {
        let mut world = World::with_roles().await;
        world.cloud.with_sts(|sts, _| sts.metadata.role_arn = Some(OTHER_ROLE.to_owned()));
        (world.settings.credentials_secret, world.settings.variables) = (None, variables(&given));
        own(&world, identity, signer).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_users_of_an_account_share_one_session() {
    let world = World::with_roles().await;
    world.allow_tokens().await;
    let _operator = world.operator().await;
    world.accounts().create("main", tenant_oidc(ROLE)).await;
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        world.create(name, plan_of("main")).await;
    }
    world.groups().create("db", group_of("main")).await;
    for name in names {
        world.ready(name).await;
    }
    world.groups().ready("db").await;
    let status = world.available("main", 5, 1).await;
    assert_lasts(&status, ROLE, &world);
    assert_eq!(world.sts_calls().len(), 1, "one asks for all");
}
