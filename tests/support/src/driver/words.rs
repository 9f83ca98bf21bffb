//! Decisions in short words, for tables.
//!
//! `Start:Updating` is the call StartDiskReplicaGroup for the work Updating, `wait:Updating` a wait, `ok` a match, `!Drifted`
//! a refusal for that reason, `gone` and `kept` the end of an object.

use disaster_recovery_operator::controller::disk_replica_group::decide::{Action, Decision, Verdict};

/// A call.
pub fn call(action: &Action) -> String {
    match action {
        Action::CreateGroup(_) => "Create".into(),
        Action::CreatePair { pair, .. } => format!("CreatePair({pair})"),
        Action::AddPair { .. } => "AddPair".into(),
        Action::RemovePair { .. } => "RemovePair".into(),
        Action::DeletePair { .. } => "DeletePair".into(),
        Action::ModifyGroup(_) => "Modify".into(),
        Action::StartGroup { one_shot: false } => "Start".into(),
        Action::StartGroup { one_shot: true } => "OneShot".into(),
        Action::StopGroup => "Stop".into(),
        Action::FailoverGroup => "Failover".into(),
        Action::ReprotectGroup { reverse: true } => "Reverse".into(),
        Action::ReprotectGroup { reverse: false } => "Cancel".into(),
        Action::DeleteGroup => "Delete".into(),
        Action::StartDrill => "Drill".into(),
        Action::ClearDrill { .. } => "Clear".into(),
    }
}

/// A decision.
pub fn decision(decision: &Decision) -> String {
    let calls: Vec<_> = decision.steps.iter().map(|it| call(&it.action)).collect();
    let calls = calls.join("+");
    let verdict = match &decision.verdict {
        Verdict::InSync => "ok".into(),
        Verdict::Acting(work) => return format!("{calls}:{work:?}"),
        Verdict::Waiting { work, .. } => format!("wait:{work:?}"),
        Verdict::Refused { reason, .. } => format!("!{reason}"),
        Verdict::Released { left: None } => "gone".into(),
        Verdict::Released { left: Some(_) } => "kept".into(),
    };
    if calls.is_empty() { verdict } else { format!("{calls} {verdict}") }
}
