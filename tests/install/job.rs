//! The main job of an installed operator: a tenant's account, plan and group of disks.

use serde_json::{Value, json};

use crate::chart::{self, path};
use test_support::installation::{Cloud, DEADLINE, KEY};
use test_support::{ControlPlane, eventually_blocking};

/// They have an account, a plan and a group of disks.
const SAMPLES: [&str; 2] = ["01-one-way.yaml", "07-disk-group.yaml"];

/// Creates a namespace with an account that has the simulator's key, and a plan and a group of disks of the account. Each is a
/// sample.
pub(crate) fn tenant(plane: &ControlPlane, prefix: &str) -> String {
    let namespace = plane.namespace(prefix);
    begin(plane, &namespace);
    namespace
}

/// As [`tenant`], in a namespace that is there.
pub(crate) fn begin(plane: &ControlPlane, namespace: &str) {
    let data = KEY.map(|(key, value)| format!("--from-literal={key}={value}"));
    let secret = ["create", "secret", "generic", "alibaba-cloud-key", "-n", namespace, &data[0], &data[1]];
    plane.kubectl(&secret).checked().expect("a Secret");
    for sample in SAMPLES {
        let sample = std::fs::read_to_string(path("deploy/samples").join(sample)).expect("a sample");
        // Disks and plans of another name than those of other tenants, in the cloud account that they share.
        let sample = ["d-hangzhou", "d-shanghai"]
            .iter()
            .fold(sample, |text, disk| text.replace(disk, &format!("{disk}-{namespace}")));
        for mut object in chart::objects(&sample) {
            if object["kind"] == "DisasterRecoveryPlan" {
                object["spec"]["planName"] = json!(namespace);
            }
            // The kind may be known to the server and not yet listed to its clients.
            eventually_blocking(DEADLINE, "the sample is applied", || {
                plane.kubectl_stdin(&["apply", "-n", namespace, "-f", "-"], &object.to_string()).checked().ok()
            });
        }
    }
}

/// The objects of a tenant, as they are.
pub(crate) fn objects(plane: &ControlPlane, namespace: &str) -> Vec<Value> {
    let json = plane.kubectl(&["get", "aca,drp,drg", "-n", namespace, "-o", "json"]).checked().expect("a list");
    let mut list: Value = serde_json::from_str(&json).expect("JSON");
    let items = list["items"].as_array_mut().map(std::mem::take).expect("items");
    assert_eq!(items.len(), 3, "{items:#?}");
    items
}

/// The objects become Ready, as a plan and a group in the cloud.
pub(crate) fn becomes_ready(plane: &ControlPlane, namespace: &str) {
    let wait = ["wait", "--for=condition=Ready", "aca,drp,drg", "--all", "-n", namespace, "--timeout=60s"];
    if let Err(error) = plane.kubectl(&wait).checked() {
        panic!("they do not become Ready: {error}\n{:#?}", objects(plane, namespace));
    }
    let ids = objects(plane, namespace);
    let ids = ids
        .iter()
        .filter_map(|object| ["planId", "replicaGroupId"].iter().find_map(|id| object["status"][id].as_str()));
    assert_eq!(ids.filter(|id| !id.is_empty()).count(), 2);
}

/// All objects of tenants are deleted, and with them what they are in the cloud, where nothing else was.
pub(crate) fn is_deleted<'a>(plane: &ControlPlane, tenants: impl IntoIterator<Item = &'a String>, cloud: &Cloud) {
    for tenant in tenants {
        for kinds in ["drp,drg", "aca"] {
            let delete = ["delete", kinds, "--all", "-n", tenant, "--timeout=60s"];
            plane.kubectl(&delete).checked().expect("they go");
        }
    }
    assert_eq!(cloud.holds(), (0, 0));
}
