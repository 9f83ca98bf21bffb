//! Statuses that the operator does not write: the script holds to its promises there too, and never fails.

use serde_json::{Value, json};

use crate::judge::judge;
use crate::states::{self, condition};

/// A change of an object, by name.
type Change = (&'static str, fn(&mut Value));

const CHANGES: &[Change] = &[
    ("as it is", |_| {}),
    ("no status", |it| drop(it.as_object_mut().and_then(|it| it.remove("status")))),
    ("status is null", |it| it["status"] = Value::Null),
    ("status is empty", |it| it["status"] = json!({})),
    ("status is a list", |it| it["status"] = json!([])),
    ("status is a text", |it| it["status"] = json!("Ready")),
    ("no conditions", |it| drop(it["status"].as_object_mut().and_then(|it| it.remove("conditions")))),
    ("conditions are null", |it| it["status"]["conditions"] = Value::Null),
    ("conditions are a map", |it| it["status"]["conditions"] = json!({ "type": "Ready", "status": "True" })),
    ("conditions are texts", |it| it["status"]["conditions"] = json!(["Ready", null, 3, {}])),
    ("a condition is null", |it| {
        let all = it["status"]["conditions"].as_array_mut();
        all.into_iter().flatten().take(1).for_each(|it| *it = Value::Null);
    }),
    ("no messages", |it| each(it, |it| drop(it.remove("message")))),
    ("messages are null", |it| each(it, |it| drop(it.insert("message".into(), Value::Null)))),
    ("messages are numbers", |it| each(it, |it| drop(it.insert("message".into(), json!(1))))),
    ("no reasons", |it| each(it, |it| drop(it.remove("reason")))),
    ("no generations", |it| each(it, |it| drop(it.remove("observedGeneration")))),
    ("everything is true", |it| each(it, |it| drop(it.insert("status".into(), json!("True"))))),
    ("everything is false", |it| each(it, |it| drop(it.insert("status".into(), json!("False"))))),
    ("everything is unknown", |it| each(it, |it| drop(it.insert("status".into(), json!("Unknown"))))),
    ("everything is nothing", |it| each(it, |it| drop(it.remove("status")))),
    ("nothing observed", |it| drop(it["status"].as_object_mut().and_then(|it| it.remove("observedGeneration")))),
    ("observed is null", |it| it["status"]["observedGeneration"] = Value::Null),
    ("observed is a text", |it| it["status"]["observedGeneration"] = json!("1")),
    ("observed is older", |it| it["status"]["observedGeneration"] = json!(0)),
    ("a newer spec", |it| it["metadata"]["generation"] = json!(7)),
    ("no generation", |it| drop(it["metadata"].as_object_mut().and_then(|it| it.remove("generation")))),
    ("no spec", |it| drop(it.as_object_mut().and_then(|it| it.remove("spec")))),
    ("spec is null", |it| it["spec"] = Value::Null),
    ("suspended now", |it| it["spec"]["suspend"] = json!(true)),
    ("stalled too", |it| more(it, "Stalled")),
    ("reconciling too", |it| more(it, "Reconciling")),
    ("ready all the same", |it| {
        let generation = it["metadata"]["generation"].clone();
        let ready = |it: &mut serde_json::Map<String, Value>| {
            if it["type"] == "Ready" {
                it.insert("status".into(), json!("True"));
                it.insert("observedGeneration".into(), generation.clone());
            }
        };
        each(it, ready);
    }),
];

fn each(object: &mut Value, change: impl Fn(&mut serde_json::Map<String, Value>)) {
    let all = object["status"]["conditions"].as_array_mut().into_iter().flatten();
    all.filter_map(Value::as_object_mut).for_each(change);
}

fn more(object: &mut Value, kind: &str) {
    let generation = object["metadata"]["generation"].clone();
    let condition =
        json!({ "type": kind, "status": "True", "reason": "Some", "message": "m", "observedGeneration": generation });
    if let Some(all) = object["status"]["conditions"].as_array_mut() {
        all.retain(|it| it["type"] != kind);
        all.push(condition);
    }
}

#[test]
fn malformed_status_never_fails_the_script() {
    let mut objects = vec![];
    for state in states::made().values() {
        for (what, change) in CHANGES {
            let mut object = state.clone();
            change(&mut object);
            objects.push((*what, object));
        }
    }
    assert!(objects.len() > 2000, "{}", objects.len());
    let verdicts = judge(objects.iter().map(|(_, object)| object));
    let mut healthy = 0;
    for ((what, object), verdict) in objects.iter().zip(&verdicts) {
        let script = &verdict.script;
        let told = || format!("{what}: {verdict:?} of {object:#}");
        assert!(["Healthy", "Progressing", "Degraded", "Suspended"].contains(&script.status.as_str()), "{}", told());
        assert!(!script.message.is_empty(), "{}", told());
        let generation = &object["metadata"]["generation"];
        let current = generation.is_i64() && object["status"]["observedGeneration"] == *generation;
        let deleting = object["metadata"].get("deletionTimestamp").is_some();
        let suspended = object["spec"]["suspend"] == true
            || condition(object, "Synced").is_some_and(|it| it["reason"] == "Suspended");
        let holds = |kind: &str| {
            condition(object, kind).is_some_and(|it| it["status"] == "True" && it["observedGeneration"] == *generation)
        };
        let may = current && !deleting && !suspended && holds("Ready") && !holds("Stalled") && !holds("Reconciling");
        assert_eq!(script.status == "Healthy", may, "{}", told());
        if !current && !deleting {
            assert_eq!(script.status, "Progressing", "{}", told());
        }
        if deleting {
            assert_eq!(verdict.argocd.status, "Progressing", "{}", told());
        } else {
            assert_eq!(verdict.argocd, verdict.script, "{}", told());
        }
        healthy += usize::from(may);
    }
    assert!(healthy > 50, "{healthy} are healthy");
}
