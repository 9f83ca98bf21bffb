//! What the tests of the definitions share: a control plane that serves them, and what the code defines.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use disaster_recovery_operator::api::account::AlibabaCloudAccount;
use disaster_recovery_operator::api::disk_replica_group::DiskReplicaGroup;
use disaster_recovery_operator::api::manifest::definitions;
use disaster_recovery_operator::api::plan::DisasterRecoveryPlan;
use serde_json::Value;

use crate::cases::Case;

pub(crate) use test_support::path;
use test_support::{ControlPlane, eventually_blocking};

/// A kind by its names.
pub(crate) struct Kind {
    /// The name of the definition.
    pub(crate) crd: &'static str,
    /// Its file in `crds/`.
    pub(crate) file: &'static str,
    /// Its table of manifests in this folder.
    pub(crate) cases: &'static str,
    /// The kind in manifests.
    pub(crate) name: &'static str,
    /// The kind in URLs.
    pub(crate) plural: &'static str,
    /// The kind on the command line.
    pub(crate) short: &'static str,
    /// How many fields, choices and rules it has at least, so that a test that sees none of them fails.
    pub(crate) has: Counts,
}

/// Numbers of what a definition has.
pub(crate) struct Counts {
    /// Schemas: fields and entries of lists.
    pub(crate) fields: usize,
    /// Fields with choices.
    pub(crate) choices: usize,
    /// Rules in CEL.
    pub(crate) rules: usize,
}

/// Every kind.
pub(crate) const KINDS: [Kind; 3] = [PLANS, GROUPS, ACCOUNTS];

pub(crate) const PLANS: Kind = Kind {
    crd: "disasterrecoveryplans.disasterrecovery.dev",
    file: "disasterrecoveryplans.yaml",
    cases: "plans.yaml",
    name: "DisasterRecoveryPlan",
    plural: "disasterrecoveryplans",
    short: "drp",
    has: Counts { fields: 100, choices: 12, rules: 25 },
};

pub(crate) const GROUPS: Kind = Kind {
    crd: "diskreplicagroups.disasterrecovery.dev",
    file: "diskreplicagroups.yaml",
    cases: "groups.yaml",
    name: "DiskReplicaGroup",
    plural: "diskreplicagroups",
    short: "drg",
    has: Counts { fields: 80, choices: 6, rules: 15 },
};

pub(crate) const ACCOUNTS: Kind = Kind {
    crd: "alibabacloudaccounts.disasterrecovery.dev",
    file: "alibabacloudaccounts.yaml",
    cases: "accounts.yaml",
    name: "AlibabaCloudAccount",
    plural: "alibabacloudaccounts",
    short: "aca",
    has: Counts { fields: 35, choices: 0, rules: 1 },
};

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// The manifests in a folder, by name.
pub(crate) fn manifests(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(path(folder))
        .unwrap_or_else(|error| panic!("reading {folder}: {error}"))
        .map(|entry| entry.expect("an entry of the folder").path())
        .filter(|file| file.extension().is_some_and(|suffix| suffix == "yaml"))
        .collect();
    files.sort();
    files
}

/// A control plane that serves the definitions of `crds/`.
pub(crate) fn control_plane() -> &'static ControlPlane {
    static READY: OnceLock<Result<(), String>> = OnceLock::new();
    let control_plane = ControlPlane::shared();
    let ready = READY.get_or_init(|| {
        let apply = || -> anyhow::Result<()> {
            control_plane.kubectl(&["apply", "-f", text(&path("crds"))]).checked()?;
            for Kind { crd, short, .. } in KINDS {
                let wait = ["wait", "--for=condition=Established", "--timeout=60s", &format!("crd/{crd}")];
                control_plane.kubectl(&wait).checked()?;
                // Known to the server is not yet listed to its clients.
                eventually_blocking(Duration::from_secs(60), "kubectl explains the kind", || {
                    control_plane.kubectl(&["explain", &format!("{short}.spec")]).status.success().then_some(())
                });
            }
            Ok(())
        };
        apply().map_err(|error| format!("{error:#}"))
    });
    if let Err(reason) = ready {
        panic!("the definitions are not served: {reason}");
    }
    control_plane
}

/// What kubectl prints as JSON.
#[track_caller]
pub(crate) fn kubectl_json(args: &[&str]) -> Value {
    let printed = control_plane().kubectl(args).checked().unwrap_or_else(|error| panic!("{args:?}: {error:#}"));
    serde_json::from_str(&printed).expect("JSON from kubectl")
}

/// The definition that this crate generates.
pub(crate) fn definition(kind: &Kind) -> Value {
    let definitions = definitions().expect("definitions");
    let (_, yaml) = definitions.iter().find(|(file, _)| *file == kind.file).expect("the kind is defined");
    serde_yaml::from_str(yaml).expect("YAML that is read back")
}

pub(crate) fn schema_of(definition: &Value) -> &Value {
    &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

/// Visits every schema below `schema` with its path, such as `spec.instances[].name`.
pub(crate) fn visit<'a>(at: &str, schema: &'a Value, see: &mut impl FnMut(&str, &'a Value)) {
    see(at, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let below = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        visit(&below, property, see);
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            visit(&format!("{at}[]"), &schema[key], see);
        }
    }
}

/// Runs `check` on every case of `cases`, a few at once, and prints a table of those that failed.
pub(crate) fn for_all(cases: &[(&'static str, Case)], check: impl Fn(&Case) -> Result<(), String> + Sync) {
    let failures = Mutex::new(String::new());
    std::thread::scope(|scope| {
        for some in cases.chunks(cases.len().div_ceil(4).max(1)) {
            let (check, failures) = (&check, &failures);
            scope.spawn(move || {
                for (table, case) in some {
                    if let Err(answer) = check(case) {
                        let expected = case.refusal.as_deref().unwrap_or("accepted");
                        let row = format!("{table} {}\n  expected  {expected}\n  answer    {answer}\n", case.name);
                        failures.lock().expect("no check panicked").push_str(&row);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no check panicked");
    assert!(failures.is_empty(), "\n{failures}");
}

/// An object that the server accepts and the operator cannot read would not be served.
pub(crate) fn understood(object: &str) -> Result<(), String> {
    let day = Duration::from_secs(86400);
    let within = |what: &str, found: Duration, least: Duration, most: Duration| {
        (least..=most).contains(&found).then_some(()).ok_or_else(|| format!("{what} is {found:?}"))
    };
    let second = Duration::from_secs(1);
    let value: Value = serde_json::from_str(object).map_err(|error| error.to_string())?;
    match value["kind"].as_str() {
        Some("DisasterRecoveryPlan") => {
            let object: DisasterRecoveryPlan = serde_json::from_str(object).map_err(|error| error.to_string())?;
            within("recoveryPointObjective", object.spec.recovery_point_objective.into(), second, 7 * day)
        }
        Some("DiskReplicaGroup") => {
            let object: DiskReplicaGroup = serde_json::from_str(object).map_err(|error| error.to_string())?;
            let quarter = Duration::from_secs(900);
            within("recoveryPointObjective", object.spec.recovery_point_objective.into(), quarter, quarter)?;
            if let Some(drill) = object.spec.drill {
                within("keepFor", drill.keep_for.into(), second, 7 * day)?;
            }
            object.spec.poll_interval.map_or(Ok(()), |found| within("pollInterval", found.into(), second, day))
        }
        Some("AlibabaCloudAccount") => {
            let spec = serde_json::from_str::<AlibabaCloudAccount>(object).map_err(|error| error.to_string())?.spec;
            let from = spec.credentials;
            let sources =
                [from.secret_ref.is_some(), from.oidc.is_some(), from.ecs_role.is_some(), from.environment.is_some()];
            if sources.into_iter().filter(|source| *source).count() != 1 {
                return Err(format!("which source is it of {sources:?}?"));
            }
            let rate = spec.budget.map_or(135, |budget| budget.requests_per_second);
            if (1..=150).contains(&rate) { Ok(()) } else { Err(format!("requestsPerSecond is {rate}")) }
        }
        other => Err(format!("unknown kind {other:?}")),
    }
}
