//! What `kubectl get` shows of each kind.

use serde_json::{Value, json};

use crate::common::{control_plane, path, text};

/// A condition of that type and status.
fn condition(kind: &str, status: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": "Because", "message": "", "lastTransitionTime": "2026-11-22T12:00:00Z",
    })
}

fn set_status(kind: &str, name: &str, namespace: &str, status: &Value) {
    let status = status.to_string();
    let patch = ["patch", kind, name, "-n", namespace, "--subresource=status", "--type=merge", "-p", &status];
    control_plane().kubectl(&patch).checked().expect("a status");
}

/// The table that kubectl prints, and its fields by row. For the category, kubectl prefixes each name with the kind.
fn table(args: &[&str]) -> (&'static str, Vec<Vec<&'static str>>) {
    let table: &'static str = control_plane().kubectl(args).checked().expect("a table").leak();
    let rows =
        table.lines().map(|line| line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect();
    (table, rows)
}

#[test]
fn kubectl_get_prints_columns_of_plans() {
    let control_plane = control_plane();
    let namespace = control_plane.namespace("columns");
    let sample = path("deploy/samples/01-one-way.yaml");
    control_plane.kubectl(&["apply", "-n", &namespace, "-f", text(&sample)]).checked().expect("applied");
    // The category shows the sample's account too.
    control_plane.kubectl(&["delete", "-n", &namespace, "aca", "--all"]).checked().expect("deleted");
    let status = json!({ "status": {
        "planId": "1300000016",
        "planStatus": "RUNNING",
        "items": "1/2",
        "checkpoints": {
            "total": 2, "behind": 1, "neverSynced": 0, "maxLagSeconds": 120, "maxLag": "2m",
            "lastSyncTime": "2026-11-22T12:00:00Z",
        },
        "conditions": [condition("Ready", "True"), condition("Protected", "False")],
    }});
    set_status("drp", "orders", &namespace, &status);

    let columns = "TYPE | PLAN ID | STATUS | ITEMS | MAX LAG | READY | PROTECTED | AGE";
    for (what, more, values) in [("drp", "", 8), ("dr", "", 8), ("drp", " | REGION | LAST SYNC", 10)] {
        let output = if more.is_empty() { "" } else { "wide" };
        let (table, rows) = table(&["get", what, "-n", &namespace, "-o", output]);
        assert_eq!(rows.len(), 2, "{table}");
        assert_eq!(rows[0].join(" | "), format!("NAME | {columns}{more}"), "{table}");
        let prefix = if what == "dr" { "disasterrecoveryplan.disasterrecovery.dev/" } else { "" };
        let shown = "orders | ACTIVE_PASSIVE | 1300000016 | RUNNING | 1/2 | 2m | True | False";
        assert_eq!(rows[1][..8].join(" | "), format!("{prefix}{shown}"));
        assert_eq!(rows[1].len(), values + 1, "{table}");
        assert!(more.is_empty() || rows[1][9] == "cn-hangzhou", "{table}");
    }
}

#[test]
fn kubectl_get_prints_columns_of_groups() {
    let control_plane = control_plane();
    let namespace = control_plane.namespace("group-columns");
    let sample = path("deploy/samples/07-disk-group.yaml");
    control_plane.kubectl(&["apply", "-n", &namespace, "-f", text(&sample)]).checked().expect("applied");
    let operation = |number, kind, phase| {
        json!({
            "number": number, "type": kind, "generation": 2, "phase": phase, "targetSite": "Destination",
            "startedAt": "2020-01-01T00:00:00Z",
        })
    };
    let status = json!({ "status": {
        "replicaGroupId": "pg-one",
        "groupStatus": "normal",
        "activeSite": "Destination",
        "direction": "Reverse",
        "pairsInGroup": "2/2",
        "recoveryPoint": "2020-01-01T00:00:00Z",
        "operations": [operation(2, "Reprotect", "Running"), operation(1, "Failover", "Succeeded")],
        "conditions": [condition("Ready", "True"), condition("Protected", "False"), condition("FailoverReady", "Unknown")],
    }});
    set_status("drg", "orders-db", &namespace, &status);

    let columns =
        "ACTIVE SITE | DIRECTION | STATUS | PAIRS | RECOVERY POINT | READY | PROTECTED | FAILOVER READY | AGE";
    for (what, more, values) in [("drg", "", 9), ("dr", "", 9), ("drg", " | GROUP ID | OPERATION | PHASE", 12)] {
        let output = if more.is_empty() { "" } else { "wide" };
        let (table, rows) = table(&["get", what, "-n", &namespace, "-o", output]);
        assert_eq!(rows.len(), 2, "{table}");
        assert_eq!(rows[0].join(" | "), format!("NAME | {columns}{more}"), "{table}");
        let prefix = if what == "dr" { "diskreplicagroup.disasterrecovery.dev/" } else { "" };
        let before = "orders-db | Destination | Reverse | normal | 2/2";
        assert_eq!(rows[1][..5].join(" | "), format!("{prefix}{before}"), "{table}");
        assert!(rows[1][5].contains('y'), "the age of the recovery point, in years: {table}");
        assert_eq!(rows[1][6..9].join(" | "), "True | False | Unknown", "{table}");
        assert_eq!(rows[1].len(), values + 1, "{table}");
        assert!(more.is_empty() || rows[1][10..].join(" | ") == "pg-one | Reprotect | Running", "{table}");
    }
}

#[test]
fn kubectl_get_prints_columns_of_accounts() {
    let control_plane = control_plane();
    let namespace = control_plane.namespace("account-columns");
    let sample = path("deploy/samples/10-account-secret.yaml");
    control_plane.kubectl(&["apply", "-n", &namespace, "-f", text(&sample)]).checked().expect("applied");
    let status = json!({ "status": {
        "identity": "acs:ram::1234567890123456:role/orders",
        "expiration": "2026-11-22T13:00:00Z",
        "usedBy": { "disasterRecoveryPlans": 3, "diskReplicaGroups": 2 },
        "conditions": [condition("Ready", "False"), condition("Stalled", "True")],
    }});
    set_status("aca", "production", &namespace, &status);

    let columns = "IDENTITY | READY | REASON | AGE";
    for (what, more) in [("aca", ""), ("dr", ""), ("aca", " | PLANS | GROUPS | EXPIRES")] {
        let output = if more.is_empty() { "" } else { "wide" };
        let (table, rows) = table(&["get", what, "-n", &namespace, "-o", output]);
        assert_eq!(rows.len(), 2, "{table}");
        assert_eq!(rows[0].join(" | "), format!("NAME | {columns}{more}"), "{table}");
        let prefix = if what == "dr" { "alibabacloudaccount.disasterrecovery.dev/" } else { "" };
        let shown = "production | acs:ram::1234567890123456:role/orders | False | Because";
        assert_eq!(rows[1][..4].join(" | "), format!("{prefix}{shown}"), "{table}");
        let wide = rows[1][5..].join(" | ");
        assert_eq!(wide, if more.is_empty() { "" } else { "3 | 2 | 2026-11-22T13:00:00Z" }, "{table}");
    }
}

#[test]
fn the_category_shows_every_kind() {
    let control_plane = control_plane();
    let namespace = control_plane.namespace("every-kind");
    for sample in ["01-one-way.yaml", "07-disk-group.yaml", "10-account-secret.yaml"] {
        let sample = path("deploy/samples").join(sample);
        control_plane.kubectl(&["apply", "-n", &namespace, "-f", text(&sample)]).checked().expect("applied");
    }
    let (table, rows) = table(&["get", "dr", "-n", &namespace]);
    let names: Vec<_> = rows.iter().filter_map(|row| row.first().copied()).filter(|name| *name != "NAME").collect();
    let wanted = [
        "alibabacloudaccount.disasterrecovery.dev/production",
        "disasterrecoveryplan.disasterrecovery.dev/orders",
        "diskreplicagroup.disasterrecovery.dev/orders-db",
    ];
    assert_eq!(names, wanted, "{table}");
}
