//! A release that watches some namespaces, with Roles only.

use crate::chart::{chart, name, objects};
use crate::job;
use test_support::ControlPlane;
use test_support::installation::{Cloud, Operator};

/// Of another name than the chart, so that everything is named after both.
const RELEASE: &str = "narrow";
const DEPLOYMENT: &str = "narrow-disaster-recovery-operator";
/// Kinds whose objects grant permissions in the whole cluster.
const CLUSTER: [&str; 2] = ["ClusterRole ", "ClusterRoleBinding "];

#[test]
fn namespaced_release_works_without_cluster_permissions() {
    let plane = ControlPlane::shared();
    let home = plane.namespace("home");
    let watched = [plane.namespace("watched"), plane.namespace("also-watched")];
    let namespaces = format!("watchNamespaces={{{}}}", watched.join(","));
    let install = ["install", RELEASE, &chart(), "--namespace", &home, "--set", &namespaces];
    plane.helm(&install).checked().expect("helm install");
    let manifest = plane.helm(&["get", "manifest", RELEASE, "--namespace", &home]).checked().expect("a manifest");
    let installed: Vec<_> = objects(&manifest).iter().map(name).collect();
    assert!(!installed.iter().any(|it| CLUSTER.iter().any(|kind| it.starts_with(kind))), "{installed:#?}");

    watched.iter().for_each(|namespace| job::begin(plane, namespace));
    let stranger = job::tenant(plane, "not-watched");
    let before = job::objects(plane, &stranger);
    let cloud = Cloud::start();
    let operator = Operator::start(plane, &home, DEPLOYMENT, &cloud);
    watched.iter().for_each(|tenant| job::becomes_ready(plane, tenant));
    assert_eq!(cloud.holds(), (2, 2));
    let uid = plane.kubectl(&["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"]).checked();
    let mark = format!("[drp {}/{}/orders]", &uid.expect("a UID")[..8], watched[0]);
    assert!(cloud.plans().to_string().contains(&mark), "the owner mark has the cluster's UID");
    // To the last byte: nothing was written to them.
    assert_eq!(job::objects(plane, &stranger), before);
    let lease = ["get", "lease", DEPLOYMENT, "-n", &home, "-o", "jsonpath={.spec.holderIdentity}"];
    let holder = plane.kubectl(&lease).checked().expect("a Lease of its own");
    assert!(holder.starts_with("the-pod"), "{holder}");
    job::is_deleted(plane, &watched, &cloud);
    operator.stop();
}
