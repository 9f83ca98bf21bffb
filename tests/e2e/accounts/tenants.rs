//! Tenants: what is of one namespace is never used for another, and the operator's own identity only where it may be.

use disaster_recovery_operator::cloud::credentials::{environment as env, oidc};
use disaster_recovery_operator::simulator::AccessKey;
use kube::api::{Api, Patch, PatchParams};

use super::*;

/// Two namespaces, each with a key and a role of its own.
async fn two() -> [World; 2] {
    let mut one = World::with_roles().await;
    let other = one.beside().await;
    let both = [one, other];
    let mut keys = vec![];
    for (world, key) in both.iter().zip(["first", "second"]) {
        let (id, secret) = (format!("{key}-tenants-key"), format!("{key}-tenants-secret"));
        world.secret("cloud", &[("accessKeyId", &id), ("accessKeySecret", &secret)]).await;
        keys.push(AccessKey::new(&id, &secret));
    }
    both[0].cloud.set_keys(keys);
    both
}

/// An account `main` and a plan `orders` in both, with plans by names of their own in the one cloud.
async fn plans(both: &[World; 2], accounts: [Value; 2]) -> [String; 2] {
    for ((world, account), plan) in both.iter().zip(accounts).zip(["first", "second"]) {
        world.accounts().create("main", account).await;
        let mut spec = plan_of("main");
        spec["planName"] = json!(plan);
        world.create("orders", spec).await;
    }
    let ids = both.iter().map(async |world| world.ready("orders").await.plan_id.expect("a plan"));
    let ids: Vec<_> = futures::future::join_all(ids).await;
    ids.try_into().expect("two")
}

/// The signers of requests about a plan.
fn signers_of(world: &World, plan: &str) -> BTreeSet<String> {
    let of = |it: &RequestRecord| it.path.split('/').any(|part| part == plan);
    world.cloud.requests().into_iter().filter(of).filter_map(|it| it.role.or(it.access_key_id)).collect()
}

/// The number of plans that each signer created.
fn creations(world: &World) -> Vec<String> {
    let made = world.cloud.requests().into_iter().filter(|it| it.action == "CreateDisasterRecoveryPlan");
    let mut made: Vec<_> = made.filter_map(|it| it.role.or(it.access_key_id)).collect();
    made.sort();
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn same_named_accounts_sign_with_their_own_keys() {
    let both = two().await;
    let _operator = both[0].operator().await;
    let ids = plans(&both, [secret("cloud"), secret("cloud")]).await;
    let keys = ["first-tenants-key", "second-tenants-key"].map(str::to_owned);
    assert_eq!(creations(&both[0]), keys);
    for (id, key) in ids.iter().zip(&keys) {
        assert_eq!(signers_of(&both[0], id), [key.clone()].into());
    }
    // What becomes of one is nothing to the other.
    let other = both[1].record("orders").await;
    both[0].delete_secret("cloud").await;
    both[0].condition("orders", "Synced", "False", "CredentialsNotFound").await;
    both[0].cloud.clear_requests();
    let polled = || signers_of(&both[0], &ids[1]).contains(&keys[1]);
    eventually(DEADLINE, "the other tenant's plan is polled", async || polled().then_some(())).await;
    assert_eq!(signers_of(&both[0], &ids[0]), BTreeSet::new(), "no identity signs for the first");
    other.assert_true(&["Ready", "Synced"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_assume_their_own_roles_only() {
    let both = two().await;
    for (world, role) in both.iter().zip([ROLE, OTHER_ROLE]) {
        world.allow_tokens().await;
        let trusted_subjects = [(PROVIDER.to_owned(), vec![world.subject()])].into();
        world.cloud.with_sts(|sts, _| sts.set_role(Role { trusted_subjects, ..Role::new(role) }));
    }
    let _operator = both[0].operator().await;
    let ids = plans(&both, [tenant_oidc(ROLE), tenant_oidc(OTHER_ROLE)]).await;
    assert_eq!(creations(&both[0]), [ROLE, OTHER_ROLE]);
    for (id, role) in ids.iter().zip([ROLE, OTHER_ROLE]) {
        assert_eq!(signers_of(&both[0], id), [role.to_owned()].into());
    }
    // The other tenant's role asks for the other tenant's token.
    both[1].accounts().create("greedy", tenant_oidc(ROLE)).await;
    let status = both[1].accounts().condition("greedy", "Ready", "False", "AssumeRoleDenied").await;
    assert!(message(&status, "Ready").contains("AuthenticationFail.NoPermission"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn references_never_cross_namespaces() {
    let both = two().await;
    let _operator = both[0].operator().await;
    both[0].allow_tokens().await;
    both[0]
        .secret("only-here", &[("accessKeyId", "first-tenants-key"), ("accessKeySecret", "first-tenants-secret")])
        .await;
    both[0].accounts().create("theirs", secret("cloud")).await;
    both[0].available("theirs", 0, 0).await;
    both[1].create("orders", plan_of("theirs")).await;
    let status = both[1].condition("orders", "Synced", "False", "CredentialsNotFound").await;
    let missing = format!("AlibabaCloudAccount {}/theirs does not exist", both[1].namespace);
    assert!(message(&status, "Synced").contains(&missing), "{status:?}");
    both[1].accounts().create("by-secret", secret("only-here")).await;
    both[1].accounts().condition("by-secret", "Ready", "False", "SecretNotFound").await;
    both[1].accounts().create("by-token", tenant_oidc(ROLE)).await;
    both[1].accounts().condition("by-token", "Ready", "False", "TokenRequestFailed").await;
    assert_eq!(both[0].cloud.requests(), []);
    // A user in another namespace is none.
    both[0].available("theirs", 0, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_identity_is_refused_in_disallowed_namespaces() {
    let mut world = World::with_roles().await;
    let tenant = world.beside().await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, jwt(AUDIENCE)).expect("it is written");
    let key = [(env::ACCESS_KEY_ID, "simulator-key-id"), (env::ACCESS_KEY_SECRET, "simulator-key-secret")];
    let token = [(oidc::TOKEN_FILE, file.path().to_str().expect("a path"))];
    world.settings.variables = variables(&[&key[..], &token].concat());
    world.cloud.with_sts(|sts, _| sts.metadata.role_arn = Some(ROLE.to_owned()));
    let operator = world.operator().await;
    let own = [("environment", environment()), ("ecs", ecs_role(None)), ("pod", pod_oidc())];
    let own = own.into_iter().chain([("chained", assuming(environment(), ROLE))]);
    let flag = format!("--default-account-namespaces={}", tenant.namespace);
    let refused = async |plan: &'static str| {
        let status = tenant.condition(plan, "Synced", "False", "CredentialsNotFound").await;
        assert!(message(&status, "Synced").contains(&flag), "{status:?}");
        assert!(has(&status, "Stalled", "True", "CredentialsNotFound"), "{status:?}");
    };
    let named = |mut spec: Value, name: &str| {
        spec["planName"] = json!(name);
        spec
    };
    for (name, spec) in own {
        tenant.accounts().create(name, spec).await;
        tenant.create(name, named(plan_of(name), name)).await;
        let status = tenant.accounts().condition(name, "Ready", "False", "CredentialsNotFound").await;
        assert!(message(&status, "Ready").contains(&flag), "{status:?}");
        refused(name).await;
    }
    tenant.create("nobodys", named(one_way(&["orders"]), "nobodys")).await;
    refused("nobodys").await;
    tenant.groups().create("db", groups::spec()).await;
    let status = tenant.groups().condition("db", "Synced", "False", "CredentialsNotFound").await;
    assert!(message(&status, "Synced").contains(&flag), "{status:?}");
    wait_for_reconciles::<AlibabaCloudAccount>(&operator, 8).await;
    assert_eq!(world.cloud.requests(), [], "not one request, of metadata neither");
    operator.stop().await;
    // The installation changes its mind.
    world.settings.default_account_namespaces = vec!["*".into()];
    let _operator = world.operator().await;
    for name in ["environment", "ecs", "pod", "chained", "nobodys"] {
        tenant.ready(name).await;
    }
    tenant.groups().ready("db").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recreated_account_never_signs_with_former_keys() {
    let world = World::with_roles().await;
    world.allow_tokens().await;
    let _operator = world.operator().await;
    world.main_and_orders(tenant_oidc(ROLE)).await;
    world.well().await;
    // Another actor removes the finalizer, so that the object is deleted although it is in use.
    let accounts: Api<AlibabaCloudAccount> = world.accounts().api();
    world.accounts().delete("main").await;
    let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    accounts.patch("main", &PatchParams::default(), &free).await.expect("the finalizer goes");
    world.accounts().gone("main").await;
    let status = world.condition("orders", "Synced", "False", "CredentialsNotFound").await;
    assert!(message(&status, "Synced").contains("does not exist"), "{status:?}");
    world.cloud.clear_requests();
    world.accounts().create("main", tenant_oidc(OTHER_ROLE)).await;
    world.well().await;
    assert_eq!(world.signers(), [OTHER_ROLE.to_owned()].into());
    assert_eq!(world.sts_calls().len(), 1);
}
