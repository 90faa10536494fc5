//! Rust text as tokens with their lines: enough to read paths and measure functions, blind to strings and comments.

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// An identifier or keyword.
    Ident,
    /// One character of punctuation, or `::`.
    Punct,
    /// A string, character, number or lifetime.
    Literal,
    /// A comment of any form.
    Comment,
}

/// A piece of the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    /// The line it begins in, from 1.
    pub(crate) line: usize,
}

impl Token<'_> {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.kind != Kind::Literal && self.kind != Kind::Comment && self.text == text
    }

    /// The line its last character is in.
    pub(crate) fn last_line(&self) -> usize {
        self.line + self.text.matches('\n').count()
    }
}

/// All tokens of a text; what is not Rust comes out as punctuation.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = measure(rest, first);
        let (text, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        if let Some(kind) = kind {
            found.push(Token { kind, text, line });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    found
}

/// Kind and length in bytes of the token at the beginning of `rest`; no kind for white space.
fn measure(rest: &str, first: char) -> (Option<Kind>, usize) {
    if first.is_whitespace() {
        return (None, first.len_utf8());
    }
    if rest.starts_with("//") {
        return (Some(Kind::Comment), rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Some(Kind::Comment), block_comment(rest));
    }
    if let Some(length) = string(rest) {
        return (Some(Kind::Literal), length);
    }
    if first == '\'' {
        return (Some(Kind::Literal), quote(rest));
    }
    if first.is_alphabetic() || first == '_' {
        return (Some(Kind::Ident), word(rest));
    }
    if first.is_ascii_digit() {
        return (Some(Kind::Literal), word(rest));
    }
    (Some(Kind::Punct), if rest.starts_with("::") { 2 } else { first.len_utf8() })
}

fn word(rest: &str) -> usize {
    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut skip = false;
    for (at, pair) in rest.char_indices().zip(rest.chars().skip(1)).map(|((at, a), b)| (at, (a, b))) {
        if std::mem::take(&mut skip) {
            continue;
        }
        match pair {
            ('/', '*') => (depth, skip) = (depth + 1, true),
            ('*', '/') => (depth, skip) = (depth.saturating_sub(1), true),
            _ => {}
        }
        if depth == 0 {
            return at + 2;
        }
    }
    rest.len()
}

/// The length of a string literal of any kind, if one begins here.
fn string(rest: &str) -> Option<usize> {
    let body = rest.trim_start_matches(['b', 'c']);
    let prefix = rest.len() - body.len();
    if prefix > 1 {
        return None;
    }
    if let Some(raw) = body.strip_prefix('r') {
        let inside = raw.trim_start_matches('#');
        let hashes = raw.len() - inside.len();
        let after = inside.strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = after.find(&end).map_or(after.len(), |at| at + end.len());
        return Some(prefix + 1 + hashes + 1 + length);
    }
    let inside = body.strip_prefix('"')?;
    Some(prefix + 1 + until_unescaped(inside, '"'))
}

/// A character literal or a lifetime.
fn quote(rest: &str) -> usize {
    let inside = rest.trim_start_matches('\'');
    let mut letters = inside.chars();
    let (first, second) = (letters.next(), letters.next());
    match (first, second) {
        (Some('\\'), _) => 1 + until_unescaped(inside, '\''),
        (Some(letter), Some('\'')) => 1 + letter.len_utf8() + 1,
        _ => 1 + word(inside),
    }
}

/// How far it is to just after the closing mark, minding backslashes.
fn until_unescaped(inside: &str, close: char) -> usize {
    let mut escaped = false;
    for (at, letter) in inside.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == close => return at + letter.len_utf8(),
            _ => {}
        }
    }
    inside.len()
}

/// The tokens that are product code: no comments, nothing under `#[cfg(test)]` or `#[test]`.
pub(crate) fn product<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    split_tests(tokens).0
}

/// The names declared as `#[cfg(test)] mod name;`.
pub(crate) fn test_modules(tokens: &[Token<'_>]) -> Vec<String> {
    let mut names = Vec::new();
    for item in split_tests(tokens).1 {
        for (at, token) in item.iter().enumerate() {
            let declares = token.is("mod") && item.get(at + 2).is_some_and(|end| end.is(";"));
            names.extend(item.get(at + 1).filter(|_| declares).map(|name| name.text.to_owned()));
        }
    }
    names
}

/// Product tokens, and the items that only tests see.
fn split_tests<'a>(tokens: &[Token<'a>]) -> (Vec<Token<'a>>, Vec<Vec<Token<'a>>>) {
    let code: Vec<Token<'a>> = tokens.iter().copied().filter(|token| token.kind != Kind::Comment).collect();
    let (mut product, mut items) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(token) = code.get(at) {
        let length = attribute(code.get(at..).unwrap_or_default());
        let body = code.get(at..at + length).unwrap_or_default();
        if length > 0 && only_for_tests(body) {
            let whole = body.get(1).is_some_and(|second| second.is("!"));
            let end = if whole { code.len() } else { at + length + item(code.get(at + length..).unwrap_or_default()) };
            items.push(code.get(at..end).unwrap_or_default().to_vec());
            at = end;
        } else {
            product.push(*token);
            at += 1;
        }
    }
    (product, items)
}

/// The number of tokens of the attribute that begins here, or zero.
fn attribute(code: &[Token<'_>]) -> usize {
    let mut words = code.iter();
    if !words.next().is_some_and(|token| token.is("#")) {
        return 0;
    }
    let mut depth = 0_usize;
    for (at, token) in code.iter().enumerate().skip(1) {
        match token.text {
            "[" => depth += 1,
            "]" if depth == 1 => return at + 1,
            "]" => depth = depth.saturating_sub(1),
            "!" if at == 1 => {}
            _ if depth == 0 => return 0,
            _ => {}
        }
    }
    0
}

fn only_for_tests(attribute: &[Token<'_>]) -> bool {
    let has = |word: &str| attribute.iter().any(|token| token.is(word));
    let single =
        attribute.len() <= 4 || attribute.get(attribute.len().saturating_sub(2)).is_some_and(|last| last.is("test"));
    has("test") && !has("not") && (has("cfg") || single) && !has("cfg_attr")
}

/// The number of tokens of the item that begins here, further attributes included.
fn item(code: &[Token<'_>]) -> usize {
    let mut depth = 0_usize;
    let mut braced = false;
    for (at, token) in code.iter().enumerate() {
        match token.text {
            _ if token.kind == Kind::Literal => {}
            "{" | "(" | "[" => {
                braced |= token.text == "{";
                depth += 1;
            }
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        let ends = token.is(";") || token.is("}") && braced;
        if depth == 0 && ends {
            let also = code.get(at + 1).is_some_and(|next| token.is("}") && next.is(";"));
            return at + 1 + usize::from(also);
        }
    }
    code.len()
}
