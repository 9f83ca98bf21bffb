//! The tables of docs/benchmarks.md.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::figures::{Edits, Figures};
use super::load::Kind;

/// One row: its name, and its cell of each benchmark.
type Row = (&'static str, fn(&Figures) -> Option<String>);

const CREATION: &[Row] = &[
    ("kube-apiserver accepted all objects", |it| Some(seconds(it.created.accepted_s))),
    ("all of them in the cloud", |it| Some(seconds(it.created.in_cloud_s))),
    ("all `Ready`", |it| Some(seconds(it.created.ready_s))),
    ("all `Protected`", |it| Some(seconds(it.created.protected_s))),
    ("Kubernetes writes an object", |it| Some(per(it, it.created.kubernetes_writes))),
    ("Kubernetes GETs an object", |it| Some(per(it, it.created.kubernetes_gets))),
    ("cloud calls an object", |it| Some(per(it, it.created.cloud.all()))),
    ("cloud calls refused", |it| Some(it.created.cloud.refused().to_string())),
    ("CPU time of the operator", |it| Some(seconds(it.created.operator_cpu_s))),
    ("CPU time of kube-apiserver", |it| Some(seconds(it.created.apiserver_cpu_s))),
];

const REST: &[Row] = &[
    ("memory (RSS)", |it| Some(mebibytes(it.rest.as_ref()?.resident_kib))),
    ("memory, peak since the start", |it| Some(mebibytes(it.rest.as_ref()?.peak_kib))),
    ("CPU of one core", |it| Some(format!("{:.1} %", it.rest.as_ref()?.operator_cpu_percent))),
    ("Kubernetes writes a minute", |it| Some(number(it.rest.as_ref()?.kubernetes_writes_per_minute))),
    ("cloud calls an object and hour", |it| Some(number(it.rest.as_ref()?.cloud_calls_per_object_and_hour))),
    ("calls for plan drift an hour", |it| {
        let plans = it.kind == Kind::Plans;
        plans.then(|| Some(format!("{:.0}", it.rest.as_ref()?.plan_drift_calls_per_hour)))?
    }),
    ("cloud calls refused", |it| Some(it.rest.as_ref()?.refused.to_string())),
    ("length of the measurement", |it| Some(format!("{:.0} s", it.rest.as_ref()?.seconds))),
];

const EDITS: &[Row] = &[
    ("median", |it| Some(milliseconds(it.edits.as_ref()?, |it| it.p50_s))),
    ("99 of 100", |it| Some(milliseconds(it.edits.as_ref()?, |it| it.p99_s))),
];

const RESTART: &[Row] = &[
    ("all objects served again", |it| Some(seconds(it.restart.as_ref()?.served_s))),
    ("Kubernetes GETs an object", |it| Some(per(it, it.restart.as_ref()?.kubernetes_gets))),
    ("Kubernetes writes an object", |it| Some(per(it, it.restart.as_ref()?.kubernetes_writes))),
    ("cloud calls an object", |it| Some(per(it, it.restart.as_ref()?.cloud.all()))),
    ("memory, peak since the start", |it| Some(mebibytes(it.restart.as_ref()?.peak_kib))),
    ("edits directly after, median", |it| Some(milliseconds(&it.restart.as_ref()?.edits, |it| it.p50_s))),
    ("edits directly after, slowest", |it| Some(milliseconds(&it.restart.as_ref()?.edits, |it| it.max_s))),
];

const SECTIONS: [(&str, &[Row]); 4] = [
    ("New objects, from the first one's creation", CREATION),
    ("At rest", REST),
    ("From an edit until its first changing call", EDITS),
    ("A new leader, from its lease", RESTART),
];

/// All tables, with the machines that they are of.
#[must_use]
pub fn markdown(all: &[Figures]) -> String {
    let mut text = String::new();
    let machines: BTreeSet<_> = all.iter().map(machine).collect();
    for machine in machines {
        text += &format!("{machine}\n\n");
    }
    for (title, rows) in SECTIONS {
        text += &format!("**{title}**\n\n");
        table(&mut text, all, "", rows.iter().map(|(name, cell)| ((*name).to_owned(), cells(all, cell))));
        text.push('\n');
    }
    text += "**Cloud calls of one object in an hour at rest, by action**\n\n";
    let counts = |it: &Figures| it.rest.as_ref().map(|rest| (rest.cloud.clone(), rest.seconds));
    let actions: BTreeSet<_> = all.iter().filter_map(counts).flat_map(|it| it.0.0.into_keys()).collect();
    let rows = actions.into_iter().map(|action| {
        let calls = |it: &Figures| {
            let rest = it.rest.as_ref()?;
            let an_hour = rest.cloud.of(&action).calls as f64 * 3600.0 / rest.seconds;
            Some(number(an_hour / it.objects as f64))
        };
        (format!("`{action}`"), cells(all, calls))
    });
    table(&mut text, all, "action", rows);
    text
}

fn cells(all: &[Figures], cell: impl Fn(&Figures) -> Option<String>) -> Vec<String> {
    all.iter().map(|it| cell(it).unwrap_or_else(|| "–".to_owned())).collect()
}

fn table(text: &mut String, all: &[Figures], corner: &str, rows: impl Iterator<Item = (String, Vec<String>)>) {
    let heads: Vec<_> = all.iter().map(head).collect();
    *text += &format!("| {corner} | {} |\n|---|{}\n", heads.join(" | "), "--:|".repeat(heads.len()));
    for (name, cells) in rows {
        writeln!(text, "| {name} | {} |", cells.join(" | ")).unwrap_or_default();
    }
}

fn head(it: &Figures) -> String {
    let kind = match it.kind {
        Kind::Plans => "plans",
        Kind::DiskGroups => "groups of disks",
    };
    format!("{} {kind}", thousands(it.objects))
}

fn machine(it: &Figures) -> String {
    let machine = &it.machine;
    format!(
        "{}: {} cores ({}), {} GiB of memory, Linux {}, Kubernetes {}; operator {}; {} namespaces.",
        it.date,
        machine.cores,
        machine.cpu,
        machine.memory_gib,
        machine.kernel,
        it.kubernetes,
        it.operator,
        it.namespaces
    )
}

/// A number with a comma between thousands.
#[must_use]
pub fn thousands(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", thousands(number / 1000), number % 1000),
    }
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

fn milliseconds(edits: &Edits, figure: fn(&Edits) -> f64) -> String {
    let lost = if edits.lost == 0 { String::new() } else { format!(" ({} of {} never)", edits.lost, edits.edits) };
    format!("{:.0} ms{lost}", 1000.0 * figure(edits))
}

fn mebibytes(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

fn per(it: &Figures, count: u64) -> String {
    number(count as f64 / it.objects as f64)
}

/// A number with as many digits as matter.
fn number(number: f64) -> String {
    if number == number.trunc() { format!("{number:.0}") } else { format!("{number:.2}") }
}
