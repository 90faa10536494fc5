//! Files and functions that a reader can hold, and a first line that says what a file is for.

use super::lexer::{Kind, Token, product, tokens};
use super::{Finding, SourceFile};
use std::collections::BTreeSet;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Checks sizes of product files, and the opening of every source file.
pub(crate) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        findings.extend(opening(file));
        if file.is_rust() && !file.test {
            findings.extend(length(file));
            findings.extend(functions(file));
        }
    }
    findings
}

fn opening(file: &SourceFile) -> Option<Finding> {
    let first = file.text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!/")).unwrap_or_default();
    let (mark, wanted) = match file.path.rsplit('.').next() {
        Some("rs") => ("//!", "begin with `//!`: what the file owns, what it never does"),
        Some("py") => ("\"\"\"", "begin with a docstring: what the file owns, what it never does"),
        _ => return None,
    };
    (!first.starts_with(mark)).then(|| Finding::new(file, 1, "opening", wanted))
}

fn length(file: &SourceFile) -> Option<Finding> {
    let lines = file.text.lines().count();
    let told =
        format!("{lines} lines, at most {FILE_LINES_MAX}; split by what changes together, big tests into `tests.rs`");
    (lines > FILE_LINES_MAX).then(|| Finding::new(file, FILE_LINES_MAX, "file length", told))
}

fn functions(file: &SourceFile) -> Vec<Finding> {
    let code = tokens(&file.text);
    let code = product(&code);
    let mut findings = Vec::new();
    for (at, token) in code.iter().enumerate().filter(|(_, token)| token.is("fn")) {
        let Some(name) = code.get(at + 1).filter(|name| name.kind == Kind::Ident) else { continue };
        let lines = body_lines(code.get(at..).unwrap_or_default());
        if lines > FUNCTION_LINES_MAX {
            let told =
                format!("`{}` has {lines} lines of code, at most {FUNCTION_LINES_MAX}; name its steps", name.text);
            findings.push(Finding::new(file, token.line, "function length", told));
        }
    }
    findings
}

/// Lines of the function's body that hold code, braces apart.
fn body_lines(code: &[Token<'_>]) -> usize {
    let (mut depth, mut braces) = (0_usize, 0_usize);
    let mut lines = BTreeSet::new();
    for token in code {
        match token.text {
            _ if token.kind == Kind::Literal => {}
            ";" if depth == 0 => return 0,
            "(" | "[" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "{" => (depth, braces) = (depth + 1, braces + 1),
            "}" => (depth, braces) = (depth.saturating_sub(1), braces.saturating_sub(1)),
            _ => {}
        }
        if braces > 0 {
            lines.extend(token.line..=token.last_line());
        } else if !lines.is_empty() {
            lines.insert(token.line);
            return lines.len().saturating_sub(2).max(1);
        }
    }
    lines.len()
}
