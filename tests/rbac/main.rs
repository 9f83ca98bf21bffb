//! The permissions of the operator's service account after `kubectl apply -k deploy/`, on a real API server.

#![allow(clippy::expect_used, reason = "a test that cannot go on says why")]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use disaster_recovery_operator::api::account::AlibabaCloudAccount;
use disaster_recovery_operator::api::disk_replica_group::DiskReplicaGroup;
use disaster_recovery_operator::api::plan::DisasterRecoveryPlan;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use test_support::{ControlPlane, Options, Output, eventually_blocking, path};

const NAMESPACE: &str = "disaster-recovery-system";
const NAME: &str = "disaster-recovery-operator";
const PLANS: &str = "disasterrecoveryplans.disasterrecovery.dev";
const GROUPS: &str = "diskreplicagroups.disasterrecovery.dev";
const ACCOUNTS: &str = "alibabacloudaccounts.disasterrecovery.dev";
const EVENTS: &str = "events.events.k8s.io";
const LEASES: &str = "leases.coordination.k8s.io";
/// The audience of tokens that RAM takes.
const STS: &str = "sts.aliyuncs.com";

/// A control plane with the default installation, and the kubeconfig of the operator's service account.
fn installed() -> (&'static ControlPlane, &'static Path) {
    static INSTALLED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let control_plane = ControlPlane::shared();
    let kubeconfig = INSTALLED.get_or_init(|| {
        let install = || -> anyhow::Result<PathBuf> {
            control_plane.kubectl(&["apply", "-k", &path("deploy").display().to_string()]).checked()?;
            for kind in [PLANS, GROUPS, ACCOUNTS] {
                let wait = ["wait", "--for=condition=Established", "--timeout=60s", &format!("crd/{kind}")];
                control_plane.kubectl(&wait).checked()?;
                // Known to the server is not yet listed to its clients.
                eventually_blocking(Duration::from_secs(60), "the kind is listed", || {
                    control_plane.kubectl(&["get", kind]).status.success().then_some(())
                });
            }
            control_plane.service_account_kubeconfig(NAMESPACE, NAME)
        };
        install().map_err(|error| format!("{error:#}"))
    });
    match kubeconfig {
        Ok(kubeconfig) => (control_plane, kubeconfig),
        Err(reason) => panic!("not installed: {reason}"),
    }
}

/// A permission: whether it is granted, verbs, resource and namespace, as for `kubectl auth can-i`.
type Right<'a> = (&'a str, &'a str, &'a str, &'a [&'a str]);

/// Asks the server about each, as the user of `kubeconfig`.
#[track_caller]
fn assert_rights(control_plane: &ControlPlane, kubeconfig: &Path, rights: &[Right<'_>]) {
    let each = |&(wanted, verbs, resource, scope): &Right<'_>| {
        let wrong = verbs.split(' ').filter_map(|verb| {
            let args = [&["auth", "can-i", verb, resource], scope].concat();
            let answer = control_plane.kubectl_as(kubeconfig, &args);
            let said = answer.stdout.trim();
            (said != wanted)
                .then(|| format!("{}: {said:?} {}, wanted {wanted:?}", args[2..].join(" "), answer.stderr.trim_end()))
        });
        wrong.collect::<Vec<_>>()
    };
    let wrong: Vec<String> = rights.iter().flat_map(each).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn refused<T: std::fmt::Debug>(answer: &Result<T, kube::Error>) {
    assert!(matches!(answer, Err(kube::Error::Api(status)) if status.code == 403), "not refused: {answer:?}");
}

#[test]
fn operator_has_needed_permissions_only() {
    let (control_plane, kubeconfig) = installed();
    let elsewhere = control_plane.namespace("anywhere");
    let anywhere = &["--all-namespaces"][..];
    let there = &["-n", &elsewhere][..];
    let at_home = &["-n", NAMESPACE][..];
    let status = &["--subresource=status", "--all-namespaces"][..];
    let finalizers = &["--subresource=finalizers", "--all-namespaces"][..];
    let token = &["--subresource=token", "--all-namespaces"][..];
    let token_there = &["--subresource=token", "-n", &elsewhere][..];
    let exec = &["--subresource=exec", "--all-namespaces"][..];
    let (lease, other_lease) = (format!("{LEASES}/{NAME}"), "leases.coordination.k8s.io/another");
    let rights = [
        // What its work needs.
        ("yes", "get list watch patch", PLANS, anywhere),
        ("yes", "update", PLANS, status),
        ("yes", "get list watch patch", GROUPS, anywhere),
        ("yes", "update", GROUPS, status),
        ("yes", "get list watch patch", ACCOUNTS, anywhere),
        ("yes", "update", ACCOUNTS, status),
        ("yes", "get", "secrets", anywhere),
        ("yes", "get", "secrets/idc-acl", there),
        ("yes", "create patch", EVENTS, anywhere),
        ("yes", "get", "namespaces/kube-system", &[]),
        // Leader election: one Lease, of one namespace. RBAC cannot restrict `create` to a name.
        ("yes", "create", LEASES, at_home),
        ("yes", "get update", &lease, at_home),
        ("no", "list watch patch delete deletecollection", LEASES, at_home),
        ("no", "patch delete", &lease, at_home),
        ("no", "get update", other_lease, at_home),
        ("no", "create get list watch update patch delete", LEASES, there),
        ("no", "create get update", LEASES, anywhere),
        // The users' objects are theirs.
        ("no", "create update delete deletecollection", PLANS, anywhere),
        ("no", "get patch", PLANS, status),
        ("no", "update patch", PLANS, finalizers),
        ("no", "create update delete deletecollection", GROUPS, anywhere),
        ("no", "get patch", GROUPS, status),
        ("no", "update patch", GROUPS, finalizers),
        ("no", "create update delete deletecollection", ACCOUNTS, anywhere),
        ("no", "get patch", ACCOUNTS, status),
        ("no", "update patch", ACCOUNTS, finalizers),
        // Secrets are read by name, nowhere listed, and never written.
        ("no", "list watch create update patch delete deletecollection", "secrets", anywhere),
        ("no", "list watch create update patch delete", "secrets", at_home),
        // No other namespace is its business.
        ("no", "list watch create update patch delete", "namespaces", &[]),
        ("no", "get", "namespaces/default", &[]),
        ("no", "get", "namespaces/disaster-recovery-system", &[]),
        ("no", "update patch delete", "namespaces/kube-system", &[]),
        // Nor are workloads, other configuration, or its own permissions.
        ("no", "get list watch create update patch delete", "pods", anywhere),
        ("no", "get list watch create", "pods", at_home),
        ("no", "create get", "pods", exec),
        ("no", "get list watch create update patch delete", "configmaps", anywhere),
        ("no", "get list create update patch", "deployments.apps", at_home),
        ("no", "get list watch update delete", EVENTS, anywhere),
        ("no", "get list create", "serviceaccounts", anywhere),
        ("no", "create", "serviceaccounts", token),
        ("no", "create", "serviceaccounts/disaster-recovery", token_there),
        ("no", "get create update patch bind escalate", "clusterroles.rbac.authorization.k8s.io", &[]),
        ("no", "get create update patch", "clusterrolebindings.rbac.authorization.k8s.io", &[]),
        ("no", "create update patch", "rolebindings.rbac.authorization.k8s.io", anywhere),
        ("no", "get list create update patch delete", "customresourcedefinitions.apiextensions.k8s.io", &[]),
        ("no", "impersonate", "serviceaccounts", anywhere),
        ("no", "get list", "nodes", &[]),
    ];
    assert_rights(control_plane, kubeconfig, &rights);
}

#[test]
fn single_namespace_operator_has_no_permission_elsewhere() {
    // A control plane of its own: the shared one has the permissions of the default installation.
    let control_plane = ControlPlane::start(Options::default()).expect("a control plane");
    let overlay = path("deploy/overlays/single-namespace").display().to_string();
    control_plane.kubectl(&["apply", "-k", &overlay]).checked().expect("applied");
    for kind in [PLANS, GROUPS, ACCOUNTS] {
        eventually_blocking(Duration::from_secs(60), "the kind is listed", || {
            control_plane.kubectl(&["get", kind]).status.success().then_some(())
        });
    }
    let label = ["get", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/part-of", "-o", "name"];
    assert_eq!(control_plane.kubectl(&label).checked().expect("a list"), "");
    let kubeconfig = control_plane.service_account_kubeconfig(NAMESPACE, NAME).expect("its token");
    let elsewhere = control_plane.namespace("anywhere");
    let (at_home, there, anywhere) = (&["-n", NAMESPACE][..], &["-n", &elsewhere][..], &["--all-namespaces"][..]);
    let status = &["--subresource=status", "-n", NAMESPACE][..];
    let lease = format!("{LEASES}/{NAME}");
    let mut rights: Vec<Right<'_>> = vec![
        ("yes", "get", "secrets", at_home),
        ("yes", "create patch", EVENTS, at_home),
        ("yes", "create", LEASES, at_home),
        ("yes", "get update", &lease, at_home),
        ("no", "list watch create update patch delete", "secrets", at_home),
    ];
    for kind in [PLANS, GROUPS, ACCOUNTS] {
        rights.push(("yes", "get list watch patch", kind, at_home));
        rights.push(("yes", "update", kind, status));
        rights.push(("no", "create update delete", kind, at_home));
    }
    for resource in [PLANS, GROUPS, ACCOUNTS, "secrets", EVENTS, LEASES, "configmaps", "pods"] {
        rights.push(("no", "get create patch", resource, there));
        rights.push(("no", "list", resource, anywhere));
    }
    assert_rights(&control_plane, &kubeconfig, &rights);
    // The cluster's identity, by a Role in that namespace, and no other.
    let namespace = |name: &str| control_plane.kubectl_as(&kubeconfig, &["get", "namespace", name]).status.success();
    assert_eq!([namespace("kube-system"), namespace(NAMESPACE), namespace(&elsewhere)], [true, false, false]);
}

#[tokio::test]
async fn no_rule_names_everything() {
    let (control_plane, _) = installed();
    let roles: Api<ClusterRole> = Api::all(control_plane.admin_client());
    let role = roles.get(NAME).await.expect("the role");
    let rules = role.rules.expect("rules");
    assert!(!rules.is_empty());
    for rule in rules {
        let named =
            [Some(&rule.verbs), rule.resources.as_ref(), rule.api_groups.as_ref(), rule.non_resource_urls.as_ref()];
        assert!(named.into_iter().flatten().flatten().all(|word| !word.contains('*')), "{rule:?}");
    }
}

#[tokio::test]
async fn operator_works_on_groups() {
    let (control_plane, _) = installed();
    let namespace = control_plane.namespace("group-work");
    let client = control_plane.service_account_client(NAMESPACE, NAME);
    let sample = path("deploy/samples/07-disk-group.yaml").display().to_string();
    control_plane.kubectl(&["apply", "-n", &namespace, "-f", &sample]).checked().expect("a group");

    let groups: Api<DiskReplicaGroup> = Api::all(client.clone());
    let found = groups.list(&ListParams::default()).await.expect("a list of all namespaces");
    assert!(found.items.iter().any(|group| group.metadata.namespace.as_deref() == Some(&namespace)), "{found:?}");
    let groups: Api<DiskReplicaGroup> = Api::namespaced(client, &namespace);
    let group = groups.get("orders-db").await.expect("the group");
    let metadata = json!({ "metadata": {
        "resourceVersion": group.metadata.resource_version,
        "finalizers": [disaster_recovery_operator::api::FINALIZER],
        "annotations": { (disaster_recovery_operator::api::GROUP_ID_ANNOTATION): "pg-one" },
    }});
    let written = groups.patch("orders-db", &PatchParams::default(), &Patch::Merge(&metadata)).await;
    let mut group = written.expect("a finalizer");
    group.status.get_or_insert_default().replica_group_id = Some("pg-one".into());
    let group = groups.replace_status("orders-db", &PostParams::default(), &group).await.expect("a status");
    assert_eq!(group.status.and_then(|status| status.replica_group_id).as_deref(), Some("pg-one"));
    refused(&groups.delete("orders-db", &kube::api::DeleteParams::default()).await);
}

#[tokio::test]
async fn operator_works_without_listing_secrets() {
    let (control_plane, _) = installed();
    let namespace = control_plane.namespace("work");
    let admin = control_plane.admin_client();
    let client = control_plane.service_account_client(NAMESPACE, NAME);
    let sample = path("deploy/samples/02-external-acl.yaml").display().to_string();
    control_plane.kubectl(&["apply", "-n", &namespace, "-f", &sample]).checked().expect("a plan and its Secret");

    // The requests of a reconcile.
    let plans: Api<DisasterRecoveryPlan> = Api::all(client.clone());
    let found = plans.list(&ListParams::default()).await.expect("a list of all namespaces");
    assert!(found.items.iter().any(|plan| plan.metadata.namespace.as_deref() == Some(&namespace)), "{found:?}");
    let plans: Api<DisasterRecoveryPlan> = Api::namespaced(client.clone(), &namespace);
    let plan = plans.get("orders-to-idc").await.expect("the plan");
    let metadata = json!({ "metadata": {
        "resourceVersion": plan.metadata.resource_version,
        "finalizers": [disaster_recovery_operator::api::FINALIZER],
        "annotations": { (disaster_recovery_operator::api::PLAN_ID_ANNOTATION): "1300000016" },
    }});
    let written = plans.patch("orders-to-idc", &PatchParams::default(), &Patch::Merge(&metadata)).await;
    let mut plan = written.expect("a finalizer");
    plan.status.get_or_insert_default().plan_id = Some("1300000016".into());
    let plan = plans.replace_status("orders-to-idc", &PostParams::default(), &plan).await.expect("a status");
    assert_eq!(plan.status.and_then(|status| status.plan_id).as_deref(), Some("1300000016"));

    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let secret = secrets.get("idc-acl").await.expect("the Secret that the plan names");
    assert!(secret.data.is_some_and(|data| data.contains_key("password")));
    let event: Event = serde_json::from_value(json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": { "generateName": "orders-to-idc-", "namespace": namespace },
        "type": "Normal", "reason": "Created", "action": "Create", "note": "The plan is made.",
        "eventTime": "2026-11-22T12:00:00.000000Z",
        "reportingController": NAME, "reportingInstance": "test",
        "regarding": {
            "apiVersion": "disasterrecovery.dev/v1alpha1", "kind": "DisasterRecoveryPlan",
            "namespace": namespace, "name": "orders-to-idc",
        },
    }))
    .expect("an event");
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let event = events.create(&PostParams::default(), &event).await.expect("an event beside the plan");
    let again = json!({ "series": { "count": 2, "lastObservedTime": "2026-11-22T12:01:00.000000Z" } });
    let name = event.metadata.name.expect("a name");
    events.patch(&name, &PatchParams::default(), &Patch::Merge(&again)).await.expect("counted up");
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let system = namespaces.get("kube-system").await.expect("the cluster's identity");
    assert!(system.metadata.uid.is_some());

    // Requests that its token does not allow.
    refused(&secrets.list(&ListParams::default()).await);
    refused(&Api::<Secret>::all(client.clone()).list(&ListParams::default()).await);
    refused(&Api::<Secret>::namespaced(client.clone(), NAMESPACE).list(&ListParams::default()).await);
    refused(&secrets.watch(&kube::api::WatchParams::default(), "0").await.map(|_| "a watch"));
    refused(&secrets.patch("idc-acl", &PatchParams::default(), &Patch::Merge(json!({ "data": null }))).await);
    refused(&plans.delete("orders-to-idc", &kube::api::DeleteParams::default()).await);
    refused(&namespaces.get(&namespace).await);
    let kept = Api::<Secret>::namespaced(admin, &namespace).get("idc-acl").await.expect("the Secret");
    assert!(kept.data.is_some(), "nothing changed it");
}

/// Asks as the operator for a token that RAM takes.
fn token(namespace: &str, account: &str) -> Output {
    let (control_plane, kubeconfig) = installed();
    let create = ["create", "token", account, "-n", namespace, "--audience", STS, "--duration", "10m", "-o", "json"];
    control_plane.kubectl_as(kubeconfig, &create)
}

#[track_caller]
fn no_token(namespace: &str, account: &str) {
    let answer = token(namespace, account);
    assert!(!answer.status.success() && answer.stderr.contains(" is forbidden: "), "{namespace}/{account}: {answer:?}");
}

#[test]
fn namespace_can_allow_tokens_of_one_account() {
    let (control_plane, _) = installed();
    let (tenant, other) = (control_plane.namespace("tenant"), control_plane.namespace("other-tenant"));
    for (namespace, account) in [(&tenant, "robot"), (&other, "disaster-recovery")] {
        control_plane.kubectl(&["create", "serviceaccount", account, "-n", namespace]).checked().expect("made");
    }
    let everywhere = |refused: &[(&str, &str)]| refused.iter().for_each(|(namespace, name)| no_token(namespace, name));
    let never = [(&*tenant, "robot"), (&tenant, "default"), (&other, "disaster-recovery"), (NAMESPACE, NAME)];
    everywhere(&never);
    no_token(&tenant, "disaster-recovery");

    let folder = path("deploy/tenant-tokens").display().to_string();
    control_plane.kubectl(&["apply", "-n", &tenant, "-k", &folder]).checked().expect("applied in one namespace");
    let granted = eventually_blocking(Duration::from_secs(30), "the server knows of the right", || {
        token(&tenant, "disaster-recovery").checked().ok()
    });
    let granted: serde_json::Value = serde_json::from_str(&granted).expect("a TokenRequest");
    assert_eq!(granted["spec"]["audiences"], json!([STS]));
    assert_eq!(granted["status"]["token"].as_str().map(|token| token.split('.').count()), Some(3), "a JWT");
    everywhere(&never);

    // It grants the token and nothing else: the service account has no permissions.
    let account = control_plane.service_account_kubeconfig(&tenant, "disaster-recovery").expect("its kubeconfig");
    let may = control_plane.kubectl_as(&account, &["auth", "can-i", "get", "secrets", "-n", &tenant]);
    assert_eq!(may.stdout.trim(), "no");
    let again = control_plane.kubectl(&["apply", "-n", &tenant, "-k", &folder]).checked().expect("applied again");
    assert!(again.lines().all(|line| line.ends_with(" unchanged")), "applying it again changes something: {again}");
}

#[test]
fn tenant_kustomization_keeps_the_operator_as_subject() {
    let control_plane = ControlPlane::shared();
    let overlay = tempfile::tempdir().expect("a folder");
    // Kustomize takes relative paths only; more steps up than there are end at the root.
    let base =
        format!("{}{}", "../".repeat(32), path("deploy/tenant-tokens").display().to_string().trim_start_matches('/'));
    let kustomization = format!("namespace: team-a\nresources:\n- {base}\n");
    std::fs::write(overlay.path().join("kustomization.yaml"), kustomization).expect("written");
    let folder = overlay.path().display().to_string();
    let rendered = control_plane.kubectl(&["kustomize", &folder]).checked().expect("rendered");
    let objects: Vec<serde_json::Value> = serde_yaml::Deserializer::from_str(&rendered)
        .map(|object| serde::Deserialize::deserialize(object).expect("an object"))
        .collect();
    assert_eq!(objects.len(), 3, "{rendered}");
    assert!(objects.iter().all(|object| object["metadata"]["namespace"] == "team-a"), "{rendered}");
    let binding = objects.iter().find(|object| object["kind"] == "RoleBinding").expect("a binding");
    let subject = json!([{ "kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE }]);
    assert_eq!(binding["subjects"], subject);
}

#[tokio::test]
async fn operator_works_on_accounts() {
    let (control_plane, _) = installed();
    let namespace = control_plane.namespace("account-work");
    let client = control_plane.service_account_client(NAMESPACE, NAME);
    let sample = path("deploy/samples/10-account-secret.yaml").display().to_string();
    control_plane.kubectl(&["apply", "-n", &namespace, "-f", &sample]).checked().expect("an account");

    let accounts: Api<AlibabaCloudAccount> = Api::all(client.clone());
    let found = accounts.list(&ListParams::default()).await.expect("a list of all namespaces");
    assert!(found.items.iter().any(|it| it.metadata.namespace.as_deref() == Some(&namespace)), "{found:?}");
    let accounts: Api<AlibabaCloudAccount> = Api::namespaced(client, &namespace);
    let finalizer = json!({ "metadata": { "finalizers": [disaster_recovery_operator::api::IN_USE_FINALIZER] } });
    let written = accounts.patch("production", &PatchParams::default(), &Patch::Merge(&finalizer)).await;
    let mut account = written.expect("a finalizer");
    account.status.get_or_insert_default().identity = Some("LTAI****abcd".into());
    let account = accounts.replace_status("production", &PostParams::default(), &account).await;
    assert_eq!(account.expect("a status").status.and_then(|it| it.identity).as_deref(), Some("LTAI****abcd"));
    refused(&accounts.delete("production", &kube::api::DeleteParams::default()).await);
}
