//! The table of states.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::judge::{Verdict, judge, path};
use crate::states::{self, Expected, condition};

/// What a verdict and `kubectl wait` come to, as a file has it.
fn expected(verdict: &Verdict, ready: bool) -> Expected {
    Expected {
        argocd: verdict.argocd.status.clone(),
        message: verdict.argocd.message.clone(),
        script: (verdict.script.status != verdict.argocd.status).then(|| verdict.script.status.clone()),
        kstatus: verdict.kstatus.status.clone(),
        ready,
    }
}

/// Whether the three say the same: kstatus has no word for what is suspended, and Argo CD none for what ends.
fn agree(it: &Expected) -> bool {
    matches!(
        (it.argocd.as_str(), it.kstatus.as_str(), it.ready),
        ("Healthy", "Current", true)
            | ("Degraded", "Failed", false)
            | ("Progressing" | "Suspended", "InProgress", false)
            | ("Progressing", "Terminating", false)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_cd_kstatus_and_kubectl_wait_agree() {
    // The states have a runtime of their own, with simulated time.
    let made = tokio::task::spawn_blocking(states::made).await.expect("the states");
    let cluster = Cluster::new().await;
    let mut live = vec![];
    for (file, state) in &made {
        live.push(cluster.put(file, state).await);
    }
    let ready = cluster.ready().await;
    let objects: Vec<&Value> = made.values().chain(&live).collect();
    let verdicts = judge(objects);
    let (of_files, of_live) = verdicts.split_at(made.len());
    let update = std::env::var_os("UPDATE_STATES").is_some();
    for ((file, state), verdict) in made.iter().zip(of_files).filter(|_| update) {
        let text = |at: &Value| at.as_str().unwrap_or_default().to_owned();
        let is_ready = ready.contains(&(text(&state["kind"]), text(&state["metadata"]["name"])));
        states::keep(file, &expected(verdict, is_ready), state);
    }

    let kept = states::kept();
    let names = |files: &mut dyn Iterator<Item = &std::path::PathBuf>| files.cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&mut kept.keys()), names(&mut made.keys()), "a file for each state: UPDATE_STATES=1 writes them");
    let mut wrong = vec![];
    for ((((file, (wanted, object)), state), live), (of_file, of_live)) in
        kept.iter().zip(made.values()).zip(&live).zip(of_files.iter().zip(of_live))
    {
        let name = file.display();
        if object != state {
            wrong.push(format!("{name} is not what the operator writes: {state:#}"));
        }
        // A default of the definition may be added, and the time of a deletion is the server's.
        if live["status"] != state["status"] || live["metadata"]["generation"] != state["metadata"]["generation"] {
            wrong.push(format!("{name} is kept otherwise: {live:#}"));
        }
        if of_file != of_live {
            wrong.push(format!("{name}: {of_file:?} of the file, {of_live:?} of the object"));
        }
        let text = |at: &Value| at.as_str().unwrap_or_default().to_owned();
        let is_ready = ready.contains(&(text(&state["kind"]), text(&state["metadata"]["name"])));
        let mut found = expected(of_live, is_ready);
        if !wanted.message.is_empty() && found.message.contains(&wanted.message) {
            found.message.clone_from(&wanted.message);
        }
        if found != *wanted {
            wrong.push(format!("{name}: {found:?}, not {wanted:?}"));
        }
        if !agree(&found) {
            wrong.push(format!("{name}: they do not agree: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The rows of a table of docs/conditions.md: reason, kinds, status.
fn rows(heading: &str, type_: &str) -> Vec<[String; 4]> {
    let page = std::fs::read_to_string(path("docs/conditions.md")).expect("the page");
    let (_, section) = page.split_once(&format!("\n{heading}\n")).expect("the section");
    let section = section.split("\n#").next().unwrap_or_default();
    let mut found = vec![];
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.split('|').map(|it| it.trim().trim_matches('`').to_owned()).collect();
        let kinds: &[&str] = match cells[2].as_str() {
            "drp" => &["DisasterRecoveryPlan"],
            "drg" => &["DiskReplicaGroup"],
            "both" => &["DisasterRecoveryPlan", "DiskReplicaGroup"],
            "aca" => &["AlibabaCloudAccount"],
            other => panic!("whose is {other}?"),
        };
        found.extend(
            kinds.iter().map(|kind| [(*kind).to_owned(), type_.to_owned(), cells[3].clone(), cells[1].clone()]),
        );
    }
    found
}

#[test]
fn every_documented_reason_has_a_state() {
    let documented = [rows("## `Ready`", "Ready"), rows("### Of an account", "Ready"), rows("## `Synced`", "Synced")];
    let documented: BTreeSet<_> = documented.concat().into_iter().collect();
    let text = |at: &Value| at.as_str().unwrap_or_default().to_owned();
    let mut written = BTreeSet::new();
    for state in states::made().values() {
        for type_ in ["Ready", "Synced"] {
            if let Some(found) = condition(state, type_) {
                written.insert([
                    text(&state["kind"]),
                    type_.to_owned(),
                    text(&found["status"]),
                    text(&found["reason"]),
                ]);
            }
        }
    }
    assert!(documented.len() > 60, "{}", documented.len());
    assert_eq!(
        documented.difference(&written).collect::<Vec<_>>(),
        Vec::<&[String; 4]>::new(),
        "documented, and no state"
    );
    assert_eq!(
        written.difference(&documented).collect::<Vec<_>>(),
        Vec::<&[String; 4]>::new(),
        "a state, and not documented"
    );
}
