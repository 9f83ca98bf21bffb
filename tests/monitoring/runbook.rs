//! The commands of the runbook.

use disaster_recovery_operator::api::account::AlibabaCloudAccount;
use serde_json::json;

use test_support::ControlPlane;
use test_support::read;
use test_support::stage::plans::World;

/// How many fields a command of the runbook prints, all of which the kinds have that it is for: kubectl prints nothing of another one.
fn paths_are_of_the_schema(command: &str) -> usize {
    let all = command.split('{').skip(1).filter_map(|it| it.split('}').next()?.strip_prefix('.'));
    // What ranges over a list prints something of every object.
    let paths: Vec<_> = all.filter(|_| !command.contains("{range ")).collect();
    if paths.is_empty() {
        return 0;
    }
    let kinds: &[&str] = match command.split_whitespace().nth(4) {
        Some("drp") => &["disasterrecoveryplans"],
        Some("drg") => &["diskreplicagroups"],
        Some("aca") => &["alibabacloudaccounts"],
        Some("\"$KIND\"") => &["disasterrecoveryplans", "diskreplicagroups"],
        other => panic!("docs/alerts.md: {command}: what is {other:?}"),
    };
    let known = read("docs/conditions.md");
    for path in &paths {
        if let Some(condition) = path.split("@.type==\"").nth(1).and_then(|it| it.split('"').next()) {
            assert!(known.contains(&format!("\n## `{condition}`\n")), "docs/alerts.md: {command}");
        }
        // Without list filters, whose parentheses contain dots.
        let outside = path.split('[').map(|it| it.split_once(']').map_or(it, |it| it.1));
        for kind in kinds {
            let definition: serde_yaml::Value = serde_yaml::from_str(&read(format!("crds/{kind}.yaml"))).expect("YAML");
            let mut at = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            for field in outside.clone().collect::<String>().split('.') {
                let inside = if at.get("items").is_some() { &at["items"] } else { at };
                at = &inside["properties"][field];
                assert!(at.is_mapping(), "docs/alerts.md: {command}: {kind} has no {field}");
            }
        }
    }
    paths.len()
}

/// Runs every command of the runbook that reads an object, for a plan and a group of one name.
pub(crate) async fn runbook(world: &World) {
    world.of::<AlibabaCloudAccount>().create("orders", json!({ "credentials": { "environment": {} } })).await;
    let page = read("docs/alerts.md").replace("\\\n", "");
    let commands: Vec<_> = page.lines().filter(|it| it.starts_with("kubectl -n \"$NAMESPACE\"")).collect();
    assert!(commands.len() > 25, "{commands:#?}");
    let paths: usize = commands.iter().map(|it| paths_are_of_the_schema(it)).sum();
    assert!(paths > 25, "{commands:#?}");
    let plane = ControlPlane::shared();
    let path = format!("{}:{}", plane.programs().display(), std::env::var("PATH").unwrap_or_default());
    for kind in ["DisasterRecoveryPlan", "DiskReplicaGroup"] {
        for command in &commands {
            let mut bash = std::process::Command::new("bash");
            bash.args(["-c", command]).env("KUBECONFIG", plane.admin_kubeconfig()).env("PATH", &path);
            bash.env("HOME", plane.folder()).env("NAMESPACE", &world.namespace).env("KIND", kind).env("NAME", "orders");
            let output = bash.output().expect("bash runs");
            let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "docs/alerts.md: {command}: {complaint}");
            assert!(
                !command.contains("{range ") || !output.stdout.is_empty(),
                "docs/alerts.md: {command} prints nothing"
            );
        }
    }
}
