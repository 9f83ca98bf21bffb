//! The rooms of the crate keep to themselves: no module names what the table of the design forbids it.
//!
//! The sources are read as text: comments, strings and test modules are taken out, `use` trees are spread, `self`,
//! `super`, renamings and globs are followed, and every path that is left is held against [`RULES`].

#![allow(clippy::expect_used, reason = "a test that cannot go on says why")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What the modules below `module` (itself included) may not name.
struct Rule {
    module: &'static str,
    /// Paths, each with all below it. `..::` in front means: wherever it comes from.
    forbidden: &'static [&'static str],
    /// What is allowed all the same.
    allowed: &'static [&'static str],
    why: &'static str,
}

/// Where the time is read instead of taken as an argument.
macro_rules! clock {
    ($($more:literal),* $(,)?) => {
        &["std::time::SystemTime", "std::time::Instant", "..::Timestamp::now", "..::Zoned::now", "tokio", $($more),*]
    };
}

const ONE_WAY: &str = "data goes one way: what is seen does not depend on what is done about it";
const DIFFERENCE: &str = "the difference is a function of (desired, observed, now)";
const PART_OF_IT: &str = "it is a part of the difference";
const STEPS: &str = "a step carries every detail it needs";
const STATUS: &str = "status is computed from data";
const EVENTS: &str = "events are told by comparing data";
const SHARED_DATA: &str = "it is a part of status or of events, which are computed from data";

/// Why there are no credentials, and why nobody signs: plain values of modules that otherwise ask around.
const NO_CREDENTIALS: &str = "crate::cloud::credentials::CredentialsError";
const NO_ACCESS: &str = "crate::controller::access::AccountError";

const RULES: &[Rule] = &[
    Rule {
        module: "crate::api",
        forbidden: &["crate", "tokio", "tracing", "kube::Client", "kube::Api", "kube::client", "kube::runtime"],
        allowed: &["crate::api"],
        why: "the custom resources are data",
    },
    Rule {
        module: "crate::cloud",
        forbidden: &["crate", "kube", "k8s_openapi"],
        allowed: &["crate::cloud"],
        why: "the client knows Alibaba Cloud and no Kubernetes",
    },
    Rule {
        module: "crate::cloud::sign",
        forbidden: clock!["std::time", "std::env", "futures", "rand", "uuid", "crate::cloud::client"],
        allowed: &[],
        why: "a signature is a function of its arguments, so that published vectors prove it",
    },
    Rule {
        module: "crate::cloud::client::request",
        forbidden: clock!["std::time", "std::env", "rand", "uuid", "crate::cloud::client"],
        allowed: &[],
        why: "a request is a function of its arguments",
    },
    Rule {
        module: "crate::cloud::endpoint",
        forbidden: clock!["std::env", "reqwest", "crate::cloud"],
        allowed: &["crate::cloud::endpoint"],
        why: "what an endpoint may be is decided from its text",
    },
    Rule {
        module: "crate::cloud::credentials",
        forbidden: &["std::env", "reqwest", "crate::cloud::ebs", "crate::cloud::rocketmq"],
        allowed: &[],
        why: "the environment and the network are arguments, so that a test needs no state of the process",
    },
    Rule {
        module: "crate::cloud::credentials::cache",
        forbidden: &["std::time::SystemTime", "..::Timestamp::now", "rand", "tokio::time::sleep"],
        allowed: &[],
        why: "what is kept, renewed and paused is decided from a time that is an argument, and from what passed since it was given",
    },
    Rule {
        module: "crate::cloud::sts",
        forbidden: &["crate::cloud::ebs", "crate::cloud::rocketmq", "std::env"],
        allowed: &[],
        why: "a product knows no other, and what it is asked for are arguments",
    },
    Rule {
        module: "crate::cloud::fence",
        forbidden: &["crate::cloud", "tokio"],
        allowed: &["crate::cloud::fence"],
        why: "until when the cloud may be changed is judged by this machine's clocks and nothing else",
    },
    Rule {
        module: "crate::leadership",
        forbidden: &["crate"],
        allowed: &["crate::leadership", "crate::cloud::fence"],
        why: "who leads does not depend on what is done then",
    },
    Rule {
        module: "crate::leadership::election",
        forbidden: clock![
            "std::env",
            "rand",
            "tracing",
            "crate::cloud",
            "kube::Client",
            "kube::Api",
            "kube::api",
            "kube::client"
        ],
        allowed: &["std::time::Instant"],
        why: "whose the lease is follows from what was seen and when",
    },
    Rule {
        module: "crate::simulator",
        forbidden: &["crate::controller", "crate::cloud::client", "crate::cloud::rocketmq", "crate::api", "kube"],
        allowed: &[],
        why: "the simulator must not share the client's idea of the wire",
    },
    Rule {
        module: "crate::simulator::model",
        forbidden: clock!["axum", "std::fs", "std::net", "std::env", "reqwest", "rand", "crate::cloud"],
        allowed: &[],
        why: "time is an argument of the model, and it does no IO",
    },
    Rule {
        module: "crate::controller::conditions",
        forbidden: &["crate::cloud", "crate::controller", "kube::Client", "kube::Api", "kube::client"],
        allowed: &[],
        why: "conditions are computed from data",
    },
    Rule {
        module: "crate::controller::plan::observe",
        forbidden: &[
            "crate::controller::plan::decide",
            "crate::controller::plan::act",
            "crate::controller::plan::status",
            "crate::controller::plan::events",
        ],
        allowed: &[],
        why: ONE_WAY,
    },
    Rule { module: "crate::controller::plan::decide", forbidden: PURE, allowed: &[], why: DIFFERENCE },
    Rule { module: "crate::controller::plan::resolve", forbidden: PURE, allowed: &[], why: PART_OF_IT },
    Rule { module: "crate::controller::plan::lag", forbidden: PURE, allowed: &[], why: PART_OF_IT },
    Rule {
        module: "crate::controller::plan::act",
        forbidden: &[
            "crate::api",
            "kube",
            "k8s_openapi",
            "crate::controller::plan::status",
            "crate::controller::plan::events",
        ],
        allowed: &[],
        why: STEPS,
    },
    Rule { module: "crate::controller::plan::status", forbidden: DATA, allowed: &[], why: STATUS },
    Rule { module: "crate::controller::plan::events", forbidden: DATA, allowed: &[], why: EVENTS },
    Rule {
        module: "crate::controller::disk_replica_group::observe",
        forbidden: &[
            "crate::controller::disk_replica_group::decide",
            "crate::controller::disk_replica_group::act",
            "crate::controller::disk_replica_group::status",
            "crate::controller::disk_replica_group::events",
        ],
        allowed: &[],
        why: ONE_WAY,
    },
    Rule { module: "crate::controller::disk_replica_group::decide", forbidden: PURE, allowed: &[], why: DIFFERENCE },
    Rule { module: "crate::controller::disk_replica_group::resolve", forbidden: PURE, allowed: &[], why: PART_OF_IT },
    Rule { module: "crate::controller::disk_replica_group::lifecycle", forbidden: PURE, allowed: &[], why: PART_OF_IT },
    Rule {
        module: "crate::controller::disk_replica_group::act",
        forbidden: &[
            "crate::api",
            "kube",
            "k8s_openapi",
            "crate::controller::disk_replica_group::status",
            "crate::controller::disk_replica_group::events",
        ],
        allowed: &[],
        why: STEPS,
    },
    Rule { module: "crate::controller::disk_replica_group::status", forbidden: DATA, allowed: &[], why: STATUS },
    Rule { module: "crate::controller::disk_replica_group::events", forbidden: DATA, allowed: &[], why: EVENTS },
    Rule {
        module: "crate::controller::account::status",
        forbidden: DATA,
        allowed: &[NO_CREDENTIALS, NO_ACCESS, "crate::cloud::credentials::cache::KeyHealth"],
        why: STATUS,
    },
    Rule {
        module: "crate::controller::access",
        forbidden: &[
            "crate::controller::account",
            "crate::controller::reconcile",
            "crate::controller::runtime",
            "crate::controller::object",
            "std::fs",
        ],
        allowed: &[],
        why: "it says whose credentials are used, whoever asks",
    },
    Rule {
        module: "crate::controller::access::error",
        forbidden: DATA,
        allowed: &[NO_CREDENTIALS, "crate::controller::access::error"],
        why: "it is a plain value, which status tells",
    },
    Rule { module: "crate::controller::ownership", forbidden: PURE, allowed: &[], why: PART_OF_IT },
    Rule { module: "crate::controller::conditions", forbidden: DATA, allowed: &[], why: SHARED_DATA },
    Rule { module: "crate::controller::events", forbidden: DATA, allowed: &[], why: SHARED_DATA },
    Rule { module: "crate::controller::decision", forbidden: PURE, allowed: &[], why: SHARED_DATA },
    Rule {
        module: "crate::controller::conditions",
        forbidden: DATA,
        allowed: &[NO_CREDENTIALS, NO_ACCESS],
        why: SHARED_DATA,
    },
    Rule {
        module: "crate::controller::resource",
        forbidden: clock![
            "kube::Client",
            "kube::Api",
            "kube::api::Api",
            "kube::client",
            "kube::runtime",
            "crate::cloud::client",
            "crate::controller::reconcile",
            "crate::controller::object",
            "crate::controller::secrets::read",
            "tracing",
            "std::env",
            "std::fs",
        ],
        allowed: &[],
        why: "it says what a kind is asked, and does nothing itself",
    },
    Rule {
        module: "crate",
        forbidden: &["crate::simulator"],
        allowed: &[],
        why: "the simulator is for tests and the demo only",
    },
];

/// What asks nobody: data in, data out.
macro_rules! data {
    ($($more:literal),* $(,)?) => {
        clock![
            "kube::Client",
            "kube::Api",
            "kube::api::Api",
            "kube::client",
            "kube::runtime",
            "kube::Config",
            "crate::cloud::client",
            "crate::cloud::credentials",
            "crate::cloud::sts",
            "crate::controller::access",
            "crate::controller::reconcile",
            "crate::controller::runtime",
            "crate::controller::secrets::read",
            "crate::controller::object",
            "crate::telemetry",
            "tracing",
            "futures",
            "rand",
            "uuid",
            "std::env",
            "std::fs",
            $($more),*
        ]
    };
}

const DATA: &[&str] = data![];
/// Nor does it know what will be done about it.
const PURE: &[&str] = data![
    "crate::controller::plan::act",
    "crate::controller::plan::status",
    "crate::controller::plan::events",
    "crate::controller::disk_replica_group::act",
    "crate::controller::disk_replica_group::status",
    "crate::controller::disk_replica_group::events",
];

/// The kinds, each with a module of its own. None names another, so that what two of them need is one piece of code; and
/// nothing that they share names one of them.
const KINDS: &[&str] =
    &["crate::controller::plan", "crate::controller::disk_replica_group", "crate::controller::account"];

/// Accounts are no work of the pipeline, and have their users woken: what runs the controllers names theirs.
const STARTED_BY_NAME: (&str, &str) = ("crate::controller::runtime", "crate::controller::account");

/// Why a module below `controller` may not name a path, by what is said of [`KINDS`].
fn stranger(module: &str, path: &str) -> Option<&'static str> {
    let named = KINDS.iter().find(|kind| below(path, kind))?;
    if below(module, named) || !below(module, "crate::controller") || (module, *named) == STARTED_BY_NAME {
        return None;
    }
    Some(match KINDS.iter().any(|kind| below(module, kind)) {
        true => "no kind names another",
        false => "what kinds share names none of them",
    })
}

/// The name of the library in other crates: in the programs, in its own tests.
const LIBRARY: &str = "disaster_recovery_operator";

#[test]
fn no_module_names_what_it_may_not() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = BTreeMap::new();
    collect(&sources, &mut Vec::new(), &mut modules);
    assert!(
        modules.contains_key("crate::cloud::sign"),
        "the sources are not where they should be: {:?}",
        modules.keys()
    );

    let tests: Vec<String> = modules.iter().flat_map(|(module, source)| test_modules(module, source)).collect();
    modules.retain(|module, _| !tests.iter().any(|test| below(module, test)));
    let wrong: Vec<String> = modules.iter().flat_map(|(module, source)| violations(module, source)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));

    // A rule about a module that was renamed would hold nothing any more.
    for Rule { module, .. } in RULES {
        let room = module.split("::").take(2).collect::<Vec<_>>().join("::");
        let dead = modules.contains_key(&room) && !modules.contains_key(*module);
        assert!(!dead, "there is a rule about {module}, but no such module");
    }
}

/// Reads the sources below a folder. The programs are modules of their own: `main`, `bin::<name>`.
fn collect(folder: &Path, path: &mut Vec<String>, modules: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let file = entry.expect("an entry of the folder").path();
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a name that is text").replace('-', "_");
        if file.is_dir() {
            path.push(name);
            collect(&file, path, modules);
            path.pop();
        } else if file.extension().is_some_and(|suffix| suffix == "rs") {
            let source = std::fs::read_to_string(&file).expect("a source");
            modules.insert(module_of(path, &name), source);
        }
    }
}

fn module_of(folder: &[String], stem: &str) -> String {
    let program = folder.first().is_some_and(|first| first == "bin") || (folder.is_empty() && stem == "main");
    let mut path: Vec<&str> = if program { Vec::new() } else { vec!["crate"] };
    path.extend(folder.iter().map(String::as_str));
    if !(stem == "mod" || (folder.is_empty() && stem == "lib")) {
        path.push(stem);
    }
    path.join("::")
}

fn below(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn matches(path: &str, pattern: &str) -> bool {
    match pattern.strip_prefix("..::") {
        Some(end) => format!("::{path}::").contains(&format!("::{end}::")),
        None => below(path, pattern),
    }
}

/// What a module names against the rules.
fn violations(module: &str, source: &str) -> Vec<String> {
    let named = paths(module, source);
    let strangers = named.iter().filter_map(|path| Some((path, stranger(module, path)?)));
    let ruled = RULES
        .iter()
        .filter(|rule| below(module, rule.module))
        // The library's simulator may name itself.
        .filter(|rule| rule.module != "crate" || !below(module, "crate::simulator"))
        .flat_map(|rule| {
            named
                .iter()
                .filter(|path| rule.forbidden.iter().any(|pattern| matches(path, pattern)))
                .filter(|path| !rule.allowed.iter().any(|pattern| matches(path, pattern)))
                .map(move |path| (path, rule.why))
        });
    ruled.chain(strangers).map(|(path, why)| format!("{module} names {path}, but {why}")).collect()
}

/// Every path that a module names, with its beginning made plain: from `crate` or from another crate.
fn paths(module: &str, source: &str) -> BTreeSet<String> {
    let tokens = without_tests(&tokens(source));
    let mut reader = Reader { tokens: &tokens, at: 0, names: BTreeMap::new(), globs: Vec::new(), found: Vec::new() };
    reader.read(module);
    let Reader { names, globs, found, .. } = reader;

    let mut all = BTreeSet::new();
    for (place, path) in found {
        let mut candidates = vec![path.clone()];
        // What a glob may have brought: `use super::*` and then `act::run`.
        if !rooted(&path) {
            candidates.extend(globs.iter().map(|glob| format!("{glob}::{path}")));
            candidates.push(format!("{place}::{path}"));
        }
        for candidate in candidates {
            let plain = plain(candidate, &names);
            all.insert(plain);
        }
    }
    all
}

fn rooted(path: &str) -> bool {
    path == "crate" || path.starts_with("crate::")
}

/// Follows what was brought into scope by `use`, also under another name.
fn plain(mut path: String, names: &BTreeMap<String, String>) -> String {
    // A renaming of a renaming is followed too; a cycle is not followed for ever.
    for _ in 0..8 {
        let (first, rest) = path.split_once("::").map_or((path.as_str(), ""), |(first, rest)| (first, rest));
        let Some(meant) = names.get(first).filter(|meant| *meant != first) else { break };
        path = if rest.is_empty() { meant.clone() } else { format!("{meant}::{rest}") };
    }
    path
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::`
    Path,
    Sign(char),
}

fn word(text: &str) -> Token {
    Token::Word(text.to_owned())
}

/// The words and signs of a source; comments, strings, characters and lifetimes are passed over.
fn tokens(source: &str) -> Vec<Token> {
    let text: Vec<char> = source.chars().collect();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let next = |offset: usize| text.get(at + offset).copied().unwrap_or('\0');
        match text[at] {
            '/' if next(1) == '/' => at = line_end(&text, at),
            '/' if next(1) == '*' => at = comment_end(&text, at),
            '"' => at = string_end(&text, at + 1),
            '\'' => at = quote_end(&text, at),
            ':' if next(1) == ':' => {
                tokens.push(Token::Path);
                at += 2;
            }
            c if is_word(c) => {
                let end = (at..text.len()).find(|end| !is_word(text[*end])).unwrap_or(text.len());
                let found: String = text[at..end].iter().collect();
                at = end;
                let raw = matches!(found.as_str(), "r" | "br" | "cr");
                let hashes = text[end..].iter().take_while(|c| **c == '#').count();
                let quote = text.get(end + hashes) == Some(&'"');
                if raw && quote {
                    at = raw_string_end(&text, end + hashes + 1, hashes);
                } else if matches!(found.as_str(), "b" | "c") && text.get(end) == Some(&'"') {
                    at = string_end(&text, end + 1);
                } else if found == "r" && hashes == 1 {
                    at += 1; // r#type
                } else {
                    tokens.push(Token::Word(found));
                }
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(Token::Sign(c));
                }
                at += 1;
            }
        }
    }
    tokens
}

fn line_end(text: &[char], at: usize) -> usize {
    (at..text.len()).find(|end| text[*end] == '\n').unwrap_or(text.len())
}

fn comment_end(text: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < text.len() {
        match (text[at], text.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_end(text: &[char], mut at: usize) -> usize {
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw_string_end(text: &[char], at: usize, hashes: usize) -> usize {
    let ends = |end: &usize| text[*end] == '"' && (1..=hashes).all(|more| text.get(end + more) == Some(&'#'));
    (at..text.len()).find(ends).map_or(text.len(), |end| end + 1 + hashes)
}

/// A character (`'a'`, `'\''`, `'\u{1f}'`) or a lifetime (`'a`).
fn quote_end(text: &[char], at: usize) -> usize {
    if text.get(at + 1) == Some(&'\\') {
        return (at + 3..text.len()).find(|end| text[*end] == '\'').map_or(text.len(), |end| end + 1);
    }
    if text.get(at + 2) == Some(&'\'') { at + 3 } else { at + 1 }
}

/// Takes out every item behind `#[cfg(test)]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mark: Vec<Token> = [Token::Sign('#'), Token::Sign('['), word("cfg"), Token::Sign('('), word("test")]
        .into_iter()
        .chain([Token::Sign(')'), Token::Sign(']')])
        .collect();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].starts_with(&mark) {
            at = item_end(tokens, at + mark.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// The modules in files of their own that a module declares behind `#[cfg(test)]`.
fn test_modules(module: &str, source: &str) -> Vec<String> {
    let declared = |tokens: &[Token]| -> BTreeSet<String> {
        let declarations = tokens.windows(3).filter_map(|window| match window {
            [Token::Word(keyword), Token::Word(name), Token::Sign(';')] if keyword == "mod" => Some(name.clone()),
            _ => None,
        });
        declarations.collect()
    };
    let all = tokens(source);
    let (every, kept) = (declared(&all), declared(&without_tests(&all)));
    every.difference(&kept).map(|name| format!("{module}::{name}")).collect()
}

/// The end of the item that begins at `at`: its `;`, or the brace that closes its body.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at < tokens.len() {
        match &tokens[at] {
            Token::Sign('{' | '(' | '[') => depth += 1,
            Token::Sign(')' | ']') => depth = depth.saturating_sub(1),
            Token::Sign('}') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            Token::Sign(';') if depth == 0 => return at + 1,
            Token::Word(_) | Token::Path | Token::Sign(_) => {}
        }
        at += 1;
    }
    at
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    /// What a name stands for.
    names: BTreeMap<String, String>,
    /// The modules of which everything is in scope.
    globs: Vec<String>,
    /// Every path with the module that it stands in.
    found: Vec<(String, String)>,
}

impl Reader<'_> {
    fn peek(&self, offset: usize) -> Option<&Token> {
        self.tokens.get(self.at + offset)
    }

    fn word_at(&self, offset: usize) -> Option<&str> {
        match self.peek(offset) {
            Some(Token::Word(text)) => Some(text),
            _ => None,
        }
    }

    fn read(&mut self, module: &str) {
        // The modules that are open, each with the depth of braces around it.
        let mut open = vec![(module.to_owned(), 0_usize)];
        let mut depth = 0_usize;
        while self.at < self.tokens.len() {
            let place = open.last().map_or(module, |(place, _)| place).to_owned();
            match (self.word_at(0), self.peek(0)) {
                (Some("use"), _) => {
                    self.at += 1;
                    self.use_tree(&place, "");
                }
                (Some("extern"), _) if self.word_at(1) == Some("crate") => {
                    let name = self.word_at(2).unwrap_or_default().to_owned();
                    self.found.push((place, name.clone()));
                    if self.word_at(3) == Some("as") {
                        let other = self.word_at(4).unwrap_or_default().to_owned();
                        self.names.insert(other, name);
                    }
                    self.at += 3;
                }
                (Some("mod"), _) if self.peek(2) == Some(&Token::Sign('{')) => {
                    open.push((format!("{place}::{}", self.word_at(1).unwrap_or_default()), depth));
                    self.at += 2;
                }
                (Some("mod"), _) if self.peek(2) == Some(&Token::Sign(';')) => {
                    let name = self.word_at(1).unwrap_or_default().to_owned();
                    self.names.insert(name.clone(), format!("{place}::{name}"));
                    self.at += 3;
                }
                // `pub(in crate::a)` says who may see, not what is used.
                (Some("pub"), _) if self.peek(1) == Some(&Token::Sign('(')) => {
                    while self.at < self.tokens.len() && self.peek(0) != Some(&Token::Sign(')')) {
                        self.at += 1;
                    }
                }
                (Some(_), _) => self.inline_path(&place),
                (None, Some(Token::Sign('{'))) => {
                    depth += 1;
                    self.at += 1;
                }
                (None, Some(Token::Sign('}'))) => {
                    depth = depth.saturating_sub(1);
                    if open.len() > 1 && open.last().is_some_and(|(_, outside)| *outside == depth) {
                        open.pop();
                    }
                    self.at += 1;
                }
                (None, _) => self.at += 1,
            }
        }
    }

    /// A path in the text. What stands behind a dot is a field or a method, and a lone word names nothing of another module
    /// but what `use` brought, which is found there.
    fn inline_path(&mut self, place: &str) {
        let method = self.at > 0 && self.tokens[self.at - 1] == Token::Sign('.');
        let mut path = self.word_at(0).unwrap_or_default().to_owned();
        self.at += 1;
        while self.peek(0) == Some(&Token::Path) {
            let Some(step) = self.word_at(1) else { break };
            path = format!("{path}::{step}");
            self.at += 2;
        }
        if path.contains("::") && !method {
            self.found.push((place.to_owned(), resolved(place, &path)));
        }
    }

    /// One branch of a use tree; `before` is what stands in front of it.
    fn use_tree(&mut self, place: &str, before: &str) {
        let mut path = before.to_owned();
        loop {
            match self.peek(0).cloned() {
                Some(Token::Word(step)) if step != "as" => {
                    let itself = step == "self" && !path.is_empty();
                    if !itself {
                        path = if path.is_empty() { step } else { format!("{path}::{step}") };
                    }
                    self.at += 1;
                }
                Some(Token::Word(_)) => {
                    let other = self.word_at(1).unwrap_or_default().to_owned();
                    self.at += 2;
                    return self.used(place, &path, &other);
                }
                Some(Token::Path) => self.at += 1,
                Some(Token::Sign('*')) => {
                    self.at += 1;
                    let glob = resolved(place, &path);
                    self.found.push((place.to_owned(), format!("{glob}::*")));
                    return self.globs.push(glob);
                }
                Some(Token::Sign('{')) => {
                    self.at += 1;
                    while !matches!(self.peek(0), None | Some(Token::Sign('}'))) {
                        let start = self.at;
                        self.use_tree(place, &path);
                        if self.peek(0) == Some(&Token::Sign(',')) || self.at == start {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                _ => {
                    let name = path.rsplit("::").next().unwrap_or_default().to_owned();
                    if !path.is_empty() {
                        self.used(place, &path, &name);
                    }
                    return;
                }
            }
        }
    }

    fn used(&mut self, place: &str, path: &str, name: &str) {
        let path = resolved(place, path);
        self.found.push((place.to_owned(), path.clone()));
        self.names.insert(name.to_owned(), path);
    }
}

/// `self`, `super` and the library's own name, as seen from a module.
fn resolved(place: &str, path: &str) -> String {
    let mut module: Vec<&str> = place.split("::").collect();
    let mut steps = path.split("::").peekable();
    match steps.peek() {
        Some(&"self") => {
            steps.next();
        }
        Some(&"super") => {
            while steps.next_if(|step| *step == "super").is_some() {
                module.pop();
            }
        }
        Some(&LIBRARY) => {
            steps.next();
            module = vec!["crate"];
        }
        _ => module.clear(),
    }
    module.into_iter().chain(steps).collect::<Vec<_>>().join("::")
}

/// What must be caught, so that the checker itself can fail.
#[test]
fn what_is_forbidden_is_caught() {
    for (module, source, named) in [
        ("crate::api::plan", "use crate::cloud::sign;", "crate::cloud::sign"),
        (
            "crate::api::plan",
            "use crate::{\n    api::{condition, plan::{self, Instance}}, cloud::{error::Class},\n};",
            "crate::cloud::error::Class",
        ),
        ("crate::api::plan", "fn f() { crate::controller::conditions::set(); }", "crate::controller::conditions::set"),
        ("crate::api::plan", "use super::super::telemetry;", "crate::telemetry"),
        ("crate::api", "use super::controller::*;", "crate::controller::*"),
        ("crate::api", "use crate as all; fn f() { all::cloud::x(); }", "crate::cloud::x"),
        ("crate::api", "use crate::*; fn f() { cloud::x(); }", "crate::cloud::x"),
        ("crate::api", "mod inner { fn f() { super::super::cloud::x(); } }", "crate::cloud::x"),
        ("crate::api", "pub(crate) use ::kube::Client;", "kube::Client"),
        ("crate::api", "fn f<'a>(c: &'a str) { let q = '\"'; crate::cloud::x(); let r = '\"'; }", "crate::cloud::x"),
        ("crate::cloud::client", "use kube::Client;", "kube::Client"),
        ("crate::cloud::client", "type C = kube::Client;", "kube::Client"),
        ("crate::cloud::client", "extern crate kube as k; type C = k::Client;", "kube::Client"),
        ("crate::cloud::sign", "use jiff::Timestamp; fn f() { Timestamp::now(); }", "jiff::Timestamp::now"),
        ("crate::cloud::sign", "use jiff::Timestamp as T; fn f() { let now = T::now; }", "jiff::Timestamp::now"),
        ("crate::cloud::sign", "use std::{env, fmt}; fn f() { env::var(r#\"A\"#); }", "std::env"),
        ("crate::cloud::sign", "use std::time;", "std::time"),
        ("crate::cloud::client::request", "fn f() { jiff::Timestamp::now(); }", "jiff::Timestamp::now"),
        ("crate::cloud::endpoint::allowed", "use super::super::client::Client;", "crate::cloud::client::Client"),
        ("crate::cloud::credentials::chain", "fn f() { std::env::var(\"A\"); }", "std::env::var"),
        (
            "crate::cloud::credentials::cache::signer",
            "use jiff::Timestamp; fn f() { Timestamp::now(); }",
            "jiff::Timestamp::now",
        ),
        ("crate::simulator::http", "use crate::cloud::{client::Client, sign};", "crate::cloud::client::Client"),
        (
            "crate::simulator::model",
            "fn f() -> std::time::SystemTime { std::time::SystemTime::now() }",
            "std::time::SystemTime::now",
        ),
        ("crate::simulator::model::plan", "use std::time; fn f() { time::Instant::now(); }", "std::time::Instant::now"),
        ("crate::simulator::model", "#[tokio::main] async fn f() {}", "tokio::main"),
        ("crate::controller::conditions", "use super::cloud::error::Class;", "crate::cloud::error::Class"),
        (
            "crate::controller::plan::observe",
            "use super::{diff::{Step}, resolve};",
            "crate::controller::plan::decide::Step",
        ),
        (
            "crate::controller::plan::observe",
            "use super::*; fn f() { act::run(); }",
            "crate::controller::plan::act::run",
        ),
        ("crate::controller::plan::decide", "use tracing::info;", "tracing::info"),
        ("crate::controller::plan::decide::items", "fn f() { tracing::debug!(\"x\"); }", "tracing::debug"),
        ("crate::controller::plan::decide", "use kube::{ResourceExt, Client as K};", "kube::Client"),
        (
            "crate::controller::plan::decide",
            "use super::super::super::cloud::client::Client;",
            "crate::cloud::client::Client",
        ),
        (
            "crate::controller::ownership",
            "fn f() { k8s_openapi::jiff::Timestamp::now(); }",
            "k8s_openapi::jiff::Timestamp::now",
        ),
        ("crate::controller::plan::act", "use crate::api::plan::Instance;", "crate::api::plan::Instance"),
        ("crate::controller::plan::status", "use kube::Api;", "kube::Api"),
        ("crate::controller::plan", "use super::account::users::uses;", "crate::controller::account::users::uses"),
        (
            "crate::controller::account",
            "use super::plan::DisasterRecoveryPlan;",
            "crate::controller::plan::DisasterRecoveryPlan",
        ),
        (
            "crate::controller::account::status",
            "use crate::controller::access::Accounts;",
            "crate::controller::access::Accounts",
        ),
        (
            "crate::controller::account::status",
            "use crate::cloud::credentials::cache::CredentialsCache;",
            "crate::cloud::credentials::cache::CredentialsCache",
        ),
        ("crate::controller::access", "use super::account::status;", "crate::controller::account::status"),
        ("crate::controller::access::error", "use kube::Client;", "kube::Client"),
        ("crate::controller::conditions", "use super::accounts::Access;", "crate::controller::access::Access"),
        ("crate::controller::conditions", "use crate::cloud::credentials::oidc;", "crate::cloud::credentials::oidc"),
        ("crate::cloud::sts", "use super::ebs::Ebs;", "crate::cloud::ebs::Ebs"),
        (
            "crate::controller::disk_replica_group::decide",
            "use super::super::plan::resolve;",
            "crate::controller::plan::resolve",
        ),
        (
            "crate::controller::plan",
            "use super::disk_replica_group::status;",
            "crate::controller::disk_replica_group::status",
        ),
        (
            "crate::controller::disk_replica_group::decide::drills",
            "use jiff::Timestamp; fn f() { Timestamp::now(); }",
            "jiff::Timestamp::now",
        ),
        ("crate::controller::disk_replica_group::lifecycle", "use tracing::info;", "tracing::info"),
        (
            "crate::controller::disk_replica_group::lifecycle",
            "use super::status::facts;",
            "crate::controller::disk_replica_group::status::facts",
        ),
        (
            "crate::controller::disk_replica_group::act",
            "use crate::api::disk_replica_group::Direction;",
            "crate::api::disk_replica_group::Direction",
        ),
        ("crate::controller::disk_replica_group::events", "use kube::Client;", "kube::Client"),
        ("crate::controller::conditions", "fn f() { jiff::Timestamp::now(); }", "jiff::Timestamp::now"),
        ("crate::controller::events", "use kube::runtime::events::Event;", "kube::runtime::events::Event"),
        ("crate::controller::resource", "use super::session::Session;", "crate::controller::object::Session"),
        ("crate::controller::events", "use super::plan::events;", "crate::controller::plan::events"),
        ("crate::controller::reconcile", "use super::{Context, plan::decide};", "crate::controller::plan::decide"),
        ("crate::controller", "fn f() { plan::claim(); }", "crate::controller::plan::claim"),
        ("crate::controller", "fn f() { crate::simulator::run(); }", "crate::simulator::run"),
        ("crate::controller", "#[cfg(not(test))] use crate::simulator;", "crate::simulator"),
        ("crate::cloud", "#[cfg(test)] mod tests { fn f() {} } use kube::Client;", "kube::Client"),
        ("crate::cloud", "#[cfg(test)] use a::{b, c}; mod z { use kube::Client; }", "kube::Client"),
    ] {
        let found = violations(module, source);
        let start = format!("{module} names {named}, but ");
        assert!(found.iter().any(|text| text.starts_with(&start)), "{module}: {source}\nfound {found:?}");
    }
}

#[test]
fn what_is_allowed_passes() {
    for (module, source) in [
        (
            "crate::api::plan",
            "use super::GROUP; use crate::api::{condition::ready, plan}; use kube::{CustomResource, KubeSchema};",
        ),
        (
            "crate::api",
            "//! See [`crate::cloud`].\n/// As crate::cloud::client does.\n/* use crate::cloud; /* nested */ use kube::Client; */",
        ),
        (
            "crate::api",
            "const A: &str = \"use crate::cloud;\"; const B: &str = r##\"crate::cloud::x \"# \"##; const C: &[u8] = b\"crate::cloud::\\\"x\";",
        ),
        (
            "crate::api",
            "#[cfg(test)]\nmod tests { use crate::cloud::sign; mod deep { fn f() { crate::cloud::x(); } } }",
        ),
        ("crate::api", "#[cfg(test)]\nuse crate::cloud::{sign, client};\n#[cfg(test)] mod tests;"),
        ("crate::api", "pub(in crate::cloud) struct A; fn f(c: &str) { c.cloud::<u8>(); }"),
        ("crate::cloud::client", "use super::error::{Class, Error}; use jiff::Timestamp; fn f() { Timestamp::now(); }"),
        ("crate::cloud::sign", "use jiff::Timestamp; fn f(now: Timestamp) { now.strftime(\"%F\"); }"),
        ("crate::simulator::model", "use std::time::Duration; use super::config; fn f(now: i64) {}"),
        ("crate::simulator", "use std::time::SystemTime; use crate::simulator::model; use crate::cloud::sign;"),
        (
            "crate::controller::plan::decide",
            "use super::observe::Observed; use crate::cloud::rocketmq::{Plan, PlanView}; use jiff::Timestamp; use kube::ResourceExt;",
        ),
        ("crate::controller::plan::act", "use super::diff::Step; use crate::cloud::client::Client; use tracing::info;"),
        (
            "crate::controller::plan::status",
            "use super::diff::Verdict; use crate::controller::conditions; use kube::core::Duration;",
        ),
        ("crate::controller::plan::decide", "use crate::controller::plan::resolve; use super::super::owner::Owner;"),
        (
            "crate::controller::disk_replica_group::act",
            "use super::diff::{Action, Step}; use super::observe::Cloud; use crate::cloud::ebs::Ebs; use tracing::Instrument;",
        ),
        (
            "crate::controller::disk_replica_group::events",
            "use super::act::Acted; use super::status::drill_ignored; use crate::controller::events::Change;",
        ),
        ("crate::controller::resource", "use super::{Context, Next}; use crate::telemetry::metrics::Metrics;"),
        ("crate::controller::runtime", "use super::pipeline; use crate::api::plan::DisasterRecoveryPlan;"),
        ("crate::controller::runtime", "use super::account::{self, users::Users};"),
        (
            "crate::controller::account::status",
            "use crate::cloud::credentials::{CredentialsError, identity::KeyHealth}; use super::super::accounts::AccountError;",
        ),
        (
            "crate::controller::conditions",
            "use super::accounts::AccountError; use crate::cloud::credentials::CredentialsError::Refused;",
        ),
        (
            "crate::controller::access",
            "use crate::cloud::credentials::cache::CredentialsCache; use kube::{Api, Client};",
        ),
        ("crate::controller", "pub mod plan; pub mod owner;"),
        ("bin::cloud_simulator", "use disaster_recovery_operator::simulator::Simulator; fn main() {}"),
        ("main", "use disaster_recovery_operator::{api, controller}; use kube::Client;"),
    ] {
        assert_eq!(violations(module, source), Vec::<String>::new(), "{module}: {source}");
    }
}

#[test]
fn files_are_the_modules_that_the_compiler_makes_of_them() {
    for (folder, stem, module) in [
        (&[][..], "lib", "crate"),
        (&[], "main", "main"),
        (&[], "conditions", "crate::controller::conditions"),
        (&["bin"], "cloud_simulator", "bin::cloud_simulator"),
        (&["api"], "mod", "crate::api"),
        (&["controller", "plan"], "diff", "crate::controller::plan::decide"),
        (&["controller", "plan", "diff"], "mod", "crate::controller::plan::decide"),
        (&["controller", "plan", "diff"], "items", "crate::controller::plan::decide::items"),
    ] {
        let folder: Vec<String> = folder.iter().map(|name: &&str| (*name).to_owned()).collect();
        assert_eq!(module_of(&folder, stem), module);
    }
}

#[test]
fn tests_in_files_of_their_own_are_told_apart() {
    let source =
        "mod plan; #[cfg(test)] mod tests; #[cfg(test)] #[allow(x)] pub(crate) mod doubles; #[cfg(test)] mod a { }";
    assert_eq!(test_modules("crate::model", source), ["crate::model::doubles", "crate::model::tests"]);
}
