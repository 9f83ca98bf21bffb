//! What people apply first: the samples and the default installation.

use serde_json::{Value, json};

use crate::common::{control_plane, kubectl_json, manifests, path, text, understood};

/// In their order: a sample whose first line begins with "Changes" is for the object of one before it. Samples that work on
/// their own may have the same object, word for word.
#[test]
fn samples_apply_as_they_are() {
    let control_plane = control_plane();
    let namespace = control_plane.namespace("samples");
    let mut objects = 0;
    for file in manifests("deploy/samples") {
        let manifest = std::fs::read_to_string(&file).expect("a sample");
        let file = text(&file);
        let changes = manifest.starts_with("# Changes ");
        assert!(manifest.starts_with("# "), "{file}: the first line does not say what it shows");
        let answer = control_plane.kubectl(&["apply", "-n", &namespace, "-f", file]).checked();
        let answer = answer.unwrap_or_else(|error| panic!("{file}: {error:#}"));
        let ends: &[&str] = if changes { &[" configured"] } else { &[" created", " unchanged"] };
        let expected = |line: &str| ends.iter().any(|end| line.ends_with(end));
        assert!(answer.lines().all(expected), "{file}: does it share a name with another? {answer}");
        assert!(!manifest.contains("\n  namespace:"), "{file}: the namespace is chosen by -n");
        let of_ours = |line: &&str| line.contains(".disasterrecovery.dev/") && line.ends_with(" created");
        objects += answer.lines().filter(of_ours).count();
    }
    assert!(objects >= 16, "only {objects} objects");
    let all = kubectl_json(&["get", "drp,drg,aca", "-n", &namespace, "-o", "json"]);
    let all = all["items"].as_array().expect("a list");
    assert_eq!(all.len(), objects);
    let accounts = all.iter().filter(|object| object["kind"] == "AlibabaCloudAccount");
    let accounts: Vec<_> = accounts.map(|account| &account["metadata"]["name"]).collect();
    let mut named = 0;
    for object in all {
        assert_eq!(understood(&object.to_string()), Ok(()));
        if let Some(account) = object["spec"].get("accountRef") {
            assert!(
                accounts.contains(&&account["name"]),
                "no sample has the account of {}",
                object["metadata"]["name"]
            );
            named += 1;
        }
        for instance in object["spec"]["instances"].as_array().into_iter().flatten() {
            let Some(secret) = instance["credentialsSecretRef"]["name"].as_str() else { continue };
            let secret = kubectl_json(&["get", "secret", secret, "-n", &namespace, "-o", "json"]);
            assert!(secret["data"]["username"].is_string() && secret["data"]["password"].is_string());
        }
    }
    assert_eq!(named, objects - accounts.len(), "a plan or group without an account is CredentialsNotFound");
}

#[test]
fn default_installation_applies_under_restricted_pod_security() {
    let control_plane = control_plane();
    let folder = path("deploy");
    let rendered = control_plane.kubectl(&["kustomize", text(&folder)]).checked().expect("kustomize");
    assert!(!rendered.contains("\nkind: Secret\n"), "credentials are no part of the manifests");
    assert!(rendered.contains("\nkind: CustomResourceDefinition\n"), "the definitions are included");
    control_plane.kubectl(&["apply", "-k", text(&folder)]).checked().expect("applied");
    let again = control_plane.kubectl(&["apply", "-k", text(&folder)]).checked().expect("applied again");
    assert!(again.lines().all(|line| line.ends_with(" unchanged")), "applying it again changes something: {again}");

    let name = "disaster-recovery-operator";
    let deployment = kubectl_json(&["get", "deployment", name, "-n", "disaster-recovery-system", "-o", "json"]);
    let pod = &deployment["spec"]["template"]["spec"];
    let rolling = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } });
    assert_eq!((&deployment["spec"]["replicas"], &deployment["spec"]["strategy"]), (&json!(1), &rolling));
    assert_eq!(pod["serviceAccountName"], json!(name));
    assert_eq!(pod["securityContext"]["runAsUser"], json!(65532));
    let container = &pod["containers"][0];
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(container["image"], json!(format!("ghcr.io/{name}/{name}:{version}")), "the image of this version");
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], json!(true));
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], json!("/livez"));
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], json!("/readyz"));

    // `--help` at the end is reached only when the program knows all arguments before it.
    let args = container["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let program = std::process::Command::new(env!("CARGO_BIN_EXE_dr-operator")).args(args).arg("--help").output();
    let program = program.expect("the operator's program runs");
    let complaint = String::from_utf8_lossy(&program.stderr);
    assert!(program.status.success(), "the program does not take {}: {complaint}", container["args"]);

    // The namespace enforces the strictest pod security standard: the pod itself must be accepted there.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "the-pod", "namespace": "disaster-recovery-system" },
        "spec": pod,
    });
    let create = ["create", "--dry-run=server", "-f", "-"];
    control_plane.kubectl_stdin(&create, &pod.to_string()).checked().expect("a pod that asks for nothing special");
}
