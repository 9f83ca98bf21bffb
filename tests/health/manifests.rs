//! The manifests of `deploy/argocd`.

use std::collections::BTreeMap;
use std::process::Command;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;

use crate::judge::{path, program};
use crate::states::KINDS;
use test_support::ControlPlane;

const PATCH: &str = "deploy/argocd/argocd-cm.yaml";

fn read(file: &str) -> String {
    std::fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn checks() -> BTreeMap<String, String> {
    let script =
        |kind: &str| read(&format!("deploy/argocd/resource_customizations/disasterrecovery.dev/{kind}/health.lua"));
    let key = |kind: &str| format!("resource.customizations.health.disasterrecovery.dev_{kind}");
    KINDS.iter().map(|(kind, _)| (key(kind), script(kind))).collect()
}

#[test]
fn config_map_holds_one_script_for_all_kinds() {
    let found: ConfigMap = serde_yaml::from_str(&read(PATCH)).expect("a ConfigMap");
    let checks = checks();
    assert_eq!(found.data, Some(checks.clone()), "write each health.lua into {PATCH}");
    let first = checks.values().next().expect("a script");
    assert!(checks.values().all(|it| it == first), "what is true of one kind is true of all");
    assert_eq!((found.metadata.name.as_deref(), found.metadata.namespace), (Some("argocd-cm"), None));
}

#[test]
fn applications_have_known_fields_and_server_side_apply() {
    let files = ["deploy/argocd/application.yaml", "deploy/argocd/plans.yaml"];
    let read_by_argo_cd = Command::new(program()).arg("applications").args(files.map(path)).output().expect("it runs");
    assert!(read_by_argo_cd.status.success(), "{}", String::from_utf8_lossy(&read_by_argo_cd.stderr));
    for file in files {
        let found: Value = serde_yaml::from_str(&read(file)).expect("YAML");
        let options = found["spec"]["syncPolicy"]["syncOptions"].as_array().expect("options");
        assert!(options.contains(&"ServerSideApply=true".into()), "{file}: {options:?}");
        assert_eq!(found["spec"].get("ignoreDifferences"), None, "{file}: none is needed");
    }
}

#[test]
fn patch_keeps_other_settings_of_argo_cd() {
    let plane = ControlPlane::shared();
    let namespace = plane.namespace("argocd");
    let make = ["create", "configmap", "argocd-cm", "-n", &namespace, "--from-literal=url=https://argocd.example.com"];
    plane.kubectl(&make).checked().expect("it is made");
    let file = path(PATCH).display().to_string();
    plane
        .kubectl(&["patch", "configmap", "argocd-cm", "-n", &namespace, "--patch-file", &file])
        .checked()
        .expect("patched");
    let found = plane
        .kubectl(&["get", "configmap", "argocd-cm", "-n", &namespace, "-o", "json"])
        .checked()
        .expect("it is there");
    let found: ConfigMap = serde_json::from_str(&found).expect("a ConfigMap");
    let mut wanted = checks();
    wanted.insert("url".into(), "https://argocd.example.com".into());
    assert_eq!(found.data, Some(wanted));
}
