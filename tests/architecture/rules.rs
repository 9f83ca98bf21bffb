//! The import rules, and the search for import cycles.

use std::collections::{BTreeMap, BTreeSet};

use super::parse::{Name, Tree, Usage, below};

/// Named lists of patterns.
const GROUPS: &[(&str, &str)] = &[
    ("CLOCK", "std::time::SystemTime std::time::Instant ..::Timestamp::now ..::Zoned::now ..::Instant::now"),
    ("AMBIENT", "async tracing rand uuid std::env std::hash::RandomState ..::TimeZone::system"),
    (
        "IO",
        "tokio futures axum reqwest std::fs std::net::TcpListener std::net::TcpStream std::net::UdpSocket std::process std::thread",
    ),
    ("KUBE_CLIENT", "kube::Client kube::Config kube::Api kube::api::Api kube::client kube::runtime"),
];

/// One paragraph a rule: the reason, the modules with everything below them, the paths that they must never name, and the
/// exceptions. Forbidden paths and exceptions include everything below them; a rule never forbids a module's own paths.
/// `*` stands for one segment, `..::` for any number of them; paths with `..::` have no exceptions.
const RULES: &str = "
custom resources are data and depend on no other module of the crate
    in crate::api
    never crate CLOCK AMBIENT IO KUBE_CLIENT

the cloud client is independent of Kubernetes and of the rest of the crate
    in crate::cloud
    never crate kube k8s_openapi

signatures and endpoints are functions of their arguments
    in crate::cloud::sign crate::cloud::endpoint
    never crate CLOCK AMBIENT IO

a request is a function of its arguments
    in crate::cloud::client::request
    never crate::cloud::client CLOCK AMBIENT IO

rate limits and the clock skew take the time as an argument
    in crate::cloud::rate_limit crate::cloud::skew
    never CLOCK rand std::env tokio::time
    except std::time::Instant

the fence depends on nothing but the clocks of the machine
    in crate::cloud::fence
    never crate tokio

credentials take the environment and the network as arguments and use no product but STS
    in crate::cloud::credentials crate::cloud::sts
    never std::env reqwest crate::cloud::ebs crate::cloud::rocketmq

the credentials cache takes the time as an argument
    in crate::cloud::credentials::cache
    never std::time::SystemTime ..::Timestamp::now rand tokio::time::sleep

leadership is independent of the work that it permits
    in crate::leadership
    never crate
    except crate::cloud::fence

an election is a function of the observed Lease and the time
    in crate::leadership::election
    never crate kube::api CLOCK AMBIENT IO KUBE_CLIENT
    except std::time::Instant

telemetry takes plain values and depends on no controller
    in crate::telemetry
    never crate
    except crate::cloud

the simulator shares nothing with the client but the signature
    in crate::simulator
    never crate kube
    except crate::cloud::sign

the model of the simulator does no IO and takes the time as an argument
    in crate::simulator::model
    never crate::cloud CLOCK AMBIENT IO

an observation does not depend on decisions
    in crate::controller::*::observe
    never crate::controller::*::decide

data goes one way: observe, decide, act, status
    in crate::controller::*::observe crate::controller::*::decide crate::controller::*::resolve
        crate::controller::plan::lag crate::controller::disk_replica_group::lifecycle
    never crate::controller::*::act crate::controller::*::status crate::controller::*::events

a step carries everything that it needs
    in crate::controller::*::act
    never crate::api kube k8s_openapi crate::controller::*::status crate::controller::*::events

decisions and status are synchronous functions of data, without client, clock, environment and log
    in crate::controller::*::decide crate::controller::*::status crate::controller::*::events
        crate::controller::*::resolve crate::controller::plan::lag crate::controller::disk_replica_group::lifecycle
        crate::controller::evidence::progress crate::controller::evidence::backlog crate::controller::evidence::agenda
        crate::controller::evidence::packed crate::controller::plan::tracks
        crate::controller::plan::evidence crate::controller::plan::samples crate::controller::plan::backlog
        crate::controller::plan::arrival crate::controller::plan::pace crate::controller::plan::rounds
        crate::controller::plan::repeated crate::controller::plan::sync crate::controller::plan::grounds
        crate::controller::plan::coverage crate::controller::plan::inventory
        crate::controller::access::error crate::controller::conditions crate::controller::events
        crate::controller::ownership crate::controller::requeue crate::controller::status crate::controller::verdict
    never CLOCK AMBIENT IO KUBE_CLIENT crate::cloud::client crate::cloud::credentials crate::cloud::sts
        crate::controller::Context crate::controller::access crate::controller::object crate::controller::reconcile
        crate::controller::runtime crate::controller::secrets::read crate::telemetry crate::leadership
    except crate::cloud::credentials::CredentialsError crate::cloud::credentials::cache::KeyHealth
        crate::controller::access::AccountError crate::controller::access::error
        crate::telemetry::metrics::ConsumerGroupLag crate::telemetry::metrics::groups crate::telemetry::metrics::mappings
        crate::telemetry::metrics::MessageBacklog crate::telemetry::metrics::SyncRound
        crate::telemetry::metrics::MappingMeasures

the lookup of credentials is independent of the object that needs them
    in crate::controller::access
    never std::fs crate::controller::reconcile crate::controller::object

the contract of a kind does no work itself
    in crate::controller::resource
    never CLOCK KUBE_CLIENT tokio tracing std::env std::fs crate::cloud::client crate::controller::reconcile
        crate::controller::object crate::controller::secrets::read
";

#[derive(Default)]
struct Rule {
    why: &'static str,
    modules: Vec<&'static str>,
    forbidden: Vec<&'static str>,
    allowed: Vec<&'static str>,
}

fn rules() -> Vec<Rule> {
    let parsed = |paragraph: &'static str| {
        let (why, lists) = paragraph.split_once('\n').unwrap_or_default();
        let mut rule = Rule { why, ..Rule::default() };
        let mut list = &mut rule.modules;
        for word in lists.split_whitespace() {
            match (word, GROUPS.iter().find(|group| group.0 == word)) {
                ("in", _) => list = &mut rule.modules,
                ("never", _) => list = &mut rule.forbidden,
                ("except", _) => list = &mut rule.allowed,
                (_, Some((_, patterns))) => list.extend(patterns.split(' ')),
                (pattern, None) => list.push(pattern),
            }
        }
        rule
    };
    RULES.trim().split("\n\n").map(parsed).collect()
}

/// Whether a pattern covers a path, and whether a glob import covers the pattern.
fn covers(pattern: &str, path: &str) -> bool {
    if let Some(end) = pattern.strip_prefix("..::") {
        return path == end || path.ends_with(&format!("::{end}"));
    }
    let (wanted, named): (Vec<_>, Vec<_>) = (pattern.split("::").collect(), path.split("::").collect());
    let same = |count| std::iter::zip(&wanted, &named).take(count).all(|(want, name)| *want == "*" || want == name);
    let glob = named.len() <= wanted.len() && named.last() == Some(&"*");
    if glob { same(named.len() - 1) } else { named.len() >= wanted.len() && same(wanted.len()) }
}

impl Rule {
    fn forbids(&self, module: &str, path: &str) -> bool {
        let Some(own) = self.modules.iter().find(|it| covers(it, module)) else { return false };
        let depth = own.split("::").count();
        let own = module.split("::").take(depth).collect::<Vec<_>>().join("::");
        self.forbidden.iter().filter(|it| covers(it, path)).any(|pattern| {
            let excepted = below(path, &own) || self.allowed.iter().any(|it| below(path, it));
            pattern.starts_with("..::") || !excepted
        })
    }
}

/// The kinds: folders of `controller` with a `status`. New kinds are covered as soon as they exist.
pub fn kinds(tree: &Tree) -> BTreeSet<&str> {
    let parents = tree.modules.keys().filter_map(|it| it.strip_suffix("::status"));
    parents.filter(|it| it.matches("::").count() == 2 && below(it, "crate::controller")).collect()
}

/// The rules that the table cannot express.
fn boundary(kinds: &BTreeSet<&str>, module: &str, path: &str) -> Option<&'static str> {
    if below(path, "crate::simulator") && below(module, "crate") && !below(module, "crate::simulator") {
        return Some("the simulator is for tests and the demo");
    }
    let kind = kinds.iter().find(|kind| below(path, kind))?;
    if below(module, kind) || !below(module, "crate::controller") || below(module, "crate::controller::runtime") {
        return None;
    }
    let shared = !kinds.iter().any(|kind| below(module, kind));
    Some(if shared { "shared code imports no kind" } else { "kinds do not import each other" })
}

/// Every name that a rule forbids.
pub fn violations(tree: &Tree) -> Vec<String> {
    let (rules, kinds) = (rules(), kinds(tree));
    let reason = |module: &str, path: &str| {
        let rule = rules.iter().find(|it| it.forbids(module, path)).map(|it| it.why);
        rule.or_else(|| boundary(&kinds, module, path))
    };
    let broken = |it: Name<'_>| {
        let mut reasons = it.spellings.iter().rev().map(|path| (path, reason(it.module, path)));
        reasons.find_map(|(path, why)| Some(format!("src/{}: {path}: {}", it.file, why?)))
    };
    tree.names().filter_map(broken).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The modules and paths of rules that do not exist, for example after a rename.
pub fn dead(tree: &Tree) -> Vec<&'static str> {
    let alive = |it: &str| match it.split_once("::") {
        Some(("crate", _)) if it.contains('*') => tree.modules.keys().any(|module| covers(it, module)),
        Some(("crate", _)) => tree.exists(it),
        _ => it.chars().any(char::is_lowercase),
    };
    let all = rules().into_iter().flat_map(|it| [it.modules, it.forbidden, it.allowed].concat());
    all.filter(|it| !alive(it)).collect()
}

/// The imports between files: for each pair of files, the names.
fn imports(tree: &Tree) -> BTreeMap<&str, BTreeMap<&str, BTreeSet<String>>> {
    let mut all: BTreeMap<&str, BTreeMap<&str, BTreeSet<String>>> = BTreeMap::new();
    for name in tree.names().filter(|it| it.usage != Usage::Export) {
        let Some(path) = name.spellings.last().filter(|path| !path.ends_with("::*")) else { continue };
        let Some(home) = tree.home(path).filter(|home| home != path) else { continue };
        let file = tree.modules[home].file.as_str();
        if file != name.file && !below(name.module, home) {
            all.entry(name.file).or_default().entry(file).or_default().insert(path.to_owned());
        }
    }
    all
}

/// Import cycles between source files: each is a group of files that import each other, directly or through others.
///
/// An import is a name that resolves to an item of another file. No imports: `mod` declarations, re-exports, the name of a
/// module alone, and items that the file of an ancestor module itself defines, because that file is the common ground of its
/// children.
pub fn cycles(tree: &Tree) -> Vec<String> {
    let imports = imports(tree);
    let reached = |start: &str| {
        let (mut found, mut open) = (BTreeSet::new(), vec![start.to_owned()]);
        while let Some(file) = open.pop() {
            let targets = imports.get(file.as_str()).into_iter().flat_map(|it| it.keys());
            open.extend(targets.filter(|it| found.insert((**it).to_owned())).map(|it| (*it).to_owned()));
        }
        found
    };
    let reached: BTreeMap<&str, _> = imports.keys().map(|file| (*file, reached(file))).collect();
    let together = |a: &str, b: &str| reached[a].contains(b) && reached.get(b).is_some_and(|it| it.contains(a));
    let groups: BTreeSet<Vec<&str>> = imports
        .keys()
        .map(|file| imports.keys().copied().filter(|other| together(file, other)).collect())
        .filter(|group: &Vec<_>| group.len() > 1)
        .collect();
    let described = |group: &Vec<&str>| {
        let edges = group.iter().flat_map(|from| imports[from].iter().map(move |(to, names)| (*from, *to, names)));
        let lines = edges.filter(|(_, to, _)| group.contains(to)).map(|(from, to, names)| {
            let names = names.iter().cloned().collect::<Vec<_>>().join(", ");
            format!("\n  src/{from} imports src/{to}: {names}")
        });
        format!("import cycle of {} files:{}", group.len(), lines.collect::<String>())
    };
    groups.iter().map(described).collect()
}
