//! Which layer may use which: the arrows drawn in `src/lib.rs`, read from every path in the source.

use super::lexer::{Kind, Token, product, tokens};
use super::{Finding, SourceFile, module_folder};
use std::collections::BTreeSet;

/// What a layer may use of ours. `storage` is the trait alone, `storage::*` every engine, `*` everything.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["cli", "server"]),
    ("cli", &["server", "config", "storage", "storage::*", "broker::codec"]),
    ("server", &["*"]),
    ("config", &["domain", "telemetry"]),
    ("api", &["api"]),
    ("api::*", &["api", "broker", "auth", "domain", "telemetry"]),
    ("delivery", &["broker", "domain", "telemetry"]),
    ("broker", &["domain", "storage", "validation", "clock", "telemetry"]),
    ("auth", &["broker", "domain"]),
    ("validation", &["domain"]),
    ("storage", &["clock", "telemetry"]),
    ("storage::*", &["storage", "clock", "telemetry"]),
    ("telemetry", &[]),
    ("clock", &[]),
    ("domain", &[]),
];

/// Modules that are a layer of their own inside `storage`; the rest of it is the trait with its limits.
const ENGINES: &[&str] = &["memory", "segment", "cql", "metered", "faulty"];

/// Crates that only these layers may touch.
const FENCED: &[(&str, &[&str])] = &[
    ("actix_web", &["api", "api::*", "server"]),
    ("actix_http", &["api", "api::*", "server"]),
    ("reqwest", &["cli", "delivery", "auth", "server"]),
    ("clap", &["cli", "main"]),
];

/// All that the pure layer may use from outside.
const DOMAIN_CRATES: &[&str] = &["std", "core", "alloc", "bytes"];

/// Checks every product file under `src/`, and that the republisher stands by itself.
pub(crate) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let layers = Layers::of(files);
    let crates = dependencies(files);
    let mut findings = republisher(files);
    for file in files.iter().filter(|file| file.is_product() && file.path != "src/lib.rs") {
        let own = module_path(&file.path);
        let Some(layer) = layers.layer(&own) else { continue };
        let code = tokens(&file.text);
        let code = product(&code);
        for (line, path) in paths(&code, &own) {
            match path.split_first() {
                Some((root, inside)) if root == "crate" || root == "angelia" => {
                    findings.extend(arrow(file, line, &layers, &layer, inside));
                }
                Some((outside, _)) => findings.extend(fence(file, line, &layer, outside, &crates)),
                None => {}
            }
        }
    }
    findings.dedup();
    findings
}

/// The republisher knows the public HTTP API only: its manifest does not name the library.
fn republisher(files: &[SourceFile]) -> Vec<Finding> {
    let manifests = files.iter().filter(|file| file.path == "republisher/Cargo.toml");
    let lines = manifests.flat_map(|file| file.text.lines().enumerate().map(move |(at, line)| (file, at + 1, line)));
    let named = lines.filter(|(_, _, line)| line.starts_with("angelia"));
    let told = "the republisher speaks the public HTTP API only; do without the library";
    named.map(|(file, line, _)| Finding::new(file, line, "arrow", told)).collect()
}

fn arrow(file: &SourceFile, line: usize, layers: &Layers, from: &str, path: &[String]) -> Option<Finding> {
    let to = layers.layer(path)?;
    let inside = to == from || path.first().map(String::as_str) == Some(from);
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| pattern(name, from)) else {
        let told =
            format!("the layer `{from}` is not on the map; draw its arrows in src/lib.rs and in the house rules");
        return Some(Finding::new(file, line, "arrow", told));
    };
    let full = path.join("::");
    let ok =
        |name: &&str| *name == "*" || pattern(name, &to) || full == **name || full.starts_with(&format!("{name}::"));
    // An allowed parent does not open its split children: `storage` is the trait, not the engines.
    let open = |name: &&str| ok(name) && (**name == *"*" || !to.contains("::") || name.contains("::"));
    if inside || allowed.iter().any(open) {
        return None;
    }
    let may = if allowed.is_empty() { "nothing of ours".to_owned() } else { allowed.join(", ") };
    let told = format!(
        "`{from}` may not use `crate::{full}`; it may use {may}. Move the code, or let the layer above hand it in"
    );
    Some(Finding::new(file, line, "arrow", told))
}

fn fence(file: &SourceFile, line: usize, layer: &str, outside: &str, crates: &BTreeSet<String>) -> Option<Finding> {
    if layer == "domain" && !DOMAIN_CRATES.contains(&outside) && crates.contains(outside) {
        let told = format!("`domain` uses std and bytes only, not `{outside}`; keep it pure");
        return Some(Finding::new(file, line, "crate", told));
    }
    let (_, owners) = FENCED.iter().find(|(name, _)| *name == outside && crates.contains(outside))?;
    if owners.iter().any(|owner| pattern(owner, layer)) {
        return None;
    }
    let told = format!("`{layer}` may not use the crate `{outside}`; only {} may", owners.join(", "));
    Some(Finding::new(file, line, "crate", told))
}

fn pattern(name: &str, layer: &str) -> bool {
    match name.strip_suffix("::*") {
        Some(parent) => layer.strip_prefix(parent).is_some_and(|rest| rest.starts_with("::")),
        None => name == layer,
    }
}

/// The layers there are: top modules, the dialects, the engines.
#[derive(Debug)]
struct Layers(BTreeSet<String>);

impl Layers {
    fn of(files: &[SourceFile]) -> Self {
        let mut known = BTreeSet::new();
        for file in files.iter().filter(|file| file.path.starts_with("src/") && file.is_rust()) {
            let path = module_path(&file.path);
            known.extend(path.first().cloned());
            let apart = match path.get(..2) {
                Some([top, _]) if top == "api" => true,
                Some([top, below]) => top == "storage" && ENGINES.contains(&below.as_str()),
                _ => false,
            };
            known.extend(path.get(..2).filter(|_| apart).map(|two| two.join("::")));
        }
        Self(known)
    }

    /// The layer that a module path is in; none for what is no layer, such as a macro of the crate.
    fn layer(&self, path: &[String]) -> Option<String> {
        let two = path.get(..2).map(|two| two.join("::")).filter(|two| self.0.contains(two));
        two.or_else(|| path.first().filter(|top| self.0.contains(*top)).cloned())
    }
}

/// `src/broker/topic.rs` → `[broker, topic]`.
fn module_path(path: &str) -> Vec<String> {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    if inside == "main.rs" {
        return vec!["main".to_owned()];
    }
    let folder = module_folder(&format!("/{inside}"));
    folder.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The names of the package's dependencies, as paths spell them.
fn dependencies(files: &[SourceFile]) -> BTreeSet<String> {
    let manifest = files.iter().find(|file| file.path == "Cargo.toml").map_or("", |file| file.text.as_str());
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once('=').filter(|_| inside) {
            names.insert(name.trim().split('.').next().unwrap_or_default().replace('-', "_"));
        }
    }
    names
}

/// Every path in the code with its line, groups taken apart, `self` and `super` resolved. Only paths that begin with a
/// module or a crate: what follows `.` or another `::` is no beginning.
fn paths(code: &[Token<'_>], own: &[String]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(token) = code.get(at) {
        let begins = token.kind == Kind::Ident
            && code.get(at + 1).is_some_and(|next| next.is("::"))
            && !at
                .checked_sub(1)
                .and_then(|before| code.get(before))
                .is_some_and(|before| before.is("::") || before.is("."));
        if begins {
            let line = token.line;
            let mut leaves = Vec::new();
            at = tree(code, at, &mut Vec::new(), &mut leaves);
            found.extend(leaves.into_iter().map(|leaf| (line, resolve(leaf, own))));
        } else {
            let bare = token.is("use").then(|| code.get(at + 1)).flatten();
            let alone = bare.filter(|_| code.get(at + 2).is_some_and(|end| end.is(";") || end.is("as")));
            found.extend(alone.map(|name| (name.line, vec![name.text.to_owned()])));
            at += 1;
        }
    }
    found
}

/// Reads one path or use-tree from `at`, adds its leaves, gives the position after it.
fn tree(code: &[Token<'_>], mut at: usize, prefix: &mut Vec<String>, leaves: &mut Vec<Vec<String>>) -> usize {
    let depth = prefix.len();
    while let Some(token) = code.get(at).filter(|token| token.kind == Kind::Ident) {
        prefix.push(token.text.to_owned());
        at += 1;
        if !code.get(at).is_some_and(|next| next.is("::")) {
            break;
        }
        at += 1;
    }
    if code.get(at).is_some_and(|token| token.is("{"))
        && code.get(at.wrapping_sub(1)).is_some_and(|token| token.is("::"))
    {
        at += 1;
        while code.get(at).is_some_and(|token| !token.is("}")) {
            let before = at;
            at = tree(code, at, prefix, leaves);
            at += usize::from(at == before || code.get(at).is_some_and(|token| token.is(",")));
        }
        at += 1;
    } else {
        leaves.push(prefix.clone());
    }
    prefix.truncate(depth);
    at
}

fn resolve(path: Vec<String>, own: &[String]) -> Vec<String> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    let here = path.first().is_some_and(|first| first == "self");
    if ups == 0 && !here {
        return path;
    }
    let base = own.len().saturating_sub(ups);
    let mut full = vec!["crate".to_owned()];
    full.extend(own.iter().take(base).cloned());
    full.extend(path.into_iter().skip(ups + usize::from(here)));
    full
}
