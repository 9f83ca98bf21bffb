//! The modules of a source tree and the paths that they name, resolved to the modules that define them.
//!
//! Names are resolved through `self`, `super`, `crate`, renames, globs and re-exports. Test code is left out. Paths in the
//! arguments of macros and attributes count. Methods of a value have no path and do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::successors;

use syn::buffer::{Cursor, TokenBuffer};
use syn::ext::IdentExt;
use syn::visit::{self, Visit};
use syn::{Attribute, Ident, ImplItem, Item, Meta, UseTree, Visibility};

/// The name of the library in the programs.
const LIBRARY: &str = "disaster_recovery_operator";
/// The name under which `async` and `await` are recorded.
pub const ASYNC: &str = "async";

/// How a module names a path: in a private `use` declaration, in one with a visibility, or elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Usage {
    Import,
    Export,
    Code,
}

struct Use {
    path: String,
    exported: bool,
}

/// One module. An inline module has the file of its parent.
#[derive(Default)]
pub struct Module {
    pub file: String,
    items: BTreeSet<String>,
    uses: BTreeMap<String, Use>,
    globs: Vec<Use>,
    names: BTreeSet<(Usage, String)>,
}

/// A path that a module names. `spellings` leads from the written path to the definition.
pub struct Name<'a> {
    pub module: &'a str,
    pub file: &'a str,
    pub usage: Usage,
    pub spellings: Vec<String>,
}

/// All modules by path: `crate::…` for the library, `main` and `bin::…` for the programs.
#[derive(Default)]
pub struct Tree {
    pub modules: BTreeMap<String, Module>,
    tests: BTreeSet<String>,
}

/// Whether a path is an ancestor or one of its descendants.
pub fn below(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

impl Tree {
    /// Reads sources: paths below `src` and texts.
    pub fn new<'a>(sources: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut tree = Self::default();
        for (file, source) in sources {
            let stem = file.trim_end_matches(".rs").replace('-', "_").replace('/', "::");
            let place = match stem.as_str() {
                "lib" => "crate".into(),
                _ if stem == "main" || below(&stem, "bin") => stem,
                _ => format!("crate::{}", stem.trim_end_matches("::mod")),
            };
            let parsed = syn::parse_file(source).unwrap_or_else(|error| panic!("src/{file}: {error}"));
            Scan { tree: &mut tree, file, place: String::new() }.within(place, &parsed.items);
        }
        let Self { modules, tests } = &mut tree;
        modules.retain(|module, _| !tests.iter().any(|test| below(module, test)));
        tree
    }

    /// Every path that the modules name.
    pub fn names(&self) -> impl Iterator<Item = Name<'_>> {
        let all = self.modules.iter().flat_map(|(module, it)| it.names.iter().map(move |name| (module, it, name)));
        all.filter_map(|(module, it, (usage, path))| {
            let spellings = self.resolve(module, path);
            let definition = spellings.last()?;
            // One word is a local name, unless a `use` declaration or a glob brings it from another module.
            let foreign = below(definition, "crate") && !self.modules.contains_key(definition);
            let counts = *usage != Usage::Code || path.contains("::") || path == ASYNC || foreign;
            counts.then_some(Name { module, file: &it.file, usage: *usage, spellings })
        })
    }

    /// The innermost module of a path of the crate.
    pub fn home(&self, path: &str) -> Option<&str> {
        let mut ancestors = successors(Some(path), |path| path.rsplit_once("::").map(|it| it.0));
        ancestors.find_map(|it| self.modules.get_key_value(it)).map(|it| it.0.as_str())
    }

    /// Whether a module or an item has this path, also by a re-export.
    pub fn exists(&self, path: &str) -> bool {
        let (module, name) = path.rsplit_once("::").unwrap_or((path, ""));
        self.modules.contains_key(path) || self.exposes(module, name, module, 0)
    }

    fn resolve(&self, place: &str, path: &str) -> Vec<String> {
        let mut all = vec![self.anchored(place, path)];
        while let Some(next) = self.step(place, &all[all.len() - 1]).filter(|next| !all.contains(next)) {
            all.push(next);
        }
        all
    }

    /// A path from the root of the crate, or from the name of another crate.
    fn anchored(&self, place: &str, path: &str) -> String {
        let (first, rest) = path.split_once("::").unwrap_or((path, ""));
        match first {
            "" => rest.to_owned(),
            LIBRARY => format!("crate::{rest}"),
            _ if first != "crate" && self.exposes(place, first, place, 0) => format!("{place}::{path}"),
            _ => path.to_owned(),
        }
    }

    /// Follows one `use` declaration or glob of the innermost module.
    fn step(&self, place: &str, path: &str) -> Option<String> {
        let home = self.home(path)?;
        let rest = path[home.len()..].strip_prefix("::")?;
        let (name, tail) = rest.split_at(rest.find("::").unwrap_or(rest.len()));
        let (module, visible) = (&self.modules[home], |it: &&Use| it.exported || below(place, home));
        if module.items.contains(name) {
            return None;
        }
        if let Some(used) = module.uses.get(name).filter(visible) {
            // `use anyhow::anyhow` begins with the name of the other crate.
            let target = if below(&used.path, name) { used.path.clone() } else { self.anchored(home, &used.path) };
            return Some(target + tail);
        }
        let mut targets = module.globs.iter().filter(visible).filter_map(|it| self.resolve(home, &it.path).pop());
        targets.find(|it| it != home && self.exposes(it, name, place, 0)).map(|it| format!("{it}::{rest}"))
    }

    fn exposes(&self, module: &str, name: &str, place: &str, depth: usize) -> bool {
        let Some(it) = self.modules.get(module) else { return false };
        let visible = |it: &&Use| it.exported || below(place, module);
        let through = |glob: &Use| {
            let target = self.resolve(module, &glob.path).pop().unwrap_or_default();
            target != module && self.exposes(&target, name, place, depth + 1)
        };
        self.modules.contains_key(&format!("{module}::{name}"))
            || it.items.contains(name)
            || it.uses.get(name).is_some_and(|it| visible(&it))
            || depth < 8 && it.globs.iter().filter(visible).any(|glob| below(&glob.path, "crate") && through(glob))
    }
}

/// The walk through one file.
struct Scan<'a> {
    tree: &'a mut Tree,
    file: &'a str,
    place: String,
}

impl Scan<'_> {
    fn within(&mut self, place: String, items: &[Item]) {
        self.tree.modules.insert(place.clone(), Module { file: self.file.to_owned(), ..Module::default() });
        let outer = std::mem::replace(&mut self.place, place);
        items.iter().for_each(|item| self.visit_item(item));
        self.place = outer;
    }

    fn module(&mut self) -> &mut Module {
        self.tree.modules.entry(self.place.clone()).or_default()
    }

    /// Records a path, with `self`, `super` and, in a program, `crate` replaced.
    fn record(&mut self, usage: Usage, path: &[String]) -> String {
        let mut place: Vec<_> = self.place.split("::").map(str::to_owned).collect();
        let mut rest = path.iter().map(String::as_str).peekable();
        match path.first().map(String::as_str) {
            Some("crate") => place.truncate(if rest.next().is_some() && place[0] == "bin" { 2 } else { 1 }),
            Some("self" | "super") => {
                rest.next_if_eq(&"self");
                while rest.next_if_eq(&"super").is_some() {
                    place.pop();
                }
            }
            _ => place.clear(),
        }
        if path.is_empty() {
            return String::new();
        }
        let path = place.into_iter().chain(rest.map(str::to_owned)).collect::<Vec<_>>().join("::");
        self.module().names.insert((usage, path.clone()));
        path
    }

    fn use_tree(&mut self, mut path: Vec<String>, tree: &UseTree, exported: bool) {
        let usage = if exported { Usage::Export } else { Usage::Import };
        let (last, name) = match tree {
            UseTree::Path(it) => {
                path.push(it.ident.unraw().to_string());
                return self.use_tree(path, &it.tree, exported);
            }
            UseTree::Group(it) => return it.items.iter().for_each(|it| self.use_tree(path.clone(), it, exported)),
            UseTree::Glob(_) => {
                path.push("*".to_owned());
                let path = self.record(usage, &path).trim_end_matches("::*").to_owned();
                return self.module().globs.push(Use { path, exported });
            }
            UseTree::Name(it) => (&it.ident, &it.ident),
            UseTree::Rename(it) => (&it.ident, &it.rename),
        };
        if last != "self" || path.is_empty() {
            path.push(last.unraw().to_string());
        }
        let name = if name == "self" { path[path.len() - 1].clone() } else { name.unraw().to_string() };
        let path = self.record(usage, &path);
        self.module().uses.insert(name, Use { path, exported });
    }

    /// Records the paths in the arguments of a macro or an attribute.
    fn tokens(&mut self, mut at: Cursor<'_>) {
        let (mut path, mut colons) = (Vec::new(), 0);
        while let Some((_, next)) = at.token_tree() {
            let ident =
                at.ident().map(|(ident, _)| if ident == "await" { ASYNC.into() } else { ident.unraw().to_string() });
            let colon = at.punct().is_some_and(|(punct, _)| punct.as_char() == ':');
            if !(colon || ident.is_some() && colons == 2) {
                self.record(Usage::Code, &std::mem::take(&mut path));
            }
            colons = if colon { colons + 1 } else { 0 };
            path.extend(ident);
            if let Some((inside, ..)) = at.any_group() {
                self.tokens(inside);
            }
            at = next;
        }
        self.record(Usage::Code, &path);
    }

    fn asynchronous(&mut self, is: bool) {
        if is {
            self.record(Usage::Code, &[ASYNC.to_owned()]);
        }
    }
}

/// Whether code is compiled for tests only.
fn for_tests(attributes: &[Attribute]) -> bool {
    fn test(meta: &Meta) -> bool {
        let all = syn::punctuated::Punctuated::<Meta, syn::Token![,]>::parse_terminated;
        match meta {
            Meta::List(it) if it.path.is_ident("all") => it.parse_args_with(all).is_ok_and(|it| it.iter().any(test)),
            Meta::Path(_) | Meta::List(_) | Meta::NameValue(_) => meta.path().is_ident("test"),
        }
    }
    attributes.iter().any(|it| it.path().is_ident("cfg") && it.parse_args::<Meta>().is_ok_and(|it| test(&it)))
}

macro_rules! parts {
    ($item:expr, named: $($named:ident)*, unnamed: $($unnamed:ident)*) => {
        match $item {
            $(Item::$named(it) => (Some(&it.ident), &it.attrs),)*
            $(Item::$unnamed(it) => (None, &it.attrs),)*
            Item::Fn(it) => (Some(&it.sig.ident), &it.attrs),
            Item::Macro(it) => (it.ident.as_ref(), &it.attrs),
            _ => (None, &[]),
        }
    };
}

impl<'ast> Visit<'ast> for Scan<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let (name, attributes): (Option<&Ident>, &[Attribute]) =
            parts!(item, named: Const Enum Static Struct Trait Type Union, unnamed: Impl Mod Use);
        if !for_tests(attributes) {
            self.module().items.extend(name.map(|name| name.unraw().to_string()));
            visit::visit_item(self, item);
        } else if let Item::Mod(it) = item {
            self.tree.tests.insert(format!("{}::{}", self.place, it.ident));
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if !matches!(item, ImplItem::Fn(it) if for_tests(&it.attrs)) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if let Some((_, items)) = &item.content {
            self.within(format!("{}::{}", self.place, item.ident), items);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let start = item.leading_colon.iter().map(|_| String::new()).collect();
        self.use_tree(start, &item.tree, !matches!(item.vis, Visibility::Inherited));
    }

    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let start = path.leading_colon.iter().map(|_| String::new());
        let path_of = start.chain(path.segments.iter().map(|it| it.ident.unraw().to_string()));
        self.record(Usage::Code, &path_of.collect::<Vec<_>>());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, it: &'ast syn::Macro) {
        self.visit_path(&it.path);
        self.tokens(TokenBuffer::new2(it.tokens.clone()).begin());
    }

    fn visit_meta_list(&mut self, it: &'ast syn::MetaList) {
        self.visit_path(&it.path);
        self.tokens(TokenBuffer::new2(it.tokens.clone()).begin());
    }

    fn visit_signature(&mut self, it: &'ast syn::Signature) {
        self.asynchronous(it.asyncness.is_some());
        visit::visit_signature(self, it);
    }

    fn visit_expr_closure(&mut self, it: &'ast syn::ExprClosure) {
        self.asynchronous(it.asyncness.is_some());
        visit::visit_expr_closure(self, it);
    }

    fn visit_expr_async(&mut self, it: &'ast syn::ExprAsync) {
        self.asynchronous(true);
        visit::visit_expr_async(self, it);
    }

    fn visit_expr_await(&mut self, it: &'ast syn::ExprAwait) {
        self.asynchronous(true);
        visit::visit_expr_await(self, it);
    }
}
