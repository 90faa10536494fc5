//! Rules: which messages, to which topic, with which attributes. The first rule that takes a message decides.
//!
//! Pure: a message in, a [`Route`] out. Never sends anything.

use crate::field::Field;
use crate::message::{Attributes, View};
use crate::template::{Naming, Template};
use regex::Regex;
use std::borrow::Cow;

/// What a field must be like.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    /// Exactly one of these texts.
    OneOf(Vec<String>),
    /// Beginning with this text.
    Prefix(String),
    /// Matching this expression anywhere.
    Matches(Regex),
    /// There, or not there.
    Exists(bool),
}

/// A test of one field.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) field: Field,
    pub(crate) test: Test,
}

impl Condition {
    fn holds(&self, view: &View<'_>) -> bool {
        let text = view.text(&self.field);
        match (&self.test, text) {
            (Test::Exists(wanted), text) => *wanted == text.is_some(),
            (_, None) => false,
            (Test::OneOf(texts), Some(text)) => texts.iter().any(|one| *one == text),
            (Test::Prefix(prefix), Some(text)) => text.starts_with(prefix.as_str()),
            (Test::Matches(regex), Some(text)) => regex.is_match(&text),
        }
    }
}

/// What becomes of attributes: renamed, then removed, then set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rewrite {
    pub(crate) rename: Vec<(String, String)>,
    pub(crate) remove: Vec<String>,
    /// An attribute whose template lacks a field stays as it is.
    pub(crate) set: Vec<(String, Template)>,
}

impl Rewrite {
    fn apply<'v>(&'v self, view: &'v View<'_>) -> Attributes<'v> {
        let kept = view.message.attributes.0.iter();
        let mut all: Vec<(Cow<'v, str>, Cow<'v, str>)> =
            kept.map(|(name, value)| (Cow::Borrowed(name.as_ref()), Cow::Borrowed(value.as_ref()))).collect();
        for (from, to) in &self.rename {
            if let Some(at) = all.iter().position(|(name, _)| name == from) {
                let (_, value) = all.remove(at);
                put(&mut all, to, value);
            }
        }
        all.retain(|(name, _)| !self.remove.iter().any(|removed| removed == name));
        for (name, template) in &self.set {
            if let Some(value) = template.fill(view) {
                put(&mut all, name, value);
            }
        }
        Attributes(all)
    }
}

fn put<'v>(all: &mut Vec<(Cow<'v, str>, Cow<'v, str>)>, name: &'v str, value: Cow<'v, str>) {
    all.retain(|(other, _)| other != name);
    all.push((Cow::Borrowed(name), value));
}

/// One rule. It takes a message if all conditions hold and the topic's fields are there.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) topic: Template,
    pub(crate) rewrite: Rewrite,
}

/// What is done with a message that no rule takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Unmatched {
    /// It is acknowledged and goes nowhere.
    Drop,
    /// Nothing is taken from the source any more.
    Stop,
    /// It goes, as it is, to this topic.
    Topic(String),
}

/// All rules of a pair.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) rules: Vec<Rule>,
    pub(crate) naming: Naming,
    pub(crate) unmatched: Unmatched,
}

/// Where a message goes.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Route<'v> {
    /// To this topic, with these attributes.
    Publish {
        topic: Cow<'v, str>,
        attributes: Attributes<'v>,
        /// False for the topic of unmatched ones.
        matched: bool,
    },
    /// Nowhere.
    Drop,
    /// Nowhere, and nothing after it either.
    Stop,
}

impl Rules {
    /// Where this message goes.
    pub(crate) fn route<'v>(&'v self, view: &'v View<'_>) -> Route<'v> {
        let takes = |rule: &&Rule| rule.conditions.iter().all(|condition| condition.holds(view));
        for rule in self.rules.iter().filter(takes) {
            if let Some(topic) = rule.topic.fill(view).and_then(|topic| self.naming.apply(topic)) {
                return Route::Publish { topic, attributes: rule.rewrite.apply(view), matched: true };
            }
        }
        match &self.unmatched {
            Unmatched::Drop => Route::Drop,
            Unmatched::Stop => Route::Stop,
            Unmatched::Topic(topic) => Route::Publish {
                topic: Cow::Borrowed(topic),
                attributes: view.message.attributes.clone(),
                matched: false,
            },
        }
    }

    /// All fields that are looked at.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.rules.iter().flat_map(|rule| {
            let conditions = rule.conditions.iter().map(|condition| &condition.field);
            let set = rule.rewrite.set.iter().flat_map(|(_, template)| template.fields());
            conditions.chain(rule.topic.fields()).chain(set)
        })
    }
}

#[cfg(test)]
#[path = "rule_tests.rs"]
mod tests;
