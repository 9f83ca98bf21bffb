//! The Dockerfile agrees with Cargo.toml, the manifests and docs/image.md. `make image-binary` checks the program that it builds.

#![allow(clippy::expect_used, reason = "a test that cannot go on says why")]

use k8s_openapi::api::apps::v1::Deployment;
use test_support::{path, read};

/// What follows each instruction of a kind in the Dockerfile, with continued lines joined.
fn instructions(kind: &str) -> Vec<String> {
    let text = read("Dockerfile").replace("\\\n", " ");
    let all: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' ')).map(str::to_owned).collect();
    assert!(!all.is_empty(), "the Dockerfile has no {kind}");
    all
}

fn argument(name: &str) -> String {
    let all = instructions("ARG");
    let values: Vec<_> = all.iter().filter_map(|it| it.strip_prefix(name)?.strip_prefix('=')).collect();
    assert_eq!(values.len(), 1, "one ARG {name} with a default");
    values[0].to_owned()
}

#[test]
fn image_is_built_with_the_crates_rust_version() {
    let version = env!("CARGO_PKG_RUST_VERSION");
    let image = argument("RUST");
    assert!(image.contains(&format!("rust:{version}-")), "{image} is not Rust {version}");
}

#[test]
fn image_labels_match_the_crate() {
    assert_eq!(argument("VERSION"), env!("CARGO_PKG_VERSION"));
    let labels = instructions("LABEL").join(" ");
    for (label, value) in [
        ("title", env!("CARGO_PKG_NAME")),
        ("description", env!("CARGO_PKG_DESCRIPTION")),
        ("licenses", env!("CARGO_PKG_LICENSE")),
        ("version", "${VERSION}"),
        ("revision", "${REVISION}"),
        ("created", "${CREATED}"),
        ("source", "${SOURCE}"),
        ("base.name", "${BASE}"),
    ] {
        let label = format!("org.opencontainers.image.{label}=\"{value}\"");
        assert!(labels.contains(&label), "no label {label} in {labels}");
    }
}

#[test]
fn image_runs_operator_as_the_deployments_user() {
    assert_eq!(instructions("ENTRYPOINT"), ["[\"/dr-operator\"]"]);
    assert_eq!(instructions("FROM").last().expect("a last stage"), "${BASE}");
    let deployment: Deployment = serde_yaml::from_str(&read("deploy/base/deployment.yaml")).expect("a Deployment");
    let pod = deployment.spec.and_then(|it| it.template.spec).expect("a pod");
    let security = pod.security_context.expect("a security context of the pod");
    let (user, group) = (security.run_as_user.expect("a user"), security.run_as_group.expect("a group"));
    assert_eq!(instructions("USER"), [format!("{user}:{group}")]);
}

#[test]
fn dockerignore_sends_exactly_the_copied_files() {
    let text = read(".dockerignore");
    let sent: Vec<_> = text.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let mut copied: Vec<String> = Vec::new();
    for copy in instructions("COPY").iter().filter(|it| !it.starts_with("--from=")) {
        let mut paths: Vec<_> = copy.split_whitespace().map(str::to_owned).collect();
        paths.pop();
        copied.extend(paths);
    }
    for name in &copied {
        assert!(path(name).exists(), "the Dockerfile copies {name}");
        let within = sent.iter().any(|sent| name == sent || name.starts_with(&format!("{sent}/")));
        assert!(within, "the Dockerfile copies {name}, which .dockerignore leaves out");
    }
    for name in sent {
        assert!(
            copied.iter().any(|copied| copied == name),
            ".dockerignore sends {name}, which the Dockerfile does not copy"
        );
    }
    assert!(text.lines().any(|line| line == "*"), "all else is left out");
}

#[test]
fn image_page_names_bases_and_tools() {
    let page = read("docs/image.md");
    let zig = read("image/requirements.txt");
    let zig =
        zig.lines().find_map(|line| line.strip_prefix("ziglang==")?.split_whitespace().next()).expect("zig is pinned");
    let tools = read("image/tools.sh");
    let auditable = tools.lines().find_map(|line| line.strip_prefix("auditable=")).expect("cargo-auditable is pinned");
    for name in [argument("RUST"), argument("BASE"), format!("zig {zig}"), format!("cargo-auditable {auditable}")] {
        assert!(page.contains(&format!("`{name}`")), "docs/image.md does not name {name}");
    }
}
