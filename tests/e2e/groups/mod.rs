//! Groups of disks.

mod change;
mod crash;
mod drift;
mod drills;
mod failed;
mod failover;
mod identity;
mod life;
mod refused;
mod requests;
mod trouble;

use disaster_recovery_operator::api::disk_replica_group::{
    DiskReplicaGroupStatus, Operation, OperationType, Phase, Site, StepName,
};
use disaster_recovery_operator::simulator::{Fault, FaultKind};
use serde_json::Value;
use test_support::stage::groups::{Groups, REGIONS, pair, quick, spec};

/// The same with more.
fn spec_with(more: Value) -> Value {
    let mut spec = spec();
    for (key, value) in more.as_object().expect("fields") {
        spec[key] = value.clone();
    }
    spec
}

fn fault(action: &str, kind: FaultKind, times: Option<u32>) -> Fault {
    Fault { times, ..Fault::new(kind).of_action(action) }
}

/// The refusal of a call in the wrong state.
fn refusal(code: &str) -> FaultKind {
    FaultKind::Error { status: 403, code: code.into(), message: "Not now.".into(), pascal_case: true }
}

/// The operations of a status, the oldest first: type, target site and phase.
fn history(status: &DiskReplicaGroupStatus) -> Vec<(OperationType, Site, Phase)> {
    status.operations.iter().rev().map(|it| (it.r#type, it.target_site, it.phase)).collect()
}

/// The steps of an operation.
fn steps(operation: &Operation) -> Vec<StepName> {
    operation.steps.iter().map(|it| it.name).collect()
}
