//! States on a real kube-apiserver: what it makes of them, and what `kubectl wait` says of them there.

use std::collections::BTreeSet;
use std::path::Path;

use disaster_recovery_operator::controller::FIELD_MANAGER;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::states::KINDS;
use test_support::{ControlPlane, operator};

/// A namespace for states.
pub(crate) struct Cluster {
    plane: &'static ControlPlane,
    client: kube::Client,
    namespace: String,
}

impl Cluster {
    pub(crate) async fn new() -> Self {
        let (plane, namespace) = tokio::task::spawn_blocking(|| {
            operator::installed();
            let plane = ControlPlane::shared();
            (plane, plane.namespace("health"))
        })
        .await
        .expect("the control plane is there");
        Self { plane, client: plane.admin_client(), namespace }
    }

    fn api(&self, object: &Value) -> Api<DynamicObject> {
        let kind = object["kind"].as_str().expect("a kind");
        let (_, plural) = KINDS.into_iter().find(|it| it.0 == kind).expect("one of ours");
        let kind = GroupVersionKind::gvk("disasterrecovery.dev", "v1alpha1", kind);
        Api::namespaced_with(self.client.clone(), &self.namespace, &ApiResource::from_gvk_with_plural(&kind, plural))
    }

    /// Makes an object of a state as its user and the operator would: to its generation, with its status, and deleted where
    /// it is. What the server then shows of it.
    pub(crate) async fn put(&self, file: &Path, state: &Value) -> Value {
        let api = self.api(state);
        let name = state["metadata"]["name"].as_str().expect("a name");
        let deleting = state["metadata"].get("deletionTimestamp").is_some();
        // The deletion is a generation too.
        let edits = state["metadata"]["generation"].as_i64().expect("a generation") - i64::from(deleting) - 1;
        let mut first = state.clone();
        first.as_object_mut().expect("an object").remove("status");
        let metadata = first["metadata"].as_object_mut().expect("metadata");
        metadata.retain(|field, _| field == "name" || field == "finalizers");
        if edits > 0 {
            first["spec"] = before(&state["spec"], 0);
        }
        let first: DynamicObject = serde_json::from_value(first).expect("an object");
        let accepted = |what: &str| format!("{what} of {} is accepted", file.display());
        api.create(&PostParams::default(), &first)
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", accepted("the spec")));
        for edit in 1..=edits {
            let spec = if edit == edits { state["spec"].clone() } else { before(&state["spec"], edit) };
            let mut object = api.get(name).await.expect("it is there");
            object.data["spec"] = spec;
            api.replace(name, &PostParams::default(), &object).await.expect("the edit is accepted");
        }
        if state["status"] != crate::states::unseen() {
            let body = json!({
                "apiVersion": state["apiVersion"], "kind": state["kind"], "metadata": { "name": name },
                "status": state["status"],
            });
            let params = PatchParams::apply(FIELD_MANAGER).force();
            let written = api.patch_status(name, &params, &Patch::Apply(&body)).await;
            written.unwrap_or_else(|error| panic!("{}: {error}", accepted("the status")));
        }
        if deleting {
            api.delete(name, &DeleteParams::default()).await.expect("the deletion is accepted");
        }
        serde_json::to_value(api.get(name).await.expect("it is there")).expect("JSON")
    }

    /// The objects that `kubectl wait --for=condition=Ready` does not wait for: kind and name.
    pub(crate) async fn ready(&self) -> BTreeSet<(String, String)> {
        let (plane, namespace) = (self.plane, self.namespace.clone());
        let asked = tokio::task::spawn_blocking(move || {
            KINDS.map(|(kind, plural)| {
                let names =
                    plane.kubectl(&["get", plural, "-n", &namespace, "-o", "name"]).checked().expect("they are listed");
                let wait = ["wait", "-n", &namespace, "--for=condition=Ready", "--timeout=0s"];
                let met = names.lines().filter(|name| plane.kubectl(&[&wait[..], &[name]].concat()).status.success());
                met.map(|name| (kind.to_owned(), name.rsplit('/').next().unwrap_or_default().to_owned()))
                    .collect::<Vec<_>>()
            })
        });
        asked.await.expect("kubectl runs").into_iter().flatten().collect()
    }
}

/// Another spec, of the same object some edits ago.
fn before(spec: &Value, edit: i64) -> Value {
    let mut spec = spec.clone();
    match spec.get("credentials") {
        Some(_) => spec["credentials"]["secretRef"]["name"] = json!(format!("key-{edit}")),
        None => spec["pollInterval"] = json!(format!("{}m", 30 + edit)),
    }
    spec
}
