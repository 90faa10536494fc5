//! A policy file's text as named rules: YAML, of which JSON is a part.

use super::check::Check;
use yaml_rust2::{Yaml, YamlLoader};

/// Most bytes of a file.
const BYTES_MAX: usize = 1 << 20;

/// The rules of a file, in its order.
pub(super) fn read(text: &str) -> Result<Vec<(String, Check)>, String> {
    if text.len() > BYTES_MAX {
        return Err(format!("is larger than {BYTES_MAX} bytes"));
    }
    let documents = YamlLoader::load_from_str(text).map_err(|error| format!("is neither YAML nor JSON: {error}"))?;
    let rules = match documents.as_slice() {
        [] | [Yaml::Null] => return Ok(Vec::new()),
        [Yaml::Hash(rules)] => rules,
        _ => return Err("is no mapping of rules' names to rules".to_owned()),
    };
    let read = |(name, rule): (&Yaml, &Yaml)| {
        let name = name.as_str().ok_or("has a rule whose name is no text; put it into quotes")?;
        let check = check(rule).map_err(|why| format!("the rule `{name}` {why}"))?;
        Ok((name.to_owned(), check))
    };
    rules.iter().map(read).collect()
}

/// An expression, or the old form: a list of lists, the outer one of choices, the inner ones of what must hold together.
fn check(rule: &Yaml) -> Result<Check, String> {
    let told = |why: String| format!("cannot be read: {why}");
    match rule {
        Yaml::String(text) => Check::parse(text).map_err(told),
        Yaml::Array(choices) if choices.is_empty() => Ok(Check::Always),
        Yaml::Array(choices) => {
            let choices = choices.iter().filter(|choice| choice.as_vec().is_none_or(|inner| !inner.is_empty()));
            choices.map(choice).collect::<Result<_, _>>().map(Check::Any).map_err(told)
        }
        _ => Err("is neither a text nor a list; put it into quotes".to_owned()),
    }
}

fn choice(choice: &Yaml) -> Result<Check, String> {
    let single = |check: &Yaml| match check {
        Yaml::String(text) => Check::single(text),
        _ => Err("a list holds what is no text".to_owned()),
    };
    match choice {
        Yaml::Array(together) => together.iter().map(single).collect::<Result<_, _>>().map(Check::All),
        alone => single(alone),
    }
}
