//! The language of rules: checks, and how their text is read. Decides nothing.
//!
//! As oslo.policy has it: `kind:match` with `and`, `or`, `not` and brackets, `@` for always, `!` for never, an empty text for always; `and`
//! binds closer than `or`. Where oslo denies what it cannot read, this refuses it.

use super::Bearer;

/// Deepest nesting of brackets and negations.
const DEPTH_MAX: usize = 64;

/// What must hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Check {
    Always,
    Never,
    All(Vec<Check>),
    Any(Vec<Check>),
    Not(Box<Check>),
    /// What another rule says.
    Rule(String),
    /// Whether he is an administrator: `True` or `False`.
    Admin(String),
    /// A role of his.
    Role(Text),
    /// Something of his is this.
    Is(Attribute, Text),
}

/// What can be known of a bearer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Attribute {
    User,
    Project,
    UserDomain,
    ProjectDomain,
    /// Never known: nobody gets here with a token that is not a project's.
    System,
}

impl Attribute {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "user_id" | "user" => Self::User,
            "project_id" | "tenant_id" | "tenant" => Self::Project,
            "user_domain_id" | "user_domain" => Self::UserDomain,
            "project_domain_id" | "project_domain" => Self::ProjectDomain,
            "system_scope" => Self::System,
            _ => return None,
        })
    }

    pub(super) const fn of<'a>(self, bearer: &Bearer<'a>) -> &'a str {
        match self {
            Self::User => bearer.user,
            Self::Project => bearer.project,
            Self::UserDomain => bearer.user_domain,
            Self::ProjectDomain => bearer.project_domain,
            Self::System => "",
        }
    }
}

/// What something is compared with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Text {
    Literal(String),
    /// `%(project_id)s`: the project of the queue that is asked for, which is the bearer's.
    Project,
}

impl Text {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "%(project_id)s" => Ok(Self::Project),
            _ if text.contains("%(") => Err(format!("`{text}`: of what is asked for, only %(project_id)s is known")),
            _ => Ok(Self::Literal(text.to_owned())),
        }
    }

    pub(super) fn of<'a>(&'a self, bearer: &Bearer<'a>) -> &'a str {
        match self {
            Self::Literal(text) => text,
            Self::Project => bearer.project,
        }
    }
}

impl Check {
    /// Calls a function with every check in this one, and this one.
    pub(super) fn each<'a>(&'a self, work: &mut impl FnMut(&'a Self)) {
        work(self);
        match self {
            Self::All(checks) | Self::Any(checks) => checks.iter().for_each(|check| check.each(work)),
            Self::Not(check) => check.each(work),
            _ => {}
        }
    }

    /// Reads an expression.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let words = words(text);
        if words.is_empty() {
            return Ok(Self::Always);
        }
        let mut reader = Reader { words: words.into_iter().peekable(), depth: 0 };
        let check = reader.any()?;
        match reader.words.next() {
            None => Ok(check),
            Some(word) => Err(format!("`{word}` stands where `and` or `or` should")),
        }
    }

    /// Reads one check.
    pub(super) fn single(text: &str) -> Result<Self, String> {
        let known =
            "known are rule:, role:, is_admin:, user_id:, project_id:, user_domain_id:, project_domain_id:, @ and !";
        match text.split_once(':') {
            _ if text == "@" => Ok(Self::Always),
            _ if text == "!" => Ok(Self::Never),
            None => Err(format!("`{text}` is no check; write kind:match")),
            Some((_, "")) => Err(format!("`{text}` asks for nothing after the colon")),
            Some(("rule", name)) => Ok(Self::Rule(name.to_owned())),
            Some(("role", role)) => Ok(Self::Role(Text::parse(role)?)),
            Some(("is_admin", wanted @ ("True" | "False"))) => Ok(Self::Admin(wanted.to_owned())),
            Some(("is_admin", _)) => Err(format!("`{text}`: is_admin is True or False")),
            Some(("http" | "https", _)) => {
                Err(format!("`{text}`: no other service is asked; write the rule itself ({known})"))
            }
            Some((kind, wanted)) => match Attribute::parse(kind) {
                Some(attribute) => Ok(Self::Is(attribute, Text::parse(wanted)?)),
                None => Err(format!("`{text}`: there is no check `{kind}`; {known}")),
            },
        }
    }
}

/// The words of an expression; brackets around words stand alone, those of `%(…)s` stay.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        let inner = word.trim_start_matches('(');
        words.extend(std::iter::repeat_n("(", word.len() - inner.len()));
        let bare = inner.trim_end_matches(')');
        words.extend(Some(bare).filter(|bare| !bare.is_empty()));
        words.extend(std::iter::repeat_n(")", inner.len() - bare.len()));
    }
    words
}

struct Reader<'a> {
    words: std::iter::Peekable<std::vec::IntoIter<&'a str>>,
    depth: usize,
}

impl Reader<'_> {
    fn take(&mut self, keyword: &str) -> bool {
        self.words.next_if(|word| word.eq_ignore_ascii_case(keyword)).is_some()
    }

    fn any(&mut self) -> Result<Check, String> {
        let first = self.all()?;
        let mut checks = vec![first];
        while self.take("or") {
            checks.push(self.all()?);
        }
        Ok(alone(checks).unwrap_or_else(Check::Any))
    }

    fn all(&mut self) -> Result<Check, String> {
        let first = self.one()?;
        let mut checks = vec![first];
        while self.take("and") {
            checks.push(self.one()?);
        }
        Ok(alone(checks).unwrap_or_else(Check::All))
    }

    fn one(&mut self) -> Result<Check, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("is nested deeper than {DEPTH_MAX}"));
        }
        let check = match self.words.next() {
            None => return Err("ends where a check should stand".to_owned()),
            Some("(") => {
                let check = self.any()?;
                if !self.take(")") {
                    return Err("a bracket is not closed".to_owned());
                }
                check
            }
            Some(word) if word.eq_ignore_ascii_case("not") => Check::Not(Box::new(self.one()?)),
            Some(word) => Check::single(word)?,
        };
        self.depth -= 1;
        Ok(check)
    }
}

/// The one check of a list; the list when there are more.
fn alone(mut checks: Vec<Check>) -> Result<Check, Vec<Check>> {
    match checks.pop() {
        Some(check) if checks.is_empty() => Ok(check),
        Some(check) => {
            checks.push(check);
            Err(checks)
        }
        None => Err(checks),
    }
}
