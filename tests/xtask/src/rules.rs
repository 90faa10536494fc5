//! The house rules: what the compiler and clippy do not hold by themselves.
//!
//! A rule reads text and gives findings; it never changes a file. Each has a name, a place and a sentence that says what to do.

mod arrows;
mod lexer;
mod promises;
mod sizes;
#[cfg(test)]
mod tests;
mod words;

use crate::project::Project;
use std::fmt;
use std::path::Path;

/// One breach of a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Finding {
    file: String,
    line: usize,
    rule: &'static str,
    what_to_do: String,
}

impl Finding {
    fn new(file: &SourceFile, line: usize, rule: &'static str, what_to_do: impl Into<String>) -> Self {
        Self { file: file.path.clone(), line, rule, what_to_do: what_to_do.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}:{}: {}: {}", self.file, self.line, self.rule, self.what_to_do)
    }
}

/// Where the product's own code is.
const PRODUCT_FOLDERS: &[&str] = &["src/", "republisher/src/"];

/// A text file of the project.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
    /// Nothing of it is in the product: test code, by its name or by how it is declared.
    test: bool,
}

impl SourceFile {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), test: is_test_path(path) }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// In `src/` or the republisher, and not test code.
    fn is_product(&self) -> bool {
        self.is_rust() && !self.test && PRODUCT_FOLDERS.iter().any(|folder| self.path.starts_with(folder))
    }
}

fn is_test_path(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.starts_with("tests/") || path.contains("/tests/") || name == "tests.rs" || name.ends_with("_tests.rs")
}

/// Checks the whole project and prints what it finds.
pub(crate) fn check(project: &Project) -> Result<(), String> {
    println!("house rules");
    let mut files = Vec::new();
    for path in project.files()? {
        let bytes = std::fs::read(project.root.join(&path)).map_err(|error| format!("{}: {error}", path.display()))?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(SourceFile::new(&slashes(&path), &text));
        }
    }
    let findings = findings(files);
    for finding in &findings {
        println!("  {finding}");
    }
    if findings.is_empty() {
        println!("  ok");
        return Ok(());
    }
    Err(format!("{} house rules broken", findings.len()))
}

/// All breaches in these files, by file and line.
pub(crate) fn findings(mut files: Vec<SourceFile>) -> Vec<Finding> {
    mark_declared_tests(&mut files);
    let mut all = Vec::new();
    all.extend(arrows::check(&files));
    all.extend(sizes::check(&files));
    all.extend(words::check(&files));
    all.extend(promises::check(&files));
    all.sort_by(|a, b| (&a.file, a.line, a.rule).cmp(&(&b.file, b.line, b.rule)));
    all
}

/// A file declared by `#[cfg(test)] mod name;` is test code whatever its name.
fn mark_declared_tests(files: &mut [SourceFile]) {
    let mut prefixes = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let folder = module_folder(&file.path);
        for name in lexer::test_modules(&lexer::tokens(&file.text)) {
            prefixes.push((format!("{folder}/{name}.rs"), format!("{folder}/{name}/")));
        }
    }
    for file in files.iter_mut() {
        file.test |= prefixes.iter().any(|(alone, below)| file.path == *alone || file.path.starts_with(below));
    }
}

/// The folder that holds the submodules of this file.
fn module_folder(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        _ => format!("{folder}/{}", name.trim_end_matches(".rs")),
    }
}

fn slashes(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
