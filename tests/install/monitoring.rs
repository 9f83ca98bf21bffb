//! The definitions of prometheus-operator, as its Go module has them.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use test_support::ControlPlane;

const MODULE: &str = "github.com/prometheus-operator/prometheus-operator@v0.85.0";
/// What `go.sum` would say of it.
const SUM: &str = "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=";

/// Makes the server know ServiceMonitor and PrometheusRule.
pub(crate) fn define(plane: &ControlPlane) {
    let go = Command::new("go").args(["mod", "download", "-json", MODULE]).current_dir("/").output();
    let go = go.expect("Go is needed, which fetches the definitions of prometheus-operator");
    let module: Value = serde_json::from_slice(&go.stdout).expect("JSON from go mod download");
    assert_eq!(module["Sum"], SUM, "{MODULE}: {module}");
    let folder = Path::new(module["Dir"].as_str().expect("a folder")).join("example/prometheus-operator-crd");
    for plural in ["servicemonitors", "prometheusrules"] {
        let file = folder.join(format!("monitoring.coreos.com_{plural}.yaml"));
        plane.apply_file(&file).expect("the definition is accepted");
        let crd = format!("crd/{plural}.monitoring.coreos.com");
        plane.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &crd]).checked().expect("established");
    }
}
