//! Objects that are kept in a repository: applying the same manifest repeatedly has no conflict, finds no difference and keeps
//! the operator's own fields.

use std::io::Write;
use std::process::{Command, Stdio};

use disaster_recovery_operator::api::account::AlibabaCloudAccount;
use disaster_recovery_operator::api::disk_replica_group::DiskReplicaGroup;
use disaster_recovery_operator::api::{FINALIZER, GROUP_ID_ANNOTATION, IN_USE_FINALIZER, PLAN_ID_ANNOTATION};
use disaster_recovery_operator::controller::FIELD_MANAGER;
use disaster_recovery_operator::simulator::Config;
use disaster_recovery_operator::simulator::model::Rules;
use serde_json::{Value, json};

use test_support::stage::groups;
use test_support::stage::plans::{World, one_way};
use test_support::{ControlPlane, Output};

/// How Argo CD applies with ServerSideApply=true; Flux does the same under a name of its own.
const BY_THE_SERVER: &[&str] = &["--server-side", "--field-manager=argocd-controller"];
/// How kubectl applies, and Argo CD without that option.
const BY_THE_CLIENT: &[&str] = &[];

/// Each kind: its plural, the name of its object, its finalizer and the annotation with the cloud's ID.
const KEPT: [(&str, &str, &str, Option<&str>); 3] = [
    ("alibabacloudaccounts", "main", IN_USE_FINALIZER, None),
    ("disasterrecoveryplans", "orders", FINALIZER, Some(PLAN_ID_ANNOTATION)),
    ("diskreplicagroups", "db", FINALIZER, Some(GROUP_ID_ANNOTATION)),
];

/// What is in the repository: no field that could be left out.
fn repository() -> Value {
    let object = |kind: &str, name: &str, spec: Value| {
        let (labels, annotations) = (json!({ "team": "messaging" }), json!({ "example.com/owner": "messaging" }));
        let metadata = json!({ "name": name, "labels": labels, "annotations": annotations });
        json!({ "apiVersion": "disasterrecovery.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec })
    };
    let mut plan = one_way(&["orders"]);
    plan["accountRef"] = json!({ "name": "main" });
    let account = json!({ "credentials": { "secretRef": { "name": "cloud" } } });
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        object("AlibabaCloudAccount", "main", account),
        object("DisasterRecoveryPlan", "orders", plan),
        object("DiskReplicaGroup", "db", groups::spec()),
    ]})
}

struct Repository {
    world: World,
    how: &'static [&'static str],
}

impl Repository {
    async fn new(how: &'static [&'static str]) -> Self {
        let rules = Rules { sync_interval_ms: 100, ..Rules::default() };
        let disk_rules = groups::quick();
        let world =
            World::on(Config { rules, disk_rules, ebs_rate_limit_per_second: 100_000, ..Config::default() }).await;
        Self { world, how }
    }

    fn kubectl(&self, command: &[&str], how: &[&str], manifest: &Value) -> Output {
        let target = ["-n", &self.world.namespace, "-f", "-"];
        let args = [command, how, &target].concat();
        tokio::task::block_in_place(|| ControlPlane::shared().kubectl_stdin(&args, &manifest.to_string()))
    }

    /// Applies without --force-conflicts.
    fn apply(&self, manifest: &Value) {
        self.kubectl(&["apply"], self.how, manifest).checked().expect("no conflict");
    }

    /// Asserts that the repository and the cluster do not differ.
    fn assert_in_sync(&self, manifest: &Value) {
        let output = self.kubectl(&["diff"], self.how, manifest);
        assert_eq!(output.status.code(), Some(0), "out of sync: {}{}", output.stdout, output.stderr);
    }

    /// What is in the cluster, as [`KEPT`].
    fn live(&self) -> [Value; 3] {
        KEPT.map(|(plural, name, ..)| {
            let get = ["get", plural, name, "-n", &self.world.namespace, "-o", "json", "--show-managed-fields"];
            let found = tokio::task::block_in_place(|| ControlPlane::shared().kubectl(&get));
            serde_json::from_str(&found.checked().expect("it is there")).expect("JSON")
        })
    }

    /// Whether Argo CD shows each object as OutOfSync, by its own comparison.
    fn out_of_sync(&self, manifest: &Value) -> Vec<bool> {
        let pairs = manifest["items"].as_array().expect("three objects").iter().zip(self.live());
        let pairs = pairs.map(|(config, live)| {
            let mut config = config.clone();
            config["metadata"]["namespace"] = json!(self.world.namespace);
            json!({ "config": config, "live": live }).to_string()
        });
        let pairs: Vec<_> = pairs.collect();
        let found = tokio::task::block_in_place(|| compared(&pairs.join("\n")));
        let how = if self.how == BY_THE_SERVER { "byTheServer" } else { "byTheClient" };
        found.iter().map(|it| it[how].as_bool().expect("whether they differ")).collect()
    }

    async fn ready(&self) {
        self.world.of::<AlibabaCloudAccount>().condition("main", "Ready", "True", "Available").await;
        self.world.ready("orders").await;
        self.world.of::<DiskReplicaGroup>().ready("db").await;
    }

    fn versions(&self) -> [Value; 3] {
        self.live().map(|mut it| it["metadata"]["resourceVersion"].take())
    }
}

/// Argo CD's own comparison of pairs of manifest and object.
fn compared(pairs: &str) -> Vec<Value> {
    let build = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/argocd/build.sh");
    let built = Command::new(build).stderr(Stdio::inherit()).output().expect("it is run");
    let program = String::from_utf8(built.stdout).expect("a path");
    let mut child = Command::new(program.trim_end())
        .arg("diff")
        .arg(ControlPlane::shared().admin_kubeconfig())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    // It reads all of them before it fills a pipe.
    child.stdin.take().expect("stdin").write_all(pairs.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", output.status);
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Asserts the fields that the operator wrote into each object, and that it owns no other.
fn assert_marked(live: &[Value; 3]) {
    for (object, (plural, _, finalizer, annotation)) in live.iter().zip(KEPT) {
        let metadata = &object["metadata"];
        assert_eq!(metadata["finalizers"], json!([finalizer]), "{plural}");
        assert!(annotation.is_none_or(|it| metadata["annotations"][it].is_string()), "{plural}: {metadata:#}");
        assert_eq!(metadata["annotations"]["example.com/owner"], "messaging", "{plural}");
        assert!(object["status"]["conditions"].is_array(), "{plural}: {object:#}");
        let claims = metadata["managedFields"].as_array().expect("managed fields");
        let fields = |value: &Value| {
            let names = value.as_object().into_iter().flatten().map(|it| it.0.clone());
            names.filter(|it| it != ".").collect::<Vec<_>>()
        };
        let mut found = 0;
        for claim in claims.iter().filter(|it| it["manager"] == FIELD_MANAGER) {
            found += 1;
            let claimed = &claim["fieldsV1"];
            if claim["subresource"] == "status" {
                assert_eq!(fields(claimed), ["f:status"], "{plural}: {claim:#}");
                continue;
            }
            assert_eq!(fields(claimed), ["f:metadata"], "{plural}: {claim:#}");
            for field in fields(&claimed["f:metadata"]) {
                assert!(["f:annotations", "f:finalizers"].contains(&field.as_str()), "{plural}: {claim:#}");
            }
            for annotation in fields(&claimed["f:metadata"]["f:annotations"]) {
                assert!(annotation.starts_with("f:disasterrecovery.dev/"), "{plural}: {claim:#}");
            }
        }
        assert_eq!(found, 2, "{plural}: its status and its marks: {claims:#?}");
    }
}

/// Applies, lets the operator work, applies again in every situation, and changes the repository.
async fn story(how: &'static [&'static str]) {
    let it = Repository::new(how).await;
    let mut manifest = repository();
    // The defaults of the definitions, before any operator saw an object.
    let dry = it.kubectl(&["create", "--dry-run=server", "-o", "json"], &[], &manifest).checked().expect("accepted");
    let dry: Vec<Value> = serde_json::Deserializer::from_str(&dry).into_iter().collect::<Result<_, _>>().expect("JSON");
    assert_eq!(dry.len(), 3);
    it.apply(&manifest);
    it.assert_in_sync(&manifest);

    let operator = it.world.operator().await;
    it.ready().await;
    for _ in 0..3 {
        it.apply(&manifest);
        it.assert_in_sync(&manifest);
    }
    operator.stop().await;
    let before = it.versions();
    it.apply(&manifest);
    it.assert_in_sync(&manifest);
    assert_eq!(it.versions(), before, "nothing is written for what is applied already");
    assert_eq!(it.out_of_sync(&manifest), [false; 3]);
    let live = it.live();
    assert_marked(&live);
    for (object, new) in live.iter().zip(&dry) {
        assert_eq!(object["spec"], new["spec"], "the operator fills nothing in");
        assert_eq!(object["metadata"]["generation"], 1, "nor does it change anything");
    }

    manifest["items"][0]["spec"]["budget"] = json!({ "requestsPerSecond": 60 });
    manifest["items"][1]["spec"]["recoveryPointObjective"] = json!("10m");
    manifest["items"][2]["spec"]["pollInterval"] = json!("30s");
    assert_eq!(it.out_of_sync(&manifest), [true; 3], "a commit is a difference");
    it.apply(&manifest);
    assert_marked(&it.live());
    let operator = it.world.operator().await;
    it.ready().await;
    it.apply(&manifest);
    it.assert_in_sync(&manifest);
    operator.stop().await;
    assert_eq!(it.out_of_sync(&manifest), [false; 3]);
    let live = it.live();
    assert_marked(&live);
    assert_eq!(live.map(|mut it| it["metadata"]["generation"].take()), [json!(2), json!(2), json!(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_side_apply_has_no_conflict_or_difference() {
    story(BY_THE_SERVER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_side_apply_has_no_difference() {
    story(BY_THE_CLIENT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn switch_to_server_side_apply_has_no_conflict() {
    let it = Repository::new(BY_THE_SERVER).await;
    let manifest = repository();
    it.kubectl(&["apply"], BY_THE_CLIENT, &manifest).checked().expect("applied");
    let operator = it.world.operator().await;
    it.ready().await;
    it.apply(&manifest);
    it.assert_in_sync(&manifest);
    operator.stop().await;
    let before = it.versions();
    it.apply(&manifest);
    assert_eq!(it.versions(), before);
    assert_marked(&it.live());
}
