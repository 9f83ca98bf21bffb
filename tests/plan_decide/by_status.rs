//! Decisions about one item by status: every status that the cloud may show, for every wish of the user.

use std::collections::BTreeMap;

use disaster_recovery_operator::cloud::list::List;
use disaster_recovery_operator::cloud::rocketmq::ItemView;
use disaster_recovery_operator::controller::plan::decide::{Step, Verdict};
use disaster_recovery_operator::controller::plan::observe::Observed;
use disaster_recovery_operator::controller::plan::search::Search;
use serde_json::json;

use test_support::driver::plan::*;
use test_support::table::Table;

const STATUSES: [&str; 7] =
    ["absent", "CREATING", "CHANGING", "RUNNING", "MANUAL_STOPPED", "OVERDUE_STOPPED", "MIGRATING"];
const WANTED: [&str; 5] = ["Running", "Stopped", "Keep", "Prune", "deleting"];

/// The steps and the verdict by status: `AddItem Acting(Creating)`.
const TABLE: &[(&str, &str, &str)] = &[
    ("absent", "Running", "AddItem Acting(Creating)"),
    ("absent", "Stopped", "AddItem Acting(Creating)"),
    ("absent", "Keep", "InSync"),
    ("absent", "Prune", "InSync"),
    ("absent", "deleting", "DeletePlan Acting(Deleting)"),
    ("CREATING", "Running", "Waiting(Creating)"),
    ("CREATING", "Stopped", "Waiting(Creating)"),
    ("CREATING", "Keep", "InSync"),
    ("CREATING", "Prune", "Waiting(Updating)"),
    ("CREATING", "deleting", "Waiting(Deleting)"),
    ("CHANGING", "Running", "Waiting(Updating)"),
    ("CHANGING", "Stopped", "Waiting(Updating)"),
    ("CHANGING", "Keep", "InSync"),
    ("CHANGING", "Prune", "Waiting(Updating)"),
    ("CHANGING", "deleting", "Waiting(Deleting)"),
    ("RUNNING", "Running", "InSync"),
    ("RUNNING", "Stopped", "StopItem Acting(Updating)"),
    ("RUNNING", "Keep", "InSync"),
    ("RUNNING", "Prune", "StopItem Acting(Updating)"),
    ("RUNNING", "deleting", "StopItem Acting(Deleting)"),
    ("MANUAL_STOPPED", "Running", "StartItem Acting(Updating)"),
    ("MANUAL_STOPPED", "Stopped", "InSync"),
    ("MANUAL_STOPPED", "Keep", "InSync"),
    ("MANUAL_STOPPED", "Prune", "DeleteItem Acting(Updating)"),
    ("MANUAL_STOPPED", "deleting", "DeleteItem Acting(Deleting)"),
    // The operator tries it: only the answer shows whether the arrears are settled.
    ("OVERDUE_STOPPED", "Running", "StartItem Acting(Updating)"),
    ("OVERDUE_STOPPED", "Stopped", "InSync"),
    ("OVERDUE_STOPPED", "Keep", "InSync"),
    ("OVERDUE_STOPPED", "Prune", "DeleteItem Acting(Updating)"),
    ("OVERDUE_STOPPED", "deleting", "DeleteItem Acting(Deleting)"),
    ("MIGRATING", "Running", "Waiting(Updating)"),
    ("MIGRATING", "Stopped", "Waiting(Updating)"),
    ("MIGRATING", "Keep", "InSync"),
    // The operator tries it: only the answer shows whether the item can be deleted.
    ("MIGRATING", "Prune", "DeleteItem Acting(Updating)"),
    ("MIGRATING", "deleting", "DeleteItem Acting(Deleting)"),
];

/// The decision about one item in a status.
fn decision(status: &str, wanted: &str) -> String {
    let named = matches!(wanted, "Running" | "Stopped");
    let state = if wanted == "Stopped" { "Stopped" } else { "Running" };
    let mappings = if named { vec![mapping("orders", "orders", state)] } else { vec![] };
    let policy = if wanted == "Prune" { "Prune" } else { "Keep" };
    let mut world = World::in_sync(spec_with(json!({"topicMappings": [], "itemPolicy": policy})), Default::default());
    world.edit(json!({ "topicMappings": mappings }));
    world.delete_if(wanted == "deleting");
    let (mut observed, _) = world.decide();
    if status != "absent" {
        let ids: Vec<_> = world.our_plan().unwrap().instances.iter().map(|it| it.id().to_owned()).collect();
        let item: ItemView = wire(&json!({
            "itemId": 7, "itemStatus": status,
            "topics": [
                {"instanceId": ids[0], "topicName": "orders", "deliveryOrderType": "Orderly"},
                {"instanceId": ids[1], "topicName": "orders-copy", "deliveryOrderType": "Orderly"},
            ],
        }));
        let credentials = observed.credentials;
        let search = Search { plan: observed.plan, missing: None, twins: vec![], unseen_twins: vec![], complete: true };
        observed = world.scope(|scope| Observed::new(scope, observed.binding, search, List::Complete(vec![item])));
        observed.credentials = credentials;
    }
    let decision = world.decide_on(&observed);
    let mut words: Vec<String> = decision.steps.iter().map(step).collect();
    words.push(match &decision.verdict {
        Verdict::InSync => "InSync".into(),
        Verdict::Acting(work) => format!("Acting({work:?})"),
        Verdict::Waiting { work, on } if on.contains('7') && on.contains(status) => format!("Waiting({work:?})"),
        Verdict::Waiting { work, on } => format!("Waiting({work:?}) for {on}"),
        Verdict::Refused { reason, .. } => format!("Refused({reason})"),
        Verdict::Released { .. } => "Released".into(),
    });
    words.join(" ")
}

/// The name of a step, and the ID of its item where that is not 7.
fn step(step: &Step) -> String {
    match step {
        Step::UpdateItem { item_id, .. }
        | Step::StartItem { item_id, .. }
        | Step::StopItem { item_id, .. }
        | Step::DeleteItem { item_id, .. }
            if *item_id != 7 =>
        {
            format!("{}({item_id})", step.label())
        }
        _ => step.label().to_owned(),
    }
}

#[test]
fn every_item_status_has_its_decision() {
    let table: BTreeMap<_, _> = TABLE.iter().map(|(status, wanted, words)| ((*status, *wanted), *words)).collect();
    assert_eq!(table.len(), TABLE.len(), "a row is there twice");
    assert_eq!(table.len(), STATUSES.len() * WANTED.len(), "a row is missing");
    let mut cells = Table::default();
    for status in STATUSES {
        for wanted in WANTED {
            let found = decision(status, wanted);
            let expected = table.get(&(status, wanted)).copied().unwrap_or_default();
            cells.cell(format!("{status} × {wanted}"), expected, found.as_str());
        }
    }
    cells.check();
}
