//! Import rules between the modules of the crate, and the absence of import cycles between its files.

#![allow(clippy::expect_used, clippy::panic, reason = "a broken source tree ends the test")]

mod parse;
mod rules;

use std::path::Path;

use self::parse::Tree;
use self::rules::{cycles, dead, kinds, violations};

/// The sources below a folder: paths below `src` and texts.
fn sources(folder: &Path, prefix: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let entry = entry.expect("an entry of the folder");
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            all.extend(sources(&entry.path(), &format!("{path}/")));
        } else if path.ends_with(".rs") {
            all.push((path, std::fs::read_to_string(entry.path()).expect("a source")));
        }
    }
    all
}

fn production() -> Tree {
    let all = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "");
    Tree::new(all.iter().map(|(file, text)| (file.as_str(), text.as_str())))
}

#[test]
fn no_module_imports_a_forbidden_path() {
    let found = violations(&production());
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn no_files_import_each_other() {
    let found = cycles(&production());
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_rule_names_existing_modules() {
    let tree = production();
    assert_eq!(dead(&tree), Vec::<&str>::new());
    let kinds = kinds(&tree);
    for kind in ["account", "disk_replica_group", "plan"] {
        assert!(kinds.contains(format!("crate::controller::{kind}").as_str()), "{kind} is no kind: {kinds:?}");
    }
}

/// A small crate. Each case below adds one file to it.
const BASE: &[(&str, &str)] = &[
    ("api/mod.rs", "pub mod plan; pub struct Name; mod value; pub use value::Value; pub use kube::Client as K;"),
    ("api/value.rs", "pub struct Value;"),
    ("cloud/mod.rs", "pub mod client; pub mod fence; pub mod sign; pub use self::client::*;"),
    ("cloud/client/mod.rs", "pub struct Client; pub struct Finished; #[cfg(test)] mod tests;"),
    ("cloud/client/tests.rs", "use kube::Client;"),
    ("controller/mod.rs", "pub mod plan; pub mod account; pub use plan::claim; pub struct Context;"),
    ("controller/account/status.rs", ""),
    ("controller/plan/mod.rs", "pub mod status; pub fn claim() {}"),
    ("controller/plan/status.rs", "pub fn is_true() {}"),
];

fn with<'a>(files: &[(&'a str, &'a str)]) -> Tree {
    Tree::new(BASE.iter().chain(files).copied())
}

#[test]
fn forbidden_imports_are_found() {
    for (file, source, path) in [
        ("api/plan.rs", "use crate::{api::{Name, Value}, cloud::{client::{self, Client}}};", "cloud::client::Client"),
        ("api/plan.rs", "fn f() { crate::controller::claim(); }", "controller::plan::claim"),
        ("api/plan.rs", "use super::super::telemetry;", "telemetry"),
        ("api/plan.rs", "use crate as all; fn f() { all::cloud::x(); }", "cloud::x"),
        ("api/plan.rs", "use crate::*; fn f() {}", "*"),
        ("api/plan.rs", "mod inner { fn f() { super::super::super::cloud::x(); } }", "cloud::x"),
        ("api/plan.rs", "#[derive(crate::cloud::Wire)] struct A;", "cloud::Wire"),
        ("api/plan.rs", "#[cfg(not(test))] use crate::cloud::sign;", "cloud::sign"),
        ("cloud/sign.rs", "pub(crate) use ::kube::Client;", "kube::Client"),
        ("cloud/sign.rs", "fn f() { assert!(x.map(|it| [kube::Client::new(it)])); }", "kube::Client::new"),
        ("cloud/sign.rs", "use jiff::Timestamp as T; fn f() { let now = T::now; }", "jiff::Timestamp::now"),
        ("cloud/sign.rs", "use std::time; fn f() { time::Instant::now(); }", "std::time::Instant::now"),
        ("cloud/sign.rs", "use std::time::*;", "std::time::*"),
        ("cloud/sign.rs", "#[cfg(test)] mod tests {} fn f() { std::env::var(r#\"A\"#); }", "std::env::var"),
        ("cloud/client/request.rs", "use super::super::Finished;", "cloud::client::Finished"),
        ("cloud/fence.rs", "use super::sign::sign;", "cloud::sign::sign"),
        ("leadership/mod.rs", "use crate::cloud::{fence::Fence, Client};", "cloud::client::Client"),
        ("leadership/election.rs", "use std::time::Instant; fn f() { Instant::now(); }", "std::time::Instant::now"),
        ("telemetry/mod.rs", "use crate::controller::plan;", "controller::plan"),
        ("simulator/mod.rs", "use crate::cloud::{sign, Client};", "cloud::client::Client"),
        ("simulator/model/mod.rs", "#[tokio::main] fn f() {}", "tokio::main"),
        ("telemetry/mod.rs", "use crate::simulator::Simulator;", "simulator::Simulator"),
        ("controller/plan/decide/items.rs", "use crate::api::K;", "kube::Client"),
        ("controller/plan/decide/mod.rs", "fn f() { tracing::debug!(\"x\"); }", "tracing::debug"),
        ("controller/plan/decide/mod.rs", "async fn f() {}", "async"),
        ("controller/plan/events.rs", "use super::super::Context;", "controller::Context"),
        ("controller/requeue.rs", "fn f() { futures::join!(async { x.await }); }", "async"),
        ("controller/plan/observe.rs", "use super::decide::Step;", "controller::plan::decide::Step"),
        ("controller/plan/observe.rs", "use super::status::*;", "controller::plan::status::*"),
        ("controller/plan/act.rs", "use crate::api::Value;", "api::value::Value"),
        ("controller/plan/act.rs", "use super::*; fn f() { status::is_true(); }", "controller::plan::status::is_true"),
        ("controller/account/mod.rs", "use super::claim;", "controller::plan::claim"),
        ("controller/reconcile.rs", "use super::*; fn f() { claim(); }", "controller::plan::claim"),
    ] {
        let found = violations(&with(&[(file, source)]));
        let reported = |crate_: &str| found.iter().any(|it| it.starts_with(&format!("src/{file}: {crate_}{path}: ")));
        assert!(reported("") || reported("crate::"), "{file}: {source}\nfound {found:?}");
    }
}

#[test]
fn allowed_imports_pass() {
    let base = violations(&with(&[]));
    for (file, source) in [
        ("api/plan.rs", "use super::{Name, Value}; use kube::KubeSchema; pub(in crate::api) struct A;"),
        ("api/plan.rs", "//! See [`crate::cloud`].\nconst A: &str = \"crate::cloud\"; /* use kube::Client; */"),
        ("api/plan.rs", "#[cfg(test)] mod tests { use crate::cloud::sign; } #[cfg(all(test, unix))] use crate::cloud;"),
        ("cloud/sign.rs", "use jiff::Timestamp; impl A { #[cfg(test)] fn f() { Timestamp::now(); } }"),
        ("leadership/mod.rs", "use crate::cloud::fence::Fence; use kube::Client; async fn f() { g().await; }"),
        ("leadership/election.rs", "use std::time::Instant; fn f(now: Instant) {}"),
        ("telemetry/mod.rs", "use crate::cloud::Client;"),
        ("simulator/mod.rs", "use crate::cloud::sign; use crate::simulator::model; use axum::Router;"),
        ("controller/plan/decide/mod.rs", "use kube::ResourceExt; fn f(tokio: &str) { g(tokio); }"),
        ("controller/plan/act.rs", "use super::decide::Step; use crate::cloud::Client; async fn f() {}"),
        (
            "controller/plan/mod.rs",
            "pub use self::status::is_true; use crate::controller::plan::decide; use super::Context;",
        ),
        ("controller/runtime/mod.rs", "use super::claim;"),
        ("main.rs", "use disaster_recovery_operator::simulator; use disaster_recovery_operator::controller::claim;"),
    ] {
        let found = violations(&with(&[(file, source)]));
        assert_eq!(found, base, "{file}: {source}");
    }
}

#[test]
fn import_cycles_are_found() {
    for (files, group) in [
        (&[("a.rs", "use crate::b::B; pub struct A;"), ("b.rs", "fn f(a: crate::a::A) {} pub struct B;")][..], "2"),
        (&[("a.rs", "use crate::b::B; pub struct A;"), ("b.rs", "fn f() { vec![crate::a::A]; } pub struct B;")], "2"),
        (&[("a.rs", "pub use crate::b::B; pub struct A(B);"), ("b.rs", "use crate::a::A; pub struct B;")], "2"),
        (
            &[
                ("a.rs", "use crate::b::B; pub struct A;"),
                ("b.rs", "use crate::c::C as D; pub struct B;"),
                ("c.rs", "use super::a; pub struct C(a::A);"),
            ],
            "3",
        ),
        (
            &[
                ("m/mod.rs", "mod a; mod b; pub use self::a::A; pub use self::b::*;"),
                ("m/a.rs", "use super::B; pub struct A;"),
                ("m/b.rs", "use super::*; pub struct B(A);"),
            ],
            "2",
        ),
        (
            &[
                ("m/mod.rs", "mod a; use a::A; pub struct M(N);"),
                ("m/a.rs", "use crate::b::B; pub struct A;"),
                ("b.rs", "use crate::m::M; pub struct B;"),
            ],
            "3",
        ),
    ] {
        let found = cycles(&with(files));
        assert!(
            found.len() == 1 && found[0].starts_with(&format!("import cycle of {group} files:")),
            "{files:?}\n{found:?}"
        );
    }
}

#[test]
fn imports_without_a_cycle_pass() {
    for files in [
        &[
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "#[cfg(test)] mod tests { use crate::a::A; } pub struct B;"),
        ][..],
        &[
            ("a.rs", "#[cfg(test)] mod tests; pub struct A;"),
            ("a/tests.rs", "use crate::b::B; pub struct T;"),
            ("b.rs", "use crate::a::A; pub struct B;"),
        ],
        &[("m/mod.rs", "mod a; use a::A; pub struct M(A);"), ("m/a.rs", "use super::M; pub struct A;")],
        &[
            ("m/mod.rs", "pub mod a; pub mod b; pub use self::b::B;"),
            ("m/a.rs", "use super::B;"),
            ("m/b.rs", "pub struct B;"),
        ],
        &[("a.rs", "use crate::b; pub struct A;"), ("b.rs", "use crate::a::A;")],
        &[("a.rs", "pub use crate::b::B; pub struct A;"), ("b.rs", "use crate::a::A; pub struct B;")],
    ] {
        assert_eq!(cycles(&with(files)), Vec::<String>::new(), "{files:?}");
    }
}
